/**
 * Which fields differ between two objects, and which fields an object sets. One walk each, guided by the
 * object's shape; results are field sets ready to be stored.
 */
import { sameJson } from "../json_value.ts";
import type { Json } from "../types.ts";
import { type FieldSet, LEAF, NO_FIELDS } from "./field_set.ts";
import {
  DEDUCED,
  elementOf,
  FIELDS,
  KEYED_LIST,
  KEYS,
  SET_LIST,
  type Shape,
  WHOLE,
} from "./shape.ts";

type Building = { [element: string]: FieldSet };
type Values = { readonly [key: string]: Json };

/** The outcome of a comparison. */
export interface Comparison {
  /** Fields that were added or have another value. */
  changed: FieldSet;
  /** Fields that are no longer there. */
  removed: FieldSet;
}

/** Compares two objects of one shape. */
export function compareObjects(shape: Shape, before: unknown, after: unknown): Comparison {
  return compared(new CompareWalk(undefined, undefined), shape, before, after);
}

/** Compares two stored objects: the managedFields in the metadata of either are no fields of theirs. */
export function compareStoredObjects(shape: Shape, before: unknown, after: unknown): Comparison {
  return compared(new CompareWalk(metadataOf(before), metadataOf(after)), shape, before, after);
}

function compared(walk: CompareWalk, shape: Shape, before: unknown, after: unknown): Comparison {
  const changed = walk.node(shape, before as Json, after as Json);
  const removed = walk.removed;
  return { changed: changed ?? NO_FIELDS, removed: removed ?? NO_FIELDS };
}

function metadataOf(object: unknown): unknown {
  return (object as { readonly metadata?: unknown } | null | undefined)?.metadata;
}

/**
 * One walk. `node` returns the changed part of its subtree and leaves the removed part in `removed`, so
 * that nothing is allocated where nothing differs.
 */
class CompareWalk {
  removed: FieldSet | undefined;
  readonly #before: unknown;
  readonly #after: unknown;

  /** Takes the metadata of both, whose managedFields are left out. */
  constructor(before: unknown, after: unknown) {
    this.#before = before;
    this.#after = after;
  }

