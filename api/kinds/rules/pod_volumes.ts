/**
 * Validation of a pod's volumes (upstream's `ValidateVolumes`): one source each, unique names, and the rules
 * of the sources that only pods have.
 */

import {
  isDns1123Label,
  isDns1123Subdomain,
  LABEL_LENGTH_MAX,
  nameIsDnsSubdomain,
  SUBDOMAIN_LENGTH_MAX,
} from "../../machinery/names.ts";
import { tryParseQuantity } from "../../machinery/quantity.ts";
import { checkLabelSelector } from "../../machinery/selectors.ts";
import { validateClaimTemplate } from "./claim_validation.ts";
import type { PodOptions } from "./pod_options.ts";
import { validateFieldRef, validateResourceFieldRef, VOLUME_FIELDS } from "./pod_env.ts";
import { isSet, type Path, type Report } from "./report.ts";
import { validateLocalPath, validateMode } from "./validate_paths.ts";
import {
  SHARED_SOURCES,
  SOURCE_PATHS,
  validateCsiDriverName,
  validateIscsiName,
} from "./volume_sources.ts";

// deno-lint-ignore no-explicit-any -- objects are decoded JSON; the schema walk has checked their types
type Obj = any;
type Check = (source: Obj, path: Path, r: Report, options: PodOptions) => void;

/** Volumes by name, those that are valid. */
export type Volumes = ReadonlyMap<string, Obj>;

const NO_VOLUMES: Volumes = new Map();

/** Checks the volumes of a pod; returns the good ones, which mounts refer to. */
export function validateVolumes(
  volumes: Obj[] | undefined,
  path: Path,
  r: Report,
  options: PodOptions,
): Volumes {
  if (!volumes?.length) return NO_VOLUMES;
  const good = new Map<string, Obj>();
  const podName = options.podName;
  const created = new Set<string>();
  if (podName) {
    for (const v of volumes) if (isSet(v.ephemeral)) created.add(`${podName}-${v.name}`);
  }
  for (let i = 0; i < volumes.length; i++) {
    const volume = volumes[i];
    const at = path.index(i);
    const before = r.causes.length;
    validateSource(volume, at, r, options);
    if (!volume.name) r.required(at.child("name"));
    else {
      const messages = isDns1123Label(volume.name);
      if (messages.length) r.check(messages, at.child("name"), volume.name);
    }
    if (good.has(volume.name)) r.duplicate(at.child("name"), volume.name);
    if (r.causes.length === before) good.set(volume.name, volume);
    const claim = volume.persistentVolumeClaim?.claimName;
    if (claim && created.has(claim)) {
      const text = "must not reference a PVC that gets created for an ephemeral volume";
      r.invalid(at.child("persistentVolumeClaim", "claimName"), claim, text);
    }
  }
  return good;
}

function validateSource(volume: Obj, path: Path, r: Report, options: PodOptions): void {
  let found = 0;
  for (const field in volume) {
    if (field === "name" || !isSet(volume[field])) continue;
    found++;
  }
  if (found === 1) {
    for (const field in volume) {
      if (field !== "name" && isSet(volume[field])) checkSource(volume, field, path, r, options);
    }
    return;
  }
  if (found === 0) return r.required(path, "must specify a volume type");
  // Several: upstream checks the first in its own order and refuses the others.
  let first = true;
  for (const field of SOURCE_ORDER) {
    if (!isSet(volume[field])) continue;
    if (first) checkSource(volume, field, path, r, options);
    else {
      const named = field === "downwardAPI" ? "downwarAPI" : field === "cephfs" ? "cephFS" : field;
      r.forbidden(path.child(named), "may not specify more than 1 volume type");
    }
    first = false;
  }
}

