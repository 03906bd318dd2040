/**
 * InterPodAffinity: pods near to or far from other pods, required and preferred, in both directions: what
 * the incoming pod says of those that are bound, and what they say of it. Semantics and texts are
 * kube-scheduler's (v1.36). All counts come from the cluster's counters, so a cycle costs by distinct terms
 * and nodes, not by pods.
 */
import type { Cluster, TermKind } from "../cluster.ts";
import {
  type Cycle,
  type Happening,
  NODE_SCORE_MAX,
  type NodeInfo,
  type Plugin,
  type PodInfo,
  type Refusal,
  type Term,
} from "../framework.ts";

/** InterPodAffinityArgs. */
export interface InterPodAffinityArgs {
  /** What a bound pod's required affinity to the incoming one adds (default 1). */
  hardPodAffinityWeight?: number;
  /** Whether what bound pods prefer says nothing of a pod that prefers nothing itself (default false). */
  ignorePreferredTermsOfExistingPods?: boolean;
}

const refusal = (reason: string, unresolvable: boolean): Refusal => ({
  plugin: "InterPodAffinity",
  reasons: [reason],
  ...(unresolvable && { unresolvable }),
});
const AFFINITY = refusal("node(s) didn't match pod affinity rules", true);
const ANTI_AFFINITY = refusal("node(s) didn't match pod anti-affinity rules", false);
const EXISTING = refusal("node(s) didn't satisfy existing pods anti-affinity rules", false);

interface FilterState {
  /** Terms of bound pods that the incoming pod matches: their topology values are closed to it. */
  closed: { key: string; values: ReadonlyMap<string, number> }[];
  affinity: { key: string; values: ReadonlyMap<string, number> }[];
  antiAffinity: { key: string; values: ReadonlyMap<string, number> }[];
  /** Nothing matches the pod's affinity anywhere, but it matches itself: the first of its kind may go anywhere. */
  first: boolean;
}

/** Makes the plugin. */
export function interPodAffinity(args: InterPodAffinityArgs = {}): Plugin {
  return { ...plugin, preScore: (cycle) => preScore(cycle, args) };
}

const plugin: Plugin = {
  name: "InterPodAffinity",
  weight: 2,
  wakesOn: ["PodAdd", "PodLabels", "PodDelete", "NodeAdd", "NodeLabels", "OwnLabels"],
  hint,
  preFilter(cycle) {
    const { pod, cluster } = cycle;
    const closed = [];
    for (const { term, counts } of cluster.termHolders("antiAffinity").values()) {
      if (term.matches(pod)) closed.push({ key: term.topologyKey, values: counts });
    }
    if (closed.length === 0 && pod.affinity.length === 0 && pod.antiAffinity.length === 0) {
      return "skip";
    }
    const affinity = affinityCounts(cluster, pod);
    const first = affinity.every(({ values }) => values.size === 0) &&
      pod.affinity.every((term) => term.matches(pod));
    const antiAffinity = pod.antiAffinity.map((term) => counted(cluster, term));
    cycle.state.set(
      "InterPodAffinity",
      { closed, affinity, antiAffinity, first } satisfies FilterState,
    );
  },
  filter(cycle, node) {
    const state = cycle.state.get("InterPodAffinity") as FilterState;
    if (!affinityHolds(state, node)) return AFFINITY;
    for (const { key, values } of state.antiAffinity) {
      const value = node.labels[key];
      if (value !== undefined && values.has(value)) return ANTI_AFFINITY;
    }
    for (const { key, values } of state.closed) {
      const value = node.labels[key];
      if (value !== undefined && values.has(value)) return EXISTING;
    }
    return undefined;
  },
  score(cycle, node) {
    const scores = cycle.state.get("InterPodAffinity/score") as Map<string, Map<string, number>>;
    let sum = 0;
    for (const [key, values] of scores) {
      const value = node.labels[key];
      if (value !== undefined) sum += values.get(value) ?? 0;
    }
    return sum;
  },
  normalize(_cycle, scores) {
    let min = Infinity;
    let max = -Infinity;
    for (const score of scores) {
      if (score < min) min = score;
      if (score > max) max = score;
    }
    const range = max - min;
    for (let i = 0; i < scores.length; i++) {
      scores[i] = range === 0 ? 0 : Math.trunc((NODE_SCORE_MAX * (scores[i] - min)) / range);
    }
  },
};

