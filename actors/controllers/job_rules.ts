/**
 * The rules by which a Job succeeds or fails: pod failure policy, success policy, limits and deadlines,
 * in upstream's words. Pure.
 *
 * Behaviour matched: pkg/controller/job (job_controller.go, pod_failure_policy.go, success_policy.go), v1.36.
 */
import { failureCountOf, parseIndexes } from "./job_indexes.ts";
import { type Condition, conditionOf, type Obj, timeOf } from "./objects.ts";

/** Why a Job ends, before it has: `SuccessCriteriaMet` or `FailureTarget`. */
export interface Verdict {
  type: "SuccessCriteriaMet" | "FailureTarget";
  reason: string;
  message: string;
}

export const BACKOFF_MS_MIN = 10_000;
export const BACKOFF_MS_MAX = 10 * 60_000;

export function isIndexed(job: Obj): boolean {
  return job.spec.completionMode === "Indexed";
}

/** The condition that says it is over. */
export function finishedCondition(job: Obj): Condition | undefined {
  return (job.status?.conditions as Condition[] | undefined)?.find(({ type, status }) =>
    (type === "Complete" || type === "Failed") && status === "True"
  );
}

/** A verdict that was written before and stands. */
export function standingVerdict(job: Obj): Verdict | undefined {
  for (const type of ["SuccessCriteriaMet", "FailureTarget"] as const) {
    const condition = conditionOf(job.status, type);
    if (condition?.status === "True") {
      return { type, reason: condition.reason ?? "", message: condition.message ?? "" };
    }
  }
  return undefined;
}

function failure(reason: string, message: string): Verdict {
  return { type: "FailureTarget", reason, message };
}

/** Pods are only replaced when they failed, not while they terminate. */
export function onlyReplacesFailed(job: Obj): boolean {
  return job.spec.podReplacementPolicy === "Failed";
}

/** Whether a pod counts as failed by now. */
export function hasFailed(job: Obj, pod: Obj): boolean {
  if (pod.status?.phase === "Failed") return true;
  return !onlyReplacesFailed(job) && pod.metadata.deletionTimestamp !== undefined &&
    pod.status?.phase !== "Succeeded";
}

// --- pod failure policy -----------------------------------------------------------------------------

type Action = "FailJob" | "FailIndex" | "Ignore" | "Count";

/** What the policy says of a failed pod, and for FailJob why. */
export function policyFor(job: Obj, pod: Obj): { action: Action; message?: string } {
  const rules = job.spec.podFailurePolicy?.rules ?? [];
  if (pod.status?.phase !== "Failed") return { action: "Count" };
  for (const [i, rule] of rules.entries()) {
    if (rule.action === "FailIndex" && job.spec.backoffLimitPerIndex === undefined) continue;
    const why = rule.onExitCodes
      ? exitCodeMatch(rule.onExitCodes, pod)
      : conditionMatch(rule.onPodConditions ?? [], pod);
    if (why === undefined) continue;
    const name = `${pod.metadata.namespace}/${pod.metadata.name}`;
    const message = rule.onExitCodes
      ? `Container ${why} for pod ${name} failed with exit code ${
        exitCodeOf(pod, why)
      } matching ${rule.action} rule at index ${i}`
      : `Pod ${name} has condition ${why} matching ${rule.action} rule at index ${i}`;
    return { action: rule.action, message };
  }
  return { action: "Count" };
}

interface Terminated {
  name: string;
  state?: { terminated?: { exitCode: number } };
}

function endedContainers(pod: Obj): Terminated[] {
  return [...(pod.status?.containerStatuses ?? []), ...(pod.status?.initContainerStatuses ?? [])]
    .filter((status: Terminated) => status.state?.terminated);
}

function exitCodeOf(pod: Obj, container: string): number {
  const status = endedContainers(pod).find(({ name }) => name === container);
  return status?.state?.terminated?.exitCode ?? 0;
}

/** The container whose exit code the rule names. */
function exitCodeMatch(
  rule: { containerName?: string; operator: string; values: readonly number[] },
  pod: Obj,
): string | undefined {
  for (const { name, state } of endedContainers(pod)) {
    if (rule.containerName && rule.containerName !== name) continue;
    const { exitCode } = state!.terminated!;
    if (exitCode === 0) continue;
    const listed = rule.values.includes(exitCode);
    if (rule.operator === "In" ? listed : !listed) return name;
  }
  return undefined;
}

function conditionMatch(
  patterns: readonly { type: string; status?: string }[],
  pod: Obj,
): string | undefined {
  for (const { type, status } of patterns) {
    if (conditionOf(pod.status, type)?.status === (status ?? "True")) return type;
  }
  return undefined;
}

