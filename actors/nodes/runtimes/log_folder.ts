/** Logs of pods that are gone, as files of a folder that only its owner reads. */
import type { LogPlace } from "../kept_logs.ts";

/** The place of a folder, which is made with its first entry. */
export function logFolder(folder: string): LogPlace {
  return {
    list: () => {
      try {
        return [...Deno.readDirSync(folder)].filter(({ isFile }) => isFile)
          .map(({ name }) => ({ name, bytes: Deno.statSync(`${folder}/${name}`).size }));
      } catch (error) {
        if (error instanceof Deno.errors.NotFound) return [];
        throw error;
      }
    },
    read: async (name) => {
      try {
        return await Deno.readFile(`${folder}/${name}`);
      } catch (error) {
        if (error instanceof Deno.errors.NotFound) return undefined;
        throw error;
      }
    },
    write: (name, bytes) => {
      Deno.mkdirSync(folder, { recursive: true, mode: 0o700 });
      Deno.writeFileSync(`${folder}/${name}`, bytes, { mode: 0o600 });
    },
    remove: (name) => {
      try {
        Deno.removeSync(`${folder}/${name}`);
      } catch (error) {
        if (!(error instanceof Deno.errors.NotFound)) throw error;
      }
    },
  };
}
