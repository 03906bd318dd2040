/**
 * Schemas and versions of definitions as upstream's errors print them: its internal types, with Go's names in Go's
 * order, and null or zero for what is absent.
 */
import { isMap } from "../json_value.ts";
import type { Json } from "../types.ts";
import type { Props } from "./json_schema.ts";

/** What a field that is absent prints as, and how one that is there does. */
type Form =
  | "text"
  | "flag"
  | "plain"
  | "schema"
  | "schemas"
  | "byName"
  | "list"
  | "choice"
  | "rules";

/** Go's name, the API's, and the form; in Go's order. */
const FIELDS: readonly (readonly [string, string, Form])[] = [
  ["ID", "id", "text"],
  ["Schema", "$schema", "text"],
  ["Ref", "$ref", "plain"],
  ["Description", "description", "text"],
  ["Type", "type", "text"],
  ["Nullable", "nullable", "flag"],
  ["Format", "format", "text"],
  ["Title", "title", "text"],
  ["Default", "default", "plain"],
  ["Maximum", "maximum", "plain"],
  ["ExclusiveMaximum", "exclusiveMaximum", "flag"],
  ["Minimum", "minimum", "plain"],
  ["ExclusiveMinimum", "exclusiveMinimum", "flag"],
  ["MaxLength", "maxLength", "plain"],
  ["MinLength", "minLength", "plain"],
  ["Pattern", "pattern", "text"],
  ["MaxItems", "maxItems", "plain"],
  ["MinItems", "minItems", "plain"],
  ["UniqueItems", "uniqueItems", "flag"],
  ["MultipleOf", "multipleOf", "plain"],
  ["Enum", "enum", "plain"],
  ["MaxProperties", "maxProperties", "plain"],
  ["MinProperties", "minProperties", "plain"],
  ["Required", "required", "plain"],
  ["Items", "items", "list"],
  ["AllOf", "allOf", "schemas"],
  ["OneOf", "oneOf", "schemas"],
  ["AnyOf", "anyOf", "schemas"],
  ["Not", "not", "schema"],
  ["Properties", "properties", "byName"],
  ["AdditionalProperties", "additionalProperties", "choice"],
  ["PatternProperties", "patternProperties", "byName"],
  ["Dependencies", "dependencies", "plain"],
  ["AdditionalItems", "additionalItems", "choice"],
  ["Definitions", "definitions", "byName"],
  ["ExternalDocs", "externalDocs", "plain"],
  ["Example", "example", "plain"],
  ["XPreserveUnknownFields", "x-kubernetes-preserve-unknown-fields", "plain"],
  ["XEmbeddedResource", "x-kubernetes-embedded-resource", "flag"],
  ["XIntOrString", "x-kubernetes-int-or-string", "flag"],
  ["XListMapKeys", "x-kubernetes-list-map-keys", "plain"],
  ["XListType", "x-kubernetes-list-type", "plain"],
  ["XMapType", "x-kubernetes-map-type", "plain"],
  ["XValidations", "x-kubernetes-validations", "rules"],
];

const RULE_FIELDS: readonly (readonly [string, string, Json])[] = [
  ["Rule", "rule", ""],
  ["Message", "message", ""],
  ["MessageExpression", "messageExpression", ""],
  ["Reason", "reason", null],
  ["FieldPath", "fieldPath", ""],
  ["OptionalOldSelf", "optionalOldSelf", null],
];

type Values = Record<string, Json>;

/** A schema as it is inside. */
export function internalSchema(props: Props): Values {
  const values = props as unknown as Values;
  const out: Values = {};
  for (const [name, key, form] of FIELDS) out[name] = internalField(form, values[key]);
  return out;
}

function internalField(form: Form, value: Json | undefined): Json {
  const schema = (it: Json | undefined) => isMap(it) ? internalSchema(it as Props) : null;
  switch (form) {
    case "text":
      return value ?? "";
    case "flag":
      return value ?? false;
    case "schema":
      return schema(value);
    case "schemas":
      return Array.isArray(value) ? value.map(schema) : null;
    case "byName":
      return isMap(value)
        ? Object.fromEntries(Object.keys(value).sort().map((name) => [name, schema(value[name])]))
        : null;
    case "list":
      if (value === undefined || value === null) return null;
      return {
        Schema: schema(value),
        JSONSchemas: Array.isArray(value) ? value.map(schema) : null,
      };
    case "choice":
      if (value === undefined || value === null) return null;
      return { Allows: value !== false, Schema: schema(value) };
    case "rules":
      return Array.isArray(value) ? value.map((rule) => internalRule(rule as Values)) : null;
    default:
      return value ?? null;
  }
}

function internalRule(rule: Values): Values {
  return Object.fromEntries(RULE_FIELDS.map(([name, key, none]) => [name, rule[key] ?? none]));
}

/** The fields that a schema sets, by Go's names and in Go's order. */
export function* fieldsSet(props: Props): Generator<string> {
  const values = props as unknown as Values;
  for (const [name, key, form] of FIELDS) {
    const value = values[key];
    if (value === undefined || value === null) continue;
    // Pointers hold what is empty, too
    if ((form === "text" || form === "flag") && !value) continue;
    yield name;
  }
}

/** A version, but for what all versions have alike: that is kept once. */
export function internalVersion(version: object, shared: object): Values {
  const own = (key: string) => {
    const value = (version as Values)[key] ?? null;
    return key in shared ? null : value;
  };
  const schema = own("schema") as { openAPIV3Schema?: Props } | null;
  const props = schema?.openAPIV3Schema;
  const { name, served, storage, deprecated, deprecationWarning } = version as Values;
  return {
    Name: name ?? "",
    Served: served ?? false,
    Storage: storage ?? false,
    Deprecated: deprecated ?? false,
    DeprecationWarning: deprecationWarning ?? null,
    Schema: schema && { OpenAPIV3Schema: props ? internalSchema(props) : null },
    Subresources: own("subresources"),
    AdditionalPrinterColumns: own("additionalPrinterColumns"),
    SelectableFields: own("selectableFields"),
  };
}
