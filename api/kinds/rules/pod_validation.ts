/**
 * Validation of pods on create and on each kind of update (upstream's `ValidatePodCreate`,
 * `ValidatePodUpdate`, `ValidatePodStatusUpdate`, `ValidatePodEphemeralContainersUpdate`,
 * `ValidatePodResize`): a pod's spec is nearly immutable.
 */

import { internalValue } from "./internal_value.ts";
import { unifiedDiff } from "./unified_diff.ts";
import type { Cause, DeepReadonly, KindContext, KubeObject } from "../../machinery/types.ts";
import { rangeText } from "../../machinery/names.ts";
import { equalExcept, semanticEqual } from "./equality.ts";
import { validateNodeChange } from "./pod_gated_update.ts";
import type { PodOptions } from "./pod_options.ts";
import { validateTolerations } from "./pod_affinity.ts";
import { validatePodResize } from "./pod_resize.ts";
import { APP_ARMOR, validateProfilesMatch } from "./pod_security.ts";
import { validatePodAnnotations, validatePodSpec } from "./pod_spec.ts";
import { validatePodStatus } from "./pod_status_validation.ts";
import { isSet, METADATA, Report, ROOT, SPEC } from "./report.ts";

// deno-lint-ignore no-explicit-any -- objects are decoded JSON; the schema walk has checked their types
type Obj = any;
type Stored = DeepReadonly<KubeObject>;
type Annotations = Readonly<Record<string, string>>;

const INT32_MAX = 2147483647;
const NO_ANNOTATIONS: Annotations = {};
const ANNOTATIONS = METADATA.child("annotations");
const MIRROR = "kubernetes.io/config.mirror";

/** What create and update have in common. */
export function validatePodObject(pod: Stored, r: Report): void {
  const spec: Obj = pod.spec ?? {};
  const options: PodOptions = { isPod: true, podName: pod.metadata.name };
  if (pod.metadata.annotations) {
    validatePodAnnotations(pod.metadata.annotations, spec, ANNOTATIONS, r);
  }
  validatePodSpec(spec, SPEC, r, options);
  if (spec.serviceAccountName) return;
  spec.volumes?.forEach((volume: Obj, i: number) => {
    volume.projected?.sources?.forEach((source: Obj, j: number) => {
      if (!isSet(source.serviceAccountToken)) return;
      const at = SPEC.child("volumes").index(i).child("projected", "sources").index(j);
      const text = "must not be specified when serviceAccountName is not set";
      r.forbidden(at.child("serviceAccountToken"), text);
    });
  });
}

/** Checks a new pod. */
export function validatePod(pod: Stored): Cause[] {
  const r = new Report();
  validatePodObject(pod, r);
  const spec: Obj = pod.spec ?? {};
  if (spec.ephemeralContainers?.length) {
    r.forbidden(SPEC.child("ephemeralContainers"), "cannot be set on create");
  }
  if (spec.nodeName && spec.schedulingGates?.length) {
    const text = "cannot be set until all schedulingGates have been cleared";
    r.forbidden(SPEC.child("nodeName"), text);
  }
  if (pod.metadata.annotations) validateProfilesMatch(pod.metadata.annotations, spec, SPEC, r);
  return r.causes;
}

/** Checks a changed pod, also through its subresources. */
export function validatePodUpdate(pod: Stored, old: Stored, context: KindContext): Cause[] {
  const r = new Report();
  switch (context.subresource) {
    case "status":
      validateAnnotationChange(pod, old, r);
      validatePodStatus(pod, old, r);
      return r.causes;
    case "ephemeralcontainers":
      return validateEphemeralUpdate(pod, old);
    case "resize":
      return validatePodResize(pod, old, validatePodObject);
  }
  // A write of metadata alone, such as the garbage collector's, needs no look at an unchanged spec.
  if (semanticEqual(pod.spec, old.spec)) {
    validateAnnotationChange(pod, old, r);
    return r.causes;
  }
  validatePodObject(pod, r);
  validateAnnotationChange(pod, old, r);
  validateSpecChange(pod.spec ?? {}, old.spec ?? {}, r);
  return r.causes;
}

/** The old annotations of AppArmor and of mirror pods belong to creation. */
function validateAnnotationChange(pod: Stored, old: Stored, r: Report): void {
  const now: Annotations = pod.metadata.annotations ?? NO_ANNOTATIONS;
  const then: Annotations = old.metadata.annotations ?? NO_ANNOTATIONS;
  let changed = false;
  for (const key in then) {
    if (now[key] === then[key]) continue;
    changed = true;
    if (key.startsWith(APP_ARMOR)) {
      r.forbidden(ANNOTATIONS.key(key), "may not remove or update AppArmor annotations");
    }
    if (key === MIRROR) {
      r.forbidden(ANNOTATIONS.key(key), "may not remove or update mirror pod annotation");
    }
  }
  for (const key in now) {
    if (then[key] !== undefined) continue;
    changed = true;
    if (key.startsWith(APP_ARMOR)) {
      r.forbidden(ANNOTATIONS.key(key), "may not add AppArmor annotations");
    }
    if (key === MIRROR) r.forbidden(ANNOTATIONS.key(key), "may not add mirror pod annotation");
  }
  if (changed) validatePodAnnotations(now, pod.spec ?? {}, ANNOTATIONS, r);
}

