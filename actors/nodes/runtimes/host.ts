/**
 * Facts of the machine that a node reports: processors, memory, names, the resolver's configuration.
 * Read once; what cannot be read is left out or has the value that says so. And paths of the machine that pods may
 * have written.
 */
import { open } from "node:fs/promises";

export interface HostFacts {
  cpus: number;
  memoryBytes: number;
  diskBytes: number;
  hostname: string;
  os: string;
  architecture: string;
  kernelVersion: string;
  osImage: string;
  machineID: string;
  bootID: string;
  resolv: string;
}

/** Reads them. */
export function hostFacts(): HostFacts {
  const os = Deno.build.os === "windows"
    ? "windows"
    : Deno.build.os === "darwin"
    ? "darwin"
    : "linux";
  return {
    cpus: navigator.hardwareConcurrency || 1,
    memoryBytes: memory(),
    diskBytes: 100 * 2 ** 30,
    hostname: attempt(() => Deno.hostname(), "localhost"),
    os,
    architecture: Deno.build.arch === "aarch64" ? "arm64" : "amd64",
    kernelVersion: attempt(() => Deno.osRelease(), "unknown"),
    osImage: osImage(os),
    machineID: text("/etc/machine-id").trim(),
    bootID: text("/proc/sys/kernel/random/boot_id").trim(),
    resolv: text("/etc/resolv.conf"),
  };
}

function memory(): number {
  const total = attempt(() => Deno.systemMemoryInfo().total, 0);
  return total || 2 ** 30;
}

function osImage(os: string): string {
  const line = text("/etc/os-release").split("\n").find((l) => l.startsWith("PRETTY_NAME="));
  return line?.slice("PRETTY_NAME=".length).replaceAll('"', "") ?? os;
}

function text(path: string): string {
  return attempt(() => Deno.readTextFileSync(path), "");
}

function attempt<T>(read: () => T, otherwise: T): T {
  try {
    return read();
  } catch {
    return otherwise; // the platform does not have it, or does not let us see it
  }
}

/** A path that does not depend on the working folder. */
export function absolutePath(path: string): string {
  return /^(\/|[A-Za-z]:)/.test(path) ? path : `${Deno.cwd()}/${path}`;
}

/** The real path of what is at a path below a folder; undefined: the path, or a link on it, leads out of the folder. */
export async function realPathIn(folder: string, path: string): Promise<string | undefined> {
  const [root, real] = await Promise.all(
    [folder, `${folder}/${path}`].map((at) => Deno.realPath(at)),
  );
  return isWithin(root, real) ? real : undefined;
}

const isWithin = (root: string, real: string) => real === root || real.startsWith(`${root}/`);

/** Something of the host that stays the same under this name, whatever comes to lie in its place. */
export interface Held extends AsyncDisposable {
  readonly path: string;
}

/** Only names a file: what reading a device or a pipe would do is not done. */
const O_PATH = 0o10000000;

/**
 * What is at a path below a folder that pods write, held: what is read is what was judged, also when a pod puts a link
 * there meanwhile. undefined: the path, or a link on it, leads out of the folder.
 */
export async function holdIn(folder: string, path: string): Promise<Held | undefined> {
  const real = await realPathIn(folder, path);
  if (real === undefined) return undefined;
  // Programs in pods make no links there: that needs the right to write everywhere
  if (Deno.build.os !== "linux") return { path: real, [Symbol.asyncDispose]: async () => {} };
  const handle = await open(real, O_PATH).catch((cause) => {
    throw new Deno.errors.NotFound(`${path} has gone`, { cause });
  });
  const held = { path: `/proc/self/fd/${handle.fd}`, [Symbol.asyncDispose]: () => handle.close() };
  try {
    if (isWithin(await Deno.realPath(folder), await Deno.readLink(held.path))) return held;
  } catch (error) {
    await handle.close();
    throw error;
  }
  await handle.close();
  return undefined;
}

/** Removes a folder and all in it; what another node still uses of it is left to that one. */
export function removeFolder(path: string): void {
  try {
    Deno.removeSync(path, { recursive: true });
  } catch {
    // Gone already, or in use.
  }
}
