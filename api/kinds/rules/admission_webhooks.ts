/**
 * Validation of admission webhooks (upstream's `pkg/apis/admissionregistration/validation`): what rules,
 * client configurations and match conditions must be.
 */

import type { Cause, DeepReadonly, KubeObject } from "../../machinery/types.ts";
import {
  checkFullyQualifiedName,
  isDns1035Label,
  isDns1123Subdomain,
  isPortNumber,
  isQualifiedName,
} from "../../machinery/names.ts";
import { compiledExpression, type Scope } from "../../machinery/expressions.ts";
import { sameJson } from "../../machinery/json_value.ts";
import { checkLabelSelector } from "../../machinery/selectors.ts";
import { isSet, Path, Report } from "./report.ts";

// deno-lint-ignore no-explicit-any -- objects are decoded JSON; the schema walk has checked their types
type Obj = any;
type Stored = DeepReadonly<KubeObject>;

const FAILURE_POLICIES = ["Fail", "Ignore"];
const MATCH_POLICIES = ["Equivalent", "Exact"];
const SIDE_EFFECTS = ["None", "NoneOnDryRun"];
const ALL_SIDE_EFFECTS = ["None", "NoneOnDryRun", "Some", "Unknown"];
const REINVOCATIONS = ["IfNeeded", "Never"];
const OPERATIONS = ["*", "CONNECT", "CREATE", "DELETE", "UPDATE"];
const SCOPES = ["*", "Cluster", "Namespaced"];
const REVIEW_VERSIONS = ["v1", "v1beta1"];
const CONDITIONS_MAX = 64;
const TIMEOUT_MAX = 30;
const WEBHOOKS = new Path("webhooks");

/** Checks a field that names one of a few values, if it is set. */
export function oneOf(
  value: unknown,
  supported: readonly string[],
  path: Path,
  r: Report,
): void {
  if (isSet(value) && !supported.includes(value as string)) {
    r.notSupported(path, value, supported);
  }
}

/** What stored webhooks may have that new ones may not: it is allowed to stay. */
interface Tolerated {
  matchConditions?: boolean;
  sideEffects?: boolean;
  reviewVersions?: boolean;
  names?: boolean;
  labelValues?: boolean;
}

function toleratedIn(now: readonly Obj[], before: readonly Obj[]): Tolerated {
  const names = before.map((hook) => hook.name ?? "");
  return {
    matchConditions: now.length === before.length &&
      before.every((hook, i) => sameJson(hook.matchConditions ?? [], now[i].matchConditions ?? [])),
    sideEffects: before.some(({ sideEffects }) => !SIDE_EFFECTS.includes(sideEffects)),
    reviewVersions: before.some(({ admissionReviewVersions }) => {
      const versions: string[] = admissionReviewVersions ?? [];
      return versions.length > 0 && !versions.some((v) => REVIEW_VERSIONS.includes(v));
    }),
    names: new Set(names).size < names.length,
    labelValues: before.some((hook) =>
      [hook.namespaceSelector, hook.objectSelector].some((s) => checkLabelSelector("", s).length)
    ),
  };
}

/** Errors of an updated configuration. */
export function validateWebhooksUpdate(configuration: Stored, old: Stored): Cause[] {
  return webhookCauses(
    configuration,
    toleratedIn(configuration.webhooks ?? [], old.webhooks ?? []),
  );
}

/** Errors of a new configuration. */
export function validateWebhooks(configuration: Stored): Cause[] {
  return webhookCauses(configuration, {});
}

function webhookCauses(configuration: Stored, tolerated: Tolerated): Cause[] {
  const r = new Report();
  const names = new Set<string>();
  (configuration.webhooks ?? []).forEach((hook: Obj, i: number) => {
    const path = WEBHOOKS.index(i);
    validateWebhook(hook, path, r, tolerated);
    const versions: string[] = hook.admissionReviewVersions ?? [];
    validateReviewVersions(versions, path, r, !tolerated.reviewVersions);
    if (!hook.name || tolerated.names) return;
    if (names.has(hook.name)) r.duplicate(path.child("name"), hook.name);
    names.add(hook.name);
  });
  return r.causes;
}

