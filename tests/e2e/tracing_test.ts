/**
 * Tracing from outside: a collector of this test's own takes OTLP over HTTP and decodes it. The spans of a Deployment's
 * creation are one trace, hang together, and agree with what was done.
 */
import { assert, assertEquals, assertMatch } from "@std/assert";
import { Cluster } from "../../mod.ts";

interface Span {
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

function attributesOf(list: Attribute[]): Record<string, string | number> {
  return Object.fromEntries(list.map(({ key, value }) => {
    assertEquals(Object.keys(value).length, 1, key);
    return [key, value.stringValue ?? Number(value.intValue)];
  }));
}

// deno-lint-ignore no-explicit-any -- what came over the wire
function* spansOf({ resourceSpans }: any): Generator<Span> {
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

/** A collector. */
function collector() {
  const spans: Span[] = [];
  const server = Deno.serve({ port: 0, hostname: "127.0.0.1", onListen() {} }, async (request) => {
    assertEquals(new URL(request.url).pathname, "/v1/traces");
    assertEquals(request.headers.get("content-type"), "application/json");
    spans.push(...spansOf(await request.json()));
    return new Response("{}");
  });
  const url = `http://127.0.0.1:${server.addr.port}/v1/traces`;
  return { url, spans, stop: () => server.shutdown() };
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
  const { url, spans, stop } = collector();
  const cluster = await Cluster.start({ nodes: 2, front: { tracing: { url } } });
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
    const { url, spans, stop } = collector();
    const tracing = { url, samplingRatePerMillion };
    const cluster = await Cluster.start({ nodes: 0, components: ["api"], front: { tracing } });
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
