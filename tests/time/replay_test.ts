/** An incident as a file, and the same revisions once more in another cluster. */
import { assert, assertEquals, assertRejects } from "@std/assert";
import type { KubeObject, ResourceId } from "../../api/machinery/types.ts";
import { DatabaseError, ManualClock } from "../../kv/mod.ts";
import { Cluster } from "../../mod.ts";

const core = (plural: string): ResourceId => ({ group: "", version: "v1", plural });
const DEPLOYMENTS: ResourceId = { group: "apps", version: "v1", plural: "deployments" };
const SECRET_VALUES = ["correct-horse-battery", "Tr0ub4dor&3", "hunter2hunter2"];

/** Everything in a cluster at a revision, as it is served. */
async function everything(cluster: Cluster, revision: number): Promise<string> {
  const { client } = await cluster.at(revision);
  const found: string[] = [];
  for (const plural of ["configmaps", "secrets", "pods", "services", "nodes", "serviceaccounts"]) {
    const list = await client.list<KubeObject>({ resource: core(plural) });
    found.push(inOrder([list.metadata.resourceVersion, list.items]));
  }
  for (const plural of ["deployments", "replicasets"]) {
    const list = await client.list<KubeObject>({ resource: { ...DEPLOYMENTS, plural } });
    found.push(inOrder(list.items));
  }
  return found.join("\n").replaceAll(
    new RegExp(SECRET_VALUES.flatMap((v) => [v, btoa(v)]).map(escaped).join("|"), "g"),
    (value) => SECRET_VALUES.includes(value) ? "redacted" : btoa("redacted"),
  );
}

/** JSON whose fields are in order: the same objects have the same text. */
function inOrder(value: unknown): string {
  return JSON.stringify(
    value,
    (_, part) =>
      typeof part === "object" && part !== null && !Array.isArray(part)
        ? Object.fromEntries(Object.entries(part).sort(([a], [b]) => a < b ? -1 : 1))
        : part,
  );
}

const escaped = (text: string) => text.replaceAll(/[&+]/g, "\\$&");

/** Writes at random, with controllers and nodes at work. */
async function live(cluster: Cluster, chance: () => number, steps: number): Promise<void> {
  const { client } = cluster;
  const pick = <T>(list: readonly T[]) => list[Math.floor(chance() * list.length)];
  for (let i = 0; i < steps; i++) {
    const name = `n${Math.floor(chance() * 5)}`;
    const secret = btoa(pick(SECRET_VALUES));
    const act = pick([
      () =>
        client.create({ resource: core("configmaps"), namespace: "default" }, {
          metadata: { name },
          data: { i: String(i) },
        }),
      () =>
        client.patch({ resource: core("configmaps"), namespace: "default", name }, {
          type: "merge",
          body: { data: { i: String(i) } },
        }),
      () => client.delete({ resource: core("configmaps"), namespace: "default", name }),
      () =>
        client.create({ resource: core("secrets"), namespace: "default" }, {
          metadata: { name },
          data: { v: secret },
        }),
      () =>
        client.patch({ resource: core("secrets"), namespace: "default", name }, {
          type: "merge",
          body: { data: { v: secret } },
        }),
      () =>
        client.patch({ resource: DEPLOYMENTS, namespace: "default", name: "web" }, {
          type: "merge",
          body: { spec: { replicas: Math.floor(chance() * 4) } },
        }),
    ]);
    await act().catch(() => undefined);
    if (chance() < 0.4) await cluster.settle({ within: 0 });
    if (chance() < 0.3) await (cluster.clock as ManualClock).advance(Math.floor(chance() * 3_000));
  }
  await cluster.settle();
}

async function incident(seed: number) {
  const cluster = await Cluster.start({ nodes: 1, seed });
  const env = [{ name: "PASSWORD", value: "correct-horse-battery" }];
  await cluster.client.create({ resource: DEPLOYMENTS, namespace: "default" }, {
    metadata: { name: "web" },
    spec: {
      replicas: 1,
      selector: { matchLabels: { app: "web" } },
      template: {
        metadata: { labels: { app: "web" } },
        spec: { containers: [{ name: "c", image: "nginx:1", env, args: ["hunter2hunter2"] }] },
      },
    },
  });
  for (const [i, value] of SECRET_VALUES.entries()) {
    await cluster.client.create({ resource: core("secrets"), namespace: "default" }, {
      metadata: { name: `s${i}` },
      stringData: { value },
    });
  }
  await cluster.settle();
  const { clock } = cluster;
  const { revision: from } = await cluster.at(new Date(clock.now()));
  await live(cluster, () => clock.random(), 60);
  const { revision: to } = await cluster.at(new Date(clock.now()));
  return { cluster, from, to };
}

