/** The store's contract over every back end that this machine has. */

import { MemoryKv, openDatabase, RealClock } from "../../kv/mod.ts";
import { serveKv } from "./served_kv.ts";
import { type StoreBench, storeContract, thingCodec } from "./store.ts";

storeContract("memory", () =>
  Promise.resolve({
    durable: false,
    open: (options) => openDatabase({ codec: thingCodec, clock: new RealClock(), ...options }),
    dispose: () => Promise.resolve(),
  }));

storeContract("simulated, alone", () =>
  Promise.resolve({
    durable: false,
    open: (options) =>
      openDatabase({
        path: ":simulated:",
        codec: thingCodec,
        clock: new RealClock(),
        ...options,
      }),
    dispose: () => Promise.resolve(),
  }));

storeContract("fork", () =>
  Promise.resolve({
    durable: false,
    open: async (options) => {
      const { restore, ...own } = options ?? {};
      const clock = options?.clock ?? new RealClock();
      const ground = { codec: thingCodec, clock, ...own, path: ":simulated:", restore };
      await using parent = owned(await openDatabase(ground));
      return await parent.database.fork({ clock });
    },
    dispose: () => Promise.resolve(),
  }));

/** A fork outlives what it was forked from. */
function owned<D extends { close(): Promise<void> }>(database: D) {
  return { database, [Symbol.asyncDispose]: () => database.close() };
}

async function fileBench(owner: boolean): Promise<StoreBench> {
  const folder = await Deno.makeTempDir({ prefix: "plesio-kv-" });
  const path = `${folder}/data/plesio.db`;
  return {
    durable: true,
    open: (options) =>
      openDatabase({ path, owner, codec: thingCodec, clock: new RealClock(), ...options }),
    bytes: () => Deno.readFile(path),
    dispose: () => Deno.remove(folder, { recursive: true }),
  };
}

storeContract("file", () => fileBench(true), { has: ["durable"] });

storeContract("shared file", () => fileBench(false), { has: ["durable", "shared"] });

storeContract("simulated", () => {
  const memory = new MemoryKv();
  const options = { owner: false, queue: "mailbox", codec: thingCodec } as const;
  return Promise.resolve({
    durable: true,
    open: (more) =>
      openDatabase({ kv: memory.open(), clock: new RealClock(), ...options, ...more }),
    dispose: () => Promise.resolve(),
  });
}, { has: ["durable", "shared"] });

storeContract("KV Connect", async () => {
  const { url: path, dispose } = await serveKv();
  return {
    durable: true,
    open: (options) =>
      openDatabase({ path, codec: thingCodec, clock: new RealClock(), ...options }),
    dispose,
  };
}, { has: ["durable", "shared"] });
