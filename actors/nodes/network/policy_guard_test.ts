import { assertEquals } from "@std/assert";
import { RealClock } from "../../../kv/clock.ts";
import { type Box, openBox } from "../fixture_test.ts";
import { podGroup, unified } from "../runtimes/cgroup.ts";
import { type Host, Machine, packetTest } from "./machine_fixture_test.ts";
import { policyGuard, policyNotice } from "./policy_guard.ts";

const POLICIES = { group: "networking.k8s.io", version: "v1", plural: "networkpolicies" };
const PODS = { group: "", version: "v1", plural: "pods" };
const NAMESPACES = { group: "", version: "v1", plural: "namespaces" };

/** A guard on a machine, and the objects that it looks at. */
async function guarded(box: Box, machine: Machine) {
  const rung = new Set<() => void>();
  box.system.spawn(
    "policy/test",
    policyGuard({
      table: { family: 4, name: "plesio-policy", podRanges: ["10.244.0.0/16"] },
      nodes: new Set(["plesio-0"]),
      netfilter: machine.netfilter,
      groupOf: podGroup,
      applied: () => rung.forEach((ring) => ring()),
    }),
  );
  const change = async (make: () => Promise<unknown>) => {
    const { promise, resolve } = Promise.withResolvers<void>();
    rung.add(resolve);
    await make();
    await promise;
    rung.delete(resolve);
  };
  const pod = async (name: string, ip: string, spec: object = {}) => {
    const made = await box.pod(name, "plesio-0", {
      containers: [{ name: "c", image: "x", ports: [{ name: "http", containerPort: 8080 }] }],
      ...spec,
    }, { labels: { app: name } });
    await box.client.patch({ resource: PODS, namespace: "default", name, subresource: "status" }, {
      type: "merge",
      body: { status: { phase: "Running", podIP: ip, podIPs: [{ ip }] } },
    });
    return made;
  };
  const policy = (name: string, spec: object) =>
    change(() =>
      box.client.create({ resource: POLICIES, namespace: "default" }, {
        apiVersion: "networking.k8s.io/v1",
        kind: "NetworkPolicy",
        metadata: { name },
        spec,
      })
    );
  await box.client.create({ resource: NAMESPACES }, { metadata: { name: "default" } })
    .catch(() => undefined);
  const end = (name: string) =>
    change(() => box.client.delete({ resource: POLICIES, namespace: "default", name }));
  return { change, pod, policy, end };
}

const reach = async (from: Host, to: string, port = 8080) =>
  Object.keys(await from.ask(to, port))[0].split(" ")[0];

packetTest("policies let pass what they say and nothing else, in both directions", async () => {
  await using box = await openBox({ clock: new RealClock() });
  await using machine = await Machine.open();
  const { pod, policy, end } = await guarded(box, machine);
  const [web, client, other] = [
    await machine.pod("10.244.0.11"),
    await machine.pod("10.244.0.12"),
    await machine.pod("10.244.0.13"),
  ];
  const isolate = "10.244.1.5";
  await pod("web", web.ip);
  await pod("client", client.ip);
  await pod("other", other.ip);
  await pod("isolate", isolate);
  for (const one of [web, client, other]) await one.serve(8080, "up");
  await machine.host.serve(8080, "up", isolate);
  await web.serve(9090, "up");
  assertEquals(await reach(other, web.ip), "up");
  await policy("web", {
    podSelector: { matchLabels: { app: "web" } },
    ingress: [{
      from: [{ podSelector: { matchLabels: { app: "client" } } }],
      ports: [{ port: "http" }],
    }],
  });
  assertEquals(await reach(client, web.ip), "up");
  assertEquals(await reach(client, web.ip, 9090), "timeout");
  assertEquals(await reach(other, web.ip), "timeout");
  assertEquals(await reach(machine.neighbour, web.ip), "timeout");
  assertEquals(await reach(web, other.ip), "up", "egress is free");
  assertEquals(await reach(machine.host, web.ip), "up", "its own machine always reaches a pod");
  assertEquals(await reach(web, web.ip), "up", "and so does it itself");

  // A second policy adds to the first.
  await policy("outside", {
    podSelector: {},
    ingress: [{ from: [{ ipBlock: { cidr: "192.168.7.0/24", except: ["192.168.7.128/25"] } }] }],
  });
  assertEquals(await reach(machine.neighbour, web.ip), "up");
  assertEquals(await reach(client, web.ip), "up");
  assertEquals(await reach(client, other.ip), "timeout");
  assertEquals(await reach(client, isolate), "timeout", "isolates are guarded against pods");
  assertEquals(await reach(machine.host, isolate), "up");

  await policy("quiet", {
    podSelector: { matchLabels: { app: "client" } },
    policyTypes: ["Egress"],
    egress: [{ to: [{ podSelector: { matchLabels: { app: "web" } } }] }],
  });
  assertEquals(await reach(client, web.ip), "up");
  assertEquals(await reach(client, machine.neighbour.ip), "timeout");
  for (const name of ["web", "outside", "quiet"]) await end(name);
  assertEquals(await reach(client, other.ip), "up");
  assertEquals(await machine.netfilter.ask("nft", ["list", "tables"]), "");
});

