/**
 * Tracing from outside: a collector of this test's own takes OTLP over HTTP and decodes it (the real one is a client:
 * `tests/clients/collector.ts`). The spans of a Deployment's
 * creation are one trace, hang together, and agree with what was done.
 */
import { assert, assertEquals } from "@std/assert";
import { Cluster } from "../../mod.ts";
import { attributesOf, type Metric, metricsOf, type Span, spansOf } from "./otlp_json.ts";

/** A collector. */
function collector() {
  const spans: Span[] = [];
  /** The last that was told of each. */
  const metrics = new Map<string, Metric>();
  const server = Deno.serve({ port: 0, hostname: "127.0.0.1", onListen() {} }, async (request) => {
    const { pathname } = new URL(request.url);
    assertEquals(request.headers.get("content-type"), "application/json");
    const message = await request.json();
    if (pathname === "/v1/traces") spans.push(...spansOf(message));
    else {
      assertEquals(pathname, "/v1/metrics");
      for (const metric of metricsOf(message)) metrics.set(metric.name, metric);
    }
    return new Response("{}");
  });
  const base = `http://127.0.0.1:${server.addr.port}`;
  const tracing = { url: `${base}/v1/traces`, encoding: "json" } as const;
  const metricsUrl = `${base}/v1/metrics`;
  return { tracing, metricsUrl, spans, metrics, stop: () => server.shutdown() };
}

const labels = { app: "web" };
const WEB = {
  apiVersion: "apps/v1",
  kind: "Deployment",
  metadata: { name: "web" },
  spec: {
    replicas: 3,
    selector: { matchLabels: labels },
    template: { metadata: { labels }, spec: { containers: [{ name: "c", image: "nginx" }] } },
  },
};
const TRACE = "0af7651916cd43dd8448eb211c80319c";
const PARENT = "b7ad6b7169203331";

Deno.test("the spans of a Deployment's creation are one trace, and agree with what was done", async () => {
  const { tracing, spans, stop } = collector();
  const cluster = await Cluster.start({ nodes: 2, front: { tracing } });
  await cluster.settle();
  const posted = await cluster.fetch("/apis/apps/v1/namespaces/default/deployments", {
    method: "POST",
    headers: { "content-type": "application/json", traceparent: `00-${TRACE}-${PARENT}-01` },
    body: JSON.stringify(WEB),
  });
  assertEquals(posted.status, 201);
  await posted.body?.cancel();
  await cluster.settle();
  const story = await cluster.story("/apis/apps/v1/namespaces/default/deployments/web");
  await cluster.stop();
  await stop();
  // Nothing else is recorded: nobody asked for it
  assertEquals(new Set(spans.map(({ traceId }) => traceId)), new Set([TRACE]));
  assertEquals(new Set(spans.map(({ service }) => service)), new Set(["plesio"]));
  const byId = new Map(spans.map((span) => [span.spanId, span]));
  assertEquals(byId.size, spans.length);
  for (const span of spans) {
    assert(span.begin <= span.end, span.name);
    if (span.parentSpanId === PARENT) continue;
    const parent = byId.get(span.parentSpanId!);
    assert(parent, `${span.name} hangs on nothing`);
    assert(parent.begin <= span.begin, `${span.name} begins before ${parent.name}`);
  }
  const roots = spans.filter(({ parentSpanId }) => parentSpanId === PARENT);
  assertEquals(roots.map(({ name, kind }) => `${name} ${kind}`), ["create deployments.apps 2"]);
  assertEquals(roots[0].events.slice(0, 4), ["receive", "authorize", "create", "decode"]);
  assertEquals(roots[0].attributes["plesio.by"], "kubernetes-admin unknown");
  const named = (name: string) => spans.filter((span) => span.name === name);
  // A span for each request and each commit, as the story tells them
  const commits = named("commit").filter(({ attributes }) => attributes.resource !== "events");
  assertEquals(
    commits.map(({ attributes }) => attributes["plesio.revision"]).sort(),
    story.hops.filter(({ trace }) => trace === TRACE).map(({ revision }) => revision).sort(),
  );
  assertEquals(named("create replicasets.apps").length, 1);
  assertEquals(named("create pods").length, 3);
  assertEquals(named("create pods/binding").length, 3);
  // From a pod's readiness upwards: status, binding, pod, replica set, deployment
  const way: string[] = [];
  let at: Span | undefined = named("update pods/status")[0];
  for (; at; at = byId.get(at.parentSpanId!)) way.unshift(at.name);
  assertEquals(way.slice(0, 8), [
    "create deployments.apps",
    "commit",
    "controller/deployment",
    "create replicasets.apps",
    "commit",
    "controller/replicaset",
    "create pods",
    "commit",
  ]);
  assert(way.includes("create pods/binding"), way.join(" → "));
});

