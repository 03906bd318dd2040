/**
 * Strategic merge patch: a merge patch that knows from the schema which lists are keyed. Directives
 * (`$patch`, `$retainKeys`, `$deleteFromPrimitiveList/x`, `$setElementOrder/x`), order of the result and
 * errors follow apimachinery's `strategicpatch`. Where upstream would answer 500 (a missing merge key, a
 * list of mixed types) the answer here is 400 with the same text.
 */
import { edit, setOwn } from "./edit.ts";
import type { ApiError, Field, Json, Schema, SchemaSet } from "./types.ts";
import { badRequest } from "./errors.ts";
import { getKey, goTypeName, isMap, type JsonMap } from "./json_value.ts";
import { goList, goQuote, goValue } from "./go_format.ts";
import { unprocessable } from "./patch.ts";

const DIRECTIVE = "$patch";
const DELETE_FROM_LIST = "$deleteFromPrimitiveList";
const ELEMENT_ORDER = "$setElementOrder";
const RETAIN_KEYS = "$retainKeys";

/** The refusal of kinds without a schema of their own (custom resources answer 415 before this). */
export const UNSUPPORTED_TEXT = "strategic merge patch format is not supported";

/**
 * Applies a strategic merge patch to an object of the schema named `schemaName`. The document stays as it is; what the
 * patch does not touch is the document's very own.
 */
export function strategicPatch<T extends object>(
  schemas: SchemaSet,
  schemaName: string,
  document: T,
  patch: unknown,
): T {
  if (!isMap(patch)) throw badRequest("invalid JSON document");
  const type: TypeAt = { schemas, schema: { type: "object", ref: schemaName }, name: schemaName };
  return mergeMap(document as JsonMap, edit(patch), type) as T;
}

/** A schema with the set its references point into. */
interface TypeAt {
  schemas: SchemaSet;
  schema: Schema;
  /** For messages. */
  name: string;
}

/** A field's own type and how patches treat it. */
interface FieldAt {
  type: TypeAt;
  replace: boolean;
  merge: boolean;
  mergeKey: string;
}

function resolve(type: TypeAt): Schema {
  let { schema } = type;
  while (schema.ref) {
    const next: Schema | undefined = type.schemas[schema.ref];
    if (!next) return schema;
    schema = next;
  }
  return schema;
}

function typeName(type: TypeAt): string {
  const name = type.schema.ref ?? type.name;
  return name.slice(name.lastIndexOf(".") + 1);
}

function lookup(type: TypeAt, key: string, list: boolean): FieldAt {
  const schema = resolve(type);
  const field: Field | undefined = schema.properties && Object.hasOwn(schema.properties, key)
    ? schema.properties[key]
    : undefined;
  if (!field) {
    if (schema.type !== "object") {
      const what = schema.type === "map" ? "map" : schema.type === "array" ? "slice" : schema.type;
      throw badRequest(
        `merging an object in json but data type is not struct, instead is: ${what}`,
      );
    }
    throw badRequest(
      `unable to find api field in struct ${typeName(type)} for the json field ${goQuote(key)}`,
    );
  }
  const strategies = field.patchStrategy ?? [];
  let own: Schema = field;
  if (list) {
    const array = resolve({ schemas: type.schemas, schema: field, name: key });
    if (array.type !== "array") {
      throw badRequest("expected slice or array type, but got: struct");
    }
    own = array.items ?? { type: "any" };
  }
  return {
    type: { schemas: type.schemas, schema: own, name: key },
    replace: strategies.includes("replace"),
    merge: strategies.includes("merge"),
    mergeKey: field.patchMergeKey ?? "",
  };
}

function unknownDirective(directive: Json, patch: JsonMap): ApiError {
  return badRequest(`unknown patch type: ${goValue(directive)} in map: ${goValue(patch)}`);
}

function wrongType(expected: Json, actual: Json | undefined): ApiError {
  // Go prints a type that there is not as a wrong verb
  const type = actual === null || actual === undefined ? "%!s(<nil>)" : goTypeName(actual);
  return badRequest(`expected a ${goTypeName(expected)}, but received a ${type}`);
}

function noMergeKey(map: JsonMap, key: string): ApiError {
  return badRequest(`map: ${goValue(map)} does not contain declared merge key: ${key}`);
}

