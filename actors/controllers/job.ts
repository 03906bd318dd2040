/**
 * Jobs: pods that run to an end, counted once each.
 *
 * One pass judges (`job_rules.ts`), makes or takes pods (`job_pods.ts`), and counts (`job_tracking.ts`).
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
  type Controller,
  controllerOf,
  isGone,
  isNamespaceGoing,
  JOBS,
  keyOf,
  type Outcome,
  OWN_WRITES_MS_MAX,
  OwnWrites,
  PODS,
  slowStart,
} from "../runtime/mod.ts";
import { jobPod, missingIndexes, TRACKING, victimsOf } from "./job_pods.ts";
import {
  BACKOFF_MS_MAX,
  BACKOFF_MS_MIN,
  completionsReached,
  type Counts,
  deadlineAfterMs,
  finishedCondition,
  isIndexed,
  onlyReplacesFailed,
  verdictOf,
} from "./job_rules.ts";
import {
  countEnded,
  dropFinalizer,
  letGo,
  modeOf,
  type Pass,
  type Tally,
  tallyOf,
  track,
} from "./job_tracking.ts";
import { ControllerMetrics } from "./metrics.ts";
import { type Condition, conditionOf, type Obj } from "./objects.ts";
import { createPod, deletePod, isActive, isFinished, isReady, isTerminating } from "./pods.ts";
import type { ControllerPorts } from "./ports.ts";

/** A pass, and what the controller keeps. */
interface Work extends Pass {
  state: State;
  /** What it comes to, as upstream calls it. */
  action: "tracking" | "pods_created" | "pods_deleted";
}

interface State {
  jobs: Informer;
  pods: Informer;
  metrics: ControllerMetrics;
  writes: OwnWrites;
  /** Writes of the Jobs themselves: what a status counts is not on the pods any more. */
  statuses: OwnWrites;
  /** Of a Job: how many of its pods failed in a row, and when the last one did. */
  backoff: Map<string, { failures: number; last: number }>;
}

const ORPHAN = "orphan:";

/** The row. */
export function jobController(
  { metrics = new ControllerMetrics() }: Pick<ControllerPorts, "metrics"> = {},
): Controller<State> {
  return { ...ROW, start: (context) => startState(context, metrics) };
}

const ROW: Omit<Controller<State>, "start"> = {
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
      // A pod whose Job is gone, or over, must not be held for ever.
      const isHeld = job && job.metadata.uid === owner.uid && !finishedCondition(job);
      return isHeld ? [] : [`${ORPHAN}${namespace}/${name}`];
    },
  }, {
    resource: JOBS,
    keys(job, _old, context) {
      const there = context.informers.for(JOBS).get(keyOf(job));
      if (there?.metadata.uid === job.metadata.uid && !finishedCondition(there)) return [];
      // The Job is gone, or over: its pods are let go.
      return childrenOf(context.informers.for(PODS), job.metadata.uid)
        .filter((pod) => pod.metadata.finalizers?.includes(TRACKING))
        .map((pod) => `${ORPHAN}${keyOf(pod)}`);
    },
  }],
  gatherMs(key, context) {
    const size = context.informers.for(JOBS).get(key)?.spec.parallelism ?? 1;
    return size <= 32 ? 0 : Math.min(100, size >> 2);
  },
  reconcile,
};

function startState(context: ActorContext, metrics: ControllerMetrics): State {
  const jobs = context.informers.for(JOBS);
  const pods = context.informers.for(PODS);
  pods.subscribe(({ object, old }) => {
    const held = isHeldEnded(object);
    if (held !== isHeldEnded(old)) metrics.heldJobPods.add({ event: held ? "add" : "delete" });
  });
  return {
    jobs,
    pods,
    metrics,
    writes: new OwnWrites(pods, context.clock),
    statuses: new OwnWrites(jobs, context.clock),
    backoff: new Map(),
  };
}

/** Whether a pod has ended and a Job's finalizer keeps it. */
function isHeldEnded(pod: Obj | undefined): boolean {
  return !!pod && isFinished(pod) && !!pod.metadata.finalizers?.includes(TRACKING);
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
    state.statuses.forget(key);
    state.backoff.delete(key);
    return;
  }
  const { managedBy } = job.spec;
  if (managedBy && managedBy !== "kubernetes.io/job-controller") return;
  if (finishedCondition(job)) {
    state.statuses.forget(key);
    state.backoff.delete(key);
    return;
  }
  const { client } = context;
  const { writes, statuses } = state;
  const settling = writes.settled(key, client) ?? statuses.settled(key, client);
  if (settling) {
    await settling;
    return await reconcile(key, context, state);
  }
  const began = context.clock.monotonic();
  const over = (result: "success" | "error", action: string) => {
    const labels = { completion_mode: modeOf(job), result, action };
    state.metrics.jobSyncs.add(labels);
    state.metrics.jobSyncSeconds.add(labels, context.clock.monotonic() - began);
  };
  // Who reads an older status, or an older pod, makes or counts a pod twice.
  if (!statuses.seen(key) || !writes.seen(key)) {
    over("success", "reconciling");
    return { afterMs: OWN_WRITES_MS_MAX };
  }
  const selector = labelSelector(job.spec.selector);
  const children = state.pods;
  const pods = await claim({ client, children, owner: job, resource: JOBS, selector });
  const now = context.clock.now();
  const { metrics } = state;
  const action = "tracking";
  const pass: Work = { key, context, state, metrics, writes, statuses, job, now, pods, action };
  try {
    const outcome = await work(pass);
    over("success", pass.action);
    return outcome;
  } catch (error) {
    over("error", pass.action);
    throw error;
  }
}

