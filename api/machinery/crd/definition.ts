/**
 * CustomResourceDefinitions themselves: defaults and validation, upstream's rules and wording
 * (apiextensions `validation.go`). Needs the engine: see `engine.ts`.
 */
import type { Cause, DeepReadonly, Field, Json, KubeObject } from "../types.ts";
import {
  duplicate,
  FIELD_IMMUTABLE_TEXT,
  forbidden,
  invalid,
  notSupported,
  required,
  tooMany,
} from "../field_errors.ts";
import { isMap, sameJson } from "../json_value.ts";
import { byteLength, isDns1035Label, isDns1123Subdomain } from "../names.ts";
import { goQuote } from "../go_format.ts";
import { celEngine } from "./engine.ts";
import { formatCheck } from "./formats.ts";
import { fieldsSet, internalSchema, internalVersion } from "./internal_schema.ts";
import { type Props, rootSchema, schemaOf } from "./json_schema.ts";
import { openApiErrors } from "./openapi_checks.ts";
import { structuralErrors, unsupported } from "./structural.ts";
import { valueErrors } from "./values.ts";

/** Fields of one version that selectors may name. */
export const SELECTABLE_FIELDS_MAX = 8;
/** The annotation that groups under k8s.io need. */
export const APPROVAL_ANNOTATION = "api-approved.kubernetes.io";

/** Names as a CRD states and accepts them. */
export interface CrdNames {
  plural: string;
  singular?: string;
  shortNames?: string[];
  kind: string;
  listKind?: string;
  categories?: string[];
}

/** A version of a CRD. */
export interface CrdVersion {
  name: string;
  served: boolean;
  storage: boolean;
  deprecated?: boolean;
  deprecationWarning?: string;
  schema?: { openAPIV3Schema?: Props };
  subresources?: {
    status?: object;
    scale?: { specReplicasPath: string; statusReplicasPath: string; labelSelectorPath?: string };
  };
  additionalPrinterColumns?: {
    name: string;
    type: string;
    format?: string;
    description?: string;
    priority?: number;
    jsonPath: string;
  }[];
  selectableFields?: { jsonPath: string }[];
}

/** A condition of a CRD. */
export interface CrdCondition {
  type: string;
  status: "True" | "False" | "Unknown";
  lastTransitionTime?: string;
  reason?: string;
  message?: string;
  observedGeneration?: number;
}

/** A CustomResourceDefinition. */
export interface Crd extends KubeObject {
  spec: {
    group: string;
    names: CrdNames;
    scope: "Cluster" | "Namespaced";
    versions: CrdVersion[];
    conversion?: { strategy: string; webhook?: Record<string, Json> };
    preserveUnknownFields?: boolean;
  };
  status?: { conditions?: CrdCondition[]; acceptedNames?: CrdNames; storedVersions?: string[] };
}

type ReadonlyCrd = DeepReadonly<Crd>;

/** Fills what upstream's defaulting fills. */
export function defaultDefinition(object: KubeObject): void {
  const { spec } = object as Crd;
  const names = spec?.names;
  if (!names) return;
  if (!names.singular) names.singular = (names.kind ?? "").toLowerCase();
  if (!names.listKind && names.kind) names.listKind = `${names.kind}List`;
  if (!spec.conversion) spec.conversion = { strategy: "None" };
  const service = spec.conversion.webhook?.clientConfig;
  if (isMap(service) && isMap(service.service) && service.service.port === undefined) {
    service.service.port = 443;
  }
}

/** Notes the storage version among those that objects may be stored in. */
export function noteStoredVersion(object: KubeObject): void {
  const crd = object as Crd;
  const storage = crd.spec.versions?.find((version) => version.storage);
  if (!storage) return;
  const status = crd.status ??= {};
  const stored = status.storedVersions ?? [];
  if (!stored.includes(storage.name)) status.storedVersions = [...stored, storage.name];
}

function nameList(messages: string[]): string {
  return messages.join(",");
}

