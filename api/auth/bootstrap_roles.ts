/**
 * Brings a cluster's default roles and bindings to what this release expects.
 *
 * What is missing is created; rules, subjects, labels and annotations that are missing from an existing object
 * are added; what somebody added stays. An object whose annotation
 * `rbac.authorization.kubernetes.io/autoupdate` is `false` is left alone. Running it twice changes nothing.
 */
import type { DeepReadonly, KubeObject } from "../machinery/types.ts";
import type { View } from "../../kv/contract.ts";
import type { PolicyRule } from "./contract.ts";
import { sameJson } from "../machinery/json_value.ts";
import { aggregatedRules } from "./aggregation.ts";
import { uncovered } from "./rbac_rules.ts";
import {
  ADDON_ROLES,
  CLUSTER_BINDINGS,
  CLUSTER_ROLES,
  NAMESPACE_BINDINGS,
  NAMESPACE_ROLES,
} from "./bootstrap_roles_data.ts";
import { CONTROLLER_ROLES } from "./bootstrap_controller_roles_data.ts";

/** A role of the tables. */
export interface RoleRow {
  name: string;
  namespace?: string;
  /** The aggregated role (admin, edit, view) that takes these rules in. */
  aggregateTo?: string;
  /** Gathers the rules of the roles that aggregate to this. */
  aggregates?: string;
  /** `verbs groups resources [names]` or `verbs urls`. */
  rules: readonly string[];
}

/** A binding of the tables. */
export interface BindingRow {
  name: string;
  namespace?: string;
  /** `ClusterRole name` or `Role name`. */
  role: string;
  /** `User name`, `Group name`, `ServiceAccount namespace/name`. */
  subjects: readonly string[];
}

/** An object to be put under a key. */
export interface BootstrapWrite {
  key: string;
  object: KubeObject;
}

/** What new objects need that is not a fact: the time in ms and a source of uids. */
export interface BootstrapContext {
  now: number;
  uuid: () => string;
}

const GROUP = "rbac.authorization.k8s.io";
const AUTOUPDATE = "rbac.authorization.kubernetes.io/autoupdate";
const VERBS: Record<string, string[]> = {
  read: ["get", "list", "watch"],
  write: ["create", "delete", "deletecollection", "patch", "update"],
};

/** One line of a table as a rule. */
export function parseRule(line: string): PolicyRule {
  const [verbs, groups, resources, names] = line.split(" ").map((word) => word.split(","));
  const rule: PolicyRule = { verbs: verbs.flatMap((v) => VERBS[v] ?? [v]).sort() };
  if (!resources) return { ...rule, nonResourceURLs: groups };
  rule.apiGroups = groups.map((g) => g === "core" ? "" : g);
  rule.resources = resources;
  if (names) rule.resourceNames = names;
  return rule;
}

function metadata(row: { name: string; namespace?: string; aggregateTo?: string }) {
  const labels: Record<string, string> = { "kubernetes.io/bootstrapping": "rbac-defaults" };
  if (row.aggregateTo) labels[`rbac.authorization.k8s.io/aggregate-to-${row.aggregateTo}`] = "true";
  return {
    name: row.name,
    ...(row.namespace ? { namespace: row.namespace } : {}),
    annotations: { [AUTOUPDATE]: "true" },
    labels,
  };
}

function roleObject(row: RoleRow): KubeObject {
  const object: Record<string, unknown> = {
    apiVersion: `${GROUP}/v1`,
    kind: row.namespace ? "Role" : "ClusterRole",
    metadata: metadata(row),
    rules: row.rules.map(parseRule),
  };
  if (row.aggregates) {
    const label = `rbac.authorization.k8s.io/aggregate-to-${row.aggregates}`;
    object.aggregationRule = { clusterRoleSelectors: [{ matchLabels: { [label]: "true" } }] };
  }
  return object as unknown as KubeObject;
}

function bindingObject(row: BindingRow): KubeObject {
  const [kind, name] = splitOnce(row.role, " ");
  return {
    apiVersion: `${GROUP}/v1`,
    kind: row.namespace ? "RoleBinding" : "ClusterRoleBinding",
    metadata: metadata(row),
    roleRef: { apiGroup: GROUP, kind, name },
    ...(row.subjects.length ? { subjects: row.subjects.map(subjectObject) } : {}),
  } as unknown as KubeObject;
}

function subjectObject(text: string): Record<string, string> {
  const [kind, who] = splitOnce(text, " ");
  if (kind !== "ServiceAccount") return { apiGroup: GROUP, kind, name: who };
  const [namespace, name] = splitOnce(who, "/");
  return { kind, name, namespace };
}

function splitOnce(text: string, separator: string): [string, string] {
  const at = text.indexOf(separator);
  return [text.slice(0, at), text.slice(at + separator.length)];
}

/** All default roles and bindings, by key, without uid and creation time: one list for all, as it never changes. */
export function bootstrapPolicy(): readonly BootstrapWrite[] {
  return policy ??= policyOfTables();
}

let policy: readonly BootstrapWrite[] | undefined;

