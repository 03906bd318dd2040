/**
 * What a write to a Service carries over from the stored one, and how its address families are chosen
 * (upstream's `pkg/registry/core/service`): addresses and ports the server once gave stay when a client
 * leaves them out, and go when the type no longer has them. Giving new ones is the server's, at commit.
 */

import type { DeepReadonly, KindContext, KubeObject } from "../../machinery/types.ts";
import { invalid } from "../../machinery/errors.ts";
import { keep } from "./prepare.ts";
import { semanticEqual } from "./equality.ts";
import { chooseFamilies } from "./service_families.ts";

// deno-lint-ignore no-explicit-any -- objects are decoded JSON; the schema walk has checked their types
type Obj = any;
type Stored = DeepReadonly<KubeObject>;

/** Starts a new Service. */
export function prepareServiceCreate(service: KubeObject, context: KindContext): void {
  service.status = { loadBalancer: {} };
  normalizeClusterIps(service.spec, undefined);
  chooseOrRefuse(service, context);
}

/** Carries over what the client left out and drops what the type does not have. */
export function prepareServiceUpdate(service: KubeObject, old: Stored, context: KindContext): void {
  if (context.subresource === "status") {
    keep(service, old, "spec");
    return;
  }
  keep(service, old, "status");
  const spec: Obj = service.spec, before: Obj = old.spec ?? {};
  patchAllocated(spec, before);
  normalizeClusterIps(spec, before);
  dropDependent(spec, before);
  chooseOrRefuse(service, context, old);
}

/** Upstream chooses families before it validates, and looks no further when that fails. */
function chooseOrRefuse(service: KubeObject, context: KindContext, old?: Stored): void {
  const causes = chooseFamilies(service.spec ?? {}, old?.spec, context.serviceFamilies);
  if (causes.length > 0) throw invalid("", "Service", service.metadata.name, causes);
}

const hasClusterIp = (spec: Obj) => spec.type !== "ExternalName";
const hasNodePorts = (spec: Obj) => spec.type === "NodePort" || spec.type === "LoadBalancer";
const needsHealthCheckPort = (spec: Obj) =>
  spec.type === "LoadBalancer" && spec.externalTrafficPolicy === "Local";

/** Addresses and ports that were given stay, where the client said nothing. */
function patchAllocated(spec: Obj, before: Obj): void {
  if (hasClusterIp(before) && hasClusterIp(spec)) {
    if (!spec.clusterIP) copy(spec, before, "clusterIP");
    if (!spec.clusterIPs?.length && spec.clusterIP === before.clusterIP) {
      copy(spec, before, "clusterIPs");
    }
  }
  if (hasNodePorts(before) && hasNodePorts(spec)) {
    const known = new Map<string, number>();
    for (const port of before.ports ?? []) {
      if (port.nodePort) {
        known.set(`${port.protocol}/${port.port}/${port.name ?? ""}`, port.nodePort);
      }
    }
    const used = new Set<number>((spec.ports ?? []).map((p: Obj) => p.nodePort).filter(Boolean));
    for (const port of spec.ports ?? []) {
      if (port.nodePort) continue;
      const given = known.get(`${port.protocol}/${port.port}/${port.name ?? ""}`);
      if (given === undefined || used.has(given)) continue;
      port.nodePort = given;
      used.add(given);
    }
  }
  if (needsHealthCheckPort(before) && needsHealthCheckPort(spec) && !spec.healthCheckNodePort) {
    copy(spec, before, "healthCheckNodePort");
  }
}

function copy(spec: Obj, before: Obj, field: string): void {
  if (before[field] === undefined) delete spec[field];
  else spec[field] = before[field];
}

/** Keeps clusterIP and the first of clusterIPs the same, whichever the client wrote. */
export function normalizeClusterIps(spec: Obj, before: Obj): void {
  if (!spec) return;
  if (!before) {
    if (spec.clusterIP && !spec.clusterIPs?.length) spec.clusterIPs = [spec.clusterIP];
    return;
  }
  // Clients that know one of the two fields only patch that one.
  const same = semanticEqual(spec.clusterIPs, before.clusterIPs);
  if (spec.clusterIP === before.clusterIP) {
    if (!spec.clusterIPs?.length && before.clusterIPs?.length) spec.clusterIPs = before.clusterIPs;
  } else if (!same) return;
  else if (before.clusterIP && !spec.clusterIP) delete spec.clusterIPs;
  else spec.clusterIPs = [spec.clusterIP];
}

/** Fields that the old type had and the new one has not go, unless the client changed them by hand. */
function dropDependent(spec: Obj, before: Obj): void {
  if (hasClusterIp(before) && !hasClusterIp(spec)) {
    const same = (spec.clusterIP ?? "") === (before.clusterIP ?? "") &&
      semanticEqual(spec.clusterIPs, before.clusterIPs);
    if (same) {
      delete spec.clusterIP;
      delete spec.clusterIPs;
    }
    dropSame(spec, before, "ipFamilies");
    dropSame(spec, before, "ipFamilyPolicy");
  }
  if (hasNodePorts(before) && !hasNodePorts(spec)) {
    const ports = (s: Obj) => (s.ports ?? []).map((p: Obj) => p.nodePort ?? 0);
    if (semanticEqual(ports(spec), ports(before))) {
      for (const port of spec.ports ?? []) delete port.nodePort;
    }
  }
  if (needsHealthCheckPort(before) && !needsHealthCheckPort(spec)) {
    dropSame(spec, before, "healthCheckNodePort");
  }
  if (before.type === "LoadBalancer" && spec.type !== "LoadBalancer") {
    dropSame(spec, before, "loadBalancerClass");
    dropSame(spec, before, "allocateLoadBalancerNodePorts");
  }
  const external = (s: Obj) =>
    hasNodePorts(s) || (s.type === "ClusterIP" && s.externalIPs?.length > 0);
  if (external(before) && !external(spec)) dropSame(spec, before, "externalTrafficPolicy");
  if (hasClusterIp(before) && !hasClusterIp(spec)) dropSame(spec, before, "internalTrafficPolicy");
}

function dropSame(spec: Obj, before: Obj, field: string): void {
  if (semanticEqual(spec[field], before[field])) delete spec[field];
}
