/** Sealing keys change while the database is in use; what is wrong closes it, and nothing in the clear stays behind. */
import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { createCipheriv } from "node:crypto";
import { decodeRecord, encodeRecord } from "./codec.ts";
import type { SealAlgorithm, Sealing, SealKey } from "./contract.ts";
import { changeKey, FORMAT_KEY, SETTING_PREFIX } from "./keys.ts";
import {
  type Codec,
  type Database,
  DatabaseError,
  type DatabaseOptions,
  FORMAT_VERSION,
  ManualClock,
  MemoryKv,
  openDatabase,
  RealClock,
} from "./mod.ts";
import { FIRST_FORM, ownKeys, Sealer, sealKeyId } from "./seal.ts";

interface Thing {
  n: number;
  text?: string;
}

const encoder = new TextEncoder();
const codec: Codec<Thing> = {
  encode: (thing) => encoder.encode(JSON.stringify(thing)),
  decode: (bytes) => JSON.parse(new TextDecoder().decode(bytes)),
  stamp: (thing) => thing,
};
const sealed = (path: string) => path.startsWith("/s/");
const key = (fill: number, length = 32) => new Uint8Array(length).fill(fill);
const ALGORITHMS: readonly SealAlgorithm[] = ["aesgcm", "aescbc", "secretbox", "seed"];

function open(options: Partial<DatabaseOptions<Thing>> = {}): Promise<Database<Thing>> {
  return openDatabase({ codec, clock: new RealClock(), sealed, ...options });
}

function sealing(one: SealKey | "own" | undefined, keys: SealKey[], fingerprint: string): Sealing {
  return { keys, of: (path) => sealed(path) ? one : undefined, fingerprint };
}

async function put(database: Database<Thing>, path: string, text: string, n = 0): Promise<void> {
  await database.objects.write((draft) => draft.put(path, { n, text }));
}

/** All bytes in a database, as text of one character a byte. */
async function bytesIn(kv: Deno.Kv): Promise<string> {
  const parts: string[] = [];
  for await (const { value } of kv.list({ start: [new Uint8Array()], end: [true] })) {
    if (value instanceof Uint8Array) parts.push(new TextDecoder("latin1").decode(value));
  }
  return parts.join("\n");
}

async function idsIn(database: Database<Thing>): Promise<string[]> {
  return (await database.seals.count()).map(({ id }) => id).sort();
}

Deno.test("Sealer: every algorithm opens its own, and nothing that was changed or moved", () => {
  let drawn = 0;
  for (const algorithm of ALGORITHMS) {
    const one: SealKey = { algorithm, secret: key(7) };
    const sealer = new Sealer([key(1)], (n) => key(++drawn, n), sealing(one, [one], "x"));
    for (const length of [0, 1, 15, 16, 17, 1000]) {
      const plain = new Uint8Array(length).map((_, i) => i);
      const stored = sealer.store("/s/1", plain);
      assertEquals(sealer.open("/s/1", stored), plain);
      assertThrows(() => sealer.open("/s/2", stored), DatabaseError, "/s/2");
      for (let i = 0; i < stored.length; i += length > 100 ? 37 : 1) {
        const changed = stored.slice();
        changed[i] ^= 1;
        assertThrows(() => sealer.open("/s/1", changed), DatabaseError);
      }
      assertThrows(() => sealer.open("/s/1", stored.slice(0, -1)), DatabaseError);
    }
    assertEquals(sealer.store("/open/1", key(1)), key(1));
  }
});

