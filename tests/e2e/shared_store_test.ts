/**
 * Three processes write to one database at the same time, by KV Connect and in etcd, while a process is
 * killed and, of etcd, one member after another: no answered write is lost, no revision is used twice, all
 * see one history, and each writer gets at least half of a fair share.
 */

import { assert, assertEquals } from "@std/assert";
import { type Event, openDatabase, RealClock } from "../../kv/mod.ts";
import { type Thing, thingCodec, within } from "../contracts/store.ts";
import { EtcdCluster, hasEtcd } from "../etcd_cluster.ts";
import { KvServer, TOKEN } from "../kv_server.ts";
import { type Ack, StoreWriter } from "./store_writer.ts";

Deno.env.set("DENO_KV_ACCESS_TOKEN", TOKEN);

/** Revisions kept: more than a run writes. */
const KEEP = 1_000_000;
const WRITERS = 3;
/** How long the shares of writers are compared. */
const SHARED_MS = 5_000;
const TRIES_MAX = 3;

const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

/** Compares shares; again if the machine itself had no time for one of the processes. */
async function shareFairly(writers: readonly StoreWriter[]): Promise<void> {
  for (let tries = 1;; tries++) {
    const before = writers.map(({ acks }) => acks.length);
    await pause(SHARED_MS);
    const shares = writers.map(({ acks }, i) => acks.length - before[i]);
    const fair = shares.reduce((sum, share) => sum + share) / WRITERS;
    if (shares.every((share) => share >= fair / 2)) return;
    assert(tries < TRIES_MAX, `shares ${shares} of ${fair}`);
  }
}

/** Runs three writers beside a watcher, does what is harmful, and checks what was answered. */
async function shared(path: string, harm: (writers: StoreWriter[]) => Promise<void>) {
  const database = await openDatabase({ path, codec: thingCodec, clock: new RealClock() });
  const store = database.objects;
  const seen: Event<Thing>[] = [];
  const watch = store.watch({ prefix: "/", after: 0 });
  const reading = (async () => {
    for await (const { events } of watch) seen.push(...events);
  })();
  const writers = Array.from({ length: WRITERS }, (_, i) => new StoreWriter(path, `${i}`, KEEP));
  const acks: Ack[] = [];
  try {
    await Promise.all(writers.map(({ began }) => began));
    await shareFairly(writers);
    await harm(writers);
  } finally {
    for (const writer of writers) acks.push(...await writer.kill());
  }
  // Whatever was under way has ended, one way or another.
  const { revision } = await store.fresh();
  const until = performance.now() + 10_000;
  while (seen.length < revision && performance.now() < until) await pause(20);
  watch.close();
  await within(reading);
  seen.forEach((event, i) => assertEquals(event.revision, i + 1, "a gap or a repeat"));
  assertEquals(seen.length, revision);
  for (const { key, revision, name } of acks) {
    const event = seen[revision - 1];
    assert(event, `revision ${revision} was answered and is lost`);
    assertEquals(event.key, key);
    assertEquals(event.type, name === "-" ? "delete" : "put");
    if (name !== "-") assertEquals(event.item.value.name, name);
  }
  assertEquals(new Set(acks.map(({ revision }) => revision)).size, acks.length);
  await database.close();
  // Who opens it now finds the same state.
  const again = await openDatabase({ path, codec: thingCodec, clock: new RealClock() });
  const keys = (opened: typeof database) =>
    [...opened.objects.view().scan("/")].map(({ key, revision }) => `${key} ${revision}`);
  assertEquals(keys(again), keys(database));
  await again.close();
  return acks;
}

/** Waits until a writer is answered again. */
async function answered({ acks }: StoreWriter): Promise<void> {
  const before = acks.length;
  const until = performance.now() + 15_000;
  while (acks.length < before + 50) {
    assert(performance.now() < until, "nothing is answered any more");
    await pause(20);
  }
}

Deno.test("three processes share a file by KV Connect, fairly, while one and the server die", async () => {
  const folder = await Deno.makeTempDir({ prefix: "plesio-shared-" });
  const data = `${folder}/shared.db`;
  let server = await KvServer.start({ data });
  const port = Number(new URL(server.url).port);
  try {
    await shared(server.url, async ([first, second]) => {
      await first.kill();
      await answered(second);
      await server.stop();
      server = await KvServer.start({ data, port });
      await answered(second);
    });
  } finally {
    await server.stop();
    await Deno.remove(folder, { recursive: true });
  }
});

Deno.test({
  name: "three processes share etcd, fairly, while a process dies and each member in turn",
  ignore: !hasEtcd,
  fn: async () => {
    const cluster = await EtcdCluster.start(3);
    try {
      await shared(cluster.url(), async ([first, second]) => {
        await first.kill();
        for (let member = 0; member < 3; member++) {
          // One of them stops in peace: that must not end who was connected to it.
          await (member === 1 ? cluster.stop(member) : cluster.kill(member));
          await answered(second);
          cluster.startMember(member);
          await cluster.healthy(member);
        }
      });
    } finally {
      await cluster.dispose();
    }
  },
});
