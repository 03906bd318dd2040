import { assertEquals } from "@std/assert";
import { IP_ADDRESSES, SERVICE_CIDRS, SERVICES } from "../runtime/mod.ts";
import { conditionOf } from "./objects.ts";
import { DELETION_GRACE_MS, serviceCidrController } from "./service_cidrs.ts";
import { openWorld, type World } from "./world_test.ts";

const range = (world: World, name: string, cidr: string) =>
  world.create(SERVICE_CIDRS, { metadata: { name }, spec: { cidrs: [cidr] } }, "");
const names = async (world: World) =>
  (await world.list(SERVICE_CIDRS)).map(({ metadata }) => metadata.name);
const remove = (world: World, name: string) =>
  world.client.delete({ resource: SERVICE_CIDRS, name });

async function ready(world: World, name: string): Promise<string> {
  const found = await world.get(SERVICE_CIDRS, name, "");
  const { status, reason, message } = conditionOf(found.status, "Ready")!;
  return `${found.metadata.finalizers} ${status} ${reason} ${message}`;
}

/** An address as the allocator claims it. */
async function address(world: World, ip: string): Promise<void> {
  const labels = {
    "ipaddress.kubernetes.io/managed-by": "ipallocator.k8s.io",
    "ipaddress.kubernetes.io/ip-family": "IPv4",
  };
  const parentRef = { group: "", resource: "services", namespace: "default", name: "s" };
  await world.create(IP_ADDRESSES, { metadata: { name: ip, labels }, spec: { parentRef } }, "");
}

Deno.test("a ServiceCIDR is held by its finalizer, is ready, and goes after a while when nobody needs it", async () => {
  await using world = await openWorld([serviceCidrController]);
  await range(world, "more", "10.200.0.0/24");
  await world.settle();
  assertEquals(
    await ready(world, "more"),
    "networking.k8s.io/service-cidr-finalizer True  Kubernetes Service CIDR is ready",
  );
  await remove(world, "more");
  await world.settle(DELETION_GRACE_MS / 2);
  assertEquals(await names(world), ["more"]);
  await world.settle(DELETION_GRACE_MS);
  assertEquals(await names(world), []);
});

Deno.test("a ServiceCIDR with addresses stays until they go or another range has them, too", async () => {
  await using world = await openWorld([serviceCidrController]);
  await range(world, "more", "10.200.0.0/24");
  await address(world, "10.200.0.7");
  await world.settle();
  await remove(world, "more");
  await world.settle(2 * DELETION_GRACE_MS);
  assertEquals(
    await ready(world, "more"),
    "networking.k8s.io/service-cidr-finalizer False Terminating There are still IPAddresses referencing the ServiceCIDR, please remove them or create a new ServiceCIDR",
  );
  await range(world, "around", "10.200.0.0/16");
  await world.settle(2 * DELETION_GRACE_MS);
  assertEquals(await names(world), ["around"]);
  // And by the address's end.
  await remove(world, "around");
  await world.settle(2 * DELETION_GRACE_MS);
  assertEquals(await names(world), ["around"]);
  await world.client.delete({ resource: IP_ADDRESSES, name: "10.200.0.7" });
  await world.settle(2 * DELETION_GRACE_MS);
  assertEquals(await names(world), []);
  assertEquals((await world.list(SERVICES)).length, 0);
});
