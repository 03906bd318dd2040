/**
 * Conditions that devices bind by: a pod is bound when each device that it was given is said to be there for it, in its
 * claim's status, by whoever brings it there; one that is said to have failed, or is not there in time, is given up
 * (upstream: isClaimReadyForBinding and isClaimTimeout of dynamicresources.go, v1.36).
 */
import { parseTime } from "../../../api/machinery/time.ts";
import type { Obj } from "./pools.ts";

/** How long devices may take, unless the plugin is told otherwise (upstream's DynamicResourcesBindingTimeoutDefault). */
export const BINDING_MS_MAX = 600_000;

/** A device of an allocation, as far as it matters here. */
interface Result {
  driver: string;
  pool: string;
  device: string;
  bindingConditions?: readonly string[];
  bindingFailureConditions?: readonly string[];
}

interface Condition {
  type: string;
  status: string;
  reason?: string;
  message?: string;
}

/** The devices of an allocation that are waited for. */
export function awaitedOf(allocation: { devices?: { results?: readonly Result[] } } | undefined) {
  return (allocation?.devices?.results ?? []).filter((one) => one.bindingConditions?.length);
}

/** Whether an allocated claim's devices are there; a text says why they will not be. */
export function readinessOf(claim: Obj, now: number, msMax: number): boolean | string {
  const { allocation } = claim.status ?? {};
  if (!allocation) return false;
  const awaited = awaitedOf(allocation);
  if (awaited.length === 0) return true;
  const { name } = claim.metadata;
  let ready = true;
  for (const { bindingConditions, bindingFailureConditions = [], ...device } of awaited) {
    const conditions = conditionsOf(claim, device);
    const find = (type: string) => conditions.find((one) => one.type === type);
    const failed = bindingFailureConditions.map(find).find((one) => one?.status === "True");
    if (failed) {
      const { reason = "", message = "" } = failed;
      return `device binding failed: claim=${name}, reason=${reason}, ` +
        `message=${JSON.stringify(message)}`;
    }
    ready &&= bindingConditions!.every((type) => find(type)?.status === "True");
  }
  if (ready) return true;
  const since = parseTime(allocation.allocationTimestamp ?? "");
  const isOver = since !== undefined && since + msMax < now;
  return isOver ? `device binding timeout: claim=${name}` : false;
}

/** What is said of a device in its claim's status. */
function conditionsOf(claim: Obj, device: Result): readonly Condition[] {
  type Said = Result & { conditions?: readonly Condition[] };
  const said = (claim.status?.devices ?? []) as readonly Said[];
  const found = said.find((one) =>
    one.driver === device.driver && one.pool === device.pool && one.device === device.device
  );
  return found?.conditions ?? [];
}
