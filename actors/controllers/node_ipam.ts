/**
 * Node addresses: every node gets a part of each of the cluster's pod ranges (one of each family at most), and
 * keeps them for its life.
 *
 * What is taken is read from the nodes themselves, so nothing is kept that a restart could lose.
 *
 * Behaviour matched: pkg/controller/nodeipam/ipam/range_allocator.go, v1.36.
 */
import { formatCidr, parseCidr } from "../../api/machinery/ip.ts";
import type { KubeObject } from "../../api/machinery/types.ts";
import { type ActorContext, type Controller, NODES, targetOf } from "../runtime/mod.ts";
import type { Obj } from "./objects.ts";
import type { ControllerPorts } from "./ports.ts";

/** The range when none is given, and the sizes of a node's parts. */
export const CLUSTER_CIDR = "10.244.0.0/16";
export const NODE_MASK = 24;
export const NODE_MASK_IPV6 = 64;
/** How many bits a range and its parts may lie apart, as upstream: more parts are looked through by nobody. */
export const PART_BITS_MAX = 16;

/** A range that is divided. */
interface Pool {
  parts: Parts;
  /** Where the search for a free part goes on. */
  next: number;
}

interface Parts {
  count: number;
  at(index: number): string;
}

interface State {
  /** Parts that nodes have, or were just given, with the node's name. */
  taken: Map<string, string>;
  pools: Pool[];
  /** Nodes that found none: they ask again when a part is given back. */
  waiting: Set<string>;
}

/** The row; ranges come from the ports. */
export function nodeIpamController(
  ports: Pick<ControllerPorts, "clusterCidr" | "nodeMask" | "nodeMaskIpv6">,
): Controller<State> {
  // Made once: parts are looked for in order.
  const ranges = rangesOf(ports);
  return {
    name: "nodeipam",
    account: "node-controller",
    component: "cidrAllocator",
    for: NODES,
    // Parts are taken before anything is waited for: two nodes never find the same one.
    workers: 64,
    start(context) {
      const taken = new Map<string, string>();
      const waiting = new Set<string>();
      context.informers.for(NODES).subscribe(({ key, old, object }) => {
        for (const part of partsOfNode(object ?? old)) {
          if (object) taken.set(part, key);
          else if (taken.get(part) === key) taken.delete(part);
        }
        if (object) return;
        for (const name of waiting) context.send(context.address, name);
        waiting.clear();
      });
      return { taken, waiting, pools: ranges.map((parts) => ({ parts, next: 0 })) };
    },
    reconcile,
  };
}

/** The pod ranges, divided: at most one of each family. */
function rangesOf(
  { clusterCidr = CLUSTER_CIDR, nodeMask = NODE_MASK, nodeMaskIpv6 = NODE_MASK_IPV6 }: Pick<
    ControllerPorts,
    "clusterCidr" | "nodeMask" | "nodeMaskIpv6"
  >,
): Parts[] {
  const texts = clusterCidr.split(",").map((text) => text.trim());
  const families = texts.map((text) => parseCidr(text)?.ip.family);
  if (new Set(families).size < families.length) {
    throw new RangeError(
      `Cannot give nodes parts of "${clusterCidr}": at most one range of each family`,
    );
  }
  return texts.map((text, i) => partsOf(text, families[i] === 6 ? nodeMaskIpv6 : nodeMask));
}

/** The parts of a range, as CIDRs in order; lazily, there may be many. */
export function partsOf(cidr: string, mask: number): Parts {
  const range = parseCidr(cidr);
  if (!range) throw new TypeError(`Cannot divide "${cidr}": it is no CIDR`);
  if (mask < range.bits) {
    throw new RangeError(`Cannot divide "${cidr}" into parts of /${mask}: they are larger than it`);
  }
  if (mask > range.ip.bytes.length * 8 || mask - range.bits > PART_BITS_MAX) {
    throw new RangeError(
      `Cannot divide "${cidr}" into parts of /${mask}: at most ${PART_BITS_MAX} bits longer`,
    );
  }
  const shift = BigInt(range.ip.bytes.length * 8 - mask);
  return {
    count: 2 ** (mask - range.bits),
    at(index) {
      let carry = BigInt(index) << shift;
      const bytes = [...range.ip.bytes];
      for (let i = bytes.length - 1; i >= 0; i--) {
        carry += BigInt(bytes[i]);
        bytes[i] = Number(carry & 0xffn);
        carry >>= 8n;
      }
      return formatCidr({ ...range, ip: { ...range.ip, bytes }, bits: mask });
    },
  };
}

function partsOfNode(node: Obj | undefined): readonly string[] {
  return node?.spec?.podCIDRs ?? (node?.spec?.podCIDR ? [node.spec.podCIDR] : []);
}

/** Gives one node its parts, if it has none. */
export async function reconcile(key: string, context: ActorContext, state: State): Promise<void> {
  const node = context.informers.for(NODES).get(key);
  if (!node || node.metadata.deletionTimestamp || node.spec?.podCIDR) return;
  const found: string[] = [];
  for (const pool of state.pools) {
    const part = freeOf(pool, state.taken, key);
    if (part === undefined) {
      const text = `Node ${key} status is now: CIDRNotAvailable`;
      context.recorder.event(node, "Normal", "CIDRNotAvailable", text);
      state.waiting.add(key);
      return;
    }
    found.push(part);
  }
  for (const part of found) state.taken.set(part, key);
  const { uid } = node.metadata;
  try {
    await context.client.patch<KubeObject>(targetOf(NODES, node), {
      type: "strategic",
      body: { metadata: { uid }, spec: { podCIDR: found[0], podCIDRs: found } },
    });
  } catch (error) {
    for (const part of found) state.taken.delete(part);
    throw error;
  }
}

function freeOf(pool: Pool, taken: ReadonlyMap<string, string>, key: string): string | undefined {
  const { count, at } = pool.parts;
  for (let tried = 0; tried < count; tried++) {
    const candidate = at(pool.next);
    pool.next = (pool.next + 1) % count;
    if (!taken.has(candidate) || taken.get(candidate) === key) return candidate;
  }
  return undefined;
}
