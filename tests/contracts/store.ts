/**
 * The store's contract as a suite: what `kv/contract.ts` promises, proven for any back end.
 *
 * A back end that cannot pass a case lists it by name with the reason.
 */

import { CAUSES } from "./store_causes.ts";
import { AROUND, SHARED } from "./store_around.ts";
import { HISTORY, LIMITS, READS, WRITES } from "./store_data.ts";
import { FORKS, PAST } from "./store_forks.ts";
import { WATCHES } from "./store_watch.ts";
import type { Ability, Case, StoreBench } from "./things.ts";

export { type StoreBench, type Thing, thingCodec, within } from "./things.ts";

/** Registers the suite for a back end. `skips`: case name to reason. */
export function storeContract(
  name: string,
  make: () => Promise<StoreBench>,
  options: { has?: readonly Ability[]; skips?: Record<string, string> } = {},
): void {
  const { has = [], skips = {} } = options;
  for (const one of CASES) {
    if (one.needs !== undefined && !has.includes(one.needs)) continue;
    Deno.test({
      name: `store contract, ${name}: ${one.name}`,
      ignore: skips[one.name] !== undefined,
      fn: async () => {
        const bench = await make();
        try {
          await one.run(bench);
        } finally {
          await bench.dispose();
        }
      },
    });
  }
}

const CASES: Case[] = [
  ...WRITES,
  ...READS,
  ...WATCHES,
  ...HISTORY,
  ...PAST,
  ...LIMITS,
  ...AROUND,
  ...FORKS,
  ...CAUSES,
  ...SHARED,
];
