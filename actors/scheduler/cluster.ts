/**
 * The scheduler's picture of the cluster: nodes with what runs on them, kept by increments, never rebuilt.
 *
 * A pod counts as soon as it is assumed on a node, before its binding is written; the watch's own news of
 * the same pod then changes nothing. Questions of the form "how many pods match this term, per node and
 * per topology value" are answered from counters that every added and removed pod keeps up to date, so
 * that affinity and spreading cost the same whether ten or ten thousand pods are bound.
 */
import type { DeepReadonly, KubeObject } from "../../api/machinery/types.ts";
import { parseQuantity } from "../../api/machinery/quantity.ts";
import type { Node, NodeInfo, PodInfo, Term } from "./framework.ts";
import { addAmounts, amountsOf, noAmounts } from "./pod_info.ts";

/** Counters kept for questions asked lately; the oldest goes first. */
export const COUNTERS_MAX = 512;
/** Changes of nodes that are told one by one at least; who comes after more of them must look at all nodes. */
export const CHANGES_MAX = 4_096;

/** How many pods a question matches, by node, and summed by the values of topology keys. */
export interface Counter {
  readonly matches: (pod: PodInfo) => boolean;
  readonly byNode: Map<string, number>;
  /** For each topology key asked for: value to count (values without pods may be absent). */
  readonly byTopology: Map<string, Map<string, number>>;
}

/** All pods that carry one and the same (anti-)affinity term, counted by the term's topology values. */
export interface TermHolders {
  readonly term: Term;
  readonly counts: Map<string, number>;
  pods: number;
}

/** Which terms of the pods that are bound are looked up by incoming pods. */
export type TermKind = "antiAffinity" | "affinity" | "preferredAffinity" | "preferredAntiAffinity";
const TERM_KINDS: readonly TermKind[] = [
  "antiAffinity",
  "affinity",
  "preferredAffinity",
  "preferredAntiAffinity",
];

