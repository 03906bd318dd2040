/**
 * Node addresses: every node gets a part of the cluster's pod range, and keeps it for its life.
 *
 * What is taken is read from the nodes themselves, so nothing is kept that a restart could lose.
 *
 * Behaviour matched: pkg/controller/nodeipam/ipam/range_allocator.go, v1.36 (one address family).
 */
import { formatCidr, parseCidr } from "../../api/machinery/ip.ts";
import type { KubeObject } from "../../api/machinery/types.ts";
import { type ActorContext, type Controller, NODES, targetOf } from "../runtime/mod.ts";
import type { Obj } from "./objects.ts";
import type { ControllerPorts } from "./ports.ts";

/** The range when none is given. */
export const CLUSTER_CIDR = "10.244.0.0/16";
export const NODE_MASK = 24;

interface State {
  /** Parts that nodes have, or were just given, with the node's name. */
  taken: Map<string, string>;
  /** Where the search for a free part goes on. */
  next: number;
}

/** The row; ranges come from the ports. */
export function nodeIpamController(
  { clusterCidr = CLUSTER_CIDR, nodeMask = NODE_MASK }: Pick<
    ControllerPorts,
    "clusterCidr" | "nodeMask"
  >,
): Controller<State> {
  // Made once: parts are looked for in order.
  const parts = partsOf(clusterCidr, nodeMask);
  return {
    name: "nodeipam",
    account: "node-controller",
    component: "cidrAllocator",
    for: NODES,
    // One at a time: two nodes must not find the same free part.
    workers: 1,
    start(context) {
      const state: State = { taken: new Map(), next: 0 };
      context.informers.for(NODES).subscribe(({ key, old, object }) => {
        for (const part of partsOfNode(object ?? old)) {
          if (object) state.taken.set(part, key);
          else if (state.taken.get(part) === key) state.taken.delete(part);
        }
      });
      return state;
    },
    reconcile: (key, context, state) => reconcile(key, context, { state, parts }),
  };
}

/** The parts of a range, as CIDRs in order; lazily, there may be many. */
export function partsOf(cidr: string, mask: number): { count: number; at(index: number): string } {
  const range = parseCidr(cidr);
  if (!range) throw new TypeError(`Cannot divide "${cidr}": it is no CIDR`);
  if (mask < range.bits) {
    throw new RangeError(`Cannot divide "${cidr}" into parts of /${mask}: they are larger than it`);
  }
  const shift = BigInt(range.ip.bytes.length * 8 - mask);
  return {
    count: 2 ** Math.min(30, mask - range.bits),
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

/** Gives one node its part, if it has none. */
export async function reconcile(
  key: string,
  context: ActorContext,
  { state, parts }: { state: State; parts: ReturnType<typeof partsOf> },
): Promise<void> {
  const node = context.informers.for(NODES).get(key);
  if (!node || node.metadata.deletionTimestamp || node.spec?.podCIDR) return;
  let part: string | undefined;
  for (let tried = 0; tried < parts.count && part === undefined; tried++) {
    const candidate = parts.at(state.next);
    if (!state.taken.has(candidate) || state.taken.get(candidate) === key) part = candidate;
    state.next = (state.next + 1) % parts.count;
  }
  if (part === undefined) {
    context.recorder.event(
      node,
      "Normal",
      "CIDRNotAvailable",
      `Node ${key} status is now: CIDRNotAvailable`,
    );
    throw new Error(`Cannot give node "${key}" a pod range: none of ${parts.count} is free`);
  }
  state.taken.set(part, key);
  await context.client.patch<KubeObject>(targetOf(NODES, node), {
    type: "strategic",
    body: { spec: { podCIDR: part, podCIDRs: [part] } },
  });
}
