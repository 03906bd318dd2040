/**
 * One pod on one node: the state machine from bound to gone, the same whatever runs its containers.
 *
 * It is level-triggered. `step` looks at the newest pod and at what its containers are doing, begins
 * whatever is due next, and writes the status when it has changed. Nothing in it waits for a container:
 * pulls, starts, hooks and grace periods run beside it and name the pod again when they end. So the
 * newest wish always counts: a pod that is deleted while its image is pulled stops pulling.
 *
 * Order: volumes → network → sandbox → init containers one by one (sidecars until they have started)
 * → app containers. Stopping: app containers together, then sidecars in reverse order, within one grace
 * period. Then the final status, clean-up, and the delete with grace 0 that only a kubelet sends.
 *
 * Facts matched: pkg/kubelet/kubelet.go (SyncPod, SyncTerminatingPod, SyncTerminatedPod) and
 * kuberuntime/kuberuntime_manager.go (computePodActions, doBackOff), v1.36.
 */
import { becauseOf } from "../../api/client/contract.ts";
import { sameJson } from "../../api/machinery/json_value.ts";
import { ApiError } from "../../api/machinery/types.ts";
import type { Outcome } from "../runtime/mod.ts";
import { ContainerLives } from "./container_lives.ts";
import {
  beginAnew,
  containerNamed,
  type ContainerRecord,
  kindOf,
  knownStatuses,
  newRecord,
  recordsOf,
  restartsAfter,
  restartsAll,
  restartWithAll,
  restore,
} from "./container_record.ts";
import { ContainerRestarts } from "./container_restarts.ts";
import { ContainerStops } from "./container_stops.ts";
import { type Refusal, REJECTED } from "./pod_admission.ts";
import { PodSandbox } from "./pod_sandbox.ts";
import {
  initialized,
  letsPass,
  type PodFacts,
  podStatus,
  samePodStatus,
  sameStatus,
} from "./pod_status.ts";
import type { NodeFacts, WorkerPorts } from "./ports.ts";
import { asTold, PodResize, type Resizable, resizeText } from "./resizes.ts";
import { type Pod, PODS, type PodStatus, timestamp } from "./types.ts";

/** How long a status may wait for a start that is under way, so that quick starts take one write. */
const PATIENCE_MS = 250;
/** Turns of the microtask queue within which a runtime that never waits has started everything. */
const TURNS_MAX = 64;
/** The grace of a pod that is gone from the API already. */
const FORCED_GRACE_MS = 1000;
/** How soon a mirror is told again what it could not be told. */
const MIRROR_RETRY_MS = 2_000;
/** Conflicts that one status write survives. */
const CONFLICTS_MAX = 5;

const DEADLINE_TEXT = "Pod was active on the node longer than the specified deadline";

/** Why a node ends a pod for good. */
export interface Ending {
  reason: string;
  message: string;
  /** At most so long, if less than the pod asks for. */
  graceMs?: number;
  /** What the condition DisruptionTarget says of it (none). */
  disruption?: string;
}

/** The reasons of pods that their node has ended, as their statuses keep them. */
export const EVICTED = "Evicted";
export const PREEMPTED = "Preempting";
export const SHUT_DOWN = "Terminated";
const ENDED_BY_NODE: ReadonlySet<string> = new Set([
  "DeadlineExceeded",
  EVICTED,
  PREEMPTED,
  SHUT_DOWN,
]);

/** What a pod that is not the API's tells its status to; false: not now. Never rejects. */
export type Mirror = (pod: Pod, status: PodStatus) => Promise<boolean>;

