/**
 * The scheduler actor: finds a node for every pod that has none.
 *
 * It keeps the cluster's picture (`cluster.ts`) from watches, takes pending pods from the queue
 * (`queue.ts`), decides (`algorithm.ts`), assumes its decision at once so that the next pod sees it, and
 * writes the binding without waiting for it. What fails comes back with backoff. All it holds can be rebuilt
 * from the API; the message that wakes it says nothing but "look".
 *
 * Guarantees beside the actor's: a pod is bound at most once (the API refuses the second binding); a
 * decision is made against everything decided before it; no decision loop holds the event loop for more than
 * `SLICE_MS`.
 */
import { becauseOf, type Change, type Client, type Informer } from "../../api/client/contract.ts";
import { ApiError, type DeepReadonly, type KubeObject } from "../../api/machinery/types.ts";
import { formatTime } from "../../api/machinery/time.ts";
import type { ActorContext, Behaviour, Outcome } from "../runtime/contract.ts";
import type { Outbound } from "../../api/client/outbound.ts";
import type { Choice } from "./algorithm.ts";
import { Cluster, labelsOf } from "./cluster.ts";
import {
  type CompleteConfiguration,
  completeConfiguration,
  type SchedulerConfiguration,
} from "./configuration.ts";
import { Extenders } from "./extenders.ts";
import { Attempts, type Explanation, explanationOf, reasonCounts, tell } from "./explain.ts";
import {
  type Candidate,
  type ClusterEvent,
  type Diagnosis,
  fitErrorText,
  type Happening,
  type Pod,
  type PodInfo,
} from "./framework.ts";
import { handleOf } from "./handle.ts";
import { type Result, SchedulerMetrics } from "./metrics.ts";
import { nodeEvents, ownEvents, podEvents } from "./happenings.ts";
import { podInfoOf } from "./pod_info.ts";
import { bestOf } from "./preemption.ts";
import {
  checkRegistered,
  type Loading,
  type PluginHandle,
  type PluginInformers,
  type Profile,
  profilesOf,
  type Registry,
  registryOf,
} from "./profile.ts";
import { SchedulingQueue } from "./queue.ts";
import { inTurns } from "./steps.ts";
import type { SchedulerView } from "./view.ts";

/** How long decisions may hold the event loop, in ms. */
export const SLICE_MS = 4;
/** Bindings on their way at once. */
export const BINDINGS_MAX = 512;

const core = (plural: string) => ({ group: "", version: "v1", plural });
const PODS = core("pods");
const DEFAULT_NAME = "default-scheduler";
const LOOK = "look";

/** What a scheduler is told, and what it is given. Profiles choose plugins by name. */
export interface SchedulerOptions extends SchedulerConfiguration, Loading {
  /** Reaches extenders. */
  outbound?: Outbound;
  /** Shown while it runs. */
  view?: SchedulerView;
  /** Which feature gates are on (default: as upstream's are by default). */
  features?: ReadonlyMap<string, boolean>;
}

/** The scheduler as an actor, to be spawned once as `scheduler/default`. Throws TypeError for a bad configuration. */
export function scheduler(options: SchedulerOptions = {}): Behaviour<Scheduler> {
  const configuration = completeConfiguration(options, options.features);
  const registry = registryOf(configuration, options);
  checkRegistered(configuration, registry);
  if (configuration.extenders.length > 0 && !options.outbound) {
    throw new TypeError("Cannot ask extenders: no way out was given");
  }
  return {
    start: (context) => Scheduler.open(context, { ...options, configuration, registry }),
    handle: (_key, state) => state.run(),
    stop: (state) => {
      options.view?.show(undefined);
      state.stop();
    },
  };
}

interface Made {
  configuration: CompleteConfiguration;
  profiles: ReadonlyMap<string, Profile>;
  cluster: Cluster;
  handle: Omit<PluginHandle, "filter">;
  waiters: Set<() => void>;
  metrics: SchedulerMetrics;
}

