/**
 * Answers DNS questions about the cluster from its services and endpoints, as the Kubernetes DNS
 * specification (1.1.0) and CoreDNS's defaults say. Pure: a question and caches in, records out.
 *
 * Names: `svc.ns.svc.ZONE` (A; headless: one A per ready endpoint), `host.svc.ns.svc.ZONE`,
 * `_port._proto.svc.ns.svc.ZONE` (SRV), `a-b-c-d.ns.pod.ZONE`, reverse names, `dns-version.ZONE`.
 */
import type { Informer } from "../../../api/client/contract.ts";
import type { DeepReadonly, KubeObject } from "../../../api/machinery/types.ts";
import { type Endpoint, endpointsOf } from "./endpoints.ts";

type Service = DeepReadonly<KubeObject>;

/** Seconds that records may be kept (CoreDNS's default for the cluster's zone). */
export const TTL_SECONDS = 5;

/** What a resolver reads; `slices` must have the index `service`. */
export interface Caches {
  services: Informer;
  slices: Informer;
  namespaces: Informer;
  /** `cluster.local`. */
  zone: string;
}

export type DnsRecord =
  | { type: "A"; name: string; ttl: number; data: string }
  | { type: "CNAME" | "PTR"; name: string; ttl: number; data: string }
  | { type: "TXT"; name: string; ttl: number; data: string[] }
  | {
    type: "SRV";
    name: string;
    ttl: number;
    data: { priority: number; weight: number; port: number; target: string };
  };

/** `undefined`: not ours, ask elsewhere. `exists` false is NXDOMAIN; true without answers is "no such type". */
export interface Answer {
  exists: boolean;
  answers: DnsRecord[];
  additionals: DnsRecord[];
}

const NOTHING: Answer = { exists: false, answers: [], additionals: [] };
const EMPTY: Answer = { exists: true, answers: [], additionals: [] };

/** Answers one question. Names are without the last dot, in any case. */
export function resolve(
  question: { name: string; type: string },
  caches: Caches,
): Answer | undefined {
  const name = question.name.toLowerCase().replace(/\.$/, "");
  if (name.endsWith(".in-addr.arpa")) return resolveReverse(name, question.type, caches);
  if (name !== caches.zone && !name.endsWith(`.${caches.zone}`)) return undefined;
  const labels = name.slice(0, -caches.zone.length - 1).split(".").filter(Boolean);
  if (labels.length === 0) return EMPTY;
  const kind = labels.pop()!;
  if (kind === "dns-version" && labels.length === 0) {
    return only(
      question.type === "TXT" && { type: "TXT", name, ttl: TTL_SECONDS, data: ["1.1.0"] },
    );
  }
  if (kind === "svc") return resolveService(labels, name, question.type, caches);
  if (kind === "pod") return resolvePod(labels, name, question.type, caches);
  return NOTHING;
}

function only(record: DnsRecord | false): Answer {
  return record ? { exists: true, answers: [record], additionals: [] } : EMPTY;
}

function resolvePod(labels: string[], name: string, type: string, caches: Caches): Answer {
  const [address, namespace] = labels;
  if (labels.length === 1) return caches.namespaces.get(labels[0]) ? EMPTY : NOTHING;
  if (labels.length !== 2 || !caches.namespaces.get(namespace)) return NOTHING;
  if (!/^\d{1,3}(-\d{1,3}){3}$/.test(address)) return NOTHING;
  return only(type === "A" && { type, name, ttl: TTL_SECONDS, data: address.replaceAll("-", ".") });
}

function resolveService(labels: string[], name: string, type: string, caches: Caches): Answer {
  const namespace = labels.pop();
  if (namespace === undefined) return EMPTY;
  const serviceName = labels.pop();
  if (serviceName === undefined) return caches.namespaces.get(namespace) ? EMPTY : NOTHING;
  const service = caches.services.get(`${namespace}/${serviceName}`);
  if (!service) return NOTHING;
  const base = `${serviceName}.${namespace}.svc.${caches.zone}`;
  if (service.spec.type === "ExternalName") {
    if (labels.length > 0) return NOTHING;
    return only({ type: "CNAME", name, ttl: TTL_SECONDS, data: service.spec.externalName });
  }
  if (labels.length === 2 && labels[0].startsWith("_") && labels[1].startsWith("_")) {
    return resolvePort(service, labels[0].slice(1), labels[1].slice(1), name, base, type, caches);
  }
  if (!isHeadless(service)) {
    if (labels.length > 0) return NOTHING;
    if (type === "SRV") return allPorts(service, name, base, caches);
    return only(
      type === "A" && isIPv4(service.spec.clusterIP) &&
        { type, name, ttl: TTL_SECONDS, data: service.spec.clusterIP },
    );
  }
  if (labels.length > 1) return NOTHING;
  if (type === "SRV" && labels.length === 0) return allPorts(service, name, base, caches);
  const wanted = labels[0];
  const hosts = headlessHosts(service, caches).filter((host) =>
    wanted === undefined || host.label === wanted
  );
  // A headless service without any endpoint does not exist, as far as DNS is concerned.
  if (hosts.length === 0) return NOTHING;
  if (type !== "A") return EMPTY;
  return { exists: true, answers: hosts.map((host) => a(name, host.endpoint.ip)), additionals: [] };
}

