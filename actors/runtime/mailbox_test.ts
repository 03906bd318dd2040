import { assertEquals } from "@std/assert";
import { ToldClock, turn } from "./fakes_test.ts";
import { Mailbox, type MailboxOptions } from "./mailbox.ts";
import { type Outcome, TerminalError } from "./contract.ts";
import { OWN_REVISIONS_MAX } from "./limits.ts";
import { OwnRevisions, telling } from "./waking.ts";

function box(options: Partial<MailboxOptions> & Pick<MailboxOptions, "handle">) {
  const clock = new ToldClock();
  const failures: { key: string; retryMs?: number }[] = [];
  let overflows = 0;
  const mailbox = new Mailbox({
    clock,
    failed: (key, _error, retryMs) => failures.push({ key, retryMs }),
    overflowed: () => {
      overflows++;
      return [][Symbol.iterator]();
    },
    ...options,
  });
  return { clock, mailbox, failures, overflows: () => overflows };
}

/** A handler whose runs end when told. */
function gated() {
  const seen: string[] = [];
  const ends: (() => void)[] = [];
  return {
    seen,
    end: async () => {
      ends.shift()?.();
      await turn();
    },
    handle: (key: string) => {
      seen.push(key);
      return new Promise<void>((resolve) => ends.push(resolve));
    },
  };
}

Deno.test("mailbox: one-at-a-time and merged, for one key", async () => {
  const gate = gated();
  const { mailbox } = box({ handle: gate.handle, workers: 4 });
  mailbox.open();
  for (let i = 0; i < 5; i++) mailbox.send("a");
  await turn();
  assertEquals(gate.seen, ["a"]);
  for (let i = 0; i < 5; i++) mailbox.send("a");
  await turn();
  assertEquals(gate.seen, ["a"]);
  await gate.end();
  assertEquals(gate.seen, ["a", "a"]);
  await gate.end();
  assertEquals(gate.seen, ["a", "a"]);
  assertEquals(mailbox.running + mailbox.waiting, 0);
});

Deno.test("mailbox: several workers handle different keys at once, in order of arrival", async () => {
  const gate = gated();
  const { mailbox } = box({ handle: gate.handle, workers: 2 });
  for (const key of ["a", "b", "c", "a"]) mailbox.send(key);
  await turn();
  assertEquals(gate.seen, [], "closed until opened");
  mailbox.open();
  await turn();
  assertEquals(gate.seen, ["a", "b"]);
  await gate.end();
  assertEquals(gate.seen, ["a", "b", "c"]);
});

Deno.test("mailbox: retried after a growing delay; success forgets the delay", async () => {
  let failing = 3;
  const at: number[] = [];
  const { mailbox, clock, failures } = box({
    handle: () => {
      at.push(clock.monotonic());
      if (failing-- > 0) throw new Error("not yet");
    },
  });
  mailbox.open();
  mailbox.send("a");
  await clock.advance(1000);
  assertEquals(at.map((t) => t - at[0]), [0, 5, 15, 35]);
  assertEquals(failures.map((f) => f.retryMs), [5, 10, 20]);
  failing = 1;
  mailbox.send("a");
  await clock.advance(1000);
  assertEquals(failures.at(-1)?.retryMs, 5);
});

Deno.test("mailbox: the retry delay stops growing at its maximum", async () => {
  const { mailbox, clock, failures } = box({
    handle: () => Promise.reject(new Error("never")),
    backoffMsMin: 100,
    backoffMsMax: 350,
  });
  mailbox.open();
  mailbox.send("a");
  await clock.advance(1_100);
  assertEquals(failures.map((f) => f.retryMs), [100, 200, 350, 350, 350]);
});

Deno.test("mailbox: terminal errors are not retried until something names the key again", async () => {
  let handled = 0;
  const { mailbox, clock, failures } = box({
    handle: () => {
      handled++;
      throw new TerminalError("no use");
    },
  });
  mailbox.open();
  mailbox.send("a");
  await clock.advance(10_000);
  assertEquals([handled, failures], [1, [{ key: "a", retryMs: undefined }]]);
  mailbox.send("a");
  await turn();
  assertEquals(handled, 2);
});

