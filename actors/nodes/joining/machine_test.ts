/** A joined machine under a virtual clock: what it writes, hours offline, and what it finds at its return. */
import { assert, assertEquals } from "@std/assert";
import type { Client, Target } from "../../../api/client/contract.ts";
import { carrierPair, type TestCarrier } from "../../../api/client/tunnel_fixture.ts";
import type { KubeObject } from "../../../api/machinery/types.ts";
import { ManualClock } from "../../../kv/clock.ts";
import { Cluster } from "../../../mod.ts";
import { startMachine } from "./machine.ts";

const core = (plural: string) => ({ group: "", version: "v1", plural });
const NODES = core("nodes");
const at = { resource: core("pods"), namespace: "default" };

/** A client that notes what is written, and can be cut off. */
function throughNetwork(client: Client, net: { up: boolean }, writes: string[]): Client {
  const guard =
    <T extends unknown[], R>(verb: string, call: (...args: T) => Promise<R>) =>
    (...args: T): Promise<R> => {
      if (!net.up) return Promise.reject(new Error("no route to host"));
      const { resource, subresource } = args[0] as Target;
      if (verb) writes.push([verb, resource.plural, subresource].filter(Boolean).join(" "));
      return call(...args);
    };
  const wrapped = {
    ...client,
    get: guard("", client.get),
    list: guard("", client.list),
    watch: guard("", client.watch),
    create: guard("create", client.create),
    update: guard("update", client.update),
    patch: guard("patch", client.patch),
    delete: guard("delete", client.delete),
    because: (...why: Parameters<Client["because"]>) =>
      throughNetwork(client.because(...why), net, writes),
  };
  return wrapped as Client;
}

async function world({ up = true, manifests }: { up?: boolean; manifests?: string } = {}) {
  const clock = new ManualClock({ seed: 7 });
  // Where every node of a zone is away, none is evicted: others are well
  const cluster = await Cluster.start({ clock, nodes: 2 });
  const user = { name: "system:node:far", groups: ["system:nodes", "system:authenticated"] };
  const net = { up, address: "172.30.0.2", carriers: [] as TestCarrier[] };
  const writes: string[] = [];
  const client = throughNetwork(cluster.api.client(user, "kubelet"), net, writes);
  const machine = await startMachine({
    name: "far",
    clock,
    log: () => {},
    folder: "/nowhere",
    runtime: "simulated",
    kubelet: { manifests },
    ranges: { podRange: "10.244.0.0/16", serviceRange: "10.96.0.0/12" },
    api: { client, drop: () => {} },
    endpoint: () => ({ url: "https://172.30.0.1:6443" }),
    host: {
      dialTunnel() {
        if (!net.up) return Promise.reject(new Error("no route to host"));
        const [here, there] = carrierPair();
        net.carriers.push(here);
        void cluster.api.tunnels.serve("far", there);
        return Promise.resolve(here);
      },
      wayTo: () =>
        net.up
          ? Promise.resolve({ local: net.address, remote: "172.30.0.1" })
          : Promise.reject(new Error("no route to host")),
    },
  });
  const pass = async (ms: number, step = 1_000) => {
    for (let done = 0; done < ms; done += step) {
      await clock.advance(step);
      await cluster.settle({ within: 0 }).catch(() => undefined);
    }
  };
  /** Seconds until something holds. */
  const until = async (what: string, holds: () => Promise<unknown>, seconds = 300) => {
    for (let s = 0; s < seconds; s++) {
      if (await holds().catch(() => false)) return s;
      await pass(1_000);
    }
    throw new Error(`did not come: ${what}`);
  };
  const ready = async () => {
    const node = await cluster.client.get<KubeObject>({ resource: NODES, name: "far" });
    const conditions = node.status.conditions as { type: string; status: string }[];
    return conditions.find(({ type }) => type === "Ready")?.status;
  };
  if (up) await until("the node is ready", async () => await ready() === "True");
  const stop = async () => {
    await machine.stop();
    await cluster.stop();
  };
  const { node } = machine;
  return { cluster, client: cluster.client, node, net, writes, pass, until, ready, stop };
}

const pod = (name: string, more: object = {}) => ({
  metadata: { name },
  spec: { containers: [{ name: "c", image: "nginx" }], tolerations: [], ...more },
});

