/**
 * Macros: calls whose arguments are not evaluated before but with each item (`all`, `map`, ...), with one
 * variable or, for lists index and item, for maps key and value, with two. cel-go writes them out as folds over
 * an accumulator; these loops do without, and charge what the steps of the folds would.
 */
import { BROKEN, type Code, Deferred, noOverload, type Run, step } from "./code.ts";
import type { Binding, Compiler } from "./compile.ts";
import { LIST_COST, MAP_COST, selfCompared } from "./costs.ts";
import {
  fixed,
  ONE,
  type Range,
  sizeOfSchema,
  sum,
  times,
  union,
  UNKNOWN,
  ZERO,
} from "./estimate.ts";
import type { Node } from "./parser.ts";
import {
  assignable,
  BOOL,
  DYN,
  INT,
  listOf,
  mapOf,
  optionalOf,
  type Type,
  typeText,
} from "./types.ts";
import { LongLoop, work } from "./lane.ts";
import { CelError, compare, goTypeOf, NONE, Optional, type Value } from "./values.ts";
import { mapGet, mapPut } from "./literals.ts";

/** The parts of a call of a macro. */
interface Plan {
  names: Node[];
  predicate?: Node;
  result?: Node;
}

/** What a macro does. `names`: how many variables, `parts`: how many arguments may follow them. */
interface Macro {
  names: number;
  parts: (args: Node[]) => Omit<Plan, "names">;
  /** What is said of a variable that is no name. */
  complaint: string;
  make: (loop: Loop) => Code;
}

const SIMPLE = "argument must be a simple name";
const IDENTIFIER = "argument is not an identifier";
const predicate = ([one]: Node[]) => ({ predicate: one });
const mapped = (args: Node[]) =>
  args.length === 2 ? { predicate: args[0], result: args[1] } : { result: args[0] };

/** By name and number of arguments. */
const MACROS = new Map<string, Macro>();

function macro(names: string, counts: number[], rest: Macro): void {
  for (const name of names.split(" ")) for (const n of counts) MACROS.set(`${name}/${n}`, rest);
}

macro("all", [2], { names: 1, parts: predicate, complaint: SIMPLE, make: quantifier("all") });
macro("exists", [2], { names: 1, parts: predicate, complaint: SIMPLE, make: quantifier("exists") });
macro("exists_one", [2], { names: 1, parts: predicate, complaint: SIMPLE, make: existsOne });
macro("map", [2, 3], { names: 1, parts: mapped, complaint: IDENTIFIER, make: collector });
macro("filter", [2], { names: 1, parts: predicate, complaint: IDENTIFIER, make: collector });
macro("all", [3], { names: 2, parts: predicate, complaint: SIMPLE, make: quantifier("all") });
macro("exists", [3], { names: 2, parts: predicate, complaint: SIMPLE, make: quantifier("exists") });
macro("exists_one existsOne", [3], {
  names: 2,
  parts: predicate,
  complaint: SIMPLE,
  make: existsOne,
});
macro("transformList", [3, 4], { names: 2, parts: mapped, complaint: SIMPLE, make: collector });
macro("transformMap", [3, 4], { names: 2, parts: mapped, complaint: SIMPLE, make: mapper(false) });
macro("transformMapEntry", [3, 4], {
  names: 2,
  parts: mapped,
  complaint: SIMPLE,
  make: mapper(true),
});

/** The code of a macro call; undefined when it is none. */
export function expandMacro(
  compiler: Compiler,
  ast: Node & { op: "call" },
  target: Node,
): Code | undefined {
  const { name, args } = ast;
  if ((name === "optMap" || name === "optFlatMap") && args.length === 2) {
    return optionalMap(compiler, ast, target);
  }
  if (name === "sortBy" && args.length === 2) return sortBy(compiler, ast, target);
  const found = MACROS.get(`${name}/${args.length}`);
  if (!found) return undefined;
  const plan = { names: args.slice(0, found.names), ...found.parts(args.slice(found.names)) };
  const bad = plan.names.find((node) => node.op !== "ident");
  if (bad) return compiler.fail(bad.pos, found.complaint);
  const loop = compileLoop(compiler, plan, target, ast);
  return loop ? found.make(loop) : BROKEN;
}

