/** What a write changed of an object, in a few words: what people look for when they follow a story. */
import type { DeepReadonly, KubeObject } from "../machinery/types.ts";

type Object = DeepReadonly<KubeObject>;

/** Parts of a text at most. */
const PARTS_MAX = 5;
/** Longest value that is shown. */
const VALUE_LENGTH_MAX = 60;

/** Fields whose values are told when they change. */
const FIELDS: readonly (readonly [name: string, of: (object: Object) => unknown])[] = [
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

/** The text; "" when nothing of interest changed. */
export function changeText(object: Object | undefined, before: Object | undefined): string {
  if (!object) return "";
  const parts: string[] = [];
  if (object.metadata.deletionTimestamp && before && !before.metadata.deletionTimestamp) {
    parts.push("is to be deleted");
  }
  for (const [name, of] of FIELDS) {
    const now = of(object);
    const old = before && of(before);
    if (now === old || now === undefined || now === 0 && old === undefined) continue;
    parts.push(
      old === undefined ? `${name} ${shown(now)}` : `${name} ${shown(old)} → ${shown(now)}`,
    );
  }
  const known = conditionsOf(before);
  for (const [type, status] of conditionsOf(object)) {
    if (status !== known.get(type) && (status === "True" || known.has(type))) {
      parts.push(status === "True" ? type : `not ${type}`);
    }
  }
  return parts.slice(0, PARTS_MAX).join(", ");
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