/** Everything wrong with a new definition, or with one that replaces `old`. */
export function definitionErrors(object: DeepReadonly<KubeObject>, old?: ReadonlyCrd): Cause[] {
  const crd = object as ReadonlyCrd;
  const { spec } = crd;
  const causes: Cause[] = [];
  const wanted = `${spec.names?.plural}.${spec.group}`;
  for (const key of ["generateName", "name"] as const) {
    const name = crd.metadata[key];
    if (old || !name || name === wanted) continue;
    const why = 'must be spec.names.plural+"."+spec.group';
    causes.push(invalid(`metadata.${key}`, name, why));
  }
  checkGroup(spec.group ?? "", causes);
  checkScope(spec.scope, causes);
  checkPreserved(spec, causes);
  const shared = sharedOf(spec.versions ?? []);
  checkVersions(crd, old, shared, causes);
  checkNames(spec.names ?? {} as CrdNames, causes);
  checkShared(crd, old, shared, causes);
  checkConversion(spec.conversion, causes);
  if (old) {
    const fixed = (at: string, now: unknown, then: unknown) => {
      if (!sameJson(now, then)) causes.push(invalid(at, now, FIELD_IMMUTABLE_TEXT));
    };
    if (isTrue(old, "Established")) {
      fixed("spec.scope", spec.scope, old.spec.scope);
      fixed("spec.names.kind", spec.names.kind, old.spec.names.kind);
    }
    fixed("spec.group", spec.group, old.spec.group);
    fixed("spec.names.plural", spec.names.plural, old.spec.names.plural);
  }
  checkStoredVersions(crd, causes);
  checkApproval(crd, old, causes);
  if (spec.preserveUnknownFields && !old?.spec.preserveUnknownFields) {
    const why = "cannot set to true, set x-kubernetes-preserve-unknown-fields to true in " +
      "spec.versions[*].schema instead";
    causes.push(invalid("spec.preserveUnknownFields", true, why));
  }
  return causes;
}

/** Whether a condition of a CRD holds. */
export function isTrue(crd: ReadonlyCrd, type: string): boolean {
  return crd.status?.conditions?.some((c) => c.type === type && c.status === "True") ?? false;
}

/**
 * What all versions say alike. Upstream keeps that once, and its errors name it there: `spec.validation`
 * rather than `spec.versions[0].schema`.
 */
type Shared = Pick<
  DeepReadonly<CrdVersion>,
  "schema" | "subresources" | "additionalPrinterColumns" | "selectableFields"
>;

const SHARED_KEYS = [
  "schema",
  "subresources",
  "additionalPrinterColumns",
  "selectableFields",
] as const;

function sharedOf(versions: readonly DeepReadonly<CrdVersion>[]): Shared {
  const [first, ...others] = versions;
  const shared: Record<string, unknown> = {};
  if (!first) return shared;
  for (const key of SHARED_KEYS) {
    if (others.every((version) => sameJson(version[key], first[key]))) shared[key] = first[key];
  }
  return shared as Shared;
}

/** Whether a version's schema is what it was before. */
function isSchemaKept(version: DeepReadonly<CrdVersion>, old: ReadonlyCrd | undefined): boolean {
  const before = old?.spec.versions.find((one) => one.name === version.name);
  return before !== undefined && sameJson(before.schema, version.schema);
}

function checkShared(
  crd: ReadonlyCrd,
  old: ReadonlyCrd | undefined,
  shared: Shared,
  causes: Cause[],
): void {
  const { versions } = crd.spec;
  if (!versions?.length) return;
  if (shared.schema && !versions.every((version) => isSchemaKept(version, old))) {
    const status = versions.some((version) => version.subresources?.status);
    checkSchema(shared.schema, status, "spec.validation", causes);
  }
  checkScale(shared.subresources, "spec.subresources", causes);
  checkColumns(shared.additionalPrinterColumns, "spec.additionalPrinterColumns", causes);
  const at = "spec.selectableFields";
  if (shared.selectableFields?.length && !shared.schema) {
    causes.push(invalid(at, "", "may only be set when validations.schema is included"));
  } else checkSelectable(shared.selectableFields, shared.schema, at, causes);
}

