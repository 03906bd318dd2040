/**
 * Validation of where a pod may run: node selectors, affinities, tolerations, spread, gates (upstream's
 * `validateAffinity`, `ValidateTolerations`, `validateTopologySpreadConstraints`).
 */

import {
  isLabelValue,
  isQualifiedName,
  nameIsDnsLabel,
  nameIsDnsSubdomain,
} from "../../machinery/names.ts";
import { checkLabelSelector } from "../../machinery/selectors.ts";
import type { PodOptions } from "./pod_options.ts";
import { isSet, type Path, type Report } from "./report.ts";

// deno-lint-ignore no-explicit-any -- objects are decoded JSON; the schema walk has checked their types
type Obj = any;

const REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution";
const PREFERRED = "preferredDuringSchedulingIgnoredDuringExecution";

function validateExpression(rule: Obj, path: Path, r: Report, lenient: boolean): void {
  const values: string[] = rule.values ?? [];
  const at = path.child("values");
  switch (rule.operator) {
    case "In":
    case "NotIn":
      if (values.length === 0) {
        r.required(at, "must be specified when `operator` is 'In' or 'NotIn'");
      }
      break;
    case "Exists":
    case "DoesNotExist":
      if (values.length > 0) {
        r.forbidden(at, "may not be specified when `operator` is 'Exists' or 'DoesNotExist'");
      }
      break;
    case "Gt":
    case "Lt":
      if (values.length !== 1) {
        r.required(at, "must be specified single value when `operator` is 'Lt' or 'Gt'");
      }
      break;
    default:
      r.invalid(path.child("operator"), rule.operator ?? "", "not a valid selector operator");
  }
  r.check(isQualifiedName(rule.key ?? ""), path.child("key"), rule.key ?? "");
  if (lenient) return;
  for (let i = 0; i < values.length; i++) r.check(isLabelValue(values[i]), at.index(i), values[i]);
}

function validateField(rule: Obj, path: Path, r: Report): void {
  const values: string[] = rule.values ?? [];
  const at = path.child("values");
  if (rule.operator === "In" || rule.operator === "NotIn") {
    if (values.length !== 1) {
      const text =
        "must be only one value when `operator` is 'In' or 'NotIn' for node field selector";
      r.required(at, text);
    }
  } else r.invalid(path.child("operator"), rule.operator ?? "", "not a valid selector operator");
  if (rule.key !== "metadata.name") {
    return r.invalid(path.child("key"), rule.key ?? "", "not a valid field selector key");
  }
  values.forEach((value, i) => r.check(nameIsDnsSubdomain(value, false), at.index(i), value));
}

function validateTerm(term: Obj, path: Path, r: Report, lenient: boolean): void {
  term?.matchExpressions?.forEach((rule: Obj, i: number) => {
    validateExpression(rule, path.child("matchExpressions").index(i), r, lenient);
  });
  term?.matchFields?.forEach((rule: Obj, i: number) => {
    validateField(rule, path.child("matchFields").index(i), r);
  });
}

/** Checks a NodeSelector. */
export function validateNodeSelector(selector: Obj, path: Path, r: Report): void {
  const terms: Obj[] = selector.nodeSelectorTerms ?? [];
  const at = path.child("nodeSelectorTerms");
  if (terms.length === 0) return r.required(at, "must have at least one node selector term");
  terms.forEach((term, i) => validateTerm(term, at.index(i), r, false));
}

function validateWeight(weight: number | undefined, path: Path, r: Report): void {
  if (weight !== undefined && weight >= 1 && weight <= 100) return;
  r.invalid(path.child("weight"), weight ?? 0, "must be in the range 1-100");
}

function validateKeys(keys: string[] | undefined, selector: Obj, path: Path, r: Report): void {
  if (!keys?.length) return;
  if (!isSet(selector)) {
    return r.forbidden(path, "must not be specified when labelSelector is not set");
  }
  keys.forEach((key, i) => r.check(isQualifiedName(key), path.index(i), key));
}

