/**
 * The store's contract: everything other folders may rely on, on one page. `store.ts` fulfils it;
 * `tests/contracts/store.ts` proves it for every back end.
 *
 * A store is the fold of a revisioned log. Each put and each delete takes the next revision, a dense
 * integer. Writes are functions of the state, run one after another; a group of them is committed in
 * one atomic commit and becomes visible (to reads and to watchers) only after it is durable.
 *
 * The store knows no Kubernetes: values are of a type `T` that a `Codec` turns into bytes.
 */

import type { Clock } from "./clock.ts";

/** Turns values into bytes and back. Must be pure. */
export interface Codec<T> {
  /** UTF-8 JSON without any revision in it. Called once per put. */
  encode(value: T): Uint8Array;
  /** The value at a revision (the codec puts the revision where the value's readers expect it). */
  decode(bytes: Uint8Array, revision: number): T;
  /**
   * Turns a value that was just put into what readers of `revision` get, without decoding it again: it
   * may change it in place. Called after the commit, before the value is frozen; also with a frozen value of another
   * revision (an object's last one, at its deletion): then with what is to change copied.
   */
  stamp(value: T, revision: number): T;
}

/** Why a write was made. Kept with every revision that it makes. */
export interface Cause {
  /** The trace it belongs to (W3C): 32 hexadecimal digits. */
  readonly trace: string;
  /** The revision of the objects' store that it reacted to; 0: none, the trace begins with it. */
  readonly because: number;
  /** Who wrote it: an actor's address, or a user and the program it uses. */
  readonly by: string;
  /** What was asked for, such as `create` or `patch/status`. */
  readonly verb: string;
}

/** A revision without its object: what the log says of it. */
export interface Written {
  readonly revision: number;
  readonly key: string;
  readonly type: "put" | "delete";
  /** The revision of the same object that it replaced; 0: there was none. */
  readonly previous: number;
  /** When it was committed, by its writer's wall clock. */
  readonly time: number;
  readonly cause?: Cause;
}

/** One object as it stands at some revision. Immutable, shared by all readers: `value` is deep-frozen. */
export interface Item<T> {
  /** A path such as `/registry/pods/default/web`. */
  readonly key: string;
  /** The revision of the write that made it so. */
  readonly revision: number;
  /** The encoded value, without its revision. */
  readonly bytes: Uint8Array;
  /** The decoded value; made at first use. The same object at every use. */
  readonly value: T;
}

/** The whole state at one revision. Costs nothing to hold but what later writes replaced. */
export interface View<T> {
  readonly revision: number;
  get(key: string): Item<T> | undefined;
  /** Items whose key begins with `prefix`, in key order, from the first key after `after`. */
  scan(prefix: string, options?: { after?: string }): Iterable<Item<T>>;
  /** How many keys begin with `prefix` (and come after `after`). Counts without visiting items. */
  count(prefix: string, options?: { after?: string }): number;
  /**
   * Whether everything whose key begins with `prefix` is, item for item, as in another view of the store. Costs what
   * has changed nearby, not what there is; false where that cannot be told.
   */
  isAsIn?(other: View<T>, prefix: string): boolean;
  /** What differs from another view of the store under a prefix, by key: what was there, and what is. */
  changedFrom?(
    other: View<T>,
    prefix: string,
  ): Iterable<{ readonly before?: Item<T>; readonly after?: Item<T> }>;
}

/** The state as a write function sees it: the head, the writes before it in its group, and its own. */
export interface Draft<T> extends View<T> {
  /**
   * Replaces or creates; returns the revision that this put will have if its group commits. The value is
   * the store's from then on (it is stamped, then frozen); parts of it may be frozen values of others.
   */
  put(key: string, value: T): number;
  /**
   * Removes an existing key (absent: no effect, returns undefined). `last`, if given, is what the
   * delete event shows instead of the value as it stood.
   */
  delete(key: string, last?: T): number | undefined;
  /** Sends mail in the same commit. */
  mail(mail: Mail): void;
}

/**
 * A write. Synchronous, without I/O and without effects besides the draft's; it may run several times
 * (with a fresh draft). What it returns is the result of `write`; what it throws refuses the write and
 * nothing of it is kept. A function that puts nothing commits nothing and still sees a linearizable state.
 */
export type WriteFn<T, R> = (draft: Draft<T>) => R;

