/**
 * CustomResourceDefinitions themselves: defaults and validation, upstream's rules and wording
 * (apiextensions `validation.go`). Needs the engine: see `engine.ts`.
 */
import type { Cause, DeepReadonly, Json, KubeObject } from "../types.ts";
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
import { type Props, rootSchema, schemaOf } from "./json_schema.ts";
import { openApiErrors } from "./openapi_checks.ts";
import { structuralErrors } from "./structural.ts";
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
  if (!old && crd.metadata.name !== `${spec.names?.plural}.${spec.group}`) {
    const why = 'must be spec.names.plural+"."+spec.group';
    causes.push(invalid("metadata.name", crd.metadata.name, why));
  }
  checkGroup(spec.group ?? "", causes);
  checkScope(spec.scope, causes);
  checkVersions(crd, old, causes);
  checkNames(spec.names ?? {} as CrdNames, causes);
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
  const path = "spec.names";
  for (const key of ["plural", "singular", "kind", "listKind"] as const) {
    if (!names[key]) causes.push(required(`${path}.${key}`, ""));
  }
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
    names[key]?.forEach((name, i) => {
      const messages = isDns1035Label(name);
      if (messages.length) causes.push(invalid(`${path}.${key}[${i}]`, name, nameList(messages)));
    });
  }
  if (names.kind && names.kind === names.listKind) {
    const why = "kind and listKind may not be the same";
    causes.push(invalid(`${path}.listKind`, names.listKind, why));
  }
}

