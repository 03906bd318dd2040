/**
 * What services become in nftables. Pure: a service, its slices and a place in; elements of maps out.
 *
 * kube-proxy writes a chain per service port. Here a service is nothing but elements of a few maps, because the time
 * `nft` takes for a change grows with the number of chains (10,000 services with three endpoints each, one more added:
 * 240 ms by chains, 30 ms by elements; all of them loaded: 30 s and 2.6 s). The chains that are left are named by what
 * they do, such as `service-cluster/3`: choose one of the first three endpoints of where the packet goes to. They are
 * shared by all services, made when first needed, and stay.
 *
 * The other names are kube-proxy's: `service-ips`, `service-nodeports`, `nodeport-ips`, `cluster-ips`, `firewall-ips`,
 * `no-endpoint-services`, `no-endpoint-nodeports`, `hairpin-connections`. ClientIP affinity is one map with timeouts:
 * client and service to endpoint, written by the first packet of a connection once its endpoint is chosen. Of IPv6 those
 * are more than nft 1.0.6 has registers for: there a hash of the client chooses, which holds as long as as many endpoints
 * are there, and knows no timeout.
 */
import type { DeepReadonly, KubeObject } from "../../../api/machinery/types.ts";
import { addressesOf } from "./endpoints.ts";
import { hostPortsOf } from "./host_ports.ts";
import {
  affinitySeconds,
  type Candidate,
  candidatesOf,
  type Family,
  type Place,
  policiesOf,
  type Reachable,
  reachable,
  type ServicePort,
} from "./traffic.ts";
import { formatRange, includes, merged, parseIpRange } from "./ip_range.ts";
import { type Elements, ENDPOINTS_MAX } from "./nftables_table.ts";

type Obj = DeepReadonly<KubeObject>;

/** Where a proxy that writes rules stands. */
export interface TablePlace extends Place {
  family: Family;
  /** The addresses of this machine's nodes: who may reach a LoadBalancer's address from here. */
  nodeAddresses: readonly string[];
  /** Addresses of services at which this machine answers itself while they have no endpoints: DNS. */
  answered?: ReadonlySet<string>;
}

/** A service in rules, and what else must be known of it when it changes. */
export interface ServiceRules {
  elements: Elements;
  /** UDP: where clients send to, as `address port` or ` port` of a node port, and who serves there. */
  flows: Map<string, ReadonlySet<string>>;
}

/** All rules of a service; see the module's text. */
export function serviceRules(
  service: Obj,
  slices: Iterable<Obj>,
  place: TablePlace,
): ServiceRules {
  const rules: ServiceRules = { elements: new Map(), flows: new Map() };
  const addresses = addressesOf(service, place.family);
  if (addresses.cluster.length === 0) return rules;
  const all = [...slices];
  for (const port of (service.spec.ports ?? []) as readonly ServicePort[]) {
    const candidates = candidatesOf(all, port, place.family, place.nodes);
    const found = reachable(candidates, place);
    const writer = new PortWriter(service, port, bounded(found), rules.elements, place.family);
    for (const address of addresses.cluster) {
      if (found.any || !place.answered?.has(address)) writer.cluster(address);
    }
    for (const address of [...addresses.external, ...addresses.balancer]) writer.external(address);
    if (port.nodePort) writer.nodePort(port.nodePort);
    restrict(service, port, addresses.balancer, place, rules.elements);
    writer.hairpin();
    if (port.protocol === "UDP") noteFlows(port, addresses, candidates, rules.flows);
  }
  return rules;
}

/** What leads to the host ports of a pod: as if it were a service, at the addresses of its node. */
export function hostPortRules(
  pod: Obj,
  family: Family,
  addresses: (node: string) => readonly string[],
): Elements {
  const elements: Elements = new Map();
  for (const { protocol, address, port, to } of hostPortsOf(pod, family, addresses)) {
    if (address.startsWith("127.") || address === "::1") continue;
    const name = protocol.toLowerCase();
    elements.set(`service-ips ${address} . ${name} . ${port}`, "goto masquerade/service-cluster/1");
    elements.set(`service-endpoints-${name} ${address} . ${port} . 0`, `${to.ip} . ${to.port}`);
    elements.set(`hairpin-connections ${to.ip} . ${to.ip} . ${name} . ${to.port}`, "");
  }
  return elements;
}

function bounded({ cluster, local, any }: Reachable): Reachable {
  return { cluster: cluster.slice(0, ENDPOINTS_MAX), local: local.slice(0, ENDPOINTS_MAX), any };
}

/** Writes what leads to one service port. */
class PortWriter {
  readonly #protocol: string;
  readonly #port: number;
  readonly #found: Reachable;
  readonly #elements: Elements;
  readonly #affinity: number | undefined;
  /** Whether clients' endpoints are kept in a map. */
  readonly #remembers: boolean;
  readonly #internalLocal: boolean;
  readonly #externalLocal: boolean;

  constructor(
    service: Obj,
    port: ServicePort,
    found: Reachable,
    elements: Elements,
    family: Family,
  ) {
    this.#protocol = (port.protocol ?? "TCP").toLowerCase();
    this.#port = port.port;
    this.#found = found;
    this.#elements = elements;
    this.#affinity = affinitySeconds(service);
    this.#remembers = this.#affinity !== undefined && family === 4;
    const { internalLocal, externalLocal } = policiesOf(service);
    this.#internalLocal = internalLocal;
    this.#externalLocal = externalLocal;
  }

