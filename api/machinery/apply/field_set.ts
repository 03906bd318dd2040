/**
 * Sets of fields, in the very form that managedFields carry (FieldsV1), so that nothing is decoded or
 * encoded: a tree of plain objects whose keys are path elements. `f:name` is a field or map key,
 * `k:{"name":"a"}` the item of a keyed list, `v:"a"` the item of a set, `i:0` an index. An empty object is
 * a member without children; `.` marks a member that has children too.
 *
 * Sets are immutable and share parts freely: no function here changes its arguments.
 */
import { Memory } from "../memory.ts";

/** A set of fields; also each of its inner nodes. */
export interface FieldSet {
  readonly [element: string]: FieldSet;
}

type Building = { [element: string]: FieldSet };

/** A member without children. */
export const LEAF: FieldSet = Object.freeze({});
/** The set without any field. (As the root of a set an empty object means none.) */
export const NO_FIELDS: FieldSet = LEAF;

/** Whether a root holds no field. */
export function isEmptySet(set: FieldSet): boolean {
  for (const _ in set) return false;
  return true;
}

/** Go's order of path elements: items of keyed lists by their keys' values; indices and numbers as numbers. */
function inOrder(a: string, b: string): number {
  const kind = a[0];
  if (kind === "f" || kind !== b[0] || a[1] !== ":") return byValue(a, b);
  const left = JSON.parse(a.slice(2));
  const right = JSON.parse(b.slice(2));
  if (kind !== "k") return byValue(left, right);
  for (const name in left) {
    const rank = byValue(left[name], right[name]);
    if (rank) return rank;
  }
  return byValue(a, b);
}

function byValue(a: unknown, b: unknown): number {
  return a as string < (b as string) ? -1 : a as string > (b as string) ? 1 : 0;
}

/** How many sets are kept to be shared, and how long the text of one may be. */
export const SHARED_SETS_MAX = 2_048;
export const SHARED_SET_LENGTH_MAX = 4_096;
/** Sets and their parts by their text, as they were given. Who was not asked for longest goes first. */
const shared = new Memory<FieldSet>(SHARED_SETS_MAX);

/**
 * The same set with its elements in Go's order, since clients compare FieldsV1 byte by byte; frozen. Equal sets,
 * and equal parts of sets, are one object: pods of a workload are managed alike, and their sets were a sixth of what
 * a pod takes.
 */
export function canonical(set: FieldSet): FieldSet {
  if (isEmptySet(set)) return LEAF;
  if (canonicals.has(set)) return set;
  const text = JSON.stringify(set);
  const known = shared.get(text);
  if (known) return known;
  const made: Building = {};
  for (const key of Object.keys(set).sort(inOrder)) made[key] = canonical(set[key]);
  const inOrderText = JSON.stringify(made);
  const one = shared.get(inOrderText) ?? Object.freeze(made);
  canonicals.add(one);
  if (inOrderText.length <= SHARED_SET_LENGTH_MAX) canonicalTexts.set(one, inOrderText);
  keep(inOrderText, one);
  if (text !== inOrderText) keep(text, one);
  return one;
}

/** JSON of a set; that of one that is shared is remembered. */
export function setText(set: FieldSet): string {
  return canonicalTexts.get(set) ?? JSON.stringify(set);
}

/** V8 takes long for keys that have quotation marks in them, as those of list items do. */
const canonicalTexts = new WeakMap<FieldSet, string>();

/** Whether `canonical` gives this very set. */
export function isCanonical(set: FieldSet): boolean {
  return canonicals.has(set);
}

/** Sets that are so already: those of stored objects, most often. */
const canonicals = new WeakSet<FieldSet>();

function keep(text: string, set: FieldSet): void {
  if (text.length <= SHARED_SET_LENGTH_MAX) shared.set(text, set);
}

/** Whether an inner node is a member itself (beside what lies below it). */
function isMember(node: FieldSet): boolean {
  if (node["."] !== undefined) return true;
  return isEmptySet(node);
}

