import { assert, assertEquals } from "@std/assert";
import type { Informer } from "../../api/client/contract.ts";
import type { KubeObject } from "../../api/machinery/types.ts";
import { Algorithm, feasibleWanted } from "./algorithm.ts";
import { Cluster } from "./cluster.ts";
import { type Diagnosis, fitErrorText, type PodInfo } from "./framework.ts";
import { podInfoOf } from "./pod_info.ts";
import { completeConfiguration, type SchedulerConfiguration } from "./configuration.ts";
import { ManualClock } from "../../kv/mod.ts";
import { SchedulerMetrics } from "./metrics.ts";
import { bestOf, preempt, RememberedCandidates } from "./preemption.ts";
import { type PluginHandle, profilesOf, REGISTRY } from "./profile.ts";
import { atOnce } from "./steps.ts";

/** A cache that holds just these objects. */
function fixed(objects: KubeObject[] = []): Informer {
  const key = (o: KubeObject) =>
    o.metadata.namespace ? `${o.metadata.namespace}/${o.metadata.name}` : o.metadata.name;
  const byKey = new Map(objects.map((o) => [key(o), o]));
  return {
    get: (k: string) => byKey.get(k),
    list: (namespace?: string) =>
      objects.filter((o) => !namespace || o.metadata.namespace === namespace),
    subscribe: () => () => {},
    index: () => {},
    byIndex: () => [],
  } as unknown as Informer;
}

interface World {
  claims?: KubeObject[];
  volumes?: KubeObject[];
  classes?: KubeObject[];
  services?: KubeObject[];
}

async function world(
  nodes: KubeObject[],
  objects: World = {},
  configuration: SchedulerConfiguration = {},
) {
  const cluster = new Cluster();
  for (const node of nodes) cluster.setNode(node);
  const handle = {
    claims: fixed(objects.claims),
    volumes: fixed(objects.volumes),
    classes: fixed(objects.classes),
    drivers: fixed(),
    capacities: fixed(),
    services: fixed(objects.services),
    replicaSets: fixed(),
    statefulSets: fixed(),
    replicationControllers: fixed(),
    namespaces: fixed(),
    informers: { for: () => fixed() },
    clock: { random: () => 0.5, monotonic: () => 0 },
    shared: new Map(),
    cluster,
  } as unknown as PluginHandle;
  const complete = completeConfiguration(configuration);
  const [{ algorithm, plugins }] = (await profilesOf(complete, REGISTRY, handle)).values();
  return { cluster, algorithm, plugins };
}

let serial = 0;
function object(
  kind: string,
  name: string,
  rest: Record<string, unknown>,
  meta: Record<string, unknown> = {},
): KubeObject {
  return {
    apiVersion: "v1",
    kind,
    metadata: {
      name,
      uid: `uid-${serial++}`,
      resourceVersion: "1",
      creationTimestamp: "",
      ...meta,
    },
    ...rest,
  } as KubeObject;
}

function node(
  name: string,
  options: { cpu?: string; labels?: Record<string, string>; spec?: unknown; pods?: string } = {},
) {
  const allocatable = { cpu: options.cpu ?? "4", memory: "8Gi", pods: options.pods ?? "110" };
  return object("Node", name, { spec: options.spec ?? {}, status: { allocatable } }, {
    labels: { "kubernetes.io/hostname": name, ...options.labels },
  });
}

function pod(
  name: string,
  spec: Record<string, unknown> = {},
  labels: Record<string, string> = {},
): PodInfo {
  const containers = [{ name: "c", image: "x", resources: { requests: spec.requests ?? {} } }];
  const { requests: _, ...rest } = spec;
  return podInfoOf(
    object("Pod", name, { spec: { containers, ...rest } }, { namespace: "default", labels }),
    () => undefined,
  );
}

/** Affinity to nodes that are in each of the lists. */
function onNodes(...names: string[][]) {
  const matchFields = names.map((values) => ({ key: "metadata.name", operator: "In", values }));
  const nodeSelectorTerms = [{ matchFields }];
  const required = { requiredDuringSchedulingIgnoredDuringExecution: { nodeSelectorTerms } };
  return { affinity: { nodeAffinity: required } };
}

function refusal(outcome: ReturnType<Algorithm["choose"]>): string {
  assert("refusals" in outcome, "the pod was placed");
  return fitErrorText(outcome);
}

