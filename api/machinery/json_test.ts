import { assertEquals, assertThrows } from "@std/assert";
import { JsonError, parseJson, summarize } from "./json.ts";

Deno.test("duplicate keys are found with their paths", () => {
  const cases: [string, string[]][] = [
    ['{"a":1,"b":2}', []],
    ['{"a":1,"a":2}', ["a"]],
    ['{"a":{"b":1,"b":1},"c":[{"d":1},{"d":1,"d":2}]}', ["a.b", "c[1].d"]],
    ['{"a":":","b":"\\":\\"","c":{"":1}}', []],
    ['{"a":1,"\\u0061":2}', ["a"]],
    ['[{"a":[{"x":1,"x":2}]}]', ["[0].a[0].x"]],
    ['{"a":1,"a":2,"a":3}', ["a"]],
  ];
  for (const [text, expected] of cases) assertEquals(parseJson(text).duplicates, expected, text);
});

Deno.test("syntax errors are Go's", () => {
  const cases: [string, string][] = [
    ["", "unexpected end of JSON input"],
    ['{"a"', "unexpected end of JSON input"],
    ["{a:1}", "invalid character 'a' looking for beginning of object key string"],
    ['{"a":1,}', "invalid character '}' looking for beginning of object key string"],
    ['{"a" 1}', "invalid character '1' after object key"],
    ['{"a":1 "b":2}', "invalid character '\"' after object key:value pair"],
    ["[1 2]", "invalid character '2' after array element"],
    ["{} x", "invalid character 'x' after top-level value"],
    ['{"a":tru}', "invalid character '}' in literal true (expecting 'e')"],
    ['{"a":"\n"}', "invalid character '\\n' in string literal"],
    ['{"a":"\\x"}', "invalid character 'x' in string escape code"],
    ['{"a":"\\u12x4"}', "invalid character 'x' in \\u hexadecimal character escape"],
    ["[-]", "invalid character ']' in numeric literal"],
    ["[1.]", "invalid character ']' after decimal point in numeric literal"],
    ["[1e]", "invalid character ']' in exponent of numeric literal"],
    ["\ufeff{}", "invalid character 'ï' looking for beginning of value"],
    ["'a'", "invalid character '\\'' looking for beginning of value"],
  ];
  for (const [text, expected] of cases) {
    assertEquals(assertThrows(() => parseJson(text), JsonError).message, expected, text);
  }
});

Deno.test("what cannot be stored is refused or mended", () => {
  assertThrows(() => parseJson("[".repeat(1001) + "]".repeat(1001)), JsonError, "max depth");
  assertEquals(parseJson("[".repeat(1000) + "]".repeat(1000)).duplicates, []);
  assertThrows(() => parseJson('{"a":1e999}'), JsonError, "cannot unmarshal number");
  assertEquals(parseJson('"\\ud800"').value, "\ufffd");
  assertEquals(parseJson(new Uint8Array([34, 255, 34])).value, "\ufffd");
  const hostile = parseJson('{"__proto__":{"a":1}}').value as object;
  assertEquals(Object.getPrototypeOf(hostile), Object.prototype);
});

Deno.test("a body's start is shown as text or as hex", () => {
  assertEquals(summarize(""), "<empty>");
  assertEquals(summarize('{"a":1}'), '{"a":1}');
  assertEquals(summarize(`{${" ".repeat(40)}}`), `{${" ".repeat(29)} ...`);
  assertEquals(summarize("abc"), "616263");
});