// --- loops --------------------------------------------------------------------------------------------

/** A loop over a range, its parts compiled. */
interface Loop {
  range: Code;
  slots: number[];
  types: Type[];
  predicate?: Code;
  result?: Code;
  compiler: Compiler;
  ast: Node & { op: "call" };
  plan: Plan;
}

function rangeTypes(type: Type, two: boolean): Type[] | undefined {
  switch (type.kind) {
    case "dyn":
    case "param":
      return two ? [DYN, DYN] : [DYN];
    case "list":
      return two ? [INT, type.a!] : [type.a!];
    case "map":
      return two ? [type.a!, type.b!] : [type.a!];
  }
  return undefined;
}

/** Upstream holds the keys of a map with a schema to have no size, whatever their length: rules count on it. */
function keySize({ schema, entry }: Code): Range | undefined {
  return schema?.type === "map" ? ZERO : entry?.key;
}

/**
 * The variables of a loop, with what is known of their sizes. What does not lie in the object (the parts of a split
 * text, the results of `map`) has the size of the value that the rule is about, as upstream: rules count on that too.
 */
function bindings({ root }: Compiler, range: Code, types: Type[], names: Node[]): Binding[] {
  const isList = range.type.kind === "list";
  const items = range.schema?.items;
  const elsewhere = range.schema ? undefined : root;
  const value = elsewhere ?? { schema: items, size: sizeOfSchema(items) ?? range.entry?.value };
  const key = elsewhere ?? { schema: undefined, size: keySize(range) };
  return names.map((node, i) => {
    const { name } = node as Node & { op: "ident" };
    const last = i === names.length - 1;
    const isValue = names.length === 2 ? last : isList;
    return { name, type: types[i], ...(isValue ? value : key) };
  });
}

function compileLoop(
  compiler: Compiler,
  plan: Plan,
  target: Node,
  ast: Node & { op: "call" },
): Loop | undefined {
  const range = compiler.node(target);
  if (range === BROKEN) return undefined;
  const types = rangeTypes(range.type, plan.names.length === 2);
  if (!types) {
    const why = `expression of type '${typeText(range.type)}' cannot be range of a comprehension ` +
      "(must be list, map, or dynamic)";
    compiler.fail(target.pos, why);
    return undefined;
  }
  return compiler.within(bindings(compiler, range, types, plan.names), (slots) => {
    const predicate = plan.predicate && compiler.node(plan.predicate);
    const result = plan.result && compiler.node(plan.result);
    if (predicate === BROKEN || result === BROKEN) return undefined;
    return { range, slots, types, predicate, result, compiler, ast, plan };
  });
}

function rangeSize({ range }: Loop): Range {
  return range.size ?? UNKNOWN;
}

/**
 * Visits each item with its variables set until `visit` returns false; an error where there are none. What a loop has so
 * far is in its state, which `visit` changes only when all that it evaluates is there.
 */
function each<S extends object>(
  loop: Loop,
  run: Run,
  start: S,
  visit: (state: S, first: Value) => boolean,
): S | CelError {
  const { slots } = loop;
  const range = loop.range.run(run);
  if (range instanceof CelError) return range;
  const two = slots.length === 2;
  if (run.frame) return longLoop(run, { range, slots, start, visit });
  const at = (first: Value, second: Value): boolean => {
    work(1);
    run.slots[slots[0]] = first;
    if (two) run.slots[slots[1]] = second;
    return visit(start, first);
  };
  if (Array.isArray(range)) {
    for (let i = 0; i < range.length; i++) {
      if (!(two ? at(BigInt(i), range[i]) : at(range[i], null))) break;
    }
  } else if (!(range instanceof Map)) return notIterable(range, two);
  else if (two) { for (const [key, value] of range) if (!at(key, value)) break; }
  else for (const key of range.keys()) if (!at(key, null)) break;
  return start;
}

function notIterable(range: Value, two: boolean): CelError {
  const type = goTypeOf(range);
  return new CelError(
    two ? `unsupported comprehension range type: ${type}` : `got '${type}', expected iterable type`,
  );
}

