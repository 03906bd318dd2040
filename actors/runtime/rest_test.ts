import { assertEquals, assertRejects } from "@std/assert";
import { ManualClock } from "../../kv/clock.ts";
import { KEYS_A_TURN_MAX } from "./limits.ts";
import { Mailbox, type MailboxOptions } from "./mailbox.ts";
import { MESSAGES_AT_ONCE_MAX, settled } from "./rest.ts";

function place(handle: MailboxOptions["handle"]) {
  const clock = new ManualClock();
  const mailbox = new Mailbox({
    clock,
    handle,
    failed: () => {},
    overflowed: () => [][Symbol.iterator](),
  });
  mailbox.open();
  const busy = () => mailbox.waiting + mailbox.running > 0 ? ["controller/loops"] : [];
  return { clock, mailbox, busy, handled: () => mailbox.handled };
}

Deno.test("settled() rejects with who is busy, when somebody goes on and on at one time", async () => {
  const { clock, mailbox, ...rest } = place(() => Promise.resolve({ afterMs: 0 }));
  mailbox.send("a");
  await assertRejects(
    () => settled(clock, { within: 1000, ...rest }),
    Error,
    "Still busy: controller/loops",
  );
  const over = mailbox.handled - MESSAGES_AT_ONCE_MAX;
  assertEquals(over > 0 && over < 10 * KEYS_A_TURN_MAX, true, `${mailbox.handled} were handled`);
  await mailbox.close();
});

Deno.test("settled() goes on to work that is due, or to everything and to the end", async () => {
  for (const [allTimers, seen] of [[false, [10]], [true, [10, 20]]] as const) {
    const { clock, mailbox, ...rest } = place(() => {});
    const began = clock.now();
    const times: number[] = [];
    clock.timer("work", 10, () => times.push(clock.now() - began));
    clock.timer("background", 20, () => times.push(clock.now() - began));
    clock.timer("work", 2_000, () => times.push(clock.now() - began));
    await settled(clock, { within: 1000, allTimers, ...rest });
    assertEquals(times, [...seen]);
    assertEquals(clock.now() - began, allTimers ? 1000 : 10);
    await mailbox.close();
  }
});
