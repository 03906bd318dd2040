import { assertEquals, assertThrows } from "@std/assert";
import { parseQuantity, QuantityError, quantityProblem } from "./quantity.ts";

Deno.test("parseQuantity() writes what upstream writes", () => {
  const cases: [string | number, string, number][] = [
    ["0", "0", 0],
    ["0Mi", "0", 0],
    ["1024Mi", "1Gi", 1073741824],
    ["0.5", "500m", 1],
    ["1.500", "1.500", 2],
    ["1.5", "1500m", 2],
    ["0.1Ki", "102400m", 103],
    ["1.5Gi", "1536Mi", 1610612736],
    ["12e6", "12e6", 12000000],
    ["1E2", "100", 100],
    ["10Ei", "9223372036854775807", 9223372036854775807],
    ["0.1n", "1n", 1],
    ["-1.5Gi", "-1536Mi", -1610612736],
    ["1000k", "1M", 1000000],
    [0.25, "250m", 1],
    [1e21, "1e+21", 1e21],
    ["100m", "100m", 1],
    ["2048Ki", "2Mi", 2097152],
  ];
  for (const [input, text, value] of cases) {
    assertEquals(parseQuantity(input).toString(), text, String(input));
    assertEquals(parseQuantity(input).value(), value, String(input));
  }
});

Deno.test("parseQuantity() refuses what upstream refuses, in its words", () => {
  for (const bad of ["", "a", "1.5.5", "1 Mi", "1x"]) {
    const error = assertThrows(() => parseQuantity(bad), QuantityError);
    assertEquals(error.message.slice(0, 43), "quantities must match the regular expressio");
  }
  for (const bad of ["1e", "e", "1ee5", "1iM", "1e99999"]) {
    assertEquals(quantityProblem(bad), "unable to parse quantity's suffix", bad);
  }
});

Deno.test("Quantity adds, subtracts and compares exactly", () => {
  const q = parseQuantity;
  assertEquals(q("1Gi").add(q("512Mi")).toString(), "1536Mi");
  assertEquals(q("1").sub(q("1m")).toString(), "999m");
  assertEquals(q("0").add(q("1Gi")).toString(), "1Gi");
  assertEquals(q("0.1").add(q("0.2")).toString(), "300m");
  assertEquals(q("9223372036854775807").add(q("1")).toString(), "9223372036854775808");
  assertEquals(q("1").compare(q("1000m")), 0);
  assertEquals(q("1Gi").compare(q("1G")) > 0, true);
  assertEquals(q("-1").compare(q("1")) < 0, true);
  assertEquals(q("100m").milliValue(), 100);
  assertEquals(q("100u").milliValue(), 1);
  assertEquals(q("1500m").asInt64(), undefined);
});
