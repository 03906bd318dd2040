/**
 * Validation of a pod's spec, in pods and in templates (upstream's `ValidatePodSpec` and
 * `ValidatePodTemplateSpec`). The order of checks is upstream's, and with it the order of errors.
 */

import { internalValue } from "./internal_value.ts";
import type { Cause } from "../../machinery/types.ts";
import {
  checkIpLegacy,
  isDns1123Label,
  isDns1123Subdomain,
  isDns1123SubdomainWithUnderscore,
  isQualifiedName,
  nameIsDnsSubdomain,
  rangeText,
} from "../../machinery/names.ts";
import { tryParseQuantity } from "../../machinery/quantity.ts";
import { validateAnnotations, validateLabels } from "./meta.ts";
import {
  validateAffinity,
  validateGates,
  validateSpread,
  validateTolerations,
} from "./pod_affinity.ts";
import {
  type PodParts,
  validateContainers,
  validateEphemeralContainers,
  validateInitContainers,
} from "./pod_containers.ts";
import { type PodOptions, TEMPLATE } from "./pod_options.ts";
import { aggregate } from "./pod_resources.ts";
import {
  validateHostProcess,
  validateOs,
  validatePodSecurity,
  validateProfileAnnotations,
  validateProfilesMatch,
} from "./pod_security.ts";
import { validateFileKeyVolumes } from "./pod_env.ts";
import { validateVolumes } from "./pod_volumes.ts";
import { validateResources } from "./quantity_validation.ts";
import { isHugePages } from "./resource_names.ts";
import { isSet, type Path, Report } from "./report.ts";

// deno-lint-ignore no-explicit-any -- objects are decoded JSON; the schema walk has checked their types
type Obj = any;

const INT32_MAX = 2147483647;
const NO_CLAIMS: ReadonlySet<string> = new Set();
const NAMESERVERS_MAX = 3;
const SEARCHES_MAX = 32;
const SEARCH_CHARACTERS_MAX = 2048;

const RESTART_POLICIES = ["Always", "OnFailure", "Never"];
const DNS_POLICIES = ["ClusterFirstWithHostNet", "ClusterFirst", "Default", "None"];
const PREEMPTION_POLICIES = ["PreemptLowerPriority", "Never"];

function validateEnum(
  value: Obj,
  values: readonly string[],
  path: Path,
  name: string,
  r: Report,
): void {
  if (values.includes(value)) return;
  if (!value) r.required(path.child(name));
  else r.notSupported(path.child(name), value, values, true);
}

/** Checks a pod's spec. */
export function validatePodSpec(spec: Obj, path: Path, r: Report, options: PodOptions): void {
  if (!isSet(spec.terminationGracePeriodSeconds)) {
    r.required(path.child("terminationGracePeriodSeconds"));
  }
  const volumes = validateVolumes(spec.volumes, path.child("volumes"), r, options);
  const claims = spec.resourceClaims?.length
    ? validatePodClaims(spec.resourceClaims, path.child("resourceClaims"), r)
    : NO_CLAIMS;
  const grace = spec.terminationGracePeriodSeconds ?? undefined;
  const pod: PodParts = { spec, volumes, claims, grace, options };
  validateContainers(path.child("containers"), r, pod);
  validateInitContainers(path.child("initContainers"), r, pod);
  validateEphemeralContainers(path.child("ephemeralContainers"), r, pod);
  if (isSet(spec.resources)) validatePodResources(spec, path.child("resources"), r, claims);
  if (spec.hostNetwork) validateHostPorts(spec, path, r, options);
  validateEnum(spec.restartPolicy, RESTART_POLICIES, path, "restartPolicy", r);
  validateEnum(spec.dnsPolicy, DNS_POLICIES, path, "dnsPolicy", r);
  if (spec.nodeSelector) validateLabels(spec.nodeSelector, path.child("nodeSelector"), r);
  if (spec.securityContext) {
    validatePodSecurity(spec.securityContext, spec, path.child("securityContext"), r);
  }
  if (spec.affinity) validateAffinity(spec.affinity, path.child("affinity"), r, options);
  validateDns(spec, path.child("dnsConfig"), r);
  validateScheduling(spec, path, r);
  validateHostProcess(spec, path, r);
  validateHostUsers(spec, path, r);
  validateNames(spec, path, r);
  validateRest(spec, path, r);
  if (isSet(spec.os)) validateOs(spec, path, r);
  validateFileKeyVolumes(spec, path, r);
}

