/**
 * Rules of dynamic resource allocation (upstream's `pkg/apis/resource`): what names and numbers of claims,
 * classes and slices must be. CEL selectors are checked for their length only; devices' attributes,
 * counters and request policies are taken as they are.
 */

import { internalValue } from "./internal_value.ts";
import type {
  Cause,
  Column,
  DeepReadonly,
  Kind,
  KindContext,
  KindHooks,
  KubeObject,
} from "../../machinery/types.ts";
import {
  isDns1123Label,
  isDns1123Subdomain,
  isLabelValue,
  isQualifiedName,
} from "../../machinery/names.ts";
import { formatTime } from "../../machinery/time.ts";
import { AGE_COLUMN, column, NAME_COLUMN } from "./cells.ts";
import { validateConditions } from "./condition_validation.ts";
import { semanticEqual } from "./equality.ts";
import { validateTemplateMeta } from "./meta.ts";
import { raiseGeneration, statusHooks } from "./prepare.ts";
import { isExtendedResource } from "./resource_names.ts";
import { isSet, type Path, Report, SPEC, STATUS } from "./report.ts";
import { validateCsiDriverName } from "./volume_sources.ts";

// deno-lint-ignore no-explicit-any -- objects are decoded JSON; the schema walk has checked their types
type Obj = any;
type Stored = DeepReadonly<KubeObject>;

const REQUESTS_MAX = 32;
const SUBREQUESTS_MAX = 8;
const CONSTRAINTS_MAX = 32;
const CONFIGS_MAX = 32;
const SELECTORS_MAX = 32;
const EXPRESSION_LENGTH_MAX = 10 * 1024;
const POOL_NAME_LENGTH_MAX = 253;
const DEVICES_MAX = 128;
const RESERVED_MAX = 256;
const TAINT_EFFECTS = ["NoExecute", "NoSchedule", "None"];
const IMMUTABLE = "field is immutable";

/** Checks a list's length and items, and that no key occurs twice. */
function each(
  list: readonly Obj[] | undefined,
  max: number,
  path: Path,
  r: Report,
  check: (item: Obj, path: Path) => void,
  key?: (item: Obj) => string,
): void {
  if (!list) return;
  if (list.length > max) r.tooMany(path, list.length, max);
  const seen = new Set<string>();
  list.forEach((item, i) => {
    check(item, path.index(i));
    if (!key) return;
    const name = key(item);
    if (seen.has(name)) r.duplicate(path.index(i), name);
    seen.add(name);
  });
}

// --- claims ----------------------------------------------------------------------------------------------

function requestsOf(spec: Obj): Obj[] {
  return spec?.devices?.requests ?? [];
}

function defaultClaimSpec(spec: Obj): void {
  for (const request of requestsOf(spec)) {
    for (const part of [request.exactly, ...(request.firstAvailable ?? [])]) {
      if (!part) continue;
      part.allocationMode ||= "ExactCount";
      if (part.allocationMode === "ExactCount") part.count ||= 1;
    }
  }
}

/** Of v1beta1, where a request's exact part is not in a struct of its own. */
function defaultBetaClaimSpec(spec: Obj): void {
  for (const request of requestsOf(spec)) {
    const parts = request.deviceClassName ? [request] : [];
    for (const part of [...parts, ...(request.firstAvailable ?? [])]) {
      part.allocationMode ||= "ExactCount";
      if (part.allocationMode === "ExactCount") part.count ||= 1;
    }
  }
}

/** A v1beta1 claim's spec as v1 has it: that is what upstream checks. */
function specInV1(spec: Obj): Obj {
  if (!spec?.devices?.requests) return spec;
  const requests = requestsOf(spec).map(({ name, firstAvailable, ...exactly }) => ({
    name,
    ...(firstAvailable && { firstAvailable }),
    ...(Object.values(exactly).some((value) => value) && { exactly }),
  }));
  return { ...spec, devices: { ...spec.devices, requests } };
}

const claimInV1 = (claim: Stored): Stored => ({ ...claim, spec: specInV1(claim.spec) }) as Stored;
const templateInV1 = (template: Stored): Stored =>
  ({ ...template, spec: { ...template.spec, spec: specInV1(template.spec?.spec) } }) as Stored;

