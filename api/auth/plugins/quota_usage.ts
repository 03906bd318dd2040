/**
 * What an object uses of what a ResourceQuota can limit: upstream's evaluators. Pure functions; time comes in.
 *
 * Pods count while they live, with what they ask for and may use; claims with their storage, by class too;
 * services with their node ports and load balancers; everything else by number, as `count/<plural>.<group>`.
 */
import { type Quantity, quantity, tryParseQuantity } from "../../machinery/quantity.ts";
import type { DeepReadonly, KubeObject } from "../../machinery/types.ts";
import { type Amounts, amounts, podAmounts } from "../../machinery/pod_resources.ts";

/** One requirement of a quota's scopes. */
export interface ScopeTerm {
  scopeName: string;
  operator: string;
  values?: readonly string[];
}

/** What an evaluator sees of a write. */
export interface QuotaWrite {
  operation: string;
  subresource: string;
  object?: DeepReadonly<KubeObject>;
  old?: DeepReadonly<KubeObject>;
}

/** How objects of one resource are counted. */
export interface Evaluator {
  /** The operations that are refused when they use too much; others only keep the books. */
  guards(write: QuotaWrite): boolean;
  /** Whether a quota's resource name is one that these objects use. */
  tracks(name: string): boolean;
  usage(object: DeepReadonly<KubeObject>, now: number): Amounts;
  matches(term: ScopeTerm, object: DeepReadonly<KubeObject>): boolean;
  /** What the object must say for these names to be limited, if it does not. */
  problem?(names: readonly string[], object: DeepReadonly<KubeObject>): string | undefined;
}

// deno-lint-ignore no-explicit-any -- objects are checked by their schema
type Any = any;

const ONE: Quantity = quantity(1);
const ZERO: Quantity = quantity(0);
const STORAGE_CLASS = ".storageclass.storage.k8s.io/";

/** Old names of counts. */
const ALIASES: Readonly<Record<string, string>> = {
  configmaps: "configmaps",
  resourcequotas: "resourcequotas",
  replicationcontrollers: "replicationcontrollers",
  secrets: "secrets",
};

/** `count/pods`, `count/deployments.apps`. */
export function countName(group: string, plural: string): string {
  return `count/${group ? `${plural}.${group}` : plural}`;
}

const made = new Map<string, Evaluator>();

/** The evaluator of a resource. */
export function evaluatorOf(group: string, plural: string): Evaluator {
  const name = countName(group, plural);
  const own = EVALUATORS.find((row) => row.name === name);
  if (own) return own.evaluator;
  let evaluator = made.get(name);
  if (!evaluator) made.set(name, evaluator = counter(name, group ? undefined : ALIASES[plural]));
  return evaluator;
}

function counter(name: string, alias: string | undefined): Evaluator {
  const usage: Amounts = new Map([[name, ONE], ...(alias ? [[alias, ONE] as const] : [])]);
  return {
    guards: ({ operation, subresource }) => operation === "CREATE" && !subresource,
    tracks: (candidate) => usage.has(candidate),
    usage: () => usage,
    matches: () => false,
  };
}

// --- services ---------------------------------------------------------------------------------------------

const SERVICE_NAMES = new Set([
  "count/services",
  "services",
  "services.nodeports",
  "services.loadbalancers",
]);

const services: Evaluator = {
  guards: ({ operation, subresource }) =>
    !subresource && (operation === "CREATE" || operation === "UPDATE"),
  tracks: (name) => SERVICE_NAMES.has(name),
  matches: () => false,
  usage({ spec }) {
    const ports: readonly Any[] = spec?.ports ?? [];
    let nodePorts = 0;
    if (spec?.type === "NodePort") nodePorts = ports.length;
    else if (spec?.type === "LoadBalancer") {
      // Ports are not assigned yet: what counts is whether they will be.
      nodePorts = spec.allocateLoadBalancerNodePorts === false
        ? ports.filter((p) => p.nodePort).length
        : ports.length;
    }
    return new Map([
      ["count/services", ONE],
      ["services", ONE],
      ["services.nodeports", quantity(nodePorts)],
      ["services.loadbalancers", spec?.type === "LoadBalancer" ? ONE : ZERO],
    ]);
  },
};

