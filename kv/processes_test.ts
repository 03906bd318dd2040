import { assertEquals, assertRejects, assertThrows } from "@std/assert";
import { type Codec, DatabaseError } from "./contract.ts";
import { ManualClock } from "./clock.ts";
import { openDatabase } from "./database.ts";
import { LEASE_MS } from "./limits.ts";
import { MemoryKv } from "./memory_kv.ts";
import { lifeIn } from "./open.ts";

const codec: Codec<string> = {
  encode: (value) => new TextEncoder().encode(JSON.stringify(value)),
  decode: (bytes) => JSON.parse(new TextDecoder().decode(bytes)),
  stamp: (value) => value,
};
const bytes = (text: string) => new TextEncoder().encode(text);
const text = (value: Uint8Array | undefined) => value && new TextDecoder().decode(value);

function world() {
  const memory = new MemoryKv();
  const clock = new ManualClock();
  const open = (lifeIn?: string) => openDatabase({ kv: memory.open(), codec, clock, lifeIn });
  return { memory, clock, open };
}

Deno.test("three processes that begin one database at once agree what it is", async () => {
  const { open } = world();
  const all = await Promise.all([open(), open(), open()]);
  assertEquals(new Set(all.map(({ objects }) => objects.clusterId)).size, 1);
  for (const one of all) await one.close();
});

Deno.test("settings.change() makes one value of those that several processes would make", async () => {
  const { open } = world();
  const all = await Promise.all([open(), open(), open()]);
  let made = 0;
  const make = (kept: Uint8Array | undefined) => Promise.resolve(kept ?? bytes(`value ${made++}`));
  const values = await Promise.all(all.map(({ settings }) => settings.change("key", make)));
  assertEquals(new Set(values.map(text)).size, 1);
  assertEquals(text(await all[0].settings.get("key")), text(values[1]));
  const counted = (kept: Uint8Array | undefined) =>
    Promise.resolve(bytes(String(Number(text(kept) ?? 0) + 1)));
  await Promise.all(
    Array.from({ length: 9 }, (_, i) => all[i % 3].settings.change("count", counted)),
  );
  assertEquals(text(await all[2].settings.get("count")), "9");
  for (const one of all) await one.close();
});

Deno.test("settings.follow() hears of others' changes before anything newer is seen", async () => {
  const { open } = world();
  const [a, b] = [await open(), await open()];
  const heard: string[] = [];
  a.settings.follow((name) => heard.push(`a ${name}`));
  b.settings.follow((name) => heard.push(`b ${name} at ${b.objects.view().get("/x")?.value}`));
  await a.settings.set("key", bytes("1"));
  await a.objects.write((draft) => void draft.put("/x", "newer"));
  assertEquals((await b.objects.fresh()).get("/x")?.value, "newer");
  assertEquals(heard, ["b key at undefined"]);
  await a.close();
  await b.close();
});

Deno.test("processes know who lives and who has what; a dead one is swept once its lease has lapsed", async () => {
  const { clock, memory, open } = world();
  const [a, b] = [await open(), await open()];
  await a.processes!.announce({ url: "https://a" });
  await b.processes!.announce({ url: "https://b" });
  await a.processes!.take("node/x");
  assertEquals((await b.processes!.keeperOf("node/y", "node/x"))?.url, "https://a");
  assertEquals((await a.processes!.live()).map(({ url }) => url).sort(), [
    "https://a",
    "https://b",
  ]);
  await b.processes!.take("node/x");
  await a.processes!.leave("node/x");
  assertEquals((await a.processes!.keeperOf("node/x"))?.url, "https://b");

  // A third one is heard of no more: its lease stays as it was
  const kv = memory.open();
  await kv.set(["process", "dead"], { holder: "dead", startedMs: 0, url: "https://dead" });
  await kv.set(["lease", "dead"], 1);
  await kv.set(["place", "node/z"], "dead");
  assertEquals((await a.processes!.keeperOf("node/z"))?.url, "https://dead");
  await clock.advance(LEASE_MS + 1_000);
  assertEquals(await a.processes!.keeperOf("node/z"), undefined);
  assertEquals((await a.processes!.live()).length, 2);
  for (const key of [["process", "dead"], ["lease", "dead"], ["place", "node/z"]]) {
    assertEquals((await kv.get(key)).value, null);
  }
  await a.close();
  assertEquals((await b.processes!.live()).map(({ url }) => url), ["https://b"]);
  await b.close();
});

Deno.test("a process that has not said anything of itself is not taken for a dead one", async () => {
  const { clock, open } = world();
  const [a, b] = [await open(), await open()];
  const term = await a.terms.acquire("leader");
  await a.processes!.take("node/x");
  assertEquals((await b.processes!.keeperOf("node/x"))?.holder, a.terms.holder);
  await clock.advance(3 * LEASE_MS);
  assertEquals(await b.terms.acquire("leader"), undefined);
  assertEquals(await a.terms.acquire("leader"), term);
  await a.close();
  await b.close();
});

Deno.test("who begins in the folder of a dead process takes its terms at once", async () => {
  const { open } = world();
  const folder = await Deno.makeTempDir();
  const first = await open(folder);
  await first.terms.acquire("leader");
  await assertRejects(() => open(folder), DatabaseError, "in use by another process");
  // As after kill -9: the lock is free, and nothing was given up
  const { holder } = first.terms;
  const other = await open();
  assertEquals(await other.terms.acquire("leader"), undefined);
  const dead = await Deno.makeTempDir();
  const life = lifeIn(dead);
  life.begin(holder);
  assertThrows(() => lifeIn(dead), DatabaseError);
  life.close();
  const next = await open(dead);
  assertEquals((await next.terms.acquire("leader"))?.holder, next.terms.holder);
  for (const one of [other, next, first]) await one.close();
  for (const path of [folder, dead]) await Deno.remove(path, { recursive: true });
});

Deno.test("what was said to a process goes with it, and what was said to it since with the next", async () => {
  const { clock, memory, open } = world();
  const [a, b] = [await open(), await open()];
  await a.processes!.announce({});
  await b.processes!.announce({});
  const kv = memory.open();
  const said = async () => {
    const all = await Array.fromAsync(kv.list({ start: ["link"], end: ["m"] }));
    return all.map(({ key }) => key.slice(0, 2).join("/"));
  };
  const speak = async (to: string) => {
    const link = a.processes!.connect(to, "x");
    await link.send(bytes("hello"));
  };
  await kv.set(["process", "dead"], { holder: "dead", startedMs: 0 });
  await kv.set(["lease", "dead"], 1);
  await speak("dead");
  assertEquals(await said(), ["link/dead", "link/dead", "linkbell/dead"]);
  assertEquals((await b.processes!.live()).length, 3);
  await clock.advance(LEASE_MS + 1_000);
  assertEquals((await b.processes!.live()).length, 2);
  assertEquals(await said(), []);

  await speak("dead");
  assertEquals((await said()).length, 3);
  await kv.set(["process", "late"], { holder: "late", startedMs: 0 });
  assertEquals((await b.processes!.live()).length, 2);
  assertEquals(await said(), []);

  await speak(b.terms.holder);
  assertEquals((await said()).length, 3);
  await b.close();
  assertEquals(await said(), []);
  await a.close();
});
