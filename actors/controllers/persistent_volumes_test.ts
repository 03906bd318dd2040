import { assert, assertEquals } from "@std/assert";
import {
  NODES,
  PERSISTENT_VOLUME_CLAIMS,
  PERSISTENT_VOLUMES,
  PODS,
  STORAGE_CLASSES,
  VOLUME_ATTRIBUTES_CLASSES,
} from "../runtime/mod.ts";
import { LOCAL_PATH, localPathProvisioner, STANDARD } from "./local_path.ts";
import { persistentVolumeBinder, SELECTED_NODE } from "./persistent_volumes.ts";
import {
  attributesClassProtectionController,
  claimProtectionController,
  ephemeralVolumeController,
  volumeProtectionController,
} from "./volume_protection.ts";
import { openWorld, type World } from "./world_test.ts";

const removed: string[] = [];

function opened(): Promise<World> {
  return openWorld([
    persistentVolumeBinder,
    localPathProvisioner({
      localPathRoot: "/data/volumes",
      removeFolder: (path) => Promise.resolve(void removed.push(path)),
    }),
    claimProtectionController,
    volumeProtectionController,
    attributesClassProtectionController,
    ephemeralVolumeController,
  ]);
}

function volume(name: string, storage: string, more: object = {}) {
  return {
    metadata: { name },
    spec: {
      capacity: { storage },
      accessModes: ["ReadWriteOnce"],
      storageClassName: "manual",
      persistentVolumeReclaimPolicy: "Retain",
      hostPath: { path: `/tmp/${name}` },
      ...more,
    },
  };
}

function claim(
  name: string,
  storage: string,
  storageClassName: string | undefined = "manual",
  more: object = {},
) {
  return {
    metadata: { name },
    spec: {
      accessModes: ["ReadWriteOnce"],
      storageClassName,
      resources: { requests: { storage } },
      ...more,
    },
  };
}

const phases = async (world: World) => ({
  volumes: (await world.list(PERSISTENT_VOLUMES)).map((v) =>
    `${v.metadata.name} ${v.status.phase}`
  ),
  claims: (await world.list(PERSISTENT_VOLUME_CLAIMS)).map((c) =>
    `${c.metadata.name} ${c.status.phase}`
  ),
});

Deno.test("the binder gives a claim the smallest volume that fits, whichever came first", async () => {
  await using world = await opened();
  for (const [name, size] of [["large", "10Gi"], ["small", "1Gi"], ["medium", "3Gi"]]) {
    await world.create(PERSISTENT_VOLUMES, volume(name, size), "");
  }
  await world.settle();
  await world.create(PERSISTENT_VOLUME_CLAIMS, claim("data", "2Gi"));
  await world.settle();
  assertEquals(await phases(world), {
    volumes: ["large Available", "medium Bound", "small Available"],
    claims: ["data Bound"],
  });
  const bound = await world.get(PERSISTENT_VOLUME_CLAIMS, "data");
  assertEquals([bound.spec.volumeName, bound.status.capacity.storage], ["medium", "3Gi"]);
  assertEquals(bound.metadata.annotations, {
    "pv.kubernetes.io/bind-completed": "yes",
    "pv.kubernetes.io/bound-by-controller": "yes",
  });
  await world.create(PERSISTENT_VOLUME_CLAIMS, claim("late", "20Gi"));
  await world.settle();
  await world.create(PERSISTENT_VOLUMES, volume("huge", "30Gi"), "");
  await world.settle();
  assertEquals((await world.get(PERSISTENT_VOLUME_CLAIMS, "late")).spec.volumeName, "huge");
});

Deno.test("the binder says which attributes class a claim's volume has", async () => {
  await using world = await opened();
  const gold = { volumeAttributesClassName: "gold" };
  const csi = { ...gold, hostPath: undefined, csi: { driver: "d", volumeHandle: "h" } };
  await world.create(PERSISTENT_VOLUMES, volume("v", "1Gi", csi));
  await world.create(PERSISTENT_VOLUME_CLAIMS, claim("c", "1Gi", "manual", gold));
  await world.settle();
  const { status } = await world.get(PERSISTENT_VOLUME_CLAIMS, "c");
  assertEquals([status.phase, status.currentVolumeAttributesClassName], ["Bound", "gold"]);
});

