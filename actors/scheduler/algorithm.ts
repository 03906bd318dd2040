/**
 * One scheduling decision: filter the nodes, score those that are left, take the best. Synchronous and
 * without effects; `scheduler.ts` acts on what it says.
 *
 * In a large cluster not every node is looked at (upstream's adaptive share: 50 % less one per 125 nodes,
 * at least 5 % and 100 nodes), and each decision starts where the last one stopped.
 */
import { Memory } from "../../api/machinery/memory.ts";
import type { Cluster } from "./cluster.ts";
import {
  type Cycle,
  type Diagnosis,
  type NodeInfo,
  otherRefusal,
  type Plugin,
  type PodInfo,
  type Refusal,
} from "./framework.ts";
import type { PointTimes } from "./metrics.ts";
import { Verdicts } from "./node_memory.ts";
import { remedyOf } from "./remedies.ts";
import type { Steps } from "./steps.ts";

/** The fewest nodes that are looked at where there are as many, and the least share of all, in percent. */
export const FEASIBLE_NODES_MIN = 100;
export const FEASIBLE_SHARE_MIN = 5;

/** A pod's place: the node, and the cycle whose plugins' states reserve and preBind need. */
export interface Choice {
  node: NodeInfo;
  cycle: Cycle;
  evaluated: number;
  feasible: number;
}

/** Every plugin's word on every node, for people: see `explain.ts`. */
export interface Matrix {
  /** Refusals of all nodes at once. */
  all: Refusal[];
  nodes: NodeVerdict[];
}

/** What the plugins say of one node. It would do when there are no refusals. */
export interface NodeVerdict {
  node: string;
  refusals: (Refusal & ReturnType<typeof remedyOf>)[];
  /** By plugin: the normalized score times its weight. */
  scores?: Record<string, number>;
  total?: number;
}

/** What a decision needs beside cluster and plugins. */
export interface AlgorithmOptions {
  random: () => number;
  points: PointTimes;
  /** Of which nodes are looked for before the best is taken, in percent (default 0: the adaptive share). */
  percentageOfNodesToScore?: number;
}

/** Nodes that a matrix looks at in one step. */
const MATRIX_STEP = 32;

/** Kinds of pods of which is remembered what was said of nodes. */
const ALIKE_MAX = 32;

/** Whether a pod passes on nodes, to be asked while the cluster is changed in thought. */
export interface FilterQuestion {
  ask(node: NodeInfo): Refusal | undefined;
  /** Of pods with the same text, the same is said of a node as long as nothing changes on it. */
  alike?: string;
}

/** The nodes that would do for a pod, before they are scored. */
export interface Feasible {
  cycle: Cycle;
  nodes: readonly NodeInfo[];
  refusals: Map<string, Refusal>;
}

export class Algorithm {
  readonly #cluster: Cluster;
  readonly #plugins: readonly Plugin[];
  readonly #random: () => number;
  readonly #percentage: number;
  readonly #points: PointTimes;
  #next = 0;
  readonly #verdicts = new Memory<Verdicts>(ALIKE_MAX);

  constructor(
    cluster: Cluster,
    plugins: readonly Plugin[],
    { random, points, percentageOfNodesToScore = 0 }: AlgorithmOptions,
  ) {
    this.#points = points;
    this.#cluster = cluster;
    this.#plugins = plugins;
    this.#random = random;
    this.#percentage = percentageOfNodesToScore;
  }

  /** Chooses a node, or says why there is none. */
  choose(pod: PodInfo): Choice | Diagnosis {
    const found = this.consider(pod);
    return "plugins" in found ? found : this.take(found);
  }

  /** The best of the nodes that would do; `extra` is added to their scores. */
  take({ cycle, nodes, refusals }: Feasible, extra?: ReadonlyMap<string, number>): Choice {
    const node = nodes.length === 1 ? nodes[0] : this.#best(cycle, nodes, extra);
    return { node, cycle, evaluated: nodes.length + refusals.size, feasible: nodes.length };
  }

