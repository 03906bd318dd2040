/** What is allowed in services, volumes, claims and nodes but likely a mistake. */

import type { DeepReadonly, KubeObject } from "../../machinery/types.ts";
import { goQuote } from "../../machinery/go_format.ts";
import { formatCidr, masked, parseCidr } from "../../machinery/ip.ts";
import { addressWarning, claimWarnings, nodeTermWarnings } from "./pod_warnings.ts";
import { METADATA, type Path, SPEC } from "./report.ts";

// deno-lint-ignore no-explicit-any -- objects are decoded JSON; the schema walk has checked their types
type Obj = any;
type Stored = DeepReadonly<KubeObject>;

const HINTS = "service.kubernetes.io/topology-aware-hints";
const CLASS = "volume.beta.kubernetes.io/storage-class";
const MOUNTABLE = "kubernetes.io/enforce-mountable-secrets";

/** A write to the status shares the stored spec. */
function isStatusWrite(object: Stored, old?: Stored): boolean {
  return old !== undefined && object.spec === old.spec;
}

function blockWarning(text: string, path: Path, lines: string[]): void {
  const cidr = parseCidr(text.trim(), { sloppy: true });
  if (!cidr) return;
  const canonical = formatCidr({ ...cidr, ip: masked(cidr) });
  if (canonical === text) return;
  if (cidr.ip.family === 6 && !cidr.ip.mapped) {
    const said = `IPv6 CIDR value ${goQuote(text)} should be in RFC 5952 canonical format ` +
      `(${goQuote(canonical)})`;
    lines.push(`${path}: ${said}`);
  } else {
    const said = `non-standard CIDR value ${goQuote(text)} is invalid: use ${goQuote(canonical)}`;
    lines.push(`${path}: ${said}`);
  }
}

/** Warnings of a Service. */
export function serviceWarnings(service: Stored, old?: Stored): string[] {
  if (isStatusWrite(service, old)) return [];
  const lines: string[] = [];
  const { metadata, spec = {} } = service;
  if (metadata.annotations && HINTS in metadata.annotations) {
    const text = "is deprecated, please use service.kubernetes.io/topology-mode instead";
    lines.push(`annotation ${HINTS} ${text}`);
  }
  const { type, clusterIP, externalIPs = [], loadBalancerIP, trafficDistribution } = spec;
  if (clusterIP !== "None") {
    spec.clusterIPs?.forEach((ip: string, i: number) => {
      addressWarning(ip, SPEC.child("clusterIPs").index(i), lines);
    });
  } else if (type === "ClusterIP") {
    if (loadBalancerIP) lines.push("spec.loadBalancerIP is ignored for headless services");
    if (externalIPs.length) lines.push("spec.externalIPs is ignored for headless services");
    if (spec.sessionAffinity && spec.sessionAffinity !== "None") {
      lines.push("spec.SessionAffinity is ignored for headless services");
    }
  }
  externalIPs.forEach((ip: string, i: number) => {
    addressWarning(ip, SPEC.child("externalIPs").index(i), lines);
  });
  if (externalIPs.length && clusterIP !== "None" && type !== "ExternalName") {
    lines.push(
      "spec.externalIPs is deprecated and may no longer be implemented in some clusters",
    );
  }
  if (loadBalancerIP) addressWarning(loadBalancerIP, SPEC.child("loadBalancerIP"), lines);
  spec.loadBalancerSourceRanges?.forEach((text: string, i: number) => {
    blockWarning(text, SPEC.child("loadBalancerSourceRanges").index(i), lines);
  });
  if (type === "ExternalName") {
    if (externalIPs.length) {
      lines.push('spec.externalIPs is ignored when spec.type is "ExternalName"');
    }
  } else if (spec.externalName) {
    lines.push('spec.externalName is ignored when spec.type is not "ExternalName"');
  }
  if (trafficDistribution === "PreferClose") {
    lines.push('spec.trafficDistribution: "PreferClose" is deprecated; use "PreferSameZone"');
  }
  return lines;
}

/** Warnings of a PersistentVolumeClaim. */
export function persistentVolumeClaimWarnings(claim: Stored, old?: Stored): string[] {
  if (isStatusWrite(claim, old)) return [];
  const { metadata, spec } = claim;
  const lines: string[] = [];
  if (metadata.annotations && CLASS in metadata.annotations) {
    const text = 'deprecated since v1.8; use "storageClassName" attribute instead';
    lines.push(`${METADATA.child("annotations").key(CLASS)}: ${text}`);
  }
  claimWarnings(spec, SPEC, lines);
  return lines;
}

/** Sources of old, and what warnings call them. */
const SOURCES: readonly [string, string, string][] = [
  ["cephfs", "cephfs", "deprecated in v1.28, non-functional in v1.31+"],
  ["photonPersistentDisk", "photonPersistentDisk", "deprecated in v1.11, non-functional in v1.16+"],
  ["scaleIO", "scaleIO", "deprecated in v1.16, non-functional in v1.22+"],
  ["storageos", "storageOS", "deprecated in v1.22, non-functional in v1.25+"],
  ["glusterfs", "glusterfs", "deprecated in v1.25, non-functional in v1.26+"],
  ["rbd", "rbd", "deprecated in v1.28, non-functional in v1.31+"],
];

/** Warnings of a PersistentVolume. */
export function persistentVolumeWarnings(volume: Stored, old?: Stored): string[] {
  if (isStatusWrite(volume, old)) return [];
  const { metadata, spec = {} } = volume;
  const lines: string[] = [];
  if (metadata.annotations && CLASS in metadata.annotations) {
    const text = 'deprecated since v1.8; use "storageClassName" attribute instead';
    lines.push(`${METADATA.child("annotations").key(CLASS)}: ${text}`);
  }
  if (spec.persistentVolumeReclaimPolicy === "Recycle") {
    const text = "The Recycle reclaim policy is deprecated. Instead, the recommended approach is " +
      "to use dynamic provisioning.";
    lines.push(`${SPEC.child("persistentVolumeReclaimPolicy")}: ${text}`);
  }
  spec.nodeAffinity?.required?.nodeSelectorTerms?.forEach((term: Obj, i: number) => {
    const at = SPEC.child("nodeAffinity", "required", "nodeSelectorTerms").index(i);
    nodeTermWarnings(term, at, lines);
  });
  for (const [source, name, text] of SOURCES) {
    if (spec[source]) lines.push(`${SPEC.child(name)}: ${text}`);
  }
  return lines;
}

/** Warnings of a Node. */
export function nodeWarnings(node: Stored, old?: Stored): string[] {
  if (isStatusWrite(node, old)) return [];
  const { spec = {} } = node;
  const lines: string[] = [];
  if (spec.configSource) lines.push("spec.configSource: the feature is removed");
  if (spec.externalID) {
    lines.push("spec.externalID: this field is deprecated, and is unused by Kubernetes");
  }
  return lines;
}

/** Warnings of a ServiceAccount. */
export function serviceAccountWarnings({ metadata }: Stored): string[] {
  if (!metadata.annotations || !(MOUNTABLE in metadata.annotations)) return [];
  const text = "deprecated in v1.32+; prefer separate namespaces to isolate access to mounted " +
    "secrets";
  return [`${METADATA.child("annotations").key(MOUNTABLE)}: ${text}`];
}
