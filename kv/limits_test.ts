/** Every limit of the store is reached once. */

import { assert, assertEquals, assertRejects } from "@std/assert";
import {
  type Codec,
  type Database,
  type DatabaseOptions,
  limits,
  ManualClock,
  MemoryKv,
  openDatabase,
  RealClock,
  StoreError,
  TooLargeError,
} from "./mod.ts";
import { undeliveredKey } from "./keys.ts";

interface Thing {
  n: number;
  pad?: string;
}

const encoder = new TextEncoder();
const decoder = new TextDecoder();
const codec: Codec<Thing> = {
  encode: (thing) => encoder.encode(JSON.stringify(thing)),
  decode: (bytes) => JSON.parse(decoder.decode(bytes)),
  stamp: (thing) => thing,
};

function open(options: Partial<DatabaseOptions<Thing>> = {}): Promise<Database<Thing>> {
  const kv = new MemoryKv().open();
  return openDatabase({
    codec,
    clock: new RealClock(),
    kv,
    owner: true,
    queue: "mailbox",
    ...options,
  });
}

Deno.test("PENDING_WRITES_MAX: more waiting writes are refused, those that wait are done", async () => {
  const { objects, close } = await opened();
  const writes = Array.from(
    { length: limits.PENDING_WRITES_MAX + 1 },
    (_, n) => objects.write((draft) => draft.put(`/a/${n % 100}`, { n })),
  );
  const error = await assertRejects(() => writes[limits.PENDING_WRITES_MAX], TooLargeError);
  assert(error.message.includes("waiting already"));
  assertEquals(await writes[limits.PENDING_WRITES_MAX - 1], limits.PENDING_WRITES_MAX);
  await close();
});

async function opened(options?: Partial<DatabaseOptions<Thing>>) {
  const database = await open(options);
  return { objects: database.objects, queue: database.queue, close: () => database.close() };
}

Deno.test("GROUP_WRITES_MAX and GROUP_BYTES_WANTED: groups end there", async () => {
  const { objects, close } = await opened();
  const sizes: number[] = [];
  for (
    const [count, pad] of [[limits.GROUP_WRITES_MAX * 2, ""], [40, "x".repeat(30_000)]] as const
  ) {
    const before = objects.stats().commits;
    const writes = Array.from(
      { length: count },
      (_, n) => objects.write((draft) => draft.put(`/a/${n}`, { n, pad })),
    );
    await Promise.all(writes);
    sizes.push(objects.stats().commits - before);
  }
  assert(sizes[0] >= 2 && sizes[1] >= 2, `${sizes} commits`);
  await close();
});

Deno.test("GROUP_FORM_MS_MAX: slow writes do not hold up the process together", async () => {
  const clock = new ManualClock();
  let now = 0;
  clock.monotonic = () => now;
  const { objects, close } = await opened({ clock });
  const before = objects.stats().commits;
  const writes = Array.from({ length: 10 }, (_, n) =>
    objects.write((draft) => {
      now += limits.GROUP_FORM_MS_MAX;
      return draft.put(`/a/${n}`, { n });
    }));
  await Promise.all(writes);
  assertEquals(objects.stats().commits - before, 5);
  await close();
});

Deno.test("GROUP_KEY_BYTES_MAX and GROUP_MUTATIONS_MAX: mail counts as well", async () => {
  const { objects, close } = await opened();
  const mails = limits.GROUP_MUTATIONS_MAX / 2;
  await assertRejects(
    () =>
      objects.write((draft) => {
        for (let n = 0; n <= mails; n++) draft.mail({ to: "a", key: `${n}` });
      }),
    TooLargeError,
    "messages",
  );
  await objects.write((draft) => {
    for (let n = 0; n < mails; n++) draft.mail({ to: "a", key: `${n}` });
  });
  await close();
});

Deno.test("KEY_LENGTH_MAX: longer keys are refused", async () => {
  const { objects, close } = await opened();
  const put = (length: number) =>
    objects.write((draft) => draft.put("/" + "k".repeat(length - 1), { n: 1 }));
  await put(limits.KEY_LENGTH_MAX);
  await assertRejects(() => put(limits.KEY_LENGTH_MAX + 1), TooLargeError, "at most");
  await close();
});

Deno.test("CHUNK_ATTEMPTS_AHEAD: a large object that never stands still goes along in a commit", async () => {
  const memory = new MemoryKv();
  const { objects, close } = await opened({ kv: memory.open() });
  let runs = 0;
  const put = (pad: number) =>
    objects.write((draft) => draft.put("/a", { n: ++runs, pad: "x".repeat(pad) }));
  await put(70_000);
  assertEquals(runs, limits.CHUNK_ATTEMPTS_AHEAD + 1);
  await put(limits.GROUP_BYTES_MAX / 2 - 100);
  const last = objects.view().get("/a")!.value;
  await close();
  const again = await opened({ kv: memory.open() });
  assertEquals(again.objects.view().get("/a")!.value, last);
  await again.close();
});

Deno.test("CHUNK_ATTEMPTS_MAX: one too large for that is given up", async () => {
  const { objects, close } = await opened();
  let runs = 0;
  await assertRejects(
    () => objects.write((draft) => draft.put("/a", { n: ++runs, pad: "x".repeat(400_000) })),
    StoreError,
    "times while it was being written",
  );
  assertEquals(runs, limits.CHUNK_ATTEMPTS_MAX + 1);
  await close();
});

