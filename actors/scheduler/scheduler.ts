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
import type { Change, Client, Informer } from "../../api/client/contract.ts";
import { ApiError, type DeepReadonly, type KubeObject } from "../../api/machinery/types.ts";
import { formatTime } from "../../api/machinery/time.ts";
import type { ActorContext, Behaviour, Outcome } from "../runtime/contract.ts";
import { Algorithm, type Choice } from "./algorithm.ts";
import { Cluster, labelsOf } from "./cluster.ts";
import { Attempts, type Explanation, explanationOf, reasonCounts, tell } from "./explain.ts";
import {
  type ClusterEvent,
  type Diagnosis,
  fitErrorText,
  type NodeInfo,
  type Plugin,
  type Pod,
  type PodInfo,
} from "./framework.ts";
import { podInfoOf } from "./pod_info.ts";
import { type Candidate, preempt } from "./preemption.ts";
import { defaultPlugins, type PluginInformers } from "./profile.ts";
import { SchedulingQueue } from "./queue.ts";
import type { SchedulerView } from "./view.ts";

/** How long decisions may hold the event loop, in ms. */
export const SLICE_MS = 4;
/** Bindings on their way at once. */
export const BINDINGS_MAX = 512;

const core = (plural: string) => ({ group: "", version: "v1", plural });
const PODS = core("pods");
const BUDGETS = { group: "policy", version: "v1", plural: "poddisruptionbudgets" };
const BINDING = { apiVersion: "v1", kind: "Binding" };
const LOOK = "look";

export interface SchedulerOptions {
  /** `spec.schedulerName` of the pods it takes (default `default-scheduler`). */
  name?: string;
  /** The plugins, in order (default: upstream's default profile). */
  plugins?: (informers: PluginInformers) => readonly Plugin[];
  /** Shown while it runs. */
  view?: SchedulerView;
}

/** The scheduler as an actor, to be spawned once as `scheduler/default`. */
export function scheduler(options: SchedulerOptions = {}): Behaviour<Scheduler> {
  return {
    start: (context) => new Scheduler(context, options),
    handle: (_key, state) => state.run(),
    stop: (state) => {
      options.view?.show(undefined);
      state.stop();
    },
  };
}

/** See the module's text. */
export class Scheduler {
  readonly #context: ActorContext;
  readonly #name: string;
  readonly #client: Client;
  readonly #cluster = new Cluster();
  readonly #queue: SchedulingQueue;
  readonly #algorithm: Algorithm;
  readonly #informers: PluginInformers;
  readonly #pods: Informer;
  readonly #plugins: readonly Plugin[];
  readonly #subscriptions: (() => void)[] = [];
  /** Who waits for claims and volumes to change. */
  readonly #volumeWaiters = new Set<() => void>();
  #bindings = 0;
  #bindingDone: (() => void) | undefined;
  /** Writes about pods that could not be placed, merged by pod. */
  readonly #failures = new Map<string, Promise<void>>();
  readonly #attempts = new Attempts();

