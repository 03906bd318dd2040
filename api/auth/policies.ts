/**
 * What ValidatingAdmissionPolicies and MutatingAdmissionPolicies share: which policies there are with their
 * bindings, which of them a write meets, with which parameters, and their compiled expressions.
 *
 * Promises: a policy takes part from the commit that made it (upstream: a second later); one without a binding
 * costs nothing; where there are no bindings a write asks for one count. The index is made again only when
 * something under the two prefixes changed, programs only when a policy did.
 */
import type { View } from "../../kv/contract.ts";
import type { DeepReadonly, Kind, Kinds, KubeObject } from "../machinery/types.ts";
import { ApiError } from "../machinery/types.ts";
import { type Compiled, PolicyExpressions } from "../machinery/expressions.ts";
import { labelSelector, SelectorError } from "../machinery/selectors.ts";
import type { Admission } from "./contract.ts";
import type { MatchCondition, Values, Variable } from "./match_conditions.ts";
import { type MatchResources, matchResources } from "./request_matching.ts";

type Stored = DeepReadonly<KubeObject>;

const GROUP = "admissionregistration.k8s.io";
/** Policies never see these: they could lock themselves in. */
const OWN = new Set([
  "validatingadmissionpolicies",
  "validatingadmissionpolicybindings",
  "mutatingadmissionpolicies",
  "mutatingadmissionpolicybindings",
]);
/** Nor questions that are not stored: to break them breaks the cluster. */
const QUESTIONS = new Set(["authentication.k8s.io", "authorization.k8s.io"]);

/** Whether policies have a say in writes of a kind. */
export function isPoliced(a: Admission): boolean {
  return !(a.kind.group === GROUP && OWN.has(a.kind.plural)) &&
    !(a.kind.virtual && QUESTIONS.has(a.kind.group));
}

/** A policy with what binds it. */
export interface Hook {
  policy: Stored;
  bindings: readonly Stored[];
}

/** The policies of one kind. `plural`: of the policies, whose bindings' begins the same. */
export class PolicyIndex {
  readonly #policies: string;
  readonly #bindings: string;
  #view: View<KubeObject> | undefined;
  #revision = -1;
  #mark = "";
  #hooks: readonly Hook[] = [];

  constructor(singular: "validatingadmissionpolicy" | "mutatingadmissionpolicy") {
    this.#policies = `/registry/${singular.slice(0, -1)}ies/`;
    this.#bindings = `/registry/${singular}bindings/`;
  }

