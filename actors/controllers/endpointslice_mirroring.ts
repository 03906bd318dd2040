/**
 * Endpoints that somebody else made, for Services without a selector, mirrored as EndpointSlices, so that
 * proxies need to read slices only.
 *
 * Behaviour matched: pkg/controller/endpointslicemirroring, v1.36.
 */
import type { Informer } from "../../api/client/contract.ts";
import { parseIp } from "../../api/machinery/ip.ts";
import { sameJson } from "../../api/machinery/json_value.ts";
import type { KubeObject } from "../../api/machinery/types.ts";
import {
  type ActorContext,
  allAtOnce,
  type Controller,
  controllerReference,
  ENDPOINT_SLICES,
  ENDPOINTS,
  isGone,
  isNamespaceGoing,
  type Outcome,
  OWN_WRITES_MS_MAX,
  OwnWrites,
  SERVICES,
  targetOf,
} from "../runtime/mod.ts";
import { type EndpointPort, familyOf, SERVICE_NAME } from "./endpoint_facts.ts";
import { MANAGED_BY, serviceIndex } from "./endpointslice.ts";
import type { Obj } from "./objects.ts";
import { type Endpoint, type Group, planSlices } from "./slice_plan.ts";

const MANAGER = "endpointslicemirroring-controller.k8s.io";
const SKIP = "endpointslice.kubernetes.io/skip-mirror";
const LEADER = "control-plane.alpha.kubernetes.io/leader";
const LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration";
const TRIGGER_TIME = "endpoints.kubernetes.io/last-change-trigger-time";
/** Addresses of one subset that are mirrored at most. */
export const MIRRORED_MAX = 1000;

interface State {
  slices: Informer;
  writes: OwnWrites;
}

export const endpointSliceMirroringController: Controller<State> = {
  name: "endpointslicemirroring",
  account: "endpointslicemirroring-controller",
  for: ENDPOINTS,
  watches: [
    { resource: SERVICES, keys: ({ metadata }) => [`${metadata.namespace}/${metadata.name}`] },
    {
      resource: ENDPOINT_SLICES,
      keys({ metadata }) {
        if (metadata.labels?.[MANAGED_BY] !== MANAGER) return [];
        return [`${metadata.namespace}/${metadata.labels[SERVICE_NAME]}`];
      },
    },
  ],
  start(context) {
    const slices = context.informers.for(ENDPOINT_SLICES);
    slices.index("serviceName", serviceIndex);
    return { slices, writes: new OwnWrites(slices, context.clock) };
  },
  reconcile,
};

/** Mirrors one Endpoints, or takes its mirrors away. */
export async function reconcile(
  key: string,
  context: ActorContext,
  { slices, writes }: State,
): Promise<Outcome> {
  const settling = writes.settled(key, context.client);
  if (settling) await settling;
  if (!writes.seen(key)) return { afterMs: OWN_WRITES_MS_MAX };
  const present = slices.byIndex("serviceName", key).filter((slice) =>
    slice.metadata.labels?.[MANAGED_BY] === MANAGER && !slice.metadata.deletionTimestamp
  );
  const endpoints = context.informers.for(ENDPOINTS).get(key);
  const service = context.informers.for(SERVICES).get(key);
  const mirrored = endpoints && service && !service.spec.selector && isMirrored(endpoints);
  const { groups, invalid, skipped } = mirrored ? mirrorOf(endpoints) : NOTHING;
  const labels = mirrored ? labelsOf(endpoints) : {};
  const annotations = mirrored ? annotationsOf(endpoints) : {};
  if (invalid > 0) {
    const text = `Skipped ${invalid} invalid IP addresses when mirroring to EndpointSlices`;
    context.recorder.event(endpoints!, "Warning", "InvalidIPAddress", text);
  }
  if (skipped > invalid) {
    const text = `A max of ${MIRRORED_MAX} addresses can be mirrored to EndpointSlices per ` +
      `Endpoints subset. ${skipped} addresses were skipped`;
    context.recorder.event(endpoints!, "Warning", "TooManyAddressesToMirror", text);
  }
  const plan = planSlices(groups, present, {
    outdated: ({ metadata }) =>
      !sameJson(metadata.labels, labels) || !sameJson(metadata.annotations ?? {}, annotations),
    // What a subset may have is in one slice, so that the two can be compared.
    endpointsMax: MIRRORED_MAX,
  });
  try {
    await allAtOnce(plan.update, async ({ slice, endpoints }) => {
      const metadata = { ...slice.metadata, labels, annotations };
      const target = targetOf(ENDPOINT_SLICES, slice);
      const body = { ...slice, metadata, endpoints };
      writes.wrote(key, await context.client.update<KubeObject>(target, body));
    });
    await allAtOnce(plan.create, async (slice) => {
      const { namespace, name } = endpoints!.metadata;
      const body = {
        apiVersion: "discovery.k8s.io/v1",
        kind: "EndpointSlice",
        metadata: {
          generateName: `${name}-`,
          namespace,
          labels,
          annotations,
          ownerReferences: [controllerReference(endpoints!)],
        },
        ...slice,
      };
      const target = { resource: ENDPOINT_SLICES, namespace };
      await writes.make(key, () => context.client.create<KubeObject>(target, body));
    });
    await allAtOnce(plan.remove, async (slice) => {
      await context.client.delete(targetOf(ENDPOINT_SLICES, slice)).catch((error) => {
        if (!isGone(error)) throw error;
      });
      writes.deleted(key, slice);
    });
  } catch (error) {
    if (!isNamespaceGoing(error)) throw error;
  }
}

