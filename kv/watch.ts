/**
 * Watches: catching up from history, then fed by the committer.
 *
 * A watcher first reads what happened after its start (from memory, before that from the log), at its own
 * pace. Once it has seen the head it is registered under its prefix, in the same turn, and every commit
 * pushes to it. All watchers that want the same of a prefix share one batch per commit, made once; where they want
 * nothing of it, it costs them nothing, however many they are. A watcher whose buffer is full is closed with an error:
 * it is never skipped silently.
 *
 * The six promises, each a test in `tests/contracts/store_watch.ts`:
 *
 * - ordered: revisions of a watch only grow;
 * - unique: no event comes twice;
 * - reliable: none between two that came is missing;
 * - atomic: what one write changed comes in one batch;
 * - resumable: a watch from a revision continues right after it, across restarts too;
 * - bookmarkable: a batch's revision says that all up to it has come.
 */

import type { Batch, Changed, Event, Wanted, Watch, WatchOptions } from "./contract.ts";
import { CompactedError, SlowWatcherError, StoreError } from "./contract.ts";
import type { Clock, Timer } from "./clock.ts";
import type { Group, History } from "./history.ts";
import type { Log } from "./log.ts";
import {
  WATCH_CATCH_UP_EVENTS,
  WATCH_EVENTS_MAX,
  WATCH_PROGRESS_MS_MIN,
  WATCHERS_MAX,
} from "./limits.ts";

/** Where watchers catch up from. */
export interface WatchSource<T> {
  readonly log: Log<T>;
  history(): History<T>;
  /** The head's revision. */
  revision(): number;
  /** The compacted revision. */
  oldest(): number;
}

/** Watchers that want the same. */
interface Audience<T> {
  /** Absent: everything. */
  readonly wanted?: Wanted<T>;
  readonly watchers: Set<Watcher<T>>;
}

/** Watchers that share a prefix, by the name of what they want; who wants everything has none. */
type Channel<T> = Map<string | undefined, Audience<T>>;

/** Prefixes of one length: how many end with "/", and how many do not. */
interface Length {
  readonly length: number;
  slashed: number;
  other: number;
}

/** All watches of a store. */
export class Hub<T> {
  readonly source: WatchSource<T>;
  readonly clock: Clock;
  readonly #channels: Map<string, Channel<T>> = new Map();
  #lengths: Length[] = [];
  readonly #all: Set<Watcher<T>> = new Set();
  readonly #withProgress: Set<Watcher<T>> = new Set();
  #progressTimer: Timer | undefined;
  #progressEveryMs = Infinity;
  #closed = false;

  constructor(source: WatchSource<T>, clock: Clock) {
    this.source = source;
    this.clock = clock;
  }

  /** How many watches are open. */
  get size(): number {
    return this.#all.size;
  }

