/** A database in memory that is served by KV Connect, for the contracts of what lies on it. */

import { serveConnect } from "../../kv/connect_server.ts";
import { RealClock } from "../../kv/mod.ts";

/** The environment is that of all tests that run beside this one: the same everywhere. */
const TOKEN = "a token of tests";
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
