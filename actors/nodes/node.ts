/**
 * Starts a node: a kubelet actor with its runtimes, network and volumes, and the API by which the
 * server reaches its pods. What can be run here is run by the `isolate` runtime, everything else is
 * simulated and says so.
 */
import type { Client } from "../../api/client/contract.ts";
import type { NodeApi, NodeDialer, PodRef } from "../../api/client/node_api.ts";
import { unavailable } from "../../api/machinery/errors.ts";
import type { ActorContext, System } from "../runtime/mod.ts";
import type { Clock } from "../../kv/clock.ts";
import type { Meter } from "./figures.ts";
import { kubelet, type KubeletState, shutDown, workerOf } from "./kubelet.ts";
import type { KubeletOptions } from "./kubelet_options.ts";
import { type Network, VirtualNetwork } from "./network/network.ts";
import type { ProxyMetrics } from "./network/proxy_metrics.ts";
import { type NodeDescription, type NodeImage, nodeLabels } from "./node_status.ts";
import { KeptLogs, type LogPlace, memoryPlace } from "./kept_logs.ts";
import { KubeletMetrics } from "./kubelet_metrics.ts";
import { type NodeUsage, USAGE_PATH, type UsageQuery } from "./metrics.ts";
import type { PodWorker } from "./pod_worker.ts";
import type { PodVolumes, ProbeDialer } from "./ports.ts";
import type { Objects } from "./objects.ts";
import { type HostFacts, hostFacts } from "./runtimes/host.ts";
import { manifestFolder } from "./runtimes/manifest_folder.ts";
import type { Runtime, Soon } from "./runtimes/runtime.ts";
import type { SystemLogs } from "./runtimes/system_logs.ts";
import { nodeApi } from "./server.ts";
import type { SimulatedNodes } from "./simulated_nodes.ts";
import type { ManifestSource } from "./static_pods.ts";
import { nodeUsage } from "./usage.ts";
import { SimulatedRuntime } from "./runtimes/simulated.ts";

/** What any node is told, whatever runs its pods. */
export interface ToldNode {
  name: string;
  /** Its number among the nodes of this machine (0): it decides its address. */
  index?: number;
  clock: Clock;
  /** The node's own identity (the system's client). */
  client?: Client;
  /** What its kubelet is told (nothing). */
  kubelet?: KubeletOptions;
  /** What the service proxy of its machine counts (nothing). */
  proxyMetrics?: ProxyMetrics;
  /** The address of the DNS service. */
  dnsIP?: string;
  domain?: string;
  labels?: Record<string, string>;
  /** Taints with which it registers. */
  taints?: readonly { key: string; value?: string; effect: string }[];
  /** Cpu and memory of this machine, 110 pods. */
  capacity?: Record<string, string>;
}

/** Options of `startNode`, with their defaults. */
export interface NodeOptions extends ToldNode {
  /** What runs containers, as the node's label says it (the first runtime's name). */
  kind?: string;
  /** In order: the first that can run an image runs it (only `simulated`). */
  runtimes?: readonly Runtime[];
  /** Pods' addresses (names only, `VirtualNetwork`). Shared by the nodes of a machine. */
  network?: Network;
  /** Makes the keeper of volumes; needed by runtimes with processes. */
  volumes?(objects: Objects, context: ActorContext): PodVolumes;
  /** Ends what a former life of this node left running. */
  leftovers?(): Promise<void>;
  /** Removes what is kept of pods that are not among these. */
  sweep?(uids: ReadonlySet<string>): Soon<void>;
  /** Why the node cannot run pods now; undefined when it can. */
  problem?(): Promise<string | undefined>;
  /** The images that are on the machine. */
  images?(): Promise<NodeImage[]>;
  /** Files of pods of the node's own (those of the folder that it is told). */
  manifests?: ManifestSource;
  /** Measures the machine (nobody does). */
  meter?: Meter;
  /** Where logs of pods that are gone are kept (in memory). */
  logPlace?: LogPlace;
  /** The machine's own logs (none). */
  systemLogs?: SystemLogs;
  dial?: ProbeDialer;
}

/** A node while it runs. */
export interface RunningNode {
  readonly name: string;
  /** Its addresses when it started. */
  readonly addresses: readonly string[];
  readonly api: NodeApi;
  /** What it and its pods use now. */
  usage(): Promise<NodeUsage>;
  /** The machine has another address: its status says so, and pods of the host's network that start from now on. */
  readdress(address: string): void;
  /** Ends its pods in order, if it was told how long that may take; else they run on. To be called before `stop`. */
  shutDown(): Promise<void>;
  /** Ends its pods' processes; their objects stay, and resume with the next start. */
  stop(): Promise<void>;
}

