/**
 * Endpoints of Services with a selector: the older form of EndpointSlices, for clients that read it.
 *
 * Behaviour matched: pkg/controller/endpoint/endpoints_controller.go, v1.36.
 */
import { sameJson } from "../../api/machinery/json_value.ts";
import type { KubeObject } from "../../api/machinery/types.ts";
import {
  type ActorContext,
  codeOf,
  type Controller,
  ENDPOINTS,
  isGone,
  isNamespaceGoing,
  PODS,
  SERVICES,
  splitKey,
  targetOf,
} from "../runtime/mod.ts";
import {
  addressesOf,
  type AddressType,
  addressTypesOf,
  hasHostname,
  HEADLESS,
  isEndpoint,
  isHeadless,
  podsOf,
  portsOf,
  servicesOf,
} from "./endpoint_facts.ts";
import type { Obj } from "./objects.ts";
import { isReady, textOf } from "./pods.ts";

const MANAGED_BY = "endpoints.kubernetes.io/managed-by";
const MANAGER = "endpoint-controller";
const OVER_CAPACITY = "endpoints.kubernetes.io/over-capacity";
const TRIGGER_TIME = "endpoints.kubernetes.io/last-change-trigger-time";
/** Addresses in one Endpoints at most; of more, ready ones are kept first. */
export const ADDRESSES_MAX = 1000;
const GATHER_MS = 50;

/** An address as subsets hold it. */
interface Address {
  ip: string;
  hostname?: string;
  nodeName?: string;
  targetRef: { kind: "Pod"; namespace: string; name: string; uid: string };
}

interface Subset {
  addresses?: Address[];
  notReadyAddresses?: Address[];
  ports?: { name?: string; port: number; protocol: string; appProtocol?: string }[];
}

export const endpointsController: Controller<void> = {
  name: "endpoint",
  account: "endpoint-controller",
  for: SERVICES,
  watches: [
    { resource: PODS, keys: servicesOf },
    {
      resource: ENDPOINTS,
      keys: ({ metadata }) => [`${metadata.namespace}/${metadata.name}`],
    },
  ],
  gatherMs: () => GATHER_MS,
  reconcile,
};

/** Brings the Endpoints of one Service to what its pods are. */
export async function reconcile(key: string, context: ActorContext): Promise<void> {
  const { namespace, name } = splitKey(key);
  const service = context.informers.for(SERVICES).get(key);
  const present = context.informers.for(ENDPOINTS).get(key);
  if (!service) {
    // Only what this controller made: others make Endpoints without a Service.
    if (present?.metadata.labels?.[MANAGED_BY] !== MANAGER) return;
    await context.client.delete(targetOf(ENDPOINTS, present)).catch((error) => {
      if (!isGone(error)) throw error;
    });
    return;
  }
  if (!service.spec.selector || service.spec.type === "ExternalName") return;
  const pods = podsOf(service, context.informers.for(PODS).list(namespace));
  const { subsets, over } = subsetsOf(service, pods);
  const labels: Record<string, string> = { ...service.metadata.labels, [MANAGED_BY]: MANAGER };
  if (isHeadless(service)) labels[HEADLESS] = "";
  else delete labels[HEADLESS];
  const annotations: Record<string, string> = { ...present?.metadata.annotations };
  if (over) annotations[OVER_CAPACITY] = "truncated";
  else delete annotations[OVER_CAPACITY];
  if (
    present && sameJson(present.subsets ?? [], subsets) &&
    sameJson(present.metadata.labels ?? {}, labels) &&
    sameJson(present.metadata.annotations ?? {}, annotations)
  ) return;
  delete annotations[TRIGGER_TIME];
  const body = {
    apiVersion: "v1",
    kind: "Endpoints",
    metadata: { ...present?.metadata, name, namespace, labels, annotations },
    subsets,
  };
  try {
    if (present) await context.client.update<KubeObject>(targetOf(ENDPOINTS, present), body);
    else await context.client.create<KubeObject>({ resource: ENDPOINTS, namespace }, body);
  } catch (error) {
    if (isNamespaceGoing(error)) return;
    const verb = present ? "update" : "create";
    if (codeOf(error) !== 409) {
      const text = `Failed to ${verb} endpoint ${key}: ${textOf(error)}`;
      const reason = present ? "FailedToUpdateEndpoint" : "FailedToCreateEndpoint";
      context.recorder.event(present ?? service, "Warning", reason, text);
    }
    throw error;
  }
}

/** The subsets these pods make. Pure. */
export function subsetsOf(
  service: Obj,
  pods: readonly Obj[],
): { subsets: Subset[]; over: boolean } {
  const type: AddressType = addressTypesOf(service)[0];
  const publish = Boolean(service.spec.publishNotReadyAddresses);
  const groups = new Map<
    string,
    { ready: Address[]; notReady: Address[]; ports: Subset["ports"] }
  >();
  let total = 0;
  for (const pod of pods) {
    if (!isEndpoint(pod, publish)) continue;
    const [ip] = addressesOf(pod, type);
    if (!ip) continue;
    const ports = portsOf(service, pod);
    // Without a port of its own a pod is no endpoint, unless the Service has none either.
    if (ports.length === 0 && (service.spec.ports ?? []).length > 0) continue;
    const key = JSON.stringify(ports);
    let group = groups.get(key);
    if (!group) groups.set(key, group = { ready: [], notReady: [], ports: ports as never });
    const address = addressOf(pod, service, ip);
    (publish || isReady(pod) ? group.ready : group.notReady).push(address);
    total++;
  }
  const byIp = (a: Address, b: Address) =>
    a.ip < b.ip ? -1 : a.ip > b.ip ? 1 : a.targetRef.uid < b.targetRef.uid ? -1 : 1;
  const over = total > ADDRESSES_MAX;
  let room = ADDRESSES_MAX;
  const subsets: Subset[] = [];
  const sorted = [...groups].sort(([a], [b]) => a < b ? -1 : 1);
  for (const [, { ready, notReady, ports }] of sorted) {
    const subset: Subset = {};
    const kept = ready.sort(byIp).slice(0, room);
    room -= kept.length;
    const waiting = notReady.sort(byIp).slice(0, room);
    room -= waiting.length;
    if (kept.length > 0) subset.addresses = kept;
    if (waiting.length > 0) subset.notReadyAddresses = waiting;
    if (kept.length + waiting.length === 0) continue;
    if (ports && ports.length > 0) {
      subset.ports = ports.map(({ name: portName, ...port }) =>
        portName ? { name: portName, ...port } : port
      );
    }
    subsets.push(subset);
  }
  return { subsets, over };
}

function addressOf(pod: Obj, service: Obj, ip: string): Address {
  const { namespace, name, uid } = pod.metadata;
  const address: Address = {
    ip,
    targetRef: { kind: "Pod", namespace: namespace!, name, uid },
  };
  if (pod.spec.nodeName) address.nodeName = pod.spec.nodeName;
  if (hasHostname(pod, service)) address.hostname = pod.spec.hostname;
  return address;
}
