/** How much a folder holds, as `du` counts: blocks of files and inodes, a file of several names once. */
import type { SpaceUsed } from "../figures.ts";

const BLOCK = 512;

/** Looks through it all. What goes while it is looked at counts nothing. */
export async function usedIn(folder: string): Promise<SpaceUsed> {
  const seen = new Set<string>();
  const used = { usedBytes: 0, inodesUsed: 0 };
  const look = async (path: string): Promise<void> => {
    try {
      const info = await Deno.lstat(path);
      if ((info.nlink ?? 1) > 1 && !info.isDirectory) {
        const id = `${info.dev}:${info.ino}`;
        if (seen.has(id)) return;
        seen.add(id);
      }
      used.usedBytes += info.blocks === null ? info.size : info.blocks * BLOCK;
      used.inodesUsed++;
      if (info.isDirectory) {
        for await (const { name } of Deno.readDir(path)) await look(`${path}/${name}`);
      }
    } catch (error) {
      if (!(error instanceof Deno.errors.NotFound)) throw error;
    }
  };
  await look(folder);
  return used;
}
