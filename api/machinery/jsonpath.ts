/**
 * JSONPath as kubectl and printer columns know it (client-go `util/jsonpath`): fields, indices, slices,
 * unions, wildcards, recursive descent and filters. Compiled once, missing keys give no result. Texts
 * around `{...}`, `range` and `end` are kubectl's own and not part of this.
 */
import { goJson, goValue } from "./go_format.ts";
import { getKey, isMap, sortedKeys } from "./json_value.ts";
import type { Json } from "./types.ts";

/** A path that cannot be parsed. */
export class JsonPathError extends Error {
  override name = "JsonPathError";
}

type Step =
  | { kind: "field"; name: string }
  | { kind: "wildcard" }
  | { kind: "recursive" }
  | { kind: "slice"; from?: number; to?: number; step: number; single: boolean }
  | { kind: "union"; paths: Step[][] }
  | { kind: "value"; value: Json }
  | { kind: "filter"; left: Step[]; operator: string; right: Step[] };

/** Steps that one path may have, and how deep filters nest in it. */
export const JSONPATH_LENGTH_MAX = 4096;
/** Values that one evaluation may visit, so that `..` over a large object ends. */
export const JSONPATH_VISITS_MAX = 1_000_000;

const TERMINATORS = new Set([" ", "\t", "\r", "\n", ".", ",", "[", "]", "$", "@", "{", "}"]);

class Parser {
  readonly #text: string;
  #at = 0;

  constructor(text: string) {
    this.#text = text;
  }

  parse(): Step[] {
    const steps: Step[] = [];
    while (this.#at < this.#text.length) {
      const step = this.#step(steps);
      if (step) steps.push(...step);
    }
    return steps;
  }

