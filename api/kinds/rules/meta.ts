/**
 * Validation of metadata, the same for every kind (upstream's `apimachinery/pkg/api/validation`): names,
 * labels, annotations, owners, finalizers, managed fields, and what an update may not change.
 *
 * The server calls `validateMeta` on create and `validateMetaUpdate` on update, before the kind's own hooks.
 */

import type { Cause, DeepReadonly, Kind, KindContext, KubeObject } from "../../machinery/types.ts";
import {
  byteLength,
  isLabelValue,
  isQualifiedName,
  nameIsDnsLabel,
  nameIsDnsSubdomain,
  nameIsPathSegment,
} from "../../machinery/names.ts";
import { METADATA, type Path, Report } from "./report.ts";

type Meta = DeepReadonly<KubeObject["metadata"]>;

/** Bytes of all annotations of an object together. */
export const ANNOTATIONS_BYTES_MAX = 256 * 1024;
/** Bytes of a field manager's name. */
export const MANAGER_BYTES_MAX = 128;
/** Bytes of a subresource's name in managed fields. */
const SUBRESOURCE_BYTES_MAX = 256;

const IMMUTABLE = "field is immutable";
const ORPHAN = "orphan";
const FOREGROUND = "foregroundDeletion";
/** Finalizers that need no domain, beside the two above. */
const KUBERNETES = "kubernetes";

const LABELS = METADATA.child("labels");
const ANNOTATIONS = METADATA.child("annotations");
const OWNERS = METADATA.child("ownerReferences");
const FINALIZERS = METADATA.child("finalizers");
const MANAGED = METADATA.child("managedFields");

/** Keys that were found good: the few that a cluster uses are checked once. */
const GOOD_KEYS_MAX = 4096;
const goodKeys = new Set<string>();
const goodValues = new Set<string>();

function remember(good: Set<string>, text: string): void {
  if (text.length > 128) return;
  if (good.size >= GOOD_KEYS_MAX) good.clear();
  good.add(text);
}

/** Messages of a key of labels or annotations. */
export function labelKeyProblems(key: string): readonly string[] {
  if (goodKeys.has(key)) return [];
  const messages = isQualifiedName(key);
  if (messages.length === 0) remember(goodKeys, key);
  return messages;
}

/** Checks labels, also of templates and as node selectors. */
export function validateLabels(
  labels: DeepReadonly<Record<string, string>> | undefined,
  path: Path,
  r: Report,
): void {
  for (const key in labels) {
    if (!goodKeys.has(key)) r.check(labelKeyProblems(key), path, key);
    const value = labels[key];
    if (goodValues.has(value)) continue;
    const messages = isLabelValue(value);
    if (messages.length === 0) remember(goodValues, value);
    else r.check(messages, path, value);
  }
}

/** Checks annotations: keys, in any case, and the size of all together. */
export function validateAnnotations(
  annotations: DeepReadonly<Record<string, string>> | undefined,
  path: Path,
  r: Report,
): void {
  let size = 0;
  for (const key in annotations) {
    if (labelKeyProblems(key).length > 0) {
      const messages = isQualifiedName(key.toLowerCase());
      for (const message of messages) r.invalid(path, key, message);
    }
    size += byteLength(key) + byteLength(annotations[key]);
  }
  if (size > ANNOTATIONS_BYTES_MAX) r.tooLong(path, ANNOTATIONS_BYTES_MAX);
}

function validateOwners(meta: Meta, r: Report): void {
  const owners = meta.ownerReferences;
  if (!owners) return;
  let controller = "";
  for (const owner of owners) {
    const { apiVersion = "", kind, name, uid } = owner;
    const slash = apiVersion.indexOf("/");
    const version = slash !== apiVersion.lastIndexOf("/") ? "" : apiVersion.slice(slash + 1);
    if (version === "") {
      r.invalid(OWNERS.child("apiVersion"), apiVersion, "version must not be empty");
    }
    if (!kind) r.invalid(OWNERS.child("kind"), "", "must not be empty");
    if (!name) r.invalid(OWNERS.child("name"), "", "must not be empty");
    if (!uid) r.invalid(OWNERS.child("uid"), "", "must not be empty");
    if (apiVersion === "v1" && kind === "Event") {
      r.invalid(OWNERS, owner, "/v1, Kind=Event is disallowed from being an owner");
    }
    if (owner.controller !== true) continue;
    const current = `${kind}/${name}`;
    if (controller) {
      const text =
        'Only one reference can have Controller set to true. Found "true" in references for';
      r.invalid(OWNERS, owners, `${text} ${controller} and ${current}`);
    } else controller = current;
  }
}