function allPorts(service: Service, name: string, base: string, caches: Caches): Answer {
  const answer: Answer = { exists: true, answers: [], additionals: [] };
  for (const port of service.spec.ports ?? []) {
    const one = resolvePort(
      service,
      port.name ?? "",
      (port.protocol ?? "TCP").toLowerCase(),
      name,
      base,
      "SRV",
      caches,
    );
    answer.answers.push(...one.answers);
    answer.additionals.push(...one.additionals);
  }
  return answer.answers.length > 0 ? answer : NOTHING;
}

function resolvePort(
  service: Service,
  portName: string,
  protocol: string,
  name: string,
  base: string,
  type: string,
  caches: Caches,
): Answer {
  const ports = (service.spec.ports ?? []) as readonly {
    name?: string;
    protocol?: string;
    port: number;
  }[];
  const port = ports.find((p) =>
    (p.name ?? "") === portName && (p.protocol ?? "TCP").toLowerCase() === protocol
  );
  if (!port) return NOTHING;
  if (type !== "SRV") return EMPTY;
  if (!isHeadless(service)) {
    return {
      exists: true,
      answers: [srv(name, port.port, base, 100)],
      additionals: isIPv4(service.spec.clusterIP) ? [a(base, service.spec.clusterIP)] : [],
    };
  }
  const hosts = headlessHosts(service, caches, port);
  if (hosts.length === 0) return NOTHING;
  const weight = Math.max(1, Math.trunc(100 / hosts.length));
  return {
    exists: true,
    answers: hosts.map(({ label, endpoint }) =>
      srv(name, endpoint.port, `${label}.${base}`, weight)
    ),
    additionals: hosts.map(({ label, endpoint }) => a(`${label}.${base}`, endpoint.ip)),
  };
}

/** The endpoints of a headless service with the names they have: their hostname, or their address dashed. */
function headlessHosts(
  service: Service,
  caches: Caches,
  only?: { name?: string; protocol?: string },
): { label: string; endpoint: Endpoint }[] {
  const key = `${service.metadata.namespace}/${service.metadata.name}`;
  const publishAll = service.spec.publishNotReadyAddresses === true;
  const ports = only ? [only] : service.spec.ports?.length ? service.spec.ports : [{}];
  const byAddress = new Map<string, Endpoint>();
  for (const port of ports) {
    for (const endpoint of endpointsOf(caches.slices, key, port, { publishAll })) {
      byAddress.set(endpoint.ip, endpoint);
    }
  }
  if (byAddress.size === 0 && !only) {
    for (const endpoint of portless(caches.slices, key, publishAll)) {
      byAddress.set(endpoint.ip, endpoint);
    }
  }
  return [...byAddress.values()].map((endpoint) => ({
    label: endpoint.hostname || endpoint.ip.replaceAll(".", "-"),
    endpoint,
  }));
}

/** Endpoints of slices that name no ports at all. */
function portless(slices: Informer, key: string, publishAll: boolean): Endpoint[] {
  const found: Endpoint[] = [];
  for (const slice of slices.byIndex("service", key)) {
    if (slice.addressType !== "IPv4" || slice.ports?.length) continue;
    for (const endpoint of slice.endpoints ?? []) {
      if (!publishAll && endpoint.conditions?.ready === false) continue;
      for (const ip of endpoint.addresses) found.push({ ip, port: 0, hostname: endpoint.hostname });
    }
  }
  return found;
}

function resolveReverse(name: string, type: string, caches: Caches): Answer | undefined {
  const parts = name.slice(0, -".in-addr.arpa".length).split(".");
  if (parts.length !== 4) return undefined;
  const address = parts.reverse().join(".");
  for (const service of caches.services.list()) {
    const base = `${service.metadata.name}.${service.metadata.namespace}.svc.${caches.zone}`;
    if (service.spec.clusterIP === address) return pointer(name, type, base);
    if (!isHeadless(service)) continue;
    for (const { label, endpoint } of headlessHosts(service, caches)) {
      if (endpoint.ip === address) return pointer(name, type, `${label}.${base}`);
    }
  }
  return undefined;
}

function pointer(name: string, type: string, target: string): Answer {
  return only(type === "PTR" && { type, name, ttl: TTL_SECONDS, data: target });
}

function a(name: string, data: string): DnsRecord {
  return { type: "A", name, ttl: TTL_SECONDS, data };
}

function srv(name: string, port: number, target: string, weight: number): DnsRecord {
  return { type: "SRV", name, ttl: TTL_SECONDS, data: { priority: 0, weight, port, target } };
}

function isHeadless(service: Service): boolean {
  return service.spec.clusterIP === "None";
}

function isIPv4(address: string | undefined): boolean {
  return !!address && address !== "None" && !address.includes(":");
}
