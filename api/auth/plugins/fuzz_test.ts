/**
 * Plugins see objects before they are validated: whatever the schema lets through, they refuse with an ApiError or
 * let pass. Rich objects with random parts missing or emptied go through every plugin there is.
 */
import { assert } from "@std/assert";
import { ApiError } from "../../machinery/types.ts";
import type { Admission } from "../contract.ts";
import { admission, stored } from "../state_fixture.ts";
import { PLUGIN_NAMES } from "./mod.ts";
import { setup } from "./plugin_fixture.ts";

// deno-lint-ignore no-explicit-any -- objects of many kinds
type Any = any;

const CONTAINER = {
  name: "c",
  image: "i",
  imagePullPolicy: "Always",
  restartPolicy: "Always",
  env: [{ name: "e", valueFrom: { secretKeyRef: { name: "s", key: "k" } } }],
  envFrom: [{ secretRef: { name: "s" } }, { configMapRef: { name: "m" } }],
  ports: [{ hostPort: 1, containerPort: 2 }],
  resources: { requests: { cpu: "1", "acme.com/x": "1" }, limits: { memory: "bad" } },
  volumeMounts: [{ name: "v", mountPath: "/x" }],
  livenessProbe: { httpGet: { host: "h" }, tcpSocket: { host: "h" } },
  lifecycle: { preStop: { httpGet: { host: "h" } } },
  securityContext: {
    privileged: true,
    capabilities: { add: ["X"], drop: ["ALL"] },
    seLinuxOptions: { type: "t", user: "u", role: "r" },
    seccompProfile: { type: "Unconfined" },
    appArmorProfile: { type: "Unconfined" },
    windowsOptions: { hostProcess: true },
    procMount: "Unmasked",
    runAsNonRoot: false,
    runAsUser: 0,
  },
};
const POD = {
  metadata: {
    name: "web",
    annotations: { "kubernetes.io/config.mirror": "x" },
    labels: { a: "b" },
    ownerReferences: [{ apiVersion: "v1", kind: "Node", name: "n1", uid: "u", controller: true }],
    deletionTimestamp: "2026-01-01T00:00:00Z",
    deletionGracePeriodSeconds: 0,
    finalizers: ["f"],
  },
  spec: {
    nodeName: "n1",
    serviceAccountName: "default",
    runtimeClassName: "vm",
    priorityClassName: "high",
    priority: 1,
    overhead: { cpu: "x" },
    nodeSelector: { vm: "no" },
    activeDeadlineSeconds: 1,
    imagePullSecrets: [{ name: "s" }],
    tolerations: [{ key: "k", operator: "Exists", effect: "NoExecute", tolerationSeconds: 1 }],
    resourceClaims: [{ name: "r", resourceClaimName: "rc" }],
    affinity: {
      podAffinity: {
        requiredDuringSchedulingIgnoredDuringExecution: [{ namespaces: ["x"] }],
        preferredDuringSchedulingIgnoredDuringExecution: [{ podAffinityTerm: { namespaces: [] } }],
      },
    },
    containers: [CONTAINER],
    initContainers: [CONTAINER],
    ephemeralContainers: [CONTAINER],
    securityContext: { ...CONTAINER.securityContext, sysctls: [{ name: "x" }] },
    resources: { requests: { cpu: "1" } },
    volumes: [
      { name: "kube-api-access-x", secret: { secretName: "s" } },
      { name: "b", projected: { sources: [{ secret: { name: "s" }, configMap: { name: "m" } }] } },
      { name: "c", csi: { driver: "d", nodePublishSecretRef: { name: "s" } } },
      { name: "d", persistentVolumeClaim: { claimName: "c" }, image: { reference: "r" } },
      { name: "e", ephemeral: {}, hostPath: { path: "/" } },
    ],
  },
  status: {
    phase: "Running",
    containerStatuses: [{ name: "c", allocatedResources: { cpu: "2" }, resources: {} }],
    resourceClaimStatuses: [{ name: "r", resourceClaimName: "x" }],
  },
};

