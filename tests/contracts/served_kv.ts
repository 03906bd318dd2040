/** A database in memory that is served by KV Connect, for the contracts of what lies on it. */

import { serveConnect } from "../../kv/connect_server.ts";
import { RealClock } from "../../kv/mod.ts";
import { TOKEN } from "../kv_server.ts";

Deno.env.set("DENO_KV_ACCESS_TOKEN", TOKEN);

export interface ServedKv {
  readonly url: string;
  dispose(): Promise<void>;
}

export async function serveKv(): Promise<ServedKv> {
  const kv = await Deno.openKv(":memory:");
  const server = serveConnect({ kv, clock: new RealClock(), token: TOKEN });
  return {
    url: server.url,
    dispose: async () => {
      await server.close();
      kv.close();
    },
  };
}
