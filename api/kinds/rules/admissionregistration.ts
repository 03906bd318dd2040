/**
 * Rules of the admissionregistration group (upstream's `pkg/apis/admissionregistration`): defaults, what a
 * write may touch, columns; webhooks' validation is in `admission_webhooks.ts`, policies' here. A policy's
 * expressions are compiled where they run, not here.
 */

import type {
  Cause,
  Column,
  DeepReadonly,
  Kind,
  KindContext,
  KindHooks,
  KubeObject,
} from "../../machinery/types.ts";
import { loadExpressions } from "../../machinery/expressions.ts";
import { isCIdentifier, nameIsDnsSubdomain } from "../../machinery/names.ts";
import { checkLabelSelector } from "../../machinery/selectors.ts";
import {
  oneOf,
  validateMatchConditions,
  validateOperations,
  validateWebhooks,
} from "./admission_webhooks.ts";
import { AGE_COLUMN, column, NAME_COLUMN } from "./cells.ts";
import { keep, raiseGeneration, statusHooks } from "./prepare.ts";
import { isSet, type Path, Report, SPEC } from "./report.ts";

// deno-lint-ignore no-explicit-any -- objects are decoded JSON; the schema walk has checked their types
type Obj = any;
type Stored = DeepReadonly<KubeObject>;

const TIMEOUT_DEFAULT = 10;
const SERVICE_PORT = 443;
const REASONS = ["Forbidden", "Invalid", "RequestEntityTooLarge", "Unauthorized"];
const ACTIONS = ["Audit", "Deny", "Warn"];

// --- defaults --------------------------------------------------------------------------------------------

function defaultMatch(match: Obj): void {
  match.matchPolicy ??= "Equivalent";
  match.namespaceSelector ??= {};
  match.objectSelector ??= {};
}

function defaultWebhooks(configuration: KubeObject): void {
  for (const hook of configuration.webhooks ?? []) {
    hook.failurePolicy ??= "Fail";
    defaultMatch(hook);
    hook.timeoutSeconds ??= TIMEOUT_DEFAULT;
    if (configuration.kind === "MutatingWebhookConfiguration") hook.reinvocationPolicy ??= "Never";
    for (const rule of hook.rules ?? []) rule.scope ??= "*";
    if (hook.clientConfig?.service) hook.clientConfig.service.port ??= SERVICE_PORT;
  }
}

function defaultMatchResources(match: Obj): void {
  if (!match) return;
  defaultMatch(match);
  for (const rule of [...(match.resourceRules ?? []), ...(match.excludeResourceRules ?? [])]) {
    rule.scope ??= "*";
  }
}

function defaultPolicy(policy: KubeObject): void {
  const spec: Obj = policy.spec ??= {};
  spec.failurePolicy ??= "Fail";
  defaultMatchResources(spec.matchConstraints);
}

function defaultBinding(binding: KubeObject): void {
  defaultMatchResources(binding.spec?.matchResources);
}

// --- what a write may touch ------------------------------------------------------------------------------

const webhooks: KindHooks = {
  load: loadExpressions,
  defaults: defaultWebhooks,
  prepareCreate: (object) => void (object.metadata.generation = 1),
  prepareUpdate: (object, old) => raiseGeneration(object, old, ["webhooks"]),
  validate: validateWebhooks,
  validateName: nameIsDnsSubdomain,
};

const counted: KindHooks = {
  prepareCreate: (object) => void (object.metadata.generation = 1),
  prepareUpdate(object: KubeObject, old: Stored, context: KindContext) {
    if (context.subresource === "status") keep(object, old, "spec");
    else raiseGeneration(object, old, ["spec"]);
  },
  validateName: nameIsDnsSubdomain,
};

// --- validation ------------------------------------------------------------------------------------------

function validateMatchResources(match: Obj, path: Path, r: Report): void {
  for (const field of ["namespaceSelector", "objectSelector"]) {
    if (!isSet(match[field])) r.required(path.child(field));
    else r.add(checkLabelSelector(`${path.child(field)}`, match[field]));
  }
  for (const field of ["resourceRules", "excludeResourceRules"]) {
    (match[field] ?? []).forEach((rule: Obj, i: number) => {
      const at = path.child(field).index(i);
      validateOperations(rule, at, r);
      const names: string[] = rule.resourceNames ?? [];
      names.forEach((name, n) => {
        if (names.indexOf(name) < n) r.duplicate(at.child("resourceNames").index(n), name);
      });
    });
  }
  if (!isSet(match.matchPolicy)) r.required(path.child("matchPolicy"));
  else oneOf(match.matchPolicy, ["Equivalent", "Exact"], path.child("matchPolicy"), r);
}

