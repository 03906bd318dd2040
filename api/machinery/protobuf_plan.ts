/**
 * What protobuf needs of a plan: fields by number, and the messages that JSON inlines as groups of their
 * own. Cached beside the plan.
 */
import { type Plan, type PlanField, planOf, STRUCT } from "./plan.ts";
import type { SchemaSet } from "./types.ts";

/** One entry of a message: a field, or a message whose fields JSON shows in this one. */
export interface ProtoEntry {
  number: number;
  field?: PlanField;
  inline?: ProtoPlan;
}

/** A message. */
export interface ProtoPlan {
  plan: Plan;
  /** By number, ascending. */
  entries: ProtoEntry[];
  /** The same, at their numbers. */
  byNumber: (ProtoEntry | undefined)[];
  /** Structs: what Go always writes into JSON; set at the outermost message only. */
  outermost: boolean;
}

const cache = new WeakMap<Plan, ProtoPlan>();

/** The message of a named schema. */
export function protoPlanOf(schemas: SchemaSet, name: string): ProtoPlan {
  return protoPlan(planOf(schemas, name));
}

/** The message of a struct's plan. */
export function protoPlan(plan: Plan): ProtoPlan {
  let made = cache.get(plan);
  if (made) return made;
  if (plan.op !== STRUCT) throw new Error(`${plan.goType} is no message`);
  made = { plan, entries: [], byNumber: [], outermost: true };
  cache.set(plan, made);
  for (const field of plan.fields.values()) {
    if (field.field.proto !== undefined) place(made, field, field.field.within ?? [], 0);
  }
  settle(made);
  return made;
}

function place(into: ProtoPlan, field: PlanField, within: readonly number[], depth: number): void {
  if (depth === within.length) {
    into.entries.push({ number: field.field.proto!, field });
    return;
  }
  const number = within[depth];
  let entry = into.entries.find((e) => e.number === number && e.inline);
  if (!entry) {
    const inline: ProtoPlan = { plan: into.plan, entries: [], byNumber: [], outermost: false };
    into.entries.push(entry = { number, inline });
  }
  place(entry.inline!, field, within, depth + 1);
}

function settle(message: ProtoPlan): void {
  message.entries.sort((a, b) => a.number - b.number);
  for (const entry of message.entries) {
    message.byNumber[entry.number] = entry;
    if (entry.inline) settle(entry.inline);
  }
}
