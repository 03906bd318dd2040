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

import type { ChunkWriter } from "./chunks.ts";
import { encodeHead, type GroupMark } from "./codec.ts";
import {
  type Cause,
  ClosedError,
  DatabaseError,
  type Mail,
  StoreError,
  type Term,
  TooLargeError,
} from "./contract.ts";
import { type Formed, Former, type FormerOptions, type Head, type Pending } from "./former.ts";
import type { Group } from "./history.ts";
import { changeKey, chunkKey, headKey } from "./keys.ts";
import {
  CHUNK_ATTEMPTS_MAX,
  COMMIT_RETRY_MS,
  COMMIT_RETRY_MS_MAX,
  COMMIT_TRIES_MAX,
  LOSSES_BEFORE_WANT,
  PENDING_WRITES_MAX,
} from "./limits.ts";
import { eventOf } from "./log.ts";
import { isLocked, lockedPauseMs } from "./patience.ts";
import type { Rivals } from "./rivals.ts";
import { StateView, type WriteDraft } from "./state.ts";

/** Puts mail into a commit. */
export interface MailOutlet {
  /** Adds the mail to a commit: two mutations at most. */
  attach(op: Deno.AtomicOperation, mail: Mail): void;
  /** The commit with this mail landed. */
  sent(mails: readonly Mail[]): void;
}

/** What the committer asks of its store. */
export interface CommitterHost<T> {
  /** A group is durable: make it visible. */
  publish(group: Group<T>, head: Head<T>): void;
  /** The database is lost for good: nothing more will be written or seen. */
  lost(error: ClosedError): void;
  /**
   * Another process wrote: read what it did. Returns whether `batch` of ours is in it; undefined when
   * that cannot be told, because compaction has been there.
   */
  catchUp(batch: number): Promise<boolean | undefined>;
}

/** What a committer needs. */
export interface CommitterOptions<T> extends FormerOptions<T> {
  mail: MailOutlet;
  rivals: Rivals | undefined;
  writer: string;
  head: Head<T>;
  host: CommitterHost<T>;
  /** Whether no other process can write: then a failure is certain. */
  owner: boolean;
}

/** An entry of a commit. */
interface Part {
  readonly key: Deno.KvKey;
  readonly value: Uint8Array;
}

/** See the module's text. */
export class Committer<T> {
  head: Head<T>;
  commits = 0;
  commitMsLast = 0;
  readonly #o: CommitterOptions<T>;
  readonly #former: Former<T>;
  #pending: Pending<T>[] = [];
  readonly #preparing: Set<ChunkWriter<T>> = new Set();
  #running: Promise<void> | undefined;
  #committing: Promise<unknown> | undefined;
  /** Writes in the group that is being committed. */
  #underWay = 0;
  #isStale = false;
  #batch = 0;
  #losses = 0;
  #closed: Error | undefined;

  constructor(options: CommitterOptions<T>) {
    this.#o = options;
    this.#former = new Former(options);
    this.head = options.head;
  }

  /** Writes that are not answered yet. */
  get pending(): number {
    return this.#pending.length + this.#preparing.size + this.#underWay;
  }

