/**
 * Validation of Services (upstream's `ValidateService`, `ValidateServiceUpdate`). Addresses and ports that
 * the server gives are checked where they are given; here is what the client wrote.
 */

import type { Cause, DeepReadonly, KindContext, KubeObject } from "../../machinery/types.ts";
import {
  checkCidrLegacy,
  isDns1123Label,
  isDns1123Subdomain,
  isPortNumber,
  isQualifiedName,
} from "../../machinery/names.ts";
import { parseIp } from "../../machinery/ip.ts";
import { validateLabels } from "./meta.ts";
import { validateIp, validateNonSpecialIp } from "./ip_validation.ts";
import { validateProtocol } from "./pod_containers.ts";
import { validatePort } from "./pod_probes.ts";
import { isSet, METADATA, type Path, Report, SPEC, STATUS } from "./report.ts";
import { validateClusterIps } from "./service_families.ts";

// deno-lint-ignore no-explicit-any -- objects are decoded JSON; the schema walk has checked their types
type Obj = any;
type Stored = DeepReadonly<KubeObject>;

const TYPES = ["ClusterIP", "ExternalName", "LoadBalancer", "NodePort"];
const TRAFFIC_POLICIES = ["Cluster", "Local"];
const DISTRIBUTIONS = ["PreferClose", "PreferSameZone", "PreferSameNode"];
const AFFINITY_SECONDS_MAX = 86400;
const FOR_BALANCERS = "may only be used when `type` is 'LoadBalancer'";
const RANGES_ANNOTATION = "service.beta.kubernetes.io/load-balancer-source-ranges";
const HINTS_ANNOTATION = "service.kubernetes.io/topology-aware-hints";
const MODE_ANNOTATION = "service.kubernetes.io/topology-mode";
const IPS = SPEC.child("clusterIPs");

function isHeadless(spec: Obj): boolean {
  return spec.clusterIPs?.length === 1 && spec.clusterIPs[0] === "None";
}

function isExternal(spec: Obj): boolean {
  return spec.type === "LoadBalancer" || spec.type === "NodePort" ||
    (spec.type === "ClusterIP" && spec.externalIPs?.length > 0);
}

function validatePorts(spec: Obj, r: Report): void {
  const ports: Obj[] = spec.ports ?? [];
  const at = SPEC.child("ports");
  if (ports.length === 0 && !isHeadless(spec) && spec.type !== "ExternalName") r.required(at);
  const names = new Set<string>();
  ports.forEach((port, i) => {
    const { name, appProtocol } = port;
    const portAt = at.index(i);
    if (!name) {
      if (ports.length > 1) r.required(portAt.child("name"));
    } else {
      r.check(isDns1123Label(name), portAt.child("name"), name);
      if (names.has(name)) r.duplicate(portAt.child("name"), name);
      names.add(name);
    }
    r.check(isPortNumber(port.port ?? 0), portAt.child("port"), port.port ?? 0);
    validateProtocol(port.protocol, portAt, r);
    validatePort(port.targetPort, portAt.child("targetPort"), r);
    if (isSet(appProtocol)) {
      r.check(isQualifiedName(appProtocol), portAt.child("appProtocol"), appProtocol);
    }
  });
}

function validateRepeatedPorts(spec: Obj, r: Report): void {
  const ports: Obj[] = spec.ports ?? [];
  const at = SPEC.child("ports");
  const nodePorts = new Set<string>(), numbers = new Set<string>();
  ports.forEach(({ nodePort, protocol }, i) => {
    if (!nodePort) return;
    const nodeAt = at.index(i).child("nodePort");
    if (spec.type === "ClusterIP") {
      r.forbidden(nodeAt, "may not be used when `type` is 'ClusterIP'");
    }
    if (nodePorts.has(`${protocol}/${nodePort}`)) r.duplicate(nodeAt, nodePort);
    nodePorts.add(`${protocol}/${nodePort}`);
  });
  ports.forEach(({ port, protocol }, i) => {
    if (numbers.has(`${protocol}/${port}`)) {
      // The value as Go prints upstream's struct of it.
      const value = {
        Name: "",
        Protocol: protocol,
        AppProtocol: null,
        Port: port,
        TargetPort: 0,
        NodePort: 0,
      };
      r.duplicate(at.index(i), value);
    }
    numbers.add(`${protocol}/${port}`);
  });
}

