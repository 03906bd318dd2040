/**
 * Deployments: one ReplicaSet per pod template, and the way from one to the next.
 *
 * A ReplicaSet's name holds the hash of its template, so a repeated creation collides instead of
 * doubling; sizes are written under the set's resourceVersion, so a decision made on an old cache is
 * refused. A set that the cache does not show is not counted, and the next one would be made at full
 * size beside it: `OwnWrites` keeps a Deployment back until its sets are seen. (Upstream does not wait.)
 * Everything else is arithmetic (`deployment_scale.ts`) and words (`deployment_status.ts`).
 *
 * Behaviour matched: pkg/controller/deployment, v1.36.
 */
import { keyOf } from "../../api/client/contract.ts";
import type { KubeObject } from "../../api/machinery/types.ts";
import type { Informer } from "../../api/client/contract.ts";
import { labelSelector } from "../../api/machinery/selectors.ts";
import {
  type ActorContext,
  allAtOnce,
  childrenOf,
  claim,
  type Controller,
  controllerOf,
  DEPLOYMENTS,
  indexOwnership,
  isGone,
  isNamespaceGoing,
  type Outcome,
  OWN_WRITES_MS_MAX,
  OwnWrites,
  PODS,
  REPLICA_SETS,
  targetOf,
} from "../runtime/mod.ts";
import {
  activeOf,
  annotatedCount,
  DESIRED_REPLICAS,
  MAX_REPLICAS,
  newSize,
  proportional,
  revisionOf,
  shrinkOld,
  sizeOf,
  totalStatus,
} from "./deployment_scale.ts";
import { arrangeSets, type Sets, sizesFor } from "./deployment_sets.ts";
import {
  countsOf,
  deadlineAfterMs,
  hasDeadline,
  isComplete,
  progressing,
  rolloutStatus,
  withCondition,
  writeStatus,
} from "./deployment_status.ts";
import { byAge, conditionOf, type Obj, sameStatus, timeOf } from "./objects.ts";
import { isFinished } from "./pods.ts";

interface State {
  deployments: Informer;
  sets: Informer;
  pods: Informer;
  writes: OwnWrites;
}

export const deploymentController: Controller<State> = {
  name: "deployment",
  account: "deployment-controller",
  kind: "Deployment",
  for: DEPLOYMENTS,
  owns: [REPLICA_SETS],
  watches: [{
    // Recreate waits for the last old pod: its end wakes the Deployment.
    resource: PODS,
    keys(pod, old, context) {
      if (!isFinished(pod) && context.informers.for(PODS).get(podKey(pod)) && old) return [];
      const set = controllerOf(pod);
      if (set?.kind !== "ReplicaSet") return [];
      const { namespace } = pod.metadata;
      const owner = context.informers.for(REPLICA_SETS).get(`${namespace}/${set.name}`);
      const deployment = owner && controllerOf(owner);
      if (deployment?.kind !== "Deployment") return [];
      const key = `${namespace}/${deployment.name}`;
      const found = context.informers.for(DEPLOYMENTS).get(key);
      return found?.spec.strategy?.type === "Recreate" ? [key] : [];
    },
  }],
  start(context) {
    const deployments = context.informers.for(DEPLOYMENTS);
    const sets = context.informers.for(REPLICA_SETS);
    const pods = context.informers.for(PODS);
    indexOwnership(pods);
    return { deployments, sets, pods, writes: new OwnWrites(sets, context.clock) };
  },
  reconcile,
};

function podKey(pod: Obj): string {
  return `${pod.metadata.namespace}/${pod.metadata.name}`;
}

/** Brings one Deployment a step further; in a namespace that is going away there is nothing to try again. */
export async function reconcile(
  key: string,
  context: ActorContext,
  state: State,
): Promise<Outcome> {
  try {
    return await stepOf(key, context, state);
  } catch (error) {
    if (!isNamespaceGoing(error)) throw error;
  }
}

async function stepOf(key: string, context: ActorContext, state: State): Promise<Outcome> {
  let deployment = state.deployments.get(key);
  if (!deployment) {
    state.writes.forget(key);
    return;
  }
  const settling = state.writes.settled(key, context.client);
  if (settling) await settling;
  if (!state.writes.seen(key)) return { afterMs: OWN_WRITES_MS_MAX };
  const selector = labelSelector(deployment.spec.selector);
  if (selector.empty) return await refuseSelectingAll(context, deployment);
  const sets = await claim({
    client: context.client,
    children: state.sets,
    owner: deployment,
    resource: DEPLOYMENTS,
    selector,
  });
  if (deployment.metadata.deletionTimestamp) {
    const arranged = await arrangeSets(context, { deployment, sets });
    return arranged && await writeCounts(context, arranged);
  }
  deployment = await checkPaused(context, deployment);
  const recreates = deployment.spec.strategy?.type === "Recreate";
  // Several sets with pods, which a Deployment that recreates only has by adoption, keep no proportion: the old ones
  // go. (Upstream's waits for ever there.)
  const apart = recreates && activeOf(sets).length > 1;
  if (deployment.spec.paused || wasScaled(deployment, sets) && !apart) {
    return await rescale(context, state, { deployment, sets });
  }
  return recreates
    ? await recreate(context, state, { deployment, sets })
    : await roll(context, state, { deployment, sets });
}

