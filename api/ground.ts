/** What a cluster stands on: its clock, whether it runs processes, and what a fork of it is started with. */
import { type Clock, ManualClock, RealClock } from "../kv/mod.ts";
import type { FrontOptions } from "./server/front_options.ts";

/** Which clock a cluster has. */
export interface ClockOptions {
  clock?: "manual" | "real" | Clock;
  seed?: number;
  startMs?: number;
}

/** Its clock. `start`: where a manual clock of its own begins (default: where they all do). */
export function clockOf(
  { clock = "manual", seed, startMs }: ClockOptions,
  start: { startMs?: number; stream?: number } = { startMs },
): Clock {
  if (clock === "real") return new RealClock();
  return clock === "manual" ? new ManualClock({ seed, ...start }) : clock;
}

/**
 * What a fork does not share with its cluster: processes, what they want of the machine, and what is told of requests.
 * Its nodes are simulated under the names of the cluster's own; a real cluster's fork has a real clock unless it is
 * given another.
 */
export function forkOptions(
  { clock = "manual", seed, front }: ClockOptions & { front?: FrontOptions },
  { serviceRange, podRange }: { serviceRange: string; podRange: string },
) {
  const manual = typeof clock === "object" && clock.manual;
  return {
    runtime: "simulated",
    containerRuntime: undefined,
    csiControllerSockets: undefined,
    snapshot: undefined,
    kv: undefined,
    encryptionAnew: undefined,
    front: front && { ...front, audit: undefined },
    serviceRange,
    clusterCidr: podRange,
    clock: typeof clock === "string" ? clock : manual ? "manual" : "real",
    seed: clock instanceof ManualClock ? clock.seed : seed,
  } as const;
}

/** Whether a cluster's nodes run processes. */
export function isReal({ runtime }: { runtime?: string }): boolean {
  return runtime === "auto" || runtime === "isolate";
}
