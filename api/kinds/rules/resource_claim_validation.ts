/**
 * Validation of ResourceClaims, their templates and DeviceClasses (upstream's `pkg/apis/resource/validation`): what
 * is asked for, and what was allocated.
 */

import {
  checkInterfaceAddress,
  isDns1123Label,
  isDns1123Subdomain,
  isLabelValue,
  isQualifiedName,
} from "../../machinery/names.ts";
import { compiledExpression } from "../../machinery/expressions.ts";
import type { Cause, DeepReadonly, KindContext, KubeObject } from "../../machinery/types.ts";
import { validateConditions } from "./condition_validation.ts";
import { semanticEqual } from "./equality.ts";
import { internalValue } from "./internal_value.ts";
import { validateTemplateMeta } from "./meta.ts";
import { validateNodeSelector } from "./pod_affinity.ts";
import { isSet, type Path, Report, SPEC, STATUS } from "./report.ts";
import { authorizeStatus, deviceId, deviceKey, granted } from "./resource_claim_status.ts";
import { isExtendedResource } from "./resource_names.ts";
import {
  each,
  TAINT_EFFECTS,
  validateBindings,
  validateConfig,
  validateFullName,
  validatePoolName,
  validateRaw,
} from "./resource_parts_validation.ts";
import { validateCsiDriverName } from "./volume_sources.ts";

// deno-lint-ignore no-explicit-any -- objects are decoded JSON; the schema walk has checked their types
type Obj = any;
type Stored = DeepReadonly<KubeObject>;

const REQUESTS_MAX = 32;
const SUBREQUESTS_MAX = 8;
const CONSTRAINTS_MAX = 32;
const CONFIGS_MAX = 32;
const RESULTS_MAX = 32;
const SELECTORS_MAX = 32;
const EXPRESSION_LENGTH_MAX = 10 * 1024;
const RESERVED_MAX = 256;
const CONDITIONS_MAX = 8;
const IPS_MAX = 16;
const INTERFACE_LENGTH_MAX = 256;
const HARDWARE_LENGTH_MAX = 128;
const IMMUTABLE = "field is immutable";

/** Also of templates, whose requests lie deeper. */
export const REQUESTS = SPEC.child("devices", "requests");

const nameOf = (named: Obj): string => named.name ?? "";

// --- what is asked for -----------------------------------------------------------------------------------

/** Checks what a claim asks for. */
export function validateClaimSpec(spec: Obj, path: Path, r: Report): void {
  const devices = spec?.devices ?? {};
  const at = path.child("devices");
  const names = requestNames(devices);
  each(devices.requests, REQUESTS_MAX, at.child("requests"), r, {
    check: (request, path) => validateRequest(request, path, r),
    key: nameOf,
  });
  each(devices.constraints, CONSTRAINTS_MAX, at.child("constraints"), r, {
    check: (constraint, path) => validateConstraint(constraint, names, path, r),
  });
  each(devices.config, CONFIGS_MAX, at.child("config"), r, {
    check(config, path) {
      validateReferences(config.requests, names, path.child("requests"), r);
      validateConfig(config, path, r);
    },
  });
}

/** The names that a claim's parts may refer to: requests, and the alternatives of one. */
function requestNames(devices: Obj): Set<string> {
  const names = new Set<string>();
  for (const request of devices?.requests ?? []) {
    names.add(nameOf(request));
    for (const sub of request.firstAvailable ?? []) {
      names.add(`${nameOf(request)}/${nameOf(sub)}`);
    }
  }
  return names;
}

function validateConstraint(
  constraint: Obj,
  names: ReadonlySet<string>,
  path: Path,
  r: Report,
): void {
  validateReferences(constraint.requests, names, path.child("requests"), r);
  const { matchAttribute, distinctAttribute } = constraint;
  if (isSet(matchAttribute)) validateFullName(matchAttribute, path.child("matchAttribute"), r);
  else if (isSet(distinctAttribute)) {
    validateFullName(distinctAttribute, path.child("distinctAttribute"), r);
  } else {
    const text = 'exactly one of "matchAttribute" or "distinctAttribute" is required, ' +
      "but multiple fields are set";
    r.required(path, text);
  }
}

