import { assertEquals } from "@std/assert";
import {
  checkBytes,
  checkDuration,
  checkInteger,
  checkIntOrString,
  checkMicroTime,
  checkQuantity,
  checkTime,
  ScalarProblem,
} from "./scalars.ts";

type Check = (value: unknown) => unknown;

function run(check: Check, cases: [unknown, unknown][]): void {
  for (const [input, expected] of cases) {
    const made = check(input);
    assertEquals(made instanceof ScalarProblem ? `! ${made.text}` : made, expected, String(input));
  }
}

Deno.test("times become UTC seconds", () => {
  run(checkTime, [
    ["2026-01-02T03:04:05Z", "2026-01-02T03:04:05Z"],
    ["2026-01-02T03:04:05.999Z", "2026-01-02T03:04:05Z"],
    ["2026-01-02T03:04:05+09:00", "2026-01-01T18:04:05Z"],
    ["2024-02-29T00:00:00Z", "2024-02-29T00:00:00Z"],
    ["2025-02-29T00:00:00Z", '! parsing time "2025-02-29T00:00:00Z": day out of range'],
    [1, "! number"],
  ]);
});

Deno.test("micro times have six digits", () => {
  const head = "! parsing time ";
  const layout = "2006-01-02T15:04:05.000000Z07:00";
  run(checkMicroTime, [
    ["2026-01-02T03:04:05.123456Z", "2026-01-02T03:04:05.123456Z"],
    ["2026-01-02T03:04:05.123456+01:00", "2026-01-02T02:04:05.123456Z"],
    [
      "2026-01-02T03:04:05Z",
      `${head}"2026-01-02T03:04:05Z" as "${layout}": cannot parse "Z" as ".000000"`,
    ],
    [
      "2026-01-02T03:04:05.1234567Z",
      `${head}"2026-01-02T03:04:05.1234567Z" as "${layout}": cannot parse "7Z" as "Z07:00"`,
    ],
  ]);
});

Deno.test("quantities become canonical", () => {
  run(checkQuantity, [
    ["0.5", "500m"],
    [1, "1"],
    ["1024Mi", "1Gi"],
    [" 1 ", "1"],
    [
      true,
      "! quantities must match the regular expression " +
      "'^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'",
    ],
  ]);
});

Deno.test("integers keep their range", () => {
  run((v) => checkInteger(v, "int32"), [
    [2147483647, 2147483647],
    [2147483648, "! number 2147483648"],
    [1.5, "! number 1.5"],
    [1e21, "! number 1e+21"],
    [-0, 0],
    ["1", "! string"],
  ]);
  run((v) => checkInteger(v, "int64"), [[2 ** 40, 2 ** 40], [1e30, "! number 1e+30"]]);
  run(checkIntOrString, [[80, 80], ["http", "http"], [1.5, "! number 1.5"], [true, "! bool"]]);
});

Deno.test("base64 is checked and made canonical", () => {
  run(checkBytes, [
    ["aGVsbG8=", "aGVsbG8="],
    ["aGVs\nbG8=\r\n", "aGVsbG8="],
    ["QR==", "QQ=="],
    ["", ""],
    ["a$Vs", "! illegal base64 data at input byte 1"],
    ["abc", "! illegal base64 data at input byte 0"],
    ["ab=", "! illegal base64 data at input byte 3"],
    ["ab==c", "! illegal base64 data at input byte 4"],
    ["ab=c", "! illegal base64 data at input byte 2"],
    ["a===", "! illegal base64 data at input byte 1"],
    ["abcd=", "! illegal base64 data at input byte 4"],
  ]);
  const large = "A".repeat(4 * 262144);
  assertEquals(checkBytes(large), large);
});

Deno.test("durations are printed as Go prints them", () => {
  run(checkDuration, [["90s", "1m30s"], ["0", "0s"], ["x", '! time: invalid duration "x"']]);
});
