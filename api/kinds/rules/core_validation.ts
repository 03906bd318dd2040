/**
 * Validation of the core group's smaller kinds: Namespace, Node, ConfigMap, Secret, Endpoints,
 * ReplicationController, PodTemplate, Binding (upstream's `pkg/apis/core/validation`).
 */

import { goQuote } from "../../machinery/go_format.ts";
import { Buffer } from "node:buffer";
import type { Cause, DeepReadonly, KindContext, KubeObject } from "../../machinery/types.ts";
import {
  byteLength,
  checkCidrLegacy,
  isConfigMapKey,
  isDns1123Label,
  isLabelValue,
  isPortNumber,
  isQualifiedName,
  nameIsDnsSubdomain,
  SUBDOMAIN_LENGTH_MAX,
} from "../../machinery/names.ts";
import { tryParseQuantity } from "../../machinery/quantity.ts";
import { semanticEqual } from "./equality.ts";
import { validateIp, validateNonSpecialIp } from "./ip_validation.ts";
import { validateKubeFinalizer } from "./meta.ts";
import { validateTaintEffect } from "./pod_affinity.ts";
import { validateProtocol } from "./pod_containers.ts";
import { validateTemplate } from "./pod_spec.ts";
import { validateAmount } from "./quantity_validation.ts";
import { isSet, METADATA, Path, Report, ROOT, SPEC, STATUS } from "./report.ts";

// deno-lint-ignore no-explicit-any -- objects are decoded JSON; the schema walk has checked their types
type Obj = any;
type Stored = DeepReadonly<KubeObject>;

/** Bytes of data in a Secret or a ConfigMap. */
export const DATA_BYTES_MAX = 1024 * 1024;
const DATA = new Path("data");
const BINARY_DATA = new Path("binaryData");
const IMMUTABLE_SET = "field is immutable when `immutable` is set";

// --- namespaces -------------------------------------------------------------------------------------

/** Checks a new Namespace. */
export function validateNamespace(namespace: Stored): Cause[] {
  const r = new Report();
  for (const finalizer of namespace.spec?.finalizers ?? []) {
    r.check(isQualifiedName(finalizer), SPEC.child("finalizers"), finalizer);
    validateKubeFinalizer(finalizer, SPEC.child("finalizers"), r);
  }
  return r.causes;
}

/** Checks a changed Namespace: its phase follows its deletion. */
export function validateNamespaceUpdate(
  namespace: Stored,
  _old: Stored,
  context: KindContext,
): Cause[] {
  const r = new Report();
  const phase = namespace.status?.phase ?? "";
  if (context.subresource === "status") {
    const at = STATUS.child("Phase");
    if (!namespace.metadata.deletionTimestamp) {
      if (phase !== "Active") {
        r.invalid(at, phase, "may only be 'Active' if `deletionTimestamp` is empty");
      }
    } else if (phase !== "Terminating") {
      r.invalid(at, phase, "may only be 'Terminating' if `deletionTimestamp` is not empty");
    }
  } else if (context.subresource === "finalize") {
    namespace.spec?.finalizers?.forEach((finalizer: string, i: number) => {
      const at = SPEC.child("finalizers").index(i);
      r.check(isQualifiedName(finalizer), at, finalizer);
      validateKubeFinalizer(finalizer, at, r);
    });
  }
  return r.causes;
}

// --- nodes ------------------------------------------------------------------------------------------

/** Checks taints: each key and effect once. */
export function validateTaints(taints: Obj[], path: Path, r: Report): void {
  const seen = new Set<string>();
  taints.forEach((taint, i) => {
    const { key = "", value = "", effect = "" } = taint;
    const at = path.index(i);
    r.check(isQualifiedName(key), at.child("key"), key);
    const messages = isLabelValue(value);
    if (messages.length) r.invalid(at.child("value"), value, messages.join(";"));
    if (effect === "") r.required(at.child("effect"));
    else validateTaintEffect(effect, at.child("effect"), r);
    if (seen.has(`${effect}/${key}`)) {
      r.duplicate(at, taint);
      const last = r.causes[r.causes.length - 1];
      last.message += ": taints must be unique by key and effect pair";
    }
    seen.add(`${effect}/${key}`);
  });
}

function validateNodeResources(status: Obj, r: Report): void {
  for (const field of ["capacity", "allocatable"]) {
    for (const name in status[field] ?? {}) {
      const amount = tryParseQuantity(status[field][name]);
      if (amount) validateAmount(name, amount, STATUS.child(field, name), r);
    }
  }
}

