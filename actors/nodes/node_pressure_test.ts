/** A node that runs short, and one that is shut down: what its Node, its pods and their Events say. */
import { assertEquals } from "@std/assert";
import type { Meter } from "./figures.ts";
import type { KubeletOptions } from "./kubelet_options.ts";
import { withNode, type World as NodeWorld } from "./node_fixture_test.ts";
import { NODES, type Pod } from "./types.ts";

const GIB = 2 ** 30;

class FakeMeter implements Meter {
  workingSetBytes = 0;
  machine() {
    const memory = {
      capacityBytes: GIB,
      usageBytes: this.workingSetBytes,
      workingSetBytes: this.workingSetBytes,
      rssBytes: 0,
      pageFaults: 0,
      majorPageFaults: 0,
    };
    return Promise.resolve({
      cpuNanoseconds: 0,
      cpuNanoCores: 0,
      memory,
      swap: { capacityBytes: 0, usageBytes: 0 },
      interfaces: [],
      processes: 1,
      processesMax: 1000,
    });
  }
  nodeFs() {
    return Promise.resolve({
      capacityBytes: GIB,
      availableBytes: GIB,
      usedBytes: 0,
      inodes: 100,
      inodesFree: 100,
      inodesUsed: 0,
    });
  }
}

interface World extends NodeWorld {
  meter: FakeMeter;
  condition(type: string): Promise<string>;
  reaches(name: string, phase: string): Promise<Pod>;
}

function withMeter(kubelet: KubeletOptions, use: (world: World) => Promise<void>) {
  const meter = new FakeMeter();
  return withNode((w) =>
    use({
      ...w,
      meter,
      condition: async (type) => {
        const node = await w.client.get({ resource: NODES, name: "n0" });
        const { conditions } = node.status as { conditions: Record<string, string>[] };
        const { status, reason, message } = conditions.find((one) => one.type === type)!;
        return `${status} ${reason}: ${message}`;
      },
      reaches: (name, phase) =>
        w.await(name, `${name} ${phase}`, 500, (pod) => pod.status?.phase === phase),
    }), { meter, kubelet });
}

const spec = (name: string, more = {}) => ({ containers: [{ name, image: "i" }], ...more });

Deno.test("a node that runs short of memory says so, evicts, refuses, and forgets in the end", () => {
  const eviction = {
    thresholds: [{ signal: "memory.available", value: { quantity: "100Mi" }, graceMs: 0 }],
    pressureTransitionMs: 60_000,
    maxPodGraceSeconds: 0,
  } as const;
  return withMeter({ eviction }, async (w) => {
    await w.pod("a", "n0", spec("a"));
    await w.reaches("a", "Running");
    w.meter.workingSetBytes = GIB - 1;
    const { status } = await w.reaches("a", "Failed");
    assertEquals(status!.reason, "Evicted");
    assertEquals(
      status!.message,
      "The node was low on resource: memory. Threshold quantity: 100Mi, available: 1. ",
    );
    const condition = status!.conditions!.find(({ type }) => type === "DisruptionTarget");
    assertEquals([condition?.status, condition?.reason], ["True", "TerminationByKubelet"]);
    // The node's own status is another write than its pods'
    const short = "True KubeletHasInsufficientMemory: kubelet has insufficient memory available";
    await w.pass("the pressure", 500, async () => await w.condition("MemoryPressure") === short);
    assertEquals(await w.condition("Ready"), "True KubeletReady: kubelet is posting ready status");
    await w.pod("b", "n0", spec("b"));
    const refused = await w.reaches("b", "Failed");
    assertEquals(
      refused.status!.message,
      "Pod was rejected: The node had condition: [MemoryPressure]. ",
    );
    assertEquals(w.runtime.log, ["start a", "TERM a 1000", "exit a 0"]);
    w.meter.workingSetBytes = 0;
    const well = "False KubeletHasSufficientMemory: kubelet has sufficient memory available";
    await w.pass("the end of it", 5000, async () => await w.condition("MemoryPressure") === well);
    const events = await w.events();
    for (
      const event of [
        "Warning EvictionThresholdMet Attempting to reclaim memory",
        "Normal NodeHasInsufficientMemory Node n0 status is now: NodeHasInsufficientMemory",
        "Normal NodeHasSufficientMemory Node n0 status is now: NodeHasSufficientMemory",
        `Warning Evicted ${status!.message}`,
      ]
    ) assertEquals(events.filter((one) => one === event).length, 1, event);
  });
});

Deno.test("a node that is shut down ends its pods by priority, and takes no others", () => {
  const shutdown = [{ priority: 0, graceSeconds: 20 }, { priority: 1000, graceSeconds: 10 }];
  return withMeter({ shutdown }, async (w) => {
    await w.pod("low", "n0", spec("low", { terminationGracePeriodSeconds: 5 }));
    await w.pod("usual", "n0", spec("usual"));
    await w.pod("high", "n0", spec("high", { priority: 5000 }));
    await w.pod("done", "n0", spec("done", { restartPolicy: "Never" }));
    for (const name of ["low", "usual", "high", "done"]) await w.reaches(name, "Running");
    w.runtime.exit("done", 0);
    await w.reaches("done", "Succeeded");
    w.runtime.log.length = 0;
    w.runtime.obedient = undefined;
    const ended = w.node.shutDown();
    const unready = "False KubeletNotReady: node is shutting down";
    await w.pass("the word", 1, async () => await w.condition("Ready") === unready);
    await w.pod("late", "n0", spec("late"));
    const refused = await w.reaches("late", "Failed");
    assertEquals([refused.status!.reason, refused.status!.message], [
      "NodeShutdown",
      "Pod was rejected: Pod was rejected as the node is shutting down.",
    ]);
    let over = false;
    void ended.then(() => over = true);
    await w.pass("the end", 500, () => over);
    assertEquals(w.runtime.log, [
      "TERM low 5000",
      "TERM usual 20000",
      "exit low 137",
      "exit usual 137",
      "TERM high 10000",
      "exit high 137",
    ]);
    for (const name of ["low", "usual", "high"]) {
      const { status } = await w.get(name);
      assertEquals([status!.phase, status!.reason, status!.message], [
        "Failed",
        "Terminated",
        "Pod was terminated in response to imminent node shutdown.",
      ]);
    }
    assertEquals((await w.get("done")).status?.phase, "Succeeded");
  });
});

Deno.test("a node that was told nothing leaves its pods alone when it is shut down", () =>
  withMeter({}, async (w) => {
    await w.pod("a", "n0", spec("a"));
    await w.reaches("a", "Running");
    await w.node.shutDown();
    assertEquals(w.runtime.log, ["start a"]);
  }));
