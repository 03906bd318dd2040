/**
 * What NetworkPolicies become in nftables, for the pods of one machine. Pure: pods, namespaces and policies in; chains,
 * sets and their elements out.
 *
 * A policy that selects a pod of this machine is a chain for each direction it speaks of: a line for each kind of peer
 * and port that it lets pass. A pod that is selected leads to a chain that asks its policies in turn and then drops; pods
 * with the same policies share it. Peers are sets of addresses, so that pods that come and go elsewhere change elements
 * only. What is established passes; so does all that the machine itself sends to its pods, and they to it, and what a
 * pod sends to itself, as the API says.
 *
 * A pod without a network namespace, an isolate, has an address of its own but sends from any: the kernel takes the one
 * that it sends to. Whose packets they are is told by the group of its processes: it becomes a mark of the connection,
 * which says what the pod may send to, and what it sends to other pods gets its own address on the way.
 */
import { createHash } from "node:crypto";
import { labelSelector, type LabelSelectorSpec } from "../../../api/machinery/selectors.ts";
import type { DeepReadonly, KubeObject } from "../../../api/machinery/types.ts";
import { formatRange, merged, parseAddress, parseIpRange, without } from "./ip_range.ts";
import type { Elements } from "./nftables_table.ts";
import { type Family, familyOf } from "./traffic.ts";

type Obj = DeepReadonly<KubeObject>;

/** What policies are judged by. */
export interface PolicyWorld {
  pods: Iterable<Obj>;
  namespaces: Iterable<Obj>;
  policies: Iterable<Obj>;
  /** Of this machine: whose pods are guarded. */
  nodes: ReadonlySet<string>;
  family: Family;
  /** The group of a pod's processes, as nft names it, where they have no network namespace. */
  groupOf?(uid: string): string | undefined;
}

/** A table without its name. When chains or sets change it is made anew; elements change in place. */
export interface PolicyTable {
  chains: Map<string, string[]>;
  /** The types of sets, by name. */
  sets: Map<string, string>;
  elements: Elements;
}

type Direction = "ingress" | "egress";
const DIRECTIONS: readonly Direction[] = ["ingress", "egress"];

interface Pod {
  namespace: string;
  labels: Record<string, string>;
  ips: string[];
  ports: { name?: string; containerPort: number; protocol?: string }[];
  guarded: boolean;
  /** What its connections are marked with: of isolates. */
  mark?: string;
}

interface Peer {
  podSelector?: LabelSelectorSpec;
  namespaceSelector?: LabelSelectorSpec;
  ipBlock?: { cidr: string; except?: string[] };
}

interface Port {
  port?: number | string;
  endPort?: number;
  protocol?: string;
}

/** All rules of a machine; see the module's text. */
export function policyTable(world: PolicyWorld): PolicyTable {
  const table: PolicyTable = { chains: new Map(), sets: new Map(), elements: new Map() };
  const pods = [...podsOf(world, table)];
  const byNamespace = Map.groupBy(pods, (pod) => pod.namespace);
  const namespaces = [...world.namespaces];
  const chosen: Record<Direction, Map<Pod, string[]>> = { ingress: new Map(), egress: new Map() };
  const policies = [...world.policies].sort((a, b) => keyOf(a) < keyOf(b) ? -1 : 1);
  for (const policy of policies) {
    const selector = labelSelector(policy.spec.podSelector ?? {});
    const selected = (byNamespace.get(policy.metadata.namespace!) ?? []).filter((pod) =>
      pod.guarded && selector.matches(pod.labels)
    );
    if (selected.length === 0) continue;
    for (const direction of DIRECTIONS) {
      if (!speaksOf(policy, direction)) continue;
      const writer = new PolicyWriter(policy, direction, {
        table,
        family: world.family,
        byNamespace,
        namespaces,
        selected,
      });
      const name = writer.write();
      for (const pod of selected) {
        const names = chosen[direction].get(pod) ?? [];
        chosen[direction].set(pod, [...names, name]);
      }
    }
  }
  for (const direction of DIRECTIONS) guard(chosen[direction], direction, table);
  return table;
}

/** Marks are unlike those of others, and differ among the pods of a machine: the end of the address makes them. */
export const MARK = "0x50000000";
/** The part of a mark that says that it is ours. */
export const MARK_MASK = "0xff000000";

function markOf(ip: string): string {
  const end = parseAddress(ip)!.value & ~BigInt(MARK_MASK) & 0xffffffffn;
  return `0x${(BigInt(MARK) | end).toString(16)}`;
}

