/**
 * The network of a machine's pods, as a port of the nodes: an address per pod, taken from its node's
 * podCIDR, and where to dial it. Two of them: `LoopbackNetwork`, whose addresses answer on this
 * machine (isolates bind to them), and `VirtualNetwork`, whose addresses are only names (simulated
 * nodes). Services, node ports and DNS are built on top (`proxy.ts`, `dns.ts`).
 *
 * Without namespaces an address must be made local first. Linux as root: one route each makes
 * 10.244.0.0/16 and 10.96.0.0/12 local; `release` removes them. Elsewhere on Linux, and on Windows,
 * ranges inside 127/8 are local already. `claimRanges` finds out which.
 */
import type { Soon } from "../runtimes/runtime.ts";
import type { Pod } from "../types.ts";
import { formatAddress, parseIpRange } from "./ip_range.ts";
import { addressAt, AddressPool } from "./pool.ts";

/** What a pod's network needs to know of its node. */
export interface NetworkNode {
  name: string;
  /** `spec.podCIDRs`: none until the node has been given some. */
  podCIDRs?: readonly string[];
  addresses: readonly string[];
}

/** See the module's text. */
export interface Network {
  /** Gives a pod its addresses: the ones it had if they are free. Rejects while the node has no range. */
  setupPod(pod: Pod, node: NetworkNode): Soon<{ ips: string[] }>;
  teardownPod(uid: string): Soon<void>;
  /** Told once the node has its range, before any pod: for networks that must be made first. */
  prepare?(ranges: readonly string[]): Promise<void>;
  /** Where a pod's port answers: itself, unless addresses cannot be bound on this machine. */
  endpoint(ip: string, port: number): { hostname: string; port: number };
  /** The addresses of the n-th node of this machine: one of each family. */
  nodeAddresses(index: number): string[];
  close(): Promise<void>;
}

/** The IPv6 ranges of a cluster of both families. */
export interface SecondRanges {
  podRange: string;
  serviceRange: string;
}

/** The ranges of a cluster on this machine. */
export interface Ranges {
  podRange: string;
  serviceRange: string;
  /** Where the cluster has a second family. */
  second?: SecondRanges;
  /** The service range's tenth address. */
  dnsIP: string;
  /** The `kubernetes` service's address. */
  apiIP: string;
  /** Undoes what was done to the machine. */
  release(): Promise<void>;
}

/** A range of 65,536 addresses for pods and one for services: `a.b`, and `a.b` with its bits. */
interface Candidate {
  pods: string;
  services: string;
  serviceBits: number;
}

/** In order of preference; several clusters on one machine take one each. */
const ROOT_CANDIDATES: readonly Candidate[] = [
  { pods: "10.244", services: "10.96", serviceBits: 12 },
  ...[245, 246, 247, 248].map((pods, i) => ({
    pods: `10.${pods}`,
    services: `10.${112 + i}`,
    serviceBits: 16,
  })),
];
const LOOPBACK_CANDIDATES: readonly Candidate[] = [244, 245, 246, 247, 248, 249, 250, 251].map((
  pods,
  i,
) => ({
  pods: `127.${pods}`,
  services: `127.${96 + i}`,
  serviceBits: 16,
}));

/** The port, on an address that is given to nobody, that is held while a process uses a range. */
const CLAIM_PORT = 10_255;

/**
 * Makes ranges local if this machine lets us, else takes some inside 127/8; other clusters on this machine have
 * theirs. `podRange` is what this cluster had before: its pods' and services' addresses are of it.
 */
export async function claimRanges(podRange?: string): Promise<Ranges> {
  const root = Deno.build.os === "linux" && Deno.uid() === 0;
  for (const candidate of sorted(root ? ROOT_CANDIDATES : [], podRange)) {
    const claimed = await claimRouted(candidate);
    if (claimed === "refused") break;
    if (claimed) return claimed;
  }
  for (const candidate of sorted(LOOPBACK_CANDIDATES, podRange)) {
    const lock = hold(candidate);
    if (lock) return rangesOf(candidate, () => Promise.resolve(lock.close()));
  }
  throw new Error(
    "Cannot give pods and services addresses: all ranges of this machine are in use by other clusters",
  );
}

/**
 * Makes the ranges of a cluster that this machine joins local. Undefined: another process of this machine has them;
 * rejects when they cannot be made local here.
 */
