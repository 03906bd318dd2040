/**
 * From a CRD to the rows of the kinds it serves: one a version, with schema, columns, selectable fields,
 * subresources, and hooks that default and validate its objects.
 */
import type {
  Cause,
  Column,
  DeepReadonly,
  Field,
  Json,
  Kind,
  KindHooks,
  KubeObject,
  SchemaSet,
  Subresource,
} from "../types.ts";
import { edit, setOwn } from "../edit.ts";
import { invalid } from "../field_errors.ts";
import { isMap } from "../json_value.ts";
import type { Crd, CrdVersion } from "./definition.ts";
import { celEngine, loadCrdEngine } from "./engine.ts";
import { rootSchema } from "./json_schema.ts";
import { valueErrors } from "./values.ts";

const VERBS = [
  "create",
  "get",
  "list",
  "watch",
  "update",
  "patch",
  "delete",
  "deletecollection",
] as const;

const AGE: Column = {
  name: "Age",
  type: "date",
  jsonPath: ".metadata.creationTimestamp",
  description: "Time since the object was created.",
};

/**
 * The rows of a CRD's served versions. `base` is the set of the built-in schemas (for ObjectMeta). Loads
 * what custom resources need.
 */
export async function customKinds(crd: DeepReadonly<Crd>, base: SchemaSet): Promise<Kind[]> {
  await loadCrdEngine();
  const definition = edit<Crd>(crd);
  return definition.spec.versions
    .filter((version) => version.served)
    .map((version) => customKind(definition, version, base));
}

/** Where a version keeps what its Scale shows, as field names; undefined without scale. */
export function scalePathsOf(
  version: DeepReadonly<CrdVersion>,
): { spec: string[]; status: string[]; selector?: string[] } | undefined {
  const scale = version.subresources?.scale;
  if (!scale) return undefined;
  const names = (path: string) => path.slice(1).split(".");
  return {
    spec: names(scale.specReplicasPath),
    status: names(scale.statusReplicasPath),
    selector: scale.labelSelectorPath ? names(scale.labelSelectorPath) : undefined,
  };
}

function customKind(crd: Crd, version: CrdVersion, base: SchemaSet): Kind {
  const { spec } = crd;
  const names = { ...spec.names, ...crd.status?.acceptedNames };
  const schemaName = `${spec.group.split(".").reverse().join(".")}.${version.name}.${names.kind}`;
  const schema = rootSchema(version.schema?.openAPIV3Schema);
  const schemas: Record<string, Field> = Object.create(base);
  schemas[schemaName] = schema;
  const storage = spec.versions.find((one) => one.storage)!;
  const kind: Kind = {
    group: spec.group,
    version: version.name,
    kind: names.kind,
    listKind: names.listKind || `${names.kind}List`,
    plural: names.plural,
    singular: names.singular || names.kind.toLowerCase(),
    namespaced: spec.scope === "Namespaced",
    verbs: VERBS,
    schema: schemaName,
    schemas,
    path: `/registry/${spec.group}/${names.plural}`,
    subresources: subresourcesOf(version),
    generation: true,
    columns: columnsOf(version),
    custom: true,
    hooks: hooksOf(version, schema),
  };
  if (JSON.stringify(version.schema ?? {}).includes('"default":')) kind.readDefaults = true;
  if (names.shortNames?.length) kind.shortNames = names.shortNames;
  if (names.categories?.length) kind.categories = names.categories;
  const warning = deprecationOf(crd, version);
  if (warning) kind.deprecationWarning = warning;
  const fields = fieldsOf(version);
  if (fields) kind.fields = fields;
  if (storage.name !== version.name) {
    const stored = `${spec.group}/${storage.name}`;
    const served = `${spec.group}/${version.name}`;
    kind.storage = {
      version: stored,
      toStorage: (object) => ({ ...object, apiVersion: stored }),
      fromStorage: (object) => ({ ...edit<KubeObject>(object), apiVersion: served }),
    };
  }
  return kind;
}

function subresourcesOf(version: CrdVersion): Subresource[] {
  const out: Subresource[] = [];
  if (version.subresources?.status) {
    out.push({ name: "status", verbs: ["get", "patch", "update"] });
  }
  if (version.subresources?.scale) {
    out.push({
      name: "scale",
      verbs: ["get", "patch", "update"],
      kind: { group: "autoscaling", version: "v1", kind: "Scale" },
    });
  }
  return out;
}

