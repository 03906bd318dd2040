/**
 * A mailbox: the keys an actor has to look at, and the pump that hands them to its handler.
 *
 * It gives actors what a durable queue does not: merging of equal keys, one handler at a time per key,
 * a bound, growing delays after failures and wake-ups at a time. It keeps nothing but keys, so losing it
 * loses nothing: whoever starts an actor lists the world first.
 *
 * It remembers for each key the newest revision that woke it (of the actor's own only where no other did), until that
 * has been handled: so what the handler writes can say what it reacts to. A retry and a come-back have the revision of the handling that asked for them.
 *
 * Guarantees (contract.ts): one-at-a-time, merged, retried, terminal, come-back, bounded, because, paused, observed.
 *
 * Keys are handled in the order of arrival. A mailbox that never runs empty lets the event loop turn
 * every `TURN_MS_MAX` of the injected clock's time, and every `KEYS_A_TURN_MAX` keys: time may stand still.
 */
import type { Clock, Timer } from "../../kv/clock.ts";
import type { ActorControl, Handled, Outcome } from "./contract.ts";
import { TerminalError } from "./contract.ts";
import { better, type Reason, told } from "./waking.ts";
import type { QueueTimes } from "./queue_times.ts";
import {
  BACKOFF_MS_MAX,
  BACKOFF_MS_MIN,
  KEYS_A_TURN_MAX,
  MAILBOX_KEYS_MAX,
  TURN_MS_MAX,
} from "./limits.ts";

/** What a mailbox is built from. */
export interface MailboxOptions {
  clock: Clock;
  /** `because`: the newest revision that woke the key; 0: none did. */
  handle(key: string, because: number): Promise<Outcome> | Outcome;
  /** A handler threw. `retryMs` is absent when the key is not tried again. */
  failed(key: string, error: unknown, retryMs: number | undefined): void;
  /**
   * Mail was dropped, and now there is room again: the steps that send everything anew. They are taken
   * one by one as room allows, so that a mailbox smaller than the world still gets through it.
   */
  overflowed(): Iterator<void>;
  /** Hears how long a key waited and how long it was worked on. */
  times?: QueueTimes;
  /** Who observes now, asked when a handler has ended. */
  observer?(): ((message: Omit<Handled, "to">) => void) | undefined;
  workers?: number;
  keysMax?: number;
  backoffMsMin?: number;
  backoffMsMax?: number;
}

/** A key that waits for a time. */
interface Wake {
  at: number;
  timer: Timer;
}

/** A handler that runs. */
interface Running {
  /** When it began (monotonic). */
  began: number;
  /** Its key came again meanwhile. */
  again: boolean;
}

/** See the module's text. Closed until `open` is called: mail that comes before waits. */
export class Mailbox implements ActorControl {
  readonly #options: MailboxOptions;
  readonly #clock: Clock;
  readonly #workers: number;
  readonly #keysMax: number;
  readonly #backoffMsMin: number;
  readonly #backoffMsMax: number;
  /** Keys in order of arrival, with the monotonic time of it. */
  readonly #waiting = new Map<string, number>();
  /** Keys whose handler runs. */
  readonly #running = new Map<string, Running>();
  /** Wake-ups that somebody asked for by `send`. */
  readonly #delayed = new Map<string, Wake>();
  /** Wake-ups that the last outcome or failure of the key asked for; any earlier handling voids them. */
  readonly #comeBack = new Map<string, Wake>();
  readonly #failures = new Map<string, number>();
  /** What woke keys which wait, now or for a time. */
  readonly #because = new Map<string, Reason>();
  #open = false;
  #dropped = false;
  #refill: Iterator<void> | undefined;
  #turnBegan = 0;
  #keysInTurn = 0;
  /** It lets the event loop turn before it goes on. */
  #turning = false;
  /** Keys that may still be handed out: all, or while it is paused those that were asked for. */
  #permits = Infinity;
  #idle: (() => void)[] = [];
  /** Counters for reports. */
  handled = 0;
  failedCount = 0;
  lastKey: string | undefined;

