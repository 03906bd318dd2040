/** Equality of JSON values, as stored: a field that is undefined is a field that is absent. */

/** Whether two JSON values are equal; the order of keys does not matter. */
export function equalJson(a: unknown, b: unknown): boolean {
  if (a === b) return true;
  if (typeof a !== "object" || typeof b !== "object" || a === null || b === null) return false;
  if (Array.isArray(a)) {
    if (!Array.isArray(b) || a.length !== b.length) return false;
    for (let i = 0; i < a.length; i++) if (!equalJson(a[i], b[i])) return false;
    return true;
  }
  if (Array.isArray(b)) return false;
  return equalFields(a as Record<string, unknown>, b as Record<string, unknown>);
}

function equalFields(
  a: Record<string, unknown>,
  b: Record<string, unknown>,
  but?: ReadonlySet<string>,
): boolean {
  let fields = 0;
  for (const key in a) {
    const value = a[key];
    if (value === undefined || but?.has(key)) continue;
    fields++;
    if (!equalJson(value, b[key])) return false;
  }
  for (const key in b) if (b[key] !== undefined && !but?.has(key)) fields--;
  return fields === 0;
}

const NOT_COMPARED: ReadonlySet<string> = new Set(["managedFields", "resourceVersion"]);

/** Whether two objects are equal but for their managedFields (and the resourceVersion). */
export function equalButManaged(
  a: { readonly metadata: object },
  b: { readonly metadata: object },
): boolean {
  const left = a as Record<string, unknown>;
  const right = b as Record<string, unknown>;
  for (const key in left) {
    if (key !== "metadata" && !equalJson(left[key], right[key])) return false;
  }
  for (const key in right) {
    if (right[key] !== undefined && left[key] === undefined) return false;
  }
  return equalFields(
    a.metadata as Record<string, unknown>,
    b.metadata as Record<string, unknown>,
    NOT_COMPARED,
  );
}
