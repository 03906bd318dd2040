/**
 * From an expression to code: names, fields, indices, operators and calls. Types, evaluation and cost follow
 * cel-go's checker, interpreter and cost tracker: expressions run on objects as they are stored, typed by their
 * schemas, `matches` runs on RE2, and errors read as cel-go's. Macros: `macros.ts`; lists, maps and messages:
 * `literals.ts`; what literals must be: `literal_checks.ts`.
 */
import type { Schema } from "../types.ts";
import { defineAuthorizer } from "./authorizer.ts";
import {
  BROKEN,
  type Code,
  constantCode,
  Deferred,
  noOverload,
  type Run,
  runBranch,
  step,
} from "./code.ts";
import { dynamicCall, isSearch, pattern, staticCall } from "./calls.ts";
import { defineCore } from "./core_library.ts";
import { type Estimate, priceOf, shorter } from "./costs.ts";
import { fixed, ONE, type Range, sizeOfSchema, sum, union, UNKNOWN, ZERO } from "./estimate.ts";
import { defineExtensions } from "./extensions.ts";
import { checkFormat, checkLiteral } from "./literal_checks.ts";
import { compileList, compileMap, compileMessage, memberOf } from "./literals.ts";
import { expandMacro } from "./macros.ts";
import { type Node, parse, SyntaxProblem } from "./parser.ts";
import { isFunction, type Overload, overloads } from "./registry.ts";
import {
  assignable,
  BOOL,
  bound,
  BYTES,
  DOUBLE,
  DYN,
  fieldNamed,
  INT,
  isOpen,
  joined,
  listOf,
  mapOf,
  NULL,
  optionalOf,
  STRING,
  TYPE,
  type Type,
  typeOfSchema,
  typeText,
  UINT,
} from "./types.ts";
import {
  CelError,
  equal,
  fits,
  goTypeOf,
  NONE,
  ObjectValue,
  Opaque,
  Optional,
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

/** What a name stands for. */
export interface Variable {
  slot: number;
  type: Type;
  schema?: Schema;
  size?: Range;
  entry?: Code["entry"];
}

/** A name that a macro brings, and what is known of it. */
export interface Binding extends Omit<Variable, "slot"> {
  name: string;
}

/** What is wrong with an expression, and where. */
export interface Problem {
  pos: number;
  message: string;
  /** About literals side by side that are of several types. */
  mixed?: true;
}

const TYPE_NAMES: Readonly<Record<string, Type>> = {
  bool: BOOL,
  bytes: BYTES,
  double: DOUBLE,
  int: INT,
  list: listOf(DYN),
  map: mapOf(DYN, DYN),
  null_type: NULL,
  string: STRING,
  type: TYPE,
  uint: UINT,
  "google.protobuf.Timestamp": { kind: "timestamp" },
  "google.protobuf.Duration": { kind: "duration" },
};

/** Type conversions, which are made at once of what is known. */
const CONVERSIONS = new Set([
  "int",
  "uint",
  "double",
  "bool",
  "string",
  "bytes",
  "timestamp",
  "duration",
  "dyn",
  "type",
]);

/** Compiles one expression. `messages`: it may make objects and patches. */
export class Compiler {
  readonly text: string;
  readonly messages: boolean;
  readonly errors: Problem[] = [];
  /** What is found out only where everything else is right. */
  readonly late: Problem[] = [];
  /** Why no program can be made of what is right otherwise. */
  instantiation: string | undefined;
  /** Names of outside variables that the expression uses. */
  readonly used = new Set<string>();
  #scope = new Map<string, Variable>();
  /** The value that a rule is about. */
  readonly root: Pick<Variable, "schema" | "size"> | undefined;
  #slots = 0;

  constructor(
    text: string,
    variables: ReadonlyMap<string, { type: Type; schema?: Schema; size?: number }>,
    messages = false,
  ) {
    this.text = text;
    this.messages = messages;
    for (const [name, { type, schema, size: most }] of variables) {
      const size = most === undefined ? sizeOfSchema(schema) : { min: 0, max: most };
      this.#scope.set(name, { slot: this.#slots++, type, schema, size });
      if (name === "self") this.root = { schema, size };
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
      ast = parse(this.text);
    } catch (error) {
      if (!(error instanceof SyntaxProblem)) throw error;
      this.errors.push({ pos: error.pos, message: error.message });
      return BROKEN;
    }
    const code = this.node(ast);
    if (this.errors.length === 0) this.errors.push(...this.late);
    this.errors.sort((a, b) => a.pos - b.pos);
    return code;
  }

  fail(pos: number, message: string): Code {
    this.errors.push({ pos, message });
    return BROKEN;
  }

  undeclared(pos: number, name: string): Code {
    return this.fail(pos, `undeclared reference to '${name.replace(/^\./, "")}' (in container '')`);
  }

  /** Compiles with more names in scope. */
  within<T>(names: readonly Binding[], body: (slots: number[]) => T): T {
    const before = this.#scope;
    this.#scope = new Map(before);
    const slots = names.map(({ name, ...rest }) => {
      const slot = this.#slots++;
      this.#scope.set(name, { slot, ...rest });
      return slot;
    });
    const made = body(slots);
    this.#scope = before;
    return made;
  }

  isVariable(name: string): boolean {
    return this.#scope.has(name);
  }

  node(ast: Node): Code {
    switch (ast.op) {
      case "literal":
        return literalCode(ast.value);
      case "ident":
        return this.#named(ast.name.replace(/^\./, "")) ?? this.undeclared(ast.pos, ast.name);
      case "select":
        return this.#select(ast);
      case "list":
        return compileList(this, ast);
      case "map":
        return compileMap(this, ast);
      case "message":
        return compileMessage(this, ast);
      case "call":
        return ast.target ? this.#memberCall(ast, ast.target) : this.#call(ast);
    }
  }

  /** The code of a variable or a type of that name. */
  #named(name: string): Code | undefined {
    const variable = this.#scope.get(name);
    if (variable) {
      this.used.add(name);
      const { slot, ...rest } = variable;
      return {
        ...rest,
        cost: ONE,
        attribute: "path",
        run(run) {
          run.charge(1);
          let value = run.slots[slot];
          if (value instanceof Deferred) {
            run.charge(value.cost);
            run.slots[slot] = value = value.value;
          }
          return value === UNBOUND ? new CelError(`no such attribute(s): ${name}`) : value;
        },
      };
    }
    if (!Object.hasOwn(TYPE_NAMES, name)) return undefined;
    const type: Type = { kind: "type", a: TYPE_NAMES[name] };
    // Upstream takes its size for that of the value which the rule is about.
    return constantCode(type, new TypeValue(name), ONE, this.root?.size);
  }

  // --- fields and indices -----------------------------------------------------------------------------

  #select(ast: Node & { op: "select" }): Code {
    const qualified = ast.optional ? undefined : qualifiedName(ast);
    if (qualified) {
      // A variable's name may hold a dot (`authorizer.requestResource`), a type's too.
      const named = this.#named(qualified);
      if (named) return named;
    }
    const target = this.node(ast.operand);
    if (target === BROKEN) return BROKEN;
    const found = this.fieldType(target, ast.field, ast.pos);
    if (!found) return BROKEN;
    const wrapped = ast.optional || (target.type.kind === "optional" && found.type.kind !== "dyn");
    const { field } = ast;
    const typed = ["map", "object", "param"].includes(target.type.kind);
    return {
      type: wrapped ? optionalOf(found.type) : found.type,
      schema: found.schema,
      size: sizeOfSchema(found.schema),
      cost: sum(target.cost, ast.optional || typed ? ONE : ZERO),
      attribute: "path",
      run: member(target, { name: field, optional: ast.optional }),
    };
  }

  /** The type of a field; undefined after an error. */
  fieldType(target: Code, name: string, pos: number): { type: Type; schema?: Schema } | undefined {
    const type = target.type.kind === "optional" ? target.type.a! : target.type;
    switch (type.kind) {
      case "object": {
        const field = type.fields === undefined ? { type: DYN } : fieldNamed(type, name);
        if (field) {
          const own = "schema" in field ? field.schema : undefined;
          return { type: field.type, schema: fieldSchema(target.schema, name, own) };
        }
        this.fail(pos, `undefined field '${name}'`);
        return undefined;
      }
      case "map":
        return { type: type.b! };
      case "dyn":
      case "param":
        return { type: DYN };
      case "opaque":
        this.fail(pos, `unexpected failed resolution of '${type.name}'`);
        return undefined;
    }
    this.fail(pos, `type '${typeText(type)}' does not support field selection`);
    return undefined;
  }

  #index(ast: Node & { op: "call" }): Code {
    const [target, index] = ast.args.map((arg) => this.node(arg));
    if (target === BROKEN || index === BROKEN) return BROKEN;
    const optional = ast.name === "_[?_]";
    const isOptional = target.type.kind === "optional";
    const type = indexType(isOptional ? target.type.a! : target.type, index.type);
    if (!type) return this.noMatch(ast.pos, ast.name, false, [target, index]);
    const wrapped = isOptional || (optional && target.type.kind !== "dyn");
    const key = index.constant?.value;
    if (key !== undefined && isOddKey(key)) this.instantiation ??= oddKey(key);
    const schema = target.schema ? target.schema.items : this.root?.schema;
    const size = target.entry?.value ?? (target.schema ? sizeOfSchema(schema) : this.root?.size);
    const code: Code = {
      type: wrapped ? optionalOf(type) : type,
      schema,
      size,
      cost: sum(target.cost, index.cost, ONE),
      attribute: "path",
      run: member(target, { index, optional }),
    };
    return code;
  }

  #has(ast: Node & { op: "call" }): Code {
    const [field] = ast.args;
    if (field?.op !== "select" || field.optional) {
      return this.fail(field?.pos ?? ast.pos, "invalid argument to has() macro");
    }
    const target = this.node(field.operand);
    if (target === BROKEN || !this.fieldType(target, field.field, ast.pos)) return BROKEN;
    const name = field.field;
    const own = (target.attribute ? 1 : 2) - 1;
    return {
      type: BOOL,
      cost: target.cost,
      run(run) {
        const from = target.run(run);
        if (from instanceof CelError || from === NONE) {
          run.charge(-1);
          return from === NONE ? false : from;
        }
        run.charge(own);
        const value = from instanceof Optional ? from.value : from;
        if (value instanceof Map) return value.has(name);
        if (value instanceof ObjectValue) return value.get(name) !== undefined;
        const found = memberOf(value, name);
        return found !== undefined && !(found instanceof CelError);
      },
    };
  }

  // --- calls ------------------------------------------------------------------------------------------

  #call(ast: Node & { op: "call" }): Code {
    switch (ast.name) {
      case "has":
        if (ast.args.length === 1) return this.#has(ast);
        break;
      case "_?_:_":
        return this.#ternary(ast);
      case "_&&_":
      case "_||_":
        return this.#logic(ast);
      case "_==_":
      case "_!=_":
        return this.#equality(ast);
      case "_[_]":
      case "_[?_]":
        return this.#index(ast);
    }
    const args = ast.args.map((arg) => this.node(arg));
    return this.resolve({ name: ast.name.replace(/^\./, ""), receiver: false, args, ast });
  }

  #memberCall(ast: Node & { op: "call" }, target: Node): Code {
    const macro = expandMacro(this, ast, target);
    if (macro) return macro;
    const prefix = qualifiedName(target);
    const qualified = prefix && `${prefix}.${ast.name}`;
    if (
      qualified && isFunction(qualified) && (this.messages || !qualified.startsWith("jsonpatch"))
    ) {
      const args = ast.args.map((arg) => this.node(arg));
      return this.resolve({ name: qualified, receiver: false, args, ast });
    }
    const before = this.late.length;
    const args = [this.node(target), ...ast.args.map((arg) => this.node(arg))];
    if (ast.name === "format" && args[0].type.kind === "string") {
      // What is to be formatted may be of any types, but must fit its clauses.
      const kept = this.late.splice(before).filter((problem) => !problem.mixed);
      this.late.push(...kept, ...checkFormat(ast, args, args[1]?.items));
    }
    return this.resolve({ name: ast.name, receiver: true, args, ast });
  }

  noMatch(pos: number, name: string, receiver: boolean, args: readonly Code[]): Code {
    const types = args.map((arg) => typeText(arg.type));
    const applied = receiver
      ? `${types[0]}.(${types.slice(1).join(", ")})`
      : `(${types.join(", ")})`;
    return this.fail(pos, `found no matching overload for '${name}' applied to '${applied}'`);
  }

  /** Chooses among a function's overloads and makes the call. */
  resolve(
    { name, receiver, args, ast }: {
      name: string;
      receiver: boolean;
      args: Code[];
      ast: Node & { op: "call" };
    },
  ): Code {
    if (!isFunction(name)) return this.undeclared(ast.pos, name);
    if (args.includes(BROKEN)) return BROKEN;
    const matching: { overload: Overload; result: Type }[] = [];
    for (const overload of overloads(name, receiver, args.length - (receiver ? 1 : 0))) {
      const bindings = new Map<string, Type>();
      if (overload.params.every((param, i) => assignable(param, args[i].type, bindings))) {
        matching.push({ overload, result: bound(overload.result, bindings) });
      }
    }
    if (matching.length === 0) return this.noMatch(ast.pos, name, receiver, args);
    // What an empty list or optional is of is settled by the first overload that takes it.
    if (args.some((arg) => isOpen(arg.type))) matching.length = 1;
    const result = resultOf(name, args, matching.map((one) => one.result));
    const known = this.#known(name, matching[0].overload, { args, result, ast });
    if (known) return known;
    const only = matching.length === 1 ? matching[0].overload : undefined;
    const estimates = matching.map(({ overload }) => estimated(name, overload.estimate, args));
    const cost = sum(
      ...args.map((arg) => arg.cost),
      estimates.map((one) => one.cost).reduce(union),
    );
    const sizes = estimates.flatMap((one) => one.size ?? []);
    const size = sizes.length ? sizes.reduce(union) : undefined;
    const price = priceOf(name)?.cost ?? only?.cost;
    const untyped = args.some((arg) => arg.type.kind === "dyn");
    const run = name === "or" || name === "orValue"
      ? alternative(args)
      : only && !untyped
      ? staticCall(name, only, { args, price })
      : dynamicCall(name, matching.map((one) => one.overload), { args, price });
    if (name === "@in" && isEmptyList(args[1])) return { type: result, cost, run: () => false };
    if (name === "@in" && isScalarList(args[1])) {
      return { type: result, cost, run: membership(args[0], args[1].constant!.value as Value[]) };
    }
    // What loses its type keeps its size.
    if (name === "dyn") {
      return { type: result, cost, size: args[0].size, entry: args[0].entry, run };
    }
    return { type: result, cost, size, entry: name === "_+_" ? joinedEntry(args) : undefined, run };
  }

  /** Calls whose outcome is known now, and those that cannot succeed whatever the object says. */
  #known(
    name: string,
    overload: Overload,
    { args, result, ast }: { args: Code[]; result: Type; ast: Node & { op: "call" } },
  ): Code | undefined {
    const literal = [...(ast.target ? [ast.target] : []), ...ast.args].at(-1);
    const problem = literal?.op === "literal" ? checkLiteral(name, args) : undefined;
    if (problem && literal) this.late.push({ pos: literal.pos, message: problem });
    if (isSearch(name) && args[1].constant) this.#instantiate(() => pattern(args[1]));
    const [only] = args;
    if (!CONVERSIONS.has(name) || args.length !== 1 || !only.constant || problem) return undefined;
    const price = estimated(name, overload.estimate, args);
    const cost = sum(only.cost, price.cost);
    const given = only.constant.value;
    const fitting = overloads(name, false, 1).find(({ params }) => fits(params[0], given));
    const value = this.#instantiate(() => {
      if (!fitting || (given === null && name !== "dyn" && name !== "type")) {
        throw new CelError(`no such overload: ${name}(${typeName(given)})`);
      }
      return fitting.run(given);
    });
    if (value === undefined) return undefined;
    const size = name === "dyn" ? only.size : price.size;
    return constantCode(
      name === "type" ? { kind: "type", a: only.type } : result,
      value,
      cost,
      size,
    );
  }

  /** Does what is done when a program is made of an expression that is right. */
  #instantiate<T>(work: () => T): T | undefined {
    try {
      return work();
    } catch (error) {
      if (!(error instanceof CelError)) throw error;
      this.instantiation ??= error.message;
      return undefined;
    }
  }

  // --- operators --------------------------------------------------------------------------------------

  #ternary(ast: Node & { op: "call" }): Code {
    const codes = ast.args.map((arg) => this.node(arg));
    if (codes.includes(BROKEN)) return BROKEN;
    const [condition, yes, no] = codes;
    const either = assignable(yes.type, no.type, new Map()) ||
      assignable(no.type, yes.type, new Map());
    if (!assignable(BOOL, condition.type, new Map()) || !either) {
      return this.noMatch(ast.pos, ast.name, false, codes);
    }
    const known = yes.size && no.size;
    return {
      type: joined(yes.type, no.type),
      cost: sum(condition.cost, union(yes.cost, no.cost)),
      size: known ? union(yes.size!, no.size!) : UNKNOWN,
      entry: yes.entry && no.entry && {
        key: union(yes.entry.key, no.entry.key),
        value: union(yes.entry.value, no.entry.value),
      },
      schema: yes.schema === no.schema ? yes.schema : undefined,
      attribute: "choice",
      run(run) {
        const value = condition.run(run);
        if (value === true) return runBranch(yes, run);
        if (value === false) return runBranch(no, run);
        return value instanceof CelError ? value : noOverload();
      },
    };
  }

  #logic(ast: Node & { op: "call" }): Code {
    const terms = ast.args.map((arg) => this.node(arg));
    const bad = terms.findIndex((code) => !assignable(BOOL, code.type, new Map()));
    if (bad >= 0) {
      const why = `expected type 'bool' but found '${typeText(terms[bad].type)}'`;
      return this.fail(ast.args[bad].pos, why);
    }
    const { min } = terms[0].cost;
    const { max } = sum(...terms.map((term) => term.cost));
    const decisive = ast.name === "_||_";
    return { type: BOOL, cost: { min, max }, run: (run) => logic(terms, decisive, run) };
  }

  #equality(ast: Node & { op: "call" }): Code {
    const args = ast.args.map((arg) => this.node(arg));
    const [left, right] = args;
    if (args.includes(BROKEN)) return BROKEN;
    const same = assignable(left.type, right.type, new Map()) ||
      assignable(right.type, left.type, new Map());
    if (!same) return this.noMatch(ast.pos, ast.name, false, args);
    const wanted = ast.name === "_==_";
    return {
      type: BOOL,
      cost: sum(left.cost, right.cost, shorter.estimate(args.map(withSize))!.cost),
      run(run) {
        const a = left.run(run);
        const b = right.run(run);
        return step(run, () => {
          run.charge(shorter.cost([a, b], true));
          if (a instanceof CelError) return a;
          if (a instanceof Opaque && a.type.startsWith("kubernetes.authorization.")) {
            return noOverload();
          }
          return b instanceof CelError ? b : equal(a, b) === wanted;
        });
      },
    };
  }
}

