/**
 * A Deployment's status: counts, and the conditions Available, Progressing and ReplicaFailure with
 * upstream's reasons and texts.
 *
 * Behaviour matched: pkg/controller/deployment/progress.go, sync.go and util/deployment_util.go, v1.36.
 */
import type { KubeObject } from "../../api/machinery/types.ts";
import { formatTime } from "../../api/machinery/time.ts";
import { type ActorContext, DEPLOYMENTS, targetOf } from "../runtime/mod.ts";
import { maxUnavailable, sizeOf, totalStatus } from "./deployment_scale.ts";
import { compact, type Condition, conditionOf, type Obj, timeOf } from "./objects.ts";

type Status = Obj["status"];

const NO_DEADLINE = 2_147_483_647;

/** Whether the Deployment's progress is watched at all. */
export function hasDeadline(deployment: Obj): boolean {
  const seconds = deployment.spec.progressDeadlineSeconds;
  return seconds !== undefined && seconds !== null && seconds !== NO_DEADLINE;
}

/** A Progressing condition of this moment. */
export function progressing(
  now: number,
  status: Condition["status"],
  reason: string,
  message: string,
): Condition {
  const at = formatTime(now);
  return {
    type: "Progressing",
    status,
    lastUpdateTime: at,
    lastTransitionTime: at,
    reason,
    message,
  };
}

/** The status with a condition; unchanged when it says the same already. */
export function withCondition(status: Status, condition: Condition): Status {
  const present = conditionOf(status, condition.type);
  if (present?.status === condition.status && present.reason === condition.reason) return status;
  if (present?.status === condition.status) {
    condition = { ...condition, lastTransitionTime: present.lastTransitionTime };
  }
  return { ...status, conditions: [...others(status, condition.type), condition] };
}

function others(status: Status, type: string): Condition[] {
  return (status?.conditions ?? []).filter((condition: Condition) => condition.type !== type);
}

/** Writes a Deployment's status (and with it annotations that were changed in the object given). */
export async function writeStatus(
  context: ActorContext,
  deployment: Obj,
  status: Status,
): Promise<Obj> {
  const target = targetOf(DEPLOYMENTS, deployment, "status");
  return await context.client.update<KubeObject>(target, { ...deployment, status });
}

/** Counts and the Available condition, from the ReplicaSets' own statuses. Pure. */
export function countsOf(
  deployment: Obj,
  sets: readonly Obj[],
  newSet: Obj | undefined,
  now: number,
): Status {
  const availableReplicas = totalStatus(sets, "availableReplicas");
  const replicas = totalStatus(sets, "replicas");
  const status: Status = compact({
    observedGeneration: deployment.metadata.generation,
    replicas,
    updatedReplicas: newSet?.status?.replicas ?? 0,
    readyReplicas: totalStatus(sets, "readyReplicas"),
    availableReplicas,
    unavailableReplicas: Math.max(0, replicas - availableReplicas),
    collisionCount: deployment.status?.collisionCount,
    conditions: deployment.status?.conditions,
  });
  // A pointer upstream: known, and then zero is said too, once every set has counted.
  if (sets.every((set) => set.status?.terminatingReplicas !== undefined)) {
    status.terminatingReplicas = totalStatus(sets, "terminatingReplicas");
  }
  const available = availableReplicas >= sizeOf(deployment) - maxUnavailable(deployment);
  const at = formatTime(now);
  return withCondition(status, {
    type: "Available",
    status: available ? "True" : "False",
    lastUpdateTime: at,
    lastTransitionTime: at,
    reason: available ? "MinimumReplicasAvailable" : "MinimumReplicasUnavailable",
    message: available
      ? "Deployment has minimum availability."
      : "Deployment does not have minimum availability.",
  });
}

/** Whether the rollout is through and everything available. */
export function isComplete(deployment: Obj, status: Status): boolean {
  const wanted = sizeOf(deployment);
  return (status?.updatedReplicas ?? 0) === wanted && (status?.replicas ?? 0) === wanted &&
    (status?.availableReplicas ?? 0) === wanted &&
    (status?.observedGeneration ?? 0) >= (deployment.metadata.generation ?? 0);
}