function validateFinalizers(meta: Meta, r: Report): void {
  const finalizers = meta.finalizers;
  if (!finalizers) return;
  for (const finalizer of finalizers) {
    if (!goodKeys.has(finalizer)) r.check(labelKeyProblems(finalizer), FINALIZERS, finalizer);
  }
  if (finalizers.includes(ORPHAN) && finalizers.includes(FOREGROUND)) {
    const text = `finalizer ${ORPHAN} and ${FOREGROUND} cannot be both set`;
    r.invalid(FINALIZERS, finalizers, text);
  }
}

/** Finalizers without a domain are Kubernetes' own; the core group's kinds check that. */
export function validateKubeFinalizers(meta: Meta, r: Report): void {
  meta.finalizers?.forEach((finalizer, i) => {
    validateKubeFinalizer(finalizer, FINALIZERS.index(i), r);
  });
}

/** One finalizer: with a domain, or one of Kubernetes' own. */
export function validateKubeFinalizer(finalizer: string, path: Path, r: Report): void {
  if (finalizer.includes("/")) return;
  if (finalizer === KUBERNETES || finalizer === ORPHAN || finalizer === FOREGROUND) return;
  const text = "name is neither a standard finalizer name nor is it fully qualified";
  r.invalid(path, finalizer, text);
}

// deno-lint-ignore no-control-regex -- what Go's unicode.IsPrint refuses of ASCII, and the rest of it
const UNPRINTABLE = /[\u0000-\u001f\u007f]|[^\P{C}]|[^\P{Z} ]/u;

/** A field manager's name: printable, at most 128 bytes. */
export function validateFieldManager(manager: string, path: Path, r: Report): void {
  if (byteLength(manager) > MANAGER_BYTES_MAX) r.tooLong(path, MANAGER_BYTES_MAX);
  if (!UNPRINTABLE.test(manager)) return;
  let position = 0;
  for (const char of manager) {
    if (UNPRINTABLE.test(char)) {
      const code = char.codePointAt(0)!.toString(16).toUpperCase().padStart(4, "0");
      r.invalid(path, manager, `invalid character U+${code} (at position ${position})`);
    }
    position += byteLength(char);
  }
}

function validateManaged(meta: Meta, r: Report): void {
  const entries = meta.managedFields;
  if (!entries) return;
  for (let i = 0; i < entries.length; i++) {
    const { operation, fieldsType, manager, subresource } = entries[i];
    if (operation !== "Apply" && operation !== "Update") {
      const text = "must be `Apply` or `Update`";
      r.invalid(MANAGED.index(i).child("operation"), operation ?? "", text);
    }
    if (fieldsType && fieldsType !== "FieldsV1") {
      r.invalid(MANAGED.index(i).child("fieldsType"), fieldsType, "must be `FieldsV1`");
    }
    if (manager) validateFieldManager(manager, MANAGED.index(i).child("manager"), r);
    if (subresource && subresource.length > SUBRESOURCE_BYTES_MAX) {
      r.tooLong(MANAGED.index(i).child("subresource"), SUBRESOURCE_BYTES_MAX);
    }
  }
}

/**
 * Checks a new object: its metadata, then what its kind says. The kinds that leave metadata out of their own
 * checks have it looked at, for less, when they are done and content.
 */
