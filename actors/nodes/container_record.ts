/**
 * What a node knows of one container of a pod: the state that the pod worker moves and that the
 * status is computed from. Plain data; one record per container of the spec, kept over its restarts.
 */
import type { DeepReadonly } from "../../api/machinery/types.ts";
import type { ContainerOf, ContainerStatus, Pod, StateTerminated } from "./types.ts";
import { timestamp } from "./types.ts";
import type { ContainerEnd, ContainerKind, FoundContainer, Runtime } from "./runtimes/runtime.ts";

/** Where a container is. `starting` covers pull, create and start; the postStart hook runs in `running`. */
export type Phase = "absent" | "starting" | "running" | "exited";

export interface ContainerRecord {
  readonly name: string;
  readonly kind: ContainerKind;
  phase: Phase;
  runtime?: Runtime;
  id?: string;
  image: string;
  imageId: string;
  /** How often it was started before the current start. */
  restarts: number;
  startedAt: number;
  /** The end of the current start, once it has exited. */
  end?: StateTerminated;
  /** The end of the start before. */
  last?: StateTerminated;
  /** Why it does not run, when there is more to say than that it is being made. */
  waiting?: { reason: string; message?: string };
  /** Startup probe passed (or there is none), and the postStart hook has returned. */
  started: boolean;
  /** Readiness probe passes (or there is none). */
  ready: boolean;
  /** The resources it runs with. */
  resources?: ContainerOf["resources"];
  /** Those that were last asked for while it runs, and why it has not got them. */
  asked?: ContainerOf["resources"];
  resizeError?: string;
  /** When that is tried again. */
  resizeAt?: number;
  /** It begins as in a new pod: init containers run again before it does, and no end of its past counts. */
  anew?: boolean;
  /** Set while it is being stopped: when the grace period is over. */
  stopBy?: number;
  /** Set by a failed liveness or startup probe: it is started again whatever its policy's exit code says. */
  backoffMs: number;
  /** When the back-off was last raised. */
  backoffAt: number;
  /** Not before this time (pull and configuration errors). */
  retryAt: number;
  retryMs: number;
}

/** The end of a container that was not there any more when somebody looked. */
export const UNSEEN_END: Readonly<StateTerminated> = {
  exitCode: 137,
  reason: "ContainerStatusUnknown",
  message: "The container could not be located when the pod was terminated",
};

/** A record of a container that was never started. */
export function newRecord(container: ContainerOf, kind: ContainerKind): ContainerRecord {
  return {
    name: container.name,
    kind,
    phase: "absent",
    image: container.image ?? "",
    imageId: "",
    restarts: 0,
    startedAt: 0,
    started: false,
    ready: false,
    backoffMs: 0,
    backoffAt: 0,
    retryAt: 0,
    retryMs: 0,
  };
}

/** A start that came to nothing: a container that ran before is what it was after its last end. */
export function unbegin(record: ContainerRecord): void {
  if (record.phase !== "starting") return;
  record.phase = "absent";
  if (record.restarts === 0 || record.anew) return;
  record.phase = "exited";
  record.end = record.last;
  record.restarts--;
}

/** Lets a container that has ended in a lost sandbox begin as in a new pod, but for its counts and its last end. */
export function beginAnew(record: ContainerRecord): void {
  if (record.phase !== "exited") return;
  if (record.kind === "app") record.anew = true;
  if (record.kind === "init") reset(record, record.end);
}

const RESTARTING_ALL = "RestartingAllContainers";
/** The end of a container that was taken away since another's end restarts all of its pod. */
const TAKEN_AWAY: Readonly<StateTerminated> = {
  exitCode: 137,
  reason: RESTARTING_ALL,
  message: "The container is removed because RestartAllContainers in place",
};

/** Lets a container begin as in a new pod, however it has ended; returns what its runtime has to remove. */
export function restartWithAll(record: ContainerRecord): string | undefined {
  const { id } = record;
  // One in its back-off has told its end already.
  if (record.phase === "exited") reset(record, record.waiting ? record.end : TAKEN_AWAY);
  record.id = undefined;
  return id;
}

function reset(record: ContainerRecord, last: StateTerminated | undefined): void {
  record.phase = "absent";
  record.anew = true;
  record.last = last;
  record.end = undefined;
  record.waiting = undefined;
  record.restarts++;
}

/** What a container of a pod's spec is. */
export function kindOf(container: ContainerOf, list: "init" | "app" | "ephemeral"): ContainerKind {
  return list === "init" && container.restartPolicy === "Always" ? "sidecar" : list;
}

/** The records of a pod's containers, in the order of the spec: init and sidecars, app, ephemeral. */
export function recordsOf(pod: Pod): ContainerRecord[] {
  const records: ContainerRecord[] = [];
  for (const c of pod.spec.initContainers ?? []) records.push(newRecord(c, kindOf(c, "init")));
  for (const c of pod.spec.containers) records.push(newRecord(c, "app"));
  for (const c of pod.spec.ephemeralContainers ?? []) records.push(newRecord(c, "ephemeral"));
  return records;
}

