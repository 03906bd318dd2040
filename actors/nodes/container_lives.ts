/**
 * The lives of a pod's containers: begins one (by `startContainer`), keeps its record true while it
 * runs (probes, hooks) and when it ends, and says what a failed start means. When a life may begin is
 * the pod worker's and `ContainerRestarts`' business.
 */
import { parseQuantity } from "../../api/machinery/quantity.ts";
import { containerNamed, type ContainerRecord, terminated, unbegin } from "./container_record.ts";
import type { ContainerRestarts } from "./container_restarts.ts";
import { containerEvent, startContainer } from "./container_start.ts";
import type { ContainerStops } from "./container_stops.ts";
import type { PodSandbox } from "./pod_sandbox.ts";
import type { WorkerPorts } from "./ports.ts";
import { sameStatus } from "./pod_status.ts";
import { ContainerProbes, hasProbes } from "./probes.ts";
import { resizeText } from "./resizes.ts";
import { type ContainerEnd, RuntimeError } from "./runtimes/runtime.ts";
import { type ContainerOf, type Pod, timestamp } from "./types.ts";

/** How soon a resize is tried again that came to nothing. */
export const RESIZE_RETRY_MS = 10_000;

/** What the lives need of their pod. */
export interface LivesOptions {
  ports: WorkerPorts;
  sandbox: PodSandbox;
  restarts: ContainerRestarts;
  stops: ContainerStops;
  pod(): Pod;
  graceMs(): number;
  wake(): void;
}

type Probes = Pick<ContainerProbes, "stop"> & Partial<Pick<ContainerProbes, "stopRestarts">>;

/** See the module's text. */
export class ContainerLives {
  readonly #options: LivesOptions;
  #probes: Map<string, Probes> | undefined;
  #endings: Map<string, (() => void)[]> | undefined;

  constructor(options: LivesOptions) {
    this.#options = options;
  }

  /** Begins a life; never rejects. */
  async begin(record: ContainerRecord, container: ContainerOf, signal: AbortSignal): Promise<void> {
    const { ports, sandbox, stops, pod, graceMs } = this.#options;
    let id: string | undefined;
    // A hook may outlast its container, and then has nothing to say of the one that has come after it.
    const runs = () => record.phase === "running" && record.id === id;
    try {
      await startContainer(
        {
          ports,
          pod: pod(),
          sandbox: sandbox.sandbox!,
          facts: sandbox.facts,
          signal,
          ended: (r, id, end) => this.ended(r, id, end),
          running: (r, c) => {
            id = r.id;
            this.#running(r, c);
          },
        },
        record,
        container,
      );
      if (runs() && !hasProbes(container)) {
        record.started = true;
        record.ready = true;
      }
    } catch (error) {
      if (id === undefined) this.#failed(record, error as Error, signal.aborted);
      // The hook's failure kills it, and the restart policy does the rest.
      else if (runs() && !signal.aborted) stops.stop(record, graceMs(), "FailedPostStartHook");
    }
  }