/** See the module's text. */
export class Scheduler {
  readonly #context: ActorContext;
  readonly #client: Client;
  readonly #cluster: Cluster;
  readonly #queue: SchedulingQueue;
  /** By the name that pods choose their scheduler by. */
  readonly #profiles: ReadonlyMap<string, Profile>;
  readonly #extenders: Extenders;
  readonly #informers: PluginInformers;
  readonly #pods: Informer;
  readonly #subscriptions: (() => void)[] = [];
  /** Who waits for claims and volumes to change. */
  readonly #waiters: Set<() => void>;
  #bindings = 0;
  #bindingDone: (() => void) | undefined;
  /** Writes about pods that could not be placed, merged by pod. */
  readonly #failures = new Map<string, Promise<void>>();
  readonly #attempts = new Attempts();
  readonly #metrics: SchedulerMetrics;
  /** When the pod that is being tried was taken from the queue. */
  #tryBegan = 0;

  /** Makes the plugins, then the scheduler. */
  static async open(
    context: ActorContext,
    options: SchedulerOptions & { configuration: CompleteConfiguration; registry: Registry },
  ): Promise<Scheduler> {
    const { configuration, registry, features } = options;
    const cluster = new Cluster();
    const waiters = new Set<() => void>();
    let scheduler: Scheduler | undefined = undefined;
    const changed = (happening: Happening) => scheduler?.happened(happening);
    const handle = { ...handleOf(context, cluster, waiters), changed, features };
    const metrics = new SchedulerMetrics();
    const profiles = await profilesOf(configuration, registry, { ...handle, metrics });
    const made = { configuration, profiles, cluster, handle, waiters, metrics };
    return scheduler = new Scheduler(context, made, options);
  }

