/** What differs between two states of an object, field by field, as JSON Patch has it, with what was there before. */
import { isMap } from "./json_value.ts";
import type { DeepReadonly, Json, KubeObject } from "./types.ts";

/** One field: JSON Patch's operation, and the value that it replaces. */
export interface FieldChange {
  readonly op: "add" | "remove" | "replace";
  readonly path: string;
  readonly was?: Json;
  readonly value?: Json;
}

/** Says nothing: it changes with every write, or tells only who made the rest. */
const NOISE = new Set(["/metadata/resourceVersion", "/metadata/managedFields"]);

/** The changes that make `after` of `before`. */
export function fieldChanges(
  before: DeepReadonly<KubeObject>,
  after: DeepReadonly<KubeObject>,
): FieldChange[] {
  const found: FieldChange[] = [];
  compare(before as unknown as Json, after as unknown as Json, "", found);
  return found;
}

function compare(before: Json, after: Json, path: string, found: FieldChange[]): void {
  if (before === after || NOISE.has(path)) return;
  if (Array.isArray(before) && Array.isArray(after)) {
    return compareLists(before, after, path, found);
  }
  if (isMap(before) && isMap(after)) {
    for (const key of new Set([...Object.keys(before), ...Object.keys(after)])) {
      const below = `${path}/${key.replaceAll("~", "~0").replaceAll("/", "~1")}`;
      if (NOISE.has(below)) continue;
      if (!(key in after)) found.push({ op: "remove", path: below, was: before[key] });
      else if (!(key in before)) found.push({ op: "add", path: below, value: after[key] });
      else compare(before[key], after[key], below, found);
    }
    return;
  }
  found.push({ op: "replace", path, was: before, value: after });
}

/** Element by element: what is left over at the end came or went. */
function compareLists(before: Json[], after: Json[], path: string, found: FieldChange[]): void {
  const both = Math.min(before.length, after.length);
  for (let i = 0; i < both; i++) compare(before[i], after[i], `${path}/${i}`, found);
  for (let i = both; i < after.length; i++) {
    found.push({ op: "add", path: `${path}/${i}`, value: after[i] });
  }
  // From the end, so that each stands where its path says when it is removed
  for (let i = before.length - 1; i >= both; i--) {
    found.push({ op: "remove", path: `${path}/${i}`, was: before[i] });
  }
}