/** See the module's text. */
export class PodWorker implements Resizable {
  readonly uid: string;
  readonly records: ContainerRecord[];
  /** True once the pod is gone from the API and nothing is left of it here. */
  done = false;
  /** The node has decided about the pod; one that has a start time is of a former life of the node. */
  admitted: boolean;
  readonly #ports: WorkerPorts;
  readonly #node: NodeFacts;
  readonly #wake: () => void;
  readonly #restarts: ContainerRestarts;
  readonly #stops: ContainerStops;
  readonly #sandbox: PodSandbox;
  readonly #lives: ContainerLives;
  readonly #tasks = new Set<Promise<void>>();
  readonly #resize: PodResize;
  readonly #resized: ((worker: PodWorker) => void) | undefined;
  #abort: AbortController | undefined;
  /** With the resources that the node has set aside for it. */
  #pod: Pod;
  #gone = false;
  #started: string;
  #failed: PodFacts["failed"];
  /** When the pod must have stopped; set once, may only come nearer. */
  #stopBy: number | undefined;
  #busySince: number | undefined;
  /** When the node first saw it, until it runs. */
  #seenAt: number | undefined;
  #sent: { status: PodStatus; resourceVersion: string } | undefined;
  #deleteSent = false;
  /** A former life of the node had all of its containers running, and so they are. */
  #takenOver = false;
  readonly #mirror: Mirror | undefined;
  /** The mirror does not know yet how the pod is. */
  #untold = false;
  /** While a step is looking, whoever names the pod is heard without a message. */
  #inStep = false;
  #named = false;

