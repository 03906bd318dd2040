/**
 * The values of CEL at run time. Booleans, strings, doubles (number), ints (bigint), lists (array) and
 * maps (Map) are JavaScript's own; the rest are the classes here. JSON is wrapped as it is reached: nothing
 * is converted that a rule does not look at.
 */
import type { Json, Schema } from "../types.ts";
import { goFloat } from "../go_format.ts";
import { Quantity } from "../quantity.ts";
import { isMap, type JsonMap } from "../json_value.ts";
import { formatTime, parseDuration, parseTime } from "../time.ts";
import { tick, work } from "./lane.ts";
import { fieldNamed, type Type, typeOfSchema } from "./types.ts";

/** Any value. */
export type Value = unknown;

/**
 * An error that an expression ran into; `&&` and `||` may absorb it. Inside the evaluator it is a value like any
 * other, and a loop may run into as many as its budget allows: it is an Error without a stack, which is what
 * makes errors slow.
 */
export class CelError implements Error {
  readonly name = "CelError";
  readonly message: string;
  constructor(message: string) {
    this.message = message;
  }
}
Object.setPrototypeOf(CelError.prototype, Error.prototype);

/** An unsigned integer. */
export class Uint {
  readonly value: bigint;
  constructor(value: bigint) {
    this.value = value;
  }
}

/** A moment: milliseconds since 1970, with fractions. */
export class Timestamp {
  readonly ms: number;
  constructor(ms: number) {
    this.ms = ms;
  }
}

/** A span: milliseconds, with fractions. */
export class Duration {
  readonly ms: number;
  constructor(ms: number) {
    this.ms = ms;
  }
}

/** A value or none. */
export class Optional {
  readonly value: Value;
  readonly has: boolean;
  constructor(has: boolean, value?: Value) {
    this.has = has;
    this.value = value;
  }
}

/** No value. */
export const NONE: Optional = new Optional(false);

/** A value of a library type: quantity, URL, IP, CIDR, semver, format. */
export class Opaque {
  readonly type: string;
  readonly value: Value;
  readonly text: string;
  /** What costs count it as. */
  readonly size: number;
  constructor(type: string, value: Value, text: string, size = 1) {
    this.type = type;
    this.value = value;
    this.text = text;
    this.size = size;
  }
}

/** A type as a value. */
export class TypeValue {
  readonly name: string;
  constructor(name: string) {
    this.name = name;
  }
}

/** An object of a known schema. */
export class ObjectValue {
  readonly type: Type;
  readonly json: JsonMap;
  constructor(type: Type, json: JsonMap) {
    this.type = type;
    this.json = json;
  }

  /** A field's value; undefined when it is not set. */
  get(name: string): Value | undefined {
    const field = fieldNamed(this.type, name);
    if (!field || !Object.hasOwn(this.json, field.name)) return undefined;
    const json = this.json[field.name];
    if (json === undefined || json === null) return undefined;
    return wrapField(field.schema, field.type, json);
  }
}

/** An object that an expression makes (`Object.spec{...}`), or an operation of a patch. */
export class MessageValue {
  readonly type: Type;
  readonly fields: ReadonlyMap<string, Value>;
  constructor(type: Type, fields: ReadonlyMap<string, Value>) {
    this.type = type;
    this.fields = fields;
  }

  /** A field's value; undefined when it is not set. */
  get(name: Value): Value | undefined {
    return this.fields.get(name as string);
  }
}

/** What makes a list a set or a list of keyed items, whose order says nothing. */
const LIST_SCHEMA = Symbol("schema");
type SchemaList = Value[] & { [LIST_SCHEMA]?: Schema };

/** The schema a list came with, if it is a set or a list of keyed items. */
export function listSchema(list: Value[]): Schema | undefined {
  return (list as SchemaList)[LIST_SCHEMA];
}

/** Marks a list as one whose order says nothing. */
export function withListSchema(list: Value[], schema: Schema): Value[] {
  (list as SchemaList)[LIST_SCHEMA] = schema;
  return list;
}

function wrapField(schema: Schema, type: Type, json: Json): Value {
  if (schema.ref && isMap(json)) return new ObjectValue(type, json);
  return wrap(schema, json);
}