function validateScheduling(spec: Obj, path: Path, r: Report): void {
  spec.readinessGates?.forEach(({ conditionType = "" }: Obj, i: number) => {
    const at = path.child("readinessGates").index(i).child("conditionType");
    r.check(isQualifiedName(conditionType), at, conditionType);
  });
  if (spec.schedulingGates?.length) {
    validateGates(spec.schedulingGates, path.child("schedulingGates"), r);
  }
  if (spec.topologySpreadConstraints?.length) {
    validateSpread(spec.topologySpreadConstraints, path.child("topologySpreadConstraints"), r);
  }
}

/** User namespaces do not go with the host's other namespaces. */
function validateHostUsers(spec: Obj, path: Path, r: Report): void {
  if (spec.hostUsers !== false) return;
  const text = "when `hostUsers` is false";
  if (spec.hostNetwork) r.forbidden(path.child("hostNetwork"), text);
  if (spec.hostPID) r.forbidden(path.child("HostPID"), text);
  if (spec.hostIPC) r.forbidden(path.child("HostIPC"), text);
  for (const list of ["initContainers", "containers", "ephemeralContainers"]) {
    spec[list]?.forEach((container: Obj, i: number) => {
      if (!container.volumeDevices?.length) return;
      r.forbidden(path.child(list).index(i).child("volumeDevices"), text);
    });
  }
}

const HOSTNAME_LENGTH_MAX = 64;

function validateNames(spec: Obj, path: Path, r: Report): void {
  const { serviceAccountName, nodeName, activeDeadlineSeconds: deadline, hostname, subdomain } =
    spec;
  if (serviceAccountName) {
    const messages = nameIsDnsSubdomain(serviceAccountName, false);
    if (messages.length) r.check(messages, path.child("serviceAccountName"), serviceAccountName);
  }
  if (nodeName) {
    const messages = nameIsDnsSubdomain(nodeName, false);
    if (messages.length) r.check(messages, path.child("nodeName"), nodeName);
  }
  if (isSet(deadline) && (deadline < 1 || deadline > INT32_MAX)) {
    r.invalid(path.child("activeDeadlineSeconds"), deadline, rangeText(1, INT32_MAX));
  }
  if (hostname) r.check(isDns1123Label(hostname), path.child("hostname"), hostname);
  if (subdomain) r.check(isDns1123Label(subdomain), path.child("subdomain"), subdomain);
  const override = spec.hostnameOverride;
  if (!isSet(override)) return;
  const at = path.child("hostnameOverride");
  if (spec.setHostnameAsFQDN === true) {
    r.forbidden(at, "may not be specified when setHostnameAsFQDN is true");
  }
  if (spec.hostNetwork) r.forbidden(at, "may not be specified when hostNetwork is true");
  if (override.length > HOSTNAME_LENGTH_MAX) r.tooLong(at, HOSTNAME_LENGTH_MAX);
  r.check(isDns1123Subdomain(override), at, override);
}

