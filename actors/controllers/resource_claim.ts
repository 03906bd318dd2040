/**
 * ResourceClaims: makes a pod's claims from their templates, reserves what was allocated for a pod that did not come by
 * way of the scheduler, and lets claims go: an ended pod is taken from `reservedFor`, a claim that nobody uses any more
 * loses its allocation, a claim that was made for an ended pod is removed.
 *
 * Keys are claims, and pods behind `pod:`. Behaviour matched: pkg/controller/resourceclaim, v1.36.
 */
import { keyOf } from "../../api/client/contract.ts";
import { ApiError, type KubeObject } from "../../api/machinery/types.ts";
import {
  type ActorContext,
  type Controller,
  isGone,
  PODS,
  RESOURCE_CLAIM_TEMPLATES,
  RESOURCE_CLAIMS,
  targetOf,
} from "../runtime/mod.ts";
import type { Obj } from "./objects.ts";
import { isFinished } from "./pods.ts";

const FINALIZER = "resource.kubernetes.io/delete-protection";
const POD_CLAIM = "resource.kubernetes.io/pod-claim-name";
const FIELD_MANAGER = "ResourceClaimController";
const POD = "pod:";
const BY_TEMPLATE = "resourceClaimTemplate";
const BY_CLAIM = "resourceClaim";
const BY_OWNER = "ownerUid";
/** Longest base of a generated name. */
const BASE_LENGTH_MAX = 57;

interface PodClaim {
  name: string;
  resourceClaimName?: string;
  resourceClaimTemplateName?: string;
}

interface Consumer {
  apiGroup?: string;
  resource: string;
  name: string;
  uid: string;
}

const podClaims = (pod: Obj) => (pod.spec.resourceClaims ?? []) as readonly PodClaim[];

/** What a pod's claim is called; undefined: not made yet; null: it turned out not to be needed. */
function nameOf(pod: Obj, claim: PodClaim): string | undefined | null {
  if (claim.resourceClaimName !== undefined) return claim.resourceClaimName;
  const statuses = (pod.status?.resourceClaimStatuses ?? []) as readonly PodClaim[];
  const made = statuses.find(({ name }) => name === claim.name);
  return made && (made.resourceClaimName ?? null);
}

function claimKeys(pod: Obj): string[] {
  return podClaims(pod).flatMap((claim) => {
    const name = nameOf(pod, claim);
    return name ? [`${pod.metadata.namespace}/${name}`] : [];
  });
}

/** Whether a pod will not run (any more). */
function isDone(pod: Obj): boolean {
  return isFinished(pod) || (!!pod.metadata.deletionTimestamp && !pod.spec.nodeName);
}

/** See the module's text. */
export const resourceClaimController: Controller<void> = {
  name: "resourceclaim",
  account: "resource-claim-controller",
  component: "resource_claim",
  for: RESOURCE_CLAIMS,
  watches: [
    {
      resource: PODS,
      keys(pod, _old, { informers }) {
        if (!pod.spec.resourceClaims) return [];
        const key = `${pod.metadata.namespace}/${pod.metadata.name}`;
        const there = informers.for(PODS).get(key);
        const gone = there?.metadata.uid !== pod.metadata.uid;
        if (!gone && !isDone(pod)) return [`${POD}${key}`];
        const made = informers.for(RESOURCE_CLAIMS).byIndex(BY_OWNER, pod.metadata.uid);
        return [`${POD}${key}`, ...claimKeys(pod), ...made.map(keyOf)];
      },
    },
    {
      resource: RESOURCE_CLAIM_TEMPLATES,
      keys: ({ metadata }, _old, { informers }) =>
        informers.for(PODS).byIndex(BY_TEMPLATE, `${metadata.namespace}/${metadata.name}`)
          .map((pod) => `${POD}${pod.metadata.namespace}/${pod.metadata.name}`),
    },
    {
      // A pod may wait for its claim to come, or to be given away again
      resource: RESOURCE_CLAIMS,
      keys: ({ metadata }, _old, { informers }) =>
        informers.for(PODS).byIndex(BY_CLAIM, `${metadata.namespace}/${metadata.name}`)
          .map((pod) => `${POD}${pod.metadata.namespace}/${pod.metadata.name}`),
    },
  ],
  start({ informers }) {
    informers.for(PODS).index(BY_CLAIM, claimKeys);
    informers.for(PODS).index(
      BY_TEMPLATE,
      (pod) =>
        podClaims(pod).flatMap(({ resourceClaimTemplateName: name }) =>
          name === undefined ? [] : [`${pod.metadata.namespace}/${name}`]
        ),
    );
    informers.for(RESOURCE_CLAIMS).index(
      BY_OWNER,
      (claim) =>
        (claim.metadata.ownerReferences ?? []).flatMap((
          owner,
        ) => (owner.controller ? [owner.uid] : [])),
    );
  },
  reconcile: (key, context) =>
    key.startsWith(POD)
      ? reconcilePod(key.slice(POD.length), context)
      : reconcileClaim(key, context),
};

