/**
 * Schemas as OpenAPI writes them, version 2 or 3: definitions by name with everything they refer to, and
 * the `x-kubernetes-*` extensions that clients merge, apply and explain by.
 */
import { fieldDescription, typeDescription } from "./openapi_descriptions.ts";
import { planOf, STRUCT } from "./plan.ts";
import type { Field, Json, Kind, Schema, SchemaSet, SchemaValidations } from "./types.ts";

/** An OpenAPI object. */
export type OpenApi = { [key: string]: Json };

/** Long work in steps, between which others may run. */
export type Steps<T> = Generator<undefined, T, undefined>;

/** Does all steps at once. */
export function atOnce<T>(steps: Steps<T>): T {
  for (;;) {
    const { done, value } = steps.next();
    if (done) return value;
  }
}

/** A document as JSON, a step for each of its parts. */
export function* jsonSteps(document: OpenApi): Steps<string> {
  return yield* jsonParts(document, JSON_DEPTH);
}

/** How deep a document is taken apart: `components.schemas.X`. */
const JSON_DEPTH = 3;

function* jsonParts(value: Json, depth: number): Steps<string> {
  if (depth === 0 || value === null || typeof value !== "object" || Array.isArray(value)) {
    yield;
    return JSON.stringify(value);
  }
  const parts: string[] = [];
  for (const key in value) {
    if (value[key] === undefined) continue;
    parts.push(`${JSON.stringify(key)}:${yield* jsonParts(value[key], depth - 1)}`);
  }
  return `{${parts.join(",")}}`;
}

/** The dialect. */
export type Dialect = "v2" | "v3";

const META = "io.k8s.apimachinery.pkg.apis.meta.v1";
const CRD = "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1";

/** Scalars that are definitions of their own. */
const SPECIAL: Partial<Record<Schema["type"], string>> = {
  quantity: "io.k8s.apimachinery.pkg.api.resource.Quantity",
  intOrString: "io.k8s.apimachinery.pkg.util.intstr.IntOrString",
  time: `${META}.Time`,
  microTime: `${META}.MicroTime`,
  duration: `${META}.Duration`,
  fieldsV1: `${META}.FieldsV1`,
  raw: "io.k8s.apimachinery.pkg.runtime.RawExtension",
};

const UNIONS: Record<string, string> = {
  json: `${CRD}.JSON`,
  schemaOrBool: `${CRD}.JSONSchemaPropsOrBool`,
  schemaOrArray: `${CRD}.JSONSchemaPropsOrArray`,
  schemaOrStringArray: `${CRD}.JSONSchemaPropsOrStringArray`,
};

const V3_SCALARS: Record<string, OpenApi> = {
  [SPECIAL.quantity!]: { oneOf: [{ type: "string" }, { type: "number" }] },
  [SPECIAL.intOrString!]: {
    format: "int-or-string",
    oneOf: [{ type: "integer" }, { type: "string" }],
  },
};

const SCALARS: Record<string, OpenApi> = {
  [SPECIAL.quantity!]: { type: "string" },
  [SPECIAL.intOrString!]: { type: "string", format: "int-or-string" },
  [SPECIAL.time!]: { type: "string", format: "date-time" },
  [SPECIAL.microTime!]: { type: "string", format: "date-time" },
  [SPECIAL.duration!]: { type: "string" },
  [SPECIAL.fieldsV1!]: { type: "object" },
  [SPECIAL.raw!]: { type: "object" },
  [`${META}.Patch`]: { type: "object" },
  [UNIONS.json]: {},
  [UNIONS.schemaOrBool]: {},
  [UNIONS.schemaOrArray]: {},
  [UNIONS.schemaOrStringArray]: {},
};

const METADATA = fieldDescription("", "metadata")!;

/** The group of a built-in package's last name. */
const GROUPS: Record<string, string> = {
  core: "",
  meta: "",
  apps: "apps",
  autoscaling: "autoscaling",
  batch: "batch",
  policy: "policy",
  rbac: "rbac.authorization.k8s.io",
  flowcontrol: "flowcontrol.apiserver.k8s.io",
};

