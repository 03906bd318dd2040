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
import { NODES } from "../types.ts";
import { announce } from "./arp.ts";
import { balancerAddresses } from "./balancer_addresses.ts";
import { dns, type DnsPlace } from "./dns.ts";
import { nameservers } from "./dns_forward.ts";
import { gonePods } from "./gone_pods.ts";
import { edge, type EdgeOptions } from "./l7/edge.ts";
import { healthCheck } from "./health_check.ts";
import {
  claimRanges,
  claimSecond,
  lastPart,
  type Network,
  type Ranges,
  type SecondRanges,
} from "./network.ts";
import { keepFlows, letForward, letForwardSix, mayFilter, netfilter, output } from "./nft.ts";
import { nftablesProxy } from "./nftables_proxy.ts";
import { removal, tableOf } from "./nftables_table.ts";
import { isWithin, parseIpRange } from "./ip_range.ts";
import { addressAt } from "./pool.ts";
import { policyGuard, policyNotice } from "./policy_guard.ts";
import { proxy } from "./proxy.ts";
import { ProxyMetrics } from "./proxy_metrics.ts";
import { proxyStatus } from "./proxy_status.ts";
import { type Family, familyOf, type Place } from "./traffic.ts";

/** How services are proxied: kube-proxy's `--proxy-mode`, and by sockets of this process. */
export type ProxyMode = "nftables" | "userspace";

/** What the machine's network actors work with. */
export interface MachineNetwork {
  ranges: Ranges;
  network: Network;
  /** The nodes of this machine, in the order of their addresses: node ports answer there too. */
  nodes: readonly string[];
  /** How services are proxied (by nftables where rules are preferred and can be written, else userspace). */
  proxyMode?: ProxyMode;
  /** Rules are preferred to sockets: for pods with network namespaces, and for NetworkPolicies to be kept (false). */
  preferRules?: boolean;
  /** Caches that show the pods of all machines, read only while there are NetworkPolicies (the system's). */
  everyPod?: Informers;
  /** The L7 proxy, which reads what no node may: only the API server's machine has one (none). */
  l7?: Pick<EdgeOptions, "gatewayApi">;
  /** Addresses of load balancers outside of the ranges, which this machine takes and announces (none). */
  balancerPool?: string;
  /** What the proxy counts (nothing). */
  metrics?: ProxyMetrics;
  /** Told where DNS answers. */
  dnsReady(place: DnsPlace): void;
}

/** Starts the proxy, DNS and what else the machine is to have, as actors. They stop with the system. */
export async function startNetwork(system: System, machine: MachineNetwork): Promise<void> {
  const { ranges, network, nodes, l7, dnsReady } = machine;
  await startProxy(system, machine);
  const { balancerPool: pool } = machine;
  if (pool && Deno.build.os === "linux" && Deno.uid() === 0) {
    const ip = (...args: string[]) => output("ip", args);
    system.spawn("addresses/plesio", balancerAddresses({ pool, ip, announce }));
  }
  const own = inRangesOf(ranges);
  if (l7) {
    const locate: EdgeOptions["locate"] = ({ ip, port }) =>
      own(ip) ? network.endpoint(ip, port) : undefined;
    const options = { ...l7, place: placeOf(nodes), locate };
    system.spawn("l7/plesio", edge(options), { component: "plesio-l7" });
  }
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
  const { ranges, network, nodes } = machine;
  const proxyMode = await modeOf(machine);
  const addressesOf = new Map(nodes.map((node, i) => [node, network.nodeAddresses(i)]));
  const nodeAddresses = [...addressesOf.values()].flat();
  const inRanges = inRangesOf(ranges);
  const inPool = machine.balancerPool ? within(machine.balancerPool) : () => false;
  const place = placeOf(nodes);
  const ownAddresses = (node: string) => addressesOf.get(node) ?? [];
  const userspace = (
    addresses: readonly string[],
    local: (address: string) => boolean,
    metrics?: ProxyMetrics,
  ) =>
    proxy({
      metrics,
      nodePortAddresses: () => addresses,
      hostPortAddresses: (node) =>
        addressesOf.has(node) ? ["127.0.0.1", ...ownAddresses(node).filter(local)] : [],
      local,
      place,
      locate: ({ ip, port }) => inRanges(ip) ? network.endpoint(ip, port) : undefined,
    });
  const spawn = { workers: 16, component: "kube-proxy" };
  if (proxyMode === "nftables") {
    const { metrics = new ProxyMetrics(ranges) } = machine;
    await startRules(system, { ...machine, metrics }, { nodeAddresses, ownAddresses });
    const status = { mode: proxyMode, node: nodes[0], metrics };
    system.spawn("proxy/status", proxyStatus(status), { component: "kube-proxy" });
    // The kernel routes nothing from 127.0.0.1 to other hosts: sockets answer there.
    system.spawn("proxy/localhost", userspace(["127.0.0.1"], () => false), spawn);
  } else {
    // What a killed proxy of the other mode left here would still lead packets past the sockets.
    if (Deno.build.os === "linux" && Deno.uid() === 0) {
      const tables = familiesOf(ranges).flatMap((family) =>
        ["proxy", "policy"].map((of) => removal(tableOf({ family, name: tableName(of, ranges) })))
      );
      await netfilter().apply(tables.join("")).catch(() => undefined);
    }
    system.spawn("policy/notice", policyNotice(nodes, NO_RULES));
    const local = (address: string) => inRanges(address) || inPool(address);
    system.spawn(
      "proxy/plesio",
      userspace(["127.0.0.1", ...nodeAddresses], local, machine.metrics),
      spawn,
    );
  }
  const places = nodes.map((node) => ({ node, address: ownAddresses(node)[0] }));
  system.spawn("proxy/health", healthCheck(places), { component: "kube-proxy" });
}