/**
 * The schema of a field of what lies where upstream believes a value to lie: for the items of a list that an
 * expression makes, the fields of the value that the rule is about.
 */
function fieldSchema(place: Schema | undefined, name: string, own?: Schema): Schema | undefined {
  const type = place && typeOfSchema(place);
  return type ? fieldNamed(type, name)?.schema : own;
}

function literalCode(value: unknown): Code {
  const size = fixed(sizeOf(value));
  if (value === null) return constantCode(NULL, value, ZERO, size);
  switch (typeof value) {
    case "boolean":
      return constantCode(BOOL, value, ZERO, size);
    case "bigint":
      return constantCode(INT, value, ZERO, size);
    case "number":
      return constantCode(DOUBLE, value, ZERO, size);
    case "string":
      return constantCode(STRING, value, ZERO, size);
  }
  return constantCode(value instanceof Uint ? UINT : BYTES, value, ZERO, size);
}

/** `a.b.c` of names and plain selections; undefined for anything else. */
function qualifiedName(ast: Node): string | undefined {
  if (ast.op === "ident") return ast.name.replace(/^\./, "");
  if (ast.op !== "select" || ast.optional) return undefined;
  const left = qualifiedName(ast.operand);
  return left && `${left}.${ast.field}`;
}

function resultOf(name: string, [first]: Code[], results: Type[]): Type {
  if (name === "type") return { kind: "type", a: first.type };
  if (name === "orValue" && first.type.kind === "dyn") return DYN;
  return results.reduce((a, b) => sameType(a, b) ? a : DYN);
}

