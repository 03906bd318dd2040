/** A few seeds of the simulation, its exact replay, and proof that its checkers see planted bugs. */
import { assert, assertEquals, assertNotEquals } from "@std/assert";
import { mutationOf } from "./mutations.ts";
import { runSeed } from "./world.ts";

const HINT = (seed: number) => `deno task sim ${seed}`;

for (const seed of [1, 2, 3]) {
  Deno.test(`a cluster in trouble keeps its promises: seed ${seed}`, async () => {
    const { failure, answered, revisions } = await runSeed({ seed });
    assertEquals(failure, undefined, HINT(seed));
    assert(answered > 10 && revisions > 200, `nothing happened: ${HINT(seed)}`);
  });
}

Deno.test("the same seed gives the same run, to the byte", async () => {
  const told: string[][] = [[], []];
  const results = [];
  for (const lines of told) {
    results.push(await runSeed({ seed: 6, steps: 50, tell: (line) => lines.push(line) }));
  }
  assertEquals(results[0].digest, results[1].digest);
  assertEquals(told[0], told[1]);
  const other = await runSeed({ seed: 7, steps: 5 });
  assertNotEquals(other.digest, results[0].digest);
});

const planted = [
  { mutation: "lost-write", seed: 1, checkers: ["watch", "acknowledged", "revisions"] },
  { mutation: "blind-term", seed: 4, checkers: ["terms"] },
  { mutation: "deaf-cache", seed: 2, checkers: ["acknowledged", "convergence", "replicas"] },
];

for (const { mutation, seed, checkers } of planted) {
  Deno.test(`the checkers see ${mutation}`, async () => {
    const { failure } = await runSeed({ seed, mutation: mutationOf(mutation) });
    const command = `${HINT(seed)} --mutation ${mutation}`;
    assert(failure, `nothing was seen: ${command}`);
    assert(checkers.includes(failure.checker), `${failure.checker} saw it: ${command}`);
  });
}