async function reconcilePod(key: string, context: ActorContext): Promise<void> {
  const pod = context.informers.for(PODS).get(key);
  if (!pod?.spec.resourceClaims || pod.metadata.deletionTimestamp || isFinished(pod)) return;
  const made: { name: string; resourceClaimName: string }[] = [];
  for (const claim of podClaims(pod)) {
    try {
      const name = await ensureClaim(pod, claim, context);
      if (name) made.push({ name: claim.name, resourceClaimName: name });
    } catch (error) {
      const text = error instanceof Error ? error.message : String(error);
      const message = `PodResourceClaim ${claim.name}: ${text}`;
      context.recorder.event(pod, "Warning", "FailedResourceClaimCreation", message);
      throw new Error(`pod ${key}, ${message}`, { cause: error });
    }
  }
  if (made.length > 0) await noteClaims(pod, made, context);
  // The scheduler reserves for the pods that it places
  if (!pod.spec.nodeName) return;
  for (const claimKey of claimKeys(pod)) {
    const claim = context.informers.for(RESOURCE_CLAIMS).get(claimKey);
    if (!claim?.status?.allocation) continue;
    const users = (claim.status.reservedFor ?? []) as readonly Consumer[];
    if (users.some(({ uid }) => uid === pod.metadata.uid)) continue;
    const user = { resource: "pods", name: pod.metadata.name, uid: pod.metadata.uid };
    await writeStatus(claim, { ...claim.status, reservedFor: [...users, user] }, context);
  }
}

/** The name of a claim that is newly made, or was made before and not noted. */
async function ensureClaim(
  pod: Obj,
  podClaim: PodClaim,
  { client, informers }: ActorContext,
): Promise<string | undefined> {
  const { namespace, name, uid } = pod.metadata;
  const claims = informers.for(RESOURCE_CLAIMS);
  const known = nameOf(pod, podClaim);
  if (known === null) return;
  if (known !== undefined) {
    const there = claims.get(`${namespace}/${known}`);
    const owner = there?.metadata.ownerReferences?.find((one) => one.controller);
    if (there && (podClaim.resourceClaimName !== undefined || owner?.uid === uid)) return;
  }
  const templateName = podClaim.resourceClaimTemplateName;
  if (templateName === undefined) return;
  const orphan = claims.byIndex(BY_OWNER, uid).find((claim) =>
    claim.metadata.annotations?.[POD_CLAIM] === podClaim.name
  );
  if (orphan) return orphan.metadata.name;
  const template = informers.for(RESOURCE_CLAIM_TEMPLATES).get(`${namespace}/${templateName}`);
  if (!template) {
    const missing = `resourceclaimtemplate.resource.k8s.io "${templateName}" not found`;
    throw new Error(`resource claim template "${templateName}": ${missing}`);
  }
  const { metadata = {}, spec } = template.spec;
  const made = await client.create({ resource: RESOURCE_CLAIMS, namespace }, {
    apiVersion: "resource.k8s.io/v1",
    kind: "ResourceClaim",
    metadata: {
      generateName: baseName(name, podClaim.name),
      labels: metadata.labels,
      annotations: { ...metadata.annotations, [POD_CLAIM]: podClaim.name },
      ownerReferences: [{ apiVersion: "v1", kind: "Pod", name, uid, controller: true }],
    },
    spec,
  });
  return made.metadata.name;
}

/** Both names count where there is no room for both of them whole. */
function baseName(pod: string, claim: string): string {
  const whole = `${pod}-${claim}-`;
  if (whole.length <= BASE_LENGTH_MAX) return whole;
  const part = (name: string) =>
    name.slice(0, Math.trunc((name.length * BASE_LENGTH_MAX) / whole.length));
  return `${part(pod)}-${part(claim)}`;
}

