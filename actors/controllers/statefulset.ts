/**
 * StatefulSets: pods with names and storage of their own, made and taken in order.
 *
 * Names are the ordinals', so a repeated creation collides. In order (`OrderedReady`) one step is taken at
 * a time and only when all before it are available; `Parallel` takes them at once.
 *
 * Behaviour matched: pkg/controller/statefulset/stateful_set_control.go, v1.36.
 */
import type { Informer } from "../../api/client/contract.ts";
import { scaledValue } from "../../api/machinery/int_or_string.ts";
import { labelSelector } from "../../api/machinery/selectors.ts";
import type { KubeObject } from "../../api/machinery/types.ts";
import {
  type ActorContext,
  claim,
  codeOf,
  type Controller,
  CONTROLLER_REVISIONS,
  controllerOf,
  indexOwnership,
  isGone,
  type Outcome,
  OWN_WRITES_MS_MAX,
  OwnWrites,
  PERSISTENT_VOLUME_CLAIMS,
  PODS,
  slowStart,
  STATEFUL_SETS,
  targetOf,
} from "../runtime/mod.ts";
import { compact, type Obj, sameStatus } from "./objects.ts";
import { isAvailable, isReady, nextAvailableMs, textOf } from "./pods.ts";
import type { ControllerPorts } from "./ports.ts";
import { atRevision, HASH_LABEL, type History, historyOf, truncateHistory } from "./revisions.ts";
import {
  claimOwners,
  claimsFor,
  hasIdentity,
  hasOtherController,
  inRange,
  newPod,
  ordinalOf,
  revisionNameOf,
  startOf,
  withIdentity,
} from "./statefulset_pods.ts";

interface State {
  sets: Informer;
  pods: Informer;
  claims: Informer;
  revisions: Informer;
  writes: OwnWrites;
  /** MaxUnavailableStatefulSet is on. */
  severalAtOnce: boolean;
}

/** The row. */
export function statefulSetController(
  { features }: Pick<ControllerPorts, "features">,
): Controller<State> {
  return {
    name: "statefulset",
    account: "statefulset-controller",
    kind: "StatefulSet",
    for: STATEFUL_SETS,
    owns: [PODS, CONTROLLER_REVISIONS],
    watches: [{
      // Orphans wake the sets that may adopt them.
      resource: PODS,
      keys(pod, _old, context) {
        if (controllerOf(pod) || !pod.metadata.labels) return [];
        const keys: string[] = [];
        for (const set of context.informers.for(STATEFUL_SETS).list(pod.metadata.namespace)) {
          if (ordinalOf(set, pod) < 0) continue;
          keys.push(`${set.metadata.namespace}/${set.metadata.name}`);
        }
        return keys;
      },
    }],
    start(context) {
      const pods = context.informers.for(PODS);
      indexOwnership(pods);
      return {
        sets: context.informers.for(STATEFUL_SETS),
        pods,
        claims: context.informers.for(PERSISTENT_VOLUME_CLAIMS),
        revisions: context.informers.for(CONTROLLER_REVISIONS),
        writes: new OwnWrites(pods, context.clock),
        severalAtOnce: features?.get("MaxUnavailableStatefulSet") ?? false,
      };
    },
    reconcile,
  };
}

/** One pass over one set: what it knows and what it counts. */
interface Pass {
  key: string;
  context: ActorContext;
  state: State;
  set: Obj;
  history: History;
  /** The revision most pods have until the update is through. */
  current: Obj;
  now: number;
}

