/** `string.format`: clauses such as `%s` and `%.2f`, in the manner of CEL's string extension. */
import {
  CelError,
  Duration,
  textOf,
  Timestamp,
  typeName,
  TypeValue,
  Uint,
  type Value,
} from "./values.ts";

/** A clause of a template: its letter, its precision where it has one. */
export interface Clause {
  verb: string;
  precision?: number;
}

/** What a template consists of: texts and clauses. */
export type Part = string | Clause;

/** Types that a clause takes, and what is said of others. */
const CLAUSES: Readonly<Record<string, { kinds: string[]; complaint: string }>> = {
  s: {
    kinds: [
      "string",
      "bool",
      "bytes",
      "int",
      "uint",
      "double",
      "map",
      "list",
      "type",
      "duration",
      "timestamp",
      "null",
    ],
    complaint:
      "string clause can only be used on strings, bools, bytes, ints, doubles, maps, lists, " +
      "types, durations, and timestamps",
  },
  d: { kinds: ["int", "uint"], complaint: "decimal clause can only be used on integers" },
  f: {
    kinds: ["double", "string"],
    complaint: "fixed-point clause can only be used on doubles",
  },
  e: {
    kinds: ["double", "string"],
    complaint: "scientific clause can only be used on doubles",
  },
  b: {
    kinds: ["int", "uint", "bool"],
    complaint: "only integers and bools can be formatted as binary",
  },
  x: {
    kinds: ["int", "uint", "string", "bytes"],
    complaint: "only integers, byte buffers, and strings can be formatted as hex",
  },
  o: { kinds: ["int", "uint"], complaint: "octal clause can only be used on integers" },
};

/** The complaint of a clause about a type; undefined when it takes it. `dyn` is found out later. */
export function clauseProblem(verb: string, kind: string, name: string): string | undefined {
  const { kinds, complaint } = CLAUSES[verb.toLowerCase()];
  if (kind === "dyn" || kind === "param" || kinds.includes(kind)) return undefined;
  return `error during formatting: ${complaint}, was given ${name}`;
}

/** Reads a template. Throws CelError. */
export function templateParts(template: string): Part[] {
  const parts: Part[] = [];
  let at = 0;
  while (at < template.length) {
    const mark = template.indexOf("%", at);
    if (mark < 0) {
      parts.push(template.slice(at));
      break;
    }
    if (mark > at) parts.push(template.slice(at, mark));
    at = mark + 1;
    if (at >= template.length) throw new CelError("unexpected end of string");
    if (template[at] === "%") {
      parts.push("%");
      at++;
      continue;
    }
    const precision = /^\.(\d*)/.exec(template.slice(at, at + 12));
    if (precision) at += precision[0].length;
    const verb = template[at++];
    if (verb === undefined || !/[sdfexXob]/.test(verb)) {
      throw new CelError(
        `could not parse formatting clause: unrecognized formatting clause "${verb ?? ""}"`,
      );
    }
    parts.push({ verb, precision: precision ? Number(precision[1]) : undefined });
  }
  return parts;
}

/** Most digits after the point. */
const PRECISION_MAX = 100;

/** Fills a template. Throws CelError. */
export function formatted(template: string, args: Value[]): string {
  let next = 0;
  return templateParts(template).map((part) => {
    if (typeof part === "string") return part;
    if (next >= args.length) throw new CelError(`index ${next} out of range`);
    return clause(part, args[next++]);
  }).join("");
}

function clause({ verb, precision = 6 }: Clause, value: Value): string {
  const name = typeName(value);
  const kind = name === "null_type" ? "null" : name.replace("google.protobuf.", "").toLowerCase();
  const exceptional = typeof value === "string" && /^(NaN|-?Infinity)$/.test(value);
  const problem = clauseProblem(verb, kind, name) ??
    (/[fe]/.test(verb) && typeof value === "string" && !exceptional
      ? clauseProblem(verb, "bad", name)
      : undefined);
  if (problem) throw new CelError(problem);
  switch (verb) {
    case "s":
      return shown(value);
    case "f":
      return fixedPoint(Number(value), Math.min(precision, PRECISION_MAX));
    case "e":
      return scientific(Number(value), Math.min(precision, PRECISION_MAX));
    case "d":
      return textOf(value);
    case "b":
      return typeof value === "boolean" ? value ? "1" : "0" : inBase(value, 2);
    case "o":
      return inBase(value, 8);
  }
  const hex = hexOf(value);
  return verb === "X" ? hex.toUpperCase() : hex;
}

function inBase(value: Value, base: number): string {
  return (value instanceof Uint ? value.value : value as bigint).toString(base);
}

function hexOf(value: Value): string {
  if (typeof value === "bigint" || value instanceof Uint) return inBase(value, 16);
  const bytes = typeof value === "string" ? new TextEncoder().encode(value) : value as Uint8Array;
  return [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** Digits in groups of three, as American English has them. */
function fixedPoint(value: number, precision: number): string {
  if (!Number.isFinite(value)) return unlimited(value);
  const digits = Math.abs(value) >= 1e21 ? BigInt(value).toString() : value.toFixed(precision);
  const [whole, fraction] = digits.split(".");
  const grouped = whole.replace(/\B(?=(\d{3})+$)/g, ",");
  if (fraction) return `${grouped}.${fraction}`;
  return precision > 0 && !digits.includes(".") ? `${grouped}.${"0".repeat(precision)}` : grouped;
}

const SUPERSCRIPTS = "⁰¹²³⁴⁵⁶⁷⁸⁹";

function scientific(value: number, precision: number): string {
  if (!Number.isFinite(value)) return unlimited(value);
  const [digits, exponent] = value.toExponential(precision).split("e");
  const raised = exponent.slice(1).padStart(2, "0").replace(/\d/g, (d) => SUPERSCRIPTS[Number(d)]);
  return `${digits}×10${exponent[0] === "-" ? "⁻" : ""}${raised}`;
}

function unlimited(value: number): string {
  return Number.isNaN(value) ? "NaN" : value > 0 ? "∞" : "-∞";
}

/** A value as `%s` has it. */
function shown(value: Value): string {
  if (value === null) return "null";
  if (Array.isArray(value)) return `[${value.map(inside).join(", ")}]`;
  if (!(value instanceof Map)) return textOf(value);
  const entries = [...value].map(([key, one]) => [inside(key), inside(one)]);
  entries.sort(([a], [b]) => a < b ? -1 : a > b ? 1 : 0);
  return `{${entries.map(([key, one]) => `${key}:${one}`).join(", ")}}`;
}

/** A value in a list or map: as an expression would write it. */
function inside(value: Value): string {
  if (typeof value === "string") return JSON.stringify(value);
  if (value instanceof Uint8Array) return `b${JSON.stringify(new TextDecoder().decode(value))}`;
  if (typeof value === "number") {
    return Number.isFinite(value) ? value.toFixed(6) : JSON.stringify(textOf(value));
  }
  if (value instanceof Timestamp) return `timestamp(${JSON.stringify(textOf(value))})`;
  if (value instanceof Duration) return `duration(${JSON.stringify(textOf(value))})`;
  if (value === null || typeof value !== "object" || value instanceof TypeValue) {
    return shown(value);
  }
  if (Array.isArray(value) || value instanceof Map || value instanceof Uint) return shown(value);
  throw new CelError(`error during formatting: no formatting function for ${typeName(value)}`);
}
