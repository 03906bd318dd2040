/**
 * A Deployment of three on a containerd node under traffic: clients ask it through its Service, one where pods are, one
 * where the machine is, each request on a connection of its own, beside streams that stay open.
 *
 * A rolling update loses no request. Then `kill -9` of Plesio, of containerd, of a pod's process and of its sandbox, in
 * an order that a seed gives:
 *
 * - What Plesio and containerd leave behind when they are killed goes on: no request is lost, no open connection
 *   breaks, no container is another afterwards, and the node works on when they are back.
 * - With a process only what was open to its pod is lost, and what was led there before the node noticed; its container
 *   is started again. With a sandbox all of the pod begins anew. A pod that is deleted afterwards loses nothing.
 * - In the end the machine holds what it held in the beginning.
 *
 * A few rounds run with the tests; `PLESIO_KILL_ROUNDS=200` runs as many as it says, `PLESIO_KILL_SEED=7` in another
 * order, `PLESIO_SERVICES=10000` with so many other services.
 */
import { assert, assertEquals } from "@std/assert";
import type { Pod } from "../../actors/nodes/types.ts";
import { withContainerd } from "./containerd.ts";
import { changed } from "./held.ts";
import { idOf, restartsOf } from "./node_calls.ts";
import { WebWorld } from "./web_world.ts";

const ROUNDS = Number(Deno.env.get("PLESIO_KILL_ROUNDS") ?? 4);
const SEED = Number(Deno.env.get("PLESIO_KILL_SEED") ?? 1);
const SERVICES = Number(Deno.env.get("PLESIO_SERVICES") ?? 100);
const PER_SECOND = 200;
/** Longest pauses before what was killed is started again. */
const AWAY_MS = 2_000;
/** Time for the rules to follow an API that says that a pod is not ready, or is again. */
const RULES_MS = 500;

type Roll = (sides: number) => number;

/** A dice of its own, so that a seed gives the same order anywhere. */
function dice(seed: number): Roll {
  let state = seed >>> 0;
  return (sides) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor(state / 2 ** 32 * sides);
  };
}

const delay = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms));

/** What stays as it was. */
function lives(pods: readonly Pod[]): string[] {
  return pods.map((pod) =>
    `${pod.metadata.name} ${idOf(pod)} ${restartsOf(pod)} ${pod.status!.podIP}`
  ).sort();
}

/** One kind of round; each ends when all is as it has to be. */
const KILLS: Record<string, (world: WebWorld, roll: Roll) => Promise<void>> = {
  plesio: (world, roll) =>
    nothingChanges(world, async () => {
      await world.killServer();
      await delay(roll(AWAY_MS));
      await world.startServer();
    }),
  containerd: (world, roll) =>
    nothingChanges(world, async () => {
      await world.containerd.kill();
      await delay(roll(AWAY_MS));
      await world.containerd.restart();
    }),
  process: (world, roll) => killOne(world, roll, "container"),
  sandbox: (world, roll) => killOne(world, roll, "sandbox"),
};

async function nothingChanges(world: WebWorld, happening: () => Promise<void>): Promise<void> {
  const before = await world.allReady();
  const since = Date.now();
  await happening();
  world.note("started again");
  await world.works();
  assertEquals(lives(await world.allReady()), lives(before));
  lostNothing(world, since);
}

/** Nothing was lost since, but for streams to pods that had to go. */
function lostNothing(world: WebWorld, since: number, gone: string[] = []): void {
  assertEquals(world.lost(since, gone), [], world.done.slice(-20).join("\n"));
}

async function killOne(world: WebWorld, roll: Roll, what: "container" | "sandbox"): Promise<void> {
  const before = await world.allReady();
  const victim = before[roll(before.length)];
  const { name } = victim.metadata;
  const pid = await world.processOf(victim, what);
  const killed = { name, began: Date.now(), over: Infinity };
  world.killed.push(killed);
  world.note(`the ${what} of ${name} at ${victim.status!.podIP} is killed`);
  Deno.kill(pid, "SIGKILL");
  const again = await world.until(`${name} to begin again`, async () => {
    const pod = (await world.allReady()).find((pod) => pod.metadata.name === name);
    return pod && restartsOf(pod) === restartsOf(victim) + 1 && pod;
  });
  killed.over = Date.now() + RULES_MS;
  world.note(`${name} is there again at ${again.status!.podIP}`);
  assert(idOf(again) !== idOf(victim));
  if (what === "container") assertEquals(again.status!.podIP, victim.status!.podIP);
  const others = (pods: Pod[]) => lives(pods.filter((pod) => pod.metadata.name !== name));
  assertEquals(others(await world.allReady()), others(before));
  await delay(RULES_MS);
  lostNothing(world, killed.began);
  // It would wait longer with each restart: another takes its place.
  const leaving = Date.now();
  await world.remove(name);
  await world.allReady();
  lostNothing(world, leaving, [name]);
}

await withContainerd(import.meta.url, () => {
  const loose = { sanitizeOps: false, sanitizeResources: false };
  Deno.test("a Deployment on containerd under traffic", loose, async (t) => {
    const world = await WebWorld.open();
    await world.crowd(SERVICES);
    const before = await world.held();
    await world.start(PER_SECOND);
    const told = (what: string, since: number) => {
      const counts = world.traffic.map(({ counts, failures }) =>
        `${counts.answered} answered, ${counts.slow} late, ${failures.length} lost`
      );
      console.log(`${what}, ${Math.round(performance.now() - since)} ms: ${counts.join("; ")}`);
    };
    await t.step(`a rolling update loses nothing, beside ${SERVICES} services`, async () => {
      const since = performance.now(), began = Date.now();
      const old = (await world.pods()).map(({ metadata }) => metadata.name);
      await world.update();
      told("updated", since);
      lostNothing(world, began, old);
    });
    await t.step(`kill -9, ${ROUNDS} rounds of seed ${SEED}`, async () => {
      const roll = dice(SEED);
      const kinds = Object.keys(KILLS);
      for (let round = 0; round < ROUNDS; round++) {
        // The first rounds are one of each.
        const kind = kinds[round < kinds.length ? round : roll(kinds.length)];
        const since = performance.now();
        world.note(`round ${round}, ${kind}`);
        await KILLS[kind](world, roll);
        told(`round ${round}, ${kind}`, since);
      }
    });
    await t.step("nothing is left", async () => {
      await world.end();
      await world.until("a machine as it was", async () => {
        assertEquals(changed(before, await world.held()), []);
        return true;
      });
    });
    await world.close();
  });
});
