/**
 * The kinds of volumes as a table: for each source its plugin's name (the name of its folder in a pod's, as upstream's
 * tools look for it) and how it is made. What each kind asks of the machine comes in with the request.
 */
import type { MadeVolume } from "./container_mounts.ts";
import type { Source } from "./claims.ts";
import { makeEmptyDir } from "./empty_dir.ts";
import { formatAndMount, type HostTools } from "./host_tools.ts";
import { checkHostPath } from "./host_path.ts";
import type { Mounts } from "./kernel.ts";
import { giveToGroup } from "./ownership.ts";
import { type RemoteTools, setupIscsi, setupNfs } from "./remote.ts";
import type { FieldFacts } from "../fields.ts";
import type { Pod } from "../types.ts";

/** A volume of a pod. */
export interface VolumePlace {
  pod: Pod;
  source: Source;
  /** Where it is to lie. */
  folder: string;
}

/** A volume that a pod is to get. */
export interface VolumeRequest extends VolumePlace {
  facts: FieldFacts;
  /** Whether another pod of the node has the same volume. */
  shared: boolean;
}

/** The machine, as volumes use it. */
export interface Machine extends RemoteTools {
  mounts: Mounts | undefined;
  tools: HostTools;
  /** Writes the files of a volume that is made of objects. */
  writeFiles(request: VolumeRequest): Promise<void>;
  /** CSI's drivers; absent where none can register. */
  csi?: {
    setup(request: VolumeRequest): Promise<MadeVolume>;
  };
}

/** How volumes of a source are made. */
export interface VolumeKind {
  /** The plugin's name, with `/` as `~`. */
  plugin: string;
  setup(request: VolumeRequest, machine: Machine): Promise<MadeVolume>;
  /** A persistent volume may have mount options. */
  mountOptions?: boolean;
  /** Containers may have it as a device. */
  block?: boolean;
}

const MEMORY = { medium: "Memory" };

/** Volumes that are made of objects: in memory where what they hold is secret, or changes with the pod. */
function ofObjects(plugin: string, medium: { medium?: string }): VolumeKind {
  return {
    plugin,
    setup: async (request, machine) => {
      const { folder, pod } = request;
      await makeEmptyDir(folder, medium, pod, placeOf(request, machine));
      await makeNestedFolders(request);
      await machine.writeFiles(request);
      return { path: folder, readOnly: true };
    },
  };
}

/** By the name of the field that names the source. */
export const VOLUME_KINDS: Readonly<Record<string, VolumeKind>> = {
  emptyDir: {
    plugin: "kubernetes.io~empty-dir",
    setup: async (request, machine) => {
      const { source, folder, pod } = request;
      await makeEmptyDir(folder, source.spec, pod, placeOf(request, machine));
      await own(request, folder);
      return { path: folder, readOnly: false };
    },
  },
  // A ConfigMap is not secret and may be large: memory is charged to nobody for it.
  configMap: ofObjects("kubernetes.io~configmap", {}),
  secret: ofObjects("kubernetes.io~secret", MEMORY),
  downwardAPI: ofObjects("kubernetes.io~downward-api", MEMORY),
  projected: ofObjects("kubernetes.io~projected", MEMORY),
  hostPath: {
    plugin: "kubernetes.io~host-path",
    setup: async ({ source }) => {
      const { path, type = "" } = source.spec;
      await checkHostPath(path, type);
      return { path, readOnly: source.readOnly };
    },
  },
  local: {
    plugin: "kubernetes.io~local-volume",
    mountOptions: true,
    block: true,
    setup: setupLocal,
  },
  nfs: {
    plugin: "kubernetes.io~nfs",
    mountOptions: true,
    setup: ({ source, folder }, machine) => setupNfs(source, folder, machine),
  },
  iscsi: {
    plugin: "kubernetes.io~iscsi",
    mountOptions: true,
    block: true,
    setup: async (request, machine) => {
      const made = await setupIscsi(request.source, request.folder, machine);
      if (!made.block && !made.readOnly) await own(request, made.path);
      return made;
    },
  },
  csi: {
    plugin: "kubernetes.io~csi",
    mountOptions: true,
    block: true,
    setup: async (request, { csi }) => {
      if (csi) return await csi.setup(request);
      throw new Error(driverMissing(request.source.spec.driver));
    },
  },
  image: {
    plugin: "kubernetes.io~image",
    // The runtime pulls and mounts it: nothing is made here.
    setup: ({ source }) => {
      const { reference = "", pullPolicy } = source.spec;
      return Promise.resolve({ path: "", readOnly: true, image: { reference, pullPolicy } });
    },
  },
};

/** What is said of a driver that has not registered. */
export function driverMissing(driver: string): string {
  return `driver name ${driver} not found in the list of registered CSI drivers`;
}

function placeOf({ facts }: VolumeRequest, { mounts }: Machine) {
  return { mounts, allocatableMemory: facts.allocatable.memory };
}

/** Gives a volume that its pod may write to the pod's group. */
async function own({ pod, source }: VolumeRequest, path: string): Promise<void> {
  const { fsGroup: gid, fsGroupChangePolicy: policy } = pod.spec.securityContext ?? {};
  if (gid === undefined) return;
  // The policy is for volumes that come with files; what is the pod's own is always right.
  const kept = source.kind === "emptyDir" ? undefined : policy;
  await giveToGroup(path, { gid, readOnly: false, policy: kept });
}

/** Folders in a read-only volume on which the pod's containers mount other volumes. */
async function makeNestedFolders({ pod, source, folder }: VolumeRequest): Promise<void> {
  for (const { volumeMounts = [] } of [...pod.spec.initContainers ?? [], ...pod.spec.containers]) {
    for (const own of volumeMounts) {
      if (own.name !== source.name) continue;
      const prefix = `${own.mountPath.replace(/\/+$/, "")}/`;
      for (const { mountPath } of volumeMounts) {
        const path = mountPath.startsWith(prefix) ? mountPath.slice(prefix.length) : "";
        if (!path || path.split("/").includes("..")) continue;
        await Deno.mkdir(`${folder}/${path}`, { recursive: true, mode: 0o755 });
      }
    }
  }
}

/** A folder or disk of this node, tied to it by its volume's node affinity. */
async function setupLocal(request: VolumeRequest, machine: Machine): Promise<MadeVolume> {
  const { source, folder, shared } = request;
  const { mounts, tools, isMounted } = machine;
  const { path, fsType } = source.spec;
  const { readOnly } = source;
  if (path.split("/").includes("..")) {
    throw new Error(`invalid path: ${path} must not contain '..'`);
  }
  const info = await Deno.stat(path).catch((error) => {
    throw error instanceof Deno.errors.NotFound
      ? new Error(`path "${path}" does not exist`)
      : error;
  });
  if (source.block) {
    if (info.isBlockDevice) return { path, readOnly, block: true };
    throw new Error(`${path} is not a block device`);
  }
  if (!mounts) return { path, readOnly };
  if (isMounted(folder)) return { path: folder, readOnly };
  await Deno.mkdir(folder, { recursive: true, mode: 0o750 });
  const options = [readOnly ? "ro" : "rw", ...source.volume?.spec.mountOptions ?? []];
  try {
    if (info.isBlockDevice) {
      await formatAndMount(tools, { device: path, target: folder, fsType, options });
    } else mounts.bind(path, folder);
    if (!readOnly && !shared) await own(request, folder);
  } catch (error) {
    mounts.unmount(folder);
    await Deno.remove(folder);
    throw error;
  }
  return { path: folder, readOnly };
}
