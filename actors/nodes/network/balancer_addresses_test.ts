import { assertEquals } from "@std/assert";
import { RealClock } from "../../../kv/clock.ts";
import { openBox } from "../fixture_test.ts";
import { announcement } from "./arp.ts";
import { balancerAddresses } from "./balancer_addresses.ts";
import { Machine, packetTest } from "./machine_fixture_test.ts";

const SERVICES = { group: "", version: "v1", plural: "services" };

Deno.test("announcement() is a broadcast that names its sender twice", () => {
  const frame = announcement([2, 0, 0, 0, 0, 1], "192.168.7.240");
  assertEquals(frame.length, 42);
  assertEquals([...frame.slice(0, 14)], [255, 255, 255, 255, 255, 255, 2, 0, 0, 0, 0, 1, 8, 6]);
  assertEquals([...frame.slice(28, 32)], [192, 168, 7, 240]);
  assertEquals([...frame.slice(38)], [192, 168, 7, 240]);
});

packetTest("a load balancer's address is this machine's, and neighbours hear of it", async () => {
  await using box = await openBox({ clock: new RealClock() });
  await using machine = await Machine.open();
  const { host, neighbour } = machine;
  const [held, stale] = ["192.168.7.241", "192.168.7.242"];
  // A former life left an address behind; a neighbour believes that another machine has the one that is given now.
  await host.sh(`ip addr add ${stale}/32 dev eth0`);
  await neighbour.sh(`ip neigh add ${held} lladdr 02:00:00:00:00:99 dev out0 nud stale`);
  const arp = new URL("./arp.ts", import.meta.url).href;
  box.system.spawn(
    "addresses/test",
    balancerAddresses({
      pool: "192.168.7.240/28",
      ip: (...args) => host.sh(`ip ${args.join(" ")}`),
      announce: async (device, address) => {
        await host.run(
          `import { announce } from "${arp}"; announce("${device}", "${address}"); console.log("0");`,
        );
      },
    }),
  );
  const target = { resource: SERVICES, namespace: "default", name: "web" };
  await box.client.create({ resource: SERVICES, namespace: "default" }, {
    metadata: { name: "web" },
    spec: { type: "LoadBalancer", clusterIP: "10.96.1.1", ports: [{ port: 80 }] },
  });
  await box.client.patch({ ...target, subresource: "status" }, {
    type: "merge",
    body: { status: { loadBalancer: { ingress: [{ ip: held, ipMode: "VIP" }] } } },
  });
  const own = async () => await host.sh("ip -4 addr show dev eth0");
  await box.until("the address", async () => (await own()).includes(`${held}/32`));
  assertEquals((await own()).includes(stale), false);
  const mac = (await host.sh("cat /sys/class/net/eth0/address")).trim();
  await box.until(
    "the neighbour to hear of it",
    async () => (await neighbour.sh("ip neigh show")).includes(`${held} dev out0 lladdr ${mac}`),
  );
  await box.client.delete(target);
  await box.until("the address to go", async () => !(await own()).includes(held));
});
