/**
 * The committer: runs pending writes on the head, one after another, and commits what they changed in one
 * atomic commit with a single check, on the head key.
 *
 * - Idle, a write is committed at once; what arrives during a commit forms the next group.
 * - Nothing is answered, not even a refusal, before the group it was decided in is durable: a refusal may
 *   rest on a write beside it.
 * - If the head moved, another process wrote: its records are read and the same writes run again.
 * - A commit that threw has an unknown outcome. The same batch is sent again under the same check until it
 *   lands or the head moved; the log says whose batch moved it.
 */

import type { Chunks, GroupMark } from "./codec.ts";
import { encodeHead } from "./codec.ts";
import type { Clock } from "./clock.ts";
import {
  ClosedError,
  type Codec,
  DatabaseError,
  type Mail,
  StoreError,
  type Term,
  TooLargeError,
} from "./contract.ts";
import { ChunkWriter } from "./chunks.ts";
import type { Compactor } from "./compact.ts";
import type { Group } from "./history.ts";
import { changeKey, headKey } from "./keys.ts";
import {
  CHUNK_ATTEMPTS_MAX,
  COMMIT_RETRY_MS,
  COMMIT_RETRY_MS_MAX,
  COMMIT_TRIES_MAX,
  GROUP_BYTES_MAX,
  GROUP_BYTES_WANTED,
  GROUP_KEY_BYTES_MAX,
  GROUP_MUTATIONS_MAX,
  GROUP_WRITES_MAX,
  LOSSES_BEFORE_WANT,
  PENDING_WRITES_MAX,
  RESERVE_SHARE,
} from "./limits.ts";
import { eventOf, type Log, storedBytesMax } from "./log.ts";
import { INTERNAL_PUT, PUT } from "./codec.ts";
import { type Change, type Root, StateView, WriteDraft } from "./state.ts";
import { isLocked, lockedPauseMs } from "./patience.ts";
import type { Rivals } from "./rivals.ts";
import { checkTerm } from "./lease.ts";

/** The end of the log as this process knows it. */
export interface Head<T> {
  readonly view: StateView<T>;
  readonly versionstamp: string | null;
  readonly liveBytes: number;
  readonly sum: number;
}

/** Puts mail into a commit. */
export interface MailOutlet {
  /** Adds the mail to a commit; returns how many mutations that took. */
  attach(op: Deno.AtomicOperation, mail: Mail): void;
  /** The commit with this mail landed. */
  sent(mails: readonly Mail[]): void;
}

/** What the committer asks of its store. */
export interface CommitterHost<T> {
  /** A group is durable: make it visible. */
  publish(group: Group<T>, mark: GroupMark, head: Head<T>): void;
  /** Another process wrote: read what it did. Returns whether `batch` of ours is in it. */
  catchUp(batch: number): Promise<boolean>;
}

/** What a committer needs. */
export interface CommitterOptions<T> {
  log: Log<T>;
  clock: Clock;
  codec: Codec<T>;
  compactor: Compactor<T>;
  mail: MailOutlet;
  rivals: Rivals | undefined;
  writer: string;
  head: Head<T>;
  host: CommitterHost<T>;
  /** The state where terms are looked up; default: the writes' own. */
  termsRoot?: () => Root<unknown>;
  /** Whether no other process can write: then a failure is certain. */
  owner: boolean;
}

/** A write that waits. */
interface Pending<T> {
  readonly fn: (draft: WriteDraft<T>) => unknown;
  readonly term: Term | undefined;
  resolve(value: unknown): void;
  reject(error: unknown): void;
  chunks: ChunkWriter<T> | undefined;
  madeRoom: boolean;
}

/** A write that ran. */
interface Answer<T> {
  readonly write: Pending<T>;
  readonly ok: boolean;
  readonly value: unknown;
}

/** Writes that ran on the head, with all that they changed. */
interface Formed<T> {
  readonly base: Head<T>;
  readonly answers: Answer<T>[];
  readonly changes: Change<T>[];
  readonly mails: Mail[];
  readonly chunks: Map<Change<T>, Chunks>;
  /** Writes that need chunks written, or room made, before they can be in a group. */
  readonly aside: Pending<T>[];
  root: Root<T>;
  revision: number;
  bytes: number;
  keyBytes: number;
  mutations: number;
  logBytes: number;
  liveBytes: number;
  sum: number;
}