function validatePodCidrs(cidrs: string[], r: Report): void {
  const at = SPEC.child("podCIDRs");
  cidrs.forEach((cidr, i) => r.add(checkCidrLegacy(`${at.index(i)}`, cidr)));
  if (cidrs.length < 2) return;
  const six = cidrs.filter((cidr) => cidr.includes(":")).length;
  if (cidrs.length > 2 || six !== 1) {
    r.invalid(at, cidrs, "may specify no more than one CIDR for each IP family");
  }
  cidrs.forEach((cidr, i) => {
    if (cidrs.indexOf(cidr) < i) r.duplicate(at.index(i), cidr);
  });
}

const FEATURE = /^[A-Z][a-zA-Z0-9]*(\/[a-zA-Z][a-zA-Z0-9]*)*$/;

function validateDeclaredFeatures(features: string[], r: Report): void {
  const list = STATUS.child("declaredFeatures");
  features.forEach((feature, i) => {
    const start = `invalid feature name ${goQuote(feature)}`;
    if (byteLength(feature) > SUBDOMAIN_LENGTH_MAX) {
      const text = `${start}: must be no more than ${SUBDOMAIN_LENGTH_MAX} characters`;
      r.invalid(list.index(i), feature, text);
    } else if (!FEATURE.test(feature)) {
      const text =
        `${start}: must start with an UpperCamelCase segment, with subsequent segments ` +
        "separated by '/' (e.g., MyFeature or MyFeature/mySubFeature), and contain only " +
        "alphanumeric characters and slashes";
      r.invalid(list.index(i), feature, text);
    }
    const next = features[i + 1];
    if (feature === next) r.duplicate(list.index(i + 1), next);
    else if (feature > next) {
      r.invalid(list.index(i + 1), next, "list must be sorted alphabetically");
    }
  });
}

/** Checks a new Node. */
export function validateNode(node: Stored): Cause[] {
  const r = new Report();
  const spec: Obj = node.spec ?? {};
  // Upstream's path of taints begins with metadata.
  if (spec.taints?.length) validateTaints(spec.taints, METADATA.child("taints"), r);
  validateNodeResources(node.status ?? {}, r);
  const swap = node.status?.nodeInfo?.swap?.capacity;
  if (isSet(swap) && swap <= 0) {
    r.invalid(METADATA.child("nodeSwapStatus", "capacity"), swap, "must be greater than zero");
  }
  validateDeclaredFeatures(node.status?.declaredFeatures ?? [], r);
  if (spec.podCIDRs?.length) validatePodCidrs(spec.podCIDRs, r);
  return r.causes;
}

/** Checks a changed Node: its block and its provider's id are set once. */
export function validateNodeUpdate(node: Stored, old: Stored): Cause[] {
  const r = new Report();
  const spec: Obj = node.spec ?? {}, before: Obj = old.spec ?? {}, status: Obj = node.status ?? {};
  r.add(validateNode(node));
  const seen = new Set<string>();
  status.addresses?.forEach((address: Obj, i: number) => {
    const key = `${address.type}/${address.address}`;
    if (seen.has(key)) r.duplicate(STATUS.child("addresses").index(i), address);
    seen.add(key);
  });
  const cidrs: string[] = spec.podCIDRs ?? [], given: string[] = before.podCIDRs ?? [];
  const text = 'node updates may not change podCIDR except from "" to valid';
  if (given.length > 0 && given.length !== cidrs.length) r.forbidden(SPEC.child("podCIDRs"), text);
  else given.forEach((cidr, i) => cidr !== cidrs[i] && r.forbidden(SPEC.child("podCIDRs"), text));
  if (before.providerID && spec.providerID !== before.providerID) {
    const text = 'node updates may not change providerID except from "" to valid';
    r.forbidden(SPEC.child("providerID"), text);
  }
  if (spec.taints?.length) validateTaints(spec.taints, METADATA.child("taints"), r);
  if ((spec.externalID ?? "") !== (before.externalID ?? "")) {
    r.forbidden(SPEC.child("externalID"), "may not be updated");
  }
  return r.causes;
}

// --- ConfigMaps and Secrets -------------------------------------------------------------------------

/** Bytes that a base64 text stands for. */
function decodedLength(text: string): number {
  const padding = text.endsWith("==") ? 2 : text.endsWith("=") ? 1 : 0;
  return Math.max(0, Math.floor(text.length * 3 / 4) - padding);
}

function validateConfigMapObject(map: Stored, r: Report): void {
  let size = 0;
  for (const key in map.data ?? {}) {
    r.check(isConfigMapKey(key), DATA.key(key), key);
    if (map.binaryData?.[key] !== undefined) {
      r.invalid(DATA.key(key), key, "duplicate of key present in binaryData");
    }
    size += byteLength(map.data[key] ?? "");
  }
  for (const key in map.binaryData ?? {}) {
    r.check(isConfigMapKey(key), BINARY_DATA.key(key), key);
    size += decodedLength(map.binaryData[key] ?? "");
  }
  if (size > DATA_BYTES_MAX) r.tooLong(ROOT, DATA_BYTES_MAX);
}

