/**
 * Validation of a Job's status (upstream's `validateJobStatus` with the options of
 * `pkg/registry/batch/job`): a finished Job stays finished and its counters only grow.
 */

import type { DeepReadonly, KubeObject } from "../../machinery/types.ts";
import { parseIndexes, sharedIndex } from "./job_indexes.ts";
import { nonNegativeStatus } from "./replica_validation.ts";
import { isSet, type Report, STATUS } from "./report.ts";

// deno-lint-ignore no-explicit-any -- objects are decoded JSON; the schema walk has checked their types
type Obj = any;
type Stored = DeepReadonly<KubeObject>;

function isTrue(status: Obj, type: string): boolean {
  return (status?.conditions ?? []).some((c: Obj) => c.type === type && c.status === "True");
}

/** A cause about conditions, whose value upstream does not print. */
function condition(text: string, r: Report): void {
  const field = `${STATUS.child("conditions")}`;
  r.causes.push({ reason: "FieldValueInvalid", field, message: `Invalid value: ${text}` });
}

/** Checks the status of a Job against the stored one. */
export function validateJobStatus(job: Stored, old: Stored, r: Report): void {
  const status: Obj = job.status ?? {}, before: Obj = old.status ?? {}, spec: Obj = job.spec ?? {};
  nonNegativeStatus(status, ["active", "succeeded", "failed", "ready", "terminating"], r);
  validateUncounted(status.uncountedTerminatedPods, r);
  validateConditions(status, before, r);
  validateTimes(status, before, spec, r);
  validateIndexes(status, spec, r);
  if (isSet(status.ready) && status.ready > (status.active ?? 0)) {
    r.invalid(STATUS.child("ready"), status.ready, "cannot set more ready pods than active");
  }
  for (const name of ["failed", "succeeded"]) {
    if ((status[name] ?? 0) >= (before[name] ?? 0)) continue;
    r.invalid(STATUS.child(name), status[name] ?? 0, `cannot decrease the ${name} counter`);
  }
}

function validateUncounted(uncounted: Obj, r: Report): void {
  if (!isSet(uncounted)) return;
  const seen = new Set<string>();
  for (const list of ["succeeded", "failed"]) {
    uncounted[list]?.forEach((uid: string, i: number) => {
      const at = STATUS.child("uncountedTerminatedPods", list).index(i);
      if (uid === "") r.invalid(at, uid, "must not be empty");
      else if (seen.has(uid)) r.duplicate(at, uid);
      else seen.add(uid);
    });
  }
}

function validateConditions(status: Obj, before: Obj, r: Report): void {
  const complete = isTrue(status, "Complete"), failed = isTrue(status, "Failed");
  const target = isTrue(status, "FailureTarget"), met = isTrue(status, "SuccessCriteriaMet");
  if (complete && failed) condition("cannot set Complete=True and Failed=true conditions", r);
  if (complete && target) {
    condition("cannot set Complete=True and FailureTarget=true conditions", r);
  }
  if (failed && !isTrue(before, "Failed") && !target) {
    condition("cannot set Failed=True condition without the FailureTarget=true condition", r);
  }
  if (complete && !isTrue(before, "Complete") && !met) {
    condition(
      "cannot set Complete=True condition without the SuccessCriteriaMet=true condition",
      r,
    );
  }
  if (met && failed) condition("cannot set SuccessCriteriaMet=True and Failed=true conditions", r);
  if (met && target) {
    condition("cannot set SuccessCriteriaMet=True and FailureTarget=true conditions", r);
  }
  for (const type of ["Failed", "Complete", "FailureTarget"]) {
    if (isTrue(before, type) && !isTrue(status, type)) {
      condition(`cannot disable the terminal ${type}=True condition`, r);
    }
  }
  if (isTrue(before, "SuccessCriteriaMet") && !met) {
    condition("cannot disable the SuccessCriteriaMet=True condition", r);
  }
  if (complete || failed) validateFinished(status, r);
}

function validateFinished(status: Obj, r: Report): void {
  const { active = 0, startTime, terminating, uncountedTerminatedPods: uncounted } = status;
  if (active > 0) r.invalid(STATUS.child("active"), active, "active>0 is invalid for finished job");
  if (!isSet(startTime)) {
    r.required(STATUS.child("startTime"), "startTime is required for finished job");
  }
  if ((uncounted?.failed?.length ?? 0) + (uncounted?.succeeded?.length ?? 0) > 0) {
    const text = "uncountedTerminatedPods needs to be empty for finished job";
    r.invalid(STATUS.child("uncountedTerminatedPods"), uncounted, text);
  }
  if (terminating > 0) {
    r.invalid(
      STATUS.child("terminating"),
      terminating,
      "terminating>0 is invalid for finished job",
    );
  }
}

function validateTimes(status: Obj, before: Obj, spec: Obj, r: Report): void {
  const { startTime, completionTime } = status;
  const complete = isTrue(status, "Complete");
  const at = STATUS.child("completionTime");
  if (isSet(completionTime) && !complete) {
    const text = "cannot set completionTime when there is no Complete=True condition";
    r.invalid(at, completionTime, text);
  }
  if (!isSet(completionTime) && complete) {
    r.required(at, "completionTime is required for Complete jobs");
  }
  if (isSet(startTime) && isSet(completionTime) && completionTime < startTime) {
    r.invalid(at, completionTime, "completionTime cannot be set before startTime");
  }
  if (
    isSet(completionTime) && isSet(before.completionTime) &&
    completionTime !== before.completionTime
  ) {
    r.invalid(at, completionTime, "completionTime cannot be mutated");
  }
  const resumes = isTrue(before, "Suspended") &&
    (status.conditions ?? []).some((c: Obj) => c.type === "Suspended" && c.status === "False");
  if (
    isSet(before.startTime) && before.startTime !== startTime && !spec.suspend && !resumes
  ) {
    const text = "field is immutable for unsuspended job once set";
    r.invalid(STATUS.child("startTime"), startTime ?? null, text);
  }
}

function validateIndexes(status: Obj, spec: Obj, r: Report): void {
  const { completedIndexes = "", failedIndexes } = status;
  const completedAt = STATUS.child("completedIndexes"), failedAt = STATUS.child("failedIndexes");
  if (completedIndexes !== "" && spec.completionMode !== "Indexed") {
    const text = "cannot set non-empty completedIndexes when non-indexed completion mode";
    r.invalid(completedAt, completedIndexes, text);
  }
  if (isSet(failedIndexes) && !isSet(spec.backoffLimitPerIndex)) {
    const text = "cannot set non-null failedIndexes when backoffLimitPerIndex is null";
    r.invalid(failedAt, failedIndexes, text);
  }
  if (!isSet(spec.completions)) return;
  const completed = parseIndexes(completedIndexes, spec.completions);
  if ("problem" in completed) {
    r.invalid(
      completedAt,
      completedIndexes,
      `error parsing completedIndexes: ${completed.problem}`,
    );
  }
  if (!isSet(failedIndexes)) return;
  const failed = parseIndexes(failedIndexes, spec.completions);
  if ("problem" in failed) {
    r.invalid(failedAt, failedIndexes, `error parsing failedIndexes: ${failed.problem}`);
    return;
  }
  if ("problem" in completed) return;
  const shared = sharedIndex(completed.intervals, failed.intervals);
  if (shared === undefined) return;
  r.invalid(
    failedAt,
    failedIndexes,
    `failedIndexes and completedIndexes overlap at index: ${shared}`,
  );
}
