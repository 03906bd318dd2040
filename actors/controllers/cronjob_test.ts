import { assert, assertEquals, assertThrows } from "@std/assert";
import { CLUSTER_ROLES, CRON_JOBS, JOBS } from "../runtime/mod.ts";
import { clusterRoleAggregationController } from "./clusterrole_aggregation.ts";
import { parseSchedule, ScheduleError } from "./cron_schedule.ts";
import { cronJobController } from "./cronjob.ts";
import { garbageCollector } from "./garbage_collector.ts";
import { jobController } from "./job.ts";
import { ttlAfterFinishedController } from "./ttl_after_finished.ts";
import { openWorld, type World } from "./world_test.ts";

const at = (text: string) => Date.parse(text);
const next = (schedule: string, after: string, zone?: string) => {
  const found = parseSchedule(schedule, zone).next(at(after));
  return found === undefined ? undefined : new Date(found).toISOString().slice(0, 16);
};

Deno.test("parseSchedule() finds the next time", () => {
  const cases: [string, string, string | undefined][] = [
    ["* * * * *", "2026-01-01T00:00:30Z", "2026-01-01T00:01"],
    ["*/15 * * * *", "2026-01-01T00:15:00Z", "2026-01-01T00:30"],
    ["5/20 * * * *", "2026-01-01T00:06:00Z", "2026-01-01T00:25"],
    ["0 9-17/4 * * *", "2026-01-01T13:00:00Z", "2026-01-01T17:00"],
    ["0 0 1 jan,JUL *", "2026-01-01T00:00:00Z", "2026-07-01T00:00"],
    ["0 0 * * mon", "2026-01-01T00:00:00Z", "2026-01-05T00:00"],
    ["0 0 13 * fri", "2026-01-01T00:00:00Z", "2026-01-02T00:00"],
    ["0 0 ? * 0", "2026-01-01T00:00:00Z", "2026-01-04T00:00"],
    ["0 0 29 2 *", "2026-01-01T00:00:00Z", "2028-02-29T00:00"],
    ["0 0 30 2 *", "2026-01-01T00:00:00Z", undefined],
    ["@hourly", "2026-01-01T00:00:00Z", "2026-01-01T01:00"],
    ["@weekly", "2026-01-01T00:00:00Z", "2026-01-04T00:00"],
    ["@every 90s", "2026-01-01T00:00:30Z", "2026-01-01T00:02"],
    ["TZ=Asia/Tokyo 0 9 * * *", "2026-01-01T00:00:00Z", "2026-01-02T00:00"],
  ];
  for (const [schedule, after, expected] of cases) {
    assertEquals(next(schedule, after), expected, schedule);
  }
});

Deno.test("parseSchedule() follows time zones over changes of daylight saving", () => {
  const zone = "America/New_York";
  assertEquals(next("30 8 * * *", "2026-03-07T20:00:00Z", zone), "2026-03-08T12:30");
  assertEquals(next("30 8 * * *", "2026-03-06T20:00:00Z", zone), "2026-03-07T13:30");
  // 02:30 does not exist on 8 March.
  assertEquals(next("30 2 * * *", "2026-03-08T00:00:00Z", zone), "2026-03-09T06:30");
  // 01:30 exists twice on 1 November.
  assertEquals(next("30 1 * * *", "2026-11-01T00:00:00Z", zone), "2026-11-01T05:30");
});

Deno.test("parseSchedule() misses no minute of the hour that comes twice, and none after the one that is left out", () => {
  const { next } = parseSchedule("*/5 * * * *", "America/New_York");
  for (const day of [Date.UTC(2026, 2, 8), Date.UTC(2026, 10, 1)]) {
    for (let at = day; at < day + 86_400_000; at += 300_000) assertEquals(next(at), at + 300_000);
  }
});

Deno.test("parseSchedule() refuses what it cannot read", () => {
  const bad = [
    "",
    "* * * *",
    "60 * * * *",
    "5-1 * * * *",
    "*/0 * * * *",
    "x * * * *",
    "@never",
    "@every x",
  ];
  for (const text of bad) assertThrows(() => parseSchedule(text), ScheduleError, undefined, text);
  assertThrows(() => parseSchedule("* * * * *", "Mars/Base"), ScheduleError, "unknown time zone");
});

function cron(spec: object = {}) {
  return {
    metadata: { name: "tick" },
    spec: {
      schedule: "*/5 * * * *",
      jobTemplate: {
        metadata: { labels: { from: "tick" } },
        spec: {
          template: {
            spec: { restartPolicy: "Never", containers: [{ name: "c", image: "x" }] },
          },
        },
      },
      ...spec,
    },
  };
}

async function jobs(world: World) {
  return (await world.list(JOBS)).map((job) => job.metadata.name).sort();
}

const minutes = (text: string) => at(text) / 60_000;

