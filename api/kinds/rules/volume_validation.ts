/**
 * Validation of PersistentVolumes (upstream's `ValidatePersistentVolumeSpec` and its updates): one source,
 * which may not change; a local volume says on which nodes it is.
 */

import { internalValue } from "./internal_value.ts";
import { unifiedDiff } from "./unified_diff.ts";
import type { Cause, DeepReadonly, KindContext, KubeObject } from "../../machinery/types.ts";
import { isDns1123Label, isDns1123Subdomain, nameIsDnsSubdomain } from "../../machinery/names.ts";
import { tryParseQuantity } from "../../machinery/quantity.ts";
import { validateAccessModes, validatePositive, VOLUME_MODES } from "./claim_validation.ts";
import { semanticEqual } from "./equality.ts";
import { validateNodeSelector } from "./pod_affinity.ts";
import { isSet, Path, Report, SPEC } from "./report.ts";
import { validateNoBacksteps } from "./validate_paths.ts";
import { SHARED_SOURCES, SOURCE_PATHS, validateCsiDriverName } from "./volume_sources.ts";

// deno-lint-ignore no-explicit-any -- objects are decoded JSON; the schema walk has checked their types
type Obj = any;
type Stored = DeepReadonly<KubeObject>;

const RECLAIM_POLICIES = ["Delete", "Recycle", "Retain"];

/** The sources of a volume, in upstream's order. */
const SOURCES = [
  "hostPath",
  "gcePersistentDisk",
  "awsElasticBlockStore",
  "glusterfs",
  "flocker",
  "nfs",
  "rbd",
  "quobyte",
  "cephfs",
  "iscsi",
  "cinder",
  "fc",
  "flexVolume",
  "azureFile",
  "vsphereVolume",
  "photonPersistentDisk",
  "portworxVolume",
  "azureDisk",
  "scaleIO",
  "local",
  "storageos",
  "csi",
] as const;

function validateSecretRef(ref: Obj, path: Path, r: Report): void {
  if (!ref.name) r.required(path.child("name"));
  else r.check(isDns1123Subdomain(ref.name), path.child("name"), ref.name);
  if (!ref.namespace) r.required(path.child("namespace"));
  else r.check(isDns1123Label(ref.namespace), path.child("namespace"), ref.namespace);
}

function validateCsi(source: Obj, path: Path, r: Report): void {
  validateCsiDriverName(source.driver ?? "", path.child("driver"), r);
  if (!source.volumeHandle) r.required(path.child("volumeHandle"));
  for (
    const field of [
      "controllerPublishSecretRef",
      "controllerExpandSecretRef",
      "nodePublishSecretRef",
      "nodeExpandSecretRef",
    ]
  ) if (isSet(source[field])) validateSecretRef(source[field], path.child(field), r);
}

function validateSources(spec: Obj, name: string, r: Report): void {
  let found = 0;
  for (const field of SOURCES) {
    const source = spec[field];
    if (!isSet(source)) continue;
    if (found++ > 0 && field !== "flexVolume") {
      const named = field === "cephfs" ? "cephFS" : field;
      r.forbidden(SPEC.child(named), "may not specify more than 1 volume type");
      continue;
    }
    const at = SPEC.child(SOURCE_PATHS[field] ?? field);
    if (field === "csi") validateCsi(source, at, r);
    else if (field === "local") {
      if (!source.path) r.required(at.child("path"));
      else validateNoBacksteps(source.path, at.child("path"), r);
      if (!isSet(spec.nodeAffinity)) {
        r.required(SPEC.child("nodeAffinity"), "Local volume requires node affinity");
      }
    } else SHARED_SOURCES[field](source, at, r, { name });
  }
  if (found === 0) r.required(SPEC, "must specify a volume type");
}

function validateCapacity(spec: Obj, r: Report): void {
  const at = SPEC.child("capacity");
  const capacity = spec.capacity ?? {};
  const names = Object.keys(capacity);
  if (names.length === 0) r.required(at);
  if (names.length !== 1 || names[0] !== "storage") {
    r.notSupported(at, spec.capacity ?? null, ["storage"]);
  }
  for (const name of names) {
    const amount = tryParseQuantity(capacity[name]);
    if (!amount) continue;
    if (amount.value() < 0) {
      r.invalid(at.key(name), amount.value(), "must be a valid resource quantity");
    }
    validatePositive(amount, at.key(name), r);
  }
}

function isRoot(path: string): boolean {
  return path.startsWith("/") && path.split("/").every((part) => part === "" || part === ".");
}

