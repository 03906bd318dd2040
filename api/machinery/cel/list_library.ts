/** Functions on lists: Kubernetes' own, CEL's list extension and its sets. */
import {
  copied,
  crossed,
  type Known,
  LIST_COST,
  listEstimate,
  selfCompared,
  sizeKnown,
} from "./costs.ts";
import { fixed } from "./estimate.ts";
import { sorted } from "./macros.ts";
import { define, method, type Price } from "./registry.ts";
import { isLong, piecemeal, work } from "./lane.ts";
import {
  CelError,
  compare,
  Duration,
  equal,
  NONE,
  Optional,
  sizeOf,
  typeName,
  Uint,
  type Value,
} from "./values.ts";

const COMPARABLE = ["int", "uint", "double", "string", "bool", "bytes", "timestamp", "duration"];
const INT_MAX = 2n ** 63n - 1n;

/** Longest list that `lists.range` makes. */
export const RANGE_MAX = 1_000_000n;

/** Items that can be ordered; throws where they cannot. */
function ordered(items: Value[]): Value[] {
  work(items.length);
  for (const item of items) {
    if (compare(item, item) === undefined && !Number.isNaN(item)) {
      throw new CelError("no such overload");
    }
  }
  return items;
}

function isSorted(items: Value[]): boolean {
  ordered(items);
  return items.every((item, i) => i === 0 || (compare(items[i - 1], item) ?? 1) <= 0);
}

function extreme(name: string, sign: number): (items: Value[]) => Value {
  return (items) => {
    if (items.length === 0) throw new CelError(`${name} called on empty list`);
    return ordered(items).reduce((a, b) => (compare(b, a) ?? 0) * sign > 0 ? b : a);
  };
}

const ZEROS: Readonly<Record<string, Value>> = {
  int: 0n,
  uint: new Uint(0n),
  double: 0,
  duration: new Duration(0),
};

function sumOf(items: Value[]): Value {
  work(items.length);
  if (items.every((one) => typeof one === "number")) {
    return (items as number[]).reduce((a, b) => a + b, 0);
  }
  if (items.every((one) => one instanceof Duration)) {
    return new Duration((items as Duration[]).reduce((total, one) => total + one.ms, 0));
  }
  const unsigned = items.every((one) => one instanceof Uint);
  if (!unsigned && !items.every((one) => typeof one === "bigint")) {
    throw new CelError("no such overload");
  }
  const total = items.map((one) => unsigned ? (one as Uint).value : one as bigint)
    .reduce((a, b) => a + b, 0n);
  if (unsigned) return new Uint(total);
  if (total > INT_MAX || total < -INT_MAX - 1n) throw new CelError("integer overflow");
  return total;
}

/** What tells a scalar from others: numbers are equal whatever their type. */
function scalarKey(item: Value): Value | undefined {
  const value = item instanceof Uint ? item.value : item;
  if (typeof value === "number") return Number.isInteger(value) ? BigInt(value) : value;
  return typeof value === "object" ? undefined : value;
}

function distinct(items: Value[]): Value[] {
  const out: Value[] = [];
  const seen = new Set<Value>();
  for (const item of items) {
    work(1);
    const key = scalarKey(item);
    if (key === undefined ? out.some((other) => equal(other, item)) : seen.has(key)) continue;
    if (key !== undefined) seen.add(key);
    out.push(item);
  }
  return out;
}

function flatten(items: Value[], depth = 1n): Value[] {
  if (depth < 0n) throw new CelError("level must be non-negative");
  const out: Value[] = [];
  for (const item of items) {
    work(1);
    if (Array.isArray(item) && depth > 0n) {
      // Not by spreading: lists may be longer than calls may have arguments.
      for (const one of flatten(item, depth - 1n)) out.push(one);
    } else out.push(item);
  }
  return out;
}

function slice(items: Value[], from: bigint, to: bigint): Value[] {
  const where = `cannot slice(${from}, ${to})`;
  if (from < 0n || to < 0n) throw new CelError(`${where}, negative indexes not supported`);
  if (from > to) {
    throw new CelError(`${where}, start index must be less than or equal to end index`);
  }
  if (to > BigInt(items.length)) throw new CelError(`${where}, list is length ${items.length}`);
  return items.slice(Number(from), Number(to));
}

function range(count: bigint): Value[] {
  if (count > RANGE_MAX) throw new CelError(`lists.range: more than ${RANGE_MAX} items`);
  const length = Math.max(0, Number(count));
  work(4 * length);
  if (isLong()) return piecemeal(() => new Counting(length)).numbers;
  return Array.from({ length }, (_, i) => BigInt(i));
}

/** Numbers that a long evaluation counts in one piece. */
const COUNTED = 2_000;

