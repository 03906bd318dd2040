/** Calls while they run: arguments, prices, the choice among overloads, errors of what fits none. */
import { type Code, noOverload, type Run } from "./code.ts";
import { compiledPattern } from "./core_library.ts";
import type { Cost } from "./costs.ts";
import type { Overload } from "./registry.ts";
import { CelError, fits, typeName, type Value } from "./values.ts";

/**
 * Evaluates arguments; the first error among them is what the call results in. Of one or two all are evaluated and the
 * call is paid for nevertheless; of more, and where a pattern is known, nothing is after an error.
 */
function evaluated(
  args: readonly Code[],
  { run, values, eager }: { run: Run; values: Value[]; eager: boolean },
): CelError | undefined {
  let failure: CelError | undefined;
  for (let i = 0; i < args.length; i++) {
    const value = args[i].run(run);
    values.push(value);
    if (!(value instanceof CelError)) continue;
    failure ??= value;
    // The last is looked at by then.
    if (eager && i < args.length - 1) return failure;
  }
  return failure;
}

function isEager(name: string, args: readonly Code[]): boolean {
  return args.length > 2 || ((isSearch(name) || name === "matches") && !!args[1]?.constant);
}

/** Functions that look for a pattern. */
export function isSearch(name: string): boolean {
  return name === "find" || name === "findAll";
}

/** Compiles a pattern that is known. */
export function pattern({ constant }: Code): unknown {
  return typeof constant?.value === "string" && compiledPattern(constant.value);
}

function called(overload: Overload, values: Value[]): Value {
  try {
    return overload.run(...values);
  } catch (error) {
    if (error instanceof CelError) return error;
    throw error;
  }
}

/** Charges for a call: before it is made, where its price does not depend on what comes of it. */
function priced(price: Cost | undefined, run: Run, values: Value[], make: () => Value): Value {
  return run.frame
    ? run.frame.step(run, () => paid(price, run, values, make))
    : paid(price, run, values, make);
}

function paid(price: Cost | undefined, run: Run, values: Value[], make: () => Value): Value {
  if (price && price.length > 1) {
    const result = make();
    run.charge(price(values, result));
    return result;
  }
  run.charge(price ? price(values, null) : 1);
  return make();
}

/** Runs a call whose overload is known. */
export function staticCall(
  name: string,
  overload: Overload,
  { args, price }: { args: Code[]; price?: Cost },
): Code["run"] {
  const eager = isEager(name, args);
  return (run) => {
    const values: Value[] = [];
    const failure = evaluated(args, { run, values, eager });
    if (failure && values.length < args.length) return failure;
    return priced(price, run, values, () => failure ?? called(overload, values));
  };
}

/** Types whose values say themselves what they cannot do. */
const RECEIVERS = new Set([
  "string",
  "google.protobuf.Timestamp",
  "google.protobuf.Duration",
]);
/** Types that take part in an operation at all. */
const OPERANDS: Record<string, string> = {
  "_+_": "int uint double bytes list",
  "_-_": "int uint double",
  "_*_": "int uint double",
  "_/_": "int uint double",
  "_%_": "int uint",
  "-_": "int double",
  "_<_": "bool int uint double bytes",
};
for (const name of ["_<=_", "_>_", "_>=_"]) OPERANDS[name] = OPERANDS["_<_"];

/** Functions whose errors do not name them. */
const PLAIN = new Set(["startsWith", "endsWith", "contains", "matches"]);

/** The error of an operator whose operands do not fit. */
function unfitting(name: string, first: Value): CelError {
  const type = typeName(first);
  const takes = OPERANDS[name]?.split(" ");
  const says = !takes || takes.includes(type) || RECEIVERS.has(type);
  return says ? noOverload() : new CelError(`no such overload: ${name}`);
}

/** Runs a call whose overload its arguments choose. */
export function dynamicCall(
  name: string,
  candidates: Overload[],
  { args, price }: { args: Code[]; price?: Cost },
): Code["run"] {
  const choose = (values: Value[]): Value => {
    const chosen = candidates.find((one) => one.params.every((param, i) => fits(param, values[i])));
    if (chosen) return called(chosen, values);
    if (PLAIN.has(name)) return noOverload();
    if (/^[@_!-]|_$/.test(name)) return unfitting(name, values[0]);
    const which = name === "size" ? ": size" : `: ${name}(${values.map(typeName).join(", ")})`;
    return new CelError(`no such overload${which}`);
  };
  const eager = isEager(name, args);
  return (run) => {
    const values: Value[] = [];
    const failure = evaluated(args, { run, values, eager });
    if (failure && values.length < args.length) return failure;
    return priced(price, run, values, () => failure ?? choose(values));
  };
}