/** Brings one set a step further. */
export async function reconcile(
  key: string,
  context: ActorContext,
  state: State,
): Promise<Outcome> {
  const set = state.sets.get(key);
  if (!set) {
    state.writes.forget(key);
    return;
  }
  // Its children are the garbage collector's now. A revision made here would be deleted there, and so on.
  if (set.metadata.deletionTimestamp) return;
  const { client } = context;
  const pods = await claim({
    client,
    children: state.pods,
    owner: set,
    resource: STATEFUL_SETS,
    selector: labelSelector(set.spec.selector),
    fits: (pod) => ordinalOf(set, pod) >= 0,
  });
  const history = await historyOf({
    client,
    revisions: state.revisions,
    owner: set,
    resource: STATEFUL_SETS,
    label: HASH_LABEL,
  });
  const current =
    history.all.find(({ metadata }) => metadata.name === set.status?.currentRevision) ??
      history.update;
  const now = context.clock.now();
  const pass: Pass = { key, context, state, set, history, current, now };
  let failure: unknown;
  const inSync = state.writes.seen(key);
  if (inSync) {
    try {
      await step(pass, pods);
    } catch (error) {
      failure = error;
    }
  }
  await writeStatus(pass, pods);
  await truncate(pass, pods);
  if (failure) throw failure;
  if (!inSync) return { afterMs: OWN_WRITES_MS_MAX };
  const afterMs = nextAvailableMs(pods, set.spec.minReadySeconds ?? 0, now);
  return afterMs === undefined ? undefined : { afterMs };
}

// --- status -----------------------------------------------------------------------------------------

async function writeStatus({ context, set, history, current, now }: Pass, pods: readonly Obj[]) {
  const status = statusOf(set, pods, { update: history.update, current, now });
  status.collisionCount = history.collisionCount;
  if (sameStatus(status, set.status)) return;
  await context.client.update<KubeObject>(targetOf(STATEFUL_SETS, set, "status"), {
    ...set,
    status,
  });
}

/** The status that these pods make. Pure. */
export function statusOf(
  set: Obj,
  pods: readonly Obj[],
  { update, current, now }: { update: Obj; current: Obj; now: number },
): Record<string, unknown> {
  let [replicas, ready, available, currentReplicas, updatedReplicas] = [0, 0, 0, 0, 0];
  for (const pod of pods) {
    if (!isCreated(pod)) continue;
    replicas++;
    if (isRunningAndReady(pod)) {
      ready++;
      if (isAvailable(pod, set.spec.minReadySeconds ?? 0, now)) available++;
    }
    if (pod.metadata.deletionTimestamp) continue;
    if (revisionNameOf(pod) === current.metadata.name) currentReplicas++;
    if (revisionNameOf(pod) === update.metadata.name) updatedReplicas++;
  }
  let currentRevision = current.metadata.name;
  const rolling = set.spec.updateStrategy?.type !== "OnDelete";
  if (rolling && updatedReplicas === replicas && ready === replicas) {
    currentReplicas = updatedReplicas;
    currentRevision = update.metadata.name;
  }
  return compact({
    observedGeneration: set.metadata.generation,
    replicas,
    readyReplicas: ready,
    availableReplicas: available,
    currentReplicas,
    updatedReplicas,
    currentRevision,
    updateRevision: update.metadata.name,
    conditions: set.status?.conditions,
    collisionCount: 0,
  }, ["replicas", "availableReplicas", "collisionCount"]);
}

async function truncate({ context, set, history, current }: Pass, pods: readonly Obj[]) {
  const used = new Set(pods.map(revisionNameOf));
  used.add(current.metadata.name);
  used.add(history.update.metadata.name);
  const limit = set.spec.revisionHistoryLimit ?? 10;
  await truncateHistory(context.client, history.all, { used, limit });
}

// --- pods' states -----------------------------------------------------------------------------------

function isCreated(pod: Obj): boolean {
  return pod.metadata.uid !== undefined && Boolean(pod.status?.phase);
}

function isRunningAndReady(pod: Obj): boolean {
  return pod.status?.phase === "Running" && isReady(pod);
}

function isRunningAndAvailable(pod: Obj, { set, now }: Pass): boolean {
  return isRunningAndReady(pod) && isAvailable(pod, set.spec.minReadySeconds ?? 0, now);
}

function isUnavailable(pod: Obj, pass: Pass): boolean {
  return !isRunningAndAvailable(pod, pass) || pod.metadata.deletionTimestamp !== undefined;
}

// --- steps ------------------------------------------------------------------------------------------

