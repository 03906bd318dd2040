/** Collects what the pods of a node use now, from their runtimes. */
import { tryParseQuantity } from "../../api/machinery/quantity.ts";
import { totalOf } from "./metrics_api.ts";
import { type ContainerUsage, type NodeUsage, type PodUsage } from "./metrics.ts";
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

/** See the module's text. */
export async function nodeUsage(
  node: {
    name: string;
    labels: Record<string, string>;
    startedAt: number;
    capacityBytes: number;
  },
  workers: Iterable<PodWorker>,
  now: number,
): Promise<NodeUsage> {
  const pods: PodUsage[] = [];
  for (const worker of workers) {
    const containers: ContainerUsage[] = [];
    for (const { name, phase, id, runtime, startedAt } of worker.records) {
      if (phase !== "running" || !id || !runtime) continue;
      const measured = await runtime.stats(id);
      if (!measured) continue;
      const stats = runtime.real ? measured : annotatedUsage(worker.pod, name, measured);
      containers.push({ name, startedAt, stats });
    }
    const { namespace = "", name, uid, labels = {} } = worker.pod.metadata;
    const startedAt = Date.parse(worker.pod.status?.startTime ?? "") || now;
    if (containers.length) pods.push({ namespace, name, uid, labels, startedAt, containers });
  }
  return {
    node: node.name,
    labels: node.labels,
    at: now,
    startedAt: node.startedAt,
    total: totalOf(pods),
    capacityBytes: node.capacityBytes,
    pods,
  };
}
