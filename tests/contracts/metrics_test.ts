/**
 * The metrics that Kubernetes promises to keep (`metrics_data.ts`), against those of a cluster in which something of
 * everything happened: names, types, labels and bounds.
 */
import { assert, assertEquals, assertRejects } from "@std/assert";
import { Cluster } from "../../mod.ts";
import type { Outbound, OutboundRequest } from "../../api/client/outbound.ts";
import type { ManualClock } from "../../kv/mod.ts";
import { ELSEWHERE, type MetricFacts, METRICS, type Page, WITHOUT } from "./metrics_data.ts";

const PATHS: Readonly<Record<Page, string>> = {
  server: "/metrics",
  slis: "/metrics/slis",
  resources: "/metrics/resources",
  node: "/api/v1/nodes/plesio-0/proxy/metrics",
  "node/resource": "/api/v1/nodes/plesio-0/proxy/metrics/resource",
  "node/probes": "/api/v1/nodes/plesio-0/proxy/metrics/probes",
};

/** A webhook that finds everything right. */
const CONTENT: Outbound = {
  send(_endpoint: unknown, { body }: OutboundRequest) {
    const { apiVersion, kind, request } = JSON.parse(new TextDecoder().decode(body));
    const answer = { apiVersion, kind, response: { uid: request.uid, allowed: true } };
    const bytes = new TextEncoder().encode(JSON.stringify(answer));
    return Promise.resolve({ status: 200, headers: {}, body: bytes });
  },
} as unknown as Outbound;

const rule = (resource: string, group = "") => ({
  apiGroups: [group],
  apiVersions: ["*"],
  operations: ["CREATE"],
  resources: [resource],
});
const container = (requests: Record<string, string> = {}) => ({
  name: "c",
  image: "nginx",
  resources: { requests, limits: requests },
});
const labels = { app: "web" };
const podOf = (requests?: Record<string, string>, more: object = {}) => ({
  containers: [container(requests)],
  ...more,
});
const job = (more: object = {}, pod: object = {}) => ({
  template: { spec: podOf({}, { restartPolicy: "Never", ...pod }) },
  ...more,
});

/** What is made, in this order: `path kind name`, and what it says. */
const OBJECTS: readonly [path: string, kind: string, name: string, body: object][] = [
  ["apis/admissionregistration.k8s.io/v1", "ValidatingWebhookConfiguration", "content", {
    webhooks: [{
      name: "content.example.com",
      clientConfig: { url: "https://content.example.com/" },
      rules: [rule("configmaps")],
      admissionReviewVersions: ["v1"],
      sideEffects: "None",
    }],
  }],
  ["apis/admissionregistration.k8s.io/v1", "ValidatingAdmissionPolicy", "named", {
    spec: {
      matchConstraints: { resourceRules: [rule("configmaps")] },
      validations: [{ expression: "object.metadata.name != 'x'" }],
    },
  }],
  ["apis/admissionregistration.k8s.io/v1", "ValidatingAdmissionPolicyBinding", "named", {
    spec: { policyName: "named", validationActions: ["Deny"] },
  }],
  ["apis/apiextensions.k8s.io/v1", "CustomResourceDefinition", "crates.example.com", {
    spec: {
      group: "example.com",
      scope: "Namespaced",
      names: { plural: "crates", kind: "Crate" },
      versions: [{
        name: "v1",
        served: true,
        storage: true,
        schema: {
          openAPIV3Schema: {
            type: "object",
            properties: {
              spec: {
                type: "object",
                properties: { size: { type: "integer" } },
                "x-kubernetes-validations": [{ rule: "self.size > 0" }],
              },
            },
          },
        },
      }],
    },
  }],
  ["apis/scheduling.k8s.io/v1", "PriorityClass", "first", { value: 1000 }],
  ["api/v1", "Node", "silent", { metadata: { labels: { "topology.kubernetes.io/zone": "far" } } }],
  ["apis/apps/v1/namespaces/default", "Deployment", "web", {
    spec: {
      selector: { matchLabels: labels },
      template: { metadata: { labels }, spec: podOf({ cpu: "100m", memory: "1Gi" }) },
    },
  }],
  ["api/v1/namespaces/default", "Service", "web", {
    spec: { selector: labels, ports: [{ port: 80 }], trafficDistribution: "PreferSameZone" },
  }],
  ["apis/autoscaling/v2/namespaces/default", "HorizontalPodAutoscaler", "web", {
    spec: {
      scaleTargetRef: { apiVersion: "apps/v1", kind: "Deployment", name: "web" },
      maxReplicas: 2,
      metrics: [{
        type: "Resource",
        resource: { name: "cpu", target: { type: "Utilization", averageUtilization: 50 } },
      }],
    },
  }],
  ["apis/batch/v1/namespaces/default", "Job", "once", { spec: job() }],
  ["apis/batch/v1/namespaces/default", "Job", "moved", {
    spec: job({
      podFailurePolicy: {
        rules: [{ action: "Ignore", onPodConditions: [{ type: "DisruptionTarget" }] }],
      },
    }, { nodeSelector: { no: "where" } }),
  }],
  ["apis/batch/v1/namespaces/default", "CronJob", "often", {
    spec: { schedule: "* * * * *", jobTemplate: { spec: job() } },
  }],
  ["api/v1/namespaces/default", "Pod", "last", { spec: podOf({ cpu: "31" }) }],
  ["api/v1/namespaces/default", "Pod", "lost", {
    spec: podOf({}, { nodeName: "silent", terminationGracePeriodSeconds: 0 }),
  }],
];

