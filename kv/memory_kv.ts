/**
 * A Deno KV in memory that never leaves the microtask queue: with it a whole cluster under a manual clock
 * runs the same way from the same seed. Deno's own `:memory:` answers from another thread, in its own time
 * (and takes 60 µs for a commit where this takes 5).
 *
 * It is as strict as the real one: checks, limits, list batches that are separate reads, watches that
 * merge. It has no queue: the mailbox transport is for that. Several handles share one memory, so that
 * several processes can be simulated, and a restart.
 */

import {
  KV_COMMIT_BYTES_MAX,
  KV_COMMIT_KEY_BYTES_MAX,
  KV_GET_MANY_MAX,
  KV_LIST_BATCH_MAX,
  KV_MUTATIONS_MAX,
  KV_VALUE_BYTES_MAX,
} from "./limits.ts";

/** One entry. `key` is the key as an ordered string. */
interface Stored {
  readonly key: string;
  readonly parts: Deno.KvKey;
  readonly value: unknown;
  readonly versionstamp: string;
}

interface Mutation {
  readonly key: string;
  readonly parts: Deno.KvKey;
  /** Undefined deletes. */
  readonly value: unknown;
  readonly isDelete: boolean;
}

/** What handles share. */
export class MemoryKv {
  readonly #entries = new Map<string, Stored>();
  readonly #order = new KeyOrder();
  #version = 0;
  readonly #watches: Set<() => void> = new Set();

  /** A handle. Closing it closes neither the memory nor other handles. */
  open(): Deno.Kv {
    return new Handle(this) as unknown as Deno.Kv;
  }

