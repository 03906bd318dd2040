/**
 * Grows volumes of configured storage drivers: what external-resizer does beside a driver of its own. The node does
 * the rest where the driver says so; until it has, the claim says what it waits for.
 *
 * Behaviour matched: kubernetes-csi/external-resizer (conditions, statuses, events).
 */
import { parseQuantity } from "../../api/machinery/quantity.ts";
import { formatTime } from "../../api/machinery/time.ts";
import type { Json } from "../../api/machinery/types.ts";
import {
  type ActorContext,
  type Controller,
  type Outcome,
  PERSISTENT_VOLUME_CLAIMS,
  PERSISTENT_VOLUMES,
  targetOf,
} from "../runtime/mod.ts";
import type { Obj } from "./objects.ts";
import {
  boundVolume,
  Retries,
  runErrand,
  secretsOf,
  type StorageDriver,
  type StorageDrivers,
  useOf,
} from "./storage_drivers.ts";
import { growthOf } from "./volume_expander.ts";

const PENDING = "NodeResizePending";
const WAITS =
  "Waiting for user to (re-)start a pod to finish file system resize of volume on node.";

interface State {
  retries: Retries;
}

/** The row. */
export function csiResizer(drivers: StorageDrivers): Controller<State> {
  return {
    name: "csi-resizer",
    account: "csi-controller",
    component: "external-resizer",
    for: PERSISTENT_VOLUME_CLAIMS,
    selects: (claim) => claim.status?.phase === "Bound",
    reads: [PERSISTENT_VOLUMES],
    start: () => ({ retries: new Retries() }),
    async reconcile(key, context, { retries }): Promise<Outcome> {
      const claim = context.informers.for(PERSISTENT_VOLUME_CLAIMS).get(key);
      const wanted = claim && growthOf(claim);
      const volume = claim && boundVolume(claim, context);
      if (!wanted || !volume?.spec.csi || waitsForNode(claim, wanted)) return retries.done(key);
      return await runErrand(drivers, retries, {
        key,
        driver: volume.spec.csi.driver,
        run: (driver) => grow({ claim, volume, wanted }, driver, context),
        failed: ({ message }, { name: by }) => {
          const text =
            `resize volume "${volume.metadata.name}" by resizer "${by}" failed: ${message}`;
          context.recorder.event(claim, "Warning", "VolumeResizeFailed", text);
        },
      });
    },
  };
}

/** Whether the driver has done its part, for this size. */
function waitsForNode({ status }: Obj, wanted: string): boolean {
  return status.allocatedResourceStatuses?.storage === PENDING &&
    status.allocatedResources?.storage === wanted;
}

async function grow(
  { claim, volume, wanted }: { claim: Obj; volume: Obj; wanted: string },
  driver: StorageDriver,
  context: ActorContext,
): Promise<void> {
  const { client, recorder } = context;
  const { name } = volume.metadata;
  const text = `External resizer is resizing volume ${name}`;
  recorder.event(claim, "Normal", "Resizing", text);
  const { volumeHandle, controllerExpandSecretRef } = volume.spec.csi;
  let onNode = true;
  if (await driver.can("expand")) {
    await tell(claim, {
      allocatedResources: { storage: wanted },
      allocatedResourceStatuses: { storage: "ControllerResizeInProgress" },
      conditions: conditions(claim, "Resizing", "", context),
    }, context);
    const secrets = await secretsOf(controllerExpandSecretRef, context);
    const grown = { handle: volumeHandle, use: useOf(volume), secrets };
    ({ onNode } = await driver.expand(grown, parseQuantity(wanted).value()));
  }
  await client.patch(targetOf(PERSISTENT_VOLUMES, volume), {
    type: "merge",
    body: { metadata: { uid: volume.metadata.uid }, spec: { capacity: { storage: wanted } } },
  });
  if (onNode) {
    await tell(claim, {
      allocatedResources: { storage: wanted },
      allocatedResourceStatuses: { storage: PENDING },
      conditions: conditions(claim, "FileSystemResizePending", WAITS, context),
    }, context);
    const pending = "Require file system resize of volume on node";
    recorder.event(claim, "Normal", "FileSystemResizeRequired", pending);
    return;
  }
  await tell(claim, {
    capacity: { storage: wanted },
    allocatedResources: { storage: wanted },
    allocatedResourceStatuses: { storage: null },
    conditions: conditions(claim, undefined, "", context),
  }, context);
  recorder.event(claim, "Normal", "VolumeResizeSuccessful", "Resize volume succeeded");
}

/** The claim's conditions, of those about its size only this one. */
function conditions(
  { status }: Obj,
  type: string | undefined,
  message: string,
  { clock }: ActorContext,
): Json[] {
  const others = ((status.conditions ?? []) as readonly { type: string }[])
    .filter((one) => one.type !== "Resizing" && one.type !== "FileSystemResizePending");
  const now = formatTime(clock.now());
  const own = type
    ? [{ type, status: "True", lastTransitionTime: now, lastProbeTime: null, message }]
    : [];
  return [...others, ...own] as Json[];
}

async function tell(
  claim: Obj,
  status: { [key: string]: Json },
  { client }: ActorContext,
): Promise<void> {
  const { uid } = claim.metadata;
  await client.patch(targetOf(PERSISTENT_VOLUME_CLAIMS, claim, "status"), {
    type: "merge",
    body: { metadata: { uid }, status },
  });
}