/** What policies of both kinds share. */
function validatePolicy(spec: Obj, r: Report): void {
  oneOf(spec.failurePolicy, ["Fail", "Ignore"], SPEC.child("failurePolicy"), r);
  const { paramKind, matchConstraints: match } = spec;
  if (paramKind) {
    if (!paramKind.apiVersion) r.required(SPEC.child("paramKind", "apiVersion"));
    if (!paramKind.kind) r.required(SPEC.child("paramKind", "kind"));
  }
  const path = SPEC.child("matchConstraints");
  if (!match) r.required(path);
  else {
    validateMatchResources(match, path, r);
    // A policy that matches nothing is a mistake.
    if (!match.resourceRules?.length) r.required(path.child("resourceRules"));
  }
  validateMatchConditions(spec.matchConditions ?? [], SPEC.child("matchConditions"), r);
  validateVariables(spec.variables ?? [], r);
}

function validateVariables(variables: Obj[], r: Report): void {
  const seen = new Set<string>();
  variables.forEach((variable, i) => {
    const path = SPEC.child("variables").index(i);
    const name = variable.name ?? "";
    if (name === "") r.required(path.child("name"), "name is not specified");
    else {
      if (isCIdentifier(name).length > 0) {
        r.invalid(path.child("name"), name, "name is not a valid CEL identifier");
      }
      if (seen.has(name)) r.duplicate(path.child("name"), name);
      seen.add(name);
    }
    if ((variable.expression ?? "").trim() === "") {
      r.required(path.child("expression"), "expression is not specified");
    }
  });
}

function validateValidatingPolicy(policy: Stored): Cause[] {
  const r = new Report();
  const { spec } = policy;
  validatePolicy(spec, r);
  const { validations = [], auditAnnotations = [] } = spec;
  if (validations.length === 0 && auditAnnotations.length === 0) {
    const message = "validations or auditAnnotations must contain at least one item";
    r.required(SPEC.child("validations"), message);
    r.required(SPEC.child("auditAnnotations"), message);
  }
  validations.forEach((validation: Obj, i: number) => {
    const path = SPEC.child("validations").index(i);
    if ((validation.expression ?? "").trim() === "") {
      r.required(path.child("expression"), "expression is not specified");
    }
    const message: string = validation.message ?? "";
    if (message !== "" && message.trim() === "") {
      r.invalid(path.child("message"), message, "message must be non-empty if specified");
    } else if (message.includes("\n")) {
      r.invalid(path.child("message"), message, "message must not contain line breaks");
    }
    oneOf(validation.reason, REASONS, path.child("reason"), r);
  });
  return r.causes;
}

function validateMutatingPolicy(policy: Stored): Cause[] {
  const r = new Report();
  const { spec } = policy;
  validatePolicy(spec, r);
  const mutations: readonly Obj[] = spec.mutations ?? [];
  if (mutations.length === 0) {
    r.required(SPEC.child("mutations"), "mutations must contain at least one item");
  }
  mutations.forEach((mutation, i) => {
    const path = SPEC.child("mutations").index(i);
    const type = mutation.patchType ?? "";
    if (type === "") r.required(path.child("patchType"));
    else oneOf(type, ["ApplyConfiguration", "JSONPatch"], path.child("patchType"), r);
    const field = type === "JSONPatch" ? "jsonPatch" : "applyConfiguration";
    if (type !== "" && !mutation[field]?.expression?.trim()) {
      r.required(path.child(field, "expression"), "expression is not specified");
    }
  });
  if (!spec.reinvocationPolicy) r.required(SPEC.child("reinvocationPolicy"));
  else oneOf(spec.reinvocationPolicy, ["IfNeeded", "Never"], SPEC.child("reinvocationPolicy"), r);
  return r.causes;
}

