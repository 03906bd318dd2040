/**
 * `kill -9` under load: no answered write is lost, no revision is used twice or goes back, and a watch
 * resumes over each restart without a gap or a duplicate.
 *
 * `PLESIO_KILL_ROUNDS=100` for more than the few rounds of a test run; the seed is printed when it fails.
 */

import { assert, assertEquals } from "@std/assert";
import { type Database, ManualClock, openDatabase, RealClock } from "../../kv/mod.ts";
import { type Thing, thingCodec, within } from "../contracts/store.ts";
import { type Ack, StoreWriter } from "./store_writer.ts";

const ROUNDS = Number(Deno.env.get("PLESIO_KILL_ROUNDS") ?? 4);
const SEED = Number(Deno.env.get("PLESIO_KILL_SEED") ?? Math.floor(Math.random() * 1e9));

/** Runs the victim for a while and kills it; returns what it answered. */
async function live(path: string, life: number, ms: number): Promise<Ack[]> {
  const victim = new StoreWriter(path, String(life));
  await victim.began;
  await new Promise((resolve) => setTimeout(resolve, ms));
  return await victim.kill();
}

interface Seen {
  type: string;
  key: string;
  revision: number;
  name: string;
}

/** Everything after `after`, by a watch. */
async function resume(database: Database<Thing>, after: number): Promise<Seen[]> {
  const store = database.objects;
  const seen: Seen[] = [];
  const last = store.view().revision;
  if (after >= last) return seen;
  const read = async () => {
    for await (const { events } of store.watch({ prefix: "/", after })) {
      for (const { type, key, revision, item } of events) {
        seen.push({ type, key, revision, name: item.value.name });
      }
      if (seen.length > 0 && seen[seen.length - 1].revision >= last) return;
    }
  };
  await within(read(), 30_000);
  return seen;
}

Deno.test(`the store survives ${ROUNDS} rounds of kill -9, seed ${SEED}`, async () => {
  const folder = await Deno.makeTempDir({ prefix: "plesio-kill-" });
  const path = `${folder}/plesio.db`;
  const dice = new ManualClock({ seed: SEED });
  let last = 0;
  let answered = 0;
  try {
    for (let round = 1; round <= ROUNDS; round++) {
      const acks = await live(path, round, 20 + dice.random() * 300);
      answered += acks.length;
      const database = await openDatabase({ path, codec: thingCodec, clock: new RealClock() });
      const events = await resume(database, last);
      events.forEach(({ revision }, i) => assertEquals(revision, last + 1 + i, "a gap or repeat"));
      const byRevision = new Map(events.map((event) => [event.revision, event]));
      for (const { key, revision, name } of acks) {
        const event = byRevision.get(revision);
        assert(event, `revision ${revision} was answered in round ${round} and is lost`);
        assertEquals(event.key, key);
        assertEquals(event.type, name === "-" ? "delete" : "put");
        if (name !== "-") assertEquals(event.name, name);
      }
      // The state is what the events come to.
      const latest = new Map(events.map((event) => [event.key, event]));
      for (const { key, type, revision } of latest.values()) {
        const item = database.objects.view().get(key);
        assertEquals(item?.revision, type === "delete" ? undefined : revision);
      }
      last = database.objects.view().revision;
      await database.close();
    }
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
  assert(answered > ROUNDS, `${answered} writes were answered`);
});
