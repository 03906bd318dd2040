/**
 * A node: registers itself, keeps its lease, and runs one actor per pod that is bound to it
 * (`node/<name>/pod/<uid>`). What to do for a pod is the pod worker's; the kubelet only sees to it that
 * every pod of the node has one, and that it hears of what it depends on.
 *
 * Its keys: `sweep` (once, when the pods of the node are known), `heartbeat` (lease, and status when it is due), `status` (status now), `storage` (evict pods whose emptyDirs are too full), `end/<uid>` (a pod
 * actor that has done its work). A pod's own actor has one key, `sync`.
 */
import type { Change } from "../../api/client/contract.ts";
import { sameJson } from "../../api/machinery/json_value.ts";
import type { DeepReadonly, KubeObject } from "../../api/machinery/types.ts";
import type { ActorContext, ActorHandle, Behaviour } from "../runtime/mod.ts";
import type { Timer } from "../../kv/clock.ts";
import { registerNode, renewLease, reportNode } from "./heartbeat.ts";
import type { Network } from "./network/network.ts";
import {
  LEASE_RENEW_MS,
  type NodeDescription,
  type NodeImage,
  STATUS_REPORT_MS,
  unpromised,
} from "./node_status.ts";
import { cachedObjects, type Objects } from "./objects.ts";
import { NODE_AFFINITY, refusalOf } from "./pod_admission.ts";
import { PodWorker } from "./pod_worker.ts";
import type { NodeFacts, PodVolumes, ProbeDialer, WorkerPorts } from "./ports.ts";
import type { Runtime, Soon } from "./runtimes/runtime.ts";
import { CONFIG_MAPS, NODES, type Pod, PODS, SECRETS } from "./types.ts";

/** Pods of this priority are never evicted by their node. */
const SYSTEM_CRITICAL = 2_000_000_000;

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
}

/** A kubelet while it runs. */
export interface KubeletState {
  readonly pods: Map<string, { worker: PodWorker; handle: ActorHandle }>;
  readonly facts: { -readonly [K in keyof NodeFacts]: NodeFacts[K] };
  readonly ports: WorkerPorts;
  readonly startedAt: number;
  node: DeepReadonly<KubeObject>;
  reportedAt: number;
  /** What the last report said is wrong with it. */
  problem?: string;
  timer?: Timer;
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
      running(state);
      watch(state, parts, context);
      if (state.facts.podCIDR) prepareNetwork(state.facts.podCIDR, state, context);
      context.send(context.address, "sweep");
      return state;
    },
    handle: (key, state, context) => handle(key, state, parts, context),
    stop: async (state) => {
      running(undefined);
      state.timer?.cancel();
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
  const node = await registerNode(client, { ...description, problem }, clock.now());
  await renewLease(client, description.name, clock.now(), node);
  informers.for(PODS);
  informers.for(NODES);
  const objects = cachedObjects(client, informers);
  const facts = {
    name: description.name,
    addresses: description.addresses,
    podCIDR: node.spec?.podCIDR as string | undefined,
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
    events: true,
  };
  await ports.volumes?.start?.();
  const self = { apiVersion: "v1", kind: "Node", name: description.name, uid: description.name };
  recorder.event(self, "Normal", "Starting", "Starting kubelet.");
  const text = `Node ${description.name} status is now: NodeReady`;
  recorder.event(self, "Normal", "NodeReady", text);
  const now = clock.now();
  return {
    pods: new Map(),
    facts,
    ports,
    problem,
    startedAt: now,
    node,
    reportedAt: now,
    unsubscribe: [],
  };
}

function watch(state: KubeletState, parts: KubeletParts, context: ActorContext): void {
  const { informers, clock } = context;
  const { name } = parts.description;
  const tick = () => {
    state.timer = clock.timer("background", LEASE_RENEW_MS, () => {
      context.send(context.address, "heartbeat");
      if (hasLimitedFolders(state)) context.send(context.address, "storage");
      tick();
    });
  };
  tick();
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
  if (old && old.spec.nodeName === name && old.metadata.uid !== object?.metadata.uid) {
    state.pods.get(old.metadata.uid)?.handle.send("sync");
  }
  if (object?.spec.nodeName !== name) return;
  const { uid } = object.metadata;
  const known = state.pods.get(uid);
  if (known) return known.handle.send("sync");
  let handle: ActorHandle | undefined = undefined;
  const worker = new PodWorker(state.ports, state.facts, object, () => handle?.send("sync"));
  handle = context.spawn(`pod/${uid}`, podActor(worker, state, change.key), {
    backoffMsMin: 100,
    backoffMsMax: 60_000,
  });
  state.pods.set(uid, { worker, handle });
  handle.send("sync");
}

