import { assert, assertEquals, assertMatch } from "@std/assert";
import { ManualClock } from "../../kv/mod.ts";
import { Message } from "../../kv/protobuf.ts";
import { OutboundError } from "../client/outbound.ts";
import type { Outbound, OutboundRequest } from "../client/outbound.ts";
import { Pace } from "../machinery/pace.ts";
import { type Span, Spans, SPANS_WAITING_MAX, TRACES_REMEMBERED_MAX } from "../machinery/spans.ts";
import {
  ATTEMPTS_MAX,
  BATCH_SPANS_MAX,
  BATCH_WAIT_MS,
  METRICS_EVERY_MS,
  OtlpExporter,
  tracesOf,
} from "./otlp.ts";
import { metricsMessage } from "./otlp_metrics.ts";
import { otlpProtobuf } from "./otlp_protobuf.ts";

const TRACE = "0af7651916cd43dd8448eb211c80319c";

function spanOf(spans: Spans): Span {
  const begin = spans.now();
  const id = spans.next();
  return { trace: TRACE, id, name: "n", scope: "s", begin, end: begin + 1.5, attributes: {} };
}

function world(answer: (nth: number) => number | Error = () => 200) {
  const clock = new ManualClock();
  const traceOf = () => TRACE;
  const spans = new Spans({ clock, clusterId: "c", ratePerMillion: 0, traceOf });
  const sizes: number[] = [];
  const lost: string[] = [];
  const outbound = {
    send(_endpoint: unknown, { body, method, headers }: OutboundRequest) {
      assertEquals([method, headers], ["POST", {
        "x-tenant": "two",
        "content-type": "application/json",
      }]);
      const [{ scopeSpans }] = JSON.parse(new TextDecoder().decode(body)).resourceSpans;
      sizes.push(scopeSpans[0].spans.length);
      const said = answer(sizes.length);
      if (said instanceof Error) return Promise.reject(said);
      return Promise.resolve({ status: said, headers: {}, body: new Uint8Array() });
    },
  } as unknown as Outbound;
  const failed = (error: unknown) => lost.push((error as Error).message);
  const metricsText = () => "# TYPE x_total counter\nx_total 3\n";
  const ports = { spans, outbound, clock, instance: "i", metricsText, failed };
  const headers = { "x-tenant": "two" };
  const url = "http://collector/v1/traces";
  const exporter = new OtlpExporter({ url, headers, encoding: "json" }, ports);
  const add = (count: number) => {
    for (let i = 0; i < count; i++) spans.add(spanOf(spans));
  };
  return { clock, spans, exporter, sizes, lost, add };
}

/** Nobody else wants a turn. */
const pace = new Pace({ monotonic: () => 0, sliceMs: () => 1, turn: () => Promise.resolve() });

Deno.test("OtlpExporter sends what has ended in batches, and the rest when it is closed", async () => {
  const { clock, exporter, sizes, add } = world();
  add(BATCH_SPANS_MAX + 8);
  await clock.advance(BATCH_WAIT_MS - 1);
  assertEquals(sizes, []);
  await clock.advance(1);
  await clock.turn();
  assertEquals(sizes, [BATCH_SPANS_MAX, 8]);
  // Nothing to send, no timer
  assertEquals(clock.nextAt(), undefined);
  add(3);
  await exporter.close();
  assertEquals(sizes, [BATCH_SPANS_MAX, 8, 3]);
  assertEquals([exporter.exported, exporter.failures], [BATCH_SPANS_MAX + 11, 0]);
  add(1);
  assertEquals(clock.nextAt(), undefined);
});