function listName(key: string, prefix: string, text: string): string {
  if (!key.startsWith(`${prefix}/`)) throw badRequest(text);
  return key.slice(prefix.length + 1);
}

/** Merges `patch`, which is used up, into a copy of `shared`. */
function mergeMap(shared: Readonly<JsonMap>, patch: JsonMap, type: TypeAt): JsonMap {
  const directive = getKey(patch, DIRECTIVE);
  if (directive !== undefined) {
    delete patch[DIRECTIVE];
    if (directive === "replace") return patch;
    if (directive === "delete") return {};
    throw unknownDirective(directive, { ...patch, [DIRECTIVE]: directive });
  }
  const original = { ...shared };
  applyRetainKeys(original, patch);
  applyElementOrder(original, patch, type);
  for (const patchKey of Object.keys(patch)) {
    const value = patch[patchKey];
    const deletes = patchKey.startsWith(DELETE_FROM_LIST);
    const key = deletes
      ? listName(patchKey, DELETE_FROM_LIST, "invalid patch format of primitive list")
      : patchKey;
    if (value === null) {
      delete original[key];
      continue;
    }
    const current = getKey(original, key);
    if (current === undefined || goTypeName(current) !== goTypeName(value)) {
      if (deletes) continue;
      const clean = withoutDirectives(withoutNulls(value));
      if (clean === undefined) delete original[key];
      else setOwn(original, key, clean);
    } else setOwn(original, key, mergeValue(current, value, key, deletes, type));
  }
  return original;
}

function mergeValue(
  current: Json,
  value: Json,
  key: string,
  deletes: boolean,
  type: TypeAt,
): Json {
  if (isMap(current) && isMap(value)) {
    const field = lookup(type, key, false);
    return field.replace ? value : mergeMap(current, value, field.type);
  }
  if (Array.isArray(current) && Array.isArray(value)) {
    const field = lookup(type, key, true);
    return field.merge || deletes ? mergeLists(current, value, field, deletes) : value;
  }
  return value;
}

function applyRetainKeys(original: JsonMap, patch: JsonMap): void {
  const keys = getKey(patch, RETAIN_KEYS);
  if (keys === undefined) return;
  delete patch[RETAIN_KEYS];
  const bad = () => badRequest("invalid patch format of retainKeys");
  if (!Array.isArray(keys)) throw bad();
  const retained = new Set(keys);
  for (const key in patch) {
    const ordinary = patch[key] !== null && !key.startsWith(DELETE_FROM_LIST) &&
      !key.startsWith(ELEMENT_ORDER);
    if (ordinary && !retained.has(key)) throw bad();
  }
  for (const key of Object.keys(original)) if (!retained.has(key)) delete original[key];
}

/** Handles the `$setElementOrder/x` of a patch together with its `x`, and takes both out of it. */
function applyElementOrder(original: JsonMap, patch: JsonMap, type: TypeAt): void {
  for (const orderKey of Object.keys(patch)) {
    if (!orderKey.startsWith(ELEMENT_ORDER)) continue;
    const order = patch[orderKey];
    delete patch[orderKey];
    if (!Array.isArray(order)) throw wrongType([], order);
    const key = listName(orderKey, ELEMENT_ORDER, "invalid patch format of setElementOrder list");
    const current = getKey(original, key);
    const change = getKey(patch, key);
    if (current !== undefined && !Array.isArray(current)) throw wrongType([], current);
    if (change !== undefined && !Array.isArray(change)) throw wrongType([], change);
    const field = lookup(type, key, true);
    checkOrder(change ?? [], order, field.mergeKey);
    if (!current && !change) continue;
    elementType([...(current ?? []), ...(change ?? [])]);
    const server = serverOrder(current ?? [], change ?? [], field);
    let merged: Json[];
    if (!change) merged = current!;
    else if (!current) merged = withoutDirectives(change) as Json[];
    else if (field.merge) merged = mergeLists(current, change, field, false);
    else merged = change;
    const [listed, unlisted] = partition(merged, order, field.mergeKey);
    setOwn(original, key, inOrder(listed, unlisted, order, server, field.mergeKey));
    delete patch[key];
  }
}

