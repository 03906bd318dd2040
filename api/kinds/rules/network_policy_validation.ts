/** Validation of NetworkPolicies (upstream's `pkg/apis/networking/validation`). */

import type { Cause, DeepReadonly, KubeObject } from "../../machinery/types.ts";
import { checkCidrLegacy, isPortName, isPortNumber } from "../../machinery/names.ts";
import { cidrContains, parseCidr } from "../../machinery/ip.ts";
import { checkLabelSelector } from "../../machinery/selectors.ts";
import { isSet, type Path, Report, SPEC } from "./report.ts";

// deno-lint-ignore no-explicit-any -- objects are decoded JSON; the schema walk has checked their types
type Obj = any;

function validatePort(port: Obj, path: Path, r: Report): void {
  const { protocol, port: value, endPort } = port;
  if (isSet(protocol) && !["TCP", "UDP", "SCTP"].includes(protocol)) {
    r.notSupported(path.child("protocol"), protocol, ["TCP", "UDP", "SCTP"], true);
  }
  if (!isSet(value)) {
    if (isSet(endPort)) {
      r.invalid(
        path.child("endPort"),
        endPort,
        "may not be specified when `port` is not specified",
      );
    }
    return;
  }
  if (typeof value === "string") {
    if (isSet(endPort)) {
      r.invalid(path.child("endPort"), endPort, "may not be specified when `port` is non-numeric");
    }
    r.check(isPortName(value), path.child("port"), value);
    return;
  }
  r.check(isPortNumber(value), path.child("port"), value);
  if (!isSet(endPort)) return;
  if (endPort < value) {
    // Upstream shows the port here
    r.invalid(path.child("endPort"), value, "must be greater than or equal to `port`");
  }
  r.check(isPortNumber(endPort), path.child("endPort"), endPort);
}

function validateBlock(block: Obj, path: Path, r: Report): void {
  const { cidr = "", except = [] } = block;
  if (cidr === "") return r.required(path.child("cidr"));
  const causes = checkCidrLegacy(`${path.child("cidr")}`, cidr);
  r.add(causes);
  if (causes.length > 0) return;
  const outer = parseCidr(cidr, { sloppy: true })!;
  except.forEach((text: string, i: number) => {
    const at = path.child("except").index(i);
    const problems = checkCidrLegacy(`${at}`, text);
    r.add(problems);
    if (problems.length > 0) return;
    const inner = parseCidr(text, { sloppy: true })!;
    if (!cidrContains(outer, inner.ip) || inner.bits <= outer.bits) {
      r.invalid(at, text, "must be a strict subset of `cidr`");
    }
  });
}

function validatePeer(peer: Obj, path: Path, r: Report): void {
  let found = 0;
  for (const field of ["podSelector", "namespaceSelector"]) {
    if (!isSet(peer[field])) continue;
    found++;
    r.add(checkLabelSelector(`${path.child(field)}`, peer[field]));
  }
  if (isSet(peer.ipBlock)) {
    validateBlock(peer.ipBlock, path.child("ipBlock"), r);
    if (found > 0) r.forbidden(path, "may not specify both ipBlock and another peer");
    found++;
  }
  if (found === 0) r.required(path, "must specify a peer");
}

/** Checks a NetworkPolicy, new or changed. */
export function validateNetworkPolicy(policy: DeepReadonly<KubeObject>): Cause[] {
  const r = new Report();
  const spec: Obj = policy.spec ?? {};
  r.add(checkLabelSelector(`${SPEC.child("podSelector")}`, spec.podSelector));
  for (const [list, peers] of [["ingress", "from"], ["egress", "to"]]) {
    spec[list]?.forEach((rule: Obj, i: number) => {
      const at = SPEC.child(list).index(i);
      rule.ports?.forEach((port: Obj, j: number) =>
        validatePort(port, at.child("ports").index(j), r)
      );
      rule[peers]?.forEach((peer: Obj, j: number) =>
        validatePeer(peer, at.child(peers).index(j), r)
      );
    });
  }
  const types: string[] = spec.policyTypes ?? [];
  const at = SPEC.child("policyTypes");
  if (types.length > 2) {
    r.invalid(at, types, "may not specify more than two policyTypes");
    return r.causes;
  }
  types.forEach((type, i) => {
    if (type !== "Ingress" && type !== "Egress") {
      r.notSupported(at.index(i), type, ["Ingress", "Egress"], true);
    }
  });
  return r.causes;
}
