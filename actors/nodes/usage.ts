/** Collects what the pods of a node use now, from their runtimes. */
import { totalOf } from "./metrics_api.ts";
import { type ContainerUsage, type NodeUsage, type PodUsage } from "./metrics.ts";
import type { PodWorker } from "./pod_worker.ts";

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
      const stats = await runtime.stats(id);
      if (stats) containers.push({ name, startedAt, stats });
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
