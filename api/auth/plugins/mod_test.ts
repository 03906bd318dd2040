import { assert, assertEquals, assertThrows } from "@std/assert";
import { inOrder } from "../authorize.ts";
import type { Admission, AdmissionPlugin } from "../contract.ts";
import { ApiError } from "../../machinery/types.ts";
import { RbacAuthorizer } from "../rbac.ts";
import {
  admission,
  admit,
  messageOf,
  namespace,
  State,
  stillClock,
  stored,
} from "../state_fixture.ts";
import { createPlugins, PLUGIN_NAMES } from "./mod.ts";

function setup(enable: string[] = []) {
  const state = new State();
  const { clock } = stillClock();
  const authorizer = inOrder([new RbacAuthorizer(() => state.view())]);
  const plugins = createPlugins({ view: () => state.view(), clock, authorizer }, { enable });
  const plugin = (name: string) => plugins.find((p) => p.name === name)!;
  state.put("/registry/namespaces/ns", namespace("ns"));
  return { state, clock, authorizer, plugins, plugin };
}

// deno-lint-ignore no-explicit-any -- objects of many kinds
type Any = any;

const pod = (spec: Record<string, unknown> = {}, metadata: Record<string, unknown> = {}): Any => ({
  kind: "Pod",
  metadata: { name: "web", namespace: "ns", ...metadata },
  spec: { containers: [{ name: "c" }], ...spec },
});

function run(
  state: State,
  plugin: AdmissionPlugin,
  given: Partial<Admission> & { resource: string },
) {
  const a = admission(state, { namespace: "ns", ...given });
  return messageOf(() => admit(plugin, a, state));
}

Deno.test("createPlugins() keeps upstream's order and defaults", () => {
  const { plugins } = setup();
  assertEquals(plugins.map((p) => p.name), [
    "NamespaceLifecycle",
    "LimitRanger",
    "ServiceAccount",
    "NodeRestriction",
    "TaintNodesByCondition",
    "PodSecurity",
    "Priority",
    "DefaultTolerationSeconds",
    "DefaultStorageClass",
    "StorageObjectInUseProtection",
    "PersistentVolumeClaimResize",
    "RuntimeClass",
    "CertificateApproval",
    "CertificateSigning",
    "CertificateSubjectRestriction",
    "DefaultIngressClass",
    "PodTopologyLabels",
    "ClusterRoleAggregation",
    "RBACEscalation",
    "ResourceQuota",
  ]);
  const all = setup(["DenyServiceExternalIPs", "EventRateLimit"]).plugins.map((p) => p.name);
  assertEquals(all, PLUGIN_NAMES.filter((name) => all.includes(name)));
  assertThrows(() => setup(["Nonsense"]), TypeError, 'unknown admission plugin "Nonsense"');
});

Deno.test("NamespaceLifecycle refuses creates where they cannot live", async () => {
  const { state, plugin } = setup();
  const lifecycle = plugin("NamespaceLifecycle");
  assertEquals(await run(state, lifecycle, { resource: "pods", object: pod() }), "");
  assertEquals(
    await run(state, lifecycle, { resource: "pods", object: pod(), namespace: "none" }),
    'namespaces "none" not found',
  );
  state.put("/registry/namespaces/ns", { ...namespace("ns"), status: { phase: "Terminating" } });
  const a = admission(state, { resource: "pods", namespace: "ns", object: pod() });
  const error = assertThrows(() => lifecycle.commit!(a, state.view()), ApiError);
  assertEquals(
    error.message,
    'pods "web" is forbidden: unable to create new content in namespace ns because it is being ' +
      "terminated",
  );
  assertEquals(error.status.details?.causes, [{
    reason: "NamespaceTerminating",
    message: "namespace ns is being terminated",
    field: "metadata.namespace",
  }]);
  const update = { operation: "UPDATE" as const, object: pod(), old: pod() };
  assertEquals(await run(state, lifecycle, { resource: "pods", ...update }), "");
  assertEquals(await run(state, lifecycle, { resource: "localsubjectaccessreviews" }), "");
  const remove = { resource: "namespaces", operation: "DELETE" as const, namespace: "" };
  for (const name of ["default", "kube-system", "kube-public"]) {
    assertEquals(
      await run(state, lifecycle, { ...remove, name }),
      `namespaces "${name}" is forbidden: this namespace may not be deleted`,
    );
  }
  assertEquals(await run(state, lifecycle, { ...remove, name: "kube-node-lease" }), "");
});