/** One change. `item` is the object after a put; at a delete its last state with the delete's revision. */
export interface Event<T> {
  readonly type: "put" | "delete";
  readonly key: string;
  readonly revision: number;
  readonly item: Item<T>;
  /** The object before; absent when the key did not exist. */
  readonly previous?: Item<T>;
}

/** What a revision is: a change, or (without an event) something of the store's own, which nobody watches. */
export interface Changed<T> {
  readonly revision: number;
  /** When it was committed, by its writer's wall clock. */
  readonly time: number;
  readonly event?: Event<T>;
  readonly cause?: Cause;
}

/** What a watcher is handed: events in order, all of them up to `revision` (possibly none: progress). */
export interface Batch<T> {
  readonly events: readonly Event<T>[];
  /** Everything at or below this revision under the prefix has been delivered. */
  readonly revision: number;
}

/**
 * A watch. Iterate it once. Ends normally when closed or aborted; throws `CompactedError` when its start
 * is no longer in the log, `SlowWatcherError` when the reader fell behind its buffer.
 */
export interface Watch<T> extends AsyncIterable<Batch<T>> {
  /** Everything wanted up to this revision is in the batches that have been handed over or wait to be. */
  readonly revision: number;
  close(): void;
}

/** What a watch wants of the events under its prefix. Those of one name are one and the same. */
export interface Wanted<T> {
  readonly name: string;
  takes(event: Event<T>): boolean;
}

export interface WatchOptions<T = unknown> {
  /** Only keys that begin with this. */
  prefix: string;
  /** Only events that it takes (default: all). Of what is new it is asked once for all watches that want the same. */
  wanted?: Wanted<T>;
  /** Events after this revision. */
  after: number;
  /** Also deliver empty batches when the head moved elsewhere, at most one per this many ms (default: none). */
  progressEveryMs?: number;
  /** Events held for a reader that is behind before the watch is closed (default `WATCH_EVENTS_MAX`). */
  eventsMax?: number;
  signal?: AbortSignal;
}

/** A message: a key, never an object. Losing, repeating, merging or delaying one must be harmless. */
export interface Mail {
  /** The actor, such as `controller/deployment`. */
  to: string;
  /** What to look at, such as `default/web`. */
  key: string;
  /** Deliver after this long (default 0). */
  delayMs?: number;
}

/**
 * A term of office: while it is current, no other process holds `name`. `fence` grows with every change of
 * holder. A write that carries a term is refused with `TermOverError` once the term has passed.
 */
export interface Term {
  readonly name: string;
  readonly holder: string;
  readonly fence: number;
  /** Where in the log it was taken: former holders wrote nothing after it. */
  readonly revision?: number;
}

export interface Store<T> {
  /** This cluster's id, made when the database was. */
  readonly clusterId: string;
  /** The newest state this process knows. Never older than any write this process was told of. */
  view(): View<T>;
  /** A state no older than any write that was answered, in any process, before this call. */
  fresh(): Promise<View<T>>;
  /** The state exactly at a revision. Throws CompactedError or FutureRevisionError. */
  at(revision: number): Promise<View<T>>;
  /** Waits until this process knows `revision` or more. Throws FutureRevisionError after `timeoutMs`. */
  reached(revision: number, options?: { timeoutMs?: number }): Promise<View<T>>;
  /** The oldest revision that `at` still answers. */
  oldest(): number;
  /** When a revision was committed (wall, ms). Throws CompactedError or FutureRevisionError. */
  timeOf(revision: number): Promise<number>;
  /** The newest revision that was committed by a time. Throws CompactedError when history begins later. */
  revisionBy(time: number): Promise<number>;
  /** What happened after a revision, up to another one (default: the newest), one revision after another. */
  changes(after: number, until?: number): AsyncIterable<Changed<T>>;
  /**
   * Runs a write: see WriteFn. Resolves after the commit is durable and visible to `view()`. Every revision that it
   * makes keeps `cause`.
   */
  write<R>(fn: WriteFn<T, R>, options?: { term?: Term; cause?: Cause }): Promise<R>;
  /**
   * What a revision was, and why: at once where it is in memory, else from the log. Undefined when the log has it no
   * more, or not yet.
   */
  written(revision: number): Written | undefined | Promise<Written | undefined>;
  watch(options: WatchOptions<T>): Watch<T>;
  /** Trims history now (it also happens by itself). Returns the new oldest revision. */
  compact(options?: { keepRevisions?: number; keepMs?: number }): Promise<number>;
  /** Bytes, revisions and lags, for metrics. */
  stats(): StoreStats;
  /** Whether writes are not answered yet: a part of `stats` that costs nothing. */
  readonly busy: boolean;
  close(): Promise<void>;
}