function validateReferences(
  list: readonly string[] | undefined,
  names: ReadonlySet<string>,
  path: Path,
  r: Report,
): void {
  each(list, REQUESTS_MAX, path, r, {
    check: (name, path) => validateReference(name, names, path, r),
    key: (name) => name,
  });
}

const REFERENCE = "must be the name of a request in the claim or the name of a request and a " +
  "subrequest separated by '/'";

function validateReference(
  name: string,
  names: ReadonlySet<string>,
  path: Path,
  r: Report,
): void {
  const parts = name.split("/");
  if (parts.length > 2) return r.invalid(path, name, REFERENCE);
  for (const part of parts) r.check(isDns1123Label(part), path, part);
  if (!names.has(name)) r.invalid(path, name, REFERENCE);
}

const REQUEST_CHOICE = "exactly one of `exactly` or `firstAvailable` is required";

function validateRequest(request: Obj, path: Path, r: Report): void {
  r.check(isDns1123Label(nameOf(request)), path.child("name"), nameOf(request));
  const alternatives: Obj[] = request.firstAvailable ?? [];
  if (alternatives.length > 0 && request.exactly) {
    r.invalid(path, null, `${REQUEST_CHOICE}, but multiple fields are set`);
  } else if (alternatives.length > 0) {
    each(alternatives, SUBREQUESTS_MAX, path.child("firstAvailable"), r, {
      check(sub, path) {
        r.check(isDns1123Label(nameOf(sub)), path.child("name"), nameOf(sub));
        validateExact(sub, path, r);
      },
      key: nameOf,
    });
  } else if (request.exactly) validateExact(request.exactly, path.child("exactly"), r);
  else r.required(path, REQUEST_CHOICE);
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
    if (count === 0) return;
    const text = "must not be specified when allocationMode is 'All'";
    r.invalid(path.child("count"), count, text);
  } else if (mode === "ExactCount") {
    if (count <= 0) r.invalid(path.child("count"), count, "must be greater than zero");
  } else r.notSupported(path.child("allocationMode"), mode, ["All", "ExactCount"]);
}

/** Checks CEL about a device. That it may be too costly is not estimated: sizes of devices are not known to it. */
export function validateSelectors(selectors: Obj[] | undefined, path: Path, r: Report): void {
  each(selectors, SELECTORS_MAX, path, r, {
    check(selector, path) {
      if (!selector.cel) return r.required(path.child("cel"));
      const text: string = selector.cel.expression ?? "";
      const at = path.child("cel", "expression");
      if (text.length > EXPRESSION_LENGTH_MAX) return r.tooLong(at, EXPRESSION_LENGTH_MAX);
      const { problem } = compiledExpression(text, "device", ["bool", "any", "dyn"]);
      if (problem) r.invalid(at, text, problem);
    },
  });
}

const ADMIN_LABEL = "resource.kubernetes.io/admin-access";

/** Access to devices that are in use is for namespaces that an administrator has chosen. */
export function validateAdminAccess(
  list: readonly Obj[] | undefined,
  path: Path,
  context: KindContext,
  r: Report,
): void {
  const i = list?.findIndex((entry) => (entry.exactly ?? entry).adminAccess === true) ?? -1;
  if (i < 0 || context.namespaceLabels?.()[ADMIN_LABEL] === "true") return;
  const text = `admin access to devices requires the \`${ADMIN_LABEL}: true\` label on the ` +
    "containing namespace";
  r.forbidden(path.index(i).child("adminAccess"), text);
}

// --- what was allocated ----------------------------------------------------------------------------------