  /** Opens a watch: see `Store.watch`. */
  watch(options: WatchOptions<T>): Watch<T> {
    const watcher = new Watcher(this, options);
    if (this.#closed) watcher.close();
    else if (this.#all.size >= WATCHERS_MAX) {
      watcher.fail(new StoreError(`Cannot watch: ${WATCHERS_MAX} watches are open already`));
    } else {
      this.#all.add(watcher);
      if (watcher.progressEveryMs !== Infinity) {
        this.#withProgress.add(watcher);
        this.#armProgress();
      }
    }
    return watcher;
  }

  /** Hands a commit to every watcher that it concerns. */
  publish(group: Group<T>): void {
    if (this.#channels.size === 0) return;
    const found = new Map<Channel<T>, Event<T>[]>();
    for (const event of group.events) {
      const { key } = event;
      for (const { length, other } of this.#lengths) {
        if (length > key.length) break;
        if (other === 0 && key.charCodeAt(length - 1) !== 0x2f) continue;
        const channel = this.#channels.get(key.slice(0, length));
        if (channel === undefined) continue;
        const events = found.get(channel);
        if (events === undefined) found.set(channel, [event]);
        else events.push(event);
      }
    }
    for (const [channel, all] of found) {
      for (const { wanted, watchers } of channel.values()) {
        const events = wanted ? all.filter((event) => wanted.takes(event)) : all;
        if (events.length === 0) continue;
        const batch: Batch<T> = { events, revision: group.last };
        for (const watcher of watchers) watcher.push(batch);
      }
    }
  }

  /** Ends all watches with an error. */
  fail(error: Error): void {
    for (const watcher of [...this.#all]) watcher.fail(error);
  }

  /** Ends all watches. */
  close(): void {
    this.#closed = true;
    for (const watcher of [...this.#all]) watcher.close();
    this.#progressTimer?.cancel();
  }

  /** A watcher has caught up. */
  join(watcher: Watcher<T>): void {
    const { prefix, wanted } = watcher;
    let channel = this.#channels.get(prefix);
    if (channel === undefined) {
      this.#channels.set(prefix, channel = new Map());
      this.#countPrefix(prefix, 1);
    }
    let audience = channel.get(wanted?.name);
    if (!audience) channel.set(wanted?.name, audience = { wanted, watchers: new Set() });
    audience.watchers.add(watcher);
  }

  /** A watcher has ended. */
  leave(watcher: Watcher<T>): void {
    this.#all.delete(watcher);
    this.#withProgress.delete(watcher);
    const channel = this.#channels.get(watcher.prefix);
    const audience = channel?.get(watcher.wanted?.name);
    if (!channel || !audience?.watchers.delete(watcher) || audience.watchers.size > 0) return;
    channel.delete(watcher.wanted?.name);
    if (channel.size > 0) return;
    this.#channels.delete(watcher.prefix);
    this.#countPrefix(watcher.prefix, -1);
  }

  #countPrefix(prefix: string, by: number): void {
    let entry = this.#lengths.find(({ length }) => length === prefix.length);
    if (entry === undefined) {
      entry = { length: prefix.length, slashed: 0, other: 0 };
      this.#lengths.push(entry);
      this.#lengths.sort((a, b) => a.length - b.length);
    }
    if (prefix.endsWith("/")) entry.slashed += by;
    else entry.other += by;
    if (entry.slashed + entry.other === 0) {
      this.#lengths = this.#lengths.filter((one) => one !== entry);
    }
  }

  /** Sets the one timer that tells all watchers who asked for it how far the head is. */
  #armProgress(): void {
    if (this.#closed) return;
    let everyMs = Infinity;
    for (const watcher of this.#withProgress) everyMs = Math.min(everyMs, watcher.progressEveryMs);
    if (this.#progressTimer !== undefined && this.#progressEveryMs <= everyMs) return;
    this.#progressTimer?.cancel();
    this.#progressTimer = undefined;
    if (everyMs === Infinity) return;
    this.#progressEveryMs = everyMs;
    this.#progressTimer = this.clock.timer("background", everyMs, () => {
      this.#progressTimer = undefined;
      const revision = this.source.revision();
      for (const watcher of this.#withProgress) watcher.progress(revision);
      this.#armProgress();
    });
  }
}

const CATCHING_UP = 0;
const LIVE = 1;
const ENDED = 2;

interface Waiter<T> {
  resolve(result: IteratorResult<Batch<T>>): void;
  reject(error: unknown): void;
}

/** One watch. */
export class Watcher<T> implements Watch<T>, AsyncIterator<Batch<T>> {
  readonly prefix: string;
  readonly wanted: Wanted<T> | undefined;
  readonly progressEveryMs: number;
  readonly #hub: Hub<T>;
  readonly #eventsMax: number;
  readonly #signal: AbortSignal | undefined;
  readonly #onAbort = () => this.close();
  #phase = CATCHING_UP;
  #error: Error | undefined;
  /** Everything wanted up to here has been put into the queue. */
  #cursor: number;
  #queue: Batch<T>[] = [];
  #queuedEvents = 0;
  #waiters: Waiter<T>[] = [];
  #isReading = false;
  #progressAt: number;

  constructor(hub: Hub<T>, options: WatchOptions<T>) {
    this.#hub = hub;
    this.prefix = options.prefix;
    this.wanted = options.wanted;
    this.progressEveryMs = options.progressEveryMs === undefined
      ? Infinity
      : Math.max(WATCH_PROGRESS_MS_MIN, options.progressEveryMs);
    this.#progressAt = hub.clock.monotonic();
    this.#cursor = options.after;
    this.#eventsMax = options.eventsMax ?? WATCH_EVENTS_MAX;
    this.#signal = options.signal;
    if (options.signal?.aborted) this.close();
    else options.signal?.addEventListener("abort", this.#onAbort, { once: true });
  }

  [Symbol.asyncIterator](): AsyncIterator<Batch<T>> {
    return this;
  }

  next(): Promise<IteratorResult<Batch<T>>> {
    const batch = this.#queue.shift();
    if (batch !== undefined) {
      this.#queuedEvents -= batch.events.length;
      return Promise.resolve({ done: false, value: batch });
    }
    if (this.#phase === ENDED) {
      const error = this.#error;
      this.#error = undefined;
      return error ? Promise.reject(error) : Promise.resolve({ done: true, value: undefined });
    }
    const { promise, resolve, reject } = Promise.withResolvers<IteratorResult<Batch<T>>>();
    this.#waiters.push({ resolve, reject });
    if (this.#phase === CATCHING_UP && !this.#isReading) void this.#catchUp();
    return promise;
  }

  return(): Promise<IteratorResult<Batch<T>>> {
    this.close();
    this.#queue = [];
    return Promise.resolve({ done: true, value: undefined });
  }

  get revision(): number {
    return this.#cursor;
  }

  close(): void {
    // What came since then was not wanted
    if (this.#phase === LIVE) this.#cursor = Math.max(this.#cursor, this.#hub.source.revision());
    this.#end(undefined);
  }

  /** Ends the watch with an error, which the reader gets after what is queued. */
  fail(error: Error): void {
    this.#end(error);
  }

  /** Takes what a commit brought. */
  push(batch: Batch<T>): void {
    if (batch.revision <= this.#cursor) return;
    let taken = batch;
    if (batch.events[0].revision <= this.#cursor) {
      const events = batch.events.filter(({ revision }) => revision > this.#cursor);
      taken = { events, revision: batch.revision };
    }
    if (taken.events.length === 0) return;
    if (this.#queuedEvents + taken.events.length > this.#eventsMax && this.#queue.length > 0) {
      return this.fail(
        new SlowWatcherError(
          `The watch of "${this.prefix}" fell more than ${this.#eventsMax} events behind`,
        ),
      );
    }
    this.#give(taken);
  }

  /** Tells a reader that waits how far the head is, if it asked for that and it is time. */
  progress(revision: number): void {
    if (this.#phase !== LIVE || this.#queue.length > 0 || revision <= this.#cursor) return;
    const now = this.#hub.clock.monotonic();
    if (now - this.#progressAt < this.progressEveryMs) return;
    this.#give({ events: [], revision });
  }

  #give(batch: Batch<T>): void {
    this.#cursor = batch.revision;
    this.#progressAt = this.#hub.clock.monotonic();
    const waiter = this.#waiters.shift();
    if (waiter !== undefined) return waiter.resolve({ done: false, value: batch });
    this.#queue.push(batch);
    this.#queuedEvents += batch.events.length;
  }

  #end(error: Error | undefined): void {
    if (this.#phase === ENDED) return;
    this.#phase = ENDED;
    this.#hub.leave(this);
    this.#signal?.removeEventListener("abort", this.#onAbort);
    const waiters = this.#waiters;
    this.#waiters = [];
    for (const waiter of waiters) {
      if (error !== undefined) waiter.reject(error);
      else waiter.resolve({ done: true, value: undefined });
    }
    // Without a reader waiting, the next one that asks is told.
    if (waiters.length === 0) this.#error = error;
  }

  /** Reads history until a reader's wish is met or the head is reached. */
  async #catchUp(): Promise<void> {
    this.#isReading = true;
    try {
      while (this.#phase === CATCHING_UP && this.#waiters.length > 0) {
        const source = this.#hub.source;
        const history = source.history();
        if (this.#cursor >= source.revision()) {
          this.#phase = LIVE;
          this.#hub.join(this);
          return;
        }
        const oldestNow = source.oldest();
        if (this.#cursor < oldestNow) {
          throw new CompactedError(
            `Revision ${this.#cursor} is no longer in the log: it begins at ${oldestNow}`,
            oldestNow,
          );
        }
        const after = this.#cursor;
        const page = after >= history.base.revision ? pageOf(history, after) : pastPage(
          after,
          await source.log.changes(after, history.base.revision, WATCH_CATCH_UP_EVENTS),
        );
        if (this.#phase !== CATCHING_UP) return;
        const { prefix, wanted } = this;
        const events = page.events.filter((event) =>
          event.key.startsWith(prefix) && (!wanted || wanted.takes(event))
        );
        if (events.length > 0) this.#give({ events, revision: page.revision });
        else this.#cursor = page.revision;
      }
    } catch (error) {
      this.fail(error as Error);
    } finally {
      this.#isReading = false;
    }
  }
}

function pastPage<T>(
  after: number,
  changes: readonly Changed<T>[],
): { events: Event<T>[]; revision: number } {
  const events = changes.flatMap(({ event }) => event ?? []);
  return { events, revision: after + changes.length };
}

function pageOf<T>(history: History<T>, after: number): { events: Event<T>[]; revision: number } {
  const events: Event<T>[] = [];
  let revision = after;
  for (const group of history.after(after)) {
    if (events.length > 0 && events.length + group.events.length > WATCH_CATCH_UP_EVENTS) break;
    for (const event of group.events) if (event.revision > after) events.push(event);
    revision = group.last;
  }
  return { events, revision };
}
