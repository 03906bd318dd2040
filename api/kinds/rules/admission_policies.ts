/**
 * Validation of admission policies and their bindings (upstream's `pkg/apis/admissionregistration/validation`).
 * Expressions are compiled here as they are when policies run, so that what is stored can be evaluated; match
 * conditions that an update leaves alone are not judged again.
 */

import type { Cause, DeepReadonly, KubeObject } from "../../machinery/types.ts";
import { type Compiled, PolicyExpressions } from "../../machinery/expressions.ts";
import { sameJson } from "../../machinery/json_value.ts";
import {
  isDns1035Label,
  isDns1123Subdomain,
  isPathSegmentName,
  isQualifiedName,
  nameIsDnsSubdomain,
} from "../../machinery/names.ts";
import { checkLabelSelector } from "../../machinery/selectors.ts";
import { oneOf, validateMatchConditions, validateOperations } from "./admission_webhooks.ts";
import { validateConditions } from "./condition_validation.ts";
import { isSet, type Path, Report, SPEC, STATUS } from "./report.ts";

// deno-lint-ignore no-explicit-any -- objects are decoded JSON; the schema walk has checked their types
type Obj = any;
type Stored = DeepReadonly<KubeObject>;

const STATUS_WARNINGS = STATUS.child("typeChecking", "expressionWarnings");
const REASONS = ["Forbidden", "Invalid", "RequestEntityTooLarge"];
const ACTIONS = ["Audit", "Deny", "Warn"];
/** Operations that a mutating policy can be about. */
const MUTATED = ["*", "CONNECT", "CREATE", "UPDATE"];
/** Audit annotations of one policy, and bytes of an expression that makes one. */
const ANNOTATIONS_MAX = 20;
const ANNOTATION_LENGTH_MAX = 5 * 1024;

// --- what both kinds share ----------------------------------------------------------------------------

function validateMatchResources(match: Obj, path: Path, r: Report): void {
  if (!isSet(match.matchPolicy)) r.required(path.child("matchPolicy"));
  else oneOf(match.matchPolicy, ["Equivalent", "Exact"], path.child("matchPolicy"), r);
  for (const field of ["namespaceSelector", "objectSelector"]) {
    if (!isSet(match[field])) r.required(path.child(field));
    else r.add(checkLabelSelector(`${path.child(field)}`, match[field]));
  }
  for (const field of ["resourceRules", "excludeResourceRules"]) {
    (match[field] ?? []).forEach((rule: Obj, i: number) => {
      const at = path.child(field).index(i);
      const names: string[] = rule.resourceNames ?? [];
      names.forEach((name, n) => {
        const place = at.child("resourceNames").index(n);
        r.check(isPathSegmentName(name), place, name);
        if (names.indexOf(name) < n) r.duplicate(place, name);
      });
      validateOperations(rule, at, r);
    });
  }
}

function validateParamKind({ apiVersion, kind }: Obj, path: Path, r: Report): void {
  const at = path.child("apiVersion");
  if (!apiVersion) r.required(at);
  else {
    const [version, group = "", ...more] = apiVersion.split("/").reverse();
    if (more.length) r.invalid(at, apiVersion, `unexpected GroupVersion string: ${apiVersion}`);
    else {
      const list = (messages: string[], value: string) => {
        if (messages.length) r.invalid(at, value, messages.join(","));
      };
      if (group) list(isDns1123Subdomain(group), group);
      if (!version) r.invalid(at, apiVersion, "version must be specified");
      else list(isDns1035Label(version), version);
    }
  }
  if (!kind) return r.required(path.child("kind"));
  const messages = isDns1035Label(kind.toLowerCase());
  if (messages.length === 0) return;
  const why = `may have mixed case, but should otherwise match: ${messages.join(",")}`;
  r.invalid(path.child("kind"), kind, why);
}

