/** What mutating policies do to an object: a configuration merged into it, or a JSON patch. */
import {
  configurationErrors,
  DEDUCED,
  mergeObjects,
  type Shape,
  shapeOf,
  WHOLE,
} from "../machinery/apply/mod.ts";
import { celEngine } from "../machinery/crd/engine.ts";
import { goQuote } from "../machinery/go_format.ts";
import { isMap, type JsonMap } from "../machinery/json_value.ts";
import { jsonPatch } from "../machinery/patch.ts";
import { ApiError, type Json, type Kind, type KubeObject } from "../machinery/types.ts";

/** Why a mutation cannot be made. */
export class MutationError extends Error {}

type Message = InstanceType<ReturnType<typeof celEngine>["MessageValue"]>;

/** An object must be named by where it lies: `Object.spec` is what the field `spec` of `Object` holds. */
function checkNames(value: unknown, path: string, problems: string[]): void {
  const { MessageValue } = celEngine();
  if (value instanceof MessageValue) {
    const { name } = value.type;
    if (name !== path) {
      problems.push(
        `unexpected type name ${goQuote(name!)}, expected ${
          goQuote(path)
        }, which matches field name ` +
          "path from root Object type",
      );
    }
    for (const [field, one] of value.fields) checkNames(one, `${path}.${field}`, problems);
  } else if (Array.isArray(value)) { for (const one of value) checkNames(one, path, problems); }
  else if (value instanceof Map) {
    for (const one of value.values()) {
      checkNames(one, path, problems);
    }
  }
}

function checked(value: Message): void {
  const problems: string[] = [];
  checkNames(value, value.type.name!, problems);
  if (problems.length) throw new MutationError(`type mismatch: ${problems.join("\n")}`);
}

// --- configurations -----------------------------------------------------------------------------------

/** The object with a configuration merged into it, as server-side apply merges. Throws MutationError. */
export function configured(kind: Kind, object: KubeObject, made: unknown): Json {
  const message = made as Message;
  checked(message);
  const { apiVersion, kind: name } = object;
  const over = { ...celEngine().toJson(message) as JsonMap, apiVersion, kind: name };
  const shape = shapeOf(kind.schemas, kind.schema);
  const fail = (why: string) => new MutationError(`error applying patch: ${why}`);
  const problems = configurationErrors(shape, over);
  if (problems.length) {
    const listed = problems.length === 1
      ? problems[0]
      : `errors:\n${problems.map((one) => `  ${one}`).join("\n")}`;
    throw fail(`failed to convert patch object to typed object: ${listed}`);
  }
  const atomics: string[] = [];
  findAtomics(shape, over, "", atomics);
  if (atomics.length) {
    const why = `may not mutate atomic arrays, maps or structs: ${atomics.join(", ")}`;
    throw fail(`invalid ApplyConfiguration: ${why}`);
  }
  return mergeObjects(shape, object as unknown as Json, over);
}

/** Lists and maps in a configuration that would take the place of the whole: nobody means that. */
function findAtomics(shape: Shape, value: Json, path: string, found: string[]): void {
  if (Array.isArray(value)) {
    // What is known of no list merges none.
    if (shape.kind === WHOLE || shape.kind === DEDUCED) return void found.push(path);
    value.forEach((item, i) => findAtomics(shape.items!, item, `${path}[${i}]`, found));
  } else if (isMap(value)) {
    if (shape.kind === WHOLE) return void found.push(path);
    for (const key of Object.keys(value)) {
      const below = shape.fields.get(key)?.shape ?? shape.items ?? shape;
      findAtomics(below, value[key], `${path}.${key}`, found);
    }
  }
}

// --- JSON patches -------------------------------------------------------------------------------------

/** The object with a patch applied; undefined where a test of it failed. Throws MutationError. */
export function patched(object: KubeObject, made: unknown): Json | undefined {
  const operations = (made as Message[]).map(operationOf);
  try {
    return jsonPatch(object as unknown as Json, operations);
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    const why = error.status.details?.causes?.[0]?.message ?? error.message;
    if (why.endsWith(": test failed")) return undefined;
    throw new MutationError(`JSON Patch: ${why}`);
  }
}

function operationOf(message: Message): JsonMap {
  const { MessageValue, toJson } = celEngine();
  const operation: JsonMap = {
    op: message.get("op") as string ?? "",
    path: message.get("path") as string ?? "",
  };
  const from = message.get("from");
  if (from) operation.from = from as string;
  const value = message.get("value");
  if (value !== undefined) {
    if (value instanceof MessageValue) checked(value);
    operation.value = toJson(value);
  }
  return operation;
}
