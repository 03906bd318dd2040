/** What a map remembers that forgets. */
import { assertEquals } from "@std/assert";
import { Memory } from "./memory.ts";

Deno.test("memory: what was used last is known, what was not used for long is forgotten", () => {
  const memory = new Memory<number>(100);
  for (let i = 0; i < 1_000; i++) {
    memory.set(`${i}`, i);
    memory.get("0");
  }
  for (let i = 999; i > 950; i--) assertEquals(memory.get(`${i}`), i);
  assertEquals(memory.get("0"), 0, "it was asked for again and again");
  for (let i = 1; i < 900; i++) assertEquals(memory.get(`${i}`), undefined);
  memory.set("999", -1);
  assertEquals(memory.get("999"), -1, "the last value counts");
});