/** Finds a container of the spec, whichever list it is in. */
export function containerNamed(pod: Pod, name: string): ContainerOf | undefined {
  const of = (list: readonly ContainerOf[] | undefined) => list?.find((c) => c.name === name);
  return of(pod.spec.containers) ?? of(pod.spec.initContainers) ?? of(pod.spec.ephemeralContainers);
}

/** How a container ended, as its status says it. */
export function terminated(end: ContainerEnd, id: string): StateTerminated {
  return {
    exitCode: end.exitCode,
    ...(end.signal ? { signal: end.signal } : {}),
    reason: end.reason ?? (end.exitCode === 0 ? "Completed" : "Error"),
    ...(end.message ? { message: end.message } : {}),
    startedAt: timestamp(end.startedAt),
    finishedAt: timestamp(end.finishedAt),
    containerID: id,
  };
}

/** What statuses say of a pod's containers, put right by what its runtime has found: that has seen more. */
export function knownStatuses(
  pod: Pod,
  found: readonly FoundContainer[],
): DeepReadonly<ContainerStatus>[] {
  const { initContainerStatuses, containerStatuses, ephemeralContainerStatuses } = pod.status ?? {};
  const all = [
    ...initContainerStatuses ?? [],
    ...containerStatuses ?? [],
    ...ephemeralContainerStatuses ?? [],
  ];
  for (const { name, id, attempt, imageId, startedAt, end } of found) {
    const image = containerNamed(pod, name)?.image;
    if (image === undefined) continue;
    const at = all.findIndex((status) => status.name === name);
    const old = all[at];
    const same = old?.containerID === id;
    if (same && (!end || !old.state?.running)) continue;
    const before = same ? old.lastState?.terminated : old?.state?.terminated;
    const status = {
      ...(same ? old : { ready: false, started: false }),
      name,
      image,
      imageID: imageId,
      containerID: id,
      restartCount: attempt,
      state: end
        ? { terminated: terminated(end, id) }
        : { running: { startedAt: timestamp(startedAt) } },
      lastState: before ? { terminated: before } : {},
    } as DeepReadonly<ContainerStatus>;
    if (at < 0) all.push(status);
    else all[at] = status;
  }
  return all;
}

/** Takes over what the API knows of a container from a former life of the node. */
export function restore(
  record: ContainerRecord,
  status: DeepReadonly<ContainerStatus>,
  recovered: boolean,
  now: number,
): void {
  record.restarts = status.restartCount;
  record.imageId = status.imageID;
  record.id = status.containerID;
  record.last = status.lastState?.terminated;
  const { running, terminated } = status.state ?? {};
  if (running) {
    record.startedAt = Date.parse(running.startedAt ?? "") || now;
    if (recovered) {
      record.phase = "running";
      record.started = status.started ?? true;
      record.ready = status.ready;
      return;
    }
    record.phase = "exited";
    record.end = {
      ...UNSEEN_END,
      startedAt: running.startedAt,
      finishedAt: timestamp(now),
      containerID: status.containerID,
    };
  } else if (terminated) {
    record.phase = "exited";
    record.end = terminated;
    record.startedAt = Date.parse(terminated.startedAt ?? "") || now;
    record.ready = record.kind === "init" && terminated.exitCode === 0;
  } else if (record.last?.reason === RESTARTING_ALL) {
    record.anew = true;
  } else if (record.last) {
    // It waited for its next start (CrashLoopBackOff): the end that counts is the last one.
    record.phase = "exited";
    record.end = record.last;
    record.startedAt = Date.parse(record.last.startedAt ?? "") || now;
  }
}

/** The first of a container's own rules that is about such an end. */
function ruleFor({ restartPolicyRules }: ContainerOf, exitCode: number) {
  return restartPolicyRules?.find(({ exitCodes }) => {
    const { operator, values = [] } = exitCodes ?? { operator: "" };
    const named = values.includes(exitCode);
    return (operator === "In" && named) || (operator === "NotIn" && !named);
  });
}

const RESTART_ALL = "RestartAllContainers";

/** Whether the end of one of a pod's containers may restart them all. */
export function mayRestartAll({ spec }: Pod): boolean {
  const has = ({ restartPolicyRules }: ContainerOf) =>
    restartPolicyRules?.some(({ action }) => action === RESTART_ALL);
  return spec.containers.some(has) || !!spec.initContainers?.some(has);
}

/** Whether a container has ended so that all of its pod begin anew. */
export function restartsAll(pod: Pod, record: ContainerRecord): boolean {
  if (record.phase !== "exited" || record.kind === "ephemeral") return false;
  const container = containerNamed(pod, record.name);
  const rule = container && ruleFor(container, record.end?.exitCode ?? 0);
  return rule?.action === RESTART_ALL;
}

/** Whether a container that ended is to be started again, by its own rules, else by the pod's policy. */
export function restartsAfter(
  pod: Pod,
  container: ContainerOf,
  kind: ContainerKind,
  exitCode: number,
) {
  if (kind === "ephemeral") return false;
  if (kind === "sidecar" || ruleFor(container, exitCode)) return true;
  const policy = container.restartPolicy ?? pod.spec.restartPolicy ?? "Always";
  // An init container of a pod that restarts its containers always runs until it succeeds.
  if (policy === "Always") return kind === "init" ? exitCode !== 0 : true;
  return policy === "OnFailure" && exitCode !== 0;
}