  /** Tells how long each plugin takes at each point for a pod and one node. */
  measure(
    pod: PodInfo,
    node: NodeInfo,
    { now, note }: { now(): number; note(plugin: string, point: string, ms: number): void },
  ): void {
    const cycle: Cycle = { pod, cluster: this.#cluster, state: new Map() };
    const timed = <T>(plugin: Plugin, point: string, run: () => T): T => {
      const began = now();
      const result = run();
      note(plugin.name, point, now() - began);
      return result;
    };
    for (const plugin of this.#plugins) {
      const said = plugin.preFilter &&
        timed(plugin, "PreFilter", () => plugin.preFilter!(cycle));
      if (said === "skip" || !plugin.filter) continue;
      if (said) return;
      timed(plugin, "Filter", () => plugin.filter!(cycle, node));
    }
    for (const plugin of this.#plugins) {
      if (!plugin.score) continue;
      const said = plugin.preScore &&
        timed(plugin, "PreScore", () => plugin.preScore!(cycle, [node]));
      if (said !== "skip") timed(plugin, "Score", () => plugin.score!(cycle, node));
    }
  }

  /** The nodes that would do, or why there are none. */
  consider(pod: PodInfo): Feasible | Diagnosis {
    const cycle: Cycle = { pod, cluster: this.#cluster, state: new Map() };
    const points = this.#points;
    const began = points.now();
    const filters = this.#preFilter(cycle);
    const between = points.now();
    if ("plugin" in filters) {
      const status = filters.unresolvable ? "UnschedulableAndUnresolvable" : "Unschedulable";
      points.passed("PreFilter", between - began, status);
      const plugins = new Set([filters.plugin]);
      return { nodes: this.#cluster.nodes.length, refusals: new Map(), all: filters, plugins };
    }
    points.passed("PreFilter", between - began);
    const found = this.#filter(cycle, filters);
    points.passed("Filter", points.now() - between);
    return found;
  }

  #filter(cycle: Cycle, filters: readonly Plugin[]): Feasible | Diagnosis {
    const nodes = this.#cluster.nodes;
    const refusals = new Map<string, Refusal>();
    const plugins = new Set<string>();
    const promised = this.#cluster.promisedTo(cycle.pod.uid);
    // A pod whose victims have left takes the node that was emptied for it, whatever else is free.
    if (promised && !this.#filterNode(cycle, filters, promised)) {
      return { cycle, nodes: [promised], refusals };
    }
    const verdicts = this.#verdictsOf(cycle, filters);
    if (
      !promised && verdicts?.allRefuse((node) => this.#filterNode(cycle, filters, node) ?? null)
    ) {
      const { refusals, counts } = verdicts;
      for (const { plugin } of counts.keys()) plugins.add(plugin);
      return { nodes: nodes.length, refusals, counts, plugins };
    }
    const feasible = this.#feasible(cycle, filters, { refusals, plugins, verdicts, promised });
    if (feasible.length === 0) {
      if (!cycle.only) return { nodes: nodes.length, refusals, plugins };
      plugins.add(cycle.only.plugin);
      const others = { ...otherRefusal(cycle.only), nodes: nodes.length - refusals.size };
      return { nodes: nodes.length, refusals, others, plugins };
    }
    return { cycle, nodes: feasible, refusals };
  }

  /**
   * Why a pod does not pass on a node as the cluster stands when that is asked. For a pod about which no plugin
   * computes anything beforehand, a question costs no more than its filters.
   */
  filter(pod: PodInfo): FilterQuestion {
    const cycle: Cycle = { pod, cluster: this.#cluster, state: new Map() };
    const filters = this.#preFilter(cycle);
    if ("plugin" in filters || cycle.state.size > 0) {
      return { ask: (node) => this.#filterAnew(pod, node) };
    }
    const ask = (node: NodeInfo) => this.#filterNode(cycle, filters, node);
    return { ask, alike: this.#cluster.promisedTo(pod.uid) ? undefined : alikeOf(cycle, filters) };
  }

  #filterAnew(pod: PodInfo, node: NodeInfo): Refusal | undefined {
    const cycle: Cycle = { pod, cluster: this.#cluster, state: new Map() };
    const filters = this.#preFilter(cycle);
    return "plugin" in filters ? filters : this.#filterNode(cycle, filters, node);
  }

  /** The full matrix for one pod against the cluster as it stands: no filter stops at the first refusal. */
  *matrix(pod: PodInfo): Steps<Matrix> {
    const cycle: Cycle = { pod, cluster: this.#cluster, state: new Map() };
    const matrix: Matrix = { all: [], nodes: [] };
    const active: Plugin[] = [];
    for (const plugin of this.#plugins) {
      const said = plugin.preFilter?.(cycle);
      if (said === "skip") continue;
      if (said) matrix.all.push(said);
      else if (plugin.filter) active.push(plugin);
    }
    const feasible: NodeInfo[] = [];
    const verdicts: NodeVerdict[] = [];
    for (const [i, node] of [...this.#cluster.nodes].entries()) {
      if (i % MATRIX_STEP === MATRIX_STEP - 1) yield;
      const refusals: NodeVerdict["refusals"] = [];
      const passedOver = cycle.only !== undefined && !cycle.only.nodes.has(node.name);
      if (passedOver) refusals.push(otherRefusal(cycle.only!));
      for (const plugin of active) {
        if (passedOver && plugin.name === cycle.only!.plugin) continue;
        const refusal = word(plugin, cycle, node);
        if (!refusal) continue;
        refusals.push({ ...refusal, ...remedyOf(plugin, cycle, node) });
      }
      const verdict = { node: node.name, refusals };
      matrix.nodes.push(verdict);
      if (refusals.length > 0 || matrix.all.length > 0) continue;
      feasible.push(node);
      verdicts.push(verdict);
    }
    if (feasible.length === 0) return matrix;
    for (const { plugin, scores } of this.#scores(cycle, feasible)) {
      verdicts.forEach((verdict, i) => {
        const score = scores[i] * plugin.weight!;
        (verdict.scores ??= {})[plugin.name] = score;
        verdict.total = (verdict.total ?? 0) + score;
      });
      yield;
    }
    return matrix;
  }

  #preFilter(cycle: Cycle): Plugin[] | Refusal {
    const filters: Plugin[] = [];
    for (const plugin of this.#plugins) {
      const said = plugin.preFilter?.(cycle);
      if (said === "skip") continue;
      if (said) return said;
      if (plugin.filter) filters.push(plugin);
    }
    return filters;
  }

  #feasible(
    cycle: Cycle,
    filters: readonly Plugin[],
    { refusals, plugins, verdicts, promised }: {
      refusals: Map<string, Refusal>;
      plugins: Set<string>;
      verdicts: Verdicts | undefined;
      /** On the node that it is promised itself, a pod is not like others. */
      promised: NodeInfo | undefined;
    },
  ): NodeInfo[] {
    const nodes = cycle.only ? this.#named(cycle.only.nodes) : this.#cluster.nodes;
    const wanted = feasibleWanted(nodes.length, this.#percentage);
    const feasible: NodeInfo[] = [];
    const start = nodes.length === 0 ? 0 : this.#next % nodes.length;
    let looked = 0;
    for (; looked < nodes.length && feasible.length < wanted; looked++) {
      const at = start + looked;
      const node = nodes[at < nodes.length ? at : at - nodes.length];
      const known = node === promised ? undefined : verdicts;
      let refusal = known?.get(node);
      if (refusal === undefined) {
        refusal = this.#filterNode(cycle, filters, node) ?? null;
        known?.note(node, refusal);
      }
      if (!refusal) feasible.push(node);
      else {
        refusals.set(node.name, refusal);
        plugins.add(refusal.plugin);
      }
    }
    if (!cycle.only) this.#next = start + looked;
    return feasible;
  }

  #named(names: Iterable<string>): NodeInfo[] {
    const nodes: NodeInfo[] = [];
    for (const name of names) {
      const node = this.#cluster.node(name);
      if (node) nodes.push(node);
    }
    return nodes;
  }

  /** What is known of nodes for pods like this one; undefined where they cannot be told. */
  #verdictsOf(cycle: Cycle, filters: readonly Plugin[]): Verdicts | undefined {
    const alike = cycle.only ? undefined : alikeOf(cycle, filters);
    if (alike === undefined) return undefined;
    let known = this.#verdicts.get(alike);
    if (!known) this.#verdicts.set(alike, known = new Verdicts(this.#cluster));
    known.refresh();
    return known;
  }

  #filterNode(cycle: Cycle, filters: readonly Plugin[], node: NodeInfo): Refusal | undefined {
    const promised = this.#cluster.promisesOf(node.name);
    if (promised) {
      const before = [...promised.values()].filter((other) =>
        other.uid !== cycle.pod.uid && other.priority >= cycle.pod.priority &&
        !node.pods.has(other.uid)
      );
      // The pod must fit beside those promised the node before it, and without them too.
      if (before.length > 0) {
        // What plugins computed beforehand knows nothing of those pods
        const asked = cycle.state.size === 0
          ? () => runFilters(cycle, filters, node)
          : () => this.#filterAnew(cycle.pod, node);
        const refusal = this.#cluster.supposing(node, [], before, asked);
        if (refusal) return refusal;
      }
    }
    return runFilters(cycle, filters, node);
  }

  #best(
    cycle: Cycle,
    nodes: readonly NodeInfo[],
    extra: ReadonlyMap<string, number> | undefined,
  ): NodeInfo {
    const totals = new Float64Array(nodes.length);
    const points = this.#points;
    const spent = { pre: 0 };
    const began = points.now();
    for (const { plugin, scores } of this.#scores(cycle, nodes, spent)) {
      for (let i = 0; i < scores.length; i++) totals[i] += scores[i] * plugin.weight!;
    }
    points.passed("PreScore", spent.pre);
    points.passed("Score", points.now() - began - spent.pre);
    if (extra) nodes.forEach((node, i) => totals[i] += extra.get(node.name) ?? 0);
    let best = 0;
    let ties = 1;
    for (let i = 1; i < totals.length; i++) {
      if (totals[i] > totals[best]) {
        best = i;
        ties = 1;
      } else if (totals[i] === totals[best] && this.#random() * ++ties < 1) best = i;
    }
    return nodes[best];
  }

  /** Each plugin's scores, which are good until the next one's. `spent` is told how long was got ready for them. */
  *#scores(
    cycle: Cycle,
    nodes: readonly NodeInfo[],
    spent = { pre: 0 },
  ): Generator<{ plugin: Plugin; scores: Float64Array }> {
    const scores = new Float64Array(nodes.length);
    for (const plugin of this.#plugins) {
      if (!plugin.score || !plugin.weight) continue;
      if (plugin.preScore) {
        const began = this.#points.now();
        const said = plugin.preScore(cycle, nodes);
        spent.pre += this.#points.now() - began;
        if (said === "skip") continue;
      }
      for (let i = 0; i < nodes.length; i++) scores[i] = plugin.score(cycle, nodes[i]);
      plugin.normalize?.(cycle, scores, nodes);
      yield { plugin, scores };
    }
  }
}

/** A filter's word; an error that ends a try is told like a refusal. */
function word(plugin: Plugin, cycle: Cycle, node: NodeInfo): Refusal | undefined {
  try {
    return plugin.filter!(cycle, node);
  } catch (error) {
    const text = error instanceof Error ? error.message : String(error);
    return { plugin: plugin.name, reasons: [text] };
  }
}

/** What the filters read of a pod, as a text; undefined where that cannot be told. */
function alikeOf({ pod, state }: Cycle, filters: readonly Plugin[]): string | undefined {
  if (state.size > 0) return undefined;
  // Whoever is promised a node comes before pods of lower priority
  let text = `${pod.priority} `;
  for (const plugin of filters) {
    if (!plugin.reads) return undefined;
    text += `${plugin.name} ${plugin.reads(pod)} `;
  }
  return text;
}

function runFilters(cycle: Cycle, filters: readonly Plugin[], node: NodeInfo): Refusal | undefined {
  for (const plugin of filters) {
    const refusal = plugin.filter!(cycle, node);
    if (refusal) return refusal;
  }
  return undefined;
}

/** How many feasible nodes are enough, of so many; `percentage` 0: the adaptive share. */
export function feasibleWanted(nodes: number, percentage = 0): number {
  if (nodes <= FEASIBLE_NODES_MIN || percentage >= 100) return nodes;
  const share = percentage || Math.max(50 - Math.trunc(nodes / 125), FEASIBLE_SHARE_MIN);
  return Math.max(Math.trunc((nodes * share) / 100), FEASIBLE_NODES_MIN);
}