function columnsOf(version: CrdVersion): Column[] {
  const columns = version.additionalPrinterColumns;
  if (!columns?.length) return [AGE];
  return columns.map((column) => ({
    name: column.name,
    type: column.type as Column["type"],
    format: column.format ?? "",
    description: column.description || undefined,
    priority: column.priority ?? 0,
    jsonPath: column.jsonPath,
  }));
}

function fieldsOf(version: CrdVersion): Kind["fields"] {
  if (!version.selectableFields?.length) return undefined;
  const fields: Record<string, (object: DeepReadonly<KubeObject>) => string> = {};
  for (const { jsonPath } of version.selectableFields) {
    const names = jsonPath.slice(1).split(".");
    fields[names.join(".")] = (object) => {
      let at: unknown = object;
      for (const name of names) at = isMap(at) && Object.hasOwn(at, name) ? at[name] : undefined;
      return at === undefined || at === null ? "" : String(at);
    };
  }
  return fields;
}

function hooksOf(version: CrdVersion, schema: Field): KindHooks {
  const status = version.subresources?.status !== undefined;
  const hooks: KindHooks = {
    defaults: (object) => fillDefaults(schema, object as unknown as Json),
    validate: (object) => objectErrors(schema, object),
    validateUpdate: (object, old, context) =>
      objectErrors(schema, object, old, status && context.subresource === "status"),
  };
  return hooks;
}

function deprecationOf(crd: Crd, version: CrdVersion): string | undefined {
  if (!version.deprecated) return undefined;
  if (version.deprecationWarning !== undefined) return version.deprecationWarning;
  const { group, names, versions } = crd.spec;
  const text = `${group}/${version.name} ${names.kind} is deprecated`;
  const better = versions.find((one) => one.served && !one.deprecated);
  return better ? `${text}; use ${group}/${better.name} ${names.kind}` : text;
}

const UNCHECKED_TEXT = "some validation rules were not checked because the object was invalid; " +
  "correct the existing errors to complete validation";
const BLOCKING = new Set([
  "FieldValueNotSupported",
  "FieldValueRequired",
  "FieldValueTooLong",
  "FieldValueTooMany",
  "FieldValueTypeInvalid",
]);

/** What is wrong with a custom object: values first, then the rules if the values let them run. */
function objectErrors(
  schema: Field,
  object: DeepReadonly<KubeObject>,
  old?: DeepReadonly<KubeObject>,
  statusOnly = false,
): Cause[] {
  let causes = valueErrors(schema, object as unknown as Json, old as unknown as Json);
  if (statusOnly) causes = causes.filter((c) => /^(<nil>$|status(\.|\[|$))/.test(c.field));
  const { hasRules, evaluateRules } = celEngine();
  if (!hasRules(schema)) return causes;
  if (causes.some((cause) => BLOCKING.has(cause.reason))) {
    return [...causes, invalid("<nil>", null, UNCHECKED_TEXT)];
  }
  return [...causes, ...evaluateRules(schema, object as unknown as Json, old as unknown as Json)];
}

/**
 * Defaults as custom resources know them: nulls that may not be go, or get the default; defaults are
 * filled in themselves.
 */
function fillDefaults(schema: Field, value: Json): void {
  if (Array.isArray(value)) {
    const items: Field | undefined = schema.items;
    if (!items) return;
    value.forEach((item, i) => {
      const absent = item === null && !items.nullable && items.default !== undefined;
      if (absent) value[i] = edit(items.default!);
      fillDefaults(items, value[i]);
    });
    return;
  }
  if (!isMap(value)) return;
  for (const name in schema.properties) {
    const fallback = schema.properties[name].default;
    if (fallback !== undefined && value[name] === undefined) setOwn(value, name, edit(fallback));
  }
  for (const name of Object.keys(value)) {
    const field: Field | undefined = schema.properties && Object.hasOwn(schema.properties, name)
      ? schema.properties[name]
      : schema.items;
    if (!field || field.ref) continue;
    if (value[name] === null && !field.nullable) {
      if (field.default === undefined) {
        delete value[name];
        continue;
      }
      value[name] = edit(field.default);
    }
    fillDefaults(field, value[name]);
  }
}
