/**
 * The columns of pods: READY, STATUS and RESTARTS are computed from the containers' states as upstream's
 * table printer does (`pkg/printers/internalversion/printers.go`, `printPod`).
 */

import type { Column, RowCondition } from "../../machinery/types.ts";
import { age } from "../../machinery/time.ts";
import { AGE_COLUMN, column, NAME_COLUMN, type Row } from "./cells.ts";

// deno-lint-ignore no-explicit-any -- fields of decoded JSON
type Any = any;

interface Summary {
  ready: number;
  total: number;
  reason: string;
  restarts: number;
  /** RFC 3339 time of the last restart, or empty. */
  lastRestart: string;
}

/** One pod is asked for three cells in a row; its summary is computed once. */
let summarised: { pod: Row; summary: Summary } | undefined;

function summary(pod: Row): Summary {
  if (summarised?.pod === pod) return summarised.summary;
  const result = summarise(pod);
  // Only frozen objects are sure not to change between two cells.
  summarised = Object.isFrozen(pod) ? { pod, summary: result } : undefined;
  return result;
}

function summarise(pod: Row): Summary {
  const spec: Any = pod.spec ?? {};
  const status: Any = pod.status ?? {};
  const sidecars = new Set<string>();
  for (const container of spec.initContainers ?? []) {
    if (container.restartPolicy === "Always") sidecars.add(container.name);
  }
  const result: Summary = {
    ready: 0,
    total: (spec.containers?.length ?? 0) + sidecars.size,
    reason: status.reason || status.phase || "",
    restarts: 0,
    lastRestart: "",
  };
  for (const condition of status.conditions ?? []) {
    if (condition.type === "PodScheduled" && condition.reason === "SchedulingGated") {
      result.reason = "SchedulingGated";
    }
  }
  const side = { restarts: 0, lastRestart: "" };
  const initializing = countInit(status, spec, sidecars, result, side);
  if (!initializing || conditionTrue(status, "Initialized")) {
    result.restarts = side.restarts;
    result.lastRestart = side.lastRestart;
    countContainers(status, result);
  }
  if (pod.metadata.deletionTimestamp) {
    const terminal = status.phase === "Failed" || status.phase === "Succeeded";
    if (status.reason === "NodeLost") result.reason = "Unknown";
    else if (!terminal) result.reason = "Terminating";
  }
  return result;
}

/** Adds up the init containers until one that is not done; tells whether there is one. */
function countInit(
  status: Any,
  spec: Any,
  sidecars: Set<string>,
  result: Summary,
  side: { restarts: number; lastRestart: string },
): boolean {
  const statuses = status.initContainerStatuses ?? [];
  for (let i = 0; i < statuses.length; i++) {
    const container = statuses[i];
    addRestarts(container, result);
    if (sidecars.has(container.name)) addRestarts(container, side);
    const terminated = container.state?.terminated;
    if (terminated && !terminated.exitCode) continue;
    if (sidecars.has(container.name) && container.started === true) {
      if (container.ready) result.ready++;
      continue;
    }
    const waiting = container.state?.waiting?.reason;
    if (terminated) result.reason = `Init:${endedText(terminated)}`;
    else if (waiting && waiting !== "PodInitializing") result.reason = `Init:${waiting}`;
    else result.reason = `Init:${i}/${spec.initContainers?.length ?? 0}`;
    return true;
  }
  return false;
}

function countContainers(status: Any, result: Summary): void {
  let running = false;
  const statuses = status.containerStatuses ?? [];
  for (let i = statuses.length - 1; i >= 0; i--) {
    const container = statuses[i];
    addRestarts(container, result);
    const state = container.state ?? {};
    if (state.waiting?.reason) result.reason = state.waiting.reason;
    else if (state.terminated) result.reason = endedText(state.terminated);
    else if (container.ready && state.running) {
      running = true;
      result.ready++;
    }
  }
  // Some container still runs although another one is done.
  if (result.reason === "Completed" && running) {
    result.reason = conditionTrue(status, "Ready") ? "Running" : "NotReady";
  }
}

function addRestarts(container: Any, to: { restarts: number; lastRestart: string }): void {
  to.restarts += container.restartCount ?? 0;
  const finished = container.lastState?.terminated?.finishedAt;
  // RFC 3339 times in UTC compare as text.
  if (finished && finished > to.lastRestart) to.lastRestart = finished;
}

function endedText(terminated: Any): string {
  if (terminated.reason) return terminated.reason;
  return terminated.signal ? `Signal:${terminated.signal}` : `ExitCode:${terminated.exitCode ?? 0}`;
}

function conditionTrue(status: Any, type: string): boolean {
  for (const condition of status.conditions ?? []) {
    if (condition.type === type) return condition.status === "True";
  }
  return false;
}

function restartsCell(pod: Row, now: number): string {
  const { restarts, lastRestart } = summary(pod);
  if (restarts === 0 || lastRestart === "") return String(restarts);
  return `${restarts} (${age(lastRestart, now)} ago)`;
}

function gatesCell(pod: Row): string {
  const gates: Any = pod.spec?.readinessGates ?? [];
  if (gates.length === 0) return "<none>";
  let open = 0;
  for (const gate of gates) if (conditionTrue(pod.status ?? {}, gate.conditionType)) open++;
  return `${open}/${gates.length}`;
}

/** The columns of Pod. */
export const POD_COLUMNS: Column[] = [
  NAME_COLUMN,
  column("Ready", (pod) => `${summary(pod).ready}/${summary(pod).total}`, {
    description: "Containers that are ready, of all that should be",
  }),
  column("Status", (pod) => summary(pod).reason, {
    description: "The pod's phase, or what keeps its containers from running",
  }),
  column("Restarts", restartsCell, {
    description: "How often containers were restarted, and when for the last time",
  }),
  AGE_COLUMN,
  column("IP", (pod) => pod.status?.podIPs?.[0]?.ip || "<none>", {
    priority: 1,
    description: "First address of the pod",
  }),
  column("Node", (pod) => pod.spec?.nodeName || "<none>", {
    priority: 1,
    description: "Node the pod is bound to",
  }),
  column("Nominated Node", (pod) => pod.status?.nominatedNodeName || "<none>", {
    priority: 1,
    description: "Node on which room is being made for the pod",
  }),
  column("Readiness Gates", gatesCell, {
    priority: 1,
    description: "Readiness gates that are true, of all",
  }),
];

const ENDED: Readonly<Record<string, readonly RowCondition[]>> = {
  Succeeded: [{
    type: "Completed",
    status: "True",
    reason: "Succeeded",
    message: "The pod has completed successfully.",
  }],
  Failed: [{ type: "Completed", status: "True", reason: "Failed", message: "The pod failed." }],
};

/** Says of pods that have come to their end that nothing more will happen to them. */
export function podRowConditions(pod: Row): readonly RowCondition[] | undefined {
  return ENDED[pod.status?.phase];
}
