/**
 * Time, timers and chance as one port, so that a whole cluster can run under a virtual clock and a
 * seed. Nothing outside this file (and the few places that tests/tidy_test.ts lists) reads the host's
 * clock, sets its timers or draws its random numbers.
 *
 * Two kinds of timers: `work` carries something that is due (backoff, stages, deadlines, delayed
 * mail), `background` repeats for ever (heartbeats, resyncs, probes, compaction). Settling a cluster
 * advances to work only; advancing a manual clock runs both.
 */

/** What a timer is for: see the module's text. */
export type TimerKind = "work" | "background";

/** A timer that has been set. Cancelling one that fired or was cancelled does nothing. */
export interface Timer {
  cancel(): void;
}

/** Time, timers and randomness. All durations are in milliseconds. */
export interface Clock {
  /** True for a clock that moves only when told. */
  readonly manual: boolean;
  /** Wall time, milliseconds since 1970. */
  now(): number;
  /** A time that never goes back, of no meaning but in differences. */
  monotonic(): number;
  /** Calls `fn` once after `delayMs` (0 or more). */
  timer(kind: TimerKind, delayMs: number, fn: () => void): Timer;
  /** Resolves after `delayMs`; rejects with the signal's reason when that aborts first. */
  sleep(delayMs: number, options?: { kind?: TimerKind; signal?: AbortSignal }): Promise<void>;
  /** A number in [0, 1). */
  random(): number;
  /** A random (version 4) UUID. */
  uuid(): string;
  /** `length` random bytes, fit for keys and nonces under a real clock. */
  bytes(length: number): Uint8Array;
}
