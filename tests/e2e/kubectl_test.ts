/**
 * kubectl as a person uses it, against one cluster: a table of commands with what they must say, in upstream's
 * words, and how they must end. Rows run in order and build on each other. Needs a kubectl on the PATH (or
 * `KUBECTL`, one to use instead).
 */
import { Server } from "./server.ts";

/** A command, what its output must contain (`!`: must not), its exit code (default 0), its standard input. */
interface Row {
  run: string;
  says?: string | readonly string[];
  code?: number;
  input?: string;
}

const KUBECTL = Deno.env.get("KUBECTL") ?? "kubectl";

const POD = (name: string, more = "") => `
apiVersion: v1
kind: Pod
metadata: { name: ${name}, labels: { app: ${name} } }
spec: { containers: [{ name: c, image: "nginx:1" ${more} }] }
`;
const SETTINGS = (data: string) => `
apiVersion: v1
kind: ConfigMap
metadata: { name: settings }
data: ${data}
`;
const WEB = `
apiVersion: apps/v1
kind: Deployment
metadata: { name: web }
spec:
  replicas: 2
  selector: { matchLabels: { app: web } }
  template:
    metadata: { labels: { app: web } }
    spec: { containers: [{ name: c, image: "nginx:1" }] }
`;
const WIDGETS = `
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: { name: widgets.example.com }
spec:
  group: example.com
  scope: Namespaced
  names: { plural: widgets, singular: widget, kind: Widget, shortNames: [wd], categories: [all] }
  versions:
  - name: v1
    served: true
    storage: true
    subresources: { status: {}, scale: { specReplicasPath: .spec.size, statusReplicasPath: .status.size } }
    additionalPrinterColumns: [{ name: Size, type: integer, jsonPath: .spec.size }]
    schema:
      openAPIV3Schema:
        type: object
        description: A thing for tests.
        properties:
          spec:
            type: object
            properties: { size: { type: integer, minimum: 1, description: How big it is. } }
          status: { type: object, properties: { size: { type: integer } } }
`;
const WIDGET = (spec: string) => `
apiVersion: example.com/v1
kind: Widget
metadata: { name: w }
spec: ${spec}
`;
const RULES = `
apiVersion: v1
kind: ResourceQuota
metadata: { name: few }
spec: { hard: { configmaps: "2" } }
---
apiVersion: v1
kind: LimitRange
metadata: { name: small }
spec: { limits: [{ type: Container, max: { cpu: "1" } }] }
`;
const BUDGET = `
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata: { name: web }
spec: { minAvailable: 2, selector: { matchLabels: { app: web } } }
`;

