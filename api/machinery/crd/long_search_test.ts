import { assert, assertEquals } from "@std/assert";
import { RE2JS } from "re2js";
import { LongSearch, takesLong } from "./long_search.ts";

/** A small generator of repeatable numbers. */
function numbers(seed: number): (below: number) => number {
  return (below) => (seed = (seed * 48271) % 2147483647) % below;
}

const ATOMS = [
  "a",
  "b",
  ".",
  "[ab]",
  "[^a]",
  "\\w",
  "\\b",
  "\\B",
  "^",
  "$",
  "(?i:A)",
  "ä",
  "😀",
  "\\s",
  "\\n",
  "(?m:^)",
  "\\z",
];

function randomPattern(next: (below: number) => number, depth: number): string {
  const parts = Array.from({ length: 1 + next(3) }, () => {
    const inner = depth > 0 && next(3) === 0
      ? `(${randomPattern(next, depth - 1)})`
      : ATOMS[next(ATOMS.length)];
    return inner + ["", "", "*", "+", "?", "*?", "{1,3}", "+?"][next(8)];
  });
  return next(4) === 0 ? `${parts.join("")}|${ATOMS[next(ATOMS.length)]}` : parts.join("");
}

/** Every match of the engine's. */
function spansOf(pattern: RE2JS, text: string): [number, number][] {
  const matcher = pattern.matcher(text);
  const spans: [number, number][] = [];
  while (matcher.find()) spans.push([matcher.start(), matcher.end()]);
  return spans;
}

function searched(pattern: RE2JS, text: string, limit = Infinity): [number, number][] {
  const search = new LongSearch(pattern, text, { limit });
  while (!search.advance()) continue;
  return search.spans;
}

Deno.test("LongSearch finds what the engine finds, in random texts by random patterns", () => {
  const next = numbers(7);
  const letters = ["a", "b", "A", "ä", "😀", " ", "\n", "c", "_"];
  let tried = 0;
  for (let i = 0; i < 4000; i++) {
    const text = Array.from({ length: next(14) }, () => letters[next(letters.length)]).join("");
    const source = randomPattern(next, 2);
    let pattern: RE2JS;
    try {
      pattern = RE2JS.compile(source);
    } catch {
      continue; // no pattern: `^*` and the like
    }
    tried++;
    const said = `${JSON.stringify(source)} in ${JSON.stringify(text)}`;
    assertEquals(searched(pattern, text), spansOf(pattern, text), said);
    const test = new LongSearch(pattern, text, { limit: 1, testing: true });
    while (!test.advance()) continue;
    assertEquals(test.found, pattern.matcher(text).find(), said);
  }
  assert(tried > 3000, `${tried} patterns`);
});

Deno.test("LongSearch does a large search in many small pieces", () => {
  const next = numbers(11);
  const text = Array.from({ length: 20_000 }, () => "ab"[next(2)]).join("");
  const pattern = RE2JS.compile("[ab]*a[ab]{200}[cd]");
  assert(takesLong(pattern, text));
  assert(!takesLong(pattern, "abba"));
  const search = new LongSearch(pattern, text, { limit: 1, testing: true });
  let pieces = 1;
  while (!search.advance()) pieces++;
  assertEquals([search.found, search.spans], [false, []]);
  assert(pieces > 200, `${pieces} pieces`);
  const easy = new LongSearch(RE2JS.compile("(a{1,500})*c"), text, { limit: 1, testing: true });
  let few = 1;
  while (!easy.advance()) few++;
  assertEquals(easy.found, false);
  assert(few < 100, `${few} pieces`);
});