/** An inner node of a member flag and children, or undefined when there is neither. */
function nodeOf(out: Building, children: number): FieldSet | undefined {
  if (children > 0) return out;
  return out["."] === undefined ? undefined : LEAF;
}

function start(member: boolean): Building {
  return member ? { ".": LEAF } : {};
}

/** Fields in either; `a` itself where it has all of them. */
export function union(a: FieldSet, b: FieldSet): FieldSet {
  if (a === b || isEmptySet(b)) return a;
  if (isEmptySet(a)) return b;
  return hasChildren(a, b) ? a : unionChildren(a, b, {});
}

/** Whether all that lies in `b` lies in `a`. */
function hasChildren(a: FieldSet, b: FieldSet): boolean {
  for (const key in b) {
    if (key === ".") continue;
    const mine = a[key];
    const other = b[key];
    if (mine === other) continue;
    if (mine === undefined || (isMember(other) && !isMember(mine))) return false;
    if (!hasChildren(mine, other)) return false;
  }
  return true;
}

/** Whether taking `b` away from `a` (`deep`: and what lies below members of `b`) leaves `a` as it is. */
function areApart(a: FieldSet, b: FieldSet, deep: boolean): boolean {
  for (const key in b) {
    if (key === ".") continue;
    const mine = a[key];
    if (mine === undefined) continue;
    const other = b[key];
    if (isMember(other) && (deep || isMember(mine))) return false;
    if (!areApart(mine, other, deep)) return false;
  }
  return true;
}

function unionChildren(a: FieldSet, b: FieldSet, out: Building): FieldSet {
  for (const key in a) {
    if (key === ".") continue;
    const other = b[key];
    out[key] = other === undefined ? a[key] : unionNodes(a[key], other);
  }
  for (const key in b) if (key !== "." && a[key] === undefined) out[key] = b[key];
  return out;
}

function unionNodes(a: FieldSet, b: FieldSet): FieldSet {
  if (a === b) return a;
  const member = isMember(a) || isMember(b);
  if (isEmptySet(a) && isEmptySet(b)) return LEAF;
  return unionChildren(a, b, start(member));
}

/** Fields of `a` that are not in `b`, or `a` itself. Fields below a member of `b` stay. */
export function difference(a: FieldSet, b: FieldSet): FieldSet {
  if (isEmptySet(a) || isEmptySet(b) || areApart(a, b, false)) return a;
  return differenceChildren(a, b, {}, false) ?? NO_FIELDS;
}

function differenceChildren(
  a: FieldSet,
  b: FieldSet,
  out: Building,
  deep: boolean,
): FieldSet | undefined {
  let children = 0;
  for (const key in a) {
    if (key === ".") continue;
    const other = b[key];
    const rest = other === undefined ? a[key] : differenceNodes(a[key], other, deep);
    if (rest === undefined) continue;
    out[key] = rest;
    children++;
  }
  return nodeOf(out, children);
}

function differenceNodes(a: FieldSet, b: FieldSet, deep: boolean): FieldSet | undefined {
  const gone = isMember(b);
  if (gone && deep) return undefined;
  return differenceChildren(a, b, start(isMember(a) && !gone), deep);
}

/** Fields of `a` that are neither in `b` nor below a member of `b`, or `a` itself. */
export function differenceBelow(a: FieldSet, b: FieldSet): FieldSet {
  if (isEmptySet(a) || isEmptySet(b) || areApart(a, b, true)) return a;
  return differenceChildren(a, b, {}, true) ?? NO_FIELDS;
}

/** Fields in both. */
export function intersection(a: FieldSet, b: FieldSet): FieldSet {
  return intersectionChildren(a, b, {}) ?? NO_FIELDS;
}