export async function claimJoined(podRange: string): Promise<Ranges | undefined> {
  const is = ({ pods }: Candidate) => `${pods}.0.0/16` === podRange;
  const candidate = [...ROOT_CANDIDATES, ...LOOPBACK_CANDIDATES].find(is);
  if (!candidate) {
    throw new Error(`Cannot run pods with addresses of ${podRange}: only simulated ones`);
  }
  if (podRange.startsWith("127.")) {
    const lock = hold(candidate);
    return lock && rangesOf(candidate, () => Promise.resolve(lock.close()));
  }
  const root = Deno.build.os === "linux" && Deno.uid() === 0;
  const claimed = root ? await claimRouted(candidate) : "refused";
  if (claimed !== "refused") return claimed;
  throw new Error(
    `Cannot make the pods' addresses of ${podRange} this machine's: that needs Linux and root; ` +
      "--runtime simulated runs without",
  );
}

/** The ranges of a cluster of which another process of this machine keeps them local. */
export function sharedRanges(podRange: string): Ranges {
  const is = ({ pods }: Candidate) => `${pods}.0.0/16` === podRange;
  const candidate = [...ROOT_CANDIDATES, ...LOOPBACK_CANDIDATES].find(is);
  if (!candidate) {
    throw new Error(`Cannot run pods with addresses of ${podRange}: only simulated ones`);
  }
  return rangesOf(candidate, () => Promise.resolve());
}

/** The wanted one first. */
function sorted(candidates: readonly Candidate[], podRange: string | undefined): Candidate[] {
  const wanted = ({ pods }: Candidate) => `${pods}.0.0/16` === podRange ? 0 : 1;
  return [...candidates].sort((a, b) => wanted(a) - wanted(b));
}

/** Claims a range by routes; undefined: another process has it; refused: this machine has no such routes. */
async function claimRouted(candidate: Candidate): Promise<Ranges | "refused" | undefined> {
  const { pods, services, serviceBits } = candidate;
  const made: string[] = [];
  const undo = async () => {
    for (const range of made.splice(0)) await route("del", range);
  };
  for (const range of [`${pods}.0.0/16`, `${services}.0.0/${serviceBits}`]) {
    const outcome = await route("add", range);
    if (outcome === "failed") {
      await undo();
      return "refused";
    }
    // What a killed process left behind is taken over, and taken away by us.
    made.push(range);
  }
  const lock = hold(candidate);
  if (!lock) return undefined;
  return rangesOf(candidate, async () => {
    lock.close();
    await undo();
  });
}

/**
 * Makes the ranges of a second family local too, beside those that were claimed. Rejects where this machine cannot, or
 * another cluster of it has them.
 */
export async function claimSecond(ranges: Ranges, second: SecondRanges): Promise<Ranges> {
  const cannot = (why: string) =>
    new Error(`Cannot make ${second.podRange} and ${second.serviceRange} this machine's: ${why}`);
  if (ranges.podRange.startsWith("127.")) throw cannot("that needs Linux and root");
  const made: string[] = [];
  const undo = async () => {
    for (const range of made.splice(0)) await route("del", range);
    await ranges.release();
  };
  try {
    for (const range of [second.podRange, second.serviceRange]) {
      if (await route("add", range) === "failed") throw cannot("it has no IPv6");
      made.push(range);
    }
    // Unlike IPv4's, local ranges of IPv6 are not addresses that one may bind to, unless the kernel is told so.
    await Deno.writeTextFile(BIND_ANY, "1");
    const lock = holdAt(addressAt(lastPart(second.podRange), CLAIM_PORT));
    if (!lock) throw cannot("another cluster has them");
    const release = async () => {
      lock.close();
      await undo();
    };
    return { ...ranges, second, release };
  } catch (error) {
    await undo();
    throw error;
  }
}

const BIND_ANY = "/proc/sys/net/ipv6/ip_nonlocal_bind";

/** Holds a range against other processes; undefined when one of them has it. */
function hold({ pods }: Candidate): Deno.Listener | undefined {
  return holdAt(`${pods}.255.253`);
}

function holdAt(hostname: string): Deno.Listener | undefined {
  try {
    return Deno.listen({ hostname, port: CLAIM_PORT });
  } catch {
    return undefined; // in use, or not an address of this machine
  }
}

function rangesOf(
  { pods, services, serviceBits }: Candidate,
  release: () => Promise<void>,
): Ranges {
  return {
    podRange: `${pods}.0.0/16`,
    serviceRange: `${services}.0.0/${serviceBits}`,
    dnsIP: `${services}.0.10`,
    apiIP: `${services}.0.1`,
    release,
  };
}

