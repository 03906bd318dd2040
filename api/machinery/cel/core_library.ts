/** CEL's standard definitions: operators, conversions, strings, times. */
import { parseDuration, parseTime } from "../time.ts";
import { LongSearch, takesLong } from "../crd/long_search.ts";
import { compilePattern, keptPattern } from "../crd/regexp.ts";
import {
  added,
  appended,
  matched,
  PATTERN_COST,
  shorter,
  sizeKnown,
  STRING_COST,
  walked,
} from "./costs.ts";
import { ONE, scaled, sum, times } from "./estimate.ts";
import { define, method, type Price } from "./registry.ts";
import { isLong, leaveShort, piecemeal, tick, work } from "./lane.ts";
import {
  CelError,
  characters,
  compare,
  Duration,
  equal,
  listSchema,
  NONE,
  Optional,
  sizeOf,
  textOf,
  Timestamp,
  typeName,
  TypeValue,
  Uint,
  type Value,
  withListSchema,
} from "./values.ts";

const INT_MAX = 2n ** 63n - 1n;
const INT_MIN = -(2n ** 63n);
const UINT_MAX = 2n ** 64n - 1n;

/** An int, if it is in range. */
export function toInt(value: bigint): bigint {
  if (value > INT_MAX || value < INT_MIN) throw new CelError("integer overflow");
  return value;
}

function toUint(value: bigint): Uint {
  if (value > UINT_MAX || value < 0n) throw new CelError("unsigned integer overflow");
  return new Uint(value);
}

function nonZero(value: bigint, what: string): bigint {
  if (value === 0n) throw new CelError(what);
  return value;
}

function arithmetic(): void {
  // In cel-go's order: of operands that may be anything the first is taken.
  define("_+_", ["bytes", "bytes"], "bytes", (a: Uint8Array, b: Uint8Array) => {
    work(a.length + b.length);
    return new Uint8Array([...a, ...b]);
  }, added);
  define("_+_", ["double", "double"], "double", (a: number, b: number) => a + b);
  define("_-_", ["double", "double"], "double", (a: number, b: number) => a - b);
  define("_*_", ["double", "double"], "double", (a: number, b: number) => a * b);
  define("_/_", ["double", "double"], "double", (a: number, b: number) => a / b);
  define("-_", ["double"], "double", (a: number) => -a);
  define("_+_", ["int", "int"], "int", (a: bigint, b: bigint) => toInt(a + b));
  define("_-_", ["int", "int"], "int", (a: bigint, b: bigint) => toInt(a - b));
  define("_*_", ["int", "int"], "int", (a: bigint, b: bigint) => toInt(a * b));
  define("_/_", ["int", "int"], "int", (a: bigint, b: bigint) => {
    return toInt(a / nonZero(b, "division by zero"));
  });
  define("_%_", ["int", "int"], "int", (a: bigint, b: bigint) => {
    return a % nonZero(b, "modulus by zero");
  });
  define("-_", ["int"], "int", (a: bigint) => toInt(-a));
  define("_+_", ["uint", "uint"], "uint", (a: Uint, b: Uint) => toUint(a.value + b.value));
  define("_-_", ["uint", "uint"], "uint", (a: Uint, b: Uint) => toUint(a.value - b.value));
  define("_*_", ["uint", "uint"], "uint", (a: Uint, b: Uint) => toUint(a.value * b.value));
  define("_/_", ["uint", "uint"], "uint", (a: Uint, b: Uint) => {
    return new Uint(a.value / nonZero(b.value, "division by zero"));
  });
  define("_%_", ["uint", "uint"], "uint", (a: Uint, b: Uint) => {
    return new Uint(a.value % nonZero(b.value, "modulus by zero"));
  });
  define("_+_", ["string", "string"], "string", (a: string, b: string) => {
    work((a.length + b.length) / 16);
    return a + b;
  }, added);
  define("_+_", ["list<A>", "list<A>"], "list<A>", addLists, appended);
  define("_+_", ["timestamp", "duration"], "timestamp", (a: Timestamp, b: Duration) => {
    return moment(a.ms + b.ms);
  });
  define("_+_", ["duration", "timestamp"], "timestamp", (a: Duration, b: Timestamp) => {
    return moment(a.ms + b.ms);
  });
  define("_+_", ["duration", "duration"], "duration", (a: Duration, b: Duration) => {
    return span(a.ms + b.ms);
  });
  define("_-_", ["timestamp", "timestamp"], "duration", (a: Timestamp, b: Timestamp) => {
    return span(a.ms - b.ms);
  });
  define("_-_", ["timestamp", "duration"], "timestamp", (a: Timestamp, b: Duration) => {
    return moment(a.ms - b.ms);
  });
  define("_-_", ["duration", "duration"], "duration", (a: Duration, b: Duration) => {
    return span(a.ms - b.ms);
  });
  define("!_", ["bool"], "bool", (a: boolean) => !a);
}