Deno.test("WATCHERS_MAX: one more is refused", async () => {
  const { objects, close } = await opened();
  const abort = new AbortController();
  for (let i = 0; i < limits.WATCHERS_MAX; i++) objects.watch({ prefix: "/", after: 0 });
  const one = objects.watch({ prefix: "/", after: 0, signal: abort.signal });
  await assertRejects(() => one[Symbol.asyncIterator]().next(), StoreError, "are open already");
  await close();
});

Deno.test("UNDELIVERED_MAX: the oldest go", async () => {
  const memory = new MemoryKv();
  const { queue, close } = await opened({ kv: memory.open() });
  const kv = memory.open();
  for (let n = 0; n < limits.UNDELIVERED_MAX + 5; n++) {
    await kv.set(undeliveredKey(n, "id"), { to: "a", key: `${n}`, id: "id", sentMs: n, failed: 6 });
  }
  const kept = await queue.undelivered();
  assertEquals(kept.length, limits.UNDELIVERED_MAX);
  assertEquals([kept[0].key, kept.at(-1)!.key], ["5", `${limits.UNDELIVERED_MAX + 4}`]);
  assertEquals((await kv.get(undeliveredKey(4, "id"))).value, null);
  await close();
});

Deno.test("MAIL_HANDLERS_MAX: no more handlers run at once", async () => {
  const { queue, close } = await opened();
  let running = 0;
  let most = 0;
  let done = 0;
  const all = Promise.withResolvers<void>();
  for (let n = 0; n < limits.MAIL_HANDLERS_MAX * 3; n++) await queue.send({ to: "a", key: `${n}` });
  queue.listen(async () => {
    most = Math.max(most, ++running);
    await new Promise((resolve) => setTimeout(resolve, 1));
    running--;
    if (++done === limits.MAIL_HANDLERS_MAX * 3) all.resolve();
  });
  await all.promise;
  assertEquals(most, limits.MAIL_HANDLERS_MAX);
  await close();
});

Deno.test("HISTORY_BYTES_MAX: older history is read from the log instead", async () => {
  const { objects, close } = await opened({ historyBytesMax: 20_000 });
  for (let n = 1; n <= 100; n++) await objects.write((draft) => draft.put("/a/1", { n }));
  assertEquals((await objects.at(10)).get("/a/1")?.value.n, 10);
  const seen: number[] = [];
  for await (const { events } of objects.watch({ prefix: "/a/", after: 5 })) {
    seen.push(...events.map(({ item }) => item.value.n));
    if (seen.length === 95) break;
  }
  assertEquals(seen, Array.from({ length: 95 }, (_, i) => i + 6));
  await close();
});

Deno.test("REBUILT_VIEWS_MAX: states from the log are kept for the next page, not for ever", async () => {
  const { objects, close } = await opened({ historyBytesMax: 0 });
  for (let n = 1; n <= 50; n++) await objects.write((draft) => draft.put("/a/1", { n }));
  const first = await objects.at(1);
  assert(await objects.at(1) === first);
  for (let n = 2; n <= limits.REBUILT_VIEWS_MAX; n++) await objects.at(n);
  assert(await objects.at(1) === first);
  for (let n = 2; n <= limits.REBUILT_VIEWS_MAX + 2; n++) await objects.at(n);
  assert(await objects.at(1) !== first);
  assertEquals((await objects.at(1)).get("/a/1")?.value.n, 1);
  await objects.compact({ keepRevisions: 0, keepMs: 0 });
  await assertRejects(() => objects.at(1));
  await close();
});

Deno.test("EVENTS_BYTES_MAX: under pressure the oldest events go early", async () => {
  const clock = new ManualClock();
  const database = await open({ clock, eventsBytesMax: limits.STORE_BYTES_MIN });
  const { events } = database;
  const pad = "x".repeat(1_000);
  for (let n = 0; n < 50; n++) {
    await events.write((draft) => draft.put(`/e/${String(n).padStart(3, "0")}`, { n, pad }));
  }
  const { liveBytes } = events.stats();
  assert(liveBytes > limits.STORE_BYTES_MIN * limits.PRESSURE_TARGET_SHARE);
  for (let i = 0; i < 5; i++) {
    await clock.advance(limits.EVENTS_SWEEP_EVERY_MS);
    await clock.turn();
  }
  assert(events.stats().liveBytes < liveBytes);
  assertEquals([...events.view().scan("/")].at(-1)?.value.n, 49);
  assert([...events.view().scan("/")][0].value.n > 0);
  await database.close();
});

Deno.test("one head read serves every fresh() that came before it began", async () => {
  const kv = new MemoryKv().open();
  let reads = 0;
  const get = kv.get.bind(kv);
  kv.get = ((key: Deno.KvKey) => {
    reads++;
    return get(key);
  }) as typeof kv.get;
  const { objects, close } = await opened({ kv, owner: false });
  reads = 0;
  await Promise.all(Array.from({ length: 100 }, () => objects.fresh()));
  assertEquals(reads, 1);
  const first = objects.fresh();
  await Promise.resolve();
  await Promise.resolve();
  // This one came after the read began: it needs another.
  await Promise.all([first, objects.fresh()]);
  assert(reads === 2 || reads === 3, `${reads} reads`);
  await close();
});