async function noteClaims(
  pod: Obj,
  made: readonly { name: string; resourceClaimName: string }[],
  { client }: ActorContext,
): Promise<void> {
  const { namespace, name } = pod.metadata;
  const before = (pod.status?.resourceClaimStatuses ?? []) as readonly PodClaim[];
  const kept = before.filter((one) => !made.some((other) => other.name === one.name));
  try {
    await client.patch({ resource: PODS, namespace, name, subresource: "status" }, {
      type: "apply",
      force: true,
      body: {
        apiVersion: "v1",
        kind: "Pod",
        metadata: { name, namespace: namespace! },
        status: { resourceClaimStatuses: [...kept, ...made] as never },
      },
    }, { fieldManager: FIELD_MANAGER });
  } catch (error) {
    if (!isGone(error)) throw error;
  }
}

async function reconcileClaim(key: string, context: ActorContext): Promise<void> {
  let claim = context.informers.for(RESOURCE_CLAIMS).get(key);
  if (!claim) return;
  const users = (claim.status?.reservedFor ?? []) as readonly Consumer[];
  const left: Consumer[] = [];
  for (const user of users) if (await stays(claim, user, context)) left.push(user);
  const ours = claim.metadata.finalizers?.includes(FINALIZER) ?? false;
  const unused = left.length === 0;
  const freed = left.length < users.length;
  const leaving = unused && ours && !!claim.metadata.deletionTimestamp;
  if (freed || (leaving && claim.status?.allocation)) {
    // The last one that used it gives its devices back: who comes next may be better off elsewhere
    const allocation = unused && ours ? undefined : claim.status!.allocation;
    claim = await writeStatus(claim, { ...claim.status, allocation, reservedFor: left }, context);
  }
  if (claim && ours && unused && (freed || leaving) && !claim.status?.allocation) {
    claim = await dropFinalizer(claim, context);
  }
  if (claim && unused) await removeUnused(claim, context);
}

/** Whether a reservation still counts. Who is not known to be gone keeps it. */
async function stays(
  claim: Obj,
  { apiGroup = "", resource, name, uid }: Consumer,
  { informers, client }: ActorContext,
): Promise<boolean> {
  if (apiGroup !== "" || resource !== "pods") return true;
  const { namespace } = claim.metadata;
  const known = informers.for(PODS).get(`${namespace}/${name}`);
  if (known) return known.metadata.uid === uid && !isDone(known);
  // The cache may not have it yet: taking it away while it is placed would be bad
  try {
    const pod = await client.get<KubeObject>({ resource: PODS, namespace, name });
    return pod.metadata.uid === uid;
  } catch (error) {
    if (error instanceof ApiError && error.code === 404) return false;
    throw error;
  }
}

/** A claim that was made for a pod that will not run goes; where the pod is gone the garbage collector sees to it. */
async function removeUnused(claim: Obj, { informers, client }: ActorContext): Promise<void> {
  if (claim.metadata.deletionTimestamp) return;
  const owner = claim.metadata.ownerReferences?.find((one) =>
    one.controller && one.kind === "Pod" && one.apiVersion === "v1"
  );
  if (!owner) return;
  const pod = informers.for(PODS).get(`${claim.metadata.namespace}/${owner.name}`);
  if (!pod || (pod.metadata.uid === owner.uid && !isDone(pod))) return;
  try {
    await client.delete(targetOf(RESOURCE_CLAIMS, claim));
  } catch (error) {
    if (!isGone(error)) throw error;
  }
}

/** Undefined: the claim is gone. */
async function writeStatus(
  claim: Obj,
  status: unknown,
  { client }: ActorContext,
): Promise<Obj | undefined> {
  const target = { ...targetOf(RESOURCE_CLAIMS, claim), subresource: "status" };
  const body: unknown = { ...claim, status };
  try {
    return await client.update(target, body as never) as Obj;
  } catch (error) {
    if (isGone(error)) return undefined;
    throw error;
  }
}

async function dropFinalizer(claim: Obj, { client }: ActorContext): Promise<Obj | undefined> {
  const finalizers = claim.metadata.finalizers!.filter((name) => name !== FINALIZER);
  const body: unknown = { ...claim, metadata: { ...claim.metadata, finalizers } };
  try {
    return await client.update(targetOf(RESOURCE_CLAIMS, claim), body as never) as Obj;
  } catch (error) {
    if (isGone(error)) return undefined;
    throw error;
  }
}
