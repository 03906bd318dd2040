/** Items: decoded once, frozen, and never changed by what is built on them. */

import { assert, assertEquals, assertThrows } from "@std/assert";
import { type Codec, deepFreeze, ManualClock, MemoryKv, openDatabase } from "./mod.ts";
import { StoredItem } from "./item.ts";

interface Thing {
  meta: { name: string; revision?: number };
  count: number;
  list?: number[];
}

const encoder = new TextEncoder();
const decoder = new TextDecoder();
let decoded = 0;
const codec: Codec<Thing> = {
  encode: ({ meta: { name }, ...rest }) =>
    encoder.encode(JSON.stringify({ meta: { name }, ...rest })),
  decode(bytes, revision) {
    decoded++;
    const thing = JSON.parse(decoder.decode(bytes)) as Thing;
    thing.meta.revision = revision;
    return thing;
  },
  // In place, as codecs may: a part that two values share would change in both.
  stamp(thing, revision) {
    if (Object.isFrozen(thing.meta)) return { ...thing, meta: { ...thing.meta, revision } };
    thing.meta.revision = revision;
    return thing;
  },
};

Deno.test("Item.value is decoded once, and frozen all the way down", () => {
  const bytes = codec.encode({ meta: { name: "a" }, count: 1, list: [1] });
  const item = new StoredItem("/a", 7, bytes, codec);
  decoded = 0;
  const { value } = item;
  assert(item.value === value);
  assertEquals([decoded, value.meta.revision], [1, 7]);
  assertThrows(() => value.list!.push(2), TypeError);
  assertEquals(item.at(8).value.meta.revision, 8);
  assertEquals(value.meta.revision, 7);
});

Deno.test("Item.at() shares what does not depend on the revision, and decodes nothing again", () => {
  const item = new StoredItem(
    "/a",
    7,
    codec.encode({ meta: { name: "a" }, count: 1, list: [1] }),
    codec,
  );
  decoded = 0;
  const later = item.at(8);
  assert(later.value.list === item.value.list);
  assertEquals([later.value.meta.revision, item.value.meta.revision, decoded], [8, 7, 1]);
  assertThrows(() => (later.value.meta.name = "b"), TypeError);
});

Deno.test("Item.value is what was put, stamped, once it is settled", () => {
  const put: Thing = { meta: { name: "a" }, count: 1 };
  const item = new StoredItem("/a", 7, codec.encode(put), codec, put);
  item.settle();
  assert(item.value === put);
  assertEquals(put.meta.revision, 7);
  assert(Object.isFrozen(put.meta));
});

Deno.test("a write that builds on another of its group does not change it", async () => {
  const kv = new MemoryKv().open();
  const database = await openDatabase({ kv, codec, clock: new ManualClock(), owner: true });
  const { objects } = database;
  const add = () =>
    objects.write((draft) => {
      const old = draft.get("/a")?.value;
      if (old === undefined) return draft.put("/a", { meta: { name: "a" }, count: 1 });
      // As writers do who know that values are immutable: it shares `meta` with the one before.
      return draft.put("/a", { ...old, count: old.count + 1 });
    });
  await Promise.all([add(), add(), add()]);
  const seen: [number, number | undefined, number][] = [];
  for await (const { events } of objects.watch({ prefix: "/", after: 0 })) {
    for (const { revision, item } of events) {
      seen.push([revision, item.value.meta.revision, item.value.count]);
    }
    if (seen.length === 3) break;
  }
  assertEquals(seen, [[1, 1, 1], [2, 2, 2], [3, 3, 3]]);
  assertEquals(objects.stats().commits, 1);
  await database.close();
});

Deno.test("deepFreeze() leaves bytes alone and stops at what is frozen", () => {
  const bytes = new Uint8Array(2);
  const inner = Object.freeze({ list: [1] });
  const value = { bytes, inner, nothing: null, list: [{ a: 1 }] };
  deepFreeze(value);
  bytes[0] = 1;
  inner.list.push(2);
  assertThrows(() => (value.list[0].a = 2), TypeError);
});