const FIRST_MOMENT = Date.parse("0001-01-01T00:00:00Z");
const LAST_MOMENT = Date.UTC(9999, 11, 31, 23, 59, 59) + 999.999999;

/** A timestamp within the years 1 to 9999. */
function moment(ms: number): Timestamp {
  if (ms < FIRST_MOMENT || ms > LAST_MOMENT) throw new CelError("timestamp overflow");
  return new Timestamp(ms);
}

const SPAN_MAX = 2 ** 63 / 1e6;

/** A duration of as many nanoseconds as an int can say. */
function span(ms: number): Duration {
  if (Math.abs(ms) >= SPAN_MAX) throw new CelError("integer overflow");
  return new Duration(ms);
}

/** Lists join; sets unite; keyed lists take the right side's items over the left's of the same keys. */
function addLists(a: Value[], b: Value[]): Value[] {
  const schema = listSchema(a);
  work(a.length + b.length);
  if (!schema) return [...a, ...b];
  const out = [...a];
  const keys = schema.listMapKeys ?? [];
  const same = (x: Value, y: Value) => {
    if (schema.listType === "set") return equal(x, y);
    const field = (v: Value, name: string) => (v as { json?: Record<string, Value> }).json?.[name];
    return keys.every((name) => field(x, name) === field(y, name));
  };
  for (const item of b) {
    work(out.length);
    const at = out.findIndex((other) => same(other, item));
    if (at < 0) out.push(item);
    else out[at] = item;
  }
  return withListSchema(out, schema);
}

const ORDERED = ["bool", "int", "uint", "double", "string", "bytes", "timestamp", "duration"];
const NUMERIC = ["int", "uint", "double"];

/** The order of two values, NaN of those that have none; what cannot be ordered is an error. */
function order(a: Value, b: Value): number {
  const found = compare(a, b);
  if (found !== undefined) return found;
  if (Number.isNaN(a) || Number.isNaN(b)) return NaN;
  throw new CelError("no such overload");
}

function comparison(): void {
  const pairs: [string, string][] = ORDERED.map((type) => [type, type]);
  for (const a of NUMERIC) for (const b of NUMERIC) if (a !== b) pairs.push([a, b]);
  for (const [a, b] of pairs) {
    const cost = a === b && (a === "string" || a === "bytes") ? shorter : undefined;
    define("_<_", [a, b], "bool", (x, y) => order(x, y) < 0, cost);
    define("_<=_", [a, b], "bool", (x, y) => order(x, y) <= 0, cost);
    define("_>_", [a, b], "bool", (x, y) => order(x, y) > 0, cost);
    define("_>=_", [a, b], "bool", (x, y) => order(x, y) >= 0, cost);
  }
  define("@in", ["A", "list<A>"], "bool", (item: Value, list: Value[]) => {
    work(list.length);
    return list.some((other) => equal(item, other));
  }, { cost: (args) => sizeOf(args[1]), estimate: ([_, list]) => ({ cost: sizeKnown(list) }) });
  define("@in", ["A", "map<A,B>"], "bool", (item: Value, map: Map<Value, Value>) => map.has(item));
}

function sizes(): void {
  const kinds: [string, (value: never) => number][] = [
    ["string", characters],
    ["bytes", (v: Uint8Array) => v.length],
    ["list<A>", (v: Value[]) => v.length],
    ["map<A,B>", sizeOf],
  ];
  for (const [type, count] of kinds) {
    const run = (value: never) => BigInt(count(value));
    define("size", [type], "int", run);
    method(type, "size", [], "int", run);
  }
}

