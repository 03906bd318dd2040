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

Deno.test("the compactor looks for work only while more revisions are superseded than are kept", async () => {
  const clock = new ManualClock();
  let head = 0;
  const compactor = new Compactor({
    log: new Log({ kv: new MemoryKv().open(), space: "o", codec }),
    clock,
    bytesMax: 1e9,
    keepRevisions: 10,
    host: {
      revision: () => head,
      preparedChunks: () => [],
      trimmed: () => {},
      betweenGroups: () => Promise.resolve(),
    },
  });
  compactor.start();
  const idleAt = clock.nextAt();
  const write = () => {
    head++;
    compactor.timeline.mark(head, clock.now());
    if (head > 1) compactor.superseded(head - 1, head, 100);
  };
  for (let i = 0; i < 11; i++) write();
  assertEquals(clock.nextAt(), idleAt, "ten revisions are kept whatever their age");
  write();
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
