/**
 * Rules of the admissionregistration group (upstream's `pkg/apis/admissionregistration`): defaults, what a
 * write may touch, columns; webhooks' validation is in `admission_webhooks.ts`, policies' in
 * `admission_policies.ts`.
 */

import type {
  Column,
  DeepReadonly,
  Kind,
  KindContext,
  KindHooks,
  KubeObject,
} from "../../machinery/types.ts";
import { loadExpressions } from "../../machinery/expressions.ts";
import { nameIsDnsSubdomain } from "../../machinery/names.ts";
import {
  validateMutatingBinding,
  validateMutatingPolicy,
  validateMutatingPolicyUpdate,
  validateValidatingBinding,
  validateValidatingPolicy,
  validateValidatingPolicyUpdate,
} from "./admission_policies.ts";
import { validateWebhooks, validateWebhooksUpdate } from "./admission_webhooks.ts";
import { AGE_COLUMN, column, NAME_COLUMN } from "./cells.ts";
import { keep, raiseGeneration, statusHooks } from "./prepare.ts";

// deno-lint-ignore no-explicit-any -- objects are decoded JSON; the schema walk has checked their types
type Obj = any;
type Stored = DeepReadonly<KubeObject>;

const TIMEOUT_DEFAULT = 10;
const SERVICE_PORT = 443;

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
  validateUpdate: validateWebhooksUpdate,
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

/** Hooks by kind. */
export const hooks: Record<string, KindHooks> = {
  MutatingWebhookConfiguration: webhooks,
  ValidatingWebhookConfiguration: webhooks,
  ValidatingAdmissionPolicy: {
    ...statusHooks({ generation: true }),
    load: loadExpressions,
    defaults: defaultPolicy,
    validate: validateValidatingPolicy,
    validateUpdate: validateValidatingPolicyUpdate,
    validateName: nameIsDnsSubdomain,
  },
  ValidatingAdmissionPolicyBinding: {
    ...counted,
    defaults: defaultBinding,
    validate: validateValidatingBinding,
    validateUpdate: validateValidatingBinding,
  },
  MutatingAdmissionPolicy: {
    ...counted,
    load: loadExpressions,
    defaults: defaultPolicy,
    validate: validateMutatingPolicy,
    validateUpdate: validateMutatingPolicyUpdate,
  },
  MutatingAdmissionPolicyBinding: {
    ...counted,
    defaults: defaultBinding,
    validate: validateMutatingBinding,
    validateUpdate: validateMutatingBinding,
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
