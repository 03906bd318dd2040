/**
 * How a container sees the volumes of its pod: where, with which subPath, how read-only, and whether mounts
 * cross between it and the host (pkg/kubelet/kubelet_pods.go, makeMounts).
 *
 * A subPath is opened so that no link in the volume leads out of it, and, where one may mount, is bound to a place
 * of the pod's folder: what the pod does to its volume later cannot move it (pkg/volume/util/subpath).
 */
import type { DeepReadonly } from "../../../api/machinery/types.ts";
import { expand } from "../env.ts";
import { realPathIn } from "../runtimes/host.ts";
import { type Mount, RuntimeError } from "../runtimes/runtime.ts";
import type { ContainerOf, VolumeMount } from "../types.ts";
import { KernelError, type Mounts } from "./kernel.ts";

const FOLDER_MODE = 0o750;

/** A volume as its pod has it. */
export interface MadeVolume {
  /** Where it lies on the host. */
  path: string;
  readOnly: boolean;
  /** It is a block device at that path, not a folder. */
  block?: boolean;
  /** It is an image that the runtime mounts. */
  image?: { reference: string; pullPolicy?: string };
}

/** What the mounts of a container are made from. */
export interface MountSources {
  volumes: ReadonlyMap<string, MadeVolume>;
  env: ReadonlyMap<string, string>;
  /** The pod's folder. */
  folder: string;
  mounts: Mounts | undefined;
  /** The runtime can make mounts read-only with all below them. */
  recursiveReadOnly: boolean;
}

/** Makes them. Rejects with a RuntimeError `CreateContainerConfigError`. */
export async function containerMounts(
  container: ContainerOf,
  sources: MountSources,
): Promise<Mount[]> {
  const result: Mount[] = [];
  for (const [index, mount] of (container.volumeMounts ?? []).entries()) {
    const volume = sources.volumes.get(mount.name);
    if (!volume || volume.block) {
      throw config(
        `cannot find volume "${mount.name}" to mount into container "${container.name}"`,
      );
    }
    const subPath = subPathOf(mount, sources.env);
    const { mountPath } = mount;
    const containerPath = (mountPath.startsWith("/") ? mountPath : `/${mountPath}`)
      .replace(/(.)\/+$/, "$1");
    const hostPath = volume.image || !subPath
      ? volume.path
      : await boundSubPath({ container, mount, index, subPath, volume: volume.path }, sources);
    result.push({
      name: mount.name,
      hostPath,
      containerPath,
      readOnly: volume.readOnly || (mount.readOnly ?? false),
      recursiveReadOnly: recursivelyReadOnly(mount, sources.recursiveReadOnly),
      propagation: propagationOf(mount),
      ...(volume.image && { image: { ...volume.image, subPath } }),
    });
  }
  return result;
}

type MountOf = DeepReadonly<VolumeMount>;

function propagationOf({ mountPropagation = "None" }: MountOf): Mount["propagation"] {
  switch (mountPropagation) {
    case "None":
    case "HostToContainer":
    case "Bidirectional":
      return mountPropagation;
  }
  throw config(`invalid MountPropagation mode: "${mountPropagation}"`);
}

/** Whether the mounts below a read-only one are read-only, too. */
export function recursivelyReadOnly(
  { name, readOnly, recursiveReadOnly: mode = "Disabled", mountPropagation = "None" }: MountOf,
  supported: boolean,
): boolean {
  if (mode === "Disabled") return false;
  const refuse = (why: string) =>
    config(
      `failed to resolve recursive read-only mode: volume "${name}" requested recursive read-only mode, but ${why}`,
    );
  if (!readOnly) throw refuse("it is not read-only");
  if (mountPropagation !== "None") {
    throw refuse(`it is not compatible with propagation "${mountPropagation}"`);
  }
  if (mode === "IfPossible") return supported;
  if (mode === "Enabled" && supported) return true;
  if (mode === "Enabled") throw refuse("it is not supported by the runtime");
  throw config(
    `failed to resolve recursive read-only mode: unknown recursive read-only mode "${mode}"`,
  );
}

