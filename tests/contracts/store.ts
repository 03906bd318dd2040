/**
 * The store's contract as a suite: what `kv/contract.ts` promises, proven for any back end.
 *
 * A back end that cannot pass a case lists it by name with the reason.
 */

import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import {
  type Batch,
  type Codec,
  CompactedError,
  type Database,
  DatabaseError,
  type DatabaseOptions,
  type Event,
  FutureRevisionError,
  limits,
  ManualClock,
  openDatabase,
  RealClock,
  SlowWatcherError,
  type Store,
  TermOverError,
  TooLargeError,
  type Watch,
} from "../../kv/mod.ts";

/** What the suite stores. */
export interface Thing {
  name: string;
  count?: number;
  pad?: string;
  nested?: { list: number[] };
  revision?: string;
}

const encoder = new TextEncoder();
const decoder = new TextDecoder();

/** Its codec: JSON without the revision. */
export const thingCodec: Codec<Thing> = {
  encode(thing) {
    const { revision: _, ...rest } = thing;
    return encoder.encode(JSON.stringify(rest));
  },
  decode: (bytes, revision) => ({
    ...JSON.parse(decoder.decode(bytes)),
    revision: String(revision),
  }),
  stamp(thing, revision) {
    thing.revision = String(revision);
    return thing;
  },
};

/** A place where databases are opened: each `open` opens the same one. */
export interface StoreBench {
  open(options?: Partial<DatabaseOptions<Thing>>): Promise<Database<Thing>>;
  /** Whether what was written is there after close and open. */
  readonly durable: boolean;
  /** Everything the database holds on disk, to look for what must not be there. */
  bytes?(): Promise<Uint8Array>;
  dispose(): Promise<void>;
}

/** What a back end can do, so that cases which need it are run. */
export type Ability = "durable" | "shared";

/** Registers the suite for a back end. `skips`: case name to reason. */
export function storeContract(
  name: string,
  make: () => Promise<StoreBench>,
  options: { has?: readonly Ability[]; skips?: Record<string, string> } = {},
): void {
  const { has = [], skips = {} } = options;
  for (const one of CASES) {
    if (one.needs !== undefined && !has.includes(one.needs)) continue;
    Deno.test({
      name: `store contract, ${name}: ${one.name}`,
      ignore: skips[one.name] !== undefined,
      fn: async () => {
        const bench = await make();
        try {
          await one.run(bench);
        } finally {
          await bench.dispose();
        }
      },
    });
  }
}

interface Case {
  name: string;
  needs?: Ability;
  run(bench: StoreBench): Promise<void>;
}

/** Opens, runs, closes. */
async function using<R>(
  bench: StoreBench,
  run: (database: Database<Thing>, store: Store<Thing>) => Promise<R>,
  options?: Partial<DatabaseOptions<Thing>>,
): Promise<R> {
  const database = await bench.open(options);
  try {
    return await run(database, database.objects);
  } finally {
    await database.close();
  }
}

/** Rejects when `promise` takes longer than a test may wait. */
export async function within<R>(promise: Promise<R>, ms = 10_000): Promise<R> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`nothing happened for ${ms} ms`)), ms);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}

function putThing(store: Store<Thing>, key: string, count = 0, pad?: string): Promise<number> {
  return store.write((draft) => draft.put(key, { name: key, count, pad }));
}

/** Reads batches until `count` events came. */
async function take(watch: Watch<Thing>, count: number): Promise<Event<Thing>[]> {
  const batches = await takeBatches(watch, count);
  return batches.flatMap(({ events }) => events);
}

async function takeBatches(watch: Watch<Thing>, count: number): Promise<Batch<Thing>[]> {
  const batches: Batch<Thing>[] = [];
  let seen = 0;
  if (count === 0) return batches;
  const read = async () => {
    for await (const batch of watch) {
      batches.push(batch);
      seen += batch.events.length;
      if (seen >= count) return;
    }
  };
  await within(read());
  return batches;
}

function told(event: Event<Thing>): string {
  return `${event.revision} ${event.type} ${event.key} ${event.item.value.count} ` +
    `${event.previous?.value.count}`;
}

/** What an event looks like from outside, byte for byte. */
function wire(event: Event<Thing>): string {
  const { type, key, revision, item, previous } = event;
  return JSON.stringify([
    type,
    key,
    revision,
    item.revision,
    decoder.decode(item.bytes),
    item.value,
    previous?.revision,
    previous && decoder.decode(previous.bytes),
  ]);
}

/** Some history: `rounds` writes of puts, updates and deletes under two prefixes. */
async function makeHistory(store: Store<Thing>, rounds: number): Promise<void> {
  const writes: Promise<unknown>[] = [];
  for (let i = 0; i < rounds; i++) {
    writes.push(store.write((draft) => {
      draft.put(`/a/${i % 7}`, { name: "a", count: i });
      if (i % 3 === 0) draft.put(`/b/${i % 5}`, { name: "b", count: i });
      if (i % 4 === 0) draft.delete(`/a/${(i + 3) % 7}`);
    }));
    if (i % 5 === 0) await Promise.all(writes.splice(0));
  }
  await Promise.all(writes);
}