Deno.test("a rate decides by the trace alone; whoever began it outside decides for it", async () => {
  const record = async (samplingRatePerMillion: number, flags: string) => {
    const { tracing, spans, stop } = collector();
    const front = { tracing: { ...tracing, samplingRatePerMillion } };
    const cluster = await Cluster.start({ nodes: 0, components: ["api"], front });
    const maps = {
      resource: { group: "", version: "v1", plural: "configmaps" },
      namespace: "default",
    };
    for (let i = 0; i < 200; i++) {
      await cluster.client.create(maps, { metadata: { name: `m${i}` } });
    }
    const reply = await cluster.fetch("/api/v1/namespaces/default/configmaps/m1", {
      method: "DELETE",
      headers: { traceparent: `00-${TRACE}-${PARENT}-${flags}` },
    });
    await reply.body?.cancel();
    await cluster.stop();
    await stop();
    const made =
      spans.filter(({ name, attributes }) =>
        name === "create configmaps" && attributes.namespace === "default"
      ).length;
    return [made, spans.filter(({ traceId }) => traceId === TRACE).length];
  };
  const [all, kept] = await record(1_000_000, "00");
  assertEquals([all, kept], [200, 0]);
  const [none, asked] = await record(0, "01");
  assertEquals([none, asked], [0, 2]);
  const [some] = await record(250_000, "00");
  assert(some > 20 && some < 80, String(some));
});

Deno.test("metrics that a collector is told are those of /metrics, and of what was done", async () => {
  const { tracing, metricsUrl, metrics, stop } = collector();
  const front = { tracing: { ...tracing, metricsUrl } };
  const cluster = await Cluster.start({ nodes: 0, components: ["api"], front });
  for (let i = 0; i < 7; i++) {
    const reply = await cluster.fetch("/api/v1/namespaces/default/configmaps", {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({
        apiVersion: "v1",
        kind: "ConfigMap",
        metadata: { name: i < 5 ? `m${i}` : "m0" },
      }),
    });
    await reply.body?.cancel();
  }
  await cluster.stop();
  await stop();
  const points = (name: string) => {
    const { sum, gauge, histogram } = metrics.get(name);
    return (sum ?? gauge ?? histogram).dataPoints.map((point: Metric) => ({
      ...point,
      labels: attributesOf(point.attributes),
    })).filter(({ labels }: Metric) => labels.resource === "configmaps" && labels.verb === "POST");
  };
  const total = metrics.get("apiserver_request_total").sum;
  assertEquals([total.isMonotonic, total.aggregationTemporality], [true, 2]);
  assertEquals(
    points("apiserver_request_total").map((p: Metric) => [p.labels.code, p.asDouble]),
    [["201", 5], ["409", 2]],
  );
  const [took] = points("apiserver_request_duration_seconds");
  assertEquals(took.count, "7");
  assertEquals(took.bucketCounts.length, took.explicitBounds.length + 1);
  assertEquals(took.bucketCounts.reduce((sum: number, n: string) => sum + Number(n), 0), 7);
  assert(BigInt(took.startTimeUnixNano) <= BigInt(took.timeUnixNano));
});

Deno.test("the last metrics that a collector is told are those of all that ran, not of what is left of it", async () => {
  const { tracing, metricsUrl, metrics, stop } = collector();
  const front = { tracing: { ...tracing, metricsUrl } };
  const cluster = await Cluster.start({ nodes: 1, front });
  await cluster.settle();
  await cluster.client.create(
    { resource: { group: "", version: "v1", plural: "pods" }, namespace: "default" },
    { metadata: { name: "web" }, spec: { containers: [{ name: "c", image: "nginx" }] } },
  );
  await cluster.settle();
  await cluster.stop();
  await stop();
  const [{ asDouble, attributes }] =
    metrics.get("scheduler_schedule_attempts_total").sum.dataPoints;
  assertEquals([asDouble, attributesOf(attributes).result], [1, "scheduled"]);
  assert(metrics.get("workqueue_adds_total").sum.dataPoints.length > 10);
});
