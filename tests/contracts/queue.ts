/** The queue's contract as a suite, for both transports. */

import { assert, assertEquals, assertThrows } from "@std/assert";
import {
  ClosedError,
  type Database,
  type DatabaseOptions,
  limits,
  type Mail,
  type ManualClock,
} from "../../kv/mod.ts";
import { type Thing, within } from "./store.ts";

/** A place where databases with a queue are opened: each `open` opens the same one. */
export interface QueueBench {
  open(options?: Partial<DatabaseOptions<Thing>>): Promise<Database<Thing>>;
  /** The clock, if it moves only when told. */
  readonly clock?: ManualClock;
  readonly durable: boolean;
  dispose(): Promise<void>;
}

/** Registers the suite. `skips`: case name to reason. */
export function queueContract(
  name: string,
  make: () => Promise<QueueBench>,
  skips: Record<string, string> = {},
): void {
  for (const [caseName, run] of Object.entries(CASES)) {
    Deno.test({
      name: `queue contract, ${name}: ${caseName}`,
      ignore: skips[caseName] !== undefined,
      fn: async () => {
        const bench = await make();
        try {
          await run(bench);
        } finally {
          await bench.dispose();
        }
      },
    });
  }
}

/** Collects mail and tells when there is enough. */
class Inbox {
  readonly mails: string[] = [];
  #waiting: { count: number; resolve: () => void } | undefined;

