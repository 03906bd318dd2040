/**
 * A node: registers itself, keeps its lease, and runs one actor per pod that is bound to it
 * (`node/<name>/pod/<uid>`). What to do for a pod is the pod worker's; the kubelet only sees to it that
 * every pod of the node has one, and that it hears of what it depends on.
 *
 * Its keys: `sweep` (once, when the pods of the node are known), `heartbeat` (lease, and status when it is due),
 * `status` (status now), `storage` (evict pods that take too much of the disk), `pressure` (evict pods when the machine
 * runs short), `manifests` (the files of static pods), `end/<uid>` (a pod actor that has done its work). A pod's own
 * actor has one key, `sync`.
 */
import { type Change, keyOf } from "../../api/client/contract.ts";
import type { PodRef } from "../../api/client/node_api.ts";
import { sameJson } from "../../api/machinery/json_value.ts";
import { ApiError, type DeepReadonly, type KubeObject } from "../../api/machinery/types.ts";
import { type ActorContext, type ActorHandle, type Behaviour, every } from "../runtime/mod.ts";
import { registerNode, renewLease, reportNode } from "./heartbeat.ts";
import { type Eviction, EVICTION_LOOK_MS } from "./eviction.ts";
import type { Meter } from "./figures.ts";
import type { EvictionOptions, ShutdownPeriod } from "./kubelet_options.ts";
import type { KeptLogs } from "./kept_logs.ts";
import type { KubeletMetrics } from "./kubelet_metrics.ts";
import type { Network } from "./network/network.ts";
import {
  LEASE_RENEW_MS,
  type NodeDescription,
  type NodeImage,
  nodeObject,
  podCIDRsOf,
  pressureEvent,
  STATUS_REPORT_MS,
  unpromised,
} from "./node_status.ts";
import { cachedObjects, type Objects } from "./objects.ts";
import { evictionOf, evictOverLimits, type PressedNode } from "./node_pressure.ts";
import { endPods, SHUTDOWN_REFUSAL, SHUTTING_DOWN } from "./node_shutdown.ts";
import { NODE_AFFINITY, type Refusal, refusalOf, resizeRefusal } from "./pod_admission.ts";
import { qosClass } from "./pod_status.ts";
import { isCritical, isMirror, isStatic } from "./pod_source.ts";
import { EVICTED, PodWorker, PREEMPTED } from "./pod_worker.ts";
import { PREEMPTED_TEXT, victimsFor } from "./preemption.ts";
import { PendingResizes } from "./resizes.ts";
import { MANIFESTS_READ_MS, type ManifestSource, StaticPods } from "./static_pods.ts";
import type { NodeFacts, PodVolumes, ProbeDialer, WorkerPorts } from "./ports.ts";
import type { Runtime, Soon } from "./runtimes/runtime.ts";
import { CONFIG_MAPS, NODES, type Pod, PODS, SECRETS } from "./types.ts";

/** How soon a critical pod looks again whether those it takes the place of have gone. */
const ROOM_RETRY_MS = 200;

/** What a kubelet is made of. */
export interface KubeletParts {
  description: NodeDescription;
  runtimes: readonly Runtime[];
  network: Network;
  dnsIP?: string;
  domain: string;
  resolv: string;
  dial?: ProbeDialer;
  /** Makes the volumes' keeper; absent on nodes without real containers. */
  volumes?(objects: Objects, context: ActorContext): PodVolumes;
  /** Ends what a former life of this node left running. Called before anything is started. */
  leftovers?(): Promise<void>;
  /** Removes what is kept of pods that are not among these. */
  sweep?(uids: ReadonlySet<string>): Soon<void>;
  /** Why the node cannot run pods now; undefined when it can. */
  problem?(): Promise<string | undefined>;
  /** The images that are on the machine. */
  images?(): Promise<NodeImage[]>;
  /** Files of pods of the node's own. */
  manifests?: ManifestSource;
  /** What is counted of its work. */
  metrics?: KubeletMetrics;
  /** Keeps logs of pods that go. */
  keptLogs?: KeptLogs;
  /** Measures its machine. */
  meter?: Meter;
  /** When pods are evicted. */
  eviction?: EvictionOptions;
}

/** A kubelet while it runs. */
export interface KubeletState {
  readonly pods: Map<string, { worker: PodWorker; handle: ActorHandle }>;
  readonly facts: { -readonly [K in keyof NodeFacts]: NodeFacts[K] };
  readonly ports: WorkerPorts;
  readonly statics: StaticPods;
  readonly resizes: PendingResizes<PodWorker>;
  readonly startedAt: number;
  node: DeepReadonly<KubeObject>;
  reportedAt: number;
  /** What the last report said is wrong with it. */
  problem?: string;
  eviction?: Eviction;
  /** The node ends: it takes no pods any more. */
  isEnding: boolean;
  unsubscribe: (() => void)[];
}

