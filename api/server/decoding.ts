/**
 * From a parsed body to an object of a kind: the schema's walk, then defaults. Under Strict what the schema
 * does not know is refused, under Warn it becomes warnings.
 */
import { schemas } from "../kinds/schemas.ts";
import { applyDefaults } from "../machinery/defaults.ts";
import { edit, without } from "../machinery/edit.ts";
import { badRequest, invalid } from "../machinery/errors.ts";
import { cannotHandle, decode, DecodeError, type FieldValidation } from "../machinery/schema.ts";
import type { ApiError, DeepReadonly, Kind, KubeObject } from "../machinery/types.ts";
import { apiVersionOf } from "./codec.ts";
import { type Deps, keyFor, storeOf } from "./deps.ts";
import type { ApiRequest } from "./request.ts";

/** What a request that does not say gets. */
const FIELD_VALIDATION_DEFAULT: FieldValidation = "Warn";

/** Fills defaults: those the schema declares, then those the kind's rules know. In place. */
export function fillDefaults(kind: Kind, object: KubeObject): void {
  applyDefaults(kind.schemas, kind.schema, object);
  kind.hooks.defaults?.(object);
}

/** Decodes a value as an object of `kind`, with defaults; a private copy. */
export function decodeValue(
  request: ApiRequest,
  kind: Kind,
  value: unknown,
  duplicates: readonly string[] = [],
): KubeObject {
  checkType(kind, value);
  if (kind.custom && request.verb === "create") checkKind(kind, value as Partial<KubeObject>);
  const mode = request.params.fieldValidation ?? FIELD_VALIDATION_DEFAULT;
  const { object, warnings } = decode(kind, value, mode, duplicates);
  if (warnings.length) request.warnings.push(...warnings);
  object.metadata ??= {} as KubeObject["metadata"];
  // An empty list is no list to the decoder; here it is a wish: that nobody owns anything any more. (Upstream hears
  // it of its own kinds only.)
  const { managedFields } = (value as Partial<KubeObject> | undefined)?.metadata ?? {};
  if (!kind.custom && Array.isArray(managedFields) && managedFields.length === 0) {
    object.metadata.managedFields = [];
  }
  singleOwners(request, object);
  fillDefaults(kind, object);
  return object;
}

/** An owner that is named twice counts once, and its client hears of it. */
function singleOwners(request: ApiRequest, { metadata }: KubeObject): void {
  const owners = metadata.ownerReferences;
  if (!owners || owners.length < 2) return;
  const seen = new Set<string>();
  const twice = new Set<string>();
  const kept = owners.filter((owner) => {
    const { apiVersion, kind, name, uid, controller, blockOwnerDeletion } = owner;
    const key = JSON.stringify([apiVersion, kind, name, uid, controller, blockOwnerDeletion]);
    if (seen.has(key)) twice.add(uid);
    return !seen.has(key) && seen.add(key);
  });
  if (twice.size === 0) return;
  metadata.ownerReferences = kept;
  request.warnings.push(
    ".metadata.ownerReferences contains duplicate entries; API server dedups owner references in " +
      "1.20+, and may reject such requests as early as 1.24; please fix your requests; duplicate " +
      `UID(s) observed: ${[...twice].join(", ")}`,
  );
}

/** Decodes a request's body. */
export function decodeBody(deps: Deps, request: ApiRequest): { object: KubeObject } {
  const { body, kind } = request;
  if (!body) throw badRequest("the body of the request is empty");
  if (!body.shared || request.subresource !== "status") {
    return { object: decodeValue(request, kind, body.value, body.duplicates) };
  }
  const stored = storeOf(deps, kind).view().get(keyFor(kind, request.namespace, request.name));
  return { object: decodeStatus(request, kind, body.value, stored?.value) };
}

/** Decodes an object of which only the status is to be written; what it shares with the stored one is left as it is. */
export function decodeStatus(
  request: ApiRequest,
  kind: Kind,
  value: unknown,
  stored: DeepReadonly<KubeObject> | undefined,
  duplicates?: readonly string[],
): KubeObject {
  const same = stored && standingParts(kind, value as KubeObject, stored);
  if (!same) return decodeValue(request, kind, value, duplicates);
  const object = decodeValue(request, kind, same.rest, duplicates);
  const sent = value as KubeObject;
  const { managedFields, parts } = same;
  if (same.metadata) object.metadata = ownMetadata(same.metadata);
  else if (managedFields) {
    object.metadata = inOrderOf(sent.metadata, { ...object.metadata, managedFields });
  }
  const whole = inOrderOf(sent, { ...object, ...parts });
  kind.hooks.statusDefaults?.(whole);
  return whole;
}

/** A private copy of a stored object's metadata, but for the managedFields. */
function ownMetadata(metadata: KubeObject["metadata"]): KubeObject["metadata"] {
  const out: Record<string, unknown> = { ...metadata };
  for (const key in out) {
    if (key !== "managedFields" && typeof out[key] === "object") out[key] = edit(out[key]);
  }
  return out as unknown as KubeObject["metadata"];
}

/** An object with its fields in the order of another; those that this one lacks come last. */
function inOrderOf<T extends object>(other: T, object: T): T {
  const out: Partial<T> = {};
  for (const key in other) if (object[key] !== undefined) out[key] = object[key];
  for (const key in object) if (!(key in out)) out[key] = object[key];
  return out as T;
}

