/**
 * From an expression to code. Parsing is cel-js's; types, evaluation and cost are ours: expressions run on
 * objects as they are stored, typed by their schemas, `matches` runs on RE2, every node charges what
 * upstream charges, and errors read as cel-go's.
 */
import { Environment } from "@marcbachmann/cel-js";
import type { Schema } from "../types.ts";
import { defineAuthorizer } from "./authorizer.ts";
import { compiledPattern, defineCore } from "./core_library.ts";
import { sizeEstimate } from "./estimate.ts";
import { defineExtensions } from "./extensions.ts";
import { expandMacro } from "./macros.ts";
import { isFunction, type Overload, overloads } from "./registry.ts";
import {
  assignable,
  BOOL,
  bound,
  DYN,
  joined,
  listOf,
  mapOf,
  NULL,
  optionalOf,
  TYPE,
  type Type,
  typeText,
} from "./types.ts";
import {
  CelError,
  equal,
  fits,
  NONE,
  ObjectValue,
  Optional,
  Sized,
  sizeOf,
  typeName,
  TypeValue,
  Uint,
  UNBOUND,
  type Value,
} from "./values.ts";

defineCore();
defineExtensions();
defineAuthorizer();

/** A node of cel-js's tree. `args` depends on `op`. */
export interface Node {
  op: string;
  // deno-lint-ignore no-explicit-any -- a value, a node, or lists of nodes, by `op`
  args: any;
  pos: number;
  start: number;
  end: number;
}

/** An evaluation under way. */
export class Run {
  readonly slots: Value[];
  cost = 0;
  readonly limit: number;
  constructor(slots: Value[], limit: number) {
    this.slots = slots;
    this.limit = limit;
  }

  /** Counts cost; throws CostError past the limit. */
  charge(units: number): void {
    this.cost += units;
    if (this.cost > this.limit) throw new CostError();
  }
}

/** The cost limit was reached. Nothing in the language absorbs it. */
export class CostError extends Error {
  override name = "CostError";
  constructor() {
    super("operation cancelled: actual cost limit exceeded");
  }
}

/** A compiled node. */
export interface Code {
  type: Type;
  run(run: Run): Value;
  /** Most that one evaluation may cost. */
  cost: number;
  /** Most characters, items or entries the value may have. */
  size: number;
  /** Where the value comes from the object: its schema. */
  schema?: Schema;
  /** Of a literal: its value, and where it stands. */
  constant?: { value: Value; pos: number };
}

/** What a name stands for. */
export interface Variable {
  slot: number;
  type: Type;
  schema?: Schema;
  size: number;
}

const parser = new Environment({
  unlistedVariablesAreDyn: true,
  enableOptionalTypes: true,
  limits: { maxAstNodes: 20000, maxDepth: 250, maxListElements: 5000, maxMapEntries: 5000 },
});

const TYPE_NAMES = new Set([
  "int",
  "uint",
  "double",
  "bool",
  "string",
  "bytes",
  "list",
  "map",
  "null_type",
  "type",
]);

const PROTOBUF_TYPES = new Set(["google.protobuf.Timestamp", "google.protobuf.Duration"]);

/** Type conversions, which are made at once of literals. */
const CONVERSIONS = new Set([
  "int",
  "uint",
  "double",
  "bool",
  "string",
  "bytes",
  "timestamp",
  "duration",
]);
const PATTERN_FUNCTIONS = new Set(["matches", "find", "findAll"]);
/** Functions whose literal arguments belong to what is checked. */
const LITERAL_CHECKS = new Set(["matches", "timestamp", "duration"]);

/** Failure of a node that did not check; never runs, because the expression is refused. */
const BROKEN: Code = { type: DYN, run: () => null, cost: 0, size: 1 };

/** Compiles one expression. */
export class Compiler {
  readonly text: string;
  readonly errors: { pos: number; message: string }[] = [];
  /** What is found out only where everything else is right. */
  readonly #late: { pos: number; message: string }[] = [];
  /** Why no program can be made of what is right otherwise. */
  instantiation: string | undefined;
  /** Names of outside variables that the expression uses. */
  readonly used = new Set<string>();
  #scope = new Map<string, Variable>();
  #slots = 0;
  /** Whether list and map literals may mix types. */
  #mixed = false;

