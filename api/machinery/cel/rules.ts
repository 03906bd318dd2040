/**
 * x-kubernetes-validations: the rules of a schema's nodes, compiled when a definition is written and kept
 * beside the schema, evaluated over objects within a budget.
 */
import type { Cause, Field, Json, Schema, ValidationRule } from "../types.ts";
import type { Pace } from "../pace.ts";
import { normalFieldPath, type Walk } from "../crd/field_path.ts";
import { causeText, duplicate, forbidden, invalid, required } from "../field_errors.ts";
import { goQuote } from "../go_format.ts";
import { isMap, type JsonMap, sameJson } from "../json_value.ts";
import {
  CALL_COST_MAX,
  CompileError,
  compileExpression,
  OBJECT_COST_MAX,
  type Program,
  RULE_ESTIMATE_MAX,
  SCHEMA_ESTIMATE_MAX,
  type VariableSpec,
} from "./expression.ts";
import { countMax } from "./estimate.ts";
import { CostError, Interrupted } from "./lane.ts";
import { CelError } from "./values.ts";

/** Bytes of a message that an expression makes. */
const MESSAGE_BYTES_MAX = 5 * 1024;
interface CompiledRule {
  rule: ValidationRule;
  program?: Program;
  message?: Program;
  problem?: string;
  messageProblem?: string;
  usesOldSelf: boolean;
  fieldPath: string;
}

const NODES: Walk<Schema> = {
  properties: ({ properties }) => properties,
  values: ({ type, items }) => type === "map" ? items : undefined,
};

const compiled = new WeakMap<Schema, readonly CompiledRule[]>();

function rulesOf(schema: Schema): readonly CompiledRule[] {
  const rules = schema.validations?.rules;
  if (!rules?.length) return [];
  let made = compiled.get(schema);
  if (!made) compiled.set(schema, made = rules.map((rule) => compileRule(schema, rule)));
  return made;
}

function compileRule(schema: Schema, rule: ValidationRule): CompiledRule {
  const variables: Record<string, VariableSpec> = {
    self: { schema },
    oldSelf: { schema, optional: rule.optionalOldSelf === true },
  };
  const made: CompiledRule = { rule, usesOldSelf: false, fieldPath: "" };
  if (rule.fieldPath) made.fieldPath = normalFieldPath(schema, rule.fieldPath, NODES) ?? "";
  if (rule.rule.trim() === "") return made;
  try {
    made.program = compileExpression(rule.rule, variables);
    if (made.program.type !== "bool") {
      made.problem = "cel expression must evaluate to a bool";
      made.program = undefined;
    }
  } catch (error) {
    if (!(error instanceof CompileError)) throw error;
    made.problem = `${error.stage} failed: ${error.message}`;
  }
  made.usesOldSelf = made.program?.uses("oldSelf") ?? false;
  if (!rule.messageExpression || !made.program) return made;
  try {
    made.message = compileExpression(rule.messageExpression, variables);
    if (made.message.type !== "string") {
      made.messageProblem = "messageExpression must evaluate to a string";
      made.message = undefined;
    }
  } catch (error) {
    if (!(error instanceof CompileError)) throw error;
    made.messageProblem = `messageExpression ${error.stage} failed: ${error.message}`;
  }
  return made;
}

const ruled = new WeakMap<Schema, boolean>();

/** Whether a schema or anything in it holds rules. */
export function hasRules(schema: Schema): boolean {
  let known = ruled.get(schema);
  if (known === undefined) {
    known = !!schema.validations?.rules?.length || (!!schema.items && hasRules(schema.items)) ||
      Object.values(schema.properties ?? {}).some((field) => !field.ref && hasRules(field));
    ruled.set(schema, known);
  }
  return known;
}

// --- definitions --------------------------------------------------------------------------------------

/** Where a node stands in its schema. */
interface Place {
  path: string;
  /** How often the node may occur in one object; undefined where a list or map above is not limited. */
  count: number | undefined;
  /** The first list above whose items cannot be told apart over an update. */
  uncorrelatable?: string;
}

/** The rules that cost most, of those that are named when all together cost too much. */
const EXPENSIVE_MAX = 4;

/** What a schema's rules cost. */
class Costs {
  total = 0;
  expensive: { path: string; cost: number }[] = [];

