/**
 * The fields of a pod that its containers may ask for: `fieldRef` and `resourceFieldRef`, in
 * environment variables and in downward API files. Pure.
 */
import { parseQuantity } from "../../api/machinery/quantity.ts";
import { containerNamed } from "./container_record.ts";
import type { ContainerOf, Pod } from "./types.ts";

/** What a pod's fields need beyond the pod: what its node gave it. */
export interface FieldFacts {
  hostIPs: readonly string[];
  podIPs: readonly string[];
  /** The node's allocatable: the default of limits. */
  allocatable: Readonly<Record<string, string>>;
}

/** The value of a field path; throws upstream's text when there is no such field. */
export function fieldValue(pod: Pod, path: string, facts: FieldFacts): string {
  const { metadata, spec } = pod;
  const keyed = /^metadata\.(labels|annotations)\['(.*)'\]$/.exec(path);
  if (keyed) return metadata[keyed[1] as "labels"]?.[keyed[2]] ?? "";
  switch (path) {
    case "metadata.name":
      return metadata.name;
    case "metadata.namespace":
      return metadata.namespace ?? "";
    case "metadata.uid":
      return metadata.uid;
    case "metadata.labels":
      return pairs(metadata.labels);
    case "metadata.annotations":
      return pairs(metadata.annotations);
    case "spec.nodeName":
      return spec.nodeName ?? "";
    case "spec.serviceAccountName":
      return spec.serviceAccountName ?? "";
    case "status.hostIP":
      return facts.hostIPs[0] ?? "";
    case "status.hostIPs":
      return facts.hostIPs.join(",");
    case "status.podIP":
      return facts.podIPs[0] ?? "";
    case "status.podIPs":
      return facts.podIPs.join(",");
  }
  throw new Error(`unsupported fieldPath: ${path}`);
}

function pairs(map: Readonly<Record<string, string>> | undefined): string {
  return Object.keys(map ?? {}).sort()
    .map((key) => `${key}=${JSON.stringify(map![key])}`).join("\n");
}

/** Resources of which a container that names no limit may use what there is. */
const OVERCOMMITTED = ["cpu", "memory", "ephemeral-storage"];

/** A container's own limit; without one its pod's, or else what the node has to give. */
function limitOf(
  { limits }: NonNullable<ContainerOf["resources"]>,
  resource: string,
  { spec }: Pod,
  { allocatable }: FieldFacts,
): string | number | undefined {
  if (!OVERCOMMITTED.includes(resource)) return limits?.[resource];
  const known = [limits?.[resource], spec.resources?.limits?.[resource], allocatable[resource]];
  return known.find((amount) => amount !== undefined && !parseQuantity(amount).isZero);
}

/** The value of a `resourceFieldRef`, in units of its divisor, rounded up. */
export function resourceValue(
  pod: Pod,
  own: ContainerOf | undefined,
  ref: { containerName?: string; resource: string; divisor?: string | number },
  facts: FieldFacts,
): string {
  const container = ref.containerName ? containerNamed(pod, ref.containerName) : own;
  if (!container) throw new Error(`container ${ref.containerName} not found`);
  const dot = ref.resource.indexOf(".");
  const list = ref.resource.slice(0, dot), resource = ref.resource.slice(dot + 1);
  const { resources = {} } = container;
  let amount: string | number | undefined;
  if (list === "limits") amount = limitOf(resources, resource, pod, facts);
  else if (list === "requests") amount = resources.requests?.[resource];
  else throw new Error(`unsupported container resource : ${ref.resource}`);
  const divisor = parseQuantity(ref.divisor || "1");
  const quantity = parseQuantity(amount ?? 0);
  if (resource === "cpu") {
    return String(Math.ceil(quantity.milliValue() / (divisor.milliValue() || 1000)));
  }
  return String(Math.ceil(quantity.value() / (divisor.value() || 1)));
}
