/**
 * How a Job's pods are counted: every pod carries a finalizer until it is. Counting takes three writes, so
 * that a crash between any two counts nothing twice and forgets nothing: its uid goes into the status, its
 * finalizer is removed, its uid becomes a number. Indexed Jobs count indexes, which need no such care.
 *
 * Behaviour matched: pkg/controller/job/job_controller.go (trackJobStatusAndRemoveFinalizers), v1.36.
 */
import { formatTime } from "../../api/machinery/time.ts";
import type { KubeObject } from "../../api/machinery/types.ts";
import {
  type ActorContext,
  allAtOnce,
  isGone,
  JOBS,
  type OwnWrites,
  PODS,
  targetOf,
} from "../runtime/mod.ts";
import { formatIndexes, indexOf, parseIndexes } from "./job_indexes.ts";
import { TRACKING } from "./job_pods.ts";
import {
  finishedCondition,
  hasFailed,
  indexIsLost,
  isIndexed,
  policyFor,
  type Verdict,
} from "./job_rules.ts";
import type { ControllerMetrics } from "./metrics.ts";
import { compact, type Condition, conditionOf, type Obj, sameStatus } from "./objects.ts";
import { isActive } from "./pods.ts";

/** One pass over one Job. */
export interface Pass {
  key: string;
  context: ActorContext;
  job: Obj;
  now: number;
  pods: readonly Obj[];
  metrics: ControllerMetrics;
  /** The controller's writes of pods and of Jobs. */
  writes: OwnWrites;
  statuses: OwnWrites;
}

// --- counting ---------------------------------------------------------------------------------------

/** What a Job's pods came to. */
export interface Tally {
  succeeded: number;
  failed: number;
  completed: Set<number>;
  failedIndexes: Set<number>;
  policyMessage?: string;
  /** Pods that ended and are not in the status yet. */
  newSucceeded: Obj[];
  newFailed: Obj[];
  /** Pods whose end counts for nothing: by policy, or of an index that is done. */
  ignored: Obj[];
}

/** How a Job's end is counted, as upstream's metrics call it. */
export function modeOf(job: Obj): string {
  return isIndexed(job) ? "Indexed" : "NonIndexed";
}

function uncountedOf(job: Obj): { succeeded: string[]; failed: string[] } {
  const { succeeded = [], failed = [] } = job.status?.uncountedTerminatedPods ?? {};
  return { succeeded: [...succeeded], failed: [...failed] };
}

/** How many pods succeeded and failed, those included that are not in the status yet. Pure. */
export function tallyOf({ job, pods }: Pass): Tally {
  const uncounted = uncountedOf(job);
  const completions = job.spec.completions ?? 0;
  const indexed = isIndexed(job);
  const tally: Tally = {
    succeeded: (job.status?.succeeded ?? 0) + uncounted.succeeded.length,
    failed: (job.status?.failed ?? 0) + uncounted.failed.length,
    completed: parseIndexes(indexed ? job.status?.completedIndexes : "", completions),
    failedIndexes: parseIndexes(indexed ? job.status?.failedIndexes : "", completions),
    newSucceeded: [],
    newFailed: [],
    ignored: [],
  };
  for (const pod of pods) {
    if (!pod.metadata.finalizers?.includes(TRACKING)) continue;
    const { uid } = pod.metadata;
    if (uncounted.succeeded.includes(uid) || uncounted.failed.includes(uid)) continue;
    const index = indexed ? indexOf(pod) : undefined;
    if (pod.status?.phase === "Succeeded") {
      if (!indexed) tally.newSucceeded.push(pod);
      else {
        tally.ignored.push(pod);
        if (index !== undefined && index < completions && !tally.failedIndexes.has(index)) {
          tally.completed.add(index);
        }
      }
    } else if (hasFailed(job, pod)) {
      const { action, message } = policyFor(job, pod);
      if (action === "FailJob") tally.policyMessage ??= message;
      if (action === "Ignore") tally.ignored.push(pod);
      else tally.newFailed.push(pod);
      if (index !== undefined && indexIsLost(job, pod) && !tally.completed.has(index)) {
        tally.failedIndexes.add(index);
      }
    }
  }
  tally.failed += tally.newFailed.length;
  tally.succeeded = indexed ? tally.completed.size : tally.succeeded + tally.newSucceeded.length;
  return tally;
}