function validateType(spec: Obj, r: Report): void {
  if (isHeadless(spec) && (spec.type === "LoadBalancer" || spec.type === "NodePort")) {
    r.invalid(IPS.index(0), "None", `may not be set to 'None' for ${spec.type} services`);
  }
  if (spec.type !== "ExternalName") return;
  for (const field of ["clusterIPs", "ipFamilies"]) {
    if (spec[field]?.length) {
      r.forbidden(SPEC.child(field), "may not be set for ExternalName services");
    }
  }
  if (isSet(spec.ipFamilyPolicy)) {
    r.forbidden(SPEC.child("ipFamilyPolicy"), "may not be set for ExternalName services");
  }
  const name = (spec.externalName ?? "").replace(/\.$/, "");
  if (name === "") r.required(SPEC.child("externalName"));
  else r.check(isDns1123Subdomain(name), SPEC.child("externalName"), name);
}

function validateAffinity(spec: Obj, r: Report): void {
  const { sessionAffinity: kind, sessionAffinityConfig: config } = spec;
  if (!kind) r.required(SPEC.child("sessionAffinity"));
  else if (kind !== "None" && kind !== "ClientIP") {
    r.notSupported(SPEC.child("sessionAffinity"), kind, ["ClientIP", "None"]);
  }
  const at = SPEC.child("sessionAffinityConfig");
  if (kind === "None" && isSet(config)) {
    r.forbidden(at, "must not be set when session affinity is None");
  }
  if (kind !== "ClientIP") return;
  const text = "when session affinity type is ClientIP";
  if (!isSet(config)) return r.required(at, text);
  if (!isSet(config.clientIP)) return r.required(at.child("clientIP"), text);
  const seconds = config.clientIP.timeoutSeconds;
  const secondsAt = at.child("clientIP", "timeoutSeconds");
  if (!isSet(seconds)) return r.required(secondsAt, text);
  if (seconds <= 0 || seconds > AFFINITY_SECONDS_MAX) {
    r.invalid(secondsAt, seconds, `must be greater than 0 and less than ${AFFINITY_SECONDS_MAX}`);
  }
}

function validateSourceRanges(service: Stored, spec: Obj, r: Report): void {
  const ranges: string[] = spec.loadBalancerSourceRanges ?? [];
  const annotation = service.metadata.annotations?.[RANGES_ANNOTATION];
  const balanced = spec.type === "LoadBalancer";
  if (ranges.length > 0) {
    const at = SPEC.child("LoadBalancerSourceRanges");
    if (!balanced) r.forbidden(at, FOR_BALANCERS);
    ranges.forEach((range, i) => r.add(checkCidrLegacy(`${at.index(i)}`, range.trim())));
  } else if (annotation !== undefined) {
    const at = METADATA.child("annotations").key(RANGES_ANNOTATION);
    if (!balanced) r.forbidden(at, FOR_BALANCERS);
    if (annotation.trim() === "") return;
    for (const range of annotation.trim().split(",")) r.add(checkCidrLegacy(`${at}`, range.trim()));
  }
}

function validateBalancer(spec: Obj, before: Obj, r: Report): void {
  const { allocateLoadBalancerNodePorts: allocate } = spec;
  const balanced = spec.type === "LoadBalancer";
  if (isSet(allocate) && !balanced) {
    r.forbidden(SPEC.child("allocateLoadBalancerNodePorts"), FOR_BALANCERS);
  }
  validateClass(spec, before, r);
}

