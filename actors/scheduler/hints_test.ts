import { assertEquals } from "@std/assert";
import type { KubeObject } from "../../api/machinery/types.ts";
import { Cluster } from "./cluster.ts";
import type { Happening, NodeInfo, Plugin, PodInfo } from "./framework.ts";
import { nodeEvents, ownEvents, podEvents } from "./happenings.ts";
import { interPodAffinity } from "./plugins/inter_pod_affinity.ts";
import { nodeAffinity } from "./plugins/node_affinity.ts";
import { nodePorts, nodeUnschedulable, taintToleration } from "./plugins/node_basics.ts";
import { nodeResourcesFit } from "./plugins/node_resources.ts";
import { podTopologySpread } from "./plugins/pod_topology_spread.ts";
import { podInfoOf } from "./pod_info.ts";
import { openWorld } from "./world_test.ts";

interface NodeShape {
  cpu?: string;
  pods?: string;
  labels?: Record<string, string>;
  taints?: object[];
  unschedulable?: boolean;
}

function node(shape: NodeShape = {}): KubeObject {
  const { cpu = "4", pods = "10", labels, taints, unschedulable } = shape;
  return {
    apiVersion: "v1",
    kind: "Node",
    metadata: { name: "n", uid: "n", resourceVersion: "1", creationTimestamp: "", labels },
    spec: { taints, unschedulable },
    status: { allocatable: { cpu, memory: "8Gi", pods } },
  };
}

function infoOf(object: KubeObject): NodeInfo {
  const cluster = new Cluster();
  cluster.setNode(object);
  return cluster.node("n")!;
}

const nodeAdd = (shape: NodeShape): Happening => ({
  events: ["NodeAdd"],
  node: infoOf(node(shape)),
});
const nodeUpdate = (from: NodeShape, to: NodeShape): Happening => ({
  events: nodeEvents(node(from), node(to)),
  node: infoOf(node(to)),
  oldNode: node(from),
});

let serial = 0;
function pod(spec: Record<string, unknown> = {}, labels: Record<string, string> = {}): PodInfo {
  const { requests, ports, namespace = "default", ...rest } = spec;
  const containers = [{ name: "c", image: "x", ports, resources: { requests } }];
  const uid = `u${serial++}`;
  const metadata = {
    name: uid,
    uid,
    namespace,
    labels,
    resourceVersion: "1",
    creationTimestamp: "",
  };
  const object = { apiVersion: "v1", kind: "Pod", metadata, spec: { containers, ...rest } };
  return podInfoOf(object as unknown as KubeObject, () => undefined);
}

const podAdd = (added: PodInfo): Happening => ({ events: ["PodAdd"], pod: added });
const podDelete = (gone: PodInfo): Happening => ({ events: ["PodDelete"], pod: gone });
const podUpdate = (from: PodInfo, to: PodInfo): Happening => ({
  events: podEvents(from, to),
  pod: to,
  oldPod: from,
});

/** Whether a plugin that refused a pod wakes it for what happened, as the queue asks. */
function wakes(plugin: Plugin, asks: PodInfo, happening: Happening): boolean {
  if (!plugin.wakesOn.some((event) => happening.events.includes(event))) return false;
  return plugin.hint?.(asks, happening) ?? true;
}

const spreading = {
  topologySpreadConstraints: [{
    maxSkew: 1,
    topologyKey: "zone",
    whenUnsatisfiable: "DoNotSchedule",
    labelSelector: { matchLabels: { app: "web" } },
  }],
};
const term = (app: string) => ({
  requiredDuringSchedulingIgnoredDuringExecution: [{
    topologyKey: "zone",
    labelSelector: { matchLabels: { app } },
  }],
});
const near = { affinity: { podAffinity: term("db") } };
const far = { affinity: { podAntiAffinity: term("db") } };
const ssd = { nodeSelector: { disk: "ssd" } };
const bears = { tolerations: [{ key: "a", operator: "Exists" }] };
const A = { taints: [{ key: "a", effect: "NoSchedule" }] };

const [big, db, web] = [
  pod({ requests: { cpu: "2" } }),
  pod({}, { app: "db" }),
  pod({}, { app: "web" }),
];
const on80 = { ports: [{ hostPort: 80, containerPort: 80 }] };
const fit = nodeResourcesFit();
const affinity = interPodAffinity();
const spread = podTopologySpread(() => undefined);

