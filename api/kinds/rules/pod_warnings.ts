/**
 * What is allowed in pods and templates but likely a mistake (upstream's `pkg/api/pod/warnings.go`). Clients
 * show these lines; nothing is refused. Of pods only new ones are looked at, as upstream does.
 */

import type { DeepReadonly, KindHooks, KubeObject } from "../../machinery/types.ts";
import { goList, goQuote } from "../../machinery/go_format.ts";
import { formatIp, parseIp, unmapped } from "../../machinery/ip.ts";
import { isDns1123Label } from "../../machinery/names.ts";
import { tryParseQuantity } from "../../machinery/quantity.ts";
import { APP_ARMOR, eachContainer } from "./pod_security.ts";
import { isSet, type Path, ROOT } from "./report.ts";

// deno-lint-ignore no-explicit-any -- objects are decoded JSON; the schema walk has checked their types
type Obj = any;
type Stored = DeepReadonly<KubeObject>;

const NODE_LABELS: ReadonlyMap<string, string> = new Map([
  ["beta.kubernetes.io/arch", 'deprecated since v1.14; use "kubernetes.io/arch" instead'],
  ["beta.kubernetes.io/os", 'deprecated since v1.14; use "kubernetes.io/os" instead'],
  [
    "failure-domain.beta.kubernetes.io/region",
    'deprecated since v1.17; use "topology.kubernetes.io/region" instead',
  ],
  [
    "failure-domain.beta.kubernetes.io/zone",
    'deprecated since v1.17; use "topology.kubernetes.io/zone" instead',
  ],
  [
    "beta.kubernetes.io/instance-type",
    'deprecated since v1.17; use "node.kubernetes.io/instance-type" instead',
  ],
]);

const ANNOTATIONS: readonly [string, string][] = [
  [
    "scheduler.alpha.kubernetes.io/critical-pod",
    'non-functional in v1.16+; use the "priorityClassName" field instead',
  ],
  [
    "security.alpha.kubernetes.io/sysctls",
    'non-functional in v1.11+; use the "sysctls" field instead',
  ],
  [
    "security.alpha.kubernetes.io/unsafe-sysctls",
    'non-functional in v1.11+; use the "sysctls" field instead',
  ],
];

/** Sources of old, what there is to say, and what warnings call them where not by their name. */
const VOLUMES: readonly [string, string, string?][] = [
  ["photonPersistentDisk", "deprecated in v1.11, non-functional in v1.16+"],
  ["gitRepo", "deprecated in v1.11, and disabled by default in v1.33+"],
  ["scaleIO", "deprecated in v1.16, non-functional in v1.22+"],
  ["flocker", "deprecated in v1.22, non-functional in v1.25+"],
  ["storageos", "deprecated in v1.22, non-functional in v1.25+", "storageOS"],
  ["quobyte", "deprecated in v1.22, non-functional in v1.25+"],
  ["glusterfs", "deprecated in v1.25, non-functional in v1.26+"],
  ["cephfs", "deprecated in v1.28, non-functional in v1.31+"],
  ["rbd", "deprecated in v1.28, non-functional in v1.31+"],
];

const SECCOMP_POD = "seccomp.security.alpha.kubernetes.io/pod";
const SECCOMP_CONTAINER = "container.seccomp.security.alpha.kubernetes.io/";
const SECCOMP_TEXT = 'non-functional in v1.27+; use the "seccompProfile" field instead';
const BYTE_RESOURCES = ["memory", "ephemeral-storage"];
const NO_POD = "a null labelSelector results in matching no pod";

// --- nodes, amounts, addresses ----------------------------------------------------------------------

/** What there is to say of a node's label, if it is one of old. */
export function nodeLabelText(key: string): string | undefined {
  return NODE_LABELS.get(key);
}