function podActor(worker: PodWorker, state: KubeletState, key: string): Behaviour<PodWorker> {
  return {
    start: () => worker,
    handle: async (_key, _worker, context) => {
      const seen = context.informers.for<Pod>(PODS).get(key) as Pod | undefined;
      if (!worker.admitted && seen?.metadata.uid === worker.uid) {
        await admit(worker, seen, state, context);
      }
      const outcome = await worker.step(seen);
      if (worker.done) context.send(`node/${state.facts.name}`, `end/${worker.uid}`);
      return outcome;
    },
  };
}

/** Takes a pod that was bound to this node, or refuses it. */
async function admit(
  worker: PodWorker,
  pod: Pod,
  state: KubeletState,
  context: ActorContext,
): Promise<void> {
  const { name } = state.facts;
  const look = (node: DeepReadonly<KubeObject>) => refusalOf(pod, node, held(state, context));
  let refusal = look(context.informers.for(NODES).get(name) ?? state.node);
  if (refusal?.reason === NODE_AFFINITY) {
    // Its labels may have changed a moment ago.
    refusal = look(await context.client.get<KubeObject>({ resource: NODES, name }));
  }
  worker.admitted = true;
  if (refusal) worker.refuse(refusal);
}

/** The pods that the node has taken and that are still there. */
function held(state: KubeletState, context: ActorContext): Pod[] {
  const cache = context.informers.for<Pod>(PODS);
  const pods: Pod[] = [];
  for (const { worker } of state.pods.values()) {
    const { namespace, name } = worker.pod.metadata;
    if (!worker.holds) continue;
    if (cache.get(`${namespace}/${name}`)?.metadata.uid === worker.uid) pods.push(worker.pod);
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
  const attached = (one: DeepReadonly<KubeObject>) => one.status?.volumesAttached ?? [];
  if (!sameJson(attached(node), attached(before))) {
    // Pods may wait for what has come.
    for (const { worker } of state.pods.values()) worker.retrySetup();
  }
  const podCIDR = node.spec?.podCIDR as string | undefined;
  if (podCIDR && podCIDR !== state.facts.podCIDR) {
    state.facts.podCIDR = podCIDR;
    prepareNetwork(podCIDR, state, context);
    for (const { worker } of state.pods.values()) worker.retrySetup();
  }
  if (Object.keys(unpromised(node.status)).length > 0) send("status");
  const conditions = node.status?.conditions as readonly { type: string; status: string }[];
  if (conditions?.some((c) => c.type === "Ready" && c.status !== "True")) send("status");
}

/** Makes what pods' networks need, and tells of it: a node without a network is not ready. */
function prepareNetwork(range: string, state: KubeletState, context: ActorContext): void {
  const { network, log } = state.ports;
  network.prepare?.(range).catch((error) => {
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

/** Whether a pod has an emptyDir that may not grow without bound. */
function isLimited({ spec }: Pod): boolean {
  return spec.volumes?.some(({ emptyDir }) => emptyDir?.sizeLimit !== undefined) ?? false;
}

function hasLimitedFolders({ pods, ports }: KubeletState): boolean {
  if (!ports.volumes) return false;
  for (const { worker } of pods.values()) if (isLimited(worker.pod)) return true;
  return false;
}

/** Fails pods that keep more in an emptyDir than they said (eviction_manager.go, localStorageEviction). */
async function evictOverfull({ pods, ports }: KubeletState): Promise<void> {
  for (const { worker } of pods.values()) {
    const { pod, holds } = worker;
    if (!holds || !isLimited(pod) || (pod.spec.priority ?? 0) >= SYSTEM_CRITICAL) continue;
    const message = await ports.volumes!.overfull(pod);
    if (message) worker.evict(message);
  }
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
    state.pods.delete(uid);
    await pod.handle.stop();
    return;
  }
  if (key === "sweep") return await parts.sweep?.(new Set(state.pods.keys()));
  if (key === "storage") return await evictOverfull(state);
  const now = clock.now();
  if (key === "heartbeat") await renewLease(client, description.name, now, state.node);
  const problem = await parts.problem?.();
  const due = key === "status" || now - state.reportedAt >= STATUS_REPORT_MS;
  if (due || problem !== state.problem) {
    const cached = context.informers.for(NODES).get(description.name);
    const images = problem ? undefined : await parts.images?.().catch(() => undefined);
    const told = {
      ...description,
      volumesInUse: state.ports.volumes?.inUse?.(),
      problem,
      ...(images ? { images } : {}),
    };
    state.node = cached
      ? await reportNode(client, told, cached, now)
      : await registerNode(client, told, now);
    state.reportedAt = now;
    state.problem = problem;
  }
}
