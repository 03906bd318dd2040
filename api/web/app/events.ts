/** Events: what was told of objects, the latest first. */
import { kindOf } from "./discovery.ts";
import { useLive } from "./live.ts";
import { at } from "./router.ts";
import { timeHere, timeSpan } from "./time_bar.tsx";
import { moment, t } from "./words.ts";

/** Follows those that a field selector finds, in a namespace or in all. */
export function useEvents(fieldSelector: string, namespace?: string): any[] {
  const kind = kindOf("", "events");
  const { rows } = useLive(kind && { resource: kind, namespace, fieldSelector });
  return [...rows.values()].map(({ object }) => object)
    .sort((a, b) => lastSeen(b) < lastSeen(a) ? -1 : 1);
}

/** What is to be said of a list without any, or of one of the past that cannot be whole. */
export function aboutEvents(count: number): string | undefined {
  const since = timeSpan.value?.eventsSince;
  if (at.value !== undefined && since && timeHere() < Date.parse(since)) {
    return t("events.since", { time: moment(since) });
  }
  return count === 0 ? t("events.none") : undefined;
}

/** When that last happened of which an event tells. */
export function lastSeen(event: any): string {
  return event.series?.lastObservedTime ?? event.lastTimestamp ?? event.eventTime ??
    event.metadata.creationTimestamp;
}
