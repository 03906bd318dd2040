/** Events: what was told of objects, the latest first. */
import { kindOf } from "./discovery.ts";
import { useLive } from "./live.ts";
import { at } from "./router.ts";
import { timeHere } from "./time_bar.tsx";

/** Follows those that a field selector finds, in a namespace or in all. */
export function useEvents(fieldSelector: string, namespace?: string): any[] {
  const kind = kindOf("", "events");
  const { rows } = useLive(kind && { resource: kind, namespace, fieldSelector });
  const here = timeHere();
  // Events have no history of their own: of the past are those that had been told by then
  return [...rows.values()].map(({ object }) => object)
    .filter(({ metadata }) =>
      at.value === undefined || Date.parse(metadata.creationTimestamp) <= here
    )
    .sort((a, b) => lastSeen(b) < lastSeen(a) ? -1 : 1);
}

/** When that last happened of which an event tells. */
export function lastSeen(event: any): string {
  return event.series?.lastObservedTime ?? event.lastTimestamp ?? event.eventTime ??
    event.metadata.creationTimestamp;
}
