/**
 * Times and durations as objects hold them and as people read them. Moments are milliseconds since 1970;
 * nothing here reads a clock.
 */

import { goQuote } from "./go_format.ts";

const SECOND = 1000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;

/** The last two seconds that were written, up to their digits: times come in order, thousands a second. */
let last = { second: NaN, text: "" };
let before = last;

function secondText(second: number): string {
  if (second === last.second) return last.text;
  const known = second === before.second
    ? before
    : { second, text: new Date(second * SECOND).toISOString().slice(0, 19) };
  [before, last] = [last, known];
  return known.text;
}

/** metav1.Time: RFC 3339 in UTC, whole seconds. */
export function formatTime(ms: number): string {
  return `${secondText(Math.floor(ms / SECOND))}Z`;
}

/** metav1.MicroTime: RFC 3339 in UTC, six digits of fraction. */
export function formatMicroTime(ms: number): string {
  const second = Math.floor(ms / SECOND);
  const whole = Math.floor(ms);
  const millis = whole - second * SECOND;
  const micros = Math.floor((ms - whole) * 1000);
  return `${secondText(second)}.${String(millis * 1000 + micros).padStart(6, "0")}Z`;
}

const RFC3339 =
  /^(\d{4})-(\d{2})-(\d{2})T(\d{1,2}):(\d{2}):(\d{2})(?:[.,](\d+))?(Z|[+-]\d{2}:\d{2})$/;

/** Parses RFC 3339 as Go does; undefined when it is none. Fractions of a millisecond are kept. */
export function parseTime(text: string): number | undefined {
  if (text.length === PLAIN_LENGTH) {
    const known = parsed.get(text) ?? parsePlain(text);
    if (known !== undefined) return known;
  }
  const match = RFC3339.exec(text);
  if (!match) return undefined;
  const [year, month, day, hour, minute, second] = match.slice(1, 7).map(Number);
  if (month < 1 || month > 12 || day < 1 || day > daysOf(year, month)) return undefined;
  if (hour > 23 || minute > 59 || second > 59) return undefined;
  let ms = utc(year, month, day) + hour * HOUR + minute * MINUTE + second * SECOND;
  if (match[7]) ms += Math.floor(Number(`0.${match[7]}`) * 1e6 + 1e-6) / 1e3;
  const zone = match[8];
  if (zone !== "Z") {
    const hours = Number(zone.slice(1, 3));
    const minutes = Number(zone.slice(4, 6));
    if (hours > 24 || minutes > 60) return undefined;
    const offset = hours * HOUR + minutes * MINUTE;
    ms -= zone[0] === "-" ? -offset : offset;
  }
  return ms;
}

/** `2006-01-02T15:04:05Z`: what is written here, and so nearly all there is to read. */
const PLAIN_LENGTH = 20;
const PLAIN_SIGNS = "    -  -  T  :  :  Z";

/** Times of that form that were read lately: whoever looks at an object again reads its times again. */
const parsed = new Map<string, number>();
const PARSED_MAX = 512;

/** The time of a text of that form, without the machinery of the general one; undefined when it is none. */
function parsePlain(text: string): number | undefined {
  const numbers = [0, 0, 0, 0, 0, 0];
  let part = 0;
  for (let i = 0; i < PLAIN_LENGTH; i++) {
    const unit = text.charCodeAt(i);
    const sign = PLAIN_SIGNS.charCodeAt(i);
    if (sign !== SPACE) {
      if (unit !== sign) return undefined;
      part++;
    } else {
      if (unit < ZERO || unit > NINE) return undefined;
      numbers[part] = numbers[part] * 10 + unit - ZERO;
    }
  }
  const [year, month, day, hour, minute, second] = numbers;
  if (year < 100 || month < 1 || month > 12 || day < 1 || day > daysOf(year, month)) {
    return undefined;
  }
  if (hour > 23 || minute > 59 || second > 59) return undefined;
  const ms = Date.UTC(year, month - 1, day, hour, minute, second);
  if (parsed.size >= PARSED_MAX) parsed.clear();
  parsed.set(text, ms);
  return ms;
}

