/**
 * CEL expressions as requests are judged by them: the variables that each place offers, programs compiled
 * once per text. CEL itself is loaded by `loadExpressions`; importing this costs nothing.
 */
import { celEngine, loadCrdEngine } from "./crd/engine.ts";

type Cel = ReturnType<typeof celEngine>;
export type Program = ReturnType<Cel["compileExpression"]>;
export type VariableSpec = NonNullable<Parameters<Cel["compileExpression"]>[1][string]>;

/** Programs that are kept. */
export const PROGRAMS_MAX = 4096;

/**
 * Whose variables an expression sees: of an admission (`message`: without the authorizer; `mutation`: with the
 * types of patches; each with `params` or without), of an authorization, of a token's claims, of the user
 * made of them, of a device that may be allocated.
 */
export type Scope =
  | "admission"
  | "admissionWithParams"
  | "message"
  | "messageWithParams"
  | "mutation"
  | "mutationWithParams"
  | "authorization"
  | "claims"
  | "user"
  | "device";

function variablesOf(cel: Cel, scope: Scope): Record<string, VariableSpec> {
  switch (scope) {
    case "authorization":
      return { request: { declared: cel.ACCESS_REVIEW } };
    case "claims":
      return { claims: { declared: cel.CLAIMS } };
    case "user":
      return { user: { declared: cel.USER_INFO } };
    case "device":
      return { device: { declared: cel.DEVICE } };
  }
  return {
    object: {},
    oldObject: {},
    namespaceObject: { declared: cel.NAMESPACE },
    request: { declared: cel.ADMISSION_REQUEST },
    ...(scope.endsWith("WithParams") ? { params: {} } : {}),
    ...(scope.startsWith("message") ? {} : {
      authorizer: { type: cel.AUTHORIZER },
      "authorizer.requestResource": { type: cel.RESOURCE_CHECK },
    }),
  };
}

/** A program, or why there is none. */
export type Compiled = { program: Program; problem?: undefined } | {
  program?: undefined;
  problem: string;
};

const programs = new Map<string, Compiled>();

/** Loads CEL; returns at once when it is there. */
export function loadExpressions(): Promise<void> {
  return loadCrdEngine();
}

/**
 * Compiles an expression, once per text: await `loadExpressions` before. `results`: the types it may have
 * (none: any). `extra` adds variables or replaces them; its `key` then tells programs apart.
 */
export function compiledExpression(
  expression: string,
  scope: Scope,
  results: readonly string[],
  extra?: { key: string; variables: Record<string, VariableSpec> },
): Compiled {
  const key = `${scope}\n${results.join()}\n${extra?.key ?? ""}\n${expression}`;
  const known = programs.get(key);
  if (known) return known;
  const cel = celEngine();
  let made: Compiled;
  try {
    const program = cel.compileExpression(
      expression,
      {
        ...variablesOf(cel, scope),
        ...extra?.variables,
      },
      undefined,
      { messages: scope.startsWith("mutation") },
    );
    const right = results.length === 0 || results.includes(program.type);
    made = right ? { program } : { problem: wrongType(results, program.type, scope) };
  } catch (error) {
    if (!(error instanceof cel.CompileError)) throw error;
    made = { problem: `${error.stage} failed: ${error.message}` };
  }
  if (programs.size >= PROGRAMS_MAX) programs.clear();
  programs.set(key, made);
  return made;
}

function wrongType(results: readonly string[], type: string, scope: Scope): string {
  const wanted = results.length === 1 ? results[0] : `one of [${results.join(" ")}]`;
  if (scope === "device") return `must evaluate to bool or the unknown type, not ${type}`;
  if (scope === "claims" || scope === "user") return `must evaluate to ${wanted}`;
  if (scope === "authorization" && results.length > 1) return `must evaluate to ${wanted}`;
  return `must evaluate to ${wanted} but got ${type}`;
}

// --- policies -----------------------------------------------------------------------------------------

/** The expressions of one policy: those it defines as variables are seen by those after them. */
export class PolicyExpressions {
  readonly variables: { name: string; compiled: Compiled }[] = [];
  readonly #suffix: string;
  readonly #composes: boolean;
  #extra: { key: string; variables: Record<string, VariableSpec> } | undefined;

  /** `params`: the policy has parameters; `composes`: there is `variables`, even without any. */
  constructor({ params, composes }: { params: boolean; composes: boolean }) {
    this.#suffix = params ? "WithParams" : "";
    this.#composes = composes;
  }

  /** Compiles a variable, which later expressions see. */
  define(name: string, expression: string): Compiled {
    const compiled = this.compile(expression, "admission", []);
    this.variables.push({ name, compiled });
    this.#extra = variablesSeen(this.variables);
    return compiled;
  }

  /** Compiles an expression, with CEL loaded. `results`: the types it may have (none: any). */
  compile(
    expression: string,
    scope: "admission" | "message" | "mutation",
    results: readonly string[],
  ): Compiled {
    if (this.#composes) this.#extra ??= variablesSeen(this.variables);
    return compiledExpression(expression, `${scope}${this.#suffix}` as Scope, results, this.#extra);
  }
}

/** The type of `variables` as far as they are defined. */
function variablesSeen(
  variables: readonly { name: string; compiled: Compiled }[],
): { key: string; variables: Record<string, VariableSpec> } {
  const cel = celEngine();
  const types: Record<string, Program["output"]> = {};
  for (const { name, compiled } of variables) {
    types[name] = compiled.program ? shownType(compiled.program.output) : cel.DYN;
  }
  const key = Object.entries(types).map(([name, type]) => `${name}:${cel.typeText(type)}`).join();
  const declared = cel.recordType("kubernetes.variables", types);
  return { key: `variables ${key}`, variables: { variables: { declared } } };
}

const PLAIN = new Set([
  "bool",
  "bytes",
  "double",
  "duration",
  "int",
  "null",
  "string",
  "timestamp",
  "uint",
]);

/** The type that other expressions see of a variable: what has fields is dyn. */
function shownType(type: Program["output"]): Program["output"] {
  const { DYN, listOf, mapOf } = celEngine();
  if (PLAIN.has(type.kind)) return type;
  if (type.kind === "list") return listOf(shownType(type.a!));
  if (type.kind === "map") return mapOf(shownType(type.a!), shownType(type.b!));
  return DYN;
}