  cluster(address: string): void {
    const key = this.#keyOf(address);
    this.#elements.set(`cluster-ips ${address}`, "");
    const chosen = this.#internalLocal ? this.#found.local : this.#found.cluster;
    if (chosen.length === 0) {
      const verdict = this.#found.any ? "drop" : "goto reject-chain";
      this.#elements.set(`no-endpoint-services ${key}`, verdict);
      return;
    }
    const kind = this.#internalLocal ? "local" : "cluster";
    this.#elements.set(`service-ips ${key}`, `goto service-${kind}${this.#sticky(chosen.length)}`);
    const to = `${address} . ${this.#port}`;
    this.#endpoints("service", to, chosen, this.#internalLocal);
    this.#remember("affinity-services", key);
  }

  external(address: string): void {
    this.#fromOutside("service", this.#keyOf(address), `${address} . ${this.#port}`, {
      dispatch: "service-ips",
      none: "no-endpoint-services",
      affinity: "affinity-services",
    });
  }

  nodePort(port: number): void {
    this.#fromOutside("nodeport", `${this.#protocol} . ${port}`, String(port), {
      dispatch: "service-nodeports",
      none: "no-endpoint-nodeports",
      affinity: "affinity-nodeports",
    });
  }

  /** Endpoints of this machine that a pod may reach through a service although they are the pod itself. */
  hairpin(): void {
    const { cluster, local: here } = this.#found;
    const used = this.#internalLocal || this.#externalLocal ? [...cluster, ...here] : cluster;
    for (const { ip, port, local } of used) {
      if (!local) continue;
      this.#elements.set(`hairpin-connections ${ip} . ${ip} . ${this.#protocol} . ${port}`, "");
    }
  }

  #fromOutside(
    prefix: "service" | "nodeport",
    key: string,
    to: string,
    maps: { dispatch: string; none: string; affinity: string },
  ): void {
    const { cluster, local, any } = this.#found;
    if (any) {
      const chain = this.#externalLocal
        ? `external/${prefix}${this.#sticky(cluster.length)}/${local.length}`
        : `masquerade/${prefix}-cluster${this.#sticky(cluster.length)}`;
      this.#elements.set(`${maps.dispatch} ${key}`, `goto ${chain}`);
      this.#endpoints(prefix, to, cluster, false);
      if (this.#externalLocal) this.#endpoints(prefix, to, local, true);
      this.#remember(maps.affinity, key);
    }
    if (any && !(this.#externalLocal && local.length === 0)) return;
    this.#elements.set(`${maps.none} ${key}`, any ? "drop" : "goto reject-chain");
  }

  #keyOf(address: string): string {
    return `${address} . ${this.#protocol} . ${this.#port}`;
  }

  #sticky(count: number): string {
    return `${this.#affinity === undefined ? "" : "-sticky"}/${count}`;
  }

  /** Those of policy Local lie above the others, in the same map. */
  #endpoints(prefix: string, to: string, endpoints: readonly Candidate[], local: boolean): void {
    endpoints.forEach(({ ip, port }, i) => {
      const index = local ? ENDPOINTS_MAX + i : i;
      const map = `${prefix}-endpoints-${this.#protocol}`;
      this.#elements.set(`${map} ${to} . ${index}`, `${ip} . ${port}`);
    });
  }

  #remember(map: string, key: string): void {
    if (!this.#remembers) return;
    this.#elements.set(`${map} ${key}`, `goto remember/${this.#affinity}`);
  }
}

const SOURCE_RANGES = "service.beta.kubernetes.io/load-balancer-source-ranges";

/** Who may reach a LoadBalancer's addresses, where the service says so. */
function restrict(
  service: Obj,
  port: ServicePort,
  balancer: readonly string[],
  place: TablePlace,
  elements: Elements,
): void {
  const said: readonly string[] = service.spec.loadBalancerSourceRanges ??
    service.metadata.annotations?.[SOURCE_RANGES]?.split(",") ?? [];
  const ranges = said.flatMap((range) => parseIpRange(range.trim()) ?? [])
    .filter(({ family }) => family === place.family);
  const all = ranges.some(({ first, last }) =>
    last - first + 1n === (place.family === 4 ? 1n << 32n : 1n << 128n)
  );
  if (ranges.length === 0 || all) return;
  const holds = (address: string) => {
    const one = parseIpRange(address);
    return one !== undefined && ranges.some((range) => includes(range, one));
  };
  const protocol = (port.protocol ?? "TCP").toLowerCase();
  for (const address of balancer) {
    const key = `${address} . ${protocol} . ${port.port}`;
    // This machine's own connections to the address come from the address itself: it is local here.
    const own = place.nodeAddresses.some(holds) ? [parseIpRange(address)!] : [];
    elements.set(`firewall-ips ${key}`, "");
    for (const range of merged([...ranges, ...own])) {
      elements.set(`source-ranges ${key} . ${formatRange(range)}`, "");
    }
  }
}

function noteFlows(
  port: ServicePort,
  { cluster, balancer, external }: { cluster: string[]; balancer: string[]; external: string[] },
  candidates: readonly Candidate[],
  flows: ServiceRules["flows"],
): void {
  const serving = new Set(candidates.filter((c) => c.serving).map((c) => `${c.ip} ${c.port}`));
  for (const address of [...cluster, ...balancer, ...external]) {
    flows.set(`${address} ${port.port}`, serving);
  }
  if (port.nodePort) flows.set(` ${port.nodePort}`, serving);
}