/** Checks matchLabelKeys and mismatchLabelKeys, of affinity terms and of spread constraints. */
function validateLabelKeys(
  path: Path,
  keys: string[],
  others: string[],
  labelSelector: Obj,
  r: Report,
): void {
  validateKeys(keys, labelSelector, path.child("matchLabelKeys"), r);
  validateKeys(others, labelSelector, path.child("mismatchLabelKeys"), r);
  if (labelSelector && keys.length > 0) {
    const seen = new Set<string>(Object.keys(labelSelector.matchLabels ?? {}));
    for (const { key } of labelSelector.matchExpressions ?? []) {
      const i = keys.lastIndexOf(key);
      if (i >= 0 && seen.has(key)) {
        r.invalid(path.index(i), key, "exists in both matchLabelKeys and labelSelector");
      }
      seen.add(key);
    }
  }
  keys.forEach((key, i) => {
    if (!others.includes(key)) return;
    const text = "exists in both matchLabelKeys and mismatchLabelKeys";
    r.invalid(path.child("matchLabelKeys").index(i), key, text);
  });
}

function validatePodTerm(term: Obj, path: Path, r: Report, options: PodOptions): void {
  const allow = { allowInvalidValues: options.allowInvalidLabelValues };
  const { labelSelector, namespaceSelector, topologyKey = "" } = term ?? {};
  const keys: string[] = term?.matchLabelKeys ?? [];
  const others: string[] = term?.mismatchLabelKeys ?? [];
  if (labelSelector) {
    r.add(checkLabelSelector(`${path.child("labelSelector")}`, labelSelector, allow));
  }
  if (namespaceSelector) {
    r.add(checkLabelSelector(`${path.child("namespaceSelector")}`, namespaceSelector, allow));
  }
  for (const name of term?.namespaces ?? []) {
    r.check(nameIsDnsLabel(name, false), path.child("namespace"), name);
  }
  validateLabelKeys(path, keys, others, labelSelector, r);
  if (!topologyKey) r.required(path.child("topologyKey"), "can not be empty");
  r.check(isQualifiedName(topologyKey), path.child("topologyKey"), topologyKey);
}

function validatePodAffinity(affinity: Obj, path: Path, r: Report, options: PodOptions): void {
  affinity[REQUIRED]?.forEach((term: Obj, i: number) => {
    validatePodTerm(term, path.child(REQUIRED).index(i), r, options);
  });
  affinity[PREFERRED]?.forEach((weighted: Obj, i: number) => {
    const at = path.child(PREFERRED).index(i);
    validateWeight(weighted.weight, at, r);
    validatePodTerm(weighted.podAffinityTerm, at.child("podAffinityTerm"), r, options);
  });
}

/** Checks a pod's affinity. */
export function validateAffinity(affinity: Obj, path: Path, r: Report, options: PodOptions): void {
  const { nodeAffinity, podAffinity, podAntiAffinity } = affinity;
  if (isSet(nodeAffinity)) {
    const at = path.child("nodeAffinity");
    if (isSet(nodeAffinity[REQUIRED])) {
      validateNodeSelector(nodeAffinity[REQUIRED], at.child(REQUIRED), r);
    }
    nodeAffinity[PREFERRED]?.forEach((term: Obj, i: number) => {
      const termAt = at.child(PREFERRED).index(i);
      validateWeight(term.weight, termAt, r);
      validateTerm(term.preference, termAt.child("preference"), r, true);
    });
  }
  if (isSet(podAffinity)) validatePodAffinity(podAffinity, path.child("podAffinity"), r, options);
  if (isSet(podAntiAffinity)) {
    validatePodAffinity(podAntiAffinity, path.child("podAntiAffinity"), r, options);
  }
}

const EFFECTS = ["NoSchedule", "PreferNoSchedule", "NoExecute"];

/** Checks the effect of a taint or toleration. */
export function validateTaintEffect(effect: string, path: Path, r: Report): void {
  if (!EFFECTS.includes(effect)) r.notSupported(path, effect, EFFECTS, true);
}

/** Operators of a feature that is off; upstream's text names them all the same. */
const COMPARISONS = ["Lt", "Gt"];

