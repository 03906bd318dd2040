/**
 * PodTopologySpread: keeps the pods of a workload evenly spread over the values of topology keys. Hard
 * constraints filter, soft ones score; a pod without any is spread softly with its siblings over hosts and
 * zones, as upstream's system defaults do. Semantics and texts are kube-scheduler's (v1.36).
 */
import type { DeepReadonly } from "../../../api/machinery/types.ts";
import { labelSelector } from "../../../api/machinery/selectors.ts";
import {
  type Cycle,
  type Happening,
  NODE_SCORE_MAX,
  type NodeInfo,
  type Plugin,
  type PodInfo,
  type Refusal,
} from "../framework.ts";
import { withMatchLabelKeys } from "../pod_info.ts";
import { requiredNodes } from "./node_affinity.ts";
import { tolerates } from "./node_basics.ts";

const HOSTNAME = "kubernetes.io/hostname";
const ZONE = "topology.kubernetes.io/zone";

const SKEWED: Refusal = {
  plugin: "PodTopologySpread",
  reasons: ["node(s) didn't match pod topology spread constraints"],
};
const NO_LABEL: Refusal = {
  plugin: "PodTopologySpread",
  reasons: ["node(s) didn't match pod topology spread constraints (missing required label)"],
  unresolvable: true,
};

interface ConstraintSpec {
  maxSkew: number;
  topologyKey: string;
  whenUnsatisfiable: "DoNotSchedule" | "ScheduleAnyway";
  labelSelector?: unknown;
  matchLabelKeys?: string[];
  minDomains?: number;
  nodeAffinityPolicy?: "Honor" | "Ignore";
  nodeTaintsPolicy?: "Honor" | "Ignore";
}

/** Which pods a workload's siblings are; equal ids mean the same pods. */
export interface Siblings {
  id: string;
  matches(labels: Readonly<Record<string, string>>): boolean;
}

interface Constraint {
  spec: DeepReadonly<ConstraintSpec>;
  id: string;
  /** Whether a pod counts: same namespace, selected, not on its way out. */
  counts(pod: PodInfo): boolean;
  self: boolean;
}

interface FilterState {
  constraints: { constraint: Constraint; domains: Map<string, number>; min: number }[];
}

interface ScoreState {
  constraints: { constraint: Constraint; domains: Map<string, number>; weight: number }[];
  ignored: Set<string>;
}

/** PodTopologySpreadArgs. */
export interface SpreadArgs {
  /** What counts for pods without constraints of their own, where the type is `List`. */
  defaultConstraints?: readonly DeepReadonly<ConstraintSpec>[];
  defaultingType?: "System" | "List";
}

/** Upstream's system defaults: softly over hosts and zones. */
const SYSTEM_DEFAULTS: readonly ConstraintSpec[] = [
  { topologyKey: HOSTNAME, maxSkew: 3, whenUnsatisfiable: "ScheduleAnyway" },
  { topologyKey: ZONE, maxSkew: 5, whenUnsatisfiable: "ScheduleAnyway" },
];

/** Makes the plugin; `siblings` finds what a pod without constraints of its own is spread among. */
export function podTopologySpread(
  siblings: (pod: PodInfo) => Siblings | undefined,
  { defaultConstraints = [], defaultingType = "System" }: SpreadArgs = {},
): Plugin {
  const system = defaultingType === "System";
  const defaults = system ? SYSTEM_DEFAULTS : defaultConstraints;
  const defaulted = (pod: PodInfo, when: ConstraintSpec["whenUnsatisfiable"]) => {
    if (!defaults.some((spec) => spec.whenUnsatisfiable === when)) return [];
    const among = siblings(pod);
    return among
      ? defaultsAmong(pod, among, defaults.filter((s) => s.whenUnsatisfiable === when))
      : [];
  };
  const ofItsOwn = (pod: PodInfo) => pod.pod.spec.topologySpreadConstraints?.length > 0;
  return {
    name: "PodTopologySpread",
    weight: 2,
    wakesOn: WAKES_ON,
    hint(pod, happening) {
      const hard = ofItsOwn(pod)
        ? constraintsOf(pod, "DoNotSchedule")
        : defaulted(pod, "DoNotSchedule");
      return helps(pod, hard, happening);
    },
    preFilter(cycle) {
      const hard = ofItsOwn(cycle.pod)
        ? constraintsOf(cycle.pod, "DoNotSchedule")
        : defaulted(cycle.pod, "DoNotSchedule");
      if (hard.length === 0) return "skip";
      cycle.state.set("PodTopologySpread", filterState(cycle, hard));
    },
    filter: (cycle, node) => filter(cycle.state.get("PodTopologySpread") as FilterState, node),
    preScore(cycle, nodes) {
      const own = ofItsOwn(cycle.pod);
      const soft = own
        ? constraintsOf(cycle.pod, "ScheduleAnyway")
        : defaulted(cycle.pod, "ScheduleAnyway");
      if (soft.length === 0) return "skip";
      const requireAll = own || !system;
      cycle.state.set("PodTopologySpread/score", scoreState(cycle, soft, nodes, requireAll));
    },
    score: (cycle, node) => score(cycle.state.get("PodTopologySpread/score") as ScoreState, node),
    normalize(cycle, scores, nodes) {
      normalize(cycle.state.get("PodTopologySpread/score") as ScoreState, scores, nodes);
    },
  };
}

