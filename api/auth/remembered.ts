/** Answers that count for a while: bounded, the longest unused forgotten first. */
import type { Clock } from "../../kv/clock.ts";

/** A memory of answers by key. */
export class Remembered<T> {
  readonly #clock: Pick<Clock, "now">;
  readonly #max: number;
  readonly #entries = new Map<string, { value: T; until: number; from: number }>();

  constructor(clock: Pick<Clock, "now">, max: number) {
    this.#clock = clock;
    this.#max = max;
  }

  /** How many are remembered. */
  get size(): number {
    return this.#entries.size;
  }

  /** What is known of a key, while it counts. A clock that went back ends it too. */
  get(key: string): T | undefined {
    const entry = this.#entries.get(key);
    if (!entry) return undefined;
    const now = this.#clock.now();
    this.#entries.delete(key);
    if (now >= entry.until || now < entry.from) return undefined;
    this.#entries.set(key, entry);
    return entry.value;
  }

  /** Remembers a value for `lifeMs`. */
  set(key: string, value: T, lifeMs: number): void {
    this.#entries.delete(key);
    if (this.#entries.size >= this.#max) {
      this.#entries.delete(this.#entries.keys().next().value!);
    }
    const from = this.#clock.now();
    this.#entries.set(key, { value, from, until: from + lifeMs });
  }

  /** Forgets one. */
  delete(key: string): void {
    this.#entries.delete(key);
  }

  /** Forgets everything. */
  clear(): void {
    this.#entries.clear();
  }
}
