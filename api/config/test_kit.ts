/** The command line's part of the test kit (`api/plesio/kit.ts`): a cluster in memory, under a clock that tests move. */
import { parseTime } from "../machinery/time.ts";
import { flag, integer, text, UsageError } from "./flag_types.ts";

/** Its flags. */
export const TEST_KIT_FLAGS = {
  "test-kit": flag(
    "for tests: time moves when /plesio/v1/clock says so; faults, a ledger and reset are at hand. In memory, nodes are " +
      "simulated, and chance is by --seed, so that its keys are no secret",
  ),
  seed: integer(1, "with --test-kit: what chance is drawn from", { max: 2 ** 31 - 1 }),
  "start-time": text(
    "with --test-kit: the time it begins with (default: now, as clients compare it with theirs)",
    "RFC3339",
  ),
};

/** What it is of a cluster's options. */
export interface TestKitOptions {
  clock: "real" | "manual";
  testKit?: boolean;
  seed?: number;
  startMs?: number;
  runtime: "auto" | "isolate" | "simulated";
}

/** What flags ask for; `now` is the machine's time. */
export function testKitOptions(
  flags: {
    "test-kit": boolean;
    seed: number;
    "start-time"?: string;
    runtime: TestKitOptions["runtime"];
    "container-runtime-endpoint"?: string;
  },
  now: number,
): TestKitOptions {
  const { seed, "start-time": start, runtime } = flags;
  if (!flags["test-kit"]) {
    if (start !== undefined) throw new UsageError("--start-time goes with --test-kit");
    return { clock: "real", runtime };
  }
  if (runtime === "isolate" || flags["container-runtime-endpoint"] !== undefined) {
    throw new UsageError(
      "--test-kit has simulated nodes alone: processes do not live by its clock",
    );
  }
  const startMs = start === undefined ? now : parseTime(start);
  if (startMs === undefined) {
    throw new UsageError(
      `--start-time must be a time such as 2026-01-01T12:00:00Z, not "${start}"`,
    );
  }
  return { clock: "manual", testKit: true, seed, startMs, runtime: "simulated" };
}
