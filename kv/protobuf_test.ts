/** Protobuf's wire format, against bytes that are known, and what is none. */

import { assertEquals, assertThrows } from "@std/assert";
import { Message, message, WireError } from "./protobuf.ts";

Deno.test("message() writes what protobuf does: numbers, texts, messages, lists; no defaults", () => {
  const bytes = message({
    1: 150,
    2: "testing",
    3: message({ 1: 1 }),
    4: [new Uint8Array(), new Uint8Array([7])],
    5: true,
    6: 0,
    7: "",
    8: undefined,
    9: new Uint8Array(),
    64: 1,
  });
  const expected = "089601" + "120774657374696e67" + "1a020801" + "2200220107" + "2801" + "800401";
  assertEquals(bytes.toHex(), expected);
  const read = new Message(bytes);
  assertEquals([read.number(1), read.number(5), read.number(6), read.number(64)], [150, 1, 0, 1]);
  assertEquals(new TextDecoder().decode(read.bytes(2)), "testing");
  assertEquals(read.messages(3).map((one) => one.number(1)), [1]);
  assertEquals(read.all(4).map((one) => one.toHex()), ["", "07"]);
  assertEquals([read.bytes(9).length, read.maybe(9)], [0, undefined]);
});

Deno.test("numbers are exact up to 2^53 − 1; fields of fixed length are passed over", () => {
  for (const number of [1, 127, 128, 2 ** 31, 2 ** 32 + 5, Number.MAX_SAFE_INTEGER]) {
    assertEquals(new Message(message({ 1: number })).number(1), number);
  }
  const fixed = Uint8Array.fromHex("09" + "00".repeat(8) + "15" + "00".repeat(4) + "1801");
  assertEquals(new Message(fixed).number(3), 1);
});

Deno.test("what is no message is refused", () => {
  const cases: [string, string][] = [
    ["08", "cut short"],
    ["0a05ff", "cut short"],
    ["0b", "no field of type 3"],
    ["08" + "ff".repeat(10) + "01", "more than 64 bits"],
  ];
  for (const [hex, text] of cases) {
    assertThrows(() => new Message(Uint8Array.fromHex(hex)), WireError, text);
  }
  const number = new Message(message({ 1: 1, 2: "a" }));
  assertThrows(() => number.bytes(1), WireError, "not bytes");
  assertThrows(() => number.all(1), WireError, "not bytes");
  assertThrows(() => number.number(2), WireError, "not a number");
});
