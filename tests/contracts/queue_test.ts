/** The queue's contract over both transports. */

import { type Clock, ManualClock, MemoryKv, openDatabase, RealClock } from "../../kv/mod.ts";
import { type QueueBench, queueContract } from "./queue.ts";
import { serveKv } from "./served_kv.ts";
import { thingCodec } from "./store.ts";

queueContract("native, memory", () => Promise.resolve(memory(new RealClock(), "native")));
queueContract("mailbox, memory", () => Promise.resolve(memory(new RealClock(), "mailbox")));
queueContract(
  "mailbox, memory, manual clock",
  () => Promise.resolve(memory(new ManualClock(), "mailbox")),
);
queueContract("native, file", () => file(new RealClock(), "native"));
queueContract("mailbox, file, manual clock", () => file(new ManualClock(), "mailbox"));

queueContract("mailbox, simulated, manual clock", () => {
  const clock = new ManualClock();
  const kv = new MemoryKv();
  return Promise.resolve({
    durable: true,
    clock,
    open: (options) => openDatabase({ kv: kv.open(), codec: thingCodec, clock, ...options }),
    dispose: () => Promise.resolve(),
  });
});

queueContract("mailbox, KV Connect", async () => {
  const { url: path, dispose } = await serveKv();
  return {
    durable: true,
    clock: undefined,
    open: (options) =>
      openDatabase({ path, codec: thingCodec, clock: new RealClock(), ...options }),
    dispose,
  };
});

function memory(clock: Clock, queue: "native" | "mailbox"): QueueBench {
  return {
    durable: false,
    clock: clock instanceof ManualClock ? clock : undefined,
    open: (options) => openDatabase({ codec: thingCodec, clock, queue, ...options }),
    dispose: () => Promise.resolve(),
  };
}

async function file(clock: Clock, queue: "native" | "mailbox"): Promise<QueueBench> {
  const folder = await Deno.makeTempDir({ prefix: "plesio-mail-" });
  const path = `${folder}/plesio.db`;
  return {
    durable: true,
    clock: clock instanceof ManualClock ? clock : undefined,
    open: (options) => openDatabase({ path, codec: thingCodec, clock, queue, ...options }),
    dispose: () => Deno.remove(folder, { recursive: true }),
  };
}