/** See the module's text. */
export class Cluster {
  /** All nodes, in the order they came. */
  readonly nodes: NodeInfo[] = [];
  readonly #byName = new Map<string, NodeInfo>();
  /** Where each known pod is. */
  readonly #placed = new Map<string, { info: PodInfo; node: string; assumed: boolean }>();
  /** Pods of nodes that are not there (yet). */
  readonly #homeless = new Map<string, Map<string, PodInfo>>();
  readonly #counters = new Map<string, Counter>();
  readonly #terms: Record<TermKind, Map<string, TermHolders>> = {
    antiAffinity: new Map(),
    affinity: new Map(),
    preferredAffinity: new Map(),
    preferredAntiAffinity: new Map(),
  };
  /** Nodes that hold an image, by its name. */
  readonly #imageNodes = new Map<string, number>();
  /** Pods that were promised a node by preemption, by node; and by pod, where that is. */
  readonly #promises = new Map<string, Map<string, PodInfo>>();
  readonly #promised = new Map<string, string>();
  /** The nodes that changed last, and how many changes there were before them. */
  #changed: NodeInfo[] = [];
  #forgotten = 0;

  node(name: string): NodeInfo | undefined {
    return this.#byName.get(name);
  }

  /** How much it holds, as `scheduler_cache_size` tells it. */
  sizes(): Record<"nodes" | "pods" | "assumed_pods", number> {
    let assumed = 0;
    for (const placed of this.#placed.values()) if (placed.assumed) assumed++;
    return { nodes: this.nodes.length, pods: this.#placed.size, assumed_pods: assumed };
  }

  /** Where a pod is (bound or assumed). */
  placeOf(uid: string): string | undefined {
    return this.#placed.get(uid)?.node;
  }

  /** How many changes there have been: of nodes, of what is on them, and of what they are promised to. */
  get changes(): number {
    return this.#forgotten + this.#changed.length;
  }

  /** The nodes that changed after so many changes; undefined: any may have, and others may be there. */
  changedSince(changes: number): readonly NodeInfo[] | undefined {
    return changes < this.#forgotten ? undefined : this.#changed.slice(changes - this.#forgotten);
  }

  /** Takes a node in, or its new version. Tells whether it is new, changed in what matters, or not. */
  setNode(node: Node): "new" | "changed" | "same" {
    const name = node.metadata.name;
    const known = this.#byName.get(name);
    const labels = node.metadata.labels ?? {};
    if (known) {
      const same = sameForScheduling(known.node, node);
      if (!same) {
        if (!sameRecord(known.labels, labels)) this.#relabel(known, labels);
        this.#countImages(known, -1);
        fillNode(known, node);
        this.#touch(known);
        this.#countImages(known, 1);
      }
      known.node = node;
      return same ? "same" : "changed";
    }
    const info: NodeInfo = {
      name,
      index: this.nodes.length,
      node,
      labels,
      taints: [],
      unschedulable: false,
      allocatable: noAmounts(),
      podsMax: 0,
      requested: noAmounts(),
      nonZeroCpu: 0,
      nonZeroMemory: 0,
      pods: new Map(),
      ports: new Map(),
      images: new Map(),
    };
    fillNode(info, node);
    this.#countImages(info, 1);
    this.nodes.push(info);
    this.#byName.set(name, info);
    for (const pod of this.#homeless.get(name)?.values() ?? []) this.#add(info, pod);
    this.#homeless.delete(name);
    this.#forgetChanges();
    return "new";
  }

  removeNode(name: string): void {
    const info = this.#byName.get(name);
    if (!info) return;
    const pods = new Map(info.pods);
    for (const pod of pods.values()) this.#subtract(info, pod);
    if (pods.size > 0) this.#homeless.set(name, pods);
    this.#countImages(info, -1);
    this.#byName.delete(name);
    this.nodes.splice(info.index, 1);
    for (let i = info.index; i < this.nodes.length; i++) this.nodes[i].index = i;
    this.#forgetChanges();
  }

  /** Puts a pod on a node: `assumed` until the API says so. */
  place(pod: PodInfo, nodeName: string, assumed: boolean): void {
    const known = this.#placed.get(pod.uid);
    if (known) {
      if (known.node === nodeName && assumed) return;
      this.#unplace(known.info, known.node);
    }
    this.#placed.set(pod.uid, { info: pod, node: nodeName, assumed });
    const node = this.#byName.get(nodeName);
    if (node) {
      this.#add(node, pod);
      this.#touch(node);
    } else {
      const homeless = this.#homeless.get(nodeName) ?? new Map();
      this.#homeless.set(nodeName, homeless.set(pod.uid, pod));
    }
  }

  /** Forgets a pod. Returns what was known of it. */
  remove(uid: string): PodInfo | undefined {
    const known = this.#placed.get(uid);
    if (!known) return undefined;
    this.#placed.delete(uid);
    this.#unplace(known.info, known.node);
    return known.info;
  }

  /** Room is made on a node for a pod; it may be promised one node only. */
  promise(pod: PodInfo, nodeName: string): void {
    this.withdraw(pod.uid);
    const pods = this.#promises.get(nodeName) ?? new Map<string, PodInfo>();
    this.#promises.set(nodeName, pods.set(pod.uid, pod));
    this.#promised.set(pod.uid, nodeName);
    this.#touch(this.#byName.get(nodeName));
  }

  /** Takes a promise back, if there is one. */
  withdraw(uid: string): void {
    const nodeName = this.#promised.get(uid);
    if (nodeName === undefined) return;
    this.#promised.delete(uid);
    const pods = this.#promises.get(nodeName)!;
    pods.delete(uid);
    if (pods.size === 0) this.#promises.delete(nodeName);
    this.#touch(this.#byName.get(nodeName));
  }

  /** The pods that were promised a node. */
  promisesOf(nodeName: string): ReadonlyMap<string, PodInfo> | undefined {
    return this.#promises.size === 0 ? undefined : this.#promises.get(nodeName);
  }

  /** The node that a pod was promised. */
  promisedTo(uid: string): NodeInfo | undefined {
    const nodeName = this.#promised.get(uid);
    return nodeName === undefined ? undefined : this.#byName.get(nodeName);
  }

  /**
   * Runs `question` as if some pods were not on their node and others were. Everything is put back before
   * it returns. This is how preemption and nominated pods ask "what if".
   */
  supposing<R>(
    node: NodeInfo,
    without: readonly PodInfo[],
    plus: readonly PodInfo[],
    question: () => R,
  ): R {
    for (const pod of without) this.#subtract(node, pod);
    for (const pod of plus) this.#add(node, pod);
    try {
      return question();
    } finally {
      for (const pod of plus) this.#subtract(node, pod);
      for (const pod of without) this.#add(node, pod);
    }
  }

  /**
   * Asks a question with some pods thought away from their node; `back` thinks one of them back, `off` away again.
   * All are back when it has been answered.
   */
  without<R>(
    node: NodeInfo,
    pods: readonly PodInfo[],
    question: (hands: { back(pod: PodInfo): void; off(pod: PodInfo): void }) => R,
  ): R {
    const away = new Set<PodInfo>();
    const off = (pod: PodInfo) => {
      this.#subtract(node, pod);
      away.add(pod);
    };
    const back = (pod: PodInfo) => {
      this.#add(node, pod);
      away.delete(pod);
    };
    for (const pod of pods) off(pod);
    try {
      return question({ back, off });
    } finally {
      for (const pod of away) this.#add(node, pod);
    }
  }

  /** The counter of a question, made at its first use. Equal ids must mean equal questions. */
  counter(id: string, matches: (pod: PodInfo) => boolean): Counter {
    const known = this.#counters.get(id);
    if (known) {
      this.#counters.delete(id);
      this.#counters.set(id, known);
      return known;
    }
    const counter: Counter = { matches, byNode: new Map(), byTopology: new Map() };
    for (const node of this.nodes) {
      let count = 0;
      for (const pod of node.pods.values()) if (matches(pod)) count++;
      if (count > 0) counter.byNode.set(node.name, count);
    }
    this.#counters.set(id, counter);
    if (this.#counters.size > COUNTERS_MAX) {
      this.#counters.delete(this.#counters.keys().next().value!);
    }
    return counter;
  }

  /** A counter summed by the values of a topology key. */
  byTopology(counter: Counter, key: string): ReadonlyMap<string, number> {
    const known = counter.byTopology.get(key);
    if (known) return known;
    const sums = new Map<string, number>();
    for (const [name, count] of counter.byNode) {
      const value = this.#byName.get(name)?.labels[key];
      if (value !== undefined) sums.set(value, (sums.get(value) ?? 0) + count);
    }
    counter.byTopology.set(key, sums);
    return sums;
  }

  /** The distinct terms of one kind that pods on nodes carry. */
  termHolders(kind: TermKind): ReadonlyMap<string, TermHolders> {
    return this.#terms[kind];
  }

  /** How many nodes hold an image. */
  nodesWithImage(image: string): number {
    return this.#imageNodes.get(image) ?? 0;
  }

  #unplace(pod: PodInfo, nodeName: string): void {
    const node = this.#byName.get(nodeName);
    if (node?.pods.has(pod.uid)) {
      this.#subtract(node, node.pods.get(pod.uid)!);
      this.#touch(node);
    }
    this.#homeless.get(nodeName)?.delete(pod.uid);
  }

  #touch(node: NodeInfo | undefined): void {
    if (!node) return;
    this.#changed.push(node);
    if (this.#changed.length < 2 * CHANGES_MAX) return;
    this.#changed.splice(0, CHANGES_MAX);
    this.#forgotten += CHANGES_MAX;
  }

  /** Nodes have come or gone: what was found out about all of them holds no longer. */
  #forgetChanges(): void {
    this.#forgotten = this.changes + 1;
    this.#changed = [];
  }

  #add(node: NodeInfo, pod: PodInfo): void {
    node.pods.set(pod.uid, pod);
    this.#account(node, pod, 1);
  }

  #subtract(node: NodeInfo, pod: PodInfo): void {
    node.pods.delete(pod.uid);
    this.#account(node, pod, -1);
  }

  #account(node: NodeInfo, pod: PodInfo, sign: 1 | -1): void {
    addAmounts(node.requested, pod.request, sign);
    node.nonZeroCpu += sign * pod.nonZeroCpu;
    node.nonZeroMemory += sign * pod.nonZeroMemory;
    for (const port of pod.hostPorts) countPort(node, port, sign);
    if (pod.pod.spec.affinity) this.#countTerms(node, pod, sign);
    if (this.#counters.size === 0) return;
    // A pod on its way out is not counted by spreading and affinity's questions only if they say so.
    for (const counter of this.#counters.values()) {
      if (!counter.matches(pod)) continue;
      bump(counter.byNode, node.name, sign);
      for (const [key, sums] of counter.byTopology) {
        const value = node.labels[key];
        if (value !== undefined) bump(sums, value, sign);
      }
    }
  }

  #countTerms(node: NodeInfo, pod: PodInfo, sign: 1 | -1): void {
    for (const kind of TERM_KINDS) {
      for (const term of pod[kind]) {
        const holders = this.#terms[kind].get(term.id) ?? { term, counts: new Map(), pods: 0 };
        holders.pods += sign;
        if (holders.pods === 0) this.#terms[kind].delete(term.id);
        else this.#terms[kind].set(term.id, holders);
        const value = node.labels[term.topologyKey];
        if (value !== undefined) bump(holders.counts, value, sign);
      }
    }
  }

  /** A node's labels changed: its pods leave their topology values and join the new ones. */
  #relabel(node: NodeInfo, labels: Readonly<Record<string, string>>): void {
    const pods = [...node.pods.values()];
    for (const pod of pods) this.#subtract(node, pod);
    node.labels = labels;
    for (const pod of pods) this.#add(node, pod);
  }

  #countImages(node: NodeInfo, sign: 1 | -1): void {
    for (const image of node.images.keys()) bump(this.#imageNodes, image, sign);
  }
}

