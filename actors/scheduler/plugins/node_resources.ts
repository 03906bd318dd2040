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
import { shrank } from "../happenings.ts";
import { amountsOf, noAmounts } from "../pod_info.ts";

/** A resource that scores count, and how much it counts. */
export interface WeightedResource {
  name: string;
  weight: number;
}

/** How free resources become a score: spread pods, or pack them. */
export interface ScoringStrategy {
  type: "LeastAllocated" | "MostAllocated" | "RequestedToCapacityRatio";
  resources: readonly WeightedResource[];
  requestedToCapacityRatio?: { shape: readonly ShapePoint[] };
}

/** A point of a function from utilization in percent to a score of 0 to 10. */
export interface ShapePoint {
  utilization: number;
  score: number;
}

/** NodeResourcesFitArgs. */
export interface FitArgs {
  ignoredResources?: readonly string[];
  ignoredResourceGroups?: readonly string[];
  scoringStrategy: ScoringStrategy;
}

const BASIC: readonly WeightedResource[] = [
  { name: "cpu", weight: 1 },
  { name: "memory", weight: 1 },
];
const DEFAULT_ARGS: FitArgs = { scoringStrategy: { type: "LeastAllocated", resources: BASIC } };

/** Makes NodeResourcesFit; the default strategy gives the most to the node with the most left. */
export function nodeResourcesFit(args: FitArgs = DEFAULT_ARGS): Plugin {
  const ignored = new Set(args.ignoredResources);
  const groups = new Set(args.ignoredResourceGroups);
  const counts = ignored.size + groups.size === 0
    ? undefined
    : (name: string) => !ignored.has(name) && !groups.has(name.split("/")[0]);
  return {
    name: "NodeResourcesFit",
    weight: 1,
    wakesOn: ["NodeAdd", "NodeAllocatable", "PodDelete", "PodScaleDown", "OwnScaleDown"],
    filter: ({ pod }, node) => fit(pod, node, counts),
    reads: ({ request: { scalars, ...basic } }) => JSON.stringify([basic, [...scalars ?? []]]),
    score: allocationScore(args.scoringStrategy),
    hint(pod, { events, node, oldNode, pod: other, oldPod }) {
      if (events.includes("OwnScaleDown")) return oldPod ? shrank(oldPod, pod) : true;
      if (!node) return !other || !oldPod || frees(pod, oldPod, other);
      // A node that could not hold the pod even when empty does not help.
      if (fit(pod, emptied(node), counts)) return false;
      return !oldNode || grew(pod, oldNode.status?.allocatable ?? {}, node);
    },
  };
}

/** A node with nothing on it. */
function emptied(node: NodeInfo): NodeInfo {
  return { ...node, pods: new Map(), requested: noAmounts() };
}

/** Whether a node has more than it had of something that a pod asks for. */
function grew(
  { request }: PodInfo,
  old: Readonly<Record<string, string | number>>,
  { allocatable, podsMax }: NodeInfo,
): boolean {
  const had = amountsOf(old);
  const more = (want: number, before: number, after: number) => want > 0 && after > before;
  return more(request.cpu, had.cpu, allocatable.cpu) ||
    more(request.memory, had.memory, allocatable.memory) ||
    more(request.ephemeral, had.ephemeral, allocatable.ephemeral) ||
    [...request.scalars ?? []].some(([name, want]) =>
      more(want, scalar(had, name), scalar(allocatable, name))
    ) || Number(old.pods ?? 0) < podsMax;
}

/** Whether another pod asks for less than it did of something that a pod asks for. */
function frees({ request }: PodInfo, old: PodInfo, now: PodInfo): boolean {
  const less = (of: (amounts: Amounts) => number) =>
    of(request) > 0 && of(now.request) < of(old.request);
  return less((a) => a.cpu) || less((a) => a.memory) || less((a) => a.ephemeral) ||
    [...request.scalars?.keys() ?? []].some((name) => less((a) => scalar(a, name)));
}

/** Which extended resources are looked at; absent: all. */
type Counts = ((name: string) => boolean) | undefined;

/** Why a pod's requests do not fit beside what is on a node; undefined when they do. */
export function fit(pod: PodInfo, node: NodeInfo, counts?: Counts): Refusal | undefined {
  const { request } = pod;
  const { allocatable, requested } = node;
  if (
    node.pods.size < node.podsMax &&
    request.cpu <= allocatable.cpu - requested.cpu &&
    request.memory <= allocatable.memory - requested.memory &&
    request.ephemeral <= allocatable.ephemeral - requested.ephemeral &&
    !request.scalars
  ) return undefined;
  return explainFit(pod, node, counts);
}