function validateImmutable(now: Stored, then: Stored, fields: readonly string[], r: Report): void {
  if (then.immutable !== true) return;
  if (now.immutable !== true) r.forbidden(new Path("immutable"), IMMUTABLE_SET);
  for (const field of fields) {
    if (!sameMap(now[field], then[field])) r.forbidden(new Path(field), IMMUTABLE_SET);
  }
}

function sameMap(a: Obj, b: Obj): boolean {
  return semanticEqual(a ?? {}, b ?? {});
}

/** Checks a new ConfigMap. */
export function validateConfigMap(map: Stored): Cause[] {
  const r = new Report();
  validateConfigMapObject(map, r);
  return r.causes;
}

/** Checks a changed ConfigMap. */
export function validateConfigMapUpdate(map: Stored, old: Stored): Cause[] {
  const r = new Report();
  validateImmutable(map, old, ["data", "binaryData"], r);
  validateConfigMapObject(map, r);
  return r.causes;
}

const ACCOUNT_ANNOTATION = "kubernetes.io/service-account.name";
const REDACTED = "<secret contents redacted>";

function validateJson(data: Obj, key: string, r: Report): void {
  const at = DATA.key(key);
  if (data[key] === undefined) return r.required(at);
  const text = Buffer.from(data[key], "base64").toString("utf8");
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    const trouble = text.trim() === ""
      ? "unexpected end of JSON input"
      : "invalid character in JSON text";
    return r.invalid(at, REDACTED, trouble);
  }
  if (value === null || (typeof value === "object" && !Array.isArray(value))) return;
  const type = Array.isArray(value) ? "array" : typeof value === "boolean" ? "bool" : typeof value;
  const text2 = `json: cannot unmarshal ${type} into Go value of type map[string]interface {}`;
  r.invalid(at, REDACTED, text2);
}

function validateSecretObject(secret: Stored, r: Report): void {
  const data: Obj = secret.data ?? {};
  let size = 0;
  for (const key in data) {
    r.check(isConfigMapKey(key), DATA.key(key), key);
    size += decodedLength(data[key] ?? "");
  }
  if (size > DATA_BYTES_MAX) r.tooLong(DATA, DATA_BYTES_MAX);
  const need = (key: string) => {
    if (data[key] === undefined) r.required(DATA.key(key));
  };
  switch (secret.type) {
    case "kubernetes.io/service-account-token":
      if (!secret.metadata.annotations?.[ACCOUNT_ANNOTATION]) {
        r.required(METADATA.child("annotations").key(ACCOUNT_ANNOTATION));
      }
      break;
    case "kubernetes.io/dockercfg":
      validateJson(data, ".dockercfg", r);
      break;
    case "kubernetes.io/dockerconfigjson":
      validateJson(data, ".dockerconfigjson", r);
      break;
    case "kubernetes.io/basic-auth":
      if (data.username !== undefined || data.password !== undefined) break;
      need("username");
      need("password");
      break;
    case "kubernetes.io/ssh-auth":
      if (!data["ssh-privatekey"]) r.required(DATA.key("ssh-privatekey"));
      break;
    case "kubernetes.io/tls":
      need("tls.crt");
      need("tls.key");
  }
}

/** Checks a new Secret. */
export function validateSecret(secret: Stored): Cause[] {
  const r = new Report();
  validateSecretObject(secret, r);
  return r.causes;
}

/** Checks a changed Secret: its type stays. */
export function validateSecretUpdate(secret: Stored, old: Stored): Cause[] {
  const r = new Report();
  if ((secret.type ?? "") !== (old.type ?? "")) {
    r.invalid(new Path("type"), secret.type ?? "", "field is immutable");
  }
  validateImmutable(secret, old, ["data"], r);
  validateSecretObject(secret, r);
  return r.causes;
}

// --- endpoints --------------------------------------------------------------------------------------

function validateEndpointAddress(address: Obj, path: Path, r: Report): void {
  const { ip = "", hostname, nodeName } = address;
  validateIp(ip, path.child("ip"), r);
  if (hostname) r.check(isDns1123Label(hostname), path.child("hostname"), hostname);
  if (isSet(nodeName)) {
    r.check(nameIsDnsSubdomain(nodeName, false), path.child("nodeName"), nodeName);
  }
  validateNonSpecialIp(ip, path.child("ip"), r);
}

