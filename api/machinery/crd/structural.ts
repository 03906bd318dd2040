/**
 * Is a schema structural? What apiextensions asks of a CRD's schema so that pruning, defaulting and
 * server-side apply know the type of everything: types outside of logic, nothing structural inside it.
 * Texts and paths are upstream's.
 */
import type { Cause } from "../types.ts";
import { causeText, forbidden, invalid, required } from "../field_errors.ts";
import { isMap } from "../json_value.ts";
import type { Props } from "./json_schema.ts";
import { patternProblem } from "./regexp.ts";

type Level = "root" | "item" | "field";

/** The errors of a schema that is not structural, sorted as upstream sorts them. */
export function structuralErrors(path: string, props: Props): Cause[] {
  const causes: Cause[] = [];
  invariants(props, "root", path, causes);
  completeness(props, props, path, path, causes);
  const key = (cause: Cause) => causeText(cause);
  return causes.sort((a, b) => key(a) < key(b) ? -1 : key(a) > key(b) ? 1 : 0);
}

const UNSUPPORTED = [
  ["id", "id"],
  ["$schema", "schema"],
  ["$ref", "$ref"],
  ["patternProperties", "patternProperties"],
  ["dependencies", "dependencies"],
  ["additionalItems", "additionalItems"],
  ["definitions", "definitions"],
] as const;

/** Why a schema cannot be looked at as a structural one at all; undefined when it can. */
export function unsupported(props: Props): string | undefined {
  for (const [key, name] of UNSUPPORTED) {
    const value = (props as { [key: string]: unknown })[key];
    if (value === undefined || value === null || value === "") continue;
    if (isMap(value) && Object.keys(value).length === 0 && key !== "additionalItems") continue;
    return `OpenAPIV3Schema '${name}' is not supported`;
  }
  if (Array.isArray(props.items) && props.items.length) {
    return "OpenAPIV3Schema 'items' must be a schema, but is an array";
  }
  const below: unknown[] = [
    props.not,
    ...(props.allOf ?? []),
    ...(props.anyOf ?? []),
    ...(props.oneOf ?? []),
    props.items,
    ...Object.values(props.properties ?? {}),
    props.additionalProperties,
  ];
  for (const one of below) {
    const why = isMap(one) ? unsupported(one as Props) : undefined;
    if (why) return why;
  }
  return undefined;
}

const TYPE_TEXT: Record<Level, string> = {
  root: "must not be empty at the root",
  item: "must not be empty for specified array items",
  field: "must not be empty for specified object fields",
};

function invariants(props: Props, level: Level, path: string, causes: Cause[]): void {
  const items = isMap(props.items) ? props.items as Props : undefined;
  if (props.type === "array" && !items) {
    causes.push(required(`${path}.items`, "must be specified"));
  }
  if (items) invariants(items, "item", `${path}.items`, causes);
  for (const name of Object.keys(props.properties ?? {})) {
    invariants(props.properties![name], "field", `${path}.properties[${name}]`, causes);
  }
  if (props.additionalProperties !== undefined) {
    const at = `${path}.additionalProperties`;
    if (level === "root") causes.push(forbidden(at, "must not be used at the root"));
    if (isMap(props.additionalProperties)) {
      invariants(props.additionalProperties as Props, "field", at, causes);
    }
  }
  extensions(props, path, causes);
  valueValidation(
    props,
    isIntOrStringAnyOf(props),
    isIntOrStringAnyOf(props.allOf?.[0]),
    path,
    causes,
  );
  typeInvariants(props, level, path, causes);
  metadataInvariants(props, level, path, causes);
}

function typeInvariants(props: Props, level: Level, path: string, causes: Cause[]): void {
  const embedded = props["x-kubernetes-embedded-resource"];
  const type = props.type ?? "";
  if (embedded && type !== "object") {
    const why = "must be object if x-kubernetes-embedded-resource is true";
    causes.push(type === "" ? required(`${path}.type`, why) : invalid(`${path}.type`, type, why));
  } else if (
    type === "" && !props["x-kubernetes-int-or-string"] &&
    !props["x-kubernetes-preserve-unknown-fields"]
  ) causes.push(required(`${path}.type`, TYPE_TEXT[level]));
  if (embedded && props.additionalProperties !== undefined) {
    causes.push(
      forbidden(
        `${path}.additionalProperties`,
        "must not be used if x-kubernetes-embedded-resource is set",
      ),
    );
  }
  if (level === "root" && type !== "" && type !== "object") {
    causes.push(invalid(`${path}.type`, type, "must be object at the root"));
  }
}

function extensions(props: Props, path: string, causes: Cause[]): void {
  if (!props["x-kubernetes-int-or-string"]) return;
  const why = "must be false if x-kubernetes-int-or-string is true";
  for (const key of ["x-kubernetes-preserve-unknown-fields", "x-kubernetes-embedded-resource"]) {
    if (props[key]) causes.push(invalid(`${path}.${key}`, true, why));
  }
}

