/**
 * What is wrong with literals: patterns, times and templates that cannot work whatever the object says. Found
 * when an expression is written, after everything else is right.
 */
import type { Code } from "./code.ts";
import type { Problem } from "./compile.ts";
import { compiledPattern } from "./core_library.ts";
import { clauseProblem, templateParts } from "./format_string.ts";
import { isFunction, overloads } from "./registry.ts";
import type { Node } from "./parser.ts";
import { resultText, type Type } from "./types.ts";
import { CelError, fits } from "./values.ts";

/** Functions whose literal texts are checked. */
const CHECKED = new Set(["matches", "timestamp", "duration"]);

/** What is wrong with the literal argument of a call; undefined when nothing is. */
export function checkLiteral(name: string, args: readonly Code[]): string | undefined {
  if (!CHECKED.has(name) || !isFunction(name)) return undefined;
  const value = args.at(-1)?.constant?.value;
  if (value === undefined || args.length !== (name === "matches" ? 2 : 1)) return undefined;
  try {
    if (name === "matches") compiledPattern(value as string);
    else overloads(name, false, 1).find(({ params }) => fits(params[0], value))?.run(value);
    return undefined;
  } catch (error) {
    if (!(error instanceof CelError)) throw error;
    return `invalid ${name} argument`;
  }
}

/** A type's name, without what it is of. */
function nameOf(type: Type): string {
  return resultText(type).replace(/\(.*$/, "");
}

/** What is wrong with a template and a list of arguments, both written out. */
export function checkFormat(
  ast: Node & { op: "call" },
  [template]: readonly Code[],
  types: readonly Code[] | undefined,
): Problem[] {
  const [list] = ast.args;
  const text = template.constant?.value;
  if (list?.op !== "list" || typeof text !== "string" || !types) return [];
  let parts;
  try {
    parts = templateParts(text);
  } catch (error) {
    if (!(error instanceof CelError)) throw error;
    return [{ pos: ast.pos, message: error.message }];
  }
  let next = 0;
  for (const part of parts) {
    if (typeof part === "string") continue;
    const type = types[next]?.type;
    if (!type) return [{ pos: ast.pos, message: `index ${next} out of range` }];
    const problem = clauseProblem(part.verb, type.kind, nameOf(type));
    if (problem) return [{ pos: list.items[next].pos, message: problem }];
    next++;
  }
  if (next === list.items.length) return [];
  const message = `too many arguments supplied to string.format (expected ${next}, got ` +
    `${list.items.length})`;
  return [{ pos: ast.pos, message }];
}
