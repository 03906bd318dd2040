/**
 * The types of whole kinds, as upstream makes them of the published OpenAPI documents: times are timestamps,
 * quantities and int-or-strings are strings, what may be any JSON is not there at all.
 */
import type { Kind, Schema, SchemaSet } from "../types.ts";
import {
  BOOL,
  BYTES,
  DOUBLE,
  DYN,
  escapeName,
  INT,
  listOf,
  mapOf,
  type ObjectField,
  STRING,
  stringType,
  TIMESTAMP,
  type Type,
} from "./types.ts";

const known = new WeakMap<Schema, Type>();

/** Where schemas are looked up, and whether they are a custom resource's. */
interface Source {
  schemas: SchemaSet;
  custom: boolean;
}

/** The type of a kind's objects. */
export function typeOfKind(
  { schemas, schema: name, custom = false }: Pick<Kind, "schemas" | "schema" | "custom">,
): Type | undefined {
  const schema = schemas[name];
  return schema && typeOf({ schemas, custom }, schema, name.slice(name.lastIndexOf(".") + 1));
}

function typeOf(source: Source, schema: Schema, name: string): Type | undefined {
  if (schema.ref) {
    const target = source.schemas[schema.ref];
    return target && typeOf({ ...source, custom: false }, target, schema.ref);
  }
  switch (schema.type) {
    case "string":
      return stringType(schema.format);
    case "boolean":
      return BOOL;
    case "integer":
      return INT;
    case "number":
      return DOUBLE;
    case "bytes":
      return BYTES;
    case "time":
    case "microTime":
      return TIMESTAMP;
    case "quantity":
    case "duration":
      return STRING;
    case "intOrString":
      // A custom resource's is marked as such, a built-in kind's says that it is a string.
      return source.custom ? DYN : STRING;
    case "array": {
      const item = schema.items && typeOf(source, schema.items, `${name}.@idx`);
      return item && listOf(item);
    }
    case "map": {
      const value = schema.items && typeOf(source, schema.items, `${name}.@elem`);
      return value && mapOf(STRING, value);
    }
    case "object":
    case "raw":
    case "fieldsV1":
      return objectType(source, schema, name);
  }
  return undefined;
}

function objectType(source: Source, schema: Schema, name: string): Type {
  const before = known.get(schema);
  if (before) return before;
  const fields = new Map<string, ObjectField>();
  const type: Type = { kind: "object", name, fields };
  known.set(schema, type);
  for (const [key, field] of Object.entries(schema.properties ?? {})) {
    const escaped = escapeName(key);
    const inner = escaped === undefined ? undefined : typeOf(source, field, `${name}.${key}`);
    if (inner) fields.set(escaped!, { name: key, schema: field, type: inner });
  }
  return type;
}
