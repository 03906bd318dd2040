/**
 * EndpointSlices of Services with a selector: where their pods can be reached, and which are ready.
 *
 * Slices have generated names; `OwnWrites` keeps a Service back until the cache shows what was written for
 * it. Events of pods are gathered for a moment, so that a rollout does not write a slice per pod.
 *
 * Behaviour matched: pkg/controller/endpointslice and k8s.io/endpointslice, v1.36.
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
  isGone,
  isNamespaceGoing,
  NODES,
  type Outcome,
  OWN_WRITES_MS_MAX,
  OwnWrites,
  PODS,
  SERVICES,
  targetOf,
} from "../runtime/mod.ts";
import {
  addressesOf,
  addressTypesOf,
  hasHostname,
  HEADLESS,
  isEndpoint,
  isHeadless,
  podsOf,
  portsOf,
  SERVICE_NAME,
  servicesOf,
} from "./endpoint_facts.ts";
import { ControllerMetrics } from "./metrics.ts";
import { conditionOf, type Obj } from "./objects.ts";
import { isReady, textOf } from "./pods.ts";
import type { ControllerPorts } from "./ports.ts";
import { settingsOf } from "./settings.ts";
import { SliceCounts } from "./slice_counts.ts";
import { type Endpoint, type Group, groupKey, planSlices } from "./slice_plan.ts";
import { spread, wantsHints, zoneShares } from "./topology_hints.ts";

export const MANAGED_BY = "endpointslice.kubernetes.io/managed-by";
const MANAGER = "endpointslice-controller.k8s.io";
const ZONE = "topology.kubernetes.io/zone";
const RESERVED = new Set([SERVICE_NAME, MANAGED_BY, HEADLESS]);
/** How long events of pods are gathered. */
const GATHER_MS = 50;

const AUTO = "topologyMode";

interface State {
  slices: Informer;
  writes: OwnWrites;
  /** What a Service that asks for hints was told last: that it has them, or why not; by key and family. */
  hints: Map<string, string>;
  /** Endpoints of one slice at most. */
  endpointsMax: number;
  counts: SliceCounts;
  metrics: ControllerMetrics;
}

/** The row. */
export function endpointSliceController(
  { metrics = new ControllerMetrics(), ...ports }: Pick<ControllerPorts, "metrics" | "settings">,
): Controller<State> {
  const { maxEndpointsPerSlice: endpointsMax } = settingsOf(ports);
  return {
    name: "endpointslice",
    account: "endpointslice-controller",
    for: SERVICES,
    reads: [NODES],
    watches: [
      { resource: PODS, keys: servicesOf },
      {
        resource: ENDPOINT_SLICES,
        keys({ metadata }) {
          if (metadata.labels?.[MANAGED_BY] !== MANAGER) return [];
          return [`${metadata.namespace}/${metadata.labels[SERVICE_NAME]}`];
        },
      },
      {
        resource: NODES,
        // Shares of zones change with what nodes have, not with each heartbeat.
        keys(node, old, { informers }) {
          const hinted = informers.for(SERVICES).byIndex(AUTO, AUTO);
          if (hinted.length === 0 || old && standing(old) === standing(node)) return [];
          return hinted.map(({ metadata }) => `${metadata.namespace}/${metadata.name}`);
        },
      },
    ],
    gatherMs: () => GATHER_MS,
    start(context) {
      const slices = context.informers.for(ENDPOINT_SLICES);
      slices.index("serviceName", serviceIndex);
      context.informers.for(SERVICES).index(AUTO, (service) => wantsHints(service) ? [AUTO] : []);
      const writes = new OwnWrites(slices, context.clock);
      const counts = new SliceCounts(metrics);
      return { slices, writes, hints: new Map(), endpointsMax, counts, metrics };
    },
    reconcile,
  };
}

/** What of a node decides on hints. */
function standing({ metadata, status }: Obj): string {
  return `${metadata.labels?.[ZONE]} ${status?.allocatable?.cpu} ${
    conditionOf(status, "Ready")?.status
  }`;
}

/** `namespace/service` of a slice: the index all readers of slices share. */
export function serviceIndex(slice: Obj): string[] {
  const name = slice.metadata.labels?.[SERVICE_NAME];
  return name ? [`${slice.metadata.namespace}/${name}`] : [];
}

