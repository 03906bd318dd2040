/**
 * What the scheduler computes once for a pod: its requests, ports, claims and compiled affinity terms.
 *
 * Requests follow upstream's PodRequests (component-helpers `resource`): the sum over containers and
 * restartable init containers, at least the largest init container with the sidecars started before it,
 * plus the overhead; pod-level requests win where they are given; what a resize has not yet reached counts
 * with the larger of desired and allocated.
 */
import { labelSelector } from "../../api/machinery/selectors.ts";
import { sameJson } from "../../api/machinery/json_value.ts";
import { parseQuantity } from "../../api/machinery/quantity.ts";
import type { Amounts, HostPort, Pod, PodInfo, Term } from "./framework.ts";

/** What scoring counts for a container that asks for nothing (upstream's non-zero defaults). */
const NON_ZERO_CPU = 100;
const NON_ZERO_MEMORY = 200 * 1024 * 1024;

type Requests = Readonly<Record<string, string | number>> | undefined;

/** No amounts at all. */
export function noAmounts(): Amounts {
  return { cpu: 0, memory: 0, ephemeral: 0, scalars: undefined };
}

/** Amounts of a resource list such as `{ cpu: "100m", memory: "1Gi" }`; `pods` is left out. */
export function amountsOf(list: Requests): Amounts {
  const amounts = noAmounts();
  for (const name in list) setAmount(amounts, name, amountOf(name, list[name]));
  return amounts;
}

function amountOf(name: string, value: string | number): number {
  return name === "cpu" ? parseQuantity(value).milliValue() : parseQuantity(value).value();
}

function setAmount(amounts: Amounts, name: string, value: number): void {
  if (name === "cpu") amounts.cpu = value;
  else if (name === "memory") amounts.memory = value;
  else if (name === "ephemeral-storage") amounts.ephemeral = value;
  else if (name !== "pods") (amounts.scalars ??= new Map()).set(name, value);
}

/** Adds `other`, `sign` times, in place. */
export function addAmounts(to: Amounts, other: Amounts, sign: 1 | -1 = 1): void {
  to.cpu += sign * other.cpu;
  to.memory += sign * other.memory;
  to.ephemeral += sign * other.ephemeral;
  if (other.scalars) {
    to.scalars ??= new Map();
    for (const [name, value] of other.scalars) {
      to.scalars.set(name, (to.scalars.get(name) ?? 0) + sign * value);
    }
  }
}

function maxAmounts(to: Amounts, other: Amounts): void {
  to.cpu = Math.max(to.cpu, other.cpu);
  to.memory = Math.max(to.memory, other.memory);
  to.ephemeral = Math.max(to.ephemeral, other.ephemeral);
  for (const [name, value] of other.scalars ?? []) {
    to.scalars ??= new Map();
    to.scalars.set(name, Math.max(to.scalars.get(name) ?? 0, value));
  }
}

function copyAmounts(amounts: Amounts): Amounts {
  return { ...amounts, scalars: amounts.scalars && new Map(amounts.scalars) };
}

interface Container {
  readonly name: string;
  readonly restartPolicy?: string;
  readonly resources?: { readonly requests?: Requests };
}

/** `of` gives one container's amounts; `pod` those of the pod's own resources, if it names any. */
function podAmounts(pod: Pod, of: (container: Container) => Amounts): Amounts {
  const total = noAmounts();
  for (const container of pod.spec.containers as readonly Container[]) {
    addAmounts(total, of(container));
  }
  const inits = pod.spec.initContainers as readonly Container[] | undefined;
  if (inits) {
    const sidecars = noAmounts();
    const initMax = noAmounts();
    for (const container of inits) {
      const own = of(container);
      if (container.restartPolicy === "Always") {
        addAmounts(total, own);
        addAmounts(sidecars, own);
        maxAmounts(initMax, sidecars);
      } else {
        const atOnce = copyAmounts(sidecars);
        addAmounts(atOnce, own);
        maxAmounts(initMax, atOnce);
      }
    }
    maxAmounts(total, initMax);
  }
  const podLevel = pod.spec.resources?.requests as Requests;
  for (const name in podLevel) setAmount(total, name, amountOf(name, podLevel[name]));
  if (pod.spec.overhead) addAmounts(total, amountsOf(pod.spec.overhead as Requests));
  return total;
}