const KINDS: [string, string, string[], Any][] = [
  ["pods", "", ["", "status", "eviction", "binding", "resize", "ephemeralcontainers"], POD],
  ["pods", "", [""], { ...POD, metadata: { name: "web" } }],
  ["pods", "", [""], { ...POD, metadata: { name: "web" }, status: {} }],
  ["deployments", "apps", [""], { metadata: { name: "d" }, spec: { template: POD } }],
  ["cronjobs", "batch", [""], {
    metadata: { name: "d" },
    spec: { jobTemplate: { spec: { template: POD } } },
  }],
  ["namespaces", "", ["", "status"], {
    metadata: { name: "ns", labels: { "pod-security.kubernetes.io/enforce": "restricted" } },
    status: { phase: "Active" },
  }],
  ["nodes", "", ["", "status"], {
    metadata: { name: "n1", labels: { "kubernetes.io/x": "y" }, ownerReferences: [] },
    spec: { taints: [{ key: "a", effect: "b" }], configSource: {} },
  }],
  ["persistentvolumeclaims", "", ["", "status"], {
    metadata: { name: "c", annotations: { "volume.beta.kubernetes.io/storage-class": "x" } },
    spec: { storageClassName: "x", resources: { requests: { storage: "1Gi" } }, volumeName: "v" },
    status: { phase: "Bound", capacity: {}, allocatedResources: { storage: "2Gi" } },
  }],
  ["services", "", [""], {
    metadata: { name: "s" },
    spec: { type: "LoadBalancer", ports: [{ nodePort: 1 }], externalIPs: ["1.1.1.1"] },
  }],
  ["serviceaccounts", "", ["", "token"], {
    metadata: { name: "sa" },
    spec: {
      audiences: ["a"],
      boundObjectRef: { apiVersion: "v1", kind: "Pod", name: "web", uid: "u" },
    },
  }],
  ["resourcequotas", "", ["", "status"], {
    metadata: { name: "q2" },
    spec: {
      hard: { pods: "1", "count/x.y": "1", "requests.cpu": "bad" },
      scopes: ["BestEffort"],
      scopeSelector: { matchExpressions: [{ scopeName: "PriorityClass", operator: "In" }] },
    },
    status: { used: { pods: "x" } },
  }],
  ["ingresses", "networking.k8s.io", [""], {
    metadata: { name: "i", annotations: {} },
    spec: { ingressClassName: "x" },
  }],
  ["certificatesigningrequests", "certificates.k8s.io", ["", "approval", "status"], {
    metadata: { name: "csr" },
    spec: { signerName: "kubernetes.io/kube-apiserver-client", request: "AAAA" },
    status: { certificate: "x", conditions: [{ type: "Approved" }] },
  }],
  ["clusterroles", "rbac.authorization.k8s.io", [""], {
    metadata: { name: "r", labels: { a: "b" } },
    aggregationRule: {
      clusterRoleSelectors: [{ matchLabels: { a: "b" }, matchExpressions: [{}] }],
    },
    rules: [{ verbs: ["*"], apiGroups: [""], resources: ["a/b"], nonResourceURLs: ["/x"] }],
  }],
  ["rolebindings", "rbac.authorization.k8s.io", [""], {
    metadata: { name: "b" },
    roleRef: { kind: "ClusterRole", name: "none" },
    subjects: [{ kind: "User", name: "x" }],
  }],
  ["priorityclasses", "scheduling.k8s.io", [""], {
    metadata: { name: "p" },
    globalDefault: true,
    value: 1,
  }],
  ["leases", "coordination.k8s.io", [""], { metadata: { name: "n2" } }],
  ["resourceslices", "resource.k8s.io", [""], { metadata: { name: "x" }, spec: { nodeName: "n" } }],
];

function sequence(seed: number): () => number {
  return () => (seed = (seed * 1103515245 + 12345) % 2147483648) / 2147483648;
}

/** A copy in which some fields are missing or empty. Metadata itself always stays. */
function worn(value: Any, random: () => number, top = true): Any {
  if (typeof value === "string") return random() < 0.1 ? "" : value;
  if (typeof value !== "object" || value === null) return value;
  if (Array.isArray(value)) {
    return value.map((v) => random() < 0.1 && typeof v === "object" ? {} : worn(v, random, false));
  }
  const out: Any = {};
  for (const key of Object.keys(value)) {
    if (random() < 0.15 && !(top && key === "metadata")) continue;
    out[key] = worn(value[key], random, false);
  }
  return out;
}

Deno.test("every plugin survives every object that a schema lets through", async () => {
  const { state, plugins } = setup(PLUGIN_NAMES.filter((name) => name !== "AlwaysDeny"));
  state.put("/registry/serviceaccounts/ns/default", stored({ metadata: { name: "default" } }));
  state.put("/registry/pods/ns/web", stored(POD));
  state.put("/registry/minions/n1", stored({ metadata: { name: "n1" } }));
  state.put("/registry/runtimeclasses/vm", stored({ metadata: { name: "vm" }, scheduling: {} }));
  state.put(
    "/registry/limitranges/ns/l",
    stored({
      metadata: { name: "l" },
      spec: { limits: [{ type: "Container", max: { cpu: "1" }, default: { cpu: "1" } }] },
    }),
  );
  state.put(
    "/registry/resourcequotas/ns/q",
    stored({
      metadata: { name: "q" },
      spec: { hard: { pods: "100", "limits.memory": "1Gi", services: "9", "count/leases": "1" } },
    }),
  );
  const users = [
    { name: "alice", groups: [] },
    { name: "system:node:n1", groups: ["system:nodes"] },
  ];
  const random = sequence(7);
  let refused = 0;
  let passed = 0;
  for (let round = 0; round < 300; round++) {
    for (const [resource, group, subresources, sample] of KINDS) {
      const operation = (["CREATE", "UPDATE", "DELETE"] as const)[Math.floor(random() * 3)];
      const object = operation === "DELETE" ? undefined : worn(sample, random);
      const old = operation === "CREATE" ? undefined : worn(sample, random);
      const a: Admission = admission(state, {
        resource,
        group,
        namespace: "ns",
        name: "web",
        subresource: subresources[Math.floor(random() * subresources.length)],
        user: users[Math.floor(random() * users.length)],
        operation,
        object,
        old,
      } as never);
      const before = new Map(state.items);
      try {
        for (const plugin of plugins) if (plugin.handles(a)) await plugin.mutate?.(a);
        for (const plugin of plugins) if (plugin.handles(a)) await plugin.validate?.(a);
        for (const plugin of plugins) if (plugin.handles(a)) plugin.commit?.(a, state.view());
        passed++;
      } catch (error) {
        const what = `${operation} ${resource}/${a.subresource}: ${JSON.stringify(object)}`;
        assert(error instanceof ApiError, `${(error as Error).stack}\n${what}`);
        assert(error.code < 500, `${error.message}\n${what}`);
        refused++;
      }
      state.items.clear();
      for (const [key, item] of before) state.items.set(key, item);
    }
  }
  assert(refused > 100 && passed > 100, `${refused} refused, ${passed} passed`);
});
