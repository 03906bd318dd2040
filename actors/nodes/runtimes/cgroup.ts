/**
 * Limits of memory and CPU by cgroups, version 1 or 2, where this process may make them; elsewhere
 * containers run without (and V8's heap bound is all there is). A container's processes join by
 * writing their pid before they become the container (`joins`).
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
  /** Other limits from now on. */
  resize(limits: CgroupLimits): void;
  remove(): void;
}

export const ROOT = "/sys/fs/cgroup";
/** Period of CPU quotas in microseconds. */
const PERIOD_US = 100_000;

/** Makes a cgroup; undefined where that cannot be done. `name` is a path such as `plesio/<uid>/<container>`. */
export function makeCgroup(name: string, limits: CgroupLimits): Cgroup | undefined {
  if (Deno.build.os !== "linux" || (!limits.memoryBytes && !limits.milliCpu)) return undefined;
  try {
    return isVersionTwo() ? versionTwo(name, limits) : versionOne(name, limits);
  } catch {
    return undefined; // not ours to write
  }
}

function versionOne(name: string, limits: CgroupLimits): Cgroup | undefined {
  const folders = limitOne(name, limits);
  if (!folders.length) return undefined;
  return {
    joins: folders.map((folder) => `${folder}/cgroup.procs`),
    oomKilled: () => /oom_kill [1-9]/.test(read(`${ROOT}/memory/${name}/memory.oom_control`)),
    resize: (other) => void limitOne(name, other),
    remove: () => folders.forEach(removeFolder),
  };
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
    resize: (other) => limitTwo(folder, other),
    remove: () => removeFolder(folder),
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

function removeFolder(folder: string): void {
  try {
    Deno.removeSync(folder);
  } catch {
    // Something still dies in it, or it is gone; an empty group costs nothing.
  }
}
