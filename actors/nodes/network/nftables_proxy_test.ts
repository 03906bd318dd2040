import { assert, assertEquals } from "@std/assert";
import type { KubeObject } from "../../../api/machinery/types.ts";
import { RealClock } from "../../../kv/clock.ts";
import { type Box, openBox } from "../fixture_test.ts";
import { type Host, Machine, packetTest } from "./machine_fixture_test.ts";
import { serviceRules } from "./nftables.ts";
import { nftablesProxy, staleFlows } from "./nftables_proxy.ts";
import { Table } from "./nftables_table.ts";
import { policyTable } from "./policy_rules.ts";
import { policyScript } from "./policy_script.ts";

const SERVICES = { group: "", version: "v1", plural: "services" };
const PODS = { group: "", version: "v1", plural: "pods" };
const SLICES = { group: "discovery.k8s.io", version: "v1", plural: "endpointslices" };
const TABLE = "plesio-proxy";

/** A proxy of a machine's, and what tests change in its cluster. */
class World implements AsyncDisposable {
  readonly #applied = new Set<() => void>();
  readonly box: Box;
  readonly machine: Machine;
  readonly #owns: boolean;
  /** Transactions that failed: the proxy would hide them by making the table anew. */
  readonly failures: unknown[] = [];

  private constructor(box: Box, machine: Machine, owns: boolean) {
    this.box = box;
    this.machine = machine;
    this.#owns = owns;
  }

  /** On a machine of its own, or on one that another world has. */
  static async open(machine?: Machine): Promise<World> {
    const box = await openBox({ clock: new RealClock() });
    const world = new World(box, machine ?? await Machine.open(), machine === undefined);
    world.startProxy();
    return world;
  }

  startProxy(): void {
    const nodeAddresses = ["10.244.255.1", "192.168.7.1"];
    const { netfilter } = this.machine;
    const noted = (error: unknown) => {
      this.failures.push(error);
      throw error;
    };
    this.box.system.spawn(
      "proxy/test",
      nftablesProxy({
        table: {
          family: 4,
          name: TABLE,
          podRanges: ["10.244.0.0/16"],
          nodePortAddresses: nodeAddresses,
          bridged: true,
        },
        hostPortAddresses: (node) => node === "plesio-0" ? nodeAddresses : [],
        place: () => ({ family: 4, nodes: new Set(["plesio-0"]), nodeAddresses }),
        netfilter: { ...netfilter, apply: (script) => netfilter.apply(script).catch(noted) },
        applied: () => this.#applied.forEach((ring) => ring()),
      }),
    );
  }