/** What policies of both kinds share. `old`: before an update. Returns how its expressions are compiled. */
function validatePolicy(
  spec: Obj,
  old: Obj,
  r: Report,
  options: { composes: boolean; mutates: boolean },
): PolicyExpressions {
  if (!isSet(spec.failurePolicy)) r.required(SPEC.child("failurePolicy"));
  else oneOf(spec.failurePolicy, ["Fail", "Ignore"], SPEC.child("failurePolicy"), r);
  const { paramKind, matchConstraints: match } = spec;
  if (paramKind) validateParamKind(paramKind, SPEC.child("paramKind"), r);
  const path = SPEC.child("matchConstraints");
  if (!match) r.required(path);
  else {
    validateMatchResources(match, path, r);
    // A policy that matches nothing is a mistake.
    if (!match.resourceRules?.length) r.required(path.child("resourceRules"));
    if (options.mutates) validateMutated(match, path, r);
  }
  const kept = old && sameJson(old.paramKind, paramKind) &&
    sameJson(old.matchConditions ?? [], spec.matchConditions ?? []);
  if (!kept) {
    const scope = paramKind ? "admissionWithParams" : "admission";
    validateMatchConditions(spec.matchConditions ?? [], SPEC.child("matchConditions"), r, scope);
  }
  const variables: Obj[] = spec.variables ?? [];
  const composes = options.composes || variables.length > 0;
  const expressions = new PolicyExpressions({ params: !!paramKind, composes });
  validateVariables(variables, expressions, r);
  return expressions;
}

/** Only what is sent can be changed. */
function validateMutated(match: Obj, path: Path, r: Report): void {
  for (const rule of match.resourceRules ?? []) {
    for (const operation of rule.operations ?? []) {
      oneOf(operation, MUTATED, path.child("resourceRules", "operations"), r);
    }
  }
}

const RESERVED = new Set(
  ("true false null in as break const continue else for function if import let loop package " +
    "namespace return var void while").split(" "),
);

function validateVariables(variables: Obj[], expressions: PolicyExpressions, r: Report): void {
  variables.forEach((variable, i) => {
    const path = SPEC.child("variables").index(i);
    const name: string = variable.name ?? "";
    if (name.trim() === "") r.required(path.child("name"), "name is not specified");
    else if (!/^[_a-zA-Z][_a-zA-Z0-9]*$/.test(name) || RESERVED.has(name)) {
      r.invalid(path.child("name"), name, "must be a valid CEL identifier");
    }
    const expression: string = variable.expression ?? "";
    if (expression.trim() === "") {
      r.required(path.child("expression"), "expression is not specified");
    } else compiled(expressions.define(name, expression), path.child("expression"), expression, r);
  });
}

function compiled({ problem }: Compiled, path: Path, expression: string, r: Report): void {
  if (problem) r.invalid(path, expression, problem);
}

// --- validating policies ------------------------------------------------------------------------------

/** Errors of a ValidatingAdmissionPolicy. */
export function validateValidatingPolicy(policy: Stored): Cause[] {
  return validatingErrors(policy, undefined);
}

/** Errors of an updated one; of its status, errors of that. */
export function validateValidatingPolicyUpdate(
  policy: Stored,
  old: Stored,
  { subresource }: { subresource: string },
): Cause[] {
  if (subresource !== "status") return validatingErrors(policy, old);
  const r = new Report();
  const warnings: readonly Obj[] = policy.status?.typeChecking?.expressionWarnings ?? [];
  warnings.forEach((warning, i) => {
    const at = STATUS_WARNINGS.index(i);
    if (!warning.warning) r.required(at.child("warning"));
    if (!warning.fieldRef?.trim()) r.required(at.child("fieldRef"));
  });
  validateConditions(policy.status?.conditions, STATUS.child("conditions"), r);
  return r.causes;
}