const UPDATABLE = [
  "`spec.containers[*].image`",
  "`spec.initContainers[*].image`",
  "`spec.activeDeadlineSeconds`",
  "`spec.tolerations` (only additions to existing tolerations)",
  "`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)",
].join(",");

function validateSpecChange(spec: Obj, before: Obj, r: Report): void {
  for (const list of ["containers", "initContainers"]) {
    if ((spec[list]?.length ?? 0) !== (before[list]?.length ?? 0)) {
      return r.forbidden(SPEC.child(list), "pod updates may not add or remove containers");
    }
    spec[list]?.forEach(({ image = "" }: Obj, i: number) => {
      const at = SPEC.child(list).index(i).child("image");
      if (image === "") r.required(at);
      if (image !== image.trim()) {
        r.invalid(at, image, "must not have leading or trailing whitespace");
      }
    });
  }
  if (!validateDeadline(spec.activeDeadlineSeconds, before.activeDeadlineSeconds, r)) return;
  validateAddedTolerations(spec.tolerations ?? [], before.tolerations ?? [], r);
  validateDeletedGates(spec.schedulingGates ?? [], before.schedulingGates ?? [], r);

  const munged: Obj = { ...spec };
  for (const list of ["containers", "initContainers"]) {
    munged[list] = spec[list]?.map((c: Obj, i: number) => ({ ...c, image: before[list][i].image }));
  }
  const except = ["activeDeadlineSeconds", "tolerations", "schedulingGates"];
  if (before.terminationGracePeriodSeconds < 0 && spec.terminationGracePeriodSeconds === 1) {
    except.push("terminationGracePeriodSeconds");
  }
  if (before.schedulingGates?.length) validateNodeChange(munged, before, r);
  if (equalExcept(munged, before, except)) return;
  for (const field of except) {
    if (before[field] === undefined) delete munged[field];
    else munged[field] = before[field];
  }
  const text = `pod updates may not change fields other than ${UPDATABLE}`;
  const diff = unifiedDiff(internalValue("PodSpec", before), internalValue("PodSpec", munged));
  r.forbidden(SPEC, `${text}\n${diff}`);
}

/** A deadline may come and shrink, never go or grow. */
function validateDeadline(now: Obj, then: Obj, r: Report): boolean {
  const at = SPEC.child("activeDeadlineSeconds");
  if (!isSet(now)) {
    if (isSet(then)) r.invalid(at, null, "must not update from a positive integer to nil value");
    return true;
  }
  if (now < 0 || now > INT32_MAX) {
    r.invalid(at, now, rangeText(0, INT32_MAX));
    return false;
  }
  if (isSet(then) && then < now) {
    r.invalid(at, now, "must be less than or equal to previous value");
    return false;
  }
  return true;
}

function validateAddedTolerations(now: Obj[], then: Obj[], r: Report): void {
  const at = SPEC.child("tolerations");
  for (const old of then) {
    if (now.some((t) => equalExcept(t, old, ["tolerationSeconds"]))) continue;
    return r.forbidden(at, "existing toleration can not be modified except its tolerationSeconds");
  }
  validateTolerations(now, at, r);
}

function validateDeletedGates(now: Obj[], then: Obj[], r: Report): void {
  now.forEach(({ name }, i) => {
    if (then.some((gate) => gate.name === name)) return;
    const text = `only deletion is allowed, but found new scheduling gate '${name}'`;
    r.forbidden(SPEC.child("schedulingGates").index(i).child("name"), text);
  });
}

function validateEphemeralUpdate(pod: Stored, old: Stored): Cause[] {
  const r = new Report();
  if (old.metadata.annotations?.[MIRROR] !== undefined) {
    r.forbidden(ROOT, "static pods do not support ephemeral containers");
    return r.causes;
  }
  validatePodObject(pod, r);
  validateAnnotationChange(pod, old, r);
  const at = SPEC.child("ephemeralContainers");
  const now: Obj[] = pod.spec?.ephemeralContainers ?? [];
  for (const container of old.spec?.ephemeralContainers ?? []) {
    const same = now.find((c) => c.name === container.name);
    const who = `existing ephemeral containers "${container.name}"`;
    if (!same) r.forbidden(at, `${who} may not be removed\n`);
    else if (!semanticEqual(same, container)) {
      const [was, is] = [container, same].map((c) => internalValue("EphemeralContainer", c));
      r.forbidden(at, `${who} may not be changed\n${unifiedDiff(was, is)}`);
    }
  }
  return r.causes;
}