  add(path: string, cost: number): void {
    this.total += cost;
    if (cost < SCHEMA_ESTIMATE_MAX / 100) return;
    this.expensive.push({ path, cost });
    this.expensive.sort((a, b) => b.cost - a.cost);
    this.expensive.length = Math.min(this.expensive.length, EXPENSIVE_MAX);
  }
}

/** What is wrong with a schema's rules, in upstream's words. */
export function ruleErrors(path: string, schema: Schema): Cause[] {
  const causes: Cause[] = [];
  const costs = new Costs();
  checkNode(schema, { path, count: 1 }, { causes, costs });
  if (costs.total > SCHEMA_ESTIMATE_MAX) {
    const why =
      "contributed to estimated rule cost total exceeding cost limit for entire OpenAPIv3 " +
      "schema";
    for (const one of costs.expensive) causes.push(forbidden(one.path, why));
    const what = "x-kubernetes-validations estimated rule cost total for entire OpenAPIv3 schema";
    causes.push(forbidden(path, costText(what, costs.total, SCHEMA_ESTIMATE_MAX)));
  }
  return causes;
}

function costText(what: string, cost: number, limit: number): string {
  const factor = cost / limit;
  const text = factor > 100 ? "more than 100x" : `${factor.toFixed(factor < 1.5 ? 6 : 1)}x`;
  return `${what} exceeds budget by factor of ${text} (try simplifying the rule, or adding maxItems, ` +
    "maxProperties, and maxLength where arrays, maps, and strings are declared)";
}

/** A rule as upstream's errors show it. */
function shownRule(rule: ValidationRule): Json {
  return {
    Rule: rule.rule,
    Message: rule.message ?? "",
    MessageExpression: rule.messageExpression ?? "",
    Reason: rule.reason ?? null,
    FieldPath: rule.fieldPath ?? "",
    OptionalOldSelf: rule.optionalOldSelf ?? null,
  };
}

interface Found {
  causes: Cause[];
  costs: Costs;
}

/** How many items or entries a node may have below each of itself; undefined: not limited. */
function spread({ type, validations }: Schema): number | undefined {
  return type === "array" ? validations?.maxItems : validations?.maxProperties;
}

/** Checks the nodes below a node, then itself. */
function checkNode(schema: Schema, place: Place, found: Found): void {
  if (schema.items && hasRules(schema.items)) {
    const list = schema.type === "array";
    const keyed = !list || schema.listType === "map";
    const each = spread(schema);
    checkNode(schema.items, {
      path: `${place.path}.${list ? "items" : "additionalProperties"}`,
      count: place.count === undefined || each === undefined ? undefined : place.count * each,
      uncorrelatable: place.uncorrelatable ?? (keyed ? undefined : place.path),
    }, found);
  }
  for (const [name, field] of Object.entries(schema.properties ?? {})) {
    if (field.ref || !hasRules(field)) continue;
    checkNode(field, { ...place, path: `${place.path}.properties[${name}]` }, found);
  }
  rulesOf(schema).forEach((made, i) => {
    const at = { ...place, path: `${place.path}.x-kubernetes-validations[${i}]` };
    checkRule(schema, made, at, found);
  });
}

function checkRule(
  schema: Schema,
  made: CompiledRule,
  { path: at, uncorrelatable, count }: Place,
  { causes, costs }: Found,
): void {
  const { rule, program, message } = made;
  const observe = (code: Program | undefined, key: string, times: number) => {
    if (!code) return;
    const cost = Math.min(code.estimate * times, 2 ** 64);
    const what = `estimated ${key} cost`;
    if (cost > RULE_ESTIMATE_MAX) {
      causes.push(forbidden(`${at}.${key}`, costText(what, cost, RULE_ESTIMATE_MAX)));
    }
    costs.add(`${at}.${key}`, cost);
  };
  observe(program, "rule", count ?? countMax(schema));
  if (made.problem) causes.push(invalid(`${at}.rule`, shownRule(rule), made.problem));
  if (made.messageProblem) {
    causes.push(invalid(`${at}.messageExpression`, shownRule(rule), made.messageProblem));
  }
  observe(message, "messageExpression", 1);
  if (made.usesOldSelf) {
    if (uncorrelatable !== undefined) {
      const why = "oldSelf cannot be used on the uncorrelatable portion of the schema within " +
        uncorrelatable;
      causes.push(invalid(`${at}.rule`, rule.rule, why));
    }
  } else if (rule.optionalOldSelf !== undefined) {
    const why = "may not be set if oldSelf is not used in rule";
    causes.push(invalid(`${at}.optionalOldSelf`, rule.optionalOldSelf, why));
  }
}

