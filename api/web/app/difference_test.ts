import { assertEquals } from "@std/assert";
import { differenceOf } from "./difference.ts";

const lines = (text: string) => text.split(" ").join("\n");
const shown = (before: string, after: string) =>
  differenceOf(lines(before), lines(after)).map((line) =>
    line.sign === "…" ? `…${line.count}` : `${line.sign}${line.text}`
  ).join(" ");

Deno.test("differenceOf() tells what was taken away and added", () => {
  assertEquals(shown("a b c", "a b c"), "…3");
  assertEquals(shown("a b c", "a x c"), " a -b +x  c");
  assertEquals(shown("a b", "a b c"), " a  b +c");
  assertEquals(shown("a b c d", "b c x"), "-a  b  c -d +x");
  assertEquals(shown("a", "b"), "-a +b");
});

Deno.test("differenceOf() leaves out what is far from any change", () => {
  assertEquals(shown("1 2 3 4 5 6 7 8 9 z", "1 2 3 4 5 6 7 8 9 y"), "…6  7  8  9 -z +y");
});

Deno.test("differenceOf() of long texts with nothing in common is one piece after the other", () => {
  const many = (word: string) => Array.from({ length: 3_000 }, (_, i) => `${word}${i}`).join("\n");
  const found = differenceOf(many("a"), many("b"));
  assertEquals(found.length, 6_000);
  assertEquals([found[0].sign, found[5_999].sign], ["-", "+"]);
});
