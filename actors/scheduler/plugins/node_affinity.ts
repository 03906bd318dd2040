/**
 * NodeAffinity: `spec.nodeSelector` and `spec.affinity.nodeAffinity`, required terms as a filter, preferred
 * ones as scores. Semantics and texts are kube-scheduler's (v1.36).
 */
import type { DeepReadonly } from "../../../api/machinery/types.ts";
import {
  type NodeInfo,
  normalizeToMax,
  type Plugin,
  type PodInfo,
  type Refusal,
} from "../framework.ts";

interface Requirement {
  key: string;
  operator: "In" | "NotIn" | "Exists" | "DoesNotExist" | "Gt" | "Lt";
  values?: string[];
}

interface SelectorTerm {
  matchExpressions?: Requirement[];
  matchFields?: Requirement[];
}

type NodeMatcher = (node: NodeInfo) => boolean;

const NO_MATCH: Refusal = {
  plugin: "NodeAffinity",
  reasons: ["node(s) didn't match Pod's node affinity/selector"],
  unresolvable: true,
};

const NOT_ENFORCED: Refusal = {
  plugin: "NodeAffinity",
  reasons: ["node(s) didn't match scheduler-enforced node affinity"],
  unresolvable: true,
};

const CONFLICT: Refusal = {
  plugin: "NodeAffinity",
  reasons: ["pod affinity terms conflict"],
  unresolvable: true,
};

type Preferred = DeepReadonly<{ weight: number; preference: SelectorTerm }[]>;

/** NodeAffinityArgs: a node affinity that every pod of the profile has beside its own. */
export interface NodeAffinityArgs {
  addedAffinity?: {
    requiredDuringSchedulingIgnoredDuringExecution?: { nodeSelectorTerms: SelectorTerm[] };
    preferredDuringSchedulingIgnoredDuringExecution?: Preferred;
  };
}

/** Makes the plugin. */
export function nodeAffinity({ addedAffinity: added }: NodeAffinityArgs = {}): Plugin {
  const hard = added?.requiredDuringSchedulingIgnoredDuringExecution;
  const enforced = hard && compileNodeSelector(hard);
  const addedScores = compilePreferred(
    added?.preferredDuringSchedulingIgnoredDuringExecution,
  );
  return {
    name: "NodeAffinity",
    weight: 2,
    wakesOn: ["NodeAdd", "NodeLabels"],
    preFilter(cycle) {
      const matcher = requiredNodes(cycle.pod);
      if (!matcher && !enforced) return "skip";
      cycle.state.set("NodeAffinity", matcher);
      const nodes = namedNodes(cycle.pod);
      if (!nodes) return;
      if (nodes.size === 0) return CONFLICT;
      cycle.only = { plugin: "NodeAffinity", nodes };
    },
    filter(cycle, node) {
      if (enforced && !enforced(node)) return NOT_ENFORCED;
      const matcher = cycle.state.get("NodeAffinity") as NodeMatcher | undefined;
      return !matcher || matcher(node) ? undefined : NO_MATCH;
    },
    preScore(cycle) {
      const preferred = cycle.pod.pod.spec.affinity?.nodeAffinity
        ?.preferredDuringSchedulingIgnoredDuringExecution as Preferred | undefined;
      const terms = [...addedScores, ...compilePreferred(preferred)];
      if (terms.length === 0) return "skip";
      cycle.state.set("NodeAffinity/score", terms);
    },
    score(cycle, node) {
      const terms = cycle.state.get("NodeAffinity/score") as WeightedMatcher[];
      let sum = 0;
      for (const term of terms) if (term.matches(node)) sum += term.weight;
      return sum;
    },
    normalize: (_cycle, scores) => normalizeToMax(scores, false),
    hint(pod, { node, oldNode }) {
      const admits = (one: NodeInfo) =>
        (enforced?.(one) ?? true) && (requiredNodes(pod)?.(one) ?? true);
      if (!admits(node!)) return false;
      return !oldNode || !admits({ ...node!, labels: oldNode.metadata.labels ?? {} });
    },
  };
}

interface WeightedMatcher {
  weight: number;
  matches: NodeMatcher;
}

function compilePreferred(preferred: Preferred = []): WeightedMatcher[] {
  return preferred.map(({ weight, preference }) => ({ weight, matches: compileTerm(preference) }));
}

/** The nodes that a pod's terms all name, as a daemon's do; undefined: some term names none. */
function namedNodes({ pod }: PodInfo): Set<string> | undefined {
  const terms = pod.spec.affinity?.nodeAffinity?.requiredDuringSchedulingIgnoredDuringExecution
    ?.nodeSelectorTerms as DeepReadonly<SelectorTerm[]> | undefined;
  if (!terms?.length) return undefined;
  const names = new Set<string>();
  for (const { matchFields = [] } of terms) {
    const named = matchFields.filter((r) => r.key === "metadata.name" && r.operator === "In");
    if (named.length === 0) return undefined;
    const [first, ...rest] = named.map(({ values }) => values ?? []);
    for (const name of first) if (rest.every((values) => values.includes(name))) names.add(name);
  }
  return names;
}

/** The nodes a pod's nodeSelector and required node affinity admit; undefined: all. */
export function requiredNodes(pod: PodInfo): NodeMatcher | undefined {
  const { spec } = pod.pod;
  const selector = spec.nodeSelector as Readonly<Record<string, string>> | undefined;
  const required = spec.affinity?.nodeAffinity?.requiredDuringSchedulingIgnoredDuringExecution as
    | DeepReadonly<{ nodeSelectorTerms: SelectorTerm[] }>
    | undefined;
  const labels = selector && Object.keys(selector).length > 0
    ? Object.entries(selector)
    : undefined;
  if (!labels && !required) return undefined;
  const terms = required && compileNodeSelector(required);
  return (node) =>
    (!labels || labels.every(([key, value]) => node.labels[key] === value)) &&
    (!terms || terms(node));
}

/** A NodeSelector: its terms are alternatives, the requirements of a term all must hold. */
export function compileNodeSelector(
  selector: DeepReadonly<{ nodeSelectorTerms: SelectorTerm[] }>,
): NodeMatcher {
  const terms = selector.nodeSelectorTerms.map(compileTerm);
  return (node) => terms.some((matches) => matches(node));
}

function compileTerm(term: DeepReadonly<SelectorTerm>): NodeMatcher {
  const expressions = term.matchExpressions ?? [];
  const fields = term.matchFields ?? [];
  // An empty term matches nothing (upstream's rule for node selectors).
  if (expressions.length === 0 && fields.length === 0) return () => false;
  return (node) =>
    expressions.every((r) => meets(r, node.labels[r.key])) &&
    fields.every((r) => meets(r, r.key === "metadata.name" ? node.name : undefined));
}

function meets(requirement: DeepReadonly<Requirement>, value: string | undefined): boolean {
  switch (requirement.operator) {
    case "In":
      return value !== undefined && requirement.values!.includes(value);
    case "NotIn":
      return value === undefined || !requirement.values!.includes(value);
    case "Exists":
      return value !== undefined;
    case "DoesNotExist":
      return value === undefined;
    case "Gt":
      return isInteger(value) && BigInt(value) > BigInt(requirement.values![0]);
    case "Lt":
      return isInteger(value) && BigInt(value) < BigInt(requirement.values![0]);
  }
}

function isInteger(value: string | undefined): value is string {
  return value !== undefined && /^[+-]?\d+$/.test(value);
}

export type { NodeMatcher };
