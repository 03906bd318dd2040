/**
 * What the store counts on in a Deno KV, as a suite for whatever is opened as one: keys in order, values as
 * they were, commits that are atomic and checked, watches. Deno's own in memory says what is right.
 */

import { assert, assertEquals, assertRejects } from "@std/assert";
import { Links } from "../../kv/links.ts";
import { limits, RealClock } from "../../kv/mod.ts";

/** An opened KV, with nothing in it. */
export interface KvBench {
  readonly kv: Deno.Kv;
  dispose(): Promise<void>;
}

/** Registers the suite. */
export function kvContract(name: string, make: () => Promise<KvBench>): void {
  for (const [caseName, run] of Object.entries(CASES)) {
    Deno.test(`kv contract, ${name}: ${caseName}`, async () => {
      const { kv, dispose } = await make();
      const model = await Deno.openKv(":memory:");
      try {
        await run(kv, model);
      } finally {
        kv.close();
        model.close();
        await dispose();
      }
    });
  }
}

/** Parts of keys, in their order. */
const PARTS: Deno.KvKeyPart[] = [
  new Uint8Array(),
  new Uint8Array([0, 255, 1]),
  new Uint8Array([255]),
  "",
  "\0",
  "a\0b",
  "é\u{1f995}",
  -(2n ** 90n),
  -(2n ** 64n),
  -256n,
  -1n,
  0n,
  255n,
  256n,
  2n ** 63n,
  2n ** 64n,
  2n ** 90n,
  -Infinity,
  -1.5,
  0,
  1e-300,
  42,
  Infinity,
  false,
  true,
];
const VALUES = [
  "text",
  new Uint8Array([1, 2, 3]),
  new Uint8Array(),
  new Deno.KvU64(7n),
  { n: 1n, at: new Date(0), bytes: new Uint8Array([9]), map: new Map([[1, [null]]]) },
];
const SELECTORS: Deno.KvListSelector[] = [
  { prefix: ["k"] },
  { prefix: [] },
  { prefix: ["k"], start: ["k", 0n] },
  { prefix: ["k"], end: ["k", 0n] },
  { start: ["k"], end: ["k", true] },
  { start: [new Uint8Array()], end: [true] },
];
const LISTINGS: Deno.KvListOptions[] = [
  {},
  { batchSize: 3 },
  { batchSize: 4, limit: 4 },
  { reverse: true, batchSize: 4 },
  { limit: 5 },
];

async function listed(kv: Deno.Kv, selector: Deno.KvListSelector, options?: Deno.KvListOptions) {
  const found = await Array.fromAsync(kv.list(selector, options));
  return found.map(({ key, value }) => ({ key, value }));
}