/** See the module's text. `running` is told the state of each life, for the node's API. */
export function kubelet(
  parts: KubeletParts,
  running: (state: KubeletState | undefined) => void,
): Behaviour<KubeletState> {
  return {
    start: async (context) => {
      const state = await begin(parts, context);
      state.eviction = evictionOf(
        pressed(state, parts),
        parts.eviction,
        (reason, message) => context.recorder.event(selfOf(state), "Warning", reason, message),
      );
      running(state);
      watch(state, parts, context);
      if (state.facts.podCIDRs.length > 0) prepareNetwork(state, context);
      await readManifests(state, context);
      context.send(context.address, "sweep");
      return state;
    },
    handle: (key, state, context) => handle(key, state, parts, context),
    stop: async (state) => {
      running(undefined);
      for (const unsubscribe of state.unsubscribe) unsubscribe();
      for (const { worker } of state.pods.values()) await worker.close();
      await state.ports.volumes?.close?.();
    },
  };
}

async function begin(parts: KubeletParts, context: ActorContext): Promise<KubeletState> {
  const { description } = parts;
  const { clock, client, informers, recorder, log } = context;
  await parts.leftovers?.();
  const problem = await parts.problem?.();
  const node = await introduce(parts, problem, context);
  informers.for(PODS);
  informers.for(NODES);
  const objects = cachedObjects(client, informers);
  const facts = {
    name: description.name,
    addresses: description.addresses,
    podCIDRs: podCIDRsOf(node),
    allocatable: description.allocatable ?? description.capacity,
    dnsIP: parts.dnsIP,
    domain: parts.domain,
    resolv: parts.resolv,
  };
  const ports: WorkerPorts = {
    clock,
    client,
    recorder,
    log,
    runtimes: parts.runtimes,
    network: parts.network,
    volumes: parts.volumes?.(objects, context),
    sources: objects,
    dial: parts.dial,
    metrics: parts.metrics,
    keptLogs: parts.keptLogs,
    events: true,
  };
  await ports.volumes?.start?.();
  const self = selfOf({ facts });
  recorder.event(self, "Normal", "Starting", "Starting kubelet.");
  const text = `Node ${description.name} status is now: NodeReady`;
  recorder.event(self, "Normal", "NodeReady", text);
  const now = clock.now();
  const { name } = description;
  const state: KubeletState = {
    pods: new Map(),
    resizes: new PendingResizes((worker) => refusalOfResize(worker, state, context)),
    facts,
    ports,
    statics: new StaticPods({
      node: name,
      source: parts.manifests,
      client,
      clock,
      log,
      pods: informers.for<Pod>(PODS),
      registered: () => informers.for(NODES).get(name),
    }),
    problem,
    startedAt: now,
    isEnding: false,
    node,
    reportedAt: now,
    unsubscribe: [],
  };
  return state;
}

/**
 * Registers the node. Where the API is away, one with pods of its own does not wait for it: the Node that it would be
 * stands in, without a uid, until it is registered.
 */
async function introduce(
  { description, manifests }: KubeletParts,
  problem: string | undefined,
  { address, client, clock, log, send }: ActorContext,
): Promise<DeepReadonly<KubeObject>> {
  const told = { ...description, problem };
  try {
    const node = await registerNode(client, told, clock.now());
    await renewLease(client, told.name, clock.now(), node);
    return node;
  } catch (error) {
    const isAway = !(error instanceof ApiError) || error.code >= 500;
    if (!manifests || !isAway) throw error;
    log("warn", "the API is away: only static pods are started", { error: String(error) });
    send(address, "status");
    return nodeObject(told, clock.now()) as KubeObject;
  }
}

/** The node as its own Events name it. */
function selfOf({ facts: { name } }: Pick<KubeletState, "facts">) {
  return { apiVersion: "v1", kind: "Node", name, uid: name };
}

function pressed({ pods, ports }: KubeletState, { meter }: KubeletParts): PressedNode {
  const workers = function* () {
    for (const { worker } of pods.values()) yield worker;
  };
  return { ports, meter, workers, worker: (uid) => pods.get(uid)?.worker };
}

