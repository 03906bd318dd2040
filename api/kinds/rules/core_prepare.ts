/**
 * What a write may touch, for the core group's kinds beside Pod and Service (upstream's strategies under
 * `pkg/registry/core`).
 */

import type { DeepReadonly, KindContext, KubeObject } from "../../machinery/types.ts";
import { dropDisabledFields } from "./pod_features.ts";
import { keep, raiseGeneration } from "./prepare.ts";

// deno-lint-ignore no-explicit-any -- objects are decoded JSON; the schema walk has checked their types
type Obj = any;
type Stored = DeepReadonly<KubeObject>;

const KUBERNETES_FINALIZER = "kubernetes";

/** Starts a Namespace: active, and held until its content is gone. */
export function prepareNamespaceCreate(namespace: KubeObject): void {
  namespace.status = { phase: "Active" };
  const spec: Obj = namespace.spec ??= {};
  const finalizers: string[] = spec.finalizers ??= [];
  if (!finalizers.includes(KUBERNETES_FINALIZER)) finalizers.push(KUBERNETES_FINALIZER);
  labelWithName(namespace);
}

/** The finalizers are written by `finalize` only, the status by `status` only. */
export function prepareNamespaceUpdate(
  namespace: KubeObject,
  old: Stored,
  context: KindContext,
): void {
  if (context.subresource === "status") keep(namespace, old, "spec");
  else if (context.subresource === "finalize") keep(namespace, old, "status");
  else {
    keep(namespace, old, "spec");
    keep(namespace, old, "status");
  }
  labelWithName(namespace);
}

/** A generated name is known only now. */
function labelWithName(namespace: KubeObject): void {
  if (!namespace.metadata.name) return;
  const labels = namespace.metadata.labels ??= {};
  labels["kubernetes.io/metadata.name"] = namespace.metadata.name;
}

/** A kubelet registers with its status, so that creation keeps it. */
export function prepareNodeCreate(node: KubeObject): void {
  node.spec ??= {};
  dropConfigSource(node, undefined);
}

/** The configuration of nodes by the API is gone; what has it keeps it. */
function dropConfigSource(node: KubeObject, old: Stored | undefined): void {
  if (node.spec && !old?.spec?.configSource) delete node.spec.configSource;
  if (node.status && !old?.status?.config) delete node.status.config;
}

/** The spec belongs to the object, the status to its subresource. */
export function prepareNodeUpdate(node: KubeObject, old: Stored, context: KindContext): void {
  dropConfigSource(node, old);
  keep(node, old, context.subresource === "status" ? "spec" : "status");
}

/** Starts a PersistentVolume. */
export function prepareVolumeCreate(volume: KubeObject, context: KindContext): void {
  volume.status = { phase: "Pending", lastPhaseTransitionTime: timestamp(context.now) };
}

/** The time of the last change of phase is kept by the server. */
export function prepareVolumeUpdate(volume: KubeObject, old: Stored, context: KindContext): void {
  if (context.subresource !== "status") {
    keep(volume, old, "status");
    return;
  }
  keep(volume, old, "spec");
  const status: Obj = volume.status ??= {}, before: Obj = old.status ?? {};
  const given = status.lastPhaseTransitionTime;
  if (given && given !== before.lastPhaseTransitionTime) return;
  if (status.phase !== before.phase) status.lastPhaseTransitionTime = timestamp(context.now);
  else if (before.lastPhaseTransitionTime) {
    status.lastPhaseTransitionTime = before.lastPhaseTransitionTime;
  }
}

/** Starts a PersistentVolumeClaim. */
export function prepareClaimCreate(claim: KubeObject): void {
  claim.status = { phase: "Pending" };
  const spec: Obj = claim.spec ??= {};
  dropDisabled(spec);
  dropOldSource(spec);
  normalizeSources(spec);
}

/** Keeps the other side, and a data source that a client of one field did not send. */
export function prepareClaimUpdate(claim: KubeObject, old: Stored, context: KindContext): void {
  if (context.subresource === "status") {
    keep(claim, old, "spec");
    return;
  }
  keep(claim, old, "status");
  const spec: Obj = claim.spec ??= {}, before: Obj = old.spec ?? {};
  if (!before.dataSourceRef) dropDisabled(spec);
  if (!before.dataSource && !before.dataSourceRef) dropOldSource(spec);
  normalizeSources(spec);
}

/** Sources in other namespaces are a feature that is off in Kubernetes 1.36. */
function dropDisabled(spec: Obj): void {
  if (spec.dataSourceRef?.namespace) delete spec.dataSourceRef;
}

/** The old field takes claims and snapshots only; anything else was always ignored. */
function dropOldSource(spec: Obj): void {
  const source = spec.dataSource;
  if (!source || spec.dataSourceRef) return;
  const group = source.apiGroup ?? "";
  const known = (source.kind === "PersistentVolumeClaim" && group === "") ||
    (source.kind === "VolumeSnapshot" && group === "snapshot.storage.k8s.io");
  if (!known) delete spec.dataSource;
}

/** Writes the one of dataSource and dataSourceRef that is missing. */
function normalizeSources(spec: Obj): void {
  if (spec.dataSource && !spec.dataSourceRef) spec.dataSourceRef = { ...spec.dataSource };
  else if (spec.dataSourceRef && !spec.dataSource && !spec.dataSourceRef.namespace) {
    const { namespace: _, ...source } = spec.dataSourceRef;
    spec.dataSource = source;
  }
}

/** Of the secrets of a ServiceAccount only names count. */
export function prepareServiceAccount(account: KubeObject): void {
  if (!Array.isArray(account.secrets)) return;
  account.secrets = account.secrets.map((ref: Obj) => ref?.name ? { name: ref.name } : {});
}

/** A limit range needs no name of the user's. */
export function prepareLimitRangeCreate(range: KubeObject, context: KindContext): void {
  if (!range.metadata.name && !range.metadata.generateName) range.metadata.name = context.uuid();
}

/** Starts a PodTemplate. */
export function prepareTemplateCreate(template: KubeObject): void {
  template.metadata.generation = 1;
  dropDisabledFields(template.template?.spec, undefined);
}

/** Counts changes of the template. */
export function prepareTemplateUpdate(template: KubeObject, old: Stored): void {
  dropDisabledFields(template.template?.spec, old.template?.spec);
  raiseGeneration(template, old, ["template"]);
}

function timestamp(ms: number): string {
  return `${new Date(ms).toISOString().slice(0, 19)}Z`;
}
