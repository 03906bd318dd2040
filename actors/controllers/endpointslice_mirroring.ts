/**
 * Endpoints that somebody else made, for Services without a selector, mirrored as EndpointSlices, so that
 * proxies need to read slices only.
 *
 * Behaviour matched: pkg/controller/endpointslicemirroring, v1.36.
 */
import type { Informer } from "../../api/client/contract.ts";
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
  const groups = mirrored ? groupsOf(endpoints) : [];
  const labels = mirrored ? labelsOf(endpoints) : {};
  const plan = planSlices(groups, present, (slice) => !sameJson(slice.metadata.labels, labels));
  try {
    await allAtOnce(plan.update, async ({ slice, endpoints }) => {
      const metadata = { ...slice.metadata, labels };
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
          annotations: annotationsOf(endpoints!),
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

/** The groups of endpoints that subsets make. Pure. */
export function groupsOf(endpoints: Obj): Group[] {
  const groups: Group[] = [];
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
    for (const [address, ready] of all.slice(0, MIRRORED_MAX)) {
      const addressType = familyOf(address.ip);
      if (!addressType) continue;
      let group = groups.find((g) => g.addressType === addressType && sameJson(g.ports, ports));
      if (!group) groups.push(group = { addressType, ports, endpoints: [] });
      const endpoint: Endpoint = { addresses: [address.ip], conditions: { ready } };
      if (address.hostname) endpoint.hostname = address.hostname;
      if (address.nodeName) endpoint.nodeName = address.nodeName;
      if (address.targetRef) endpoint.targetRef = address.targetRef;
      group.endpoints.push(endpoint);
    }
  }
  return groups;
}
