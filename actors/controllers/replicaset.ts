/**
 * ReplicaSets and ReplicationControllers: so many pods of a template, no more and no fewer. One
 * implementation, two rows.
 *
 * Pods have generated names, so a repeat would not collide: `OwnWrites` keeps a key back until the cache
 * shows what was done for it. Creation starts slowly and doubles. Status is written last, and while many
 * pods change at once their events are gathered, so that a status is written a few times a second.
 *
 * Behaviour matched: pkg/controller/replicaset/replica_set.go and replica_set_utils.go, v1.36.
 */
import type { Informer } from "../../api/client/contract.ts";
import { labelSelector, type Selector, selectorOf } from "../../api/machinery/selectors.ts";
import { formatTime } from "../../api/machinery/time.ts";
import type { ResourceId } from "../../api/machinery/types.ts";
import {
  type ActorContext,
  allAtOnce,
  childrenOf,
  claim,
  type Controller,
  controllerOf,
  indexOwnership,
  isNamespaceGoing,
  orphansIn,
  type Outcome,
  OWN_WRITES_MS_MAX,
  OwnWrites,
  PODS,
  REPLICA_SETS,
  REPLICATION_CONTROLLERS,
  slowStart,
  targetOf,
} from "../runtime/mod.ts";
import { compact, type Condition, conditionOf, type Obj, sameStatus } from "./objects.ts";
import {
  createPod,
  deletePod,
  isActive,
  isAvailable,
  isReady,
  isTerminating,
  nextAvailableMs,
  podFromTemplate,
  sortForDeletion,
  textOf,
} from "./pods.ts";

/** What differs between the two kinds. */
interface Flavour {
  name: string;
  account: string;
  component: string;
  kind: string;
  resource: ResourceId;
  selector(owner: Obj): Selector;
  /** Status counts pods that are on their way out. */
  terminating: boolean;
}

interface State {
  owners: Informer;
  pods: Informer;
  writes: OwnWrites;
}

/** Owners above this size have their pods' events gathered. */
const GATHER_ABOVE = 32;
const GATHER_MS_MAX = 100;

export const replicaSetController: Controller<State> = replication({
  name: "replicaset",
  account: "replicaset-controller",
  component: "replicaset-controller",
  kind: "ReplicaSet",
  resource: REPLICA_SETS,
  selector: (owner) => labelSelector(owner.spec.selector),
  terminating: true,
});

export const replicationController: Controller<State> = replication({
  name: "replicationcontroller",
  account: "replication-controller",
  component: "replication-controller",
  kind: "ReplicationController",
  resource: REPLICATION_CONTROLLERS,
  selector: (owner) => selectorOf(owner.spec.selector),
  terminating: false,
});

function replication(flavour: Flavour): Controller<State> {
  const { name, account, component, kind, resource } = flavour;
  return {
    name,
    account,
    component,
    kind,
    for: resource,
    owns: [PODS],
    watches: [{
      // A pod without a controller wakes those that may adopt it.
      resource: PODS,
      keys(pod, _old, context) {
        if (controllerOf(pod) || !pod.metadata.labels) return [];
        const keys: string[] = [];
        for (const owner of context.informers.for(resource).list(pod.metadata.namespace)) {
          const selector = flavour.selector(owner);
          if (!selector.empty && selector.matches(pod.metadata.labels)) {
            keys.push(`${owner.metadata.namespace}/${owner.metadata.name}`);
          }
        }
        return keys;
      },
    }],
    gatherMs(key, context) {
      const owner = context.informers.for(resource).get(key);
      const size = owner?.spec.replicas ?? 0;
      return size <= GATHER_ABOVE ? 0 : Math.min(GATHER_MS_MAX, size >> 2);
    },
    start(context) {
      const owners = context.informers.for(resource);
      const pods = context.informers.for(PODS);
      indexOwnership(owners);
      return { owners, pods, writes: new OwnWrites(pods, context.clock) };
    },
    reconcile: (key, context, state) => reconcile(key, context, state, flavour),
  };
}

/** Brings one owner's pods and status to where they should be. */
export async function reconcile(
  key: string,
  context: ActorContext,
  state: State,
  flavour: Flavour,
): Promise<Outcome> {
  const owner = state.owners.get(key);
  if (!owner) {
    state.writes.forget(key);
    return;
  }
  const settling = state.writes.settled(key, context.client);
  if (settling) await settling;
  const inSync = state.writes.seen(key);
  const selector = flavour.selector(owner);
  const claimed = await claimPods(context, state, { owner, selector, flavour });
  const active = claimed.filter(isActive);
  const terminating = claimed.filter(isTerminating).length;
  let failure: Failure | undefined;
  if (inSync && !owner.metadata.deletionTimestamp) {
    failure = await scale(key, context, state, { owner, active });
  }
  const now = context.clock.now();
  const status = statusOf(owner, active, {
    now,
    failure,
    terminating: flavour.terminating ? terminating : undefined,
  });
  if (!sameStatus(status, owner.status)) {
    await context.client.update(targetOf(flavour.resource, owner, "status"), { ...owner, status });
  }
  if (failure) throw failure.error;
  const minReady = owner.spec.minReadySeconds ?? 0;
  const afterMs = nextAvailableMs(active, minReady, now) ??
    (inSync ? undefined : OWN_WRITES_MS_MAX);
  return afterMs === undefined ? undefined : { afterMs };
}