/** What cannot go with fields that no schema knows. */
function checkPreserved(spec: ReadonlyCrd["spec"], causes: Cause[]): void {
  if (!spec.preserveUnknownFields) return;
  const hasDefaults = (props: unknown): boolean =>
    isMap(props) && (props.default !== undefined || isMap(props.properties) &&
        Object.values(props.properties).some(hasDefaults) ||
      hasDefaults(props.items) || hasDefaults(props.additionalProperties));
  if (spec.versions?.some((version) => hasDefaults(version.schema?.openAPIV3Schema))) {
    const why = "must be false in order to use defaults in the schema";
    causes.push(invalid("spec.preserveUnknownFields", true, why));
  }
  const strategy = spec.conversion?.strategy;
  if (strategy !== undefined && strategy !== "None") {
    const why = "must be None if spec.preserveUnknownFields is true";
    causes.push(invalid("spec.conversion.strategy", strategy, why));
  }
}

function checkGroup(group: string, causes: Cause[]): void {
  const path = "spec.group";
  if (group === "") {
    causes.push(required(path, ""));
    return;
  }
  const messages = isDns1123Subdomain(group);
  if (messages.length) causes.push(invalid(path, group, nameList(messages)));
  else if (!group.includes(".")) {
    causes.push(invalid(path, group, "should be a domain with at least one dot"));
  }
}

function checkScope(scope: string | undefined, causes: Cause[]): void {
  if (!scope) causes.push(required("spec.scope", ""));
  else if (scope !== "Cluster" && scope !== "Namespaced") {
    causes.push(notSupported("spec.scope", scope, ["Cluster", "Namespaced"]));
  }
}

function checkNames(names: DeepReadonly<CrdNames>, causes: Cause[]): void {
  for (const key of ["plural", "singular", "kind", "listKind"] as const) {
    if (!names[key]) causes.push(required(`spec.names.${key}`, ""));
  }
  checkNameForms(names, "spec.names", causes);
}

function checkNameForms(names: DeepReadonly<CrdNames>, path: string, causes: Cause[]): void {
  for (const key of ["plural", "singular"] as const) {
    const value = names[key];
    const messages = value ? isDns1035Label(value) : [];
    if (messages.length) causes.push(invalid(`${path}.${key}`, value, nameList(messages)));
  }
  for (const key of ["kind", "listKind"] as const) {
    const value = names[key];
    const messages = value ? isDns1035Label(value.toLowerCase()) : [];
    if (!messages.length) continue;
    const why = `may have mixed case, but should otherwise match: ${nameList(messages)}`;
    causes.push(invalid(`${path}.${key}`, value, why));
  }
  for (const key of ["shortNames", "categories"] as const) {
    if (key === "categories" && names.kind && names.kind === names.listKind) {
      const why = "kind and listKind may not be the same";
      causes.push(invalid(`${path}.listKind`, names.listKind, why));
    }
    names[key]?.forEach((name, i) => {
      const messages = isDns1035Label(name);
      if (messages.length) causes.push(invalid(`${path}.${key}[${i}]`, name, nameList(messages)));
    });
  }
}

/** Everything wrong with a definition's status, which whoever accepts its names writes. */
export function definitionStatusErrors(object: DeepReadonly<KubeObject>): Cause[] {
  const causes: Cause[] = [];
  const names = (object as ReadonlyCrd).status?.acceptedNames;
  if (names) checkNameForms(names, "status.acceptedNames", causes);
  return causes;
}

/** Formats that nothing checks, as warnings; those that were there before are known already. */
export function formatWarnings(
  object: DeepReadonly<KubeObject>,
  old?: DeepReadonly<KubeObject>,
): string[] {
  const before = new Set(old ? unknownFormats(old as ReadonlyCrd) : []);
  const found = new Set(unknownFormats(object as ReadonlyCrd));
  return [...found].filter((name) => !before.has(name))
    .map((name) => `unrecognized format ${goQuote(name)}`);
}

/** Formats of numbers; those of texts have checks. */
const NUMBER_FORMATS: Readonly<Record<string, readonly string[]>> = {
  integer: ["int32", "int64"],
  number: ["float", "double"],
};