/** Warns of terms that select by labels of old. */
export function nodeTermWarnings(term: Obj, path: Path, lines: string[]): void {
  term?.matchExpressions?.forEach(({ key }: Obj, i: number) => {
    const text = NODE_LABELS.get(key);
    if (text) {
      lines.push(`${path.child("matchExpressions").index(i).child("key")}: ${key} is ${text}`);
    }
  });
}

const LIMITS = ["resources", "limits"] as const;
const REQUESTS = ["resources", "requests"] as const;

/** Warns of an amount of bytes that is not whole, in the list that is `steps` below `path`. */
function fractionWarning(
  list: Obj,
  name: string,
  path: Path,
  steps: readonly [string, ...string[]],
  lines: string[],
): void {
  const amount = list?.[name];
  // Canonical amounts with a fraction end in m, or have an exponent.
  if (typeof amount !== "string" || !/m$|e-/.test(amount)) return;
  if (tryParseQuantity(amount)!.milliValue() % 1000 === 0) return;
  const text = `fractional byte value ${goQuote(amount)} is invalid, must be an integer`;
  lines.push(`${path.child(...steps).key(name)}: ${text}`);
}

/** Warns of an address that is not written as it should be. */
export function addressWarning(address: string, path: Path, lines: string[]): void {
  const ip = parseIp(address, { sloppy: true });
  if (!ip) return;
  const canonical = formatIp(unmapped(ip));
  if (canonical === address) return;
  if (ip.leadingZeros || ip.mapped) {
    const text = `non-standard IP address ${goQuote(address)} is invalid: use ` +
      goQuote(canonical);
    lines.push(`${path}: ${text}`);
  } else {
    const text = `IPv6 address ${goQuote(address)} should be in RFC 5952 canonical format ` +
      `(${goQuote(canonical)})`;
    lines.push(`${path}: ${text}`);
  }
}

// --- volumes ----------------------------------------------------------------------------------------

/** The path of those that `path` cannot live beside: itself, one inside it, or one around it. */
function collision(known: Iterable<string>, path: string): string {
  for (const item of known) {
    if (item === "" || path === "") return "";
    if (item === path || `${item}/`.startsWith(path) || `${path}/`.startsWith(item)) return item;
  }
  return "";
}

function overlapWarnings(paths: readonly string[], text: string, lines: string[]): void {
  const known = new Set<string>();
  for (const path of paths) {
    const plain = path.replace(/\/+$/, "");
    const other = collision(known, plain);
    if (other) lines.push(`${text}: overlapping paths: ${goQuote(plain)} with ${goQuote(other)}`);
    known.add(plain);
  }
}

function pathsOf(items: Obj[] | undefined): string[] {
  return items?.map((item) => item.path ?? "") ?? [];
}

/** The paths that a source of a projected volume fills, and its name in warnings. */
function projection(source: Obj): [string[], string] {
  const { configMap, secret, downwardAPI, serviceAccountToken, clusterTrustBundle } = source;
  if (configMap?.items) return [pathsOf(configMap.items), ` ConfigMap ${goQuote(configMap.name)}`];
  if (secret?.items) return [pathsOf(secret.items), ` Secret ${goQuote(secret.name)}`];
  if (downwardAPI?.items) return [pathsOf(downwardAPI.items), " DownwardAPI"];
  if (serviceAccountToken) return [[serviceAccountToken.path], " ServiceAccountToken"];
  if (clusterTrustBundle) {
    const { path, name, signerName = "" } = clusterTrustBundle;
    return [[path], ` ClusterTrustBundle ${goQuote(name ?? signerName)}`];
  }
  return [[], ""];
}

function projectedWarnings(volume: Obj, lines: string[]): void {
  const known = new Set<string>();
  const head = `volume ${goQuote(volume.name)} (Projected`;
  for (const source of volume.projected.sources ?? []) {
    if (Object.keys(source).length === 0) {
      lines.push(`${head}) has no sources provided`);
      continue;
    }
    const [paths, name] = projection(source);
    if (paths.length === 0) continue;
    overlapWarnings(paths, `${head}${name})`, lines);
    const all = [...new Set(paths), ...known].sort();
    overlapWarnings(all, `${head}${name})`, lines);
    for (const path of paths) known.add(path);
  }
}

