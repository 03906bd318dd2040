/**
 * Growing volumes. Those of the local-path provisioner are folders without a bound of their own: they have grown
 * once claim and volume say so. All others are grown by whoever brought them (a CSI driver's resizer); the claim
 * is told so, once for each size.
 *
 * Behaviour matched: pkg/controller/volume/expand/expand_controller.go, v1.36.
 */
import { parseQuantity } from "../../api/machinery/quantity.ts";
import {
  type ActorContext,
  type Controller,
  isGone,
  PERSISTENT_VOLUME_CLAIMS,
  PERSISTENT_VOLUMES,
  targetOf,
} from "../runtime/mod.ts";
import { LOCAL_PATH } from "./local_path.ts";
import type { Obj } from "./objects.ts";

const PROVISIONED_BY = "pv.kubernetes.io/provisioned-by";

interface State {
  /** The sizes of which a claim was told that somebody else is awaited, by uid. */
  told: Map<string, string>;
}

export const volumeExpander: Controller<State> = {
  name: "persistentvolume-expander",
  account: "expand-controller",
  component: "volume_expand",
  for: PERSISTENT_VOLUME_CLAIMS,
  selects: (claim) =>
    claim.status?.phase === "Bound" || claim.metadata.deletionTimestamp !== undefined,
  reads: [PERSISTENT_VOLUMES],
  start: () => ({ told: new Map() }),
  async reconcile(key, context, { told }) {
    const claim = context.informers.for(PERSISTENT_VOLUME_CLAIMS).get(key);
    const wanted = claim && growthOf(claim);
    if (!claim || wanted === undefined) {
      if (claim) told.delete(claim.metadata.uid);
      return;
    }
    const { uid } = claim.metadata;
    const volume = context.informers.for(PERSISTENT_VOLUMES).get(claim.spec.volumeName ?? "");
    if (volume?.spec.claimRef?.uid !== uid) {
      throw new Error(`persistent Volume is not bound to PVC being updated : ${key}`);
    }
    if (volume.metadata.annotations?.[PROVISIONED_BY] === LOCAL_PATH) {
      return await grow(claim, volume, wanted, context);
    }
    if (told.get(uid) === wanted) return;
    told.set(uid, wanted);
    const text = "waiting for an external controller to expand this PVC";
    context.recorder.event(claim, "Normal", "ExternalExpanding", text);
  },
};

/** The size that a bound claim wants beyond what it has. Pure. */
export function growthOf({ spec, status }: Obj): string | undefined {
  const wanted = spec.resources?.requests?.storage as string | undefined;
  const has = status?.capacity?.storage as string | undefined;
  if (status?.phase !== "Bound" || !wanted || !has) return undefined;
  return parseQuantity(wanted).compare(parseQuantity(has)) > 0 ? wanted : undefined;
}

/** The volume first: a claim never has more than its volume says. */
async function grow(
  claim: Obj,
  volume: Obj,
  storage: string,
  { client, recorder }: ActorContext,
): Promise<void> {
  try {
    await client.patch(targetOf(PERSISTENT_VOLUMES, volume), {
      type: "merge",
      body: { metadata: { uid: volume.metadata.uid }, spec: { capacity: { storage } } },
    });
    await client.patch(targetOf(PERSISTENT_VOLUME_CLAIMS, claim, "status"), {
      type: "merge",
      body: { metadata: { uid: claim.metadata.uid }, status: { capacity: { storage } } },
    });
    recorder.event(claim, "Normal", "VolumeResizeSuccessful", "Resize volume succeeded");
  } catch (error) {
    if (!isGone(error)) throw error;
  }
}