const PLURALS: Readonly<Record<string, string>> = {
  ValidatingAdmissionPolicy: "validatingadmissionpolicies",
  PriorityClass: "priorityclasses",
};

/** A cluster, and how it is asked. */
async function world() {
  const cluster = await Cluster.start({ nodes: 1, outbound: CONTENT });
  const ask = async (path: string, body?: object, method = "POST", type = "json") => {
    const headers = { "content-type": type === "json" ? "application/json" : type };
    const init = body && { method, headers, body: JSON.stringify(body) };
    const response = await cluster.fetch(path, init);
    const text = await response.text();
    assert(response.ok, `${method} ${path}: ${text}`);
    return text;
  };
  const make = (path: string, kind: string, name: string, body: object) => {
    const plural = PLURALS[kind] ?? `${kind.toLowerCase()}s`;
    const version = path.replace(/^apis?\//, "").replace(/\/namespaces\/.*$/, "");
    const { metadata, ...rest } = body as { metadata?: object };
    const object = { apiVersion: version, kind, metadata: { name, ...metadata }, ...rest };
    return ask(`/${path}/${plural}`, object);
  };
  return { cluster, ask, make, clock: cluster.clock as ManualClock };
}

/** Something of everything. */
async function happen({ cluster, ask, make, clock }: Awaited<ReturnType<typeof world>>) {
  await cluster.settle();
  for (const object of OBJECTS) await make(...object);
  await cluster.settle();
  const pods = "/api/v1/namespaces/default/pods";
  // It takes the place of the one before it
  const first = podOf({ cpu: "31" }, { priorityClassName: "first" });
  await make("api/v1/namespaces/default", "Pod", "first", { spec: first });
  const crates = "apis/example.com/v1/namespaces/default";
  await make(crates, "Crate", "small", { spec: { size: 1 } });
  await make("api/v1/namespaces/default", "ConfigMap", "m", {});
  const { items } = JSON.parse(await ask(`${pods}?labelSelector=job-name%3Dmoved`));
  const condition = { type: "DisruptionTarget", status: "True" };
  const status = { status: { phase: "Failed", conditions: [condition] } };
  const merge = "application/merge-patch+json";
  await ask(`${pods}/${items[0].metadata.name}/status`, status, "PATCH", merge);
  await cluster.settle();
  // A CronJob's minute, and a node of which nobody has heard for long
  for (let s = 0; s < 180; s += 10) {
    await clock.advance(10_000);
    await cluster.settle();
  }
  await ask("/api/v1/namespaces/default/endpoints");
  await ask("/readyz");
  // The policy refuses it
  await assertRejects(
    () => make("api/v1/namespaces/default", "ConfigMap", "x", {}),
    Error,
    "denied",
  );
}

/** Begins to watch with a list; resolves once that has come. */
async function watched(cluster: Cluster): Promise<ReadableStreamDefaultReader<Uint8Array>> {
  const { body } = await cluster.fetch(
    "/api/v1/namespaces/default/configmaps?watch=true&sendInitialEvents=true" +
      "&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true",
  );
  const reader = body!.getReader();
  for (let text = ""; !text.includes("initial-events-end");) {
    text += new TextDecoder().decode((await reader.read()).value);
  }
  return reader;
}

interface Family {
  type: string;
  labels: Set<string>;
  bounds: Set<string>;
}

/** What a page tells, by the names of its metrics. */
function familiesOf(text: string): Map<string, Family> {
  const families = new Map<string, Family>();
  for (const line of text.split("\n")) {
    const head = /^# TYPE (\S+) (\S+)$/.exec(line);
    if (head) families.set(head[1], { type: head[2], labels: new Set(), bounds: new Set() });
    if (line === "" || line.startsWith("#")) continue;
    const [, name, inside = ""] = /^(\w+)(?:\{(.*)\})? \S+/.exec(line)!;
    const family = families.get(name) ?? families.get(name.replace(/_(bucket|sum|count)$/, ""));
    assert(family, `${line} has no type`);
    const found = [...inside.matchAll(/(\w+)="((?:[^"\\]|\\.)*)"/g)];
    for (const [, label, value] of found) if (label === "le") family.bounds.add(value);
    family.labels.add(found.map(([, label]) => label).filter((l) => l !== "le").sort().join(" "));
  }
  return families;
}

