/**
 * CronJobs: a Job at each of its times, one and the same however often it is tried: the Job's name holds
 * the scheduled minute.
 *
 * Behaviour matched: pkg/controller/cronjob, v1.36.
 */
import type { Informer } from "../../api/client/contract.ts";
import { formatTime } from "../../api/machinery/time.ts";
import type { KubeObject } from "../../api/machinery/types.ts";
import {
  type ActorContext,
  childrenOf,
  codeOf,
  type Controller,
  controllerOf,
  controllerReference,
  CRON_JOBS,
  isGone,
  isNamespaceGoing,
  JOBS,
  type ObjectRef,
  type Outcome,
  targetOf,
} from "../runtime/mod.ts";
import { type Schedule, scheduleOf, zoneOffset } from "./cron_schedule.ts";
import { finishedCondition } from "./job_rules.ts";
import { ControllerMetrics } from "./metrics.ts";
import { byAge, type Obj, sameStatus, timeOf } from "./objects.ts";
import { textOf } from "./pods.ts";
import type { ControllerPorts } from "./ports.ts";

interface State {
  crons: Informer;
  jobs: Informer;
  metrics: ControllerMetrics;
}

/** The annotation with a Job's scheduled time. */
const SCHEDULED_AT = "batch.kubernetes.io/cronjob-scheduled-timestamp";
/** How far a wake-up lies behind the time it is for, so that the clock has passed it for sure. */
const WAKE_DELTA_MS = 100;
/** So many missed times are counted one by one; of more it is said that they are many. */
const MISSED_MAX = 100;

/** The row. */
export function cronJobController(
  { metrics = new ControllerMetrics() }: Pick<ControllerPorts, "metrics"> = {},
): Controller<State> {
  return {
    name: "cronjob",
    account: "cronjob-controller",
    kind: "CronJob",
    for: CRON_JOBS,
    owns: [JOBS],
    start: (context) => ({
      crons: context.informers.for(CRON_JOBS),
      jobs: context.informers.for(JOBS),
      metrics,
    }),
    reconcile,
  };
}

/** Starts what is due, notes what ended, and says when to come back. */
export async function reconcile(
  key: string,
  context: ActorContext,
  { crons, jobs, metrics }: State,
): Promise<Outcome> {
  const cron = crons.get(key);
  if (!cron) return;
  const children = [...childrenOf(jobs, cron.metadata.uid)];
  const status = await followChildren(context, cron, children);
  await cleanHistory(context, cron, children);
  let outcome: Outcome = undefined;
  let failure: unknown;
  try {
    outcome = await startDue(context, { cron, status, children, metrics });
  } catch (error) {
    failure = error;
  }
  if (!sameStatus(status, cron.status)) {
    await context.client.update<KubeObject>(targetOf(CRON_JOBS, cron, "status"), {
      ...cron,
      status,
    });
  }
  if (failure) throw failure;
  return outcome;
}

interface Status {
  active?: ObjectRef[];
  lastScheduleTime?: string;
  lastSuccessfulTime?: string;
}

// --- children ---------------------------------------------------------------------------------------

/** The status after a look at the Jobs: which run, and when the last one succeeded. */
async function followChildren(
  context: ActorContext,
  cron: Obj,
  children: readonly Obj[],
): Promise<Status> {
  const status: Status = { ...cron.status, active: [...(cron.status?.active ?? [])] };
  const remove = (uid?: string) => {
    status.active = status.active!.filter((reference) => reference.uid !== uid);
  };
  const present = new Set<string>();
  for (const job of children) {
    const { uid, name } = job.metadata;
    present.add(uid);
    const listed = status.active!.some((reference) => reference.uid === uid);
    const end = finishedCondition(job);
    if (!listed && !end) {
      const text = `Saw a job that the controller did not create or forgot: ${name}`;
      // Its own creation, not yet in the status, is no surprise.
      if (cron.status?.lastScheduleTime && isForeign(job, cron)) {
        context.recorder.event(cron, "Warning", "UnexpectedJob", text);
      }
    } else if (listed && end) {
      remove(uid);
      const text = `Saw completed job: ${name}, condition: ${end.type}`;
      context.recorder.event(cron, "Normal", "SawCompletedJob", text);
    }
    const { completionTime } = job.status ?? {};
    if (end?.type !== "Complete") continue;
    if (timeOf(completionTime) > timeOf(status.lastSuccessfulTime)) {
      status.lastSuccessfulTime = completionTime;
    }
  }
  for (const reference of [...status.active!]) {
    if (present.has(reference.uid!)) continue;
    const { namespace, name, uid } = reference;
    try {
      const job = await context.client.get<KubeObject>({ resource: JOBS, namespace, name });
      if (job.metadata.uid === uid) continue;
    } catch (error) {
      if (!isGone(error)) throw error;
    }
    const text = `Active job went missing: ${name}`;
    context.recorder.event(cron, "Normal", "MissingJob", text);
    remove(uid);
  }
  return status;
}

