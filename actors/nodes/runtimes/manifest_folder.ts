/**
 * A folder (or one file) of manifests of static pods. Files whose names begin with a dot are left out, folders in it
 * are not looked into (`pkg/kubelet/config/file.go`).
 */
import type { Manifest, ManifestSource } from "../static_pods.ts";

/** A file that is larger is no manifest. */
const MANIFEST_BYTES_MAX = 10 * 2 ** 20;

/** See the module's text. What is not there has no manifests. */
export function manifestFolder(path: string): ManifestSource {
  return {
    read: () => readManifests(path),
    watch: (changed) => {
      let watcher: Deno.FsWatcher;
      try {
        watcher = Deno.watchFs(path, { recursive: false });
      } catch {
        return () => {}; // it may come later: it is read now and then all the same
      }
      void (async () => {
        for await (const _ of watcher) changed();
      })().catch(() => changed());
      return () => {
        try {
          watcher.close();
        } catch {
          // The folder has gone, and the watcher with it.
        }
      };
    },
  };
}

async function readManifests(path: string): Promise<Manifest[]> {
  const found = await Deno.stat(path).catch(() => undefined);
  if (!found) return [];
  if (!found.isDirectory) return [await readManifest(path)];
  const names: string[] = [];
  for await (const { name } of Deno.readDir(path)) if (!name.startsWith(".")) names.push(name);
  const manifests: Manifest[] = [];
  for (const name of names.sort()) {
    const file = `${path}/${name}`;
    const { isFile, size } = await Deno.stat(file).catch(() => ({ isFile: false, size: 0 }));
    if (isFile && size <= MANIFEST_BYTES_MAX) manifests.push(await readManifest(file));
  }
  return manifests;
}

async function readManifest(path: string): Promise<Manifest> {
  // One that goes while it is read says nothing.
  return { path, text: await Deno.readTextFile(path).catch(() => "") };
}
