/** OTLP's JSON, read strictly: what a collector of spans and metrics was told, or writes down. */
import { assertEquals, assertMatch } from "@std/assert";

/** A span, as it was told. */
export interface Span {
  traceId: string;
  spanId: string;
  parentSpanId?: string;
  name: string;
  kind: number;
  begin: bigint;
  end: bigint;
  scope: string;
  service: string;
  attributes: Record<string, string | number>;
  events: string[];
  failed: boolean;
}

type Attribute = { key: string; value: { stringValue?: string; intValue?: string } };

/** Attributes as an object. */
export function attributesOf(list: Attribute[]): Record<string, string | number> {
  return Object.fromEntries(list.map(({ key, value }) => {
    assertEquals(Object.keys(value).length, 1, key);
    return [key, value.stringValue ?? Number(value.intValue)];
  }));
}

/** All spans of a message. */
// deno-lint-ignore no-explicit-any -- what came over the wire
export function* spansOf({ resourceSpans }: any): Generator<Span> {
  for (const { resource, scopeSpans } of resourceSpans) {
    const service = attributesOf(resource.attributes)["service.name"] as string;
    for (const { scope, spans } of scopeSpans) {
      for (const span of spans) {
        assertMatch(span.traceId, /^[0-9a-f]{32}$/);
        assertMatch(span.spanId, /^[0-9a-f]{16}$/);
        yield {
          ...span,
          service,
          scope: scope.name,
          begin: BigInt(span.startTimeUnixNano),
          end: BigInt(span.endTimeUnixNano),
          attributes: attributesOf(span.attributes),
          events: (span.events ?? []).map(({ name }: { name: string }) => name),
          failed: span.status?.code === 2,
        };
      }
    }
  }
}

/** A metric, as it was told. */
// deno-lint-ignore no-explicit-any -- what came over the wire
export type Metric = any;

/** All metrics of a message. */
export function* metricsOf({ resourceMetrics }: Metric): Generator<Metric> {
  for (const { scopeMetrics } of resourceMetrics) {
    for (const { metrics } of scopeMetrics) yield* metrics;
  }
}
