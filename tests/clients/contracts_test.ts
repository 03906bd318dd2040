/**
 * CLIENTS.md 6.2 and 6.3, line by line: what each client needs of the server, shown by the client itself (a step of
 * the table in `table.ts`, which runs in the test suite or is replayed by `recordings_test.ts`) or by the very requests
 * it sends. 6.1, kubectl's, is `kubectl_contract_test.ts`.
 */
import { assert, assertEquals } from "@std/assert";
import { parse } from "@std/yaml";
import { request as httpsRequest } from "node:https";
import { connect } from "node:http2";
import { Cluster } from "../../mod.ts";
import { Server } from "../e2e/server.ts";
import { RECORDED } from "./recording.ts";
import { CLIENTS } from "./table.ts";

// deno-lint-ignore no-explicit-any -- whatever JSON the server sends
type Json = any;

interface Answer {
  status: number;
  type: string;
  headers: Headers;
  text: string;
  json: Json;
}

interface Asked {
  accept?: string;
  type?: string;
  body?: unknown;
  headers?: Record<string, string>;
}

/** The server that all lines ask. */
interface World {
  server: Server;
  ask(method: string, path: string, asked?: Asked): Promise<Answer>;
  /** The first events of a watch, or all until it ends. */
  events(path: string, count: number): Promise<Json[]>;
}

/** A line of the page, and how it is shown. */
interface Line {
  line: string;
  /** Steps of clients: `name: step`, both as the table has them; a missing one fails. */
  by?: readonly [client: string, step: string][];
  /** Why nothing shows it. */
  absent?: string;
  show?: (world: World) => Promise<void>;
}

const NS = "/api/v1/namespaces/default";
const MAPS = `${NS}/configmaps`;
const PROTO = "application/vnd.kubernetes.protobuf";
const TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json";

async function open(server: Server): Promise<World & AsyncDisposable> {
  const { hostname, port, caPem, certificatePem, keyPem } = server.access;
  const client = Deno.createHttpClient({ caCerts: [caPem], cert: certificatePem, key: keyPem });
  const root = `https://${hostname}:${port}`;
  const ask = async (method: string, path: string, asked: Asked = {}): Promise<Answer> => {
    const { accept = "application/json", type = "application/json", body } = asked;
    const headers: Record<string, string> = { accept, ...asked.headers };
    if (body !== undefined) headers["content-type"] = type;
    const raw = body instanceof Uint8Array || typeof body === "string";
    const sent = body === undefined ? undefined : raw ? body : JSON.stringify(body);
    const init = { method, headers, client, body: sent };
    const answer = await fetch(root + path, init as RequestInit);
    const bytes = new Uint8Array(await answer.arrayBuffer());
    const text = new TextDecoder().decode(bytes);
    const answered = answer.headers.get("content-type") ?? "";
    let json: Json;
    try {
      json = JSON.parse(text);
    } catch {
      json = undefined;
    }
    return { status: answer.status, type: answered, headers: answer.headers, text, json };
  };
  const events = async (path: string, count: number): Promise<Json[]> => {
    const stop = new AbortController();
    const init = { client, signal: stop.signal } as RequestInit;
    const answer = await fetch(root + path, init);
    const found: Json[] = [];
    let rest = "";
    try {
      for await (const text of answer.body!.pipeThrough(new TextDecoderStream())) {
        const lines = (rest + text).split("\n");
        rest = lines.pop()!;
        for (const line of lines) found.push(JSON.parse(line));
        if (found.length >= count) break;
      }
    } finally {
      stop.abort();
    }
    return found;
  };
  const close = () => {
    client.close();
    return Promise.resolve();
  };
  return { server, ask, events, [Symbol.asyncDispose]: close };
}

async function ok(answer: Promise<Answer>, status = 200): Promise<Answer> {
  const got = await answer;
  assertEquals(got.status, status, got.text.slice(0, 500));
  return got;
}

