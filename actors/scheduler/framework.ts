/**
 * The scheduler's vocabulary: what a pod asks for, what a node has, what a plugin is.
 *
 * Plugins keep upstream's names and extension points (kube-scheduler's framework, v1.36): a pod passes
 * `preEnqueue` before it may be tried, `preFilter` once per cycle, `filter` once per node, `score` and
 * `normalize` over the nodes that are left, `reserve` on the chosen one, `preBind` before the binding is
 * written. A plugin that has nothing to say about a pod answers `skip` in `preFilter` or `preScore` and
 * costs nothing per node: that is where a plain pod's speed comes from.
 */
import type { DeepReadonly, KubeObject } from "../../api/machinery/types.ts";
import type { Taint, Toleration } from "../../api/machinery/taints.ts";
import type { Cluster } from "./cluster.ts";
import type { Steps } from "./steps.ts";

export type Pod = DeepReadonly<KubeObject>;
export type Node = DeepReadonly<KubeObject>;

/** Amounts of resources: CPU in milli-cores, memory and storage in bytes, all others as counts. */
export interface Amounts {
  cpu: number;
  memory: number;
  ephemeral: number;
  /** Extended resources, huge pages and the like, by name. */
  scalars: Map<string, number> | undefined;
}

/** A port a pod takes on its node's own addresses. */
export interface HostPort {
  ip: string;
  protocol: string;
  port: number;
}

/** A pod (anti-)affinity term, compiled. Equal terms have equal ids, so that pods of one workload share. */
export interface Term {
  id: string;
  topologyKey: string;
  weight: number;
  /** Whether a pod is what the term speaks of: its namespace and its labels. */
  matches(pod: PodInfo): boolean;
}

/** What the scheduler knows of a pod, computed once when the pod is seen. */
export interface PodInfo {
  readonly pod: Pod;
  readonly uid: string;
  /** `namespace/name`. */
  readonly key: string;
  readonly namespace: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly priority: number;
  readonly request: Amounts;
  /** Requests with upstream's minimum for containers that name none (100m, 200 MiB), for scoring. */
  readonly nonZeroCpu: number;
  readonly nonZeroMemory: number;
  readonly hostPorts: readonly HostPort[];
  readonly claims: readonly string[];
  readonly affinity: readonly Term[];
  readonly antiAffinity: readonly Term[];
  readonly preferredAffinity: readonly Term[];
  readonly preferredAntiAffinity: readonly Term[];
  readonly terminating: boolean;
}

/** A node as the scheduler keeps it: never rebuilt, only told of changes. */
export interface NodeInfo {
  readonly name: string;
  /** Its place among the cluster's nodes. */
  index: number;
  node: Node;
  labels: Readonly<Record<string, string>>;
  taints: readonly DeepReadonly<Taint>[];
  unschedulable: boolean;
  allocatable: Amounts;
  podsMax: number;
  readonly requested: Amounts;
  nonZeroCpu: number;
  nonZeroMemory: number;
  readonly pods: Map<string, PodInfo>;
  /** Host ports in use: `protocol/port` to addresses, each with how many pods hold it. */
  readonly ports: Map<string, Map<string, number>>;
  /** Bytes by image name. */
  images: Map<string, number>;
}

export type { Taint, Toleration };

/** Why a pod does not go on a node. Unresolvable: no eviction there could help. */
export interface Refusal {
  plugin: string;
  reasons: readonly string[];
  unresolvable?: boolean;
}

/**
 * Things that happen in the cluster and may make a pod schedulable, as fine as upstream's queueing hints tell them apart.
 * `Own…`: of the waiting pod itself; `Pod…`: of pods that have a node.
 */
export type ClusterEvent =
  | "NodeAdd"
  | "NodeDelete"
  | "NodeAllocatable"
  | "NodeLabels"
  | "NodeTaints"
  | "NodeFeatures"
  | "PodAdd"
  | "PodLabels"
  | "PodScaleDown"
  | "PodDelete"
  | "OwnLabels"
  | "OwnScaleDown"
  | "OwnTolerations"
  | "OwnGates"
  | "OwnClaims"
  | "VolumeClaim"
  | "Volume"
  | "StorageClass"
  | "CSINode"
  | "CSICapacity"
  | "VolumeDetached"
  | "ResourceClaim"
  | "DeviceClass"
  | "ResourceSlice"
  | "Custom";

