/**
 * The end of a server, in order: readyz says no, so that nobody new is sent here; new requests are told to go elsewhere;
 * watches end as they would at their timeout; those that are worked on are waited for.
 */
import { unavailable } from "../machinery/errors.ts";
import type { Clock } from "../../kv/clock.ts";
import { type Call, type Reply, statusReply, textReply } from "./http.ts";

/** How long requests that are worked on are waited for. */
export const CLOSING_MS_MAX = 5_000;
/** Pause that clients are told to make. */
const RETRY_SECONDS = 1;
const RETRY_LATER_SECONDS = 5;

/** Paths that answer to the end. */
const EXEMPT = ["/readyz", "/livez", "/healthz", "/metrics"];

/** How a server is closed. */
export interface ClosingOptions {
  /** Between readyz saying no and the end (default 0). */
  delayMs?: number;
  /** Tell new requests to come again in five seconds, with 429, rather than 503 and one second. */
  retryAfter?: boolean;
}

/** See the module's text. */
export class Closing {
  /** readyz says no. */
  unready = false;
  /** New requests are told to go elsewhere. */
  refusing = false;
  /** Requests that came so far. */
  entries = 0;
  readonly #clock: Pick<Clock, "sleep">;
  readonly #options: ClosingOptions;
  readonly #streams = new Set<() => void>();
  #running = 0;
  #quiet: (() => void) | undefined;

  constructor(clock: Pick<Clock, "sleep">, options: ClosingOptions = {}) {
    this.#clock = clock;
    this.#options = options;
  }

  /** What a new request is told; undefined: it may go on. */
  refusal({ path }: Call): Reply | undefined {
    if (!this.refusing || EXEMPT.some((one) => path.startsWith(one))) return undefined;
    if (this.#options.retryAfter) {
      const reply = textReply(429, "The apiserver is shutting down, please try again later.\n");
      Object.assign(reply.headers, { connection: "close" });
      reply.headers["retry-after"] = String(RETRY_LATER_SECONDS);
      return reply;
    }
    const reply = statusReply(unavailable("apiserver is shutting down").status);
    reply.headers["retry-after"] = String(RETRY_SECONDS);
    return reply;
  }

  /** Requests that are worked on. */
  get running(): number {
    return this.#running;
  }

  /** Counts a request that is worked on; `left` ends that. */
  entered(): void {
    this.entries++;
    this.#running++;
  }

  left(): void {
    if (--this.#running === 0) this.#quiet?.();
  }

  /** Keeps a stream, to be ended by `end`; what is returned forgets it. */
  streaming(end: () => void): () => void {
    if (this.refusing) end();
    this.#streams.add(end);
    return () => this.#streams.delete(end);
  }

  /** Closes, and resolves when nothing is worked on any more, or it has taken too long. */
  async close(): Promise<void> {
    if (this.refusing) return;
    this.unready = true;
    const { delayMs = 0 } = this.#options;
    if (delayMs > 0) await this.#clock.sleep(delayMs);
    this.refusing = true;
    for (const end of this.#streams) end();
    if (this.#running === 0) return;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#quiet = resolve;
    const late = new AbortController();
    await Promise.race([
      promise.then(() => late.abort()),
      this.#clock.sleep(CLOSING_MS_MAX, { signal: late.signal }).catch(() => undefined),
    ]);
  }
}