Deno.test("choose() explains in upstream's words why no node will do", async (t) => {
  const tainted = node("tainted", { spec: { taints: [{ key: "a", effect: "NoSchedule" }] } });
  const cordoned = node("cordoned", { spec: { unschedulable: true } });
  const cases: { name: string; nodes: KubeObject[]; pod: PodInfo; text: string }[] = [
    { name: "no nodes", nodes: [], pod: pod("p"), text: "no nodes available to schedule pods" },
    {
      name: "resources",
      nodes: [node("a"), node("b")],
      pod: pod("p", { requests: { cpu: "5", "example.com/gpu": "1" } }),
      text: "0/2 nodes are available: 2 Insufficient cpu, 2 Insufficient example.com/gpu.",
    },
    {
      name: "taints and cordons",
      nodes: [tainted, cordoned],
      pod: pod("p"),
      text:
        "0/2 nodes are available: 1 node(s) had untolerated taint(s), 1 node(s) were unschedulable.",
    },
    {
      name: "node selector",
      nodes: [node("a")],
      pod: pod("p", { nodeSelector: { disk: "ssd" } }),
      text: "0/1 nodes are available: 1 node(s) didn't match Pod's node affinity/selector.",
    },
    {
      name: "a node by its name, as daemons have it",
      nodes: [node("a", { cpu: "1" }), node("b"), node("c")],
      pod: pod("p", { ...onNodes(["a"]), requests: { cpu: "2" } }),
      text: "0/3 nodes are available: 1 Insufficient cpu, " +
        "2 node(s) didn't satisfy plugin(s) [NodeAffinity].",
    },
    {
      name: "names that exclude each other",
      nodes: [node("a"), node("b")],
      pod: pod("p", onNodes(["a"], ["b"])),
      text: "0/2 nodes are available: pod affinity terms conflict.",
    },
    {
      name: "a missing claim",
      nodes: [node("a")],
      pod: pod("p", { volumes: [{ name: "v", persistentVolumeClaim: { claimName: "data" } }] }),
      text: '0/1 nodes are available: persistentvolumeclaim "data" not found.',
    },
    {
      name: "full of pods",
      nodes: [node("a", { pods: "0" })],
      pod: pod("p"),
      text: "0/1 nodes are available: 1 Too many pods.",
    },
  ];
  for (const c of cases) {
    await t.step(
      c.name,
      async () => {
        const { algorithm } = await world(c.nodes);
        assertEquals(refusal(algorithm.choose(c.pod)), c.text);
      },
    );
  }
});

Deno.test("choose() prefers the node with the most left", async () => {
  const { cluster, algorithm } = await world([node("a"), node("b")]);
  cluster.place(pod("busy", { requests: { cpu: "2", memory: "4Gi" } }), "a", false);
  const choice = algorithm.choose(pod("p", { requests: { cpu: "1", memory: "1Gi" } }));
  assert("node" in choice);
  assertEquals(choice.node.name, "b");
});

Deno.test("choose() counts assumed pods at once", async () => {
  const { cluster, algorithm } = await world([node("a", { cpu: "1" })]);
  const first = pod("first", { requests: { cpu: "1" } });
  assert("node" in algorithm.choose(first));
  cluster.place(first, "a", true);
  assertEquals(
    refusal(algorithm.choose(pod("second", { requests: { cpu: "1" } }))),
    "0/1 nodes are available: 1 Insufficient cpu.",
  );
  cluster.remove(first.uid);
  assert("node" in algorithm.choose(pod("second", { requests: { cpu: "1" } })));
});

const antiAffinity = {
  affinity: {
    podAntiAffinity: {
      requiredDuringSchedulingIgnoredDuringExecution: [{
        labelSelector: { matchLabels: { app: "db" } },
        topologyKey: "kubernetes.io/hostname",
      }],
    },
  },
};

Deno.test("choose() keeps anti-affine pods apart, in both directions", async () => {
  const { cluster, algorithm } = await world([node("a"), node("b")]);
  const placed: string[] = [];
  for (const name of ["one", "two"]) {
    const info = pod(name, antiAffinity, { app: "db" });
    const choice = algorithm.choose(info);
    assert("node" in choice);
    placed.push(choice.node.name);
    cluster.place(info, choice.node.name, true);
  }
  assertEquals(placed.sort(), ["a", "b"]);
  assertEquals(
    refusal(algorithm.choose(pod("three", antiAffinity, { app: "db" }))),
    "0/2 nodes are available: 2 node(s) didn't match pod anti-affinity rules.",
  );
  assertEquals(
    refusal(algorithm.choose(pod("plain", {}, { app: "db" }))),
    "0/2 nodes are available: 2 node(s) didn't satisfy existing pods anti-affinity rules.",
  );
});

