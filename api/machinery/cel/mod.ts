/** CEL: being written. */
import type { Cause, Json, Schema } from "../types.ts";

/** The errors of a schema's rules. */
export function ruleErrors(_path: string, _schema: Schema): Cause[] {
  return [];
}
/** Whether a schema holds rules. */
export function hasRules(_schema: Schema): boolean {
  return false;
}
/** Broken rules. */
export function evaluateRules(_schema: Schema, _value: Json, _old?: Json): Cause[] {
  return [];
}