function checkSource(volume: Obj, field: string, path: Path, r: Report, options: PodOptions): void {
  const source = volume[field];
  const own = POD_SOURCES[field];
  if (own) own(source, path.child(field), r, options);
  else SHARED_SOURCES[field]?.(source, path.child(SOURCE_PATHS[field] ?? field), r);
  if (field === "iscsi") validateIscsiName(volume, path, r);
  if (field === "ephemeral" && options.podName && volume.name) {
    const claim = `${options.podName}-${volume.name}`;
    for (const message of nameIsDnsSubdomain(claim, false)) {
      r.invalid(path.child("name"), volume.name, `PVC name "${claim}": ${message}`);
    }
  }
}

const emptyDir: Check = (source, path, r) => {
  if (!isSet(source.sizeLimit)) return;
  const limit = tryParseQuantity(source.sizeLimit);
  if (limit && limit.sign < 0) {
    r.forbidden(path.child("sizeLimit"), "SizeLimit field must be a valid resource quantity");
  }
};

function validateItems(items: Obj[] | undefined, path: Path, r: Report): void {
  if (!items?.length) return;
  for (let i = 0; i < items.length; i++) validateItem(items[i], path.child("items").index(i), r);
}

function validateItem(item: Obj, path: Path, r: Report): void {
  if (!item.key) r.required(path.child("key"));
  if (!item.path) r.required(path.child("path"));
  validateLocalPath(item.path ?? "", path.child("path"), r);
  validateMode(item.mode, path, "mode", r);
}

const secret: Check = (source, path, r) => {
  if (!source.secretName) r.required(path.child("secretName"));
  validateMode(source.defaultMode, path, "defaultMode", r);
  validateItems(source.items, path, r);
};

const configMap: Check = (source, path, r) => {
  if (!source.name) r.required(path.child("name"));
  validateMode(source.defaultMode, path, "defaultMode", r);
  validateItems(source.items, path, r);
};

function validateDownwardFile(file: Obj, path: Path, r: Report): void {
  if (!file.path) r.required(path.child("path"));
  validateLocalPath(file.path ?? "", path.child("path"), r);
  if (isSet(file.fieldRef)) {
    validateFieldRef(file.fieldRef, VOLUME_FIELDS, path.child("fieldRef"), r);
    if (isSet(file.resourceFieldRef)) {
      const text = "fieldRef and resourceFieldRef can not be specified simultaneously";
      r.invalid(path, "resource", text);
    }
  } else if (isSet(file.resourceFieldRef)) {
    validateResourceFieldRef(file.resourceFieldRef, path.child("resourceFieldRef"), r, true);
  } else r.required(path, "one of fieldRef and resourceFieldRef is required");
  validateMode(file.mode, path, "mode", r);
}

const downwardAPI: Check = (source, path, r) => {
  validateMode(source.defaultMode, path, "defaultMode", r);
  for (const file of source.items ?? []) validateDownwardFile(file, path, r);
};

const TOKEN_SECONDS_MIN = 600;
const TOKEN_SECONDS_MAX = 2 ** 32;

const projected: Check = (source, path, r) => {
  validateMode(source.defaultMode, path, "defaultMode", r);
  const seen = new Set<string>();
  const sources: Obj[] = source.sources ?? [];
  for (let i = 0; i < sources.length; i++) {
    const entry = sources[i];
    const at = path.child("sources").index(i);
    let found = 0;
    for (const field in entry) {
      if (!isSet(entry[field])) continue;
      found++;
      PROJECTIONS[field]?.(entry[field], at.child(field), r, path, seen);
    }
    if (found > 1) r.forbidden(at, "may not specify more than 1 volume type per source");
  }
};

type Projection = (source: Obj, at: Path, r: Report, volume: Path, seen: Set<string>) => void;

function once(target: string, shown: string, volume: Path, r: Report, seen: Set<string>): void {
  if (target === "") return;
  if (seen.has(target)) r.invalid(volume, shown, "conflicting duplicate paths");
  else seen.add(target);
}

const keys: Projection = (source, at, r, volume, seen) => {
  if (!source.name) r.required(at.child("name"));
  validateItems(source.items, at, r);
  for (const item of source.items ?? []) once(item.path ?? "", source.name ?? "", volume, r, seen);
};

