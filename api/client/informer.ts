/**
 * Informers: a cache of one resource each, kept by a list and a watch after it.
 *
 * - A listener hears of each change once the cache has it; whoever subscribes late first hears of all there is.
 * - The cache holds the very objects the server hands out: in one process nothing is copied, and forks of one cluster
 *   share the list they began with (`overlay.ts`).
 * - When the watch ends it begins again where it was; when history no longer reaches there (410), the
 *   cache lists again and tells listeners the difference.
 * - A kind that was there may go, as custom resources do: its cache looks for it quietly, and lists when it is back.
 */
import type { Clock } from "../../kv/clock.ts";
import {
  ApiError,
  type DeepReadonly,
  type KubeObject,
  type ResourceId,
} from "../machinery/types.ts";
import {
  type Change,
  type Client,
  type Informer,
  type Informers,
  keyOf,
  type WatchEvent,
} from "./contract.ts";
import { type Listings, Overlay } from "./overlay.ts";

/** Pause before a failed list or watch is tried again, and how far it grows. */
export const RETRY_MS = 100;
export const RETRY_MS_MAX = 10_000;

type Object = DeepReadonly<KubeObject>;
type Listener = (change: Change<KubeObject>) => void;

interface Index {
  values: (object: Object) => readonly string[];
  keys: Map<string, Map<string, Object>>;
}

const NONE: readonly Object[] = [];

class Cache implements Informer<KubeObject> {
  readonly resource: ResourceId;
  resourceVersion = "";
  synced = false;
  /** Events that were received and are being told. */
  pending = 0;
  readonly #client: Client;
  readonly #clock: Clock;
  readonly #stop = new AbortController();
  readonly #objects = new Overlay();
  /** Made when somebody first asks for a namespace: of most resources nobody does. */
  #byNamespace: Map<string, Map<string, Object>> | undefined;
  readonly #indexes = new Map<string, Index>();
  readonly #listeners = new Set<Listener>();
  readonly #onError: (error: unknown) => void;
  readonly #scope: Scope;
  readonly #shared: ((items: readonly Object[]) => ReadonlyMap<string, Object>) | undefined;
  #whenSynced = Promise.withResolvers<void>();
  /** Lists that were begun, which of them is in the cache, and whoever waits for the next one. */
  #lists = 0;
  #listed = 0;
  #nextList = Promise.withResolvers<void>();
  #wantsList = false;
  /** Ends the watch or the pause that is under way. */
  #interrupt: () => void = () => {};
  #running: Promise<void>;

  constructor(
    resource: ResourceId,
    { client, clock, onError, scope = {}, shared }: {
      client: Client;
      clock: Clock;
      onError: (error: unknown) => void;
      scope?: Scope;
      /** A first list as a map that others have as well. */
      shared?: (items: readonly Object[]) => ReadonlyMap<string, Object>;
    },
  ) {
    this.resource = resource;
    this.#shared = shared;
    this.#scope = scope;
    this.#client = client;
    this.#clock = clock;
    this.#onError = onError;
    this.#whenSynced.promise.catch(() => {});
    this.#running = this.#run();
  }

  get size(): number {
    return this.#objects.size;
  }

  async whenSynced(revision = 0): Promise<void> {
    await this.#whenSynced.promise;
    const lists = this.#lists;
    while (Number(this.resourceVersion) < revision && this.#listed <= lists) {
      this.#wantsList = true;
      this.#interrupt();
      await this.#nextList.promise;
    }
  }

  get(key: string): Object | undefined {
    return this.#objects.get(key);
  }

