/**
 * Time, timers and chance as one port, so that a whole cluster can run under a virtual clock and a
 * seed. Nothing outside this file (and the few places that tests/tidy_test.ts lists) reads the host's
 * clock, sets its timers or draws its random numbers.
 *
 * Two kinds of timers: `work` carries something that is due (backoff, stages, deadlines, delayed
 * mail), `background` repeats for ever (heartbeats, resyncs, probes, compaction). Settling a cluster
 * advances to work only; advancing a manual clock runs both.
 */

import { stat } from "node:fs";
import { setImmediate } from "node:timers";

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
  /**
   * Resolves in a later turn of the event loop: long work calls it so that others run in between. `look`: true after the
   * sockets have been looked at, false at once; else now and then (see `rest`).
   */
  turn(look?: boolean): Promise<void>;
  /** A number in [0, 1). */
  random(): number;
  /** A random (version 4) UUID. */
  uuid(): string;
  /** `length` random bytes, fit for keys and nonces under a real clock. */
  bytes(length: number): Uint8Array;
}

/** The longest delay that the host's timers take; longer ones are set in steps. */
const HOST_DELAY_MS_MAX = 2 ** 31 - 1;

/** Turns within this of a look at the sockets are cheap ones, in ms. */
const LOOK_EVERY_MS = 1;

/** The host's own time and chance. Background timers do not keep the process alive. */
export class RealClock implements Clock {
  readonly manual = false;
  readonly #timers = { work: new HostTimers(), background: new HostTimers({ idle: true }) };
  #lookedAt = 0;

  now(): number {
    return Date.now();
  }

  monotonic(): number {
    return performance.now();
  }

  timer(kind: TimerKind, delayMs: number, fn: () => void): Timer {
    return this.#timers[kind].set(delayMs, fn);
  }

