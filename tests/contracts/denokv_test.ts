/** The contracts of KV, store and queue over Deno's own server of KV Connect, where it is installed: by its client, and by ours. */

import { openDatabase, RealClock } from "../../kv/mod.ts";
import { openShared } from "../../kv/open.ts";
import { Denokv, hasDenokv } from "../denokv.ts";
import { TOKEN } from "../kv_server.ts";
import { kvContract } from "./kv.ts";
import { queueContract } from "./queue.ts";
import { type StoreBench, storeContract, thingCodec } from "./store.ts";

if (hasDenokv) {
  Deno.env.set("DENO_KV_ACCESS_TOKEN", TOKEN);
  let server: Denokv;
  Deno.test.beforeAll(async () => {
    server = await Denokv.start();
  });
  Deno.test.afterAll(() => server[Symbol.asyncDispose]());
  /** It has one database: each case leaves it empty. */
  const dispose = async () => {
    const kv = await openShared(server.url);
    const all = { start: [new Uint8Array()], end: [true] };
    const keys = await Array.fromAsync(kv.list(all, { batchSize: 500 }), ({ key }) => key);
    for (let at = 0; at < keys.length; at += 100) {
      const commit = kv.atomic();
      for (const key of keys.slice(at, at + 100)) commit.delete(key);
      await commit.commit();
    }
    kv.close();
  };
  const make = (): Promise<StoreBench> =>
    Promise.resolve({
      durable: true,
      open: (options) =>
        openDatabase({ path: server.url, codec: thingCodec, clock: new RealClock(), ...options }),
      dispose,
    });
  const clients = { "denokv, Deno's client": Deno.openKv, "denokv": openShared };
  for (const [name, open] of Object.entries(clients)) {
    kvContract(name, async () => ({ kv: await open(server.url), dispose }));
  }
  storeContract("denokv", make, { has: ["durable", "shared"] });
  queueContract("mailbox, denokv", async () => ({ ...await make(), clock: undefined }));
} else {
  Deno.test({
    name: "contracts over denokv: it is not installed here",
    ignore: true,
    fn: () => {},
  });
}
