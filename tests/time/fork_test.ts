/** Forks of a whole cluster: two clusters from one, that know nothing of each other. */
import { assert, assertEquals, assertNotEquals, assertRejects } from "@std/assert";
import type { KubeObject, ResourceId } from "../../api/machinery/types.ts";
import { ManualClock } from "../../kv/mod.ts";
import { Cluster } from "../../mod.ts";

const core = (plural: string): ResourceId => ({ group: "", version: "v1", plural });
const PODS = { resource: core("pods"), namespace: "default" };
const MAPS = { resource: core("configmaps"), namespace: "default" };
const DEPLOYMENTS = {
  resource: { group: "apps", version: "v1", plural: "deployments" },
  namespace: "default",
};
const CRON_JOBS = {
  resource: { group: "batch", version: "v1", plural: "cronjobs" },
  namespace: "default",
};
const JOBS = { resource: { ...CRON_JOBS.resource, plural: "jobs" }, namespace: "default" };
const WEB = { ...DEPLOYMENTS, name: "web" };

const template = (app: string) => ({
  metadata: { labels: { app } },
  spec: { containers: [{ name: "c", image: "nginx:1.27" }] },
});

async function begun(options = {}): Promise<Cluster> {
  const cluster = await Cluster.start({ nodes: 2, ...options });
  await cluster.client.create(DEPLOYMENTS, {
    metadata: { name: "web" },
    spec: {
      replicas: 3,
      selector: { matchLabels: { app: "web" } },
      template: template("web"),
    },
  });
  await cluster.settle();
  return cluster;
}

async function pods({ client }: Cluster): Promise<readonly KubeObject[]> {
  return (await client.list<KubeObject>(PODS)).items as KubeObject[];
}

const scale = (cluster: Cluster, replicas: number) =>
  cluster.client.patch(WEB, { type: "merge", body: { spec: { replicas } } });

Deno.test("a fork goes on where its cluster is, and neither sees what the other does", async () => {
  await using cluster = await begun();
  const before = await pods(cluster);
  await using fork = await cluster.fork();
  await fork.settle();
  assertEquals((await pods(fork)).map(({ metadata, status }) => [metadata.uid, status]), [
    ...before.map(({ metadata, status }) => [metadata.uid, status]),
  ]);
  await scale(fork, 5);
  await fork.settle();
  assertEquals([(await pods(fork)).length, (await pods(cluster)).length], [5, 3]);
  await cluster.client.delete(WEB);
  await cluster.settle();
  assertEquals([(await pods(fork)).length, (await pods(cluster)).length], [5, 0]);
  await fork.stop();
  await cluster.client.create(MAPS, { metadata: { name: "after" } });
  await cluster.settle();
});

Deno.test("a fork's clock begins at its cluster's time and goes on by itself", async () => {
  await using cluster = await begun();
  await cluster.client.create(CRON_JOBS, {
    metadata: { name: "tick" },
    spec: {
      schedule: "*/5 * * * *",
      jobTemplate: {
        spec: {
          template: { spec: { restartPolicy: "Never", containers: [{ name: "c", image: "x" }] } },
        },
      },
    },
  });
  await cluster.settle();
  const now = cluster.clock.now();
  await using fork = await cluster.fork();
  assertEquals(fork.clock.now(), now);
  for (let i = 0; i < 11; i++) {
    await (fork.clock as ManualClock).advance(60_000);
    await fork.settle({ within: 0 });
  }
  assertEquals((await fork.client.list(JOBS)).items.length, 2);
  assertEquals(cluster.clock.now(), now);
  assertEquals((await cluster.client.list(JOBS)).items.length, 0);
});

Deno.test("a fork that nobody touches has no actors; it wakes when it is asked or waited for", async () => {
  await using cluster = await begun();
  await using asleep = await cluster.fork();
  assertEquals(asleep.actors(), []);
  await using ofAsleep = await asleep.fork();
  assertEquals(asleep.actors(), []);
  assertEquals((await asleep.snapshot()).length > 1_000, true);
  assertEquals(asleep.actors(), []);
  await ofAsleep.settle();
  assert(ofAsleep.actors().length > 30);
  await asleep.fetch("/api/v1/namespaces/default");
  assertEquals(asleep.actors().length, ofAsleep.actors().length);
  await using advanced = await cluster.fork();
  await (advanced.clock as ManualClock).advance(1);
  assert(advanced.actors().length > 0);
});