const WAKES_ON = [
  ...["PodAdd", "PodLabels", "PodDelete", "NodeAdd", "NodeDelete", "NodeLabels", "NodeTaints"],
  "OwnLabels",
] as Plugin["wakesOn"];

/** Pods that count help by coming and going, nodes by the domains that they are in. */
function helps(
  pod: PodInfo,
  hard: readonly Constraint[],
  { events, pod: other, oldPod, node, oldNode }: Happening,
): boolean {
  if (events.includes("OwnLabels")) return true;
  if (other) {
    if (other.namespace !== pod.namespace) return false;
    const counts = (one: PodInfo) => hard.filter((constraint) => constraint.counts(one)).length;
    return oldPod ? counts(other) !== counts(oldPod) : counts(other) > 0 || other.terminating;
  }
  if (!node) return true;
  const keys = hard.map(({ spec }) => spec.topologyKey);
  const placed = (labels: Readonly<Record<string, string>>) =>
    keys.every((key) => labels[key] !== undefined);
  if (!oldNode) return placed(node.labels);
  const old = oldNode.metadata.labels ?? {};
  if (keys.some((key) => old[key] !== node.labels[key])) return placed(old) || placed(node.labels);
  // Which nodes count may hang on labels and taints as well
  return placed(node.labels) &&
    (!events.includes("NodeTaints") || hard.some(({ spec }) => spec.nodeTaintsPolicy === "Honor"));
}

function constraintsOf(pod: PodInfo, when: ConstraintSpec["whenUnsatisfiable"]): Constraint[] {
  const specs = pod.pod.spec.topologySpreadConstraints as
    | readonly DeepReadonly<ConstraintSpec>[]
    | undefined;
  if (!specs) return [];
  return specs.filter((spec) => spec.whenUnsatisfiable === when).map((spec) => {
    const selector = withMatchLabelKeys(pod.pod, spec);
    const compiled = labelSelector(selector);
    return constraint(
      pod,
      spec,
      JSON.stringify(selector ?? null),
      (labels) => compiled.matches(labels),
    );
  });
}

function constraint(
  pod: PodInfo,
  spec: DeepReadonly<ConstraintSpec>,
  selectorId: string,
  matches: (labels: Readonly<Record<string, string>>) => boolean,
): Constraint {
  const { namespace } = pod;
  return {
    spec,
    id: `spread ${namespace} ${selectorId}`,
    counts: (other) => other.namespace === namespace && !other.terminating && matches(other.labels),
    self: matches(pod.labels),
  };
}

function defaultsAmong(
  pod: PodInfo,
  among: Siblings,
  specs: readonly DeepReadonly<ConstraintSpec>[],
): Constraint[] {
  return specs.map((spec) => constraint(pod, spec, among.id, (labels) => among.matches(labels)));
}

/** Whether a node's pods and domain count for a constraint. */
function counting(pod: PodInfo, { spec }: Constraint): ((node: NodeInfo) => boolean) | undefined {
  const affinity = spec.nodeAffinityPolicy === "Ignore" ? undefined : requiredNodes(pod);
  const taints = spec.nodeTaintsPolicy === "Honor";
  if (!affinity && !taints) return undefined;
  return (node) =>
    (!affinity || affinity(node)) &&
    (!taints || node.taints.every((taint) =>
      taint.effect === "PreferNoSchedule" || tolerates(pod.pod.spec.tolerations, taint)
    ));
}

