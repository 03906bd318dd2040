/**
 * Attaching volumes: for each volume of a CSI driver that the pods of a node need there is a VolumeAttachment,
 * which the driver's attacher acts upon; when no pod needs it any more and the node says that it let go of it,
 * the attachment is deleted. `status.volumesAttached` of the node says what its kubelet may mount.
 *
 * Keys are nodes' names. The attachments themselves are the memory: what the node's status does not show yet is
 * news to its pods. A volume of one node at a time waits for the other node to let go.
 *
 * Behaviour matched: pkg/controller/volume/attachdetach and pkg/volume/csi/csi_attacher.go, v1.36.
 */
import { createHash } from "node:crypto";
import { sameJson } from "../../api/machinery/json_value.ts";
import { ApiError } from "../../api/machinery/types.ts";
import {
  type ActorContext,
  type Controller,
  CSI_DRIVERS,
  isGone,
  NODES,
  type Outcome,
  PERSISTENT_VOLUME_CLAIMS,
  PERSISTENT_VOLUMES,
  PODS,
  targetOf,
  VOLUME_ATTACHMENTS,
} from "../runtime/mod.ts";
import { ControllerMetrics } from "./metrics.ts";
import { conditionOf, type Obj } from "./objects.ts";
import { isFinished, textOf } from "./pods.ts";
import type { ControllerPorts } from "./ports.ts";
import { BY_CLAIM, claimsOf } from "./volume_protection.ts";

const MANAGED = "volumes.kubernetes.io/controller-managed-attach-detach";
const OUT_OF_SERVICE = "node.kubernetes.io/out-of-service";
/** How long an unhealthy node may keep a volume that nobody needs there. */
export const UNMOUNT_MS_MAX = 6 * 60_000;
/** How soon a volume is asked for again that another node still has. */
const AGAIN_MS = 10_000;

const BY_NODE = "nodeName";

interface State {
  /** Since when an attachment is not needed, by name and by the monotonic clock. */
  unneeded: Map<string, number>;
  /** Refusals that pods were told of: attachment and text. */
  told: Map<string, string>;
  metrics: ControllerMetrics;
}

/** What each step is given beside what it is about. */
interface Scope {
  context: ActorContext;
  state: State;
}

/** A volume that a node needs, and the pods that need it there. */
interface Need {
  attachment: string;
  volume: Obj;
  pods: Obj[];
}

/** The row. */
export function attachDetachController(
  { metrics = new ControllerMetrics() }: Pick<ControllerPorts, "metrics">,
): Controller<State> {
  return {
    name: "persistentvolume-attach-detach",
    account: "attachdetach-controller",
    component: "attachdetach-controller",
    for: NODES,
    // A node's own changes matter while something is attached to it.
    selects: ({ metadata }, { informers }) =>
      informers.for(VOLUME_ATTACHMENTS).byIndex(BY_NODE, metadata.name).length > 0,
    watches: [
      {
        resource: PODS,
        keys: (pod) => pod.spec.nodeName && claimsOf(pod).length ? [pod.spec.nodeName] : [],
      },
      { resource: VOLUME_ATTACHMENTS, keys: ({ spec }) => [spec.nodeName] },
      {
        resource: PERSISTENT_VOLUME_CLAIMS,
        keys: ({ metadata }, _old, { informers }) =>
          informers.for(PODS).byIndex(BY_CLAIM, `${metadata.namespace}/${metadata.name}`)
            .flatMap((pod) => pod.spec.nodeName ?? []),
      },
    ],
    reads: [PERSISTENT_VOLUMES, CSI_DRIVERS],
    start({ informers }) {
      const pods = informers.for(PODS);
      pods.index(BY_CLAIM, claimsOf);
      pods.index(BY_NODE, (pod) => pod.spec.nodeName ? [pod.spec.nodeName] : []);
      informers.for(VOLUME_ATTACHMENTS).index(BY_NODE, ({ spec }) => [spec.nodeName]);
      return { unneeded: new Map(), told: new Map(), metrics };
    },
    reconcile,
  };
}

async function reconcile(name: string, context: ActorContext, state: State): Promise<Outcome> {
  const scope = { context, state };
  const node = context.informers.for(NODES).get(name);
  const present = context.informers.for(VOLUME_ATTACHMENTS).byIndex(BY_NODE, name);
  const managed = node?.metadata.annotations?.[MANAGED] === "true";
  const needs = managed ? needsOf(name, context) : new Map<string, Need>();
  let afterMs: number | undefined;
  const leaving = new Set<string>();
  for (const attachment of present) {
    const waitMs = needs.has(attachment.metadata.name)
      ? void state.unneeded.delete(attachment.metadata.name)
      : mayDetachMs(attachment, node, scope);
    if (waitMs === 0) leaving.add(attachment.metadata.name);
    else if (waitMs !== undefined) afterMs = Math.min(afterMs ?? waitMs, waitMs);
  }
  // What is about to go is no longer reported: the kubelet must not begin to mount it.
  const staying = present.filter(({ metadata }) => !leaving.has(metadata.name));
  await report(node, { attachments: staying, needs }, scope);
  for (const attachment of present) {
    if (leaving.has(attachment.metadata.name)) await detach(attachment, scope);
  }
  for (const need of needs.values()) {
    if (present.some(({ metadata }) => metadata.name === need.attachment)) continue;
    if (!await attach(name, need, scope)) {
      afterMs = Math.min(afterMs ?? AGAIN_MS, AGAIN_MS);
    }
  }
  return afterMs === undefined ? undefined : { afterMs };
}

