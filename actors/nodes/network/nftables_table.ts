/**
 * The proxy's table in nftables: its maps and chains as text for `nft -f`, and the changes from one state to the next
 * as one transaction. Pure.
 */
import { parseIpRange } from "./ip_range.ts";
import type { Family } from "./traffic.ts";

/** The bit of a packet's mark that asks for masquerading: kube-proxy's. */
export const MASQUERADE_MARK = "0x4000";
/** Elements of maps and sets, by `map key`, such as `cluster-ips 10.96.0.1`; a set's have no value. */
export type Elements = Map<string, string>;

/** Elements in one statement. */
const ELEMENTS_A_LINE = 500;
/** Clients that are remembered for affinity at once. */
export const AFFINITY_MAX = 262_144;
/** Endpoints of one service port, for each policy; those of policy Local are counted from here. */
export const ENDPOINTS_MAX = 32_768;

const PROTOCOLS = ["tcp", "udp", "sctp"];

/** What a table is made for. */
export interface TableOptions {
  family: Family;
  name: string;
  /** Pods' ranges: who is not of them is masqueraded on the way to a cluster IP. */
  podRanges: readonly string[];
  /** Where node ports answer. */
  nodePortAddresses: readonly string[];
  /** Whether packets between ports of a bridge pass these rules; where not, pods that share one are masqueraded. */
  bridged: boolean;
}

/** `ip plesio-proxy`. */
export function tableOf({ family, name }: Pick<TableOptions, "family" | "name">): string {
  return `${family === 4 ? "ip" : "ip6"} ${name}`;
}

/** Removes a table whether or not it is there. */
export function removal(table: string): string {
  return `add table ${table}\ndelete table ${table}\n`;
}

/** The table without services. It takes the place of an earlier one within one transaction. */
export function skeleton(options: TableOptions): string {
  const { family, podRanges, nodePortAddresses, bridged } = options;
  const ip = family === 4 ? "ip" : "ip6";
  const table = tableOf(options);
  const ranges = podRanges.filter((range) => parseIpRange(range)?.family === family).join(", ");
  const nodes = nodePortAddresses.filter((address) => parseIpRange(address)?.family === family);
  return `${removal(table)}table ${table} {
${maps(family, nodes)}
${FILTERS.replaceAll("IP", ip)}
${rules(ip, ranges, bridged)}
}
`;
}

function maps(family: Family, nodes: readonly string[]): string {
  const [ip, addr] = family === 4 ? ["ip", "ipv4_addr"] : ["ip6", "ipv6_addr"];
  const service = `${addr} . inet_proto . inet_service`;
  const elements = nodes.length > 0 ? ` elements = { ${nodes.join(", ")} };` : "";
  return `
  set cluster-ips { type ${addr}; comment "Active ClusterIPs"; }
  set nodeport-ips { type ${addr}; flags interval; comment "IPs that accept NodePort traffic";${elements} }
  map service-ips { type ${service} : verdict; comment "ClusterIP, ExternalIP and LoadBalancer IP traffic"; }
  map service-nodeports { type inet_proto . inet_service : verdict; comment "NodePort traffic"; }
${PROTOCOLS.map((protocol) => endpointMaps(ip, protocol)).join("\n")}
  map no-endpoint-services { type ${service} : verdict; comment "vmap to drop or reject packets to services with no endpoints"; }
  map no-endpoint-nodeports { type inet_proto . inet_service : verdict; comment "vmap to drop or reject packets to service nodeports with no endpoints"; }
  set firewall-ips { type ${service}; comment "destinations that are subject to LoadBalancerSourceRanges"; }
  set source-ranges { type ${service} . ${addr}; flags interval; }
  set hairpin-connections { type ${addr} . ${addr} . inet_proto . inet_service; comment "service hairpin connections"; }
  map affinity { type ${addr} . ${service} : ${addr} . inet_service; flags dynamic,timeout; size ${AFFINITY_MAX}; }
  map affinity-services { type ${service} : verdict; }
  map affinity-nodeports { type inet_proto . inet_service : verdict; }`;
}

/**
 * A map for each protocol, because nft takes the port in a map's value for the port of its own protocol: the type has to
 * be one that it reads back from the kernel (`th dport` is none in 1.0.6), and numbers have no type but of an expression.
 */
function endpointMaps(ip: string, protocol: string): string {
  const index = "numgen random mod 65536";
  const to = `${ip} daddr . ${protocol} dport`;
  return `  map service-endpoints-${protocol} { typeof ${to} . ${index} : ${to}; }
  map nodeport-endpoints-${protocol} { typeof ${protocol} dport . ${index} : ${to}; }`;
}

