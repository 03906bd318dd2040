/**
 * The actor contract: what every controller, the scheduler and every node may rely on.
 *
 * Guarantees, quoted by tests by these names:
 *
 * - one-at-a-time: for one key of one actor, at most one handler runs.
 * - merged: equal keys that wait are one; a key that arrives while its handler runs is handled once more after it.
 * - retried: an error thrown by `handle` brings the key back after a growing delay; success forgets the delay.
 * - terminal: a `TerminalError` is recorded and the key is not retried until something names it again.
 * - come-back: an outcome `{ afterMs }` brings the key back once, unless an earlier message does.
 * - started-first: `handle` never runs before `start` has resolved and the actor's informers are synced.
 * - supervised: a `start` that fails, or a fault outside `handle`, restarts the actor with backoff; its parent is told.
 * - drained: `stop` lets running handlers end (their signal is aborted), starts no other, then stops children, then calls `stop`.
 * - bounded: a mailbox holds at most `keysMax` keys; beyond it mail is dropped and the actor resyncs from its informers.
 * - rebuilt: state comes from `start` alone; nothing an actor holds is the only copy.
 * - singleton: a singleton's writes carry its term; after the term has passed none lands.
 *   Its caches show all that former holders wrote before it handles anything.
 * - because: what a handler writes by its context's client keeps the revision that woke the key. Merged keys keep the
 *   newest that somebody else wrote, or else the newest; retries and come-backs theirs; what timers wake begins of itself.
 * - paused: while an actor is paused none of its handlers begins; those that run end. Keys are held, merged and bounded
 *   as ever, over restarts too, and do not count as something to do. `step` lets exactly one of them through; `resume` all.
 * - observed: an observer hears of each message that was handled here, in the order of their ends. Nobody observes:
 *   nothing is made for it.
 *
 * Messages are keys, never objects: losing, repeating, merging or delaying one is harmless.
 */
import type { Client, Informers } from "../../api/client/contract.ts";
import type { ActorReport as ShownReport, Handled } from "../../api/client/plesio.ts";
import type { DeepReadonly, KubeObject, ResourceId } from "../../api/machinery/types.ts";
import type { Spans } from "../../api/machinery/spans.ts";
import type { Clock } from "../../kv/clock.ts";
import type { Queue, Terms } from "../../kv/contract.ts";
import type { QueueTimes } from "./queue_times.ts";

export type { Handled };

/** Done, or come back after a while. */
export type Outcome = void | { afterMs: number };

/** An error that trying again cannot mend. */
export class TerminalError extends Error {
  override name = "TerminalError";
}

export type Level = "debug" | "info" | "warn" | "error";

/** One line per call; fields are plain values. Never secrets. */
export interface Logger {
  (level: Level, text: string, fields?: Record<string, unknown>): void;
}

/** Records Kubernetes Events as upstream's recorder does: merged, counted, rate-limited. Never blocks. */
export interface Recorder {
  event(
    object: DeepReadonly<KubeObject> | ObjectRef,
    type: "Normal" | "Warning",
    reason: string,
    message: string,
    options?: { action?: string; related?: ObjectRef },
  ): void;
}

export interface ObjectRef {
  apiVersion: string;
  kind: string;
  name: string;
  namespace?: string;
  uid?: string;
  fieldPath?: string;
  resourceVersion?: string;
}

/** What an actor is given. */
export interface ActorContext {
  readonly address: string;
  readonly client: Client;
  readonly informers: Informers;
  readonly clock: Clock;
  readonly log: Logger;
  readonly recorder: Recorder;
  /** Aborted when the actor stops. */
  readonly signal: AbortSignal;
  /** Sends a key to an actor of this process at once, or durably through the queue when `durable`. */
  send(to: string, key: string, options?: { delayMs?: number; durable?: boolean }): void;
  /** Starts a child; its address is this one's plus `/name`. */
  spawn<S>(name: string, behaviour: Behaviour<S>, options?: SpawnOptions): ActorHandle;
}

/** What an actor does. Its state is what `start` returned; behaviours have none of their own. */
export interface Behaviour<S> {
  start(context: ActorContext): Promise<S> | S;
  handle(key: string, state: S, context: ActorContext): Promise<Outcome> | Outcome;
  /** A child gave up after its restarts. Default: restart it. */
  childFailed?(child: string, error: unknown, state: S, context: ActorContext): void;
  stop?(state: S, context: ActorContext): Promise<void> | void;
}

