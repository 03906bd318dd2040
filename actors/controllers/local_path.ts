/**
 * The local-path provisioner, `plesio.dev/local-path`: a folder on the chosen node for each claim. It brings
 * the default StorageClass `standard` with it.
 *
 * A volume is made when the scheduler has chosen a node for the claim's first consumer (or at once, for a class
 * that binds immediately), is tied to that node, and is taken away with its folder when it is released and its
 * policy says Delete.
 *
 * Its keys: `class`, `claim/<namespace>/<name>`, `volume/<name>`.
 */
import {
  type ActorContext,
  isGone,
  NODES,
  type Outcome,
  PERSISTENT_VOLUME_CLAIMS,
  PERSISTENT_VOLUMES,
  STORAGE_CLASSES,
  targetOf,
} from "../runtime/mod.ts";
import type { Obj } from "./objects.ts";
import {
  classOf,
  PROVISIONED_BY,
  SELECTED_NODE,
  STORAGE_PROVISIONER,
} from "./persistent_volumes.ts";
import type { ControllerPorts, FreeController } from "./ports.ts";
import { createOnce, provisionedVolume, watchProvisioning } from "./provisioning.ts";

/** The provisioner's name, and its class's. */
export const LOCAL_PATH = "plesio.dev/local-path";
export const STANDARD = "standard";
/** The folder of the volumes where none was named. */
export const LOCAL_PATH_ROOT = "/var/lib/plesio/volumes";

type Ports = Pick<ControllerPorts, "localPathRoot" | "removeFolder">;

export function localPathProvisioner(ports: Ports): FreeController {
  return {
    name: "local-path-provisioner",
    account: "local-path-provisioner",
    component: "plesio.dev/local-path",
    workers: 4,
    behaviour: {
      start(context) {
        const { informers } = context;
        informers.for(NODES);
        informers.for(STORAGE_CLASSES);
        context.send(context.address, "class");
        watchProvisioning(context);
      },
      handle: (key, _state, context) => handle(key, ports, context),
    },
  };
}

async function handle(key: string, ports: Ports, context: ActorContext): Promise<Outcome> {
  if (key === "class") return await ensureClass(context);
  const name = key.slice(key.indexOf("/") + 1);
  if (key.startsWith("claim/")) {
    const claim = context.informers.for(PERSISTENT_VOLUME_CLAIMS).get(name);
    if (claim) await provision(claim, ports, context);
  } else {
    const volume = context.informers.for(PERSISTENT_VOLUMES).get(name);
    if (volume) await reclaim(volume, ports, context);
  }
}

async function ensureClass(context: ActorContext): Promise<void> {
  await createOnce(context, STORAGE_CLASSES, {
    apiVersion: "storage.k8s.io/v1",
    kind: "StorageClass",
    metadata: {
      name: STANDARD,
      annotations: { "storageclass.kubernetes.io/is-default-class": "true" },
    },
    provisioner: LOCAL_PATH,
    reclaimPolicy: "Delete",
    // A folder has no bound of its own.
    allowVolumeExpansion: true,
    volumeBindingMode: "WaitForFirstConsumer",
  });
}

async function provision(claim: Obj, ports: Ports, context: ActorContext): Promise<void> {
  if (claim.spec.volumeName || claim.metadata.deletionTimestamp) return;
  if (claim.metadata.annotations?.[STORAGE_PROVISIONER] !== LOCAL_PATH) return;
  const storageClass = classOf(claim, context);
  if (storageClass?.provisioner !== LOCAL_PATH) return;
  const node = claim.metadata.annotations?.[SELECTED_NODE] ?? anyNode(context);
  if (!node) return;
  const { namespace, name, uid } = claim.metadata;
  const volumeName = `pvc-${uid}`;
  if (context.informers.for(PERSISTENT_VOLUMES).get(volumeName)) return;
  const say = (type: "Normal" | "Warning", reason: string, text: string) =>
    context.recorder.event(claim, type, reason, text);
  if (claim.spec.volumeMode === "Block") {
    say(
      "Warning",
      "ProvisioningFailed",
      `failed to provision volume with StorageClass "${storageClass.metadata.name}": block volumes are not supported`,
    );
    return;
  }
  say(
    "Normal",
    "Provisioning",
    `External provisioner is provisioning volume for claim "${namespace}/${name}"`,
  );
  const path = `${ports.localPathRoot ?? LOCAL_PATH_ROOT}/${volumeName}_${namespace}_${name}`;
  const volume = provisionedVolume(claim, storageClass, {
    name: volumeName,
    provisioner: LOCAL_PATH,
    storage: claim.spec.resources?.requests?.storage,
    places: [{ "kubernetes.io/hostname": hostnameOf(node, context) }],
    source: { hostPath: { path, type: "DirectoryOrCreate" } },
  });
  const made = await createOnce(context, PERSISTENT_VOLUMES, volume);
  if (made) say("Normal", "ProvisioningSucceeded", `Successfully provisioned volume ${volumeName}`);
}

function anyNode(context: ActorContext): string | undefined {
  for (const node of context.informers.for(NODES).list()) {
    if (!node.spec?.unschedulable) return node.metadata.name;
  }
}

function hostnameOf(node: string, context: ActorContext): string {
  return context.informers.for(NODES).get(node)?.metadata.labels?.["kubernetes.io/hostname"] ??
    node;
}

/** Takes away a released volume of ours, its folder first. */
async function reclaim(volume: Obj, ports: Ports, context: ActorContext): Promise<void> {
  if (volume.status?.phase !== "Released" || volume.metadata.deletionTimestamp) return;
  if (volume.metadata.annotations?.[PROVISIONED_BY] !== LOCAL_PATH) return;
  if (volume.spec.persistentVolumeReclaimPolicy !== "Delete") return;
  const root = ports.localPathRoot ?? LOCAL_PATH_ROOT;
  const path = volume.spec.hostPath?.path as string | undefined;
  // Only what lies below our own folder: a volume's path is a user's to write.
  if (path?.startsWith(`${root}/pvc-`) && !path.includes("..")) await ports.removeFolder?.(path);
  try {
    await context.client.delete(targetOf(PERSISTENT_VOLUMES, volume), {
      preconditions: { uid: volume.metadata.uid },
    });
  } catch (error) {
    if (!isGone(error)) throw error;
  }
}