function sameType(a: Type, b: Type): boolean {
  return a === b || typeText(a) === typeText(b);
}

const SCALARS = new Set(["bool", "double", "duration", "int", "timestamp", "uint"]);

function isScalar(type: Type): boolean {
  return SCALARS.has(type.kind) || (type.kind === "optional" && isScalar(type.a!));
}

/** An argument with the size that its type has where nothing else is known. */
function withSize(arg: Code): Code {
  return arg.size || !isScalar(arg.type) ? arg : { ...arg, size: ONE };
}

function estimated(
  name: string,
  own: Estimate | undefined,
  args: readonly Code[],
): { cost: Range; size?: Range } {
  const known = args.map(withSize);
  return priceOf(name)?.estimate(known) ?? own?.(known) ?? { cost: ONE };
}

function joinedEntry([left, right]: Code[]): Code["entry"] {
  if (!left.entry || !right?.entry) return undefined;
  return {
    key: union(left.entry.key, right.entry.key),
    value: union(left.entry.value, right.entry.value),
  };
}

function indexType(target: Type, index: Type): Type | undefined {
  if (target.kind === "dyn" || target.kind === "param") return DYN;
  if (target.kind === "list") {
    return index.kind === "int" || index.kind === "dyn" ? target.a : undefined;
  }
  if (target.kind !== "map") return undefined;
  return assignable(target.a!, index, new Map()) ? target.b : undefined;
}