Deno.test("ServiceAccount equips a pod with its account's token", async () => {
  const { state, plugin } = setup();
  const account = { metadata: { name: "default" }, imagePullSecrets: [{ name: "pull" }] };
  state.put("/registry/serviceaccounts/ns/default", stored(account));
  const object = pod({
    initContainers: [{ name: "i" }],
    containers: [
      { name: "c" },
      {
        name: "own",
        volumeMounts: [{
          name: "x",
          mountPath: "/var/run/secrets/kubernetes.io/serviceaccount",
        }],
      },
    ],
  });
  assertEquals(await run(state, plugin("ServiceAccount"), { resource: "pods", object }), "");
  const { spec } = object;
  assertEquals(spec.serviceAccountName, "default");
  assertEquals(spec.imagePullSecrets, [{ name: "pull" }]);
  const [volume] = spec.volumes;
  assert(/^kube-api-access-[bcdfghjklmnpqrstvwxz2456789]{5}$/.test(volume.name));
  assertEquals(volume.projected, {
    sources: [
      { serviceAccountToken: { expirationSeconds: 3607, path: "token" } },
      { configMap: { name: "kube-root-ca.crt", items: [{ key: "ca.crt", path: "ca.crt" }] } },
      {
        downwardAPI: {
          items: [{
            path: "namespace",
            fieldRef: { apiVersion: "v1", fieldPath: "metadata.namespace" },
          }],
        },
      },
    ],
    defaultMode: 420,
  });
  const mount = {
    name: volume.name,
    readOnly: true,
    mountPath: "/var/run/secrets/kubernetes.io/serviceaccount",
  };
  assertEquals(spec.containers[0].volumeMounts, [mount]);
  assertEquals(spec.initContainers[0].volumeMounts, [mount]);
  assertEquals(spec.containers[1].volumeMounts.length, 1);
});

Deno.test("ServiceAccount honours automount, waits for default, refuses the unknown", async () => {
  const { state, plugin, clock } = setup();
  const sa = plugin("ServiceAccount");
  const plain = pod({ automountServiceAccountToken: false, serviceAccountName: "quiet" });
  state.put("/registry/serviceaccounts/ns/quiet", stored({ metadata: { name: "quiet" } }));
  assertEquals(await run(state, sa, { resource: "pods", object: plain }), "");
  assertEquals(plain.spec.volumes, undefined);
  assertEquals(
    await run(state, sa, { resource: "pods", object: pod({ serviceAccountName: "no" }) }),
    'pods "web" is forbidden: error looking up service account ns/no: serviceaccount "no" not found',
  );
  assertEquals(
    await run(state, sa, { resource: "pods", object: pod() }),
    'pods "web" is forbidden: error looking up service account ns/default: serviceaccount ' +
      '"default" not found',
  );
  const sleep = clock.sleep;
  clock.sleep = (...args) => {
    state.put("/registry/serviceaccounts/ns/default", stored({ metadata: { name: "default" } }));
    return sleep(...args);
  };
  const late = pod();
  assertEquals(await run(state, sa, { resource: "pods", object: late }), "");
  assertEquals(late.spec.serviceAccountName, "default");
});