/** An attachment's name: drivers and kubelets compute it, too. */
export function attachmentName(handle: string, driver: string, node: string): string {
  return `csi-${createHash("sha256").update(`${handle}${driver}${node}`).digest("hex")}`;
}

/** How kubelets call a volume. */
function uniqueName({ spec }: Obj): string {
  return `kubernetes.io/csi/${spec.csi.driver}^${spec.csi.volumeHandle}`;
}

/** What the pods of a node need attached, by attachment. */
function needsOf(name: string, context: ActorContext): Map<string, Need> {
  const { informers } = context;
  const needs = new Map<string, Need>();
  for (const pod of informers.for(PODS).byIndex(BY_NODE, name)) {
    if (isOver(pod)) continue;
    for (const key of claimsOf(pod)) {
      const claim = informers.for(PERSISTENT_VOLUME_CLAIMS).get(key);
      const volume = informers.for(PERSISTENT_VOLUMES).get(claim?.spec.volumeName ?? "");
      if (!volume?.spec.csi || volume.spec.claimRef?.uid !== claim?.metadata.uid) continue;
      const { driver, volumeHandle } = volume.spec.csi;
      if (informers.for(CSI_DRIVERS).get(driver)?.spec.attachRequired === false) continue;
      const attachment = attachmentName(volumeHandle, driver, name);
      const need = needs.get(attachment) ?? { attachment, volume, pods: [] };
      need.pods.push(pod);
      needs.set(attachment, need);
    }
  }
  return needs;
}

/** Whether a pod uses its volumes no more. */
function isOver(pod: Obj): boolean {
  if (isFinished(pod)) return true;
  if (!pod.metadata.deletionTimestamp) return false;
  const statuses: { state?: { terminated?: object; waiting?: object } }[] =
    pod.status?.containerStatuses ?? [];
  return statuses.length > 0 && statuses.every(({ state }) => state?.terminated || state?.waiting);
}

// --- attaching --------------------------------------------------------------------------------------

/** Asks for an attachment. Resolves with false when another node has the volume. */
async function attach(
  node: string,
  { attachment, volume, pods }: Need,
  { context, state }: Scope,
): Promise<boolean> {
  const name = volume.metadata.name;
  const rivals = [...context.informers.for(VOLUME_ATTACHMENTS).list()].filter(({ spec }) =>
    spec.source.persistentVolumeName === name && spec.nodeName !== node
  );
  if (rivals.length > 0 && !isShared(volume)) {
    const nodes = rivals.map(({ spec }) => spec.nodeName as string);
    for (const pod of pods) {
      const text = `Multi-Attach error for volume "${name}" ${
        whoHas(volume, pod, { nodes, context })
      }`;
      if (isNews(state, `${attachment}/${pod.metadata.uid}`, text)) {
        context.recorder.event(pod, "Warning", "FailedAttachVolume", text);
      }
    }
    return false;
  }
  try {
    await context.client.create({ resource: VOLUME_ATTACHMENTS }, {
      apiVersion: "storage.k8s.io/v1",
      kind: "VolumeAttachment",
      metadata: { name: attachment },
      spec: {
        attacher: volume.spec.csi.driver,
        nodeName: node,
        source: { persistentVolumeName: name },
      },
    });
  } catch (error) {
    if (error instanceof ApiError && error.reason === "AlreadyExists") return true;
    for (const pod of pods) {
      const text = `AttachVolume.Attach failed for volume "${name}" : ${textOf(error)}`;
      context.recorder.event(pod, "Warning", "FailedAttachVolume", text);
    }
    throw error;
  }
  return true;
}

function isShared({ spec }: Obj): boolean {
  const modes: readonly string[] = spec.accessModes ?? [];
  return modes.length === 0 || modes.some((m) => m === "ReadWriteMany" || m === "ReadOnlyMany");
}

