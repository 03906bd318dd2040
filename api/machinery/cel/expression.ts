/** Expressions as the rest of the server uses them: compiled once, evaluated with a cost limit. */
import type { Pace } from "../pace.ts";
import type { Json, Schema } from "../types.ts";
import { type Code, Run } from "./code.ts";
import { Compiler } from "./compile.ts";
import { CostError, counting, Frame, Interrupted, isLong } from "./lane.ts";
import { parseType } from "./registry.ts";
import { assignable, DYN, optionalOf, resultText, type Type, typeOfSchema } from "./types.ts";
import {
  CelError,
  characters,
  NONE,
  Optional,
  UNBOUND,
  type Value,
  wrap,
  wrapDyn,
} from "./values.ts";

/** Cost of one evaluation (upstream: about 0.1 s). */
export const CALL_COST_MAX = 1_000_000;
/** Cost of all rules over one object (upstream: about 1 s). */
export const OBJECT_COST_MAX = 10_000_000;
/** Estimated cost of one rule. */
export const RULE_ESTIMATE_MAX = 10_000_000;
/** Estimated cost of all rules of a schema. */
export const SCHEMA_ESTIMATE_MAX = 100_000_000;

/** What a variable is: of a schema (objects as JSON), or of a named type such as `string` or `dyn`. */
export interface VariableSpec {
  schema?: Schema;
  type?: string;
  /** A type that is declared by its fields; values are JSON. */
  declared?: Type;
  /** The most items or characters that values have, where no schema says it; for estimates. */
  size?: number;
  /** May be missing; expressions see an optional. */
  optional?: boolean;
}

/** An expression that cannot be compiled. The message is cel-go's, with the place marked. */
export class CompileError extends Error {
  override name = "CompileError";
  /** What failed, as upstream calls it. */
  readonly stage: string;
  constructor(message: string, stage = "compilation") {
    super(message);
    this.stage = stage;
  }
}

/** Options of an evaluation. */
export interface EvaluationOptions {
  /** The most it may cost (default `CALL_COST_MAX`). */
  limit?: number;
  /** Is told the cost when the evaluation has ended, well or not. */
  spent?: (cost: number) => void;
  /** Begins as a long evaluation, which looks so often whether others wait. */
  lookTicks?: number;
}

/** A compiled expression. Its evaluations share nothing. */
export class Program {
  readonly text: string;
  readonly #code: Code;
  readonly #slots: number;
  readonly #variables: readonly [string, VariableSpec][];
  readonly #used: ReadonlySet<string>;

  constructor(compiler: Compiler, code: Code, variables: readonly [string, VariableSpec][]) {
    this.text = compiler.text;
    this.#code = code;
    this.#slots = compiler.slots;
    this.#variables = variables;
    this.#used = compiler.used;
  }

