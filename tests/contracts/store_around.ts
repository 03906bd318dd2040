/** The store's contract: terms, events, settings, sealing, restarts, snapshots; several processes. */

import { assert, assertEquals, assertRejects } from "@std/assert";
import {
  CompactedError,
  type Database,
  DatabaseError,
  limits,
  ManualClock,
  type Store,
  TermOverError,
  TooLargeError,
} from "../../kv/mod.ts";
import {
  type Case,
  includes,
  makeHistory,
  openMemory,
  putThing,
  range,
  take,
  takeBatches,
  textOf,
  type Thing,
  told,
  using,
  wire,
  within,
} from "./things.ts";

const encoder = new TextEncoder();

export const AROUND: Case[] = [
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
          // A sweep that a timer began takes the database's own time, and more on a busy machine.
          for (let waits = 0; waits < 100 && left()[0] !== count; waits++) {
            await new Promise((resolve) => setTimeout(resolve, 5));
          }
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

export const SHARED: Case[] = [
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
    name: "two processes that keep changing one large object both get through",
    needs: "shared",
    run: (bench) =>
      using(bench, (_, first) =>
        using(bench, async (_, second) => {
          const pad = "x".repeat(150_000);
          const change = (store: Store<Thing>) =>
            store.write((draft) => {
              const count = (draft.get("/big")?.value.count ?? 0) + 1;
              return draft.put("/big", { name: "big", count, pad });
            });
          const often = async (store: Store<Thing>) => {
            for (let i = 0; i < 10; i++) await Promise.all([change(store), change(store)]);
          };
          await Promise.all([often(first), often(second)]);
          for (const store of [first, second]) {
            const big = (await store.fresh()).get("/big")?.value;
            assertEquals([big?.count, big?.pad], [40, pad]);
          }
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
