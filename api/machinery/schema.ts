/**
 * Decoding: any JSON value to an object of a kind. One walk copies, checks types, drops what the schema
 * does not know, and writes values as Go would write them back (nulls and empty optional values go, times
 * and quantities become canonical, empty structs appear). Texts of errors are those of upstream's decoder.
 *
 * The value handed in is neither changed nor kept: what comes out is a private copy.
 */
import { badRequest } from "./errors.ts";
import { edit, setOwn } from "./edit.ts";
import {
  ANY,
  BOOLEAN,
  BYTES,
  DURATION,
  FIELDS_V1,
  fillOf,
  INT_OR_STRING,
  INTEGER,
  LIST,
  MAP,
  MICRO_TIME,
  NUMBER,
  type Plan,
  type PlanField,
  planOf,
  QUANTITY,
  RAW,
  SCHEMA_UNION,
  STRING,
  STRUCT,
  TIME,
  zeroOf,
} from "./plan.ts";
import {
  checkBytes,
  checkDuration,
  checkInteger,
  checkIntOrString,
  checkMicroTime,
  checkQuantity,
  checkTime,
  ScalarProblem,
  valueText,
} from "./scalars.ts";
import { summarize } from "./json_summary.ts";
import type { Kind, KubeObject, SchemaSet } from "./types.ts";

/** What a request may ask of unknown and duplicate fields. */
export type FieldValidation = "Ignore" | "Warn" | "Strict";

/** A value that is not of its type. The message is Go's. */
export class DecodeError extends Error {
  override name = "DecodeError";
}

/** Upstream reports this many unknown or duplicate fields. */
export const STRICT_ERRORS_MAX = 100;
/** Objects nested deeper than this are refused: every walk over them is recursive. */
export const DEPTH_MAX = 1000;

/** The definition name of metadata, which custom resources share. */
export const OBJECT_META = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta";

type Values = Record<string, unknown>;

/** The state of one walk. `path` holds fields (or their names), map keys (as `[key]`) and list indices. */
interface Walk {
  path: (PlanField | string | number | [string])[];
  unknown: string[];
  error: string;
  /** No later error replaces this one. */
  final: boolean;
  schemas: SchemaSet;
  /** A custom object's. */
  custom?: boolean;
}

/**
 * Decodes the body of a request. `duplicates` are those the parser found. Under Strict an unknown or
 * duplicate field throws, under Warn it is a warning. Throws a bad request in upstream's words.
 */
export function decode(
  kind: Kind,
  value: unknown,
  mode: FieldValidation,
  duplicates: readonly string[] = [],
): { object: KubeObject; warnings: string[] } {
  const { schemas, custom } = kind;
  const walk: Walk = { path: [], unknown: [], error: "", final: false, schemas, custom };
  const object = decodeRoot(kind, value, walk) as unknown as KubeObject;
  if (walk.error) throw cannotHandle(kind, walk.error);
  if (mode === "Ignore") return { object, warnings: [] };
  if (duplicates.length === 0 && walk.unknown.length === 0) return { object, warnings: [] };
  const problems = inOrder(value, duplicates, walk.unknown).slice(0, STRICT_ERRORS_MAX);
  if (mode === "Strict" && problems.length > 0) {
    throw cannotHandle(kind, `strict decoding error: ${problems.join(", ")}`);
  }
  return { object, warnings: problems };
}

/** Both kinds of problems as Go's decoder meets them: by place; what is unknown is not looked into. */
function inOrder(
  value: unknown,
  duplicates: readonly string[],
  unknown: readonly string[],
): string[] {
  if (duplicates.length === 0) return [...unknown];
  if (unknown.length === 0 || duplicates[0].startsWith("yaml: ")) {
    return [...duplicates.map(duplicateText), ...unknown];
  }
  const places = new Map<string, number>();
  const visit = (item: unknown, path: string): void => {
    if (typeof item !== "object" || item === null) return;
    const list = Array.isArray(item);
    for (const key in item) {
      const at = list ? `${path}[${key}]` : path ? `${path}.${key}` : key;
      places.set(at, places.size);
      visit((item as Values)[key], at);
    }
  };
  visit(value, "");
  const pathOf = (text: string) => JSON.parse(text.slice("unknown field ".length)) as string;
  const foreign = unknown.map(pathOf);
  const known = duplicates.filter((path) =>
    !foreign.some((one) => path === one || path.startsWith(`${one}.`) || path.startsWith(`${one}[`))
  );
  return [
    ...unknown.map((text, i) => ({ text, path: foreign[i] })),
    ...known.map((path) => ({ text: duplicateText(path), path })),
  ].sort((a, b) => (places.get(a.path) ?? 0) - (places.get(b.path) ?? 0)).map(({ text }) => text);
}

