/** Validation of the apps group (upstream's `pkg/apis/apps/validation`). */

import type { Cause, DeepReadonly, KindContext, KubeObject } from "../../machinery/types.ts";
import { isDns1123Label, nameIsDnsLabel } from "../../machinery/names.ts";
import { checkLabelSelector } from "../../machinery/selectors.ts";
import { equalExcept, semanticEqual } from "./equality.ts";
import { internalValue } from "./internal_value.ts";
import { validateAnnotations, validateLabels } from "./meta.ts";
import { validatePodAnnotations } from "./pod_spec.ts";
import {
  collisionsGrow,
  findsPods,
  intOrPercent,
  isEmptySelector,
  nonNegative,
  nonNegativeStatus,
  notAbove,
  selectorValue,
  selects,
  validateAlways,
  validateAtMost100,
  validateIntOrPercent,
  validateReplicaTemplate,
  validateSelector,
} from "./replica_validation.ts";
import { isSet, Path, Report, SPEC } from "./report.ts";
import { validateClaimSpec } from "./claim_validation.ts";
import { validateReplicaCounts } from "./core_validation.ts";
import { validateTemplate } from "./pod_spec.ts";

// deno-lint-ignore no-explicit-any -- objects are decoded JSON; the schema walk has checked their types
type Obj = any;
type Stored = DeepReadonly<KubeObject>;

const NOT_READY = "cannot be greater than readyReplicas";
const IMMUTABLE = "field is immutable";

// --- Deployments and ReplicaSets --------------------------------------------------------------------

function validateDeploymentStrategy(strategy: Obj, r: Report): void {
  const at = SPEC.child("strategy");
  const { type, rollingUpdate } = strategy;
  const rollingAt = at.child("rollingUpdate");
  if (type === "Recreate") {
    if (isSet(rollingUpdate)) {
      r.forbidden(rollingAt, "may not be specified when strategy `type` is 'Recreate'");
    }
  } else if (type === "RollingUpdate") {
    if (!isSet(rollingUpdate)) {
      return r.required(rollingAt, "this should be defaulted and never be nil");
    }
    const { maxUnavailable = 0, maxSurge = 0 } = rollingUpdate;
    validateIntOrPercent(maxUnavailable, rollingAt.child("maxUnavailable"), r);
    validateIntOrPercent(maxSurge, rollingAt.child("maxSurge"), r);
    if (intOrPercent(maxUnavailable) === 0 && intOrPercent(maxSurge) === 0) {
      const text = "may not be 0 when `maxSurge` is 0";
      r.invalid(rollingAt.child("maxUnavailable"), maxUnavailable, text);
    }
    validateAtMost100(maxUnavailable, rollingAt.child("maxUnavailable"), r);
  } else r.notSupported(at, strategy, ["Recreate", "RollingUpdate"]);
}

function validateDeploymentSpec(spec: Obj, r: Report): void {
  nonNegative(spec, "replicas", SPEC, r);
  validateSelector(spec.selector, r, "deployment");
  validateReplicaTemplate(spec, r, "ReplicaSet");
  validateDeploymentStrategy(spec.strategy ?? {}, r);
  nonNegative(spec, "minReadySeconds", SPEC, r);
  nonNegative(spec, "revisionHistoryLimit", SPEC, r);
  const deadline = spec.progressDeadlineSeconds;
  if (!isSet(deadline)) return;
  nonNegative(spec, "progressDeadlineSeconds", SPEC, r);
  if (deadline <= (spec.minReadySeconds ?? 0)) {
    const text = "must be greater than minReadySeconds";
    r.invalid(SPEC.child("progressDeadlineSeconds"), deadline, text);
  }
}

/** Checks a new Deployment. */
export function validateDeployment(deployment: Stored): Cause[] {
  const r = new Report();
  validateDeploymentSpec(deployment.spec ?? {}, r);
  return r.causes;
}

/** Checks a changed Deployment: its selector stays. */
export function validateDeploymentUpdate(
  deployment: Stored,
  old: Stored,
  context: KindContext,
): Cause[] {
  const r = new Report();
  if (context.subresource === "status") {
    const status: Obj = deployment.status ?? {};
    nonNegativeStatus(status, [
      "observedGeneration",
      "replicas",
      "updatedReplicas",
      "readyReplicas",
      "availableReplicas",
      "unavailableReplicas",
      "terminatingReplicas",
    ], r);
    notAbove(status, "updatedReplicas", "status.replicas", r);
    notAbove(status, "readyReplicas", "status.replicas", r);
    notAbove(status, "availableReplicas", "status.replicas", r);
    notAbove(status, "availableReplicas", "readyReplicas", r, NOT_READY);
    collisionsGrow(status, old.status, r);
    return r.causes;
  }
  validateDeploymentSpec(deployment.spec ?? {}, r);
  validateSameSelector(deployment, old, r);
  return r.causes;
}

