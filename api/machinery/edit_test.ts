import { assertEquals, assertThrows } from "@std/assert";
import { deepFreeze, edit, setOwn } from "./edit.ts";

Deno.test("a copy shares nothing with what it is of", () => {
  const original = deepFreeze({ a: { b: [1, { c: 2 }] }, d: null, e: [] as number[] });
  const copy = edit(original) as unknown as { a: { b: [number, { c: number }] }; e: number[] };
  assertEquals(copy, original as unknown);
  copy.a.b[1].c = 3;
  copy.e.push(1);
  assertEquals((original.a.b[1] as { c: number }).c, 2);
  assertThrows(() => {
    (original as unknown as { d: number }).d = 1;
  }, TypeError);
});

Deno.test("hostile keys stay keys", () => {
  const hostile = JSON.parse('{"__proto__":{"polluted":true},"x":{"__proto__":"y"}}');
  const copy = edit(hostile);
  assertEquals(Object.keys(copy), ["__proto__", "x"]);
  assertEquals((copy as { polluted?: boolean }).polluted, undefined);
  const target: Record<string, unknown> = {};
  setOwn(target, "__proto__", { polluted: true });
  assertEquals(Object.getPrototypeOf(target), Object.prototype);
});
