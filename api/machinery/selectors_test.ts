import { assertEquals, assertThrows } from "@std/assert";
import type { DeepReadonly, KubeObject } from "./types.ts";
import {
  checkLabelSelector,
  compileFieldSelector,
  compileSelectors,
  formatLabelSelector,
  labelSelector,
  NOTHING,
  parseFieldSelector,
  parseLabelSelector,
  SelectorError,
} from "./selectors.ts";

Deno.test("parseLabelSelector() matches and prints as upstream", () => {
  const labels = { app: "web", tier: "a", n: "5" };
  const cases: [string, boolean, string][] = [
    ["", true, ""],
    ["app", true, "app"],
    ["!app", false, "!app"],
    ["app=web", true, "app=web"],
    ["app==web,tier!=b", true, "app==web,tier!=b"],
    ["tier in (b, a)", true, "tier in (a,b)"],
    ["tier notin (b,a)", false, "tier notin (a,b)"],
    ["none notin (a)", true, "none notin (a)"],
    ["n>4,n<6", true, "n>4,n<6"],
    ["n>5", false, "n>5"],
    ["app>1", false, "app>1"],
    ["none=", false, "none="],
    ["none in ()", false, "none in ()"],
    ["in in (in)", false, "in in (in)"],
    ["tier=a, app=web", true, "app=web,tier=a"],
    ["constructor", false, "constructor"],
  ];
  for (const [text, matches, printed] of cases) {
    const selector = parseLabelSelector(text);
    assertEquals(selector.matches(labels), matches, text);
    assertEquals(selector.toString(), printed, text);
  }
});

Deno.test("parseLabelSelector() refuses in upstream's words", () => {
  const cases: [string, string][] = [
    ["a,,b", "found ',', expected: identifier after ','"],
    ["a=b c", "found 'c', expected: ',' or 'end of string'"],
    ["=a", "found '=', expected: !, identifier, or 'end of string'"],
    [
      "a b",
      "unable to parse requirement: found 'b', expected: in, notin, =, ==, !=, gt, lt",
    ],
    ["a in b", "unable to parse requirement: found 'b' expected: '('"],
    ["a in (b", "unable to parse requirement: found '', expected: ',' or ')'"],
    [
      "a>x",
      "unable to parse requirement: values[0]: Invalid value: \"x\": for 'Gt', 'Lt' operators, " +
      "the value must be an integer",
    ],
    ["!", "unable to parse requirement: found '', expected: identifier"],
  ];
  for (const [text, message] of cases) {
    assertEquals(assertThrows(() => parseLabelSelector(text), SelectorError).message, message);
  }
  const bad = assertThrows(() => parseLabelSelector("a/b/c=d"), SelectorError);
  assertEquals(
    bad.message.startsWith('unable to parse requirement: <nil>: Invalid value: "a/b/c": a valid'),
    true,
  );
});

Deno.test("labelSelector() compiles LabelSelector objects", () => {
  assertEquals(labelSelector(undefined), NOTHING);
  assertEquals(labelSelector(null).matches({}), false);
  assertEquals(labelSelector({}).matches({ a: "b" }), true);
  const selector = labelSelector({
    matchLabels: { app: "web" },
    matchExpressions: [{ key: "tier", operator: "NotIn", values: ["x"] }, {
      key: "a",
      operator: "DoesNotExist",
    }],
  });
  assertEquals(selector.toString(), "!a,app=web,tier notin (x)");
  assertEquals(selector.matches({ app: "web" }), true);
  assertEquals(formatLabelSelector({ matchExpressions: [{ key: "a", operator: "x" }] }), "<error>");
  assertEquals(
    checkLabelSelector("spec.selector", {
      matchExpressions: [{ key: "a", operator: "In" }],
    })[0].message,
    "Required value: must be specified when `operator` is 'In' or 'NotIn'",
  );
});

Deno.test("field selectors are parsed, escaped and compiled", () => {
  const object = {
    apiVersion: "v1",
    kind: "Pod",
    metadata: {
      name: "a",
      namespace: "b",
      uid: "",
      resourceVersion: "",
      creationTimestamp: "",
      labels: { x: "y" },
    },
    status: { phase: "Running" },
  };
  const kind = {
    fields: { "status.phase": (o: DeepReadonly<KubeObject>) => o.status.phase },
  };
  const run = (text: string) => compileFieldSelector(parseFieldSelector(text), kind)(object);
  assertEquals(run("metadata.name=a,status.phase!=Failed"), true);
  assertEquals(run("metadata.name==b"), false);
  assertEquals(parseFieldSelector("a=b\\,c\\=").terms[0].value, "b,c=");
  assertEquals(parseFieldSelector("a=b\\,c").toString(), "a=b\\,c");
  assertThrows(() => run("spec.x=1"), SelectorError, "field label not supported: spec.x");
  assertThrows(
    () => parseFieldSelector("abc"),
    SelectorError,
    "invalid selector: 'abc'; can't understand 'abc'",
  );
  assertThrows(
    () => compileFieldSelector(parseFieldSelector("a=1"), {}),
    SelectorError,
    '"a" is not a known field selector: only "metadata.name", "metadata.namespace"',
  );
  assertEquals(compileSelectors(undefined, "", {}), undefined);
  assertEquals(compileSelectors("x=y", "metadata.name=a", {})!(object), true);
});
