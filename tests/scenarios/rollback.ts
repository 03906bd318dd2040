/**
 * `kubectl rollout undo`, as kubectl does it: the server knows nothing of it, a client puts back the template that
 * an earlier revision holds.
 *
 * Behaviour matched: k8s.io/kubectl pkg/polymorphichelpers/rollback.go, v0.36.
 */
import type { KubeObject } from "../../api/machinery/types.ts";
import type { Step } from "./scenario.ts";

const REVISION = "deployment.kubernetes.io/revision";
/** Annotations of a Deployment that do not come back with an old template. */
const OWN_ANNOTATIONS = new Set([
  "kubectl.kubernetes.io/last-applied-configuration",
  REVISION,
  "deployment.kubernetes.io/revision-history",
  "deployment.kubernetes.io/desired-replicas",
  "deployment.kubernetes.io/max-replicas",
  "deprecated.deployment.rollback.to",
]);

/** The patch that takes `object` back, given what holds its revisions; revision 0 is the one before the newest. */
export function rollbackPatch(
  object: KubeObject,
  holders: readonly KubeObject[],
  revision = 0,
): Pick<NonNullable<Step["patch"]>, "type" | "with"> {
  const own = holders.filter(({ metadata }) =>
    metadata.ownerReferences?.some((owner) => owner.controller && owner.uid === object.metadata.uid)
  ).sort((a, b) => revisionOf(b) - revisionOf(a));
  const found = revision ? own.find((holder) => revisionOf(holder) === revision) : own[1];
  if (!found) {
    throw new Error(
      revision
        ? `unable to find specified revision ${revision} in history`
        : "no rollout history found",
    );
  }
  if (object.kind !== "Deployment") return { type: "strategic", with: found.data };
  const template = structuredClone(found.spec.template);
  delete template.metadata.labels["pod-template-hash"];
  const annotations: Record<string, string> = {};
  for (const [key, value] of Object.entries(object.metadata.annotations ?? {})) {
    if (OWN_ANNOTATIONS.has(key)) annotations[key] = value;
  }
  for (const [key, value] of Object.entries(found.metadata.annotations ?? {})) {
    if (!OWN_ANNOTATIONS.has(key)) annotations[key] = value;
  }
  return {
    type: "json",
    with: [
      { op: "replace", path: "/spec/template", value: template },
      { op: "replace", path: "/metadata/annotations", value: annotations },
    ],
  };
}

function revisionOf({ kind, metadata, revision }: KubeObject): number {
  return kind === "ControllerRevision" ? revision : Number(metadata.annotations?.[REVISION] ?? 0);
}
