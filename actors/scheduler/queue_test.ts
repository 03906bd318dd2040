import { assertEquals } from "@std/assert";
import type { Plugin, PodInfo } from "./framework.ts";
import { BACKOFF_MS_MAX, BACKOFF_MS_MIN, SchedulingQueue, UNSCHEDULABLE_MS_MAX } from "./queue.ts";

function info(uid: string, priority = 0, gated = false): PodInfo {
  return { uid, priority, key: uid, pod: { spec: { gated } } } as unknown as PodInfo;
}

function queueWith(...plugins: Plugin[]): SchedulingQueue {
  const byName = new Map(plugins.map((plugin) => [plugin.name, plugin]));
  return new SchedulingQueue(() => byName);
}

const fits: Plugin = {
  name: "Fits",
  wakesOn: ["PodDelete"],
  hint: (pod) => pod.uid !== "hopeless",
};
const gates: Plugin = {
  name: "Gates",
  wakesOn: [],
  preEnqueue: (pod) => pod.pod.spec.gated ? { plugin: "Gates", reasons: [] } : undefined,
};

Deno.test("pop() gives the highest priority first, then who came first", () => {
  const queue = queueWith();
  for (const [uid, priority] of [["a", 0], ["b", 5], ["c", 0], ["d", 5]] as const) {
    queue.put(info(uid, priority), 0);
  }
  assertEquals([1, 2, 3, 4].map(() => queue.pop(0)?.uid), ["b", "d", "a", "c"]);
  assertEquals(queue.pop(0), undefined);
});

Deno.test("refused() keeps a pod until an event helps, then for its backoff", () => {
  const queue = queueWith(fits);
  queue.put(info("a"), 0);
  queue.pop(0);
  queue.refused("a", new Set(["Fits"]), 0);
  assertEquals(queue.event({ events: ["NodeLabels"] }, 10), 0);
  assertEquals(queue.event({ events: ["PodDelete"] }, 10), 1);
  assertEquals(queue.pop(10), undefined);
  assertEquals(queue.nextAt(), BACKOFF_MS_MIN);
  assertEquals(queue.pop(BACKOFF_MS_MIN)?.uid, "a");
});

Deno.test("refused() doubles the backoff up to its maximum", () => {
  const queue = queueWith(fits);
  queue.put(info("a"), 0);
  let now = 0;
  const waits: number[] = [];
  for (let i = 0; i < 6; i++) {
    queue.pop(now);
    queue.refused("a", new Set(), now);
    waits.push(queue.nextAt()! - now);
    now = queue.nextAt()!;
  }
  assertEquals(waits, [BACKOFF_MS_MIN, 2000, 4000, 8000, BACKOFF_MS_MAX, BACKOFF_MS_MAX]);
});

Deno.test("refused() tries again unasked after the longest wait", () => {
  const queue = queueWith(fits);
  queue.put(info("hopeless"), 0);
  queue.pop(0);
  queue.refused("hopeless", new Set(["Fits"]), 0);
  assertEquals(queue.event({ events: ["PodDelete"] }, 5_000), 0);
  assertEquals(queue.nextAt(), UNSCHEDULABLE_MS_MAX);
  assertEquals(queue.pop(UNSCHEDULABLE_MS_MAX)?.uid, "hopeless");
});

Deno.test("refused() heeds events that came during the try", () => {
  const queue = queueWith(fits);
  queue.put(info("a"), 0);
  queue.pop(0);
  queue.event({ events: ["PodDelete"] }, 0);
  queue.refused("a", new Set(["Fits"]), 0);
  assertEquals(queue.counts().backoff, 1);
});

Deno.test("put() keeps gated pods out until they change, and removed ones for good", () => {
  const queue = queueWith(gates);
  queue.put(info("a", 0, true), 0);
  assertEquals([queue.pop(0), queue.counts().gated], [undefined, 1]);
  queue.put(info("a"), 0);
  assertEquals(queue.pop(0)?.uid, "a");
  queue.put(info("b"), 0);
  queue.remove("b");
  assertEquals(queue.pop(0), undefined);
});