function volumeWarnings(volumes: Obj[], path: Path, lines: string[]): void {
  for (let i = 0; i < volumes.length; i++) {
    const volume = volumes[i];
    for (const [source, text, name = source] of VOLUMES) {
      if (isSet(volume[source])) lines.push(`${path.index(i).child(name)}: ${text}`);
    }
    const claim = volume.ephemeral?.volumeClaimTemplate?.spec;
    if (claim) {
      const at = path.index(i).child("ephemeral", "volumeClaimTemplate", "spec");
      claimWarnings(claim, at, lines);
    }
  }
  for (const volume of volumes) {
    const { name, configMap, secret, downwardAPI } = volume;
    const head = `volume ${goQuote(name)} (`;
    if (configMap?.items) {
      const text = `${head}ConfigMap ${goQuote(configMap.name ?? "")})`;
      overlapWarnings(pathsOf(configMap.items), text, lines);
    } else if (secret?.items) {
      const text = `${head}Secret ${goQuote(secret.secretName ?? "")})`;
      overlapWarnings(pathsOf(secret.items), text, lines);
    } else if (downwardAPI?.items) {
      overlapWarnings(pathsOf(downwardAPI.items), `${head}DownwardAPI)`, lines);
    } else if (volume.projected) projectedWarnings(volume, lines);
  }
}

/** Warns of a claim for a fraction of a byte. */
export function claimWarnings(spec: Obj, path: Path, lines: string[]): void {
  fractionWarning(spec?.resources?.requests, "storage", path, REQUESTS, lines);
  fractionWarning(spec?.resources?.limits, "storage", path, LIMITS, lines);
}

// --- pods -------------------------------------------------------------------------------------------

function duplicateWarnings(list: Obj[], field: string, what: string, path: Path, lines: string[]) {
  const seen = new Set<string>();
  list.forEach((item, i) => {
    const value = item[field] ?? "";
    if (seen.has(value)) {
      lines.push(`${path.index(i).child(field)}: duplicate ${what} ${goQuote(value)}`);
    }
    seen.add(value);
  });
}

function affinityWarnings(affinity: Obj, path: Path, lines: string[]): void {
  const required = "requiredDuringSchedulingIgnoredDuringExecution";
  const preferred = "preferredDuringSchedulingIgnoredDuringExecution";
  for (const field of ["podAffinity", "podAntiAffinity"]) {
    const side = affinity[field];
    side?.[required]?.forEach((term: Obj, i: number) => {
      if (isSet(term.labelSelector)) return;
      lines.push(`${path.child(field, required).index(i).child("labelSelector")}: ${NO_POD}`);
    });
    side?.[preferred]?.forEach((weighted: Obj, i: number) => {
      if (isSet(weighted.podAffinityTerm?.labelSelector)) return;
      const at = path.child(field, preferred).index(i).child("podAffinityTerm", "labelSelector");
      lines.push(`${at}: ${NO_POD}`);
    });
  }
}

function nodeWarnings(spec: Obj, path: Path, lines: string[]): void {
  for (const key in spec.nodeSelector ?? {}) {
    const text = NODE_LABELS.get(key);
    if (text) lines.push(`${path.child("nodeSelector").key(key)}: ${text}`);
  }
  const { requiredDuringSchedulingIgnoredDuringExecution: required } =
    spec.affinity?.nodeAffinity ?? {};
  const at = path.child("affinity", "nodeAffinity");
  required?.nodeSelectorTerms?.forEach((term: Obj, i: number) => {
    const name = "requiredDuringSchedulingIgnoredDuringExecution";
    nodeTermWarnings(term, at.child(name, "nodeSelectorTerms").index(i), lines);
  });
  const preferred = "preferredDuringSchedulingIgnoredDuringExecution";
  spec.affinity?.nodeAffinity?.[preferred]?.forEach((term: Obj, i: number) => {
    nodeTermWarnings(term.preference, at.child(preferred).index(i).child("preference"), lines);
  });
  spec.topologySpreadConstraints?.forEach((constraint: Obj, i: number) => {
    const { topologyKey, labelSelector } = constraint;
    const constraintAt = path.child("topologySpreadConstraints").index(i);
    const text = NODE_LABELS.get(topologyKey);
    if (text) lines.push(`${constraintAt.child("topologyKey")}: ${topologyKey} is ${text}`);
    if (!isSet(labelSelector)) lines.push(`${constraintAt.child("labelSelector")}: ${NO_POD}`);
  });
}

