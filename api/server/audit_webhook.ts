/**
 * Audit to a webhook: events are sent as EventLists. In mode batch they are collected up to a number or a time,
 * batches leave no faster than a token bucket allows, and what the buffer cannot hold is lost and counted. A batch
 * that fails, however, is sent again with growing pauses, five times in all.
 */
import type { Clock, Timer } from "../../kv/clock.ts";
import type { Endpoint, Outbound } from "../client/outbound.ts";
import { type AuditEvent, type AuditSink, eventListText, withoutObjects } from "./audit.ts";
import type { AuditMode, AuditTruncation } from "./audit_log.ts";

/** How events are sent. */
export interface AuditWebhookOptions {
  endpoint: Endpoint;
  /** Default batch. */
  mode?: AuditMode;
  /** Events that wait at most (default 10,000). */
  bufferMax?: number;
  /** Events sent at once at most (default 400). */
  batchMax?: number;
  /** An event waits at most so long (default 30,000). */
  batchWaitMs?: number;
  /** Batches a second, and at once after a pause (default 10 and 15); false: as fast as they come. */
  throttle?: { qps: number; burst: number } | false;
  /** Pause before the second attempt (default 10,000); each further one is 1.5 times as long. */
  backoffMs?: number;
  truncation?: AuditTruncation;
}

/** Upstream's defaults. */
export const WEBHOOK_BUFFER_MAX = 10_000;
export const WEBHOOK_BATCH_MAX = 400;
export const WEBHOOK_BATCH_WAIT_MS = 30_000;
export const WEBHOOK_THROTTLE = { qps: 10, burst: 15 };
export const WEBHOOK_BACKOFF_MS = 10_000;
/** How often a batch is sent before it is given up. */
export const ATTEMPTS_MAX = 5;
const BACKOFF_FACTOR = 1.5;
const BACKOFF_JITTER = 0.2;
const TIMEOUT_MS = 30_000;

const encoder = new TextEncoder();

interface Ports {
  outbound: Outbound;
  clock: Clock;
  failed: (error: unknown, events: number) => void;
}

/** See the module's text. */
export class AuditWebhook implements AuditSink {
  readonly name = "webhook";
  readonly strict: boolean;
  readonly #options: AuditWebhookOptions;
  readonly #ports: Ports;
  readonly #bucket: Bucket | undefined;
  readonly #sending = new Set<Promise<boolean>>();
  #waiting: AuditEvent[] = [];
  #timer: Timer | undefined;
  #collecting: Promise<void> | undefined;
  #closed = false;

  constructor(options: AuditWebhookOptions, ports: Ports) {
    this.strict = options.mode === "blocking-strict";
    this.#options = options;
    this.#ports = ports;
    const throttle = options.throttle ?? WEBHOOK_THROTTLE;
    if (throttle) this.#bucket = new Bucket(throttle, ports.clock);
  }

