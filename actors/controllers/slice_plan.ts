/**
 * From the endpoints there should be and the EndpointSlices there are to the writes that lead from one to
 * the other, touching as few slices as possible. Pure.
 *
 * Behaviour matched: k8s.io/endpointslice/reconciler.go, v1.36.
 */
import { sameJson } from "../../api/machinery/json_value.ts";
import type { AddressType, EndpointPort } from "./endpoint_facts.ts";
import type { Obj } from "./objects.ts";

/** An endpoint as slices hold it. */
export interface Endpoint {
  addresses: string[];
  conditions: { ready: boolean; serving?: boolean; terminating?: boolean };
  targetRef?: { kind: string; namespace: string; name: string; uid: string };
  nodeName?: string;
  zone?: string;
  hostname?: string;
  hints?: { forZones?: { name: string }[]; forNodes?: { name: string }[] };
}

/** Endpoints that share a family and ports, and so may share slices. */
export interface Group {
  addressType: AddressType;
  ports: EndpointPort[];
  endpoints: Endpoint[];
}

/** What has to be written. */
export interface Plan {
  create: { addressType: AddressType; ports: EndpointPort[]; endpoints: Endpoint[] }[];
  update: { slice: Obj; endpoints: readonly Endpoint[] }[];
  remove: Obj[];
  /** Endpoints that come and go. */
  added: number;
  removed: number;
}

/** Which endpoint it is, however it is doing. */
function identityOf(endpoint: Endpoint): string {
  return endpoint.targetRef
    ? `${endpoint.targetRef.uid}/${endpoint.addresses[0]}`
    : `${endpoint.hostname ?? ""}/${endpoint.addresses.join(",")}`;
}

/** The slices' family and ports as one text; equal texts share slices. */
export function groupKey(addressType: string, ports: readonly EndpointPort[] | undefined): string {
  const parts = (ports ?? []).map((port) =>
    `${port.name ?? ""}|${port.port ?? ""}|${port.protocol}|${port.appProtocol ?? ""}`
  );
  return `${addressType} ${parts.sort().join(" ")}`;
}

/** How slices are filled. */
export interface Filling {
  /** Whether a slice has to be written whatever its endpoints are. */
  outdated(slice: Obj): boolean;
  /** Endpoints in one slice at most. */
  endpointsMax: number;
}

/** The writes. `slices` are all present ones that may be changed; those of no group go. */
export function planSlices(
  groups: readonly Group[],
  slices: readonly Obj[],
  filling: Filling,
): Plan {
  const plan: Plan = { create: [], update: [], remove: [], added: 0, removed: 0 };
  const byGroup = new Map<string, Obj[]>();
  for (const slice of slices) {
    const key = groupKey(slice.addressType, slice.ports as EndpointPort[]);
    const present = byGroup.get(key);
    if (present) present.push(slice);
    else byGroup.set(key, [slice]);
  }
  for (const group of groups) {
    const key = groupKey(group.addressType, group.ports);
    planGroup(plan, { group, slices: byGroup.get(key) ?? [], ...filling });
    byGroup.delete(key);
  }
  for (const rest of byGroup.values()) plan.remove.push(...rest);
  return plan;
}

function planGroup(
  plan: Plan,
  { group, slices, outdated, endpointsMax }: Filling & {
    group: Group;
    slices: readonly Obj[];
  },
): void {
  const wanted = new Map(group.endpoints.map((endpoint) => [identityOf(endpoint), endpoint]));
  const kept: { slice: Obj; endpoints: Endpoint[]; changed: boolean }[] = [];
  for (const slice of slices) {
    let changed = outdated(slice);
    const endpoints: Endpoint[] = [];
    for (const present of (slice.endpoints ?? []) as Endpoint[]) {
      const identity = identityOf(present);
      const endpoint = wanted.get(identity);
      if (!endpoint) {
        changed = true;
        plan.removed++;
        continue;
      }
      wanted.delete(identity);
      if (!sameJson(endpoint, present)) changed = true;
      endpoints.push(endpoint);
    }
    kept.push({ slice, endpoints, changed });
  }
  const rest = [...wanted.values()];
  plan.added += rest.length;
  // New endpoints go where something is written anyway, the fullest first.
  const open = kept.filter(({ changed, endpoints }) => changed && endpoints.length < endpointsMax)
    .sort((a, b) => b.endpoints.length - a.endpoints.length);
  for (const entry of open) {
    entry.endpoints.push(...rest.splice(0, endpointsMax - entry.endpoints.length));
  }
  if (rest.length > 0) {
    const room = kept.filter(({ changed, endpoints }) =>
      !changed && endpoints.length + rest.length <= endpointsMax
    ).sort((a, b) =>
      b.endpoints.length - a.endpoints.length
    )[0];
    if (room) {
      room.endpoints.push(...rest.splice(0));
      room.changed = true;
    }
  }
  while (rest.length > 0) {
    const { addressType, ports } = group;
    plan.create.push({ addressType, ports, endpoints: rest.splice(0, endpointsMax) });
  }
  let used = plan.create.length > 0 || kept.some(({ endpoints }) => endpoints.length > 0);
  for (const { slice, endpoints, changed } of kept) {
    if (endpoints.length === 0 && used) plan.remove.push(slice);
    else if (changed) plan.update.push({ slice, endpoints });
    // One empty slice stays as the place holder of a Service without endpoints.
    if (endpoints.length === 0) used = true;
  }
  if (!used && kept.length === 0) {
    plan.create.push({ addressType: group.addressType, ports: group.ports, endpoints: [] });
  }
}