  constructor(options: MailboxOptions) {
    this.#options = options;
    this.#clock = options.clock;
    this.#workers = options.workers ?? 1;
    this.#keysMax = options.keysMax ?? MAILBOX_KEYS_MAX;
    this.#backoffMsMin = options.backoffMsMin ?? BACKOFF_MS_MIN;
    this.#backoffMsMax = options.backoffMsMax ?? BACKOFF_MS_MAX;
  }

  /** Keys that wait, run, and wait for a time. */
  get waiting(): number {
    return this.#waiting.size;
  }
  get running(): number {
    return this.#running.size;
  }
  /** How long handlers that run have run: all together, and the longest. */
  get unfinished(): { sumMs: number; longestMs: number } {
    const now = this.#clock.monotonic();
    let sumMs = 0;
    let longestMs = 0;
    for (const { began } of this.#running.values()) {
      sumMs += now - began;
      longestMs = Math.max(longestMs, now - began);
    }
    return { sumMs, longestMs };
  }
  get delayed(): number {
    return this.#delayed.size + this.#comeBack.size;
  }

  get paused(): boolean {
    return this.#permits < Infinity;
  }

  /** Whether a handler runs or is about to. */
  get busy(): boolean {
    return this.#running.size > 0 || (this.#waiting.size > 0 && this.#permits > 0);
  }

  pause(): void {
    this.#permits = 0;
  }

  resume(): void {
    this.#permits = Infinity;
    this.#goOn();
  }

  step(): boolean {
    if (!this.paused || this.#permits >= this.#waiting.size) return false;
    this.#permits++;
    this.#goOn();
    return true;
  }

  /** How long the oldest waiting key has waited, in ms. */
  get lagMs(): number {
    for (const since of this.#waiting.values()) return this.#clock.monotonic() - since;
    return 0;
  }

  /** Puts a key in, now or after a delay. Of several delays for one key the earliest holds. */
  send(key: string, delayMs = 0): void {
    const because = told();
    if (because !== 0 && !this.#isFullFor(key)) this.#wokenBy(key, because);
    if (delayMs > 0) {
      this.#wake(this.#delayed, key, delayMs);
      return;
    }
    const running = this.#running.get(key);
    if (running) {
      running.again = true;
      return;
    }
    this.#enqueue(key);
    this.#pump();
  }

  /** Starts handing keys out. */
  open(): void {
    this.#open = true;
    this.#goOn();
  }

  /** After a rest. */
  #goOn(): void {
    this.#turnBegan = this.#clock.monotonic();
    this.#pump();
  }

  /** Hands out no more keys; those that wait are forgotten. Resolves when the running handlers ended. */
  close(): Promise<void> {
    this.#open = false;
    this.#waiting.clear();
    for (const wake of this.#delayed.values()) wake.timer.cancel();
    for (const wake of this.#comeBack.values()) wake.timer.cancel();
    this.#delayed.clear();
    this.#comeBack.clear();
    this.#because.clear();
    if (this.#running.size === 0) return Promise.resolve();
    return new Promise((resolve) => this.#idle.push(resolve));
  }

  #enqueue(key: string): void {
    if (this.#waiting.has(key)) return;
    if (this.#waiting.size >= this.#keysMax) {
      this.#dropped = true;
      return;
    }
    this.#waiting.set(key, this.#clock.monotonic());
  }

  #wokenBy(key: string, because: Reason): void {
    const before = this.#because.get(key);
    this.#because.set(key, before === undefined ? because : better(before, because));
  }

  /** What is about to be dropped is not remembered either. */
  #isFullFor(key: string): boolean {
    return this.#because.size >= 2 * this.#keysMax && !this.#because.has(key);
  }

  /** Sets a wake-up unless an earlier one stands. */
  #wake(wakes: Map<string, Wake>, key: string, delayMs: number): void {
    const at = this.#clock.monotonic() + delayMs;
    const old = wakes.get(key);
    if (old) {
      if (old.at <= at) return;
      old.timer.cancel();
    } else if (wakes.size >= this.#keysMax) {
      this.#dropped = true;
      return;
    }
    const timer = this.#clock.timer("work", delayMs, () => {
      wakes.delete(key);
      this.send(key);
    });
    wakes.set(key, { at, timer });
  }

  /** Gives waiting keys to free workers. */
  #pump(): void {
    while (
      this.#open && !this.#turning && this.#permits > 0 && this.#running.size < this.#workers
    ) {
      const next = this.#waiting.entries().next();
      if (next.done) return;
      if (this.#turnIsOver()) return;
      const [key, since] = next.value;
      this.#waiting.delete(key);
      this.#permits--;
      const wake = this.#comeBack.get(key);
      if (wake) {
        wake.timer.cancel();
        this.#comeBack.delete(key);
      }
      const running = { began: this.#clock.monotonic(), again: false };
      this.#running.set(key, running);
      void this.#run(key, since, running);
    }
  }

  /** True when it is time to let other tasks run; then the pump goes on in a later turn. */
  #turnIsOver(): boolean {
    if (++this.#keysInTurn <= KEYS_A_TURN_MAX) {
      const now = this.#clock.monotonic();
      if (this.#running.size === 0 && this.#waiting.size === 1) {
        this.#turnBegan = now;
        return false;
      }
      if (now - this.#turnBegan < TURN_MS_MAX) return false;
    }
    this.#turning = true;
    void this.#clock.turn().then(() => {
      this.#turning = false;
      this.#keysInTurn = 0;
      this.#turnBegan = this.#clock.monotonic();
      this.#pump();
    });
    return true;
  }

