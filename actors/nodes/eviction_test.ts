import { assertEquals } from "@std/assert";
import { ManualClock } from "../../kv/clock.ts";
import { CLEANUP_MS_MAX, Eviction, EVICTION_LOOK_MS, type Measured } from "./eviction.ts";
import { type Candidate, overLimit, ranked } from "./eviction_ranking.ts";
import type { EvictionOptions, Signal, Threshold } from "./kubelet_options.ts";
import type { Pod } from "./types.ts";

const MIB = 2 ** 20;

const healthy = (): Measured => ({
  machine: {
    cpuNanoseconds: 0,
    cpuNanoCores: 0,
    memory: {
      capacityBytes: 1000 * MIB,
      usageBytes: 0,
      workingSetBytes: 0,
      rssBytes: 0,
      pageFaults: 0,
      majorPageFaults: 0,
    },
    swap: { capacityBytes: 0, usageBytes: 0 },
    interfaces: [],
    processes: 10,
    processesMax: 1000,
  },
  nodeFs: {
    capacityBytes: 1000 * MIB,
    availableBytes: 900 * MIB,
    usedBytes: 100 * MIB,
    inodes: 1000,
    inodesFree: 900,
    inodesUsed: 100,
  },
});

interface Figures {
  memory?: number;
  disk?: number;
  inodes?: number;
  logs?: number;
  processes?: number;
  priority?: number;
  resources?: object;
  grace?: number;
}

function candidate(name: string, figures: Figures = {}): Candidate {
  const { memory = 0, disk = 0, inodes = 0, logs = 0, processes = 0 } = figures;
  const { priority, resources, grace } = figures;
  const pod = {
    metadata: { name, namespace: "default", uid: name },
    spec: {
      priority,
      terminationGracePeriodSeconds: grace ?? 30,
      containers: [{ name: "c", image: "i", resources }],
    },
  } as unknown as Pod;
  const stats = {
    cpuNanoseconds: 0,
    cpuNanoCores: 0,
    memoryBytes: memory,
    workingSetBytes: memory,
    rootfs: { usedBytes: disk, inodesUsed: inodes },
  };
  return {
    pod,
    usage: {
      namespace: "default",
      name,
      uid: name,
      labels: {},
      startedAt: 0,
      containers: [{ name: "c", startedAt: 0, stats, logs: { usedBytes: logs, inodesUsed: 0 } }],
      sandbox: { interfaces: [], processes },
    },
  };
}

const memory = (over: Partial<Threshold> = {}): Threshold => ({
  signal: "memory.available",
  value: { quantity: "100Mi" },
  graceMs: 0,
  ...over,
});

/** A node whose figures a test sets. */
class World {
  readonly clock = new ManualClock();
  measured = healthy();
  candidates: Candidate[] = [];
  /** Pods that were told to go and have not gone. */
  readonly staying = new Set<string>();
  reclaim: (() => void) | undefined;
  readonly said: string[] = [];
  readonly eviction: Eviction;

  constructor(thresholds: Threshold[], more: Partial<EvictionOptions> = {}) {
    this.eviction = new Eviction(
      { thresholds, pressureTransitionMs: 300_000, maxPodGraceSeconds: 0, ...more },
      {
        clock: this.clock,
        measure: () => Promise.resolve(this.measured),
        candidates: () => Promise.resolve(this.candidates),
        holds: ({ metadata }) => this.staying.has(metadata.uid),
        reclaim: () => Promise.resolve(this.reclaim?.()),
        event: (reason, message) => this.said.push(`${reason}: ${message}`),
        evict: ({ metadata }, message, { graceMs, signal }) => {
          this.said.push(`${metadata.name} ${signal} ${graceMs}: ${message}`);
          this.candidates = this.candidates.filter(({ pod }) => pod.metadata !== metadata);
          return true;
        },
      },
    );
  }

  set available(mib: number) {
    this.measured.machine.memory.workingSetBytes = (1000 - mib) * MIB;
  }

  /** Lets time pass and looks; returns what was said since. */
  async look(afterMs = EVICTION_LOOK_MS): Promise<string[]> {
    await this.clock.advance(afterMs);
    await this.eviction.look();
    return this.said.splice(0);
  }

  get conditions() {
    return this.eviction.conditions.join(" ");
  }
}

