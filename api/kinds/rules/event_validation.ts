/**
 * Validation of Events (upstream's `pkg/apis/core/validation/events.go`): old ones only name their object's
 * namespace rightly, ones with an eventTime also say who reports what.
 */

import type { Cause, DeepReadonly, KubeObject } from "../../machinery/types.ts";
import { byteLength, isQualifiedName } from "../../machinery/names.ts";
import { isSet, Path, Report } from "./report.ts";

type Stored = DeepReadonly<KubeObject>;

const FIELD_BYTES_MAX = 128;
const NOTE_BYTES_MAX = 1024;

/** The names that the two API groups give to the same fields. */
export interface EventNames {
  object: string;
  message: string;
}

/** Of the core group. */
export const CORE_EVENT: EventNames = { object: "involvedObject", message: "message" };

/** Checks that an event is about an object of its own namespace and complete. */
export function validateEventFields(event: Stored, names: EventNames, r: Report): void {
  const about = event[names.object]?.namespace ?? "";
  const namespace = event.metadata.namespace ?? "";
  const at = new Path("involvedObject").child("namespace");
  const mismatch = "does not match event.namespace";
  if (!isSet(event.eventTime)) {
    const good = about === "" ? namespace === "" || namespace === "default" : about === namespace;
    if (!good) r.invalid(at, about, mismatch);
    return;
  }
  if (about === "" && namespace !== "default" && namespace !== "kube-system") {
    r.invalid(at, about, mismatch);
  }
  const controller = event.reportingComponent ?? event.reportingController ?? "";
  const controllerAt = new Path("reportingController");
  if (controller === "") r.required(controllerAt);
  r.check(isQualifiedName(controller), controllerAt, controller);
  for (const field of ["reportingInstance", "action", "reason"]) {
    const value = event[field] ?? "";
    if (value === "") r.required(new Path(field));
    if (byteLength(value) > FIELD_BYTES_MAX) {
      r.invalid(new Path(field), "", `can have at most ${FIELD_BYTES_MAX} characters`);
    }
  }
  if (byteLength(event[names.message] ?? "") > NOTE_BYTES_MAX) {
    r.invalid(new Path("message"), "", `can have at most ${NOTE_BYTES_MAX} characters`);
  }
}

/** Checks an Event of the core group, new or changed. */
export function validateEvent(event: Stored): Cause[] {
  const r = new Report();
  validateEventFields(event, CORE_EVENT, r);
  return r.causes;
}