Deno.test("ServiceAccount keeps mirror pods away from the API and enforces mountable secrets", async () => {
  const { state, plugin } = setup();
  const sa = plugin("ServiceAccount");
  const mirror = { annotations: { "kubernetes.io/config.mirror": "x" } };
  const refused = (object: Any) => run(state, sa, { resource: "pods", object });
  assertEquals(await refused(pod({}, mirror)), "");
  assertEquals(
    await refused(pod({ serviceAccountName: "a" }, mirror)),
    'pods "web" is forbidden: a mirror pod may not reference service accounts',
  );
  assertEquals(
    await refused(pod({ imagePullSecrets: [{ name: "a" }] }, mirror)),
    'pods "web" is forbidden: a mirror pod may not reference secrets',
  );
  const annotations = { "kubernetes.io/enforce-mountable-secrets": "true" };
  const account = { metadata: { name: "strict", annotations }, secrets: [{ name: "ok" }] };
  state.put("/registry/serviceaccounts/ns/strict", stored(account));
  const using = (name: string) =>
    pod({
      serviceAccountName: "strict",
      volumes: [{ name: "v", secret: { secretName: name } }],
    });
  assertEquals(await refused(using("ok")), "");
  assertEquals(
    await refused(using("bad")),
    'pods "web" is forbidden: volume with secret.secretName="bad" is not allowed because service ' +
      "account strict does not reference that secret",
  );
});

Deno.test("Priority resolves classes and keeps the default unique", async () => {
  const { state, plugin } = setup();
  const priority = plugin("Priority");
  const plain = pod();
  await run(state, priority, { resource: "pods", object: plain });
  assertEquals([plain.spec.priority, plain.spec.preemptionPolicy], [0, "PreemptLowerPriority"]);
  const put = (name: string, value: number, more = {}) =>
    state.put(`/registry/priorityclasses/${name}`, stored({ metadata: { name }, value, ...more }));
  put("high", 1000, { preemptionPolicy: "Never" });
  const high = pod({ priorityClassName: "high" });
  await run(state, priority, { resource: "pods", object: high });
  assertEquals([high.spec.priority, high.spec.preemptionPolicy], [1000, "Never"]);
  put("usual", 10, { globalDefault: true });
  const usual = pod();
  await run(state, priority, { resource: "pods", object: usual });
  assertEquals([usual.spec.priority, usual.spec.priorityClassName], [10, "usual"]);
  assertEquals(
    await run(state, priority, { resource: "pods", object: pod({ priorityClassName: "no" }) }),
    'pods "web" is forbidden: no PriorityClass with name no was found',
  );
  assertEquals(
    await run(state, priority, { resource: "pods", object: pod({ priority: 5 }) }),
    'pods "web" is forbidden: the integer value of priority (5) must not be provided in pod spec; ' +
      "priority admission controller computed 10 from the given PriorityClass name",
  );
  assertEquals(
    await run(state, priority, {
      resource: "priorityclasses",
      group: "scheduling.k8s.io",
      object: { metadata: { name: "second" }, globalDefault: true } as never,
    } as never),
    'priorityclasses.scheduling.k8s.io "second" is forbidden: PriorityClass usual is already ' +
      "marked as default. Only one default can exist",
  );
});

Deno.test("DefaultTolerationSeconds and TaintNodesByCondition add what upstream adds", async () => {
  const { state, plugin } = setup();
  const object = pod({
    tolerations: [{ key: "node.kubernetes.io/not-ready", operator: "Exists" }],
  });
  await run(state, plugin("DefaultTolerationSeconds"), { resource: "pods", object });
  assertEquals(object.spec.tolerations[1], {
    key: "node.kubernetes.io/unreachable",
    operator: "Exists",
    effect: "NoExecute",
    tolerationSeconds: 300,
  });
  assertEquals(object.spec.tolerations.length, 2);
  const node: Any = { metadata: { name: "n" }, spec: {} };
  const create = { resource: "nodes", object: node, namespace: "" };
  await run(state, plugin("TaintNodesByCondition"), create);
  await run(state, plugin("TaintNodesByCondition"), create);
  assertEquals(node.spec.taints, [{ key: "node.kubernetes.io/not-ready", effect: "NoSchedule" }]);
});

