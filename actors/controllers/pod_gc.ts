/**
 * Pod garbage: pods of nodes that are no more, pods that were deleted before they had a node, and, beyond
 * a threshold, the oldest of those that ended.
 *
 * Behaviour matched: pkg/controller/podgc/gc_controller.go, v1.36.
 */
import { formatTime } from "../../api/machinery/time.ts";
import type { KubeObject } from "../../api/machinery/types.ts";
import {
  type ActorContext,
  allAtOnce,
  every,
  isGone,
  NODES,
  type Outcome,
  PODS,
  targetOf,
} from "../runtime/mod.ts";
import { ControllerMetrics } from "./metrics.ts";
import { byAge, conditionOf, type Obj, observed } from "./objects.ts";
import { isFinished } from "./pods.ts";
import type { ControllerPorts, FreeController } from "./ports.ts";
import { settingsOf } from "./settings.ts";

/** How often the world is looked through. */
export const POD_GC_MS = 20_000;
/** How long a node must have been missing before its pods go. */
export const QUARANTINE_MS = 40_000;

const OUT_OF_SERVICE = "node.kubernetes.io/out-of-service";

interface State {
  /** Since when a node that pods name is missing, by the monotonic clock. */
  missing: Map<string, number>;
  metrics: ControllerMetrics;
  terminatedPodsMax: number;
}

/** The row. */
export function podGarbageCollector(
  { metrics = new ControllerMetrics(), settings }: Pick<ControllerPorts, "metrics" | "settings">,
): FreeController {
  const { terminatedPodGcThreshold: terminatedPodsMax } = settingsOf({ settings });
  return {
    name: "podgc",
    account: "pod-garbage-collector",
    workers: 1,
    behaviour: {
      start(context): State {
        const pods = context.informers.for(PODS);
        pods.index("nodeName", (pod) => pod.spec.nodeName ? [pod.spec.nodeName] : []);
        context.informers.for(NODES);
        every(context, POD_GC_MS, "all");
        return { missing: new Map(), metrics, terminatedPodsMax };
      },
      handle,
    },
  };
}

async function handle(_key: string, state: State, context: ActorContext): Promise<Outcome> {
  const pods = context.informers.for(PODS);
  const ended: Obj[] = [];
  const orphans: Obj[] = [];
  const stuck: Obj[] = [];
  const reasons = new Map<Obj, string>();
  const missing = await missingNodes(state, context);
  for (const pod of pods.list()) {
    const { nodeName } = pod.spec;
    const { deletionTimestamp } = pod.metadata;
    if (nodeName && missing.has(nodeName)) orphans.push(pod);
    else if (deletionTimestamp && (!nodeName || isOutOfService(context, nodeName))) {
      reasons.set(pod, nodeName ? "out-of-service" : "unscheduled");
      stuck.push(pod);
    } else if (isFinished(pod)) ended.push(pod);
  }
  const surplus = ended.length - state.terminatedPodsMax;
  if (state.terminatedPodsMax > 0 && surplus > 0) {
    // Evicted pods have nothing left to tell and go first.
    const evicted = (pod: Obj) => Number(pod.status?.reason !== "Evicted");
    ended.sort((a, b) => evicted(a) - evicted(b) || byAge(a, b));
    stuck.push(...ended.slice(0, surplus));
  }
  const count = (pod: Obj, reason: string) =>
    state.metrics.collectedPods.add({ namespace: pod.metadata.namespace!, reason });
  await allAtOnce(stuck, async (pod) => {
    await markFailed(context, pod);
    await remove(context, pod);
    count(pod, reasons.get(pod) ?? "terminated");
  });
  await allAtOnce(orphans, async (pod) => {
    await markFailed(context, pod, {
      type: "DisruptionTarget",
      status: "True",
      reason: "DeletionByPodGC",
      message: "PodGC: node no longer exists",
      lastTransitionTime: formatTime(context.clock.now()),
      ...observed(pod),
    });
    await remove(context, pod);
    count(pod, "orphaned");
  });
}

/** Nodes that pods name and that have been missing for long enough; asked for once more at the server. */
async function missingNodes(state: State, context: ActorContext): Promise<Set<string>> {
  const now = context.clock.monotonic();
  const nodes = context.informers.for(NODES);
  const named = new Set<string>();
  for (const pod of context.informers.for(PODS).list()) {
    const { nodeName } = pod.spec;
    if (nodeName && !nodes.get(nodeName)) named.add(nodeName);
  }
  for (const name of state.missing.keys()) if (!named.has(name)) state.missing.delete(name);
  const due = new Set<string>();
  await allAtOnce([...named], async (name) => {
    const since = state.missing.get(name);
    if (since === undefined) state.missing.set(name, now);
    else if (now - since >= QUARANTINE_MS && await isGoneForSure(name, context)) due.add(name);
  });
  return due;
}

/** A cache may be behind; a pod that is deleted for a node that is there is lost. */
async function isGoneForSure(name: string, { client }: ActorContext): Promise<boolean> {
  try {
    await client.get({ resource: NODES, name });
    return false;
  } catch (error) {
    if (isGone(error)) return true;
    throw error;
  }
}

function isOutOfService(context: ActorContext, nodeName: string): boolean {
  const node = context.informers.for(NODES).get(nodeName);
  if (!node || conditionOf(node.status, "Ready")?.status === "True") return false;
  return (node.spec?.taints ?? []).some(({ key }: { key: string }) => key === OUT_OF_SERVICE);
}

/** A pod that nobody runs ends as Failed, so that its owner counts it so. */
async function markFailed(
  context: ActorContext,
  pod: Obj,
  condition?: Record<string, string | number>,
): Promise<void> {
  if (isFinished(pod)) return;
  const status = { phase: "Failed", ...(condition ? { conditions: [condition] } : {}) };
  try {
    await context.client.patch<KubeObject>(targetOf(PODS, pod, "status"), {
      type: "strategic",
      body: { metadata: { uid: pod.metadata.uid }, status },
    });
  } catch (error) {
    if (!isGone(error)) throw error;
  }
}

async function remove(context: ActorContext, pod: Obj): Promise<void> {
  try {
    await context.client.delete(targetOf(PODS, pod), {
      gracePeriodSeconds: 0,
      preconditions: { uid: pod.metadata.uid },
    });
  } catch (error) {
    if (!isGone(error)) throw error;
  }
}
