/** Quotas, addresses, node ports and disruption budgets are exact under 32 writers; seeds are printed. */
import { assert, assertEquals } from "@std/assert";
import { runExactness } from "./exactness.ts";

for (const seed of [1, 2, 3, 4, 5, 56]) {
  const processes = 1 + seed % 3;
  Deno.test(`32 writers over ${processes} processes: seed ${seed}`, async () => {
    const result = await runExactness({ seed });
    assertEquals(result.failure, undefined, `deno task sim ${seed} --exactness`);
    assert(result.answered > 100 && result.refused > 20, JSON.stringify(result));
  });
}
