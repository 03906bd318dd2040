/**
 * Disruption budgets: how many of the pods that a PodDisruptionBudget selects may be evicted now. The eviction
 * subresource counts its evictions off the status; this keeps the status true.
 *
 * Behaviour matched: pkg/controller/disruption/disruption.go, v1.36.
 */
import { scaledValue } from "../../api/machinery/int_or_string.ts";
import { labelSelector } from "../../api/machinery/selectors.ts";
import { formatTime } from "../../api/machinery/time.ts";
import type { Json, ResourceId } from "../../api/machinery/types.ts";
import {
  type ActorContext,
  type Controller,
  controllerOf,
  DEPLOYMENTS,
  isGone,
  JOBS,
  type Outcome,
  POD_DISRUPTION_BUDGETS,
  PODS,
  REPLICA_SETS,
  REPLICATION_CONTROLLERS,
  STATEFUL_SETS,
  targetOf,
} from "../runtime/mod.ts";
import { conditionOf, type Obj, sameStatus, timeOf } from "./objects.ts";
import { isFinished, isReady } from "./pods.ts";

/** How long an evicted pod may take to be deleted before its eviction counts as void. */
export const DELETION_MS_MAX = 2 * 60_000;

/** What pods are owned by, where a budget can know how many there should be. */
const SCALES: Record<string, ResourceId> = {
  ReplicaSet: REPLICA_SETS,
  ReplicationController: REPLICATION_CONTROLLERS,
  StatefulSet: STATEFUL_SETS,
};

export const disruptionController: Controller<void> = {
  name: "disruption",
  account: "disruption-controller",
  component: "controllermanager",
  for: POD_DISRUPTION_BUDGETS,
  watches: [{
    resource: PODS,
    keys(pod, old, context) {
      const namespace = pod.metadata.namespace!;
      return [...context.informers.for(POD_DISRUPTION_BUDGETS).list(namespace)]
        .filter((budget) => selects(budget, pod) || (old && selects(budget, old)))
        .map((budget) => `${namespace}/${budget.metadata.name}`);
    },
  }],
  reads: [REPLICA_SETS, REPLICATION_CONTROLLERS, STATEFUL_SETS, DEPLOYMENTS, JOBS],
  reconcile,
};

function selects(budget: Obj, pod: Obj): boolean {
  return labelSelector(budget.spec?.selector).matches(pod.metadata.labels);
}

async function reconcile(key: string, context: ActorContext): Promise<Outcome> {
  const budget = context.informers.for(POD_DISRUPTION_BUDGETS).get(key);
  if (!budget) return;
  const pods = [...context.informers.for(PODS).list(budget.metadata.namespace)]
    .filter((pod) => selects(budget, pod));
  try {
    const counts = expectedOf(budget, pods, context);
    return await writeStatus(budget, pods, counts, context);
  } catch (error) {
    if (isGone(error)) return;
    if (!(error instanceof UnknownScale)) throw error;
    context.recorder.event(
      budget,
      "Warning",
      "CalculateExpectedPodCountFailed",
      `Failed to calculate the number of expected pods: ${error.message}`,
    );
    await failSafe(budget, error.message, context);
  }
}

/** A budget that must know how many pods there should be, over pods that nobody can tell it of. */
class UnknownScale extends Error {}

interface Counts {
  expected: number;
  desired: number;
}

function expectedOf(budget: Obj, pods: readonly Obj[], context: ActorContext): Counts {
  const { minAvailable, maxUnavailable } = budget.spec;
  if (maxUnavailable !== undefined) {
    const expected = scaleOf(pods, context);
    const allowed = scaledValue(maxUnavailable, expected, true);
    return { expected, desired: Math.max(0, expected - allowed) };
  }
  if (minAvailable === undefined || typeof minAvailable === "number") {
    return { expected: pods.length, desired: minAvailable ?? 1 };
  }
  const expected = scaleOf(pods, context);
  return { expected, desired: scaledValue(minAvailable, expected, true) };
}

