/**
 * The probes of one running container: startup, then liveness and readiness, each at its own period,
 * with thresholds and Events as upstream's prober workers have them (`pkg/kubelet/prober/worker.go`).
 * Timers are background timers: settling a cluster does not wait for a probe.
 */
import type { DeepReadonly } from "../../api/machinery/types.ts";
import type { Timer } from "../../kv/clock.ts";
import { containerEvent } from "./container_start.ts";
import { probeOnce, type ProbeTarget } from "./probe_action.ts";
import type { Probe } from "./types.ts";

export type ProbeKind = "startup" | "liveness" | "readiness";

/** What probes tell. */
export interface ProbeEvents {
  /** `started` or `ready` of the record has changed. */
  changed(): void;
  /** The container must be killed: its startup or liveness probe has failed often enough. */
  failed(kind: "startup" | "liveness", graceSeconds: number | undefined): void;
}

const TITLES = { startup: "Startup", liveness: "Liveness", readiness: "Readiness" } as const;

class ProbeWorker {
  readonly kind: ProbeKind;
  readonly #probe: DeepReadonly<Probe>;
  readonly #target: ProbeTarget;
  readonly #events: ProbeEvents;
  #timer: Timer | undefined;
  #stopped = false;
  #running = false;
  #streak = 0;
  #last: "success" | "failure" | undefined;

  constructor(
    kind: ProbeKind,
    probe: DeepReadonly<Probe>,
    target: ProbeTarget,
    events: ProbeEvents,
  ) {
    this.kind = kind;
    this.#probe = probe;
    this.#target = target;
    this.#events = events;
    const sinceStart = target.ports.clock.now() - target.record.startedAt;
    this.#arm(Math.max(0, (probe.initialDelaySeconds ?? 0) * 1000 - sinceStart));
  }

  stop(): void {
    this.#stopped = true;
    this.#timer?.cancel();
  }

  /** Probes again at once, as readiness does when the container has just started. */
  hurry(): void {
    if (this.#stopped || this.#running) return;
    this.#timer?.cancel();
    void this.#attempt();
  }

  #arm(delayMs: number): void {
    if (this.#stopped) return;
    const { clock } = this.#target.ports;
    this.#timer = clock.timer("background", delayMs, () => void this.#attempt());
  }

  async #attempt(): Promise<void> {
    const { record } = this.#target;
    const period = (this.#probe.periodSeconds ?? 10) * 1000;
    // Until it has started only the startup probe counts.
    if (this.kind !== "startup" && !record.started) return this.#arm(Math.min(period, 1000));
    this.#running = true;
    const { result, output } = await probeOnce(this.#probe, this.#target);
    this.#running = false;
    if (this.#stopped) return;
    this.#count(result);
    if (result !== "unknown") this.#note(result === "failure" ? "failure" : "success");
    this.#tell(result, output);
    if (!this.#stopped) this.#arm(period);
  }

  #count(result: string): void {
    const { ports, pod, container } = this.#target;
    if (!ports.metrics) return;
    const { name, namespace = "", uid } = pod.metadata;
    ports.metrics.probes.add({
      probe_type: TITLES[this.kind],
      result: RESULTS[result] ?? result,
      container: container.name,
      pod: name,
      namespace,
      pod_uid: uid,
    });
  }

  #tell(result: string, output: string): void {
    if (result === "success") return;
    const { ports, pod, record } = this.#target;
    const title = TITLES[this.kind];
    if (result === "failure") {
      const text = `${title} probe failed: ${output}`;
      containerEvent(ports, pod, record, "Warning", "Unhealthy", text);
    } else if (result === "unknown") {
      const text = `${title} probe errored and resulted in unknown state: ${output}`;
      containerEvent(ports, pod, record, "Warning", "Unhealthy", text);
    } else {
      const text = `${title} probe warning: ${output}`;
      containerEvent(ports, pod, record, "Warning", "ProbeWarning", text);
    }
  }

  #note(result: "success" | "failure"): void {
    this.#streak = result === this.#last ? this.#streak + 1 : 1;
    this.#last = result;
    const needed = result === "success"
      ? this.#probe.successThreshold ?? 1
      : this.#probe.failureThreshold ?? 3;
    if (this.#streak < needed) return;
    const { record } = this.#target;
    if (this.kind === "readiness") {
      const ready = result === "success";
      if (record.ready !== ready) {
        record.ready = ready;
        this.#events.changed();
      }
    } else if (result === "failure") {
      const kind = this.kind;
      this.stop();
      this.#events.failed(kind, this.#probe.terminationGracePeriodSeconds);
    } else if (this.kind === "startup" && !record.started) {
      record.started = true;
      this.stop();
      this.#events.changed();
    }
  }
}

/** How metrics call what is none of success, failure and unknown: a warning succeeds. */
const RESULTS: Readonly<Record<string, string>> = {
  success: "successful",
  failure: "failed",
  warning: "successful",
};

/** See the module's text. Makes `started` and `ready` of the record what they are before any probe. */
export class ContainerProbes {
  readonly #workers: ProbeWorker[] = [];

  constructor(target: ProbeTarget, events: ProbeEvents) {
    const { container, record } = target;
    const { startupProbe, livenessProbe, readinessProbe } = container;
    record.started = !startupProbe;
    record.ready = !startupProbe && !readinessProbe;
    const add = (kind: ProbeKind, probe: DeepReadonly<Probe> | undefined, on = events) => {
      if (!probe) return undefined;
      const worker = new ProbeWorker(kind, probe, target, on);
      this.#workers.push(worker);
      return worker;
    };
    const readiness = add("readiness", readinessProbe);
    add("liveness", livenessProbe);
    // Once it has started it is ready, or asked at once whether it is.
    const started = () => {
      if (!readinessProbe) record.ready = true;
      else readiness?.hurry();
      events.changed();
    };
    add("startup", startupProbe, { failed: events.failed, changed: started });
  }

  /** The pod has to go: nobody starts its containers again, but who sends them requests is still told. */
  stopRestarts(): void {
    for (const worker of this.#workers) if (worker.kind !== "readiness") worker.stop();
  }

  stop(): void {
    for (const worker of this.#workers) worker.stop();
  }
}

/** Whether a container has any probe. */
export function hasProbes(container: ProbeTarget["container"]): boolean {
  return !!(container.startupProbe || container.livenessProbe || container.readinessProbe);
}