  constructor(text: string, variables: ReadonlyMap<string, { type: Type; schema?: Schema }>) {
    this.text = text;
    for (const [name, { type, schema }] of variables) {
      const size = schema ? sizeEstimate(schema) : 1000;
      this.#scope.set(name, { slot: this.#slots++, type, schema, size });
    }
  }

  /** How many slots an evaluation needs. */
  get slots(): number {
    return this.#slots;
  }

  /** Parses and compiles; errors are in `errors`. */
  compile(): Code {
    let ast: Node;
    try {
      ast = parser.parse(this.text).ast as unknown as Node;
    } catch (error) {
      const found = error as { summary?: string; message: string; range?: { start: number } };
      const message = `Syntax error: ${found.summary ?? found.message}`;
      this.errors.push({ pos: found.range?.start ?? 0, message });
      return BROKEN;
    }
    const code = this.node(ast);
    if (this.errors.length === 0) this.errors.push(...this.#late);
    this.errors.sort((a, b) => a.pos - b.pos);
    return code;
  }

  /** Where errors about a node point: of selections and indexing that is the dot or bracket. */
  at(ast: Node): number {
    if (ast.op === ".") return ast.pos - 1;
    if (ast.op === ".?") return ast.pos - 2;
    if (ast.op === "[]" || ast.op === "[?]") return this.text.indexOf("[", ast.args[0].end);
    return ast.pos;
  }

  fail(pos: number, message: string): Code {
    this.errors.push({ pos, message });
    return BROKEN;
  }

  /** Compiles with more names in scope. */
  within(names: { name: string; type: Type; schema?: Schema }[], body: () => Code): {
    slots: number[];
    code: Code;
  } {
    const before = this.#scope;
    this.#scope = new Map(before);
    const slots = names.map(({ name, type, schema }) => {
      const slot = this.#slots++;
      const size = schema ? sizeEstimate(schema) : 100;
      this.#scope.set(name, { slot, type, schema, size });
      return slot;
    });
    const code = body();
    this.#scope = before;
    return { slots, code };
  }

  node(ast: Node): Code {
    switch (ast.op) {
      case "value":
        return this.#literal(ast);
      case "id":
        return this.#identifier(ast);
      case ".":
      case ".?":
        return this.#select(ast);
      case "[]":
      case "[?]":
        return this.#index(ast);
      case "call":
        return this.#call(ast);
      case "rcall":
        return this.#memberCall(ast);
      case "list":
        return this.#list(ast);
      case "map":
        return this.#map(ast);
      case "?:":
        return this.#ternary(ast);
      case "&&":
      case "||":
        return this.#logic(ast);
      case "==":
      case "!=":
        return this.#equality(ast);
      case "-_":
        return this.#negation(ast);
      case "!_":
        return this.resolve(ast.op, false, [this.node(ast.args)], ast.pos);
      case "in":
        return this.resolve(
          "@in",
          false,
          ast.args.map((a: Node) => this.node(a)),
          this.#operator(ast),
        );
    }
    const args = (ast.args as Node[]).map((arg) => this.node(arg));
    return this.resolve(`_${ast.op}_`, false, args, this.#operator(ast));
  }

  /** The lowest integer is written with a sign before a number that is none without it. */
  #isMinimum(ast: Node): boolean {
    return ast.args === 2n ** 63n && this.text[ast.start - 1] === "-";
  }

  /** Numbers with a sign are literals too. */
  #negation(ast: Node): Code {
    const inner = this.node(ast.args);
    const code = this.resolve(ast.op, false, [inner], ast.pos);
    const value = inner.constant?.value;
    if (typeof value === "bigint") code.constant = { value: -value, pos: ast.pos };
    if (typeof value === "number") code.constant = { value: -value, pos: ast.pos };
    return code;
  }

