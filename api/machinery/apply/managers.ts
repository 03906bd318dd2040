/**
 * The entries of managedFields: who a manager is, their order, the bound on those that update, and what of
 * an object nobody manages.
 */
import type { Json, ManagedFieldsEntry } from "../types.ts";
import { goQuote } from "../go_format.ts";
import {
  canonical,
  difference,
  type FieldSet,
  hasPath,
  isCanonical,
  isEmptySet,
  isFieldSet,
  NO_FIELDS,
  setOf,
  union,
} from "./field_set.ts";

/** Entries of operation Update that are kept apart; older ones are put together. */
export const UPDATE_MANAGERS_MAX = 10;
/** The manager of what older updaters set. */
export const ANCIENT_CHANGES = "ancient-changes";
/** The manager of what was there before the first apply. */
export const BEFORE_FIRST_APPLY = "before-first-apply";

/** A manager's fields. Immutable. */
export interface Managed {
  readonly manager: string;
  readonly operation: "Apply" | "Update";
  readonly apiVersion: string;
  readonly subresource: string;
  readonly time: string | undefined;
  readonly fields: FieldSet;
}

/** Whether two entries are of one manager: appliers keep theirs across versions. */
export function sameManager(a: Managed, b: Managed): boolean {
  return a.manager === b.manager && a.operation === b.operation &&
    a.subresource === b.subresource && (a.operation === "Apply" || a.apiVersion === b.apiVersion);
}

const known = new WeakMap<object, readonly Managed[]>();
/** What lists that were written here say: they are known once they are stored, and frozen. */
const made = new WeakMap<object, readonly Managed[]>();
/** The stored entries that say what a manager has, as they are to be written again. */
const written = new WeakMap<Managed, ManagedFieldsEntry>();

/**
 * Reads entries; undefined when one of them is malformed. Of equal managers the last one counts. Those of
 * stored objects, which are frozen, are checked once.
 */
export function readManaged(entries: unknown): readonly Managed[] | undefined {
  if (entries === undefined || entries === null) return [];
  if (!Array.isArray(entries)) return undefined;
  const before = known.get(entries);
  if (before) return before;
  const isStored = Object.isFrozen(entries);
  const said = isStored ? made.get(entries) : undefined;
  if (said) {
    known.set(entries, said);
    return said;
  }
  const managed = readEntries(entries, isStored);
  if (managed && isStored) known.set(entries, managed);
  return managed;
}

function readEntries(entries: unknown[], isStored: boolean): Managed[] | undefined {
  const managed: Managed[] = [];
  for (const entry of entries as ManagedFieldsEntry[]) {
    if (typeof entry !== "object" || entry === null) return undefined;
    const { operation, apiVersion } = entry;
    if (operation !== "Apply" && operation !== "Update") return undefined;
    if (!apiVersion || entry.fieldsType !== "FieldsV1") return undefined;
    const fields = entry.fieldsV1 ?? NO_FIELDS;
    if (!isFieldSet(fields)) return undefined;
    const one: Managed = {
      manager: entry.manager ?? "",
      operation,
      apiVersion,
      subresource: entry.subresource ?? "",
      time: entry.time,
      fields,
    };
    if (isStored && isCanonical(fields)) written.set(one, entry);
    const at = managed.findIndex((other) => sameManager(other, one));
    if (at < 0) managed.push(one);
    else managed[at] = one;
  }
  return managed;
}

/**
 * Entries as objects hold them, in upstream's order. Managers without fields are left out. Entries of stored objects
 * that nothing has changed are shared with them, and frozen.
 */
export function writeManaged(managed: readonly Managed[]): ManagedFieldsEntry[] {
  const kept = managed.filter((one) => !isEmptySet(one.fields)).sort(inOrder);
  const said: Managed[] = [];
  const entries = kept.map((one) => {
    const before = written.get(one);
    const entry = before ?? entryOf(one);
    const { fieldsV1 } = entry;
    const same = before ? one : { ...one, fields: fieldsV1 as unknown as FieldSet };
    if (!before) written.set(same, entry);
    said.push(same);
    return entry;
  });
  if (areReadable(said)) made.set(entries, said);
  return entries;
}

/** Whether reading the entries of these managers gives the same ones. */
function areReadable(managed: readonly Managed[]): boolean {
  return managed.every((one, i) =>
    one.apiVersion !== "" && !managed.some((other, j) => j > i && sameManager(one, other))
  );
}

function entryOf(one: Managed): ManagedFieldsEntry {
  const entry: ManagedFieldsEntry = {};
  if (one.manager) entry.manager = one.manager;
  entry.operation = one.operation;
  entry.apiVersion = one.apiVersion;
  if (one.time !== undefined) entry.time = one.time;
  entry.fieldsType = "FieldsV1";
  entry.fieldsV1 = canonical(one.fields) as unknown as { [key: string]: Json };
  if (one.subresource) entry.subresource = one.subresource;
  return entry;
}