function immutableSpec(object: Stored, old: Stored, r: Report): void {
  if (semanticEqual(object.spec, old.spec)) return;
  r.invalid(SPEC, internalValue("ResourceClaimSpec", object.spec), IMMUTABLE);
}

/** Checks a changed claim: what it asks for stays; its status tells what was given to whom. */
export function validateClaimUpdate(claim: Stored, old: Stored, context: KindContext): Cause[] {
  const r = new Report();
  immutableSpec(claim, old, r);
  if (context.subresource !== "status") return r.causes;
  const { reservedFor = [], allocation, devices } = claim.status ?? {};
  if (!granted(old.status).some((result) => result.adminAccess === true)) {
    const at = STATUS.child("allocation", "devices", "results");
    validateAdminAccess(granted(claim.status), at, context, r);
  }
  authorizeStatus(claim, old, context, r);
  const path = STATUS.child("reservedFor");
  each(reservedFor, RESERVED_MAX, path, r, {
    check(user, path) {
      for (const field of ["resource", "name", "uid"]) {
        if (!user[field]) r.required(path.child(field));
      }
    },
    key: (user) => user.uid ?? "",
  });
  validateDevices(devices, allocation?.devices?.results ?? [], r);
  if (reservedFor.length > 0) validateReserved(claim, old, path, r);
  const given = old.status?.allocation, at = STATUS.child("allocation");
  if (given && allocation) {
    if (!semanticEqual(given, allocation)) r.invalid(at, allocation, IMMUTABLE);
  } else if (allocation) validateResult(allocation, requestNames(claim.spec?.devices), at, r);
  return r.causes;
}

function validateReserved(claim: Stored, old: Stored, path: Path, r: Report): void {
  const { reservedFor, allocation } = claim.status;
  if (!allocation) {
    return r.forbidden(path, "may not be specified when `allocated` is not set");
  }
  if (!claim.metadata.deletionTimestamp) return;
  const before = new Set((old.status?.reservedFor ?? []).map((user: Obj) => user.uid));
  if (reservedFor.every((user: Obj) => before.has(user.uid))) return;
  const text =
    "new entries may not be added while `deallocationRequested` or `deletionTimestamp` are set";
  r.forbidden(path, text);
}

function validateDevices(devices: Obj[] | undefined, results: Obj[], r: Report): void {
  const allocated = new Set(results.map(deviceKey));
  each(devices, -1, STATUS.child("devices"), r, {
    check(device, path) {
      validateDeviceName(device, path, r);
      if (!allocated.has(deviceKey(device))) {
        r.invalid(path, deviceId(device), "must be an allocated device in the claim");
      }
      const conditions: Obj[] = device.conditions ?? [], at = path.child("conditions");
      if (conditions.length > CONDITIONS_MAX) r.tooMany(at, conditions.length, CONDITIONS_MAX);
      validateConditions(conditions, at, r);
      if (device.data !== undefined) validateRaw(device.data, path.child("data"), r);
      if (isSet(device.networkData)) {
        validateNetworkData(device.networkData, path.child("networkData"), r);
      }
    },
    key: deviceKey,
    shown: deviceId,
  });
}

function validateDeviceName(device: Obj, path: Path, r: Report): void {
  validateCsiDriverName(device.driver ?? "", path.child("driver"), r);
  validatePoolName(device.pool ?? "", path.child("pool"), r);
  const name = device.device ?? "";
  r.check(isDns1123Label(name), path.child("device"), name);
  if (isSet(device.shareID)) validateUid(device.shareID, path.child("shareID"), r);
}

const HEX_UID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i;
const UID_TEXT = "uid must be in RFC 4122 normalized form, " +
  "`xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx` with lowercase hexadecimal characters";

