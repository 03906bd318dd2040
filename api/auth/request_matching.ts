/**
 * Whether a write is one that a webhook or a policy wants to see: rules (operations, groups, versions,
 * resources, scope, names), namespace and object selectors, and other versions of the same resource
 * (`matchPolicy: Equivalent`). Answers which kind matched, because judges are shown the object in the version
 * that they asked for.
 */
import type { DeepReadonly, Kind, Kinds, KubeObject } from "../machinery/types.ts";
import { internal, notFound } from "../machinery/errors.ts";
import {
  labelSelector,
  type LabelSelectorSpec,
  type Selector,
  SelectorError,
} from "../machinery/selectors.ts";
import type { Admission } from "./contract.ts";

/** One of `rules` of a webhook, of `resourceRules` of a policy. */
export interface Rule {
  operations?: string[];
  apiGroups?: string[];
  apiVersions?: string[];
  resources?: string[];
  scope?: string;
  resourceNames?: string[];
}

/** What a webhook or policy says of the writes it wants to see. */
export interface MatchResources {
  resourceRules?: Rule[];
  excludeResourceRules?: Rule[];
  namespaceSelector?: LabelSelectorSpec;
  objectSelector?: LabelSelectorSpec;
  matchPolicy?: string;
}

/** Kinds whose writes no webhook and no policy from the API sees: they could lock themselves in. */
export const EXEMPT_PLURALS: ReadonlySet<string> = new Set([
  "validatingwebhookconfigurations",
  "mutatingwebhookconfigurations",
  "validatingadmissionpolicies",
  "validatingadmissionpolicybindings",
  "mutatingadmissionpolicies",
  "mutatingadmissionpolicybindings",
]);

/** Whether a write configures admission itself. */
export function isAdmissionConfiguration(a: Admission): boolean {
  return a.kind.group === "admissionregistration.k8s.io" && EXEMPT_PLURALS.has(a.kind.plural);
}

/** Where the object of a write is, as rules and judges take it: a Namespace lies in itself; collections name nothing. */
export function placeOf(a: Admission): { namespace: string; name: string } {
  if (a.collection) return { namespace: a.namespace, name: "" };
  const name = a.name || (a.object?.metadata?.name ?? "");
  return { namespace: isNamespace(a) ? name : a.namespace, name };
}

function isNamespace(a: Admission): boolean {
  return a.kind.plural === "namespaces" && a.kind.group === "";
}

/** The kind that a write's body is of: the subresource's where that has one of its own. */
export function kindOf(
  kind: Kind,
  subresource: string,
): { group: string; version: string; kind: string } {
  const { group, version } = kind;
  return kind.subresources?.find((row) => row.name === subresource)?.kind ??
    { group, version, kind: kind.kind };
}

// --- rules --------------------------------------------------------------------------------------------

function includes(list: readonly string[] | undefined, value: string): boolean {
  return list !== undefined && (list.includes("*") || list.includes(value));
}

function ruleMatches(rule: DeepReadonly<Rule>, a: Admission, kind: Kind): boolean {
  return scopeMatches(rule.scope, a) && includes(rule.operations, a.operation) &&
    includes(rule.apiGroups, kind.group) && includes(rule.apiVersions, kind.version) &&
    (rule.resources ?? []).some((resource) => {
      const slash = resource.indexOf("/");
      const main = slash < 0 ? resource : resource.slice(0, slash);
      const sub = slash < 0 ? "" : resource.slice(slash + 1);
      return (main === "*" || main === kind.plural) && (sub === "*" || sub === a.subresource);
    });
}

function scopeMatches(scope: string | undefined, a: Admission): boolean {
  if (scope === undefined || scope === "*") return true;
  const namespaced = !isNamespace(a) && a.namespace !== "";
  return scope === "Namespaced" ? namespaced : scope === "Cluster" && !namespaced;
}

/**
 * The kind by which a rule matches a write: the request's own, or, where `matchPolicy` is `Equivalent`,
 * another version or group of the same resource. Undefined when none does.
 */
