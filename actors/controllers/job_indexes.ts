/**
 * Completion indexes of Indexed Jobs: sets of numbers, written as `1,3-5,7`. Pure.
 *
 * Behaviour matched: pkg/controller/job/indexed_job_utils.go, v1.36.
 */
import type { Obj } from "./objects.ts";

export const INDEX = "batch.kubernetes.io/job-completion-index";
export const FAILURE_COUNT = "batch.kubernetes.io/job-index-failure-count";
export const IGNORED_FAILURE_COUNT = "batch.kubernetes.io/job-index-ignored-failure-count";

/** The numbers of `1,3-5,7`, below `limit`. What cannot be read is left out. */
export function parseIndexes(text: string | undefined, limit: number): Set<number> {
  const found = new Set<number>();
  for (const part of (text ?? "").split(",")) {
    const match = /^(\d+)(?:-(\d+))?$/.exec(part);
    if (!match) continue;
    const last = Math.min(Number(match[2] ?? match[1]), limit - 1);
    for (let i = Number(match[1]); i <= last; i++) found.add(i);
  }
  return found;
}

/** `1,3-5,7` of a set of numbers. */
export function formatIndexes(indexes: ReadonlySet<number>): string {
  const sorted = [...indexes].sort((a, b) => a - b);
  const parts: string[] = [];
  for (let i = 0; i < sorted.length;) {
    let end = i;
    while (end + 1 < sorted.length && sorted[end + 1] === sorted[end] + 1) end++;
    if (end === i) parts.push(String(sorted[i]));
    else parts.push(end === i + 1 ? `${sorted[i]},${sorted[end]}` : `${sorted[i]}-${sorted[end]}`);
    i = end + 1;
  }
  return parts.join(",");
}

/** The index of a pod; undefined when it has none. */
export function indexOf(pod: Obj): number | undefined {
  const text = pod.metadata.annotations?.[INDEX] ?? pod.metadata.labels?.[INDEX];
  return text !== undefined && /^\d+$/.test(text) ? Number(text) : undefined;
}

/** How often an index failed before this pod. */
export function failureCountOf(pod: Obj): number {
  const text = pod.metadata.annotations?.[FAILURE_COUNT];
  return text !== undefined && /^\d+$/.test(text) ? Number(text) : 0;
}