/** A pod whose Job is not there any more, or over, is let go. */
async function freeOrphan(context: ActorContext, state: State, key: string): Promise<void> {
  const pod = state.pods.get(key);
  const owner = pod && controllerOf(pod);
  if (!pod?.metadata.finalizers?.includes(TRACKING)) return;
  if (owner) {
    const { namespace } = pod.metadata;
    try {
      const target = { resource: JOBS, namespace, name: owner.name };
      const job = await context.client.get<KubeObject>(target);
      if (job.metadata.uid === owner.uid && !finishedCondition(job)) return;
    } catch (error) {
      if (!isGone(error)) throw error;
    }
  }
  await dropFinalizer(context, pod).catch((error) => {
    if (!isGone(error)) throw error;
  });
}

async function work(pass: Work): Promise<Outcome> {
  const { context, job, now } = pass;
  const active = pass.pods.filter(isActive);
  const tally = tallyOf(pass);
  noteBackoff(pass, tally);
  const counts: Counts = { ...tally, active };
  let verdict = verdictOf(job, counts, now);
  let activeCount = active.length;
  let left = active;
  let outcome: Outcome = undefined;
  let failure: unknown;
  const status: Record<string, unknown> = { ...job.status };
  let conditions: Condition[] = [...(job.status?.conditions ?? [])];
  if (!status.startTime && !job.spec.suspend) status.startTime = formatTime(now);
  try {
    if (verdict) {
      await allAtOnce(active, (pod) => deletePod(context, job, pod));
      countEnded(pass, tally, { pods: active, failed: verdict.type === "FailureTarget" });
      activeCount = 0;
      left = [];
    } else if (!job.metadata.deletionTimestamp) {
      const managed = await manage(pass, { active, tally });
      activeCount = managed.active;
      left = managed.left;
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
  status.ready = left.filter(isReady).length;
  status.terminating = pass.pods.filter(isTerminating).length;
  await track(pass, { status, conditions, tally, verdict });
  if (failure && !isNamespaceGoing(failure)) throw failure;
  const afterMs = verdict ? undefined : deadlineAfterMs(job, status.startTime as string, now);
  if (afterMs === undefined) return outcome;
  return !outcome || outcome.afterMs > afterMs ? { afterMs } : outcome;
}

// --- pauses ---------------------------------------------------------------------------------------

/** Remembers failures in a row: the next pods come after a growing pause. */
function noteBackoff({ key, state, now }: Work, { newSucceeded, newFailed }: Tally): void {
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
  // The time that a Job was suspended is none of its own.
  if (!suspend) status.startTime = formatTime(now);
  else delete status.startTime;
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

/** What is active after a step: how many, and those of them that were there before. */
interface Managed {
  active: number;
  left: Obj[];
  outcome: Outcome;
}

async function manage(
  pass: Work,
  { active, tally }: { active: Obj[]; tally: Tally },
): Promise<Managed> {
  const as = (outcome: Outcome): Managed => ({ active: active.length, left: active, outcome });
  const { job, key, state, now } = pass;
  if (job.spec.suspend) {
    await take(pass, active);
    return { active: 0, left: [], outcome: undefined };
  }
  const want = wantedOf(job, active.length, tally);
  const surplus = victimsOf(pass.context, job, { active, want });
  if (surplus.length > 0) {
    await take(pass, surplus);
    const left = active.filter((pod) => !surplus.includes(pod));
    return { active: left.length, left, outcome: undefined };
  }
  const terminating = onlyReplacesFailed(job) ? pass.pods.filter(isTerminating).length : 0;
  const missing = want - active.length - terminating;
  if (missing <= 0) return as(undefined);
  const backoff = state.backoff.get(key);
  if (backoff && job.spec.backoffLimitPerIndex === undefined) {
    const pauseMs = Math.min(BACKOFF_MS_MIN * 2 ** (backoff.failures - 1), BACKOFF_MS_MAX);
    const leftMs = backoff.last + pauseMs - now;
    if (leftMs > 0) return as({ afterMs: leftMs });
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
  pass: Work,
  { active, tally, missing }: { active: Obj[]; tally: Tally; missing: number },
): Promise<Managed> {
  const { key, context, state, job, pods, now } = pass;
  const done = new Set([...tally.completed, ...tally.failedIndexes]);
  const slots = isIndexed(job)
    ? missingIndexes(job, { active, pods, done, count: missing, now })
    : { ready: new Array(missing).fill(undefined), afterMs: undefined };
  if (slots.ready.length > 0) pass.action = "pods_created";
  let made = 0;
  const { error } = await slowStart(slots.ready.length, async (i) => {
    const pod = jobPod(job, slots.ready[i], pods);
    await state.writes.make(key, () => createPod(context, job, pod));
    made++;
  });
  if (error !== undefined) throw error;
  const outcome = slots.afterMs === undefined ? undefined : { afterMs: slots.afterMs };
  return { active: active.length + made, left: active, outcome };
}

/** Takes pods that shall count for nothing: the finalizer goes first. */
async function take(work: Work, pods: readonly Obj[]): Promise<void> {
  const { key, context, state, job } = work;
  if (pods.length > 0) work.action = "pods_deleted";
  await allAtOnce(pods, async (pod) => {
    await letGo(work, pod);
    await deletePod(context, job, pod);
    state.writes.deleted(key, pod);
  });
}
