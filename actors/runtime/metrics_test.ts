/** What Prometheus sees of actors. */
import { assertEquals } from "@std/assert";
import type { ActorReport } from "./contract.ts";
import { controllerLines, workqueueLines } from "./metrics.ts";
import { QueueTimes } from "./queue_times.ts";

Deno.test("workqueueLines() shows actors as queues of upstream's names, and no pods", () => {
  const report = (address: string, more: Partial<ActorReport> = {}): ActorReport => ({
    address,
    state: "running",
    waiting: 0,
    running: 0,
    delayed: 0,
    lagMs: 0,
    handled: 0,
    failed: 0,
    restarts: 0,
    times: new QueueTimes(),
    unfinished: { sumMs: 0, longestMs: 0 },
    ...more,
  });
  const times = new QueueTimes();
  times.queued.add(0.002);
  times.worked.add(20);
  const unfinished = { sumMs: 2500, longestMs: 1500 };
  const busy = { times, unfinished, waiting: 2, running: 1, handled: 7, failed: 3, lagMs: 1500 };
  const lines = workqueueLines([
    report("controller/deployment", busy),
    report("scheduler/default"),
    report("pod/abc"),
  ]).split("\n").filter((line) => !line.startsWith("#"));
  const histogram = lines.splice(12).filter((line) => line.includes('"deployment"'));
  assertEquals(histogram.filter((line) => /le="(0.001|0.01|10|\+Inf)"|_sum/.test(line)), [
    'workqueue_queue_duration_seconds_bucket{name="deployment",le="0.001"} 0',
    'workqueue_queue_duration_seconds_bucket{name="deployment",le="0.01"} 1',
    'workqueue_queue_duration_seconds_bucket{name="deployment",le="10"} 1',
    'workqueue_queue_duration_seconds_bucket{name="deployment",le="+Inf"} 1',
    'workqueue_queue_duration_seconds_sum{name="deployment"} 0.002',
    'workqueue_work_duration_seconds_bucket{name="deployment",le="0.001"} 0',
    'workqueue_work_duration_seconds_bucket{name="deployment",le="0.01"} 0',
    'workqueue_work_duration_seconds_bucket{name="deployment",le="10"} 0',
    'workqueue_work_duration_seconds_bucket{name="deployment",le="+Inf"} 1',
    'workqueue_work_duration_seconds_sum{name="deployment"} 20',
  ]);
  assertEquals(lines, [
    'workqueue_adds_total{name="deployment"} 10',
    'workqueue_adds_total{name="scheduler/default"} 0',
    'workqueue_depth{name="deployment"} 2',
    'workqueue_depth{name="scheduler/default"} 0',
    'workqueue_retries_total{name="deployment"} 3',
    'workqueue_retries_total{name="scheduler/default"} 0',
    'workqueue_queue_oldest_seconds{name="deployment"} 1.5',
    'workqueue_queue_oldest_seconds{name="scheduler/default"} 0',
    'workqueue_unfinished_work_seconds{name="deployment"} 2.5',
    'workqueue_unfinished_work_seconds{name="scheduler/default"} 0',
    'workqueue_longest_running_processor_seconds{name="deployment"} 1.5',
    'workqueue_longest_running_processor_seconds{name="scheduler/default"} 0',
  ]);
  assertEquals(workqueueLines([]), "");
  const controllers = controllerLines([
    report("controller/nodeipam"),
    report("controller/job", { state: "starting" }),
    report("scheduler/default"),
  ]);
  assertEquals(controllers.split("\n").slice(2), [
    'running_managed_controllers{manager="kube-controller-manager",name="nodeipam"} 1',
    'running_managed_controllers{manager="kube-controller-manager",name="job"} 0',
  ]);
  assertEquals(controllerLines([]), "");
});
