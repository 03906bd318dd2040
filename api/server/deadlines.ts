/**
 * How long a request may take. Nearly all have the same limit, so that those under way stand in the order of their
 * ends and one timer serves them all; whoever asks for less has a timer of their own.
 */
import type { Clock, Timer } from "../../kv/clock.ts";
import { badRequest, timedOut } from "../machinery/errors.ts";
import { DurationError, parseDuration } from "../machinery/time.ts";
import type { ApiError } from "../machinery/types.ts";

/** How long a request may take that is not long-running by nature (upstream: --request-timeout). */
export const REQUEST_TIMEOUT_MS = 60_000;

interface Waiting {
  /** Monotonic, in ms. */
  end: number;
  late: () => void;
}

/** See the module's text. */
export class Deadlines {
  /** The limit of requests that name none, and of those that name more. */
  readonly limitMs: number;
  readonly #clock: Clock;
  readonly #waiting = new Set<Waiting>();
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

  /** The work's result, or at its limit what `late` gives instead; the work goes on unheard. */
  within<T>(limitMs: number, work: Promise<T>, late: () => T): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      const end = this.#clock.monotonic() + limitMs;
      const waiting = { end, late: () => resolve(late()) };
      const own = limitMs < this.limitMs
        ? this.#clock.timer("background", limitMs, waiting.late)
        : undefined;
      if (!own) this.#add(waiting);
      const done = () => own ? own.cancel() : this.#waiting.delete(waiting);
      work.then((value) => {
        done();
        resolve(value);
      }, (error) => {
        done();
        reject(error);
      });
    });
  }

  #add(waiting: Waiting): void {
    this.#waiting.add(waiting);
    this.#timer ??= this.#clock.timer("background", this.limitMs, () => this.#fire());
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
      this.#waiting.delete(waiting);
      waiting.late();
    }
  }
}

/** What a request is told whose time is over. */
export function requestTimedOut(): ApiError {
  return timedOut("request did not complete within the allotted timeout");
}