function validateRest(spec: Obj, path: Path, r: Report): void {
  if (spec.tolerations?.length) validateTolerations(spec.tolerations, path.child("tolerations"), r);
  spec.hostAliases?.forEach(({ ip = "", hostnames = [] }: Obj, i: number) => {
    const at = path.child("hostAliases").index(i);
    r.add(checkIpLegacy(`${at.child("ip")}`, ip));
    hostnames.forEach((name: string, j: number) => {
      r.check(isDns1123Subdomain(name), at.child("hostnames").index(j), name);
    });
  });
  for (const field of ["priorityClassName", "runtimeClassName"]) {
    const name = spec[field];
    if (!isSet(name) || (name === "" && field === "priorityClassName")) continue;
    r.check(nameIsDnsSubdomain(name, false), path.child(field), name);
  }
  if (isSet(spec.preemptionPolicy)) {
    validateEnum(spec.preemptionPolicy, PREEMPTION_POLICIES, path, "preemptionPolicy", r);
  }
  if (isSet(spec.overhead)) {
    validateResources({ limits: spec.overhead }, path.child("overhead"), r, NO_CLAIMS);
  }
}

/** With the host's network a port is the host's; templates may leave that open. */
function validateHostPorts(spec: Obj, path: Path, r: Report, options: PodOptions): void {
  spec.containers?.forEach((container: Obj, i: number) => {
    container.ports?.forEach(({ hostPort = 0, containerPort = 0 }: Obj, j: number) => {
      if ((!options.isPod && hostPort === 0) || hostPort === containerPort) return;
      const at = path.child("containers").index(i).child("ports").index(j).child("hostPort");
      r.invalid(at, hostPort, "must match `containerPort` when `hostNetwork` is true");
    });
  });
}

function validateDns(spec: Obj, path: Path, r: Report): void {
  const config = spec.dnsConfig;
  if (spec.dnsPolicy === "None") {
    if (!isSet(config)) {
      return r.required(path, "must provide `dnsConfig` when `dnsPolicy` is None");
    }
    if (!config.nameservers?.length) {
      const text = "must provide at least one DNS nameserver when `dnsPolicy` is None";
      return r.required(path.child("nameservers"), text);
    }
  }
  if (!isSet(config)) return;
  const nameservers: string[] = config.nameservers ?? [],
    searches: string[] = config.searches ?? [];
  const serversAt = path.child("nameservers"), searchesAt = path.child("searches");
  if (nameservers.length > NAMESERVERS_MAX) {
    r.invalid(serversAt, nameservers, `must not have more than ${NAMESERVERS_MAX} nameservers`);
  }
  nameservers.forEach((ip, i) => r.add(checkIpLegacy(`${serversAt.index(i)}`, ip)));
  if (searches.length > SEARCHES_MAX) {
    r.invalid(searchesAt, searches, `must not have more than ${SEARCHES_MAX} search paths`);
  }
  if (searches.join(" ").length > SEARCH_CHARACTERS_MAX) {
    const text = `must not have more than ${SEARCH_CHARACTERS_MAX} characters (including spaces)`;
    r.invalid(searchesAt, searches, `${text} in the search list`);
  }
  searches.forEach((search, i) => {
    if (search === ".") return;
    const name = search.endsWith(".") ? search.slice(0, -1) : search;
    r.check(isDns1123SubdomainWithUnderscore(name), searchesAt.index(i), name);
  });
  config.options?.forEach(({ name }: Obj, i: number) => {
    if (!name) r.required(path.child("options").index(i), "must not be empty");
  });
}

function validatePodClaims(claims: Obj[], path: Path, r: Report): ReadonlySet<string> {
  const names = new Set<string>();
  claims.forEach((claim, i) => {
    const { name, resourceClaimName, resourceClaimTemplateName } = claim;
    const at = path.index(i);
    if (!name) r.required(at.child("name"));
    else if (names.has(name)) r.duplicate(at.child("name"), name);
    else {
      r.check(isDns1123Label(name), at.child("name"), name);
      names.add(name);
    }
    const byName = isSet(resourceClaimName), byTemplate = isSet(resourceClaimTemplateName);
    if (byName && byTemplate) {
      const text =
        "at most one of `resourceClaimName` or `resourceClaimTemplateName` may be specified";
      r.invalid(at, internalValue("PodResourceClaim", claim), text);
    }
    if (!byName && !byTemplate) {
      const text = "must specify one of: `resourceClaimName`, `resourceClaimTemplateName`";
      r.invalid(at, internalValue("PodResourceClaim", claim), text);
    }
    for (const field of ["resourceClaimName", "resourceClaimTemplateName"]) {
      if (isSet(claim[field])) {
        r.check(nameIsDnsSubdomain(claim[field], false), at.child(field), claim[field]);
      }
    }
  });
  return names;
}

