/** Rules of the policy group: PodDisruptionBudgets (upstream's `pkg/apis/policy`). */

import { validateConditions } from "./condition_validation.ts";
import { internalValue } from "./internal_value.ts";
import type {
  Cause,
  Column,
  DeepReadonly,
  Kind,
  KindHooks,
  KubeObject,
} from "../../machinery/types.ts";
import { checkLabelSelector } from "../../machinery/selectors.ts";
import { AGE_COLUMN, column, NAME_COLUMN } from "./cells.ts";
import { statusHooks } from "./prepare.ts";
import {
  nonNegativeStatus,
  validateAtMost100,
  validateIntOrPercent,
} from "./replica_validation.ts";
import { isSet, Report, SPEC, STATUS } from "./report.ts";

// deno-lint-ignore no-explicit-any -- objects are decoded JSON; the schema walk has checked their types
type Obj = any;

const POLICIES = ["AlwaysAllow", "IfHealthyBudget"];

function validateBudget(budget: DeepReadonly<KubeObject>): Cause[] {
  const r = new Report();
  const spec: Obj = budget.spec ?? {};
  if (isSet(spec.minAvailable) && isSet(spec.maxUnavailable)) {
    r.invalid(
      SPEC,
      internalValue("PodDisruptionBudgetSpec", spec),
      "minAvailable and maxUnavailable cannot be both set",
    );
  }
  for (const field of ["minAvailable", "maxUnavailable"]) {
    const value = spec[field];
    if (!isSet(value)) continue;
    validateIntOrPercent(value, SPEC.child(field), r);
    validateAtMost100(value, SPEC.child(field), r);
  }
  r.add(checkLabelSelector(`${SPEC.child("selector")}`, spec.selector));
  const policy = spec.unhealthyPodEvictionPolicy;
  if (isSet(policy) && !POLICIES.includes(policy)) {
    r.notSupported(SPEC.child("unhealthyPodEvictionPolicy"), policy, POLICIES);
  }
  return r.causes;
}

function validateBudgetStatus(budget: DeepReadonly<KubeObject>): Cause[] {
  const r = new Report();
  const status: Obj = budget.status ?? {};
  validateConditions(status.conditions, STATUS.child("conditions"), r);
  nonNegativeStatus(
    status,
    ["disruptionsAllowed", "currentHealthy", "desiredHealthy", "expectedPods"],
    r,
  );
  return r.causes;
}

/** Hooks by kind. */
export const hooks: Record<string, KindHooks> = {
  PodDisruptionBudget: {
    ...statusHooks({
      generation: true,
      status: () => ({
        disruptionsAllowed: 0,
        currentHealthy: 0,
        desiredHealthy: 0,
        expectedPods: 0,
      }),
    }),
    validate: validateBudget,
    validateUpdate: (budget, _old, context) =>
      context.subresource === "status" ? validateBudgetStatus(budget) : validateBudget(budget),
  },
};

/** Columns by kind. */
export const columns: Record<string, Column[]> = {
  PodDisruptionBudget: [
    NAME_COLUMN,
    column("Min Available", (o) => String(o.spec?.minAvailable ?? "N/A")),
    column("Max Unavailable", (o) => String(o.spec?.maxUnavailable ?? "N/A")),
    column("Allowed Disruptions", (o) => o.status?.disruptionsAllowed ?? 0, { type: "integer" }),
    AGE_COLUMN,
  ],
};

/** Selectable fields by kind. */
export const fields: Record<string, Kind["fields"]> = {};