function validateSpec(spec: Obj, name: string, r: Report): void {
  if (!spec.accessModes?.length) r.required(SPEC.child("accessModes"));
  validateAccessModes(spec.accessModes, SPEC.child("accessModes"), r);
  validateCapacity(spec, r);
  const reclaim = spec.persistentVolumeReclaimPolicy;
  const reclaimAt = SPEC.child("persistentVolumeReclaimPolicy");
  if (reclaim && !RECLAIM_POLICIES.includes(reclaim)) {
    r.notSupported(reclaimAt, reclaim, RECLAIM_POLICIES);
  }
  if (isSet(spec.nodeAffinity)) {
    const at = SPEC.child("nodeAffinity", "required");
    if (isSet(spec.nodeAffinity.required)) validateNodeSelector(spec.nodeAffinity.required, at, r);
    else r.required(at, "must specify required node constraints");
  }
  validateSources(spec, name, r);
  if (spec.hostPath?.path && isRoot(spec.hostPath.path) && reclaim === "Recycle") {
    r.forbidden(reclaimAt, "may not be 'recycle' for a hostPath mount of '/'");
  }
  if (spec.storageClassName) {
    const messages = nameIsDnsSubdomain(spec.storageClassName, false);
    r.check(messages, SPEC.child("storageClassName"), spec.storageClassName);
  }
  if (isSet(spec.volumeMode) && !VOLUME_MODES.includes(spec.volumeMode)) {
    r.notSupported(SPEC.child("volumeMode"), spec.volumeMode, VOLUME_MODES);
  }
  const attributes = spec.volumeAttributesClassName;
  if (!isSet(attributes)) return;
  const at = SPEC.child("volumeAttributesClassName");
  if (attributes === "") r.required(at, "an empty string is disallowed");
  else r.check(nameIsDnsSubdomain(attributes, false), at, attributes);
  if (!isSet(spec.csi)) {
    r.required(SPEC.child("csi"), "has to be specified when using volumeAttributesClassName");
  }
}

/** Checks a new volume. */
export function validateVolume(volume: Stored): Cause[] {
  const r = new Report();
  validateSpec(volume.spec ?? {}, volume.metadata.name, r);
  return r.causes;
}

/** Checks a changed volume. */
export function validateVolumeUpdate(volume: Stored, old: Stored, context: KindContext): Cause[] {
  if (context.subresource === "status") return [];
  const r = new Report();
  const spec: Obj = volume.spec ?? {}, before: Obj = old.spec ?? {};
  validateSpec(spec, volume.metadata.name, r);
  // Upstream looks twice, as a new volume and as a changed one
  r.add([...r.causes]);
  const now = sourcesOf(spec), then = sourcesOf(before);
  if (then.csi && !isSet(then.csi.controllerExpandSecretRef) && now.csi) {
    const { controllerExpandSecretRef: _, ...csi } = now.csi;
    now.csi = csi;
  }
  if (!semanticEqual(now, then)) {
    const text = "spec.persistentvolumesource is immutable after creation";
    const diff = unifiedDiff(
      internalValue("PersistentVolumeSource", then),
      internalValue("PersistentVolumeSource", now),
    );
    r.forbidden(SPEC.child("persistentvolumesource"), `${text}\n${diff}`);
  }
  if ((spec.volumeMode ?? "") !== (before.volumeMode ?? "")) {
    r.invalid(new Path("volumeMode"), spec.volumeMode ?? null, "field is immutable");
  }
  if (isSet(before.nodeAffinity) && !sameAffinity(spec.nodeAffinity, before.nodeAffinity)) {
    const text = "field is immutable, except for updating from beta label to GA";
    const shown = internalValue("VolumeNodeAffinity", spec.nodeAffinity);
    r.invalid(new Path("nodeAffinity"), shown, text);
  }
  if (isSet(before.volumeAttributesClassName) && !isSet(spec.volumeAttributesClassName)) {
    const text = "update from non-nil value to nil is forbidden";
    r.forbidden(SPEC.child("volumeAttributesClassName"), text);
  }
  return r.causes;
}

function sourcesOf(spec: Obj): Record<string, Obj> {
  const sources: Record<string, Obj> = {};
  for (const field of SOURCES) if (isSet(spec[field])) sources[field] = spec[field];
  return sources;
}

const GA_LABELS: Record<string, string> = {
  "failure-domain.beta.kubernetes.io/zone": "topology.kubernetes.io/zone",
  "failure-domain.beta.kubernetes.io/region": "topology.kubernetes.io/region",
  "beta.kubernetes.io/os": "kubernetes.io/os",
  "beta.kubernetes.io/arch": "kubernetes.io/arch",
  "beta.kubernetes.io/instance-type": "node.kubernetes.io/instance-type",
};

/** The same affinity, old label names counting as the new ones they became. */
function sameAffinity(now: Obj, then: Obj): boolean {
  const terms: Obj[] = now?.required?.nodeSelectorTerms ?? [];
  const old: Obj[] = then?.required?.nodeSelectorTerms ?? [];
  if (isSet(now) !== isSet(then) || terms.length !== old.length) return false;
  const sameTerm = (a: Obj[] = [], b: Obj[] = []) =>
    a.length === b.length && a.every((x, i) => {
      const key = GA_LABELS[b[i].key] === x.key ? x.key : b[i].key;
      return semanticEqual(x, { ...b[i], key });
    });
  return terms.every((term, i) =>
    sameTerm(term.matchExpressions, old[i].matchExpressions) &&
    sameTerm(term.matchFields, old[i].matchFields)
  );
}
