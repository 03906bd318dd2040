import { assertEquals } from "@std/assert";
import { openBox } from "./fixture_test.ts";
import { registerNode, reportNode } from "./heartbeat.ts";

Deno.test("reportNode() replaces addresses: two of one type are not merged into one", async () => {
  await using box = await openBox();
  const description = {
    name: "n",
    hostname: "n",
    addresses: ["10.244.255.1", "fd00:10:244:ff::1"],
    runtime: "simulated",
    runtimeVersion: "simulated://1.0.0",
    capacity: {},
    os: "linux",
    architecture: "amd64",
    kernelVersion: "",
    osImage: "",
    machineID: "",
    bootID: "",
  };
  let node = await registerNode(box.client, description, 0);
  for (const addresses of [description.addresses, ["10.244.255.2"], description.addresses]) {
    node = await reportNode(box.client, { ...description, addresses }, node, 0);
    assertEquals(
      node.status?.addresses.map(({ address }: { address: string }) => address),
      [...addresses, "n"],
    );
  }
});