function envWarnings(env: Obj[], path: Path, lines: string[]): void {
  const seen = new Set<string>();
  env.forEach(({ name, value = "", valueFrom }, i) => {
    const reference = `$(${name})`;
    // X="$(X)more" builds on the earlier X; anything else hides it.
    if (seen.has(name) && (valueFrom || value === reference || !value.includes(reference))) {
      const text = `hides previous definition of ${goQuote(name)}, which may be dropped when ` +
        "using apply";
      lines.push(`${path.child("env").index(i)}: ${text}`);
    }
    seen.add(name);
  });
}

interface SeenPort {
  container: Path;
  index: number;
  hostPort: number;
  hostIP: string;
}

function portWarnings(
  container: Obj,
  path: Path,
  seen: Map<string, SeenPort[]>,
  lines: string[],
): void {
  const place = (container: Path, i: number) => container.child("ports").index(i);
  container.ports.forEach((port: Obj, index: number) => {
    const { name = "", hostPort = 0, containerPort, protocol, hostIP = "" } = port;
    if (hostIP !== "" && hostPort === 0) {
      const text = `{Name:${name} HostPort:0 ContainerPort:${containerPort} ` +
        `Protocol:${protocol} HostIP:${hostIP}}`;
      lines.push(`${place(path, index)}: hostIP set without hostPort: ${text}`);
    }
    const key = `${containerPort}/${protocol}`;
    const others = seen.get(key);
    for (const other of others ?? []) {
      const how = hostIP === other.hostIP && hostPort === other.hostPort
        ? "duplicate"
        : hostPort === 0 || other.hostPort === 0
        ? "overlapping"
        : hostPort === other.hostPort && (hostIP === "") !== (other.hostIP === "")
        ? "dangerously ambiguous"
        : "";
      if (how === "") continue;
      const where = `${place(path, index)}: ${how} port definition with`;
      lines.push(`${where} ${place(other.container, other.index)}`);
    }
    const known = { container: path, index, hostPort, hostIP };
    if (others) others.push(known);
    else seen.set(key, [known]);
  });
}

