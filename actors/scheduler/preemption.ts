/**
 * DefaultPreemption: makes room for a pod by evicting pods of lower priority, as kube-scheduler (v1.36) does.
 *
 * On each node where eviction could help, all lower pods are thought away; if the pod then fits, as many
 * as possible are given back, those that a disruption budget protects first, then by priority. Of the
 * nodes that are left the best is the one with the fewest broken budgets, then the lowest highest victim,
 * the smallest sum of priorities, the fewest victims, and the victims that started last.
 */
import type { DeepReadonly, KubeObject } from "../../api/machinery/types.ts";
import { labelSelector } from "../../api/machinery/selectors.ts";
import type { Cluster } from "./cluster.ts";
import {
  type Candidate,
  type Diagnosis,
  fitErrorText,
  type NodeInfo,
  type PodInfo,
  type Refusal,
} from "./framework.ts";

/** DefaultPreemptionArgs: at least so many nodes are tried, and at least this share of them, in percent. */
export interface PreemptionArgs {
  minCandidateNodesAbsolute?: number;
  minCandidateNodesPercentage?: number;
}

export interface PreemptionPorts {
  cluster: Cluster;
  /** Why the pod does not pass on a node as the cluster now stands; undefined when it does. */
  filter(pod: PodInfo, node: NodeInfo): Refusal | undefined;
  budgets(): Iterable<DeepReadonly<KubeObject>>;
  /** Where to start among the nodes, in [0, 1). */
  random(): number;
}

const HELPLESS: Refusal = {
  plugin: "DefaultPreemption",
  reasons: ["Preemption is not helpful for scheduling"],
};
const NO_VICTIMS: Refusal = {
  plugin: "DefaultPreemption",
  reasons: ["No preemption victims found for incoming pod"],
};

/** Finds where and whom to evict, see `bestOf`; a string says why nobody, as the FailedScheduling event does. */
export function preempt(
  pod: PodInfo,
  diagnosis: Diagnosis,
  ports: PreemptionPorts,
  { minCandidateNodesAbsolute = 100, minCandidateNodesPercentage = 10 }: PreemptionArgs = {},
): Candidate[] | string {
  const ineligible = whyIneligible(pod, diagnosis, ports.cluster);
  if (ineligible) {
    diagnosis.untried = true;
    return `preemption: ${ineligible}`;
  }
  const said = new Map<string, Refusal>();
  const nodes = ports.cluster.nodes.filter((node) => {
    const refusal = diagnosis.all ?? diagnosis.refusals.get(node.name);
    if (refusal && !refusal.unresolvable && !diagnosis.all) return true;
    said.set(node.name, HELPLESS);
    return false;
  });
  const share = Math.trunc((nodes.length * minCandidateNodesPercentage) / 100);
  const wanted = Math.max(minCandidateNodesAbsolute, share);
  const offset = Math.trunc(ports.random() * nodes.length);
  const budgets = new BudgetBook(ports.budgets());
  const found: Candidate[] = [];
  for (let i = 0; i < nodes.length && found.length < wanted; i++) {
    const node = nodes[(offset + i) % nodes.length];
    const candidate = victimsOn(pod, node, budgets, ports);
    if ("plugin" in candidate) {
      said.set(node.name, candidate);
      continue;
    }
    found.push(candidate);
  }
  if (found.length > 0) return found;
  const text = fitErrorText({
    nodes: ports.cluster.nodes.length,
    refusals: said,
    plugins: new Set(),
  });
  return `preemption: ${text}`;
}

/** The candidate that does the least harm; of equals the first. */
export function bestOf(candidates: readonly Candidate[]): Candidate | undefined {
  let best: Candidate | undefined;
  for (const candidate of candidates) if (!best || better(candidate, best)) best = candidate;
  return best;
}

function whyIneligible(pod: PodInfo, diagnosis: Diagnosis, cluster: Cluster): string | undefined {
  if (pod.pod.spec.preemptionPolicy === "Never") {
    return "not eligible due to preemptionPolicy=Never.";
  }
  const nominated = pod.pod.status?.nominatedNodeName as string | undefined;
  const node = nominated ? cluster.node(nominated) : undefined;
  // Its earlier victims are still leaving: more would be too many, unless that node has become hopeless.
  if (node && !diagnosis.refusals.get(nominated!)?.unresolvable) {
    for (const other of node.pods.values()) {
      if (other.terminating && other.priority < pod.priority) {
        return "not eligible due to a terminating pod on the nominated node.";
      }
    }
  }
  return undefined;
}

