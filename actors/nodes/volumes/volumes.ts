/**
 * The volumes of a node's pods, as folders of the host: `<folder>/pods/<uid>/volumes/<name>` for those
 * that belong to the pod, the host's own path for hostPath and for persistent volumes of the kinds
 * hostPath and local. How a container sees them is the runtime's business.
 */
import { MountError, type PodVolumes } from "../ports.ts";
import type { FieldFacts } from "../fields.ts";
import { expand } from "../env.ts";
import type { Objects } from "../objects.ts";
import { type Mount, RuntimeError } from "../runtimes/runtime.ts";
import type { DeepReadonly, KubeObject } from "../../../api/machinery/types.ts";
import type { Clock } from "../../../kv/clock.ts";
import type { ContainerOf, Pod, Volume } from "../types.ts";
import { writeAtomically } from "./atomic_writer.ts";
import { checkHostPath } from "./host_path.ts";
import type { PodTokens } from "./tokens.ts";
import { filesOf, isMadeOfObjects } from "./volume_files.ts";

export interface VolumesOptions {
  folder: string;
  objects: Objects;
  tokens: PodTokens;
  clock: Clock;
}

/** See the module's text. */
export class HostVolumes implements PodVolumes {
  readonly #options: VolumesOptions;
  /** Where each volume of a pod lies, once it is there. */
  readonly #paths = new Map<string, Map<string, { path: string; readOnly: boolean }>>();

  constructor(options: VolumesOptions) {
    this.#options = options;
  }

  async setup(pod: Pod, facts: FieldFacts): Promise<void> {
    const paths = new Map<string, { path: string; readOnly: boolean }>();
    for (const volume of pod.spec.volumes ?? []) {
      try {
        paths.set(volume.name, await this.#make(pod, volume, facts));
      } catch (error) {
        throw new MountError(volume.name, (error as Error).message);
      }
    }
    this.#paths.set(pod.metadata.uid, paths);
  }

  async #make(pod: Pod, volume: DeepReadonly<Volume>, facts: FieldFacts) {
    const path = this.#folderOf(pod, volume.name);
    if (isMadeOfObjects(volume)) {
      await this.#write(pod, volume, facts);
      return { path, readOnly: true };
    }
    if (volume.hostPath) {
      await checkHostPath(volume.hostPath.path, volume.hostPath.type ?? "");
      return { path: volume.hostPath.path, readOnly: false };
    }
    if (volume.persistentVolumeClaim || volume.ephemeral) {
      const claim = volume.persistentVolumeClaim?.claimName ??
        `${pod.metadata.name}-${volume.name}`;
      const at = await this.#claimed(pod, claim);
      return { path: at, readOnly: volume.persistentVolumeClaim?.readOnly ?? false };
    }
    const kind = Object.keys(volume).find((key) => key !== "name") ?? "emptyDir";
    if (kind !== "emptyDir") {
      throw new Error(`volumes of the kind ${kind} are not supported by this node`);
    }
    await Deno.mkdir(path, { recursive: true });
    await Deno.chmod(path, 0o777);
    return { path, readOnly: false };
  }

