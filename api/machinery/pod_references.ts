/**
 * Which other objects a pod's spec names: what the node that runs it must be able to read.
 */
import type { DeepReadonly, KubeObject } from "./types.ts";

// deno-lint-ignore no-explicit-any -- a pod's spec, checked by its schema
type Any = any;
type Pod = DeepReadonly<KubeObject>;

/** Volume sources that name a Secret, as `source.field`, with the field of the reference that is the name. */
const VOLUME_SECRETS: readonly [string, (source: Any) => string | undefined][] = [
  ["azureFile", (s) => s.secretName],
  ["cephfs", (s) => s.secretRef?.name],
  ["cinder", (s) => s.secretRef?.name],
  ["csi", (s) => s.nodePublishSecretRef?.name],
  ["flexVolume", (s) => s.secretRef?.name],
  ["iscsi", (s) => s.secretRef?.name],
  ["rbd", (s) => s.secretRef?.name],
  ["scaleIO", (s) => s.secretRef?.name],
  ["secret", (s) => s.secretName],
  ["storageos", (s) => s.secretRef?.name],
];

function* containers(spec: Any): Generator<Any> {
  yield* spec?.initContainers ?? [];
  yield* spec?.containers ?? [];
  yield* spec?.ephemeralContainers ?? [];
}

/** Secrets of the pod's namespace. */
export function* secretNames({ spec }: Pod): Generator<string> {
  for (const ref of spec?.imagePullSecrets ?? []) if (ref.name) yield ref.name;
  for (const container of containers(spec)) {
    for (const env of container.env ?? []) {
      const name = env.valueFrom?.secretKeyRef?.name;
      if (name) yield name;
    }
    for (const from of container.envFrom ?? []) if (from.secretRef?.name) yield from.secretRef.name;
  }
  for (const volume of spec?.volumes ?? []) {
    for (const [source, nameOf] of VOLUME_SECRETS) {
      const name = volume[source] && nameOf(volume[source]);
      if (name) yield name;
    }
    for (const source of volume.projected?.sources ?? []) {
      if (source.secret?.name) yield source.secret.name;
    }
  }
}

/** ConfigMaps of the pod's namespace. */
export function* configMapNames({ spec }: Pod): Generator<string> {
  for (const container of containers(spec)) {
    for (const env of container.env ?? []) {
      const name = env.valueFrom?.configMapKeyRef?.name;
      if (name) yield name;
    }
    for (const from of container.envFrom ?? []) {
      if (from.configMapRef?.name) yield from.configMapRef.name;
    }
  }
  for (const volume of spec?.volumes ?? []) {
    if (volume.configMap?.name) yield volume.configMap.name;
    for (const source of volume.projected?.sources ?? []) {
      if (source.configMap?.name) yield source.configMap.name;
    }
  }
}

/** PersistentVolumeClaims of the pod's namespace, those made for it included. */
export function* claimNames({ spec, metadata }: Pod): Generator<string> {
  for (const volume of spec?.volumes ?? []) {
    if (volume.persistentVolumeClaim?.claimName) yield volume.persistentVolumeClaim.claimName;
    else if (volume.ephemeral) yield `${metadata.name}-${volume.name}`;
  }
}

/** ResourceClaims of the pod's namespace. */
export function* resourceClaimNames({ spec, status }: Pod): Generator<string> {
  for (const claim of spec?.resourceClaims ?? []) {
    const made = status?.resourceClaimStatuses?.find((s: Any) => s.name === claim.name);
    const name = claim.resourceClaimName ?? made?.resourceClaimName;
    if (name) yield name;
  }
  const extended = status?.extendedResourceClaimStatus?.resourceClaimName;
  if (extended) yield extended;
}

/** Whether any of the names is `wanted`. */
export function includes(names: Iterable<string>, wanted: string): boolean {
  for (const name of names) if (name === wanted) return true;
  return false;
}

/** The kind of API object a pod needs first, in the words of the refusal of a mirror pod; undefined: none. */
export function firstReference(pod: Pod): string | undefined {
  const { spec } = pod;
  if (spec?.serviceAccountName) return "serviceaccounts";
  if (!secretNames(pod).next().done) return "secrets";
  if (!configMapNames(pod).next().done) return "configmaps";
  if (spec?.resourceClaims?.length) return "resourceclaims";
  for (const volume of spec?.volumes ?? []) {
    const found = volumeReference(volume);
    if (found) return found;
  }
  return undefined;
}

function volumeReference(volume: Any): string | undefined {
  if (volume.csi) return "csidrivers (via CSI volumes)";
  if (volume.glusterfs) return "endpoints (via glusterFS volumes)";
  if (volume.persistentVolumeClaim) return "persistentvolumeclaims";
  if (volume.ephemeral) return "persistentvolumeclaims (via ephemeral volumes)";
  for (const source of volume.projected?.sources ?? []) {
    if (source.serviceAccountToken) return "serviceaccounts (via projected volumes)";
    if (source.clusterTrustBundle) return "clustertrustbundles";
    if (source.podCertificate) return "podcertificates";
  }
  return undefined;
}
