/**
 * A volume's group: with `fsGroup` all of it belongs to that group, which may read and write it (or read it), and
 * what is made in it later belongs to the group too (pkg/volume/volume_linux.go). Done after the children of a
 * folder, so that a walk that was broken off is seen at the root and begun again.
 */
import { lchown } from "node:fs/promises";

const WRITABLE = 0o660;
const READABLE = 0o440;
const SEARCHABLE = 0o110;
const SETGID = 0o2000;

/** How a group gets a volume. */
export interface Ownership {
  gid: number;
  readOnly: boolean;
  /** `OnRootMismatch` leaves a volume alone whose root is already right (`Always`). */
  policy?: string;
}

/** The mode of a file or folder once its group may use it. */
export function groupMode(mode: number, isFolder: boolean, readOnly: boolean): number {
  const mask = readOnly ? READABLE : WRITABLE;
  return mode | mask | (isFolder ? SETGID | SEARCHABLE : 0);
}

/** Gives a volume to its group. Resolves with how many files were looked at. */
export async function giveToGroup(root: string, ownership: Ownership): Promise<number> {
  const { policy, gid, readOnly } = ownership;
  if (policy === "OnRootMismatch" && isRight(await Deno.stat(root), gid, readOnly)) return 0;
  return await give(root, await Deno.lstat(root), ownership);
}

function isRight({ isDirectory, mode, gid: has }: Deno.FileInfo, gid: number, readOnly: boolean) {
  const wanted = (readOnly ? READABLE : WRITABLE) | SEARCHABLE | SETGID;
  return isDirectory && has === gid && ((mode ?? 0) & wanted) === wanted;
}

async function give(path: string, info: Deno.FileInfo, ownership: Ownership): Promise<number> {
  let count = 1;
  if (info.isDirectory) {
    for await (const { name } of Deno.readDir(path)) {
      try {
        count += await give(`${path}/${name}`, await Deno.lstat(`${path}/${name}`), ownership);
      } catch (error) {
        // A pod that shares the volume may remove what we are about to look at.
        if (!(error instanceof Deno.errors.NotFound)) throw error;
      }
    }
  }
  const { gid, readOnly } = ownership;
  const mode = (info.mode ?? 0) & 0o7777;
  const wanted = groupMode(mode, info.isDirectory, readOnly);
  try {
    if (info.gid !== gid) await lchown(path, info.uid ?? 0, gid);
    // Changing the owner may have cleared bits; a link has no mode of its own.
    if (!info.isSymlink && (info.gid !== gid || wanted !== mode)) await Deno.chmod(path, wanted);
  } catch (error) {
    // What one may not own one leaves as it is: the volume may still serve its pod.
    if (!isRefused(error)) throw error;
  }
  return count;
}

function isRefused(error: unknown): boolean {
  return error instanceof Deno.errors.PermissionDenied ||
    (error as { code?: string }).code === "EPERM" ||
    (error as { code?: string }).code === "EROFS" || error instanceof Deno.errors.NotCapable;
}