/** Checks Endpoints, new or changed. */
export function validateEndpoints(endpoints: Stored): Cause[] {
  const r = new Report();
  endpoints.subsets?.forEach((subset: Obj, i: number) => {
    const { addresses = [], notReadyAddresses = [], ports = [] } = subset;
    const at = new Path("subsets").index(i);
    if (addresses.length === 0 && notReadyAddresses.length === 0) {
      r.required(at, "must specify `addresses` or `notReadyAddresses`");
    }
    addresses.forEach((address: Obj, j: number) => {
      validateEndpointAddress(address, at.child("addresses").index(j), r);
    });
    notReadyAddresses.forEach((address: Obj, j: number) => {
      validateEndpointAddress(address, at.child("notReadyAddresses").index(j), r);
    });
    ports.forEach(({ name, port = 0, protocol, appProtocol }: Obj, j: number) => {
      const portAt = at.child("ports").index(j);
      if (name) r.check(isDns1123Label(name), portAt.child("name"), name);
      else if (ports.length > 1) r.required(portAt.child("name"));
      r.check(isPortNumber(port), portAt.child("port"), port);
      validateProtocol(protocol, portAt, r);
      if (isSet(appProtocol)) {
        r.check(isQualifiedName(appProtocol), portAt.child("appProtocol"), appProtocol);
      }
    });
  });
  return r.causes;
}

// --- controllers and templates ----------------------------------------------------------------------

const NEGATIVE = "must be greater than or equal to 0";

/** Checks that numbers are not negative. */
export function validateNonNegative(
  object: Obj,
  names: readonly string[],
  path: Path,
  r: Report,
): void {
  for (const name of names) {
    if (object[name] < 0) r.invalid(path.child(name), object[name], NEGATIVE);
  }
}

function validateControllerSpec(spec: Obj, r: Report): void {
  validateNonNegative(spec, ["minReadySeconds"], SPEC, r);
  const selector: Record<string, string> = spec.selector ?? {};
  if (Object.keys(selector).length === 0) r.required(SPEC.child("selector"));
  validateNonNegative(spec, ["replicas"], SPEC, r);
  const at = SPEC.child("template");
  const template = spec.template;
  if (!isSet(template)) return r.required(at);
  const labels = template.metadata?.labels ?? null;
  for (const key in selector) {
    if (labels?.[key] === selector[key]) continue;
    r.invalid(
      at.child("metadata", "labels"),
      labels,
      "`selector` does not match template `labels`",
    );
    break;
  }
  validateTemplate(template, at, r);
  const policy = template.spec?.restartPolicy;
  if (policy !== "Always") {
    r.notSupported(at.child("spec", "restartPolicy"), policy ?? "", ["Always"]);
  }
  if (isSet(template.spec?.activeDeadlineSeconds)) {
    const text = "activeDeadlineSeconds in ReplicationController is not Supported";
    r.forbidden(at.child("spec", "activeDeadlineSeconds"), text);
  }
}

/** Checks the counts that a controller of replicas reports. */
export function validateReplicaCounts(status: Obj, r: Report): void {
  const { replicas = 0, readyReplicas = 0, availableReplicas = 0, fullyLabeledReplicas = 0 } =
    status;
  validateNonNegative(
    status,
    [
      "replicas",
      "fullyLabeledReplicas",
      "readyReplicas",
      "availableReplicas",
      "observedGeneration",
      "terminatingReplicas",
    ],
    STATUS,
    r,
  );
  const text = "cannot be greater than status.replicas";
  const say = (name: string, value: number, why: string) =>
    r.invalid(STATUS.child(name), value, why);
  if (fullyLabeledReplicas > replicas) say("fullyLabeledReplicas", fullyLabeledReplicas, text);
  if (readyReplicas > replicas) say("readyReplicas", readyReplicas, text);
  if (availableReplicas > replicas) say("availableReplicas", availableReplicas, text);
  if (availableReplicas > readyReplicas) {
    say("availableReplicas", availableReplicas, "cannot be greater than readyReplicas");
  }
}

/** Checks a new ReplicationController. */
export function validateReplicationController(controller: Stored): Cause[] {
  const r = new Report();
  validateControllerSpec(controller.spec ?? {}, r);
  return r.causes;
}

/** Checks a changed ReplicationController. */
export function validateReplicationControllerUpdate(
  controller: Stored,
  _old: Stored,
  context: KindContext,
): Cause[] {
  const r = new Report();
  if (context.subresource === "status") validateReplicaCounts(controller.status ?? {}, r);
  else validateControllerSpec(controller.spec ?? {}, r);
  return r.causes;
}

/** Checks a PodTemplate, new or changed. */
export function validatePodTemplateObject(object: Stored): Cause[] {
  const r = new Report();
  validateTemplate(object.template ?? {}, new Path("template"), r);
  return r.causes;
}

/** Checks the binding of a pod to a node. */
export function validateBinding(binding: Stored): Cause[] {
  const r = new Report();
  const { kind, name } = binding.target ?? {};
  const at = new Path("target");
  if (kind && kind !== "Node") r.notSupported(at.child("kind"), kind, ["Node", "<empty>"], true);
  if (!name) r.required(at.child("name"));
  return r.causes;
}
