/** Keys as bytes: in order, back, and ranges of them. (The contract of KVs compares them with Deno's own.) */

import { assert, assertEquals, assertThrows } from "@std/assert";
import { Buffer } from "node:buffer";
import { keyBytes, keyOf, rangeOf, selectorOf, withByte } from "./key_bytes.ts";

const KEYS: Deno.KvKey[] = [
  [new Uint8Array([0])],
  [""],
  ["", ""],
  ["\0"],
  ["a"],
  ["a", -(2n ** 100n)],
  ["a", -1n],
  ["a", 0n],
  ["a", 1n],
  ["a", 2n ** 100n],
  ["a", -Infinity],
  ["a", -0.5],
  ["a", 7],
  ["a", false],
  ["a", true],
  ["a\0"],
  ["b"],
];

Deno.test("keyBytes() keeps the order of keys, and keyOf() finds them again", () => {
  const bytes = KEYS.map(keyBytes);
  bytes.forEach((one, i) => {
    assertEquals(keyOf(one), KEYS[i]);
    if (i > 0) assert(Buffer.compare(bytes[i - 1], one) < 0, Deno.inspect(KEYS[i]));
  });
  assertThrows(() => keyBytes([null as unknown as string]), TypeError, "of type object in a key");
  assertThrows(() => keyBytes([2n ** 2048n]), TypeError, "more than 255 bytes");
});

Deno.test("keyOf() knows what is no key", () => {
  const cases = ["02", "0261", "02ff00", "21", "2100", "15", "1d", "1dff01", "99", "0200ff"];
  for (const hex of cases) assertEquals(keyOf(Uint8Array.fromHex(hex)), undefined, hex);
});

Deno.test("selectorOf() says the ranges of rangeOf(), or that there is no selector", () => {
  const selectors: [Deno.KvListSelector, Deno.KvListSelector][] = [
    [{ start: ["a"], end: ["b"] }, { start: ["a"], end: ["b"] }],
    [{ prefix: ["a"] }, { prefix: ["a"], start: ["a", new Uint8Array()] }],
    [{ prefix: ["a"], start: ["a", 1] }, { prefix: ["a"], start: ["a", 1] }],
    [{ prefix: ["a"], end: ["a", 1] }, { start: ["a", new Uint8Array()], end: ["a", 1] }],
  ];
  for (const [given, found] of selectors) assertEquals(selectorOf(rangeOf(given)), found);
  const a = keyBytes(["a"]);
  const nothings = [
    { start: new Uint8Array([9]), end: a },
    { start: a, end: new Uint8Array([9]) },
    { start: a, end: withByte(a, 0xff) },
    { start: keyBytes(["0"]), end: withByte(a, 0xff) },
  ];
  for (const range of nothings) assertEquals(selectorOf(range), undefined, Deno.inspect(range));
});