/** How services are proxied. Rejects where rules are told that cannot be written. */
async function modeOf({ proxyMode, preferRules = false }: MachineNetwork): Promise<ProxyMode> {
  if (proxyMode === "userspace" || (!proxyMode && !preferRules)) return "userspace";
  if (await mayFilter()) return "nftables";
  if (!proxyMode) return "userspace";
  throw new Error("Cannot proxy with nftables: it needs Linux, root and the program nft");
}

/** The addresses of this machine's nodes: all, and those of one of them (of others none). */
interface NodeAddresses {
  nodeAddresses: readonly string[];
  ownAddresses(node: string): readonly string[];
}

/** Services and NetworkPolicies as rules of the kernel. */
async function startRules(
  system: System,
  { ranges, nodes, everyPod, metrics }: MachineNetwork,
  { nodeAddresses, ownAddresses }: NodeAddresses,
): Promise<void> {
  const bridged = await letForward();
  if (ranges.second) await letForwardSix();
  await keepFlows();
  const place = placeOf(nodes);
  for (const family of familiesOf(ranges)) {
    const [table, policies] = ["proxy", "policy"].map((of) => ({
      family,
      name: tableName(of, ranges),
      podRanges: [family === 4 ? ranges.podRange : ranges.second!.podRange],
    }));
    const which = family === 4 ? "plesio" : "plesio-ipv6";
    system.spawn(
      `proxy/${which}`,
      nftablesProxy({
        table: { ...table, nodePortAddresses: nodeAddresses, bridged },
        place: (context) => ({
          ...place(context),
          family,
          nodeAddresses: nodeAddresses.filter((address) => familyOf(address) === family),
          answered: new Set([ranges.dnsIP]),
        }),
        hostPortAddresses: ownAddresses,
        netfilter: netfilter(),
        metrics,
      }),
      { component: "kube-proxy" },
    );
    system.spawn(
      `policy/${which}`,
      policyGuard({
        table: policies,
        nodes: new Set(nodes),
        netfilter: netfilter(),
        informers: everyPod,
        groupOf: podGroup,
      }),
    );
  }
  system.spawn("flows/plesio", gonePods({ netfilter: netfilter() }));
  if (unified() === undefined) system.spawn("policy/notice", policyNotice(nodes, NO_GROUPS));
}

/** What a node says where NetworkPolicies are not kept, or not all of them. */
const NO_RULES =
  "NetworkPolicies are not enforced on this node: services are proxied by sockets, " +
  "and only rules of the kernel see pods' packets (Linux, root, --proxy-mode nftables)";
