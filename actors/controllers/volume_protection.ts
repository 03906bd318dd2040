/**
 * Storage protection and ephemeral claims: a claim in use by a pod, a volume in use by a claim and a class of
 * attributes in use by either are not removed before they are let go; a pod's generic ephemeral volumes get
 * their claims.
 *
 * Behaviour matched: pkg/controller/volume/{pvcprotection,pvprotection,vacprotection,ephemeral}, v1.36.
 */
import { ApiError } from "../../api/machinery/types.ts";
import {
  type ActorContext,
  type Controller,
  controllerOf,
  isGone,
  type Outcome,
  PERSISTENT_VOLUME_CLAIMS,
  PERSISTENT_VOLUMES,
  PODS,
  targetOf,
  VOLUME_ATTRIBUTES_CLASSES,
} from "../runtime/mod.ts";
import type { Obj } from "./objects.ts";
import { isFinished, textOf } from "./pods.ts";

const CLAIM_FINALIZER = "kubernetes.io/pvc-protection";
const VOLUME_FINALIZER = "kubernetes.io/pv-protection";
const CLASS_FINALIZER = "kubernetes.io/vac-protection";
const BY_CLASS = "volumeAttributesClass";
/** The index of pods by the claims they use. */
export const BY_CLAIM = "persistentVolumeClaim";

interface Volume {
  name: string;
  persistentVolumeClaim?: { claimName: string };
  ephemeral?: { volumeClaimTemplate: { metadata?: object; spec: object } };
}

/** The claims a pod uses, as keys. */
export function claimsOf(pod: Obj): string[] {
  const { namespace, name } = pod.metadata;
  return ((pod.spec.volumes ?? []) as readonly Volume[]).flatMap((volume) => {
    if (volume.persistentVolumeClaim) {
      return [`${namespace}/${volume.persistentVolumeClaim.claimName}`];
    }
    return volume.ephemeral ? [`${namespace}/${name}-${volume.name}`] : [];
  });
}

/** Lets a claim go when no pod uses it any more. */
export const claimProtectionController: Controller<void> = {
  name: "pvc-protection",
  account: "pvc-protection-controller",
  for: PERSISTENT_VOLUME_CLAIMS,
  watches: [{ resource: PODS, keys: (pod) => pod.spec.volumes ? claimsOf(pod) : [] }],
  start: (context) => context.informers.for(PODS).index(BY_CLAIM, claimsOf),
  reconcile(key, context) {
    const claim = context.informers.for(PERSISTENT_VOLUME_CLAIMS).get(key);
    if (!claim?.metadata.deletionTimestamp) return;
    const users = context.informers.for(PODS).byIndex(BY_CLAIM, key);
    // A pod that has not been placed holds nothing; one that ended lets go.
    if (users.some((pod) => !isFinished(pod) && pod.spec.nodeName)) return;
    return dropFinalizer(PERSISTENT_VOLUME_CLAIMS, claim, CLAIM_FINALIZER, context);
  },
};

/** Lets a volume go when no claim is bound to it. */
export const volumeProtectionController: Controller<void> = {
  name: "pv-protection",
  account: "pv-protection-controller",
  for: PERSISTENT_VOLUMES,
  reconcile(key, context) {
    const volume = context.informers.for(PERSISTENT_VOLUMES).get(key);
    if (!volume?.metadata.deletionTimestamp || volume.status?.phase === "Bound") return;
    return dropFinalizer(PERSISTENT_VOLUMES, volume, VOLUME_FINALIZER, context);
  },
};

/** The classes of attributes that a claim or a volume has, had last, or is on its way to. */
function classesOf({ spec, status }: Obj): string[] {
  return [
    spec.volumeAttributesClassName,
    status?.currentVolumeAttributesClassName,
    status?.modifyVolumeStatus?.targetVolumeAttributesClassName,
  ].filter((name): name is string => !!name);
}

/** The classes that an object names, and those that it let go of. */
function classesTouched(object: Obj, old: Obj | undefined): string[] {
  return old ? [...classesOf(old), ...classesOf(object)] : classesOf(object);
}

