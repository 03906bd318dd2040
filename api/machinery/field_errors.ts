/**
 * Invalid fields in upstream's words (apimachinery `util/validation/field`): each function returns the
 * `Cause` of one error; `errors.ts` makes a Status of a list of them. Paths are plain strings such as
 * `spec.containers[0].name`; `child`, `index` and `key` extend them.
 */
import type { Cause } from "./types.ts";
import { goJson, goNumber, goQuote } from "./go_format.ts";

/** `path.name`, or `name` at the root. */
export function child(path: string, name: string): string {
  return path ? `${path}.${name}` : name;
}

/** `path[index]`. */
export function index(path: string, i: number): string {
  return `${path}[${i}]`;
}

/** `path[key]`. */
export function key(path: string, name: string): string {
  return `${path}[${name}]`;
}

/** Characters of a bad value that errors show. Upstream shows all of it, twice in each answer. */
export const BAD_VALUE_LENGTH_MAX = 32 * 1024;

/** A bad value as errors show it: numbers and booleans plain, strings quoted, the rest as JSON. */
export function badValue(value: unknown): string {
  if (typeof value === "string") return shortened(value, goQuote);
  if (typeof value === "number") return goNumber(value);
  if (typeof value === "boolean") return String(value);
  return shortened(goJson(value === undefined ? null : value), (text) => text);
}

function shortened(text: string, write: (text: string) => string): string {
  const more = text.length - BAD_VALUE_LENGTH_MAX;
  if (more <= 0) return write(text);
  return `${write(text.slice(0, BAD_VALUE_LENGTH_MAX))} (and ${more} more characters)`;
}

function cause(reason: string, field: string, head: string, detail: string): Cause {
  return { reason, message: detail ? `${head}: ${detail}` : head, field };
}

/** Something that must be there is not: `Required value: <message>`. */
export function required(path: string, message = ""): Cause {
  return cause("FieldValueRequired", path, "Required value", message);
}

/** A malformed value: `Invalid value: <value>: <message>`. */
export function invalid(path: string, value: unknown, message: string): Cause {
  return cause("FieldValueInvalid", path, `Invalid value: ${badValue(value)}`, message);
}

/** A value of the wrong type; reads as `invalid` does, under a reason of its own. */
export function typeInvalid(path: string, value: unknown, message: string): Cause {
  return cause("FieldValueTypeInvalid", path, `Invalid value: ${badValue(value)}`, message);
}

/** A value outside an enumeration. The list is printed in the order given (upstream sorts most of its). */
export function notSupported(path: string, value: unknown, supported: readonly string[]): Cause {
  const list = supported.length ? `supported values: ${supported.map(goQuote).join(", ")}` : "";
  return cause("FieldValueNotSupported", path, `Unsupported value: ${badValue(value)}`, list);
}

/** A value that must be unique and is not: `Duplicate value: <value>`. */
export function duplicate(path: string, value: unknown): Cause {
  return cause("FieldValueDuplicate", path, `Duplicate value: ${badValue(value)}`, "");
}

/** Well formed, but not allowed here: `Forbidden: <message>`. */
export function forbidden(path: string, message: string): Cause {
  return cause("FieldValueForbidden", path, "Forbidden", message);
}

/** A reference to something that is not there: `Not found: <value>`. */
export function notFound(path: string, value: unknown): Cause {
  return cause("FieldValueNotFound", path, `Not found: ${badValue(value)}`, "");
}

/** Too many bytes: `Too long: may not be more than 253 bytes`. A negative `max` is left out. */
export function tooLong(path: string, max: number): Cause {
  return cause("FieldValueTooLong", path, "Too long", atMost(max, "byte"));
}

/** Too many characters. */
export function tooLongCharacters(path: string, max: number): Cause {
  return cause("FieldValueTooLong", path, "Too long", atMost(max, "character"));
}

function atMost(max: number, unit: string): string {
  if (max < 0) return "value is too long";
  return `may not be more than ${max} ${unit}${max === 1 ? "" : "s"}`;
}

/** Too few characters. */
export function tooShort(path: string, min: number): Cause {
  const unit = min === 1 ? "character" : "characters";
  return cause(
    "FieldValueTooShort",
    path,
    "Too short",
    min >= 0 ? `must be at least ${min} ${unit}` : "value is too short",
  );
}

/** Too many items: `Too many: 5: must have at most 3 items`. A negative `actual` is left out. */
export function tooMany(path: string, actual: number, max: number): Cause {
  const unit = max === 1 ? "item" : "items";
  return cause(
    "FieldValueTooMany",
    path,
    actual >= 0 ? `Too many: ${actual}` : "Too many",
    max >= 0 ? `must have at most ${max} ${unit}` : "has too many items",
  );
}

/** Too few items: `Too few: 0: must have at least 1 item`. */
export function tooFew(path: string, actual: number, min: number): Cause {
  const unit = min === 1 ? "item" : "items";
  return cause(
    "FieldValueTooFew",
    path,
    `Too few: ${actual}`,
    min >= 0 ? `must have at least ${min} ${unit}` : "has too few items",
  );
}

/** Not the user's fault. */
export function internal(path: string, message: string): Cause {
  return cause("InternalError", path, "Internal error", message);
}

/** The text of a write to a field that may not change. */
export const FIELD_IMMUTABLE_TEXT = "field is immutable";

/** The text of a number below 0. */
export const NEGATIVE_TEXT = "must be greater than or equal to 0";

/** `field: message`, as upstream prints one error. */
export function causeText(c: Cause): string {
  return `${c.field}: ${c.message}`;
}