const WRITES: Case[] = [
  {
    name: "write() gives each put and each delete the next revision",
    run: (bench) =>
      using(bench, async (_, store) => {
        const first = await putThing(store, "/a/1");
        const revisions = await store.write((draft) => [
          draft.put("/a/2", { name: "2" }),
          draft.delete("/a/1"),
          draft.delete("/a/none"),
          draft.put("/a/3", { name: "3" }),
        ]);
        assertEquals(revisions, [first + 1, first + 2, undefined, first + 3]);
        assertEquals(store.view().revision, first + 3);
        assertEquals(store.view().get("/a/3")?.value.revision, String(first + 3));
      }),
  },
  {
    name: "write() keeps nothing of a function that throws, and rejects with what it threw",
    run: (bench) =>
      using(bench, async (_, store) => {
        const revision = await putThing(store, "/a/1", 1);
        const refusal = new RangeError("no");
        const refused = store.write((draft) => {
          draft.put("/a/1", { name: "1", count: 2 });
          draft.put("/a/2", { name: "2" });
          throw refusal;
        });
        assertEquals(await refused.catch((error) => error), refusal);
        assertEquals(store.view().revision, revision);
        assertEquals(store.view().get("/a/1")?.value.count, 1);
        assertEquals(store.view().get("/a/2"), undefined);
      }),
  },
  {
    name: "write() lets each function see the writes before it in its group",
    run: (bench) =>
      using(bench, async (_, store) => {
        const count = (key: string) =>
          store.write((draft) => {
            const next = (draft.get(key)?.value.count ?? 0) + 1;
            draft.put(key, { name: key, count: next });
            return next;
          });
        const all = await Promise.all(Array.from({ length: 100 }, () => count("/a/counter")));
        assertEquals(all.toSorted((a, b) => a - b), Array.from({ length: 100 }, (_, i) => i + 1));
        assertEquals(store.view().get("/a/counter")?.value.count, 100);
      }),
  },
  {
    name: "write() lets one of 32 writers create one name",
    run: (bench) =>
      using(bench, async (_, store) => {
        const outcomes = await Promise.allSettled(
          Array.from({ length: 32 }, (_, i) =>
            store.write((draft) => {
              if (draft.get("/a/one")) throw new Error("already exists");
              return draft.put("/a/one", { name: "one", count: i });
            })),
        );
        const won = outcomes.filter(({ status }) => status === "fulfilled");
        assertEquals(won.length, 1);
        assertEquals(store.view().get("/a/one")?.revision, store.view().revision);
      }),
  },
  {
    name: "write() that changes nothing takes no revision",
    run: (bench) =>
      using(bench, async (_, store) => {
        const revision = await putThing(store, "/a/1", 5);
        assertEquals(await store.write((draft) => draft.get("/a/1")?.value.count), 5);
        assertEquals(store.view().revision, revision);
      }),
  },
  {
    name: "write() refuses functions that are not synchronous, and drafts that leaked",
    run: (bench) =>
      using(bench, async (_, store) => {
        await assertRejects(() => store.write(async () => {}), TypeError, "synchronous");
        const leaked = await store.write((draft) => draft);
        assertThrows(() => leaked.put("/a/1", { name: "1" }), TypeError, "has ended");
        await assertRejects(() => putThing(store, "a/1"), TypeError, 'begins with "/"');
      }),
  },
  {
    name: "values are frozen, shared, and stamped with their revision",
    run: (bench) =>
      using(bench, async (_, store) => {
        const value: Thing = { name: "1", nested: { list: [1] } };
        const revision = await store.write((draft) => draft.put("/a/1", value));
        const item = store.view().get("/a/1")!;
        assertEquals(item.value.revision, String(revision));
        const { value: first } = item;
        assert(item.value === first && item === store.view().get("/a/1"));
        assertThrows(() => item.value.nested!.list.push(2), TypeError);
        // A frozen value may be put again: the store reads it back instead of stamping it.
        const next = await store.write((draft) => draft.put("/a/2", item.value));
        assertEquals(store.view().get("/a/2")?.value.revision, String(next));
        assertEquals(store.view().get("/a/1")?.value.revision, String(revision));
      }),
  },
];

