/**
 * The APIServices of what this server serves itself: one a group-version, kept by the server and labelled so.
 * Those of built-in kinds are written at start, those of custom kinds when their definitions come and go.
 * Priorities are upstream's: they order groups and versions for clients that look at them.
 */
import { created } from "../auth/bootstrap_roles.ts";
import type { Draft, View } from "../../kv/contract.ts";
import type { DeepReadonly, Kind, KubeObject } from "../machinery/types.ts";

/** Where APIServices are stored. */
export const API_SERVICES = "/registry/apiregistration.k8s.io/apiservices/";
/** Who keeps an APIService: `onstart` the server at its start, `true` the definitions. */
export const AUTOMANAGED = "kube-aggregator.kubernetes.io/automanaged";

/** Least priority of each group. */
const GROUPS: Readonly<Record<string, number>> = {
  "": 18000,
  apps: 17800,
  "events.k8s.io": 17750,
  "authentication.k8s.io": 17700,
  "authorization.k8s.io": 17600,
  autoscaling: 17500,
  batch: 17400,
  "certificates.k8s.io": 17300,
  "networking.k8s.io": 17200,
  policy: 17100,
  "rbac.authorization.k8s.io": 17000,
  "storage.k8s.io": 16800,
  "apiextensions.k8s.io": 16700,
  "admissionregistration.k8s.io": 16700,
  "scheduling.k8s.io": 16600,
  "coordination.k8s.io": 16500,
  "node.k8s.io": 16300,
  "discovery.k8s.io": 16200,
  "resource.k8s.io": 16200,
  "flowcontrol.apiserver.k8s.io": 16100,
  "internal.apiserver.k8s.io": 16000,
  "storagemigration.k8s.io": 15800,
};
const VERSIONS: Readonly<Record<string, number>> = {
  "/v1": 1,
  "autoscaling/v2": 30,
  "flowcontrol.apiserver.k8s.io/v1": 21,
  "resource.k8s.io/v1": 21,
  "resource.k8s.io/v1beta2": 15,
};
/** Groups that are no built-in of upstream's: what metrics-server registers itself with. */
const ADDED = { group: 100, version: 100 };
/** Custom kinds come after all built-in ones. */
const CUSTOM = { group: 1000, version: 100 };

/** What comes first, and is no APIService: the group that APIServices are of. */
const OWN_GROUP = "apiregistration.k8s.io";
const FIRST = { group: 20001, version: 15 };

/** How early a group-version stands among all, greater first. */
export interface Priorities {
  group: number;
  version: number;
}

/** The priorities of what this server serves itself. */
export function prioritiesOf(group: string, version: string, custom: boolean): Priorities {
  if (group === OWN_GROUP) return FIRST;
  if (custom) return CUSTOM;
  const least = GROUPS[group];
  return least === undefined ? ADDED : { group: least, version: versionPriority(group, version) };
}

interface Context {
  now: number;
  uuid(): string;
}

function versionPriority(group: string, version: string): number {
  const known = VERSIONS[`${group}/${version}`];
  if (known !== undefined) return known;
  return version.includes("alpha") ? 1 : version.includes("beta") ? 9 : 15;
}

function apiService(
  group: string,
  version: string,
  kept: "onstart" | "true",
  context: Context,
): KubeObject {
  const { group: least, version: own } = prioritiesOf(group, version, kept === "true");
  const object = created({
    apiVersion: "apiregistration.k8s.io/v1",
    kind: "APIService",
    metadata: { name: `${version}.${group}`, labels: { [AUTOMANAGED]: kept } },
    spec: { ...(group && { group }), version, groupPriorityMinimum: least, versionPriority: own },
  } as unknown as KubeObject, context);
  const condition = {
    type: "Available",
    status: "True",
    lastTransitionTime: object.metadata.creationTimestamp,
    reason: "Local",
    message: "Local APIServices are always available",
  };
  return { ...object, status: { conditions: [condition] } };
}

function* kept(view: View<KubeObject>, by: "onstart" | "true") {
  for (const { key, value } of view.scan(API_SERVICES)) {
    if (value.metadata.labels?.[AUTOMANAGED] === by) yield { key, value };
  }
}

/** Brings the APIServices of built-in kinds up to what is served. */
export function keepBuiltInServices(
  draft: Draft<KubeObject>,
  kinds: readonly Kind[],
  context: Context,
): void {
  const wanted = new Map<string, Kind>();
  for (const kind of kinds) {
    if (!kind.custom && kind.group !== OWN_GROUP) {
      wanted.set(`${API_SERVICES}${kind.version}.${kind.group}`, kind);
    }
  }
  for (const { key } of [...kept(draft, "onstart")]) {
    if (!wanted.has(key)) draft.delete(key);
  }
  for (const [key, { group, version }] of wanted) {
    if (!draft.get(key)) draft.put(key, apiService(group, version, "onstart", context));
  }
}

/** A definition, as much of it as counts here. */
interface Served {
  spec: { group: string; versions: readonly { name: string; served: boolean }[] };
}

/** What is to be changed so that each served version of a group's definitions has its APIService. */
export function customServiceChanges(
  view: View<KubeObject>,
  group: string,
  definitions: Iterable<DeepReadonly<Served>>,
): { add: string[]; remove: string[] } {
  const wanted = new Set<string>();
  for (const { spec } of definitions) {
    if (spec.group !== group) continue;
    for (const { name, served } of spec.versions) if (served) wanted.add(name);
  }
  const remove: string[] = [];
  for (const { key, value } of kept(view, "true")) {
    if (value.spec?.group === group && !wanted.has(value.spec.version)) remove.push(key);
  }
  const add = [...wanted].filter((version) => !view.get(`${API_SERVICES}${version}.${group}`));
  return { add, remove };
}

/** Makes those changes; what somebody else has changed since stays as it is. */
export function keepCustomServices(
  draft: Draft<KubeObject>,
  group: string,
  { add, remove }: { add: string[]; remove: string[] },
  context: Context,
): void {
  for (const key of remove) draft.delete(key);
  for (const version of add) {
    const key = `${API_SERVICES}${version}.${group}`;
    if (!draft.get(key)) draft.put(key, apiService(group, version, "true", context));
  }
}