Deno.test("storage plugins default classes, protect what is used, let the right claims grow", async () => {
  const { state, plugin } = setup();
  const put = (name: string, created: string, more = {}) =>
    state.put(`/registry/storageclasses/${name}`, {
      metadata: {
        name,
        creationTimestamp: created,
        annotations: { "storageclass.kubernetes.io/is-default-class": "true" },
      },
      ...more,
    });
  const claim = (spec = {}, status = {}): Any => ({
    metadata: { name: "data" },
    spec,
    status,
  });
  const resource = "persistentvolumeclaims";
  const none = claim();
  await run(state, plugin("DefaultStorageClass"), { resource, object: none });
  assertEquals(none.spec, {});
  put("old", "2026-01-01T00:00:00Z");
  put("b-new", "2026-01-02T00:00:00Z");
  put("a-new", "2026-01-02T00:00:00Z", { allowVolumeExpansion: true });
  const fresh = claim();
  await run(state, plugin("DefaultStorageClass"), { resource, object: fresh });
  assertEquals(fresh.spec.storageClassName, "a-new");
  const empty = claim({ storageClassName: "" });
  await run(state, plugin("DefaultStorageClass"), { resource, object: empty });
  assertEquals(empty.spec.storageClassName, "");
  await run(state, plugin("StorageObjectInUseProtection"), { resource, object: fresh });
  assertEquals(fresh.metadata.finalizers, ["kubernetes.io/pvc-protection"]);

  const sized = (storage: string, storageClassName = "a-new", phase = "Bound") =>
    claim({ storageClassName, resources: { requests: { storage } } }, { phase });
  const grow = (object: Any, old: Any) =>
    run(state, plugin("PersistentVolumeClaimResize"), {
      resource,
      operation: "UPDATE",
      object,
      old,
    });
  assertEquals(await grow(sized("2Gi"), sized("1Gi")), "");
  assertEquals(await grow(sized("1Gi"), sized("1Gi", "b-new", "Pending")), "");
  assertEquals(
    await grow(sized("2Gi"), sized("1Gi", "a-new", "Pending")),
    'persistentvolumeclaims "data" is forbidden: Only bound persistent volume claims can be expanded',
  );
  assertEquals(
    await grow(sized("2Gi", "b-new"), sized("1Gi", "b-new")),
    'persistentvolumeclaims "data" is forbidden: only dynamically provisioned pvc can be resized ' +
      "and the storageclass that provisions the pvc must support resize",
  );
});

Deno.test("DefaultIngressClass and DenyServiceExternalIPs", async () => {
  const { state, plugin } = setup(["DenyServiceExternalIPs"]);
  const annotations = { "ingressclass.kubernetes.io/is-default-class": "true" };
  const metadata = { name: "front", annotations };
  state.put("/registry/ingressclasses/front", stored({ metadata }));
  const ingress: Any = { metadata: { name: "i" }, spec: {} };
  const create = { resource: "ingresses", group: "networking.k8s.io" };
  await run(state, plugin("DefaultIngressClass"), { ...create, object: ingress } as never);
  assertEquals(ingress.spec.ingressClassName, "front");
  const service = (...externalIPs: string[]): Any => ({
    metadata: { name: "s" },
    spec: { externalIPs },
  });
  const deny = (object: Any, old?: Any) =>
    run(state, plugin("DenyServiceExternalIPs"), {
      resource: "services",
      operation: old ? "UPDATE" : "CREATE",
      object,
      old,
    });
  assertEquals(
    await deny(service("1.1.1.1")),
    'services "s" is forbidden: Use of external IPs is denied by admission control',
  );
  assertEquals(await deny(service("1.1.1.1"), service("1.1.1.1", "2.2.2.2")), "");
});

