import { assertEquals } from "@std/assert";
import { BAD_VALUE_LENGTH_MAX, badValue } from "./field_errors.ts";

Deno.test("badValue() shows values as Go does, and of very long ones the beginning", () => {
  assertEquals(badValue('a"b'), '"a\\"b"');
  assertEquals(badValue(1), "1");
  assertEquals(badValue({ a: ["b"] }), '{"a":["b"]}');
  const text = "a".repeat(BAD_VALUE_LENGTH_MAX);
  assertEquals(badValue(text), `"${text}"`);
  assertEquals(badValue(`${text}bcd`), `"${text}" (and 3 more characters)`);
  assertEquals(badValue([`${text}bcd`]), `["${text.slice(2)} (and 7 more characters)`);
});
