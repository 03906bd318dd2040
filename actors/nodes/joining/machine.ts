/**
 * A machine that has joined a cluster: its node with a kubelet that acts as the node and as nobody else, the machine's
 * service proxy and DNS, the ways to other machines' pods, and the tunnel through which the API server reaches it.
 *
 * It writes to the API what a kubelet writes: its Node once at the start, its Lease every ten seconds, its status every
 * five minutes or when it changes, and what becomes of its pods.
 */
import type { Client, Informers } from "../../../api/client/contract.ts";
import type { Endpoint } from "../../../api/client/outbound.ts";
import type { Carrier } from "../../../api/client/tunnel.ts";
import type { Clock } from "../../../kv/clock.ts";
import { createSystem, type Logger, type System } from "../../runtime/mod.ts";
import type { ContainerRuntimeOptions } from "../cri_node.ts";
import { startIsolateNode } from "../isolate_node.ts";
import type { KubeletOptions } from "../kubelet_options.ts";
import { type ProxyMode, startNetwork } from "../network/machine.ts";
import {
  claimJoined,
  claimSecond,
  LoopbackNetwork,
  type Network,
  type Ranges,
  type SecondRanges,
  sharedRanges,
  VirtualNetwork,
} from "../network/network.ts";
import { ProxyMetrics } from "../network/proxy_metrics.ts";
import { PORT_SHIFT } from "../network/proxy.ts";
import { type RunningNode, startNode } from "../node.ts";
import { SimulatedRuntime } from "../runtimes/simulated.ts";
import { dialIn } from "./dial_in.ts";
import { createNodeInformers } from "./informers.ts";
import { removeLeftovers, type Routes, routes } from "./routes.ts";

/** What a joined machine is started with. */
export interface MachineOptions {
  name: string;
  clock: Clock;
  log: Logger;
  /** The data folder. */
  folder: string;
  /** Where the node lies instead of in it: a kubelet's root directory. */
  rootDir?: string;
  runtime: "auto" | "isolate" | "simulated";
  /** A container runtime of the machine: the node's pods are its containers. */
  containerRuntime?: ContainerRuntimeOptions;
  /** How services are proxied (as suits the node). */
  proxyMode?: ProxyMode;
  /** What the node is told. */
  kubelet?: KubeletOptions;
  labels?: Record<string, string>;
  taints?: readonly { key: string; value?: string; effect: string }[];
  /** The addresses at which others reach it: one of each family (one, found out). */
  nodeIPs?: readonly string[];
  /** The cluster's; those of a second family come after a comma. */
  ranges: { podRange: string; serviceRange: string };
  /** The node's own client, and how its requests are given up. */
  api: { client: Client; drop(why: string): void };
  endpoint(): Endpoint;
  host: MachineHost;
}

/** What is asked of the machine (`host.ts`). */
export interface MachineHost {
  dialTunnel(endpoint: Endpoint, node: string): Promise<Carrier>;
  wayTo(url: string): Promise<{ local: string; remote: string }>;
  /** Absent: routes cannot be written here. */
  routes?: Routes;
}

/** A joined machine while it runs. */
export interface RunningMachine {
  readonly node: RunningNode;
  /** The node has another certificate: the tunnel is opened anew with it. */
  renewed(): void;
  stop(): Promise<void>;
}

/** See the module's text. Rejects when the machine cannot do what it is asked to. */
export async function startMachine(options: MachineOptions): Promise<RunningMachine> {
  const { name, clock, log, api, host, endpoint } = options;
  const onError = (resource: { plural: string }, error: unknown) =>
    log("debug", "could not read", { resource: resource.plural, error: String(error) });
  const informers = createNodeInformers({ client: api.client, clock, node: name, onError });
  const ports = { client: api.client, clock, log };
  const system = createSystem({ ...ports, informers: informers.own });
  const network = createSystem({ ...ports, informers: informers.network });
  const way = await wayOrNone(options);
  const ground = { system, network, way, everyPod: informers.everyPod };
  const { node, release } = await startNodeOf(options, ground);
  const tunnel = system.spawn(
    `tunnel/${name}`,
    dialIn({
      dial: () => host.dialTunnel(endpoint(), name),
      api: node.api,
      opened: () => {
        if (options.nodeIPs) return;
        void host.wayTo(endpoint().url!).then(
          (now) => {
            way.remote = remoteOf(endpoint(), now);
            node.readdress(now.local);
          },
          (error) => log("debug", "could not find out the address", { error: String(error) }),
        );
      },
      lost: (why) => api.drop(why),
    }),
    { component: "kubelet" },
  );
  const stop = async () => {
    await node.shutDown();
    await tunnel.stop();
    await node.stop();
    await network.stop();
    await system.stop();
    api.drop("the node stops");
    await informers.own.stop();
    await informers.network.stop();
    await release();
  };
  return { node, renewed: () => tunnel.send("anew"), stop };
}

interface Way {
  locals: readonly string[];
  remote: string;
}

