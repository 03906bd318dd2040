/**
 * The nodes of this machine: `plesio-0`, `plesio-1`, …. Without ranges to give pods addresses from they are all
 * simulated; with them each runs for real what it can, and the machine gets its service proxy and DNS.
 */
import type { Clock } from "../../kv/clock.ts";
import type { System } from "../runtime/mod.ts";
import type { ContainerRuntimeOptions } from "./cri_node.ts";
import { startIsolateNode } from "./isolate_node.ts";
import type { KubeletOptions } from "./kubelet_options.ts";
import { machineHost } from "./joining/host.ts";
import { routes } from "./joining/routes.ts";
import { lastBlock, type ProxyMode, startNetwork } from "./network/machine.ts";
import { LoopbackNetwork, type Ranges, VirtualNetwork } from "./network/network.ts";
import { ProxyMetrics } from "./network/proxy_metrics.ts";
import type { RunningNode } from "./node.ts";
import { type SimulatedNodes, startSimulatedNodes } from "./simulated_nodes.ts";

/** Up to so many simulated nodes tell of their containers by Events: above it is scale that is looked for. */
const EVENTFUL_NODES_MAX = 10;

/** Where other processes are told which nodes are here. */
export interface NodePlaces {
  taken(node: string): void;
  left(node: string): void;
  /** As `taken`, once nobody else who lives has the name. Rejects where somebody keeps it. */
  own(node: string): Promise<void>;
}

/** What nodes are wanted. */
export interface LocalNodesOptions {
  count: number;
  /** What their names begin with, before a dash and a number. */
  prefix: string;
  /** Where other processes are told which nodes are here; absent where there are no others. */
  places?: NodePlaces;
  clock: Clock;
  /** The machine's ranges; nodes without them are simulated. */
  ranges: Ranges | undefined;
  /** Of simulated nodes' pods in a cluster of both families: IPv6. */
  secondPodRange?: string;
  /** What no isolate can run is simulated too (true), or fails to be pulled. */
  simulated: boolean;
  /** Where the nodes keep what is theirs; `temporary` goes with the last of them. */
  folder: () => Promise<{ path: string; temporary: boolean }>;
  /** Where the first of them lies instead: a kubelet's root directory. */
  rootDir?: string;
  /** What nodes with processes of their own are told; the machine's files are the first one's. */
  kubelet?: KubeletOptions;
  /** A container runtime of this machine: the first node's. */
  containerRuntime?: ContainerRuntimeOptions;
  log?(level: "info" | "warn" | "error", text: string, fields?: Record<string, unknown>): void;
  /** Labels of the i-th node. */
  labels?: (index: number) => Record<string, string>;
  /** How services are proxied (as suits the nodes). */
  proxyMode?: ProxyMode;
  /** Whether the Gateway API's kinds are made (false). */
  gatewayApi?: boolean;
  /** Addresses of load balancers that the machine takes on its own network (none). */
  balancerPool?: string;
  /** Taints with which they register. */
  taints?: readonly { key: string; value?: string; effect: string }[];
}

/** What a cluster's options say of its nodes. */
export interface NodesAsked {
  /** What their names begin with (`plesio`). */
  nodePrefix?: string;
  /** How many (2). */
  nodes?: number;
  runtime?: "auto" | "isolate" | "simulated";
  /** A folder for everything durable (a temporary one). */
  data?: string;
  nodeLabels?: (index: number) => Record<string, string>;
  loadBalancerPool?: string;
  clusterCidr?: string;
}

type Told = Pick<
  LocalNodesOptions,
  "containerRuntime" | "proxyMode" | "gatewayApi" | "rootDir" | "kubelet" | "log"
>;

