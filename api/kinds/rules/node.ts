/** Rules of the node group: RuntimeClasses (upstream's `pkg/apis/node`). */

import { internalValue } from "./internal_value.ts";
import type {
  Cause,
  Column,
  DeepReadonly,
  Kind,
  KindHooks,
  KubeObject,
} from "../../machinery/types.ts";
import { nameIsDnsLabel } from "../../machinery/names.ts";
import { AGE_COLUMN, column, NAME_COLUMN } from "./cells.ts";
import { validateLabels } from "./meta.ts";
import { validateTolerations } from "./pod_affinity.ts";
import { nodeLabelText } from "./pod_warnings.ts";
import { validateResources } from "./quantity_validation.ts";
import { Path, Report } from "./report.ts";

// deno-lint-ignore no-explicit-any -- objects are decoded JSON; the schema walk has checked their types
type Obj = any;

const HANDLER = new Path("handler");

function validateRuntimeClass(object: DeepReadonly<KubeObject>): Cause[] {
  const r = new Report();
  const { handler = "", overhead, scheduling } = object;
  if (handler === "") r.required(HANDLER);
  else r.check(nameIsDnsLabel(handler, false), HANDLER, handler);
  if (overhead) {
    validateResources({ limits: overhead.podFixed }, new Path("overhead"), r, new Set());
  }
  if (!scheduling) return r.causes;
  const at = new Path("scheduling");
  if (scheduling.nodeSelector) {
    validateLabels(scheduling.nodeSelector, at.child("nodeSelector"), r);
  }
  const tolerations = (scheduling.tolerations ?? []) as Obj[];
  validateTolerations(tolerations, at.child("tolerations"), r);
  const seen = new Set<string>();
  tolerations.forEach((toleration, i) => {
    const { key = "", operator = "", value = "", effect = "" } = toleration;
    const identity = JSON.stringify([key, operator, value, effect]);
    if (seen.has(identity)) {
      r.duplicate(at.child("tolerations").index(i), internalValue("Toleration", toleration));
    }
    seen.add(identity);
  });
  return r.causes;
}

/** Hooks by kind. */
export const hooks: Record<string, KindHooks> = {
  RuntimeClass: {
    warnings: ({ scheduling }) =>
      Object.keys(scheduling?.nodeSelector ?? {}).flatMap((key) => {
        const text = nodeLabelText(key);
        return text ? [`scheduling.nodeSelector: ${text}`] : [];
      }),
    validate: validateRuntimeClass,
    validateUpdate(object, old) {
      const r = new Report();
      const { handler } = object;
      r.add(validateRuntimeClass(object));
      if (handler !== old.handler) r.invalid(HANDLER, handler ?? "", "field is immutable");
      return r.causes;
    },
  },
};

/** Columns by kind. */
export const columns: Record<string, Column[]> = {
  RuntimeClass: [NAME_COLUMN, column("Handler", (o) => o.handler ?? ""), AGE_COLUMN],
};

/** Selectable fields by kind. */
export const fields: Record<string, Kind["fields"]> = {};
