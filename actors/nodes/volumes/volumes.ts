/**
 * The volumes of a node's pods: `<folder>/pods/<uid>/volumes/<plugin>/<name>` for those that belong to the pod, the
 * host's own path for hostPath. How a container sees them is the runtime's business, by `Mount`s and `Device`s.
 *
 * On Linux as root they are real mounts; elsewhere folders with the same files and modes. Nothing is remembered that
 * the machine does not know itself: a node that comes back finds its mounts in the kernel's list, keeps those of pods
 * that still run, and takes the others away before anything is started.
 *
 * Each pod's work is done in turn: a refresh that is under way when the pod goes cannot make files again.
 */
import type { FileSystem, VolumeFigures } from "../figures.ts";
import type { FieldFacts } from "../fields.ts";
import type { Objects } from "../objects.ts";
import { MountError, type PodVolumes } from "../ports.ts";
import type { Logger } from "../../runtime/mod.ts";
import type { Device, Mount, Runtime } from "../runtimes/runtime.ts";
import { parseQuantity } from "../../../api/machinery/quantity.ts";
import type { DeepReadonly } from "../../../api/machinery/types.ts";
import type { Clock } from "../../../kv/clock.ts";
import type { ContainerOf, Pod, Volume } from "../types.ts";
import { writeAtomically } from "./atomic_writer.ts";
import { type Source, sourceOf, usedVolumes } from "./claims.ts";
import { containerMounts, type MadeVolume } from "./container_mounts.ts";
import type { CsiVolumes } from "./csi_volumes.ts";
import { usedIn } from "./disk_usage.ts";
import { type HostTools, hostTools } from "./host_tools.ts";
import { hostMounts, type Mounts, unmountAll } from "./kernel.ts";
import { holdIn } from "../runtimes/host.ts";
import { fileSystem } from "../runtimes/meter.ts";
import { iscsiTarget, teardownIscsi } from "./remote.ts";
import type { PodTokens } from "./tokens.ts";
import { filesOf, isMadeOfObjects } from "./volume_files.ts";
import { type Machine, VOLUME_KINDS, type VolumeKind, type VolumeRequest } from "./volume_kinds.ts";

/** What the volumes of a node need, with defaults. */
export interface VolumesOptions {
  folder: string;
  nodeName: string;
  objects: Objects;
  tokens: PodTokens;
  clock: Clock;
  /** This machine's, if one may mount. */
  mounts?: Mounts | false;
  tools?: HostTools;
  /** Volumes of storage drivers, where those can register. */
  csi?: CsiVolumes;
  log?: Logger;
}

/** Of a file of environment variables. */
const TEXT_BYTES_MAX = 1024 * 1024;

/** A volume of a pod, and what it was made of. */
interface PodVolume extends MadeVolume {
  source: Source;
}

/** See the module's text. */
export class HostVolumes implements PodVolumes {
  readonly #options: VolumesOptions;
  readonly #machine: Machine;
  /** Pods whose volumes are all there. */
  readonly #pods = new Map<string, ReadonlyMap<string, PodVolume>>();
  /** Pods that are gone and whose volumes are not. */
  readonly #orphans = new Set<string>();
  /** The work of each pod, one after the other. */
  readonly #turns = new Map<string, Promise<unknown>>();

