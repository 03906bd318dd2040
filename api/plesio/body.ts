/**
 * Reads what is asked of Plesio's own endpoints: each field by a reader, unknown ones refused. The TypeScript API goes
 * through the same readers, so that both are told the same.
 */
import { badRequest } from "../machinery/errors.ts";
import { parseDuration, parseTime } from "../machinery/time.ts";
import type { Call } from "../server/http.ts";

/** Most bytes of what is asked. */
export const ASKED_BYTES_MAX = 64 * 1024;

/** Takes a value, or says what is wrong with it. */
export type Reader<T> = (value: unknown, field: string) => T;

function refused(field: string, wanted: string, value: unknown): never {
  throw badRequest(`${field || "the body"} must be ${wanted}, not ${JSON.stringify(value)}`);
}

/** A text, one of `known` where those are given. */
export function text<T extends string = string>(known?: readonly T[]): Reader<T> {
  return (value, field) => {
    if (typeof value !== "string" || value === "") refused(field, "a text", value);
    if (known && !known.includes(value as T)) {
      refused(field, `one of ${known.join(", ")}`, value);
    }
    return value as T;
  };
}

/** A text, or several. */
export const texts: Reader<readonly string[]> = (value, field) => {
  const list = Array.isArray(value) ? value : [value];
  return list.map((one, i) => text()(one, Array.isArray(value) ? `${field}[${i}]` : field));
};

/** A number from `least` to `most`. */
export function number(
  least: number,
  most: number,
  { whole = true }: { whole?: boolean } = {},
): Reader<number> {
  return (value, field) => {
    const right = typeof value === "number" && value >= least && value <= most &&
      (!whole || Number.isInteger(value));
    if (!right) refused(field, `a${whole ? " whole" : ""} number from ${least} to ${most}`, value);
    return value;
  };
}

/** True, and nothing else: what is not wanted is left out. */
export const yes: Reader<true> = (value, field) =>
  value === true ? true : refused(field, "true, or left out", value);

/** The longest duration: a hundred years. */
const DURATION_MS_MAX = 100 * 365 * 24 * 3_600_000;

/** A duration such as `1h30m`; in TypeScript milliseconds too. */
export const duration: Reader<number> = (value, field) => {
  let ms = typeof value === "number" ? value : NaN;
  if (typeof value === "string") {
    try {
      ms = parseDuration(value);
    } catch (error) {
      throw badRequest(`${field}: ${(error as Error).message}`);
    }
  }
  if (ms >= 0 && ms <= DURATION_MS_MAX) return ms;
  return refused(field, 'a duration such as "1h30m"', value);
};

/** A point in time, in ms. */
export const time: Reader<number> = (value, field) =>
  (typeof value === "string" ? parseTime(value) : undefined) ??
    refused(field, 'a time such as "2026-01-01T12:00:00Z"', value);

/** A reader for each field of what may be asked. */
export type ReadersOf<T> = { readonly [K in keyof T]-?: Reader<NonNullable<T[K]>> };

/** What readers make of their fields, each of which may be left out. */
export type Fields<R> = { [K in keyof R]?: R[K] extends Reader<infer T> ? T : never };

/** An object of these fields. */
export function fields<R extends Record<string, Reader<unknown>>>(readers: R): Reader<Fields<R>> {
  return (value, field) => {
    if (typeof value !== "object" || value === null || Array.isArray(value)) {
      refused(field, "an object", value);
    }
    const out: Record<string, unknown> = {};
    for (const [name, given] of Object.entries(value)) {
      if (given === undefined || given === null) continue;
      if (!Object.hasOwn(readers, name)) {
        const known = Object.keys(readers).join(", ");
        throw badRequest(`unknown field ${JSON.stringify(name)}: it has ${known}`);
      }
      out[name] = readers[name](given, field ? `${field}.${name}` : name);
    }
    return out as Fields<R>;
  };
}

/** What a request's body says: whoever takes it reads its fields. An empty one is an object without any. */
export async function asked(
  call: Call,
  { bytesMax = ASKED_BYTES_MAX, refusal = "the body is no JSON" } = {},
): Promise<unknown> {
  const bytes = await call.body(bytesMax);
  if (bytes.length === 0) return {};
  try {
    return JSON.parse(new TextDecoder().decode(bytes));
  } catch (error) {
    throw badRequest(`${refusal}: ${(error as Error).message}`);
  }
}