const OBJECTS: readonly Row[] = [
  { run: "version", says: "Server Version: v1.36" },
  { run: "create configmap one --from-literal=a=1", says: "configmap/one created" },
  {
    run: "create configmap one",
    says: `error: failed to create configmap: configmaps "one" already exists`,
    code: 1,
  },
  { run: "create configmap two --dry-run=server", says: "configmap/two created (server dry run)" },
  { run: "get cm two", says: `Error from server (NotFound): configmaps "two" not found`, code: 1 },
  { run: "get cm two --ignore-not-found" },
  { run: "get gizmos", says: `the server doesn't have a resource type "gizmos"`, code: 1 },
  { run: "get cm one -o jsonpath={.data.a}", says: "1" },
  { run: "get cm one -o name", says: "configmap/one" },
  { run: "get cm one -o go-template={{.data.a}}", says: "1" },
  { run: "get cm one -o custom-columns=N:.metadata.name,A:.data.a", says: ["N ", "one", "1"] },
  { run: "get cm --field-selector metadata.name=one --no-headers", says: "one" },
  {
    run: "get cm --field-selector data.a=1",
    says: `"data.a" is not a known field selector: only "metadata.name", "metadata.namespace"`,
    code: 1,
  },
  {
    run: "get pods --field-selector spec.a=1",
    says: "field label not supported: spec.a",
    code: 1,
  },
  { run: "get cm --chunk-size=1 -A", says: ["kube-system", "one"] },
  { run: "label cm one x=y", says: "configmap/one labeled" },
  { run: "label cm one x=z", says: "already has a value (y), and --overwrite is false", code: 1 },
  { run: "label cm one x=y", says: "configmap/one not labeled" },
  { run: "label cm one x=y!", says: "a valid label must be an empty string", code: 1 },
  { run: "annotate cm one note=hello", says: "configmap/one annotated" },
  { run: "get cm -l x=y -L x", says: ["X", "y"] },
  { run: `patch cm one -p {"data":{"a":"1"}}`, says: "configmap/one patched (no change)" },
  {
    run: `patch cm one -p {"metadata":{"labels":"invalid"}}`,
    says: "cannot restore map from string",
    code: 1,
  },
  {
    run: `patch cm one --type=json -p [{"op":"remove","path":"/data/q"}]`,
    says: "The request is invalid",
    code: 1,
  },
  { run: `patch cm one --type=merge -p {"immutable":true}`, says: "configmap/one patched" },
  {
    run: `patch cm one --type=merge -p {"data":{"a":"2"}}`,
    says: "data: Forbidden: field is immutable when `immutable` is set",
    code: 1,
  },
  { run: "delete cm one", says: `configmap "one" deleted` },
  { run: "apply -f -", input: SETTINGS(`{ a: "1", b: "2" }`), says: "configmap/settings created" },
  { run: "apply -f -", input: SETTINGS(`{ a: "1", b: "2" }`), says: "unchanged" },
  { run: "diff -f -", input: SETTINGS(`{ a: "3" }`), says: [`-  b: "2"`, `+  a: "3"`], code: 1 },
  { run: "apply -f -", input: SETTINGS(`{ a: "3" }`), says: "configmap/settings configured" },
  { run: "get cm settings -o jsonpath={.data}", says: `{"a":"3"}` },
  {
    run: "apply --server-side --field-manager=other -f -",
    input: SETTINGS(`{ a: "4" }`),
    says: [
      `Apply failed with 1 conflict: conflict with "kubectl-client-side-apply" using v1: .data.a`,
      "--force-conflicts",
    ],
    code: 1,
  },
  {
    run: "apply --server-side --field-manager=other --force-conflicts -f -",
    input: SETTINGS(`{ a: "4" }`),
    says: "configmap/settings serverside-applied",
  },
  { run: "get cm settings -o yaml --show-managed-fields", says: "manager: other" },
  {
    run: "create -f -",
    input: POD("odd", `, imagee: "x"`),
    says: `strict decoding error: unknown field "spec.containers[0].imagee"`,
    code: 1,
  },
  {
    run: "create --validate=warn -f -",
    input: POD("odd", `, imagee: "x"`),
    says: [`Warning: unknown field "spec.containers[0].imagee"`, "pod/odd created"],
  },
  {
    run: `patch pod odd -p {"spec":{"nodeName":"x"}}`,
    says: "pod updates may not change fields other than",
    code: 1,
  },
  { run: "set image pod/odd c=nginx:2", says: "pod/odd image updated" },
  { run: "replace --force -f -", input: POD("odd"), says: "pod/odd replaced" },
  { run: "delete pod odd --now", says: `pod "odd" deleted` },
  { run: "create secret generic s --from-literal=k=v", says: "secret/s created" },
  { run: "describe secret s", says: "k:  1 byte" },
  { run: "create token default --duration=1h", says: "ey" },
  { run: "get --raw /readyz", says: "ok" },
  { run: "api-resources --api-group=apps -o name", says: ["deployments.apps", "!pods"] },
  { run: "api-versions", says: ["autoscaling/v2", "storage.k8s.io/v1"] },
  { run: "explain pod.spec.containers.image", says: ["FIELD: image <string>", "KIND:       Pod"] },
  { run: "get apiservices v1.apps", says: "Local" },
  { run: "get flowschemas exempt", says: ["MISSINGPL", "False"] },
];

