import { assertEquals, assertThrows } from "@std/assert";
import { SERVICES } from "../runtime/mod.ts";
import { poolOf, serviceLoadBalancers } from "./service_lb.ts";
import { openWorld, type World } from "./world_test.ts";

function balancer(name: string, more: object = {}) {
  return { metadata: { name }, spec: { type: "LoadBalancer", ports: [{ port: 80 }], ...more } };
}

const addressOf = async (world: World, name: string) =>
  (await world.get(SERVICES, name)).status?.loadBalancer?.ingress?.[0]?.ip;

Deno.test("a load balancer gets a free address, keeps it, and gives it back", async () => {
  await using world = await openWorld([serviceLoadBalancers({ loadBalancerCidr: "10.0.0.0/30" })]);
  await world.create(SERVICES, balancer("a"));
  await world.create(SERVICES, balancer("b", { loadBalancerIP: "10.0.0.1" }));
  await world.create(SERVICES, balancer("other", { loadBalancerClass: "example.com/theirs" }));
  await world.settle();
  const first = await addressOf(world, "a");
  assertEquals([first, await addressOf(world, "other")], ["10.0.0.1", undefined]);
  assertEquals(await addressOf(world, "b"), undefined);
  await world.create(SERVICES, balancer("c"));
  await world.create(SERVICES, balancer("d"));
  await world.settle();
  assertEquals([await addressOf(world, "c"), await addressOf(world, "d")], ["10.0.0.2", undefined]);
  await world.client.patch({ resource: SERVICES, namespace: "default", name: "a" }, {
    type: "merge",
    body: { spec: { type: "ClusterIP" } },
  });
  await world.settle(60_000);
  assertEquals(await addressOf(world, "a"), undefined);
  assertEquals((await world.get(SERVICES, "a")).metadata.finalizers ?? [], []);
  assertEquals(await addressOf(world, "b"), "10.0.0.1");
});

Deno.test("poolOf() leaves out the first and last address, and refuses what is no range", () => {
  assertEquals(poolOf("10.0.0.252/30"), ["10.0.0.253", "10.0.0.254"]);
  for (const bad of ["10.0.0.0", "10.0.0.0/31", "10.0.0.0/8", "x/24"]) {
    assertThrows(() => poolOf(bad), TypeError, bad);
  }
});
