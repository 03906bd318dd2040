import { assert, assertEquals } from "@std/assert";
import { formatTime } from "../../api/machinery/time.ts";
import { LEASES, NODES, PODS } from "../runtime/mod.ts";
import { nodeLifecycleController, NODES_A_TURN } from "./node_lifecycle.ts";
import { SETTINGS } from "./settings.ts";
import { ControllerMetrics } from "./metrics.ts";
import { conditionOf, type Obj } from "./objects.ts";
import { leavesAt, taintEvictionController } from "./taint_eviction.ts";
import { openWorld, type World } from "./world_test.ts";

async function addNode(world: World, name: string): Promise<Obj> {
  const at = formatTime(world.clock.now());
  const condition = {
    type: "Ready",
    status: "True",
    reason: "KubeletReady",
    lastHeartbeatTime: at,
    lastTransitionTime: at,
  };
  await world.create(NODES, { metadata: { name } }, "");
  await world.client.patch({ resource: NODES, name, subresource: "status" }, {
    type: "merge",
    body: { status: { conditions: [condition] } },
  });
  await world.create(LEASES, {
    metadata: { name },
    spec: { holderIdentity: name, renewTime: "2026-01-01T00:00:00.000000Z" },
  }, "kube-node-lease");
  return await world.get(NODES, name, "");
}

async function renew(world: World, name: string): Promise<void> {
  const renewTime = new Date(world.clock.now()).toISOString().replace("Z", "000Z");
  await world.client.patch({ resource: LEASES, namespace: "kube-node-lease", name }, {
    type: "merge",
    body: { spec: { renewTime } },
  });
}

const taintsOf = (node: Obj) =>
  (node.spec?.taints ?? []).map((t: { key: string; effect: string }) => `${t.key}:${t.effect}`);

async function opened(metrics?: ControllerMetrics) {
  const world = await openWorld([
    nodeLifecycleController({ metrics }),
    taintEvictionController({ metrics }),
  ]);
  await world.client.create({ resource: { group: "", version: "v1", plural: "namespaces" } }, {
    metadata: { name: "kube-node-lease" },
  });
  return world;
}

Deno.test("node lifecycle looks at more nodes than at once", async () => {
  await using world = await opened();
  const unready = [0, NODES_A_TURN - 1, NODES_A_TURN].map((i) => `node-${i}`);
  for (let i = 0; i <= NODES_A_TURN; i++) {
    const name = `node-${i}`;
    await world.create(NODES, { metadata: { name } }, "");
    const ready = { type: "Ready", status: unready.includes(name) ? "False" : "True" };
    await world.client.patch({ resource: NODES, name, subresource: "status" }, {
      type: "merge",
      body: { status: { conditions: [ready] } },
    });
  }
  await world.settle();
  const { items } = await world.client.list({ resource: NODES });
  const tainted = (items as Obj[]).filter((node) =>
    taintsOf(node).includes("node.kubernetes.io/not-ready:NoSchedule")
  );
  assertEquals(tainted.map(({ metadata }) => metadata.name).sort(), unready.sort());
});

