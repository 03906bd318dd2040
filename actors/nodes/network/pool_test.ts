import { assert, assertEquals, assertThrows } from "@std/assert";
import { VirtualNetwork } from "./network.ts";
import { AddressPool } from "./pool.ts";

Deno.test("AddressPool gives each address once, the preferred one if it is free", () => {
  const pool = new AddressPool("10.244.3.0/29");
  const all = Array.from({ length: 5 }, () => pool.take());
  assertEquals(all, ["10.244.3.2", "10.244.3.3", "10.244.3.4", "10.244.3.5", "10.244.3.6"]);
  assertThrows(() => pool.take(), Error, "no addresses left in 10.244.3.0/29");
  pool.give("10.244.3.4");
  assertEquals(pool.take("10.244.3.4"), "10.244.3.4");
  pool.give("10.244.3.2");
  assertEquals(pool.take("10.244.3.4"), "10.244.3.2");
  assertThrows(() => new AddressPool("fd00::/127"), TypeError);
  const six = new AddressPool("fd00:10:244:3::/64");
  assertEquals([six.take("fd00:10:244:3::a"), six.take(), six.take("10.244.3.4")], [
    "fd00:10:244:3::a",
    "fd00:10:244:3::2",
    "fd00:10:244:3::3",
  ]);
});

Deno.test("VirtualNetwork keeps a pod's address, and shares a range among nodes without one", () => {
  const network = new VirtualNetwork();
  const node = { name: "n", addresses: ["10.200.0.0"] };
  const pod = (uid: string, podIP?: string) =>
    ({ metadata: { uid }, spec: {}, status: { podIP } }) as never;
  const [a] = network.setupPod(pod("a"), node).ips;
  assertEquals(network.setupPod(pod("a"), node).ips, [a]);
  const [b] = network.setupPod(pod("b", a), node).ips;
  assert(a !== b);
  network.teardownPod("a");
  assertEquals(network.setupPod(pod("c", a), node).ips, [a]);
  const ranged = network.setupPod(pod("d"), { ...node, podCIDRs: ["10.244.7.0/24"] });
  assertEquals(ranged.ips, ["10.244.7.2"]);
});

Deno.test("VirtualNetwork of two families gives nodes and pods an address of each", () => {
  const network = new VirtualNetwork("fd00:10:244::/56");
  assertEquals(network.nodeAddresses(0), ["10.200.0.0", "fd00:10:244:ff::1"]);
  const podCIDRs = ["10.244.7.0/24", "fd00:10:244:7::/64"];
  const node = { name: "n", addresses: network.nodeAddresses(0), podCIDRs };
  const pod = (spec: object, ...ips: string[]) =>
    ({
      metadata: { uid: String(ips) },
      spec,
      status: { podIPs: ips.map((ip) => ({ ip })) },
    }) as never;
  assertEquals(network.setupPod(pod({}, "10.244.7.9", "fd00:10:244:7::9"), node).ips, [
    "10.244.7.9",
    "fd00:10:244:7::9",
  ]);
  assertEquals(network.setupPod(pod({}), node).ips, ["10.244.7.2", "fd00:10:244:7::2"]);
  assertEquals(network.setupPod(pod({ hostNetwork: true }), node).ips, node.addresses);
});