/** Something that happened, with what it happened to, before and after. */
export interface Happening {
  readonly events: readonly ClusterEvent[];
  readonly node?: NodeInfo;
  /** Absent: the node is new. */
  readonly oldNode?: Node;
  readonly pod?: PodInfo;
  readonly oldPod?: PodInfo;
  /** Anything else; absent: it is gone. */
  readonly object?: DeepReadonly<KubeObject>;
  readonly oldObject?: DeepReadonly<KubeObject>;
}

/** What a plugin is given for one pod in one cycle. `state` is its own, from preFilter to preBind. */
export interface Cycle {
  readonly pod: PodInfo;
  readonly cluster: Cluster;
  /** What each plugin computed for this pod, by plugin name. */
  readonly state: Map<string, unknown>;
  /** Set by a `preFilter` that knows that no others will do: only these are looked at. */
  only?: { readonly plugin: string; readonly nodes: ReadonlySet<string> };
}

/** A score from 0 to this, after `normalize`. */
export const NODE_SCORE_MAX = 100;

/** One scheduling plugin. All but `preBind` are synchronous: they read caches only. */
export interface Plugin {
  readonly name: string;
  /** Weight of its scores; absent for plugins that do not score. */
  readonly weight?: number;
  /** A refusal keeps the pod out of the queue until the pod itself changes. */
  preEnqueue?(pod: PodInfo): Refusal | undefined;
  /** Once per cycle. `skip`: `filter` is not called. A refusal: no node will do. */
  preFilter?(cycle: Cycle): "skip" | Refusal | undefined | void;
  filter?(cycle: Cycle, node: NodeInfo): Refusal | undefined;
  /**
   * All that `filter` reads of a pod about which nothing was computed beforehand, as a text: what it says of one pod
   * on an unchanged node, it says of all with that text. Absent: that cannot be told.
   */
  reads?(pod: PodInfo): string;
  /** What would make `filter` pass on a node that it refuses, for people: see `explain.ts`. */
  remedy?(cycle: Cycle, node: NodeInfo): string | undefined;
  /** Once per cycle, with the nodes that passed. `skip`: no scores from this plugin. */
  preScore?(cycle: Cycle, nodes: readonly NodeInfo[]): "skip" | undefined | void;
  score?(cycle: Cycle, node: NodeInfo): number;
  /** Brings raw scores into 0..NODE_SCORE_MAX, in place; absent: they already are. */
  normalize?(cycle: Cycle, scores: Float64Array, nodes: readonly NodeInfo[]): void;
  /** Takes what the pod needs on the node beside its resources. */
  reserve?(cycle: Cycle, node: NodeInfo): Refusal | undefined;
  unreserve?(cycle: Cycle, node: NodeInfo): void;
  /** No node would do: whom to evict from where, or why nothing can be done, in the words of the event. */
  postFilter?(pod: PodInfo, diagnosis: Diagnosis): readonly Candidate[] | string;
  /** The same in steps, for those who are in no hurry. */
  postFilterInSteps?(pod: PodInfo, diagnosis: Diagnosis): Steps<readonly Candidate[] | string>;
  /** Holds the pod's binding until it resolves. Rejects: the pod is tried again. */
  permit?(cycle: Cycle, node: NodeInfo): Promise<void>;
  /** Writes and waits for what must be true before the pod is bound. Rejects: the pod is tried again. */
  preBind?(cycle: Cycle, node: NodeInfo): Promise<void>;
  /** Binds the pod; `skip` leaves it to the next plugin. */
  bind?(cycle: Cycle, node: NodeInfo): Promise<"skip" | void>;
  /** Hears that the pod is bound. */
  postBind?(cycle: Cycle, node: NodeInfo): void;
  /** Whether a pod is tried before another one that waits as well; all profiles share one order. */
  before?(a: PodInfo, b: PodInfo): boolean;
  /** The events that may help a pod that this plugin refused. */
  readonly wakesOn: readonly ClusterEvent[];
  /** Whether what happened, which has one of these events, could really help (queueing hint). Default: yes. */
  hint?(pod: PodInfo, happening: Happening): boolean;
}