Deno.test("node lifecycle says Unknown of a silent node, taints it and evicts its pods after their toleration", async () => {
  await using world = await opened();
  for (const name of ["node-1", "node-2"]) await addNode(world, name);
  await world.settle();
  assertEquals(taintsOf(await world.get(NODES, "node-1", "")), []);
  const pod = await world.create(PODS, {
    metadata: { name: "p" },
    spec: { containers: [{ name: "c", image: "x" }] },
  });
  await world.podIs(pod, "Running", { node: "node-1" });
  for (let passed = 0; passed <= SETTINGS.nodeMonitorGracePeriod + 10_000; passed += 10_000) {
    await renew(world, "node-2");
    await world.advance(10_000);
  }
  const silent = await world.get(NODES, "node-1", "");
  const ready = conditionOf(silent.status, "Ready")!;
  assertEquals([ready.status, ready.reason, ready.message], [
    "Unknown",
    "NodeStatusUnknown",
    "Kubelet stopped posting node status.",
  ]);
  assertEquals(taintsOf(silent), [
    "node.kubernetes.io/unreachable:NoSchedule",
    "node.kubernetes.io/unreachable:NoExecute",
  ]);
  assertEquals(taintsOf(await world.get(NODES, "node-2", "")), []);
  assertEquals(conditionOf((await world.get(PODS, "p")).status, "Ready")!.status, "False");
  for (let passed = 0; passed < 300_000; passed += 20_000) {
    await renew(world, "node-2");
    await world.advance(20_000);
  }
  const [left] = await world.list(PODS);
  assert(left.metadata.deletionTimestamp !== undefined);
  assertEquals(conditionOf(left.status, "DisruptionTarget")!.reason, "DeletionByTaintManager");
  const events = await world.events();
  assert(events.some((line) => line.includes("TaintManagerEviction")), events.join("\n"));
});

Deno.test("node lifecycle takes its taints back when the node returns, and evicts nobody when all are gone", async () => {
  await using world = await opened();
  await addNode(world, "node-1");
  await world.settle();
  await world.advance(SETTINGS.nodeMonitorGracePeriod + 10_000);
  // The only node of the cluster: more likely we are cut off than it is dead.
  assertEquals(taintsOf(await world.get(NODES, "node-1", "")), [
    "node.kubernetes.io/unreachable:NoSchedule",
  ]);
  const node = await world.get(NODES, "node-1", "");
  const conditions = node.status.conditions.map((c: { type: string }) =>
    c.type === "Ready"
      ? { ...c, status: "True", lastHeartbeatTime: formatTime(world.clock.now()) }
      : c
  );
  await world.client.patch({ resource: NODES, name: "node-1", subresource: "status" }, {
    type: "merge",
    body: { status: { conditions } },
  });
  await world.settle();
  assertEquals(taintsOf(await world.get(NODES, "node-1", "")), []);
});

/** Lets time pass in which these nodes give a sign of life. */
async function pass(world: World, ms: number, alive: readonly string[]): Promise<void> {
  for (let passed = 0; passed < ms; passed += 10_000) {
    for (const name of alive) await renew(world, name);
    await world.advance(10_000);
  }
}

async function inZone(world: World, name: string, zone: string): Promise<void> {
  await addNode(world, name);
  await world.client.patch({ resource: NODES, name }, {
    type: "merge",
    body: { metadata: { labels: { "topology.kubernetes.io/zone": zone } } },
  });
}

async function evicting(world: World): Promise<string[]> {
  return (await world.list(NODES)).filter((node) =>
    taintsOf(node).some((text: string) => text.endsWith(":NoExecute"))
  ).map(({ metadata }) => metadata.name);
}

Deno.test("node lifecycle drives pods out one node in ten seconds, and not at all from a small zone that is mostly gone", async () => {
  const metrics = new ControllerMetrics();
  await using world = await opened(metrics);
  for (const name of ["a1", "a2", "a3", "a4", "a5"]) await inZone(world, name, "a");
  for (const name of ["b1", "b2", "b3", "b4"]) await inZone(world, name, "b");
  await world.settle();
  // Two of five are no disruption; three of four are.
  await pass(world, SETTINGS.nodeMonitorGracePeriod + 10_000, ["a3", "a4", "a5", "b1"]);
  const first = await evicting(world);
  assertEquals([first.length, first.some((name) => name.startsWith("b"))], [1, false]);
  await pass(world, 20_000, ["a3", "a4", "a5", "b1"]);
  assertEquals(await evicting(world), ["a1", "a2"]);
  const zone = (name: string) => `zone=":\x00:${name}"`;
  const lines = metrics.text().split("\n");
  for (
    const line of [
      `node_collector_zone_size{${zone("a")}} 5`,
      `node_collector_zone_health{${zone("b")}} 25`,
      `node_collector_unhealthy_nodes_in_zone{${zone("b")}} 3`,
      `node_collector_evictions_total{${zone("a")}} 2`,
    ]
  ) assert(lines.includes(line), `${line}\n${lines.join("\n")}`);
});

