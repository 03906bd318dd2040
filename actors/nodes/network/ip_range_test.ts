import { assertEquals } from "@std/assert";
import { formatRange, merged, parseIpRange, without } from "./ip_range.ts";

const range = (text: string) => parseIpRange(text)!;

Deno.test("parseIpRange() reads both families and nothing else", () => {
  const cases: [string, string | undefined][] = [
    ["10.1.2.3/8", "10.0.0.0-10.255.255.255"],
    ["10.1.2.3", "10.1.2.3"],
    ["0.0.0.0/0", "0.0.0.0-255.255.255.255"],
    ["fd00::/120", "fd00:0:0:0:0:0:0:0-fd00:0:0:0:0:0:0:ff"],
    ["::1", "0:0:0:0:0:0:0:1"],
    ["::ffff:1.2.3.4", "0:0:0:0:0:ffff:102:304"],
    ["10.0.0.0/33", undefined],
    ["10.0.0", undefined],
    ["fd00:::1", undefined],
    ["1:2:3:4:5:6:7", undefined],
    ["1:2:3:4:5:6:7:8:9", undefined],
  ];
  for (const [text, wanted] of cases) {
    const parsed = parseIpRange(text);
    assertEquals(parsed && formatRange(parsed), wanted, text);
  }
});

Deno.test("merged() joins what overlaps or touches", () => {
  const texts = ["10.0.1.0/24", "10.0.0.0/24", "10.0.0.128/25", "10.0.3.0/24"].map(range);
  assertEquals(merged(texts).map(formatRange), ["10.0.0.0-10.0.1.255", "10.0.3.0-10.0.3.255"]);
});

Deno.test("without() leaves what lies around the holes", () => {
  const left = (from: string, ...holes: string[]) =>
    without(range(from), holes.map(range)).map(formatRange);
  assertEquals(left("10.0.0.0/24", "10.0.0.0/25"), ["10.0.0.128-10.0.0.255"]);
  assertEquals(left("10.0.0.0/24", "10.0.0.7", "10.0.0.8"), [
    "10.0.0.0-10.0.0.6",
    "10.0.0.9-10.0.0.255",
  ]);
  assertEquals(left("10.0.0.0/24", "10.0.0.0/8"), []);
  assertEquals(left("10.0.0.0/24", "fd00::/8", "11.0.0.0/8"), ["10.0.0.0-10.0.0.255"]);
});
