/**
 * A pod's status as a function of what its node knows: phase, conditions and container statuses, in
 * the words and the order of upstream's kubelet (`pkg/kubelet/kubelet_pods.go`, `status/generate.go`).
 * Pure: the same facts give the same status, and times are carried over from the status before.
 */
import {
  containerNamed,
  type ContainerRecord,
  mayRestartAll,
  restartsAfter,
  restartsAll,
  UNSEEN_END,
} from "./container_record.ts";
import type { PodResize } from "./resizes.ts";
import { type Condition, timestamp } from "./types.ts";
import type { ContainerOf, ContainerState, ContainerStatus, Pod, PodStatus } from "./types.ts";

/** What the status is made of. */
export interface PodFacts {
  pod: Pod;
  records: readonly ContainerRecord[];
  /** The sandbox and its network are there. */
  sandboxReady: boolean;
  hostIPs: readonly string[];
  podIPs: readonly string[];
  startTime: string;
  now: number;
  /** Set when the node gave the pod up (deadline, eviction): it fails whatever its containers say. */
  failed?: { reason: string; message: string; refused?: boolean; disruption?: string };
  /** All containers have ended and none will be started again. */
  over: boolean;
  resize?: Pick<PodResize, "pending" | "granted">;
}

/** See the module's text. */
export function podStatus(facts: PodFacts): PodStatus {
  const { pod, records, now } = facts;
  const old = pod.status as PodStatus | undefined;
  const phase = phaseOf(facts);
  const status: PodStatus = { phase };
  if (pod.metadata.generation) status.observedGeneration = pod.metadata.generation;
  if (facts.failed) {
    status.reason = facts.failed.reason;
    status.message = facts.failed.message;
  }
  if (facts.failed?.refused) return refusedStatus(facts, status);
  status.conditions = conditionsOf(facts, phase, timestamp(now));
  if (facts.hostIPs.length) {
    status.hostIP = facts.hostIPs[0];
    status.hostIPs = facts.hostIPs.map((ip) => ({ ip }));
  }
  if (facts.podIPs.length) {
    status.podIP = facts.podIPs[0];
    status.podIPs = facts.podIPs.map((ip) => ({ ip }));
  }
  status.startTime = facts.startTime;
  const init: ContainerStatus[] = [],
    app: ContainerStatus[] = [],
    ephemeral: ContainerStatus[] = [];
  for (const record of records) {
    const list = record.kind === "app" ? app : record.kind === "ephemeral" ? ephemeral : init;
    // Nothing of a pod that is over waits for its next start any more.
    list.push(containerStatus(pod, facts.over ? { ...record, waiting: undefined } : record));
  }
  if (facts.over) {
    if (initialized(records)) endUnseen(app);
    // Of those that were still to come there is no sign that they have begun.
    const last = init.findLastIndex(({ state, lastState }) =>
      !state.waiting || lastState.terminated
    );
    endUnseen(init.slice(0, Math.max(last, 0) + 1));
  }
  if (init.length) status.initContainerStatuses = init;
  if (app.length) status.containerStatuses = app;
  if (ephemeral.length) status.ephemeralContainerStatuses = ephemeral;
  status.qosClass = old?.qosClass ?? qosClass(pod);
  // What others own stays: nominatedNodeName, resize, resource claims, the scheduler's reasons.
  for (const field of KEPT) if (old?.[field] !== undefined) status[field] = old[field];
  return status;
}

/** Of a pod that the node did not take there is nothing to tell but why. */
function refusedStatus({ pod, startTime }: PodFacts, status: PodStatus): PodStatus {
  const old = pod.status as PodStatus | undefined;
  const conditions = (old?.conditions ?? []).filter(({ type }) => !OWN.has(type));
  if (conditions.length) status.conditions = conditions;
  status.startTime = startTime;
  status.qosClass = old?.qosClass ?? qosClass(pod);
  return status;
}

const KEPT = [
  "nominatedNodeName",
  "resize",
  "resourceClaimStatuses",
  "extendedResourceClaimStatus",
  "allocatedResources",
  "resources",
] as const;

/** Of a pod that is over, what nobody has seen end counts as failed. */
function endUnseen(statuses: ContainerStatus[]): void {
  for (const status of statuses) {
    if (!status.state.terminated) status.state = { terminated: UNSEEN_END };
  }
}