const READS: Case[] = [
  {
    name: "view() stays as it was while writes go on",
    run: (bench) =>
      using(bench, async (_, store) => {
        for (let i = 0; i < 100; i++) await putThing(store, `/a/${String(i).padStart(3, "0")}`, i);
        const before = store.view();
        await store.write((draft) => {
          for (let i = 0; i < 100; i += 2) draft.delete(`/a/${String(i).padStart(3, "0")}`);
        });
        assertEquals(before.count("/a/"), 100);
        assertEquals([...before.scan("/a/")].map(({ value }) => value.count), range(100));
        assertEquals(store.view().count("/a/"), 50);
      }),
  },
  {
    name: "scan() and count() keep to the prefix and begin after a key",
    run: (bench) =>
      using(bench, async (_, store) => {
        const keys = ["/a", "/a/", "/a/1", "/a/1/x", "/a/10", "/a/2", "/ab", "/b/1"].slice(2);
        await store.write((draft) => keys.forEach((key) => draft.put(key, { name: key })));
        const view = store.view();
        const scan = (prefix: string, after?: string) =>
          [...view.scan(prefix, { after })].map(({ key }) => key);
        assertEquals(scan("/a/"), ["/a/1", "/a/1/x", "/a/10", "/a/2"]);
        assertEquals(scan("/a/", "/a/1/x"), ["/a/10", "/a/2"]);
        assertEquals(scan("/a/", "/a/15"), ["/a/2"]);
        assertEquals(scan("/a/", "/b"), []);
        assertEquals(scan("/a/1"), ["/a/1", "/a/1/x", "/a/10"]);
        assertEquals(scan(""), keys);
        assertEquals(view.count("/a/"), 4);
        assertEquals(view.count("/a/", { after: "/a/1/x" }), 2);
        assertEquals(view.count("/c/"), 0);
        assertEquals(view.count("/a/", { after: "/b" }), 0);
        assertEquals(view.count(""), keys.length);
      }),
  },
  {
    name: "at() answers every revision exactly",
    run: async (bench) => {
      const told = await using(bench, async (_, store) => {
        await makeHistory(store, 60);
        const states = await statesOf(store);
        assertEquals(states, foldOf(await take(watchAll(store), store.view().revision)));
        return states;
      });
      if (!bench.durable) return;
      // Again from the log alone.
      await using(bench, async (_, store) => assertEquals(await statesOf(store), told));
    },
  },
  {
    name: "at() and reached() refuse what does not exist yet",
    run: (bench) =>
      using(bench, async (_, store) => {
        const revision = await putThing(store, "/a/1");
        await assertRejects(() => store.at(revision + 1), FutureRevisionError, "newest");
        await assertRejects(
          () => store.reached(revision + 9, { timeoutMs: 5 }),
          FutureRevisionError,
        );
        const coming = store.reached(revision + 1);
        await putThing(store, "/a/2");
        assertEquals((await within(coming)).revision, revision + 1);
        assertEquals((await store.fresh()).revision, revision + 1);
      }),
  },
];

function range(length: number): number[] {
  return Array.from({ length }, (_, i) => i);
}

function watchAll(store: Store<Thing>): Watch<Thing> {
  return store.watch({ prefix: "/", after: store.oldest() });
}

/** The state at each revision, as text. */
async function statesOf(store: Store<Thing>): Promise<string[]> {
  const states: string[] = [];
  for (let revision = 1; revision <= store.view().revision; revision++) {
    const view = await store.at(revision);
    assertEquals(view.revision, revision);
    states.push(
      [...view.scan("/")].map(({ key, revision, value }) => `${key}@${revision}=${value.count}`)
        .join(),
    );
  }
  return states;
}

/** The same, folded from events. */
function foldOf(events: Event<Thing>[]): string[] {
  const state = new Map<string, string>();
  return events.map(({ type, key, revision, item }) => {
    if (type === "delete") state.delete(key);
    else state.set(key, `${key}@${revision}=${item.value.count}`);
    return [...state].sort(([a], [b]) => a < b ? -1 : 1).map(([, text]) => text).join();
  });
}

