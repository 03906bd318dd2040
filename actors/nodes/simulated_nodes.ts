/**
 * The host of simulated nodes: one actor for all of them, so that thousands of nodes and tens of
 * thousands of pods cost one watch, one lease and no timers. Its pods run through the same state
 * machine as real ones (`pod_worker.ts`), on a runtime that never waits: a pod becomes Running with one
 * write. Events of containers and last words of deleted pods are left out unless asked for, and the
 * scheduler's word is taken: nothing of what `pod_admission.ts` looks at is looked at again.
 *
 * A pod that runs as a former life of the host left it, with nothing due, has no worker until something asks about it:
 * that is how most are where a cluster starts again or is a fork.
 *
 * Its keys: `node/<name>` (register or mend a node), `pod/<namespace>/<name>`, `lease`.
 *
 * Nodes carry the annotation `NODE_HOST_ANNOTATION`, the name of the host's Lease, by which the node
 * lifecycle controller judges them.
 */
import type { NodeApi } from "../../api/client/node_api.ts";
import type { DeepReadonly, KubeObject } from "../../api/machinery/types.ts";
import { type Client, keyOf } from "../../api/client/contract.ts";
import {
  type ActorContext,
  type ActorHandle,
  type Behaviour,
  every,
  NODE_HOST_ANNOTATION,
  type Outcome,
  type System,
} from "../runtime/mod.ts";
import { parseQuantity } from "../../api/machinery/quantity.ts";
import { KeptLogs, memoryPlace } from "./kept_logs.ts";
import type { NodeUsage } from "./metrics.ts";
import { registerNode, renewLease } from "./heartbeat.ts";
import { type Network, VirtualNetwork } from "./network/network.ts";
import {
  LEASE_RENEW_MS,
  type NodeDescription,
  nodeLabels,
  podCIDRsOf,
  unpromised,
} from "./node_status.ts";
import { resizeRefusal } from "./pod_admission.ts";
import { PodWorker } from "./pod_worker.ts";
import type { NodeFacts, WorkerPorts } from "./ports.ts";
import { PendingResizes } from "./resizes.ts";
import { SimulatedRuntime } from "./runtimes/simulated.ts";
import type { Stages } from "./runtimes/stages.ts";
import { nodeApi } from "./server.ts";
import { NODES, type Pod, PODS } from "./types.ts";
import { nodeUsage } from "./usage.ts";

/** Options of `startSimulatedNodes`, with their defaults. */
export interface SimulatedNodesOptions {
  /** How many (1). */
  count?: number;
  /** Names are `<prefix><n>` (`simulated-`). */
  prefix?: string;
  /** The number of the first one (0). */
  first?: number;
  /** Of each (32 cpu, 256Gi memory, 110 pods). */
  capacity?: Record<string, string>;
  labels?: Record<string, string>;
  /** Labels of each node by its number, such as a zone. */
  labelsOf?(index: number): Record<string, string>;
  taints?: readonly { key: string; value?: string; effect: string }[];
  /** Record Events of containers (false). */
  events?: boolean;
  /** What containers do (stages/default.yaml). */
  stages?: Stages;
  client?: Client;
  network?: Network;
  /** Of all processes that would host them, one does (false: here). */
  singleton?: boolean;
  /** Hears when they begin and cease to be hosted here. */
  hosted?(here: boolean): void;
  /** Handlers that may write at once (256): they share group commits. */
  workers?: number;
}

/** Bytes of logs of pods that are gone, of one node: they lie in memory. */
const KEPT_BYTES_MAX = 4 * 1024 * 1024;

/** Simulated nodes while they run. */
export interface SimulatedNodes {
  readonly names: readonly string[];
  /** The API of one of them; undefined when the name is not of this host. */
  api(node: string): NodeApi | undefined;
  /** What each of them is said to use. */
  usage(): Promise<NodeUsage[]>;
  /** One of them gives no sign of life and does nothing until it is found again; false: the name is not of this host. */
  lose(node: string, lost: boolean): boolean;
  /** Resolves when all are registered. */
  readonly registered: Promise<void>;
  stop(): Promise<void>;
}

const CAPACITY = {
  cpu: "32",
  memory: "256Gi",
  pods: "110",
  "ephemeral-storage": "1Ti",
  "hugepages-1Gi": "0",
  "hugepages-2Mi": "0",
};

type Facts = { -readonly [K in keyof NodeFacts]: NodeFacts[K] };

