/**
 * Acting as somebody else, by the headers `Impersonate-User`, `-Group`, `-Uid` and `-Extra-<key>`.
 *
 * Two kinds of right. The old one: the verb `impersonate` on each thing that is taken on, for any request. The
 * constrained one (1.36): the verb `impersonate:<mode>` on it and `impersonate-on:<mode>:<verb>` on what is
 * requested, so that somebody may, say, list pods as a node and nothing else. Modes are tried from the
 * narrowest to the old one; the first that applies and allows wins, else the first refusal is told.
 */
import type { User } from "../client/contract.ts";
import { badRequest } from "../machinery/errors.ts";
import { checkDomainPrefixedPath, isDns1123Subdomain } from "../machinery/names.ts";
import type { ApiError } from "../machinery/types.ts";
import { forbiddenRequest } from "./authorize.ts";
import type { Attributes, Authorizer } from "./contract.ts";
import {
  ANONYMOUS_NAME,
  AUTHENTICATED,
  MASTERS,
  NODE_PREFIX,
  nodeOfAccount,
  NODES,
  serviceAccountGroups,
  splitServiceAccount,
  UNAUTHENTICATED,
} from "./names.ts";
import { quoteList } from "./rbac_rules.ts";

const PREFIX = "impersonate-";
const EXTRA = "impersonate-extra-";
const AUTHENTICATION = { group: "authentication.k8s.io", version: "v1" };
/** From so many checks on, one for all (`*`) is tried first. */
const MANY_CHECKS = 4;

/** Headers as name and value; a text may hold several values joined by `, `, as `Headers` does. */
export type HeaderPairs = Iterable<readonly [string, string | readonly string[]]>;

/** What is requested, by whom does not matter. */
export type Requested = Omit<Attributes, "user">;

interface Wanted {
  user: string;
  groups: string[];
  uid: string;
  extra: Map<string, string[]>;
}

/**
 * Whom a request acts as: `user` itself when no header asks for anybody else. `requested` is what the request
 * does; without it only the unconstrained right counts. `constrained` hears of the constrained right that was used. Throws 400 for groups and the like without a user,
 * 403 for what the asker may not take on.
 */
export async function impersonated(
  user: User,
  headers: HeaderPairs,
  authorizer: Authorizer,
  requested?: Requested,
  constrained?: (constraint: string) => void,
): Promise<User> {
  const wanted = read(headers);
  if (!wanted) return user;
  let refused: ApiError | undefined;
  for (const mode of requested ? modesFor(user, wanted) : []) {
    const no = await checkMode(mode, { user, wanted, authorizer, requested: requested! });
    if (!no) {
      constrained?.(`impersonate:${mode}`);
      return actual(wanted, true);
    }
    refused ??= no;
  }
  const check = checkerOf(user, authorizer);
  const old = await checkFields(check, wanted, { verb: "impersonate", group: "", version: "v1" });
  if (old) throw refused ?? old;
  return actual(wanted, false);
}

interface Checks {
  user: User;
  wanted: Wanted;
  authorizer: Authorizer;
  requested: Requested;
}

/** The constrained modes that this could be, the narrowest first. */
function modesFor(user: User, wanted: Wanted): string[] {
  const nameOnly = !wanted.uid && wanted.groups.length === 0 && wanted.extra.size === 0;
  const node = nodeName(wanted.user);
  if (node !== undefined) {
    if (!nameOnly) return [];
    const associated = nodeOfAccount(user) === node;
    return associated ? ["associated-node", "arbitrary-node"] : ["arbitrary-node"];
  }
  if (splitServiceAccount(wanted.user)) return nameOnly ? ["serviceaccount"] : [];
  return ["user-info"];
}

function nodeName(user: string): string | undefined {
  if (!user.startsWith(NODE_PREFIX)) return undefined;
  const name = user.slice(NODE_PREFIX.length);
  return isDns1123Subdomain(name).length === 0 ? name : undefined;
}

/** A node's own agent as authorizers see it: which node it is on was checked, and is not theirs to judge. */
function nodesAgent(user: User): User {
  const keys = Object.keys(user.extra ?? {}).sort();
  return { ...user, extra: { "authentication.kubernetes.io/associated-node-keys": keys } };
}

async function checkMode(mode: string, checks: Checks): Promise<ApiError | undefined> {
  const asker = mode === "associated-node" ? nodesAgent(checks.user) : checks.user;
  const check = checkerOf(asker, checks.authorizer);
  const { requested, wanted } = checks;
  const on = await check({ ...requested, verb: `impersonate-on:${mode}:${requested.verb}` });
  if (on) return on;
  return await checkFields(check, wanted, { verb: `impersonate:${mode}`, ...AUTHENTICATION, mode });
}

/** Asks for a right; `never` is why it could not be given to anybody. */
type Check = (
  attributes: Partial<Attributes>,
  never?: string,
) => Promise<ApiError | undefined>;

