/**
 * Validation of a pod's status, which kubelets write (upstream's `ValidatePodStatusUpdate`): addresses,
 * conditions, and that a container that ended for good does not come back.
 */

import type { DeepReadonly, KubeObject } from "../../machinery/types.ts";
import {
  checkIpLegacy,
  isDns1123Label,
  isGroupId,
  isQualifiedName,
  isUserId,
  nameIsDnsSubdomain,
} from "../../machinery/names.ts";
import { isSet, type Path, type Report, STATUS } from "./report.ts";

// deno-lint-ignore no-explicit-any -- objects are decoded JSON; the schema walk has checked their types
type Obj = any;
type Stored = DeepReadonly<KubeObject>;

const SYSTEM_CONDITIONS = new Set(["PodScheduled", "Ready", "Initialized"]);
const LISTS = ["containerStatuses", "initContainerStatuses", "ephemeralContainerStatuses"] as const;

/** Checks the status of a pod against the stored one. */
export function validatePodStatus(pod: Stored, old: Stored, r: Report): void {
  const status: Obj = pod.status ?? {}, before: Obj = old.status ?? {}, spec: Obj = pod.spec ?? {};
  status.conditions?.forEach((condition: Obj, i: number) => {
    const { type = "", observedGeneration: generation = 0 } = condition;
    const at = STATUS.child("conditions").index(i);
    if (generation < 0) {
      r.invalid(at.child("observedGeneration"), generation, "must be a non-negative integer");
    }
    if (SYSTEM_CONDITIONS.has(type)) return;
    r.check(isQualifiedName(type), at.child("Type"), type);
  });
  const nominated = status.nominatedNodeName;
  if (nominated && nominated !== before.nominatedNodeName) {
    const at = STATUS.child("nominatedNodeName");
    r.check(nameIsDnsSubdomain(nominated, false), at, nominated);
    if (old.spec?.nodeName) {
      r.forbidden(at, "may not be set on pods that are already bound to a node");
    }
  }
  if (nominated && nominated !== before.nominatedNodeName && old.spec?.nodeName) {
    const text = "may not be set on pods that are already bound to a node";
    r.forbidden(STATUS.child("nominatedNodeName"), text);
  }
  if (status.observedGeneration < 0) {
    const text = "must be a non-negative integer";
    r.invalid(STATUS.child("observedGeneration"), status.observedGeneration, text);
  }
  if ((status.qosClass ?? "") !== (before.qosClass ?? "")) {
    r.invalid(STATUS.child("qosClass"), status.qosClass ?? "", "field is immutable");
  }
  validateTransitions(status, before, old.spec ?? {}, r);
  validateClaimStatuses(status.resourceClaimStatuses ?? [], spec.resourceClaims ?? [], r);
  validateExtendedClaim(status.extendedResourceClaimStatus, spec, r);
  validateAddresses(status, r);
  for (const list of LISTS) validateContainerStatuses(status[list] ?? [], list, spec, r);
}

function mayRestart(spec: Obj, name: string, terminated: Obj, list: string): boolean {
  if (list === "ephemeralContainerStatuses") return false;
  if (spec.restartPolicy === "Always") return true;
  if (terminated.exitCode && spec.restartPolicy === "OnFailure") return true;
  const containers: Obj[] =
    (list === "containerStatuses" ? spec.containers : spec.initContainers) ?? [];
  const container = containers.find((c) => c.name === name);
  // A container with a restart policy or rules of its own decides for itself.
  return isSet(container?.restartPolicy) && container.restartPolicy !== "Never" ||
    container?.restartPolicyRules?.length > 0 ||
    [...spec.containers ?? [], ...spec.initContainers ?? []].some((c: Obj) =>
      c.restartPolicyRules?.some((rule: Obj) => rule.action === "RestartAllContainers")
    );
}

function validateTransitions(status: Obj, before: Obj, spec: Obj, r: Report): void {
  for (const list of LISTS) {
    const now: Obj[] = status[list] ?? [];
    before[list]?.forEach((old: Obj, i: number) => {
      const terminated = old.state?.terminated;
      if (!terminated || mayRestart(spec, old.name, terminated, list)) return;
      for (const next of now) {
        if (next.name !== old.name || next.state?.terminated) continue;
        const at = STATUS.child(list).index(i).child("state");
        r.forbidden(at, "may not be transitioned to non-terminated state");
      }
    });
  }
}

function validateClaimStatuses(statuses: Obj[], claims: Obj[], r: Report): void {
  const seen = new Set<string>();
  statuses.forEach(({ name = "", resourceClaimName }, i) => {
    const at = STATUS.child("resourceClaimStatuses").index(i).child("name");
    if (!claims.some((claim) => claim.name === name)) {
      r.invalid(at, name, "must match the name of an entry in `spec.resourceClaims`");
    }
    if (seen.has(name)) r.duplicate(at, name);
    seen.add(name);
    if (isSet(resourceClaimName)) {
      const claimAt = STATUS.child("resourceClaimStatuses").index(i).child("resourceClaimName");
      r.check(nameIsDnsSubdomain(resourceClaimName, false), claimAt, resourceClaimName);
    }
  });
}

