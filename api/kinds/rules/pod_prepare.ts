/**
 * What a write to a pod may touch (upstream's `pkg/registry/core/pod/strategy.go`): creation starts the
 * status and computes the quality of service; each subresource changes its own part only; the generation
 * counts changes of the spec.
 */

import type { DeepReadonly, KindContext, KubeObject } from "../../machinery/types.ts";
import { keep, keepMeta, META_OF_SUBRESOURCE, raiseGeneration } from "./prepare.ts";
import { semanticEqual } from "./equality.ts";
import { dropDisabledFields, dropDisabledStatus } from "./pod_features.ts";
import { qosClass } from "./pod_resources.ts";

// deno-lint-ignore no-explicit-any -- objects are decoded JSON; the schema walk has checked their types
type Obj = any;
type Stored = DeepReadonly<KubeObject>;

/** Starts a new pod. */
export function preparePodCreate(pod: KubeObject, context: KindContext): void {
  pod.metadata.generation = 1;
  pod.spec ??= {};
  pod.status = { phase: "Pending", qosClass: pod.status?.qosClass || qosClass(pod.spec) };
  dropDisabledFields(pod.spec, undefined);
  if (pod.spec.schedulingGates?.length > 0) {
    pod.status.conditions = [{
      type: "PodScheduled",
      status: "False",
      lastProbeTime: null,
      lastTransitionTime: `${new Date(context.now).toISOString().slice(0, 19)}Z`,
      reason: "SchedulingGated",
      message: "Scheduling is blocked due to non-empty scheduling gates",
    }];
  }
  mergeLabelKeys(pod);
  copyAppArmorAnnotations(pod, context);
}

/** Restores what this write may not change. */
export function preparePodUpdate(pod: KubeObject, old: Stored, context: KindContext): void {
  switch (context.subresource) {
    case "status":
      return prepareStatus(pod, old);
    case "ephemeralcontainers":
      keepButEphemeral(pod, old);
      break;
    case "resize":
      keepButResources(pod, old);
      break;
    default:
      keep(pod, old, "status");
  }
  dropDisabledFields(pod.spec, old.spec);
  raiseGeneration(pod, old, ["spec"]);
}

/** The single address, which older kubelets write alone, counts where it is not the first of the list. */
function matchAddresses(status: Obj): void {
  const first = status.podIPs?.[0]?.ip;
  if (status.podIP && status.podIP !== first) status.podIPs = [{ ip: status.podIP }];
  else if (first) status.podIP = first;
}

function prepareStatus(pod: KubeObject, old: Stored): void {
  keep(pod, old, "spec");
  keepMeta(pod, old, ["deletionTimestamp", "ownerReferences", "generation"]);
  const before: Obj = old.status ?? {};
  const status: Obj = pod.status ??= {};
  dropDisabledStatus(status, before);
  matchAddresses(status);
  if (!status.qosClass && before.qosClass) status.qosClass = before.qosClass;
  // Writers that do not know observedGeneration shall not erase it.
  if (!status.observedGeneration && before.observedGeneration) {
    status.observedGeneration = before.observedGeneration;
  }
  if (!Array.isArray(status.conditions) || !Array.isArray(before.conditions)) return;
  const used = new Set<number>();
  for (const condition of status.conditions) {
    const at = before.conditions.findIndex((c: Obj, i: number) =>
      c.type === condition.type && !used.has(i)
    );
    if (at < 0) continue;
    used.add(at);
    const generation = before.conditions[at].observedGeneration;
    if (!condition.observedGeneration && generation) condition.observedGeneration = generation;
  }
}

function keepButEphemeral(pod: KubeObject, old: Stored): void {
  const ephemeral = pod.spec?.ephemeralContainers;
  pod.spec = { ...old.spec };
  if (ephemeral === undefined) delete pod.spec.ephemeralContainers;
  else pod.spec.ephemeralContainers = ephemeral;
  keep(pod, old, "status");
  keepMeta(pod, old, META_OF_SUBRESOURCE);
}

function keepButResources(pod: KubeObject, old: Stored): void {
  const spec = pod.spec ?? {};
  const containers = mergeResources(spec.containers, old.spec?.containers);
  const init = mergeResources(spec.initContainers, old.spec?.initContainers);
  // Containers were added, removed or renamed: validation says so.
  if (!containers || !init) return;
  const resources = spec.resources;
  pod.spec = { ...old.spec, containers };
  if (init.length > 0) pod.spec.initContainers = init;
  if (resources === undefined) delete pod.spec.resources;
  else pod.spec.resources = resources;
  keep(pod, old, "status");
  keepMeta(pod, old, META_OF_SUBRESOURCE);
}

