/**
 * A container's resources as the kernel wants them: CPU shares and quota, memory, who is killed first when
 * memory runs out. Pure; in upstream's numbers (`pkg/kubelet/kuberuntime/kuberuntime_container_linux.go`,
 * `cm/helpers_linux.go`, `qos/policy.go`).
 */
import { parseQuantity } from "../../../api/machinery/quantity.ts";
import type { DeepReadonly } from "../../../api/machinery/types.ts";
import { qosClass } from "../pod_status.ts";
import type { ContainerOf, Pod } from "../types.ts";
import type { Cri } from "./cri_messages.ts";

/** Of CPU quotas, in microseconds. */
export const QUOTA_PERIOD_US = 100_000;
const QUOTA_US_MIN = 1_000;
const SHARES_MIN = 2;
const SHARES_MAX = 262_144;
const SHARES_PER_CPU = 1024;

/** The least likely to be killed of all containers, and what a container without requests has. */
const OOM_GUARANTEED = -997;
const OOM_BEST_EFFORT = 1000;

type Quantities = DeepReadonly<Record<string, string | number>> | undefined;

/** Thousandths of a CPU that a list of resources names; undefined when it names none. */
export function milliCpu(list: Quantities): number | undefined {
  return list?.cpu === undefined ? undefined : parseQuantity(list.cpu).milliValue();
}

/** Bytes of memory that a list of resources names. */
export function memoryBytes(list: Quantities): number {
  return parseQuantity(list?.memory ?? 0).value();
}

/** A CPU request as shares. */
export function sharesOf(milli: number): number {
  if (milli === 0) return SHARES_MIN;
  const shares = Math.floor(milli * SHARES_PER_CPU / 1000);
  return Math.min(SHARES_MAX, Math.max(SHARES_MIN, shares));
}

/** A CPU limit as a quota in a period; 0 is none. */
export function quotaOf(milli: number): number {
  if (milli === 0) return 0;
  return Math.max(QUOTA_US_MIN, Math.floor(milli * QUOTA_PERIOD_US / 1000));
}

/** What a container may use; the pod's own limits bound what the container's do not. */
export function resourcesOf(
  pod: Pod,
  container: ContainerOf,
  machineBytes: number,
): Cri<"LinuxContainerResources"> {
  const { requests, limits } = container.resources ?? {};
  const whole = pod.spec.resources?.limits;
  const limit = milliCpu(limits) || milliCpu(whole) || 0;
  const memory = memoryBytes(limits) || memoryBytes(whole);
  return {
    cpuShares: sharesOf(milliCpu(requests) ?? limit),
    cpuPeriod: QUOTA_PERIOD_US,
    cpuQuota: quotaOf(limit),
    ...(memory ? { memoryLimitInBytes: memory } : {}),
    oomScoreAdj: oomScoreOf(pod, container, machineBytes),
    hugepageLimits: hugepagesOf(limits, whole),
  };
}

/** Limits of huge pages that are asked for; what is not named the kernel refuses by itself. */
function hugepagesOf(...lists: Quantities[]): Cri<"HugepageLimit">[] {
  const sizes = new Map<string, number>();
  for (const list of lists) {
    for (const [name, amount] of Object.entries(list ?? {})) {
      if (!name.startsWith("hugepages-")) continue;
      const bytes = parseQuantity(name.slice("hugepages-".length)).value();
      const pageSize = bytes >= 2 ** 30 ? `${bytes / 2 ** 30}GB` : `${bytes / 2 ** 20}MB`;
      if (!sizes.has(pageSize)) sizes.set(pageSize, parseQuantity(amount).value());
    }
  }
  return [...sizes].map(([pageSize, limit]) => ({ pageSize, limit }));
}

/** How early the kernel kills the container when memory runs out: -997 last, 1000 first. */
export function oomScoreOf(pod: Pod, container: ContainerOf, machineBytes: number): number {
  if (pod.spec.priorityClassName === "system-node-critical") return OOM_GUARANTEED;
  const quality = qosClass(pod);
  if (quality === "Guaranteed") return OOM_GUARANTEED;
  if (quality === "BestEffort") return OOM_BEST_EFFORT;
  const of = (c: ContainerOf) => memoryBytes(c.resources?.requests);
  const score = (bytes: number) => 1000 - Math.trunc(1000 * bytes / machineBytes);
  const inits = pod.spec.initContainers ?? [];
  const all = [...pod.spec.containers, ...inits];
  // What a pod asks for as a whole and its containers do not is theirs in equal parts.
  const whole = memoryBytes(pod.spec.resources?.requests);
  const rest = Math.max(0, whole - all.reduce((sum, c) => sum + of(c), 0));
  const share = whole ? Math.trunc(rest / all.length) : 0;
  let adjust = score(of(container) + share);
  if (container.restartPolicy === "Always" && inits.some((c) => c.name === container.name)) {
    // What an app needs is not killed before the app.
    adjust = Math.min(adjust, score(Math.min(...pod.spec.containers.map(of)) + share));
  }
  if (adjust < 1000 + OOM_GUARANTEED) return 1000 + OOM_GUARANTEED;
  return adjust === OOM_BEST_EFFORT ? adjust - 1 : adjust;
}
