/**
 * The types of CEL: what the checker reasons in and how errors name them.
 */
import type { Schema } from "../types.ts";

/** A type. `a` and `b` are element, or key and value, types. */
export interface Type {
  readonly kind:
    | "dyn"
    | "bool"
    | "int"
    | "uint"
    | "double"
    | "string"
    | "bytes"
    | "null"
    | "timestamp"
    | "duration"
    | "type"
    | "list"
    | "map"
    | "object"
    | "optional"
    | "opaque"
    | "param";
  readonly a?: Type;
  readonly b?: Type;
  /** Of an object, an opaque type or a type parameter. */
  readonly name?: string;
  /** Of an object: by the name that expressions use (see `escapeName`). */
  readonly fields?: ReadonlyMap<string, ObjectField>;
}

/** A field of an object. */
export interface ObjectField {
  /** The field's name in JSON. */
  readonly name: string;
  readonly schema: Schema;
  readonly type: Type;
}

const simple = (kind: Type["kind"]): Type => ({ kind });

export const DYN = simple("dyn");
export const BOOL = simple("bool");
export const INT = simple("int");
export const UINT = simple("uint");
export const DOUBLE = simple("double");
export const STRING = simple("string");
export const BYTES = simple("bytes");
export const NULL = simple("null");
export const TIMESTAMP = simple("timestamp");
export const DURATION = simple("duration");
export const TYPE = simple("type");

/** `list(a)`. */
export function listOf(a: Type): Type {
  return { kind: "list", a };
}

/** `map(key, value)`. */
export function mapOf(a: Type, b: Type): Type {
  return { kind: "map", a, b };
}

/** `optional_type(a)`. */
export function optionalOf(a: Type): Type {
  return { kind: "optional", a };
}

/** A type as cel-go's errors print it. */
export function typeText(type: Type): string {
  switch (type.kind) {
    case "list":
      return `list(${typeText(type.a!)})`;
    case "map":
      return `map(${typeText(type.a!)}, ${typeText(type.b!)})`;
    case "optional":
      return `optional_type(${typeText(type.a!)})`;
    case "type":
      return type.a ? `type(${typeText(type.a)})` : "type";
    case "param":
      return "dyn";
    case "object":
    case "opaque":
      return type.name!;
    default:
      return type.kind;
  }
}

const RESULT_NAMES: Readonly<Record<string, string>> = {
  null: "null_type",
  timestamp: "google.protobuf.Timestamp",
  duration: "google.protobuf.Duration",
};

/** A type as cel-go prints what an expression results in, which differs from its errors for a few. */
export function resultText(type: Type): string {
  switch (type.kind) {
    case "list":
      return `list(${resultText(type.a!)})`;
    case "map":
      return `map(${resultText(type.a!)}, ${resultText(type.b!)})`;
    case "optional":
      return `optional_type(${resultText(type.a!)})`;
    case "type":
      return type.a ? `type(${resultText(type.a)})` : "type";
    case "param":
      return "dyn";
  }
  return RESULT_NAMES[type.kind] ?? typeText(type);
}

/** What type parameters stand for in one call. */
export type Bindings = Map<string, Type>;

/** Kinds that may be null. */
const NULLABLE = new Set(["object", "opaque", "timestamp", "duration", "optional", "null"]);

/** Whether a value of type `from` can stand where `to` is wanted; binds type parameters. */
export function assignable(to: Type, from: Type, bindings: Bindings): boolean {
  // What is open takes any form: it settles nothing.
  if (from.kind === "param") return true;
  if (to.kind === "param") {
    const bound = bindings.get(to.name!);
    if (!bound) {
      bindings.set(to.name!, from);
      return true;
    }
    const fits = assignable(bound, from, bindings);
    if (fits && !isLessSpecific(from, bound)) return true;
    if (!fits && !assignable(from, bound, bindings)) return false;
    bindings.set(to.name!, from);
    return true;
  }
  if (to.kind === "dyn" || from.kind === "dyn") return true;
  if (from.kind === "null") return NULLABLE.has(to.kind);
  if (to.kind !== from.kind) return false;
  if (to.kind === "object") {
    if (!to.fields || !from.fields) return to.name === from.name;
    return to === from || to.fields === from.fields;
  }
  // A type is a type, whichever it is of.
  if (to.kind === "type") return true;
  if (to.kind === "opaque") return to.name === from.name;
  if (to.a && from.a && !assignable(to.a, from.a, bindings)) return false;
  return !(to.b && from.b) || assignable(to.b, from.b, bindings);
}

