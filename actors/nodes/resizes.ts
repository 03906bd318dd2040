/**
 * Resizes of pods in place: what a node has set aside for a pod may differ from what the pod's spec asks for, until
 * there is room. `PodResize` is one pod's side of that, `PendingResizes` the order in which a node tries those that
 * wait: what takes no more first, then by priority, Guaranteed before others, and the longest wait first.
 *
 * Behaviour matched: pkg/kubelet/allocation, pkg/kubelet/events/resize.go, v1.36. There a node has no word for what
 * it could never hold: the API refuses that (PodResizeValidator), and what gets past it is deferred.
 */
import { podAmounts } from "../../api/machinery/pod_resources.ts";
import { tryParseQuantity } from "../../api/machinery/quantity.ts";
import { INFEASIBLE, type Refusal } from "./pod_admission.ts";
import { qosClass, RESIZE_IN_PROGRESS, RESIZE_PENDING, sameStatus } from "./pod_status.ts";
import type { Condition, ContainerOf, ContainerStatus, Pod, PodStatus } from "./types.ts";

/** Why a resize waits. */
export interface PendingResize {
  reason: string;
  message: string;
  /** Of the pod that asked for it. */
  generation: number | undefined;
  since: number;
}

type Resources = ContainerOf["resources"];

/** What a pod asks for beyond what it holds, and how far that is. */
export class PodResize {
  /** The pod with what it asks for, where that is not what it holds. */
  asked: Pod | undefined;
  pending: PendingResize | undefined;
  /** Of the pod whose resize was granted and is not in force yet; 0: none has one. */
  granted: number | undefined;

  /** Takes up what a former life of the node said of it. */
  constructor(pod: Pod) {
    for (const condition of (pod.status?.conditions ?? []) as Condition[]) {
      const { type, reason = "", message = "", observedGeneration: generation } = condition;
      if (type === RESIZE_IN_PROGRESS) this.granted = generation ?? 0;
      if (type !== RESIZE_PENDING) continue;
      const since = Date.parse(condition.lastTransitionTime ?? "") || 0;
      this.pending = { reason, message, generation, since };
    }
  }

  /** The pod as its node sees it: with the resources that `held` has, whatever it asks for. */
  see(seen: Pod, held: Pod): Pod {
    const pod = withResources(seen, held.spec.resources, (c) => containerOf(held, c)?.resources);
    this.asked = pod === seen ? undefined : seen;
    if (!this.asked) this.pending = undefined;
    return pod;
  }

  /** Notes why it waits; false: that was known of this wish. */
  defer({ reason: why, message }: Refusal, now: number): boolean {
    const reason = why === INFEASIBLE ? INFEASIBLE : "Deferred";
    const { generation } = this.asked!.metadata;
    const old = this.pending;
    const since = old?.reason === reason ? old.since : now;
    this.pending = { reason, message, generation, since };
    return old?.reason !== reason || old.generation !== generation;
  }
}

function containerOf({ spec }: Pod, { name }: ContainerOf): ContainerOf | undefined {
  return spec.containers.find((c) => c.name === name) ??
    spec.initContainers?.find((c) => c.name === name);
}

/** The pod with other resources; itself when it has these. A container that `of` does not know keeps its own. */
function withResources(
  pod: Pod,
  own: Resources,
  of: (container: ContainerOf) => Resources,
): Pod {
  let differs = !sameResources(pod.spec.resources, own);
  const changed = (list: readonly ContainerOf[]) =>
    list.map((container) => {
      const resources = of(container);
      if (sameResources(container.resources, resources)) return container;
      differs = true;
      return { ...container, resources };
    });
  const containers = changed(pod.spec.containers);
  const { initContainers } = pod.spec;
  const inits = initContainers && { initContainers: changed(initContainers) };
  if (!differs) return pod;
  return { ...pod, spec: { ...pod.spec, resources: own, containers, ...inits } };
}

