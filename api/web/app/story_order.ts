/** A story's hops, and the order in which people read them. */

/** An object by its names. */
export interface Named {
  apiVersion: string;
  kind: string;
  namespace?: string;
  name: string;
}

/** One write. */
export interface Hop {
  revision: number;
  time: string;
  by: string;
  part: string;
  node?: string;
  verb: string;
  object: Named;
  what?: string;
  because?: number;
  afterMs?: number;
  sinceMs: number;
}

/** All writes that belong to an object. */
export interface Story {
  object: Named;
  began: string;
  hops: readonly Hop[];
  missing?: readonly string[];
}

/** A hop, and how deep it lies below the request that began it. */
export interface Placed {
  hop: Hop;
  depth: number;
}

/** Each hop after the one that it reacted to, and those of one cause in their order. */
export function inOrder(hops: readonly Hop[]): Placed[] {
  const known = new Set(hops.map(({ revision }) => revision));
  const below = new Map<number, Hop[]>();
  const roots: Hop[] = [];
  for (const hop of hops) {
    const { because } = hop;
    if (because === undefined || !known.has(because)) roots.push(hop);
    else if (below.has(because)) below.get(because)!.push(hop);
    else below.set(because, [hop]);
  }
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
