/** How much a folder holds, as `du` counts: blocks of files, a file of several names once. */

const BLOCK = 512;

/** Resolves with bytes. What goes while it is looked at counts nothing. */
export async function bytesIn(folder: string): Promise<number> {
  const seen = new Set<string>();
  const look = async (path: string): Promise<number> => {
    let bytes = 0;
    try {
      const info = await Deno.lstat(path);
      if ((info.nlink ?? 1) > 1 && !info.isDirectory) {
        const id = `${info.dev}:${info.ino}`;
        if (seen.has(id)) return 0;
        seen.add(id);
      }
      bytes = info.blocks === null ? info.size : info.blocks * BLOCK;
      if (info.isDirectory) {
        for await (const { name } of Deno.readDir(path)) bytes += await look(`${path}/${name}`);
      }
    } catch (error) {
      if (!(error instanceof Deno.errors.NotFound)) throw error;
    }
    return bytes;
  };
  return await look(folder);
}
