import { assertEquals } from "@std/assert";
import { ManualClock } from "../../kv/mod.ts";
import {
  Arrivals,
  ARRIVING_BYTES_MAX,
  LARGE_BYTES,
  LARGE_BYTES_AT_ONCE,
  LARGE_BYTES_PER_S,
} from "./arrivals.ts";
import { BODY_BYTES_MAX, type Call } from "./http.ts";

/** A call whose body comes when it is told to; `asked`: somebody reads it. */
function sending(bytes: number) {
  const { promise, resolve, reject } = Promise.withResolvers<Uint8Array>();
  const made = {
    asked: false,
    come: () => resolve(new Uint8Array()),
    fail: () => reject(new Error("gone")),
    call: {
      expected: () => bytes,
      body() {
        made.asked = true;
        return promise;
      },
    } as unknown as Call,
  };
  return made;
}

Deno.test("Arrivals.wait() holds no more of one user's than is allowed, and nobody else's for it", async () => {
  const arrivals = new Arrivals(new ManualClock(), () => false);
  const size = ARRIVING_BYTES_MAX / 8;
  const many = Array.from({ length: 10 }, () => sending(size));
  const waits = many.map(({ call }) => arrivals.wait("flood", call));
  assertEquals(many.filter(({ asked }) => asked).length, 8);
  const other = sending(size);
  const waited = arrivals.wait("other", other.call);
  assertEquals(other.asked, true);
  other.come();
  await waited;
  many[0].come();
  many[1].fail();
  await Promise.all(waits.slice(0, 2));
  await Promise.resolve();
  assertEquals(many.filter(({ asked }) => asked).length, 10);
  for (const { come } of many) come();
  await Promise.all(waits);
  assertEquals(arrivals.senders, 0);
});

Deno.test("Arrivals.wait() does not wait where no body comes, or one that is refused", () => {
  const arrivals = new Arrivals(new ManualClock(), () => false);
  assertEquals(arrivals.wait("a", sending(0).call), undefined);
  assertEquals(arrivals.wait("a", sending(BODY_BYTES_MAX + 1).call), undefined);
  assertEquals(arrivals.wait("a", {} as Call), undefined);
});

Deno.test("Arrivals.wait() reads large bodies of one user at a measured rate while others ask", async () => {
  const clock = new ManualClock();
  let sharing = true;
  const arrivals = new Arrivals(clock, () => sharing);
  const size = LARGE_BYTES_AT_ONCE / 4;
  const send = async (user: string, bytes = size) => {
    const one = sending(bytes);
    one.come();
    const waited = arrivals.wait(user, one.call);
    const { asked } = one;
    if (asked) await waited;
    return { asked, waited, one };
  };
  for (let i = 0; i < 4; i++) assertEquals((await send("much")).asked, true);
  const fifth = await send("much");
  assertEquals(fifth.asked, false);
  assertEquals((await send("other")).asked, true);
  assertEquals((await send("much", LARGE_BYTES - 1)).asked, true);
  await clock.advance(size / LARGE_BYTES_PER_S * 1000 - 1);
  assertEquals(fifth.one.asked, false);
  await clock.advance(1);
  await fifth.waited;
  assertEquals(fifth.one.asked, true);
  sharing = false;
  for (let i = 0; i < 8; i++) assertEquals((await send("much")).asked, true);
  assertEquals(arrivals.senders, 0);
});
