/**
 * The kubelet's flags: what nodes of this machine are told. Names, values and meaning are upstream's (v1.36,
 * `cmd/kubelet/app/options`); fields that upstream has in its configuration file alone have their names in kebab case.
 *
 * Of the thresholds of evictions only memory's has a default, unlike upstream: a developer's disk that is nearly full
 * is no reason to stop work.
 */
import { SYSTEM_CRITICAL } from "../kinds/mod.ts";
import { parseQuantity } from "../machinery/quantity.ts";
import { parseDuration } from "../machinery/time.ts";
import { duration, type Flag, integer, list, text, textOr, UsageError } from "./flag_types.ts";

/** All of them. */
export const KUBELET_FLAGS = {
  "pod-manifest-path": text(
    "folder of static pods (or one file): what is in it runs on the first node, whatever the API says",
    "DIR",
  ),
  "eviction-hard": textOr(
    "memory.available<100Mi",
    "below what a real node evicts pods at once; further signals are nodefs.available, nodefs.inodesFree, " +
      "imagefs.available, imagefs.inodesFree and pid.available",
  ),
  "eviction-soft": list("below what it evicts them after a grace period: memory.available<1Gi, …"),
  "eviction-soft-grace-period": list("those periods: memory.available=1m30s, …"),
  "eviction-minimum-reclaim": list("how far above a threshold it goes on: nodefs.available=1Gi, …"),
  "eviction-max-pod-grace-period": integer(0, "seconds that a pod evicted softly has at most"),
  "eviction-pressure-transition-period": duration(
    "5m0s",
    "how long a node tells of a pressure that is over",
  ),
  "shutdown-grace-period": duration(
    "0s",
    "when a real node is stopped it ends its pods within that time; 0s: they run on",
  ),
  "shutdown-grace-period-critical-pods": duration("0s", "the last part of it, for critical pods"),
  "shutdown-grace-period-by-pod-priority": list(
    "instead of both: seconds by the least priority that has them, as in 0=20,2000000000=10",
  ),
} as const satisfies Record<string, Flag<unknown>>;

type Values = { [Name in keyof typeof KUBELET_FLAGS]: (typeof KUBELET_FLAGS)[Name]["default"] };

/** What may run short. */
const EVICTION_SIGNALS = [
  "memory.available",
  "nodefs.available",
  "nodefs.inodesFree",
  "imagefs.available",
  "imagefs.inodesFree",
  "pid.available",
] as const;

export type Signal = (typeof EVICTION_SIGNALS)[number];

/** A number, or a part of all there is. */
export type Amount = { quantity: string } | { percentage: number };

/** Below `value` there is too little. */
export interface Threshold {
  signal: Signal;
  value: Amount;
  /** Not before it has been so for that time; 0: at once. */
  graceMs: number;
  minReclaim?: Amount;
}

/** When a node evicts. */
export interface EvictionOptions {
  thresholds: readonly Threshold[];
  pressureTransitionMs: number;
  maxPodGraceSeconds: number;
}

/** Pods of that priority and more have that time to end. */
export interface ShutdownPeriod {
  priority: number;
  graceSeconds: number;
}

/** What nodes are told. All of it may be left out. */
export interface KubeletOptions {
  /** Where the manifests of static pods are: a folder, or one file (none). */
  manifests?: string;
  /** When pods are evicted (never). */
  eviction?: EvictionOptions;
  /** How pods are ended when the node is, the lowest priority first (they run on). */
  shutdown?: readonly ShutdownPeriod[];
}

/** What flags tell nodes. Throws UsageError. */
export function kubeletOptions(flags: Values): KubeletOptions {
  const manifests = flags["pod-manifest-path"];
  if (manifests !== undefined && !manifests.startsWith("/")) {
    throw new UsageError(
      `--pod-manifest-path must be an absolute path such as /etc/kubernetes/manifests, not "${manifests}"`,
    );
  }
  return { manifests, eviction: evictionOf(flags), shutdown: shutdownOf(flags) };
}

