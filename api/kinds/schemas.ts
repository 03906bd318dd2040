/**
 * The schemas of every built-in type, made from the facts under `generated/schemas/` as they are asked
 * for: a package's text is parsed at its first use, a type's schema is built at its own.
 *
 * A package's facts are JSON: type name to `{f: fields, m?: map type}`; a field is
 * `[name, type code, protobuf number, flags, rest]`. Type codes: s string, b boolean, i int32, l int64,
 * u uint32, U uint64, n double, B bytes, q quantity, I int-or-string, t time, m micro time, d duration,
 * f FieldsV1, r raw extension, a any, j JSON, 0 1 2 the CRD schema unions, `@Type` or `@package.Type` a
 * struct, `[x` a list, `{x` a map, `w[x` a list that is a message in protobuf. Flags: 1 pointer, 2 without
 * omitempty, 4 required by OpenAPI, 8 omitzero, 16 deprecated. Rest: lt and lk list type and map keys, mt
 * map type, ps and pk patch strategy and merge key, d default, e enumeration, g Go type name, w and n
 * the numbers and names of the messages around it.
 */
import type { Field, Json, Schema, SchemaSet, SchemaType } from "../machinery/types.ts";
import { packages } from "./generated/schemas/mod.ts";

type FieldFacts = [string, string, number?, number?, Record<string, Json>?];
interface TypeFacts {
  f: FieldFacts[];
  m?: "atomic" | "granular";
}

const POINTER = 1;
const ALWAYS = 2;
const REQUIRED = 4;
const OMIT_ZERO = 8;

const SCALARS: Record<string, [SchemaType, string?]> = {
  s: ["string"],
  b: ["boolean"],
  i: ["integer", "int32"],
  l: ["integer", "int64"],
  u: ["integer", "uint32"],
  U: ["integer", "uint64"],
  n: ["number", "double"],
  y: ["integer", "int32"],
  B: ["bytes"],
  q: ["quantity"],
  I: ["intOrString"],
  t: ["time"],
  m: ["microTime"],
  d: ["duration"],
  f: ["fieldsV1"],
  r: ["raw"],
  a: ["any"],
  j: ["any", "json"],
  "0": ["any", "schemaOrBool"],
  "1": ["any", "schemaOrArray"],
  "2": ["any", "schemaOrStringArray"],
};

const idOf: Record<string, string> = {};
for (const id in packages) idOf[packages[id][0]] = id;
const parsed: Record<string, Record<string, TypeFacts>> = {};

function factsOf(id: string): Record<string, TypeFacts> {
  return parsed[id] ??= JSON.parse(packages[id][1]);
}

function schemaOf(code: string, prefix: string): Schema {
  const first = code[0];
  if (first === "w") return { ...schemaOf(code.slice(1), prefix), wrapped: true };
  if (first === "[") return { type: "array", items: schemaOf(code.slice(1), prefix) };
  if (first === "{") return { type: "map", items: schemaOf(code.slice(1), prefix) };
  if (first === "@") {
    const dot = code.indexOf(".");
    const ref = dot < 0
      ? `${prefix}.${code.slice(1)}`
      : `${packages[code.slice(1, dot)][0]}.${code.slice(dot + 1)}`;
    return { type: "object", ref };
  }
  const [type, format] = SCALARS[code];
  const schema: Schema = format ? { type, format } : { type };
  if (format?.startsWith("schemaOr")) schema.ref = `${prefix}.JSONSchemaProps`;
  return schema;
}

function fieldOf(facts: FieldFacts, prefix: string): Field {
  const [, code, proto, flags = 0, rest] = facts;
  const field: Field = schemaOf(code, prefix);
  if (proto) field.proto = proto;
  if (field.format && field.type !== "any") field.protoType = field.format;
  if (flags & ALWAYS) field.required1 = true;
  if (flags & POINTER) field.pointer = true;
  if (flags & OMIT_ZERO) field.omitZero = true;
  if (!rest) return field;
  if (rest.lt) field.listType = rest.lt as Field["listType"];
  if (rest.lk) field.listMapKeys = rest.lk as string[];
  if (rest.mt) field.mapType = rest.mt as Field["mapType"];
  if (rest.ps) field.patchStrategy = rest.ps as Field["patchStrategy"];
  if (rest.pk) field.patchMergeKey = rest.pk as string;
  if (rest.d !== undefined) field.default = rest.d;
  if (rest.e) {
    if (field.type === "array" || field.type === "map") field.items!.enum = rest.e as string[];
    else field.enum = rest.e as string[];
  }
  if (rest.g) field.goType = rest.g as string;
  if (rest.w) field.within = rest.w as number[];
  if (rest.n) field.withinNames = rest.n as string;
  return field;
}

/** Lists and maps that upstream's rules refuse when they are empty, though they may be absent. */
const KEEP_EMPTY = new Set([
  "io.k8s.api.autoscaling.v2.HPAScalingRules.policies",
  "io.k8s.api.batch.v1.PodFailurePolicyOnExitCodesRequirement.values",
  "io.k8s.api.core.v1.PersistentVolumeSpec.capacity",
  "io.k8s.api.core.v1.PodSpec.overhead",
]);

function build(name: string): Schema | undefined {
  const dot = name.lastIndexOf(".");
  const prefix = name.slice(0, dot);
  const id = idOf[prefix];
  if (id === undefined) return undefined;
  const facts = factsOf(id)[name.slice(dot + 1)];
  if (!facts) return undefined;
  const properties: Record<string, Field> = {};
  const required: string[] = [];
  for (const f of facts.f) {
    properties[f[0]] = fieldOf(f, prefix);
    if (KEEP_EMPTY.has(`${name}.${f[0]}`)) properties[f[0]].keepEmpty = true;
    if ((f[3] ?? 0) & REQUIRED) required.push(f[0]);
  }
  const schema: Schema = { type: "object", properties };
  if (required.length > 0) schema.required = required;
  if (facts.m) schema.mapType = facts.m;
  return schema;
}

/**
 * Every built-in schema by definition name (`io.k8s.api.core.v1.Pod`). Looking one up builds it;
 * enumerating shows only those built so far (`schemaNames` knows all).
 */
export const schemas: SchemaSet = (() => {
  const builder = new Proxy(Object.create(null), {
    get(_, name): Schema | undefined {
      if (typeof name !== "string") return undefined;
      const schema = build(name);
      if (schema) built[name] = schema;
      return schema;
    },
    has: (_, name) => typeof name === "string" && build(name) !== undefined,
  });
  const built: Record<string, Schema> = Object.create(builder);
  return built;
})();

/** The definition names of a group-version's package (`io.k8s.api.core.v1`), or of all packages. */
export function schemaNames(prefix?: string): string[] {
  const ids = prefix === undefined ? Object.keys(packages) : idOf[prefix] ? [idOf[prefix]] : [];
  return ids.flatMap((id) => Object.keys(factsOf(id)).map((n) => `${packages[id][0]}.${n}`));
}
