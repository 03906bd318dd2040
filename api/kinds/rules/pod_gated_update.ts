/**
 * What a pod that scheduling gates hold back may still change: where it will run, and only more narrowly
 * (upstream's `validateNodeSelectorMutation`, `validateNodeAffinityMutation`).
 */

import { semanticEqual } from "./equality.ts";
import { type Report, SPEC } from "./report.ts";

// deno-lint-ignore no-explicit-any -- objects are decoded JSON; the schema walk has checked their types
type Obj = any;

const REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution";

/**
 * Checks changes of nodeSelector and node affinity of a gated pod, and puts the old ones into `spec`, a copy,
 * so that what is left can be compared.
 */
export function validateNodeChange(spec: Obj, before: Obj, r: Report): void {
  if (!semanticEqual(spec.nodeSelector, before.nodeSelector)) {
    for (const key in before.nodeSelector ?? {}) {
      if (spec.nodeSelector?.[key] === before.nodeSelector[key]) continue;
      const text = "only additions to spec.nodeSelector are allowed (no mutations or deletions)";
      r.invalid(SPEC.child("nodeSelector"), spec.nodeSelector ?? null, text);
      break;
    }
    spec.nodeSelector = before.nodeSelector;
  }
  const now = spec.affinity?.nodeAffinity, then = before.affinity?.nodeAffinity;
  if (semanticEqual(now, then)) return;
  validateAffinityChange(now, then, r);
  const { podAffinity, podAntiAffinity } = spec.affinity ?? {};
  if (!spec.affinity) spec.affinity = then ? { nodeAffinity: then } : undefined;
  else if (!before.affinity && !podAffinity && !podAntiAffinity) spec.affinity = undefined;
  else {
    spec.affinity = { ...spec.affinity, nodeAffinity: then };
    if (then === undefined) delete spec.affinity.nodeAffinity;
  }
}

function validateAffinityChange(now: Obj, then: Obj, r: Report): void {
  const old: Obj[] = then?.[REQUIRED]?.nodeSelectorTerms ?? [];
  const terms: Obj[] = now?.[REQUIRED]?.nodeSelectorTerms ?? [];
  if (old.length === 0) return;
  const at = SPEC.child("affinity", "nodeAffinity", REQUIRED, "nodeSelectorTerms");
  if (old.length !== terms.length) {
    const text = "no additions/deletions to non-empty NodeSelectorTerms list are allowed";
    return r.invalid(at, terms, text);
  }
  old.forEach((term, i) => {
    if (onlyAdds(terms[i], term)) return;
    r.invalid(at.index(i), terms[i], "only additions are allowed (no mutations or deletions)");
  });
}

function onlyAdds(now: Obj, then: Obj): boolean {
  const rules = (term: Obj, field: string): Obj[] => term[field] ?? [];
  const fields = ["matchExpressions", "matchFields"];
  // An empty term matches nothing; it may not begin to match something.
  if (fields.every((f) => rules(then, f).length === 0)) {
    return fields.every((f) => rules(now, f).length === 0);
  }
  return fields.every((f) => {
    const old = rules(then, f);
    return semanticEqual(rules(now, f).slice(0, old.length), old);
  });
}
