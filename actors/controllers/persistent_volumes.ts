/**
 * The volume binder: claims find volumes, volumes find claims, phases say how it stands.
 *
 * A binding is written in four steps, each of which can be repeated and found half done: the volume's
 * claimRef, the volume's phase, the claim's volumeName, the claim's phase. Whichever of the two objects is
 * looked at first goes on from where the other stands. One key at a time, so that no volume is given twice.
 *
 * Its keys: `claim/<namespace>/<name>`, `volume/<name>`.
 *
 * Behaviour matched: pkg/controller/volume/persistentvolume/pv_controller.go, v1.36.
 */
import { parseQuantity } from "../../api/machinery/quantity.ts";
import { labelSelector } from "../../api/machinery/selectors.ts";
import type { Json, KubeObject } from "../../api/machinery/types.ts";
import {
  type ActorContext,
  isGone,
  type Outcome,
  PERSISTENT_VOLUME_CLAIMS,
  PERSISTENT_VOLUMES,
  PODS,
  STORAGE_CLASSES,
  targetOf,
} from "../runtime/mod.ts";
import { type Obj, sameStatus } from "./objects.ts";
import { isFinished } from "./pods.ts";
import type { FreeController } from "./ports.ts";
import { BY_CLAIM as PODS_BY_CLAIM, claimsOf } from "./volume_protection.ts";

export const BIND_COMPLETED = "pv.kubernetes.io/bind-completed";
export const BOUND_BY_CONTROLLER = "pv.kubernetes.io/bound-by-controller";
export const PROVISIONED_BY = "pv.kubernetes.io/provisioned-by";
export const STORAGE_PROVISIONER = "volume.kubernetes.io/storage-provisioner";
export const SELECTED_NODE = "volume.kubernetes.io/selected-node";
const BETA_PROVISIONER = "volume.beta.kubernetes.io/storage-provisioner";
const NO_PROVISIONER = "kubernetes.io/no-provisioner";

const BY_CLAIM = "claim";

export const persistentVolumeBinder: FreeController = {
  name: "persistentvolume-binder",
  account: "persistent-volume-binder",
  component: "persistentvolume-controller",
  workers: 1,
  behaviour: {
    start(context) {
      const { informers } = context;
      const volumes = informers.for(PERSISTENT_VOLUMES);
      volumes.index(BY_CLAIM, (volume) => {
        const claim = volume.spec.claimRef;
        return claim ? [`${claim.namespace}/${claim.name}`] : [];
      });
      informers.for(PODS).index(PODS_BY_CLAIM, claimsOf);
      const look = (key: string) => context.send(context.address, key);
      const waiting = () => {
        for (const claim of informers.for(PERSISTENT_VOLUME_CLAIMS).list()) {
          // One that names its volume may have waited for that to be given back.
          if (!claim.spec.volumeName || claim.status?.phase === "Pending") {
            look(`claim/${claim.metadata.namespace}/${claim.metadata.name}`);
          }
        }
      };
      informers.for(PERSISTENT_VOLUME_CLAIMS).subscribe(({ key, object, old }) => {
        look(`claim/${key}`);
        const volume = (object ?? old)!.spec.volumeName;
        if (volume) look(`volume/${volume}`);
        // A claim that went may have been named by a volume before it named one itself.
        if (!object) {
          for (const v of volumes.byIndex(BY_CLAIM, key)) look(`volume/${v.metadata.name}`);
        }
      });
      volumes.subscribe(({ key, object, old }) => {
        look(`volume/${key}`);
        const claim = (object ?? old)!.spec.claimRef;
        if (claim) look(`claim/${claim.namespace}/${claim.name}`);
        if (object?.status?.phase === "Available" && old?.status?.phase !== "Available") {
          waiting();
        }
      });
      informers.for(STORAGE_CLASSES).subscribe(waiting);
      // A claim that waits for its first consumer says so of the pods that there are.
      informers.for(PODS).subscribe(({ object, old }) => {
        if (object && !old && !object.spec.nodeName) {
          for (const key of claimsOf(object)) look(`claim/${key}`);
        }
      });
    },
    handle: (key, _state, context) => handle(key, context),
  },
};

