/**
 * Writes a set of files so that a reader never sees half of a new set: they go into a folder named by
 * the time, a symbolic link `..data` is moved from the old folder to the new one by one rename, and each
 * file's visible name is a link through `..data` (pkg/volume/util/atomic_writer.go).
 */

import { lchown } from "node:fs/promises";
import { groupMode } from "./ownership.ts";

/** A file of a volume. */
export interface VolumeFile {
  bytes: Uint8Array;
  mode: number;
  /** Whose it is (the node's user). */
  uid?: number;
}

const DATA = "..data";
const FOLDER_MODE = 0o755;

/** Brings `folder` to exactly `files` (by relative path). Resolves with whether anything changed. */
export async function writeAtomically(
  folder: string,
  files: ReadonlyMap<string, VolumeFile>,
  { stamp, group }: {
    /** A name for this set. */
    stamp: string;
    /** The group that may read it. */
    group?: number;
  },
): Promise<boolean> {
  await Deno.mkdir(folder, { recursive: true });
  const old = await linkTo(`${folder}/${DATA}`);
  const wanted = group === undefined ? files : readableByGroup(files);
  if (old && await same(`${folder}/${old}`, wanted)) return false;
  const name = await freshName(folder, stamp);
  const folders = new Set([`${folder}/${name}`]);
  await Deno.mkdir(`${folder}/${name}`);
  for (const [path, file] of wanted) {
    const full = `${folder}/${name}/${path}`;
    for (let at = parentOf(full); !folders.has(at); at = parentOf(at)) folders.add(at);
    await Deno.mkdir(parentOf(full), { recursive: true });
    await Deno.writeFile(full, file.bytes);
    await give(full, file.uid, group);
    await Deno.chmod(full, file.mode);
  }
  const mode = group === undefined ? FOLDER_MODE : groupMode(FOLDER_MODE, true, true);
  for (const path of folders) {
    await give(path, undefined, group);
    await Deno.chmod(path, mode);
  }
  const next = `${folder}/..data_tmp`;
  await removeIfThere(next);
  await Deno.symlink(name, next);
  await Deno.rename(next, `${folder}/${DATA}`);
  await link(folder, files);
  if (old) await removeIfThere(`${folder}/${old}`);
  return true;
}

function readableByGroup(files: ReadonlyMap<string, VolumeFile>): Map<string, VolumeFile> {
  return new Map(
    [...files].map(([path, file]) => [path, { ...file, mode: groupMode(file.mode, false, true) }]),
  );
}

/** Only root may give files away; for others they stay the node's. */
async function give(path: string, uid: number | undefined, gid: number | undefined): Promise<void> {
  if (Deno.build.os === "windows" || Deno.uid() !== 0) return;
  if (uid !== undefined || gid !== undefined) await lchown(path, uid ?? 0, gid ?? 0);
}

function parentOf(path: string): string {
  return path.slice(0, path.lastIndexOf("/"));
}

async function freshName(folder: string, stamp: string): Promise<string> {
  for (let n = 0;; n++) {
    const name = `..${stamp}${n ? `.${n}` : ""}`;
    try {
      await Deno.lstat(`${folder}/${name}`);
    } catch {
      return name;
    }
  }
}

/** Visible names: a link for the first part of each path, and none for what is no longer there. */
async function link(folder: string, files: ReadonlyMap<string, VolumeFile>): Promise<void> {
  const wanted = new Set([...files.keys()].map((path) => path.split("/")[0]));
  for await (const entry of Deno.readDir(folder)) {
    if (entry.name.startsWith("..")) continue;
    // Other folders are places where other volumes are mounted in this one.
    if (!entry.isSymlink) continue;
    if (!wanted.delete(entry.name)) await Deno.remove(`${folder}/${entry.name}`);
  }
  for (const name of wanted) await Deno.symlink(`${DATA}/${name}`, `${folder}/${name}`);
}

async function linkTo(path: string): Promise<string | undefined> {
  try {
    return await Deno.readLink(path);
  } catch {
    return undefined; // the first time
  }
}

async function same(folder: string, files: ReadonlyMap<string, VolumeFile>): Promise<boolean> {
  let found = 0;
  const look = async (at: string): Promise<boolean> => {
    for await (const entry of Deno.readDir(folder + at)) {
      const path = `${at}/${entry.name}`;
      if (entry.isDirectory) {
        if (!await look(path)) return false;
        continue;
      }
      const file = files.get(path.slice(1));
      if (!file) return false;
      found++;
      const bytes = await Deno.readFile(folder + path);
      if (bytes.length !== file.bytes.length) return false;
      if (bytes.some((byte, i) => byte !== file.bytes[i])) return false;
      const { mode } = await Deno.stat(folder + path);
      if (mode !== null && (mode & 0o7777) !== file.mode) return false;
    }
    return true;
  };
  try {
    return await look("") && found === files.size;
  } catch {
    return false; // the folder it names is gone
  }
}

async function removeIfThere(path: string): Promise<void> {
  try {
    await Deno.remove(path, { recursive: true });
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
}