const PROJECTIONS: Record<string, Projection> = {
  secret: keys,
  configMap: keys,
  downwardAPI(source, at, r, volume, seen) {
    for (const file of source.items ?? []) {
      validateDownwardFile(file, at, r);
      once(file.path ?? "", file.path ?? "", volume, r, seen);
    }
  },
  serviceAccountToken(source, at, r, volume) {
    const seconds = source.expirationSeconds ?? 0;
    if (seconds < TOKEN_SECONDS_MIN) {
      const text = "may not specify a duration less than 10 minutes";
      r.invalid(at.child("expirationSeconds"), seconds, text);
    }
    if (seconds > TOKEN_SECONDS_MAX) {
      const text = "may not specify a duration larger than 2^32 seconds";
      r.invalid(at.child("expirationSeconds"), seconds, text);
    }
    if (!source.path) r.required(volume.child("path"));
    else validateLocalPath(source.path, volume.child("path"), r);
  },
  clusterTrustBundle(source, at, r, volume, seen) {
    validateTrustBundle(source, at, r);
    if (!source.path) r.required(at.child("path"));
    validateLocalPath(source.path ?? "", at.child("path"), r);
    once(source.path ?? "", source.path ?? "", volume, r, seen);
  },
  podCertificate: validatePodCertificate,
};

function validateTrustBundle(source: Obj, at: Path, r: Report): void {
  const named = isSet(source.name), signed = isSet(source.signerName);
  if (named && signed) r.invalid(at, source, "only one of name and signerName may be used");
  else if (named) {
    if (source.name === "") r.required(at.child("name"), "must be a valid object name");
    const colon = source.name.lastIndexOf(":");
    const messages = nameIsDnsSubdomain(source.name.slice(colon + 1), false);
    for (const message of messages) {
      r.invalid(at.child("name"), source.name, `not a valid clustertrustbundlename: ${message}`);
    }
    if (isSet(source.labelSelector)) {
      const text = "labelSelector must be unset if name is specified";
      r.invalid(at.child("labelSelector"), source.labelSelector, text);
    }
  } else if (signed) {
    if (source.signerName === "") r.required(at.child("signerName"), "must be a valid signer name");
    validateSignerName(source.signerName, at.child("signerName"), r);
    r.add(checkLabelSelector(`${at.child("labelSelector")}`, source.labelSelector));
  } else r.required(at, "either name or signerName must be specified");
}

/** `domain/path`: who signs. */
export function validateSignerName(name: string, path: Path, r: Report): void {
  if (name === "") return r.required(path);
  const [domain, rest, ...more] = name.split("/");
  if (rest === undefined || more.length > 0) {
    return r.invalid(
      path,
      name,
      "must be a fully qualified domain and path of the form 'example.com/signer-name'",
    );
  }
  if (domain.length > SUBDOMAIN_LENGTH_MAX) r.tooLong(path, SUBDOMAIN_LENGTH_MAX);
  validateDotted(domain, isDns1123Label, path, r);
  if (!domain.includes(".")) {
    r.invalid(path, domain, "should be a domain with at least two segments separated by dots");
  }
  validateDotted(rest, isDns1123Subdomain, path, r);
  if (name.length > SIGNER_NAME_LENGTH_MAX) r.tooLong(path, SIGNER_NAME_LENGTH_MAX);
}

const SIGNER_NAME_LENGTH_MAX = 2 * SUBDOMAIN_LENGTH_MAX + LABEL_LENGTH_MAX + 2;

/** Checks the parts between dots; the first bad one says enough. */
function validateDotted(
  text: string,
  check: (part: string) => string[],
  path: Path,
  r: Report,
): void {
  for (const part of text.split(".")) {
    const problems = check(part);
    for (const problem of problems) {
      r.invalid(path, text, `validating label ${JSON.stringify(part)}: ${problem}`);
    }
    if (problems.length > 0) return;
  }
}

