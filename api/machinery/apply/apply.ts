/**
 * Server-side apply: a configuration is laid over an object, fields its manager no longer mentions go
 * unless somebody else owns them, and changing what somebody else owns is a conflict unless forced.
 */
import {
  ApiError,
  type DeepReadonly,
  type Json,
  type KubeObject,
  type SchemaSet,
} from "../types.ts";
import { badRequest } from "../errors.ts";
import { goJson } from "../go_format.ts";
import { isMap, sameJson, sortedKeys } from "../json_value.ts";
import { byteLength } from "../names.ts";
import { compareObjects, fieldsOf } from "./compare.ts";
import {
  difference,
  differenceBelow,
  type FieldSet,
  intersection,
  isEmptySet,
  LEAF,
  NO_FIELDS,
  pathsOf,
  pathText,
  sameSet,
  setOf,
  union,
} from "./field_set.ts";
import {
  BEFORE_FIRST_APPLY,
  identity,
  type Managed,
  managerText,
  readManaged,
  sameManager,
  withoutUnmanaged,
  writeManaged,
} from "./managers.ts";
import { configurationErrors, mergeObjects, removeFields, withNamedFields } from "./merge.ts";
import { type Shape, shapeOf, WHOLE, zeroObject } from "./shape.ts";
import { compareStored, takeFrom, updated, type Writer } from "./track.ts";

/** What kubectl's client-side apply remembers itself by. */
export const LAST_APPLIED_ANNOTATION = "kubectl.kubernetes.io/last-applied-configuration";
/** Bytes of all annotations of an object. */
const ANNOTATION_BYTES_MAX = 256 * 1024;

/** Who applies what. */
export interface Applier extends Writer {
  /** The kind this endpoint serves. */
  kind: string;
  /** Take over what others own. */
  force?: boolean;
}

/** What an apply comes to. */
export interface Applied {
  /**
   * The object with its new managedFields. It shares parts with the live object and the configuration and
   * is neither decoded (quantities as written, removed parts null) nor defaulted.
   */
  object: KubeObject;
  /** False: object and owners are as they were. */
  changed: boolean;
}

interface Conflict {
  owner: Managed;
  fields: FieldSet;
}

class ConflictsError extends Error {
  readonly conflicts: Conflict[];
  constructor(conflicts: Conflict[]) {
    super("conflicts");
    this.conflicts = conflicts;
  }
}

type Live = DeepReadonly<KubeObject>;

/**
 * Applies a configuration to the live object (absent: to nothing). Throws ApiError: 400 for a
 * configuration that cannot be applied, 409 with causes `FieldManagerConflict`.
 */
export function apply(
  schemas: SchemaSet,
  schema: string,
  live: DeepReadonly<KubeObject> | undefined,
  configuration: unknown,
  applier: Applier,
): Applied {
  checkConfiguration(configuration, applier);
  const shape = shapeOf(schemas, schema);
  const config = configuration as Json;
  const errors = configurationErrors(shape, config);
  if (errors.length) throw badConfiguration(config, applier, errors);
  const start = (live ?? {
    ...(zeroObject(schemas, schema) as object),
    apiVersion: applier.apiVersion,
    kind: applier.kind,
  }) as Live;
  const { managedFields: entries, ...metadata } = start.metadata ?? {};
  const bare = { ...start, metadata } as unknown as Live;
  let managed: readonly Managed[] = readManaged(entries) ?? [];
  if (managed.length === 0 && live) managed = ownersBefore(schemas, schema, bare, applier);
  managed = managed.map((one) => {
    const fields = collapsed(shape, one.fields);
    return fields === one.fields ? one : { ...one, fields };
  });
  const run = new ApplyRun(schemas, shape, schema, bare, config, managed, applier);
  const { object, owners } = applyOver(run, bare, config, shape, applier);
  return finish(object, owners, live, bare, config, applier);
}

function checkConfiguration(configuration: unknown, applier: Applier): void {
  if (!isMap(configuration)) throw badRequest("error decoding patch: an object is expected");
  const { apiVersion, kind, metadata } = configuration;
  if (apiVersion !== applier.apiVersion || kind !== applier.kind) {
    const version = typeof apiVersion === "string" ? apiVersion : "";
    const text = version.includes("/") ? version : `/${version}`;
    throw badRequest(
      `invalid object type: ${text}, Kind=${typeof kind === "string" ? kind : ""}`,
    );
  }
  if (isMap(metadata) && metadata.managedFields !== undefined && metadata.managedFields !== null) {
    throw badRequest("metadata.managedFields must be nil");
  }
}