interface Standing {
  /** Fields of the body that are the stored object's very own. */
  parts: Record<string, unknown>;
  /** The metadata, if it is the stored object's very own. */
  metadata?: KubeObject["metadata"];
  managedFields?: KubeObject["metadata"]["managedFields"];
  rest: Record<string, unknown>;
}

/**
 * A controller that writes a status sends the object that it read, with another status, and a patch of a status leaves
 * the rest alone: what is shared with the stored object was decoded when that was, and a write of the status changes
 * none of it. So it is left as it is, and frozen.
 */
function standingParts(
  kind: Kind,
  value: DeepReadonly<KubeObject>,
  stored: DeepReadonly<KubeObject>,
): Standing | undefined {
  if (kind.custom || kind.storage || kind.readDefaults) return undefined;
  if (typeof value !== "object" || value === null) return undefined;
  const parts: Record<string, unknown> = {};
  const rest: Record<string, unknown> = {};
  const metadata = value.metadata as KubeObject["metadata"] | undefined;
  const asItIs = metadata !== undefined && metadata === stored.metadata as unknown;
  for (const key in value) {
    if (key === "metadata" && asItIs) continue;
    const one = value[key];
    const stands = typeof one === "object" && one !== null && one === stored[key];
    if (stands && key !== "metadata" && key !== "status") parts[key] = one;
    else rest[key] = one;
  }
  if (asItIs) return { parts, rest, metadata };
  const managedFields = metadata?.managedFields;
  if (!managedFields?.length || managedFields !== stored.metadata.managedFields as unknown) {
    return { parts, rest };
  }
  rest.metadata = without(metadata!, "managedFields");
  return { parts, rest, managedFields };
}

/** The type in the body must be the one of the path. */
function checkType(kind: Kind, value: unknown): void {
  if (typeof value !== "object" || value === null) return;
  const { apiVersion, kind: given } = value as { apiVersion?: unknown; kind?: unknown };
  const expected = apiVersionOf(kind);
  if (kind.custom) {
    if (!given) throw badRequest("Object 'Kind' is missing in the body of the request");
    if (apiVersion !== expected) throw wrongVersion(apiVersion ?? "", expected);
    return;
  }
  const said = typeof apiVersion === "string" && apiVersion !== "" ? apiVersion : expected;
  const name = typeof given === "string" && given !== "" ? given : kind.kind;
  if ((name !== kind.kind || said !== expected) && !isRegistered(said, name)) {
    const why = `no kind "${name}" is registered for version "${said}" in scheme "${SCHEME}"`;
    const version = said.slice(said.lastIndexOf("/") + 1);
    throw cannotHandle(kind, why, { version, kind: name });
  }
  if (typeof given === "string" && given !== "" && given !== kind.kind) {
    const version = typeof apiVersion === "string" ? apiVersion : expected;
    const short = version.slice(version.lastIndexOf("/") + 1);
    const family = kind.group === "" ? "core" : kind.group.split(".")[0];
    throw cannotHandle(
      kind,
      `converting (${short}.${given}) to (${family}.${kind.kind}): unknown conversion`,
      { version: short, kind: given },
    );
  }
  if (typeof apiVersion === "string" && apiVersion !== "" && apiVersion !== expected) {
    throw wrongVersion(apiVersion, expected);
  }
}

/** To upstream a custom object of another kind is an invalid one of that kind. */
function checkKind(row: Kind, { kind, metadata }: Partial<KubeObject>): void {
  if (kind === undefined || kind === row.kind) return;
  const name = typeof metadata?.name === "string" ? metadata.name : "";
  const message = `Invalid value: ${JSON.stringify(kind)}: must be ${row.kind}`;
  const cause = { reason: "FieldValueInvalid", message, field: "kind" };
  throw invalid(row.group, String(kind), name, [cause]);
}

function wrongVersion(given: unknown, expected: string): ApiError {
  return badRequest(
    `the API version in the data (${given}) does not match the expected API version (${expected})`,
  );
}

/** How upstream's table of types is called in errors. */
const SCHEME = "pkg/runtime/scheme.go:111";

/** Whether there is a built-in kind of this name. */
function isRegistered(apiVersion: string, kind: string): boolean {
  const [version, group = ""] = apiVersion.split("/").reverse();
  const schema =
    schemas[`io.k8s.api.${group === "" ? "core" : group.split(".")[0]}.${version}.${kind}`];
  return schema?.properties?.apiVersion !== undefined && schema.properties.metadata !== undefined;
}

const forms = new Map<string, Kind>();

/** A row for a type that is no resource of its own: Scale, Eviction, Binding, TokenRequest, Status. */
export function formOf(group: string, version: string, kind: string, schema?: string): Kind {
  const family = group === "" ? "core" : group.split(".")[0];
  const name = schema ?? `io.k8s.api.${family}.${version}.${kind}`;
  let form = forms.get(name);
  if (!form) {
    form = {
      group,
      version,
      kind,
      listKind: `${kind}List`,
      plural: kind.toLowerCase(),
      singular: kind.toLowerCase(),
      namespaced: true,
      verbs: [],
      schema: name,
      schemas,
      path: "",
      virtual: true,
      subresources: [],
      columns: [],
      hooks: {},
    };
    forms.set(name, form);
  }
  return form;
}

/** Decodes a request's body as a type that is not the resource's own. */
export function decodeAs(request: ApiRequest, form: Kind): { object: KubeObject } {
  if (!request.body) throw badRequest("the body of the request is empty");
  try {
    return { object: decodeValue(request, form, request.body.value, request.body.duplicates) };
  } catch (error) {
    if (error instanceof DecodeError) throw badRequest(error.message);
    throw error;
  }
}
