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
 * made of them.
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
  | "user";

function variablesOf(cel: Cel, scope: Scope): Record<string, VariableSpec> {
  switch (scope) {
    case "authorization":
      return { request: { declared: cel.ACCESS_REVIEW } };
    case "claims":
      return { claims: { declared: cel.CLAIMS } };
    case "user":
      return { user: { declared: cel.USER_INFO } };
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
  if (scope === "claims" || scope === "user") return `must evaluate to ${wanted}`;
  if (scope === "authorization" && results.length > 1) return `must evaluate to ${wanted}`;
  return `must evaluate to ${wanted} but got ${type}`;
}