/** The status of one container. */
function containerStatus(pod: Pod, record: ContainerRecord): ContainerStatus {
  const container = containerNamed(pod, record.name);
  const status: ContainerStatus = {
    name: record.name,
    state: stateOf(pod, record),
    lastState: record.last ? { terminated: record.last } : {},
    ready: record.phase === "running"
      ? record.ready
      : record.kind === "init" && record.phase === "exited" && record.end?.exitCode === 0,
    restartCount: record.restarts,
    image: record.image,
    imageID: record.imageId,
  };
  if (record.waiting && record.end && record.phase === "exited") {
    status.lastState = { terminated: record.end };
  }
  if (record.id) status.containerID = record.id;
  if (record.kind !== "ephemeral") status.started = record.phase === "running" && record.started;
  const resources = record.resources ?? container?.resources;
  if (resources?.requests && record.phase === "running") {
    status.allocatedResources = resources.requests as Record<string, string>;
    status.resources = resources as ContainerStatus["resources"];
  }
  if (container?.volumeMounts?.length) {
    const reaches = record.runtime?.recursiveReadOnly ?? false;
    status.volumeMounts = container.volumeMounts.map(({ name, mountPath, readOnly, ...mount }) => {
      if (!readOnly) return { name, mountPath };
      // What is in force, not what was asked for: `IfPossible` is no answer.
      const asked = (mount.recursiveReadOnly ?? "Disabled") !== "Disabled";
      const recursiveReadOnly = asked && reaches ? "Enabled" : "Disabled";
      return { name, mountPath, readOnly, recursiveReadOnly };
    });
  }
  return status;
}

function stateOf(pod: Pod, record: ContainerRecord): ContainerState {
  if (record.phase === "running") return { running: { startedAt: timestamp(record.startedAt) } };
  if (record.waiting) return { waiting: record.waiting };
  if (record.phase === "exited" && record.end) return { terminated: record.end };
  const reason = pod.spec.initContainers?.length ? "PodInitializing" : "ContainerCreating";
  return { waiting: { reason } };
}

/** The ready containers, the ones that count as initialised, and what a list of containers is doing. */
interface Tally {
  waiting: number;
  running: number;
  stopped: number;
  succeeded: number;
}

function tally(records: readonly ContainerRecord[]): Tally {
  const t = { waiting: 0, running: 0, stopped: 0, succeeded: 0 };
  for (const r of records) {
    if (r.kind !== "app") continue;
    if (r.phase === "running") t.running++;
    else if (r.phase === "exited" || r.last) {
      t.stopped++;
      if (r.end?.exitCode === 0) t.succeeded++;
    } else t.waiting++;
  }
  return t;
}

/** Whether an init container or sidecar lets the next ones start. */
export function letsPass(record: ContainerRecord): boolean {
  return record.kind === "sidecar"
    ? record.phase === "running" && record.started
    : record.phase === "exited" && record.end?.exitCode === 0;
}

/** Whether the app containers may run, or have run: once they have, init containers no longer matter. */
export function initialized(records: readonly ContainerRecord[]): boolean {
  let all = true;
  for (const r of records) {
    const begun = r.kind === "app" && !r.anew && (r.phase !== "absent" || r.restarts > 0);
    if (begun) return true;
    if ((r.kind === "init" || r.kind === "sidecar") && !letsPass(r)) all = false;
  }
  return all;
}

function phaseOf(facts: PodFacts): string {
  const { pod, records, over } = facts;
  const old = pod.status?.phase;
  if (old === "Succeeded" || old === "Failed") return old; // never left again
  if (facts.failed) return over ? "Failed" : old ?? "Pending";
  const policy = pod.spec.restartPolicy ?? "Always";
  // Those that are ended because all restart have not failed.
  const restarting = !over && records.some((r) => restartsAll(pod, r));
  const failedInit = !restarting &&
    records.some((r) =>
      r.kind === "init" && r.phase === "exited" && r.end!.exitCode !== 0 &&
      !restartsAfter(pod, containerNamed(pod, r.name)!, r.kind, r.end!.exitCode)
    );
  if (failedInit) return records.some((r) => r.phase === "running") ? "Pending" : "Failed";
  if (!initialized(records)) return over ? "Failed" : "Pending";
  const t = tally(records);
  if (over) return t.succeeded === t.stopped && t.waiting === 0 ? "Succeeded" : "Failed";
  if (t.waiting > 0) return "Pending";
  if (t.running > 0) return "Running";
  if (records.some((r) => r.kind === "sidecar" && r.phase === "running")) return "Running";
  if (t.stopped === 0) return "Pending";
  // What is not exited and does not run is being started once more.
  const again = records.some((r) =>
    r.kind === "app" &&
    (r.phase !== "exited" ||
      restartsAfter(pod, containerNamed(pod, r.name)!, r.kind, r.end!.exitCode))
  );
  if (again || policy === "Always") return "Running";
  return t.stopped === t.succeeded ? "Succeeded" : "Failed";
}