/** Brings the slices of one Service to what its pods are. */
export async function reconcile(
  key: string,
  context: ActorContext,
  { slices, writes, hints, endpointsMax, counts, metrics }: State,
): Promise<Outcome> {
  const service = context.informers.for(SERVICES).get(key);
  if (!service) {
    // The garbage collector takes the slices.
    writes.forget(key);
    counts.forget(key);
    for (const family of ["IPv4", "IPv6"]) hints.delete(`${key}/${family}`);
    return;
  }
  const { selector, type } = service.spec;
  if (!selector || type === "ExternalName" || service.metadata.deletionTimestamp) return;
  const settling = writes.settled(key, context.client);
  if (settling) await settling;
  if (!writes.seen(key)) return { afterMs: OWN_WRITES_MS_MAX };
  const managed = slices.byIndex("serviceName", key).filter((slice) =>
    slice.metadata.labels?.[MANAGED_BY] === MANAGER && !slice.metadata.deletionTimestamp
  );
  const isOwn = (slice: Obj) =>
    slice.metadata.ownerReferences?.some((owner) => owner.uid === service.metadata.uid) ?? false;
  const present = managed.filter(isOwn);
  // Left by a former Service of that name whose deletion orphaned them: nobody else takes them away.
  const strange = managed.filter((slice) => !isOwn(slice));
  const pods = podsOf(service, context.informers.for(PODS).list(service.metadata.namespace));
  const groups = groupsOf(service, pods, (name) => context.informers.for(NODES).get(name));
  giveHints(service, groups, { hints, context });
  const labels = labelsOf(service);
  const plan = planSlices(groups, present, {
    outdated: (slice) => !sameJson(slice.metadata.labels, labels),
    endpointsMax,
  });
  counts.planned(key, service, { groups, plan, present: present.length, endpointsMax });
  try {
    await allAtOnce(plan.update, async ({ slice, endpoints }) => {
      const metadata = { ...slice.metadata, labels };
      const made = await context.client.update<KubeObject>(
        targetOf(ENDPOINT_SLICES, slice),
        { ...slice, metadata, endpoints },
      );
      writes.wrote(key, made);
      metrics.sliceChanges.add({ operation: "update" });
    });
    await allAtOnce(plan.create, async (slice) => {
      await writes.make(key, () => create(context, service, { ...slice, labels }));
      metrics.sliceChanges.add({ operation: "create" });
    });
    await allAtOnce([...plan.remove, ...strange], async (slice) => {
      await context.client.delete(targetOf(ENDPOINT_SLICES, slice)).catch((error) => {
        if (!isGone(error)) throw error;
      });
      writes.deleted(key, slice);
      metrics.sliceChanges.add({ operation: "delete" });
    });
  } catch (error) {
    if (isNamespaceGoing(error)) return;
    const text = `Error updating Endpoint Slices for Service ${key}: ${textOf(error)}`;
    context.recorder.event(service, "Warning", "FailedToUpdateEndpointSlices", text);
    throw error;
  }
}

async function create(
  { client }: ActorContext,
  service: Obj,
  slice: { labels: Record<string, string>; endpoints: Endpoint[] } & Record<string, unknown>,
): Promise<Obj> {
  const { namespace, name } = service.metadata;
  const { labels, ...rest } = slice;
  return await client.create<KubeObject>({ resource: ENDPOINT_SLICES, namespace }, {
    apiVersion: "discovery.k8s.io/v1",
    kind: "EndpointSlice",
    metadata: {
      generateName: `${name}-`,
      namespace,
      labels,
      ownerReferences: [controllerReference(service)],
    },
    ...rest,
  });
}

/** Gives the endpoints of a Service that asks for it their zones, or says why none has one. */
function giveHints(
  service: Obj,
  groups: readonly Group[],
  { hints, context }: { hints: Map<string, string>; context: ActorContext },
): void {
  const wanted = wantsHints(service);
  const families = new Set(groups.map(({ addressType }) => addressType));
  for (const family of families) {
    const key = `${service.metadata.namespace}/${service.metadata.name}/${family}`;
    const before = hints.get(key);
    if (!wanted && before === undefined) continue;
    const text = wanted
      ? hint(groups.filter(({ addressType }) => addressType === family), context)
      : "Topology Aware Hints has been disabled";
    if (wanted) hints.set(key, text);
    else hints.delete(key);
    // Who had no hints before is not told that there are none any more.
    if (text === before || !wanted && before !== ENABLED) continue;
    const [type, reason] = text === ENABLED
      ? ["Normal", "TopologyAwareHintsEnabled"] as const
      : ["Warning", "TopologyAwareHintsDisabled"] as const;
    context.recorder.event(service, type, reason, `${text}, addressType: ${family}`);
  }
}