  /** It has not come to run. */
  #failed(record: ContainerRecord, error: Error, aborted: boolean): void {
    const { ports, restarts, pod } = this.#options;
    const now = ports.clock.now();
    if (aborted) return unbegin(record);
    const reason = error instanceof RuntimeError ? error.reason : "CreateContainerError";
    const { message } = error;
    ports.metrics?.containerStarted(record.kind, reason);
    containerEvent(ports, pod(), record, "Warning", "Failed", `Error: ${message}`);
    if (reason === "StartError") {
      // It was made but could not run: that counts as an end, and is retried as a crash is.
      record.phase = "exited";
      record.end = {
        exitCode: 128,
        reason,
        message,
        startedAt: timestamp(0),
        finishedAt: timestamp(now),
        containerID: record.id,
      };
      ports.metrics?.containerEnded(record.kind, record.end);
      return;
    }
    unbegin(record);
    restarts.failed(pod(), record, reason, message, now);
  }

  #running(record: ContainerRecord, container: ContainerOf): void {
    const { ports, restarts } = this.#options;
    record.phase = "running";
    restarts.succeeded(record);
    ports.metrics?.containerStarted(record.kind);
    record.resources = container.resources;
    record.asked = record.resizeError = record.resizeAt = undefined;
    record.startedAt = ports.clock.now();
    record.end = undefined;
    record.anew = undefined;
    record.waiting = undefined;
    record.stopBy = undefined;
    record.started = false;
    record.ready = false;
    if (!record.runtime?.real) return this.#readyLater(record, container);
    if (!hasProbes(container)) {
      record.started = record.ready = !container.lifecycle?.postStart;
      return;
    }
    this.#probe(record, container);
  }

  #probe(record: ContainerRecord, container: ContainerOf): void {
    const { ports, sandbox, stops, pod, graceMs, wake } = this.#options;
    const target = { ports, pod: pod(), container, record, ip: sandbox.ips[0] ?? "" };
    const probes = new ContainerProbes(target, {
      changed: wake,
      failed: (kind, graceSeconds) => {
        const ms = graceSeconds === undefined ? graceMs() : graceSeconds * 1000;
        const text = record.kind === "sidecar"
          ? `Init container ${record.name} failed ${kind} probe`
          : `Container ${record.name} failed ${kind} probe, will be restarted`;
        stops.stop(record, ms, text);
        wake();
      },
    });
    this.#keep(record, probes);
  }

  #keep(record: ContainerRecord, probes: Probes): void {
    this.#probes ??= new Map();
    this.#probes.get(record.name)?.stop();
    this.#probes.set(record.name, probes);
  }

  /** Nothing answers for a container without a process: it is ready when its probe would first have asked. */
  #readyLater(record: ContainerRecord, container: ContainerOf): void {
    const { ports: { clock }, wake } = this.#options;
    const delayMs = (container.readinessProbe?.initialDelaySeconds ?? 0) * 1000;
    const leftMs = record.startedAt + delayMs - clock.now();
    record.started = true;
    record.ready = leftMs <= 0;
    if (record.ready) return;
    const timer = clock.timer("work", leftMs, () => {
      record.ready = true;
      wake();
    });
    this.#keep(record, { stop: () => timer.cancel() });
  }

  /** Takes over a container that a former life of the node began. */
  recovered(record: ContainerRecord, container: ContainerOf): void {
    if (!record.runtime?.real) {
      if (!record.ready) this.#readyLater(record, container);
    } else if (hasProbes(container)) {
      // What probes have found holds until they find something else.
      const { started, ready } = record;
      this.#probe(record, container);
      record.started = started;
      record.ready = ready;
    } else record.started = record.ready = true;
  }

  /** Notes the end of a life. */
  ended(record: ContainerRecord, id: string, end: ContainerEnd): void {
    if (record.id !== id) return;
    record.phase = "exited";
    record.ready = false;
    record.started = false;
    this.#probes?.get(record.name)?.stop();
    this.#probes?.delete(record.name);
    this.#options.stops.ended(record);
    record.end = terminated(end, id);
    this.#options.ports.metrics?.containerEnded(record.kind, record.end);
    for (const resolve of this.#endings?.get(record.name) ?? []) resolve();
    this.#endings?.delete(record.name);
    this.#options.wake();
  }

  /** Resolves when a container that runs has ended. */
  whenEnded(container: string): Promise<void> {
    return new Promise((resolve) => {
      this.#endings ??= new Map();
      const list = this.#endings.get(container);
      if (list) list.push(resolve);
      else this.#endings.set(container, [resolve]);
    });
  }

  /** The pod has to go: no probe ends a container any more. */
  stopRestarts(): void {
    for (const probes of this.#probes?.values() ?? []) probes.stopRestarts?.();
  }

  /** Stops all probes. */
  cancel(): void {
    for (const probes of this.#probes?.values() ?? []) probes.stop();
    this.#probes = undefined;
  }

  /** What of a container may change: with a new image it begins anew, new resources it gets as it runs. */
  changed(record: ContainerRecord, pod: Pod): void {
    const container = containerNamed(pod, record.name);
    const asked = record.asked ?? record.resources;
    if (record.phase === "running" && container?.resources !== asked) {
      record.asked = container?.resources;
      // Another object that says the same is what a cache hands out after any change of the pod.
      if (!sameStatus(record.asked, asked)) this.#resize(record, container!, pod);
    }
    if (record.phase === "running" && record.resizeAt! <= this.#options.ports.clock.now()) {
      void this.#resizeRunning(record, container!, pod);
    }
    const image = container?.image;
    if (image === undefined || image === record.image) return;
    record.image = image;
    if (record.phase !== "running") return;
    const text = `Container ${record.name} definition changed, will be restarted`;
    this.#options.stops.stop(record, this.#options.graceMs(), text);
  }

  #resize(record: ContainerRecord, container: ContainerOf, pod: Pod): void {
    record.resizeError = record.resizeAt = undefined;
    if (sameStatus(container.resources, record.resources)) return;
    if (restartsFor(container, record.resources)) {
      record.resources = container.resources;
      const text = `Container ${record.name} resize requires restart`;
      return this.#options.stops.stop(record, this.#options.graceMs(), text);
    }
    void this.#resizeRunning(record, container, pod);
  }

  /** Never rejects: what fails is told in the pod's conditions, and is tried again. */
  async #resizeRunning(record: ContainerRecord, container: ContainerOf, pod: Pod): Promise<void> {
    const { ports, wake } = this.#options;
    const { id } = record;
    record.resizeAt = undefined;
    const current = () => record.id === id && sameStatus(record.asked, container.resources);
    try {
      await mayShrink(record, container);
      await record.runtime?.resize?.(id!, container, pod);
      if (!current()) return;
      record.resources = container.resources;
      record.resizeError = undefined;
    } catch (error) {
      if (!current()) return;
      const { message } = error as Error;
      record.resizeAt = ports.clock.now() + RESIZE_RETRY_MS;
      if (message !== record.resizeError && ports.events) {
        ports.recorder.event(pod, "Warning", "ResizeError", resizeText("error", pod, message));
      }
      record.resizeError = message;
    }
    wake();
  }
}

/** A limit below what a container uses would kill it: rejects in upstream's words. */
async function mayShrink(record: ContainerRecord, { name, resources }: ContainerOf): Promise<void> {
  const [wanted, now] = [resources, record.resources].map((of) =>
    parseQuantity(of?.limits?.memory ?? 0).value()
  );
  if (!record.runtime?.real || !wanted || (now && wanted >= now)) return;
  const used = (await record.runtime.stats(record.id!))?.memoryBytes;
  if (used === undefined || used < wanted) return;
  throw new Error(
    `cannot decrease memory limits: attempting to set container "${name}" memory limit (${wanted}) ` +
      `below current usage (${used})`,
  );
}

/** Whether a container must begin anew to have what it has not had before: so says its policy of a resource. */
function restartsFor(
  { resources, resizePolicy = [] }: ContainerOf,
  before: ContainerOf["resources"],
): boolean {
  return resizePolicy.some(({ resourceName: name, restartPolicy }) =>
    restartPolicy === "RestartContainer" &&
    (resources?.limits?.[name] !== before?.limits?.[name] ||
      resources?.requests?.[name] !== before?.requests?.[name])
  );
}
