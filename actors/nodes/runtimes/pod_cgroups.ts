/**
 * The cgroups that a kubelet keeps around its pods' containers: `/kubepods` and below it one for each class
 * of service and pod, with the pod's limits as a whole. Containers' own cgroups are made below them by the
 * container runtime. Version 1 and 2; where this process may not make them pods run without
 * (`pkg/kubelet/cm/pod_container_manager_linux.go`, `helpers_linux.go`).
 */
import { amounts, podAmounts } from "../../../api/machinery/pod_resources.ts";
import { qosClass } from "../pod_status.ts";
import type { ContainerOf, Pod } from "../types.ts";
import { exists, isVersionTwo, removeTree, ROOT } from "./cgroup.ts";
import { QUOTA_PERIOD_US, quotaOf, sharesOf } from "./cri_resources.ts";

/** Controllers of version 1 that limits are set by. */
const CONTROLLERS_V1 = ["cpu", "memory"];
const CONTROLLERS_V2 = "+cpu +memory +pids +cpuset +hugetlb";
/** Shares of all pods without requests together. */
const BEST_EFFORT_SHARES = 2;

/** What a pod may use as a whole. */
export interface PodLimits {
  shares: number;
  /** Microseconds of each period; undefined: no bound. */
  quotaUs?: number;
  memoryBytes?: number;
}

/** The limits of a pod: bounds only where every container has one, or the pod has its own. */
export function podLimits(pod: Pod): PodLimits {
  const { containers, initContainers = [], resources } = pod.spec;
  const requested = podAmounts(pod.spec, "requests", {
    of: (container, own) => own.has("cpu") ? own : amounts(container.resources?.limits),
  });
  const limited = podAmounts(pod.spec, "limits");
  const bound = (name: string) => {
    const has = (of: Pick<ContainerOf, "resources">) => of.resources?.limits?.[name] !== undefined;
    const isBound = has({ resources }) || [...containers, ...initContainers].every(has);
    return isBound ? limited.get(name) : undefined;
  };
  const limits: PodLimits = {
    shares: qosClass(pod) === "BestEffort"
      ? BEST_EFFORT_SHARES
      : sharesOf(requested.get("cpu")?.milliValue() ?? 0),
  };
  const [cpu, memory] = [bound("cpu"), bound("memory")];
  if (cpu) limits.quotaUs = quotaOf(cpu.milliValue());
  if (memory) limits.memoryBytes = memory.value();
  return limits;
}

/** Makes the cgroup of a pod, or brings its limits up to date. */
export function applyPodCgroup(path: string, limits: PodLimits): void {
  try {
    if (isVersionTwo()) applyTwo(path, limits);
    else applyOne(path, limits);
  } catch {
    // Not ours to write: the containers' own limits hold all the same.
  }
}

function applyOne(path: string, { shares, quotaUs, memoryBytes }: PodLimits): void {
  for (const controller of CONTROLLERS_V1) {
    if (!exists(`${ROOT}/${controller}`)) continue;
    const folder = `${ROOT}/${controller}${path}`;
    Deno.mkdirSync(folder, { recursive: true });
    if (controller === "cpu") {
      write(`${folder}/cpu.shares`, shares);
      write(`${folder}/cpu.cfs_period_us`, QUOTA_PERIOD_US);
      write(`${folder}/cpu.cfs_quota_us`, quotaUs ?? -1);
    } else {
      write(`${folder}/memory.use_hierarchy`, 1);
      write(`${folder}/memory.limit_in_bytes`, memoryBytes ?? -1);
    }
  }
}

function applyTwo(path: string, { shares, quotaUs, memoryBytes }: PodLimits): void {
  let folder = ROOT;
  for (const part of path.split("/").slice(1)) {
    // A group passes on only what its own subtree_control names; one by one, for some may be missing.
    for (const one of CONTROLLERS_V2.split(" ")) write(`${folder}/cgroup.subtree_control`, one);
    folder += `/${part}`;
    Deno.mkdirSync(folder, { recursive: true });
  }
  write(`${folder}/cpu.weight`, 1 + Math.floor((shares - 2) * 9999 / 262142));
  write(`${folder}/cpu.max`, `${quotaUs ?? "max"} ${QUOTA_PERIOD_US}`);
  write(`${folder}/memory.max`, memoryBytes ?? "max");
}

/** Removes the cgroup of a pod that has no processes any more. */
export function removePodCgroup(path: string): void {
  const roots = isVersionTwo()
    ? [ROOT]
    : [...Deno.readDirSync(ROOT)].map((entry) => `${ROOT}/${entry.name}`);
  for (const root of roots) removeTree(`${root}${path}`);
}

/** Writes a file that this kernel may not have. */
function write(path: string, value: string | number): void {
  try {
    Deno.writeTextFileSync(path, String(value), { create: false });
  } catch (error) {
    if (error instanceof Deno.errors.PermissionDenied) throw error;
  }
}
