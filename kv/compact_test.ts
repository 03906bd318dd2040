import { assert, assertEquals } from "@std/assert";
import { ManualClock } from "./clock.ts";
import { Compactor, Timeline } from "./compact.ts";
import { Log } from "./log.ts";
import { COMPACT_EVERY_MS, KEEP_MS } from "./limits.ts";
import { MemoryKv } from "./memory_kv.ts";

const codec = {
  encode: () => new Uint8Array(),
  decode: () => ({}),
  stamp: (value: object) => value,
};

/** Lets chains of promises end. */
async function rest(): Promise<void> {
  for (let i = 0; i < 100; i++) await undefined;
}

function compactorOf(clock: ManualClock, head: { revision: number }, keepRevisions: number) {
  return new Compactor({
    log: new Log({ kv: new MemoryKv().open(), space: "o", codec }),
    clock,
    bytesMax: 1e9,
    keepRevisions,
    host: {
      revision: () => head.revision,
      preparedChunks: () => [],
      trimmed: () => {},
      betweenGroups: () => Promise.resolve(),
    },
  });
}

/** Changes one object so often. */
function writeTo(
  compactor: Compactor<object>,
  { head, clock, count }: { head: { revision: number }; clock: ManualClock; count: number },
): void {
  for (let i = 0; i < count; i++) {
    const before = head.revision++;
    compactor.timeline.mark(head.revision, clock.now());
    if (before > 0) compactor.superseded(before, head.revision, 100);
  }
}

Deno.test("the compactor looks for work only while more revisions are superseded than are kept", async () => {
  const clock = new ManualClock();
  const head = { revision: 0 };
  const compactor = compactorOf(clock, head, 10);
  compactor.start();
  const idleAt = clock.nextAt();
  const write = (count: number) => writeTo(compactor, { head, clock, count });
  write(11);
  assertEquals(clock.nextAt(), idleAt, "ten revisions are kept whatever their age");
  write(1);
  assertEquals(clock.nextAt(), clock.now() + COMPACT_EVERY_MS);
  await clock.advance(KEEP_MS - COMPACT_EVERY_MS);
  await rest();
  assertEquals(compactor.oldest, 0, "they are not old enough");
  await clock.advance(2 * COMPACT_EVERY_MS);
  await rest();
  assertEquals(compactor.oldest, 2);
  assert(clock.nextAt()! > clock.now() + COMPACT_EVERY_MS, "an idle store has no ticks");
  await compactor.close();
  assertEquals(clock.nextAt(), undefined);
});

Deno.test("the compactor waits until there is something for a commit to delete", async () => {
  const clock = new ManualClock();
  const head = { revision: 0 };
  const compactor = compactorOf(clock, head, 400);
  compactor.start();
  const write = (count: number) => writeTo(compactor, { head, clock, count });
  write(420);
  await clock.advance(2 * KEEP_MS);
  await rest();
  assertEquals(compactor.oldest, 0, "nineteen are let lie");
  write(1);
  await clock.advance(KEEP_MS + 2 * COMPACT_EVERY_MS);
  await rest();
  assertEquals(compactor.oldest, 21, "a twentieth of what is kept is not");
  await compactor.close();
});

Deno.test("Timeline.timeAfter() is the first time at which revisionAt() says more", () => {
  const clock = new ManualClock({ seed: 5 });
  for (let round = 0; round < 50; round++) {
    const timeline = new Timeline();
    let [head, time] = [0, 1_000];
    for (let i = 0; i < 12; i++) {
      time += Math.floor(clock.random() * 1_800);
      timeline.mark(head + 1, time);
      head += 1 + Math.floor(clock.random() * 3);
    }
    for (let revision = 0; revision < head; revision++) {
      let first = 0;
      while (timeline.revisionAt(first, head) <= revision) first++;
      assertEquals(timeline.timeAfter(revision, head), first);
    }
    assertEquals(timeline.timeAfter(head, head), undefined);
  }
});
