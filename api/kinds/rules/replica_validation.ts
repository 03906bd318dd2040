/**
 * What validation of Deployments, ReplicaSets, StatefulSets and DaemonSets has in common: selectors that
 * match their templates, numbers that are percentages (upstream's `pkg/apis/apps/validation`).
 */

import { isPercent } from "../../machinery/names.ts";
import { checkLabelSelector, labelSelector } from "../../machinery/selectors.ts";
import { validateTemplate } from "./pod_spec.ts";
import { isSet, type Path, type Report, SPEC, STATUS } from "./report.ts";

// deno-lint-ignore no-explicit-any -- objects are decoded JSON; the schema walk has checked their types
type Obj = any;

const NEGATIVE = "must be greater than or equal to 0";

/** Checks that a number is not negative. */
export function nonNegative(object: Obj, name: string, path: Path, r: Report): void {
  if (object[name] < 0) r.invalid(path.child(name), object[name], NEGATIVE);
}

/** Checks several numbers of a status. */
export function nonNegativeStatus(status: Obj, names: readonly string[], r: Report): void {
  for (const name of names) nonNegative(status, name, STATUS, r);
}

/** Checks that `name` is not above `limit`. */
export function notAbove(
  status: Obj,
  name: string,
  limit: string,
  r: Report,
  text = `cannot be greater than ${limit}`,
): void {
  const value = status[name] ?? 0;
  if (value > (status[limit.replace("status.", "")] ?? 0)) {
    r.invalid(STATUS.child(name), value, text);
  }
}

/** The count of hash collisions only grows. */
export function collisionsGrow(status: Obj, before: Obj, r: Report): void {
  nonNegative(status, "collisionCount", STATUS, r);
  const now = status.collisionCount, then = before?.collisionCount;
  if (!isSet(then) || (isSet(now) && now >= then)) return;
  r.invalid(STATUS.child("collisionCount"), now ?? 0, "cannot be decremented");
}

/** Whether the selector can be made and matches the labels; undefined where it cannot. */
export function selects(selector: Obj, labels: Obj): boolean | undefined {
  try {
    return labelSelector(selector).matches(labels ?? {});
  } catch {
    return undefined;
  }
}

/** Whether a selector can be made at all. */
export function canSelect(selector: Obj): boolean {
  return selects(selector, {}) !== undefined;
}

/** A selector as upstream prints it: its fields in their own order. */
export function selectorValue(selector: Obj): Obj {
  if (!isSet(selector)) return null;
  const { matchLabels, matchExpressions } = selector;
  return {
    ...(matchLabels && { matchLabels }),
    ...(matchExpressions && {
      matchExpressions: matchExpressions.map(({ key, operator, values }: Obj) => ({
        key,
        operator,
        ...(values && { values }),
      })),
    }),
  };
}

/** Whether a selector names nothing. */
export function isEmptySelector(selector: Obj): boolean {
  return Object.keys(selector.matchLabels ?? {}).length +
      (selector.matchExpressions?.length ?? 0) === 0;
}

/**
 * Whether a workload's selector finds the pods of its template. None at all finds nothing; an empty one is
 * reported elsewhere. Undefined where the selector cannot be made.
 */
export function findsPods(selector: Obj, labels: Obj): boolean | undefined {
  if (!isSet(selector)) return false;
  return isEmptySelector(selector) ? true : selects(selector, labels);
}

/** Checks the selector of a workload: there, well formed, not empty. */
export function validateSelector(selector: Obj, r: Report, what: string): void {
  const at = SPEC.child("selector");
  if (!isSet(selector)) return r.required(at);
  r.add(checkLabelSelector(`${at}`, selector));
  if (isEmptySelector(selector)) r.invalid(at, selector, `empty selector is invalid for ${what}`);
}

/** Checks a template whose pods always restart and are found by the selector. */
export function validateReplicaTemplate(
  spec: Obj,
  r: Report,
  what: string,
  selectorText = "invalid label selector",
): void {
  const at = SPEC.child("template");
  const template = spec.template ?? {};
  const labels = template.metadata?.labels;
  const match = findsPods(spec.selector, labels);
  if (match === undefined) {
    return r.invalid(SPEC.child("selector"), selectorValue(spec.selector), selectorText);
  }
  if (!match) {
    const text = "`selector` does not match template `labels`";
    r.invalid(at.child("metadata", "labels"), labels ?? null, text);
  }
  validateTemplate(template, at, r);
  validateAlways(template, at, r, what);
}

/** Checks that pods always restart and have no deadline. */
export function validateAlways(template: Obj, path: Path, r: Report, what: string): void {
  const policy = template.spec?.restartPolicy;
  if (policy !== "Always") {
    r.notSupported(path.child("spec", "restartPolicy"), policy ?? "", ["Always"]);
  }
  if (isSet(template.spec?.activeDeadlineSeconds)) {
    const text = `activeDeadlineSeconds in ${what} is not Supported`;
    r.forbidden(path.child("spec", "activeDeadlineSeconds"), text);
  }
}

/** Checks a number of pods or a percentage. */
export function validateIntOrPercent(value: Obj, path: Path, r: Report): void {
  if (typeof value === "string") r.check(isPercent(value), path, value);
  else if (value < 0) r.invalid(path, value, NEGATIVE);
}

/** The number in a number of pods or a percentage. */
export function intOrPercent(value: Obj): number {
  if (typeof value === "number") return value;
  if (typeof value !== "string") return 0;
  return isPercent(value).length === 0 ? Number(value.slice(0, -1)) : Number.parseInt(value) || 0;
}

/** Checks that a percentage is at most 100. */
export function validateAtMost100(value: Obj, path: Path, r: Report): void {
  if (typeof value !== "string" || isPercent(value).length > 0 || intOrPercent(value) <= 100) {
    return;
  }
  r.invalid(path, value, "must not be greater than 100%");
}
