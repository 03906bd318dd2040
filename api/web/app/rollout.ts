/**
 * A workload's revisions, and the way back to one of them, as `kubectl rollout` does it: a Deployment's are its ReplicaSets,
 * the others' are ControllerRevisions. Pure.
 */

/** One revision. */
export interface Revision {
  revision: number;
  name: string;
  created: string;
  cause: string;
  images: readonly string[];
  /** Pods of it, where that is known. */
  replicas?: number;
  ready?: number;
  source: any;
}

const REVISION = "deployment.kubernetes.io/revision";
const CAUSE = "kubernetes.io/change-cause";
/** A Deployment keeps its own of these, whatever revision it goes back to. */
const DEPLOYMENTS_OWN = new Set([
  "kubectl.kubernetes.io/last-applied-configuration",
  REVISION,
  "deployment.kubernetes.io/revision-history",
  "deployment.kubernetes.io/desired-replicas",
  "deployment.kubernetes.io/max-replicas",
  "deprecated.deployment.rollback.to",
]);

/** The revisions of a workload among what might be, the newest first. */
export function revisionsOf(owner: any, candidates: Iterable<any>): Revision[] {
  const found: Revision[] = [];
  for (const source of candidates) {
    const { metadata } = source;
    const mine = metadata.ownerReferences?.some(
      ({ uid, controller }: any) => controller && uid === owner.metadata.uid,
    );
    if (!mine) continue;
    const set = source.spec?.template !== undefined;
    const template = set ? source.spec.template : source.data?.spec?.template;
    found.push({
      revision: set ? Number(metadata.annotations?.[REVISION] ?? 0) : source.revision,
      name: metadata.name,
      created: metadata.creationTimestamp,
      cause: metadata.annotations?.[CAUSE] ?? "",
      images: (template?.spec?.containers ?? []).map(({ image }: any) => image),
      ...(set && { replicas: source.spec.replicas, ready: source.status?.readyReplicas ?? 0 }),
      source,
    });
  }
  return found.sort((a, b) => b.revision - a.revision);
}

/** The patch that makes a workload what it was. */
export function undoPatch(
  owner: any,
  { source }: Revision,
): { type: "json" | "strategic"; body: any } {
  if (source.spec?.template === undefined) return { type: "strategic", body: source.data };
  const { "pod-template-hash": _, ...labels } = source.spec.template.metadata?.labels ?? {};
  const template = {
    ...source.spec.template,
    metadata: { ...source.spec.template.metadata, labels },
  };
  const annotations: Record<string, string> = {};
  const take = (from: Record<string, string> = {}, own: boolean) => {
    for (const [name, value] of Object.entries(from)) {
      if (DEPLOYMENTS_OWN.has(name) === own) annotations[name] = value;
    }
  };
  take(owner.metadata.annotations, true);
  take(source.metadata.annotations, false);
  return {
    type: "json",
    body: [
      { op: "replace", path: "/spec/template", value: template },
      { op: "replace", path: "/metadata/annotations", value: annotations },
    ],
  };
}

/** How far a rollout is. */
export interface Progress {
  wanted: number;
  updated: number;
  ready: number;
  available: number;
  done: boolean;
}

/** By a workload's status; where there is none yet, nothing has been done. */
export function progressOf({ spec, status = {}, metadata }: any): Progress {
  const wanted = spec.replicas ?? status.desiredNumberScheduled ?? 0;
  const updated = status.updatedReplicas ?? status.updatedNumberScheduled ?? 0;
  const ready = status.readyReplicas ?? status.numberReady ?? 0;
  const available = status.availableReplicas ?? status.numberAvailable ?? 0;
  const all = status.replicas ?? status.currentNumberScheduled ?? 0;
  const seen = (status.observedGeneration ?? 0) >= (metadata.generation ?? 0);
  const done = seen && updated >= wanted && available >= wanted && all <= wanted;
  return { wanted, updated, ready, available, done };
}
