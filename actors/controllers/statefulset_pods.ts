/**
 * A StatefulSet's pods and claims: names by ordinal, identity, storage, and the owner references by which
 * claims outlive their pod and set or not. Pure.
 *
 * Behaviour matched: pkg/controller/statefulset/stateful_set_utils.go, v1.36.
 */
import { sameJson } from "../../api/machinery/json_value.ts";
import type { OwnerReference } from "../../api/machinery/types.ts";
import { controllerReference } from "../runtime/mod.ts";
import type { Obj } from "./objects.ts";
import { POD_REVISION_LABEL } from "./revisions.ts";

export const POD_NAME_LABEL = "statefulset.kubernetes.io/pod-name";
export const POD_INDEX_LABEL = "apps.kubernetes.io/pod-index";

/** The ordinal in a pod's name; -1 when the name is not one of the set's. */
export function ordinalOf(set: Obj, pod: Obj): number {
  const prefix = `${set.metadata.name}-`;
  const { name } = pod.metadata;
  if (!name.startsWith(prefix)) return -1;
  const digits = name.slice(prefix.length);
  return /^[0-9]+$/.test(digits) ? Number(digits) : -1;
}

/** The first ordinal. */
export function startOf(set: Obj): number {
  return set.spec.ordinals?.start ?? 0;
}

/** Whether the set should have a pod of this ordinal. */
export function inRange(set: Obj, ordinal: number): boolean {
  const start = startOf(set);
  return ordinal >= start && ordinal < start + (set.spec.replicas ?? 1);
}

/** The revision a pod was made from. */
export function revisionNameOf(pod: Obj): string {
  return pod.metadata.labels?.[POD_REVISION_LABEL] ?? "";
}

/** The name of a pod's claim. */
export function claimName(set: Obj, template: Obj, ordinal: number): string {
  return `${template.metadata.name}-${set.metadata.name}-${ordinal}`;
}

/** The claims a pod needs, as they are created. */
export function claimsFor(set: Obj, ordinal: number): Obj[] {
  return (set.spec.volumeClaimTemplates ?? []).map((template: Obj) => ({
    apiVersion: "v1",
    kind: "PersistentVolumeClaim",
    metadata: {
      ...template.metadata,
      name: claimName(set, template, ordinal),
      namespace: set.metadata.namespace,
      labels: { ...template.metadata.labels, ...set.spec.selector.matchLabels },
    },
    spec: template.spec,
  }));
}

/** A new pod of the set. `revision` names the template that `set` has here. */
export function newPod(set: Obj, ordinal: number, revision: string): Obj {
  const { template } = set.spec;
  const name = `${set.metadata.name}-${ordinal}`;
  const pod = {
    apiVersion: "v1",
    kind: "Pod",
    metadata: {
      name,
      namespace: set.metadata.namespace,
      labels: template.metadata?.labels,
      annotations: template.metadata?.annotations,
      finalizers: template.metadata?.finalizers,
      ownerReferences: [controllerReference(set)],
    },
    spec: { ...template.spec, hostname: name, subdomain: set.spec.serviceName || undefined },
  } as unknown as Obj;
  const identified = withIdentity(set, pod, ordinal);
  const labels = { ...identified.metadata.labels, [POD_REVISION_LABEL]: revision };
  return withStorage(
    set,
    { ...identified, metadata: { ...identified.metadata, labels } } as Obj,
    ordinal,
  );
}

/** The pod with the labels that name it. */
export function withIdentity(set: Obj, pod: Obj, ordinal: number): Obj {
  const labels = {
    ...pod.metadata.labels,
    [POD_NAME_LABEL]: `${set.metadata.name}-${ordinal}`,
    [POD_INDEX_LABEL]: String(ordinal),
  };
  return { ...pod, metadata: { ...pod.metadata, labels } } as Obj;
}

/** The pod with its claims as volumes, in place of those of the same names. */
export function withStorage(set: Obj, pod: Obj, ordinal: number): Obj {
  const templates: Obj[] = set.spec.volumeClaimTemplates ?? [];
  if (templates.length === 0) return pod;
  const names = new Set(templates.map((template) => template.metadata.name));
  const volumes = templates.map((template) => ({
    name: template.metadata.name,
    persistentVolumeClaim: { claimName: claimName(set, template, ordinal), readOnly: false },
  }));
  for (const volume of pod.spec.volumes ?? []) if (!names.has(volume.name)) volumes.push(volume);
  return { ...pod, spec: { ...pod.spec, volumes } } as Obj;
}

/** Whether a pod carries the labels that name it. */
export function hasIdentity(set: Obj, pod: Obj): boolean {
  const ordinal = ordinalOf(set, pod);
  return ordinal >= 0 && pod.metadata.labels?.[POD_NAME_LABEL] === pod.metadata.name;
}

// --- who claims belong to ---------------------------------------------------------------------------

/** Whether somebody else controls a claim that the set's retention policy is about. */
export function hasOtherController(set: Obj, claim: Obj, pod: Obj | undefined): boolean {
  const { whenDeleted, whenScaled } = set.spec.persistentVolumeClaimRetentionPolicy ?? {};
  if (whenDeleted !== "Delete" && whenScaled !== "Delete") return false;
  return ownersOf(claim).some((each) => each.controller && !isOurs(each, set, pod));
}

function ownersOf(claim: Obj): readonly OwnerReference[] {
  return (claim.metadata.ownerReferences ?? []) as readonly OwnerReference[];
}

/** By name: an owner of our name and of another uid is a former life of it. */
function isOurs({ apiVersion, kind, name }: OwnerReference, set: Obj, pod: Obj | undefined) {
  if (kind === "StatefulSet") return apiVersion === "apps/v1" && name === set.metadata.name;
  return kind === "Pod" && apiVersion === "v1" && name === pod?.metadata.name;
}

/**
 * The owners a claim should have under the set's retention policy; undefined when it has them, or when a former set or
 * pod of the name is to be cleaned up first. A claim that goes with scaling down is controlled by its pod while that is
 * condemned, one that goes with the set by the set, and neither where somebody else controls it.
 */
export function claimOwners(
  set: Obj,
  claim: Obj,
  pod: Obj | undefined,
): readonly OwnerReference[] | undefined {
  const policy = set.spec.persistentVolumeClaimRetentionPolicy;
  const present = ownersOf(claim);
  const alive = (uid: string) => uid === set.metadata.uid || uid === pod?.metadata.uid;
  if (present.some((each) => isOurs(each, set, pod) && !alive(each.uid))) return undefined;
  const wanted = present.filter((each) => !isOurs(each, set, pod));
  const condemned = pod !== undefined && !inRange(set, ordinalOf(set, pod));
  const ofPod = policy?.whenScaled === "Delete" && condemned;
  if (!hasOtherController(set, claim, pod)) {
    if (ofPod) wanted.push(controllerReference({ ...pod!, apiVersion: "v1", kind: "Pod" } as Obj));
    else if (policy?.whenDeleted === "Delete") {
      wanted.push(controllerReference({ ...set, apiVersion: "apps/v1", kind: "StatefulSet" }));
    }
  }
  const told = (list: readonly OwnerReference[]) =>
    list.map(({ uid, controller }) => `${uid} ${controller === true}`).sort();
  return sameJson(told(present), told(wanted)) ? undefined : wanted;
}
