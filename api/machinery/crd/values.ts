/**
 * Custom resources against their schema: types, formats and value validations, in the words of upstream's
 * validator (kube-openapi `validate`). On update, parts that did not change are not judged again, so that
 * objects survive a schema that became stricter.
 */
import type { Cause, Field, Json, Schema, SchemaValidations } from "../types.ts";
import {
  causeText,
  duplicate,
  invalid,
  notSupported,
  required,
  tooLong,
  tooMany,
  typeInvalid,
} from "../field_errors.ts";
import { goNumber, goQuote } from "../go_format.ts";
import { isMap, type JsonMap, sameJson, sortedKeys } from "../json_value.ts";
import { formatCheck } from "./formats.ts";
import { patternOf } from "./regexp.ts";

/** Errors of one object that are listed. */
export const VALUE_ERRORS_MAX = 100;

/** What is wrong with a value. `old` is what is stored, on update. */
export function valueErrors(schema: Field, value: Json, old?: Json, path = ""): Cause[] {
  const causes: Cause[] = [];
  check(schema, value, old, path, causes, path === "");
  for (const cause of causes) {
    if (cause.field === "") cause.field = "<nil>";
    else if (cause.field[0] === ".") cause.field = cause.field.slice(1);
  }
  // What several parts of a schema find wrong is said once.
  const said = new Set<string>();
  return causes.filter((cause) => {
    const text = causeText(cause);
    return !said.has(text) && said.add(text);
  });
}

function join(path: string, name: string): string {
  return path ? `${path}.${name}` : name;
}

function typeText(schema: Schema): string {
  switch (schema.type) {
    case "intOrString":
      return "integer,string";
    case "map":
      return "object";
    default:
      return schema.type;
  }
}

function jsonType(value: Json): string {
  if (value === null) return "null";
  if (Array.isArray(value)) return "array";
  if (typeof value === "number") return Number.isInteger(value) ? "integer" : "number";
  return typeof value === "boolean" || typeof value === "string" ? typeof value : "object";
}

const NUMBER_FORMATS = new Set(["int32", "int64", "float", "double"]);

/** The names of the type that is wanted and of the one that is there, of formatted values by format. */
function typeNames(schema: Schema, type: string): [string, string] {
  const formatted = schema.format && !["string", "array", "null"].includes(type) &&
    (NUMBER_FORMATS.has(schema.format) || formatCheck(schema.format));
  if (!formatted) return [typeText(schema), type];
  return [schema.format!, type === "integer" ? "int64" : type === "number" ? "float64" : ""];
}

function isOfType(schema: Schema, type: string): boolean {
  switch (schema.type) {
    case "any":
      return true;
    case "object":
    case "map":
      return type === "object";
    case "number":
      return type === "integer" || type === "number";
    case "intOrString":
      return type === "integer" || type === "string";
    default:
      return schema.type === type;
  }
}

function check(
  schema: Field,
  value: Json,
  old: Json | undefined,
  path: string,
  causes: Cause[],
  root = false,
): void {
  if (causes.length >= VALUE_ERRORS_MAX) return;
  if (old !== undefined && !root && sameJson(value, old)) return;
  const type = jsonType(value);
  if (type === "null" && (schema.nullable || schema.type === "any")) {
    enumeration(schema.validations, value, path, causes);
    return;
  }
  if (!isOfType(schema, type)) {
    const [wanted, got] = typeNames(schema, type);
    const text = `${path} in body must be of type ${wanted}: ${goQuote(got)}`;
    causes.push(typeInvalid(path, got, text));
    if (type === "null") enumeration(schema.validations, value, path, causes);
    else if (schema.validations) validate(schema.validations, value, path, causes);
    return;
  }
  if (schema.validations) validate(schema.validations, value, path, causes);
  if (typeof value === "string" && ["string", "any"].includes(schema.type)) {
    format(schema.format, value, path, causes);
  }
  if (typeof value === "number") integerRange(schema, value, path, causes);
  else if (Array.isArray(value)) items(schema, value, old, path, causes);
  else if (isMap(value)) members(schema, value, old, path, causes, root);
}

function format(name: string | undefined, value: string, path: string, causes: Cause[]): void {
  const good = name ? formatCheck(name) : undefined;
  if (!good || good(value)) return;
  const text = `${path} in body must be of type ${name}: ${goQuote(value)}`;
  causes.push(typeInvalid(path, value, text));
}

/** Numbers beyond the schema's integers; that goes for the limits too, whose error comes without a path. */
function integerRange(schema: Schema, value: number, path: string, causes: Cause[]): void {
  if (schema.type !== "integer") return;
  const limit = schema.format === "int32" ? 2 ** 31 : 2 ** 63;
  const type = schema.format ? `with format ${schema.format}` : "(default format)";
  const { multipleOf, maximum, minimum } = schema.validations ?? {};
  const numbers = [
    ["Checked", value],
    ["MultipleOf", multipleOf],
    ["Maximum boundary", maximum],
    ["Minimum boundary", minimum],
  ] as const;
  for (const [what, number] of numbers) {
    if (number === undefined) continue;
    if (Number.isInteger(number) && number >= -limit && number < limit) continue;
    causes.push(junction(`${what} value must be of type integer ${type} in ${path}`));
  }
}

