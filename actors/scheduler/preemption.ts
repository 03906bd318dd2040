/**
 * DefaultPreemption: makes room for a pod by evicting pods of lower priority, as kube-scheduler (v1.36) does.
 *
 * On each node where eviction could help, all lower pods are thought away; if the pod then fits, as many
 * as possible are given back, those that a disruption budget protects first, then by priority. Of the
 * nodes that are left the best is the one with the fewest broken budgets, then the lowest highest victim,
 * the smallest sum of priorities, the fewest victims, and the victims that started last.
 */
import { Memory } from "../../api/machinery/memory.ts";
import type { DeepReadonly, KubeObject } from "../../api/machinery/types.ts";
import { labelSelector } from "../../api/machinery/selectors.ts";
import type { FilterQuestion } from "./algorithm.ts";
import type { Cluster } from "./cluster.ts";
import {
  type Candidate,
  type Diagnosis,
  fitErrorText,
  type Harm,
  type NodeInfo,
  type PodInfo,
  type Refusal,
  tally,
  tallyOf,
} from "./framework.ts";
import { NodeMemory } from "./node_memory.ts";
import type { Steps } from "./steps.ts";

/** DefaultPreemptionArgs: at least so many nodes are tried, and at least this share of them, in percent. */
export interface PreemptionArgs {
  minCandidateNodesAbsolute?: number;
  minCandidateNodesPercentage?: number;
}

export interface PreemptionPorts {
  cluster: Cluster;
  /** Why the pod does not pass on a node as the cluster stands when that is asked; undefined when it does. */
  filter(pod: PodInfo): FilterQuestion;
  budgets(): Iterable<DeepReadonly<KubeObject>>;
  /** Where to start among the nodes, in [0, 1). */
  random(): number;
  remembered?: RememberedCandidates;
}

/** Kinds of pods whose candidates are remembered; the one not asked for longest goes first. */
export const REMEMBERED_MAX = 8;

type Found = NodeMemory<Candidate | Refusal>;

/** What was found out about nodes for pods that are alike. */
export class RememberedCandidates {
  readonly #cluster: Cluster;
  readonly #byPod = new Memory<Found>(REMEMBERED_MAX);

  constructor(cluster: Cluster) {
    this.#cluster = cluster;
  }

  /** The memory of pods like this one; undefined where they cannot be told. */
  of({ alike }: FilterQuestion): Found | undefined {
    if (alike === undefined) return undefined;
    let known = this.#byPod.get(alike);
    if (!known) this.#byPod.set(alike, known = new NodeMemory(this.#cluster));
    known.refresh();
    return known;
  }
}

const HELPLESS: Refusal = {
  plugin: "DefaultPreemption",
  reasons: ["Preemption is not helpful for scheduling"],
};
const NO_VICTIMS: Refusal = {
  plugin: "DefaultPreemption",
  reasons: ["No preemption victims found for incoming pod"],
};

/** Nodes on which victims are looked for in one step. */
const PREEMPTION_STEP = 16;

/** Finds where and whom to evict, see `bestOf`; a string says why nobody, as the FailedScheduling event does. */
export function* preempt(
  pod: PodInfo,
  diagnosis: Diagnosis,
  ports: PreemptionPorts,
  { minCandidateNodesAbsolute = 100, minCandidateNodesPercentage = 10 }: PreemptionArgs = {},
): Steps<Candidate[] | string> {
  const ineligible = whyIneligible(pod, diagnosis, ports.cluster);
  if (ineligible) {
    diagnosis.untried = true;
    return `preemption: ${ineligible}`;
  }
  const nodes = [...ports.cluster.nodes];
  const share = Math.trunc((helpable(diagnosis) * minCandidateNodesPercentage) / 100);
  const wanted = Math.max(minCandidateNodesAbsolute, share);
  const offset = Math.trunc(ports.random() * nodes.length);
  const budgets = new BudgetBook(ports.budgets());
  const question = ports.filter(pod);
  // What budgets allow is nothing of a node's, and what is only supposed is nothing to remember
  const lasting = budgets.empty && !diagnosis.asked && !diagnosis.all;
  const memory = lasting ? ports.remembered?.of(question) : undefined;
  const found: Candidate[] = [];
  const refused: Refusal[] = [];
  let looked = 0;
  for (let i = 0; i < nodes.length && found.length < wanted; i++) {
    const at = offset + i;
    const node = nodes[at < nodes.length ? at : at - nodes.length];
    let candidate = memory?.get(node);
    if (!candidate) {
      const refusal = diagnosis.all ?? diagnosis.refusals.get(node.name);
      const helpless = !refusal || refusal.unresolvable || diagnosis.all;
      if (!helpless && ++looked % PREEMPTION_STEP === 0) yield;
      candidate = helpless
        ? HELPLESS
        : victimsOn(pod, node, { budgets, question, cluster: ports.cluster });
      memory?.set(node, candidate);
    }
    if ("plugin" in candidate) refused.push(candidate);
    else found.push(candidate);
  }
  if (found.length > 0) return found;
  const counts = tallyOf(refused);
  return `preemption: ${fitErrorText({ nodes: nodes.length, refusals: new Map(), counts })}`;
}