Deno.test("OtlpExporter asks a collector again that is busy or away, and gives up what it does not want", async () => {
  const refused = new OutboundError("connection refused", "connection");
  const said = [503, refused, 200, 400, 503, 503, 503];
  const { clock, spans, exporter, sizes, lost, add } = world((nth) => said[nth - 1]);
  const pass = async (times: number) => {
    for (let i = 0; i < times; i++) {
      await clock.advance(BATCH_WAIT_MS);
      await clock.turn();
    }
  };
  add(2);
  await pass(3);
  assertEquals([sizes.length, exporter.exported, spans.dropped], [3, 2, 0]);
  add(1);
  await pass(1);
  assertEquals([spans.dropped, lost], [1, ["the collector answered 400"]]);
  add(5);
  await pass(ATTEMPTS_MAX);
  assertEquals([sizes.length, spans.dropped], [4 + ATTEMPTS_MAX, 6]);
  assertMatch(exporter.lines(), /^plesio_tracing_spans_exported_total 2$/m);
  assertMatch(exporter.lines(), /^plesio_tracing_spans_dropped_total 6$/m);
  await exporter.close();
});

Deno.test("OtlpExporter tells metrics in turn, and that there were none to tell, and goes on", async () => {
  const clock = new ManualClock();
  const spans = new Spans({ clock, clusterId: "c", ratePerMillion: 0, traceOf: () => TRACE });
  const urls: string[] = [];
  const lost: string[] = [];
  const outbound = {
    send({ url }: { url: string }, { headers }: OutboundRequest) {
      urls.push(url);
      assertEquals(headers, { "x-tenant": "one", "content-type": "application/x-protobuf" });
      return Promise.resolve({ status: 200, headers: {}, body: new Uint8Array() });
    },
  } as unknown as Outbound;
  let isBroken = true;
  const metricsText = () => {
    if (isBroken) throw new Error("the store is closed");
    return "# TYPE x_total counter\nx_total 3\n";
  };
  const failed = (error: unknown) => lost.push((error as Error).message);
  const metricsUrl = "http://collector/v1/metrics";
  // Only metrics have somewhere to go
  const options = { metricsUrl, metricsHeaders: { "x-tenant": "one", "content-type": "text/x" } };
  const ports = { spans, outbound, clock, instance: "i", metricsText, failed };
  const exporter = new OtlpExporter(options, ports);
  await clock.advance(METRICS_EVERY_MS);
  await clock.turn();
  assertEquals([lost, urls], [["the store is closed"], []]);
  isBroken = false;
  await clock.advance(METRICS_EVERY_MS);
  await clock.turn();
  assertEquals(urls, [metricsUrl]);
  isBroken = true;
  spans.add(spanOf(spans));
  await exporter.close();
  assertEquals([lost.length, urls.length, exporter.exported, spans.dropped], [2, 1, 0, 1]);
});

Deno.test("spans that wait and traces that are remembered have a bound", () => {
  const { spans, add } = world();
  add(SPANS_WAITING_MAX + 4);
  assertEquals([spans.waiting, spans.dropped], [SPANS_WAITING_MAX, 4]);
  const traceOf = (n: number) => n.toString(16).padStart(32, "0");
  for (let n = 0; n <= TRACES_REMEMBERED_MAX; n++) spans.decide(traceOf(n), true);
  assertEquals([spans.wants(traceOf(0)), spans.wants(traceOf(1))], [false, true]);
});

Deno.test("the span of a revision is the same for every process of a cluster, and another in others", () => {
  const of = (clusterId: string, seed: number) => {
    const clock = new ManualClock({ seed });
    return new Spans({ clock, clusterId, ratePerMillion: 0, traceOf: () => undefined });
  };
  const one = of("a", 1);
  const ids = new Set<string>();
  for (let revision = 1; revision <= 10_000; revision++) ids.add(one.ofRevision(revision));
  assertEquals(ids.size, 10_000);
  assertEquals(of("a", 2).ofRevision(7), one.ofRevision(7));
  assertEquals(of("b", 1).ofRevision(7) === one.ofRevision(7), false);
  assertEquals(of("a", 2).next() === one.next(), false);
});