const FILTERS = `
  chain reject-chain { reject; }
  chain firewall-check {
    IP daddr . meta l4proto . th dport @firewall-ips IP daddr . meta l4proto . th dport . IP saddr != @source-ranges drop
  }
  chain endpoints-check {
    IP daddr . meta l4proto . th dport vmap @no-endpoint-services
    IP daddr @nodeport-ips meta l4proto . th dport vmap @no-endpoint-nodeports
  }
  chain remember {
    meta l4proto tcp ct original IP daddr . meta l4proto . ct original proto-dst vmap @affinity-services
    meta l4proto udp ct original IP daddr . meta l4proto . ct original proto-dst vmap @affinity-services
    meta l4proto tcp ct original IP daddr @nodeport-ips meta l4proto . ct original proto-dst vmap @affinity-nodeports
    meta l4proto udp ct original IP daddr @nodeport-ips meta l4proto . ct original proto-dst vmap @affinity-nodeports
  }
  chain filter-prerouting-pre-dnat {
    type filter hook prerouting priority dstnat - 10;
    ct state new jump firewall-check
  }
  chain filter-output-pre-dnat {
    type filter hook output priority -110;
    ct state new jump firewall-check
  }
  chain filter-input {
    type filter hook input priority filter;
    ct state new jump endpoints-check
    ct state new ct status dnat jump remember
  }
  chain filter-forward {
    type filter hook forward priority filter;
    ct state new jump endpoints-check
    ct state new ct status dnat jump remember
  }
  chain filter-output {
    type filter hook output priority filter;
    ct state new jump endpoints-check
    ct state new ct status dnat jump remember
  }`;

function rules(ip: string, ranges: string, bridged: boolean): string {
  const outside = ranges ? `${ip} saddr != { ${ranges} } ` : "";
  const neighbours = bridged || !ranges
    ? ""
    : `\n    ct status dnat oifname != "lo" ${ip} saddr { ${ranges} } ${ip} daddr { ${ranges} } masquerade fully-random`;
  return `
  chain services {
    ${ip} daddr @cluster-ips ${outside}meta mark set meta mark or ${MASQUERADE_MARK}
    ${ip} daddr . meta l4proto . th dport vmap @service-ips
    ${ip} daddr @nodeport-ips meta l4proto . th dport vmap @service-nodeports
  }
  chain nat-prerouting {
    type nat hook prerouting priority dstnat;
    jump services
  }
  chain nat-output {
    type nat hook output priority -100;
    jump services
  }
  chain nat-postrouting {
    type nat hook postrouting priority srcnat;
    meta mark and ${MASQUERADE_MARK} != 0 oifname != "lo" meta mark set meta mark xor ${MASQUERADE_MARK} masquerade fully-random
    ct status dnat oifname != "lo" ${ip} saddr . ${ip} daddr . meta l4proto . th dport @hairpin-connections masquerade fully-random${neighbours}
  }`;
}

/** What a shared chain does, by its name; see `nftables.ts`. */
export function chainRules(name: string, options: TableOptions): string[] {
  const ip = options.family === 4 ? "ip" : "ip6";
  const [first, ...rest] = name.split("/");
  if (first === "masquerade") {
    return [`meta mark set meta mark or ${MASQUERADE_MARK}`, `goto ${rest.join("/")}`];
  }
  if (first === "external") return externalRules(rest, ip, options);
  if (first === "remember") {
    const client = `ct original ${ip} saddr . ct original ${ip} daddr`;
    return ["tcp", "udp"].map((protocol) =>
      `meta l4proto ${protocol} update @affinity { ${client} . meta l4proto . ct original proto-dst ` +
      `timeout ${rest[0]}s : ${ip} daddr . th dport }`
    );
  }
  const translate = `dnat ${ip} addr . port to`;
  const sticky = first.endsWith("-sticky");
  if (sticky && options.family === 4) {
    const known = `${ip} saddr . ${ip} daddr . meta l4proto . th dport map @affinity`;
    return [`${translate} ${known}`, `goto ${first.slice(0, -"-sticky".length)}/${rest[0]}`];
  }
  const [prefix, policy] = first.split("-");
  const by = sticky ? `jhash ${ip} saddr` : "numgen random";
  const offset = policy === "local" ? ` offset ${ENDPOINTS_MAX}` : "";
  // A seed of its own would lead clients elsewhere after a restart
  const chance = `${by} mod ${rest[0]}${sticky ? " seed 0x1" : ""}${offset}`;
  return PROTOCOLS.map((protocol) => {
    const to = prefix === "service" ? `${ip} daddr . ${protocol} dport` : `${protocol} dport`;
    return `meta l4proto ${protocol} ${translate} ${to} . ${chance} map @${prefix}-endpoints-${protocol}`;
  });
}

/** Traffic from outside under policy Local: what comes from this cluster may go anywhere, all else stays here. */
function externalRules([kind, all, local]: string[], ip: string, options: TableOptions): string[] {
  const sticky = kind.endsWith("-sticky") ? "-sticky" : "";
  const prefix = kind.split("-")[0];
  const anywhere = `${prefix}-cluster${sticky}/${all}`;
  const ranges = options.podRanges.filter((range) =>
    parseIpRange(range)?.family === options.family
  );
  return [
    ...(ranges.length > 0 ? [`${ip} saddr { ${ranges.join(", ")} } goto ${anywhere}`] : []),
    `fib saddr type local meta mark set meta mark or ${MASQUERADE_MARK}`,
    `fib saddr type local goto ${anywhere}`,
    ...(local === "0" ? [] : [`goto ${prefix}-local${sticky}/${local}`]),
  ];
}