function validateClaimSpec(spec: Obj, path: Path, r: Report): void {
  const devices = spec?.devices ?? {};
  const at = path.child("devices");
  const name = (request: Obj) => request.name ?? "";
  each(devices.requests, REQUESTS_MAX, at.child("requests"), r, (request, path) => {
    validateRequest(request, path, r);
  }, name);
  const names = new Set<string>();
  for (const request of devices.requests ?? []) {
    names.add(name(request));
    for (const sub of request.firstAvailable ?? []) names.add(`${name(request)}/${name(sub)}`);
  }
  each(devices.constraints, CONSTRAINTS_MAX, at.child("constraints"), r, (constraint, path) => {
    validateReferences(constraint.requests, names, path.child("requests"), r);
    if (!constraint.matchAttribute && !constraint.distinctAttribute) {
      r.required(path, "exactly one of `matchAttribute` or `distinctAttribute` is required");
    }
  });
  each(devices.config, CONFIGS_MAX, at.child("config"), r, (config, path) => {
    validateReferences(config.requests, names, path.child("requests"), r);
    validateConfig(config, path, r);
  });
}

function validateReferences(
  list: readonly string[] | undefined,
  names: ReadonlySet<string>,
  path: Path,
  r: Report,
): void {
  each(list, REQUESTS_MAX, path, r, (name, path) => {
    if (!names.has(name)) {
      r.invalid(
        path,
        name,
        "must be the name of a request in the claim or the name of a request and a subrequest " +
          "separated by '/'",
      );
    }
  }, (name) => name);
}

function validateConfig(config: Obj, path: Path, r: Report): void {
  if (!config.opaque) r.required(path.child("opaque"));
  else {
    validateCsiDriverName(config.opaque.driver ?? "", path.child("opaque", "driver"), r);
    const { parameters } = config.opaque;
    const at = path.child("opaque", "parameters");
    if (!isSet(parameters)) r.required(at);
    else if (typeof parameters !== "object" || Array.isArray(parameters)) {
      r.invalid(at, "<value omitted>", "must be a valid JSON object");
    }
  }
}

function validateRequest(request: Obj, path: Path, r: Report): void {
  r.check(isDns1123Label(request.name ?? ""), path.child("name"), request.name ?? "");
  const alternatives: Obj[] = request.firstAvailable ?? [];
  if (alternatives.length > 0 && request.exactly) {
    r.invalid(
      path,
      null,
      "exactly one of `exactly` or `firstAvailable` is required, but multiple fields are set",
    );
  } else if (alternatives.length > 0) {
    each(alternatives, SUBREQUESTS_MAX, path.child("firstAvailable"), r, (sub, path) => {
      r.check(isDns1123Label(sub.name ?? ""), path.child("name"), sub.name ?? "");
      validateExact(sub, path, r);
    }, (sub) => sub.name ?? "");
  } else if (request.exactly) validateExact(request.exactly, path.child("exactly"), r);
  else r.required(path, "exactly one of `exactly` or `firstAvailable` is required");
}

function validateExact(request: Obj, path: Path, r: Report): void {
  const name = request.deviceClassName ?? "";
  if (!name) r.required(path.child("deviceClassName"));
  else r.check(isDns1123Subdomain(name), path.child("deviceClassName"), name);
  validateSelectors(request.selectors, path.child("selectors"), r);
  validateAllocation(request, path, r);
  request.tolerations?.forEach((toleration: Obj, i: number) => {
    validateToleration(toleration, path.child("tolerations").index(i), r);
  });
}

function validateToleration(toleration: Obj, path: Path, r: Report): void {
  const { key = "", operator = "", value = "", effect = "" } = toleration;
  if (key) r.check(isQualifiedName(key), path.child("key"), key);
  if (operator === "Exists") {
    if (value) r.invalid(path.child("value"), value, "must be empty for operator `Exists`");
  } else if (operator === "Equal") r.check(isLabelValue(value), path.child("value"), value);
  else if (operator === "") r.required(path.child("operator"));
  else r.notSupported(path.child("operator"), operator, ["Equal", "Exists"]);
  if (effect && !TAINT_EFFECTS.includes(effect)) {
    r.notSupported(path.child("effect"), effect, TAINT_EFFECTS);
  }
}

function validateAllocation(request: Obj, path: Path, r: Report): void {
  const { allocationMode: mode = "", count = 0 } = request;
  if (mode === "All") {
    if (count !== 0) {
      r.invalid(
        path.child("count"),
        count,
        "must not be specified when allocationMode is 'All'",
      );
    }
  } else if (mode === "ExactCount") {
    if (count <= 0) r.invalid(path.child("count"), count, "must be greater than zero");
  } else r.notSupported(path.child("allocationMode"), mode, ["All", "ExactCount"]);
}