// --- claims -----------------------------------------------------------------------------------------------

const CLAIM_NAMES = ["persistentvolumeclaims", "requests.storage"];

const claims: Evaluator = {
  guards: ({ operation, subresource }) =>
    !subresource && (operation === "CREATE" || operation === "UPDATE"),
  tracks: (name) =>
    name === "count/persistentvolumeclaims" || CLAIM_NAMES.includes(name) ||
    CLAIM_NAMES.some((n) => name.endsWith(STORAGE_CLASS + n)),
  matches(term, claim) {
    if (term.scopeName !== "VolumeAttributesClass") return false;
    const names = [
      claim.spec?.volumeAttributesClassName,
      claim.status?.currentVolumeAttributesClassName,
      claim.status?.modifyVolumeStatus?.targetVolumeAttributesClassName,
    ].filter((name): name is string => Boolean(name));
    if (term.operator === "Exists") return names.length > 0;
    if (names.length === 0) return termSelects(term, undefined);
    return names.some((name) => termSelects(term, name));
  },
  usage(claim) {
    const usage: Amounts = new Map([
      ["persistentvolumeclaims", ONE],
      ["count/persistentvolumeclaims", ONE],
    ]);
    const className = claim.metadata.annotations?.["volume.beta.kubernetes.io/storage-class"] ??
      claim.spec?.storageClassName;
    if (className) usage.set(`${className}${STORAGE_CLASS}persistentvolumeclaims`, ONE);
    let size = tryParseQuantity(claim.spec?.resources?.requests?.storage);
    if (!size) return usage;
    const allocated = tryParseQuantity(claim.status?.allocatedResources?.storage);
    if (allocated && allocated.compare(size) > 0) size = allocated;
    size = size.roundUp(0);
    usage.set("requests.storage", size);
    if (className) usage.set(`${className}${STORAGE_CLASS}requests.storage`, size);
    return usage;
  },
};

// --- device claims ----------------------------------------------------------------------------------------

const DEVICE_CLASS = ".deviceclass.resource.k8s.io/devices";
const DEVICE_CLAIMS = "count/resourceclaims.resource.k8s.io";
/** Devices a request for all of them may be given (upstream: AllocationResultsMaxSize). */
const DEVICES_MAX = 32;

function devicesOf(request: Any): number {
  if (request.allocationMode === "All") return DEVICES_MAX;
  return request.allocationMode === "ExactCount" ? request.count ?? 0 : 0;
}

/** Extended resources that a class stands for are not counted by their own names. */
const deviceClaims: Evaluator = {
  guards: ({ operation, subresource }) =>
    !subresource && (operation === "CREATE" || operation === "UPDATE"),
  tracks: (name) => name === DEVICE_CLAIMS || name.endsWith(DEVICE_CLASS),
  matches: () => false,
  usage({ spec }) {
    const usage: Amounts = new Map([[DEVICE_CLAIMS, ONE]]);
    const add = (name: string, devices: number) => {
      const key = `${name}${DEVICE_CLASS}`;
      usage.set(key, (usage.get(key) ?? ZERO).add(quantity(devices)));
    };
    for (const request of (spec?.devices?.requests ?? []) as readonly Any[]) {
      if (!request.firstAvailable?.length) {
        if (request.exactly) add(request.exactly.deviceClassName, devicesOf(request.exactly));
        continue;
      }
      // One of several will be given: of each class the most that it could be
      const most = new Map<string, number>();
      for (const one of request.firstAvailable as readonly Any[]) {
        const known = most.get(one.deviceClassName) ?? 0;
        most.set(one.deviceClassName, Math.max(known, devicesOf(one)));
      }
      for (const [name, devices] of most) add(name, devices);
    }
    return usage;
  },
};

// --- pods -------------------------------------------------------------------------------------------------

