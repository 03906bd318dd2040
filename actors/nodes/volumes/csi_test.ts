import { assert, assertEquals } from "@std/assert";
import { RealClock } from "../../../kv/clock.ts";
import type { KubeObject } from "../../../api/machinery/types.ts";
import { type Box, openBox } from "../fixture_test.ts";
import { FakeRuntime } from "../fake_runtime_test.ts";
import { type RunningNode, startNode } from "../node.ts";
import { NODES, PERSISTENT_VOLUMES, PODS, SECRETS } from "../types.ts";
import { Refusal, TestDriver, type TestDriverOptions } from "./csi_driver_test.ts";
import { accessModeOf } from "./csi_messages.ts";
import { hostMounts, unmountAll } from "./kernel.ts";
import { type NodeVolumes, nodeVolumes } from "./node_volumes.ts";
import { inOwnNamespace } from "./own_namespace_test.ts";

const STORAGE = { group: "storage.k8s.io", version: "v1" };
const CSI_NODES = { ...STORAGE, plural: "csinodes" };
const CSI_DRIVERS = { ...STORAGE, plural: "csidrivers" };
const ATTACHMENTS = { ...STORAGE, plural: "volumeattachments" };
const CLAIMS = { group: "", version: "v1", plural: "persistentvolumeclaims" };

Deno.test("access modes become CSI's, exact ones only for drivers that know them", () => {
  const modes = ["ReadWriteOnce", "ReadWriteOncePod", "ReadOnlyMany", "ReadWriteMany"];
  assertEquals(modes.map((mode) => accessModeOf(mode, false)), [1, 1, 3, 5]);
  assertEquals(modes.map((mode) => accessModeOf(mode, true)), [7, 6, 3, 5]);
});

interface World extends Box {
  driver: TestDriver;
  runtime: FakeRuntime;
  folder: string;
  node: RunningNode;
  /** Another life of the same node. */
  restart(): Promise<void>;
  row(): Promise<Record<string, unknown> | undefined>;
  /** A claim that is bound to a volume of the driver. */
  claim(name: string, spec?: object, csi?: object): Promise<object>;
  run(name: string, volumes: object[], spec?: object): Promise<void>;
  gone(name: string): Promise<unknown>;
  attach(handle: string): Promise<void>;
}

function test(
  name: string,
  options: Partial<TestDriverOptions> & { driverSpec?: object },
  use: (world: World) => Promise<void>,
) {
  Deno.test(name, async () => {
    const root = await Deno.makeTempDir();
    const folder = `${root}/node`;
    const registry = `${folder}/plugins_registry`;
    await Deno.mkdir(registry, { recursive: true });
    await Deno.mkdir(`${root}/driver`);
    const driver = new TestDriver({ folder: `${root}/driver`, registry, ...options });
    await driver.start();
    {
      await using box = await openBox({ clock: new RealClock() });
      await work({ box, driver, folder, driverSpec: options.driverSpec }, use);
    }
    await driver.stop();
    const left = hostMounts()!.under(folder).map(({ path }) => path);
    unmountAll(hostMounts()!, root);
    await Deno.remove(root, { recursive: true });
    assertEquals(left, [], "mounts were left behind");
  });
}