/** See the module's text. */
export class Committer<T> {
  head: Head<T>;
  commits = 0;
  commitMsLast = 0;
  readonly #o: CommitterOptions<T>;
  #pending: Pending<T>[] = [];
  readonly #preparing: Set<ChunkWriter<T>> = new Set();
  #running: Promise<void> | undefined;
  #committing: Promise<unknown> | undefined;
  #isStale = false;
  #batch = 0;
  #losses = 0;
  #closed: Error | undefined;

  constructor(options: CommitterOptions<T>) {
    this.#o = options;
    this.head = options.head;
  }

  /** Writes that wait for their group. */
  get pending(): number {
    return this.#pending.length + this.#preparing.size;
  }

  /** Runs a write: see `Store.write`. */
  write<R>(fn: (draft: WriteDraft<T>) => R, term: Term | undefined): Promise<R> {
    const { promise, resolve, reject } = Promise.withResolvers<unknown>();
    if (this.#closed !== undefined) reject(this.#closed);
    else if (this.#pending.length >= PENDING_WRITES_MAX) {
      reject(
        new TooLargeError(
          `Cannot write: ${PENDING_WRITES_MAX} writes are waiting already`,
          "group",
        ),
      );
    } else {
      this.#pending.push({ fn, term, resolve, reject, chunks: undefined, madeRoom: false });
      this.#wake();
    }
    return promise as Promise<R>;
  }

  /** The head moved elsewhere: read it when it is this store's turn. */
  ring(): void {
    this.#isStale = true;
    this.#wake();
  }

  /** Ids of chunks that no commit names yet. */
  *preparedChunks(): Generator<string> {
    for (const writer of this.#preparing) yield* writer.ids();
    for (const { chunks } of this.#pending) if (chunks !== undefined) yield* chunks.ids();
  }

  /** Resolves after the commit that is under way, if one is. */
  async betweenGroups(): Promise<void> {
    await this.#committing?.catch(() => {});
  }

  /** Refuses further writes, ends those that wait, and lets the commit under way end. */
  async close(reason: Error): Promise<void> {
    this.#closed ??= reason;
    await this.#running;
    for (const write of this.#pending.splice(0)) write.reject(this.#closed);
  }

  #wake(): void {
    if (this.#running !== undefined || this.#closed !== undefined) return;
    this.#running = this.#run().finally(() => {
      this.#running = undefined;
      if (this.#pending.length > 0 || this.#isStale) this.#wake();
    });
  }

  async #run(): Promise<void> {
    // Writes of the same turn go into the same group.
    await undefined;
    while (this.#closed === undefined && (this.#pending.length > 0 || this.#isStale)) {
      try {
        if (this.#isStale) {
          this.#isStale = false;
          await this.#o.host.catchUp(0);
        } else await this.#round();
      } catch (error) {
        if (!await this.#survive(error)) return;
      }
      await undefined;
    }
  }

  /** An error outside a commit: reading failed. Says whether it is worth going on. */
  async #survive(error: unknown): Promise<boolean> {
    if (error instanceof DatabaseError) {
      this.#closed = new ClosedError("The store lost its database", { cause: error });
      for (const write of this.#pending.splice(0)) write.reject(this.#closed);
      return false;
    }
    this.#isStale = true;
    await this.#o.clock.sleep(COMMIT_RETRY_MS_MAX / 10);
    return true;
  }

  async #round(): Promise<void> {
    const formed = this.#form();
    for (const write of formed.aside) this.#prepare(write);
    if (formed.answers.length === 0) return;
    if (formed.changes.length === 0 && formed.mails.length === 0) {
      if (!await this.#isFresh(formed)) return this.#putBack(formed);
      return answer(formed);
    }
    const mark: GroupMark = {
      writer: this.#o.writer,
      batch: ++this.#batch,
      time: this.#o.clock.now(),
    };
    const startedAt = this.#o.clock.monotonic();
    const committing = this.#commit(formed, mark).catch(databaseError);
    this.#committing = committing;
    const outcome = await committing;
    this.#committing = undefined;
    if (outcome === "moved") return await this.#lose(formed, mark);
    if (outcome instanceof Error) return fail(formed, outcome);
    this.commits++;
    this.commitMsLast = this.#o.clock.monotonic() - startedAt;
    this.#losses = 0;
    this.#land(formed, mark, outcome.versionstamp);
    const pauseMs = this.#o.rivals?.pauseMs(this.commitMsLast) ?? 0;
    if (pauseMs > 0) await this.#o.clock.sleep(pauseMs);
  }

  /** Runs pending writes on the head until a group is full. */
  #form(): Formed<T> {
    const base = this.head;
    const formed: Formed<T> = {
      base,
      answers: [],
      changes: [],
      mails: [],
      chunks: new Map(),
      aside: [],
      root: base.view.root,
      revision: base.view.revision,
      bytes: 0,
      keyBytes: 0,
      mutations: 0,
      logBytes: this.#o.compactor.logBytes,
      liveBytes: base.liveBytes,
      sum: base.sum,
    };
    let taken = 0;
    while (taken < this.#pending.length && taken < GROUP_WRITES_MAX) {
      if (formed.bytes >= GROUP_BYTES_WANTED) break;
      if (!this.#runOne(formed, this.#pending[taken])) break;
      taken++;
    }
    if (taken === this.#pending.length) this.#pending = [];
    else this.#pending.splice(0, taken);
    return formed;
  }

  /** Runs one write; false when it has to wait for the next group. */
  #runOne(formed: Formed<T>, write: Pending<T>): boolean {
    const draft = new WriteDraft<T>(formed.revision, formed.root, this.#o.codec);
    let value: unknown;
    try {
      if (write.term) checkTerm(write.term, this.#o.termsRoot?.() ?? formed.root);
      value = write.fn(draft);
      if (value instanceof Promise) {
        value.catch(() => {});
        throw new TypeError("A write is synchronous: it cannot return a promise");
      }
    } catch (error) {
      formed.answers.push({ write, ok: false, value: error });
      return true;
    } finally {
      draft.end();
    }
    const room = this.#place(formed, draft, write);
    if (room === "next group") return false;
    if (room === "aside") formed.aside.push(write);
    else if (room instanceof Error) formed.answers.push({ write, ok: false, value: room });
    else formed.answers.push({ write, ok: true, value });
    return true;
  }

  /** Takes what a write changed into the group, if it fits. */
  #place(
    formed: Formed<T>,
    draft: WriteDraft<T>,
    write: Pending<T>,
  ): "placed" | "next group" | "aside" | Error {
    const { changes, mails } = draft;
    let { bytes, keyBytes, mutations, logBytes, liveBytes, sum } = formed;
    const chunks = this.#chunksOf(changes, write);
    if (chunks === undefined) return "aside";
    let grows = false;
    for (const change of changes) {
      const { item, previous, kind } = change;
      const size = change.withBody ? item.size : item.size - item.bytes.length;
      bytes += storedBytesMax(change, chunks.has(change));
      keyBytes += 24;
      logBytes += size;
      if (kind === PUT || kind === INTERNAL_PUT) {
        liveBytes += size;
        sum += item.revision;
        if (kind === PUT && (previous === undefined || previous.size < item.size)) grows = true;
      }
      if (previous !== undefined) {
        liveBytes -= previous.size;
        sum -= previous.revision;
      }
    }
    for (const mail of mails) bytes += 256 + (mail.to.length + mail.key.length) * 4;
    keyBytes += mails.length * 160;
    mutations += changes.length + mails.length * 2;
    if (
      bytes > GROUP_BYTES_MAX || mutations > GROUP_MUTATIONS_MAX || keyBytes > GROUP_KEY_BYTES_MAX
    ) {
      if (formed.mutations > 0) return "next group";
      return new TooLargeError(
        `Cannot write ${changes.length} changes and ${mails.length} messages of ${bytes} bytes ` +
          `at once: at most ${GROUP_MUTATIONS_MAX} and ${GROUP_BYTES_MAX} bytes are allowed`,
        "group",
      );
    }
    const full = this.#checkRoom(logBytes, grows, write);
    if (full !== undefined) return full;
    for (const [change, where] of chunks) formed.chunks.set(change, where);
    formed.changes.push(...changes);
    formed.mails.push(...mails);
    sum = (sum % 0x1_0000_0000 + 0x1_0000_0000) % 0x1_0000_0000;
    Object.assign(formed, { bytes, keyBytes, mutations, logBytes, liveBytes, sum });
    formed.root = draft.root;
    formed.revision = draft.revision;
    return "placed";
  }

  /** Where the bytes of big values are; undefined when some are still to be written. */
  #chunksOf(changes: readonly Change<T>[], write: Pending<T>): Map<Change<T>, Chunks> | undefined {
    let big: Change<T>[] | undefined;
    for (const change of changes) {
      if (!change.withBody || this.#o.log.fits(change.item.key, change.item.bytes)) continue;
      (big ??= []).push(change);
    }
    if (big === undefined) return NO_CHUNKS;
    write.chunks ??= new ChunkWriter(this.#o.log, this.#o.clock);
    return write.chunks.find(big);
  }

  /** Undefined when the log may grow to `logBytes`. */
  #checkRoom(logBytes: number, grows: boolean, write: Pending<T>): "aside" | Error | undefined {
    const { bytesMax } = this.#o.compactor;
    if (logBytes <= bytesMax) return undefined;
    if (!write.madeRoom) return "aside";
    // Deleting, and changes that enlarge nothing (finalizers), must stay possible: they free the store.
    if (!grows && logBytes <= bytesMax * (1 + RESERVE_SHARE)) return undefined;
    return new TooLargeError(
      `The store is full: ${bytesMax} bytes are allowed; delete objects to make room`,
      "store",
    );
  }

  /** Does what a write needs before it can be in a group, then has it run again. */
  #prepare(write: Pending<T>): void {
    const { chunks } = write;
    const work = chunks?.isDue === true ? chunks.write() : this.#makeRoom(write);
    if (chunks !== undefined) this.#preparing.add(chunks);
    work.then(() => {
      if (chunks !== undefined && chunks.attempts > CHUNK_ATTEMPTS_MAX) {
        throw new StoreError(
          `A large object changed ${CHUNK_ATTEMPTS_MAX} times while it was being written`,
        );
      }
      if (this.#closed !== undefined) throw this.#closed;
      this.#pending.push(write);
      this.#wake();
    }).catch((error) => {
      chunks?.drop();
      write.reject(databaseError(error));
    }).finally(() => {
      if (chunks !== undefined) this.#preparing.delete(chunks);
    });
  }

  async #makeRoom(write: Pending<T>): Promise<void> {
    write.madeRoom = true;
    const { compactor } = this.#o;
    await compactor.makeRoom(compactor.bytesMax * (1 / 16));
  }

  /** Sends a group until its outcome is known. */
  async #commit(
    formed: Formed<T>,
    mark: GroupMark,
  ): Promise<{ versionstamp: string } | "moved" | Error> {
    const parts = this.#parts(formed, mark);
    let pauseMs = COMMIT_RETRY_MS;
    for (let tries = 1;; tries++) {
      try {
        const result = await this.#operation(formed, parts).commit();
        return result.ok ? { versionstamp: result.versionstamp } : "moved";
      } catch (error) {
        const failure = databaseError(error);
        if (this.#closed !== undefined) return failure;
        if (isLocked(error)) {
          await this.#o.clock.sleep(lockedPauseMs(this.#o.clock));
          continue;
        }
        // Deno KV refused it unseen: a limit of its own that ours should have caught.
        if (error instanceof TypeError && !this.#o.owner) return failure;
        // Where we own the file, commits end before the next begins: an unchanged head is the truth.
        if (this.#o.owner && tries >= COMMIT_TRIES_MAX && await this.#isUnchanged(formed)) {
          return failure;
        }
        await this.#o.clock.sleep(pauseMs);
        pauseMs = Math.min(pauseMs * 2, COMMIT_RETRY_MS_MAX);
      }
    }
  }

  async #isUnchanged(formed: Formed<T>): Promise<boolean> {
    try {
      const found = await this.#o.log.head();
      return (found?.versionstamp ?? null) === formed.base.versionstamp;
    } catch {
      return true;
    }
  }

  /** Keys and values of a group's commit. */
  #parts(formed: Formed<T>, mark: GroupMark): { key: Deno.KvKey; value: Uint8Array }[] {
    const { changes, chunks } = formed;
    const { log } = this.#o;
    const parts: { key: Deno.KvKey; value: Uint8Array }[] = [];
    for (let i = 0; i < changes.length; i++) {
      const change = changes[i];
      const value = log.record(change, i === 0 ? mark : undefined, chunks.get(change));
      parts.push({ key: changeKey(log.space, change.item.revision), value });
    }
    if (changes.length === 0) return parts;
    const head = {
      revision: formed.revision,
      keys: formed.root.size,
      liveBytes: formed.liveBytes,
      sum: formed.sum,
      writer: mark.writer,
      batch: mark.batch,
    };
    parts.push({ key: headKey(log.space), value: encodeHead(head) });
    return parts;
  }

  #operation(
    formed: Formed<T>,
    parts: readonly { key: Deno.KvKey; value: Uint8Array }[],
  ): Deno.AtomicOperation {
    const { log, mail } = this.#o;
    const op = log.kv.atomic();
    op.check({ key: headKey(log.space), versionstamp: formed.base.versionstamp });
    for (const { key, value } of parts) op.set(key, value);
    for (const message of formed.mails) mail.attach(op, message);
    return op;
  }

  /** The group is durable. */
  #land(formed: Formed<T>, mark: GroupMark, versionstamp: string): void {
    try {
      if (formed.changes.length > 0) this.#publish(formed, mark, versionstamp);
    } finally {
      answer(formed);
      if (formed.mails.length > 0) this.#o.mail.sent(formed.mails);
      this.#o.compactor.relieve();
    }
  }

