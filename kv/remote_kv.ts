/**
 * A Deno KV over any ordered store of bytes that others share: what KV Connect serves, or etcd. It keeps
 * what our store counts on: strictly serializable commits with checks, reads that see all that was
 * answered, listings in batches that are separate reads, watches that merge. It has no queue (mailbox mail
 * is for that), no counters and no expiry: it refuses them.
 *
 * What cannot be reached is tried again for a while, as far as that is safe: reads always; commits without
 * checks, for ours are the same done twice; commits with checks only if nothing was sent. Else the outcome
 * is unknown, and that is for the caller to find out: a check that fails at the second try may fail because
 * of the first.
 */

import type { Clock } from "./clock.ts";
import { Buffer } from "node:buffer";
import { keyBytes, keyOf, rangeOf, withByte } from "./key_bytes.ts";
import {
  KV_GET_MANY_MAX,
  KV_LIST_BATCH_MAX,
  KV_VALUE_BYTES_MAX,
  REMOTE_PATIENCE_MS,
  REMOTE_RETRY_MS,
  REMOTE_RETRY_MS_MAX,
} from "./limits.ts";
import { decodeValue, type EncodedValue, encodeValue } from "./value_bytes.ts";

/** A range of keys to read: from `start` up to `end` (excluded), at most `limit` entries. */
export interface ByteRead {
  readonly start: Uint8Array;
  readonly end: Uint8Array;
  readonly limit: number;
  readonly reverse?: boolean;
}

/** An entry as it is kept. */
export interface ByteEntry {
  readonly key: Uint8Array;
  readonly value: EncodedValue;
  readonly versionstamp: string;
}

/** What a commit checks and changes. No key is changed twice. */
export interface ByteCommit {
  readonly checks: readonly { readonly key: Uint8Array; readonly versionstamp: string | null }[];
  /** Without a value: deleted. */
  readonly mutations: readonly { readonly key: Uint8Array; readonly value?: EncodedValue }[];
}

/** An ordered store of bytes. Whatever may be better in a moment rejects with `Unreachable`. */
export interface ByteStore {
  /** How messages name it. */
  readonly name: string;
  /** Entries of ranges, all as of one moment not before the call. */
  read(ranges: readonly ByteRead[]): Promise<ByteEntry[][]>;
  /** Commits; the versionstamp, or undefined when a check failed. */
  commit(commit: ByteCommit): Promise<string | undefined>;
  /** The entries of keys now, and again after changes; may miss states between two, and may end. */
  watch(
    keys: readonly Uint8Array[],
    signal: AbortSignal,
  ): AsyncIterable<readonly (ByteEntry | undefined)[]>;
  close(): void;
}

/** The store could not be reached, or broke off. */
export class Unreachable extends Error {
  override name = "Unreachable";
  /** Whether the request may have been carried out. */
  readonly isSent: boolean;
  constructor(message: string, options: { isSent: boolean; cause?: unknown }) {
    super(message, options);
    this.isSent = options.isSent;
  }
}

/** A Deno KV over a store. `mutationsMax`: of one commit. */
export function remoteKv(store: ByteStore, clock: Clock, mutationsMax: number): Deno.Kv {
  return new RemoteKv(store, clock, mutationsMax) as unknown as Deno.Kv;
}

class RemoteKv {
  readonly #store: ByteStore;
  readonly #clock: Clock;
  readonly #mutationsMax: number;
  readonly #closing = new AbortController();

  constructor(store: ByteStore, clock: Clock, mutationsMax: number) {
    this.#store = store;
    this.#clock = clock;
    this.#mutationsMax = mutationsMax;
  }

  async get(key: Deno.KvKey): Promise<Deno.KvEntryMaybe<unknown>> {
    return (await this.getMany([key]))[0];
  }

  async getMany(keys: readonly Deno.KvKey[]): Promise<Deno.KvEntryMaybe<unknown>[]> {
    if (keys.length > KV_GET_MANY_MAX) {
      throw new TypeError(`Too many ranges (max ${KV_GET_MANY_MAX})`);
    }
    const ranges = keys.map((key) => {
      const start = keyBytes(key);
      return { start, end: withByte(start, 0), limit: 1 };
    });
    const found = await this.read(ranges);
    return keys.map((key, i) => entryOf(key, found[i][0]));
  }

  async set(key: Deno.KvKey, value: unknown, options?: unknown): Promise<Deno.KvCommitResult> {
    return await this.atomic().set(key, value, options).commit() as Deno.KvCommitResult;
  }