Deno.test("RuntimeClass sets overhead and where a pod may run", async () => {
  const { state, plugin } = setup();
  state.put("/registry/runtimeclasses/vm", {
    metadata: { name: "vm" },
    overhead: { podFixed: { cpu: "250m" } },
    scheduling: {
      nodeSelector: { vm: "yes" },
      tolerations: [{ key: "vm", operator: "Exists" }],
    },
  });
  const runtime = (object: Any) => run(state, plugin("RuntimeClass"), { resource: "pods", object });
  const object = pod({
    runtimeClassName: "vm",
    nodeSelector: { disk: "ssd" },
    tolerations: [{ key: "vm", operator: "Equal", value: "x" }],
  });
  assertEquals(await runtime(object), "");
  assertEquals(object.spec.overhead, { cpu: "250m" });
  assertEquals(object.spec.nodeSelector, { disk: "ssd", vm: "yes" });
  assertEquals(object.spec.tolerations, [{ key: "vm", operator: "Exists" }]);
  const cases: [Any, string][] = [
    [{ runtimeClassName: "no" }, 'pod rejected: RuntimeClass "no" not found'],
    [
      { runtimeClassName: "vm", overhead: { cpu: "1" } },
      "pod rejected: Pod's Overhead doesn't match RuntimeClass's defined Overhead",
    ],
    [
      { overhead: { cpu: "1" } },
      "pod rejected: Pod Overhead set without corresponding RuntimeClass defined Overhead",
    ],
    [
      { runtimeClassName: "vm", nodeSelector: { vm: "no" } },
      "conflict: runtimeClass.scheduling.nodeSelector[vm] = yes; pod.spec.nodeSelector[vm] = no",
    ],
  ];
  for (const [spec, why] of cases) {
    assertEquals(await runtime(pod(spec)), `pods "web" is forbidden: ${why}`);
  }
  assertEquals(await runtime(pod({ runtimeClassName: "vm", overhead: { cpu: "0.25" } })), "");
});

Deno.test("LimitRanger fills containers in and refuses what is out of bounds", async () => {
  const { state, plugin } = setup();
  state.put("/registry/limitranges/ns/limits", {
    metadata: { name: "limits" },
    spec: {
      limits: [
        {
          type: "Container",
          default: { cpu: "500m", memory: "512Mi" },
          defaultRequest: { cpu: "100m", memory: "256Mi" },
          max: { cpu: "1" },
          min: { memory: "64Mi" },
          maxLimitRequestRatio: { cpu: "10" },
        },
        { type: "Pod", max: { memory: "1Gi" } },
        { type: "PersistentVolumeClaim", min: { storage: "1Gi" }, max: { storage: "10Gi" } },
      ],
    },
  });
  const limits = (object: Any, resource = "pods") =>
    run(state, plugin("LimitRanger"), { resource, object });
  const plain = pod();
  assertEquals(await limits(plain), "");
  assertEquals(plain.spec.containers[0].resources, {
    requests: { cpu: "100m", memory: "256Mi" },
    limits: { cpu: "500m", memory: "512Mi" },
  });
  assertEquals(
    plain.metadata.annotations["kubernetes.io/limit-ranger"],
    "LimitRanger plugin set: cpu, memory request for container c; cpu, memory limit for container c",
  );
  const with1 = (requests: Any, uses: Any) =>
    pod({ containers: [{ name: "c", resources: { requests, limits: uses } }] });
  const cases: [Any, string][] = [
    [
      with1({}, { cpu: "2" }),
      "[maximum cpu usage per Container is 1, but limit is 2, " +
      "cpu max limit to request ratio per Container is 10, but provided ratio is 20.000000]",
    ],
    [
      with1({ memory: "32Mi" }, {}),
      "minimum memory usage per Container is 64Mi, but request is 32Mi",
    ],
    [
      with1({ cpu: "10m" }, { cpu: "1" }),
      "cpu max limit to request ratio per Container is 10, but provided ratio is 100.000000",
    ],
    [with1({}, { memory: "2Gi" }), "maximum memory usage per Pod is 1Gi, but limit is 2Gi"],
  ];
  for (const [object, why] of cases) {
    assertEquals(await limits(object), `pods "web" is forbidden: ${why}`);
  }
  const claim = (storage?: string): Any => ({
    metadata: { name: "d" },
    spec: { resources: { requests: storage ? { storage } : {} } },
  });
  const claims = (object: Any) => limits(object, "persistentvolumeclaims");
  assertEquals(await claims(claim("5Gi")), "");
  assertEquals(
    await claims(claim("20Gi")),
    'persistentvolumeclaims "d" is forbidden: maximum storage usage per PersistentVolumeClaim is ' +
      "10Gi, but request is 20Gi",
  );
  assertEquals(
    await claims(claim("1Mi")),
    'persistentvolumeclaims "d" is forbidden: minimum storage usage per PersistentVolumeClaim is ' +
      "1Gi, but request is 1Mi",
  );
});