/** Starts it; see the module's text. */
export function startNode(system: System, options: NodeOptions): RunningNode {
  const { name, index = 0, clock, domain = "cluster.local", kubelet: told = {} } = options;
  const runtimes: readonly Runtime[] = options.runtimes ?? [new SimulatedRuntime({ clock })];
  const network = options.network ?? new VirtualNetwork();
  const host = hostFacts();
  const addresses = network.nodeAddresses(index);
  const description = describe(options, host, { runtime: runtimes[0], addresses });
  let state: KubeletState | undefined;
  const metrics = new KubeletMetrics(options.proxyMetrics);
  const keptLogs = new KeptLogs({ place: options.logPlace ?? memoryPlace(), clock });
  const parts = {
    description,
    runtimes,
    network,
    dnsIP: options.dnsIP,
    domain,
    resolv: host.resolv,
    dial: options.dial,
    volumes: options.volumes,
    leftovers: options.leftovers,
    sweep: options.sweep,
    problem: options.problem,
    images: options.images,
    metrics,
    keptLogs,
    meter: options.meter,
    eviction: told.eviction,
    manifests: options.manifests ?? (told.manifests ? manifestFolder(told.manifests) : undefined),
  };
  const handle = system.spawn(`node/${name}`, kubelet(parts, (s) => state = s), {
    component: "kubelet",
    host: name,
    client: options.client,
    workers: 4,
  });
  const workers = function* (): Iterable<PodWorker> {
    for (const { worker } of state?.pods.values() ?? []) yield worker;
  };
  const labels = nodeLabels(description);
  const { meter } = options;
  const usage = (query?: UsageQuery) => {
    const startedAt = state?.startedAt ?? clock.now();
    const volumes = state?.ports.volumes;
    const node = { name, labels, startedAt, capacityBytes: host.memoryBytes, meter, volumes };
    return nodeUsage(node, workers(), clock.now(), query);
  };
  for (const runtime of runtimes) {
    runtime.watchSandboxes?.((uid) => state?.pods.get(uid)?.worker.sandboxLost());
  }
  const worker = (pod: PodRef) => state && workerOf(pod, state);
  const { systemLogs } = options;
  const now = () => clock.now();
  const api = nodeApi({ name, worker, workers, now, usage, metrics, keptLogs, systemLogs });
  const shutdown = async () => {
    if (state && told.shutdown) await shutDown(state, told.shutdown, () => handle.send("status"));
  };
  const stop = async () => {
    await handle.stop();
    for (const runtime of runtimes) await runtime.close();
  };
  const readdress = (address: string) => {
    if (description.addresses[0] === address) return;
    description.addresses = [address];
    if (state) state.facts.addresses = description.addresses;
    handle.send("status");
  };
  return { name, addresses, api, usage, readdress, shutDown: shutdown, stop };
}

function describe(
  { name, kind, capacity, labels, taints }: NodeOptions,
  host: HostFacts,
  { runtime, addresses }: { runtime: Runtime; addresses: string[] },
): NodeDescription {
  return {
    ...host,
    name,
    hostname: name,
    addresses,
    runtime: kind ?? runtime.name,
    runtimeVersion: `${runtime.name}://${runtime.version}`,
    capacity: capacity ?? {
      cpu: String(host.cpus),
      memory: `${Math.floor(host.memoryBytes / 1024)}Ki`,
      pods: "110",
      "ephemeral-storage": `${Math.floor(host.diskBytes / 1024)}Ki`,
      "hugepages-1Gi": "0",
      "hugepages-2Mi": "0",
    },
    labels,
    taints,
  };
}

/** Finds nodes of this process by name: what `mod.ts` hands to the API server. */
export function dialerOf(
  nodes: () => Iterable<RunningNode>,
  simulated: () => Iterable<SimulatedNodes>,
): NodeDialer {
  return async (name) => {
    for (const node of nodes()) if (node.name === name) return node.api;
    for (const host of simulated()) {
      const api = host.api(name);
      if (api) return api;
    }
    throw unavailable(
      `node "${name}" cannot be reached: it is not of this process, and has not dialled in`,
    );
  };
}

/** How long a node elsewhere may take to say what it uses. */
const USAGE_MS_MAX = 3_000;

/** What all nodes use, of this process and elsewhere: what `metricsApi` asks. Nodes that do not answer are left out. */
export async function usageOf(
  nodes: Iterable<RunningNode>,
  simulated: Iterable<SimulatedNodes>,
  { elsewhere, clock }: { elsewhere: Iterable<NodeApi>; clock: Clock },
): Promise<NodeUsage[]> {
  const asked = [...elsewhere].map((api) => usageElsewhere(api, clock));
  const all = await Promise.all([...nodes].map((node) => node.usage()));
  for (const host of simulated) all.push(...await host.usage());
  for (const usages of await Promise.all(asked)) all.push(...usages);
  return all;
}

async function usageElsewhere(api: NodeApi, clock: Clock): Promise<NodeUsage[]> {
  const late = Promise.withResolvers<NodeUsage[]>();
  const timer = clock.timer("work", USAGE_MS_MAX, () => late.resolve([]));
  const ask = async () => {
    const said = await (await api.fetch(new Request(`http://node${USAGE_PATH}`))).json();
    return [said].flat() as NodeUsage[];
  };
  try {
    return await Promise.race([ask(), late.promise]);
  } catch {
    return []; // it went away while it was asked
  } finally {
    timer.cancel();
  }
}
