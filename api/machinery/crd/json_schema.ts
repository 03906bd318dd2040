/**
 * From a CRD's openAPIV3Schema (JSONSchemaProps, as JSON) to the schemas of `types.ts` that decoding,
 * pruning, defaulting, apply and printing run on.
 */
import type {
  Field,
  Json,
  Schema,
  SchemaType,
  SchemaValidations,
  ValidationRule,
} from "../types.ts";
import { isMap } from "../json_value.ts";

/** JSONSchemaProps as JSON; only what structural schemas may hold is named. */
export interface Props {
  type?: string;
  format?: string;
  title?: string;
  description?: string;
  default?: Json;
  nullable?: boolean;
  properties?: Record<string, Props>;
  additionalProperties?: Props | boolean;
  items?: Props | Props[];
  required?: string[];
  enum?: Json[];
  minimum?: number;
  maximum?: number;
  exclusiveMinimum?: boolean;
  exclusiveMaximum?: boolean;
  multipleOf?: number;
  minLength?: number;
  maxLength?: number;
  pattern?: string;
  minItems?: number;
  maxItems?: number;
  uniqueItems?: boolean;
  minProperties?: number;
  maxProperties?: number;
  allOf?: Props[];
  anyOf?: Props[];
  oneOf?: Props[];
  not?: Props;
  "x-kubernetes-preserve-unknown-fields"?: boolean;
  "x-kubernetes-embedded-resource"?: boolean;
  "x-kubernetes-int-or-string"?: boolean;
  "x-kubernetes-list-type"?: string;
  "x-kubernetes-list-map-keys"?: string[];
  "x-kubernetes-map-type"?: string;
  "x-kubernetes-validations"?: ValidationRule[];
  [other: string]: unknown;
}

/** Where ObjectMeta's schema is named. */
export const OBJECT_META = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta";

const PLAIN_VALIDATIONS = [
  "enum",
  "minimum",
  "maximum",
  "exclusiveMinimum",
  "exclusiveMaximum",
  "multipleOf",
  "minLength",
  "maxLength",
  "pattern",
  "minItems",
  "maxItems",
  "minProperties",
  "maxProperties",
] as const;

/** The root schema of a version: an object with apiVersion, kind and metadata whatever the CRD says. */
export function rootSchema(props: Props | undefined): Schema {
  if (!props) return withObjectMeta({ type: "object", properties: {}, preserveUnknown: true });
  const schema = schemaOf({ ...props, type: props.type ?? "object" });
  return withObjectMeta(schema, props.properties?.metadata);
}

/** Adds the fields that every object has. Rules on metadata (name, generateName) become validations. */
function withObjectMeta(schema: Schema, metadata?: Props): Schema {
  const meta: Field = { type: "object", ref: OBJECT_META };
  const nested = metadata ? nestedValidations(metadata) : undefined;
  if (nested) meta.validations = nested;
  schema.properties = {
    ...schema.properties,
    apiVersion: schema.properties?.apiVersion ?? { type: "string" },
    kind: schema.properties?.kind ?? { type: "string" },
    metadata: meta,
  };
  return schema;
}

function typeOf(props: Props): SchemaType {
  if (props["x-kubernetes-int-or-string"]) return "intOrString";
  switch (props.type) {
    case "object":
      return isMap(props.additionalProperties) || props.additionalProperties === true
        ? "map"
        : "object";
    case "array":
    case "string":
    case "boolean":
    case "integer":
    case "number":
      return props.type;
  }
  return "any";
}

/** One node. */
export function schemaOf(props: Props): Field {
  const schema: Field = { type: typeOf(props) };
  if (props.format) schema.format = props.format;
  if (props.description) schema.description = props.description;
  if (props.default !== undefined && props.default !== null) schema.default = props.default;
  if (props.nullable) schema.nullable = true;
  if (props["x-kubernetes-preserve-unknown-fields"]) schema.preserveUnknown = true;
  if (props.required?.length) schema.required = [...props.required];
  if (props.properties || schema.type === "object") {
    schema.properties = {};
    for (const name of Object.keys(props.properties ?? {})) {
      Object.defineProperty(schema.properties, name, {
        value: schemaOf(props.properties![name]),
        enumerable: true,
        configurable: true,
        writable: true,
      });
    }
  }
  if (schema.type === "map") {
    schema.items = isMap(props.additionalProperties)
      ? schemaOf(props.additionalProperties as Props)
      : { type: "any", preserveUnknown: true };
  } else if (isMap(props.items)) schema.items = schemaOf(props.items as Props);
  const listType = props["x-kubernetes-list-type"];
  if (listType) schema.listType = listType as Schema["listType"];
  const mapKeys = props["x-kubernetes-list-map-keys"];
  if (mapKeys?.length) schema.listMapKeys = mapKeys;
  const mapType = props["x-kubernetes-map-type"];
  if (mapType) schema.mapType = mapType as Schema["mapType"];
  const validations = validationsOf(props);
  if (validations) schema.validations = validations;
  if (props["x-kubernetes-embedded-resource"]) {
    schema.embedded = true;
    return withObjectMeta(schema, props.properties?.metadata);
  }
  return schema;
}

function validationsOf(props: Props): SchemaValidations | undefined {
  const out: Record<string, unknown> = {};
  for (const key of PLAIN_VALIDATIONS) {
    const value = props[key];
    if (value !== undefined && value !== null && value !== false) out[key] = value;
  }
  for (const key of ["allOf", "anyOf", "oneOf"] as const) {
    const list = props[key];
    if (list?.length && !isIntOrString(props, key)) {
      out[key] = list.map((one) => nestedValidations(one) ?? {});
    }
  }
  if (props.not) out.not = nestedValidations(props.not) ?? {};
  const rules = props["x-kubernetes-validations"];
  if (rules?.length) out.rules = rules;
  return Object.keys(out).length ? out as SchemaValidations : undefined;
}

/** The `anyOf` of an int-or-string says what its type says already. */
function isIntOrString(props: Props, key: string): boolean {
  if (!props["x-kubernetes-int-or-string"] || key !== "anyOf") return false;
  const types = props.anyOf!.map((one) => one.type).sort();
  return types.length === 2 && types[0] === "integer" && types[1] === "string";
}

/** What a schema inside allOf, anyOf, oneOf or not asks of a value. */
function nestedValidations(props: Props): SchemaValidations | undefined {
  const out: Record<string, unknown> = { ...validationsOf(props) };
  if (props.format) out.format = props.format;
  if (props.required?.length) out.required = props.required;
  if (isMap(props.properties)) {
    const properties: Record<string, SchemaValidations> = {};
    for (const name of Object.keys(props.properties!)) {
      properties[name] = nestedValidations(props.properties![name]) ?? {};
    }
    out.properties = properties;
  }
  if (isMap(props.items)) out.items = nestedValidations(props.items as Props) ?? {};
  return Object.keys(out).length ? out as SchemaValidations : undefined;
}