const WORKLOADS: readonly Row[] = [
  { run: "create -f -", input: WEB, says: "deployment.apps/web created" },
  { run: "rollout status deploy/web --timeout=20s", says: "successfully rolled out" },
  { run: "get deploy web", says: ["READY   UP-TO-DATE   AVAILABLE", "2/2"] },
  {
    run: "get --raw /plesio/v1/story/apis/apps/v1/namespaces/e2e/deployments/web?format=text",
    says: [
      "The story of Deployment e2e/web, since ",
      "API server (kubernetes-admin kubectl): create Deployment e2e/web",
      "─ deployment controller: create ReplicaSet e2e/web-",
      "─ replica set controller: create Pod e2e/web-",
      "─ scheduler: create/binding Pod e2e/web-",
      "─ node plesio-0: update/status Pod e2e/web-",
      "deployment controller: update/status Deployment e2e/web: ready ",
    ],
  },
  { run: "expose deploy web --port=80", says: "service/web exposed" },
  { run: "describe svc web", says: ["Selector:", "app=web"] },
  { run: "describe deploy web", says: ["2 desired", "NewReplicaSet:", "ScalingReplicaSet"] },
  { run: "set image deploy/web c=nginx:2", says: "deployment.apps/web image updated" },
  { run: "rollout status deploy/web --timeout=20s", says: "successfully rolled out" },
  { run: "rollout history deploy/web", says: ["REVISION  CHANGE-CAUSE", "2  "] },
  { run: "rollout undo deploy/web", says: "deployment.apps/web rolled back" },
  { run: "rollout pause deploy/web", says: "deployment.apps/web paused" },
  { run: "rollout resume deploy/web", says: "deployment.apps/web resumed" },
  { run: "rollout restart deploy/web", says: "deployment.apps/web restarted" },
  { run: "rollout status deploy/web --timeout=20s", says: "successfully rolled out" },
  { run: "scale deploy/web --replicas=3", says: "deployment.apps/web scaled" },
  {
    run: "scale deploy/web --replicas=2 --current-replicas=7",
    says: "Expected replicas to be 7, was 3",
    code: 1,
  },
  { run: "scale deploy/web --replicas=2", says: "deployment.apps/web scaled" },
  {
    run: "autoscale deploy web --max=5",
    says: "horizontalpodautoscaler.autoscaling/web autoscaled",
  },
  { run: "create -f -", input: BUDGET, says: "poddisruptionbudget.policy/web created" },
  {
    run: "wait pdb/web --for=jsonpath={.status.currentHealthy}=2 --timeout=10s",
    says: "condition met",
  },
  {
    run: "drain plesio-0 --ignore-daemonsets --force --timeout=2s",
    says: "Cannot evict pod as it would violate the pod's disruption budget.",
    code: 1,
  },
  { run: "delete pdb web", says: "deleted" },
  {
    run: "drain plesio-0 --ignore-daemonsets --force --timeout=20s",
    says: "node/plesio-0 drained",
  },
  { run: "get node plesio-0", says: "Ready,SchedulingDisabled" },
  { run: "uncordon plesio-0", says: "node/plesio-0 uncordoned" },
  { run: "taint node plesio-0 k=v:NoSchedule", says: "node/plesio-0 tainted" },
  { run: "taint node plesio-0 k-", says: "node/plesio-0 untainted" },
  { run: "create job j --image=busybox", says: "job.batch/j created" },
  { run: "wait job/j --for=condition=complete --timeout=20s", says: "condition met" },
  { run: "create cronjob c --image=busybox --schedule=x", says: "spec.schedule", code: 1 },
  { run: "run lone --image=nginx --restart=Never", says: "pod/lone created" },
  { run: "wait pod/lone --for=condition=Ready --timeout=20s", says: "pod/lone condition met" },
  { run: "get pod lone -o wide", says: ["NOMINATED NODE", "plesio-"] },
  { run: "events --for pod/lone", says: ["Scheduled", "Started"] },
  { run: "delete pod lone --wait=false", says: `pod "lone" deleted` },
  {
    run: "delete deploy,svc,hpa web",
    says: [`deployment.apps "web" deleted`, `service "web" deleted`],
  },
];