/** The chains that a chain goes to. */
function targetsOf(rules: readonly string[]): string[] {
  return rules.flatMap((rule) => / ?goto (\S+)$/.exec(rule)?.[1] ?? []);
}

interface Change {
  id: string;
  before?: string;
  after?: string;
}

/**
 * What a table holds, by owner. Owners may claim the same element: the first has it, and the next when it lets go.
 * `script` gives what changed since it was last asked as one transaction, which must then be carried out: after one
 * that failed the table begins anew (`reset`).
 */
export class Table {
  readonly #options: TableOptions;
  readonly #claims = new Map<string, Map<string, string>>();
  readonly #owned = new Map<string, Elements>();
  readonly #before = new Map<string, string | undefined>();
  readonly #chains = new Set<string>();
  #made = false;

  constructor(options: TableOptions) {
    this.#options = options;
  }

  /** The table is not there, or in an unknown state: the next script makes all of it. */
  reset(): void {
    this.#made = false;
    this.#chains.clear();
    this.#before.clear();
    for (const id of this.#claims.keys()) this.#before.set(id, undefined);
  }

  /** What an owner wants there, all of it. */
  set(owner: string, elements: Elements): void {
    const old = this.#owned.get(owner) ?? new Map<string, string>();
    for (const id of old.keys()) if (!elements.has(id)) this.#release(id, owner);
    for (const [id, value] of elements) {
      if (old.get(id) !== value) this.#claim(id, owner, value);
    }
    if (elements.size > 0) this.#owned.set(owner, elements);
    else this.#owned.delete(owner);
  }

  /** What is there, as long as every script was carried out. */
  get(id: string): string | undefined {
    return this.#claims.get(id)?.values().next().value;
  }

  /** The transaction that makes the table what its owners want; empty when it is. */
  script(): string {
    const changes: Change[] = [];
    for (const [id, before] of this.#before) {
      const after = this.get(id);
      if (before !== after) changes.push({ id, before, after });
    }
    this.#before.clear();
    const lines = this.#made ? [] : [skeleton(this.#options)];
    this.#made = true;
    const chains = changes.flatMap(({ after }) =>
      after?.startsWith("goto ") ? [after.slice(5)] : []
    );
    lines.push(...this.#newChains(chains));
    const table = tableOf(this.#options);
    const gone = changes.filter(({ before }) => before !== undefined);
    const come = changes.filter(({ after }) => after !== undefined);
    lines.push(...statements("delete", table, gone.map(({ id }) => [id, ""])));
    lines.push(...statements("add", table, come.map(({ id, after }) => [id, after!])));
    return lines.join("\n");
  }

  #claim(id: string, owner: string, value: string): void {
    this.#remember(id);
    const claims = this.#claims.get(id) ?? new Map<string, string>();
    this.#claims.set(id, claims.set(owner, value));
  }

  #release(id: string, owner: string): void {
    this.#remember(id);
    const claims = this.#claims.get(id)!;
    claims.delete(owner);
    if (claims.size === 0) this.#claims.delete(id);
  }

  #remember(id: string): void {
    if (!this.#before.has(id)) this.#before.set(id, this.get(id));
  }

  /** Chains before the rules that go to them. */
  #newChains(names: readonly string[]): string[] {
    const table = tableOf(this.#options);
    const made: string[] = [];
    const filled: string[] = [];
    const make = (name: string) => {
      if (name === "reject-chain" || this.#chains.has(name)) return;
      this.#chains.add(name);
      const rules = chainRules(name, this.#options);
      made.push(`add chain ${table} ${name}`);
      filled.push(...rules.map((rule) => `add rule ${table} ${name} ${rule}`));
      targetsOf(rules).forEach(make);
    };
    names.forEach(make);
    return [...made, ...filled];
  }
}

/** `add element ip t map { k : v, … }`, as few as can be. */
export function statements(
  verb: "add" | "delete",
  table: string,
  elements: readonly (readonly [id: string, value: string])[],
): string[] {
  const byMap = new Map<string, string[]>();
  for (const [id, value] of elements) {
    const space = id.indexOf(" ");
    const map = id.slice(0, space);
    const list = byMap.get(map) ?? [];
    if (list.length === 0) byMap.set(map, list);
    list.push(value ? `${id.slice(space + 1)} : ${value}` : id.slice(space + 1));
  }
  const lines: string[] = [];
  for (const [map, list] of byMap) {
    for (let i = 0; i < list.length; i += ELEMENTS_A_LINE) {
      const some = list.slice(i, i + ELEMENTS_A_LINE).join(", ");
      lines.push(`${verb} element ${table} ${map} { ${some} }`);
    }
  }
  return lines;
}