Deno.test("mailbox: come-back brings the key once, unless an earlier message does", async () => {
  const at: number[] = [];
  const outcomes: ({ afterMs: number } | undefined)[] = [{ afterMs: 100 }, undefined];
  const { mailbox, clock } = box({
    handle: () => {
      at.push(clock.monotonic());
      return outcomes.shift();
    },
  });
  const began = clock.monotonic();
  mailbox.open();
  mailbox.send("a");
  await clock.advance(1000);
  assertEquals(at.map((t) => t - began), [0, 100]);
  outcomes.push({ afterMs: 500 }, undefined);
  mailbox.send("a");
  await clock.advance(200);
  mailbox.send("a");
  await clock.advance(2000);
  assertEquals(at.length, 4, "the wake-up was voided by the message before it");
});

Deno.test("mailbox: of several delayed sends of one key the earliest holds", async () => {
  let handled = 0;
  const { mailbox, clock } = box({ handle: () => void handled++ });
  mailbox.open();
  mailbox.send("a", 300);
  mailbox.send("a", 100);
  mailbox.send("a", 200);
  assertEquals(mailbox.delayed, 1);
  await clock.advance(99);
  assertEquals(handled, 0);
  await clock.advance(1);
  assertEquals(handled, 1);
  await clock.advance(1000);
  assertEquals(handled, 1);
});

Deno.test("mailbox: bounded: beyond keysMax mail is dropped, and it is told when there is room", async () => {
  const gate = gated();
  const { mailbox, overflows } = box({ handle: gate.handle, keysMax: 4 });
  mailbox.open();
  mailbox.send("first");
  await turn();
  for (let i = 0; i < 10; i++) mailbox.send(`k${i}`);
  assertEquals(mailbox.waiting, 4);
  assertEquals(overflows(), 0);
  for (let i = 0; i < 5; i++) await gate.end();
  assertEquals(overflows(), 1);
  assertEquals(gate.seen, ["first", "k0", "k1", "k2", "k3"]);
});

Deno.test("mailbox: close forgets what waits and resolves when the running handler ended", async () => {
  const gate = gated();
  const { mailbox, clock } = box({ handle: gate.handle });
  mailbox.open();
  mailbox.send("a");
  mailbox.send("b");
  mailbox.send("c", 50);
  await turn();
  let closed = false;
  const closing = mailbox.close().then(() => void (closed = true));
  await turn();
  assertEquals(closed, false);
  await gate.end();
  await closing;
  await clock.advance(1000);
  assertEquals(gate.seen, ["a"]);
  assertEquals(clock.nextAt(), undefined);
});

Deno.test("mailbox: because: merged keys keep the newest revision, retries and come-backs theirs, timers none", async () => {
  const seen: string[] = [];
  let next: () => Outcome = () => {};
  const { mailbox, clock } = box({
    handle: (key, because) => {
      seen.push(`${key} ${because}`);
      return next();
    },
    backoffMsMin: 10,
  });
  const send = (because: number, delayMs?: number) =>
    telling(because, () => mailbox.send("a", delayMs));
  send(7);
  send(9);
  send(8);
  mailbox.send("b");
  mailbox.open();
  await turn();
  assertEquals(seen.splice(0), ["a 9", "b 0"]);
  // Handled: what wakes it of itself begins anew
  mailbox.send("a");
  await turn();
  assertEquals(seen.splice(0), ["a 0"]);
  next = () => {
    throw new Error("no");
  };
  send(11);
  await turn();
  next = () => ({ afterMs: 1000 });
  await clock.advance(10);
  next = () => {};
  await clock.advance(1000);
  assertEquals(seen.splice(0), ["a 11", "a 11", "a 11"]);
  // A gathered event is remembered until its time, and a newer one is not forgotten for it
  send(12, 500);
  send(13, 500);
  await clock.advance(500);
  assertEquals(seen.splice(0), ["a 13"]);
});

Deno.test("mailbox: because: a key that came again while it was handled has what came, and no more is kept than keys", async () => {
  const gate = gated();
  const because: number[] = [];
  const { mailbox } = box({
    handle: (key, revision) => {
      because.push(revision);
      return gate.handle(key);
    },
    keysMax: 2,
  });
  mailbox.open();
  telling(1, () => mailbox.send("a"));
  await turn();
  telling(2, () => mailbox.send("a"));
  await gate.end();
  assertEquals(because, [1, 2]);
  for (let i = 0; i < 9; i++) telling(10 + i, () => mailbox.send(`k${i}`));
  for (let i = 0; i < 4; i++) await gate.end();
  assertEquals(because, [1, 2, 10, 11]);
});