export interface SpawnOptions {
  /** Handlers that may run at once, for different keys (default 1). */
  workers?: number;
  /** Keys that may wait (default `MAILBOX_KEYS_MAX`). */
  keysMax?: number;
  /** First and longest retry delay in ms (defaults 5 and 1000 * 1000, as client-go's). */
  backoffMsMin?: number;
  backoffMsMax?: number;
  /** Who its Events are from: upstream's component name (default: the last part of the address). */
  component?: string;
  /** The node its Events are from, for nodes' actors. */
  host?: string;
}

export interface ActorHandle {
  readonly address: string;
  send(key: string, options?: { delayMs?: number }): void;
  stop(): Promise<void>;
}

/** Holds an actor back and lets it go on. */
export interface ActorControl {
  pause(): void;
  resume(): void;
  /** Lets one waiting key through; false: none waits, or it is not paused. */
  step(): boolean;
}

/** How an actor is, for `/debug/actors`, and for the metrics. */
export interface ActorReport extends ShownReport {
  /** How long its keys waited and were worked on. */
  times: QueueTimes;
  /** How long handlers that run have run: all together, and the longest. */
  unfinished: { sumMs: number; longestMs: number };
}

/** What the runtime is built from. */
export interface SystemPorts {
  client: Client;
  informers: Informers;
  clock: Clock;
  queue?: Queue;
  terms?: Terms;
  log: Logger;
  /** Records handlings; absent: nothing is. */
  spans?: Spans;
}

/** The actors of one process. */
export interface System {
  spawn<S>(
    address: string,
    behaviour: Behaviour<S>,
    options?: SpawnOptions & { singleton?: boolean; client?: Client },
  ): ActorHandle;
  send(to: string, key: string, options?: { delayMs?: number; durable?: boolean }): void;
  report(): ActorReport[];
  /** Addresses that have something to do now (not those that only wait for a time). */
  busy(): string[];
  /** Messages that the actors here have handled. */
  handled(): number;
  /** Tells of messages as they are handled, until what it returns is called. */
  observe(heard: (message: Handled) => void): () => void;
  /** Of an actor of this process; undefined: there is none of that address. */
  control(address: string): ActorControl | undefined;
  stop(): Promise<void>;
}

/**
 * A controller: one file, one kind, one exported `reconcile`, one row of `controllers/mod.ts`.
 * `reconcile` gets a key (`namespace/name`), reads the world from the caches, computes, writes.
 */
export interface Controller<S = unknown> {
  /** `deployment`: the actor is `controller/deployment`. */
  name: string;
  /** The ServiceAccount in kube-system whose rights it has (upstream's name), such as `deployment-controller`. */
  account: string;
  /** Keys are of this resource. */
  for: ResourceId;
  /**
   * Whether a change of a `for` object (its last state, when it is gone) has to be looked at; default: each.
   * Called for each event, so it must be cheap.
   */
  selects?(object: DeepReadonly<KubeObject>, context: ActorContext): boolean;
  /** The kind of `for`, such as `Deployment`: owner references to it become keys. */
  kind?: string;
  /** Resources whose controller owner is mapped to a key. */
  owns?: readonly ResourceId[];
  /** Other resources, each mapped to keys by a function. */
  watches?: readonly {
    resource: ResourceId;
    keys(
      object: DeepReadonly<KubeObject>,
      old: DeepReadonly<KubeObject> | undefined,
      context: ActorContext,
    ): readonly string[];
  }[];
  /** Other caches it reads. */
  reads?: readonly ResourceId[];
  workers?: number;
  /** Upstream's component name in its Events (default: the account). */
  component?: string;
  /**
   * How long events about a key are gathered before it is looked at, in ms (default: not at all). Called
   * for each event, so it must be cheap.
   */
  gatherMs?(key: string, context: ActorContext): number;
  /** Indexes and state. */
  start?(context: ActorContext): Promise<S> | S;
  reconcile(key: string, context: ActorContext, state: S): Promise<Outcome> | Outcome;
}

/**
 * The annotation of a Node that has no Lease of its own: the name of the Lease in `kube-node-lease` that
 * its host renews for all its nodes. Whoever judges such a node by its lease looks at that one.
 */
export const NODE_HOST_ANNOTATION = "plesio.dev/host";
