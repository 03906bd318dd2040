/**
 * Defaults of the core group's kinds beside pods (upstream's `pkg/apis/core/v1/defaults.go`). Plain values
 * stand in the facts table and are set by the schema walk; what depends on other fields is here.
 */

import { Buffer } from "node:buffer";
import type { KubeObject } from "../../machinery/types.ts";
import { defaultPodTemplate } from "./pod_defaults.ts";
import { roundAmounts } from "./pod_resources.ts";

// deno-lint-ignore no-explicit-any -- objects are decoded JSON; the schema walk has checked their types
type Obj = any;

/** Three hours: how long a client sticks to an endpoint. */
const AFFINITY_SECONDS = 10800;

/** Fills a Service. */
export function defaultService(service: KubeObject): void {
  const spec: Obj = service.spec ??= {};
  spec.sessionAffinity ||= "None";
  if (spec.sessionAffinity === "None") delete spec.sessionAffinityConfig;
  else if (spec.sessionAffinity === "ClientIP") {
    const seconds = spec.sessionAffinityConfig?.clientIP?.timeoutSeconds;
    if (seconds === undefined || seconds === null) {
      spec.sessionAffinityConfig = { clientIP: { timeoutSeconds: AFFINITY_SECONDS } };
    }
  }
  spec.type ||= "ClusterIP";
  for (const port of spec.ports ?? []) {
    port.protocol ||= "TCP";
    if (!port.targetPort) port.targetPort = port.port;
  }
  const balanced = spec.type === "LoadBalancer";
  const external = balanced || spec.type === "NodePort" ||
    (spec.type === "ClusterIP" && spec.externalIPs?.length > 0);
  if (external) spec.externalTrafficPolicy ||= "Cluster";
  if (spec.type !== "ExternalName") spec.internalTrafficPolicy ??= "Cluster";
  if (balanced) spec.allocateLoadBalancerNodePorts ??= true;
  defaultServiceStatus(service);
}

/** Fills a Service's status, by its type. */
export function defaultServiceStatus({ spec, status }: KubeObject): void {
  if (spec?.type !== "LoadBalancer") return;
  for (const ingress of status?.loadBalancer?.ingress ?? []) {
    if (ingress.ip) ingress.ipMode ??= "VIP";
  }
}

/** Fills a ReplicationController: selector and labels come from the template. */
export function defaultReplicationController(controller: KubeObject): void {
  const spec: Obj = controller.spec ??= {};
  const labels = spec.template?.metadata?.labels;
  if (labels) {
    if (isEmpty(spec.selector)) spec.selector = { ...labels };
    if (isEmpty(controller.metadata.labels)) controller.metadata.labels = { ...labels };
  }
  spec.replicas ??= 1;
  defaultPodTemplate(spec.template);
}

/** Fills a PersistentVolume. */
export function defaultPersistentVolume(volume: KubeObject): void {
  const spec: Obj = volume.spec ??= {};
  (volume.status ??= {}).phase ||= "Pending";
  spec.persistentVolumeReclaimPolicy ||= "Retain";
  spec.volumeMode ??= "Filesystem";
  if (spec.hostPath) spec.hostPath.type ??= "";
  roundAmounts(spec.capacity);
}

/** Fills a PersistentVolumeClaim, also inside a StatefulSet. */
export function defaultPersistentVolumeClaim(claim: Obj): void {
  (claim.status ??= {}).phase ||= "Pending";
  const spec: Obj = claim.spec ??= {};
  spec.volumeMode ??= "Filesystem";
  spec.resources ??= {};
  roundAmounts(spec.resources.limits);
  roundAmounts(spec.resources.requests);
  roundAmounts(claim.status.capacity);
  roundAmounts(claim.status.allocatedResources);
}

/** Fills Endpoints. */
export function defaultEndpoints(endpoints: KubeObject): void {
  for (const subset of endpoints.subsets ?? []) {
    for (const port of subset.ports ?? []) port.protocol ||= "TCP";
  }
}

/** Fills a Namespace: every one carries its name as a label. */
export function defaultNamespace(namespace: KubeObject): void {
  if (namespace.metadata.name) {
    const labels = namespace.metadata.labels ??= {};
    labels["kubernetes.io/metadata.name"] = namespace.metadata.name;
  }
  (namespace.status ??= {}).phase ||= "Active";
}

/** Fills a Node: all of its capacity may be used where it does not say otherwise. */
export function defaultNode(node: KubeObject): void {
  const { status, spec }: Obj = node;
  // One block is both the first of the list and a field of its own, which counts where they differ
  if (spec?.podCIDR && spec.podCIDR !== spec.podCIDRs?.[0]) spec.podCIDRs = [spec.podCIDR];
  else if (spec?.podCIDRs?.length) spec.podCIDR = spec.podCIDRs[0];
  if (status?.capacity && !status.allocatable) status.allocatable = { ...status.capacity };
  roundAmounts(status?.capacity);
  roundAmounts(status?.allocatable);
}

/** Fills a ResourceQuota. */
export function defaultResourceQuota({ spec, status }: KubeObject): void {
  roundAmounts(spec?.hard);
  roundAmounts(status?.hard);
  roundAmounts(status?.used);
}

/** Fills a Secret: what was written as text joins the data, and is never stored as text. */
export function defaultSecret(secret: KubeObject): void {
  secret.type ||= "Opaque";
  const texts: Record<string, string> | undefined = secret.stringData;
  if (texts === undefined) return;
  delete secret.stringData;
  if (!texts || isEmpty(texts)) return;
  const data = secret.data ??= {};
  for (const key in texts) data[key] = Buffer.from(texts[key], "utf8").toString("base64");
}

/** Fills a LimitRange: of containers, defaults follow from maximum and minimum. */
export function defaultLimitRange(range: KubeObject): void {
  for (const item of range.spec?.limits ?? []) {
    const { max, min, maxLimitRequestRatio } = item;
    for (const list of [max, min, item.default, item.defaultRequest, maxLimitRequestRatio]) {
      roundAmounts(list);
    }
    if (item.type !== "Container") continue;
    const limits = { ...item.max, ...item.default };
    const requests = { ...item.min, ...limits, ...item.defaultRequest };
    if (!isEmpty(limits)) item.default = limits;
    if (!isEmpty(requests)) item.defaultRequest = requests;
  }
}

function isEmpty(map: Obj): boolean {
  for (const _ in map ?? {}) return false;
  return true;
}