  /** Makes a change and resolves when the rules are written. */
  async change(make: () => Promise<unknown>): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    await make();
    this.#applied.add(resolve);
    await promise;
    this.#applied.delete(resolve);
    await this.box.until("the rules to be written", () => this.box.system.busy().length === 0);
  }

  async service(name: string, spec: object, status?: object, labels = {}): Promise<void> {
    const target = { resource: SERVICES, namespace: "default", name };
    await this.box.client.create({ resource: SERVICES, namespace: "default" }, {
      apiVersion: "v1",
      kind: "Service",
      metadata: { name, labels },
      spec: { ports: [{ port: 80, targetPort: 8080 }], ...spec },
    });
    if (!status) return;
    await this.box.client.patch({ ...target, subresource: "status" }, {
      type: "merge",
      body: { status: { loadBalancer: status } } as never,
    });
  }

  async endpoints(of: string, endpoints: object[], protocol = "TCP"): Promise<void> {
    const metadata = { name: `${of}-1`, labels: { "kubernetes.io/service-name": of } };
    const slice = {
      apiVersion: "discovery.k8s.io/v1",
      kind: "EndpointSlice",
      metadata,
      addressType: "IPv4",
      endpoints,
      ports: [{ name: "", port: 8080, protocol }],
    };
    const target = { resource: SLICES, namespace: "default" };
    await this.box.client.patch({ ...target, name: metadata.name }, {
      type: "apply",
      body: slice as never,
      force: true,
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    assertEquals(this.failures, []);
    await this.box[Symbol.asyncDispose]();
    if (this.#owns) await this.machine[Symbol.asyncDispose]();
  }
}

const at = (ip: string, rest: object = {}) => ({
  addresses: [ip],
  nodeName: "plesio-0",
  conditions: { ready: true },
  ...rest,
});

/** Two pods that answer with their names, on port 8080. */
async function twoPods(machine: Machine) {
  const [a, b] = [await machine.pod("10.244.0.11"), await machine.pod("10.244.0.12")];
  await a.serve(8080, "a");
  await b.serve(8080, "b");
  return [a, b];
}

function names(tally: Record<string, number>): string[] {
  return Object.keys(tally).map((answer) => answer.split(" ")[0]).sort();
}

packetTest(
  "a ClusterIP is answered by every endpoint, for pods, the machine and a pod itself",
  async () => {
    await using world = await World.open();
    const { machine } = world;
    const [a, b] = await twoPods(machine);
    // An isolate: a process of the machine, bound to an address of another node's range.
    await machine.host.serve(8080, "isolate", "10.244.1.5");
    await world.change(async () => {
      await world.endpoints("web", [at(a.ip), at(b.ip), at("10.244.1.5")]);
      await world.service("web", { clusterIP: "10.96.1.1" });
    });
    const everyone = ["a", "b", "isolate"];
    assertEquals(names(await machine.host.ask("10.96.1.1", 80, { times: 60 })), everyone);
    const fromPod = await a.ask("10.96.1.1", 80, { times: 60 });
    assertEquals(names(fromPod), everyone);
    assert(fromPod["b 10.244.0.11"] > 0, "pods see each other's addresses");
    // A pod that reaches itself through its service comes from the machine.
    assert(fromPod["a 10.244.0.1"] > 0, JSON.stringify(fromPod));
    assertEquals(names(await a.ask("10.96.1.1", 81)), ["refused"]);
  },
);

packetTest("a service without endpoints refuses, and one that gets some is reached", async () => {
  await using world = await World.open();
  const { machine } = world;
  const pod = await machine.pod("10.244.0.11");
  const other = await machine.pod("10.244.0.12");
  await other.serve(8080, "b");
  await world.change(() =>
    world.service("web", {
      clusterIP: "10.96.1.1",
      type: "NodePort",
      ports: [{ port: 80, nodePort: 30080 }],
    })
  );
  assertEquals(await pod.ask("10.96.1.1", 80), { refused: 1 });
  assertEquals(await machine.neighbour.ask("192.168.7.1", 30080), { refused: 1 });
  await world.change(() => world.endpoints("web", [at(other.ip)]));
  assertEquals(names(await pod.ask("10.96.1.1", 80)), ["b"]);
  assertEquals(await machine.neighbour.ask("192.168.7.1", 30080), { "b 10.244.0.1": 1 });
  assertEquals(names(await machine.host.ask("10.244.255.1", 30080)), ["b"]);
  await world.change(() =>
    world.box.client.delete({ resource: SERVICES, namespace: "default", name: "web" })
  );
  assertEquals(await pod.ask("10.96.1.1", 80), { refused: 1 });
});

packetTest(
  "policy Local keeps the client's address and drops where there is no endpoint",
  async () => {
    await using world = await World.open();
    const { machine } = world;
    const [a, b] = await twoPods(machine);
    const spec = {
      type: "LoadBalancer",
      clusterIP: "10.96.1.1",
      externalTrafficPolicy: "Local",
      ports: [{ port: 80, nodePort: 30080 }],
    };
    await world.change(async () => {
      await world.endpoints("web", [at(a.ip), at(b.ip, { nodeName: "elsewhere" })]);
      await world.service("web", spec, { ingress: [{ ip: "10.111.255.9", ipMode: "VIP" }] });
    });
    const times = { times: 20 };
    assertEquals(await machine.neighbour.ask("192.168.7.1", 30080, times), { "a 192.168.7.2": 20 });
    assertEquals(await machine.neighbour.ask("10.111.255.9", 80, times), { "a 192.168.7.2": 20 });
    assertEquals(names(await machine.host.ask("10.111.255.9", 80, times)), ["a", "b"]);
    assertEquals(names(await a.ask("10.111.255.9", 80, { times: 40 })), ["a", "b"]);
    await world.change(() => world.endpoints("web", [at(b.ip, { nodeName: "elsewhere" })]));
    assertEquals(await machine.neighbour.ask("192.168.7.1", 30080), { timeout: 1 });
    assertEquals(names(await machine.host.ask("192.168.7.1", 30080)), ["b"]);
  },
);

packetTest(
  "a LoadBalancer with source ranges and external IPs answers only those it may",
  async () => {
    await using world = await World.open();
    const { machine } = world;
    const a = await machine.pod("10.244.0.11");
    await a.serve(8080, "a");
    const spec = { type: "LoadBalancer", clusterIP: "10.96.1.1", externalIPs: ["10.111.0.9"] };
    const ip = "10.111.255.9";
    await world.change(async () => {
      await world.endpoints("web", [at(a.ip)]);
      await world.service(
        "web",
        { ...spec, loadBalancerSourceRanges: ["10.244.0.0/16", "10.244.1.0/24"] },
        { ingress: [{ ip, ipMode: "VIP" }] },
      );
    });
    assertEquals(names(await a.ask(ip, 80)), ["a"]);
    assertEquals(await machine.neighbour.ask(ip, 80), { timeout: 1 });
    assertEquals(names(await machine.neighbour.ask("10.111.0.9", 80)), ["a"]);
  },
);

packetTest("a host port leads to its container until the pod goes", async () => {
  await using world = await World.open();
  const { machine, box } = world;
  const a = await machine.pod("10.244.0.11");
  await a.serve(8080, "a");
  const ports = [{ containerPort: 8080, hostPort: 8088 }];
  const containers = [{ name: "c", image: "x", ports }];
  const target = { resource: PODS, namespace: "default", name: "web" };
  const status = { phase: "Running", podIP: a.ip, podIPs: [{ ip: a.ip }] };
  await box.pod("web", "plesio-0", { containers, terminationGracePeriodSeconds: 0 });
  await world.change(() =>
    box.client.patch({ ...target, subresource: "status" }, { type: "merge", body: { status } })
  );
  assertEquals(names(await machine.neighbour.ask("192.168.7.1", 8088)), ["a"]);
  assertEquals(names(await machine.host.ask("10.244.255.1", 8088)), ["a"]);
  await world.change(() => box.client.delete(target, { gracePeriodSeconds: 0 }));
  assertEquals(await machine.neighbour.ask("192.168.7.1", 8088), { refused: 1 });
});

packetTest("ClientIP affinity holds a client until its endpoint goes", async () => {
  await using world = await World.open();
  const { machine } = world;
  const pods = await Promise.all(
    ["10.244.0.11", "10.244.0.12", "10.244.0.13"].map((ip) => machine.pod(ip)),
  );
  for (const pod of pods) await pod.serve(8080, pod.ip);
  await world.change(async () => {
    await world.endpoints("web", pods.map(({ ip }) => at(ip)));
    await world.service("web", {
      clusterIP: "10.96.1.1",
      sessionAffinity: "ClientIP",
      type: "NodePort",
      ports: [{ port: 80, nodePort: 30080 }],
    });
  });
  const { neighbour } = machine;
  const first = names(await neighbour.ask("192.168.7.1", 30080, { times: 20 }));
  assertEquals(first.length, 1);
  assertEquals(names(await pods[0].ask("10.96.1.1", 80, { times: 20 })).length, 1);
  await world.change(() =>
    world.endpoints("web", pods.filter(({ ip }) => ip !== first[0]).map(({ ip }) => at(ip)))
  );
  const second = names(await neighbour.ask("192.168.7.1", 30080, { times: 20 }));
  assertEquals(second.length, 1);
  assert(second[0] !== first[0] && second[0] !== "timeout", second[0]);
});

packetTest("a flow of datagrams leaves an endpoint that is gone", async () => {
  await using world = await World.open();
  const { machine } = world;
  const [a, b] = await twoPods(machine);
  const ports = [{ port: 53, targetPort: 8080, protocol: "UDP" }];
  await world.change(async () => {
    await world.endpoints("dns", [at(a.ip)], "UDP");
    await world.service("dns", { clusterIP: "10.96.1.1", ports });
  });
  const ask = () => machine.host.askDatagram("10.96.1.1", 53, { source: 40_000 });
  assertEquals(names(await ask()), ["a"]);
  await world.change(() => world.endpoints("dns", [at(b.ip)], "UDP"));
  assertEquals(names(await ask()), ["b"]);
});

packetTest(
  "a proxy that follows a killed one makes the table anew, a clean stop removes it",
  async () => {
    await using world = await World.open();
    const { machine } = world;
    const [a, b] = await twoPods(machine);
    await world.change(async () => {
      await world.endpoints("web", [at(a.ip)]);
      await world.service("web", { clusterIP: "10.96.1.1" });
      await world.service("gone", { clusterIP: "10.96.1.9" });
    });
    // The next life finds a table with a service that is gone since, and endpoints that are others now.
    await using next = await World.open(machine);
    await next.change(async () => {
      await next.endpoints("web", [at(b.ip)]);
      await next.service("web", { clusterIP: "10.96.1.1" });
    });
    assertEquals(names(await machine.host.ask("10.96.1.1", 80, { times: 5 })), ["b"]);
    const left = await machine.netfilter.ask("nft", ["list", "set", "ip", TABLE, "cluster-ips"]);
    assert(left.includes("10.96.1.1") && !left.includes("10.96.1.9"), left);
    // Somebody takes the table away: the next change makes all of it again.
    await machine.netfilter.apply(`delete table ip ${TABLE}`);
    await next.change(() => next.service("late", { clusterIP: "10.96.1.2" }));
    assertEquals(names(await machine.host.ask("10.96.1.1", 80)), ["b"]);
    assertEquals(next.failures.splice(0).length, 1);
    await next.box.system.stop();
    assertEquals(await machine.netfilter.ask("nft", ["list", "tables"]), "");
  },
);

packetTest("a rolling update of three pods loses none of 200 requests a second", async () => {
  await using world = await World.open();
  const { machine } = world;
  const pods: Host[] = [];
  for (const n of [11, 12, 13, 21, 22, 23]) pods.push(await machine.pod(`10.244.0.${n}`));
  const served = await Promise.all(pods.map((pod) => pod.serve(8080, pod.ip)));
  const [old, fresh] = [pods.slice(0, 3), pods.slice(3)];
  await world.change(async () => {
    await world.endpoints("web", old.map(({ ip }) => at(ip)));
    await world.service("web", { clusterIP: "10.96.1.1" });
  });
  const asking = machine.host.run<Record<string, number>>(steadily("10.96.1.1", 80, 600, 5));
  const leaving = { conditions: { ready: false, serving: true, terminating: true } };
  for (let i = 0; i < 3; i++) {
    await world.change(() =>
      world.endpoints("web", [
        ...fresh.slice(0, i + 1).map(({ ip }) => at(ip)),
        ...old.slice(i + 1).map(({ ip }) => at(ip)),
        at(old[i].ip, leaving),
      ])
    );
    // As a preStop hook: what was on its way when the rules changed is answered.
    await new Promise((resolve) => setTimeout(resolve, 300));
    await served[i].stop();
  }
  const tally = await asking;
  const answers = names(tally);
  assertEquals(answers.filter((name) => !name.startsWith("10.244.")), [], JSON.stringify(tally));
  assertEquals(Object.values(tally).reduce((a, b) => a + b), 600);
  for (const { ip } of fresh) assert(answers.includes(ip), JSON.stringify(tally));
});

/** Connects every so many ms, whether or not earlier ones were answered. */
function steadily(address: string, port: number, times: number, everyMs: number): string {
  return `
    const tally = {};
    const one = async () => {
      let got;
      try {
        const conn = await Deno.connect({ hostname: "${address}", port: ${port} });
        got = await new Response(conn.readable).text();
      } catch (error) { got = error.message.replaceAll(" ", "_"); }
      tally[got] = (tally[got] ?? 0) + 1;
    };
    const all = [];
    const start = performance.now();
    for (let i = 0; i < ${times}; i++) {
      const wait = start + i * ${everyMs} - performance.now();
      if (wait > 0) await new Promise((yes) => setTimeout(yes, wait));
      all.push(one());
    }
    await Promise.all(all);
    console.log(JSON.stringify(tally));
    Deno.exit(0);`;
}

packetTest(
  "the rules and policies of IPv6 are ones that nft takes and packets follow",
  async () => {
    await using machine = await Machine.open();
    const { host, netfilter } = machine;
    await host.sh(`
    ip -6 addr add fd00:244::5/128 dev lo; ip -6 addr add fd00:244::6/128 dev lo
    ip -6 route add local fd00:96::/64 dev lo`);
    await host.serve(8080, "five", "fd00:244::5");
    await host.serve(8080, "six", "fd00:244::6");
    const podRanges = ["10.244.0.0/16", "fd00:244::/64"];
    const family = 6;
    const table = new Table({
      family,
      name: TABLE,
      podRanges,
      nodePortAddresses: [],
      bridged: false,
    });
    const spec = {
      clusterIPs: ["10.96.0.7", "fd00:96::7"],
      clusterIP: "10.96.0.7",
      ports: [{ port: 80 }],
    };
    const service = { metadata: { name: "web" }, spec: { ...spec, sessionAffinity: "ClientIP" } };
    const slice = {
      metadata: {},
      addressType: "IPv6",
      ports: [{ port: 8080 }],
      endpoints: [{ addresses: ["fd00:244::5"] }, { addresses: ["fd00:244::6"] }],
    };
    const of = (object: object) => object as unknown as KubeObject;
    const place = { family, nodes: new Set<string>(), nodeAddresses: [] } as const;
    table.set("web", serviceRules(of(service), [of(slice)], place).elements);
    await netfilter.apply(table.script());
    const answered = names(await host.ask("fd00:96::7", 80, { times: 20 }));
    assert(answered.length === 1 && /^(five|six)$/.test(answered[0]), answered.join());
    const nodes = new Set(["n"]);
    const status = { podIPs: [{ ip: "fd00:244::5" }] };
    const policies = policyTable({
      family,
      nodes,
      namespaces: [],
      pods: [of({ metadata: { name: "p", namespace: "d" }, spec: { nodeName: "n" }, status })],
      policies: [of({
        metadata: { name: "p", namespace: "d" },
        spec: {
          podSelector: {},
          ingress: [{
            from: [{ ipBlock: { cidr: "fd00::/8", except: ["fd00:1::/64"] } }],
            ports: [{ port: 1 }],
          }],
        },
      })],
    });
    await netfilter.apply(
      policyScript(undefined, policies, {
        family,
        name: "plesio-policy",
        podRanges: ["fd00:244::/64"],
      }),
    );
  },
);

Deno.test("staleFlows() names flows whose answers come from nobody who serves", () => {
  const listing = [
    "udp      17 29 src=10.244.0.1 dst=10.96.0.10 sport=40000 dport=53 src=10.244.0.5 dst=10.244.0.1 sport=8080 dport=40000 mark=0 use=1",
    "udp      17 29 src=10.244.0.1 dst=10.96.0.10 sport=40001 dport=53 src=10.244.0.6 dst=10.244.0.1 sport=8080 dport=40001 [ASSURED] mark=0 use=1",
    "udp      17 29 src=10.244.0.1 dst=10.96.0.11 sport=40001 dport=53 [UNREPLIED] src=10.96.0.11 dst=10.244.0.1 sport=53 dport=40001 mark=0 use=1",
    "udp      17 29 src=9.9.9.9 dst=192.168.7.1 sport=40001 dport=30053 src=10.244.0.5 dst=10.244.0.1 sport=8080 dport=40001 mark=0 use=1",
    "",
  ].join("\n");
  const serving = new Set(["10.244.0.6 8080"]);
  const flows = new Map([["10.96.0.10 53", serving], ["10.96.0.11 53", serving], [
    " 30053",
    serving,
  ]]);
  assertEquals(staleFlows(listing, flows), [
    ["10.96.0.10", "53", "10.244.0.5", "8080"],
    ["10.96.0.11", "53", "10.96.0.11", "53"],
    ["192.168.7.1", "30053", "10.244.0.5", "8080"],
  ]);
});
