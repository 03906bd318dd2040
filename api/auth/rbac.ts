/**
 * The RBAC authorizer: decides from the Roles, ClusterRoles and bindings of the head view.
 *
 * Promises: a decision reflects every binding and role that was committed before it was asked (no
 * informer lag); nothing is decided from a role that no longer exists; rules only ever add.
 *
 * How it stays fast: bindings are indexed by subject, once per change of any role or binding; what a user
 * may do is resolved once per user and index, and decisions are remembered by verb and resource. A
 * change is noticed by what two views share, or by the count and the newest revision under the prefix of keys: a scan
 * without decoding, 3 µs for the default roles, once per revision.
 */
import type { User } from "../client/contract.ts";
import type { DeepReadonly, KubeObject } from "../machinery/types.ts";
import type { View } from "../../kv/contract.ts";
import type { Attributes, Decision, PolicyRule, PromptAuthorizer } from "./contract.ts";
import { DECISIONS_MAX, NAMESPACES_INDEXED_MAX } from "./limits.ts";
import { type Rule, ruleAllows } from "./rbac_rules.ts";

/** One binding that reaches a subject, with the rules it grants or why it grants none. */
interface Grant {
  binding: DeepReadonly<KubeObject>;
  subject: Subject;
  rules: readonly Rule[];
  error?: string;
}

interface Subject {
  kind: string;
  name: string;
  namespace?: string;
}

interface RoleRef {
  kind: string;
  name: string;
}

/** The newest revision and the number of items under a prefix: equal means unchanged. */
interface Fingerprint {
  newest: number;
  count: number;
}

const CLUSTER_ROLES = "/registry/clusterroles/";
const CLUSTER_BINDINGS = "/registry/clusterrolebindings/";

const NO_OPINION: Decision = Object.freeze({ allowed: false });

function fingerprint(view: View<KubeObject>, prefix: string): Fingerprint {
  let newest = 0;
  let count = 0;
  for (const item of view.scan(prefix)) {
    count++;
    if (item.revision > newest) newest = item.revision;
  }
  return { newest, count };
}

function same(a: Fingerprint | undefined, b: Fingerprint): boolean {
  return a !== undefined && a.newest === b.newest && a.count === b.count;
}

/** Bindings of one scope (a namespace, or the cluster) by whom they reach. */
class Scope {
  /** The store's revision at which this was last known to be right. */
  checked = -1;
  #marks: Fingerprint[] = [];
  /** Grows with each rebuild. */
  version = 0;
  bySubject = new Map<string, Grant[]>();
  readonly namespace: string;
  #rolesVersion = -1;

  constructor(namespace: string) {
    this.namespace = namespace;
  }

