/** Where a node has a pod from, and what follows: the API, or a file of its own with a mirror in the API. */
import { SYSTEM_CRITICAL } from "../../api/kinds/mod.ts";
import type { Pod } from "./types.ts";

export const SOURCE = "kubernetes.io/config.source";
export const HASH = "kubernetes.io/config.hash";
export const SEEN = "kubernetes.io/config.seen";
export const MIRROR = "kubernetes.io/config.mirror";

/** Whether the API has it only to show what a node runs by a file. */
export function isMirror({ metadata }: Pick<Pod, "metadata">): boolean {
  return metadata.annotations?.[MIRROR] !== undefined;
}

/** Whether it comes from a file. */
export function isStatic({ metadata }: Pick<Pod, "metadata">): boolean {
  const source = metadata.annotations?.[SOURCE];
  return source !== undefined && source !== "api";
}

/** Whether a node cannot do without it (pkg/kubelet/types/pod_update.go, IsCriticalPod). */
export function isCritical(pod: Pod): boolean {
  return isStatic(pod) || isMirror(pod) || (pod.spec.priority ?? 0) >= SYSTEM_CRITICAL;
}

/** Whether one pod may take the place of another on its node (Preemptable). */
export function mayReplace(pod: Pod, other: Pod): boolean {
  if (isCritical(pod) && !isCritical(other)) return true;
  const [one, two] = [pod.spec.priority, other.spec.priority];
  return one !== undefined && two !== undefined && one > two;
}