function policyOfTables(): BootstrapWrite[] {
  const controllerBindings = CONTROLLER_ROLES.map((row): BindingRow => ({
    name: row.name,
    role: `ClusterRole ${row.name}`,
    subjects: [`ServiceAccount kube-system/${row.name.slice("system:controller:".length)}`],
  }));
  const objects = [
    ...[...CLUSTER_ROLES, ...ADDON_ROLES, ...CONTROLLER_ROLES, ...NAMESPACE_ROLES].map(roleObject),
    ...[...CLUSTER_BINDINGS, ...controllerBindings, ...NAMESPACE_BINDINGS].map(bindingObject),
  ];
  return objects.map((object) => ({ key: keyOf(object), object }));
}

/** The names of the ServiceAccounts in kube-system that controllers act as. */
export function controllerAccounts(): string[] {
  return CONTROLLER_ROLES.map((row) => row.name.slice("system:controller:".length));
}

function keyOf(object: KubeObject): string {
  const { namespace, name } = object.metadata;
  return `/registry/${object.kind.toLowerCase()}s/${namespace ? `${namespace}/` : ""}${name}`;
}

/** The writes that bring the view's roles and bindings up to this release's; empty when they are. */
export function bootstrapRoleWrites(
  view: View<KubeObject>,
  context: BootstrapContext,
): BootstrapWrite[] {
  const writes = new Map<string, KubeObject>();
  for (const { key, object } of bootstrapPolicy()) {
    const stored = view.get(key)?.value;
    const wanted = stored ? reconciled(stored, object, context) : created(object, context);
    if (wanted) writes.set(key, wanted);
  }
  for (const { key, object } of aggregatedRules(view, writes)) writes.set(key, object);
  return [...writes].map(([key, object]) => ({ key, object }));
}

/** A new object with what the API server gives every object. */
export function created(object: KubeObject, context: BootstrapContext): KubeObject {
  return {
    ...object,
    metadata: {
      ...object.metadata,
      uid: context.uuid(),
      resourceVersion: "",
      creationTimestamp: new Date(context.now).toISOString().replace(/\.\d+Z$/, "Z"),
    },
  };
}

/** The stored object with what it lacks; undefined when it lacks nothing or is protected. */
function reconciled(
  stored: DeepReadonly<KubeObject>,
  wanted: KubeObject,
  context: BootstrapContext,
): KubeObject | undefined {
  if (stored.metadata.annotations?.[AUTOUPDATE] === "false") return undefined;
  if (wanted.roleRef && !sameRole(stored.roleRef, wanted.roleRef)) {
    // The role of a binding cannot change, so the object is replaced by a new one.
    const subjects = union(stored.subjects, wanted.subjects ?? [], sameSubject);
    return created({ ...wanted, ...(subjects.length ? { subjects } : {}) }, context);
  }
  if (isAsWanted(stored, wanted)) return undefined;
  const next: Record<string, unknown> = { ...stored };
  let changed = false;
  const metadata: Record<string, unknown> = { ...stored.metadata };
  for (const part of PARTS) {
    const missing = Object.entries(wanted.metadata[part] ?? {})
      .filter(([name]) => stored.metadata[part]?.[name] === undefined);
    if (missing.length === 0) continue;
    metadata[part] = { ...stored.metadata[part], ...Object.fromEntries(missing) };
    changed = true;
  }
  next.metadata = metadata;
  if (wanted.roleRef) {
    const subjects = union(stored.subjects, wanted.subjects ?? [], sameSubject);
    changed ||= subjects.length !== (stored.subjects ?? []).length;
    if (subjects.length) next.subjects = subjects;
  } else if (wanted.aggregationRule) {
    const selectors = union(
      stored.aggregationRule?.clusterRoleSelectors,
      wanted.aggregationRule.clusterRoleSelectors,
      (a, b) => JSON.stringify(a) === JSON.stringify(b),
    );
    changed ||= selectors.length !==
      (stored.aggregationRule?.clusterRoleSelectors ?? []).length;
    next.aggregationRule = { clusterRoleSelectors: selectors };
  } else {
    const missing = wanted.rules.filter((rule: PolicyRule) =>
      uncovered(stored.rules ?? [], [rule]).length > 0
    );
    changed ||= missing.length > 0;
    next.rules = [...(stored.rules ?? []), ...missing];
  }
  return changed ? next as unknown as KubeObject : undefined;
}

const PARTS = ["labels", "annotations"] as const;

/** Nearly always nobody touched it, and to see that is far cheaper than to compare rights. */
function isAsWanted(stored: DeepReadonly<KubeObject>, wanted: KubeObject): boolean {
  for (const part of PARTS) {
    const has = stored.metadata[part];
    for (const name in wanted.metadata[part]) if (has?.[name] === undefined) return false;
  }
  if (wanted.roleRef) return sameJson(stored.subjects, wanted.subjects);
  // What gathers the rules of others is asked which it gathers, not which they are.
  if (wanted.aggregationRule) return sameJson(stored.aggregationRule, wanted.aggregationRule);
  return sameJson(stored.rules, wanted.rules);
}

type Entry = Record<string, unknown>;

function union(
  stored: readonly Entry[] | undefined,
  wanted: readonly Entry[],
  same: (a: Entry, b: Entry) => boolean,
): Entry[] {
  const all = [...stored ?? []];
  for (const entry of wanted) if (!all.some((known) => same(known, entry))) all.push(entry);
  return all;
}

function sameRole(a: Entry | undefined, b: Entry): boolean {
  return a?.kind === b.kind && a?.name === b.name;
}

function sameSubject(a: Entry, b: Entry): boolean {
  return a.kind === b.kind && a.name === b.name && (a.namespace ?? "") === (b.namespace ?? "");
}