packetTest(
  "isolates are known by the groups of their processes: each by its own address, and guarded",
  async () => {
    if (unified() === undefined) return; // told of by an event instead
    await using box = await openBox({ clock: new RealClock() });
    await using machine = await Machine.open();
    const { pod, policy, end, change } = await guarded(box, machine);
    const isolate = async (name: string, ip: string) => {
      const host = await machine.isolate(ip, (await pod(name, ip)).metadata.uid);
      await host.serve(8080, name, ip);
      return host;
    };
    const [web, client, other] = [
      await isolate("web", "10.244.1.5"),
      await isolate("client", "10.244.1.6"),
      await isolate("other", "10.244.1.7"),
    ];
    const box1 = await machine.pod("10.244.0.11");
    await pod("box", box1.ip);
    await box1.serve(8080, "box");
    const app = (name: string) => ({ podSelector: { matchLabels: { app: name } } });

    assertEquals(
      await other.ask(web.ip, 8080),
      { [`web ${web.ip}`]: 1 },
      "nobody needs to know yet",
    );
    await policy("web", { ...app("web"), ingress: [{ from: [app("client")] }] });
    assertEquals(await client.ask(web.ip, 8080), { [`web ${client.ip}`]: 1 }, "its own address");
    assertEquals(await reach(other, web.ip), "timeout");
    assertEquals(await reach(box1, web.ip), "timeout");
    assertEquals(await reach(web, web.ip), "web", "a pod reaches itself");
    assertEquals(await reach(machine.host, web.ip), "web", "and its machine reaches it");
    assertEquals(await reach(other, box1.ip), "box");
    assertEquals(await box1.ask(other.ip, 8080), { [`other ${box1.ip}`]: 1 });

    await policy("box", { ...app("box"), ingress: [{ from: [app("client")] }] });
    assertEquals(await client.ask(box1.ip, 8080), { [`box ${client.ip}`]: 1 });
    assertEquals(await reach(other, box1.ip), "timeout", "nor does it reach a container");

    await machine.neighbour.serve(8080, "outside");
    await policy("quiet", {
      ...app("client"),
      policyTypes: ["Egress"],
      egress: [{ to: [app("web")], ports: [{ port: 8080 }] }],
    });
    assertEquals(await reach(client, web.ip), "web");
    assertEquals(await reach(client, other.ip), "timeout");
    assertEquals(await reach(client, box1.ip), "timeout");
    assertEquals(await reach(client, machine.neighbour.ip), "timeout");
    assertEquals(await reach(other, machine.neighbour.ip), "outside");
    assertEquals(await reach(machine.host, machine.neighbour.ip), "outside");

    // One that goes takes its group with it: the others are known as before.
    await other.end();
    await change(() =>
      box.client.delete({ resource: PODS, namespace: "default", name: "other" }, {
        gracePeriodSeconds: 0,
      })
    );
    assertEquals(await client.ask(web.ip, 8080), { [`web ${client.ip}`]: 1 });
    for (const name of ["web", "box", "quiet"]) await end(name);
    assertEquals(await reach(client, box1.ip), "box");
    assertEquals(await machine.netfilter.ask("nft", ["list", "tables"]), "");
  },
);

Deno.test("policyNotice() says once of each node that policies are not kept there, when there is one", async () => {
  await using box = await openBox();
  box.system.spawn("policy/notice", policyNotice(["a", "b"], "not here"));
  const create = (name: string) =>
    box.client.create({ resource: POLICIES, namespace: "default" }, {
      metadata: { name },
      spec: { podSelector: {} },
    });
  const told = async () =>
    (await box.events()).filter((one) => one.includes("NetworkPolicyNotEnforced"));
  assertEquals(await told(), []);
  await create("one");
  await box.until("both have said so", async () => (await told()).length === 2);
  await create("two");
  const text = "Warning NetworkPolicyNotEnforced not here";
  assertEquals(await told(), [text, text]);
});
