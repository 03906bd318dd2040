/**
 * Files of the person at the keyboard: configuration files that flags name, and the kubeconfigs that a start
 * writes. The only file of `api/config` that touches files.
 */
import { createKubeconfig, mergeKubeconfig } from "../auth/kubeconfig.ts";
import type { Access } from "../auth/kubeconfig.ts";
import { UsageError } from "./flags.ts";

/** The text of a file that a flag names; undefined where the flag was not given. Throws UsageError. */
export async function readConfig(flag: string, path: string | undefined) {
  if (path === undefined) return undefined;
  try {
    return await Deno.readTextFile(path);
  } catch (error) {
    throw new UsageError(`Cannot read --${flag} "${path}": ${textOf(error)}`);
  }
}

/** The bytes of a file that a flag names. Throws UsageError. */
export async function readBytes(flag: string, path: string): Promise<Uint8Array> {
  try {
    return await Deno.readFile(path);
  } catch (error) {
    throw new UsageError(`Cannot read --${flag} "${path}": ${textOf(error)}`);
  }
}

/** Makes a folder that is its owner's alone; one that is there stays as it is. */
export async function makeOwnFolder(path: string): Promise<void> {
  await Deno.mkdir(path, { recursive: true, mode: 0o700 });
}

/** The text of a file of ours; undefined when it is not there. Throws UsageError when it cannot be read. */
export async function readOwnFile(path: string): Promise<string | undefined> {
  try {
    return await Deno.readTextFile(path);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return undefined;
    throw new UsageError(`Cannot read "${path}": ${textOf(error)}`);
  }
}

/** A user's kubeconfig. */
export interface OwnKubeconfig {
  path: string;
  text: string;
}

/** The user's kubeconfig, or an empty one where it would be; `env` reads the environment. */
export async function readOwnKubeconfig(
  env: (name: string) => string | undefined,
): Promise<OwnKubeconfig | undefined> {
  const home = env("HOME") ?? env("USERPROFILE");
  const separator = Deno.build.os === "windows" ? ";" : ":";
  const named = env("KUBECONFIG")?.split(separator).find((path) => path !== "");
  const path = named ?? (home && `${home}/.kube/config`);
  if (!path) return undefined;
  let text = "";
  try {
    text = await Deno.readTextFile(path);
    mergeKubeconfig(text, { server: "", authorityPem: "", certificatePem: "", keyPem: "" });
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) {
      throw new UsageError(
        `Cannot read your kubeconfig "${path}": ${
          textOf(error)
        }; mend it, or leave it alone with --kubeconfig FILE`,
      );
    }
  }
  return { path, text };
}

/** Writes the kubeconfigs and says what was written. */
export async function writeKubeconfigs(
  access: Access,
  { file, own }: { file: string | undefined; own: OwnKubeconfig | undefined },
): Promise<string[]> {
  const said: string[] = [];
  if (file) {
    await replaceFile(file, createKubeconfig(access));
    said.push(`Wrote ${file}`);
  }
  if (!own) return said;
  const merged = mergeKubeconfig(own.text, access);
  if (merged !== own.text) await replaceFile(own.path, merged);
  said.push(`Context "${access.name ?? "plesio"}" is current in ${own.path}`);
  return said;
}

/** Puts a whole file in the place of another in one step, for its owner's eyes only. */
export async function replaceFile(path: string, content: string | Uint8Array): Promise<void> {
  const bytes = typeof content === "string" ? new TextEncoder().encode(content) : content;
  // A link stays a link: what it points at is replaced.
  const target = await Deno.realPath(path).catch(() => path);
  const there = await Deno.stat(target).catch(() => undefined);
  if (there && !there.isFile) {
    // A device or a pipe is written to: put in its place, a file would be what all others find there
    await Deno.writeFile(target, bytes);
    return;
  }
  const folder = target.slice(0, Math.max(target.lastIndexOf("/"), 0)) || ".";
  await Deno.mkdir(folder, { recursive: true, mode: 0o700 });
  const next = `${target}.${crypto.randomUUID().slice(0, 8)}.new`;
  await Deno.writeFile(next, bytes, { mode: 0o600 });
  await Deno.rename(next, target);
}

function textOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** Loads a plugin by a URL, or by a path from where the process runs. */
export function loadModule(module: string) {
  const here = `file://${Deno.cwd().replaceAll("\\", "/")}/`;
  return import(new URL(module, here).href);
}

/** Removes a folder; one that is gone is removed. */
export async function removeFolder(path: string): Promise<void> {
  await Deno.remove(path, { recursive: true }).catch((error) => {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  });
}