function unknownFormats({ spec }: ReadonlyCrd): string[] {
  const found: string[] = [];
  const visit = (props: unknown): void => {
    if (!isMap(props)) return;
    const { type = "", format } = props as Props;
    if (format) {
      const known = type === "" || type === "string"
        ? formatCheck(format) !== undefined
        : NUMBER_FORMATS[type]?.includes(format);
      if (!known) found.push(format);
    }
    for (const key of ["items", "additionalProperties", "not"]) visit(props[key]);
    for (const key of ["items", "allOf", "oneOf", "anyOf"]) {
      if (Array.isArray(props[key])) props[key].forEach(visit);
    }
    if (isMap(props.properties)) Object.values(props.properties).forEach(visit);
  };
  for (const version of spec?.versions ?? []) visit(version.schema?.openAPIV3Schema);
  return found;
}

function checkVersions(
  crd: ReadonlyCrd,
  old: ReadonlyCrd | undefined,
  shared: Shared,
  causes: Cause[],
): void {
  const versions = crd.spec.versions ?? [];
  const path = "spec.versions";
  versions.forEach((version, i) => {
    if (version.schema?.openAPIV3Schema) return;
    causes.push(required(`${path}[${i}].schema.openAPIV3Schema`, ""));
  });
  versions.forEach((version, i) => {
    const at = `${path}[${i}]`;
    const messages = isDns1035Label(version.name ?? "");
    if (messages.length) causes.push(invalid(`${at}.name`, version.name, nameList(messages)));
    checkDeprecation(version, at, causes);
    // A schema that was accepted stays accepted, whatever later rules would say of it.
    if (version.schema && !shared.schema && !isSchemaKept(version, old)) {
      const status = version.subresources?.status !== undefined;
      checkSchema(version.schema, status, `${at}.schema`, causes);
    }
    if (!shared.subresources) checkScale(version.subresources, `${at}.subresources`, causes);
    if (!shared.additionalPrinterColumns) {
      const below = `${at}.additionalPrinterColumns`;
      checkColumns(version.additionalPrinterColumns, below, causes);
    }
    if (shared.selectableFields) return;
    // Upstream looks into the version's own schema only, which it lacks where all have the same.
    const schema = shared.schema ? undefined : version.schema;
    const below = `${at}.selectableFields`;
    if (version.selectableFields?.length && !schema?.openAPIV3Schema) {
      const why = "may only be set when `version.schema.openAPIV3Schema` is not included";
      causes.push(invalid(below, "", why));
    } else checkSelectable(version.selectableFields, schema, below, causes);
  });
  const names = versions.map((version) => version.name);
  const shown = crd.spec.versions?.map((version) => internalVersion(version, shared)) ?? null;
  if (new Set(names).size !== names.length) {
    causes.push(invalid(path, shown, "must contain unique version names"));
  }
  if (versions.filter((version) => version.storage).length !== 1) {
    const why = "must have exactly one version marked as storage version";
    causes.push(invalid(path, shown, why));
  }
  const first = versions[0]?.name;
  const messages = first ? isDns1035Label(first) : [];
  if (messages.length) causes.push(invalid("spec.version", first, nameList(messages)));
}

function checkDeprecation(version: DeepReadonly<CrdVersion>, at: string, causes: Cause[]): void {
  const text = version.deprecationWarning;
  if (text === undefined) return;
  const bad = (why: string) => causes.push(invalid(`${at}.deprecationWarning`, text, why));
  if (!version.deprecated) return void bad("can only be set for deprecated versions");
  if (byteLength(text) > 256) bad("must be <= 256 characters long");
  if (text === "") bad("must not be an empty string");
  const index = text.search(/(?! )[\p{C}\p{Z}]/u);
  if (index >= 0) {
    bad(
      "must only contain printable UTF-8 characters; non-printable character found at index " +
        index,
    );
  }
}

const ROOT_KEYS_TEXT = "[Description Type Format Title Maximum ExclusiveMaximum Minimum " +
  "ExclusiveMinimum MaxLength MinLength Pattern MaxItems MinItems UniqueItems MultipleOf Required " +
  "Items Properties ExternalDocs Example XPreserveUnknownFields XValidations]";

const ROOT_KEYS = new Set(ROOT_KEYS_TEXT.slice(1, -1).split(" "));

