/**
 * Jobs: pods that run to an end, counted once each.
 *
 * Every pod of a Job carries a finalizer until it is counted. Counting takes three writes, so that a crash
 * between any two counts nothing twice and forgets nothing: its uid goes into the status, its finalizer is
 * removed, its uid becomes a number. Indexed Jobs count indexes, which need no such care.
 *
 * Behaviour matched: pkg/controller/job/job_controller.go, v1.36.
 */
import type { Informer } from "../../api/client/contract.ts";
import { labelSelector } from "../../api/machinery/selectors.ts";
import { formatTime } from "../../api/machinery/time.ts";
import type { KubeObject } from "../../api/machinery/types.ts";
import {
  type ActorContext,
  allAtOnce,
  childrenOf,
  claim,
  codeOf,
  type Controller,
  controllerOf,
  isGone,
  JOBS,
  keyOf,
  type Outcome,
  OwnWrites,
  PODS,
  slowStart,
  targetOf,
} from "../runtime/mod.ts";
import { formatIndexes, indexOf, parseIndexes } from "./job_indexes.ts";
import { jobPod, missingIndexes, TRACKING, victimsOf } from "./job_pods.ts";
import {
  BACKOFF_MS_MAX,
  BACKOFF_MS_MIN,
  completionsReached,
  type Counts,
  deadlineAfterMs,
  finishedCondition,
  hasFailed,
  indexIsLost,
  isIndexed,
  onlyReplacesFailed,
  policyFor,
  type Verdict,
  verdictOf,
} from "./job_rules.ts";
import { compact, type Condition, conditionOf, type Obj, sameStatus } from "./objects.ts";
import {
  createPod,
  deletePod,
  isActive,
  isNamespaceGoing,
  isReady,
  isTerminating,
} from "./pods.ts";

interface State {
  jobs: Informer;
  pods: Informer;
  writes: OwnWrites;
  /** Of a Job: how many of its pods failed in a row, and when the last one did. */
  backoff: Map<string, { failures: number; last: number }>;
}

const ORPHAN = "orphan:";

export const jobController: Controller<State> = {
  name: "job",
  account: "job-controller",
  kind: "Job",
  for: JOBS,
  owns: [PODS],
  watches: [{
    resource: PODS,
    keys(pod, _old, context) {
      const owner = controllerOf(pod);
      if (owner && owner.kind !== "Job") return [];
      if (!pod.metadata.finalizers?.includes(TRACKING)) return [];
      const { namespace, name } = pod.metadata;
      const job = owner && context.informers.for(JOBS).get(`${namespace}/${owner.name}`);
      // A pod whose Job is gone must not be held for ever.
      return job?.metadata.uid === owner?.uid && job ? [] : [`${ORPHAN}${namespace}/${name}`];
    },
  }, {
    resource: JOBS,
    keys(job, _old, context) {
      if (context.informers.for(JOBS).get(keyOf(job))?.metadata.uid === job.metadata.uid) return [];
      // The Job is gone: its pods are let go.
      return childrenOf(context.informers.for(PODS), job.metadata.uid)
        .map((pod) => `${ORPHAN}${keyOf(pod)}`);
    },
  }],
  gatherMs(key, context) {
    const size = context.informers.for(JOBS).get(key)?.spec.parallelism ?? 1;
    return size <= 32 ? 0 : Math.min(100, size >> 2);
  },
  start(context) {
    const pods = context.informers.for(PODS);
    return {
      jobs: context.informers.for(JOBS),
      pods,
      writes: new OwnWrites(pods, context.clock),
      backoff: new Map(),
    };
  },
  reconcile,
};

/** One pass over one Job. */
interface Pass {
  key: string;
  context: ActorContext;
  state: State;
  job: Obj;
  now: number;
  pods: readonly Obj[];
}

/** Brings one Job a step further. */
export async function reconcile(
  key: string,
  context: ActorContext,
  state: State,
): Promise<Outcome> {
  if (key.startsWith(ORPHAN)) return await freeOrphan(context, state, key.slice(ORPHAN.length));
  const job = state.jobs.get(key);
  if (!job) {
    state.writes.forget(key);
    state.backoff.delete(key);
    return;
  }
  const { managedBy } = job.spec;
  if (managedBy && managedBy !== "kubernetes.io/job-controller") return;
  if (finishedCondition(job)) {
    state.backoff.delete(key);
    return;
  }
  const { client } = context;
  const selector = labelSelector(job.spec.selector);
  const children = state.pods;
  const pods = await claim({ client, children, owner: job, resource: JOBS, selector });
  const pass: Pass = { key, context, state, job, now: context.clock.now(), pods };
  return await work(pass);
}