export function matchRules(
  rules: DeepReadonly<Rule[]>,
  matchPolicy: string | undefined,
  a: Admission,
  kinds: Kinds | undefined,
): Kind | undefined {
  const named = (rule: DeepReadonly<Rule>) =>
    !rule.resourceNames?.length || rule.resourceNames.includes(placeOf(a).name);
  if (rules.some((rule) => ruleMatches(rule, a, a.kind) && named(rule))) return a.kind;
  if (matchPolicy === undefined || matchPolicy === "Exact" || !kinds) return undefined;
  const others = equivalents(a.kind, kinds);
  for (const rule of rules) {
    for (const other of others) {
      if (ruleMatches(rule, a, other) && named(rule)) return other;
    }
  }
  return undefined;
}

let equivalentsOf = new WeakMap<Kind, readonly Kind[]>();
let equivalentsVersion: { kinds: Kinds; version: number } | undefined;

/** Other rows that serve the same stored objects. */
function equivalents(kind: Kind, kinds: Kinds): readonly Kind[] {
  if (equivalentsVersion?.kinds !== kinds || equivalentsVersion.version !== kinds.version) {
    equivalentsOf = new WeakMap();
    equivalentsVersion = { kinds, version: kinds.version };
  }
  let known = equivalentsOf.get(kind);
  if (!known) {
    known = kind.virtual
      ? []
      : kinds.all().filter((one) => one !== kind && one.path === kind.path && !one.virtual);
    equivalentsOf.set(kind, known);
  }
  return known;
}

// --- selectors ----------------------------------------------------------------------------------------

const selectors = new WeakMap<object, Selector>();

function parsed(spec: DeepReadonly<LabelSelectorSpec>): Selector {
  let known = selectors.get(spec);
  if (known) return known;
  try {
    selectors.set(spec, known = labelSelector(spec));
  } catch (error) {
    if (error instanceof SelectorError) throw internal(error.message);
    throw error;
  }
  return known;
}

/**
 * Whether the namespace of a write has the labels. Of a Namespace that is written, its own count. Throws
 * ApiError: 404 where there is no such namespace, 500 for a selector that is none.
 */
export function namespaceMatches(
  spec: DeepReadonly<LabelSelectorSpec> | undefined,
  a: Admission,
): boolean {
  const { namespace } = placeOf(a);
  if (namespace === "" && !isNamespace(a)) return true;
  const selector = parsed(spec ?? {});
  if (selector.empty) return true;
  const writes = a.operation === "CREATE" || a.operation === "UPDATE";
  if (isNamespace(a) && a.subresource === "" && writes) {
    return selector.matches(a.object?.metadata?.labels);
  }
  const found = a.view.get(`/registry/namespaces/${namespace}`)?.value;
  if (!found) throw notFound({ group: "", resource: "namespaces" }, namespace);
  return selector.matches(found.metadata.labels);
}

/** Whether the object, as it was or as it becomes, has the labels. */
export function objectMatches(
  spec: DeepReadonly<LabelSelectorSpec> | undefined,
  a: Admission,
): boolean {
  const selector = parsed(spec ?? {});
  if (selector.empty) return true;
  const matches = (object: DeepReadonly<KubeObject> | undefined) =>
    object?.metadata !== undefined && selector.matches(object.metadata.labels);
  return matches(a.object) || matches(a.old);
}

/**
 * The kind by which a policy's (or binding's) match resources take a write; undefined when they do not.
 * Errors of selectors are thrown (ApiError) only where everything else matches.
 */
export function matchResources(
  match: DeepReadonly<MatchResources>,
  a: Admission,
  kinds: Kinds | undefined,
): Kind | undefined {
  let failure: unknown;
  for (const matches of [namespaceMatches, objectMatches]) {
    const spec = matches === namespaceMatches ? match.namespaceSelector : match.objectSelector;
    try {
      if (!matches(spec, a)) return undefined;
    } catch (error) {
      failure ??= error;
    }
  }
  const { excludeResourceRules: excluded, resourceRules: rules, matchPolicy } = match;
  if (excluded?.length && matchRules(excluded, matchPolicy, a, kinds)) return undefined;
  const kind = rules?.length ? matchRules(rules, matchPolicy, a, kinds) : a.kind;
  if (kind && failure) throw failure;
  return kind;
}