async function handle(key: string, context: ActorContext): Promise<Outcome> {
  const name = key.slice(key.indexOf("/") + 1);
  const isClaim = key.startsWith("claim/");
  const object = context.informers.for(isClaim ? PERSISTENT_VOLUME_CLAIMS : PERSISTENT_VOLUMES).get(
    name,
  );
  if (!object) return;
  try {
    return await (isClaim ? syncClaim(object, context) : syncVolume(object, context));
  } catch (error) {
    if (!isGone(error)) throw error;
  }
}

// --- claims ---------------------------------------------------------------------------------------------

async function syncClaim(claim: Obj, context: ActorContext): Promise<Outcome> {
  if (claim.metadata.annotations?.[BIND_COMPLETED] !== undefined) {
    return await syncBoundClaim(claim, context);
  }
  const volumes = context.informers.for(PERSISTENT_VOLUMES);
  if (claim.spec.volumeName) {
    const volume = volumes.get(claim.spec.volumeName);
    if (!volume) return await setClaimPhase(claim, "Pending", undefined, context);
    if (volume.spec.claimRef && !refersTo(volume, claim)) {
      // Somebody else's volume: wait, perhaps it is given back.
      await setClaimPhase(claim, "Pending", undefined, context);
      context.recorder.event(
        claim,
        "Warning",
        "FailedBinding",
        `volume "${volume.metadata.name}" already bound to a different claim.`,
      );
      return;
    }
    const mismatch = volume.spec.claimRef ? undefined : mismatchOf(volume, claim);
    if (!mismatch) return await bind(volume, claim, context);
    const text = `Cannot bind to requested volume "${volume.metadata.name}": ${mismatch}`;
    context.recorder.event(claim, "Warning", "VolumeMismatch", text);
    return await setClaimPhase(claim, "Pending", undefined, context);
  }
  const promised = volumes.byIndex(BY_CLAIM, keyOf(claim)).find((volume) =>
    refersTo(volume, claim) && !volume.metadata.deletionTimestamp &&
    !isTooSmall(volume, claim) && !modesDiffer(volume, claim)
  );
  if (promised) return await bind(promised, claim, context);
  const storageClass = classOf(claim, context);
  const waits = storageClass?.volumeBindingMode === "WaitForFirstConsumer";
  if (waits && !claim.metadata.annotations?.[SELECTED_NODE]) {
    sayWaiting(claim, context);
    await setClaimPhase(claim, "Pending", undefined, context);
    return;
  }
  const volume = waits ? undefined : findVolume(claim, context);
  if (volume) return await bind(volume, claim, context);
  await setClaimPhase(claim, "Pending", undefined, context);
  await wantVolume(claim, storageClass, context);
}

/** Says what a claim waits for whose volume is chosen with its first consumer's node. */
function sayWaiting(claim: Obj, { informers, recorder }: ActorContext): void {
  const pods = informers.for(PODS).byIndex(PODS_BY_CLAIM, keyOf(claim))
    .filter((pod) => !pod.spec.nodeName && !isFinished(pod))
    .map((pod) => pod.metadata.name);
  if (pods.length === 0) {
    const text = "waiting for first consumer to be created before binding";
    recorder.event(claim, "Normal", "WaitForFirstConsumer", text);
    return;
  }
  const text = `waiting for ${pods.length > 1 ? "pods" : "pod"} ${pods.join(",")} to be scheduled`;
  recorder.event(claim, "Normal", "WaitForPodScheduled", text);
}

/** No volume fits: says so, or asks the class's provisioner for one. */
async function wantVolume(
  claim: Obj,
  storageClass: Obj | undefined,
  context: ActorContext,
): Promise<void> {
  const name = claim.spec.storageClassName as string | undefined;
  if (!name) {
    const text = "no persistent volumes available for this claim and no storage class is set";
    context.recorder.event(claim, "Normal", "FailedBinding", text);
    return;
  }
  if (!storageClass) {
    const text = `storageclass.storage.k8s.io "${name}" not found`;
    context.recorder.event(claim, "Warning", "ProvisioningFailed", text);
    return;
  }
  const provisioner = storageClass.provisioner as string;
  if (provisioner === NO_PROVISIONER) return;
  if (claim.metadata.annotations?.[STORAGE_PROVISIONER] !== provisioner) {
    await context.client.patch(targetOf(PERSISTENT_VOLUME_CLAIMS, claim), {
      type: "merge",
      body: {
        metadata: {
          uid: claim.metadata.uid,
          annotations: { [STORAGE_PROVISIONER]: provisioner, [BETA_PROVISIONER]: provisioner },
        },
      },
    });
  }
  context.recorder.event(
    claim,
    "Normal",
    "ExternalProvisioning",
    `Waiting for a volume to be created either by the external provisioner '${provisioner}' or manually by the system administrator. ` +
      "If volume creation is delayed, please verify that the provisioner is running and correctly registered.",
  );
}