function validateClass(spec: Obj, before: Obj, r: Report): void {
  const { type, loadBalancerClass: name } = spec;
  const at = SPEC.child("loadBalancerClass");
  const same = !before || (name ?? null) === (before.loadBalancerClass ?? null);
  if (type === "LoadBalancer" && before?.type === "LoadBalancer" && !same) {
    r.invalid(at, name ?? null, "may not change once set");
  }
  if (!isSet(name)) return;
  if (type === "LoadBalancer") r.check(isQualifiedName(name), at, name);
  else r.forbidden(at, FOR_BALANCERS);
}

function validateTraffic(spec: Obj, r: Report): void {
  const external = spec.externalTrafficPolicy;
  const externalAt = SPEC.child("externalTrafficPolicy");
  if (!isExternal(spec)) {
    if (external) {
      r.invalid(externalAt, external, "may only be set for externally-accessible services");
    }
  } else if (!external) r.required(externalAt);
  else if (!TRAFFIC_POLICIES.includes(external)) {
    r.notSupported(externalAt, external, TRAFFIC_POLICIES);
  }

  const port = spec.healthCheckNodePort ?? 0;
  const portAt = SPEC.child("healthCheckNodePort");
  if (spec.type === "LoadBalancer" && external === "Local") {
    // The port is given at commit where the client named none.
    if (port !== 0) r.check(isPortNumber(port), portAt, port);
  } else if (port !== 0) {
    const text =
      "may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'";
    r.invalid(portAt, port, text);
  }
  const internal = spec.internalTrafficPolicy;
  const internalAt = SPEC.child("internalTrafficPolicy");
  if (!isSet(internal)) {
    if (spec.type !== "ExternalName" && TYPES.includes(spec.type)) r.required(internalAt);
  } else if (!TRAFFIC_POLICIES.includes(internal)) {
    r.notSupported(internalAt, internal, TRAFFIC_POLICIES);
  }
  const distribution = spec.trafficDistribution;
  if (isSet(distribution) && !DISTRIBUTIONS.includes(distribution)) {
    r.notSupported(SPEC.child("trafficDistribution"), distribution, DISTRIBUTIONS, true);
  }
}

function validateObject(service: Stored, before: Obj, r: Report): void {
  const spec: Obj = service.spec ?? {};
  const annotations = service.metadata.annotations;
  const mode = annotations?.[MODE_ANNOTATION], hints = annotations?.[HINTS_ANNOTATION];
  if (mode !== undefined && hints !== undefined && mode !== hints) {
    const text = `must match annotations[${HINTS_ANNOTATION}] when both are specified`;
    r.invalid(METADATA.child("annotations").key(MODE_ANNOTATION), mode, text);
  }
  validateType(spec, r);
  validatePorts(spec, r);
  if (spec.selector) validateLabels(spec.selector, SPEC.child("selector"), r);
  validateAffinity(spec, r);
  validateClusterIps(spec, r);
  spec.externalIPs?.forEach((ip: string, i: number) => {
    const at = SPEC.child("externalIPs").index(i);
    if (validateIp(ip, at, r)) validateNonSpecialIp(ip, at, r);
  });
  if (!spec.type) r.required(SPEC.child("type"));
  else if (!TYPES.includes(spec.type)) r.notSupported(SPEC.child("type"), spec.type, TYPES);
  validateRepeatedPorts(spec, r);
  validateSourceRanges(service, spec, r);
  validateBalancer(spec, before, r);
  validateTraffic(spec, r);
}

/** Checks a new Service. */
export function validateService(service: Stored): Cause[] {
  const r = new Report();
  validateObject(service, undefined, r);
  return r.causes;
}

/** Checks a changed Service. */
export function validateServiceUpdate(
  service: Stored,
  old: Stored,
  context: KindContext,
): Cause[] {
  const r = new Report();
  const spec: Obj = service.spec ?? {}, before: Obj = old.spec ?? {};
  if (context.subresource === "status") {
    validateBalancerStatus(service.status?.loadBalancer ?? {}, spec, r);
    return r.causes;
  }
  validateIpChange(spec, before, r);
  validateFamilyChange(spec, before, r);
  validateClass(spec, before, r);
  if (spec.type === "LoadBalancer" && before.type === "LoadBalancer") {
    const local = spec.externalTrafficPolicy === "Local" &&
      before.externalTrafficPolicy === "Local";
    if (
      local && before.healthCheckNodePort && spec.healthCheckNodePort !== before.healthCheckNodePort
    ) {
      r.forbidden(SPEC.child("healthCheckNodePort"), "field is immutable");
    }
  }
  validateObject(service, before, r);
  return r.causes;
}

