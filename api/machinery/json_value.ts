/**
 * Plain JSON values: comparing, naming their types. Copies and writes of unknown keys: `edit.ts`.
 */
import type { Json } from "./types.ts";

/** A JSON object. */
export type JsonMap = { [key: string]: Json };

/** Whether a value is a JSON object (not null, not an array). */
export function isMap(value: unknown): value is JsonMap {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** `map[key]` where `map` may be a hostile document: inherited names are absent. */
export function getKey(map: Readonly<JsonMap>, key: string): Json | undefined {
  return Object.hasOwn(map, key) ? map[key] : undefined;
}

/** Whether two JSON values are equal. Absent and undefined members are the same. */
export function sameJson(a: unknown, b: unknown): boolean {
  if (a === b) return true;
  if (typeof a !== "object" || typeof b !== "object" || a === null || b === null) return false;
  if (Array.isArray(a)) {
    if (!Array.isArray(b) || a.length !== b.length) return false;
    for (let i = 0; i < a.length; i++) if (!sameJson(a[i], b[i])) return false;
    return true;
  }
  if (Array.isArray(b)) return false;
  return sameMaps(a as JsonMap, b as JsonMap);
}

// Not by for … in: V8 takes the names that it saw in `b[key]` there for all there will be, and compiles this again and
// again (measured: twenty times a second under a mixed load).
function sameMaps(a: JsonMap, b: JsonMap): boolean {
  let count = 0;
  for (const key of Object.keys(a)) {
    const value = a[key];
    if (value === undefined) continue;
    count++;
    const other = b[key];
    if (value === other) continue;
    // No inherited value equals a JSON value but the empty prototype itself.
    if (key === "__proto__" && !Object.hasOwn(b, key)) return false;
    if (!sameJson(value, other)) return false;
  }
  for (const key of Object.keys(b)) if (b[key] !== undefined) count--;
  return count === 0;
}

/** The value with the keys of all its objects sorted, as Go writes maps. */
export function sortedKeys(value: Json): Json {
  if (Array.isArray(value)) return value.map(sortedKeys);
  if (!isMap(value)) return value;
  const entries = Object.keys(value).sort().map((key) => [key, sortedKeys(value[key])]);
  return Object.fromEntries(entries) as Json;
}

/** A value's type as Go's reflection names it after decoding into `interface{}`. */
export function goTypeName(value: unknown): string {
  if (value === null || value === undefined) return "<nil>";
  if (Array.isArray(value)) return "[]interface {}";
  switch (typeof value) {
    case "string":
      return "string";
    case "boolean":
      return "bool";
    case "number":
      return Number.isInteger(value) ? "int64" : "float64";
    default:
      return "map[string]interface {}";
  }
}

/** A value's type as Go's JSON decoder names it in its errors. */
export function jsonTypeName(value: unknown): string {
  if (value === null || value === undefined) return "null";
  if (Array.isArray(value)) return "array";
  return typeof value === "boolean" ? "bool" : typeof value;
}