function watch(state: KubeletState, parts: KubeletParts, context: ActorContext): void {
  const { informers } = context;
  const { name } = parts.description;
  every(context, LEASE_RENEW_MS, "heartbeat");
  if (state.eviction) every(context, EVICTION_LOOK_MS, "pressure");
  if (state.ports.volumes) every(context, EVICTION_LOOK_MS, "storage");
  if (parts.manifests) {
    every(context, MANIFESTS_READ_MS, "manifests");
    state.unsubscribe.push(
      parts.manifests.watch(() => context.send(context.address, "manifests")),
    );
  }
  state.unsubscribe.push(
    informers.for<Pod>(PODS).subscribe((change) => podChanged(change, state, context)),
    informers.for(NODES).subscribe(({ key, object }) => {
      if (key === name) nodeChanged(object, state, context);
    }),
    informers.for(CONFIG_MAPS).subscribe((change) => sourceChanged("configMap", change, state)),
    informers.for(SECRETS).subscribe((change) => sourceChanged("secret", change, state)),
  );
}

function podChanged(change: Change<Pod>, state: KubeletState, context: ActorContext): void {
  const { old, object } = change as { old?: Pod; object?: Pod };
  const { name } = state.facts;
  const mirror = object ?? old;
  if (mirror && mirror.spec.nodeName === name && isMirror(mirror)) {
    return mirrorChanged(change.key, state, context);
  }
  if (old && old.spec.nodeName === name && old.metadata.uid !== object?.metadata.uid) {
    state.pods.get(old.metadata.uid)?.handle.send("sync");
  }
  if (object?.spec.nodeName !== name) return;
  const known = state.pods.get(object.metadata.uid);
  if (known) return known.handle.send("sync");
  const pods = context.informers.for<Pod>(PODS);
  begun(object, () => pods.get(change.key) as Pod | undefined, state, context);
}

/** Gives a pod its actor. `look` finds what the pod is to be now; undefined: there is none of that name. */
function begun(
  pod: Pod,
  look: () => Pod | undefined,
  state: KubeletState,
  context: ActorContext,
): void {
  const { uid } = pod.metadata;
  const { statics } = state;
  let handle: ActorHandle | undefined = undefined;
  const worker = new PodWorker(state.ports, state.facts, pod, {
    wake: () => handle?.send("sync"),
    mirror: isStatic(pod) ? (own, status) => statics.tell(own, status) : undefined,
    resized: (worker) => state.resizes.changed(worker),
  });
  handle = context.spawn(`pod/${uid}`, podActor(worker, look, state), {
    backoffMsMin: 100,
    backoffMsMax: 60_000,
  });
  state.pods.set(uid, { worker, handle });
  handle.send("sync");
}

/** The pod behind a mirror sees to it; one that has none is removed. */
function mirrorChanged(key: string, state: KubeletState, context: ActorContext): void {
  const own = staticNamed(key, state);
  if (own) own.handle.send("sync");
  else context.send(context.address, "manifests");
}

/** The static pod of a name that runs, or ends. */
function staticNamed(key: string, { pods }: KubeletState) {
  for (const pod of pods.values()) {
    if (isStatic(pod.worker.pod) && keyOf(pod.worker.pod) === key) return pod;
  }
}

/** The worker of a pod as the API knows it: by its uid, or behind its mirror. */
export function workerOf(
  { uid, namespace, name }: PodRef,
  state: KubeletState,
): PodWorker | undefined {
  const key = `${namespace}/${name}`;
  return (state.pods.get(uid) ?? staticNamed(key, state))?.worker;
}

/** Reads the files of static pods: begins those that are new, lets those go that are not there any more. */
async function readManifests(state: KubeletState, context: ActorContext): Promise<void> {
  const { statics } = state;
  await statics.read();
  for (const pod of statics.wanted()) {
    const key = keyOf(pod);
    if (staticNamed(key, state)) continue;
    begun(pod, () => statics.get(key) === pod ? pod : undefined, state, context);
  }
  const held = new Set<string>();
  for (const { worker, handle } of state.pods.values()) {
    if (!isStatic(worker.pod)) continue;
    held.add(keyOf(worker.pod));
    handle.send("sync");
  }
  await statics.removeOrphans(held);
}

function podActor(
  worker: PodWorker,
  look: () => Pod | undefined,
  state: KubeletState,
): Behaviour<PodWorker> {
  return {
    start: () => worker,
    handle: async (_key, _worker, context) => {
      const seen = look();
      if (!worker.admitted && seen?.metadata.uid === worker.uid) {
        if (!await admit(worker, seen, state, context)) return { afterMs: ROOM_RETRY_MS };
      }
      const begunAt = context.clock.now();
      const outcome = await worker.step(seen);
      state.ports.metrics?.podWork.add({ operation_type: "sync" }, context.clock.now() - begunAt);
      if (worker.done) context.send(`node/${state.facts.name}`, `end/${worker.uid}`);
      return outcome;
    },
  };
}

