/**
 * From a pod's volume to what is mounted for it: a claim's persistent volume, or the source that the pod names itself.
 * Errors are the kubelet's (pkg/kubelet/volumemanager/populator), with the pod's Event.
 */
import { matchesAffinity } from "../../../api/machinery/node_fit.ts";
import type { DeepReadonly, KubeObject } from "../../../api/machinery/types.ts";
import type { Objects } from "../objects.ts";
import { MountError } from "../ports.ts";
import type { ContainerOf, Pod, Volume } from "../types.ts";

type Obj = DeepReadonly<KubeObject>;

const PROTECTION = "kubernetes.io/pvc-protection";

/** What is to be mounted. */
export interface Source {
  /** `emptyDir`, `csi`, `nfs`, …: the field that says it. */
  kind: string;
  spec: DeepReadonly<Record<string, any>>;
  /** Its name in Events and folders: the persistent volume's where there is one. */
  name: string;
  readOnly: boolean;
  block: boolean;
  /** The persistent volume. */
  volume?: Obj;
}

/** The names of the volumes that containers of a pod mount, and that they have as devices. */
export function usedVolumes({ spec }: Pod): { mounted: Set<string>; devices: Set<string> } {
  const mounted = new Set<string>(), devices = new Set<string>();
  const all: readonly ContainerOf[] = [
    ...spec.initContainers ?? [],
    ...spec.containers,
    ...spec.ephemeralContainers ?? [],
  ];
  for (const { volumeMounts, volumeDevices } of all) {
    for (const { name } of volumeMounts ?? []) mounted.add(name);
    for (const { name } of volumeDevices ?? []) devices.add(name);
  }
  return { mounted, devices };
}

/** Finds it. Rejects with a MountError. */
export async function sourceOf(
  pod: Pod,
  volume: DeepReadonly<Volume>,
  objects: Objects,
  nodeName: string,
): Promise<Source> {
  const { name, persistentVolumeClaim } = volume;
  if (!persistentVolumeClaim && !volume.ephemeral) {
    const kind = Object.keys(volume).find((key) => key !== "name") ?? "emptyDir";
    const spec = (volume[kind] ?? {}) as Source["spec"];
    return { kind, spec, name, readOnly: spec.readOnly ?? false, block: false };
  }
  const claimName = persistentVolumeClaim?.claimName ?? `${pod.metadata.name}-${name}`;
  try {
    const found = await volumeOf(pod, claimName, volume.ephemeral !== undefined, objects);
    const source = persistentSource(found);
    source.readOnly ||= persistentVolumeClaim?.readOnly ?? false;
    checkMode(pod, name, source);
    await checkNode(source, objects, nodeName);
    return source;
  } catch (error) {
    if (error instanceof MountError) throw error;
    const why = (error as Error).message;
    const text = `Unable to attach or mount volumes: unmounted volumes=[${name}], ` +
      `unattached volumes=[], failed to process volumes=[${name}]: ${why}`;
    throw new MountError(name, why, text);
  }
}

async function volumeOf(pod: Pod, name: string, isEphemeral: boolean, objects: Objects) {
  const namespace = pod.metadata.namespace ?? "default";
  const fail = (why: string) => new Error(`error processing PVC ${namespace}/${name}: ${why}`);
  const claim = await objects.claim(namespace, name);
  if (!claim) {
    throw fail(
      `failed to fetch PVC from API server: persistentvolumeclaims "${name}" not found`,
    );
  }
  const { deletionTimestamp, finalizers, ownerReferences } = claim.metadata;
  if (deletionTimestamp && !finalizers?.includes(PROTECTION)) {
    throw fail("PVC is being deleted");
  }
  if (claim.status?.phase !== "Bound") throw fail("PVC is not bound");
  if (!claim.spec.volumeName) throw fail("PVC has empty pvc.Spec.VolumeName");
  const isOwned = ownerReferences?.some(({ uid, controller }) =>
    controller && uid === pod.metadata.uid
  );
  if (isEphemeral && !isOwned) {
    throw new Error(
      `PVC ${namespace}/${name} was not created for pod ${namespace}/${pod.metadata.name} (pod is not owner)`,
    );
  }
  const volume = await objects.persistentVolume(claim.spec.volumeName);
  const wanted = claim.spec.volumeName;
  if (!volume) {
    throw fail(
      `failed to fetch PV ${wanted} from API server: persistentvolumes "${wanted}" not found`,
    );
  }
  if (!volume.spec.claimRef) {
    throw fail(
      `found PV object ${wanted} but it has a nil pv.Spec.ClaimRef indicating it is not yet bound to the claim`,
    );
  }
  if (volume.spec.claimRef.uid !== claim.metadata.uid) {
    throw fail(
      `found PV object ${wanted} but its pv.Spec.ClaimRef.UID ${volume.spec.claimRef.uid} ` +
        `does not point to claim.UID ${claim.metadata.uid}`,
    );
  }
  return volume;
}

/** Fields of a persistent volume's spec that are not its source. */
const NOT_SOURCES = new Set([
  "accessModes",
  "capacity",
  "claimRef",
  "mountOptions",
  "nodeAffinity",
  "persistentVolumeReclaimPolicy",
  "storageClassName",
  "volumeAttributesClassName",
  "volumeMode",
]);

/** What a persistent volume says of itself. */
export function persistentSource(volume: Obj): Source {
  const kind = Object.keys(volume.spec).find((key) => !NOT_SOURCES.has(key)) ?? "";
  const spec = volume.spec[kind] ?? {};
  return {
    kind,
    spec,
    name: volume.metadata.name,
    readOnly: spec.readOnly ?? false,
    block: volume.spec.volumeMode === "Block",
    volume,
  };
}

function checkMode(pod: Pod, name: string, { block }: Source): void {
  const { mounted, devices } = usedVolumes(pod);
  const wrong = block ? mounted.has(name) && "volumeMounts" : devices.has(name) && "volumeDevices";
  if (!wrong) return;
  const mode = block ? "Block" : "Filesystem";
  throw new Error(`volume ${name} has volumeMode ${mode}, but is specified in ${wrong}`);
}

async function checkNode(source: Source, objects: Objects, nodeName: string): Promise<void> {
  const required = source.volume?.spec.nodeAffinity?.required;
  if (!required) return;
  const node = await objects.node(nodeName);
  if (!node) return;
  const affinity = {
    nodeAffinity: { requiredDuringSchedulingIgnoredDuringExecution: required },
  };
  if (matchesAffinity({ affinity }, node)) return;
  const why = "no matching NodeSelectorTerms";
  const step = source.block ? "MapVolume" : "MountVolume";
  const text = `${step}.NodeAffinity check failed for volume "${source.name}" : ${why}`;
  throw new MountError(source.name, why, text);
}
