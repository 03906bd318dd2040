/**
 * Which pod goes first when its node is short of something: who uses more than it asked for, then who matters least,
 * then who uses most beyond its request. Pure (pkg/kubelet/eviction/helpers.go).
 */
import { podAmounts } from "../../api/machinery/pod_resources.ts";
import { quantity, tryParseQuantity } from "../../api/machinery/quantity.ts";
import { addUp, type PodUsage } from "./metrics.ts";
import type { Signal } from "./kubelet_options.ts";
import { containerNamed } from "./container_record.ts";
import type { SpaceUsed } from "./figures.ts";
import { storageOf } from "./summary.ts";
import type { Pod } from "./types.ts";

/** A pod that may go. */
export interface Candidate {
  pod: Pod;
  /** What it uses; a pod of which nobody knows goes first. */
  usage: PodUsage | undefined;
}

type Compare = (a: Candidate, b: Candidate) => number;

/** The candidates, the first to go first. `ownImageFs`: what containers write lies on another disk than volumes and logs. */
export function ranked(
  candidates: readonly Candidate[],
  signal: Signal,
  ownImageFs: boolean,
): Candidate[] {
  const order = orderOf(signal, ownImageFs);
  return [...candidates].sort((a, b) => {
    for (const compare of order) {
      const found = compare(a, b);
      if (found !== 0) return found;
    }
    return 0;
  });
}

function orderOf(signal: Signal, ownImageFs: boolean): Compare[] {
  if (signal === "pid.available") {
    return [byPriority, largest(({ sandbox }) => sandbox?.processes ?? 0)];
  }
  if (signal === "memory.available") return byUse("memory", "memory", memoryOf);
  const inodes = signal.endsWith("inodesFree");
  const part = ownImageFs ? signal.startsWith("imagefs") ? "images" : "node" : "all";
  const used = (usage: PodUsage) => diskOf(usage, part)[inodes ? "inodesUsed" : "usedBytes"];
  return byUse(inodes ? "inodes" : "ephemeral-storage", "ephemeral-storage", used);
}

/** `requested`: the request that use is measured against; upstream takes the bytes' for inodes too. */
function byUse(
  resource: string,
  requested: string,
  used: (usage: PodUsage) => number,
): Compare[] {
  const exceeds = ({ pod, usage }: Candidate) => usage && used(usage) > requestOf(pod, resource);
  return [
    (a, b) => unknownFirst(a, b) ?? Number(exceeds(b)) - Number(exceeds(a)),
    byPriority,
    largest((usage, pod) => used(usage) - requestOf(pod, requested)),
  ];
}

function largest(amount: (usage: PodUsage, pod: Pod) => number): Compare {
  return (a, b) => unknownFirst(a, b) ?? amount(b.usage!, b.pod) - amount(a.usage!, a.pod);
}

function unknownFirst(a: Candidate, b: Candidate): number | undefined {
  if (a.usage && b.usage) return undefined;
  return Number(a.usage !== undefined) - Number(b.usage !== undefined);
}

function byPriority(a: Candidate, b: Candidate): number {
  return (a.pod.spec.priority ?? 0) - (b.pod.spec.priority ?? 0);
}

function requestOf(pod: Pod, resource: string): number {
  return podAmounts(pod.spec, "requests").get(resource)?.value() ?? 0;
}

function memoryOf({ containers }: PodUsage): number {
  return addUp(containers.map(({ stats }) => stats)).workingSetBytes;
}

/** What a pod takes of a disk: of the images' what its containers write, of the node's the rest. */
function diskOf(usage: PodUsage, part: "images" | "node" | "all"): SpaceUsed {
  const all = storageOf(usage);
  if (part === "all") return all;
  const images = storageOf({
    ...usage,
    volumes: [],
    containers: usage.containers.map((one) => ({ ...one, logs: undefined })),
  });
  if (part === "images") return images;
  return {
    usedBytes: all.usedBytes - images.usedBytes,
    inodesUsed: all.inodesUsed - images.inodesUsed,
  };
}

/** An amount of a resource as it is told. */
export function amountText(resource: string, amount: number): string {
  const bytes = resource === "memory" || resource === "ephemeral-storage";
  return quantity(amount, bytes ? "BinarySI" : "DecimalSI").toString();
}

/** Which containers of an evicted pod used more than they asked for. */
export function evictionDetails(resource: string, { pod, usage }: Candidate): string {
  let text = "";
  const told = (who: string, used: number, request: string) =>
    `${who} was using ${
      amountText(resource, used)
    }, request is ${request}, has larger consumption of ${resource}. `;
  const whole = pod.spec.resources?.requests?.[resource];
  if (resource === "memory" && usage && whole !== undefined) {
    text += told(`Pod ${pod.metadata.name}`, memoryOf(usage), String(whole));
  }
  for (const { name, stats, logs } of usage?.containers ?? []) {
    const used = resource === "memory"
      ? stats.workingSetBytes
      : resource === "ephemeral-storage" && stats.rootfs && logs
      ? stats.rootfs.usedBytes + logs.usedBytes
      : undefined;
    const request = tryParseQuantity(
      containerNamed(pod, name)?.resources?.requests?.[resource] ?? 0,
    )!;
    if (used === undefined || used <= request.value()) continue;
    text += told(`Container ${name}`, used, request.toString());
  }
  return text;
}

/**
 * Why a pod may not keep what it takes of the node's disk: more than it, or one of its containers, may. What containers
 * write counts where it lies on the node's own disk.
 */
export function overLimit({ pod, usage }: Candidate, ownImageFs: boolean): string | undefined {
  if (!usage) return undefined;
  const limit = podAmounts(pod.spec, "limits").get("ephemeral-storage");
  if (limit && storageOf(usage).usedBytes > limit.value()) {
    return `Pod ephemeral local storage usage exceeds the total limit of containers ${limit}. `;
  }
  for (const { name, stats, logs } of usage.containers) {
    const own = pod.spec.containers.find((one) => one.name === name);
    const most = tryParseQuantity(own?.resources?.limits?.["ephemeral-storage"]);
    if (!most || most.isZero) continue;
    const used = (logs?.usedBytes ?? 0) + (ownImageFs ? 0 : stats.rootfs?.usedBytes ?? 0);
    if (used > most.value()) {
      return `Container ${name} exceeded its local ephemeral storage limit "${most}". `;
    }
  }
}