/** A node and who must leave it. */
export interface Candidate {
  node: NodeInfo;
  victims: PodInfo[];
  /** How many victims break their disruption budget. */
  violations: number;
  /** See `bestOf`: worked out when it is first compared. */
  harm?: Harm;
}

/** What candidates are compared by. */
export interface Harm {
  /** The highest priority of a victim. */
  highest: number;
  /** Upstream lifts priorities above zero before it sums them, so that fewer negative ones still win. */
  sum: number;
  /** When the first of those with the highest priority started. */
  earliest: string;
}

/** The outcome of one try. */
export interface Diagnosis {
  nodes: number;
  /** By node name; absent in it: never evaluated. Good for this turn only: it may be kept up by what changes. */
  refusals: ReadonlyMap<string, Refusal>;
  /** See `tally`, where that is known already. */
  counts?: ReadonlyMap<Refusal, number>;
  /** A preFilter plugin's refusal for all nodes. */
  all?: Refusal;
  /** That of the nodes that were not looked at. */
  others?: Refusal & { nodes: number };
  plugins: ReadonlySet<string>;
  /** What preemption said. */
  postFilter?: string;
  /** Preemption was not tried: a promised node, if there is one, stays promised. */
  untried?: true;
  /** It is only asked what could be done: nothing is to be done about it. */
  asked?: true;
}

/** What is said of the nodes that a plugin kept from being looked at. */
export function otherRefusal({ plugin }: { plugin: string }): Refusal {
  const reasons = [`node(s) didn't satisfy plugin(s) [${plugin}]`];
  return { plugin, reasons, unresolvable: true };
}

/** How many nodes refused in the same words. */
export function tally(
  { refusals, counts }: Pick<Diagnosis, "refusals" | "counts">,
): ReadonlyMap<Refusal, number> {
  return counts ?? tallyOf(refusals.values());
}

/** How many there are of each. */
export function tallyOf(refusals: Iterable<Refusal>): Map<Refusal, number> {
  const counts = new Map<Refusal, number>();
  for (const refusal of refusals) counts.set(refusal, (counts.get(refusal) ?? 0) + 1);
  return counts;
}

/** Upstream's message: `0/5 nodes are available: 2 Insufficient cpu, 3 node(s) were unschedulable.` */
export function fitErrorText(diagnosis: Omit<Diagnosis, "plugins">): string {
  if (diagnosis.nodes === 0) return "no nodes available to schedule pods";
  let text = `0/${diagnosis.nodes} nodes are available:`;
  if (diagnosis.all) {
    text += ` ${diagnosis.all.reasons.join(", ")}.`;
  } else {
    const counts = new Map<string, number>();
    for (const [refusal, nodes] of tally(diagnosis)) {
      for (const reason of refusal.reasons) counts.set(reason, (counts.get(reason) ?? 0) + nodes);
    }
    const { reasons = [], nodes = 0 } = diagnosis.others ?? {};
    for (const reason of reasons) counts.set(reason, (counts.get(reason) ?? 0) + nodes);
    const parts = [...counts].map(([reason, count]) => `${count} ${reason}`).sort();
    if (parts.length > 0) text += ` ${parts.join(", ")}.`;
  }
  if (diagnosis.postFilter) text += ` ${diagnosis.postFilter}`;
  return text;
}

/** Scales raw scores so that the greatest becomes NODE_SCORE_MAX; `reverse` makes the smallest the best. */
export function normalizeToMax(scores: Float64Array, reverse: boolean): void {
  let max = 0;
  for (let i = 0; i < scores.length; i++) if (scores[i] > max) max = scores[i];
  if (max === 0) {
    if (reverse) scores.fill(NODE_SCORE_MAX);
    return;
  }
  for (let i = 0; i < scores.length; i++) {
    const score = Math.trunc((NODE_SCORE_MAX * scores[i]) / max);
    scores[i] = reverse ? NODE_SCORE_MAX - score : score;
  }
}
