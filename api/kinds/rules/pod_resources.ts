/**
 * Sums over a pod's containers: what the pod as a whole asks for, the defaults of pod-level resources, and
 * the quality of service that follows (upstream's `component-helpers/resource` and `pkg/apis/core/helper/qos`).
 */

import { type Quantity, tryParseQuantity } from "../../machinery/quantity.ts";
import { isHugePages, isOvercommitAllowed, isPodLevelResource } from "./resource_names.ts";

// deno-lint-ignore no-explicit-any -- objects are decoded JSON; the schema walk has checked their types
type Obj = any;
type Side = "requests" | "limits";
type Amounts = Map<string, Quantity>;

function addAll(into: Amounts, list: Obj): void {
  for (const name in list ?? {}) {
    const amount = tryParseQuantity(list[name]);
    if (!amount) continue;
    const known = into.get(name);
    into.set(name, known ? known.add(amount) : amount);
  }
}

function maxAll(into: Amounts, other: Amounts): void {
  for (const [name, amount] of other) {
    const known = into.get(name);
    if (!known || amount.compare(known) > 0) into.set(name, amount);
  }
}

function addMap(into: Amounts, other: Amounts): void {
  for (const [name, amount] of other) {
    const known = into.get(name);
    into.set(name, known ? known.add(amount) : amount);
  }
}

/**
 * What all containers of a pod ask for together: the sum of containers and sidecars, or what an init
 * container needs beside the sidecars started before it, whichever is more.
 */
export function aggregate(spec: Obj, side: Side): Amounts {
  const total: Amounts = new Map();
  for (const container of spec.containers ?? []) addAll(total, container.resources?.[side]);
  if (!spec.initContainers?.length) return total;
  const sidecars: Amounts = new Map();
  const init: Amounts = new Map();
  for (const container of spec.initContainers) {
    let now: Amounts = new Map();
    if (container.restartPolicy === "Always") {
      addAll(total, container.resources?.[side]);
      addAll(sidecars, container.resources?.[side]);
      now = sidecars;
    } else {
      addAll(now, container.resources?.[side]);
      addMap(now, sidecars);
    }
    maxAll(init, now);
  }
  maxAll(total, init);
  return total;
}

const MILLI = -3;

/** Rounds the amounts of a list up to thousandths, the finest that resources come in. */
export function roundAmounts(list: Obj): void {
  for (const name in list ?? {}) {
    const text = list[name];
    // Amounts are canonical here: finer ones end in n or u, or have an exponent.
    if (typeof text !== "string" || !/[nu]$|e-/.test(text)) continue;
    const amount = tryParseQuantity(text);
    if (amount) list[name] = amount.roundUp(MILLI).toString();
  }
}

/** Fills `spec.resources` where it is given in part. */
export function defaultPodResources(spec: Obj): void {
  const resources = spec.resources;
  const { limits, requests } = resources;
  if (isEmpty(limits) && isEmpty(requests)) return;
  const containerLimits = aggregate(spec, "limits");
  for (const [name, amount] of containerLimits) {
    if (!isHugePages(name) || requests?.[name] !== undefined) continue;
    resources.limits ??= {};
    resources.limits[name] ??= amount.toString();
  }
  if (isEmpty(resources.limits)) return;
  const filled: Obj = resources.requests ?? {};
  for (const [name, amount] of aggregate(spec, "requests")) {
    if (isPodLevelResource(name) && isOvercommitAllowed(name)) filled[name] ??= amount.toString();
  }
  for (const name in resources.limits) {
    if (isPodLevelResource(name)) filled[name] ??= resources.limits[name];
  }
  if (!isEmpty(filled)) resources.requests = filled;
}

function isEmpty(list: Obj): boolean {
  for (const _ in list ?? {}) return false;
  return true;
}

/** A pod's quality of service. */
export type QosClass = "Guaranteed" | "Burstable" | "BestEffort";

/** The two resources that decide on the quality of service. */
const QOS_RESOURCES = ["cpu", "memory"] as const;

/** Computes the quality of service from requests and limits. */
export function qosClass(spec: Obj): QosClass {
  const requests: (Quantity | undefined)[] = [undefined, undefined];
  const limits: (Quantity | undefined)[] = [undefined, undefined];
  let guaranteed = true;
  if (spec.resources) {
    addQos(requests, spec.resources.requests);
    if (!isEmpty(spec.resources.limits)) guaranteed = addQos(limits, spec.resources.limits) === 2;
  } else {
    for (const list of [spec.containers, spec.initContainers]) {
      for (const container of list ?? []) {
        addQos(requests, container.resources?.requests);
        if (addQos(limits, container.resources?.limits) !== 2) guaranteed = false;
      }
    }
  }
  if (!requests[0] && !requests[1] && !limits[0] && !limits[1]) return "BestEffort";
  if (!guaranteed) return "Burstable";
  for (let i = 0; i < 2; i++) {
    const request = requests[i], limit = limits[i];
    if (!request !== !limit) return "Burstable";
    if (request && limit && !request.equals(limit)) return "Burstable";
  }
  return "Guaranteed";
}

/** Adds what is above zero and returns how many of cpu and memory were. */
function addQos(into: (Quantity | undefined)[], list: Obj): number {
  if (!list) return 0;
  let found = 0;
  for (let i = 0; i < 2; i++) {
    const text = list[QOS_RESOURCES[i]];
    const amount = text === undefined ? undefined : tryParseQuantity(text);
    if (!amount || amount.sign <= 0) continue;
    found++;
    const known = into[i];
    into[i] = known ? known.add(amount) : amount;
  }
  return found;
}
