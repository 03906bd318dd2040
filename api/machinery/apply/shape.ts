/**
 * Shapes: what field ownership needs to know of a schema, resolved once. A shape says whether a value is
 * owned as a whole (scalars, atomic lists and maps) or field by field, key by key, item by item.
 */
import { type Plan, type PlanField, planOf, planOfSchema, zeroOf } from "../plan.ts";
import { ANY, FIELDS_V1, LIST, MAP, SCHEMA_UNION, STRUCT } from "../plan.ts";
import type { Json, Schema, SchemaSet } from "../types.ts";

/** Owned as a whole. */
export const WHOLE = 0;
/** A struct: fields of names known (and, custom resources, unknown ones). */
export const FIELDS = 1;
/** A map with string keys. */
export const KEYS = 2;
/** A list of maps told apart by keys. */
export const KEYED_LIST = 3;
/** A list of scalars without duplicates. */
export const SET_LIST = 4;
/** Of unknown schema: maps are owned key by key, everything else as a whole. */
export const DEDUCED = 5;

/** A resolved node. */
export interface Shape {
  kind: number;
  /** FIELDS: by JSON name. */
  fields: Map<string, ShapeField>;
  /** KEYS, KEYED_LIST, SET_LIST: of the items. FIELDS: of unknown fields, where they are kept. */
  items?: Shape;
  /** KEYED_LIST. */
  keys: readonly ShapeKey[];
  /** For validation: what a WHOLE value must be. */
  schema: Schema;
  /** For validation: what is in a map or list that is owned as a whole. */
  inside?: () => Shape;
}

/** A field of a struct. */
export interface ShapeField {
  name: string;
  /** `f:name`. */
  element: string;
  shape: Shape;
  /** Go writes it even when it is not set: a missing one counts as null, not as absent. */
  always: boolean;
}

/** One of the keys that tell items of a list apart. */
export interface ShapeKey {
  name: string;
  /** `"name":`. */
  prefix: string;
  /** As JSON; what a missing key counts as. */
  fallback?: string;
}

const NO_FIELDS: Map<string, ShapeField> = new Map();
const UNKNOWN: Schema = { type: "any" };
const DEDUCED_SHAPE: Shape = { kind: DEDUCED, fields: NO_FIELDS, keys: [], schema: UNKNOWN };
const UNTYPED_MAP: Shape = {
  kind: KEYS,
  fields: NO_FIELDS,
  items: DEDUCED_SHAPE,
  keys: [],
  schema: UNKNOWN,
};

const shapes = new WeakMap<Plan, Map<Schema, Shape>>();

/** The shape of a named schema. */
export function shapeOf(schemas: SchemaSet, name: string): Shape {
  const plan = planOf(schemas, name);
  return shapeAt(schemas, plan, plan.schema);
}

/** `facts`: where list type and map type stand; a field says it for the type it refers to. */
function shapeAt(schemas: SchemaSet, plan: Plan, facts: Schema): Shape {
  let byFacts = shapes.get(plan);
  if (!byFacts) shapes.set(plan, byFacts = new Map());
  const known = byFacts.get(facts);
  if (known) return known;
  const shape: Shape = { kind: WHOLE, fields: NO_FIELDS, keys: [], schema: plan.schema };
  byFacts.set(facts, shape);
  const atomic = (facts.mapType ?? plan.schema.mapType) === "atomic";
  const open = (): Shape => ({ ...shape, fields: NO_FIELDS, inside: undefined });
  switch (plan.op) {
    case STRUCT:
      if (!atomic) fillFields(schemas, shape, plan);
      else shape.inside = once(() => fillFields(schemas, open(), plan));
      break;
    case MAP:
      if (!plan.items) break;
      if (!atomic) fillKeys(schemas, shape, plan);
      else shape.inside = once(() => fillKeys(schemas, open(), plan));
      break;
    case LIST:
      fillList(schemas, shape, plan, facts);
      break;
    case FIELDS_V1:
      if (!atomic) return replace(byFacts, facts, UNTYPED_MAP);
      break;
    case ANY:
      if (plan.preserve && !atomic) return replace(byFacts, facts, DEDUCED_SHAPE);
      break;
    case SCHEMA_UNION:
      break;
  }
  return shape;
}

