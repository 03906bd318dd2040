/**
 * Why a pod is where it is, or is nowhere: the record of its last attempt, kept small enough to be always on, and the
 * whole matrix of filters and scores, computed from the cluster's picture when somebody asks.
 *
 * The two may differ, since time has passed between them: `changes` names every reason whose count is another one now.
 * `wouldFit` lists what would let the pod on a node, the least first: nodes that a single plugin refuses, and whom
 * preemption could evict. Asked of a pod that has a node, everything is told as if it were to be placed anew.
 */
import type { Matrix, NodeVerdict } from "./algorithm.ts";
import type { RemedyFact } from "../../api/client/plesio.ts";
import { formatTime } from "../../api/machinery/time.ts";
import {
  type Candidate,
  type Diagnosis,
  fitErrorText,
  type Plugin,
  type Pod,
  type PodInfo,
  type Refusal,
  tally,
} from "./framework.ts";
import { remedyText } from "./remedies.ts";
import type { Steps } from "./steps.ts";

/** Attempts that are remembered; the oldest goes first. */
export const ATTEMPTS_MAX = 20_000;
/** Nodes that an explanation lists one by one: those that would do, then those nearest to it. */
export const NODES_MAX = 1_000;
/** Remedies and, for each, nodes that are named. */
export const REMEDIES_MAX = 20;
export const REMEDY_NODES_MAX = 5;
/** Nodes whose remedies are counted in one step. */
const REMEDY_STEP = 256;

/** How many nodes a plugin refused for one reason. */
export interface ReasonCount {
  plugin: string;
  reason: string;
  nodes: number;
}

/** What is remembered of a pod's last attempt. */
export interface Attempt {
  /** Wall time, in ms. */
  at: number;
  result: "Scheduled" | "Unschedulable" | "Error";
  message?: string;
  node?: string;
  evaluated: number;
  feasible: number;
  reasons?: readonly ReasonCount[];
}

/** An attempt, and how many there have been. */
type Counted = Attempt & { attempts: number };

/** The last attempts by pod uid. */
export class Attempts {
  readonly #byUid = new Map<string, Counted>();

  get size(): number {
    return this.#byUid.size;
  }

  get(uid: string): Counted | undefined {
    return this.#byUid.get(uid);
  }

