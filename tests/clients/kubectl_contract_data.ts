/**
 * CLIENTS.md 6.1 as data: for each of its lines the commands of kubectl that it is about, what they send (told apart
 * on the wire), how the server answers, and what kubectl then says. Rows run in order and build on each other. Where
 * versions of kubectl differ the pattern names both ways.
 */

/** One command. */
export interface Command {
  run: string;
  input?: string;
  env?: Record<string, string>;
  /** Exit code (default 0). */
  code?: number;
  /** Ended after this many ms, however far it is; its exit code tells nothing then. */
  endsMs?: number;
  /** Requests that find nothing, so that kubectl falls back to another way. */
  hides?: RegExp;
  /** What it says must match each. */
  says?: readonly RegExp[];
  /** One request each must match, in this order: `METHOD path ct=… accept=… ws=… -> status type body=…`. */
  wire: readonly RegExp[];
}

/** One line of the page. */
export interface Line {
  line: string;
  commands: readonly Command[];
}

const CONFIG = (value: string) =>
  JSON.stringify({
    apiVersion: "v1",
    kind: "ConfigMap",
    metadata: { name: "one" },
    data: { a: value },
  });
const POD = JSON.stringify({
  apiVersion: "v1",
  kind: "Pod",
  metadata: { name: "prog" },
  spec: {
    containers: [{
      name: "c",
      image: "denoland/deno:2.9.6",
      args: ["eval", "Deno.serve({ port: 8080 }, () => new Response('hello'))"],
      readinessProbe: { httpGet: { port: 8080 }, periodSeconds: 1 },
    }],
  },
});
const GADGETS = JSON.stringify({
  apiVersion: "apiextensions.k8s.io/v1",
  kind: "CustomResourceDefinition",
  metadata: { name: "gadgets.wire.plesio.dev" },
  spec: {
    group: "wire.plesio.dev",
    scope: "Namespaced",
    names: { plural: "gadgets", singular: "gadget", kind: "Gadget" },
    versions: [{
      name: "v1",
      served: true,
      storage: true,
      schema: { openAPIV3Schema: { type: "object", "x-kubernetes-preserve-unknown-fields": true } },
    }],
  },
});
const GADGET = (size: number) =>
  JSON.stringify({
    apiVersion: "wire.plesio.dev/v1",
    kind: "Gadget",
    metadata: { name: "g" },
    spec: { size },
  });

const TABLE =
  "accept=application/json;as=Table;v=v1;g=meta.k8s.io,application/json;as=Table;v=v1beta1";
const PROTO = "application/vnd.kubernetes.protobuf";
const BOTH = `accept=${PROTO},application/json .*-> 20[01] ${PROTO}`;
const DISCOVERY = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";
const NS = "/namespaces/default";

/** A list and a watch of one object: as 1.32 does it, or by a streamed list. */
function followed(resource: string, name: string): RegExp {
  const field = `fieldSelector=metadata.name=${name}`;
  return new RegExp(
    `GET ${resource}\\?(${field}&limit=500&resourceVersion=0|` +
      `allowWatchBookmarks=true&${field}&resourceVersionMatch=NotOlderThan&sendInitialEvents=true) .*-> 200|` +
      `GET ${resource}\\?allowWatchBookmarks=true&${field}&resourceVersionMatch=NotOlderThan&` +
      `sendInitialEvents=true&timeoutSeconds=[3-6]\\d\\d&watch=true .*-> 200`,
  );
}

function wire(...patterns: (string | RegExp)[]): RegExp[] {
  return patterns.map((p) => typeof p === "string" ? new RegExp(p) : p);
}

