import { assert, assertEquals } from "@std/assert";
import type { KubeObject } from "../../api/machinery/types.ts";
import {
  CSI_NODES,
  NODES,
  PERSISTENT_VOLUME_CLAIMS,
  PERSISTENT_VOLUMES,
  SECRETS,
  STORAGE_CLASSES,
  VOLUME_ATTACHMENTS,
} from "../runtime/mod.ts";
import { csiAttacher, finalizerOf } from "./csi_attacher.ts";
import { csiProvisioner, secretReference } from "./csi_provisioner.ts";
import { csiResizer } from "./csi_resizer.ts";
import type { Obj } from "./objects.ts";
import { persistentVolumeBinder } from "./persistent_volumes.ts";
import { DRIVER_AGAIN_MS, type StorageDriver, type VolumeWish } from "./storage_drivers.ts";
import { claimProtectionController, volumeProtectionController } from "./volume_protection.ts";
import { openWorld, type World } from "./world_test.ts";

const DRIVER = "disk.example.com";

/** A driver that does what it is asked, and remembers that. */
class Driver implements StorageDriver {
  readonly name = DRIVER;
  readonly calls: string[] = [];
  readonly wishes: VolumeWish[] = [];
  abilities = new Set(["create", "publish", "expand"]);
  failure: string | undefined;
  onNode = true;
  attachedWith: object | undefined;
  can(what: string) {
    return Promise.resolve(this.abilities.has(what));
  }
  #did(what: string) {
    this.calls.push(what);
    if (this.failure) throw new Error(this.failure);
  }
  async create(wish: VolumeWish) {
    this.#did(`create ${wish.bytes}`);
    this.wishes.push(wish);
    return await Promise.resolve({
      handle: `h-${wish.name}`,
      bytes: 2 ** 31,
      context: { a: "b" },
      places: wish.places?.slice(0, 1) ?? [],
    });
  }
  async delete(handle: string) {
    this.#did(`delete ${handle}`);
    return await Promise.resolve();
  }
  async attach(volume: { handle: string; secrets: object }, node: string) {
    this.#did(`attach ${volume.handle} ${node}`);
    this.attachedWith = volume.secrets;
    return await Promise.resolve({ device: "/dev/x" });
  }
  async detach(handle: string, node: string) {
    this.#did(`detach ${handle} ${node}`);
    return await Promise.resolve();
  }
  async expand({ handle }: { handle: string }, bytes: number) {
    this.#did(`expand ${handle} ${bytes}`);
    return await Promise.resolve({ bytes, onNode: this.onNode });
  }
}

async function opened(parameters: Record<string, string> = {}, spec: object = {}) {
  const driver = new Driver();
  let there: StorageDriver | "unknown" = driver;
  const drivers = {
    find: (name: string) => Promise.resolve(name === DRIVER ? there : undefined),
  };
  const world = await openWorld([
    persistentVolumeBinder,
    claimProtectionController,
    volumeProtectionController,
    csiProvisioner(drivers),
    csiAttacher(drivers),
    csiResizer(drivers),
  ]);
  await world.create(NODES, { metadata: { name: "n1", labels: { rack: "r1" } } }, "");
  await world.create(NODES, { metadata: { name: "n2", labels: { rack: "r2" } } }, "");
  for (const name of ["n1", "n2"]) {
    await world.create(CSI_NODES, {
      metadata: { name },
      spec: { drivers: [{ name: DRIVER, nodeID: `id-${name}`, topologyKeys: ["rack"] }] },
    }, "");
  }
  await world.create(STORAGE_CLASSES, {
    metadata: { name: "csi" },
    provisioner: DRIVER,
    allowVolumeExpansion: true,
    parameters,
    ...spec,
  }, "");
  return { world, driver, away: (is: boolean) => there = is ? "unknown" : driver };
}

async function claim(world: World, name = "data", spec: object = {}): Promise<Obj> {
  return await world.create(PERSISTENT_VOLUME_CLAIMS, {
    metadata: { name },
    spec: {
      accessModes: ["ReadWriteOnce"],
      storageClassName: "csi",
      resources: { requests: { storage: "1Gi" } },
      ...spec,
    },
  });
}

const eventsOf = async (world: World, reason: string) =>
  (await world.events()).filter((text) => text.includes(` ${reason} `));