async function syncBoundClaim(claim: Obj, context: ActorContext): Promise<void> {
  const volume = claim.spec.volumeName
    ? context.informers.for(PERSISTENT_VOLUMES).get(claim.spec.volumeName)
    : undefined;
  if (volume && (!volume.spec.claimRef || refersTo(volume, claim))) {
    return await bind(volume, claim, context);
  }
  if (claim.status?.phase !== "Lost") {
    await setClaimPhase(claim, "Lost", undefined, context);
    const lost = claim.spec.volumeName ? "its" : "reference to";
    const text = volume
      ? "Two claims are bound to the same volume, this one is bound incorrectly"
      : `Bound claim has lost ${lost} PersistentVolume. Data on the volume is lost!`;
    context.recorder.event(claim, "Warning", volume ? "ClaimMisbound" : "ClaimLost", text);
  }
}

// --- volumes --------------------------------------------------------------------------------------------

async function syncVolume(volume: Obj, context: ActorContext): Promise<void> {
  const reference = volume.spec.claimRef;
  if (!reference) return await setVolumePhase(volume, "Available", context);
  if (!reference.uid) return await setVolumePhase(volume, "Available", context);
  const claim = context.informers.for(PERSISTENT_VOLUME_CLAIMS).get(
    `${reference.namespace}/${reference.name}`,
  );
  if (!claim || claim.metadata.uid !== reference.uid) {
    if (!await reallyGone(reference, context)) return;
    // Bound once, and its claim is no more: what now happens to the data is the reclaim policy's matter.
    if (volume.status?.phase !== "Failed") await setVolumePhase(volume, "Released", context);
    return await reclaim(volume, context);
  }
  if (!claim.spec.volumeName) return awaitClaim(volume, claim, context);
  if (claim.spec.volumeName === volume.metadata.name) {
    return await setVolumePhase(volume, "Bound", context);
  }
  // The claim went to another volume. A volume made for this claim alone is given back, others are unbound.
  if (
    volume.metadata.annotations?.[PROVISIONED_BY] &&
    volume.spec.persistentVolumeReclaimPolicy === "Delete"
  ) {
    return await setVolumePhase(volume, "Released", context);
  }
  if (volume.metadata.annotations?.[BOUND_BY_CONTROLLER] !== undefined) {
    await patchVolume(volume, {
      metadata: { annotations: { [BOUND_BY_CONTROLLER]: null } },
      spec: { claimRef: null },
    }, context);
  }
}

/** A volume that was promised to a claim: the claim takes it if it can use it. */
function awaitClaim(volume: Obj, claim: Obj, context: ActorContext): void {
  if (!modesDiffer(volume, claim)) return context.send(context.address, `claim/${keyOf(claim)}`);
  const why = "due to incompatible volumeMode.";
  const say = (object: Obj, text: string) =>
    context.recorder.event(object, "Warning", "VolumeMismatch", text);
  const claimName = claim.metadata.name;
  say(
    volume,
    `Cannot bind PersistentVolume to requested PersistentVolumeClaim "${claimName}" ${why}`,
  );
  const { name } = volume.metadata;
  say(claim, `Cannot bind PersistentVolume "${name}" to requested PersistentVolumeClaim ${why}`);
}

/**
 * What becomes of a released volume. Those that a provisioner made it deletes itself; others nobody here can delete or
 * recycle, and so they have failed.
 */
async function reclaim(volume: Obj, context: ActorContext): Promise<void> {
  if (volume.status?.phase === "Failed") return;
  const { name, annotations } = volume.metadata;
  switch (volume.spec.persistentVolumeReclaimPolicy) {
    case "Delete": {
      const provisioner: string | undefined = annotations?.[PROVISIONED_BY];
      if (provisioner && !provisioner.startsWith("kubernetes.io/")) return;
      const path = volume.spec.hostPath?.path;
      const why = path === undefined
        ? `error getting deleter volume plugin for volume "${name}": no deletable volume plugin matched`
        : `host_path deleter only supports /tmp/.+ but received provided ${path}`;
      return await failVolume(volume, "VolumeFailedDelete", why, context);
    }
    case "Recycle": {
      const why = "No recycler plugin found for the volume!";
      return await failVolume(volume, "VolumeFailedRecycle", why, context);
    }
  }
}

