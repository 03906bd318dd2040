import { assertEquals } from "@std/assert";
import { conditionOf } from "./objects.ts";

Deno.test("conditionOf() finds none where nobody has written any", () => {
  for (const status of [undefined, {}, { conditions: null }, { conditions: [] }]) {
    assertEquals(conditionOf(status, "Ready"), undefined);
  }
  const ready = { type: "Ready", status: "True" } as const;
  assertEquals(conditionOf({ conditions: [{ ...ready, type: "Other" }, ready] }, "Ready"), ready);
});