async function claimPods(
  context: ActorContext,
  { pods }: State,
  { owner, selector, flavour }: { owner: Obj; selector: Selector; flavour: Flavour },
): Promise<Obj[]> {
  const { uid, namespace } = owner.metadata;
  // The usual case needs no await: everything controlled is selected and nothing waits for adoption.
  const owned = childrenOf(pods, uid);
  if (
    orphansIn(pods, namespace!).length === 0 &&
    owned.every((pod) => selector.matches(pod.metadata.labels))
  ) return [...owned];
  return await claim({
    client: context.client,
    children: pods,
    owner,
    resource: flavour.resource,
    selector,
    // Pods that ended are neither adopted nor released: nobody counts them.
    fits: (pod) => controllerOf(pod) !== undefined || isActive(pod),
  });
}

/** What could not be done: `ReplicaFailure` says it. */
interface Failure {
  reason: "FailedCreate" | "FailedDelete";
  error: unknown;
}

async function scale(
  key: string,
  context: ActorContext,
  state: State,
  { owner, active }: { owner: Obj; active: Obj[] },
): Promise<Failure | undefined> {
  const missing = (owner.spec.replicas ?? 1) - active.length;
  if (missing > 0) {
    const pod = podFromTemplate(owner.spec.template, owner);
    const create = () => createPod(context, owner, pod);
    const { error } = await slowStart(missing, () => state.writes.make(key, create));
    if (error === undefined || isNamespaceGoing(error)) return undefined;
    return { reason: "FailedCreate", error };
  }
  if (missing === 0) return undefined;
  const victims = victimsOf(context, state, { owner, active, count: -missing });
  try {
    await allAtOnce(victims, async (pod) => {
      await deletePod(context, owner, pod);
      state.writes.deleted(key, pod);
    });
  } catch (error) {
    return { reason: "FailedDelete", error };
  }
}

/** The pods to delete: those whose loss costs least, nodes with many related pods first. */
function victimsOf(
  context: ActorContext,
  { owners, pods }: State,
  { owner, active, count }: { owner: Obj; active: Obj[]; count: number },
): Obj[] {
  if (count >= active.length) return active;
  const onNode = new Map<string, number>();
  for (const related of relatedOwners(owners, owner)) {
    for (const pod of childrenOf(pods, related.metadata.uid)) {
      const node = pod.spec.nodeName ?? "";
      if (isActive(pod)) onNode.set(node, (onNode.get(node) ?? 0) + 1);
    }
  }
  const rank = (pod: Obj) => onNode.get(pod.spec.nodeName ?? "") ?? 0;
  return sortForDeletion([...active], rank, context.clock.now()).slice(0, count);
}

/** The owners with the same controller (a Deployment's other ReplicaSets), this one included. */
function relatedOwners(owners: Informer, owner: Obj): readonly Obj[] {
  const controller = controllerOf(owner);
  return controller ? childrenOf(owners, controller.uid) : [owner];
}

/** The status that these pods make. Pure. */
export function statusOf(
  owner: Obj,
  active: readonly Obj[],
  facts: { now: number; terminating?: number; failure?: Failure },
): Record<string, unknown> {
  const { now, terminating, failure } = facts;
  const template = selectorOf(owner.spec.template.metadata?.labels);
  const minReady = owner.spec.minReadySeconds ?? 0;
  let fullyLabeledReplicas = 0;
  let readyReplicas = 0;
  let availableReplicas = 0;
  for (const pod of active) {
    if (template.matches(pod.metadata.labels)) fullyLabeledReplicas++;
    if (!isReady(pod)) continue;
    readyReplicas++;
    if (minReady === 0 || isAvailable(pod, minReady, now)) availableReplicas++;
  }
  const status = compact({
    replicas: active.length,
    fullyLabeledReplicas,
    readyReplicas,
    availableReplicas,
    observedGeneration: owner.metadata.generation,
    conditions: conditionsAfter(owner, now, failure),
    terminatingReplicas: undefined as number | undefined,
  }, ["replicas"]);
  // A pointer upstream: zero is said too.
  if (terminating !== undefined) status.terminatingReplicas = terminating;
  return status;
}

function conditionsAfter(owner: Obj, now: number, failure?: Failure): readonly Condition[] {
  const before: readonly Condition[] = owner.status?.conditions ?? [];
  const present = conditionOf(owner.status, "ReplicaFailure");
  if (!failure) return present ? before.filter((c) => c !== present) : before;
  if (present) return before;
  return [...before, {
    type: "ReplicaFailure",
    status: "True",
    reason: failure.reason,
    message: textOf(failure.error),
    lastTransitionTime: formatTime(now),
  }];
}