function validateUid(uid: string, path: Path, r: Report): void {
  if (uid.length === 36 && HEX_UID.test(uid)) {
    if (uid !== uid.toLowerCase()) r.invalid(path, uid, UID_TEXT);
    return;
  }
  const dashed = uid.replace(/^urn:uuid:|^\{|\}$/gi, "");
  if (HEX_UID.test(dashed) || /^[0-9a-f]{32}$/i.test(uid)) return r.invalid(path, uid, UID_TEXT);
  const known = [32, 36, 38, 45].includes(uid.length);
  const why = known ? "invalid UUID format" : `invalid UUID length: ${uid.length}`;
  r.invalid(path, uid, `error validating uid: ${why}`);
}

function validateNetworkData(data: Obj, path: Path, r: Report): void {
  const { interfaceName = "", hardwareAddress = "", ips } = data;
  if (interfaceName.length > INTERFACE_LENGTH_MAX) {
    r.tooLong(path.child("interfaceName"), INTERFACE_LENGTH_MAX);
  }
  if (hardwareAddress.length > HARDWARE_LENGTH_MAX) {
    r.tooLong(path.child("hardwareAddress"), HARDWARE_LENGTH_MAX);
  }
  each(ips, IPS_MAX, path.child("ips"), r, {
    check: (address, path) => r.add(checkInterfaceAddress(`${path}`, address)),
    key: (address) => address,
  });
}

const SOURCES = ["FromClaim", "FromClass"];

/** Checks an allocation that is new. */
function validateResult(allocation: Obj, names: ReadonlySet<string>, path: Path, r: Report): void {
  const at = path.child("devices");
  const { results, config } = allocation.devices ?? {};
  each(results, RESULTS_MAX, at.child("results"), r, {
    check(result, path) {
      validateReference(result.request ?? "", names, path.child("request"), r);
      const { shareID, ...device } = result;
      validateDeviceName(device, path, r);
      validateBindings(result, path, r);
      if (isSet(shareID)) validateUid(shareID, path.child("shareID"), r);
    },
  });
  // Those of the class and those of the claim
  each(config, 2 * CONFIGS_MAX, at.child("config"), r, {
    check(entry, path) {
      const source = entry.source ?? "", sourceAt = path.child("source");
      if (source === "") r.required(sourceAt);
      else if (!SOURCES.includes(source)) r.notSupported(sourceAt, source, SOURCES);
      validateReferences(entry.requests, names, path.child("requests"), r);
      validateConfig(entry, path, r);
    },
  });
  if (isSet(allocation.nodeSelector)) {
    validateNodeSelector(allocation.nodeSelector, path.child("nodeSelector"), r);
  }
}

// --- templates and classes -------------------------------------------------------------------------------

/** Checks a new template. */
export function validateTemplate({ spec = {} }: Stored, context?: KindContext): Cause[] {
  const r = new Report();
  if (context) validateAdminAccess(spec.spec?.devices?.requests, REQUESTS, context, r);
  validateTemplateMeta(spec.metadata, SPEC.child("metadata"), r);
  validateClaimSpec(spec.spec, SPEC.child("spec"), r);
  return r.causes;
}

/** Checks a changed template: nothing of its spec may differ. */
export function validateTemplateUpdate(template: Stored, old: Stored): Cause[] {
  const r = new Report();
  r.add(validateTemplate(template));
  if (semanticEqual(template.spec, old.spec)) return r.causes;
  const { metadata, spec } = template.spec ?? {};
  const shown = { ...metadata, Spec: internalValue("ResourceClaimSpec", spec ?? {}) };
  r.invalid(SPEC, shown, IMMUTABLE);
  return r.causes;
}

/** Checks a class of devices. */
export function validateClass({ spec = {} }: Stored): Cause[] {
  const r = new Report();
  validateSelectors(spec.selectors, SPEC.child("selectors"), r);
  each(spec.config, CONFIGS_MAX, SPEC.child("config"), r, {
    check: (config, path) => validateConfig(config, path, r),
  });
  const name = spec.extendedResourceName;
  if (isSet(name) && !isExtendedResource(name)) {
    r.invalid(SPEC.child("extendedResourceName"), name, "must be a valid extended resource name");
  }
  return r.causes;
}
