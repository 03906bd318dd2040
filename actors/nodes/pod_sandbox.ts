/**
 * What a pod has before and after its containers: volumes, addresses, sandbox. Made in that order,
 * tried again with growing pauses, kept up to date while the pod runs, and taken down once.
 */
import type { Timer } from "../../kv/clock.ts";
import type { ContainerRecord } from "./container_record.ts";
import type { FieldFacts } from "./fields.ts";
import { hostnameOf, hostsFile, resolvFile } from "./pod_files.ts";
import { MountError, type NodeFacts, type WorkerPorts } from "./ports.ts";
import type { Sandbox } from "./runtimes/runtime.ts";
import type { Pod } from "./types.ts";

/** First and longest wait between attempts. */
const RETRY_MS_MIN = 500;
const RETRY_MS_MAX = 122_000;

/** See the module's text. */
export class PodSandbox {
  /** `lost`: it has ended by itself, and what ran in it has to end before there is another. */
  state: "none" | "making" | "ready" | "lost" | "clean" = "none";
  /** Not before this time. */
  retryAt = 0;
  ips: readonly string[];
  sandbox: Sandbox | undefined;
  readonly #ports: WorkerPorts;
  readonly #node: NodeFacts;
  #retryMs = 0;
  #timer: Timer | undefined;

  constructor(ports: WorkerPorts, node: NodeFacts, pod: Pod) {
    this.#ports = ports;
    this.#node = node;
    this.ips = pod.status?.podIPs?.map((p) => p.ip) ?? [];
  }

  /** Fields that containers may ask for. */
  get facts(): FieldFacts {
    const { addresses, allocatable } = this.#node;
    return { hostIPs: addresses, podIPs: this.ips, allocatable };
  }

  /** Whether any container of the pod is a process. */
  isReal(pod: Pod, records: readonly ContainerRecord[]): boolean {
    const { runtimes } = this.#ports;
    if (runtimes.length === 1) return runtimes[0].real;
    const wish = runtimes.find((r) => r.name === pod.spec.runtimeClassName);
    if (wish) return wish.real;
    return records.some((r) => runtimes.find((one) => one.runs(r.image))?.real);
  }

  /** Makes everything; never rejects, but says in Events why it has to be tried again. */
  async make(pod: Pod, records: readonly ContainerRecord[]): Promise<void> {
    this.state = "making";
    const ports = this.#ports;
    try {
      const real = this.isReal(pod, records);
      const network = ports.network.setupPod(pod, this.#node);
      const { ips } = network instanceof Promise ? await network : network;
      // None where the runtime gives them: what a former life knew holds until then.
      if (ips.length) this.ips = ips;
      if (ports.volumes && real) await ports.volumes.setup(pod, this.facts);
      else if (ports.volumes) await ports.volumes.check(pod);
      this.sandbox = this.#sandboxOf(pod, real || ports.volumes !== undefined);
      for (const runtime of ports.runtimes) {
        const starting = runtime.startSandbox(this.sandbox);
        const made = starting instanceof Promise ? await starting : starting;
        if (made) this.#addressed(pod, made.ips);
      }
      this.state = "ready";
      if (real) this.#refreshLater(pod, 0);
    } catch (error) {
      this.#failed(pod, error as Error);
    }
  }

  get #bringsAddresses(): boolean {
    return this.#ports.runtimes.some((runtime) => runtime.addresses);
  }

  /** A runtime has given the pod its addresses; one of the host's network has its node's. */
  #addressed(pod: Pod, ips: readonly string[]): void {
    if (!pod.spec.hostNetwork) this.ips = ips;
    this.sandbox = this.#sandboxOf(pod, true);
  }

  #sandboxOf(pod: Pod, files: boolean): Sandbox {
    const { domain, resolv } = this.#node;
    return {
      pod,
      ips: this.ips,
      hostname: hostnameOf(pod, domain),
      hosts: files ? hostsFile(pod, this.ips, domain, !this.#bringsAddresses) : "",
      resolv: files ? resolvFile(pod, this.#node, resolv) : "",
    };
  }

  #failed(pod: Pod, error: Error): void {
    const { clock, events, recorder } = this.#ports;
    this.state = "none";
    this.#retryMs = Math.min(RETRY_MS_MAX, this.#retryMs * 2 || RETRY_MS_MIN);
    this.retryAt = clock.now() + this.#retryMs;
    if (!events) return;
    if (error instanceof MountError) {
      const reason = error.event.startsWith("Map") ? "FailedMapVolume" : "FailedMount";
      recorder.event(pod, "Warning", reason, error.event);
    } else if (this.#retryMs > RETRY_MS_MIN * 4) {
      // A node gets its range within moments of its birth: only what lasts is worth an Event.
      const text = `Failed to create pod sandbox: ${error.message}`;
      recorder.event(pod, "Warning", "FailedCreatePodSandBox", text);
    }
  }

  /** A pod that is taken over as it runs keeps its addresses and needs nothing made. */
  takeOver(pod: Pod): void {
    const kept = this.#ports.network.setupPod(pod, this.#node);
    if (!(kept instanceof Promise)) this.ips = kept.ips;
    this.sandbox = this.#sandboxOf(pod, false);
    this.state = "ready";
  }

  /** Brings the files of the pod's volumes up to date soon. */
  refresh(pod: Pod): void {
    if (this.state === "ready") this.#refreshLater(pod, 0);
  }

  #refreshLater(pod: Pod, delayMs: number): void {
    const { volumes, clock, log } = this.#ports;
    if (!volumes) return;
    this.#timer?.cancel();
    const timer = this.#timer = clock.timer("background", delayMs, async () => {
      // Who asked for a refresh meanwhile is not put off to the next one that is due by the clock.
      const later = (ms: number) => this.#timer === timer && this.#refreshLater(pod, ms);
      try {
        const next = await volumes.refresh(pod, this.facts);
        if (next !== undefined && this.state === "ready") later(next);
      } catch (error) {
        log("warn", "volumes not refreshed", { pod: pod.metadata.uid, error: String(error) });
        later(RETRY_MS_MAX);
      }
    });
  }

  /** Takes everything down, once. */
  async cleanUp(pod: Pod, records: readonly ContainerRecord[]): Promise<void> {
    if (this.state === "clean") return;
    const { runtimes, network, volumes } = this.#ports;
    const { uid } = pod.metadata;
    this.cancel();
    for (const record of records) {
      if (record.id && record.runtime) await record.runtime.remove(record.id);
    }
    for (const runtime of runtimes) await runtime.stopSandbox(uid);
    if (volumes && this.isReal(pod, records)) await volumes.teardown(pod);
    await network.teardownPod(uid);
    this.state = "clean";
  }

  cancel(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
  }
}