function badConfiguration(config: Json, applier: Applier, errors: string[]): ApiError {
  const metadata = isMap(config) && isMap(config.metadata) ? config.metadata : {};
  const version = applier.apiVersion.includes("/") ? applier.apiVersion : `/${applier.apiVersion}`;
  const subject = `${metadata.namespace ?? ""}/${metadata.name ?? ""}; ${version}, ` +
    `Kind=${applier.kind}`;
  const text = errors.length === 1 ? errors[0] : `errors:\n  ${errors.join("\n  ")}`;
  return badRequest(`failed to create typed patch object (${subject}): ${text}`);
}

/** Before its first apply, everything an object holds is said to come from an update. */
function ownersBefore(
  schemas: SchemaSet,
  schema: string,
  live: Live,
  applier: Applier,
): readonly Managed[] {
  const own = compareStored(schemas, schema, undefined, live, applier.reset);
  const writer: Writer = { ...applier, manager: BEFORE_FIRST_APPLY, version: undefined };
  return updated([], own, undefined, live, writer);
}

/** A set from before a list or map became atomic: what was owned in parts is owned as a whole. */
function collapsed(shape: Shape, set: FieldSet): FieldSet {
  let out: { [element: string]: FieldSet } | undefined;
  for (const element in set) {
    if (element === ".") continue;
    const field = element[0] === "f" ? shape.fields.get(element.slice(2)) : undefined;
    const inner = field?.shape ?? shape.items ?? shape;
    const node = set[element];
    const next = inner.kind === WHOLE ? LEAF : collapsed(inner, node);
    const same = next === node || (next === LEAF && isEmptySet(node));
    if (!same) (out ??= { ...set })[element] = next;
  }
  return out ?? set;
}

function applyOver(
  run: ApplyRun,
  live: Live,
  config: Json,
  shape: Shape,
  applier: Applier,
): { object: Json; owners: Managed[] } {
  try {
    return run.run(applier.force ?? false);
  } catch (error) {
    if (!(error instanceof ConflictsError)) throw error;
    let { conflicts } = error;
    if (applier.manager === "kubectl") {
      const allowed = lastAppliedFields(live, config, shape, applier);
      conflicts = conflicts
        .map((conflict) => ({ ...conflict, fields: difference(conflict.fields, allowed) }))
        .filter((conflict) => !isEmptySet(conflict.fields));
      if (conflicts.length === 0) return run.run(true);
    }
    throw conflictError(conflicts);
  }
}

/**
 * What kubectl set by client-side apply and nobody changed since: kubectl may take that over without
 * being told to.
 */
function lastAppliedFields(live: Live, _config: Json, shape: Shape, applier: Applier): FieldSet {
  const text = live.metadata.annotations?.[LAST_APPLIED_ANNOTATION];
  if (!text) return NO_FIELDS;
  let last: unknown;
  try {
    last = JSON.parse(text);
  } catch {
    return NO_FIELDS; // Anybody can write anything there.
  }
  if (!isMap(last) || last.apiVersion !== applier.apiVersion) return NO_FIELDS;
  if (configurationErrors(shape, last).length) return NO_FIELDS;
  const compared = compareObjects(shape, last, live);
  return difference(difference(fieldsOf(shape, last), compared.changed), compared.removed);
}

function conflictError(conflicts: Conflict[]): ApiError {
  const list = [...conflicts].sort((a, b) => identity(a.owner) < identity(b.owner) ? -1 : 1)
    .map(({ owner, fields }) => ({
      name: managerText(owner),
      paths: pathsOf(fields).map(pathText),
    }));
  const count = list.reduce((sum, one) => sum + one.paths.length, 0);
  const message = count === 1
    ? `Apply failed with 1 conflict: conflict with ${list[0].name}: ${list[0].paths[0]}`
    : `Apply failed with ${count} conflicts: ${
      list.map((one) =>
        [`conflicts with ${one.name}:`, ...one.paths.map((path) => `- ${path}`)].join("\n")
      ).join("\n")
    }`;
  return new ApiError({
    code: 409,
    reason: "Conflict",
    message,
    details: {
      causes: list.flatMap((one) =>
        one.paths.map((field) => ({
          reason: "FieldManagerConflict",
          message: `conflict with ${one.name}`,
          field,
        }))
      ),
    },
  });
}

