/**
 * Which pods of a node make room for one that it cannot do without: as few as possible, those that asked for least
 * first, guaranteed ones last. Pure.
 *
 * Behaviour matched: pkg/kubelet/preemption/preemption.go, v1.36.
 */
import { podAmounts } from "../../api/machinery/pod_resources.ts";
import type { DeepReadonly, KubeObject } from "../../api/machinery/types.ts";
import { numberOf, otherRefusal, shortages } from "./pod_admission.ts";
import { mayReplace } from "./pod_source.ts";
import { qosClass } from "./pod_status.ts";
import type { Pod } from "./types.ts";

/** What is told of a pod that made room. */
export const PREEMPTED_TEXT = "Preempted in order to admit critical pod";

/** How much is missing, by resource. */
type Missing = ReadonlyMap<string, number>;

/** The pods to end so that `pod` fits; undefined when that would not be enough, or no use. */
export function victimsFor(
  pod: Pod,
  node: DeepReadonly<KubeObject>,
  others: readonly Pod[],
): Pod[] | undefined {
  if (otherRefusal(pod, node, others)) return undefined;
  const missing = new Map<string, number>();
  for (const { name, requested, used, capacity } of shortages(pod, node, others)) {
    missing.set(name, requested - (capacity - used));
  }
  const [bestEffort, burstable, guaranteed] = ["BestEffort", "Burstable", "Guaranteed"]
    .map((qos) => others.filter((other) => qosClass(other) === qos && mayReplace(pod, other)));
  if (without(missing, [...bestEffort, ...burstable, ...guaranteed]).size > 0) return undefined;
  const third = nearest(guaranteed, without(missing, [...bestEffort, ...burstable]));
  const second = nearest(burstable, without(missing, [...bestEffort, ...third]));
  const first = nearest(bestEffort, without(missing, [...second, ...third]));
  return [...first, ...second, ...third];
}

function requestOf(pod: Pod, name: string): number {
  return name === "pods" ? 1 : numberOf(name, podAmounts(pod.spec, "requests"));
}

/** What is still missing once these have gone. */
function without(missing: Missing, pods: readonly Pod[]): Missing {
  const rest = new Map<string, number>();
  for (const [name, amount] of missing) {
    const left = pods.reduce((sum, pod) => sum - requestOf(pod, name), amount);
    if (left > 0) rest.set(name, left);
  }
  return rest;
}

/** Pods until nothing is missing, each time the one that leaves least; of two such the smaller one. */
function nearest(pods: readonly Pod[], missing: Missing): Pod[] {
  const left = [...pods];
  const chosen: Pod[] = [];
  for (let need = missing; need.size > 0 && left.length > 0;) {
    let best = 0;
    for (let i = 1; i < left.length; i++) {
      const [here, there] = [distance(left[i], need), distance(left[best], need)];
      if (here < there || (here === there && isSmaller(left[i], left[best]))) best = i;
    }
    const [one] = left.splice(best, 1);
    chosen.push(one);
    need = without(need, [one]);
  }
  return chosen;
}

/** How far a pod's requests are from what is missing, each resource counted alike. */
function distance(pod: Pod, missing: Missing): number {
  let sum = 0;
  for (const [name, amount] of missing) {
    const left = amount - requestOf(pod, name);
    if (left > 0) sum += (left / amount) ** 2;
  }
  return sum;
}

function isSmaller(one: Pod, two: Pod): boolean {
  for (const name of ["memory", "cpu"]) {
    const [a, b] = [requestOf(one, name), requestOf(two, name)];
    if (a !== b) return a < b;
  }
  return true;
}