// --- verdicts ---------------------------------------------------------------------------------------

/** What is known of a Job's pods. */
export interface Counts {
  succeeded: number;
  failed: number;
  active: readonly Obj[];
  /** Of Indexed Jobs. */
  completed: ReadonlySet<number>;
  failedIndexes: ReadonlySet<number>;
  /** A failed pod made the policy say FailJob. */
  policyMessage?: string;
}

/** Whether the Job is over, judged before pods are made or taken. */
export function verdictOf(job: Obj, counts: Counts, now: number): Verdict | undefined {
  const standing = standingVerdict(job);
  if (standing) return standing;
  if (counts.policyMessage) return failure("PodFailurePolicy", counts.policyMessage);
  if (counts.failed > (job.spec.backoffLimit ?? 6) || restartedTooOften(job, counts.active)) {
    return failure("BackoffLimitExceeded", "Job has reached the specified backoff limit");
  }
  if (pastDeadline(job, now)) {
    return failure("DeadlineExceeded", "Job was active longer than specified deadline");
  }
  if (!isIndexed(job)) return undefined;
  const met = successPolicyMet(job, counts.completed);
  if (met) return met;
  const failedMax = job.spec.maxFailedIndexes;
  if (failedMax !== undefined && counts.failedIndexes.size > failedMax) {
    return failure(
      "MaxFailedIndexesExceeded",
      "Job has exceeded the specified maximal number of failed indexes",
    );
  }
  const done = counts.failedIndexes.size + counts.completed.size;
  if (counts.failedIndexes.size > 0 && done >= job.spec.completions) {
    return failure("FailedIndexes", "Job has failed indexes");
  }
  return undefined;
}

/** Whether enough pods succeeded. */
export function completionsReached(job: Obj, succeeded: number, active: number): boolean {
  const { completions } = job.spec;
  if (completions === undefined || completions === null) return succeeded > 0 && active === 0;
  return succeeded >= completions;
}

/** Pods that restart in place count their restarts against the limit. */
function restartedTooOften(job: Obj, active: readonly Obj[]): boolean {
  if (job.spec.template.spec.restartPolicy !== "OnFailure") return false;
  const limit = job.spec.backoffLimit ?? 6;
  let restarts = 0;
  for (const pod of active) {
    const phase = pod.status?.phase;
    if (phase !== "Running" && phase !== "Pending") continue;
    const all = [
      ...(pod.status.initContainerStatuses ?? []),
      ...(pod.status.containerStatuses ?? []),
    ];
    for (const status of all) restarts += status.restartCount ?? 0;
  }
  return limit === 0 ? restarts > 0 : restarts >= limit;
}

function pastDeadline(job: Obj, now: number): boolean {
  const { activeDeadlineSeconds, suspend } = job.spec;
  const { startTime } = job.status ?? {};
  if (activeDeadlineSeconds === undefined || !startTime || suspend) return false;
  return now - timeOf(startTime) >= activeDeadlineSeconds * 1000;
}

/** When the deadline is due, in ms from now. */
export function deadlineAfterMs(job: Obj, startTime: string | undefined, now: number) {
  const { activeDeadlineSeconds, suspend } = job.spec;
  if (activeDeadlineSeconds === undefined || !startTime || suspend) return undefined;
  return Math.max(1, timeOf(startTime) + activeDeadlineSeconds * 1000 - now);
}

function successPolicyMet(job: Obj, completed: ReadonlySet<number>): Verdict | undefined {
  for (const [i, rule] of (job.spec.successPolicy?.rules ?? []).entries()) {
    let matched = completed.size;
    let wanted = rule.succeededCount;
    if (rule.succeededIndexes !== undefined) {
      const indexes = parseIndexes(rule.succeededIndexes, job.spec.completions);
      matched = [...indexes].filter((index) => completed.has(index)).length;
      wanted ??= indexes.size;
    }
    if (wanted !== undefined && matched >= wanted) {
      return {
        type: "SuccessCriteriaMet",
        reason: "SuccessPolicy",
        message: `Matched rules at index ${i}`,
      };
    }
  }
  return undefined;
}

/** Whether a failed pod means that its index failed for good. */
export function indexIsLost(job: Obj, pod: Obj): boolean {
  const limit = job.spec.backoffLimitPerIndex;
  if (limit === undefined) return false;
  const { action } = policyFor(job, pod);
  if (action === "FailIndex") return true;
  return action !== "Ignore" && failureCountOf(pod) >= limit;
}