interface HostState {
  ports: WorkerPorts;
  facts: Map<string, Facts>;
  byKey: Map<string, PodWorker>;
  byUid: Map<string, PodWorker>;
  /** Pods that have no worker now, as they were when it was let go. */
  resting: Map<string, Pod>;
  runtime: SimulatedRuntime;
  /** Of each node that had any. */
  resizes: Map<string, PendingResizes<PodWorker>>;
  node(name: string): DeepReadonly<KubeObject> | undefined;
  /** Has a pod looked at. */
  wake(key: string): void;
  /** Of pods that are gone, by their node. */
  keptLogs: Map<string, KeptLogs>;
  startedAt: number;
  unsubscribe: (() => void)[];
}

/** Starts them; see the module's text. */
export function startSimulatedNodes(
  system: System,
  options: SimulatedNodesOptions = {},
): SimulatedNodes {
  const { count = 1, prefix = "simulated-", first = 0, workers = 256 } = options;
  const lease = `${prefix}host`;
  const network = options.network ?? new VirtualNetwork();
  const descriptions = new Map<string, NodeDescription>();
  for (let i = first; i < first + count; i++) {
    const description = describe(`${prefix}${i}`, lease, network.nodeAddresses(i), i, options);
    descriptions.set(description.name, description);
  }
  let state: HostState | undefined;
  const waiting = new Set(descriptions.keys());
  const lost = new Set<string>();
  const { promise: registered, resolve } = Promise.withResolvers<void>();
  const told = (name: string) => {
    waiting.delete(name);
    if (!waiting.size) resolve();
  };
  const running = (now: HostState | undefined) => {
    state = now;
    options.hosted?.(now !== undefined);
  };
  const handle: ActorHandle = system.spawn(
    `node/${prefix}host`,
    hostBehaviour({ descriptions, lost, lease, network, options, told, running }),
    {
      singleton: options.singleton,
      workers,
      component: "kubelet",
      client: options.client,
      keysMax: 1 << 20,
      backoffMsMin: 100,
      backoffMsMax: 60_000,
    },
  );
  return {
    names: [...descriptions.keys()],
    registered,
    api: (node) => {
      const description = descriptions.get(node);
      return description && state && apiOf(description, () => state);
    },
    usage: () => state ? usageOf(descriptions, state) : Promise.resolve([]),
    lose: (node, isLost) => {
      if (!descriptions.has(node)) return false;
      if (isLost) lost.add(node);
      else lost.delete(node);
      handle.send(`node/${node}`);
      return true;
    },
    stop: () => handle.stop(),
  };
}

function describe(
  name: string,
  lease: string,
  addresses: readonly string[],
  index: number,
  options: SimulatedNodesOptions,
): NodeDescription {
  return {
    name,
    hostname: name,
    addresses,
    runtime: "simulated",
    runtimeVersion: "simulated://1.0.0",
    capacity: options.capacity ?? CAPACITY,
    os: "linux",
    architecture: "amd64",
    kernelVersion: "simulated",
    osImage: "simulated",
    machineID: "",
    bootID: "",
    labels: { ...options.labels, ...options.labelsOf?.(index) },
    annotations: { [NODE_HOST_ANNOTATION]: lease },
    taints: options.taints,
  };
}

interface HostParts {
  descriptions: ReadonlyMap<string, NodeDescription>;
  lost: ReadonlySet<string>;
  lease: string;
  network: Network;
  options: SimulatedNodesOptions;
  told(name: string): void;
  running(state: HostState | undefined): void;
}

function hostBehaviour(parts: HostParts): Behaviour<HostState> {
  return {
    start: (context) => begin(parts, context),
    handle: (key, state, context) => {
      if (key.startsWith("pod/")) return stepPod(key.slice(4), state, { parts, context });
      if (key === "lease") return renewLease(context.client, parts.lease, context.clock.now());
      return register(key.slice("node/".length), state, parts, context);
    },
    stop: async (state) => {
      parts.running(undefined);
      for (const unsubscribe of state.unsubscribe) unsubscribe();
      for (const worker of state.byKey.values()) await worker.close();
    },
  };
}

