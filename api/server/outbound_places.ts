/**
 * What the way out remembers of the places that it asks for whole answers.
 *
 * A place that cannot be reached, or whose certificate is no good, is not tried again at once: whoever asks hears the same,
 * after as long as it took to find out, within bounds. A handshake that comes to nothing costs some milliseconds, and one
 * hook that leads nowhere is asked for by every write.
 *
 * A place is asked by so many at once, and by fewer where it does not answer in time: a hook that asks for what it is asked
 * about would else be asked without an end, each time over a connection of its own. Who waits for others does so in its own
 * time, as with a place that is slow. Calls are begun, and fail, one at a time, and between two the sockets are looked at.
 */
import type { Clock } from "../../kv/clock.ts";
import { Gate, TURN_STREAMS_MAX } from "./gate.ts";
import type { HostPlace } from "./listen.ts";

/** How long a place that could not be reached is not tried again: at first, and at most. */
export const UNREACHED_MS_MIN = 100;
export const UNREACHED_MS_MAX = 2_000;
/** Who hears only that it could not be reached waits at most so long for that. */
export const UNREACHED_HELD_MS_MAX = 25;
/** Calls to one place at once: as long as it answers in time, and where it never does. */
export const CALLS_MAX = 128;
export const CALLS_MIN = 2;
/** Why a call is ended that takes too long. */
export const LATE = new Error("context deadline exceeded");
/** Most places that are remembered. */
const PLACES_MAX = 256;

interface Failed {
  error: unknown;
  /** How long it took to find out. */
  tookMs: number;
  waitMs: number;
  until: number;
  /** Somebody tries it again. */
  trying: boolean;
}

/** Places that could not be reached, and why. */
export class Unreached {
  readonly #clock: Pick<Clock, "monotonic">;
  readonly #places = new Map<string, Failed>();

  constructor(clock: Pick<Clock, "monotonic">) {
    this.#clock = clock;
  }

  /** Why a place could not be reached, where that was just now, and how long whoever asked waits to hear it. */
  why(place: HostPlace): { error: unknown; heldMs: number } | undefined {
    const failed = this.#places.size > 0 ? this.#places.get(JSON.stringify(place)) : undefined;
    if (!failed) return undefined;
    const now = this.#clock.monotonic();
    if (now < failed.until) {
      return { error: failed.error, heldMs: Math.min(failed.tookMs, UNREACHED_HELD_MS_MAX) };
    }
    // One tries it; the others wait for what comes of that
    failed.trying = true;
    failed.until = now + failed.waitMs;
    return undefined;
  }

  failed(place: HostPlace, { error, tookMs }: Pick<Failed, "error" | "tookMs">): void {
    const key = JSON.stringify(place);
    const known = this.#places.get(key);
    // Those that were under way together are one failure
    if (known && !known.trying) return;
    if (!known && this.#places.size >= PLACES_MAX) this.#places.clear();
    const waitMs = known ? Math.min(2 * known.waitMs, UNREACHED_MS_MAX) : UNREACHED_MS_MIN;
    const until = this.#clock.monotonic() + waitMs;
    this.#places.set(key, { error, tookMs, waitMs, until, trying: false });
  }

  reached(place: HostPlace): void {
    if (this.#places.size > 0) this.#places.delete(JSON.stringify(place));
  }
}

interface Crowd {
  max: number;
  under: number;
  /** Who waits, the longest first. */
  readonly waiting: (() => void)[];
}

/** Those who ask one place at once. */
export class Crowds {
  readonly #gate: Gate;
  readonly #places = new Map<string, Crowd>();

  constructor(clock: Pick<Clock, "turn">) {
    this.#gate = new Gate(clock);
  }

  /** Resolves when a place may be asked, or when `signal` aborts. Whoever has come in says when it is over. */
  async enter({ host, port }: HostPlace, signal: AbortSignal): Promise<() => void> {
    const key = `${host} ${port}`;
    let crowd = this.#places.get(key);
    if (!crowd) this.#places.set(key, crowd = { max: CALLS_MAX, under: 0, waiting: [] });
    if (crowd.under < crowd.max) crowd.under++;
    else if (!await this.#let(crowd, signal)) return NOTHING;
    await this.turn();
    return () => this.#left(key, crowd, signal.reason !== LATE);
  }

  /** Resolves in a turn of the event loop that no other call has. */
  async turn(): Promise<void> {
    await this.#gate.turn(TURN_STREAMS_MAX);
  }

  /** Waits for others; false: no longer. */
  #let({ waiting }: Crowd, signal: AbortSignal): Promise<boolean> {
    return new Promise((resolve) => {
      const stop = () => {
        waiting.splice(waiting.indexOf(go), 1);
        resolve(false);
      };
      const go = () => {
        signal.removeEventListener("abort", stop);
        resolve(true);
      };
      if (signal.aborted) return resolve(false);
      signal.addEventListener("abort", stop, { once: true });
      waiting.push(go);
    });
  }

  #left(key: string, crowd: Crowd, inTime: boolean): void {
    crowd.under--;
    crowd.max = inTime
      ? Math.min(crowd.max + 1, CALLS_MAX)
      : Math.max(Math.floor(crowd.max / 2), CALLS_MIN);
    while (crowd.under < crowd.max && crowd.waiting.length > 0) {
      crowd.under++;
      // Of a place that is late who came last has the most time left for it: the others would be too late as well
      const go = crowd.max < CALLS_MAX ? crowd.waiting.pop()! : crowd.waiting.shift()!;
      go();
    }
    if (crowd.under > 0) return;
    // What is known of a place that fails is kept as long as there is room
    if (crowd.max === CALLS_MAX || this.#places.size > PLACES_MAX) this.#places.delete(key);
  }
}

const NOTHING = () => {};
