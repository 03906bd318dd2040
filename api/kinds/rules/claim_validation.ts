/**
 * Validation of PersistentVolumeClaims, also as templates (upstream's `ValidatePersistentVolumeClaimSpec` and
 * its updates): a claim's spec may not change but for growing a bound claim and its attributes class.
 */

import { internalValue } from "./internal_value.ts";
import { unifiedDiff } from "./unified_diff.ts";
import type { Cause, DeepReadonly, KindContext, KubeObject } from "../../machinery/types.ts";
import {
  isDns1123Subdomain,
  isQualifiedName,
  nameIsDnsLabel,
  nameIsDnsSubdomain,
} from "../../machinery/names.ts";
import { type Quantity, tryParseQuantity } from "../../machinery/quantity.ts";
import { checkLabelSelector } from "../../machinery/selectors.ts";
import { equalExcept, semanticEqual } from "./equality.ts";
import { validateTemplateMeta } from "./meta.ts";
import { validateAmount } from "./quantity_validation.ts";
import { isNativeResource } from "./resource_names.ts";
import { isSet, METADATA, Path, Report, ROOT, SPEC, STATUS } from "./report.ts";

// deno-lint-ignore no-explicit-any -- objects are decoded JSON; the schema walk has checked their types
type Obj = any;
type Stored = DeepReadonly<KubeObject>;

const CLASS_ANNOTATION = "volume.beta.kubernetes.io/storage-class";

const ACCESS_MODES = ["ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod"];
/** The values of volumeMode. */
export const VOLUME_MODES: readonly string[] = ["Block", "Filesystem"];

/** Checks access modes of claims and volumes. */
export function validateAccessModes(modes: string[] | undefined, path: Path, r: Report): void {
  let one = false, others = false;
  for (const mode of modes ?? []) {
    const known = ACCESS_MODES.includes(mode);
    if (!known) r.notSupported(path, mode, ACCESS_MODES);
    if (mode === "ReadWriteOncePod") one = true;
    else if (known) others = true;
  }
  if (one && others) r.forbidden(path, "may not use ReadWriteOncePod with other access modes");
}

/** Checks that an amount is above zero. */
export function validatePositive(amount: Quantity, path: Path, r: Report): boolean {
  if (amount.sign > 0) return true;
  r.invalid(path, amount.toString(), "must be greater than zero");
  return false;
}

function validateSource(
  source: Obj,
  path: Path,
  r: Report,
  namespaced: boolean,
  lenient: boolean,
): void {
  if (!source.name) r.required(path.child("name"));
  if (!source.kind) r.required(path.child("kind"));
  const group = source.apiGroup ?? "";
  if (group === "" && source.kind !== "PersistentVolumeClaim") {
    const text = "must be 'PersistentVolumeClaim' when referencing the default apiGroup";
    r.invalid(path, source.kind ?? "", text);
  }
  if (group !== "" && !lenient) r.check(isDns1123Subdomain(group), path.child("apiGroup"), group);
  if (namespaced && source.namespace) {
    r.check(nameIsDnsLabel(source.namespace, false), path.child("namespace"), source.namespace);
  }
}

function validateSources(spec: Obj, path: Path, r: Report, lenient: boolean): void {
  const { dataSource, dataSourceRef } = spec;
  if (isSet(dataSource)) validateSource(dataSource, path.child("dataSource"), r, false, lenient);
  if (isSet(dataSourceRef)) {
    validateSource(dataSourceRef, path.child("dataSourceRef"), r, true, lenient);
  }
  if (!isSet(dataSource) || !isSet(dataSourceRef)) return;
  const shown = `${path.child("dataSource")}`;
  if (dataSourceRef.namespace) {
    r.invalid(path, shown, "may not be specified when dataSourceRef.namespace is specified");
  } else if (
    (dataSource.apiGroup ?? "") !== (dataSourceRef.apiGroup ?? "") ||
    dataSource.kind !== dataSourceRef.kind || dataSource.name !== dataSourceRef.name
  ) r.invalid(path, {}, "must match dataSourceRef");
}