  #step(before: Step[]): Step[] | undefined {
    const text = this.#text;
    if (text.startsWith("[?(", this.#at)) return [this.#filter()];
    if (text.startsWith("..", this.#at)) {
      if (before.at(-1)?.kind === "recursive") {
        throw new JsonPathError("invalid multiple recursive descent");
      }
      this.#at += 2;
      const next = text[this.#at] ?? "";
      const steps: Step[] = [{ kind: "recursive" }];
      if (/[\p{L}\p{Nd}_]/u.test(next)) steps.push(this.#field());
      return steps;
    }
    const char = text[this.#at];
    switch (char) {
      case " ":
      case "@":
      case "$":
        this.#at++;
        return undefined;
      case "[":
        return this.#brackets();
      case '"':
      case "'":
        return [this.#quoted(char)];
      case ".":
        this.#at++;
        return [this.#field()];
    }
    if (/[+\-0-9]/.test(char)) return [this.#number()];
    if (/[\p{L}_]/u.test(char)) return [this.#identifier()];
    throw new JsonPathError(`unrecognized character in action: ${char}`);
  }

  #field(): Step {
    let name = "";
    while (this.#at < this.#text.length) {
      const char = this.#text[this.#at];
      if (char === "\\") {
        name += this.#text[this.#at + 1] ?? "";
        this.#at += 2;
        continue;
      }
      if (TERMINATORS.has(char)) break;
      name += char;
      this.#at++;
    }
    return name === "*" ? { kind: "wildcard" } : { kind: "field", name };
  }

  #quoted(quote: string): Step {
    let value = "";
    for (let i = this.#at + 1; i < this.#text.length; i++) {
      const char = this.#text[i];
      if (char === "\\" && i + 1 < this.#text.length) value += this.#text[++i];
      else if (char === quote) {
        this.#at = i + 1;
        return { kind: "value", value };
      } else value += char;
    }
    throw new JsonPathError("unterminated quoted string");
  }

  #number(): Step {
    const match = /^[+-]?[0-9.]*/.exec(this.#text.slice(this.#at))!;
    this.#at += match[0].length;
    const value = Number(match[0]);
    if (match[0] === "" || Number.isNaN(value)) {
      throw new JsonPathError(`cannot parse number ${match[0]}`);
    }
    return { kind: "value", value };
  }

  #identifier(): Step {
    const start = this.#at;
    while (this.#at < this.#text.length && !TERMINATORS.has(this.#text[this.#at])) this.#at++;
    const word = this.#text.slice(start, this.#at);
    if (word === "true" || word === "false") return { kind: "value", value: word === "true" };
    throw new JsonPathError(`unrecognized identifier ${word}`);
  }

  #brackets(): Step[] {
    const end = this.#text.indexOf("]", this.#at);
    if (end < 0) throw new JsonPathError("unterminated array");
    const inner = this.#text.slice(this.#at + 1, end);
    this.#at = end + 1;
    const parts = inner.split(",");
    if (parts.length > 1) {
      return [{ kind: "union", paths: parts.map((part) => bracketSteps(part.trim())) }];
    }
    return bracketSteps(inner);
  }

  #filter(): Step {
    const start = this.#at + 3;
    let quote = "";
    for (let i = start; i < this.#text.length; i++) {
      const char = this.#text[i];
      if (quote) {
        if (char === quote && this.#text[i - 1] !== "\\") quote = "";
      } else if (char === '"' || char === "'") quote = char;
      else if (char === ")") {
        if (this.#text[i + 1] !== "]") throw new JsonPathError("unclosed array expect ]");
        this.#at = i + 2;
        return filterStep(this.#text.slice(start, i));
      }
    }
    throw new JsonPathError("unterminated filter");
  }
}

function bracketSteps(inner: string): Step[] {
  const name = /^'([^']*)'$/.exec(inner);
  if (name) return new Parser(`.${name[1]}`).parse();
  const match = /^(-?\d*)(:-?\d*)?(:-?\d*)?$/.exec(inner === "*" ? ":" : inner);
  if (!match) throw new JsonPathError(`invalid array index ${inner}`);
  const number = (text: string | undefined) => text ? Number(text) : undefined;
  const from = number(match[1]);
  // `[]` is the first item.
  const single = match[2] === undefined;
  return [{
    kind: "slice",
    from,
    to: single ? undefined : number(match[2].slice(1)),
    step: number(match[3]?.slice(1)) ?? 1,
    single,
  }];
}

function filterStep(text: string): Step {
  const match = /^([^!<>=]+)([!<>=~]+)([^]+?)$/.exec(text);
  if (!match) return { kind: "filter", left: parse(text), operator: "exists", right: [] };
  if (!["<", ">", "==", "!=", "<=", ">=", "=~"].includes(match[2])) {
    throw new JsonPathError(`unrecognized filter operator ${match[2]}`);
  }
  return { kind: "filter", left: parse(match[1]), operator: match[2], right: parse(match[3]) };
}

function parse(text: string): Step[] {
  return new Parser(text).parse();
}

/** A path ready to be evaluated. */
export interface JsonPath {
  readonly text: string;
  /** All values found. An index out of bounds, or an index into what is no list, finds nothing. */
  find(document: unknown): Json[];
}

/** Compiles a path such as `.spec.ports[0].name`, with or without braces. Throws JsonPathError. */
export function compileJsonPath(text: string): JsonPath {
  if (text.length > JSONPATH_LENGTH_MAX) {
    throw new JsonPathError(`path is longer than ${JSONPATH_LENGTH_MAX} characters`);
  }
  const inner = text.startsWith("{") && text.endsWith("}") ? text.slice(1, -1) : text;
  const steps = parse(inner);
  return {
    text,
    find(document) {
      return run([document as Json], steps, { visits: 0 });
    },
  };
}

interface Budget {
  visits: number;
}

function run(input: Json[], steps: readonly Step[], budget: Budget): Json[] {
  let values = input;
  for (const step of steps) {
    if (values.length === 0 && step.kind !== "value") return values;
    budget.visits += values.length;
    if (budget.visits > JSONPATH_VISITS_MAX) return [];
    values = apply(values, step, budget);
  }
  return values;
}

function apply(values: Json[], step: Step, budget: Budget): Json[] {
  const out: Json[] = [];
  switch (step.kind) {
    case "value":
      return values.map(() => step.value);
    case "union":
      for (const path of step.paths) out.push(...run(values, path, budget));
      return out;
    case "field":
      for (const value of values) {
        const found = isMap(value) ? getKey(value, step.name) : undefined;
        if (found !== undefined) out.push(found);
      }
      return out;
    case "wildcard":
      for (const value of values) for (const inner of members(value)) out.push(inner);
      return out;
    case "recursive":
      for (const value of values) descend(value, out, budget);
      return out;
    case "slice":
      for (const value of values) if (Array.isArray(value)) slice(value, step, out);
      return out;
    case "filter":
      for (const value of values) {
        for (const item of Array.isArray(value) ? value : []) {
          if (passes(item, step, budget)) out.push(item);
        }
      }
      return out;
  }
}

function members(value: Json): Json[] {
  return typeof value === "object" && value !== null ? Object.values(value) : [];
}

function descend(value: Json, out: Json[], budget: Budget): void {
  const inner = members(value);
  if (inner.length === 0 || ++budget.visits > JSONPATH_VISITS_MAX) return;
  out.push(value);
  for (const item of inner) descend(item, out, budget);
}

function slice(list: Json[], step: Step & { kind: "slice" }, out: Json[]): void {
  let from = step.from ?? 0;
  if (from < 0) from += list.length;
  let to = step.single ? from + 1 : step.to ?? list.length;
  if (to < 0) to += list.length;
  if (from < 0 || from >= list.length || to > list.length || step.step <= 0) return;
  for (let i = from; i < to; i += step.step) out.push(list[i]);
}

function passes(item: Json, step: Step & { kind: "filter" }, budget: Budget): boolean {
  const lefts = run([item], step.left, budget);
  if (step.operator === "exists") return lefts.length > 0;
  if (lefts.length !== 1) return false;
  const rights = run([item], step.right, budget);
  return rights.length === 1 && compare(lefts[0], rights[0], step.operator);
}

function compare(a: Json, b: Json, operator: string): boolean {
  if (operator === "=~") {
    if (typeof a !== "string" || typeof b !== "string") return false;
    try {
      return new RegExp(b, "u").test(a);
    } catch {
      return false; // Not an expression: nothing matches it.
    }
  }
  if (operator === "==") return a === b;
  if (operator === "!=") return typeof a === typeof b && a !== b;
  if (typeof a !== typeof b || (typeof a !== "number" && typeof a !== "string")) return false;
  const x = a as string;
  const y = b as string;
  if (operator === "<") return x < y;
  if (operator === ">") return x > y;
  return operator === "<=" ? x <= y : x >= y;
}

/** A found value as text: scalars as `%v` prints them, lists and maps as JSON with sorted keys. */
export function jsonPathText(value: Json): string {
  return typeof value === "object" && value !== null ? goJson(sortedKeys(value)) : goValue(value);
}