/** Counts by pieces. */
class Counting {
  readonly numbers: bigint[] = [];
  readonly #length: number;

  constructor(length: number) {
    this.#length = length;
  }

  advance(): boolean {
    const { numbers } = this;
    const end = Math.min(this.#length, numbers.length + COUNTED);
    for (let i = numbers.length; i < end; i++) numbers.push(BigInt(i));
    return end === this.#length;
  }
}

function sort(items: Value[]): Value {
  const first = items.length ? typeName(items[0]) : "";
  if (items.some((one) => typeName(one) !== first)) {
    throw new CelError("list elements must have the same type");
  }
  const made = sorted(ordered(items), items);
  if (made instanceof CelError) throw made;
  return made;
}

const flattenPrice: Price = {
  cost: ([list, depth]) =>
    Math.floor(sizeOf(list) * (depth === undefined ? 1 : Number(depth))) + 1 +
    LIST_COST,
  estimate: ([list, depth]) => {
    const known = depth?.constant?.value;
    const times = depth === undefined ? 1 : typeof known === "bigint" ? Number(known) : 2 ** 64;
    return listEstimate(sizeKnown(list), times);
  },
};

const rangePrice: Price = {
  cost: copied.cost,
  estimate: ([count]) => {
    return listEstimate(fixed(intOf(count) ?? 2 ** 64), 1);
  },
};

/** A number that is known; none is less than 0. */
function intOf({ constant }: Known): number | undefined {
  const known = constant?.value;
  return typeof known === "bigint" ? Math.max(0, Number(known)) : undefined;
}

const slicePrice: Price = {
  cost: copied.cost,
  estimate: ([list, from, to]) => {
    const start = intOf(from) ?? 0;
    const end = intOf(to) ?? sizeKnown(list).max;
    return listEstimate(fixed(end < start ? 2 ** 64 + end - start : end - start), 1);
  },
};

function contained(a: Value[], b: Value[]): boolean {
  return b.every((x) => {
    work(a.length);
    return a.some((y) => equal(x, y));
  });
}

function sets(): void {
  const lists = ["list<A>", "list<A>"];
  define("sets.contains", lists, "bool", contained, crossed(1));
  define("sets.equivalent", lists, "bool", (a: Value[], b: Value[]) => {
    return contained(a, b) && contained(b, a);
  }, crossed(2));
  define("sets.intersects", lists, "bool", (a: Value[], b: Value[]) => {
    return a.some((x) => {
      work(b.length);
      return b.some((y) => equal(x, y));
    });
  }, crossed(1));
}

function optionals(): void {
  const end = (item: Value | undefined) => item === undefined ? NONE : new Optional(true, item);
  method("list<A>", "first", [], "optional<A>", (v: Value[]) => end(v[0]));
  method("list<A>", "last", [], "optional<A>", (v: Value[]) => end(v.at(-1)));
  const unwrap = (list: Optional[]) => list.flatMap((one) => one.has ? [one.value] : []);
  define("optional.unwrap", ["list<optional<A>>"], "list<A>", unwrap);
  method("list<optional<A>>", "unwrapOpt", [], "list<A>", unwrap);
}

/** Defines everything here. */
export function defineLists(): void {
  for (const type of COMPARABLE) {
    const list = `list<${type}>`;
    method(list, "isSorted", [], "bool", isSorted);
    method(list, "min", [], type, extreme("min", -1));
    method(list, "max", [], type, extreme("max", 1));
    method(list, "sort", [], list, sort, selfCompared(0, type));
  }
  for (const type of ["int", "uint", "double", "duration"]) {
    method(`list<${type}>`, "sum", [], type, (items: Value[]) => {
      return items.length ? sumOf(items) : ZEROS[type];
    });
  }
  method("list<A>", "indexOf", ["A"], "int", (list: Value[], item: Value) => {
    return BigInt(list.findIndex((other) => equal(other, item)));
  });
  method("list<A>", "lastIndexOf", ["A"], "int", (list: Value[], item: Value) => {
    return BigInt(list.findLastIndex((other) => equal(other, item)));
  });
  method("list<list<A>>", "flatten", [], "list<A>", flatten, flattenPrice);
  method("list<dyn>", "flatten", ["int"], "list<dyn>", flatten, flattenPrice);
  define("lists.range", ["int"], "list<int>", range, rangePrice);
  method("list<A>", "distinct", [], "list<A>", distinct, selfCompared(0));
  method("list<A>", "reverse", [], "list<A>", (list: Value[]) => {
    work(list.length);
    return [...list].reverse();
  }, copied);
  method("list<A>", "slice", ["int", "int"], "list<A>", slice, slicePrice);
  optionals();
  sets();
}
