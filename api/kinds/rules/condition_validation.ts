/** Checks of conditions of the common form (upstream's `ValidateConditions` of apimachinery). */

import { byteLength, isQualifiedName } from "../../machinery/names.ts";
import type { Path, Report } from "./report.ts";

// deno-lint-ignore no-explicit-any -- objects are decoded JSON; the schema walk has checked their types
type Obj = any;

const STATUSES = ["False", "True", "Unknown"];
const REASON_BYTES_MAX = 1024;
const MESSAGE_BYTES_MAX = 32 * 1024;
const REASON = /^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$/;
const REASON_TEXT =
  "a condition reason must start with alphabetic character, optionally followed by a string of " +
  "alphanumeric characters or '_,:', and must end with an alphanumeric character or '_' (e.g. 'my_name',  " +
  "or 'MY_NAME',  or 'MyName',  or 'ReasonA,ReasonB',  or 'ReasonA:ReasonB', regex used for validation is " +
  "'[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?')";

/** Checks a list of conditions. */
export function validateConditions(conditions: Obj[] | undefined, path: Path, r: Report): void {
  const seen = new Set<string>();
  conditions?.forEach((condition, i) => {
    const { type = "", status = "", observedGeneration: generation = 0 } = condition;
    const { lastTransitionTime, reason = "", message = "" } = condition;
    const at = path.index(i);
    if (seen.has(type)) r.duplicate(at.child("type"), type);
    seen.add(type);
    r.check(isQualifiedName(type), at.child("type"), type);
    if (!STATUSES.includes(status)) r.notSupported(at.child("status"), status, STATUSES);
    if (generation < 0) {
      const text = "must be greater than or equal to zero";
      r.invalid(at.child("observedGeneration"), generation, text);
    }
    if (!lastTransitionTime) r.required(at.child("lastTransitionTime"));
    if (reason === "") r.required(at.child("reason"));
    else {
      if (!REASON.test(reason)) r.invalid(at.child("reason"), reason, REASON_TEXT);
      if (byteLength(reason) > REASON_BYTES_MAX) r.tooLong(at.child("reason"), REASON_BYTES_MAX);
    }
    if (byteLength(message) > MESSAGE_BYTES_MAX) r.tooLong(at.child("message"), MESSAGE_BYTES_MAX);
  });
}
