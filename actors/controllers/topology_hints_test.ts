import { assertEquals } from "@std/assert";
import { ENDPOINT_SLICES, NODES, PODS, SERVICES } from "../runtime/mod.ts";
import { endpointSliceController } from "./endpointslice.ts";
import type { Endpoint } from "./slice_plan.ts";
import { spread } from "./topology_hints.ts";
import { openWorld, type World } from "./world_test.ts";

/** So many ready endpoints of each zone. */
function endpointsOf(counts: Record<string, number>): Endpoint[] {
  return Object.entries(counts).flatMap(([zone, count]) =>
    Array.from({ length: count }, (_, i) => ({
      addresses: [`${zone}-${i}`],
      conditions: { ready: true },
      ...(zone && { zone }),
    }))
  );
}

function served(counts: Record<string, number>, shares: Record<string, number>) {
  const found = spread(endpointsOf(counts), new Map(Object.entries(shares)));
  if ("problem" in found) return found.problem;
  const sums: Record<string, number> = {};
  for (const zone of found.zones.values()) sums[zone] = (sums[zone] ?? 0) + 1;
  return sums;
}

Deno.test("spread() lends endpoints to zones with less than their share, and leaves small differences", () => {
  const third = { a: 1 / 3, b: 1 / 3, c: 1 / 3 };
  assertEquals(served({ a: 3, b: 3, c: 3 }, third), { a: 3, b: 3, c: 3 });
  assertEquals(served({ a: 6, b: 3 }, third), { a: 3, b: 3, c: 3 });
  assertEquals(served({ a: 5, b: 4, c: 3 }, third), { a: 4, b: 4, c: 4 });
  assertEquals(served({ a: 4, b: 4 }, { a: 0.52, b: 0.48 }), { a: 4, b: 4 });
  assertEquals(served({ a: 2, b: 8 }, { a: 0.5, b: 0.5 }), { a: 5, b: 5 });
});

Deno.test("spread() says what stands against hints", () => {
  assertEquals(
    served({ a: 1 }, { a: 0.5, b: 0.5 }),
    "Insufficient number of endpoints (1 endpoints, 2 zones)",
  );
  assertEquals(
    served({ a: 3 }, { a: 0.34, b: 0.33, c: 0.33 }),
    { a: 1, b: 1, c: 1 },
  );
  assertEquals(
    served({ a: 2, b: 2 }, { a: 0.7, b: 0.1, c: 0.1, d: 0.1 }),
    "Unable to allocate minimum required endpoints to each zone without exceeding overload threshold (4 endpoints, 4 zones)",
  );
  assertEquals(
    served({ "a": 3, "": 1 }, { a: 0.5, b: 0.5 }),
    "One or more endpoints do not have a zone specified",
  );
});

async function opened(): Promise<World> {
  const world = await openWorld([endpointSliceController({})]);
  for (const [name, zone] of [["node-a", "a"], ["node-b", "b"]]) {
    const labels = { "topology.kubernetes.io/zone": zone };
    await world.create(NODES, { metadata: { name, labels } }, "");
    await world.client.patch({ resource: NODES, name, subresource: "status" }, {
      type: "merge",
      body: {
        status: { conditions: [{ type: "Ready", status: "True" }], allocatable: { cpu: "4" } },
      },
    });
  }
  for (const [i, node] of ["node-a", "node-a", "node-a", "node-b"].entries()) {
    const pod = await world.create(PODS, {
      metadata: { name: `p${i}`, labels: { app: "web" } },
      spec: { containers: [{ name: "c", image: "x" }] },
    });
    await world.podIs(pod, "Running", { node });
  }
  await world.create(SERVICES, {
    metadata: { name: "web", annotations: { "service.kubernetes.io/topology-mode": "Auto" } },
    spec: { selector: { app: "web" }, ports: [{ port: 80 }], trafficDistribution: "PreferClose" },
  });
  await world.settle();
  return world;
}

async function hinted(world: World): Promise<string[]> {
  return (await world.list(ENDPOINT_SLICES)).flatMap((slice) =>
    slice.endpoints.map((e: Endpoint) => `${e.zone}:${e.hints?.forZones?.[0].name ?? "-"}`)
  ).sort();
}

Deno.test("a Service with topology-mode Auto has hints while every node tells its zone, and events say so", async () => {
  await using world = await opened();
  assertEquals(await hinted(world), ["a:a", "a:a", "a:b", "b:b"]);
  await world.client.patch({ resource: NODES, name: "node-b" }, {
    type: "merge",
    body: { metadata: { labels: { "topology.kubernetes.io/zone": null } } },
  });
  await world.settle();
  assertEquals(await hinted(world), ["a:-", "a:-", "a:-", "undefined:-"]);
  await world.client.patch({ resource: NODES, name: "node-b" }, {
    type: "merge",
    body: { metadata: { labels: { "topology.kubernetes.io/zone": "b" } } },
  });
  await world.settle();
  // Without the annotation the Service's own field speaks.
  await world.client.patch({ resource: SERVICES, namespace: "default", name: "web" }, {
    type: "merge",
    body: { metadata: { annotations: { "service.kubernetes.io/topology-mode": null } } },
  });
  await world.settle();
  assertEquals(await hinted(world), ["a:a", "a:a", "a:a", "b:b"]);
  assertEquals(await world.events(), [
    "Normal TopologyAwareHintsEnabled Topology Aware Hints has been enabled, addressType: IPv4",
    "Warning TopologyAwareHintsDisabled Insufficient Node information: allocatable CPU or zone not specified on one or more nodes, addressType: IPv4",
    "Warning TopologyAwareHintsDisabled Topology Aware Hints has been disabled, addressType: IPv4",
  ]);
});
