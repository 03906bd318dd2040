/**
 * What a CRD's schema may say at all, node by node: forbidden keywords, list types and their keys, map
 * types, the form of CEL rules. Texts are upstream's (`ValidateCustomResourceDefinitionOpenAPISchema`).
 */
import type { Cause, Json, ValidationRule } from "../types.ts";
import { forbidden, invalid, notSupported, required } from "../field_errors.ts";
import { isMap } from "../json_value.ts";
import { normalFieldPath, type Walk } from "./field_path.ts";
import type { Props } from "./json_schema.ts";

const TYPES = ["array", "boolean", "integer", "number", "object", "string"];
const REASONS = [
  "FieldValueDuplicate",
  "FieldValueForbidden",
  "FieldValueInvalid",
  "FieldValueRequired",
];
const META_FIELDS = new Set(["metadata", "kind", "apiVersion"]);

/** What holds for a node because of where it is. */
interface Place {
  path: string;
  root: boolean;
  /** Defaults are forbidden, for this reason. */
  noDefaults?: string;
  insideMeta: boolean;
}

/** Everything wrong with a schema except structure, defaults and the rules themselves. */
export function openApiErrors(path: string, props: Props): Cause[] {
  const causes: Cause[] = [];
  visit(props, { path, root: true, insideMeta: false }, causes);
  return causes;
}

function visit(props: Props, place: Place, causes: Cause[]): void {
  const { path } = place;
  keywords(props, place, causes);
  if (props.uniqueItems) {
    const why = "uniqueItems cannot be set to true since the runtime complexity becomes quadratic";
    causes.push(forbidden(`${path}.uniqueItems`, why));
  }
  const below: Place = { ...place, root: false };
  const extra = props.additionalProperties;
  if (extra !== undefined) {
    const count = Object.keys(props.properties ?? {}).length;
    if (count && (extra === false || isMap(extra))) {
      const why = "additionalProperties and properties are mutual exclusive";
      causes.push(forbidden(`${path}.additionalProperties`, why));
    }
    if (isMap(extra)) {
      const noDefaults = place.insideMeta
        ? "inside additionalProperties applying to object metadata"
        : place.noDefaults;
      visit(extra as Props, { ...below, path: `${path}.additionalProperties`, noDefaults }, causes);
    }
  }
  for (const name of Object.keys(props.properties ?? {})) {
    const meta = (place.root || props["x-kubernetes-embedded-resource"]) && META_FIELDS.has(name);
    visit(props.properties![name], {
      path: `${path}.properties[${name}]`,
      root: false,
      insideMeta: place.insideMeta || !!meta,
      noDefaults: meta && place.root ? `in top-level ${name}` : place.noDefaults,
    }, causes);
  }
  if (props.not) visit(props.not, { ...below, path: `${path}.not` }, causes);
  for (const key of ["allOf", "oneOf", "anyOf"] as const) {
    props[key]?.forEach((one, i) => visit(one, { ...below, path: `${path}.${key}[${i}]` }, causes));
  }
  if (isMap(props.items)) visit(props.items as Props, { ...below, path: `${path}.items` }, causes);
  if (props["x-kubernetes-preserve-unknown-fields"] === false) {
    const at = `${path}.x-kubernetes-preserve-unknown-fields`;
    causes.push(invalid(at, false, "must be true or undefined"));
  }
  mapType(props, path, causes);
  listType(props, path, causes);
  props["x-kubernetes-validations"]?.forEach((rule, i) =>
    ruleForm(props, rule, { at: `${path}.x-kubernetes-validations[${i}]`, causes })
  );
}

const PROPS: Walk<Props> = {
  properties: (props) => props.properties,
  values: ({ additionalProperties: extra }) => isMap(extra) ? extra as Props : undefined,
};

function keywords(props: Props, place: Place, causes: Cause[]): void {
  const { path } = place;
  const type = props.type ?? "";
  if (type !== "" && !TYPES.includes(type)) causes.push(notSupported(`${path}.type`, type, TYPES));
  if (props.default !== undefined && props.default !== null && place.noDefaults !== undefined) {
    causes.push(forbidden(`${path}.default`, `must not be set ${place.noDefaults}`));
  }
  const refuse = (key: string, present: boolean) => {
    if (present) causes.push(forbidden(`${path}.${key}`, `${key} is not supported`));
  };
  refuse("id", !!props.id);
  refuse("additionalItems", props.additionalItems !== undefined);
  refuse("patternProperties", isMap(props.patternProperties) && !isEmpty(props.patternProperties));
  refuse("definitions", isMap(props.definitions) && !isEmpty(props.definitions));
  refuse("dependencies", props.dependencies !== undefined);
  refuse("$ref", props.$ref !== undefined);
  if (type === "null") {
    const why = "type cannot be set to null, use nullable as an alternative";
    causes.push(forbidden(`${path}.type`, why));
  }
  if (Array.isArray(props.items) && props.items.length) {
    causes.push(forbidden(`${path}.items`, "items must be a schema object and not an array"));
  }
  if (place.insideMeta && props["x-kubernetes-embedded-resource"]) {
    const at = `${path}.x-kubernetes-embedded-resource`;
    causes.push(forbidden(at, "must not be used inside of resource meta"));
  }
}

function isEmpty(map: Record<string, Json>): boolean {
  return Object.keys(map).length === 0;
}

function wrongType(props: Props, path: string, why: string): Cause {
  const at = `${path}.type`;
  return props.type ? invalid(at, props.type, why) : required(at, why);
}