function validateSelectors(selectors: Obj[] | undefined, path: Path, r: Report): void {
  each(selectors, SELECTORS_MAX, path, r, (selector, path) => {
    if (!selector.cel) r.required(path.child("cel"));
    else if ((selector.cel.expression ?? "").length > EXPRESSION_LENGTH_MAX) {
      r.tooLong(path.child("cel", "expression"), EXPRESSION_LENGTH_MAX);
    }
  });
}

function immutableSpec(object: Stored, old: Stored, r: Report): void {
  if (!semanticEqual(object.spec, old.spec)) {
    r.invalid(SPEC, internalValue("ResourceClaimSpec", object.spec), IMMUTABLE);
  }
}

function validateClaimUpdate(claim: Stored, old: Stored, context: KindContext): Cause[] {
  const r = new Report();
  immutableSpec(claim, old, r);
  if (context.subresource !== "status") return r.causes;
  const { reservedFor, allocation } = claim.status ?? {};
  const path = STATUS.child("reservedFor");
  each(reservedFor, RESERVED_MAX, path, r, (user, path) => {
    if (!user.resource) r.required(path.child("resource"));
    if (!user.name) r.required(path.child("name"));
    if (!user.uid) r.required(path.child("uid"));
  }, (user) => user.uid ?? "");
  if (reservedFor?.length > 0 && !allocation) {
    r.forbidden(path, "may not be specified when `allocated` is not set");
  } else if (reservedFor?.length > 0 && claim.metadata.deletionTimestamp) {
    const before = new Set((old.status?.reservedFor ?? []).map((user: Obj) => user.uid));
    if (reservedFor.some((user: Obj) => !before.has(user.uid))) {
      r.forbidden(
        path,
        "new entries may not be added while `deallocationRequested` or `deletionTimestamp` are set",
      );
    }
  }
  const given = old.status?.allocation;
  if (given && allocation && !semanticEqual(given, allocation)) {
    r.invalid(STATUS.child("allocation"), allocation, IMMUTABLE);
  }
  return r.causes;
}

// --- templates and classes -------------------------------------------------------------------------------

function validateTemplate({ spec = {} }: Stored): Cause[] {
  const r = new Report();
  validateTemplateMeta(spec.metadata, SPEC.child("metadata"), r);
  validateClaimSpec(spec.spec, SPEC.child("spec"), r);
  return r.causes;
}

function validateTemplateUpdate(template: Stored, old: Stored): Cause[] {
  const r = new Report();
  r.add(validateTemplate(template));
  if (semanticEqual(template.spec, old.spec)) return r.causes;
  const { metadata, spec } = template.spec ?? {};
  const shown = { ...metadata, Spec: internalValue("ResourceClaimSpec", spec ?? {}) };
  r.invalid(SPEC, shown, IMMUTABLE);
  return r.causes;
}

function validateClass({ spec = {} }: Stored): Cause[] {
  const r = new Report();
  validateSelectors(spec.selectors, SPEC.child("selectors"), r);
  each(spec.config, CONFIGS_MAX, SPEC.child("config"), r, (c, path) => {
    validateConfig(c, path, r);
  });
  const name = spec.extendedResourceName;
  if (isSet(name) && !isExtendedResource(name)) {
    r.invalid(SPEC.child("extendedResourceName"), name, "must be a valid extended resource name");
  }
  return r.causes;
}

// --- slices ----------------------------------------------------------------------------------------------

const NODE_CHOICE = "exactly one of `nodeName`, `nodeSelector`, `allNodes`, " +
  "`perDeviceNodeSelection` is required";

function validateSlice(slice: Stored, old?: Stored): Cause[] {
  const r = new Report();
  const { spec } = slice;
  validateCsiDriverName(spec.driver ?? "", SPEC.child("driver"), r);
  const pool = spec.pool ?? {};
  const at = SPEC.child("pool");
  validatePoolName(pool.name ?? "", at.child("name"), r);
  if ((pool.resourceSliceCount ?? 0) <= 0) {
    const count = pool.resourceSliceCount ?? 0;
    r.invalid(at.child("resourceSliceCount"), count, "must be greater than zero");
  }
  if ((pool.generation ?? 0) < 0) {
    r.invalid(at.child("generation"), pool.generation, "must be greater than or equal to zero");
  }
  if (old) {
    const pairs: [Path, unknown, unknown][] = [
      [at.child("name"), pool.name, old.spec?.pool?.name],
      [SPEC.child("driver"), spec.driver, old.spec?.driver],
      [SPEC.child("nodeName"), spec.nodeName, old.spec?.nodeName],
    ];
    for (const [path, now, before] of pairs) {
      if (now !== before) r.invalid(path, now ?? (path === pairs[2][0] ? null : ""), IMMUTABLE);
    }
  }
  validateNodeChoice(spec, r);
  if (spec.sharedCounters && spec.devices) {
    r.invalid(SPEC, "", "only one of `sharedCounters` or `devices` is allowed");
  }
  each(spec.devices, DEVICES_MAX, SPEC.child("devices"), r, (device, path) => {
    r.check(isDns1123Label(device.name ?? ""), path.child("name"), device.name ?? "");
    const before = old?.spec?.devices?.find((other: Obj) => other.name === device.name);
    device.taints?.forEach((taint: Obj, i: number) => {
      validateTaint(taint, path.child("taints").index(i), r, before?.taints?.[i]);
    });
  }, (device) => device.name ?? "");
  return r.causes;
}