/** Says that what a pod asks for is not set aside for it. */
export const RESIZE_PENDING = "PodResizePending";
/** Says that what is set aside for a pod is not in force yet. */
export const RESIZE_IN_PROGRESS = "PodResizeInProgress";

/** The conditions that the kubelet owns. */
const OWN = new Set([
  "PodReadyToStartContainers",
  "Initialized",
  "Ready",
  "ContainersReady",
  "PodScheduled",
  "AllContainersRestarting",
  RESIZE_PENDING,
  RESIZE_IN_PROGRESS,
]);

/** Says that the node ended the pod, not its own doing. */
const DISRUPTION = "DisruptionTarget";

interface Finding {
  status: boolean;
  reason?: string;
  message?: string;
  /** Of the pod that it is about, where that is not the newest. */
  generation?: number;
}

function conditionsOf(facts: PodFacts, phase: string, now: string): Condition[] {
  const { pod, records } = facts;
  const old = (pod.status?.conditions ?? []) as Condition[];
  const containers = containersReady(records, phase);
  const make = (type: string, finding: Finding): Condition => {
    const before = old.find((c) => c.type === type);
    const generation = finding.generation ?? pod.metadata.generation;
    const status = finding.status ? "True" : "False";
    const condition: Condition = {
      type,
      ...(generation ? { observedGeneration: generation } : {}),
      status,
      lastProbeTime: null,
      lastTransitionTime: before?.status === status ? before.lastTransitionTime : now,
    };
    if (finding.reason) condition.reason = finding.reason;
    if (finding.message) condition.message = finding.message;
    return condition;
  };
  const conditions = [
    make("PodReadyToStartContainers", { status: facts.sandboxReady && !facts.over }),
    make("Initialized", podInitialized(records, phase, old)),
    make("Ready", podReady(pod, containers, old)),
    make("ContainersReady", containers),
    make("PodScheduled", { status: true }),
  ];
  if (mayRestartAll(pod)) {
    conditions.push(make("AllContainersRestarting", allRestarting(facts, phase)));
  }
  for (const [type, finding] of facts.over ? [] : resizes(facts)) {
    const condition = make(type, finding);
    const before = old.find((c) => c.type === type);
    // These count as new with each reason, though they are always True.
    if (before?.reason !== condition.reason) condition.lastTransitionTime = now;
    conditions.push(condition);
  }
  const disruption = facts.failed?.disruption;
  for (const condition of old) {
    const told = disruption && condition.type === DISRUPTION;
    if (!OWN.has(condition.type) && !told) conditions.push(condition);
  }
  if (disruption) {
    const reason = "TerminationByKubelet";
    conditions.push(make(DISRUPTION, { status: true, reason, message: disruption }));
  }
  return conditions;
}

function* resizes({ resize, records }: PodFacts): Generator<[string, Finding]> {
  if (resize?.pending) {
    const { reason, message, generation } = resize.pending;
    yield [RESIZE_PENDING, { status: true, reason, message, generation }];
  }
  if (resize?.granted === undefined) return;
  const generation = resize.granted || undefined;
  const refused = records.flatMap(({ resizeError = [] }) => resizeError);
  const why = refused.length > 0 ? { reason: "Error", message: refused.join(", ") } : {};
  yield [RESIZE_IN_PROGRESS, { status: true, generation, ...why }];
}

function podInitialized(
  records: readonly ContainerRecord[],
  phase: string,
  old: readonly Condition[],
): Finding {
  if (phase === "Succeeded") return { status: true, reason: "PodCompleted" };
  // It stays so when its init containers run again.
  const before = old.some(({ type, status }) => type === "Initialized" && status === "True");
  if (before || initialized(records)) return { status: true };
  const open = records.filter((r) => (r.kind === "init" || r.kind === "sidecar") && !letsPass(r));
  const names = open.map((r) => r.name).join(" ");
  return {
    status: false,
    reason: "ContainersNotInitialized",
    message: `containers with incomplete status: [${names}]`,
  };
}