function intersectionChildren(a: FieldSet, b: FieldSet, out: Building): FieldSet | undefined {
  let children = 0;
  for (const key in a) {
    if (key === ".") continue;
    const other = b[key];
    if (other === undefined) continue;
    const both = intersectionChildren(
      a[key],
      other,
      start(isMember(a[key]) && isMember(other)),
    );
    if (both === undefined) continue;
    out[key] = both;
    children++;
  }
  return nodeOf(out, children);
}

/** Whether both hold the same fields. */
export function sameSet(a: FieldSet, b: FieldSet): boolean {
  if (a === b) return true;
  let count = 0;
  for (const key in a) {
    if (key === ".") continue;
    count++;
    const other = b[key];
    if (other === undefined || !sameNode(a[key], other)) return false;
  }
  for (const key in b) if (key !== ".") count--;
  return count === 0;
}

function sameNode(a: FieldSet, b: FieldSet): boolean {
  return a === b || (isMember(a) === isMember(b) && sameSet(a, b));
}

/** Whether the path is a member. */
export function hasPath(set: FieldSet, path: readonly string[]): boolean {
  let node: FieldSet | undefined = set;
  for (const element of path) {
    node = node[element];
    if (node === undefined) return false;
  }
  return path.length > 0 && isMember(node);
}

/** Whether the set's child is a member itself. */
export function hasElement(set: FieldSet, element: string): boolean {
  const node = set[element];
  return node !== undefined && isMember(node);
}

/** The set of these paths. */
export function setOf(paths: readonly (readonly string[])[]): FieldSet {
  let set = NO_FIELDS;
  for (const path of paths) {
    let node: FieldSet = LEAF;
    for (let i = path.length - 1; i >= 0; i--) node = { [path[i]]: node };
    set = union(set, node);
  }
  return set;
}

/** All members, each as its path: of every set its own members first, then what lies below them (as upstream). */
export function pathsOf(set: FieldSet): string[][] {
  const paths: string[][] = [];
  const visit = (node: FieldSet, path: string[]) => {
    const keys = Object.keys(node).filter((key) => key !== ".").sort();
    for (const key of keys) if (isMember(node[key])) paths.push([...path, key]);
    for (const key of keys) visit(node[key], [...path, key]);
  };
  visit(set, []);
  return paths;
}

/** A path as conflicts print it: `.spec.containers[name="a"].image`. */
export function pathText(path: readonly string[]): string {
  let text = "";
  for (const element of path) {
    const rest = element.slice(2);
    if (element[0] === "f") text += `.${rest}`;
    else if (element[0] === "v") text += `[=${rest}]`;
    else if (element[0] === "i") text += `[${rest}]`;
    else {
      const keys = JSON.parse(rest) as Record<string, unknown>;
      const parts = Object.keys(keys).map((key) => `${key}=${JSON.stringify(keys[key])}`);
      text += `[${parts.join(",")}]`;
    }
  }
  return text;
}

/** How deep a set from outside may nest. */
export const FIELD_SET_DEPTH_MAX = 200;

/** Whether a value from outside is a set of fields. */
export function isFieldSet(value: unknown, depth = 0): value is FieldSet {
  if (typeof value !== "object" || value === null || Array.isArray(value)) return false;
  if (depth === 0 && canonicals.has(value as FieldSet)) return true;
  if (depth > FIELD_SET_DEPTH_MAX) return false;
  const map = value as Record<string, unknown>;
  for (const key in map) {
    if (key === ".") continue;
    if (key[1] !== ":" || !isElement(key) || !isFieldSet(map[key], depth + 1)) return false;
  }
  return true;
}

function isElement(key: string): boolean {
  switch (key[0]) {
    case "f":
      return true;
    case "i":
      return /^i:-?[0-9]{1,9}$/.test(key);
    case "k":
    case "v":
      try {
        const value = JSON.parse(key.slice(2));
        return key[0] === "v" ||
          (typeof value === "object" && value !== null && !Array.isArray(value));
      } catch {
        return false; // Not JSON: no element of ours.
      }
  }
  return false;
}