Deno.test("a rotation online loses nothing, and leaves nothing under the old key", async () => {
  const memory = new MemoryKv();
  const clock = new ManualClock();
  const database = await open({ kv: memory.open(), clock, keepRevisions: 10_000 });
  const old = database.seals.ids()[0];
  for (let i = 0; i < 100; i++) await put(database, `/s/${i % 40}`, `treasure ${i}`, i);
  await put(database, "/s/big", "z".repeat(200_000));
  await put(database, "/open/1", "open");
  await database.settings.set("ca", encoder.encode("authority"));
  const { revision } = database.objects.view();
  let isDone = false;
  const rotation = database.seals.rotate().then(() => isDone = true);
  for (let i = 0; !isDone; i++) {
    await put(database, `/s/${i % 40}`, `newer ${i}`, i);
    await clock.turn();
  }
  await rotation;
  const [id] = database.seals.ids();
  assert(id !== old);
  // The value in chunks is written again; its former revision waits for history to forget it.
  assertEquals(await idsIn(database), [id, old].sort());
  await assertRejects(
    () => database.seals.drop(),
    DatabaseError,
    `Cannot drop the sealing key ${old}`,
  );
  await database.objects.compact({ keepRevisions: 0, keepMs: 0 });
  await database.seals.drop();
  assertEquals(database.seals.ids(), [id]);
  assertEquals(await idsIn(database), [id]);
  const state = [...database.objects.view().scan("/")].map(({ key, value }) => [key, value]);
  assert(database.objects.view().revision > revision);
  await database.close();
  const again = await open({ kv: memory.open(), clock });
  assertEquals([...again.objects.view().scan("/")].map(({ key, value }) => [key, value]), state);
  assertEquals(await again.settings.get("ca"), encoder.encode("authority"));
  await again.close();
  const text = await bytesIn(memory.open());
  assert(!text.includes("treasure") && !text.includes("authority") && text.includes("open"));
});

Deno.test("history that was sealed by the old key is read after a rotation", async () => {
  const database = await open({ clock: new ManualClock(), kv: new MemoryKv().open() });
  for (let i = 0; i < 50; i++) await put(database, "/s/1", `text ${i}`, i);
  await database.seals.rotate();
  const seen: number[] = [];
  for await (const { events } of database.objects.watch({ prefix: "/s/", after: 0 })) {
    seen.push(...events.map(({ item }) => item.value.n));
    if (seen.length === 50) break;
  }
  assertEquals(seen, Array.from({ length: 50 }, (_, i) => i));
  assertEquals((await database.objects.at(20)).get("/s/1")?.value.n, 19);
  await database.close();
});

Deno.test("values change from key to key, to none and back, as they are told", async () => {
  const kv = new MemoryKv();
  const clock = new ManualClock();
  const cbc: SealKey = { algorithm: "aescbc", secret: key(3, 16) };
  const box: SealKey = { algorithm: "secretbox", secret: key(4) };
  const database = await open({ kv: kv.open(), clock });
  await put(database, "/s/1", "treasure");
  const [own] = database.seals.ids();
  const steps: [Sealing, string][] = [
    [sealing(cbc, [cbc], "1"), sealKeyId(cbc)],
    [sealing(box, [box, cbc], "2"), sealKeyId(box)],
    [sealing(undefined, [box], "3"), ""],
    [sealing("own", [], "4"), own],
  ];
  for (const [next, id] of steps) {
    await database.seals.reload(next);
    assertEquals(await database.seals.migrated(), 1);
    await put(database, "/s/1", "treasure");
    assertEquals([...new Set(await idsIn(database))], id ? [id] : []);
    assertEquals((await bytesIn(kv.open())).includes("treasure"), id === "");
    assertEquals(database.objects.view().get("/s/1")?.value.text, "treasure");
    await database.objects.compact({ keepRevisions: 0, keepMs: 0 });
  }
  await database.close();
});

Deno.test("keys that are still needed cannot be taken away", async () => {
  const memory = new MemoryKv();
  const clock = new ManualClock();
  const cbc: SealKey = { algorithm: "aescbc", secret: key(3) };
  const gcm: SealKey = { algorithm: "aesgcm", secret: key(5) };
  const database = await open({ kv: memory.open(), clock, sealing: sealing(cbc, [cbc], "1") });
  await put(database, "/s/1", "treasure");
  const error = await assertRejects(
    () => database.seals.reload(sealing(gcm, [gcm], "2")),
    DatabaseError,
    `Cannot do without the sealing key ${sealKeyId(cbc)}: 1 value are`.replace(
      "value are",
      "value",
    ),
  );
  assert(!error.message.includes("\u0003"));
  await put(database, "/s/2", "goes on");
  await database.close();
  await assertRejects(
    () => open({ kv: memory.open(), clock, sealing: sealing(gcm, [gcm], "2") }),
    DatabaseError,
    `its sealing key ${sealKeyId(cbc)} is not among`,
  );
  const again = await open({ kv: memory.open(), clock, sealing: sealing(gcm, [gcm, cbc], "3") });
  // A start with another wish seals what is there anew.
  assertEquals(await again.seals.migrated(), 2);
  assertEquals(await idsIn(again), [sealKeyId(gcm)]);
  await again.close();
});