  /** Makes a group visible. */
  #publish(formed: Formed<T>, mark: GroupMark, versionstamp: string): void {
    const { changes, root, revision, liveBytes, sum, chunks } = formed;
    const view = new StateView(revision, root);
    this.head = { view, versionstamp, liveBytes, sum };
    for (const [change, where] of chunks) this.#o.log.chunks.set(change.item.revision, where);
    const events = [];
    for (const change of changes) {
      change.item.settle();
      const event = eventOf(change);
      if (event !== undefined) events.push(event);
    }
    const group = { first: changes[0].item.revision, last: revision, changes, events, root };
    this.#o.host.publish(group, mark, this.head);
  }

  /** The head moved under a group: was it the group itself, sent once more than it had to be? */
  async #lose(formed: Formed<T>, mark: GroupMark): Promise<void> {
    try {
      if (await this.#o.host.catchUp(mark.batch)) {
        answer(formed);
        if (formed.mails.length > 0) this.#o.mail.sent(formed.mails);
        return;
      }
    } catch (error) {
      this.#putBack(formed);
      throw error;
    }
    this.#putBack(formed);
    if (++this.#losses >= LOSSES_BEFORE_WANT) this.#o.rivals?.want();
  }

  #putBack(formed: Formed<T>): void {
    this.#pending = formed.answers.map(({ write }) => write).concat(this.#pending);
  }

  /** Whether a group that changes nothing saw the head as it is. */
  async #isFresh(formed: Formed<T>): Promise<boolean> {
    if (this.#o.owner) return true;
    try {
      const found = await this.#o.log.head();
      if ((found?.versionstamp ?? null) === formed.base.versionstamp) return true;
      await this.#o.host.catchUp(0);
      return false;
    } catch (error) {
      this.#putBack(formed);
      throw error;
    }
  }
}

// deno-lint-ignore no-explicit-any -- empty, so of any type
const NO_CHUNKS: Map<any, any> = new Map();

function answer<T>(formed: Formed<T>): void {
  for (const { write, ok, value } of formed.answers) {
    if (ok) write.resolve(value);
    else {
      write.chunks?.drop();
      write.reject(value);
    }
  }
}

function fail<T>(formed: Formed<T>, error: Error): void {
  for (const { write, ok, value } of formed.answers) {
    write.chunks?.drop();
    write.reject(ok ? error : value);
  }
}

/** An error of the database in words. */
export function databaseError(error: unknown): Error {
  if (error instanceof StoreError) return error;
  const text = error instanceof Error ? error.message : String(error);
  if (/disk is full|No space left|disk I\/O error|SQLITE_FULL|quota/i.test(text)) {
    return new DatabaseError(`The disk is full, or cannot be written: ${text}`, { cause: error });
  }
  return new DatabaseError(`The database failed: ${text}`, { cause: error });
}
