/** What a write changed of an object: what people look for when they follow a story, as facts and in a few words. */
import type { HopChange, HopField } from "../client/plesio.ts";
import type { DeepReadonly, KubeObject } from "../machinery/types.ts";

type Object = DeepReadonly<KubeObject>;

/** Facts at most. */
const CHANGES_MAX = 5;
/** Longest value that is shown. */
const VALUE_LENGTH_MAX = 60;

/** Fields whose values are told when they change. */
const FIELDS: readonly (readonly [name: HopField, of: (object: Object) => unknown])[] = [
  ["node", ({ spec }) => spec?.nodeName],
  ["phase", ({ status }) => status?.phase],
  ["replicas", ({ spec }) => spec?.replicas],
  ["made", ({ status }) => status?.replicas],
  ["ready", ({ status }) => status?.readyReplicas],
  ["available", ({ status }) => status?.availableReplicas],
  ["succeeded", ({ status }) => status?.succeeded],
  ["failed", ({ status }) => status?.failed],
  ["endpoints", endpointsOf],
];

/** The facts; none when nothing of interest changed. */
export function hopChanges(object: Object | undefined, before: Object | undefined): HopChange[] {
  if (!object) return [];
  const changes: HopChange[] = [];
  if (object.metadata.deletionTimestamp && before && !before.metadata.deletionTimestamp) {
    changes.push({ what: "deleting" });
  }
  for (const [field, of] of FIELDS) {
    const now = of(object);
    const old = before && of(before);
    if (now === old || now === undefined || now === 0 && old === undefined) continue;
    changes.push({
      what: "field",
      field,
      ...(old !== undefined && { from: shown(old) }),
      to: shown(now),
    });
  }
  const known = conditionsOf(before);
  for (const [type, status] of conditionsOf(object)) {
    if (status !== known.get(type) && (status === "True" || known.has(type))) {
      changes.push({ what: "condition", type, holds: status === "True" });
    }
  }
  return changes.slice(0, CHANGES_MAX);
}

/** The facts in a few words. */
export function changeText(changes: readonly HopChange[]): string {
  return changes.map((change) => {
    switch (change.what) {
      case "deleting":
        return "is to be deleted";
      case "condition":
        return change.holds ? change.type : `not ${change.type}`;
      case "field": {
        const { field, from, to } = change;
        return from === undefined ? `${field} ${to}` : `${field} ${from} → ${to}`;
      }
    }
  }).join(", ");
}

function shown(value: unknown): string {
  return String(value).slice(0, VALUE_LENGTH_MAX);
}

/** How many of a slice's endpoints are ready, of how many. */
function endpointsOf({ endpoints }: Object): string | undefined {
  if (!Array.isArray(endpoints)) return undefined;
  const ready = endpoints.filter(({ conditions }) => conditions?.ready !== false);
  return `${ready.length}/${endpoints.length}`;
}

function conditionsOf(object: Object | undefined): Map<string, string> {
  const conditions = object?.status?.conditions;
  if (!Array.isArray(conditions)) return new Map();
  return new Map(conditions.map(({ type, status }) => [String(type), String(status)]));
}