  /** Whether these are the metadata of the objects themselves. */
  #isMetadata(a: unknown, b: unknown): boolean {
    return a === undefined
      ? b !== undefined && b === this.#after
      : a !== null && a === this.#before;
  }

  /** `undefined` is absent; null is a value. */
  node(shape: Shape, a: Json | undefined, b: Json | undefined): FieldSet | undefined {
    this.removed = undefined;
    if (a === b) return undefined;
    switch (shape.kind) {
      case FIELDS:
      case KEYS:
        if (isMapOrNone(a) && isMapOrNone(b)) return this.#maps(shape, a, b);
        break;
      case DEDUCED:
        if (isMapOrNone(a) && isMapOrNone(b)) return this.#maps(shape, a, b);
        break;
      case KEYED_LIST:
      case SET_LIST:
        if (isListOrNone(a) && isListOrNone(b)) return this.#lists(shape, a, b);
        break;
    }
    return this.#whole(a, b);
  }

  #whole(a: Json | undefined, b: Json | undefined): FieldSet | undefined {
    if (b === undefined) {
      this.removed = LEAF;
      return undefined;
    }
    return a === undefined || !sameJson(a, b) ? LEAF : undefined;
  }

  #maps(
    shape: Shape,
    a: Values | null | undefined,
    b: Values | null | undefined,
  ): FieldSet | undefined {
    if (isEmpty(a) && isEmpty(b)) return this.#whole(a, b);
    const changed: Building = a === undefined ? { ".": LEAF } : {};
    const removed: Building = b === undefined ? { ".": LEAF } : {};
    let changes = a === undefined ? 1 : 0;
    let removals = b === undefined ? 1 : 0;
    const skipped = this.#isMetadata(a, b) ? "managedFields" : undefined;
    for (const key in a) {
      if (key === skipped) continue;
      const left = a[key];
      const right = b ? own(b, key) : undefined;
      if (left === right) continue;
      const field = shape.kind === FIELDS ? shape.fields.get(key) : undefined;
      const inner = field?.shape ?? shape.items ?? shape;
      // A null that Go would write is there although we do not keep it.
      const other = right === undefined && field?.always && b ? null : right;
      if (other === null && left === undefined) continue;
      const change = this.node(inner, left, other);
      const removal = this.removed;
      const element = field?.element ?? `f:${key}`;
      if (change !== undefined) {
        changed[element] = change;
        changes++;
      }
      if (removal !== undefined) {
        removed[element] = removal;
        removals++;
      }
    }
    for (const key in b) {
      if (key === skipped || b[key] === undefined || (a && Object.hasOwn(a, key))) continue;
      const field = shape.kind === FIELDS ? shape.fields.get(key) : undefined;
      const inner = field?.shape ?? shape.items ?? shape;
      const change = this.node(inner, field?.always && a ? null : undefined, b[key]);
      if (change === undefined) continue;
      changed[field?.element ?? `f:${key}`] = change;
      changes++;
    }
    this.removed = removals === 0 ? undefined : removed;
    return changes === 0 ? undefined : changed;
  }

  #pairs(shape: Shape, a: readonly Json[], b: readonly Json[]): FieldSet | undefined {
    let changed: Building | undefined;
    let removed: Building | undefined;
    for (let i = 0; i < a.length; i++) {
      const change = this.node(shape.items!, a[i], b[i]);
      const removal = this.removed;
      if (change === undefined && removal === undefined) continue;
      const element = elementOf(shape, b[i]) ?? `i:${i}`;
      if (change !== undefined) (changed ??= {})[element] = change;
      if (removal !== undefined) (removed ??= {})[element] = removal;
    }
    this.removed = removed;
    return changed;
  }

  #lists(
    shape: Shape,
    a: readonly Json[] | null | undefined,
    b: readonly Json[] | null | undefined,
  ): FieldSet | undefined {
    if (!a?.length && !b?.length) return this.#whole(a as Json, b as Json);
    if (a && b && sameItems(shape, a, b)) {
      const changed = this.#pairs(shape, a, b);
      if (changed === undefined && this.removed === undefined) return undefined;
      if (!hasDuplicates(shape, b)) return changed;
    }
    const changed: Building = a === undefined ? { ".": LEAF } : {};
    const removed: Building = b === undefined ? { ".": LEAF } : {};
    let changes = a === undefined ? 1 : 0;
    let removals = b === undefined ? 1 : 0;
    const left = indexItems(shape, a);
    const right = indexItems(shape, b);
    for (const [element, item] of left) {
      const other = right.get(element);
      const change = this.#item(shape.items!, item, other);
      const removal = this.removed;
      if (change !== undefined) {
        changed[element] = change;
        changes++;
      }
      if (removal !== undefined) {
        removed[element] = removal;
        removals++;
      }
    }
    for (const [element, item] of right) {
      if (left.has(element)) continue;
      const change = this.#item(shape.items!, undefined, item);
      if (change === undefined) continue;
      changed[element] = change;
      changes++;
    }
    this.removed = removals === 0 ? undefined : removed;
    return changes === 0 ? undefined : changed;
  }

  /** What duplicates hold is owned together; what lies below a path that is no longer one is not. */
  #item(
    shape: Shape,
    a: Json | Duplicates | undefined,
    b: Json | Duplicates | undefined,
  ): FieldSet | undefined {
    if (a instanceof Duplicates) {
      if (b instanceof Duplicates) {
        this.removed = undefined;
        return sameJson(a.items, b.items) ? undefined : LEAF;
      }
      const change = b === undefined ? undefined : this.node(shape, undefined, b);
      this.removed = LEAF;
      return change;
    }
    if (!(b instanceof Duplicates)) return this.node(shape, a, b);
    if (a === undefined) this.removed = undefined;
    else this.node(shape, a, undefined);
    return LEAF;
  }
}

