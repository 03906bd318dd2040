/**
 * What every machine of a cluster runs beside its nodes: the service proxy and DNS, over the machine's ranges.
 *
 * The proxy is one of two. By nftables (Linux, root) it serves pods with network namespaces and processes of the
 * machine alike, isolates among them; one socket remains for each node port, at 127.0.0.1. By sockets (userspace)
 * it needs no rights, and works everywhere.
 */
import type { Informers } from "../../../api/client/contract.ts";
import type { ActorContext, System } from "../../runtime/mod.ts";
import { podGroup, unified } from "../runtimes/cgroup.ts";
import { announce } from "./arp.ts";
import { balancerAddresses } from "./balancer_addresses.ts";
import { dns, type DnsPlace } from "./dns.ts";
import { nameservers } from "./dns_forward.ts";
import { edge } from "./l7/edge.ts";
import { gonePods } from "./gone_pods.ts";
import { healthCheck } from "./health_check.ts";
import { claimRanges, type Network, type Ranges } from "./network.ts";
import { letForward, mayFilter, netfilter, output } from "./nft.ts";
import { nftablesProxy } from "./nftables_proxy.ts";
import { removal, tableOf } from "./nftables_table.ts";
import { formatIPv4, parseIPv4, parseRange } from "./pool.ts";
import { policyGuard, policyNotice } from "./policy_guard.ts";
import { proxy } from "./proxy.ts";
import type { Place } from "./traffic.ts";

/** How services are proxied: kube-proxy's `--proxy-mode`, and by sockets of this process. */
export type ProxyMode = "nftables" | "userspace";

/** What the machine's network actors work with. */
export interface MachineNetwork {
  ranges: Ranges;
  network: Network;
  /** The nodes of this machine, in the order of their addresses: node ports answer there too. */
  nodes: readonly string[];
  /** Whether pods of this machine have network namespaces (false). */
  containers?: boolean;
  /** How services are proxied (nftables where pods have network namespaces and rules can be written, else userspace). */
  proxyMode?: ProxyMode;
  /** Caches that show the pods of all machines, read only while there are NetworkPolicies (the system's). */
  everyPod?: Informers;
  /** Whether the Gateway API's kinds are made (false). */
  gatewayApi?: boolean;
  /** Addresses of load balancers outside of the ranges, which this machine takes and announces (none). */
  balancerPool?: string;
  /** Told where DNS answers. */
  dnsReady(place: DnsPlace): void;
}

/** Starts `proxy/plesio`, `proxy/health`, `dns/plesio`, `l7/plesio` and, by nftables, `policy/plesio`. They stop with the system. */
export async function startNetwork(system: System, machine: MachineNetwork): Promise<void> {
  const { ranges, network, nodes, dnsReady } = machine;
  await startProxy(system, machine);
  const { balancerPool: pool } = machine;
  if (pool && Deno.build.os === "linux" && Deno.uid() === 0) {
    const ip = (...args: string[]) => output("ip", args);
    system.spawn("addresses/plesio", balancerAddresses({ pool, ip, announce }));
  }
  const own = inRangesOf(ranges);
  system.spawn(
    "l7/plesio",
    edge({
      place: placeOf(nodes),
      gatewayApi: machine.gatewayApi,
      locate: ({ ip, port }) => own(ip) ? network.endpoint(ip, port) : undefined,
    }),
    { component: "plesio-l7" },
  );
  system.spawn(
    "dns/plesio",
    dns({ address: ranges.dnsIP, zone: "cluster.local", upstreams, ready: dnsReady }),
    { component: "coredns" },
  );
}

/** The machine's own resolvers, as they are now: who moves between networks gets others. */
function upstreams(): string[] {
  try {
    return nameservers(Deno.readTextFileSync("/etc/resolv.conf"));
  } catch {
    return []; // no such file on this machine
  }
}

async function startProxy(system: System, machine: MachineNetwork): Promise<void> {
  const { ranges, network, nodes, containers = false } = machine;
  const suited = containers && await mayFilter() ? "nftables" : "userspace";
  const { proxyMode = suited } = machine;
  const nodeAddresses = nodes.map((_, i) => network.nodeAddress(i));
  const inRanges = inRangesOf(ranges);
  const inPool = machine.balancerPool ? within(machine.balancerPool) : () => false;
  const place = placeOf(nodes);
  const addressOf = new Map(nodes.map((node, i) => [node, nodeAddresses[i]]));
  const ownAddress = (node: string) => addressOf.has(node) ? [addressOf.get(node)!] : [];
  const userspace = (addresses: readonly string[], local: (address: string) => boolean) =>
    proxy({
      nodePortAddresses: () => addresses,
      hostPortAddresses: (node) =>
        addressOf.has(node) ? ["127.0.0.1", ...ownAddress(node).filter(local)] : [],
      local,
      place,
      locate: ({ ip, port }) => inRanges(ip) ? network.endpoint(ip, port) : undefined,
    });
  const spawn = { workers: 16, component: "kube-proxy" };
  if (proxyMode === "nftables") {
    await startRules(system, machine, { nodeAddresses, ownAddress });
    // The kernel routes nothing from 127.0.0.1 to other hosts: sockets answer there.
    system.spawn("proxy/localhost", userspace(["127.0.0.1"], () => false), spawn);
  } else {
    // What a killed proxy of the other mode left here would still lead packets past the sockets.
    if (Deno.build.os === "linux" && Deno.uid() === 0) {
      const tables = ["proxy", "policy"].map((of) =>
        removal(tableOf({ family: 4, name: tableName(of, ranges) }))
      );
      await netfilter().apply(tables.join("")).catch(() => undefined);
    }
    system.spawn("policy/notice", policyNotice(nodes, NO_RULES));
    const local = (address: string) => inRanges(address) || inPool(address);
    system.spawn("proxy/plesio", userspace(["127.0.0.1", ...nodeAddresses], local), spawn);
  }
  const places = nodes.map((node, i) => ({ node, address: nodeAddresses[i] }));
  system.spawn("proxy/health", healthCheck(places), { component: "kube-proxy" });
}

