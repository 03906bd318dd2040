/**
 * NodeResourcesFit and NodeResourcesBalancedAllocation: does a node have what the pod asks for, and how well
 * would it be used. Semantics and texts are kube-scheduler's (v1.36).
 */
import {
  type Amounts,
  type Cycle,
  NODE_SCORE_MAX,
  type NodeInfo,
  type Plugin,
  type PodInfo,
  type Refusal,
} from "../framework.ts";

/** How free resources become a score: spread pods, or pack them. */
export type ScoringStrategy =
  | { type: "LeastAllocated" | "MostAllocated" }
  | { type: "RequestedToCapacityRatio"; shape: readonly { utilization: number; score: number }[] };

/** Makes NodeResourcesFit; the default strategy gives the most to the node with the most left. */
export function nodeResourcesFit(strategy: ScoringStrategy = { type: "LeastAllocated" }): Plugin {
  const share = shareScorer(strategy);
  return {
    name: "NodeResourcesFit",
    weight: 1,
    wakesOn: ["NodeAdd", "NodeUpdate", "AssignedPodDelete", "AssignedPodUpdate"],
    filter: ({ pod }, node) => fit(pod, node),
    score({ pod }, node) {
      const { cpu, memory } = node.allocatable;
      let sum = 0;
      let resources = 0;
      if (cpu > 0) {
        sum += share(node.nonZeroCpu + pod.nonZeroCpu, cpu);
        resources++;
      }
      if (memory > 0) {
        sum += share(node.nonZeroMemory + pod.nonZeroMemory, memory);
        resources++;
      }
      return resources === 0 ? 0 : Math.trunc(sum / resources);
    },
    hint(pod, event, subject) {
      if (!subject || !("podsMax" in subject)) return true;
      // A node that could not hold the pod even when empty does not help; an added one may.
      return event === "NodeAdd" || !fit(pod, subject);
    },
  };
}

/** Why a pod's requests do not fit beside what is on a node; undefined when they do. */
export function fit(pod: PodInfo, node: NodeInfo): Refusal | undefined {
  const { request } = pod;
  const { allocatable, requested } = node;
  if (
    node.pods.size < node.podsMax &&
    request.cpu <= allocatable.cpu - requested.cpu &&
    request.memory <= allocatable.memory - requested.memory &&
    request.ephemeral <= allocatable.ephemeral - requested.ephemeral &&
    !request.scalars
  ) return undefined;
  return explainFit(pod, node);
}

function explainFit(pod: PodInfo, node: NodeInfo): Refusal | undefined {
  const { request } = pod;
  const { allocatable, requested } = node;
  const reasons: string[] = [];
  let unresolvable = false;
  if (node.pods.size + 1 > node.podsMax) reasons.push("Too many pods");
  const check = (name: string, want: number, used: number, have: number) => {
    if (want === 0 || want <= have - used) return;
    reasons.push(`Insufficient ${name}`);
    if (want > have) unresolvable = true;
  };
  check("cpu", request.cpu, requested.cpu, allocatable.cpu);
  check("memory", request.memory, requested.memory, allocatable.memory);
  check("ephemeral-storage", request.ephemeral, requested.ephemeral, allocatable.ephemeral);
  for (const [name, want] of request.scalars ?? []) {
    check(name, want, scalar(requested, name), scalar(allocatable, name));
  }
  if (reasons.length === 0) return undefined;
  return { plugin: "NodeResourcesFit", reasons, unresolvable };
}

function scalar(amounts: Amounts, name: string): number {
  return amounts.scalars?.get(name) ?? 0;
}

function shareScorer(strategy: ScoringStrategy): (requested: number, capacity: number) => number {
  switch (strategy.type) {
    case "LeastAllocated":
      return (requested, capacity) =>
        requested > capacity ? 0 : Math.trunc(((capacity - requested) * NODE_SCORE_MAX) / capacity);
    case "MostAllocated":
      return (requested, capacity) =>
        Math.trunc((Math.min(requested, capacity) * NODE_SCORE_MAX) / capacity);
    case "RequestedToCapacityRatio": {
      const { shape } = strategy;
      return (requested, capacity) => {
        const utilization = requested > capacity ? 100 : Math.trunc((requested * 100) / capacity);
        return interpolate(shape, utilization) * (NODE_SCORE_MAX / 10);
      };
    }
  }
}

function interpolate(shape: readonly { utilization: number; score: number }[], x: number): number {
  const after = shape.findIndex((point) => x <= point.utilization);
  if (after < 0) return shape[shape.length - 1].score;
  if (after === 0) return shape[0].score;
  const [a, b] = [shape[after - 1], shape[after]];
  return a.score + ((b.score - a.score) * (x - a.utilization)) / (b.utilization - a.utilization);
}

/** Nodes whose CPU and memory would be used in like proportion score more. */
export const nodeResourcesBalancedAllocation: Plugin = {
  name: "NodeResourcesBalancedAllocation",
  weight: 1,
  wakesOn: [],
  // Best-effort pods would only be piled on the node that happens to be balanced: upstream skips them.
  preScore: ({ pod }: Cycle) => (isBestEffort(pod.request) ? "skip" : undefined),
  score({ pod }, node) {
    const { cpu, memory } = node.allocatable;
    if (cpu === 0 || memory === 0) return NODE_SCORE_MAX;
    const cpuShare = Math.min((node.requested.cpu + pod.request.cpu) / cpu, 1);
    const memoryShare = Math.min((node.requested.memory + pod.request.memory) / memory, 1);
    // The standard deviation of two values is half their distance.
    return Math.trunc((1 - Math.abs(cpuShare - memoryShare) / 2) * NODE_SCORE_MAX);
  },
};

function isBestEffort(request: Amounts): boolean {
  return request.cpu === 0 && request.memory === 0;
}
