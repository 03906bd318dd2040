/**
 * Rules of the events group: Events by their newer names (upstream's `pkg/apis/core/validation/events.go`),
 * checked strictly. Errors name fields as the core group does, as upstream's do.
 */

import { internalValue } from "./internal_value.ts";
import type {
  Cause,
  Column,
  DeepReadonly,
  Kind,
  KindHooks,
  KubeObject,
} from "../../machinery/types.ts";
import { columns as coreColumns } from "./core_columns.ts";
import { semanticEqual } from "./equality.ts";
import { validateEventFields } from "./event_validation.ts";
import { isSet, Path, Report } from "./report.ts";

type Stored = DeepReadonly<KubeObject>;

const TYPES = ["Normal", "Warning"];
const UNSET = "needs to be unset";

function validateSeries(event: Stored, r: Report): void {
  if (!event.series) return;
  if ((event.series.count ?? 0) < 2) {
    r.invalid(new Path("series.count"), "", "should be at least 2");
  }
  if (!event.series.lastObservedTime) r.required(new Path("series.lastObservedTime"));
}

function validateNew(event: Stored): Cause[] {
  const r = new Report();
  validateEventFields(event, { object: "regarding", message: "note" }, r);
  validateSeries(event, r);
  if (!isSet(event.eventTime)) r.required(new Path("eventTime"));
  const { type = "", deprecatedSource: source } = event;
  if (!TYPES.includes(type)) r.invalid(new Path("type"), "", `has invalid value: ${type}`);
  if (event.deprecatedFirstTimestamp) r.invalid(new Path("firstTimestamp"), "", UNSET);
  if (event.deprecatedLastTimestamp) r.invalid(new Path("lastTimestamp"), "", UNSET);
  if (event.deprecatedCount) r.invalid(new Path("count"), "", UNSET);
  if (source?.component || source?.host) r.invalid(new Path("source"), "", UNSET);
  return r.causes;
}

/** What a change may not touch, and what errors call it. */
const FIXED: readonly [string, string][] = [
  ["regarding", "involvedObject"],
  ["reason", "reason"],
  ["note", "message"],
  ["deprecatedSource", "source"],
  ["deprecatedFirstTimestamp", "firstTimestamp"],
  ["deprecatedLastTimestamp", "lastTimestamp"],
  ["deprecatedCount", "count"],
  ["reason", "reason"],
  ["type", "type"],
  ["eventTime", "eventTime"],
  ["action", "action"],
  ["related", "related"],
  ["reportingController", "reportingController"],
  ["reportingInstance", "reportingInstance"],
];

/** The fields whose internal types errors print. */
const INTERNAL: Readonly<Record<string, string>> = {
  regarding: "ObjectReference",
  related: "ObjectReference",
  deprecatedSource: "EventSource",
};

function validateChange(event: Stored, old: Stored): Cause[] {
  const r = new Report();
  validateEventFields(event, { object: "regarding", message: "note" }, r);
  if (!semanticEqual(event.series, old.series)) validateSeries(event, r);
  for (const [field, name] of FIXED) {
    if (semanticEqual(event[field], old[field])) continue;
    const type = INTERNAL[field];
    const shown = type ? internalValue(type, event[field]) : event[field] ?? null;
    r.invalid(new Path(name), shown, "field is immutable");
  }
  return r.causes;
}

/** Hooks by kind. */
export const hooks: Record<string, KindHooks> = {
  Event: { validate: validateNew, validateUpdate: validateChange },
};

/** An Event as the core group's columns and selectors see it. */
function asCore(event: Stored): Stored {
  return {
    ...event,
    involvedObject: event.regarding,
    message: event.note,
    reportingComponent: event.reportingController,
    source: event.deprecatedSource,
    firstTimestamp: event.deprecatedFirstTimestamp,
    lastTimestamp: event.deprecatedLastTimestamp,
    count: event.deprecatedCount,
  };
}

/** Columns by kind. */
export const columns: Record<string, Column[]> = {
  Event: coreColumns.Event.map((column) => ({
    ...column,
    cell: (event, now) => column.cell!(asCore(event), now),
  })),
};

/** Selectable fields by kind. */
export const fields: Record<string, Kind["fields"]> = {
  Event: {
    "regarding.kind": (o) => o.regarding?.kind ?? "",
    "regarding.namespace": (o) => o.regarding?.namespace ?? "",
    "regarding.name": (o) => o.regarding?.name ?? "",
    "regarding.uid": (o) => o.regarding?.uid ?? "",
    "regarding.apiVersion": (o) => o.regarding?.apiVersion ?? "",
    "regarding.resourceVersion": (o) => o.regarding?.resourceVersion ?? "",
    "regarding.fieldPath": (o) => o.regarding?.fieldPath ?? "",
    reason: (o) => o.reason ?? "",
    reportingController: (o) => o.reportingController ?? "",
    type: (o) => o.type ?? "",
  },
};
