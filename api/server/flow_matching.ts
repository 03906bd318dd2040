/** FlowSchemas' rules: which requests they are for. */
import type { Requested } from "../auth/impersonate.ts";
import type { User } from "../client/contract.ts";
import type { DeepReadonly, KubeObject } from "../machinery/types.ts";

/** A FlowSchema's spec, as far as it matters here. */
export interface FlowSchemaSpec {
  priorityLevelConfiguration: { name: string };
  matchingPrecedence: number;
  distinguisherMethod?: { type: "ByUser" | "ByNamespace" };
  rules?: readonly FlowRule[];
}

interface FlowRule {
  subjects?: readonly FlowSubject[];
  resourceRules?: readonly {
    verbs: readonly string[];
    apiGroups: readonly string[];
    resources: readonly string[];
    clusterScope?: boolean;
    namespaces?: readonly string[];
  }[];
  nonResourceRules?: readonly { verbs: readonly string[]; nonResourceURLs: readonly string[] }[];
}

interface FlowSubject {
  kind: string;
  user?: { name: string };
  group?: { name: string };
  serviceAccount?: { namespace: string; name: string };
}

/** A stored FlowSchema. */
export type FlowSchema = DeepReadonly<KubeObject & { spec: FlowSchemaSpec }>;

/** Whether a schema is for a request. */
export function matchesSchema(
  spec: DeepReadonly<FlowSchemaSpec>,
  user: User,
  requested: Requested,
): boolean {
  return (spec.rules ?? []).some((rule) =>
    (rule.subjects ?? []).some((subject) => matchesSubject(subject, user)) &&
    matchesRule(rule, requested)
  );
}

function matchesSubject(
  { kind, user: named, group, serviceAccount }: DeepReadonly<FlowSubject>,
  user: User,
): boolean {
  switch (kind) {
    case "User":
      return named !== undefined && (named.name === "*" || named.name === user.name);
    case "Group":
      return group !== undefined && (group.name === "*" || user.groups.includes(group.name));
    case "ServiceAccount": {
      if (!serviceAccount) return false;
      const prefix = `system:serviceaccount:${serviceAccount.namespace}:`;
      return serviceAccount.name === "*"
        ? user.name.startsWith(prefix)
        : user.name === prefix + serviceAccount.name;
    }
    default:
      return false;
  }
}

function matchesRule(rule: DeepReadonly<FlowRule>, requested: Requested): boolean {
  const { verb, namespace, path } = requested;
  if (!requested.resourceRequest) {
    return (rule.nonResourceRules ?? []).some(({ verbs, nonResourceURLs }) =>
      holds(verbs, verb) && nonResourceURLs.some((url) => matchesPath(url, path))
    );
  }
  const resource = requested.subresource
    ? `${requested.resource}/${requested.subresource}`
    : requested.resource;
  return (rule.resourceRules ?? []).some((one) =>
    holds(one.verbs, verb) && holds(one.resources, resource) &&
    holds(one.apiGroups, requested.group) &&
    (namespace ? holds(one.namespaces ?? [], namespace) : one.clusterScope === true)
  );
}

/** `*` stands for everything, and then stands alone. */
function holds(list: readonly string[], word: string): boolean {
  return (list.length === 1 && list[0] === "*") || list.includes(word);
}

function matchesPath(rule: string, path: string): boolean {
  if (rule === "*" || rule === path) return true;
  const prefix = rule.endsWith("*") ? rule.slice(0, -1) : rule;
  return path.startsWith(prefix.endsWith("/") ? prefix : `${prefix}/`);
}
