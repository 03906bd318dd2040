/**
 * The functions that expressions may call, by name and arity, each with its types, what it does and what
 * it costs. Operators are functions with names such as `_+_`.
 */
import {
  BOOL,
  BYTES,
  DOUBLE,
  DURATION,
  DYN,
  INT,
  listOf,
  mapOf,
  NULL,
  optionalOf,
  STRING,
  TIMESTAMP,
  TYPE,
  type Type,
  UINT,
} from "./types.ts";
import { sizeOf, type Value } from "./values.ts";

/** One way to call a function. The receiver, where there is one, is the first parameter. */
export interface Overload {
  readonly params: readonly Type[];
  readonly result: Type;
  // deno-lint-ignore no-explicit-any -- the checker has settled what they are
  readonly run: (...args: any[]) => Value;
  /** Cost units of a call, its arguments' apart (default 1). */
  readonly cost?: (args: readonly Value[]) => number;
}

const functions = new Map<string, Overload[]>();
const names = new Set<string>();

const BASIC: Record<string, Type> = {
  dyn: DYN,
  bool: BOOL,
  int: INT,
  uint: UINT,
  double: DOUBLE,
  string: STRING,
  bytes: BYTES,
  null: NULL,
  timestamp: TIMESTAMP,
  duration: DURATION,
  type: TYPE,
};

/** Reads a type such as `list<A>`, `map<string,dyn>`, `quantity`. */
export function parseType(text: string): Type {
  const inner = /^(list|map|optional)<(.*)>$/.exec(text);
  if (inner) {
    if (inner[1] === "list") return listOf(parseType(inner[2]));
    if (inner[1] === "optional") return optionalOf(parseType(inner[2]));
    const comma = inner[2].indexOf(",");
    return mapOf(parseType(inner[2].slice(0, comma)), parseType(inner[2].slice(comma + 1)));
  }
  if (BASIC[text]) return BASIC[text];
  return /^[A-Z]$/.test(text) ? { kind: "param", name: text } : { kind: "opaque", name: text };
}

function key(name: string, receiver: boolean, count: number): string {
  return `${receiver ? "." : ""}${name}/${count}`;
}

function add(name: string, receiver: boolean, overload: Overload): void {
  const at = key(name, receiver, overload.params.length - (receiver ? 1 : 0));
  const list = functions.get(at);
  if (list) list.push(overload);
  else functions.set(at, [overload]);
  names.add(name);
}

/** Defines a function: `name(params): result`. */
export function define(
  name: string,
  params: string[],
  result: string,
  run: Overload["run"],
  cost?: Overload["cost"],
): void {
  add(name, false, { params: params.map(parseType), result: parseType(result), run, cost });
}

/** Defines a method: `receiver.name(params): result`. */
export function method(
  receiver: string,
  name: string,
  params: string[],
  result: string,
  run: Overload["run"],
  cost?: Overload["cost"],
): void {
  const all = [receiver, ...params].map(parseType);
  add(name, true, { params: all, result: parseType(result), run, cost });
}

/** All overloads of a function by name and number of arguments (without the receiver). */
export function overloads(name: string, receiver: boolean, count: number): readonly Overload[] {
  return functions.get(key(name, receiver, count)) ?? [];
}

/** Whether anything is called so. */
export function isFunction(name: string): boolean {
  return names.has(name);
}

// --- costs --------------------------------------------------------------------------------------------

/** What walking a text costs: a tenth of a unit a character. */
export const STRING_COST = 0.1;

/** The cost of walking the first argument's text. */
export function textCost(args: readonly Value[]): number {
  return Math.ceil(sizeOf(args[0]) * STRING_COST);
}

/** The cost of walking the first two arguments' texts. */
export function bothTextsCost(args: readonly Value[]): number {
  return Math.ceil((sizeOf(args[0]) + sizeOf(args[1])) * STRING_COST);
}

/** The cost of looking for one text in another. */
export function searchCost(args: readonly Value[]): number {
  return Math.ceil(sizeOf(args[0]) * STRING_COST) * Math.ceil(sizeOf(args[1]) * STRING_COST);
}

/** The cost of a regular expression over a text. */
export function matchCost(args: readonly Value[]): number {
  return Math.ceil((1 + sizeOf(args[0])) * STRING_COST) * Math.ceil(sizeOf(args[1]) * 0.25);
}

/** The cost of visiting the first argument's items. */
export function itemsCost(args: readonly Value[]): number {
  return Math.max(1, sizeOf(args[0]));
}

/** The cost of comparing each item of one list with each of another. */
export function productCost(args: readonly Value[]): number {
  return Math.max(1, sizeOf(args[0]) * sizeOf(args[1]));
}