async function failVolume(
  volume: Obj,
  reason: string,
  message: string,
  context: ActorContext,
): Promise<void> {
  await context.client.patch(targetOf(PERSISTENT_VOLUMES, volume, "status"), {
    type: "merge",
    body: { metadata: { uid: volume.metadata.uid }, status: { phase: "Failed", message } },
  });
  context.recorder.event(volume, "Warning", reason, message);
}

/** The cache may not have the claim yet: a volume must not be released for that. */
async function reallyGone(
  reference: { namespace: string; name: string; uid: string },
  context: ActorContext,
): Promise<boolean> {
  const { namespace, name, uid } = reference;
  try {
    const claim = await context.client.get({ resource: PERSISTENT_VOLUME_CLAIMS, namespace, name });
    return claim.metadata.uid !== uid;
  } catch (error) {
    if (isGone(error)) return true;
    throw error;
  }
}

/** How a volume names the claim that has it. */
export function claimReference({ metadata }: Obj) {
  const { namespace, name, uid, resourceVersion } = metadata;
  return {
    apiVersion: "v1",
    kind: "PersistentVolumeClaim",
    namespace: namespace!,
    name,
    uid,
    resourceVersion,
  };
}

// --- binding --------------------------------------------------------------------------------------------

async function bind(volume: Obj, claim: Obj, context: ActorContext): Promise<void> {
  let bound = volume;
  if (volume.spec.claimRef?.uid !== claim.metadata.uid) {
    // The annotation tells bindings made here from those that people prepared.
    const prepared = volume.spec.claimRef !== undefined;
    bound = await patchVolume(volume, {
      ...(!prepared && { metadata: { annotations: { [BOUND_BY_CONTROLLER]: "yes" } } }),
      spec: {
        claimRef: claimReference(claim),
      },
    }, context);
  }
  await setVolumePhase(bound, "Bound", context);
  let current = claim;
  const annotations: Record<string, string> = {};
  if (claim.metadata.annotations?.[BIND_COMPLETED] === undefined) {
    annotations[BIND_COMPLETED] = "yes";
  }
  if (!claim.spec.volumeName) annotations[BOUND_BY_CONTROLLER] = "yes";
  if (Object.keys(annotations).length > 0) {
    current = await context.client.patch<KubeObject>(targetOf(PERSISTENT_VOLUME_CLAIMS, claim), {
      type: "merge",
      body: {
        metadata: { uid: claim.metadata.uid, annotations },
        spec: { volumeName: volume.metadata.name },
      },
    });
  }
  await setClaimPhase(current, "Bound", volume, context);
}

function patchVolume(
  volume: Obj,
  body: { [key: string]: Json },
  context: ActorContext,
): Promise<Obj> {
  const { uid, resourceVersion } = volume.metadata;
  const metadata = { ...(body.metadata as object | undefined), uid, resourceVersion };
  return context.client.patch<KubeObject>(targetOf(PERSISTENT_VOLUMES, volume), {
    type: "merge",
    body: { ...body, metadata },
  });
}

async function setVolumePhase(volume: Obj, phase: string, context: ActorContext): Promise<void> {
  if (volume.status?.phase === phase) return;
  await context.client.patch(targetOf(PERSISTENT_VOLUMES, volume, "status"), {
    type: "merge",
    body: { metadata: { uid: volume.metadata.uid }, status: { phase, message: null } },
  });
}

