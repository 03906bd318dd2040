/**
 * The scalars that Go gives types of their own: times, quantities, int-or-strings, bytes, durations. Each
 * check returns the canonical form, or says in Go's words why the value is none.
 */
import { canonicalQuantity, quantityProblem } from "./quantity.ts";
import { formatDuration, formatTime, parseDuration, parseTime, timeProblem } from "./time.ts";

/**
 * A value that cannot be decoded. `goType` set: the text must name the field, as Go does. `final`: Go's
 * decoder stops at it (its types that decode themselves), while it notes others and goes on.
 */
export class ScalarProblem {
  readonly text: string;
  readonly goType: string;
  readonly final: boolean;
  constructor(text: string, goType = "", final = false) {
    this.text = text;
    this.goType = goType;
    this.final = final;
  }
}

/** What Go calls a JSON value in its errors. */
export function valueText(value: unknown): string {
  if (value === null) return "null";
  if (typeof value === "boolean") return "bool";
  if (Array.isArray(value)) return "array";
  return typeof value;
}

const ZULU = /^\d{4}-(?:0[1-9]|1[0-2])-(?:0[1-9]|1\d|2[0-8])T(?:[01]\d|2[0-3]):[0-5]\d:[0-5]\dZ$/;

/** RFC 3339 to UTC and whole seconds. */
export function checkTime(value: unknown): string | ScalarProblem {
  if (typeof value !== "string") return new ScalarProblem(valueText(value), "string");
  if (ZULU.test(value)) return value;
  const ms = parseTime(value);
  if (ms === undefined) return new ScalarProblem(timeProblem(value) ?? `cannot parse ${value}`);
  return formatTime(Math.floor(ms / 1000) * 1000);
}

const ZULU_MICRO =
  /^\d{4}-(?:0[1-9]|1[0-2])-(?:0[1-9]|1\d|2[0-8])T(?:[01]\d|2[0-3]):[0-5]\d:[0-5]\d\.\d{6}Z$/;

/** RFC 3339 to UTC with exactly six digits after the point. */
export function checkMicroTime(value: unknown): string | ScalarProblem {
  if (typeof value !== "string") return new ScalarProblem(valueText(value), "string");
  if (ZULU_MICRO.test(value)) return value;
  const layout = "2006-01-02T15:04:05.000000Z07:00";
  const head = /^(.{16,18}:\d\d)(\..{6})?(.*)$/s.exec(value);
  const ms = parseTime(value);
  // Go's layout wants the six digits; its general layout takes any number of them.
  if (head && parseTime(`${head[1]}Z`) !== undefined) {
    const quoted = `parsing time ${JSON.stringify(value)} as "${layout}": cannot parse `;
    if (!/^\.\d{6}$/.test(head[2] ?? "")) {
      return new ScalarProblem(
        `${quoted}${JSON.stringify((head[2] ?? "") + head[3])} as ".000000"`,
      );
    }
    if (ms === undefined || /^\d/.test(head[3])) {
      return new ScalarProblem(`${quoted}${JSON.stringify(head[3])} as "Z07:00"`);
    }
  }
  if (ms === undefined || !head?.[2]) {
    return new ScalarProblem(timeProblem(value, layout) ?? `cannot parse ${value}`);
  }
  return `${formatTime(Math.floor(ms / 1000) * 1000).slice(0, 19)}${head[2]}Z`;
}

/** Canonical forms seen before: manifests repeat a few quantities all day long. */
const quantities = new Map<string, string>();
const QUANTITIES_MAX = 2048;
/** Longer than any amount of anything: numbers have at most 19 digits before a suffix or exponent. */
const QUANTITY_LENGTH_MAX = 100;
const QUANTITY_PROBLEM = "quantities must match the regular expression " +
  "'^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'";