  /** Runs a write: see `Store.write`. */
  write<R>(
    fn: (draft: WriteDraft<T>) => R,
    { term, cause }: { term?: Term; cause?: Cause } = NO_OPTIONS,
  ): Promise<R> {
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
      this.#pending.push({
        fn,
        term,
        cause,
        resolve,
        reject,
        chunks: undefined,
        madeRoom: false,
      });
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
    await this.#committing;
  }

  /** Refuses further writes, ends those that wait, and lets the commit under way end. */
  async close(reason: Error): Promise<void> {
    this.#closed ??= reason;
    await this.#running;
    for (const write of this.#pending.splice(0)) write.reject(this.#closed);
  }

  #wake(): void {
    if (this.#running !== undefined || this.#closed !== undefined) return;
    this.#running = this.#run();
  }

  async #run(): Promise<void> {
    try {
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
    } finally {
      // In the turn in which nothing was left: whoever comes later begins anew.
      this.#running = undefined;
    }
  }

  /** An error outside a commit: reading failed. Says whether it is worth going on. */
  async #survive(error: unknown): Promise<boolean> {
    if (error instanceof DatabaseError) {
      const closed = new ClosedError("The store lost its database", { cause: error });
      this.#closed = closed;
      for (const write of this.#pending.splice(0)) write.reject(closed);
      this.#o.host.lost(closed);
      return false;
    }
    this.#isStale = true;
    await this.#o.clock.sleep(COMMIT_RETRY_MS_MAX / 10);
    return true;
  }

  async #round(): Promise<void> {
    const formed = this.#former.form(this.#pending, this.head);
    if (formed.taken === this.#pending.length) this.#pending = [];
    else this.#pending.splice(0, formed.taken);
    for (const write of formed.aside) this.#prepare(write);
    if (formed.answers.length === 0) return;
    if (formed.changes.length === 0 && formed.mails.length === 0) {
      if (!await this.#isFresh(formed)) return this.#putBack(formed);
      return answer(formed);
    }
    const mark: GroupMark = { writer: this.#o.writer, batch: ++this.#batch };
    const time = this.#o.clock.now();
    const startedAt = this.#o.clock.monotonic();
    const parts = this.#parts(formed, mark, time);
    if (parts instanceof Error) return fail(formed, parts);
    const committing = this.#commit(formed, parts);
    this.#committing = committing;
    this.#underWay = formed.answers.length;
    const outcome = await committing;
    this.#committing = undefined;
    this.#underWay = 0;
    if (outcome === "moved" || outcome === "moved, unsure") {
      return await this.#lose(formed, mark, outcome === "moved, unsure");
    }
    if (outcome instanceof Error) return fail(formed, outcome);
    this.commits++;
    this.commitMsLast = this.#o.clock.monotonic() - startedAt;
    this.#losses = 0;
    this.#land(formed, time, outcome.versionstamp);
    const pauseMs = this.#o.rivals?.pauseMs(this.commitMsLast) ?? 0;
    if (pauseMs > 0) await this.#o.clock.sleep(pauseMs);
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
    parts: readonly Part[],
  ): Promise<{ versionstamp: string } | "moved" | "moved, unsure" | Error> {
    let pauseMs = COMMIT_RETRY_MS;
    let isUnsure = false;
    for (let tries = 1;; tries++) {
      try {
        const result = await this.#operation(formed, parts).commit();
        if (result.ok) return { versionstamp: result.versionstamp };
        return isUnsure ? "moved, unsure" : "moved";
      } catch (error) {
        const failure = databaseError(error);
        if (this.#closed !== undefined) return failure;
        if (isLocked(error)) {
          await this.#o.clock.sleep(lockedPauseMs(this.#o.clock));
          continue;
        }
        // The database refused it unseen. (After a try that may have landed that proves nothing.)
        if (error instanceof TypeError && !this.#o.owner && !isUnsure) return failure;
        isUnsure = true;
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

  /** Keys and values of a group's commit, or why they cannot be made. */
  #parts(formed: Formed<T>, mark: GroupMark, time: number): Part[] | Error {
    try {
      return this.#partsOf(formed, mark, time);
    } catch (error) {
      return databaseError(error);
    }
  }

  #partsOf(formed: Formed<T>, mark: GroupMark, time: number): Part[] {
    const { changes, chunks } = formed;
    const { log } = this.#o;
    const parts: Part[] = [];
    for (let i = 0; i < changes.length; i++) {
      const change = changes[i];
      const group = i === 0 ? mark : undefined;
      const placed = chunks.get(change);
      const value = log.record(change, { time, group, chunks: placed?.chunks });
      parts.push({ key: changeKey(log.space, change.item.revision), value });
      placed?.parts?.forEach((value, n) => {
        parts.push({ key: chunkKey(log.space, placed.chunks.id, n), value });
      });
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
    parts: readonly Part[],
  ): Deno.AtomicOperation {
    const { log, mail } = this.#o;
    const op = log.kv.atomic();
    op.check({ key: headKey(log.space), versionstamp: formed.base.versionstamp });
    for (const { key, value } of parts) op.set(key, value);
    for (const message of formed.mails) mail.attach(op, message);
    return op;
  }

  /** The group is durable. */
  #land(formed: Formed<T>, time: number, versionstamp: string): void {
    try {
      if (formed.changes.length > 0) this.#publish(formed, time, versionstamp);
    } finally {
      answer(formed);
      if (formed.mails.length > 0) this.#o.mail.sent(formed.mails);
      this.#o.compactor.relieve();
    }
  }

  /** Makes a group visible. */
  #publish(formed: Formed<T>, time: number, versionstamp: string): void {
    const { changes, root, revision, liveBytes, sum, chunks } = formed;
    const view = new StateView(revision, root);
    this.head = { view, versionstamp, liveBytes, sum };
    for (const [{ item }, placed] of chunks) this.#o.log.chunks.set(item.revision, placed.chunks);
    const events = [];
    for (const change of changes) {
      change.item.settle();
      const event = eventOf(change);
      if (event !== undefined) events.push(event);
    }
    const { revision: first } = changes[0].item;
    const group = { first, last: revision, time, changes, events, root };
    this.#o.host.publish(group, this.head);
  }

  /** The head moved under a group: was it the group itself, sent once more than it had to be? */
  async #lose(formed: Formed<T>, mark: GroupMark, isUnsure: boolean): Promise<void> {
    const isOurs = await this.#findOut(formed, mark);
    if (isOurs) {
      answer(formed);
      if (formed.mails.length > 0) this.#o.mail.sent(formed.mails);
      return;
    }
    if (isOurs === undefined && isUnsure) {
      return fail(
        formed,
        new StoreError("The outcome of the write is unknown: the log that would tell is gone"),
      );
    }
    this.#putBack(formed);
    if (++this.#losses >= LOSSES_BEFORE_WANT) this.#o.rivals?.want();
  }

  /** Reads what moved the head, however often that takes: until then nobody can be answered. */
  async #findOut(formed: Formed<T>, mark: GroupMark): Promise<boolean | undefined> {
    for (;;) {
      try {
        return await this.#o.host.catchUp(mark.batch);
      } catch (error) {
        if (error instanceof DatabaseError || this.#closed !== undefined) {
          this.#putBack(formed);
          throw error;
        }
        await this.#o.clock.sleep(COMMIT_RETRY_MS_MAX / 10);
      }
    }
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

const NO_OPTIONS = {};

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
  if (/disk is full|No space left|disk I\/O error|SQLITE_FULL|quota|space exceeded/i.test(text)) {
    return new DatabaseError(`The disk is full, or cannot be written: ${text}`, { cause: error });
  }
  return new DatabaseError(`The database failed: ${text}`, { cause: error });
}