function metadataInvariants(props: Props, level: Level, path: string, causes: Cause[]): void {
  const embedded = props["x-kubernetes-embedded-resource"];
  if (level === "root" || embedded) {
    for (const name of ["kind", "apiVersion"]) {
      const field = props.properties?.[name];
      if (field && field.type !== "string") {
        const at = `${path}.properties[${name}].type`;
        causes.push(invalid(at, field.type ?? "", "must be string"));
      }
    }
    const metadata = props.properties?.metadata;
    const at = `${path}.properties[metadata]`;
    if (metadata && metadata.type !== "object") {
      causes.push(invalid(`${at}.type`, metadata.type ?? "", "must be object"));
    }
    if (metadata && level === "root" && !isBareMetadata(metadata)) {
      const why = "must not specify anything other than name and generateName, but metadata is " +
        "implicitly specified";
      causes.push(forbidden(at, why));
    }
  }
  const empty = Object.keys(props.properties ?? {}).length === 0;
  if (embedded && !props["x-kubernetes-preserve-unknown-fields"] && empty) {
    causes.push(
      required(
        `${path}.properties`,
        "must not be empty if x-kubernetes-embedded-resource is true without " +
          "x-kubernetes-preserve-unknown-fields",
      ),
    );
  }
}

function isBareMetadata(metadata: Props): boolean {
  for (const key of Object.keys(metadata)) {
    if (key !== "type" && key !== "default" && key !== "properties") return false;
  }
  return Object.keys(metadata.properties ?? {}).every((k) => k === "name" || k === "generateName");
}

function isIntOrStringAnyOf(props: Props | undefined): boolean {
  const anyOf = props?.anyOf;
  return anyOf?.length === 2 && anyOf[0].type === "integer" && anyOf[1].type === "string" &&
    anyOf.every((one) => Object.keys(one).length === 1);
}

function valueValidation(
  props: Props,
  skipAnyOf: boolean,
  skipFirstAllOfAnyOf: boolean,
  path: string,
  causes: Cause[],
): void {
  if (!skipAnyOf) {
    props.anyOf?.forEach((one, i) => nested(one, false, `${path}.anyOf[${i}]`, causes));
  }
  props.allOf?.forEach((one, i) =>
    nested(one, skipFirstAllOfAnyOf && i === 0, `${path}.allOf[${i}]`, causes)
  );
  props.oneOf?.forEach((one, i) => nested(one, false, `${path}.oneOf[${i}]`, causes));
  if (props.not) nested(props.not, false, `${path}.not`, causes);
  if (props.pattern) {
    const problem = patternProblem(props.pattern);
    if (problem !== undefined) {
      const why = `must be a valid regular expression, but isn't: ${problem}`;
      causes.push(invalid(`${path}.pattern`, props.pattern, why));
    }
  }
}

const MUST_BE_EMPTY = ["title", "description"];
const MUST_BE_FALSE = [
  "nullable",
  "x-kubernetes-preserve-unknown-fields",
  "x-kubernetes-embedded-resource",
  "x-kubernetes-int-or-string",
];
const MUST_BE_UNDEFINED = ["x-kubernetes-list-type", "x-kubernetes-map-type"];

/** Inside a junctor only values may be restricted. */
function nested(props: Props, skipAnyOf: boolean, path: string, causes: Cause[]): void {
  valueValidation(props, skipAnyOf, false, path, causes);
  if (isMap(props.items)) nested(props.items as Props, false, `${path}.items`, causes);
  for (const name of Object.keys(props.properties ?? {})) {
    nested(props.properties![name], false, `${path}.properties[${name}]`, causes);
  }
  const bad = (key: string, why: string) => causes.push(forbidden(`${path}.${key}`, why));
  if (props.type) bad("type", "must be empty to be structural");
  if (props.additionalProperties !== undefined) {
    bad("additionalProperties", "must be undefined to be structural");
  }
  if (props.default !== undefined && props.default !== null) {
    bad("default", "must be undefined to be structural");
  }
  for (const key of MUST_BE_EMPTY) if (props[key]) bad(key, "must be empty to be structural");
  for (const key of MUST_BE_FALSE) if (props[key]) bad(key, "must be false to be structural");
  if (props["x-kubernetes-list-map-keys"]?.length) {
    bad("x-kubernetes-list-map-keys", "must be empty to be structural");
  }
  for (const key of MUST_BE_UNDEFINED) {
    if (props[key]) bad(key, "must be undefined to be structural");
  }
  if (props["x-kubernetes-validations"]?.length) {
    bad("x-kubernetes-validations", "must be empty to be structural");
  }
  if (props.properties?.metadata) {
    bad("properties[metadata]", "must not be specified in a nested context");
  }
}

/** Every value that a junctor restricts must have a type outside of it. */
function completeness(
  props: Props,
  structure: Props,
  structurePath: string,
  path: string,
  causes: Cause[],
): void {
  const visit = (one: Props, at: string) => {
    completeness(one, structure, structurePath, at, causes);
    nestedCompleteness(one, structure, structurePath, at, causes);
  };
  if (props.not) visit(props.not, `${path}.not`);
  for (const key of ["allOf", "anyOf", "oneOf"] as const) {
    props[key]?.forEach((one, i) => visit(one, `${path}.${key}[${i}]`));
  }
}

function nestedCompleteness(
  props: Props,
  structure: Props,
  structurePath: string,
  path: string,
  causes: Cause[],
): void {
  const deeper = (one: Props, below: Props | undefined, at: string, belowPath: string) => {
    if (!below) causes.push(required(belowPath, `because it is defined in ${at}`));
    else {
      completeness(one, below, belowPath, at, causes);
      nestedCompleteness(one, below, belowPath, at, causes);
    }
  };
  if (isMap(props.items)) {
    const below = isMap(structure.items) ? structure.items as Props : undefined;
    deeper(props.items as Props, below, `${path}.items`, `${structurePath}.items`);
  }
  for (const name of Object.keys(props.properties ?? {})) {
    const at = `properties[${name}]`;
    const below = structure.properties?.[name];
    deeper(props.properties![name], below, `${path}.${at}`, `${structurePath}.${at}`);
  }
}
