/** Cases of the store's contract about the past (when was what, what changed) and about forks. */

import { assert, assertEquals, assertRejects } from "@std/assert";
import {
  type Changed,
  CompactedError,
  FutureRevisionError,
  ManualClock,
  type Store,
  TermOverError,
} from "../../kv/mod.ts";
import {
  type Case,
  makeHistory,
  putThing,
  range,
  take,
  textOf,
  type Thing,
  told,
  using,
} from "./things.ts";

const encoder = new TextEncoder();

async function changesOf(
  store: Store<Thing>,
  after: number,
  until?: number,
): Promise<Changed<Thing>[]> {
  const found: Changed<Thing>[] = [];
  for await (const change of store.changes(after, until)) found.push(change);
  return found;
}

/** History that no longer lies in memory as well as what does. */
const SPLIT = { historyBytesMax: 20_000 };

export const PAST: Case[] = [
  {
    name: "what changed between two revisions is told whole, from memory and from the log",
    run: async (bench) => {
      await using(bench, async ({ terms }, store) => {
        await makeHistory(store, 40);
        const { revision = 0 } = (await terms.acquire("leader"))!;
        await makeHistory(store, 40);
        const changes = await changesOf(store, 10, revision + 20);
        assertEquals(changes.map((one) => one.revision), range(revision + 10).map((i) => i + 11));
        // Of the store's own: counted, and nobody's to see
        assertEquals(changes.filter(({ event }) => !event).map((one) => one.revision), [revision]);
        const seen = await take(store.watch({ prefix: "/", after: 10 }), revision + 9);
        const events = changes.flatMap(({ event }) => event ?? []);
        assertEquals(events.map(told), seen.slice(0, revision + 9).map(told));
        await assertRejects(() => changesOf(store, 0, 1_000), FutureRevisionError);
        await store.compact({ keepRevisions: 10, keepMs: 0 });
        await assertRejects(() => changesOf(store, 10), CompactedError);
      }, SPLIT);
    },
  },
  {
    name: "times and revisions find each other, as long as history is kept",
    run: async (bench) => {
      const clock = new ManualClock();
      await using(bench, async (_, store) => {
        const times = new Map<number, number>();
        for (let i = 0; i < 60; i++) {
          await clock.advance(i % 7 === 0 ? 3_000 : 130);
          times.set(await putThing(store, `/a/${i % 9}`, i, "x".repeat(600)), clock.now());
        }
        for (const [revision, time] of times) {
          assertEquals(await store.timeOf(revision), time);
          assertEquals(await store.revisionBy(time), revision);
          assertEquals(await store.revisionBy(time + 129), revision);
        }
        assertEquals(await store.revisionBy(clock.now() + 1e6), store.view().revision);
        const oldest = await store.compact({ keepRevisions: 20, keepMs: 0 });
        assertEquals(await store.revisionBy(times.get(oldest + 1)!), oldest + 1);
        await assertRejects(() => store.timeOf(oldest - 1), CompactedError);
        await assertRejects(() => store.revisionBy(times.get(1)! - 1), CompactedError);
        await assertRejects(
          () => store.timeOf(store.view().revision + 1),
          FutureRevisionError,
        );
      }, { clock, ...SPLIT });
    },
  },
];

