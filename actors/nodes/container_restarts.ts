/**
 * When a container may be started again: the crash back-off (10 s, doubling to 5 min, forgotten after
 * 10 min), and the waits after errors that have nothing to do with a crash (image, configuration).
 * Keeps its numbers in the container's record.
 */
import { formatDuration } from "../../api/machinery/time.ts";
import type { ContainerRecord } from "./container_record.ts";
import { containerEvent } from "./container_start.ts";
import type { WorkerPorts } from "./ports.ts";
import { describePod, type Pod } from "./types.ts";

/** Upstream's MaxContainerBackOff and its start; forgotten after twice the longest. */
export const CRASH_BACKOFF_MS_MIN = 10_000;
export const CRASH_BACKOFF_MS_MAX = 300_000;
const CRASH_FORGET_MS = 2 * CRASH_BACKOFF_MS_MAX;
/** Between attempts to pull an image. */
const PULL_BACKOFF_MS_MIN = 10_000;
const PULL_BACKOFF_MS_MAX = 300_000;
/** Between attempts to make a container whose configuration is wrong. */
const CONFIG_RETRY_MS = 5_000;

/** See the module's text. */
export class ContainerRestarts {
  readonly #ports: WorkerPorts;

  constructor(ports: WorkerPorts) {
    this.#ports = ports;
  }

  /** Whether it may start now; sets what it waits for when not. */
  mayStart(pod: Pod, record: ContainerRecord, now: number): boolean {
    if (record.retryAt > now) return false;
    if (record.phase !== "exited") return true;
    const endedAt = Date.parse(record.end?.finishedAt ?? "") || now;
    if (endedAt - record.backoffAt > CRASH_FORGET_MS) record.backoffMs = 0;
    const until = endedAt + record.backoffMs;
    if (record.backoffMs && now < until) {
      if (record.waiting?.reason !== "CrashLoopBackOff") this.#say(pod, record);
      return false;
    }
    record.waiting = undefined;
    return true;
  }

  /** Notes that one that has ended is started once more: it waits longer the next time. */
  restarted(record: ContainerRecord, now: number): void {
    const doubled = record.backoffMs ? record.backoffMs * 2 : CRASH_BACKOFF_MS_MIN;
    record.backoffMs = Math.min(CRASH_BACKOFF_MS_MAX, doubled);
    record.backoffAt = now;
  }

  #say(pod: Pod, record: ContainerRecord): void {
    const who = describePod(pod);
    record.waiting = {
      reason: "CrashLoopBackOff",
      message: `back-off ${formatDuration(record.backoffMs)} restarting failed ` +
        `container=${record.name} pod=${who}`,
    };
    const text = `Back-off restarting failed container ${record.name} in pod ${who}`;
    containerEvent(this.#ports, pod, record, "Warning", "BackOff", text);
  }

  /** Notes that a start failed before the container ran. */
  failed(pod: Pod, record: ContainerRecord, reason: string, message: string, now: number): void {
    if (reason === "ErrImagePull") {
      const doubled = record.retryMs ? record.retryMs * 2 : PULL_BACKOFF_MS_MIN;
      record.retryMs = Math.min(PULL_BACKOFF_MS_MAX, doubled);
      const text = `Back-off pulling image "${record.image}"`;
      if (record.waiting?.reason === "ErrImagePull") {
        containerEvent(this.#ports, pod, record, "Normal", "BackOff", text);
        containerEvent(this.#ports, pod, record, "Warning", "Failed", "Error: ImagePullBackOff");
        record.waiting = { reason: "ImagePullBackOff", message: `${text}: ${reason}: ${message}` };
      } else if (record.waiting?.reason !== "ImagePullBackOff") {
        record.waiting = { reason, message };
      }
    } else {
      record.retryMs = CONFIG_RETRY_MS;
      record.waiting = { reason, message };
    }
    record.retryAt = now + record.retryMs;
  }

  succeeded(record: ContainerRecord): void {
    record.retryAt = 0;
    record.retryMs = 0;
  }

  /** When `mayStart` may change its mind; Infinity when time alone changes nothing. */
  dueAt(record: ContainerRecord): number {
    if (record.retryAt && record.phase !== "running") return record.retryAt;
    if (record.phase !== "exited" || record.waiting?.reason !== "CrashLoopBackOff") return Infinity;
    return Date.parse(record.end?.finishedAt ?? "") + record.backoffMs;
  }
}
