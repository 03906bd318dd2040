/** The store's contract: the six promises of a watch, and how one ends. */

import { assert, assertEquals, assertRejects } from "@std/assert";
import { ManualClock, SlowWatcherError } from "../../kv/mod.ts";
import {
  type Case,
  makeHistory,
  putThing,
  range,
  take,
  takeBatches,
  told,
  using,
  watchAll,
  wire,
  within,
} from "./things.ts";

export const WATCHES: Case[] = [
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
    name:
      "watch brings what it wants alone, in history and live; who wants the same is asked for once",
    run: (bench) =>
      using(bench, async (_, store) => {
        const asked: string[] = [];
        const wanted = {
          name: "odd",
          takes: ({ key }: { key: string }) => {
            asked.push(key);
            return /[13579]$/.test(key);
          },
        };
        for (const i of range(4)) await putThing(store, `/a/${i}`, i);
        const watches = range(3).map(() => store.watch({ prefix: "/a/", after: 0, wanted }));
        const reading = Promise.all(watches.map((watch) => take(watch, 3)));
        const live = store.watch({ prefix: "/a/", after: store.view().revision });
        const told = take(live, 2);
        await putThing(store, "/a/4", 4);
        asked.length = 0;
        await putThing(store, "/a/5", 5);
        await told;
        for (const events of await reading) {
          assertEquals(events.map(({ key }) => key), ["/a/1", "/a/3", "/a/5"]);
        }
        assertEquals(asked, ["/a/5"]);
        const later = store.watch({ prefix: "/a/", after: store.view().revision, wanted });
        const rest = take(later, 1);
        await putThing(store, "/a/6", 6);
        later.close();
        assertEquals(await rest, []);
        assertEquals(later.revision, store.view().revision);
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