function order(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

function inOrder(a: Managed, b: Managed): number {
  return order(a.operation, b.operation) || order(a.time ?? "", b.time ?? "") ||
    order(a.manager, b.manager) || order(a.apiVersion, b.apiVersion) ||
    order(a.subresource, b.subresource);
}

/** What upstream sorts managers by: their identity as JSON. */
export function identity(one: Managed): string {
  const entry: Record<string, string> = {};
  if (one.manager) entry.manager = one.manager;
  entry.operation = one.operation;
  if (one.operation === "Update") entry.apiVersion = one.apiVersion;
  if (one.subresource) entry.subresource = one.subresource;
  return JSON.stringify(entry);
}

/** A manager as conflicts name it: `"kubectl" using apps/v1`. */
export function managerText(one: Managed): string {
  let text = goQuote(one.manager);
  if (one.subresource) text += ` with subresource ${goQuote(one.subresource)}`;
  return one.operation === "Update" ? `${text} using ${one.apiVersion}` : text;
}

/** Puts the oldest updaters of a version together until at most `UPDATE_MANAGERS_MAX` are left. */
export function capUpdaters(managed: readonly Managed[]): readonly Managed[] {
  const updaters = managed.filter((one) => one.operation === "Update");
  if (updaters.length <= UPDATE_MANAGERS_MAX) return managed;
  updaters.sort((a, b) => order(a.time ?? "", b.time ?? "") || order(identity(a), identity(b)));
  let kept = [...managed];
  let count = updaters.length;
  const first = new Map<string, Managed>();
  for (const one of updaters) {
    if (count <= UPDATE_MANAGERS_MAX) break;
    const { apiVersion } = one;
    const before = first.get(apiVersion);
    if (!before) {
      first.set(apiVersion, one);
      continue;
    }
    const bucket: Managed = {
      manager: ANCIENT_CHANGES,
      operation: "Update",
      apiVersion,
      subresource: "",
      time: one.time,
      fields: union(one.fields, before.fields),
    };
    kept = kept.filter((other) => other !== one && other !== before && !sameManager(other, bucket));
    kept.push(bucket);
    first.set(apiVersion, bucket);
    count--;
  }
  return kept;
}

const UNMANAGED: FieldSet = setOf([
  ["f:apiVersion"],
  ["f:kind"],
  ["f:metadata"],
  ["f:metadata", "f:name"],
  ["f:metadata", "f:namespace"],
  ["f:metadata", "f:creationTimestamp"],
  ["f:metadata", "f:selfLink"],
  ["f:metadata", "f:uid"],
  ["f:metadata", "f:clusterName"],
  ["f:metadata", "f:generation"],
  ["f:metadata", "f:managedFields"],
  ["f:metadata", "f:resourceVersion"],
]);

/** The set without the fields that identify an object or that only the server sets. */
export function withoutUnmanaged(set: FieldSet): FieldSet {
  return difference(set, UNMANAGED);
}

// --- scale --------------------------------------------------------------------------------------------

const SCALE_VERSION = "autoscaling/v1";
const REPLICAS_OF_SCALE: readonly string[] = ["f:spec", "f:replicas"];

/** Where each version of a kind keeps its replicas: `["f:spec", "f:replicas"]`. */
export type ReplicasPaths = Readonly<Record<string, readonly string[]>>;

/** The entries of a kind's object as its Scale shows them. */
export function scaleEntries(
  entries: readonly ManagedFieldsEntry[] | undefined,
  paths: ReplicasPaths,
): ManagedFieldsEntry[] {
  const managed = readManaged(entries) ?? [];
  const fields = setOf([REPLICAS_OF_SCALE]);
  return writeManaged(
    managed
      .filter((one) => paths[one.apiVersion] && hasPath(one.fields, paths[one.apiVersion]))
      .map((one) => ({ ...one, apiVersion: SCALE_VERSION, fields })),
  );
}

/** The entries of a kind's object after its Scale was written with the entries `scale`. */
export function parentEntries(
  entries: readonly ManagedFieldsEntry[] | undefined,
  scale: readonly ManagedFieldsEntry[] | undefined,
  apiVersion: string,
  paths: ReplicasPaths,
): ManagedFieldsEntry[] {
  const managed: Managed[] = [];
  let scalers = readManaged(scale) ?? [];
  for (const one of readManaged(entries) ?? []) {
    const path = paths[one.apiVersion];
    if (!path || !hasPath(one.fields, path)) {
      managed.push(one);
      continue;
    }
    const still = scalers.find((scaler) =>
      sameManager(scaler, { ...one, apiVersion: SCALE_VERSION })
    );
    if (still) {
      managed.push(one);
      scalers = scalers.filter((scaler) => scaler !== still);
    } else managed.push({ ...one, fields: difference(one.fields, setOf([path])) });
  }
  for (const scaler of scalers) {
    if (!hasPath(scaler.fields, REPLICAS_OF_SCALE) || !paths[apiVersion]) continue;
    managed.push({ ...scaler, apiVersion, fields: setOf([paths[apiVersion]]) });
  }
  return writeManaged(managed);
}