function preScore(cycle: Cycle, args: InterPodAffinityArgs): "skip" | undefined {
  const { pod, cluster } = cycle;
  const prefers = pod.preferredAffinity.length > 0 || pod.preferredAntiAffinity.length > 0;
  if (args.ignorePreferredTermsOfExistingPods && !prefers) return "skip";
  const scores = topologyScores(cluster, pod, args.hardPodAffinityWeight ?? 1);
  if (scores.size === 0) return "skip";
  cycle.state.set("InterPodAffinity/score", scores);
  return undefined;
}

/** Pods help by coming where the pod wants company, by going where it does not; nodes by their topology. */
function hint(pod: PodInfo, happening: Happening): boolean {
  const { events, pod: other, oldPod, node, oldNode } = happening;
  if (events.includes("OwnLabels")) return true;
  if (node) {
    const keys = [...pod.affinity, ...pod.antiAffinity].map((term) => term.topologyKey);
    const old = oldNode?.metadata.labels ?? {};
    if (!oldNode) return pod.affinity.every((t) => node.labels[t.topologyKey] !== undefined);
    return keys.some((key) => node.labels[key] !== old[key]);
  }
  const wanted = (one: PodInfo) => pod.affinity.some((term) => term.matches(one));
  const shunned = (one: PodInfo) =>
    pod.antiAffinity.some((term) => term.matches(one)) ||
    one.antiAffinity.some((term) => term.matches(pod));
  if (events.includes("PodDelete")) return shunned(other!);
  if (!oldPod) return wanted(other!);
  return (wanted(other!) && !wanted(oldPod)) || (shunned(oldPod) && !shunned(other!));
}

/** Counts of the pods that match all of the incoming pod's affinity terms, per term's topology. */
function affinityCounts(cluster: Cluster, pod: PodInfo): FilterState["affinity"] {
  if (pod.affinity.length === 0) return [];
  // Upstream counts a pod only when it matches every term, under each term's key.
  const id = `affinity ${pod.affinity.map((term) => term.id).join(" ")}`;
  const counter = cluster.counter(id, (other) => pod.affinity.every((term) => term.matches(other)));
  return pod.affinity.map((term) => ({
    key: term.topologyKey,
    values: cluster.byTopology(counter, term.topologyKey),
  }));
}

function counted(cluster: Cluster, term: Term): FilterState["antiAffinity"][number] {
  const counter = cluster.counter(`term ${term.id}`, (other) => term.matches(other));
  return { key: term.topologyKey, values: cluster.byTopology(counter, term.topologyKey) };
}

function affinityHolds(state: FilterState, node: NodeInfo): boolean {
  let all = true;
  for (const { key, values } of state.affinity) {
    const value = node.labels[key];
    // A node without the key can never do, not even for the first of its kind.
    if (value === undefined) return false;
    if (!values.has(value)) all = false;
  }
  return all || state.first;
}

/** For each topology key: what being in each of its values is worth. */
function topologyScores(
  cluster: Cluster,
  pod: PodInfo,
  hardWeight: number,
): Map<string, Map<string, number>> {
  const scores = new Map<string, Map<string, number>>();
  const add = (key: string, values: ReadonlyMap<string, number>, weight: number) => {
    if (values.size === 0) return;
    let sums = scores.get(key);
    if (!sums) scores.set(key, sums = new Map());
    for (const [value, count] of values) sums.set(value, (sums.get(value) ?? 0) + count * weight);
  };
  for (const term of pod.preferredAffinity) {
    add(term.topologyKey, counted(cluster, term).values, term.weight);
  }
  for (const term of pod.preferredAntiAffinity) {
    add(term.topologyKey, counted(cluster, term).values, -term.weight);
  }
  const existing = (kind: TermKind, weight: (term: Term) => number) => {
    for (const { term, counts } of cluster.termHolders(kind).values()) {
      if (term.matches(pod)) add(term.topologyKey, counts, weight(term));
    }
  };
  if (hardWeight > 0) existing("affinity", () => hardWeight);
  existing("preferredAffinity", (term) => term.weight);
  existing("preferredAntiAffinity", (term) => -term.weight);
  return scores;
}
