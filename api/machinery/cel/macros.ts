/**
 * Macros: calls whose arguments are not evaluated before but with each item (`all`, `map`, ...), with one
 * variable or, for lists index and item, for maps key and value, with two.
 */
import type { Code, Compiler, Node, Run } from "./compile.ts";
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
import { CelError, NONE, ObjectValue, Optional, type Value } from "./values.ts";

/** What a comprehension does with an item's outcome. */
interface Loop {
  range: Code;
  slots: number[];
}

const NAMES = new Set([
  "all",
  "exists",
  "exists_one",
  "existsOne",
  "map",
  "filter",
  "transformList",
  "transformMap",
]);

/** Iterations charge this for bookkeeping, as cel-go's loops do. */
const STEP_COST = 2;

/** The code of a macro call; undefined when it is none. */
export function expandMacro(
  compiler: Compiler,
  name: string,
  receiver: Node,
  args: Node[],
): Code | undefined {
  if ((name === "optMap" || name === "optFlatMap") && args.length === 2) {
    return optionalMap(compiler, name, receiver, args);
  }
  if (!NAMES.has(name) || args.length < 2 || args.length > 4) return undefined;
  const plan = planOf(name, args);
  if (!plan) return undefined;
  if (plan.names.some((node) => node.op !== "id")) {
    return compiler.fail(compiler.at(args[0]), "argument must be a simple name");
  }
  return comprehension(compiler, name, receiver, plan);
}

interface Plan {
  names: Node[];
  predicate?: Node;
  result?: Node;
}

function planOf(name: string, args: Node[]): Plan | undefined {
  switch (name) {
    case "all":
    case "exists":
    case "exists_one":
    case "existsOne":
      if (args.length > 3) return undefined;
      return { names: args.slice(0, -1), predicate: args.at(-1) };
    case "filter":
      return args.length === 2 ? { names: [args[0]], predicate: args[1] } : undefined;
    case "map":
      if (args.length === 2) return { names: [args[0]], result: args[1] };
      return args.length === 3
        ? { names: [args[0]], predicate: args[1], result: args[2] }
        : undefined;
  }
  if (args.length === 3) return { names: args.slice(0, 2), result: args[2] };
  return args.length === 4
    ? { names: args.slice(0, 2), predicate: args[2], result: args[3] }
    : undefined;
}

function rangeTypes(type: Type, two: boolean): Type[] | undefined {
  switch (type.kind) {
    case "dyn":
      return two ? [DYN, DYN] : [DYN];
    case "list":
      return two ? [INT, type.a!] : [type.a!];
    case "map":
      return two ? [type.a!, type.b!] : [type.a!];
  }
  return undefined;
}

function comprehension(
  compiler: Compiler,
  name: string,
  receiver: Node,
  plan: Plan,
): Code {
  const range = compiler.node(receiver);
  const two = plan.names.length === 2;
  const types = rangeTypes(range.type, two);
  if (!types) {
    const why = `expression of type '${typeText(range.type)}' cannot be range of a comprehension ` +
      "(must be list, map, or dynamic)";
    return compiler.fail(compiler.at(receiver), why);
  }
  let predicate: Code | undefined;
  let result: Code | undefined;
  const items = range.schema?.items;
  const isList = range.type.kind === "list";
  const schemas = two ? [undefined, items] : [isList ? items : undefined];
  const { slots } = compiler.within(
    plan.names.map((node, i) => ({ name: node.args, type: types[i], schema: schemas[i] })),
    () => {
      predicate = plan.predicate && compiler.node(plan.predicate);
      result = plan.result && compiler.node(plan.result);
      return range;
    },
  );
  if (predicate && !assignable(BOOL, predicate.type, new Map())) {
    const why = `expected type 'bool' but found '${typeText(predicate.type)}'`;
    return compiler.fail(plan.predicate!.pos, why);
  }
  const inner = (predicate?.cost ?? 0) + (result?.cost ?? 0) + STEP_COST;
  const cost = range.cost + range.size * inner;
  const loop: Loop = { range, slots };
  switch (name) {
    case "all":
    case "exists":
      return { type: BOOL, cost, size: 1, run: (run) => quantify(loop, predicate!, name, run) };
    case "exists_one":
    case "existsOne":
      return { type: BOOL, cost, size: 1, run: (run) => existsOne(loop, predicate!, run) };
    case "transformMap":
      return {
        type: mapOf(types[0], result!.type),
        cost: cost + 30,
        size: range.size,
        run: (run) => transformMap(loop, predicate, result!, run),
      };
  }
  const type = result ? listOf(result.type) : isList ? range.type : listOf(types[0]);
  return {
    type,
    cost: cost + 10,
    size: range.size,
    schema: result ? undefined : range.schema,
    run: (run) => collect(loop, predicate, result, run),
  };
}

