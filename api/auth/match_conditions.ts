/**
 * CEL where requests are judged: match conditions of webhooks, of policies and of authorizers, and the
 * mappings and rules of authenticators. Programs are compiled once per text and kind of variables, evaluated
 * within upstream's budgets, and what went wrong is said in upstream's words.
 *
 * CEL is loaded by the first of these calls; a process without such configuration never loads it. Long expressions, and
 * long lists of them, give way to others (`Pace`); one expression is bounded by `CALL_COST_MAX`.
 */
import type { User } from "../client/contract.ts";
import { celEngine } from "../machinery/crd/engine.ts";
import {
  type Compiled,
  compiledExpression,
  loadExpressions,
  type Program,
  type Scope,
} from "../machinery/expressions.ts";
import { goQuote } from "../machinery/go_format.ts";
import type { Pace } from "../machinery/pace.ts";
import { parseFieldSelector, parseLabelSelector, SelectorError } from "../machinery/selectors.ts";
import type { DeepReadonly, Kind, KubeObject } from "../machinery/types.ts";
import type { Admission, Attributes, Authorizer, Decision } from "./contract.ts";
import { kindOf, placeOf } from "./request_matching.ts";

export { compiledExpression, loadExpressions, type Scope };

type Cel = ReturnType<typeof celEngine>;
type Check = Parameters<Parameters<Cel["authorizerValue"]>[0]["decide"]>[0];
type AccessDecision = ReturnType<Parameters<Cel["authorizerValue"]>[0]["decide"]>;

/** Cost of all match conditions over one request. */
export const MATCH_BUDGET = 2_500_000;

// --- evaluation ---------------------------------------------------------------------------------------

/** Nothing may be evaluated any more. */
export class OutOfBudget extends Error {
  constructor() {
    super(
      "validation failed due to running out of cost budget, no further validation rules will be run",
    );
  }
}

/** What a list of expressions may cost, and whom it gives way to. */
export class Budget {
  left: number;
  readonly pace: Pace | undefined;

  constructor(limit: number, pace?: Pace) {
    this.left = limit;
    this.pace = pace;
  }

  /** Counts cost. Throws OutOfBudget. */
  spend(cost: number): void {
    if (cost > this.left) throw new OutOfBudget();
    this.left -= cost;
  }
}

/** What came of one expression. `error` is the whole sentence but who asked. */
export type Outcome = { value: unknown; error?: undefined } | { value?: undefined; error: string };

/** What expressions see, by the name of the variable. */
export type Values = Readonly<Record<string, unknown>>;

/**
 * Evaluates one program. `composed`: the values' `variables`, whose cost comes before the program's own.
 * Throws OutOfBudget.
 */
export async function evaluateProgram(
  program: Program,
  values: Values,
  budget: Budget,
  composed?: Composition,
): Promise<Outcome> {
  const { CALL_COST_MAX, CelError, CostError, Interrupted, Pending } = celEngine();
  const { pace } = budget;
  let cost = 0;
  let outcome: Outcome | undefined;
  const evaluation = program.begin(values, {
    limit: Math.min(CALL_COST_MAX, budget.left + 1),
    spent: (units) => cost = units,
  });
  while (!outcome) {
    try {
      outcome = { value: evaluation.go(pace) };
    } catch (error) {
      if (error instanceof Interrupted) await pace!.rest();
      else if (error instanceof Pending) await error.settled;
      else if (error instanceof CelError || error instanceof CostError) {
        outcome = { error: `expression '${program.text}' resulted in error: ${error.message}` };
      } else throw error;
    }
  }
  budget.spend(composed?.takeCost() ?? 0);
  budget.spend(cost);
  if (pace?.due) await pace.turn();
  return outcome;
}

// --- variables of policies ----------------------------------------------------------------------------

/** A variable that a policy defines. */
export interface Variable {
  name: string;
  compiled: Compiled;
}

/**
 * The variables of a policy over one request and one list of expressions: each is evaluated when an
 * expression first looks at it, and what it cost is added to that expression's cost.
 */
export class Composition {
  /** What expressions see: those of the request, and `variables`. */
  readonly values: Values;
  readonly #begun = new Map<string, ReturnType<Program["begin"]>>();
  #cost = 0;

  constructor(variables: readonly Variable[], base: Values) {
    // An object that is another's prototype costs V8 a map of its own, and lives until a full collection
    if (variables.length === 0 && "variables" in base) {
      this.values = base;
      return;
    }
    const makers = new Map<string, () => unknown>();
    for (const { name, compiled } of variables) {
      makers.set(name, () => this.#evaluate(name, compiled));
    }
    const record = new (celEngine().LazyRecord)(makers);
    this.values = Object.create(base, { variables: { value: record, enumerable: true } });
  }

  /** What variables have cost since this was last asked. */
  takeCost(): number {
    const cost = this.#cost;
    this.#cost = 0;
    return cost;
  }

  #evaluate(name: string, { program, problem }: Compiled): unknown {
    const { CelError, CostError } = celEngine();
    const variable = `composited variable ${goQuote(name)}`;
    if (!program) throw new CelError(`${variable} fails to compile: ${problem}`);
    // What looks at it may give way in its middle, and look again
    let evaluation = this.#begun.get(name);
    if (!evaluation) {
      evaluation = program.begin(this.values, { spent: (cost) => this.#cost += cost });
      this.#begun.set(name, evaluation);
    }
    try {
      return evaluation.go();
    } catch (error) {
      if (!(error instanceof CelError || error instanceof CostError)) throw error;
      throw new CelError(`${variable} fails to evaluate: ${error.message}`);
    }
  }
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
    variables: () => new cel.LazyRecord(new Map()),
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
    options: a.operation === "CONNECT" ? null : a.options,
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
  match(values: Values, options?: { pace?: Pace }): Promise<MatchResult>;
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
    async match(values, { pace } = {}) {
      const authorizing = scope === "authorization";
      const result = await matchAll({ conditions, made, authorizing, pace }, values);
      return result.error !== undefined && ignore ? { matches: false } : result;
    },
  };
}

/** What is matched with: conditions as they were written, and compiled. */
export interface Matching {
  conditions: readonly MatchCondition[];
  made: readonly Compiled[];
  /** An authorizer's: each expression has a budget of its own, and the first that says no ends it. */
  authorizing?: boolean;
  composed?: Composition;
  pace?: Pace;
}

/** Whether all conditions hold over the values. */
export async function matchAll(
  { conditions, made, authorizing, composed, pace }: Matching,
  values: Values,
): Promise<MatchResult> {
  const budget = new Budget(authorizing ? Infinity : MATCH_BUDGET, pace);
  const errors: string[] = [];
  let no: MatchResult | undefined;
  for (const [i, { program, problem }] of made.entries()) {
    if (!program) {
      errors.push(`compilation error: ${problem}`);
      continue;
    }
    let outcome: Outcome;
    try {
      outcome = await evaluateProgram(program, values, budget, composed);
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
