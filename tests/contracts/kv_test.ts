/** What the store counts on in a Deno KV, over KV Connect: by Deno's own client, and by ours. */

import { openShared } from "../../kv/open.ts";
import { kvContract } from "./kv.ts";
import { serveKv } from "./served_kv.ts";

kvContract("KV Connect, Deno's client", async () => {
  const { url, dispose } = await serveKv();
  return { kv: await Deno.openKv(url), dispose };
});

kvContract("KV Connect", async () => {
  const { url, dispose } = await serveKv();
  const kv = await openShared(url);
  return { kv, dispose };
});
