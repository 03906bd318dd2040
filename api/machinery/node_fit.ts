/**
 * Whether a pod may be on a node, as far as DaemonSets and the node itself decide it: node affinity, taints
 * and tolerations. Pure.
 *
 * Behaviour matched: k8s.io/component-helpers/scheduling/corev1, v1.36.
 */
import { type LabelOperator, requirement, Selector } from "./selectors.ts";
import { type Taint, tolerates, type Toleration } from "./taints.ts";
import type { DeepReadonly, KubeObject } from "./types.ts";

type Obj = DeepReadonly<KubeObject>;

interface Expression {
  key: string;
  operator: string;
  values?: readonly string[];
}

interface Term {
  matchExpressions?: readonly Expression[];
  matchFields?: readonly Expression[];
}

const OPERATORS: Record<string, LabelOperator> = {
  In: "in",
  NotIn: "notin",
  Exists: "exists",
  DoesNotExist: "!",
  Gt: "gt",
  Lt: "lt",
};

/** The first taint of these effects that no toleration bears. */
export function untolerated(
  taints: readonly Taint[],
  tolerations: readonly Toleration[],
  effects: readonly string[],
): Taint | undefined {
  return taints.find((taint) =>
    effects.includes(taint.effect) &&
    !tolerations.some((toleration) => tolerates(toleration, taint))
  );
}

/** Whether a node is one that a pod's nodeSelector and required node affinity ask for. */
export function matchesAffinity(spec: Obj["spec"], node: Obj): boolean {
  const labels = node.metadata.labels ?? {};
  for (const key in spec.nodeSelector) if (labels[key] !== spec.nodeSelector[key]) return false;
  const required = spec.affinity?.nodeAffinity?.requiredDuringSchedulingIgnoredDuringExecution;
  if (!required) return true;
  return (required.nodeSelectorTerms ?? []).some((term: Term) => matchesTerm(term, node));
}

function matchesTerm(term: Term, node: Obj): boolean {
  const { matchExpressions = [], matchFields = [] } = term;
  if (matchExpressions.length + matchFields.length === 0) return false;
  return matchesAll(matchExpressions, node.metadata.labels ?? {}) &&
    matchesAll(matchFields, { "metadata.name": node.metadata.name });
}

function matchesAll(
  expressions: readonly Expression[],
  values: Readonly<Record<string, string>>,
): boolean {
  if (expressions.length === 0) return true;
  try {
    const requirements = expressions.map(({ key, operator, values: wanted }) =>
      requirement(key, OPERATORS[operator], wanted ?? [])
    );
    return new Selector(requirements).matches(values);
  } catch (error) {
    // What cannot be read selects nothing, as upstream.
    return error === undefined;
  }
}