/**
 * The order that counts as the server's. Upstream deletes items in place, so that as many new ones take
 * their room at the end of it.
 */
function serverOrder(current: Json[], change: Json[], field: FieldAt): Json[] {
  const { mergeKey } = field;
  if (!field.merge || mergeKey === "") return current;
  const deleted = new Set<Json | undefined>();
  for (const item of change) {
    if (isMap(item) && item[DIRECTIVE] === "delete") deleted.add(keyOf(item, mergeKey));
  }
  const kept = current.filter((item) => !deleted.has(keyOf(item, mergeKey)));
  const room = current.length - kept.length;
  if (room === 0) return current;
  const known = new Set(kept.map((item) => keyOf(item, mergeKey)));
  const fresh = change.filter((item) =>
    isMap(item) && item[DIRECTIVE] === undefined && !known.has(keyOf(item, mergeKey))
  );
  return [...kept, ...fresh.slice(0, room)];
}

/** The items of a patch must come in the order that `$setElementOrder` lists them; those to delete anywhere. */
function checkOrder(patch: Json[], order: Json[], mergeKey: string): void {
  if (!patch.length || !order.length) return;
  const wanted = mergeKey === ""
    ? patch
    : patch.filter((item) => !isMap(item) || item[DIRECTIVE] !== "delete");
  let at = 0;
  for (let i = 0; i < order.length && at < wanted.length;) {
    const item = wanted[at];
    if (isMap(item) && Object.hasOwn(item, DIRECTIVE)) {
      at++;
      continue;
    }
    if (keyOf(item, mergeKey, true) === keyOf(order[i], mergeKey, true)) at++;
    i++;
  }
  if (at < wanted.length) {
    throw badRequest(
      `The order in patch list:\n${goList(patch)}\n doesn't match ${ELEMENT_ORDER} list:\n` +
        `${goList(order)}\n`,
    );
  }
}

/** What identifies an item: its merge key's value, or a scalar itself. `strict`: it must be there. */
function keyOf(item: Json, mergeKey: string, strict = false): Json | undefined {
  if (mergeKey === "") return item;
  if (!isMap(item)) {
    if (strict) throw wrongType({}, item);
    return undefined;
  }
  const value = getKey(item, mergeKey);
  if (value === undefined && strict) throw noMergeKey(item, mergeKey);
  return value;
}

/** All items must be of one type; returns whether that is a map. */
function elementType(items: Json[]): "map" | "scalar" {
  let type: string | undefined;
  for (const item of items) {
    const current = goTypeName(item);
    if (Array.isArray(item)) throw unprocessable("lists of lists are not supported");
    if (type === undefined) type = current;
    else if (type !== current) {
      throw badRequest(`list element types are not identical: ${goList(items)}`);
    }
  }
  if (type === undefined) throw badRequest("no elements in any of the given slices");
  if (type === "<nil>") throw badRequest("a null cannot be an element of a merged list");
  return type === "map[string]interface {}" ? "map" : "scalar";
}

function mergeLists(current: Json[], patch: Json[], field: FieldAt, deletes: boolean): Json[] {
  if (!current.length && !patch.length) return current;
  const { mergeKey } = field;
  if (elementType([...current, ...patch]) === "scalar") {
    if (deletes) return current.filter((item) => !patch.includes(item));
    const merged = [...new Set([...current, ...patch])];
    const [listed, unlisted] = partition(merged, patch, "");
    return inOrder(listed, unlisted, patch, current, "");
  }
  if (mergeKey === "") {
    throw badRequest(`cannot merge lists without merge key for ${typeName(field.type)}`);
  }
  const { kept, changes } = applySpecialItems(current as JsonMap[], patch as JsonMap[], mergeKey);
  const merged = mergeItems([...kept], changes, field);
  const [listed, unlisted] = partition(merged, changes, mergeKey);
  return inOrder(listed, unlisted, changes, kept, mergeKey);
}

