/**
 * Defaults that schemas declare: upstream's `+default` markers and the `default` of custom resources. What
 * takes code is in the kinds' hooks and runs after this.
 */
import { edit } from "./edit.ts";
import { LIST, MAP, type Plan, type PlanField, planOf, STRUCT } from "./plan.ts";
import type { SchemaSet } from "./types.ts";

type Values = Record<string, unknown>;

/** Fills declared defaults into `object`, in place. Only parents that exist are filled. */
export function applyDefaults(schemas: SchemaSet, name: string, object: object): void {
  const plan = planOf(schemas, name);
  if (hasDefaults(plan)) fillStruct(plan, object as Values);
}

/** Whether a default is declared anywhere below a plan. Cycles end at what is being settled. */
function hasDefaults(plan: Plan, open: Set<Plan> = new Set()): boolean {
  if (plan.defaults !== undefined) return plan.defaults;
  if (open.has(plan)) return false;
  open.add(plan);
  let found = false;
  if (plan.items && hasDefaults(plan.items, open)) found = true;
  for (const field of plan.fields.values()) {
    if (isDeclared(field) || hasDefaults(field.plan, open)) found = true;
  }
  open.delete(plan);
  // Inside a cycle a "no" may be early; only the outermost answer and every "yes" is final.
  if (found || open.size === 0) plan.defaults = found;
  return found;
}

/** The fields of a struct that need a look. */
function defaultedFields(plan: Plan): PlanField[] {
  return plan.defaulted ??= [...plan.fields.values()].filter((f) =>
    isDeclared(f) || hasDefaults(f.plan)
  );
}

/** A default that Go would leave out again when it writes the object is none. */
function isDeclared(field: PlanField): boolean {
  const { default: fallback, proto } = field.field;
  const zero = fallback === "" || fallback === 0 || fallback === false;
  return fallback !== undefined &&
    !(zero && proto !== undefined && field.omitEmpty && !field.pointer);
}

/** Go's null and its plain empty strings count as none; what custom resources hold does not. */
function fillStruct(plan: Plan, object: Values): void {
  for (const field of defaultedFields(plan)) {
    const value = object[field.name];
    const fallback = isDeclared(field) ? field.field.default : undefined;
    const built = field.field.proto !== undefined;
    const missing = value === undefined || (value === null && built) ||
      (value === "" && built && !field.pointer);
    if (fallback !== undefined && missing) {
      object[field.name] = edit(fallback);
    }
    const now = object[field.name];
    if (typeof now === "object" && now !== null) fillValue(field.plan, now);
  }
}

function fillValue(plan: Plan, value: object): void {
  if (plan.op === STRUCT) {
    if (!Array.isArray(value)) fillStruct(plan, value as Values);
    return;
  }
  if (plan.op !== LIST && plan.op !== MAP) return;
  for (const item of Array.isArray(value) ? value : Object.values(value)) {
    if (typeof item === "object" && item !== null) fillValue(plan.items!, item);
  }
}
