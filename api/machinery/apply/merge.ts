/**
 * The object side of apply: laying a configuration over an object, taking owned fields out of it, and
 * checking a configuration against the schema in the words of upstream's typed values.
 */
import { setOwn } from "../edit.ts";
import type { Json } from "../types.ts";
import { goSyntax, goValue } from "../go_format.ts";
import { type FieldSet, hasElement, isEmptySet, LEAF, NO_FIELDS, pathText } from "./field_set.ts";
import { DEDUCED, elementOf, FIELDS, KEYED_LIST, KEYS, SET_LIST, type Shape } from "./shape.ts";

type JsonMap = { [key: string]: Json };

function isMap(value: unknown): value is JsonMap {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function get(map: JsonMap, key: string): Json | undefined {
  return Object.hasOwn(map, key) ? map[key] : undefined;
}

/** The shape of a member of a map. */
function below(shape: Shape, key: string): Shape {
  return shape.fields.get(key)?.shape ?? shape.items ?? shape;
}

/**
 * `over` laid over `live`: its values win, its absences say nothing. Lists keep the configuration's order
 * among its own items and the live order among the others. Parts are shared with both arguments.
 */
export function mergeObjects(shape: Shape, live: Json, over: Json): Json {
  switch (shape.kind) {
    case FIELDS:
    case KEYS:
    case DEDUCED:
      if (!isMap(live) || !isMap(over)) {
        return over === null && isMap(live) && hasMembers(live) ? live : over;
      }
      return mergeMaps(shape, live, over);
    case KEYED_LIST:
    case SET_LIST:
      if (!Array.isArray(live) || live.length === 0) return over;
      if (!Array.isArray(over) || over.length === 0) return live;
      return mergeLists(shape, live, over);
  }
  return over;
}

function hasMembers(map: JsonMap): boolean {
  for (const _ in map) return true;
  return false;
}

function mergeMaps(shape: Shape, live: JsonMap, over: JsonMap): JsonMap {
  const out: JsonMap = {};
  for (const key in live) {
    const wanted = get(over, key);
    const value = wanted === undefined
      ? live[key]
      : mergeObjects(below(shape, key), live[key], wanted);
    setOwn(out, key, value);
  }
  for (const key in over) {
    if (over[key] !== undefined && !Object.hasOwn(live, key)) setOwn(out, key, over[key]);
  }
  return out;
}

function mergeLists(shape: Shape, live: Json[], over: Json[]): Json[] {
  const left = live.map((item, i) => elementOf(shape, item) ?? `i:${i}`);
  const right = over.map((item, i) => elementOf(shape, item) ?? `i:${i}`);
  const liveItems = new Map<string, Json>();
  left.forEach((element, i) => {
    // Duplicates, which stored objects may have, give way to the configuration's item as a whole.
    liveItems.set(element, liveItems.has(element) ? null : live[i]);
  });
  const wanted = new Set(right);
  const shared = right.filter((element) => liveItems.has(element));
  const merged = new Set<string>();
  const out: Json[] = [];
  let nextShared = 0;
  let l = 0;
  let r = 0;
  const take = (i: number) => {
    const before = liveItems.get(right[i]);
    merged.add(right[i]);
    out.push(before === undefined ? over[i] : mergeObjects(shape.items!, before, over[i]));
  };
  while (l < left.length || r < right.length) {
    if (l < left.length && r < right.length) {
      if (left[l] === right[r]) {
        take(r++);
        l++;
        nextShared++;
        continue;
      }
      // Shared, but not the one whose turn it is by the configuration's order.
      if (wanted.has(left[l]) && nextShared < shared.length && shared[nextShared] !== left[l]) {
        l++;
        continue;
      }
    }
    if (l < left.length) {
      if (!wanted.has(left[l])) {
        out.push(live[l++]);
        continue;
      }
      if (merged.has(left[l])) l++;
    }
    if (r < right.length) {
      take(r);
      if (right[r++] === shared[nextShared]) nextShared++;
    }
  }
  return out;
}

/**
 * `value` without the members of `set`. A map or list that loses what it held stays, empty; so does an
 * atomic one of which parts are members.
 */
export function removeFields(shape: Shape, value: Json, set: FieldSet): Json {
  if (isEmptySet(set)) return value;
  if (Array.isArray(value)) {
    const items = shape.kind === KEYED_LIST || shape.kind === SET_LIST;
    return items ? removeFromList(shape, value, set) : [];
  }
  if (!isMap(value)) return value;
  const members = shape.kind === FIELDS || shape.kind === KEYS || shape.kind === DEDUCED;
  return members ? removeFromMap(shape, value, set) : {};
}

function removeFromMap(shape: Shape, map: JsonMap, set: FieldSet): Json {
  const out: JsonMap = {};
  for (const key in map) {
    const field = shape.fields.get(key);
    const element = field?.element ?? `f:${key}`;
    const node = set[element];
    if (node !== undefined && hasElement(set, element)) continue;
    setOwn(
      out,
      key,
      node === undefined ? map[key] : removeFields(below(shape, key), map[key], node),
    );
  }
  return out;
}

function removeFromList(shape: Shape, list: Json[], set: FieldSet): Json {
  const out: Json[] = [];
  list.forEach((item, i) => {
    const element = elementOf(shape, item) ?? `i:${i}`;
    const node = set[element];
    if (node !== undefined && hasElement(set, element)) return;
    out.push(node === undefined ? item : removeFields(shape.items!, item, node));
  });
  return out;
}

/** The set with every struct field on the way to a member being a member itself. */
export function withNamedFields(shape: Shape, set: FieldSet): FieldSet {
  return namedBelow(shape, set, {}) ?? NO_FIELDS;
}

function namedBelow(
  shape: Shape,
  set: FieldSet,
  out: { [element: string]: FieldSet },
): FieldSet | undefined {
  let count = 0;
  for (const element in set) {
    if (element === ".") continue;
    const node = set[element];
    const name = element.slice(2);
    const field = element[0] === "f" && shape.kind === FIELDS ? shape.fields.get(name) : undefined;
    const inner = field?.shape ?? shape.items ?? shape;
    const member = field !== undefined || hasElement(set, element);
    out[element] = namedBelow(inner, node, member ? { ".": LEAF } : {}) ?? LEAF;
    count++;
  }
  return count === 0 ? undefined : out;
}

// --- checking a configuration -------------------------------------------------------------------------

/** Errors listed of one configuration. */
export const CONFIGURATION_ERRORS_MAX = 50;

/** What is wrong with a configuration, in upstream's words; none when it can be applied. */
export function configurationErrors(shape: Shape, object: Json): string[] {
  const errors: string[] = [];
  check(shape, object, [], errors);
  return errors;
}

function check(shape: Shape, value: Json, path: string[], errors: string[]): void {
  if (errors.length >= CONFIGURATION_ERRORS_MAX || value === null) return;
  const schemaType = shape.schema.type;
  if (schemaType === "object" || schemaType === "map") {
    if (isMap(value)) checkMembers(shape.inside?.() ?? shape, value, path, errors);
    else if (shape.kind !== DEDUCED) fail(`expected map, got ${shown(value)}`, path, errors);
  } else if (schemaType === "array") {
    if (Array.isArray(value)) checkItems(shape, value, path, errors);
    else fail(`expected list, got ${shown(value)}`, path, errors);
  } else checkScalar(schemaType, value, path, errors);
}

function fail(text: string, path: readonly string[], errors: string[]): void {
  errors.push(path.length ? `${pathText(path)}: ${text}` : text);
}

/** A value as upstream's texts show it. */
function shown(value: Json): string {
  return `&{${goValue(value)}}`;
}

function checkMembers(shape: Shape, map: JsonMap, path: string[], errors: string[]): void {
  for (const key in map) {
    if (map[key] === undefined) continue;
    const field = shape.fields.get(key);
    path.push(`f:${key}`);
    if (field) check(field.shape, map[key], path, errors);
    else if (shape.items) check(shape.items, map[key], path, errors);
    else if (shape.kind === FIELDS) fail("field not declared in schema", path, errors);
    path.pop();
  }
}

function checkItems(shape: Shape, list: Json[], path: string[], errors: string[]): void {
  if (shape.kind !== KEYED_LIST && shape.kind !== SET_LIST) {
    const items = shape.inside?.();
    if (!items) return;
    list.forEach((item, i) => {
      path.push(`i:${i}`);
      check(items, item, path, errors);
      path.pop();
    });
    return;
  }
  const seen = new Set<string>();
  list.forEach((item, i) => {
    if (shape.kind === SET_LIST && item === null) {
      fail(
        `element ${i}: associative list without keys has an element that's an explicit null`,
        path,
        errors,
      );
      return;
    }
    const element = elementOf(shape, item);
    if (element === undefined) {
      fail(`element ${i}: ${keyProblem(shape, item)}`, path, errors);
      return;
    }
    if (seen.has(element)) {
      fail(`duplicate entries for key ${pathText([element])}`, path, errors);
      return;
    }
    seen.add(element);
    path.push(element);
    check(shape.items!, item, path, errors);
    path.pop();
  });
}

function keyProblem(shape: Shape, item: Json): string {
  if (item === null) return "associative list with keys may not have a null element";
  if (!isMap(item)) return "associative list with keys may not have non-map elements";
  const names = shape.keys.map((key) => JSON.stringify(key.name)).join(" ");
  return `associative list with keys has an element that omits all key fields [${names}] ` +
    "(and doesn't have default values for any key fields)";
}

function checkScalar(type: string, value: Json, path: string[], errors: string[]): void {
  switch (type) {
    case "string":
    case "bytes":
      if (typeof value !== "string") {
        const text = `&value.valueUnstructured{Value:${goSyntax(value)}}`;
        fail(`expected string, got ${text}`, path, errors);
      }
      return;
    case "boolean":
      if (typeof value !== "boolean") fail(`expected boolean, got ${shown(value)}`, path, errors);
      return;
    case "integer":
    case "number":
      if (typeof value !== "number") {
        fail(`expected numeric (int or float), got ${goType(value)}`, path, errors);
      }
      return;
    case "quantity":
    case "intOrString":
    case "time":
    case "microTime":
    case "duration":
      if (typeof value === "object") fail(`expected any scalar, got ${shown(value)}`, path, errors);
  }
}

function goType(value: Json): string {
  if (typeof value === "boolean") return "bool";
  if (Array.isArray(value)) return "[]interface {}";
  return typeof value === "string" ? "string" : "map[string]interface {}";
}