function isForeign(job: Obj, cron: Obj): boolean {
  return job.metadata.annotations?.[SCHEDULED_AT] === undefined &&
    controllerOf(job)?.uid === cron.metadata.uid &&
    job.metadata.annotations?.["cronjob.kubernetes.io/instantiate"] !== "manual";
}

/** Deletes the oldest ended Jobs beyond the limits. */
async function cleanHistory(
  context: ActorContext,
  cron: Obj,
  children: readonly Obj[],
): Promise<void> {
  const limits: [string, number | undefined][] = [
    ["Complete", cron.spec.successfulJobsHistoryLimit],
    ["Failed", cron.spec.failedJobsHistoryLimit],
  ];
  for (const [type, limit] of limits) {
    if (limit === undefined || children.length <= limit) continue;
    const ended = children.filter((job) => finishedCondition(job)?.type === type)
      .sort((a, b) => timeOf(a.status?.startTime) - timeOf(b.status?.startTime) || byAge(a, b));
    for (const job of ended.slice(0, Math.max(0, ended.length - limit))) {
      await removeJob(context, cron, job);
    }
  }
}

async function removeJob(context: ActorContext, cron: Obj, job: Obj): Promise<void> {
  const { name } = job.metadata;
  try {
    await context.client.delete(targetOf(JOBS, job), { propagationPolicy: "Background" });
  } catch (error) {
    if (isGone(error)) return;
    const text = `Deleted job: ${textOf(error)}`;
    context.recorder.event(cron, "Warning", "FailedDelete", text);
    throw error;
  }
  context.recorder.event(cron, "Normal", "SuccessfulDelete", `Deleted job ${name}`);
}

// --- times ------------------------------------------------------------------------------------------

/** The last time that is due and not served, and when the next one comes. Pure. */
export function dueTime(
  cron: Obj,
  schedule: Schedule,
  now: number,
): { due?: number; next?: number; missed: number } {
  const last = timeOf(cron.status?.lastScheduleTime);
  let from = last || timeOf(cron.metadata.creationTimestamp);
  const deadline = cron.spec.startingDeadlineSeconds;
  if (deadline !== undefined && deadline !== null) from = Math.max(from, now - deadline * 1000);
  const first = schedule.next(from);
  if (first === undefined) return { missed: 0 };
  if (first > now) return { next: first, missed: 0 };
  const second = schedule.next(first);
  if (second === undefined || second > now) return { due: first, next: second, missed: 1 };
  // Many were missed: jump near the present by the distance of the first two.
  const step = second - first;
  const missed = Math.floor((now - first) / step) + 1;
  let due = first;
  let at: number | undefined = missed > MISSED_MAX
    ? schedule.next(now - Math.max(step * 2, 60_000)) ?? first
    : first;
  while (at !== undefined && at <= now) {
    due = at;
    at = schedule.next(at);
  }
  return { due, next: at, missed };
}

async function startDue(
  context: ActorContext,
  { cron, status, children, metrics }: {
    cron: Obj;
    status: Status;
    children: readonly Obj[];
    metrics: ControllerMetrics;
  },
): Promise<Outcome> {
  if (cron.metadata.deletionTimestamp || cron.spec.suspend) return;
  let schedule: Schedule;
  try {
    schedule = scheduleOf(cron.spec.schedule, cron.spec.timeZone);
  } catch (error) {
    const zone = textOf(error).startsWith("unknown time zone");
    context.recorder.event(
      cron,
      "Warning",
      zone ? "UnknownTimeZone" : "UnparseableSchedule",
      zone
        ? `invalid timeZone: ${JSON.stringify(cron.spec.timeZone)}: ${textOf(error)}`
        : `unparseable schedule: ${JSON.stringify(cron.spec.schedule)} : ${textOf(error)}`,
    );
    // Only a change of the object can mend it.
    return;
  }
  const now = context.clock.now();
  const { due, next, missed } = dueTime(cron, schedule, now);
  if (due === undefined && next === undefined) {
    // Well-formed, but no day is ever like that: the 31st of February
    const text = `invalid schedule: ${cron.spec.schedule} : ` +
      "time difference between two schedules is less than 1 second";
    context.recorder.event(cron, "Warning", "InvalidSchedule", text);
    return;
  }
  const outcome: Outcome = next === undefined
    ? undefined
    : { afterMs: Math.max(1, next - now + WAKE_DELTA_MS) };
  if (missed > MISSED_MAX) {
    const text = "too many missed start times. Set or decrease .spec.startingDeadlineSeconds " +
      "or check clock skew";
    context.recorder.event(cron, "Warning", "TooManyMissedTimes", text);
  }
  if (due === undefined) return outcome;
  const deadline = cron.spec.startingDeadlineSeconds;
  if (deadline !== undefined && deadline !== null && due + deadline * 1000 < now) {
    const at = new Date(due).toUTCString().replace("GMT", "+0000");
    const text = `Missed scheduled time to start a job: ${at}`;
    context.recorder.event(cron, "Warning", "MissSchedule", text);
    return outcome;
  }
  if (alreadyStarted(cron, { status, children, due })) return outcome;
  if (!await makeRoom(context, cron, { status, children })) return outcome;
  await startJob(context, cron, { status, due, metrics });
  return outcome;
}