const SPACE = 0x20;
const ZERO = 0x30;
const NINE = 0x39;

function utc(year: number, month: number, day: number): number {
  // Date.UTC takes years below 100 for 1900 and later.
  const date = new Date(0);
  date.setUTCFullYear(year, month - 1, day);
  return date.getTime();
}

function daysOf(year: number, month: number): number {
  if (month === 2) return year % 4 === 0 && (year % 100 !== 0 || year % 400 === 0) ? 29 : 28;
  return month === 4 || month === 6 || month === 9 || month === 11 ? 30 : 31;
}

const LAYOUT = "2006-01-02T15:04:05Z07:00";

/** What Go reads in turn: the piece, how the layout names it, its range if that is checked at once. */
const PIECES: [RegExp, string, string?, number?, number?][] = [
  [/^\d{4}/, "2006"],
  [/^-/, "-"],
  [/^\d{2}/, "01", "month", 1, 12],
  [/^-/, "-"],
  [/^\d{2}/, "02"],
  [/^T/, "T"],
  [/^\d{1,2}/, "15", "hour", 0, 23],
  [/^:/, ":"],
  [/^\d{2}/, "04", "minute", 0, 59],
  [/^:/, ":"],
  [/^\d{2}(?:[.,]\d+)?/, "05", "second", 0, 59.999999999999],
  [/^(?:Z|[+-]\d{2}:\d{2})/, "Z07:00"],
];

/** Go's message of a text that is not RFC 3339; undefined when it is. */
export function timeProblem(text: string, layout = LAYOUT): string | undefined {
  if (parseTime(text) !== undefined) return undefined;
  const quoted = goQuote(text);
  const head = `parsing time ${quoted} as ${goQuote(layout)}: cannot parse `;
  let rest = text;
  for (const [piece, name, range, min, max] of PIECES) {
    const match = piece.exec(rest);
    if (!match) return `${head}${goQuote(rest)} as ${goQuote(name)}`;
    const value = Number(match[0].replace(",", "."));
    if (range && (value < min! || value > max!)) {
      return `parsing time ${quoted}: ${range} out of range`;
    }
    rest = rest.slice(match[0].length);
  }
  if (rest) return `parsing time ${quoted}: extra text: ${goQuote(rest)}`;
  const offset = /[+-](\d{2}):(\d{2})$/.exec(text);
  const zone = offset && Number(offset[1]) > 24
    ? "time zone offset hour"
    : offset && Number(offset[2]) > 60
    ? "time zone offset minute"
    : "day";
  return `parsing time ${quoted}: ${zone} out of range`;
}

// --- Go durations -------------------------------------------------------------------------------------

const UNITS: Record<string, number> = {
  ns: 1e-6,
  us: 1e-3,
  "\u00b5s": 1e-3,
  "\u03bcs": 1e-3,
  ms: 1,
  s: SECOND,
  m: MINUTE,
  h: HOUR,
};

/** A text that is no duration. The message is Go's. */
export class DurationError extends Error {
  override name = "DurationError";
}

/** Parses a Go duration such as `1h15m30.5s` into milliseconds. Throws DurationError. */
export function parseDuration(text: string): number {
  const bad = () => new DurationError(`time: invalid duration ${goQuote(text)}`);
  let rest = text;
  let sign = 1;
  if (rest[0] === "-" || rest[0] === "+") {
    if (rest[0] === "-") sign = -1;
    rest = rest.slice(1);
  }
  if (rest === "0") return 0;
  if (rest === "") throw bad();
  let total = 0;
  while (rest) {
    const number = /^(?:[0-9]+\.?[0-9]*|\.[0-9]+)/.exec(rest);
    if (!number) throw bad();
    rest = rest.slice(number[0].length);
    const unit = /^[^0-9.]*/.exec(rest)![0];
    rest = rest.slice(unit.length);
    if (unit === "") {
      throw new DurationError(`time: missing unit in duration ${goQuote(text)}`);
    }
    if (!Object.hasOwn(UNITS, unit)) {
      const name = goQuote(unit);
      throw new DurationError(`time: unknown unit ${name} in duration ${goQuote(text)}`);
    }
    // Go keeps whole nanoseconds.
    total += wholeNanos(Number(number[0]) * UNITS[unit] * 1e6) / 1e6;
    if (total > 9223372036854.776) throw bad();
  }
  return sign * total;
}

