/** The manual clock and the host's. */

import { assert, assertEquals, assertMatch, assertNotEquals, assertRejects } from "@std/assert";
import { MANUAL_START_MS, ManualClock, RealClock } from "./clock.ts";

Deno.test("ManualClock stands still, and calls timers in order of time, then of setting", async () => {
  const clock = new ManualClock();
  const calls: string[] = [];
  const at = (ms: number, name: string) =>
    clock.timer("work", ms, () => calls.push(`${name}@${clock.now() - MANUAL_START_MS}`));
  at(30, "c");
  at(10, "a");
  at(10, "b");
  at(20, "cancelled").cancel();
  clock.timer("background", 5, () => at(5, "nested"));
  await clock.advance(9);
  assertEquals(calls, []);
  await clock.advance(20);
  assertEquals(calls, ["a@10", "b@10", "nested@10"]);
  await clock.advance(100);
  assertEquals(calls.at(-1), "c@30");
  assertEquals([clock.now() - MANUAL_START_MS, clock.monotonic()], [129, 129]);
  await assertRejects(() => clock.advance(-1), RangeError, "goes forward");
});

Deno.test("ManualClock.now() is whole, whatever fractions timers were set with", async () => {
  const clock = new ManualClock();
  const seen: number[] = [];
  clock.timer("work", 1.7, () => seen.push(clock.now() - MANUAL_START_MS));
  await clock.advance(2.5);
  assertEquals(seen, [1]);
  assertEquals([clock.now() - MANUAL_START_MS, clock.monotonic()], [2, 2.5]);
});

Deno.test("ManualClock.advance() lets chains of sleeps get through", async () => {
  const clock = new ManualClock();
  let laps = 0;
  const run = async () => {
    for (; laps < 100; laps++) await clock.sleep(10);
  };
  const running = run();
  await clock.advance(500);
  assertEquals(laps, 50);
  await clock.advance(500);
  await running;
  assertEquals(clock.nextAt(), undefined);
});

Deno.test("ManualClock.nextWorkAt() sees work and no background", async () => {
  const clock = new ManualClock();
  assertEquals(clock.nextWorkAt(), undefined);
  clock.timer("background", 5, () => {});
  assertEquals(clock.nextWorkAt(), undefined);
  const timer = clock.timer("work", 20, () => {});
  clock.timer("work", 30, () => {});
  assertEquals(clock.nextWorkAt(), clock.now() + 20);
  timer.cancel();
  assertEquals(clock.nextWorkAt(), clock.now() + 30);
  assertEquals(clock.nextAt(), clock.now() + 5);
  await clock.advance(30);
  assertEquals(clock.nextWorkAt(), undefined);
});

Deno.test("ManualClock draws the same from the same seed", () => {
  const draw = (seed: number) => {
    const clock = new ManualClock({ seed });
    return [clock.random(), clock.uuid(), [...clock.bytes(4)]];
  };
  assertEquals(draw(7), draw(7));
  assertNotEquals(draw(7), draw(8));
  const clock = new ManualClock();
  assertMatch(
    clock.uuid(),
    /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/,
  );
  for (let i = 0; i < 1_000; i++) {
    const drawn = clock.random();
    assert(drawn >= 0 && drawn < 1);
  }
});

for (const clock of [new RealClock(), new ManualClock()]) {
  Deno.test(`${clock.constructor.name}.sleep() rejects when its signal aborts`, async () => {
    const abort = new AbortController();
    const reason = new Error("enough");
    const sleeping = clock.sleep(60_000, { signal: abort.signal });
    abort.abort(reason);
    assertEquals(await sleeping.catch((error) => error), reason);
    assertEquals(await clock.sleep(1, { signal: abort.signal }).catch((error) => error), reason);
  });
}

Deno.test("RealClock goes on", async () => {
  const clock = new RealClock();
  const startedAt = clock.monotonic();
  await clock.sleep(5);
  assert(clock.monotonic() - startedAt >= 4);
  clock.timer("work", 0, () => assert(false, "cancelled timers stay silent")).cancel();
  await clock.sleep(2, { kind: "background" }).then(() => {});
  assertEquals(clock.bytes(8).length, 8);
  assertNotEquals(clock.uuid(), clock.uuid());
  // A month is more than the host's timers take at once.
  clock.timer("work", 31 * 86_400_000, () => assert(false)).cancel();
});

Deno.test("RealClock calls its timers in their order, however many were cancelled between them", async () => {
  const clock = new RealClock();
  const calls: string[] = [];
  clock.timer("work", 1, () => calls.push("first"));
  clock.timer("background", 0, () => assert(false, "cancelled timers stay silent")).cancel();
  const slept = clock.sleep(4).then(() => calls.push("slept"));
  for (let i = 0; i < 3_000; i++) {
    const timer = clock.timer("work", 3, () => calls.push("cancelled"));
    timer.cancel();
    timer.cancel();
  }
  await slept;
  assertEquals(calls, ["first", "slept"]);
});

Deno.test("RealClock.turn() lets the sockets be heard in the middle of long work", async () => {
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const accepted = listener.accept();
  const near = await Deno.connect({ hostname: "127.0.0.1", port: listener.addr.port });
  const far = await accepted;
  const clock = new RealClock();
  let heard = 0;
  const buffer = new Uint8Array(1);
  const listening = (async () => {
    for (let i = 0; i < 5; i++) {
      await far.read(buffer);
      heard++;
      await near.write(buffer);
    }
  })();
  await near.write(buffer);
  let turns = 0;
  for (; heard < 5 && turns < 200; turns++) {
    for (const since = performance.now(); performance.now() - since < 5;);
    await clock.turn();
  }
  await listening;
  for (const one of [near, far, listener]) one.close();
  // With the loop's own turns each of the five would have taken 61
  assert(turns < 100, `${turns} turns`);
});