/** Visits each item with its variables set, until `visit` returns false. */
function each(loop: Loop, run: Run, visit: (first: Value) => boolean): void {
  const { slots } = loop;
  const range = loop.range.run(run);
  const two = slots.length === 2;
  if (Array.isArray(range)) {
    for (let i = 0; i < range.length; i++) {
      run.charge(STEP_COST);
      run.slots[slots[0]] = two ? BigInt(i) : range[i];
      if (two) run.slots[slots[1]] = range[i];
      if (!visit(two ? BigInt(i) : range[i])) return;
    }
    return;
  }
  if (!(range instanceof Map)) {
    if (!(range instanceof ObjectValue)) throw new CelError("no such overload");
    throw new CelError("an object of known fields cannot be iterated");
  }
  for (const [key, value] of range) {
    run.charge(STEP_COST);
    run.slots[slots[0]] = key;
    if (two) run.slots[slots[1]] = value;
    if (!visit(key)) return;
  }
}

function test(predicate: Code, run: Run): boolean {
  const value = predicate.run(run);
  if (typeof value !== "boolean") throw new CelError("no such overload");
  return value;
}

/** `all` and `exists`: an error counts only when no other item decides. */
function quantify(loop: Loop, predicate: Code, name: string, run: Run): boolean {
  const decisive = name === "exists";
  let failure: CelError | undefined;
  let decided = false;
  each(loop, run, () => {
    try {
      if (test(predicate, run) === decisive) decided = true;
    } catch (error) {
      if (!(error instanceof CelError)) throw error;
      failure ??= error;
    }
    return !decided;
  });
  if (decided) return decisive;
  if (failure) throw failure;
  return !decisive;
}

function existsOne(loop: Loop, predicate: Code, run: Run): boolean {
  let count = 0;
  each(loop, run, () => {
    if (test(predicate, run)) count++;
    return true;
  });
  return count === 1;
}

function collect(
  loop: Loop,
  predicate: Code | undefined,
  result: Code | undefined,
  run: Run,
): Value {
  const out: Value[] = [];
  run.charge(10);
  each(loop, run, (first) => {
    if (!predicate || test(predicate, run)) out.push(result ? result.run(run) : first);
    return true;
  });
  return out;
}

function transformMap(loop: Loop, predicate: Code | undefined, result: Code, run: Run): Value {
  const out = new Map<Value, Value>();
  run.charge(30);
  each(loop, run, (first) => {
    if (!predicate || test(predicate, run)) out.set(first, result.run(run));
    return true;
  });
  return out;
}

function optionalMap(compiler: Compiler, name: string, receiver: Node, args: Node[]): Code {
  const [variable, body] = args;
  const target = compiler.node(receiver);
  if (variable.op !== "id") {
    return compiler.fail(variable.pos, `${name}() variable name must be a simple identifier`);
  }
  const inner = target.type.kind === "optional" ? target.type.a! : DYN;
  const { slots, code } = compiler.within(
    [{ name: variable.args, type: inner, schema: target.schema }],
    () => compiler.node(body),
  );
  const flat = name === "optFlatMap";
  return {
    type: flat ? code.type : optionalOf(code.type),
    cost: target.cost + code.cost,
    size: code.size,
    run(run) {
      const value = target.run(run);
      if (!(value instanceof Optional)) throw new CelError("no such overload");
      if (!value.has) return NONE;
      run.slots[slots[0]] = value.value;
      const made = code.run(run);
      return flat ? made : new Optional(true, made);
    },
  };
}
