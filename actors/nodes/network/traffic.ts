/**
 * Which endpoints a service port's traffic may go to, as kube-proxy (v1.36) chooses them: by traffic policy, by hints
 * of topology, and those that still serve while they terminate where nothing is ready. Pure.
 */
import type { DeepReadonly, KubeObject } from "../../../api/machinery/types.ts";

type Obj = DeepReadonly<KubeObject>;

/** 4 or 6: IPv4 or IPv6. */
export type Family = 4 | 6;

/** Services with this label are another proxy's. */
export const PROXY_NAME = "service.kubernetes.io/service-proxy-name";
/** Services with this label are no proxy's. */
export const HEADLESS = "service.kubernetes.io/headless";

/** Where a proxy stands: nodes of one machine share it. */
export interface Place {
  nodes: ReadonlySet<string>;
  zone?: string;
}

/** An endpoint of a service port with all that decides whether it gets traffic. */
export interface Candidate {
  ip: string;
  port: number;
  ready: boolean;
  serving: boolean;
  terminating: boolean;
  local: boolean;
  nodeName?: string;
  forZones: readonly string[];
  forNodes: readonly string[];
}

/** A service port. */
export interface ServicePort {
  name?: string;
  protocol?: string;
  port: number;
  nodePort?: number;
}

/** What a service port can be reached with, by traffic policy. */
export interface Reachable {
  /** For policy Cluster. */
  cluster: readonly Candidate[];
  /** For policy Local: those of this machine. */
  local: readonly Candidate[];
  /** Whether there is a usable one on any node. */
  any: boolean;
}

export function familyOf(address: string): Family {
  return address.includes(":") ? 6 : 4;
}

/** Whether a service is this proxy's to answer for. */
export function isProxied(service: Obj): boolean {
  const labels = service.metadata.labels ?? {};
  const { type, clusterIP } = service.spec;
  return type !== "ExternalName" && !!clusterIP && clusterIP !== "None" &&
    !(PROXY_NAME in labels) && !(HEADLESS in labels);
}

/** All endpoints of a service port, in the order of their addresses. */
export function candidatesOf(
  slices: Iterable<Obj>,
  port: { name?: string; protocol?: string },
  family: Family,
  nodes: ReadonlySet<string>,
): Candidate[] {
  const found = new Map<string, Candidate>();
  for (const slice of slices) {
    if (slice.addressType !== `IPv${family}` || HEADLESS in (slice.metadata.labels ?? {})) continue;
    const number = portOf(slice, port);
    if (number === undefined) continue;
    for (const endpoint of slice.endpoints ?? []) {
      const [ip] = endpoint.addresses ?? [];
      if (!ip) continue;
      const { ready = true, serving = ready, terminating = false } = endpoint.conditions ?? {};
      const id = `${ip} ${number}`;
      // While an endpoint moves between slices it is in both: the better state counts.
      if (found.get(id)?.ready) continue;
      found.set(id, {
        ip,
        port: number,
        ready,
        serving,
        terminating,
        local: nodes.has(endpoint.nodeName ?? ""),
        nodeName: endpoint.nodeName,
        forZones: namesOf(endpoint.hints?.forZones),
        forNodes: namesOf(endpoint.hints?.forNodes),
      });
    }
  }
  return [...found.entries()].sort(([a], [b]) => a < b ? -1 : 1).map(([, candidate]) => candidate);
}

function namesOf(hints: readonly { name: string }[] | undefined): string[] {
  return (hints ?? []).map(({ name }) => name);
}

/** The port of a slice that a service port's name and protocol mean. */
export function portOf(
  slice: Obj,
  wanted: { name?: string; protocol?: string },
): number | undefined {
  const ports = (slice.ports ?? []) as readonly {
    name?: string;
    protocol?: string;
    port?: number;
  }[];
  return ports.find((port) =>
    (port.name ?? "") === (wanted.name ?? "") &&
    (port.protocol ?? "TCP") === (wanted.protocol ?? "TCP")
  )?.port;
}

/** Chooses among the endpoints of a port; see the module's text. */
export function reachable(candidates: readonly Candidate[], place: Place): Reachable {
  const near = nearby(candidates, place);
  let cluster = candidates.filter((c) => c.ready && near(c));
  if (cluster.length === 0) cluster = candidates.filter(leaving);
  let local = candidates.filter((c) => c.local && c.ready);
  if (local.length === 0) local = candidates.filter((c) => c.local && leaving(c));
  return { cluster, local, any: cluster.length > 0 };
}

function leaving({ ready, serving, terminating }: Candidate): boolean {
  return !ready && serving && terminating;
}

/** Hints count only where every ready endpoint has one and one is meant for here: first nodes, then zones. */
function nearby(
  candidates: readonly Candidate[],
  { nodes, zone }: Place,
): (candidate: Candidate) => boolean {
  const ready = candidates.filter((c) => c.ready);
  const forHere = [
    ({ forNodes }: Candidate) => forNodes.some((node) => nodes.has(node)),
    ({ forZones }: Candidate) => zone !== undefined && forZones.includes(zone),
  ];
  const [byNode, byZone] = forHere;
  if (ready.every((c) => c.forNodes.length > 0) && ready.some(byNode)) return byNode;
  if (ready.every((c) => c.forZones.length > 0) && ready.some(byZone)) return byZone;
  return () => true;
}

/** Whether the policies of a service name this machine's endpoints only. */
export function policiesOf(service: Obj): { internalLocal: boolean; externalLocal: boolean } {
  const { type, externalIPs, externalTrafficPolicy, internalTrafficPolicy } = service.spec;
  const external = type === "LoadBalancer" || type === "NodePort" || !!externalIPs?.length;
  return {
    internalLocal: internalTrafficPolicy === "Local",
    externalLocal: external && externalTrafficPolicy === "Local",
  };
}

/** How long a client stays with its endpoint. */
export function affinitySeconds(service: Obj): number | undefined {
  if (service.spec.sessionAffinity !== "ClientIP") return undefined;
  return service.spec.sessionAffinityConfig?.clientIP?.timeoutSeconds ?? 10_800;
}