interface ContainerHolds {
  readonly name: string;
  readonly allocatedResources?: Requests;
  readonly resources?: { readonly requests?: Requests };
}

/**
 * A container's amounts during a resize: the largest of what it wants, what is set aside for it and what it has. What
 * its node will never give it does not count.
 */
function containerAmounts(pod: Pod): (container: Container) => Amounts {
  const of = (list: unknown) => (list ?? []) as readonly ContainerHolds[];
  const apps = of(pod.status?.containerStatuses).filter(({ resources }) => resources);
  const inits = of(pod.status?.initContainerStatuses).filter(({ resources }) => resources);
  if (apps.length + inits.length === 0) {
    return (container) => amountsOf(container.resources?.requests);
  }
  const conditions = pod.status?.conditions as readonly { type: string; reason?: string }[];
  const pending = conditions?.find(({ type }) => type === "PodResizePending");
  const isInfeasible = pending?.reason === "Infeasible";
  return (container) => {
    const own = amountsOf(container.resources?.requests);
    const named = (one: ContainerHolds) => one.name === container.name;
    const status = apps.find(named) ??
      (container.restartPolicy === "Always" ? inits.find(named) : undefined);
    if (!status) return own;
    const { allocatedResources, resources } = status;
    const isSettled = sameJson(allocatedResources, container.resources?.requests) &&
      sameJson(resources!.requests, container.resources?.requests);
    if (isSettled) return own;
    const amounts = isInfeasible ? noAmounts() : own;
    maxAmounts(amounts, amountsOf(allocatedResources));
    maxAmounts(amounts, amountsOf(resources!.requests));
    return amounts;
  };
}

function hostPortsOf(pod: Pod): HostPort[] {
  const ports: HostPort[] = [];
  const sidecars = (pod.spec.initContainers ?? []).filter((c: Container) =>
    c.restartPolicy === "Always"
  );
  for (const container of [...pod.spec.containers, ...sidecars]) {
    for (const port of container.ports ?? []) {
      if (!port.hostPort) continue;
      ports.push({
        ip: port.hostIP || "0.0.0.0",
        protocol: port.protocol ?? "TCP",
        port: port.hostPort,
      });
    }
  }
  return ports;
}

/** The PersistentVolumeClaims a pod mounts, generic ephemeral volumes included, as `namespace/name`. */
function claimsOf(pod: Pod): string[] {
  const claims: string[] = [];
  for (const volume of pod.spec.volumes ?? []) {
    const namespace = pod.metadata.namespace;
    if (volume.persistentVolumeClaim) {
      claims.push(`${namespace}/${volume.persistentVolumeClaim.claimName}`);
    } else if (volume.ephemeral) claims.push(`${namespace}/${pod.metadata.name}-${volume.name}`);
  }
  return claims;
}

/** Reads a namespace's labels; affinity terms with a namespaceSelector need them. */
export type NamespaceLabels = (namespace: string) => Readonly<Record<string, string>> | undefined;