/** How many pods their controllers want in all. */
function scaleOf(pods: readonly Obj[], context: ActorContext): number {
  const counted = new Map<string, number>();
  for (const pod of pods) {
    const owner = controllerOf(pod);
    if (!owner) {
      throw new UnknownScale(`found no controllers for pod "${pod.metadata.name}"`);
    }
    if (counted.has(owner.uid)) continue;
    const resource = SCALES[owner.kind];
    const found = resource &&
      context.informers.for(resource).get(`${pod.metadata.namespace}/${owner.name}`);
    if (!found || found.metadata.uid !== owner.uid) {
      throw new UnknownScale(
        `${owner.kind} ${pod.metadata.namespace}/${owner.name} does not implement the scale subresource`,
      );
    }
    // A ReplicaSet of a Deployment wants what its Deployment wants in all: others of it may hold the rest.
    const above = controllerOf(found);
    const deployment = above?.kind === "Deployment"
      ? context.informers.for(DEPLOYMENTS).get(`${pod.metadata.namespace}/${above.name}`)
      : undefined;
    if (deployment) counted.set(deployment.metadata.uid, deployment.spec.replicas ?? 1);
    counted.set(owner.uid, deployment ? 0 : found.spec.replicas ?? 1);
  }
  return [...counted.values()].reduce((sum, count) => sum + count, 0);
}

async function writeStatus(
  budget: Obj,
  pods: readonly Obj[],
  { expected, desired }: Counts,
  context: ActorContext,
): Promise<Outcome> {
  const now = context.clock.now();
  const { disrupted, nextAt } = stillDisrupted(budget, pods, now);
  const healthy =
    pods.filter((pod) =>
      !pod.metadata.deletionTimestamp && !isFinished(pod) && isReady(pod) &&
      !(pod.metadata.name in disrupted)
    ).length;
  const allowed = expected > 0 ? Math.max(0, healthy - desired) : 0;
  const status = {
    currentHealthy: healthy,
    desiredHealthy: desired,
    expectedPods: expected,
    disruptionsAllowed: allowed,
    observedGeneration: budget.metadata.generation,
    ...(Object.keys(disrupted).length > 0 && { disruptedPods: disrupted }),
    conditions: conditionsOf(
      budget,
      allowed > 0,
      allowed > 0 ? "SufficientPods" : "InsufficientPods",
      "",
      now,
    ),
  };
  if (!sameStatus(budget.status, status) || budget.status?.disruptionsAllowed === undefined) {
    await put(budget, status, context);
  }
  if (nextAt !== undefined) return { afterMs: Math.max(nextAt - now, 0) };
}

/** Evictions that were granted and whose pods have not gone yet. */
function stillDisrupted(budget: Obj, pods: readonly Obj[], now: number) {
  const disrupted: Record<string, string> = {};
  let nextAt: number | undefined;
  for (
    const [name, time] of Object.entries(
      (budget.status?.disruptedPods ?? {}) as Record<string, string>,
    )
  ) {
    const pod = pods.find((p) => p.metadata.name === name);
    const until = timeOf(time) + DELETION_MS_MAX;
    if (!pod || pod.metadata.deletionTimestamp || until <= now) continue;
    disrupted[name] = time;
    nextAt = Math.min(nextAt ?? until, until);
  }
  return { disrupted, nextAt };
}

function conditionsOf(budget: Obj, allowed: boolean, reason: string, message: string, now: number) {
  const status = allowed ? "True" : "False";
  const old = conditionOf(budget.status, "DisruptionAllowed");
  const lastTransitionTime = old?.status === status ? old.lastTransitionTime! : formatTime(now);
  return [{
    type: "DisruptionAllowed",
    status,
    reason,
    message,
    lastTransitionTime,
    observedGeneration: budget.metadata.generation!,
  }];
}

/** Nobody may be evicted while it is not known how many there should be. */
async function failSafe(budget: Obj, message: string, context: ActorContext): Promise<void> {
  const status = {
    ...budget.status,
    disruptionsAllowed: 0,
    observedGeneration: budget.metadata.generation,
    conditions: conditionsOf(budget, false, "SyncFailed", message, context.clock.now()),
  };
  if (!sameStatus(budget.status, status)) await put(budget, status, context);
}

async function put(budget: Obj, status: object, context: ActorContext): Promise<void> {
  const { uid, resourceVersion } = budget.metadata;
  await context.client.patch(targetOf(POD_DISRUPTION_BUDGETS, budget, "status"), {
    type: "merge",
    body: {
      metadata: { uid, resourceVersion },
      status: { disruptedPods: null, ...status } as { [key: string]: Json },
    },
  });
}
