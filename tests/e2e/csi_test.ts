/** A storage driver on a whole cluster: with the rights that controllers and nodes have, over its sockets alone. */
import { assertEquals } from "@std/assert";
import { hostMounts } from "../../actors/nodes/volumes/kernel.ts";
import { TestDriver } from "../../actors/nodes/volumes/csi_driver_test.ts";
import { inOwnNamespace } from "../../actors/nodes/volumes/own_namespace_test.ts";
import type { KubeObject } from "../../api/machinery/types.ts";
import { Cluster } from "../../mod.ts";
import { DENO } from "./node_fixture.ts";
import { waiting } from "./until.ts";

const core = (plural: string) => ({ group: "", version: "v1", plural });
const storage = (plural: string) => ({ group: "storage.k8s.io", version: "v1", plural });
const namespace = "default";

const until = waiting({ withinMs: 30_000, everyMs: 100 });

inOwnNamespace(import.meta.url, () => {
  Deno.test({
    name: "a claim becomes a folder of a pod, grows under it, and goes with its data",
    // The gRPC library keeps timers of its own.
    sanitizeOps: false,
    sanitizeResources: false,
    fn: async () => {
      const root = await Deno.makeTempDir();
      const registry = `${root}/node/plugins_registry`;
      await Deno.mkdir(registry, { recursive: true });
      await Deno.mkdir(`${root}/driver`);
      const driver = new TestDriver({
        folder: `${root}/driver`,
        registry,
        controllerCan: ["create", "publish", "expand"],
        segments: { "topology.test/machine": "m" },
      });
      await driver.start();
      const cluster = await Cluster.start({
        clock: "real",
        data: `${root}/data`,
        nodes: 1,
        runtime: "isolate",
        rootDir: `${root}/node`,
        csiControllerSockets: [driver.socket],
      });
      const { client } = cluster;
      try {
        await client.create({ resource: storage("storageclasses") }, {
          metadata: { name: "test" },
          provisioner: driver.name,
          allowVolumeExpansion: true,
          volumeBindingMode: "WaitForFirstConsumer",
        });
        const claims = { resource: core("persistentvolumeclaims"), namespace };
        await client.create(claims, {
          metadata: { name: "data" },
          spec: {
            storageClassName: "test",
            accessModes: ["ReadWriteOnce"],
            resources: { requests: { storage: "1Mi" } },
          },
        });
        const pods = { resource: core("pods"), namespace };
        await client.create(pods, {
          metadata: { name: "p" },
          spec: {
            containers: [{
              name: "c",
              image: DENO,
              args: [
                "eval",
                'Deno.writeTextFileSync("/data/f", "written"); setInterval(() => {}, 1000)',
              ],
              volumeMounts: [{ name: "v", mountPath: "/data" }],
            }],
            volumes: [{ name: "v", persistentVolumeClaim: { claimName: "data" } }],
          },
        });
        const claim = () => client.get<KubeObject>({ ...claims, name: "data" });
        const volume = await until("a volume", async () => (await claim()).spec.volumeName);
        const file = `${driver.disk(`id-${volume}`)}/f`;
        await until(
          "a file",
          async () => await Deno.readTextFile(file).catch(() => "") === "written",
        );
        assertEquals(driver.last("NodeStageVolume").publishContext, {
          device: "/dev/node-of-driver",
        });
        await client.patch({ ...claims, name: "data" }, {
          type: "merge",
          body: { spec: { resources: { requests: { storage: "2Mi" } } } },
        });
        await until("its growing", async () => (await claim()).status.capacity.storage === "2Mi");
        await client.delete({ ...pods, name: "p" }, { gracePeriodSeconds: 0 });
        await client.delete({ ...claims, name: "data" });
        const attachments = storage("volumeattachments");
        await until("the volume's end", async () =>
          driver.volumes.size === 0 &&
          (await client.list({ resource: core("persistentvolumes") })).items.length === 0 &&
          (await client.list({ resource: attachments })).items.length === 0);
        const order = driver.methods().filter((name) => name !== "NodeExpandVolume");
        assertEquals(order, [
          "CreateVolume",
          "ControllerPublishVolume",
          "NodeStageVolume",
          "NodePublishVolume",
          "ControllerExpandVolume",
          "NodeUnpublishVolume",
          "NodeUnstageVolume",
          "ControllerUnpublishVolume",
          "DeleteVolume",
        ]);
      } finally {
        await cluster.stop();
        await driver.stop();
      }
      assertEquals(hostMounts()!.under(root), []);
      await Deno.remove(root, { recursive: true });
    },
  });
});