/** Carries out `$patch: delete` and `$patch: replace` among the items of a list. */
function applySpecialItems(
  current: JsonMap[],
  patch: JsonMap[],
  mergeKey: string,
): { kept: JsonMap[]; changes: JsonMap[] } {
  const plain: JsonMap[] = [];
  let kept = current;
  let replace = false;
  for (const item of patch) {
    const directive = getKey(item, DIRECTIVE);
    if (directive === undefined) plain.push(item);
    else if (directive === "delete") {
      const key = keyOf(item, mergeKey, true);
      kept = kept.filter((other) => keyOf(other, mergeKey) !== key);
    } else if (directive === "replace") replace = true;
    else if (directive === "merge") {
      throw badRequest("merging lists cannot yet be specified in the patch");
    } else throw unknownDirective(directive, item);
  }
  return replace ? { kept: plain, changes: [] } : { kept, changes: plain };
}

function mergeItems(current: JsonMap[], patch: JsonMap[], field: FieldAt): JsonMap[] {
  for (const item of patch) {
    const key = keyOf(item, field.mergeKey, true);
    const at = current.findIndex((other) => keyOf(other, field.mergeKey) === key);
    if (at >= 0) current[at] = mergeMap(current[at], item, field.type);
    // As upstream: with nulls and directives in it, which decoding drops afterwards
    else current.push(item);
  }
  return current;
}

/** Splits a list into the items that `by` names and the others. */
function partition(items: Json[], by: Json[], mergeKey: string): [Json[], Json[]] {
  const keys = new Set(by.map((item) => keyOf(item, mergeKey)));
  const listed: Json[] = [];
  const others: Json[] = [];
  for (const item of items) {
    (keys.has(keyOf(item, mergeKey, true)) ? listed : others).push(item);
  }
  return [listed, others];
}

/**
 * Puts a list together: items the patch names in the patch's order, the server's own in the server's,
 * and between the two the server's order where it knows both, else the patch's item first.
 */
function inOrder(
  listed: Json[],
  unlisted: Json[],
  order: Json[],
  serverOrder: Json[],
  mergeKey: string,
): Json[] {
  const orderAt = positions(order, mergeKey);
  const serverAt = positions(serverOrder, mergeKey);
  const left = sorted(unlisted, serverAt, mergeKey);
  const right = sorted(listed, orderAt, mergeKey);
  const out: Json[] = [];
  let i = 0;
  let j = 0;
  while (i < left.length && j < right.length) {
    const a = serverAt.get(keyOf(left[i], mergeKey));
    const b = serverAt.get(keyOf(right[j], mergeKey));
    out.push(a !== undefined && b !== undefined && a < b ? left[i++] : right[j++]);
  }
  return out.concat(left.slice(i), right.slice(j));
}

type Positions = Map<Json | undefined, number>;

function positions(items: Json[], mergeKey: string): Positions {
  const at: Positions = new Map();
  items.forEach((item, i) => {
    const key = keyOf(item, mergeKey);
    if (!at.has(key)) at.set(key, i);
  });
  return at;
}

function sorted(items: Json[], at: Positions, mergeKey: string): Json[] {
  const last = items.length + at.size;
  const rank = (item: Json) => at.get(keyOf(item, mergeKey)) ?? last;
  return [...items].sort((a, b) => rank(a) - rank(b));
}

/** What is new is stored without its nulls. */
function withoutNulls(value: Json): Json {
  if (Array.isArray(value)) value.forEach(withoutNulls);
  else if (isMap(value)) {
    for (const key of Object.keys(value)) {
      if (value[key] === null) delete value[key];
      else withoutNulls(value[key]);
    }
  }
  return value;
}

/**
 * What is new is stored without directives; a value that is one is dropped (undefined). Upstream keeps
 * the directives for lists and keys here, and its decoder then drops them as unknown fields.
 */
function withoutDirectives(value: Json): Json | undefined {
  if (Array.isArray(value)) {
    return value.map(withoutDirectives).filter((item) => item !== undefined);
  }
  if (!isMap(value)) return value;
  if (Object.hasOwn(value, DIRECTIVE)) return undefined;
  for (const key of Object.keys(value)) {
    const parallel = key === RETAIN_KEYS || key.startsWith(`${ELEMENT_ORDER}/`) ||
      key.startsWith(`${DELETE_FROM_LIST}/`);
    const clean = parallel ? undefined : withoutDirectives(value[key]);
    if (clean === undefined) delete value[key];
    else setOwn(value, key, clean);
  }
  return value;
}
