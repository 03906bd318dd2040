/** What the tests of volumes stand on: a folder of their own, and objects of the cluster as they put them down. */
import type { Objects } from "../objects.ts";

/** Hands in a folder that goes with the test. */
export async function inFolder(use: (folder: string) => Promise<void>): Promise<void> {
  const folder = await Deno.makeTempDir();
  try {
    await use(folder);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

/** The objects of `kept`, by `kind/name`: configmap, secret, claim, volume, node, bundle. */
export function objectsOf(kept: ReadonlyMap<string, object>): Objects {
  const find = (kind: string) => (_namespace: string, name: string) =>
    kept.get(`${kind}/${name}`) as never;
  return {
    configMap: find("configmap"),
    secret: find("secret"),
    services: () => [],
    claim: (namespace, name) => Promise.resolve(find("claim")(namespace, name)),
    persistentVolume: (name) => Promise.resolve(find("volume")("", name)),
    node: (name) => Promise.resolve(find("node")("", name)),
    trustBundles: (name) =>
      Promise.resolve(
        [...kept].filter(([key]) => name ? key === `bundle/${name}` : key.startsWith("bundle/"))
          .map(([, bundle]) => bundle as never),
      ),
  };
}

/** Tokens of ServiceAccounts that are all the same. */
export const TOKENS = {
  token: () => Promise.resolve({ token: "t", refreshInMs: 1000 }),
  forget: () => {},
} as never;