/** Lets a class of volumes' attributes go when no claim and no volume names it any more. */
export const attributesClassProtectionController: Controller<void> = {
  name: "volumeattributesclass-protection-controller",
  account: "volumeattributesclass-protection-controller",
  for: VOLUME_ATTRIBUTES_CLASSES,
  watches: [PERSISTENT_VOLUME_CLAIMS, PERSISTENT_VOLUMES]
    .map((resource) => ({ resource, keys: classesTouched })),
  start({ informers }) {
    informers.for(PERSISTENT_VOLUME_CLAIMS).index(BY_CLASS, classesOf);
    informers.for(PERSISTENT_VOLUMES).index(BY_CLASS, classesOf);
  },
  async reconcile(key, { informers, client }) {
    const found = informers.for(VOLUME_ATTRIBUTES_CLASSES).get(key);
    if (!found) return;
    const { finalizers = [], deletionTimestamp } = found.metadata;
    const there = finalizers.includes(CLASS_FINALIZER);
    if (there !== !!deletionTimestamp) return;
    const used = [PERSISTENT_VOLUME_CLAIMS, PERSISTENT_VOLUMES]
      .some((resource) => informers.for(resource).byIndex(BY_CLASS, key).length > 0);
    if (there && used) return;
    const left = there
      ? finalizers.filter((name) => name !== CLASS_FINALIZER)
      : [...finalizers, CLASS_FINALIZER];
    // An update, not a patch: upstream's role for this account grants no more.
    try {
      await client.update(targetOf(VOLUME_ATTRIBUTES_CLASSES, found), {
        ...found,
        metadata: { ...found.metadata, finalizers: left },
      });
    } catch (error) {
      if (!isGone(error)) throw error;
    }
  },
};

async function dropFinalizer(
  resource: typeof PODS,
  object: Obj,
  finalizer: string,
  context: ActorContext,
): Promise<void> {
  const left = object.metadata.finalizers?.filter((name) => name !== finalizer);
  if (!left || left.length === object.metadata.finalizers!.length) return;
  const { uid, resourceVersion } = object.metadata;
  try {
    await context.client.patch(targetOf(resource, object), {
      type: "merge",
      body: { metadata: { uid, resourceVersion, finalizers: left } },
    });
  } catch (error) {
    if (!isGone(error)) throw error;
  }
}

/** Makes the claims of generic ephemeral volumes; they are the pod's and go with it. */
export const ephemeralVolumeController: Controller<void> = {
  name: "ephemeral-volume",
  account: "ephemeral-volume-controller",
  component: "ephemeral_volume",
  for: PODS,
  selects: (pod) => pod.spec.volumes?.some((volume: Volume) => volume.ephemeral) ?? false,
  reads: [PERSISTENT_VOLUME_CLAIMS],
  async reconcile(key, context): Promise<Outcome> {
    const pod = context.informers.for(PODS).get(key);
    if (!pod?.spec.volumes || pod.metadata.deletionTimestamp) return;
    for (const volume of pod.spec.volumes as readonly Volume[]) {
      if (!volume.ephemeral) continue;
      try {
        await ensureClaim(pod, volume, context);
      } catch (error) {
        const text = `ephemeral volume ${volume.name}: ${textOf(error)}`;
        context.recorder.event(pod, "Warning", "FailedBinding", text);
        throw error;
      }
    }
  },
};

async function ensureClaim(pod: Obj, volume: Volume, context: ActorContext): Promise<void> {
  const { namespace, name, uid } = pod.metadata;
  const claimName = `${name}-${volume.name}`;
  const there = context.informers.for(PERSISTENT_VOLUME_CLAIMS).get(`${namespace}/${claimName}`);
  if (there) {
    if (controllerOf(there)?.uid === uid) return;
    throw new Error(
      `PVC ${namespace}/${claimName} was not created for pod ${namespace}/${name} (pod is not owner)`,
    );
  }
  const template = volume.ephemeral!.volumeClaimTemplate;
  try {
    await context.client.create({ resource: PERSISTENT_VOLUME_CLAIMS, namespace }, {
      apiVersion: "v1",
      kind: "PersistentVolumeClaim",
      metadata: {
        ...template.metadata,
        name: claimName,
        ownerReferences: [{
          apiVersion: "v1",
          kind: "Pod",
          name,
          uid,
          controller: true,
          blockOwnerDeletion: true,
        }],
      },
      spec: template.spec,
    });
  } catch (error) {
    if (error instanceof ApiError && error.reason === "AlreadyExists") return;
    throw new Error(`create PVC ${claimName}: ${textOf(error)}`, { cause: error });
  }
}
