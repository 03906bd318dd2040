import { assertEquals } from "@std/assert";
import { beginAnew, newRecord, restartWithAll, unbegin } from "./container_record.ts";

const image = { name: "c", image: "i" };
const starting = (kind: "init" | "app", fields: object) =>
  Object.assign(newRecord(image, kind), { phase: "starting", ...fields });

Deno.test("unbegin() leaves a container as it was after its last end", () => {
  const first = starting("app", {}),
    again = starting("app", { restarts: 2, last: { exitCode: 3 } });
  for (const record of [first, again]) unbegin(record);
  assertEquals([first.phase, first.restarts, first.end], ["absent", 0, undefined]);
  assertEquals([again.phase, again.restarts, again.end], ["exited", 1, { exitCode: 3 }]);
});

Deno.test("unbegin() lets an init container that has to run anew not pass for one that has", () => {
  for (const renew of [beginAnew, restartWithAll]) {
    const record = starting("init", { phase: "exited", end: { exitCode: 0 } });
    renew(record);
    assertEquals(record.phase, "absent");
    record.phase = "starting";
    unbegin(record);
    assertEquals([record.phase, record.restarts, record.end], ["absent", 1, undefined]);
  }
});

Deno.test("restartWithAll() keeps the end that a container in its back-off has told", () => {
  const end = { exitCode: 2 };
  const record = Object.assign(newRecord(image, "app"), {
    id: "fake://1",
    phase: "exited",
    end,
    waiting: { reason: "CrashLoopBackOff" },
  });
  assertEquals(restartWithAll(record), "fake://1");
  assertEquals([record.last, record.id, record.waiting], [end, undefined, undefined]);
});