function mapType(props: Props, path: string, causes: Cause[]): void {
  const type = props["x-kubernetes-map-type"];
  if (type === undefined) return;
  if (props.type !== "object") {
    causes.push(wrongType(props, path, "must be object if x-kubernetes-map-type is specified"));
  }
  if (type !== "atomic" && type !== "granular") {
    causes.push(notSupported(`${path}.x-kubernetes-map-type`, type, ["atomic", "granular"]));
  }
}

function listType(props: Props, path: string, causes: Cause[]): void {
  const type = props["x-kubernetes-list-type"];
  const keys = props["x-kubernetes-list-map-keys"] ?? [];
  const at = `${path}.x-kubernetes-list-type`;
  const items = isMap(props.items) ? props.items as Props : undefined;
  if (type !== undefined && props.type !== "array") {
    causes.push(wrongType(props, path, "must be array if x-kubernetes-list-type is specified"));
  } else if (type === "set" && items) setItems(items, path, causes);
  if (type !== undefined && !["atomic", "set", "map"].includes(type)) {
    causes.push(notSupported(at, type, ["atomic", "set", "map"]));
  }
  if (keys.length && type !== "map") {
    const why = "must be map if x-kubernetes-list-map-keys is non-empty";
    causes.push(type === undefined ? required(at, why) : invalid(at, type, why));
  }
  if (type === "map") mapKeys(props, items, keys, path, causes);
  if ((type === "set" || type === "map") && items) {
    if (items.nullable) {
      const why = `cannot be nullable when x-kubernetes-list-type is ${type}`;
      causes.push(forbidden(`${path}.items.nullable`, why));
    }
  }
}

function setItems(items: Props, path: string, causes: Cause[]): void {
  const why = "must be atomic as item of a list with x-kubernetes-list-type=set";
  const inner = items["x-kubernetes-list-type"];
  if (items.type === "array" && inner !== undefined && inner !== "atomic") {
    causes.push(invalid(`${path}.items.x-kubernetes-list-type`, inner, why));
  }
  if (items.type === "object" && items["x-kubernetes-map-type"] !== "atomic") {
    causes.push(invalid(`${path}.items.x-kubernetes-map-type`, inner ?? null, why));
  }
}

function mapKeys(
  props: Props,
  items: Props | undefined,
  keys: string[],
  path: string,
  causes: Cause[],
): void {
  const at = `${path}.x-kubernetes-list-map-keys`;
  if (!keys.length) {
    causes.push(required(at, "must not be empty if x-kubernetes-list-type is map"));
  }
  if (!items) {
    if (props.items === undefined) {
      const why = "must have a schema if x-kubernetes-list-type is map";
      causes.push(required(`${path}.items`, why));
    }
    return;
  }
  if (items.type !== "object") {
    const why = "must be object if parent array's x-kubernetes-list-type is map";
    causes.push(invalid(`${path}.items.type`, items.type ?? "", why));
    return;
  }
  const seen = new Set<string>();
  for (const key of keys) {
    const field = items.properties?.[key];
    const where = `${path}.items.properties[${key}]`;
    if (!field) causes.push(invalid(at, keys, "entries must all be names of item properties"));
    else if (field.type === "array" || field.type === "object") {
      const why = "must be a scalar type if parent array's x-kubernetes-list-type is map";
      causes.push(invalid(`${where}.type`, items.type, why));
    }
    if (seen.has(key)) causes.push(invalid(at, keys, "must not contain duplicate entries"));
    seen.add(key);
    if (!field) continue;
    const has = field.default !== undefined && field.default !== null;
    if (!items.required?.includes(key) && !has) {
      const why =
        "this property is in x-kubernetes-list-map-keys, so it must have a default or be " +
        "a required property";
      causes.push(required(`${where}.default`, why));
    }
    if (field.nullable) {
      const why = "this property is in x-kubernetes-list-map-keys, so it cannot be nullable";
      causes.push(forbidden(`${where}.nullable`, why));
    }
  }
}

function ruleForm(
  props: Props,
  rule: ValidationRule,
  { at, causes }: { at: string; causes: Cause[] },
): void {
  const text = (rule.rule ?? "").trim();
  const message = rule.message ?? "";
  const breaks = /[\n\r]/;
  if (text === "") causes.push(required(`${at}.rule`, "rule is not specified"));
  else if (message !== "" && message.trim() === "") {
    causes.push(invalid(`${at}.message`, message, "must be non-empty if specified"));
  } else if (breaks.test(message.trim())) {
    causes.push(invalid(`${at}.message`, message, "must not contain line breaks"));
  } else if (breaks.test(text) && message.trim() === "") {
    const why = "message must be specified if rule contains line breaks";
    causes.push(required(`${at}.message`, why));
  }
  if (rule.messageExpression && rule.messageExpression.trim() === "") {
    const why = "messageExpression must be non-empty if specified";
    causes.push(required(`${at}.messageExpression`, why));
  }
  if (rule.reason !== undefined && !REASONS.includes(rule.reason)) {
    causes.push(notSupported(`${at}.reason`, rule.reason, REASONS));
  }
  const { fieldPath } = rule;
  if (fieldPath) {
    if (fieldPath.trim() === "") {
      causes.push(invalid(`${at}.fieldPath`, fieldPath, "must be non-empty if specified"));
    }
    if (breaks.test(fieldPath)) {
      causes.push(invalid(`${at}.fieldPath`, fieldPath, "must not contain line breaks"));
    }
    if (normalFieldPath(props, fieldPath, PROPS) === undefined) {
      causes.push(invalid(`${at}.fieldPath`, fieldPath, "must be a valid path"));
    }
  }
}
