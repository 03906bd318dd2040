import { assertEquals, assertThrows } from "@std/assert";
import { readFlags, UsageError } from "./flags.ts";
import { kubeletOptions } from "./kubelet.ts";

const read = (...args: string[]) => kubeletOptions(readFlags(args));

Deno.test("kubeletOptions() reads thresholds, periods and what to reclaim", () => {
  const minutes5 = 300_000;
  assertEquals(read().eviction, {
    thresholds: [{
      signal: "memory.available",
      value: { quantity: "100Mi" },
      graceMs: 0,
      minReclaim: undefined,
    }],
    pressureTransitionMs: minutes5,
    maxPodGraceSeconds: 0,
  });
  const { eviction } = read(
    "--eviction-hard=nodefs.available<10%,imagefs.available<0%",
    "--eviction-soft=pid.available<100",
    "--eviction-soft-grace-period=pid.available=1m30s",
    "--eviction-minimum-reclaim=nodefs.available=1Gi",
    "--eviction-pressure-transition-period=30s",
    "--eviction-max-pod-grace-period=7",
  );
  assertEquals(eviction, {
    thresholds: [
      {
        signal: "nodefs.available",
        value: { percentage: 0.1 },
        graceMs: 0,
        minReclaim: { quantity: "1Gi" },
      },
      {
        signal: "pid.available",
        value: { quantity: "100" },
        graceMs: 90_000,
        minReclaim: undefined,
      },
    ],
    pressureTransitionMs: 30_000,
    maxPodGraceSeconds: 7,
  });
  assertEquals(read("--eviction-hard=").eviction?.thresholds, []);
});

Deno.test("kubeletOptions() divides the time of a shutdown", () => {
  assertEquals(read().shutdown, undefined);
  assertEquals(
    read("--shutdown-grace-period=30s", "--shutdown-grace-period-critical-pods=10s").shutdown,
    [{ priority: 0, graceSeconds: 20 }, { priority: 2_000_000_000, graceSeconds: 10 }],
  );
  assertEquals(
    read("--shutdown-grace-period-by-pod-priority=1000=5,0=20").shutdown,
    [{ priority: 0, graceSeconds: 20 }, { priority: 1000, graceSeconds: 5 }],
  );
});

Deno.test("kubeletOptions() refuses what makes no sense", () => {
  for (
    const [flag, why] of [
      ["--pod-manifest-path=manifests", "must be an absolute path"],
      ["--eviction-hard=memory.available=1Gi", "must be such as memory.available<…"],
      ["--eviction-hard=luck.available<1", "unsupported eviction signal luck.available"],
      [
        "--eviction-hard=memory.available<-1",
        "eviction threshold memory.available must be positive: -1",
      ],
      ["--eviction-hard=memory.available<101%", "must be <= 100%: 101%"],
      ["--eviction-hard=memory.available<-1%", "must be >= 0%: -1%"],
      [
        "--eviction-soft=memory.available<1Gi",
        "grace period must be specified for the soft eviction threshold memory.available",
      ],
      ["--eviction-soft-grace-period=memory.available=soon", "--eviction-soft-grace-period: "],
      ["--shutdown-grace-period=500ms", "must be either zero or otherwise >= 1 sec"],
      ["--shutdown-grace-period-critical-pods=1s", "must be <= --shutdown-grace-period"],
      ["--shutdown-grace-period-by-pod-priority=0:1", "must be such as 0=20"],
    ]
  ) assertThrows(() => read(flag), UsageError, why);
  assertThrows(
    () => read("--shutdown-grace-period=2s", "--shutdown-grace-period-by-pod-priority=0=1"),
    UsageError,
    "cannot specify both",
  );
});