  process(event: AuditEvent): boolean | Promise<boolean> {
    const { mode = "batch", bufferMax = WEBHOOK_BUFFER_MAX } = this.#options;
    if (mode !== "batch") {
      return this.#send([event]).then((sent) => sent || !this.strict);
    }
    if (this.#closed || this.#waiting.length >= bufferMax) {
      const why = this.#closed ? "audit backend shut down" : "audit buffer queue blocked";
      this.#ports.failed(new Error(why), 1);
      return true;
    }
    this.#waiting.push(event);
    if (this.#waiting.length >= (this.#options.batchMax ?? WEBHOOK_BATCH_MAX)) this.#collect();
    else if (!this.#timer) {
      const wait = this.#options.batchWaitMs ?? WEBHOOK_BATCH_WAIT_MS;
      this.#timer = this.#ports.clock.timer("background", wait, () => this.#collect());
    }
    return true;
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#collect();
    await this.#collecting;
    await Promise.all(this.#sending);
  }

  /** Sends what waits, batch by batch, as fast as the bucket gives tokens. */
  #collect(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
    this.#collecting ??= this.#drain().finally(() => this.#collecting = undefined);
  }

  async #drain(): Promise<void> {
    const { batchMax = WEBHOOK_BATCH_MAX } = this.#options;
    while (this.#waiting.length > 0) {
      // Whoever shuts down does not wait for tokens
      if (!this.#closed) await this.#bucket?.take();
      const batch = this.#waiting.splice(0, batchMax);
      const sent = this.#send(batch).finally(() => this.#sending.delete(sent));
      this.#sending.add(sent);
      if (this.#waiting.length < batchMax && !this.#closed) break;
    }
    if (this.#waiting.length > 0 && !this.#timer) {
      const wait = this.#options.batchWaitMs ?? WEBHOOK_BATCH_WAIT_MS;
      this.#timer = this.#ports.clock.timer("background", wait, () => this.#collect());
    }
  }

  async #send(events: readonly AuditEvent[]): Promise<boolean> {
    let all = true;
    for (const batch of this.#fitting(events)) all = await this.#sendBatch(batch) && all;
    return all;
  }

  /** Batches that are short enough; events that are too long lose their objects, or are lost. */
  *#fitting(events: readonly AuditEvent[]): Generator<readonly AuditEvent[]> {
    const { truncation } = this.#options;
    if (!truncation) return yield events;
    let batch: AuditEvent[] = [];
    let bytes = 0;
    let lost = 0;
    for (const event of events) {
      const whole = event.json.length <= truncation.eventBytesMax;
      const fit = whole ? event : withoutObjects(event);
      const size = fit.json.length;
      if (size > truncation.eventBytesMax) {
        lost++;
        continue;
      }
      if (batch.length > 0 && bytes + size > truncation.batchBytesMax) {
        yield batch;
        batch = [];
        bytes = 0;
      }
      batch.push(fit);
      bytes += size;
    }
    if (batch.length > 0) yield batch;
    if (lost) this.#ports.failed(new Error("event is too large even after truncating"), lost);
  }

  async #sendBatch(batch: readonly AuditEvent[]): Promise<boolean> {
    const { outbound, clock, failed } = this.#ports;
    const body = encoder.encode(eventListText(batch));
    let pause = this.#options.backoffMs ?? WEBHOOK_BACKOFF_MS;
    for (let attempt = 1;; attempt++) {
      try {
        const { status } = await outbound.send(this.#options.endpoint, {
          method: "POST",
          headers: { "content-type": "application/json", accept: "application/json" },
          body,
          timeoutMs: TIMEOUT_MS,
        });
        if (status >= 200 && status < 300) return true;
        throw new Error(`the audit webhook answered ${status}`);
      } catch (error) {
        if (attempt === ATTEMPTS_MAX || this.#closed) {
          failed(error, batch.length);
          return false;
        }
      }
      await clock.sleep(pause * (1 + clock.random() * BACKOFF_JITTER), { kind: "background" });
      pause *= BACKOFF_FACTOR;
    }
  }
}

/** A bucket that fills with tokens: so many a second, and no more than it holds. */
class Bucket {
  readonly #qps: number;
  readonly #burst: number;
  readonly #clock: Clock;
  #tokens: number;
  #at: number;

  constructor({ qps, burst }: { qps: number; burst: number }, clock: Clock) {
    this.#qps = qps;
    this.#burst = burst;
    this.#clock = clock;
    this.#tokens = burst;
    this.#at = clock.monotonic();
  }

  /** Takes a token, waiting for it if there is none. */
  async take(): Promise<void> {
    const now = this.#clock.monotonic();
    this.#tokens = Math.min(this.#burst, this.#tokens + (now - this.#at) / 1000 * this.#qps);
    this.#at = now;
    this.#tokens--;
    if (this.#tokens >= 0) return;
    await this.#clock.sleep(-this.#tokens / this.#qps * 1000, { kind: "background" });
  }
}