/** A pod whose Job is not there any more is let go. */
async function freeOrphan(context: ActorContext, state: State, key: string): Promise<void> {
  const pod = state.pods.get(key);
  const owner = pod && controllerOf(pod);
  if (!pod?.metadata.finalizers?.includes(TRACKING)) return;
  if (owner) {
    const { namespace } = pod.metadata;
    try {
      const target = { resource: JOBS, namespace, name: owner.name };
      const job = await context.client.get<KubeObject>(target);
      if (job.metadata.uid === owner.uid) return;
    } catch (error) {
      if (!isGone(error)) throw error;
    }
  }
  await dropFinalizer(context, pod);
}

async function work(pass: Pass): Promise<Outcome> {
  const { key, context, state, job, now } = pass;
  const active = pass.pods.filter(isActive);
  const tally = tallyOf(pass);
  noteBackoff(pass, tally);
  const counts: Counts = { ...tally, active };
  let verdict = verdictOf(job, counts, now);
  let activeCount = active.length;
  let outcome: Outcome = undefined;
  let failure: unknown;
  const status: Record<string, unknown> = { ...job.status };
  let conditions: Condition[] = [...(job.status?.conditions ?? [])];
  if (!status.startTime && !job.spec.suspend) status.startTime = formatTime(now);
  try {
    if (verdict) {
      await allAtOnce(active, (pod) => deletePod(context, job, pod));
      activeCount = 0;
    } else if (state.writes.seen(key) && !job.metadata.deletionTimestamp) {
      const managed = await manage(pass, { active, tally });
      activeCount = managed.active;
      outcome = managed.outcome;
    }
  } catch (error) {
    failure = error;
  }
  if (!verdict && completionsReached(job, tally.succeeded, activeCount)) {
    verdict = {
      type: "SuccessCriteriaMet",
      reason: "CompletionsReached",
      message: "Reached expected number of succeeded pods",
    };
  }
  if (!verdict) conditions = suspension(pass, conditions, status);
  status.active = activeCount;
  status.ready = active.filter(isReady).length;
  status.terminating = pass.pods.filter(isTerminating).length;
  await track(pass, { status, conditions, tally, verdict });
  if (failure && !isNamespaceGoing(failure)) throw failure;
  const afterMs = verdict ? undefined : deadlineAfterMs(job, status.startTime as string, now);
  if (afterMs === undefined) return outcome;
  return !outcome || outcome.afterMs > afterMs ? { afterMs } : outcome;
}

// --- counting ---------------------------------------------------------------------------------------