Deno.test("a rotation that was cut short goes on at the next start", async () => {
  const memory = new MemoryKv();
  const clock = new ManualClock();
  const database = await open({ kv: memory.open(), clock });
  for (let i = 0; i < 200; i++) await put(database, `/s/${i}`, `treasure ${i}`);
  const rotation = database.seals.rotate();
  for (let i = 0; i < 3; i++) await clock.turn();
  await database.close();
  await rotation.catch(() => {});
  const again = await open({ kv: memory.open(), clock });
  await again.seals.migrated();
  assertEquals(await idsIn(again), [again.seals.ids()[0]]);
  await again.seals.drop();
  assertEquals(again.seals.ids().length, 1);
  await again.close();
});

Deno.test("another process reads what a new key sealed", async () => {
  const memory = new MemoryKv();
  const clock = new RealClock();
  const one = await open({ kv: memory.open(), clock, owner: false });
  const other = await open({ kv: memory.open(), clock, owner: false });
  await put(one, "/s/1", "before");
  await one.seals.rotate();
  await put(one, "/s/1", "after");
  assertEquals((await other.objects.fresh()).get("/s/1")?.value.text, "after");
  await put(other, "/s/2", "of the other");
  assertEquals((await one.objects.fresh()).get("/s/2")?.value.text, "of the other");
  assertEquals(await idsIn(one), [one.seals.ids()[0]]);
  await other.close();
  await one.close();
});

Deno.test("bytes that were moved to another object do not open", async () => {
  const memory = new MemoryKv();
  const clock = new ManualClock();
  const database = await open({ kv: memory.open(), clock });
  await put(database, "/s/1", "mine");
  await put(database, "/s/2", "yours");
  await database.close();
  const kv = memory.open();
  const one = decodeRecord((await kv.get(changeKey("o", 1))).value, 1);
  const two = decodeRecord((await kv.get(changeKey("o", 2))).value, 2);
  await kv.set(changeKey("o", 2), encodeRecord({ ...two, body: one.body }));
  await assertRejects(() => open({ kv: memory.open(), clock }), DatabaseError, "/s/2");
});

Deno.test("a database of the first format is opened, and sealed anew", async () => {
  const memory = new MemoryKv();
  const clock = new ManualClock();
  const database = await open({ kv: memory.open(), clock });
  for (let i = 0; i < 10; i++) await put(database, `/s/${i}`, `treasure ${i}`);
  await put(database, "/s/big", "z".repeat(50_000));
  await database.settings.set("ca", encoder.encode("authority"));
  await database.close();
  await toFirstFormat(memory.open());
  const again = await open({ kv: memory.open(), clock });
  assertEquals(again.objects.view().get("/s/3")?.value.text, "treasure 3");
  assertEquals(await again.settings.get("ca"), encoder.encode("authority"));
  assertEquals(await again.seals.migrated(), 11);
  assertEquals(await idsIn(again), [again.seals.ids()[0]]);
  await again.close();
  const third = await open({ kv: memory.open(), clock });
  assertEquals(await third.seals.migrated(), 0);
  await third.close();
});

/** Rewrites a database as the first release left it. */
async function toFirstFormat(kv: Deno.Kv): Promise<void> {
  const [secret] = ownKeys((await kv.get<Uint8Array>(["sealkey"])).value!, "test");
  const sealer = new Sealer([secret], key.bind(null, 9));
  const first = (path: string, value: Uint8Array) => {
    const plain = sealer.open(path, value);
    const nonce = crypto.getRandomValues(new Uint8Array(12));
    const cipher = createCipheriv("aes-256-gcm", secret, nonce);
    cipher.setAAD(encoder.encode(path));
    const text = cipher.update(plain);
    cipher.final();
    return new Uint8Array([...nonce, ...cipher.getAuthTag(), ...text]);
  };
  const { value: format } = await kv.get<{ probe: Uint8Array }>(FORMAT_KEY);
  const { probe, sealing: _, ...rest } = format as { probe: Uint8Array; sealing?: string };
  await kv.set(FORMAT_KEY, { ...rest, format: 1, probe: first("plesio", probe) });
  for await (const entry of kv.list<Uint8Array>({ prefix: SETTING_PREFIX })) {
    await kv.set(entry.key, first(`setting/${entry.key[1] as string}`, entry.value));
  }
  for await (const entry of kv.list<Uint8Array>({ prefix: ["o", "change"] })) {
    const record = decodeRecord(entry.value, entry.key[2] as number);
    if (record.form === 0) continue;
    const body = first(record.key, record.body!);
    await kv.set(entry.key, encodeRecord({ ...record, form: FIRST_FORM, body }));
  }
}

