/**
 * What a policy rule allows, what it covers, and how it is written in a message. Pure functions over
 * rules, no state: `rbac.ts` decides requests with them, `rbac_escalation.ts` compares permissions.
 *
 * Semantics are those of RBAC in Kubernetes 1.36: rules only add, `*` stands for everything in its
 * place, `*` + `/sub` for a subresource of every resource, a trailing `*` in a URL for any rest.
 */
import type { Attributes, PolicyRule } from "./contract.ts";
import type { DeepReadonly } from "../machinery/types.ts";

/** A rule as it is stored: shared and frozen. */
export type Rule = DeepReadonly<PolicyRule>;

const ALL = "*";

/** True when `rule` alone allows the request. */
export function ruleAllows(rule: Rule, a: Attributes): boolean {
  if (!has(rule.verbs, a.verb)) return false;
  if (!a.resourceRequest) return urlMatches(rule.nonResourceURLs, a.path);
  return has(rule.apiGroups, a.group) &&
    resourceMatches(rule.resources, a.resource, a.subresource) &&
    (!rule.resourceNames?.length || rule.resourceNames.includes(a.name));
}

/** True when a list of resources names this one, its subresource, or all. */
export function resourceMatches(
  resources: readonly string[] | undefined,
  resource: string,
  subresource: string,
): boolean {
  if (!resources) return false;
  const combined = subresource ? `${resource}/${subresource}` : resource;
  for (const r of resources) {
    if (r === ALL || r === combined) return true;
    if (subresource && r.startsWith("*/") && r.slice(2) === subresource) return true;
  }
  return false;
}

function has(list: readonly string[] | undefined, wanted: string): boolean {
  if (!list) return false;
  for (const entry of list) if (entry === ALL || entry === wanted) return true;
  return false;
}

function urlMatches(urls: readonly string[] | undefined, path: string): boolean {
  if (!urls) return false;
  for (const url of urls) {
    if (url === ALL || url === path) return true;
    if (url.endsWith("*") && path.startsWith(trimStars(url))) return true;
  }
  return false;
}

function trimStars(url: string): string {
  let end = url.length;
  while (end > 0 && url[end - 1] === "*") end--;
  return url.slice(0, end);
}

/**
 * Which of the wanted permissions the held rules do not cover, broken down to one group, resource, verb and
 * name each. Empty: all are covered.
 */
export function uncovered(held: readonly Rule[], wanted: readonly Rule[]): PolicyRule[] {
  const missing: PolicyRule[] = [];
  for (const rule of wanted) {
    for (const part of breakdown(rule)) {
      if (!held.some((h) => covers(h, part))) missing.push(part);
    }
  }
  return missing;
}

function breakdown(rule: Rule): PolicyRule[] {
  const parts: PolicyRule[] = [];
  for (const group of rule.apiGroups ?? []) {
    for (const resource of rule.resources ?? []) {
      for (const verb of rule.verbs ?? []) {
        const part = { apiGroups: [group], resources: [resource], verbs: [verb] };
        if (!rule.resourceNames?.length) parts.push(part);
        for (const name of rule.resourceNames ?? []) parts.push({ ...part, resourceNames: [name] });
      }
    }
  }
  for (const url of rule.nonResourceURLs ?? []) {
    for (const verb of rule.verbs ?? []) parts.push({ nonResourceURLs: [url], verbs: [verb] });
  }
  return parts;
}

/** Whether one held rule covers one broken-down permission. */
function covers(held: Rule, part: PolicyRule): boolean {
  if (!has(held.verbs, part.verbs[0])) return false;
  if (part.nonResourceURLs) return urlMatches(held.nonResourceURLs, part.nonResourceURLs[0]);
  if (!has(held.apiGroups, part.apiGroups![0])) return false;
  const [resource, subresource = ""] = splitResource(part.resources![0]);
  if (!resourceMatches(held.resources, resource, subresource)) return false;
  if (!held.resourceNames?.length) return true;
  return part.resourceNames !== undefined && held.resourceNames.includes(part.resourceNames[0]);
}

function splitResource(text: string): [string, string?] {
  const slash = text.indexOf("/");
  return slash < 0 ? [text] : [text.slice(0, slash), text.slice(slash + 1)];
}

/** Joins permissions that differ in their verb only, so that a message stays readable. */
export function compact(rules: readonly PolicyRule[]): PolicyRule[] {
  const whole: PolicyRule[] = [];
  const byResource = new Map<string, PolicyRule>();
  for (const rule of rules) {
    const simple = !rule.nonResourceURLs?.length && rule.apiGroups?.length === 1 &&
      rule.resources?.length === 1 && (rule.resourceNames?.length ?? 0) <= 1;
    if (!simple) {
      whole.push(rule);
      continue;
    }
    const key = `${rule.apiGroups![0]}\0${rule.resources![0]}\0${rule.resourceNames?.[0] ?? "\0"}`;
    const known = byResource.get(key);
    if (known) known.verbs.push(...rule.verbs);
    else byResource.set(key, { ...rule, verbs: [...rule.verbs] });
  }
  return [...whole, ...byResource.values()];
}

/** A rule as messages show it: `{APIGroups:[""], Resources:["pods"], Verbs:["get"]}`. */
export function describeRule(rule: Rule): string {
  const parts: string[] = [];
  const add = (label: string, values?: readonly string[]) => {
    if (values?.length) parts.push(`${label}:${quoteList(values)}`);
  };
  add("APIGroups", rule.apiGroups);
  add("Resources", rule.resources);
  add("NonResourceURLs", rule.nonResourceURLs);
  add("ResourceNames", rule.resourceNames);
  add("Verbs", rule.verbs);
  return `{${parts.join(", ")}}`;
}

/** Quoted strings between brackets, as Go's `%q` prints a slice. */
export function quoteList(values: readonly string[]): string {
  return `[${values.map((v) => JSON.stringify(v)).join(" ")}]`;
}
