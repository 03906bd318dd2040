/**
 * A CronJob that is due every five minutes for as long as asked, under the virtual clock, watched from outside.
 *
 * What runs: the whole API (authorization, admission, validation, managedFields, the store with its history,
 * compaction and expiry of events), the CronJob and Job controllers with their events, and history limits as every
 * CronJob has them. Each Job is made, is completed, is noted and is deleted: six writes of objects and four of events
 * a run. Jobs ask for no completions, so they need no pods; with a node they ask for one, and the scheduler, a
 * simulated node and all other controllers run too.
 *
 * What is checked, at every run: each time is served by one Job, exactly once, at its time, none is left out, and the
 * Job tells the time in the CronJob's zone; each Job completes; at rest there are as many as the limit says; no
 * warning was said. Times are counted in UTC, so that a day on which the clocks change has 276 or 300 of them.
 */
import { Cluster } from "../../mod.ts";
import { ManualClock } from "../../kv/mod.ts";
import type { DeepReadonly, KubeObject } from "../../api/machinery/types.ts";
import { assert, assertEquals } from "@std/assert";

const JOBS = { group: "batch", version: "v1", plural: "jobs" };
const CRON_JOBS = { group: "batch", version: "v1", plural: "cronjobs" };
const EVENTS = { group: "", version: "v1", plural: "events" };
const STEP_MS = 5 * 60_000;
const DAY_MS = 86_400_000;
/** How late a Job may be made: the controller looks a tenth of a second after a time, and objects know seconds. */
const LATE_MS_MAX = 1_000;
/** What a CronJob keeps of those that succeeded, unless told otherwise. */
const KEPT = 3;
const ZONE = "America/New_York";
/** When clocks there are four hours behind UTC instead of five, in 2026. */
const SUMMER = { from: Date.UTC(2026, 2, 8, 7), until: Date.UTC(2026, 10, 1, 6) };

/** What is run: from a moment (a multiple of five minutes), for some days. */
export interface CronRun {
  from: number;
  days: number;
  /** With a simulated node and a pod for each Job. */
  pods?: boolean;
}

/** What came of it. */
export interface CronResult {
  runs: number;
  ms: number;
}

/** Runs it and checks everything; throws AssertionError for what is not as it should be. */
export async function runCron({ from, days, pods }: CronRun): Promise<CronResult> {
  const began = performance.now();
  const clock = new ManualClock({ startMs: from });
  await using cluster = await Cluster.start(
    pods
      ? { clock, nodes: 1 }
      : { clock, nodes: 0, components: ["api", "controllers"], controllers: "cronjob,job" },
  );
  await cluster.settle();
  const watched = watchJobs(cluster, from, days);
  await cluster.client.create({ resource: CRON_JOBS, namespace: "default" }, cronJob(!pods));
  for (let day = 1; day <= days; day++) {
    const end = from + day * DAY_MS + STEP_MS / 2;
    await cluster.settle({ within: end - clock.now() });
    await clock.advance(end - clock.now());
    await cluster.settle();
    await checkDay(cluster, watched, end);
  }
  const runs = days * DAY_MS / STEP_MS;
  const found = watched.made.subarray(1, runs + 1);
  assertEquals(found.findIndex((times) => times !== 1), -1, "each time is served exactly once");
  assertEquals(found.reduce((sum, times) => sum + times, 0), runs);
  assertEquals(watched.completed, runs, "each Job completes once");
  return { runs, ms: performance.now() - began };
}

function cronJob(empty: boolean): object {
  const containers = [{ name: "c", image: "busybox:1", command: ["true"] }];
  const template = { spec: { restartPolicy: "Never", containers } };
  return {
    apiVersion: "batch/v1",
    kind: "CronJob",
    metadata: { name: "tick" },
    spec: {
      schedule: "*/5 * * * *",
      timeZone: ZONE,
      jobTemplate: { spec: { ...(empty && { completions: 0 }), template } },
    },
  };
}

/** What was seen of the Jobs. */
interface Watched {
  /** How many Jobs were made for each time, by its number since the beginning. */
  made: Uint8Array;
  completed: number;
  present: number;
}

function watchJobs(cluster: Cluster, from: number, days: number): Watched {
  const made = new Uint8Array(days * DAY_MS / STEP_MS + 1);
  const watched: Watched = { made, completed: 0, present: 0 };
  cluster.informers.for<KubeObject>(JOBS).subscribe(({ old, object }) => {
    if (object && isComplete(object) && !(old && isComplete(old))) watched.completed++;
    if (!object) watched.present--;
    if (old || !object) return;
    watched.present++;
    const due = Number(object.metadata.name.slice("tick-".length)) * 60_000;
    made[(due - from) / STEP_MS]++;
    checkJob(object, due);
  });
  return watched;
}

/** Whether a Job was made at its time and says so. */
function checkJob({ metadata }: DeepReadonly<KubeObject>, due: number): void {
  const late = Date.parse(metadata.creationTimestamp!) - due;
  assert(late >= 0 && late <= LATE_MS_MAX, `${metadata.name} is made ${late} ms after its time`);
  const offset = due >= SUMMER.from && due < SUMMER.until ? "-04:00" : "-05:00";
  const told = metadata.annotations?.["batch.kubernetes.io/cronjob-scheduled-timestamp"] ?? "";
  assert(Date.parse(told) === due && told.endsWith(offset), `${metadata.name} is of ${told}`);
}

function isComplete({ status }: DeepReadonly<KubeObject>): boolean {
  const conditions = (status?.conditions ?? []) as readonly { type: string; status: string }[];
  return conditions.some(({ type, status }) => type === "Complete" && status === "True");
}

/** What holds at rest, between two times. */
async function checkDay(cluster: Cluster, watched: Watched, now: number): Promise<void> {
  const at = { namespace: "default" };
  const jobs = await cluster.client.list<KubeObject>({ resource: JOBS, ...at });
  assertEquals([jobs.items.length, watched.present], [KEPT, KEPT], "the history limit is kept");
  const cron = await cluster.client.get<KubeObject>({ resource: CRON_JOBS, ...at, name: "tick" });
  const last = Math.floor(now / STEP_MS) * STEP_MS;
  assertEquals(Date.parse(cron.status.lastScheduleTime), last);
  assertEquals(cron.status.active ?? [], []);
  const events = await cluster.client.list<KubeObject>({ resource: EVENTS, ...at });
  const warnings = events.items.filter(({ type }) => type === "Warning");
  assertEquals(warnings.map(({ reason, message }) => `${reason}: ${message}`), []);
}
