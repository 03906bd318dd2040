import { assertEquals } from "@std/assert";
import { formatTime } from "../../api/machinery/time.ts";
import { PODS, RESOURCE_CLAIMS, RESOURCE_SLICES } from "../runtime/mod.ts";
import { deviceTaintEvictionController, toleratedUntil } from "./device_taint_eviction.ts";
import { conditionOf } from "./objects.ts";
import { openWorld, type World } from "./world_test.ts";

const DRIVER = "gpu.example.com";

/** A pod on a node whose claim was given `gpu-0`, which its driver offers. */
async function opened(tolerations: object[] = []): Promise<World> {
  const world = await openWorld([deviceTaintEvictionController({})]);
  const resourceClaims = [{ name: "gpu", resourceClaimName: "gpu" }];
  const pod = await world.create(PODS, {
    metadata: { name: "p" },
    spec: { containers: [{ name: "c", image: "x" }], resourceClaims },
  });
  await world.podIs(pod, "Running");
  const request = { name: "r", exactly: { deviceClassName: "gpu" } };
  await world.create(RESOURCE_CLAIMS, {
    metadata: { name: "gpu" },
    spec: { devices: { requests: [request] } },
  });
  const device = { request: "r", driver: DRIVER, pool: "node-1", device: "gpu-0", tolerations };
  const { name, uid } = pod.metadata;
  await world.client.patch({
    resource: RESOURCE_CLAIMS,
    namespace: "default",
    name: "gpu",
    subresource: "status",
  }, {
    type: "merge",
    body: {
      status: {
        allocation: { devices: { results: [device] } },
        reservedFor: [{ resource: "pods", name, uid }],
      } as never,
    },
  });
  await slice(world, 1);
  await world.settle();
  return world;
}

async function slice(world: World, generation: number, taints: object[] = []): Promise<void> {
  await world.create(RESOURCE_SLICES, {
    metadata: { name: `s-${generation}` },
    spec: {
      driver: DRIVER,
      nodeName: "node-1",
      pool: { name: "node-1", generation, resourceSliceCount: 1 },
      devices: [{ name: "gpu-0", taints }],
    },
  }, "");
}

const broken = (world: World) => ({
  key: "broken",
  value: "",
  effect: "NoExecute",
  timeAdded: formatTime(world.clock.now()),
});

Deno.test("a pod whose device is tainted goes, and is told why; older words of the driver do not count", async () => {
  await using world = await opened();
  assertEquals((await world.get(PODS, "p")).metadata.deletionTimestamp, undefined);
  await slice(world, 2, [broken(world)]);
  await world.settle();
  const pod = await world.get(PODS, "p");
  assertEquals(pod.metadata.deletionTimestamp !== undefined, true);
  const { reason, message } = conditionOf(pod.status, "DisruptionTarget")!;
  assertEquals([reason, message], [
    "DeletionByDeviceTaintManager",
    "Device Taint manager: deleting due to NoExecute taint",
  ]);
  assertEquals(await world.events(), ["Normal DeviceTaintManagerEviction Marking for deletion"]);
});

Deno.test("a pod whose claim tolerates a device's taint for a while goes then, unless the taint goes first", async () => {
  const tolerations = [{
    key: "broken",
    operator: "Exists",
    effect: "NoExecute",
    tolerationSeconds: 60,
  }];
  for (const mended of [false, true]) {
    await using world = await opened(tolerations);
    await slice(world, 2, [broken(world)]);
    await world.settle(30_000);
    assertEquals((await world.get(PODS, "p")).metadata.deletionTimestamp, undefined);
    if (mended) await slice(world, 3);
    await world.settle(60_000);
    assertEquals((await world.get(PODS, "p")).metadata.deletionTimestamp === undefined, mended);
    const [event] = await world.events();
    assertEquals(
      event,
      `Normal DeviceTaintManagerEviction ${
        mended ? "Cancelling deletion" : "Marking for deletion"
      }`,
    );
  }
});

Deno.test("toleratedUntil() takes the shortest of what tolerates, and only what is said of NoExecute", () => {
  const taint = {
    key: "k",
    value: "v",
    effect: "NoExecute",
    timeAdded: "1970-01-01T00:00:10Z",
  };
  const effect = "NoExecute";
  assertEquals(toleratedUntil(taint, []), 10_000);
  assertEquals(toleratedUntil(taint, [{ operator: "Exists" }]), 10_000);
  assertEquals(toleratedUntil(taint, [{ operator: "Exists", effect }]), undefined);
  assertEquals(toleratedUntil(taint, [{ key: "k", value: "other", effect }]), 10_000);
  assertEquals(
    toleratedUntil(taint, [
      { key: "k", value: "v", effect, tolerationSeconds: 9 },
      { operator: "Exists", effect, tolerationSeconds: 4 },
    ]),
    14_000,
  );
});