Deno.test("choose() lets the first pod of an affine group go anywhere, the others follow", async () => {
  const together = {
    affinity: {
      podAffinity: {
        requiredDuringSchedulingIgnoredDuringExecution: [{
          labelSelector: { matchLabels: { app: "web" } },
          topologyKey: "kubernetes.io/hostname",
        }],
      },
    },
  };
  const { cluster, algorithm } = await world([node("a"), node("b")]);
  assertEquals(
    refusal(algorithm.choose(pod("stranger", together, { app: "other" }))),
    "0/2 nodes are available: 2 node(s) didn't match pod affinity rules.",
  );
  const first = pod("first", together, { app: "web" });
  const choice = algorithm.choose(first);
  assert("node" in choice);
  cluster.place(first, choice.node.name, true);
  for (const name of ["second", "third"]) {
    const next = algorithm.choose(pod(name, together, { app: "web" }));
    assert("node" in next);
    assertEquals(next.node.name, choice.node.name);
  }
});

Deno.test("choose() spreads by a hard constraint and says so when it cannot", async () => {
  const spread = {
    topologySpreadConstraints: [{
      maxSkew: 1,
      topologyKey: "zone",
      whenUnsatisfiable: "DoNotSchedule",
      labelSelector: { matchLabels: { app: "web" } },
    }],
  };
  const zones = [
    node("a", { labels: { zone: "1" } }),
    node("b", { labels: { zone: "2" }, cpu: "0" }),
    node("c"),
  ];
  const { cluster, algorithm } = await world(zones);
  const first = pod("first", { ...spread, requests: { cpu: "1" } }, { app: "web" });
  const choice = algorithm.choose(first);
  assert("node" in choice);
  cluster.place(first, choice.node.name, true);
  assertEquals(
    refusal(algorithm.choose(pod("second", { ...spread, requests: { cpu: "1" } }, { app: "web" }))),
    "0/3 nodes are available: 1 Insufficient cpu, 1 node(s) didn't match pod topology spread constraints, " +
      "1 node(s) didn't match pod topology spread constraints (missing required label).",
  );
});

Deno.test("choose() answers for claims that wait for their first consumer", async () => {
  const storageClass = object("StorageClass", "local", {
    provisioner: "kubernetes.io/no-provisioner",
    volumeBindingMode: "WaitForFirstConsumer",
  });
  const claim = object("PersistentVolumeClaim", "data", {
    spec: {
      storageClassName: "local",
      accessModes: ["ReadWriteOnce"],
      resources: { requests: { storage: "1Gi" } },
    },
  }, { namespace: "default" });
  const volume = object("PersistentVolume", "pv", {
    spec: {
      storageClassName: "local",
      accessModes: ["ReadWriteOnce"],
      capacity: { storage: "2Gi" },
      nodeAffinity: {
        required: {
          nodeSelectorTerms: [{
            matchFields: [{ key: "metadata.name", operator: "In", values: ["b"] }],
          }],
        },
      },
    },
    status: { phase: "Available" },
  });
  const wants = pod("p", {
    volumes: [{ name: "v", persistentVolumeClaim: { claimName: "data" } }],
  });
  const { algorithm } = await world([node("a"), node("b")], {
    claims: [claim],
    classes: [storageClass],
    volumes: [volume],
  });
  const choice = algorithm.choose(wants);
  assert("node" in choice);
  assertEquals(choice.node.name, "b");
  const none = await world([node("a")], {
    claims: [claim],
    classes: [storageClass],
    volumes: [volume],
  });
  assertEquals(
    refusal(none.algorithm.choose(wants)),
    "0/1 nodes are available: 1 node(s) didn't find available persistent volumes to bind.",
  );
});

function preemption(
  w: Awaited<ReturnType<typeof world>>,
  info: PodInfo,
  budgets: KubeObject[] = [],
) {
  const diagnosis = w.algorithm.choose(info) as Diagnosis;
  assert("refusals" in diagnosis);
  const said = atOnce(preempt(info, diagnosis, {
    cluster: w.cluster,
    filter: (p) => w.algorithm.filter(p),
    budgets: () => budgets,
    random: () => 0,
  }));
  return typeof said === "string" ? said : bestOf(said)!;
}