  take(mail: Mail): void {
    this.mails.push(`${mail.to} ${mail.key}`);
    if (this.#waiting && this.mails.length >= this.#waiting.count) this.#waiting.resolve();
  }

  /** Waits until `count` came, moving a manual clock on meanwhile. */
  async filled(count: number, clock?: ManualClock): Promise<string[]> {
    if (this.mails.length < count) {
      const { promise, resolve } = Promise.withResolvers<void>();
      this.#waiting = { count, resolve };
      await within(clock === undefined ? promise : moving(promise, clock), 30_000);
    }
    return this.mails.toSorted();
  }
}

/** Moves a manual clock from due time to due time while something is awaited. */
async function moving(promise: Promise<void>, clock: ManualClock): Promise<void> {
  let isDone = false;
  promise.then(() => isDone = true);
  while (!isDone) {
    await new Promise((resolve) => setTimeout(resolve, 1));
    const dueAt = clock.nextWorkAt();
    if (!isDone && dueAt !== undefined) await clock.advance(Math.max(0, dueAt - clock.now()));
  }
}

const CASES: Record<string, (bench: QueueBench) => Promise<void>> = {
  "what is sent is delivered": async (bench) => {
    const database = await bench.open();
    const inbox = new Inbox();
    database.queue.listen((mail) => inbox.take(mail));
    const sends = Array.from(
      { length: 50 },
      (_, i) => database.queue.send({ to: "a", key: `${i}` }),
    );
    await Promise.all(sends);
    assertEquals(
      new Set(await inbox.filled(50)),
      new Set(sends.map((_, i) => `a ${i}`)),
    );
    await database.close();
  },

  "mail of a write comes if and only if the write does": async (bench) => {
    const database = await bench.open();
    const inbox = new Inbox();
    database.queue.listen((mail) => inbox.take(mail));
    await database.objects.write((draft) => {
      draft.put("/a/1", { name: "1" });
      draft.mail({ to: "controller/a", key: "1" });
    });
    await database.objects.write((draft) => {
      draft.mail({ to: "controller/a", key: "refused" });
      throw new Error("no");
    }).catch(() => {});
    await database.objects.write((draft) => draft.mail({ to: "controller/a", key: "alone" }));
    await database.events.write((draft) => {
      draft.put("/e/1", { name: "1" });
      draft.mail({ to: "controller/e", key: "1" });
    });
    const expected = ["controller/a 1", "controller/a alone", "controller/e 1"];
    assertEquals(await inbox.filled(3), expected);
    await database.close();
  },

  "mail sent before there was a listener waits for it": async (bench) => {
    const database = await bench.open();
    await database.queue.send({ to: "a", key: "early" });
    const inbox = new Inbox();
    database.queue.listen((mail) => inbox.take(mail));
    assertEquals(await inbox.filled(1), ["a early"]);
    await database.close();
  },

  "mail survives a restart": async (bench) => {
    if (!bench.durable) return;
    const first = await bench.open();
    await first.queue.send({ to: "a", key: "now" });
    await first.queue.send({ to: "a", key: "later", delayMs: 300 });
    await first.close();
    const second = await bench.open();
    const inbox = new Inbox();
    second.queue.listen((mail) => inbox.take(mail));
    assertEquals(await inbox.filled(2, bench.clock), ["a later", "a now"]);
    await second.close();
  },

  "delayed mail does not come early": async (bench) => {
    const database = await bench.open();
    const clock = bench.clock ?? { now: () => Date.now() };
    const inbox = new Inbox();
    const at = new Map<string, number>();
    database.queue.listen((mail) => {
      at.set(mail.key, clock.now());
      inbox.take(mail);
    });
    const startMs = clock.now();
    await database.queue.send({ to: "a", key: "late", delayMs: 250 });
    await database.objects.write((draft) => draft.mail({ to: "a", key: "later", delayMs: 400 }));
    await database.queue.send({ to: "a", key: "now" });
    // Time is moved only after what is due at once has come.
    await inbox.filled(1);
    await inbox.filled(3, bench.clock);
    assert(at.get("now")! - startMs < 250);
    assert(at.get("late")! - startMs >= 250);
    assert(at.get("later")! - startMs >= 400);
    await database.close();
  },

  "a handler that throws gets its mail again": async (bench) => {
    const database = await bench.open();
    const inbox = new Inbox();
    let failures = 2;
    database.queue.listen((mail) => {
      if (mail.key === "hard" && failures-- > 0) throw new Error("not now");
      inbox.take(mail);
    });
    await database.queue.send({ to: "a", key: "hard" });
    await database.queue.send({ to: "a", key: "easy" });
    assertEquals(await inbox.filled(2, bench.clock), ["a easy", "a hard"]);
    assertEquals(await database.queue.undelivered(), []);
    await database.close();
  },

  "mail that fails to the end is kept, newest last, and not too much of it": async (bench) => {
    const { clock } = bench;
    // A real clock would need two minutes for the whole schedule.
    if (clock === undefined) return;
    const database = await bench.open();
    const tries = new Map<string, number>();
    database.queue.listen((mail) => {
      tries.set(mail.key, (tries.get(mail.key) ?? 0) + 1);
      throw new Error("never");
    });
    await database.queue.send({ to: "a", key: "first" });
    await clock.advance(1);
    await database.queue.send({ to: "a", key: "second" });
    const kept = async () => {
      while ((await database.queue.undelivered()).length < 2) {
        await new Promise((resolve) => setTimeout(resolve, 1));
      }
      return await database.queue.undelivered();
    };
    const keeping = kept();
    await moving(keeping.then(() => {}), clock);
    assertEquals(await within(keeping), [{ to: "a", key: "first" }, { to: "a", key: "second" }]);
    assertEquals(tries.get("first"), limits.MAIL_BACKOFF_MS.length + 1);
    await database.close();
  },

  "one listener, and none after the end": async (bench) => {
    const database = await bench.open();
    const { queue } = database;
    queue.listen(() => {});
    assertThrows(() => queue.listen(() => {}), TypeError, "one listener");
    await database.close();
    let refused: unknown;
    await queue.send({ to: "a", key: "x" }).catch((error) => refused = error);
    assert(refused instanceof ClosedError);
  },

  "bad mail is refused": async (bench) => {
    const database = await bench.open();
    const bad: Mail[] = [
      { to: "", key: "x" },
      { to: "a", key: "x".repeat(limits.MAIL_BYTES_MAX) },
      { to: "a", key: "x", delayMs: -1 },
      { to: "a", key: "x", delayMs: Infinity },
    ];
    for (const mail of bad) {
      const results = await Promise.allSettled([
        database.queue.send(mail),
        database.objects.write((draft) => draft.mail(mail)),
      ]);
      assertEquals(results.map(({ status }) => status), ["rejected", "rejected"]);
    }
    await database.close();
  },
};