function begin(parts: HostParts, context: ActorContext): HostState {
  const { clock, client, recorder, log, informers } = context;
  const runtime = new SimulatedRuntime({ clock, stages: parts.options.stages });
  const ports: WorkerPorts = {
    clock,
    client,
    recorder,
    log,
    runtimes: [runtime],
    network: parts.network,
    sources: NO_SOURCES,
    events: parts.options.events ?? false,
    keptLogs: parts.options.events
      ? { keep: (pod, records) => logsOf(pod.spec.nodeName!, state).keep(pod, records) }
      : undefined,
  };
  const state: HostState = {
    ports,
    facts: new Map(),
    byKey: new Map(),
    byUid: new Map(),
    resting: new Map(),
    runtime,
    resizes: new Map(),
    node: (name) => informers.for(NODES).get(name),
    wake: (key) => context.send(context.address, `pod/${key}`),
    keptLogs: new Map(),
    startedAt: clock.now(),
    unsubscribe: [],
  };
  for (const d of parts.descriptions.values()) {
    state.facts.set(d.name, {
      name: d.name,
      addresses: d.addresses,
      podCIDRs: [],
      allocatable: d.capacity,
      domain: "cluster.local",
      resolv: "",
    });
    context.send(context.address, `node/${d.name}`);
  }
  context.send(context.address, "lease");
  every(context, LEASE_RENEW_MS, "lease");
  parts.running(state);
  state.unsubscribe.push(
    informers.for(NODES).subscribe(({ key, object }) => {
      const facts = state.facts.get(key);
      if (!facts) return;
      if (!object) context.send(context.address, `node/${key}`); // deleted: it comes back
      else {
        noteNode(facts, object, context);
        state.resizes.get(key)?.retry();
      }
    }),
    informers.for<Pod>(PODS).subscribe(({ key, object, old }) => {
      const node = (object ?? old)!.spec.nodeName;
      if (node && state.facts.has(node)) context.send(context.address, `pod/${key}`);
    }),
  );
  return state;
}

/** Environments and volumes are not made for pods without processes. */
const NO_SOURCES: WorkerPorts["sources"] = {
  configMap: () => undefined,
  secret: () => undefined,
  services: () => [],
};

function noteNode(facts: Facts, node: DeepReadonly<KubeObject>, context: ActorContext): void {
  if (facts.podCIDRs.length === 0) facts.podCIDRs = podCIDRsOf(node);
  const conditions = node.status?.conditions as readonly { type: string; status: string }[];
  const down = conditions?.some((c) => c.type === "Ready" && c.status !== "True");
  if (down || Object.keys(unpromised(node.status)).length > 0) {
    context.send(context.address, `node/${facts.name}`);
  }
}

async function register(
  name: string,
  state: HostState,
  parts: HostParts,
  context: ActorContext,
): Promise<void> {
  const description = parts.descriptions.get(name);
  const facts = state.facts.get(name);
  if (!description || !facts) return;
  const { client, clock, informers } = context;
  if (parts.lost.has(name)) {
    const node = informers.for(NODES).get(name);
    // Its host's lease goes on, and says nothing of it
    if (node?.metadata.annotations?.[NODE_HOST_ANNOTATION]) await judgedBy(null, name, client);
    return;
  }
  const node = await registerNode(client, description, clock.now());
  if (node.metadata.annotations?.[NODE_HOST_ANNOTATION] !== parts.lease) {
    await judgedBy(parts.lease, name, client);
    for (const pod of informers.for<Pod>(PODS).list()) {
      if (pod.spec.nodeName === name) context.send(context.address, `pod/${keyOf(pod)}`);
    }
  }
  if (facts.podCIDRs.length === 0) facts.podCIDRs = podCIDRsOf(node);
  parts.told(name);
}

/** By which host's lease a node is judged from now on; null: by none. */
async function judgedBy(host: string | null, name: string, client: Client): Promise<void> {
  const annotations = { [NODE_HOST_ANNOTATION]: host };
  await client.patch({ resource: NODES, name }, {
    type: "merge",
    body: { metadata: { annotations } },
  });
}

async function stepPod(
  key: string,
  state: HostState,
  { parts, context }: { parts: HostParts; context: ActorContext },
): Promise<Outcome> {
  const seen = context.informers.for<Pod>(PODS).get(key) as Pod | undefined;
  let worker = state.byKey.get(key) ?? revived(key, state);
  if (parts.lost.has((seen ?? worker?.pod)?.spec.nodeName ?? "")) return;
  if (worker && worker.uid !== seen?.metadata.uid) {
    // Its pod is gone, perhaps with another of the same name in its place.
    const outcome = await worker.step(undefined);
    if (!worker.done) return outcome;
    forget(state, key, worker);
    worker = undefined;
  }
  if (!worker) {
    const facts = seen?.spec.nodeName ? state.facts.get(seen.spec.nodeName) : undefined;
    if (!seen || !facts) return;
    worker = begun(key, seen, facts, state);
    const outcome = await worker.step(seen);
    if (worker.rests && state.runtime.release(worker.pod, worker.records)) {
      forget(state, key, worker);
      state.resting.set(key, worker.pod);
    }
    return outcome;
  }
  // One that is done stays until its pod is gone from the cache, too: what is told late must not begin it anew.
  return await worker.step(seen);
}

