/**
 * Fields of a pod's spec that belong to features which Kubernetes 1.36 has switched off: a new object loses
 * them, one that has them already keeps them (upstream's `dropDisabledFields`).
 */

// deno-lint-ignore no-explicit-any -- objects are decoded JSON; the schema walk has checked their types
type Obj = any;

/** Sources of projected volumes that are off. */
const PROJECTIONS_OFF = ["clusterTrustBundle", "podCertificate"] as const;

function projects(spec: Obj, source: string): boolean {
  return spec?.volumes?.some((volume: Obj) =>
    volume.projected?.sources?.some((entry: Obj) => entry?.[source] !== undefined)
  ) === true;
}

/** Drops from a pod's status what is off and was not in use. */
export function dropDisabledStatus(status: Obj, old: Obj): void {
  const field = "nodeAllocatableResourceClaimStatuses";
  if (status?.[field] !== undefined && old?.[field] === undefined) delete status[field];
}

/** Drops from a pod's spec what is off and was not in use. */
export function dropDisabledFields(spec: Obj, old: Obj): void {
  if (!spec) return;
  if (spec.schedulingGroup !== undefined && old?.schedulingGroup === undefined) {
    delete spec.schedulingGroup;
  }
  for (const source of PROJECTIONS_OFF) {
    if (!projects(spec, source) || projects(old, source)) continue;
    for (const volume of spec.volumes) {
      for (const entry of volume.projected?.sources ?? []) delete entry[source];
    }
  }
}
