/**
 * Rules of the apps group: defaults, what a write may touch, columns and selectable fields of Deployments,
 * ReplicaSets, StatefulSets, DaemonSets and ControllerRevisions. Validation is in `apps_validation.ts`.
 */

import type {
  Column,
  DeepReadonly,
  Kind,
  KindContext,
  KindHooks,
  KubeObject,
} from "../../machinery/types.ts";
import { formatLabels, formatLabelSelector } from "../../machinery/selectors.ts";
import * as check from "./apps_validation.ts";
import { AGE_COLUMN, column, NAME_COLUMN, type Row, templateColumns } from "./cells.ts";
import { defaultPersistentVolumeClaim } from "./core_defaults.ts";
import { semanticEqual } from "./equality.ts";
import { defaultPodTemplate } from "./pod_defaults.ts";
import { claimWarnings, workloadWarnings } from "./pod_warnings.ts";
import { statusHooks } from "./prepare.ts";
import { SPEC } from "./report.ts";

// deno-lint-ignore no-explicit-any -- objects are decoded JSON; the schema walk has checked their types
type Obj = any;

const REVISIONS_KEPT = 10;
const PROGRESS_SECONDS = 600;

function defaultDeployment(deployment: KubeObject): void {
  const spec: Obj = deployment.spec ??= {};
  spec.replicas ??= 1;
  const strategy = spec.strategy ??= {};
  strategy.type ||= "RollingUpdate";
  if (strategy.type === "RollingUpdate") {
    const rolling = strategy.rollingUpdate ??= {};
    rolling.maxUnavailable ??= "25%";
    rolling.maxSurge ??= "25%";
  }
  spec.revisionHistoryLimit ??= REVISIONS_KEPT;
  spec.progressDeadlineSeconds ??= PROGRESS_SECONDS;
  defaultPodTemplate(spec.template);
}

function defaultReplicaSet(set: KubeObject): void {
  const spec: Obj = set.spec ??= {};
  spec.replicas ??= 1;
  defaultPodTemplate(spec.template);
}

function defaultDaemonSet(set: KubeObject): void {
  const spec: Obj = set.spec ??= {};
  const strategy = spec.updateStrategy ??= {};
  strategy.type ||= "RollingUpdate";
  if (strategy.type === "RollingUpdate") {
    const rolling = strategy.rollingUpdate ??= {};
    rolling.maxUnavailable ??= 1;
    rolling.maxSurge ??= 0;
  }
  spec.revisionHistoryLimit ??= REVISIONS_KEPT;
  defaultPodTemplate(spec.template);
}

function defaultStatefulSet(set: KubeObject): void {
  const spec: Obj = set.spec ??= {};
  spec.podManagementPolicy ||= "OrderedReady";
  const strategy = spec.updateStrategy ??= {};
  if (!strategy.type) {
    strategy.type = "RollingUpdate";
    strategy.rollingUpdate ??= {};
  }
  if (strategy.type === "RollingUpdate" && strategy.rollingUpdate) {
    strategy.rollingUpdate.partition ??= 0;
  }
  const retention = spec.persistentVolumeClaimRetentionPolicy ??= {};
  retention.whenDeleted ||= "Retain";
  retention.whenScaled ||= "Retain";
  spec.replicas ??= 1;
  spec.revisionHistoryLimit ??= REVISIONS_KEPT;
  for (const claim of spec.volumeClaimTemplates ?? []) {
    claim.apiVersion = "v1";
    claim.kind = "PersistentVolumeClaim";
    claim.metadata ??= {};
    defaultPersistentVolumeClaim(claim);
  }
  defaultPodTemplate(spec.template);
}

function podSpec(object: DeepReadonly<KubeObject>): Obj {
  return object.spec?.template?.spec;
}

/** On a write of the status, labels stay too (upstream's strategies of these kinds). */
function workloadHooks(
  status: () => Obj = () => ({}),
): Pick<KindHooks, "prepareCreate" | "prepareUpdate"> {
  const hooks = statusHooks({ generation: true, status, podSpec });
  return {
    prepareCreate: hooks.prepareCreate,
    prepareUpdate(object, old, context) {
      hooks.prepareUpdate(object, old, context);
      if (context.subresource === "status") return keepLabels(object, old);
      // Its annotations reach the ReplicaSets: they count as changes of what is wanted
      if (semanticEqual(object.metadata.annotations, old.metadata.annotations)) return;
      object.metadata.generation = (old.metadata.generation ?? 0) + 1;
    },
  };
}

