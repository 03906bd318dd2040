/**
 * JSON Patch (RFC 6902) and JSON Merge Patch (RFC 7386). Both leave the document that they take alone. What a
 * JSON Patch returns is private; what a merge patch does not touch is shared. What upstream answers with a Status throws
 * `ApiError`: 400 for a patch that is none, 413 for too many operations, 422 for one that does not apply.
 */
import { edit, setOwn } from "./edit.ts";
import { ApiError, type Json } from "./types.ts";
import { badRequest, tooLarge } from "./errors.ts";
import { getKey, isMap, type JsonMap, sameJson } from "./json_value.ts";
import { goQuote } from "./go_format.ts";

/** Operations in one JSON Patch. */
export const PATCH_OPERATIONS_MAX = 10000;
/** Bytes that a patch's `copy` operations may add, so that a small patch cannot make a huge document. */
export const PATCH_COPY_BYTES_MAX = 3 * 1024 * 1024;

interface Operation {
  op: string;
  path: string | undefined;
  from: string | undefined;
  /** Absent reads as null when added, as Go's decoder leaves it. */
  value: Json | undefined;
}

/** Upstream's answer to a patch that does not apply; the reason becomes a cause. */
export function unprocessable(why: string): ApiError {
  return new ApiError({
    code: 422,
    reason: "Invalid",
    message: "the server rejected our request due to an error in our request",
    details: { causes: [{ reason: "UnexpectedServerResponse", message: why }] },
  });
}

function decodeOperations(patch: unknown): Operation[] {
  if (!Array.isArray(patch)) {
    const what = isMap(patch) ? "object" : typeof patch === "object" ? "null" : typeof patch;
    throw badRequest(
      `json: cannot unmarshal ${what === "boolean" ? "bool" : what} into Go value of type ` +
        "jsonpatch.Patch",
    );
  }
  if (patch.length > PATCH_OPERATIONS_MAX) {
    throw tooLarge(
      `The allowed maximum operations in a JSON patch is ${PATCH_OPERATIONS_MAX}, ` +
        `got ${patch.length}`,
    );
  }
  return patch.map((item) => {
    if (!isMap(item)) {
      throw badRequest("json: cannot unmarshal into Go value of type jsonpatch.Operation");
    }
    const text = (key: string) => {
      const value = getKey(item, key);
      return typeof value === "string" ? value : undefined;
    };
    return {
      op: text("op") ?? "unknown",
      path: text("path"),
      from: text("from"),
      value: item.value,
    };
  });
}

type Container = Json[] | JsonMap;

/** Where a path ends: the container that holds it, and the last step. */
interface Place {
  container: Container;
  key: string;
}

/** Upstream's library does not look at what stands before the first slash. */
function steps(path: string): string[] | undefined {
  const start = path.indexOf("/");
  if (start < 0) return undefined;
  return path.slice(start + 1).split("/").map((step) =>
    step.includes("~") ? step.replaceAll("~1", "/").replaceAll("~0", "~") : step
  );
}

function find(document: Json, path: string): Place | undefined {
  const keys = steps(path);
  if (!keys) return undefined;
  let at: Json | undefined = document;
  for (let i = 0; i < keys.length - 1; i++) {
    at = Array.isArray(at)
      ? at[indexOf(keys[i], at.length - 1)]
      : isMap(at)
      ? getKey(at, keys[i])
      : undefined;
    if (typeof at !== "object" || at === null) return undefined;
  }
  if (typeof at !== "object" || at === null) return undefined;
  return { container: at as Container, key: keys[keys.length - 1] };
}

/** An index in 0..max, counted from the end when negative; -1 when it is none. */
function indexOf(key: string, max: number): number {
  if (!/^-?(0|[1-9][0-9]{0,8})$/.test(key) || key === "-0") return -1;
  const index = Number(key);
  if (index < 0) return index + max + 1 >= 0 ? index + max + 1 : -1;
  return index <= max ? index : -1;
}

function get({ container, key }: Place): Json | undefined {
  if (!Array.isArray(container)) return getKey(container, key);
  const index = indexOf(key, container.length - 1);
  return index < 0 ? undefined : container[index];
}

function add({ container, key }: Place, value: Json, path: string): void {
  if (!Array.isArray(container)) return setOwn(container, key, value);
  if (key === "-") {
    container.push(value);
    return;
  }
  const index = indexOf(key, container.length);
  if (index < 0) throw badIndex("add", path, key);
  container.splice(index, 0, value);
}

function remove({ container, key }: Place, op: string, path: string): void {
  if (Array.isArray(container)) {
    const index = indexOf(key, container.length - 1);
    if (index < 0) throw badIndex(op, path, key);
    container.splice(index, 1);
  } else {
    checkPresent({ container, key }, op, path);
    delete container[key];
  }
}

function checkPresent({ container, key }: Place, op: string, path: string): void {
  if (Object.hasOwn(container, key)) return;
  throw unprocessable(
    `error in ${op} for path: '${path}': Unable to remove nonexistent key: ${key}: missing value`,
  );
}

function badIndex(op: string, path: string, key: string): ApiError {
  const why = /^-?[0-9]+$/.test(key)
    ? `Unable to access invalid index: ${key}: invalid index referenced`
    : `strconv.Atoi: parsing ${goQuote(key)}: invalid syntax`;
  return unprocessable(`error in ${op} for path: '${path}': ${why}`);
}

