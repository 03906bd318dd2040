/**
 * Asking somebody outside: a review (SubjectAccessReview, TokenReview) is posted as JSON, its status is the answer.
 * What may pass is tried again with growing pauses (connection reset, 500, 504, 429, Retry-After); everything else
 * fails at once. What fails is an Error in the words of upstream's client.
 */
import type { Clock } from "../../kv/clock.ts";
import { type Endpoint, type Outbound, OutboundError } from "../client/outbound.ts";
import { refusalOf, type WebhookError } from "../client/webhook_call.ts";
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
  /** Whether it may pass: the other side says so, or it is one of its own faults. */
  readonly again: boolean;
  constructor({ message, passing }: WebhookError, retryAfter: boolean) {
    super(message);
    this.again = retryAfter || passing;
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
    const refused = refusalOf(answer);
    if (refused) throw new Refused(refused, answer.headers["retry-after"] !== undefined);
    return this.#statusOf(new TextDecoder().decode(answer.body));
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