Deno.test("hard-at-once: a pod that uses more than it asked for goes, in upstream's words", async () => {
  const w = new World([memory()]);
  w.candidates = [
    candidate("fits", { memory: 50 * MIB, resources: { requests: { memory: "60Mi" } } }),
    candidate("worst", { memory: 40 * MIB, resources: { requests: { memory: "10Mi" } } }),
  ];
  assertEquals(await w.look(), []);
  w.available = 90;
  assertEquals(await w.look(), [
    "EvictionThresholdMet: Attempting to reclaim memory",
    "worst memory.available 1000: The node was low on resource: memory. " +
    "Threshold quantity: 100Mi, available: 90Mi. " +
    "Container c was using 40Mi, request is 10Mi, has larger consumption of memory. ",
  ]);
  assertEquals(w.conditions, "MemoryPressure");
});

Deno.test("a soft threshold waits, and leaves the pod no more time than it may", async () => {
  const soft = memory({ graceMs: 60_000, value: { percentage: 0.2 } });
  const w = new World([soft], { maxPodGraceSeconds: 20 });
  w.candidates = [candidate("a", { grace: 5 }), candidate("b", { memory: 2 * MIB, grace: 60 })];
  w.available = 150;
  assertEquals(await w.look(), []);
  assertEquals(w.conditions, "MemoryPressure");
  assertEquals(await w.look(59_000), []);
  const text =
    "The node was low on resource: memory. Threshold quantity: 200Mi, available: 150Mi. ";
  const [, first] = await w.look(1_000);
  assertEquals(
    first,
    `b memory.available 20000: ${text}` +
      "Container c was using 2Mi, request is 0, has larger consumption of memory. ",
  );
  assertEquals((await w.look())[1], `a memory.available 5000: ${text}`);
  // What is over begins anew.
  w.available = 500;
  assertEquals(await w.look(), []);
  w.available = 150;
  w.candidates = [candidate("c")];
  assertEquals(await w.look(), []);
});

Deno.test("slow-to-forget: the condition outlives the pressure, and the minimum is reclaimed", async () => {
  const w = new World([memory({ minReclaim: { quantity: "200Mi" } })]);
  w.candidates = [candidate("a", { memory: 2 }), candidate("b", { memory: 1 }), candidate("c")];
  w.available = 90;
  assertEquals((await w.look()).length, 2);
  w.available = 250; // more than the threshold, less than it and the minimum
  assertEquals((await w.look()).length, 2);
  w.available = 350;
  assertEquals(await w.look(), []);
  assertEquals(w.conditions, "MemoryPressure");
  w.available = 250;
  assertEquals(await w.look(289_000), []);
  assertEquals(w.conditions, "MemoryPressure");
  assertEquals(await w.look(1_000), []);
  assertEquals(w.conditions, "");
});

Deno.test("one-by-one: the next pod goes when the last one has gone or had its time", async () => {
  const w = new World([memory()]);
  w.candidates = ["a", "b", "c"].map((name, i) => candidate(name, { memory: 9 - i }));
  w.available = 1;
  w.staying.add("a").add("b");
  assertEquals((await w.look())[1].slice(0, 1), "a");
  assertEquals(await w.look(), []);
  w.staying.delete("a");
  assertEquals((await w.look())[1].slice(0, 1), "b");
  assertEquals(await w.look(CLEANUP_MS_MAX - 1), []);
  assertEquals((await w.look(1))[1].slice(0, 1), "c");
});

Deno.test("reclaim-first: no pod goes when images were enough; critical ones never do", async () => {
  const disk: Threshold = { signal: "nodefs.available", value: { percentage: 0.1 }, graceMs: 0 };
  const w = new World([disk]);
  w.candidates = [
    candidate("vital", { disk: 99 * MIB, priority: 2_000_000_000 }),
    candidate("a", { disk: 5 * MIB, logs: MIB }),
  ];
  w.measured.nodeFs.availableBytes = 50 * MIB;
  w.reclaim = () => w.measured.nodeFs.availableBytes = 500 * MIB;
  const attempt = "EvictionThresholdMet: Attempting to reclaim ephemeral-storage";
  assertEquals(await w.look(), [attempt]);
  assertEquals(w.conditions, "DiskPressure");
  w.measured.nodeFs.availableBytes = 50 * MIB;
  w.reclaim = undefined;
  assertEquals(await w.look(), [
    attempt,
    "a nodefs.available 1000: The node was low on resource: ephemeral-storage. Threshold quantity: 100Mi, " +
    "available: 50Mi. Container c was using 6Mi, request is 0, has larger consumption of ephemeral-storage. ",
  ]);
  assertEquals(await w.look(), [attempt]);
});

