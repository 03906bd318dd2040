/**
 * A process's own view of the one simulated time. It dies with its process: nothing that a killed process
 * had set will ever fire, and whoever waits there waits for ever.
 */
import type { Clock, ManualClock, Timer, TimerKind } from "../../kv/clock.ts";

/** See the module's text. */
export class SimClock implements Clock {
  readonly manual = true;
  readonly #base: ManualClock;
  readonly #timers = new Set<Timer>();
  #dead = false;

  constructor(base: ManualClock) {
    this.#base = base;
  }

  /** Forgets everything that was to happen. */
  kill(): void {
    this.#dead = true;
    for (const timer of this.#timers) timer.cancel();
    this.#timers.clear();
  }

  now(): number {
    return this.#base.now();
  }

  monotonic(): number {
    return this.#base.monotonic();
  }

  timer(kind: TimerKind, delayMs: number, fn: () => void): Timer {
    if (this.#dead) return { cancel() {} };
    const set = this.#base.timer(kind, delayMs, () => {
      this.#timers.delete(set);
      fn();
    });
    this.#timers.add(set);
    return {
      cancel: () => {
        this.#timers.delete(set);
        set.cancel();
      },
    };
  }

  sleep(delayMs: number, options: { kind?: TimerKind; signal?: AbortSignal } = {}): Promise<void> {
    const { kind = "work", signal } = options;
    return new Promise((resolve, reject) => {
      if (signal?.aborted) return reject(signal.reason);
      const onAbort = () => {
        timer.cancel();
        reject(signal?.reason);
      };
      const timer = this.timer(kind, delayMs, () => {
        signal?.removeEventListener("abort", onAbort);
        resolve();
      });
      signal?.addEventListener("abort", onAbort, { once: true });
    });
  }

  turn(): Promise<void> {
    return this.#dead ? new Promise(() => {}) : this.#base.turn();
  }

  random(): number {
    return this.#base.random();
  }

  uuid(): string {
    return this.#base.uuid();
  }

  bytes(length: number): Uint8Array {
    return this.#base.bytes(length);
  }
}
