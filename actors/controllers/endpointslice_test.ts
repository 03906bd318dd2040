import { assertEquals } from "@std/assert";
import type { KubeObject } from "../../api/machinery/types.ts";
import { DEPLOYMENTS, ENDPOINT_SLICES, ENDPOINTS, PODS, SERVICES } from "../runtime/mod.ts";
import { deploymentController } from "./deployment.ts";
import { endpointsController } from "./endpoints.ts";
import { endpointSliceController } from "./endpointslice.ts";
import { endpointSliceMirroringController } from "./endpointslice_mirroring.ts";
import { replicaSetController } from "./replicaset.ts";
import { groupKey, planSlices } from "./slice_plan.ts";
import { openWorld, type World } from "./world_test.ts";

const ROWS = [endpointSliceController({}), endpointsController, endpointSliceMirroringController];

async function service(world: World, spec: object = {}) {
  return await world.create(SERVICES, {
    metadata: { name: "web", labels: { team: "a" } },
    spec: { selector: { app: "web" }, ports: [{ port: 80, targetPort: "http" }], ...spec },
  });
}

async function pod(world: World, name: string, port = 8080) {
  return await world.create(PODS, {
    metadata: { name, labels: { app: "web" } },
    spec: {
      containers: [{ name: "c", image: "nginx", ports: [{ name: "http", containerPort: port }] }],
    },
  });
}

Deno.test("a service without pods has one empty slice and empty endpoints", async () => {
  await using world = await openWorld(ROWS);
  await service(world);
  await world.settle();
  const [slice] = await world.list(ENDPOINT_SLICES, "default");
  assertEquals(slice.metadata.labels, {
    team: "a",
    "kubernetes.io/service-name": "web",
    "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io",
  });
  assertEquals(slice.metadata.ownerReferences![0].kind, "Service");
  assertEquals(slice.endpoints ?? [], []);
  const endpoints = await world.get(ENDPOINTS, "web");
  assertEquals(endpoints.subsets, undefined);
  assertEquals(endpoints.metadata.labels, {
    team: "a",
    "endpoints.kubernetes.io/managed-by": "endpoint-controller",
  });
});

Deno.test("pods join when they are ready, and say when they are on their way out", async () => {
  await using world = await openWorld(ROWS);
  await service(world);
  const first = await pod(world, "a");
  await world.podIs(first, "Running", { ready: false });
  await world.settle();
  const conditions = async () =>
    (await world.list(ENDPOINT_SLICES, "default")).flatMap((slice) =>
      (slice.endpoints ?? []).map((endpoint: KubeObject) => endpoint.conditions)
    );
  assertEquals(await conditions(), [{ ready: false, serving: false, terminating: false }]);
  let endpoints = await world.get(ENDPOINTS, "web");
  assertEquals(endpoints.subsets[0].notReadyAddresses[0].ip, "10.244.0.9");
  await world.podIs(first, "Running");
  await world.settle();
  assertEquals(await conditions(), [{ ready: true, serving: true, terminating: false }]);
  endpoints = await world.get(ENDPOINTS, "web");
  assertEquals(endpoints.subsets.length, 1);
  assertEquals(endpoints.subsets[0].ports, [{ port: 8080, protocol: "TCP" }]);
  assertEquals(endpoints.subsets[0].addresses[0].targetRef.name, "a");
  const [slice] = await world.list(ENDPOINT_SLICES, "default");
  assertEquals(slice.ports, [{ name: "", port: 8080, protocol: "TCP" }]);
  assertEquals(slice.endpoints[0].nodeName, "node-1");
  await world.client.delete({ resource: PODS, namespace: "default", name: "a" });
  await world.settle();
  assertEquals(await conditions(), [{ ready: false, serving: true, terminating: true }]);
  await world.finishDeletions();
  await world.settle();
  assertEquals(await conditions(), []);
  assertEquals((await world.list(ENDPOINT_SLICES, "default")).length, 1);
  assertEquals(world.log, []);
});

Deno.test("pods whose named port differs are in slices of their own", async () => {
  await using world = await openWorld(ROWS);
  await service(world);
  await world.podIs(await pod(world, "a", 8080), "Running");
  await world.podIs(await pod(world, "b", 9090), "Running");
  await world.settle();
  const slices = await world.list(ENDPOINT_SLICES, "default");
  assertEquals(slices.map((slice) => slice.ports[0].port).sort(), [8080, 9090]);
});

for (const max of [100, 40]) {
  Deno.test(`slices hold ${max} endpoints at most`, async () => {
    const [, ...others] = ROWS;
    const settings = { maxEndpointsPerSlice: max };
    await using world = await openWorld([
      endpointSliceController(max === 100 ? {} : { settings }),
      ...others,
      deploymentController,
      replicaSetController,
    ]);
    await service(world);
    await world.create(DEPLOYMENTS, {
      metadata: { name: "web" },
      spec: {
        replicas: 150,
        selector: { matchLabels: { app: "web" } },
        template: {
          metadata: { labels: { app: "web" } },
          spec: {
            containers: [{
              name: "c",
              image: "nginx",
              ports: [{ name: "http", containerPort: 1 }],
            }],
          },
        },
      },
    });
    await world.settle();
    await world.runPods();
    await world.settle();
    const sizes = (await world.list(ENDPOINT_SLICES, "default")).map((s) => s.endpoints.length);
    assertEquals(sizes.reduce((a: number, b: number) => a + b, 0), 150);
    assertEquals(Math.max(...sizes), max);
  });
}

