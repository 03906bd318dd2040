import { assertEquals } from "@std/assert";
import * as names from "./names.ts";
import { invalid, notSupported, required, tooLong, tooMany } from "./field_errors.ts";
import { goJson, goNumber, goQuote, goValue } from "./go_format.ts";
import { formatCidr, formatIp, parseCidr, parseIp } from "./ip.ts";

Deno.test("names say what upstream says of bad values", async (t) => {
  const label =
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or " +
    "'-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', " +
    "regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')";
  const cases: [string, string[], string[]][] = [
    ["label", names.isDns1123Label("web-1"), []],
    ["label upper", names.isDns1123Label("Web"), [label]],
    ["label dots", names.isDns1123Label("a.b"), ["must not contain dots"]],
    ["label long", names.isDns1123Label("a".repeat(64)), ["must be no more than 63 characters"]],
    ["subdomain", names.isDns1123Subdomain("a.b-c.d"), []],
    ["qualified", names.isQualifiedName("example.com/My_name"), []],
    ["qualified empty prefix", names.isQualifiedName("/a"), ["prefix part must be non-empty"]],
    ["port name", names.isPortName("-1--"), [
      "must contain at least one letter (a-z)",
      "must not contain consecutive hyphens",
      "must not begin or end with a hyphen",
    ]],
    ["port", names.isPortNumber(0), ["must be between 1 and 65535, inclusive"]],
    ["config key", names.isConfigMapKey("..a"), ["must not start with '..'"]],
    ["path", names.isPathSegmentName("a/b%"), ["may not contain '/'", "may not contain '%'"]],
    ["prefix", names.nameIsDnsSubdomain("web-", true), []],
  ];
  for (const [name, got, want] of cases) await t.step(name, () => assertEquals(got, want));
});

Deno.test("byteLength() counts UTF-8", () => {
  // Long texts, of which some would be cut in the middle of a pair
  const long = ["a", "é", "€", "😀", "a😀"].map((text) => text.repeat(5_000));
  for (const text of ["", "abc", "é", "€", "😀a", ...long, `a${long[3]}`]) {
    assertEquals(names.byteLength(text), new TextEncoder().encode(text).length);
  }
});

Deno.test("field errors read as upstream's", () => {
  assertEquals(required("spec.a", "must be set").message, "Required value: must be set");
  assertEquals(required("a").message, "Required value");
  assertEquals(invalid("a", "x", "bad").message, 'Invalid value: "x": bad');
  assertEquals(invalid("a", 5, "bad").message, "Invalid value: 5: bad");
  assertEquals(invalid("a", { b: "<" }, "bad").message, 'Invalid value: {"b":"\\u003c"}: bad');
  assertEquals(
    notSupported("a", "x", ["b", "c"]).message,
    'Unsupported value: "x": supported values: "b", "c"',
  );
  assertEquals(tooLong("a", 253).message, "Too long: may not be more than 253 bytes");
  assertEquals(tooMany("a", 5, 3).message, "Too many: 5: must have at most 3 items");
});

Deno.test("Go's formats", () => {
  assertEquals(goQuote('a"\n\u0001é\u200b😀'), '"a\\"\\n\\x01é\\u200b😀"');
  assertEquals(goJson({ a: "<&>" }), '{"a":"\\u003c\\u0026\\u003e"}');
  assertEquals(goValue({ b: [1, "x", null], a: true }), "map[a:true b:[1 x <nil>]]");
  assertEquals(goNumber(1.5e-5), "1.5e-05");
  assertEquals(goNumber(1e21), "1e+21");
  assertEquals(goNumber(0.25), "0.25");
});

Deno.test("IP addresses are parsed and written as Go does", () => {
  const cases: [string, string | undefined][] = [
    ["10.9.8.7", "10.9.8.7"],
    ["010.9.8.7", undefined],
    ["10.9.8", undefined],
    ["10.9.8.256", undefined],
    ["2001:DB8:0:0:0::1", "2001:db8::1"],
    ["::", "::"],
    ["::1", "::1"],
    ["1::", "1::"],
    ["::ffff:1.2.3.4", "::ffff:1.2.3.4"],
    ["fe80::1%eth0", undefined],
    ["1:2:3:4:5:6:7:8", "1:2:3:4:5:6:7:8"],
    ["1:2:3:4:5:6:7::8", undefined],
    ["1:0:0:2:0:0:0:3", "1:0:0:2::3"],
    ["12345::", undefined],
    ["1::2::3", undefined],
    ["", undefined],
  ];
  for (const [text, want] of cases) {
    const ip = parseIp(text);
    assertEquals(ip && formatIp(ip), want, text);
  }
  assertEquals(parseIp("010.9.8.7", { sloppy: true })?.leadingZeros, true);
  assertEquals(formatCidr(parseCidr("10.9.8.7/22")!), "10.9.8.0/22");
  assertEquals(parseCidr("10.9.8.7/33"), undefined);
  assertEquals(
    names.checkCidrLegacy("a", "10.0.0.1/8")[0].message.split(": ")[2],
    "must not have bits set beyond the prefix length",
  );
  assertEquals(
    names.checkIp("a", "2001:DB8::1")[0].message,
    'Invalid value: "2001:DB8::1": must be in canonical form ("2001:db8::1")',
  );
});
