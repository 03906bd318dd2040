/**
 * The ABAC authorizer: decides by a list of policies that is read once. Kept for clusters that were built with it; it
 * knows reading and everything else, not verbs.
 */
import type { User } from "../client/contract.ts";
import type { Attributes, Authorizer, Decision, PolicyRule, PromptAuthorizer } from "./contract.ts";
import { AUTHENTICATED } from "./names.ts";

/** Who may do what; `*` is any. */
export interface AbacPolicy {
  user: string;
  group: string;
  /** Reading only. */
  readonly: boolean;
  apiGroup: string;
  resource: string;
  namespace: string;
  nonResourcePath: string;
}

const GROUP = "abac.authorization.kubernetes.io";
const READS = ["get", "list", "watch"];
const ALLOW: Decision = Object.freeze({ allowed: true });
const NO: Decision = Object.freeze({ allowed: false, reason: "No policy matched." });

/** The policies in a file: one in JSON a line, with comments. Throws Error. */
export function abacPolicies(text: string, path: string): AbacPolicy[] {
  return text.split("\n").flatMap((line, i) => {
    const trimmed = line.trim();
    if (!trimmed || trimmed.startsWith("#")) return [];
    try {
      return [policyOf(JSON.parse(trimmed))];
    } catch (error) {
      const why = (error as Error).message;
      throw new Error(`error reading policy file ${path}, line ${i + 1}: ${line}: ${why}`);
    }
  });
}

function policyOf(found: unknown): AbacPolicy {
  const object = objectOf(found, "a policy");
  const { apiVersion = "", kind = "" } = object;
  if (apiVersion === "" && kind === "") return older(fieldsOf(object));
  if (kind === "Policy" && apiVersion === `${GROUP}/v0`) return older(fieldsOf(object));
  if (kind !== "Policy" || apiVersion !== `${GROUP}/v1beta1`) {
    throw new Error(`no kind "${kind}" is registered for version "${apiVersion}"`);
  }
  const policy = fieldsOf(objectOf(object.spec ?? {}, "spec"));
  return anybody(policy) ? { ...policy, user: "", group: AUTHENTICATED } : policy;
}

function anybody({ user, group }: AbacPolicy): boolean {
  return user === "*" || group === "*";
}

/** A policy without a version: what it does not say is any. */
function older(policy: AbacPolicy): AbacPolicy {
  const { user, group, namespace, resource } = policy;
  const all = (!user && !group) || anybody(policy);
  return {
    ...policy,
    ...(all ? { user: "", group: AUTHENTICATED } : {}),
    apiGroup: "*",
    namespace: namespace || "*",
    resource: resource || "*",
    nonResourcePath: !namespace && !resource ? "*" : "",
  };
}

function objectOf(value: unknown, what: string): Record<string, unknown> {
  if (typeof value === "object" && value !== null && !Array.isArray(value)) {
    return value as Record<string, unknown>;
  }
  throw new Error(`${what} must be an object`);
}

function fieldsOf(object: Record<string, unknown>): AbacPolicy {
  const text = (name: string): string => {
    const value = object[name] ?? "";
    if (typeof value !== "string") throw new Error(`${name} must be a string`);
    return value;
  };
  const { readonly = false } = object;
  if (typeof readonly !== "boolean") throw new Error("readonly must be a boolean");
  return {
    user: text("user"),
    group: text("group"),
    readonly,
    apiGroup: text("apiGroup"),
    resource: text("resource"),
    namespace: text("namespace"),
    nonResourcePath: text("nonResourcePath"),
  };
}

/** Decides by policies. */
export class AbacAuthorizer implements PromptAuthorizer {
  readonly #policies: readonly AbacPolicy[];

  constructor(policies: readonly AbacPolicy[]) {
    this.#policies = policies;
  }

  authorize(attributes: Attributes): Decision {
    return this.#policies.some((policy) => matches(policy, attributes)) ? ALLOW : NO;
  }

  rules(user: User, namespace: string): ReturnType<Authorizer["rules"]> {
    const rules: PolicyRule[] = [];
    for (const policy of this.#policies) {
      if (!isFor(policy, user)) continue;
      if (policy.namespace !== "*" && policy.namespace !== namespace) continue;
      const verbs = policy.readonly ? READS : ["*"];
      const { apiGroup, resource, nonResourcePath } = policy;
      if (resource) rules.push({ verbs, apiGroups: [apiGroup], resources: [resource] });
      if (nonResourcePath) rules.push({ verbs, nonResourceURLs: [nonResourcePath] });
    }
    return { rules, errors: [] };
  }
}

/** A policy that names nobody is for nobody; one that names a user and a group is for that user in that group. */
function isFor({ user, group }: AbacPolicy, who: User): boolean {
  if (!user && !group) return false;
  return (!user || user === who.name) && (!group || who.groups.includes(group));
}

function matches(policy: AbacPolicy, a: Attributes): boolean {
  if (!isFor(policy, a.user)) return false;
  if (policy.readonly && !READS.includes(a.verb)) return false;
  const is = (wanted: string, value: string) => wanted === "*" || wanted === value;
  if (a.resourceRequest) {
    return is(policy.namespace, a.namespace) && is(policy.resource, a.resource) &&
      is(policy.apiGroup, a.group);
  }
  const { nonResourcePath: path } = policy;
  return is(path, a.path) || (path.endsWith("*") && a.path.startsWith(path.replace(/\*+$/, "")));
}