function sameResources(a: Resources, b: Resources): boolean {
  return sameStatus(a, b) || (["limits", "requests"] as const).every((part) => {
    const [one, other] = [a?.[part] ?? {}, b?.[part] ?? {}];
    return Object.keys({ ...one, ...other }).every((name) => {
      const [left, right] = [tryParseQuantity(one[name]), tryParseQuantity(other[name])];
      return left && right ? left.compare(right) === 0 : left === right;
    });
  });
}

/** The pod with what a former life of its node has told that its containers run with. */
export function asTold(pod: Pod): Pod {
  const { containerStatuses = [], initContainerStatuses = [] } = (pod.status ?? {}) as PodStatus;
  const told = (list: readonly ContainerStatus[], name: string) =>
    list.find((status) => status.name === name && status.state.running)?.resources;
  return withResources(
    pod,
    pod.spec.resources,
    ({ name, resources }) =>
      told(containerStatuses, name) ?? told(initContainerStatuses, name) ?? resources,
  );
}

/** What an Event says of a resize. */
export function resizeText(what: string, { spec, metadata }: Pod, error?: string): string {
  const told = (list: readonly ContainerOf[] | undefined) =>
    list?.length
      ? list.map(({ name, resources = {} }) => {
        const { limits, requests } = resources;
        return { name, resources: { limits: sorted(limits), requests: sorted(requests) } };
      })
      : undefined;
  const summary = JSON.stringify({
    initContainers: told(spec.initContainers),
    containers: told(spec.containers),
    generation: metadata.generation ?? 0,
    error: error || undefined,
  });
  return `Pod resize ${what}: ${summary}`;
}

function sorted(list: Readonly<Record<string, unknown>> | undefined) {
  return list && Object.fromEntries(Object.entries(list).sort(([a], [b]) => a < b ? -1 : 1));
}

/** A pod that may ask for other resources than it holds. */
export interface Resizable {
  /** With what it holds. */
  readonly pod: Pod;
  /** With what it asks for; undefined: it holds that. */
  readonly wish: Pod | undefined;
  /** Since when that waits, if it was told to. */
  readonly waitsSince: number | undefined;
  grant(): void;
  defer(refusal: Refusal): void;
}

/** The resizes of one node's pods that wait. */
export class PendingResizes<T extends Resizable> {
  readonly #waiting = new Set<T>();
  readonly #refusal: (pod: T) => Refusal | undefined;

  /** `refusal` says why a pod cannot have what it asks for. */
  constructor(refusal: (pod: T) => Refusal | undefined) {
    this.#refusal = refusal;
  }

  /** A pod asks for something else, or takes less than before: tries all again. */
  changed(pod: T): void {
    if (pod.wish) this.#waiting.add(pod);
    this.retry();
  }

  retry(): void {
    if (this.#waiting.size === 0) return;
    for (const pod of this.#waiting) if (!pod.wish) this.#waiting.delete(pod);
    for (const pod of inOrder([...this.#waiting])) {
      const refusal = this.#refusal(pod);
      if (refusal) pod.defer(refusal);
      else {
        this.#waiting.delete(pod);
        pod.grant();
      }
    }
  }
}

function inOrder<T extends Resizable>(pods: T[]): T[] {
  const ranks = new Map(pods.map((pod) => [pod, rankOf(pod)]));
  return pods.sort((a, b) => {
    const [left, right] = [ranks.get(a)!, ranks.get(b)!];
    const at = left.findIndex((value, i) => value !== right[i]);
    return at < 0 ? 0 : left[at] - right[at];
  });
}

/** The first number that differs decides, the smaller one comes first. */
function rankOf({ pod, wish, waitsSince = Number.MAX_VALUE }: Resizable): number[] {
  const [now, then] = [pod, wish!].map(({ spec }) => podAmounts(spec, "requests"));
  const grows = ["cpu", "memory"].some((name) => {
    const [from, to] = [now.get(name), then.get(name)];
    return to !== undefined && (from === undefined ? !to.isZero : to.compare(from) > 0);
  });
  const isGuaranteed = qosClass(pod) === "Guaranteed";
  return [Number(grows), -(pod.spec.priority ?? 0), Number(!isGuaranteed), waitsSince];
}
