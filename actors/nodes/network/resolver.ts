/**
 * Answers DNS questions about the cluster from its services and endpoints, as the Kubernetes DNS
 * specification (1.1.0) and CoreDNS's defaults say. Pure: a question and caches in, records out.
 *
 * Names: `svc.ns.svc.ZONE` (A and AAAA; headless: one for each ready endpoint), `host.svc.ns.svc.ZONE`,
 * `_port._proto.svc.ns.svc.ZONE` (SRV), `a-b-c-d.ns.pod.ZONE`, reverse names, `dns-version.ZONE`.
 */
import type { Informer } from "../../../api/client/contract.ts";
import type { DeepReadonly, KubeObject } from "../../../api/machinery/types.ts";
import { BY_SERVICE, type Endpoint, endpointsOf, serviceOf } from "./endpoints.ts";
import { formatAddress, parseAddress } from "./ip_range.ts";
import { type Family, familyOf } from "./traffic.ts";

type Service = DeepReadonly<KubeObject>;

/** Seconds that records may be kept (CoreDNS's default for the cluster's zone). */
export const TTL_SECONDS = 5;

/** The index of services by their cluster IPs, and of EndpointSlices by the addresses in them. */
export const BY_ADDRESS = "address";

/** What a resolver reads; `indexed` makes the indexes it needs. */
export interface Caches {
  services: Informer;
  slices: Informer;
  namespaces: Informer;
  /** `cluster.local`. */
  zone: string;
}

/** Makes the indexes. */
export function indexed(caches: Caches): Caches {
  caches.services.index(BY_ADDRESS, ({ spec }) => spec.clusterIPs ?? [spec.clusterIP ?? ""]);
  caches.slices.index(BY_SERVICE, serviceOf);
  caches.slices.index(
    BY_ADDRESS,
    (slice) => (slice.endpoints ?? []).flatMap((endpoint: Service) => endpoint.addresses),
  );
  return caches;
}

export type DnsRecord =
  | { type: "A" | "AAAA"; name: string; ttl: number; data: string }
  | { type: "CNAME" | "PTR" | "NS"; name: string; ttl: number; data: string }
  | { type: "TXT"; name: string; ttl: number; data: string[] }
  | {
    type: "SRV";
    name: string;
    ttl: number;
    data: { priority: number; weight: number; port: number; target: string };
  }
  | SoaRecord;

/** What says how long the zone's silence may be believed. */
export interface SoaRecord {
  type: "SOA";
  name: string;
  ttl: number;
  data: {
    mname: string;
    rname: string;
    serial: number;
    refresh: number;
    retry: number;
    expire: number;
    minimum: number;
  };
}

/** The zone's, with CoreDNS's names and figures; the serial is the time in seconds. */
export function authority(zone: string, serial: number): SoaRecord {
  const data = { refresh: 7200, retry: 1800, expire: 86_400, minimum: TTL_SECONDS };
  const names = { mname: `ns.dns.${zone}`, rname: `hostmaster.${zone}` };
  return { type: "SOA", name: zone, ttl: TTL_SECONDS, data: { ...names, serial, ...data } };
}

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
  if (/\.(in-addr|ip6)\.arpa$/.test(name)) return resolveReverse(name, question.type, caches);
  if (name !== caches.zone && !name.endsWith(`.${caches.zone}`)) return undefined;
  const labels = name.slice(0, -caches.zone.length - 1).split(".").filter(Boolean);
  if (labels.length === 0) {
    const data = `ns.dns.${caches.zone}`;
    return only(question.type === "NS" && { type: "NS", name, ttl: TTL_SECONDS, data });
  }
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
  const dashed = /^\d+(-\d+){3}$/.test(address)
    ? address.replaceAll("-", ".")
    : address.replaceAll("-", ":");
  if (!parseAddress(dashed)) return NOTHING;
  return only(type === typeOf(dashed) && a(name, dashed));
}