Deno.test("csi: a claim gets a volume of its driver, with what the class says of it", async () => {
  const { world, driver } = await opened({
    type: "fast",
    "csi.storage.k8s.io/fstype": "xfs",
    "csi.storage.k8s.io/node-stage-secret-name": "${pvc.name}-key",
    "csi.storage.k8s.io/node-stage-secret-namespace": "${pvc.namespace}",
  }, { mountOptions: ["noatime"] });
  await using _ = world;
  driver.abilities.add("places");
  const { metadata: { uid } } = await claim(world);
  await world.settle();
  const [wish] = driver.wishes;
  assertEquals(wish.parameters, { type: "fast" });
  assertEquals([wish.name, wish.bytes, wish.fsType], [`pvc-${uid}`, 2 ** 30, "xfs"]);
  assertEquals(wish.places, [{ rack: "r1" }, { rack: "r2" }]);
  const volume = await world.get(PERSISTENT_VOLUMES, `pvc-${uid}`, "");
  assertEquals(volume.spec.csi, {
    driver: DRIVER,
    volumeHandle: `h-pvc-${uid}`,
    volumeAttributes: { a: "b" },
    fsType: "xfs",
    nodeStageSecretRef: { name: "data-key", namespace: "default" },
  });
  assertEquals([volume.spec.capacity.storage, volume.spec.mountOptions], ["2Gi", ["noatime"]]);
  assertEquals(volume.spec.nodeAffinity.required.nodeSelectorTerms[0].matchExpressions, [
    { key: "rack", operator: "In", values: ["r1"] },
  ]);
  assertEquals((await world.get(PERSISTENT_VOLUME_CLAIMS, "data")).status.phase, "Bound");
  assertEquals(await eventsOf(world, "ProvisioningSucceeded"), [
    `Normal ProvisioningSucceeded Successfully provisioned volume pvc-${uid}`,
  ]);
  // Released, it goes; the driver first.
  await world.client.delete({
    resource: PERSISTENT_VOLUME_CLAIMS,
    namespace: "default",
    name: "data",
  });
  await world.settle();
  assertEquals(driver.calls.at(-1), `delete h-pvc-${uid}`);
  assertEquals(await world.list(PERSISTENT_VOLUMES, ""), []);
});

Deno.test("csi: a chosen node's place comes first; before that nothing is made", async () => {
  const { world, driver } = await opened({}, { volumeBindingMode: "WaitForFirstConsumer" });
  await using _ = world;
  driver.abilities.add("places");
  await claim(world);
  await world.settle();
  assertEquals(driver.calls, []);
  const target = { resource: PERSISTENT_VOLUME_CLAIMS, namespace: "default", name: "data" };
  const annotations = { "volume.kubernetes.io/selected-node": "n2" };
  await world.client.patch(target, { type: "merge", body: { metadata: { annotations } } });
  await world.settle();
  assertEquals(driver.wishes[0].places, [{ rack: "r2" }, { rack: "r1" }]);
});

Deno.test("csi: a refusal is told in the driver's words, and tried again ever later", async () => {
  const { world, driver } = await opened();
  await using _ = world;
  driver.failure = "rpc error: code = ResourceExhausted desc = full";
  await claim(world);
  await world.settle(0);
  assertEquals(await eventsOf(world, "ProvisioningFailed"), [
    `Warning ProvisioningFailed failed to provision volume with StorageClass "csi": ${driver.failure}`,
  ]);
  driver.calls.length = 0;
  await world.settle(10_000);
  assert(driver.calls.length >= 2 && driver.calls.length <= 5, String(driver.calls));
  driver.failure = undefined;
  await world.settle(30_000);
  assertEquals((await world.get(PERSISTENT_VOLUME_CLAIMS, "data")).status.phase, "Bound");
});

Deno.test("csi: a driver that is not there yet is waited for", async () => {
  const { world, driver, away } = await opened();
  await using _ = world;
  away(true);
  await claim(world);
  await world.settle();
  assertEquals(driver.calls, []);
  away(false);
  await world.settle(DRIVER_AGAIN_MS);
  assertEquals(driver.calls, [`create ${2 ** 30}`]);
});

Deno.test("csi: a copy begins with another claim's volume", async () => {
  const { world, driver } = await opened();
  await using _ = world;
  const { metadata: { uid } } = await claim(world);
  await world.settle();
  const dataSource = { kind: "PersistentVolumeClaim", name: "data" };
  await claim(world, "copy", { dataSource });
  await world.settle();
  assertEquals(driver.wishes[1].from, { volume: `h-pvc-${uid}` });
});

async function attachment(world: World, volume: string): Promise<Obj> {
  return await world.create(VOLUME_ATTACHMENTS, {
    metadata: { name: "att" },
    spec: { attacher: DRIVER, nodeName: "n1", source: { persistentVolumeName: volume } },
  }, "");
}