for (const seed of [1, 2, 3]) {
  Deno.test(`a replayed cluster has the same objects at every revision, seed ${seed}`, async () => {
    const { cluster, from, to } = await incident(seed);
    await using _ = cluster;
    const file = await cluster.export({ from, to });
    await using replayed = await Cluster.replay(file);
    assert(to - from > 50);
    for (let revision = from; revision <= to; revision++) {
      assertEquals(await everything(replayed, revision), await everything(cluster, revision));
      const moments = await Promise.all([replayed, cluster].map((one) => one.at(revision)));
      assertEquals(moments[0].time, moments[1].time);
    }
    // Nothing has happened since
    assertEquals((await replayed.at(new Date(replayed.clock.now()))).revision, to);
    const events = async ({ client }: Cluster) =>
      (await client.list<KubeObject>({ resource: core("events") })).items.length;
    assertEquals(await events(replayed), await events(cluster));
  });
}

Deno.test("an export holds no secret value, in whatever form", async () => {
  const { cluster, from } = await incident(7);
  await using _ = cluster;
  const file = new TextDecoder().decode(await cluster.export({ from }));
  for (const value of SECRET_VALUES) {
    for (const form of [value, btoa(value), JSON.stringify(value).slice(1, -1)]) {
      assert(!file.includes(form), `${form} is in the file`);
    }
  }
  assert(file.includes("s0") && file.includes(btoa("redacted")));
  const reply = await cluster.fetch(`/plesio/v1/export?from=${from}`);
  assertEquals(reply.headers.get("content-type"), "application/x-ndjson");
  assertEquals(await reply.text(), file);
  // Whole: also with nothing said, from where history begins
  const all = new TextDecoder().decode(await cluster.export());
  assert(all.length > file.length && SECRET_VALUES.every((value) => !all.includes(value)));
});

Deno.test("a replayed cluster rests until it is forked to go on, from any of its moments", async () => {
  const { cluster, from, to } = await incident(4);
  await using _ = cluster;
  await using replayed = await Cluster.replay(await cluster.export({ from, to }));
  assertEquals(replayed.actors(), []);
  const web = { resource: DEPLOYMENTS, namespace: "default", name: "web" };
  const scaled = { type: "merge", body: { spec: { replicas: 4 } } } as const;
  for (const at of [from, undefined]) {
    await using fork = await replayed.fork({
      at,
      nodes: 1,
      components: ["api", "controllers", "scheduler", "nodes"],
    });
    await fork.client.patch(web, scaled);
    await fork.settle();
    assertEquals((await fork.client.get<KubeObject>(web)).status!.readyReplicas, 4);
  }
  await replayed.settle();
  assertEquals((await replayed.at(new Date(replayed.clock.now()))).revision, to);
});

Deno.test("what is no whole file of an incident is refused", async () => {
  await using cluster = await Cluster.start({ nodes: 0, components: ["api"] });
  const file = await cluster.export();
  const refused = (bytes: Uint8Array, text: string) =>
    assertRejects(() => Cluster.replay(bytes), DatabaseError, text);
  await refused(new TextEncoder().encode("hello"), "not the file of an incident");
  const lines = new TextDecoder().decode(file).split("\n");
  const encoded = (of: string[]) => new TextEncoder().encode(of.join("\n"));
  await refused(encoded(lines.slice(0, -2)), "cut short");
  await refused(encoded([...lines.slice(0, 4), ...lines.slice(5)]), "cut short");
  await refused(encoded([lines[0].replace('"format":1', '"format":2')]), "format 2");
  await refused(encoded([lines[0], '{"store":']), "torn");
  const gap = lines.findIndex((line) => line.includes('"time"') && !line.includes("plesio"));
  const end = JSON.stringify({ end: lines.length - 3 });
  await refused(
    encoded([...lines.slice(0, gap), ...lines.slice(gap + 1, -2), end]),
    "Cannot replay",
  );
});