async function refuseSelectingAll(context: ActorContext, deployment: Obj): Promise<void> {
  context.recorder.event(
    deployment,
    "Warning",
    "SelectingAll",
    "This deployment is selecting all pods. A non-empty selector is required.",
  );
  const { generation } = deployment.metadata;
  if ((deployment.status?.observedGeneration ?? 0) < (generation ?? 0)) {
    const status = { ...deployment.status, observedGeneration: generation };
    await writeStatus(context, deployment, status);
  }
}

/** Says in the Progressing condition that the Deployment was paused or resumed. */
async function checkPaused(context: ActorContext, deployment: Obj): Promise<Obj> {
  if (!hasDeadline(deployment)) return deployment;
  const condition = conditionOf(deployment.status, "Progressing");
  if (condition?.reason === "ProgressDeadlineExceeded") return deployment;
  const said = condition?.reason === "DeploymentPaused";
  if (Boolean(deployment.spec.paused) === said) return deployment;
  const [reason, message] = deployment.spec.paused
    ? ["DeploymentPaused", "Deployment is paused"]
    : ["DeploymentResumed", "Deployment is resumed"];
  const now = context.clock.now();
  const status = withCondition(
    deployment.status ?? {},
    progressing(now, "Unknown", reason, message),
  );
  return await writeStatus(context, deployment, status);
}

/** Whether the Deployment's size changed since its ReplicaSets were sized. */
function wasScaled(deployment: Obj, sets: readonly Obj[]): boolean {
  return activeOf(sets).some((set) => {
    const desired = annotatedCount(set, DESIRED_REPLICAS);
    return desired !== undefined && desired !== sizeOf(deployment);
  });
}

// --- the ways forward -------------------------------------------------------------------------------

/** Rolling: grow the new set as far as the surge allows, then shrink the old as availability allows. */
async function roll(
  context: ActorContext,
  { writes }: State,
  { deployment, sets }: { deployment: Obj; sets: readonly Obj[] },
): Promise<Outcome> {
  const arranged = await arrangeSets(context, { deployment, sets, writes });
  if (!arranged) return { afterMs: 5 };
  const { old } = arranged;
  const newSet = arranged.newSet!;
  const target = sizeOf(newSet) > sizeOf(arranged.deployment)
    ? sizeOf(arranged.deployment)
    : newSize(arranged.deployment, [...old, newSet], sizeOf(newSet));
  if (target !== sizeOf(newSet)) {
    const grown = await scaleSet(context, writes, {
      deployment: arranged.deployment,
      set: newSet,
      size: target,
    });
    return await finish(context, { ...arranged, newSet: grown });
  }
  const shrinking = shrinkOld(arranged.deployment, newSet, old);
  if (shrinking.length > 0) {
    const shrunk = new Map<Obj, Obj>();
    for (const step of shrinking) {
      shrunk.set(
        step.set,
        await scaleSet(context, writes, { deployment: arranged.deployment, ...step }),
      );
    }
    return await finish(context, { ...arranged, old: old.map((set) => shrunk.get(set) ?? set) });
  }
  return await finishClean(context, arranged);
}

/** Recreate: every old pod goes before the first new one comes. */
async function recreate(
  context: ActorContext,
  state: State,
  { deployment, sets }: { deployment: Obj; sets: readonly Obj[] },
): Promise<Outcome> {
  let arranged = await arrangeSets(context, { deployment, sets });
  if (!arranged) return { afterMs: 5 };
  const active = activeOf(arranged.old);
  if (active.length > 0) {
    const zeroed = new Map<Obj, Obj>();
    for (const set of active) {
      zeroed.set(
        set,
        await scaleSet(context, state.writes, { deployment: arranged.deployment, set, size: 0 }),
      );
    }
    const old = arranged.old.map((set) => zeroed.get(set) ?? set);
    return await finish(context, { ...arranged, old });
  }
  if (oldPodsRun(state, arranged.old)) return await finish(context, arranged);
  if (!arranged.newSet) {
    arranged = await arrangeSets(context, {
      deployment: arranged.deployment,
      sets,
      writes: state.writes,
    });
    if (!arranged?.newSet) return { afterMs: 5 };
  }
  const newSet = await scaleSet(context, state.writes, {
    deployment: arranged.deployment,
    set: arranged.newSet!,
    size: sizeOf(arranged.deployment),
  });
  return await finishClean(context, { ...arranged, newSet });
}

function oldPodsRun(state: State, old: readonly Obj[]): boolean {
  if (totalStatus(old, "replicas") > 0) return true;
  return old.some((set) =>
    childrenOf(state.pods, set.metadata.uid).some((pod) => !isFinished(pod))
  );
}

