/**
 * What was found out about nodes, kept for as long as nothing changes on them: of a thousand pods that are alike, each
 * changes one node and asks about five thousand.
 */
import type { Cluster } from "./cluster.ts";
import type { NodeInfo, Refusal } from "./framework.ts";

/** One finding for each node that is known. It must be refreshed before a turn's first question. */
export class NodeMemory<T> {
  readonly #cluster: Cluster;
  /** By a node's index. */
  #found: (T | undefined)[] = [];
  #seen = -1;

  constructor(cluster: Cluster) {
    this.#cluster = cluster;
  }

  /** Forgets what has changed since; `forgotten` hears what was known of each. Tells whether anything can be left. */
  refresh(forgotten?: (node: NodeInfo, found: T) => void): boolean {
    const changed = this.#cluster.changedSince(this.#seen);
    this.#seen = this.#cluster.changes;
    if (!changed) {
      this.#found = new Array(this.#cluster.nodes.length).fill(undefined);
      return false;
    }
    for (const node of changed) {
      const found = this.#found[node.index];
      if (found === undefined) continue;
      this.#found[node.index] = undefined;
      forgotten?.(node, found);
    }
    return true;
  }

  get(node: NodeInfo): T | undefined {
    return this.#found[node.index];
  }

  set(node: NodeInfo, found: T): void {
    this.#found[node.index] = found;
  }
}

/** What the filters say of nodes about pods that are alike: a refusal, or `null`. */
export class Verdicts {
  readonly #cluster: Cluster;
  readonly #memory: NodeMemory<Refusal | null>;
  readonly #refusals = new Map<string, Refusal>();
  readonly #counts = new Map<Refusal, number>();
  /** Nodes that were known before they changed. */
  readonly #open = new Set<NodeInfo>();
  #fitting = 0;

  constructor(cluster: Cluster) {
    this.#cluster = cluster;
    this.#memory = new NodeMemory(cluster);
  }

  /** The known refusals by node name, kept up by what is noted and what changes. */
  get refusals(): ReadonlyMap<string, Refusal> {
    return this.#refusals;
  }

  /** How many nodes refuse in the same words. */
  get counts(): ReadonlyMap<Refusal, number> {
    return this.#counts;
  }

  /** Forgets what has changed: before a turn's first question. */
  refresh(): void {
    const left = this.#memory.refresh((node, found) => {
      if (found) this.#uncount(node, found);
      else this.#fitting--;
      this.#open.add(node);
    });
    if (left) return;
    this.#refusals.clear();
    this.#counts.clear();
    this.#open.clear();
    this.#fitting = 0;
  }

  /** Undefined: not known. */
  get(node: NodeInfo): Refusal | null | undefined {
    return this.#memory.get(node);
  }

  /** Of a node that is not known. */
  note(node: NodeInfo, refusal: Refusal | null): void {
    this.#memory.set(node, refusal);
    this.#open.delete(node);
    if (!refusal) {
      this.#fitting++;
      return;
    }
    this.#refusals.set(node.name, refusal);
    this.#counts.set(refusal, (this.#counts.get(refusal) ?? 0) + 1);
  }

  /** Whether all nodes are known to refuse, once `ask` has been asked about those that changed, up to the first that does not. */
  allRefuse(ask: (node: NodeInfo) => Refusal | null): boolean {
    for (const node of this.#open) {
      if (this.#fitting > 0) return false;
      this.note(node, ask(node));
    }
    return this.#fitting === 0 && this.#refusals.size === this.#cluster.nodes.length;
  }

  #uncount({ name }: NodeInfo, refusal: Refusal): void {
    this.#refusals.delete(name);
    const left = this.#counts.get(refusal)! - 1;
    if (left === 0) this.#counts.delete(refusal);
    else this.#counts.set(refusal, left);
  }
}
