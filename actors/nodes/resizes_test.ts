import { assertEquals } from "@std/assert";
import type { Json } from "../../api/machinery/types.ts";
import { type Box, openBox } from "./fixture_test.ts";
import { FakeRuntime } from "./fake_runtime_test.ts";
import { startNode } from "./node.ts";
import { gone, remove, running, withNode } from "./node_fixture_test.ts";
import type { Refusal } from "./pod_admission.ts";
import { PendingResizes, type Resizable } from "./resizes.ts";
import { startSimulatedNodes } from "./simulated_nodes.ts";
import { type Pod, PODS } from "./types.ts";

const CAPACITY = { cpu: "2", memory: "1Gi", pods: "10" };

const cpu = (amount: string) => ({ requests: { cpu: amount } });
/** A container is named as its pod: the runtime tells them apart by that. */
const asking = (name: string, amount: string) => ({
  containers: [{ name, image: "i", resources: cpu(amount) }],
});

function resize(box: Box, name: string, resources: Json): Promise<unknown> {
  const body = { spec: { containers: [{ name, resources }] } };
  const target = { resource: PODS, namespace: "default", name, subresource: "resize" };
  return box.client.patch(target, { type: "strategic", body });
}

const conditionOf = (pod: Pod, type: string) =>
  pod.status?.conditions?.find((one) => one.type === type);
const pending = (pod: Pod) => conditionOf(pod, "PodResizePending");
const deferred = (pod: Pod) => pending(pod)?.reason === "Deferred";

/** What the node has set aside and what is in force, of cpu. */
function holds({ status }: Pod): unknown[] {
  const { allocatedResources, resources } = status!.containerStatuses![0];
  return [allocatedResources?.cpu, resources?.requests?.cpu];
}

const has = (amount: string) => (pod: Pod) =>
  !pending(pod) && !conditionOf(pod, "PodResizeInProgress") &&
  String(holds(pod)) === `${amount},${amount}`;

Deno.test("a resize for which there is no room waits, and is done when another pod ends", () =>
  withNode(async (w) => {
    await w.pod("a", "n0", asking("a", "500m"));
    await w.pod("b", "n0", asking("b", "1"));
    await w.see("a", "Running", running);
    await w.see("b", "Running", running);
    await resize(w, "a", cpu("1500m"));
    const waits = await w.see("a", "waits", deferred);
    const { status, message, observedGeneration } = pending(waits)!;
    assertEquals(
      [status, message, observedGeneration],
      [
        "True",
        "Node didn't have enough resource: cpu, requested: 1500, used: 1000, capacity: 2000",
        waits.metadata.generation,
      ],
    );
    assertEquals(holds(waits), ["500m", "500m"]);
    assertEquals(w.runtime.log, ["start a", "start b"]);
    await remove(w, "b");
    await w.until("b is gone", gone(w, "b"));
    await w.see("a", "has it", has("1500m"));
    const told = async () => (await w.events()).filter((one) => one.includes(" Resize"));
    await w.until("the last Event", async () => (await told()).length === 3);
    const summary = '{"containers":[{"name":"a","resources":{"requests":{"cpu":"1500m"}}}],' +
      '"generation":2';
    assertEquals((await told()).sort(), [
      `Normal ResizeCompleted Pod resize completed: ${summary}}`,
      `Normal ResizeStarted Pod resize started: ${summary}}`,
      `Warning ResizeDeferred Pod resize Deferred: ${summary},"error":"${message}"}`,
    ]);
  }, { capacity: CAPACITY }));

Deno.test("a resize waits for another pod's, and no longer than it is asked for", () =>
  withNode(async (w) => {
    for (const name of ["a", "b"]) {
      await w.pod(name, "n0", asking(name, "1"));
      await w.see(name, "Running", running);
    }
    await resize(w, "a", cpu("1500m"));
    await w.see("a", "waits", deferred);
    await resize(w, "b", cpu("500m"));
    await w.see("b", "is smaller", has("500m"));
    await w.see("a", "is larger", has("1500m"));
    await resize(w, "b", cpu("900m"));
    await w.see("b", "waits", deferred);
    await resize(w, "b", cpu("500m"));
    await w.see("b", "is what it was", has("500m"));
  }, { capacity: CAPACITY }));

Deno.test("a pod that is larger than it may be keeps the node's room, and others do not get it twice", () =>
  withNode(async (w) => {
    await w.pod("a", "n0", asking("a", "1"));
    await w.see("a", "Running", running);
    await resize(w, "a", cpu("2500m"));
    await w.see("a", "waits", deferred);
    await w.pod("b", "n0", asking("b", "1"));
    await w.see("b", "is taken beside what is set aside", running);
    await w.pod("third", "n0", asking("third", "1"));
    const third = await w.see("third", "fails", (pod) => pod.status?.phase === "Failed");
    assertEquals(third.status!.reason, "OutOfcpu");
  }, { capacity: CAPACITY }));