Deno.test("node lifecycle takes eviction back when every zone is gone, and begins anew when one returns", async () => {
  await using world = await opened();
  for (const [name, zone] of [["a1", "a"], ["b1", "b"]]) await inZone(world, name, zone);
  await world.settle();
  await pass(world, SETTINGS.nodeMonitorGracePeriod + 10_000, ["a1"]);
  assertEquals(await evicting(world), ["b1"]);
  await pass(world, SETTINGS.nodeMonitorGracePeriod + 10_000, []);
  assertEquals(await evicting(world), []);
  const ready = { type: "Ready", status: "True", lastHeartbeatTime: formatTime(world.clock.now()) };
  await world.client.patch({ resource: NODES, name: "a1", subresource: "status" }, {
    type: "strategic",
    body: { status: { conditions: [ready] } },
  });
  await pass(world, 20_000, ["a1"]);
  assertEquals(await evicting(world), ["b1"]);
});

Deno.test("node lifecycle counts no node that is excluded from its zone's health, and tells of nodes' coming and going", async () => {
  await using world = await opened();
  for (const name of ["a1", "a2"]) await inZone(world, name, "a");
  await world.client.patch({ resource: NODES, name: "a2" }, {
    type: "merge",
    body: { metadata: { labels: { "node.kubernetes.io/exclude-disruption": "" } } },
  });
  await world.settle();
  await pass(world, SETTINGS.nodeMonitorGracePeriod + 20_000, ["a2"]);
  // The only node that counts is gone: so is the zone, and the cluster.
  assertEquals(await evicting(world), []);
  await world.client.delete({ resource: NODES, name: "a1" });
  await world.settle();
  const events = await world.events();
  for (
    const line of [
      "Normal RegisteredNode Node a1 event: Registered Node a1 in Controller",
      "Normal RemovingNode Node a1 event: Removing Node a1 from Controller",
    ]
  ) assert(events.includes(line), events.join("\n"));
});

Deno.test("node lifecycle marks a cordoned node", async () => {
  await using world = await opened();
  await addNode(world, "node-1");
  await world.client.patch({ resource: NODES, name: "node-1" }, {
    type: "merge",
    body: { spec: { unschedulable: true } },
  });
  await world.settle();
  assertEquals(taintsOf(await world.get(NODES, "node-1", "")), [
    "node.kubernetes.io/unschedulable:NoSchedule",
  ]);
});

Deno.test("leavesAt() is the earliest end of what is tolerated, at once for what is not", () => {
  const taint = { key: "a", effect: "NoExecute" as const };
  assertEquals(leavesAt([], [], 5), undefined);
  assertEquals(leavesAt([taint], [], 5), 5);
  assertEquals(leavesAt([taint], [{ operator: "Exists" }], 5), undefined);
  assertEquals(
    leavesAt([taint], [{ operator: "Exists", tolerationSeconds: 3 }, {
      key: "a",
      operator: "Exists",
      tolerationSeconds: 1,
    }], 5),
    1005,
  );
  assertEquals(
    leavesAt([taint, { key: "b", effect: "NoExecute" }], [{ key: "a", operator: "Exists" }], 7),
    7,
  );
});

Deno.test("how long a node may be silent is a setting", async () => {
  const settings = { nodeMonitorGracePeriod: 20_000 };
  await using world = await openWorld([nodeLifecycleController({ settings })]);
  await world.client.create({ resource: { group: "", version: "v1", plural: "namespaces" } }, {
    metadata: { name: "kube-node-lease" },
  });
  await addNode(world, "node-1");
  await world.settle();
  const ready = async () => conditionOf((await world.get(NODES, "node-1", "")).status, "Ready");
  await world.advance(15_000);
  assertEquals((await ready())!.status, "True");
  await world.advance(15_000);
  assertEquals((await ready())!.status, "Unknown");
});