function filterState({ pod, cluster }: Cycle, hard: readonly Constraint[]): FilterState {
  const keys = hard.map(({ spec }) => spec.topologyKey);
  const constraints = hard.map((constraint) => {
    const { spec } = constraint;
    const counter = cluster.counter(constraint.id, constraint.counts);
    const counts = counting(pod, constraint);
    const domains = new Map<string, number>();
    for (const node of cluster.nodes) {
      if (!keys.every((key) => node.labels[key] !== undefined)) continue;
      if (counts && !counts(node)) continue;
      const value = node.labels[spec.topologyKey];
      domains.set(value, (domains.get(value) ?? 0) + (counter.byNode.get(node.name) ?? 0));
    }
    let min = domains.size === 0 ? 0 : Infinity;
    for (const count of domains.values()) if (count < min) min = count;
    if (domains.size < (spec.minDomains ?? 1)) min = 0;
    return { constraint, domains, min };
  });
  return { constraints };
}

function filter(state: FilterState, node: NodeInfo): Refusal | undefined {
  for (const { constraint, domains, min } of state.constraints) {
    const value = node.labels[constraint.spec.topologyKey];
    if (value === undefined) return NO_LABEL;
    const count = (domains.get(value) ?? 0) + (constraint.self ? 1 : 0);
    if (count - min > constraint.spec.maxSkew) return SKEWED;
  }
  return undefined;
}

function scoreState(
  { pod, cluster }: Cycle,
  soft: readonly Constraint[],
  nodes: readonly NodeInfo[],
  requireAll: boolean,
): ScoreState {
  const ignored = new Set<string>();
  if (requireAll) {
    for (const node of nodes) {
      if (soft.some(({ spec }) => node.labels[spec.topologyKey] === undefined)) {
        ignored.add(node.name);
      }
    }
  }
  const constraints = soft.map((constraint) => {
    const key = constraint.spec.topologyKey;
    const counter = cluster.counter(constraint.id, constraint.counts);
    const counts = counting(pod, constraint);
    const domains = new Map<string, number>();
    for (const node of nodes) {
      if (ignored.has(node.name)) continue;
      const value = node.labels[key];
      if (value !== undefined) domains.set(value, 0);
    }
    if (key === HOSTNAME) {
      for (const node of nodes) {
        const count = counter.byNode.get(node.name);
        if (count !== undefined) domains.set(node.labels[key], count);
      }
    } else if (!counts) {
      for (const [value, count] of cluster.byTopology(counter, key)) {
        if (domains.has(value)) domains.set(value, count);
      }
    } else {
      for (const node of cluster.nodes) {
        const value = node.labels[key];
        const before = value === undefined ? undefined : domains.get(value);
        if (before === undefined || !counts(node)) continue;
        domains.set(value, before + (counter.byNode.get(node.name) ?? 0));
      }
    }
    const size = key === HOSTNAME ? nodes.length - ignored.size : domains.size;
    return { constraint, domains, weight: Math.log(size + 2) };
  });
  return { constraints, ignored };
}

function score(state: ScoreState, node: NodeInfo): number {
  if (state.ignored.has(node.name)) return 0;
  let sum = 0;
  for (const { constraint, domains, weight } of state.constraints) {
    const value = node.labels[constraint.spec.topologyKey];
    if (value === undefined) continue;
    sum += (domains.get(value) ?? 0) * weight + (constraint.spec.maxSkew - 1);
  }
  return Math.round(sum);
}

function normalize(state: ScoreState, scores: Float64Array, nodes: readonly NodeInfo[]): void {
  let min = Infinity;
  let max = 0;
  for (let i = 0; i < scores.length; i++) {
    if (state.ignored.has(nodes[i].name)) continue;
    if (scores[i] < min) min = scores[i];
    if (scores[i] > max) max = scores[i];
  }
  for (let i = 0; i < scores.length; i++) {
    if (state.ignored.has(nodes[i].name)) scores[i] = 0;
    else if (max === 0) scores[i] = NODE_SCORE_MAX;
    else scores[i] = Math.trunc((NODE_SCORE_MAX * (max + min - scores[i])) / max);
  }
}