function checkerOf(user: User, authorizer: Authorizer): Check {
  return async (more, never) => {
    const attributes: Attributes = {
      verb: "",
      resourceRequest: true,
      group: "",
      version: "",
      resource: "",
      subresource: "",
      namespace: "",
      name: "",
      path: "",
      ...more,
      user,
    };
    if (never) return forbiddenRequest(attributes, { allowed: false, reason: never });
    const decision = await authorizer.authorize(attributes);
    if (decision.allowed) return undefined;
    const reason = [decision.error, decision.reason].filter(Boolean).join(": ");
    return forbiddenRequest(attributes, { allowed: false, reason });
  };
}

/** How a mode asks for names and groups. */
interface Asking {
  verb: string;
  group: string;
  version: string;
  mode?: string;
}

/** The first thing of `wanted` that may not be taken on. */
async function checkFields(
  check: Check,
  wanted: Wanted,
  asking: Asking,
): Promise<ApiError | undefined> {
  const { verb, group, version, mode } = asking;
  const names = { verb, group, version };
  const account = splitServiceAccount(wanted.user);
  const node = mode && nodeName(wanted.user);
  let refused: ApiError | undefined;
  if (account) {
    const { namespace, name } = account;
    refused = await check({ ...names, resource: "serviceaccounts", namespace, name });
  } else if (node) {
    // The right to be one's own node is for whichever node that is.
    const name = mode === "associated-node" ? "*" : node;
    refused = await check({ ...names, resource: "nodes", name });
  } else refused = await check({ ...names, resource: "users", name: wanted.user });
  if (!refused && wanted.uid) {
    refused = await check({ verb, ...AUTHENTICATION, resource: "uids", name: wanted.uid });
  }
  return refused ?? await checkGroups(check, wanted, asking) ??
    await checkExtra(check, wanted, asking);
}

async function checkGroups(
  check: Check,
  wanted: Wanted,
  asking: Asking,
): Promise<ApiError | undefined> {
  const { verb, group, version } = asking;
  const { groups } = wanted;
  const ask = (name: string, never?: string) =>
    check({ verb, group, version, resource: "groups", name }, never);
  if (asking.mode) {
    if (groups.includes("")) return ask("", "impersonating the empty string group is not allowed");
    if (groups.includes(MASTERS)) {
      return ask(MASTERS, "impersonating the system:masters group is not allowed");
    }
    if (groups.length >= MANY_CHECKS && !await ask("*")) return undefined;
  }
  for (const name of groups) {
    const refused = await ask(name);
    if (refused) return refused;
  }
  return undefined;
}

async function checkExtra(
  check: Check,
  wanted: Wanted,
  asking: Asking,
): Promise<ApiError | undefined> {
  const ask = (subresource: string, name: string, never?: string) =>
    check(
      { verb: asking.verb, ...AUTHENTICATION, resource: "userextras", subresource, name },
      never,
    );
  const pairs = [...wanted.extra].flatMap(([key, values]) => values.map((v) => [key, v] as const));
  if (asking.mode) {
    for (const [key, value] of pairs) {
      const problem = extraProblem(key, value);
      if (problem) return ask("", "", problem);
    }
    if (pairs.length >= MANY_CHECKS && !await ask("*", "*")) return undefined;
  }
  for (const [key, value] of pairs) {
    const refused = await ask(key, value);
    if (refused) return refused;
  }
  return undefined;
}

function extraProblem(key: string, value: string): string | undefined {
  if (key === "") return "impersonating the empty string key in extra is not allowed";
  const [cause] = checkDomainPrefixedPath("extra.key", key);
  if (cause) {
    return `impersonating an invalid key in extra is not allowed: ${cause.field}: ${cause.message}`;
  }
  if (key !== key.toLowerCase()) {
    return `impersonating a non-lowercase key in extra is not allowed: ${JSON.stringify(key)}`;
  }
  if (value === "") return "impersonating the empty string value in extra is not allowed";
  return undefined;
}

/** The user as it acts, with the groups that its name brings. */
function actual(wanted: Wanted, constrained: boolean): User {
  const groups = [...wanted.groups];
  const account = splitServiceAccount(wanted.user);
  if (account && groups.length === 0) groups.push(...serviceAccountGroups(account.namespace));
  if (constrained && nodeName(wanted.user) !== undefined) groups.push(NODES);
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
    throw badRequest(`requested ${describe(wanted)} without impersonating a user name`);
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

/** What was asked for, as Go prints the struct. */
function describe({ uid, groups, extra }: Wanted): string {
  const strings = (list: readonly string[]) =>
    `[]string{${quoteList(list).slice(1, -1).replace(/" "/g, '", "')}}`;
  const pairs = [...extra].map(([key, values]) => `${JSON.stringify(key)}:${strings(values)}`);
  const group = groups.length ? strings(groups) : "[]string(nil)";
  const extras = `map[string][]string${pairs.length ? `{${pairs.join(", ")}}` : "(nil)"}`;
  return `&user.DefaultInfo{Name:"", UID:${JSON.stringify(uid)}, Groups:${group}, Extra:${extras}}`;
}
