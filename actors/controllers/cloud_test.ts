import { assertEquals, assertThrows } from "@std/assert";
import { NODES } from "../runtime/mod.ts";
import { type CloudProvider, localCloud, type Route, UNINITIALIZED } from "./cloud.ts";
import {
  addressesFor,
  cloudNodeController,
  cloudNodeLifecycleController,
  labelsFor,
  MONITOR_MS,
} from "./cloud_node.ts";
import { nodeRouteController, SYNC_MS } from "./node_route.ts";
import { conditionOf, type Obj } from "./objects.ts";
import { openWorld, type World } from "./world_test.ts";

const addNode = (world: World, name: string, spec: object = {}) =>
  world.create(NODES, { metadata: { name }, spec }, "");
const names = async (world: World) => (await world.list(NODES)).map((node) => node.metadata.name);

/** A node's taints but the one that admission gives to all new ones. */
const taintsOf = ({ spec }: Obj): string[] =>
  (spec.taints ?? []).map(({ key }: { key: string }) => key)
    .filter((key: string) => key !== "node.kubernetes.io/not-ready");

async function isReady(world: World, name: string, status: string): Promise<void> {
  await world.client.patch({ resource: NODES, name, subresource: "status" }, {
    type: "strategic",
    body: { status: { conditions: [{ type: "Ready", status }] } },
  });
}

Deno.test("a node that registers under a provider is told which machine it is, then let be scheduled to", async () => {
  const cloud = localCloud({ zones: ["a", "b"], region: "r", instanceType: "big" });
  await using world = await openWorld([cloudNodeController(cloud)]);
  const other = { key: "mine", effect: "NoSchedule" };
  await addNode(world, "node-3", { taints: [UNINITIALIZED, other] });
  await addNode(world, "known", {});
  await world.settle();
  const node = await world.get(NODES, "node-3", "");
  assertEquals([node.spec.providerID, taintsOf(node)], ["plesio://r/node-3", ["mine"]]);
  assertEquals(node.metadata.labels, {
    "beta.kubernetes.io/instance-type": "big",
    "node.kubernetes.io/instance-type": "big",
    "failure-domain.beta.kubernetes.io/zone": "b",
    "topology.kubernetes.io/zone": "b",
    "failure-domain.beta.kubernetes.io/region": "r",
    "topology.kubernetes.io/region": "r",
  });
  assertEquals(await world.events(), ["Normal Synced Node synced successfully"]);
  assertEquals((await world.get(NODES, "known", "")).spec?.providerID, undefined);
});

Deno.test("addressesFor() keeps the hostname and puts the kubelet's own address first; labelsFor() leaves kubernetes.io alone", () => {
  const node = {
    metadata: { name: "n", labels: { own: "1" }, annotations: {} as Record<string, string> },
    status: { addresses: [{ type: "Hostname", address: "n" }] },
  } as unknown as Obj;
  const instance = {
    providerID: "x://1",
    addresses: [{ type: "InternalIP", address: "10.0.0.1" }, {
      type: "InternalIP",
      address: "10.0.0.2",
    }],
    labels: { own: "2", rack: "7", "node.kubernetes.io/x": "y" },
  };
  const show = (of: Obj) => addressesFor(of, instance).map(({ address }) => address);
  assertEquals(show(node), ["10.0.0.1", "10.0.0.2", "n"]);
  const told = (ip: string) => ({
    ...node,
    metadata: { ...node.metadata, annotations: { "alpha.kubernetes.io/provided-node-ip": ip } },
  });
  assertEquals(show(told("10.0.0.2")), ["10.0.0.2", "10.0.0.1", "n"]);
  assertThrows(() => show(told("9.9.9.9")), Error, "matches ip: 9.9.9.9");
  assertEquals(labelsFor(node, instance), { rack: "7" });
});

Deno.test("a silent node goes when its machine is gone, and is tainted while its machine is shut down", async () => {
  const gone = new Set<string>();
  const off = new Set<string>(["off"]);
  const cloud = localCloud({ exists: (name) => !gone.has(name), runs: (name) => !off.has(name) });
  await using world = await openWorld([cloudNodeLifecycleController(cloud)]);
  for (const name of ["gone", "off", "well"]) {
    await addNode(world, name);
    await isReady(world, name, "True");
  }
  gone.add("gone");
  await world.advance(2 * MONITOR_MS);
  assertEquals(await names(world), ["gone", "off", "well"]);
  for (const name of ["gone", "off"]) await isReady(world, name, "Unknown");
  await world.advance(2 * MONITOR_MS);
  assertEquals(await names(world), ["off", "well"]);
  const shutdown = "node.cloudprovider.kubernetes.io/shutdown";
  assertEquals(taintsOf(await world.get(NODES, "off", "")), [shutdown]);
  assertEquals(await world.events(), [
    "Normal DeletingNode Deleting node gone because it does not exist in the cloud provider",
  ]);
  await isReady(world, "off", "True");
  await world.advance(2 * MONITOR_MS);
  assertEquals(taintsOf(await world.get(NODES, "off", "")), []);
});

Deno.test("routes follow the nodes' parts of the pod range; a node says whether it is reached", async () => {
  const { routes } = localCloud() as Required<CloudProvider>;
  let refused = "";
  const some = {
    ...routes,
    create(route: Route) {
      if (route.node === refused) return Promise.reject(new Error("no"));
      return routes.create(route);
    },
  };
  await routes.create({ node: "old", cidr: "10.244.9.0/24" });
  await routes.create({ node: "else", cidr: "192.168.0.0/24" });
  await using world = await openWorld([nodeRouteController(some, {})]);
  refused = "b";
  await addNode(world, "a", { podCIDR: "10.244.0.0/24", podCIDRs: ["10.244.0.0/24"] });
  await addNode(world, "b", { podCIDR: "10.244.1.0/24", podCIDRs: ["10.244.1.0/24"] });
  await world.settle();
  const listed = async () =>
    (await routes.list()).map(({ node, cidr }) => `${node} ${cidr}`).sort();
  assertEquals(await listed(), ["a 10.244.0.0/24", "else 192.168.0.0/24"]);
  const reached = async (name: string) => {
    const node = await world.get(NODES, name, "");
    const { status, reason } = conditionOf(node.status, "NetworkUnavailable")!;
    return `${status} ${reason}`;
  };
  assertEquals([await reached("a"), await reached("b")], [
    "False RouteCreated",
    "True NoRouteCreated",
  ]);
  refused = "";
  await world.advance(2 * SYNC_MS);
  assertEquals(await reached("b"), "False RouteCreated");
  await world.client.delete({ resource: NODES, name: "a" });
  await world.settle();
  assertEquals(await listed(), ["b 10.244.1.0/24", "else 192.168.0.0/24"]);
});
