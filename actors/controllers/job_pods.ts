/**
 * A Job's pods: how one is made, for which index, and which go when there are too many. Pure.
 *
 * Behaviour matched: pkg/controller/job (job_controller.go, indexed_job_utils.go), v1.36.
 */
import type { ActorContext } from "../runtime/mod.ts";
import {
  FAILURE_COUNT,
  failureCountOf,
  IGNORED_FAILURE_COUNT,
  INDEX,
  indexOf,
} from "./job_indexes.ts";
import {
  BACKOFF_MS_MAX,
  BACKOFF_MS_MIN,
  hasFailed,
  isIndexed,
  onlyReplacesFailed,
  policyFor,
} from "./job_rules.ts";
import { conditionOf, type Obj, timeOf } from "./objects.ts";
import { isTerminating, podFromTemplate, sortForDeletion } from "./pods.ts";

/** Held by every pod of a Job until it is counted. */
export const TRACKING = "batch.kubernetes.io/job-tracking";

const INDEX_VARIABLE = {
  name: "JOB_COMPLETION_INDEX",
  valueFrom: { fieldRef: { apiVersion: "v1", fieldPath: `metadata.labels['${INDEX}']` } },
};

/** A new pod; `index` of Indexed Jobs, whose former pods tell how often the index failed. */
export function jobPod(job: Obj, index: number | undefined, pods: readonly Obj[]): object {
  const pod = podFromTemplate(job.spec.template, job);
  const metadata = pod.metadata as Record<string, unknown>;
  const { finalizers = [], labels, annotations } = job.spec.template.metadata ?? {};
  metadata.finalizers = [...finalizers, TRACKING];
  if (index === undefined) return pod;
  const { name } = job.metadata;
  metadata.generateName = `${name}-${index}-`;
  metadata.labels = { ...labels, [INDEX]: String(index) };
  const notes: Record<string, string> = { ...annotations, [INDEX]: String(index) };
  if (job.spec.backoffLimitPerIndex !== undefined) {
    Object.assign(notes, failureNotes(job, index, pods));
  }
  metadata.annotations = notes;
  const { spec } = job.spec.template;
  const withIndex = (container: Obj) =>
    container.env?.some((variable: { name: string }) => variable.name === INDEX_VARIABLE.name)
      ? container
      : { ...container, env: [...(container.env ?? []), INDEX_VARIABLE] };
  pod.spec = {
    ...spec,
    hostname: `${name}-${index}`,
    containers: spec.containers.map(withIndex),
    ...(spec.initContainers ? { initContainers: spec.initContainers.map(withIndex) } : {}),
  };
  return pod;
}

/** What a new pod of an index inherits from the last one that failed. */
function failureNotes(job: Obj, index: number, pods: readonly Obj[]): Record<string, string> {
  const last = lastFailed(job, index, pods);
  if (!last) return { [FAILURE_COUNT]: "0" };
  const ignored = policyFor(job, last).action === "Ignore";
  const before = Number(last.metadata.annotations?.[IGNORED_FAILURE_COUNT] ?? 0);
  const notes: Record<string, string> = {
    [FAILURE_COUNT]: String(failureCountOf(last) + (ignored ? 0 : 1)),
  };
  if (ignored || before > 0) notes[IGNORED_FAILURE_COUNT] = String(before + (ignored ? 1 : 0));
  return notes;
}

function lastFailed(job: Obj, index: number, pods: readonly Obj[]): Obj | undefined {
  let last: Obj | undefined;
  for (const pod of pods) {
    if (indexOf(pod) !== index || !hasFailed(job, pod)) continue;
    if (!last || failureCountOf(pod) >= failureCountOf(last)) last = pod;
  }
  return last;
}

/** The lowest indexes that need a pod now, and when the next one will. */
export function missingIndexes(
  job: Obj,
  { active, pods, done, count, now }: {
    active: readonly Obj[];
    pods: readonly Obj[];
    done: ReadonlySet<number>;
    count: number;
    now: number;
  },
): { ready: number[]; afterMs: number | undefined } {
  const taken = new Set(active.map(indexOf));
  if (onlyReplacesFailed(job)) {
    for (const pod of pods) if (isTerminating(pod)) taken.add(indexOf(pod));
  }
  const ready: number[] = [];
  let afterMs: number | undefined;
  const perIndex = job.spec.backoffLimitPerIndex !== undefined;
  for (let index = 0; index < job.spec.completions && ready.length < count; index++) {
    if (taken.has(index) || done.has(index)) continue;
    const leftMs = perIndex ? backoffLeft(job, index, pods, now) : 0;
    if (leftMs <= 0) ready.push(index);
    else if (afterMs === undefined || leftMs < afterMs) afterMs = leftMs;
  }
  return { ready, afterMs };
}

function backoffLeft(job: Obj, index: number, pods: readonly Obj[], now: number): number {
  const last = lastFailed(job, index, pods);
  if (!last) return 0;
  const pauseMs = Math.min(BACKOFF_MS_MIN * 2 ** failureCountOf(last), BACKOFF_MS_MAX);
  return endOf(last) + pauseMs - now;
}

/** When a pod ended, as well as it can be told. */
function endOf(pod: Obj): number {
  let end = 0;
  for (const status of pod.status?.containerStatuses ?? []) {
    end = Math.max(end, timeOf(status.state?.terminated?.finishedAt));
  }
  return end || timeOf(conditionOf(pod.status, "Ready")?.lastTransitionTime) ||
    timeOf(pod.metadata.deletionTimestamp) || timeOf(pod.metadata.creationTimestamp);
}

/** The pods to take so that `want` stay: of Indexed Jobs doubled and foreign indexes first. */
export function victimsOf(
  context: ActorContext,
  job: Obj,
  { active, want }: { active: readonly Obj[]; want: number },
): Obj[] {
  const now = context.clock.now();
  const sorted = sortForDeletion([...active], () => 0, now);
  const victims: Obj[] = [];
  if (isIndexed(job)) {
    const seen = new Set<number>();
    // The one that would go last is the one that stays.
    for (const pod of [...sorted].reverse()) {
      const index = indexOf(pod);
      if (index === undefined || index >= job.spec.completions || seen.has(index)) {
        victims.push(pod);
      } else seen.add(index);
    }
  }
  const surplus = active.length - want - victims.length;
  if (surplus > 0) {
    victims.push(...sorted.filter((pod) => !victims.includes(pod)).slice(0, surplus));
  }
  return victims;
}
