/** A few seeds of the simulation, its exact replay, and proof that its checkers see planted bugs. */
import { assert, assertEquals, assertNotEquals } from "@std/assert";
import { mutationOf } from "./mutations.ts";
import type { Report } from "./sim_worker.ts";
import { runSeed } from "./world.ts";

const HINT = (seed: number) => `deno task sim ${seed}`;

for (const seed of [1, 2, 3]) {
  Deno.test(`a cluster in trouble keeps its promises: seed ${seed}`, async () => {
    const { failure, answered, revisions } = await runSeed({ seed });
    assertEquals(failure, undefined, HINT(seed));
    assert(answered > 10 && revisions > 200, `nothing happened: ${HINT(seed)}`);
  });
}

Deno.test("the same seed gives the same run, to the byte, here and in a fresh worker", async () => {
  const lines: string[] = [];
  const here = await runSeed({ seed: 6, steps: 50, tell: (line) => lines.push(line) });
  const worker = new Worker(new URL("./sim_worker.ts", import.meta.url), { type: "module" });
  const there = await new Promise<Report>((resolve, reject) => {
    worker.onmessage = ({ data }) => resolve(data);
    worker.onerror = (event) => reject(new Error(event.message));
    worker.postMessage({ seed: 6, steps: 50, digest: true });
  });
  worker.terminate();
  assertEquals(there, { ...here, digest: here.digest() });
  const again: string[] = [];
  await runSeed({ seed: 6, steps: 50, tell: (line) => again.push(line) });
  assertEquals(again, lines);
  const other = await runSeed({ seed: 7, steps: 5 });
  assertNotEquals(other.digest(), here.digest());
});

Deno.test("controllers that run twice under one term come to rest, and harm nothing", async () => {
  for (let seed = 1; seed <= 6; seed++) {
    const { failure } = await runSeed({ seed, twice: true });
    assertEquals(failure, undefined, `${HINT(seed)} --twice`);
  }
});

/** Each is found by one of these within so many seeds: another story may pass a bug by. */
const planted: { mutation: string; within: number; steps?: number; checkers: string[] }[] = [
  { mutation: "lost-write", within: 10, checkers: ["watch", "acknowledged", "revisions"] },
  { mutation: "blind-term", within: 40, steps: 250, checkers: ["terms"] },
  { mutation: "deaf-cache", within: 10, checkers: ["acknowledged", "convergence", "replicas"] },
  { mutation: "undying-cache", within: 10, checkers: ["acknowledged", "convergence"] },
  { mutation: "no-expectations", within: 10, checkers: ["replicas"] },
  { mutation: "bold-rollout", within: 10, checkers: ["replicas", "convergence"] },
  { mutation: "early-finalizer", within: 30, checkers: ["owners"] },
  { mutation: "hasty-removal", within: 100, steps: 200, checkers: ["identity"] },
  { mutation: "blind-retry", within: 20, checkers: ["removals"] },
];

for (const { mutation, within, steps, checkers } of planted) {
  Deno.test(`the checkers see ${mutation} within ${within} seeds`, async () => {
    for (let seed = 1; seed <= within; seed++) {
      const { failure } = await runSeed({ seed, steps, mutation: mutationOf(mutation) });
      if (!failure) continue;
      const command = `${HINT(seed)} --steps ${steps ?? 90} --mutation ${mutation}`;
      assert(checkers.includes(failure.checker), `${failure.checker} saw it: ${command}`);
      return;
    }
    throw new Error(`nobody saw it: ${HINT(1)} --mutation ${mutation}`);
  });
}
