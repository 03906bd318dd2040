/** The store's contract: why each revision was written is kept with it, wherever it is read. */

import { assertEquals } from "@std/assert";
import { type Cause, ManualClock, type Store, type Written } from "../../kv/mod.ts";
import { type Case, openMemory, putThing, range, type Thing, using } from "./things.ts";

const TRACE = "0af7651916cd43dd8448eb211c80319c";

function causeOf(n: number): Cause {
  return { trace: TRACE, because: n, by: `actor/${n}`, verb: "create" };
}

/** Puts a thing because of revision `n`. */
function putBecause(store: Store<Thing>, key: string, n: number): Promise<number> {
  return store.write((draft) => draft.put(key, { name: key, count: n }), { cause: causeOf(n) });
}

async function all(store: Store<Thing>): Promise<(number | undefined)[]> {
  const found: (number | undefined)[] = [];
  for await (const { cause } of store.changes(store.oldest())) found.push(cause?.because);
  return found;
}

/** What is told of a history that each back end makes. */
async function makeCauses(store: Store<Thing>): Promise<void> {
  await store.write((draft) => {
    draft.put("/a/1", { name: "1" });
    draft.put("/a/2", { name: "2", pad: "x".repeat(200_000) });
  }, { cause: causeOf(7) });
  await putThing(store, "/a/3");
  await store.write((draft) => draft.delete("/a/1"), { cause: causeOf(1) });
  await store.write((draft) => draft.delete("/a/2", { name: "last" }), { cause: causeOf(2) });
}

const TOLD = [
  "1 put /a/1 0 7",
  "2 put /a/2 0 7",
  "3 put /a/3 0 undefined",
  "4 delete /a/1 1 1",
  "5 delete /a/2 2 2",
];

function told({ revision, type, key, previous, cause }: Written): string {
  return `${revision} ${type} ${key} ${previous} ${cause?.because}`;
}

/** Both ways to ask say the same. */
async function expectTold(store: Store<Thing>): Promise<void> {
  assertEquals(await all(store), [7, 7, undefined, 1, 2]);
  const each = await Promise.all(range(5).map((i) => store.written(i + 1)));
  assertEquals(each.map((one) => told(one!)), TOLD);
  assertEquals((await store.written(1))!.cause, causeOf(7));
  assertEquals(await store.written(0), undefined);
  assertEquals(await store.written(6), undefined);
}

export const CAUSES: Case[] = [
  {
    name: "every revision that a write makes keeps its cause, in memory and in the log",
    run: async (bench) => {
      await using(bench, async (_, store) => {
        await makeCauses(store);
        await expectTold(store);
      });
      // What an earlier process wrote is in no memory.
      if (bench.durable) await using(bench, (_, store) => expectTold(store));
    },
  },
  {
    name: "causes are read from the log where memory has forgotten them, and on into memory",
    run: (bench) =>
      using(bench, async (_, store) => {
        for (let i = 1; i <= 60; i++) await putBecause(store, `/a/${i % 3}`, i);
        assertEquals(await all(store), range(60).map((i) => i + 1));
        assertEquals((await store.written(1))?.cause?.because, 1);
        assertEquals((await store.written(60))?.cause?.because, 60);
      }, { historyBytesMax: 20_000 }),
  },
  {
    name: "a live object's cause outlives compaction; those of superseded revisions go with them",
    run: (bench) =>
      using(bench, async (_, store) => {
        await putBecause(store, "/a/kept", 1);
        for (let i = 2; i <= 20; i++) await putBecause(store, "/a/counted", i);
        await store.compact({ keepRevisions: 0, keepMs: 0 });
        assertEquals((await store.written(1))?.cause, causeOf(1));
        assertEquals(await store.written(5), undefined);
        assertEquals((await store.written(20))?.cause, causeOf(20));
      }, { clock: new ManualClock() }),
  },
  {
    name: "a snapshot keeps the causes of what is in it",
    run: async (bench) => {
      const bytes = await using(bench, async (database, store) => {
        await putBecause(store, "/a/1", 5);
        await putThing(store, "/a/2");
        await putBecause(database.events, "/e/1", 6);
        return await database.snapshot();
      });
      const restored = await openMemory({ restore: bytes });
      const { objects, events } = restored;
      assertEquals((await objects.written(1))?.cause, causeOf(5));
      assertEquals((await objects.written(2))?.cause, undefined);
      assertEquals((await events.written(1))?.cause, causeOf(6));
      await restored.close();
    },
  },
  {
    name: "another process reads the causes of what it did not write",
    needs: "shared",
    run: (bench) =>
      using(bench, (_, writer) =>
        using(bench, async (_, reader) => {
          await makeCauses(writer);
          await reader.reached(5);
          await expectTold(reader);
        })),
  },
];