/**
 * Counts pods that were ended with their Job, before they say how they end: all as failed, or for nothing where the
 * Job had what it wanted.
 */
export function countEnded(
  { job }: Pass,
  tally: Tally,
  { pods, failed }: { pods: readonly Obj[]; failed: boolean },
): void {
  const counted = new Set(uncountedOf(job).failed);
  for (const pod of pods) {
    if (!pod.metadata.finalizers?.includes(TRACKING) || counted.has(pod.metadata.uid)) continue;
    const isCounted = failed &&
      (!isIndexed(job) || (indexOf(pod) ?? Infinity) < (job.spec.completions ?? 0));
    if (isCounted) tally.failed++;
    (isCounted ? tally.newFailed : tally.ignored).push(pod);
  }
}

// --- tracking ---------------------------------------------------------------------------------------

/** A status that is being written. */
export interface Draft {
  status: Record<string, unknown>;
  conditions: Condition[];
  tally: Tally;
  verdict: Verdict | undefined;
}

/** Writes the status and lets counted pods go; the order is the module's point. */
export async function track(pass: Pass, draft: Draft): Promise<void> {
  const { job, pods } = pass;
  const { tally, verdict, status } = draft;
  const held = new Set<string>();
  for (const pod of pods) {
    if (pod.metadata.finalizers?.includes(TRACKING)) held.add(pod.metadata.uid);
  }
  const uncounted = uncountedOf(job);
  settle(status, uncounted, (uid) => !held.has(uid), isIndexed(job));
  for (const pod of tally.newSucceeded) uncounted.succeeded.push(pod.metadata.uid);
  for (const pod of tally.newFailed) uncounted.failed.push(pod.metadata.uid);
  if (isIndexed(job)) {
    status.completedIndexes = formatIndexes(tally.completed);
    status.succeeded = tally.completed.size;
    if (job.spec.backoffLimitPerIndex !== undefined) {
      status.failedIndexes = formatIndexes(tally.failedIndexes);
    }
  }
  draft.conditions = withVerdict(pass, draft.conditions, verdict);
  let written = await writeStatus(pass, job, { ...draft, uncounted });
  notePolicy(pass, tally);
  // Pods of an index that may be tried again are held until their heir is there: they know the count.
  const release = pods.filter((pod) =>
    held.has(pod.metadata.uid) && isCounted(pod, uncounted, tally) &&
    (verdict !== undefined || !isNeeded(job, pod, { pods, tally }))
  );
  await allAtOnce(release, (pod) => letGo(pass, pod));
  const released = new Set(release.map((pod) => pod.metadata.uid));
  settle(status, uncounted, (uid) => released.has(uid) || !held.has(uid), isIndexed(job));
  finish(pass, { ...draft, uncounted });
  written = await writeStatus(pass, written, { ...draft, uncounted });
  sayFinished(pass, written);
}

/** Counts the pods that have failed now and met a rule of the Job's policy. */
function notePolicy({ job, metrics }: Pass, { newFailed, ignored }: Tally): void {
  if (!job.spec.podFailurePolicy) return;
  for (const pod of [...newFailed, ...ignored]) {
    const { action, message } = policyFor(job, pod);
    if (message !== undefined) metrics.judgedJobPods.add({ action });
  }
}

/** Turns uids whose pods are let go into numbers. */
function settle(
  status: Record<string, unknown>,
  uncounted: { succeeded: string[]; failed: string[] },
  isFree: (uid: string) => boolean,
  indexed: boolean,
): void {
  for (const name of ["succeeded", "failed"] as const) {
    const kept = uncounted[name].filter((uid) => !isFree(uid));
    const freed = uncounted[name].length - kept.length;
    uncounted[name] = kept;
    if (freed > 0 && !(indexed && name === "succeeded")) {
      status[name] = ((status[name] as number | undefined) ?? 0) + freed;
    }
  }
}

function isCounted(
  { metadata: { uid } }: Obj,
  uncounted: { succeeded: string[]; failed: string[] },
  tally: Tally,
): boolean {
  return uncounted.succeeded.includes(uid) || uncounted.failed.includes(uid) ||
    tally.ignored.some((pod) => pod.metadata.uid === uid);
}

