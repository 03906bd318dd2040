/**
 * OpenTelemetry's collector beside a cluster, by each protocol of ours: a load generator makes requests, and what came
 * through the collector agrees with what it did. Spans are counted by verb, resource and status, metrics are read; each
 * step that held is said. `collector/` is the program: the collector's own parts, which writes OTLP's JSON by the line.
 */
import { assertEquals, assertMatch } from "@std/assert";
import { attributesOf, type Metric, metricsOf, type Span, spansOf } from "../e2e/otlp_json.ts";
import { RawConnection } from "../e2e/raw_http.ts";
import { freePort, Server } from "../e2e/server.ts";
import { waiting } from "../e2e/until.ts";

/** What is asked for: how often, of which resource, and which answer is right. `name` is of the n-th. */
interface Asked {
  times: number;
  verb: string;
  code: number;
  method: string;
  resource: "configmaps" | "pods";
  name(n: number): string;
}

const LOAD: readonly Asked[] = [
  ask(40, "create", 201, "POST", "configmaps", (n) => `m${n}`),
  ask(3, "create", 409, "POST", "configmaps", (n) => `m${n}`),
  ask(25, "get", 200, "GET", "configmaps", (n) => `m${n}`),
  ask(4, "get", 404, "GET", "configmaps", (n) => `none${n}`),
  ask(6, "list", 200, "GET", "configmaps", () => ""),
  ask(15, "delete", 200, "DELETE", "configmaps", (n) => `m${n}`),
  ask(5, "create", 201, "POST", "pods", (n) => `p${n}`),
];

// deno-fmt-ignore -- a row of the table
function ask(times: number, verb: string, code: number, method: string, resource: Asked["resource"],
  name: Asked["name"]): Asked {
  return { times, verb, code, method, resource, name };
}

const NAMESPACE = "loaded";
const SPECS = { configmaps: {}, pods: { spec: { containers: [{ name: "c", image: "nginx" }] } } };
const KINDS = { configmaps: "ConfigMap", pods: "Pod" };

/** Makes a namespace, and every request of `LOAD` in it; waits until its pods run. */
async function load(server: Server): Promise<void> {
  const connection = await RawConnection.open(server.access);
  const encoder = new TextEncoder();
  const send = async (method: string, path: string, body?: object) => {
    const bytes = body && encoder.encode(JSON.stringify(body));
    const { status, body: answer } = await connection.request(method, path, bytes);
    return { status, text: new TextDecoder().decode(answer) };
  };
  const namespace = { apiVersion: "v1", kind: "Namespace", metadata: { name: NAMESPACE } };
  assertEquals((await send("POST", "/api/v1/namespaces", namespace)).status, 201);
  for (const { times, code, method, resource, name } of LOAD) {
    const root = `/api/v1/namespaces/${NAMESPACE}/${resource}`;
    for (let n = 0; n < times; n++) {
      const object = { kind: KINDS[resource], metadata: { name: name(n) }, ...SPECS[resource] };
      const path = method === "POST" || !name(n) ? root : `${root}/${name(n)}`;
      const body = method === "POST" ? { apiVersion: "v1", ...object } : undefined;
      assertEquals((await send(method, path, body)).status, code);
    }
  }
  await waiting({ withinMs: 60_000 })("the pods run", async () => {
    const { text } = await send("GET", `/apis/events.k8s.io/v1/namespaces/${NAMESPACE}/events`);
    const started = JSON.parse(text).items.filter((e: { reason: string }) =>
      e.reason === "Started"
    );
    return started.length === 5;
  });
  connection.close();
}

/** What a collector wrote while a server told it everything by one protocol. */
async function collected(program: string, protocol: string): Promise<{
  spans: Span[];
  metrics: Map<string, Metric>;
}> {
  const [grpc, http] = [freePort(), freePort()].map((port) => `127.0.0.1:${port}`);
  const collector = new Deno.Command(program, {
    args: ["--grpc", grpc, "--http", http],
    stdin: "piped",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  const text = new Response(collector.stdout).text();
  const errors = new Response(collector.stderr).text();
  await waiting({ withinMs: 30_000, patient: true })("the collector listens", async () => {
    const answer = await fetch(`http://${http}/v1/traces`, { method: "POST", body: "{}" });
    await answer.body?.cancel();
    return true;
  });
  const env = {
    OTEL_EXPORTER_OTLP_ENDPOINT: `http://${http}`,
    OTEL_EXPORTER_OTLP_PROTOCOL: protocol,
  };
  const server = await Server.start({ flags: ["--memory", "--runtime", "simulated"], env });
  try {
    await load(server);
  } finally {
    await server.stop();
    await collector.stdin.close();
  }
  const { code } = await collector.status;
  assertEquals([code, await errors], [0, ""]);
  const spans: Span[] = [];
  const metrics = new Map<string, Metric>();
  for (const line of (await text).split("\n").filter(Boolean)) {
    const message = JSON.parse(line);
    if (message.resourceSpans) spans.push(...spansOf(message));
    else for (const metric of metricsOf(message)) metrics.set(metric.name, metric);
  }
  return { spans, metrics };
}

/** How often each was done, by a text that names it. */
function counted(all: Iterable<readonly [what: string, times: number]>): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const [what, times] of all) counts[what] = (counts[what] ?? 0) + times;
  return Object.fromEntries(Object.entries(counts).sort());
}