const ENABLED = "Topology Aware Hints has been enabled";

function hint(groups: readonly Group[], { informers }: ActorContext): string {
  const endpoints = groups.flatMap((group) => group.endpoints);
  const found = spread(endpoints, zoneShares(informers.for(NODES).list()));
  if ("problem" in found) return found.problem;
  for (const [endpoint, name] of found.zones) endpoint.hints = { forZones: [{ name }] };
  return ENABLED;
}

/** The labels of a Service's slices. Pure. */
export function labelsOf(service: Obj): Record<string, string> {
  const labels: Record<string, string> = {};
  const own = service.metadata.labels ?? {};
  for (const name in own) if (!RESERVED.has(name)) labels[name] = own[name];
  if (isHeadless(service)) labels[HEADLESS] = "";
  labels[SERVICE_NAME] = service.metadata.name;
  labels[MANAGED_BY] = MANAGER;
  return labels;
}

/** The endpoints there should be, in groups of equal family and ports. Pure. */
export function groupsOf(
  service: Obj,
  pods: readonly Obj[],
  nodeOf: (name: string) => Obj | undefined,
): Group[] {
  const groups: Group[] = [];
  for (const addressType of addressTypesOf(service)) {
    const found = new Map<string, Group>();
    for (const pod of pods) {
      if (!isEndpoint(pod, true)) continue;
      const addresses = addressesOf(pod, addressType);
      if (addresses.length === 0) continue;
      const ports = portsOf(service, pod);
      const key = groupKey(addressType, ports);
      let group = found.get(key);
      if (!group) found.set(key, group = { addressType, ports, endpoints: [] });
      group.endpoints.push(endpointOf(pod, service, { addresses, nodeOf }));
    }
    if (found.size === 0) found.set("", { addressType, ports: [], endpoints: [] });
    groups.push(...found.values());
  }
  return groups;
}

function endpointOf(
  pod: Obj,
  service: Obj,
  { addresses, nodeOf }: { addresses: string[]; nodeOf: (name: string) => Obj | undefined },
): Endpoint {
  const serving = isReady(pod);
  const terminating = pod.metadata.deletionTimestamp !== undefined;
  const ready = Boolean(service.spec.publishNotReadyAddresses) || serving && !terminating;
  const { namespace, name, uid } = pod.metadata;
  const endpoint: Endpoint = {
    addresses,
    conditions: { ready, serving, terminating },
    targetRef: { kind: "Pod", namespace: namespace!, name, uid },
  };
  const { nodeName } = pod.spec;
  if (nodeName) {
    endpoint.nodeName = nodeName;
    const zone = nodeOf(nodeName)?.metadata.labels?.[ZONE];
    if (zone) endpoint.zone = zone;
  }
  if (hasHostname(pod, service)) endpoint.hostname = pod.spec.hostname;
  // The annotation is older and goes first; its hints are for all endpoints together.
  if (!ready || wantsHints(service)) return endpoint;
  const hints = hintsFor(service.spec.trafficDistribution, endpoint);
  if (hints) endpoint.hints = hints;
  return endpoint;
}

/** What a Service's traffic distribution makes of an endpoint's place. */
function hintsFor(distribution: string | undefined, endpoint: Endpoint): Endpoint["hints"] {
  const near = distribution === "PreferClose" || distribution === "PreferSameZone";
  const node = distribution === "PreferSameNode" && endpoint.nodeName;
  if (!near && !node) return undefined;
  const hints: Endpoint["hints"] = {};
  if (endpoint.zone) hints.forZones = [{ name: endpoint.zone }];
  if (node) hints.forNodes = [{ name: node }];
  return hints.forZones || hints.forNodes ? hints : undefined;
}
