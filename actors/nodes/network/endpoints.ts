/**
 * Where a service's traffic goes: its endpoints by port, as kube-proxy (v1.36) chooses them. Pure.
 *
 * Ready endpoints get traffic; when there is none, those that still serve while they terminate do.
 */
import type { Informer } from "../../../api/client/contract.ts";
import type { DeepReadonly, KubeObject } from "../../../api/machinery/types.ts";
import { type Family, familyOf, isProxied, portOf } from "./traffic.ts";

type Obj = DeepReadonly<KubeObject>;

/** The label that ties an EndpointSlice to its service. */
export const SERVICE_NAME = "kubernetes.io/service-name";
/** The index of EndpointSlices by `namespace/service`. */
export const BY_SERVICE = "service";

/** One place to connect to. */
export interface Endpoint {
  ip: string;
  port: number;
  node?: string;
  hostname?: string;
  pod?: string;
}

/** The service a slice belongs to, as a key. */
export function serviceOf(slice: Obj): string[] {
  const name = slice.metadata.labels?.[SERVICE_NAME];
  return name ? [`${slice.metadata.namespace}/${name}`] : [];
}

/** The endpoints of a service's port; `publishAll` takes those that are not ready too. */
export function endpointsOf(
  slices: Informer,
  service: string,
  port: { name?: string; protocol?: string },
  options: { publishAll?: boolean; family?: Family } = {},
): Endpoint[] {
  const ready: Endpoint[] = [];
  const leaving: Endpoint[] = [];
  const seen = new Set<string>();
  for (const slice of slices.byIndex(BY_SERVICE, service)) {
    if (slice.addressType !== `IPv${options.family ?? 4}`) continue;
    const number = portOf(slice, port);
    if (number === undefined) continue;
    for (const endpoint of slice.endpoints ?? []) {
      const { ready: isReady = true, serving = isReady, terminating = false } =
        endpoint.conditions ?? {};
      const to = options.publishAll || isReady
        ? ready
        : serving && terminating
        ? leaving
        : undefined;
      for (const ip of to ? endpoint.addresses : []) {
        if (seen.has(`${ip}:${number}`)) continue;
        seen.add(`${ip}:${number}`);
        to!.push({
          ip,
          port: number,
          node: endpoint.nodeName,
          hostname: endpoint.hostname,
          pod: endpoint.targetRef?.uid,
        });
      }
    }
  }
  return ready.length > 0 ? ready : leaving;
}

/** A service's own addresses, by what they are. */
export interface ServiceAddresses {
  cluster: string[];
  balancer: string[];
  external: string[];
}

/** The addresses a proxy answers on for a service; services that are not a proxy's affair have none. */
export function addressesOf(service: Obj, family: Family = 4): ServiceAddresses {
  if (!isProxied(service)) return { cluster: [], balancer: [], external: [] };
  const { spec, status } = service;
  const ingress = (status?.loadBalancer?.ingress ?? []) as readonly {
    ip?: string;
    ipMode?: string;
  }[];
  const own = (addresses: readonly string[]) => addresses.filter((a) => familyOf(a) === family);
  return {
    cluster: own(spec.clusterIPs ?? [spec.clusterIP]),
    balancer: own(ingress.filter((i) => i.ip && i.ipMode !== "Proxy").map((i) => i.ip!)),
    external: own(spec.externalIPs ?? []),
  };
}