/** JSON of a schema as a CEL value. */
export function wrap(schema: Schema, json: Json): Value {
  if (json === null) return null;
  switch (schema.type) {
    case "string":
      return typeof json === "string" ? wrapString(schema.format, json) : wrapDyn(json);
    case "number":
      return json;
    case "array": {
      if (!Array.isArray(json) || !schema.items) return wrapDyn(json);
      const items = schema.items;
      const list = json.map((item) => wrap(items, item));
      const unordered = schema.listType === "set" || schema.listType === "map";
      return unordered ? withListSchema(list, schema) : list;
    }
    case "map": {
      if (!isMap(json) || !schema.items) return wrapDyn(json);
      const map = new Map<Value, Value>();
      for (const key of Object.keys(json)) map.set(key, wrap(schema.items, json[key]));
      return map;
    }
    case "object": {
      const type = typeOfSchema(schema);
      return type && isMap(json) ? new ObjectValue(type, json) : wrapDyn(json);
    }
  }
  return wrapDyn(json);
}

function wrapString(format: string | undefined, text: string): Value {
  switch (format) {
    case "byte":
      return Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
    case "duration":
      return new Duration(parseDuration(text));
    case "date":
    case "date-time": {
      const ms = parseTime(format === "date" ? `${text}T00:00:00Z` : text);
      return ms === undefined ? text : new Timestamp(ms);
    }
  }
  return text;
}

/** JSON of unknown schema as a CEL value: whole numbers are ints. */
export function wrapDyn(json: unknown): Value {
  if (typeof json === "number") return Number.isInteger(json) ? BigInt(json) : json;
  if (Array.isArray(json)) return json.map(wrapDyn);
  if (isMap(json)) return new JsonValue(json);
  return json ?? null;
}

/** A JSON object as a map; a member is wrapped when it is first looked at. */
export class JsonValue extends Map<Value, Value> {
  readonly json: JsonMap;
  #keys: string[] | undefined;
  constructor(json: JsonMap) {
    super();
    this.json = json;
  }

