import { assertEquals, assertMatch, assertThrows } from "@std/assert";
import { loadCrdEngine } from "../crd/mod.ts";
import { type Props, rootSchema } from "../crd/json_schema.ts";
import { causeText } from "../field_errors.ts";
import type { Json } from "../types.ts";
import {
  CelError,
  CompileError,
  compileExpression,
  CostError,
  evaluateRules,
  ruleErrors,
  toJson,
} from "./mod.ts";

await loadCrdEngine();

const OBJECT = {
  name: "web",
  n: 3,
  f: 1.5,
  list: [3, 1, 2],
  tags: ["a", "b"],
  labels: { app: "web", tier: "a" },
  nested: { x: null, "a-b": 1 },
};

function run(text: string): Json {
  return toJson(compileExpression(text, { o: {} }).evaluate({ o: OBJECT }));
}

Deno.test("compileExpression() evaluates the language", () => {
  const cases: [string, Json][] = [
    ["1 + 2 * 3", 7],
    ["7 / 2", 3],
    ["string(1e20) + string(1234567.5) + string(0.00001)", "1e+201.2345675e+061e-05"],
    ["'ab'.replace('', '-') + 'aaa'.replace('a', 'b', 2)", "-a-b-bba"],
    ["quantity('0.1') == quantity('100m')", true],
    ["-9223372036854775808 < 0", true],
    ["-7 % 3", -1],
    ["7.0 / 2.0", 3.5],
    ["2u + 3u", 5],
    ["'a' + \"b\"", "ab"],
    ["r'\\d' + '\\u00e9'", "\\dé"],
    ["[1, 2] + [3]", [1, 2, 3]],
    ["1 < 2 && 2.5 > 2", true],
    ["1 == 1 ? 'y' : 'n'", "y"],
    ["2 in [1, 2]", true],
    ["'app' in o.labels", true],
    ["{'a': 1, 'b': 2}.a", 1],
    ["o.labels['app']", "web"],
    ["o.list[1]", 1],
    ["has(o.labels.app) && !has(o.labels.none)", true],
    ["has(o.nested.x)", true],
    ["o.nested.x == null", true],
    ["o.n == 3 && o.f == 1.5", true],
    ["size(o.list) == 3 && o.name.size() == 3", true],
    ["o.list.all(x, x > 0)", true],
    ["o.list.exists(x, x == 2)", true],
    ["o.list.exists_one(x, x > 2)", true],
    ["o.list.map(x, x * 2)", [6, 2, 4]],
    ["o.list.map(x, x > 1, x)", [3, 2]],
    ["o.list.filter(x, x < 3)", [1, 2]],
    ["o.labels.all(k, k.size() > 2)", true],
    ["o.labels.all(k, v, v != '')", true],
    ["o.list.all(i, v, i < 3)", true],
    ["o.labels.transformMap(k, v, v + '!')", { app: "web!", tier: "a!" }],
    ["o.list.transformList(i, v, v + i)", [3, 2, 4]],
    ["false && o.none.deep", false],
    ["o.none.deep || true", true],
    ["[1, 2].exists(x, x / (x - 1) == 2)", true],
    ["type(1) == int", true],
    ["int('42') + int(3.9)", 45],
    ["double('1.5')", 1.5],
    ["string(1.0) + string(true) + string(5)", "1true5"],
    ["bool('true')", true],
    [
      "timestamp('2026-01-01T00:00:00Z') + duration('1h') == timestamp('2026-01-01T01:00:00Z')",
      true,
    ],
    ["timestamp('2026-03-05T10:20:30Z').getMonth()", 2],
    ["timestamp('2026-03-05T23:20:30Z').getHours('+02:00')", 1],
    ["timestamp('2026-07-05T23:20:30Z').getHours('Europe/Berlin')", 1],
    ["duration('90m').getHours()", 1],
    ["string(duration('90s'))", "90s"],
    ["o.?labels.?none.orValue('x')", "x"],
    ["o.?labels.app.orValue('x')", "web"],
    ["optional.of(1).hasValue() && !optional.none().hasValue()", true],
    ["o.?n.optMap(x, x + 1).orValue(0)", 4],
    ["dyn(1) == 1.0", true],
  ];
  for (const [text, want] of cases) assertEquals(run(text), want, text);
});

