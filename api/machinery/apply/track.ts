/**
 * Ownership of fields under create, update and patch: what a writer changed becomes its own, what it
 * removed is nobody's.
 */
import type { DeepReadonly, KubeObject, ManagedFieldsEntry, SchemaSet } from "../types.ts";
import { sameJson } from "../json_value.ts";
import { compareStoredObjects, type Comparison } from "./compare.ts";
import {
  difference,
  differenceBelow,
  type FieldSet,
  isEmptySet,
  sameSet,
  union,
} from "./field_set.ts";
import {
  capUpdaters,
  type Managed,
  readManaged,
  sameManager,
  withoutUnmanaged,
  writeManaged,
} from "./managers.ts";
import { shapeOf, zeroObject } from "./shape.ts";

/** An object in another version: how to compare it there. */
export interface OtherVersion {
  schemas: SchemaSet;
  schema: string;
  convert(object: DeepReadonly<KubeObject>): DeepReadonly<KubeObject>;
}

/** Who writes, as what, when. */
export interface Writer {
  /** The field manager's name; empty reads `unknown`. */
  manager: string;
  /** The version of the request, such as `apps/v1`. */
  apiVersion: string;
  /** RFC 3339, seconds. */
  time: string;
  subresource?: string;
  /** Fields that this endpoint takes no notice of: see `resetFields`. */
  reset?: FieldSet;
  /**
   * Other versions in which entries may be. Undefined for one that is not served any more: its entries go.
   * Without this function, versions are taken to have the same fields.
   */
  version?(apiVersion: string): OtherVersion | undefined;
}

type Stored = DeepReadonly<KubeObject>;

/** A stored object without a uid is one that is being created. */
function hasUid(object: Stored | undefined): boolean {
  return !!object?.metadata?.uid;
}

function entriesOf(object: Stored | undefined): readonly ManagedFieldsEntry[] | undefined {
  return object?.metadata?.managedFields as readonly ManagedFieldsEntry[] | undefined;
}

/** A request that wants all ownership forgotten says `[]` or `[{}]`. */
function isReset(entries: readonly ManagedFieldsEntry[] | undefined): boolean {
  if (!entries) return false;
  return entries.length === 0 ||
    (entries.length === 1 && Object.values(entries[0] ?? {}).every((v) => v === undefined));
}

function startingEntries(
  old: Stored | undefined,
  object: Stored,
  writer: Writer,
): readonly Managed[] {
  const stored = entriesOf(old);
  const asked = entriesOf(object);
  if (writer.subresource || asked === stored || asked === undefined || asked === null) {
    return readManaged(stored) ?? [];
  }
  if (isReset(asked)) return [];
  // What a client read and sends back is most often what is stored, whose parts are shared then.
  if (stored && sameJson(asked, stored)) return readManaged(stored) ?? [];
  const managed = readManaged(asked);
  return managed?.length ? managed : readManaged(stored) ?? [];
}

/** Differences per version, the request's filled in. */
class Differences {
  readonly #known = new Map<string, Comparison | null>();
  readonly #old: Stored | undefined;
  readonly #object: Stored;
  readonly #writer: Writer;

  constructor(own: Comparison, old: Stored | undefined, object: Stored, writer: Writer) {
    this.#known.set(writer.apiVersion, own);
    this.#old = old;
    this.#object = object;
    this.#writer = writer;
  }

  /** Null: the version is gone. */
  at(apiVersion: string): Comparison | null {
    const known = this.#known.get(apiVersion);
    if (known !== undefined) return known;
    const { version } = this.#writer;
    let made: Comparison | null = this.#known.get(this.#writer.apiVersion)!;
    if (version) {
      const other = version(apiVersion);
      made = other ? this.#compare(other) : null;
    }
    this.#known.set(apiVersion, made);
    return made;
  }

  #compare(other: OtherVersion): Comparison {
    const before = this.#old ? other.convert(this.#old) : zeroObject(other.schemas, other.schema);
    const after = other.convert(this.#object);
    return filtered(
      compareStoredObjects(shapeOf(other.schemas, other.schema), before, after),
      this.#writer.reset,
    );
  }
}

function filtered(comparison: Comparison, reset: FieldSet | undefined): Comparison {
  if (!reset) return comparison;
  return {
    changed: differenceBelow(comparison.changed, reset),
    removed: differenceBelow(comparison.removed, reset),
  };
}

/** How an object differs from what is stored (or from nothing), without what the endpoint ignores. */
export function compareStored(
  schemas: SchemaSet,
  schema: string,
  old: Stored | undefined,
  object: Stored,
  reset?: FieldSet,
): Comparison {
  const before = old ?? zeroObject(schemas, schema);
  return filtered(compareStoredObjects(shapeOf(schemas, schema), before, object), reset);
}

/**
 * Takes changed and removed fields from everybody but `self`. Returns the entries that are left and, for
 * each that lost changed fields, what it lost (apply's conflicts).
 */
export function takeFrom(
  managed: readonly Managed[],
  own: Comparison,
  old: Stored | undefined,
  object: Stored,
  writer: Writer,
  self?: Managed,
): Managed[] {
  if (isEmptySet(own.changed) && isEmptySet(own.removed) && !writer.version) return [...managed];
  const differences = new Differences(own, old, object, writer);
  const left: Managed[] = [];
  for (const one of managed) {
    if (one === self) {
      left.push(one);
      continue;
    }
    const compared = differences.at(one.apiVersion);
    if (!compared) continue;
    const fields = difference(difference(one.fields, compared.changed), compared.removed);
    if (isEmptySet(fields)) continue;
    left.push(sameSet(fields, one.fields) ? one : { ...one, fields });
  }
  return left;
}

/**
 * The managedFields of an object after a create (`old` undefined), update or patch. `object` is what will
 * be stored, `object.metadata.managedFields` what the request said of them. Returns undefined when nobody
 * manages anything.
 */
export function trackUpdate(
  schemas: SchemaSet,
  schema: string,
  old: DeepReadonly<KubeObject> | undefined,
  object: DeepReadonly<KubeObject>,
  writer: Writer,
): ManagedFieldsEntry[] | undefined {
  const managed = startingEntries(old, object, writer);
  // Ownership that was given up, or never tracked, begins again with the first apply.
  if (managed.length === 0 && hasUid(old)) return undefined;
  const own = compareStored(schemas, schema, old, object, writer.reset);
  const entries = writeManaged(capUpdaters(updated(managed, own, old, object, writer)));
  return entries.length ? entries : undefined;
}

/** The entries after an update. */
export function updated(
  managed: readonly Managed[],
  own: Comparison,
  old: DeepReadonly<KubeObject> | undefined,
  object: DeepReadonly<KubeObject>,
  writer: Writer,
): readonly Managed[] {
  const left = takeFrom(managed, own, old, object, writer);
  const changed = withoutUnmanaged(own.changed);
  if (isEmptySet(changed)) return left;
  const self: Managed = {
    manager: writer.manager || "unknown",
    operation: "Update",
    apiVersion: writer.apiVersion,
    subresource: writer.subresource ?? "",
    time: writer.time,
    fields: changed,
  };
  const at = left.findIndex((one) => sameManager(one, self));
  if (at < 0) left.push(self);
  else left[at] = { ...self, fields: union(left[at].fields, changed) };
  return left;
}
