import { assertEquals, assertThrows } from "@std/assert";
import {
  DurationError,
  formatDuration,
  formatMicroTime,
  formatTime,
  humanDuration,
  parseDuration,
  parseTime,
  timeProblem,
} from "./time.ts";
import { IntOrStringError, intValue, scaledValue } from "./int_or_string.ts";

Deno.test("times are written and read", () => {
  const ms = Date.UTC(2026, 10, 21, 9, 5, 1, 250);
  assertEquals(formatTime(ms), "2026-11-21T09:05:01Z");
  assertEquals(formatMicroTime(ms), "2026-11-21T09:05:01.250000Z");
  assertEquals(parseTime("2026-11-21T10:05:01.25+01:00"), ms);
  assertEquals(parseTime("2026-02-29T00:00:00Z"), undefined);
  assertEquals(parseTime("2024-02-29T00:00:00Z") !== undefined, true);
  assertEquals(parseTime("2026-01-01"), undefined);
  assertEquals(
    timeProblem("yesterday"),
    'parsing time "yesterday" as "2006-01-02T15:04:05Z07:00": cannot parse "yesterday" as "2006"',
  );
  assertEquals(
    timeProblem("2026-13-01T00:00:00Z"),
    'parsing time "2026-13-01T00:00:00Z": month out of range',
  );
});

Deno.test("durations are Go's", () => {
  const cases: [string, number, string][] = [
    ["1h", 3600000, "1h0m0s"],
    ["1h15m30.5s", 4530500, "1h15m30.5s"],
    ["250ms", 250, "250ms"],
    ["-1.5s", -1500, "-1.5s"],
    ["0", 0, "0s"],
    ["10us", 0.01, "10µs"],
  ];
  for (const [text, ms, printed] of cases) {
    assertEquals(parseDuration(text), ms);
    assertEquals(formatDuration(ms), printed);
  }
  assertThrows(() => parseDuration("5"), DurationError, 'time: missing unit in duration "5"');
  assertThrows(() => parseDuration("5x"), DurationError, 'time: unknown unit "x" in duration "5x"');
  assertThrows(() => parseDuration(""), DurationError, 'time: invalid duration ""');
});

Deno.test("humanDuration() prints ages as kubectl", () => {
  const s = 1000, m = 60 * s, h = 60 * m, d = 24 * h;
  const cases: [number, string][] = [
    [-5 * s, "<invalid>"],
    [-s, "0s"],
    [119 * s, "119s"],
    [2 * m, "2m"],
    [5 * m + 12 * s, "5m12s"],
    [10 * m + 12 * s, "10m"],
    [3 * h + 5 * m, "3h5m"],
    [8 * h + 5 * m, "8h"],
    [47 * h, "47h"],
    [3 * d + 4 * h, "3d4h"],
    [8 * d + 4 * h, "8d"],
    [3 * 365 * d + 45 * d, "3y45d"],
    [9 * 365 * d, "9y"],
  ];
  for (const [ms, text] of cases) assertEquals(humanDuration(ms), text);
});

Deno.test("scaledValue() takes numbers and percentages", () => {
  assertEquals(scaledValue(3, 10, true), 3);
  assertEquals(scaledValue("25%", 10, true), 3);
  assertEquals(scaledValue("25%", 10, false), 2);
  assertEquals(intValue("80"), 80);
  assertEquals(intValue("http"), 0);
  assertThrows(
    () => scaledValue("5", 10, true),
    IntOrStringError,
    "invalid value for IntOrString: invalid type: string is not a percentage",
  );
});
