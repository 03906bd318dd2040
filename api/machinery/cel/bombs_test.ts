import { assert, assertEquals, assertThrows } from "@std/assert";
import { loadCrdEngine } from "../crd/mod.ts";
import { rootSchema } from "../crd/json_schema.ts";
import { Pace } from "../pace.ts";
import type { Json } from "../types.ts";
import {
  CelError,
  CompileError,
  compileExpression,
  CostError,
  Interrupted,
  judgeRules,
} from "./mod.ts";

await loadCrdEngine();

/** Somebody who always waits, and how often they had their turn. */
function eager(): { pace: Pace; turns: () => number } {
  let now = 0;
  let turns = 0;
  const turn = () => {
    turns++;
    return Promise.resolve();
  };
  return { pace: new Pace({ monotonic: () => now++, sliceMs: () => 0, turn }), turns: () => turns };
}

/** Far more than any takes: what is caught here took seconds, each time and not only where the machine is busy. */
const LONGEST_MS = 2500;
const TRIES = 5;

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
    const took = () => {
      const start = performance.now();
      try {
        program.evaluate(VALUES);
      } catch (error) {
        assert(error instanceof CelError || error instanceof CostError, `${text}: ${error}`);
      }
      return performance.now() - start;
    };
    let tries = 0;
    while (took() >= LONGEST_MS) assert(++tries < TRIES, `${text} took ${LONGEST_MS} ms each time`);
  }
});

Deno.test("long expressions give way in between, and come to what they come to at once", () => {
  const { l, s, b } = VALUES;
  const values = {
    l: l.slice(0, 120),
    s: s.slice(0, 60),
    o: objects.slice(0, 40),
    b: `${b.slice(0, 3000)}b`,
    m: Object.fromEntries(l.slice(0, 70).map((i) => [`k${i}`, i])),
  };
  const specs = Object.fromEntries(Object.keys(values).map((name) => [name, {}]));
  const texts = [
    "l.all(x, l.all(y, x != y + 1000000))",
    "l.map(x, l.filter(y, y > x).map(z, z * 2)).map(x, x.size())",
    "l.exists_one(x, x == 7 && l.exists(y, y == 100))",
    "l.map(x, x / (x % 3)).size()",
    "l.all(x, x.foo == 1) || l.exists(x, x == 119)",
    "o.sortBy(x, x.name).map(x, x.name).distinct().size() + o.map(x, x.labels).size()",
    "m.all(k, v, m.exists(j, w, w == v && k == j))",
    "m.transformMap(k, v, v % 2 == 0, l.filter(x, x == v).size() + v)",
    "l.transformList(i, x, s.exists(t, t.endsWith(string(x)))).filter(x, x).size()",
    "s.all(x, x.matches('^string .*' + string(s.size() - 60) + '?[0-9]+$'))",
    "b.matches('(a|aa)*b$') && l.all(x, b.find('a{3}') == 'aaa')",
    "s.map(x, b.findAll('a{1,700}')).map(x, x.size())",
    "[1, 2].map(x, optional.of(l).optMap(v, v.map(y, y + x)).value().size())",
    "l.map(x, l).flatten().size() == 0 ? s.size() : l.map(x, x + 1)[3]",
    "l.all(x, l.all(y, l.all(z, x + y + z >= 0)))",
    "s.map(x, s.map(y, x + y)).map(x, x.join(',')).map(x, x.size())",
  ];
  const { pace } = eager();
  const shown = (value: unknown) =>
    JSON.stringify(value, (_, v) => typeof v === "bigint" ? `${v}` : v instanceof Map ? [...v] : v);
  for (const text of texts) {
    const program = compileExpression(text, specs);
    const ends = [undefined, pace].map((by) => {
      const costs: number[] = [];
      const evaluation = program.begin(values, {
        limit: 300_000,
        spent: (cost) => costs.push(cost),
        ...by && { lookTicks: 7 },
      });
      for (let interruptions = 0;; interruptions++) {
        try {
          return { end: shown(evaluation.go(by)), costs, interrupted: interruptions > 0 };
        } catch (error) {
          if (error instanceof Interrupted) continue;
          return { end: `${error}`, costs, interrupted: interruptions > 0 };
        }
      }
    });
    assertEquals({ ...ends[1], interrupted: false }, ends[0], text);
    assert(ends[1].interrupted, `${text} is short`);
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
  const { pace, turns } = eager();
  const causes = await judgeRules(schema, { value, pace, warn: () => {} });
  assert(causes.length === 0);
  assert(turns() >= 3, `${turns()} turns`);
});
