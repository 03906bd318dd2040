/**
 * Three processes of one cluster over one store, one of which is killed every few seconds and begun again: every
 * acknowledged write is there, watches go on at another process without a gap or a repeat, no controller acts after its
 * term, and what people do goes on. `PLESIO_KILL_ROUNDS=20` runs so many rounds; `PLESIO_WALKTHROUGH=1` the acceptance
 * script that lies beside this repository, meanwhile.
 */
import { assert, assertEquals, assertMatch } from "@std/assert";
import { decodeRecord } from "../../kv/codec.ts";
import { openBackend } from "../../kv/open.ts";
import { Denokv, hasDenokv } from "../denokv.ts";
import { EtcdCluster, hasEtcd } from "../etcd_cluster.ts";
import { type Acknowledged, Follower, lostOf, MAPS, writeMap } from "./kill_load.ts";
import { runKubectl } from "./kubectl.ts";
import { kvConnect, Processes, type SharedStore } from "./processes.ts";
import { RawConnection } from "./raw_http.ts";
import { accessOf, type Server } from "./server.ts";
import { waiting } from "./until.ts";

const ROUNDS = Number(Deno.env.get("PLESIO_KILL_ROUNDS") ?? 2);
const ROUND_MS = Number(Deno.env.get("PLESIO_KILL_EVERY_MS") ?? 3_000);
const ROOT = new URL("../../", import.meta.url);
const encoder = new TextEncoder();
const decoder = new TextDecoder();