  async delete(key: Deno.KvKey): Promise<void> {
    await this.atomic().delete(key).commit();
  }

  list(selector: Deno.KvListSelector, options: Deno.KvListOptions = {}): Listing {
    return new Listing((ranges) => this.read(ranges), selector, options);
  }

  atomic(): Commit {
    return new Commit((commit) => this.#commit(commit), this.#mutationsMax);
  }

  watch(keys: readonly Deno.KvKey[]): ReadableStream<Deno.KvEntryMaybe<unknown>[]> {
    const ending = new AbortController();
    const signal = AbortSignal.any([ending.signal, this.#closing.signal]);
    let latest: Deno.KvEntryMaybe<unknown>[] | undefined;
    let told: (string | null)[] | undefined;
    let wake = () => {};
    const run = async () => {
      for await (const entries of this.#entries(keys, signal)) {
        latest = entries;
        wake();
      }
    };
    const running = run().finally(() => {
      ending.abort();
      wake();
    });
    // Who reads is told.
    running.catch(() => undefined);
    return new ReadableStream({
      async pull(controller) {
        for (;;) {
          if (signal.aborted) {
            await running;
            return controller.close();
          }
          if (latest?.some(({ versionstamp }, i) => versionstamp !== told?.[i])) {
            told = latest.map(({ versionstamp }) => versionstamp);
            return controller.enqueue(latest);
          }
          await new Promise<void>((resolve) => wake = resolve);
        }
      },
      cancel: () => {
        ending.abort();
        wake();
      },
    }, { highWaterMark: 0 });
  }

  enqueue(): Promise<never> {
    return Promise.reject(this.#hasNo("queue: use the mailbox transport"));
  }

  listenQueue(): Promise<never> {
    return this.enqueue();
  }

  close(): void {
    if (this.#closing.signal.aborted) return;
    this.#closing.abort(new TypeError("The database is closed"));
    this.#store.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  read(ranges: readonly ByteRead[]): Promise<ByteEntry[][]> {
    return this.#patiently(() => this.#store.read(ranges), true);
  }

  #commit(commit: ByteCommit): Promise<string | undefined> {
    return this.#patiently(() => this.#store.commit(commit), commit.checks.length === 0);
  }

  /** Does something until it succeeds, or patience ends. `mayRepeat`: doing it twice is as good as once. */
  async #patiently<R>(work: () => Promise<R>, mayRepeat: boolean): Promise<R> {
    const { signal } = this.#closing;
    const until = this.#clock.monotonic() + REMOTE_PATIENCE_MS;
    for (let pauseMs = REMOTE_RETRY_MS;; pauseMs = Math.min(pauseMs * 2, REMOTE_RETRY_MS_MAX)) {
      signal.throwIfAborted();
      try {
        return await work();
      } catch (error) {
        const isUnsure = !(error instanceof Unreachable) || (error.isSent && !mayRepeat);
        if (isUnsure || this.#clock.monotonic() >= until) throw error;
      }
      await this.#clock.sleep(pauseMs, { signal });
    }
  }

  /** What a watch sees, over interruptions, until it is over. */
  async *#entries(
    keys: readonly Deno.KvKey[],
    signal: AbortSignal,
  ): AsyncGenerator<Deno.KvEntryMaybe<unknown>[]> {
    const bytes = keys.map(keyBytes);
    for (let pauseMs = REMOTE_RETRY_MS;; pauseMs = Math.min(pauseMs * 2, REMOTE_RETRY_MS_MAX)) {
      try {
        for await (const entries of this.#store.watch(bytes, signal)) {
          pauseMs = REMOTE_RETRY_MS;
          yield entries.map((entry, i) => entryOf(keys[i], entry));
        }
      } catch (error) {
        if (!(error instanceof Unreachable) && !signal.aborted) throw error;
      }
      if (signal.aborted) return;
      await this.#clock.sleep(pauseMs, { signal }).catch(() => undefined);
      if (signal.aborted) return;
    }
  }

  #hasNo(what: string): TypeError {
    return new TypeError(`${this.#store.name} has no ${what}`);
  }
}

function entryOf(key: Deno.KvKey, found: ByteEntry | undefined): Deno.KvEntryMaybe<unknown> {
  if (found === undefined) return { key, value: null, versionstamp: null };
  return { key, value: decodeValue(found.value), versionstamp: found.versionstamp };
}

/** A commit that is being put together. */
class Commit {
  readonly #send: (commit: ByteCommit) => Promise<string | undefined>;
  readonly #mutationsMax: number;
  readonly #checks: { key: Uint8Array; versionstamp: string | null }[] = [];
  /** By the key's bytes: of two mutations of a key the last counts. */
  readonly #mutations = new Map<string, { key: Uint8Array; value?: EncodedValue }>();

  constructor(send: (commit: ByteCommit) => Promise<string | undefined>, mutationsMax: number) {
    this.#send = send;
    this.#mutationsMax = mutationsMax;
  }

  check(...checks: Deno.AtomicCheck[]): this {
    for (const { key, versionstamp } of checks) {
      this.#checks.push({ key: keyBytes(key), versionstamp });
    }
    return this;
  }

  set(key: Deno.KvKey, value: unknown, options?: unknown): this {
    if ((options as { expireIn?: number } | undefined)?.expireIn !== undefined) {
      throw new TypeError("A shared database has no expiry of keys here");
    }
    const encoded = encodeValue(value);
    if (encoded.data.length > KV_VALUE_BYTES_MAX) {
      throw new TypeError(`Value too large (max ${KV_VALUE_BYTES_MAX} bytes)`);
    }
    return this.#mutate(key, encoded);
  }

  delete(key: Deno.KvKey): this {
    return this.#mutate(key);
  }

  enqueue(): this {
    throw new TypeError("A shared database has no queue here: use the mailbox transport");
  }

  async commit(): Promise<Deno.KvCommitResult | Deno.KvCommitError> {
    if (this.#mutations.size > this.#mutationsMax) {
      throw new TypeError(`Too many mutations (max ${this.#mutationsMax})`);
    }
    const mutations = [...this.#mutations.values()];
    const versionstamp = await this.#send({ checks: this.#checks, mutations });
    return versionstamp === undefined ? { ok: false } : { ok: true, versionstamp };
  }

  #mutate(parts: Deno.KvKey, value?: EncodedValue): this {
    const key = keyBytes(parts);
    this.#mutations.set(key.toHex(), { key, value });
    return this;
  }
}

type Read = (ranges: readonly ByteRead[]) => Promise<ByteEntry[][]>;

/** A listing: each batch is a read of its own. */
class Listing implements AsyncIterableIterator<Deno.KvEntry<unknown>> {
  readonly #read: Read;
  readonly #reverse: boolean;
  readonly #batchSize: number;
  #left: number;
  #start: Uint8Array;
  #end: Uint8Array;
  #batch: ByteEntry[] = [];
  #at = 0;
  #isAtEnd = false;

  constructor(read: Read, selector: Deno.KvListSelector, options: Deno.KvListOptions) {
    if (options.cursor !== undefined) {
      throw new TypeError("A shared database lists without cursors");
    }
    const { start, end } = rangeOf(selector);
    if (Buffer.compare(start, end) > 0) throw new TypeError("Start key is greater than end key");
    const { batchSize = 100, limit = Infinity, reverse = false } = options;
    if (batchSize > KV_LIST_BATCH_MAX) {
      throw new TypeError(`Too many entries (max ${KV_LIST_BATCH_MAX})`);
    }
    this.#read = read;
    this.#reverse = reverse;
    this.#batchSize = batchSize;
    this.#left = limit;
    this.#start = start;
    this.#end = end;
  }

  async next(): Promise<IteratorResult<Deno.KvEntry<unknown>>> {
    if (this.#at === this.#batch.length && !this.#isAtEnd && this.#left > 0) await this.#readOn();
    if (this.#at === this.#batch.length || this.#left === 0) {
      return { done: true, value: undefined };
    }
    this.#left--;
    const { key: bytes, value, versionstamp } = this.#batch[this.#at++];
    const key = keyOf(bytes);
    if (key === undefined) {
      throw new TypeError(`Cannot read the key ${bytes.toHex()}: it is foreign`);
    }
    return { done: false, value: { key, value: decodeValue(value), versionstamp } };
  }

  async #readOn(): Promise<void> {
    const limit = Math.min(this.#batchSize, this.#left);
    const range = { start: this.#start, end: this.#end, limit, reverse: this.#reverse };
    [this.#batch] = await this.#read([range]);
    this.#at = 0;
    const last = this.#batch.at(-1);
    if (last === undefined || this.#batch.length < limit) this.#isAtEnd = true;
    else if (this.#reverse) this.#end = last.key;
    else this.#start = withByte(last.key, 0);
  }

  [Symbol.asyncIterator](): this {
    return this;
  }
}
