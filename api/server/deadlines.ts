/**
 * How long a request may take. Nearly all have the same limit, so that those under way stand in the order of their
 * ends and one timer serves them all; whoever asks for less has a timer of their own.
 */
import type { Clock, Timer } from "../../kv/clock.ts";
import { badRequest, timedOut } from "../machinery/errors.ts";
import { DurationError, parseDuration } from "../machinery/time.ts";
import type { ApiError } from "../machinery/types.ts";
import { type Place, Standing } from "./standing.ts";

/** How long a request may take that is not long-running by nature (upstream: --request-timeout). */
export const REQUEST_TIMEOUT_MS = 60_000;

/** A request and its end. */
class Waiting<T> {
  /** Monotonic, in ms. */
  readonly end: number;
  readonly #late: () => T;
  readonly #resolve: (value: T) => void;
  place: Place<Waiting<unknown>> | undefined;
  timer: Timer | undefined;

  constructor(end: number, late: () => T, resolve: (value: T) => void) {
    this.end = end;
    this.#late = late;
    this.#resolve = resolve;
  }

  fire(): void {
    this.#resolve(this.#late());
  }
}

/** See the module's text. */
export class Deadlines {
  /** The limit of requests that name none, and of those that name more. */
  readonly limitMs: number;
  readonly #clock: Clock;
  readonly #waiting = new Standing<Waiting<unknown>>();
  #timer: Timer | undefined;

  constructor(clock: Clock, limitMs = REQUEST_TIMEOUT_MS) {
    this.#clock = clock;
    this.limitMs = limitMs;
  }

  /** The limit of a request by its query, in ms. Throws 400 for what is no duration. */
  limitOf(query: string): number {
    if (!query.includes("timeout=")) return this.limitMs;
    const text = new URLSearchParams(query).get("timeout");
    if (!text) return this.limitMs;
    try {
      const asked = parseDuration(text);
      return asked > 0 && asked < this.limitMs ? asked : this.limitMs;
    } catch (error) {
      if (!(error instanceof DurationError)) throw error;
      throw badRequest(`invalid timeout specified in the request URL - ${error.message}`);
    }
  }

  /**
   * The work's result, or `limitMs` after `began` (monotonic) what `late` gives instead; the work goes on unheard.
   */
  within<T>(
    { began, limitMs }: { began: number; limitMs: number },
    work: Promise<T>,
    late: () => T,
  ): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      const waiting = new Waiting(began + limitMs, late, resolve);
      if (limitMs < this.limitMs) {
        waiting.timer = this.#clock.timer("background", limitMs, () => waiting.fire());
      } else {
        waiting.place = this.#waiting.add(waiting as Waiting<unknown>);
        this.#timer ??= this.#clock.timer("background", this.limitMs, () => this.#fire());
      }
      work.then((value) => {
        this.#done(waiting as Waiting<unknown>);
        resolve(value);
      }, (error) => {
        this.#done(waiting as Waiting<unknown>);
        reject(error);
      });
    });
  }

  #done({ place, timer }: Waiting<unknown>): void {
    if (place) this.#waiting.remove(place);
    else timer!.cancel();
  }

  /** Ends those whose time is over; the timer waits for the next one. */
  #fire(): void {
    this.#timer = undefined;
    const now = this.#clock.monotonic();
    for (const waiting of this.#waiting) {
      if (waiting.end > now) {
        this.#timer = this.#clock.timer("background", waiting.end - now, () => this.#fire());
        return;
      }
      this.#waiting.remove(waiting.place!);
      waiting.fire();
    }
  }
}

/** What a request is told whose time is over. */
export function requestTimedOut(): ApiError {
  return timedOut("request did not complete within the allotted timeout");
}