/** Takes a pod that was bound to this node, or refuses it. False: not yet, others make room for it. */
async function admit(
  worker: PodWorker,
  pod: Pod,
  state: KubeletState,
  context: ActorContext,
): Promise<boolean> {
  const { name } = state.facts;
  let node = context.informers.for(NODES).get(name) ?? state.node;
  const others = held(state, context);
  let refusal = refusalNow(pod, state) ?? refusalOf(pod, node, others);
  if (refusal?.reason === NODE_AFFINITY) {
    // Its labels may have changed a moment ago.
    node = await context.client.get<KubeObject>({ resource: NODES, name });
    refusal = refusalOf(pod, node, others);
  }
  if (refusal && makesRoom(pod, node, others, state)) return false;
  worker.admitted = true;
  if (refusal) {
    worker.refuse(refusal);
    state.ports.metrics?.rejections.add({ reason: refusal.reason });
  }
  return true;
}

/** Why a pod does not get what it asks for beside what the others hold. */
function refusalOfResize(
  { uid, wish }: PodWorker,
  state: KubeletState,
  context: ActorContext,
): Refusal | undefined {
  const node = context.informers.for(NODES).get(state.facts.name) ?? state.node;
  const others = held(state, context).filter(({ metadata }) => metadata.uid !== uid);
  const refusal = refusalNow(wish!, state) ?? resizeRefusal(wish!, node, others);
  if (refusal) makesRoom(wish!, node, others, state);
  return refusal;
}

/** Ends others where the node cannot do without this pod; false: it can, or that would not help. */
function makesRoom(
  pod: Pod,
  node: DeepReadonly<KubeObject>,
  others: readonly Pod[],
  state: KubeletState,
): boolean {
  if (!isCritical(pod) || state.isEnding) return false;
  const victims = victimsFor(pod, node, others) ?? [];
  for (const victim of victims) preempt(victim, state);
  return victims.length > 0;
}

/** Why the node takes this pod not now, whatever room it has. */
function refusalNow(pod: Pod, { isEnding, eviction }: KubeletState): Refusal | undefined {
  if (isEnding) return SHUTDOWN_REFUSAL;
  const message = eviction?.refusal(pod, qosClass(pod) === "BestEffort");
  return message === undefined ? undefined : { reason: EVICTED, message };
}

/** Ends the pods of a node that is being shut down; it takes no others meanwhile. */
export async function shutDown(
  state: KubeletState,
  periods: readonly ShutdownPeriod[],
  tell: () => void,
): Promise<void> {
  const { ports: { clock, recorder, metrics }, pods } = state;
  const text = "Shutdown manager detected shutdown event";
  recorder.event(selfOf(state), "Normal", "NodeShutdown", text);
  metrics?.shutdownStart.set({}, clock.now() / 1000);
  state.isEnding = true;
  tell();
  await endPods(periods, [...pods.values()].map(({ worker }) => worker), clock);
  metrics?.shutdownEnd.set({}, clock.now() / 1000);
}

function preempt(victim: Pod, { pods, ports }: KubeletState): void {
  const worker = pods.get(victim.metadata.uid)?.worker;
  if (
    !worker || !worker.end({
      reason: PREEMPTED,
      message: PREEMPTED_TEXT,
      disruption: "Pod was preempted by Kubelet to accommodate a critical pod.",
    })
  ) return;
  ports.metrics?.preemptions.add({ preemption_signal: "" });
  ports.recorder.event(victim, "Warning", PREEMPTED, PREEMPTED_TEXT);
}

/** The pods that the node has taken and that are still there. */
function held(state: KubeletState, context: ActorContext): Pod[] {
  const cache = context.informers.for<Pod>(PODS);
  const pods: Pod[] = [];
  for (const { worker } of state.pods.values()) {
    if (!worker.holds) continue;
    const there = isStatic(worker.pod) || cache.get(keyOf(worker.pod))?.metadata.uid === worker.uid;
    if (there) pods.push(worker.pod);
  }
  return pods;
}