function isMirrored({ metadata }: Obj): boolean {
  return metadata.labels?.[SKIP] !== "true" && metadata.annotations?.[LEADER] === undefined;
}

function labelsOf({ metadata }: Obj): Record<string, string> {
  return { ...metadata.labels, [SERVICE_NAME]: metadata.name, [MANAGED_BY]: MANAGER };
}

function annotationsOf({ metadata }: Obj): Record<string, string> {
  const annotations = { ...metadata.annotations };
  delete annotations[LAST_APPLIED];
  delete annotations[TRIGGER_TIME];
  return annotations;
}

interface Address {
  ip: string;
  hostname?: string;
  nodeName?: string;
  targetRef?: Endpoint["targetRef"];
}

/** What is to be mirrored. */
export interface Mirror {
  groups: Group[];
  /** Addresses that are none. */
  invalid: number;
  /** Addresses that are not mirrored, those included. */
  skipped: number;
}

const NOTHING: Mirror = { groups: [], invalid: 0, skipped: 0 };

/** The groups of endpoints that subsets make. Pure. */
export function mirrorOf(endpoints: Obj): Mirror {
  const mirror: Mirror = { groups: [], invalid: 0, skipped: 0 };
  for (const subset of endpoints.subsets ?? []) {
    const ports: EndpointPort[] = (subset.ports ?? []).map((port: EndpointPort) => ({
      ...port,
      name: port.name ?? "",
      protocol: port.protocol ?? "TCP",
    }));
    const all: [Address, boolean][] = [
      ...(subset.addresses ?? []).map((address: Address) => [address, true]),
      ...(subset.notReadyAddresses ?? []).map((address: Address) => [address, false]),
    ];
    let added = 0;
    for (const [address, ready] of all) {
      if (added >= MIRRORED_MAX) break;
      if (addTo(mirror.groups, ports, { address, ready })) added++;
      else mirror.invalid++;
    }
    mirror.skipped += all.length - added;
  }
  return mirror;
}

/** Adds an address where it belongs. False: it is none. */
function addTo(
  groups: Group[],
  ports: EndpointPort[],
  { address, ready }: { address: Address; ready: boolean },
): boolean {
  if (!parseIp(address.ip)) return false;
  const addressType = familyOf(address.ip)!;
  let group = groups.find((g) => g.addressType === addressType && sameJson(g.ports, ports));
  if (!group) groups.push(group = { addressType, ports, endpoints: [] });
  const endpoint: Endpoint = { addresses: [address.ip], conditions: { ready } };
  if (address.hostname) endpoint.hostname = address.hostname;
  if (address.nodeName) endpoint.nodeName = address.nodeName;
  if (address.targetRef) endpoint.targetRef = address.targetRef;
  group.endpoints.push(endpoint);
  return true;
}
