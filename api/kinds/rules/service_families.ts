/**
 * The address families of Services: which a Service gets where its writer left that open, and whether what was
 * written fits together and this cluster (upstream's `initIPFamilyFields`).
 */

import type { Cause, IpFamily } from "../../machinery/types.ts";
import { validateIp } from "./ip_validation.ts";
import { semanticEqual } from "./equality.ts";
import { isSet, Report, SPEC } from "./report.ts";

// deno-lint-ignore no-explicit-any -- objects are decoded JSON; the schema walk has checked their types
type Obj = any;

const FAMILIES = ["IPv4", "IPv6"];
const FAMILY_POLICIES = ["PreferDualStack", "RequireDualStack", "SingleStack"];
const IPS = SPEC.child("clusterIPs");
const FAMILIES_AT = SPEC.child("ipFamilies");
const POLICY_AT = SPEC.child("ipFamilyPolicy");

function isHeadless(spec: Obj): boolean {
  return spec.clusterIPs?.length === 1 && spec.clusterIPs[0] === "None";
}

/** clusterIP, clusterIPs, ipFamilies and ipFamilyPolicy must fit each other. */
export function validateClusterIps(spec: Obj, r: Report): void {
  if (spec.type === "ExternalName") return;
  const ips: string[] = spec.clusterIPs ?? [], families: string[] = spec.ipFamilies ?? [];
  if (spec.clusterIP) {
    if (ips.length === 0) r.required(IPS);
    else if (ips[0] !== spec.clusterIP) r.invalid(IPS, ips, "first value must match `clusterIP`");
  } else if (ips.length > 0) {
    r.invalid(IPS, ips, "must be empty when `clusterIP` is not specified");
  }
  const familiesAt = SPEC.child("ipFamilies");
  families.forEach((family, i) => {
    if (!FAMILIES.includes(family)) r.notSupported(familiesAt.index(i), family, FAMILIES);
    if (families.indexOf(family) < i) r.duplicate(familiesAt.index(i), family);
  });
  if (isSet(spec.ipFamilyPolicy) && !FAMILY_POLICIES.includes(spec.ipFamilyPolicy)) {
    r.notSupported(SPEC.child("ipFamilyPolicy"), spec.ipFamilyPolicy, FAMILY_POLICIES);
  }
  let bad = false;
  ips.forEach((ip, i) => {
    if (i > 0 || ip !== "None") {
      if (!validateIp(ip, IPS.index(i), r)) bad = true;
    } else if (ips.length > 1) {
      bad = true;
      r.invalid(IPS, ips, "'None' must be the first and only value");
    }
  });
  if (ips.length > 2) r.invalid(IPS, ips, "may only hold up to 2 values");
  if (bad) return;
  const six = ips.filter((ip) => ip.includes(":")).length;
  if (ips.length > 1 && (six === 0 || six === ips.length)) {
    r.invalid(IPS, ips, "may specify no more than one IP for each IP family");
  }
  if (isHeadless(spec)) return;
  ips.forEach((ip, i) => {
    const family = families[i];
    if (family === undefined || (family === "IPv6") === ip.includes(":")) return;
    r.invalid(IPS.index(i), ip, `expected an ${family} value as indicated by \`ipFamilies[${i}]\``);
  });
}