const KEY_TYPES = ["ECDSAP256", "ECDSAP384", "ECDSAP521", "ED25519", "RSA3072", "RSA4096"];
const CERTIFICATE_SECONDS_MIN = 3600;
const CERTIFICATE_SECONDS_MAX = 91 * 86400;

function validatePodCertificate(
  source: Obj,
  at: Path,
  r: Report,
  volume: Path,
  seen: Set<string>,
): void {
  validateSignerName(source.signerName ?? "", at.child("signerName"), r);
  if (!KEY_TYPES.includes(source.keyType)) {
    r.notSupported(at.child("keyType"), source.keyType ?? "", KEY_TYPES);
  }
  const seconds = source.maxExpirationSeconds;
  if (isSet(seconds) && seconds < CERTIFICATE_SECONDS_MIN) {
    const text = `if provided, maxExpirationSeconds must be >= ${CERTIFICATE_SECONDS_MIN}`;
    r.invalid(at.child("maxExpirationSeconds"), seconds, text);
  } else if (isSet(seconds) && seconds > CERTIFICATE_SECONDS_MAX) {
    const text = `if provided, maxExpirationSeconds must be <= ${CERTIFICATE_SECONDS_MAX}`;
    r.invalid(at.child("maxExpirationSeconds"), seconds, text);
  }
  let found = 0;
  for (const field of ["credentialBundlePath", "keyPath", "certificateChainPath"]) {
    const target = source[field];
    if (!target) continue;
    found++;
    validateLocalPath(target, at.child(field), r);
    once(target, target, volume, r, seen);
  }
  if (found === 0) {
    r.required(
      at,
      "specify at least one of credentialBundlePath, keyPath, and certificateChainPath",
    );
  }
}

const csi: Check = (source, path, r) => {
  validateCsiDriverName(source.driver ?? "", path.child("driver"), r);
  const ref = source.nodePublishSecretRef;
  if (!isSet(ref)) return;
  if (!ref.name) r.required(path.child("nodePublishSecretRef", "name"));
  else r.check(nameIsDnsSubdomain(ref.name, false), path.child("name"), ref.name);
};

const PULL_POLICIES = ["Always", "IfNotPresent", "Never"];

/** Checks an image's pull policy. */
export function validatePullPolicy(policy: string | undefined, path: Path, r: Report): void {
  if (policy === "Always" || policy === "IfNotPresent" || policy === "Never") return;
  const at = path.child("imagePullPolicy");
  if (!policy) r.required(at);
  else r.notSupported(at, policy, PULL_POLICIES);
}

const POD_SOURCES: Record<string, Check> = {
  emptyDir,
  secret,
  configMap,
  downwardAPI,
  projected,
  csi,
  persistentVolumeClaim(source, path, r) {
    if (!source.claimName) r.required(path.child("claimName"));
  },
  ephemeral(source, path, r) {
    const template = source.volumeClaimTemplate;
    if (!isSet(template)) r.required(path.child("volumeClaimTemplate"));
    else validateClaimTemplate(template, path.child("volumeClaimTemplate"), r);
  },
  image(source, path, r, options) {
    if (options.isPod && !source.reference) r.required(path.child("reference"));
    const policy = source.pullPolicy;
    if (PULL_POLICIES.includes(policy)) return;
    if (!policy) r.required(path.child("pullPolicy"));
    else r.notSupported(path.child("pullPolicy"), policy, PULL_POLICIES);
  },
};

const SOURCE_ORDER = [
  "emptyDir",
  "hostPath",
  "gitRepo",
  "gcePersistentDisk",
  "awsElasticBlockStore",
  "secret",
  "nfs",
  "iscsi",
  "glusterfs",
  "flocker",
  "persistentVolumeClaim",
  "rbd",
  "cinder",
  "cephfs",
  "quobyte",
  "downwardAPI",
  "fc",
  "flexVolume",
  "configMap",
  "azureFile",
  "vsphereVolume",
  "photonPersistentDisk",
  "portworxVolume",
  "azureDisk",
  "storageos",
  "projected",
  "scaleIO",
  "csi",
  "ephemeral",
  "image",
];