function validateSameSelector(object: Stored, old: Stored, r: Report): void {
  if (semanticEqual(object.spec?.selector, old.spec?.selector)) return;
  r.invalid(SPEC.child("selector"), selectorValue(object.spec?.selector), IMMUTABLE);
}

function validateReplicaSetSpec(spec: Obj, r: Report): void {
  nonNegative(spec, "replicas", SPEC, r);
  nonNegative(spec, "minReadySeconds", SPEC, r);
  validateSelector(spec.selector, r, "deployment");
  validateReplicaTemplate(spec, r, "ReplicaSet");
}

/** Checks a new ReplicaSet. */
export function validateReplicaSet(set: Stored): Cause[] {
  const r = new Report();
  validateReplicaSetSpec(set.spec ?? {}, r);
  return r.causes;
}

/** Checks a changed ReplicaSet: its selector stays. */
export function validateReplicaSetUpdate(set: Stored, old: Stored, context: KindContext): Cause[] {
  const r = new Report();
  if (context.subresource === "status") {
    validateReplicaCounts(set.status ?? {}, r);
    return r.causes;
  }
  // Scaling changes one number; the template was checked when it came in.
  if (semanticEqual(set.spec?.template, old.spec?.template)) {
    nonNegative(set.spec ?? {}, "replicas", SPEC, r);
    nonNegative(set.spec ?? {}, "minReadySeconds", SPEC, r);
    if (!semanticEqual(set.spec?.selector, old.spec?.selector)) {
      validateReplicaSetSpec(set.spec ?? {}, r);
    }
  } else validateReplicaSetSpec(set.spec ?? {}, r);
  validateSameSelector(set, old, r);
  return r.causes;
}

// --- DaemonSets -------------------------------------------------------------------------------------

function validateDaemonStrategy(strategy: Obj, r: Report): void {
  const at = SPEC.child("updateStrategy");
  const { type, rollingUpdate } = strategy;
  if (type === "OnDelete") return;
  if (type !== "RollingUpdate") {
    return r.notSupported(at, strategy, ["RollingUpdate", "OnDelete"], true);
  }
  const rollingAt = at.child("rollingUpdate");
  if (!isSet(rollingUpdate)) return r.required(rollingAt);
  const { maxUnavailable = 0, maxSurge = 0 } = rollingUpdate;
  for (const [name, value] of [["maxUnavailable", maxUnavailable], ["maxSurge", maxSurge]]) {
    validateIntOrPercent(value, rollingAt.child(name), r);
  }
  for (const [name, value] of [["maxUnavailable", maxUnavailable], ["maxSurge", maxSurge]]) {
    validateAtMost100(value, rollingAt.child(name), r);
  }
  const unavailable = intOrPercent(maxUnavailable) !== 0, surge = intOrPercent(maxSurge) !== 0;
  if (unavailable && surge) {
    r.invalid(
      rollingAt.child("maxSurge"),
      maxSurge,
      "may not be set when maxUnavailable is non-zero",
    );
  } else if (!unavailable && !surge) {
    r.required(rollingAt.child("maxUnavailable"), "cannot be 0 when maxSurge is 0");
  }
}

function validateDaemonSetSpec(spec: Obj, r: Report): void {
  const at = SPEC.child("template");
  const template = spec.template ?? {};
  const { selector } = spec;
  if (isSet(selector)) r.add(checkLabelSelector(`${SPEC.child("selector")}`, selector));
  // A selector that is missing matches nothing.
  const match = isSet(selector) ? selects(selector, template.metadata?.labels) : false;
  if (match === false) {
    const text = "`selector` does not match template `labels`";
    r.invalid(at.child("metadata", "labels"), template.metadata?.labels ?? null, text);
  }
  if (isSet(selector) && isEmptySelector(selector)) {
    r.invalid(SPEC.child("selector"), selector, "empty selector is invalid for daemonset");
  }
  validateTemplate(template, at, r);
  validateAlways(template, at, r, "DaemonSet");
  nonNegative(spec, "minReadySeconds", SPEC, r);
  validateDaemonStrategy(spec.updateStrategy ?? {}, r);
  nonNegative(spec, "revisionHistoryLimit", SPEC, r);
}

/** Checks a new DaemonSet. */
export function validateDaemonSet(set: Stored): Cause[] {
  const r = new Report();
  validateDaemonSetSpec(set.spec ?? {}, r);
  return r.causes;
}