export function validateCreate(
  object: DeepReadonly<KubeObject>,
  kind: Kind,
  context: KindContext,
): Cause[] {
  const own = kind.hooks.validate?.(object, context) ?? [];
  if (!META_LEFT_OUT.has(nameOf(kind))) {
    const causes = validateMeta(object, kind);
    return own.length > 0 ? [...causes, ...own] : causes;
  }
  if (own.length > 0) return own;
  const r = new Report();
  validateWholeMeta(object.metadata, kind, nameIsPathSegment, r);
  return r.causes;
}

/** Checks the metadata of a new object. */
export function validateMeta(object: DeepReadonly<KubeObject>, kind: Kind): Cause[] {
  const r = new Report();
  const meta = object.metadata;
  validateWholeMeta(meta, kind, kind.hooks.validateName ?? nameIsDnsSubdomain, r);
  if (isBuiltInCore(kind)) validateKubeFinalizers(meta, r);
  return r.causes;
}

type NameRule = (name: string, prefix: boolean) => readonly string[];

function validateWholeMeta(meta: Meta, kind: Kind, nameRule: NameRule, r: Report): void {
  if (meta.generateName) {
    r.check(nameRule(meta.generateName, true), METADATA.child("generateName"), meta.generateName);
  }
  if (!meta.name) r.required(METADATA.child("name"), "name or generateName is required");
  else {
    const messages = nameRule(meta.name, false);
    if (messages.length) r.check(messages, METADATA.child("name"), meta.name);
  }
  if (kind.namespaced) {
    if (!meta.namespace) r.required(METADATA.child("namespace"));
    else {
      const messages = nameIsDnsLabel(meta.namespace, false);
      if (messages.length) r.check(messages, METADATA.child("namespace"), meta.namespace);
    }
  } else if (meta.namespace) {
    r.forbidden(METADATA.child("namespace"), "not allowed on this type");
  }
  if ((meta.generation ?? 0) < 0) {
    r.invalid(METADATA.child("generation"), meta.generation, "must be greater than or equal to 0");
  }
  validateCommon(meta, r);
  validateFinalizers(meta, r);
}

function validateCommon(meta: Meta, r: Report): void {
  if (meta.labels) validateLabels(meta.labels, LABELS, r);
  if (meta.annotations) validateAnnotations(meta.annotations, ANNOTATIONS, r);
  validateOwners(meta, r);
  validateManaged(meta, r);
}

/** Groups whose metadata upstream checks as it does that of custom resources. */
const WITHOUT_CORE_CHECKS = new Set([
  "admissionregistration.k8s.io",
  "apiextensions.k8s.io",
  "apiregistration.k8s.io",
  "coordination.k8s.io",
  "node.k8s.io",
]);

/** Its kinds check an update as they do a new object, and the metadata as that of custom resources. */
const ADMISSION_GROUP = "admissionregistration.k8s.io";

/** Upstream's own kinds use the core group's stricter check of finalizers, nearly all of them. */
function isBuiltInCore(kind: Kind): boolean {
  return !kind.custom && !WITHOUT_CORE_CHECKS.has(kind.group);
}

const UNCHANGING = [
  "name",
  "namespace",
  "uid",
  "creationTimestamp",
  "deletionTimestamp",
  "deletionGracePeriodSeconds",
] as const;

