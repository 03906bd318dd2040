/** Collects what the pods of a node use now, from their runtimes. */
import { tryParseQuantity } from "../../api/machinery/quantity.ts";
import { totalOf } from "./metrics_api.ts";
import type { Meter } from "./figures.ts";
import type { ContainerUsage, NodeUsage, PodUsage, UsageQuery } from "./metrics.ts";
import { isStatic } from "./pod_source.ts";
import type { PodVolumes } from "./ports.ts";
import type { ContainerStats } from "./runtimes/runtime.ts";
import type { Pod } from "./types.ts";
import type { PodWorker } from "./pod_worker.ts";

/**
 * What a simulated container is to be seen to use: `cpu=250m,memory=64Mi` on its pod, for all containers, or
 * with the container's name behind it (`plesio.dev/usage.web`) for that one. So an autoscaler can be tried out
 * with `kubectl annotate`. What it does not name, or no quantity, stays what the runtime says.
 */
export const USAGE_ANNOTATION = "plesio.dev/usage";

/** A container's figures as its pod's annotations have them. Pure. */
export function annotatedUsage(pod: Pod, container: string, stats: ContainerStats): ContainerStats {
  const { annotations } = pod.metadata;
  const text = annotations?.[`${USAGE_ANNOTATION}.${container}`] ?? annotations?.[USAGE_ANNOTATION];
  if (text === undefined) return stats;
  const said = { ...stats };
  for (const part of text.split(",")) {
    const [name, value] = part.split("=", 2).map((word) => word.trim());
    const amount = tryParseQuantity(value);
    if (!amount || amount.sign < 0) continue;
    if (name === "cpu") said.cpuNanoCores = amount.scaled(-9);
    if (name === "memory") said.memoryBytes = said.workingSetBytes = amount.value();
  }
  return said;
}

/** The node whose usage is asked for. */
export interface MeasuredNode {
  name: string;
  labels: Record<string, string>;
  startedAt: number;
  capacityBytes: number;
  /** Measures its machine; absent where that is none of its own. */
  meter?: Meter;
  volumes?: PodVolumes;
}

/** See the module's text. */
export async function nodeUsage(
  node: MeasuredNode,
  workers: Iterable<PodWorker>,
  now: number,
  query: UsageQuery = {},
): Promise<NodeUsage> {
  const pods: PodUsage[] = [];
  const held = { own: 0, others: 0 };
  for (const worker of workers) {
    held[isStatic(worker.pod) ? "own" : "others"]++;
    const pod = await podUsage(worker, node.volumes, query);
    if (pod.containers.length) pods.push(pod);
  }
  const { meter } = node;
  const [machine, nodeFs, imageFs] = await Promise.all([
    query.machine ? meter?.machine() : undefined,
    query.storage ? meter?.nodeFs() : undefined,
    query.storage ? meter?.imageFs?.() : undefined,
  ]);
  return {
    node: node.name,
    labels: node.labels,
    at: now,
    startedAt: node.startedAt,
    total: totalOf(pods),
    capacityBytes: node.capacityBytes,
    pods,
    held,
    machine,
    nodeFs,
    imageFs,
  };
}

async function containersOf(
  { pod, records }: PodWorker,
  storage: boolean,
): Promise<ContainerUsage[]> {
  const containers: ContainerUsage[] = [];
  for (const { name, phase, id, image, runtime, startedAt } of records) {
    if (phase !== "running" || !id || !runtime) continue;
    const measured = await runtime.stats(id);
    if (!measured) continue;
    const stats = runtime.real ? measured : annotatedUsage(pod, name, measured);
    const logs = storage ? await runtime.logUsage?.(pod, name) : undefined;
    containers.push({ name, startedAt, stats, id, image, logs });
  }
  return containers;
}

/** What one pod uses (all). */
export async function podUsage(
  worker: PodWorker,
  volumes: PodVolumes | undefined,
  { storage = false, sandboxes = false }: UsageQuery = { storage: true, sandboxes: true },
): Promise<PodUsage> {
  const { pod, records, startedAt } = worker;
  const { namespace = "", name, uid, labels = {} } = pod.metadata;
  const runtime = records.find(({ phase }) => phase === "running")?.runtime;
  return {
    namespace,
    name,
    uid,
    labels,
    startedAt,
    containers: await containersOf(worker, storage),
    sandbox: sandboxes ? await runtime?.sandboxStats?.(uid) : undefined,
    volumes: storage && runtime?.real ? await volumes?.measure?.(pod) : undefined,
  };
}