const POD_NAMES = new Set([
  "count/pods",
  "pods",
  "cpu",
  "memory",
  "ephemeral-storage",
  "requests.cpu",
  "requests.memory",
  "requests.ephemeral-storage",
  "limits.cpu",
  "limits.memory",
  "limits.ephemeral-storage",
]);
/** Names that each container must say when a quota limits them: an old mistake that stays. */
const MUST_SAY = new Set([
  "cpu",
  "memory",
  "requests.cpu",
  "requests.memory",
  "limits.cpu",
  "limits.memory",
]);

const pods: Evaluator = {
  guards({ operation, subresource, object, old }) {
    if (subresource === "resize") return operation === "UPDATE";
    if (subresource) return false;
    if (operation === "CREATE") return true;
    return operation === "UPDATE" && object !== undefined && old !== undefined &&
      hasDeadline(object.spec) !== hasDeadline(old.spec);
  },
  tracks: (name) =>
    POD_NAMES.has(name) || name.startsWith("hugepages-") ||
    name.startsWith("requests.hugepages-") || isExtendedRequest(name),
  matches: podMatches,
  usage(pod, now) {
    if (!podLives(pod, now)) return new Map([["count/pods", ONE]]);
    const statuses = statusesOf(pod);
    const requests = podAmounts(
      pod.spec,
      "requests",
      statuses && { of: raised(statuses, "requests") },
    );
    const limits = podAmounts(pod.spec, "limits", statuses && { of: raised(statuses, "limits") });
    const usage = compute(requests, limits);
    usage.set("count/pods", ONE);
    return usage;
  },
  problem(names, { spec }) {
    if (spec?.resources && Object.keys(spec.resources).length) return undefined;
    const required = names.filter((name) => MUST_SAY.has(name)).sort();
    if (required.length === 0) return undefined;
    const missing = new Map<string, Set<string>>();
    for (const container of [...spec?.containers ?? [], ...spec?.initContainers ?? []]) {
      const { requests, limits } = container.resources ?? {};
      const said = compute(amounts(requests), amounts(limits));
      for (const name of required) {
        if (said.has(name)) continue;
        const known = missing.get(name);
        if (known) known.add(container.name);
        else missing.set(name, new Set([container.name]));
      }
    }
    if (missing.size === 0) return undefined;
    const texts = [...missing].sort(([a], [b]) => a < b ? -1 : 1)
      .map(([name, containers]) => `${name} for: ${[...containers].sort().join(",")}`);
    return `must specify ${texts.join("; ")}`;
  },
};

/** A pod counts until it has ended, or should have been gone by now. */
export function podLives(pod: DeepReadonly<KubeObject>, now: number): boolean {
  const phase = pod.status?.phase;
  if (phase === "Failed" || phase === "Succeeded") return false;
  const { deletionTimestamp, deletionGracePeriodSeconds } = pod.metadata;
  if (deletionTimestamp === undefined || deletionGracePeriodSeconds === undefined) return true;
  return now <= Date.parse(deletionTimestamp) + deletionGracePeriodSeconds * 1000;
}

function statusesOf(pod: DeepReadonly<KubeObject>): Map<string, Any> | undefined {
  const lists = [pod.status?.containerStatuses, pod.status?.initContainerStatuses];
  if (!lists.some((list) => list?.some((s: Any) => s.resources || s.allocatedResources))) {
    return undefined;
  }
  return new Map(lists.flatMap((list) => (list ?? []).map((s: Any) => [s.name, s] as const)));
}

/** While a resize is under way the larger of what is wanted and what is held counts. */
function raised(statuses: ReadonlyMap<string, Any>, part: "requests" | "limits") {
  return (container: Any, asked: Amounts): Amounts => {
    const status = statuses.get(container.name);
    const held = [
      status?.resources?.[part],
      ...(part === "requests" ? [status?.allocatedResources] : []),
    ];
    for (const list of held) {
      for (const [name, amount] of amounts(list)) {
        const known = asked.get(name);
        if (known && amount.compare(known) > 0) asked.set(name, amount);
      }
    }
    return asked;
  };
}