/** Tells by what an isolate's packets are known. */
function introduce(group: string, { mark, ips }: Pod, { elements }: PolicyTable): void {
  elements.set(`senders "${group}"`, mark!);
  elements.set(`sources ${mark}`, ips[0]);
  for (const ip of ips) elements.set(`themselves-sent ${mark} . ${ip}`, "");
}

function keyOf({ metadata: { namespace, name } }: Obj): string {
  return `${namespace}/${name}`;
}

/** Pods with addresses of their own, as long as they may use them. */
function* podsOf(
  { pods, nodes, family, groupOf }: PolicyWorld,
  table: PolicyTable,
): Iterable<Pod> {
  for (const { metadata, spec, status } of pods) {
    if (spec.hostNetwork || status?.phase === "Succeeded" || status?.phase === "Failed") continue;
    const all: string[] = (status?.podIPs ?? []).map(({ ip }: { ip: string }) => ip);
    const ips = all.filter((ip) => familyOf(ip) === family);
    if (ips.length === 0) continue;
    const containers = [...spec.containers ?? [], ...spec.initContainers ?? []];
    const guarded = nodes.has(spec.nodeName ?? "");
    const group = guarded ? groupOf?.(metadata.uid!) : undefined;
    const pod: Pod = {
      namespace: metadata.namespace!,
      labels: (metadata.labels ?? {}) as Record<string, string>,
      ips,
      ports: containers.flatMap((container) => container.ports ?? []),
      guarded,
      mark: group && markOf(ips[0]),
    };
    if (group) introduce(group, pod, table);
    yield pod;
  }
}

function speaksOf({ spec }: Obj, direction: Direction): boolean {
  const types: readonly string[] = spec.policyTypes ??
    (spec.egress ? ["Ingress", "Egress"] : ["Ingress"]);
  return types.some((type) => type.toLowerCase() === direction);
}

/** Leads pods to the chains of their policies. */
function guard(
  chosen: ReadonlyMap<Pod, readonly string[]>,
  direction: Direction,
  { chains, elements }: PolicyTable,
): void {
  for (const [pod, policies] of chosen) {
    const digest = createHash("sha256").update(policies.join("\n")).digest("hex").slice(0, 16);
    const name = `${direction}-pod/${digest}`;
    chains.set(name, [...policies.map((policy) => `jump ${policy}`), "drop"]);
    for (const ip of pod.ips) {
      elements.set(`${direction}-pods ${ip}`, `goto ${name}`);
      elements.set(`themselves ${ip} . ${ip}`, "");
    }
    if (direction === "egress" && pod.mark) {
      elements.set(`senders-egress ${pod.mark}`, `goto ${name}`);
    }
  }
}

interface PolicyParts {
  table: PolicyTable;
  family: Family;
  byNamespace: ReadonlyMap<string, readonly Pod[]>;
  namespaces: readonly Obj[];
  /** The pods of this machine that the policy is about. */
  selected: readonly Pod[];
}

/** Writes one direction of one policy. */
class PolicyWriter {
  readonly #policy: Obj;
  readonly #direction: Direction;
  readonly #parts: PolicyParts;
  readonly #name: string;
  readonly #ip: string;

  constructor(policy: Obj, direction: Direction, parts: PolicyParts) {
    this.#policy = policy;
    this.#direction = direction;
    this.#parts = parts;
    this.#name = `${direction}/${keyOf(policy)}`;
    this.#ip = parts.family === 4 ? "ip" : "ip6";
  }