Deno.test("NodeRestriction keeps a node to itself", async () => {
  const { state, plugin } = setup();
  const user = { name: "system:node:n1", groups: ["system:nodes"] };
  const node = (labels = {}, spec = {}, name = "n1"): Any => ({ metadata: { name, labels }, spec });
  state.put("/registry/minions/n1", stored({ metadata: { name: "n1" } }));
  state.put("/registry/pods/ns/mine", stored(pod({ nodeName: "n1" }, { name: "mine" })));
  state.put("/registry/pods/ns/other", stored(pod({ nodeName: "n2" }, { name: "other" })));
  const restrict = (given: Partial<Admission> & { resource: string; group?: string }) =>
    run(state, plugin("NodeRestriction"), { user, ...given });
  const cases: [string, Parameters<typeof restrict>[0], string][] = [
    ["its own node", { resource: "nodes", name: "n1", object: node({ "a.b/c": "d" }) }, ""],
    [
      "another node",
      { resource: "nodes", name: "n2", object: node({}, {}, "n2") },
      'nodes "n2" is forbidden: node "n1" is not allowed to modify node "n2"',
    ],
    [
      "trusted labels",
      {
        resource: "nodes",
        name: "n1",
        object: node({ "node-restriction.kubernetes.io/x": "1", "kubernetes.io/hostname": "h" }),
      },
      'nodes "n1" is forbidden: node "n1" is not allowed to set the following labels: ' +
      "node-restriction.kubernetes.io/x",
    ],
    [
      "taints",
      {
        resource: "nodes",
        name: "n1",
        operation: "UPDATE",
        old: node({}, { taints: [{ key: "a" }] }),
        object: node(),
      },
      'nodes "n1" is forbidden: node "n1" is not allowed to modify taints',
    ],
    [
      "a plain pod",
      { resource: "pods", object: pod({ nodeName: "n1" }) },
      'pods "web" is forbidden: pod does not have "kubernetes.io/config.mirror" annotation, node ' +
      '"n1" can only create mirror pods',
    ],
    [
      "status of another's pod",
      {
        resource: "pods",
        subresource: "status",
        operation: "UPDATE",
        name: "other",
        old: pod({ nodeName: "n2" }),
        object: pod({ nodeName: "n2" }),
      },
      'pods "other" is forbidden: node "n1" can only update pod status for pods with ' +
      "spec.nodeName set to itself",
    ],
    [
      "a token without a pod",
      {
        resource: "serviceaccounts",
        subresource: "token",
        name: "sa",
        object: { metadata: {}, spec: {} } as never,
      },
      'serviceaccounts "sa" is forbidden: node requested token not bound to a pod',
    ],
    [
      "a token for another's pod",
      {
        resource: "serviceaccounts",
        subresource: "token",
        name: "sa",
        object: {
          metadata: {},
          spec: {
            boundObjectRef: { apiVersion: "v1", kind: "Pod", name: "other", uid: "uid-other" },
          },
        } as never,
      },
      'serviceaccounts "sa" is forbidden: node requested token bound to a pod scheduled on a ' +
      "different node",
    ],
    [
      "another's lease",
      {
        resource: "leases",
        group: "coordination.k8s.io",
        namespace: "kube-node-lease",
        object: { metadata: { name: "n2" } } as never,
      },
      'leases.coordination.k8s.io "n2" is forbidden: can only access node lease with the same ' +
      "name as the requesting node",
    ],
  ];
  for (const [name, given, message] of cases) assertEquals(await restrict(given), message, name);
  const mirror = pod({ nodeName: "n1" }, {
    annotations: { "kubernetes.io/config.mirror": "x" },
    ownerReferences: [{
      apiVersion: "v1",
      kind: "Node",
      name: "n1",
      uid: "uid-n1",
      controller: true,
    }],
  });
  assertEquals(await restrict({ resource: "pods", object: mirror }), "");
  mirror.spec.volumes = [{ name: "v", secret: { secretName: "s" } }];
  assertEquals(
    await restrict({ resource: "pods", object: mirror }),
    'pods "web" is forbidden: node "n1" can not create pods that reference secrets',
  );
});