Deno.test("mailbox: because: what others wrote is the reason, and an actor's own writes only where nothing else is", async () => {
  const own = new OwnRevisions();
  for (const revision of [8, 9]) own.add(revision);
  const reasonOf = async (...revisions: number[]) => {
    const seen: number[] = [];
    const { mailbox } = box({ handle: (_key, because) => void seen.push(because) });
    for (const one of revisions) telling(own.reasonOf(one), () => mailbox.send("a"));
    mailbox.open();
    await turn();
    return seen;
  };
  assertEquals(await reasonOf(7, 9), [7]);
  assertEquals(await reasonOf(9, 8), [9]);
  assertEquals(await reasonOf(8, 5, 6, 9), [6]);
  for (let revision = 10; revision < 10 + OWN_REVISIONS_MAX; revision++) own.add(revision);
  assertEquals([own.reasonOf(9), own.reasonOf(10)], [9, -10]);
});

Deno.test("mailbox: paused: keys are held and merged, step lets exactly one through, resume all", async () => {
  const seen: string[] = [];
  const { mailbox, clock } = box({ handle: (key) => void seen.push(key), workers: 4 });
  mailbox.open();
  mailbox.pause();
  for (const key of ["a", "b", "a", "c", "d"]) mailbox.send(key);
  mailbox.send("later", 100);
  await clock.advance(1000);
  assertEquals([seen, mailbox.waiting, mailbox.paused, mailbox.busy], [[], 5, true, false]);
  assertEquals(mailbox.step(), true);
  assertEquals(mailbox.busy, true);
  await turn();
  assertEquals([seen, mailbox.waiting, mailbox.busy], [["a"], 4, false]);
  mailbox.step();
  mailbox.step();
  await turn();
  assertEquals([seen, mailbox.paused], [["a", "b", "c"], true]);
  mailbox.resume();
  await turn();
  assertEquals([seen, mailbox.paused, mailbox.busy], [["a", "b", "c", "d", "later"], false, false]);
  assertEquals(mailbox.step(), false, "one that is not paused has no steps");
});

Deno.test("mailbox: paused: what runs ends, a step waits for a free worker, and without keys there is none", async () => {
  const gate = gated();
  const { mailbox } = box({ handle: gate.handle });
  mailbox.open();
  mailbox.send("a");
  await turn();
  mailbox.pause();
  assertEquals(mailbox.step(), false);
  mailbox.send("b");
  mailbox.send("c");
  assertEquals([mailbox.step(), mailbox.running], [true, 1]);
  await gate.end();
  assertEquals(gate.seen, ["a", "b"]);
  await gate.end();
  assertEquals([gate.seen, mailbox.waiting], [["a", "b"], 1]);
  mailbox.step();
  await gate.end();
  mailbox.send("d");
  await turn();
  assertEquals(gate.seen, ["a", "b", "c"]);
  await gate.end();
  await mailbox.close();
});

Deno.test("mailbox: observed: each handling is told with its times and its end, to whoever observes then", async () => {
  const told: unknown[] = [];
  let observes = true;
  let next: () => Outcome = () => {};
  const { mailbox, clock } = box({
    handle: () => next(),
    observer: () => observes ? (message) => void told.push(message) : undefined,
    backoffMsMin: 10,
  });
  telling(7, () => mailbox.send("a"));
  await clock.advance(30);
  mailbox.open();
  await turn();
  const times = { waitedMs: 0, workedMs: 0 };
  assertEquals(told.splice(0), [
    { key: "a", because: 7, waitedMs: 30, workedMs: 0, outcome: "done", afterMs: undefined },
  ]);
  next = () => ({ afterMs: 1000 });
  mailbox.send("b");
  await turn();
  next = () => {
    throw new Error("no");
  };
  mailbox.send("c");
  await turn();
  next = () => {
    throw new TerminalError("never");
  };
  mailbox.send("d");
  await turn();
  assertEquals(told.splice(0), [
    { key: "b", ...times, outcome: "later", afterMs: 1000 },
    { key: "c", ...times, outcome: "failed", afterMs: 10 },
    { key: "d", ...times, outcome: "gaveUp", afterMs: undefined },
  ]);
  observes = false;
  mailbox.send("e");
  await turn();
  assertEquals(told, []);
  await mailbox.close();
});