/** What is wrong with a metric; nothing where it is right. */
function* problems(
  { name, type, labels, bounds }: MetricFacts,
  family: Family | undefined,
): Generator<string> {
  if (!family || family.labels.size === 0) {
    yield `${name} is not told`;
    return;
  }
  if (family.type !== type) yield `${name} is a ${family.type}, not a ${type}`;
  const wanted = [...labels].join(" ");
  for (const found of family.labels) {
    if (found !== wanted) yield `${name} has the labels "${found}", not "${wanted}"`;
  }
  const told = [...family.bounds].map((le) => le === "+Inf" ? Infinity : Number(le));
  if (bounds && told.join() !== [...bounds, Infinity].join()) {
    yield `${name} has other bounds: ${told}`;
  }
}

Deno.test("metrics that Kubernetes promises have their names, types, labels and bounds", async () => {
  const made = await world();
  await using cluster = made.cluster;
  await happen(made);
  const watching = await watched(cluster);
  const pages = new Map<Page, Map<string, Family>>();
  for (const page in PATHS) {
    pages.set(page as Page, familiesOf(await made.ask(PATHS[page as Page])));
  }
  await watching.cancel();
  const wrong = METRICS.filter(({ name }) => !(name in WITHOUT) && !(name in ELSEWHERE))
    .flatMap((facts) => [...problems(facts, pages.get(facts.page)!.get(facts.name))]);
  assertEquals(wrong, []);
  // What is said not to be served is not
  assertEquals(
    METRICS.filter(({ name, page }) => name in WITHOUT && pages.get(page)!.has(name)),
    [],
  );
});

/** The sum of the series of a name whose labels include those. */
function sumOf(text: string, name: string, ...labels: string[]): number {
  const lines = text.split("\n").filter((line) =>
    (line.startsWith(`${name}{`) || line.startsWith(`${name} `)) &&
    labels.every((label) => line.includes(label))
  );
  return lines.reduce((sum, line) => sum + Number(line.slice(line.lastIndexOf(" "))), 0);
}

Deno.test("metrics agree with what happened", async () => {
  const made = await world();
  await using cluster = made.cluster;
  await happen(made);
  const text = await made.ask("/metrics");
  const sum = (name: string, ...labels: string[]) => sumOf(text, name, ...labels);
  const succeeded = 'result="succeeded"';
  assertEquals(
    sum("job_controller_job_pods_finished_total", succeeded),
    sum("job_controller_jobs_finished_total", succeeded, 'reason="CompletionsReached"'),
  );
  assertEquals(sum("job_controller_pod_failures_handled_by_failure_policy_total", "Ignore"), 1);
  assertEquals(
    sum("job_controller_terminated_pods_tracking_finalizer_total", "add"),
    sum("job_controller_terminated_pods_tracking_finalizer_total", "delete"),
  );
  const cron = "cronjob_controller_job_creation_skew_duration_seconds";
  // Two Jobs were made by hand; a minute's Job was made within a second of it
  const created = sum("etcd_requests_total", 'operation="create"', 'resource="jobs"');
  assertEquals(sum(`${cron}_count`), created - 2);
  assertEquals(sum(`${cron}_bucket`, 'le="1"'), created - 2);
  const slices = "endpoint_slice_controller_";
  assertEquals(
    [
      "endpoints_desired",
      "num_endpoint_slices",
      "desired_endpoint_slices",
      "endpoints_added_per_sync_sum",
    ]
      .map((name) => sum(slices + name)),
    [1, 1, 1, 1],
  );
  assertEquals(sum(`${slices}services_count_by_traffic_distribution`, "PreferSameZone"), 1);
  const plugin = "apiserver_admission_controller_admission_duration_seconds_count";
  const refused = ['operation="CREATE"', 'rejected="true"', 'type="validate"'];
  assertEquals(sum(plugin, 'name="ValidatingAdmissionPolicy"', ...refused), 1);
  assertEquals(sum(plugin, ...refused), 1);
  assertEquals(
    sum("scheduler_framework_extension_point_duration_seconds_count", '"Bind"', '"Success"'),
    sum("scheduler_schedule_attempts_total", 'result="scheduled"'),
  );
  assertEquals(sum("scheduler_preemption_victims_sum"), 1);
  assertEquals(sum("node_collector_evictions_total", "far"), 1);
  const maps = await cluster.client.list({
    resource: { group: "", version: "v1", plural: "configmaps" },
  });
  assertEquals(
    sum("etcd_requests_total", 'operation="create"', 'resource="configmaps"'),
    maps.items.length,
  );
  assertEquals(sum("etcd_request_duration_seconds_count"), sum("etcd_requests_total"));
  const client = sum("rest_client_requests_total", 'code="201"', 'method="POST"');
  assert(client > 0 && client <= sum("etcd_requests_total", 'operation="create"') + 10);
  assertEquals(sum("apiserver_cel_evaluation_duration_seconds_count"), 1);
  const resources = await made.ask("/metrics/resources");
  assertEquals(sumOf(resources, "kube_pod_resource_request", 'pod="first"', 'unit="cores"'), 31);
});

Deno.test("metrics that no quiet cluster comes to are told by the test that is named", async () => {
  for (const [name, test] of Object.entries(ELSEWHERE)) {
    const text = await Deno.readTextFile(new URL(`../../${test}`, import.meta.url));
    assert(text.includes(name), `${test}: ${name}`);
  }
});
