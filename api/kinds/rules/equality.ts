/**
 * Are two decoded values the same to the API? Empty lists equal absent ones, as in upstream's semantic
 * equality; zero scalars and quantities need no care here, because decoding writes each in one form.
 */

/** Deep equality of JSON values; shared parts cost nothing. */
export function semanticEqual(a: unknown, b: unknown): boolean {
  if (a === b) return true;
  if (a === undefined || a === null) return isNothing(b);
  if (b === undefined || b === null) return isNothing(a);
  if (typeof a !== "object" || typeof b !== "object") return false;
  if (Array.isArray(a)) {
    if (!Array.isArray(b) || a.length !== b.length) return false;
    for (let i = 0; i < a.length; i++) if (!semanticEqual(a[i], b[i])) return false;
    return true;
  }
  if (Array.isArray(b)) return false;
  const x = a as Record<string, unknown>;
  const y = b as Record<string, unknown>;
  for (const key in x) if (!semanticEqual(x[key], y[key])) return false;
  for (const key in y) if (!(key in x) && !isNothing(y[key])) return false;
  return true;
}

function isNothing(value: unknown): boolean {
  return value === undefined || value === null || (Array.isArray(value) && value.length === 0);
}

/** Deep equality of two objects but for some of their fields. */
export function equalExcept(a: object, b: object, except: readonly string[]): boolean {
  const x = a as Record<string, unknown>;
  const y = b as Record<string, unknown>;
  for (const key in x) if (!except.includes(key) && !semanticEqual(x[key], y[key])) return false;
  for (const key in y) {
    if (!(key in x) && !except.includes(key) && !isNothing(y[key])) return false;
  }
  return true;
}
