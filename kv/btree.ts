/**
 * A persistent ordered map from keys to items that know their key: a B-tree whose changes copy the path
 * from the root and share the rest. A root is a value: it costs nothing to keep, and never changes.
 *
 * Keys compare by UTF-16 units, which for ASCII is the order of bytes. Subtrees know their size, so that
 * counting a range visits no items.
 */

/** What the map holds. */
export interface Keyed {
  readonly key: string;
}

/** The most items of a leaf, and children of an inner node. */
const WIDTH = 32;
/** Below this a node is joined with its neighbour where both fit into one. */
const NARROW = 8;

/** A node: a leaf has `items`, an inner node `kids` and the first key of each in `keys`. */
export interface Node<I extends Keyed> {
  readonly items: I[] | null;
  readonly kids: Node<I>[] | null;
  readonly keys: string[] | null;
  readonly size: number;
}

/** The empty map. */
export const EMPTY: Node<never> = { items: [], kids: null, keys: null, size: 0 };

function leaf<I extends Keyed>(items: I[]): Node<I> {
  return { items, kids: null, keys: null, size: items.length };
}

function inner<I extends Keyed>(kids: Node<I>[], keys: string[], size: number): Node<I> {
  return { items: null, kids, keys, size };
}

function innerOf<I extends Keyed>(kids: Node<I>[]): Node<I> {
  const keys: string[] = [];
  let size = 0;
  for (const kid of kids) {
    keys.push(firstKey(kid));
    size += kid.size;
  }
  return inner(kids, keys, size);
}

function firstKey<I extends Keyed>(node: Node<I>): string {
  return node.items !== null ? node.items[0].key : node.keys![0];
}

