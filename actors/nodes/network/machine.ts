/**
 * What every machine of a cluster runs beside its nodes: the service proxy and DNS, over the machine's ranges.
 */
import type { System } from "../../runtime/mod.ts";
import { dns, type DnsPlace } from "./dns.ts";
import { claimRanges, type Network, type Ranges } from "./network.ts";
import { formatIPv4, parseIPv4, parseRange } from "./pool.ts";
import { proxy } from "./proxy.ts";

/** What the machine's network actors work with. */
export interface MachineNetwork {
  ranges: Ranges;
  network: Network;
  /** How many nodes this machine has: node ports answer on their addresses too. */
  nodes: number;
  /** Told where DNS answers. */
  dnsReady(place: DnsPlace): void;
}

/** Starts `proxy/plesio` and `dns/plesio`. They stop with the system. */
export function startNetwork(system: System, machine: MachineNetwork): void {
  const { ranges, network, nodes, dnsReady } = machine;
  const nodePortAddresses = [
    "127.0.0.1",
    ...Array.from({ length: nodes }, (_, i) => network.nodeAddress(i)),
  ];
  const own = [ranges.podRange, ranges.serviceRange].map(within);
  const local = (address: string) => own.some((contains) => contains(address));
  system.spawn(
    "proxy/plesio",
    proxy({
      nodePortAddresses: () => nodePortAddresses,
      local,
      locate: ({ ip, port }) => local(ip) ? network.endpoint(ip, port) : undefined,
    }),
    { workers: 16, component: "kube-proxy" },
  );
  system.spawn(
    "dns/plesio",
    dns({ address: ranges.dnsIP, zone: "cluster.local", upstreams: [], ready: dnsReady }),
    { component: "coredns" },
  );
}

/** The last /24 of a range: where load balancers' addresses come from. */
export function lastBlock(range: string): string {
  const parsed = parseRange(range);
  if (!parsed) throw new TypeError(`Cannot take the last /24 of "${range}": not an IPv4 range`);
  return `${formatIPv4(parsed.first + parsed.size - 256)}/24`;
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