/** With a status of its own, a schema's root is an object with little else: the status is taken out of it. */
function rootError(props: Props, path: string): Cause | undefined {
  for (const name of fieldsSet(props)) {
    if (name === "Type" && props.type !== "object") {
      const why = 'only "object" is allowed as the type at the root of the schema if the status ' +
        "subresource is enabled";
      return invalid(`${path}.type`, props.type, why);
    }
    if (ROOT_KEYS.has(name)) continue;
    const why = `only ${ROOT_KEYS_TEXT} fields are allowed at the root of the schema if the ` +
      "status subresource is enabled";
    return invalid(path, internalSchema(props), why);
  }
}

function checkSchema(
  schema: NonNullable<Shared["schema"]>,
  status: boolean,
  at: string,
  causes: Cause[],
): void {
  const props = schema.openAPIV3Schema as Props | undefined;
  if (!props) return;
  const path = `${at}.openAPIV3Schema`;
  const found: Cause[] = [];
  const root = status ? rootError(props, path) : undefined;
  if (root) found.push(root);
  if (props.nullable) {
    found.push(forbidden(`${path}.nullable`, "nullable cannot be true at the root"));
  }
  const why = unsupported(props);
  if (why === undefined) {
    const structure = structuralErrors(path, props);
    found.push(...structure);
    if (structure.length === 0) found.push(...defaultErrors(path, props));
  }
  found.push(...openApiErrors(path, props));
  if (why !== undefined && found.length === 0) found.push(invalid(path, "", why));
  if (found.length === 0) found.push(...celEngine().ruleErrors(path, rootSchema(props)));
  causes.push(...found);
}

/** Defaults must be values that their own schema allows. (Below additionalProperties none may be.) */
function defaultErrors(path: string, props: Props): Cause[] {
  const causes: Cause[] = [];
  const value = props.default;
  if (value !== undefined && value !== null) {
    const at = `${path}.default`;
    const schema = schemaOf(props);
    if (!isPruned(schema, value)) causes.push(invalid(at, value, "must not have unknown fields"));
    const found = valueErrors(schema, value);
    const { evaluateRules, hasRules } = celEngine();
    if (found.length === 0 && hasRules(schema)) found.push(...evaluateRules(schema, value));
    for (const cause of found) {
      // What is unique in lists is a matter of objects.
      if (cause.reason === "FieldValueDuplicate") continue;
      const field = cause.field && cause.field !== "<nil>" ? `${at}.${cause.field}` : at;
      causes.push({ ...cause, field });
    }
  }
  for (const name of Object.keys(props.properties ?? {})) {
    causes.push(...defaultErrors(`${path}.properties[${name}]`, props.properties![name]));
  }
  if (isMap(props.items)) causes.push(...defaultErrors(`${path}.items`, props.items as Props));
  return causes;
}

/** Whether a value holds nothing that its schema does not know. */
function isPruned(schema: Field | undefined, value: Json): boolean {
  if (Array.isArray(value)) return value.every((item) => isPruned(schema?.items, item));
  if (!isMap(value)) return true;
  return Object.keys(value).every((name) => {
    if (schema?.embedded && ["apiVersion", "kind", "metadata"].includes(name)) return true;
    const field = schema?.properties?.[name] ?? schema?.items;
    if (!field) return schema?.preserveUnknown ?? false;
    return isPruned(field, value[name]);
  });
}

/** A path in dot notation; upstream asks no more of columns and scales. */
function simplePath(text: string, at: string): Cause[] {
  return text.startsWith(".")
    ? []
    : [invalid(at, text, "must be a simple json path starting with .")];
}

function checkScale(subresources: Shared["subresources"], path: string, causes: Cause[]): void {
  const scale = subresources?.scale;
  if (!scale) return;
  for (
    const [key, under] of [["specReplicasPath", ".spec."], [
      "statusReplicasPath",
      ".status.",
    ]] as const
  ) {
    const at = `${path}.scale.${key}`;
    const value = scale[key];
    if (!value) causes.push(required(at, ""));
    else {
      const bad = simplePath(value, at);
      if (bad.length) causes.push(...bad);
      else if (!value.startsWith(under)) {
        const why = `should be a json path under ${under.slice(0, -1)}`;
        causes.push(invalid(at, value, why));
      }
    }
  }
  const selector = scale.labelSelectorPath;
  if (!selector) return;
  const at = `${path}.scale.labelSelectorPath`;
  const bad = simplePath(selector, at);
  if (bad.length) causes.push(...bad);
  else if (!selector.startsWith(".spec.") && !selector.startsWith(".status.")) {
    causes.push(invalid(at, selector, "should be a json path under either .spec or .status"));
  }
}