/** The index of the first item whose key is `key` or greater. */
function lowerBound<I extends Keyed>(items: I[], key: string): number {
  let low = 0;
  let high = items.length;
  while (low < high) {
    const middle = low + high >>> 1;
    if (items[middle].key < key) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** The index of the child that holds `key` if the map does. */
function childIndex(keys: string[], key: string): number {
  let low = 1;
  let high = keys.length;
  while (low < high) {
    const middle = low + high >>> 1;
    if (keys[middle] <= key) low = middle + 1;
    else high = middle;
  }
  return low - 1;
}

/** The item at `key`. */
export function get<I extends Keyed>(root: Node<I>, key: string): I | undefined {
  let node = root;
  while (node.kids !== null) node = node.kids[childIndex(node.keys!, key)];
  const items = node.items!;
  const at = lowerBound(items, key);
  return at < items.length && items[at].key === key ? items[at] : undefined;
}

/** The map with `item` at its key. */
export function set<I extends Keyed>(root: Node<I>, item: I): Node<I> {
  const sides = setIn(root, item);
  return sides.right === undefined ? sides.left : innerOf([sides.left, sides.right]);
}

interface Sides<I extends Keyed> {
  left: Node<I>;
  right: Node<I> | undefined;
}

function setIn<I extends Keyed>(node: Node<I>, item: I): Sides<I> {
  return node.items !== null ? setInLeaf(node.items, item) : setInInner(node, item);
}

function setInLeaf<I extends Keyed>(items: I[], item: I): Sides<I> {
  const at = lowerBound(items, item.key);
  const next = items.slice();
  if (at < items.length && items[at].key === item.key) {
    next[at] = item;
    return { left: leaf(next), right: undefined };
  }
  if (at === items.length) next.push(item);
  else next.splice(at, 0, item);
  if (next.length <= WIDTH) return { left: leaf(next), right: undefined };
  // Keys that only grow leave full leaves behind.
  const cut = at === items.length ? next.length - 4 : next.length >> 1;
  return { left: leaf(next.slice(0, cut)), right: leaf(next.slice(cut)) };
}

function setInInner<I extends Keyed>(node: Node<I>, item: I): Sides<I> {
  const keys = node.keys!;
  const at = childIndex(keys, item.key);
  const old = node.kids![at];
  const { left, right } = setIn(old, item);
  const kids = node.kids!.slice();
  kids[at] = left;
  let nextKeys = keys;
  const leftKey = firstKey(left);
  if (leftKey !== keys[at] || right !== undefined) {
    nextKeys = keys.slice();
    nextKeys[at] = leftKey;
  }
  const size = node.size - old.size + left.size + (right === undefined ? 0 : right.size);
  if (right === undefined) return { left: inner(kids, nextKeys, size), right };
  kids.splice(at + 1, 0, right);
  nextKeys.splice(at + 1, 0, firstKey(right));
  if (kids.length <= WIDTH) return { left: inner(kids, nextKeys, size), right: undefined };
  const cut = at + 2 === kids.length ? kids.length - 4 : kids.length >> 1;
  return { left: innerOf(kids.slice(0, cut)), right: innerOf(kids.slice(cut)) };
}

/** The map without `key`; the same map when it has none. */
export function remove<I extends Keyed>(root: Node<I>, key: string): Node<I> {
  let next = removeIn(root, key);
  while (next.kids !== null && next.kids.length === 1) next = next.kids[0];
  return next.size === 0 ? EMPTY : next;
}

function removeIn<I extends Keyed>(node: Node<I>, key: string): Node<I> {
  if (node.items !== null) {
    const at = lowerBound(node.items, key);
    if (at === node.items.length || node.items[at].key !== key) return node;
    const items = node.items.slice();
    items.splice(at, 1);
    return leaf(items);
  }
  const at = childIndex(node.keys!, key);
  const old = node.kids![at];
  const kid = removeIn(old, key);
  if (kid === old) return node;
  const kids = node.kids!.slice();
  if (kid.size === 0) kids.splice(at, 1);
  else {
    kids[at] = kid;
    if (widthOf(kid) < NARROW) joinNeighbours(kids, at);
  }
  return innerOf(kids);
}

function widthOf<I extends Keyed>(node: Node<I>): number {
  return node.items !== null ? node.items.length : node.kids!.length;
}

function joinNeighbours<I extends Keyed>(kids: Node<I>[], at: number): void {
  if (kids.length < 2) return;
  const first = at === 0 ? 0 : at - 1;
  const left = kids[first];
  const right = kids[first + 1];
  if (widthOf(left) + widthOf(right) > WIDTH) return;
  const joined = left.items !== null
    ? leaf(left.items.concat(right.items!))
    : innerOf(left.kids!.concat(right.kids!));
  kids.splice(first, 2, joined);
}

/** A map of items that are sorted by key, each key once. */
export function fromSorted<I extends Keyed>(items: readonly I[]): Node<I> {
  if (items.length === 0) return EMPTY;
  let level: Node<I>[] = [];
  for (let at = 0; at < items.length; at += WIDTH - 8) {
    level.push(leaf(items.slice(at, at + WIDTH - 8)));
  }
  while (level.length > 1) {
    const next: Node<I>[] = [];
    for (let at = 0; at < level.length; at += WIDTH - 8) {
      next.push(innerOf(level.slice(at, at + WIDTH - 8)));
    }
    level = next;
  }
  return level[0];
}

/** How many keys are less than `key`. */
export function rank<I extends Keyed>(root: Node<I>, key: string): number {
  let node = root;
  let before = 0;
  while (node.kids !== null) {
    const at = childIndex(node.keys!, key);
    for (let i = 0; i < at; i++) before += node.kids[i].size;
    node = node.kids[at];
  }
  return before + lowerBound(node.items!, key);
}

/** The least key greater than every key that begins with `prefix`; undefined when there is none. */
export function prefixEnd(prefix: string): string | undefined {
  for (let at = prefix.length - 1; at >= 0; at--) {
    const unit = prefix.charCodeAt(at);
    if (unit < 0xffff) return prefix.slice(0, at) + String.fromCharCode(unit + 1);
  }
  return undefined;
}

/** Items from the first key not less than `from` up to `end` (excluded; undefined: to the last). */
export function scan<I extends Keyed>(
  root: Node<I>,
  from: string,
  end: string | undefined,
): IterableIterator<I> {
  return new Scan(root, from, end);
}

/**
 * Whether two maps hold the very same items from `from` up to `end`. What they share is not looked at: of a map that
 * came from another by a few changes only the leaves that changed are.
 */
export function sameItems<I extends Keyed>(
  a: Node<I>,
  b: Node<I>,
  { from, end }: { from: string; end: string | undefined },
): boolean {
  return sameIn(a, b, from, end);
}

function sameIn<I extends Keyed>(
  a: Node<I>,
  b: Node<I>,
  from: string,
  end: string | undefined,
): boolean {
  if (a === b) return true;
  // Most changes leave the keys of a node as they are, and all but one of its children.
  if (a.kids !== null && a.keys === b.keys) {
    const keys = a.keys!;
    for (let at = childIndex(keys, from); at < keys.length; at++) {
      if (end !== undefined && keys[at] >= end) break;
      if (a.kids[at] !== b.kids![at] && !sameIn(a.kids[at], b.kids![at], from, end)) return false;
    }
    return true;
  }
  const [left, right] = [leavesOf(a, from, end), leavesOf(b, from, end)];
  if (left.length !== right.length) return false;
  return left.every((one, i) => one === right[i] || sameInLeaf(one, right[i], from, end));
}

/** The leaves with items in a range, and perhaps one beside it at either end. */
function leavesOf<I extends Keyed>(
  node: Node<I>,
  from: string,
  end: string | undefined,
  out: I[][] = [],
): I[][] {
  if (node.kids === null) {
    out.push(node.items!);
    return out;
  }
  const keys = node.keys!;
  for (let at = childIndex(keys, from); at < keys.length; at++) {
    if (end !== undefined && keys[at] >= end) break;
    leavesOf(node.kids[at], from, end, out);
  }
  return out;
}

function sameInLeaf<I extends Keyed>(
  a: I[],
  b: I[],
  from: string,
  end: string | undefined,
): boolean {
  let [i, j] = [lowerBound(a, from), lowerBound(b, from)];
  for (;; i++, j++) {
    const one = i < a.length && (end === undefined || a[i].key < end) ? a[i] : undefined;
    const two = j < b.length && (end === undefined || b[j].key < end) ? b[j] : undefined;
    if (one !== two) return false;
    if (one === undefined) return true;
  }
}

/** What is at a key in one map and not, or otherwise, in another. */
export interface Difference<I extends Keyed> {
  readonly before?: I;
  readonly after?: I;
}

/** What differs between two maps in a range, in order of keys; leaves that they share are not looked at. */
export function* differences<I extends Keyed>(
  a: Node<I>,
  b: Node<I>,
  { from, end }: { from: string; end: string | undefined },
): Generator<Difference<I>> {
  if (a === b) return;
  const [left, right] = [leavesOf(a, from, end), leavesOf(b, from, end)];
  let [i, j] = [0, 0];
  let [x, y] = [left, right].map((leaves) => leaves.length > 0 ? lowerBound(leaves[0], from) : 0);
  for (;;) {
    if (i < left.length && x === left[i].length) [i, x] = [i + 1, 0];
    else if (j < right.length && y === right[j].length) [j, y] = [j + 1, 0];
    else if (x === y && i < left.length && left[i] === right[j]) {
      [i, x, j, y] = [i + 1, 0, j + 1, 0];
    } else {
      const before = within(left[i]?.[x], end);
      const after = within(right[j]?.[y], end);
      if (before === undefined && after === undefined) return;
      const order = before === undefined
        ? 1
        : after === undefined || before.key < after.key
        ? -1
        : before.key === after.key
        ? 0
        : 1;
      if (order <= 0) x++;
      if (order >= 0) y++;
      if (order < 0) yield { before };
      else if (order > 0) yield { after };
      else if (before !== after) yield { before, after };
    }
  }
}

function within<I extends Keyed>(item: I | undefined, end: string | undefined): I | undefined {
  return item !== undefined && (end === undefined || item.key < end) ? item : undefined;
}

class Scan<I extends Keyed> implements IterableIterator<I> {
  /** Inner nodes from the root down, and the child of each that is being visited. */
  readonly #path: Node<I>[] = [];
  readonly #at: number[] = [];
  readonly #end: string | undefined;
  #items: I[];
  #next: number;

  constructor(root: Node<I>, from: string, end: string | undefined) {
    let node = root;
    while (node.kids !== null) {
      const at = childIndex(node.keys!, from);
      this.#path.push(node);
      this.#at.push(at);
      node = node.kids[at];
    }
    this.#items = node.items!;
    this.#next = lowerBound(this.#items, from);
    this.#end = end;
  }

  next(): IteratorResult<I> {
    if (this.#next === this.#items.length && !this.#nextLeaf()) return DONE;
    const item = this.#items[this.#next];
    if (this.#end !== undefined && item.key >= this.#end) return DONE;
    this.#next++;
    return { done: false, value: item };
  }

  #nextLeaf(): boolean {
    let level = this.#path.length - 1;
    while (level >= 0 && this.#at[level] + 1 === this.#path[level].kids!.length) level--;
    if (level < 0) return false;
    let node = this.#path[level].kids![++this.#at[level]];
    while (node.kids !== null) {
      this.#path[++level] = node;
      this.#at[level] = 0;
      node = node.kids[0];
    }
    this.#items = node.items!;
    this.#next = 0;
    return this.#items.length > 0;
  }

  [Symbol.iterator](): IterableIterator<I> {
    return this;
  }
}

const DONE: IteratorResult<never> = { done: true, value: undefined };