const SPAN: Span = {
  trace: TRACE,
  id: "b7ad6b7169203331",
  parent: "00f067aa0ba902b7",
  name: "create pods",
  scope: "apiserver",
  serves: true,
  begin: 1_767_225_600_000.25,
  end: 1_767_225_600_001,
  attributes: { resource: "pods", "plesio.because": 7, name: undefined, namespace: "" },
  events: [{ name: "authorize", at: 1_767_225_600_000.5 }],
  error: "no",
};

Deno.test("tracesOf() writes OTLP's JSON", () => {
  assertEquals(tracesOf([SPAN], "i"), {
    resourceSpans: [{
      resource: {
        attributes: [
          { key: "service.name", value: { stringValue: "plesio" } },
          { key: "service.instance.id", value: { stringValue: "i" } },
        ],
      },
      scopeSpans: [{
        scope: { name: "apiserver" },
        spans: [{
          traceId: TRACE,
          spanId: "b7ad6b7169203331",
          parentSpanId: "00f067aa0ba902b7",
          name: "create pods",
          kind: 2,
          startTimeUnixNano: "1767225600000250000",
          endTimeUnixNano: "1767225600001000000",
          attributes: [
            { key: "resource", value: { stringValue: "pods" } },
            { key: "plesio.because", value: { intValue: "7" } },
          ],
          events: [{ name: "authorize", timeUnixNano: "1767225600000500000" }],
          status: { code: 2, message: "no" },
        }],
      }],
    }],
  });
});

const words = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
const fixed = (bytes: Uint8Array) => new DataView(bytes.slice().buffer).getBigUint64(0, true);
const double = (bytes: Uint8Array) => new DataView(bytes.slice().buffer).getFloat64(0, true);

Deno.test("otlpProtobuf() writes spans by OTLP's numbers", () => {
  const [resourceSpans] = new Message(otlpProtobuf(tracesOf([SPAN], "i"))).messages(1);
  const [resource] = resourceSpans.messages(1);
  const attributes = (message: Message, field: number) =>
    message.messages(field).map((attribute) => {
      const [value] = attribute.messages(2);
      return [words(attribute.bytes(1)), words(value.bytes(1)) || value.number(3)];
    });
  assertEquals(attributes(resource, 1), [["service.name", "plesio"], ["service.instance.id", "i"]]);
  const [scopeSpans] = resourceSpans.messages(2);
  assertEquals(words(scopeSpans.messages(1)[0].bytes(1)), "apiserver");
  const [span] = scopeSpans.messages(2);
  assertEquals(span.bytes(1).toHex(), TRACE);
  assertEquals([2, 4].map((field) => span.bytes(field).toHex()), [SPAN.id, SPAN.parent]);
  assertEquals([words(span.bytes(5)), span.number(6)], ["create pods", 2]);
  assertEquals(
    [7, 8].map((field) => fixed(span.bytes(field))),
    [1_767_225_600_000_250_000n, 1_767_225_600_001_000_000n],
  );
  assertEquals(attributes(span, 9), [["resource", "pods"], ["plesio.because", 7]]);
  const [event] = span.messages(11);
  assertEquals(
    [fixed(event.bytes(1)), words(event.bytes(2))],
    [1_767_225_600_000_500_000n, "authorize"],
  );
  const [status] = span.messages(15);
  assertEquals([words(status.bytes(2)), status.number(3)], ["no", 2]);
});

