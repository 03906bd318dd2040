/**
 * What a change of an object is to the scheduler: the events that plugins wake on. Pure; upstream's
 * `framework/events.go` (v1.36) decides what counts as a change of what.
 */
import type { ClusterEvent, Node, Pod, PodInfo } from "./framework.ts";

/** Objects come from one cache, so that most of what did not change is the same object still. */
function same(a: unknown, b: unknown): boolean {
  return a === b || JSON.stringify(a) === JSON.stringify(b);
}

/** What a node's new version changed that pods may care about. */
export function nodeEvents(old: Node, node: Node): ClusterEvent[] {
  const events: ClusterEvent[] = [];
  if (!same(old.status?.allocatable, node.status?.allocatable)) events.push("NodeAllocatable");
  if (!same(old.metadata.labels, node.metadata.labels)) events.push("NodeLabels");
  if (
    !same(old.spec?.taints, node.spec?.taints) ||
    (old.spec?.unschedulable ?? false) !== (node.spec?.unschedulable ?? false)
  ) events.push("NodeTaints");
  if (!same(old.status?.declaredFeatures, node.status?.declaredFeatures)) {
    events.push("NodeFeatures");
  }
  return events;
}

/** What the new version of a pod that has a node changed. */
export function podEvents(old: PodInfo, pod: PodInfo): ClusterEvent[] {
  const events: ClusterEvent[] = [];
  if (!same(old.labels, pod.labels)) events.push("PodLabels");
  if (shrank(old, pod)) events.push("PodScaleDown");
  return events;
}

/** What a waiting pod's new version changed. */
export function ownEvents(old: Pod, pod: Pod): ClusterEvent[] {
  const events: ClusterEvent[] = [];
  if (!same(old.metadata.labels, pod.metadata.labels)) events.push("OwnLabels");
  if (!same(old.spec.tolerations, pod.spec.tolerations)) events.push("OwnTolerations");
  if (!same(old.spec.schedulingGates, pod.spec.schedulingGates)) events.push("OwnGates");
  if (!same(old.status?.resourceClaimStatuses, pod.status?.resourceClaimStatuses)) {
    events.push("OwnClaims");
  }
  const resources = (p: Pod) =>
    p.spec.containers.map(({ resources }: { resources?: unknown }) => resources);
  if (
    old.spec !== pod.spec &&
    (!same(resources(old), resources(pod)) || !same(old.spec.resources, pod.spec.resources))
  ) events.push("OwnScaleDown");
  return events;
}

/** Whether a pod asks for less of something than it did. */
export function shrank(old: PodInfo, pod: PodInfo): boolean {
  const [a, b] = [old.request, pod.request];
  if (b.cpu < a.cpu || b.memory < a.memory || b.ephemeral < a.ephemeral) return true;
  for (const [name, value] of a.scalars ?? []) {
    if ((b.scalars?.get(name) ?? 0) < value) return true;
  }
  return false;
}
