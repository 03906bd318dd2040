import { assertEquals, assertMatch } from "@std/assert";
import type { ResourceId } from "../../api/machinery/types.ts";
import { openWorld, type World } from "./world_test.ts";

const core = (plural: string): ResourceId => ({ group: "", version: "v1", plural });
const storage = (plural: string): ResourceId => ({
  group: "storage.k8s.io",
  version: "v1",
  plural,
});
const DRIVER = "disk.example.com";

/** A claim bound to a volume of a CSI driver. */
async function bound(w: World, name: string, modes = ["ReadWriteOnce"]): Promise<void> {
  const size = { storage: "1Gi" };
  await w.create(core("persistentvolumes"), {
    metadata: { name },
    spec: {
      capacity: size,
      accessModes: modes,
      csi: { driver: DRIVER, volumeHandle: name },
      claimRef: { namespace: "default", name },
    },
  });
  await w.create(core("persistentvolumeclaims"), {
    metadata: { name, annotations: { "pv.kubernetes.io/bind-completed": "yes" } },
    spec: {
      accessModes: modes,
      resources: { requests: size },
      volumeName: name,
      storageClassName: "",
    },
  }, "default");
}

const uses = (...claims: string[]) => ({
  volumes: claims.map((claimName) => ({ name: claimName, persistentVolumeClaim: { claimName } })),
});

Deno.test("a node takes no more volumes than its CSINode says, each counted once", async () => {
  await using w = await openWorld();
  await w.node("a");
  await w.create(storage("csinodes"), {
    metadata: { name: "a" },
    spec: { drivers: [{ name: DRIVER, nodeID: "a", topologyKeys: [], allocatable: { count: 2 } }] },
  });
  for (const name of ["v1", "v2", "v3"]) await bound(w, name);
  await w.settle();
  await w.pod("one", uses("v1", "v2"));
  await w.settle();
  await w.pod("shares", uses("v2"));
  await w.pod("third", uses("v3"));
  await w.settle();
  const places = await w.places();
  assertEquals(places.slice(0, 2), ["one: a", "shares: a"]);
  assertMatch(
    places[2],
    /third: Unschedulable: 0\/1 nodes are available: 1 node\(s\) exceed max volume count\./,
  );
  // A node that can attach more lets it in
  const target = { resource: storage("csinodes"), name: "a" };
  const known: unknown = await w.client.get(target);
  const spec = {
    drivers: [{ name: DRIVER, nodeID: "a", topologyKeys: [], allocatable: { count: 3 } }],
  };
  await w.client.update(target, { ...known as object, spec } as never);
  await w.settle(15_000);
  assertEquals((await w.places())[2], "third: a");
});

Deno.test("a volume that is still attached counts until it is detached", async () => {
  await using w = await openWorld();
  await w.node("a");
  await w.create(storage("csinodes"), {
    metadata: { name: "a" },
    spec: { drivers: [{ name: DRIVER, nodeID: "a", topologyKeys: [], allocatable: { count: 1 } }] },
  });
  await bound(w, "left");
  await bound(w, "new");
  await w.create(storage("volumeattachments"), {
    metadata: { name: "x" },
    spec: { attacher: DRIVER, nodeName: "a", source: { persistentVolumeName: "left" } },
  });
  await w.settle();
  await w.pod("p", uses("new"));
  await w.settle();
  assertMatch((await w.places())[0], /exceed max volume count/);
  await w.client.delete({ resource: storage("volumeattachments"), name: "x" });
  await w.settle(15_000);
  assertEquals(await w.places(), ["p: a"]);
});

Deno.test("a ReadWriteOncePod claim serves one pod at a time, a disk without CSI one writer a node", async () => {
  await using w = await openWorld();
  await w.node("a");
  await bound(w, "mine", ["ReadWriteOncePod"]);
  await w.settle();
  await w.pod("first", uses("mine"));
  await w.settle();
  await w.pod("second", uses("mine"));
  const iscsi = { targetPortal: "1.2.3.4:3260", iqn: "iqn.2001-04.com.example:x", lun: 0 };
  await w.pod("writes", { volumes: [{ name: "d", iscsi }] });
  await w.settle();
  await w.pod("zwrites", { volumes: [{ name: "d", iscsi }] });
  await w.settle();
  const places = await w.places();
  assertEquals([places[0], places[2]], ["first: a", "writes: a"]);
  assertMatch(
    places[1],
    /1 node has pod using PersistentVolumeClaim with the same name and ReadWriteOncePod access mode/,
  );
  assertMatch(places[3], /1 node\(s\) had no available disk/);
});

Deno.test("a claim waits for a node whose driver has room for it", async () => {
  await using w = await openWorld();
  for (const [name, zone] of [["a", "1"], ["b", "2"]]) await w.node(name, { labels: { zone } });
  await w.create(storage("csidrivers"), {
    metadata: { name: DRIVER },
    spec: { storageCapacity: true },
  });
  await w.create(storage("storageclasses"), {
    metadata: { name: "thin" },
    provisioner: DRIVER,
    volumeBindingMode: "WaitForFirstConsumer",
  });
  const room = (name: string, zone: string, capacity: string) =>
    w.create(storage("csistoragecapacities"), {
      metadata: { name },
      storageClassName: "thin",
      nodeTopology: { matchLabels: { zone } },
      capacity,
    }, "default");
  await room("small", "1", "1Gi");
  await w.create(core("persistentvolumeclaims"), {
    metadata: { name: "data" },
    spec: {
      storageClassName: "thin",
      accessModes: ["ReadWriteOnce"],
      resources: { requests: { storage: "5Gi" } },
    },
  }, "default");
  await w.settle();
  await w.pod("p", uses("data"));
  await w.settle();
  assertMatch((await w.places())[0], /2 node\(s\) did not have enough free storage\./);
  await room("large", "2", "10Gi");
  await w.settle(15_000);
  // The claim is told where its pod is to run; whoever provisions it is not here
  const claim = await w.get(core("persistentvolumeclaims"), "data", "default");
  assertEquals(claim.metadata.annotations?.["volume.kubernetes.io/selected-node"], "b");
});