const COLUMN_TYPES = ["boolean", "date", "integer", "number", "string"];
const COLUMN_FORMATS = [
  "byte",
  "date",
  "date-time",
  "double",
  "float",
  "int32",
  "int64",
  "password",
];

function checkColumns(
  columns: Shared["additionalPrinterColumns"],
  path: string,
  causes: Cause[],
): void {
  columns?.forEach((column, i) => {
    const at = `${path}[${i}]`;
    if (!column.name) causes.push(required(`${at}.name`, ""));
    const types = `must be one of ${COLUMN_TYPES.join(",")}`;
    if (!column.type) causes.push(required(`${at}.type`, types));
    else if (!COLUMN_TYPES.includes(column.type)) {
      causes.push(invalid(`${at}.type`, column.type, types));
    }
    if (column.format && !COLUMN_FORMATS.includes(column.format)) {
      const why = `must be one of ${COLUMN_FORMATS.join(",")}`;
      causes.push(invalid(`${at}.format`, column.format, why));
    }
    if (!column.jsonPath) causes.push(required(`${at}.JSONPath`, ""));
    else causes.push(...simplePath(column.jsonPath, `${at}.JSONPath`));
  });
}

/** The schema that a path leads to, or why it leads nowhere. */
function fieldAt(props: Props | undefined, path: string): { found?: Props; why?: string } {
  const tokens = path.match(/[.[\]]|[^.[\]]+/g) ?? [];
  let found = props;
  for (let i = 0; i < tokens.length; i++) {
    if (tokens[i] === "[") return { why: "array notation is not allowed" };
    if (tokens[i] !== ".") return { why: `expected [ or . but got: ${tokens[i]}` };
    const name = tokens[++i] ?? "";
    const below = found?.properties ? found.properties[name] : found?.additionalProperties;
    if (!isMap(below)) return { why: "does not refer to a valid field" };
    found = below as Props;
  }
  return { found };
}

function checkSelectable(
  fields: Shared["selectableFields"],
  schema: Shared["schema"],
  path: string,
  causes: Cause[],
): void {
  const seen = new Set<string>();
  fields?.forEach((field, i) => {
    const at = `${path}[${i}].jsonPath`;
    const text = field.jsonPath;
    if (!text) {
      causes.push(required(at, ""));
      return;
    }
    const { found, why } = fieldAt(schema?.openAPIV3Schema as Props | undefined, text);
    if (why !== undefined) {
      causes.push(invalid(at, text, `is an invalid path: ${why}`));
      return;
    }
    if (/^\.metadata(\.|$)/.test(text)) {
      causes.push(invalid(at, text, "must not point to fields in metadata"));
    }
    if (!["string", "boolean", "integer"].includes(found?.type ?? "")) {
      const why = "must point to a field of type string, boolean or integer. Enum string fields " +
        "and strings with formats are allowed.";
      causes.push(invalid(at, text, why));
    }
    if (seen.has(text)) causes.push(duplicate(at, text));
    seen.add(text);
  });
  if (seen.size > SELECTABLE_FIELDS_MAX) {
    causes.push(tooMany(path, seen.size, SELECTABLE_FIELDS_MAX));
  }
}

