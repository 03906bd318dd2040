/**
 * Writes a set of files so that a reader never sees half of a new set: they go into a folder named by
 * the time, a symbolic link `..data` is moved from the old folder to the new one by one rename, and each
 * file's visible name is a link through `..data` (pkg/volume/util/atomic_writer.go).
 */

/** A file of a volume. */
export interface VolumeFile {
  bytes: Uint8Array;
  mode: number;
}

const DATA = "..data";

/** Brings `folder` to exactly `files` (by relative path). Resolves with whether anything changed. */
export async function writeAtomically(
  folder: string,
  files: ReadonlyMap<string, VolumeFile>,
  stamp: string,
): Promise<boolean> {
  await Deno.mkdir(folder, { recursive: true });
  const old = await linkTo(`${folder}/${DATA}`);
  if (old && await same(`${folder}/${old}`, files)) return false;
  const name = await freshName(folder, stamp);
  for (const [path, file] of files) {
    const full = `${folder}/${name}/${path}`;
    await Deno.mkdir(full.slice(0, full.lastIndexOf("/")), { recursive: true });
    await Deno.writeFile(full, file.bytes);
    await Deno.chmod(full, file.mode);
  }
  await Deno.mkdir(`${folder}/${name}`, { recursive: true });
  await Deno.chmod(`${folder}/${name}`, 0o755);
  const next = `${folder}/..data_tmp`;
  await removeIfThere(next);
  await Deno.symlink(name, next);
  await Deno.rename(next, `${folder}/${DATA}`);
  await link(folder, files);
  if (old) await removeIfThere(`${folder}/${old}`);
  return true;
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