/** The Deployment is paused or was scaled: keep the proportions of what there is. */
async function rescale(
  context: ActorContext,
  { writes }: State,
  { deployment, sets }: { deployment: Obj; sets: readonly Obj[] },
): Promise<Outcome> {
  const arranged = await arrangeSets(context, { deployment, sets });
  if (!arranged) return { afterMs: 5 };
  const sizes = sizesAfterScaling(arranged);
  const scaled = new Map<Obj, Obj>();
  for (const sizing of sizes) {
    scaled.set(
      sizing.set,
      await scaleSet(context, writes, { deployment: arranged.deployment, ...sizing }),
    );
  }
  const after = {
    ...arranged,
    newSet: arranged.newSet && (scaled.get(arranged.newSet) ?? arranged.newSet),
    old: arranged.old.map((set) => scaled.get(set) ?? set),
  };
  if (deployment.spec.paused) await dropHistory(context, after);
  return await writeCounts(context, after);
}

function sizesAfterScaling({ deployment, newSet, old }: Sets): { set: Obj; size: number }[] {
  const size = sizeOf(deployment);
  const active = activeOf([...old, newSet]);
  const only = active.length === 1
    ? active[0]
    : active.length === 0
    ? newSet ?? [...old].sort((a, b) => byAge(b, a))[0]
    : undefined;
  if (active.length <= 1) return only ? [{ set: only, size }] : [];
  if (newSet && isSaturated(deployment, newSet)) {
    return activeOf(old).map((set) => ({ set, size: 0 }));
  }
  if (deployment.spec.strategy?.type === "Recreate") return [];
  return proportional(deployment, active);
}

function isSaturated(deployment: Obj, newSet: Obj): boolean {
  const size = sizeOf(deployment);
  return sizeOf(newSet) === size && annotatedCount(newSet, DESIRED_REPLICAS) === size &&
    (newSet.status?.availableReplicas ?? 0) === size;
}

// --- writes -----------------------------------------------------------------------------------------

/** Gives a set a size and the annotations that go with it; the set as it is then. */
async function scaleSet(
  context: ActorContext,
  writes: OwnWrites,
  { deployment, set, size }: { deployment: Obj; set: Obj; size: number },
): Promise<Obj> {
  const sizes = sizesFor(deployment);
  const present = set.metadata.annotations;
  const before = sizeOf(set);
  const told = present?.[DESIRED_REPLICAS] === sizes[DESIRED_REPLICAS] &&
    present?.[MAX_REPLICAS] === sizes[MAX_REPLICAS];
  if (before === size && told) return set;
  const scaled = await writes.make(
    keyOf(deployment),
    () =>
      context.client.update<KubeObject>(targetOf(REPLICA_SETS, set), {
        ...set,
        metadata: { ...set.metadata, annotations: { ...present, ...sizes } },
        spec: { ...set.spec, replicas: size },
      }),
  );
  if (before !== size) {
    const way = before < size ? "up" : "down";
    const text = `Scaled ${way} replica set ${set.metadata.name} from ${before} to ${size}`;
    context.recorder.event(deployment, "Normal", "ScalingReplicaSet", text);
  }
  return scaled;
}

async function finishClean(context: ActorContext, sets: Sets): Promise<Outcome> {
  if (isComplete(sets.deployment, sets.deployment.status)) await dropHistory(context, sets);
  return await finish(context, sets);
}

/** The last step of a rollout: the status, and when to look again for the deadline. */
async function finish(context: ActorContext, { deployment, newSet, old }: Sets): Promise<Outcome> {
  const now = context.clock.now();
  const all = newSet ? [...old, newSet] : old;
  const status = rolloutStatus(deployment, all, newSet, now);
  if (!sameStatus(status, deployment.status)) await writeStatus(context, deployment, status);
  const afterMs = deadlineAfterMs(deployment, status, now);
  return afterMs === undefined ? undefined : { afterMs };
}

async function writeCounts(
  context: ActorContext,
  { deployment, newSet, old }: Sets,
): Promise<void> {
  const all = newSet ? [...old, newSet] : old;
  const status = countsOf(deployment, all, newSet, context.clock.now());
  if (!sameStatus(status, deployment.status)) await writeStatus(context, deployment, status);
}

/** Deletes the oldest empty sets beyond the history limit. */
async function dropHistory(context: ActorContext, { deployment, old }: Sets): Promise<void> {
  const limit = deployment.spec.revisionHistoryLimit;
  if (limit === undefined || limit === null || limit === 2_147_483_647) return;
  const alive = old.filter((set) => !set.metadata.deletionTimestamp);
  const surplus = alive.length - limit;
  if (surplus <= 0) return;
  alive.sort((a, b) =>
    Number(revisionOf(a) - revisionOf(b)) ||
    timeOf(a.metadata.creationTimestamp) - timeOf(b.metadata.creationTimestamp)
  );
  const unused = alive.slice(0, surplus).filter((set) =>
    (set.status?.replicas ?? 0) === 0 && sizeOf(set) === 0 &&
    (set.metadata.generation ?? 0) <= (set.status?.observedGeneration ?? 0)
  );
  await allAtOnce(unused, async (set) => {
    await context.client.delete(targetOf(REPLICA_SETS, set)).catch((error) => {
      if (!isGone(error)) throw error;
    });
  });
}