function alreadyStarted(
  cron: Obj,
  { status, children, due }: { status: Status; children: readonly Obj[]; due: number },
): boolean {
  const name = jobName(cron, due);
  return (status.active ?? []).some((reference) => reference.name === name) ||
    timeOf(status.lastScheduleTime) === due ||
    children.some((job) => job.metadata.name === name && finishedCondition(job));
}

/** Whether the concurrency policy lets a Job start now; Replace ends those that run. */
async function makeRoom(
  context: ActorContext,
  cron: Obj,
  { status, children }: { status: Status; children: readonly Obj[] },
): Promise<boolean> {
  const active = status.active ?? [];
  const policy = cron.spec.concurrencyPolicy;
  if (policy === "Forbid" && active.length > 0) {
    const text = "Not starting job because prior execution is running and concurrency policy " +
      "is Forbid";
    context.recorder.event(cron, "Normal", "JobAlreadyActive", text);
    return false;
  }
  if (policy === "Replace") {
    for (const { uid } of active) {
      const job = children.find((child) => child.metadata.uid === uid);
      if (job) await removeJob(context, cron, job);
    }
    status.active = [];
  }
  return true;
}

/** The name of the Job of a time: minutes since 1970. */
function jobName(cron: Obj, due: number): string {
  return `${cron.metadata.name}-${Math.floor(due / 60_000)}`;
}

async function startJob(
  context: ActorContext,
  cron: Obj,
  { status, due, metrics }: { status: Status; due: number; metrics: ControllerMetrics },
): Promise<void> {
  const { namespace } = cron.metadata;
  const name = jobName(cron, due);
  let job: Obj;
  try {
    job = await context.client.create<KubeObject>(
      { resource: JOBS, namespace },
      jobFor(cron, name, due),
    );
    metrics.cronSkew.add({}, timeOf(job.metadata.creationTimestamp) - due);
    context.recorder.event(cron, "Normal", "SuccessfulCreate", `Created job ${name}`);
  } catch (error) {
    if (isNamespaceGoing(error)) return;
    if (codeOf(error) !== 409) {
      const text = `Error creating job: ${textOf(error)}`;
      context.recorder.event(cron, "Warning", "FailedCreate", text);
      throw error;
    }
    // It was made before, and the status was not written.
    job = await context.client.get<KubeObject>({ resource: JOBS, namespace, name });
    if (controllerOf(job)?.uid !== cron.metadata.uid) throw error;
  }
  status.lastScheduleTime = formatTime(due);
  if (finishedCondition(job)) return;
  status.active = [...(status.active ?? []), {
    apiVersion: "batch/v1",
    kind: "Job",
    namespace,
    name,
    uid: job.metadata.uid,
    resourceVersion: job.metadata.resourceVersion,
  }];
}

/** The Job of one time. Pure. */
export function jobFor(cron: Obj, name: string, due: number): object {
  const { metadata = {}, spec } = cron.spec.jobTemplate;
  const annotations = { ...metadata.annotations, [SCHEDULED_AT]: zonedTime(cron, due) };
  return {
    apiVersion: "batch/v1",
    kind: "Job",
    metadata: {
      name,
      namespace: cron.metadata.namespace,
      ...(metadata.labels ? { labels: metadata.labels } : {}),
      annotations,
      ownerReferences: [controllerReference(cron)],
    },
    spec,
  };
}

/** RFC 3339 in the CronJob's own zone. */
function zonedTime(cron: Obj, due: number): string {
  const { timeZone } = cron.spec;
  if (!timeZone || timeZone === "UTC" || timeZone === "Etc/UTC") return formatTime(due);
  const shift = zoneOffset(timeZone)(due);
  if (shift === 0) return formatTime(due);
  const minutes = Math.abs(shift) / 60_000;
  const [hours, rest] = [Math.floor(minutes / 60), minutes % 60]
    .map((number) => String(number).padStart(2, "0"));
  return formatTime(due + shift).replace("Z", `${shift < 0 ? "-" : "+"}${hours}:${rest}`);
}
