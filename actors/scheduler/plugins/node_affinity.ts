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

/** See the module's text. */
export const nodeAffinity: Plugin = {
  name: "NodeAffinity",
  weight: 2,
  wakesOn: ["NodeAdd", "NodeUpdate"],
  preFilter(cycle) {
    const matcher = requiredNodes(cycle.pod);
    if (!matcher) return "skip";
    cycle.state.set("NodeAffinity", matcher);
  },
  filter: (cycle, node) =>
    (cycle.state.get("NodeAffinity") as NodeMatcher)(node) ? undefined : NO_MATCH,
  preScore(cycle) {
    const preferred = cycle.pod.pod.spec.affinity?.nodeAffinity
      ?.preferredDuringSchedulingIgnoredDuringExecution as
        | DeepReadonly<{ weight: number; preference: SelectorTerm }[]>
        | undefined;
    if (!preferred?.length) return "skip";
    cycle.state.set(
      "NodeAffinity/score",
      preferred.map(({ weight, preference }) => ({ weight, matches: compileTerm(preference) })),
    );
  },
  score(cycle, node) {
    const terms = cycle.state.get("NodeAffinity/score") as {
      weight: number;
      matches: NodeMatcher;
    }[];
    let sum = 0;
    for (const term of terms) if (term.matches(node)) sum += term.weight;
    return sum;
  },
  normalize: (_cycle, scores) => normalizeToMax(scores, false),
  hint: (pod, _event, subject) =>
    !subject || !("podsMax" in subject) || (requiredNodes(pod)?.(subject) ?? true),
};

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
