/**
 * Nobody may hand out permissions that they do not hold: the check on writes of roles and bindings.
 *
 * A role may be written by whoever holds all its rules or the verb `escalate` on it; a binding by whoever holds
 * all rules of its role or the verb `bind` on that role. Members of system:masters may do both. The check
 * is repeated inside the commit, against the permissions as they are then: two edits that race cannot
 * add up to an escalation.
 */
import { forbidden, notFound } from "../machinery/errors.ts";
import { ApiError, type DeepReadonly, type KubeObject } from "../machinery/types.ts";
import type { View } from "../../kv/contract.ts";
import type { Admission, AdmissionPlugin, Attributes, Authorizer, PolicyRule } from "./contract.ts";
import { MASTERS } from "./names.ts";
import { RbacAuthorizer, rulesOf } from "./rbac.ts";
import { compact, describeRule, quoteList, type Rule, uncovered } from "./rbac_rules.ts";

const GROUP = "rbac.authorization.k8s.io";
const FULL: PolicyRule[] = [
  { verbs: ["*"], apiGroups: ["*"], resources: ["*"] },
  { verbs: ["*"], nonResourceURLs: ["*"] },
];

/** The plugin that guards roles and bindings. Last of the validating ones: it judges the final object. */
export const rbacEscalation: AdmissionPlugin = {
  name: "RBACEscalation",
  handles: (a) =>
    a.kind.group === GROUP && !a.subresource &&
    (a.operation === "CREATE" || a.operation === "UPDATE"),
  validate: (a) => check(a, a.view),
  commit: (a, draft) => check(a, draft),
};

/**
 * The same where others than RBAC decide too: what RBAC's rules do not cover may be granted by whoever is allowed
 * `escalate` or `bind` by any authorizer. That is asked before the commit, which knows RBAC alone.
 */
export function rbacEscalationBy(authorizer: Authorizer): AdmissionPlugin {
  const lent = new WeakSet<Admission>();
  return {
    ...rbacEscalation,
    async validate(a) {
      try {
        check(a, a.view);
      } catch (error) {
        if (!(error instanceof ApiError) || error.code !== 403) throw error;
        const { allowed } = await authorizer.authorize(powerOver(a));
        if (!allowed) throw error;
        lent.add(a);
      }
    },
    commit(a, draft) {
      if (!lent.has(a)) check(a, draft);
    },
  };
}

/** The right that lets somebody write a role or binding whatever it grants. */
function powerOver(a: Admission): Attributes {
  const { roleRef } = a.object!;
  if (!roleRef) return attributesOf(a, escalating(a));
  const resource = roleRef.kind === "Role" ? "roles" : "clusterroles";
  return attributesOf(a, { verb: "bind", resource, name: roleRef.name });
}

/** A create has no name yet, so that `escalate` limited to names does not reach it. */
function escalating(a: Admission): Power {
  const name = a.operation === "CREATE" ? "" : a.name;
  return { verb: "escalate", resource: a.kind.plural, name };
}

function check(a: Admission, view: View<KubeObject>): void {
  if (a.user.groups.includes(MASTERS) || !a.object) return;
  if (a.old && onlyGarbageFieldsChanged(a.object, a.old)) return;
  // A draft changes under its revision: nothing of an earlier check may be used again.
  const rbac = new RbacAuthorizer(() => view);
  if (a.kind.plural === "roles" || a.kind.plural === "clusterroles") checkRole(a, rbac);
  else checkBinding(a, rbac, view);
}

function checkRole(a: Admission, rbac: RbacAuthorizer): void {
  const object = a.object!;
  const subject = { group: GROUP, resource: a.kind.plural };
  if (permitted(a, rbac, escalating(a))) return;
  const refused = missing(a, rbac, object.rules ?? []);
  if (refused) throw forbidden(subject, object.metadata.name, refused);
  if (aggregates(object) || aggregates(a.old)) {
    if (missing(a, rbac, FULL)) {
      throw forbidden(
        subject,
        object.metadata.name,
        "must have cluster-admin privileges to use the aggregationRule",
      );
    }
  }
}