  private constructor(context: ActorContext, made: Made, { outbound, view }: SchedulerOptions) {
    const { configuration, profiles } = made;
    this.#context = context;
    this.#client = context.client;
    this.#cluster = made.cluster;
    this.#informers = made.handle;
    this.#waiters = made.waiters;
    this.#pods = context.informers.for(PODS);
    this.#profiles = profiles;
    this.#metrics = made.metrics;
    const [first] = profiles.values();
    this.#queue = new SchedulingQueue((pod) => this.#profileOf(pod.pod).byName, {
      ...configuration,
      // The queue has upstream's order built in
      before: first.at.queueSort.find((plugin) => plugin.name !== "PrioritySort")?.before,
      incoming: (queue, cause) => this.#metrics.incoming(queue, cause),
    });
    this.#extenders = new Extenders(
      configuration.extenders,
      outbound!,
      (text, fields) => context.log("warn", text, fields),
    );
    this.#subscribe();
    view?.show(this);
  }

  /** Decides until nothing is left to decide. */
  async run(): Promise<Outcome> {
    const { clock, signal } = this.#context;
    let sliceStart = clock.monotonic();
    while (!signal.aborted) {
      if (this.#bindings >= BINDINGS_MAX) {
        await new Promise<void>((resolve) => this.#bindingDone = resolve);
        sliceStart = clock.monotonic();
        continue;
      }
      const info = this.#queue.pop(clock.monotonic());
      if (!info) break;
      this.#tryBegan = clock.monotonic();
      if (this.#extenders.some && this.#extenders.concern(info)) {
        await this.#scheduleExtended(info);
        sliceStart = clock.monotonic();
      } else this.#schedule(info);
      if (clock.monotonic() - sliceStart < SLICE_MS) continue;
      await clock.turn();
      sliceStart = clock.monotonic();
    }
    const next = this.#queue.nextAt();
    if (next !== undefined) return { afterMs: Math.max(next - clock.monotonic(), 1) };
  }

  stop(): void {
    for (const unsubscribe of this.#subscriptions) unsubscribe();
    for (const waiter of this.#waiters) waiter();
  }

  /** Why a pod is where it is or nowhere, and what would place it; a bound pod as if it were to be placed anew. */
  async explain(key: string): Promise<Explanation | undefined> {
    const pod = this.#pods.get(key);
    if (!pod) return undefined;
    const { uid } = pod.metadata;
    const profile = this.#profileOf(pod);
    const info = this.#infoOf({ ...pod, spec: { ...pod.spec, nodeName: undefined } });
    const cluster = this.#cluster;
    const told = await inTurns(this.#tell(info, profile), {
      clock: this.#context.clock,
      // A step may take as long as a slice
      sliceMs: SLICE_MS / 2,
      within(step) {
        const node = cluster.node(cluster.placeOf(uid) ?? "");
        const held = node?.pods.get(uid);
        return node && held ? cluster.supposing(node, [held], [], step) : step();
      },
    });
    const nodeName = cluster.placeOf(uid);
    return explanationOf(pod, {
      ...told,
      attempt: this.#attempts.get(uid),
      nodeName,
      queue: nodeName === undefined ? this.#queue.placeOf(uid) : undefined,
    });
  }

  *#tell(info: PodInfo, { algorithm, plugins, at }: Profile): ReturnType<typeof tell> {
    return yield* tell(info, yield* algorithm.matrix(info), {
      plugins,
      *preemptable(diagnosis) {
        for (const plugin of at.postFilter) {
          const said = plugin.postFilterInSteps
            ? yield* plugin.postFilterInSteps(info, diagnosis)
            : plugin.postFilter!(info, diagnosis);
          if (typeof said !== "string") return bestOf(said)!;
        }
        return "";
      },
    });
  }

  /** Metrics in Prometheus' text format, a line each. */
  metricLines(): Iterable<string> {
    return this.#metrics.lines({
      pending: this.#queue.counts(),
      refused: this.#queue.refusedBy(),
      cache: this.#cluster.sizes(),
    });
  }

  // --- what the watches say -----------------------------------------------------------------------------

  #subscribe(): void {
    const { informers } = this.#context;
    const on = (informer: Informer, listener: (change: Change<KubeObject>) => void) =>
      this.#subscriptions.push(informer.subscribe(listener));
    on(informers.for(core("nodes")), (change) => this.#nodeChanged(change));
    on(this.#pods, (change) => this.#podChanged(change));
    if (this.#uses("DynamicResources")) {
      const devices = (plural: string) =>
        informers.for({ group: "resource.k8s.io", version: "v1", plural });
      on(devices("resourceclaims"), (change) => this.#awaitedChanged("ResourceClaim", change));
      on(devices("deviceclasses"), (change) => this.#changed("DeviceClass", change));
      on(devices("resourceslices"), (change) => this.#changed("ResourceSlice", change));
    }
    const storage = (plural: string) =>
      informers.for({ group: "storage.k8s.io", version: "v1", plural });
    on(this.#informers.claims, (change) => this.#awaitedChanged("VolumeClaim", change));
    on(this.#informers.volumes, (change) => this.#awaitedChanged("Volume", change));
    on(this.#informers.classes, (change) => this.#awaitedChanged("StorageClass", change));
    on(storage("csinodes"), (change) => this.#changed("CSINode", change));
    on(this.#informers.capacities, (change) => this.#changed("CSICapacity", change));
    on(storage("volumeattachments"), (change) => {
      if (!change.object) this.#changed("VolumeDetached", change);
    });
  }

  #uses(plugin: string): boolean {
    return [...this.#profiles.values()].some(({ byName }) => byName.has(plugin));
  }

  #awaitedChanged(event: ClusterEvent, change: Change<KubeObject>): void {
    for (const waiter of this.#waiters) waiter();
    this.#changed(event, change);
  }

  #changed(event: ClusterEvent, { object, old }: Change<KubeObject>): void {
    this.#event({ events: [event], object, oldObject: old });
  }

  #infoOf(pod: Pod): PodInfo {
    return podInfoOf(pod, (namespace) => labelsOf(this.#informers.namespaces.get(namespace)));
  }

  #nodeChanged({ object, old }: Change<KubeObject>): void {
    if (!object) {
      const gone = this.#cluster.node(old!.metadata.name);
      this.#cluster.removeNode(old!.metadata.name);
      this.#event({ events: ["NodeDelete"], node: gone });
      return;
    }
    const before = this.#cluster.node(object.metadata.name)?.node;
    const said = this.#cluster.setNode(object);
    if (said === "same") return;
    const node = this.#cluster.node(object.metadata.name);
    if (said === "new") this.#event({ events: ["NodeAdd"], node });
    else {
      const events = nodeEvents(before!, object);
      if (events.length > 0) this.#event({ events, node, oldNode: before });
    }
  }

  #podChanged({ object: pod, old }: Change<KubeObject>): void {
    const uid = (pod ?? old!).metadata.uid;
    if (pod && old && pod.metadata.uid !== old.metadata.uid) this.#gone(old.metadata.uid);
    if (!pod || isFinished(pod)) {
      this.#gone(uid);
      return;
    }
    if (pod.spec.nodeName) this.#bound(pod);
    else if (this.#profiles.has(pod.spec.schedulerName ?? DEFAULT_NAME)) {
      if (pod.metadata.deletionTimestamp) this.#gone(uid);
      else if (!this.#cluster.placeOf(uid)) this.#pending(pod, old);
    }
  }

  #bound(pod: Pod): void {
    const uid = pod.metadata.uid;
    const place = this.#cluster.placeOf(uid);
    const before = place === undefined ? undefined : this.#cluster.node(place)?.pods.get(uid);
    const info = this.#infoOf(pod);
    this.#queue.remove(uid);
    this.#cluster.withdraw(uid);
    this.#cluster.place(info, pod.spec.nodeName, false);
    // An assumed pod was announced when it was assumed.
    const events: ClusterEvent[] = place === undefined
      ? ["PodAdd"]
      : before
      ? podEvents(before, info)
      : [];
    if (events.length > 0) this.#event({ events, pod: info, oldPod: before });
  }

  #pending(pod: Pod, old: Pod | undefined): void {
    const known = old !== undefined && this.#queue.has(pod.metadata.uid);
    if (known && !changedForScheduling(old, pod)) return;
    const info = this.#infoOf(pod);
    const nominated = pod.status?.nominatedNodeName as string | undefined;
    if (nominated) this.#cluster.promise(info, nominated);
    else if (old?.status?.nominatedNodeName) this.#cluster.withdraw(info.uid);
    const events = known ? ownEvents(old, pod) : [];
    const change = known ? { events, pod: info, oldPod: this.#infoOf(old) } : undefined;
    this.#queue.put(info, this.#context.clock.monotonic(), change);
    this.#look();
  }

  #gone(uid: string): void {
    this.#queue.remove(uid);
    this.#cluster.withdraw(uid);
    this.#attempts.forget(uid);
    const info = this.#cluster.remove(uid);
    if (info) this.#event({ events: ["PodDelete"], pod: info });
  }

  /** Something happened that plugins may wake on: waits until the mailbox has its turn. */
  happened(happening: Happening): void {
    this.#event(happening);
  }

  #event(happening: Happening): void {
    if (this.#queue.event(happening, this.#context.clock.monotonic()) > 0) this.#look();
  }

  #look(): void {
    this.#context.send(this.#context.address, LOOK);
  }

  // --- one pod --------------------------------------------------------------------------------------------

  /** Of a pod of another scheduler: the first, for its explanation. */
  #profileOf(pod: Pod): Profile {
    const [first] = this.#profiles.values();
    return this.#profiles.get(pod.spec.schedulerName ?? DEFAULT_NAME) ?? first;
  }

  #schedule(info: PodInfo): void {
    if (this.#cluster.placeOf(info.uid)) return;
    try {
      const choice = this.#profileOf(info.pod).algorithm.choose(info);
      const measured = this.#metrics.decidedIn(this.#context.clock.monotonic() - this.#tryBegan);
      if ("plugins" in choice) this.#unschedulable(info, choice, this.#postFilter(info, choice));
      else {
        if (measured) this.#measure(info, choice);
        this.#place(info, choice);
      }
    } catch (error) {
      this.#failed(info, error);
    }
  }

  /** The same, with questions to extenders in between: what they said is looked at again before it counts. */
  async #scheduleExtended(info: PodInfo): Promise<void> {
    if (this.#cluster.placeOf(info.uid)) return;
    const { algorithm } = this.#profileOf(info.pod);
    try {
      const found = algorithm.consider(info);
      if ("plugins" in found) {
        await this.#unschedulableExtended(info, found);
        return;
      }
      const { cycle, refusals } = found;
      const nodes = await this.#extenders.filter(info, found.nodes, refusals);
      if (nodes.length === 0) {
        const plugins = new Set([...refusals.values()].map(({ plugin }) => plugin));
        const diagnosis = { nodes: this.#cluster.nodes.length, refusals, plugins };
        await this.#unschedulableExtended(info, diagnosis);
        return;
      }
      const extra = nodes.length > 1 ? await this.#extenders.prioritize(info, nodes) : undefined;
      if (!this.#queue.has(info.uid)) return;
      const choice = algorithm.take({ cycle, nodes, refusals }, extra);
      const moved = !this.#cluster.node(choice.node.name) ||
        algorithm.filter(info).ask(choice.node);
      if (moved) throw new Error(`node "${choice.node.name}" changed while extenders were asked`);
      this.#place(info, choice);
    } catch (error) {
      this.#failed(info, error);
    }
  }

  async #unschedulableExtended(info: PodInfo, found: Diagnosis): Promise<void> {
    // What refuses is good for one turn
    const { counts: _, ...lasting } = found;
    const diagnosis = { ...lasting, refusals: new Map(found.refusals) };
    const said = this.#postFilter(info, diagnosis);
    if (typeof said === "string") this.#unschedulable(info, diagnosis, said);
    else {
      const left = await this.#extenders.preempt(info, said);
      const none = "no new claims to deallocate, preemption: no candidate node for preemption";
      this.#unschedulable(info, diagnosis, left.length > 0 ? left : none);
    }
  }

  #measure(info: PodInfo, { node }: Choice): void {
    const { clock } = this.#context;
    this.#profileOf(info.pod).algorithm.measure(info, node, {
      now: () => clock.monotonic(),
      note: (plugin, point, ms) => this.#metrics.plugin(plugin, point, ms),
    });
  }

  #ended(info: PodInfo, result: Result, began: number): void {
    const ms = this.#context.clock.monotonic() - began;
    this.#metrics.ended(result, this.#profileOf(info.pod).name, ms);
  }

  #place(info: PodInfo, choice: Choice): void {
    const { at, points } = this.#profileOf(info.pod);
    const began = points.now();
    for (const plugin of at.reserve) {
      const refusal = plugin.reserve?.(choice.cycle, choice.node);
      if (!refusal) continue;
      points.passed("Reserve", points.now() - began, "Unschedulable");
      for (const one of at.reserve) one.unreserve?.(choice.cycle, choice.node);
      throw new Error(`${plugin.name}: ${refusal.reasons.join(", ")}`);
    }
    points.passed("Reserve", points.now() - began);
    this.#cluster.place(info, choice.node.name, true);
    this.#queue.placed(info.uid);
    this.#event({ events: ["PodAdd"], pod: info });
    this.#attempts.note(info.uid, {
      at: this.#context.clock.now(),
      result: "Scheduled",
      node: choice.node.name,
      evaluated: choice.evaluated,
      feasible: choice.feasible,
    });
    this.#bindings++;
    this.#bind(info, choice).finally(() => {
      this.#bindings--;
      this.#bindingDone?.();
      this.#bindingDone = undefined;
    });
  }

  /** A try that ended in an error: it comes back after its backoff. */
  #failed(info: PodInfo, error: unknown): void {
    const message = error instanceof Error ? error.message : String(error);
    this.#context.log("warn", "could not schedule a pod", { pod: info.key, error: message });
    this.#queue.refused(info.uid, NO_PLUGINS, this.#context.clock.monotonic());
    this.#ended(info, "error", this.#tryBegan);
    const at = this.#context.clock.now();
    this.#attempts.note(info.uid, { at, result: "Error", message, evaluated: 0, feasible: 0 });
    this.#report(info, "SchedulerError", message, undefined);
  }

  async #bind(info: PodInfo, choice: Choice): Promise<void> {
    const { at, points } = this.#profileOf(info.pod);
    const { node, cycle } = choice;
    const began = this.#tryBegan;
    // The watch may tell of the binding, and the queue forget the pod, before the write is answered
    const { attempts = 1, enteredAt = began } = this.#queue.historyOf(info.uid) ?? {};
    try {
      await points.during("Permit", async () => {
        for (const plugin of at.permit) await plugin.permit!(cycle, node);
      });
      await points.during("PreBind", async () => {
        for (const plugin of at.preBind) await plugin.preBind!(cycle, node);
      });
      await points.during("Bind", async () => {
        let bound = this.#extenders.some && await this.#extenders.bind(info, node.name);
        for (const plugin of at.bind) {
          if (!bound) bound = await plugin.bind!(cycle, node) !== "skip";
        }
        if (!bound) throw new Error("all bind plugins skipped the pod");
      });
      this.#ended(info, "scheduled", began);
      this.#metrics.bound(attempts, this.#context.clock.monotonic() - enteredAt);
      this.#queue.remove(info.uid);
      this.#cluster.withdraw(info.uid);
      this.#context.recorder.event(
        info.pod,
        "Normal",
        "Scheduled",
        `Successfully assigned ${info.key} to ${node.name}`,
        { action: "Binding" },
      );
      const after = points.now();
      for (const plugin of at.postBind) plugin.postBind!(cycle, node);
      points.passed("PostBind", points.now() - after);
    } catch (error) {
      this.#ended(info, "error", began);
      this.#unbind(info, choice, error);
    }
  }

  #unbind(info: PodInfo, choice: Choice, error: unknown): void {
    for (const plugin of this.#profileOf(info.pod).at.reserve) {
      plugin.unreserve?.(choice.cycle, choice.node);
    }
    // Somebody bound it (the watch will say where), or it is gone: nothing to try again.
    const over = error instanceof ApiError && (error.code === 404 || error.code === 409);
    const current = this.#pods.get(info.key);
    if (current?.metadata.uid === info.uid && current.spec.nodeName) return;
    this.#cluster.remove(info.uid);
    this.#event({ events: ["PodDelete"], pod: info });
    if (over && current?.metadata.uid !== info.uid) {
      this.#queue.remove(info.uid);
      return;
    }
    if (this.#context.signal.aborted) return;
    const text = error instanceof Error ? error.message : String(error);
    this.#context.log("warn", "could not bind a pod", {
      pod: info.key,
      node: choice.node.name,
      error: text,
    });
    this.#queue.refused(info.uid, NO_PLUGINS, this.#context.clock.monotonic());
    const message = `binding rejected: ${text}`;
    const { node: { name: node }, evaluated, feasible } = choice;
    const at = this.#context.clock.now();
    this.#attempts.note(info.uid, { at, result: "Error", message, node, evaluated, feasible });
    this.#report(info, "SchedulerError", message, undefined);
    this.#look();
  }

  #unschedulable(
    info: PodInfo,
    diagnosis: Diagnosis,
    said: readonly Candidate[] | string,
  ): void {
    const nominee = typeof said === "string" ? undefined : bestOf(said);
    if (diagnosis.nodes > 0) this.#metrics.preempted(nominee?.victims.length ?? 0);
    if (typeof said === "string") diagnosis.postFilter = said;
    if (nominee) {
      this.#cluster.promise(info, nominee.node.name);
      this.#outbid(info, nominee.node.name);
      diagnosis.plugins = new Set([...diagnosis.plugins, "NodeResourcesFit"]);
    } else if (!diagnosis.untried) this.#cluster.withdraw(info.uid);
    this.#queue.refused(info.uid, diagnosis.plugins, this.#context.clock.monotonic());
    this.#ended(info, "unschedulable", this.#tryBegan);
    const message = fitErrorText(diagnosis);
    this.#attempts.note(info.uid, {
      at: this.#context.clock.now(),
      result: "Unschedulable",
      message,
      evaluated: diagnosis.refusals.size,
      feasible: 0,
      reasons: reasonCounts(diagnosis),
    });
    const nominated = nominee?.node.name ?? (diagnosis.untried ? undefined : "");
    this.#report(info, "Unschedulable", message, nominated);
    if (nominee) this.#evict(info, nominee);
  }

  /** Where and whom eviction could help, or why nowhere. */
  #postFilter(info: PodInfo, diagnosis: Diagnosis): readonly Candidate[] | string {
    if (diagnosis.nodes === 0) return "";
    const { at, points } = this.#profileOf(info.pod);
    const began = points.now();
    const texts: string[] = [];
    for (const plugin of at.postFilter) {
      const said = plugin.postFilter!(info, diagnosis);
      if (typeof said === "string") texts.push(said);
      else {
        points.passed("PostFilter", points.now() - began);
        return said;
      }
    }
    points.passed("PostFilter", points.now() - began, "Unschedulable");
    return texts.join(", ");
  }

  // --- preemption -----------------------------------------------------------------------------------------

  /** Room that is made for a pod is not room for lower ones: they are promised the node no longer. */
  #outbid(info: PodInfo, node: string): void {
    for (const other of [...this.#cluster.promisesOf(node)?.values() ?? []]) {
      if (other.priority >= info.priority) continue;
      this.#cluster.withdraw(other.uid);
      const { namespace, name, uid } = other.pod.metadata;
      const target = { resource: PODS, namespace, name, subresource: "status" };
      const body = { metadata: { uid }, status: { nominatedNodeName: null } };
      becauseOf(this.#client, info.pod).patch(target, { type: "merge", body }).catch((error) => {
        if (error instanceof ApiError && (error.code === 404 || error.code === 409)) return;
        const pod = other.key;
        this.#context.log("warn", "could not take a nomination back", {
          pod,
          error: String(error),
        });
      });
    }
  }

  #evict(preemptor: PodInfo, { node, victims }: Candidate): void {
    for (const victim of victims) {
      this.#evictOne(preemptor, victim, node.name).catch((error) => {
        if (error instanceof ApiError && error.code === 404) return;
        this.#context.log("warn", "could not preempt a pod", {
          pod: victim.key,
          error: String(error),
        });
      });
    }
  }

  async #evictOne(preemptor: PodInfo, victim: PodInfo, node: string): Promise<void> {
    if (victim.terminating) return;
    const { namespace, name, uid, generation } = victim.pod.metadata;
    const condition = {
      type: "DisruptionTarget",
      status: "True",
      reason: "PreemptionByScheduler",
      message: `${
        this.#profileOf(preemptor.pod).name
      }: preempting to accommodate a higher priority pod`,
      lastTransitionTime: this.#time(),
      ...(generation !== undefined && { observedGeneration: generation }),
    };
    const target = { resource: PODS, namespace, name };
    const client = becauseOf(this.#client, preemptor.pod);
    await client.patch({ ...target, subresource: "status" }, {
      type: "strategic",
      body: { metadata: { uid }, status: { conditions: [condition] } },
    });
    await client.delete(target, { preconditions: { uid } });
    this.#context.recorder.event(
      victim.pod,
      "Normal",
      "Preempted",
      `Preempted by pod ${preemptor.uid} on node ${node}`,
      { action: "Preempting", related: refOf(preemptor.pod) },
    );
  }

  // --- what people see --------------------------------------------------------------------------------------

  /** Says why a pod is not placed: an event, and its PodScheduled condition where that changes. */
  #report(info: PodInfo, reason: string, message: string, nominatedNode: string | undefined): void {
    this.#context.recorder.event(info.pod, "Warning", "FailedScheduling", message, {
      action: "Scheduling",
    });
    const before = this.#failures.get(info.uid) ?? Promise.resolve();
    const write = before.then(() => this.#writeFailure(info, reason, message, nominatedNode))
      .catch((error) => {
        if (error instanceof ApiError && (error.code === 404 || error.code === 409)) return;
        this.#context.log("warn", "could not write a pod's status", {
          pod: info.key,
          error: String(error),
        });
      })
      .finally(() => {
        if (this.#failures.get(info.uid) === write) this.#failures.delete(info.uid);
      });
    this.#failures.set(info.uid, write);
  }

  async #writeFailure(
    info: PodInfo,
    reason: string,
    message: string,
    nominatedNode: string | undefined,
  ): Promise<void> {
    const pod = this.#pods.get(info.key);
    if (!pod || pod.metadata.uid !== info.uid || pod.spec.nodeName) return;
    const known =
      (pod.status?.conditions as readonly DeepReadonly<Record<string, string>>[] | undefined)
        ?.find((condition) => condition.type === "PodScheduled");
    const nominates = nominatedNode !== undefined &&
      nominatedNode !== (pod.status?.nominatedNodeName ?? "");
    if (
      known?.status === "False" && known.reason === reason && known.message === message &&
      !nominates
    ) return;
    const condition = {
      type: "PodScheduled",
      status: "False",
      reason,
      message,
      lastTransitionTime: known?.status === "False" ? known.lastTransitionTime : this.#time(),
      ...(pod.metadata.generation !== undefined && { observedGeneration: pod.metadata.generation }),
    };
    await becauseOf(this.#client, pod).patch(
      {
        resource: PODS,
        namespace: info.namespace,
        name: info.pod.metadata.name,
        subresource: "status",
      },
      {
        type: "strategic",
        body: {
          metadata: { uid: info.uid },
          status: {
            conditions: [condition],
            ...(nominates && { nominatedNodeName: nominatedNode || null }),
          },
        },
      },
    );
  }

  #time(): string {
    return formatTime(this.#context.clock.now());
  }
}

const NO_PLUGINS: ReadonlySet<string> = new Set();

function refOf({ metadata: { namespace, name, uid } }: Pod) {
  return { apiVersion: "v1", kind: "Pod", namespace, name, uid };
}

function isFinished(pod: Pod): boolean {
  return pod.status?.phase === "Succeeded" || pod.status?.phase === "Failed";
}

/** Status writes of the scheduler itself must not make it try again. */
function changedForScheduling(old: Pod, pod: Pod): boolean {
  return old.spec !== pod.spec && JSON.stringify(old.spec) !== JSON.stringify(pod.spec) ||
    JSON.stringify(old.metadata.labels) !== JSON.stringify(pod.metadata.labels) ||
    old.status?.nominatedNodeName !== pod.status?.nominatedNodeName ||
    JSON.stringify(old.status?.resourceClaimStatuses) !==
      JSON.stringify(pod.status?.resourceClaimStatuses);
}
