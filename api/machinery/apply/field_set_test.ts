import { assert, assertEquals, assertStrictEquals } from "@std/assert";
import {
  canonical,
  difference,
  differenceBelow,
  type FieldSet,
  isEmptySet,
  pathsOf,
  SHARED_SETS_MAX,
  union,
} from "./field_set.ts";

Deno.test("canonical(): equal sets, and equal parts of others, are one frozen object in Go's order", () => {
  const set = (ip: string) => ({
    "f:status": { "f:podIPs": { [`k:{"ip":"${ip}"}`]: { ".": {}, "f:ip": {} } }, "f:phase": {} },
    "f:metadata": { "f:labels": { "f:b": {}, "f:a": {} } },
  });
  const one = canonical(set("10.0.0.1"));
  assertStrictEquals(canonical(set("10.0.0.1")), one);
  assertStrictEquals(canonical(one), canonical(set("10.0.0.1")));
  const other = canonical(set("10.0.0.2"));
  assertStrictEquals(other["f:metadata"], one["f:metadata"]);
  assert(Object.isFrozen(one) && Object.isFrozen(one["f:status"]["f:podIPs"]));
  assertEquals(
    JSON.stringify(one["f:metadata"]),
    '{"f:labels":{"f:a":{},"f:b":{}}}',
  );
});

Deno.test("canonical(): no more sets are kept than it says, and those in use stay", () => {
  const used = canonical({ "f:used": {} });
  for (let i = 0; i < 2 * SHARED_SETS_MAX; i++) {
    canonical({ [`f:${i}`]: {} });
    if (i % 1000 === 0) canonical({ "f:used": {} });
  }
  assertStrictEquals(canonical({ "f:used": {} }), used);
  const first = canonical({ "f:0": {} });
  assertStrictEquals(canonical({ "f:0": {} }), first);
});

Deno.test("union() and difference() agree with sets of paths, and share what they leave as it is", () => {
  let state = 7;
  const random = (below: number) => (state = state * 48_271 % 0x7fff_ffff) % below;
  const randomSet = (depth: number): FieldSet => {
    const out: Record<string, FieldSet> = {};
    for (let i = 0; i < 3; i++) {
      const children = depth > 0 && random(2) === 0 ? randomSet(depth - 1) : {};
      const isMember = isEmptySet(children) || random(2) === 0;
      if (random(3) > 0) {
        out[`f:${"abc"[random(3)]}`] = isMember && !isEmptySet(children)
          ? { ".": {}, ...children }
          : children;
      }
    }
    return out;
  };
  const paths = (set: FieldSet) => pathsOf(set).map((path) => path.join("/")).sort();
  let shared = 0;
  for (let round = 0; round < 3_000; round++) {
    const [a, b] = [randomSet(2), randomSet(2)];
    const [left, right] = [paths(a), paths(b)];
    const both = union(a, b);
    assertEquals(paths(both), [...new Set([...left, ...right])].sort());
    assertEquals(both === a, right.every((path) => left.includes(path)));
    const rest = difference(a, b);
    const kept = left.filter((path) => !right.includes(path));
    assertEquals(paths(rest), kept);
    assertEquals(rest === a, kept.length === left.length);
    const above = (path: string) => right.some((one) => path === one || path.startsWith(`${one}/`));
    const below = differenceBelow(a, b);
    assertEquals(paths(below), left.filter((path) => !above(path)));
    if (both === a || rest === a) shared++;
  }
  assert(shared > 100);
});
