/**
 * A controller with a race of its own, found by a seed and replayed by it. It gives each Deployment a number from a
 * ConfigMap: it reads the last one, asks somebody slow, and writes the next, in two requests that know nothing of each
 * other. How long the answer takes is chance: drawn from the cluster's clock, so that a seed tells all of a run.
 */
import { assert, assertEquals, assertNotEquals } from "@std/assert";
import type { KubeObject, ResourceId } from "../../api/machinery/types.ts";
import { ManualClock } from "../../kv/mod.ts";
import { Cluster } from "../../mod.ts";

const MAPS = {
  resource: { group: "", version: "v1", plural: "configmaps" } satisfies ResourceId,
  namespace: "default",
};
const JOBS_OF_NUMBERS = ["alpha", "beta", "gamma"];

/** Takes the next number for a name. `guarded`: it says which state of the counter it has seen, and begins again. */
async function takeNumber(cluster: Cluster, name: string, guarded: boolean): Promise<void> {
  const { client, clock } = cluster;
  for (;;) {
    const seen = await client.get<KubeObject>({ ...MAPS, name: "numbers" });
    const next = Number(seen.data!.last) + 1;
    await clock.sleep(Math.floor(clock.random() * 1_000));
    const { resourceVersion } = seen.metadata;
    const body = {
      ...(guarded && { metadata: { resourceVersion } }),
      data: { last: String(next), [name]: String(next) },
    };
    try {
      await client.patch({ ...MAPS, name: "numbers" }, { type: "merge", body });
      return;
    } catch (error) {
      if (!guarded || (error as { code?: number }).code !== 409) throw error;
    }
  }
}

interface Run {
  /** Whether two have the same number. */
  failed: boolean;
  /** The states of the ConfigMap one after the other, with their times. */
  story: string[];
}

/** Lets the controller work in a fork with a seed: names come one after another, each at a time of its own. */
async function run(ground: Cluster, seed: number, guarded = false): Promise<Run> {
  await using cluster = await ground.fork({ seed });
  const clock = cluster.clock as ManualClock;
  const begun = clock.now();
  const { revision } = await cluster.at(new Date(begun));
  const work = JOBS_OF_NUMBERS.map(async (name) => {
    await clock.sleep(Math.floor(clock.random() * 3_000));
    await takeNumber(cluster, name, guarded);
  });
  for (let ms = 0; ms < 20_000; ms += 10) {
    await clock.advance(10);
    for (let i = 0; i < 3; i++) await clock.turn();
  }
  await Promise.all(work);
  const { body } = await cluster.fetch(`/plesio/v1/export?from=${revision}`);
  const story: string[] = [];
  for (const line of (await new Response(body).text()).trim().split("\n")) {
    const { put, object, time } = JSON.parse(line);
    if (put?.endsWith("/numbers")) story.push(`${time - begun} ${JSON.stringify(object.data)}`);
  }
  const { last: _, ...numbers } =
    (await cluster.client.get<KubeObject>({ ...MAPS, name: "numbers" })).data!;
  return { failed: new Set(Object.values(numbers)).size < JOBS_OF_NUMBERS.length, story };
}

async function prepared(): Promise<Cluster> {
  const cluster = await Cluster.start({ nodes: 0, components: ["api"] });
  await cluster.client.create(MAPS, { metadata: { name: "numbers" }, data: { last: "0" } });
  return cluster;
}

Deno.test("a race of a controller is found by a seed, and by it the same failure comes again", async () => {
  await using ground = await prepared();
  const runs = new Map<number, Run>();
  for (let seed = 1; seed <= 20; seed++) runs.set(seed, await run(ground, seed));
  const failing = [...runs].filter(([, { failed }]) => failed).map(([seed]) => seed);
  assert(failing.length > 0 && failing.length < runs.size, "it fails now and then");
  const [seed] = failing;
  console.log(`the controller fails with seed ${seed}: run it again with that one`);
  // In a cluster of its own, from the seed alone
  await using again = await prepared();
  assertEquals(await run(again, seed), runs.get(seed));
  const passing = [...runs].find(([, { failed }]) => !failed)!;
  assertNotEquals(runs.get(seed)!.story, passing[1].story);
  // What mends it holds for all of them
  for (const bad of failing) assertEquals((await run(ground, bad, true)).failed, false);
});