Deno.test("compileExpression() knows Kubernetes' functions", () => {
  const cases: [string, Json][] = [
    ["'hello'.charAt(1) + 'hello'.substring(1, 3)", "eel"],
    ["'hello'.indexOf('l') + 'hello'.lastIndexOf('l')", 5],
    ["'aBc'.lowerAscii() + 'aBc'.upperAscii()", "abcABC"],
    ["'a,b,c'.split(',', 2)", ["a", "b,c"]],
    ["['a', 'b'].join('-') + ' x '.trim()", "a-bx"],
    ["'aaa'.replace('a', 'b', 2)", "bba"],
    ["'%s is %d, %.2f'.format(['x', 5, 1.234])", "x is 5, 1.23"],
    ["strings.quote('a\"b')", '"a\\"b"'],
    ["[1, 2, 2].isSorted() && [3, 1].sum() == 4 && [3, 1].min() == 1 && [3, 1].max() == 3", true],
    ["[1, 2, 1].indexOf(1) + [1, 2, 1].lastIndexOf(1)", 2],
    ["sets.contains([1, 2, 3], [3, 1]) && sets.intersects([1], [1, 2])", true],
    ["sets.equivalent([1, 2], [2, 1, 1])", true],
    ["'abc123'.find('[0-9]+') + 'a1b2'.findAll('[0-9]')[1]", "1232"],
    ["'abc'.matches('^a.c$')", true],
    ["url('https://example.com:80/a/b?x=1&x=2').getHostname()", "example.com"],
    ["url('https://example.com:80/a?x=1&x=2').getPort() + url('/a/b').getEscapedPath()", "80/a/b"],
    ["url('https://e.com/?x=1&x=2').getQuery()['x']", ["1", "2"]],
    ["isURL('nope')", false],
    [
      "quantity('1Gi').isGreaterThan(quantity('1G')) && quantity('500m').add(quantity('1.5')).asInteger() == 2",
      true,
    ],
    ["isQuantity('x')", false],
    ["ip('10.0.0.1').family() == 4 && ip('::1').isLoopback() && isIP('1.2.3') == false", true],
    [
      "cidr('10.0.0.0/8').containsIP('10.1.2.3') && cidr('10.1.0.0/16').masked() == cidr('10.1.0.0/16')",
      true,
    ],
    ["cidr('10.0.0.0/8').containsCIDR('10.1.0.0/16')", true],
    ["format.dns1123Label().validate('Abc').hasValue()", true],
    ["format.named('nope').hasValue()", false],
    ["semver('1.2.3').isLessThan(semver('1.10.0')) && isSemver('v1', true)", true],
    ["semver('1.0.0-alpha.1').compareTo(semver('1.0.0'))", -1],
  ];
  for (const [text, want] of cases) assertEquals(run(text), want, text);
});

Deno.test("expressions that cannot be evaluated say why", () => {
  const cases: [string, string][] = [
    ["o.none", "no such key: none"],
    ["o.list[5]", "index out of bounds: 5"],
    ["1 / 0", "division by zero"],
    ["9223372036854775807 + 1", "integer overflow"],
    ["o.name + o.n", "no such overload"],
    ["[].map(x, x).min()", "min called on empty list"],
    ["'a'.matches('[' + o.name)", "error parsing regexp: missing closing ]: `[web`"],
    ["o.nosuch1 && o.nosuch2", "no such key: nosuch1"],
    ["timestamp('9999-12-31T23:59:59Z') + duration('1h')", "timestamp overflow"],
  ];
  for (const [text, message] of cases) assertThrows(() => run(text), CelError, message);
});

Deno.test("expressions that do not check are refused in cel-go's words", () => {
  const fails = (text: string, schema = rootSchema(SPEC)) =>
    assertThrows(() => compileExpression(text, { self: { schema } }), CompileError).message;
  assertEquals(
    fails("self.spec.sizee > 1"),
    "ERROR: <input>:1:10: undefined field 'sizee'\n | self.spec.sizee > 1\n | .........^",
  );
  assertEquals(
    fails("self.spec.size > 'a'"),
    "ERROR: <input>:1:16: found no matching overload for '_>_' applied to '(int, string)'\n" +
      " | self.spec.size > 'a'\n | ...............^",
  );
  assertEquals(
    fails("other").split("\n")[0],
    "ERROR: <input>:1:1: undeclared reference to 'other' (in container '')",
  );
  assertEquals(
    fails("self.spec.size.all(x, true)").split("\n")[0],
    "ERROR: <input>:1:10: expression of type 'int' cannot be range of a comprehension (must be list, " +
      "map, or dynamic)",
  );
  assertEquals(fails("self.spec.size >").startsWith("ERROR: <input>:1:17: Syntax error: "), true);
  assertEquals(
    fails("self.spec.color.startsWith(1)").split("\n")[0],
    "ERROR: <input>:1:27: found no matching overload for 'startsWith' applied to 'string.(int)'",
  );
  assertEquals(
    fails("self.spec.size != null").split("\n")[0],
    "ERROR: <input>:1:16: found no matching overload for '_!=_' applied to '(int, null)'",
  );
  for (const call of ["'a'.matches('[')", "timestamp('soon')", "duration('x')"]) {
    assertEquals(/^ERROR: .*: invalid \w+ argument$/.test(fails(call).split("\n")[0]), true, call);
  }
  assertEquals(fails("int('x') == 1"), "type conversion error from 'string' to 'int'");
});