function unconverted(what: string): CelError {
  return new CelError(`type conversion error from 'string' to '${what}'`);
}

function parseInteger(text: string): bigint {
  if (!/^[+-]?[0-9]{1,25}$/.test(text)) throw unconverted("int");
  const value = BigInt(text.replace(/^\+/, ""));
  if (value > INT_MAX || value < INT_MIN) throw unconverted("int");
  return value;
}

function parseUint(text: string): Uint {
  if (!/^[0-9]{1,25}$/.test(text) || BigInt(text) > UINT_MAX) throw unconverted("uint");
  return new Uint(BigInt(text));
}

const SPECIAL_NUMBERS: Readonly<Record<string, number>> = {
  nan: NaN,
  inf: Infinity,
  infinity: Infinity,
};

/** As Go's ParseFloat reads numbers: decimal, hexadecimal, and the three that are none. */
function parseDouble(text: string): number {
  const [, sign, digits] = /^([+-]?)(.*)$/s.exec(text)!;
  const special = SPECIAL_NUMBERS[digits.toLowerCase()];
  const hex = /^0[xX]([0-9a-fA-F]*)\.?([0-9a-fA-F]*)[pP]([+-]?\d+)$/.exec(digits);
  let value = special;
  if (hex && hex[1] + hex[2]) {
    value = parseInt(hex[1] + hex[2], 16) * 2 ** (Number(hex[3]) - 4 * hex[2].length);
  } else if (/^(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$/.test(digits)) value = Number(digits);
  if (value === undefined || (special === undefined && !Number.isFinite(value))) {
    throw unconverted("double");
  }
  return sign === "-" ? -value : value;
}

function fromDouble(value: number): bigint {
  if (!Number.isFinite(value)) throw new CelError("integer overflow");
  return toInt(BigInt(Math.trunc(value)));
}

const toBytes: Price = {
  cost: walked(0),
  estimate: ([text]) => {
    const { min, max } = sizeKnown(text);
    return { cost: scaled({ min, max }, STRING_COST), size: { min, max: max * 4 } };
  },
};

function fromUtf8(bytes: Uint8Array): string {
  tick(bytes.length / 16);
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    throw new CelError("invalid UTF-8 in bytes, cannot convert to string");
  }
}

const fromBytes: Price = {
  cost: walked(0),
  estimate: ([bytes]) => {
    const { min, max } = sizeKnown(bytes);
    return { cost: scaled({ min, max }, STRING_COST), size: { min: Math.floor(min / 4), max } };
  },
};

function conversions(): void {
  const same = (v: Value) => v;
  for (
    const type of ["int", "uint", "double", "string", "bytes", "bool", "timestamp", "duration"]
  ) {
    define(type, [type], type, same);
  }
  define("dyn", ["A"], "dyn", same);
  define("type", ["A"], "type", (v: Value) => new TypeValue(typeName(v)));
  define("int", ["uint"], "int", (v: Uint) => toInt(v.value));
  define("int", ["double"], "int", fromDouble);
  define("int", ["string"], "int", (v: string) => parseInteger(v));
  define("int", ["timestamp"], "int", (v: Timestamp) => BigInt(Math.floor(v.ms / 1000)));
  define("uint", ["int"], "uint", toUint);
  define("uint", ["double"], "uint", (v: number) => {
    if (!Number.isFinite(v) || v < 0) throw new CelError("unsigned integer overflow");
    return toUint(BigInt(Math.trunc(v)));
  });
  define("uint", ["string"], "uint", (v: string) => parseUint(v));
  define("int", ["duration"], "int", (v: Duration) => BigInt(Math.round(v.ms * 1e6)));
  define("double", ["int"], "double", (v: bigint) => Number(v));
  define("double", ["uint"], "double", (v: Uint) => Number(v.value));
  define("double", ["string"], "double", (v: string) => {
    return parseDouble(v);
  });
  define("bool", ["string"], "bool", (v: string) => {
    if (["1", "t", "T", "true", "TRUE", "True"].includes(v)) return true;
    if (["0", "f", "F", "false", "FALSE", "False"].includes(v)) return false;
    throw new CelError("type conversion error from 'string' to 'bool'");
  });
  for (const type of ["int", "uint", "double", "bool", "bytes", "timestamp", "duration"]) {
    define(
      "string",
      [type],
      "string",
      type === "bytes" ? fromUtf8 : textOf,
      type === "bytes" ? fromBytes : undefined,
    );
  }
  define("bytes", ["string"], "bytes", (v: string) => {
    tick(v.length / 16);
    return new TextEncoder().encode(v);
  }, toBytes);
  define("timestamp", ["string"], "timestamp", (v: string) => {
    const ms = parseTime(v);
    if (ms === undefined) {
      throw new CelError("type conversion error from 'string' to 'google.protobuf.Timestamp'");
    }
    return new Timestamp(ms);
  });
  define("timestamp", ["int"], "timestamp", (v: bigint) => moment(Number(v) * 1000));
  define("duration", ["string"], "duration", (v: string) => {
    try {
      return new Duration(parseDuration(v));
    } catch {
      throw new CelError("type conversion error from 'string' to 'google.protobuf.Duration'");
    }
  });
}

