/**
 * The names of users, groups and extra keys that Kubernetes reserves, and the form of ServiceAccounts' names.
 */
import type { User } from "../client/contract.ts";
import { isDns1123Subdomain } from "../machinery/names.ts";

/** Members may do everything; no role can take that away. */
export const MASTERS = "system:masters";
/** Everybody who was authenticated. */
export const AUTHENTICATED = "system:authenticated";
/** Everybody who was not. */
export const UNAUTHENTICATED = "system:unauthenticated";
/** The user of requests without credentials. */
export const ANONYMOUS_NAME = "system:anonymous";
/** The group of all ServiceAccounts; one per namespace is this plus `:` and its name. */
export const SERVICE_ACCOUNTS = "system:serviceaccounts";
/** The group of nodes. */
export const NODES = "system:nodes";
/** A node's user is this and the node's name. */
export const NODE_PREFIX = "system:node:";
/** Where it is noted of a ServiceAccount on which node it acts. */
const NODE_NAME = "authentication.kubernetes.io/node-name";

/** The unauthenticated user. */
export const ANONYMOUS: User = Object.freeze({
  name: ANONYMOUS_NAME,
  groups: Object.freeze([UNAUTHENTICATED]) as readonly string[],
});

const PREFIX = "system:serviceaccount:";

/** The user name of a ServiceAccount. */
export function serviceAccountUser(namespace: string, name: string): string {
  return `${PREFIX}${namespace}:${name}`;
}

/** The groups of a ServiceAccount, without `system:authenticated`. */
export function serviceAccountGroups(namespace: string): string[] {
  return [SERVICE_ACCOUNTS, `${SERVICE_ACCOUNTS}:${namespace}`];
}

/** Namespace and name of a ServiceAccount's user name; undefined for any other name. */
export function splitServiceAccount(user: string): { namespace: string; name: string } | undefined {
  if (!user.startsWith(PREFIX)) return undefined;
  const parts = user.slice(PREFIX.length).split(":");
  if (parts.length !== 2 || !parts[0] || !parts[1]) return undefined;
  return { namespace: parts[0], name: parts[1] };
}

/** The node that a ServiceAccount's token is bound to, through its pod or by itself. */
export function nodeOfAccount({ name, extra }: User): string | undefined {
  const nodes = splitServiceAccount(name) && extra?.[NODE_NAME];
  if (nodes?.length !== 1 || isDns1123Subdomain(nodes[0]).length > 0) return undefined;
  return nodes[0];
}

/** A user as everything shares it: frozen, in `system:authenticated` unless it is in a group that decides. */
export function makeUser(user: User): User {
  const groups = user.groups.includes(AUTHENTICATED) || user.groups.includes(UNAUTHENTICATED)
    ? [...user.groups]
    : [...user.groups, AUTHENTICATED];
  return Object.freeze({ ...user, groups: Object.freeze(groups) as readonly string[] });
}
