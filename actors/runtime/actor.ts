/**
 * One actor: a behaviour, the state its `start` made, and a mailbox.
 *
 * A life goes: starting (the behaviour's `start`, then its informers sync), running (the mailbox is
 * open), stopping (signal aborted, running handlers end, children stop, the behaviour's `stop`). A fault
 * ends the life and the supervisor begins another with a fresh state and a fresh mailbox; mail that comes
 * between two lives waits in the next one's mailbox.
 *
 * Guarantees (contract.ts): started-first, supervised, drained, rebuilt, because, paused.
 */
import type { Client, Informers } from "../../api/client/contract.ts";
import type { Spans, Within } from "../../api/machinery/spans.ts";
import type { Clock } from "../../kv/clock.ts";
import type {
  ActorContext,
  ActorControl,
  ActorHandle,
  ActorReport,
  Behaviour,
  Handled,
  Logger,
  Outcome,
  Recorder,
  SpawnOptions,
} from "./contract.ts";
import { Mailbox } from "./mailbox.ts";
import { QueueTimes } from "./queue_times.ts";
import { isNamespaceGoing } from "./ownership.ts";
import { EventRecorder } from "./recorder.ts";
import { type Supervised, Supervisor } from "./supervisor.ts";
import { TrackedInformers } from "./tracked_informers.ts";
import { OwnRevisions, telling } from "./waking.ts";

/** What all actors of a process share. */
export interface ActorPorts {
  informers: Informers;
  clock: Clock;
  log: Logger;
  spans?: Spans;
  send(to: string, key: string, options?: { delayMs?: number; durable?: boolean }): void;
  /** Makes the actor reachable by its address, and unreachable. */
  register(actor: AnyActor): void;
  unregister(actor: AnyActor): void;
  /** Hears of messages; absent: nobody observes. */
  heard?: (message: Handled) => void;
}

/** An actor whose state's type does not matter. */
// deno-lint-ignore no-explicit-any -- the state is the behaviour's own business
export type AnyActor = Actor<any>;

/** See the module's text. */
export class Actor<S> implements Supervised, ActorHandle {
  readonly address: string;
  readonly #ports: ActorPorts;
  readonly #behaviour: Behaviour<S>;
  readonly #options: SpawnOptions;
  readonly #client: Client;
  readonly #parent: Supervisor;
  readonly #since: number | undefined;
  #life: Life<S> | undefined;
  #mailbox: Mailbox;
  #state: ActorReport["state"] = "starting";
  #lives = 0;
  #handledBefore = 0;
  readonly #times = new QueueTimes();
  readonly #own = new OwnRevisions();
  #failedBefore = 0;
  #lastError: string | undefined;
  #lastAt: number | undefined;
  #stopped: Promise<void> | undefined;
  #recorder: EventRecorder | undefined;
  readonly #parentRecorder: (() => EventRecorder) | undefined;

  constructor(
    ports: ActorPorts,
    settings: {
      address: string;
      behaviour: Behaviour<S>;
      options: SpawnOptions;
      client: Client;
      parent: Supervisor;
      /** Its caches must reflect this: what others wrote before it took its term. */
      since?: number;
      /** A parent's, for a child that speaks in its name. */
      recorder?: () => EventRecorder;
    },
  ) {
    this.#ports = ports;
    this.address = settings.address;
    this.#behaviour = settings.behaviour;
    this.#options = settings.options;
    const wrote = (revision: number) => this.#own.add(revision);
    this.#client = settings.client.because(0, { by: this.address, wrote });
    this.#parent = settings.parent;
    this.#since = settings.since;
    this.#parentRecorder = settings.recorder;
    this.#mailbox = this.#newMailbox();
  }

