/**
 * What every machine of a cluster runs beside its nodes: the service proxy and DNS, over the machine's ranges.
 */
import type { System } from "../../runtime/mod.ts";
import { dns, type DnsPlace } from "./dns.ts";
import type { Network, Ranges } from "./network.ts";
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