/**
 * The path inside its volume that a mount means; undefined for all of it. Validation has seen only the
 * expression: what a variable brings in is judged here, also for containers without processes.
 */
export function subPathOf(
  mount: { subPath?: string; subPathExpr?: string },
  env: ReadonlyMap<string, string>,
): string | undefined {
  const missing = new Set<string>();
  const path = mount.subPathExpr
    ? expand(mount.subPathExpr, (name) => {
      const value = env.get(name);
      if (!value) missing.add(name);
      return value;
    })
    : mount.subPath;
  if (missing.size) throw config(`missing value for ${[...missing].sort().join(", ")}`);
  if (!path) return undefined;
  if (path.startsWith("/")) throw config(`error SubPath \`${path}\` must not be an absolute path`);
  if (path.split("/").includes("..")) {
    throw config(`unable to provision SubPath \`${path}\`: must not contain '..'`);
  }
  return path;
}

interface SubPath {
  container: ContainerOf;
  mount: MountOf;
  /** The mount's place in the container's list. */
  index: number;
  subPath: string;
  volume: string;
}

/** Resolves with a path of the host that is the subPath and stays so. */
async function boundSubPath(sub: SubPath, sources: MountSources): Promise<string> {
  const { mounts } = sources;
  const of = `for volumeMount "${sub.mount.name}" of container "${sub.container.name}"`;
  // What the host looks like is not the pod's business: the cause is not told, only what was tried.
  const tell = (what: string, cause: unknown) =>
    new RuntimeError("CreateContainerConfigError", `${what} ${of}`, { cause });
  if (!await exists(`${sub.volume}/${sub.subPath}`)) {
    try {
      // With the bits by which what is made in it belongs to the pod's group, and is removed by its owner alone.
      const mode = ((await Deno.stat(sub.volume)).mode ?? 0o777) & 0o7777;
      if (mounts) mounts.makeBeneath(sub.volume, sub.subPath, mode);
      else await makeInside(sub.volume, sub.subPath, mode);
    } catch (error) {
      throw tell("failed to create subPath directory", error);
    }
  }
  try {
    if (!mounts) return await insideOf(sub.volume, sub.subPath);
    return await bind(sub, sources, mounts);
  } catch (error) {
    throw tell("failed to prepare subPath", error);
  }
}

async function bind(sub: SubPath, { folder }: MountSources, mounts: Mounts): Promise<string> {
  const { container, mount, index, subPath, volume } = sub;
  const parent = `${folder}/volume-subpaths/${mount.name}/${container.name}`;
  const target = `${parent}/${index}`;
  const opened = mounts.openBeneath(volume, subPath);
  try {
    const there = await Deno.stat(opened.path);
    if (mounts.under(target).length) {
      // A former start of the container, or another thing of the same name.
      const has = await Deno.stat(target);
      if (has.dev === there.dev && has.ino === there.ino) return target;
      mounts.unmount(target);
      await Deno.remove(target);
    }
    await Deno.mkdir(parent, { recursive: true, mode: FOLDER_MODE });
    if (there.isDirectory) await Deno.mkdir(target, { recursive: true, mode: FOLDER_MODE });
    else await Deno.writeFile(target, new Uint8Array(), { mode: 0o640 });
    mounts.bind(opened.path, target);
    return target;
  } finally {
    opened.close();
  }
}

/** For those who may not mount: the real path, if it is in the volume now. */
async function insideOf(volume: string, path: string): Promise<string> {
  const real = await realPathIn(volume, path);
  if (real === undefined) throw new KernelError(`open of ${path}`, 18);
  return real;
}

async function makeInside(volume: string, path: string, mode: number): Promise<void> {
  let at = "";
  for (const part of path.split("/").filter((word) => word && word !== ".")) {
    if (at) await insideOf(volume, at);
    at += `/${part}`;
    if (await exists(volume + at)) continue;
    await Deno.mkdir(volume + at);
    await Deno.chmod(volume + at, mode);
  }
}

async function exists(path: string): Promise<boolean> {
  try {
    await Deno.stat(path);
    return true;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
}

function config(message: string): RuntimeError {
  return new RuntimeError("CreateContainerConfigError", message);
}