/** A quantity in canonical form. */
export function checkQuantity(value: unknown): string | ScalarProblem {
  if (typeof value !== "string" && typeof value !== "number") {
    return new ScalarProblem(QUANTITY_PROBLEM);
  }
  const text = typeof value === "string" ? value.trim() : String(value);
  if (text.length > QUANTITY_LENGTH_MAX) return new ScalarProblem(QUANTITY_PROBLEM);
  const known = quantities.get(text);
  if (known !== undefined) return known;
  const problem = quantityProblem(text);
  if (problem !== undefined) return new ScalarProblem(problem);
  const canonical = canonicalQuantity(text);
  if (text.length <= 32) {
    if (quantities.size >= QUANTITIES_MAX) quantities.clear();
    quantities.set(text, canonical);
  }
  return canonical;
}

/** An int32, or any string. */
export function checkIntOrString(value: unknown): number | string | ScalarProblem {
  if (typeof value === "string") return value;
  return typeof value === "number"
    ? checkInteger(value, "int32")
    : new ScalarProblem(valueText(value), "int32");
}

/** An integer in its type's range. */
export function checkInteger(value: unknown, format: string): number | ScalarProblem {
  if (typeof value !== "number") return new ScalarProblem(valueText(value), format);
  const fits = Number.isInteger(value) && (
    format === "int32"
      ? value === (value | 0)
      : format === "int64"
      ? value >= -(2 ** 63) && value <= 2 ** 63
      : value >= 0 && value < (format === "uint32" ? 2 ** 32 : 2 ** 64)
  );
  // Minus zero would come back as plain zero.
  return fits ? value + 0 : new ScalarProblem(`number ${numberText(value)}`, format);
}

/** A number as it was most likely written. */
export function numberText(value: number): string {
  if (Number.isInteger(value) && Math.abs(value) < 2 ** 63 * 2) return BigInt(value).toString();
  return String(value);
}

const NOT_BASE64 = /[^A-Za-z0-9+/]/;

/** Whether a text is base64 with padding. One pass without backtracking: Secrets are large. */
function isBase64(text: string): boolean {
  if (text.length % 4 !== 0) return false;
  const end = text.search(NOT_BASE64);
  return end < 0 || (end >= text.length - 2 && /^={1,2}$/.test(text.slice(end)));
}

/** Base64 with padding; line breaks are dropped. */
export function checkBytes(value: unknown): string | ScalarProblem {
  if (typeof value !== "string") return new ScalarProblem(valueText(value), "[]uint8");
  if (isBase64(value)) return canonicalTail(value);
  const joined = value.replace(/[\r\n]/g, "");
  if (isBase64(joined)) return canonicalTail(joined);
  return new ScalarProblem(`illegal base64 data at input byte ${base64Problem(joined)}`);
}

const ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/** The bits that padding leaves over become zero, as after decoding and encoding. */
function canonicalTail(text: string): string {
  if (!text.endsWith("=")) return text;
  const pads = text.endsWith("==") ? 2 : 1;
  const at = text.length - pads - 1;
  const bits = ALPHABET.indexOf(text[at]);
  const clean = pads === 2 ? bits & 0x30 : bits & 0x3c;
  return bits === clean ? text : text.slice(0, at) + ALPHABET[clean] + "=".repeat(pads);
}

/** Where Go's decoder stops: at the start of a part that is cut short, else at what does not belong. */
function base64Problem(text: string): number {
  const at = text.search(NOT_BASE64);
  if (at < 0) return text.length - text.length % 4;
  const place = at % 4;
  if (text[at] !== "=" || place < 2) return at;
  if (place === 3) return at + 1;
  if (text[at + 1] === undefined) return at + 1;
  return text[at + 1] === "=" ? at + 2 : at;
}

/** A Go duration, printed as Go prints it. */
export function checkDuration(value: unknown): string | ScalarProblem {
  if (typeof value !== "string") return new ScalarProblem(valueText(value), "string");
  try {
    return formatDuration(parseDuration(value));
  } catch (error) {
    return new ScalarProblem((error as Error).message);
  }
}
