/**
 * How many pods there should be, as far as a budget has to know: what the controllers of its pods want in all,
 * of whatever kind they are, as long as it has a scale.
 *
 * Behaviour matched: pkg/controller/disruption/disruption.go (getExpectedPodCount and its finders), v1.36.
 */
import { scaledValue } from "../../api/machinery/int_or_string.ts";
import { labelSelectorStruct } from "../../api/machinery/selectors.ts";
import type { ResourceId } from "../../api/machinery/types.ts";
import {
  type ActorContext,
  controllerOf,
  DEPLOYMENTS,
  isGone,
  REPLICA_SETS,
  REPLICATION_CONTROLLERS,
  STATEFUL_SETS,
} from "../runtime/mod.ts";
import type { Obj } from "./objects.ts";
import type { ServedKinds } from "./ports.ts";

/** What a budget expects and wants. */
export interface Expected {
  /** How many pods there should be, and how many of them healthy. */
  expected: number;
  desired: number;
  /** Pods that nobody wants were found where somebody has to want them. */
  unmanaged: boolean;
}

interface Scope {
  kinds: ServedKinds;
  context: ActorContext;
}

/** Kinds whose caches there are anyway. */
const CACHED: Readonly<Record<string, ResourceId>> = {
  "apps/ReplicaSet": REPLICA_SETS,
  "/ReplicationController": REPLICATION_CONTROLLERS,
  "apps/StatefulSet": STATEFUL_SETS,
};

/** Counts for one budget. Rejects where a controller's scale cannot be known. */
export async function expectedOf(
  budget: Obj,
  pods: readonly Obj[],
  scope: Scope,
): Promise<Expected> {
  const { minAvailable, maxUnavailable } = budget.spec;
  if (maxUnavailable !== undefined) {
    const { count, unmanaged } = await scaleOf(pods, scope);
    const allowed = scaledValue(maxUnavailable, count, true);
    return { expected: count, desired: Math.max(0, count - allowed), unmanaged };
  }
  if (typeof minAvailable === "string") {
    const { count, unmanaged } = await scaleOf(pods, scope);
    return { expected: count, desired: scaledValue(minAvailable, count, true), unmanaged };
  }
  if (minAvailable === undefined) return { expected: 0, desired: 0, unmanaged: false };
  return { expected: pods.length, desired: minAvailable, unmanaged: false };
}

/** What a budget is told whose pods nobody wants. */
export function unmanagedText({ spec }: Obj): string {
  return `Pods selected by this PodDisruptionBudget (selector: ${
    labelSelectorStruct(spec.selector)
  }) were found to be unmanaged. As a result, the status of the PDB cannot be calculated correctly, which may ` +
    'result in undefined behavior. To account for these pods please set ".spec.minAvailable" field of the PDB ' +
    "to an integer value.";
}

/** How many pods their controllers want in all; each is asked once. */
async function scaleOf(
  pods: readonly Obj[],
  scope: Scope,
): Promise<{ count: number; unmanaged: boolean }> {
  const asked = new Set<string>();
  const counts = new Map<string, number>();
  let unmanaged = false;
  for (const pod of pods) {
    const owner = controllerOf(pod);
    if (!owner) unmanaged = true;
    if (!owner || asked.has(owner.uid)) continue;
    asked.add(owner.uid);
    const found = await ownerScale(pod, owner, scope);
    if (!found) throw new Error(`found no controllers for pod "${pod.metadata.name}"`);
    counts.set(found.uid, found.count);
  }
  return { count: [...counts.values()].reduce((sum, one) => sum + one, 0), unmanaged };
}

type Owner = NonNullable<ReturnType<typeof controllerOf>>;

async function ownerScale(
  pod: Obj,
  owner: Owner,
  scope: Scope,
): Promise<{ uid: string; count: number } | undefined> {
  const { namespace } = pod.metadata;
  const { informers } = scope.context;
  const [group, version] = owner.apiVersion.includes("/")
    ? owner.apiVersion.split("/", 2)
    : ["", owner.apiVersion];
  const cached = CACHED[`${group}/${owner.kind}`];
  if (!cached) return await askedScale(owner, { group, version, namespace }, scope);
  const found = informers.for(cached).get(`${namespace}/${owner.name}`);
  if (found?.metadata.uid !== owner.uid) return undefined;
  // A ReplicaSet of a Deployment wants what its Deployment wants in all: others of it may hold the rest.
  const above = controllerOf(found);
  const deployment = above?.kind === "Deployment"
    ? informers.for(DEPLOYMENTS).get(`${namespace}/${above.name}`)
    : undefined;
  const wants = deployment ?? found;
  return { uid: wants.metadata.uid, count: wants.spec.replicas ?? 1 };
}

/** Asks the scale of any other kind. */
async function askedScale(
  owner: Owner,
  { group, version, namespace }: { group: string; version: string; namespace?: string },
  { kinds, context }: Scope,
): Promise<{ uid: string; count: number } | undefined> {
  const kind = kinds.byKind(group, version, owner.kind);
  if (!kind) {
    throw new Error(`no matches for kind "${owner.kind}" in version "${owner.apiVersion}"`);
  }
  if (!kind.subresources.some(({ name }) => name === "scale")) {
    const name = group ? `${kind.plural}.${group}` : kind.plural;
    throw new Error(`${name} does not implement the scale subresource`);
  }
  const resource = { group, version: kind.version, plural: kind.plural };
  try {
    const scale = await context.client.get<Obj>({
      resource,
      namespace,
      name: owner.name,
      subresource: "scale",
    });
    if (scale.metadata.uid !== owner.uid) return undefined;
    return { uid: owner.uid, count: scale.spec?.replicas ?? 0 };
  } catch (error) {
    if (isGone(error)) return undefined;
    throw error;
  }
}