  /** The type of the result, as errors about results name it. */
  get type(): string {
    return resultText(this.#code.type);
  }

  /** The type of the result. */
  get output(): Type {
    return this.#code.type;
  }

  /** The most an evaluation may cost, by the sizes that the schemas allow. */
  get estimate(): number {
    return this.#code.cost.max;
  }

  /** The least and the most that an evaluation may cost. */
  get estimates(): { min: number; max: number } {
    return this.#code.cost;
  }

  /** Whether the expression mentions a variable. */
  uses(name: string): boolean {
    return this.#used.has(name);
  }

  /** Evaluates at once, however long it takes. Throws CelError for what the expression ran into, CostError past the limit. */
  evaluate(values: Readonly<Record<string, unknown>>, options: EvaluationOptions = {}): Value {
    return this.begin(values, options).go();
  }

  /** Begins an evaluation that may give way to others. */
  begin(values: Readonly<Record<string, unknown>>, options: EvaluationOptions = {}): Evaluation {
    const slots = new Array<Value>(this.#slots);
    this.#variables.forEach(([name, spec], i) => {
      if (this.#used.has(name)) slots[i] = given(spec, values[name]);
    });
    return new Evaluation(this.#code, slots, options);
  }
}

/** One evaluation of a program. */
export class Evaluation {
  readonly #code: Code;
  readonly #slots: Value[];
  readonly #options: EvaluationOptions;
  /** What is done, in the lane of long evaluations. */
  #root: Frame | undefined;

  constructor(code: Code, slots: Value[], options: EvaluationOptions) {
    this.#code = code;
    this.#slots = slots;
    this.#options = options;
  }

  /**
   * Goes on to the end, or, where there is one to give way to, as long as others do not wait: then Interrupted is thrown,
   * and it is to be called again. Throws CelError for what the expression ran into, CostError past the limit.
   */
  go(by?: Pace): Value {
    const { limit = CALL_COST_MAX, spent, lookTicks } = this.#options;
    // A policy's variable is evaluated as that which looks at it
    if (isLong() || lookTicks !== undefined) this.#root ??= new Frame();
    const run = new Run(this.#slots, limit);
    run.frame = this.#root;
    run.frame?.rewind();
    let value: Value;
    try {
      value = counting(() => this.#code.run(run), { by, long: run.frame !== undefined, lookTicks });
    } catch (error) {
      if (error instanceof Interrupted) {
        this.#root ??= new Frame();
        throw error;
      }
      // Values may nest deeper than they can be walked.
      const known = error instanceof RangeError
        ? new CelError("expression nests too deeply")
        : error;
      if (known instanceof CelError || known instanceof CostError) spent?.(run.cost);
      throw known;
    }
    spent?.(run.cost);
    if (value instanceof CelError) throw value;
    return value;
  }
}

/** JSON as a value; what is one already stays, so that many evaluations share it. */
function wrapped(value: unknown): Value {
  return value instanceof Map ? value : wrapDyn(value);
}

function given(spec: VariableSpec, value: unknown): Value {
  if (value === undefined) return spec.optional ? NONE : null;
  if (value === UNBOUND) return value;
  const made = spec.schema
    ? wrap(spec.schema, value as Json)
    : spec.declared || spec.type === undefined || spec.type === "dyn"
    ? wrapped(value)
    : value;
  return spec.optional ? new Optional(true, made) : made;
}

function typeOf(spec: VariableSpec): Type {
  const type = spec.declared
    ? spec.declared
    : spec.schema
    ? typeOfSchema(spec.schema) ?? DYN
    : spec.type === undefined
    ? DYN
    : parseType(spec.type);
  return spec.optional ? optionalOf(type) : type;
}

/** Longest expression. */
export const EXPRESSION_LENGTH_MAX = 64 * 1024;

/**
 * Compiles an expression over the given variables. `result`: the type it must have; `messages`: it may make
 * objects and JSON patches. Throws CompileError.
 */
export function compileExpression(
  text: string,
  variables: Readonly<Record<string, VariableSpec>>,
  result?: string,
  options: { messages?: boolean } = {},
): Program {
  if (text.length > EXPRESSION_LENGTH_MAX) {
    throw new CompileError(`expression is longer than ${EXPRESSION_LENGTH_MAX} characters`);
  }
  const entries = Object.entries(variables);
  const types = new Map(
    entries.map(([name, spec]) => [
      name,
      { type: typeOf(spec), schema: spec.schema, size: spec.size },
    ]),
  );
  const compiler = new Compiler(text, types, options.messages);
  const code = counting(() => compiler.compile());
  if (compiler.errors.length) {
    throw new CompileError(compiler.errors.map((e) => marked(text, e)).join("\n"));
  }
  if (compiler.instantiation !== undefined) {
    throw new CompileError(compiler.instantiation, "program instantiation");
  }
  if (result !== undefined) {
    const wanted = parseType(result);
    const exact = code.type.kind === wanted.kind || code.type.kind === "dyn";
    if (!exact || !assignable(wanted, code.type, new Map())) {
      throw new CompileError(`must evaluate to ${result}`);
    }
  }
  return new Program(compiler, code, entries);
}

/** An error as cel-go prints it: place, message, the line, a mark under it. */
function marked(text: string, { pos, message }: { pos: number; message: string }): string {
  if (pos < 0) return `ERROR: <input>:-1:0: ${message}`;
  if (text === "") return `ERROR: <input>:1:0: ${message}`;
  const before = text.slice(0, pos);
  const line = before.split("\n").length;
  const start = before.lastIndexOf("\n") + 1;
  const column = characters(text.slice(start, pos));
  const shown = text.split("\n")[line - 1] ?? "";
  // Under characters of several bytes stand wide dots.
  const wide = (char: string | undefined) => (char?.codePointAt(0) ?? 0) > 0x7f;
  const dots = [...text.slice(start, pos)].map((c) => wide(c) ? "．" : ".").join("");
  const mark = wide(text[pos]) ? "＾" : "^";
  return `ERROR: <input>:${line}:${column + 1}: ${message}\n | ${shown}\n | ${dots}${mark}`;
}

export { CelError, CostError };