async function work(
  { box, driver, folder, driverSpec }: {
    box: Box;
    driver: TestDriver;
    folder: string;
    driverSpec?: object;
  },
  use: (world: World) => Promise<void>,
) {
  const { client } = box;
  const runtime = new FakeRuntime(box.clock);
  const start = () => {
    let volumes: NodeVolumes | undefined;
    return startNode(box.system, {
      name: "n0",
      clock: box.clock,
      runtimes: [runtime],
      volumes: (objects, context) =>
        volumes = nodeVolumes({ folder, nodeName: "n0", objects, context }),
      sweep: (uids) => volumes?.sweep(uids),
    });
  };
  if (driverSpec) {
    await client.create({ resource: CSI_DRIVERS }, {
      metadata: { name: driver.name },
      spec: driverSpec,
    });
  }
  let node = start();
  const row = async () => {
    const csiNode = await client.get<KubeObject>({ resource: CSI_NODES, name: "n0" })
      .catch(() => undefined);
    return csiNode?.spec.drivers?.find((one: { name: string }) => one.name === driver.name);
  };
  await box.until("registration", row);
  const world: World = {
    ...box,
    driver,
    runtime,
    folder,
    get node() {
      return node;
    },
    restart: async () => {
      await node.stop();
      node = start();
      await box.until("registration", () => driver.statuses.length > 1);
    },
    row,
    claim: async (name, spec = {}, csi = {}) => {
      const uid = (await client.create({ resource: CLAIMS, namespace: "default" }, {
        metadata: { name },
        spec: {
          accessModes: ["ReadWriteOnce"],
          resources: { requests: { storage: "1Gi" } },
          volumeName: `pv-${name}`,
          storageClassName: "",
          ...("volumeMode" in spec && { volumeMode: spec.volumeMode }),
        },
      })).metadata.uid;
      await client.create({ resource: PERSISTENT_VOLUMES }, {
        metadata: { name: `pv-${name}` },
        spec: {
          accessModes: ["ReadWriteOnce"],
          capacity: { storage: "1Gi" },
          claimRef: { namespace: "default", name, uid },
          csi: { driver: driver.name, volumeHandle: `handle-${name}`, ...csi },
          ...spec,
        },
      });
      await client.patch(
        { resource: CLAIMS, namespace: "default", name, subresource: "status" },
        { type: "merge", body: { status: { phase: "Bound", capacity: { storage: "1Gi" } } } },
      );
      return { name, persistentVolumeClaim: { claimName: name } };
    },
    run: async (name, volumes, spec = {}) => {
      const volumeMounts = (volumes as { name: string }[])
        .map((one) => ({ name: one.name, mountPath: `/${one.name}` }));
      await box.pod(name, "n0", {
        containers: [{ name: "c", image: "i", volumeMounts }],
        volumes,
        ...spec,
      });
    },
    gone: async (name) => {
      await client.delete({ resource: PODS, namespace: "default", name }, {
        gracePeriodSeconds: 0,
      });
      return await box.until(`${name} to be gone`, async () => {
        try {
          await box.get(name);
          return false;
        } catch {
          return !(await exists(`${folder}/pods`)) || podsWithVolumes(folder) === 0;
        }
      });
    },
    attach: async (handle) => {
      const bytes = new TextEncoder().encode(`${handle}${driver.name}n0`);
      const hash = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes)).toHex();
      const name = `csi-${hash}`;
      await client.create({ resource: ATTACHMENTS }, {
        metadata: { name },
        spec: {
          attacher: driver.name,
          nodeName: "n0",
          source: { persistentVolumeName: handle.replace("handle-", "pv-") },
        },
      });
      await client.patch({ resource: ATTACHMENTS, name, subresource: "status" }, {
        type: "merge",
        body: { status: { attached: true, attachmentMetadata: { device: "/dev/x" } } },
      });
    },
  };
  try {
    await use(world);
  } finally {
    await node.stop();
  }
}

const exists = async (path: string) => await Deno.stat(path).then(() => true, () => false);
const podsWithVolumes = (folder: string) =>
  [...Deno.readDirSync(`${folder}/pods`)].filter(({ name }) =>
    [...Deno.readDirSync(`${folder}/pods/${name}`)].length
  ).length;
const running = (w: World, name: string) =>
  w.until(`${name} to run`, async () => (await w.get(name)).status?.phase === "Running", 15_000);
const NO_ATTACH = { attachRequired: false };