/** Whether a text holds a match of a pattern; patterns are RE2's and kept compiled by the engine's cache. */
export function matches(text: string, pattern: string): boolean {
  const compiled = compiledPattern(pattern);
  const long = longSearch(compiled, text, { limit: 1, testing: true });
  return long ? long.found : compiled.matcher(text).find();
}

/** The matches that a long evaluation finds by pieces; undefined: leave it to the engine. */
export function longSearch(
  pattern: Pattern,
  text: string,
  options: { limit: number; testing?: boolean },
): LongSearch | undefined {
  tick(text.length / 16);
  if (!takesLong(pattern, text)) return undefined;
  leaveShort();
  return isLong() ? piecemeal(() => new LongSearch(pattern, text, options)) : undefined;
}

type Pattern = ReturnType<typeof compilePattern>;
/** A pattern, compiled once. */
export function compiledPattern(text: string): Pattern {
  const known = keptPattern(text);
  if (known) return known;
  work(500 + 100 * text.length);
  try {
    return compilePattern(text);
  } catch (error) {
    throw new CelError(error instanceof Error ? error.message : String(error));
  }
}

/** cel-go charges for the text at run time, and expects to for what is looked for. */
const ends: Price = {
  cost: walked(0),
  estimate: ([_, end]) => ({ cost: scaled(sizeKnown(end), STRING_COST) }),
};

const containsPrice: Price = {
  cost: ([text, part]) => {
    return Math.ceil(sizeOf(text) * STRING_COST) * Math.ceil(sizeOf(part) * STRING_COST);
  },
  estimate: ([text, part]) => ({
    cost: times(scaled(sizeKnown(text), STRING_COST), scaled(sizeKnown(part), STRING_COST)),
  }),
};

const matchesPrice: Price = {
  cost: ([text, pattern]) => matched(sizeOf(text), sizeOf(pattern)),
  estimate: ([text, pattern]) => ({
    cost: times(
      scaled(sum(sizeKnown(text), ONE), STRING_COST),
      scaled(sizeKnown(pattern), PATTERN_COST),
    ),
  }),
};

function texts(): void {
  const both = (name: string, run: (a: string, b: string) => boolean, price: Price) =>
    method("string", name, ["string"], "bool", run, price);
  both("contains", (a, b) => a.includes(b), containsPrice);
  both("startsWith", (a, b) => a.startsWith(b), ends);
  both("endsWith", (a, b) => a.endsWith(b), ends);
  both("matches", matches, matchesPrice);
  define("matches", ["string", "string"], "bool", matches, matchesPrice);
}

