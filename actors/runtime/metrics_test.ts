/** What Prometheus sees of actors. */
import { assertEquals } from "@std/assert";
import type { ActorReport } from "./contract.ts";
import { workqueueLines } from "./metrics.ts";

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
    ...more,
  });
  const busy = { waiting: 2, running: 1, handled: 7, failed: 3, lagMs: 1500 };
  const lines = workqueueLines([
    report("controller/deployment", busy),
    report("scheduler/default"),
    report("pod/abc"),
  ]).split("\n").filter((line) => !line.startsWith("#"));
  assertEquals(lines, [
    'workqueue_adds_total{name="deployment"} 10',
    'workqueue_adds_total{name="scheduler/default"} 0',
    'workqueue_depth{name="deployment"} 2',
    'workqueue_depth{name="scheduler/default"} 0',
    'workqueue_retries_total{name="deployment"} 3',
    'workqueue_retries_total{name="scheduler/default"} 0',
    'workqueue_queue_oldest_seconds{name="deployment"} 1.5',
    'workqueue_queue_oldest_seconds{name="scheduler/default"} 0',
  ]);
  assertEquals(workqueueLines([]), "");
});
