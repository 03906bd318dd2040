/**
 * Spans and metrics on their way out: OTLP over HTTP (https://opentelemetry.io/docs/specs/otlp/), in protobuf or JSON, spans in
 * batches, metrics every minute, to a collector. What cannot be sent is tried again a few times and then dropped and counted: nobody waits for it.
 */
import type { Clock, Timer } from "../../kv/clock.ts";
import type { Outbound } from "../client/outbound.ts";
import { Pace } from "../machinery/pace.ts";
import type { Span, Spans } from "../machinery/spans.ts";
import { metricsMessage, nanoseconds } from "./otlp_metrics.ts";
import { otlpProtobuf } from "./otlp_protobuf.ts";

/** Spans of one request at most, and how long they are gathered: OpenTelemetry's defaults. */
export const BATCH_SPANS_MAX = 512;
export const BATCH_WAIT_MS = 5_000;
/** How long a collector may take. */
const TIMEOUT_MS = 10_000;
/** How often a batch is sent before it is given up. */
export const ATTEMPTS_MAX = 3;
/** What a collector may say that is worth trying again (OTLP: retryable). */
const RETRYABLE = new Set([429, 502, 503, 504]);
/** The longest value of an attribute. */
const VALUE_LENGTH_MAX = 1_024;

/** How often metrics are told: OpenTelemetry's default. */
export const METRICS_EVERY_MS = 60_000;

/** Metrics are put together for so long before others have their turn. */
const SLICE_MS = 2;

/** Where spans and metrics go. */
export interface TracingOptions {
  /** The whole URL, such as `http://127.0.0.1:4318/v1/traces` (default: spans go nowhere). */
  url?: string;
  /** Sent along with spans. */
  headers?: Readonly<Record<string, string>>;
  /** Traces of a million that are recorded (default: only those that somebody outside records). */
  samplingRatePerMillion?: number;
  /** Where metrics are told as well (default: nowhere). */
  metricsUrl?: string;
  metricsHeaders?: Readonly<Record<string, string>>;
  /** How it is told (default: protobuf, as OTLP has it). */
  encoding?: keyof typeof ENCODINGS;
}

const ENCODER = new TextEncoder();

/** Forms of OTLP over HTTP. */
const ENCODINGS = {
  protobuf: { type: "application/x-protobuf", encode: otlpProtobuf },
  json: {
    type: "application/json",
    encode: (message: object) => ENCODER.encode(JSON.stringify(message)),
  },
};

/** What it needs. */
interface Ports {
  spans: Spans;
  outbound: Outbound;
  clock: Clock;
  /** This server, for whoever looks at several. */
  instance: string;
  /** What `/metrics` says now. */
  metricsText(): string;
  failed(error: unknown): void;
}

/** See the module's text. */
export class OtlpExporter {
  exported = 0;
  failures = 0;
  readonly #options: TracingOptions;
  readonly #ports: Ports;
  readonly #since: number;
  #timer: Timer | undefined;
  #metricsTimer: Timer | undefined;
  #sending: Promise<void> | undefined;
  #last: Promise<void> | undefined;
  #closed = false;