  get(parts: Deno.KvKey): Deno.KvEntryMaybe<unknown> {
    return entryOf(parts, this.#entries.get(orderedKey(parts)));
  }

  /** The entries from `from` up to `end` (excluded), at most `max` of them. */
  read(from: string, end: string, max: number): Stored[] {
    return this.#order.range(from, end, max).map((key) => this.#entries.get(key)!);
  }

  /** Applies mutations if every check holds; returns the versionstamp. */
  commit(checks: readonly Deno.AtomicCheck[], mutations: readonly Mutation[]): string | undefined {
    for (const { key, versionstamp } of checks) {
      if (this.get(key).versionstamp !== versionstamp) return undefined;
    }
    const versionstamp = (++this.#version).toString(16).padStart(20, "0");
    for (const { key, parts, value, isDelete } of mutations) {
      if (!isDelete) {
        const before = this.#entries.size;
        this.#entries.set(key, { key, parts, value, versionstamp });
        if (this.#entries.size > before) this.#order.add(key);
      } else if (this.#entries.delete(key)) this.#order.remove(key);
    }
    if (this.#watches.size > 0) { for (const tell of [...this.#watches]) tell(); }
    return versionstamp;
  }

  /** Calls `tell` after each commit; returns what ends that. */
  onCommit(tell: () => void): () => void {
    this.#watches.add(tell);
    return () => this.#watches.delete(tell);
  }
}

/** The most keys of a run, and how few make two of them one. */
const RUN_KEYS_MAX = 128;
const RUN_KEYS_MIN = 32;

/** Keys in order, in runs of neighbours. It changes in place: nobody looks at it across a turn. */
class KeyOrder {
  readonly #runs: string[][] = [];

  /** Adds a key that is not there. */
  add(key: string): void {
    const runs = this.#runs;
    if (runs.length === 0) return void runs.push([key]);
    const at = this.#runOf(key);
    const run = runs[at];
    if (run[run.length - 1] < key) run.push(key);
    else run.splice(indexOf(run, key), 0, key);
    if (run.length <= RUN_KEYS_MAX) return;
    // Keys that only grow leave full runs behind.
    const cut = at === runs.length - 1 && run[run.length - 1] === key
      ? RUN_KEYS_MAX
      : RUN_KEYS_MAX >> 1;
    runs.splice(at + 1, 0, run.splice(cut));
  }

  /** Removes a key that is there. */
  remove(key: string): void {
    const runs = this.#runs;
    const at = this.#runOf(key);
    const run = runs[at];
    if (run[0] === key) run.shift();
    else run.splice(indexOf(run, key), 1);
    if (run.length === 0) return void runs.splice(at, 1);
    const next = runs[at + 1];
    if (next === undefined || run.length + next.length > RUN_KEYS_MIN) return;
    runs.splice(at, 2, run.concat(next));
  }

  /** Keys from `from` up to `end` (excluded), at most `max` of them. */
  range(from: string, end: string, max: number): string[] {
    const found: string[] = [];
    const runs = this.#runs;
    if (runs.length === 0) return found;
    let at = this.#runOf(from);
    let i = indexOf(runs[at], from);
    while (found.length < max) {
      if (i === runs[at].length) {
        if (++at === runs.length) break;
        i = 0;
      }
      const key = runs[at][i++];
      if (key >= end) break;
      found.push(key);
    }
    return found;
  }

  /** The last run that begins at or before a key, or the first. */
  #runOf(key: string): number {
    const runs = this.#runs;
    let low = 1;
    let high = runs.length;
    while (low < high) {
      const middle = low + high >>> 1;
      if (runs[middle][0] <= key) low = middle + 1;
      else high = middle;
    }
    return low - 1;
  }
}

/** The index of the first key that is `key` or greater. */
function indexOf(run: readonly string[], key: string): number {
  let low = 0;
  let high = run.length;
  while (low < high) {
    const middle = low + high >>> 1;
    if (run[middle] < key) low = middle + 1;
    else high = middle;
  }
  return low;
}

const OPEN = Promise.resolve();
/** Microtasks of a commit beyond those of a read. */
const COMMIT_TURNS = 3;

class Handle {
  readonly #memory: MemoryKv;
  #watchEnds: Set<() => void> = new Set();
  #isClosed = false;

  constructor(memory: MemoryKv) {
    this.#memory = memory;
  }

  async get(key: Deno.KvKey): Promise<Deno.KvEntryMaybe<unknown>> {
    await this.#open();
    return this.#memory.get(key);
  }

  async getMany(keys: readonly Deno.KvKey[]): Promise<Deno.KvEntryMaybe<unknown>[]> {
    await this.#open();
    if (keys.length > KV_GET_MANY_MAX) {
      throw new TypeError(`Too many ranges (max ${KV_GET_MANY_MAX})`);
    }
    return keys.map((key) => this.#memory.get(key));
  }

  async set(key: Deno.KvKey, value: unknown): Promise<Deno.KvCommitResult> {
    const result = await this.atomic().set(key, value).commit();
    return result as Deno.KvCommitResult;
  }

  async delete(key: Deno.KvKey): Promise<void> {
    await this.atomic().delete(key).commit();
  }

  list(selector: Deno.KvListSelector, options: Deno.KvListOptions = {}): List {
    const { from, end } = rangeOf(selector);
    return new List({ memory: this.#memory, open: () => this.#open(), from, end, ...options });
  }

  atomic(): Atomic {
    return new Atomic(this.#memory, () => this.#open());
  }

  watch(keys: readonly Deno.KvKey[]): ReadableStream<Deno.KvEntryMaybe<unknown>[]> {
    const seen: (string | null)[] = [];
    let wake: (() => void) | undefined;
    const end = this.#memory.onCommit(() => wake?.());
    let isOver = false;
    const stop = () => {
      isOver = true;
      end();
      this.#watchEnds.delete(stop);
      wake?.();
    };
    this.#watchEnds.add(stop);
    const read = () => keys.map((key) => this.#memory.get(key));
    return new ReadableStream({
      async pull(controller) {
        for (;;) {
          if (isOver) return controller.close();
          const entries = read();
          if (seen.length === 0 || entries.some((e, i) => e.versionstamp !== seen[i])) {
            entries.forEach((entry, i) => seen[i] = entry.versionstamp);
            return controller.enqueue(entries);
          }
          await new Promise<void>((resolve) => wake = resolve);
        }
      },
      cancel: stop,
    }, { highWaterMark: 0 });
  }

  enqueue(): Promise<never> {
    return Promise.reject(new TypeError("MemoryKv has no queue: use the mailbox transport"));
  }

  listenQueue(): Promise<never> {
    return this.enqueue();
  }

  close(): void {
    this.#isClosed = true;
    for (const end of [...this.#watchEnds]) end();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  /** Every answer comes in a later microtask. */
  #open(): Promise<void> {
    return OPEN.then(this.#check);
  }

  readonly #check = (): void => {
    if (this.#isClosed) throw new TypeError("The database is closed");
  };
}

class Atomic {
  readonly #memory: MemoryKv;
  readonly #open: () => Promise<void>;
  readonly #checks: Deno.AtomicCheck[] = [];
  readonly #mutations: Mutation[] = [];
  #bytes = 0;
  #keyBytes = 0;

  constructor(memory: MemoryKv, open: () => Promise<void>) {
    this.#memory = memory;
    this.#open = open;
  }

  check(...checks: Deno.AtomicCheck[]): this {
    this.#checks.push(...checks);
    return this;
  }

  set(parts: Deno.KvKey, value: unknown): this {
    const key = this.#count(parts);
    const copy = value instanceof Uint8Array ? owned(value) : structuredClone(value);
    const bytes = value instanceof Uint8Array ? value.length : 64;
    if (bytes > KV_VALUE_BYTES_MAX) {
      throw new TypeError(`Value too large (max ${KV_VALUE_BYTES_MAX} bytes)`);
    }
    this.#bytes += bytes;
    this.#mutations.push({ key, parts, value: copy, isDelete: false });
    return this;
  }

  delete(parts: Deno.KvKey): this {
    this.#mutations.push({ key: this.#count(parts), parts, value: undefined, isDelete: true });
    return this;
  }

  enqueue(): this {
    throw new TypeError("MemoryKv has no queue: use the mailbox transport");
  }

  async commit(): Promise<Deno.KvCommitResult | Deno.KvCommitError> {
    await this.#open();
    // A commit takes longer than a read, as with the real one: else who lost never comes to the end of the log.
    for (let i = 0; i < COMMIT_TURNS; i++) await undefined;
    if (this.#mutations.length > KV_MUTATIONS_MAX) {
      throw new TypeError(`Too many mutations (max ${KV_MUTATIONS_MAX})`);
    }
    if (this.#bytes + this.#keyBytes > KV_COMMIT_BYTES_MAX) {
      throw new TypeError(`Total mutation size too large (max ${KV_COMMIT_BYTES_MAX} bytes)`);
    }
    if (this.#keyBytes > KV_COMMIT_KEY_BYTES_MAX) {
      throw new TypeError(`Total key size too large (max ${KV_COMMIT_KEY_BYTES_MAX} bytes)`);
    }
    const versionstamp = this.#memory.commit(this.#checks, this.#mutations);
    return versionstamp === undefined ? { ok: false } : { ok: true, versionstamp };
  }

  #count(parts: Deno.KvKey): string {
    const key = orderedKey(parts);
    this.#keyBytes += key.length * 2;
    return key;
  }
}

/**
 * Bytes that are given belong to the memory (the real one keeps a copy), unless they are a part of more: that would be
 * kept as well.
 */
function owned(bytes: Uint8Array): Uint8Array {
  return bytes.length === bytes.buffer.byteLength ? bytes : bytes.slice();
}

interface ListOptions extends Deno.KvListOptions {
  memory: MemoryKv;
  open: () => Promise<void>;
  from: string;
  end: string;
}

class List implements AsyncIterableIterator<Deno.KvEntry<unknown>> {
  readonly #o: ListOptions;
  #from: string;
  #batch: Stored[] = [];
  #left: number;
  #isAtEnd = false;

  constructor(options: ListOptions) {
    if (options.reverse || options.cursor !== undefined) {
      throw new TypeError("MemoryKv lists forwards and without cursors");
    }
    this.#o = options;
    this.#from = options.from;
    this.#left = options.limit ?? Infinity;
  }

  next(): Promise<IteratorResult<Deno.KvEntry<unknown>>> {
    // Only a read waits: a reader must be faster than a writer, or it never reaches the end of a log.
    if (this.#batch.length > 0 || this.#isAtEnd) return Promise.resolve(this.#take());
    return this.#o.open().then(() => {
      this.#read();
      return this.#take();
    });
  }

  #take(): IteratorResult<Deno.KvEntry<unknown>> {
    const stored = this.#batch.shift();
    if (stored === undefined || this.#left-- <= 0) return { done: true, value: undefined };
    const { parts, value, versionstamp } = stored;
    return { done: false, value: { key: parts, value, versionstamp } };
  }

  /** Each batch is a read of its own, as with the real one. */
  #read(): void {
    const size = Math.min(this.#o.batchSize ?? 100, KV_LIST_BATCH_MAX, this.#left);
    this.#batch = this.#o.memory.read(this.#from, this.#o.end, size + 1);
    if (this.#batch.length <= size) this.#isAtEnd = true;
    else this.#from = this.#batch.pop()!.key;
  }

  [Symbol.asyncIterator](): this {
    return this;
  }
}

function entryOf(parts: Deno.KvKey, stored: Stored | undefined): Deno.KvEntryMaybe<unknown> {
  if (stored === undefined) return { key: parts, value: null, versionstamp: null };
  return { key: stored.parts, value: stored.value, versionstamp: stored.versionstamp };
}

function rangeOf(selector: Deno.KvListSelector): { from: string; end: string } {
  const { prefix, start, end } = selector as
    & { prefix?: Deno.KvKey }
    & Partial<
      { start: Deno.KvKey; end: Deno.KvKey }
    >;
  const prefixKey = prefix === undefined ? undefined : orderedKey(prefix);
  return {
    from: start !== undefined ? orderedKey(start) : prefixKey + "\0",
    end: end !== undefined ? orderedKey(end) : prefixKey + "\u00ff",
  };
}

/** What names spaces and sorts of keys, as parts of ordered keys. */
const words = new Map(["o", "e", "change", "head"].map((word) => [word, orderedText(word)]));

function orderedText(text: string): string {
  return "\u0002" + text.replaceAll("\0", "\0\u00ff") + "\0";
}

const numbers = new DataView(new ArrayBuffer(8));

/** A key as a string whose order is that of Deno KV: by type of part, then by value. */
export function orderedKey(parts: Deno.KvKey): string {
  let key = "";
  for (const part of parts) {
    if (typeof part === "string") key += words.get(part) ?? orderedText(part);
    else if (typeof part === "number") key += "\u0003" + orderedNumber(part);
    else if (typeof part === "boolean") key += part ? "\u0006" : "\u0005";
    else if (part instanceof Uint8Array) {
      key += "\u0001" + Array.from(part, (byte) => String.fromCharCode(byte + 1)).join("") + "\0";
    } else throw new TypeError(`MemoryKv has no keys of ${typeof part}`);
  }
  return key;
}

function orderedNumber(value: number): string {
  numbers.setFloat64(0, value);
  const isNegative = numbers.getUint8(0) >= 0x80;
  const rest = isNegative ? 0xffff : 0;
  return String.fromCharCode(
    numbers.getUint16(0) ^ (isNegative ? 0xffff : 0x8000),
    numbers.getUint16(2) ^ rest,
    numbers.getUint16(4) ^ rest,
    numbers.getUint16(6) ^ rest,
  );
}
