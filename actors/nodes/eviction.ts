/**
 * Evicts pods when their node runs short of memory, disk or processes, so that the machine lives on: thresholds are
 * looked at every ten seconds, conditions tell of what is short, and one pod at a time goes, the worst first.
 *
 * - hard-at-once: a hard threshold that is met evicts at once; a soft one after its grace period.
 * - reclaim-first: before pods go for the disk, images that nobody uses do.
 * - slow-to-forget: a condition stays for the transition period after it was last seen; and what was met stays met until
 *   the minimum is reclaimed.
 * - one-by-one: the next pod goes when the last one has gone, or has had its time.
 *
 * Behaviour matched: pkg/kubelet/eviction/eviction_manager.go and helpers.go, v1.36. Whatever is measured comes in, so
 * that all of it runs under a manual clock.
 */
import { parseQuantity } from "../../api/machinery/quantity.ts";
import { tolerates } from "../../api/machinery/taints.ts";
import type { Clock } from "../../kv/clock.ts";
import type { Amount, EvictionOptions, Signal, Threshold } from "./kubelet_options.ts";
import { amountText, type Candidate, evictionDetails, ranked } from "./eviction_ranking.ts";
import type { FileSystem, ImageFileSystem, MachineFigures } from "./figures.ts";
import { isCritical } from "./pod_source.ts";
import type { Pod } from "./types.ts";

/** Between two looks. */
export const EVICTION_LOOK_MS = 10_000;
/** The grace of a pod that is evicted at once. */
export const EVICTION_GRACE_MS = 1_000;
/** So long a pod that goes is waited for before the next one does. */
export const CLEANUP_MS_MAX = 30_000;

/** What a signal is about, and the condition that tells of it. */
const SIGNALS: Readonly<Record<Signal, { resource: string; condition: string }>> = {
  "memory.available": { resource: "memory", condition: "MemoryPressure" },
  "nodefs.available": { resource: "ephemeral-storage", condition: "DiskPressure" },
  "nodefs.inodesFree": { resource: "inodes", condition: "DiskPressure" },
  "imagefs.available": { resource: "ephemeral-storage", condition: "DiskPressure" },
  "imagefs.inodesFree": { resource: "inodes", condition: "DiskPressure" },
  "pid.available": { resource: "pids", condition: "PIDPressure" },
};

/** What was measured. */
export interface Measured {
  machine: MachineFigures;
  nodeFs: FileSystem;
  imageFs?: ImageFileSystem;
}

interface Observation {
  available: number;
  capacity: number;
}

type Observations = ReadonlyMap<Signal, Observation>;

/** What evicting needs of its node. */
export interface EvictionPorts {
  clock: Pick<Clock, "now">;
  measure(): Promise<Measured>;
  /** The pods that run, with what they use. */
  candidates(): Promise<Candidate[]>;
  /** Whether anything of a pod still runs. */
  holds(pod: Pod): boolean;
  /** Removes images that nobody uses. */
  reclaim?(): Promise<void>;
  /** A warning about the node. */
  event(reason: string, message: string): void;
  /** False when the pod ends already. */
  evict(pod: Pod, message: string, options: { graceMs: number; signal: Signal }): boolean;
}

/** See the module's text. */
export class Eviction {
  readonly #options: EvictionOptions;
  readonly #ports: EvictionPorts;
  /** Thresholds that are met, since when. */
  #metSince = new Map<Threshold, number>();
  /** Those among them whose time has come. */
  #met: Threshold[] = [];
  readonly #seenAt = new Map<string, number>();
  #leaving: { pod: Pod; until: number } | undefined;
  /** The conditions that hold: `MemoryPressure`, `DiskPressure`, `PIDPressure`. */
  conditions: readonly string[] = [];

  constructor(options: EvictionOptions, ports: EvictionPorts) {
    this.#options = options;
    this.#ports = ports;
  }

  /** Why a pod is not taken while something is short; undefined when it is. */
  refusal(pod: Pod, isBestEffort: boolean): string | undefined {
    const { conditions } = this;
    if (conditions.length === 0 || isCritical(pod)) return undefined;
    if (conditions.length === 1 && conditions[0] === "MemoryPressure") {
      if (!isBestEffort || toleratesMemoryPressure(pod)) return undefined;
    }
    return `The node had condition: [${conditions.join(" ")}]. `;
  }

