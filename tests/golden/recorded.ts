/** What recorded answers are compared by: without what differs from run to run, in one order. */

/** The folder of all golden pairs. */
export const FOLDER = new URL("./", import.meta.url);

/** Fields that tell when and where, not what. */
const PASSING = new Set([
  "uid",
  "resourceVersion",
  "creationTimestamp",
  "time",
  "generation",
  "selfLink",
]);

// deno-lint-ignore no-explicit-any -- answers of every kind
type Any = any;

/** An answer without passing fields; keys in order, owners of fields too. */
export function cleaned(value: Any): Any {
  if (Array.isArray(value)) return value.map(cleaned);
  if (typeof value !== "object" || value === null) return value;
  const out: Record<string, Any> = {};
  for (const key of Object.keys(value).sort()) {
    if (PASSING.has(key)) continue;
    const inner = cleaned(value[key]);
    out[key] = key === "managedFields" ? inner.sort(byOwner) : inner;
  }
  return out;
}

function byOwner(a: Any, b: Any): number {
  const name = (one: Any) => [one.operation, one.manager, one.apiVersion, one.subresource].join();
  return name(a) < name(b) ? -1 : 1;
}