const RIGHTS: readonly Row[] = [
  { run: "auth can-i create pods", says: "yes" },
  { run: "auth can-i create pods --as=bob", says: "no", code: 1 },
  {
    run: "get pods --as=bob",
    says:
      `pods is forbidden: User "bob" cannot list resource "pods" in API group "" in the namespace`,
    code: 1,
  },
  { run: "create role reader --verb=get,list --resource=pods", says: "reader created" },
  { run: "create rolebinding bob --role=reader --user=bob", says: "bob created" },
  { run: "auth can-i list pods --as=bob", says: "yes" },
  { run: "auth whoami --as=bob", says: ["bob", "system:authenticated"] },
  { run: "create -f -", input: RULES, says: ["resourcequota/few created", "limitrange/small"] },
  {
    run: "create cm more",
    says: "exceeded quota: few, requested: configmaps=1, used: configmaps=2, limited: configmaps=2",
    code: 1,
  },
  { run: "describe quota few", says: ["configmaps  2     2"] },
  {
    run: "create -f -",
    input: POD("big", `, resources: { limits: { cpu: "2" } }`),
    says: `pods "big" is forbidden: maximum cpu usage per Container is 1, but limit is 2`,
    code: 1,
  },
  { run: "delete limitrange small", says: "deleted" },
  {
    run: "label ns e2e pod-security.kubernetes.io/enforce=restricted",
    says: "namespace/e2e labeled",
  },
  {
    run: "run loose --image=nginx",
    says: `pods "loose" is forbidden: violates PodSecurity "restricted:latest"`,
    code: 1,
  },
  { run: "create -f -", input: WIDGETS, says: "widgets.example.com created" },
  { run: "wait crd/widgets.example.com --for=condition=Established", says: "condition met" },
  { run: "apply -f -", input: WIDGET("{ size: 2 }"), says: "widget.example.com/w created" },
  { run: "get wd", says: ["SIZE", "2"] },
  { run: "scale wd/w --replicas=4", says: "widget.example.com/w scaled" },
  { run: "apply -f -", input: WIDGET("{ sise: 2 }"), says: `unknown field "spec.sise"`, code: 1 },
  {
    run: "apply -f -",
    input: WIDGET("{ size: 0 }"),
    says: "spec.size: Invalid value: 0: spec.size in body should be greater than or equal to 1",
    code: 1,
  },
  { run: "explain widget.spec.size", says: ["FIELD: size <integer>", "How big it is."] },
  { run: "get apiservices v1.example.com", says: "Local" },
  { run: "delete crd widgets.example.com", says: "deleted" },
  { run: "delete ns e2e --wait=false", says: `namespace "e2e" deleted` },
  { run: "wait ns/e2e --for=delete --timeout=20s" },
];

async function kubectl(
  row: Row,
  kubeconfig: string,
): Promise<{ code: number; said: string }> {
  const process = new Deno.Command(KUBECTL, {
    args: row.run.split(" "),
    env: { KUBECONFIG: kubeconfig, HOME: kubeconfig.replace(/\/[^/]*$/, "") },
    stdin: "piped",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  const writer = process.stdin.getWriter();
  await writer.write(new TextEncoder().encode(row.input ?? "")).catch(() => {});
  await writer.close().catch(() => {});
  const { code, stdout, stderr } = await process.output();
  const decoder = new TextDecoder();
  return { code, said: decoder.decode(stdout) + decoder.decode(stderr) };
}

/** What is wrong with an answer; empty when it is right. */
function problems(row: Row, { code, said }: { code: number; said: string }): string {
  const wrong: string[] = [];
  if (code !== (row.code ?? 0)) wrong.push(`exit code ${code}, not ${row.code ?? 0}`);
  for (const text of [row.says ?? []].flat()) {
    const not = text.startsWith("!");
    const found = said.includes(not ? text.slice(1) : text);
    if (found === not) wrong.push(`${not ? "says" : "does not say"} ${JSON.stringify(text)}`);
  }
  return wrong.length ? `kubectl ${row.run}: ${wrong.join("; ")}\n${said}` : "";
}

const missing = await whyNot();

/** Why these tests cannot run here. */
async function whyNot(): Promise<string> {
  const version = await new Deno.Command(KUBECTL, { args: ["version", "--client"] }).output()
    .catch(() => undefined);
  return version?.success ? "" : "no kubectl on the PATH";
}

Deno.test({
  name: `kubectl says what it says on Kubernetes${missing && ` (${missing})`}`,
  ignore: missing !== "" && Deno.env.get("CI") !== "true",
}, async (t) => {
  await using server = await Server.start({ flags: ["--runtime", "simulated"] });
  const wrong: string[] = [];
  const both = async (row: Row) => {
    const problem = problems(row, await kubectl(row, server.kubeconfig));
    if (problem) wrong.push(problem);
  };
  await both({ run: "create ns e2e", says: "namespace/e2e created" });
  await both({ run: "config set-context --current --namespace=e2e", says: "modified" });
  const parts = { objects: OBJECTS, workloads: WORKLOADS, rights: RIGHTS };
  for (const [name, rows] of Object.entries(parts)) {
    await t.step(name, async () => {
      for (const row of rows) await both(row);
      const found = wrong.splice(0).join("\n");
      if (found) throw new Error(found);
    });
  }
});
