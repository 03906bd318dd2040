import { assertEquals, assertRejects } from "@std/assert";
import { ManualClock } from "../../kv/mod.ts";
import { OutboundError } from "../client/outbound.ts";
import type { HostRequest } from "./listen.ts";
import { createOutbound } from "./outbound.ts";
import {
  CALLS_MAX,
  CALLS_MIN,
  UNREACHED_HELD_MS_MAX,
  UNREACHED_MS_MAX,
  UNREACHED_MS_MIN,
} from "./outbound_places.ts";

/** A way out to a machine that does what it is told, and counts. */
function setUp() {
  const clock = new ManualClock();
  const machine = { error: undefined as unknown, asked: 0, tookMs: 0 };
  const request: HostRequest = async (_, { signal }) => {
    machine.asked++;
    if (machine.tookMs) await clock.sleep(machine.tookMs, { signal });
    if (machine.error) return Promise.reject(machine.error);
    return Promise.resolve({ status: 200, headers: {}, body: pieces() });
  };
  const outbound = createOutbound({
    clock,
    request,
    view: () => {
      throw new Error("no Services here");
    },
    dial: () => Promise.reject(new Error("no connections here")),
  });
  const ask = (url = "https://198.51.100.1/hook", caBundle?: string, timeoutMs?: number) =>
    outbound.send({ url, caBundle }, { method: "POST", path: "", timeoutMs });
  return { clock, machine, ask };
}

/** Lets what waits for the event loop go on. */
async function turns(clock: ManualClock, count = 10): Promise<void> {
  for (let i = 0; i < count; i++) await clock.turn();
}

async function* pieces() {
  yield new Uint8Array([1]);
}

const REFUSED = Object.assign(new Error("refused"), { code: "ECONNREFUSED" });
const WORDS =
  'Post "https://198.51.100.1/hook": dial tcp 198.51.100.1:443: connect: connection refused';

const LATE_WORDS = 'Post "https://198.51.100.1/hook": context deadline exceeded';

Deno.test("Outbound: a place that could not be reached is not tried again at once, and said to be so", async () => {
  const { clock, machine, ask } = setUp();
  machine.error = REFUSED;
  for (let i = 0; i < 10; i++) await assertRejects(() => ask(), OutboundError, WORDS);
  assertEquals(machine.asked, 1);
  // Another place, and the same one trusted otherwise, are others
  await assertRejects(() => ask("https://198.51.100.2/hook"));
  await assertRejects(() => ask(undefined, "another"));
  assertEquals(machine.asked, 3);
  let waited = 0;
  for (let tries = 4; tries < 12; tries++) {
    while (machine.asked < tries) {
      await clock.advance(UNREACHED_MS_MIN);
      waited = Math.min(waited + UNREACHED_MS_MIN, 10 * UNREACHED_MS_MAX);
      await assertRejects(() => ask(), OutboundError, WORDS);
    }
  }
  machine.error = undefined;
  await clock.advance(UNREACHED_MS_MAX);
  assertEquals((await ask()).status, 200);
  assertEquals((await ask()).status, 200);
  assertEquals(machine.asked, 13);
  assertEquals(waited > 3 * UNREACHED_MS_MAX, true);
});

Deno.test("Outbound: who hears of it later hears it after as long as it took to find out, within bounds", async () => {
  const { clock, machine, ask } = setUp();
  machine.error = REFUSED;
  for (
    const [url, tookMs, heldMs] of [
      ["https://198.51.100.1/", 4, 4],
      ["https://198.51.100.2/", 1_000, UNREACHED_HELD_MS_MAX],
    ] as const
  ) {
    machine.tookMs = tookMs;
    const first = assertRejects(() => ask(url), OutboundError);
    await turns(clock);
    await clock.advance(tookMs);
    await first;
    const asked = machine.asked;
    let heard = false;
    const second = assertRejects(() => ask(url), OutboundError).then(() => heard = true);
    await clock.advance(heldMs - 1);
    assertEquals(heard, false);
    await clock.advance(1);
    await second;
    assertEquals(machine.asked, asked);
  }
});

Deno.test("Outbound: only what could not be reached counts, not who broke off or was slow to answer", async () => {
  const { machine, ask } = setUp();
  for (const error of [{ code: "ECONNRESET" }, { code: "ECONNRESET" }]) {
    machine.error = Object.assign(new Error("broken"), error);
    await assertRejects(() => ask(), OutboundError, "connection reset by peer");
  }
  assertEquals(machine.asked, 2);
  machine.error = Object.assign(new Error("aborted"), { unreached: true });
  for (let i = 0; i < 3; i++) await assertRejects(() => ask(), OutboundError, "deadline exceeded");
  assertEquals(machine.asked, 3);
});

Deno.test("Outbound: of many who ask for what cannot be reached one hears so in a turn, and nobody waits longer than that", async () => {
  const { clock, machine, ask } = setUp();
  machine.error = REFUSED;
  await assertRejects(() => ask(), OutboundError, WORDS);
  let heard = 0;
  const many = 2 * CALLS_MAX;
  const since = clock.monotonic();
  const all = Array.from({ length: many }, async () => {
    await assertRejects(() => ask(), OutboundError, WORDS);
    heard++;
  });
  for (let turn = 0, before = 0; heard < many; turn++, before = heard) {
    assertEquals(turn < 3 * many, true);
    await clock.turn();
    assertEquals(heard - before <= 1, true);
  }
  await Promise.all(all);
  assertEquals([machine.asked, clock.monotonic()], [1, since]);
});

Deno.test("Outbound: a place is asked by many at once, by few where it does not answer in time, and by many again where it does", async () => {
  const { clock, machine, ask } = setUp();
  const timeoutMs = 1_000;
  const slow = 10 * timeoutMs;
  /** Asks so often at once; how many of those are under way, and what comes of all. */
  const crowd = async (count: number) => {
    const before = machine.asked;
    const all = Promise.allSettled(
      Array.from({ length: count }, () => ask(undefined, undefined, timeoutMs)),
    );
    await turns(clock, 4 * CALLS_MAX);
    return { under: machine.asked - before, all };
  };
  const more = CALLS_MAX + 10;
  machine.tookMs = slow;
  const first = await crowd(more);
  assertEquals(first.under, CALLS_MAX);
  // Who waits for others does so in its own time
  await clock.advance(timeoutMs);
  for (const one of await first.all) {
    assertEquals(one.status === "rejected" && one.reason.message, LATE_WORDS);
  }
  const second = await crowd(more);
  assertEquals(second.under, CALLS_MIN);
  await clock.advance(timeoutMs);
  await second.all;
  machine.tookMs = 1;
  const third = await crowd(more);
  for (let i = 0; i < more; i++) {
    await clock.advance(1);
    await turns(clock);
  }
  assertEquals(new Set((await third.all).map(({ status }) => status)), new Set(["fulfilled"]));
  machine.tookMs = slow;
  const fourth = await crowd(more);
  assertEquals(fourth.under, CALLS_MAX);
  await clock.advance(timeoutMs);
  await fourth.all;
});