Deno.test("CertificateApproval asks for the right on the signer", async () => {
  const { state, plugin } = setup();
  const old = { metadata: { name: "csr" }, spec: { signerName: "acme.com/web" } } as never;
  const approve = () =>
    run(state, plugin("CertificateApproval"), {
      resource: "certificatesigningrequests",
      group: "certificates.k8s.io",
      subresource: "approval",
      operation: "UPDATE",
      name: "csr",
      namespace: "",
      old,
      object: old,
    } as never);
  assertEquals(
    await approve(),
    'certificatesigningrequests.certificates.k8s.io "csr" is forbidden: user not permitted to ' +
      'approve requests with signerName "acme.com/web"',
  );
  state.put("/registry/clusterroles/a", {
    metadata: { name: "a" },
    rules: [{
      verbs: ["approve"],
      apiGroups: ["certificates.k8s.io"],
      resources: ["signers"],
      resourceNames: ["acme.com/*"],
    }],
  });
  state.put("/registry/clusterrolebindings/a", {
    metadata: { name: "a" },
    roleRef: { kind: "ClusterRole", name: "a" },
    subjects: [{ kind: "User", name: "alice" }],
  });
  assertEquals(await approve(), "");
});

Deno.test("EventRateLimit lets a burst through and then a rate", async () => {
  const state = new State();
  const { eventRateLimit } = await import("./event_rate_limit.ts");
  const plugin = eventRateLimit([{ type: "Namespace", qps: 1, burst: 2 }]);
  const write = (namespace: string, now: number) =>
    messageOf(() => {
      const a = admission(state, { resource: "events", namespace, now });
      return admit(plugin, { ...a, kind: { ...a.kind, kind: "Event" } }, state);
    });
  assertEquals([await write("a", 0), await write("a", 0)], ["", ""]);
  assertEquals(await write("a", 0), "limit reached on type Namespace for key a");
  assertEquals(await write("b", 0), "");
  assertEquals(await write("a", 1000), "");
});

Deno.test("PodTopologyLabels tells a pod its node's zone", async () => {
  const { state, plugin } = setup();
  const labels = { "topology.kubernetes.io/zone": "z1", other: "x" };
  state.put("/registry/minions/n1", stored({ metadata: { name: "n1", labels } }));
  const binding: Any = { metadata: { name: "web" }, target: { kind: "Node", name: "n1" } };
  const given = { resource: "pods", subresource: "binding", object: binding };
  await run(state, plugin("PodTopologyLabels"), given);
  assertEquals(binding.metadata.labels, { "topology.kubernetes.io/zone": "z1" });
});

Deno.test("OwnerReferencesPermissionEnforcement asks for the right to delete", async () => {
  const { state, plugin } = setup(["OwnerReferencesPermissionEnforcement"]);
  const owned = pod({}, {
    ownerReferences: [{ apiVersion: "v1", kind: "Node", name: "n", uid: "u" }],
  });
  const enforce = plugin("OwnerReferencesPermissionEnforcement");
  assertEquals(await run(state, enforce, { resource: "pods", object: owned }), "");
  assertEquals(
    await run(state, enforce, {
      resource: "pods",
      operation: "UPDATE",
      name: "web",
      object: owned,
      old: pod(),
    }),
    'pods "web" is forbidden: cannot set an ownerRef on a resource you can\'t delete: , <nil>',
  );
});