/** How a field or an item is reached. */
interface Step {
  name?: string;
  index?: Code;
  optional: boolean;
}

/** Runs a selection or an index: of an optional it is an optional again. */
function member(target: Code, { name, index, optional }: Step): Code["run"] {
  const base = target.attribute ? 0 : 1;
  return (run) => {
    const from = target.run(run);
    if (base) run.charge(base);
    if (from instanceof CelError) return from;
    const at = index ? runBranch(index, run) : name;
    if (from === NONE) return NONE;
    if (at instanceof CelError) {
      if (!optional) run.charge(1);
      return at;
    }
    if (isOddKey(at)) {
      if (!optional) run.charge(1);
      return new CelError(oddKey(at));
    }
    const wraps = optional || from instanceof Optional;
    const got = memberOf(from instanceof Optional ? from.value : from, at);
    if (got === undefined || got instanceof CelError) {
      if (wraps) return NONE;
      run.charge(1);
      return got ?? new CelError(`no such key: ${shownKey(at)}`);
    }
    run.charge(1);
    return wraps ? new Optional(true, got) : got;
  };
}

/** What can be no key, whatever it is of. */
function isOddKey(key: Value): key is object | null {
  return typeof key === "object" && !(key instanceof Uint);
}

function oddKey(key: object | null): string {
  return `invalid qualifier type: ${goTypeOf(key)}`;
}