Deno.test("evaluations stop at their cost limit", () => {
  const list = new Array(1000).fill(1);
  const program = compileExpression("l.all(x, l.all(y, l.all(z, x == z)))", { l: {} });
  assertThrows(() => program.evaluate({ l: list }), CostError);
  let cost = 0;
  compileExpression("l.size() == 1000", { l: {} }).evaluate({ l: list }, {
    spent: (c) => cost = c,
  });
  assertEquals(cost, 3);
});

const SPEC: Props = {
  type: "object",
  properties: {
    spec: {
      type: "object",
      "x-kubernetes-validations": [
        { rule: "self.size <= self.limit", message: "size must not exceed limit" },
        {
          rule: "self.size != 7",
          messageExpression: "'size is %d'.format([self.size])",
          fieldPath: ".size",
          reason: "FieldValueForbidden",
        },
      ],
      properties: {
        size: { type: "integer" },
        limit: { type: "integer", default: 10 },
        color: {
          type: "string",
          maxLength: 20,
          "x-kubernetes-validations": [{ rule: "self == oldSelf", message: "color is immutable" }],
        },
        once: {
          type: "string",
          maxLength: 20,
          "x-kubernetes-validations": [{
            rule: "oldSelf.hasValue() || self == 'first'",
            optionalOldSelf: true,
          }],
        },
        "a-b": { type: "integer", "x-kubernetes-validations": [{ rule: "self > 0" }] },
        when: { type: "string", format: "date-time" },
        items: {
          type: "array",
          maxItems: 10,
          "x-kubernetes-list-type": "map",
          "x-kubernetes-list-map-keys": ["id"],
          items: {
            type: "object",
            required: ["id"],
            properties: {
              id: { type: "string", maxLength: 10 },
              v: { type: "integer" },
            },
            "x-kubernetes-validations": [{ rule: "self.v >= oldSelf.v" }],
          },
        },
      },
    },
  },
};

Deno.test("a field that is named as a reserved word is reached by it, spelled out or not", () => {
  for (const rule of ["self.namespace == 'a'", "self.__namespace__ == 'a'"]) {
    const schema = rootSchema({
      type: "object",
      properties: {
        spec: {
          type: "object",
          properties: { namespace: { type: "string" } },
          "x-kubernetes-validations": [{ rule }],
        },
      },
    });
    assertEquals(ruleErrors("s", schema), []);
    assertEquals(evaluateRules(schema, { spec: { namespace: "a" } }), []);
    const [cause] = evaluateRules(schema, { spec: { namespace: "b" } });
    assertEquals(causeText(cause), `spec: Invalid value: failed rule: ${rule}`);
  }
});

Deno.test("evaluateRules() judges objects", () => {
  const schema = rootSchema(SPEC);
  assertEquals(ruleErrors("s", schema), []);
  const errors = (spec: Json, old?: Json) =>
    evaluateRules(schema, { spec }, old === undefined ? undefined : { spec: old }).map(causeText);
  assertEquals(errors({ size: 3, limit: 10 }), []);
  assertEquals(errors({ size: 11, limit: 10 }), [
    "spec: Invalid value: size must not exceed limit",
  ]);
  assertEquals(errors({ size: 7, limit: 10 }), ["spec.size: Forbidden: size is 7"]);
  assertEquals(errors({ size: 3 }), [
    'spec: Invalid value: "object": no such key: limit evaluating rule: size must not exceed limit',
  ]);
  const good = { size: 1, limit: 2 };
  assertEquals(errors({ ...good, color: "red" }, { ...good, color: "blue" }), [
    'spec.color: Invalid value: "red": color is immutable',
  ]);
  assertEquals(errors({ ...good, once: "second" }), [
    "spec.once: Invalid value: \"second\": failed rule: oldSelf.hasValue() || self == 'first'",
  ]);
  assertEquals(errors({ ...good, once: "second" }, { ...good, once: "first" }), []);
  assertEquals(errors({ ...good, "a-b": 0 }), [
    "spec.a-b: Invalid value: 0: failed rule: self > 0",
  ]);
  assertEquals(
    errors({ ...good, items: [{ id: "b", v: 1 }, { id: "a", v: 1 }] }, {
      ...good,
      items: [{ id: "a", v: 2 }],
    }),
    ["spec.items[1]: Invalid value: failed rule: self.v >= oldSelf.v"],
  );
  // What did not change is not judged again.
  assertEquals(errors({ size: 11, limit: 10 }, { size: 11, limit: 10 }), []);
});