  send(key: string, options?: { delayMs?: number }): void {
    if (!this.#stopped) this.#mailbox.send(key, options?.delayMs);
  }

  /** Begins a life; see Supervisor. */
  begin(): void {
    if (this.#stopped) return;
    const isFirst = this.#lives++ === 0;
    if (isFirst) this.#ports.register(this);
    this.#state = "starting";
    // What a former life under the same term wrote is forgotten with its state: caches may not show it yet.
    const since = isFirst || this.#since === undefined ? this.#since : Infinity;
    const life = new Life(this.#behaviour, this.#context(), this.#ports, since);
    this.#life = life;
    life.start().then(() => {
      if (this.#life !== life || life.over) return;
      this.#state = "running";
      this.#parent.rose(this);
      this.#mailbox.open();
    }, (error) => this.#fall(life, error));
  }

  /** Stops for good; the second call waits for the same end. */
  stop(): Promise<void> {
    this.#stopped ??= this.#end();
    return this.#stopped;
  }

  busy(): boolean {
    return this.#state === "starting" || this.#state === "stopping" ||
      (this.#state === "running" && this.#mailbox.busy) ||
      (this.#recorder?.busy ?? false);
  }

  /** Of the mailbox that it has now: a new one is paused if the former was. */
  get control(): ActorControl {
    return this.#mailbox;
  }

  get handled(): number {
    return this.#handledBefore + this.#mailbox.handled;
  }

  report(): ActorReport {
    const mailbox = this.#mailbox;
    return {
      address: this.address,
      state: this.#state,
      ...(mailbox.paused && { paused: true }),
      waiting: mailbox.waiting,
      running: mailbox.running,
      delayed: mailbox.delayed,
      lagMs: mailbox.lagMs,
      handled: this.handled,
      times: this.#times,
      unfinished: mailbox.unfinished,
      failed: this.#failedBefore + mailbox.failedCount,
      restarts: Math.max(0, this.#lives - 1),
      lastKey: mailbox.lastKey,
      lastError: this.#lastError,
      lastAt: this.#lastAt === undefined ? undefined : new Date(this.#lastAt).toISOString(),
    };
  }

  async #end(): Promise<void> {
    this.#state = "stopping";
    await this.#endLife(this.#life);
    await this.#recorder?.stop();
    this.#state = "stopped";
    this.#ports.unregister(this);
  }

  async #endLife(life: Life<S> | undefined): Promise<void> {
    const mailbox = this.#mailbox;
    life?.abort();
    await mailbox.close();
    await life?.end();
  }

  /** This life is over by a fault: clean up, then let the supervisor decide. */
  #fall(life: Life<S>, error: unknown): void {
    if (this.#life !== life || life.over || this.#stopped) return;
    this.#state = "backing-off";
    this.#note(error);
    this.#ports.log("error", "actor fell", { actor: this.address, error: this.#lastError });
    const old = this.#mailbox;
    this.#handledBefore += old.handled;
    this.#failedBefore += old.failedCount;
    life.abort();
    this.#mailbox = this.#newMailbox();
    if (old.paused) this.#mailbox.pause();
    old.close().then(() => life.end()).finally(() => {
      if (!this.#stopped) this.#parent.fell(this, error);
    });
  }

  #note(error: unknown): void {
    this.#lastError = error instanceof Error ? `${error.name}: ${error.message}` : String(error);
    this.#lastAt = this.#ports.clock.now();
  }

  #newMailbox(): Mailbox {
    return new Mailbox({
      ...this.#options,
      clock: this.#ports.clock,
      times: this.#times,
      handle: (key, because) => {
        const life = this.#life!;
        const within = this.#ports.spans?.following(because);
        if (within) return this.#recorded(key, because, within);
        const context = because > 0 ? new Handling(life.context, { because }) : life.context;
        return this.#behaviour.handle(key, life.state as S, context);
      },
      observer: () => {
        const { heard } = this.#ports;
        return heard && ((message) => heard({ to: this.address, ...message }));
      },
      failed: (key, error, retryMs) => {
        this.#note(error);
        // Conflicts, and objects and namespaces that go, are the usual ways to learn that the world moved.
        const { reason } = (error ?? {}) as { reason?: string };
        const usual = reason === "Conflict" || reason === "NotFound" || isNamespaceGoing(error);
        this.#ports.log(usual ? "debug" : "warn", "handler failed", {
          actor: this.address,
          key,
          error: this.#lastError,
          retryMs,
        });
      },
      overflowed: () => {
        this.#ports.log("warn", "mailbox overflowed, listing again", { actor: this.address });
        return this.#life!.informers.replay();
      },
    });
  }

  /** Handles a key as a span of the trace that woke it. */
  async #recorded(key: string, because: number, within: Within): Promise<Outcome> {
    const spans = this.#ports.spans!;
    const life = this.#life!;
    const id = spans.next();
    const begin = spans.now();
    let error: string | undefined;
    try {
      const context = new Handling(life.context, { because, span: id });
      return await this.#behaviour.handle(key, life.state as S, context);
    } catch (thrown) {
      error = thrown instanceof Error ? thrown.message : String(thrown);
      throw thrown;
    } finally {
      const attributes = { "plesio.key": key, "plesio.because": because };
      const times = { begin, end: spans.now() };
      spans.add({ ...within, ...times, id, name: this.address, scope: "actor", attributes, error });
    }
  }

  #context(): LifeContext {
    const abort = new AbortController();
    const ports = this.#ports;
    const children = new Supervisor(ports.clock, (child, error) => {
      const life = this.#life;
      if (!this.#behaviour.childFailed || !life || life.over) return false;
      const name = child.address.slice(this.address.length + 1);
      this.#behaviour.childFailed(name, error, life.state as S, life.context);
      return true;
    });
    const informers = new TrackedInformers(ports.informers, (error) => {
      if (this.#life) this.#fall(this.#life, error);
    }, this.#own);
    const getRecorder = () => this.#recorderOf();
    const context: ActorContext = {
      address: this.address,
      client: this.#client,
      informers,
      clock: ports.clock,
      log: (level, text, fields) => ports.log(level, text, { actor: this.address, ...fields }),
      // Made when something is said: most actors never do.
      recorder: { event: (...said) => getRecorder().event(...said) },
      signal: abort.signal,
      send: (to, key, options) => ports.send(to, key, options),
      spawn: (name, behaviour, options = {}) => {
        const address = `${this.address}/${name}`;
        const { component, host } = this.#options;
        const shares = (options.component ?? component) === component &&
          (options.host ?? host) === host;
        const child = new Actor(ports, {
          address,
          behaviour,
          options: { component, host, ...options },
          client: this.#client,
          parent: children,
          recorder: shares ? getRecorder : undefined,
        });
        children.adopt(child);
        return {
          address,
          send: (key, sendOptions) => child.send(key, sendOptions),
          stop: () => children.release(child),
        };
      },
    };
    return { context, abort, children, informers };
  }

  #recorderOf(): EventRecorder {
    if (this.#parentRecorder) return this.#parentRecorder();
    this.#recorder ??= new EventRecorder({
      client: this.#client,
      clock: this.#ports.clock,
      log: this.#ports.log,
      component: this.#options.component ?? this.address.slice(this.address.lastIndexOf("/") + 1),
      host: this.#options.host,
    });
    return this.#recorder;
  }
}

/** The context of one handling: what is written and sent by it is because of the revision that woke the key. */
class Handling implements ActorContext {
  readonly address: string;
  readonly informers: Informers;
  readonly clock: Clock;
  readonly log: Logger;
  readonly recorder: Recorder;
  readonly signal: AbortSignal;
  readonly send: ActorContext["send"];
  readonly spawn: ActorContext["spawn"];
  readonly #life: ActorContext;
  readonly #why: { readonly because: number; readonly span?: string };
  #client: Client | undefined;

  constructor(life: ActorContext, why: { because: number; span?: string }) {
    const { because } = why;
    this.#life = life;
    this.#why = why;
    this.address = life.address;
    this.informers = life.informers;
    this.clock = life.clock;
    this.log = life.log;
    this.recorder = life.recorder;
    this.signal = life.signal;
    this.spawn = life.spawn;
    // Not written right into the field, as in the informer: it would outlive what it was for.
    const send: ActorContext["send"] = (...mail) => telling(because, () => life.send(...mail));
    this.send = send;
  }

  /** Many handlings write nothing. */
  get client(): Client {
    const { because, span } = this.#why;
    return this.#client ??= this.#life.client.because(because, span ? { span } : undefined);
  }
}

/** What belongs to one life of an actor. */
interface LifeContext {
  context: ActorContext;
  abort: AbortController;
  children: Supervisor;
  informers: TrackedInformers;
}

/** One life: from `start` to `stop`. */
class Life<S> {
  readonly context: ActorContext;
  readonly children: Supervisor;
  readonly informers: TrackedInformers;
  state: S | undefined;
  /** No more handlers, no more faults: the life ends. */
  over = false;
  #started = false;
  readonly #abort: AbortController;
  readonly #behaviour: Behaviour<S>;
  readonly #ports: ActorPorts;
  readonly #since: number | undefined;

  constructor(
    behaviour: Behaviour<S>,
    parts: LifeContext,
    ports: ActorPorts,
    since: number | undefined,
  ) {
    this.context = parts.context;
    this.children = parts.children;
    this.informers = parts.informers;
    this.#abort = parts.abort;
    this.#behaviour = behaviour;
    this.#ports = ports;
    this.#since = since;
  }

  async start(): Promise<void> {
    this.state = await this.#behaviour.start(this.context);
    this.#started = true;
    // Stopped while it was starting: `end` has passed by already.
    if (this.over) return await this.#stopBehaviour();
    await Promise.race([this.informers.whenSynced(this.#since), aborted(this.#abort.signal)]);
  }

  abort(): void {
    this.over = true;
    void this.informers.stop();
    this.#abort.abort();
  }

  /** After the running handlers: children, then the behaviour's own end. */
  async end(): Promise<void> {
    await this.children.stop();
    if (this.#started) await this.#stopBehaviour();
  }

  async #stopBehaviour(): Promise<void> {
    try {
      await this.#behaviour.stop?.(this.state as S, this.context);
    } catch (error) {
      this.#ports.log("warn", "actor's stop failed", {
        actor: this.context.address,
        error: String(error),
      });
    }
  }
}

/** Resolves when the signal is aborted. */
function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener("abort", () => resolve(), { once: true });
  });
}