/** Everything that may be done now; in order, that is one thing. */
async function step(pass: Pass, pods: readonly Obj[]): Promise<void> {
  const { set, history, current } = pass;
  const start = startOf(set);
  const count = set.spec.replicas ?? 1;
  const replicas: (Obj | undefined)[] = new Array(count).fill(undefined);
  const condemned: Obj[] = [];
  for (const pod of pods) {
    const ordinal = ordinalOf(set, pod);
    if (inRange(set, ordinal)) replicas[ordinal - start] = pod;
    else condemned.push(pod);
  }
  condemned.sort((a, b) => ordinalOf(set, b) - ordinalOf(set, a));
  const monotonic = set.spec.podManagementPolicy !== "Parallel";
  const wanted = replicas.map((pod, i) => {
    if (pod) return pod;
    const ordinal = start + i;
    const old = needsCurrent(set, ordinal);
    const revision = old ? current : history.update;
    return newPod(atRevision(set, revision), ordinal, revision.metadata.name);
  });
  if (!await forEach(wanted, monotonic, (pod) => keep(pass, pod, monotonic))) return;
  const unhealthy = [...wanted, ...[...condemned].reverse()]
    .find((pod) => isUnavailable(pod, pass));
  const drop = (pod: Obj) => condemn(pass, pod, { monotonic, unhealthy });
  if (!await forEach(condemned, monotonic, drop)) return;
  await update(pass, wanted);
}

/** Pods below the partition are made from the current revision, not the new one. */
function needsCurrent(set: Obj, ordinal: number): boolean {
  if (set.spec.updateStrategy?.type === "OnDelete") return false;
  const partition = set.spec.updateStrategy?.rollingUpdate?.partition;
  return ordinal < startOf(set) + (partition ?? 0);
}

/** In order until one says stop, or all at once. False when something has to be waited for. */
async function forEach(
  pods: readonly Obj[],
  monotonic: boolean,
  act: (pod: Obj) => Promise<boolean>,
): Promise<boolean> {
  if (monotonic) {
    for (const pod of pods) if (!await act(pod)) return false;
    return true;
  }
  let all = true;
  const { error } = await slowStart(pods.length, async (i) => {
    if (!await act(pods[i])) all = false;
  });
  if (error !== undefined) throw error;
  return all;
}

/** One wanted pod: made, mended, or waited for. True when the next one may be looked at. */
async function keep(pass: Pass, pod: Obj, monotonic: boolean): Promise<boolean> {
  const { set } = pass;
  const phase = pod.status?.phase;
  if (!isCreated(pod)) {
    await makeClaims(pass, pod);
    await create(pass, pod);
    return !monotonic;
  }
  if ((phase === "Failed" || phase === "Succeeded") && !pod.metadata.deletionTimestamp) {
    await remove(pass, pod);
    return !monotonic;
  }
  if (phase === "Pending") await makeClaims(pass, pod);
  if (monotonic && pod.metadata.deletionTimestamp) return false;
  if (monotonic && !isRunningAndAvailable(pod, pass)) return false;
  await keepClaims(pass, pod);
  if (!hasIdentity(set, pod)) {
    const named = withIdentity(set, pod, ordinalOf(set, pod));
    await pass.context.client.update<KubeObject>(targetOf(PODS, pod), named);
  }
  return true;
}

/** One pod too many: taken, or waited for. */
async function condemn(
  pass: Pass,
  pod: Obj,
  { monotonic, unhealthy }: { monotonic: boolean; unhealthy: Obj | undefined },
): Promise<boolean> {
  await keepClaims(pass, pod);
  if (pod.metadata.deletionTimestamp) return !monotonic;
  if (monotonic && !isRunningAndAvailable(pod, pass) && pod !== unhealthy) return false;
  await remove(pass, pod);
  return !monotonic;
}

/**
 * The rolling update, from the last ordinal down: one pod, and the next when that is available, or, where that is
 * switched on, as many as `maxUnavailable` leaves, all that are unavailable counted.
 */