Deno.test("a class of attributes that was deleted goes when neither claim nor volume names it", async () => {
  await using world = await opened();
  const target = { resource: VOLUME_ATTRIBUTES_CLASSES, name: "gold" };
  const names = async () =>
    (await world.list(VOLUME_ATTRIBUTES_CLASSES)).map((each) => each.metadata.name);
  const said = { driverName: "d", parameters: { iops: "9" } };
  for (const name of ["gold", "free"]) {
    await world.create(VOLUME_ATTRIBUTES_CLASSES, { metadata: { name }, ...said }, "");
  }
  const gold = { volumeAttributesClassName: "gold" };
  const csi = { ...gold, hostPath: undefined, csi: { driver: "d", volumeHandle: "h" } };
  await world.create(PERSISTENT_VOLUMES, volume("v", "1Gi", csi), "");
  await world.create(PERSISTENT_VOLUME_CLAIMS, claim("c", "1Gi", "other", gold));
  await world.settle();
  await world.client.delete({ ...target, name: "free" });
  await world.client.delete(target);
  await world.settle();
  assertEquals(await names(), ["gold"]);
  await world.client.delete({ resource: PERSISTENT_VOLUMES, name: "v" });
  await world.settle();
  assertEquals(await names(), ["gold"]);
  await world.client.delete({
    resource: PERSISTENT_VOLUME_CLAIMS,
    namespace: "default",
    name: "c",
  });
  await world.settle();
  assertEquals(await names(), []);
});

Deno.test("the binder releases a volume whose claim is gone, and calls a claim lost without its volume", async () => {
  await using world = await opened();
  await world.create(PERSISTENT_VOLUMES, volume("pv", "1Gi"), "");
  await world.create(PERSISTENT_VOLUME_CLAIMS, claim("data", "1Gi"));
  await world.settle();
  await world.client.delete({
    resource: PERSISTENT_VOLUME_CLAIMS,
    namespace: "default",
    name: "data",
  });
  await world.settle();
  assertEquals(await phases(world), { volumes: ["pv Released"], claims: [] });
  await world.create(PERSISTENT_VOLUMES, volume("other", "1Gi"), "");
  await world.create(PERSISTENT_VOLUME_CLAIMS, claim("more", "1Gi"));
  await world.settle();
  const bound = await world.get(PERSISTENT_VOLUMES, "other", "");
  await world.client.patch({ resource: PERSISTENT_VOLUMES, name: "other" }, {
    type: "merge",
    body: { metadata: { finalizers: null } },
  });
  await world.client.delete({ resource: PERSISTENT_VOLUMES, name: "other" }, {
    preconditions: { uid: bound.metadata.uid },
  });
  await world.settle();
  assertEquals((await phases(world)).claims, ["more Lost"]);
});

Deno.test("the local-path provisioner makes a volume when a consumer has its node, and takes it away", async () => {
  await using world = await opened();
  await world.create(NODES, {
    metadata: { name: "node-1", labels: { "kubernetes.io/hostname": "node-1" } },
  }, "");
  await world.settle();
  assertEquals((await world.get(STORAGE_CLASSES, STANDARD, "")).provisioner, LOCAL_PATH);
  await world.create(PERSISTENT_VOLUME_CLAIMS, claim("data", "1Gi", STANDARD));
  await world.settle();
  assertEquals((await phases(world)).claims, ["data Pending"]);
  assert((await world.events()).some((line) => line.includes("WaitForFirstConsumer")));
  await world.client.patch({
    resource: PERSISTENT_VOLUME_CLAIMS,
    namespace: "default",
    name: "data",
  }, {
    type: "merge",
    body: { metadata: { annotations: { [SELECTED_NODE]: "node-1" } } },
  });
  await world.settle();
  const [made] = await world.list(PERSISTENT_VOLUMES);
  assertEquals(made.status.phase, "Bound");
  assert(made.spec.hostPath.path.startsWith("/data/volumes/pvc-"));
  await world.client.delete({
    resource: PERSISTENT_VOLUME_CLAIMS,
    namespace: "default",
    name: "data",
  });
  await world.settle();
  assertEquals(await phases(world), { volumes: [], claims: [] });
  assertEquals(removed, [made.spec.hostPath.path]);
});

Deno.test("a claim in use stays until its pod ends; a pod's ephemeral volume gets its claim", async () => {
  await using world = await opened();
  const volumes = [
    { name: "data", persistentVolumeClaim: { claimName: "data" } },
    { name: "scratch", ephemeral: { volumeClaimTemplate: { spec: claim("", "1Gi").spec } } },
  ];
  await world.create(PERSISTENT_VOLUME_CLAIMS, claim("data", "1Gi"));
  const pod = await world.create(PODS, {
    metadata: { name: "p" },
    spec: { volumes, containers: [{ name: "c", image: "x" }] },
  });
  await world.podIs(pod, "Running");
  await world.settle();
  const own = await world.get(PERSISTENT_VOLUME_CLAIMS, "p-scratch");
  assertEquals(own.metadata.ownerReferences?.[0].uid, pod.metadata.uid);
  await world.client.delete({
    resource: PERSISTENT_VOLUME_CLAIMS,
    namespace: "default",
    name: "data",
  });
  await world.settle();
  assert((await world.get(PERSISTENT_VOLUME_CLAIMS, "data")).metadata.deletionTimestamp);
  await world.podIs(await world.get(PODS, "p"), "Succeeded");
  await world.settle();
  assertEquals((await world.list(PERSISTENT_VOLUME_CLAIMS)).map((c) => c.metadata.name), [
    "p-scratch",
  ]);
});
