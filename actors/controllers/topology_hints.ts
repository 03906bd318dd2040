/**
 * Which zone each endpoint of a Service serves when its annotation asks for that (`topology-mode: Auto`): its
 * own, but so that no zone has far less than its share of the cluster's CPUs; what a zone has too much of is
 * lent to others. Where that cannot be done nobody gets a hint, and an event says why. Pure.
 *
 * Equal endpoints in equal order get equal hints, so that nothing is written twice.
 *
 * Behaviour matched: k8s.io/endpointslice/topologycache, v1.36.
 */
import { parseQuantity } from "../../api/machinery/quantity.ts";
import { conditionOf, type Obj } from "./objects.ts";
import type { Endpoint } from "./slice_plan.ts";

const ANNOTATIONS = [
  "service.kubernetes.io/topology-aware-hints",
  "service.kubernetes.io/topology-mode",
];
const ZONE = "topology.kubernetes.io/zone";
const APART = ["node-role.kubernetes.io/control-plane", "node-role.kubernetes.io/master"];
/** By how much an endpoint may have more to do than one of another zone. */
export const OVERLOAD_MAX = 0.2;

/** Whether a Service asks for hints. */
export function wantsHints({ metadata: { annotations } }: Obj): boolean {
  // The older annotation wins where both are set.
  const value = ANNOTATIONS.map((name) => annotations?.[name]).find((v) => v !== undefined);
  return value === "Auto" || value === "auto";
}

/** The part of the cluster's CPUs that each zone has; undefined where that is not known of every node. */
export function zoneShares(nodes: Iterable<Obj>): ReadonlyMap<string, number> | undefined {
  const cpus = new Map<string, number>();
  let total = 0;
  for (const { metadata, status } of nodes) {
    if (APART.some((label) => metadata.labels?.[label] !== undefined)) continue;
    if (conditionOf(status, "Ready")?.status !== "True") continue;
    const zone = metadata.labels?.[ZONE];
    const cpu = parseQuantity(status?.allocatable?.cpu ?? "0").milliValue();
    if (!zone || cpu === 0) return undefined;
    cpus.set(zone, (cpus.get(zone) ?? 0) + cpu);
    total += cpu;
  }
  if (cpus.size < 2) return undefined;
  return new Map(
    [...cpus].sort(([a], [b]) => a < b ? -1 : 1).map(([zone, n]) => [zone, n / total]),
  );
}

/** The zone for each ready endpoint, or what stands against it in upstream's words. */
export function spread(
  endpoints: readonly Endpoint[],
  shares: ReadonlyMap<string, number> | undefined,
): { zones: ReadonlyMap<Endpoint, string> } | { problem: string } {
  if (!shares) {
    return {
      problem:
        "Insufficient Node information: allocatable CPU or zone not specified on one or more nodes",
    };
  }
  const ready = endpoints.filter(({ conditions }) => conditions.ready);
  const numbers = `(${ready.length} endpoints, ${shares.size} zones)`;
  if (shares.size > ready.length) {
    return { problem: `Insufficient number of endpoints ${numbers}` };
  }
  const desired = desiredOf(ready.length, shares);
  if (!desired) {
    return {
      problem:
        `Unable to allocate minimum required endpoints to each zone without exceeding overload threshold ${numbers}`,
    };
  }
  const zones = new Map<Endpoint, string>();
  const counts = new Map<string, number>();
  for (const endpoint of ready) {
    if (!endpoint.zone) return { problem: "One or more endpoints do not have a zone specified" };
    zones.set(endpoint, endpoint.zone);
    counts.set(endpoint.zone, (counts.get(endpoint.zone) ?? 0) + 1);
  }
  const { giving, receiving } = exchange(desired, counts);
  for (const endpoint of ready) {
    const left = giving.get(endpoint.zone!) ?? 0;
    const taker = [...receiving].find(([, wanted]) => wanted > 0);
    if (left === 0 || !taker) continue;
    zones.set(endpoint, taker[0]);
    giving.set(endpoint.zone!, left - 1);
    receiving.set(taker[0], taker[1] - 1);
  }
  return { zones };
}

/** How many endpoints each zone should have; undefined where all minima together are too many. */
function desiredOf(
  count: number,
  shares: ReadonlyMap<string, number>,
): ReadonlyMap<string, number> | undefined {
  const desired = new Map<string, number>();
  let left = count;
  for (const [zone, share] of shares) {
    const exact = share * count;
    const least = Math.ceil(exact * (1 / (1 + OVERLOAD_MAX)));
    desired.set(zone, Math.max(exact, least));
    left -= least;
  }
  return left < 0 ? undefined : desired;
}

/** How many endpoints zones give away, and how many others get: whole ones, the largest need first. */
function exchange(desired: ReadonlyMap<string, number>, counts: ReadonlyMap<string, number>) {
  const surplus = new Map<string, number>();
  const need = new Map<string, number>();
  for (const [zone, wanted] of desired) {
    const more = (counts.get(zone) ?? 0) - wanted;
    if (more > 0) surplus.set(zone, more);
    else if (more < 0) need.set(zone, -more);
  }
  const giving = new Map<string, number>();
  const receiving = new Map<string, number>();
  for (;;) {
    const [from, most] = largest(surplus);
    const [to, least] = largest(need);
    if (most < 1 && least < 1 || most < 0.5 || least < 0.5) return { giving, receiving };
    giving.set(from, (giving.get(from) ?? 0) + 1);
    receiving.set(to, (receiving.get(to) ?? 0) + 1);
    surplus.set(from, most - 1);
    need.set(to, least - 1);
  }
}

function largest(numbers: ReadonlyMap<string, number>): [string, number] {
  let found: [string, number] = ["", 0];
  for (const one of numbers) if (one[1] > found[1]) found = one;
  return found;
}