/** Checks tolerations. */
export function validateTolerations(tolerations: Obj[], path: Path, r: Report): void {
  for (let i = 0; i < tolerations.length; i++) {
    const { key = "", operator = "", value = "", effect = "", tolerationSeconds } = tolerations[i];
    const at = path.index(i);
    if (key) r.check(isQualifiedName(key), at.child("key"), key);
    else if (operator !== "Exists") {
      const text = "operator must be Exists when `key` is empty, which means " +
        '"match all values and all keys"';
      r.invalid(at.child("operator"), operator, text);
    }
    if (isSet(tolerationSeconds) && effect !== "NoExecute") {
      const text = "effect must be 'NoExecute' when `tolerationSeconds` is set";
      r.invalid(at.child("effect"), effect, text);
    }
    if (operator === "" || operator === "Equal") {
      const messages = isLabelValue(value);
      if (messages.length) r.invalid(at.child("operator"), value, messages.join(";"));
    } else if (operator === "Exists") {
      if (value) {
        r.invalid(at.child("operator"), value, "value must be empty when `operator` is 'Exists'");
      }
    } else {
      const compared = COMPARISONS.includes(operator);
      const operators = compared ? ["Equal", "Exists", ...COMPARISONS] : ["Equal", "Exists"];
      r.notSupported(at.child("operator"), operator, operators, true);
    }
    if (effect) validateTaintEffect(effect, at.child("effect"), r);
  }
}

const ACTIONS = ["DoNotSchedule", "ScheduleAnyway"];
const NODE_POLICIES = ["Honor", "Ignore"];

/** Checks topology spread constraints. */
export function validateSpread(constraints: Obj[], path: Path, r: Report): void {
  constraints.forEach((constraint, i) => {
    const { maxSkew = 0, topologyKey = "", whenUnsatisfiable = "", minDomains } = constraint;
    const at = path.index(i);
    if (maxSkew <= 0) r.invalid(at.child("maxSkew"), maxSkew, "must be greater than zero");
    if (!topologyKey) r.required(at.child("topologyKey"), "can not be empty");
    if (!ACTIONS.includes(whenUnsatisfiable)) {
      r.notSupported(at.child("whenUnsatisfiable"), whenUnsatisfiable, ACTIONS);
    }
    const repeated = constraints.slice(i + 1).some((other) =>
      (other.topologyKey ?? "") === topologyKey &&
      (other.whenUnsatisfiable ?? "") === whenUnsatisfiable
    );
    if (repeated) {
      const at2 = at.child("{topologyKey, whenUnsatisfiable}");
      r.duplicate(at2, `{${topologyKey}, ${whenUnsatisfiable}}`);
    }
    if (isSet(minDomains)) {
      const at2 = at.child("minDomains");
      if (minDomains <= 0) r.invalid(at2, minDomains, "must be greater than zero");
      if (whenUnsatisfiable !== "DoNotSchedule") {
        const text = "can only use minDomains if whenUnsatisfiable=DoNotSchedule, not";
        r.invalid(at2, minDomains, `${text} ${whenUnsatisfiable}`);
      }
    }
    for (const field of ["nodeAffinityPolicy", "nodeTaintsPolicy"]) {
      const policy = constraint[field];
      if (isSet(policy) && !NODE_POLICIES.includes(policy)) {
        r.notSupported(at.child(field), policy, NODE_POLICIES);
      }
    }
    validateLabelKeys(at, constraint.matchLabelKeys ?? [], [], constraint.labelSelector, r);
    if (constraint.labelSelector) {
      r.add(checkLabelSelector(`${at.child("labelSelector")}`, constraint.labelSelector));
    }
  });
}

/** Checks scheduling gates: qualified names, each once. */
export function validateGates(gates: Obj[], path: Path, r: Report): void {
  const seen = new Set<string>();
  gates.forEach(({ name = "" }, i) => {
    r.check(isQualifiedName(name), path.index(i), name);
    if (seen.has(name)) r.duplicate(path.index(i), name);
    seen.add(name);
  });
}