const TIME_PARTS: Record<string, (date: Date) => number> = {
  getFullYear: (date) => date.getUTCFullYear(),
  getMonth: (date) => date.getUTCMonth(),
  getDayOfMonth: (date) => date.getUTCDate() - 1,
  getDate: (date) => date.getUTCDate(),
  getDayOfWeek: (date) => date.getUTCDay(),
  getDayOfYear(date) {
    // Date.UTC takes years below 100 for others.
    const start = new Date(0).setUTCFullYear(date.getUTCFullYear(), 0, 1);
    return Math.floor((date.getTime() - start) / 86400000);
  },
  getHours: (date) => date.getUTCHours(),
  getMinutes: (date) => date.getUTCMinutes(),
  getSeconds: (date) => date.getUTCSeconds(),
  getMilliseconds: (date) => date.getUTCMilliseconds(),
};

/** Formatters by zone: to make one takes long. */
const formatters = new Map<string, Intl.DateTimeFormat>();
const FORMATTERS_MAX = 64;

function formatterOf(zone: string): Intl.DateTimeFormat {
  const known = formatters.get(zone);
  if (known) return known;
  work(5000);
  let made: Intl.DateTimeFormat;
  try {
    made = new Intl.DateTimeFormat("en-US", {
      timeZone: zone,
      hourCycle: "h23",
      year: "numeric",
      month: "numeric",
      day: "numeric",
      hour: "numeric",
      minute: "numeric",
      second: "numeric",
    });
  } catch {
    throw new CelError(`unknown time zone ${zone}`);
  }
  if (formatters.size >= FORMATTERS_MAX) formatters.clear();
  formatters.set(zone, made);
  return made;
}

/** The moment as a date whose UTC fields are those of the zone. */
function inZone(ms: number, zone: string): Date {
  const offset = /^([+-]?)(\d{2}):(\d{2})$/.exec(zone);
  if (offset) {
    const minutes = Number(offset[2]) * 60 + Number(offset[3]);
    return new Date(ms + (offset[1] === "-" ? -minutes : minutes) * 60000);
  }
  work(300);
  const parts = formatterOf(zone).formatToParts(new Date(ms));
  const part = (type: string) => Number(parts.find((p) => p.type === type)!.value);
  const date = new Date(0);
  date.setUTCFullYear(part("year"), part("month") - 1, part("day"));
  date.setUTCHours(part("hour"), part("minute"), part("second"), ((ms % 1000) + 1000) % 1000);
  return date;
}

function moments(): void {
  for (const name in TIME_PARTS) {
    const part = TIME_PARTS[name];
    method("timestamp", name, [], "int", (v: Timestamp) => BigInt(part(new Date(v.ms))));
    method("timestamp", name, ["string"], "int", (v: Timestamp, zone: string) => {
      return BigInt(part(inZone(v.ms, zone)));
    });
  }
  const units = { getHours: 3600000, getMinutes: 60000, getSeconds: 1000, getMilliseconds: 1 };
  for (const [name, unit] of Object.entries(units)) {
    method("duration", name, [], "int", (v: Duration) => BigInt(Math.trunc(v.ms / unit)));
  }
}

function isZeroValue(value: Value): boolean {
  if (value === null || value === false || value === "" || value === 0 || value === 0n) return true;
  if (Array.isArray(value)) return value.length === 0;
  if (value instanceof Map) return value.size === 0;
  return value instanceof Uint && value.value === 0n;
}

function optionals(): void {
  define("optional.of", ["A"], "optional<A>", (v: Value) => new Optional(true, v));
  define("optional.none", [], "optional<A>", () => NONE);
  define("optional.ofNonZeroValue", ["A"], "optional<A>", (v: Value) => {
    return isZeroValue(v) ? NONE : new Optional(true, v);
  });
  method("optional<A>", "hasValue", [], "bool", (v: Optional) => v.has);
  method("optional<A>", "value", [], "A", (v: Optional) => {
    if (!v.has) throw new CelError("optional.none() dereference");
    return v.value;
  });
  method("optional<A>", "orValue", ["A"], "A", (v: Optional, other: Value) => {
    return v.has ? v.value : other;
  });
  method("optional<A>", "or", ["optional<A>"], "optional<A>", (v: Optional, other: Optional) => {
    return v.has ? v : other;
  });
}

/** Defines everything here. */
export function defineCore(): void {
  arithmetic();
  comparison();
  sizes();
  conversions();
  texts();
  moments();
  optionals();
}