async function eventually(look: () => Promise<boolean>): Promise<void> {
  const until = Date.now() + 30_000;
  while (!await look()) {
    if (Date.now() > until) throw new Error("not in time");
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

function configMap(name: string, data: Record<string, string> = { a: "1" }) {
  return { apiVersion: "v1", kind: "ConfigMap", metadata: { name }, data };
}

function deployment(name: string, image = "nginx:1") {
  const labels = { app: name };
  const spec = { containers: [{ name: "c", image }] };
  const template = { metadata: { labels }, spec };
  return {
    apiVersion: "apps/v1",
    kind: "Deployment",
    metadata: { name },
    spec: { replicas: 1, selector: { matchLabels: labels }, template },
  };
}

const GO = "Go: client-go";
const AWAY = "Go: client-go, away for longer than history lasts";
const OPERATOR = "Go: operator on controller-runtime, existing cluster";
const ENVTEST = "Go: operator on controller-runtime, envtest";
const SOCKET = "WebSocket, as browsers and curl use it";
const JAVASCRIPT = "JavaScript: @kubernetes/client-node";
const PYTHON = "Python: kubernetes";
const JAVA = "Java: fabric8, by both of its HTTP clients";
const RUST = "Rust: kube";

/** Every kind that can be listed and watched: its path. */
async function listable({ ask }: World): Promise<string[]> {
  const paths: string[] = [];
  const groups = (await ok(ask("GET", "/apis"))).json.groups as Json[];
  const roots = ["/api/v1", ...groups.map((g) => `/apis/${g.preferredVersion.groupVersion}`)];
  for (const root of roots) {
    for (const { name, verbs } of (await ok(ask("GET", root))).json.resources as Json[]) {
      if (verbs.includes("list") && verbs.includes("watch")) paths.push(`${root}/${name}`);
    }
  }
  return paths;
}

async function argo(world: World): Promise<void> {
  const { ask, events } = world;
  const paths = await listable(world);
  assert(paths.length > 50, `${paths.length} kinds`);
  const versions = new Map<string, string>();
  for (const path of paths) {
    const { json } = await ok(ask("GET", `${path}?limit=500&resourceVersion=0`));
    assert(json.kind.endsWith("List") && Array.isArray(json.items), path);
    versions.set(path, json.metadata.resourceVersion);
  }
  // All of them watched at once, and then as many again: idle watches must be free.
  const seen = await Promise.all([...paths, ...paths].map((path) => {
    const query = `watch=true&allowWatchBookmarks=true&timeoutSeconds=2&resourceVersion=`;
    return events(`${path}?${query}${versions.get(path)}`, Infinity);
  }));
  for (const all of seen) assert(all.every(({ type }) => type !== "ERROR"), JSON.stringify(all[0]));
  // The GVK parser finds every kind in OpenAPI v2.
  const { definitions } = (await ok(ask("GET", "/openapi/v2"))).json;
  const known = new Set(
    Object.values(definitions as Record<string, Json>).flatMap((d) =>
      (d["x-kubernetes-group-version-kind"] ?? []).map((g: Json) =>
        `${g.group}/${g.version}/${g.kind}`
      )
    ),
  );
  for (
    const kind of [
      "/v1/Pod",
      "apps/v1/Deployment",
      "batch/v1/CronJob",
      "policy/v1/PodDisruptionBudget",
    ]
  ) {
    assert(known.has(kind), kind);
  }
  // Server-side diff: an apply that is not kept.
  const query = "fieldManager=argocd-controller&force=true&dryRun=All";
  const type = "application/apply-patch+yaml";
  const { json } = await ok(
    ask("PATCH", `${MAPS}/diffed?${query}`, { type, body: configMap("diffed") }),
    201,
  );
  assertEquals(json.metadata.managedFields[0].manager, "argocd-controller");
  await ok(ask("GET", `${MAPS}/diffed`), 404);
}

async function flux({ ask }: World): Promise<void> {
  const path = "/apis/apps/v1/namespaces/default/deployments/flux";
  const type = "application/apply-patch+yaml";
  const query = "fieldManager=kustomize-controller&force=true";
  const body = deployment("flux");
  await ok(ask("PATCH", `${path}?${query}&dryRun=All`, { type, body }), 201);
  await ok(ask("PATCH", `${path}?${query}`, { type, body }), 201);
  let found: Json;
  await eventually(async () => {
    found = (await ask("GET", path)).json;
    const { status, metadata } = found;
    return status?.observedGeneration === metadata.generation && status.readyReplicas === 1;
  });
  const conditions = Object.fromEntries(
    found.status.conditions.map((c: Json) => [c.type, `${c.status} ${c.reason}`]),
  );
  assertEquals(conditions, {
    Available: "True MinimumReplicasAvailable",
    Progressing: "True NewReplicaSetAvailable",
  });
  // Nothing is changed by the same apply again.
  const { json } = await ok(ask("PATCH", `${path}?${query}`, { type, body }));
  assertEquals(json.metadata.generation, found.metadata.generation);
}

async function certManager({ ask }: World): Promise<void> {
  const caBundle = btoa("-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n");
  const path = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations";
  const webhook = {
    name: "w.cert.example",
    admissionReviewVersions: ["v1"],
    sideEffects: "None",
    failurePolicy: "Ignore",
    clientConfig: { service: { name: "w", namespace: "default" } },
    rules: [{
      apiGroups: ["none.example"],
      apiVersions: ["v1"],
      operations: ["CREATE"],
      resources: ["x"],
    }],
  };
  await ok(ask("POST", path, { body: { metadata: { name: "cert" }, webhooks: [webhook] } }), 201);
  const injected = {
    apiVersion: "admissionregistration.k8s.io/v1",
    kind: "ValidatingWebhookConfiguration",
    metadata: { name: "cert" },
    webhooks: [{ name: webhook.name, clientConfig: { caBundle } }],
  };
  const { json } = await ok(ask("PATCH", `${path}/cert?fieldManager=cainjector&force=true`, {
    type: "application/apply-patch+yaml",
    body: injected,
  }));
  assertEquals(json.webhooks[0].clientConfig.caBundle, caBundle);
  assertEquals(json.webhooks[0].clientConfig.service.name, "w");
  await ok(ask("DELETE", `${path}/cert`));
  const metadata = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1";
  const secrets = await ok(ask("GET", "/api/v1/secrets?limit=500", { accept: metadata }));
  assertEquals(secrets.json.kind, "PartialObjectMetadataList");
}

async function prometheus(world: World): Promise<void> {
  const { ask } = world;
  const roles = [
    "/api/v1/pods",
    "/api/v1/services",
    "/api/v1/nodes",
    "/apis/discovery.k8s.io/v1/endpointslices",
    "/apis/networking.k8s.io/v1/ingresses",
  ];
  for (const path of roles) await ok(ask("GET", `${path}?limit=500&resourceVersion=0`));
  const metrics = await ok(
    ask("GET", "/metrics", { accept: "text/plain;version=0.0.4;q=0.3,*/*;q=0.2" }),
  );
  assert(/^apiserver_request_total\{/m.test(metrics.text));
  for (const path of ["metrics", "metrics/cadvisor", "metrics/resource"]) {
    await ok(ask("GET", `/api/v1/nodes/plesio-0/proxy/${path}`));
  }
}

/** Lines of 6.2. */
const OTHERS: readonly Line[] = [
  {
    line: "client-go informers",
    by: [
      [GO, "informer by WatchList"],
      [GO, "informer by LIST and WATCH"],
      [GO, "retry watcher"],
      [GO, "bookmarks and initial events"],
      [AWAY, "an informer by LIST and WATCH lists again after 410"],
      [AWAY, "an informer by WatchList streams again after 410"],
    ],
  },
  {
    line: "controller-runtime",
    by: [
      [OPERATOR, "TestBuiltInKindsTravelAsProtobuf"],
      [OPERATOR, "TestSecretsAreWatchedByMetadataAlone"],
      [OPERATOR, "TestFieldsThatTheOperatorOwnsComeBack"],
      [OPERATOR, "TestAnotherReplicaTakesOver"],
      [ENVTEST, "TestValidatingWebhook"],
    ],
  },
  {
    line: "Helm 3",
    by: [
      ["Helm 3", "install with hooks, a CRD and a subchart, and wait"],
      ["Helm 3", "capabilities, lookup, dry run on the server"],
      ["Helm 3", "an upgrade that fails is taken back"],
      ["Helm 3", "a release of nearly 1 MiB, and one too large"],
      ["Helm 3", "test, good and bad"],
      ["Helm 4", "upgrade keeps what others wrote"],
    ],
  },
  { line: "kustomize / kubectl -k", by: [["kustomize", "kubectl apply -k changes nothing"]] },
  {
    line: "k9s",
    async show({ ask, events }) {
      const list = await ok(ask("GET", "/api/v1/pods?limit=500", { accept: TABLE }));
      assertEquals(list.json.kind, "Table");
      await ok(ask("GET", "/apis/metrics.k8s.io/v1beta1/nodes"));
      await ok(ask("GET", "/apis/metrics.k8s.io/v1beta1/pods"));
      const attributes = { verb: "list", resource: "pods", namespace: "" };
      const review = await ok(
        ask("POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", {
          body: { spec: { resourceAttributes: attributes } },
        }),
        201,
      );
      assertEquals(review.json.status.allowed, true);
      const seen = await events("/api/v1/events?watch=true&timeoutSeconds=1", Infinity);
      assert(seen.every(({ type }) => type !== "ERROR"));
    },
    by: [[GO, "logs, followed"], [GO, "exec by WebSocket and by SPDY"]],
  },
  {
    line: "Lens / Headlamp / dashboard",
    by: [
      [SOCKET, "watch with a token among the subprotocols"],
      [SOCKET, "exec by v4.channel.k8s.io"],
      [SOCKET, "exec by v5.channel.k8s.io"],
      [GO, "reviews"],
      [GO, "impersonation"],
    ],
    async show({ ask }) {
      const { json } = await ok(
        ask("GET", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", { accept: TABLE }),
      );
      assertEquals(json.columnDefinitions[0].name, "Name");
      const query = `${NS}/services/http:prometheus:9090/proxy/api/v1/query`;
      // A Service that is not there is told as such, by the proxy's own path.
      const proxied = await ask("GET", `${query}?query=up`);
      assertEquals([proxied.status, proxied.json.reason], [404, "NotFound"]);
      const labels = { app: "prometheus" };
      const answer =
        "({ url }) => Response.json({ status: 'success', asked: new URL(url).search })";
      const args = ["eval", `Deno.serve({ port: 9090 }, ${answer})`];
      const containers = [{ name: "c", image: "denoland/deno:2.9.6", args }];
      const metadata = { name: "prometheus", labels };
      await ok(ask("POST", `${NS}/pods`, { body: { metadata, spec: { containers } } }), 201);
      const spec = { selector: labels, ports: [{ port: 9090 }] };
      await ok(ask("POST", `${NS}/services`, { body: { metadata, spec } }), 201);
      let found: Answer;
      await eventually(async () => (found = await ask("GET", `${query}?query=up`)).status === 200);
      assertEquals(found!.json, { status: "success", asked: "?query=up" });
      await ok(ask("DELETE", `${NS}/services/prometheus`));
      await ok(ask("DELETE", `${NS}/pods/prometheus?gracePeriodSeconds=0`));
    },
  },
  { line: "Argo CD / gitops-engine", show: argo },
  { line: "Flux", show: flux },
  {
    line: "cert-manager",
    by: [
      [OPERATOR, "TestRulesOfTheSchema"],
      [OPERATOR, "TestVersionsAreConverted"],
      [OPERATOR, "TestValidatingWebhook"],
      [OPERATOR, "TestSecretsAreWatchedByMetadataAlone"],
    ],
    show: certManager,
  },
  { line: "Prometheus / kube-state-metrics", show: prometheus },
  {
    line: "metrics-server / HPA",
    async show({ ask }) {
      const { json } = await ok(ask("GET", "/apis/metrics.k8s.io/v1beta1/nodes"));
      assertEquals(json.kind, "NodeMetricsList");
      assert(json.items[0].usage.cpu && json.items[0].usage.memory && json.items[0].window);
      const resource = await ok(ask("GET", "/api/v1/nodes/plesio-0/proxy/metrics/resource"));
      assert(/^node_cpu_usage_seconds_total /m.test(resource.text));
    },
  },
  {
    line: "@kubernetes/client-node",
    by: [[JAVASCRIPT, "informer, with its connection broken in between"], [
      JAVASCRIPT,
      "port-forward",
    ]],
  },
  {
    line: "python kubernetes",
    by: [[PYTHON, "lists, strictly read"], [PYTHON, "exec"], [PYTHON, "port-forward"]],
  },
  {
    line: "fabric8 (Java)",
    by: [[JAVA, "jdk: watch and informer"], [JAVA, "vertx: watch and informer"], [
      JAVA,
      "jdk: server-side apply",
    ]],
  },
  {
    line: "kube-rs",
    by: [
      [RUST, "watcher by streaming lists"],
      [RUST, "metadata and dynamic objects"],
      [RUST, "server-side apply, conflict and force"],
    ],
  },
  {
    line: "Terraform/Pulumi",
    async show({ ask }) {
      const type = "application/apply-patch+yaml";
      const query = "fieldManager=Terraform&force=false";
      await ok(
        ask("PATCH", `${MAPS}/tf?${query}&dryRun=All`, { type, body: configMap("tf") }),
        201,
      );
      await ok(ask("PATCH", `${MAPS}/tf?${query}`, { type, body: configMap("tf") }), 201);
      const other = { type, body: configMap("tf", { a: "2" }) };
      const refused = await ask("PATCH", `${MAPS}/tf?fieldManager=pulumi&force=false`, other);
      assertEquals([refused.status, refused.json.details.causes[0].reason], [
        409,
        "FieldManagerConflict",
      ]);
    },
  },
  {
    line: "Skaffold/Tilt",
    by: [[GO, "logs, followed"], [GO, "port-forward by WebSocket and by SPDY"]],
    async show({ ask }) {
      // They ask for a registry of this cluster and take "not found" for none; here is none.
      const path = "/api/v1/namespaces/kube-public/configmaps/local-registry-hosting";
      assertEquals((await ask("GET", path)).json.reason, "NotFound");
    },
  },
  {
    line: "Sonobuoy/Hydrophone/e2e.test",
    async show({ ask }) {
      const { json } = await ok(ask("GET", "/api/v1/nodes"));
      const good = json.items.filter(({ spec, status }: Json) =>
        !spec.unschedulable && !spec.taints?.length &&
        status.conditions.some((c: Json) => c.type === "Ready" && c.status === "True")
      );
      assert(good.length >= 2, `${good.length} nodes`);
    },
  },
];

/** What is optional and not there. */
const ABSENT: readonly Line[] = [
  { line: "etcdctl", absent: "optional: no gRPC facade of etcd is served" },
];

async function create({ ask }: World, name: string, data?: Record<string, string>): Promise<Json> {
  return (await ok(ask("POST", MAPS, { body: configMap(name, data) }), 201)).json;
}

async function bodies(world: World): Promise<void> {
  const { ask } = world;
  const yaml = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: yaml}\ndata: {a: '1'}\n";
  const type = "application/yaml";
  const { text, type: answered } = await ok(
    ask("POST", MAPS, { type, accept: type, body: yaml }),
    201,
  );
  assertEquals([answered, (parse(text) as Json).data.a], [type, "1"]);
  const proto = await ok(ask("GET", `${MAPS}/yaml`, { accept: PROTO }));
  assertEquals([proto.type, proto.text.slice(0, 3)], [PROTO, "k8s"]);
  const table = await ok(ask("GET", `${MAPS}/yaml`, { accept: TABLE }));
  assertEquals(table.json.rows[0].cells.slice(0, 2), ["yaml", 1]);
  const partial = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1";
  const bare = await ok(ask("GET", `${MAPS}/yaml`, { accept: partial }));
  assertEquals([bare.json.kind, bare.json.data], ["PartialObjectMetadata", undefined]);
  const neither = await ask("GET", `${MAPS}/yaml`, { accept: "text/csv" });
  assertEquals(neither.status, 406);
  const unread = await ask("POST", MAPS, { type: "text/csv", body: "a,b" });
  assertEquals(unread.status, 415);
}

async function discovery({ ask }: World): Promise<void> {
  for (const version of ["v2", "v2beta1"]) {
    const accept = `application/json;g=apidiscovery.k8s.io;v=${version};as=APIGroupDiscoveryList`;
    const { type, json } = await ok(ask("GET", "/apis", { accept }));
    assertEquals([type, json.apiVersion], [accept, `apidiscovery.k8s.io/${version}`]);
  }
  assertEquals((await ok(ask("GET", "/apis"))).json.kind, "APIGroupList");
  assertEquals((await ok(ask("GET", "/api"))).json.kind, "APIVersions");
  assertEquals((await ok(ask("GET", "/apis/apps"))).json.kind, "APIGroup");
  assertEquals((await ok(ask("GET", "/apis/apps/v1"))).json.kind, "APIResourceList");
}

async function openapi({ ask }: World): Promise<void> {
  const { paths } = (await ok(ask("GET", "/openapi/v3"))).json;
  const url: string = paths["apis/apps/v1"].serverRelativeURL;
  assert(/\?hash=[0-9A-F]{128}$/.test(url), url);
  const document = await ok(ask("GET", url));
  assert(document.headers.get("cache-control")?.includes("immutable"));
  const etag = document.headers.get("etag")!;
  assertEquals((await ask("GET", url, { headers: { "if-none-match": etag } })).status, 304);
  assertEquals((await ok(ask("GET", "/openapi/v2"))).json.swagger, "2.0");
  const proto = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf";
  assertEquals((await ok(ask("GET", "/openapi/v2", { accept: proto }))).type, proto);
}

async function patches(world: World): Promise<void> {
  const { ask } = world;
  await create(world, "patched", { a: "1", b: "1" });
  const path = `${MAPS}/patched`;
  const sent: [string, unknown, Record<string, string>][] = [
    ["application/json-patch+json", [{ op: "remove", path: "/data/b" }], { a: "1" }],
    ["application/merge-patch+json", { data: { c: "3", a: null } }, { c: "3" }],
    ["application/strategic-merge-patch+json", { data: { d: "4" } }, { c: "3", d: "4" }],
  ];
  for (const [type, body, data] of sent) {
    assertEquals((await ok(ask("PATCH", path, { type, body }))).json.data, data);
  }
  const type = "application/apply-patch+yaml";
  const body = configMap("patched", { e: "5" });
  const applied = await ok(ask("PATCH", `${path}?fieldManager=contract`, { type, body }));
  assertEquals(applied.json.data, { c: "3", d: "4", e: "5" });
}

async function writing(world: World): Promise<void> {
  const { ask } = world;
  await ok(ask("POST", `${MAPS}?dryRun=All`, { body: configMap("dry") }), 201);
  await ok(ask("GET", `${MAPS}/dry`), 404);
  const unknown = { ...configMap("odd"), dta: {} };
  const strict = await ask("POST", `${MAPS}?fieldValidation=Strict`, { body: unknown });
  assertEquals(strict.status, 400);
  const warned = await ok(
    ask("POST", `${MAPS}?fieldValidation=Warn&dryRun=All`, { body: unknown }),
    201,
  );
  assertEquals(warned.headers.get("warning"), `299 - "unknown field \\"dta\\""`);
  // A version that is given comes last, and does not matter to a dry run: operators' suites rely on both.
  const versioned = { ...configMap("v"), metadata: { name: "v", resourceVersion: "5" } };
  assertEquals((await ask("POST", `${MAPS}?dryRun=All`, { body: versioned })).status, 201);
  const given = await ask("POST", MAPS, { body: versioned });
  assertEquals([given.status, given.json.message], [
    500,
    "resourceVersion should not be set on objects to be created",
  ]);
  const bad = { ...configMap("Bad Name"), metadata: { name: "Bad Name", labels: { "a b": "c" } } };
  const refused = await ask("POST", MAPS, { body: bad });
  assertEquals([refused.status, refused.json.reason], [422, "Invalid"]);
  assertEquals(refused.json.details.causes.map((c: Json) => c.field), [
    "metadata.name",
    "metadata.labels",
  ]);
  for (const where of ["body", "query"]) {
    await create(world, `doomed-${where}`);
    const path = `${MAPS}/doomed-${where}`;
    const wrong = { preconditions: { uid: "none" } };
    assertEquals((await ask("DELETE", path, { body: wrong })).status, 409);
    const dry = where === "body"
      ? ask("DELETE", path, { body: { dryRun: ["All"] } })
      : ask("DELETE", `${path}?dryRun=All`);
    await ok(dry);
    await ok(ask("GET", path));
    await ok(
      where === "body"
        ? ask("DELETE", path, { body: { propagationPolicy: "Background" } })
        : ask("DELETE", `${path}?propagationPolicy=Background&gracePeriodSeconds=0`),
    );
    await ok(ask("GET", path), 404);
  }
}

async function versions(world: World): Promise<void> {
  const { ask, events } = world;
  const { metadata } = await create(world, "versioned");
  const { json: list } = await ok(ask("GET", `${MAPS}?limit=1`));
  assert(list.metadata.continue && list.metadata.remainingItemCount > 0);
  const next = `${MAPS}?limit=1&continue=${encodeURIComponent(list.metadata.continue)}`;
  assertEquals(
    (await ok(ask("GET", next))).json.metadata.resourceVersion,
    list.metadata.resourceVersion,
  );
  const exact = `resourceVersion=${metadata.resourceVersion}&resourceVersionMatch=Exact`;
  const then = await ok(ask("GET", `${MAPS}?${exact}`));
  assertEquals(then.json.metadata.resourceVersion, metadata.resourceVersion);
  const ahead = await ask("GET", `${MAPS}?resourceVersion=99999999`);
  assertEquals([ahead.status, ahead.json.details.causes[0].reason], [
    504,
    "ResourceVersionTooLarge",
  ]);
  const initial =
    "watch=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true";
  const { length } = (await ok(ask("GET", MAPS))).json.items;
  const seen = await events(`${MAPS}?${initial}&timeoutSeconds=5`, length + 1);
  assertEquals(seen.at(-1).type, "BOOKMARK");
  const { annotations, resourceVersion } = seen.at(-1).object.metadata;
  assertEquals(annotations, { "k8s.io/initial-events-end": "true" });
  assert(Number(resourceVersion) >= Number(metadata.resourceVersion));
  const unlike = await ask("GET", `${MAPS}?watch=true&sendInitialEvents=true`);
  assertEquals([unlike.status, unlike.json.reason], [422, "Invalid"]);
  const selected = await ok(ask("GET", `${MAPS}?fieldSelector=metadata.name%3Dversioned`));
  assertEquals(selected.json.items.length, 1);
}

/** Expiry wants time, and so a cluster with a clock of its own. */
async function expiry(): Promise<void> {
  await using cluster = await Cluster.start({ nodes: 0, controllers: "" });
  const ask = async (path: string) => {
    const answer = await cluster.fetch(path);
    return { status: answer.status, json: await answer.json() as Json };
  };
  const body = (i: number) => JSON.stringify(configMap(`m${i}`));
  const write = async (i: number) => {
    const headers = { "content-type": "application/json" };
    const made = await cluster.fetch(MAPS, { method: "POST", headers, body: body(i) });
    await made.body?.cancel();
    assertEquals(made.status, 201);
  };
  await write(0);
  await write(1);
  const { json: page } = await ask(`${MAPS}?limit=1`);
  const token = encodeURIComponent(page.metadata.continue);
  assertEquals((await ask(`${MAPS}?limit=1&continue=${token}`)).status, 200);
  for (let minute = 0; minute < 6; minute++) await (cluster.clock as Json).advance(60_000);
  const late = await ask(`${MAPS}?limit=1&continue=${token}`);
  assertEquals([late.status, late.json.reason], [410, "Expired"]);
  assert(late.json.metadata.continue, "an inconsistent continue token");
  const again = await ask(
    `${MAPS}?limit=1&continue=${encodeURIComponent(late.json.metadata.continue)}`,
  );
  assertEquals(again.status, 200);
}

async function transports({ server }: World): Promise<void> {
  const { hostname, port, caPem: ca, certificatePem: cert, keyPem: key } = server.access;
  // A socket of the client's may break off before anything was said: then it asks again, as every client does.
  const once = () =>
    new Promise<string>((resolve, reject) => {
      const options = { host: hostname, port, ca, cert, key, path: "/version" };
      httpsRequest(options, (answer) => {
        answer.resume();
        answer.on("end", () => resolve(answer.httpVersion));
      }).on("error", reject).end();
    });
  assertEquals(await once().catch(once), "1.1");
  const session = connect(`https://${hostname}:${port}`, { ca, cert, key });
  const stream = session.request({ ":path": "/version" });
  let body = "";
  for await (const part of stream) body += part;
  assertEquals(JSON.parse(body).minor, "36");
  session.close();
}

/** Lines of 6.3: the words of its one sentence. */
const MATRIX: readonly Line[] = [
  {
    line: "JSON+YAML; protobuf in and out for built-ins; Table; PartialObjectMetadata",
    show: bodies,
    by: [[GO, "protobuf bodies both ways"]],
  },
  {
    line: "aggregated discovery v2/v2beta1 + legacy",
    show: discovery,
    by: [[GO, "discovery, aggregated and legacy, says the same"]],
  },
  { line: "OpenAPI v3 with hashes + v2 JSON and protobuf", show: openapi },
  { line: "four patch types + SSA", show: patches, by: [[GO, "patch types"]] },
  {
    line:
      "dry-run; field validation; DeleteOptions in body and query; Status errors with causes; Warning headers",
    show: writing,
  },
  { line: "RV semantics; bookmarks; WatchList; field selectors", show: versions },
  { line: "chunking with real expiry", show: expiry },
  {
    line: "impersonation; TokenRequest; SAR family",
    by: [[GO, "impersonation"], [GO, "TokenRequest, and what its token may do"], [GO, "reviews"]],
  },
  {
    line: "Leases; Events both groups",
    by: [[GO, "leader election"], [OPERATOR, "TestEventsAreRecorded"]],
  },
  {
    line: "logs stream; WebSocket exec v1–v5, port-forward tunnel with SPDY framing",
    by: [
      [GO, "logs, followed"],
      [SOCKET, "exec by channel.k8s.io"],
      [SOCKET, "exec by base64.channel.k8s.io"],
      [SOCKET, "exec by v4.channel.k8s.io"],
      [SOCKET, "exec by v5.channel.k8s.io"],
      [GO, "port-forward by WebSocket and by SPDY"],
    ],
  },
  {
    line: "metrics.k8s.io",
    show: OTHERS.find(({ line }) => line.startsWith("metrics-server"))!.show,
  },
  {
    line: "CRDs with everything; webhooks",
    by: [
      [OPERATOR, "TestRulesOfTheSchema"],
      [OPERATOR, "TestVersionsAreConverted"],
      [OPERATOR, "TestScaleAndSelectableFields"],
      [OPERATOR, "TestValidatingWebhook"],
    ],
  },
  { line: "HTTP/1.1 and HTTP/2; TLS", show: transports },
  {
    line: "kubeconfig with CA or token",
    by: [[SOCKET, "watch with a token among the subprotocols"], [
      GO,
      "TokenRequest, and what its token may do",
    ]],
  },
];

Deno.test("CLIENTS.md 6.2 and 6.3, line by line", async (t) => {
  await using server = await Server.start();
  await using world = await open(server);
  await eventually(async () =>
    (await world.ask("GET", `${NS}/serviceaccounts/default`)).status === 200 &&
    (await world.ask("GET", "/api/v1/nodes")).json.items.every((node: Json) =>
      node.status.conditions?.some((c: Json) => c.type === "Ready" && c.status === "True")
    )
  );
  const recorded = Object.values(RECORDED);
  for (const { line, by, show, absent } of [...OTHERS, ...ABSENT, ...MATRIX]) {
    const name = absent ? `${line} (${absent})` : line;
    await t.step({
      name,
      ignore: absent !== undefined,
      fn: async () => {
        assert(by || show, "nothing shows it");
        for (const [client, step] of by ?? []) {
          const found = CLIENTS.find(({ name }) => name === client);
          assert(found?.steps.includes(step), `no step "${step}" of ${client}`);
          assert(found?.quick || recorded.includes(client), `${client} runs in no test`);
        }
        await show?.(world);
      },
    });
  }
});
