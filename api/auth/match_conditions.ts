/**
 * CEL where requests are judged: match conditions of webhooks, of policies and of authorizers, and the
 * mappings and rules of authenticators. Programs are compiled once per text and kind of variables, evaluated
 * within upstream's budgets, and what went wrong is said in upstream's words.
 *
 * CEL is loaded by the first of these calls; a process without such configuration never loads it. Long
 * lists of expressions give the event loop back in between (`TURN_COST`); one expression is bounded by
 * `CALL_COST_MAX`.
 */
import type { User } from "../client/contract.ts";
import { celEngine, loadCrdEngine } from "../machinery/crd/engine.ts";
import { parseFieldSelector, parseLabelSelector, SelectorError } from "../machinery/selectors.ts";
import type { DeepReadonly, Kind, KubeObject } from "../machinery/types.ts";
import type { Admission, Attributes, Authorizer, Decision } from "./contract.ts";
import { kindOf, placeOf } from "./request_matching.ts";

type Cel = ReturnType<typeof celEngine>;
type Program = ReturnType<Cel["compileExpression"]>;
type VariableSpec = NonNullable<Parameters<Cel["compileExpression"]>[1][string]>;
type Check = Parameters<Parameters<Cel["authorizerValue"]>[0]["decide"]>[0];
type AccessDecision = ReturnType<Parameters<Cel["authorizerValue"]>[0]["decide"]>;

/** Cost of all match conditions over one request. */
export const MATCH_BUDGET = 2_500_000;
/** After this much cost other work of the event loop has its turn. */
export const TURN_COST = 100_000;
/** Programs that are kept. */
export const PROGRAMS_MAX = 4096;

/**
 * Whose variables an expression sees: of an admission (with `params` or without), of an authorization, of
 * a token's claims, of the user made of them.
 */
export type Scope = "admission" | "admissionWithParams" | "authorization" | "claims" | "user";

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
    ...(scope === "admissionWithParams" ? { params: {} } : {}),
    authorizer: { type: cel.AUTHORIZER },
    "authorizer.requestResource": { type: cel.RESOURCE_CHECK },
  };
}

// --- programs -----------------------------------------------------------------------------------------

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
 * (none: any). `extra` adds variables; `key` then tells programs of other variables apart.
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
    const program = cel.compileExpression(expression, {
      ...variablesOf(cel, scope),
      ...extra?.variables,
    });
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

// --- evaluation ---------------------------------------------------------------------------------------

/** Nothing may be evaluated any more. */
export class OutOfBudget extends Error {
  constructor() {
    super(
      "validation failed due to running out of cost budget, no further validation rules will be run",
    );
  }
}

/** What a list of expressions may cost, and where it gives way to other work. */
export class Budget {
  left: number;
  readonly #turn: (() => Promise<void>) | undefined;
  #sinceTurn = 0;

  constructor(limit: number, turn?: () => Promise<void>) {
    this.left = limit;
    this.#turn = turn;
  }

  /** Counts cost. Throws OutOfBudget. */
  spend(cost: number): void {
    if (cost > this.left) throw new OutOfBudget();
    this.left -= cost;
    this.#sinceTurn += cost;
  }