  /** The name of its chain. */
  write(): string {
    const rules = (this.#policy.spec[this.#direction] ?? []) as readonly Obj[];
    const lines = rules.flatMap((rule, i) => this.#rule(rule, `${this.#name}/${i}`));
    this.#parts.table.chains.set(this.#name, lines);
    return this.#name;
  }

  #rule(rule: Obj, name: string): string[] {
    const side = this.#direction === "ingress" ? "from" : "to";
    const peers = rule[side] as readonly Peer[] | undefined;
    const ports = rule.ports as readonly Port[] | undefined;
    const matches = this.#peers(peers, name);
    const lines: string[] = [];
    for (const match of matches) {
      for (const port of this.#numbers(ports)) {
        lines.push([match, port, "accept"].filter(Boolean).join(" "));
      }
    }
    return [...lines, ...this.#named(peers, ports, matches, name)];
  }

  /** What an address is matched by: one empty match where any will do, none where nobody can be meant. */
  #peers(peers: readonly Peer[] | undefined, name: string): string[] {
    if (!peers?.length) return [""];
    const { table, family } = this.#parts;
    const field = `${this.#ip} ${this.#direction === "ingress" ? "saddr" : "daddr"}`;
    const matches: string[] = [];
    if (peers.some((peer) => !peer.ipBlock)) {
      table.sets.set(name, addressType(family));
      for (const pod of this.#podsOf(peers)) {
        for (const ip of pod.ips) table.elements.set(`${name} ${ip}`, "");
      }
      matches.push(`${field} @${name}`);
    }
    const blocks = merged(peers.flatMap(({ ipBlock }) => {
      const range = ipBlock && parseIpRange(ipBlock.cidr);
      if (range?.family !== family) return [];
      return without(range, (ipBlock?.except ?? []).flatMap((text) => parseIpRange(text) ?? []));
    }));
    if (blocks.length > 0) matches.push(`${field} { ${blocks.map(formatRange).join(", ")} }`);
    return matches;
  }

  /** The pods that peers mean. */
  #podsOf(peers: readonly Peer[]): Set<Pod> {
    const { byNamespace, namespaces } = this.#parts;
    const found = new Set<Pod>();
    for (const { podSelector, namespaceSelector, ipBlock } of peers) {
      if (ipBlock) continue;
      const pods = labelSelector(podSelector ?? {});
      const where = namespaceSelector && labelSelector(namespaceSelector);
      const names = where
        ? namespaces.filter(({ metadata }) => where.matches(metadata.labels ?? {}))
          .map(({ metadata }) => metadata.name)
        : [this.#policy.metadata.namespace!];
      for (const pod of names.flatMap((namespace) => byNamespace.get(namespace) ?? [])) {
        if (pods.matches(pod.labels)) found.add(pod);
      }
    }
    return found;
  }

  /** What ports are matched by that have numbers, or any of a protocol. */
  #numbers(ports: readonly Port[] | undefined): string[] {
    if (!ports?.length) return [""];
    const byProtocol = new Map<string, string[]>();
    for (const { port, endPort, protocol = "TCP" } of ports) {
      if (typeof port === "string") continue;
      const name = protocol.toLowerCase();
      const list = byProtocol.get(name) ?? [];
      byProtocol.set(name, list);
      if (port === undefined) list.push("0-65535");
      else list.push(endPort ? `${port}-${endPort}` : String(port));
    }
    return [...byProtocol].map(([protocol, numbers]) =>
      numbers.includes("0-65535")
        ? `meta l4proto ${protocol}`
        : `${protocol} dport { ${portRanges(numbers).join(", ")} }`
    );
  }

  /** Ports by name: which number one is depends on the pod that is reached. */
  #named(
    peers: readonly Peer[] | undefined,
    ports: readonly Port[] | undefined,
    matches: readonly string[],
    name: string,
  ): string[] {
    const named = (ports ?? []).filter(({ port }) => typeof port === "string");
    const { table, family, selected, byNamespace } = this.#parts;
    const ingress = this.#direction === "ingress";
    const reached = ingress
      ? selected
      : peers?.length
      ? [...this.#podsOf(peers)]
      : [...byNamespace.values()].flat();
    return named.flatMap(({ port, protocol = "TCP" }) => {
      const set = `${name}/${protocol.toLowerCase()}/${port}`;
      table.sets.set(set, `${addressType(family)} . inet_service`);
      for (const pod of reached) {
        const own = pod.ports.filter((p) => p.name === port && (p.protocol ?? "TCP") === protocol);
        for (const ip of pod.ips) {
          for (const { containerPort } of own) {
            table.elements.set(`${set} ${ip} . ${containerPort}`, "");
          }
        }
      }
      const match = `meta l4proto ${protocol.toLowerCase()} ${this.#ip} daddr . th dport @${set}`;
      // Of egress the set says already who is meant; an ipBlock has no names of ports.
      return ingress
        ? matches.map((from) => `${from} ${match} accept`.trim())
        : [`${match} accept`];
    });
  }
}

function addressType(family: Family): string {
  return family === 4 ? "ipv4_addr" : "ipv6_addr";
}

/** Ranges of ports, none within another: nft refuses those. */
function portRanges(texts: readonly string[]): string[] {
  const pairs = texts.map((text) => {
    const [first, last = first] = text.split("-").map(Number);
    return { first, last };
  }).sort((a, b) => a.first - b.first);
  const result: { first: number; last: number }[] = [];
  for (const pair of pairs) {
    const end = result.at(-1);
    if (end && pair.first <= end.last + 1) end.last = Math.max(end.last, pair.last);
    else result.push(pair);
  }
  return result.map(({ first, last }) => first === last ? String(first) : `${first}-${last}`);
}
