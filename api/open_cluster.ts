/** The database of a cluster: in memory, in a file of its own, or one that processes share. */
import { type Clock, type Database, openDatabase } from "../kv/mod.ts";
import { SEALED_BY_DEFAULT } from "./config/encryption.ts";
import type { EncryptionKeys } from "./encryption_keys.ts";
import type { KubeObject } from "./machinery/types.ts";
import { objectCodec } from "./server/codec.ts";

/** What a cluster's options say of it. */
interface StoreOptions {
  data?: string;
  kv?: string | Deno.Kv;
  snapshot?: Uint8Array;
  bytesMax?: number;
  /** What seals at rest (default: the database's own key, Secrets). */
  keys?: EncryptionKeys;
}

/** Opens it, begun from a snapshot if there is one to begin with. */
export function openCluster(options: StoreOptions, clock: Clock): Promise<Database<KubeObject>> {
  const { kv, data } = options;
  const own = data ? `${data}/cluster.db` : clock.manual ? ":simulated:" : ":memory:";
  return openDatabase<KubeObject>({
    path: typeof kv === "string" ? kv : own,
    ...(typeof kv === "object" && { kv }),
    lifeIn: data,
    codec: objectCodec,
    clock,
    ...(options.keys ? { sealing: options.keys.find } : { sealed: SEALED_BY_DEFAULT }),
    ...(options.snapshot && { restore: options.snapshot }),
    ...(options.bytesMax && { bytesMax: options.bytesMax }),
  });
}
