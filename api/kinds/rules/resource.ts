/**
 * Rules of dynamic resource allocation (upstream's `pkg/apis/resource`): defaults, the shapes of older versions,
 * taint rules. Claims and slices have their validation in files of their own.
 */

import { loadExpressions } from "../../machinery/expressions.ts";
import { isDns1123Label, nameIsDnsSubdomain, nameIsPathSegment } from "../../machinery/names.ts";
import { formatTime } from "../../machinery/time.ts";
import type {
  Cause,
  Column,
  DeepReadonly,
  Kind,
  KindContext,
  KindHooks,
  KubeObject,
} from "../../machinery/types.ts";
import { bindsByConditions } from "../gates.ts";
import { AGE_COLUMN, column, NAME_COLUMN } from "./cells.ts";
import { validateConditions } from "./condition_validation.ts";
import { raiseGeneration, statusHooks } from "./prepare.ts";
import { isSet, Report, SPEC, STATUS } from "./report.ts";
import { dropDeallocated, dropDisabledStatus } from "./resource_claim_status.ts";
import * as claims from "./resource_claim_validation.ts";
import { validatePoolName, validateTaint } from "./resource_parts_validation.ts";
import { validateSlice } from "./resource_slice_validation.ts";
import { validateCsiDriverName } from "./volume_sources.ts";

// deno-lint-ignore no-explicit-any -- objects are decoded JSON; the schema walk has checked their types
type Obj = any;
type Stored = DeepReadonly<KubeObject>;

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

const claimStatus = statusHooks();

const claimHooks: KindHooks = {
  load: loadExpressions,
  prepareCreate: claimStatus.prepareCreate,
  prepareUpdate(claim, old, context) {
    claimStatus.prepareUpdate(claim, old, context);
    if (context.subresource !== "status") return;
    dropDisabledStatus(claim, old, context);
    dropDeallocated(claim, old);
  },
};

// --- taints ----------------------------------------------------------------------------------------------

const TAINT_CONDITIONS_MAX = 8;

/** A rule's taint says since when it is there; a new effect is there from now on, unless its writer says otherwise. */
function stampRule(rule: KubeObject, { now }: KindContext, old?: Stored): void {
  const taint = (rule.spec ??= {}).taint ??= {};
  const before = old?.spec?.taint;
  if (before && taint.effect !== before.effect && taint.timeAdded === before.timeAdded) {
    delete taint.timeAdded;
  }
  taint.timeAdded ??= formatTime(now);
}

