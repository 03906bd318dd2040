/**
 * Patterns of custom resources. They and the values they meet come from users, so they run on RE2 (linear
 * time, and the syntax that upstream accepts), which is loaded when the first custom resource needs it:
 * call `loadRegexp` before anything here.
 */

/** A compiled pattern. */
export interface Pattern {
  /** Whether the text holds a match anywhere. */
  test(text: string): boolean;
}

type Engine = typeof import("re2js");
let engine: Engine | undefined;

/** Loads RE2; returns at once when it is there. */
export async function loadRegexp(): Promise<void> {
  engine ??= await import("re2js");
}

/** RE2 itself, for CEL's functions. */
export function regexpEngine(): Engine {
  if (!engine) throw new Error("the pattern engine is not loaded: await loadRegexp() first");
  return engine;
}

/** Patterns kept compiled. */
const PATTERNS_MAX = 2048;
const patterns = new Map<string, Pattern | string>();

function compiled(text: string): Pattern | string {
  const known = patterns.get(text);
  if (known !== undefined) return known;
  if (patterns.size >= PATTERNS_MAX) patterns.clear();
  let made: Pattern | string;
  try {
    const pattern = regexpEngine().RE2JS.compile(text);
    made = { test: (value) => pattern.matcher(value).find() };
  } catch (error) {
    if (!engine) throw error;
    made = error instanceof Error ? error.message : String(error);
  }
  patterns.set(text, made);
  return made;
}

/** Why a text is no pattern; undefined when it is one. */
export function patternProblem(text: string): string | undefined {
  const made = compiled(text);
  return typeof made === "string" ? made : undefined;
}

/** A pattern; one that cannot be compiled matches nothing. */
export function patternOf(text: string): Pattern {
  const made = compiled(text);
  return typeof made === "string" ? NEVER : made;
}

const NEVER: Pattern = { test: () => false };
