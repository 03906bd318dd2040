import { assert, assertEquals, assertRejects } from "@std/assert";
import { RealClock } from "../../../kv/clock.ts";
import { RpcError } from "../../../api/client/grpc.ts";
import { type ControllerDriver, storageDrivers } from "./csi_controller.ts";
import { NOT_FOUND, Refusal, TestDriver } from "./csi_driver_test.ts";

// The library keeps timers of its own for as long as the process lives.
const loose = { sanitizeOps: false, sanitizeResources: false };
const use = { accessModes: ["ReadWriteOnce"], block: false, fsType: "ext4", mountOptions: ["ro"] };
const secrets = { key: "s" };

Deno.test(
  "storageDrivers() finds a driver by the name it says, once it says it",
  loose,
  async () => {
    const folder = await Deno.makeTempDir();
    const driver = new TestDriver({
      folder,
      controllerCan: ["create", "publish", "expand", "multiWriter"],
      segments: { rack: "r1" },
    });
    const drivers = storageDrivers([driver.socket], new RealClock());
    assertEquals(await drivers.find(driver.name), "unknown");
    await driver.start();
    let found: ControllerDriver | undefined;
    for (let tries = 0; tries < 100 && !found; tries++) {
      const answer = await drivers.find(driver.name);
      if (answer !== "unknown") found = answer;
    }
    assert(found);
    assertEquals(await drivers.find("another"), undefined);
    assertEquals(
      await Promise.all((["create", "places"] as const).map((what) => found.can(what))),
      [
        true,
        true,
      ],
    );
    const wish = { ...use, name: "pvc-1", bytes: 2048, parameters: { a: "b" }, secrets };
    const places = [{ rack: "r1" }, { rack: "r2" }];
    assertEquals(await found.create({ ...wish, places, from: { snapshot: "s1" } }), {
      handle: "id-pvc-1",
      bytes: 2048,
      context: { from: "driver" },
      places: [{ rack: "r1" }],
    });
    assertEquals(driver.last("CreateVolume"), {
      name: "pvc-1",
      capacityRange: { requiredBytes: 2048 },
      capabilities: [{ mount: { fsType: "ext4", mountFlags: ["ro"] }, accessMode: { mode: 7 } }],
      parameters: { a: "b" },
      secrets,
      contentSource: { snapshot: { snapshotId: "s1" } },
      accessibility: {
        requisite: places.map((segments) => ({ segments })),
        preferred: places.map((segments) => ({ segments })),
      },
    });
    const volume = { handle: "id-pvc-1", use, readOnly: true, context: { c: "d" }, secrets };
    assertEquals(await found.attach(volume, "n1"), { device: "/dev/n1" });
    assertEquals(driver.last("ControllerPublishVolume").readonly, true);
    assertEquals(await found.expand(volume, 4096), { bytes: 4096, onNode: true });
    driver.fails.set("ControllerUnpublishVolume", new Refusal(NOT_FOUND, "gone"));
    await found.detach("id-pvc-1", "n1", secrets);
    driver.fails.set("DeleteVolume", new Refusal(9, "in use"));
    const error = await assertRejects(() => found.delete("id-pvc-1", secrets), RpcError);
    assertEquals(error.message, "rpc error: code = FailedPrecondition desc = in use");
    driver.fails.clear();
    await found.delete("id-pvc-1", secrets);
    assertEquals(driver.volumes.size, 0);
    drivers.close();
    await driver.stop();
    await Deno.remove(folder, { recursive: true });
  },
);