Deno.test("CertificateSigning lets only those sign who may sign for the signer", async () => {
  const { state, plugin } = setup();
  const csr = (status: Any): Any => ({
    metadata: { name: "csr" },
    spec: { signerName: "acme.com/web" },
    status,
  });
  const sign = (object: Any, user = { name: "alice", groups: ["devs"] }) =>
    run(state, plugin("CertificateSigning"), {
      resource: "certificatesigningrequests",
      group: "certificates.k8s.io",
      subresource: "status",
      operation: "UPDATE",
      namespace: "",
      name: "csr",
      user,
      old: csr({ conditions: [] }),
      object,
    } as never);
  assertEquals(await sign(csr({ conditions: [], other: 1 })), "");
  assertEquals(
    await sign(csr({ certificate: "x" })),
    'certificatesigningrequests.certificates.k8s.io "csr" is forbidden: user not permitted to ' +
      'sign requests with signerName "acme.com/web"',
  );
  const masters = { name: "root", groups: ["system:masters"] };
  assertEquals(await sign(csr({ certificate: "x" }), masters), "");
});

Deno.test("CertificateSubjectRestriction keeps system:masters out of client certificates", async () => {
  const { state, plugin } = setup();
  await import("reflect-metadata");
  const x509 = await import("@peculiar/x509");
  const algorithm = { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" };
  const keys = await crypto.subtle.generateKey(algorithm, true, ["sign", "verify"]);
  const request = async (organization: string) => {
    const made = await x509.Pkcs10CertificateRequestGenerator.create({
      name: [{ O: [organization] }, { CN: ["x"] }],
      keys: keys as CryptoKeyPair,
      signingAlgorithm: algorithm,
    });
    return btoa(made.toString("pem"));
  };
  const create = async (spec: Any) =>
    await run(state, plugin("CertificateSubjectRestriction"), {
      resource: "certificatesigningrequests",
      group: "certificates.k8s.io",
      namespace: "",
      object: { metadata: { name: "csr" }, spec } as never,
    } as never);
  const signerName = "kubernetes.io/kube-apiserver-client";
  assertEquals(await create({ signerName, request: await request("ops") }), "");
  assertEquals(await create({ signerName: "a.b/c", request: "nonsense" }), "");
  const head = 'certificatesigningrequests.certificates.k8s.io "csr" is forbidden: ';
  assertEquals(
    await create({ signerName, request: await request("system:masters") }),
    `${head}use of kubernetes.io/kube-apiserver-client signer with system:masters group is not ` +
      "allowed",
  );
  assert((await create({ signerName, request: "bm8=" })).startsWith(`${head}failed to parse CSR`));
});

Deno.test("ExtendedResourceToleration and AlwaysPullImages do what they say when asked for", async () => {
  const { state, plugin } = setup(["ExtendedResourceToleration", "AlwaysPullImages"]);
  const object = pod({
    containers: [{
      name: "c",
      image: "a",
      imagePullPolicy: "Never",
      resources: { requests: { "acme.com/gpu": "1", cpu: "1", "x.kubernetes.io/y": "1" } },
    }],
    volumes: [{ name: "v", image: { reference: "r" } }],
  });
  await run(state, plugin("ExtendedResourceToleration"), { resource: "pods", object });
  assertEquals(object.spec.tolerations, [
    { key: "acme.com/gpu", operator: "Exists", effect: "NoSchedule" },
  ]);
  const pull = plugin("AlwaysPullImages");
  const a = admission(state, { resource: "pods", namespace: "ns", object });
  assertEquals(
    await messageOf(() => pull.validate!(a)),
    'pods "web" is forbidden: [spec.containers[0].imagePullPolicy: Unsupported value: "Never": ' +
      'supported values: "Always", spec.volumes[0].image.pullPolicy: Unsupported value: "": ' +
      'supported values: "Always"]',
  );
  assertEquals(await run(state, pull, { resource: "pods", object }), "");
  assertEquals(object.spec.containers[0].imagePullPolicy, "Always");
  const same = { resource: "pods", operation: "UPDATE" as const, object, old: object };
  assertEquals(pull.handles(admission(state, same)), false);
});
