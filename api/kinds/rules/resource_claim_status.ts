/**
 * What may happen to a ResourceClaim's status (upstream's `pkg/registry/resource`): whoever may write it may not
 * therefore give devices away, nor speak for any driver, and what is told of a device goes with it.
 */

import type { DeepReadonly, KindContext, KubeObject } from "../../machinery/types.ts";
import { BINDING_CONDITIONS, DEVICE_STATUS } from "../gates.ts";
import { semanticEqual } from "./equality.ts";
import { type Report, STATUS } from "./report.ts";

// deno-lint-ignore no-explicit-any -- objects are decoded JSON; the schema walk has checked their types
type Obj = any;
type Stored = DeepReadonly<KubeObject>;

const GATE = "DRAResourceClaimGranularStatusAuthorization";
const BINDING_FIELDS = ["bindingConditions", "bindingFailureConditions"];

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

/** Drops what belongs to features that are off, unless the stored claim has it. */
export function dropDisabledStatus(claim: KubeObject, old: Stored, context: KindContext): void {
  const { features } = context;
  if (features?.get(DEVICE_STATUS) === false && claim.status && !old.status?.devices?.length) {
    const { devices: _, ...status } = claim.status;
    claim.status = status;
  }
  const conditions = (device: Obj) => BINDING_FIELDS.some((field) => device[field]?.length > 0);
  if (features?.get(BINDING_CONDITIONS) !== false || granted(old.status).some(conditions)) return;
  for (const device of granted(claim.status)) {
    for (const field of BINDING_FIELDS) delete device[field];
  }
}

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

/** Reports what the user has no right to change. */
export function authorizeStatus(
  claim: Stored,
  old: Stored,
  context: KindContext,
  r: Report,
): void {
  if (context.features?.get(GATE) === false) return;
  const now: Obj = claim.status ?? {}, before: Obj = old.status ?? {};
  authorizeBinding(now, before, context, r);
  // Without an allocation there is nothing to tell of devices
  if (now.allocation) authorizeDevices(now, before, context, r);
}

function authorizeBinding(now: Obj, before: Obj, context: KindContext, r: Report): void {
  const bound = ["allocation", "reservedFor"];
  if (bound.every((field) => semanticEqual(now[field], before[field]))) return;
  const { verb } = context;
  // Of all claims everywhere: devices are the whole cluster's
  const why = context.refused({ verb, subresource: "binding", namespace: "", name: "" });
  if (why === undefined) return;
  const text = "changing status.allocation or status.reservedFor requires " +
    `resource="resourceclaims/binding", verb="${verb}" permission: ${why}`;
  r.forbidden(STATUS.child("allocation"), text);
}

/** A driver's right is by its name, and perhaps only for claims on the node where it runs itself. */
function authorizeDevices(now: Obj, before: Obj, context: KindContext, r: Report): void {
  const { verb, accountNode } = context;
  const verbs = [`arbitrary-node:${verb}`];
  const own = accountNode !== undefined && accountNode === nodeOf(now.allocation);
  if (own) verbs.unshift(`associated-node:${verb}`);
  for (const name of changedDrivers(now.devices, before.devices)) {
    const refusals: string[] = [];
    const allowed = verbs.some((verb) => {
      const why = context.refused({ verb, subresource: "driver", name });
      if (why !== undefined) refusals.push(why);
      return why === undefined;
    });
    if (allowed) continue;
    const text = `changing status.devices requires resource="resourceclaims/driver", ` +
      `verb="[${verbs.join(" ")}]" permission: ${refusals[0]}`;
    r.forbidden(STATUS.child("devices"), text);
  }
}

/** Drivers of whose devices something else is told than before. */
function changedDrivers(now: readonly Obj[] = [], before: readonly Obj[] = []): string[] {
  const left = new Map(before.map((device) => [deviceKey(device), device]));
  const drivers = new Set<string>();
  for (const device of now) {
    const key = deviceKey(device), known = left.get(key);
    left.delete(key);
    if (!known || !semanticEqual(known, device)) drivers.add(device.driver ?? "");
  }
  for (const { driver } of left.values()) drivers.add(driver ?? "");
  return [...drivers].sort();
}

/** The one node that an allocation is for, if it is for one by name and nothing else. */
function nodeOf({ nodeSelector }: Obj): string | undefined {
  const [term, ...more]: Obj[] = nodeSelector?.nodeSelectorTerms ?? [];
  if (!term || more.length > 0 || term.matchExpressions?.length > 0) return undefined;
  const [field, ...others]: Obj[] = term.matchFields ?? [];
  if (!field || others.length > 0) return undefined;
  if (field.key !== "metadata.name" || field.operator !== "In") return undefined;
  return field.values?.length === 1 ? field.values[0] : undefined;
}
