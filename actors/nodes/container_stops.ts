/**
 * Stops containers within a grace period: preStop hook, the stop signal, and the kill when the time is
 * over. App containers stop together; sidecars follow one by one, the last one first, so that what an
 * app needs is there as long as it runs (pkg/kubelet/kuberuntime/kuberuntime_termination_order.go).
 */
import { containerNamed, type ContainerRecord } from "./container_record.ts";
import { containerEvent } from "./container_start.ts";
import { canRun, runHook } from "./hooks.ts";
import type { WorkerPorts } from "./ports.ts";
import type { Pod } from "./types.ts";

/** What a container gets after its preStop hook used up the grace period. */
const GRACE_AFTER_HOOK_MS = 2000;

/** See the module's text. */
export class ContainerStops {
  readonly #ports: WorkerPorts;
  readonly #pod: () => Pod;
  readonly #wake: () => void;
  readonly #hooks = new Map<string, AbortController>();

  constructor(ports: WorkerPorts, pod: () => Pod, wake: () => void) {
    this.#ports = ports;
    this.#pod = pod;
    this.#wake = wake;
  }

  /** Stops what is due when the whole pod has to be gone by `by`. */
  advance(records: readonly ContainerRecord[], by: number): void {
    const graceMs = Math.max(0, by - this.#ports.clock.now());
    let apps = false;
    for (const record of records) {
      if (record.kind === "sidecar") continue;
      if (record.phase === "starting") apps = true;
      if (record.phase !== "running") continue;
      apps = true;
      this.stop(record, graceMs);
    }
    if (apps) return;
    for (let i = records.length - 1; i >= 0; i--) {
      const record = records[i];
      if (record.kind !== "sidecar") continue;
      if (record.phase === "starting") return;
      if (record.phase !== "running") continue;
      this.stop(record, graceMs);
      return; // the one before it stops when this one has
    }
  }

  /** Stops one running container; a second call counts only if it leaves less time. */
  stop(record: ContainerRecord, graceMs: number, message?: string): void {
    const now = this.#ports.clock.now();
    const by = now + graceMs;
    if (record.phase !== "running" || !record.id || !record.runtime) return;
    const again = record.stopBy !== undefined;
    if (again && by >= record.stopBy!) return;
    record.stopBy = by;
    const pod = this.#pod();
    const container = containerNamed(pod, record.name);
    const signal = container?.lifecycle?.stopSignal;
    if (again) {
      this.#hooks.get(record.name)?.abort();
      record.runtime.stop(record.id, graceMs, signal);
      return;
    }
    const text = message ?? `Stopping container ${record.name}`;
    containerEvent(this.#ports, pod, record, "Normal", "Killing", text);
    const hook = container?.lifecycle?.preStop;
    if (!hook || !canRun(hook, record.runtime) || graceMs <= 0) {
      record.runtime.stop(record.id, graceMs, signal);
    } else void this.#hooked(record, by, signal);
  }

  async #hooked(record: ContainerRecord, by: number, signal: string | undefined): Promise<void> {
    const ports = this.#ports;
    const pod = this.#pod();
    const container = containerNamed(pod, record.name)!;
    const abort = new AbortController();
    this.#hooks.set(record.name, abort);
    const { id, runtime } = record;
    // What has come after it is no business of its hook
    const runs = () => record.id === id && record.phase === "running";
    const timer = ports.clock.timer("work", Math.max(0, by - ports.clock.now()), () => {
      abort.abort(new Error("the grace period is over"));
    });
    try {
      const ip = pod.status?.podIP ?? "";
      const target = { ports, pod, container, record, ip };
      await runHook(container.lifecycle!.preStop!, target, abort.signal);
    } catch {
      if (runs()) {
        const text = "PreStopHook failed";
        containerEvent(ports, pod, record, "Warning", "FailedPreStopHook", text);
      }
    }
    timer.cancel();
    if (!runs()) return;
    this.#hooks.delete(record.name);
    const left = Math.max(by - ports.clock.now(), GRACE_AFTER_HOOK_MS);
    runtime!.stop(id!, left, signal);
    this.#wake();
  }

  /** A container has ended: its hook has nothing more to prepare. */
  ended({ name }: ContainerRecord): void {
    this.#hooks.get(name)?.abort(new Error("container terminated before its hook finished"));
    this.#hooks.delete(name);
  }

  /** Ends hooks that still run. */
  cancel(): void {
    for (const abort of this.#hooks.values()) abort.abort(new Error("the node is stopping"));
    this.#hooks.clear();
  }
}
