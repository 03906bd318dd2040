import { assertEquals } from "@std/assert";
import { Arrivals, ARRIVING_BYTES_MAX } from "./arrivals.ts";
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
  const arrivals = new Arrivals();
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
  const arrivals = new Arrivals();
  assertEquals(arrivals.wait("a", sending(0).call), undefined);
  assertEquals(arrivals.wait("a", sending(BODY_BYTES_MAX + 1).call), undefined);
  assertEquals(arrivals.wait("a", {} as Call), undefined);
});
