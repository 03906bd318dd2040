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
  ScalePaths,
  SchemaSet,
  Subresource,
} from "../types.ts";
import { applyDefaults } from "../defaults.ts";
import { edit, setOwn } from "../edit.ts";
import { invalid } from "../field_errors.ts";
import { goQuote } from "../go_format.ts";
import { isMap } from "../json_value.ts";
import { isQualifiedName } from "../names.ts";
import { prune } from "../schema.ts";
import type { Crd, CrdVersion } from "./definition.ts";
import { celEngine, loadCrdEngine } from "./engine.ts";
import { rootSchema } from "./json_schema.ts";
import { type Searched, settling } from "./regexp.ts";
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

/** Converts objects, none of which is in `apiVersion` already, all in one call. */
export type ConvertObjects = (
  objects: readonly DeepReadonly<KubeObject>[],
  apiVersion: string,
) => Promise<KubeObject[]>;

/**
 * The rows of a CRD's served versions. `base` is the set of the built-in schemas (for ObjectMeta); `webhook` converts
 * where the definition says so. Loads what custom resources need.
 */
export async function customKinds(
  crd: DeepReadonly<Crd>,
  base: SchemaSet,
  webhook?: ConvertObjects,
): Promise<Kind[]> {
  await loadCrdEngine();
  const definition = edit<Crd>(crd);
  const kinds = definition.spec.versions.map((version) => customKind(definition, version, base));
  const { group, versions } = definition.spec;
  if (versions.length > 1) {
    const rows = new Map(kinds.map((kind) => [`${group}/${kind.version}`, kind]));
    const stored = `${group}/${versions.find((one) => one.storage)!.name}`;
    for (const kind of kinds) kind.storage = storageOf(kind, { rows, stored, webhook });
  }
  return kinds.filter((_, i) => versions[i].served);
}

/** How a version's objects come from and go to storage: by a webhook, or by their name, pruned. */
function storageOf(
  kind: Kind,
  { rows, stored, webhook }: {
    rows: ReadonlyMap<string, Kind>;
    stored: string;
    webhook?: ConvertObjects;
  },
): Kind["storage"] {
  const served = `${kind.group}/${kind.version}`;
  const as = (apiVersion: string, object: DeepReadonly<KubeObject>) => {
    const { schemas, schema } = rows.get(apiVersion) ?? kind;
    return { ...prune(schemas, schema, object) as unknown as KubeObject, apiVersion };
  };
  const read = (object: DeepReadonly<KubeObject>) =>
    withDefaults(rows.get(object.apiVersion), object);
  const ask: ConvertObjects | undefined = webhook &&
    ((objects, apiVersion) => webhook(objects.map(read), apiVersion));
  return {
    version: stored,
    toStorage: (object) => stored === served ? object : as(stored, object),
    fromStorage: (object) => as(served, read(object)),
    convert: ask && ((objects, apiVersion) => converted(ask, objects, apiVersion, as)),
  };
}

/** What is read has the defaults of the version that it is stored in, whichever version shows it. */
function withDefaults(
  row: Kind | undefined,
  object: DeepReadonly<KubeObject>,
): DeepReadonly<KubeObject> {
  if (!row?.readDefaults) return object;
  const copy = edit<KubeObject>(object);
  applyDefaults(row.schemas, row.schema, copy);
  return copy;
}

/** Sends what is not in the version yet; the rest stays as it is. */
async function converted(
  webhook: ConvertObjects,
  objects: readonly DeepReadonly<KubeObject>[],
  apiVersion: string,
  as: (apiVersion: string, object: DeepReadonly<KubeObject>) => KubeObject,
): Promise<KubeObject[]> {
  const others = objects.filter((object) => object.apiVersion !== apiVersion);
  const made = others.length ? await webhook(others, apiVersion) : [];
  let next = 0;
  return objects.map((object) =>
    object.apiVersion === apiVersion ? edit<KubeObject>(object) : as(apiVersion, made[next++])
  );
}

/** Where a version keeps what its Scale shows, as field names; undefined without scale. */
function scalePathsOf(version: DeepReadonly<CrdVersion>): ScalePaths | undefined {
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
  const scale = scalePathsOf(version);
  if (scale) kind.scale = scale;
  const fields = fieldsOf(version);
  if (fields) kind.fields = fields;
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
      const value = valueAt(object, names);
      return value === undefined || value === null ? "" : String(value);
    };
  }
  return fields;
}

