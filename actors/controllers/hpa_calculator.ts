/**
 * How many replicas a metric asks for: the ratio of what is used to what is wanted, with upstream's rules of
 * which pods count. Pods that are not ready or of which nothing is known never make a change larger, and
 * never turn it round. Pure; amounts are thousandths.
 *
 * Behaviour matched: pkg/controller/podautoscaler/replica_calculator.go and metrics/utilization.go, v1.36.
 */
import { parseQuantity } from "../../api/machinery/quantity.ts";
import { conditionOf, type Obj, timeOf } from "./objects.ts";
import { isReady } from "./pods.ts";
import { SETTINGS } from "./settings.ts";

/** What a pod was seen to use. */
export interface PodMetric {
  value: number;
  /** When it was measured, and over how long before. */
  at: number;
  windowMs: number;
}

/** By pod name. */
export type PodMetrics = Map<string, PodMetric>;

/** How far the ratio may be from 1 without a change. */
export interface Tolerances {
  up: number;
  down: number;
}

/** What all calculations start from. */
export interface Scene {
  /** The pods that the target selects. */
  pods: readonly Obj[];
  /** The replicas that the target has now by its spec, and by its status. */
  replicas: number;
  statusReplicas: number;
  tolerances: Tolerances;
  now: number;
  /** See the settings of these names; what is not said is as they are by default. */
  cpuInitializationMs?: number;
  initialReadinessMs?: number;
}

/** What a calculation proposes, and the usage that it saw. */
export interface Calculated {
  replicas: number;
  usage: number;
  /** Per cent of the requests, where that was asked. */
  utilization?: number;
}

export const REPLICAS_MAX = 2 ** 31 - 1;

const NO_PODS = "no pods returned by selector while calculating replica count";

function within({ up, down }: Tolerances, ratio: number): boolean {
  return 1 - down <= ratio && ratio <= 1 + up;
}

const ceil = (replicas: number) => Math.min(REPLICAS_MAX, Math.ceil(replicas));

interface Groups {
  ready: number;
  unready: string[];
  missing: string[];
  ignored: string[];
}

/** Which pods count. Pure. */
export function groupPods(
  pods: readonly Obj[],
  metrics: PodMetrics,
  scene: Warming & { resource?: string },
): Groups {
  const groups: Groups = { ready: 0, unready: [], missing: [], ignored: [] };
  for (const pod of pods) {
    const { name, deletionTimestamp } = pod.metadata;
    const metric = metrics.get(name);
    if (deletionTimestamp || pod.status?.phase === "Failed") groups.ignored.push(name);
    else if ((pod.status?.phase ?? "Pending") === "Pending") groups.unready.push(name);
    else if (!metric) groups.missing.push(name);
    else if (scene.resource === "cpu" && isWarmingUp(pod, metric, scene)) groups.unready.push(name);
    else groups.ready++;
  }
  return groups;
}

type Warming = Pick<Scene, "now" | "cpuInitializationMs" | "initialReadinessMs">;

function isWarmingUp(
  pod: Obj,
  metric: PodMetric,
  {
    now,
    cpuInitializationMs = SETTINGS.horizontalPodAutoscalerCpuInitializationPeriod,
    initialReadinessMs = SETTINGS.horizontalPodAutoscalerInitialReadinessDelay,
  }: Warming,
): boolean {
  const ready = conditionOf(pod.status, "Ready");
  const startedAt = timeOf(pod.status?.startTime);
  if (!ready || startedAt === 0) return true;
  const changedAt = timeOf(ready.lastTransitionTime);
  if (startedAt + cpuInitializationMs > now) {
    return ready.status === "False" || metric.at < changedAt + metric.windowMs;
  }
  return ready.status === "False" && startedAt + initialReadinessMs > changedAt;
}

/** The ratio of what is used to what is wanted, over whatever pods there are figures for. */
type Ratio = (metrics: PodMetrics) => { ratio: number; usage: number; utilization?: number };

