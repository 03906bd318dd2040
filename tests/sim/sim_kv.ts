/**
 * A handle on the simulated database that goes wrong as a real one does: commits take their time, fail
 * before they land or after, land long after they were given up; reads fail; a paused process gets no
 * answer until it is woken; a killed one gets none ever.
 *
 * What landed is told to `landed` in the order in which it landed, whatever its writer came to believe.
 */
import type { ManualClock } from "../../kv/clock.ts";
import type { MemoryKv } from "../../kv/mod.ts";

/** How often things go wrong, as chances of one operation. All zero: nothing does. */
export interface Trouble {
  /** A commit takes up to `slowMs`. */
  slow: number;
  slowMs: number;
  /** A commit fails and never lands. */
  lost: number;
  /** A commit lands, and its writer hears that it failed. */
  unsure: number;
  /** A commit fails, and lands later nevertheless (only where several processes write). */
  late: number;
  /** A read fails. */
  unread: number;
}

/** Nothing goes wrong. */
export const CALM: Trouble = { slow: 0, slowMs: 0, lost: 0, unsure: 0, late: 0, unread: 0 };

/** One mutation as it was asked for. */
export interface Written {
  key: Deno.KvKey;
  value: unknown;
}

/** What a handle is opened with. */
export interface SimKvOptions {
  memory: MemoryKv;
  clock: ManualClock;
  trouble(): Trouble;
  landed(written: readonly Written[]): void;
  /** A commit that is answered as if it had landed, but did not: a planted bug. */
  lies?(written: readonly Written[]): boolean;
}

/**
 * What tells of changed keys, as much of a stream as its listeners use. A real one keeps whoever made it, a whole
 * killed cluster here, until the next full collection of garbage.
 */
class Bell {
  readonly #memory: MemoryKv;
  readonly #keys: readonly Deno.KvKey[];
  readonly #end: () => void;
  #seen: readonly (string | null)[] = [];
  #waiting: (() => void) | undefined;
  #isOver = false;

  constructor(memory: MemoryKv, keys: readonly Deno.KvKey[]) {
    this.#memory = memory;
    this.#keys = keys;
    this.#end = memory.onCommit(() => this.#waiting?.());
  }

  getReader(): this {
    return this;
  }

  async read(): Promise<{ done: boolean; value?: readonly Deno.KvEntryMaybe<unknown>[] }> {
    while (!this.#isOver) {
      const value = this.#keys.map((key) => this.#memory.get(key));
      if (value.some(({ versionstamp }, i) => versionstamp !== this.#seen[i])) {
        this.#seen = value.map(({ versionstamp }) => versionstamp);
        return { done: false, value };
      }
      await new Promise<void>((resolve) => this.#waiting = resolve);
    }
    return { done: true };
  }

  cancel(): Promise<void> {
    this.#isOver = true;
    this.#end();
    this.#waiting?.();
    return Promise.resolve();
  }
}

/** One process's handle. */
export class SimKv {
  readonly kv: Deno.Kv;
  readonly #o: SimKvOptions;
  readonly #bells: Bell[] = [];
  #dead = false;
  #paused: PromiseWithResolvers<void> | undefined;

  constructor(options: SimKvOptions) {
    this.#o = options;
    const inner = options.memory.open();
    const kv = {
      get: (key: Deno.KvKey) => this.#read(() => inner.get(key)),
      getMany: (keys: Deno.KvKey[]) => this.#read(() => inner.getMany(keys)),
      list: (selector: Deno.KvListSelector, listing?: Deno.KvListOptions) => {
        const entries = inner.list(selector, listing);
        let isFirst = true;
        const next = () => {
          if (!isFirst) return entries.next();
          isFirst = false;
          return this.#read(() => entries.next());
        };
        const told = { next, [Symbol.asyncIterator]: () => told };
        return told;
      },
      set: (key: Deno.KvKey, value: unknown) => kv.atomic().set(key, value).commit(),
      delete: (key: Deno.KvKey) => kv.atomic().delete(key).commit(),
      atomic: () => this.#atomic(inner.atomic()),
      watch: (keys: Deno.KvKey[]) => {
        const bell = new Bell(options.memory, keys);
        this.#bells.push(bell);
        return bell;
      },
      close: () => inner.close(),
    };
    this.kv = kv as unknown as Deno.Kv;
  }

  /** No operation is answered any more, as when the process is gone. */
  kill(): void {
    this.#dead = true;
    for (const bell of this.#bells) void bell.cancel();
    this.kv.close();
  }

  /** No operation goes through until `resume`. */
  pause(): void {
    this.#paused ??= Promise.withResolvers();
  }

  resume(): void {
    this.#paused?.resolve();
    this.#paused = undefined;
  }

  async #gate(): Promise<void> {
    while (this.#paused) await this.#paused.promise;
    if (this.#dead) await new Promise(() => {});
  }

  #chance(of: number): boolean {
    return of > 0 && this.#o.clock.random() < of;
  }

  async #read<T>(read: () => Promise<T>): Promise<T> {
    await this.#gate();
    if (this.#chance(this.#o.trouble().unread)) throw new Error("connection lost reading");
    const result = await read();
    if (this.#dead) await new Promise(() => {});
    return result;
  }

  #atomic(inner: Deno.AtomicOperation): Deno.AtomicOperation {
    const written: Written[] = [];
    const op = {
      check: (...checks: Deno.AtomicCheck[]) => (inner.check(...checks), op),
      set: (key: Deno.KvKey, value: unknown) => {
        inner.set(key, value);
        written.push({ key, value });
        return op;
      },
      delete: (key: Deno.KvKey) => (inner.delete(key), op),
      commit: () => this.#commit(inner, written),
    };
    return op as unknown as Deno.AtomicOperation;
  }

  async #commit(
    inner: Deno.AtomicOperation,
    written: readonly Written[],
  ): Promise<Deno.KvCommitResult | Deno.KvCommitError> {
    await this.#gate();
    const { clock, lies } = this.#o;
    const trouble = this.#o.trouble();
    if (this.#chance(trouble.slow)) await clock.sleep(1 + clock.random() * trouble.slowMs);
    await this.#gate();
    if (this.#chance(trouble.lost)) throw new Error("connection lost before the commit");
    if (this.#chance(trouble.late)) {
      void clock.sleep(clock.random() * 2_000).then(() => this.#land(inner, written));
      throw new Error("connection lost, the commit lands later");
    }
    const isUnsure = this.#chance(trouble.unsure);
    if (lies?.(written)) return { ok: true, versionstamp: "f".repeat(20) };
    const result = await this.#land(inner, written);
    if (this.#dead) await new Promise(() => {});
    if (isUnsure) throw new Error("connection lost after the commit");
    return result;
  }

  async #land(
    inner: Deno.AtomicOperation,
    written: readonly Written[],
  ): Promise<Deno.KvCommitResult | Deno.KvCommitError> {
    try {
      const result = await inner.commit();
      if (result.ok) this.#o.landed(written);
      return result;
    } catch (error) {
      // The handle of a killed process is closed under what it had under way.
      if (this.#dead) return { ok: false };
      throw error;
    }
  }
}