Deno.test("endpoints that somebody else made are mirrored while they are there", async () => {
  await using world = await openWorld(ROWS);
  await service(world, { selector: undefined });
  await world.create(ENDPOINTS, {
    metadata: { name: "web" },
    subsets: [{ addresses: [{ ip: "192.0.2.7" }], ports: [{ port: 5432 }] }],
  });
  await world.settle();
  const [slice] = await world.list(ENDPOINT_SLICES, "default");
  assertEquals(
    slice.metadata.labels!["endpointslice.kubernetes.io/managed-by"],
    "endpointslicemirroring-controller.k8s.io",
  );
  assertEquals(slice.endpoints, [{ addresses: ["192.0.2.7"], conditions: { ready: true } }]);
  await world.client.delete({ resource: ENDPOINTS, namespace: "default", name: "web" });
  await world.settle();
  assertEquals(await world.list(ENDPOINT_SLICES, "default"), []);
});

Deno.test("planSlices() writes as few slices as it can", () => {
  const ports = [{ name: "", port: 1, protocol: "TCP" }];
  const endpoint = (n: number) => ({ addresses: [`10.0.0.${n}`], conditions: { ready: true } });
  const slice = (name: string, endpoints: object[]) =>
    ({ metadata: { name }, addressType: "IPv4", ports, endpoints }) as unknown as KubeObject;
  const full = slice("full", Array.from({ length: 100 }, (_, i) => endpoint(i)));
  const half = slice("half", Array.from({ length: 50 }, (_, i) => endpoint(100 + i)));
  const endpoints = Array.from({ length: 151 }, (_, i) => endpoint(i));
  const group = { addressType: "IPv4" as const, ports, endpoints };
  const plan = planSlices([group], [full, half], { outdated: () => false, endpointsMax: 100 });
  assertEquals(plan.update.map(({ slice, endpoints }) => [slice.metadata.name, endpoints.length]), [
    [
      "half",
      51,
    ],
  ]);
  assertEquals([plan.create.length, plan.remove.length], [0, 0]);
  const fewer = planSlices(
    [{ ...group, endpoints: endpoints.slice(0, 100) }],
    [full, half],
    { outdated: () => false, endpointsMax: 100 },
  );
  assertEquals([fewer.update.length, fewer.remove.map((s) => s.metadata.name)], [0, ["half"]]);
  assertEquals(groupKey("IPv4", ports) === groupKey("IPv6", ports), false);
});

Deno.test("slices of a former service of the same name, orphaned by its deletion, are taken away", async () => {
  await using world = await openWorld(ROWS);
  await world.create(ENDPOINT_SLICES, {
    metadata: {
      name: "web-old",
      labels: {
        "kubernetes.io/service-name": "web",
        "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io",
      },
    },
    addressType: "IPv4",
    endpoints: [{ addresses: ["10.244.0.7"], conditions: { ready: true } }],
  });
  await world.settle();
  assertEquals((await world.list(ENDPOINT_SLICES, "default")).length, 1);
  await service(world);
  await world.settle();
  const slices = await world.list(ENDPOINT_SLICES, "default");
  assertEquals(slices.map((slice) => slice.endpoints ?? []), [[]]);
});

Deno.test("mirrors hold a thousand addresses of a subset in one slice, and say what they leave out", async () => {
  await using world = await openWorld([endpointSliceMirroringController]);
  await world.create(SERVICES, { metadata: { name: "big" }, spec: { ports: [{ port: 80 }] } });
  const addresses = Array.from({ length: 1002 }, (_, i) => ({ ip: `10.0.${i >> 8}.${i & 255}` }));
  const annotations: Record<string, string> = { mine: "1" };
  await world.create(ENDPOINTS, {
    metadata: { name: "big", annotations },
    subsets: [{ addresses, ports: [{ port: 80 }] }],
  });
  await world.settle();
  const [slice, ...others] = await world.list(ENDPOINT_SLICES);
  assertEquals([slice.endpoints.length, others.length], [1000, 0]);
  assertEquals(await world.events(), [
    "Warning TooManyAddressesToMirror A max of 1000 addresses can be mirrored to EndpointSlices per Endpoints subset. 2 addresses were skipped",
  ]);
  const target = { resource: ENDPOINTS, namespace: "default", name: "big" };
  await world.client.patch(target, {
    type: "merge",
    body: { metadata: { annotations: { mine: "2" } } },
  });
  await world.settle();
  assertEquals((await world.list(ENDPOINT_SLICES))[0].metadata.annotations, { mine: "2" });
});
