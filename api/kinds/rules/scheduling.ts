/** Rules of the scheduling group: PriorityClasses (upstream's `pkg/apis/scheduling`). */

import type {
  Cause,
  Column,
  DeepReadonly,
  Kind,
  KindHooks,
  KubeObject,
} from "../../machinery/types.ts";
import { AGE_COLUMN, column, NAME_COLUMN } from "./cells.ts";
import { isSet, METADATA, Path, Report } from "./report.ts";

const USER_PRIORITY_MAX = 1_000_000_000;
const SYSTEM_PREFIX = "system-";
/** From this priority on nobody evicts a pod to make room. */
export const SYSTEM_CRITICAL = 2_000_000_000;
/** The two classes that Kubernetes itself brings. */
export const SYSTEM_CLASSES = {
  "system-node-critical": SYSTEM_CRITICAL + 1_000,
  "system-cluster-critical": SYSTEM_CRITICAL,
};
const PREEMPTION = ["Never", "PreemptLowerPriority"];

function validatePriorityClass(object: DeepReadonly<KubeObject>): Cause[] {
  const r = new Report();
  const { name = "" } = object.metadata;
  const { value = 0, globalDefault = false, preemptionPolicy } = object;
  if (name.startsWith(SYSTEM_PREFIX)) {
    const known = (SYSTEM_CLASSES as Record<string, number>)[name];
    const problem = known === undefined
      ? `${name} is not a known system priority class`
      : known !== value
      ? `value of ${name} PriorityClass must be ${known}`
      : globalDefault
      ? `globalDefault of ${name} PriorityClass must be false`
      : "";
    if (problem) {
      const text =
        "priority class names with 'system-' prefix are reserved for system use only. error:";
      r.forbidden(METADATA.child("name"), `${text} ${problem}`);
    }
  } else if (value > USER_PRIORITY_MAX) {
    const text = `maximum allowed value of a user defined priority is ${USER_PRIORITY_MAX}`;
    r.forbidden(new Path("value"), text);
  }
  if (preemptionPolicy === "") r.required(new Path("preemptionPolicy"));
  else if (isSet(preemptionPolicy) && !PREEMPTION.includes(preemptionPolicy)) {
    r.notSupported(new Path("preemptionPolicy"), preemptionPolicy, [
      "PreemptLowerPriority",
      "Never",
    ], true);
  }
  return r.causes;
}

/** Hooks by kind. */
export const hooks: Record<string, KindHooks> = {
  PriorityClass: {
    defaults(object) {
      object.preemptionPolicy ??= "PreemptLowerPriority";
    },
    prepareCreate(object) {
      object.metadata.generation = 1;
    },
    validate: validatePriorityClass,
    validateUpdate(object, old) {
      const r = new Report();
      if ((object.value ?? 0) !== (old.value ?? 0)) {
        r.forbidden(new Path("value"), "may not be changed in an update.");
      }
      if ((object.preemptionPolicy ?? "") !== (old.preemptionPolicy ?? "")) {
        r.invalid(
          new Path("preemptionPolicy"),
          object.preemptionPolicy ?? null,
          "field is immutable",
        );
      }
      return r.causes;
    },
  },
};

/** Columns by kind. */
export const columns: Record<string, Column[]> = {
  PriorityClass: [
    NAME_COLUMN,
    column("Value", (o) => o.value ?? 0, { type: "integer" }),
    column("Global-Default", (o) => o.globalDefault ?? false, { type: "boolean" }),
    AGE_COLUMN,
    column("PreemptionPolicy", (o) => o.preemptionPolicy ?? ""),
  ],
};

/** Selectable fields by kind. */
export const fields: Record<string, Kind["fields"]> = {};