function validateParamRef(param: Obj, path: Path, r: Report): void {
  if (param.name && param.selector) {
    r.forbidden(path.child("name"), "name and selector are mutually exclusive");
  } else if (!param.name && !param.selector) {
    r.required(path, "one of name or selector must be specified");
  }
  if (param.selector) r.add(checkLabelSelector(`${path.child("selector")}`, param.selector));
  const action = path.child("parameterNotFoundAction");
  if (!isSet(param.parameterNotFoundAction)) r.required(action);
  else oneOf(param.parameterNotFoundAction, ["Allow", "Deny"], action, r);
}

function validateBinding(spec: Obj, r: Report): void {
  if (!spec.policyName) r.required(SPEC.child("policyName"));
  else {r.check(
      nameIsDnsSubdomain(spec.policyName, false),
      SPEC.child("policyName"),
      spec.policyName,
    );}
  if (spec.paramRef) validateParamRef(spec.paramRef, SPEC.child("paramRef"), r);
  if (spec.matchResources) {
    validateMatchResources(spec.matchResources, SPEC.child("matchResources"), r);
  }
}

function validateValidatingBinding(binding: Stored): Cause[] {
  const r = new Report();
  validateBinding(binding.spec, r);
  const path = SPEC.child("validationActions");
  const actions: string[] = binding.spec.validationActions ?? [];
  if (actions.length === 0) r.required(path);
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
  return r.causes;
}

/** Hooks by kind. */
export const hooks: Record<string, KindHooks> = {
  MutatingWebhookConfiguration: webhooks,
  ValidatingWebhookConfiguration: webhooks,
  ValidatingAdmissionPolicy: {
    ...statusHooks({ generation: true }),
    defaults: defaultPolicy,
    validate: validateValidatingPolicy,
    validateName: nameIsDnsSubdomain,
  },
  ValidatingAdmissionPolicyBinding: {
    ...counted,
    defaults: defaultBinding,
    validate: validateValidatingBinding,
  },
  MutatingAdmissionPolicy: {
    ...counted,
    defaults: defaultPolicy,
    validate: validateMutatingPolicy,
  },
  MutatingAdmissionPolicyBinding: {
    ...counted,
    defaults: defaultBinding,
    validate(binding) {
      const r = new Report();
      validateBinding(binding.spec, r);
      return r.causes;
    },
  },
};

// --- columns ---------------------------------------------------------------------------------------------

const webhookColumns: Column[] = [
  NAME_COLUMN,
  column("Webhooks", (object) => (object.webhooks ?? []).length, {
    type: "integer",
    description: "How many webhooks it has",
  }),
  AGE_COLUMN,
];

const PARAM_KIND = column(
  "ParamKind",
  ({ spec }) =>
    spec?.paramKind ? `${spec.paramKind.apiVersion ?? ""}/${spec.paramKind.kind ?? ""}` : "<unset>",
  {
    description: "The kind that parameters are of",
  },
);

function policyColumns(name: string, field: string): Column[] {
  return [
    NAME_COLUMN,
    column(name, ({ spec }) => (spec?.[field] ?? []).length, { type: "integer" }),
    PARAM_KIND,
    AGE_COLUMN,
  ];
}

const bindingColumns: Column[] = [
  NAME_COLUMN,
  column("PolicyName", ({ spec }) => spec?.policyName ?? "", { description: "The policy" }),
  column("ParamRef", ({ spec }) => {
    const param = spec?.paramRef;
    if (param?.name) return `${param.namespace || "*"}/${param.name}`;
    return param?.selector ? JSON.stringify(param.selector) : "<unset>";
  }, { description: "Its parameters" }),
  AGE_COLUMN,
];

/** Columns by kind. */
export const columns: Record<string, Column[]> = {
  MutatingWebhookConfiguration: webhookColumns,
  ValidatingWebhookConfiguration: webhookColumns,
  ValidatingAdmissionPolicy: policyColumns("Validations", "validations"),
  ValidatingAdmissionPolicyBinding: bindingColumns,
  MutatingAdmissionPolicy: policyColumns("Mutations", "mutations"),
  MutatingAdmissionPolicyBinding: bindingColumns,
};

/** Selectable fields by kind. */
export const fields: Record<string, Kind["fields"]> = {};
