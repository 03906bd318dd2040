/** Small questions that all controllers ask of objects: conditions, times, sizes, statuses. Pure. */
import { keyOf } from "../../api/client/contract.ts";
import { sameJson } from "../../api/machinery/json_value.ts";
import { parseTime } from "../../api/machinery/time.ts";
import type { DeepReadonly, KubeObject } from "../../api/machinery/types.ts";
import { codeOf, isGone } from "../runtime/mod.ts";

/** An object as caches hand it out: frozen. */
export type Obj = DeepReadonly<KubeObject>;

/** A condition of a status. */
export interface Condition {
  type: string;
  status: "True" | "False" | "Unknown";
  reason?: string;
  message?: string;
  lastTransitionTime?: string;
  lastUpdateTime?: string;
  lastProbeTime?: string | null;
  observedGeneration?: number;
}

/** The condition of a type. A new CustomResourceDefinition's conditions are null, as upstream's. */
export function conditionOf(
  status: { conditions?: readonly Condition[] | null } | undefined,
  type: string,
): Condition | undefined {
  const conditions = status?.conditions;
  if (!conditions) return undefined;
  for (const condition of conditions) if (condition.type === type) return condition;
  return undefined;
}

/** The moment a timestamp names, in ms; 0 for none. */
export function timeOf(timestamp: string | null | undefined): number {
  return timestamp ? parseTime(timestamp) ?? 0 : 0;
}

/** Waits for a write. That its object is gone or was changed meanwhile is no failure: it comes back by itself. */
export async function changed(write: Promise<unknown>): Promise<void> {
  try {
    await write;
  } catch (error) {
    if (!isGone(error) && codeOf(error) !== 409) throw error;
  }
}

/** The oldest first; of equal age by name. */
export function byAge(a: Obj, b: Obj): number {
  const difference = timeOf(a.metadata.creationTimestamp) - timeOf(b.metadata.creationTimestamp);
  if (difference !== 0) return difference;
  const [x, y] = [keyOf(a), keyOf(b)];
  return x < y ? -1 : x > y ? 1 : 0;
}

/** A status without its absent fields and, as Go's omitempty has it, without zeros but those named. */
export function compact<T extends object>(status: T, keep: readonly (keyof T)[] = []): T {
  const out: Partial<T> = {};
  for (const name in status) {
    const value = status[name];
    if (value === undefined || value === null) continue;
    const zero = value === 0 || value === "" || Array.isArray(value) && value.length === 0;
    if (zero && !keep.includes(name)) continue;
    out[name] = value;
  }
  return out as T;
}

/** Whether two statuses say the same; zeros and absent fields are equal. */
export function sameStatus(a: object | undefined, b: object | undefined): boolean {
  return sameJson(compact(a ?? {}), compact(b ?? {}));
}

/** The items in order of the first test that tells two apart: negative values first. */
export function sortBy<T>(items: T[], ...tests: ((a: T, b: T) => number)[]): T[] {
  return items.sort((a, b) => {
    for (const test of tests) {
      const order = test(a, b);
      if (order !== 0) return order;
    }
    return 0;
  });
}

/** Of which generation of a pod a condition speaks. */
export function observed({ metadata: { generation } }: Obj): { observedGeneration?: number } {
  return generation === undefined ? {} : { observedGeneration: generation };
}
