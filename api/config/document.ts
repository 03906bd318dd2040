/**
 * Configuration files of the API server's own kinds (`apiserver.config.k8s.io` and the like), read strictly: a kind that
 * is not wanted here, an unknown field or a value of the wrong type is an Error in upstream's words.
 */
import { DurationError, parseDuration } from "../machinery/time.ts";
import { child, index } from "../machinery/field_errors.ts";
import type { Cause } from "../machinery/types.ts";
import { parseYaml } from "../machinery/yaml.ts";

/** What a field holds. A list of one shape is a list of such; a record, an object of those fields. */
export type Shape =
  | "string"
  | "boolean"
  | "number"
  | "duration"
  | "strings"
  /** Anything at all: read by whom it is for. */
  | "any"
  | { readonly [field: string]: Shape }
  | readonly [Shape];

/** A kind of file. */
export interface DocumentKind {
  kind: string;
  group: string;
  /** The newest first. */
  versions: readonly string[];
  shape: { readonly [field: string]: Shape };
}

/** A file's fields, as its shape says. Durations are in ms. */
// deno-lint-ignore no-explicit-any -- its shape was checked field by field
export type Document = any;

const TYPE_NAMES = { string: "string", boolean: "bool", number: "number" } as const;

const META: Readonly<Record<string, Shape>> = { apiVersion: "string", kind: "string" };

/** Reads a file. Null fields are left out. Throws Error. */
export function readDocument(text: string, wanted: DocumentKind): Document {
  const { value, duplicates } = parseYaml(text);
  if (!isMap(value)) throw new Error("couldn't get version/kind; json parse error: no object");
  const { apiVersion = "", kind = "" } = value as { apiVersion?: unknown; kind?: unknown };
  if (!kind) throw new Error(`Object 'Kind' is missing in '${excerpt(text)}'`);
  if (!apiVersion) throw new Error(`Object 'apiVersion' is missing in '${excerpt(text)}'`);
  const known = wanted.versions.some((version) => apiVersion === `${wanted.group}/${version}`);
  if (!known || kind !== wanted.kind) {
    throw new Error(
      `no kind ${JSON.stringify(kind)} is registered for version ${JSON.stringify(apiVersion)}`,
    );
  }
  const unknown: string[] = [];
  const made = shaped(value, { ...META, ...wanted.shape }, "", unknown);
  const problems = [...duplicates, ...unknown.map((path) => `unknown field "${path}"`)];
  if (problems.length) throw new Error(`strict decoding error: ${problems.join(", ")}`);
  return made;
}

/** Reads fields that a shape names; names of others are added to `unknown`. Throws Error. */
export function readFields(
  value: unknown,
  shape: { readonly [field: string]: Shape },
  unknown: string[],
): Document {
  return shaped(value ?? {}, shape, "", unknown);
}

const EXCERPT_LENGTH = 200;

function excerpt(text: string): string {
  return text.trim().slice(0, EXCERPT_LENGTH);
}

function isMap(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function shaped(value: unknown, shape: Shape, path: string, unknown: string[]): unknown {
  const wrong = (type: string) =>
    new Error(
      `json: cannot unmarshal ${typeName(value)} into Go struct field .${path} of type ${type}`,
    );
  switch (shape) {
    case "string":
    case "boolean":
    case "number":
      if (typeName(value) !== TYPE_NAMES[shape]) throw wrong(TYPE_NAMES[shape]);
      return value;
    case "duration":
      if (typeof value !== "string") throw wrong("string");
      try {
        return parseDuration(value);
      } catch (error) {
        if (error instanceof DurationError) throw new Error(error.message);
        throw error;
      }
    case "any":
      return value;
    case "strings":
      return shaped(value, ["string"], path, unknown);
  }
  if (isList(shape)) {
    if (!Array.isArray(value)) throw wrong("[]");
    return value.map((one, i) => shaped(one, shape[0], index(path, i), unknown));
  }
  if (!isMap(value)) throw wrong("struct");
  const made: Record<string, unknown> = {};
  for (const [name, field] of Object.entries(value)) {
    const at = child(path, name);
    if (!Object.hasOwn(shape, name)) unknown.push(at);
    else if (field !== null) made[name] = shaped(field, shape[name], at, unknown);
  }
  return made;
}

function isList(shape: Shape): shape is readonly [Shape] {
  return Array.isArray(shape);
}

function typeName(value: unknown): string {
  if (Array.isArray(value)) return "array";
  if (value === null) return "null";
  return typeof value === "boolean" ? "bool" : typeof value;
}

/** What is wrong with fields, as one text: upstream's aggregate. */
export function causesText(causes: readonly Cause[]): string {
  return aggregate(causes.map(({ field, message }) => `${field}: ${message}`));
}

/** Several errors as one text; equal ones count once. */
export function aggregate(texts: readonly string[]): string {
  const unique = [...new Set(texts)];
  return unique.length === 1 ? unique[0] : `[${unique.join(", ")}]`;
}