const CASES: Record<string, (kv: Deno.Kv, model: Deno.Kv) => Promise<void>> = {
  async "keys keep their order, and values their form"(kv, model) {
    for (const one of [kv, model]) {
      for (const [i, part] of PARTS.entries()) {
        await one.set(["k", part], VALUES[i % VALUES.length]);
      }
      await one.set(["other"], 1);
    }
    const all = await listed(kv, { prefix: ["k"] });
    assertEquals(all.map(({ key }) => key[1]), PARTS);
    for (const selector of SELECTORS) {
      for (const options of LISTINGS) {
        const expected = await listed(model, selector, options);
        const what = Deno.inspect([selector, options]);
        assertEquals(await listed(kv, selector, options), expected, what);
      }
    }
    const backwards = { start: ["k", true], end: ["k"] };
    await assertRejects(
      () => listed(kv, backwards),
      TypeError,
      "Start key is greater than end key",
    );
    const some = all.slice(0, 9).map(({ key }) => key).concat([["none"]]);
    const valuesIn = async (one: Deno.Kv) => (await one.getMany(some)).map(({ value }) => value);
    assertEquals(await valuesIn(kv), await valuesIn(model));
  },
  async "a commit is atomic, and its checks hold"(kv) {
    const first = await kv.set(["a"], 1);
    const absent = { key: ["a"], versionstamp: null };
    const stale = await kv.atomic().check(absent).set(["b"], 2).commit();
    assertEquals(stale.ok, false);
    assertEquals((await kv.get(["b"])).versionstamp, null);
    const done = await kv.atomic().check({ key: ["a"], versionstamp: first.versionstamp })
      .check({ key: ["b"], versionstamp: null }).delete(["a"]).set(["b"], 2).set(["c"], 3).commit();
    assert(done.ok && done.versionstamp > first.versionstamp);
    const found = await kv.getMany([["a"], ["b"], ["c"]]);
    assertEquals(found.map(({ value }) => value), [null, 2, 3]);
    assertEquals(found.map(({ versionstamp }) => versionstamp), [
      null,
      done.versionstamp,
      done.versionstamp,
    ]);
    // It is changed by whatever came after, a deletion too.
    await kv.delete(["b"]);
    assertEquals((await kv.atomic().check(found[1]).set(["c"], 4).commit()).ok, false);
    assertEquals(
      (await kv.atomic().check({ ...absent, key: ["b"] }).set(["c"], 4).commit()).ok,
      true,
    );
  },
  async "of two changes of a key in a commit the last counts"(kv) {
    await kv.atomic().set(["a"], 1).set(["a"], 2).set(["b"], 1).delete(["b"]).commit();
    assertEquals((await kv.getMany([["a"], ["b"]])).map(({ value }) => value), [2, null]);
  },
  async "a commit is as large as Deno KV's"(kv) {
    const bytes = new Uint8Array(700);
    const full = kv.atomic();
    for (let i = 0; i < limits.KV_MUTATIONS_MAX; i++) full.set(["full", i], bytes);
    const done = await full.commit();
    assert(done.ok);
    let count = 0;
    for await (const { versionstamp } of kv.list({ prefix: ["full"] }, { batchSize: 500 })) {
      assertEquals(versionstamp, done.versionstamp);
      count++;
    }
    assertEquals(count, limits.KV_MUTATIONS_MAX);
    const more = kv.atomic();
    for (let i = 0; i <= limits.KV_MUTATIONS_MAX; i++) more.set(["more", i], 1);
    await assertRejects(() => more.commit(), TypeError, "Too many mutations");
    const large = new Uint8Array(limits.KV_VALUE_BYTES_MAX + 1);
    await assertRejects(async () => await kv.set(["large"], large), TypeError, "Value too large");
    await kv.set(["large"], large.subarray(1));
    assertEquals((await kv.get<Uint8Array>(["large"])).value?.length, large.length - 1);
  },
  async "of those who check the same, one wins"(kv) {
    await kv.set(["n"], 0);
    const add = async (): Promise<void> => {
      for (;;) {
        const found = await kv.get<number>(["n"]);
        if ((await kv.atomic().check(found).set(["n"], found.value! + 1).commit()).ok) return;
      }
    };
    await Promise.all(Array.from({ length: 8 }, async () => {
      for (let i = 0; i < 5; i++) await add();
    }));
    assertEquals((await kv.get(["n"])).value, 40);
  },
  async "processes speak by records, which are gone when they were read"(kv) {
    const clock = new RealClock();
    const [a, b] = ["a", "b"].map((holder) => new Links({ kv, clock, holder }));
    b.listen((_subject, link) => link.receive((data) => link.send(data)));
    const link = a.connect("b", "echo");
    const heard = Promise.withResolvers<Uint8Array>();
    link.receive(heard.resolve);
    const said = new Uint8Array(2 * limits.LINK_PIECE_BYTES).fill(7);
    await link.send(said);
    const echo = await Promise.race([heard.promise, link.closed]);
    assertEquals(echo?.length, said.length);
    link.close();
    await link.closed;
    while ((await listed(kv, { prefix: ["link"] })).length > 0) await clock.sleep(1);
    a.close();
    b.close();
  },
  async "a watch tells what is and what changes, and ends with its reader"(kv) {
    await kv.set(["a"], 1);
    const reader = kv.watch([["a"], ["b"]]).getReader();
    const next = async () => (await reader.read()).value!.map(({ value }) => value);
    assertEquals(await next(), [1, null]);
    await kv.set(["b"], 2);
    assertEquals(await next(), [1, 2]);
    await kv.delete(["a"]);
    assertEquals(await next(), [null, 2]);
    await reader.cancel();
    const again = kv.watch([["b"]]).getReader();
    assertEquals((await again.read()).value![0].value, 2);
    await again.cancel();
  },
};