/** The same in the lane of long evaluations. */
function longLoop<S extends object>(
  run: Run,
  { range, slots: [one, other], start, visit }: {
    range: Value;
    slots: number[];
    start: S;
    visit: (state: S, first: Value) => boolean;
  },
): S | CelError {
  const two = other !== undefined;
  const isList = Array.isArray(range);
  if (!isList && !(range instanceof Map)) return notIterable(range, two);
  const frame = run.frame!;
  return frame.step(run, () => {
    const items = () => isList ? range : [...range.keys()];
    const loop = frame.open(() => new LongLoop(start, items(), run.cost));
    loop.go(run, (item, index) => {
      work(1);
      const first = two && isList ? BigInt(index) : item;
      run.slots[one] = first;
      if (two) run.slots[other] = isList ? item : range.get(item);
      return visit(loop.state, first);
    });
    return loop.state;
  });
}

/** Whether the predicate holds, or the error that it ran into. */
function test(predicate: Code, run: Run): boolean | CelError {
  const value = predicate.run(run);
  if (typeof value === "boolean" || value instanceof CelError) return value;
  return noOverload();
}

/** The error of a predicate that is no condition, as a fold's operator says it. */
function unfit(
  { compiler, ast, plan, predicate }: Loop,
  how: "logic" | "choice",
  kept: Type,
): Code | undefined {
  if (!predicate || assignable(BOOL, predicate.type, new Map())) return undefined;
  const found = typeText(predicate.type);
  if (how === "logic") {
    return compiler.fail(plan.predicate!.pos, `expected type 'bool' but found '${found}'`);
  }
  const types = `(${found}, ${typeText(kept)}, ${typeText(kept)})`;
  return compiler.fail(ast.pos, `found no matching overload for '_?_:_' applied to '${types}'`);
}

/** Cost of a fold: its range, start and result, and of each item. */
function folded(loop: Loop, start: Range, end: Range, step: Range): Range {
  return sum(loop.range.cost, start, end, times(rangeSize(loop), step));
}

/** `all` and `exists`: an error counts only when no other item decides. */
function quantifier(name: "all" | "exists"): Macro["make"] {
  const decisive = name === "exists";
  // Each turn asks whether the outcome is decided, then combines it with the item's.
  const asking = decisive ? 3 : 2;
  return (loop) => {
    const broken = unfit(loop, "logic", BOOL);
    if (broken) return broken;
    const predicate = loop.predicate!;
    const step = { min: asking + 1, max: asking + 1 + predicate.cost.max };
    return {
      type: BOOL,
      cost: folded(loop, ZERO, ONE, step),
      size: ONE,
      run(run) {
        const start: { outcome: boolean | CelError } = { outcome: !decisive };
        const end = each(loop, run, start, (state) => {
          run.charge(asking);
          if (state.outcome === decisive) return false;
          run.charge(1);
          const value = test(predicate, run);
          if (value === decisive) state.outcome = decisive;
          else if (value instanceof CelError && !(state.outcome instanceof CelError)) {
            state.outcome = value;
          }
          return true;
        });
        if (end instanceof CelError) return end;
        run.charge(1);
        return end.outcome;
      },
    };
  };
}

function existsOne(loop: Loop): Code {
  const broken = unfit(loop, "choice", INT);
  if (broken) return broken;
  const predicate = loop.predicate!;
  return {
    type: BOOL,
    cost: folded(loop, ZERO, fixed(2), sum(predicate.cost, { min: 1, max: 2 })),
    size: ONE,
    run(run) {
      const start: { count: number; problem?: CelError } = { count: 0, problem: undefined };
      const end = each(loop, run, start, (state) => {
        const value = test(predicate, run);
        if (value instanceof CelError) state.problem ??= value;
        else if (value) {
          run.charge(2);
          state.count++;
        }
        return true;
      });
      if (end instanceof CelError) return end;
      run.charge(2);
      return end.problem ?? end.count === 1;
    },
  };
}

/** What adding an item to the list under way costs: the list, the item's own list, joining them. */
const APPEND_COST = LIST_COST + 2;

