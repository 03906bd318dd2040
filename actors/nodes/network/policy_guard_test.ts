import { assertEquals } from "@std/assert";
import { RealClock } from "../../../kv/clock.ts";
import { openBox } from "../fixture_test.ts";
import { type Host, Machine, packetTest } from "./machine_fixture_test.ts";
import { policyGuard } from "./policy_guard.ts";

const POLICIES = { group: "networking.k8s.io", version: "v1", plural: "networkpolicies" };
const PODS = { group: "", version: "v1", plural: "pods" };
const NAMESPACES = { group: "", version: "v1", plural: "namespaces" };

packetTest("policies let pass what they say and nothing else, in both directions", async () => {
  await using box = await openBox({ clock: new RealClock() });
  await using machine = await Machine.open();
  const rung = new Set<() => void>();
  box.system.spawn(
    "policy/test",
    policyGuard({
      table: { family: 4, name: "plesio-policy", podRanges: ["10.244.0.0/16"] },
      nodes: new Set(["plesio-0"]),
      netfilter: machine.netfilter,
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
    await box.pod(name, "plesio-0", {
      containers: [{ name: "c", image: "x", ports: [{ name: "http", containerPort: 8080 }] }],
      ...spec,
    }, { labels: { app: name } });
    await box.client.patch({ resource: PODS, namespace: "default", name, subresource: "status" }, {
      type: "merge",
      body: { status: { phase: "Running", podIP: ip, podIPs: [{ ip }] } },
    });
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
  const reach = async (from: Host, to: string, port = 8080) =>
    Object.keys(await from.ask(to, port))[0].split(" ")[0];

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
  for (const name of ["web", "outside", "quiet"]) {
    await change(() => box.client.delete({ resource: POLICIES, namespace: "default", name }));
  }
  assertEquals(await reach(client, other.ip), "up");
  assertEquals(await machine.netfilter.ask("nft", ["list", "tables"]), "");
});