/** The nodes that are asked for; `temporary` makes a folder for those without a place. */
export function localNodes(
  options: NodesAsked & Told,
  ground: Pick<LocalNodesOptions, "clock" | "ranges" | "taints" | "places"> & {
    temporary: () => Promise<string>;
  },
): LocalNodesOptions {
  const { clock, ranges, taints, places, temporary } = ground;
  const { nodes: count = 2, nodePrefix: prefix = "plesio", runtime, data } = options;
  const { nodeLabels: labels } = options;
  const { containerRuntime, proxyMode, gatewayApi, rootDir, kubelet, log } = options;
  return {
    count,
    prefix,
    places,
    clock,
    ranges,
    secondPodRange: options.clusterCidr?.split(",")[1],
    containerRuntime,
    rootDir,
    kubelet,
    log,
    labels,
    proxyMode,
    gatewayApi,
    balancerPool: options.loadBalancerPool,
    taints,
    simulated: runtime !== "isolate",
    folder: async () => ({
      path: data ?? await temporary(),
      temporary: data === undefined,
    }),
  };
}

/** Where load balancers' addresses come from; undefined: the range there is where nobody says. */
export function balancerRange(
  pool: string | undefined,
  ranges: Ranges | undefined,
): string | undefined {
  return pool ?? (ranges && lastBlock(ranges.serviceRange));
}

/** Starts them, into the lists that say which there are. */
export async function startLocalNodes(
  system: System,
  options: LocalNodesOptions,
  { nodes, simulated }: { nodes: RunningNode[]; simulated: SimulatedNodes[] },
): Promise<void> {
  const { count, prefix, places, clock, ranges, labels, taints } = options;
  if (count === 0) return;
  if (!ranges) {
    simulated.push(startSimulatedNodes(system, {
      count,
      prefix: `${prefix}-`,
      // Of processes that would host the same nodes one does
      ...(places && {
        singleton: true,
        hosted: (here) => here ? places.taken(`${prefix}-*`) : places.left(`${prefix}-*`),
      }),
      network: new VirtualNetwork(options.secondPodRange),
      events: count <= EVENTFUL_NODES_MAX,
      labelsOf: labels,
      taints,
    }));
    return;
  }
  const names = Array.from({ length: count }, (_, index) => `${prefix}-${index}`);
  for (const name of names) await places?.own(name);
  const network = new LoopbackNetwork(ranges);
  let dnsPort: number | undefined;
  const proxyMetrics = new ProxyMetrics(ranges);
  const { path: folder, temporary } = await options.folder();
  for (let index = 0; index < count; index++) {
    const own = {
      name: names[index],
      index,
      clock,
      folder,
      network,
      dnsIP: ranges.dnsIP,
      labels: labels?.(index),
      taints,
      temporary,
      proxyMetrics,
      rootDir: index === 0 ? options.rootDir : undefined,
      kubelet: index === 0 ? options.kubelet : without(options.kubelet),
    };
    const { containerRuntime: runtime, simulated, log } = options;
    if (runtime && index === 0) {
      // Nobody without a container runtime loads what speaks to one.
      const { startCriNode } = await import("./cri_node.ts");
      nodes.push(await startCriNode(system, { ...own, ranges, runtime, log }));
    } else nodes.push(startIsolateNode(system, { ...own, dnsPort: () => dnsPort, simulated }));
  }
  await startNetwork(system, {
    ranges,
    network,
    nodes: names,
    proxyMode: options.proxyMode,
    preferRules: options.containerRuntime !== undefined,
    metrics: proxyMetrics,
    l7: { gatewayApi: options.gatewayApi },
    balancerPool: options.balancerPool,
    dnsReady: ({ port }) => dnsPort = port,
  });
  const { routes: table } = machineHost();
  if (!table || ranges.podRange.startsWith("127.")) return;
  // Pods of machines that have joined are reached by these machines' addresses
  const podRanges = [ranges, ranges.second].flatMap((one) => one?.podRange ?? []);
  system.spawn("routes/plesio", routes({ podRanges, own: new Set(names), routes: table }), {
    component: "kubelet",
  });
}

/** What further nodes of a machine are told: its files are not theirs. */
function without(kubelet: KubeletOptions | undefined): KubeletOptions {
  return { ...kubelet, manifests: undefined };
}
