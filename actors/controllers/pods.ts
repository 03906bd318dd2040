/**
 * What controllers know of pods: whether one is active, ready, available; which of too many goes first;
 * and how one is made from a template, with upstream's events. Semantics of upstream's
 * pkg/controller/controller_utils.go and api/v1/pod/util.go.
 */
import { isDns1123Subdomain } from "../../api/machinery/names.ts";
import {
  type ActorContext,
  codeOf,
  controllerReference,
  isGone,
  isNamespaceGoing,
  PODS,
  targetOf,
} from "../runtime/mod.ts";
import { type Condition, conditionOf, type Obj, timeOf } from "./objects.ts";

/** Neither ended nor on its way out. */
export function isActive(pod: Obj): boolean {
  return !isFinished(pod) && !pod.metadata.deletionTimestamp;
}

/** Succeeded or Failed. */
export function isFinished(pod: Obj): boolean {
  const phase = pod.status?.phase;
  return phase === "Succeeded" || phase === "Failed";
}

/** On its way out, and not ended yet. */
export function isTerminating(pod: Obj): boolean {
  return !isFinished(pod) && pod.metadata.deletionTimestamp !== undefined;
}

/** The Ready condition. */
export function readyCondition(pod: Obj): Condition | undefined {
  return conditionOf(pod.status, "Ready");
}

export function isReady(pod: Obj): boolean {
  return readyCondition(pod)?.status === "True";
}

/** Ready for at least so many seconds. */
export function isAvailable(pod: Obj, minReadySeconds: number, now: number): boolean {
  const ready = readyCondition(pod);
  if (ready?.status !== "True") return false;
  if (!minReadySeconds) return true;
  const since = timeOf(ready.lastTransitionTime);
  return since > 0 && since + minReadySeconds * 1000 <= now;
}

/** When the next of these ready pods becomes available, in ms from now; undefined when none will. */
export function nextAvailableMs(
  pods: readonly Obj[],
  minReadySeconds: number,
  now: number,
): number | undefined {
  if (!minReadySeconds) return undefined;
  let next: number | undefined;
  for (const pod of pods) {
    const ready = readyCondition(pod);
    if (ready?.status !== "True") continue;
    const leftMs = timeOf(ready.lastTransitionTime) + minReadySeconds * 1000 - now;
    if (leftMs > 0 && (next === undefined || leftMs < next)) next = leftMs;
  }
  return next;
}

// --- which pods go first ----------------------------------------------------------------------------

const PHASES: Record<string, number> = { Pending: 0, Unknown: 1, Running: 2 };
const DELETION_COST = "controller.kubernetes.io/pod-deletion-cost";

function deletionCost(pod: Obj): number {
  const text = pod.metadata.annotations?.[DELETION_COST];
  return text !== undefined && /^(0|-?[1-9][0-9]*)$/.test(text) ? Number(text) : 0;
}

/** How often the containers restarted at most: the regular ones, then the sidecars. */
function restarts(pod: Obj): [number, number] {
  let regular = 0;
  let sidecar = 0;
  for (const status of pod.status?.containerStatuses ?? []) {
    regular = Math.max(regular, status.restartCount ?? 0);
  }
  const always = new Set<string>();
  for (const container of pod.spec.initContainers ?? []) {
    if (container.restartPolicy === "Always") always.add(container.name);
  }
  if (always.size > 0) {
    for (const status of pod.status?.initContainerStatuses ?? []) {
      if (always.has(status.name)) sidecar = Math.max(sidecar, status.restartCount ?? 0);
    }
  }
  return [regular, sidecar];
}

/** Ages differ only when their magnitude does: so the choice among young pods is random by uid. */
function ageRank(since: number, now: number): number {
  const nanos = (now - since) * 1e6;
  return nanos > 0 ? Math.floor(Math.log2(nanos)) : -1;
}

/**
 * Puts pods in the order in which they are deleted: unassigned first, then pending, unready, cheap,
 * doubled up on a node, ready for the shortest time, restarted most, and youngest. `rank` tells how many
 * related pods share a pod's node.
 */