const WATCHES: Case[] = [
  {
    name: "watch is ordered: revisions only grow",
    run: (bench) =>
      using(bench, async (_, store) => {
        const watch = store.watch({ prefix: "/", after: 0 });
        const reading = take(watch, 60);
        await makeHistory(store, 60);
        const events = await reading;
        for (let i = 1; i < events.length; i++) {
          assert(events[i].revision > events[i - 1].revision);
        }
        watch.close();
      }),
  },
  {
    name: "watch is unique and reliable: each change comes once, in history and live",
    run: (bench) =>
      using(bench, async (_, store) => {
        await makeHistory(store, 30);
        const middle = store.view().revision;
        const watch = store.watch({ prefix: "/", after: 0 });
        const early = await take(watch, 1);
        await makeHistory(store, 30);
        const last = store.view().revision;
        const again = store.watch({ prefix: "/", after: 0 });
        const events = await take(again, last);
        assertEquals(events.map(({ revision }) => revision), range(last).map((i) => i + 1));
        assert(middle < last && early[0].revision === 1);
        const live = store.watch({ prefix: "/a/", after: last });
        const reading = take(live, 2);
        await store.write((draft) => {
          draft.put("/a/0", { name: "0", count: -1 });
          draft.put("/c/0", { name: "0" });
          draft.put("/a/1", { name: "1", count: -2 });
        });
        assertEquals((await reading).map(({ revision }) => revision), [last + 1, last + 3]);
      }),
  },
  {
    name: "watch is atomic: what one write changed comes in one batch",
    run: (bench) =>
      using(bench, async (_, store) => {
        const live = store.watch({ prefix: "/", after: 0 });
        const reading = takeBatches(live, 200);
        for (let i = 0; i < 40; i++) {
          await store.write((draft) => {
            for (let k = 0; k < 5; k++) draft.put(`/a/${k}`, { name: "x", count: i });
          });
        }
        const late = await takeBatches(store.watch({ prefix: "/", after: 0 }), 200);
        for (const batches of [await reading, late]) {
          for (const { events, revision } of batches) {
            assertEquals(events.length % 5, 0);
            assertEquals(revision, events[events.length - 1].revision);
            assertEquals(events[0].item.value.count, events[4].item.value.count);
          }
        }
      }),
  },
  {
    name: "watch is resumable: it continues right after any revision",
    run: (bench) =>
      using(bench, async (_, store) => {
        await makeHistory(store, 40);
        const last = store.view().revision;
        const all = (await take(store.watch({ prefix: "/", after: 0 }), last)).map(wire);
        for (let after = 0; after < last; after += 3) {
          const rest = await take(store.watch({ prefix: "/", after }), last - after);
          assertEquals(rest.map(wire), all.slice(after));
        }
      }),
  },
  {
    name: "watch is resumable across restarts, byte for byte",
    needs: "durable",
    run: async (bench) => {
      const before = await using(bench, async (_, store) => {
        await makeHistory(store, 40);
        await store.write((draft) => draft.delete("/a/1", { name: "last words", count: 7 }));
        return (await take(watchAll(store), store.view().revision)).map(wire);
      });
      await using(bench, async (_, store) => {
        assertEquals(store.view().revision, before.length);
        for (const after of [0, 1, 7, before.length - 1]) {
          const watch = store.watch({ prefix: "/", after });
          assertEquals((await take(watch, before.length - after)).map(wire), before.slice(after));
        }
        // Straight on into what is written now.
        const watch = store.watch({ prefix: "/", after: before.length - 2 });
        const reading = take(watch, 3);
        await putThing(store, "/a/new");
        assertEquals((await reading).map(({ revision }) => revision), [
          before.length - 1,
          before.length,
          before.length + 1,
        ]);
      });
    },
  },
  {
    name: "watch is bookmarkable: empty batches tell how far the head is",
    run: async (bench) => {
      const clock = new ManualClock();
      await using(bench, async (_, store) => {
        const watch = store.watch({ prefix: "/a/", after: 0, progressEveryMs: 1_000 });
        const reading = take(watch, 1);
        await putThing(store, "/a/1");
        await reading;
        await putThing(store, "/b/1");
        const last = await putThing(store, "/b/2");
        const iterator = store.watch({ prefix: "/a/", after: 1, progressEveryMs: 1_000 })
          [Symbol.asyncIterator]();
        const next = iterator.next();
        await Promise.resolve();
        await putThing(store, "/b/3");
        await clock.advance(999);
        await clock.advance(1_001);
        const { value } = await within(next);
        assertEquals(value, { events: [], revision: last + 1 });
        await iterator.return?.();
      }, { clock });
    },
  },
  {
    name: "watch tells the object before, and the last state of what was deleted",
    run: (bench) =>
      using(bench, async (_, store) => {
        await putThing(store, "/a/1", 1);
        await putThing(store, "/a/1", 2);
        await store.write((draft) => draft.delete("/a/1"));
        await putThing(store, "/a/1", 3);
        await store.write((draft) => draft.delete("/a/1", { name: "x", count: 9 }));
        const events = await take(store.watch({ prefix: "/a/", after: 0 }), 5);
        assertEquals(events.map(told), [
          "1 put /a/1 1 undefined",
          "2 put /a/1 2 1",
          "3 delete /a/1 2 2",
          "4 put /a/1 3 undefined",
          "5 delete /a/1 9 3",
        ]);
        assertEquals(events[2].item.value.revision, "3");
        assertEquals(events[2].previous?.value.revision, "2");
      }),
  },
  {
    name: "watch ends with SlowWatcherError when its reader falls behind its buffer",
    run: (bench) =>
      using(bench, async (_, store) => {
        const watch = store.watch({ prefix: "/", after: 0, eventsMax: 10 });
        const iterator = watch[Symbol.asyncIterator]();
        const live = iterator.next();
        for (let i = 1; i <= 20; i++) await putThing(store, `/a/${i}`);
        await live;
        const revisions: number[] = [];
        const drain = async () => {
          for (;;) {
            const { value, done } = await iterator.next();
            if (done) return;
            revisions.push(value.revision);
          }
        };
        await assertRejects(() => within(drain()), SlowWatcherError, "behind");
        assertEquals(revisions, revisions.map((_, i) => revisions[0] + i));
      }),
  },
  {
    name: "watch ends when closed, aborted, or when the store closes",
    run: async (bench) => {
      const database = await bench.open();
      const store = database.objects;
      const abort = new AbortController();
      const watches = [
        store.watch({ prefix: "/", after: 0 }),
        store.watch({ prefix: "/", after: 0, signal: abort.signal }),
        store.watch({ prefix: "/", after: 0 }),
      ];
      const ends = watches.map(async (watch) => {
        for await (const _ of watch);
      });
      assertEquals(store.stats().watchers, 3);
      watches[0].close();
      await within(ends[0]);
      abort.abort();
      await within(ends[1]);
      assertEquals(store.stats().watchers, 1);
      await database.close();
      await within(ends[2]);
      for await (const _ of store.watch({ prefix: "/", after: 0 }));
    },
  },
];

