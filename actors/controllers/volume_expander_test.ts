import { assertEquals } from "@std/assert";
import { PERSISTENT_VOLUME_CLAIMS, PERSISTENT_VOLUMES, STORAGE_CLASSES } from "../runtime/mod.ts";
import { LOCAL_PATH } from "./local_path.ts";
import { persistentVolumeBinder } from "./persistent_volumes.ts";
import { volumeExpander } from "./volume_expander.ts";
import { openWorld, type World } from "./world_test.ts";

async function opened(provisionedBy: string): Promise<World> {
  const world = await openWorld([persistentVolumeBinder, volumeExpander]);
  await world.create(STORAGE_CLASSES, {
    metadata: { name: "grows" },
    provisioner: provisionedBy,
    allowVolumeExpansion: true,
  }, "");
  await world.create(PERSISTENT_VOLUMES, {
    metadata: { name: "v", annotations: { "pv.kubernetes.io/provisioned-by": provisionedBy } },
    spec: {
      capacity: { storage: "1Gi" },
      accessModes: ["ReadWriteOnce"],
      storageClassName: "grows",
      csi: { driver: "disk.example.com", volumeHandle: "h" },
    },
  }, "");
  await world.create(PERSISTENT_VOLUME_CLAIMS, {
    metadata: { name: "data" },
    spec: {
      accessModes: ["ReadWriteOnce"],
      storageClassName: "grows",
      resources: { requests: { storage: "1Gi" } },
    },
  });
  await world.settle();
  for (const storage of ["2Gi", "3Gi"]) {
    const target = { resource: PERSISTENT_VOLUME_CLAIMS, namespace: "default", name: "data" };
    const body = { spec: { resources: { requests: { storage } } } };
    await world.client.patch(target, { type: "merge", body });
    await world.settle();
  }
  return world;
}

async function sizes(world: World) {
  const claim = await world.get(PERSISTENT_VOLUME_CLAIMS, "data");
  const volume = await world.get(PERSISTENT_VOLUMES, "v", "");
  return [volume.spec.capacity.storage, claim.status.capacity.storage];
}

Deno.test("expansion: a local-path volume has grown once it says so", async () => {
  await using world = await opened(LOCAL_PATH);
  assertEquals(await sizes(world), ["3Gi", "3Gi"]);
  assertEquals(
    (await world.events()).at(-1),
    "Normal VolumeResizeSuccessful Resize volume succeeded",
  );
});

Deno.test("expansion: others' volumes are grown by others, and the claim says who is awaited", async () => {
  await using world = await opened("disk.example.com");
  assertEquals(await sizes(world), ["1Gi", "1Gi"]);
  assertEquals(await world.events(), [
    "Normal ExternalExpanding waiting for an external controller to expand this PVC",
  ]);
});