// deno-lint-ignore no-explicit-any -- a term as the API has it
function compileTerm(pod: Pod, term: any, weight: number, labelsOf: NamespaceLabels): Term {
  const namespaces = new Set<string>(term.namespaces ?? []);
  const namespaceSelector = term.namespaceSelector && labelSelector(term.namespaceSelector);
  if (namespaces.size === 0 && !term.namespaceSelector) namespaces.add(pod.metadata.namespace!);
  const selector = withMatchLabelKeys(pod, term);
  // Without a selector a term matches nothing (upstream's nil selector).
  const labels = labelSelector(selector);
  const id = JSON.stringify([
    term.topologyKey,
    weight,
    selector,
    [...namespaces].sort(),
    term.namespaceSelector,
  ]);
  return {
    id,
    topologyKey: term.topologyKey,
    weight,
    matches: (other) =>
      (namespaces.has(other.namespace) ||
        (!!namespaceSelector && namespaceSelector.matches(labelsOf(other.namespace)))) &&
      labels.matches(other.labels),
  };
}

// deno-lint-ignore no-explicit-any -- a term or constraint as the API has it
export function withMatchLabelKeys(pod: Pod, term: any): any {
  if (!term.labelSelector) return undefined;
  const matchLabels = { ...term.labelSelector.matchLabels };
  for (const key of term.matchLabelKeys ?? []) {
    const value = pod.metadata.labels?.[key];
    if (value !== undefined) matchLabels[key] = value;
  }
  const expressions = [...term.labelSelector.matchExpressions ?? []];
  for (const key of term.mismatchLabelKeys ?? []) {
    const value = pod.metadata.labels?.[key];
    if (value !== undefined) expressions.push({ key, operator: "NotIn", values: [value] });
  }
  return {
    ...(Object.keys(matchLabels).length > 0 && { matchLabels }),
    ...(expressions.length > 0 && { matchExpressions: expressions }),
  };
}

const NO_TERMS: readonly Term[] = [];

// deno-lint-ignore no-explicit-any -- podAffinity or podAntiAffinity as the API has it
function termsOf(pod: Pod, affinity: any, labelsOf: NamespaceLabels) {
  if (!affinity) return { required: NO_TERMS, preferred: NO_TERMS };
  return {
    // deno-lint-ignore no-explicit-any -- as above
    required: (affinity.requiredDuringSchedulingIgnoredDuringExecution ?? []).map((term: any) =>
      compileTerm(pod, term, 0, labelsOf)
    ) as readonly Term[],
    // deno-lint-ignore no-explicit-any -- as above
    preferred: (affinity.preferredDuringSchedulingIgnoredDuringExecution ?? []).map((term: any) =>
      compileTerm(pod, term.podAffinityTerm, term.weight, labelsOf)
    ) as readonly Term[],
  };
}

/** Computes a pod's info. Costs a few microseconds: done once per version of a pod. */
export function podInfoOf(pod: Pod, labelsOf: NamespaceLabels): PodInfo {
  const { metadata, spec } = pod;
  const of = containerAmounts(pod);
  const request = podAmounts(pod, of);
  const nonZero = podAmounts(pod, (container) => {
    const amounts = of(container);
    const requests = container.resources?.requests;
    if (requests?.cpu === undefined) amounts.cpu = Math.max(amounts.cpu, NON_ZERO_CPU);
    if (requests?.memory === undefined) amounts.memory = Math.max(amounts.memory, NON_ZERO_MEMORY);
    return amounts;
  });
  const affinity = termsOf(pod, spec.affinity?.podAffinity, labelsOf);
  const antiAffinity = termsOf(pod, spec.affinity?.podAntiAffinity, labelsOf);
  return {
    pod,
    uid: metadata.uid,
    key: `${metadata.namespace}/${metadata.name}`,
    namespace: metadata.namespace!,
    labels: metadata.labels ?? {},
    priority: spec.priority ?? 0,
    request,
    nonZeroCpu: nonZero.cpu,
    nonZeroMemory: nonZero.memory,
    hostPorts: hostPortsOf(pod),
    claims: spec.volumes ? claimsOf(pod) : [],
    affinity: affinity.required,
    antiAffinity: antiAffinity.required,
    preferredAffinity: affinity.preferred,
    preferredAntiAffinity: antiAffinity.preferred,
    terminating: metadata.deletionTimestamp !== undefined,
  };
}