const HISTORY: Case[] = [
  {
    name: "compact() forgets what is superseded and nothing else",
    run: async (bench) => {
      const state = await using(bench, async (_, store) => {
        await makeHistory(store, 60);
        const last = store.view().revision;
        const before = store.stats();
        assertEquals(await store.compact({ keepRevisions: 10, keepMs: 0 }), last - 10);
        assert(store.stats().logBytes < before.logBytes);
        assertEquals(store.stats().liveBytes, before.liveBytes);
        assertEquals(store.oldest(), last - 10);
        await assertRejects(() => store.at(last - 11), CompactedError, "no longer");
        assertEquals((await store.at(last - 10)).revision, last - 10);
        const lost = store.watch({ prefix: "/", after: last - 11 });
        await assertRejects(() => take(lost, 1), CompactedError);
        assertEquals((await take(store.watch({ prefix: "/", after: last - 10 }), 10)).length, 10);
        return textOf(store);
      });
      if (!bench.durable) return;
      await using(bench, async (_, store) => {
        assertEquals(textOf(store), state);
        assertEquals(store.oldest(), store.view().revision - 10);
        assertEquals(await store.compact({ keepRevisions: 0, keepMs: 0 }), store.view().revision);
        assertEquals(store.stats().logBytes, store.stats().liveBytes);
        await putThing(store, "/a/new");
      });
      await using(bench, async (_, store) => {
        assertEquals(store.view().get("/a/new")?.revision, store.view().revision);
      });
    },
  },
  {
    name: "history is trimmed by itself: by age, but never the newest revisions",
    run: async (bench) => {
      const clock = new ManualClock();
      await using(bench, async (_, store) => {
        for (let i = 0; i < 30; i++) {
          await putThing(store, "/a/1", i);
          await clock.advance(1_000);
        }
        await clock.advance(120_000);
        await within(until(() => store.oldest() === 25, clock));
        assertEquals((await store.at(25)).get("/a/1")?.value.count, 24);
      }, { clock, keepRevisions: 5, keepMs: 60_000 });
    },
  },
];

function textOf(store: Store<Thing>): string {
  return [...store.view().scan("/")].map(({ key, revision, value }) =>
    `${key}@${revision}=${value.count}`
  ).join();
}

/** Lets a manual clock's background work get through the database. */
async function until(condition: () => boolean, clock: ManualClock): Promise<void> {
  while (!condition()) {
    await new Promise((resolve) => setTimeout(resolve, 1));
    await clock.advance(limits.COMPACT_EVERY_MS / 10);
  }
}

const LIMITS: Case[] = [
  {
    name: "objects of every size up to the limit come back as they were",
    run: async (bench) => {
      const sizes = [0, 1, 65_000, 65_400, 65_536, 66_000, 131_072, 1_000_000, 3_100_000];
      const check = (store: Store<Thing>) => {
        for (const size of sizes) {
          assertEquals(store.view().get(`/a/${size}`)?.value.pad?.length, size);
          assertEquals(store.view().get(`/s/${size}`)?.value.pad?.length, size);
        }
      };
      const options = { sealed: (key: string) => key.startsWith("/s/") };
      await using(bench, async (_, store) => {
        const writes = sizes.flatMap((size) => [
          putThing(store, `/a/${size}`, 0, "x".repeat(size)),
          putThing(store, `/s/${size}`, 0, "x".repeat(size)),
        ]);
        await Promise.all(writes);
        check(store);
        await assertRejects(
          () => putThing(store, "/a/huge", 0, "x".repeat(limits.OBJECT_BYTES_MAX)),
          TooLargeError,
          "at most",
        );
      }, options);
      if (!bench.durable) return;
      await using(bench, async (_, store) => {
        check(store);
        // A large object's history is chunks as well.
        const size = 1_000_000;
        await putThing(store, `/a/${size}`, 1, "y".repeat(size));
        const events = await take(store.watch({ prefix: `/a/${size}`, after: 0 }), 2);
        assertEquals(events[1].previous?.value.pad, "x".repeat(size));
        await store.compact({ keepRevisions: 0, keepMs: 0 });
        assertEquals(store.stats().logBytes, store.stats().liveBytes);
      }, options);
      await using(bench, (_, store) => {
        assertEquals(store.view().get("/a/1000000")?.value.pad, "y".repeat(1_000_000));
        return Promise.resolve();
      }, options);
    },
  },
  {
    name: "a large object that changes while it is written is still written once, and right",
    run: (bench) =>
      using(bench, async (_, store) => {
        await putThing(store, "/a/big", 0);
        const grow = (letter: string) =>
          store.write((draft) => {
            const { count = 0, pad = "" } = draft.get("/a/big")!.value;
            const more = pad + letter.repeat(70_000);
            return draft.put("/a/big", { name: "big", count: count + 1, pad: more });
          });
        await Promise.all(["a", "b", "c", "d"].map(grow));
        const { count, pad } = store.view().get("/a/big")!.value;
        assertEquals([count, pad!.length], [4, 280_000]);
        assertEquals([...pad!].filter((letter, i) => letter !== pad![i - 1]).length, 4);
      }),
  },
  {
    name: "a write that no commit can carry is refused, and its neighbours are not",
    run: (bench) =>
      using(bench, async (_, store) => {
        const many = store.write((draft) => {
          for (let i = 0; i <= limits.GROUP_MUTATIONS_MAX; i++) {
            draft.put(`/a/${i}`, { name: "a" });
          }
        });
        const heavy = store.write((draft) => {
          for (let i = 0; i < 20; i++) draft.put(`/b/${i}`, { name: "b", pad: "x".repeat(60_000) });
        });
        const light = putThing(store, "/c/1");
        await assertRejects(() => many, TooLargeError, "at once");
        await assertRejects(() => heavy, TooLargeError, "at once");
        assertEquals(await light, store.view().revision);
        assertEquals(store.view().count("/"), 1);
        // The most that fits, fits.
        await store.write((draft) => {
          for (let i = 0; i < limits.GROUP_MUTATIONS_MAX; i++) {
            draft.put(`/a/${i}`, { name: "a" });
          }
        });
        await store.write((draft) => {
          for (let i = 0; i < 12; i++) draft.put(`/b/${i}`, { name: "b", pad: "x".repeat(60_000) });
        });
        assertEquals(store.view().count("/b/"), 12);
      }),
  },
  {
    name: "the size is a bound: history goes first, then writes are refused, deletes never",
    run: (bench) =>
      using(bench, async (_, store) => {
        const pad = "x".repeat(10_000);
        for (let i = 0; i < 200; i++) await putThing(store, "/a/1", i, pad);
        const { logBytes, bytesMax, shortened } = store.stats();
        assert(logBytes <= bytesMax && shortened > 0);
        assert(store.oldest() > 100);
        let kept = 0;
        const fill = async () => {
          for (;; kept++) await putThing(store, `/b/${kept}`, 0, pad);
        };
        const error = await assertRejects(fill, TooLargeError, "full");
        assertEquals(error.what, "store");
        assert(kept > 20 && kept < 30, `${kept} objects of 10 KB in 256 KiB`);
        assert(store.stats().logBytes <= bytesMax * (1 + limits.RESERVE_SHARE));
        // What frees the store must pass: a change that enlarges nothing, and a delete.
        await putThing(store, "/b/0", 1, "");
        await store.write((draft) => {
          for (let i = 1; i < 10; i++) draft.delete(`/b/${i}`);
        });
        await putThing(store, "/c/1", 0, pad);
      }, { bytesMax: 256 * 1024, keepRevisions: 0, keepMs: 0 }),
  },
];

