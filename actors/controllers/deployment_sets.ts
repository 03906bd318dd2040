/**
 * A Deployment's ReplicaSets: which of them is the new one, how it is made, and which annotations carry
 * revisions and sizes from the Deployment to them and back.
 *
 * Behaviour matched: pkg/controller/deployment/sync.go and util/deployment_util.go, v1.36.
 */
import { keyOf } from "../../api/client/contract.ts";
import type { KubeObject } from "../../api/machinery/types.ts";
import { isMap, sameJson } from "../../api/machinery/json_value.ts";
import {
  type ActorContext,
  codeOf,
  controllerOf,
  controllerReference,
  isNamespaceGoing,
  type OwnWrites,
  REPLICA_SETS,
  targetOf,
} from "../runtime/mod.ts";
import { hasDeadline, progressing, withCondition, writeStatus } from "./deployment_status.ts";
import {
  DESIRED_REPLICAS,
  MAX_REPLICAS,
  maxSurge,
  newSize,
  REVISION,
  REVISION_HISTORY,
  revisionOf,
  sizeOf,
} from "./deployment_scale.ts";
import { byAge, conditionOf, type Obj } from "./objects.ts";
import { textOf } from "./pods.ts";
import { templateHash } from "./template_hash.ts";

/** The label by which ReplicaSets of one Deployment are told apart. */
export const HASH_LABEL = "pod-template-hash";
/** The revision-history annotation is cut at this many characters, from its oldest end. */
export const HISTORY_CHARACTERS_MAX = 2000;

/** Annotations of a Deployment that its ReplicaSets do not get. */
const NOT_COPIED = new Set([
  "kubectl.kubernetes.io/last-applied-configuration",
  "deprecated.deployment.rollback.to",
  REVISION,
  REVISION_HISTORY,
  DESIRED_REPLICAS,
  MAX_REPLICAS,
]);

/** The ReplicaSets of a Deployment by their parts in a rollout. */
export interface Sets {
  deployment: Obj;
  newSet?: Obj;
  old: Obj[];
}

/** The ReplicaSet of the Deployment's present template: the oldest one, should there be several. */
export function findNew(deployment: Obj, sets: readonly Obj[]): Obj | undefined {
  const { template } = deployment.spec;
  return [...sets].sort(byAge).find((set) => sameTemplate(set.spec.template, template));
}

/** Whether two templates are equal but for the hash label. */
export function sameTemplate(a: Obj["spec"], b: Obj["spec"]): boolean {
  if (!sameJson(a.spec, b.spec)) return false;
  const [x, y] = [bareMetadata(a.metadata), bareMetadata(b.metadata)];
  return sameJson(x, y);
}

function bareMetadata(metadata: Obj["spec"]): Record<string, unknown> {
  const out: Record<string, unknown> = {};
  for (const key in metadata) {
    const value = metadata[key];
    if (value === null || value === undefined) continue;
    if (isMap(value)) {
      const map: Record<string, unknown> = { ...value };
      if (key === "labels") delete map[HASH_LABEL];
      if (Object.keys(map).length > 0) out[key] = map;
    } else out[key] = value;
  }
  return out;
}

/**
 * Sorts a Deployment's ReplicaSets into new and old, keeps the revision annotations right, and makes the
 * new one when it is missing and `writes`, which notes that, is given. What was written is in the result. Undefined when the
 * rollout has to begin anew (a collision of names).
 */
export async function arrangeSets(
  context: ActorContext,
  { deployment, sets, writes }: { deployment: Obj; sets: readonly Obj[]; writes?: OwnWrites },
): Promise<Sets | undefined> {
  const present = findNew(deployment, sets);
  const old = sets.filter((set) => set.metadata.uid !== present?.metadata.uid);
  const revision = 1n + old.map(revisionOf).reduce((max, next) => next > max ? next : max, 0n);
  if (present) return await keepNew(context, { deployment, newSet: present, old }, revision);
  if (!writes) return { deployment, old };
  return await makeNew(context, { deployment, old, writes }, revision);
}