  note(uid: string, attempt: Attempt): void {
    const attempts = (this.#byUid.get(uid)?.attempts ?? 0) + 1;
    this.#byUid.delete(uid);
    this.#byUid.set(uid, { ...attempt, attempts });
    if (this.#byUid.size > ATTEMPTS_MAX) {
      this.#byUid.delete(this.#byUid.keys().next().value!);
    }
  }

  forget(uid: string): void {
    this.#byUid.delete(uid);
  }
}

/** A diagnosis as counts: a few entries whatever the number of nodes. */
export function reasonCounts(
  { all, others, ...refused }: Pick<Diagnosis, "all" | "others" | "refusals" | "counts">,
) {
  const counts = new Map<string, ReasonCount>();
  const add = ({ plugin, reasons }: Refusal, nodes: number) => {
    for (const reason of reasons) {
      const key = `${plugin}\n${reason}`;
      const known = counts.get(key);
      if (known) known.nodes += nodes;
      else counts.set(key, { plugin, reason, nodes });
    }
  };
  if (all) add(all, 0);
  if (others) add(others, others.nodes);
  for (const [refusal, nodes] of tally(refused)) add(refusal, nodes);
  return [...counts.values()].sort((a, b) => b.nodes - a.nodes);
}

/** What would let a pod on some nodes. */
export interface Remedy {
  plugin: string;
  what: string;
  /** The same as facts; absent where a plugin of the user's own has only words. */
  facts?: readonly RemedyFact[];
  nodes: number;
  /** Some of them. */
  named: string[];
}

/** What is told of a pod. */
export interface Explanation {
  apiVersion: "plesio.dev/v1";
  kind: "PodExplanation";
  metadata: { name: string; namespace: string; uid: string };
  schedulerName: string;
  /** Where it is, or was promised to be. */
  nodeName?: string;
  nominatedNodeName?: string;
  /** Where it waits: active, backoff, unschedulable, gated; absent when it waits no more. */
  queue?: string;
  lastAttempt?: Omit<Counted, "at"> & { time: string };
  now: {
    message: string;
    nodes: number;
    feasible: number;
    reasons: ReasonCount[];
    matrix: NodeVerdict[];
    /** Nodes that the matrix leaves out. */
    leftOut?: number;
  };
  /** What differs between the last attempt and now. */
  changes?: string[];
  wouldFit: Remedy[];
}

/** What is known of a pod, as it is told. */
export function explanationOf(
  pod: Pod,
  { now, wouldFit, attempt, nodeName, queue }:
    & Pick<Explanation, "now" | "wouldFit" | "nodeName" | "queue">
    & { attempt?: Counted },
): Explanation {
  const { uid, name, namespace } = pod.metadata;
  const nominated = pod.status?.nominatedNodeName as string | undefined;
  const explanation: Explanation = {
    apiVersion: "plesio.dev/v1",
    kind: "PodExplanation",
    metadata: { name, namespace: namespace!, uid },
    schedulerName: pod.spec.schedulerName ?? "default-scheduler",
    ...(nodeName !== undefined && { nodeName }),
    ...(nominated && { nominatedNodeName: nominated }),
    ...(queue && { queue }),
    now,
    wouldFit,
  };
  if (!attempt) return explanation;
  const { at, ...known } = attempt;
  explanation.lastAttempt = { time: formatTime(at), ...known };
  const changes = known.result === "Unschedulable"
    ? changesOf(known.reasons ?? [], now.reasons)
    : [];
  if (changes.length > 0) explanation.changes = changes;
  return explanation;
}

/** A matrix, and what would let the pod in: eviction and lifted gates are looked for, too. */
export function* tell(
  info: PodInfo,
  matrix: Matrix,
  { plugins, preemptable }: {
    plugins: readonly Plugin[];
    preemptable(diagnosis: Diagnosis): Steps<Candidate | string>;
  },
): Steps<Pick<Explanation, "now" | "wouldFit">> {
  const diagnosis = diagnosisOf(matrix);
  yield;
  const now = tellMatrix(matrix, diagnosis);
  yield;
  const wouldFit = yield* remediesOf(matrix);
  const candidate = now.feasible > 0 || now.nodes === 0
    ? ""
    : yield* preemptable({ ...diagnosis, asked: true });
  if (typeof candidate === "object") {
    const pods = candidate.victims.map((victim) => victim.key).join(", ");
    wouldFit.unshift({
      plugin: "DefaultPreemption",
      ...told([{ what: "eviction", pods }]),
      nodes: 1,
      named: [candidate.node.name],
    });
  }
  for (const plugin of plugins) {
    const gate = plugin.preEnqueue?.(info);
    if (!gate) continue;
    wouldFit.unshift({ plugin: gate.plugin, ...told([not(gate)]), nodes: now.nodes, named: [] });
  }
  return { now, wouldFit };
}

/** What an attempt would have found: it stops at the first refusal of a node. */
function diagnosisOf({ all, nodes }: Matrix): Diagnosis {
  const refused = nodes.filter((n) => n.refusals.length > 0);
  return {
    nodes: nodes.length,
    refusals: new Map(all.length > 0 ? [] : refused.map((n) => [n.node, n.refusals[0]])),
    all: all[0],
    plugins: new Set(),
  };
}

/** The matrix, in words: its message is upstream's of an attempt made now. */
function tellMatrix({ all, nodes }: Matrix, diagnosis: Diagnosis): Explanation["now"] {
  const feasible = all.length > 0 ? 0 : nodes.filter((n) => n.refusals.length === 0).length;
  return {
    message: feasible > 0
      ? `${feasible}/${nodes.length} nodes are available.`
      : fitErrorText(diagnosis),
    nodes: nodes.length,
    feasible,
    reasons: reasonCounts(diagnosis),
    matrix: nearestFirst(nodes).slice(0, NODES_MAX),
    ...(nodes.length > NODES_MAX && { leftOut: nodes.length - NODES_MAX }),
  };
}

/** Those that the fewest plugins refuse come first, and of those that would do, the best. */
function nearestFirst(nodes: readonly NodeVerdict[]): NodeVerdict[] {
  const byRefusals: NodeVerdict[][] = [];
  for (const node of nodes) (byRefusals[node.refusals.length] ??= []).push(node);
  byRefusals[0]?.sort((a, b) => (b.total ?? 0) - (a.total ?? 0));
  return byRefusals.flat();
}

/** The reasons whose counts differ, as `Insufficient cpu: 3 nodes then, 1 now`. */
function changesOf(
  then: readonly ReasonCount[],
  now: readonly ReasonCount[],
): string[] {
  const counts = new Map<string, [number, number]>();
  for (const { reason, nodes } of then) {
    counts.set(reason, [(counts.get(reason)?.[0] ?? 0) + nodes, 0]);
  }
  for (const { reason, nodes } of now) {
    const [before, after] = counts.get(reason) ?? [0, 0];
    counts.set(reason, [before, after + nodes]);
  }
  return [...counts].filter(([, [before, after]]) => before !== after)
    .map(([reason, [before, after]]) => `${reason}: ${before} nodes then, ${after} now`);
}

const not = ({ reasons }: Refusal): RemedyFact => ({ what: "not", reason: reasons.join(", ") });

/** Facts, and in words. */
const told = (facts: readonly RemedyFact[]) => ({ what: remedyText(facts), facts });

/** What would make the pod fit somewhere: the nodes that the fewest plugins refuse, by what they lack. */
function* remediesOf({ all, nodes }: Matrix): Steps<Remedy[]> {
  if (all.length > 0) {
    return all.map((refusal) => ({
      plugin: refusal.plugin,
      ...told([not(refusal)]),
      nodes: nodes.length,
      named: [],
    }));
  }
  const least = nodes.reduce((least, n) => Math.min(least, n.refusals.length), Infinity);
  if (least === 0 || nodes.length === 0) return [];
  const found = new Map<string, Remedy>();
  for (const [i, { node, refusals }] of nodes.entries()) {
    if (i % REMEDY_STEP === REMEDY_STEP - 1) yield;
    if (refusals.length !== least) continue;
    const plugin = refusals.map((refusal) => refusal.plugin).join(", ");
    const said = refusals.map((refusal) => refusal.remedy ? refusal : told([not(refusal)]));
    const what = said.map((one) => "what" in one ? one.what : one.remedy).join("; and ");
    const facts = said.every((one) => one.facts) && { facts: said.flatMap((one) => one.facts!) };
    const known = found.get(what) ?? { plugin, what, ...facts, nodes: 0, named: [] };
    known.nodes++;
    if (known.named.length < REMEDY_NODES_MAX) known.named.push(node);
    found.set(what, known);
  }
  return [...found.values()].sort((a, b) => b.nodes - a.nodes).slice(0, REMEDIES_MAX);
}
