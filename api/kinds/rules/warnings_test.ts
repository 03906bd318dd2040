import { assertEquals } from "@std/assert";
import { create, kindOf, podWith, update } from "./fixture.ts";

// deno-lint-ignore no-explicit-any -- tests write objects as they come
type Obj = any;

/** Warnings of a new object. */
function warnings(kind: string, object: Obj): string[] {
  return kindOf(kind).hooks.warnings!(create(kind, object).object);
}

function ofPod(change: (spec: Obj) => void): string[] {
  return warnings("v1/Pod", podWith((pod) => change(pod.spec)));
}

Deno.test("pods: what is likely a mistake", async (t) => {
  const cases: [string, (spec: Obj) => void, string[]][] = [
    ["nothing", () => {}, []],
    [
      "labels of nodes",
      (spec) => {
        spec.nodeSelector = { "beta.kubernetes.io/os": "linux" };
        const matchExpressions = [{ key: "beta.kubernetes.io/arch", operator: "Exists" }];
        spec.affinity = {
          nodeAffinity: {
            requiredDuringSchedulingIgnoredDuringExecution: {
              nodeSelectorTerms: [{ matchExpressions }],
            },
          },
        };
      },
      [
        "spec.nodeSelector[beta.kubernetes.io/os]: deprecated since v1.14; use " +
        '"kubernetes.io/os" instead',
        "spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution." +
        "nodeSelectorTerms[0].matchExpressions[0].key: beta.kubernetes.io/arch is deprecated " +
        'since v1.14; use "kubernetes.io/arch" instead',
      ],
    ],
    [
      "volumes",
      (spec) => {
        const items = [{ key: "a", path: "x" }, { key: "b", path: "x/y" }];
        spec.volumes = [
          { name: "g", gitRepo: { repository: "r" } },
          { name: "s", secret: { secretName: "t", items } },
          { name: "p", projected: { sources: [{ configMap: { name: "c", items } }] } },
        ];
      },
      [
        "spec.volumes[0].gitRepo: deprecated in v1.11, and disabled by default in v1.33+",
        'volume "s" (Secret "t"): overlapping paths: "x/y" with "x"',
        'volume "p" (Projected ConfigMap "c"): overlapping paths: "x/y" with "x"',
        'volume "p" (Projected ConfigMap "c"): overlapping paths: "x/y" with "x"',
      ],
    ],
    [
      "the same twice",
      (spec) => {
        spec.imagePullSecrets = [{ name: "a" }, { name: "a" }, {}];
        spec.hostAliases = [{ ip: "10.0.0.1" }, { ip: "10.0.0.1" }, { ip: "1:0::1" }];
        spec.containers[0].env = [
          { name: "A", value: "1" },
          { name: "A", value: "$(A)2" },
          { name: "A", value: "3" },
        ];
      },
      [
        'spec.hostAliases[1].ip: duplicate ip "10.0.0.1"',
        'spec.imagePullSecrets[1].name: duplicate name "a"',
        'spec.imagePullSecrets[2].name: invalid empty name ""',
        'spec.containers[0].env[2]: hides previous definition of "A", which may be dropped when ' +
        "using apply",
        'spec.hostAliases[2].ip: IPv6 address "1:0::1" should be in RFC 5952 canonical format ' +
        '("1::1")',
      ],
    ],
    [
      "ports",
      (spec) => {
        spec.containers[0].ports = [{ containerPort: 80, hostIP: "10.0.0.1" }];
        spec.containers.push({ name: "d", image: "x", ports: [{ containerPort: 80 }] });
      },
      [
        "spec.containers[0].ports[0]: hostIP set without hostPort: {Name: HostPort:0 " +
        "ContainerPort:80 Protocol:TCP HostIP:10.0.0.1}",
        "spec.containers[1].ports[0]: overlapping port definition with spec.containers[0].ports[0]",
      ],
    ],
    [
      "thousandths of a byte",
      (spec) => spec.containers[0].resources = { requests: { memory: "100m", cpu: "100m" } },
      [
        'spec.containers[0].resources.requests[memory]: fractional byte value "100m" is invalid, ' +
        "must be an integer",
      ],
    ],
    [
      "selectors of no pod",
      (spec) => {
        const term = { topologyKey: "zone" };
        const podAffinity = { requiredDuringSchedulingIgnoredDuringExecution: [term] };
        spec.affinity = { podAffinity };
      },
      [
        "spec.affinity.podAffinity.requiredDuringSchedulingIgnoredDuringExecution[0]." +
        "labelSelector: a null labelSelector results in matching no pod",
      ],
    ],
  ];
  for (const [name, change, says] of cases) {
    await t.step(name, () => assertEquals(ofPod(change), says));
  }
});

