/** The database of a cluster: in memory, in a file of its own, or one that processes share. */
import { type Clock, type Database, openDatabase } from "../kv/mod.ts";
import { SEALED_BY_DEFAULT, sealingOf } from "./config/encryption.ts";
import { apisOf } from "./config/features.ts";
import type { ServerOptions } from "./config/server.ts";
import type { KubeObject } from "./machinery/types.ts";
import { objectCodec } from "./server/codec.ts";

/** What a cluster's options say of it. */
interface StoreOptions extends ServerOptions {
  data?: string;
  kv?: string | Deno.Kv;
  snapshot?: Uint8Array;
  bytesMax?: number;
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
    ...(options.encryption
      ? { sealing: sealingOf(options.encryption, apisOf(options).kinds) }
      : { sealed: SEALED_BY_DEFAULT }),
    ...(options.snapshot && { restore: options.snapshot }),
    ...(options.bytesMax && { bytesMax: options.bytesMax }),
  });
}