function checkVersions(crd: ReadonlyCrd, old: ReadonlyCrd | undefined, causes: Cause[]): void {
  const versions = crd.spec.versions ?? [];
  const path = "spec.versions";
  versions.forEach((version, i) => {
    const at = `${path}[${i}]`;
    if (!version.schema?.openAPIV3Schema) {
      causes.push(required(`${at}.schema.openAPIV3Schema`, ""));
    }
    const messages = isDns1035Label(version.name ?? "");
    if (messages.length) causes.push(invalid(`${at}.name`, version.name, nameList(messages)));
    checkDeprecation(version, at, causes);
    const before = old?.spec.versions.find((one) => one.name === version.name);
    const unchanged = before !== undefined && sameJson(before.schema, version.schema);
    // A schema that was accepted stays accepted, whatever later rules would say of it.
    if (!unchanged) checkSchema(version, `${at}.schema`, causes);
    checkScale(version, `${at}.subresources`, causes);
    checkColumns(version, `${at}.additionalPrinterColumns`, causes);
    checkSelectable(version, `${at}.selectableFields`, causes);
  });
  const names = versions.map((version) => version.name);
  if (new Set(names).size !== names.length) {
    causes.push(invalid(path, versions, "must contain unique version names"));
  }
  if (versions.filter((version) => version.storage).length !== 1) {
    const why = "must have exactly one version marked as storage version";
    causes.push(invalid(path, versions, why));
  }
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

const ROOT_KEYS = new Set([
  "description",
  "type",
  "format",
  "title",
  "maximum",
  "exclusiveMaximum",
  "minimum",
  "exclusiveMinimum",
  "maxLength",
  "minLength",
  "pattern",
  "maxItems",
  "minItems",
  "uniqueItems",
  "multipleOf",
  "required",
  "items",
  "properties",
  "externalDocs",
  "example",
  "x-kubernetes-preserve-unknown-fields",
  "x-kubernetes-validations",
]);
const ROOT_KEYS_TEXT = "[Description Type Format Title Maximum ExclusiveMaximum Minimum " +
  "ExclusiveMinimum MaxLength MinLength Pattern MaxItems MinItems UniqueItems MultipleOf Required " +
  "Items Properties ExternalDocs Example XPreserveUnknownFields XValidations]";

function checkSchema(version: DeepReadonly<CrdVersion>, at: string, causes: Cause[]): void {
  const props = version.schema?.openAPIV3Schema as Props | undefined;
  if (!props) return;
  const path = `${at}.openAPIV3Schema`;
  const found: Cause[] = [];
  if (version.subresources?.status) {
    for (const key of Object.keys(props)) {
      if (ROOT_KEYS.has(key)) continue;
      const why = `only ${ROOT_KEYS_TEXT} fields are allowed at the root of the schema if the ` +
        "status subresource is enabled";
      found.push(invalid(path, props, why));
      break;
    }
  }
  if (props.nullable) {
    found.push(forbidden(`${path}.nullable`, "nullable cannot be true at the root"));
  }
  const structure = structuralErrors(path, props);
  found.push(...structure);
  if (structure.length === 0) found.push(...defaultErrors(path, props));
  found.push(...openApiErrors(path, props));
  if (found.length === 0) found.push(...celEngine().ruleErrors(path, rootSchema(props)));
  causes.push(...found);
}

/** Defaults must be values that their own schema allows. */
function defaultErrors(path: string, props: Props): Cause[] {
  const causes: Cause[] = [];
  if (props.default !== undefined && props.default !== null) {
    const at = `${path}.default`;
    for (const cause of valueErrors(schemaOf(props), props.default)) {
      const field = cause.field && cause.field !== "<nil>" ? `${at}.${cause.field}` : at;
      causes.push({ ...cause, field });
    }
  }
  for (const name of Object.keys(props.properties ?? {})) {
    causes.push(...defaultErrors(`${path}.properties[${name}]`, props.properties![name]));
  }
  if (isMap(props.items)) causes.push(...defaultErrors(`${path}.items`, props.items as Props));
  if (isMap(props.additionalProperties)) {
    const below = props.additionalProperties as Props;
    causes.push(...defaultErrors(`${path}.additionalProperties`, below));
  }
  return causes;
}

/** A path in dot notation; upstream asks no more of columns and scales. */
function simplePath(text: string, at: string): Cause[] {
  return text.startsWith(".")
    ? []
    : [invalid(at, text, "must be a simple json path starting with .")];
}

function checkScale(version: DeepReadonly<CrdVersion>, path: string, causes: Cause[]): void {
  const scale = version.subresources?.scale;
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

function checkColumns(version: DeepReadonly<CrdVersion>, path: string, causes: Cause[]): void {
  version.additionalPrinterColumns?.forEach((column, i) => {
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

function checkSelectable(version: DeepReadonly<CrdVersion>, path: string, causes: Cause[]): void {
  const seen = new Set<string>();
  version.selectableFields?.forEach((field, i) => {
    const at = `${path}[${i}].jsonPath`;
    const text = field.jsonPath;
    if (!text) {
      causes.push(required(at, ""));
      return;
    }
    const names = text.startsWith(".") ? text.slice(1).split(".") : [];
    let found: Props | undefined = version.schema?.openAPIV3Schema as Props | undefined;
    for (const name of names) found = found?.properties?.[name];
    if (names.length === 0 || names[0] === "" || (!found && names[0] !== "metadata")) {
      const why = `is an invalid path: does not refer to a valid field`;
      causes.push(invalid(at, text, why));
      return;
    }
    if (names[0] === "metadata") {
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
  else if (!versions.some((v) => v === "v1" || v === "v1beta1")) {
    causes.push(invalid(at, versions, "must include at least one of v1, v1beta1"));
  }
}

function checkStoredVersions(crd: ReadonlyCrd, causes: Cause[]): void {
  const stored = crd.status?.storedVersions ?? [];
  const path = "status.storedVersions";
  if (stored.length === 0) {
    causes.push(invalid(path, stored, "must have at least one stored version"));
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

function approvalState(crd: ReadonlyCrd): { state: string; why: string } {
  const text = crd.metadata.annotations?.[APPROVAL_ANNOTATION] ?? "";
  const see = "see https://github.com/kubernetes/enhancements/pull/1111";
  const name = goQuote(APPROVAL_ANNOTATION);
  if (text === "") {
    return {
      state: "missing",
      why: `protected groups must have approval annotation ${name}, ${see}`,
    };
  }
  if (text.startsWith("unapproved")) return { state: "bypassed", why: "" };
  if (/^[a-z][a-z0-9+.-]*:\/\/[^/]/i.test(text) && URL.canParse(text)) {
    return { state: "approved", why: "" };
  }
  const why =
    `protected groups must have approval annotation ${name} with either a URL or a reason ` +
    `starting with "unapproved", ${see}`;
  return { state: "invalid", why };
}

function checkApproval(crd: ReadonlyCrd, old: ReadonlyCrd | undefined, causes: Cause[]): void {
  if (!/(^|\.)(k8s|kubernetes)\.io$/.test(crd.spec.group ?? "")) return;
  const { state, why } = approvalState(crd);
  if (old && approvalState(old).state === state) return;
  const path = `metadata.annotations[${APPROVAL_ANNOTATION}]`;
  if (state === "missing") causes.push(required(path, why));
  else if (state === "invalid") {
    causes.push(invalid(path, crd.metadata.annotations![APPROVAL_ANNOTATION], why));
  }
}