/** Says who has a volume, without the names of others' pods. */
function whoHas(
  volume: Obj,
  pod: Obj,
  { nodes, context: { informers } }: { nodes: readonly string[]; context: ActorContext },
): string {
  const { namespace, name } = volume.spec.claimRef;
  const users = informers.for(PODS).byIndex(BY_CLAIM, `${namespace}/${name}`)
    .filter((other) => nodes.includes(other.spec.nodeName) && !isOver(other));
  if (users.length === 0) {
    return "Volume is already exclusively attached to one node and can't be attached to another";
  }
  const own = users.filter(({ metadata }) => metadata.namespace === pod.metadata.namespace);
  return `Volume is already used by pod(s) ${own.map(({ metadata }) => metadata.name).join(", ")}`;
}

/** Whether a text about a thing is news. */
function isNews({ told }: State, thing: string, text: string): boolean {
  if (told.get(thing) === text) return false;
  told.set(thing, text);
  return true;
}

// --- what the node is told --------------------------------------------------------------------------

async function report(
  node: Obj | undefined,
  { attachments, needs }: { attachments: readonly Obj[]; needs: ReadonlyMap<string, Need> },
  { context, state }: Scope,
): Promise<void> {
  const volumes = context.informers.for(PERSISTENT_VOLUMES);
  const before: { name: string }[] = node?.status?.volumesAttached ?? [];
  const now: { name: string; devicePath: string }[] = [];
  for (const { metadata, spec, status } of attachments) {
    const volume = volumes.get(spec.source.persistentVolumeName ?? "");
    const need = needs.get(metadata.name);
    const problem = status?.attachError?.message;
    if (problem && need && !status.attached) {
      const text =
        `AttachVolume.Attach failed for volume "${need.volume.metadata.name}" : ${problem}`;
      const told = isNews(state, metadata.name, text) ? need.pods : [];
      for (const pod of told) {
        context.recorder.event(pod, "Warning", "FailedAttachVolume", text);
      }
    }
    if (!volume?.spec.csi || !status?.attached || metadata.deletionTimestamp) continue;
    const name = uniqueName(volume);
    now.push({ name, devicePath: "" });
    if (before.some((one) => one.name === name)) continue;
    const text = `AttachVolume.Attach succeeded for volume "${volume.metadata.name}" `;
    for (const pod of need?.pods ?? []) {
      context.recorder.event(pod, "Normal", "SuccessfulAttachVolume", text);
    }
  }
  if (!node || sameJson(before.map((one) => one.name).sort(), now.map((one) => one.name).sort())) {
    return;
  }
  try {
    await context.client.patch(targetOf(NODES, node, "status"), {
      type: "merge",
      body: {
        metadata: { uid: node.metadata.uid },
        status: { volumesAttached: now.length ? now : null },
      },
    });
  } catch (error) {
    if (!isGone(error)) throw error;
  }
}

// --- detaching --------------------------------------------------------------------------------------

/**
 * In how many ms an attachment that nobody needs may be looked at again; 0: it goes now; undefined: it is not ours,
 * or the node will say when it has let go.
 */
function mayDetachMs(
  attachment: Obj,
  node: Obj | undefined,
  { context, state }: Scope,
): number | undefined {
  const { metadata, spec } = attachment;
  if (metadata.deletionTimestamp) return undefined;
  const volume = context.informers.for(PERSISTENT_VOLUMES).get(
    spec.source.persistentVolumeName ?? "",
  );
  // Attachments of others (inline volumes, foreign names) are theirs.
  if (!volume?.spec.csi) return undefined;
  const { driver, volumeHandle } = volume.spec.csi;
  if (metadata.name !== attachmentName(volumeHandle, driver, spec.nodeName)) return undefined;
  const now = context.clock.monotonic();
  const since = state.unneeded.get(metadata.name) ?? now;
  state.unneeded.set(metadata.name, since);
  const mounted: readonly string[] = node?.status?.volumesInUse ?? [];
  if (!mounted.includes(uniqueName(volume))) return 0;
  const taints: readonly { key: string }[] = node?.spec?.taints ?? [];
  if (taints.some(({ key }) => key === OUT_OF_SERVICE)) {
    state.metrics.forcedDetaches.add({ reason: "out-of-service" });
    return 0;
  }
  const healthy = conditionOf(node?.status, "Ready")?.status === "True";
  const leftMs = since + UNMOUNT_MS_MAX - now;
  if (!healthy && leftMs <= 0) {
    state.metrics.forcedDetaches.add({ reason: "timeout" });
    return 0;
  }
  return healthy ? undefined : leftMs;
}

async function detach(attachment: Obj, { context: { client }, state }: Scope): Promise<void> {
  const { name, uid } = attachment.metadata;
  try {
    await client.delete(targetOf(VOLUME_ATTACHMENTS, attachment), { preconditions: { uid } });
  } catch (error) {
    if (!isGone(error)) throw error;
  }
  state.unneeded.delete(name);
  for (const thing of state.told.keys()) if (thing.startsWith(name)) state.told.delete(thing);
}