Deno.test("templates: names, and only when the spec changes", () => {
  const template = {
    metadata: {
      labels: { a: "b" },
      annotations: { "container.apparmor.security.beta.kubernetes.io/c": "runtime/default" },
    },
    spec: { containers: [{ name: "c", image: "x" }] },
  };
  const spec = { selector: { matchLabels: { a: "b" } }, template };
  const armor =
    "spec.template.metadata.annotations[container.apparmor.security.beta.kubernetes.io/c]: " +
    'deprecated since v1.30; use the "appArmorProfile" field instead';
  const named = "metadata.name: this is used in Pod names and hostnames, which can result in " +
    "surprising behavior; a DNS label is recommended: [must not contain dots]";
  const deployment = { metadata: { name: "a.b" }, spec };
  assertEquals(warnings("apps/v1/Deployment", deployment), [named, armor]);
  assertEquals(warnings("apps/v1/DaemonSet", deployment), [armor]);
  const warn = kindOf("apps/v1/Deployment").hooks.warnings!;
  const { object } = create("apps/v1/Deployment", deployment);
  const scaled = update("apps/v1/Deployment", object, (o) => o.spec.replicas = 2).object;
  const labeled =
    update("apps/v1/Deployment", object, (o) => o.metadata.labels = { a: "b" }).object;
  assertEquals([warn(scaled, object), warn(labeled, object)], [[armor], []]);
  const set = {
    metadata: { name: "a" },
    spec: {
      ...spec,
      revisionHistoryLimit: -1,
      volumeClaimTemplates: [{
        metadata: { name: "v" },
        spec: { accessModes: ["ReadWriteOnce"], resources: { requests: { storage: "1500m" } } },
      }],
    },
  };
  assertEquals(warnings("apps/v1/StatefulSet", set), [
    armor,
    'spec.volumeClaimTemplates[0].resources.requests[storage]: fractional byte value "1500m" is ' +
    "invalid, must be an integer",
    "spec.revisionHistoryLimit: a negative value retains all historical revisions; a value >= 0 is " +
    "recommended",
  ]);
  const job = {
    metadata: { name: "a" },
    spec: {
      completionMode: "Indexed",
      completions: 100_001,
      parallelism: 10_001,
      template: { spec: { ...template.spec, restartPolicy: "Never" } },
    },
  };
  assertEquals(warnings("batch/v1/Job", job).map((line) => line.slice(0, 22)), [
    "spec: In Indexed Jobs ",
  ]);
});

Deno.test("services, volumes, claims, ingresses", () => {
  const ports = [{ port: 80 }];
  const service = (spec: Obj) => warnings("v1/Service", { metadata: { name: "a" }, spec });
  assertEquals(service({ ports }), []);
  assertEquals(service({ ports, clusterIP: "None" }), []);
  assertEquals(
    service({ ports, clusterIP: "None", sessionAffinity: "ClientIP", externalName: "a.b" }),
    [
      "spec.SessionAffinity is ignored for headless services",
      'spec.externalName is ignored when spec.type is not "ExternalName"',
    ],
  );
  assertEquals(service({ ports, trafficDistribution: "PreferClose" }), [
    'spec.trafficDistribution: "PreferClose" is deprecated; use "PreferSameZone"',
  ]);
  const annotations = { "volume.beta.kubernetes.io/storage-class": "slow" };
  assertEquals(
    warnings("v1/PersistentVolume", {
      metadata: { name: "a", annotations },
      spec: { persistentVolumeReclaimPolicy: "Recycle", hostPath: { path: "/x" } },
    }),
    [
      "metadata.annotations[volume.beta.kubernetes.io/storage-class]: deprecated since v1.8; use " +
      '"storageClassName" attribute instead',
      "spec.persistentVolumeReclaimPolicy: The Recycle reclaim policy is deprecated. Instead, the " +
      "recommended approach is to use dynamic provisioning.",
    ],
  );
  const ingress = {
    metadata: { name: "a", annotations: { "kubernetes.io/ingress.class": "x" } },
    spec: {},
  };
  assertEquals(warnings("networking.k8s.io/v1/Ingress", ingress), [
    "annotation \"kubernetes.io/ingress.class\" is deprecated, please use 'spec.ingressClassName' " +
    "instead",
  ]);
});

Deno.test("labels of old are told of in classes, amounts of room and runtime classes", () => {
  const warned = (group: string, kind: string, object: Obj) =>
    kindOf(`${group}/v1/${kind}`).hooks.warnings!(object);
  const zone = "failure-domain.beta.kubernetes.io/zone";
  const instead = 'deprecated since v1.17; use "topology.kubernetes.io/zone" instead';
  assertEquals(
    warned("storage.k8s.io", "StorageClass", {
      allowedTopologies: [{ matchLabelExpressions: [{ key: "a" }, { key: zone }] }],
    }),
    [`allowedTopologies[0].matchLabelExpressions[1].key: ${instead}`],
  );
  assertEquals(
    warned("storage.k8s.io", "CSIStorageCapacity", {
      nodeTopology: { matchLabels: { [zone]: "x" }, matchExpressions: [{ key: zone }] },
    }),
    [
      `nodeTopology.matchExpressions[0].key: ${zone} is ${instead}`,
      `nodeTopology.matchLabels.${zone}: ${instead}`,
    ],
  );
  assertEquals(
    warned("node.k8s.io", "RuntimeClass", { scheduling: { nodeSelector: { [zone]: "x" } } }),
    [`scheduling.nodeSelector: ${instead}`],
  );
});
