/**
 * What an expression is compiled to: closures that charge what cel-go's cost tracker charges. An error that an
 * expression runs into is a value (CelError) that calls hand on, because arguments are evaluated and charged all
 * the same and `&&`, `||` may absorb it; only the end of the budget is thrown.
 */
import type { Schema } from "../types.ts";
import type { Range } from "./estimate.ts";
import type { Type } from "./types.ts";
import { CostError, type Frame } from "./lane.ts";
import { CelError, type Value } from "./values.ts";

/** An evaluation under way. */
export class Run {
  readonly slots: (Value | Deferred)[];
  cost = 0;
  readonly limit: number;
  /** Where steps are noted, in the lane of long evaluations. */
  frame?: Frame;
  constructor(slots: (Value | Deferred)[], limit: number) {
    this.slots = slots;
    this.limit = limit;
  }

  /** Counts cost; throws CostError past the limit. */
  charge(units: number): void {
    this.cost += units;
    if (this.cost > this.limit) throw new CostError();
  }
}

/** A variable's value that costs something when it is first looked at. */
export class Deferred {
  readonly value: Value;
  readonly cost: number;
  constructor(value: Value, cost: number) {
    this.value = value;
    this.cost = cost;
  }
}

/** A compiled node. */
export interface Code {
  type: Type;
  /** The value, or a CelError. */
  run(run: Run): Value;
  /** What one evaluation may cost. */
  cost: Range;
  /** How many characters, items or entries the value may have, where that is known. */
  size?: Range;
  /** The same of the entries of a list or map that the expression itself makes. */
  entry?: { key: Range; value: Range };
  /** Of a list that is written out: its items. */
  items?: readonly Code[];
  /** Where the value comes from the object: its schema. */
  schema?: Schema;
  /** A value that is known before anything runs: literals, lists and conversions of such. */
  constant?: { value: Value };
  /**
   * `path`: a variable with the fields and indices behind it; as the branch of a condition or as an index its
   * variable costs nothing. `choice`: a condition; what is selected from it costs as from a variable.
   */
  attribute?: "path" | "choice";
}

/** Failure of a node that did not check; never runs, because the expression is refused. */
export const BROKEN: Code = {
  type: { kind: "dyn" },
  run: () => null,
  cost: { min: 0, max: 0 },
};

/** A value as a node. */
export function constantCode(type: Type, value: Value, cost: Range, size?: Range): Code {
  return { type, run: () => value, cost, size, constant: { value } };
}

/** Does a step of an evaluation: one that may be interrupted notes what it came to. */
export function step(run: Run, make: () => Value): Value {
  return run.frame ? run.frame.step(run, make) : make();
}

/** Runs a node where its own variable is not charged. */
export function runBranch(code: Code, run: Run): Value {
  const value = code.run(run);
  if (code.attribute === "path") run.cost--;
  return value;
}

/** An error of an operand of the wrong type. */
export function noOverload(): CelError {
  return new CelError("no such overload");
}