function items(
  schema: Field,
  list: Json[],
  old: Json | undefined,
  path: string,
  causes: Cause[],
): void {
  const before = Array.isArray(old) ? old : undefined;
  if (schema.items) {
    const byKey = schema.listType === "map" && before ? keyed(schema, before) : undefined;
    list.forEach((item, i) => {
      const was = byKey?.get(keyText(schema, item));
      check(schema.items!, item, was, `${path}[${i}]`, causes);
    });
  }
  if (schema.listType === "set") uniqueSet(list, path, causes);
  else if (schema.listType === "map") uniqueKeys(schema, list, path, causes);
}

function keyText(schema: Schema, item: Json): string {
  if (!isMap(item)) return JSON.stringify(item);
  return JSON.stringify((schema.listMapKeys ?? []).map((key) => item[key] ?? null));
}

function keyed(schema: Schema, list: Json[]): Map<string, Json> {
  return new Map(list.map((item) => [keyText(schema, item), item]));
}

function uniqueSet(list: Json[], path: string, causes: Cause[]): void {
  const seen = new Map<string, number>();
  list.forEach((item, i) => {
    const text = JSON.stringify(sortedKeys(item));
    const count = seen.get(text) ?? 0;
    seen.set(text, count + 1);
    if (count === 1) causes.push(duplicate(`${path}[${i}]`, item));
  });
}

function uniqueKeys(schema: Schema, list: Json[], path: string, causes: Cause[]): void {
  const seen = new Map<string, number>();
  for (let i = 0; i < list.length; i++) {
    const item = list[i];
    if (item !== null && !isMap(item)) {
      const why = "must be an object for an array of list-type map";
      causes.push(invalid(`${path}[${i}]`, item, why));
      return;
    }
    const text = keyText(schema, item);
    const count = seen.get(text) ?? 0;
    seen.set(text, count + 1);
    if (count !== 1) continue;
    const keys: JsonMap = {};
    for (const key of [...(schema.listMapKeys ?? [])].sort()) {
      if (isMap(item) && item[key] !== undefined) keys[key] = item[key];
    }
    causes.push(duplicate(`${path}[${i}]`, keys));
  }
}

function members(
  schema: Field,
  map: JsonMap,
  old: Json | undefined,
  path: string,
  causes: Cause[],
  root: boolean,
): void {
  const before = isMap(old) ? old : undefined;
  const was = (name: string) => before && Object.hasOwn(before, name) ? before[name] : undefined;
  for (const name in map) {
    const value = map[name];
    if (value === undefined) continue;
    const field = schema.properties && Object.hasOwn(schema.properties, name)
      ? schema.properties[name]
      : undefined;
    // Metadata has a decoder of its own; what a CRD may ask of it is checked as plain validations.
    if (field?.ref) {
      if (field.validations) validate(field.validations, value, join(path, name), causes);
    } else if (field) check(field, value, was(name), join(path, name), causes);
    else if (schema.items) check(schema.items, value, was(name), `${path}.${name}`, causes);
  }
  for (const name of new Set(schema.required)) {
    if (map[name] === undefined) causes.push(required(join(path, name), ""));
  }
  if (schema.embedded && !root) {
    for (const name of ["apiVersion", "kind"]) {
      const why = map[name] === undefined ? "" : "must not be empty";
      if (!map[name]) causes.push(required(join(path, name), why));
    }
  }
}

// --- value validations --------------------------------------------------------------------------------

function validate(v: SchemaValidations, value: Json, path: string, causes: Cause[]): void {
  if (value === null) {
    enumeration(v, value, path, causes);
    return;
  }
  junctors(v, value, path, causes);
  if (typeof value === "string") text(v, value, path, causes);
  else if (typeof value === "number") number(v, value, path, causes);
  else if (Array.isArray(value)) list(v, value, path, causes);
  enumeration(v, value, path, causes);
  if (isMap(value)) object(v, value, path, causes);
}

function enumeration(
  v: SchemaValidations | undefined,
  value: Json,
  path: string,
  causes: Cause[],
): void {
  if (!v?.enum?.length || v.enum.some((one) => sameJson(one, value))) return;
  const names = v.enum.map((one) => typeof one === "string" ? one : JSON.stringify(one));
  causes.push(notSupported(path, sortedKeys(value), names));
}

/** Length in characters, as Go counts runes. */
function runes(value: string): number {
  let count = 0;
  for (const _ of value) count++;
  return count;
}

