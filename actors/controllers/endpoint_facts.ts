/**
 * What EndpointSlices and Endpoints are computed from: which pods stand behind a Service, and where they
 * listen. Pure.
 *
 * Behaviour matched: k8s.io/endpointslice and pkg/controller/endpoint, v1.36.
 */
import { parseIp } from "../../api/machinery/ip.ts";
import { sameJson } from "../../api/machinery/json_value.ts";
import { selectorOf } from "../../api/machinery/selectors.ts";
import { type ActorContext, SERVICES } from "../runtime/mod.ts";
import type { Obj } from "./objects.ts";
import { isFinished, isReady } from "./pods.ts";

export const SERVICE_NAME = "kubernetes.io/service-name";
export const HEADLESS = "service.kubernetes.io/headless";

export type AddressType = "IPv4" | "IPv6";

/** A port as slices hold it. */
export interface EndpointPort {
  name: string;
  port?: number;
  protocol: string;
  appProtocol?: string;
}

/** Whether a pod can be an endpoint at all; those on their way out are, where asked for. */
export function isEndpoint(pod: Obj, terminating: boolean): boolean {
  if (isFinished(pod)) return false;
  if ((pod.status?.podIPs ?? []).length === 0 && !pod.status?.podIP) return false;
  return terminating || !pod.metadata.deletionTimestamp;
}

/** The pod's addresses of a family. */
export function addressesOf(pod: Obj, type: AddressType): string[] {
  const ips: { ip: string }[] = pod.status?.podIPs ?? [{ ip: pod.status?.podIP ?? "" }];
  return ips.map(({ ip }) => ip).filter((ip) => familyOf(ip) === type);
}

/** The family of an address; undefined when it is none. */
export function familyOf(ip: string): AddressType | undefined {
  // By far the most are plain IPv4; a colon decides.
  if (ip === "") return undefined;
  if (!ip.includes(":")) return "IPv4";
  return parseIp(ip)?.family === 4 ? "IPv4" : "IPv6";
}

/** The families a Service's endpoints have. */
export function addressTypesOf(service: Obj): AddressType[] {
  const families: AddressType[] = service.spec.ipFamilies ?? [];
  if (families.length > 0) return [...families];
  const { clusterIP } = service.spec;
  if (clusterIP && clusterIP !== "None") return [familyOf(clusterIP) ?? "IPv4"];
  return ["IPv4", "IPv6"];
}

/** The pod's ports that a Service's ports lead to. */
export function portsOf(service: Obj, pod: Obj): EndpointPort[] {
  const ports: EndpointPort[] = [];
  for (const port of service.spec.ports ?? []) {
    const number = targetPort(pod, port);
    if (number === undefined) continue;
    const found: EndpointPort = {
      name: port.name ?? "",
      port: number,
      protocol: port.protocol ?? "TCP",
    };
    if (port.appProtocol) found.appProtocol = port.appProtocol;
    ports.push(found);
  }
  return ports;
}

interface ServicePort {
  port: number;
  protocol?: string;
  targetPort?: number | string;
}

function targetPort(pod: Obj, port: ServicePort): number | undefined {
  const target = port.targetPort ?? port.port;
  if (typeof target === "number") return target || port.port;
  const protocol = port.protocol ?? "TCP";
  const sidecars = (pod.spec.initContainers ?? []).filter((c: { restartPolicy?: string }) =>
    c.restartPolicy === "Always"
  );
  for (const container of [...pod.spec.containers, ...sidecars]) {
    for (const named of container.ports ?? []) {
      if (named.name === target && (named.protocol ?? "TCP") === protocol) {
        return named.containerPort;
      }
    }
  }
  return undefined;
}

/** Whether pods of this Service are called by their hostname. */
export function hasHostname(pod: Obj, service: Obj): boolean {
  return Boolean(pod.spec.hostname) && pod.spec.subdomain === service.metadata.name &&
    pod.metadata.namespace === service.metadata.namespace;
}

/** Whether a pod changed in anything that endpoints show. */
export function endpointChanged(old: Obj | undefined, pod: Obj): boolean {
  if (!old || old === pod) return true;
  const [a, b] = [old.metadata, pod.metadata];
  return a.deletionTimestamp !== b.deletionTimestamp || old.spec.nodeName !== pod.spec.nodeName ||
    old.status?.phase !== pod.status?.phase || isReady(old) !== isReady(pod) ||
    a.uid !== b.uid || !sameJson(old.status?.podIPs, pod.status?.podIPs) ||
    !sameJson(a.labels, b.labels);
}

/** The Services that select a pod, or did before it changed. */
export function servicesOf(pod: Obj, old: Obj | undefined, context: ActorContext): string[] {
  if (!endpointChanged(old, pod)) return [];
  const { namespace } = pod.metadata;
  const keys: string[] = [];
  for (const service of context.informers.for(SERVICES).list(namespace)) {
    const { selector } = service.spec;
    if (!selector || service.spec.type === "ExternalName") continue;
    if (selects(selector, pod) || old && selects(selector, old)) {
      keys.push(`${namespace}/${service.metadata.name}`);
    }
  }
  return keys;
}

function selects(selector: Record<string, string>, pod: Obj): boolean {
  const labels = pod.metadata.labels;
  if (!labels) return false;
  for (const key in selector) if (labels[key] !== selector[key]) return false;
  return true;
}

/** The pods a Service selects. */
export function podsOf(service: Obj, pods: Iterable<Obj>): Obj[] {
  const selector = selectorOf(service.spec.selector);
  const found: Obj[] = [];
  for (const pod of pods) if (selector.matches(pod.metadata.labels)) found.push(pod);
  return found;
}

/** Whether a Service has an address of its own. */
export function isHeadless(service: Obj): boolean {
  return !service.spec.clusterIP || service.spec.clusterIP === "None";
}