/** `Pod in version "v1" cannot be handled as a Pod: …`. */
export function cannotHandle(
  kind: { version: string; kind: string },
  why: string,
  given: { version: string; kind: string } = kind,
) {
  return badRequest(
    `${given.kind} in version ${quote(given.version)} cannot be handled as a ${kind.kind}: ${why}`,
  );
}

function decodeRoot(kind: Kind, value: unknown, walk: Walk): Values {
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw unrecognized(kind, value, `Go value of type ${TYPE_META}`, value);
  }
  const values = value as Values;
  for (const name of ["apiVersion", "kind"]) {
    const given = values[name];
    if (given !== undefined && given !== null && typeof given !== "string") {
      throw unrecognized(kind, value, `Go struct field .${name} of type string`, given);
    }
  }
  const plan = planOf(kind.schemas, kind.schema);
  const out = kind.custom ? pruneRoot(plan, values, walk) : decodeStruct(plan, values, walk);
  const apiVersion = kind.group ? `${kind.group}/${kind.version}` : kind.version;
  if (out.apiVersion !== apiVersion || out.kind !== kind.kind) {
    return { ...out, apiVersion, kind: kind.kind };
  }
  return out;
}

/** What Go reads apiVersion and kind with; its errors name it. */
export const TYPE_META = 'struct { APIVersion string "json:\\"apiVersion,omitempty\\""; ' +
  'Kind string "json:\\"kind,omitempty\\"" }';

function unrecognized(kind: Kind, body: unknown, into: string, given: unknown) {
  return badRequest(
    `the object provided is unrecognized (must be of type ${kind.kind}): couldn't get version/kind; ` +
      `json parse error: json: cannot unmarshal ${valueText(given)} into ${into} ` +
      `(${summarize(JSON.stringify(body) ?? "")})`,
  );
}

/**
 * Decodes any value by a named schema: options, reviews, subresources' bodies. Throws DecodeError; unknown
 * fields are dropped and returned.
 */
export function decodeWith<T = KubeObject>(
  schemas: SchemaSet,
  name: string,
  value: unknown,
): { object: T; unknown: string[] } {
  const walk: Walk = { path: [], unknown: [], error: "", final: false, schemas };
  const plan = planOf(schemas, name);
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw new DecodeError(
      `json: cannot unmarshal ${valueText(value)} into Go value of type ${plan.goType}`,
    );
  }
  const object = decodeStruct(plan, value as Values, walk) as T;
  if (walk.error) throw new DecodeError(walk.error);
  return { object, unknown: walk.unknown };
}

function quote(text: string): string {
  return JSON.stringify(text);
}

/** JSON's duplicates are paths, YAML's are messages already. */
function duplicateText(found: string): string {
  return found.startsWith("yaml: ") ? found : `duplicate field ${quote(found)}`;
}

function fieldPath(walk: Walk, last: string): string {
  let text = "";
  for (const step of walk.path) {
    if (typeof step === "number") text += `[${step}]`;
    else text += (text ? "." : "") + nameOf(step);
  }
  return text ? `${text}.${last}` : last;
}

function nameOf(step: PlanField | string | [string]): string {
  return typeof step === "string" ? step : Array.isArray(step) ? step[0] : step.name;
}

/** Go's path of a field: no indices, no map keys, but the structs it inlines. */
function goPath(walk: Walk): string {
  const names: string[] = [];
  for (const step of walk.path) {
    if (typeof step === "string") names.push(step);
    else if (typeof step === "object" && !Array.isArray(step)) {
      if (step.field.withinNames) names.push(step.field.withinNames);
      names.push(step.name);
    }
  }
  return names.join(".");
}

function noteUnknown(walk: Walk, name: string): void {
  if (walk.unknown.length < STRICT_ERRORS_MAX) {
    walk.unknown.push(`unknown field ${quote(fieldPath(walk, name))}`);
  }
}

/** Notes a type error; the first one is the answer, but a final one goes before others. */
function fail(walk: Walk, owner: Plan, problem: ScalarProblem): undefined {
  if (walk.final || (walk.error && !problem.final)) return undefined;
  walk.final = problem.final;
  if (!problem.goType) walk.error = problem.text;
  else {
    // The metadata of custom objects is decoded by itself
    const path = walk.custom ? goPath(walk).replace(/^metadata\./, "") : goPath(walk);
    walk.error = `json: cannot unmarshal ${problem.text} into Go struct field ` +
      `${owner.goName}.${path} of type ${problem.goType}`;
  }
  return undefined;
}

