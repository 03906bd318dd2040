/** What the store does when its database fails, is overtaken, or is not what it should be. */

import { assert, assertEquals, assertRejects } from "@std/assert";
import {
  type Codec,
  CompactedError,
  type Database,
  DatabaseError,
  type DatabaseOptions,
  ManualClock,
  MemoryKv,
  openDatabase,
  RealClock,
  type Store,
} from "./mod.ts";
import { changeKey, chunkKey, FORMAT_KEY } from "./keys.ts";
import { CHUNK_SWEEP_MS, COMPACT_EVERY_MS } from "./limits.ts";

interface Thing {
  n: number;
  pad?: string;
}

const encoder = new TextEncoder();
const decoder = new TextDecoder();
const codec: Codec<Thing> = {
  encode: (thing) => encoder.encode(JSON.stringify(thing)),
  decode: (bytes) => JSON.parse(decoder.decode(bytes)),
  stamp: (thing) => thing,
};

type Commit = () => Promise<Deno.KvCommitResult | Deno.KvCommitError>;

/** A Deno KV whose commits go through `hook.commit`. */
function hooked(
  kv: Deno.Kv,
  hook: { commit: (real: Commit) => ReturnType<Commit>; isDeaf?: boolean },
): Deno.Kv {
  return new Proxy(kv, {
    get(target, name) {
      if (name === "atomic") {
        return () => {
          const op = target.atomic();
          const real = op.commit.bind(op);
          op.commit = () => hook.commit(real);
          return op;
        };
      }
      if (name === "watch" && hook.isDeaf) return () => new ReadableStream();
      const value = Reflect.get(target, name, target);
      return typeof value === "function" ? value.bind(target) : value;
    },
  });
}

function open(options: Partial<DatabaseOptions<Thing>>): Promise<Database<Thing>> {
  return openDatabase({ codec, clock: new RealClock(), ...options });
}

