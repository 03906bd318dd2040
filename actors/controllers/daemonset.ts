/**
 * DaemonSets: one pod on every node that should have one.
 *
 * Pods have generated names, so `OwnWrites` keeps a set back until the cache shows what was done for it.
 *
 * Behaviour matched: pkg/controller/daemon, v1.36.
 */
import type { Informer } from "../../api/client/contract.ts";
import { scaledValue } from "../../api/machinery/int_or_string.ts";
import { labelSelector } from "../../api/machinery/selectors.ts";
import type { KubeObject } from "../../api/machinery/types.ts";
import {
  type ActorContext,
  allAtOnce,
  claim,
  type Controller,
  CONTROLLER_REVISIONS,
  controllerOf,
  DAEMON_SETS,
  indexOwnership,
  NODES,
  type Outcome,
  OWN_WRITES_MS_MAX,
  OwnWrites,
  PODS,
  slowStart,
  targetOf,
} from "../runtime/mod.ts";
import { sameJson } from "../../api/machinery/json_value.ts";
import { daemonPod, daemonTemplate, nodeOf, placementOn } from "./daemonset_pods.ts";
import { byAge, compact, type Obj, sameStatus } from "./objects.ts";
import { createPod, deletePod, isAvailable, isReady, nextAvailableMs } from "./pods.ts";
import { type History, historyOf, POD_REVISION_LABEL, truncateHistory } from "./revisions.ts";

interface State {
  sets: Informer;
  pods: Informer;
  nodes: Informer;
  revisions: Informer;
  writes: OwnWrites;
  /** Of a set and a node: how often its pod failed there, and when it may be taken away again. */
  failures: Map<string, { count: number; after: number }>;
}

const GATHER_ABOVE = 32;
const GATHER_MS_MAX = 100;
/** The first and the longest pause before a failed pod is replaced, as upstream. */
const FAILED_MS_MIN = 1000;
const FAILED_MS_MAX = 15 * 60_000;

export const daemonSetController: Controller<State> = {
  name: "daemonset",
  account: "daemon-set-controller",
  component: "daemonset-controller",
  kind: "DaemonSet",
  for: DAEMON_SETS,
  owns: [PODS, CONTROLLER_REVISIONS],
  workers: 2,
  watches: [
    {
      resource: NODES,
      keys(node, old, context) {
        if (old && !placementChanged(old, node)) return [];
        const keys: string[] = [];
        for (const set of context.informers.for(DAEMON_SETS).list()) {
          keys.push(`${set.metadata.namespace}/${set.metadata.name}`);
        }
        return keys;
      },
    },
    {
      resource: PODS,
      keys(pod, _old, context) {
        if (controllerOf(pod) || !pod.metadata.labels) return [];
        const keys: string[] = [];
        for (const set of context.informers.for(DAEMON_SETS).list(pod.metadata.namespace)) {
          const selector = labelSelector(set.spec.selector);
          if (selector.empty || !selector.matches(pod.metadata.labels)) continue;
          keys.push(`${set.metadata.namespace}/${set.metadata.name}`);
        }
        return keys;
      },
    },
  ],
  gatherMs(key, context) {
    const size = context.informers.for(DAEMON_SETS).get(key)?.status?.desiredNumberScheduled ?? 0;
    return size <= GATHER_ABOVE ? 0 : Math.min(GATHER_MS_MAX, size >> 2);
  },
  start(context) {
    const pods = context.informers.for(PODS);
    return {
      sets: context.informers.for(DAEMON_SETS),
      pods,
      nodes: context.informers.for(NODES),
      revisions: revisionsOf(context),
      writes: new OwnWrites(pods, context.clock),
      failures: new Map(),
    };
  },
  reconcile,
};

function revisionsOf(context: ActorContext): Informer {
  const revisions = context.informers.for(CONTROLLER_REVISIONS);
  indexOwnership(revisions);
  return revisions;
}

/** Nodes are written every few seconds; only these facts matter here. */
function placementChanged(old: Obj, node: Obj): boolean {
  return !sameJson(old.metadata.labels, node.metadata.labels) ||
    !sameJson(old.spec?.taints, node.spec?.taints) || old.metadata.uid !== node.metadata.uid ||
    old === node;
}

/** One pass over one set. */
interface Pass {
  key: string;
  context: ActorContext;
  state: State;
  set: Obj;
  hash: string;
  now: number;
  /** Pods by the node they are on or meant for. */
  byNode: Map<string, Obj[]>;
}

