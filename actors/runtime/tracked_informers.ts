/**
 * The informers as one actor sees them: the process's shared caches, plus a note of which of them the
 * actor uses and of its subscriptions. So an actor never unsubscribes by hand, its `handle` never runs
 * before what it reads is synced, and a fault in one of its listeners is its own and nobody else's. Keys that
 * a listener sends are known to be sent because of the revision it is told (`waking.ts`).
 */
import type { Change, Informer, Informers } from "../../api/client/contract.ts";
import type { DeepReadonly, KubeObject, ResourceId } from "../../api/machinery/types.ts";
import { keyOf } from "../../api/client/contract.ts";
import { type OwnRevisions, telling } from "./waking.ts";

/** One resource's cache as one actor sees it; everything but `subscribe` goes straight through. */
class TrackedInformer<T> implements Informer<T> {
  readonly #shared: Informer<T>;
  readonly #onSubscribe: (shared: Informer<T>, listener: (change: Change<T>) => void) => () => void;
  constructor(
    shared: Informer<T>,
    onSubscribe: (shared: Informer<T>, listener: (change: Change<T>) => void) => () => void,
  ) {
    this.#shared = shared;
    this.#onSubscribe = onSubscribe;
  }
  get resource(): ResourceId {
    return this.#shared.resource;
  }
  get synced(): boolean {
    return this.#shared.synced;
  }
  get resourceVersion(): string {
    return this.#shared.resourceVersion;
  }
  get size(): number {
    return this.#shared.size;
  }
  whenSynced(revision?: number): Promise<void> {
    return this.#shared.whenSynced(revision);
  }
  get(key: string): DeepReadonly<T> | undefined {
    return this.#shared.get(key);
  }
  list(namespace?: string): Iterable<DeepReadonly<T>> {
    return this.#shared.list(namespace);
  }
  index(name: string, values: (object: DeepReadonly<T>) => readonly string[]): void {
    this.#shared.index(name, values);
  }
  byIndex(name: string, value: string): readonly DeepReadonly<T>[] {
    return this.#shared.byIndex(name, value);
  }
  subscribe(listener: (change: Change<T>) => void): () => void {
    return this.#onSubscribe(this.#shared, listener);
  }
}

/** See the module's text. `fault` gets what a listener threw; the listener is then called no more. */
export class TrackedInformers implements Informers {
  readonly #shared: Informers;
  readonly #fault: (error: unknown) => void;
  readonly #own: OwnRevisions;
  readonly #used = new Map<string, Informer<unknown>>();
  readonly #subscriptions = new Set<{ replay(): Generator<void>; end(): void }>();
  #closed = false;

  constructor(shared: Informers, fault: (error: unknown) => void, own: OwnRevisions) {
    this.#shared = shared;
    this.#fault = fault;
    this.#own = own;
  }

  for<T = KubeObject>(resource: ResourceId): Informer<T> {
    const name = `${resource.group}/${resource.version}/${resource.plural}`;
    const known = this.#used.get(name);
    if (known) return known as Informer<T>;
    const tracked = new TrackedInformer<T>(
      this.#shared.for<T>(resource),
      (shared, listener) => this.#subscribe(shared, listener),
    );
    this.#used.set(name, tracked as Informer<unknown>);
    return tracked;
  }

  busy(): string[] {
    return this.#shared.busy();
  }

  /** Ends this actor's subscriptions; the shared caches go on. */
  stop(): Promise<void> {
    this.#closed = true;
    for (const subscription of this.#subscriptions) subscription.end();
    this.#subscriptions.clear();
    return Promise.resolve();
  }

  /** Resolves when every cache the actor has used so far is synced, and reflects `revision`. */
  async whenSynced(revision = 0): Promise<void> {
    const behind = [...this.#used.values()].filter((informer) =>
      !informer.synced || Number(informer.resourceVersion) < revision
    );
    await Promise.all(behind.map((informer) => informer.whenSynced(revision)));
  }

  /** Calls every listener for everything its cache holds, as after a relist; one object a step. */
  *replay(): Generator<void> {
    for (const subscription of [...this.#subscriptions]) yield* subscription.replay();
  }

  #subscribe<T>(shared: Informer<T>, listener: (change: Change<T>) => void): () => void {
    if (this.#closed) return () => {};
    const guarded = (change: Change<T>) => {
      if (this.#closed) return;
      const { object, old } = change as Change<KubeObject>;
      try {
        const revision = Number((object ?? old)!.metadata.resourceVersion);
        telling(this.#own.reasonOf(revision), () => listener(change));
      } catch (error) {
        this.#fault(error);
      }
    };
    const subscription = {
      *replay() {
        for (const object of [...shared.list()]) {
          const key = keyOf(object as unknown as DeepReadonly<KubeObject>);
          guarded({ key, old: object, object });
          yield;
        }
      },
      end: shared.subscribe(guarded),
    };
    this.#subscriptions.add(subscription);
    return () => {
      subscription.end();
      this.#subscriptions.delete(subscription);
    };
  }
}