function evictionOf(flags: Values): EvictionOptions {
  const periods = new Map<Signal, number>();
  const least = new Map<Signal, Amount>();
  const name = "eviction-soft-grace-period";
  for (const [signal, text] of pairs(flags, name, "=")) {
    periods.set(signal, read(name, () => parseDuration(text)));
  }
  for (const [signal, text] of pairs(flags, "eviction-minimum-reclaim", "=")) {
    const amount = amountOf("eviction-minimum-reclaim", signal, text, { zero: true });
    if (amount) least.set(signal, amount);
  }
  const threshold = (flag: keyof Values, [signal, text]: Pair, graceMs: number): Threshold[] => {
    const value = amountOf(flag, signal, text, {});
    return value ? [{ signal, value, graceMs, minReclaim: least.get(signal) }] : [];
  };
  const soft = pairs(flags, "eviction-soft", "<").flatMap((pair) => {
    const graceMs = periods.get(pair[0]);
    if (graceMs !== undefined) return threshold("eviction-soft", pair, graceMs);
    throw new UsageError(
      `--eviction-soft: grace period must be specified for the soft eviction threshold ${pair[0]}`,
    );
  });
  return {
    thresholds: [
      ...pairs(flags, "eviction-hard", "<").flatMap((pair) => threshold("eviction-hard", pair, 0)),
      ...soft,
    ],
    pressureTransitionMs: flags["eviction-pressure-transition-period"],
    maxPodGraceSeconds: flags["eviction-max-pod-grace-period"],
  };
}

type Pair = readonly [Signal, string];

function pairs(
  flags: Values,
  flag:
    | "eviction-hard"
    | "eviction-soft"
    | "eviction-soft-grace-period"
    | "eviction-minimum-reclaim",
  sign: string,
): Pair[] {
  const value = flags[flag];
  const words = typeof value === "string"
    ? value.split(",").map((word) => word.trim()).filter(Boolean)
    : value;
  return words.map((word) => {
    const [signal, text, ...more] = word.split(sign);
    if (text === undefined || more.length) {
      throw new UsageError(`--${flag} must be such as memory.available${sign}…, not "${word}"`);
    }
    const known = EVICTION_SIGNALS.find((one) => one === signal);
    if (!known) throw new UsageError(`--${flag}: unsupported eviction signal ${signal}`);
    return [known, text];
  });
}

/** An amount; undefined where it is all or nothing, which is no threshold. */
function amountOf(
  flag: string,
  signal: Signal,
  text: string,
  { zero = false }: { zero?: boolean },
): Amount | undefined {
  if (!text.endsWith("%")) {
    const { sign } = read(flag, () => parseQuantity(text));
    if (sign > 0 || (zero && sign === 0)) return { quantity: text };
    throw new UsageError(`--${flag}: eviction threshold ${signal} must be positive: ${text}`);
  }
  const percentage = Number(text.slice(0, -1)) / 100;
  if (percentage === 0 || percentage === 1) return undefined;
  if (percentage > 0 && percentage < 1) return { percentage };
  const side = percentage > 1 ? "<= 100%" : ">= 0%";
  throw new UsageError(
    `--${flag}: eviction percentage threshold ${signal} must be ${side}: ${text}`,
  );
}

function read<T>(flag: string, how: () => T): T {
  try {
    return how();
  } catch (error) {
    throw new UsageError(`--${flag}: ${(error as Error).message}`);
  }
}

function shutdownOf(flags: Values): ShutdownPeriod[] | undefined {
  const all = flags["shutdown-grace-period"];
  const critical = flags["shutdown-grace-period-critical-pods"];
  const byPriority = flags["shutdown-grace-period-by-pod-priority"];
  const wrong = (why: string) => new UsageError(`invalid configuration: ${why}`);
  if (byPriority.length) {
    if (all || critical) {
      throw wrong(
        "cannot specify both --shutdown-grace-period-by-pod-priority and --shutdown-grace-period",
      );
    }
    return byPriority.map((word) => {
      const [, priority, seconds] = /^(-?\d+)=(\d+)$/.exec(word) ?? [];
      if (seconds) return { priority: Number(priority), graceSeconds: Number(seconds) };
      throw new UsageError(
        `--shutdown-grace-period-by-pod-priority must be such as 0=20,2000000000=10, not "${word}"`,
      );
    }).sort((a, b) => a.priority - b.priority);
  }
  for (const [name, ms] of [["", all], ["-critical-pods", critical]] as const) {
    if (ms === 0 || ms >= 1000) continue;
    throw wrong(`--shutdown-grace-period${name} must be either zero or otherwise >= 1 sec`);
  }
  if (critical > all) {
    throw wrong("--shutdown-grace-period-critical-pods must be <= --shutdown-grace-period");
  }
  if (all === 0) return undefined;
  const seconds = (ms: number) => Math.floor(ms / 1000);
  return [
    { priority: 0, graceSeconds: seconds(all - critical) },
    { priority: SYSTEM_CRITICAL, graceSeconds: seconds(critical) },
  ];
}