Deno.test("a fork draws no UUID that its cluster has drawn, and the same again from the same seed", async () => {
  await using cluster = await begun({ seed: 7 });
  const known = new Set((await pods(cluster)).map(({ metadata }) => metadata.uid));
  const run = async (seed?: number) => {
    await using fork = await cluster.fork(seed === undefined ? {} : { seed });
    await scale(fork, 9);
    await fork.settle();
    const uids = (await pods(fork)).map(({ metadata }) => metadata.uid!);
    return uids.filter((uid) => !known.has(uid)).sort();
  };
  const uids = await run();
  assertEquals(uids.length, 6);
  assertEquals(await run(7), uids);
  assertNotEquals(await run(8), uids);
});

Deno.test("fork({ at }) begins in the past, named by revision or time", async () => {
  await using cluster = await begun();
  const created = await cluster.client.create<KubeObject>(MAPS, { metadata: { name: "first" } });
  const time = cluster.clock.now();
  await (cluster.clock as ManualClock).advance(5_000);
  await scale(cluster, 0);
  await cluster.settle();
  assertEquals((await pods(cluster)).length, 0);
  for (const at of [Number(created.metadata.resourceVersion), new Date(time)]) {
    await using fork = await cluster.fork({ at });
    assertEquals(fork.clock.now(), time);
    await fork.settle();
    assertEquals((await pods(fork)).length, 3);
    await scale(fork, 4);
    await fork.settle();
    assertEquals((await pods(fork)).length, 4);
  }
  await assertRejects(() => cluster.fork({ at: "yesterday" }), Error, "neither a revision nor");
  await assertRejects(() => cluster.fork({ at: 1e9 }), Error, "does not exist yet");
});

Deno.test("credentials of a cluster are good in its forks, and those of a fork nowhere else", async () => {
  await using cluster = await begun();
  const account = { resource: core("serviceaccounts"), namespace: "default", name: "default" };
  const tokenOf = async ({ client }: Cluster, name = "default") => {
    const target = { ...account, name, subresource: "token" };
    const review = await client.create<KubeObject>(target, { spec: { expirationSeconds: 3600 } });
    return review.status.token as string;
  };
  await using fork = await cluster.fork();
  const who = async ({ api }: Cluster, token: string) => {
    const headers = { authorization: `Bearer ${token}` };
    const asked = new Request("https://x/api/v1/namespaces/default/pods", { headers });
    const reply = await api.fetch(asked);
    await reply.body?.cancel();
    return reply.status;
  };
  const token = await tokenOf(cluster);
  assertEquals([await who(cluster, token), await who(fork, token)], [403, 403]);
  await fork.client.create({ ...account, name: undefined }, { metadata: { name: "own" } });
  const own = await tokenOf(fork, "own");
  assertEquals([await who(cluster, own), await who(fork, own)], [401, 403]);
});

Deno.test("who has logged in at a cluster is known to a fork's first answer, by a token and by a ticket", async () => {
  await using cluster = await Cluster.start({ nodes: 0, components: ["api"] });
  const made = await cluster.fetch("/plesio/v1/login", { method: "POST" });
  const { code } = await made.json();
  const login = { method: "POST", body: JSON.stringify({ code }) };
  const { token } = await (await cluster.fetch("/dashboard/login", login)).json();
  const headers = { authorization: `Bearer ${token}` };
  const place = "/api/v1/namespaces/default/pods/web/proxy";
  const ticket = await cluster.fetch(`/plesio/v1/tickets${place}`, { method: "POST", headers });
  const { path } = await ticket.json();
  const first = async (asked: string, more: HeadersInit = {}) => {
    await using fork = await cluster.fork();
    const reply = await fork.api.fetch(new Request(`https://x${asked}`, { headers: more }));
    return [reply.status, (await reply.json()).message];
  };
  assertEquals(await first("/api/v1/namespaces/default/pods", headers), [200, undefined]);
  // The proxy has been asked, as the ticket's user
  assertEquals(await first(path), [404, 'pods "web" not found']);
});

