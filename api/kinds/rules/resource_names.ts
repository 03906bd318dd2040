/**
 * What a resource name means: native, extended, huge pages, counted by quota (upstream's
 * `pkg/apis/core/helper/helpers.go`).
 */

import { isQualifiedName } from "../../machinery/names.ts";

const NATIVE_DOMAIN = "kubernetes.io/";
const HUGE_PAGES = "hugepages-";
const REQUESTS = "requests.";
const ATTACHABLE = "attachable-volumes-";

/** Resources every container may ask for. */
const CONTAINER_RESOURCES = new Set(["cpu", "memory", "ephemeral-storage"]);

/** Resources known to quota, limit ranges and nodes without a domain. */
export const STANDARD_RESOURCES: ReadonlySet<string> = new Set([
  "cpu",
  "memory",
  "ephemeral-storage",
  "requests.cpu",
  "requests.memory",
  "requests.ephemeral-storage",
  "limits.cpu",
  "limits.memory",
  "limits.ephemeral-storage",
  "pods",
  "resourcequotas",
  "services",
  "replicationcontrollers",
  "secrets",
  "configmaps",
  "persistentvolumeclaims",
  "storage",
  "requests.storage",
  "services.nodeports",
  "services.loadbalancers",
]);

const QUOTA_RESOURCES: ReadonlySet<string> = new Set([
  "cpu",
  "memory",
  "ephemeral-storage",
  "requests.cpu",
  "requests.memory",
  "requests.storage",
  "requests.ephemeral-storage",
  "limits.cpu",
  "limits.memory",
  "limits.ephemeral-storage",
  "pods",
  "resourcequotas",
  "services",
  "replicationcontrollers",
  "secrets",
  "persistentvolumeclaims",
  "configmaps",
  "services.nodeports",
  "services.loadbalancers",
]);

const INTEGER_RESOURCES: ReadonlySet<string> = new Set([
  "pods",
  "resourcequotas",
  "services",
  "replicationcontrollers",
  "secrets",
  "configmaps",
  "persistentvolumeclaims",
  "services.nodeports",
  "services.loadbalancers",
]);

/** `hugepages-2Mi` and the like. */
export function isHugePages(name: string): boolean {
  return name.startsWith(HUGE_PAGES);
}

/** Without a domain, or in kubernetes.io. */
export function isNativeResource(name: string): boolean {
  return !name.includes("/") || name.includes(NATIVE_DOMAIN);
}

/** Whether requests may be lower than limits. */
export function isOvercommitAllowed(name: string): boolean {
  return isNativeResource(name) && !isHugePages(name);
}

/** A resource that device plugins and the like bring: another domain, and fit to be a quota's name. */
export function isExtendedResource(name: string): boolean {
  if (isNativeResource(name) || name.startsWith(REQUESTS)) return false;
  return isQualifiedName(REQUESTS + name).length === 0;
}

/** cpu, memory, ephemeral-storage, huge pages. */
export function isStandardContainerResource(name: string): boolean {
  return CONTAINER_RESOURCES.has(name) || isHugePages(name);
}

/** A name without domain that quota and limit ranges know. */
export function isStandardResource(name: string): boolean {
  return STANDARD_RESOURCES.has(name) || isQuotaHugePages(name);
}

/** A name without domain that a ResourceQuota may limit. */
export function isStandardQuotaResource(name: string): boolean {
  return QUOTA_RESOURCES.has(name) || isQuotaHugePages(name);
}

/** `hugepages-*` and `requests.hugepages-*`. */
export function isQuotaHugePages(name: string): boolean {
  return isHugePages(name) || name.startsWith(REQUESTS + HUGE_PAGES);
}

/** Resources that are counted, not measured. */
export function isIntegerResource(name: string): boolean {
  return INTEGER_RESOURCES.has(name) || isExtendedResource(name);
}

/** `attachable-volumes-*`. */
export function isAttachableVolumes(name: string): boolean {
  return name.startsWith(ATTACHABLE);
}

/** What a pod as a whole may ask for. */
export function isPodLevelResource(name: string): boolean {
  return name === "cpu" || name === "memory" || isHugePages(name);
}