export const FORKS: Case[] = [
  {
    name: "a fork begins where the store is, and both go on without each other",
    run: (bench) =>
      using(bench, async (database, store) => {
        await makeHistory(store, 40);
        await putThing(database.events, "/events/1", 1);
        await database.settings.set("ca", encoder.encode("key"));
        const term = (await database.terms.acquire("leader"))!;
        const before = textOf(store);
        const { revision } = store.view();
        const fork = await database.fork({ clock: new ManualClock() });
        const forked = fork.objects;
        assertEquals(textOf(forked), before);
        assertEquals(forked.view().revision, revision);
        assertEquals(forked.clusterId, store.clusterId);
        assertEquals(forked.stats().liveBytes, store.stats().liveBytes);
        assertEquals(fork.events.view().count("/"), 1);
        assertEquals(await fork.settings.get("ca"), encoder.encode("key"));
        const [key] = [...store.view().scan("/")].map((item) => item.key);
        assert(forked.view().get(key) === store.view().get(key), "items are shared");
        assertEquals(await putThing(forked, "/a/fork", 1), revision + 1);
        assertEquals(textOf(store), before);
        const after = textOf(forked);
        await store.write((draft) => draft.delete(key));
        await putThing(store, "/a/parent", 2);
        assertEquals(textOf(forked), after);
        await database.settings.set("ca", encoder.encode("other"));
        assertEquals(await fork.settings.get("ca"), encoder.encode("key"));
        // Who led there leads nothing here
        const own = (await fork.terms.acquire("leader"))!;
        assertEquals(own.fence, term.fence + 1);
        const late = forked.write((draft) => draft.put("/a/x", { name: "x" }), { term });
        await assertRejects(() => late, TermOverError);
        await store.write((draft) => draft.put("/a/y", { name: "y" }), { term });
        await fork.close();
        await putThing(store, "/a/alone", 3);
      }),
  },
  {
    name: "a fork has a history of its own, which reaches back to where it began",
    run: (bench) =>
      using(bench, async (database, store) => {
        await makeHistory(store, 60);
        const { revision } = store.view();
        const fork = await database.fork({ clock: new ManualClock() });
        const { objects } = fork;
        const states = new Map([[revision, textOf(objects)]]);
        const keys = [...objects.view().scan("/")].map(({ key }) => key);
        // Of every object there was: changed, deleted, and what takes its place
        for (const [i, key] of keys.entries()) {
          if (i % 3 === 0) await objects.write((draft) => draft.delete(key));
          if (i % 3 !== 1) await putThing(objects, key, i, "p".repeat(900));
          else await putThing(objects, `${key}-new`, i, "q".repeat(900));
          states.set(objects.view().revision, textOf(objects));
        }
        for (const [at, text] of states) {
          const view = await objects.at(at);
          assertEquals(textOf(view), text);
        }
        const last = objects.view().revision;
        const events = await take(objects.watch({ prefix: "/", after: revision }), last - revision);
        const changes = await changesOf(objects, revision);
        assertEquals(changes.map(({ event }) => told(event!)), events.map(told));
        assertEquals(events[0].previous?.revision, store.view().get(events[0].key)?.revision);
        await assertRejects(() => objects.at(revision - 1), CompactedError);
        await assertRejects(
          () => take(objects.watch({ prefix: "/", after: revision - 1 }), 1),
          CompactedError,
        );
        await objects.compact({ keepRevisions: 5, keepMs: 0 });
        assertEquals(textOf(objects), states.get(last));
        const again = await fork.fork({ clock: new ManualClock() });
        assertEquals(textOf(again.objects), textOf(objects));
        await again.close();
        await fork.close();
      }, SPLIT),
  },
  {
    name: "a fork of the past has what was there, and events of that time",
    run: async (bench) => {
      const clock = new ManualClock();
      await using(bench, async (database, store) => {
        const texts = new Map<number, string>();
        for (let i = 0; i < 30; i++) {
          await clock.advance(2_000);
          await putThing(store, `/a/${i % 7}`, i, "x".repeat(900));
          await putThing(database.events, `/events/${i}`, i);
          texts.set(store.view().revision, textOf(store));
        }
        for (const at of [3, 17, 30]) {
          const fork = await database.fork({ clock: new ManualClock(), at });
          assertEquals(textOf(fork.objects), texts.get(at));
          assertEquals(fork.objects.view().revision, at);
          assertEquals(await fork.objects.timeOf(at), await store.timeOf(at));
          assertEquals(fork.events.view().count("/"), at);
          assertEquals(await putThing(fork.objects, "/a/1", 99), at + 1);
          await fork.close();
        }
        await assertRejects(
          () => database.fork({ clock, at: 31 }),
          FutureRevisionError,
        );
        await store.compact({ keepRevisions: 5, keepMs: 0 });
        await assertRejects(() => database.fork({ clock, at: 3 }), CompactedError);
      }, { clock, ...SPLIT });
    },
  },
  {
    name: "a fork of a fork begins at the same time, not about then",
    run: async (bench) => {
      const clock = new ManualClock();
      await using(bench, async (database, store) => {
        await putThing(store, "/a/1");
        await clock.advance(700);
        const at = await putThing(store, "/a/2");
        const fork = await database.fork({ clock });
        const again = await fork.fork({ clock });
        for (const one of [store, fork.objects, again.objects]) {
          assertEquals(await one.timeOf(at), clock.now());
        }
        await again.close();
        await fork.close();
      }, { clock });
    },
  },
  {
    name: "events in a fork expire when they would have",
    run: async (bench) => {
      const clock = new ManualClock();
      await using(bench, async (database) => {
        await putThing(database.events, "/events/old");
        await clock.advance(40 * 60_000);
        await putThing(database.events, "/events/new");
        const own = new ManualClock({ startMs: clock.now() });
        const fork = await database.fork({ clock: own });
        await own.advance(25 * 60_000);
        for (let i = 0; i < 50; i++) await own.turn();
        const keys = [...fork.events.view().scan("/")].map(({ key }) => key);
        assertEquals(keys, ["/events/new"]);
        assertEquals(database.events.view().count("/"), 2);
        await fork.close();
      }, { clock });
    },
  },
];