const AROUND: Case[] = [
  {
    name: "a term fences: a write with one that passed is refused in its commit",
    run: (bench) =>
      using(bench, async ({ terms }, store) => {
        const term = (await terms.acquire("scheduler"))!;
        assertEquals([term.name, term.holder, term.fence], ["scheduler", terms.holder, 1]);
        assertEquals(await terms.acquire("scheduler"), term);
        await store.write((draft) => draft.put("/a/1", { name: "1" }), { term });
        const over = terms.lost(term);
        await terms.release(term);
        await within(over);
        await assertRejects(
          () => store.write((draft) => draft.put("/a/2", { name: "2" }), { term }),
          TermOverError,
          "has passed",
        );
        const next = (await terms.acquire("scheduler"))!;
        assertEquals(next.fence, 2);
        await store.write((draft) => draft.put("/a/3", { name: "3" }), { term: next });
        assertEquals([...store.view().scan("")].map(({ key }) => key), ["/a/1", "/a/3"]);
      }),
  },
  {
    name: "events are a store of their own and expire after an hour, as deletes",
    run: async (bench) => {
      const clock = new ManualClock();
      await using(bench, async ({ events, objects }) => {
        await putThing(events, "/events/old", 1);
        const kept = await putThing(events, "/events/counted", 1);
        assertEquals(objects.view().revision, 0);
        await clock.advance(limits.EVENTS_TTL_MS / 2);
        await putThing(events, "/events/counted", 2);
        const watch = events.watch({ prefix: "/", after: kept + 1 });
        const reading = take(watch, 1);
        await clock.advance(limits.EVENTS_TTL_MS / 2 + 2 * limits.EVENTS_SWEEP_EVERY_MS);
        assertEquals((await reading).map(told), [`${kept + 2} delete /events/old 1 1`]);
        assertEquals(events.view().get("/events/counted")?.value.count, 2);
      }, { clock });
    },
  },
  {
    name: "events expire on time whatever compaction forgot, also after a restart",
    run: async (bench) => {
      const clock = new ManualClock();
      const passTo = async (at: number) => {
        while (clock.monotonic() < at) {
          await clock.advance(10_000);
          await clock.turn();
        }
      };
      const minute = 60_000;
      // One event a minute: those of the first `count` minutes are older than an hour then.
      const expectGone = async ({ events }: Database<Thing>, count: number) => {
        const at = limits.EVENTS_TTL_MS + (count - 1) * minute;
        await passTo(at);
        const left = () => [...events.view().scan("/")].map(({ value }) => value.count);
        for (let i = 1; i <= 5 && left()[0] !== count; i++) {
          await passTo(at + i * 10_000);
          await new Promise((resolve) => setTimeout(resolve, 5));
        }
        assertEquals(left(), range(50 - count).map((i) => i + count));
      };
      const database = await bench.open({ clock });
      for (let i = 0; i < 50; i++) {
        await passTo(i * minute);
        const key = `/events/${String(i).padStart(3, "0")}`;
        await putThing(database.events, key, i);
        await putThing(database.events, key, i);
      }
      await within(database.events.compact({ keepRevisions: 0, keepMs: 0 }));
      await expectGone(database, 10);
      await database.close();
      if (!bench.durable) return;
      await using(bench, (again) => expectGone(again, 20), { clock });
    },
  },
  {
    name: "settings are kept, and sealed",
    run: async (bench) => {
      const secret = encoder.encode("a very secret setting");
      await using(bench, async ({ settings }) => {
        assertEquals(await settings.get("ca"), undefined);
        await settings.set("ca", secret);
        assertEquals(await settings.get("ca"), secret);
        await assertRejects(
          () => settings.set("big", new Uint8Array(limits.SETTING_BYTES_MAX + 1)),
          TooLargeError,
        );
      });
      if (!bench.durable) return;
      await using(bench, async ({ settings }) => assertEquals(await settings.get("ca"), secret));
      if (bench.bytes) assert(!includes(await bench.bytes(), "a very secret setting"));
    },
  },
  {
    name: "sealed values are not on disk in the clear, and come back",
    needs: "durable",
    run: async (bench) => {
      const options = { sealed: (key: string) => key.startsWith("/secrets/") };
      await using(bench, async (_, store) => {
        await putThing(store, "/secrets/1", 1, "hidden treasure");
        await putThing(store, "/open/1", 1, "open book");
      }, options);
      await using(bench, (_, store) => {
        assertEquals(store.view().get("/secrets/1")?.value.pad, "hidden treasure");
        return Promise.resolve();
      }, options);
      if (!bench.bytes) return;
      const bytes = await bench.bytes();
      assert(includes(bytes, "open book") && !includes(bytes, "hidden treasure"));
    },
  },
  {
    name: "everything is there after a restart, and revisions go on",
    needs: "durable",
    run: async (bench) => {
      const first = await using(bench, async ({ terms, objects, events }) => {
        await makeHistory(objects, 50);
        await putThing(events, "/events/1", 3);
        const term = (await terms.acquire("leader"))!;
        return { text: textOf(objects), id: objects.clusterId, stats: objects.stats(), term };
      });
      await using(bench, async ({ terms, objects, events }) => {
        assertEquals(textOf(objects), first.text);
        assertEquals(objects.clusterId, first.id);
        const { revision, keys, liveBytes, logBytes } = objects.stats();
        assertEquals({ revision, keys, liveBytes, logBytes }, {
          revision: first.stats.revision,
          keys: first.stats.keys,
          liveBytes: first.stats.liveBytes,
          logBytes: first.stats.logBytes,
        });
        assertEquals(events.view().get("/events/1")?.value.count, 3);
        const term = (await terms.acquire("leader"))!;
        assertEquals(term.fence, first.term.fence + 1);
        await assertRejects(
          () => objects.write((draft) => draft.put("/a/x", { name: "x" }), { term: first.term }),
          TermOverError,
        );
        assertEquals(await putThing(objects, "/a/next"), revision + 2);
      });
    },
  },
  {
    name: "a snapshot restores everything, and revisions jump forward",
    run: async (bench) => {
      const sealed = (key: string) => key.startsWith("/secrets/");
      const before = await using(bench, async (database) => {
        const { objects, events, settings } = database;
        await makeHistory(objects, 40);
        await putThing(objects, "/secrets/1", 1, "hidden");
        await putThing(objects, "/big/1", 1, "z".repeat(200_000));
        await putThing(events, "/events/1", 1);
        await settings.set("ca", encoder.encode("key"));
        return { bytes: await database.snapshot(), text: textOf(objects), objects };
      }, { sealed });
      await assertRejects(
        () => openMemory({ restore: before.bytes.slice(0, -1) }),
        DatabaseError,
        "torn",
      );
      await assertRejects(
        () => openMemory({ restore: encoder.encode("hello") }),
        DatabaseError,
        "not a Plesio snapshot",
      );
      const restored = await openMemory({ restore: before.bytes, sealed });
      const { objects, events, settings } = restored;
      assertEquals(textOf(objects), before.text);
      assertEquals(objects.clusterId, before.objects.clusterId);
      assertEquals(objects.view().get("/big/1")?.value.pad?.length, 200_000);
      assertEquals(events.view().count("/"), 1);
      assertEquals(await settings.get("ca"), encoder.encode("key"));
      const old = before.objects.view().revision;
      assert(objects.view().revision > old + 1_000_000);
      await assertRejects(() => objects.at(old), CompactedError);
      await assertRejects(
        () => take(objects.watch({ prefix: "/", after: old }), 1),
        CompactedError,
      );
      const revision = objects.view().revision;
      assertEquals(await putThing(objects, "/a/after"), revision + 1);
      await restored.close();
    },
  },
];