  constructor(options: TracingOptions, ports: Ports) {
    this.#options = options;
    this.#ports = ports;
    this.#since = ports.clock.now();
    ports.spans.onFirst(() => this.#arm());
    if (options.metricsUrl) this.#armMetrics();
  }

  /** Tells metrics for the last time, while all that counts is still there. */
  tellLast(): Promise<void> {
    this.#metricsTimer?.cancel();
    return this.#last ??= this.#tellMetrics();
  }

  /** Sends what is left; nothing is sent after it. */
  async close(): Promise<void> {
    this.#closed = true;
    this.#timer?.cancel();
    await this.tellLast();
    await this.#sending;
    await this.#drain();
  }

  /** Lines for `/metrics`. */
  lines(): string {
    const { dropped } = this.#ports.spans;
    const count = (name: string, help: string, value: number) =>
      `# HELP ${name} ${help}\n# TYPE ${name} counter\n${name} ${value}`;
    return [
      count("plesio_tracing_spans_exported_total", "Spans a collector took.", this.exported),
      count("plesio_tracing_spans_dropped_total", "Spans nobody took.", dropped),
    ].join("\n");
  }

  #arm(): void {
    if (this.#timer || this.#closed) return;
    this.#timer = this.#ports.clock.timer("background", BATCH_WAIT_MS, () => {
      this.#timer = undefined;
      this.#sending ??= this.#drain().finally(() => {
        this.#sending = undefined;
        if (this.#ports.spans.waiting > 0) this.#arm();
      });
    });
  }

  /** Sends what has ended by now, batch by batch. */
  async #drain(): Promise<void> {
    const { spans, instance } = this.#ports;
    const { url, headers } = this.#options;
    for (let left = spans.waiting; left > 0; left -= BATCH_SPANS_MAX) {
      const batch = spans.take(BATCH_SPANS_MAX);
      if (url && await this.#send(url, tracesOf(batch, instance), headers)) {
        this.exported += batch.length;
      } else spans.dropped += batch.length;
    }
  }

  #armMetrics(): void {
    this.#metricsTimer = this.#ports.clock.timer("background", METRICS_EVERY_MS, () => {
      void this.#tellMetrics().then(() => {
        if (!this.#last) this.#armMetrics();
      });
    });
  }

  async #tellMetrics(): Promise<void> {
    const { metricsUrl, metricsHeaders } = this.#options;
    if (!metricsUrl) return;
    const { clock, instance, metricsText, failed } = this.#ports;
    const period = { begin: this.#since, end: clock.now() };
    const pace = new Pace({
      monotonic: () => clock.monotonic(),
      sliceMs: () => SLICE_MS,
      turn: () => clock.turn(),
    });
    let message: object;
    try {
      const text = metricsText();
      await pace.rest();
      message = await metricsMessage(text, period, resourceOf(instance), pace);
      await pace.rest();
    } catch (error) {
      return failed(error);
    }
    await this.#send(metricsUrl, message, metricsHeaders);
  }

  async #send(
    url: string,
    message: object,
    headers: TracingOptions["headers"],
  ): Promise<boolean> {
    const { outbound, clock, failed } = this.#ports;
    const { type, encode } = ENCODINGS[this.#options.encoding ?? "protobuf"];
    const body = encode(message);
    for (let attempt = 1;; attempt++) {
      let problem: unknown;
      let isWorthMore = true;
      try {
        const { status } = await outbound.send({ url }, {
          method: "POST",
          headers: { ...headers, "content-type": type },
          body,
          timeoutMs: TIMEOUT_MS,
        });
        if (status >= 200 && status < 300) return true;
        problem = new Error(`the collector answered ${status}`);
        isWorthMore = RETRYABLE.has(status);
      } catch (error) {
        problem = error;
      }
      this.failures++;
      if (!isWorthMore || attempt === ATTEMPTS_MAX || this.#last) {
        failed(problem);
        return false;
      }
      await clock.sleep(BATCH_WAIT_MS, { kind: "background" });
    }
  }
}

/** Whose spans and metrics they are. */
function resourceOf(instance: string): object {
  return {
    attributes: attributesOf({ "service.name": "plesio", "service.instance.id": instance }),
  };
}

/** An ExportTraceServiceRequest of these spans. */
export function tracesOf(spans: readonly Span[], instance: string): object {
  const scopes = new Map<string, object[]>();
  for (const span of spans) {
    const known = scopes.get(span.scope);
    if (known) known.push(encoded(span));
    else scopes.set(span.scope, [encoded(span)]);
  }
  const scopeSpans = [...scopes].map(([name, spans]) => ({ scope: { name }, spans }));
  return { resourceSpans: [{ resource: resourceOf(instance), scopeSpans }] };
}

/** OTLP's numbers: of a span's kind, and of a status. */
const INTERNAL = 1;
const SERVER = 2;
const ERROR = 2;

function encoded(span: Span): object {
  const { trace, id, parent, name, serves, begin, end, attributes, events, error } = span;
  return {
    traceId: trace,
    spanId: id,
    ...(parent && { parentSpanId: parent }),
    name,
    kind: serves ? SERVER : INTERNAL,
    startTimeUnixNano: nanoseconds(begin),
    endTimeUnixNano: nanoseconds(end),
    attributes: attributesOf(attributes),
    ...(events && {
      events: events.map(({ name, at }) => ({ name, timeUnixNano: nanoseconds(at) })),
    }),
    ...(error !== undefined && { status: { code: ERROR, message: shortened(error) } }),
  };
}

function attributesOf(values: Span["attributes"]): object[] {
  const out: object[] = [];
  for (const [key, value] of Object.entries(values)) {
    if (value === undefined || value === "") continue;
    out.push({
      key,
      value: typeof value === "number"
        ? { intValue: String(value) }
        : { stringValue: shortened(value) },
    });
  }
  return out;
}

function shortened(text: string): string {
  return text.slice(0, VALUE_LENGTH_MAX);
}