function validatePoolName(name: string, path: Path, r: Report): void {
  if (name === "") return r.required(path);
  if (name.length > POOL_NAME_LENGTH_MAX) r.tooLong(path, POOL_NAME_LENGTH_MAX);
  for (const part of name.split("/")) r.check(isDns1123Subdomain(part), path, part);
}

function validateNodeChoice(spec: Obj, r: Report): void {
  const chosen: string[] = [];
  if (isSet(spec.nodeName)) {
    if (spec.nodeName) {
      chosen.push("`nodeName`");
      r.check(isDns1123Subdomain(spec.nodeName), SPEC.child("nodeName"), spec.nodeName);
    } else {
      const message = "must be either unset or set to a non-empty string";
      r.invalid(SPEC.child("nodeName"), "", message);
    }
  }
  if (spec.nodeSelector) chosen.push("`nodeSelector`");
  for (const field of ["allNodes", "perDeviceNodeSelection"]) {
    if (spec[field]) chosen.push(`\`${field}\``);
    else if (isSet(spec[field])) {
      r.invalid(SPEC.child(field), false, "must be either unset or set to true");
    }
  }
  if (chosen.length === 0) r.required(SPEC, NODE_CHOICE);
  else if (chosen.length > 1) {
    r.invalid(SPEC, `{${chosen.join(", ")}}`, `${NODE_CHOICE}, but multiple fields are set`);
  }
}

// --- taints ----------------------------------------------------------------------------------------------

const TAINT_CONDITIONS_MAX = 8;

/** A taint says since when it is there. */
function stampTaint(rule: KubeObject, context: KindContext): void {
  const taint = (rule.spec ??= {}).taint ??= {};
  taint.timeAdded ??= formatTime(context.now);
}

function validateTaintRule({ spec = {} }: Stored, old?: Stored): Cause[] {
  const r = new Report();
  const { driver, pool, device } = spec.deviceSelector ?? {};
  const at = SPEC.child("deviceSelector");
  if (isSet(driver)) validateCsiDriverName(driver, at.child("driver"), r);
  if (isSet(pool)) validatePoolName(pool, at.child("pool"), r);
  if (isSet(device)) r.check(isDns1123Label(device), at.child("device"), device);
  validateTaint(spec.taint ?? {}, SPEC.child("taint"), r, old && (old.spec?.taint ?? {}));
  return r.causes;
}

/** Checks a taint; an effect that was there before is not judged again. */
function validateTaint(taint: Obj, path: Path, r: Report, old?: Obj): void {
  const { key = "", value = "", effect = "" } = taint;
  r.check(isQualifiedName(key), path.child("key"), key);
  if (value) r.check(isLabelValue(value), path.child("value"), value);
  if (old && (old.effect ?? "") === effect) return;
  if (!effect) r.required(path.child("effect"));
  else if (!TAINT_EFFECTS.includes(effect)) {
    r.notSupported(path.child("effect"), effect, TAINT_EFFECTS);
  }
}

function validateTaintRuleUpdate(rule: Stored, old: Stored, context: KindContext): Cause[] {
  if (context.subresource !== "status") return validateTaintRule(rule, old);
  const r = new Report();
  const conditions: readonly Obj[] = rule.status?.conditions ?? [];
  const at = STATUS.child("conditions");
  validateConditions([...conditions], at, r);
  if (conditions.length > TAINT_CONDITIONS_MAX) {
    r.tooMany(at, conditions.length, TAINT_CONDITIONS_MAX);
  }
  return r.causes;
}

const taintRule = statusHooks({ generation: true });