/** The addresses of this machine's nodes: all, and those of one of them (of others none). */
interface NodeAddresses {
  nodeAddresses: readonly string[];
  ownAddress(node: string): readonly string[];
}

/** Services and NetworkPolicies as rules of the kernel. */
async function startRules(
  system: System,
  { ranges, nodes, everyPod }: MachineNetwork,
  { nodeAddresses, ownAddress }: NodeAddresses,
): Promise<void> {
  if (!await mayFilter()) {
    throw new Error("Cannot proxy with nftables: it needs Linux, root and the program nft");
  }
  const bridged = await letForward();
  const podRanges = [ranges.podRange];
  const place = placeOf(nodes);
  const [table, policies] = ["proxy", "policy"].map((of) => ({
    family: 4 as const,
    name: tableName(of, ranges),
  }));
  system.spawn(
    "proxy/plesio",
    nftablesProxy({
      table: { ...table, podRanges, nodePortAddresses: nodeAddresses, bridged },
      place: (context) => ({
        ...place(context),
        family: 4,
        nodeAddresses,
        answered: new Set([ranges.dnsIP]),
      }),
      hostPortAddresses: ownAddress,
      netfilter: netfilter(),
    }),
    { component: "kube-proxy" },
  );
  system.spawn("flows/plesio", gonePods({ netfilter: netfilter() }));
  system.spawn(
    "policy/plesio",
    policyGuard({
      table: { ...policies, podRanges },
      nodes: new Set(nodes),
      netfilter: netfilter(),
      informers: everyPod,
      groupOf: podGroup,
    }),
  );
  if (unified() === undefined) system.spawn("policy/notice", policyNotice(nodes, NO_GROUPS));
}

/** What a node says where NetworkPolicies are not kept, or not all of them. */
const NO_RULES =
  "NetworkPolicies are not enforced on this node: services are proxied by sockets, " +
  "and only rules of the kernel see pods' packets (Linux, root, --proxy-mode nftables)";
const NO_GROUPS = "NetworkPolicies are not enforced for what isolates on this node send: " +
  "that needs cgroups of version 2";

/** Clusters of one machine have a table each, by their pods' range. */
function tableName(of: string, { podRange }: Ranges): string {
  const which = podRange === NAMED_RANGES.podRange ? "" : `-${podRange.split("/")[0]}`;
  return `plesio-${of}${which}`;
}

const ZONE = "topology.kubernetes.io/zone";

/** The nodes of this machine, and the zone of the first: a machine is in one place. */
function placeOf(nodes: readonly string[]): (context: ActorContext) => Place {
  const names = new Set(nodes);
  return ({ informers }) => {
    const [first] = nodes;
    const node = informers.for({ group: "", version: "v1", plural: "nodes" }).get(first);
    return { nodes: names, zone: node?.metadata.labels?.[ZONE] };
  };
}

/** The last /24 of a range: where load balancers' addresses come from. */
export function lastBlock(range: string): string {
  const parsed = parseRange(range);
  if (!parsed) throw new TypeError(`Cannot take the last /24 of "${range}": not an IPv4 range`);
  return `${formatIPv4(parsed.first + parsed.size - 256)}/24`;
}

/** Whether an address is of the cluster. */
function inRangesOf({ podRange, serviceRange }: Ranges): (address: string) => boolean {
  const own = [podRange, serviceRange].map(within);
  return (address) => own.some((contains) => contains(address));
}

/** Whether an address is of a range. */
function within(range: string): (address: string) => boolean {
  const { first, size } = parseRange(range)!;
  return (address) => {
    const value = parseIPv4(address);
    return value !== undefined && value >= first && value < first + size;
  };
}

/** Ranges of a cluster whose addresses are only names. */
export const NAMED_RANGES = { podRange: "10.244.0.0/16", serviceRange: "10.96.0.0/12" };

/** Where a cluster keeps what it was given once. */
interface Settings {
  get(name: string): Promise<Uint8Array | undefined>;
  set(name: string, value: Uint8Array): Promise<void>;
}

const POD_RANGE_SETTING = "network/pod-range";

/** The pod range of a simulated cluster: wider than 10.244.0.0/16, which 256 nodes divide among them, when it must be. */
export function virtualPodRange(nodes: number): string {
  return nodes > 256 ? "10.128.0.0/10" : NAMED_RANGES.podRange;
}

/** The ranges this cluster has had since it was made, if no other cluster of this machine has them now. */
export async function keptRanges(settings: Settings): Promise<Ranges> {
  const kept = await settings.get(POD_RANGE_SETTING);
  const ranges = await claimRanges(kept && new TextDecoder().decode(kept));
  await settings.set(POD_RANGE_SETTING, new TextEncoder().encode(ranges.podRange));
  return ranges;
}

/** Where pods reach the API server: an address of the pod range that no node gives out. */
export function advertised(ranges: Ranges | undefined): { ip: string; port: number } {
  const [a, b] = (ranges ?? NAMED_RANGES).podRange.split(".");
  return { ip: `${a}.${b}.255.254`, port: 6443 };
}
