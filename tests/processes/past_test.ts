/** The past, stories and forks where several processes share a store: it is the same whichever is asked. */
import { assertEquals, assertMatch } from "@std/assert";
import { Cluster, type ClusterOptions } from "../../mod.ts";
import type { KubeObject } from "../../api/machinery/types.ts";
import { ManualClock, MemoryKv } from "../../kv/mod.ts";
import { EtcdCluster, hasEtcd } from "../etcd_cluster.ts";
import { KvServer, TOKEN } from "../kv_server.ts";

Deno.env.set("DENO_KV_ACCESS_TOKEN", TOKEN);

const core = (plural: string) => ({ group: "", version: "v1", plural });
const MAPS = { resource: core("configmaps"), namespace: "default" };
const EVENTS = { resource: core("events"), namespace: "default" };
const FORKS = "/plesio/v1/forks";

/** Two processes on a store. */
async function twoOn(kv: () => Deno.Kv | string, clock?: ClusterOptions["clock"]) {
  const open = () => Cluster.start({ clock, nodes: 0, components: ["api"], kv: kv() });
  const [a, b] = await Promise.all([open(), open()]);
  return {
    a,
    b,
    async [Symbol.asyncDispose]() {
      await a.stop();
      await b.stop();
    },
  };
}

async function ask(cluster: Cluster, path: string, method = "GET", body?: unknown) {
  const reply = await cluster.fetch(path, {
    method,
    headers: { "content-type": "application/json" },
    ...(body !== undefined && { body: JSON.stringify(body) }),
  });
  return { status: reply.status, body: await reply.json() };
}

const put = async ({ client }: Cluster, name: string, value: string) => {
  const { metadata } = await client.patch<KubeObject>({ ...MAPS, name }, {
    type: "apply",
    body: { apiVersion: "v1", kind: "ConfigMap", metadata: { name }, data: { value } },
    force: true,
  });
  return Number(metadata.resourceVersion);
};

const tell = ({ client }: Cluster, name: string) =>
  client.create(EVENTS, {
    metadata: { name, namespace: "default" },
    involvedObject: { kind: "ConfigMap", namespace: "default", name: "m" },
    reason: "Told",
    message: name,
    type: "Normal",
  });

/** What one process does is seen by the other at once, of now and of then. */
async function sees(a: Cluster, b: Cluster): Promise<void> {
  const first = await put(a, "m", "one");
  await tell(a, "early");
  const second = await put(b, "m", "two");
  const at = (cluster: Cluster, moment: number, plural: string) =>
    ask(cluster, `/plesio/v1/at/${moment}/api/v1/namespaces/default/${plural}`);
  for (const cluster of [a, b]) {
    for (const [moment, value] of [[first, "one"], [second, "two"]] as const) {
      const { items } = (await at(cluster, moment, "configmaps")).body;
      const [{ data }] = items.filter(({ metadata }: KubeObject) => metadata.name === "m");
      assertEquals(data, { value });
    }
    const told = (await at(cluster, second, "events")).body.items;
    assertEquals(told.map(({ message }: KubeObject) => message), ["early"]);
    const { changed } =
      (await ask(cluster, `/plesio/v1/diff?from=${first}&to=${second}&resource=configmaps`)).body;
    assertEquals(changed.map(({ name }: { name: string }) => name), ["m"]);
  }
  const spans = await Promise.all([a, b].map((one) => ask(one, "/plesio/v1/time")));
  assertEquals(spans[0].body.newest.revision >= second, true);
  const story = async (cluster: Cluster) =>
    (await cluster.story({ ...MAPS, name: "m" })).hops.map(({ revision }) => revision);
  assertEquals(await story(a), await story(b));
  const files = await Promise.all([a, b].map((one) => one.export({ from: first, to: second })));
  assertEquals(new TextDecoder().decode(files[0]), new TextDecoder().decode(files[1]));
}

/** A fork begins with whatever any process has answered, goes on by itself, and is found where it lives. */
async function forks(a: Cluster, b: Cluster): Promise<void> {
  const revision = await put(b, "last", "word");
  await tell(b, "late");
  await using fork = await a.fork({ clock: new ManualClock() });
  const { data } = await fork.client.get<KubeObject>({ ...MAPS, name: "last" });
  assertEquals(data, { value: "word" });
  const told = await fork.client.list<KubeObject>(EVENTS);
  assertEquals(told.items.some(({ message }) => message === "late"), true);
  await put(fork, "own", "only here");
  for (const one of [a, b]) assertEquals((await ask(one, pathOf("own"))).status, 404);
  await put(b, "own", "elsewhere");
  const { body } = await ask(a, pathOf("own"));
  assertEquals(body.data, { value: "elsewhere" });

  const made = await ask(a, FORKS, "POST", { name: "trial", at: revision });
  assertEquals([made.status, made.body.revision], [201, revision]);
  assertEquals((await ask(a, `${FORKS}/trial${pathOf("last")}`)).status, 200);
  for (const path of [`${FORKS}/trial`, `${FORKS}/trial${pathOf("last")}`]) {
    const { status, body } = await ask(b, path);
    assertEquals([status, body.reason], [421, "Misdirected"]);
    assertMatch(body.message, /^fork "trial" lives in another process of the cluster/);
  }
  const again = await ask(b, FORKS, "POST", { name: "trial" });
  assertEquals([again.status, again.body.reason], [409, "AlreadyExists"]);
  assertEquals((await ask(b, `${FORKS}/trial`, "DELETE")).status, 421);
  assertEquals((await ask(a, `${FORKS}/trial`, "DELETE")).status, 200);
  assertEquals((await ask(b, `${FORKS}/trial`)).status, 404);
  assertEquals((await ask(b, FORKS, "POST", { name: "trial" })).status, 201);
}

const pathOf = (name: string) => `/api/v1/namespaces/default/configmaps/${name}`;

Deno.test("the past, its differences, stories and exports are the same at every process; a fork begins with what any has answered and is found where it lives", async () => {
  const memory = new MemoryKv();
  await using world = await twoOn(() => memory.open(), new ManualClock());
  await sees(world.a, world.b);
  await forks(world.a, world.b);
});

Deno.test("so they are over a KV Connect server", async () => {
  const server = await KvServer.start({ data: ":memory:" });
  try {
    await using world = await twoOn(() => server.url, "real");
    await sees(world.a, world.b);
    await forks(world.a, world.b);
  } finally {
    await server.stop();
  }
});

Deno.test({
  name: "so they are over etcd",
  ignore: !hasEtcd,
  fn: async () => {
    const etcd = await EtcdCluster.start(1);
    try {
      await using world = await twoOn(() => etcd.url(), "real");
      await sees(world.a, world.b);
      await forks(world.a, world.b);
    } finally {
      await etcd.dispose();
    }
  },
});