Deno.test("preempt() evicts the fewest of the lowest, and minds budgets", async () => {
  const w = await world([node("a", { cpu: "2" }), node("b", { cpu: "2" })]);
  w.cluster.place(pod("low", { priority: 1, requests: { cpu: "2" } }), "a", false);
  w.cluster.place(pod("lower", { priority: 0, requests: { cpu: "1" } }), "b", false);
  w.cluster.place(pod("mid", { priority: 5, requests: { cpu: "1" } }), "b", false);
  const high = pod("high", { priority: 10, requests: { cpu: "1" } });
  const chosen = preemption(w, high);
  assert(typeof chosen !== "string");
  assertEquals([chosen.node.name, chosen.victims.map((v) => v.pod.metadata.name)], ["b", [
    "lower",
  ]]);
  const budget = object("PodDisruptionBudget", "keep", {
    spec: { selector: { matchLabels: { app: "x" } } },
    status: { disruptionsAllowed: 0 },
  }, { namespace: "default" });
  const guarded = await world([node("a", { cpu: "1" }), node("b", { cpu: "1" })]);
  guarded.cluster.place(pod("kept", { requests: { cpu: "1" } }, { app: "x" }), "a", false);
  guarded.cluster.place(pod("plain", { priority: 5, requests: { cpu: "1" } }), "b", false);
  const other = preemption(guarded, high, [budget]);
  assert(typeof other !== "string");
  assertEquals(other.node.name, "b");
});

Deno.test("preempt() remembers candidates only as long as nothing changes on their node", async () => {
  const names = Array.from({ length: 12 }, (_, i) => `n${i}`);
  const w = await world(names.map((name) => node(name, { cpu: "4" })));
  const remembered = new RememberedCandidates(w.cluster);
  const clock = new ManualClock({ seed: 7 });
  const draw = (below: number) => Math.trunc(clock.random() * below);
  const placed: PodInfo[] = [];
  for (let step = 0; step < 400; step++) {
    const at = names[draw(names.length)];
    if (draw(3) > 0 || placed.length === 0) {
      const info = pod(`p${step}`, { priority: draw(4), requests: { cpu: `${1 + draw(3)}` } });
      placed.push(info);
      w.cluster.place(info, at, false);
    } else w.cluster.remove(placed.splice(draw(placed.length), 1)[0].uid);
    if (draw(9) === 0) w.cluster.setNode(node(at, { cpu: `${3 + draw(3)}` }));
    const high = pod(`high${step}`, { priority: 3, requests: { cpu: `${2 + draw(2)}` } });
    const diagnosis = w.algorithm.choose(high);
    if (!("refusals" in diagnosis)) continue;
    const ask = (remembered?: RememberedCandidates) => {
      const said = atOnce(preempt(high, { ...diagnosis }, {
        cluster: w.cluster,
        filter: (p) => w.algorithm.filter(p),
        budgets: () => [],
        random: () => 0,
        remembered,
      }));
      return typeof said === "string"
        ? said
        : said.map(({ node, victims }) => [node.name, victims.map((victim) => victim.key)]);
    };
    assertEquals(ask(remembered), ask(), `step ${step}`);
  }
});

Deno.test("choose() says of nodes that changed, came, went or were promised what it would say afresh", async () => {
  const names = Array.from({ length: 6 }, (_, i) => `n${i}`);
  const w = await world(names.map((name) => node(name, { cpu: "4" })));
  const clock = new ManualClock({ seed: 11 });
  const points = new SchedulerMetrics().points("default-scheduler", clock);
  const draw = (below: number) => Math.trunc(clock.random() * below);
  const placed: PodInfo[] = [];
  const promised: PodInfo[] = [];
  let unsaid = 0;
  for (let step = 0; step < 600; step++) {
    const at = names[draw(names.length)];
    const dice = draw(12);
    if (dice < 6) {
      placed.push(pod(`p${step}`, { requests: { cpu: `${1 + draw(3)}` } }));
      w.cluster.place(placed.at(-1)!, at, false);
    } else if (dice < 8 && placed.length > 0) {
      w.cluster.remove(placed.splice(draw(placed.length), 1)[0].uid);
    } else if (dice === 8) w.cluster.setNode(node(at, { cpu: `${2 + draw(6)}` }));
    else if (dice === 9 && draw(8) === 0) w.cluster.removeNode(at);
    else if (dice === 10) {
      promised.push(pod(`n${step}`, { priority: draw(3), requests: { cpu: "2" } }));
      w.cluster.promise(promised.at(-1)!, at);
    } else if (promised.length > 0) w.cluster.withdraw(promised.splice(0, 1)[0].uid);
    const again = promised.length > 0 && draw(4) === 0;
    const asked = again
      ? promised[draw(promised.length)]
      : pod(`q${step}`, { priority: draw(3), requests: { cpu: `${2 + draw(2)}` } });
    const tell = (said: ReturnType<Algorithm["consider"]>) =>
      "plugins" in said
        ? fitErrorText(said)
        : `${said.nodes.map(({ name }) => name).sort()} ${[...said.refusals.keys()].sort()}`;
    const afresh = new Algorithm(w.cluster, w.plugins, { random: () => 0, points });
    const said = tell(w.algorithm.consider(asked));
    assertEquals(said, tell(afresh.consider(asked)), `step ${step}`);
    if (said.startsWith("0/")) unsaid++;
  }
  assert(unsaid > 50 && unsaid < 550, `${unsaid} of 600 tries found no node`);
});

