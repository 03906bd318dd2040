/** What all provisioners do alike: which objects they look at, and the persistent volume that they make of a claim. */
import { ApiError, type ResourceId } from "../../api/machinery/types.ts";
import { type ActorContext, PERSISTENT_VOLUME_CLAIMS, PERSISTENT_VOLUMES } from "../runtime/mod.ts";
import type { Obj } from "./objects.ts";
import { claimReference, PROVISIONED_BY } from "./persistent_volumes.ts";

/** Sends the keys of claims and volumes as they change: `claim/<namespace>/<name>`, `volume/<name>`. */
export function watchProvisioning(context: ActorContext): void {
  const kinds = { claim: PERSISTENT_VOLUME_CLAIMS, volume: PERSISTENT_VOLUMES };
  for (const [word, resource] of Object.entries(kinds)) {
    context.informers.for(resource).subscribe(({ key, object }) => {
      if (object) context.send(context.address, `${word}/${key}`);
    });
  }
}

/** What a provisioner says of a volume that it makes. */
export interface Provisioned {
  name: string;
  provisioner: string;
  storage: string;
  /** Where nodes must be to use it, any of these; none: anywhere. */
  places: readonly Readonly<Record<string, string>>[];
  annotations?: Readonly<Record<string, string>>;
  finalizers?: readonly string[];
  /** The volume's source: `{ csi: … }`. */
  source: Readonly<Record<string, unknown>>;
}

/** The persistent volume for a claim of a class. */
export function provisionedVolume(claim: Obj, storageClass: Obj, made: Provisioned): object {
  const { name, provisioner, storage, places, annotations, finalizers, source } = made;
  return {
    apiVersion: "v1",
    kind: "PersistentVolume",
    metadata: {
      name,
      annotations: { [PROVISIONED_BY]: provisioner, ...annotations },
      finalizers,
    },
    spec: {
      accessModes: claim.spec.accessModes,
      capacity: { storage },
      claimRef: claimReference(claim),
      ...source,
      mountOptions: storageClass.mountOptions,
      nodeAffinity: affinityTo(places),
      persistentVolumeReclaimPolicy: storageClass.reclaimPolicy ?? "Delete",
      storageClassName: storageClass.metadata.name,
      volumeMode: claim.spec.volumeMode,
    },
  };
}

function affinityTo(places: Provisioned["places"]) {
  if (places.length === 0) return undefined;
  const nodeSelectorTerms = places.map((place) => ({
    matchExpressions: Object.entries(place).map(([key, value]) => ({
      key,
      operator: "In",
      values: [value],
    })),
  }));
  return { required: { nodeSelectorTerms } };
}

/** Creates an object; false when there is one of its name. */
export async function createOnce(
  { client }: ActorContext,
  resource: ResourceId,
  object: object,
): Promise<boolean> {
  try {
    await client.create({ resource }, object);
    return true;
  } catch (error) {
    if (error instanceof ApiError && error.reason === "AlreadyExists") return false;
    throw error;
  }
}