/** Fills policy and families of a spec where a cluster serves some; returns what stands in the way. */
export function chooseFamilies(
  spec: Obj,
  before?: Obj,
  served: readonly string[] = ["IPv4"],
): Cause[] {
  const r = new Report();
  if (spec.type === "ExternalName" || keepsBoth(spec, before)) return r.causes;
  const open = spec.clusterIP === "None" && isEmptyMap(spec.selector);
  spec.ipFamilyPolicy ??= before?.ipFamilyPolicy ?? (open ? "RequireDualStack" : "SingleStack");
  validateClusterIps(spec, r);
  if (r.causes.length > 0) return r.causes;
  if (before) release(spec, before, r);
  const chosen = familiesOf(spec, r, served);
  if (r.causes.length > 0) return r.causes;
  if (open) {
    // Whoever writes the endpoints of such a service may use any family
    const first = chosen[0] ?? served[0];
    if (chosen.length === 0) chosen.push(first);
    if (chosen.length < 2 && spec.ipFamilyPolicy !== "SingleStack") chosen.push(other(first));
    spec.ipFamilies = chosen;
    return r.causes;
  }
  if (spec.ipFamilyPolicy === "RequireDualStack" && served.length < 2) {
    const text = "this cluster is not configured for dual-stack services";
    r.invalid(POLICY_AT, spec.ipFamilyPolicy, text);
  }
  chosen.forEach((family, i) => {
    if (served.includes(family)) return;
    r.invalid(FAMILIES_AT.index(i), family, "not configured on this cluster");
  });
  if (r.causes.length > 0) return r.causes;
  if (chosen.length === 0) chosen.push(served[0]);
  const two = spec.ipFamilyPolicy !== "SingleStack" && served.length > 1;
  if (two && chosen.length === 1) chosen.push(other(chosen[0]));
  spec.ipFamilies = chosen;
  return r.causes;
}

/** The family of an address, or of a range. */
export function familyOf(text: string): IpFamily {
  return text.includes(":") ? "IPv6" : "IPv4";
}

const other = (family: string) => family === "IPv4" ? "IPv6" : "IPv4";

/** Services that would like two families, and say nothing new of addresses, stay as they are. */
function keepsBoth(spec: Obj, before: Obj): boolean {
  return before !== undefined && spec.type === before.type &&
    spec.ipFamilyPolicy === "PreferDualStack" &&
    (before.ipFamilyPolicy ?? "PreferDualStack") === "PreferDualStack" &&
    semanticEqual(spec.clusterIPs, before.clusterIPs) &&
    semanticEqual(spec.ipFamilies, before.ipFamilies);
}

/** Saying that one family is enough gives the second address back; leaving it out does not. */
function release(spec: Obj, before: Obj, r: Report): void {
  for (const [field, what] of [["clusterIPs", "cluster IP"], ["ipFamilies", "IP family"]]) {
    const now: string[] = spec[field] ?? [], then: string[] = before[field] ?? [];
    if (spec.ipFamilyPolicy !== "SingleStack") {
      if (now.length === 0 || now.length >= then.length) continue;
      r.invalid(
        POLICY_AT,
        spec.ipFamilyPolicy,
        `must be 'SingleStack' to release the secondary ${what}`,
      );
    } else if (now.length > 1 && semanticEqual(now, then)) spec[field] = now.slice(0, 1);
  }
}

/** The families that were named, and those that follow from addresses. */
function familiesOf(spec: Obj, r: Report, served: readonly string[]): string[] {
  const ips: string[] = spec.clusterIPs ?? [], chosen: string[] = [...spec.ipFamilies ?? []];
  if (spec.ipFamilyPolicy === "SingleStack") {
    const text = "must be 'RequireDualStack' or 'PreferDualStack' when multiple";
    if (ips.length === 2) {
      r.invalid(POLICY_AT, spec.ipFamilyPolicy, `${text} cluster IPs are specified`);
    }
    if (chosen.length === 2) {
      r.invalid(POLICY_AT, spec.ipFamilyPolicy, `${text} IP families are specified`);
    }
  }
  if (ips[0] === "None") return chosen;
  ips.forEach((ip, i) => {
    if (i < chosen.length) return;
    const family = familyOf(ip);
    if (served.includes(family)) chosen.push(family);
    else r.invalid(IPS.index(i), ips, `${family} is not configured on this cluster`);
  });
  return chosen;
}

function isEmptyMap(map: Obj): boolean {
  for (const _ in map ?? {}) return false;
  return true;
}
