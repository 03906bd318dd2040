/** What happens to a ResourceClaim's status (upstream's `pkg/registry/resource`): what is told of a device goes with it. */

import type { DeepReadonly, KubeObject } from "../../machinery/types.ts";

// deno-lint-ignore no-explicit-any -- objects are decoded JSON; the schema walk has checked their types
type Obj = any;
type Stored = DeepReadonly<KubeObject>;

/** The devices that a claim was given. */
export function granted(status: Obj): Obj[] {
  return status?.allocation?.devices?.results ?? [];
}

/** A device, and the share of it where several claims have one. */
export function deviceId({ driver = "", pool = "", device = "", shareID }: Obj) {
  return { Driver: driver, Pool: pool, Device: device, ShareID: shareID ?? "" };
}

/** The same as a text. */
export const deviceKey = (device: Obj) => JSON.stringify(deviceId(device));

/** Drops what is told of devices that the claim had and has no more: whoever takes them need not know of it. */
export function dropDeallocated(claim: KubeObject, old: Stored): void {
  const told: readonly Obj[] = claim.status?.devices ?? [];
  if (told.length === 0) return;
  const gone = new Set(granted(old.status).map(deviceKey));
  for (const device of granted(claim.status)) gone.delete(deviceKey(device));
  const devices = told.filter((device) => !gone.has(deviceKey(device)));
  if (devices.length === told.length) return;
  const { devices: _, ...status } = claim.status;
  claim.status = devices.length > 0 ? { ...status, devices } : status;
}
