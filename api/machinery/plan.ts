/**
 * Plans: schemas resolved once into what the walks need. A reference becomes a pointer, a type a small
 * integer, so that a walk over an object looks up each field once and nothing else.
 *
 * Plans are cached by schema object; a schema must not change after its first use.
 */
import type { Field, Json, Schema, SchemaSet } from "./types.ts";

/** What a value must be. Order matters: everything below `STRUCT` is a scalar of one JSON token. */
export const STRING = 0;
export const BOOLEAN = 1;
export const INTEGER = 2;
export const NUMBER = 3;
export const BYTES = 4;
export const QUANTITY = 5;
export const INT_OR_STRING = 6;
export const TIME = 7;
export const MICRO_TIME = 8;
export const DURATION = 9;
export const STRUCT = 10;
export const MAP = 11;
export const LIST = 12;
export const FIELDS_V1 = 13;
export const RAW = 14;
export const ANY = 15;
/** The CRD types' unions: a schema or a boolean, schemas or strings. */
export const SCHEMA_UNION = 16;

const OPS: Record<Schema["type"], number> = {
  string: STRING,
  boolean: BOOLEAN,
  integer: INTEGER,
  number: NUMBER,
  bytes: BYTES,
  quantity: QUANTITY,
  intOrString: INT_OR_STRING,
  time: TIME,
  microTime: MICRO_TIME,
  duration: DURATION,
  object: STRUCT,
  map: MAP,
  array: LIST,
  fieldsV1: FIELDS_V1,
  raw: RAW,
  any: ANY,
};

/** A resolved schema node. */
export interface Plan {
  op: number;
  schema: Schema;
  /** Go's name of the type in errors. */
  goType: string;
  /** Go's name of a struct in errors. */
  goName: string;
  format: string;
  /** STRUCT: its fields by JSON name. Never has inherited keys. */
  fields: Map<string, PlanField>;
  /** STRUCT: what Go writes even when it is not given. */
  fills: PlanField[];
  /** MAP, LIST; SCHEMA_UNION: the schema's own plan. */
  items?: Plan;
  /** Custom resources: unknown fields are kept. */
  preserve: boolean;
  /** Custom resources: apiVersion, kind and metadata are fields of this node. */
  embedded: boolean;
  /** LIST: a message of its own in protobuf. */
  wrapped: boolean;
  /** Whether anything at or below declares a default; settled at first use, as is the next. */
  defaults?: boolean;
  /** The fields that declare one, or have one below. */
  defaulted?: PlanField[];
}

/** A field of a struct. */
export interface PlanField {
  name: string;
  plan: Plan;
  field: Field;
  op: number;
  goType: string;
  /** Zero and empty values are dropped. */
  omitEmpty: boolean;
  pointer: boolean;
}

const plans = new WeakMap<Schema, Plan>();
const named = new WeakMap<SchemaSet, Map<string, Plan>>();

/** The plan of a named schema. Throws when there is none. */
export function planOf(schemas: SchemaSet, name: string): Plan {
  let byName = named.get(schemas);
  if (!byName) named.set(schemas, byName = new Map());
  let plan = byName.get(name);
  if (plan) return plan;
  const schema = schemas[name];
  if (!schema) throw new Error(`no schema ${name}`);
  plan = planOfSchema(schemas, schema, name);
  byName.set(name, plan);
  return plan;
}

/** The plan of a schema node. `name` is its definition name, if it has one. */
export function planOfSchema(schemas: SchemaSet, schema: Schema, name = ""): Plan {
  const known = plans.get(schema);
  if (known) return known;
  const union = schema.type === "any" && schema.ref !== undefined;
  if (schema.ref && !union) return planOf(schemas, schema.ref);
  const plan: Plan = {
    op: union ? SCHEMA_UNION : OPS[schema.type],
    schema,
    goType: goTypeOf(schema, name),
    goName: name.slice(name.lastIndexOf(".") + 1),
    format: schema.format ?? "",
    fields: new Map(),
    fills: [],
    preserve: schema.preserveUnknown === true,
    embedded: schema.embedded === true,
    wrapped: schema.wrapped === true,
  };
  plans.set(schema, plan);
  if (schema.items) plan.items = planOfSchema(schemas, schema.items);
  else if (union) plan.items = planOf(schemas, schema.ref!);
  for (const [key, field] of Object.entries(schema.properties ?? {})) {
    const made = planField(schemas, key, field);
    plan.fields.set(key, made);
    if (isFilled(made)) plan.fills.push(made);
  }
  return plan;
}

function planField(schemas: SchemaSet, name: string, field: Field): PlanField {
  const plan = planOfSchema(schemas, field);
  return {
    name,
    plan,
    field,
    op: plan.op,
    goType: field.goType ?? plan.goType,
    omitEmpty: field.required1 !== true,
    pointer: field.pointer === true,
  };
}

/**
 * Go writes structs (times and quantities among them) that are no pointers even when they are empty, and
 * whatever has no omitempty. Only types of the facts table know.
 */
function isFilled(made: PlanField): boolean {
  if (made.field.omitZero || made.field.proto === undefined) return false;
  if (made.pointer) return !made.omitEmpty;
  switch (made.op) {
    case STRUCT:
    case QUANTITY:
    case INT_OR_STRING:
    case DURATION:
    case TIME:
    case MICRO_TIME:
      return true;
    case ANY:
    case SCHEMA_UNION:
      return false;
    default:
      return !made.omitEmpty;
  }
}

/** What Go writes for a field that was not given: null for what is nil then. A fresh value at each call. */
export function fillOf(made: PlanField): Json {
  if (made.pointer || made.op === LIST || made.op === MAP || made.op === BYTES) return null;
  return zeroOf(made.plan);
}

/** The value Go writes for what was not given. A fresh one at each call. */
export function zeroOf(plan: Plan): Json {
  switch (plan.op) {
    case STRUCT: {
      const out: Record<string, Json> = {};
      for (const fill of plan.fills) out[fill.name] = fillOf(fill);
      return out;
    }
    case STRING:
    case BYTES:
      return "";
    case BOOLEAN:
      return false;
    case QUANTITY:
      return "0";
    case DURATION:
      return "0s";
    case MAP:
      return {};
    case LIST:
      return [];
    case INTEGER:
    case NUMBER:
    case INT_OR_STRING:
      return 0;
    default:
      return null;
  }
}

const GO_SCALARS: Partial<Record<Schema["type"], string>> = {
  string: "string",
  boolean: "bool",
  number: "float64",
  bytes: "[]uint8",
  quantity: "resource.Quantity",
  intOrString: "intstr.IntOrString",
  time: "v1.Time",
  microTime: "v1.MicroTime",
  duration: "v1.Duration",
  fieldsV1: "v1.FieldsV1",
  raw: "runtime.RawExtension",
  any: "interface {}",
};

function goTypeOf(schema: Schema, name: string): string {
  if (schema.ref && schema.type === "object") return goNameOf(schema.ref);
  switch (schema.type) {
    case "object":
      return goNameOf(name);
    case "array":
      return `[]${goTypeOf(schema.items!, "")}`;
    case "map":
      return schema.items ? `map[string]${goTypeOf(schema.items, "")}` : "map[string]interface {}";
    case "integer":
      return schema.format ?? "int64";
    default:
      return GO_SCALARS[schema.type]!;
  }
}

/** `io.k8s.api.core.v1.PodSpec` is `v1.PodSpec`. */
function goNameOf(name: string): string {
  return name.split(".").slice(-2).join(".");
}