Deno.test("ruleErrors() refuses rules that cannot work", () => {
  const errors = (props: Props) =>
    ruleErrors("s", rootSchema({ type: "object", properties: { a: props } })).map(causeText);
  const one = errors({ type: "string", "x-kubernetes-validations": [{ rule: "self.foo" }] });
  assertEquals(one.length, 1);
  assertEquals(
    one[0].includes("compilation failed: ERROR: <input>:1:5: type 'string' does not support"),
    true,
  );
  assertEquals(
    errors({ type: "string", "x-kubernetes-validations": [{ rule: "self + 'x'" }] })[0].endsWith(
      "cel expression must evaluate to a bool",
    ),
    true,
  );
  assertEquals(
    errors({
      type: "array",
      maxItems: 5,
      items: {
        type: "string",
        maxLength: 5,
        "x-kubernetes-validations": [{ rule: "self == oldSelf" }],
      },
    })[0],
    's.properties[a].items.x-kubernetes-validations[0].rule: Invalid value: "self == oldSelf": oldSelf ' +
      "cannot be used on the uncorrelatable portion of the schema within s.properties[a]",
  );
  const costly = errors({
    type: "array",
    items: { type: "array", items: { type: "string" } },
    "x-kubernetes-validations": [{ rule: "self.all(x, x.all(y, self.all(z, z.all(w, w == y))))" }],
  });
  assertEquals(
    costly[0],
    "s.properties[a].x-kubernetes-validations[0].rule: Forbidden: estimated rule cost exceeds budget " +
      "by factor of more than 100x (try simplifying the rule, or adding maxItems, maxProperties, and " +
      "maxLength where arrays, maps, and strings are declared)",
  );
});

Deno.test("rules are estimated by sizes as upstream has them, so that what is in budget there is here", () => {
  const name = { type: "string", maxLength: 253 };
  const fields = { names: { type: "array", maxItems: 20, items: name }, free: { type: "string" } };
  const list = { type: "array", maxItems: 50, items: { type: "object", properties: fields } };
  const map = { type: "object", maxProperties: 8, additionalProperties: name };
  const inBudget = (schema: Json, rule: string) => {
    const a = { ...schema as object, "x-kubernetes-validations": [{ rule }] };
    const found = ruleErrors("s", rootSchema({ type: "object", properties: { a } }));
    for (const cause of found) assertMatch(causeText(cause), /estimated rule cost/);
    return found.length === 0;
  };
  // The Gateway API's rule of annotations: keys of maps count as empty, whatever their length.
  const key = "^([a-z0-9]([-a-z0-9]*[a-z0-9])?/)?([A-Za-z0-9][-A-Za-z0-9_.]{0,61})?[A-Za-z0-9]$";
  assertEquals(inBudget(map, `self.all(key, key.matches(r"""${key}"""))`), true);
  assertEquals(inBudget(map, "self.all(key, key.split('/')[0].size() < 253)"), true);
  assertEquals(inBudget(map, "self.all(k, v, k.matches('a+') && v.matches('a+'))"), true);
  assertEquals(inBudget(map, "self.foo.matches('a+')"), false);
  // Items of lists are as large as their schema says.
  assertEquals(inBudget(list, "self.all(x, x.names.all(n, n.matches('^[a-z]+$')))"), true);
  assertEquals(inBudget(list, "self.all(x, x.free.matches('^[a-z]+$'))"), false);
  // What an expression makes has the size of the value that the rule is about: nothing for objects.
  const object = { type: "object", properties: { name, list } };
  assertEquals(inBudget(object, "self.name.split(',').all(p, p.matches('a'))"), true);
  assertEquals(
    inBudget(name, "self.split(',').all(p, p.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$'))"),
    true,
  );
  assertEquals(inBudget(object, "self.list.map(x, x.names)[0].all(n, n.matches('a'))"), false);
  assertEquals(
    inBudget(list, "self.filter(x, has(x.free)).all(x, x.names.exists(n, n == 'a'))"),
    false,
  );
});
