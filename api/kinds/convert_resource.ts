/**
 * resource.k8s.io/v1beta1 to v1: a device request's exact part moved into `exactly`, a device's content
 * out of `basic`.
 */
import type { KubeObject } from "../machinery/types.ts";
import { converted } from "./convert_versions.ts";

type Obj = Record<string, unknown>;

function eachRequest(spec: Obj | undefined, change: (request: Obj) => Obj): void {
  const devices = spec?.devices as { requests?: Obj[] } | undefined;
  if (devices?.requests) devices.requests = devices.requests.map(change);
}

function nestExact(request: Obj): Obj {
  const { name, firstAvailable, ...exactly } = request;
  const out: Obj = { name };
  if (firstAvailable !== undefined) out.firstAvailable = firstAvailable;
  else if (exactly.deviceClassName !== "" || Object.keys(exactly).length > 1) out.exactly = exactly;
  return out;
}

function flattenExact(request: Obj): Obj {
  const { exactly, ...rest } = request;
  return { ...rest, ...(exactly as Obj | undefined) };
}

function eachDevice(slice: KubeObject, change: (device: Obj) => Obj): void {
  const spec = slice.spec as { devices?: Obj[] } | undefined;
  if (spec?.devices) spec.devices = spec.devices.map(change);
}

function flattenBasic(device: Obj): Obj {
  const { basic, ...rest } = device;
  return { ...rest, ...(basic as Obj | undefined) };
}

function nestBasic(device: Obj): Obj {
  const { name, ...basic } = device;
  return { name, basic };
}

const BETA = "resource.k8s.io/v1beta1";
const STORED = "resource.k8s.io/v1";

/** Of ResourceClaim. */
export const DRA_CLAIM = converted(
  BETA,
  STORED,
  (claim) => eachRequest(claim.spec, nestExact),
  (claim) => eachRequest(claim.spec, flattenExact),
);

/** Of ResourceClaimTemplate. */
export const DRA_CLAIM_TEMPLATE = converted(
  BETA,
  STORED,
  (template) => eachRequest(template.spec?.spec, nestExact),
  (template) => eachRequest(template.spec?.spec, flattenExact),
);

/** Of ResourceSlice. */
export const DRA_SLICE = converted(
  BETA,
  STORED,
  (slice) => eachDevice(slice, flattenBasic),
  (slice) => eachDevice(slice, nestBasic),
);
