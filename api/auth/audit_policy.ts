/**
 * Which requests are audited, and how much of them is told: the rules of an audit Policy (`audit.k8s.io/v1`), asked
 * once a request. The first rule that matches decides; where none does, nothing is told. Text becomes a policy in
 * `api/config/audit_policy.ts`.
 */
import type { Attributes } from "./contract.ts";

/** How much is told, each level more than the one before. */
export const AUDIT_LEVELS = ["None", "Metadata", "Request", "RequestResponse"] as const;
export type AuditLevel = (typeof AUDIT_LEVELS)[number];

/** When it is told. */
export const AUDIT_STAGES = [
  "RequestReceived",
  "ResponseStarted",
  "ResponseComplete",
  "Panic",
] as const;
export type AuditStage = (typeof AUDIT_STAGES)[number];

/** One rule: every list that is there must match. */
export interface AuditRule {
  level: AuditLevel;
  users?: readonly string[];
  userGroups?: readonly string[];
  verbs?: readonly string[];
  resources?: readonly {
    group?: string;
    resources?: readonly string[];
    resourceNames?: readonly string[];
  }[];
  /** `""` matches what is in no namespace. */
  namespaces?: readonly string[];
  nonResourceURLs?: readonly string[];
  omitStages?: readonly AuditStage[];
  omitManagedFields?: boolean;
}

/** An audit Policy. */
export interface AuditPolicy {
  rules: readonly AuditRule[];
  omitStages?: readonly AuditStage[];
  omitManagedFields?: boolean;
}

/** What a policy says of one request. */
export interface AuditVerdict {
  level: AuditLevel;
  omitStages: ReadonlySet<AuditStage>;
  omitManagedFields: boolean;
}

/** A request as rules see it; nobody is there when authentication failed. */
export type Audited = Omit<Attributes, "user"> & { user?: Attributes["user"] };

/** A policy, ready to be asked. */
export class AuditRules {
  readonly #rules: readonly { rule: AuditRule; verdict: AuditVerdict }[];
  readonly #otherwise: AuditVerdict;

  constructor(policy: AuditPolicy) {
    const { omitStages = [], omitManagedFields = false } = policy;
    this.#rules = policy.rules.map((rule) => ({
      rule,
      verdict: {
        level: rule.level,
        omitStages: new Set([...omitStages, ...rule.omitStages ?? []]),
        omitManagedFields: rule.omitManagedFields ?? omitManagedFields,
      },
    }));
    this.#otherwise = { level: "None", omitStages: new Set(omitStages), omitManagedFields };
  }

  /** What the first rule that matches says. */
  of(asked: Audited): AuditVerdict {
    for (const { rule, verdict } of this.#rules) if (matches(rule, asked)) return verdict;
    return this.#otherwise;
  }
}

function matches(rule: AuditRule, asked: Audited): boolean {
  const { user } = asked;
  if (rule.users?.length && !(user && rule.users.includes(user.name))) return false;
  if (rule.userGroups?.length) {
    if (!user?.groups.some((group) => rule.userGroups!.includes(group))) return false;
  }
  if (rule.verbs?.length && !rule.verbs.includes(asked.verb)) return false;
  if (rule.namespaces?.length || rule.resources?.length) return matchesResource(rule, asked);
  if (!rule.nonResourceURLs?.length) return true;
  return !asked.resourceRequest && rule.nonResourceURLs.some((url) => matchesPath(asked.path, url));
}

function matchesPath(path: string, pattern: string): boolean {
  if (pattern === "*" || pattern === path) return true;
  return pattern.endsWith("*") && path.startsWith(pattern.replace(/\*+$/, ""));
}

function matchesResource(rule: AuditRule, asked: Audited): boolean {
  if (!asked.resourceRequest) return false;
  if (rule.namespaces?.length && !rule.namespaces.includes(asked.namespace)) return false;
  if (!rule.resources?.length) return true;
  for (const { group = "", resources, resourceNames } of rule.resources) {
    if (group !== asked.group && group !== "*") continue;
    if (!resources?.length) return true;
    if (resourceNames?.length && !resourceNames.includes(asked.name)) continue;
    if (resources.some((pattern) => matchesName(asked, pattern))) return true;
  }
  return false;
}

function matchesName({ resource, subresource }: Audited, pattern: string): boolean {
  if (pattern === "*" || pattern === (subresource ? `${resource}/${subresource}` : resource)) {
    return true;
  }
  if (subresource && pattern.startsWith("*/") && pattern.slice(2) === subresource) return true;
  return pattern.endsWith("/*") && pattern.slice(0, -2) === resource;
}