function explainFit({ request }: PodInfo, node: NodeInfo, counts: Counts): Refusal | undefined {
  const basic = basicRefusal(request, node);
  if (!request.scalars) return basic;
  const reasons = [...basic?.reasons ?? []];
  let unresolvable = basic?.unresolvable ?? false;
  for (const [name, want] of request.scalars) {
    if (counts && isExtended(name) && !counts(name)) continue;
    const have = scalar(node.allocatable, name);
    if (want === 0 || want <= have - scalar(node.requested, name)) continue;
    reasons.push(`Insufficient ${name}`);
    if (want > have) unresolvable = true;
  }
  if (reasons.length === 0) return undefined;
  return { plugin: "NodeResourcesFit", reasons, unresolvable };
}

const BASIC_REASONS = [
  "Too many pods",
  "Insufficient cpu",
  "Insufficient memory",
  "Insufficient ephemeral-storage",
];
/** A pod without extended resources is refused in one of a few ways, by thousands of nodes at once. */
const basicRefusals = new Map<number, Refusal>();

function basicRefusal(request: Amounts, node: NodeInfo): Refusal | undefined {
  const { allocatable, requested } = node;
  let short = node.pods.size + 1 > node.podsMax ? 1 : 0;
  let never = 0;
  const { cpu, memory, ephemeral } = request;
  if (cpu > 0 && cpu > allocatable.cpu - requested.cpu) short |= 2;
  if (memory > 0 && memory > allocatable.memory - requested.memory) short |= 4;
  if (ephemeral > 0 && ephemeral > allocatable.ephemeral - requested.ephemeral) short |= 8;
  if (cpu > allocatable.cpu || memory > allocatable.memory || ephemeral > allocatable.ephemeral) {
    never = 16;
  }
  if (short === 0) return undefined;
  let refusal = basicRefusals.get(short | never);
  if (!refusal) {
    const reasons = BASIC_REASONS.filter((_, i) => short & (1 << i));
    refusal = { plugin: "NodeResourcesFit", reasons, unresolvable: never > 0 };
    basicRefusals.set(short | never, refusal);
  }
  return refusal;
}

function scalar(amounts: Amounts, name: string): number {
  return amounts.scalars?.get(name) ?? 0;
}

/** Resources of Kubernetes' own are looked at whatever is ignored. */
function isExtended(name: string): boolean {
  return name.includes("/") && !/^([^/]*\.)?kubernetes\.io\//.test(name);
}

type Share = (requested: number, capacity: number) => number;

function allocationScore({ type, resources, requestedToCapacityRatio }: ScoringStrategy) {
  const ratio = type === "RequestedToCapacityRatio";
  const share = ratio
    ? ratioShare(requestedToCapacityRatio!.shape)
    : type === "MostAllocated"
    ? mostShare
    : leastShare;
  const plain =
    resources.every(({ name, weight }) => (name === "cpu" || name === "memory") && weight === 1) &&
    resources.length === 2 && !ratio;
  return plain ? basicScore(share) : weightedScore(share, resources, ratio);
}

/** CPU and memory, of equal weight: what nearly every cluster has. */
function basicScore(share: Share): NonNullable<Plugin["score"]> {
  return ({ pod }, node) => {
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
  };
}

/** `positive`: resources without a score do not count, and the mean is rounded (upstream's ratio). */
function weightedScore(
  share: Share,
  resources: readonly WeightedResource[],
  positive: boolean,
): NonNullable<Plugin["score"]> {
  return ({ pod }, node) => {
    let sum = 0;
    let weights = 0;
    for (const { name, weight } of resources) {
      const [used, want] = name === "cpu"
        ? [node.nonZeroCpu, pod.nonZeroCpu]
        : name === "memory"
        ? [node.nonZeroMemory, pod.nonZeroMemory]
        : [amountNamed(node.requested, name), amountNamed(pod.request, name)];
      const capacity = amountNamed(node.allocatable, name);
      if (capacity === 0 || (want === 0 && isScalar(name))) continue;
      const score = share(used + want, capacity);
      if (positive && score <= 0) continue;
      sum += score * weight;
      weights += weight;
    }
    if (weights === 0) return 0;
    return positive ? Math.round(sum / weights) : Math.trunc(sum / weights);
  };
}

function isScalar(name: string): boolean {
  return name !== "cpu" && name !== "memory" && name !== "ephemeral-storage";
}

