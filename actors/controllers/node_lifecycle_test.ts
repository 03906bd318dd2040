import { assert, assertEquals } from "@std/assert";
import { formatTime } from "../../api/machinery/time.ts";
import { LEASES, NODES, PODS } from "../runtime/mod.ts";
import { GRACE_MS, nodeLifecycleController } from "./node_lifecycle.ts";
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

async function opened() {
  const world = await openWorld([nodeLifecycleController, taintEvictionController]);
  await world.client.create({ resource: { group: "", version: "v1", plural: "namespaces" } }, {
    metadata: { name: "kube-node-lease" },
  });
  return world;
}

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
  for (let passed = 0; passed <= GRACE_MS + 10_000; passed += 10_000) {
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
  await world.advance(GRACE_MS + 10_000);
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