  list(namespace?: string): Iterable<Object> {
    if (namespace === undefined) return this.#objects.values();
    if (!this.#byNamespace) {
      this.#byNamespace = new Map();
      for (const [key, object] of this.#objects.entries()) {
        addMember(this.#byNamespace, key, object);
      }
    }
    return this.#byNamespace.get(namespace)?.values() ?? NONE;
  }

  index(name: string, values: (object: Object) => readonly string[]): void {
    if (this.#indexes.has(name)) return;
    const index: Index = { values, keys: new Map() };
    this.#indexes.set(name, index);
    for (const [key, object] of this.#objects.entries()) addTo(index, key, object);
  }

  byIndex(name: string, value: string): readonly Object[] {
    const index = this.#indexes.get(name);
    if (!index) throw new RangeError(`no index "${name}" on ${this.resource.plural}`);
    const found = index.keys.get(value);
    return found ? [...found.values()] : NONE;
  }

  subscribe(listener: Listener): () => void {
    this.#listeners.add(listener);
    for (const [key, object] of this.#objects.entries()) listener({ key, object });
    return () => this.#listeners.delete(listener);
  }

  async stop(): Promise<void> {
    this.#stop.abort();
    this.#interrupt();
    await this.#running;
    this.#nextList.promise.catch(() => {});
    this.#nextList.reject(new Error("the informer was stopped"));
    if (!this.synced) this.#whenSynced.reject(new Error("the informer was stopped"));
  }

  async #run(): Promise<void> {
    let delay = RETRY_MS;
    let wasGone = false;
    while (!this.#stop.signal.aborted) {
      try {
        if (this.resourceVersion === "" || this.#wantsList) await this.#list();
        const before = this.resourceVersion;
        await this.#watch();
        if (this.resourceVersion !== before || this.#wantsList) delay = RETRY_MS;
        else await this.#pause(delay);
      } catch (error) {
        if (this.#stop.signal.aborted) return;
        if (error instanceof ApiError && error.code === 410) {
          this.resourceVersion = "";
          continue;
        }
        const isGone = error instanceof ApiError && error.code === 404;
        if (isGone) this.resourceVersion = "";
        if (!isGone || !(wasGone || this.synced)) this.#onError(error);
        wasGone = isGone;
        await this.#pause(delay);
        delay = Math.min(delay * 2, RETRY_MS_MAX);
      }
    }
  }

  async #pause(ms: number): Promise<void> {
    const over = new AbortController();
    // V8 makes a function that is written right into a field for a long life: it would keep all it sees until a full
    // collection of garbage.
    const interrupt = () => over.abort();
    this.#interrupt = interrupt;
    if (this.#stop.signal.aborted) return;
    const options = { kind: "background" as const, signal: over.signal };
    await this.#clock.sleep(ms, options).catch(() => {});
  }

  async #list(): Promise<void> {
    const begun = ++this.#lists;
    const { namespace, ...selection } = this.#scope;
    const target = { resource: this.resource, namespace };
    const list = await this.#client.list<KubeObject>(target, selection);
    if (this.#stop.signal.aborted) return;
    if (this.#shared && !this.synced) this.#begin(this.#shared(list.items));
    else this.#takeList(list.items);
    this.resourceVersion = list.metadata.resourceVersion ?? "";
    this.#listed = begun;
    this.#wantsList = false;
    this.#nextList.resolve();
    this.#nextList = Promise.withResolvers();
    if (this.synced) return;
    this.synced = true;
    this.#whenSynced.resolve();
  }

  #begin(listed: ReadonlyMap<string, Object>): void {
    this.#objects.begin(listed);
    for (const [key, object] of listed) this.#note(key, undefined, object);
  }

  #takeList(items: readonly Object[]): void {
    const gone = new Set<string>();
    for (const [key] of this.#objects.entries()) gone.add(key);
    for (const object of items) {
      const key = keyOf(object);
      gone.delete(key);
      const old = this.#objects.get(key);
      if (old?.metadata.resourceVersion === object.metadata.resourceVersion) continue;
      this.#put(key, object);
    }
    for (const key of gone) this.#remove(key);
  }

  async #watch(): Promise<void> {
    const { namespace, ...selection } = this.#scope;
    const target = { resource: this.resource, namespace };
    const query = {
      ...selection,
      resourceVersion: this.resourceVersion,
      allowWatchBookmarks: true,
    };
    const signal = this.#stop.signal;
    const watch = await this.#client.watch(target, query, { signal });
    const interrupt = () => watch.close();
    this.#interrupt = interrupt;
    try {
      if (this.#wantsList || signal.aborted) return;
      for await (const events of watch) {
        this.pending += events.length;
        for (const event of events) {
          this.#take(event);
          this.pending--;
        }
      }
    } finally {
      this.pending = 0;
      watch.close();
    }
  }

  #take({ type, object }: WatchEvent<KubeObject>): void {
    if (type === "DELETED") this.#remove(keyOf(object), object);
    else if (type !== "BOOKMARK") this.#put(keyOf(object), object);
    this.resourceVersion = object.metadata.resourceVersion;
  }

  #put(key: string, object: Object): void {
    const old = this.#objects.get(key);
    this.#objects.set(key, object);
    this.#note(key, old, object);
  }

  #note(key: string, old: Object | undefined, object: Object): void {
    if (this.#byNamespace) addMember(this.#byNamespace, key, object);
    for (const index of this.#indexes.values()) {
      if (old) removeFrom(index, key, old);
      addTo(index, key, object);
    }
    this.#tell({ key, old, object });
  }

  #remove(key: string, last?: Object): void {
    const old = this.#objects.get(key);
    if (!old) return;
    this.#objects.delete(key);
    const namespace = old.metadata.namespace ?? "";
    const members = this.#byNamespace?.get(namespace);
    members?.delete(key);
    if (members?.size === 0) this.#byNamespace!.delete(namespace);
    for (const index of this.#indexes.values()) removeFrom(index, key, old);
    this.#tell({ key, old: last ?? old });
  }

  #tell(change: Change<KubeObject>): void {
    for (const listener of this.#listeners) {
      try {
        listener(change);
      } catch (error) {
        this.#onError(error);
      }
    }
  }
}

function addMember(all: Map<string, Map<string, Object>>, key: string, object: Object): void {
  const namespace = object.metadata.namespace ?? "";
  let members = all.get(namespace);
  if (!members) all.set(namespace, members = new Map());
  members.set(key, object);
}

function addTo(index: Index, key: string, object: Object): void {
  for (const value of index.values(object)) {
    let members = index.keys.get(value);
    if (!members) index.keys.set(value, members = new Map());
    members.set(key, object);
  }
}

function removeFrom(index: Index, key: string, object: Object): void {
  for (const value of index.values(object)) {
    const members = index.keys.get(value);
    members?.delete(key);
    if (members?.size === 0) index.keys.delete(value);
  }
}

/** What part of a resource's objects a cache holds (default: all). */
export interface Scope {
  namespace?: string;
  fieldSelector?: string;
}

/** A cache of its own, which its maker stops. */
export function createInformer(
  resource: ResourceId,
  options: {
    client: Client;
    clock: Clock;
    scope?: Scope;
    onError: (error: unknown) => void;
  },
): Informer & { readonly pending: number; stop(): Promise<void> } {
  return new Cache(resource, options);
}

/**
 * The informers of one process, over one client. `onError` hears of failed lists, watches and listeners; with `listings`
 * caches share what they begin with.
 */
export function createInformers(
  client: Client,
  clock: Clock,
  { onError: told, listings }: {
    onError?: (resource: ResourceId, error: unknown) => void;
    listings?: Listings;
  } = {},
): Informers {
  const caches = new Map<string, Cache>();
  return {
    for<T>(resource: ResourceId): Informer<T> {
      const id = `${resource.group}/${resource.version}/${resource.plural}`;
      let cache = caches.get(id);
      if (!cache) {
        const onError = (error: unknown) => told?.(resource, error);
        const shared = listings && ((items: readonly Object[]) => listings.of(id, items));
        cache = new Cache(resource, { client, clock, onError, shared });
        caches.set(id, cache);
      }
      return cache as unknown as Informer<T>;
    },
    busy: () => [...caches].filter(([, cache]) => cache.pending > 0).map(([id]) => id),
    async stop() {
      const all = [...caches.values()];
      caches.clear();
      await Promise.all(all.map((cache) => cache.stop()));
    },
  };
}