async function update(pass: Pass, pods: readonly Obj[]): Promise<void> {
  const { set, history, state } = pass;
  const { type, rollingUpdate } = set.spec.updateStrategy ?? {};
  if (type === "OnDelete") return;
  const subject = pods.slice(rollingUpdate?.partition ?? 0).reverse();
  const isOutdated = (pod: Obj) =>
    revisionNameOf(pod) !== history.update.metadata.name && !pod.metadata.deletionTimestamp;
  if (!state.severalAtOnce) {
    const next = subject.find((pod) => isOutdated(pod) || isUnavailable(pod, pass));
    if (next && isOutdated(next)) await remove(pass, next);
    return;
  }
  const atOnce = Math.max(1, scaledValue(rollingUpdate?.maxUnavailable ?? 1, pods.length, false));
  const left = atOnce - pods.filter((pod) => isUnavailable(pod, pass)).length;
  if (left <= 0) return;
  for (const pod of subject.filter(isOutdated).slice(0, left)) await remove(pass, pod);
}

// --- writes -----------------------------------------------------------------------------------------

async function create({ context, set, state, key }: Pass, pod: Obj): Promise<void> {
  const { namespace, name } = pod.metadata;
  try {
    const made = await context.client.create<KubeObject>({ resource: PODS, namespace }, pod);
    state.writes.wrote(key, made);
  } catch (error) {
    if (codeOf(error) !== 409) {
      const text = `create Pod ${name} in StatefulSet ${set.metadata.name} failed error: ${
        textOf(error)
      }`;
      context.recorder.event(set, "Warning", "FailedCreate", text);
    }
    throw error;
  }
  const text = `create Pod ${name} in StatefulSet ${set.metadata.name} successful`;
  context.recorder.event(set, "Normal", "SuccessfulCreate", text);
}

async function remove({ context, set, state, key }: Pass, pod: Obj): Promise<void> {
  const said = `delete Pod ${pod.metadata.name} in StatefulSet ${set.metadata.name}`;
  try {
    await context.client.delete(targetOf(PODS, pod), {
      preconditions: { uid: pod.metadata.uid },
    });
    state.writes.deleted(key, pod);
  } catch (error) {
    if (isGone(error)) return;
    const text = `${said} failed error: ${textOf(error)}`;
    context.recorder.event(set, "Warning", "FailedDelete", text);
    throw error;
  }
  context.recorder.event(set, "Normal", "SuccessfulDelete", `${said} successful`);
}

/** Makes the claims a pod lacks. */
async function makeClaims({ context, set, state }: Pass, pod: Obj): Promise<void> {
  const resource = PERSISTENT_VOLUME_CLAIMS;
  for (const wanted of claimsFor(set, ordinalOf(set, pod))) {
    const { namespace, name } = wanted.metadata;
    const present = state.claims.get(`${namespace}/${name}`);
    if (present?.metadata.deletionTimestamp) throw new Error(`pvc ${name} is being deleted`);
    if (present) continue;
    const owners = claimOwners(set, wanted, undefined);
    const body = owners
      ? { ...wanted, metadata: { ...wanted.metadata, ownerReferences: owners } }
      : wanted;
    const said = `create Claim ${name} Pod ${pod.metadata.name} in StatefulSet ` +
      `${set.metadata.name}`;
    try {
      await context.client.create<KubeObject>({ resource, namespace }, body);
      context.recorder.event(set, "Normal", "SuccessfulCreate", `${said} success`);
    } catch (error) {
      if (codeOf(error) === 409) continue;
      const text = `${said} failed error: ${textOf(error)}`;
      context.recorder.event(set, "Warning", "FailedCreate", text);
      throw error;
    }
  }
}

/** Gives a pod's claims the owners that the retention policy asks for. */
async function keepClaims({ context, set, state }: Pass, pod: Obj): Promise<void> {
  for (const { metadata } of claimsFor(set, ordinalOf(set, pod))) {
    const present = state.claims.get(`${metadata.namespace}/${metadata.name}`);
    if (!present) continue;
    if (hasOtherController(set, present, pod)) {
      const text =
        `PersistentVolumeClaim ${metadata.name} has a conflicting OwnerReference that acts as a ` +
        "manging controller, the retention policy is ignored for this claim";
      context.recorder.event(set, "Warning", "ConflictingController", text);
    }
    const owners = claimOwners(set, present, pod);
    if (!owners) continue;
    await context.client.update<KubeObject>(targetOf(PERSISTENT_VOLUME_CLAIMS, present), {
      ...present,
      metadata: { ...present.metadata, ownerReferences: owners },
    });
  }
}