function keepLabels(object: KubeObject, old: DeepReadonly<KubeObject>): void {
  if (old.metadata.labels === undefined) delete object.metadata.labels;
  else object.metadata.labels = old.metadata.labels as Record<string, string>;
}

const plain = (status: () => Obj) => statusHooks({ generation: true, status, podSpec });

const TEMPLATE_GENERATION = "deprecated.daemonset.template.generation";

/** The old count of template changes of a DaemonSet, which lives on as an annotation. */
function setTemplateGeneration(set: KubeObject, generation: number): void {
  (set.metadata.annotations ??= {})[TEMPLATE_GENERATION] = String(generation);
}

function templateGeneration(set: DeepReadonly<KubeObject>): number {
  return Math.max(1, Number.parseInt(set.metadata.annotations?.[TEMPLATE_GENERATION] ?? "1") || 1);
}

function daemonHooks(): Pick<KindHooks, "prepareCreate" | "prepareUpdate"> {
  const hooks = plain(() => ({
    currentNumberScheduled: 0,
    numberMisscheduled: 0,
    desiredNumberScheduled: 0,
    numberReady: 0,
  }));
  return {
    prepareCreate(object, context) {
      hooks.prepareCreate(object, context);
      setTemplateGeneration(object, templateGeneration(object));
    },
    prepareUpdate(object, old, context) {
      hooks.prepareUpdate(object, old, context);
      const changed = !semanticEqual(object.spec?.template, old.spec?.template);
      setTemplateGeneration(object, templateGeneration(old) + (changed ? 1 : 0));
    },
  };
}

function templateOf(named: boolean): NonNullable<KindHooks["warnings"]> {
  return workloadWarnings((object) => object.spec?.template, SPEC.child("template"), named);
}

const ofTemplate = templateOf(false);

function statefulSetWarnings(set: Row, old?: Row): string[] {
  if (old && set.spec === old.spec) return [];
  const lines = ofTemplate(set, old);
  set.spec?.volumeClaimTemplates?.forEach((claim: Obj, i: number) => {
    claimWarnings(claim.spec, SPEC.child("volumeClaimTemplates").index(i), lines);
  });
  if ((set.spec?.revisionHistoryLimit ?? 0) < 0) {
    const text = "a negative value retains all historical revisions; a value >= 0 is recommended";
    lines.push(`${SPEC.child("revisionHistoryLimit")}: ${text}`);
  }
  return lines;
}

/**
 * How many pods an update takes down at once belongs to a feature. Where that is off, only who has it keeps it; where it
 * is on, who does not say gets one.
 */
function gateMaxUnavailable(
  set: KubeObject,
  old: DeepReadonly<KubeObject> | undefined,
  { features }: KindContext,
): void {
  const rolling = (object?: DeepReadonly<KubeObject>) =>
    object?.spec?.updateStrategy?.rollingUpdate;
  if (features?.get("MaxUnavailableStatefulSet")) {
    const update = rolling(set);
    if (update) update.maxUnavailable ??= 1;
  } else if (rolling(old)?.maxUnavailable === undefined) delete rolling(set)?.maxUnavailable;
}

function statefulHooks() {
  const { prepareCreate, prepareUpdate } = plain(() => ({ replicas: 0, availableReplicas: 0 }));
  return {
    prepareCreate(set: KubeObject, context: KindContext) {
      gateMaxUnavailable(set, undefined, context);
      prepareCreate(set, context);
    },
    prepareUpdate(set: KubeObject, old: DeepReadonly<KubeObject>, context: KindContext) {
      if (!context.subresource) gateMaxUnavailable(set, old, context);
      prepareUpdate(set, old, context);
    },
  };
}