/** A second address may come and go; the first stays. */
function validateIpChange(spec: Obj, before: Obj, r: Report): void {
  if (spec.type === "ExternalName" || before.type === "ExternalName") return;
  if (isHeadless(spec) && isHeadless(before)) return;
  const now: string[] = spec.clusterIPs ?? [], then: string[] = before.clusterIPs ?? [];
  const shown = now.length ? now : null;
  if (then.length === now.length) {
    then.forEach((ip, i) => {
      if (ip !== now[i]) r.invalid(IPS.index(i), shown, "may not change once set");
    });
    return;
  }
  if (then.length > now.length && now.length === 0) {
    r.invalid(IPS.index(0), shown, "primary clusterIP can not be unset");
  }
  if (then.length > 0 && now.length > 0 && now[0] !== then[0]) {
    r.invalid(IPS.index(0), shown, "may not change once set");
  }
  if (then.length > now.length && now.length === 1 && spec.ipFamilyPolicy !== "SingleStack") {
    const text = "must be set to 'SingleStack' when releasing the secondary clusterIP";
    r.invalid(SPEC.child("ipFamilyPolicy"), spec.ipFamilyPolicy ?? null, text);
  }
}

function validateFamilyChange(spec: Obj, before: Obj, r: Report): void {
  if (spec.type === "ExternalName" || before.type === "ExternalName") return;
  if (isHeadless(spec) || isHeadless(before)) return;
  const now: string[] = spec.ipFamilies ?? [], then: string[] = before.ipFamilies ?? [];
  const at = SPEC.child("ipFamilies").index(0);
  if (then.length === now.length) {
    then.forEach((family, i) => {
      if (family !== now[i]) r.invalid(at, now, "may not change once set");
    });
    return;
  }
  if (then.length > 0 && now.length > 0 && now[0] !== then[0]) {
    r.invalid(at, spec.clusterIPs ?? null, "may not change once set");
  }
  if (then.length > now.length && now.length === 1 && spec.ipFamilyPolicy !== "SingleStack") {
    const text = "must be set to 'SingleStack' when releasing the secondary ipFamily";
    r.invalid(SPEC.child("ipFamilyPolicy"), spec.ipFamilyPolicy ?? null, text);
  }
}

/** Checks the addresses that a load balancer reports; also of Ingresses. */
export function validateBalancerStatus(status: Obj, spec: Obj, r: Report): void {
  const ingress: Obj[] = status.ingress ?? [];
  const list = STATUS.child("loadBalancer", "ingress");
  if (ingress.length > 0 && spec.type !== "LoadBalancer") {
    return r.forbidden(list, "may only be used when `spec.type` is 'LoadBalancer'");
  }
  ingress.forEach(({ ip, ipMode, hostname }, i) => {
    const at = list.index(i);
    if (ip) validateIp(ip, at.child("ip"), r);
    if (!isSet(ipMode)) {
      if (ip) r.required(at.child("ipMode"), "must be specified when `ip` is set");
    } else if (!ip) r.forbidden(at.child("ipMode"), "may not be specified when `ip` is not set");
    else if (ipMode !== "VIP" && ipMode !== "Proxy") {
      r.notSupported(at.child("ipMode"), ipMode, ["Proxy", "VIP"]);
    }
    if (hostname) validateBalancerHost(hostname, at.child("hostname"), r);
  });
}

/** Checks the host name that a load balancer reports. */
export function validateBalancerHost(hostname: string, path: Path, r: Report): void {
  r.check(isDns1123Subdomain(hostname), path, hostname);
  if (parseIp(hostname, { sloppy: true })) {
    r.invalid(path, hostname, "must be a DNS name, not an IP address");
  }
}