function checkBinding(a: Admission, rbac: RbacAuthorizer, view: View<KubeObject>): void {
  const { roleRef, metadata } = a.object!;
  if (!roleRef) return;
  const resource = roleRef.kind === "Role"
    ? "roles"
    : roleRef.kind === "ClusterRole"
    ? "clusterroles"
    : undefined;
  if (resource && permitted(a, rbac, { verb: "bind", resource, name: roleRef.name })) return;
  const granted = rulesOf(view, roleRef, a.namespace);
  if (granted.error && resource) {
    throw notFound({ group: GROUP, resource: a.kind.plural }, roleRef.name);
  }
  const refused = missing(a, rbac, granted.rules);
  if (refused) throw forbidden({ group: GROUP, resource: a.kind.plural }, metadata.name, refused);
}

interface Power {
  verb: "escalate" | "bind";
  resource: string;
  name: string;
}

function permitted(a: Admission, rbac: RbacAuthorizer, power: Power): boolean {
  return rbac.authorize(attributesOf(a, power)).allowed;
}

function attributesOf(a: Admission, { verb, resource, name }: Power): Attributes {
  return {
    user: a.user,
    verb,
    resourceRequest: true,
    group: GROUP,
    version: "*",
    resource,
    subresource: "",
    namespace: a.namespace,
    name,
    path: "",
  };
}

/** What the user lacks of `wanted`, as upstream's sentence; undefined when nothing. */
function missing(
  a: Admission,
  rbac: RbacAuthorizer,
  wanted: readonly Rule[],
): string | undefined {
  const held = rbac.rules(a.user, a.namespace);
  const lacking = uncovered(held.rules, wanted);
  if (lacking.length === 0) return undefined;
  const lines = [...new Set(compact(lacking).map(describeRule))].sort();
  let text = `user ${JSON.stringify(a.user.name)} (groups=${quoteList(a.user.groups)}) ` +
    `is attempting to grant RBAC permissions not currently held:\n${lines.join("\n")}`;
  if (held.errors.length) {
    const errors = held.errors.length > 1 ? `[${held.errors.join(", ")}]` : held.errors[0];
    text += `; resolution errors: [${errors}]`;
  }
  return text;
}

function aggregates(role: DeepReadonly<KubeObject> | undefined): boolean {
  return (role?.aggregationRule?.clusterRoleSelectors?.length ?? 0) > 0;
}

/** Removing finalizers and owners is what the garbage collector must always be able to do. */
export function onlyGarbageFieldsChanged(
  object: DeepReadonly<KubeObject>,
  old: DeepReadonly<KubeObject>,
): boolean {
  const plain = (o: DeepReadonly<KubeObject>) => {
    const { finalizers: _f, ownerReferences: _o, managedFields: _m, ...metadata } = o.metadata;
    return { ...o, metadata };
  };
  return equal(plain(object), plain(old));
}

/** Deep equality of JSON values, in which an absent field equals an empty one. */
function equal(a: unknown, b: unknown): boolean {
  if (a === b) return true;
  if (empty(a) && empty(b)) return true;
  if (typeof a !== "object" || typeof b !== "object" || a === null || b === null) return false;
  if (Array.isArray(a) || Array.isArray(b)) {
    return Array.isArray(a) && Array.isArray(b) && a.length === b.length &&
      a.every((value, i) => equal(value, b[i]));
  }
  const left = a as Record<string, unknown>;
  const right = b as Record<string, unknown>;
  for (const key of Object.keys(left)) if (!equal(left[key], right[key])) return false;
  for (const key of Object.keys(right)) if (!(key in left) && !empty(right[key])) return false;
  return true;
}

function empty(value: unknown): boolean {
  return value === undefined || value === null ||
    (Array.isArray(value) && value.length === 0) ||
    (typeof value === "object" && Object.keys(value).length === 0);
}