function replace(byFacts: Map<Schema, Shape>, facts: Schema, shape: Shape): Shape {
  byFacts.set(facts, shape);
  return shape;
}

function once(make: () => Shape): () => Shape {
  let made: Shape | undefined;
  return () => made ??= make();
}

function fillKeys(schemas: SchemaSet, shape: Shape, plan: Plan): Shape {
  shape.kind = KEYS;
  shape.items = shapeAt(schemas, plan.items!, plan.schema.items ?? plan.items!.schema);
  return shape;
}

function fillFields(schemas: SchemaSet, shape: Shape, plan: Plan): Shape {
  shape.kind = FIELDS;
  shape.fields = new Map();
  for (const [name, field] of plan.fields) {
    shape.fields.set(name, {
      name,
      element: `f:${name}`,
      shape: shapeAt(schemas, field.plan, field.field),
      always: isAlways(field),
    });
  }
  // An object of no known fields is free in its form.
  if (plan.preserve || (plan.fields.size === 0 && !plan.items)) shape.items = DEDUCED_SHAPE;
  else if (plan.items) shape.items = shapeAt(schemas, plan.items, plan.schema.items!);
  return shape;
}

/** Only the facts of built-in kinds know how Go writes; there absence of `omitempty` is `required1`. */
function isAlways(field: PlanField): boolean {
  return field.field.proto !== undefined && !field.omitEmpty;
}

function fillList(schemas: SchemaSet, shape: Shape, plan: Plan, facts: Schema): void {
  const listType = facts.listType ?? plan.schema.listType;
  const keys = facts.listMapKeys ?? plan.schema.listMapKeys;
  const items = plan.schema.items;
  if (!items) return;
  if (!listType || listType === "atomic") {
    shape.inside = once(() => shapeAt(schemas, planOfSchema(schemas, items), items));
    return;
  }
  const itemPlan = planOfSchema(schemas, items);
  shape.items = shapeAt(schemas, itemPlan, items);
  if (listType === "set") shape.kind = SET_LIST;
  else if (keys?.length) {
    shape.kind = KEYED_LIST;
    shape.keys = [...keys].sort().map((name) => {
      const fallback = fallbackOf(itemPlan.fields.get(name));
      return {
        name,
        prefix: `${JSON.stringify(name)}:`,
        fallback: fallback === undefined ? undefined : JSON.stringify(fallback),
      };
    });
  }
}

/** What a missing key counts as: its default; where Go always writes it, what Go would write. */
function fallbackOf(field: PlanField | undefined): unknown {
  if (!field) return undefined;
  return field.field.default ?? (isAlways(field) ? zeroOf(field.plan) : undefined);
}

const zeros = new WeakMap<Plan, Json>();

/** The object that Go starts from: what ownership of a new object is measured against. */
export function zeroObject(schemas: SchemaSet, name: string): Json {
  const plan = planOf(schemas, name);
  let zero = zeros.get(plan);
  if (zero === undefined) zeros.set(plan, zero = zeroOf(plan));
  return zero;
}

const PLAIN = /^[\x20\x21\x23-\x5b\x5d-\x7e]*$/;

function scalarText(value: unknown): string {
  if (typeof value === "string" && PLAIN.test(value)) return `"${value}"`;
  return JSON.stringify(value ?? null);
}

/**
 * The path element of a list's item, or undefined when it has none: no map, none of its keys, no scalar.
 */
export function elementOf(shape: Shape, item: unknown): string | undefined {
  if (shape.kind === SET_LIST) return `v:${scalarText(item)}`;
  if (typeof item !== "object" || item === null || Array.isArray(item)) return undefined;
  const map = item as Record<string, unknown>;
  let text = "k:{";
  let found = false;
  for (const key of shape.keys) {
    const value = map[key.name];
    const part = value === undefined ? key.fallback : scalarText(value);
    if (part === undefined) continue;
    text += found ? `,${key.prefix}${part}` : key.prefix + part;
    found = true;
  }
  return found ? `${text}}` : undefined;
}