function begun(key: string, pod: Pod, facts: Facts, state: HostState): PodWorker {
  const worker = new PodWorker(state.ports, facts, pod, {
    wake: () => state.wake(key),
    resized: (one) => resizesOn(facts.name, state, one.wish !== undefined)?.changed(one),
  });
  worker.admitted = true;
  state.byKey.set(key, worker);
  state.byUid.set(worker.uid, worker);
  return worker;
}

/** The resizes that wait on a node; `begin` them when there are none yet. */
function resizesOn(
  node: string,
  state: HostState,
  begin: boolean,
): PendingResizes<PodWorker> | undefined {
  let resizes = state.resizes.get(node);
  if (resizes || !begin) return resizes;
  resizes = new PendingResizes(({ uid, wish }) => {
    const object = state.node(node);
    return object && resizeRefusal(wish!, object, heldOn(node, uid, state));
  });
  state.resizes.set(node, resizes);
  return resizes;
}

/** The pods of a node that something may run of, but for one. */
function heldOn(node: string, uid: string, state: HostState): Pod[] {
  const pods: Pod[] = [];
  for (const { holds, pod } of state.byKey.values()) if (holds) pods.push(pod);
  pods.push(...state.resting.values());
  return pods.filter(({ metadata, spec }) => spec.nodeName === node && metadata.uid !== uid);
}

/** The worker of a pod that rested, from now on for good: whoever asked may hold on to it. */
function revived(key: string, state: HostState): PodWorker | undefined {
  const pod = state.resting.get(key);
  if (!pod) return undefined;
  state.resting.delete(key);
  return begun(key, pod, state.facts.get(pod.spec.nodeName!)!, state);
}

/** All of them, whoever rests included. */
function workersOf(state: HostState): Iterable<PodWorker> {
  for (const key of [...state.resting.keys()]) revived(key, state);
  return state.byKey.values();
}

function forget(state: HostState, key: string, worker: PodWorker): void {
  if (state.byKey.get(key) === worker) state.byKey.delete(key);
  state.byUid.delete(worker.uid);
}

/** One pass over all pods, however many nodes there are. */
function usageOf(
  descriptions: ReadonlyMap<string, NodeDescription>,
  state: HostState,
): Promise<NodeUsage[]> {
  const byNode = new Map<string, PodWorker[]>();
  for (const worker of workersOf(state)) {
    const node = worker.pod.spec.nodeName ?? "";
    const list = byNode.get(node);
    if (list) list.push(worker);
    else byNode.set(node, [worker]);
  }
  const all = [...descriptions.values()];
  return Promise.all(all.map((d) => usageOfOne(d, byNode.get(d.name) ?? [], state)));
}

function usageOfOne(
  description: NodeDescription,
  workers: Iterable<PodWorker>,
  state: HostState | undefined,
): Promise<NodeUsage> {
  const now = state?.ports.clock.now() ?? 0;
  const node = {
    name: description.name,
    labels: nodeLabels(description),
    startedAt: state?.startedAt ?? now,
    capacityBytes: parseQuantity(description.capacity.memory ?? "0").value(),
  };
  return nodeUsage(node, workers, now);
}

function apiOf(description: NodeDescription, state: () => HostState | undefined): NodeApi {
  const { name } = description;
  const workers = function* (): Iterable<PodWorker> {
    const now = state();
    for (const worker of now ? workersOf(now) : []) {
      if (worker.pod.spec.nodeName === name) yield worker;
    }
  };
  return nodeApi({
    name,
    worker: (pod) => {
      const now = state();
      if (now && !now.byUid.has(pod.uid)) revived(keyOf({ metadata: pod }), now);
      return now?.byUid.get(pod.uid);
    },
    workers,
    now: () => state()?.ports.clock.now() ?? 0,
    usage: () => usageOfOne(description, workers(), state()),
    keptLogs: {
      async *find(search) {
        yield* state()?.keptLogs.get(name)?.find(search) ?? [];
      },
    },
  });
}

/** The kept logs of one node, begun at the first pod that goes. */
function logsOf(name: string, { keptLogs, ports: { clock } }: HostState): KeptLogs {
  let found = keptLogs.get(name);
  if (!found) {
    found = new KeptLogs({ place: memoryPlace(), clock, bytesMax: KEPT_BYTES_MAX });
    keptLogs.set(name, found);
  }
  return found;
}