function nodeChanged(
  node: DeepReadonly<KubeObject> | undefined,
  state: KubeletState,
  context: ActorContext,
): void {
  const send = (key: string) => context.send(context.address, key);
  if (!node) return send("status"); // somebody deleted it: it is registered again
  const before = state.node;
  state.node = node;
  state.resizes.retry(); // it may have more than before
  const attached = (one: DeepReadonly<KubeObject>) => one.status?.volumesAttached ?? [];
  if (!sameJson(attached(node), attached(before))) {
    // Pods may wait for what has come.
    for (const { worker } of state.pods.values()) worker.retrySetup();
  }
  const podCIDRs = podCIDRsOf(node);
  if (podCIDRs.length > 0 && String(podCIDRs) !== String(state.facts.podCIDRs)) {
    state.facts.podCIDRs = podCIDRs;
    prepareNetwork(state, context);
    for (const { worker } of state.pods.values()) worker.retrySetup();
  }
  if (Object.keys(unpromised(node.status)).length > 0) send("status");
  const conditions = node.status?.conditions as readonly { type: string; status: string }[];
  const ready = state.problem ? "False" : "True";
  if (conditions?.some((c) => c.type === "Ready" && c.status !== ready)) send("status");
}

/** Makes what pods' networks need, and tells of it: a node without a network is not ready. */
function prepareNetwork(state: KubeletState, context: ActorContext): void {
  const { network, log } = state.ports;
  network.prepare?.(state.facts.podCIDRs).catch((error) => {
    log("warn", "the network of pods is not ready", { error: String(error) });
  }).finally(() => context.send(context.address, "status"));
}

/** A ConfigMap or Secret changed: pods that use it as a volume get it, or try again to. */
function sourceChanged(
  kind: "configMap" | "secret",
  change: Change<KubeObject>,
  state: KubeletState,
) {
  const { namespace, name } = (change.object ?? change.old)!.metadata;
  for (const { worker } of state.pods.values()) {
    const { pod } = worker;
    if (pod.metadata.namespace !== namespace || !pod.spec.volumes) continue;
    const named = pod.spec.volumes.some((volume) => {
      const source = volume[kind] as { name?: string; secretName?: string } | undefined;
      return (source?.name ?? source?.secretName) === name ||
        volume.projected?.sources?.some((s) => s[kind]?.name === name);
    });
    if (named) worker.refreshVolumes();
  }
}

/** Looks whether the machine runs short, and tells of it when that changes. */
async function lookAtPressure(state: KubeletState, context: ActorContext): Promise<void> {
  const { eviction } = state;
  if (!eviction) return;
  const before = eviction.conditions;
  await eviction.look();
  const { conditions } = eviction;
  const changed = [...before, ...conditions].filter((type) =>
    before.includes(type) !== conditions.includes(type)
  );
  for (const type of changed) {
    const reason = pressureEvent(type, conditions.includes(type));
    const text = `Node ${state.facts.name} status is now: ${reason}`;
    context.recorder.event(selfOf(state), "Normal", reason, text);
  }
  if (changed.length) context.send(context.address, "status");
}

async function handle(
  key: string,
  state: KubeletState,
  parts: KubeletParts,
  context: ActorContext,
): Promise<void> {
  const { client, clock } = context;
  const { description } = parts;
  if (key.startsWith("end/")) {
    const uid = key.slice("end/".length);
    const pod = state.pods.get(uid);
    if (!pod?.worker.done) return;
    // What is still told of it, late, must not begin it anew.
    if (context.informers.for(PODS).get(keyOf(pod.worker.pod))?.metadata.uid === uid) return;
    state.pods.delete(uid);
    await pod.handle.stop();
    if (isStatic(pod.worker.pod)) await readManifests(state, context); // another may have waited for it
    return;
  }
  if (key === "manifests") return await readManifests(state, context);
  if (key === "sweep") return await parts.sweep?.(new Set(state.pods.keys()));
  if (key === "storage") return await evictOverLimits(pressed(state, parts));
  if (key === "pressure") return await lookAtPressure(state, context);
  const now = clock.now();
  const isRegistered = state.node.metadata.uid !== undefined;
  if (key === "heartbeat" && isRegistered) {
    await renewLease(client, description.name, now, state.node);
  }
  const problem = state.isEnding ? SHUTTING_DOWN : await parts.problem?.();
  const due = key === "status" || !isRegistered || now - state.reportedAt >= STATUS_REPORT_MS;
  if (due || problem !== state.problem) {
    const cached = context.informers.for(NODES).get(description.name);
    const images = problem ? undefined : await parts.images?.().catch(() => undefined);
    const told = {
      ...description,
      volumesInUse: state.ports.volumes?.inUse?.(),
      problem,
      pressures: state.eviction?.conditions,
      ...(images ? { images } : {}),
    };
    state.node = cached
      ? await reportNode(client, told, cached, now)
      : await registerNode(client, told, now);
    state.reportedAt = now;
    state.problem = problem;
  }
}