function validateWebhook(hook: Obj, path: Path, r: Report, tolerated: Tolerated): void {
  r.add(checkFullyQualifiedName(`${path.child("name")}`, hook.name ?? ""));
  (hook.rules ?? []).forEach((rule: Obj, i: number) => {
    validateOperations(rule, path.child("rules").index(i), r);
  });
  oneOf(hook.failurePolicy, FAILURE_POLICIES, path.child("failurePolicy"), r);
  oneOf(hook.matchPolicy, MATCH_POLICIES, path.child("matchPolicy"), r);
  const effects = tolerated.sideEffects ? ALL_SIDE_EFFECTS : SIDE_EFFECTS;
  if (!isSet(hook.sideEffects)) {
    r.required(path.child("sideEffects"), `must specify one of ${effects.join(", ")}`);
  } else oneOf(hook.sideEffects, effects, path.child("sideEffects"), r);
  const timeout = hook.timeoutSeconds;
  if (isSet(timeout) && (timeout > TIMEOUT_MAX || timeout < 1)) {
    const message = "the timeout value must be between 1 and 30 seconds";
    r.invalid(path.child("timeoutSeconds"), timeout, message);
  }
  for (const field of ["namespaceSelector", "objectSelector"]) {
    const options = { allowInvalidValues: tolerated.labelValues };
    if (hook[field]) r.add(checkLabelSelector(`${path.child(field)}`, hook[field], options));
  }
  oneOf(hook.reinvocationPolicy, REINVOCATIONS, path.child("reinvocationPolicy"), r);
  validateClient(hook.clientConfig ?? {}, path.child("clientConfig"), r);
  if (tolerated.matchConditions) return;
  const conditions = path.child("matchConditions");
  validateMatchConditions(hook.matchConditions ?? [], conditions, r, "admission");
}

function validateReviewVersions(
  versions: string[],
  hook: Path,
  r: Report,
  mustBeKnown: boolean,
): void {
  const path = hook.child("admissionReviewVersions");
  const known = REVIEW_VERSIONS.join(", ");
  if (versions.length === 0) return r.required(path, `must specify one of ${known}`);
  versions.forEach((version, i) => {
    if (versions.indexOf(version) < i) r.invalid(path.index(i), version, "duplicate version");
    else r.check(isDns1035Label(version), path.index(i), version);
  });
  if (mustBeKnown && !versions.some((version) => REVIEW_VERSIONS.includes(version))) {
    r.invalid(path, versions, `must include at least one of ${known}`);
  }
}

/** A rule with the operations it is for. */
export function validateOperations(rule: Obj, path: Path, r: Report): void {
  const operations: string[] = rule.operations ?? [];
  const at = path.child("operations");
  if (operations.length === 0) r.required(at);
  if (operations.length > 1 && operations.includes("*")) {
    r.invalid(at, operations, "if '*' is present, must not specify other operations");
  }
  operations.forEach((operation, i) => oneOf(operation, OPERATIONS, at.index(i), r));
  const lists: [string, string][] = [["apiGroups", "API groups"], ["apiVersions", "API versions"]];
  for (const [field, words] of lists) {
    const list: string[] = rule[field] ?? [];
    if (list.length === 0) r.required(path.child(field));
    if (list.length > 1 && list.includes("*")) {
      r.invalid(path.child(field), list, `if '*' is present, must not specify other ${words}`);
    }
  }
  (rule.apiVersions ?? []).forEach((version: string, i: number) => {
    if (version === "") r.required(path.child("apiVersions").index(i));
  });
  validateResources(rule.resources ?? [], path.child("resources"), r);
  oneOf(rule.scope, SCOPES, path.child("scope"), r);
}

function validateResources(resources: string[], path: Path, r: Report): void {
  if (resources.length === 0) r.required(path);
  const wholeResources = new Set<string>();
  const wholeSubresources = new Set<string>();
  resources.forEach((name, i) => {
    if (name === "") return r.required(path.index(i));
    const slash = name.indexOf("/");
    if (slash < 0) return;
    const resource = name.slice(0, slash), sub = name.slice(slash + 1);
    if (wholeResources.has(resource)) {
      r.invalid(path.index(i), name, `if '${resource}/*' is present, must not specify ${name}`);
    }
    if (wholeSubresources.has(sub)) {
      r.invalid(path.index(i), name, `if '*/${sub}' is present, must not specify ${name}`);
    }
    if (sub === "*") wholeResources.add(resource);
    if (resource === "*") wholeSubresources.add(sub);
  });
  if (resources.length > 1 && resources.includes("*/*")) {
    r.invalid(path, resources, "if '*/*' is present, must not specify other resources");
  }
  // Upstream looks at the last one without a subresource only.
  const last = resources.findLast((name) => name && !name.includes("/"));
  if (resources.includes("*") && last !== "*") {
    r.invalid(
      path,
      resources,
      "if '*' is present, must not specify other resources without subresources",
    );
  }
}