  constructor(context: ActorContext, options: SchedulerOptions) {
    this.#context = context;
    this.#name = options.name ?? "default-scheduler";
    this.#client = context.client;
    const of = (plural: string) => context.informers.for(core(plural));
    const apps = (plural: string) =>
      context.informers.for({ group: "apps", version: "v1", plural });
    this.#pods = of("pods");
    this.#informers = {
      client: this.#client,
      claims: of("persistentvolumeclaims"),
      volumes: of("persistentvolumes"),
      classes: context.informers.for({
        group: "storage.k8s.io",
        version: "v1",
        plural: "storageclasses",
      }),
      services: of("services"),
      replicationControllers: of("replicationcontrollers"),
      replicaSets: apps("replicasets"),
      statefulSets: apps("statefulsets"),
      namespaces: of("namespaces"),
      wait: (done, timeoutMs) => this.#waitForVolumes(done, timeoutMs),
    };
    this.#plugins = (options.plugins ?? defaultPlugins)(this.#informers);
    this.#queue = new SchedulingQueue(this.#plugins);
    this.#algorithm = new Algorithm(this.#cluster, this.#plugins, () => context.clock.random());
    this.#subscribe();
    options.view?.show(this);
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
      this.#schedule(info);
      if (clock.monotonic() - sliceStart < SLICE_MS) continue;
      await clock.turn();
      sliceStart = clock.monotonic();
    }
    const next = this.#queue.nextAt();
    if (next !== undefined) return { afterMs: Math.max(next - clock.monotonic(), 1) };
  }

  stop(): void {
    for (const unsubscribe of this.#subscriptions) unsubscribe();
    for (const waiter of this.#volumeWaiters) waiter();
  }

  /** Why a pod is where it is or nowhere, and what would place it; a bound pod as if it were to be placed anew. */
  explain(key: string): Explanation | undefined {
    const pod = this.#pods.get(key);
    if (!pod) return undefined;
    const { uid } = pod.metadata;
    const info = this.#infoOf({ ...pod, spec: { ...pod.spec, nodeName: undefined } });
    const place = this.#cluster.placeOf(uid);
    const node = place === undefined ? undefined : this.#cluster.node(place);
    const held = node?.pods.get(uid);
    const told = () =>
      tell(info, this.#algorithm.matrix(info), {
        plugins: this.#plugins,
        preemptable: (diagnosis) => this.#preemptable(info, diagnosis),
      });
    return explanationOf(pod, {
      ...(node && held ? this.#cluster.supposing(node, [held], [], told) : told()),
      attempt: this.#attempts.get(uid),
      nodeName: place,
      queue: place === undefined ? this.#queue.placeOf(uid) : undefined,
    });
  }

  /** Pending pods by queue. */
  pending(): Record<string, number> {
    return this.#queue.counts();
  }

  // --- what the watches say -----------------------------------------------------------------------------

  #subscribe(): void {
    const { informers } = this.#context;
    const on = (informer: Informer, listener: (change: Change<KubeObject>) => void) =>
      this.#subscriptions.push(informer.subscribe(listener));
    on(informers.for(core("nodes")), (change) => this.#nodeChanged(change));
    on(this.#pods, (change) => this.#podChanged(change));
    const volumeChanged = () => {
      for (const waiter of this.#volumeWaiters) waiter();
      this.#event("VolumeChange", undefined);
    };
    on(this.#informers.claims, volumeChanged);
    on(this.#informers.volumes, volumeChanged);
    on(this.#informers.classes, volumeChanged);
    // Read by plugins; a change of theirs moves no pod.
    informers.for(BUDGETS);
  }

  #infoOf(pod: Pod): PodInfo {
    return podInfoOf(pod, (namespace) => labelsOf(this.#informers.namespaces.get(namespace)));
  }

  #nodeChanged({ object, old }: Change<KubeObject>): void {
    if (!object) {
      this.#cluster.removeNode(old!.metadata.name);
      return;
    }
    const said = this.#cluster.setNode(object);
    if (said === "same") return;
    const node = this.#cluster.node(object.metadata.name);
    this.#event(said === "new" ? "NodeAdd" : "NodeUpdate", node);
  }

  #podChanged({ object: pod, old }: Change<KubeObject>): void {
    const uid = (pod ?? old!).metadata.uid;
    if (pod && old && pod.metadata.uid !== old.metadata.uid) this.#gone(old.metadata.uid);
    if (!pod || isFinished(pod)) {
      this.#gone(uid);
      return;
    }
    if (pod.spec.nodeName) this.#bound(pod);
    else if (pod.spec.schedulerName === this.#name || pod.spec.schedulerName === undefined) {
      if (pod.metadata.deletionTimestamp) this.#gone(uid);
      else if (!this.#cluster.placeOf(uid)) this.#pending(pod, old);
    }
  }

  #bound(pod: Pod): void {
    const uid = pod.metadata.uid;
    const before = this.#cluster.placeOf(uid);
    const info = this.#infoOf(pod);
    this.#queue.remove(uid);
    this.#clearNomination(uid);
    this.#cluster.place(info, pod.spec.nodeName, false);
    // An assumed pod was announced when it was assumed.
    this.#event(before === undefined ? "AssignedPodAdd" : "AssignedPodUpdate", info);
  }

  #pending(pod: Pod, old: Pod | undefined): void {
    if (old && this.#queue.has(pod.metadata.uid) && !changedForScheduling(old, pod)) return;
    const info = this.#infoOf(pod);
    const nominated = pod.status?.nominatedNodeName as string | undefined;
    if (nominated) this.#nominate(info, nominated);
    this.#queue.put(info, this.#context.clock.monotonic());
    this.#look();
  }

  #gone(uid: string): void {
    this.#queue.remove(uid);
    this.#clearNomination(uid);
    this.#attempts.forget(uid);
    const info = this.#cluster.remove(uid);
    if (info) this.#event("AssignedPodDelete", info);
  }

  #event(event: ClusterEvent, subject: PodInfo | NodeInfo | undefined): void {
    if (this.#queue.event(event, subject, this.#context.clock.monotonic()) > 0) this.#look();
  }

  #look(): void {
    this.#context.send(this.#context.address, LOOK);
  }

  // --- one pod --------------------------------------------------------------------------------------------

  #schedule(info: PodInfo): void {
    if (this.#cluster.placeOf(info.uid)) return;
    const choice = this.#algorithm.choose(info);
    if ("refusals" in choice) {
      this.#unschedulable(info, choice);
      return;
    }
    for (const plugin of this.#plugins) {
      if (plugin.reserve?.(choice.cycle, choice.node)) {
        throw new Error(`${plugin.name} refused a reservation`);
      }
    }
    this.#cluster.place(info, choice.node.name, true);
    this.#queue.placed(info.uid);
    this.#event("AssignedPodAdd", info);
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

  async #bind(info: PodInfo, choice: Choice): Promise<void> {
    const { metadata } = info.pod;
    const node = choice.node.name;
    try {
      for (const plugin of this.#plugins) {
        if (plugin.preBind) await plugin.preBind(choice.cycle, choice.node);
      }
      await this.#client.create(
        {
          resource: PODS,
          namespace: metadata.namespace,
          name: metadata.name,
          subresource: "binding",
        },
        {
          ...BINDING,
          metadata: { name: metadata.name, namespace: metadata.namespace, uid: metadata.uid },
          target: { apiVersion: "v1", kind: "Node", name: node },
        },
      );
      this.#queue.remove(info.uid);
      this.#clearNomination(info.uid);
      this.#context.recorder.event(
        info.pod,
        "Normal",
        "Scheduled",
        `Successfully assigned ${info.key} to ${node}`,
        { action: "Binding" },
      );
    } catch (error) {
      this.#unbind(info, choice, error);
    }
  }

  #unbind(info: PodInfo, choice: Choice, error: unknown): void {
    for (const plugin of this.#plugins) plugin.unreserve?.(choice.cycle, choice.node);
    // Somebody bound it (the watch will say where), or it is gone: nothing to try again.
    const over = error instanceof ApiError && (error.code === 404 || error.code === 409);
    const current = this.#pods.get(info.key);
    if (current?.metadata.uid === info.uid && current.spec.nodeName) return;
    this.#cluster.remove(info.uid);
    this.#event("AssignedPodDelete", info);
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
    this.#queue.refused(info.uid, new Set(), this.#context.clock.monotonic());
    const message = `binding rejected: ${text}`;
    const { node: { name: node }, evaluated, feasible } = choice;
    const at = this.#context.clock.now();
    this.#attempts.note(info.uid, { at, result: "Error", message, node, evaluated, feasible });
    this.#report(info, "SchedulerError", message, undefined);
    this.#look();
  }

  #unschedulable(info: PodInfo, diagnosis: Diagnosis): void {
    let nominee: Candidate | undefined;
    if (diagnosis.nodes > 0) {
      const outcome = this.#preemptable(info, diagnosis);
      // The part before it is what upstream's DynamicResources plugin says of a pod without claims.
      if (typeof outcome === "string") {
        diagnosis.postFilter = `no new claims to deallocate, ${outcome}`;
      } else nominee = outcome;
    }
    if (nominee) {
      this.#nominate(info, nominee.node.name);
      diagnosis.plugins = new Set([...diagnosis.plugins, "NodeResourcesFit"]);
    }
    this.#queue.refused(info.uid, diagnosis.plugins, this.#context.clock.monotonic());
    const message = fitErrorText(diagnosis);
    this.#attempts.note(info.uid, {
      at: this.#context.clock.now(),
      result: "Unschedulable",
      message,
      evaluated: diagnosis.refusals.size,
      feasible: 0,
      reasons: reasonCounts(diagnosis),
    });
    this.#report(info, "Unschedulable", message, nominee?.node.name);
    if (nominee) this.#evict(info, nominee);
  }

  /** Where and whom eviction could help, or why nowhere. */
  #preemptable(info: PodInfo, diagnosis: Diagnosis): Candidate | string {
    return preempt(info, diagnosis, {
      cluster: this.#cluster,
      filter: (pod, node) => this.#algorithm.filter(pod, node),
      budgets: () => this.#context.informers.for(BUDGETS).list(),
      random: () => this.#context.clock.random(),
    });
  }

  // --- preemption -----------------------------------------------------------------------------------------

  #nominate(info: PodInfo, node: string): void {
    this.#clearNomination(info.uid);
    const promised = this.#algorithm.nominated.get(node) ?? new Map();
    this.#algorithm.nominated.set(node, promised.set(info.uid, info));
  }

  #clearNomination(uid: string): void {
    for (const [node, promised] of this.#algorithm.nominated) {
      if (promised.delete(uid) && promised.size === 0) this.#algorithm.nominated.delete(node);
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
    const { namespace, name, uid } = victim.pod.metadata;
    const condition = {
      type: "DisruptionTarget",
      status: "True",
      reason: "PreemptionByScheduler",
      message: `${this.#name}: preempting to accommodate a higher priority pod`,
      lastTransitionTime: this.#time(),
    };
    const target = { resource: PODS, namespace, name };
    await this.#client.patch({ ...target, subresource: "status" }, {
      type: "strategic",
      body: { metadata: { uid }, status: { conditions: [condition] } },
    });
    await this.#client.delete(target, { preconditions: { uid } });
    this.#context.recorder.event(
      victim.pod,
      "Normal",
      "Preempted",
      `Preempted by pod ${preemptor.uid} on node ${node}`,
      { action: "Preempting" },
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
      nominatedNode !== pod.status?.nominatedNodeName;
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
    await this.#client.patch(
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
            ...(nominates && { nominatedNodeName: nominatedNode }),
          },
        },
      },
    );
  }

  #time(): string {
    return formatTime(this.#context.clock.now());
  }

  #waitForVolumes(done: () => boolean, timeoutMs: number): Promise<void> {
    if (done()) return Promise.resolve();
    return new Promise((resolve, reject) => {
      const end = (error?: Error) => {
        this.#volumeWaiters.delete(look);
        timer.cancel();
        if (error) reject(error);
        else resolve();
      };
      const look = () => {
        if (this.#context.signal.aborted) end(new Error("the scheduler is stopping"));
        else if (done()) end();
      };
      const timer = this.#context.clock.timer(
        "background",
        timeoutMs,
        () => end(new Error("timed out waiting for the condition")),
      );
      this.#volumeWaiters.add(look);
    });
  }
}

function isFinished(pod: Pod): boolean {
  return pod.status?.phase === "Succeeded" || pod.status?.phase === "Failed";
}

/** Status writes of the scheduler itself must not make it try again. */
function changedForScheduling(old: Pod, pod: Pod): boolean {
  return old.spec !== pod.spec && JSON.stringify(old.spec) !== JSON.stringify(pod.spec) ||
    JSON.stringify(old.metadata.labels) !== JSON.stringify(pod.metadata.labels) ||
    old.status?.nominatedNodeName !== pod.status?.nominatedNodeName;
}