/** Hooks by kind. */
export const hooks: Record<string, KindHooks> = {
  Deployment: {
    defaults: defaultDeployment,
    ...workloadHooks(),
    validate: check.validateDeployment,
    validateUpdate: check.validateDeploymentUpdate,
    warnings: templateOf(true),
  },
  ReplicaSet: {
    defaults: defaultReplicaSet,
    ...plain(() => ({ replicas: 0 })),
    validate: check.validateReplicaSet,
    validateUpdate: check.validateReplicaSetUpdate,
    warnings: templateOf(true),
  },
  DaemonSet: {
    defaults: defaultDaemonSet,
    ...daemonHooks(),
    validate: check.validateDaemonSet,
    validateUpdate: check.validateDaemonSetUpdate,
    warnings: templateOf(false),
  },
  StatefulSet: {
    defaults: defaultStatefulSet,
    ...statefulHooks(),
    validate: check.validateStatefulSet,
    validateUpdate: check.validateStatefulSetUpdate,
    warnings: statefulSetWarnings,
    validateName: check.statefulSetName,
  },
  ControllerRevision: {
    validate: check.validateNewControllerRevision,
    validateUpdate: check.validateControllerRevisionUpdate,
  },
};

const INTEGER = { type: "integer" } as const;
const SELECTOR_COLUMN = column("Selector", (o) => formatLabelSelector(o.spec?.selector as Obj), {
  priority: 1,
  description: "Labels that find the pods",
});
const TEMPLATE_COLUMNS = templateColumns((o) => o.spec?.template);

function controllerText(object: DeepReadonly<KubeObject>): string {
  const owner = object.metadata.ownerReferences?.find((ref) => ref.controller);
  if (!owner) return "<none>";
  const [group] = owner.apiVersion.includes("/") ? owner.apiVersion.split("/") : [""];
  const kind = owner.kind.toLowerCase();
  return group ? `${kind}.${group}/${owner.name}` : `${kind}/${owner.name}`;
}

/** Columns by kind. */
export const columns: Record<string, Column[]> = {
  Deployment: [
    NAME_COLUMN,
    column("Ready", (o) => `${o.status?.readyReplicas ?? 0}/${o.spec?.replicas ?? 0}`, {
      description: "Pods that are ready, of those wanted",
    }),
    column("Up-to-date", (o) => o.status?.updatedReplicas ?? 0),
    column("Available", (o) => o.status?.availableReplicas ?? 0),
    AGE_COLUMN,
    ...TEMPLATE_COLUMNS,
    SELECTOR_COLUMN,
  ],
  ReplicaSet: [
    NAME_COLUMN,
    column("Desired", (o) => o.spec?.replicas ?? 0, INTEGER),
    column("Current", (o) => o.status?.replicas ?? 0, INTEGER),
    column("Ready", (o) => o.status?.readyReplicas ?? 0, INTEGER),
    AGE_COLUMN,
    ...TEMPLATE_COLUMNS,
    SELECTOR_COLUMN,
  ],
  DaemonSet: [
    NAME_COLUMN,
    column("Desired", (o) => o.status?.desiredNumberScheduled ?? 0, INTEGER),
    column("Current", (o) => o.status?.currentNumberScheduled ?? 0, INTEGER),
    column("Ready", (o) => o.status?.numberReady ?? 0, INTEGER),
    column("Up-to-date", (o) => o.status?.updatedNumberScheduled ?? 0, INTEGER),
    column("Available", (o) => o.status?.numberAvailable ?? 0, INTEGER),
    column("Node Selector", (o) => formatLabels(o.spec?.template?.spec?.nodeSelector)),
    AGE_COLUMN,
    ...TEMPLATE_COLUMNS,
    SELECTOR_COLUMN,
  ],
  StatefulSet: [
    NAME_COLUMN,
    column("Ready", (o) => `${o.status?.readyReplicas ?? 0}/${o.spec?.replicas ?? 0}`, {
      description: "Pods that are ready, of those wanted",
    }),
    AGE_COLUMN,
    ...TEMPLATE_COLUMNS,
  ],
  ControllerRevision: [
    NAME_COLUMN,
    column("Controller", controllerText),
    column("Revision", (o) => o.revision ?? 0),
    AGE_COLUMN,
  ],
};

/** Selectable fields by kind. */
export const fields: Record<string, Kind["fields"]> = {};
