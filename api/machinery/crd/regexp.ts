/**
 * Patterns of custom resources. They and the values they meet come from users, so they run on RE2 (linear
 * time, and the syntax that upstream accepts), which is loaded when the first custom resource needs it:
 * call `loadRegexp` before anything here.
 */

import type { RE2JS } from "re2js";
import { type Pace, Unsettled } from "../pace.ts";
import { LongSearch, takesLong } from "./long_search.ts";
import { patternSize } from "./pattern_size.ts";

/** A compiled pattern. */
export interface Pattern {
  /** Whether the text holds a match anywhere. */
  test(text: string): boolean;
}

/** What long searches came to, by pattern and text. */
export type Searched = Map<unknown, Map<string, boolean>>;
let searched: Searched | undefined;

/** Runs something whose long searches are settled elsewhere: it throws Unsettled where one is not in `known` yet. */
export function settling<T>(known: Searched, run: () => T): T {
  searched = known;
  try {
    return run();
  } finally {
    searched = undefined;
  }
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

/** Instructions of one pattern at most, about a kilobyte each: `x{1000}` is a thousand. */
export const PATTERN_SIZE_MAX = 50_000;
/** Patterns that are kept compiled, and instructions of all of them. */
const PATTERNS_MAX = 2048;
const PATTERNS_SIZE_MAX = 200_000;
const engines = new Map<string, RE2JS>();
const patterns = new Map<string, Pattern | string>();
let size = 0;

/** A pattern that is kept compiled. */
export function keptPattern(text: string): RE2JS | undefined {
  return engines.get(text);
}

/** Compiles a pattern, once. Throws what is wrong with it. */
export function compilePattern(text: string): RE2JS {
  const known = engines.get(text);
  if (known) return known;
  const more = patternSize(text, PATTERN_SIZE_MAX);
  if (more > PATTERN_SIZE_MAX) throw new Error("error parsing regexp: expression too large");
  const made = regexpEngine().RE2JS.compile(text);
  if (engines.size >= PATTERNS_MAX || size + more > PATTERNS_SIZE_MAX) {
    engines.clear();
    patterns.clear();
    size = 0;
  }
  size += more;
  engines.set(text, made);
  return made;
}

function compiled(text: string): Pattern | string {
  const known = patterns.get(text);
  if (known !== undefined) return known;
  let made: Pattern | string;
  try {
    const pattern = compilePattern(text);
    made = {
      test(value) {
        if (!searched || !takesLong(pattern, value)) return pattern.matcher(value).find();
        const found = searched.get(pattern)?.get(value);
        if (found === undefined) throw new Unsettled(searching(pattern, value, searched));
        return found;
      },
    };
  } catch (error) {
    if (!engine) throw error;
    made = error instanceof Error ? error.message : String(error);
    if (patterns.size >= PATTERNS_MAX) patterns.clear();
  }
  patterns.set(text, made);
  return made;
}

/** Searches by pieces, and notes what comes of it. */
function searching(pattern: RE2JS, text: string, known: Searched) {
  return async (pace: Pace) => {
    const search = new LongSearch(pattern, text, { limit: 1, testing: true });
    while (!search.advance()) await pace.rest();
    const texts = known.get(pattern) ?? new Map();
    known.set(pattern, texts.set(text, search.found));
  };
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
