/** Validation of ResourceQuotas and LimitRanges (upstream's `ValidateResourceQuota`, `ValidateLimitRange`). */

import { internalValue } from "./internal_value.ts";
import type { Cause, DeepReadonly, KindContext, KubeObject } from "../../machinery/types.ts";
import { isQualifiedName } from "../../machinery/names.ts";
import { type Quantity, tryParseQuantity } from "../../machinery/quantity.ts";
import {
  validateAmounts,
  validateContainerResourceName,
  validateQuotaResourceName,
  validateResourceName,
} from "./quantity_validation.ts";
import { isOvercommitAllowed, isStandardQuotaResource } from "./resource_names.ts";
import { isSet, type Path, Report, SPEC, STATUS } from "./report.ts";

// deno-lint-ignore no-explicit-any -- objects are decoded JSON; the schema walk has checked their types
type Obj = any;
type Stored = DeepReadonly<KubeObject>;

const POD_SCOPES = new Set([
  "Terminating",
  "NotTerminating",
  "NotBestEffort",
  "PriorityClass",
  "CrossNamespacePodAffinity",
]);
const SCOPES = new Set([...POD_SCOPES, "BestEffort", "VolumeAttributesClass"]);
const EXISTS_ONLY = new Set([
  "BestEffort",
  "NotBestEffort",
  "Terminating",
  "NotTerminating",
  "CrossNamespacePodAffinity",
]);
const CONFLICTS = [["BestEffort", "NotBestEffort"], ["NotTerminating", "Terminating"]];

/** Resources of pods that quotas with scopes may limit. */
const POD_QUOTA = new Set([
  "cpu",
  "memory",
  "limits.cpu",
  "limits.memory",
  "requests.cpu",
  "requests.memory",
  "pods",
]);

function scopeFits(scope: string, resource: string): boolean {
  if (POD_SCOPES.has(scope)) return POD_QUOTA.has(resource);
  if (scope === "BestEffort") return resource === "pods";
  if (scope === "VolumeAttributesClass") {
    return resource === "persistentvolumeclaims" || resource === "requests.storage";
  }
  return true;
}

function validateFit(scope: string, spec: Obj, path: Path, shown: Obj, r: Report): void {
  for (const name of Object.keys(spec.hard ?? {}).sort()) {
    if (!isStandardQuotaResource(name) || scopeFits(scope, name)) continue;
    r.invalid(path, shown, "unsupported scope applied to resource");
  }
}

function validateConflicts(scopes: ReadonlySet<string>, path: Path, shown: Obj, r: Report): void {
  for (const [a, b] of CONFLICTS) {
    if (scopes.has(a) && scopes.has(b)) r.invalid(path, shown, "conflicting scopes");
  }
}

function validateScopes(spec: Obj, r: Report): void {
  const scopes: string[] = spec.scopes ?? [];
  const at = SPEC.child("scopes");
  for (const scope of scopes) {
    if (!SCOPES.has(scope)) r.invalid(at, scopes, "unsupported scope");
    validateFit(scope, spec, at, scopes, r);
  }
  validateConflicts(new Set(scopes), at, scopes, r);
}

function validateScopeSelector(spec: Obj, r: Report): void {
  const rules: Obj[] = spec.scopeSelector?.matchExpressions ?? [];
  const at = SPEC.child("scopeSelector", "matchExpressions");
  for (const { scopeName = "", operator = "", values = [] } of rules) {
    if (!SCOPES.has(scopeName)) r.invalid(at.child("scopeName"), scopeName, "unsupported scope");
    validateFit(scopeName, spec, at, internalValue("ScopeSelector", spec.scopeSelector), r);
    if (EXISTS_ONLY.has(scopeName) && operator !== "Exists") {
      const text = "must be 'Exists' when scope is any of ResourceQuotaScopeTerminating, " +
        "ResourceQuotaScopeNotTerminating, ResourceQuotaScopeBestEffort, " +
        "ResourceQuotaScopeNotBestEffort or ResourceQuotaScopeCrossNamespacePodAffinity";
      r.invalid(at.child("operator"), operator, text);
    }
    if (operator === "In" || operator === "NotIn") {
      if (values.length === 0) {
        const text =
          "must be at least one value when `operator` is 'In' or 'NotIn' for scope selector";
        r.required(at.child("values"), text);
      }
    } else if (operator === "Exists" || operator === "DoesNotExist") {
      if (values.length > 0) {
        const text =
          "must be no value when `operator` is 'Exist' or 'DoesNotExist' for scope selector";
        r.invalid(at.child("values"), values, text);
      }
    } else r.invalid(at.child("operator"), operator, "not a valid selector operator");
  }
  validateConflicts(new Set(rules.map((rule) => rule.scopeName)), at, spec.scopes ?? null, r);
}

function validateQuotaSpec(spec: Obj, r: Report): void {
  validateAmounts(spec.hard, SPEC.child("hard"), r, validateQuotaResourceName);
  if (spec.scopes?.length) validateScopes(spec, r);
  if (isSet(spec.scopeSelector)) validateScopeSelector(spec, r);
}

function validateQuotaStatus(status: Obj, r: Report): void {
  for (const field of ["hard", "used"]) {
    validateAmounts(status[field], STATUS.child(field), r, validateQuotaResourceName);
  }
}