const CASES: [string, Plugin, PodInfo, Happening, boolean][] = [
  ["Fit: a node that could hold it", fit, big, nodeAdd({}), true],
  ["Fit: a node that is too small", fit, big, nodeAdd({ cpu: "1" }), false],
  ["Fit: a node that grew enough", fit, big, nodeUpdate({ cpu: "1" }, { cpu: "2" }), true],
  ["Fit: a node that grew too little", fit, big, nodeUpdate({ cpu: "1" }, { cpu: "1500m" }), false],
  ["Fit: a node that shrank", fit, big, nodeUpdate({ cpu: "8" }, { cpu: "4" }), false],
  ["Fit: room for more pods", fit, pod(), nodeUpdate({ pods: "1" }, { pods: "2" }), true],
  ["Fit: a node's labels", fit, big, nodeUpdate({}, { labels: { a: "b" } }), false],
  ["Fit: a pod that ended", fit, big, podDelete(web), true],
  ["Fit: a pod that came", fit, big, podAdd(web), false],
  [
    "Fit: a pod that asks for less",
    fit,
    big,
    podUpdate(pod({ requests: { cpu: "3" } }), big),
    true,
  ],
  [
    "Fit: a pod that asks for less of something else",
    fit,
    big,
    podUpdate(
      pod({ requests: { cpu: "1", memory: "2Gi" } }),
      pod({ requests: { cpu: "1", memory: "1Gi" } }),
    ),
    false,
  ],
  [
    "NodeAffinity: the label came",
    nodeAffinity(),
    pod(ssd),
    nodeUpdate({}, { labels: { disk: "ssd" } }),
    true,
  ],
  [
    "NodeAffinity: another label came",
    nodeAffinity(),
    pod(ssd),
    nodeUpdate({}, { labels: { disk: "hdd" } }),
    false,
  ],
  [
    "NodeAffinity: it was there before",
    nodeAffinity(),
    pod(ssd),
    nodeUpdate({ labels: { disk: "ssd" } }, { labels: { disk: "ssd", a: "b" } }),
    false,
  ],
  ["NodeAffinity: a node without it", nodeAffinity(), pod(ssd), nodeAdd({}), false],
  ["Taints: the taint went", taintToleration, pod(), nodeUpdate(A, {}), true],
  ["Taints: another one came", taintToleration, pod(), nodeUpdate({}, A), false],
  ["Taints: a node that is borne", taintToleration, pod(bears), nodeAdd(A), true],
  ["Taints: a node that is not", taintToleration, pod(), nodeAdd(A), false],
  [
    "Taints: the pod tolerates more",
    taintToleration,
    pod(bears),
    { events: ["OwnTolerations"] },
    true,
  ],
  ["Cordon: lifted", nodeUnschedulable, pod(), nodeUpdate({ unschedulable: true }, {}), true],
  ["Cordon: put", nodeUnschedulable, pod(), nodeUpdate({}, { unschedulable: true }), false],
  ["Cordon: a taint went", nodeUnschedulable, pod(), nodeUpdate(A, {}), false],
  ["Ports: who held the port ended", nodePorts, pod(on80), podDelete(pod(on80)), true],
  ["Ports: another pod ended", nodePorts, pod(on80), podDelete(pod()), false],
  ["Affinity: company came", affinity, pod(near), podAdd(db), true],
  ["Affinity: somebody else came", affinity, pod(near), podAdd(web), false],
  ["Affinity: company by a new label", affinity, pod(near), podUpdate(web, db), true],
  ["Affinity: who was shunned ended", affinity, pod(far), podDelete(db), true],
  ["Affinity: who shuns it ended", affinity, db, podDelete(pod(far)), true],
  ["Affinity: company ended", affinity, pod(near), podDelete(db), false],
  ["Affinity: a node without the key", affinity, pod(near), nodeAdd({}), false],
  ["Affinity: the key came", affinity, pod(near), nodeUpdate({}, { labels: { zone: "1" } }), true],
  ["Affinity: another label", affinity, pod(near), nodeUpdate({}, { labels: { a: "b" } }), false],
  ["Spread: a sibling came", spread, pod(spreading, { app: "web" }), podAdd(web), true],
  ["Spread: a sibling ended", spread, pod(spreading, { app: "web" }), podDelete(web), true],
  ["Spread: a stranger came", spread, pod(spreading, { app: "web" }), podAdd(db), false],
  [
    "Spread: a namesake in another namespace",
    spread,
    pod(spreading, { app: "web" }),
    podAdd(pod({ namespace: "other" }, { app: "web" })),
    false,
  ],
  ["Spread: a node in a zone", spread, pod(spreading), nodeAdd({ labels: { zone: "1" } }), true],
  ["Spread: a node in none", spread, pod(spreading), nodeAdd({}), false],
  [
    "Spread: a node that moved",
    spread,
    pod(spreading),
    nodeUpdate({ labels: { zone: "1" } }, { labels: { zone: "2" } }),
    true,
  ],
];

Deno.test("hints tell which event wakes which pod", async (t) => {
  for (const [name, plugin, asks, happening, expected] of CASES) {
    await t.step(name, () => assertEquals(wakes(plugin, asks, happening), expected));
  }
});

Deno.test("ownEvents() names what changed of a waiting pod", () => {
  const [a, b] = [pod({ requests: { cpu: "2" } }), pod({ requests: { cpu: "1" } }, { x: "y" })];
  assertEquals(ownEvents(a.pod, b.pod), ["OwnLabels", "OwnScaleDown"]);
  assertEquals(ownEvents(a.pod, a.pod), []);
});

Deno.test("an event moves only the pods that it can help", async () => {
  await using w = await openWorld();
  await w.node("a", { cpu: "1" });
  await w.settle();
  await w.pod("holder", { requests: { cpu: "1" } });
  await w.settle();
  await w.pod("cpu", { requests: { cpu: "1" } });
  await w.pod("ssd", ssd);
  await w.settle(20_000);
  const attempts = async () => ({
    cpu: (await w.explain("cpu")).lastAttempt!.attempts,
    ssd: (await w.explain("ssd")).lastAttempt!.attempts,
  });
  const before = await attempts();
  const target = { resource: { group: "", version: "v1", plural: "nodes" }, name: "a" };
  await w.client.patch(target, { type: "merge", body: { metadata: { labels: { disk: "hdd" } } } });
  await w.settle(20_000);
  assertEquals(await attempts(), before);
  await w.client.patch(target, { type: "merge", body: { metadata: { labels: { disk: "ssd" } } } });
  await w.settle(20_000);
  assertEquals(await w.places(), ["cpu: " + (await w.places())[0].slice(5), "holder: a", "ssd: a"]);
  assertEquals((await attempts()).cpu, before.cpu);
});