/** The type of the record that holds an address. */
function typeOf(address: string): "A" | "AAAA" {
  return familyOf(address) === 4 ? "A" : "AAAA";
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
    const answers = clusterIPs(service).filter((ip) => typeOf(ip) === type)
      .map((ip) => a(name, ip));
    return { exists: true, answers, additionals: [] };
  }
  if (labels.length > 1) return NOTHING;
  if (type === "SRV" && labels.length === 0) return allPorts(service, name, base, caches);
  const wanted = labels[0];
  const hosts = headlessHosts(service, caches).filter((host) =>
    wanted === undefined || host.label === wanted
  );
  // A headless service without any endpoint does not exist, as far as DNS is concerned.
  if (hosts.length === 0) return NOTHING;
  const answers = hosts.filter(({ endpoint }) => typeOf(endpoint.ip) === type)
    .map(({ endpoint }) => a(name, endpoint.ip));
  return { exists: true, answers, additionals: [] };
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
      additionals: clusterIPs(service).map((ip) => a(base, ip)),
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
  for (const family of [4, 6] as const) {
    for (const port of ports) {
      const options = { publishAll, family };
      for (const endpoint of endpointsOf(caches.slices, key, port, options)) {
        byAddress.set(endpoint.ip, endpoint);
      }
    }
  }
  if (byAddress.size === 0 && !only) {
    for (const endpoint of portless(caches.slices, key, publishAll)) {
      byAddress.set(endpoint.ip, endpoint);
    }
  }
  return [...byAddress.values()].map((endpoint) => ({
    label: endpoint.hostname || endpoint.ip.replaceAll(/[.:]/g, "-"),
    endpoint,
  }));
}

/** Endpoints of slices that name no ports at all. */
function portless(slices: Informer, key: string, publishAll: boolean): Endpoint[] {
  const found: Endpoint[] = [];
  for (const slice of slices.byIndex(BY_SERVICE, key)) {
    if (slice.addressType === "FQDN" || slice.ports?.length) continue;
    for (const endpoint of slice.endpoints ?? []) {
      if (!publishAll && endpoint.conditions?.ready === false) continue;
      for (const ip of endpoint.addresses) found.push({ ip, port: 0, hostname: endpoint.hostname });
    }
  }
  return found;
}

/** The address that a reverse name means. */
function reversed(name: string): string | undefined {
  const labels = name.split(".").slice(0, -2).reverse();
  if (name.endsWith(".in-addr.arpa")) {
    const address = labels.join(".");
    return parseAddress(address) ? address : undefined;
  }
  if (labels.length !== 32 || !labels.every((label) => /^[0-9a-f]$/.test(label))) return undefined;
  return labels.join("").match(/.{4}/g)!.join(":");
}

/** Every way in which the address may be written in objects: IPv6 has several. */
function writings(address: string, family: Family): string[] {
  if (family === 4) return [address];
  const full = formatAddress(parseAddress(address)!.value, 6);
  // The longest run of zeros, as canonical addresses have it.
  const runs = [...full.matchAll(/(?:^|:)0(?::0)+(?=:|$)/g)].map(([run]) => run);
  const longest = runs.sort((a, b) => b.length - a.length)[0];
  const short = longest === undefined ? full : full.replace(longest, "::").replace(/:{3,}/, "::");
  return [...new Set([short, full])];
}

function resolveReverse(name: string, type: string, caches: Caches): Answer | undefined {
  const address = reversed(name);
  if (!address) return undefined;
  const nameOf = (service: Service) =>
    `${service.metadata.name}.${service.metadata.namespace}.svc.${caches.zone}`;
  for (const writing of writings(address, familyOf(address))) {
    const [service] = caches.services.byIndex(BY_ADDRESS, writing);
    if (service) return pointer(name, type, nameOf(service));
    for (const slice of caches.slices.byIndex(BY_ADDRESS, writing)) {
      const owner = serviceOf(slice)[0];
      const headless = owner === undefined ? undefined : caches.services.get(owner);
      if (!headless || !isHeadless(headless)) continue;
      const host = headlessHosts(headless, caches).find(({ endpoint }) => endpoint.ip === writing);
      if (host) return pointer(name, type, `${host.label}.${nameOf(headless)}`);
    }
  }
  return undefined;
}

function pointer(name: string, type: string, target: string): Answer {
  return only(type === "PTR" && { type, name, ttl: TTL_SECONDS, data: target });
}

function a(name: string, data: string): DnsRecord {
  return { type: typeOf(data), name, ttl: TTL_SECONDS, data };
}

function srv(name: string, port: number, target: string, weight: number): DnsRecord {
  return { type: "SRV", name, ttl: TTL_SECONDS, data: { priority: 0, weight, port, target } };
}

function isHeadless(service: Service): boolean {
  return service.spec.clusterIP === "None";
}

function clusterIPs({ spec }: Service): readonly string[] {
  return spec.clusterIPs ?? (spec.clusterIP ? [spec.clusterIP] : []);
}