/** Structs of which one field is set, as another one says: the field that says it, and those it chooses among. */
const CHOICES: Readonly<Record<string, { by?: string; fields: readonly string[] }>> = {
  "core.v1.AppArmorProfile": { by: "type", fields: ["localhostProfile"] },
  "core.v1.PodSchedulingGroup": { fields: ["podGroupName"] },
  "core.v1.SeccompProfile": { by: "type", fields: ["localhostProfile"] },
  "flowcontrol.v1.LimitResponse": { by: "type", fields: ["queuing"] },
  "flowcontrol.v1.PriorityLevelConfigurationSpec": { by: "type", fields: ["exempt", "limited"] },
  "flowcontrol.v1.Subject": { by: "kind", fields: ["group", "serviceAccount", "user"] },
};

function choiceOf(name: string): OpenApi | undefined {
  const found = CHOICES[name.replace(/^io\.k8s\.api\./, "")];
  if (!found) return undefined;
  const fields = found.fields.map((f) => [f, f.charAt(0).toUpperCase() + f.slice(1)]);
  return {
    ...(found.by && { discriminator: found.by }),
    "fields-to-discriminateBy": Object.fromEntries(fields),
  };
}

/** Every group-version that upstream 1.36 knows, served or not: DeleteOptions and watch events are kinds of all. */
const KNOWN_VERSIONS = `/v1 admission.k8s.io/v1,v1beta1
admissionregistration.k8s.io/v1,v1alpha1,v1beta1 apiextensions.k8s.io/v1,v1beta1
apiregistration.k8s.io/v1,v1beta1 apps/v1,v1beta1,v1beta2 authentication.k8s.io/v1,v1alpha1,v1beta1
authorization.k8s.io/v1,v1beta1 autoscaling/v1,v2 batch/v1,v1beta1
certificates.k8s.io/v1,v1alpha1,v1beta1 coordination.k8s.io/v1,v1alpha2,v1beta1
discovery.k8s.io/v1,v1beta1 events.k8s.io/v1,v1beta1 extensions/v1beta1
flowcontrol.apiserver.k8s.io/v1,v1beta1,v1beta2,v1beta3 imagepolicy.k8s.io/v1alpha1
internal.apiserver.k8s.io/v1alpha1 networking.k8s.io/v1,v1beta1 node.k8s.io/v1,v1alpha1,v1beta1
policy/v1,v1beta1 rbac.authorization.k8s.io/v1,v1alpha1,v1beta1
resource.k8s.io/v1,v1alpha3,v1beta1,v1beta2 scheduling.k8s.io/v1,v1alpha2,v1beta1
storage.k8s.io/v1,v1alpha1,v1beta1 storagemigration.k8s.io/v1beta1`;

/** Groups of those that the part of upstream which serves custom kinds does not know. */
const NOT_CUSTOM = [
  "admission.k8s.io",
  "apiextensions.k8s.io",
  "apiregistration.k8s.io",
  "imagepolicy.k8s.io",
];

function everywhere(kind: string, dialect: Dialect, about: About): OpenApi[] {
  const { group, version, custom } = about;
  const core = { group: "", kind, version: "v1" };
  if (dialect === "v3" && !custom) return group ? [core, { group, kind, version }] : [core];
  return KNOWN_VERSIONS.split(/\s/).flatMap((entry) => {
    const [name, versions] = entry.split("/");
    if (custom && NOT_CUSTOM.includes(name)) return [];
    return versions.split(",").map((version) => ({ group: name, kind, version }));
  });
}

/** The definition name of a kind: built-in kinds' schemas are named so; custom ones by their group reversed. */
export function definitionName(kind: Kind): string {
  if (!kind.custom) return kind.schema;
  return `${kind.group.split(".").reverse().join(".")}.${kind.version}.${kind.kind}`;
}

/** The definition name of a built-in kind that is no row of its own (Scale, Eviction, …). */
export function builtInDefinition(group: string, version: string, kind: string): string {
  return `io.k8s.api.${group.split(".")[0] || "core"}.${version}.${kind}`;
}