// --- objects ------------------------------------------------------------------------------------------

/** Raised when no rule may run any more. */
class BudgetSpent extends Error {}

/** Rules between two looks at whether others wait. */
const LOOK_RULES = 16;

/** Yields where other work may have its turn. */
type Steps<T = void> = Generator<void, T, void>;

class Evaluation {
  readonly causes: Cause[] = [];
  #budget = OBJECT_COST_MAX;
  #rules = 0;
  readonly #warn?: (text: string) => void;
  readonly #pace?: Pace;

  /** `pace`: whom rules give way to; none: they are judged at once. */
  constructor({ warn, pace }: { warn?: (text: string) => void; pace?: Pace } = {}) {
    this.#warn = warn;
    this.#pace = pace;
  }

  /** `fresh`: nothing above is as it was, so that this may be judged. */
  *visit(schema: Schema, path: string, value: Json, old: Json | undefined, fresh: boolean): Steps {
    if (value === null || value === undefined || !hasRules(schema)) return;
    const unchanged = old !== undefined && sameJson(value, old);
    for (const made of rulesOf(schema)) {
      yield* this.#rule(schema, made, path, value, old, fresh && !unchanged);
      if (++this.#rules % LOOK_RULES === 0) yield;
    }
    if (Array.isArray(value)) {
      if (schema.items) yield* this.#items(schema, path, value, old, fresh && !unchanged);
    } else if (isMap(value)) yield* this.#members(schema, path, value, old, fresh);
  }

  *#items(
    schema: Schema,
    path: string,
    list: Json[],
    old: Json | undefined,
    fresh: boolean,
  ): Steps {
    if (!hasRules(schema.items!)) return;
    const before = new Map<string, Json>();
    const key = (item: Json) =>
      JSON.stringify(
        (schema.listMapKeys ?? []).map((name) => isMap(item) ? item[name] ?? null : null),
      );
    if (schema.listType === "map" && Array.isArray(old)) {
      for (const item of old) before.set(key(item), item);
    }
    for (const [i, item] of list.entries()) {
      const was = schema.listType === "map" ? before.get(key(item)) : undefined;
      yield* this.visit(schema.items!, `${path}[${i}]`, item, was, fresh);
    }
  }