Deno.test("csi: a volume is attached with its secrets, kept until it is detached", async () => {
  const { world, driver } = await opened({
    "csi.storage.k8s.io/controller-publish-secret-name": "key",
    "csi.storage.k8s.io/controller-publish-secret-namespace": "default",
  });
  await using _ = world;
  await world.create(SECRETS, { metadata: { name: "key" }, data: { pw: btoa("x") } });
  const { metadata: { uid } } = await claim(world);
  await world.settle();
  await attachment(world, `pvc-${uid}`);
  await world.settle();
  const made = await world.get(VOLUME_ATTACHMENTS, "att", "");
  assertEquals(made.status, { attached: true, attachmentMetadata: { device: "/dev/x" } });
  assertEquals(made.metadata.finalizers, ["external-attacher/disk-example-com"]);
  assertEquals(driver.calls.at(-1), `attach h-pvc-${uid} id-n1`);
  assertEquals(driver.attachedWith, { pw: "x" });
  driver.failure = "busy";
  await world.client.delete({ resource: VOLUME_ATTACHMENTS, name: "att" });
  await world.settle(0);
  const leaving = await world.get(VOLUME_ATTACHMENTS, "att", "");
  assertEquals(leaving.status.detachError.message, "busy");
  driver.failure = undefined;
  await world.settle(10_000);
  assertEquals(driver.calls.at(-1), `detach h-pvc-${uid} id-n1`);
  assertEquals(await world.list(VOLUME_ATTACHMENTS, ""), []);
});

Deno.test("csi: an attachment that fails says why; a driver that attaches nothing has it at once", async () => {
  const { world, driver } = await opened();
  await using _ = world;
  const { metadata: { uid } } = await claim(world);
  await world.settle();
  driver.failure = "no such disk";
  await attachment(world, `pvc-${uid}`);
  await world.settle(0);
  const { status } = await world.get(VOLUME_ATTACHMENTS, "att", "");
  assertEquals([status.attached, status.attachError.message], [false, "no such disk"]);
  driver.failure = undefined;
  driver.abilities.delete("publish");
  await world.settle(10_000);
  assertEquals((await world.get(VOLUME_ATTACHMENTS, "att", "")).status.attached, true);
});

async function wanted(world: World, storage: string): Promise<void> {
  await world.client.patch<KubeObject>(
    { resource: PERSISTENT_VOLUME_CLAIMS, namespace: "default", name: "data" },
    { type: "merge", body: { spec: { resources: { requests: { storage } } } } },
  );
}

Deno.test("csi: a claim grows; what is left to the node is said until it is done", async () => {
  const { world, driver } = await opened();
  await using _ = world;
  const { metadata: { uid } } = await claim(world);
  await world.settle();
  await wanted(world, "4Gi");
  await world.settle();
  const grown = await world.get(PERSISTENT_VOLUME_CLAIMS, "data");
  assertEquals(grown.status.capacity.storage, "2Gi");
  assertEquals(grown.status.allocatedResourceStatuses, { storage: "NodeResizePending" });
  assertEquals(grown.status.conditions.map(({ type }: { type: string }) => type), [
    "FileSystemResizePending",
  ]);
  const volume = await world.get(PERSISTENT_VOLUMES, `pvc-${uid}`, "");
  assertEquals(volume.spec.capacity.storage, "4Gi");
  assertEquals(driver.calls.filter((call) => call.startsWith("expand")), [
    `expand h-pvc-${uid} ${4 * 2 ** 30}`,
  ]);
  driver.onNode = false;
  await wanted(world, "5Gi");
  await world.settle();
  const done = await world.get(PERSISTENT_VOLUME_CLAIMS, "data");
  assertEquals([done.status.capacity.storage, done.status.conditions ?? []], ["5Gi", []]);
  assertEquals((await eventsOf(world, "VolumeResizeSuccessful")).length, 1);
});

Deno.test("finalizerOf() and secretReference() write what sidecars write", () => {
  assertEquals(finalizerOf("a.b/c_"), "external-attacher/a-b-c-X");
  const of = { metadata: { name: "c", namespace: "n", annotations: { k: "v" } } } as unknown as Obj;
  const prefix = "csi.storage.k8s.io/node-stage-secret-";
  const parameters = {
    [`${prefix}name`]: "${pv.name}-${pvc.annotations['k']}",
    [`${prefix}namespace`]: "n",
  };
  assertEquals(secretReference(parameters, "node-stage", of, "pv"), {
    name: "pv-v",
    namespace: "n",
  });
  assertEquals(secretReference({}, "node-stage", of, "pv"), undefined);
});