/** On how many nodes eviction could help. */
function helpable(diagnosis: Diagnosis): number {
  if (diagnosis.all) return 0;
  let nodes = 0;
  for (const [{ unresolvable }, count] of tally(diagnosis)) if (!unresolvable) nodes += count;
  return nodes;
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
  { budgets, question, cluster }: {
    budgets: BudgetBook;
    question: FilterQuestion;
    cluster: Cluster;
  },
): Candidate | Refusal {
  const lower: PodInfo[] = [];
  for (const other of node.pods.values()) if (other.priority < pod.priority) lower.push(other);
  if (lower.length === 0) return NO_VICTIMS;
  return cluster.without(node, lower, ({ back, off }) => {
    const still = question.ask(node);
    if (still) return still;
    lower.sort(moreImportant);
    const { violating, others } = budgets.split(lower);
    const victims: PodInfo[] = [];
    const keep = (candidate: PodInfo) => {
      back(candidate);
      if (!question.ask(node)) return;
      off(candidate);
      victims.push(candidate);
    };
    for (const candidate of violating) keep(candidate);
    const violations = victims.length;
    for (const candidate of others) keep(candidate);
    return { node, victims: victims.sort(moreImportant), violations };
  });
}

function startOf(pod: PodInfo): string {
  return (pod.pod.status?.startTime as string | undefined) ?? "9999";
}

/** Higher priority first, then who started earlier; of equals by name, so that the order is one. */
function moreImportant(a: PodInfo, b: PodInfo): number {
  if (a.priority !== b.priority) return b.priority - a.priority;
  const [x, y] = [startOf(a), startOf(b)];
  if (x !== y) return x < y ? -1 : 1;
  return a.key < b.key ? -1 : 1;
}

function harmOf({ victims }: Candidate): Harm {
  const highest = victims[0].priority;
  let sum = 0;
  let earliest = startOf(victims[0]);
  for (const victim of victims) {
    sum += victim.priority + 2 ** 31;
    if (victim.priority !== highest) continue;
    const start = startOf(victim);
    if (start < earliest) earliest = start;
  }
  return { highest, sum, earliest };
}

function better(a: Candidate, b: Candidate): boolean {
  if (a.violations !== b.violations) return a.violations < b.violations;
  if (a.victims.length === 0 || b.victims.length === 0) return a.victims.length < b.victims.length;
  const x = a.harm ??= harmOf(a);
  const y = b.harm ??= harmOf(b);
  if (x.highest !== y.highest) return x.highest < y.highest;
  if (x.sum !== y.sum) return x.sum < y.sum;
  if (a.victims.length !== b.victims.length) return a.victims.length < b.victims.length;
  return x.earliest > y.earliest;
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

  get empty(): boolean {
    return this.#budgets.length === 0;
  }

  /** Sorts pods, in order, into those whose eviction breaks a budget and the others. */
  split(pods: readonly PodInfo[]): { violating: readonly PodInfo[]; others: readonly PodInfo[] } {
    if (this.empty) return { violating: [], others: pods };
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