async function route(verb: "add" | "del", range: string): Promise<"done" | "there" | "failed"> {
  try {
    const command = new Deno.Command("ip", {
      args: [range.includes(":") ? "-6" : "-4", "route", verb, "local", range, "dev", "lo"],
      stdout: "null",
      stderr: "piped",
    });
    const { success, stderr } = await command.output();
    if (success) return "done";
    return /File exists/.test(new TextDecoder().decode(stderr)) ? "there" : "failed";
  } catch {
    return "failed"; // no `ip` on this machine
  }
}

/** Why a pod has no address yet. */
export function noRangeYet(node: string): Error {
  return new Error(`node "${node}" has no podCIDR yet`);
}

/** Shared by both networks: pools by range, and which address belongs to whom. */
class Pools {
  readonly #pools = new Map<string, AddressPool>();
  readonly #held = new Map<string, { pool: AddressPool; ip: string }[]>();

  /** One address of each range: those that the pod had, if they are free. */
  take({ metadata: { uid }, status }: Pod, ranges: readonly string[]): string[] {
    const held = this.#held.get(uid);
    if (held) return held.map(({ ip }) => ip);
    const had = status?.podIPs?.map(({ ip }) => ip) ?? [status?.podIP ?? ""];
    const taken = ranges.map((range) => {
      let pool = this.#pools.get(range);
      if (!pool) this.#pools.set(range, pool = new AddressPool(range));
      const isSix = range.includes(":");
      return { pool, ip: pool.take(had.find((ip) => ip.includes(":") === isSix)) };
    });
    this.#held.set(uid, taken);
    return taken.map(({ ip }) => ip);
  }

  give(uid: string): void {
    for (const { pool, ip } of this.#held.get(uid) ?? []) pool.give(ip);
    this.#held.delete(uid);
  }
}

/** Pods' addresses are local addresses of this machine. */
export class LoopbackNetwork implements Network {
  readonly #pools = new Pools();
  readonly #ranges: Ranges;

  constructor(ranges: Ranges) {
    this.#ranges = ranges;
  }

  setupPod(pod: Pod, node: NetworkNode): { ips: string[] } {
    if (pod.spec.hostNetwork) return { ips: [...node.addresses] };
    if (!node.podCIDRs?.length) throw noRangeYet(node.name);
    return { ips: this.#pools.take(pod, node.podCIDRs) };
  }

  teardownPod(uid: string): void {
    this.#pools.give(uid);
  }

  endpoint(ip: string, port: number): { hostname: string; port: number } {
    return { hostname: ip, port };
  }

  nodeAddresses(index: number): string[] {
    const { podRange, second } = this.#ranges;
    // The last /24 of the pod range is no node's podCIDR before 255 others are given.
    const first = addressAt(lastPart(podRange), (index % 253) + 1);
    return second ? [first, addressAt(lastPart(second.podRange), index + 1)] : [first];
  }

  close(): Promise<void> {
    return this.#ranges.release();
  }
}

/** Pods' addresses are only names: unique, of their node's range if it has one. */
export class VirtualNetwork implements Network {
  readonly #pools = new Pools();
  readonly #second: string | undefined;

  /** `second`: the pods' IPv6 range, in a cluster of both families. */
  constructor(second?: string) {
    this.#second = second;
  }

  setupPod(pod: Pod, node: NetworkNode): { ips: string[] } {
    if (pod.spec.hostNetwork) return { ips: [...node.addresses] };
    const ranges = node.podCIDRs?.length ? node.podCIDRs : [VIRTUAL_POD_RANGE];
    return { ips: this.#pools.take(pod, ranges) };
  }

  teardownPod(uid: string): void {
    this.#pools.give(uid);
  }

  endpoint(ip: string, port: number): { hostname: string; port: number } {
    return { hostname: ip, port };
  }

  nodeAddresses(index: number): string[] {
    const first = `10.${VIRTUAL_NODES + (index >>> 16)}.${(index >>> 8) & 255}.${index & 255}`;
    const second = this.#second;
    return second ? [first, addressAt(lastPart(second), index + 1)] : [first];
  }

  async close(): Promise<void> {}
}

/** The last /24 (of IPv6: /64) of a range, which few clusters have so many nodes as to need: where nodes have addresses. */
export function lastPart(range: string): string {
  const { family, last } = parseIpRange(range)!;
  const [bits, size] = family === 4 ? [24, 1n << 8n] : [64, 1n << 64n];
  return `${formatAddress(last - size + 1n, family)}/${bits}`;
}

/** Where simulated pods get addresses when their node has no range of its own. */
export const VIRTUAL_POD_RANGE = "10.64.0.0/11";
/** The second byte of simulated nodes' addresses. */
const VIRTUAL_NODES = 200;
