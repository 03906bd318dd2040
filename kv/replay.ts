/**
 * History once more: a database in memory that begins with a state and goes through the revisions that followed it, each
 * under its own number and at its own time, by a clock that is moved to it.
 */

import { ManualClock } from "./clock.ts";
import { type Cause, type Codec, type Database, DatabaseError } from "./contract.ts";
import { openDatabase, type StateGiven } from "./database.ts";
import type { LogStore } from "./store.ts";

/** What a revision did; without `type` it was of the store's own, and only takes its number. */
export interface Replayed {
  readonly store: "objects" | "events";
  readonly revision: number;
  /** Wall, ms. */
  readonly time: number;
  readonly cause?: Cause;
  readonly type?: "put" | "delete";
  readonly key?: string;
  /** The object, of a deletion its last state. */
  readonly bytes?: Uint8Array;
}

/** Stands for what was of the store's own. */
const OWN_KEY = "!replayed";

/**
 * Makes the database. All of its history is kept, and nothing expires in it. Throws DatabaseError when a revision does
 * not follow from those before it.
 */
export async function replayed<T>(
  codec: Codec<T>,
  state: StateGiven,
  changes: readonly Replayed[],
): Promise<{ database: Database<T>; clock: ManualClock }> {
  const startMs = Math.min(state.objects.time, state.events.time);
  const clock = new ManualClock({ startMs, stream: state.objects.revision });
  const database = await openDatabase<T>({
    path: ":simulated:",
    codec,
    clock,
    state,
    keepRevisions: Number.MAX_SAFE_INTEGER,
    eventsTtlMs: Number.MAX_SAFE_INTEGER,
  });
  // Both stores by time, each by revision: a wall clock may have gone back
  let now = startMs;
  const timed = changes.map((change) => ({ change, at: now = Math.max(now, change.time) }));
  timed.sort((a, b) => a.at - b.at);
  try {
    for (let i = 0; i < timed.length;) {
      await clock.advance(timed[i].at - clock.now());
      const writes: Promise<void>[] = [];
      for (; i < timed.length && timed[i].at <= clock.now(); i++) {
        writes.push(repeat(database, codec, timed[i].change));
      }
      await Promise.all(writes);
    }
  } catch (error) {
    await database.close();
    throw error;
  }
  return { database, clock };
}

async function repeat<T>(
  database: Database<T>,
  codec: Codec<T>,
  { store, revision, cause, type, key, bytes }: Replayed,
): Promise<void> {
  const into = database[store] as LogStore<T>;
  const value = bytes && codec.decode(bytes, revision);
  const made = type === undefined || key === undefined
    ? await into.writeInternal((draft) => draft.putInternal(OWN_KEY, new Uint8Array([0])))
    : type === "delete"
    ? await into.write((draft) => draft.delete(key, value), { cause })
    : await into.write((draft) => draft.put(key, value!), { cause });
  if (made === revision) return;
  throw new DatabaseError(
    `Cannot replay: ${type ?? "what was"} "${key ?? ""}" became revision ${made}, not ${revision}`,
  );
}