/** Kinds whose own checks of an update leave the metadata to the checks of all kinds. */
const META_LEFT_OUT = new Set(["/Event", "policy/PodDisruptionBudget"]);
/** Kinds whose own checks of an update look at the metadata as at that of a new object, once they have compared it. */
const META_AS_NEW_AFTER = new Set([
  "/ConfigMap",
  "/Endpoints",
  "/PersistentVolumeClaim",
  "/Pod",
  "/Secret",
  "/ServiceAccount",
  "apiregistration.k8s.io/APIService",
  "apps/ControllerRevision",
  "networking.k8s.io/Ingress",
  "networking.k8s.io/IngressClass",
  "node.k8s.io/RuntimeClass",
  "storage.k8s.io/VolumeAttributesClass",
]);
/** Those that do so before, and how often. */
const META_AS_NEW_BEFORE: Readonly<Record<string, number>> = {
  "/LimitRange": 1,
  "/Namespace": 1,
  "/Node": 1,
  "/PersistentVolume": 2,
  "batch/Job": 1,
  "certificates.k8s.io/CertificateSigningRequest": 1,
  "certificates.k8s.io/ClusterTrustBundle": 1,
  "discovery.k8s.io/EndpointSlice": 1,
  "flowcontrol.apiserver.k8s.io/FlowSchema": 1,
  "flowcontrol.apiserver.k8s.io/PriorityLevelConfiguration": 1,
  "networking.k8s.io/IPAddress": 1,
  "rbac.authorization.k8s.io/ClusterRole": 1,
  "rbac.authorization.k8s.io/ClusterRoleBinding": 1,
  "rbac.authorization.k8s.io/Role": 1,
  "rbac.authorization.k8s.io/RoleBinding": 1,
  "resource.k8s.io/DeviceClass": 1,
  "resource.k8s.io/ResourceClaim": 1,
  "resource.k8s.io/ResourceClaimTemplate": 1,
  "storage.k8s.io/CSINode": 1,
  "storage.k8s.io/CSIStorageCapacity": 1,
  "storage.k8s.io/StorageClass": 1,
  "storage.k8s.io/VolumeAttachment": 1,
  "storagemigration.k8s.io/StorageVersionMigration": 1,
};
/** Those that do not compare it themselves. */
const META_NOT_COMPARED = new Set([
  "/LimitRange",
  "/PersistentVolume",
  "discovery.k8s.io/EndpointSlice",
  "flowcontrol.apiserver.k8s.io/FlowSchema",
  "flowcontrol.apiserver.k8s.io/PriorityLevelConfiguration",
  "storage.k8s.io/CSINode",
  "storage.k8s.io/VolumeAttachment",
]);
/** Those whose writes of the status are checked like that, too. */
const META_AS_NEW_ON_STATUS = new Set([
  "certificates.k8s.io/CertificateSigningRequest",
  "storage.k8s.io/VolumeAttachment",
]);
/** A CertificateSigningRequest's own check takes any name. */
const ANY_NAME = new Set(["certificates.k8s.io/CertificateSigningRequest"]);

/** How often a kind's own check of an update looks at the metadata as at new metadata, before it compares and after. */
function timesAsNew(kind: Kind, subresource: string): { before: number; after: number } {
  const name = nameOf(kind);
  if (subresource && !META_AS_NEW_ON_STATUS.has(name)) return { before: 0, after: 0 };
  return { before: META_AS_NEW_BEFORE[name] ?? 0, after: META_AS_NEW_AFTER.has(name) ? 1 : 0 };
}

function ownNameRule(kind: Kind): NameRule {
  if (ANY_NAME.has(nameOf(kind))) return () => [];
  return kind.hooks.validateName ?? nameIsDnsSubdomain;
}

/**
 * Checks the metadata of a changed object. The resourceVersion is the store's matter. Upstream looks more than
 * once, for all kinds and again with each kind's own checks, and tells a cause each time it meets it: so do we,
 * where there is one.
 */
export function validateMetaUpdate(
  object: DeepReadonly<KubeObject>,
  old: DeepReadonly<KubeObject>,
  kind: Kind,
  subresource = "",
): Cause[] {
  const meta = object.metadata, before = old.metadata;
  const r = new Report();
  validateChangedMeta(meta, before, r);
  if (meta.generateName && meta.generateName !== before.generateName) {
    r.check(nameIsPathSegment(meta.generateName, true), METADATA, meta.generateName);
    const { before, after } = timesAsNew(kind, subresource);
    if (before || after || kind.group === ADMISSION_GROUP) {
      r.check(ownNameRule(kind)(meta.generateName, true), METADATA, "");
    }
  }
  if (meta.finalizers !== before.finalizers) {
    validateFinalizers(meta, r);
    if (isBuiltInCore(kind)) validateKubeFinalizers(meta, r);
  }
  return r.causes.length === 0 ? r.causes : metaCauses(meta, before, kind, subresource);
}