Deno.test("a node that has been promised since is not free for others, until the promise is taken back", async () => {
  const w = await world([node("a", { cpu: "4" })]);
  const ask = () => "nodes" in w.algorithm.choose(pod("p", { requests: { cpu: "3" } }));
  const high = pod("high", { priority: 5, requests: { cpu: "2" } });
  assertEquals(ask(), false);
  w.cluster.promise(high, "a");
  assertEquals(ask(), true);
  w.cluster.withdraw(high.uid);
  assertEquals(ask(), false);
});

Deno.test("preempt() says why nobody can be evicted", async () => {
  const w = await world([node("a", { cpu: "1" }), node("b", { cpu: "9" })]);
  w.cluster.place(pod("peer", { requests: { cpu: "9" } }), "b", false);
  assertEquals(
    preemption(w, pod("p", { requests: { cpu: "5" } })),
    "preemption: 0/2 nodes are available: 1 No preemption victims found for incoming pod, " +
      "1 Preemption is not helpful for scheduling.",
  );
  assertEquals(
    preemption(w, pod("p", { preemptionPolicy: "Never", requests: { cpu: "5" } })),
    "preemption: not eligible due to preemptionPolicy=Never.",
  );
});

Deno.test("matrix() gives every plugin's word on every node", async () => {
  const { algorithm } = await world([node("a"), node("b", { spec: { unschedulable: true } })]);
  const { nodes } = atOnce(algorithm.matrix(pod("p", { requests: { cpu: "1" } })));
  assertEquals(nodes[1].refusals.map((r) => r.plugin), ["NodeUnschedulable"]);
  assert(nodes[0].total! > 0 && nodes[0].scores!.NodeResourcesFit > 0);
});

Deno.test("feasibleWanted() is upstream's adaptive share", () => {
  assertEquals([50, 100, 1000, 5000, 20000].map((n) => feasibleWanted(n)), [
    50,
    100,
    420,
    500,
    1000,
  ]);
  assertEquals([feasibleWanted(1000, 20), feasibleWanted(1000, 1), feasibleWanted(50, 1)], [
    200,
    100,
    50,
  ]);
});

Deno.test("a pod whose resize waits counts with the larger amount, but for what its node will never do", () => {
  const requestOf = (reason?: string) => {
    const held = { allocatedResources: { cpu: "1" }, resources: { requests: { cpu: "1500m" } } };
    const conditions = reason ? [{ type: "PodResizePending", status: "True", reason }] : [];
    const request = (list: string, cpu: string) => {
      const containers = [{ name: "c", image: "x", resources: { requests: { cpu } } }];
      const spec = list === "init"
        ? { containers: [], initContainers: [{ ...containers[0], restartPolicy: "Always" }] }
        : { containers };
      const statuses = {
        [list === "init" ? "initContainerStatuses" : "containerStatuses"]: [
          { name: "c", ...held },
        ],
      };
      const one = object("Pod", "p", { spec, status: { conditions, ...statuses } }, {
        namespace: "default",
      });
      return podInfoOf(one, () => undefined).request.cpu;
    };
    return [request("app", "3"), request("app", "500m"), request("init", "3")];
  };
  assertEquals(requestOf(), [3000, 1500, 3000]);
  assertEquals(requestOf("Deferred"), [3000, 1500, 3000]);
  assertEquals(requestOf("Infeasible"), [1500, 1500, 1500]);
});