inOwnNamespace(import.meta.url, () => {
  test("a driver registers, is told to the API, and is forgotten with its socket", {
    segments: { "topology.test/rack": "r1" },
  }, async (w) => {
    assertEquals(await w.row(), {
      name: w.driver.name,
      nodeID: "node-of-driver",
      topologyKeys: ["topology.test/rack"],
      allocatable: { count: 7 },
    });
    const { metadata } = await w.client.get({ resource: NODES, name: "n0" });
    assertEquals(metadata.labels?.["topology.test/rack"], "r1");
    assertEquals(JSON.parse(metadata.annotations!["csi.volume.kubernetes.io/nodeid"]), {
      [w.driver.name]: "node-of-driver",
    });
    await w.until("the answer", () => w.driver.statuses.length);
    assertEquals(w.driver.statuses[0].pluginRegistered, true);
    const csiNode = await w.client.get({ resource: CSI_NODES, name: "n0" });
    assertEquals(csiNode.metadata.ownerReferences?.[0].uid, metadata.uid);
    await w.driver.stop();
    await w.until("its going", async () => {
      const after = await w.client.get({ resource: NODES, name: "n0" });
      return !(await w.row()) &&
        !after.metadata.annotations?.["csi.volume.kubernetes.io/nodeid"];
    });
    await w.driver.start(["2.0.0"]);
    await w.until("the refusal", () => w.driver.statuses.some(({ error }) => error));
    assertEquals(
      w.driver.statuses.at(-1)!.error,
      `kubernetes.io/csi: RegisterPlugin for CSI driver "${w.driver.name}" failed. ` +
        'None of the versions specified ["2.0.0"] are supported',
    );
  });

  test("what a volume holds is its driver's to say, where it can", {
    driverSpec: NO_ATTACH,
    nodeCan: ["stage", "measure"],
  }, async (w) => {
    await w.run("p", [await w.claim("a"), { name: "own", emptyDir: {} }]);
    await running(w, "p");
    const page = await w.node.api.fetch(new Request("http://node/stats/summary"));
    const { pods: [{ volume: [claimed, own] }] } = await page.json();
    delete claimed.time;
    assertEquals(claimed, {
      name: "a",
      pvcRef: { name: "a", namespace: "default" },
      capacityBytes: 5000,
      availableBytes: 3000,
      usedBytes: 2000,
      inodes: 50,
      inodesFree: 30,
      inodesUsed: 20,
    });
    assertEquals([own.name, own.pvcRef, own.inodesUsed], ["own", undefined, 1]);
    const { volumeId, volumePath, stagingTargetPath } = w.driver.last("NodeGetVolumeStats");
    assertEquals(volumeId, "handle-a");
    assertEquals(volumePath.endsWith("/volumes/kubernetes.io~csi/pv-a/mount"), true);
    assertEquals(stagingTargetPath.endsWith("/globalmount"), true);
    await w.gone("p");
  });

  test(
    "a volume is attached, staged, published, shared by two pods, and taken back",
    {},
    async (w) => {
      const secret = { resource: SECRETS, namespace: "default" };
      await w.client.create(secret, { metadata: { name: "stage" }, data: { key: btoa("s1") } });
      const volume = await w.claim("a", { mountOptions: ["noatime"] }, {
        fsType: "ext4",
        volumeAttributes: { colour: "red" },
        nodeStageSecretRef: { name: "stage", namespace: "default" },
      });
      const group = { securityContext: { fsGroup: 4242 } };
      await w.run("one", [volume], group);
      const name = `kubernetes.io/csi/${w.driver.name}^handle-a`;
      await w.until("the node to say that it is used", async () => {
        const { status } = await w.client.get<KubeObject>({ resource: NODES, name: "n0" });
        return status.volumesInUse?.includes(name);
      });
      assertEquals(w.driver.methods(), []);
      await w.attach("handle-a");
      await running(w, "one");
      assertEquals(w.driver.methods(), ["NodeStageVolume", "NodePublishVolume"]);
      const staged = w.driver.last("NodeStageVolume");
      assertEquals(staged.secrets, { key: "s1" });
      assertEquals(staged.publishContext, { device: "/dev/x" });
      assertEquals(staged.capability, {
        mount: { fsType: "ext4", mountFlags: ["noatime"] },
        accessMode: { mode: 1 },
      });
      const published = w.driver.last("NodePublishVolume");
      assertEquals(published.stagingTargetPath, staged.stagingTargetPath);
      assertEquals(published.volumeContext, { colour: "red" });
      const { uid } = (await w.get("one")).metadata;
      const target = `${w.folder}/pods/${uid}/volumes/kubernetes.io~csi/pv-a/mount`;
      assertEquals(published.targetPath, target);
      assertEquals(w.runtime.containers[0].spec.mounts[0].hostPath, target);
      assertEquals(Deno.statSync(w.driver.disk("handle-a")).gid, 4242);
      await w.run("two", [volume], group);
      await running(w, "two");
      await w.client.delete({ resource: PODS, namespace: "default", name: "one" }, {});
      await w.until("the first to go", () => w.get("one").then(() => false, () => true));
      assertEquals(w.driver.methods().slice(-1), ["NodeUnpublishVolume"]);
      await w.gone("two");
      assertEquals(w.driver.methods().slice(-2), ["NodeUnpublishVolume", "NodeUnstageVolume"]);
      await w.until("the node to let go", async () => {
        const { status } = await w.client.get<KubeObject>({ resource: NODES, name: "n0" });
        return !status.volumesInUse?.includes(name);
      });
    },
  );

  test("a pod's own volume knows its pod and its tokens, and never is staged", {
    driverSpec: {
      ...NO_ATTACH,
      podInfoOnMount: true,
      volumeLifecycleModes: ["Ephemeral"],
      tokenRequests: [{ audience: "vault" }],
    },
  }, async (w) => {
    const own = { name: "v", csi: { driver: w.driver.name, readOnly: true } };
    await w.run("p", [own], { serviceAccountName: "default" });
    await running(w, "p");
    assertEquals(w.driver.methods(), ["NodePublishVolume"]);
    const { volumeId, volumeContext, readonly } = w.driver.last("NodePublishVolume");
    const { uid } = (await w.get("p")).metadata;
    assert(/^csi-[\da-f]{64}$/.test(volumeId));
    assertEquals(readonly, true);
    const tokens = JSON.parse(volumeContext["csi.storage.k8s.io/serviceAccount.tokens"]);
    assert(tokens.vault.token.split(".").length === 3 && tokens.vault.expirationTimestamp);
    delete volumeContext["csi.storage.k8s.io/serviceAccount.tokens"];
    assertEquals(volumeContext, {
      "csi.storage.k8s.io/ephemeral": "true",
      "csi.storage.k8s.io/pod.name": "p",
      "csi.storage.k8s.io/pod.namespace": "default",
      "csi.storage.k8s.io/pod.uid": uid,
      "csi.storage.k8s.io/serviceAccount.name": "default",
    });
    const claimed = await w.claim("a");
    await w.run("q", [claimed]);
    const text =
      `MountVolume.SetUp failed for volume "pv-a" : kubernetes.io/csi: mounter.SetupAt failed to ` +
      `check volume lifecycle mode: volume mode "Persistent" not supported by driver ${w.driver.name} ` +
      `(only supports ["Ephemeral"])`;
    await w.until(
      "the event",
      async () => (await w.events()).includes(`Warning FailedMount ${text}`),
    );
    await w.client.delete({ resource: PODS, namespace: "default", name: "q" }, {
      gracePeriodSeconds: 0,
    });
    await w.gone("p");
    assertEquals(w.driver.methods(), ["NodePublishVolume", "NodeUnpublishVolume"]);
  });

  test("block volumes are devices; groups are the driver's business where it says so", {
    driverSpec: NO_ATTACH,
    nodeCan: ["stage", "mountGroup", "multiWriter"],
  }, async (w) => {
    const raw = await w.claim("raw", { volumeMode: "Block" });
    const disk = await w.claim("disk", {}, { fsType: "ext4" });
    const container = {
      name: "c",
      image: "i",
      volumeDevices: [{ name: "raw", devicePath: "/dev/raw" }],
      volumeMounts: [{ name: "disk", mountPath: "/disk" }],
    };
    const securityContext = { fsGroup: 99 };
    await w.run("p", [raw, disk], { containers: [container], securityContext });
    await running(w, "p");
    const { uid } = (await w.get("p")).metadata;
    const devices = w.runtime.containers[0].spec.devices;
    const hostPath = `${w.folder}/plugins/kubernetes.io/csi/volumeDevices/publish/pv-raw/${uid}`;
    assertEquals(devices, [{ hostPath, containerPath: "/dev/raw", permissions: "mrw" }]);
    const of = (id: string) =>
      w.driver.calls.find(({ method, request }) =>
        method === "NodePublishVolume" && request.volumeId === id
      )!.request.capability;
    assertEquals(of("handle-raw"), { block: {}, accessMode: { mode: 7 } });
    assertEquals(of("handle-disk").mount, { fsType: "ext4", volumeMountGroup: "99" });
    assert(Deno.statSync(w.driver.disk("handle-disk")).gid !== 99);
    await w.gone("p");
    assertEquals(w.driver.methods().filter((one) => one === "NodeUnstageVolume").length, 2);
  });

  test(
    "what a driver refuses is told in its words, and tried again",
    { driverSpec: NO_ATTACH },
    async (w) => {
      w.driver.fails.set("NodeStageVolume", new Refusal(13, "disk is on fire"));
      const volume = await w.claim("a");
      await w.run("p", [volume]);
      const text = 'MountVolume.MountDevice failed for volume "pv-a" : ' +
        "rpc error: code = Internal desc = disk is on fire";
      await w.until(
        "the event",
        async () => (await w.events()).includes(`Warning FailedMount ${text}`),
      );
      w.driver.fails.clear();
      await running(w, "p");
      const missing = { name: "x", csi: { driver: "none.example" } };
      await w.run("q", [missing]);
      const absent =
        'MountVolume.SetUp failed for volume "x" : kubernetes.io/csi: mounter.SetUpAt failed to get ' +
        "CSI client: driver name none.example not found in the list of registered CSI drivers";
      await w.until(
        "the other",
        async () => (await w.events()).includes(`Warning FailedMount ${absent}`),
      );
      await w.client.delete({ resource: PODS, namespace: "default", name: "q" }, {
        gracePeriodSeconds: 0,
      });
      // A driver that cannot let go keeps its pod.
      w.driver.fails.set("NodeUnpublishVolume", new Refusal(14, "later"));
      await w.client.delete({ resource: PODS, namespace: "default", name: "p" }, {});
      await w.until("the attempt", () => w.driver.methods().includes("NodeUnpublishVolume"));
      await w.get("p");
      w.driver.fails.clear();
      await w.until("its end", () => w.get("p").then(() => false, () => true));
    },
  );

  test(
    "a disk that has grown is grown inside, and the claim says so",
    { driverSpec: NO_ATTACH },
    async (w) => {
      const volume = await w.claim("a", { capacity: { storage: "2Gi" } });
      const claim = { resource: CLAIMS, namespace: "default", name: "a" };
      const conditions = [{ type: "FileSystemResizePending", status: "True" }];
      await w.client.patch({ ...claim, subresource: "status" }, {
        type: "merge",
        body: { status: { conditions } },
      });
      const maps = {
        resource: { group: "", version: "v1", plural: "configmaps" },
        namespace: "default",
      };
      await w.client.create(maps, { metadata: { name: "m" }, data: { k: "v" } });
      await w.run("p", [volume, { name: "m", configMap: { name: "m" } }]);
      await running(w, "p");
      const { volumePath, capacityRange } = w.driver.last("NodeExpandVolume");
      assert(volumePath.endsWith("/mount"));
      assertEquals(capacityRange, { requiredBytes: 2 * 2 ** 30 });
      const { status } = await w.client.get<KubeObject>(claim);
      assertEquals([status.capacity.storage, status.conditions ?? []], ["2Gi", []]);
      // Once more while the pod runs: looked at with the pod's other volumes.
      const target = { resource: PERSISTENT_VOLUMES, name: "pv-a" };
      const body = { spec: { capacity: { storage: "3Gi" } } };
      await w.client.patch(target, { type: "merge", body });
      await w.client.patch({ ...maps, name: "m" }, { type: "merge", body: { data: { k: "w" } } });
      await w.until(
        "more",
        async () => (await w.client.get<KubeObject>(claim)).status.capacity.storage === "3Gi",
      );
      await w.gone("p");
    },
  );

  test(
    "a node that comes back takes away what pods left that are gone",
    { driverSpec: NO_ATTACH },
    async (w) => {
      const volume = await w.claim("a");
      await w.run("p", [volume]);
      await running(w, "p");
      await w.node.stop();
      await w.client.delete({ resource: PODS, namespace: "default", name: "p" }, {
        gracePeriodSeconds: 0,
      });
      await w.until("its end", () => w.get("p").then(() => false, () => true));
      assertEquals(hostMounts()!.under(w.folder).length, 2);
      await w.restart();
      await w.until("the volume's going", () => w.driver.methods().at(-1) === "NodeUnstageVolume");
    },
  );
});