function specWarnings(meta: Obj, spec: Obj, root: Path, template: boolean): string[] {
  const lines: string[] = [];
  const path = root.child("spec");
  const annotations = meta?.annotations;
  nodeWarnings(spec, path, lines);
  const annotationAt = root.child("metadata", "annotations");
  if (annotations) {
    for (const [key, text] of ANNOTATIONS) {
      if (key in annotations) lines.push(`${annotationAt.key(key)}: ${text}`);
    }
  }
  if (spec.volumes) volumeWarnings(spec.volumes, path.child("volumes"), lines);
  if (spec.hostAliases) {
    duplicateWarnings(spec.hostAliases, "ip", "ip", path.child("hostAliases"), lines);
  }
  if (spec.imagePullSecrets) {
    const at = path.child("imagePullSecrets");
    duplicateWarnings(spec.imagePullSecrets, "name", "name", at, lines);
    spec.imagePullSecrets.forEach(({ name = "" }: Obj, i: number) => {
      if (name === "") lines.push(`${at.index(i).child("name")}: invalid empty name ""`);
    });
  }
  for (const name of BYTE_RESOURCES) {
    if (spec.overhead) fractionWarning(spec.overhead, name, path, ["overhead"], lines);
  }
  if (annotations && SECCOMP_POD in annotations && !isSet(spec.securityContext?.seccompProfile)) {
    lines.push(`${annotationAt.key(SECCOMP_POD)}: ${SECCOMP_TEXT}`);
  }
  const ports = new Map<string, SeenPort[]>();
  const portLines: string[] = [];
  eachContainer(spec, path, (container, at) => {
    if (annotations) profileWarnings(annotations, spec, container, annotationAt, template, lines);
    const { limits, requests } = container.resources ?? {};
    for (const name of BYTE_RESOURCES) {
      if (limits) fractionWarning(limits, name, at, LIMITS, lines);
      if (requests) fractionWarning(requests, name, at, REQUESTS, lines);
    }
    if (container.env?.length > 1) envWarnings(container.env, at, lines);
    if (container.ports) portWarnings(container, at, ports, portLines);
  });
  lines.push(...portLines);
  if (spec.terminationGracePeriodSeconds < 0) {
    const text = "must be >= 0; negative values are invalid and will be treated as 1";
    lines.push(`${path.child("terminationGracePeriodSeconds")}: ${text}`);
  }
  if (spec.affinity) affinityWarnings(spec.affinity, path.child("affinity"), lines);
  spec.dnsConfig?.nameservers?.forEach((address: string, i: number) => {
    addressWarning(address, path.child("dnsConfig", "nameservers").index(i), lines);
  });
  spec.hostAliases?.forEach(({ ip }: Obj, i: number) => {
    addressWarning(ip, path.child("hostAliases").index(i).child("ip"), lines);
  });
  return lines;
}

/** Profiles of security by annotation have no effect any more, or will have none. */
function profileWarnings(
  annotations: Obj,
  spec: Obj,
  container: Obj,
  path: Path,
  template: boolean,
  lines: string[],
): void {
  const seccomp = SECCOMP_CONTAINER + container.name;
  if (seccomp in annotations && !isSet(container.securityContext?.seccompProfile)) {
    lines.push(`${path.key(seccomp)}: ${SECCOMP_TEXT}`);
  }
  const armor = APP_ARMOR + container.name;
  const has = spec.securityContext?.appArmorProfile || container.securityContext?.appArmorProfile;
  // Of a pod the annotation has become the field by now.
  if (template && !has && armor in annotations) {
    const text = 'deprecated since v1.30; use the "appArmorProfile" field instead';
    lines.push(`${path.key(armor)}: ${text}`);
  }
}

function nameWarning(name: string, use: string): string[] {
  const messages = isDns1123Label(name);
  if (messages.length === 0) return [];
  const text = `metadata.name: this is used in ${use}, which can result in surprising behavior; ` +
    "a DNS label is recommended:";
  return [`${text} ${goList(messages)}`];
}

/** Warnings of a new pod. */
export function podWarnings(pod: Stored, old?: Stored): string[] {
  if (old) return [];
  const lines = nameWarning(pod.metadata.name ?? "", "the Pod's hostname");
  return [...lines, ...specWarnings(pod.metadata, pod.spec ?? {}, ROOT, false)];
}

/** Warnings of a template at `path`. */
export function templateWarnings(template: Obj, path: Path): string[] {
  return template?.spec ? specWarnings(template.metadata, template.spec, path, true) : [];
}

/**
 * The hook of a kind with a template: new objects are looked at, and changed ones whose spec changed.
 * `named`: pods take their names from the object's. `more`: what else there is to say.
 */
export function workloadWarnings(
  template: (object: Stored) => Obj,
  path: Path,
  named: boolean,
  more: (object: Stored) => string[] = () => [],
): NonNullable<KindHooks["warnings"]> {
  return (object, old) => {
    if (old && object.metadata.generation === old.metadata.generation) return [];
    const lines = named && !old
      ? nameWarning(object.metadata.name ?? "", "Pod names and hostnames")
      : [];
    return [...lines, ...more(object), ...templateWarnings(template(object), path)];
  };
}