const NO_GROUPS = "NetworkPolicies are not enforced for what isolates on this node send: " +
  "that needs cgroups of version 2";

function familiesOf({ second }: Ranges): readonly Family[] {
  return second ? [4, 6] : [4];
}

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
    const node = informers.for(NODES).get(first);
    return { nodes: names, zone: node?.metadata.labels?.[ZONE] };
  };
}

/** The last /24 of a range: where load balancers' addresses come from. */
export function lastBlock(range: string): string {
  if (parseIpRange(range)?.family !== 4) {
    throw new TypeError(`Cannot take the last /24 of "${range}": not an IPv4 range`);
  }
  return lastPart(range);
}

/** Whether an address is of the cluster. */
function inRangesOf({ podRange, serviceRange, second }: Ranges): (address: string) => boolean {
  const six = second ? [second.podRange, second.serviceRange] : [];
  const own = [podRange, serviceRange, ...six].map(within);
  return (address) => own.some((contains) => contains(address));
}

/** Whether an address is of a range. */
function within(range: string): (address: string) => boolean {
  const own = parseIpRange(range)!;
  return (address) => isWithin(own, address);
}

/** Ranges of a cluster whose addresses are only names. */
const NAMED_RANGES = { podRange: "10.244.0.0/16", serviceRange: "10.96.0.0/12" };

/** Where a cluster keeps what it was given once. */
interface Settings {
  get(name: string): Promise<Uint8Array | undefined>;
  set(name: string, value: Uint8Array): Promise<void>;
}

const POD_RANGE_SETTING = "network/pod-range";

/** The pod range of a simulated cluster: wider than 10.244.0.0/16, which 256 nodes divide among them, when it must be. */
function virtualPodRange(nodes: number): string {
  return nodes > 256 ? "10.128.0.0/10" : NAMED_RANGES.podRange;
}

/** The ranges that a cluster was told, as its flags name them. */
interface ToldRanges {
  nodes?: number;
  serviceRange?: string;
  clusterCidr?: string;
}

/** A cluster's ranges: this machine's, else what it was told. Of two families those of IPv6 come after a comma. */
export function clusterRanges(
  ranges: Ranges | undefined,
  { nodes = 0, serviceRange, clusterCidr }: ToldRanges,
): { podRange: string; serviceRange: string } {
  if (!ranges) {
    return {
      podRange: clusterCidr ?? virtualPodRange(nodes),
      serviceRange: serviceRange ?? NAMED_RANGES.serviceRange,
    };
  }
  const both = (which: "podRange" | "serviceRange") =>
    [ranges, ranges.second].flatMap((one) => one?.[which] ?? []).join(",");
  return { podRange: both("podRange"), serviceRange: both("serviceRange") };
}

/** The IPv6 ranges of a cluster: of its pods, and of its Services. */
function secondRanges({ serviceRange, clusterCidr }: ToldRanges): SecondRanges | undefined {
  const [pods, services] = [clusterCidr, serviceRange].map((text) => text?.split(",")[1]);
  if (!pods && !services) return undefined;
  if (pods && services) return { podRange: pods, serviceRange: services };
  const text =
    "Cannot give addresses of two families: --cluster-cidr and --service-cluster-ip-range";
  throw new TypeError(`${text} must both have an IPv6 range`);
}

/** The ranges this cluster has had since it was made, if no other cluster of this machine has them now. */
export async function keptRanges(settings: Settings, told: ToldRanges = {}): Promise<Ranges> {
  const second = secondRanges(told);
  const kept = await settings.get(POD_RANGE_SETTING);
  const ranges = await claimRanges(kept && new TextDecoder().decode(kept));
  await settings.set(POD_RANGE_SETTING, new TextEncoder().encode(ranges.podRange));
  return second ? await claimSecond(ranges, second) : ranges;
}

/** Where pods reach the API server: an address of the pod range that no node gives out. */
export function advertised(ranges: Ranges | undefined): { ip: string; port: number } {
  return { ip: addressAt(lastPart((ranges ?? NAMED_RANGES).podRange), 254), port: 6443 };
}
