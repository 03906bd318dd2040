/**
 * What a node evicts pods for: what its machine runs short of (`eviction.ts`), and what pods take of its disk beyond
 * their limits. Looks at the pods that run, and ends those that have to go.
 */
import { parseQuantity } from "../../api/machinery/quantity.ts";
import { Eviction, EVICTION_GRACE_MS, type EvictionPorts } from "./eviction.ts";
import { type Candidate, overLimit } from "./eviction_ranking.ts";
import type { Meter } from "./figures.ts";
import type { EvictionOptions } from "./kubelet_options.ts";
import { isCritical } from "./pod_source.ts";
import { type Ending, EVICTED, type PodWorker } from "./pod_worker.ts";
import type { WorkerPorts } from "./ports.ts";
import type { Pod } from "./types.ts";
import { podUsage } from "./usage.ts";

/** A node's pods, and how they are measured. */
export interface PressedNode {
  workers(): Iterable<PodWorker>;
  worker(uid: string): PodWorker | undefined;
  ports: WorkerPorts;
  meter: Meter | undefined;
}

/** Looks at the machine; absent where nobody measures it or nothing was told. */
export function evictionOf(
  node: PressedNode,
  options: EvictionOptions | undefined,
  event: EvictionPorts["event"],
): Eviction | undefined {
  const { ports, meter } = node;
  if (!options?.thresholds.length || !meter) return undefined;
  const reclaiming = ports.runtimes.filter((runtime) => runtime.reclaim);
  return new Eviction(options, {
    clock: ports.clock,
    event,
    measure: async () => {
      // A container runtime that does not answer is no reason to run out of memory.
      const images = meter.imageFs?.().catch(() => undefined);
      const [machine, nodeFs] = await Promise.all([meter.machine(), meter.nodeFs()]);
      return { machine, nodeFs, imageFs: await images };
    },
    candidates: async () => {
      const all: Candidate[] = [];
      for (const worker of node.workers()) {
        if (worker.holds) all.push(await candidateOf(worker, ports));
      }
      return all;
    },
    holds: (pod) => node.worker(pod.metadata.uid)?.holds ?? false,
    reclaim: reclaiming.length
      ? async () => {
        for (const runtime of reclaiming) await runtime.reclaim!();
      }
      : undefined,
    evict: (pod, message, { graceMs, signal }) =>
      evict(node, pod, signal, { message, graceMs, disruption: message }),
  });
}

async function candidateOf(worker: PodWorker, { volumes }: WorkerPorts): Promise<Candidate> {
  return { pod: worker.pod, usage: await podUsage(worker, volumes).catch(() => undefined) };
}

/** Ends a pod for what it takes; false when it ends already. */
function evict(
  { worker, ports }: PressedNode,
  pod: Pod,
  signal: string,
  why: Omit<Ending, "reason">,
): boolean {
  if (!worker(pod.metadata.uid)?.end({ reason: EVICTED, ...why })) return false;
  ports.recorder.event(pod, "Warning", EVICTED, why.message);
  ports.metrics?.evictions.add({ eviction_signal: signal });
  return true;
}

/** Whether a pod may take only so much of the disk. */
function isLimited({ spec }: Pod): boolean {
  return hasFolderLimit(spec) || hasStorageLimit(spec);
}

function hasFolderLimit({ volumes }: Pod["spec"]): boolean {
  return volumes?.some(({ emptyDir }) => emptyDir?.sizeLimit !== undefined) ?? false;
}

function hasStorageLimit({ containers }: Pod["spec"]): boolean {
  return containers.some(({ resources }) => {
    const limit = resources?.limits?.["ephemeral-storage"];
    return limit !== undefined && !parseQuantity(limit).isZero;
  });
}

/** Fails pods that keep more on the node's disk than they may (eviction_manager.go, localStorageEviction). */
export async function evictOverLimits(node: PressedNode): Promise<void> {
  const { ports, meter } = node;
  if (!ports.volumes) return;
  let ownImageFs: boolean | undefined;
  for (const worker of [...node.workers()]) {
    const { pod, holds } = worker;
    if (!holds || !isLimited(pod) || isCritical(pod)) continue;
    const grace = { graceMs: EVICTION_GRACE_MS };
    const folder = await ports.volumes.overfull(pod);
    if (folder) {
      evict(node, pod, "emptydirfs.limit", { message: folder, ...grace });
      continue;
    }
    if (!hasStorageLimit(pod.spec)) continue;
    ownImageFs ??= (await meter?.imageFs?.())?.own ?? false;
    const message = overLimit(await candidateOf(worker, ports), ownImageFs);
    const signal = message?.startsWith("Pod")
      ? "ephemeralpodfs.limit"
      : "ephemeralcontainerfs.limit";
    if (message) evict(node, pod, signal, { message, ...grace });
  }
}