Deno.test("keys beside a file: added by hand, taken up by reload, dropped when nothing needs them", async () => {
  const folder = await Deno.makeTempDir({ prefix: "plesio-keys-" });
  const path = `${folder}/db`;
  const keys = path + ".key";
  try {
    const database = await open({ path });
    await put(database, "/s/1", "treasure");
    const before = await Deno.readFile(keys);
    assertEquals(before.length, 32);
    await Deno.writeFile(keys, new Uint8Array([...key(8), ...before]));
    await database.seals.reload();
    assertEquals(await database.seals.migrated(), 1);
    assertEquals(database.seals.ids()[0], sealKeyId({ algorithm: "aesgcm", secret: key(8) }));
    await Deno.writeFile(keys, key(8, 31));
    await assertRejects(() => database.seals.reload(), DatabaseError, "32 are needed");
    await Deno.writeFile(keys, key(9));
    await assertRejects(() => database.seals.reload(), DatabaseError, "Cannot do without");
    await Deno.writeFile(keys, new Uint8Array([...key(8), ...before]));
    await database.seals.drop();
    assertEquals(await Deno.readFile(keys), key(8));
    if (Deno.build.os !== "windows") assertEquals((await Deno.stat(keys)).mode! & 0o777, 0o600);
    await database.close();
    const again = await open({ path });
    assertEquals(again.objects.view().get("/s/1")?.value.text, "treasure");
    const snapshot = await again.snapshot();
    await again.close();
    const fork = await open({ restore: snapshot });
    assertEquals(fork.objects.view().get("/s/1")?.value.text, "treasure");
    await fork.close();
    await Deno.writeFile(keys, before);
    await assertRejects(() => open({ path }), DatabaseError, "sealing key");
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

Deno.test("keys that the caller gave are changed by the caller alone", async () => {
  const memory = new MemoryKv();
  const clock = new ManualClock();
  const database = await open({ kv: memory.open(), clock, sealKey: key(1) });
  await put(database, "/s/1", "treasure");
  await assertRejects(() => database.seals.rotate(), DatabaseError, "given by the caller");
  await database.close();
  const both = new Uint8Array([...key(2), ...key(1)]);
  const again = await open({ kv: memory.open(), clock, sealKey: both });
  assertEquals(await again.seals.migrated(), 1);
  await again.close();
  const last = await open({ kv: memory.open(), clock, sealKey: key(2) });
  assertEquals(last.objects.view().get("/s/1")?.value.text, "treasure");
  await last.close();
});

Deno.test("a database of format 2 is raised to the newest as it is, and its records keep having no cause", async () => {
  const shared = new MemoryKv();
  const first = await open({ kv: shared.open() });
  await put(first, "/s/1", "treasure");
  await first.close();
  const kv = shared.open();
  const { value } = await kv.get<{ format: number; clusterId: string }>(FORMAT_KEY);
  await kv.set(FORMAT_KEY, { ...value, format: 2 });
  const again = await open({ kv: shared.open() });
  assertEquals(again.objects.view().get("/s/1")?.value.text, "treasure");
  assertEquals((await again.objects.written(1))?.cause, undefined);
  const { value: raised } = await kv.get<object>(FORMAT_KEY);
  assertEquals(raised, { ...value, format: FORMAT_VERSION });
  const cause = { trace: "ab".repeat(16), because: 1, by: "somebody", verb: "update" };
  await again.objects.write((draft) => draft.put("/s/1", { n: 2 }), { cause });
  await again.close();
  await kv.set(FORMAT_KEY, { ...value, format: FORMAT_VERSION + 1 });
  await assertRejects(() => open({ kv: shared.open() }), DatabaseError, "use a newer version");
});