/** The claim that the scheduler made for extended resources names containers and what they ask for. */
function validateExtendedClaim(claim: Obj, spec: Obj, r: Report): void {
  if (!isSet(claim)) return;
  const path = STATUS.child("extendedResourceClaimStatus");
  const mappings: Obj[] = claim.requestMappings ?? [];
  const list = path.child("requestMappings");
  if (mappings.length === 0) r.required(list, "at least one request mapping is required");
  const containers: Obj[] = [...spec.initContainers ?? [], ...spec.containers ?? []];
  const seen = new Set<string>();
  mappings.forEach(({ containerName = "", resourceName = "", requestName = "" }, i) => {
    const at = list.index(i);
    const container = containers.findLast(({ name }) => name === containerName);
    if (!container) {
      const text =
        "must match the name of an entry in spec.initContainers.name or spec.containers.name";
      r.invalid(at.child("containerName"), containerName, text);
    } else if (container.resources?.requests?.[resourceName] === undefined) {
      const text = "must match the extended resource name of an entry in " +
        "spec.initContainers.resources.requests or spec.containers.resources.requests";
      r.invalid(at.child("resourceName"), resourceName, text);
    }
    r.check(isDns1123Label(requestName), path.child("requestName"), requestName);
    const key = JSON.stringify([containerName, resourceName, requestName]);
    if (seen.has(key)) {
      r.duplicate(at.child("containerName"), containerName);
      r.duplicate(at.child("resourceName"), resourceName);
      r.duplicate(at.child("requestName"), requestName);
    }
    seen.add(key);
  });
  const name = claim.resourceClaimName ?? "";
  const nameAt = path.child("resourceClaimName");
  if (name === "") r.required(nameAt);
  else r.check(nameIsDnsSubdomain(name, false), nameAt, name);
}

function validateAddresses(status: Obj, r: Report): void {
  const { podIPs = [], hostIPs = [] } = status;
  validateIpList(podIPs, STATUS.child("podIPs"), r);
  if (hostIPs.length === 0) return;
  const at = STATUS.child("hostIPs");
  if ((status.hostIP ?? "") !== hostIPs[0].ip) {
    r.invalid(at.index(0).child("ip"), hostIPs[0].ip, "must be equal to `hostIP`");
  }
  validateIpList(hostIPs, at, r);
}

/** At most one address of each family. */
function validateIpList(list: Obj[], path: Path, r: Report): void {
  const before = r.causes.length;
  list.forEach(({ ip = "" }, i) => r.add(checkIpLegacy(`${path.index(i)}`, ip)));
  if (list.length < 2 || r.causes.length > before) return;
  const six = list.filter(({ ip }) => ip.includes(":")).length;
  if (list.length > 2 || six !== 1) {
    r.invalid(path, list, "may specify no more than one IP for each IP family");
  }
  const seen = new Set<string>();
  list.forEach((entry, i) => {
    if (seen.has(entry.ip)) r.duplicate(path.index(i), entry);
    seen.add(entry.ip);
  });
}

const HEALTH = ["Healthy", "Unhealthy", "Unknown"];

function validateContainerStatuses(statuses: Obj[], list: string, spec: Obj, r: Report): void {
  statuses.forEach((status, i) => {
    const at = STATUS.child(list).index(i);
    const linux = status.user?.linux;
    if (isSet(linux)) {
      if (spec.os?.name === "windows") {
        r.forbidden(at.child("user", "linux"), "cannot be set for a windows pod");
      } else validateUser(linux, at.child("linux"), r);
    }
    const allocated: Obj[] = status.allocatedResourcesStatus ?? [];
    if (allocated.length === 0) return;
    const allocatedAt = at.child("allocatedResourcesStatus");
    if (list === "ephemeralContainerStatuses") {
      return r.forbidden(allocatedAt, "must not be specified in container status");
    }
    const containers: Obj[] =
      (list === "containerStatuses" ? spec.containers : spec.initContainers) ?? [];
    const container = containers.find((c) => c.name === status.name);
    allocated.forEach((entry, j) => validateAllocated(entry, container, allocatedAt.index(j), r));
  });
}

function validateUser(user: Obj, path: Path, r: Report): void {
  r.check(isUserId(user.uid ?? 0), path.child("uid"), user.uid ?? 0);
  r.check(isGroupId(user.gid ?? 0), path.child("gid"), user.gid ?? 0);
  user.supplementalGroups?.forEach((id: number, i: number) => {
    r.check(isGroupId(id), path.child("supplementalGroups").index(i), id);
  });
}

function validateAllocated(entry: Obj, container: Obj, path: Path, r: Report): void {
  const { name = "", resources = [] } = entry;
  if (container) {
    const claims: Obj[] = container.resources?.claims ?? [];
    const isClaim = name.startsWith("claim:");
    const found = isClaim
      ? claims.some((c) =>
        name === (c.request ? `claim:${c.name}/${c.request}` : `claim:${c.name}`)
      )
      : container.resources?.requests?.[name] !== undefined;
    if (!found) {
      const text = isClaim
        ? "must match one of the container's resource claims in a format " +
          "'claim:<claimName>/<request>' or 'claim:<claimName>' if request is empty"
        : "must match one of the container's resource requests";
      r.invalid(path.child("name"), name, text);
    }
  }
  const seen = new Set<string>();
  resources.forEach(({ health = "", resourceID = "" }: Obj, k: number) => {
    const at = path.child("resources").index(k);
    if (!HEALTH.includes(health)) r.notSupported(at.child("health"), health, HEALTH);
    if (seen.has(resourceID)) r.duplicate(at.child("resourceID"), resourceID);
    seen.add(resourceID);
  });
}