/** One try at an apply; a second one may force what the first found in conflict. */
class ApplyRun {
  readonly #schemas: SchemaSet;
  readonly #shape: Shape;
  readonly #schema: string;
  readonly #live: Live;
  readonly #config: Json;
  readonly #managed: readonly Managed[];
  readonly #applier: Applier;

  constructor(
    schemas: SchemaSet,
    shape: Shape,
    schema: string,
    live: Live,
    config: Json,
    managed: readonly Managed[],
    applier: Applier,
  ) {
    this.#schemas = schemas;
    this.#shape = shape;
    this.#schema = schema;
    this.#live = live;
    this.#config = config;
    this.#managed = managed;
    this.#applier = applier;
  }

  run(force: boolean): { object: Json; owners: Managed[] } {
    const { reset } = this.#applier;
    const merged = mergeObjects(this.#shape, this.#live as unknown as Json, this.#config);
    let fields = fieldsOf(this.#shape, this.#config);
    if (reset) fields = differenceBelow(fields, reset);
    const wanted: Managed = {
      manager: this.#applier.manager || "unknown",
      operation: "Apply",
      apiVersion: this.#applier.apiVersion,
      subresource: this.#applier.subresource ?? "",
      time: undefined,
      fields,
    };
    const last = this.#managed.find((one) => sameManager(one, wanted));
    const self: Managed = { ...wanted, time: last?.time };
    const managed = [...this.#managed.filter((one) => one !== last), self];
    const object = this.#prune(merged, managed, last);
    const own = compareStored(this.#schemas, this.#schema, this.#live, object as never, reset);
    const writer = this.#applier;
    const left = takeFrom(managed, own, this.#live, object as never, writer, self);
    if (!force) this.#refuseConflicts(managed, left, self, object);
    const at = left.indexOf(self);
    const unchanged = last !== undefined && sameJson(object, this.#live) &&
      sameSet(withoutUnmanaged(fields), last.fields) && last.apiVersion === self.apiVersion;
    left[at] = {
      ...self,
      fields: withoutUnmanaged(fields),
      time: unchanged ? last.time : writer.time,
    };
    return { object, owners: left };
  }

  /** Conflicts are what others lost because it changed; what went away conflicts with nobody. */
  #refuseConflicts(managed: Managed[], left: Managed[], self: Managed, object: Json): void {
    const conflicts: Conflict[] = [];
    for (const owner of managed) {
      if (owner === self || left.includes(owner)) continue;
      const other = owner.apiVersion === this.#applier.apiVersion
        ? undefined
        : this.#applier.version?.(owner.apiVersion);
      if (!other && this.#applier.version && owner.apiVersion !== this.#applier.apiVersion) {
        continue;
      }
      const compared = other
        ? compareStored(
          other.schemas,
          other.schema,
          other.convert(this.#live),
          other.convert(object as never),
          this.#applier.reset,
        )
        : compareStored(
          this.#schemas,
          this.#schema,
          this.#live,
          object as never,
          this.#applier.reset,
        );
      const fields = intersection(owner.fields, compared.changed);
      if (!isEmptySet(fields)) conflicts.push({ owner, fields });
    }
    if (conflicts.length) throw new ConflictsError(conflicts);
  }

  /** Shape and conversion of a version; undefined when it is not served any more. */
  #at(apiVersion: string): { shape: Shape; to(object: Json): Json } | undefined {
    const { version } = this.#applier;
    if (!version || apiVersion === this.#applier.apiVersion) {
      return { shape: this.#shape, to: (object) => this.#back(object) };
    }
    const other = version(apiVersion);
    if (!other) return undefined;
    return {
      shape: shapeOf(other.schemas, other.schema),
      to: (object) => other.convert(object as never) as unknown as Json,
    };
  }

  #back(object: Json): Json {
    const { version, apiVersion } = this.#applier;
    if (!version || !isMap(object) || object.apiVersion === apiVersion) return object;
    return (version(apiVersion)?.convert(object as never) ?? object) as unknown as Json;
  }

  /** Takes out what this manager applied before and does not mention now, unless others own it. */
  #prune(merged: Json, managed: readonly Managed[], last: Managed | undefined): Json {
    if (!last || isEmptySet(last.fields)) return merged;
    const at = this.#at(last.apiVersion);
    if (!at) return merged;
    const before = at.to(merged);
    let pruned = removeFields(at.shape, before, withNamedFields(at.shape, last.fields));
    pruned = this.#addBackOwned(before, pruned, managed, last.apiVersion);
    // Only what this manager had applied itself may go.
    const had = withNamedFields(at.shape, fieldsOf(at.shape, before));
    const has = withNamedFields(at.shape, fieldsOf(at.shape, at.to(pruned)));
    const gone = intersection(difference(had, has), withNamedFields(at.shape, last.fields));
    return this.#back(removeFields(at.shape, before, gone));
  }

  #addBackOwned(
    merged: Json,
    pruned: Json,
    managed: readonly Managed[],
    firstVersion: string,
  ): Json {
    const owned = new Map<string, FieldSet>();
    for (const one of managed) {
      owned.set(one.apiVersion, union(owned.get(one.apiVersion) ?? NO_FIELDS, one.fields));
    }
    const versions = [...owned.keys()].sort((a, b) =>
      Number(b === firstVersion) - Number(a === firstVersion)
    );
    let whole = merged;
    let rest = pruned;
    for (const apiVersion of versions) {
      const at = this.#at(apiVersion);
      if (!at) continue;
      whole = at.to(whole);
      rest = at.to(rest);
      const keep = union(
        withNamedFields(at.shape, fieldsOf(at.shape, rest)),
        withNamedFields(at.shape, owned.get(apiVersion)!),
      );
      const all = withNamedFields(at.shape, fieldsOf(at.shape, whole));
      rest = removeFields(at.shape, whole, difference(all, keep));
    }
    return rest;
  }
}

function finish(
  object: Json,
  owners: Managed[],
  live: Live | undefined,
  bare: Live,
  config: Json,
  applier: Applier,
): Applied {
  const result = object as unknown as KubeObject;
  const metadata = { ...result.metadata };
  if (applier.manager === "kubectl" && metadata.annotations?.[LAST_APPLIED_ANNOTATION]) {
    metadata.annotations = withLastApplied(metadata.annotations, config);
  }
  const entries = writeManaged(owners);
  if (entries.length) metadata.managedFields = entries;
  else delete metadata.managedFields;
  const made: KubeObject = { ...result, metadata };
  const changed = !live || !sameJson(entries, live.metadata.managedFields ?? []) ||
    !sameJson({ ...made, metadata: { ...metadata, managedFields: undefined } }, bare);
  return { object: made, changed };
}

/** kubectl's own memory follows its server-side applies, where the object has one. */
function withLastApplied(
  annotations: Record<string, string>,
  config: Json,
): Record<string, string> {
  const map = { ...(config as { [key: string]: Json }) };
  const metadata = isMap(map.metadata) ? { ...map.metadata } : {};
  if (isMap(metadata.annotations)) {
    const { [LAST_APPLIED_ANNOTATION]: _, ...others } = metadata.annotations;
    metadata.annotations = others;
  }
  if (isMap(map.metadata)) map.metadata = metadata;
  const text = `${goJson(sortedKeys(map))}\n`;
  const out: Record<string, string> = { ...annotations, [LAST_APPLIED_ANNOTATION]: text };
  let bytes = 0;
  for (const key in out) bytes += byteLength(key) + byteLength(out[key]);
  if (bytes > ANNOTATION_BYTES_MAX) delete out[LAST_APPLIED_ANNOTATION];
  return out;
}

/**
 * What an endpoint takes no notice of, where a kind has a status subresource: the object's own endpoint
 * of `status`, the status endpoint of `spec` and what else is given.
 */
export function resetFields(
  subresource: string,
  options: { status: boolean; withStatus?: readonly (readonly string[])[] } = { status: true },
): FieldSet | undefined {
  if (!options.status) return undefined;
  if (subresource === "") return STATUS;
  if (subresource !== "status") return undefined;
  const { withStatus } = options;
  if (!withStatus) return SPEC;
  let set = resets.get(withStatus);
  if (!set) {
    set = union(SPEC, setOf(withStatus.map((path) => path.map((name) => `f:${name}`))));
    resets.set(withStatus, set);
  }
  return set;
}

/** By the paths they were made of: there are a few lists of those. */
const resets = new WeakMap<readonly (readonly string[])[], FieldSet>();

const STATUS = setOf([["f:status"]]);
const SPEC = setOf([["f:spec"]]);