export interface StoreStats {
  revision: number;
  oldest: number;
  keys: number;
  /** Bytes of all live values. */
  liveBytes: number;
  /** Bytes of the log, superseded values included. */
  logBytes: number;
  /** Hard bound of live plus log. */
  bytesMax: number;
  commits: number;
  commitMsLast: number;
  /** How often history was shortened because the bound came near. */
  shortened: number;
  watchers: number;
  pendingWrites: number;
}

/** The base of the store's errors. */
export class StoreError extends Error {
  override name = this.constructor.name;
}
/** The log no longer reaches back to the revision asked for. */
export class CompactedError extends StoreError {
  readonly oldest: number;
  constructor(message: string, oldest: number) {
    super(message);
    this.oldest = oldest;
  }
}
/** A revision that does not exist yet. */
export class FutureRevisionError extends StoreError {
  readonly current: number;
  constructor(message: string, current: number) {
    super(message);
    this.current = current;
  }
}
/** A value, a commit or the whole store would pass its limit. `what` says which. */
export class TooLargeError extends StoreError {
  readonly what: "object" | "group" | "store";
  constructor(message: string, what: "object" | "group" | "store") {
    super(message);
    this.what = what;
  }
}
/** The watcher's buffer is full: list again. */
export class SlowWatcherError extends StoreError {}
/** The term a write carried has passed. */
export class TermOverError extends StoreError {}
/** The store is closed, or lost its database for good. */
export class ClosedError extends StoreError {}
/** The database cannot be used: held by another process, of a newer format, torn, or not ours. */
export class DatabaseError extends StoreError {}

/** Durable mail. Delivery at least once, unordered; the handler only hands the key over and returns. */
export interface Queue {
  send(mail: Mail): Promise<void>;
  /** One listener per queue. Mail sent before it began waits for it. */
  listen(handler: (mail: Mail) => void | Promise<void>): void;
  /** Mail whose delivery failed to the end, newest last; at most `UNDELIVERED_MAX`. */
  undelivered(): Promise<Mail[]>;
  close(): Promise<void>;
}

/** Who leads what. */
export interface Terms {
  /** This process. */
  readonly holder: string;
  /** Tries to take or keep `name`; undefined while another live process holds it. */
  acquire(name: string): Promise<Term | undefined>;
  /** Gives it up. */
  release(term: Term): Promise<void>;
  /** Resolves when the term is over. */
  lost(term: Term): Promise<void>;
}

/** What a process says of itself. */
export interface ProcessFacts {
  /** Where others reach its API; absent: they do not. */
  readonly url?: string;
  /** Where pods and clients reach it: an address and a port. */
  readonly endpoint?: { readonly ip: string; readonly port: number };
}

/** A process that uses the database. */
export interface ProcessRecord extends ProcessFacts {
  /** As `Terms.holder`. */
  readonly holder: string;
  /** When it began, by its own wall clock. */
  readonly startedMs: number;
}

/** A connection between two processes: whole messages, in order. */
export interface Link {
  /** Resolves when it is on its way. */
  send(data: Uint8Array): Promise<void>;
  /** Hears of messages, one at a time, the first ones included. */
  receive(handler: (data: Uint8Array) => Promise<void> | void): void;
  close(): void;
  readonly closed: Promise<void>;
}

/**
 * The processes that use one database, and what each of them keeps for all: a node's connection, say. Records outside
 * the log; those of a dead process count no longer once its lease has lapsed, and are swept.
 */
export interface Processes {
  /** This process. */
  readonly self: ProcessRecord;
  /** Says what there is to say of this process; kept alive by its lease. */
  announce(facts: ProcessFacts): Promise<void>;
  /** All that live, this one included, by their start. */
  live(): Promise<ProcessRecord[]>;
  /** Whether this process has every term that there is. */
  leads(): boolean;
  /** Says that a place is here from now on: the newest word counts. */
  take(place: string): Promise<void>;
  /** It is here no longer; if another process has it by now, nothing changes. */
  leave(place: string): Promise<void>;
  /** Opens a connection to a process by records of the database, for a subject. */
  connect(holder: string, subject: string): Link;
  /** Hears of connections that others open. */
  listen(handler: (subject: string, link: Link) => void): void;
  /** Who has the first of these places that somebody has, if that process lives. */
  keeperOf(...places: readonly string[]): Promise<ProcessRecord | undefined>;
}

