/** Collects what the pods of a node use now, from their runtimes. */
import { tryParseQuantity } from "../../api/machinery/quantity.ts";
import { totalOf } from "./metrics_api.ts";
import type { ContainerRecord } from "./container_record.ts";
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

/** What a container has used of the processor until it was last looked at, since it started. */
interface Used {
  since: number;
  at: number;
  nanoseconds: number;
}
const used = new WeakMap<ContainerRecord, Used>();

/**
 * A simulated container's figures with the processor time it would have used: what it is seen to use, added up whenever
 * somebody looks, so that rates over counters find what gauges say.
 */
export function withTimeUsed(
  record: ContainerRecord,
  stats: ContainerStats,
  now: number,
): ContainerStats {
  const since = record.startedAt;
  const before = used.get(record);
  const last = before?.since === since ? before : { since, at: since, nanoseconds: 0 };
  const milliseconds = Math.max(0, now - last.at);
  const nanoseconds = last.nanoseconds + stats.cpuNanoCores * milliseconds / 1000;
  used.set(record, { since, at: last.at + milliseconds, nanoseconds });
  return { ...stats, cpuNanoseconds: nanoseconds };
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
    const pod = await podUsage(worker, node.volumes, { ...query, now });
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
  { storage = false, now }: UsageQuery & { now?: number },
): Promise<ContainerUsage[]> {
  const containers: ContainerUsage[] = [];
  for (const record of records) {
    const { name, phase, id, image, runtime, startedAt } = record;
    if (phase !== "running" || !id || !runtime) continue;
    const measured = await runtime.stats(id);
    if (!measured) continue;
    let stats = runtime.real ? measured : annotatedUsage(pod, name, measured);
    if (!runtime.real && now !== undefined) stats = withTimeUsed(record, stats, now);
    const logs = storage ? await runtime.logUsage?.(pod, name) : undefined;
    containers.push({ name, startedAt, stats, id, image, logs });
  }
  return containers;
}

/** What one pod uses (all). */
export async function podUsage(
  worker: PodWorker,
  volumes: PodVolumes | undefined,
  query: UsageQuery & { now?: number } = { storage: true, sandboxes: true },
): Promise<PodUsage> {
  const { storage = false, sandboxes = false } = query;
  const { pod, records, startedAt } = worker;
  const { namespace = "", name, uid, labels = {} } = pod.metadata;
  const runtime = records.find(({ phase }) => phase === "running")?.runtime;
  return {
    namespace,
    name,
    uid,
    labels,
    startedAt,
    containers: await containersOf(worker, query),
    sandbox: sandboxes ? await runtime?.sandboxStats?.(uid) : undefined,
    volumes: storage && runtime?.real ? await volumes?.measure?.(pod) : undefined,
  };
}
