/**
 * Device taint eviction: a pod leaves its node when a device that it was given through a claim has a NoExecute
 * taint in its driver's ResourceSlices that the claim does not tolerate, or tolerates for a while only and the
 * while is over.
 *
 * Behaviour matched: pkg/controller/devicetainteviction/device_taint_eviction.go, v1.36; DeviceTaintRules are not
 * served, as by default.
 */
import type { Informer, Informers } from "../../api/client/contract.ts";
import {
  type ActorContext,
  type Controller,
  type Outcome,
  PODS,
  RESOURCE_CLAIMS,
  RESOURCE_SLICES,
} from "../runtime/mod.ts";
import { ControllerMetrics } from "./metrics.ts";
import { type Obj, timeOf } from "./objects.ts";
import { isFinished } from "./pods.ts";
import type { ControllerPorts } from "./ports.ts";
import { deleteDisrupted } from "./taint_eviction.ts";

const BY_POOL = "devicePool";

interface State {
  /** Pods that are to go, for the event that takes it back. */
  marked: Set<string>;
  metrics: ControllerMetrics;
}

export interface DeviceTaint {
  key: string;
  value?: string;
  effect: string;
  timeAdded?: string;
}

export interface DeviceToleration {
  key?: string;
  operator?: string;
  value?: string;
  effect?: string;
  tolerationSeconds?: number;
}

/** A device that a claim was given. */
interface Allocated {
  driver: string;
  pool: string;
  device: string;
  tolerations?: readonly DeviceToleration[];
}

/** The row. */
export function deviceTaintEvictionController(
  { metrics = new ControllerMetrics() }: Pick<ControllerPorts, "metrics">,
): Controller<State> {
  return {
    name: "device-taint-eviction",
    account: "device-taint-eviction-controller",
    component: "device-taint-eviction-controller",
    for: PODS,
    selects: (pod) => (pod.spec.resourceClaims ?? []).length > 0,
    watches: [
      { resource: RESOURCE_CLAIMS, keys: (claim) => podsOf(claim) },
      {
        resource: RESOURCE_SLICES,
        keys: (slice, _old, { informers }) =>
          informers.for(RESOURCE_CLAIMS).byIndex(BY_POOL, poolOf(slice)).flatMap(podsOf),
      },
    ],
    start({ informers }) {
      informers.for(RESOURCE_CLAIMS).index(BY_POOL, (claim) => [
        ...new Set(allocatedOf(claim).map(({ driver, pool }) => `${driver}/${pool}`)),
      ]);
      informers.for(RESOURCE_SLICES).index(BY_POOL, (slice) => [poolOf(slice)]);
      return { marked: new Set(), metrics };
    },
    reconcile,
  };
}

async function reconcile(
  key: string,
  context: ActorContext,
  { marked, metrics }: State,
): Promise<Outcome> {
  const pod = context.informers.for(PODS).get(key);
  if (!pod?.spec.nodeName || pod.metadata.deletionTimestamp || isFinished(pod)) {
    marked.delete(key);
    return;
  }
  const say = (text: string) =>
    context.recorder.event(pod, "Normal", "DeviceTaintManagerEviction", text);
  const at = leavesAt(pod, context.informers);
  if (at === undefined) {
    if (marked.delete(key)) say("Cancelling deletion");
    return;
  }
  marked.add(key);
  const leftMs = at - context.clock.now();
  if (leftMs > 0) return { afterMs: leftMs };
  marked.delete(key);
  say("Marking for deletion");
  await deleteDisrupted(pod, context, {
    reason: "DeletionByDeviceTaintManager",
    message: "Device Taint manager: deleting due to NoExecute taint",
  });
  metrics.deviceTaintDeletions.add({});
}

const poolOf = ({ spec }: Obj): string => `${spec.driver}/${spec.pool.name}`;

function allocatedOf(claim: Obj): readonly Allocated[] {
  return claim.status?.allocation?.devices?.results ?? [];
}

interface Consumer {
  resource: string;
  name: string;
  uid: string;
}

/** The pods for which a claim is reserved. */
function podsOf(claim: Obj): string[] {
  const reserved: readonly Consumer[] = claim.status?.reservedFor ?? [];
  return reserved.filter(({ resource }) => resource === "pods")
    .map(({ name }) => `${claim.metadata.namespace}/${name}`);
}

/** When a pod must go for the sake of its devices, in ms; undefined: it may stay. */
function leavesAt(pod: Obj, informers: Informers): number | undefined {
  const slices = informers.for(RESOURCE_SLICES);
  let earliest: number | undefined;
  for (const claim of claimsOf(pod, informers)) {
    for (const allocated of allocatedOf(claim)) {
      for (const taint of taintsOf(allocated, slices)) {
        const at = toleratedUntil(taint, allocated.tolerations ?? []);
        if (at !== undefined) earliest = Math.min(earliest ?? at, at);
      }
    }
  }
  return earliest;
}

/** The claims that a pod uses: those that are there, and reserved for it. */
function claimsOf(pod: Obj, informers: Informers): Obj[] {
  const { namespace, uid } = pod.metadata;
  const made: readonly { name: string; resourceClaimName?: string }[] =
    pod.status?.resourceClaimStatuses ?? [];
  const wanted: readonly { name: string; resourceClaimName?: string }[] = pod.spec.resourceClaims;
  return wanted.flatMap(({ name, resourceClaimName }) => {
    const claimName = resourceClaimName ??
      made.find((one) => one.name === name)?.resourceClaimName;
    if (!claimName) return [];
    const claim = informers.for(RESOURCE_CLAIMS).get(`${namespace}/${claimName}`);
    const reserved: readonly Consumer[] = claim?.status?.reservedFor ?? [];
    return claim && reserved.some((one) => one.uid === uid) ? [claim] : [];
  });
}

/** The taints that drive pods off a device, by the newest word of its driver. */
function taintsOf({ driver, pool, device }: Allocated, slices: Informer): DeviceTaint[] {
  const all = slices.byIndex(BY_POOL, `${driver}/${pool}`);
  const newest = Math.max(...all.map(({ spec }) => Number(spec.pool.generation ?? 0)));
  for (const { spec } of all) {
    if (Number(spec.pool.generation ?? 0) !== newest) continue;
    const devices: readonly { name: string; taints?: DeviceTaint[] }[] = spec.devices ?? [];
    const found = devices.find(({ name }) => name === device);
    if (found) return (found.taints ?? []).filter(({ effect }) => effect === "NoExecute");
  }
  return [];
}

/** When a taint is tolerated no more, in ms; undefined: for ever. Pure. */
export function toleratedUntil(
  taint: DeviceTaint,
  tolerations: readonly DeviceToleration[],
): number | undefined {
  const since = timeOf(taint.timeAdded);
  const tolerating = tolerations.filter((one) =>
    one.effect === "NoExecute" && tolerates(one, taint)
  );
  if (tolerating.length === 0) return since;
  if (tolerating.some(({ tolerationSeconds }) => tolerationSeconds === undefined)) return undefined;
  const seconds = Math.min(...tolerating.map((one) => Math.max(0, one.tolerationSeconds!)));
  return since + seconds * 1000;
}

function tolerates({ key, operator, value }: DeviceToleration, taint: DeviceTaint): boolean {
  if (key && key !== taint.key) return false;
  if (operator === "Exists") return true;
  return (!operator || operator === "Equal") && (value ?? "") === (taint.value ?? "");
}