const counted: KindHooks = {
  prepareUpdate: (object, old) => raiseGeneration(object, old, ["spec"]),
};

/** Hooks by kind; `.v1beta1` of the shapes that version has. */
export const hooks: Record<string, KindHooks> = {
  ResourceClaim: {
    ...statusHooks(),
    defaults: (claim) => defaultClaimSpec(claim.spec),
    validate(claim) {
      const r = new Report();
      validateClaimSpec(claim.spec, SPEC, r);
      return r.causes;
    },
    validateUpdate: validateClaimUpdate,
  },
  "ResourceClaim.v1beta1": {
    ...statusHooks(),
    defaults: (claim) => defaultBetaClaimSpec(claim.spec),
    validate(claim) {
      const r = new Report();
      validateClaimSpec(specInV1(claim.spec), SPEC, r);
      return r.causes;
    },
    validateUpdate: (claim, old, context) =>
      validateClaimUpdate(claimInV1(claim), claimInV1(old), context),
  },
  "ResourceClaimTemplate.v1beta1": {
    defaults: (template) => defaultBetaClaimSpec(template.spec?.spec),
    validate: (template) => validateTemplate(templateInV1(template)),
    validateUpdate: (template, old) =>
      validateTemplateUpdate(templateInV1(template), templateInV1(old)),
  },
  ResourceClaimTemplate: {
    defaults: (template) => defaultClaimSpec(template.spec?.spec),
    validate: validateTemplate,
    validateUpdate: validateTemplateUpdate,
  },
  DeviceClass: {
    ...counted,
    validate: (deviceClass) => validateClass(deviceClass),
    validateUpdate: (deviceClass) => validateClass(deviceClass),
  },
  ResourceSlice: {
    ...counted,
    validate: (slice) => validateSlice(slice),
    validateUpdate: (slice, old) => validateSlice(slice, old),
  },
  "ResourceSlice.v1beta1": counted,
  DeviceTaintRule: {
    prepareCreate(rule, context) {
      taintRule.prepareCreate(rule, context);
      stampTaint(rule, context);
    },
    prepareUpdate(rule, old, context) {
      if (context.subresource !== "status") stampTaint(rule, context);
      taintRule.prepareUpdate(rule, old, context);
    },
    validate: (rule) => validateTaintRule(rule),
    validateUpdate: validateTaintRuleUpdate,
  },
};

// --- columns and fields ----------------------------------------------------------------------------------

function claimState({ metadata, status }: Stored): string {
  const states = metadata.deletionTimestamp ? ["deleted"] : [];
  if (!status?.allocation) {
    if (!metadata.deletionTimestamp) states.push("pending");
  } else {
    states.push("allocated");
    if (status.reservedFor?.length > 0) states.push("reserved");
  }
  return states.join(",");
}

const claimColumns: Column[] = [NAME_COLUMN, column("State", claimState), AGE_COLUMN];
const sliceColumns: Column[] = [
  NAME_COLUMN,
  column("Node", ({ spec }) => spec?.nodeName ?? ""),
  column("Driver", ({ spec }) => spec?.driver ?? ""),
  column("Pool", ({ spec }) => spec?.pool?.name ?? ""),
  AGE_COLUMN,
];

/** Columns by kind. */
export const columns: Record<string, Column[]> = {
  DeviceClass: [NAME_COLUMN, AGE_COLUMN],
  ResourceClaim: claimColumns,
  "ResourceClaim.v1beta1": claimColumns,
  ResourceClaimTemplate: [NAME_COLUMN, AGE_COLUMN],
  "ResourceClaimTemplate.v1beta1": [NAME_COLUMN, AGE_COLUMN],
  ResourceSlice: sliceColumns,
  "ResourceSlice.v1beta1": sliceColumns,
  DeviceTaintRule: [
    NAME_COLUMN,
    column("Key", ({ spec }) => spec?.taint?.key ?? ""),
    column("Value", ({ spec }) => spec?.taint?.value ?? ""),
    column("Effect", ({ spec }) => spec?.taint?.effect ?? ""),
    column("TimeAdded", ({ spec }) => spec?.taint?.timeAdded ?? ""),
    AGE_COLUMN,
  ],
};

const sliceFields: Kind["fields"] = {
  "spec.driver": ({ spec }) => spec?.driver ?? "",
  "spec.nodeName": ({ spec }) => spec?.nodeName ?? "",
};

/** Selectable fields by kind. */
export const fields: Record<string, Kind["fields"]> = {
  ResourceSlice: sliceFields,
  "ResourceSlice.v1beta1": sliceFields,
};
