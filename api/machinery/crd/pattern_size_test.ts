import { assert, assertEquals, assertThrows } from "@std/assert";
import { loadCrdEngine } from "./mod.ts";
import { patternSize } from "./pattern_size.ts";
import { compilePattern, PATTERN_SIZE_MAX, patternProblem } from "./regexp.ts";

await loadCrdEngine();

Deno.test("patternSize() says about how many instructions a pattern becomes", () => {
  const patterns = [
    "^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$",
    "x{1000}".repeat(10),
    "(ab{2,20}c){30}",
    "[]a{9}]{100}[[:alpha:]{2}]{3}",
    "\\p{Greek}{50}(a|b|c){10,40}|d+?",
    "[^\\]]{200}\\{3}",
    "a{,5}b{x}c{2,}",
  ];
  for (const text of patterns) {
    const { length } = (compilePattern(text) as unknown as {
      re2Input: { prog: { inst: unknown[] } };
    }).re2Input.prog.inst;
    const size = patternSize(text, Infinity);
    assert(size >= 0.6 * length - 5 && size <= 4 * length + 5, `${text}: ${size}, not ${length}`);
  }
});

Deno.test("a pattern that would take gigabytes is refused before it is compiled", () => {
  const bomb = "x{1000}".repeat(5000);
  assertThrows(() => compilePattern(bomb), Error, "expression too large");
  assertEquals(patternProblem(bomb), "error parsing regexp: expression too large");
  assertEquals(patternProblem("x{1000}".repeat(PATTERN_SIZE_MAX / 1000 - 1)), undefined);
});