function decodeStruct(plan: Plan, value: Values, walk: Walk): Values {
  const out: Values = {};
  const fields = plan.fields;
  for (const name in value) {
    const field = fields.get(name);
    if (field === undefined) {
      noteUnknown(walk, name);
      continue;
    }
    const item = value[name];
    if (item === null || item === undefined) continue;
    let made: unknown;
    if (field.op === STRING && typeof item === "string") {
      if (item === "" && field.omitEmpty && !field.pointer) continue;
      made = item;
    } else {
      walk.path.push(field);
      made = decodeField(field, item, walk, plan);
      walk.path.pop();
      if (made === undefined) continue;
    }
    out[name] = made;
  }
  for (const fill of plan.fills) {
    if (out[fill.name] === undefined) out[fill.name] = fillOf(fill);
  }
  return out;
}

/** A field's value, or undefined when it is left out. */
function decodeField(field: PlanField, item: unknown, walk: Walk, owner: Plan): unknown {
  const made = decodeValue(field.plan, item, walk, owner, field.goType);
  if (field.field.keepEmpty) return made;
  if (!field.omitEmpty) {
    // Stored objects went through protobuf, which knows no empty lists: they come back as null
    return field.op === LIST && (made as unknown[] | undefined)?.length === 0 ? undefined : made;
  }
  switch (field.op) {
    case STRING:
    case BYTES:
      return made === "" && !field.pointer ? undefined : made;
    case BOOLEAN:
      return made === false && !field.pointer ? undefined : made;
    case INTEGER:
    case NUMBER:
      return made === 0 && !field.pointer ? undefined : made;
    case LIST:
      return (made as unknown[] | undefined)?.length === 0 ? undefined : made;
    case MAP:
      return made !== undefined && isEmpty(made as Values) ? undefined : made;
    default:
      return made;
  }
}

function isEmpty(value: Values): boolean {
  for (const _ in value) return false;
  return true;
}

function decodeValue(
  plan: Plan,
  item: unknown,
  walk: Walk,
  owner: Plan,
  goType: string,
): unknown {
  switch (plan.op) {
    case STRUCT:
      if (typeof item === "object" && !Array.isArray(item)) {
        return decodeStruct(plan, item as Values, walk);
      }
      return fail(walk, owner, new ScalarProblem(valueText(item), goType));
    case LIST:
      if (Array.isArray(item)) return decodeList(plan, item, walk, owner, goType);
      return fail(walk, owner, new ScalarProblem(valueText(item), goType));
    case MAP:
      if (typeof item === "object" && !Array.isArray(item)) {
        return decodeMap(plan, item as Values, walk, owner, goType);
      }
      return fail(walk, owner, new ScalarProblem(valueText(item), goType));
    case STRING:
      if (typeof item === "string") return item;
      return fail(walk, owner, new ScalarProblem(valueText(item), goType));
    case BOOLEAN:
      if (typeof item === "boolean") return item;
      return fail(walk, owner, new ScalarProblem(valueText(item), goType));
    case NUMBER:
      if (typeof item === "number") return item;
      return fail(walk, owner, new ScalarProblem(valueText(item), goType));
    case ANY:
      return edit(item);
    case SCHEMA_UNION:
      return decodeUnion(plan, item, walk, owner);
    default:
      return decodeScalar(plan, item, walk, owner, goType);
  }
}

function decodeScalar(
  plan: Plan,
  item: unknown,
  walk: Walk,
  owner: Plan,
  goType: string,
): unknown {
  let made: unknown;
  switch (plan.op) {
    case INTEGER:
      made = checkInteger(item, plan.format);
      if (made instanceof ScalarProblem) made = new ScalarProblem(made.text, goType);
      break;
    case BYTES:
      made = checkBytes(item);
      break;
    case QUANTITY:
      made = checkQuantity(item);
      break;
    case INT_OR_STRING:
      made = checkIntOrString(item);
      break;
    case TIME:
      made = checkTime(item);
      break;
    case MICRO_TIME:
      made = checkMicroTime(item);
      break;
    case DURATION:
      made = checkDuration(item);
      break;
    case FIELDS_V1:
    case RAW:
      made = edit(item);
      break;
  }
  if (!(made instanceof ScalarProblem)) return made;
  const final = plan.op !== INTEGER && plan.op !== BYTES;
  return fail(walk, owner, new ScalarProblem(made.text, made.goType, final));
}

function decodeList(
  plan: Plan,
  value: unknown[],
  walk: Walk,
  owner: Plan,
  goType: string,
): unknown[] {
  const items = plan.items!;
  const itemType = goType.startsWith("[]") ? goType.slice(2) : items.goType;
  const out = new Array(value.length);
  for (let i = 0; i < value.length; i++) {
    const item = value[i];
    if (item === null || item === undefined) {
      out[i] = zeroOf(items);
    } else if (items.op === STRING && typeof item === "string") {
      out[i] = item;
    } else {
      walk.path.push(i);
      out[i] = decodeValue(items, item, walk, owner, itemType);
      walk.path.pop();
    }
  }
  return out;
}