  /** Where the operator of a binary expression stands. */
  #operator(ast: Node): number {
    const [left, right] = ast.args as Node[];
    const at = this.text.indexOf(ast.op, left.end);
    return at >= 0 && at < right.start ? at : ast.pos;
  }

  #literal(ast: Node): Code {
    const [type, value] = literal(ast.args);
    if (typeof value === "bigint" && BigInt.asIntN(64, value) !== value && !this.#isMinimum(ast)) {
      return this.fail(ast.pos, "invalid int literal");
    }
    const constant = { value, pos: ast.pos };
    return { type, run: () => value, cost: 0, size: sizeOf(value), constant };
  }

  #identifier(ast: Node): Code {
    const name = ast.args as string;
    const variable = this.#scope.get(name);
    if (variable) {
      this.used.add(name);
      const { slot, type, schema, size } = variable;
      return {
        type,
        schema,
        size,
        cost: 1,
        run(run) {
          run.charge(1);
          const value = run.slots[slot];
          if (value === UNBOUND) throw new CelError(`no such attribute(s): ${name}`);
          return value;
        },
      };
    }
    if (TYPE_NAMES.has(name)) {
      const value = new TypeValue(name);
      return { type: TYPE, run: () => value, cost: 1, size: 1 };
    }
    return this.fail(ast.pos, `undeclared reference to '${name}' (in container '')`);
  }

  isVariable(name: string): boolean {
    return this.#scope.has(name);
  }

  #select(ast: Node): Code {
    const [left, name] = ast.args as [Node, string];
    const protobuf = `google.protobuf.${name}`;
    if (PROTOBUF_TYPES.has(protobuf) && this.text.slice(ast.start, ast.end) === protobuf) {
      const value = new TypeValue(protobuf);
      return { type: TYPE, run: () => value, cost: 1, size: 1 };
    }
    // A variable's name may hold a dot (`authorizer.requestResource`).
    if (ast.op === "." && left.op === "id" && this.isVariable(`${left.args}.${name}`)) {
      return this.#identifier({ ...left, args: `${left.args}.${name}` });
    }
    const target = this.node(left);
    const optional = ast.op === ".?" || target.type.kind === "optional";
    const inner = target.type.kind === "optional" ? target.type.a! : target.type;
    const found = this.#fieldType(inner, name, this.at(ast), target.schema);
    if (!found) return BROKEN;
    const { type, schema } = found;
    const base = {
      cost: target.cost + 1,
      size: schema ? sizeEstimate(schema) : target.size,
      schema,
    };
    if (optional) {
      return {
        ...base,
        type: optionalOf(type),
        run(run) {
          const value = unwrap(target.run(run));
          run.charge(1);
          const got = value === undefined ? undefined : fieldOf(value, name);
          return got === undefined ? NONE : new Optional(true, got);
        },
      };
    }
    return {
      ...base,
      type,
      run(run) {
        const value = target.run(run);
        run.charge(1);
        const got = fieldOf(value, name);
        if (got === undefined) throw new CelError(`no such key: ${name}`);
        return got;
      },
    };
  }

  #fieldType(
    type: Type,
    name: string,
    pos: number,
    schema: Schema | undefined,
  ): { type: Type; schema?: Schema } | undefined {
    switch (type.kind) {
      case "object": {
        const field = type.fields!.get(name);
        if (field) return { type: field.type, schema: field.schema };
        this.fail(pos, `undefined field '${name}'`);
        return undefined;
      }
      case "map":
        return { type: type.b!, schema: schema?.items };
      case "dyn":
        return { type: DYN };
    }
    this.fail(pos, `type '${typeText(type)}' does not support field selection`);
    return undefined;
  }

  #index(ast: Node): Code {
    const [target, index] = (ast.args as Node[]).map((arg) => this.node(arg));
    const optional = ast.op === "[?]" || target.type.kind === "optional";
    const inner = target.type.kind === "optional" ? target.type.a! : target.type;
    const type = indexType(inner, index.type);
    if (!type) {
      const applied = `(${typeText(target.type)}, ${typeText(index.type)})`;
      const at = this.text.indexOf("[", (ast.args as Node[])[0].end);
      return this.fail(at, `found no matching overload for '_[_]' applied to '${applied}'`);
    }
    const schema = target.schema?.items;
    const base = {
      cost: target.cost + index.cost + 1,
      size: schema ? sizeEstimate(schema) : target.size,
      schema,
    };
    if (optional) {
      return {
        ...base,
        type: optionalOf(type),
        run(run) {
          const value = unwrap(target.run(run));
          const at = index.run(run);
          run.charge(1);
          const got = value === undefined ? undefined : itemOf(value, at);
          return got === undefined ? NONE : new Optional(true, got);
        },
      };
    }
    return {
      ...base,
      type,
      run(run) {
        const value = target.run(run);
        const at = index.run(run);
        run.charge(1);
        const got = itemOf(value, at);
        if (got !== undefined) return got;
        const what = Array.isArray(value) ? "index out of bounds" : "no such key";
        throw new CelError(`${what}: ${String(at)}`);
      },
    };
  }

  #call(ast: Node): Code {
    const [name, args] = ast.args as [string, Node[]];
    if (name === "has") return this.#has(ast, args);
    const codes = args.map((arg) => this.node(arg));
    return this.resolve(name, false, codes, this.text.indexOf("(", ast.start));
  }

  #has(ast: Node, args: Node[]): Code {
    const [field] = args;
    if (args.length !== 1 || (field.op !== "." && field.op !== ".?")) {
      return this.fail(this.at(field ?? ast), "invalid argument to has() macro");
    }
    const [left, name] = field.args as [Node, string];
    const target = this.node(left);
    const inner = target.type.kind === "optional" ? target.type.a! : target.type;
    const paren = this.text.indexOf("(", ast.start);
    if (!this.#fieldType(inner, name, paren, target.schema)) return BROKEN;
    return {
      type: BOOL,
      cost: target.cost + 1,
      size: 1,
      run(run) {
        const value = unwrap(target.run(run));
        run.charge(1);
        return value !== undefined && fieldOf(value, name) !== undefined;
      },
    };
  }

  #memberCall(ast: Node): Code {
    const [name, receiver, args] = ast.args as [string, Node, Node[]];
    const macro = expandMacro(this, name, receiver, args);
    if (macro) return macro;
    const paren = this.text.indexOf("(", receiver.end);
    if (receiver.op === "id" && !this.isVariable(receiver.args)) {
      const full = `${receiver.args}.${name}`;
      if (isFunction(full)) {
        return this.resolve(full, false, args.map((arg) => this.node(arg)), paren);
      }
    }
    const before = this.#mixed;
    // What is to be formatted may be of any types.
    this.#mixed = name === "format";
    const codes = [receiver, ...args].map((arg) => this.node(arg));
    this.#mixed = before;
    return this.resolve(name, true, codes, paren);
  }

  /** Chooses among a function's overloads and makes the call. */
  resolve(name: string, receiver: boolean, args: Code[], pos: number): Code {
    if (!isFunction(name)) {
      return this.fail(pos, `undeclared reference to '${name}' (in container '')`);
    }
    if (args.includes(BROKEN)) return BROKEN;
    const count = args.length - (receiver ? 1 : 0);
    const matching: { overload: Overload; result: Type }[] = [];
    for (const overload of overloads(name, receiver, count)) {
      const bindings = new Map<string, Type>();
      if (overload.params.every((param, i) => assignable(param, args[i].type, bindings))) {
        matching.push({ overload, result: bound(overload.result, bindings) });
      }
    }
    if (matching.length === 0) {
      const types = args.map((arg) => typeText(arg.type));
      const applied = receiver
        ? `${types[0]}.(${types.slice(1).join(", ")})`
        : `(${types.join(", ")})`;
      return this.fail(pos, `found no matching overload for '${name}' applied to '${applied}'`);
    }
    this.#checkConstants(name, matching[0].overload, args);
    const result = matching.map((one) => one.result).reduce(joined);
    const sizes = args.map((arg) => new Sized(arg.size));
    const own = Math.max(...matching.map((one) => one.overload.cost?.(sizes) ?? 1));
    const sure = matching.length === 1 && args.every((arg) => arg.type.kind !== "dyn");
    return {
      type: result,
      cost: args.reduce((sum, arg) => sum + arg.cost, own),
      size: name === "_+_" ? args.reduce((sum, arg) => sum + arg.size, 0) : args[0]?.size ?? 1,
      run: sure
        ? staticCall(matching[0].overload, args)
        : dynamicCall(name, matching.map((one) => one.overload), args),
    };
  }

  /** Calls that cannot succeed whatever the object says. */
  #checkConstants(name: string, overload: Overload, args: Code[]): void {
    const isPattern = PATTERN_FUNCTIONS.has(name);
    const literal = args[isPattern ? 1 : 0]?.constant;
    if (!literal) return;
    try {
      if (isPattern) compiledPattern(literal.value as string);
      else if (CONVERSIONS.has(name) && args.length === 1) overload.run(literal.value);
    } catch (error) {
      if (!(error instanceof CelError)) throw error;
      if (LITERAL_CHECKS.has(name)) {
        this.#late.push({ pos: literal.pos, message: `invalid ${name} argument` });
      } else this.instantiation ??= error.message;
    }
  }

  #list(ast: Node): Code {
    const items = (ast.args as Node[]).map((item) => this.node(item));
    const type = this.#common(items.map((item, i) => [item, (ast.args as Node[])[i]]));
    return {
      type: listOf(type),
      cost: items.reduce((sum, item) => sum + item.cost, 10),
      size: items.length,
      run(run) {
        run.charge(10);
        return items.map((item) => item.run(run));
      },
    };
  }

  /** The one type of all items; the first that differs is an error. */
  #common(items: [Code, Node][]): Type {
    if (items.length === 0) return { kind: "param", name: "_" };
    let type = items[0][0].type;
    for (const [code, node] of items.slice(1)) {
      if (!assignable(type, code.type, new Map()) && !assignable(code.type, type, new Map())) {
        if (this.#mixed) return DYN;
        const message = `expected type '${typeText(type)}' but found '${typeText(code.type)}'`;
        this.#late.push({ pos: this.at(node), message });
        return DYN;
      }
      type = joined(type, code.type);
    }
    return type;
  }

  #map(ast: Node): Code {
    const pairs = ast.args as [Node, Node][];
    const entries = pairs.map(([k, v]) => [this.node(k), this.node(v)] as const);
    const keys = this.#common(entries.map(([k], i) => [k, pairs[i][0]]));
    const values = this.#common(entries.map(([, v], i) => [v, pairs[i][1]]));
    return {
      type: mapOf(keys, values),
      cost: entries.reduce((sum, [k, v]) => sum + k.cost + v.cost, 30),
      size: entries.length,
      run(run) {
        run.charge(30);
        const map = new Map<Value, Value>();
        for (const [k, v] of entries) {
          map.set(k.run(run), v.run(run));
        }
        return map;
      },
    };
  }

  #ternary(ast: Node): Code {
    const [condition, yes, no] = (ast.args as Node[]).map((arg) => this.node(arg));
    const either = assignable(yes.type, no.type, new Map()) ||
      assignable(no.type, yes.type, new Map());
    if (!assignable(BOOL, condition.type, new Map()) || !either) {
      const types = [condition, yes, no].map((code) => typeText(code.type)).join(", ");
      const at = this.text.indexOf("?", (ast.args as Node[])[0].end);
      return this.fail(at, `found no matching overload for '_?_:_' applied to '(${types})'`);
    }
    return {
      type: joined(yes.type, no.type),
      cost: condition.cost + Math.max(yes.cost, no.cost),
      size: Math.max(yes.size, no.size),
      schema: yes.schema ?? no.schema,
      run(run) {
        const value = condition.run(run);
        if (value === true) return yes.run(run);
        if (value === false) return no.run(run);
        throw new CelError("no such overload");
      },
    };
  }

  #logic(ast: Node): Code {
    const [left, right] = (ast.args as Node[]).map((arg) => this.node(arg));
    const bad = [left, right].findIndex((code) => !assignable(BOOL, code.type, new Map()));
    if (bad >= 0) {
      const why = `expected type 'bool' but found '${typeText([left, right][bad].type)}'`;
      return this.fail(this.at(ast.args[bad]), why);
    }
    const decisive = ast.op === "||";
    return {
      type: BOOL,
      cost: left.cost + right.cost,
      size: 1,
      run: (run) => logic(left, right, decisive, run),
    };
  }

  #equality(ast: Node): Code {
    const [left, right] = (ast.args as Node[]).map((arg) => this.node(arg));
    const same = assignable(left.type, right.type, new Map()) ||
      assignable(right.type, left.type, new Map());
    if (!same) {
      const applied = `(${typeText(left.type)}, ${typeText(right.type)})`;
      const why = `found no matching overload for '_${ast.op}_' applied to '${applied}'`;
      return this.fail(this.#operator(ast), why);
    }
    const wanted = ast.op === "==";
    const own = (a: number, b: number) => Math.max(1, Math.ceil(Math.min(a, b) * 0.1));
    return {
      type: BOOL,
      cost: left.cost + right.cost + own(left.size, right.size),
      size: 1,
      run(run) {
        const a = left.run(run);
        const b = right.run(run);
        run.charge(own(sizeOf(a), sizeOf(b)));
        return equal(a, b) === wanted;
      },
    };
  }
}

