/**
 * Attaches volumes of configured storage drivers to nodes: what external-attacher does beside a driver of its own. A
 * driver without that ability has its attachments confirmed at once.
 *
 * Behaviour matched: kubernetes-csi/external-attacher (finalizers, annotation, status).
 */
import { formatTime } from "../../api/machinery/time.ts";
import type { Json, KubeObject } from "../../api/machinery/types.ts";
import {
  type ActorContext,
  type Controller,
  CSI_NODES,
  isGone,
  type Outcome,
  PERSISTENT_VOLUMES,
  targetOf,
  VOLUME_ATTACHMENTS,
} from "../runtime/mod.ts";
import type { Obj } from "./objects.ts";
import {
  Retries,
  runErrand,
  secretsOf,
  type StorageDriver,
  type StorageDrivers,
  useOf,
} from "./storage_drivers.ts";

const NODE_ID = "csi.alpha.kubernetes.io/node-id";

interface State {
  retries: Retries;
}

/** The row. */
export function csiAttacher(drivers: StorageDrivers): Controller<State> {
  return {
    name: "csi-attacher",
    account: "csi-controller",
    component: "csi-attacher",
    for: VOLUME_ATTACHMENTS,
    reads: [PERSISTENT_VOLUMES, CSI_NODES],
    start: () => ({ retries: new Retries() }),
    async reconcile(name, context, { retries }): Promise<Outcome> {
      const attachment = context.informers.for(VOLUME_ATTACHMENTS).get(name);
      if (!attachment) return retries.done(name);
      const { metadata, spec, status } = attachment;
      if (status?.attached && !metadata.deletionTimestamp) return retries.done(name);
      const leaves = metadata.deletionTimestamp !== undefined;
      return await runErrand(drivers, retries, {
        key: name,
        driver: spec.attacher,
        run: (driver) => (leaves ? detach : attach)(attachment, driver, context),
        failed: ({ message }) =>
          tell(attachment, {
            [leaves ? "detachError" : "attachError"]: {
              message,
              time: formatTime(context.clock.now()),
            },
          }, context).catch((late) => {
            if (!isGone(late)) throw late;
          }),
      });
    },
  };
}

/** `external-attacher/<driver>`, with what a finalizer may not have replaced. */
export function finalizerOf(driver: string): string {
  const clean = driver.replaceAll(/[^a-zA-Z0-9-]/g, "-");
  return `external-attacher/${clean.endsWith("-") ? `${clean}X` : clean}`;
}

async function attach(
  attachment: Obj,
  driver: StorageDriver,
  context: ActorContext,
): Promise<void> {
  if (!await driver.can("publish")) return await tell(attachment, { attached: true }, context);
  const { client, informers } = context;
  const { name } = attachment.metadata;
  const volume = volumeOf(attachment, context);
  const node = attachment.spec.nodeName as string;
  const row = informers.for(CSI_NODES).get(node)?.spec.drivers
    ?.find((one: { name: string }) => one.name === driver.name);
  if (!row) throw new Error(`CSINode ${node} does not contain driver ${driver.name}`);
  const finalizer = finalizerOf(driver.name);
  const known: readonly string[] = attachment.metadata.finalizers ?? [];
  if (!known.includes(finalizer)) {
    // Before the call: who attaches must know that it has to detach.
    await client.patch(targetOf(VOLUME_ATTACHMENTS, attachment), {
      type: "merge",
      body: {
        metadata: {
          uid: attachment.metadata.uid,
          finalizers: [...known, finalizer],
          annotations: { [NODE_ID]: row.nodeID },
        },
      },
    });
  }
  const { csi } = volume.spec;
  const told = await driver.attach({
    handle: csi.volumeHandle,
    use: useOf(volume),
    readOnly: csi.readOnly ?? false,
    context: csi.volumeAttributes ?? {},
    secrets: await secretsOf(csi.controllerPublishSecretRef, context),
  }, row.nodeID);
  const status = { attached: true, attachError: null, attachmentMetadata: told };
  await tell({ ...attachment, metadata: { ...attachment.metadata, name } }, status, context);
}

async function detach(
  attachment: Obj,
  driver: StorageDriver,
  context: ActorContext,
): Promise<void> {
  const { client } = context;
  const finalizer = finalizerOf(driver.name);
  const { uid, annotations, finalizers = [] } = attachment.metadata;
  if (!finalizers.includes(finalizer)) return;
  const volume = volumeOf(attachment, context);
  const { volumeHandle, controllerPublishSecretRef } = volume.spec.csi;
  const secrets = await secretsOf(controllerPublishSecretRef, context);
  await driver.detach(volumeHandle, annotations?.[NODE_ID] ?? "", secrets);
  await client.patch(targetOf(VOLUME_ATTACHMENTS, attachment), {
    type: "merge",
    body: { metadata: { uid, finalizers: finalizers.filter((one) => one !== finalizer) } },
  });
}

function volumeOf({ spec }: Obj, { informers }: ActorContext): Obj {
  const name = spec.source.persistentVolumeName as string;
  const volume = informers.for(PERSISTENT_VOLUMES).get(name);
  if (!volume?.spec.csi) throw new Error(`persistentvolume "${name}" not found`);
  return volume;
}

async function tell(
  attachment: Obj,
  status: { [key: string]: Json },
  { client }: ActorContext,
): Promise<void> {
  const { uid } = attachment.metadata;
  await client.patch<KubeObject>(targetOf(VOLUME_ATTACHMENTS, attachment, "status"), {
    type: "merge",
    body: {
      metadata: { uid },
      status: { attached: attachment.status?.attached ?? false, ...status },
    },
  });
}
