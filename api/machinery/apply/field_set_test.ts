import { assert, assertEquals, assertStrictEquals } from "@std/assert";
import { canonical, SHARED_SETS_MAX } from "./field_set.ts";

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