/** Brings one set's pods and status to where they should be. */
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
  const selector = labelSelector(set.spec.selector);
  if (selector.empty) {
    const text = "This daemon set is selecting all pods. A non-empty selector is required.";
    context.recorder.event(set, "Warning", "SelectingAll", text);
    return;
  }
  if (set.metadata.deletionTimestamp) return;
  const { client } = context;
  const settling = state.writes.settled(key, client);
  if (settling) await settling;
  const options = { client, owner: set, resource: DAEMON_SETS };
  const pods = await claim({ ...options, children: state.pods, selector });
  const history = await historyOf({
    ...options,
    revisions: state.revisions,
    label: POD_REVISION_LABEL,
  });
  const hash = history.update.metadata.labels![POD_REVISION_LABEL];
  const now = context.clock.now();
  const pass: Pass = { key, context, state, set, hash, now, byNode: groupByNode(pods) };
  let outcome: Outcome = undefined;
  let failure: unknown;
  if (state.writes.seen(key)) {
    try {
      const busy = await place(pass);
      outcome = busy.outcome;
      if (!busy.acted && set.spec.updateStrategy?.type !== "OnDelete") await roll(pass);
    } catch (error) {
      failure = error;
    }
    await truncate(pass, history, pods);
  } else outcome = { afterMs: OWN_WRITES_MS_MAX };
  await writeStatus(pass, history);
  if (failure) throw failure;
  const afterMs = nextAvailableMs(pods, set.spec.minReadySeconds ?? 0, now);
  return earlier(outcome, afterMs === undefined ? undefined : { afterMs });
}

function earlier(a: Outcome, b: Outcome): Outcome {
  if (!a || !b) return a ?? b;
  return a.afterMs <= b.afterMs ? a : b;
}

function groupByNode(pods: readonly Obj[]): Map<string, Obj[]> {
  const byNode = new Map<string, Obj[]>();
  for (const pod of pods) {
    const node = nodeOf(pod);
    if (node === undefined) continue;
    const list = byNode.get(node);
    if (list) list.push(pod);
    else byNode.set(node, [pod]);
  }
  return byNode;
}

// --- placing ----------------------------------------------------------------------------------------

/** Makes pods where they lack and takes those that should not be. */
async function place(pass: Pass): Promise<{ acted: boolean; outcome: Outcome }> {
  const { set, state, byNode } = pass;
  const missing: string[] = [];
  const surplus: Obj[] = [];
  let outcome: Outcome = undefined;
  for (const node of state.nodes.list()) {
    const { name } = node.metadata;
    const pods = byNode.get(name) ?? [];
    const { run, stay } = placementOn(set, node);
    if (!stay) {
      for (const pod of pods) if (!pod.metadata.deletionTimestamp) surplus.push(pod);
      continue;
    }
    const live: Obj[] = [];
    for (const pod of pods) {
      if (pod.metadata.deletionTimestamp) continue;
      const phase = pod.status?.phase;
      if (phase === "Failed" || phase === "Succeeded") {
        const afterMs = mayReplace(pass, pod, name, phase);
        if (afterMs === 0) surplus.push(pod);
        else outcome = earlier(outcome, { afterMs });
      } else live.push(pod);
    }
    if (run && pods.length === 0) missing.push(name);
    surplus.push(...tooMany(pass, live));
  }
  // A pod that waits for a node that is gone will never be scheduled.
  for (const [name, pods] of byNode) {
    if (state.nodes.get(name)) continue;
    for (const pod of pods) {
      if (!pod.spec.nodeName && !pod.metadata.deletionTimestamp) surplus.push(pod);
    }
  }
  await write(pass, { missing, surplus });
  return { acted: missing.length + surplus.length > 0, outcome };
}

/** 0 when a pod that ended may be taken now, else in how many ms. */
function mayReplace(pass: Pass, pod: Obj, node: string, phase: string): number {
  const { context, set, state, key, now } = pass;
  const name = `${pod.metadata.namespace}/${pod.metadata.name}`;
  if (phase === "Succeeded") {
    const text = `Found succeeded daemon pod ${name} on node ${node}, will try to delete it`;
    context.recorder.event(set, "Normal", "SucceededDaemonPod", text);
    return 0;
  }
  const entry = state.failures.get(`${key} ${node}`);
  if (entry && now < entry.after) return entry.after - now;
  const idle = entry && now - entry.after > 2 * FAILED_MS_MAX;
  const count = entry && !idle ? entry.count + 1 : 1;
  const pauseMs = Math.min(FAILED_MS_MIN * 2 ** (count - 1), FAILED_MS_MAX);
  state.failures.set(`${key} ${node}`, { count, after: now + pauseMs });
  const text = `Found failed daemon pod ${name} on node ${node}, will try to kill it`;
  context.recorder.event(set, "Warning", "FailedDaemonPod", text);
  return 0;
}

/** Of several live pods on a node all but the oldest; with a surge an old one stays until its heir is up. */
function tooMany({ set, hash, now }: Pass, live: Obj[]): Obj[] {
  if (live.length <= 1) return [];
  live.sort(byAge);
  const surging = Boolean(set.spec.updateStrategy?.rollingUpdate?.maxSurge) &&
    set.spec.updateStrategy.rollingUpdate.maxSurge !== "0%";
  if (!surging) return live.slice(1);
  const isNew = (pod: Obj) => pod.metadata.labels?.[POD_REVISION_LABEL] === hash;
  const fresh = live.filter(isNew);
  const old = live.filter((pod) => !isNew(pod));
  const heirUp = fresh.some((pod) => isAvailable(pod, set.spec.minReadySeconds ?? 0, now));
  return [...fresh.slice(1), ...(heirUp ? old : old.slice(1))];
}