  constructor(options: VolumesOptions) {
    this.#options = options;
    const mounts = options.mounts === false ? undefined : options.mounts ?? hostMounts();
    this.#machine = {
      mounts,
      tools: options.tools ?? hostTools,
      clock: options.clock,
      isMounted: (path) => mounts?.under(path).some((point) => point.path === path) ?? false,
      secret: (name, namespace) => this.#secret(name, namespace),
      csi: options.csi,
      writeFiles: async (request) => void await this.#write(request),
    };
  }

  /** Lets one piece of a pod's work follow the other. */
  #inTurn<T>(uid: string, work: () => Promise<T>): Promise<T> {
    const before = this.#turns.get(uid) ?? Promise.resolve();
    const turn = before.then(work, work);
    const settled = turn.catch(() => {});
    this.#turns.set(uid, settled);
    void settled.then(() => {
      if (this.#turns.get(uid) === settled) this.#turns.delete(uid);
    });
    return turn;
  }

  async setup(pod: Pod, facts: FieldFacts): Promise<void> {
    await this.#inTurn(pod.metadata.uid, () => this.#setup(pod, facts));
  }

  async #setup(pod: Pod, facts: FieldFacts): Promise<void> {
    const { objects, nodeName } = this.#options;
    const made = new Map<string, PodVolume>();
    const { mounted, devices } = usedVolumes(pod);
    let failed: unknown;
    for (const volume of pod.spec.volumes ?? []) {
      if (!mounted.has(volume.name) && !devices.has(volume.name)) continue;
      try {
        const source = await sourceOf(pod, volume, objects, nodeName);
        made.set(volume.name, { ...await this.#make(pod, source, facts), source });
      } catch (error) {
        // The others are made meanwhile: they need not wait for this one.
        failed ??= error;
      }
    }
    if (failed) throw failed;
    this.#pods.set(pod.metadata.uid, made);
  }

  async #make(pod: Pod, source: Source, facts: FieldFacts): Promise<MadeVolume> {
    const step = source.block ? "MapVolume" : "MountVolume";
    const fail = (what: string, why: string) =>
      new MountError(
        source.name,
        why,
        `${step}.${what} failed for volume "${source.name}" : ${why}`,
      );
    const kind: VolumeKind | undefined = VOLUME_KINDS[source.kind];
    if (!kind) {
      const why = `no volume plugin matched: this node has none for ${source.kind || "it"}`;
      throw fail("FindPluginBySpec", why);
    }
    const { volume, name } = source;
    if (source.block && !kind.block) {
      throw fail("FindMapperPluginBySpec", "no block volume plugin matched");
    }
    if (volume?.spec.mountOptions?.length && !kind.mountOptions) {
      const why = "mount options are not supported for this volume type";
      const text = `MountVolume.MountOptionSupport check failed for volume "${name}" : ${why}`;
      throw new MountError(name, why, text);
    }
    const shared = volume !== undefined && this.#others(name, pod.metadata.uid);
    const modes: readonly string[] = volume?.spec.accessModes ?? [];
    if (shared && modes.length === 1 && modes[0] === "ReadWriteOncePod") {
      throw fail(
        "SetUp",
        "volume uses the ReadWriteOncePod access mode and is already in use by another pod",
      );
    }
    const folder = this.#folderOf(pod, kind, name);
    try {
      return await kind.setup({ pod, source, folder, facts, shared }, this.#machine);
    } catch (error) {
      if (error instanceof MountError) throw error;
      throw fail(source.block ? "SetUpDevice" : "SetUp", (error as Error).message);
    }
  }

  /** Whether another pod has a persistent volume. */
  #others(volume: string, uid: string): boolean {
    return [...this.#pods].some(([other, made]) =>
      other !== uid &&
      [...made.values()].some(({ source }) => source.volume && source.name === volume)
    );
  }

  async #write({ pod, source, folder, facts }: VolumeRequest): Promise<number | undefined> {
    const { objects, tokens, clock } = this.#options;
    const volume = { name: source.name, [source.kind]: source.spec } as DeepReadonly<Volume>;
    const { files, refreshInMs } = await filesOf(pod, volume, { objects, tokens, facts });
    const stamp = new Date(clock.now()).toISOString().replaceAll(/[-:]/g, "_");
    const group = pod.spec.securityContext?.fsGroup;
    await writeAtomically(folder, files, { stamp, group });
    return refreshInMs;
  }

  async #secret(name: string, namespace = "default"): Promise<ReadonlyMap<string, string>> {
    const secret = await this.#options.objects.secret(namespace, name);
    if (!secret) throw new Error(`secrets "${name}" not found`);
    return new Map(
      Object.entries((secret.data ?? {}) as Record<string, string>)
        .map(([key, value]) => [key, atob(value)]),
    );
  }

  async check(pod: Pod): Promise<void> {
    const { objects } = this.#options;
    const namespace = pod.metadata.namespace ?? "default";
    const { mounted } = usedVolumes(pod);
    for (const volume of pod.spec.volumes ?? []) {
      if (!mounted.has(volume.name)) continue;
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
    { recursiveReadOnly = false }: Pick<Runtime, "recursiveReadOnly">,
  ): Promise<Mount[]> {
    const { uid } = pod.metadata;
    const { mounts } = this.#machine;
    const folder = this.#podFolder(uid);
    return await this.#inTurn(uid, () => {
      const volumes = this.#pods.get(uid) ?? new Map();
      return containerMounts(container, { volumes, env, folder, mounts, recursiveReadOnly });
    });
  }

  async textIn(pod: Pod, volume: string, path: string): Promise<string> {
    const made = this.#pods.get(pod.metadata.uid)?.get(volume);
    if (!made) throw new Error(`cannot find volume "${volume}"`);
    // A link in it may lead anywhere on this machine.
    await using held = await holdIn(made.path, path);
    if (!held) throw new Error(`"${path}" leads out of its volume`);
    const { size, isFile } = await Deno.stat(held.path);
    // A pipe would keep the container waiting
    if (!isFile) throw new Error(`"${path}" is no file`);
    if (size > TEXT_BYTES_MAX) throw new Error(`"${path}" is larger than ${TEXT_BYTES_MAX} bytes`);
    return await Deno.readTextFile(held.path);
  }

  devices(pod: Pod, container: ContainerOf): Device[] {
    const volumes = this.#pods.get(pod.metadata.uid);
    return (container.volumeDevices ?? []).map(({ name, devicePath }) => {
      const volume = volumes?.get(name);
      if (!volume?.block) {
        throw new Error(`cannot find volume "${name}" to map into container "${container.name}"`);
      }
      const permissions = volume.readOnly ? "r" : "mrw";
      return { hostPath: volume.path, containerPath: devicePath, permissions };
    });
  }

  async refresh(pod: Pod, facts: FieldFacts): Promise<number | undefined> {
    const { uid } = pod.metadata;
    return await this.#inTurn(uid, async () => {
      // The pod has gone meanwhile.
      if (!this.#pods.has(uid)) return undefined;
      let next: number | undefined;
      const { mounted } = usedVolumes(pod);
      for (const volume of pod.spec.volumes ?? []) {
        if (!mounted.has(volume.name)) continue;
        const again = await this.#refreshOne(pod, volume, facts);
        if (again !== undefined) next = Math.min(next ?? Infinity, again);
      }
      return next;
    });
  }

  async #refreshOne(pod: Pod, volume: DeepReadonly<Volume>, facts: FieldFacts) {
    const { objects, nodeName, csi } = this.#options;
    const ofDriver = csi && (volume.csi || volume.persistentVolumeClaim || volume.ephemeral);
    if (!ofDriver && !isMadeOfObjects(volume)) return undefined;
    try {
      const source = await sourceOf(pod, volume, objects, nodeName);
      const folder = this.#folderOf(pod, VOLUME_KINDS[source.kind], source.name);
      const request = { pod, source, folder, facts, shared: false };
      if (!ofDriver) return await this.#write(request);
      return source.kind === "csi" ? await csi.refresh(request) : undefined;
    } catch {
      // An object that has gone leaves the files as they are; it is looked for again when it changes.
      return undefined;
    }
  }

  async teardown(pod: Pod): Promise<void> {
    const { uid } = pod.metadata;
    await this.#inTurn(uid, async () => {
      this.#options.tokens.forget(uid);
      await this.#remove(uid);
      this.#pods.delete(uid);
    });
  }

  /** Takes away what is mounted for a pod, then its folders: never the contents of what was not unmounted. */
  async #remove(uid: string): Promise<void> {
    const { mounts } = this.#machine;
    const folder = this.#podFolder(uid);
    const disks = namesIn(`${folder}/volumes/${VOLUME_KINDS.iscsi.plugin}`)
      .map((name) => `${folder}/volumes/${VOLUME_KINDS.iscsi.plugin}/${name}`);
    await this.#options.csi?.teardown(folder);
    if (mounts) unmountAll(mounts, folder);
    for (const disk of disks) await this.#logout(disk);
    for (const name of ["volume-subpaths", "volumes", "volumeDevices"]) {
      await removeAll(`${folder}/${name}`);
    }
  }

  async #logout(disk: string): Promise<void> {
    const { tools } = this.#machine;
    const inUse = async (iqn: string) => {
      for (const uid of namesIn(`${this.#options.folder}/pods`)) {
        const folder = `${this.#podFolder(uid)}/volumes/${VOLUME_KINDS.iscsi.plugin}`;
        for (const name of namesIn(folder)) {
          if (await iscsiTarget(`${folder}/${name}`) === iqn) return true;
        }
      }
      return false;
    };
    await teardownIscsi(disk, { tools, inUse });
  }

  async overfull(pod: Pod): Promise<string | undefined> {
    const volumes = this.#pods.get(pod.metadata.uid);
    for (const { name, emptyDir } of pod.spec.volumes ?? []) {
      const volume = volumes?.get(name);
      const limit = emptyDir?.sizeLimit;
      if (!volume || limit === undefined) continue;
      const bytes = parseQuantity(limit).value();
      if (bytes > 0 && (await usedIn(volume.path)).usedBytes > bytes) {
        return `Usage of EmptyDir volume "${name}" exceeds the limit "${limit}". `;
      }
    }
  }

  async measure(pod: Pod): Promise<VolumeFigures[]> {
    const made = this.#pods.get(pod.metadata.uid);
    const all: VolumeFigures[] = [];
    for (const volume of pod.spec.volumes ?? []) {
      const place = made?.get(volume.name);
      if (!place || place.image || volume.hostPath) continue;
      try {
        all.push({
          ...await this.#measured(pod, place),
          name: volume.name,
          claim: place.source.volume?.spec.claimRef?.name,
          ephemeral: isEphemeral(volume),
        });
      } catch (error) {
        this.#options.log?.("debug", "a volume cannot be measured", {
          volume: volume.name,
          error: String(error),
        });
      }
    }
    return all;
  }

  async #measured(pod: Pod, { source, path }: PodVolume): Promise<FileSystem> {
    if (source.kind === "csi") {
      const folder = this.#folderOf(pod, VOLUME_KINDS.csi, source.name);
      const told = await this.#options.csi?.measure({ pod, source, folder });
      if (told) return told;
    }
    const whole = await fileSystem(path);
    return source.volume || source.kind === "csi" ? whole : { ...whole, ...await usedIn(path) };
  }

  /** Removes the volumes of pods that are not among these. What cannot go yet goes with `sweepOrphans`. */
  async sweep(known: ReadonlySet<string>): Promise<void> {
    for (const uid of namesIn(`${this.#options.folder}/pods`)) {
      if (!known.has(uid)) this.#orphans.add(uid);
    }
    await this.sweepOrphans();
  }

  /** Removes the volumes of pods that are gone: a driver that has to do it may have come meanwhile. */
  async sweepOrphans(): Promise<void> {
    let failed: unknown;
    for (const uid of this.#orphans) {
      try {
        await this.#inTurn(uid, () => this.#remove(uid));
        this.#pods.delete(uid);
        this.#orphans.delete(uid);
      } catch (error) {
        failed ??= error;
      }
    }
    if (failed) {
      const left = [...this.#orphans].join(", ");
      this.#options.log?.("warn", "volumes of pods that are gone are left", {
        pods: left,
        error: String(failed),
      });
    }
  }

  /**
   * Takes away all mounts of pods, or in a folder: for nodes none of whose containers runs. What lies on the disk
   * stays.
   */
  unmountAll(folder = `${this.#options.folder}/pods`): void {
    const { mounts } = this.#machine;
    this.#pods.clear();
    if (mounts) unmountAll(mounts, folder);
  }

  /** Volumes that nobody may detach from the node: `volumesInUse` of its status. */
  inUse(): string[] {
    return this.#options.csi?.inUse() ?? [];
  }

  #podFolder(uid: string): string {
    return `${this.#options.folder}/pods/${uid}`;
  }

  #folderOf(pod: Pod, kind: VolumeKind, name: string): string {
    return `${this.#podFolder(pod.metadata.uid)}/volumes/${kind.plugin}/${name}`;
  }
}

/** Whether a volume lies on the node's disk and goes with its pod (IsLocalEphemeralVolume). */
function isEphemeral({ emptyDir, configMap }: DeepReadonly<Volume>): boolean {
  return configMap !== undefined || (emptyDir !== undefined && (emptyDir.medium ?? "") === "");
}

function namesIn(folder: string): string[] {
  try {
    return [...Deno.readDirSync(folder)].map((entry) => entry.name);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return [];
    throw error;
  }
}

async function removeAll(path: string): Promise<void> {
  try {
    await Deno.remove(path, { recursive: true });
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
}
