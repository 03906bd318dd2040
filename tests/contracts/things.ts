/** What the cases of the store's contract share: the things they store, and how they look at them. */

import { assertEquals } from "@std/assert";
import {
  type Batch,
  type Codec,
  type Database,
  type DatabaseOptions,
  type Event,
  limits,
  type ManualClock,
  openDatabase,
  RealClock,
  type Store,
  type View,
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
    if (Object.isFrozen(thing)) return { ...thing, revision: String(revision) };
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

export interface Case {
  name: string;
  needs?: Ability;
  run(bench: StoreBench): Promise<void>;
}

/** Opens, runs, closes. */
export async function using<R>(
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

export function putThing(
  store: Store<Thing>,
  key: string,
  count = 0,
  pad?: string,
): Promise<number> {
  return store.write((draft) => draft.put(key, { name: key, count, pad }));
}

/** Reads batches until `count` events came. */
export async function take(watch: Watch<Thing>, count: number): Promise<Event<Thing>[]> {
  const batches = await takeBatches(watch, count);
  return batches.flatMap(({ events }) => events);
}

export async function takeBatches(watch: Watch<Thing>, count: number): Promise<Batch<Thing>[]> {
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

export function told(event: Event<Thing>): string {
  return `${event.revision} ${event.type} ${event.key} ${event.item.value.count} ` +
    `${event.previous?.value.count}`;
}

/** What an event looks like from outside, byte for byte. */
export function wire(event: Event<Thing>): string {
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
export async function makeHistory(store: Store<Thing>, rounds: number): Promise<void> {
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

export function range(length: number): number[] {
  return Array.from({ length }, (_, i) => i);
}

export function watchAll(store: Store<Thing>): Watch<Thing> {
  return store.watch({ prefix: "/", after: store.oldest() });
}

/** The state at each revision, as text. */
export async function statesOf(store: Store<Thing>): Promise<string[]> {
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
export function foldOf(events: Event<Thing>[]): string[] {
  const state = new Map<string, string>();
  return events.map(({ type, key, revision, item }) => {
    if (type === "delete") state.delete(key);
    else state.set(key, `${key}@${revision}=${item.value.count}`);
    return [...state].sort(([a], [b]) => a < b ? -1 : 1).map(([, text]) => text).join();
  });
}

export function textOf(of: Store<Thing> | View<Thing>): string {
  const view = "view" in of ? of.view() : of;
  return [...view.scan("/")].map(({ key, revision, value }) => `${key}@${revision}=${value.count}`)
    .join();
}

/** Lets a manual clock's background work get through the database. */
export async function until(condition: () => boolean, clock: ManualClock): Promise<void> {
  while (!condition()) {
    await new Promise((resolve) => setTimeout(resolve, 1));
    await clock.advance(limits.COMPACT_EVERY_MS / 10);
  }
}

export function openMemory(options: Partial<DatabaseOptions<Thing>>): Promise<Database<Thing>> {
  return openDatabase({ codec: thingCodec, clock: new RealClock(), ...options });
}

export function includes(bytes: Uint8Array, text: string): boolean {
  return new TextDecoder("latin1").decode(bytes).includes(text);
}