  sleep(delayMs: number, options?: { kind?: TimerKind; signal?: AbortSignal }): Promise<void> {
    // Somebody waits: unlike a background timer, a sleep keeps the process alive.
    return sleepOn((fn) => this.#timers.work.set(delayMs, fn), options?.signal);
  }

  turn(look?: boolean): Promise<void> {
    if (look === false) return nextTurn();
    const now = performance.now();
    if (!look && now - this.#lookedAt < LOOK_EVERY_MS) return nextTurn();
    this.#lookedAt = now;
    return rest();
  }

  random(): number {
    return Math.random();
  }

  uuid(): string {
    return crypto.randomUUID();
  }

  bytes(length: number): Uint8Array {
    return crypto.getRandomValues(new Uint8Array(length));
  }
}

/** A timer that waits among others. */
class WaitingTimer implements Timer {
  readonly kind: TimerKind;
  readonly dueAt: number;
  readonly order: number;
  fn: () => void;
  cancelled = false;

  constructor(kind: TimerKind, { dueAt, order }: { dueAt: number; order: number }, fn: () => void) {
    this.kind = kind;
    this.dueAt = dueAt;
    this.order = order;
    this.fn = fn;
  }

  cancel(): void {
    this.cancelled = true;
    // It stays until it would have been due; what it was for need not.
    this.fn = NOTHING;
  }
}

/** Timers in the order in which they are due, and of those that are due together in which they were set. */
class TimerHeap {
  #heap: WaitingTimer[] = [];

  get size(): number {
    return this.#heap.length;
  }

  [Symbol.iterator](): Iterator<WaitingTimer> {
    return this.#heap[Symbol.iterator]();
  }

  /** The first one that was not cancelled; it stays. */
  first(): WaitingTimer | undefined {
    while (this.#heap.length > 0 && this.#heap[0].cancelled) this.pop();
    return this.#heap[0];
  }

  push(timer: WaitingTimer): void {
    const heap = this.#heap;
    let at = heap.push(timer) - 1;
    while (at > 0) {
      const parent = at - 1 >> 1;
      if (!isBefore(timer, heap[parent])) break;
      heap[at] = heap[parent];
      at = parent;
    }
    heap[at] = timer;
  }

  /** Takes the first one out. */
  pop(): void {
    const heap = this.#heap;
    const last = heap.pop();
    if (last === undefined || heap.length === 0) return;
    let at = 0;
    for (;;) {
      let child = at * 2 + 1;
      if (child >= heap.length) break;
      if (child + 1 < heap.length && isBefore(heap[child + 1], heap[child])) child++;
      if (!isBefore(heap[child], last)) break;
      heap[at] = heap[child];
      at = child;
    }
    heap[at] = last;
  }

  /** Forgets those that were cancelled. */
  compact(): void {
    const live = this.#heap.filter(({ cancelled }) => !cancelled);
    this.#heap = [];
    for (const timer of live) this.push(timer);
  }
}

/** Cancelled timers that may lie between the others. */
const CANCELLED_MAX = 1_000;

/**
 * All timers of a clock as one of the host's. The host's own cost much memory, and not only their own: each remembers the
 * request in which it was set, and lies in a table that stays as it was until a full collection when a larger one takes
 * its place, so that nothing of such a request dies young (measured: pauses of 10 ms, three a second).
 */
class HostTimers {
  readonly #timers = new TimerHeap();
  readonly #idle: boolean;
  /** Those that were not cancelled. */
  #live = 0;
  #order = 0;
  #host: ReturnType<typeof setTimeout> | undefined;
  #hostAt = Infinity;

  /** `idle`: they do not keep the process alive. */
  constructor({ idle = false }: { idle?: boolean } = {}) {
    this.#idle = idle;
  }

  set(delayMs: number, fn: () => void): Timer {
    const dueAt = performance.now() + Math.max(0, delayMs);
    const timer = new WaitingTimer("work", { dueAt, order: this.#order++ }, fn);
    this.#timers.push(timer);
    this.#live++;
    if (dueAt < this.#hostAt) this.#arm(dueAt);
    return { cancel: () => this.#cancel(timer) };
  }

  #cancel(timer: WaitingTimer): void {
    if (timer.cancelled) return;
    timer.cancel();
    this.#live--;
    const { size } = this.#timers;
    if (this.#live === 0 || size > 2 * this.#live + CANCELLED_MAX) this.#timers.compact();
    if (this.#live === 0) this.#disarm();
  }

  #disarm(): void {
    clearTimeout(this.#host);
    this.#host = undefined;
    this.#hostAt = Infinity;
  }

  #arm(at: number): void {
    clearTimeout(this.#host);
    this.#hostAt = at;
    const leftMs = Math.max(0, at - performance.now());
    this.#host = setTimeout(() => this.#fire(), Math.min(leftMs, HOST_DELAY_MS_MAX));
    if (this.#idle) this.#host.unref();
  }

  /** Calls what is due. Where one throws, the others are called by the next of the host's. */
  #fire(): void {
    this.#disarm();
    const now = performance.now();
    try {
      for (;;) {
        const timer = this.#timers.first();
        if (!timer || timer.dueAt > now) return;
        this.#timers.pop();
        this.#live--;
        const { fn } = timer;
        timer.cancel();
        fn();
      }
    } finally {
      const next = this.#timers.first();
      if (next && next.dueAt < this.#hostAt) this.#arm(next.dueAt);
    }
  }
}

/** Where manual clocks start unless told: 2026-01-01T00:00:00Z. */
export const MANUAL_START_MS = 1_767_225_600_000;

/**
 * A clock that stands still until `advance` moves it, with chance drawn from a seed: two runs with the
 * same seed and the same calls see the same times, numbers and UUIDs. Its bytes are not secret.
 */
export class ManualClock implements Clock {
  readonly manual = true;
  readonly seed: number;
  readonly #startMs: number;
  #now: number;
  #order = 0;
  readonly #timers = new TimerHeap();
  #state: [number, number, number, number];

  /**
   * `startMs`: wall time to begin with. `seed`: any integer (default 1). `stream`: which of a seed's sequences (default
   * 0): what goes on from another clock's state must not draw its UUIDs once more.
   */
  constructor(options: { startMs?: number; seed?: number; stream?: number } = {}) {
    this.#startMs = this.#now = options.startMs ?? MANUAL_START_MS;
    this.seed = options.seed ?? 1;
    this.#state = [0x9e3779b9, 0x243f6a88 ^ (options.stream ?? 0), 0xb7e15162, this.seed >>> 0];
    for (let i = 0; i < 15; i++) this.#next();
  }

  now(): number {
    // Whole, as the host's: timers may fall due between two milliseconds.
    return Math.floor(this.#now);
  }

  monotonic(): number {
    return this.#now - this.#startMs;
  }

  timer(kind: TimerKind, delayMs: number, fn: () => void): Timer {
    const dueAt = this.#now + Math.max(0, delayMs);
    const timer = new WaitingTimer(kind, { dueAt, order: this.#order++ }, fn);
    this.#timers.push(timer);
    return timer;
  }

  sleep(delayMs: number, options?: { kind?: TimerKind; signal?: AbortSignal }): Promise<void> {
    const kind = options?.kind ?? "work";
    return sleepOn((fn) => this.timer(kind, delayMs, fn), options?.signal);
  }

  turn(): Promise<void> {
    return nextTurn();
  }

  random(): number {
    return this.#next() / 0x1_0000_0000;
  }

  uuid(): string {
    let text = "";
    for (let i = 0; i < 16; i++) {
      let byte = this.#next() & 0xff;
      if (i === 6) byte = byte & 0x0f | 0x40;
      else if (i === 8) byte = byte & 0x3f | 0x80;
      if (i === 4 || i === 6 || i === 8 || i === 10) text += "-";
      text += HEX[byte >> 4] + HEX[byte & 0x0f];
    }
    return text;
  }

  bytes(length: number): Uint8Array {
    const bytes = new Uint8Array(length);
    for (let i = 0; i < length; i++) bytes[i] = this.#next() & 0xff;
    return bytes;
  }

  /** When the earliest work timer is due (wall time), or undefined when there is none. */
  nextWorkAt(): number | undefined {
    let dueAt: number | undefined;
    for (const timer of this.#timers) {
      if (timer.kind !== "work" || timer.cancelled) continue;
      if (dueAt === undefined || timer.dueAt < dueAt) dueAt = timer.dueAt;
    }
    return dueAt;
  }

  /** When the earliest timer of any kind is due, or undefined. */
  nextAt(): number | undefined {
    return this.#timers.first()?.dueAt;
  }

  /**
   * Moves time on by `ms` and calls what falls due, in order of time and then of setting, timers set
   * meanwhile included. Between two timers promise reactions run, so that chains of awaits which need
   * no I/O get as far as they can.
   */
  async advance(ms: number): Promise<void> {
    if (!(ms >= 0)) throw new RangeError(`Cannot advance a clock by ${ms} ms: time goes forward`);
    const until = this.#now + ms;
    for (;;) {
      const timer = this.#timers.first();
      if (timer === undefined || timer.dueAt > until) break;
      this.#timers.pop();
      this.#now = Math.max(this.#now, timer.dueAt);
      timer.fn();
      for (let i = 0; i < 8; i++) await RESOLVED;
    }
    this.#now = until;
  }

  /**
   * Time passes while nothing runs, as on a machine that slept: what fell due meanwhile is called late, by the next
   * `advance`.
   */
  jump(ms: number): void {
    if (!(ms >= 0)) throw new RangeError(`Cannot jump by ${ms} ms: time goes forward`);
    this.#now += ms;
  }

  /** sfc32: small, fast, and good enough for choices and test data. */
  #next(): number {
    const s = this.#state;
    const t = (s[0] + s[1] | 0) + s[3] | 0;
    s[3] = s[3] + 1 | 0;
    s[0] = s[1] ^ s[1] >>> 9;
    s[1] = s[2] + (s[2] << 3) | 0;
    s[2] = (s[2] << 21 | s[2] >>> 11) + t | 0;
    return t >>> 0;
  }
}

/** Another clock, of which can be said when the next work is due: for who wants to do nothing until then. */
export class WorkClock implements Clock {
  readonly manual: boolean;
  readonly #clock: Clock;
  /** When each work timer is due, by the monotonic time. */
  readonly #due = new Map<object, number>();

  constructor(clock: Clock) {
    this.#clock = clock;
    this.manual = clock.manual;
  }

  /** When the earliest work timer is due (wall time), or undefined when there is none. */
  nextWorkAt(): number | undefined {
    if (this.#due.size === 0) return undefined;
    const first = Math.min(...this.#due.values());
    return this.#clock.now() + Math.max(0, first - this.#clock.monotonic());
  }

  timer(kind: TimerKind, delayMs: number, fn: () => void): Timer {
    if (kind !== "work") return this.#clock.timer(kind, delayMs, fn);
    const mark = {};
    this.#due.set(mark, this.#clock.monotonic() + delayMs);
    const timer = this.#clock.timer(kind, delayMs, () => {
      this.#due.delete(mark);
      fn();
    });
    return {
      cancel: () => {
        this.#due.delete(mark);
        timer.cancel();
      },
    };
  }

  sleep(delayMs: number, options?: { kind?: TimerKind; signal?: AbortSignal }): Promise<void> {
    const { kind = "work", signal } = options ?? {};
    if (kind !== "work") return this.#clock.sleep(delayMs, options);
    return sleepOn((fn) => this.timer(kind, delayMs, fn), signal);
  }

  now(): number {
    return this.#clock.now();
  }

  monotonic(): number {
    return this.#clock.monotonic();
  }

  turn(look?: boolean): Promise<void> {
    return this.#clock.turn(look);
  }

  random(): number {
    return this.#clock.random();
  }

  uuid(): string {
    return this.#clock.uuid();
  }

  bytes(length: number): Uint8Array {
    return this.#clock.bytes(length);
  }
}

const HEX = "0123456789abcdef";

/** One for all who only let promise reactions run. */
const RESOLVED = Promise.resolve();

const NOTHING = () => {};

function isBefore(a: WaitingTimer, b: WaitingTimer): boolean {
  return a.dueAt < b.dueAt || a.dueAt === b.dueAt && a.order < b.order;
}

function sleepOn(set: (fn: () => void) => Timer, signal: AbortSignal | undefined): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal?.aborted) return reject(signal.reason);
    const onAbort = () => {
      timer.cancel();
      reject(signal?.reason);
    };
    const timer = set(() => {
      signal?.removeEventListener("abort", onAbort);
      resolve();
    });
    signal?.addEventListener("abort", onAbort, { once: true });
  });
}

/**
 * Resolves after the sockets have been looked at. A loop that always finds work does so only every 61st turn (measured:
 * work in pieces of 5 ms keeps everybody else waiting for 300 ms); it does when it has to wait, and for another thread
 * it waits a few microseconds.
 */
function rest(): Promise<void> {
  return new Promise((resolve) => stat(".", () => resolve()));
}

/** Resolves in a later turn of the event loop, after what is due there. */
function nextTurn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