/** Resources of the pod as a whole: not less than its containers ask for together. */
function validatePodResources(
  spec: Obj,
  path: Path,
  r: Report,
  claims: ReadonlySet<string>,
): void {
  const resources = spec.resources;
  if (spec.os?.name === "windows") return r.forbidden(path, "may not be set for a windows pod");
  if (resources.claims?.length) {
    r.forbidden(path.child("claims"), "claims may not be set for Resources at pod-level");
  }
  validateResources(resources, path, r, claims, true);
  for (const side of ["requests", "limits"] as const) {
    for (const [name, sum] of aggregate(spec, side)) {
      if (side === "limits" && !isHugePages(name)) continue;
      const own = tryParseQuantity(resources[side]?.[name]);
      if (!own || sum.compare(own) <= 0) continue;
      const text = `must be greater than or equal to aggregate container ${side} of ${sum}`;
      r.invalid(path.child(side).key(name), own.toString(), text);
    }
  }
  spec.containers?.forEach((container: Obj, i: number) => {
    const limits = container.resources?.limits ?? {};
    for (const name in limits) {
      const limit = tryParseQuantity(limits[name]);
      const own = tryParseQuantity(resources.limits?.[name]);
      if (!limit || !own || limit.compare(own) <= 0) continue;
      const at = path.child("containers").index(i).key(name).child("limits");
      r.invalid(at, limit.toString(), `must be less than or equal to pod limits of ${own}`);
    }
  });
}

/** Checks annotations that mean something to pods. */
export function validatePodAnnotations(
  annotations: Readonly<Record<string, string>>,
  spec: Obj,
  path: Path,
  r: Report,
): void {
  const mirror = annotations["kubernetes.io/config.mirror"];
  if (mirror !== undefined && !spec.nodeName) {
    const text = "must set spec.nodeName if mirror pod annotation is set";
    r.invalid(path.key("kubernetes.io/config.mirror"), mirror, text);
  }
  const cost = annotations["controller.kubernetes.io/pod-deletion-cost"];
  if (cost !== undefined && !isInt32(cost)) {
    const at = path.key("controller.kubernetes.io/pod-deletion-cost");
    r.invalid(at, cost, "must be a 32bit integer");
  }
  validateProfileAnnotations(annotations, spec, path, r);
}

/** As upstream reads a deletion cost: no plus sign, no leading zero. */
function isInt32(text: string): boolean {
  if (!/^(0|-?[1-9][0-9]{0,9})$/.test(text)) return false;
  const value = Number(text);
  return value >= -INT32_MAX - 1 && value <= INT32_MAX;
}

const NO_ANNOTATIONS: Readonly<Record<string, string>> = {};

/** Checks a PodTemplateSpec. */
export function validateTemplate(template: Obj, path: Path, r: Report): void {
  const { labels, annotations = NO_ANNOTATIONS } = template.metadata ?? {};
  const spec = template.spec ?? {};
  validateLabels(labels, path.child("labels"), r);
  validateAnnotations(annotations, path.child("annotations"), r);
  validatePodAnnotations(annotations, spec, path.child("annotations"), r);
  validatePodSpec(spec, path.child("spec"), r, TEMPLATE);
  validateProfilesMatch(annotations, spec, path.child("spec"), r);
  if (spec.ephemeralContainers?.length) {
    const text = "ephemeral containers not allowed in pod template";
    r.forbidden(path.child("spec", "ephemeralContainers"), text);
  }
}

/** The causes of a PodTemplateSpec. */
export function validatePodTemplate(template: Obj, path: Path): Cause[] {
  const r = new Report();
  validateTemplate(template, path, r);
  return r.causes;
}