/** Whether a failed pod still has to tell how often its index failed. */
function isNeeded(
  job: Obj,
  pod: Obj,
  { pods, tally }: { pods: readonly Obj[]; tally: Tally },
): boolean {
  if (!isIndexed(job) || job.spec.backoffLimitPerIndex === undefined) return false;
  const index = indexOf(pod);
  if (index === undefined || pod.status?.phase === "Succeeded") return false;
  if (tally.completed.has(index) || tally.failedIndexes.has(index)) return false;
  return !pods.some((other) => isActive(other) && indexOf(other) === index);
}

function withVerdict(
  { now }: Pass,
  conditions: Condition[],
  verdict: Verdict | undefined,
): Condition[] {
  if (!verdict || conditionOf({ conditions }, verdict.type)?.status === "True") return conditions;
  const at = formatTime(now);
  return [...conditions, {
    type: verdict.type,
    status: "True",
    lastProbeTime: at,
    lastTransitionTime: at,
    reason: verdict.reason,
    message: verdict.message,
  }];
}

/** The last condition, when every pod has ended and is counted. */
function finish(
  pass: Pass,
  draft: Draft & { uncounted: { succeeded: string[]; failed: string[] } },
): void {
  const { verdict, status, uncounted } = draft;
  if (!verdict || uncounted.succeeded.length + uncounted.failed.length > 0) return;
  const running = (status.active as number) + (status.terminating as number) +
    pass.pods.filter(isActive).length;
  if (running > 0) return;
  const at = formatTime(pass.now);
  const complete = verdict.type === "SuccessCriteriaMet";
  draft.conditions.push({
    type: complete ? "Complete" : "Failed",
    status: "True",
    lastProbeTime: at,
    lastTransitionTime: at,
    reason: verdict.reason,
    message: verdict.message,
  });
  if (complete) status.completionTime = at;
}

async function writeStatus(
  { key, context, statuses, metrics }: Pass,
  job: Obj,
  { status, conditions, uncounted }: Draft & {
    uncounted: { succeeded: string[]; failed: string[] };
  },
): Promise<Obj> {
  const next = compact({
    ...status,
    conditions,
    uncountedTerminatedPods: compact(uncounted),
  }, ["ready", "terminating"] as never[]);
  if (sameStatus(next, job.status)) return job;
  const written: Obj = await statuses.make(
    key,
    () =>
      context.client.update<KubeObject>(targetOf(JOBS, job, "status"), { ...job, status: next }),
  );
  for (const result of ["succeeded", "failed"] as const) {
    const more = (written.status[result] ?? 0) - (job.status?.[result] ?? 0);
    if (more > 0) metrics.finishedJobPods.add({ completion_mode: modeOf(job), result }, more);
  }
  return written;
}

function sayFinished({ context, job, metrics }: Pass, written: Obj): void {
  const condition = finishedCondition(written);
  if (!condition) return;
  metrics.finishedJobs.add({
    completion_mode: modeOf(job),
    result: condition.type === "Failed" ? "failed" : "succeeded",
    reason: condition.reason ?? "",
  });
  if (condition.type === "Failed") {
    context.recorder.event(job, "Warning", condition.reason ?? "", condition.message ?? "");
    return;
  }
  const { completions } = job.spec;
  if (completions !== undefined && (written.status.succeeded ?? 0) > completions) {
    const text = "Too many succeeded pods running after completion count reached";
    context.recorder.event(job, "Warning", "TooManySucceededPods", text);
  }
  context.recorder.event(job, "Normal", "Completed", "Job completed");
}

/** Lets a pod of a Job go: the Job waits until its cache shows that, or it would count the pod again. */
export async function letGo({ key, context, writes }: Pass, pod: Obj): Promise<void> {
  if (!pod.metadata.finalizers?.includes(TRACKING)) return;
  try {
    await writes.make(key, () => dropFinalizer(context, pod));
  } catch (error) {
    if (!isGone(error)) throw error;
    writes.deleted(key, pod, true);
  }
}

/** Takes the finalizer off a pod. */
export async function dropFinalizer(context: ActorContext, pod: Obj): Promise<Obj> {
  return await context.client.patch<KubeObject>(targetOf(PODS, pod), {
    type: "strategic",
    body: {
      metadata: {
        uid: pod.metadata.uid,
        "$deleteFromPrimitiveList/finalizers": [TRACKING],
      },
    },
  });
}