function checkConversion(
  conversion: DeepReadonly<Crd["spec"]["conversion"]>,
  causes: Cause[],
): void {
  if (!conversion) return;
  const path = "spec.conversion";
  const { strategy } = conversion;
  if (!strategy) causes.push(required(`${path}.strategy`, ""));
  else if (strategy !== "None" && strategy !== "Webhook") {
    causes.push(notSupported(`${path}.strategy`, strategy, ["None", "Webhook"]));
  }
  const webhook = conversion.webhook;
  if (strategy !== "Webhook") {
    if (webhook?.clientConfig) {
      const why = "should not be set when strategy is not set to Webhook";
      causes.push(forbidden(`${path}.webhookClientConfig`, why));
    }
    if ((webhook?.conversionReviewVersions as unknown[] | undefined)?.length) {
      const why = "should not be set when strategy is not set to Webhook";
      causes.push(forbidden(`${path}.conversionReviewVersions`, why));
    }
    return;
  }
  const config = webhook?.clientConfig as Record<string, Json> | undefined;
  if (!config) {
    const why = "required when strategy is set to Webhook";
    causes.push(required(`${path}.webhookClientConfig`, why));
  } else if ((config.url === undefined) === (config.service === undefined)) {
    const why = "exactly one of url or service is required";
    causes.push(required(`${path}.webhookClientConfig`, why));
  }
  const versions = (webhook?.conversionReviewVersions ?? []) as string[];
  const at = `${path}.conversionReviewVersions`;
  if (!versions.length) causes.push(required(at, ""));
  versions.forEach((version, i) => {
    if (versions.indexOf(version) < i) {
      causes.push(invalid(`${at}[${i}]`, version, "duplicate version"));
      return;
    }
    for (const message of isDns1035Label(version)) {
      causes.push(invalid(`${at}[${i}]`, version, message));
    }
  });
  if (versions.length && !versions.some((v) => v === "v1" || v === "v1beta1")) {
    causes.push(invalid(at, versions, "must include at least one of v1, v1beta1"));
  }
}

function checkStoredVersions(crd: ReadonlyCrd, causes: Cause[]): void {
  const stored = crd.status?.storedVersions ?? [];
  const path = "status.storedVersions";
  if (stored.length === 0) {
    const shown = crd.status?.storedVersions ?? null;
    causes.push(invalid(path, shown, "must have at least one stored version"));
    return;
  }
  const versions = crd.spec.versions ?? [];
  const storage = versions.find((version) => version.storage);
  if (storage && !stored.includes(storage.name)) {
    causes.push(invalid(path, stored, `must have the storage version ${storage.name}`));
  }
  stored.forEach((name, i) => {
    if (versions.some((version) => version.name === name)) return;
    const why = `missing from spec.versions; ${name} was previously a storage version, and must ` +
      "remain in spec.versions until a storage migration ensures no data remains persisted in " +
      `${name} and removes ${name} from status.storedVersions`;
    causes.push(invalid(`${path}[${i}]`, name, why));
  });
}

/** Whether a group is Kubernetes' own, where versions need somebody's approval. */
export function isProtected(group: string | undefined): boolean {
  return /(^|\.)(k8s|kubernetes)\.io$/.test(group ?? "");
}

/** What a definition's annotation says of its approval. */
export function approvalState(
  crd: ReadonlyCrd,
): { state: "Missing" | "Unapproved" | "Approved" | "Invalid"; why: string } {
  const text = crd.metadata.annotations?.[APPROVAL_ANNOTATION] ?? "";
  const see = "see https://github.com/kubernetes/enhancements/pull/1111";
  const name = goQuote(APPROVAL_ANNOTATION);
  if (text === "") {
    return {
      state: "Missing",
      why: `protected groups must have approval annotation ${name}, ${see}`,
    };
  }
  if (text.startsWith("unapproved")) {
    return { state: "Unapproved", why: `not approved: ${goQuote(text)}` };
  }
  if (/^[a-z][a-z0-9+.-]*:\/\/[^/]/i.test(text) && URL.canParse(text)) {
    return { state: "Approved", why: `approved in ${text}` };
  }
  const why =
    `protected groups must have approval annotation ${name} with either a URL or a reason ` +
    `starting with "unapproved", ${see}`;
  return { state: "Invalid", why };
}

function checkApproval(crd: ReadonlyCrd, old: ReadonlyCrd | undefined, causes: Cause[]): void {
  if (!isProtected(crd.spec.group)) return;
  const { state, why } = approvalState(crd);
  if (old && approvalState(old).state === state) return;
  const path = `metadata.annotations[${APPROVAL_ANNOTATION}]`;
  if (state === "Missing") causes.push(required(path, why));
  else if (state === "Invalid") {
    causes.push(invalid(path, crd.metadata.annotations![APPROVAL_ANNOTATION], why));
  }
}