Deno.test("a joined machine that has nothing to do writes its lease every ten seconds and its status every five minutes", async () => {
  const w = await world();
  await w.pass(60_000);
  w.writes.length = 0;
  await w.pass(30 * 60_000, 5_000);
  const count = (what: string) => w.writes.filter((write) => write === what).length;
  assertEquals(count("patch leases"), 180);
  assertEquals(count("patch nodes status"), 6);
  assertEquals(w.writes.length, 186);
  await w.stop();
});

Deno.test("a machine that is cut off is NotReady within its grace, and back soon after hours", async () => {
  const w = await world();
  await w.client.create(at, pod("stays", { nodeName: "far" }));
  await w.client.create(at, pod("goes", { nodeName: "far" }));
  const phase = async (name: string) =>
    (await w.client.get<KubeObject>({ ...at, name })).status?.phase;
  await w.until(
    "both run",
    async () => await phase("stays") === "Running" && await phase("goes") === "Running",
  );
  w.net.up = false;
  for (const carrier of w.net.carriers) carrier.cut();
  const seconds = await w.until("it is unreachable", async () => await w.ready() === "Unknown");
  assert(seconds >= 40 && seconds <= 61, `after ${seconds} s`);
  const { uid } = (await w.client.get({ ...at, name: "goes" })).metadata;
  await w.until(
    "its pods are to go",
    async () => (await w.client.get({ ...at, name: "goes" })).metadata.deletionTimestamp,
    400,
  );
  await w.pass(5 * 3_600_000, 60_000);
  // Nobody can tell whether they still run: they stay until their machine says so
  assertEquals((await w.client.get({ ...at, name: "goes" })).metadata.uid, uid);
  assertEquals(w.cluster.api.tunnels.names(), []);

  w.net.up = true;
  w.net.address = "172.30.9.9";
  await w.until("it is back", async () => await w.ready() === "True", 90);
  await w.until("it has dialled in", () => Promise.resolve(w.cluster.api.tunnels.find("far")), 90);
  await w.until("its pods have gone", async () => (await w.client.list(at)).items.length === 0);
  await w.until("its new address is known", async () => {
    const node = await w.client.get<KubeObject>({ resource: NODES, name: "far" });
    return node.status.addresses[0].address === "172.30.9.9";
  });
  await w.stop();
});

Deno.test("a machine whose Node was deleted while it was away registers again, and ends what nobody knows", async () => {
  const w = await world();
  await w.client.create(at, pod("orphan", { nodeName: "far" }));
  await w.until(
    "it runs",
    async () =>
      (await w.client.get<KubeObject>({ ...at, name: "orphan" })).status?.phase === "Running",
  );
  w.net.up = false;
  for (const carrier of w.net.carriers) carrier.cut();
  await w.client.delete({ resource: NODES, name: "far" });
  await w.until("its pods are collected", async () => (await w.client.list(at)).items.length === 0);
  w.net.up = true;
  await w.until("it is registered again", async () => await w.ready() === "True");
  await w.until("it runs nothing", async () => {
    const api = w.cluster.api.tunnels.find("far");
    const running = await api!.fetch(new Request("http://far/runningpods/"));
    return (await running.json()).items.length === 0;
  });
  await w.stop();
});

Deno.test("a machine that starts while the server is away runs its static pods at once, and registers later", async () => {
  const manifests = await Deno.makeTempDir({ prefix: "plesio-manifests-" });
  await Deno.writeTextFile(
    `${manifests}/web.json`,
    JSON.stringify({ apiVersion: "v1", kind: "Pod", ...pod("web", { hostNetwork: true }) }),
  );
  const w = await world({ up: false, manifests });
  await w.until("the pod runs", async () => {
    const answer = await w.node.api.fetch(new Request("http://node/pods"));
    const { items } = await answer.json() as { items: KubeObject[] };
    return items.some((one) => one.status?.phase === "Running");
  }, 10);
  // Hours later nothing has been given up
  await w.pass(2 * 3_600_000, 60_000);
  assertEquals(w.writes, []);
  w.net.up = true;
  await w.until("the node is ready", async () => await w.ready() === "True", 90);
  await w.until("its pod has a mirror", async () => {
    const mirror = await w.client.get<KubeObject>({ ...at, name: "web-far" });
    return mirror.status?.phase === "Running";
  }, 60);
  await w.stop();
  await Deno.remove(manifests, { recursive: true });
});