/** `map`, `filter` and `transformList`. */
function collector(loop: Loop): Code {
  const { predicate, result, range, types } = loop;
  const item = result?.type ?? types[0];
  const broken = unfit(loop, "choice", listOf(item));
  if (broken) return broken;
  const append = sum(fixed(APPEND_COST), result?.cost ?? ONE);
  const step = predicate ? sum(predicate.cost, union(append, ONE)) : append;
  const kept = range.type.kind === "map" ? keySize(range) : range.entry?.value;
  const size = (result ? result.size : kept) ?? UNKNOWN;
  return {
    type: listOf(item),
    cost: folded(loop, fixed(LIST_COST), ONE, step),
    size: rangeSize(loop),
    entry: { key: ONE, value: union(ZERO, size) },
    run: (run) => collect(loop, run),
  };
}

function collect(loop: Loop, run: Run): Value {
  const { predicate, result } = loop;
  const start: { out: Value[]; problem?: CelError } = { out: [], problem: undefined };
  const end = each(loop, run, start, (state, first) => {
    if (predicate) {
      const wanted = test(predicate, run);
      if (wanted instanceof CelError) state.problem ??= wanted;
      if (wanted !== true) return true;
    }
    // A list of one known item is made only once.
    run.charge(result?.constant ? APPEND_COST - LIST_COST : APPEND_COST);
    if (!result) run.charge(1);
    const value = result ? result.run(run) : first;
    if (value instanceof CelError) state.problem ??= value;
    else state.out.push(value);
    return true;
  });
  if (end instanceof CelError) return end;
  run.charge(1);
  return end.problem ?? end.out;
}

/** `transformMap`, and `transformMapEntry`, whose result is a map that is put in. */
function mapper(entries: boolean): Macro["make"] {
  return (loop) => {
    const { predicate, types } = loop;
    const result = loop.result!;
    const made: Type = entries
      ? result.type.kind === "map" ? result.type : mapOf(DYN, DYN)
      : mapOf(types[0], result.type);
    const broken = unfit(loop, "choice", made);
    if (broken) return broken;
    const insert = sum(fixed(entries ? 2 : 3), result.cost);
    const step = predicate ? sum(predicate.cost, union(insert, ONE)) : insert;
    return {
      type: made,
      cost: folded(loop, fixed(MAP_COST), ONE, step),
      size: rangeSize(loop),
      run: (run) => transform(loop, entries, run),
    };
  };
}

function transform(loop: Loop, entries: boolean, run: Run): Value {
  interface Made {
    out: Map<Value, Value>;
    problem?: CelError;
  }
  const insert = (state: Made, key: Value, value: Value) => {
    if (mapGet(state.out, key) === undefined) mapPut(state.out, key, value);
    else state.problem ??= new CelError(`insert failed: key ${String(key)} already exists`);
  };
  const start: Made = { out: new Map(), problem: undefined };
  const end = each(loop, run, start, (state, first) => {
    if (loop.predicate) {
      const wanted = test(loop.predicate, run);
      if (wanted instanceof CelError) state.problem ??= wanted;
      if (wanted !== true) return true;
    }
    run.charge(entries ? 2 : 3);
    const value = loop.result!.run(run);
    if (value instanceof CelError) state.problem ??= value;
    else if (!entries) insert(state, first, value);
    else if (value instanceof Map) { for (const [k, v] of value) insert(state, k, v); }
    else state.problem ??= noOverload();
    return true;
  });
  if (end instanceof CelError) return end;
  run.charge(1);
  return end.problem ?? end.out;
}

// --- sortBy -------------------------------------------------------------------------------------------

const SORTED = ["bool", "bytes", "double", "duration", "int", "string", "timestamp", "uint"];

