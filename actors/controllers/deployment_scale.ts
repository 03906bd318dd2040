/**
 * The arithmetic of rollouts: how many pods each ReplicaSet of a Deployment should have next. Pure.
 *
 * Behaviour matched: pkg/controller/deployment/util/deployment_util.go, rolling.go, sync.go, v1.36.
 */
import { scaledValue } from "../../api/machinery/int_or_string.ts";
import { byAge, type Obj } from "./objects.ts";

const PREFIX = "deployment.kubernetes.io/";
/** Annotations of ReplicaSets that a Deployment keeps. */
export const REVISION = `${PREFIX}revision`;
export const REVISION_HISTORY = `${PREFIX}revision-history`;
export const DESIRED_REPLICAS = `${PREFIX}desired-replicas`;
export const MAX_REPLICAS = `${PREFIX}max-replicas`;

/** How many pods a ReplicaSet should have. */
export function sizeOf(set: Obj): number {
  return set.spec.replicas ?? 1;
}

/** How many pods a list of ReplicaSets should have in all. */
export function totalSize(sets: readonly Obj[]): number {
  return sets.reduce((sum, set) => sum + sizeOf(set), 0);
}

/** A count of their statuses, added up. */
export function totalStatus(sets: readonly (Obj | undefined)[], field: string): number {
  return sets.reduce((sum, set) => sum + (set?.status?.[field] ?? 0), 0);
}

/** Those that should have pods. */
export function activeOf(sets: readonly (Obj | undefined)[]): Obj[] {
  return sets.filter((set): set is Obj => set !== undefined && sizeOf(set) > 0);
}

function isRolling(deployment: Obj): boolean {
  return deployment.spec.strategy?.type !== "Recreate";
}

/** Surge and unavailable as numbers; never both 0, or nothing could ever move. */
export function fenceposts(deployment: Obj): { surge: number; unavailable: number } {
  const rolling = deployment.spec.strategy?.rollingUpdate;
  const desired = sizeOf(deployment);
  const surge = scaledValue(rolling?.maxSurge ?? 0, desired, true);
  const unavailable = scaledValue(rolling?.maxUnavailable ?? 0, desired, false);
  return surge === 0 && unavailable === 0 ? { surge, unavailable: 1 } : { surge, unavailable };
}

/** Pods above the wanted number that a rollout may make. */
export function maxSurge(deployment: Obj): number {
  return isRolling(deployment) ? fenceposts(deployment).surge : 0;
}

/** Pods below the wanted number that a rollout may leave available. */
export function maxUnavailable(deployment: Obj): number {
  const desired = sizeOf(deployment);
  if (!isRolling(deployment) || desired === 0) return 0;
  return Math.min(fenceposts(deployment).unavailable, desired);
}

/** The size the new ReplicaSet may have now. */
export function newSize(deployment: Obj, all: readonly Obj[], current: number): number {
  const desired = sizeOf(deployment);
  if (!isRolling(deployment)) return desired;
  const room = desired + maxSurge(deployment) - totalSize(all);
  if (room <= 0) return current;
  return current + Math.min(room, desired - current);
}

/** A size for one ReplicaSet. */
export interface Sizing {
  set: Obj;
  size: number;
}

/**
 * How the old ReplicaSets shrink during a rolling update: first by pods that are not available anyway,
 * then by as many available ones as the strategy lets go. Empty when nothing may be taken.
 */
export function shrinkOld(deployment: Obj, newSet: Obj, old: readonly Obj[]): Sizing[] {
  const oldTotal = totalSize(old);
  if (oldTotal === 0) return [];
  const minAvailable = sizeOf(deployment) - maxUnavailable(deployment);
  const newUnavailable = sizeOf(newSet) - (newSet.status?.availableReplicas ?? 0);
  const mayGo = oldTotal + sizeOf(newSet) - minAvailable - newUnavailable;
  if (mayGo <= 0) return [];
  const sizes = new Map(old.map((set) => [set, sizeOf(set)]));
  const oldest = [...old].sort(byAge);
  let gone = 0;
  for (const set of oldest) {
    if (gone >= mayGo) break;
    const unhealthy = sizes.get(set)! - (set.status?.availableReplicas ?? 0);
    const count = Math.min(mayGo - gone, unhealthy);
    if (sizes.get(set) === 0 || count <= 0) continue;
    sizes.set(set, sizes.get(set)! - count);
    gone += count;
  }
  let spare = totalStatus([...old, newSet], "availableReplicas") - minAvailable;
  for (const set of oldest) {
    if (spare <= 0) break;
    const count = Math.min(sizes.get(set)!, spare);
    sizes.set(set, sizes.get(set)! - count);
    spare -= count;
  }
  return oldest.map((set) => ({ set, size: sizes.get(set)! }))
    .filter(({ set, size }) => size !== sizeOf(set));
}

/**
 * The sizes after the Deployment itself was scaled while a rollout is under way: what is added or taken is
 * shared in proportion to the sets' sizes, and the remainder goes to the largest.
 */
export function proportional(deployment: Obj, sets: readonly Obj[]): Sizing[] {
  const desired = sizeOf(deployment);
  const allowed = desired > 0 ? desired + maxSurge(deployment) : 0;
  const toAdd = allowed - totalSize(sets);
  // The largest first; of equal ones the newest when growing, the oldest when shrinking.
  const sorted = [...sets].sort((a, b) =>
    sizeOf(b) - sizeOf(a) || (toAdd > 0 ? byAge(b, a) : byAge(a, b))
  );
  let added = 0;
  const sizings = sorted.map((set) => {
    if (toAdd === 0) return { set, size: sizeOf(set) };
    const share = proportionOf(deployment, set, { toAdd, added });
    added += share;
    return { set, size: sizeOf(set) + share };
  });
  if (toAdd !== 0 && sizings.length > 0) {
    sizings[0].size = Math.max(0, sizings[0].size + toAdd - added);
  }
  return sizings;
}

function proportionOf(
  deployment: Obj,
  set: Obj,
  { toAdd, added }: { toAdd: number; added: number },
): number {
  if (sizeOf(set) === 0 || toAdd === added) return 0;
  const share = shareOf(deployment, set);
  const left = toAdd - added;
  // A set that was scaled while nobody owned it has grown beyond its annotation: its share would be to grow still
  // more while pods are to be taken (upstream lets it, beyond the surge).
  return toAdd > 0 ? Math.min(share, left) : Math.min(0, Math.max(share, left));
}

/** By how much a set changes when it keeps its part of the whole. */
function shareOf(deployment: Obj, set: Obj): number {
  if (sizeOf(deployment) === 0) return -sizeOf(set);
  const before = annotatedCount(set, MAX_REPLICAS) ?? deployment.status?.replicas ?? 0;
  if (before === 0) return 0;
  const max = sizeOf(deployment) + maxSurge(deployment);
  return Math.round(sizeOf(set) * max / before) - sizeOf(set);
}

/** A count from an annotation; undefined when there is none. */
export function annotatedCount(set: Obj, name: string): number | undefined {
  const text = set.metadata.annotations?.[name];
  return text !== undefined && /^[0-9]+$/.test(text) ? Number(text) : undefined;
}

/**
 * The revision of a ReplicaSet or a Deployment; 0 when it has none. Whole: people write revisions of 64
 * bits, and the next one is exactly one more.
 */
export function revisionOf(object: Obj): bigint {
  const text = object.metadata.annotations?.[REVISION];
  return text !== undefined && /^[0-9]+$/.test(text) ? BigInt(text) : 0n;
}