  *#members(
    schema: Schema,
    path: string,
    map: JsonMap,
    old: Json | undefined,
    fresh: boolean,
  ): Steps {
    const before = isMap(old) ? old : undefined;
    for (const name of Object.keys(map)) {
      const field: Field | undefined = schema.properties?.[name] ?? schema.items;
      if (!field || field.ref || !hasRules(field)) continue;
      const at = schema.items ? `${path}[${name}]` : path ? `${path}.${name}` : name;
      const was = before && Object.hasOwn(before, name) ? before[name] : undefined;
      yield* this.visit(field, at, map[name], was, fresh);
    }
  }

  *#rule(
    schema: Schema,
    made: CompiledRule,
    path: string,
    value: Json,
    old: Json | undefined,
    fresh: boolean,
  ): Steps {
    const { rule, program } = made;
    const type = schema.type === "map" ? "object" : schema.type;
    const where = path || "<nil>";
    if (made.problem) {
      this.causes.push(invalid(where, type, `rule compile error: ${made.problem}`));
      return;
    }
    if (!program) return;
    // Transition rules need something to compare with, unless they take its absence.
    if (made.usesOldSelf && (old === undefined || old === null) && !rule.optionalOldSelf) return;
    const values = { self: value, oldSelf: old ?? undefined };
    let result: unknown;
    try {
      result = yield* this.#run(program, values);
    } catch (error) {
      if (error instanceof CostError) {
        const why =
          `'${error.message}': no further validation rules will be run due to call cost ` +
          `exceeds limit for rule: ${ruleText(rule)}`;
        this.#stop(where, type, this.#budget <= 0 ? SPENT_TEXT : why);
      }
      if (!(error instanceof CelError)) throw error;
      const why = error.message.startsWith("no such overload")
        ? `'${error.message}': call arguments did not match a supported operator, function or macro ` +
          `signature for rule: ${ruleText(rule)}`
        : `${error.message} evaluating rule: ${ruleText(rule)}`;
      this.causes.push(invalid(where, type, why));
      return;
    }
    if (result === true) return;
    const at = [path, made.fieldPath].filter(Boolean).join(".") || where;
    const { text, last } = yield* this.#message(made, values);
    const cause = last ? invalid(at, type, text) : broken(at, type, value, text, rule.reason);
    // What an object has been forgiven before, it is forgiven again.
    if (made.usesOldSelf || fresh) this.causes.push(cause);
    else this.#warn?.(causeText(cause));
    if (last) throw new BudgetSpent();
  }

  *#run(program: Program, values: Record<string, unknown>): Steps<unknown> {
    const evaluation = program.begin(values, {
      limit: Math.min(CALL_COST_MAX, this.#budget),
      spent: (cost) => this.#budget -= cost,
    });
    for (;;) {
      try {
        return evaluation.go(this.#pace);
      } catch (error) {
        if (!(error instanceof Interrupted)) throw error;
      }
      yield;
    }
  }

  #stop(path: string, type: string, why: string): never {
    this.causes.push(invalid(path, type, why));
    throw new BudgetSpent();
  }

  /** What is said of a broken rule; `last`: nothing may run any more. */
  *#message(
    made: CompiledRule,
    values: Record<string, unknown>,
  ): Steps<{ text: string; last?: boolean }> {
    const { rule, message } = made;
    const plain = rule.message?.trim() || `failed rule: ${ruleText(rule)}`;
    if (!message) return { text: plain };
    try {
      const text = yield* this.#run(message, values);
      return { text: typeof text === "string" && isGoodMessage(text) ? text.trim() : plain };
    } catch (error) {
      if (error instanceof CostError) {
        const source = goQuote(rule.messageExpression!);
        const text = this.#budget <= 0
          ? "messageExpression evaluation failed due to running out of cost budget, no further " +
            "validation rules will be run"
          : "no further validation rules will be run due to call cost exceeds limit for " +
            `messageExpression: ${source}`;
        return { text, last: true };
      }
      // A message that cannot be made is replaced by the plain one.
      if (!(error instanceof CelError)) throw error;
      return { text: plain };
    }
  }
}

function isGoodMessage(text: string): boolean {
  const trimmed = text.trim();
  const { length } = new TextEncoder().encode(trimmed);
  return length > 0 && length <= MESSAGE_BYTES_MAX && !trimmed.includes("\n");
}

const SPENT_TEXT =
  "validation failed due to running out of cost budget, no further validation rules will be run";

function ruleText(rule: ValidationRule): string {
  return rule.message?.trim() || rule.rule.trim();
}

function broken(
  path: string,
  type: string,
  value: Json,
  text: string,
  reason: string | undefined,
): Cause {
  switch (reason) {
    case "FieldValueForbidden":
      return forbidden(path, text);
    case "FieldValueRequired":
      return required(path, text);
  }
  const shown = type !== "object" && type !== "array";
  if (reason === "FieldValueDuplicate") {
    const cause = duplicate(path, value);
    return shown ? cause : { ...cause, message: "Duplicate value" };
  }
  if (shown) return invalid(path, value, text);
  return { reason: "FieldValueInvalid", message: `Invalid value: ${text}`, field: path };
}

/** The rules that an object breaks, judged at once. `old`: what is stored, on update. */
export function evaluateRules(schema: Schema, value: Json, old?: Json): Cause[] {
  const evaluation = new Evaluation();
  try {
    for (const _ of evaluation.visit(schema, "", value, old, true)) continue;
  } catch (error) {
    if (!(error instanceof BudgetSpent)) throw error;
  }
  return evaluation.causes;
}

/** The same, giving way to other work; `warn` hears of rules that were broken before. */
export async function judgeRules(
  schema: Schema,
  { value, old, pace, warn }: {
    value: Json;
    old?: Json;
    pace: Pace;
    warn: (text: string) => void;
  },
): Promise<Cause[]> {
  const evaluation = new Evaluation({ warn, pace });
  try {
    for (const _ of evaluation.visit(schema, "", value, old, true)) {
      if (pace.due) await pace.turn();
    }
  } catch (error) {
    if (!(error instanceof BudgetSpent)) throw error;
  }
  return evaluation.causes;
}