Deno.test("cronjob starts a job at each of its times, named after the minute", async () => {
  await using world = await openWorld([cronJobController(), jobController()]);
  await world.create(CRON_JOBS, cron());
  await world.advance(5 * 60_000 + 500);
  const name = `tick-${minutes("2026-01-01T00:05:00Z")}`;
  assertEquals(await jobs(world), [name]);
  const [job] = await world.list(JOBS);
  assertEquals(job.metadata.labels?.from, "tick");
  assertEquals(
    job.metadata.annotations!["batch.kubernetes.io/cronjob-scheduled-timestamp"],
    "2026-01-01T00:05:00Z",
  );
  let found = await world.get(CRON_JOBS, "tick");
  assertEquals(found.status.active.map((r: { name: string }) => r.name), [name]);
  assertEquals(found.status.lastScheduleTime, "2026-01-01T00:05:00Z");
  await world.advance(60_000);
  for (const pod of await world.list({ group: "", version: "v1", plural: "pods" })) {
    await world.podIs(pod, "Succeeded");
  }
  await world.advance(1000);
  found = await world.get(CRON_JOBS, "tick");
  assertEquals(found.status.active, undefined);
  assert(found.status.lastSuccessfulTime);
  const events = await world.events();
  assert(events.includes(`Normal SuccessfulCreate Created job ${name}`));
  assert(events.includes(`Normal SawCompletedJob Saw completed job: ${name}, condition: Complete`));
  assertEquals(world.log, []);
});

Deno.test("cronjob tells of a schedule that no day ever meets", async () => {
  await using world = await openWorld([cronJobController()]);
  await world.create(CRON_JOBS, cron({ schedule: "59 23 31 2 *" }));
  await world.advance(1000);
  assertEquals(await world.events(), [
    "Warning InvalidSchedule invalid schedule: 59 23 31 2 * : " +
    "time difference between two schedules is less than 1 second",
  ]);
});

Deno.test("cronjob forbids, replaces, or lets jobs overlap", async () => {
  for (
    const [policy, expected] of [["Forbid", 1], ["Replace", 1], ["Allow", 3]] as const
  ) {
    await using world = await openWorld((ports) => [
      cronJobController(),
      jobController(),
      garbageCollector(ports),
    ]);
    await world.create(CRON_JOBS, cron({ concurrencyPolicy: policy }));
    await world.advance(16 * 60_000);
    const names = await jobs(world);
    assertEquals(names.length, expected, policy);
    const last = policy === "Forbid" ? "2026-01-01T00:05:00Z" : "2026-01-01T00:15:00Z";
    assertEquals(names.at(-1), `tick-${minutes(last)}`, policy);
  }
});

Deno.test("cronjob keeps as many ended jobs as it is told to, and none while suspended", async () => {
  await using world = await openWorld((ports) => [
    cronJobController(),
    jobController(),
    garbageCollector(ports),
  ]);
  await world.create(CRON_JOBS, cron({ successfulJobsHistoryLimit: 2 }));
  for (let i = 0; i < 4; i++) {
    await world.advance(5 * 60_000);
    await world.advance(1000);
    for (const pod of await world.list({ group: "", version: "v1", plural: "pods" })) {
      if (pod.status?.phase === "Pending") await world.podIs(pod, "Succeeded");
    }
    await world.advance(1000);
  }
  assertEquals((await jobs(world)).length, 2);
  await world.client.patch({ resource: CRON_JOBS, namespace: "default", name: "tick" }, {
    type: "merge",
    body: { spec: { suspend: true } },
  });
  await world.advance(20 * 60_000);
  assertEquals((await jobs(world)).length, 2);
});

Deno.test("ttl-after-finished deletes a job when its time is over", async () => {
  await using world = await openWorld((ports) => [
    jobController(),
    ttlAfterFinishedController,
    garbageCollector(ports),
  ]);
  await world.create(JOBS, {
    metadata: { name: "short" },
    spec: { ...cron().spec.jobTemplate.spec, ttlSecondsAfterFinished: 60 },
  });
  await world.settle();
  for (const pod of await world.list({ group: "", version: "v1", plural: "pods" })) {
    await world.podIs(pod, "Succeeded");
  }
  await world.settle();
  await world.advance(50_000);
  assertEquals(await jobs(world), ["short"]);
  await world.advance(11_000);
  assertEquals(await jobs(world), []);
});

Deno.test("clusterroles aggregate the rules of those they select", async () => {
  await using world = await openWorld([clusterRoleAggregationController]);
  const rule = { apiGroups: ["example.com"], resources: ["things"], verbs: ["get"] };
  await world.client.create({ resource: CLUSTER_ROLES }, {
    metadata: { name: "sum" },
    aggregationRule: { clusterRoleSelectors: [{ matchLabels: { part: "yes" } }] },
    rules: [],
  });
  await world.client.create({ resource: CLUSTER_ROLES }, {
    metadata: { name: "part", labels: { part: "yes" } },
    rules: [rule],
  });
  await world.settle();
  const rules = async () =>
    (await world.list(CLUSTER_ROLES)).find((role) => role.metadata.name === "sum")?.rules ?? [];
  assertEquals(await rules(), [rule]);
  await world.client.delete({ resource: CLUSTER_ROLES, name: "part" });
  await world.settle();
  assertEquals(await rules(), []);
});