/** The common course: measure the pods that count; if others could weigh in, measure again with them. */
function fromPods(
  scene: Scene,
  given: PodMetrics,
  options: { resource?: string; ratioOf: Ratio; fallback(pod: string): number },
): Calculated {
  const { pods, replicas, tolerances, now } = scene;
  const { resource, ratioOf, fallback } = options;
  if (pods.length === 0) throw new Error(NO_PODS);
  const metrics = new Map(given);
  const { ready, unready, missing, ignored } = groupPods(pods, metrics, {
    ...scene,
    resource,
  });
  for (const name of [...ignored, ...unready]) metrics.delete(name);
  if (metrics.size === 0) {
    throw new Error("did not receive metrics for targeted pods (pods might be unready)");
  }
  const { ratio, usage, utilization } = ratioOf(metrics);
  const answer = (count: number) => ({ replicas: count, usage, utilization });
  const withUnready = unready.length > 0 && ratio > 1;
  if (!withUnready && missing.length === 0) {
    return answer(within(tolerances, ratio) ? replicas : ceil(ratio * ready));
  }
  const pretend = (name: string, value: number) => {
    metrics.set(name, { value, at: now, windowMs: 0 });
  };
  // Nothing known is taken for full use where that keeps replicas, for none where that holds growth back.
  if (ratio < 1) { for (const name of missing) pretend(name, fallback(name)); }
  else if (ratio > 1) { for (const name of missing) pretend(name, 0); }
  if (withUnready) { for (const name of unready) pretend(name, 0); }
  const { ratio: anew } = ratioOf(metrics);
  if (within(tolerances, anew) || ratio < 1 && anew > 1 || ratio > 1 && anew < 1) {
    return answer(replicas);
  }
  const count = ceil(anew * metrics.size);
  const turned = anew < 1 && count > replicas || anew > 1 && count < replicas;
  return answer(turned ? replicas : count);
}

/** Replicas for a share of what the pods request. */
export function byUtilization(
  scene: Scene,
  metrics: PodMetrics,
  { target, resource, container }: { target: number; resource: string; container?: string },
): Calculated {
  let requests = new Map<string, number>();
  return fromPods(scene, metrics, {
    resource,
    fallback: (name) => Math.trunc((requests.get(name)! * Math.max(100, target)) / 100),
    ratioOf(known) {
      if (requests.size === 0) requests = requestsOf(scene.pods, resource, container);
      let used = 0;
      let requested = 0;
      let count = 0;
      for (const [name, { value }] of known) {
        const request = requests.get(name);
        if (request === undefined) continue;
        used += value;
        requested += request;
        count++;
      }
      if (requested === 0) throw new Error("no metrics returned matched known pods");
      const utilization = Math.trunc((used * 100) / requested);
      return { ratio: utilization / target, usage: Math.trunc(used / count), utilization };
    },
  });
}

/** Replicas for an average amount a pod. */
export function byAverage(
  scene: Scene,
  metrics: PodMetrics,
  { target, resource }: { target: number; resource?: string },
): Calculated {
  return fromPods(scene, metrics, {
    resource,
    fallback: () => target,
    ratioOf(known) {
      let used = 0;
      for (const { value } of known.values()) used += value;
      const usage = Math.trunc(used / known.size);
      return { ratio: usage / target, usage };
    },
  });
}

/** Replicas for one number that all pods share. */
export function byValue(scene: Scene, usage: number, target: number): Calculated {
  const { replicas, pods, tolerances } = scene;
  const ratio = usage / target;
  if (replicas === 0) return { replicas: ceil(ratio), usage };
  if (within(tolerances, ratio)) return { replicas, usage };
  if (pods.length === 0) throw new Error(`unable to calculate ready pods: ${NO_PODS}`);
  const ready = pods.filter((pod) => pod.status?.phase === "Running" && isReady(pod)).length;
  return { replicas: ceil(ratio * ready), usage };
}

/** Replicas for one number of which each pod takes a part. */
export function byShare(scene: Scene, usage: number, target: number): Calculated {
  const { statusReplicas, tolerances } = scene;
  const ratio = usage / (target * statusReplicas);
  return {
    replicas: within(tolerances, ratio) ? statusReplicas : ceil(usage / target),
    usage: statusReplicas === 0 ? usage : Math.ceil(usage / statusReplicas),
  };
}

/** What each pod requests of a resource, or one of its containers. */
export function requestsOf(
  pods: readonly Obj[],
  resource: string,
  container?: string,
): Map<string, number> {
  return new Map(pods.map((pod) => [pod.metadata.name, requestOf(pod, resource, container)]));
}

interface Sized {
  name: string;
  restartPolicy?: string;
  resources?: { requests?: Record<string, string> };
}

function requestOf(pod: Obj, resource: string, container?: string): number {
  const { name } = pod.metadata;
  const whole = pod.spec.resources?.requests as Record<string, string> | undefined;
  if (!container && whole && Object.keys(whole).length > 0) {
    const amount = whole[resource];
    if (amount === undefined) {
      throw new Error(`missing pod-level request for ${resource} in Pod ${name}`);
    }
    return parseQuantity(amount).milliValue();
  }
  const sidecars = (pod.spec.initContainers ?? []).filter((c: Sized) =>
    c.restartPolicy === "Always"
  );
  let sum = 0;
  let found = false;
  for (const one of [...pod.spec.containers, ...sidecars] as readonly Sized[]) {
    if (container && one.name !== container) continue;
    found = true;
    const amount = one.resources?.requests?.[resource];
    if (amount === undefined) {
      throw new Error(`missing request for ${resource} in container ${one.name} of Pod ${name}`);
    }
    sum += parseQuantity(amount).milliValue();
  }
  if (container && !found) throw new Error(`container ${container} not found in Pod ${name}`);
  return sum;
}