interface Tally {
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

function uncountedOf(job: Obj): { succeeded: string[]; failed: string[] } {
  const { succeeded = [], failed = [] } = job.status?.uncountedTerminatedPods ?? {};
  return { succeeded: [...succeeded], failed: [...failed] };
}

/** How many pods succeeded and failed, those included that are not in the status yet. Pure. */
function tallyOf({ job, pods }: Pass): Tally {
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

/** Remembers failures in a row: the next pods come after a growing pause. */
function noteBackoff({ key, state, now }: Pass, { newSucceeded, newFailed }: Tally): void {
  if (newSucceeded.length > 0) state.backoff.delete(key);
  else if (newFailed.length > 0) {
    const failures = (state.backoff.get(key)?.failures ?? 0) + newFailed.length;
    state.backoff.set(key, { failures, last: now });
  }
}

/** Says in the conditions that the Job was suspended or resumed. */
function suspension(
  { context, job, now }: Pass,
  conditions: Condition[],
  status: Record<string, unknown>,
): Condition[] {
  const present = conditionOf({ conditions }, "Suspended");
  const suspend = Boolean(job.spec.suspend);
  if (suspend === (present?.status === "True")) return conditions;
  const [word, reason, message] = suspend
    ? ["Suspended", "JobSuspended", "Job suspended"]
    : ["Resumed", "JobResumed", "Job resumed"];
  context.recorder.event(job, "Normal", word, message);
  if (!suspend) status.startTime = formatTime(now);
  const at = formatTime(now);
  return [...conditions.filter((condition) => condition !== present), {
    type: "Suspended",
    status: suspend ? "True" : "False",
    lastProbeTime: at,
    lastTransitionTime: at,
    reason,
    message,
  }];
}

// --- making and taking pods -------------------------------------------------------------------------

async function manage(
  pass: Pass,
  { active, tally }: { active: readonly Obj[]; tally: Tally },
): Promise<{ active: number; outcome: Outcome }> {
  const { job, key, state, now } = pass;
  if (job.spec.suspend) {
    await take(pass, active);
    return { active: 0, outcome: undefined };
  }
  const want = wantedOf(job, active.length, tally);
  const surplus = victimsOf(pass.context, job, { active, want });
  if (surplus.length > 0) {
    await take(pass, surplus);
    return { active: active.length - surplus.length, outcome: undefined };
  }
  const terminating = onlyReplacesFailed(job) ? pass.pods.filter(isTerminating).length : 0;
  const missing = want - active.length - terminating;
  if (missing <= 0) return { active: active.length, outcome: undefined };
  const backoff = state.backoff.get(key);
  if (backoff && job.spec.backoffLimitPerIndex === undefined) {
    const pauseMs = Math.min(BACKOFF_MS_MIN * 2 ** (backoff.failures - 1), BACKOFF_MS_MAX);
    const leftMs = backoff.last + pauseMs - now;
    if (leftMs > 0) return { active: active.length, outcome: { afterMs: leftMs } };
  }
  return await make(pass, { active, tally, missing });
}

function wantedOf(job: Obj, active: number, tally: Tally): number {
  const { completions, parallelism = 1 } = job.spec;
  if (completions === undefined || completions === null) {
    return tally.succeeded > 0 ? active : parallelism;
  }
  const open = completions - tally.succeeded -
    (job.spec.backoffLimitPerIndex === undefined ? 0 : tally.failedIndexes.size);
  return Math.max(0, Math.min(open, parallelism));
}

async function make(
  { key, context, state, job, pods, now }: Pass,
  { active, tally, missing }: { active: readonly Obj[]; tally: Tally; missing: number },
): Promise<{ active: number; outcome: Outcome }> {
  const done = new Set([...tally.completed, ...tally.failedIndexes]);
  const slots = isIndexed(job)
    ? missingIndexes(job, { active, pods, done, count: missing, now })
    : { ready: new Array(missing).fill(undefined), afterMs: undefined };
  let made = 0;
  const { error } = await slowStart(slots.ready.length, async (i) => {
    const pod = await createPod(context, job, jobPod(job, slots.ready[i], pods));
    state.writes.wrote(key, pod);
    made++;
  });
  if (error !== undefined) throw error;
  const outcome = slots.afterMs === undefined ? undefined : { afterMs: slots.afterMs };
  return { active: active.length + made, outcome };
}

/** Takes pods that shall count for nothing: the finalizer goes first. */
async function take({ key, context, state, job }: Pass, pods: readonly Obj[]): Promise<void> {
  await allAtOnce(pods, async (pod) => {
    await dropFinalizer(context, pod);
    await deletePod(context, job, pod);
    state.writes.deleted(key, pod);
  });
}

// --- tracking ---------------------------------------------------------------------------------------

interface Draft {
  status: Record<string, unknown>;
  conditions: Condition[];
  tally: Tally;
  verdict: Verdict | undefined;
}

/** Writes the status and lets counted pods go; the order is the module's point. */
async function track(pass: Pass, draft: Draft): Promise<void> {
  const { context, job, pods } = pass;
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
  // Pods of an index that may be tried again are held until their heir is there: they know the count.
  const release = pods.filter((pod) =>
    held.has(pod.metadata.uid) && isCounted(pod, uncounted, tally) &&
    (verdict !== undefined || !isNeeded(job, pod, { pods, tally }))
  );
  await allAtOnce(release, (pod) => dropFinalizer(context, pod));
  const released = new Set(release.map((pod) => pod.metadata.uid));
  settle(status, uncounted, (uid) => released.has(uid) || !held.has(uid), isIndexed(job));
  finish(pass, { ...draft, uncounted });
  written = await writeStatus(pass, written, { ...draft, uncounted });
  sayFinished(pass, written);
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
  { context }: Pass,
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
  return await context.client.update<KubeObject>(targetOf(JOBS, job, "status"), {
    ...job,
    status: next,
  });
}

function sayFinished({ context, job }: Pass, written: Obj): void {
  const condition = finishedCondition(written);
  if (!condition) return;
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

async function dropFinalizer(context: ActorContext, pod: Obj): Promise<void> {
  if (!pod.metadata.finalizers?.includes(TRACKING)) return;
  try {
    await context.client.patch<KubeObject>(targetOf(PODS, pod), {
      type: "strategic",
      body: {
        metadata: {
          uid: pod.metadata.uid,
          "$deleteFromPrimitiveList/finalizers": [TRACKING],
        },
      },
    });
  } catch (error) {
    if (!isGone(error) && codeOf(error) !== 409) throw error;
  }
}