  async #run(key: string, since: number, running: Running): Promise<void> {
    const { times } = this.#options;
    const { began } = running;
    const waitedMs = began - since;
    times?.queued.add(waitedMs / 1000);
    let afterMs: number | undefined;
    let failed = false;
    const because = this.#because.get(key) ?? 0;
    this.#because.delete(key);
    this.lastKey = key;
    try {
      // The handler starts in a microtask, so that sending never runs a handler inside the sender.
      await undefined;
      if (this.#open) {
        const outcome = await this.#options.handle(key, Math.abs(because));
        this.#failures.delete(key);
        if (outcome) afterMs = outcome.afterMs;
      }
    } catch (error) {
      failed = true;
      afterMs = this.#fail(key, error);
    }
    this.handled++;
    const workedMs = this.#clock.monotonic() - began;
    times?.worked.add(workedMs / 1000);
    this.#options.observer?.()?.({
      key,
      ...(because !== 0 && { because: Math.abs(because) }),
      waitedMs,
      workedMs,
      outcome: outcomeOf(failed, afterMs),
      afterMs,
    });
    const { again } = running;
    this.#running.delete(key);
    if (this.#open) {
      // What comes again of itself comes for the same reason
      if (because !== 0 && afterMs !== undefined) this.#wokenBy(key, because);
      if (again) this.#enqueue(key);
      else if (afterMs !== undefined) this.#comeAfter(key, afterMs);
      if (this.#dropped || this.#refill) this.#topUp();
      this.#pump();
    } else if (this.#running.size === 0) {
      for (const resolve of this.#idle.splice(0)) resolve();
    }
  }

  /** After an overflow: lets in as much of the world as there is room for. */
  #topUp(): void {
    while (this.#waiting.size <= this.#keysMax / 2) {
      if (!this.#refill) {
        if (!this.#dropped) return;
        this.#dropped = false;
        this.#refill = this.#options.overflowed();
      }
      if (this.#refill.next().done) this.#refill = undefined;
    }
  }

  #comeAfter(key: string, afterMs: number): void {
    if (afterMs <= 0) this.#enqueue(key);
    else this.#wake(this.#comeBack, key, afterMs);
  }

  /** Records a failure; the delay until the key is tried again, or undefined. */
  #fail(key: string, error: unknown): number | undefined {
    this.failedCount++;
    if (error instanceof TerminalError || !this.#open) {
      this.#failures.delete(key);
      this.#options.failed(key, error, undefined);
      return undefined;
    }
    const failures = this.#failures.get(key) ?? 0;
    this.#failures.set(key, failures + 1);
    const delayMs = Math.min(this.#backoffMsMin * 2 ** failures, this.#backoffMsMax);
    this.#options.failed(key, error, delayMs);
    return delayMs;
  }
}

function outcomeOf(failed: boolean, afterMs: number | undefined): Handled["outcome"] {
  if (failed) return afterMs === undefined ? "gaveUp" : "failed";
  return afterMs === undefined ? "done" : "later";
}
