/**
 * Taint eviction: a pod leaves its node when the node has a NoExecute taint that the pod does not tolerate,
 * or tolerates for a while only and the while is over.
 *
 * The while begins when the taint was added, if the taint says when, so that a restart changes nothing.
 *
 * Behaviour matched: pkg/controller/tainteviction/taint_eviction.go, v1.36.
 */
import { type Taint, tolerates, type Toleration } from "../../api/machinery/taints.ts";
import { formatTime } from "../../api/machinery/time.ts";
import {
  type ActorContext,
  type Controller,
  isGone,
  NODES,
  type Outcome,
  PODS,
  targetOf,
} from "../runtime/mod.ts";
import { ControllerMetrics } from "./metrics.ts";
import { conditionOf, type Obj, observed, timeOf } from "./objects.ts";
import { isFinished } from "./pods.ts";
import type { ControllerPorts } from "./ports.ts";

interface State {
  /** Pods that are to go, and since when: for the event that says so, and the one that takes it back. */
  marked: Map<string, number>;
  metrics: ControllerMetrics;
}

const BY_NODE = "nodeName";

export function taintEvictionController(
  { metrics = new ControllerMetrics() }: Pick<ControllerPorts, "metrics">,
): Controller<State> {
  return {
    name: "taint-eviction",
    account: "node-controller",
    component: "taint-eviction-controller",
    for: PODS,
    // A pod's own events matter only where its node drives pods out; other nodes' changes name their pods.
    selects(pod, context) {
      const node = pod.spec.nodeName && context.informers.for(NODES).get(pod.spec.nodeName);
      return node?.spec?.taints?.some((taint: Taint) => taint.effect === "NoExecute") ?? false;
    },
    watches: [{
      resource: NODES,
      keys(node, old, context) {
        if (JSON.stringify(node.spec?.taints) === JSON.stringify(old?.spec?.taints) && old) {
          return [];
        }
        const pods = context.informers.for(PODS).byIndex(BY_NODE, node.metadata.name);
        return pods.map((pod) => `${pod.metadata.namespace}/${pod.metadata.name}`);
      },
    }],
    workers: 20,
    start(context) {
      context.informers.for(PODS).index(
        BY_NODE,
        (pod) => pod.spec.nodeName ? [pod.spec.nodeName] : [],
      );
      return { marked: new Map(), metrics };
    },
    reconcile,
  };
}

async function reconcile(key: string, context: ActorContext, state: State): Promise<Outcome> {
  const pod = context.informers.for(PODS).get(key);
  const node = pod?.spec.nodeName && context.informers.for(NODES).get(pod.spec.nodeName);
  if (!pod || !node || pod.metadata.deletionTimestamp || isFinished(pod)) {
    state.marked.delete(key);
    return;
  }
  const taints = ((node.spec?.taints ?? []) as readonly Taint[]).filter((t) =>
    t.effect === "NoExecute"
  );
  const now = context.clock.now();
  const since = state.marked.get(key) ?? now;
  const leaveAt = leavesAt(taints, pod.spec.tolerations ?? [], since);
  if (leaveAt === undefined) {
    if (state.marked.delete(key)) {
      context.recorder.event(
        pod,
        "Normal",
        "TaintManagerEviction",
        `Cancelling deletion of Pod ${key}`,
      );
    }
    return;
  }
  if (leaveAt > now) {
    state.marked.set(key, since);
    return { afterMs: leaveAt - now };
  }
  state.marked.delete(key);
  await evict(pod, key, context);
  state.metrics.taintDeletions.add({});
}

/** When a pod must go, in ms; undefined: it may stay. */
export function leavesAt(
  taints: readonly Taint[],
  tolerations: readonly Toleration[],
  since: number,
): number | undefined {
  let earliest: number | undefined;
  for (const taint of taints) {
    const tolerating = tolerations.filter((toleration) => tolerates(toleration, taint));
    if (tolerating.length === 0) return since;
    for (const { tolerationSeconds } of tolerating) {
      if (tolerationSeconds === undefined) continue;
      const at = (timeOf(taint.timeAdded) || since) + Math.max(tolerationSeconds, 0) * 1000;
      earliest = Math.min(earliest ?? at, at);
    }
  }
  return earliest;
}

async function evict(pod: Obj, key: string, context: ActorContext): Promise<void> {
  context.recorder.event(pod, "Normal", "TaintManagerEviction", `Marking for deletion Pod ${key}`);
  await deleteDisrupted(pod, context, {
    reason: "DeletionByTaintManager",
    message: "Taint manager: deleting due to NoExecute taint",
  });
}

/** Deletes a pod that is told first why. */
export async function deleteDisrupted(
  pod: Obj,
  { client, clock }: ActorContext,
  why: { reason: string; message: string },
): Promise<void> {
  const { uid } = pod.metadata;
  try {
    if (conditionOf(pod.status, "DisruptionTarget")?.status !== "True") {
      const condition = {
        type: "DisruptionTarget",
        status: "True",
        ...why,
        lastTransitionTime: formatTime(clock.now()),
        ...observed(pod),
      };
      await client.patch(targetOf(PODS, pod, "status"), {
        type: "strategic",
        body: { metadata: { uid }, status: { conditions: [condition] } },
      });
    }
    await client.delete(targetOf(PODS, pod), { preconditions: { uid } });
  } catch (error) {
    if (!isGone(error)) throw error;
  }
}