function validatingErrors(policy: Stored, old: Stored | undefined): Cause[] {
  const r = new Report();
  const { spec } = policy;
  const expressions = validatePolicy(spec, old?.spec, r, { composes: false, mutates: false });
  const { validations = [], auditAnnotations = [] } = spec;
  if (validations.length === 0 && auditAnnotations.length === 0) {
    const message = "validations or auditAnnotations must contain at least one item";
    r.required(SPEC.child("validations"), message);
    r.required(SPEC.child("auditAnnotations"), message);
    return r.causes;
  }
  validations.forEach((validation: Obj, i: number) =>
    validateValidation(validation, SPEC.child("validations").index(i), expressions, r)
  );
  validateAnnotations(policy.metadata.name, auditAnnotations, expressions, r);
  return r.causes;
}

function validateValidation(
  validation: Obj,
  path: Path,
  expressions: PolicyExpressions,
  r: Report,
): void {
  const { expression = "", message = "", messageExpression = "" } = validation;
  if (expression.trim() === "") r.required(path.child("expression"), "expression is not specified");
  else {
    const made = expressions.compile(expression, "admission", ["bool"]);
    compiled(made, path.child("expression"), expression, r);
  }
  const at = path.child("messageExpression");
  if (messageExpression !== "" && messageExpression.trim() === "") {
    r.invalid(at, messageExpression, "must be non-empty if specified");
  } else if (messageExpression !== "") {
    compiled(
      expressions.compile(messageExpression, "message", ["string"]),
      at,
      messageExpression,
      r,
    );
  }
  if (message !== "" && message.trim() === "") {
    r.invalid(path.child("message"), message, "must be non-empty if specified");
  } else if (/[\n\r]/.test(message.trim())) {
    r.invalid(path.child("message"), message, "must not contain line breaks");
  }
  oneOf(validation.reason, REASONS, path.child("reason"), r);
}

function validateAnnotations(
  policy: string,
  annotations: readonly Obj[],
  expressions: PolicyExpressions,
  r: Report,
): void {
  const all = SPEC.child("auditAnnotations");
  if (annotations.length > ANNOTATIONS_MAX) {
    const shown = annotations.map(({ key = "", valueExpression = "" }) => ({
      Key: key,
      ValueExpression: valueExpression,
    }));
    r.invalid(all, shown, `must not have more than ${ANNOTATIONS_MAX} auditAnnotations`);
  }
  const seen = new Set<string>();
  annotations.forEach(({ key = "", valueExpression: expression = "" }, i) => {
    const path = all.index(i);
    if (policy) r.check(isQualifiedName(`${policy}/${key}`), path.child("key"), `${policy}/${key}`);
    else r.invalid(path.child("key"), key, "requires metadata.name be non-empty");
    const at = path.child("valueExpression");
    const trimmed = expression.trim();
    if (trimmed === "") r.required(at, "valueExpression is not specified");
    else if (new TextEncoder().encode(trimmed).length > ANNOTATION_LENGTH_MAX) {
      r.required(at, `must not exceed ${ANNOTATION_LENGTH_MAX} bytes in length`);
    } else {
      const made = expressions.compile(trimmed, "admission", ["string", "null_type"]);
      compiled(made, at, expression, r);
    }
    if (seen.has(key)) r.duplicate(path.child("key"), key);
    seen.add(key);
  });
}

// --- mutating policies --------------------------------------------------------------------------------

/** Errors of a MutatingAdmissionPolicy. */
export function validateMutatingPolicy(policy: Stored): Cause[] {
  return mutatingErrors(policy, undefined);
}

/** Errors of an updated one. */
export function validateMutatingPolicyUpdate(policy: Stored, old: Stored): Cause[] {
  return mutatingErrors(policy, old);
}

function mutatingErrors(policy: Stored, old: Stored | undefined): Cause[] {
  const r = new Report();
  const { spec } = policy;
  const expressions = validatePolicy(spec, old?.spec, r, { composes: true, mutates: true });
  const mutations: readonly Obj[] = spec.mutations ?? [];
  if (mutations.length === 0) {
    r.required(SPEC.child("mutations"), "mutations must contain at least one item");
  }
  mutations.forEach((mutation, i) =>
    validateMutation(mutation, SPEC.child("mutations").index(i), expressions, r)
  );
  if (!spec.reinvocationPolicy) r.required(SPEC.child("reinvocationPolicy"));
  else oneOf(spec.reinvocationPolicy, ["IfNeeded", "Never"], SPEC.child("reinvocationPolicy"), r);
  return r.causes;
}