function hasProgressed(before: Status, after: Status): boolean {
  const old = (status: Status) => (status?.replicas ?? 0) - (status?.updatedReplicas ?? 0);
  const grew = (name: string) => (after?.[name] ?? 0) > (before?.[name] ?? 0);
  return grew("updatedReplicas") || old(after) < old(before) || grew("readyReplicas") ||
    grew("availableReplicas");
}

function hasTimedOut(deployment: Obj, status: Status, now: number): boolean {
  const condition = conditionOf(status, "Progressing");
  if (!hasDeadline(deployment) || !condition) return false;
  if (condition.reason === "NewReplicaSetAvailable") return false;
  if (condition.reason === "ProgressDeadlineExceeded") return true;
  return timeOf(condition.lastUpdateTime) + deployment.spec.progressDeadlineSeconds * 1000 < now;
}

/** The status of a rollout: counts, progress, failures. Pure. */
export function rolloutStatus(
  deployment: Obj,
  sets: readonly Obj[],
  newSet: Obj | undefined,
  now: number,
): Status {
  let status = countsOf(deployment, sets, newSet, now);
  if (!hasDeadline(deployment)) {
    status = { ...status, conditions: others(status, "Progressing") };
  }
  const current = conditionOf(deployment.status, "Progressing");
  const done = (status.replicas ?? 0) === (status.updatedReplicas ?? 0) &&
    current?.reason === "NewReplicaSetAvailable";
  if (hasDeadline(deployment) && !done) {
    const subject = newSet
      ? `ReplicaSet "${newSet.metadata.name}"`
      : `Deployment "${deployment.metadata.name}"`;
    status = progressOf(deployment, status, { subject, current, now });
  }
  const failure = failureOf(sets, newSet);
  status = failure
    ? withCondition(status, failure)
    : { ...status, conditions: others(status, "ReplicaFailure") };
  return status;
}

function progressOf(
  deployment: Obj,
  status: Status,
  facts: { subject: string; current: Condition | undefined; now: number },
): Status {
  const { subject, current, now } = facts;
  if (isComplete(deployment, status)) {
    const message = `${subject} has successfully progressed.`;
    return withCondition(status, progressing(now, "True", "NewReplicaSetAvailable", message));
  }
  if (hasProgressed(deployment.status, status)) {
    let condition = progressing(now, "True", "ReplicaSetUpdated", `${subject} is progressing.`);
    if (current?.status === "True") {
      condition = { ...condition, lastTransitionTime: current.lastTransitionTime };
    }
    // Always replaced, so that the time of the last progress is right.
    return { ...status, conditions: [...others(status, "Progressing"), condition] };
  }
  if (hasTimedOut(deployment, status, now)) {
    const message = `${subject} has timed out progressing.`;
    return withCondition(status, progressing(now, "False", "ProgressDeadlineExceeded", message));
  }
  return status;
}

/** The new set's failure, else the one of any set. */
function failureOf(sets: readonly Obj[], newSet: Obj | undefined): Condition | undefined {
  let found = newSet && conditionOf(newSet.status, "ReplicaFailure");
  for (const set of sets) found ??= conditionOf(set.status, "ReplicaFailure");
  if (!found) return undefined;
  const { type, status, reason, message, lastTransitionTime } = found;
  return {
    type,
    status,
    lastUpdateTime: lastTransitionTime,
    lastTransitionTime,
    reason,
    message,
  };
}

/** When an unfinished rollout has to be looked at for its deadline, in ms from now. */
export function deadlineAfterMs(deployment: Obj, status: Status, now: number): number | undefined {
  const condition = conditionOf(status, "Progressing");
  if (!hasDeadline(deployment) || !condition) return undefined;
  if (isComplete(deployment, status) || condition.reason === "ProgressDeadlineExceeded") {
    return undefined;
  }
  // A rollout that was through and lost pods again has no deadline until it moves.
  if (condition.reason === "NewReplicaSetAvailable") return undefined;
  const dueMs = deployment.spec.progressDeadlineSeconds * 1000;
  return Math.max(1000, timeOf(condition.lastUpdateTime) + dueMs - now + 1000);
}