/** Checks a changed DaemonSet: its selector stays. */
export function validateDaemonSetUpdate(set: Stored, old: Stored, context: KindContext): Cause[] {
  const r = new Report();
  if (context.subresource === "status") {
    nonNegativeStatus(set.status ?? {}, [
      "currentNumberScheduled",
      "numberMisscheduled",
      "desiredNumberScheduled",
      "numberReady",
      "observedGeneration",
      "updatedNumberScheduled",
      "numberAvailable",
      "numberUnavailable",
    ], r);
    collisionsGrow(set.status ?? {}, old.status, r);
    return r.causes;
  }
  validateDaemonSetSpec(set.spec ?? {}, r);
  validateSameSelector(set, old, r);
  return r.causes;
}

// --- StatefulSets -----------------------------------------------------------------------------------

function validateStatefulStrategy(strategy: Obj, r: Report): void {
  const at = SPEC.child("updateStrategy");
  const { type, rollingUpdate } = strategy;
  const rollingAt = at.child("rollingUpdate");
  if (!type) return r.required(at);
  if (type === "OnDelete") {
    if (isSet(rollingUpdate)) {
      const shown = internalValue("RollingUpdateStatefulSetStrategy", rollingUpdate);
      r.invalid(rollingAt, shown, "only allowed for updateStrategy 'RollingUpdate'");
    }
    return;
  }
  if (type !== "RollingUpdate") {
    const shown = internalValue("StatefulSetUpdateStrategy", strategy);
    return r.invalid(at, shown, "must be 'RollingUpdate' or 'OnDelete'");
  }
  if (!isSet(rollingUpdate)) return;
  nonNegative(rollingUpdate, "partition", rollingAt, r);
  const { maxUnavailable } = rollingUpdate;
  if (!isSet(maxUnavailable)) return;
  validateIntOrPercent(maxUnavailable, rollingAt.child("maxUnavailable"), r);
  if (intOrPercent(maxUnavailable) === 0) {
    r.invalid(rollingAt.child("maxUnavailable"), maxUnavailable, "cannot be 0");
  }
  validateAtMost100(maxUnavailable, rollingAt.child("maxUnavailable"), r);
}

function validateRetention(policy: Obj, r: Report): void {
  if (!isSet(policy)) return;
  const at = SPEC.child("persistentVolumeClaimRetentionPolicy");
  for (const field of ["whenDeleted", "whenScaled"]) {
    const value = policy[field] ?? "";
    if (value !== "Retain" && value !== "Delete") {
      r.notSupported(at.child(field), value, ["Retain", "Delete"], true);
    }
  }
}

/** What a check of a stored StatefulSet need not look at again. */
interface StatefulOptions {
  /** An update: the service's name and the claims are immutable. */
  update?: boolean;
  /** The stored template is bad already. */
  skipTemplate?: boolean;
}

function validateStatefulSetSpec(spec: Obj, r: Report, options: StatefulOptions = {}): void {
  const management = spec.podManagementPolicy;
  const managementAt = SPEC.child("podManagementPolicy");
  if (!management) r.required(managementAt);
  else if (management !== "OrderedReady" && management !== "Parallel") {
    r.invalid(managementAt, management, "must be 'OrderedReady' or 'Parallel'");
  }
  validateStatefulStrategy(spec.updateStrategy ?? {}, r);
  validateRetention(spec.persistentVolumeClaimRetentionPolicy, r);
  if (!options.update) {
    spec.volumeClaimTemplates?.forEach((claim: Obj, i: number) => {
      const at = SPEC.child("volumeClaimTemplates").index(i).child("spec");
      validateClaimSpec(claim.spec ?? {}, at, r);
    });
  }
  nonNegative(spec, "replicas", SPEC, r);
  nonNegative(spec, "minReadySeconds", SPEC, r);
  if (spec.ordinals?.start < 0) nonNegative(spec.ordinals, "start", SPEC.child("ordinals"), r);
  if (!options.update && spec.serviceName) {
    r.check(isDns1123Label(spec.serviceName), SPEC.child("serviceName"), spec.serviceName);
  }
  validateSelector(spec.selector, r, "statefulset");
  validateStatefulTemplate(spec, r, options);
}

/** The template as the pods will be: claims are volumes, names are the controller's. */
function statefulPod({ template = {}, volumeClaimTemplates: claims }: Obj): Obj {
  const { subdomain: _, hostname: __, ...spec } = template.spec ?? {};
  if (!claims?.length) return { ...template, spec };
  const volumes = new Map<string, Obj>();
  for (const { metadata } of claims) {
    const name = metadata?.name ?? "";
    volumes.set(name, { name, persistentVolumeClaim: { claimName: name } });
  }
  const own = (spec.volumes ?? []).filter(({ name }: Obj) => !volumes.has(name));
  return { ...template, spec: { ...spec, volumes: [...volumes.values(), ...own] } };
}

