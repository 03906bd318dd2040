/**
 * Ends the pods of a node that is being shut down, the least important first, each group within its own time
 * (pkg/kubelet/nodeshutdown, v1.36). Only for nodes that were told to: elsewhere pods run on without their node.
 */
import type { Clock } from "../../kv/clock.ts";
import type { ShutdownPeriod } from "./kubelet_options.ts";
import { type PodWorker, SHUT_DOWN } from "./pod_worker.ts";

/** Why the node is not ready meanwhile, and why it takes no pod. */
export const SHUTTING_DOWN = "node is shutting down";
export const SHUTDOWN_REFUSAL = {
  reason: "NodeShutdown",
  message: "Pod was rejected as the node is shutting down.",
};

const MESSAGE = "Pod was terminated in response to imminent node shutdown.";
/** What a group has beyond its time, so that what ends at the last moment is told of. */
const LAST_WORDS_MS = 2_000;
/** Between two looks whether pods have gone. */
const LOOK_MS = 100;

/** Resolves when all are ended and cleaned up, or have had their time. */
export async function endPods(
  periods: readonly ShutdownPeriod[],
  workers: Iterable<PodWorker>,
  clock: Clock,
): Promise<void> {
  for (const { graceSeconds, pods } of groupsOf(periods, workers)) {
    const graceMs = graceSeconds * 1000;
    for (const worker of pods) {
      worker.end({ reason: SHUT_DOWN, message: MESSAGE, graceMs, disruption: MESSAGE });
    }
    const until = clock.now() + graceMs + LAST_WORDS_MS;
    while (pods.some((worker) => !worker.cleaned) && clock.now() < until) {
      await clock.sleep(LOOK_MS);
    }
  }
}

interface Group extends ShutdownPeriod {
  pods: PodWorker[];
}

/** The groups that have pods. A pod is of the highest group whose priority it has; below all, of the lowest. */
function groupsOf(periods: readonly ShutdownPeriod[], workers: Iterable<PodWorker>): Group[] {
  const groups: Group[] = periods.map((period) => ({ ...period, pods: [] }));
  for (const worker of workers) {
    if (worker.cleaned || worker.done) continue;
    const priority = worker.pod.spec.priority ?? 0;
    const own = groups.findLast((group) => group.priority <= priority) ?? groups[0];
    own.pods.push(worker);
  }
  return groups.filter(({ pods }) => pods.length > 0);
}