function valueAt(object: unknown, names: readonly string[]): unknown {
  let at = object;
  for (const name of names) at = isMap(at) && Object.hasOwn(at, name) ? at[name] : undefined;
  return at;
}

function hooksOf(version: CrdVersion, schema: Field): KindHooks {
  const status = version.subresources?.status !== undefined;
  const scale = scalePathsOf(version);
  const hooks: KindHooks = {
    defaults: (object) => fillDefaults(schema, object as unknown as Json),
    validate: (object) => [...objectErrors(schema, object), ...scaleErrors(scale, object)],
    validateUpdate(object, old, context) {
      const statusOnly = status && context.subresource === "status";
      return [
        ...objectErrors(schema, object, old, statusOnly),
        ...scaleErrors(scale, object, statusOnly),
      ];
    },
  };
  hooks.warnings = finalizerWarnings;
  const { hasRules, judgeRules } = celEngine();
  if (hasRules(schema)) {
    hooks.judge = async (object, old, { causes, ...how }) => {
      if (causes.some((cause) => cause.message.endsWith(UNCHECKED_TEXT))) return [];
      const json = (one: DeepReadonly<KubeObject>) => one as unknown as Json;
      return await judgeRules(schema, { value: json(object), old: old && json(old), ...how });
    };
  }
  return hooks;
}

const STANDARD_FINALIZERS = ["orphan", "foregroundDeletion", "kubernetes"];

/** What is to be said of finalizers that are new: several writers could take one name. */
function finalizerWarnings(
  object: DeepReadonly<KubeObject>,
  old?: DeepReadonly<KubeObject>,
): string[] {
  const { finalizers = [] } = object.metadata;
  if (finalizers.length === 0) return [];
  const before = old?.metadata.finalizers ?? [];
  const added = [...new Set(finalizers)].filter((one) => !before.includes(one)).sort();
  return added.flatMap((one) => {
    const problems = isQualifiedName(one);
    if (!one.includes("/") && !STANDARD_FINALIZERS.includes(one)) {
      const path = one.includes(".") ? " including a path (/)" : "";
      problems.push(
        `prefer a domain-qualified finalizer name${path} to avoid accidental conflicts with other finalizer writers`,
      );
    }
    return problems.map((problem) => `metadata.finalizers: ${goQuote(one)}: ${problem}`);
  });
}

/** What a Scale could not show: numbers of replicas that are none. */
function scaleErrors(
  paths: ScalePaths | undefined,
  object: DeepReadonly<KubeObject>,
  statusOnly = false,
): Cause[] {
  if (!paths) return [];
  return (statusOnly ? [paths.status] : [paths.spec, paths.status]).flatMap((path) => {
    const value = valueAt(object, path);
    if (typeof value !== "number" || (value >= 0 && value <= REPLICAS_MAX)) return [];
    const why = value < 0
      ? "should be a non-negative integer"
      : `should be less than or equal to ${REPLICAS_MAX}`;
    return [invalid(`.${path.join(".")}`, value, why)];
  });
}

/** What a Scale has room for. */
const REPLICAS_MAX = 2 ** 31 - 1;

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

/** What long searches came to, by the object that is judged. */
const searches = new WeakMap<object, Searched>();

/** What is wrong with a custom object's values, and whether that keeps its rules from being judged. */
function objectErrors(
  schema: Field,
  object: DeepReadonly<KubeObject>,
  old?: DeepReadonly<KubeObject>,
  statusOnly = false,
): Cause[] {
  const known = searches.get(object) ?? new Map();
  searches.set(object, known);
  let causes = settling(
    known,
    () => valueErrors(schema, object as unknown as Json, old as unknown as Json),
  );
  if (statusOnly) causes = causes.filter((c) => /^(<nil>$|status(\.|\[|$))/.test(c.field));
  const blocked = celEngine().hasRules(schema) && causes.some((one) => BLOCKING.has(one.reason));
  return blocked ? [...causes, invalid("<nil>", null, UNCHECKED_TEXT)] : causes;
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