async function setClaimPhase(
  claim: Obj,
  phase: string,
  volume: Obj | undefined,
  context: ActorContext,
): Promise<void> {
  const storage = volume?.spec.capacity?.storage as string | undefined;
  const status = {
    ...claim.status,
    phase,
    // Cleared when there is no volume: what an unbound claim has is nothing.
    accessModes: volume ? [...volume.spec.accessModes ?? []] : undefined,
    // What a bound claim has is its node's to say: a volume may have grown whose file system has not.
    capacity: volume
      ? claim.status?.phase === "Bound" && claim.status.capacity || (storage ? { storage } : {})
      : undefined,
    currentVolumeAttributesClassName: volume?.spec.volumeAttributesClassName || undefined,
  };
  if (sameStatus(claim.status, status)) return;
  const { accessModes = null, capacity = null, currentVolumeAttributesClassName = null } = status;
  await context.client.patch(targetOf(PERSISTENT_VOLUME_CLAIMS, claim, "status"), {
    type: "merge",
    body: {
      metadata: { uid: claim.metadata.uid },
      status: { phase, accessModes, capacity, currentVolumeAttributesClassName },
    },
  });
}

// --- who fits whom --------------------------------------------------------------------------------------

/** Why a claim cannot have the volume that it names; undefined when it can. */
function mismatchOf(volume: Obj, claim: Obj): string | undefined {
  const { name, deletionTimestamp } = volume.metadata;
  if (deletionTimestamp) return `the volume is marked for deletion "${name}"`;
  if (isTooSmall(volume, claim)) return "requested PV is too small";
  if (!sameClass(volume, claim)) return "storageClassName does not match";
  if (!sameAttributes(volume, claim)) return "volumeAttributesClassName does not match";
  if (modesDiffer(volume, claim)) return "incompatible volumeMode";
  return hasAccessModes(volume, claim) ? undefined : "incompatible accessMode";
}

function storageOf(quantity: string | undefined): number {
  return parseQuantity(quantity ?? "0").value();
}

function isTooSmall(volume: Obj, claim: Obj): boolean {
  const wanted = claim.spec.resources?.requests?.storage;
  return storageOf(volume.spec.capacity?.storage) < storageOf(wanted);
}

function sameClass(volume: Obj, claim: Obj): boolean {
  return (volume.spec.storageClassName ?? "") === (claim.spec.storageClassName ?? "");
}

function sameAttributes(volume: Obj, claim: Obj): boolean {
  return (volume.spec.volumeAttributesClassName ?? "") ===
    (claim.spec.volumeAttributesClassName ?? "");
}

function hasAccessModes(volume: Obj, claim: Obj): boolean {
  const modes = (claim.spec.accessModes ?? []) as readonly string[];
  return modes.every((mode) => volume.spec.accessModes?.includes(mode));
}

/** The smallest available volume that a claim can use; one prepared for it wins. */
export function findVolume(claim: Obj, context: ActorContext): Obj | undefined {
  const selector = claim.spec.selector && labelSelector(claim.spec.selector);
  let best: Obj | undefined;
  let bestSize = Infinity;
  for (const volume of context.informers.for(PERSISTENT_VOLUMES).list()) {
    const { claimRef } = volume.spec;
    if (volume.metadata.deletionTimestamp || (claimRef && !refersTo(volume, claim))) continue;
    if (isTooSmall(volume, claim) || modesDiffer(volume, claim)) continue;
    if (claimRef) return volume;
    const size = storageOf(volume.spec.capacity?.storage);
    if (size >= bestSize || volume.status?.phase !== "Available") continue;
    if (!sameClass(volume, claim) || !sameAttributes(volume, claim)) continue;
    if (!hasAccessModes(volume, claim)) continue;
    if (selector && !selector.matches(volume.metadata.labels)) continue;
    best = volume;
    bestSize = size;
  }
  return best;
}

function refersTo(volume: Obj, claim: Obj): boolean {
  const reference = volume.spec.claimRef;
  return reference?.name === claim.metadata.name &&
    reference.namespace === claim.metadata.namespace &&
    (!reference.uid || reference.uid === claim.metadata.uid);
}

function modesDiffer(volume: Obj, claim: Obj): boolean {
  return (volume.spec.volumeMode ?? "Filesystem") !== (claim.spec.volumeMode ?? "Filesystem");
}

/** The class a claim names. */
export function classOf(claim: Obj, context: ActorContext): Obj | undefined {
  const name = claim.metadata.annotations?.["volume.beta.kubernetes.io/storage-class"] ??
    claim.spec.storageClassName;
  return name ? context.informers.for(STORAGE_CLASSES).get(name) : undefined;
}

function keyOf(claim: Obj): string {
  return `${claim.metadata.namespace}/${claim.metadata.name}`;
}