/** Kinds whose metadata a write to the status leaves as it is. */
const META_KEPT_BY_STATUS = new Set([
  "admissionregistration.k8s.io/ValidatingAdmissionPolicy",
  "apiregistration.k8s.io/APIService",
  "certificates.k8s.io/PodCertificateRequest",
  "flowcontrol.apiserver.k8s.io/FlowSchema",
  "flowcontrol.apiserver.k8s.io/PriorityLevelConfiguration",
  "networking.k8s.io/ServiceCIDR",
  "resource.k8s.io/DeviceTaintRule",
  "resource.k8s.io/ResourceClaim",
  "storage.k8s.io/VolumeAttachment",
  "storagemigration.k8s.io/StorageVersionMigration",
]);

/** Whether a write to this kind's status leaves labels, owners and the like as they are. */
export function keepsMetaOnStatus(kind: Kind): boolean {
  return META_KEPT_BY_STATUS.has(nameOf(kind));
}

const nameOf = (kind: Kind) => `${kind.group}/${kind.kind}`;

function metaCauses(meta: Meta, before: Meta, kind: Kind, subresource: string): Cause[] {
  const r = new Report();
  const name = nameOf(kind);
  validateWholeMeta(meta, kind, nameIsPathSegment, r);
  validateChangedMeta(meta, before, r);
  if (META_LEFT_OUT.has(name) || (subresource && name === "batch/CronJob")) return r.causes;
  if (kind.group === ADMISSION_GROUP) {
    if (!subresource) validateWholeMeta(meta, kind, ownNameRule(kind), r);
    return r.causes;
  }
  const times = timesAsNew(kind, subresource);
  const asNew = () => {
    validateWholeMeta(meta, kind, ownNameRule(kind), r);
    if (isBuiltInCore(kind)) validateKubeFinalizers(meta, r);
  };
  for (let i = 0; i < times.before; i++) asNew();
  if (times.before === 0 || !META_NOT_COMPARED.has(name)) {
    validateChangedMeta(meta, before, r);
    if (isBuiltInCore(kind)) validateKubeFinalizers(meta, r);
  }
  for (let i = 0; i < times.after; i++) asNew();
  return r.causes;
}

function validateChangedMeta(meta: Meta, before: Meta, r: Report): void {
  if (before.deletionTimestamp && meta.finalizers) {
    const known = before.finalizers ?? [];
    const added = meta.finalizers.filter((f) => !known.includes(f)).sort();
    if (added.length > 0) {
      const list = `[]string{${added.map((f) => `"${f}"`).join(", ")}}`;
      r.forbidden(
        FINALIZERS,
        `no new finalizers can be added if the object is being deleted, found new finalizers ${list}`,
      );
    }
  }
  if ((meta.generation ?? 0) < (before.generation ?? 0)) {
    r.invalid(METADATA.child("generation"), meta.generation ?? 0, "must not be decremented");
  }
  for (const field of UNCHANGING) {
    const value = meta[field] ?? undefined;
    if (value !== (before[field] ?? undefined)) {
      r.invalid(
        METADATA.child(field),
        value ?? (field.startsWith("deletion") ? null : ""),
        IMMUTABLE,
      );
    }
  }
  // Parts that are the stored object's own were checked when they came in.
  if (meta.labels && meta.labels !== before.labels) validateLabels(meta.labels, LABELS, r);
  if (meta.annotations && meta.annotations !== before.annotations) {
    validateAnnotations(meta.annotations, ANNOTATIONS, r);
  }
  if (meta.ownerReferences !== before.ownerReferences) validateOwners(meta, r);
  if (meta.managedFields !== before.managedFields) validateManaged(meta, r);
}

/** Checks of a template's metadata that upstream runs on claim templates: labels and annotations only. */
export function validateTemplateMeta(meta: Meta | undefined, path: Path, r: Report): void {
  if (!meta) return;
  validateAnnotations(meta.annotations, path.child("annotations"), r);
  validateLabels(meta.labels, path.child("labels"), r);
  for (const field in meta) {
    if (field === "labels" || field === "annotations") continue;
    // deno-lint-ignore no-explicit-any -- names are known at run time only
    const value = (meta as any)[field];
    if (value === undefined || value === null || value === "") continue;
    r.forbidden(path.child(field), "cannot be set");
  }
}