/** Checks the spec of a claim. */
export function validateClaimSpec(spec: Obj, path: Path, r: Report, lenient = false): void {
  if (!spec.accessModes?.length) {
    r.required(path.child("accessModes"), "at least 1 access mode is required");
  }
  if (isSet(spec.selector)) r.add(checkLabelSelector(`${path.child("selector")}`, spec.selector));
  validateAccessModes(spec.accessModes, path.child("accessModes"), r);
  const storage = spec.resources?.requests?.storage;
  const at = path.child("resources").key("storage");
  const amount = isSet(storage) ? tryParseQuantity(storage) : undefined;
  if (!amount) r.required(at);
  else if (validatePositive(amount, at, r)) validateAmount("storage", amount, at, r);
  if (spec.storageClassName) {
    const messages = nameIsDnsSubdomain(spec.storageClassName, false);
    r.check(messages, path.child("storageClassName"), spec.storageClassName);
  }
  if (isSet(spec.volumeMode) && !VOLUME_MODES.includes(spec.volumeMode)) {
    r.notSupported(path.child("volumeMode"), spec.volumeMode, VOLUME_MODES);
  }
  validateSources(spec, path, r, lenient);
  const attributes = spec.volumeAttributesClassName;
  if (attributes) {
    const messages = nameIsDnsSubdomain(attributes, false);
    r.check(messages, path.child("volumeAttributesClassName"), attributes);
  }
}

/** Checks the template of an ephemeral volume's claim. */
export function validateClaimTemplate(template: Obj, path: Path, r: Report): void {
  validateTemplateMeta(template.metadata, path.child("metadata"), r);
  validateClaimSpec(template.spec ?? {}, path.child("spec"), r);
}

/** Checks a new claim. */
export function validateClaim(claim: Stored): Cause[] {
  const r = new Report();
  validateClaimSpec(claim.spec ?? {}, SPEC, r);
  return r.causes;
}

/** Checks a changed claim. */
export function validateClaimUpdate(claim: Stored, old: Stored, context: KindContext): Cause[] {
  const r = new Report();
  if (context.subresource === "status") {
    validateClaimStatus(claim, r);
    return r.causes;
  }
  const spec: Obj = claim.spec ?? {}, before: Obj = old.spec ?? {};
  const lenient = isSet(before.dataSource?.apiGroup) || isSet(before.dataSourceRef?.apiGroup);
  validateClaimSpec(spec, SPEC, r, lenient);
  validateClaimChange(claim, old, spec, before, r);
  validateShrink(spec, before, old, r);
  if ((spec.volumeMode ?? "") !== (before.volumeMode ?? "")) {
    r.invalid(new Path("volumeMode"), spec.volumeMode ?? null, "field is immutable");
  }
  const attributes = spec.volumeAttributesClassName;
  if (isSet(before.volumeAttributesClassName)) {
    const at = SPEC.child("volumeAttributesClassName");
    if (!isSet(attributes)) r.forbidden(at, "update from non-nil value to nil is forbidden");
    else if (attributes === "" && before.volumeAttributesClassName !== "") {
      r.forbidden(at, "update from non-nil value to an empty string is forbidden");
    }
  }
  return r.causes;
}

