/** The store's contract: writes, reads, history and limits. */

import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import {
  CompactedError,
  FutureRevisionError,
  limits,
  ManualClock,
  type Store,
  TooLargeError,
} from "../../kv/mod.ts";
import {
  type Case,
  foldOf,
  makeHistory,
  putThing,
  range,
  statesOf,
  take,
  textOf,
  type Thing,
  until,
  using,
  watchAll,
  within,
} from "./things.ts";

export const WRITES: Case[] = [
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

export const READS: Case[] = [
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

export const HISTORY: Case[] = [
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

export const LIMITS: Case[] = [
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