/** Whether two lists hold items of the same keys in the same order, as most updates leave them. */
function sameItems(shape: Shape, a: readonly Json[], b: readonly Json[]): boolean {
  if (a.length !== b.length) return false;
  for (let i = 0; i < a.length; i++) {
    const x = a[i];
    const y = b[i];
    if (x === y) continue;
    if (shape.kind === SET_LIST || typeof x !== "object" || typeof y !== "object") return false;
    if (x === null || y === null) return false;
    for (const { name } of shape.keys) {
      if ((x as Values)[name] !== (y as Values)[name]) return false;
    }
  }
  return true;
}

/** Items of a list that cannot be told apart; stored objects may have them. */
class Duplicates {
  readonly items: Json[];
  constructor(items: Json[]) {
    this.items = items;
  }
}

function indexItems(
  shape: Shape,
  list: readonly Json[] | null | undefined,
): Map<string, Json | Duplicates> {
  const items = new Map<string, Json | Duplicates>();
  if (!list) return items;
  for (let i = 0; i < list.length; i++) {
    const element = elementOf(shape, list[i]) ?? `i:${i}`;
    const before = items.get(element);
    if (before === undefined) items.set(element, list[i]);
    else if (before instanceof Duplicates) before.items.push(list[i]);
    else items.set(element, new Duplicates([before, list[i]]));
  }
  return items;
}

function hasDuplicates(shape: Shape, list: readonly Json[]): boolean {
  return new Set(list.map((item, i) => elementOf(shape, item) ?? i)).size < list.length;
}

function own(map: Values, key: string): Json | undefined {
  const value = map[key];
  // Inherited names (`constructor`) are functions or objects of no JSON document.
  return value !== undefined && Object.hasOwn(map, key) ? value : undefined;
}

function isMapOrNone(value: Json | undefined): value is { [key: string]: Json } | null | undefined {
  return value === undefined || (typeof value === "object" && !Array.isArray(value));
}

function isListOrNone(value: Json | undefined): value is Json[] | null | undefined {
  return value === undefined || value === null || Array.isArray(value);
}

function isEmpty(map: Values | null | undefined): boolean {
  for (const _ in map) return false;
  return true;
}

/** The fields that a configuration sets: what its applier owns. */
export function fieldsOf(shape: Shape, object: unknown): FieldSet {
  return fieldsAt(shape, object as Json) ?? NO_FIELDS;
}

/** The fields of a subtree; undefined when it is not a member and has none below. */
function fieldsAt(shape: Shape, value: Json): FieldSet | undefined {
  switch (shape.kind) {
    case FIELDS:
    case KEYS:
    case DEDUCED:
      if (isMapOrNone(value)) return fieldsOfMap(shape, value);
      break;
    case KEYED_LIST:
    case SET_LIST:
      if (Array.isArray(value)) return fieldsOfList(shape, value);
      if (value === null) return undefined;
      break;
    case WHOLE:
      break;
  }
  return LEAF;
}

function fieldsOfMap(shape: Shape, map: Values | null | undefined): FieldSet | undefined {
  const out: Building = {};
  let count = 0;
  for (const key in map) {
    const value = map[key];
    if (value === undefined) continue;
    const field = shape.kind === FIELDS ? shape.fields.get(key) : undefined;
    const node = fieldsAt(field?.shape ?? shape.items ?? shape, value);
    const member = !field || value === null ||
      (typeof value === "object" && !Array.isArray(value) && isEmpty(value));
    if (node === undefined && !member) continue;
    out[field?.element ?? `f:${key}`] = member ? asMember(node) : node!;
    count++;
  }
  return count === 0 ? undefined : out;
}

function fieldsOfList(shape: Shape, list: readonly Json[]): FieldSet | undefined {
  const out: Building = {};
  let count = 0;
  for (let i = 0; i < list.length; i++) {
    const element = elementOf(shape, list[i]) ?? `i:${i}`;
    // Duplicates, which stored objects may have, are owned together and as a whole.
    out[element] = out[element] === undefined ? asMember(fieldsAt(shape.items!, list[i])) : LEAF;
    count++;
  }
  return count === 0 ? undefined : out;
}

function asMember(node: FieldSet | undefined): FieldSet {
  if (node === undefined || node === LEAF || node["."] !== undefined) return node ?? LEAF;
  return { ".": LEAF, ...node };
}