/** Whether a type says as little as another, or less. */
function isLessSpecific(type: Type, than: Type): boolean {
  if (type.kind === "dyn") return true;
  if (type.kind !== than.kind) return false;
  if (!type.a || !than.a) return type === than;
  return isLessSpecific(type.a, than.a) && (!type.b || !than.b || isLessSpecific(type.b, than.b));
}

/** The type with its parameters replaced; unbound ones are dyn. */
export function bound(type: Type, bindings: Bindings): Type {
  if (type.kind === "param") {
    const found = bindings.get(type.name!);
    if (!found) return { kind: "param", name: "_" };
    return found.kind === "param" && found.name !== type.name ? bound(found, bindings) : found;
  }
  if (!type.a) return type;
  return {
    ...type,
    a: bound(type.a, bindings),
    b: type.b && bound(type.b, bindings),
  };
}

/** Whether something in a type is still to be found out (the items of an empty list). */
export function isOpen(type: Type): boolean {
  return type.kind === "param" || (type.a !== undefined && isOpen(type.a)) ||
    (type.b !== undefined && isOpen(type.b));
}

/** The type of a value that is of either type. */
export function joined(a: Type, b: Type): Type {
  if (a === b) return a;
  if (assignable(a, b, new Map())) return isLessSpecific(b, a) || isOpen(a) ? b : a;
  return assignable(b, a, new Map()) ? b : DYN;
}

// --- schemas ------------------------------------------------------------------------------------------

const KEYWORDS = new Set([
  "true",
  "false",
  "null",
  "in",
  "as",
  "break",
  "const",
  "continue",
  "else",
  "for",
  "function",
  "if",
  "import",
  "let",
  "loop",
  "package",
  "namespace",
  "return",
  "var",
  "void",
  "while",
]);

/**
 * How expressions name a field: `__` `.` `-` `/` and reserved words are spelled out. Undefined for names
 * that expressions cannot reach.
 */
export function escapeName(name: string): string | undefined {
  if (KEYWORDS.has(name)) return `__${name}__`;
  if (!/^[A-Za-z_./-][A-Za-z0-9_./-]*$/.test(name)) return undefined;
  return name.replaceAll("__", "__underscores__").replaceAll(".", "__dot__")
    .replaceAll("-", "__dash__").replaceAll("/", "__slash__");
}

/** The field that an expression names; a reserved word may stand for itself, too. */
export function fieldNamed({ fields }: Type, name: string): ObjectField | undefined {
  return fields?.get(name) ?? (KEYWORDS.has(name) ? fields?.get(`__${name}__`) : undefined);
}

const META_FIELDS: ReadonlyMap<string, ObjectField> = new Map(
  ["name", "generateName"].map((
    name,
  ) => [name, { name, schema: { type: "string" } as Schema, type: STRING }]),
);
const META: Type = { kind: "object", name: "metadata", fields: META_FIELDS };

const known = new WeakMap<Schema, Type | null>();

/** The type of a schema's values; undefined where expressions may not look (unknown fields). */
export function typeOfSchema(schema: Schema, name = "selfType"): Type | undefined {
  const before = known.get(schema);
  if (before !== undefined) return before ?? undefined;
  const made = makeType(schema, name);
  known.set(schema, made ?? null);
  return made;
}

function makeType(schema: Schema, name: string): Type | undefined {
  switch (schema.type) {
    case "string":
      return stringType(schema.format);
    case "boolean":
      return BOOL;
    case "integer":
      return INT;
    case "number":
      return DOUBLE;
    case "intOrString":
      return DYN;
    case "array": {
      const item = schema.items && typeOfSchema(schema.items, `${name}.@idx`);
      return item && listOf(item);
    }
    case "map": {
      const value = schema.items && typeOfSchema(schema.items, `${name}.@elem`);
      return value && mapOf(STRING, value);
    }
    case "object":
      return objectType(schema, name);
    case "bytes":
      return BYTES;
    case "quantity":
      return DYN;
    case "time":
    case "microTime":
      return TIMESTAMP;
    case "duration":
      return DURATION;
  }
  return undefined;
}

/** The type of a string by its format. */
export function stringType(format: string | undefined): Type {
  switch (format) {
    case "byte":
      return BYTES;
    case "duration":
      return DURATION;
    case "date":
    case "date-time":
      return TIMESTAMP;
  }
  return STRING;
}

function objectType(schema: Schema, name: string): Type {
  const entries = Object.entries(schema.properties ?? {});
  const fields = new Map<string, ObjectField>();
  const type: Type = { kind: "object", name, fields };
  known.set(schema, type);
  for (const [key, field] of entries) {
    const escaped = escapeName(key);
    if (escaped === undefined) continue;
    const inner = field.ref ? META : typeOfSchema(field, `${name}.${key}`);
    if (inner) fields.set(escaped, { name: key, schema: field, type: inner });
  }
  return type;
}