  /** Gives way when enough was spent since the last time. */
  async rest(): Promise<void> {
    if (this.#sinceTurn < TURN_COST) return;
    this.#sinceTurn = 0;
    await this.#turn?.();
  }
}

/** What came of one expression. `error` is the whole sentence but who asked. */
export type Outcome = { value: unknown; error?: undefined } | { value?: undefined; error: string };

/** What expressions see, by the name of the variable. */
export type Values = Readonly<Record<string, unknown>>;

/** Evaluates one program. Throws OutOfBudget. */
export async function evaluateProgram(
  program: Program,
  values: Values,
  budget: Budget,
): Promise<Outcome> {
  const { Pending } = celEngine();
  for (;;) {
    try {
      const outcome = evaluateNow(program, values, budget);
      await budget.rest();
      return outcome;
    } catch (error) {
      if (!(error instanceof Pending)) throw error;
      await error.settled;
    }
  }
}

/** Evaluates at once; throws Pending where an authorizer takes time, and OutOfBudget. */
export function evaluateNow(program: Program, values: Values, budget: Budget): Outcome {
  const { CelError, CostError, CALL_COST_MAX } = celEngine();
  let cost = 0;
  let outcome: Outcome;
  try {
    const value = program.evaluate(values, {
      limit: Math.min(CALL_COST_MAX, budget.left + 1),
      spent: (units) => cost = units,
    });
    outcome = { value };
  } catch (error) {
    if (!(error instanceof CelError || error instanceof CostError)) throw error;
    outcome = { error: `expression '${program.text}' resulted in error: ${error.message}` };
  }
  budget.spend(cost);
  return outcome;
}

// --- what admission shows -----------------------------------------------------------------------------

/** An admission as expressions see it. What is not given is taken from the admission itself. */
export interface Judged {
  admission: Admission;
  authorizer: Authorizer;
  /** The kind that matched, where it is not the request's; objects are shown in its version. */
  matched?: Kind;
  object?: DeepReadonly<KubeObject>;
  old?: DeepReadonly<KubeObject>;
  /** The Namespace of a namespaced object. */
  namespace?: DeepReadonly<KubeObject>;
  /** The parameter, null when there is none. */
  params?: DeepReadonly<KubeObject> | null;
}

/** The variables of an admission, each made when an expression looks at it. */
export function admissionValues(judged: Judged): Values {
  const { admission: a, authorizer } = judged;
  const cel = celEngine();
  const wrap = (object: unknown) => cel.wrapDyn(object ?? null);
  const checks = new Checks(authorizer, a.user);
  return lazily({
    object: () => wrap(judged.object ?? a.object),
    oldObject: () => wrap(judged.old ?? a.old),
    params: () => wrap(judged.params),
    namespaceObject: () => wrap(judged.namespace && namespaceShown(judged.namespace)),
    request: () => wrap(requestShown(judged)),
    authorizer: () => cel.authorizerValue(checks),
    "authorizer.requestResource": () =>
      cel.resourceCheckValue(checks, {
        group: a.kind.group,
        resource: a.kind.plural,
        subresource: a.subresource,
        ...placeOf(a),
      }),
  });
}

/** An object whose members are made at first use. */
export function lazily(makers: Readonly<Record<string, () => unknown>>): Values {
  const made = new Map<string, unknown>();
  const values = {};
  for (const [name, make] of Object.entries(makers)) {
    Object.defineProperty(values, name, {
      enumerable: true,
      get() {
        if (!made.has(name)) made.set(name, make());
        return made.get(name);
      },
    });
  }
  return values;
}

/** The AdmissionRequest, without the objects. */
function requestShown({ admission: a, matched = a.kind }: Judged): Record<string, unknown> {
  const { group, version, plural: resource } = a.kind;
  return {
    kind: kindOf(matched, a.subresource),
    resource: { group: matched.group, version: matched.version, resource: matched.plural },
    ...(a.subresource ? { subResource: a.subresource } : {}),
    requestKind: kindOf(a.kind, a.subresource),
    requestResource: { group, version, resource },
    ...(a.subresource ? { requestSubResource: a.subresource } : {}),
    ...nonEmpty(placeOf(a)),
    operation: a.operation,
    userInfo: userShown(a.user),
    dryRun: a.dryRun,
    options: a.options,
  };
}

function nonEmpty(texts: Record<string, string>): Record<string, string> {
  return Object.fromEntries(Object.entries(texts).filter(([, text]) => text !== ""));
}

/** A user as `request.userInfo` and as authentication's `user` show it: empty fields are left out. */
export function userShown(user: User): Record<string, unknown> {
  return {
    ...(user.name ? { username: user.name } : {}),
    ...(user.uid ? { uid: user.uid } : {}),
    ...(user.groups.length ? { groups: user.groups } : {}),
    ...(user.extra && Object.keys(user.extra).length ? { extra: user.extra } : {}),
  };
}

const NAMESPACE_META = [
  "name",
  "generateName",
  "namespace",
  "uid",
  "resourceVersion",
  "generation",
  "creationTimestamp",
  "deletionTimestamp",
  "deletionGracePeriodSeconds",
  "labels",
  "annotations",
  "finalizers",
] as const;

/** The Namespace without what changes for reasons of its own (managedFields, owners). */
function namespaceShown(namespace: DeepReadonly<KubeObject>): Record<string, unknown> {
  const metadata: Record<string, unknown> = {};
  for (const name of NAMESPACE_META) {
    const value = namespace.metadata[name];
    if (value !== undefined) metadata[name] = value;
  }
  return { metadata, spec: namespace.spec ?? {}, status: namespace.status ?? {} };
}

/** Checks of one evaluation, remembered, so that one that took time is there when it starts again. */
class Checks {
  readonly #authorizer: Authorizer;
  readonly #user: User;
  readonly #known = new Map<string, AccessDecision>();

  constructor(authorizer: Authorizer, user: User) {
    this.#authorizer = authorizer;
    this.#user = user;
  }