/** Does it again, at another process, until one answers: as every client does whose server went away. */
async function ask(all: Processes, method: string, path: string, body?: unknown) {
  const access = accessOf(await Deno.readTextFile(all.kubeconfig));
  const since = performance.now();
  for (;;) {
    try {
      const connection = await RawConnection.open(access);
      const bytes = body === undefined ? undefined : encoder.encode(JSON.stringify(body));
      const answer = await connection.request(method, path, bytes);
      const value = JSON.parse(decoder.decode(answer.body));
      connection.close();
      return { status: answer.status, value };
    } catch (error) {
      if (performance.now() - since > 60_000) throw error;
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  }
}

const until = waiting({ withinMs: 60_000, everyMs: 200 });

/** All that kubectl says at one of the processes. */
async function saidAt({ kubeconfig }: Server, args: string[]): Promise<string> {
  const { out, err } = await runKubectl(kubeconfig, args);
  return out + err;
}

/** The first thing that pods of the default namespace need. */
async function hasAccount(all: Processes): Promise<void> {
  const account = "/api/v1/namespaces/default/serviceaccounts/default";
  await until(
    "the default ServiceAccount",
    async () => (await ask(all, "GET", account)).status === 200,
  );
}

/** Writes as long as it is let, and notes what was acknowledged. */
async function write(all: Processes, client: number, over: AbortSignal): Promise<Acknowledged> {
  const acknowledged: Acknowledged = new Map();
  const access = accessOf(await Deno.readTextFile(all.kubeconfig));
  let connection: RawConnection | undefined;
  for (let i = 0; !over.aborted; i++) {
    try {
      connection ??= await RawConnection.open(access);
      await writeMap(connection, `c${client}-${i}`, acknowledged);
      await new Promise((resolve) => setTimeout(resolve, 10));
    } catch {
      connection = undefined;
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }
  connection?.close();
  return acknowledged;
}

/** Follows at one process after the other; how many connections that took. */
async function follow(all: Processes, follower: Follower, over: AbortSignal): Promise<number> {
  let connections = 0;
  const access = accessOf(await Deno.readTextFile(all.kubeconfig));
  while (!over.aborted) {
    try {
      const connection = await RawConnection.open(access);
      over.addEventListener("abort", () => connection.close(), { once: true });
      connections++;
      await follower.follow(connection);
    } catch {
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }
  return connections;
}

/**
 * Reads the log from outside while it is written, and judges it: who writes in an actor's name is the process that took
 * its term last; fences only grow; a ReplicaSet never has more pods that are not being deleted than it was ever to have.
 */
class Judge {
  readonly wrong: string[] = [];
  /** Writes that were judged by their term. */
  judged = 0;
  /** Terms that were taken. */
  terms = 0;
  #at = 0;
  #writer = "";
  readonly #leaders = new Map<string, { writer: string; fence: number }>();
  readonly #pods = new Map<string, { set: string; name: string }>();
  readonly #wanted = new Map<string, number>();

  async watch(kv: Deno.Kv, over: AbortSignal): Promise<void> {
    while (!over.aborted) {
      await this.read(kv);
      await new Promise((resolve) => setTimeout(resolve, 200));
    }
    await this.read(kv);
  }

  async read(kv: Deno.Kv): Promise<void> {
    const range = { start: ["o", "change", this.#at + 1], end: ["o", "head"] };
    for await (const { key, value } of kv.list<Uint8Array>(range, { batchSize: 100 })) {
      const revision = key[2] as number;
      this.#at = revision;
      this.#take(revision, decodeRecord(value, revision));
    }
  }

  #take(revision: number, record: ReturnType<typeof decodeRecord>): void {
    if (record.group) this.#writer = record.group.writer;
    const { key, cause } = record;
    const body = record.body && record.form === 0
      ? JSON.parse(decoder.decode(record.body))
      : undefined;
    if (key.startsWith("!term/")) return this.#term(revision, key.slice(6), body);
    const leader = cause && this.#leaders.get(cause.by);
    if (leader) {
      this.judged++;
      if (leader.writer !== this.#writer) {
        this.wrong.push(`${revision}: ${cause.by} wrote ${key} after its term`);
      }
    }
    if (key.startsWith("/registry/replicasets/")) this.#set(key.slice(22), body);
    if (key.startsWith("/registry/pods/")) this.#pod(revision, key.slice(15), body);
  }

  #term(
    revision: number,
    name: string,
    { holder, fence }: { holder: string; fence: number },
  ): void {
    const before = this.#leaders.get(name);
    if (holder === "") return void this.#leaders.delete(name);
    this.terms++;
    if (before && before.fence >= fence) this.wrong.push(`${revision}: the fence of ${name} sank`);
    this.#leaders.set(name, { writer: this.#writer, fence });
  }

  // deno-lint-ignore no-explicit-any -- objects as they are stored
  #set(name: string, set: any): void {
    if (set) this.#wanted.set(name, Math.max(this.#wanted.get(name) ?? 0, set.spec.replicas));
  }

  // deno-lint-ignore no-explicit-any -- objects as they are stored
  #pod(revision: number, name: string, pod: any): void {
    const owner = pod?.metadata.ownerReferences?.[0];
    const gone = !pod || pod.metadata.deletionTimestamp ||
      ["Succeeded", "Failed"].includes(pod.status?.phase);
    if (gone || owner?.kind !== "ReplicaSet") return void this.#pods.delete(name);
    const set = `${pod.metadata.namespace}/${owner.name}`;
    this.#pods.set(name, { set, name });
    const count = [...this.#pods.values()].filter((one) => one.set === set).length;
    const wanted = this.#wanted.get(set);
    if (wanted !== undefined && count > wanted) {
      this.wrong.push(
        `${revision}: ${set} has ${count} pods, and never wanted more than ${wanted}`,
      );
    }
  }
}

/** What people do meanwhile: a deployment that grows and shrinks and is rolled out. */
async function deploy(all: Processes, over: AbortSignal): Promise<void> {
  const path = "/apis/apps/v1/namespaces/default/deployments";
  const deployment = (replicas: number, image: string) => ({
    metadata: { name: "web" },
    spec: {
      replicas,
      selector: { matchLabels: { app: "web" } },
      template: {
        metadata: { labels: { app: "web" } },
        spec: { containers: [{ name: "c", image }] },
      },
    },
  });
  await ask(all, "POST", path, deployment(3, "nginx:1.0"));
  for (let i = 1; !over.aborted; i++) {
    await ask(all, "PUT", `${path}/web`, deployment(3 + i % 4, `nginx:1.${i >> 1}`));
    await new Promise((resolve) => setTimeout(resolve, 1_000));
  }
  const last = await ask(all, "PUT", `${path}/web`, deployment(4, "nginx:9"));
  assertEquals(last.status, 200, JSON.stringify(last.value));
  await until("the last rollout", async () => {
    const { value: { status, metadata } } = await ask(all, "GET", `${path}/web`);
    return status?.updatedReplicas === 4 && status?.availableReplicas === 4 &&
      status.replicas === 4 && status.observedGeneration === metadata.generation;
  });
}

const script = ["../shared", "../../shared"]
  .map((folder) => new URL(`../../${folder}/acceptance/walkthrough.sh`, import.meta.url).pathname)
  .find((path) => {
    try {
      return Deno.statSync(path).isFile;
    } catch {
      return false;
    }
  });

/** The acceptance script against whichever process answers; undefined where it is not asked for. */
async function walkThrough(all: Processes): Promise<string | undefined> {
  if (!Deno.env.get("PLESIO_WALKTHROUGH") || !script) return undefined;
  const { stdout, stderr } = await new Deno.Command("bash", {
    args: [script],
    env: { KUBECONFIG: all.kubeconfig, REAL: "0" },
  }).output();
  return decoder.decode(stdout) + decoder.decode(stderr);
}

/** The `kubernetes` Service leads to all processes, and each has an identity Lease; none is of a dead one. */
async function allAreTold(all: Processes): Promise<void> {
  const slices = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices";
  const leases = "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases";
  await until("endpoints and Leases of three processes", async () => {
    const of = "labelSelector=kubernetes.io/service-name%3Dkubernetes";
    const { value } = await ask(all, "GET", `${slices}?${of}`);
    const ips = value.items.flatMap((slice: { endpoints: { addresses: string[] }[] }) =>
      slice.endpoints.flatMap(({ addresses }) => addresses)
    );
    const identities = "labelSelector=apiserver.kubernetes.io/identity";
    const { value: { items } } = await ask(all, "GET", `${leases}?${identities}`);
    return ips.sort().join() === "192.0.2.1,192.0.2.2,192.0.2.3" && items.length === 3;
  });
}

async function killing(store: SharedStore): Promise<void> {
  await using all = await Processes.start(store, {
    flags: (index) => [
      "--runtime",
      "simulated",
      "--nodes",
      "3",
      // Pods are told of addresses that are no loopback; processes reach one another all the same
      "--advertise-address",
      `192.0.2.${index + 1}`,
      "--peer-advertise-ip",
      "127.0.0.1",
    ],
  });
  Object.entries(store.env).forEach(([name, value]) => Deno.env.set(name, value));
  const { kv, close } = await openBackend(store.url, {
    owner: false,
    newKey: () => new Uint8Array(),
  });
  await hasAccount(all);
  const over = new AbortController();
  const { value } = await ask(all, "GET", `${MAPS}?limit=1`);
  const follower = new Follower(Number(value.metadata.resourceVersion));
  const judge = new Judge();
  const judging = judge.watch(kv, over.signal);
  const following = follow(all, follower, over.signal);
  const loading = new AbortController();
  const writers = [0, 1, 2].map((client) => write(all, client, loading.signal));
  const deploying = deploy(all, loading.signal);
  const walking = walkThrough(all);
  const asked = script !== undefined && Deno.env.has("PLESIO_WALKTHROUGH");
  let walked = false;
  void walking.finally(() => walked = true);
  for (let round = 0; asked ? !walked : round < ROUNDS; round++) {
    await new Promise((resolve) => setTimeout(resolve, ROUND_MS));
    if (!asked) await store.trouble?.(round);
    await all.kill(round % 3, { between: asked });
    await all.start(round % 3);
  }
  const said = await walking;
  if (said) console.log(said.split("\n").filter((line) => !line.startsWith("ok ")).join("\n"));
  loading.abort();
  const acknowledged = new Map((await Promise.all(writers)).flatMap((one) => [...one]));
  await deploying;
  const lost = lostOf(acknowledged, (await ask(all, "GET", MAPS)).value);
  assertEquals(lost, [], "acknowledged and lost");
  assert(acknowledged.size > ROUNDS * 20, `only ${acknowledged.size} writes were acknowledged`);
  await until(
    "every acknowledged write seen by the watch",
    () => follower.hasSeen(acknowledged),
  );
  await allAreTold(all);
  over.abort();
  const [connections] = await Promise.all([following, judging]);
  close();
  assertEquals(follower.wrong, []);
  assertEquals(judge.wrong, []);
  assert(judge.judged > 20, `only ${judge.judged} writes were judged`);
  console.log(
    `${acknowledged.size} writes acknowledged, ${connections} connections of the watch, ` +
      `${judge.judged} writes judged by ${judge.terms} terms`,
  );
  if (said) assertMatch(said, /^\d+ passed, 0 failed$/m, said);
}

Deno.test(`three processes over KV Connect, ${ROUNDS} of them killed under load`, async () => {
  await using store = await kvConnect();
  await killing(store);
});

Deno.test({
  name: `three processes over denokv, ${ROUNDS} of them killed, and denokv, under load` +
    (hasDenokv ? "" : " (left out: denokv is not installed)"),
  ignore: !hasDenokv,
  fn: async () => {
    await using server = await Denokv.start();
    await killing({
      url: server.url,
      env: server.env,
      trouble: async () => {
        await server.kill();
        await server.begin();
      },
    });
  },
});

Deno.test({
  name:
    `three processes over three members of etcd, ${ROUNDS} of them killed, and a member, under load` +
    (hasEtcd ? "" : " (left out: etcd is not installed)"),
  ignore: !hasEtcd,
  fn: async () => {
    const members = await EtcdCluster.start(3);
    await killing({
      url: members.url("/plesio"),
      env: {},
      trouble: async (round) => {
        // One of three may be away; it comes back, and another one goes
        if (round > 0) members.startMember((round - 1) % 3);
        if (round > 0) await members.healthy((round - 1) % 3);
        await members.kill(round % 3);
      },
    }).finally(() => members.dispose());
  },
});

Deno.test("logs, exec, port-forward, proxy and top go to the process that has the node", async () => {
  await using store = await kvConnect();
  await using all = await Processes.start(store, {
    count: 2,
    flags: (index) =>
      index === 0
        ? ["--runtime", "isolate", "--nodes", "1", "--node-prefix", "east"]
        : ["--nodes", "0"],
  });
  const elsewhere = all.at(1);
  const kubectl = (...args: string[]) => saidAt(elsewhere, args);
  const program = "console.log('up'); Deno.serve({ port: 8080 }, () => new Response('hello'))";
  const pod = {
    metadata: { name: "far" },
    spec: {
      containers: [{
        name: "c",
        image: "denoland/deno:2.9.6",
        args: ["eval", program],
        ports: [{ containerPort: 8080 }],
      }],
    },
  };
  await hasAccount(all);
  const made = await ask(all, "POST", "/api/v1/namespaces/default/pods", pod);
  assertEquals(made.status, 201, JSON.stringify(made.value));
  await until("the program", async () => (await kubectl("logs", "far")).includes("up"));
  assertEquals(await kubectl("exec", "far", "--", "echo", "from there"), "from there\n");
  const path = "/api/v1/namespaces/default/pods/far:8080/proxy/";
  assertEquals(await kubectl("get", "--raw", path), "hello");
  const forward = new Deno.Command("kubectl", {
    args: ["--kubeconfig", elsewhere.kubeconfig, "port-forward", "far", ":8080"],
    stdout: "piped",
    stderr: "inherit",
  }).spawn();
  const reader = forward.stdout.pipeThrough(new TextDecoderStream()).getReader();
  const port = /:(\d+) ->/.exec((await reader.read()).value ?? "")?.[1];
  assertEquals(await (await fetch(`http://127.0.0.1:${port}/`)).text(), "hello");
  forward.kill();
  await reader.cancel();
  await forward.status;
  await until("top", async () => /east-0 .*\n/.test(await kubectl("top", "nodes")));
});

Deno.test("a machine that has joined is reached from every process, and dials another one when its own is killed", async () => {
  await using store = await kvConnect();
  let machine: Deno.ChildProcess | undefined;
  try {
    await using all = await Processes.start(store, { count: 2, flags: () => ["--nodes", "0"] });
    const mod = ["run", "-A", "mod.ts"];
    const kubeconfig = ["--kubeconfig", all.kubeconfig];
    const create = [...mod, "token", "create", "--print-join-command", ...kubeconfig];
    const { stdout } = await new Deno.Command(Deno.execPath(), { args: create, cwd: ROOT })
      .output();
    const told = decoder.decode(stdout);
    const join = /node --server \S+ --token \S+ --ca-hash \S+/.exec(told)![0].split(" ");
    machine = new Deno.Command(Deno.execPath(), {
      args: [
        ...mod,
        ...join,
        "--node-name",
        "shed",
        "--runtime",
        "simulated",
        "--data",
        `${store.folder}/shed`,
      ],
      cwd: ROOT,
      stdout: "null",
      stderr: "null",
    }).spawn();
    await until("the node is ready", async () => {
      const { value } = await ask(all, "GET", "/api/v1/nodes/shed");
      return value.status?.conditions?.some((one: { type: string; status: string }) =>
        one.type === "Ready" && one.status === "True"
      );
    });
    const pod = {
      metadata: { name: "far" },
      spec: { containers: [{ name: "c", image: "nginx" }] },
    };
    await until(
      "the default ServiceAccount",
      async () => (await ask(all, "POST", "/api/v1/namespaces/default/pods", pod)).status === 201,
    );
    const logs = (index: number) => saidAt(all.at(index), ["logs", "far"]);
    for (const index of [0, 1]) {
      await until(
        `logs at process ${index}`,
        async () => (await logs(index)).includes("simulated: started"),
      );
    }
    for (const index of [0, 1]) {
      await all.kill(index);
      await until(
        "logs at the one that is left",
        async () => (await logs(1 - index)).includes("simulated: started"),
      );
      await all.start(index);
    }
    await until(
      "logs at the one that was begun again",
      async () => (await logs(1)).includes("simulated: started"),
    );
  } finally {
    machine?.kill("SIGTERM");
    await machine?.status;
  }
});
