/** Events of events.k8s.io/v1 are stored as core/v1 events: the same facts under other names. */
import type { KubeObject } from "../machinery/types.ts";
import { converted } from "./convert_versions.ts";

/** Names in events.k8s.io/v1 and in core/v1. */
const NAMES: readonly (readonly [string, string])[] = [
  ["note", "message"],
  ["regarding", "involvedObject"],
  ["reportingController", "reportingComponent"],
  ["deprecatedSource", "source"],
  ["deprecatedFirstTimestamp", "firstTimestamp"],
  ["deprecatedLastTimestamp", "lastTimestamp"],
  ["deprecatedCount", "count"],
];

function rename(object: KubeObject, from: 0 | 1): void {
  for (const pair of NAMES) {
    const value = object[pair[from]];
    if (value === undefined) continue;
    delete object[pair[from]];
    object[pair[1 - from]] = value;
  }
}

/** What core/v1 writes always, though it may be empty. */
function fillCore(event: KubeObject): void {
  event.involvedObject ??= {};
  event.source ??= {};
  event.reportingComponent ??= "";
  event.reportingInstance ??= "";
}

/** The storage of events.k8s.io/v1 Events. */
export const EVENT_STORAGE = converted(
  "events.k8s.io/v1",
  "v1",
  (event) => {
    rename(event, 0);
    fillCore(event);
  },
  (event) => {
    rename(event, 1);
    if (event.reportingController === "") delete event.reportingController;
    if (event.reportingInstance === "") delete event.reportingInstance;
  },
);
