/**
 * The objects that pods are made of, read from the caches of this process and, where a cache may still
 * be behind, from the API itself: a pod that was created right after its ConfigMap must find it.
 */
import type { Client, Informers } from "../../api/client/contract.ts";
import { ApiError, type DeepReadonly, type KubeObject } from "../../api/machinery/types.ts";
import type { ResourceId } from "../../api/machinery/types.ts";
import type { EnvSources } from "./env.ts";
import {
  CLAIMS,
  CONFIG_MAPS,
  NODES,
  PERSISTENT_VOLUMES,
  SECRETS,
  SERVICES,
  TRUST_BUNDLES,
} from "./types.ts";

/** Reads objects for environments and volumes. */
export interface Objects extends EnvSources {
  claim(namespace: string, name: string): Promise<DeepReadonly<KubeObject> | undefined>;
  persistentVolume(name: string): Promise<DeepReadonly<KubeObject> | undefined>;
  node(name: string): Promise<DeepReadonly<KubeObject> | undefined>;
  /** All ClusterTrustBundles, or the one of a name. */
  trustBundles(name?: string): Promise<readonly DeepReadonly<KubeObject>[]>;
}

/** See the module's text. */
export function cachedObjects(client: Client, informers: Informers): Objects {
  const services = informers.for(SERVICES);
  const read = (resource: ResourceId) => {
    const cache = informers.for(resource);
    return (namespace: string, name: string):
      | DeepReadonly<KubeObject>
      | Promise<
        DeepReadonly<KubeObject> | undefined
      > => {
      const key = namespace ? `${namespace}/${name}` : name;
      return cache.get(key) ?? fresh(client, resource, namespace, name);
    };
  };
  return {
    configMap: read(CONFIG_MAPS),
    secret: read(SECRETS),
    services: (namespace) => services.list(namespace),
    claim: (namespace, name) => fresh(client, CLAIMS, namespace, name),
    persistentVolume: (name) => fresh(client, PERSISTENT_VOLUMES, "", name),
    node: async (name) => await read(NODES)("", name),
    trustBundles: async (name) => {
      if (!name) return (await client.list({ resource: TRUST_BUNDLES })).items;
      return [await fresh(client, TRUST_BUNDLES, "", name)].filter((one) => one !== undefined);
    },
  };
}

async function fresh(
  client: Client,
  resource: ResourceId,
  namespace: string,
  name: string,
): Promise<DeepReadonly<KubeObject> | undefined> {
  try {
    return await client.get<KubeObject>({ resource, namespace: namespace || undefined, name });
  } catch (error) {
    if (error instanceof ApiError && error.code === 404) return undefined;
    throw error;
  }
}