  /** Looks once, and evicts if it has to. */
  async look(): Promise<void> {
    const { clock, holds } = this.#ports;
    const now = clock.now();
    if (this.#leaving && holds(this.#leaving.pod) && now < this.#leaving.until) return;
    this.#leaving = undefined;
    const measured = await this.#ports.measure();
    const seen = observed(measured);
    const due = this.#note(seen, now);
    // Memory first.
    due.sort((a, b) => Number(isMemory(b)) - Number(isMemory(a)));
    const [first] = due;
    if (first) await this.#act(first, due, seen, measured.imageFs?.own ?? false);
  }

  /** Moves all that is remembered on; returns the thresholds whose grace period is over. */
  #note(seen: Observations, now: number): Threshold[] {
    const { thresholds, pressureTransitionMs } = this.#options;
    const met = thresholds.filter((one) =>
      isMet(one, seen, false) || (this.#met.includes(one) && isMet(one, seen, true))
    );
    this.#metSince = new Map(met.map((one) => [one, this.#metSince.get(one) ?? now]));
    for (const { signal } of met) this.#seenAt.set(SIGNALS[signal].condition, now);
    this.conditions = [...this.#seenAt].filter(([name, at]) =>
      now - at < pressureTransitionMs ||
      met.some(({ signal }) => SIGNALS[signal].condition === name)
    ).map(([name]) => name);
    this.#met = met.filter((one) => now - this.#metSince.get(one)! >= one.graceMs);
    return [...this.#met];
  }

  async #act(
    { signal, graceMs }: Threshold,
    met: readonly Threshold[],
    seen: Observations,
    ownImageFs: boolean,
  ): Promise<void> {
    const { event, evict, clock } = this.#ports;
    const { resource } = SIGNALS[signal];
    event("EvictionThresholdMet", `Attempting to reclaim ${resource}`);
    if (await this.#reclaimed(signal, ownImageFs)) return;
    const candidates = await this.#ports.candidates();
    for (const one of ranked(candidates, signal, ownImageFs)) {
      const { pod } = one;
      if (isCritical(pod)) continue;
      const asked = (pod.spec.terminationGracePeriodSeconds ?? 30) * 1000;
      const time = graceMs === 0
        ? EVICTION_GRACE_MS
        : Math.min(this.#options.maxPodGraceSeconds * 1000, asked);
      const message = `The node was low on resource: ${resource}. ` +
        thresholdText(resource, met, seen) + evictionDetails(resource, one);
      if (!evict(pod, message, { graceMs: time, signal })) continue;
      this.#leaving = { pod, until: clock.now() + CLEANUP_MS_MAX };
      return;
    }
  }

  /** Frees what belongs to no pod; true when that was enough. */
  async #reclaimed(signal: Signal, ownImageFs: boolean): Promise<boolean> {
    const { reclaim, measure } = this.#ports;
    const disk = signal.startsWith("imagefs.") || (signal.startsWith("nodefs.") && !ownImageFs);
    if (!reclaim || !disk) return false;
    await reclaim();
    const seen = observed(await measure());
    return !this.#options.thresholds.some((one) => isMet(one, seen, true));
  }
}

function isMemory({ signal }: Threshold): boolean {
  return signal === "memory.available";
}

function toleratesMemoryPressure({ spec }: Pod): boolean {
  return (spec.tolerations ?? []).some((one) =>
    tolerates(one, { key: "node.kubernetes.io/memory-pressure", effect: "NoSchedule" })
  );
}

function observed({ machine, nodeFs, imageFs }: Measured): Observations {
  const { memory, processes, processesMax } = machine;
  const seen = new Map<Signal, Observation>();
  const disk = (name: "nodefs" | "imagefs", fs: FileSystem) => {
    const { availableBytes, capacityBytes, inodesFree, inodes } = fs;
    seen.set(`${name}.available`, { available: availableBytes, capacity: capacityBytes });
    seen.set(`${name}.inodesFree`, { available: inodesFree, capacity: inodes });
  };
  const available = Math.max(0, memory.capacityBytes - memory.workingSetBytes);
  seen.set("memory.available", { available, capacity: memory.capacityBytes });
  disk("nodefs", nodeFs);
  if (imageFs) disk("imagefs", imageFs);
  // Systems that do not say how many processes there may be have no end of them.
  if (Number.isFinite(processesMax)) {
    seen.set("pid.available", { available: processesMax - processes, capacity: processesMax });
  }
  return seen;
}

function amountOf(amount: Amount, capacity: number): number {
  if ("quantity" in amount) return parseQuantity(amount.quantity).value();
  return Math.floor(capacity * amount.percentage);
}

/** Whether there is less than a threshold wants; `reclaim`: than it and its minimum to reclaim. */
function isMet({ signal, value, minReclaim }: Threshold, seen: Observations, reclaim: boolean) {
  const found = seen.get(signal);
  if (!found) return false;
  const more = reclaim && minReclaim ? amountOf(minReclaim, found.capacity) : 0;
  return found.available < amountOf(value, found.capacity) + more;
}

function thresholdText(resource: string, met: readonly Threshold[], seen: Observations): string {
  const threshold = met.find(({ signal }) => SIGNALS[signal].resource === resource);
  const found = threshold && seen.get(threshold.signal);
  if (!found) return "";
  const { value } = threshold;
  const quantity = "quantity" in value
    ? parseQuantity(value.quantity).toString()
    : amountText(resource, amountOf(value, found.capacity));
  return `Threshold quantity: ${quantity}, available: ${amountText(resource, found.available)}. `;
}