function literal(value: unknown): [Type, Value] {
  if (value === null) return [NULL, null];
  switch (typeof value) {
    case "boolean":
      return [BOOL, value];
    case "bigint":
      return [{ kind: "int" }, value];
    case "number":
      return [{ kind: "double" }, value];
    case "string":
      return [{ kind: "string" }, value];
  }
  if (value instanceof Uint8Array) return [{ kind: "bytes" }, value];
  return [{ kind: "uint" }, new Uint((value as { value: bigint }).value)];
}

/** The value of an optional; undefined for none. */
function unwrap(value: Value): Value | undefined {
  if (!(value instanceof Optional)) return value;
  return value.has ? value.value : undefined;
}

function fieldOf(value: Value, name: string): Value | undefined {
  if (value instanceof ObjectValue) return value.get(name);
  if (value instanceof Map) return value.get(name);
  throw new CelError(`no such overload: ${typeName(value)} does not support field selection`);
}

function itemOf(value: Value, at: Value): Value | undefined {
  if (Array.isArray(value)) {
    const index = at instanceof Uint ? at.value : at;
    if (typeof index !== "bigint" && !Number.isInteger(index)) {
      throw new CelError("no such overload");
    }
    return value[Number(index)];
  }
  if (value instanceof Map) return value.get(at);
  if (value instanceof ObjectValue && typeof at === "string") return value.get(at);
  throw new CelError("no such overload");
}