  constructor(
    ports: WorkerPorts,
    node: NodeFacts,
    pod: Pod,
    { wake, mirror, resized }: {
      wake: () => void;
      mirror?: Mirror;
      /** It asks for something else than it holds, or may hold less than before. */
      resized?: (worker: PodWorker) => void;
    },
  ) {
    this.#mirror = mirror;
    this.#resized = resized;
    this.#ports = ports;
    this.#node = node;
    this.#resize = new PodResize(pod);
    this.#pod = this.#resize.see(pod, asTold(pod));
    // Not written right into the field, as in `informer.ts`.
    const wakeLater = () => {
      if (this.#inStep) this.#named = true;
      else wake();
    };
    this.#wake = wakeLater;
    this.uid = pod.metadata.uid;
    this.records = recordsOf(pod);
    this.#restarts = new ContainerRestarts(ports);
    this.#sandbox = new PodSandbox(ports, node, pod);
    this.#stops = new ContainerStops(ports, () => this.#pod, this.#wake);
    this.#started = pod.status?.startTime ?? timestamp(ports.clock.now());
    if (!pod.status?.startTime) this.#seenAt = ports.clock.now();
    this.#lives = new ContainerLives({
      ports,
      sandbox: this.#sandbox,
      restarts: this.#restarts,
      stops: this.#stops,
      pod: () => this.#pod,
      graceMs: () => this.#graceMs(),
      wake: this.#wake,
    });
    this.admitted = pod.status?.startTime !== undefined ||
      pod.metadata.deletionTimestamp !== undefined;
    const { reason = "", message = "" } = pod.status ?? {};
    const refused = message.startsWith(REJECTED);
    if (refused || ENDED_BY_NODE.has(reason)) this.#failed = { reason, message, refused };
    this.#restore();
  }

  get pod(): Pod {
    return this.#pod;
  }

  /** It runs as a former life of the node left it and nothing is due: its status says all there is to know of it. */
  get rests(): boolean {
    return this.#takenOver && !this.#sent && !this.#mirror && !this.#failed && !this.#gone &&
      !this.#stopping && !this.#resize.asked && this.#tasks.size === 0 &&
      this.#next() === undefined &&
      this.records.every(({ phase, ready }) => phase === "running" && ready);
  }

  /** Whether the node has taken the pod, and something of it may still run. */
  get holds(): boolean {
    return this.admitted && !this.#over && !this.#failed?.refused;
  }

  get wish(): Pod | undefined {
    return this.holds && !this.#stopping ? this.#resize.asked : undefined;
  }

  get waitsSince(): number | undefined {
    return this.#resize.pending?.since;
  }

  /** Sets aside for it what it asks for. */
  grant(): void {
    const { asked } = this.#resize;
    if (!asked) return;
    this.#pod = this.#resize.see(asked, asked);
    this.#resize.granted = asked.metadata.generation ?? 0;
    this.#event("Normal", "ResizeStarted", resizeText("started", asked));
    for (const record of this.records) this.#lives.changed(record, asked);
    this.#wake();
  }

  /** It does not get what it asks for, for now or for ever. */
  defer(refusal: Refusal): void {
    const resize = this.#resize;
    const before = resize.pending;
    const isNews = resize.defer(refusal, this.#ports.clock.now());
    const { reason, message } = resize.pending!;
    if (isNews) {
      this.#event("Warning", `Resize${reason}`, resizeText(reason, resize.asked!, message));
    }
    if (!sameStatus(before, resize.pending)) this.#wake();
  }

  /** Whether what was granted has come into force since somebody last asked. */
  #resizeEnds(): boolean {
    if (this.#resize.granted === undefined) return false;
    const inForce = this.records.every(({ name, phase, stopBy, resources }) =>
      phase === "running"
        ? stopBy === undefined && sameStatus(resources, containerNamed(this.#pod, name)?.resources)
        : phase !== "starting"
    );
    if (!inForce) return false;
    this.#resize.granted = undefined;
    this.#event("Normal", "ResizeCompleted", resizeText("completed", this.#pod));
    return true;
  }

  /** When the node took it on. */
  get startedAt(): number {
    return Date.parse(this.#started);
  }

  /** Nothing is left of it here but what the API knows. */
  get cleaned(): boolean {
    return this.#sandbox.state === "clean";
  }

  /** The node does not take the pod: it fails without ever having had a container. */
  refuse({ reason, message }: Refusal): void {
    this.#failed = { reason, message: `${REJECTED}${message}`, refused: true };
    this.#event("Warning", reason, message);
  }

  /**
   * Ends the pod for good, whatever its containers say. One that ends already only has less time, if any; then, and
   * when nothing of it runs any more, false.
   */
  end({ graceMs, ...why }: Ending): boolean {
    if (this.#over) return false;
    const ends = this.#failed !== undefined || this.#stopping || this.#dying();
    if (!ends) this.#failed = why;
    this.#stopWithin(Math.min(graceMs ?? Infinity, this.#graceMs()));
    this.#wake();
    return !ends;
  }

  /** Resolves when the current start of a container has ended (at once when it does not run). */
  whenEnded(container: string): Promise<void> {
    const record = this.records.find((r) => r.name === container);
    return record?.phase === "running" ? this.#lives.whenEnded(container) : Promise.resolve();
  }

  /** Brings the pod one step on; `seen` is what the cache has, undefined when it has no such pod. */
  async step(seen: Pod | undefined): Promise<Outcome> {
    if (this.done) return;
    this.#note(seen);
    this.#inStep = true;
    this.#advance();
    // A runtime that never waits is done within this turn: its whole start becomes one write.
    for (let turns = 0; this.#tasks.size && turns < TURNS_MAX; turns++) {
      await undefined;
      if (!this.#named) continue;
      this.#named = false;
      this.#advance();
    }
    this.#inStep = false;
    if (this.#named) {
      this.#named = false;
      this.#advance();
    }
    const now = this.#ports.clock.now();
    if (this.#tasks.size && !this.#stopping && !this.#losesReadiness()) {
      this.#busySince ??= now;
      const left = this.#busySince + PATIENCE_MS - now;
      if (left > 0) return { afterMs: left };
    } else this.#busySince = undefined;
    // What ends while the status is being written has not been told yet: it names the pod, and is told first.
    const over = this.#over;
    const eased = this.#resizeEnds() || over;
    await this.#report();
    if (eased) this.#resized?.(this);
    if (over) await this.#finish();
    return this.#next();
  }

  /** Ends all containers at once and forgets the pod here: the node is stopping. The API is not told. */
  async close(): Promise<void> {
    this.#abortStarts();
    this.#sandbox.cancel();
    this.#stops.cancel();
    this.#lives.cancel();
    await Promise.allSettled(this.#tasks);
  }

  /** The pod is said to be ready, and is not: clients are led to it until that is told. */
  #losesReadiness(): boolean {
    const said = this.#pod.status?.conditions?.some((c) =>
      c.type === "Ready" && c.status === "True"
    );
    return !!said && this.records.some(({ kind, ready }) => kind === "app" && !ready);
  }

  get #stopping(): boolean {
    return this.#stopBy !== undefined;
  }

  /** Nothing runs and nothing will be started. */
  get #over(): boolean {
    if (this.records.some((r) => r.phase === "running" || r.phase === "starting")) return false;
    return this.#stopping || this.#finished();
  }

  /** The containers have done what they were started for: only sidecars may still run. */
  #finished(): boolean {
    if (this.#source) return false;
    for (const r of this.records) {
      if (r.kind === "sidecar" || r.kind === "ephemeral") continue;
      if (r.phase === "exited") {
        if (!this.#again(r)) {
          if (r.kind === "init" && r.end!.exitCode !== 0) return true; // a failed init ends the pod
          continue;
        }
      } else if (r.kind === "init" && initialized(this.records)) continue;
      return false;
    }
    return true;
  }

  /** The container whose end is to restart all. */
  get #source(): ContainerRecord | undefined {
    return this.records.find((record) => restartsAll(this.#pod, record));
  }

  #again(record: ContainerRecord): boolean {
    const container = containerNamed(this.#pod, record.name);
    return !!container &&
      restartsAfter(this.#pod, container, record.kind, record.end?.exitCode ?? 0);
  }

  #note(seen: Pod | undefined): void {
    if (!seen || seen.metadata.uid !== this.uid) {
      this.#gone = true;
      return;
    }
    // Our own write may be ahead of the cache.
    const newer = Number(seen.metadata.resourceVersion) >=
      Number(this.#pod.metadata.resourceVersion);
    if (!newer) return;
    const { labels, annotations } = this.#pod.metadata;
    this.#take(seen);
    const renamed = !sameJson(labels, seen.metadata.labels) ||
      !sameJson(annotations, seen.metadata.annotations);
    if (renamed && !this.#stopping) this.#sandbox.refresh(seen); // files may tell of them
    for (const c of seen.spec.ephemeralContainers ?? []) {
      if (!this.records.some((r) => r.name === c.name)) {
        this.records.push(newRecord(c, kindOf(c, "ephemeral")));
      }
    }
    for (const record of this.records) this.#lives.changed(record, this.#pod);
  }

  /** Takes the pod as it is now, but for resources that it does not hold yet. */
  #take(seen: Pod): void {
    this.#pod = this.admitted ? this.#resize.see(seen, this.#pod) : seen;
    if (this.#resize.asked) this.#resized?.(this);
  }

  #graceMs(): number {
    const { deletionGracePeriodSeconds, deletionTimestamp } = this.#pod.metadata;
    const seconds = deletionTimestamp
      ? deletionGracePeriodSeconds
      : this.#pod.spec.terminationGracePeriodSeconds;
    return (seconds ?? 30) * 1000;
  }

  // --- what is due ------------------------------------------------------------------------------------

  #advance(): void {
    const { clock } = this.#ports;
    const now = clock.now();
    // A file that has gone leaves the pod its time; an object of the API had its own.
    if (this.#gone) this.#stopWithin(this.#mirror ? this.#graceMs() : FORCED_GRACE_MS);
    else if (this.#pod.metadata.deletionTimestamp) this.#stopWithin(this.#graceMs());
    else if (this.#pod.status?.phase === "Failed" || this.#pod.status?.phase === "Succeeded") {
      this.#stopWithin(this.#graceMs());
    } else if (this.#deadlineAt() <= now && !this.#failed) {
      this.#failed = { reason: "DeadlineExceeded", message: DEADLINE_TEXT };
      this.#event("Normal", "DeadlineExceeded", DEADLINE_TEXT);
      this.#stopWithin(this.#graceMs());
    } else if (this.#failed) this.#stopWithin(this.#graceMs());
    else if (!this.#stopping && this.#finished()) this.#stopWithin(this.#graceMs());
    if (this.#stopping) {
      this.#abortStarts();
      this.#lives.stopRestarts();
      this.#stops.advance(this.records, this.#stopBy!);
      return;
    }
    const sandbox = this.#sandbox;
    if (sandbox.state === "lost" && !this.#endRunning(this.records, this.#graceMs())) {
      for (const record of this.records) beginAnew(record);
      sandbox.state = "none";
      sandbox.retryAt = 0;
    }
    if (sandbox.state === "none" && sandbox.retryAt <= now) {
      this.#run(sandbox.make(this.#pod, this.records));
    }
    if (sandbox.state === "ready" && !this.#endsForAll(now)) this.#startDue(now);
  }

  #abortStarts(): void {
    this.#abort ??= new AbortController();
    if (!this.#abort.signal.aborted) this.#abort.abort(new Error("the pod is being stopped"));
  }

  #stopWithin(graceMs: number): void {
    const by = this.#ports.clock.now() + graceMs;
    if (this.#stopBy === undefined || by < this.#stopBy) this.#stopBy = by;
  }

  #deadlineAt(): number {
    const seconds = this.#pod.spec.activeDeadlineSeconds;
    return seconds === undefined ? Infinity : Date.parse(this.#started) + seconds * 1000;
  }

  #startDue(now: number): void {
    const ready = initialized(this.records);
    let blocked = false;
    for (const record of this.records) {
      if (record.kind === "ephemeral") {
        if (record.phase === "absent") this.#start(record, now);
      } else if (record.kind === "app") {
        if (!blocked) this.#start(record, now);
      } else if (record.kind === "sidecar" && ready) {
        this.#start(record, now);
      } else if (!ready && !blocked) {
        if (!letsPass(record)) {
          this.#start(record, now);
          blocked = true;
        }
      }
    }
  }

  #start(record: ContainerRecord, now: number): void {
    if (record.phase === "starting" || record.phase === "running") return;
    if (record.phase === "exited" && !this.#again(record)) return;
    if (!this.#restarts.mayStart(this.#pod, record, now)) return;
    const container = containerNamed(this.#pod, record.name);
    if (!container || !this.#sandbox.sandbox) return;
    if (record.phase === "exited") {
      record.last = record.end;
      record.end = undefined;
      record.restarts++;
      this.#restarts.restarted(record, now);
      this.#discard(record, record.id);
    }
    record.phase = "starting";
    record.stopBy = undefined;
    this.#abort ??= new AbortController();
    this.#run(this.#lives.begin(record, container, this.#abort.signal));
  }

  #discard({ runtime }: ContainerRecord, id: string | undefined): void {
    if (id) void Promise.resolve(runtime?.remove(id)).catch(() => {});
  }

  /**
   * Ends all containers at once, without their grace and hooks, when one has ended so that all of them restart, and
   * lets them begin in their order as in a new pod; sandbox and volumes stay. The source's back-off comes before, so
   * that one that always ends so does not keep the node busy. False: nothing is being ended.
   */
  #endsForAll(now: number): boolean {
    const source = this.#source;
    if (!source || !this.#restarts.mayStart(this.#pod, source, now)) return false;
    const all = this.records.filter(({ kind }) => kind !== "ephemeral");
    if (this.#endRunning(all, 0, "killing")) return true;
    this.#restarts.restarted(source, now);
    for (const record of all) this.#discard(record, restartWithAll(record));
    return false;
  }

  /** The pod's sandbox has ended by itself: everything in it ends too, and begins anew in another. */
  sandboxLost(): void {
    if (this.#sandbox.state !== "ready" || this.#stopping || this.#gone) return;
    const text = "Pod sandbox changed, it will be killed and re-created.";
    this.#event("Normal", "SandboxChanged", text);
    this.#sandbox.state = "lost";
    this.#wake();
  }

  /** Stops what still runs and is to begin again; false once nothing does. */
  #endRunning(records: readonly ContainerRecord[], graceMs: number, message?: string): boolean {
    let busy = false;
    for (const record of records) {
      if (record.phase === "running") this.#stops.stop(record, graceMs, message);
      busy ||= record.phase === "running" || record.phase === "starting";
    }
    return busy;
  }

  /** Tries volumes and network again now, if they wait for that: something they need has changed. */
  retrySetup(): void {
    this.#sandbox.retryAt = 0;
    this.#wake();
  }

  /** Brings the files of the pod's volumes up to date soon: an object they come from has changed. */
  refreshVolumes(): void {
    if (this.#sandbox.state === "none") this.retrySetup();
    else if (!this.#stopping) this.#sandbox.refresh(this.#pod);
  }

  // --- status and end ---------------------------------------------------------------------------------

  async #report(): Promise<void> {
    for (let tries = 0; !this.#gone; tries++) {
      const pod = this.#pod;
      const over = this.#over;
      const status = podStatus({
        pod,
        records: this.records,
        sandboxReady: this.#sandbox.state === "ready",
        hostIPs: this.#node.addresses,
        podIPs: this.#sandbox.ips,
        startTime: this.#started,
        now: this.#ports.clock.now(),
        failed: this.#failed,
        over,
        resize: this.#resize,
      });
      if (status.phase === "Running") this.#countStart();
      if (this.#mirror) {
        this.#pod = { ...pod, status };
        this.#untold = !await this.#mirror(this.#pod, status);
        return;
      }
      if (samePodStatus(status, pod.status as PodStatus | undefined)) return;
      const sent = this.#sent;
      const { resourceVersion } = pod.metadata;
      if (sent?.resourceVersion === resourceVersion && samePodStatus(status, sent.status)) {
        return;
      }
      // Where pods come in thousands a pod that is about to vanish needs no last words, unless
      // somebody waits for them with a finalizer.
      if (!this.#ports.events && over && this.#dying() && !pod.metadata.finalizers?.length) {
        return;
      }
      try {
        const { name, namespace } = pod.metadata;
        const target = { resource: PODS, namespace, name, subresource: "status" };
        const written = await this.#ports.client.update<Pod>(target, { ...pod, status });
        this.#take(written as Pod);
        this.#sent = { status, resourceVersion: written.metadata.resourceVersion };
        return;
      } catch (error) {
        if (!(error instanceof ApiError) || error.code === 410) throw error;
        if (error.code === 404) this.#gone = true;
        else if (error.code !== 409 || tries >= CONFLICTS_MAX) throw error;
        else await this.#reread();
      }
    }
  }

  #countStart(): void {
    const { metrics, clock } = this.#ports;
    if (this.#seenAt === undefined || !metrics) return;
    metrics.podStart.add({}, clock.now() - this.#seenAt);
    metrics.startedPods.add({});
    this.#seenAt = undefined;
  }

  async #reread(): Promise<void> {
    const { name, namespace } = this.#pod.metadata;
    try {
      this.#note(await this.#ports.client.get<Pod>({ resource: PODS, namespace, name }) as Pod);
    } catch (error) {
      if (!(error instanceof ApiError) || error.code !== 404) throw error;
      this.#gone = true;
    }
  }

  #dying(): boolean {
    return this.#gone || this.#pod.metadata.deletionTimestamp !== undefined;
  }

  /** Nothing runs any more: clean up, and let go of a pod that is being deleted. */
  async #finish(): Promise<void> {
    if (this.#tasks.size) return;
    this.#lives.cancel();
    await this.#sandbox.cleanUp(this.#pod, this.records);
    if (!this.#dying()) return;
    const { runtimes, client, keptLogs, log } = this.#ports;
    if (!this.#gone && !this.#deleteSent) {
      const { name, namespace, uid } = this.#pod.metadata;
      try {
        const target = { resource: PODS, namespace, name };
        const query = { gracePeriodSeconds: 0, preconditions: { uid } };
        await becauseOf(client, this.#pod).delete(target, query);
      } catch (error) {
        // 404: gone. 409: another pod has the name by now, so ours is gone too.
        const code = error instanceof ApiError ? error.code : 0;
        if (code !== 404 && code !== 409) throw error;
      }
      this.#deleteSent = true;
    }
    if (!this.#pod.metadata.finalizers?.length) this.#gone = true;
    if (!this.#gone) return;
    await keptLogs?.keep(this.#pod, this.records).catch((error) => {
      // A disk that is full, say: then the pod has to go all the more.
      log("warn", "logs of a pod that is gone are not kept", {
        pod: this.uid,
        error: String(error),
      });
    });
    for (const runtime of runtimes) await runtime.forget(this.#pod);
    this.done = true;
  }

  /** When to look again without being named: a back-off, a retry or the deadline is over. */
  #next(): Outcome {
    if (this.done) return;
    const now = this.#ports.clock.now();
    let at = this.#untold && !this.#gone ? now + MIRROR_RETRY_MS : Infinity;
    if (!this.#stopping) {
      at = Math.min(at, this.#deadlineAt());
      if (this.#sandbox.state === "none") at = Math.min(at, this.#sandbox.retryAt);
      for (const record of this.records) {
        at = Math.min(at, this.#restarts.dueAt(record));
        if (record.phase === "running") at = Math.min(at, record.resizeAt ?? Infinity);
      }
    }
    return at === Infinity ? undefined : { afterMs: Math.max(1, at - now) };
  }

  // --- small things -----------------------------------------------------------------------------------

  #run(task: Promise<void>): void {
    const tracked = task.catch((error) => {
      this.#ports.log("error", "a pod's task failed", { pod: this.uid, error: String(error) });
    }).finally(() => {
      this.#tasks.delete(tracked);
      this.#wake();
    });
    this.#tasks.add(tracked);
  }

  #event(type: "Normal" | "Warning", reason: string, message: string): void {
    if (this.#ports.events) this.#ports.recorder.event(this.#pod, type, reason, message);
  }

  #restore(): void {
    const found = this.#ports.runtimes.flatMap((runtime) => runtime.found?.(this.#pod) ?? []);
    const known = knownStatuses(this.#pod, found);
    // One that is to begin anew with all has none any more, and its counts all the same.
    const isOld = (s: typeof known[0]) => s.containerID !== undefined || s.restartCount > 0;
    if (!known.some(isOld)) return;
    const now = this.#ports.clock.now();
    let running = false;
    for (const one of known) {
      const record = this.records.find((r) => r.name === one.name);
      if (!record || !isOld(one)) continue;
      const id = one.containerID ?? "";
      const runtime = this.#ports.runtimes.find((r) => id.startsWith(`${r.name}:`));
      record.runtime = runtime;
      const startedAt = Date.parse(one.state.running?.startedAt ?? "") || now;
      const recovered = !!one.state.running && !!runtime?.recover(
        this.#pod,
        { name: one.name, id, startedAt },
        (end) => this.#lives.ended(record, id, end),
      );
      restore(record, one, recovered, now);
      if (!recovered) continue;
      record.resources = containerNamed(this.#pod, one.name)?.resources;
      running = true;
      this.#lives.recovered(record, containerNamed(this.#pod, one.name)!);
    }
    // A pod taken over as it runs keeps its addresses and needs no new sandbox of a simulated runtime.
    if (running && !this.#sandbox.isReal(this.#pod, this.records)) {
      this.#sandbox.takeOver(this.#pod);
      this.#takenOver = true;
    }
  }
}