Deno.test("a new life of the node gives a pod what it held, not what it waits for", () =>
  withNode(async (w) => {
    for (const name of ["a", "b"]) {
      await w.pod(name, "n0", asking(name, "1"));
      await w.see(name, "Running", running);
    }
    await resize(w, "a", cpu("1500m"));
    const before = await w.see("a", "waits", deferred);
    await w.node.stop();
    const runtimes = [new FakeRuntime(w.clock)];
    const node = startNode(w.system, { name: "n0", clock: w.clock, runtimes, capacity: CAPACITY });
    const again = (pod: Pod) => pod.status!.containerStatuses![0].restartCount === 1;
    const pod = await w.see("a", "runs again", (one) => running(one) && again(one));
    assertEquals([holds(pod), pending(pod)], [["1", "1"], pending(before)]);
    await remove(w, "b");
    await w.see("a", "has it", has("1500m"));
    await node.stop();
  }, { capacity: CAPACITY }));

Deno.test("a decrease that was refused is tried again", () =>
  withNode(async (w) => {
    const memory = (amount: string) => ({ limits: { memory: amount } });
    await w.pod("a", "n0", {
      containers: [{ name: "a", image: "i", resources: memory("64Mi") }],
    });
    await w.see("a", "Running", running);
    w.runtime.memoryBytes = 48 * 2 ** 20;
    await resize(w, "a", { ...memory("32Mi"), requests: { memory: "32Mi" } });
    const refused = (pod: Pod) => conditionOf(pod, "PodResizeInProgress")?.reason === "Error";
    const pod = await w.see("a", "is refused", refused);
    assertEquals(pod.status!.containerStatuses![0].resources?.limits?.memory, "64Mi");
    w.runtime.memoryBytes = 16 * 2 ** 20;
    const done = await w.await("a", "is smaller", 1000, (one) =>
      !conditionOf(one, "PodResizeInProgress"));
    assertEquals(done.status!.containerStatuses![0].resources?.limits?.memory, "32Mi");
    assertEquals(w.runtime.log, ["start a", "resize a 32Mi"]);
  }));

Deno.test("a simulated node sets aside no more than it has", async () => {
  await using box = await openBox();
  const nodes = startSimulatedNodes(box.system, { capacity: CAPACITY, count: 2 });
  await nodes.registered;
  const see = (name: string, look: (pod: Pod) => unknown) =>
    box.until(name, async () => look(await box.get(name)));
  await box.pod("elsewhere", "simulated-1", asking("elsewhere", "2"));
  for (const name of ["a", "b"]) {
    await box.pod(name, "simulated-0", asking(name, "1"));
    await see(name, running);
  }
  await resize(box, "a", cpu("1500m"));
  await see("a", deferred);
  assertEquals(holds(await box.get("a")), ["1", "1"]);
  await remove(box, "b");
  await see("a", has("1500m"));
});

/** A pod that asks for another amount of cpu, and may have waited. */
class Asking implements Resizable {
  readonly pod: Pod;
  readonly waitsSince: number | undefined;
  wish: Pod | undefined;
  told: string | undefined;

  constructor(name: string, to: string, more: { priority?: number; limit?: string; at?: number }) {
    const { priority, limit, at } = more;
    const made = (amount: string) => {
      const resources = limit
        ? { requests: { cpu: amount, memory: limit }, limits: { cpu: amount, memory: limit } }
        : cpu(amount);
      return { metadata: { name }, spec: { priority, containers: [{ name: "c", resources }] } };
    };
    this.pod = made("1") as never;
    this.wish = made(to) as never;
    this.waitsSince = at;
  }

  grant(): void {
    this.wish = undefined;
  }

  defer({ message }: Refusal): void {
    this.told = message;
  }
}

Deno.test("resizes are tried in upstream's order", () => {
  const tried: string[] = [];
  let full = true;
  const resizes = new PendingResizes<Asking>(({ pod }) => {
    if (!full) tried.push(pod.metadata.name);
    return full ? { reason: "OutOfcpu", message: "full" } : undefined;
  });
  const all = [
    new Asking("new", "2", {}),
    new Asking("late", "2", { at: 2 }),
    new Asking("early", "2", { at: 1 }),
    new Asking("guaranteed", "2", { limit: "1Gi", at: 3 }),
    new Asking("important", "2", { priority: 10, at: 4 }),
    new Asking("smaller", "500m", { priority: -1, at: 5 }),
    new Asking("reverted", "2", { priority: 100, at: 0 }),
  ];
  for (const one of all) resizes.changed(one);
  assertEquals(all.map(({ told }) => told), all.map(() => "full"));
  all.at(-1)!.grant();
  full = false;
  resizes.retry();
  resizes.retry();
  assertEquals(tried, ["smaller", "important", "guaranteed", "early", "late", "new"]);
});