function checkSpans(spans: readonly Span[]): void {
  // The load generator alone does not say what program it is
  const own = spans.filter(({ scope, attributes }) =>
    scope === "apiserver" && attributes.namespace === NAMESPACE &&
    attributes["user_agent.original"] === "unknown" &&
    attributes.resource !== "events.events.k8s.io"
  );
  assertEquals(
    counted(own.map(({ name, attributes, failed }) => {
      const code = attributes["http.response.status_code"];
      assertEquals(failed, code !== undefined);
      return [`${name} ${code ?? "ok"}`, 1] as const;
    })),
    counted(
      LOAD.map(({ times, verb, resource, code }) =>
        [`${verb} ${resource} ${code < 400 ? "ok" : code}`, times] as const
      ),
    ),
  );
  const bound = spans.filter(({ name, attributes }) =>
    name === "create pods/binding" && attributes.namespace === NAMESPACE
  );
  assertEquals(bound.length, 5);
}

/** Upstream's verbs in metrics. */
const VERBS: Record<string, string> = {
  create: "POST",
  get: "GET",
  list: "LIST",
  delete: "DELETE",
};

function checkMetrics(metrics: ReadonlyMap<string, Metric>): void {
  const points = (name: string): { labels: Record<string, string>; point: Metric }[] => {
    const { sum, gauge, histogram } = metrics.get(name);
    return (sum ?? gauge ?? histogram).dataPoints.map((point: Metric) => ({
      point,
      labels: attributesOf(point.attributes),
    }));
  };
  const own = (name: string) =>
    points(name).filter(({ labels }) =>
      labels.resource === "configmaps" && labels.scope !== "cluster"
    );
  const asked = LOAD.filter(({ resource }) => resource === "configmaps");
  assertEquals(
    counted(
      own("apiserver_request_total").map(({ labels, point }) =>
        [`${labels.verb} ${labels.code}`, point.asDouble] as const
      ),
    ),
    counted(asked.map(({ verb, code, times }) => [`${VERBS[verb]} ${code}`, times] as const)),
  );
  assertEquals(
    counted(
      own("apiserver_request_duration_seconds").map(({ labels, point }) => {
        const inBuckets = point.bucketCounts.reduce((sum: number, n: string) => sum + Number(n), 0);
        assertEquals(inBuckets, Number(point.count));
        return [labels.verb, inBuckets] as const;
      }),
    ),
    counted(asked.map(({ verb, times }) => [VERBS[verb], times] as const)),
  );
  const scheduled = points("scheduler_schedule_attempts_total")
    .filter(({ labels }) => labels.result === "scheduled");
  assertEquals(scheduled.map(({ point }) => point.asDouble), [5]);
}

/** Runs it; answers with the steps that held. */
export async function collectorSteps(program: string): Promise<string> {
  const steps: string[] = [];
  for (const protocol of ["http/protobuf", "http/json"]) {
    const { spans, metrics } = await collected(program, protocol);
    checkSpans(spans);
    steps.push(`${protocol}: spans by verb, resource and status`);
    checkMetrics(metrics);
    steps.push(`${protocol}: metrics`);
  }
  const env = {
    OTEL_EXPORTER_OTLP_ENDPOINT: "http://127.0.0.1:4317",
    OTEL_EXPORTER_OTLP_PROTOCOL: "grpc",
  };
  const refused = await Server.start({ flags: ["--memory"], env }).then(() => "", String);
  assertMatch(refused, /must be http\/protobuf or http\/json, not "grpc"/);
  steps.push("grpc is refused at the start");
  return steps.join("\n");
}
