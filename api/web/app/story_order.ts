/** The order in which people read a story's hops. */
import { type Hop, treeOf } from "../../client/plesio.ts";

/** A hop, and how deep it lies below the request that began it. */
export interface Placed {
  hop: Hop;
  depth: number;
}

/** Each hop after the one that it reacted to, and those of one cause in their order. */
export function inOrder(hops: readonly Hop[]): Placed[] {
  const { roots, below } = treeOf(hops);
  // A stack, not calls: a story may be as deep as it is long
  const open: Placed[] = roots.toReversed().map((hop) => ({ hop, depth: 0 }));
  const placed: Placed[] = [];
  for (let next; (next = open.pop());) {
    placed.push(next);
    const { hop, depth } = next;
    for (const child of (below.get(hop.revision) ?? []).toReversed()) {
      open.push({ hop: child, depth: depth + 1 });
    }
  }
  return placed;
}

/** The parts of the cluster in the order in which they came in, each with when that was. */
export function partsOf(hops: readonly Hop[]): { part: string; sinceMs: number; count: number }[] {
  const parts = new Map<string, { part: string; sinceMs: number; count: number }>();
  for (const { part, sinceMs } of hops) {
    const known = parts.get(part);
    if (known) known.count++;
    else parts.set(part, { part, sinceMs, count: 1 });
  }
  return [...parts.values()];
}