  #names(): string[] {
    return this.#keys ??= Object.keys(this.json);
  }

  override get(key: Value): Value | undefined {
    if (typeof key !== "string" || !Object.hasOwn(this.json, key)) return undefined;
    let value = super.get(key);
    if (value === undefined) super.set(key, value = wrapDyn(this.json[key]));
    return value;
  }

  override has(key: Value): boolean {
    return typeof key === "string" && Object.hasOwn(this.json, key);
  }

  override get size(): number {
    return this.#names().length;
  }

  override *keys(): MapIterator<Value> {
    yield* this.#names();
  }

  override *values(): MapIterator<Value> {
    for (const name of this.#names()) yield this.get(name);
  }

  override *entries(): MapIterator<[Value, Value]> {
    for (const name of this.#names()) yield [name, this.get(name)];
  }

  override [Symbol.iterator](): MapIterator<[Value, Value]> {
    return this.entries();
  }
}

/** A map whose members are made at first use: what is thrown then is thrown again. */
export class LazyRecord extends Map<Value, Value> {
  readonly #makers: ReadonlyMap<string, () => Value>;
  readonly #failures = new Map<Value, CelError>();
  constructor(makers: ReadonlyMap<string, () => Value>) {
    super();
    this.#makers = makers;
  }

  override get(key: Value): Value | undefined {
    const make = this.#makers.get(key as string);
    if (!make) return undefined;
    if (super.has(key)) return super.get(key);
    const failure = this.#failures.get(key);
    if (failure) throw failure;
    try {
      const value = make();
      super.set(key, value);
      return value;
    } catch (error) {
      if (error instanceof CelError) this.#failures.set(key, error);
      throw error;
    }
  }

  override has(key: Value): boolean {
    return this.#makers.has(key as string);
  }

  override get size(): number {
    return this.#makers.size;
  }

  override *keys(): MapIterator<Value> {
    yield* this.#makers.keys();
  }

  override *[Symbol.iterator](): MapIterator<[Value, Value]> {
    for (const key of this.#makers.keys()) yield [key, this.get(key)];
  }
}

/** Stands in a variable's slot that nobody filled: to look at it is an error of the evaluation. */
export const UNBOUND: unique symbol = Symbol("unbound");

/** A CEL value as JSON, for results that leave the language. */
export function toJson(value: Value): Json {
  if (typeof value === "bigint") return Number(value);
  if (value instanceof Uint) return Number(value.value);
  if (Array.isArray(value)) return value.map(toJson);
  if (value instanceof JsonValue) return value.json;
  if (value instanceof Map) {
    return Object.fromEntries([...value].map(([k, v]) => [textOf(k), toJson(v)]));
  }
  if (value instanceof ObjectValue) return value.json;
  if (value instanceof MessageValue) {
    return Object.fromEntries([...value.fields].map(([name, one]) => [name, toJson(one)]));
  }
  if (value instanceof Optional) return value.has ? toJson(value.value) : null;
  if (typeof value === "object" && value !== null) return textOf(value);
  return value as Json;
}

/** The name of a value's type. */
export function typeName(value: Value): string {
  switch (typeof value) {
    case "string":
      return "string";
    case "bigint":
      return "int";
    case "number":
      return "double";
    case "boolean":
      return "bool";
  }
  if (value === null) return "null_type";
  if (Array.isArray(value)) return "list";
  if (value instanceof Map) return "map";
  if (value instanceof Uint) return "uint";
  if (value instanceof Timestamp) return "google.protobuf.Timestamp";
  if (value instanceof Duration) return "google.protobuf.Duration";
  if (value instanceof Uint8Array) return "bytes";
  if (value instanceof Optional) return "optional_type";
  if (value instanceof Opaque) return value.type;
  if (value instanceof TypeValue) return "type";
  if (value instanceof MessageValue) return value.type.name!;
  return value instanceof ObjectValue ? value.type.name! : "dyn";
}

const GO_TYPES: readonly [new (...args: never[]) => object, string][] = [
  [Uint, "types.Uint"],
  [Uint8Array, "types.Bytes"],
  [Optional, "*types.Optional"],
  [Timestamp, "types.Timestamp"],
  [Duration, "types.Duration"],
  [TypeValue, "*types.Type"],
  [Array, "*types.baseList"],
];

/** What Go calls a value's type. */
export function goTypeOf(value: Value): string {
  switch (typeof value) {
    case "string":
      return "types.String";
    case "bigint":
      return "types.Int";
    case "number":
      return "types.Double";
    case "boolean":
      return "types.Bool";
  }
  if (value === null) return "types.Null";
  return GO_TYPES.find(([kind]) => value instanceof kind)?.[1] ?? "*types.baseMap";
}

/** Whether a value is of a type; used where types are known at run time only. */
export function fits(type: Type, value: Value): boolean {
  switch (type.kind) {
    case "dyn":
    case "param":
      return true;
    case "bool":
      return typeof value === "boolean";
    case "int":
      return typeof value === "bigint";
    case "uint":
      return value instanceof Uint;
    case "double":
      return typeof value === "number";
    case "string":
      return typeof value === "string";
    case "bytes":
      return value instanceof Uint8Array;
    case "null":
      return value === null;
    case "timestamp":
      return value instanceof Timestamp;
    case "duration":
      return value instanceof Duration;
    case "type":
      return value instanceof TypeValue;
    case "list":
      return Array.isArray(value) &&
        (value.length === 0 || type.a!.kind === "list" || fits(type.a!, value[0]));
    case "map":
      return value instanceof Map || value instanceof ObjectValue;
    case "object":
      return value instanceof ObjectValue ||
        (value instanceof MessageValue && value.type.name === type.name);
    case "optional":
      return value instanceof Optional;
    case "opaque":
      return value instanceof Opaque && value.type === type.name;
  }
}

function numeric(value: Value): number | bigint | undefined {
  if (typeof value === "bigint" || typeof value === "number") return value;
  return value instanceof Uint ? value.value : undefined;
}

/** Equality. Values of different types are unequal, numbers apart. */
export function equal(a: Value, b: Value): boolean {
  if (a === b) return true;
  work(1);
  const x = numeric(a);
  if (x !== undefined) {
    const y = numeric(b);
    return y !== undefined && x == y;
  }
  if (typeof a !== "object" || typeof b !== "object" || a === null || b === null) return false;
  if (Array.isArray(a)) return Array.isArray(b) && equalLists(a, b);
  if (a instanceof Map) return b instanceof Map && equalMaps(a, b);
  if (a instanceof ObjectValue) return b instanceof ObjectValue && sameObjects(a, b);
  if (a instanceof MessageValue) {
    return b instanceof MessageValue && a.type.name === b.type.name &&
      equalMaps(new Map(a.fields), new Map(b.fields));
  }
  if (a instanceof Timestamp) return b instanceof Timestamp && a.ms === b.ms;
  if (a instanceof Duration) return b instanceof Duration && a.ms === b.ms;
  if (a instanceof Uint8Array) return b instanceof Uint8Array && sameBytes(a, b);
  if (a instanceof TypeValue) return b instanceof TypeValue && a.name === b.name;
  if (a instanceof Optional) {
    return b instanceof Optional && a.has === b.has && (!a.has || equal(a.value, b.value));
  }
  if (!(a instanceof Opaque) || !(b instanceof Opaque) || a.type !== b.type) return false;
  if (a.value instanceof Quantity && b.value instanceof Quantity) {
    return a.value.compare(b.value) === 0;
  }
  return a.text === b.text;
}

function sameObjects(a: ObjectValue, b: ObjectValue): boolean {
  if (a.json === b.json) return true;
  for (const name of a.type.fields!.keys()) {
    const x = a.get(name);
    const y = b.get(name);
    if (x === undefined || y === undefined ? x !== y : !equal(x, y)) return false;
  }
  return true;
}

function sameBytes(a: Uint8Array, b: Uint8Array): boolean {
  tick(a.length / 4);
  return a.length === b.length && a.every((byte, i) => byte === b[i]);
}

function equalLists(a: Value[], b: Value[]): boolean {
  if (a.length !== b.length) return false;
  work(a.length);
  if (listSchema(a) ?? listSchema(b)) {
    return a.every((item) => b.some((other) => equal(item, other)));
  }
  return a.every((item, i) => equal(item, b[i]));
}

function equalMaps(a: Map<Value, Value>, b: Map<Value, Value>): boolean {
  if (a.size !== b.size) return false;
  work(20 + 20 * a.size);
  for (const [key, value] of a) if (!b.has(key) || !equal(value, b.get(key))) return false;
  return true;
}

/** Order: negative, 0, positive; undefined where there is none. */
export function compare(a: Value, b: Value): number | undefined {
  const x = numeric(a);
  if (x !== undefined) {
    const y = numeric(b);
    if (y === undefined || Number.isNaN(x) || Number.isNaN(y)) return undefined;
    return x < y ? -1 : x > y ? 1 : 0;
  }
  if (
    (typeof a === "string" && typeof b === "string") ||
    (typeof a === "boolean" && typeof b === "boolean")
  ) return a < b ? -1 : a > b ? 1 : 0;
  if (
    (a instanceof Timestamp && b instanceof Timestamp) ||
    (a instanceof Duration && b instanceof Duration)
  ) return a.ms - b.ms;
  if (a instanceof Uint8Array && b instanceof Uint8Array) {
    for (let i = 0; i < Math.min(a.length, b.length); i++) if (a[i] !== b[i]) return a[i] - b[i];
    return a.length - b.length;
  }
  return undefined;
}

/** A value as `string()` and `format` write it. */
export function textOf(value: Value): string {
  if (typeof value === "string") return value;
  if (typeof value === "number") return doubleText(value);
  if (value instanceof Uint) return String(value.value);
  if (value instanceof Timestamp) return timestampText(value.ms);
  if (value instanceof Duration) return `${value.ms / 1000}s`;
  if (value instanceof Uint8Array) return new TextDecoder().decode(value);
  if (value instanceof Opaque) return value.text;
  if (value instanceof TypeValue) return value.name;
  if (Array.isArray(value)) return `[${value.map(textOf).join(", ")}]`;
  if (value instanceof Map) {
    return `{${[...value].map(([k, v]) => `${textOf(k)}: ${textOf(v)}`).join(", ")}}`;
  }
  return String(value);
}

function doubleText(value: number): string {
  if (value === Infinity) return "+Inf";
  if (value === -Infinity) return "-Inf";
  if (Object.is(value, -0)) return "-0";
  return goFloat(value);
}

function timestampText(ms: number): string {
  const rest = ms - Math.floor(ms / 1000) * 1000;
  const text = formatTime(ms);
  if (rest === 0) return text;
  return `${text.slice(0, -1)}.${(rest / 1000).toFixed(6).slice(2).replace(/0+$/, "")}Z`;
}

const SURROGATE = /[\ud800-\udfff]/;

/** How many characters a text has. */
export function characters(text: string): number {
  work(text.length / 16);
  if (!SURROGATE.test(text)) return text.length;
  let count = 0;
  for (const _ of text) count++;
  return count;
}

/** How much there is of a value, for costs: characters, items, entries. */
export function sizeOf(value: Value): number {
  if (typeof value === "string") return characters(value);
  if (Array.isArray(value) || value instanceof Uint8Array) return value.length;
  if (value instanceof Map) return value.size;
  if (value instanceof ObjectValue) return Object.keys(value.json).length;
  if (value instanceof Optional) return value.has ? sizeOf(value.value) : 1;
  return value instanceof Opaque ? value.size : 1;
}
