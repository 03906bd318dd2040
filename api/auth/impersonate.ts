/**
 * Acting as somebody else, by the headers `Impersonate-User`, `-Group`, `-Uid` and `-Extra-<key>`. The
 * asker must be allowed the verb `impersonate` on each thing it takes on.
 */
import type { User } from "../client/contract.ts";
import { badRequest } from "../machinery/errors.ts";
import { forbiddenRequest } from "./authorize.ts";
import type { Attributes, Authorizer } from "./contract.ts";
import {
  ANONYMOUS_NAME,
  AUTHENTICATED,
  serviceAccountGroups,
  splitServiceAccount,
  UNAUTHENTICATED,
} from "./names.ts";

const PREFIX = "impersonate-";
const EXTRA = "impersonate-extra-";
const AUTHENTICATION = "authentication.k8s.io";

/** Headers as name and value; a text may hold several values joined by `, `, as `Headers` does. */
export type HeaderPairs = Iterable<readonly [string, string | readonly string[]]>;

interface Wanted {
  user: string;
  groups: string[];
  uid: string;
  extra: Map<string, string[]>;
}

/**
 * Whom a request acts as: `user` itself when no header asks for anybody else. Throws 400 for groups and the
 * like without a user, 403 for what the asker may not take on.
 */
export function impersonated(user: User, headers: HeaderPairs, authorizer: Authorizer): User {
  const wanted = read(headers);
  if (!wanted) return user;
  const groupsGiven = wanted.groups.length > 0;
  const account = splitServiceAccount(wanted.user);
  const check = (resource: string, name: string, more: Partial<Attributes> = {}) => {
    const attributes: Attributes = {
      user,
      verb: "impersonate",
      resourceRequest: true,
      group: "",
      version: "",
      resource,
      subresource: "",
      namespace: "",
      name,
      path: "",
      ...more,
    };
    const decision = authorizer.authorize(attributes);
    if (!decision.allowed) throw forbiddenRequest(attributes, decision);
  };
  if (account) check("serviceaccounts", account.name, { namespace: account.namespace });
  else check("users", wanted.user);
  for (const group of wanted.groups) check("groups", group);
  const authentication = { group: AUTHENTICATION, version: "v1" };
  for (const [key, values] of wanted.extra) {
    for (const value of values) {
      check("userextras", value, { ...authentication, subresource: key });
    }
  }
  if (wanted.uid) check("uids", wanted.uid, authentication);
  const groups = [...wanted.groups];
  if (account && !groupsGiven) groups.push(...serviceAccountGroups(account.namespace));
  addSystemGroup(wanted.user, groups);
  return Object.freeze({
    name: wanted.user,
    groups,
    ...(wanted.uid ? { uid: wanted.uid } : {}),
    ...(wanted.extra.size ? { extra: Object.fromEntries(wanted.extra) } : {}),
  });
}

function addSystemGroup(user: string, groups: string[]): void {
  if (user === ANONYMOUS_NAME) {
    if (!groups.includes(UNAUTHENTICATED)) groups.push(UNAUTHENTICATED);
  } else if (!groups.includes(AUTHENTICATED) && !groups.includes(UNAUTHENTICATED)) {
    groups.push(AUTHENTICATED);
  }
}

function read(headers: HeaderPairs): Wanted | undefined {
  let wanted: Wanted | undefined;
  for (const [rawName, value] of headers) {
    if (rawName.length < PREFIX.length) continue;
    const name = rawName.toLowerCase();
    if (!name.startsWith(PREFIX)) continue;
    wanted ??= { user: "", groups: [], uid: "", extra: new Map() };
    const values = typeof value === "string" ? value.split(", ") : value;
    if (name === "impersonate-user") {
      wanted.user = typeof value === "string" ? value : value[0] ?? "";
    } else if (name === "impersonate-group") wanted.groups.push(...values);
    else if (name === "impersonate-uid") wanted.uid = values[0] ?? "";
    else if (name.startsWith(EXTRA)) {
      const key = unescapeKey(name.slice(EXTRA.length));
      wanted.extra.set(key, [...wanted.extra.get(key) ?? [], ...values]);
    }
  }
  if (!wanted) return undefined;
  if (wanted.user) return wanted;
  if (wanted.groups.length || wanted.uid || wanted.extra.size) {
    throw badRequest(`requested ${describe(wanted)} without impersonating a user`);
  }
  return undefined;
}

function unescapeKey(key: string): string {
  try {
    return decodeURIComponent(key);
  } catch {
    return key;
  }
}

/** What was asked for, in the form upstream prints object references. */
function describe(wanted: Wanted): string {
  const ref = (kind: string, name: string, apiVersion: string, path: string) =>
    `{${kind}  ${name}  ${apiVersion}  ${path}}`;
  const parts = wanted.groups.map((group) => ref("Group", group, "", ""));
  for (const [key, values] of wanted.extra) {
    for (const value of values) parts.push(ref("UserExtra", value, `${AUTHENTICATION}/v1`, key));
  }
  if (wanted.uid) parts.push(ref("UID", wanted.uid, `${AUTHENTICATION}/v1`, ""));
  return `[${parts.join(" ")}]`;
}
