import { assertEquals, assertRejects } from "@std/assert";
import { ManualClock } from "../../kv/mod.ts";
import { OutboundError } from "../client/outbound.ts";
import type { HostRequest } from "./listen.ts";
import {
  createOutbound,
  UNREACHED_HELD_MS_MAX,
  UNREACHED_MS_MAX,
  UNREACHED_MS_MIN,
} from "./outbound.ts";

/** A way out to a machine that does what it is told, and counts. */
function setUp() {
  const clock = new ManualClock();
  const machine = { error: undefined as unknown, asked: 0, tookMs: 0 };
  const request: HostRequest = async () => {
    machine.asked++;
    if (machine.tookMs) await clock.sleep(machine.tookMs);
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
  const ask = (url = "https://198.51.100.1/hook", caBundle?: string) =>
    outbound.send({ url, caBundle }, { method: "POST", path: "" });
  return { clock, machine, ask };
}

async function* pieces() {
  yield new Uint8Array([1]);
}

const REFUSED = Object.assign(new Error("refused"), { code: "ECONNREFUSED" });
const WORDS =
  'Post "https://198.51.100.1/hook": dial tcp 198.51.100.1:443: connect: connection refused';

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
