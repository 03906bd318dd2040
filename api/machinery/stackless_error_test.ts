import { assertEquals } from "@std/assert";
import { StacklessError } from "./stackless_error.ts";

Deno.test("StacklessError says what is wrong, not where; other errors still say both", () => {
  const error = new StacklessError("no answer");
  assertEquals([error.message, error.stack], ["no answer", "Error: no answer"]);
  assertEquals(new Error("bug").stack?.includes("stackless_error_test.ts"), true);
});
