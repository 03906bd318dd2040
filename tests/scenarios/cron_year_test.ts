/** Shorter forms of what `deno task bench --only virtual` runs: a year without pods, a week with them. */
import { assertEquals } from "@std/assert";
import { runCron } from "./cron_year.ts";

const DAY_RUNS = 288;

Deno.test("CronJobs every five minutes, two days around the change to summer time", async () => {
  const { runs } = await runCron({ from: Date.UTC(2026, 2, 7, 12), days: 2 });
  assertEquals(runs, 2 * DAY_RUNS);
});

Deno.test("CronJobs every five minutes, two days around the change back", async () => {
  const { runs } = await runCron({ from: Date.UTC(2026, 9, 31, 12), days: 2 });
  assertEquals(runs, 2 * DAY_RUNS);
});

Deno.test("CronJobs every five minutes for a day, with pods on a node", async () => {
  const { runs } = await runCron({ from: Date.UTC(2026, 2, 8), days: 1, pods: true });
  assertEquals(runs, DAY_RUNS);
});
