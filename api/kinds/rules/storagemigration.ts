/** Rules of the storagemigration.k8s.io group (upstream's `pkg/apis/storagemigration/validation`). */

import type { Cause, DeepReadonly, KindHooks, KubeObject } from "../../machinery/types.ts";
import { isDns1035Label, isDns1123Subdomain } from "../../machinery/names.ts";
import { semanticEqual } from "./equality.ts";
import { statusHooks } from "./prepare.ts";
import { Report, SPEC, STATUS } from "./report.ts";
import { validateConditions } from "./condition_validation.ts";

const RESOURCE = SPEC.child("resource");

function validate({ spec }: DeepReadonly<KubeObject>): Cause[] {
  const r = new Report();
  const { resource = "", group = "" } = spec?.resource ?? {};
  const resourceAt = RESOURCE.child("resource");
  if (resource === "") r.required(resourceAt, "resource is required to be set");
  else {
    const problems = isDns1035Label(resource);
    if (problems.length > 0) r.invalid(resourceAt, resource, problems.join(","));
  }
  const problems = group === "" ? [] : isDns1123Subdomain(group);
  if (problems.length > 0) r.invalid(RESOURCE.child("group"), group, problems.join(","));
  return r.causes;
}

/** Hooks by kind. */
export const hooks: Record<string, KindHooks> = {
  StorageVersionMigration: {
    ...statusHooks(),
    validate,
    validateUpdate(object, old, context) {
      const r = new Report();
      if (context.subresource === "status") {
        validateConditions(object.status?.conditions, STATUS.child("conditions"), r);
        return r.causes;
      }
      r.add(validate(object));
      if (!semanticEqual(object.spec, old.spec)) {
        const { group = "", resource = "" } = object.spec?.resource ?? {};
        r.invalid(SPEC, { Resource: { group, resource } }, "field is immutable");
      }
      return r.causes;
    },
  },
};

/** Columns by kind: the ordinary ones. */
export const columns = {};

/** Selectable fields by kind: none. */
export const fields = {};