function indexType(target: Type, index: Type): Type | undefined {
  if (target.kind === "dyn") return DYN;
  if (target.kind === "list") {
    return index.kind === "int" || index.kind === "dyn" ? target.a : undefined;
  }
  if (target.kind !== "map") return undefined;
  return assignable(target.a!, index, new Map()) ? target.b : undefined;
}

function staticCall(overload: Overload, args: Code[]): Code["run"] {
  const { run: call, cost } = overload;
  return (run) => {
    const values = args.map((arg) => arg.run(run));
    run.charge(cost ? cost(values) : 1);
    return call(...values);
  };
}

function dynamicCall(name: string, candidates: Overload[], args: Code[]): Code["run"] {
  return (run) => {
    const values = args.map((arg) => arg.run(run));
    const chosen = candidates.find((one) => one.params.every((param, i) => fits(param, values[i])));
    if (!chosen) {
      const which = /^[@_]|_$/.test(name) ? "" : `: ${name}(${values.map(typeName).join(", ")})`;
      throw new CelError(`no such overload${which}`);
    }
    run.charge(chosen.cost ? chosen.cost(values) : 1);
    return chosen.run(...values);
  };
}

/** `&&` and `||`: the side that decides wins, whatever happened on the other. */
function logic(left: Code, right: Code, decisive: boolean, run: Run): boolean {
  let failure: CelError | undefined;
  try {
    const value = left.run(run);
    if (value === decisive) return decisive;
    if (typeof value !== "boolean") failure = new CelError("no such overload");
  } catch (error) {
    if (!(error instanceof CelError)) throw error;
    failure = error;
  }
  try {
    const value = right.run(run);
    if (value === decisive) return decisive;
    if (typeof value !== "boolean") failure ??= new CelError("no such overload");
  } catch (error) {
    if (!(error instanceof CelError)) throw error;
    failure ??= error;
  }
  if (failure) throw failure;
  return !decisive;
}