  /** Brings the index up to the view. `rolesVersion` changes when any ClusterRole did. */
  refresh(view: View<KubeObject>, rolesVersion: number): void {
    if (this.checked === view.revision && this.#rolesVersion === rolesVersion) return;
    const marks = this.#prefixes().map((p) => fingerprint(view, p));
    const unchanged = this.#rolesVersion === rolesVersion &&
      marks.every((mark, i) => same(this.#marks[i], mark));
    this.checked = view.revision;
    if (unchanged) return;
    this.#marks = marks;
    this.#rolesVersion = rolesVersion;
    this.#rebuild(view);
  }

  /** Its bindings are at revision `now` as they were at `then`. */
  kept(then: number, now: number): void {
    if (this.checked === then) this.checked = now;
  }

  #prefixes(): string[] {
    return this.namespace
      ? [`/registry/rolebindings/${this.namespace}/`, `/registry/roles/${this.namespace}/`]
      : [CLUSTER_BINDINGS];
  }

  #rebuild(view: View<KubeObject>): void {
    this.version++;
    this.bySubject = new Map();
    for (const item of view.scan(this.#prefixes()[0])) {
      const binding = item.value;
      const granted = rulesOf(view, binding.roleRef, this.namespace);
      const subjects: DeepReadonly<Subject[]> = binding.subjects ?? [];
      const reached = new Set<string>();
      for (const subject of subjects) {
        const key = subjectKey(subject, this.namespace);
        if (!key || reached.has(key)) continue;
        reached.add(key);
        const grants = this.bySubject.get(key) ?? [];
        if (!grants.length) this.bySubject.set(key, grants);
        grants.push({ binding, subject, ...granted });
      }
    }
  }
}

/** How a subject is looked up: `U` and the user's name, or `G` and the group's. */
function subjectKey(subject: DeepReadonly<Subject>, bindingNamespace: string): string | undefined {
  if (subject.kind === "User") return `U${subject.name}`;
  if (subject.kind === "Group") return `G${subject.name}`;
  if (subject.kind !== "ServiceAccount") return undefined;
  const namespace = subject.namespace || bindingNamespace;
  return namespace ? `Usystem:serviceaccount:${namespace}:${subject.name}` : undefined;
}

/** The rules a role reference stands for; an error's text when the role is not there. */
export function rulesOf(
  view: View<KubeObject>,
  ref: DeepReadonly<RoleRef>,
  namespace: string,
): { rules: readonly Rule[]; error?: string } {
  if (ref.kind !== "Role" && ref.kind !== "ClusterRole") {
    return { rules: [], error: `unsupported role reference kind: ${JSON.stringify(ref.kind)}` };
  }
  const key = ref.kind === "Role"
    ? `/registry/roles/${namespace}/${ref.name}`
    : `/registry/clusterroles/${ref.name}`;
  const role = view.get(key)?.value;
  if (role) return { rules: role.rules ?? [] };
  const resource = `${ref.kind.toLowerCase()}.rbac.authorization.k8s.io`;
  return { rules: [], error: `${resource} ${JSON.stringify(ref.name)} not found` };
}

/** What one user may do in one scope, with the decisions already made. */
class Granted {
  readonly grants: Grant[] = [];
  readonly version: number;
  /** By path and verb, or by resource, subresource, verb and group: texts that are made anew must be hashed anew. */
  readonly #decisions = new Map<string, Map<string, Map<string, Map<string, Decision>>>>();
  #count = 0;
  /** Whether any rule is of certain names: else a name decides nothing. */
  readonly #hasNames: boolean;

  constructor(scope: Scope, user: User) {
    this.version = scope.version;
    const add = (key: string) => {
      for (const grant of scope.bySubject.get(key) ?? []) {
        if (!this.grants.some((g) => g.binding === grant.binding)) this.grants.push(grant);
      }
    };
    add(`U${user.name}`);
    for (const group of user.groups) add(`G${group}`);
    this.#hasNames = this.grants.some(({ rules }) =>
      rules.some((rule) => rule.resourceNames?.length)
    );
  }

  decide(a: Attributes): Decision {
    if (this.grants.length === 0) return NO_OPINION;
    const last = a.resourceRequest && this.#hasNames ? `${a.group} ${a.name}` : a.group;
    const [first, second] = a.resourceRequest ? [a.resource, a.subresource] : [a.path, PATH];
    const known = this.#decisions.get(first)?.get(second)?.get(a.verb)?.get(last);
    if (known !== undefined) return known;
    const decision = this.#search(a);
    if (this.#count++ >= DECISIONS_MAX) {
      this.#decisions.clear();
      this.#count = 1;
    }
    below(below(below(this.#decisions, first), second), a.verb).set(last, decision);
    return decision;
  }

  #search(a: Attributes): Decision {
    for (const grant of this.grants) {
      for (const rule of grant.rules) {
        if (ruleAllows(rule, a)) {
          return Object.freeze({ allowed: true, reason: `RBAC: allowed by ${describe(grant)}` });
        }
      }
    }
    return NO_OPINION;
  }
}

/** In the place of a subresource: none is called so. */
const PATH = "/";

function below<V>(maps: Map<string, Map<string, V>>, key: string): Map<string, V> {
  let found = maps.get(key);
  if (!found) maps.set(key, found = new Map());
  return found;
}

function describe({ binding, subject }: Grant): string {
  const { name, namespace } = binding.metadata;
  const bound = namespace ? `RoleBinding "${name}/${namespace}"` : `ClusterRoleBinding "${name}"`;
  const who = subject.kind === "ServiceAccount"
    ? `${subject.name}/${subject.namespace || namespace || ""}`
    : subject.name;
  return `${bound} of ${binding.roleRef.kind} "${binding.roleRef.name}" to ${subject.kind} "${who}"`;
}

/** The RBAC authorizer over a view of the head. Members of system:masters are `authorize.ts`'s business. */
export class RbacAuthorizer implements PromptAuthorizer {
  readonly #view: () => View<KubeObject>;
  readonly #cluster = new Scope("");
  readonly #namespaces = new Map<string, Scope>();
  /** Resolved rules by user object: the same token or certificate gives the same object each time. */
  #users = new WeakMap<User, Map<string, Granted>>();
  #roles: Fingerprint | undefined;
  #checked: View<KubeObject> | undefined;
  #rolesVersion = 0;

  constructor(view: () => View<KubeObject>) {
    this.#view = view;
  }

  authorize(a: Attributes): Decision {
    const view = this.#view();
    const cluster = this.#granted(a.user, this.#scope(view, ""));
    let decision = cluster.decide(a);
    if (decision.allowed) return decision;
    const local = a.namespace ? this.#granted(a.user, this.#scope(view, a.namespace)) : undefined;
    if (local) {
      decision = local.decide(a);
      if (decision.allowed) return decision;
    }
    return refusal([...cluster.grants, ...(local?.grants ?? [])]);
  }

  rules(user: User, namespace: string): { rules: PolicyRule[]; errors: string[] } {
    const view = this.#view();
    const grants = [...this.#granted(user, this.#scope(view, "")).grants];
    if (namespace) grants.push(...this.#granted(user, this.#scope(view, namespace)).grants);
    return {
      rules: grants.flatMap((g) => g.rules as PolicyRule[]),
      errors: errorsOf(grants),
    };
  }

  /** Most writes leave the cluster's roles and bindings alone: then nothing of them is looked at. */
  #checkCluster(view: View<KubeObject>): void {
    const last = this.#checked;
    if (last?.revision === view.revision) return;
    this.#checked = view;
    const isAsBefore = (prefix: string) => last !== undefined && view.isAsIn?.(last, prefix);
    if (isAsBefore(CLUSTER_BINDINGS)) this.#cluster.kept(last!.revision, view.revision);
    if (isAsBefore(CLUSTER_ROLES)) return;
    const mark = fingerprint(view, CLUSTER_ROLES);
    if (!same(this.#roles, mark)) this.#rolesVersion++;
    this.#roles = mark;
  }

  #scope(view: View<KubeObject>, namespace: string): Scope {
    this.#checkCluster(view);
    let scope = namespace ? this.#namespaces.get(namespace) : this.#cluster;
    if (!scope) {
      if (this.#namespaces.size >= NAMESPACES_INDEXED_MAX) {
        this.#namespaces.clear();
        this.#users = new WeakMap();
      }
      this.#namespaces.set(namespace, scope = new Scope(namespace));
    }
    scope.refresh(view, this.#rolesVersion);
    return scope;
  }

  #granted(user: User, scope: Scope): Granted {
    let scopes = this.#users.get(user);
    if (!scopes) this.#users.set(user, scopes = new Map());
    let granted = scopes.get(scope.namespace);
    if (!granted || granted.version !== scope.version) {
      granted = new Granted(scope, user);
      scopes.set(scope.namespace, granted);
    }
    return granted;
  }
}

function errorsOf(grants: readonly Grant[]): string[] {
  return [...new Set(grants.flatMap((g) => g.error ?? []))];
}

function refusal(grants: readonly Grant[]): Decision {
  const errors = errorsOf(grants);
  if (errors.length === 0) return NO_OPINION;
  const text = errors.length === 1 ? errors[0] : `[${errors.join(", ")}]`;
  return { allowed: false, reason: `RBAC: ${text}` };
}