/** `list.sortBy(x, key)`: by the keys that an expression makes of the items. */
function sortBy(compiler: Compiler, ast: Node & { op: "call" }, target: Node): Code {
  const [name, key] = ast.args;
  if (name.op !== "ident") return compiler.fail(name.pos, IDENTIFIER);
  const plan = { names: [name], result: key };
  const loop = compileLoop(compiler, plan, target, ast);
  if (!loop) return BROKEN;
  const { range } = loop;
  const { type } = loop.result!;
  const typed = type.kind !== "dyn";
  if (typed && type.kind !== "param" && !SORTED.includes(type.kind)) {
    const applied = `${typeText(range.type)}.(${typeText(listOf(type))})`;
    const function_ = "@sortByAssociatedKeys";
    return compiler.fail(
      ast.pos,
      `found no matching overload for '${function_}' applied to '${applied}'`,
    );
  }
  const price = selfCompared(0, type.kind);
  const keys = collector(loop);
  const known = { ...keys, type: keys.type };
  // The list is bound to a name, which is looked at twice.
  const cost = sum(fixed(LIST_COST + 2), keys.cost, price.estimate([known])!.cost);
  return {
    type: range.type.kind === "list" ? range.type : typed ? listOf(DYN) : DYN,
    cost,
    size: range.size,
    run(run) {
      const items: Value[] = [];
      const all = collect({ ...loop, range: noting(range, items) }, run);
      run.charge(2);
      if (all instanceof CelError) return all;
      return step(run, () => {
        run.charge(typed ? price.cost([all], all) : 1);
        return sorted(items, all as Value[]);
      });
    },
  };
}

/** A range that remembers the items it came to. */
function noting(range: Code, items: Value[]): Code {
  return {
    ...range,
    run(run) {
      const value = range.run(run);
      if (Array.isArray(value)) items.push(...value);
      return Array.isArray(value) || value instanceof CelError ? value : noOverload();
    },
  };
}

/** A list in the order of its keys, equal ones as they stood. */
export function sorted(items: Value[], keys: Value[]): Value {
  work(items.length * 16);
  const order = items.map((_, i) => i);
  let problem: CelError | undefined;
  order.sort((a, b) => {
    const how = compare(keys[a], keys[b]);
    if (how === undefined) problem = new CelError("no such overload");
    return how ?? 0;
  });
  return problem ?? order.map((i) => items[i]);
}

// --- optionals ----------------------------------------------------------------------------------------

function optionalMap(compiler: Compiler, ast: Node & { op: "call" }, receiver: Node): Code {
  const [variable, body] = ast.args;
  const target = compiler.node(receiver);
  if (variable.op !== "ident") {
    return compiler.fail(variable.pos, `${ast.name}() variable name must be a simple identifier`);
  }
  if (target === BROKEN) return BROKEN;
  const type = target.type.kind === "optional" ? target.type.a! : DYN;
  const names = [{ name: variable.name, type, schema: target.schema, size: target.size }];
  const { slot, code } = compiler.within(names, ([slot]) => ({ slot, code: compiler.node(body) }));
  if (code === BROKEN) return BROKEN;
  const flat = ast.name === "optFlatMap";
  if (!["optional", "dyn", "param"].includes(target.type.kind)) {
    compiler.noMatch(ast.pos, "hasValue", true, [target]);
    return compiler.noMatch(ast.pos, "value", true, [target]);
  }
  if (flat && !assignable(optionalOf(DYN), code.type, new Map())) {
    const types = `(bool, ${typeText(code.type)}, optional_type(dyn))`;
    return compiler.fail(ast.pos, `found no matching overload for '_?_:_' applied to '${types}'`);
  }
  // It is asked for its value, and, where it has one, asked again; the value is bound to a name.
  const bound = sum(fixed(LIST_COST + 1), target.cost, code.cost, flat ? ZERO : ONE);
  return {
    type: flat ? code.type : optionalOf(code.type),
    cost: sum(target.cost, ONE, union(bound, ONE)),
    size: code.size,
    run(run) {
      const before = run.cost;
      const value = target.run(run);
      run.charge(1);
      if (value instanceof CelError) return value;
      if (!(value instanceof Optional)) return noOverload();
      if (!value.has) {
        run.charge(1);
        return NONE;
      }
      // Whoever looks at it asks the target once more.
      run.slots[slot] = new Deferred(value.value, run.cost - before);
      const made = code.run(run);
      if (!flat) run.charge(1);
      if (made instanceof CelError || flat) return made;
      return new Optional(true, made);
    },
  };
}