async function write(
  { key, context, state, set, hash }: Pass,
  { missing, surplus }: { missing: readonly string[]; surplus: readonly Obj[] },
): Promise<void> {
  if (missing.length > 0) {
    const template = daemonTemplate(set, hash);
    const { error } = await slowStart(missing.length, (i) => {
      const pod = daemonPod(template, missing[i]);
      return state.writes.make(key, () => createPod(context, set, pod));
    });
    if (error !== undefined) throw error;
  }
  await allAtOnce(surplus, async (pod) => {
    await deletePod(context, set, pod);
    state.writes.deleted(key, pod);
  });
}

// --- rolling ----------------------------------------------------------------------------------------

/** Replaces pods of old revisions, within the bounds of surge and unavailable. */
async function roll(pass: Pass): Promise<void> {
  const { set, state, byNode, hash, now } = pass;
  const nodes = [...state.nodes.list()].filter((node) => placementOn(set, node).run);
  const rolling = set.spec.updateStrategy?.rollingUpdate;
  const surge = scaledValue(rolling?.maxSurge ?? 0, nodes.length, true);
  let unavailableMax = scaledValue(rolling?.maxUnavailable ?? 1, nodes.length, true);
  if (surge === 0 && unavailableMax === 0) unavailableMax = 1;
  const available = (pod: Obj) => isAvailable(pod, set.spec.minReadySeconds ?? 0, now);
  const now_: Obj[] = [];
  const later: Obj[] = [];
  const start: string[] = [];
  const startLater: string[] = [];
  let unavailable = 0;
  let surging = 0;
  for (const { metadata: { name } } of nodes) {
    const live = (byNode.get(name) ?? []).filter((pod) => !pod.metadata.deletionTimestamp);
    const fresh = live.find((pod) => pod.metadata.labels?.[POD_REVISION_LABEL] === hash);
    const old = live.find((pod) => pod.metadata.labels?.[POD_REVISION_LABEL] !== hash);
    if (surge > 0) {
      if (old && fresh) {
        if (available(fresh)) now_.push(old);
        else surging++;
      } else if (old) (available(old) ? startLater : start).push(name);
      continue;
    }
    if (!old && !fresh || old && fresh) unavailable++;
    else if (fresh) unavailable += available(fresh) ? 0 : 1;
    else if (!available(old!)) {
      now_.push(old!);
      unavailable++;
    } else later.push(old!);
  }
  const spare = Math.max(0, unavailableMax - unavailable);
  const missing = [...start, ...startLater.slice(0, Math.max(0, surge - surging))];
  await write(pass, { missing, surplus: [...now_, ...later.slice(0, spare)] });
}

// --- status -----------------------------------------------------------------------------------------

async function writeStatus(pass: Pass, history: History): Promise<void> {
  const { context, set } = pass;
  const status = statusOf(pass, history.collisionCount);
  if (sameStatus(status, set.status)) return;
  await context.client.update<KubeObject>(targetOf(DAEMON_SETS, set, "status"), {
    ...set,
    status,
  });
}

function statusOf(
  { set, state, byNode, hash, now }: Pass,
  collisionCount: number,
): Record<string, unknown> {
  let [desired, current, misscheduled, ready, updated, available] = [0, 0, 0, 0, 0, 0];
  for (const node of state.nodes.list()) {
    const pods = byNode.get(node.metadata.name) ?? [];
    if (!placementOn(set, node).run) {
      if (pods.length > 0) misscheduled++;
      continue;
    }
    desired++;
    if (pods.length === 0) continue;
    current++;
    // The oldest that counts: with a surge the old pod serves until it is gone.
    const pod = [...pods].sort(byAge).find(isReady) ?? pods[0];
    if (isReady(pod)) {
      ready++;
      if (isAvailable(pod, set.spec.minReadySeconds ?? 0, now)) available++;
    }
    if (pods.some((p) => p.metadata.labels?.[POD_REVISION_LABEL] === hash)) updated++;
  }
  return compact({
    observedGeneration: set.metadata.generation,
    currentNumberScheduled: current,
    numberMisscheduled: misscheduled,
    desiredNumberScheduled: desired,
    numberReady: ready,
    updatedNumberScheduled: updated,
    numberAvailable: available,
    numberUnavailable: desired - available,
    collisionCount,
    conditions: set.status?.conditions,
  }, ["currentNumberScheduled", "numberMisscheduled", "desiredNumberScheduled", "numberReady"]);
}

async function truncate(
  { context, set }: Pass,
  history: History,
  pods: readonly Obj[],
): Promise<void> {
  const hashes = new Set(pods.map((pod) => pod.metadata.labels?.[POD_REVISION_LABEL]));
  const used = new Set([history.update.metadata.name]);
  for (const { metadata } of history.all) {
    if (hashes.has(metadata.labels?.[POD_REVISION_LABEL])) used.add(metadata.name);
  }
  const limit = set.spec.revisionHistoryLimit ?? 10;
  await truncateHistory(context.client, history.all, { used, limit });
}