function compute(requests: Amounts, limits: Amounts): Amounts {
  const usage: Amounts = new Map([["pods", ONE]]);
  for (const name of ["cpu", "memory", "ephemeral-storage"]) {
    const request = requests.get(name);
    if (request) usage.set(name, request).set(`requests.${name}`, request);
    const limit = limits.get(name);
    if (limit) usage.set(`limits.${name}`, limit);
  }
  for (const [name, amount] of requests) {
    if (name.startsWith("hugepages-")) usage.set(name, amount).set(`requests.${name}`, amount);
    else if (isExtended(name)) usage.set(`requests.${name}`, amount);
  }
  return usage;
}

/** A resource with a domain of its own, not Kubernetes'. */
function isExtended(name: string): boolean {
  const slash = name.indexOf("/");
  if (slash < 0) return false;
  const domain = name.slice(0, slash);
  return domain !== "kubernetes.io" && !domain.endsWith(".kubernetes.io") ||
    domain === "deviceclass.resource.kubernetes.io";
}

function isExtendedRequest(name: string): boolean {
  return name.startsWith("requests.") && isExtended(name.slice("requests.".length));
}

function hasDeadline(spec: Any): boolean {
  return typeof spec?.activeDeadlineSeconds === "number" && spec.activeDeadlineSeconds >= 0;
}

function podMatches(term: ScopeTerm, { spec }: DeepReadonly<KubeObject>): boolean {
  switch (term.scopeName) {
    case "Terminating":
      return hasDeadline(spec);
    case "NotTerminating":
      return !hasDeadline(spec);
    case "BestEffort":
      return isBestEffort(spec);
    case "NotBestEffort":
      return !isBestEffort(spec);
    case "PriorityClass":
      if (term.operator === "Exists") return Boolean(spec?.priorityClassName);
      return termSelects(term, spec?.priorityClassName || undefined);
    case "CrossNamespacePodAffinity":
      return crossesNamespaces(spec?.affinity);
    default:
      return false;
  }
}

function termSelects(term: ScopeTerm, value: string | undefined): boolean {
  const listed = value !== undefined && (term.values ?? []).includes(value);
  if (term.operator === "In") return listed;
  if (term.operator === "NotIn") return !listed;
  return term.operator === "Exists" ? value !== undefined : value === undefined;
}

/** No container, and not the pod itself, asks for or limits cpu or memory. */
function isBestEffort(spec: Any): boolean {
  const says = (resources: Any) =>
    ["requests", "limits"].some((part) =>
      ["cpu", "memory"].some((name) => {
        const amount = tryParseQuantity(resources?.[part]?.[name]);
        return amount !== undefined && amount.sign > 0;
      })
    );
  const containers = [...spec?.containers ?? [], ...spec?.initContainers ?? []];
  return !says(spec?.resources) && !containers.some((c) => says(c.resources));
}

function crossesNamespaces(affinity: Any): boolean {
  for (const part of [affinity?.podAffinity, affinity?.podAntiAffinity]) {
    const terms = [
      ...part?.requiredDuringSchedulingIgnoredDuringExecution ?? [],
      ...(part?.preferredDuringSchedulingIgnoredDuringExecution ?? [])
        .map((weighted: Any) => weighted.podAffinityTerm ?? {}),
    ];
    if (terms.some((t) => t.namespaces?.length || t.namespaceSelector)) return true;
  }
  return false;
}

/** Resources that are more than counted. */
export const EVALUATORS: readonly {
  name: string;
  group: string;
  plural: string;
  evaluator: Evaluator;
}[] = [
  { name: "count/pods", group: "", plural: "pods", evaluator: pods },
  { name: "count/services", group: "", plural: "services", evaluator: services },
  {
    name: "count/persistentvolumeclaims",
    group: "",
    plural: "persistentvolumeclaims",
    evaluator: claims,
  },
  {
    name: DEVICE_CLAIMS,
    group: "resource.k8s.io",
    plural: "resourceclaims",
    evaluator: deviceClaims,
  },
];