function amountNamed(amounts: Amounts, name: string): number {
  if (name === "cpu" || name === "memory") return amounts[name];
  return name === "ephemeral-storage" ? amounts.ephemeral : scalar(amounts, name);
}

const leastShare: Share = (requested, capacity) =>
  requested > capacity ? 0 : Math.trunc(((capacity - requested) * NODE_SCORE_MAX) / capacity);

const mostShare: Share = (requested, capacity) =>
  Math.trunc((Math.min(requested, capacity) * NODE_SCORE_MAX) / capacity);

/** Shapes' scores go up to 10. */
const SHAPE_SCORE_MAX = 10;

function ratioShare(given: readonly ShapePoint[]): Share {
  const shape = given.map(({ utilization = 0, score = 0 }) => ({
    utilization,
    score: score * (NODE_SCORE_MAX / SHAPE_SCORE_MAX),
  }));
  return (requested, capacity) =>
    interpolate(shape, requested > capacity ? 100 : Math.trunc((requested * 100) / capacity));
}

function interpolate(shape: readonly ShapePoint[], x: number): number {
  const after = shape.findIndex((point) => x <= point.utilization);
  if (after < 0) return shape[shape.length - 1].score;
  if (after === 0) return shape[0].score;
  const [a, b] = [shape[after - 1], shape[after]];
  const rise = (b.score - a.score) * (x - a.utilization);
  return a.score + Math.trunc(rise / (b.utilization - a.utilization));
}

/** Makes NodeResourcesBalancedAllocation: nodes whose resources the pod would bring into like proportion score more. */
export function nodeResourcesBalancedAllocation(
  { resources }: { resources: readonly WeightedResource[] } = { resources: BASIC },
): Plugin {
  const names = resources.map(({ name }) => name);
  return {
    name: "NodeResourcesBalancedAllocation",
    weight: 1,
    wakesOn: [],
    // Best-effort pods would only be piled on the node that happens to be balanced: upstream skips them.
    preScore: ({ pod }: Cycle) =>
      names.every((name) => amountNamed(pod.request, name) === 0) ? "skip" : undefined,
    score: names.length === 2 && names.includes("cpu") && names.includes("memory")
      ? basicBalance
      : ({ pod }, node) => {
        const counted = names.filter((name) =>
          amountNamed(node.allocatable, name) > 0 &&
          (!isScalar(name) || amountNamed(pod.request, name) > 0)
        );
        const balance = (request: Amounts | undefined) =>
          balanceOf(counted.map((name) => {
            const used = amountNamed(node.requested, name);
            const want = request ? amountNamed(request, name) : 0;
            return Math.min((used + want) / amountNamed(node.allocatable, name), 1);
          }));
        return improvement(balance(pod.request), balance(undefined));
      },
  };
}

/** What the pod mends or mars of a node's balance, around 75. */
function improvement(after: number, before: number): number {
  const half = NODE_SCORE_MAX / 2;
  return half + Math.trunc((half + after - before) / 2);
}

/** CPU and memory: what nearly every cluster has. The standard deviation of two values is half their distance. */
function basicBalance({ pod: { request } }: Cycle, node: NodeInfo): number {
  const { allocatable: { cpu, memory }, requested } = node;
  // One resource alone is always in balance with itself
  if (cpu === 0 || memory === 0) return improvement(NODE_SCORE_MAX, NODE_SCORE_MAX);
  const distance = Math.min(requested.cpu / cpu, 1) - Math.min(requested.memory / memory, 1);
  const then = Math.min((requested.cpu + request.cpu) / cpu, 1) -
    Math.min((requested.memory + request.memory) / memory, 1);
  return improvement(
    Math.trunc((1 - Math.abs(then) / 2) * NODE_SCORE_MAX),
    Math.trunc((1 - Math.abs(distance) / 2) * NODE_SCORE_MAX),
  );
}

/** 100 less the standard deviation of shares, in percent. */
function balanceOf(shares: readonly number[]): number {
  let deviation = 0;
  // The standard deviation of two values is half their distance.
  if (shares.length === 2) deviation = Math.abs(shares[0] - shares[1]) / 2;
  else if (shares.length > 2) {
    const mean = shares.reduce((a, b) => a + b, 0) / shares.length;
    const squares = shares.reduce((sum, share) => sum + (share - mean) ** 2, 0);
    deviation = Math.sqrt(squares / shares.length);
  }
  return Math.trunc((1 - deviation) * NODE_SCORE_MAX);
}
