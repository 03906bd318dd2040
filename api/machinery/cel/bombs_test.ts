import { assert, assertThrows } from "@std/assert";
import { loadCrdEngine } from "../crd/mod.ts";
import { rootSchema } from "../crd/json_schema.ts";
import type { Json } from "../types.ts";
import { CelError, CompileError, compileExpression, CostError, judgeRules } from "./mod.ts";

await loadCrdEngine();

/** Far more than any takes: what is caught here took seconds. */
const LONGEST_MS = 2500;

const numbers = Array.from({ length: 100_000 }, (_, i) => i);
const texts = Array.from({ length: 20_000 }, (_, i) => `string number ${i}`);
const objects = Array.from({ length: 5000 }, (_, i) => ({ name: `n${i}`, labels: { a: "b" } }));
let deep: Json = 1;
for (let i = 0; i < 3000; i++) deep = [deep];
const VALUES = { l: numbers, s: texts, o: objects, b: "a".repeat(1_000_000), d: deep };
const SPECS = Object.fromEntries(Object.keys(VALUES).map((name) => [name, {}]));

Deno.test("no expression holds the event loop", () => {
  const bombs = [
    "l.all(x, l.all(y, x != y + 1000000))",
    "l.all(x, x / 0 == 1)",
    "l.map(x, x.foo).size() == 0",
    "l.all(x, size(l + l) > 0)",
    "l.all(x, [l] == [l])",
    "o.all(x, [o] == [o.map(y, y)])",
    "sets.equivalent(o, o)",
    "o.distinct().size()",
    "o.sortBy(x, x.name).size()",
    "b.matches('^(a+)+$')",
    "b.matches('(a|aa)*(b|bb)*(c|cc)*x')",
    "'aaaa'.matches('((a{0,100}){0,10})')",
    "s.all(x, x.matches('^s.*' + x + '$'))",
    "b.findAll('a').size()",
    "b.replace('', b).size()",
    "b.split('').size()",
    "l.map(x, b).join().size()",
    "'%s'.format([o])",
    "l.all(x, l.all(y, (b + b).size() > 0))",
    "s.all(x, b.contains(x))",
    "l.all(x, b.upperAscii() == b)",
    "lists.range(1000000).map(x, lists.range(1000)).size()",
    "l.map(x, l).flatten().size()",
    "d == [d]",
    "l.all(x, timestamp(x).getHours('Europe/Berlin') >= 0)",
    "l.all(x, quantity(string(x)).isInteger())",
    "l.all(x, url('https://a.b/' + string(x)).getHost() == 'a.b')",
    "l.all(x, x in l)",
    "l.all(x, bytes(b) == bytes(b))",
  ];
  for (const text of bombs) {
    const program = compileExpression(text, SPECS);
    const start = performance.now();
    try {
      program.evaluate(VALUES);
    } catch (error) {
      assert(error instanceof CelError || error instanceof CostError, `${text}: ${error}`);
    }
    const took = performance.now() - start;
    assert(took < LONGEST_MS, `${text} took ${took} ms`);
  }
});

Deno.test("expressions that nest or go on too long are refused", () => {
  const texts = [
    "(".repeat(10_000) + "1" + ")".repeat(10_000),
    "[".repeat(10_000) + "]".repeat(10_000),
    "!".repeat(20_000) + "true" + " ? 1 ".repeat(5000),
    Array(5000).fill("l").join(" + "),
    "l" + ".a".repeat(30_000),
    "l" + "[0]".repeat(20_000),
    `'${"a".repeat(70_000)}' == ''`,
    "l.map(x, ".repeat(2000),
  ];
  for (const text of texts) assertThrows(() => compileExpression(text, SPECS), CompileError);
});

Deno.test("texts of random parts compile or are refused, nothing else", () => {
  const parts =
    "l s ( ) [ ] { } . , : ? ! - + * / % < == && || in 'a' \"b 1 2.5 0x 1u b'c' r'd' true null map all " +
    "has size string \\ ' \n \t é 😀 // #";
  const words = [...parts.split(" "), " "];
  let seed = 7;
  const next = (n: number) => (seed = (seed * 48271) % 2147483647) % n;
  for (let i = 0; i < 5000; i++) {
    const text = Array.from({ length: 1 + next(14) }, () => words[next(words.length)]).join("");
    try {
      compileExpression(text, SPECS).evaluate({ l: [1], s: ["a"] });
    } catch (error) {
      const known = [CompileError, CelError, CostError].some((kind) => error instanceof kind);
      assert(known, `${JSON.stringify(text)}: ${error}`);
    }
  }
});

Deno.test("judgeRules() gives way to other work", async () => {
  const schema = rootSchema({
    type: "object",
    properties: {
      spec: {
        type: "array",
        items: {
          type: "object",
          properties: { n: { type: "integer" } },
          "x-kubernetes-validations": [{ rule: "self.n >= 0" }],
        },
      },
    },
  });
  const value = { spec: Array.from({ length: 20_000 }, (_, n) => ({ n })) };
  let turns = 0;
  const turn = () => {
    turns++;
    return Promise.resolve();
  };
  const causes = await judgeRules(schema, { value, turn, warn: () => {} });
  assert(causes.length === 0);
  assert(turns >= 3, `${turns} turns`);
});