  /** Whether there is anything to look at. */
  active(view: View<KubeObject>): boolean {
    return view.count(this.#bindings) > 0;
  }

  /** The policies that are bound, in the order of their names. */
  hooks(view: View<KubeObject>): readonly Hook[] {
    if (this.#view === view && this.#revision === view.revision) return this.#hooks;
    const mark = [this.#policies, this.#bindings].map((prefix) => {
      let newest = 0;
      let count = 0;
      for (const item of view.scan(prefix)) {
        count++;
        newest = Math.max(newest, item.revision);
      }
      return `${count} ${newest}`;
    }).join();
    this.#view = view;
    this.#revision = view.revision;
    if (mark !== this.#mark) {
      this.#mark = mark;
      this.#hooks = this.#collect(view);
    }
    return this.#hooks;
  }

  #collect(view: View<KubeObject>): Hook[] {
    const bound = new Map<string, Stored[]>();
    for (const { value } of view.scan(this.#bindings)) {
      const name = value.spec?.policyName ?? "";
      const list = bound.get(name);
      if (list) list.push(value);
      else bound.set(name, [value]);
    }
    return [...bound.keys()].sort().flatMap((name) => {
      const policy = view.get(this.#policies + name)?.value;
      return policy ? [{ policy, bindings: bound.get(name)! }] : [];
    });
  }
}

// --- what a write meets -------------------------------------------------------------------------------

/** One policy by one binding, with the parameters that it names (none: null). */
export interface Invocation {
  policy: Stored;
  binding: Stored;
  /** The kind by which the policy matched. */
  matched: Kind;
  params: readonly (Stored | null)[];
}

/** A policy or binding that cannot be applied. */
export interface ConfigurationProblem {
  policy: Stored;
  binding?: Stored;
  message: string;
}

/** What one policy is to do about a write. */
export interface Met {
  invocations: Invocation[];
  problems: ConfigurationProblem[];
}

/** Finds out by which bindings, and with which parameters, a policy meets a write. */
export async function meet(
  { policy, bindings }: Hook,
  a: Admission,
  kinds: Kinds | undefined,
): Promise<Met> {
  const met: Met = { invocations: [], problems: [] };
  const problem = (error: unknown, binding?: Stored) => {
    const what = binding ? "failed to configure binding" : "failed to configure policy";
    met.problems.push({ policy, binding, message: `${what}: ${textOf(error)}` });
  };
  let matched: Kind | undefined;
  let paramKind: Kind | undefined;
  try {
    matched = matchResources(policy.spec.matchConstraints ?? {}, a, kinds);
    if (!matched) return met;
    paramKind = paramKindOf(policy, kinds);
  } catch (error) {
    problem(error);
    return met;
  }
  for (const binding of bindings) {
    try {
      const match = binding.spec.matchResources as DeepReadonly<MatchResources> | undefined;
      if (match && !matchResources(match, a, kinds)) continue;
      const params = await collectParams(binding, paramKind, a);
      if (params.length) met.invocations.push({ policy, binding, matched, params });
    } catch (error) {
      problem(error, binding);
    }
  }
  return met;
}

/** What is wrong with a configuration; our own bugs are thrown on. */
class ConfigurationError extends Error {}

function textOf(error: unknown): string {
  if (error instanceof ConfigurationError || error instanceof ApiError) return error.message;
  throw error;
}

function paramKindOf(policy: Stored, kinds: Kinds | undefined): Kind | undefined {
  const wanted = policy.spec.paramKind;
  if (!wanted) return undefined;
  const slash = wanted.apiVersion.indexOf("/");
  const group = slash < 0 ? "" : wanted.apiVersion.slice(0, slash);
  const version = wanted.apiVersion.slice(slash + 1);
  const kind = kinds?.byKind(group, version, wanted.kind);
  if (kind) return kind;
  const text = `'${group}/${version}, Kind=${wanted.kind}'`;
  throw new ConfigurationError(`failed to find resource referenced by paramKind: ${text}`);
}

/** The parameters of a binding; a policy without them is judged once, with null. */
async function collectParams(
  binding: Stored,
  kind: Kind | undefined,
  a: Admission,
): Promise<readonly (Stored | null)[]> {
  const ref = binding.spec.paramRef;
  if (!kind || !ref) return [null];
  let prefix = `${kind.path}/`;
  if (kind.namespaced) {
    const namespace = ref.namespace || a.namespace;
    if (!namespace) {
      throw new ConfigurationError(
        "cannot use namespaced paramRef in policy binding that matches cluster-scoped resources",
      );
    }
    prefix += `${namespace}/`;
  } else if (ref.namespace) {
    throw new ConfigurationError(
      "paramRef.namespace must not be provided for a cluster-scoped `paramKind`",
    );
  }
  const found = await asKind(kind, [...paramObjects(prefix, ref, a.view)]);
  if (found.length === 0 && ref.parameterNotFoundAction === "Deny") {
    throw new ConfigurationError(
      "no params found for policy binding with `Deny` parameterNotFoundAction",
    );
  }
  return found;
}

function* paramObjects(
  prefix: string,
  ref: { name?: string; selector?: Parameters<typeof labelSelector>[0] },
  view: View<KubeObject>,
): Generator<Stored> {
  if (ref.name) {
    const found = view.get(prefix + ref.name);
    if (found) yield found.value;
    return;
  }
  try {
    const selector = labelSelector(ref.selector);
    for (const { value } of view.scan(prefix)) {
      if (selector.matches(value.metadata.labels)) yield value;
    }
  } catch (error) {
    if (error instanceof SelectorError) throw new ConfigurationError(error.message);
    throw error;
  }
}

/** Stored objects in the version of a row; where a webhook converts, all in one call. */
async function asKind(kind: Kind, stored: readonly Stored[]): Promise<readonly Stored[]> {
  const { storage, group, version } = kind;
  if (!storage || stored.length === 0) return stored;
  if (storage.convert) return await storage.convert(stored, `${group}/${version}`);
  return stored.map((one) => storage.fromStorage(one));
}

/** The Namespace that a write's object lies in; throws 404 when there is none. */
export function namespaceOf(a: Admission): Stored | undefined {
  if (a.namespace === "" || (a.kind.plural === "namespaces" && a.kind.group === "")) {
    return undefined;
  }
  return a.view.get(`/registry/namespaces/${a.namespace}`)?.value;
}

/** Match conditions are not shown the Namespace. */
export function withoutNamespace(values: Values): Values {
  return Object.create(values, { namespaceObject: { value: null } });
}

// --- expressions --------------------------------------------------------------------------------------

/** The expressions of a policy that both kinds have. */
export interface PolicyPrograms {
  variables: readonly Variable[];
  conditions: readonly MatchCondition[];
  conditionsMade: readonly Compiled[];
  /** Compiles what sees the policy's variables. */
  expressions: PolicyExpressions;
}

/** Compiles a policy's variables and match conditions. CEL must be loaded. */
export function compilePolicy(spec: Stored["spec"]): PolicyPrograms {
  const expressions = new PolicyExpressions({ params: !!spec.paramKind, composes: true });
  for (const { name, expression } of spec.variables ?? []) expressions.define(name, expression);
  const conditions: readonly MatchCondition[] = spec.matchConditions ?? [];
  const conditionsMade = conditions.map(({ expression }) =>
    expressions.compile(expression, "admission", ["bool"])
  );
  return { variables: expressions.variables, conditions, conditionsMade, expressions };
}