/** Truncated, but for what floating point made of a whole number. */
function wholeNanos(value: number): number {
  const near = Math.round(value);
  return Math.abs(value - near) <= near * 1e-15 ? near : Math.floor(value);
}

/** A duration as Go prints it: `1h0m0s`, `1m30s`, `1.5s`, `250ms`, `0s`. */
export function formatDuration(ms: number): string {
  if (ms === 0) return "0s";
  const sign = ms < 0 ? "-" : "";
  const amount = Math.abs(ms);
  if (amount < SECOND) {
    if (amount >= 1) return `${sign}${trimmed(amount)}ms`;
    if (amount >= 1e-3) return `${sign}${trimmed(amount * 1e3)}\u00b5s`;
    return `${sign}${Math.round(amount * 1e6)}ns`;
  }
  const hours = Math.floor(amount / HOUR);
  const minutes = Math.floor(amount % HOUR / MINUTE);
  const seconds = `${trimmed(amount % MINUTE / SECOND)}s`;
  if (hours) return `${sign}${hours}h${minutes}m${seconds}`;
  return minutes ? `${sign}${minutes}m${seconds}` : `${sign}${seconds}`;
}

function trimmed(value: number): string {
  const text = value.toFixed(9);
  return text.includes(".") ? text.replace(/\.?0+$/, "") : text;
}

// --- durations for people -----------------------------------------------------------------------------

/** A duration with two or three figures, as kubectl's AGE: `5m12s`, `3d4h`, `2y45d`. */
export function humanDuration(ms: number): string {
  const seconds = Math.trunc(ms / SECOND);
  // Two seconds of disagreement between machines count as now.
  if (seconds < -1) return "<invalid>";
  if (seconds < 0) return "0s";
  if (seconds < 120) return `${seconds}s`;
  const minutes = Math.trunc(ms / MINUTE);
  if (minutes < 10) return joined(minutes, "m", seconds % 60, "s");
  if (minutes < 180) return `${minutes}m`;
  const hours = Math.trunc(ms / HOUR);
  if (hours < 8) return joined(hours, "h", minutes % 60, "m");
  if (hours < 48) return `${hours}h`;
  const days = Math.trunc(ms / DAY);
  if (hours < 192) return joined(days, "d", hours % 24, "h");
  if (hours < 24 * 365 * 2) return `${days}d`;
  const years = Math.trunc(days / 365);
  return hours < 24 * 365 * 8 ? joined(years, "y", days % 365, "d") : `${years}y`;
}

function joined(a: number, unitA: string, b: number, unitB: string): string {
  return b === 0 ? `${a}${unitA}` : `${a}${unitA}${b}${unitB}`;
}

/** A duration with one figure: `5m`, `3h`, `12d`. */
export function shortHumanDuration(ms: number): string {
  const seconds = Math.trunc(ms / SECOND);
  if (seconds < -1) return "<invalid>";
  if (seconds < 0) return "0s";
  if (seconds < 60) return `${seconds}s`;
  if (seconds < 3600) return `${Math.trunc(ms / MINUTE)}m`;
  const hours = Math.trunc(ms / HOUR);
  if (hours < 24) return `${hours}h`;
  return hours < 24 * 365 ? `${Math.trunc(hours / 24)}d` : `${Math.trunc(hours / 24 / 365)}y`;
}

/** The age of something by its timestamp: `<unknown>` when that is absent. */
export function age(timestamp: string | null | undefined, now: number): string {
  if (!timestamp) return "<unknown>";
  const then = parseTime(timestamp);
  return then === undefined ? "<unknown>" : humanDuration(now - then);
}