/** Where a webhook is. */
export function validateClient(client: Obj, path: Path, r: Report): void {
  if (isSet(client.url) === isSet(client.service)) {
    r.required(path, "exactly one of url or service is required");
  } else if (isSet(client.url)) validateUrl(client.url, path.child("url"), r);
  else validateServiceReference(client.service, path.child("service"), r);
}

const FORM = "; desired format: https://host[/path]";

function validateUrl(text: string, path: Path, r: Report): void {
  const parts = /^(?:([A-Za-z][A-Za-z0-9+.-]*):)?(?:\/\/([^/?#]*))?[^?#]*(\?[^#]*)?(#.*)?$/s.exec(
    text,
  );
  const [, scheme = "", authority = "", query = "", fragment = ""] = parts ?? [];
  if (scheme.toLowerCase() !== "https") {
    r.invalid(path, scheme, `'https' is the only allowed URL scheme${FORM}`);
  }
  const at = authority.lastIndexOf("@");
  if (authority.slice(at + 1) === "") r.invalid(path, "", `host must be specified${FORM}`);
  if (at >= 0) {
    r.invalid(path, authority.slice(0, at), "user information is not permitted in the URL");
  }
  if (fragment.length > 1) {
    r.invalid(path, fragment.slice(1), "fragments are not permitted in the URL");
  }
  if (query.length > 1) {
    r.invalid(path, query.slice(1), "query parameters are not permitted in the URL");
  }
}

/** The Service a webhook is behind. Upstream takes its name for its namespace, and the other way round. */
function validateServiceReference(service: Obj, path: Path, r: Report): void {
  if (!service.namespace) r.required(path.child("name"));
  if (!service.name) r.required(path.child("namespace"));
  const problems = isPortNumber(service.port ?? 0);
  if (problems.length > 0) {
    r.invalid(path.child("port"), service.port ?? 0, `port is not valid: ${problems.join(", ")}`);
  }
  const at = path.child("path");
  const url: string = service.path ?? "";
  if (url === "" || url === "/") return;
  if (url === "//") return r.invalid(at, url, "segment[0] may not be empty");
  if (!url.startsWith("/")) r.invalid(at, url, "must start with a '/'");
  url.slice(1).replace(/\/$/, "").split("/").forEach((step, i) => {
    if (step === "") return r.invalid(at, url, `segment[${i}] may not be empty`);
    for (const problem of isDns1123Subdomain(step)) r.invalid(at, url, `segment[${i}]: ${problem}`);
  });
}

/** Compiles an expression; CEL has been loaded before (`KindHooks.load`). `results`: the types it may have. */
export function validateExpression(
  expression: string,
  path: Path,
  r: Report,
  { scope, results = ["bool"] }: { scope: Scope; results?: readonly string[] },
): void {
  const { problem } = compiledExpression(expression, scope, results);
  if (problem) r.invalid(path, expression, problem);
}

/** Conditions on the request, each with a name of its own. */
export function validateMatchConditions(
  conditions: Obj[],
  path: Path,
  r: Report,
  scope?: Scope,
): void {
  if (conditions.length > CONDITIONS_MAX) r.tooMany(path, conditions.length, CONDITIONS_MAX);
  const seen = new Set<string>();
  conditions.forEach((condition, i) => {
    const at = path.index(i);
    const expression: string = condition.expression ?? "";
    if (expression.trim() === "") r.required(at.child("expression"));
    else if (scope) validateExpression(expression, at.child("expression"), r, { scope });
    const name = condition.name ?? "";
    if (name === "") r.required(at.child("name"));
    else {
      r.check(isQualifiedName(name), at.child("name"), name);
      if (seen.has(name)) r.duplicate(at.child("name"), name);
      seen.add(name);
    }
  });
}