Deno.test("definitions of a cluster are served in its forks, and those of a fork nowhere else", async () => {
  await using cluster = await begun();
  const definitions = {
    resource: { group: "apiextensions.k8s.io", version: "v1", plural: "customresourcedefinitions" },
  };
  const define = ({ client }: Cluster, plural: string) =>
    client.create(definitions, {
      metadata: { name: `${plural}.example.com` },
      spec: {
        group: "example.com",
        scope: "Namespaced",
        names: { plural, singular: plural, kind: plural, listKind: `${plural}List` },
        versions: [{
          name: "v1",
          served: true,
          storage: true,
          schema: {
            openAPIV3Schema: { type: "object", "x-kubernetes-preserve-unknown-fields": true },
          },
        }],
      },
    });
  await define(cluster, "widgets");
  await cluster.settle();
  await using fork = await cluster.fork();
  await define(fork, "gadgets");
  await fork.settle();
  const served = async (of: Cluster) => {
    const reply = await of.fetch("/apis/example.com/v1");
    return (await reply.json()).resources.map(({ name }: { name: string }) => name).sort();
  };
  assertEquals(await served(cluster), ["widgets"]);
  assertEquals(await served(fork), ["gadgets", "widgets"]);
});

Deno.test("clusters of one process may each say otherwise where a kind keeps its replicas", async () => {
  await using one = await Cluster.start({ nodes: 0, components: ["api"] });
  await using other = await Cluster.start({ nodes: 0, components: ["api"] });
  const definitions = {
    resource: { group: "apiextensions.k8s.io", version: "v1", plural: "customresourcedefinitions" },
  };
  const ships = {
    resource: { group: "sea.test", version: "v1", plural: "ships" },
    namespace: "default",
  };
  for (const [{ client }, path] of [[one, ".spec.sails"], [other, ".spec.oars"]] as const) {
    await client.create(definitions, {
      metadata: { name: "ships.sea.test" },
      spec: {
        group: "sea.test",
        scope: "Namespaced",
        names: { plural: "ships", singular: "ship", kind: "Ship", listKind: "ShipList" },
        versions: [{
          name: "v1",
          served: true,
          storage: true,
          subresources: {
            scale: { specReplicasPath: path, statusReplicasPath: ".status.replicas" },
          },
          schema: {
            openAPIV3Schema: {
              type: "object",
              properties: {
                spec: { type: "object", "x-kubernetes-preserve-unknown-fields": true },
              },
            },
          },
        }],
      },
    });
  }
  const scales = [];
  for (const cluster of [one, other]) {
    await cluster.settle();
    await cluster.client.create(ships, {
      apiVersion: "sea.test/v1",
      kind: "Ship",
      metadata: { name: "s" },
      spec: { sails: 2, oars: 8 },
    });
    const scale = { ...ships, name: "s", subresource: "scale" };
    scales.push((await cluster.client.get<KubeObject>(scale)).spec!.replicas);
  }
  assertEquals(scales, [2, 8]);
});

Deno.test("fifty clusters live in one process, each with its own objects", async () => {
  await using all = new AsyncDisposableStack();
  const clusters: Cluster[] = [];
  for (let i = 0; i < 50; i++) clusters.push(all.use(await Cluster.start({ nodes: 1, seed: i })));
  await Promise.all(clusters.map(async (cluster, i) => {
    await cluster.client.create(DEPLOYMENTS, {
      metadata: { name: "web" },
      spec: {
        replicas: i % 3,
        selector: { matchLabels: { app: "web" } },
        template: template("web"),
      },
    });
    await cluster.settle();
  }));
  for (const [i, cluster] of clusters.entries()) {
    const running = (await pods(cluster)).filter(({ status }) => status!.phase === "Running");
    assertEquals(running.length, i % 3);
  }
});
