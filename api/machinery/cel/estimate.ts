/**
 * How large values may become, by their schemas: what static cost estimates multiply by. Ranges add and
 * multiply like cel-go's, up to the largest 64-bit number.
 */
import type { Schema } from "../types.ts";

/** A least and a most: of cost units, of characters, items or entries. */
export interface Range {
  readonly min: number;
  readonly max: number;
}

const MOST = 2 ** 64;
/** Nothing is known. */
export const UNKNOWN: Range = { min: 0, max: MOST };
export const ZERO: Range = { min: 0, max: 0 };
export const ONE: Range = { min: 1, max: 1 };

const bound = (n: number) => Math.min(n, MOST);

/** Exactly this. */
export function fixed(n: number): Range {
  return { min: bound(n), max: bound(n) };
}

/** The sum of all. */
export function sum(...all: readonly Range[]): Range {
  let min = 0;
  let max = 0;
  for (const one of all) {
    min += one.min;
    max += one.max;
  }
  return { min: bound(min), max: bound(max) };
}

/** The product of two. */
export function times(a: Range, b: Range): Range {
  return { min: bound(a.min * b.min), max: bound(a.max * b.max || 0) };
}

/** A part of it, rounded up. */
export function scaled(a: Range, factor: number): Range {
  return { min: bound(Math.ceil(a.min * factor)), max: bound(Math.ceil(a.max * factor)) };
}

/** What encloses both. */
export function union(a: Range, b: Range): Range {
  return { min: Math.min(a.min, b.min), max: Math.max(a.max, b.max) };
}

// --- schemas ------------------------------------------------------------------------------------------

/** The largest request, in bytes: nothing in it is larger. */
const REQUEST_BYTES_MAX = 3 * 1024 * 1024;
/** Longest JSON of formatted strings. */
const FORMAT_BYTES: Readonly<Record<string, [least: number, most: number]>> = {
  duration: [3, 32],
  date: [12, 12],
  "date-time": [21, 32],
};

/** The least bytes of JSON a value takes. */
function bytesMin(schema: Schema, depth = 0): number {
  switch (schema.type) {
    case "boolean":
      return 4;
    case "integer":
    case "number":
    case "intOrString":
      return 1;
    case "string":
      return FORMAT_BYTES[schema.format ?? ""]?.[0] ?? 2;
    case "object": {
      let bytes = 2;
      if (depth > 8) return bytes;
      for (const name of schema.required ?? []) {
        const field = schema.properties?.[name];
        if (!field || field.default !== undefined) continue;
        bytes += name.length + 4 + bytesMin(field, depth + 1);
      }
      return bytes;
    }
  }
  return 2;
}

/** The most characters, items or entries a value of a schema may have. */
export function sizeEstimate(schema: Schema): number {
  const { validations } = schema;
  switch (schema.type) {
    case "string":
    case "intOrString":
      return stringSize(schema);
    case "array": {
      if (validations?.maxItems !== undefined) return validations.maxItems;
      return Math.floor(
        (REQUEST_BYTES_MAX - 2) / ((schema.items ? bytesMin(schema.items) : 1) + 1),
      );
    }
    case "map": {
      if (validations?.maxProperties !== undefined) return validations.maxProperties;
      return Math.floor(
        (REQUEST_BYTES_MAX - 2) / ((schema.items ? bytesMin(schema.items) : 1) + 6),
      );
    }
  }
  return 1;
}

function stringSize({ type, format, validations }: Schema): number {
  const formatted = type === "string" ? FORMAT_BYTES[format ?? ""] : undefined;
  if (formatted) return formatted[1];
  const longest = validations?.maxLength;
  // A length counts characters, of up to four bytes each.
  if (longest !== undefined) return longest * (format === "byte" ? 1 : 4);
  const listed = validations?.enum;
  if (type === "string" && format !== "byte" && listed?.length) {
    return Math.max(0, ...listed.map((one) => typeof one === "string" ? one.length : 0));
  }
  return REQUEST_BYTES_MAX - 2;
}

/** How many values of a schema a request can hold at all. */
export function countMax(schema: Schema): number {
  return Math.floor(REQUEST_BYTES_MAX / (bytesMin(schema) + 1));
}

/** Whether values of a schema have a size of their own (numbers and objects count as one). */
export function isSized(schema: Schema): boolean {
  return ["string", "intOrString", "array", "map"].includes(schema.type);
}

/** The size that a schema allows its values; undefined where there is nothing to say. */
export function sizeOfSchema(schema: Schema | undefined): Range | undefined {
  if (!schema || schema.type === "any") return undefined;
  return { min: 0, max: isSized(schema) ? sizeEstimate(schema) : 0 };
}