export function sortForDeletion(pods: Obj[], rank: (pod: Obj) => number, now: number): Obj[] {
  const phase = (pod: Obj) => PHASES[pod.status?.phase as string] ?? 0;
  return pods.sort((a, b) => {
    const unassigned = Number(Boolean(a.spec.nodeName)) - Number(Boolean(b.spec.nodeName));
    if (unassigned !== 0) return unassigned;
    if (phase(a) !== phase(b)) return phase(a) - phase(b);
    const [readyA, readyB] = [isReady(a), isReady(b)];
    if (readyA !== readyB) return Number(readyA) - Number(readyB);
    const cost = deletionCost(a) - deletionCost(b);
    if (cost !== 0) return cost;
    const doubled = rank(b) - rank(a);
    if (doubled !== 0) return doubled;
    if (readyA) {
      const order = compareAges(
        timeOf(readyCondition(a)!.lastTransitionTime),
        timeOf(readyCondition(b)!.lastTransitionTime),
      );
      if (order !== undefined) return order;
    }
    const [moreA, moreB] = [restarts(a), restarts(b)];
    if (moreA[0] !== moreB[0]) return moreB[0] - moreA[0];
    if (moreA[1] !== moreB[1]) return moreB[1] - moreA[1];
    return compareAges(
      timeOf(a.metadata.creationTimestamp),
      timeOf(b.metadata.creationTimestamp),
    ) ?? 0;

    function compareAges(sinceA: number, sinceB: number): number | undefined {
      if (sinceA === sinceB) return undefined;
      if (sinceA === 0 || sinceB === 0) return sinceA - sinceB;
      const order = ageRank(sinceA, now) - ageRank(sinceB, now);
      if (order !== 0) return order;
      return a.metadata.uid < b.metadata.uid ? -1 : 1;
    }
  });
}

// --- making and removing ----------------------------------------------------------------------------

/** The pod that an owner's template describes, without a name. */
export function podFromTemplate(template: Obj["spec"], owner: Obj): Record<string, unknown> {
  const { labels, annotations, finalizers } = template.metadata ?? {};
  const prefix = `${owner.metadata.name}-`;
  // A prefix that could not begin a pod's name is left as it is.
  const fits = isDns1123Subdomain(`${prefix}x`).length === 0;
  const metadata: Record<string, unknown> = {
    generateName: fits ? prefix : owner.metadata.name,
    namespace: owner.metadata.namespace,
    ownerReferences: [controllerReference(owner)],
  };
  if (labels) metadata.labels = labels;
  if (annotations) metadata.annotations = annotations;
  if (finalizers) metadata.finalizers = finalizers;
  return { apiVersion: "v1", kind: "Pod", metadata, spec: template.spec };
}

/** Creates a pod for an owner and says so; rejects when the API refuses. */
export async function createPod(context: ActorContext, owner: Obj, pod: object): Promise<Obj> {
  const { namespace } = owner.metadata;
  try {
    const made = await context.client.create({ resource: PODS, namespace }, pod);
    context.recorder.event(
      owner,
      "Normal",
      "SuccessfulCreate",
      `Created pod: ${made.metadata.name}`,
    );
    return made;
  } catch (error) {
    if (!isNamespaceGoing(error)) {
      context.recorder.event(owner, "Warning", "FailedCreate", `Error creating: ${textOf(error)}`);
    }
    throw error;
  }
}

/** Deletes an owner's pod and says so. Resolves with false when it is gone already. */
export async function deletePod(context: ActorContext, owner: Obj, pod: Obj): Promise<boolean> {
  try {
    await context.client.delete(targetOf(PODS, pod), {
      preconditions: { uid: pod.metadata.uid },
    });
  } catch (error) {
    if (isGone(error) || codeOf(error) === 409) return false;
    const text = `Error deleting: ${textOf(error)}`;
    context.recorder.event(owner, "Warning", "FailedDelete", text);
    throw error;
  }
  const text = `Deleted pod: ${pod.metadata.name}`;
  context.recorder.event(owner, "Normal", "SuccessfulDelete", text);
  return true;
}

/** An error's text, as it goes into events and conditions. */
export function textOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