  async #write(
    pod: Pod,
    volume: DeepReadonly<Volume>,
    facts: FieldFacts,
  ): Promise<number | undefined> {
    const { objects, tokens, clock } = this.#options;
    const { files, refreshInMs } = await filesOf(pod, volume, { objects, tokens, facts });
    const stamp = new Date(clock.now()).toISOString().replaceAll(/[-:]/g, "_");
    await writeAtomically(this.#folderOf(pod, volume.name), files, stamp);
    return refreshInMs;
  }

  /** The folder of a bound claim. */
  async #claimed(pod: Pod, name: string): Promise<string> {
    const { objects } = this.#options;
    const claim = await objects.claim(pod.metadata.namespace ?? "default", name);
    if (!claim) throw new Error(`persistentvolumeclaim "${name}" not found`);
    if (claim.metadata.deletionTimestamp) {
      throw new Error(`PVC ${claim.metadata.namespace}/${name} is being deleted`);
    }
    if (claim.status?.phase !== "Bound" || !claim.spec.volumeName) {
      throw new Error(`PVC ${claim.metadata.namespace}/${name} is not bound`);
    }
    const volume = await objects.persistentVolume(claim.spec.volumeName);
    if (!volume) throw new Error(`persistentvolume "${claim.spec.volumeName}" not found`);
    return await pathOf(volume);
  }

  async check(pod: Pod): Promise<void> {
    const { objects } = this.#options;
    const namespace = pod.metadata.namespace ?? "default";
    for (const volume of pod.spec.volumes ?? []) {
      const missing = async () => {
        const { configMap, secret, persistentVolumeClaim: pvc } = volume;
        if (configMap && !configMap.optional) {
          if (!await objects.configMap(namespace, configMap.name)) {
            return `configmap "${configMap.name}"`;
          }
        }
        if (secret && !secret.optional) {
          const name = secret.secretName ?? "";
          if (!await objects.secret(namespace, name)) return `secret "${name}"`;
        }
        if (pvc && !await objects.claim(namespace, pvc.claimName)) {
          return `persistentvolumeclaim "${pvc.claimName}"`;
        }
      };
      const what = await missing();
      if (what) throw new MountError(volume.name, `${what} not found`);
    }
  }

  async mounts(
    pod: Pod,
    container: ContainerOf,
    env: ReadonlyMap<string, string>,
  ): Promise<Mount[]> {
    const paths = this.#paths.get(pod.metadata.uid);
    const mounts: Mount[] = [];
    for (const mount of container.volumeMounts ?? []) {
      const volume = paths?.get(mount.name);
      if (!volume) {
        throw config(
          `cannot find volume "${mount.name}" to mount into container ` +
            `"${container.name}"`,
        );
      }
      const expanded = subPathOf(mount, env);
      const hostPath = expanded ? await subPath(volume.path, expanded) : volume.path;
      const readOnly = volume.readOnly || (mount.readOnly ?? false);
      const containerPath = mount.mountPath.startsWith("/")
        ? mount.mountPath
        : `/${mount.mountPath}`;
      mounts.push({ hostPath, containerPath: containerPath.replace(/(.)\/+$/, "$1"), readOnly });
    }
    return mounts;
  }

  async refresh(pod: Pod, facts: FieldFacts): Promise<number | undefined> {
    let next: number | undefined;
    for (const volume of pod.spec.volumes ?? []) {
      if (!isMadeOfObjects(volume)) continue;
      try {
        const again = await this.#write(pod, volume, facts);
        if (again !== undefined) next = Math.min(next ?? Infinity, again);
      } catch {
        // An object that has gone leaves the files as they are; it is looked for again when it changes.
      }
    }
    return next;
  }

  async teardown(pod: Pod): Promise<void> {
    const { uid } = pod.metadata;
    this.#paths.delete(uid);
    this.#options.tokens.forget(uid);
    try {
      await Deno.remove(`${this.#options.folder}/pods/${uid}/volumes`, { recursive: true });
    } catch (error) {
      if (!(error instanceof Deno.errors.NotFound)) throw error;
    }
  }

  #folderOf(pod: Pod, volume: string): string {
    return `${this.#options.folder}/pods/${pod.metadata.uid}/volumes/${volume}`;
  }
}

/** Where a persistent volume lies on this host. */
async function pathOf(volume: DeepReadonly<KubeObject>): Promise<string> {
  const { hostPath, local } = volume.spec;
  if (hostPath) {
    await checkHostPath(hostPath.path, hostPath.type || "DirectoryOrCreate");
    return hostPath.path;
  }
  if (local) {
    await checkHostPath(local.path, "");
    return local.path;
  }
  throw new Error(`persistentvolume "${volume.metadata.name}" is of a kind this node cannot mount`);
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

async function subPath(volume: string, path: string): Promise<string> {
  const full = `${volume}/${path}`;
  try {
    const [real, root] = [await Deno.realPath(full), await Deno.realPath(volume)];
    if (real !== root && !real.startsWith(`${root}/`)) {
      throw config(`subPath "${path}" leads out of its volume`);
    }
    return real;
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
    await Deno.mkdir(full, { recursive: true, mode: 0o750 });
    return full;
  }
}

function config(message: string): RuntimeError {
  return new RuntimeError("CreateContainerConfigError", message);
}
