import { assertEquals } from "@std/assert";
import { ManualClock } from "./clock.ts";
import { LINK_PIECE_BYTES, LINK_UNREAD_MAX } from "./limits.ts";
import { Links } from "./links.ts";
import { MemoryKv } from "./memory_kv.ts";
import type { Link } from "./contract.ts";

/** Two processes on one database; `b` answers. */
function pair(answer: (subject: string, link: Link) => void) {
  const memory = new MemoryKv();
  const clock = new ManualClock();
  const kv = memory.open();
  const a = new Links({ kv, clock, holder: "a" });
  const b = new Links({ kv: memory.open(), clock, holder: "b" });
  b.listen(answer);
  const left = async () => {
    let count = 0;
    for await (const _ of kv.list({ prefix: ["link"] })) count++;
    return count;
  };
  return { a, b, kv, clock, left };
}

const bytes = (length: number, seed = 0) =>
  Uint8Array.from({ length }, (_, i) => (i * 7 + seed) % 251);

Deno.test("Links carry messages both ways, in order, whole however long, and leave nothing behind", async () => {
  const echoes: string[] = [];
  const { a, b, left } = pair((subject, link) => {
    echoes.push(subject);
    link.receive((data) => link.send(data));
  });
  const link = a.connect("b", "node-1");
  const sizes = [0, 1, 100, LINK_PIECE_BYTES, LINK_PIECE_BYTES + 1, 300_000, 5];
  const heard: Uint8Array[] = [];
  const all = Promise.withResolvers<void>();
  link.receive((data) => {
    heard.push(data);
    if (heard.length === sizes.length) all.resolve();
  });
  for (const [i, size] of sizes.entries()) await link.send(bytes(size, i));
  await all.promise;
  assertEquals(heard.map(({ length }) => length), sizes);
  heard.forEach((data, i) => assertEquals(data, bytes(sizes[i], i)));
  assertEquals(echoes, ["node-1"]);
  link.close();
  await link.closed;
  for (let i = 0; i < 50 && await left() > 0; i++) {
    await new Promise((resolve) => setImmediate(resolve));
  }
  assertEquals(await left(), 0);
  a.close();
  b.close();
});

Deno.test("Links tell of an end on the other side", async () => {
  const opened = Promise.withResolvers<Link>();
  const { a, b } = pair((_, link) => opened.resolve(link));
  const link = a.connect("b", "x");
  (await opened.promise).close();
  await link.closed;
  // What is said after the end goes nowhere, and nobody waits for it
  await link.send(bytes(10));
  a.close();
  b.close();
});

Deno.test("Links hold back who writes to one that does not read", async () => {
  const { a, b, clock, left } = pair(() => undefined);
  // Nobody reads what is sent to "c"
  const link = a.connect("c", "x");
  let sent = 0;
  const sending = (async () => {
    for (; sent < 500; sent++) await link.send(bytes(10));
  })();
  for (let i = 0; i < 200; i++) {
    await clock.advance(100);
    await new Promise((resolve) => setImmediate(resolve));
  }
  assertEquals(sent < LINK_UNREAD_MAX && await left() <= LINK_UNREAD_MAX, true, `${sent} sent`);
  a.close();
  await sending;
  b.close();
});

Deno.test("Links hand a record over once, though it could not be deleted", async () => {
  const memory = new MemoryKv();
  const clock = new ManualClock();
  let isAway = false;
  const failing = new Proxy(memory.open(), {
    get: (kv, name) => {
      const value = Reflect.get(kv, name);
      if (name !== "atomic") return typeof value === "function" ? value.bind(kv) : value;
      return () =>
        isAway
          ? { delete: () => {}, commit: () => Promise.reject(new Error("away")) }
          : kv.atomic();
    },
  });
  const a = new Links({ kv: memory.open(), clock, holder: "a" });
  const b = new Links({ kv: failing, clock, holder: "b" });
  const heard: number[] = [];
  const all = Promise.withResolvers<void>();
  b.listen((_, link) =>
    link.receive(([byte]) => {
      heard.push(byte);
      isAway = byte === 1;
      if (byte === 3) all.resolve();
    })
  );
  const link = a.connect("b", "x");
  const settle = async () => {
    for (let i = 0; i < 20; i++) await new Promise((resolve) => setImmediate(resolve));
  };
  await settle();
  for (const byte of [1, 2, 3]) {
    await link.send(new Uint8Array([byte]));
    await settle();
  }
  await all.promise;
  assertEquals(heard, [1, 2, 3]);
  a.close();
  b.close();
});