/** Every line of the table, by its first column. */
export const KUBECTL_LINES: readonly Line[] = [
  {
    line: "any typed command",
    commands: [{
      run: "get cm",
      says: [/kube-root-ca.crt/],
      wire: wire(
        `GET /api\\?.*accept=${DISCOVERY},.*v=v2beta1;as=APIGroupDiscoveryList,application/json .*-> 200 ${DISCOVERY} `,
        `GET /apis\\?.*accept=${DISCOVERY},.*-> 200 ${DISCOVERY} `,
      ),
    }],
  },
  {
    line: "get",
    commands: [
      {
        run: "get cm",
        says: [/NAME +DATA +AGE/],
        wire: wire(`GET /api/v1${NS}/configmaps\\?limit=500 .*${TABLE}.*-> 200 application/json `),
      },
      {
        run: "get cm -o yaml",
        says: [/kind: List/],
        wire: wire(`GET /api/v1${NS}/configmaps\\?limit=500 .*accept=application/json .*-> 200`),
      },
      {
        run: "get cm --sort-by=.metadata.name",
        wire: wire(`GET /api/v1${NS}/configmaps\\?includeObject=Object .*${TABLE}.*-> 200`),
      },
      {
        run: "get cm -w",
        endsMs: 1_500,
        wire: wire(
          `configmaps\\?limit=500 .*${TABLE}`,
          `configmaps\\?resourceVersion=\\d+&watch=true .*${TABLE}.*-> 200`,
        ),
      },
      {
        run: "get cm kube-root-ca.crt --watch-only",
        endsMs: 1_500,
        wire: wire(
          `GET /api/v1${NS}/configmaps/kube-root-ca.crt .*${TABLE}.*-> 200`,
          `configmaps\\?fieldSelector=metadata.name=kube-root-ca.crt&resourceVersion=0&watch=true .*-> 200`,
        ),
      },
    ],
  },
  {
    line: "apply / create -f / replace",
    commands: [
      {
        run: "create -f -",
        input: CONFIG("0"),
        says: [/configmap\/one created/],
        wire: wire(
          "GET /openapi/v3\\?.*-> 200 application/json ",
          "GET /openapi/v3/api/v1\\?hash=[0-9A-F]+&.*-> 200 application/json ",
          `POST /api/v1${NS}/configmaps\\?fieldManager=kubectl-create&fieldValidation=Strict .*-> 201`,
        ),
      },
      {
        run: "replace -f -",
        input: CONFIG("1"),
        wire: wire(`PUT /api/v1${NS}/configmaps/one\\?fieldManager=kubectl-replace.*-> 200`),
      },
      {
        run: "create -f -",
        input: CONFIG("0").replace('"data"', '"dta"').replace('"one"', '"odd"'),
        code: 1,
        says: [/strict decoding error: unknown field "dta"/],
        wire: wire(`POST /api/v1${NS}/configmaps\\?.*-> 400`),
      },
      {
        run: "delete cm one",
        wire: wire(`DELETE /api/v1${NS}/configmaps/one`),
      },
      {
        run: "create -f - --dry-run=server",
        input: CONFIG("0"),
        hides: /^GET \/openapi\/v3/,
        says: [/created \(server dry run\)/],
        wire: wire(
          "GET /openapi/v3.*-> 404",
          "GET /openapi/v2\\?.*accept=application/com.github.proto-openapi.spec.v2@v1.0\\+protobuf .*-> 200 application/com.github.proto-openapi.spec.v2",
        ),
      },
      {
        run: "create -f -",
        input: CONFIG("0"),
        hides: /^GET \/openapi\//,
        code: 1,
        says: [/error validating data: failed to download openapi/],
        wire: wire("GET /openapi/v3.*-> 404", "GET /openapi/v2.*-> 404"),
      },
    ],
  },
  {
    line: "apply (client side)",
    commands: [
      {
        run: "apply -f -",
        input: CONFIG("1"),
        wire: wire(
          `GET /api/v1${NS}/configmaps/one .*-> 404`,
          `POST /api/v1${NS}/configmaps\\?fieldManager=kubectl-client-side-apply&fieldValidation=Strict ct=application/json .*-> 201 .*last-applied-configuration`,
        ),
      },
      {
        run: "apply -f -",
        input: CONFIG("2"),
        says: [/configmap\/one configured/],
        wire: wire(
          `PATCH /api/v1${NS}/configmaps/one\\?fieldManager=kubectl-client-side-apply&fieldValidation=Strict ct=application/strategic-merge-patch\\+json .*-> 200 `,
        ),
      },
      {
        run: "apply -f -",
        input: GADGETS,
        wire: wire("POST /apis/apiextensions.k8s.io/v1/customresourcedefinitions"),
      },
      {
        run: "wait --for=condition=Established crd/gadgets.wire.plesio.dev --timeout=20s",
        says: [/condition met/],
        wire: wire("customresourcedefinitions"),
      },
      {
        run: "apply -f -",
        input: GADGET(1),
        wire: wire(`POST /apis/wire.plesio.dev/v1${NS}/gadgets`),
      },
      {
        run: "apply -f -",
        input: GADGET(2),
        wire: wire(
          `PATCH /apis/wire.plesio.dev/v1${NS}/gadgets/g\\?.* ct=application/merge-patch\\+json .*-> 200`,
        ),
      },
    ],
  },
  {
    line: "apply --server-side",
    commands: [{
      run: "apply --server-side --force-conflicts -f -",
      input: CONFIG("3"),
      says: [/configmap\/one serverside-applied/],
      wire: wire(
        `PATCH /api/v1${NS}/configmaps/one\\?fieldManager=kubectl&fieldValidation=Strict&force=true ct=application/apply-patch\\+yaml .*-> 200 .*body={"apiVersion"`,
      ),
    }],
  },
  {
    line: "create deployment/ns, autoscale, create token, auth can-i (+--list), auth whoami",
    commands: [
      {
        run: "create deployment web --image=nginx:1",
        wire: wire(`POST /apis/apps/v1${NS}/deployments\\?.* ct=${PROTO} ${BOTH} body=k8s`),
      },
      { run: "create ns extra", wire: wire(`POST /api/v1/namespaces\\?.* ct=${PROTO} ${BOTH}`) },
      {
        run: "autoscale deployment web --max=3",
        wire: wire(
          `POST /apis/autoscaling/v[12]${NS}/horizontalpodautoscalers\\?.* ct=${PROTO} ${BOTH}`,
        ),
      },
      {
        run: "create token default",
        says: [/^ey/],
        wire: wire(`POST /api/v1${NS}/serviceaccounts/default/token ct=${PROTO} ${BOTH}`),
      },
      {
        run: "auth can-i --list",
        says: [/\*\.\* +\[\] +\[\] +\[\*\]/],
        wire: wire(`/selfsubjectrulesreviews ct=${PROTO} ${BOTH}`),
      },
      {
        run: "auth whoami",
        says: [/kubernetes-admin/],
        wire: wire(`POST /apis/authentication.k8s.io/v1/selfsubjectreviews ct=${PROTO} ${BOTH}`),
      },
    ],
  },
  {
    line: "scale",
    commands: [{
      run: "scale deployment web --replicas=2",
      wire: wire(
        `PATCH /apis/apps/v1${NS}/deployments/web/scale ct=application/merge-patch\\+json .*-> 200 .*body={"spec":{"replicas":2}}`,
      ),
    }],
  },
  {
    line: "label, annotate",
    commands: [
      {
        run: "label cm one x=y",
        wire: wire(
          "configmaps/one\\?fieldManager=kubectl-label ct=application/merge-patch\\+json .*-> 200",
        ),
      },
      {
        run: "annotate cm one n=m",
        wire: wire(
          "configmaps/one\\?fieldManager=kubectl-annotate ct=application/merge-patch\\+json .*-> 200",
        ),
      },
    ],
  },
  {
    line: "patch, set image, cordon, taint, rollout restart, debug",
    commands: [
      {
        run: `patch cm one -p {"data":{"b":"2"}}`,
        wire: wire(
          "fieldManager=kubectl-patch ct=application/strategic-merge-patch\\+json .*-> 200",
        ),
      },
      {
        run: "set image deployment web nginx=nginx:2",
        wire: wire(
          `deployments/web\\?fieldManager=kubectl-set ct=application/strategic-merge-patch\\+json .*-> 200 .*\\$setElementOrder/containers`,
        ),
      },
      { run: "cordon plesio-1", wire: wire("PATCH /api/v1/nodes/plesio-1 .*-> 200") },
      {
        run: "taint node plesio-1 a=b:NoSchedule",
        wire: wire("nodes/plesio-1\\?fieldManager=kubectl-taint.*strategic-merge-patch.*-> 200"),
      },
      {
        run: "rollout restart deployment web",
        wire: wire("deployments/web\\?fieldManager=kubectl-rollout .*-> 200 .*restartedAt"),
      },
      {
        run: "create -f -",
        input: POD,
        wire: wire(`POST /api/v1${NS}/pods`),
      },
      {
        run: "wait --for=condition=Ready pod/prog --timeout=30s",
        says: [/pod\/prog condition met/],
        wire: wire(`GET /api/v1${NS}/pods/prog`),
      },
      {
        run: "debug prog --image=busybox:1 -c dbg",
        wire: wire(
          `PATCH /api/v1${NS}/pods/prog/ephemeralcontainers ct=application/strategic-merge-patch\\+json .*-> 200`,
        ),
      },
      { run: "taint node plesio-1 a-", wire: wire("PATCH /api/v1/nodes/plesio-1") },
      { run: "uncordon plesio-1", wire: wire("PATCH /api/v1/nodes/plesio-1") },
    ],
  },
  {
    line: "delete",
    commands: [
      {
        run: "create configmap two",
        wire: wire(`POST /api/v1${NS}/configmaps`),
      },
      {
        run: "delete cm two",
        says: [/configmap "two" deleted/],
        wire: wire(
          `DELETE /api/v1${NS}/configmaps/two ct=application/json .*-> 200 .*body={"propagationPolicy":"Background"}`,
          `GET /api/v1${NS}/configmaps/two .*-> 404`,
        ),
      },
      {
        run: "create -f -",
        input: POD.replace('"prog"', '"doomed"'),
        wire: wire(`POST /api/v1${NS}/pods`),
      },
      {
        run: "wait --for=condition=Ready pod/doomed --timeout=30s",
        wire: wire(followed(`/api/v1${NS}/pods`, "doomed")),
      },
      {
        run: "delete pod doomed --grace-period=1",
        wire: wire(`DELETE .*"gracePeriodSeconds":1`, `GET /api/v1${NS}/pods/doomed`),
      },
    ],
  },
  {
    line: "describe pod / node",
    commands: [
      {
        run: "describe pod prog",
        says: [/Ready +True/, /Scheduled/],
        wire: wire(
          `GET /api/v1${NS}/pods/prog .*accept=application/json `,
          `GET /api/v1${NS}/pods/prog .*${BOTH}`,
          // In any order: kubectl takes them from a map
          "events\\?fieldSelector=(involvedObject.(name=prog|namespace=default|uid=[-0-9a-f]+),?){3}&limit=500 .*-> 200",
        ),
      },
      {
        run: "describe node plesio-0",
        says: [/Non-terminated Pods/, /HolderIdentity: +plesio-0/],
        wire: wire(
          "pods\\?fieldSelector=spec.nodeName=plesio-0,status.phase!=Succeeded,status.phase!=Failed&limit=500 .*-> 200",
          "kube-node-lease/leases/plesio-0 .*-> 200",
        ),
      },
    ],
  },
  {
    line: "drain",
    commands: [
      {
        run: "drain plesio-1 --force --ignore-daemonsets --delete-emptydir-data --timeout=30s",
        says: [/node\/plesio-1 drained/],
        wire: wire("GET /api/v1/pods\\?fieldSelector=spec.nodeName=plesio-1.*-> 200"),
      },
      {
        run:
          "drain plesio-0 --force --ignore-daemonsets --delete-emptydir-data --pod-selector=app=web --timeout=30s",
        wire: wire(
          `POST /api/v1${NS}/pods/web-[^/]+/eviction .*-> 201 .*body=.*policy/v1`,
        ),
      },
      { run: "uncordon plesio-0 plesio-1", wire: wire("PATCH /api/v1/nodes") },
    ],
  },
  {
    line: "logs",
    commands: [
      {
        run: "logs prog -c c --tail=1 --timestamps",
        says: [/^\d{4}-\d\d-\d\dT\S+Z Listening/],
        wire: wire(
          `pods/prog/log\\?container=c&tailLines=1&timestamps=true .*-> 200 text/plain`,
        ),
      },
      {
        run: "logs -f prog -c c",
        endsMs: 1_500,
        says: [/Listening/],
        wire: wire("pods/prog/log\\?container=c&follow=true .*-> 200 text/plain"),
      },
    ],
  },
  {
    line: "exec, attach, cp",
    commands: [
      {
        run: "exec prog -c c -- deno eval console.log(42)",
        says: [/^42$/m],
        wire: wire(
          "GET .*pods/prog/exec\\?command=deno&command=eval&command=console.log\\(42\\)&container=c.* ws=v5.channel.k8s.io -> 101 v5.channel.k8s.io",
        ),
      },
      {
        run: "exec prog -c c -- deno eval console.log(42)",
        env: { KUBECTL_REMOTE_COMMAND_WEBSOCKETS: "false" },
        says: [/^42$/m],
        wire: wire(
          "POST .*pods/prog/exec\\?.* spdy=v5.channel.k8s.io, v4.channel.k8s.io, v3.channel.k8s.io, v2.channel.k8s.io, channel.k8s.io -> 101 v4.channel.k8s.io",
        ),
      },
      {
        run: "exec prog -c c -- deno eval console.log(43)",
        hides: /^GET .*\/exec/,
        says: [/^43$/m],
        wire: wire(
          "GET .*exec.*ws=v5.channel.k8s.io -> 403",
          "POST .*exec.*-> 101 v4.channel.k8s.io",
        ),
      },
      {
        run: "exec prog -c c -- deno eval Deno.exit(7)",
        code: 7,
        says: [/command terminated with exit code 7/],
        wire: wire("exec"),
      },
      {
        run: "exec -i prog -c c -- cat",
        input: "typed",
        says: [/^typed$/],
        wire: wire("exec\\?command=cat&container=c&stderr=true&stdin=true&stdout=true .*-> 101 v5"),
      },
      {
        run: "attach prog -c c",
        endsMs: 1_500,
        wire: wire("pods/prog/attach\\?container=c&stderr=true&stdout=true .*ws=v5.* -> 101 v5"),
      },
      {
        run: "cp -c c prog:/etc/hosts /dev/null",
        wire: wire(
          "exec\\?command=tar&command=cf&command=-&command=/etc/hosts&container=c&stderr=true&stdout=true .*-> 101 v5",
        ),
      },
    ],
  },
  {
    line: "port-forward",
    commands: [
      {
        run: "port-forward pod/prog :8080",
        endsMs: 3_000,
        says: [/Forwarding from 127.0.0.1/, /through: hello/],
        wire: wire(
          "GET .*pods/prog/portforward ct=.*ws=SPDY/3.1\\+portforward.k8s.io -> 101 SPDY/3.1\\+portforward.k8s.io",
        ),
      },
      {
        run: "port-forward pod/prog :8080",
        hides: /^GET .*\/portforward/,
        endsMs: 3_000,
        says: [/through: hello/],
        wire: wire(
          "GET .*portforward.*-> 403",
          "POST .*pods/prog/portforward .*-> 101 portforward",
        ),
      },
      {
        run: "port-forward pod/prog :8080",
        env: { KUBECTL_PORT_FORWARD_WEBSOCKETS: "false" },
        endsMs: 3_000,
        says: [/Forwarding from 127.0.0.1/, /through: hello/],
        wire: wire("POST .*pods/prog/portforward ct=.*spdy=portforward.k8s.io -> 101 portforward"),
      },
    ],
  },
  {
    line: "top",
    commands: [
      {
        run: "top node",
        says: [/plesio-0 +\d+m/],
        wire: wire(`GET /apis/metrics.k8s.io/v1beta1/nodes .*accept=${PROTO}, \\*/\\* .*-> 200`),
      },
      {
        run: "top pod",
        says: [/prog +\d+m/],
        wire: wire(`GET /apis/metrics.k8s.io/v1beta1${NS}/pods .*-> 200`),
      },
    ],
  },
  {
    line: "explain",
    commands: [{
      run: "explain deployment.spec.strategy",
      says: [/FIELD: strategy <DeploymentStrategy>/],
      wire: wire("GET /openapi/v3\\?", "GET /openapi/v3/apis/apps/v1\\?hash=[0-9A-F]+&.*-> 200"),
    }],
  },
  {
    line: "auth can-i",
    commands: [{
      run: "auth can-i get pods",
      says: [/^yes/],
      wire: wire(
        "GET /api/v1 .*-> 200 application/json ",
        `POST /apis/authorization.k8s.io/v1/selfsubjectaccessreviews ct=${PROTO} ${BOTH}`,
      ),
    }],
  },
  {
    line: "wait, rollout status",
    commands: [
      {
        run: "rollout status deployment web --timeout=60s",
        says: [/successfully rolled out/],
        wire: wire(
          `GET /apis/apps/v1${NS}/deployments/web .*-> 200`,
          followed(`/apis/apps/v1${NS}/deployments`, "web"),
        ),
      },
      {
        run: "wait --for=condition=Available deployment/web --timeout=30s",
        says: [/condition met/],
        wire: wire(`GET /apis/apps/v1${NS}/deployments/web`),
      },
    ],
  },
  {
    line: "rollout undo/history",
    commands: [
      {
        run: "rollout history deployment web",
        says: [/^3 +<none>/m],
        wire: wire(`GET /apis/apps/v1${NS}/replicasets\\?labelSelector=app=web .*-> 200`),
      },
      {
        run: "rollout undo deployment web --to-revision=1",
        says: [/deployment.apps\/web rolled back/],
        wire: wire(
          `PATCH /apis/apps/v1${NS}/deployments/web ct=application/json-patch\\+json .*-> 200`,
        ),
      },
    ],
  },
  {
    line: "cluster-info",
    commands: [{
      run: "cluster-info",
      says: [/control plane.*is running at/, /CoreDNS.*is running at/],
      wire: wire(
        "GET /api/v1/namespaces/kube-system/services\\?labelSelector=kubernetes.io/cluster-service=true .*-> 200",
      ),
    }],
  },
];