/** The group-version that a document is of; `custom`: of nothing but custom kinds. */
interface About {
  group: string;
  version: string;
  custom?: boolean;
}

/** Collects definitions. */
export class Definitions {
  readonly #dialect: Dialect;
  readonly #about: About;
  readonly #prefix: string;
  readonly #done = new Map<string, OpenApi>();
  readonly #open: [string, SchemaSet][] = [];

  /** `about`: the group-version that the document is of, if it is of one. */
  constructor(dialect: Dialect, about: About = { group: "", version: "v1" }) {
    this.#dialect = dialect;
    this.#about = about;
    this.#prefix = dialect === "v2" ? "#/definitions/" : "#/components/schemas/";
  }

  /** A reference to a built-in definition, which is made along with this. */
  ref(schemas: SchemaSet, name: string): OpenApi {
    if (!this.#done.has(name)) {
      this.#done.set(name, {});
      this.#open.push([name, schemas]);
    }
    return { $ref: this.#prefix + name };
  }

  /** A reference to a kind's definition. */
  kind(kind: Kind): OpenApi {
    const name = definitionName(kind);
    if (kind.custom && !this.#done.has(name)) {
      this.#done.set(name, this.#custom(kind));
    }
    return kind.custom ? { $ref: this.#prefix + name } : this.ref(kind.schemas, name);
  }

  /** A reference to a kind's list. */
  list(kind: Kind): OpenApi {
    const name = definitionName(kind).replace(/[^.]+$/, kind.listKind);
    if (!kind.custom) return this.ref(kind.schemas, name);
    if (!this.#done.has(name)) {
      const items = this.kind(kind);
      this.#done.set(name, {
        description: `A list of ${kind.kind}.`,
        type: "object",
        required: ["items"],
        properties: {
          ...this.#typeMeta(),
          items: { type: "array", description: fieldDescription("", "items")!, items },
          metadata: {
            ...this.#nested(this.ref(kind.schemas, `${META}.ListMeta`)),
            description: METADATA,
          },
        },
        "x-kubernetes-group-version-kind": [
          { group: kind.group, kind: kind.listKind, version: kind.version },
        ],
        ...selectable(kind),
      });
    }
    return { $ref: this.#prefix + name };
  }

  /** All definitions asked for and what they refer to, by name in order; a step for each. */
  *finish(): Steps<OpenApi> {
    for (let next = this.#open.pop(); next; next = this.#open.pop()) {
      this.#done.set(next[0], this.#definition(next[1], next[0]));
      yield;
    }
    return Object.fromEntries([...this.#done].sort(([a], [b]) => a < b ? -1 : 1));
  }

  #typeMeta(): OpenApi {
    return {
      apiVersion: { type: "string", description: fieldDescription("", "apiVersion")! },
      kind: { type: "string", description: fieldDescription("", "kind")! },
    };
  }

  #definition(schemas: SchemaSet, name: string): OpenApi {
    const scalar = (this.#dialect === "v3" && V3_SCALARS[name]) || SCALARS[name];
    if (scalar) return scalar;
    const schema = schemas[name];
    if (!schema) throw new Error(`no schema ${name}`);
    const type = name.slice(name.lastIndexOf(".") + 1);
    const out = this.#object(schemas, schema, type);
    const description = typeDescription(type);
    if (description) out.description = description;
    const choice = choiceOf(name);
    if (choice) out["x-kubernetes-unions"] = [choice];
    if (name === `${META}.WatchEvent` || name === `${META}.DeleteOptions`) {
      out["x-kubernetes-group-version-kind"] = everywhere(type, this.#dialect, this.#about);
      return out;
    }
    const topLevel = schema.properties?.apiVersion && schema.properties.kind &&
      schema.properties.kind.proto === undefined;
    const gvk = topLevel ? gvkOf(name) : undefined;
    if (gvk) out["x-kubernetes-group-version-kind"] = [gvk];
    return out;
  }

  #object(schemas: SchemaSet, schema: Schema, type = ""): OpenApi {
    const out: OpenApi = { type: "object" };
    const fields = Object.entries(schema.properties ?? {});
    if (fields.length > 0) {
      const properties: OpenApi = {};
      for (const [key, field] of fields) properties[key] = this.#field(schemas, type, key, field);
      out.properties = properties;
    }
    if (schema.required && schema.required.length > 0) out.required = [...schema.required];
    if (schema.mapType) out["x-kubernetes-map-type"] = schema.mapType;
    return out;
  }

  #field(schemas: SchemaSet, type: string, key: string, field: Field): OpenApi {
    const made = this.#schema(schemas, field);
    const beside: OpenApi = {};
    const description = field.description ?? fieldDescription(type, key);
    if (description) beside.description = description;
    if (this.#dialect === "v3") {
      const value = field.default ?? enforced(schemas, field, field.required1 === true);
      if (value !== undefined) beside.default = value;
    }
    extensions(field, beside);
    return { ...(made.$ref ? this.#nested(made) : made), ...beside };
  }

  /** A reference that something stands beside: OpenAPI 3 ignores what does, unless it is wrapped. */
  #nested(ref: OpenApi): OpenApi {
    return this.#dialect === "v3" ? { allOf: [ref] } : ref;
  }

  #schema(schemas: SchemaSet, schema: Schema): OpenApi {
    switch (schema.type) {
      case "object":
        return schema.ref ? this.ref(schemas, schema.ref) : this.#object(schemas, schema);
      case "map":
        return schema.items
          ? { type: "object", additionalProperties: this.#item(schemas, schema.items) }
          : { type: "object" };
      case "array":
        return { type: "array", items: this.#item(schemas, schema.items!) };
      case "integer":
        return { type: "integer", format: schema.format ?? "int64" };
      case "number":
        return { type: "number", format: schema.format ?? "double" };
      case "bytes":
        return { type: "string", format: "byte" };
      case "any":
        return schema.format && UNIONS[schema.format]
          ? this.ref(schemas, UNIONS[schema.format])
          : {};
      case "string":
        return schema.enum ? { type: "string", enum: [...schema.enum] } : { type: "string" };
      case "boolean":
        return { type: "boolean" };
      default:
        return this.ref(schemas, SPECIAL[schema.type]!);
    }
  }

  #item(schemas: SchemaSet, items: Schema): OpenApi {
    const made = this.#schema(schemas, items);
    if (this.#dialect === "v2") return made;
    const value = enforced(schemas, items, true);
    if (value === undefined) return made;
    return { ...(made.$ref ? this.#nested(made) : made), default: value };
  }

  // --- custom resources -----------------------------------------------------------------------------------

  #custom(kind: Kind): OpenApi {
    const schema = kind.schemas[kind.schema];
    // OpenAPI 2 cannot say that more fields may come, and kubectl refuses those that are not listed: list none
    const open = this.#dialect === "v2" && schema.preserveUnknown === true;
    const out = open ? { type: "object" } : this.#customNode(kind.schemas, schema, true);
    out["x-kubernetes-group-version-kind"] = [
      { group: kind.group, kind: kind.kind, version: kind.version },
    ];
    return Object.assign(out, selectable(kind));
  }

  #customNode(schemas: SchemaSet, schema: Field, root = false): OpenApi {
    const v2 = this.#dialect === "v2";
    const out: OpenApi = {};
    if (schema.description) out.description = schema.description;
    if (schema.default !== undefined && !v2) out.default = schema.default;
    const type = CUSTOM_TYPES[schema.type];
    const nullable = schema.nullable === true;
    // OpenAPI 2 has no nullable: what cannot be said is left open.
    if (type && !(v2 && (nullable || (schema.preserveUnknown && !root)))) out.type = type;
    if (nullable && !v2) out.nullable = true;
    if (schema.format && type) out.format = schema.format;
    if (schema.type === "intOrString") {
      out["x-kubernetes-int-or-string"] = true;
      if (!v2) out.anyOf = [{ type: "integer" }, { type: "string" }];
    }
    const hidden = v2 && schema.preserveUnknown === true && !root;
    if ((schema.properties || root) && !hidden) {
      const properties: OpenApi = {};
      for (const [key, field] of Object.entries(schema.properties ?? {})) {
        properties[key] = this.#customNode(schemas, field);
      }
      if (root || schema.embedded) this.#rootFields(schemas, properties);
      if (Object.keys(properties).length > 0) out.properties = properties;
    }
    if (schema.items && !hidden) {
      const items = this.#customNode(schemas, schema.items);
      if (schema.type === "map") out.additionalProperties = items;
      else out.items = items;
    }
    const embedded = schema.embedded && !v2 ? ["kind", "apiVersion"] : [];
    const required = [...new Set([...schema.required ?? [], ...embedded])];
    if (required.length > 0 && !hidden) out.required = required;
    if (schema.preserveUnknown) out["x-kubernetes-preserve-unknown-fields"] = true;
    if (schema.embedded) out["x-kubernetes-embedded-resource"] = true;
    extensions(schema, out);
    validations(schema.validations, out, v2);
    return out;
  }

  #rootFields(schemas: SchemaSet, properties: OpenApi): void {
    Object.assign(properties, this.#typeMeta(), {
      metadata: {
        ...this.#nested(this.ref(schemas, `${META}.ObjectMeta`)),
        description: METADATA,
      },
    });
  }
}

/** The fields of a custom kind that field selectors may name. */
function selectable(kind: Kind): OpenApi {
  const names = Object.keys(kind.fields ?? {});
  if (names.length === 0) return {};
  return { "x-kubernetes-selectable-fields": names.map((fieldPath) => ({ fieldPath })) };
}

const CUSTOM_TYPES: Partial<Record<Schema["type"], string>> = {
  object: "object",
  map: "object",
  array: "array",
  string: "string",
  boolean: "boolean",
  integer: "integer",
  number: "number",
};

const VALIDATIONS_V2 = [
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
  "uniqueItems",
  "minProperties",
  "maxProperties",
  "enum",
] as const;
const JUNCTORS = ["allOf", "anyOf", "oneOf", "not"] as const;

function validations(found: SchemaValidations | undefined, out: OpenApi, v2: boolean): void {
  if (!found) return;
  for (const key of VALIDATIONS_V2) {
    if (found[key] !== undefined) out[key] = found[key] as Json;
  }
  if (!v2) {
    for (const key of JUNCTORS) {
      if (found[key] !== undefined) out[key] = JSON.parse(JSON.stringify(found[key]));
    }
  }
  if (found.rules) out["x-kubernetes-validations"] = found.rules as unknown as Json;
}

function extensions(field: Field, out: OpenApi): void {
  if (field.listType) out["x-kubernetes-list-type"] = field.listType;
  if (field.listMapKeys) out["x-kubernetes-list-map-keys"] = [...field.listMapKeys];
  if (field.mapType) out["x-kubernetes-map-type"] = field.mapType;
  if (field.patchMergeKey) out["x-kubernetes-patch-merge-key"] = field.patchMergeKey;
  if (field.patchStrategy) out["x-kubernetes-patch-strategy"] = field.patchStrategy.join(",");
}

/** The default OpenAPI 3 states for what Go always writes: structs empty, scalars zero. */
function enforced(schemas: SchemaSet, schema: Field, always: boolean): Json | undefined {
  if (schema.pointer) return undefined;
  switch (schema.type) {
    case "object":
      return schema.ref && planOf(schemas, schema.ref).op === STRUCT &&
          Object.keys(schemas[schema.ref].properties ?? {}).length > 0
        ? {}
        : undefined;
    case "string":
      return always ? "" : undefined;
    case "boolean":
      return always ? false : undefined;
    case "integer":
    case "number":
      return always ? 0 : undefined;
    default:
      return undefined;
  }
}

/** The group, version and kind of a built-in definition. */
function gvkOf(name: string): OpenApi | undefined {
  const parts = name.split(".");
  const kind = parts.at(-1)!;
  const version = parts.at(-2)!;
  const last = parts.at(-3)!;
  if (last === "apiregistration" || last === "apiextensions" || last === "metrics") {
    return { group: `${last}.k8s.io`, kind, version };
  }
  return { group: GROUPS[last] ?? `${last}.k8s.io`, kind, version };
}