async function keepNew(
  context: ActorContext,
  { deployment, newSet, old }: Sets & { newSet: Obj },
  revision: bigint,
): Promise<Sets> {
  const annotations = annotationsFor(deployment, newSet, { revision, exists: true });
  const minReady = deployment.spec.minReadySeconds ?? 0;
  if (annotations || (newSet.spec.minReadySeconds ?? 0) !== minReady) {
    newSet = await context.client.update<KubeObject>(targetOf(REPLICA_SETS, newSet), {
      ...newSet,
      metadata: { ...newSet.metadata, annotations: annotations ?? newSet.metadata.annotations },
      spec: { ...newSet.spec, minReadySeconds: minReady },
    });
    // As upstream: the rest waits for the cache to show this.
  }
  const wanted = newSet.metadata.annotations?.[REVISION];
  let status = deployment.status ?? {};
  if (hasDeadline(deployment) && !conditionOf(status, "Progressing")) {
    const message = `Found new replica set "${newSet.metadata.name}"`;
    status = withCondition(
      status,
      progressing(context.clock.now(), "True", "FoundNewReplicaSet", message),
    );
  }
  const next = await writeRevision(context, deployment, { revision: wanted, status });
  return { deployment: next, newSet, old };
}

/** Puts the revision on the Deployment, together with a status, if either changed. */
async function writeRevision(
  context: ActorContext,
  deployment: Obj,
  { revision, status }: { revision: string | undefined; status: Obj["status"] },
): Promise<Obj> {
  const present = deployment.metadata.annotations?.[REVISION];
  const moved = revision !== undefined && present !== revision;
  if (!moved && status === (deployment.status ?? status)) return deployment;
  const annotations = moved
    ? { ...deployment.metadata.annotations, [REVISION]: revision }
    : deployment.metadata.annotations;
  return await writeStatus(context, {
    ...deployment,
    metadata: { ...deployment.metadata, annotations },
  }, status);
}

async function makeNew(
  context: ActorContext,
  { deployment, old, writes }: Sets & { writes: OwnWrites },
  revision: bigint,
): Promise<Sets | undefined> {
  const set = newSetFor(deployment, old, revision);
  const { namespace } = deployment.metadata;
  let made: Obj;
  let existed = false;
  try {
    const create = () =>
      context.client.create<KubeObject>({ resource: REPLICA_SETS, namespace }, set);
    made = await writes.make(keyOf(deployment), create);
  } catch (error) {
    if (isNamespaceGoing(error)) throw error;
    if (codeOf(error) !== 409) throw await sayCreateFailed(context, deployment, set, error);
    const other = await sameNamed(context, deployment, set);
    if (!other) return undefined;
    made = other;
    existed = true;
  }
  const size = sizeOf(made);
  if (!existed && size > 0) {
    const text = `Scaled up replica set ${made.metadata.name} from 0 to ${size}`;
    context.recorder.event(deployment, "Normal", "ScalingReplicaSet", text);
  }
  let status = deployment.status ?? {};
  if (!existed && hasDeadline(deployment)) {
    const message = `Created new replica set "${made.metadata.name}"`;
    status = withCondition(
      status,
      progressing(context.clock.now(), "True", "NewReplicaSetCreated", message),
    );
  }
  const next = await writeRevision(context, deployment, { revision: String(revision), status });
  return { deployment: next, newSet: made, old };
}