/** Which addresses lead to the server. While it is away: those that were named. */
async function wayOrNone({ host, endpoint, nodeIPs, log }: MachineOptions): Promise<Way> {
  try {
    const way = await host.wayTo(endpoint().url!);
    return { remote: remoteOf(endpoint(), way), locals: nodeIPs ?? [way.local] };
  } catch (error) {
    if (nodeIPs) return { locals: nodeIPs, remote: "" };
    log("debug", "could not find out the address", { error: String(error) });
    return { locals: ["127.0.0.1"], remote: "" };
  }
}

/** Where the server's machine is; "" where what is dialled is no machine of the cluster's, but ends TLS for it. */
function remoteOf({ bearerToken }: Endpoint, { remote }: { remote: string }): string {
  return bearerToken === undefined ? remote : "";
}

interface Ground {
  system: System;
  /** The system of what serves the machine, which reads more than the kubelet does. */
  network: System;
  way: Way;
  everyPod: Informers;
}

async function startNodeOf(
  options: MachineOptions,
  { system, network, way, everyPod }: Ground,
): Promise<{ node: RunningNode; release(): Promise<void> }> {
  const { name, clock, labels, taints, folder, rootDir, runtime, host } = options;
  const podRanges = options.ranges.podRange.split(",");
  const [podRange, six] = podRanges;
  const told = { name, clock, labels, taints, kubelet: options.kubelet };
  if (runtime === "simulated") {
    const runtimes = [new SimulatedRuntime({ clock })];
    const places = at(new VirtualNetwork(), way);
    const node = startNode(system, { ...told, runtimes, network: places });
    return { node, release: () => Promise.resolve() };
  }
  const second = { podRange: six, serviceRange: options.ranges.serviceRange.split(",")[1] };
  const claim = () => rangesOf(podRange, way, second);
  const { ranges, shared } =
    await (host.routes ? withoutLeftovers({ podRanges, routes: host.routes }, claim) : claim());
  const places = at(new LoopbackNetwork(ranges), way);
  // Where another process of this machine answers already, it does so for us too
  let dnsPort: number | undefined = shared && podRange.startsWith("127.") ? 53 + PORT_SHIFT : 53;
  const proxyMetrics = new ProxyMetrics(ranges);
  const own = { ...told, folder, rootDir, network: places, dnsIP: ranges.dnsIP, proxyMetrics };
  const { containerRuntime, proxyMode, log } = options;
  const node = containerRuntime
    ? await containerNode(system, { ...own, ranges, runtime: containerRuntime, log })
    : startIsolateNode(system, { ...own, dnsPort: () => dnsPort, simulated: runtime === "auto" });
  if (!shared) {
    await startNetwork(network, {
      ranges,
      network: places,
      nodes: [name],
      proxyMode,
      preferRules: true,
      everyPod,
      metrics: proxyMetrics,
      dnsReady: ({ port }) => dnsPort = port,
    });
    if (host.routes && !podRange.startsWith("127.")) {
      const own = new Set([name]);
      const server = () => way.remote || undefined;
      network.spawn(`routes/${name}`, routes({ podRanges, own, server, routes: host.routes }), {
        component: "kubelet",
      });
    }
  }
  return { node, release: () => ranges.release() };
}

type CriNode = typeof import("../cri_node.ts").startCriNode;

/** Nobody without a container runtime loads what speaks to one. */
const containerNode: CriNode = async (system, options) =>
  await (await import("../cri_node.ts")).startCriNode(system, options);

interface Claimed {
  ranges: Ranges;
  /** The API server's own process keeps them here. */
  shared: boolean;
}

/**
 * Claims ranges where nothing leads away what is to be claimed. Where another process has them those were its ways, and
 * are there again.
 */
async function withoutLeftovers(
  own: { podRanges: readonly string[]; routes: Routes },
  claim: () => Promise<Claimed>,
): Promise<Claimed> {
  const removed = await removeLeftovers(own);
  const putBack = async () => {
    for (const [range, gateway] of removed) await own.routes.set(range, gateway);
  };
  const claimed = await claim().catch(async (error) => {
    await putBack();
    throw error;
  });
  if (claimed.shared) await putBack();
  return claimed;
}

/** The cluster's ranges on this machine. */
async function rangesOf(
  podRange: string,
  way: Way,
  second: Partial<SecondRanges>,
): Promise<Claimed> {
  const ranges = await claimJoined(podRange);
  if (ranges) {
    const { podRange: pods, serviceRange: services } = second;
    const both = pods && services
      ? await claimSecond(ranges, { podRange: pods, serviceRange: services })
      : ranges;
    return { ranges: both, shared: false };
  }
  if (way.locals.includes(way.remote)) return { ranges: sharedRanges(podRange), shared: true };
  throw new Error(
    `Cannot run pods with addresses of ${podRange}: another cluster of this machine has them`,
  );
}

/** A network whose node has the machine's own addresses. */
function at(network: Network, way: Way): Network {
  return {
    setupPod: (pod, node) => network.setupPod(pod, node),
    teardownPod: (uid) => network.teardownPod(uid),
    endpoint: (ip, port) => network.endpoint(ip, port),
    nodeAddresses: () => [...way.locals],
    close: () => network.close(),
  };
}
