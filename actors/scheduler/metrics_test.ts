import { assert, assertEquals } from "@std/assert";
import { openWorld, type World } from "./world_test.ts";

/** A series' value by its name and labels, as a scrape reads it. */
function value(w: World, series: string): number | undefined {
  const line = w.view.metricsText().split("\n").find((one) => one.startsWith(`${series} `));
  return line === undefined ? undefined : Number(line.slice(series.length + 1));
}

Deno.test("metrics count attempts, waiting pods, what moved them and what keeps them, under upstream's names", async () => {
  await using w = await openWorld();
  await w.node("a", { cpu: "1" });
  await w.settle();
  await w.pod("one", { requests: { cpu: "1" } });
  await w.settle();
  await w.pod("two", { requests: { cpu: "1" } });
  await w.pod("gated", { schedulingGates: [{ name: "x" }] });
  await w.settle();
  const profile = `profile="default-scheduler"`;
  const expected: [string, number][] = [
    [`scheduler_schedule_attempts_total{result="scheduled",${profile}}`, 1],
    [`scheduler_schedule_attempts_total{result="unschedulable",${profile}}`, 1],
    [`scheduler_scheduling_attempt_duration_seconds_count{result="scheduled",${profile}}`, 1],
    [`scheduler_scheduling_algorithm_duration_seconds_count`, 2],
    [`scheduler_pod_scheduling_sli_duration_seconds_count{attempts="1"}`, 1],
    [`scheduler_pod_scheduling_attempts_sum`, 1],
    [`scheduler_pending_pods{queue="unschedulable"}`, 1],
    [`scheduler_pending_pods{queue="gated"}`, 1],
    [`scheduler_unschedulable_pods{plugin="NodeResourcesFit",${profile}}`, 1],
    [`scheduler_queue_incoming_pods_total{queue="active",event="UnschedulablePodAdd"}`, 2],
    [
      `scheduler_queue_incoming_pods_total{queue="unschedulable",event="ScheduleAttemptFailure"}`,
      1,
    ],
    [`scheduler_preemption_attempts_total`, 1],
    [`scheduler_cache_size{type="nodes"}`, 1],
    [`scheduler_cache_size{type="pods"}`, 1],
  ];
  for (const [series, wanted] of expected) {
    assertEquals([series, value(w, series)], [series, wanted]);
  }
  assert(
    w.view.metricsText().includes(
      'scheduler_plugin_execution_duration_seconds_count{plugin="NodeResourcesFit",extension_point="Filter"',
    ),
  );
  await w.client.delete(
    { resource: { group: "", version: "v1", plural: "pods" }, namespace: "default", name: "one" },
    { gracePeriodSeconds: 0 },
  );
  await w.settle(15_000);
  assertEquals(
    value(w, `scheduler_queue_incoming_pods_total{queue="backoff",event="AssignedPodDelete"}`),
    1,
  );
  assertEquals(value(w, `scheduler_pod_scheduling_sli_duration_seconds_count{attempts="2"}`), 1);
});

Deno.test("metrics count preemptions by their victims", async () => {
  await using w = await openWorld();
  await w.node("a", { cpu: "2" });
  await w.priorityClass("high", 10);
  await w.pod("low-1", { requests: { cpu: "1" } });
  await w.pod("low-2", { requests: { cpu: "1" } });
  await w.settle();
  await w.pod("high", { priorityClassName: "high", requests: { cpu: "2" } });
  await w.settle();
  assertEquals(value(w, `scheduler_preemption_victims_sum`), 2);
  assertEquals(value(w, `scheduler_preemption_victims_bucket{le="2"}`), 1);
});