function containersReady(records: readonly ContainerRecord[], phase: string): Finding {
  if (phase === "Succeeded") return { status: false, reason: "PodCompleted" };
  if (phase === "Failed") return { status: false, reason: "PodFailed" };
  let names = "";
  for (const r of records) {
    if (r.kind !== "app" && r.kind !== "sidecar") continue;
    if (r.phase === "running" && r.ready) continue;
    names += names ? ` ${r.name}` : r.name;
  }
  if (!names) return { status: true };
  return {
    status: false,
    reason: "ContainersNotReady",
    message: `containers with unready status: [${names}]`,
  };
}

function allRestarting({ pod, records }: PodFacts, phase: string): Finding {
  if (phase === "Succeeded") return { status: false, reason: "PodCompleted" };
  if (phase === "Failed") return { status: false, reason: "PodFailed" };
  if (!records.some((r) => restartsAll(pod, r))) return { status: false };
  return {
    status: true,
    reason: "RestartAllContainersStarted",
    message: "container exited with restart policy rule",
  };
}

function podReady(pod: Pod, containers: Finding, old: readonly Condition[]): Finding {
  if (!containers.status) return containers;
  const messages: string[] = [];
  for (const { conditionType } of pod.spec.readinessGates ?? []) {
    const condition = old.find((c) => c.type === conditionType);
    if (!condition) {
      messages.push(
        `corresponding condition of pod readiness gate "${conditionType}" does not exist.`,
      );
    } else if (condition.status !== "True") {
      messages.push(
        `the status of pod readiness gate "${conditionType}" is not "True", but ${condition.status}`,
      );
    }
  }
  if (!messages.length) return { status: true };
  return { status: false, reason: "ReadinessGatesNotReady", message: messages.join(", ") };
}

/** Guaranteed, Burstable or BestEffort, by the requests and limits of cpu and memory. */
export function qosClass(pod: Pod): string {
  let some = false, guaranteed = true;
  const check = (c: ContainerOf) => {
    const { requests = {}, limits = {} } = c.resources ?? {};
    for (const resource of ["cpu", "memory"]) {
      const limit = limits[resource], request = requests[resource] ?? limit;
      if (nonZero(limit) || nonZero(request)) some = true;
      if (!nonZero(limit) || String(limit) !== String(request)) guaranteed = false;
    }
  };
  pod.spec.containers.forEach(check);
  pod.spec.initContainers?.forEach(check);
  if (!some) return "BestEffort";
  return guaranteed ? "Guaranteed" : "Burstable";
}

function nonZero(quantity: string | number | undefined): boolean {
  return quantity !== undefined && !/^0+(\.0*)?\D*$/.test(String(quantity));
}

/**
 * Whether a pod's status needs no writing. The order of conditions says nothing: where somebody else's stands among
 * ours is the API's choice, and a kubelet that minds writes once more for each word of another's.
 */
export function samePodStatus(status: PodStatus, old: PodStatus | undefined): boolean {
  if (!old) return false;
  const { conditions = [], ...rest } = status;
  const { conditions: before = [], ...restBefore } = old;
  return conditions.length === before.length && sameStatus(rest, restBefore) &&
    conditions.every((one) => sameStatus(one, before.find(({ type }) => type === one.type)));
}

/** Whether two statuses say the same. Both are plain JSON in the same order of fields. */
export function sameStatus(a: unknown, b: unknown): boolean {
  if (a === b) return true;
  if (typeof a !== "object" || typeof b !== "object" || a === null || b === null) {
    return (a ?? undefined) === (b ?? undefined);
  }
  if (Array.isArray(a) || Array.isArray(b)) {
    if (!Array.isArray(a) || !Array.isArray(b) || a.length !== b.length) return false;
    return a.every((item, i) => sameStatus(item, b[i]));
  }
  const left = a as Record<string, unknown>, right = b as Record<string, unknown>;
  for (const key in left) if (!sameStatus(left[key], right[key])) return false;
  for (const key in right) if (!(key in left) && right[key] != null) return false;
  return true;
}
