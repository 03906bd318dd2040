/**
 * Forms groups: runs waiting writes on the head, one after another, and takes what they changed together
 * until a commit can hold no more. Decides which writes must wait: for the next group, for their chunks,
 * or for room in the store.
 */

import { INTERNAL_PUT, PUT } from "./codec.ts";
import { ChunkWriter, type Placed } from "./chunks.ts";
import type { Clock } from "./clock.ts";
import type { Compactor } from "./compact.ts";
import { type Cause, type Codec, type Mail, type Term, TooLargeError } from "./contract.ts";
import { checkTerm } from "./lease.ts";
import {
  GROUP_BYTES_MAX,
  GROUP_BYTES_WANTED,
  GROUP_FORM_MS_MAX,
  GROUP_KEY_BYTES_MAX,
  GROUP_MUTATIONS_MAX,
  GROUP_WRITES_MAX,
  RESERVE_SHARE,
} from "./limits.ts";
import { type Log, storedBytesMax } from "./log.ts";
import { type Change, type Root, type StateView, WriteDraft } from "./state.ts";

/** The end of the log as this process knows it. */
export interface Head<T> {
  readonly view: StateView<T>;
  readonly versionstamp: string | null;
  readonly liveBytes: number;
  readonly sum: number;
}

/** A write that waits. */
export interface Pending<T> {
  readonly fn: (draft: WriteDraft<T>) => unknown;
  readonly term: Term | undefined;
  readonly cause: Cause | undefined;
  resolve(value: unknown): void;
  reject(error: unknown): void;
  chunks: ChunkWriter<T> | undefined;
  madeRoom: boolean;
}

/** A write that ran. */
export interface Answer<T> {
  readonly write: Pending<T>;
  readonly ok: boolean;
  readonly value: unknown;
}

/** Writes that ran on the head, with all that they changed. */
export interface Formed<T> {
  readonly base: Head<T>;
  readonly answers: Answer<T>[];
  readonly changes: Change<T>[];
  readonly mails: Mail[];
  chunks: Map<Change<T>, Placed>;
  /** Writes that need chunks written, or room made, before they can be in a group. */
  readonly aside: Pending<T>[];
  /** How many of the waiting writes ran. */
  taken: number;
  root: Root<T>;
  revision: number;
  bytes: number;
  keyBytes: number;
  mutations: number;
  logBytes: number;
  liveBytes: number;
  sum: number;
}

/** What forming needs. */
export interface FormerOptions<T> {
  log: Log<T>;
  clock: Clock;
  codec: Codec<T>;
  compactor: Compactor<T>;
  /** The state where terms are looked up; default: the writes' own. */
  termsRoot?: () => Root<unknown>;
}

/** See the module's text. */
export class Former<T> {
  readonly #o: FormerOptions<T>;

  constructor(options: FormerOptions<T>) {
    this.#o = options;
  }

  /** Runs pending writes on the head until a group is full. */
  form(pending: readonly Pending<T>[], base: Head<T>): Formed<T> {
    const startedAt = this.#o.clock.monotonic();
    const formed: Formed<T> = {
      base,
      answers: [],
      changes: [],
      mails: [],
      chunks: NO_CHUNKS,
      aside: [],
      taken: 0,
      root: base.view.root,
      revision: base.view.revision,
      bytes: 0,
      keyBytes: 0,
      mutations: 0,
      logBytes: this.#o.compactor.logBytes,
      liveBytes: base.liveBytes,
      sum: base.sum,
    };
    while (formed.taken < pending.length && formed.taken < GROUP_WRITES_MAX) {
      if (formed.bytes >= GROUP_BYTES_WANTED) break;
      if (!this.#runOne(formed, pending[formed.taken])) break;
      formed.taken++;
      if (this.#o.clock.monotonic() - startedAt > GROUP_FORM_MS_MAX) break;
    }
    return formed;
  }

  /** Runs one write; false when it has to wait for the next group. */
  #runOne(formed: Formed<T>, write: Pending<T>): boolean {
    const draft = new WriteDraft<T>(
      formed.revision,
      formed.root,
      this.#o.codec,
      write.cause,
    );
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
    for (const { parts = [] } of chunks.values()) {
      for (const part of parts) bytes += part.length;
      keyBytes += parts.length * 64;
      mutations += parts.length;
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
    if (chunks.size > 0) {
      if (formed.chunks === NO_CHUNKS) formed.chunks = new Map();
      for (const [change, where] of chunks) formed.chunks.set(change, where);
    }
    formed.changes.push(...changes);
    formed.mails.push(...mails);
    sum = (sum % 0x1_0000_0000 + 0x1_0000_0000) % 0x1_0000_0000;
    formed.bytes = bytes;
    formed.keyBytes = keyBytes;
    formed.mutations = mutations;
    formed.logBytes = logBytes;
    formed.liveBytes = liveBytes;
    formed.sum = sum;
    formed.root = draft.root;
    formed.revision = draft.revision;
    return "placed";
  }

  /** Where the bytes of big values are; undefined when some are still to be written. */
  #chunksOf(changes: readonly Change<T>[], write: Pending<T>): Map<Change<T>, Placed> | undefined {
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
}

// deno-lint-ignore no-explicit-any -- empty, so of any type
const NO_CHUNKS: Map<any, Placed> = new Map();