Deno.test("memory comes before all else; processes and inodes count too", async () => {
  const signals: Signal[] = ["pid.available", "nodefs.inodesFree", "memory.available"];
  const all = signals.map((signal) => ({ signal, value: { percentage: 0.5 }, graceMs: 0 }));
  const w = new World(all);
  w.available = 1;
  w.measured.machine.processes = 900;
  w.measured.nodeFs.inodesFree = 100;
  assertEquals(await w.look(), ["EvictionThresholdMet: Attempting to reclaim memory"]);
  assertEquals(w.conditions, "PIDPressure DiskPressure MemoryPressure");
  w.available = 900;
  w.candidates = [candidate("a", { processes: 3 }), candidate("b", { processes: 7 })];
  assertEquals(
    (await w.look())[1],
    "b pid.available 1000: The node was low on resource: pids. Threshold quantity: 500, available: 100. ",
  );
});

Deno.test("refusal(): memory alone refuses best effort pods, the disk all but critical ones", async () => {
  const w = new World([memory(), {
    signal: "nodefs.available",
    value: { quantity: "1Gi" },
    graceMs: 0,
  }]);
  w.measured.nodeFs.availableBytes = 2 ** 40;
  const { pod } = candidate("a");
  const bears = {
    ...pod,
    spec: {
      ...pod.spec,
      tolerations: [{ key: "node.kubernetes.io/memory-pressure", operator: "Exists" }],
    },
  };
  const refusals = (bestEffort: boolean) =>
    [pod, bears].map((one) => w.eviction.refusal(one, bestEffort));
  assertEquals(refusals(true), [undefined, undefined]);
  w.available = 1;
  await w.look();
  const text = "The node had condition: [MemoryPressure]. ";
  assertEquals(refusals(true), [text, undefined]);
  assertEquals(refusals(false), [undefined, undefined]);
  w.measured.nodeFs.availableBytes = 0;
  await w.look();
  const both = "The node had condition: [MemoryPressure DiskPressure]. ";
  assertEquals(refusals(false), [both, both]);
  const vital = candidate("v", { priority: 2_000_000_000 });
  assertEquals(w.eviction.refusal(vital.pod, true), undefined);
});

Deno.test("ranked() asks who exceeds its requests, who matters least, who uses most", () => {
  const requests = (memory: string) => ({ requests: { memory } });
  const names = (signal: Signal, own: boolean, ...all: Candidate[]) =>
    ranked(all, signal, own).map(({ pod }) => pod.metadata.name).join(" ");
  assertEquals(
    names(
      "memory.available",
      false,
      candidate("within", { memory: 90 * MIB, resources: requests("100Mi") }),
      candidate("important", { memory: 50 * MIB, priority: 10 }),
      candidate("little", { memory: 20 * MIB, resources: requests("15Mi") }),
      candidate("much", { memory: 20 * MIB, resources: requests("5Mi") }),
      { ...candidate("unknown"), usage: undefined },
    ),
    "unknown much little important within",
  );
  const writes = candidate("writes", { disk: 9 * MIB, inodes: 1 });
  const logs = candidate("logs", { logs: 5 * MIB, inodes: 2 });
  assertEquals(names("nodefs.available", false, logs, writes), "writes logs");
  // With a disk of its own what containers write is no matter of the node's.
  assertEquals(names("nodefs.available", true, writes, logs), "logs writes");
  assertEquals(names("imagefs.available", true, logs, writes), "writes logs");
  assertEquals(names("nodefs.inodesFree", false, writes, logs), "logs writes");
});

Deno.test("overLimit() measures a pod, then each container, by their limits", () => {
  const limited = (figures: Figures) =>
    candidate("a", { ...figures, resources: { limits: { "ephemeral-storage": "10Mi" } } });
  assertEquals(overLimit(limited({ disk: 4 * MIB, logs: 5 * MIB }), false), undefined);
  assertEquals(
    overLimit(limited({ disk: 6 * MIB, logs: 5 * MIB }), false),
    "Pod ephemeral local storage usage exceeds the total limit of containers 10Mi. ",
  );
  // Two containers may take more together than one alone.
  const { pod, usage } = limited({ disk: 11 * MIB });
  const more = { name: "d", image: "i", resources: { limits: { "ephemeral-storage": "10Mi" } } };
  const two = { ...pod, spec: { ...pod.spec, containers: [...pod.spec.containers, more] } };
  assertEquals(
    overLimit({ pod: two, usage }, false),
    'Container c exceeded its local ephemeral storage limit "10Mi". ',
  );
  assertEquals(overLimit({ pod: two, usage }, true), undefined);
  assertEquals(overLimit(candidate("b", { disk: 99 * MIB }), false), undefined);
});