Deno.test("otlpProtobuf() writes sums, gauges and histograms by OTLP's numbers", async () => {
  const text = `# HELP a_total All of a.
# TYPE a_total counter
a_total 3
# TYPE b gauge
b -1.5
# TYPE c histogram
c_bucket{le="0.1"} 2
c_bucket{le="+Inf"} 300
c_sum 4.5
c_count 300
`;
  const written = await metricsMessage(text, { begin: 1, end: 2.5 }, { attributes: [] }, pace);
  const [scope] = new Message(otlpProtobuf(written)).messages(1)[0].messages(2);
  const [sum, gauge, histogram] = scope.messages(2);
  assertEquals([1, 2].map((field) => words(sum.bytes(field))), ["a_total", "All of a."]);
  const [isSum] = sum.messages(7);
  assertEquals([isSum.number(2), isSum.number(3)], [2, 1]);
  const [three] = isSum.messages(1);
  assertEquals([fixed(three.bytes(2)), fixed(three.bytes(3))], [1_000_000n, 2_500_000n]);
  assertEquals(double(three.bytes(4)), 3);
  assertEquals(double(gauge.messages(5)[0].messages(1)[0].bytes(4)), -1.5);
  const [isHistogram] = histogram.messages(9);
  assertEquals(isHistogram.number(2), 2);
  const [point] = isHistogram.messages(1);
  assertEquals([fixed(point.bytes(4)), double(point.bytes(5))], [300n, 4.5]);
  const counts = point.bytes(6);
  assertEquals([fixed(counts.subarray(0, 8)), fixed(counts.subarray(8))], [2n, 298n]);
  assertEquals([point.bytes(7).length, double(point.bytes(7))], [8, 0.1]);
});

Deno.test("metricsMessage() lets others run whenever its slice is over", async () => {
  let [now, turns] = [0, 0];
  const slices = new Pace({
    monotonic: () => now++,
    sliceMs: () => 10,
    turn: () => Promise.resolve(void turns++),
  });
  const lines = Array.from({ length: 1_000 }, (_, i) => `a_total{n="${i}"} ${i}`);
  const text = `# TYPE a_total counter\n${lines.join("\n")}`;
  const period = { begin: 1, end: 2 };
  const message = await metricsMessage(text, period, {}, slices);
  assertEquals(message, await metricsMessage(text, period, {}, pace));
  assert(turns >= 90, `${turns} turns`);
});

Deno.test("metricsMessage() says of Prometheus' text what OTLP has words for", async () => {
  const text = `# HELP a_total All of a.
# TYPE a_total counter
a_total{code="200",path="x\\"y\\\\z"} 3
a_total{code="500"} 1
# TYPE b gauge
b 1.5
# TYPE c_seconds histogram
c_seconds_bucket{verb="GET",le="0.1"} 2
c_seconds_bucket{verb="GET",le="1"} 5
c_seconds_bucket{verb="GET",le="+Inf"} 6
c_seconds_sum{verb="GET"} 4.5
c_seconds_count{verb="GET"} 6
# TYPE d summary
d{quantile="0.5"} 1
d_sum 1
# TYPE e gauge
e NaN
no type 1
`;
  const times = { startTimeUnixNano: "1000000", timeUnixNano: "2500000" };
  const attribute = (key: string, stringValue: string) => ({ key, value: { stringValue } });
  const message = await metricsMessage(text, { begin: 1, end: 2.5 }, { attributes: [] }, pace);
  assertEquals(message, {
    resourceMetrics: [{
      resource: { attributes: [] },
      scopeMetrics: [{
        scope: { name: "apiserver" },
        metrics: [
          {
            name: "a_total",
            description: "All of a.",
            sum: {
              isMonotonic: true,
              aggregationTemporality: 2,
              dataPoints: [
                {
                  ...times,
                  attributes: [attribute("code", "200"), attribute("path", 'x"y\\z')],
                  asDouble: 3,
                },
                { ...times, attributes: [attribute("code", "500")], asDouble: 1 },
              ],
            },
          },
          {
            name: "b",
            description: "",
            gauge: { dataPoints: [{ ...times, attributes: [], asDouble: 1.5 }] },
          },
          {
            name: "c_seconds",
            description: "",
            histogram: {
              aggregationTemporality: 2,
              dataPoints: [{
                ...times,
                attributes: [attribute("verb", "GET")],
                count: "6",
                sum: 4.5,
                bucketCounts: ["2", "3", "1"],
                explicitBounds: [0.1, 1],
              }],
            },
          },
        ],
      }],
    }],
  });
});