/** The first thing wrong with a text. */
function text(v: SchemaValidations, value: string, path: string, causes: Cause[]): void {
  const { minLength, maxLength, pattern } = v;
  if (maxLength !== undefined && value.length > maxLength && runes(value) > maxLength) {
    causes.push(tooLong(path, maxLength));
  } else if (minLength !== undefined && runes(value) < minLength) {
    causes.push(invalid(path, value, `${path} in body should be at least ${minLength} chars long`));
  } else if (pattern !== undefined && !patternOf(pattern).test(value)) {
    causes.push(invalid(path, value, `${path} in body should match '${pattern}'`));
  }
  format(v.format, value, path, causes);
}

function number(v: SchemaValidations, value: number, path: string, causes: Cause[]): void {
  const { minimum, maximum, multipleOf } = v;
  const bad = (why: string) =>
    causes.push(invalid(path, value, `${path} in body should be ${why}`));
  if (multipleOf !== undefined && !isMultiple(value, multipleOf)) {
    bad(`a multiple of ${goNumber(multipleOf)}`);
  }
  if (maximum !== undefined) {
    const limit = goNumber(maximum);
    if (v.exclusiveMaximum && value >= maximum) bad(`less than ${limit}`);
    else if (value > maximum) bad(`less than or equal to ${limit}`);
  }
  if (minimum !== undefined) {
    const limit = goNumber(minimum);
    if (v.exclusiveMinimum && value <= minimum) bad(`greater than ${limit}`);
    else if (value < minimum) bad(`greater than or equal to ${limit}`);
  }
}

function isMultiple(value: number, factor: number): boolean {
  if (factor <= 0) return false;
  const quotient = value / factor;
  return Math.abs(quotient - Math.round(quotient)) <= 1e-9 * Math.max(1, Math.abs(quotient));
}

function list(v: SchemaValidations, value: Json[], path: string, causes: Cause[]): void {
  if (v.minItems !== undefined && value.length < v.minItems) {
    const why = `${path} in body should have at least ${v.minItems} items`;
    causes.push(invalid(path, value.length, why));
  }
  if (v.maxItems !== undefined && value.length > v.maxItems) {
    causes.push(tooMany(path, value.length, v.maxItems));
  }
  if (v.items) value.forEach((item, i) => validate(v.items!, item, `${path}[${i}]`, causes));
}

function object(v: SchemaValidations, value: JsonMap, path: string, causes: Cause[]): void {
  const count = Object.keys(value).length;
  if (v.minProperties !== undefined && count < v.minProperties) {
    const why = `${path} in body should have at least ${v.minProperties} properties`;
    causes.push(invalid(path, count, why));
  }
  if (v.maxProperties !== undefined && count > v.maxProperties) {
    causes.push(tooMany(path, count, v.maxProperties));
  }
  for (const name of Object.keys(v.properties ?? {})) {
    if (value[name] === undefined || !Object.hasOwn(value, name)) continue;
    validate(v.properties![name], value[name], join(path, name), causes);
  }
  for (const name of new Set(v.required)) {
    if (value[name] === undefined) causes.push(required(join(path, name), ""));
  }
}

/** Upstream reports these without a path: the text carries it. */
function junction(why: string): Cause {
  return invalid("<nil>", "", why);
}

function attempt(v: SchemaValidations, value: Json, path: string): Cause[] {
  const causes: Cause[] = [];
  validate(v, value, path, causes);
  return causes;
}

function junctors(v: SchemaValidations, value: Json, path: string, causes: Cause[]): void {
  const at = goQuote(path);
  if (v.anyOf?.length) {
    const tries = v.anyOf.map((one) => attempt(one, value, path));
    if (tries.every((one) => one.length)) {
      causes.push(junction(`${at} must validate at least one schema (anyOf)`), ...best(tries));
    }
  }
  if (v.oneOf?.length) {
    const tries = v.oneOf.map((one) => attempt(one, value, path));
    const good = tries.filter((one) => one.length === 0).length;
    if (good !== 1) {
      const found = good === 0 ? "Found none valid" : `Found ${good} valid alternatives`;
      causes.push(junction(`${at} must validate one and only one schema (oneOf). ${found}`));
      if (good === 0) causes.push(...best(tries));
    }
  }
  if (v.allOf?.length) {
    const tries = v.allOf.map((one) => attempt(one, value, path));
    for (const one of tries) causes.push(...one);
    const good = tries.filter((one) => one.length === 0).length;
    if (good !== tries.length) {
      const none = good === 0 ? ". None validated" : "";
      causes.push(junction(`${at} must validate all the schemas (allOf)${none}`));
    }
  }
  if (v.not && attempt(v.not, value, path).length === 0) {
    causes.push(junction(`${at} must not validate the schema (not)`));
  }
}

/** The errors of the alternative that came closest. */
function best(tries: Cause[][]): Cause[] {
  return tries.reduce((a, b) => b.length < a.length ? b : a);
}
