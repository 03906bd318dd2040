/**
 * A machine joins a cluster over TLS by the command's own code, in this process: tokens, certificate, kubelet under its
 * own identity, tunnel, renewal, and a later start without a token.
 */
import { assert, assertEquals, assertRejects } from "@std/assert";
import { machineHost, startMachine } from "../../actors/nodes/mod.ts";
import { runNodeCommand } from "../../api/config/node.ts";
import { runTokenCommand } from "../../api/config/token.ts";
import { UsageError } from "../../api/config/flags.ts";
import { authorityHashes } from "../../api/joining/mod.ts";
import type { Client } from "../../api/client/contract.ts";
import type { KubeObject } from "../../api/machinery/types.ts";
import { urlOutbound } from "../../api/mod.ts";
import { RealClock } from "../../kv/clock.ts";
import { Cluster, type ClusterOptions } from "../../mod.ts";

const core = (plural: string) => ({ group: "", version: "v1", plural });
const PODS = core("pods");
const NODES = core("nodes");
const clock = new RealClock();
const outbound = urlOutbound(clock);

/** Waits until something holds. */
async function eventually<T>(look: () => Promise<T | undefined | false>, what: string): Promise<T> {
  for (const until = Date.now() + 20_000;;) {
    const found = await look().catch(() => undefined);
    if (found) return found;
    if (Date.now() > until) throw new Error(`did not come: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

/** Runs `deno task token`; what it prints. */
async function token(kubeconfig: string, ...args: string[]): Promise<string> {
  const lines: string[] = [];
  const print = (line: string) => void lines.push(line);
  await runTokenCommand([...args, "--kubeconfig", kubeconfig], {
    outbound,
    clock,
    print,
    warn: () => {},
  });
  return lines.join("\n");
}

type Machine = Parameters<typeof startMachine>[0];

/** Runs `deno task node` until `stop` is called. */
function node(args: string[]) {
  const stopping = Promise.withResolvers<string>();
  const started = Promise.withResolvers<Machine>();
  const lines: string[] = [];
  const ended = runNodeCommand([...args, "--runtime", "simulated"], {
    outbound,
    clock,
    hostname: () => "Far",
    start: async (machine) => {
      const options = { ...machine, clock, host: machineHost() };
      const running = await startMachine(options);
      started.resolve(options);
      return running;
    },
    log: () => () => {},
    print: (line) => void lines.push(line),
    stopping: stopping.promise,
  });
  ended.catch((error) => started.reject(error));
  started.promise.catch(() => {});
  const stop = async () => {
    stopping.resolve("test");
    await ended;
  };
  return { lines, stop, ended, started: started.promise };
}

async function world(options: ClusterOptions = { nodes: 0, runtime: "simulated" }) {
  const folder = await Deno.makeTempDir();
  const cluster = await Cluster.start({ clock: "real", ...options });
  const { url } = await cluster.listen({ port: 0 });
  const kubeconfig = `${folder}/kubeconfig`;
  await Deno.writeTextFile(kubeconfig, await cluster.kubeconfig());
  const { authorityPem } = await cluster.access();
  const [hash] = authorityHashes(authorityPem);
  const data = `${folder}/far`;
  const close = async () => {
    await cluster.stop();
    await Deno.remove(folder, { recursive: true });
  };
  return { cluster, client: cluster.client, url, kubeconfig, hash, data, close };
}

function ready(client: Client, name: string) {
  return eventually(async () => {
    const found = await client.get<KubeObject>({ resource: NODES, name });
    return found.status?.conditions?.some((c: { type: string; status: string }) =>
      c.type === "Ready" && c.status === "True"
    ) && found;
  }, `node ${name} is ready`);
}

Deno.test("tokens are made, listed and deleted as kubeadm's", async () => {
  const w = await world();
  const made = await token(w.kubeconfig, "create", "--ttl", "1h", "--description", "for the shed");
  assert(/^[a-z0-9]{6}\.[a-z0-9]{16}$/.test(made));
  await token(w.kubeconfig, "create", "abcdef.0123456789abcdef", "--ttl=0", "--usages=signing");
  const table = (await token(w.kubeconfig, "list")).split("\n");
  assertEquals(table[0].split(/ {2,}/), [
    "TOKEN",
    "TTL",
    "EXPIRES",
    "USAGES",
    "DESCRIPTION",
    "EXTRA GROUPS",
  ]);
  assert(table.some((line) => line.startsWith(`${made}   59m`) && line.includes("for the shed")));
  assert(
    table.some((line) =>
      /^abcdef\.0123456789abcdef {3}<forever> {3}<never> {3}signing /.test(line)
    ),
    table.join("\n"),
  );
  assertEquals(await token(w.kubeconfig, "delete", "abcdef"), 'bootstrap token "abcdef" deleted');
  const command = await token(w.kubeconfig, "create", "--print-join-command");
  const pattern = /^deno task node --server https:\/\/127\.0\.0\.1:\d+ --token \S{23} --ca-hash /;
  assert(pattern.test(command) && command.endsWith(w.hash), command);
  for (
    const [args, text] of [
      [["create", "nonsense"], 'the bootstrap token "nonsense" was not of the form'],
      [["create", "--usages=sing"], "invalid bootstrap token usage string: sing"],
      [["create", "--groups=admins"], 'bootstrap group "admins" is invalid'],
      [["delete"], "missing argument"],
      [["delete", "x"], "given token didn't match pattern"],
      [["make"], 'Unknown command "make"'],
    ] as const
  ) {
    await assertRejects(() => token(w.kubeconfig, ...args), UsageError, text);
  }
  await w.close();
});

Deno.test("a machine joins with a token, runs pods as its node alone, and needs no token again (once)", async () => {
  const w = await world();
  const join = await token(w.kubeconfig, "create");
  const far = node([
    "--server",
    w.url,
    "--token",
    join,
    "--discovery-token-ca-cert-hash",
    w.hash,
    "--data",
    w.data,
    "--node-labels=disk=ssd",
    "--register-with-taints=dedicated=far:NoSchedule",
  ]);
  const machine = await far.started;
  assert(far.lines.includes("This node has joined the cluster:"));
  const found = await ready(w.client, "far");
  assertEquals(found.metadata.labels!.disk, "ssd");
  const taint = { key: "dedicated", value: "far", effect: "NoSchedule" };
  assertEquals(found.spec.taints.filter((t: { key: string }) => t.key === "dedicated"), [taint]);
  const { mode } = await Deno.stat(`${w.data}/kubelet.conf`);
  assertEquals(mode! & 0o777, 0o600);

  // The node's own client can do what a kubelet may, and read what policies are about; no more.
  const as = machine.api.client;
  await w.client.create({ resource: core("secrets"), namespace: "default" }, {
    metadata: { name: "s" },
    stringData: { a: "1" },
  });
  for (const resource of ["secrets", "configmaps", "persistentvolumeclaims"]) {
    await assertRejects(() => as.list({ resource: core(resource) }), Error, "forbidden");
  }
  await as.list({ resource: PODS });
  await assertRejects(() =>
    as.patch({ resource: NODES, name: "other" }, { type: "merge", body: {} })
  );

  const at = { resource: PODS, namespace: "default" };
  const secret = { name: "s", secret: { secretName: "s" } };
  await w.client.create(at, {
    metadata: { name: "p" },
    spec: {
      nodeName: "far",
      tolerations: [{ operator: "Exists" }],
      volumes: [secret],
      containers: [{ name: "c", image: "nginx", volumeMounts: [{ name: "s", mountPath: "/s" }] }],
    },
  });
  await eventually(
    async () => (await w.client.get({ ...at, name: "p" })).status?.phase === "Running",
    "the pod runs",
  );
  assertEquals(
    (await as.get({ resource: core("secrets"), namespace: "default", name: "s" })).data,
    {
      a: "MQ==",
    },
  );
  await eventually(
    () => Promise.resolve(w.cluster.api.tunnels.find("far")),
    "the node has dialled in",
  );
  const log = await w.cluster.fetch("/api/v1/namespaces/default/pods/p/log");
  assert((await log.text()).startsWith("simulated: created container c"));
  const usage = await w.cluster.fetch("/apis/metrics.k8s.io/v1beta1/nodes/far");
  assertEquals((await usage.json()).metadata.name, "far");
  await w.client.delete({ ...at, name: "p" });
  const gone = () => w.client.get({ ...at, name: "p" }).then(() => false, () => true);
  await eventually(gone, "the pod is gone");
  await far.stop();
  const unreached = await w.cluster.fetch("/api/v1/nodes/far/proxy/healthz");
  assertEquals(unreached.status, 503);

  const again = node(["--data", w.data]);
  await again.started;
  assert(!again.lines.includes("This node has joined the cluster:"));
  await eventually(
    async () => (await w.cluster.fetch("/api/v1/nodes/far/proxy/healthz")).status === 200,
    "the node has dialled in again",
  );
  await again.stop();

  const away = ["--data", w.data, "--server", "https://nowhere.invalid:6443"];
  const alone = node([...away, "--pod-manifest-path", `${w.data}/manifests`]);
  assertEquals((await alone.started).ranges, machine.ranges);
  await alone.stop();
  await assertRejects(
    () => node(["--data", w.data, "--node-name", "other"]).ended,
    UsageError,
    "is node far's: start it with --node-name far",
  );
  await w.close();
});

Deno.test("a machine that is told wrongly says what it wants", async () => {
  const w = await world();
  const join = await token(w.kubeconfig, "create");
  const to = ["--server", w.url, "--token", join, "--data", w.data];
  const wrong = `sha256:${"0".repeat(64)}`;
  for (
    const [args, text] of [
      [["--data", w.data], "This machine has not joined a cluster yet"],
      [to, "Wanted --ca-hash sha256:…"],
      [[...to, "--ca-hash", wrong], "none of the public keys"],
      [[...to, "--ca-hash", w.hash, "--token", "x"], 'the bootstrap token "x" was not of the form'],
      [[...to, "--ca-hash", w.hash, "--node-name", "A_B"], '--node-name "A_B"'],
      [[...to, "--ca-hash", w.hash, "--node-labels", "x"], "--node-labels wants key=value"],
      [[...to, "--ca-hash", w.hash, "--register-with-taints", "x"], "wants key=value:Effect"],
      [[...to, "--ca-hash", w.hash, "--root-dir", "x"], "--root-dir must be an absolute path"],
      [["--server", "ftp://x", "--token", join, "--ca-hash", w.hash, "--data", w.data], "--server"],
    ] as const
  ) {
    await assertRejects(() => node([...args]).ended, UsageError, text);
  }
  await w.close();
});

Deno.test("isolate and simulated nodes side by side, chosen by RuntimeClass, label and taint", async () => {
  const w = await world({ nodes: 1, runtime: "isolate" });
  const join = await token(w.kubeconfig, "create");
  const far = node([
    ...["--server", w.url, "--token", join, "--ca-hash", w.hash, "--data", w.data],
    "--register-with-taints=plesio.dev/runtime=simulated:NoSchedule",
  ]);
  await ready(w.client, "plesio-0");
  await ready(w.client, "far");
  const classes = { group: "node.k8s.io", version: "v1", plural: "runtimeclasses" };
  const tolerations = [{ key: "plesio.dev/runtime", operator: "Exists", effect: "NoSchedule" }];
  for (const [name, more] of [["isolate", {}], ["simulated", { tolerations }]] as const) {
    const scheduling = { nodeSelector: { "plesio.dev/runtime": name }, ...more };
    await w.client.create({ resource: classes }, { metadata: { name }, handler: name, scheduling });
  }
  const at = { resource: PODS, namespace: "default" };
  const run = ["deno", "eval", "console.log('for real'); setInterval(() => {}, 1000)"];
  const image = "denoland/deno:2.9.6";
  const pods: Record<string, object> = {
    real: { runtimeClassName: "isolate", containers: [{ name: "c", image, command: run }] },
    // The image could run for real, but the class says where and how
    acted: { runtimeClassName: "simulated", containers: [{ name: "c", image, command: run }] },
    labelled: {
      nodeSelector: { "plesio.dev/runtime": "simulated" },
      tolerations,
      containers: [{ name: "c", image: "nginx" }],
    },
    anywhere: { containers: [{ name: "c", image, command: run }] },
  };
  for (const [name, spec] of Object.entries(pods)) {
    await w.client.create(at, { metadata: { name }, spec });
  }
  const places: Record<string, string> = {};
  for (const name of Object.keys(pods)) {
    const pod = await eventually(async () => {
      const found = await w.client.get<KubeObject>({ ...at, name });
      return found.status?.phase === "Running" && found;
    }, `${name} runs`);
    places[name] = pod.spec.nodeName;
  }
  assertEquals(places, { real: "plesio-0", acted: "far", labelled: "far", anywhere: "plesio-0" });
  const log = (name: string) =>
    eventually(async () => {
      const path = `/api/v1/namespaces/default/pods/${name}/log`;
      return await (await w.cluster.fetch(path)).text();
    }, `${name} says something`);
  assertEquals(await log("real"), "for real\n");
  assert((await log("acted")).startsWith("simulated: "));
  await far.stop();
  await w.close();
});