/** How values are encrypted; `seed`: by AES-GCM, each value under a key of its own that is made of the secret. */
export type SealAlgorithm = "aesgcm" | "aescbc" | "secretbox" | "seed";

/** A key that seals values at rest. */
export interface SealKey {
  readonly algorithm: SealAlgorithm;
  readonly secret: Uint8Array;
}

/** Which values are sealed by what. */
export interface Sealing {
  /** Keys beside the database's own that open values. */
  readonly keys: readonly SealKey[];
  /** What seals the values of a path from now on: one of `keys`, the database's own key, or nothing. */
  of(path: string): SealKey | "own" | undefined;
  /** Differs whenever `of` does: tells a start whether older values are to be sealed anew. */
  readonly fingerprint: string;
}

/**
 * Finds which values are sealed by what, with the help of what it has kept in the database; asked at the start and
 * whenever keys may be others. It answers only once everything that it has kept opens what it is to open.
 */
export type FindSealing = (kept: KeptSealing) => Promise<Sealing>;

/** What is kept in the database beside its values, to find the keys of these; no snapshot and no fork has it. */
export interface KeptSealing {
  /** As `Database.settings.change`. */
  change(next: (kept: Uint8Array | undefined) => Promise<Uint8Array>): Promise<Uint8Array>;
}

/** What lies in the database under one key; `id` is "" for values that are not sealed. */
export interface SealCount {
  readonly id: string;
  readonly values: number;
}

/** The keys of a database, while it is in use. */
export interface Seals {
  /** Ids of the keys that open values, the newest of the database's own first. */
  ids(): readonly string[];
  /** How many values, older ones that history keeps included, lie under which key. Reads the whole log. */
  count(): Promise<readonly SealCount[]>;
  /**
   * Makes a new key of the database's own, seals from now on with it, and everything older anew. Throws
   * DatabaseError where the key was given by the caller.
   */
  rotate(): Promise<void>;
  /**
   * Takes other keys into use: those that now lie beside the database, and `sealing` where it is given, or what finds
   * it says by now. Throws DatabaseError, and goes on as before, when a value needs a key that is not among them. What is sealed
   * otherwise than it would be today is sealed anew in the background (`migrated`).
   */
  reload(sealing?: Sealing): Promise<void>;
  /** Resolves when everything is sealed as it would be today; with how many values that took. */
  migrated(): Promise<number>;
  /** Forgets all keys of the database's own but the newest. Throws DatabaseError while a value needs one. */
  drop(): Promise<void>;
}

/** How a database is forked. */
export interface ForkOptions {
  /** The fork's own clock. */
  clock: Clock;
  /** The revision of `objects` at which it begins (default: the newest). */
  at?: number;
  /** Its events are those of this time (default: of the time of `at`), as far as history still tells of them. */
  eventsOf?: number;
}

/** Everything in one database. */
export interface Database<T> {
  /** The cluster's objects. */
  readonly objects: Store<T>;
  /** Kubernetes Events: own head, log and revisions, kept for an hour by age. */
  readonly events: Store<T>;
  readonly queue: Queue;
  readonly terms: Terms;
  /** A small durable value beside the store (CA keys, settings), sealed at rest. */
  readonly settings: {
    get(name: string): Promise<Uint8Array | undefined>;
    set(name: string, value: Uint8Array): Promise<void>;
    /**
     * Puts what `next` makes of the value in its place, unless another process was faster: then `next` is asked again
     * with that one's. What it gives back as it got it stays. Resolves with the value that counts from now on.
     */
    change(
      name: string,
      next: (value: Uint8Array | undefined) => Promise<Uint8Array>,
    ): Promise<Uint8Array>;
    /**
     * Calls `listener` with the name of each setting that another process has changed, before any state that is newer
     * than the change is seen here.
     */
    follow(listener: (name: string) => void): void;
  };
  /** The processes that use the database; undefined where one alone owns it. */
  readonly processes?: Processes;
  /** The keys of values at rest. */
  readonly seals: Seals;
  /** Writes everything to one file (or bytes when no path is given). */
  snapshot(): Promise<Uint8Array>;
  /**
   * Another database, in memory, that begins where this one is, or was: nothing is copied, so that it costs the same
   * however much there is. Its history begins there. Both go on without each other.
   */
  fork(options: ForkOptions): Promise<Database<T>>;
  close(): Promise<void>;
}