/** Checks a new quota. */
export function validateQuota(quota: Stored): Cause[] {
  const r = new Report();
  validateQuotaSpec(quota.spec ?? {}, r);
  validateQuotaStatus(quota.status ?? {}, r);
  return r.causes;
}

/** Checks a changed quota: its scopes stay. */
export function validateQuotaUpdate(quota: Stored, old: Stored, context: KindContext): Cause[] {
  const r = new Report();
  if (context.subresource === "status") {
    validateQuotaStatus(quota.status ?? {}, r);
    return r.causes;
  }
  const spec: Obj = quota.spec ?? {};
  validateQuotaSpec(spec, r);
  const now = new Set<string>(spec.scopes ?? []), then = new Set<string>(old.spec?.scopes ?? []);
  if (now.size !== then.size || [...now].some((scope) => !then.has(scope))) {
    r.invalid(SPEC.child("scopes"), spec.scopes ?? null, "field is immutable");
  }
  return r.causes;
}

// --- limit ranges -----------------------------------------------------------------------------------

const LIMIT_TYPES = new Set(["Pod", "Container", "PersistentVolumeClaim"]);
const LISTS = ["max", "min", "default", "defaultRequest", "maxLimitRequestRatio"] as const;

/** Checks a limit range, new or changed. */
export function validateLimitRange(range: Stored): Cause[] {
  const r = new Report();
  const types = new Set<string>();
  (range.spec?.limits ?? []).forEach((item: Obj, i: number) => {
    const { type = "" } = item;
    const at = SPEC.child("limits").index(i);
    const messages = isQualifiedName(type);
    r.check(messages, at.child("type"), type);
    if (messages.length === 0 && !type.includes("/") && !LIMIT_TYPES.has(type)) {
      r.invalid(at.child("type"), type, "must be a standard limit type or fully qualified");
    }
    if (types.has(type)) r.duplicate(at.child("type"), type);
    types.add(type);
    validateItem(item, at, r);
  });
  return r.causes;
}

function validateItem(item: Obj, path: Path, r: Report): void {
  const ofPods = item.type === "Pod";
  const nameCheck = ofPods || item.type === "Container"
    ? validateContainerResourceName
    : validateResourceName;
  const names = new Set<string>();
  for (const field of LISTS) {
    if (ofPods && (field === "default" || field === "defaultRequest")) {
      if (Object.keys(item[field] ?? {}).length > 0) {
        r.forbidden(path.child(field), "may not be specified when `type` is 'Pod'");
      }
      continue;
    }
    for (const name in item[field] ?? {}) {
      nameCheck(name, path.child(field).key(name), r);
      names.add(name);
    }
  }
  if (item.type === "PersistentVolumeClaim" && !item.min?.storage && !item.max?.storage) {
    const text = "either minimum or maximum storage value is required, but neither was provided";
    r.required(path.child("limits"), text);
  }
  for (const name of names) validateOrder(item, name, path, r);
}

function amountOf(item: Obj, field: string, name: string): Quantity | undefined {
  if (item.type === "Pod" && field.startsWith("default")) return undefined;
  const text = item[field]?.[name];
  return isSet(text) ? tryParseQuantity(text) : undefined;
}

/** min ≤ defaultRequest ≤ default ≤ max. */
function validateOrder(item: Obj, name: string, path: Path, r: Report): void {
  const min = amountOf(item, "min", name), max = amountOf(item, "max", name);
  const limit = amountOf(item, "default", name), request = amountOf(item, "defaultRequest", name);
  const say = (field: string, value: Quantity, text: string) =>
    r.invalid(path.child(field).key(name), value.toString(), text);
  if (min && max && min.compare(max) > 0) {
    say("min", min, `min value ${min} is greater than max value ${max}`);
  }
  if (request && min && min.compare(request) > 0) {
    say(
      "defaultRequest",
      request,
      `min value ${min} is greater than default request value ${request}`,
    );
  }
  if (request && max && request.compare(max) > 0) {
    say(
      "defaultRequest",
      request,
      `default request value ${request} is greater than max value ${max}`,
    );
  }
  if (request && limit && request.compare(limit) > 0) {
    const text = `default request value ${request} is greater than default limit value ${limit}`;
    say("defaultRequest", request, text);
  }
  if (limit && min && min.compare(limit) > 0) {
    say("default", min, `min value ${min} is greater than default value ${limit}`);
  }
  if (limit && max && limit.compare(max) > 0) {
    say("default", max, `default value ${limit} is greater than max value ${max}`);
  }
  validateRatio(amountOf(item, "maxLimitRequestRatio", name), min, max, (value, text) => {
    say("maxLimitRequestRatio", value, text);
  });
  if (!isOvercommitAllowed(name) && limit && request && !limit.equals(request)) {
    const text = `default value ${limit} must equal to defaultRequest value ${request} in ${name}`;
    say("defaultRequest", request, text);
  }
}

function validateRatio(
  ratio: Quantity | undefined,
  min: Quantity | undefined,
  max: Quantity | undefined,
  say: (value: Quantity, text: string) => void,
): void {
  if (!ratio) return;
  if (ratio.milliValue() < 1000) say(ratio, `ratio ${ratio} is less than 1`);
  if (!min || !max) return;
  const most = max.milliValue() / min.milliValue();
  if (ratio.milliValue() / 1000 > most) {
    say(ratio, `ratio ${ratio} is greater than max/min = ${most.toFixed(6)}`);
  }
}