/** Applies a decoded JSON Patch. */
export function jsonPatch<T>(document: T, patch: unknown): T {
  const operations = decodeOperations(patch);
  let result = edit(document) as Json;
  let copied = 0;
  for (const operation of operations) {
    if (operation.op === "copy") {
      const size = JSON.stringify(lookup(result, operation, "copy") ?? null).length;
      copied += size;
      if (copied > PATCH_COPY_BYTES_MAX) {
        throw unprocessable(
          "Unable to complete the copy, the accumulated size increase of copy is " +
            `${copied}, exceeding the limit ${PATCH_COPY_BYTES_MAX}`,
        );
      }
    }
    result = applyOperation(result, operation);
  }
  return result as T;
}

function pathOf(operation: Operation): string {
  if (operation.path !== undefined) return operation.path;
  throw unprocessable(
    `${operation.op} operation failed to decode path: operation missing path field: missing value`,
  );
}

/** The value at `from`. */
function lookup(document: Json, { from }: Operation, op: string): Json | undefined {
  if (from === undefined) {
    throw unprocessable(
      `${op} operation failed to decode from: operation, missing from field: missing value`,
    );
  }
  const place = find(document, from);
  if (!place) {
    throw unprocessable(
      `${op} operation does not apply: doc is missing from path: ${from}: missing value`,
    );
  }
  if (Array.isArray(place.container)) {
    const index = indexOf(place.key, place.container.length - 1);
    if (index < 0) throw badIndex(op, from, place.key);
  } else if (op === "move") checkPresent(place, op, place.key);
  return get(place) ?? null;
}

function applyOperation(document: Json, operation: Operation): Json {
  const { op, value } = operation;
  if (!["add", "remove", "replace", "move", "copy", "test"].includes(op)) {
    throw unprocessable(`Unexpected kind: ${op}`);
  }
  const path = pathOf(operation);
  if (op === "test") {
    checkTest(document, path, value);
    return document;
  }
  if (path === "" && op === "replace") return replaceWhole(value);
  let moved: Json | undefined;
  if (op === "move") {
    moved = lookup(document, operation, op);
    remove(find(document, operation.from!)!, op, operation.from!);
  } else if (op === "copy") moved = edit(lookup(document, operation, op));
  const place = find(document, path);
  if (!place) {
    const what = moved === undefined ? "path" : "destination path";
    const shown = op === "add" || op === "remove" ? goQuote(path) : path;
    throw unprocessable(
      `${op} operation does not apply: doc is missing ${what}: ${shown}: missing value`,
    );
  }
  if (op === "remove") remove(place, op, path);
  else if (op === "replace") replace(place, value, path);
  else add(place, moved === undefined ? edit(value ?? null) : moved, path);
  return document;
}

function replaceWhole(value: Json | undefined): Json {
  if (typeof value === "object" && value !== null) return edit(value);
  throw unprocessable("replace operation value must be object or array: %!w(<nil>)");
}

/** Upstream's library also "replaces" a key that is not there; patches in the wild rely on it. */
function replace(place: Place, value: Json | undefined, path: string): void {
  const fresh = edit(value ?? null);
  if (!Array.isArray(place.container)) return setOwn(place.container, place.key, fresh);
  const index = indexOf(place.key, place.container.length - 1);
  if (index < 0) {
    throw unprocessable(
      `replace operation does not apply: doc is missing key: ${path}: missing value`,
    );
  }
  place.container[index] = fresh;
}

function checkTest(document: Json, path: string, value: Json | undefined): void {
  let actual: Json | undefined = document;
  if (path !== "") {
    const place = find(document, path);
    if (!place) {
      throw unprocessable(
        `test operation does not apply: is missing path: ${path}: missing value`,
      );
    }
    const { container, key } = place;
    if (Array.isArray(container) && indexOf(key, container.length - 1) < 0) {
      throw badIndex("test", path, key);
    }
    actual = get(place);
  }
  if (!sameJson(actual ?? null, value ?? null)) {
    throw unprocessable(`testing value ${path} failed: test failed`);
  }
}

/** Applies a JSON Merge Patch to an object: what it does not touch is the document's very own. */
export function mergePatch<T extends object>(document: T, patch: unknown): T {
  if (!isMap(patch)) {
    const what = Array.isArray(patch) ? "array" : patch === null ? "null" : typeof patch;
    throw badRequest(
      `error decoding patch: json: cannot unmarshal ${what === "boolean" ? "bool" : what} ` +
        "into Go value of type map[string]interface {}",
    );
  }
  return mergeMaps(document as unknown as JsonMap, patch) as T;
}

function mergeMaps(target: Readonly<JsonMap>, patch: JsonMap): JsonMap {
  const out: JsonMap = {};
  for (const key in target) {
    if (!Object.hasOwn(patch, key)) {
      setOwn(out, key, target[key]);
      continue;
    }
    const change = patch[key];
    if (change !== null) setOwn(out, key, merged(target[key], change));
  }
  for (const key in patch) {
    const change = patch[key];
    if (change !== null && !Object.hasOwn(target, key)) setOwn(out, key, merged(undefined, change));
  }
  return out;
}

function merged(target: Json | undefined, patch: Json): Json {
  if (Array.isArray(patch)) return withoutNulls(edit(patch));
  if (!isMap(patch)) return patch;
  return mergeMaps(isMap(target) ? target : {}, patch);
}

/** Upstream's library takes the null members of objects inside a patch's lists out, as it does elsewhere. */
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