/** So do those of the devices in a slice: tolerations count from then on. */
function stampDevices(slice: KubeObject, { now }: KindContext): void {
  for (const entry of slice.spec?.devices ?? []) {
    for (const taint of (entry.basic ?? entry).taints ?? []) taint.timeAdded ??= formatTime(now);
  }
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

/** What binds pods once a device is there; off together with the gates of that. */
const BINDING = ["bindingConditions", "bindingFailureConditions", "bindsToNode"];
/** Fields of a device, and of its attributes, that are off: those of one list go together. */
const DEVICE_OFF = ["nodeAllocatableResourceMappings"];
const ATTRIBUTE_OFF = ["bools", "ints", "strings", "versions"];

type Part = { fields: readonly string[]; of: Obj; field: string };

function* partsOff(slice: Stored | undefined, { features }: KindContext): Generator<Part> {
  const ofDevice = bindsByConditions(features) ? [DEVICE_OFF] : [DEVICE_OFF, BINDING];
  const present = function* (of: Obj, fields: readonly string[]): Generator<Part> {
    for (const field of fields) if (of[field] !== undefined) yield { fields, of, field };
  };
  for (const entry of slice?.spec?.devices ?? []) {
    const device = entry.basic ?? entry;
    for (const fields of ofDevice) yield* present(device, fields);
    for (const attribute of Object.values(device.attributes ?? {})) {
      yield* present(attribute, ATTRIBUTE_OFF);
    }
  }
}

/** Drops what is off from a slice, unless the stored one has such fields. */
function dropDisabled(slice: KubeObject, context: KindContext, old?: Stored): void {
  const found = [...partsOff(slice, context)];
  if (found.length === 0) return;
  const before = new Set([...partsOff(old, context)].map(({ fields }) => fields));
  for (const { fields, of, field } of found) if (!before.has(fields)) delete of[field];
}

const sliceHooks: KindHooks = {
  prepareCreate(slice, context) {
    stampDevices(slice, context);
    dropDisabled(slice, context);
  },
  prepareUpdate(slice, old, context) {
    stampDevices(slice, context);
    // What is dropped then has counted as a change
    raiseGeneration(slice, old, ["spec"]);
    dropDisabled(slice, context, old);
  },
};

/** A v1beta1 slice with its devices as v1 has them. */
function sliceInV1(slice: Stored): Stored {
  const devices = slice.spec?.devices?.map(({ basic, ...device }: Obj) => ({
    ...device,
    ...basic,
  }));
  return { ...slice, spec: { ...slice.spec, ...(devices && { devices }) } } as Stored;
}

/** Hooks by kind; `.v1beta1` of the shapes that version has. */
export const hooks: Record<string, KindHooks> = {
  ResourceClaim: {
    ...claimHooks,
    defaults: (claim) => defaultClaimSpec(claim.spec),
    validate(claim, context) {
      const r = new Report();
      claims.validateAdminAccess(claim.spec?.devices?.requests, claims.REQUESTS, context, r);
      claims.validateClaimSpec(claim.spec, SPEC, r);
      return r.causes;
    },
    validateUpdate: claims.validateClaimUpdate,
  },
  "ResourceClaim.v1beta1": {
    ...claimHooks,
    defaults: (claim) => defaultBetaClaimSpec(claim.spec),
    validate(claim, context) {
      const r = new Report();
      const spec = specInV1(claim.spec);
      claims.validateAdminAccess(spec?.devices?.requests, claims.REQUESTS, context, r);
      claims.validateClaimSpec(spec, SPEC, r);
      return r.causes;
    },
    validateUpdate: (claim, old, context) =>
      claims.validateClaimUpdate(claimInV1(claim), claimInV1(old), context),
  },
  "ResourceClaimTemplate.v1beta1": {
    load: loadExpressions,
    defaults: (template) => defaultBetaClaimSpec(template.spec?.spec),
    validate: (template, context) => claims.validateTemplate(templateInV1(template), context),
    validateUpdate: (template, old) =>
      claims.validateTemplateUpdate(templateInV1(template), templateInV1(old)),
  },
  ResourceClaimTemplate: {
    load: loadExpressions,
    defaults: (template) => defaultClaimSpec(template.spec?.spec),
    validate: claims.validateTemplate,
    validateUpdate: claims.validateTemplateUpdate,
  },
  DeviceClass: {
    ...counted,
    load: loadExpressions,
    validateName: (name, prefix) =>
      prefix ? nameIsPathSegment(name, true) : nameIsDnsSubdomain(name, false),
    validate: (deviceClass) => claims.validateClass(deviceClass),
    validateUpdate: (deviceClass) => claims.validateClass(deviceClass),
  },
  ResourceSlice: {
    ...sliceHooks,
    validate: (slice) => validateSlice(slice),
    validateUpdate: (slice, old) => validateSlice(slice, old),
  },
  "ResourceSlice.v1beta1": {
    ...sliceHooks,
    validate: (slice) => validateSlice(sliceInV1(slice)),
    validateUpdate: (slice, old) => validateSlice(sliceInV1(slice), sliceInV1(old)),
  },
  DeviceTaintRule: {
    prepareCreate(rule, context) {
      taintRule.prepareCreate(rule, context);
      stampRule(rule, context);
    },
    prepareUpdate(rule, old, context) {
      if (context.subresource !== "status") stampRule(rule, context, old);
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