function shownKey(key: Value): string {
  return key instanceof Uint ? String(key.value) : String(key);
}

/** A list of values that are known, all of one scalar type: looking one up costs nothing. */
function isScalarList({ constant }: Code): boolean {
  const list = constant?.value;
  if (!Array.isArray(list) || list.length === 0) return false;
  const name = typeName(list[0]);
  return /^(bool|double|int|string|uint)$/.test(name) &&
    list.every((one) => typeName(one) === name);
}

function isEmptyList({ constant }: Code): boolean {
  return Array.isArray(constant?.value) && constant.value.length === 0;
}

function membership(item: Code, list: Value[]): Code["run"] {
  return (run) => {
    const value = item.run(run);
    return value instanceof CelError ? value : list.some((one) => equal(one, value));
  };
}

/** `or` and `orValue`: the other side is not looked at where there is a value, and neither costs. */
function alternative([first, other]: Code[]): Code["run"] {
  return (run) => {
    const value = first.run(run);
    if (value instanceof CelError) return value;
    if (!(value instanceof Optional)) return noOverload();
    if (!value.has) return other.run(run);
    return other.type.kind === "optional" ? value : value.value;
  };
}

/** `&&` and `||`: the term that decides wins, whatever happened to the others. */
function logic(terms: readonly Code[], decisive: boolean, run: Run): Value {
  let failure: CelError | undefined;
  for (const term of terms) {
    const value = term.run(run);
    if (value === decisive) return decisive;
    if (value === !decisive) continue;
    failure ??= value instanceof CelError ? value : noOverload();
  }
  return failure ?? !decisive;
}