/** By type of patch: its field, and the type of its expression. */
const PATCHES: Readonly<Record<string, [field: string, type: string]>> = {
  ApplyConfiguration: ["applyConfiguration", "Object"],
  JSONPatch: ["jsonPatch", "list(JSONPatch)"],
};

function validateMutation(
  mutation: Obj,
  path: Path,
  expressions: PolicyExpressions,
  r: Report,
): void {
  const type: string = mutation.patchType ?? "";
  if (type === "") return r.required(path.child("patchType"));
  if (!Object.hasOwn(PATCHES, type)) {
    return r.notSupported(path.child("patchType"), type, Object.keys(PATCHES));
  }
  const [field, result] = PATCHES[type];
  const at = path.child(field);
  if (!mutation[field]) r.required(at, `must be specified when patchType is ${type}`);
  else {
    const expression = (mutation[field].expression ?? "").trim();
    if (expression === "") r.required(at.child("expression"));
    else {
      const made = expressions.compile(expression, "mutation", [result]);
      compiled(made, at.child("expression"), expression, r);
    }
  }
  for (const [other] of Object.values(PATCHES)) {
    if (other === field || !mutation[other]) continue;
    r.invalid(path.child(other), `{${other}}`, `must not be specified when patchType is ${type}`);
  }
}

// --- bindings -----------------------------------------------------------------------------------------

function validateParamRef(param: Obj, path: Path, r: Report): void {
  if (param.name) {
    r.check(isPathSegmentName(param.name), path.child("name"), param.name);
    if (param.selector) {
      r.forbidden(path.child("name"), "name and selector are mutually exclusive");
    }
  }
  if (param.selector) {
    r.add(checkLabelSelector(`${path.child("selector")}`, param.selector));
    if (param.name) r.forbidden(path.child("selector"), "name and selector are mutually exclusive");
  }
  if (!param.name && !param.selector) {
    r.required(path, "one of name or selector must be specified");
  }
  const action = path.child("parameterNotFoundAction");
  if (!param.parameterNotFoundAction) r.required(action);
  else if (!["Allow", "Deny"].includes(param.parameterNotFoundAction)) {
    r.notSupported(action, param.parameterNotFoundAction, ["Deny", "Allow"], true);
  }
}

function validateBinding(spec: Obj, r: Report): void {
  const path = SPEC.child("policyName");
  if (!spec.policyName) r.required(path);
  else r.check(nameIsDnsSubdomain(spec.policyName, false), path, spec.policyName);
  if (spec.paramRef) validateParamRef(spec.paramRef, SPEC.child("paramRef"), r);
  if (spec.matchResources) {
    validateMatchResources(spec.matchResources, SPEC.child("matchResources"), r);
  }
}

/** Errors of a ValidatingAdmissionPolicyBinding. */
export function validateValidatingBinding(binding: Stored): Cause[] {
  const r = new Report();
  validateBinding(binding.spec, r);
  const path = SPEC.child("validationActions");
  const actions: string[] = binding.spec.validationActions ?? [];
  actions.forEach((action, i) => {
    oneOf(action, ACTIONS, path.index(i), r);
    if (actions.indexOf(action) < i) r.duplicate(path.index(i), action);
  });
  if (actions.includes("Deny") && actions.includes("Warn")) {
    r.invalid(
      path,
      actions,
      "must not contain both Deny and Warn (repeating the same validation " +
        "failure information in the API response and headers serves no purpose)",
    );
  }
  if (actions.length === 0) r.required(path, "at least one validation action is required");
  return r.causes;
}

/** Errors of a MutatingAdmissionPolicyBinding. */
export function validateMutatingBinding(binding: Stored): Cause[] {
  const r = new Report();
  validateBinding(binding.spec, r);
  const match = binding.spec.matchResources;
  if (match) validateMutated(match, SPEC.child("matchResources"), r);
  return r.causes;
}
