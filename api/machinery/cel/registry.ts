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
import type { Cost, Estimate } from "./costs.ts";
import type { Value } from "./values.ts";

/** One way to call a function. The receiver, where there is one, is the first parameter. */
export interface Overload {
  readonly params: readonly Type[];
  readonly result: Type;
  // deno-lint-ignore no-explicit-any -- the checker has settled what they are
  readonly run: (...args: any[]) => Value;
  /** Cost units of a call that can mean no other overload, its arguments' apart (default 1). */
  readonly cost?: Cost;
  readonly estimate?: Estimate;
}

/** What a call of an overload costs, where not 1. */
export interface Price {
  cost?: Cost;
  estimate?: Estimate;
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

/** Kubernetes' own types by the names that definitions here use. */
const OPAQUE: Record<string, string> = {
  quantity: "kubernetes.Quantity",
  url: "kubernetes.URL",
  format: "kubernetes.NamedFormat",
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
  if (OPAQUE[text]) return { kind: "opaque", name: OPAQUE[text] };
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
  price: Price = {},
): void {
  add(name, false, { params: params.map(parseType), result: parseType(result), run, ...price });
}

/** Defines a method: `receiver.name(params): result`. */
export function method(
  receiver: string,
  name: string,
  params: string[],
  result: string,
  run: Overload["run"],
  price: Price = {},
): void {
  const all = [receiver, ...params].map(parseType);
  add(name, true, { params: all, result: parseType(result), run, ...price });
}

/** All overloads of a function by name and number of arguments (without the receiver). */
export function overloads(name: string, receiver: boolean, count: number): readonly Overload[] {
  return functions.get(key(name, receiver, count)) ?? [];
}

/** Whether anything is called so. */
export function isFunction(name: string): boolean {
  return names.has(name);
}
