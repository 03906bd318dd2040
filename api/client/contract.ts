/**
 * How everything outside the API server speaks to it: actors, tests, tasks, the dashboard. One
 * interface over an injected transport: in one process the request pipeline itself, called with
 * objects; elsewhere HTTPS. Authorization and admission run for both.
 *
 * What comes back is shared and frozen: `edit(object)` (machinery/edit.ts) gives a private copy.
 * Every call rejects with `ApiError` when the server answers with a failure.
 */
import type { DeepReadonly, Json, KubeList, KubeObject, ResourceId } from "../machinery/types.ts";
import type { Term } from "../../kv/contract.ts";

/** Who is asking. */
export interface User {
  readonly name: string;
  readonly uid?: string;
  readonly groups: readonly string[];
  readonly extra?: Readonly<Record<string, readonly string[]>>;
}

/** What a request names. */
export interface Target {
  resource: ResourceId;
  namespace?: string;
  name?: string;
  subresource?: string;
}

export interface ListQuery {
  labelSelector?: string;
  fieldSelector?: string;
  resourceVersion?: string;
  resourceVersionMatch?: "Exact" | "NotOlderThan";
  limit?: number;
  continue?: string;
}

export interface WatchQuery extends ListQuery {
  allowWatchBookmarks?: boolean;
  sendInitialEvents?: boolean;
  timeoutSeconds?: number;
}

export interface WriteQuery {
  dryRun?: boolean;
  fieldManager?: string;
  fieldValidation?: "Ignore" | "Warn" | "Strict";
}

export interface DeleteQuery {
  dryRun?: boolean;
  gracePeriodSeconds?: number;
  propagationPolicy?: "Orphan" | "Background" | "Foreground";
  preconditions?: { uid?: string; resourceVersion?: string };
}

export type Patch =
  | { type: "json"; body: Json[] }
  | { type: "merge"; body: { [key: string]: Json } }
  | { type: "strategic"; body: { [key: string]: Json } }
  | { type: "apply"; body: { [key: string]: Json }; force?: boolean };

export interface WatchEvent<T = KubeObject> {
  type: "ADDED" | "MODIFIED" | "DELETED" | "BOOKMARK";
  object: DeepReadonly<T>;
}

/** A watch over the client: batches of events in order. Ends normally at the server's timeout. */
export interface ClientWatch<T> extends AsyncIterable<readonly WatchEvent<T>[]> {
  close(): void;
}

export interface Client {
  get<T = KubeObject>(
    target: Target & { name: string },
    query?: { resourceVersion?: string },
  ): Promise<DeepReadonly<T>>;
  list<T = KubeObject>(target: Target, query?: ListQuery): Promise<DeepReadonly<KubeList<T>>>;
  /** Starts a watch; rejects when the server refuses it (410 among others). */
  watch<T = KubeObject>(
    target: Target,
    query?: WatchQuery,
    options?: { signal?: AbortSignal },
  ): Promise<ClientWatch<T>>;
  /** Creates an object, or posts to a subresource (`binding`, `eviction`, `token`). */
  create<T = KubeObject>(
    target: Target,
    object: object,
    query?: WriteQuery,
  ): Promise<DeepReadonly<T>>;
  update<T = KubeObject>(
    target: Target & { name: string },
    object: object,
    query?: WriteQuery,
  ): Promise<DeepReadonly<T>>;
  patch<T = KubeObject>(
    target: Target & { name: string },
    patch: Patch,
    query?: WriteQuery,
  ): Promise<DeepReadonly<T>>;
  /** Resolves with the object (still there, being deleted) or a Status. */
  delete(target: Target & { name: string }, query?: DeleteQuery): Promise<DeepReadonly<KubeObject>>;
  deleteCollection(target: Target, query?: ListQuery & DeleteQuery): Promise<void>;
  /** The same server, asked by somebody else. `agent` becomes the default field manager. */
  as(user: User, agent?: string): Client;
  /** The same client, whose writes are refused once the term is over. */
  under(term: Term): Client;
  /** The same client, whose writes keep that they were made because of a revision (0: of none that is known). */
  because(revision: number, more?: Because): Client;
}

/** What else is said of why something is written. */
export interface Because {
  /** Who writes, where that is more than the user: an actor's address. Counts in the server's process alone. */
  by?: string;
  /** The span (OpenTelemetry) that asks. */
  span?: string;
  /** Hears, in the server's process alone, of each revision that is about to be written, before anybody sees it. */
  wrote?: (revision: number) => void;
}

/** A client whose writes keep that they react to what an object has come to. */
export function becauseOf(
  client: Client,
  { metadata }: DeepReadonly<{ metadata: { resourceVersion?: string } }>,
): Client {
  return client.because(Number(metadata.resourceVersion ?? 0));
}

/** One change of a cached object: `old` is absent for a new one, `object` for a deleted one. */
export interface Change<T> {
  key: string;
  old?: DeepReadonly<T>;
  object?: DeepReadonly<T>;
}

/** A cache of one resource, kept by list and watch. Reads are synchronous and may be a little old. */
export interface Informer<T = KubeObject> {
  readonly resource: ResourceId;
  /** True once the first list is in. */
  readonly synced: boolean;
  /**
   * Resolves once the first list is in, and with `revision` once the cache reflects what lay there by then: by what it
   * heard, or by a new list. With Infinity, once a list that is begun from now on is in.
   */
  whenSynced(revision?: number): Promise<void>;
  /** The newest resourceVersion this cache is known to reflect. */
  readonly resourceVersion: string;
  /** `namespace/name`, or `name` of a cluster-scoped object. */
  get(key: string): DeepReadonly<T> | undefined;
  /** All objects, or those of a namespace. */
  list(namespace?: string): Iterable<DeepReadonly<T>>;
  readonly size: number;
  /** Adds an index (once per name; a second call with the same name is ignored). */
  index(name: string, values: (object: DeepReadonly<T>) => readonly string[]): void;
  byIndex(name: string, value: string): readonly DeepReadonly<T>[];
  /** Called for each change after the cache has it, and at once for everything already there. */
  subscribe(listener: (change: Change<T>) => void): () => void;
}

/** The informers of one process: one per resource, started at first use. */
export interface Informers {
  for<T = KubeObject>(resource: ResourceId): Informer<T>;
  /** Informers that have events they were told of and did not hand on yet. */
  busy(): string[];
  stop(): Promise<void>;
}

/** `namespace/name`, or `name`. */
export function keyOf(
  object: DeepReadonly<{ metadata: { name: string; namespace?: string } }>,
): string {
  const { namespace, name } = object.metadata;
  return namespace ? `${namespace}/${name}` : name;
}