/** The stored containers with the new ones' resources, or undefined where they are not the same ones. */
function mergeResources(containers: Obj, old: Obj): Obj[] | undefined {
  const fresh: Obj[] = containers ?? [], stored: Obj[] = old ?? [];
  if (fresh.length !== stored.length) return undefined;
  const merged: Obj[] = [];
  for (let i = 0; i < fresh.length; i++) {
    // Renamed or moved: hand it on as it is, for validation to refuse.
    if (fresh[i].name !== stored[i].name) return fresh;
    const container = { ...stored[i], resources: fresh[i].resources ?? {} };
    if (fresh[i].resizePolicy === undefined) delete container.resizePolicy;
    else container.resizePolicy = fresh[i].resizePolicy;
    merged.push(container);
  }
  return merged;
}

/** Writes matchLabelKeys into the selectors, with the values of the pod's own labels. */
function mergeLabelKeys(pod: KubeObject): void {
  const labels: Record<string, string> = pod.metadata.labels ?? {};
  for (const side of ["podAffinity", "podAntiAffinity"]) {
    const affinity = pod.spec.affinity?.[side];
    if (!affinity) continue;
    for (const term of affinity.requiredDuringSchedulingIgnoredDuringExecution ?? []) {
      mergeTerm(term, labels);
    }
    for (const weighted of affinity.preferredDuringSchedulingIgnoredDuringExecution ?? []) {
      mergeTerm(weighted.podAffinityTerm, labels);
    }
  }
  for (const constraint of pod.spec.topologySpreadConstraints ?? []) {
    if (constraint.labelSelector) {
      addKeys(constraint.labelSelector, constraint.matchLabelKeys, "In", labels);
    }
  }
}

function mergeTerm(term: Obj, labels: Record<string, string>): void {
  if (!term?.labelSelector) return;
  addKeys(term.labelSelector, term.matchLabelKeys, "In", labels);
  addKeys(term.labelSelector, term.mismatchLabelKeys, "NotIn", labels);
}

function addKeys(
  selector: Obj,
  keys: string[] | undefined,
  operator: "In" | "NotIn",
  labels: Record<string, string>,
): void {
  for (const key of keys ?? []) {
    if (labels[key] === undefined) continue;
    (selector.matchExpressions ??= []).push({ key, operator, values: [labels[key]] });
  }
}

const APP_ARMOR_PREFIX = "container.apparmor.security.beta.kubernetes.io/";

/** The profile an old AppArmor annotation means; undefined where it means none. */
export function appArmorOfAnnotation(value: string): Obj {
  if (value === "unconfined") return { type: "Unconfined" };
  if (value === "runtime/default") return { type: "RuntimeDefault" };
  const path = value.startsWith("localhost/") ? value.slice("localhost/".length) : "";
  return path ? { type: "Localhost", localhostProfile: path } : undefined;
}

/** Old AppArmor annotations become fields, where no field is set; their writers are told of the fields. */
function copyAppArmorAnnotations(pod: KubeObject, context: KindContext): void {
  const annotations: Record<string, string> | undefined = pod.metadata.annotations;
  if (!annotations || pod.spec.os?.name === "windows") return;
  const shared = pod.spec.securityContext?.appArmorProfile;
  for (const list of ["initContainers", "containers", "ephemeralContainers"]) {
    for (const container of pod.spec[list] ?? []) {
      const key = APP_ARMOR_PREFIX + container.name;
      const value = annotations[key];
      if (value === undefined || container.securityContext?.appArmorProfile) continue;
      const profile = appArmorOfAnnotation(value);
      if (profile && semanticEqual(profile, shared)) continue;
      if (profile) (container.securityContext ??= {}).appArmorProfile = profile;
      const text = 'deprecated since v1.30; use the "appArmorProfile" field instead';
      context.warn?.(`metadata.annotations[${key}]: ${text}`);
    }
  }
}

/** The seconds a pod is given when a delete names none: none for pods that run nowhere. */
export function podGracePeriod(pod: Stored): number {
  if (!pod.spec?.nodeName) return 0;
  if (pod.status?.phase === "Failed" || pod.status?.phase === "Succeeded") return 0;
  const seconds = pod.spec.terminationGracePeriodSeconds ?? 0;
  return seconds < 0 ? 1 : seconds;
}
