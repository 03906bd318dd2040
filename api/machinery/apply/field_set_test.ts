import { assertEquals } from "@std/assert";
import {
  difference,
  differenceBelow,
  type FieldSet,
  hasPath,
  intersection,
  isFieldSet,
  pathsOf,
  pathText,
  sameSet,
  setOf,
  sorted,
  union,
} from "./field_set.ts";

const A: FieldSet = setOf([["f:a"], ["f:a", "f:b"], ["f:c", "f:d"], ["f:e"]]);
const B: FieldSet = setOf([["f:a"], ["f:c", "f:d"], ["f:c", "f:x"]]);

function paths(set: FieldSet): string[] {
  return pathsOf(set).map(pathText);
}

Deno.test("field sets: algebra on members, not on subtrees", () => {
  assertEquals(paths(A), [".a", ".e", ".a.b", ".c.d"]);
  assertEquals(paths(union(A, B)), [".a", ".e", ".a.b", ".c.d", ".c.x"]);
  assertEquals(paths(difference(A, B)), [".e", ".a.b"]);
  assertEquals(paths(differenceBelow(A, B)), [".e"]);
  assertEquals(paths(intersection(A, B)), [".a", ".c.d"]);
  assertEquals(difference(A, A), {});
  assertEquals(union({}, A), A);
});

Deno.test("field sets: a member with children carries a dot", () => {
  assertEquals(setOf([["f:a"], ["f:a", "f:b"]]), { "f:a": { ".": {}, "f:b": {} } });
  assertEquals(setOf([["f:a", "f:b"]]), { "f:a": { "f:b": {} } });
  assertEquals(hasPath(A, ["f:a"]), true);
  assertEquals(hasPath(A, ["f:c"]), false);
  assertEquals(hasPath(A, ["f:c", "f:d"]), true);
  assertEquals(
    sameSet(A, { "f:e": {}, "f:c": { "f:d": {} }, "f:a": { "f:b": {}, ".": {} } }),
    true,
  );
  assertEquals(sameSet(A, B), false);
});

Deno.test("field sets: paths print as upstream's", () => {
  assertEquals(
    pathText(["f:spec", 'k:{"name":"a","port":80}', 'v:"x"', "i:3"]),
    '.spec[name="a",port=80][="x"][3]',
  );
});

Deno.test("isFieldSet() refuses what is none", () => {
  assertEquals(isFieldSet({ "f:a": { ".": {}, 'k:{"a":1}': {}, "v:1": {}, "i:0": {} } }), true);
  for (const bad of [null, [], "x", { a: {} }, { "f:a": 1 }, { "k:x": {} }, { "i:x": {} }]) {
    assertEquals(isFieldSet(bad), false, JSON.stringify(bad));
  }
  let deep: unknown = {};
  for (let i = 0; i < 1000; i++) deep = { "f:a": deep };
  assertEquals(isFieldSet(deep), false);
});

Deno.test("sorted() puts elements in Go's order", () => {
  const set = {
    "f:b": { 'k:{"port":443}': {}, 'k:{"port":80}': { "f:port": {}, ".": {} } },
    "f:a": { "i:10": {}, "i:9": {}, ".": {} },
    "f:c": { 'v:"b"': {}, 'v:"a"': {} },
  };
  assertEquals(
    JSON.stringify(sorted(set)),
    '{"f:a":{".":{},"i:9":{},"i:10":{}},' +
      '"f:b":{"k:{\\"port\\":80}":{".":{},"f:port":{}},"k:{\\"port\\":443}":{}},' +
      '"f:c":{"v:\\"a\\"":{},"v:\\"b\\"":{}}}',
  );
  const right = sorted(set);
  assertEquals(sorted(right) === right, true);
});
