/**
 * Asking somebody outside: a review (SubjectAccessReview, TokenReview) is posted as JSON, its status is the answer.
 * What may pass is tried again with growing pauses (connection reset, 500, 504, 429, Retry-After); everything else
 * fails at once. What fails is an Error in the words of upstream's client.
 */
import type { Clock } from "../../kv/clock.ts";
import { type Endpoint, type Outbound, OutboundError } from "../client/outbound.ts";
import { REFUSAL_TEXTS } from "../client/webhook_call.ts";
import { formatDuration } from "../machinery/time.ts";
import {
  REVIEW_BYTES_MAX,
  REVIEW_RETRY_FACTOR,
  REVIEW_RETRY_JITTER,
  REVIEW_RETRY_MS,
  REVIEW_TIMEOUT_MS,
  REVIEW_TRIES_MAX,
} from "./limits.ts";

/** How reviews are asked. */
export interface ReviewWebhookOptions {
  outbound: () => Outbound;
  clock: Clock;
  endpoint: Endpoint;
  /** `authorization.k8s.io/v1` and the like. */
  apiVersion: string;
  kind: string;
  /** What a status is before it is answered, as upstream sends it. */
  empty: Record<string, unknown>;
  /** Of one try (default 30 s). */
  timeoutMs?: number;
  /** The pause after the first try (default 500 ms). */
  retryMs?: number;
  /** How often one review is tried (default 5). */
  triesMax?: number;
}

/** A review's answer, unchecked. */
// deno-lint-ignore no-explicit-any -- what somebody outside sent
type Sent = any;

/** What the other side answered instead of a review. */
class Refused extends Error {
  readonly again: boolean;
  constructor(message: string, again: boolean) {
    super(message);
    this.again = again;
  }
}

/** Posts reviews to one place. */
export class ReviewWebhook {
  readonly #options: ReviewWebhookOptions;

  constructor(options: ReviewWebhookOptions) {
    this.#options = options;
  }

  /** The status of the answer. Rejects with an Error. */
  async ask(spec: Record<string, unknown>): Promise<Record<string, unknown>> {
    const { clock, triesMax = REVIEW_TRIES_MAX } = this.#options;
    let pauseMs = this.#options.retryMs ?? REVIEW_RETRY_MS;
    for (let attempt = 1;; attempt++) {
      try {
        return await this.#post(spec);
      } catch (error) {
        if (attempt >= triesMax || !passing(error)) throw error;
      }
      await clock.sleep(pauseMs * (1 + clock.random() * REVIEW_RETRY_JITTER));
      pauseMs *= REVIEW_RETRY_FACTOR;
    }
  }

  async #post(spec: Record<string, unknown>): Promise<Record<string, unknown>> {
    const { apiVersion, kind, empty, endpoint, outbound } = this.#options;
    const timeoutMs = this.#options.timeoutMs ?? REVIEW_TIMEOUT_MS;
    const review = { kind, apiVersion, metadata: {}, spec, status: empty };
    const answer = await outbound().send(endpoint, {
      method: "POST",
      query: `timeout=${formatDuration(timeoutMs)}`,
      headers: { "content-type": "application/json", accept: "application/json, */*" },
      body: new TextEncoder().encode(JSON.stringify(review)),
      timeoutMs,
      bytesMax: REVIEW_BYTES_MAX,
    });
    const text = new TextDecoder().decode(answer.body);
    if (answer.status < 200 || answer.status > 299) {
      throw refusedBy(answer.status, text, answer.headers["retry-after"] !== undefined);
    }
    return this.#statusOf(text);
  }

  #statusOf(text: string): Record<string, unknown> {
    const { apiVersion, kind } = this.#options;
    let sent: Sent;
    try {
      sent = JSON.parse(text);
    } catch (error) {
      throw new Error(
        `couldn't get version/kind; json parse error: ${(error as Error).message}`,
      );
    }
    if (!isObject(sent)) throw new Error("couldn't get version/kind; json parse error: no object");
    if (sent.kind === "Status" && sent.status === "Failure") {
      throw new Error(String(sent.message ?? "unknown"));
    }
    if ((sent.apiVersion ?? apiVersion) !== apiVersion || (sent.kind ?? kind) !== kind) {
      throw new Error(
        `no kind ${JSON.stringify(String(sent.kind))} is registered for version ` +
          `${JSON.stringify(String(sent.apiVersion))}: wanted ${apiVersion}, Kind=${kind}`,
      );
    }
    const { status = {} } = sent;
    if (!isObject(status)) throw new Error("json: cannot unmarshal status into a review's status");
    return status;
  }
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function passing(error: unknown): boolean {
  if (error instanceof Refused) return error.again;
  return error instanceof OutboundError && error.failure === "connection" &&
    /connection reset|http2: client connection lost/.test(error.message);
}

/** An answer that is no success, as upstream's client words it: its own Status, else by the code. */
function refusedBy(code: number, text: string, retryAfter: boolean): Refused {
  const again = retryAfter || code === 429 || code === 504 ||
    code >= 500 && code !== 503;
  try {
    const sent = JSON.parse(text);
    if (sent?.kind === "Status" && typeof sent.message === "string") {
      return new Refused(sent.message, again);
    }
  } catch {
    // Not every server speaks JSON: then the code says what there is to say
  }
  const shown = text.trim() || "unknown";
  const message = code === 403 ? shown : REFUSAL_TEXTS[code] ??
    (code >= 500
      ? `an error on the server (${
        JSON.stringify(shown)
      }) has prevented the request from succeeding`
      : `the server responded with the status code ${code} but did not return more information`);
  return new Refused(message, again);
}
