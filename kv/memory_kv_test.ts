/** The simulated Deno KV against the real one. */

import { assertEquals, assertRejects, assertThrows } from "@std/assert";
import { ManualClock } from "./clock.ts";
import { MemoryKv } from "./memory_kv.ts";

/** Parts of keys, in the order of Deno KV. */
const PARTS: Deno.KvKeyPart[] = [
  new Uint8Array([]),
  new Uint8Array([0]),
  new Uint8Array([0, 1]),
  new Uint8Array([255]),
  "",
  "\0",
  "\0a",
  "a",
  "a\0",
  "a\0b",
  "aa",
  "b",
  -Infinity,
  -1e300,
  -1.5,
  -1,
  0,
  1e-300,
  1,
  1.5,
  1_000_000_001,
  Infinity,
  false,
  true,
];

for (let seed = 1; seed <= 3; seed++) {
  Deno.test(`MemoryKv does what Deno KV does, seed ${seed}`, async () => {
    const clock = new ManualClock({ seed });
    const random = (below: number) => Math.floor(clock.random() * below);
    const real = await Deno.openKv(":memory:");
    const memory = new MemoryKv().open();
    const both = [real, memory];
    const key = () => Array.from({ length: 1 + random(2) }, () => PARTS[random(PARTS.length)]);
    const stamps = new Map<string, (string | null)[]>();
    for (let step = 0; step < 300; step++) {
      const sets = Array.from({ length: 1 + random(4) }, key);
      const checked = key();
      const isRight = random(3) > 0;
      const name = Deno.inspect(checked);
      const results = await Promise.all(both.map(async (kv, i) => {
        const op = kv.atomic();
        const { versionstamp } = await kv.get(checked);
        op.check({ key: checked, versionstamp: isRight ? versionstamp : "0".repeat(20) });
        sets.forEach((one, n) => n % 3 === 2 ? op.delete(one) : op.set(one, step * 10 + n));
        const result = await op.commit();
        stamps.set(name, stamps.get(name) ?? [null, null]);
        if (result.ok) stamps.get(name)![i] = result.versionstamp;
        return result.ok;
      }));
      assertEquals(results[0], results[1]);
      if (step % 20 !== 0) continue;
      const [start, end] = [key(), key()];
      const selectors: Deno.KvListSelector[] = [{ prefix: [] }, { prefix: start }, { start, end }];
      for (const selector of selectors) {
        const [expected, found] = await Promise.all(both.map((kv) => listed(kv, selector)));
        assertEquals(found, expected);
      }
    }
    const some = PARTS.slice(0, 10).map((part) => [part]);
    const [expected, found] = await Promise.all(both.map((kv) => kv.getMany(some)));
    assertEquals(found.map(({ value }) => value), expected.map(({ value }) => value));
    both.forEach((kv) => kv.close());
  });
}

async function listed(kv: Deno.Kv, selector: Deno.KvListSelector): Promise<unknown[] | string> {
  const entries: unknown[] = [];
  try {
    for await (const { key, value } of kv.list(selector, { batchSize: 7 })) {
      entries.push([key, value]);
    }
  } catch {
    // The real one refuses a start that lies behind its end; nothing is there either way.
    return [];
  }
  return entries;
}

Deno.test("MemoryKv keeps Deno KV's limits", async () => {
  for (const kv of [new MemoryKv().open(), await Deno.openKv(":memory:")]) {
    const set = (size: number) => kv.atomic().set(["a"], new Uint8Array(size)).commit();
    await set(65_536);
    await assertRejects(async () => await set(65_537), TypeError);
    const many = kv.atomic();
    for (let i = 0; i < 1_001; i++) many.set(["a", i], 1);
    await assertRejects(() => many.commit(), TypeError);
    const heavy = kv.atomic();
    for (let i = 0; i < 13; i++) heavy.set(["a", i], new Uint8Array(65_000));
    await assertRejects(() => heavy.commit(), TypeError);
    const keys = Array.from({ length: 11 }, (_, i) => ["a", i]);
    await assertRejects(async () => await kv.getMany(keys), TypeError);
    kv.close();
    await assertRejects(async () => await kv.get(["a"]));
  }
  assertThrows(() => new MemoryKv().open().list({ prefix: [] }, { reverse: true }), TypeError);
});

Deno.test("MemoryKv's handles share what is written, and ring for it", async () => {
  const memory = new MemoryKv();
  const [one, other] = [memory.open(), memory.open()];
  const reader = other.watch([["a"], ["b"]]).getReader();
  const read = async () => (await reader.read()).value?.map(({ value }) => value);
  assertEquals(await read(), [null, null]);
  const next = read();
  await one.set(["c"], 0);
  await one.set(["a"], 1);
  assertEquals(await next, [1, null]);
  await one.set(["a"], 2);
  await one.set(["a"], 3);
  await one.delete(["b"]);
  assertEquals(await read(), [3, null]);
  one.close();
  assertEquals((await other.get(["a"])).value, 3);
  const end = read();
  other.close();
  assertEquals(await end, undefined);
});