/** The ReplicaSet of the present template, as it is created. Pure. */
export function newSetFor(deployment: Obj, old: readonly Obj[], revision: bigint): Obj {
  const { template, selector, minReadySeconds } = deployment.spec;
  const hash = templateHash(template, deployment.status?.collisionCount);
  const labels = { ...template.metadata?.labels, [HASH_LABEL]: hash };
  const matchLabels = { ...selector.matchLabels, [HASH_LABEL]: hash };
  const bare = {
    apiVersion: "apps/v1",
    kind: "ReplicaSet",
    metadata: {
      name: `${deployment.metadata.name}-${hash}`,
      namespace: deployment.metadata.namespace,
      labels,
      ownerReferences: [controllerReference(deployment)],
    },
    spec: {
      replicas: 0,
      ...(minReadySeconds ? { minReadySeconds } : {}),
      selector: { ...selector, matchLabels },
      template: { ...template, metadata: { ...template.metadata, labels } },
    },
  } as unknown as Obj;
  const replicas = newSize(deployment, [...old, bare], 0);
  const annotations = annotationsFor(deployment, bare, { revision, exists: false });
  return {
    ...bare,
    metadata: { ...bare.metadata, annotations },
    spec: { ...bare.spec, replicas },
  } as Obj;
}

/**
 * A set of this name exists. It is ours if it has our template and us as its controller; else the hash
 * collided and the next attempt takes another one.
 */
async function sameNamed(
  context: ActorContext,
  deployment: Obj,
  set: Obj,
): Promise<Obj | undefined> {
  const other = await context.client.get<KubeObject>(targetOf(REPLICA_SETS, set));
  const ours = controllerOf(other)?.uid === deployment.metadata.uid;
  if (ours && sameTemplate(other.spec.template, deployment.spec.template)) return other;
  const collisionCount = (deployment.status?.collisionCount ?? 0) + 1;
  await writeStatus(context, deployment, { ...deployment.status, collisionCount });
  context.log("info", "hash collision", { deployment: deployment.metadata.name, collisionCount });
  return undefined;
}

async function sayCreateFailed(
  context: ActorContext,
  deployment: Obj,
  set: Obj,
  error: unknown,
): Promise<unknown> {
  const message = `Failed to create new replica set "${set.metadata.name}": ${textOf(error)}`;
  if (hasDeadline(deployment)) {
    const condition = progressing(
      context.clock.now(),
      "False",
      "ReplicaSetCreateError",
      message,
    );
    const status = withCondition(deployment.status ?? {}, condition);
    if (status !== deployment.status) {
      await writeStatus(context, deployment, status).catch((failure) => {
        context.log("debug", "status not written", { error: String(failure) });
      });
    }
  }
  context.recorder.event(deployment, "Warning", "ReplicaSetCreateError", message);
  return error;
}

/** The annotations a set should have; undefined when it has them. Pure. */
export function annotationsFor(
  deployment: Obj,
  set: Obj,
  { revision, exists }: { revision: bigint; exists: boolean },
): Record<string, string> | undefined {
  const present = set.metadata.annotations ?? {};
  const next: Record<string, string> = { ...present };
  const from = deployment.metadata.annotations ?? {};
  for (const name in from) if (!NOT_COPIED.has(name)) next[name] = from[name];
  const oldRevision = present[REVISION];
  if (revisionOf(set) < revision) {
    next[REVISION] = String(revision);
    if (oldRevision !== undefined) {
      next[REVISION_HISTORY] = historyWith(present[REVISION_HISTORY], oldRevision);
    }
  }
  if (!exists) Object.assign(next, sizesFor(deployment));
  return sameJson(present, next) ? undefined : next;
}

function historyWith(history: string | undefined, revision: string): string {
  if (!history) return revision;
  const revisions = history.split(",");
  let length = history.length + revision.length + 1;
  while (length > HISTORY_CHARACTERS_MAX && revisions.length > 0) {
    length -= revisions.shift()!.length + 1;
  }
  return [...revisions, revision].join(",");
}

/** The annotations that tell a set how large the whole is. */
export function sizesFor(deployment: Obj): Record<string, string> {
  const desired = sizeOf(deployment);
  return {
    [DESIRED_REPLICAS]: String(desired),
    [MAX_REPLICAS]: String(desired + maxSurge(deployment)),
  };
}
