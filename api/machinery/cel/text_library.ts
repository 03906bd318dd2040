/** CEL's string extension: functions on texts, which count characters, not code units. */
import { sizeKnown, STRING_COST, walked } from "./costs.ts";
import { scaled } from "./estimate.ts";
import { formatted } from "./format_string.ts";
import { define, method, type Price } from "./registry.ts";
import { work } from "./lane.ts";
import { CelError, characters, type Value } from "./values.ts";

/** Longest text that a function makes; real memory is bounded even where costs are not. */
export const TEXT_LENGTH_MAX = 32 * 1024 * 1024;

/** Counts the work of making a text. */
function making(length: number): void {
  work(length > TEXT_LENGTH_MAX ? Infinity : length / 64);
}

function outOfRange(value: bigint): CelError {
  return new CelError(`index out of range: ${value}`);
}

/** The place in code units of a character's index; throws where there is none. */
function placeOf(text: string, index: bigint, most: number): number {
  if (index < 0n || index > BigInt(most)) throw outOfRange(index);
  if (most === text.length) return Number(index);
  let at = 0;
  let left = Number(index);
  for (const one of text) {
    if (left-- === 0) break;
    at += one.length;
  }
  return at;
}

/** The index in characters of a place in code units. */
function indexAt(text: string, place: number): bigint {
  return BigInt(place < 0 ? -1 : characters(text.slice(0, place)));
}

function charAt(text: string, index: bigint): string {
  const count = characters(text);
  const at = placeOf(text, index, count);
  return at === text.length ? "" : String.fromCodePoint(text.codePointAt(at)!);
}

function indexOf(text: string, part: string, from = 0n): bigint {
  if (part === "") return from;
  const count = characters(text);
  if (from < 0n) throw outOfRange(from);
  if (from >= BigInt(count)) return -1n;
  return indexAt(text, text.indexOf(part, placeOf(text, from, count)));
}

function lastIndexOf(text: string, part: string, from?: bigint): bigint {
  const count = characters(text);
  if (part === "") return from ?? BigInt(count);
  if (from === undefined) return indexAt(text, text.lastIndexOf(part));
  if (from < 0n) throw outOfRange(from);
  if (from >= BigInt(count)) return -1n;
  return indexAt(text, text.lastIndexOf(part, placeOf(text, from, count)));
}

function substring(text: string, from: bigint, to?: bigint): string {
  const count = characters(text);
  if (to !== undefined && from > to) {
    throw new CelError(`invalid substring range. start: ${from}, end: ${to}`);
  }
  const start = placeOf(text, from, count);
  return text.slice(start, to === undefined ? undefined : placeOf(text, to, count));
}

/** Replaces up to `limit` texts, all when that is negative. An empty one is before every character. */
function replace(text: string, from: string, to: string, limit = -1n): string {
  const most = limit < 0n ? Infinity : Number(limit);
  if (from === "") {
    const parts = ["", ...text];
    making(text.length + Math.min(parts.length, most) * to.length);
    return parts.map((one, i) => i < most ? one + to : one).join("");
  }
  const parts = text.split(from);
  making(text.length + Math.min(parts.length, most) * to.length);
  if (parts.length - 1 <= most) return parts.join(to);
  return [parts.slice(0, most + 1).join(to), ...parts.slice(most + 1)].join(from);
}

function split(text: string, by: string, limit = -1n): string[] {
  if (limit === 0n) return [];
  if (limit === 1n) return [text];
  const parts = by === "" ? [...text] : text.split(by);
  work(parts.length);
  const most = Number(limit);
  if (limit < 0n || parts.length <= most) return parts;
  return [...parts.slice(0, most - 1), parts.slice(most - 1).join(by)];
}

function join(list: Value[], by = ""): string {
  let length = 0;
  for (const one of list) {
    if (typeof one !== "string") throw new CelError("no such overload");
    length += one.length + by.length;
  }
  making(length);
  work(list.length);
  return (list as string[]).join(by);
}

const SPACE = "[\\t-\\r \\x85\\xa0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000]";
const EDGES = new RegExp(`^${SPACE}+|${SPACE}+$`, "gu");

const QUOTED: Readonly<Record<string, string>> = {
  "\x07": "\\a",
  "\b": "\\b",
  "\f": "\\f",
  "\n": "\\n",
  "\r": "\\r",
  "\t": "\\t",
  "\v": "\\v",
  "\\": "\\\\",
  '"': '\\"',
};

function quote(text: string): string {
  // deno-lint-ignore no-control-regex -- they are what is quoted
  return `"${text.replace(/[\x07\b\f\n\r\t\v\\"]/g, (c) => QUOTED[c])}"`;
}

const formatPrice: Price = {
  cost: walked(0),
  estimate: ([text]) => ({ cost: scaled(sizeKnown(text), STRING_COST) }),
};

const quotePrice: Price = {
  cost: walked(0),
  estimate: ([text]) => {
    const { min, max } = sizeKnown(text);
    const size = { min: min + 2, max: max * 2 + 2 };
    return { cost: scaled({ min, max }, STRING_COST), size };
  },
};

/** Defines everything here. */
export function defineTexts(): void {
  method("string", "charAt", ["int"], "string", charAt);
  for (const [name, run] of [["indexOf", indexOf], ["lastIndexOf", lastIndexOf]] as const) {
    method("string", name, ["string"], "int", run);
    method("string", name, ["string", "int"], "int", run);
  }
  method("string", "lowerAscii", [], "string", (text: string) => {
    return text.replace(/[A-Z]+/g, (c) => c.toLowerCase());
  });
  method("string", "upperAscii", [], "string", (text: string) => {
    return text.replace(/[a-z]+/g, (c) => c.toUpperCase());
  });
  method("string", "trim", [], "string", (text: string) => text.replace(EDGES, ""));
  method("string", "replace", ["string", "string"], "string", replace);
  method("string", "replace", ["string", "string", "int"], "string", replace);
  method("string", "split", ["string"], "list<string>", split);
  method("string", "split", ["string", "int"], "list<string>", split);
  method("string", "substring", ["int"], "string", substring);
  method("string", "substring", ["int", "int"], "string", substring);
  method("list<string>", "join", [], "string", join);
  method("list<string>", "join", ["string"], "string", join);
  method("string", "format", ["list<dyn>"], "string", formatted, formatPrice);
  define("strings.quote", ["string"], "string", quote, quotePrice);
}