function decodeMap(
  plan: Plan,
  value: Values,
  walk: Walk,
  owner: Plan,
  goType: string,
): Values {
  const items = plan.items!;
  const itemType = goType.startsWith("map[") ? goType.slice(goType.indexOf("]") + 1) : items.goType;
  const out: Values = {};
  for (const key in value) {
    const item = value[key];
    let made: unknown;
    if (item === null || item === undefined) made = zeroOf(items);
    else if (items.op === STRING && typeof item === "string") made = item;
    else {
      walk.path.push([key]);
      made = decodeValue(items, item, walk, owner, itemType);
      walk.path.pop();
    }
    setOwn(out, key, made);
  }
  return out;
}

const UNION_TEXT = "boolean or JSON schema expected";

/** A CRD's `items`, `additionalProperties` and `dependencies`: decoded leniently, as upstream does. */
function decodeUnion(plan: Plan, item: unknown, walk: Walk, owner: Plan): unknown {
  const inner: Walk = {
    path: walk.path,
    unknown: [],
    error: "",
    final: false,
    schemas: walk.schemas,
  };
  let made: unknown;
  if (Array.isArray(item)) {
    made = plan.format === "schemaOrArray"
      ? item.map((i) => decodeValue(plan.items!, i ?? {}, inner, owner, plan.items!.goType))
      : item.map((i) => decodeString(i, inner, owner));
    if (plan.format === "schemaOrBool") {
      return fail(walk, owner, new ScalarProblem(UNION_TEXT, "", true));
    }
  } else if (typeof item === "object") {
    made = decodeStruct(plan.items!, item as Values, inner);
  } else if (plan.format === "schemaOrBool") {
    if (typeof item === "boolean") return item;
    return fail(walk, owner, new ScalarProblem(UNION_TEXT, "", true));
  }
  if (inner.error) fail(walk, owner, new ScalarProblem(inner.error, "", true));
  return made;
}

function decodeString(item: unknown, walk: Walk, owner: Plan): unknown {
  if (typeof item === "string") return item;
  return fail(walk, owner, new ScalarProblem(valueText(item), "string"));
}

// --- custom resources -----------------------------------------------------------------------------------

function pruneRoot(plan: Plan, value: Values, walk: Walk): Values {
  const out = pruneObject(plan, value, walk, true);
  out.metadata ??= {};
  walk.unknown.sort();
  return out;
}

/**
 * Copies an object, dropping what a structural schema does not know. Types are validated elsewhere. `resource`: it
 * has kind and metadata, whatever the schema says.
 */
function pruneObject(plan: Plan, value: Values, walk: Walk, resource: boolean): Values {
  const out: Values = {};
  for (const name in value) {
    const item = value[name];
    if (resource && (name === "apiVersion" || name === "kind")) out[name] = item;
    else if (resource && name === "metadata") {
      if (item !== undefined) out.metadata = decodeMetadata(item, walk);
    } else {
      const field = plan.fields.get(name);
      if (field) {
        walk.path.push(field);
        setOwn(out, name, pruneValue(field.plan, item, walk));
        walk.path.pop();
      } else if (plan.op === MAP && plan.items) {
        walk.path.push([name]);
        setOwn(out, name, pruneValue(plan.items, item, walk));
        walk.path.pop();
      } else if (plan.preserve || plan.op === MAP) setOwn(out, name, edit(item));
      else noteUnknown(walk, name);
    }
  }
  return out;
}

function pruneValue(plan: Plan, item: unknown, walk: Walk): unknown {
  if (typeof item !== "object" || item === null) return item;
  if (Array.isArray(item)) {
    if (!plan.items || plan.op !== LIST) {
      return edit(item);
    }
    return item.map((element, i) => {
      walk.path.push(i);
      const made = pruneValue(plan.items!, element, walk);
      walk.path.pop();
      return made;
    });
  }
  // An object where none should be is refused later: until then it has no known fields
  return pruneObject(plan, item as Values, walk, plan.embedded);
}

function decodeMetadata(item: unknown, walk: Walk): unknown {
  if (item === null) return {};
  const plan = planOf(walk.schemas, OBJECT_META);
  walk.path.push("metadata");
  const made = decodeValue(plan, item, walk, plan, plan.goType);
  walk.path.pop();
  return made ?? {};
}

/** Drops from a custom object what its schema does not know; returns a copy. */
export function prune(schemas: SchemaSet, name: string, value: unknown): Values {
  const walk: Walk = { path: [], unknown: [], error: "", final: false, schemas };
  return pruneRoot(planOf(schemas, name), value as Values, walk);
}
