/**
 * Limits of memory and CPU by cgroups, version 1 or 2, where this process may make them; elsewhere
 * containers run without (and V8's heap bound is all there is). A container's processes join by
 * writing their pid before they become the container (`joins`).
 *
 * A pod's group of version 2 (`podGroup`) is also how its packets are told from those of other processes of this
 * machine: the kernel knows of each socket in which group it was made. There is one without limits too, also beside
 * version 1, and it stays as long as its pod.
 */

/** What to limit. */
export interface CgroupLimits {
  memoryBytes?: number;
  milliCpu?: number;
}

/** A container's cgroup. */
export interface Cgroup {
  /** Files that a process writes its pid to. */
  readonly joins: readonly string[];
  /** Whether the kernel killed something in it for lack of memory. */
  oomKilled(): boolean;
  /** Other limits from now on. The files that its processes must be written to for them. */
  resize(limits: CgroupLimits): readonly string[];
  remove(): void;
}

export const ROOT = "/sys/fs/cgroup";
/** Period of CPU quotas in microseconds. */
const PERIOD_US = 100_000;

/** Makes a container's cgroup; undefined where that cannot be done. */
export function makeCgroup(
  uid: string,
  container: string,
  limits: CgroupLimits,
): Cgroup | undefined {
  if (Deno.build.os !== "linux") return undefined;
  const name = `plesio/${uid}/${container}`;
  try {
    return isVersionTwo() ? versionTwo(name, limits) : versionOne(name, limits);
  } catch {
    return undefined; // not ours to write
  }
}

/** Below `ROOT`, the groups of version 2; undefined: this machine has none. */
export function unified(): string | undefined {
  if (isVersionTwo()) return "";
  return exists(`${ROOT}/unified/cgroup.procs`) ? "unified/" : undefined;
}

/** The group that tells whose packets are a pod's, as a path below `ROOT`; undefined: it has none. */
export function podGroup(uid: string): string | undefined {
  const where = unified();
  const path = `${where}plesio/${uid}`;
  return where !== undefined && exists(`${ROOT}/${path}`) ? path : undefined;
}

/** Removes what is left of a pod's groups when none of its processes runs. */
export function removePodGroups(uid: string): void {
  if (Deno.build.os !== "linux") return;
  for (const where of ["", "memory/", "cpu/", "unified/"]) {
    removeTree(`${ROOT}/${where}plesio/${uid}`);
  }
}

function versionOne(name: string, limits: CgroupLimits): Cgroup | undefined {
  const folders = new Set([...limitOne(name, limits), ...besideOne(name)]);
  if (folders.size === 0) return undefined;
  const joinOf = (folder: string) => `${folder}/cgroup.procs`;
  return {
    joins: [...folders].map(joinOf),
    oomKilled: () => /oom_kill [1-9]/.test(read(`${ROOT}/memory/${name}/memory.oom_control`)),
    resize: (other) => {
      const fresh = limitOne(name, other).filter((folder) => !folders.has(folder));
      for (const folder of fresh) folders.add(folder);
      return fresh.map(joinOf);
    },
    remove: () => folders.forEach(removeTree),
  };
}

/** A group of version 2 beside those of version 1: it limits nothing, and says whose packets are whose. */
function besideOne(name: string): string[] {
  const folder = `${ROOT}/unified/${name}`;
  if (unified() === undefined) return [];
  try {
    Deno.mkdirSync(folder, { recursive: true });
    return [folder];
  } catch {
    return []; // limits are worth more than names
  }
}

function limitOne(name: string, { memoryBytes, milliCpu }: CgroupLimits): string[] {
  const folders: string[] = [];
  if (memoryBytes && exists(`${ROOT}/memory`)) {
    const folder = `${ROOT}/memory/${name}`;
    Deno.mkdirSync(folder, { recursive: true });
    folders.push(folder);
    // The bound with swap must never be under the one without: it goes first when both grow.
    const grows = Number(read(`${folder}/memory.limit_in_bytes`)) < memoryBytes;
    const both = `${folder}/memory.memsw.limit_in_bytes`;
    if (grows && exists(both)) write(both, memoryBytes);
    write(`${folder}/memory.limit_in_bytes`, memoryBytes);
    // Swap would only hide the limit; kernels without swap accounting do not have the file.
    if (exists(both)) write(both, memoryBytes);
  }
  if (milliCpu && exists(`${ROOT}/cpu`)) {
    const folder = `${ROOT}/cpu/${name}`;
    Deno.mkdirSync(folder, { recursive: true });
    folders.push(folder);
    if (exists(`${folder}/cpu.cfs_quota_us`)) {
      write(`${folder}/cpu.cfs_period_us`, PERIOD_US);
      write(`${folder}/cpu.cfs_quota_us`, quota(milliCpu));
    }
  }
  return folders;
}

function versionTwo(name: string, limits: CgroupLimits): Cgroup {
  const parts = name.split("/");
  let folder = ROOT;
  for (const part of parts) {
    // A group passes on only what its own subtree_control names.
    write(`${folder}/cgroup.subtree_control`, "+memory +cpu");
    folder += `/${part}`;
    Deno.mkdirSync(folder, { recursive: true });
  }
  limitTwo(folder, limits);
  return {
    joins: [`${folder}/cgroup.procs`],
    oomKilled: () => /oom_kill [1-9]/.test(read(`${folder}/memory.events`)),
    resize: (other) => {
      limitTwo(folder, other);
      return [];
    },
    remove: () => removeTree(folder),
  };
}

function limitTwo(folder: string, { memoryBytes, milliCpu }: CgroupLimits): void {
  if (memoryBytes) {
    write(`${folder}/memory.max`, memoryBytes);
    if (exists(`${folder}/memory.swap.max`)) write(`${folder}/memory.swap.max`, 0);
  }
  if (milliCpu) write(`${folder}/cpu.max`, `${quota(milliCpu)} ${PERIOD_US}`);
}

function quota(milliCpu: number): number {
  return Math.max(1000, Math.round(milliCpu * PERIOD_US / 1000));
}

/** Which of the two this machine has. */
export function isVersionTwo(): boolean {
  return exists(`${ROOT}/cgroup.controllers`);
}

export function exists(path: string): boolean {
  try {
    Deno.statSync(path);
    return true;
  } catch {
    return false;
  }
}

function write(path: string, value: string | number): void {
  Deno.writeTextFileSync(path, String(value));
}

function read(path: string): string {
  try {
    return Deno.readTextFileSync(path);
  } catch {
    return "";
  }
}

/** Removes a group with all below it. */
export function removeTree(folder: string): void {
  try {
    for (const { name, isDirectory } of Deno.readDirSync(folder)) {
      if (isDirectory) removeTree(`${folder}/${name}`);
    }
    Deno.removeSync(folder);
  } catch {
    // Not of this controller, gone, or something still dies in it: an empty group costs nothing.
  }
}