/** The smallest set of pods whose leaving makes room for `pod` on `node`. */
function victimsOn(
  pod: PodInfo,
  node: NodeInfo,
  budgets: BudgetBook,
  ports: PreemptionPorts,
): Candidate | Refusal {
  const lower = [...node.pods.values()].filter((other) => other.priority < pod.priority);
  if (lower.length === 0) return NO_VICTIMS;
  const fits = (without: readonly PodInfo[]) =>
    ports.cluster.supposing(node, without, [], () => !ports.filter(pod, node));
  const still = ports.cluster.supposing(node, lower, [], () => ports.filter(pod, node));
  if (still) return still;
  lower.sort(moreImportant);
  const { violating, others } = budgets.split(lower);
  let victims = lower;
  const kept = (candidate: PodInfo): boolean => {
    const fewer = victims.filter((other) => other !== candidate);
    if (!fits(fewer)) return false;
    victims = fewer;
    return true;
  };
  const violations = violating.filter((candidate) => !kept(candidate)).length;
  for (const candidate of others) kept(candidate);
  return { node, victims: [...victims].sort(moreImportant), violations };
}

function startOf(pod: PodInfo): string {
  return (pod.pod.status?.startTime as string | undefined) ?? "9999";
}

/** Higher priority first, then who started earlier. */
function moreImportant(a: PodInfo, b: PodInfo): number {
  if (a.priority !== b.priority) return b.priority - a.priority;
  return startOf(a) < startOf(b) ? -1 : startOf(a) > startOf(b) ? 1 : 0;
}

function better(a: Candidate, b: Candidate): boolean {
  if (a.violations !== b.violations) return a.violations < b.violations;
  if (a.victims.length === 0 || b.victims.length === 0) return a.victims.length < b.victims.length;
  const highest = a.victims[0].priority - b.victims[0].priority;
  if (highest !== 0) return highest < 0;
  // Upstream lifts priorities above zero before it sums them, so that fewer negative ones still win.
  const sum = (victims: readonly PodInfo[]) =>
    victims.reduce((s, v) => s + v.priority + 2 ** 31, 0);
  const sums = sum(a.victims) - sum(b.victims);
  if (sums !== 0) return sums < 0;
  if (a.victims.length !== b.victims.length) return a.victims.length < b.victims.length;
  return earliestOfHighest(a) > earliestOfHighest(b);
}

function earliestOfHighest({ victims }: Candidate): string {
  const top = victims[0].priority;
  return victims.filter((v) => v.priority === top).map(startOf).reduce((a, b) => (a < b ? a : b));
}

/** What the disruption budgets still allow, as victims are counted against them. */
class BudgetBook {
  readonly #budgets: {
    namespace: string;
    matches(pod: PodInfo): boolean;
    allowed: number;
    disrupted: ReadonlySet<string>;
  }[] = [];

  constructor(budgets: Iterable<DeepReadonly<KubeObject>>) {
    for (const budget of budgets) {
      const selector = labelSelector(budget.spec?.selector);
      if (selector.empty || selector.nothing) continue;
      this.#budgets.push({
        namespace: budget.metadata.namespace!,
        matches: (pod) => selector.matches(pod.labels),
        allowed: budget.status?.disruptionsAllowed ?? 0,
        disrupted: new Set(Object.keys(budget.status?.disruptedPods ?? {})),
      });
    }
  }

  /** Sorts pods, in order, into those whose eviction breaks a budget and the others. */
  split(pods: readonly PodInfo[]): { violating: PodInfo[]; others: PodInfo[] } {
    const left = this.#budgets.map((budget) => budget.allowed);
    const violating: PodInfo[] = [];
    const others: PodInfo[] = [];
    for (const pod of pods) {
      let breaks = false;
      this.#budgets.forEach((budget, i) => {
        if (budget.namespace !== pod.namespace || !budget.matches(pod)) return;
        if (budget.disrupted.has(pod.pod.metadata.name)) return;
        if (--left[i] < 0) breaks = true;
      });
      (breaks ? violating : others).push(pod);
    }
    return { violating, others };
  }
}