async function temporary(run: (folder: string) => Promise<void>): Promise<void> {
  const folder = await Deno.makeTempDir({ prefix: "plesio-faults-" });
  try {
    await run(folder);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

function increment(store: Store<Thing>): Promise<number> {
  return store.write((draft) => {
    const n = (draft.get("/n")?.value.n ?? 0) + 1;
    draft.put("/n", { n });
    return n;
  });
}

for (const owner of [true, false]) {
  const mode = owner ? "owned" : "shared";

  Deno.test(`a commit that landed but threw is not repeated, ${mode}`, async () => {
    const real = await Deno.openKv(":memory:");
    const hook = { commit: (commit: Commit) => commit() };
    const database = await open({ kv: hooked(real, hook), owner, queue: "mailbox" });
    const store = database.objects;
    await increment(store);
    let throws = 1;
    hook.commit = async (commit) => {
      const result = await commit();
      if (throws-- > 0) throw new Error("connection lost");
      return result;
    };
    assertEquals(await Promise.all([increment(store), increment(store)]), [2, 3]);
    assertEquals(await increment(store), 4);
    assertEquals(store.view().revision, 4);
    const revisions: number[] = [];
    for await (const { events } of store.watch({ prefix: "/", after: 0 })) {
      revisions.push(...events.map(({ revision }) => revision));
      if (revisions.length === 4) break;
    }
    assertEquals(revisions, [1, 2, 3, 4]);
    await database.close();
  });

  Deno.test(`a commit that threw and did not land is sent again, ${mode}`, async () => {
    const real = await Deno.openKv(":memory:");
    const hook = { commit: (commit: Commit) => commit() };
    const database = await open({ kv: hooked(real, hook), owner, queue: "mailbox" });
    let throws = 2;
    hook.commit = async (commit) => {
      if (throws-- > 0) throw new Error("connection lost");
      return await commit();
    };
    assertEquals(await increment(database.objects), 1);
    assertEquals(await increment(database.objects), 2);
    await database.close();
  });
}

Deno.test("a commit of unknown outcome that another's follows is found in the log", async () => {
  await temporary(async (folder) => {
    const path = `${folder}/db`;
    const other = await open({ path, owner: false });
    const hook = { commit: (commit: Commit) => commit() };
    const database = await open({
      kv: hooked(await Deno.openKv(path), hook),
      owner: false,
      sealKey: await Deno.readFile(path + ".key"),
    });
    let throws = 1;
    hook.commit = async (commit) => {
      const result = await commit();
      if (throws-- > 0) {
        // Ours landed, then another process wrote, and only then do we hear that the line broke.
        await increment(other.objects);
        throw new Error("connection lost");
      }
      return result;
    };
    assertEquals(await increment(database.objects), 1);
    assertEquals(await increment(database.objects), 3);
    await Promise.all([database.close(), other.close()]);
  });
});

Deno.test("a refusal is told, but not after a try of unknown outcome", async () => {
  const real = await Deno.openKv(":memory:");
  const hook = { commit: (commit: Commit) => commit() };
  const database = await open({ kv: hooked(real, hook), owner: false });
  const store = database.objects;
  await increment(store);
  const refused = new TypeError("refused: no space");
  let refusals = 1;
  hook.commit = (commit) => refusals-- > 0 ? Promise.reject(refused) : commit();
  await assertRejects(() => increment(store), DatabaseError, "no space");
  const fate = ["lands unheard", "is refused", "is refused"];
  hook.commit = async (commit) => {
    const next = fate.shift();
    if (next === "is refused") throw refused;
    const result = await commit();
    if (next === "lands unheard") throw new Error("connection lost");
    return result;
  };
  assertEquals(await increment(store), 2);
  assertEquals([fate.length, store.view().revision], [0, 2]);
  await database.close();
});

Deno.test("nobody is answered while the outcome is unknown", async () => {
  const clock = new ManualClock();
  const hook = { commit: (commit: Commit) => commit() };
  const kv = hooked(await Deno.openKv(":memory:"), hook);
  const database = await open({ kv, clock, owner: false });
  let isUp = false;
  hook.commit = (commit) => isUp ? commit() : Promise.reject(new Error("connection lost"));
  let answered = false;
  const writing = increment(database.objects).finally(() => answered = true);
  for (let i = 0; i < 50; i++) {
    await new Promise((resolve) => setTimeout(resolve, 0));
    await clock.advance(100);
  }
  assert(!answered);
  isUp = true;
  while (!answered) {
    await new Promise((resolve) => setTimeout(resolve, 0));
    await clock.advance(1_000);
  }
  assertEquals(await writing, 1);
  await database.close();
});

Deno.test("a full disk refuses writes in words, loses nothing, and passes", async () => {
  const hook = { commit: (commit: Commit) => commit() };
  const kv = hooked(await Deno.openKv(":memory:"), hook);
  const database = await open({ kv, owner: true, queue: "mailbox" });
  await increment(database.objects);
  hook.commit = () => Promise.reject(new Error("database or disk is full"));
  await assertRejects(() => increment(database.objects), DatabaseError, "The disk is full");
  assertEquals(database.objects.view().get("/n")?.value.n, 1);
  hook.commit = (commit) => commit();
  assertEquals(await increment(database.objects), 2);
  assertEquals(database.objects.view().revision, 2);
  await database.close();
});

Deno.test("mail is not repeated because its delivery cannot be recorded", async () => {
  const clock = new ManualClock();
  const hook = { commit: (commit: Commit) => commit() };
  const database = await open({ kv: hooked(new MemoryKv().open(), hook), clock, owner: true });
  const seen: string[] = [];
  const arrived = Promise.withResolvers<void>();
  await database.queue.send({ to: "a", key: "1" });
  hook.commit = () => Promise.reject(new Error("database or disk is full"));
  database.queue.listen(({ key }) => {
    seen.push(key);
    arrived.resolve();
  });
  await arrived.promise;
  for (let i = 0; i < 10; i++) await clock.advance(1_000);
  hook.commit = (commit) => commit();
  await clock.advance(1_000);
  await database.queue.send({ to: "a", key: "2" });
  for (let i = 0; i < 10; i++) await clock.advance(1_000);
  assertEquals(seen, ["1", "2"]);
  await database.close();
});

Deno.test("a process that compaction overtook begins again, and so do its watchers", async () => {
  await temporary(async (folder) => {
    const path = `${folder}/db`;
    const writer = await open({ path, owner: false });
    const hook = { commit: (commit: Commit) => commit(), isDeaf: true };
    const lagging = await open({
      kv: hooked(await Deno.openKv(path), hook),
      owner: false,
      clock: new ManualClock(),
      sealKey: await Deno.readFile(path + ".key"),
    });
    const watch = lagging.objects.watch({ prefix: "/", after: 0 })[Symbol.asyncIterator]();
    const lost = watch.next();
    for (let i = 0; i < 20; i++) await increment(writer.objects);
    await writer.objects.compact({ keepRevisions: 0, keepMs: 0 });
    assertEquals((await lagging.objects.fresh()).get("/n")?.value.n, 20);
    await assertRejects(() => lost, CompactedError);
    assertEquals(await increment(lagging.objects), 21);
    assertEquals(lagging.objects.oldest(), 20);
    await writer.objects.reached(21);
    assertEquals(lagging.objects.stats().logBytes, writer.objects.stats().logBytes);
    await Promise.all([writer.close(), lagging.close()]);
  });
});

Deno.test("chunks that no record names are swept after a while, others never", async () => {
  const clock = new ManualClock();
  const kv = await Deno.openKv(":memory:");
  const database = await open({ kv, clock, owner: true });
  await database.objects.write((draft) => draft.put("/big", { n: 1, pad: "x".repeat(200_000) }));
  for (let i = 0; i < 3; i++) await kv.set(chunkKey("o", "0123", i), new Uint8Array(10));
  const left = async () => (await kv.get(chunkKey("o", "0123", 2))).value !== null;
  await passTime(clock, CHUNK_SWEEP_MS);
  assert(await left());
  for (let i = 0; i < 40 && await left(); i++) await passTime(clock, CHUNK_SWEEP_MS / 8);
  assert(!await left());
  const snapshot = await database.snapshot();
  await database.close();
  assert(snapshot.length > 200_000);
});

/** Moves a clock on in steps, letting background work reach the database in between. */
async function passTime(clock: ManualClock, ms: number): Promise<void> {
  for (let passed = 0; passed < ms; passed += COMPACT_EVERY_MS * 4) {
    await clock.advance(COMPACT_EVERY_MS * 4);
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
}

Deno.test("a second process is refused while the first lives", async () => {
  await temporary(async (folder) => {
    const path = `${folder}/db`;
    const first = await open({ path });
    await assertRejects(() => open({ path }), DatabaseError, "in use by another process");
    await first.close();
    await (await open({ path })).close();
  });
});

interface Wreck {
  name: string;
  says: string;
  wreck(path: string): Promise<void>;
}

async function edit(path: string, change: (kv: Deno.Kv) => Promise<unknown>): Promise<void> {
  const kv = await Deno.openKv(path);
  await change(kv);
  kv.close();
}

const WRECKS: Wreck[] = [
  {
    name: "no database at all",
    says: "not a database",
    wreck: (path) => Deno.writeTextFile(path, "dear diary".repeat(1000)),
  },
  {
    name: "a database of something else",
    says: "something else",
    wreck: async (path) => {
      await Deno.remove(path);
      const { DatabaseSync } = await import("node:sqlite");
      const database = new DatabaseSync(path);
      database.exec("CREATE TABLE recipes (name TEXT)");
      database.close();
    },
  },
  {
    name: "a Deno KV of something else",
    says: "something else",
    wreck: async (path) => {
      await Deno.remove(path);
      await edit(path, (kv) => kv.set(["recipes", 1], "soup"));
    },
  },
  {
    name: "a file cut short",
    says: "torn",
    wreck: async (path) => await Deno.truncate(path, (await Deno.stat(path)).size - 4096),
  },
  {
    name: "a file with a hole",
    says: "failed|torn|malformed|not a database",
    wreck: async (path) => {
      using file = await Deno.open(path, { write: true });
      const { size } = await file.stat();
      await file.seek(8192, Deno.SeekMode.Start);
      await file.write(new Uint8Array(size - 8192).fill(0x55));
    },
  },
  {
    name: "a log record missing",
    says: "revision 7 is missing",
    wreck: (path) => edit(path, (kv) => kv.delete(changeKey("o", 7))),
  },
  {
    name: "the last log record missing",
    says: "ends at revision 10",
    wreck: (path) => edit(path, (kv) => kv.delete(changeKey("o", 11))),
  },
  {
    name: "the head missing",
    says: "its log has no head",
    wreck: (path) => edit(path, (kv) => kv.delete(["o", "head"])),
  },
  {
    name: "a log record of nonsense",
    says: "revision 3: it is torn",
    wreck: (path) => edit(path, (kv) => kv.set(changeKey("o", 3), "nonsense")),
  },
  {
    name: "chunks missing",
    says: "chunks are missing",
    wreck: (path) =>
      edit(path, async (kv) => {
        for await (const { key } of kv.list({ prefix: ["o", "blob"] })) await kv.delete(key);
      }),
  },
  {
    name: "a newer format",
    says: "newer version",
    wreck: (path) =>
      edit(path, async (kv) => {
        const { value } = await kv.get<object>(FORMAT_KEY);
        await kv.set(FORMAT_KEY, { ...value, format: 99 });
      }),
  },
  {
    name: "another sealing key",
    says: "sealing key",
    wreck: (path) => Deno.writeFile(path + ".key", new Uint8Array(32)),
  },
  {
    name: "no sealing key",
    says: "is missing",
    wreck: (path) => Deno.remove(path + ".key"),
  },
  {
    name: "a sealing key cut short",
    says: "32 are needed",
    wreck: (path) => Deno.writeFile(path + ".key", new Uint8Array(7)),
  },
  {
    name: "a folder in its place",
    says: "not a file",
    wreck: async (path) => {
      await Deno.remove(path);
      await Deno.mkdir(path);
    },
  },
];

for (const { name, says, wreck } of WRECKS) {
  Deno.test(`openDatabase() says what is wrong, given ${name}`, async () => {
    await temporary(async (folder) => {
      const path = `${folder}/db`;
      const database = await open({ path });
      for (let i = 1; i <= 10; i++) {
        await database.objects.write((draft) => draft.put(`/a/${i}`, { n: i }));
      }
      await database.objects.write((draft) => draft.put("/big", { n: 1, pad: "x".repeat(90_000) }));
      await database.close();
      await wreck(path);
      const before = await Deno.readFile(path).catch(() => undefined);
      const error = await assertRejects(() => open({ path }), DatabaseError);
      assert(new RegExp(says).test(error.message), error.message);
      // It did not make things worse, nor keep the file locked.
      const after = await Deno.readFile(path).catch(() => undefined);
      assertEquals(after?.length, before?.length);
      assert(before === undefined || after!.every((byte, i) => byte === before[i]));
      await assertRejects(() => open({ path }), DatabaseError);
    });
  });
}

Deno.test("openDatabase() vacuums a file that is mostly empty", async () => {
  await temporary(async (folder) => {
    const path = `${folder}/db`;
    const database = await open({ path });
    for (let i = 0; i < 12; i++) {
      await database.objects.write((draft) => {
        draft.put("/big", { n: i, pad: "x".repeat(1_000_000) });
      });
    }
    await database.objects.compact({ keepRevisions: 0, keepMs: 0 });
    await database.close();
    const before = (await Deno.stat(path)).size;
    const again = await open({ path });
    assertEquals(again.objects.view().get("/big")?.value.n, 11);
    await again.close();
    const after = (await Deno.stat(path)).size;
    assert(after < before / 4, `${before} bytes became ${after}`);
  });
});

Deno.test("openDatabase() refuses a bound that cannot work", async () => {
  await assertRejects(() => open({ bytesMax: 10 }), RangeError, "the least is");
});

Deno.test("a closed store refuses writes and ends what waits", async () => {
  const database = await open({});
  const waiting = assertRejects(() => database.objects.reached(99), Error, "closed");
  const last = increment(database.objects);
  await database.close();
  await waiting;
  await last.catch(() => {});
  await assertRejects(() => increment(database.objects), Error, "closed");
  await assertRejects(() => database.objects.reached(99), Error, "closed");
});
