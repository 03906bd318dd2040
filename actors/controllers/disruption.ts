/**
 * Disruption budgets: how many of the pods that a PodDisruptionBudget selects may be evicted now. The eviction
 * subresource counts its evictions off the status; this keeps the status true.
 *
 * Behaviour matched: pkg/controller/disruption/disruption.go, v1.36.
 */
import { labelSelector } from "../../api/machinery/selectors.ts";
import { formatTime } from "../../api/machinery/time.ts";
import type { Json } from "../../api/machinery/types.ts";
import {
  type ActorContext,
  type Controller,
  DEPLOYMENTS,
  isGone,
  type Outcome,
  POD_DISRUPTION_BUDGETS,
  PODS,
  REPLICA_SETS,
  REPLICATION_CONTROLLERS,
  STATEFUL_SETS,
  targetOf,
} from "../runtime/mod.ts";
import { type Expected, expectedOf, unmanagedText } from "./disruption_scale.ts";
import { type Condition, conditionOf, type Obj, observed, sameStatus, timeOf } from "./objects.ts";
import { isFinished, isReady, textOf } from "./pods.ts";
import type { ControllerPorts, ServedKinds } from "./ports.ts";

/** How long an evicted pod may take to be deleted before its eviction counts as void. */
export const DELETION_MS_MAX = 2 * 60_000;

/** How long a pod may be told that it is to go before it is told that it is not. */
export const STALE_CONDITION_MS = 2 * 60_000;

/** Keys of pods begin so; those of budgets are plain. */
const POD = "pod:";

/** The row. */
export function disruptionController({ kinds }: Pick<ControllerPorts, "kinds">): Controller<void> {
  return {
    name: "disruption",
    account: "disruption-controller",
    component: "controllermanager",
    for: POD_DISRUPTION_BUDGETS,
    watches: [{
      resource: PODS,
      keys(pod, old, context) {
        const namespace = pod.metadata.namespace!;
        const keys: string[] = [];
        for (const budget of context.informers.for(POD_DISRUPTION_BUDGETS).list(namespace)) {
          if (selects(budget, pod) || old && selects(budget, old)) {
            keys.push(`${namespace}/${budget.metadata.name}`);
          }
        }
        if (staleCondition(pod)) keys.push(`${POD}${namespace}/${pod.metadata.name}`);
        return keys;
      },
    }],
    reads: [REPLICA_SETS, REPLICATION_CONTROLLERS, STATEFUL_SETS, DEPLOYMENTS],
    reconcile: (key, context) =>
      key.startsWith(POD)
        ? freshen(key.slice(POD.length), context)
        : reconcile(key, kinds, context),
  };
}

function selects(budget: Obj, pod: Obj): boolean {
  return labelSelector(budget.spec?.selector).matches(pod.metadata.labels);
}

async function reconcile(
  key: string,
  kinds: ServedKinds,
  context: ActorContext,
): Promise<Outcome> {
  const budget = context.informers.for(POD_DISRUPTION_BUDGETS).get(key);
  if (!budget) return;
  const say = (type: "Normal" | "Warning", reason: string, text: string) =>
    context.recorder.event(budget, type, reason, text);
  const pods = [...context.informers.for(PODS).list(budget.metadata.namespace)]
    .filter((pod) => selects(budget, pod));
  if (pods.length === 0) say("Normal", "NoPods", "No matching pods found");
  let counts: Expected;
  try {
    counts = await expectedOf(budget, pods, { kinds, context });
  } catch (error) {
    const text = textOf(error);
    say(
      "Warning",
      "CalculateExpectedPodCountFailed",
      `Failed to calculate the number of expected pods: ${text}`,
    );
    return await unlessGone(failSafe(budget, text, context));
  }
  if (counts.unmanaged) say("Warning", "UnmanagedPods", unmanagedText(budget));
  return await unlessGone(writeStatus(budget, pods, counts, context));
}

async function unlessGone<T>(write: Promise<T>): Promise<T | undefined> {
  try {
    return await write;
  } catch (error) {
    if (isGone(error)) return undefined;
    throw error;
  }
}

// --- pods that were told that they are to go ----------------------------------------------------------

/** A pod's word that it is disrupted, while nothing deletes it; the kubelet's own word is never stale. */
function staleCondition(pod: Obj): Condition | undefined {
  if (pod.metadata.deletionTimestamp || isFinished(pod)) return undefined;
  const condition = conditionOf(pod.status, "DisruptionTarget");
  if (condition?.status !== "True" || condition.reason === "TerminationByKubelet") return undefined;
  return condition;
}

/** Takes the word back when the pod was not deleted in time. */
async function freshen(key: string, context: ActorContext): Promise<Outcome> {
  const pod = context.informers.for(PODS).get(key);
  const stale = pod && staleCondition(pod);
  if (!stale) return;
  const now = context.clock.now();
  const leftMs = timeOf(stale.lastTransitionTime) + STALE_CONDITION_MS - now;
  if (leftMs > 0) return { afterMs: leftMs };
  const condition = {
    type: "DisruptionTarget",
    status: "False",
    reason: null,
    message: null,
    lastTransitionTime: formatTime(now),
    ...observed(pod),
  };
  await unlessGone(context.client.patch(targetOf(PODS, pod, "status"), {
    type: "strategic",
    body: { metadata: { uid: pod.metadata.uid }, status: { conditions: [condition] } },
  }));
}

// --- the status ---------------------------------------------------------------------------------------

async function writeStatus(
  budget: Obj,
  pods: readonly Obj[],
  { expected, desired }: Expected,
  context: ActorContext,
): Promise<Outcome> {
  const now = context.clock.now();
  const { disrupted, nextAt } = stillDisrupted(budget, pods, context);
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
function stillDisrupted(budget: Obj, pods: readonly Obj[], context: ActorContext) {
  const now = context.clock.now();
  const disrupted: Record<string, string> = {};
  let nextAt: number | undefined;
  for (
    const [name, time] of Object.entries(
      (budget.status?.disruptedPods ?? {}) as Record<string, string>,
    )
  ) {
    const pod = pods.find((p) => p.metadata.name === name);
    const until = timeOf(time) + DELETION_MS_MAX;
    if (!pod || pod.metadata.deletionTimestamp) continue;
    if (until <= now) {
      const { namespace } = budget.metadata;
      // Upstream names the namespace twice.
      const text = `Pod was expected by PDB ${namespace}/${namespace} to be deleted but it wasn't`;
      context.recorder.event(pod, "Warning", "NotDeleted", text);
      continue;
    }
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