/** All of the spec but what may change must be as it was. */
function validateClaimChange(claim: Stored, old: Stored, spec: Obj, before: Obj, r: Report): void {
  const except = ["resources"];
  if (!before.volumeName) except.push("volumeName");
  const annotation = claim.metadata.annotations?.[CLASS_ANNOTATION];
  const oldAnnotation = old.metadata.annotations?.[CLASS_ANNOTATION];
  const fromAnnotation = oldAnnotation !== undefined && !isSet(before.storageClassName) &&
    spec.storageClassName === oldAnnotation &&
    (annotation === undefined || annotation === oldAnnotation);
  if (fromAnnotation) except.push("storageClassName");
  else {
    if ((annotation ?? "") !== (oldAnnotation ?? "")) {
      const at = METADATA.child("annotations", CLASS_ANNOTATION);
      r.invalid(at, annotation ?? "", "field is immutable");
    }
    const fromNothing = isSet(spec.storageClassName) && !isSet(before.storageClassName) &&
      (oldAnnotation === undefined || spec.storageClassName === oldAnnotation);
    if (fromNothing) except.push("storageClassName");
  }
  const bound = claim.status?.phase === "Bound";
  if (bound && isSet(spec.volumeAttributesClassName)) except.push("volumeAttributesClassName");
  const sameResources = bound
    ? semanticEqual(withoutStorage(spec.resources), withoutStorage(before.resources))
    : semanticEqual(spec.resources, before.resources);
  if (sameResources && equalExcept(spec, before, except)) return;
  const text = "spec is immutable after creation except resources.requests and " +
    "volumeAttributesClassName for bound claims";
  const now: Obj = { ...spec }, then: Obj = { ...before };
  for (const field of except) {
    if (field === "resources") continue;
    if (field === "volumeName") then[field] = now[field];
    else now[field] = before[field];
  }
  if (bound && now.resources?.requests) {
    const storage = before.resources?.requests?.storage;
    now.resources = { ...now.resources, requests: { ...now.resources.requests, storage } };
  }
  const [was, is] = [then, now].map((s) => internalValue("PersistentVolumeClaimSpec", s));
  r.forbidden(SPEC, `${text}\n${unifiedDiff(was, is)}`);
}

function withoutStorage(resources: Obj): Obj {
  if (!resources?.requests) return resources;
  const { storage: _, ...requests } = resources.requests;
  return { ...resources, requests };
}

/** A claim that could not grow may go back, but not to what it already is. */
function validateShrink(spec: Obj, before: Obj, old: Stored, r: Report): void {
  // No request is one for nothing
  const wanted = tryParseQuantity(spec.resources?.requests?.storage ?? "0");
  const current = tryParseQuantity(before.resources?.requests?.storage ?? "0");
  if (!wanted || !current || wanted.compare(current) >= 0) return;
  const actual = tryParseQuantity(old.status?.capacity?.storage);
  if (actual && wanted.compare(actual) > 0) return;
  // Without a capacity upstream compares with zero, which any request exceeds.
  if (!actual && wanted.sign > 0) return;
  const at = SPEC.child("resources", "requests", "storage");
  r.forbidden(at, "field can not be less than status.capacity");
}

const RESIZE_STATES = [
  "ControllerResizeInProgress",
  "ControllerResizeInfeasible",
  "NodeResizeInProgress",
  "NodeResizeInfeasible",
  "NodeResizePending",
];

function validateResourceKey(name: string, path: Path, r: Report): boolean {
  const messages = isQualifiedName(name);
  r.check(messages, path, name);
  if (messages.length) return false;
  if (!isNativeResource(name) || name === "storage") return true;
  r.notSupported(path, name, ["storage"]);
  return false;
}

function validateBasic(text: Obj, path: Path, r: Report): Quantity | undefined {
  const amount = tryParseQuantity(text);
  if (amount && amount.value() < 0) {
    r.invalid(path, amount.value(), "must be a valid resource quantity");
    return undefined;
  }
  return amount;
}

function validateClaimStatus(claim: Stored, r: Report): void {
  const status: Obj = claim.status ?? {};
  if (!claim.spec?.accessModes?.length) r.required(ROOT.child("Spec", "accessModes"));
  for (const name in status.capacity ?? {}) {
    validateBasic(status.capacity[name], STATUS.child("capacity").key(name), r);
  }
  for (const name in status.allocatedResourceStatuses ?? {}) {
    const at = STATUS.child("allocatedResourceStatuses");
    validateResourceKey(name, at, r);
    if (!RESIZE_STATES.includes(status.allocatedResourceStatuses[name])) {
      r.notSupported(at, name, RESIZE_STATES);
    }
  }
  for (const name in status.allocatedResources ?? {}) {
    const at = STATUS.child("allocatedResources");
    if (!validateResourceKey(name, at, r)) continue;
    const amount = validateBasic(status.allocatedResources[name], at.key(name), r);
    if (amount) validateAmount("storage", amount, at.key(name), r);
  }
}