  decide(check: Check): AccessDecision {
    const key = JSON.stringify(check);
    const known = this.#known.get(key);
    if (known) return known;
    let decision: Decision | Promise<Decision>;
    try {
      decision = this.#authorizer.authorize(attributesOf(check, this.#user));
    } catch (error) {
      return failed(error);
    }
    if (!(decision instanceof Promise)) return decision;
    const settled = decision.then(
      (told) => this.#known.set(key, told),
      (error) => this.#known.set(key, failed(error)),
    );
    throw new (celEngine().Pending)(settled);
  }
}

function failed(error: unknown): AccessDecision {
  return { allowed: false, error: error instanceof Error ? error.message : String(error) };
}

function attributesOf(check: Check, asking: User): Attributes {
  const account = check.serviceAccount;
  const user: User = account
    ? {
      name: `system:serviceaccount:${account.namespace}:${account.name}`,
      groups: ["system:serviceaccounts", `system:serviceaccounts:${account.namespace}`],
    }
    : asking;
  const { verb, group, resource, subresource, namespace, name, path } = check;
  if (path !== undefined) {
    const none = { group: "", version: "", resource: "", subresource: "", namespace: "", name: "" };
    return { user, verb, resourceRequest: false, path, ...none };
  }
  return {
    user,
    verb,
    resourceRequest: true,
    group,
    version: "*",
    resource,
    subresource,
    namespace,
    name,
    path: "",
    ...parsed("fieldSelector", check.fieldSelector, parseFieldSelector),
    ...parsed("labelSelector", check.labelSelector, parseLabelSelector),
  };
}

/** A selector that cannot be read is left out: the check then asks for more. */
function parsed(
  name: "fieldSelector" | "labelSelector",
  text: string | undefined,
  parse: (text: string) => unknown,
): Partial<Attributes> {
  if (!text) return {};
  try {
    parse(text);
    return { [name]: text };
  } catch (error) {
    if (error instanceof SelectorError) return {};
    throw error;
  }
}

// --- match conditions ---------------------------------------------------------------------------------

/** One condition as configurations hold it. */
export interface MatchCondition {
  name?: string;
  expression: string;
}

/** How conditions came out. `condition` names the one that said no; `error` means nobody could say. */
export type MatchResult =
  | { matches: true; error?: undefined }
  | { matches: false; condition?: string; error?: undefined }
  | { matches: false; error: string };

/** Conditions, compiled. */
export interface MatchConditions {
  /** Why some cannot be evaluated, by their place in the list; for those who refuse configurations. */
  readonly problems: readonly { index: number; problem: string }[];
  /**
   * Whether all hold. `values`: for admission `admissionValues(…)`, for authorization
   * `{ request: spec of a SubjectAccessReview }`.
   */
  match(values: Values, options?: { turn?: () => Promise<void> }): Promise<MatchResult>;
}

/**
 * Compiles match conditions. `failurePolicy` says what an evaluation error means in admission: `Fail` (the
 * default) makes it the result's `error`, `Ignore` that nothing matches. Authorizers always get the error.
 */
export async function compileMatchConditions(
  conditions: readonly MatchCondition[],
  scope: Scope,
  options: { failurePolicy?: string } = {},
): Promise<MatchConditions> {
  await loadExpressions();
  const made = conditions.map((one) => compiledExpression(one.expression, scope, ["bool"]));
  const problems = made.flatMap(({ problem }, index) => problem ? [{ index, problem }] : []);
  const ignore = options.failurePolicy === "Ignore" && scope !== "authorization";
  return {
    problems,
    async match(values, { turn } = {}) {
      const result = await matchAll(conditions, made, scope, values, turn);
      return result.error !== undefined && ignore ? { matches: false } : result;
    },
  };
}

async function matchAll(
  conditions: readonly MatchCondition[],
  made: readonly Compiled[],
  scope: Scope,
  values: Values,
  turn: (() => Promise<void>) | undefined,
): Promise<MatchResult> {
  const authorizing = scope === "authorization";
  const budget = new Budget(authorizing ? Infinity : MATCH_BUDGET, turn);
  const errors: string[] = [];
  let no: MatchResult | undefined;
  for (const [i, { program, problem }] of made.entries()) {
    if (!program) {
      errors.push(`compilation error: ${problem}`);
      continue;
    }
    let outcome: Outcome;
    try {
      outcome = await evaluateProgram(program, values, budget);
    } catch (error) {
      if (error instanceof OutOfBudget) return { matches: false, error: error.message };
      throw error;
    }
    if (outcome.error !== undefined) {
      errors.push(authorizing ? `cel evaluation error: ${outcome.error}` : outcome.error);
    } else if (outcome.value !== true) {
      no ??= { matches: false, condition: conditions[i].name };
      // In admission the others are evaluated all the same, and count against the budget.
      if (authorizing) break;
    }
  }
  if (no) return no;
  if (errors.length === 0) return { matches: true };
  return { matches: false, error: errors.length === 1 ? errors[0] : `[${errors.join(", ")}]` };
}