function bump<K>(counts: Map<K, number>, key: K, by: number): void {
  const count = (counts.get(key) ?? 0) + by;
  if (count === 0) counts.delete(key);
  else counts.set(key, count);
}

function countPort(node: NodeInfo, port: PodInfo["hostPorts"][number], sign: 1 | -1): void {
  const key = `${port.protocol}/${port.port}`;
  const addresses = node.ports.get(key) ?? new Map<string, number>();
  bump(addresses, port.ip, sign);
  if (addresses.size === 0) node.ports.delete(key);
  else node.ports.set(key, addresses);
}

function fillNode(info: NodeInfo, node: Node): void {
  info.labels = node.metadata.labels ?? {};
  info.taints = node.spec?.taints ?? [];
  info.unschedulable = node.spec?.unschedulable === true;
  const allocatable = node.status?.allocatable ?? {};
  info.allocatable = amountsOf(allocatable);
  info.podsMax = allocatable.pods === undefined ? 0 : parseQuantity(allocatable.pods).value();
  info.images = new Map();
  for (const image of node.status?.images ?? []) {
    for (const name of image.names ?? []) info.images.set(name, image.sizeBytes ?? 0);
  }
}

/** Heartbeats change a node often in ways that no pod's schedulability depends on. */
function sameForScheduling(a: Node, b: Node): boolean {
  return a.spec?.unschedulable === b.spec?.unschedulable &&
    sameJson(a.spec?.taints, b.spec?.taints) &&
    sameJson(a.status?.declaredFeatures, b.status?.declaredFeatures) &&
    sameRecord(a.metadata.labels ?? {}, b.metadata.labels ?? {}) &&
    sameRecord(a.status?.allocatable ?? {}, b.status?.allocatable ?? {}) &&
    a.status?.images?.length === b.status?.images?.length;
}

function sameRecord(
  a: DeepReadonly<Record<string, unknown>>,
  b: DeepReadonly<Record<string, unknown>>,
): boolean {
  if (a === b) return true;
  let count = 0;
  for (const key in a) {
    if (a[key] !== b[key]) return false;
    count++;
  }
  for (const _ in b) count--;
  return count === 0;
}

function sameJson(a: unknown, b: unknown): boolean {
  return a === b || JSON.stringify(a) === JSON.stringify(b);
}

/** A namespace's labels from its object. */
export function labelsOf(
  object: DeepReadonly<KubeObject> | undefined,
): Readonly<Record<string, string>> {
  return object?.metadata.labels ?? {};
}