function validateStatefulTemplate(spec: Obj, r: Report, options: StatefulOptions): void {
  const at = SPEC.child("template");
  const template = statefulPod(spec);
  const { labels, annotations } = template.metadata ?? {};
  const match = findsPods(spec.selector, labels);
  if (match === undefined) r.invalid(SPEC.child("selector"), selectorValue(spec.selector), "");
  else {
    if (!match) {
      const text = "`selector` does not match template `labels`";
      r.invalid(at.child("metadata", "labels"), labels ?? null, text);
    }
    if (!options.skipTemplate) validateTemplate(template, at, r);
    // Upstream checks these once more after the template
    validateLabels(labels, at.child("labels"), r);
    validateAnnotations(annotations, at.child("annotations"), r);
    if (annotations) {
      validatePodAnnotations(annotations, template.spec ?? {}, at.child("annotations"), r);
    }
  }
  validateAlways(template, at, r, "StatefulSet");
}

/** Checks a new StatefulSet. */
export function validateStatefulSet(set: Stored): Cause[] {
  const r = new Report();
  validateStatefulSetSpec(set.spec ?? {}, r);
  return r.causes;
}

const STATEFUL_UPDATABLE = [
  "replicas",
  "ordinals",
  "template",
  "updateStrategy",
  "revisionHistoryLimit",
  "persistentVolumeClaimRetentionPolicy",
  "minReadySeconds",
];
const STATEFUL_TEXT = "updates to statefulset spec for fields other than 'replicas', 'ordinals', " +
  "'template', 'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and " +
  "'minReadySeconds' are forbidden";

/** Checks a changed StatefulSet. */
export function validateStatefulSetUpdate(set: Stored, old: Stored, context: KindContext): Cause[] {
  const r = new Report();
  if (context.subresource === "status") {
    const status: Obj = set.status ?? {};
    nonNegativeStatus(status, [
      "replicas",
      "readyReplicas",
      "currentReplicas",
      "updatedReplicas",
      "availableReplicas",
      "observedGeneration",
    ], r);
    for (
      const name of ["readyReplicas", "currentReplicas", "updatedReplicas", "availableReplicas"]
    ) {
      notAbove(status, name, "status.replicas", r);
    }
    notAbove(status, "availableReplicas", "status.readyReplicas", r);
    collisionsGrow(status, old.status, r);
    return r.causes;
  }
  const spec = set.spec ?? {}, before = old.spec ?? {};
  // A template that went bad as rules were tightened does not stand in the way of other changes
  const then = new Report();
  validateStatefulSetSpec(before, then, { update: true });
  const skipTemplate = then.causes.length > 0;
  validateStatefulSetSpec(spec, r, { update: true, skipTemplate });
  if (!equalExcept(spec, before, STATEFUL_UPDATABLE)) {
    r.forbidden(SPEC, STATEFUL_TEXT);
  }
  return r.causes;
}

/** A StatefulSet's name is the beginning of its pods' host names. */
export function statefulSetName(name: string, prefix: boolean): string[] {
  return prefix ? nameIsDnsLabel(name, true) : isDns1123Label(name);
}

// --- ControllerRevisions ----------------------------------------------------------------------------

function validateControllerRevision(revision: Stored): Cause[] {
  const r = new Report();
  if (!isSet(revision.data)) r.required(new Path("data"), "data is mandatory");
  if (revision.revision < 0) {
    r.invalid(new Path("revision"), revision.revision, "must be greater than or equal to 0");
  }
  return r.causes;
}

/** Checks a new ControllerRevision, which holds an object. */
export function validateNewControllerRevision(revision: Stored): Cause[] {
  const r = new Report();
  r.add(validateControllerRevision(revision));
  const { data } = revision;
  if (isSet(data) && (typeof data !== "object" || Array.isArray(data))) {
    r.required(new Path("data"), "data must be a valid JSON object");
  }
  return r.causes;
}

/** Checks a changed ControllerRevision: what it holds stays. */
export function validateControllerRevisionUpdate(revision: Stored, old: Stored): Cause[] {
  const r = new Report();
  r.add(validateControllerRevision(revision));
  if (!semanticEqual(revision.data, old.data)) {
    r.invalid(new Path("data"), revision.data ?? null, IMMUTABLE);
  }
  return r.causes;
}