const SHARED: Case[] = [
  {
    name: "another process sees the same events, byte for byte, and the same state",
    needs: "shared",
    run: (bench) =>
      using(bench, (_, writer) =>
        using(bench, async (_, reader) => {
          const own = writer.watch({ prefix: "/", after: 0 });
          const foreign = reader.watch({ prefix: "/", after: 0 });
          const firstOwn = takeBatches(own, 1);
          const firstForeign = takeBatches(foreign, 1);
          await putThing(writer, "/a/first");
          await Promise.all([firstOwn, firstForeign]);
          const live = [writer, reader].map((store) => {
            const watch = store.watch({ prefix: "/", after: 1 });
            return takeBatches(watch, 70);
          });
          await makeHistory(writer, 50);
          await writer.write((draft) => draft.delete("/a/1", { name: "last", count: 3 }));
          const [here, there] = (await Promise.all(live)).map((batches) =>
            batches.flatMap(({ events }) => events.map(wire)).slice(0, 70)
          );
          assertEquals(there, here);
          const { revision } = writer.view();
          const view = await reader.reached(revision);
          assertEquals(view.revision, revision);
          assertEquals(textOf(reader), textOf(writer));
        })),
  },
  {
    name: "fresh() is no older than any write that was answered elsewhere",
    needs: "shared",
    run: (bench) =>
      using(bench, (_, writer) =>
        using(bench, async (_, reader) => {
          for (let i = 0; i < 50; i++) {
            const revision = await putThing(writer, `/a/${i % 5}`, i);
            const views = await Promise.all([reader.fresh(), reader.fresh()]);
            for (const view of views) assert(view.revision >= revision);
            // So is a write that only reads.
            const seen = await reader.write((draft) => draft.get(`/a/${i % 5}`)?.value.count);
            assertEquals(seen, i);
          }
        })),
  },
  {
    name: "writes of several processes are one history",
    needs: "shared",
    run: (bench) =>
      using(bench, (_, one) =>
        using(bench, async (_, other) => {
          const count = (store: Store<Thing>) =>
            store.write((draft) => {
              const next = (draft.get("/a/n")?.value.count ?? 0) + 1;
              draft.put("/a/n", { name: "n", count: next });
              return next;
            });
          const create = (store: Store<Thing>, i: number) =>
            store.write((draft) => {
              if (draft.get("/a/one")) throw new Error("already exists");
              draft.put("/a/one", { name: "one", count: i });
            });
          const counts: Promise<number>[] = [];
          const creates: Promise<number>[] = [];
          for (let i = 0; i < 100; i++) {
            counts.push(count(i % 2 ? one : other));
            if (i < 32) creates.push(create(i % 2 ? one : other, i).then(() => 1, () => 0));
            if (i % 10 === 9) await Promise.all(counts);
          }
          assertEquals((await Promise.all(creates)).reduce((sum, won) => sum + won), 1);
          const numbers = await Promise.all(counts);
          assertEquals(numbers.toSorted((a, b) => a - b), range(100).map((i) => i + 1));
          const revision = Math.max(one.view().revision, other.view().revision);
          assertEquals(revision, 101);
          await Promise.all([one.reached(revision), other.reached(revision)]);
          assertEquals(textOf(one), textOf(other));
        })),
  },
  {
    name: "processes do not compact the same history twice",
    needs: "shared",
    run: (bench) =>
      using(bench, (_, one) =>
        using(bench, async (_, other) => {
          await makeHistory(one, 60);
          const last = one.view().revision;
          await other.reached(last);
          assertEquals(other.stats().logBytes, one.stats().logBytes);
          assertEquals(await one.compact({ keepRevisions: 30, keepMs: 0 }), last - 30);
          assertEquals(await other.compact({ keepRevisions: 40, keepMs: 0 }), last - 30);
          assertEquals(other.stats().logBytes, one.stats().logBytes);
          await assertRejects(() => other.at(last - 31), CompactedError);
          assertEquals(await other.compact({ keepRevisions: 10, keepMs: 0 }), last - 10);
          assertEquals(await one.compact({ keepRevisions: 0, keepMs: 0 }), last);
          assertEquals(one.stats().logBytes, one.stats().liveBytes);
        })),
  },
  {
    name: "a term is another process's until its lease lapsed by the observer's own clock",
    needs: "shared",
    run: async (bench) => {
      const [clockA, clockB] = [new ManualClock({ seed: 1 }), new ManualClock({ seed: 2 })];
      await using(bench, (a) =>
        using(bench, async (b) => {
          const term = (await a.terms.acquire("leader"))!;
          await b.objects.reached(1);
          assertEquals(await b.terms.acquire("leader"), undefined);
          // Renewed in time: it lives on, however long.
          for (let i = 0; i < 5; i++) {
            await clockA.advance(limits.LEASE_RENEW_EVERY_MS);
            await clockB.advance(limits.LEASE_RENEW_EVERY_MS);
            await a.terms.acquire("leader");
            assertEquals(await b.terms.acquire("leader"), undefined);
          }
          // A's clock stands still, as if its process hung.
          await clockB.advance(limits.LEASE_MS - 1);
          assertEquals(await b.terms.acquire("leader"), undefined);
          await clockB.advance(1);
          const next = (await b.terms.acquire("leader"))!;
          assertEquals(next.fence, term.fence + 1);
          await assertRejects(
            () => a.objects.write((draft) => draft.put("/a/1", { name: "1" }), { term }),
            TermOverError,
          );
          await within(a.terms.lost(term));
          await b.objects.write((draft) => draft.put("/a/1", { name: "1" }), { term: next });
        }, { clock: clockB }), { clock: clockA });
    },
  },
  {
    name: "no writer falls below half its fair share",
    needs: "shared",
    run: (bench) =>
      using(bench, (_, a) =>
        using(bench, (_, b) =>
          using(bench, async (_, c) => {
            const wins = [0, 0, 0];
            let left = 600;
            const work = async (store: Store<Thing>, i: number) => {
              while (left > 0) {
                await putThing(store, `/a/${i}`, left);
                if (left-- > 0) wins[i]++;
              }
            };
            await Promise.all([a, b, c].map(work));
            for (const won of wins) assert(won >= 100, `commits won: ${wins}`);
          }))),
  },
];

function openMemory(options: Partial<DatabaseOptions<Thing>>): Promise<Database<Thing>> {
  return openDatabase({ codec: thingCodec, clock: new RealClock(), ...options });
}

function includes(bytes: Uint8Array, text: string): boolean {
  return new TextDecoder("latin1").decode(bytes).includes(text);
}

const CASES: Case[] = [
  ...WRITES,
  ...READS,
  ...WATCHES,
  ...HISTORY,
  ...LIMITS,
  ...AROUND,
  ...SHARED,
];
