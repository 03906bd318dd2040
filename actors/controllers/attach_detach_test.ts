import { assertEquals } from "@std/assert";
import {
  CSI_DRIVERS,
  NODES,
  PERSISTENT_VOLUME_CLAIMS,
  PERSISTENT_VOLUMES,
  PODS,
  VOLUME_ATTACHMENTS,
} from "../runtime/mod.ts";
import { attachDetachController, attachmentName, UNMOUNT_MS_MAX } from "./attach_detach.ts";
import { persistentVolumeBinder } from "./persistent_volumes.ts";
import { openWorld, type World } from "./world_test.ts";

const DRIVER = "disk.example.com";
const UNIQUE = `kubernetes.io/csi/${DRIVER}^handle-1`;

async function opened(accessMode = "ReadWriteOnce"): Promise<World> {
  const world = await openWorld([persistentVolumeBinder, attachDetachController({})]);
  for (const name of ["node-1", "node-2"]) {
    const annotations = { "volumes.kubernetes.io/controller-managed-attach-detach": "true" };
    await world.create(NODES, { metadata: { name, annotations } }, "");
    await status(world, name, { conditions: [{ type: "Ready", status: "True" }] });
  }
  await world.create(PERSISTENT_VOLUMES, {
    metadata: { name: "disk" },
    spec: {
      capacity: { storage: "1Gi" },
      accessModes: [accessMode],
      storageClassName: "manual",
      csi: { driver: DRIVER, volumeHandle: "handle-1" },
    },
  }, "");
  await world.create(PERSISTENT_VOLUME_CLAIMS, {
    metadata: { name: "data" },
    spec: {
      accessModes: [accessMode],
      storageClassName: "manual",
      resources: { requests: { storage: "1Gi" } },
    },
  });
  await world.settle();
  return world;
}

async function status(world: World, name: string, body: Record<string, never> | object) {
  await world.client.patch({ resource: NODES, name, subresource: "status" }, {
    type: "merge",
    body: { status: body as never },
  });
}

async function run(world: World, name: string, node: string) {
  const pod = await world.create(PODS, {
    metadata: { name },
    spec: {
      containers: [{ name: "c", image: "x" }],
      volumes: [{ name: "v", persistentVolumeClaim: { claimName: "data" } }],
    },
  });
  await world.podIs(pod, "Running", { node });
  await world.settle();
}

async function gone(world: World, name: string) {
  const target = { resource: PODS, namespace: "default", name };
  await world.client.delete(target, { gracePeriodSeconds: 0 });
  await world.settle();
}

const attachments = async (world: World) =>
  (await world.list(VOLUME_ATTACHMENTS)).map(({ metadata, spec }) =>
    `${metadata.name} ${spec.nodeName}`
  );
const on = (node: string) => `${attachmentName("handle-1", DRIVER, node)} ${node}`;

/** What a driver's attacher does. */
async function attacherSays(world: World, node: string, body: object) {
  const name = attachmentName("handle-1", DRIVER, node);
  await world.client.patch({ resource: VOLUME_ATTACHMENTS, name, subresource: "status" }, {
    type: "merge",
    body: { status: body as never },
  });
  await world.settle();
}

const attached = async (world: World, name: string) =>
  (await world.get(NODES, name, "")).status?.volumesAttached;

Deno.test("attach: a pod's CSI volume gets an attachment, the node and the pod hear of it, and it goes with the pod", async () => {
  await using world = await opened();
  await run(world, "p", "node-1");
  assertEquals(await attachments(world), [on("node-1")]);
  const [{ spec }] = await world.list(VOLUME_ATTACHMENTS);
  assertEquals(spec, {
    attacher: DRIVER,
    nodeName: "node-1",
    source: { persistentVolumeName: "disk" },
  });
  assertEquals(await attached(world, "node-1"), undefined);
  await attacherSays(world, "node-1", { attached: false, attachError: { message: "no room" } });
  await attacherSays(world, "node-1", { attached: true, attachError: null });
  assertEquals(await attached(world, "node-1"), [{ name: UNIQUE, devicePath: "" }]);
  assertEquals(await world.events(), [
    'Normal SuccessfulAttachVolume AttachVolume.Attach succeeded for volume "disk" ',
    'Warning FailedAttachVolume AttachVolume.Attach failed for volume "disk" : no room',
  ]);
  await gone(world, "p");
  assertEquals([await attachments(world), await attached(world, "node-1")], [[], undefined]);
});

Deno.test("attach: a volume of one node waits for the other to let go; a shared one does not", async () => {
  await using world = await opened();
  await run(world, "p", "node-1");
  await attacherSays(world, "node-1", { attached: true });
  await run(world, "q", "node-2");
  assertEquals(await attachments(world), [on("node-1")]);
  const refusals = (await world.events()).filter((line) => line.includes("FailedAttachVolume"));
  assertEquals(refusals, [
    'Warning FailedAttachVolume Multi-Attach error for volume "disk" Volume is already used by pod(s) p',
  ]);
  await gone(world, "p");
  await world.advance(15_000);
  assertEquals(await attachments(world), [on("node-2")]);

  await using shared = await opened("ReadWriteMany");
  await run(shared, "p", "node-1");
  await run(shared, "q", "node-2");
  assertEquals((await attachments(shared)).length, 2);
});

Deno.test("detach: a mounted volume stays until the node lets go, or is unhealthy for six minutes, or out of service", async () => {
  for (const end of ["unmounted", "silent", "out of service"]) {
    await using world = await opened();
    await run(world, "p", "node-1");
    await attacherSays(world, "node-1", { attached: true });
    await status(world, "node-1", { volumesInUse: [UNIQUE] });
    await gone(world, "p");
    await world.advance(2 * UNMOUNT_MS_MAX);
    assertEquals(await attachments(world), [on("node-1")], end);
    if (end === "unmounted") await status(world, "node-1", { volumesInUse: null });
    if (end === "silent") {
      await status(world, "node-1", { conditions: [{ type: "Ready", status: "Unknown" }] });
    }
    if (end === "out of service") {
      const taint = { key: "node.kubernetes.io/out-of-service", effect: "NoExecute" };
      await world.client.patch({ resource: NODES, name: "node-1" }, {
        type: "merge",
        body: { spec: { taints: [taint] } },
      });
    }
    await world.settle();
    assertEquals(await attachments(world), [], end);
  }
});

Deno.test("attach: no attachment for drivers that need none, for unmanaged nodes, or for what others attached", async () => {
  await using world = await opened();
  await world.create(CSI_DRIVERS, {
    metadata: { name: DRIVER },
    spec: { attachRequired: false },
  }, "");
  await world.create(VOLUME_ATTACHMENTS, {
    metadata: { name: "by-hand" },
    spec: { attacher: DRIVER, nodeName: "node-2", source: { persistentVolumeName: "disk" } },
  }, "");
  await run(world, "p", "node-1");
  assertEquals(await attachments(world), ["by-hand node-2"]);
});
