import { assertEquals } from "@std/assert";
import { atOnce, inTurns, type Steps } from "./steps.ts";

function* count(to: number, seen: string[]): Steps<number> {
  for (let i = 1; i < to; i++) {
    seen.push(String(i));
    yield;
  }
  return to;
}

Deno.test("inTurns() lets others in whenever a slice is over, and runs each step inside what it is given", async () => {
  const seen: string[] = [];
  let now = 0;
  const clock = {
    monotonic: () => now,
    turn: () => {
      seen.push("turn");
      return Promise.resolve();
    },
  };
  const within = <R>(step: () => R): R => {
    now += 3;
    seen.push("(");
    const result = step();
    seen.push(")");
    return result;
  };
  assertEquals(await inTurns(count(4, seen), { clock, sliceMs: 4, within }), 4);
  assertEquals(seen.join(""), "(1)(2)turn(3)()");
});

Deno.test("atOnce() runs all steps", () => {
  assertEquals(atOnce(count(3, [])), 3);
});
