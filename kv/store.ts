/**
 * One store: the fold of a log, kept as a persistent map, written by the committer, watched through the
 * hub, trimmed by the compactor. This file wires them and answers reads.
 */

import * as btree from "./btree.ts";
import type { Clock, Timer } from "./clock.ts";
import { decodeHead, encodeHead, type GroupMark, INTERNAL_PUT, PUT } from "./codec.ts";
import {
  type Cause,
  type Changed,
  ClosedError,
  type Codec,
  CompactedError,
  DatabaseError,
  FutureRevisionError,
  type Store,
  type StoreStats,
  type Term,
  type View,
  type Watch,
  type WatchOptions,
  type WriteFn,
  type Written,
} from "./contract.ts";
import { Committer, databaseError, type MailOutlet } from "./committer.ts";
import { Compactor, type Timeline } from "./compact.ts";
import type { Head } from "./former.ts";
import { type Group, History } from "./history.ts";
import { headKey, markKey, oldestKey, SEALS_MARK, type Space, wantKey } from "./keys.ts";
import {
  CHANGES_PER_READ,
  HEAD_TICK_MS,
  HISTORY_BYTES_MAX,
  REACHED_TIMEOUT_MS,
  REBUILT_VIEWS_MAX,
  STORE_BYTES_MAX,
} from "./limits.ts";
import {
  eventOf,
  type Loaded,
  Log,
  type LogGround,
  type LogRecord,
  type Tail,
  writtenOf,
} from "./log.ts";
import { Rivals } from "./rivals.ts";
import type { Sealer } from "./seal.ts";
import { type Change, type Root, StateView, type WriteDraft } from "./state.ts";
import { Hub } from "./watch.ts";

/** The state of another store that a new one begins with. */
export interface Ground<T> extends LogGround<T> {
  /** When its revision was committed. */
  readonly time: number;
  readonly liveBytes: number;
  readonly sum: number;
  readonly timeline?: Timeline;
}

/** What a store needs. */
export interface StoreOptions<T> {
  kv: Deno.Kv;
  space: Space;
  codec: Codec<T>;
  clock: Clock;
  clusterId: string;
  /** This process, in 16 hexadecimal digits. */
  writer: string;
  /** No other process writes to the database. */
  owner: boolean;
  mail: MailOutlet;
  sealer?: Sealer;
  reloadKeys?: () => Promise<boolean>;
  bytesMax?: number;
  historyBytesMax?: number;
  keepRevisions?: number;
  keepMs?: number;
  /** For how long it is known when a revision was committed (default: as long as history is kept). */
  rememberMs?: number;
  termsRoot?: () => Root<unknown>;
  /** What it begins with, in an empty database (default: with what lies in the database). */
  ground?: Ground<T>;
}

/** Called with every group that became visible, whoever wrote it. */
export type GroupListener<T> = (group: Group<T>) => void;

interface Reaching<T> {
  readonly revision: number;
  resolve(view: View<T>): void;
  reject(error: Error): void;
}

/** See `Store` in contract.ts. Made by `openStore`. */
export class LogStore<T> implements Store<T> {
  readonly clusterId: string;
  readonly log: Log<T>;
  readonly clock: Clock;
  readonly #o: StoreOptions<T>;
  readonly #compactor: Compactor<T>;
  readonly #committer: Committer<T>;
  readonly #hub: Hub<T>;
  readonly #rivals: Rivals | undefined;
  #history: History<T>;
  readonly #rebuilt: Map<number, Promise<View<T>>> = new Map();
  #listeners: GroupListener<T>[] = [];
  #reaching: Reaching<T>[] = [];
  #freshNext: Promise<View<T>> | undefined;
  #freshRunning: Promise<unknown> | undefined;
  #doorbell: ReadableStreamDefaultReader<unknown> | undefined;
  #tick: Timer | undefined;
  #closed: Promise<void> | undefined;

  constructor(options: StoreOptions<T>, log: Log<T>, compactor: Compactor<T>, loaded: Loaded<T>) {
    const { head, versionstamp, root } = loaded;
    this.#o = options;
    this.clusterId = options.clusterId;
    this.clock = options.clock;
    this.log = log;
    this.#compactor = compactor;
    this.#history = new History(head.revision, root, options.historyBytesMax ?? HISTORY_BYTES_MAX);
    this.#rivals = options.owner
      ? undefined
      : new Rivals(options.kv, options.space, options.clock, options.writer);
    this.#committer = new Committer<T>({
      ...options,
      log,
      compactor,
      rivals: this.#rivals,
      head: headOf(head.revision, root, versionstamp, head),
      host: {
        publish: (group, newHead) => this.#publish(group, newHead),
        catchUp: (batch) => this.#catchUp(batch),
        lost: (error) => this.#hub.fail(error),
      },
    });
    this.#hub = new Hub({
      log,
      revision: () => this.#committer.head.view.revision,
      oldest: () => this.#compactor.oldest,
      history: () => this.#history,
    }, options.clock);
    if (!options.owner) this.#listen();
  }

  view(): View<T> {
    return this.#committer.head.view;
  }

  /** The root of the head, with the store's own keys. */
  root(): Root<T> {
    return this.#committer.head.view.root;
  }

  fresh(): Promise<View<T>> {
    if (this.#o.owner) return Promise.resolve(this.view());
    this.#freshNext ??= this.#readHead();
    return this.#freshNext;
  }

  async at(revision: number): Promise<View<T>> {
    const { head } = this.#committer;
    if (revision === head.view.revision) return head.view;
    this.#checkRevision(revision);
    const { base } = this.#history;
    if (revision >= base.revision) return new StateView(revision, this.#history.rootAt(revision));
    return await this.#rebuild(revision);
  }

  /** A state that is no longer in memory, from the log. The pages of one list ask for it many times. */
  #rebuild(revision: number): Promise<View<T>> {
    const known = this.#rebuilt.get(revision);
    // The one that was asked for last goes last.
    this.#rebuilt.delete(revision);
    const { base } = this.#history;
    const view = known ??
      this.log.undo(base.root, base.revision, revision).then((root) =>
        new StateView(revision, root)
      );
    this.#rebuilt.set(revision, view);
    view.catch(() => this.#rebuilt.delete(revision));
    for (const oldest of this.#rebuilt.keys()) {
      if (this.#rebuilt.size <= REBUILT_VIEWS_MAX) break;
      this.#rebuilt.delete(oldest);
    }
    return view;
  }

  reached(revision: number, options: { timeoutMs?: number } = {}): Promise<View<T>> {
    const view = this.view();
    if (view.revision >= revision) return Promise.resolve(view);
    if (this.#closed !== undefined) return Promise.reject(new ClosedError("The store is closed"));
    const { promise, resolve, reject } = Promise.withResolvers<View<T>>();
    const timeoutMs = options.timeoutMs ?? REACHED_TIMEOUT_MS;
    const timer = this.clock.timer("work", timeoutMs, () => {
      this.#reaching = this.#reaching.filter((one) => one !== waiting);
      reject(
        new FutureRevisionError(
          `Revision ${revision} is not reached: the newest is ${this.view().revision}`,
          this.view().revision,
        ),
      );
    });
    const waiting = {
      revision,
      resolve: (reachedView: View<T>) => {
        timer.cancel();
        resolve(reachedView);
      },
      reject: (error: Error) => {
        timer.cancel();
        reject(error);
      },
    };
    this.#reaching.push(waiting);
    return promise;
  }

  oldest(): number {
    return this.#compactor.oldest;
  }

  async timeOf(revision: number): Promise<number> {
    if (revision !== this.#compactor.oldest) this.#checkRevision(revision);
    return this.#timeInMemory(revision) ?? await this.log.timeOf(revision) ??
      this.#timeMarked(revision);
  }

  /** When a revision was committed, where that is known without the log. */
  #timeInMemory(revision: number): number | undefined {
    const { ground } = this.#o;
    if (revision === ground?.revision) return ground.time;
    return revision > this.#history.base.revision ? this.#history.timeOf(revision) : undefined;
  }

  /** The same to the second. The record of the oldest revision may be gone, and an empty store has none. */
  #timeMarked(revision: number): number {
    return this.#compactor.timeline.timeOf(revision) ?? this.clock.now();
  }

  async revisionBy(time: number): Promise<number> {
    const { oldest, timeline } = this.#compactor;
    if (time < await this.timeOf(oldest)) {
      throw new CompactedError(
        `What was there at that time is no longer in the log: it begins at revision ${oldest}`,
        oldest,
      );
    }
    let revision = Math.max(oldest, timeline.revisionAt(time, this.view().revision));
    const { base } = this.#history;
    if (revision < base.revision) revision = await this.log.lastBy(time, revision, base.revision);
    if (revision < base.revision) return revision;
    for (const group of this.#history.after(revision)) {
      if (group.time > time) break;
      revision = group.last;
    }
    return revision;
  }

  async *changes(after: number, until = this.view().revision): AsyncGenerator<Changed<T>> {
    this.#checkRevision(until);
    while (after < until) {
      this.#checkRevision(after);
      const { base } = this.#history;
      const page = after >= base.revision
        ? this.#recent(after, until)
        : await this.log.changes(after, Math.min(until, base.revision), CHANGES_PER_READ);
      yield* page;
      after = page[page.length - 1].revision;
    }
  }

  /** The next changes that are in memory. */
  #recent(after: number, until: number): Changed<T>[] {
    const found: Changed<T>[] = [];
    for (const { changes, time } of this.#history.after(after)) {
      for (const change of changes) {
        const { revision } = change.item;
        if (revision > until) return found;
        if (revision <= after) continue;
        const { cause } = change.item;
        found.push({ revision, time, event: eventOf(change), cause });
      }
      if (found.length >= CHANGES_PER_READ) break;
    }
    return found;
  }

  /** The newest state, for another store to begin with. */
  ground(): Ground<T> {
    const { view: { revision, root }, liveBytes, sum } = this.#committer.head;
    const time = this.#timeInMemory(revision) ?? this.#timeMarked(revision);
    const timeline = this.#compactor.timeline.forked(revision);
    return { revision, root, liveBytes, sum, time, timeline };
  }

  /** The same of an older revision: what it weighs is looked up. */
  async groundAt(revision: number): Promise<Ground<T>> {
    if (revision === this.view().revision) return this.ground();
    const { root } = await this.at(revision) as StateView<T>;
    const time = await this.timeOf(revision);
    const timeline = this.#compactor.timeline.forked(revision);
    return { ...groundOf(revision, root), time, timeline };
  }

  /** The same as of a time. Where history begins later: of what was there then, that which was not written to until it does. */
  async groundBy(time: number): Promise<Ground<T>> {
    try {
      return await this.groundAt(await this.revisionBy(time));
    } catch (error) {
      if (!(error instanceof CompactedError)) throw error;
      const { oldest, timeline } = this.#compactor;
      const { root } = await this.at(oldest) as StateView<T>;
      const last = timeline.revisionAt(time, oldest);
      const left = [...btree.scan(root, "", undefined)].filter(({ revision }) => revision <= last);
      return {
        ...groundOf(oldest, btree.fromSorted(left)),
        time,
        timeline: timeline.forked(oldest),
      };
    }
  }

  write<R>(fn: WriteFn<T, R>, options?: { term?: Term; cause?: Cause }): Promise<R> {
    return this.#committer.write(fn, options);
  }

  written(revision: number): Written | undefined | Promise<Written | undefined> {
    if (!(revision > 0) || revision > this.view().revision) return undefined;
    const found = this.#history.change(revision);
    if (found === undefined) return this.log.written(revision);
    const { change: { kind, item: { key, cause }, previous }, group: { time } } = found;
    return writtenOf({ revision, key, kind, previous: previous?.revision ?? 0, time, cause });
  }

  /** A write that may also change the store's own keys. */
  writeInternal<R>(fn: (draft: WriteDraft<T>) => R): Promise<R> {
    return this.#committer.write(fn);
  }

  /** Leaves a mark in the log, which other processes read before anything newer. */
  async mark(name: string, writer: string): Promise<void> {
    const bytes = new TextEncoder().encode(JSON.stringify(writer));
    await this.writeInternal((draft) => void draft.putInternal(markKey(name), bytes));
  }

  watch(options: WatchOptions<T>): Watch<T> {
    return this.#hub.watch(options);
  }

  /** Calls `listener` with every group from now on. */
  onGroup(listener: GroupListener<T>): void {
    this.#listeners.push(listener);
  }

  async compact(options: { keepRevisions?: number; keepMs?: number } = {}): Promise<number> {
    try {
      await this.#compactor.compactTo(this.#compactor.wished(options));
    } catch (error) {
      throw databaseError(error);
    }
    return this.#compactor.oldest;
  }

  /** The time (wall) by which everything up to the result was committed: for expiry by age. */
  revisionAt(time: number): number {
    return this.#compactor.timeline.revisionAt(time, this.view().revision);
  }

  /** The first time (wall) at which `revisionAt` says more than `revision`; undefined while that is the newest. */
  timeAfter(revision: number): number | undefined {
    return this.#compactor.timeline.timeAfter(revision, this.view().revision);
  }

  /** For the compactor: ids of chunks that no commit names yet. */
  preparedChunks(): Iterable<string> {
    return this.#committer.preparedChunks();
  }

  /** For the compactor: history before `oldest` is gone. */
  trimmed(oldest: number): void {
    this.#history.trim(oldest);
    for (const revision of this.#rebuilt.keys()) {
      if (revision < oldest) this.#rebuilt.delete(revision);
    }
  }

  /** For the compactor: resolves after the commit under way. */
  betweenGroups(): Promise<void> {
    return this.#committer.betweenGroups();
  }

  /** Deletes chunks that nothing names: see `Compactor.sweepChunks`. */
  sweepChunks(): Promise<number> {
    return this.#compactor.sweepChunks();
  }

  /** How full it is: a part of `stats` that costs nothing. */
  fill(): { liveBytes: number; bytesMax: number; pendingWrites: number } {
    const { head, pending } = this.#committer;
    const { bytesMax } = this.#compactor;
    return { liveBytes: head.liveBytes, bytesMax, pendingWrites: pending };
  }

  get busy(): boolean {
    return this.#committer.pending > 0;
  }

  stats(): StoreStats {
    const { head, commits, commitMsLast, pending } = this.#committer;
    return {
      revision: head.view.revision,
      oldest: this.#compactor.oldest,
      keys: head.view.count(""),
      liveBytes: head.liveBytes,
      logBytes: this.#compactor.logBytes,
      bytesMax: this.#compactor.bytesMax,
      commits,
      commitMsLast,
      shortened: this.#compactor.shortened,
      watchers: this.#hub.size,
      pendingWrites: pending,
    };
  }

  close(): Promise<void> {
    this.#closed ??= this.#close();
    return this.#closed;
  }

  async #close(): Promise<void> {
    const reason = new ClosedError("The store is closed");
    this.#tick?.cancel();
    this.#doorbell?.cancel().catch(() => {});
    await this.#committer.close(reason);
    await this.#compactor.close();
    this.#hub.close();
    for (const waiting of this.#reaching.splice(0)) waiting.reject(reason);
  }

  #checkRevision(revision: number): void {
    const current = this.view().revision;
    if (revision > current) {
      throw new FutureRevisionError(
        `Revision ${revision} does not exist yet: the newest is ${current}`,
        current,
      );
    }
    const oldest = this.#compactor.oldest;
    if (revision < oldest) {
      throw new CompactedError(
        `Revision ${revision} is no longer in the log: it begins at ${oldest}`,
        oldest,
      );
    }
  }

  /** Makes a group visible to readers, watchers and listeners. */
  #publish(group: Group<T>, head: Head<T>): void {
    this.#committer.head = head;
    const compactor = this.#compactor;
    compactor.timeline.mark(group.first, group.time);
    for (const { item, previous, kind, withBody } of group.changes) {
      const { revision } = item;
      const size = withBody ? item.size : item.size - item.bytes.length;
      compactor.logBytes += size;
      if (previous !== undefined) {
        compactor.superseded(previous.revision, revision, previous.size);
      }
      if (kind !== PUT && kind !== INTERNAL_PUT) compactor.superseded(revision, revision, size);
    }
    this.#history.push(group);
    this.#hub.publish(group);
    for (const listener of this.#listeners) listener(group);
    this.#tellReached();
  }

  #tellReached(): void {
    if (this.#reaching.length === 0) return;
    const view = this.view();
    const reached = this.#reaching.filter(({ revision }) => revision <= view.revision);
    if (reached.length === 0) return;
    this.#reaching = this.#reaching.filter(({ revision }) => revision > view.revision);
    for (const one of reached) one.resolve(view);
  }

  /** One head read serves every caller that came before it began. */
  async #readHead(): Promise<View<T>> {
    // Callers of this turn share the read.
    await undefined;
    while (this.#freshRunning !== undefined) await this.#freshRunning.catch(() => {});
    this.#freshNext = undefined;
    const reading = this.log.head();
    this.#freshRunning = reading;
    let revision: number;
    try {
      revision = (await reading)?.head.revision ?? 0;
    } finally {
      this.#freshRunning = undefined;
    }
    if (revision > this.view().revision) {
      this.#committer.ring();
      return await this.reached(revision, { timeoutMs: REACHED_TIMEOUT_MS * 10 });
    }
    return this.view();
  }

  /** Reads what other processes committed. Only the committer calls this, between groups. */
  async #catchUp(batch: number): Promise<boolean | undefined> {
    const before = this.#committer.head;
    const { revision } = before.view;
    const tail = await this.log.tail(revision);
    if (tail.versionstamp === before.versionstamp) return false;
    const isOurs = (mark: { writer: string; batch: number } | undefined) =>
      mark !== undefined && mark.writer === this.#o.writer && mark.batch === batch;
    const isFound = isOurs(tail.head) || tail.records.some(({ group }) => isOurs(group));
    const isDense = tail.head.revision === revision + tail.records.length &&
      tail.records.every((record, i) => record.revision === revision + 1 + i);
    if (isDense && await this.#applyTail(before, tail)) return isFound;
    await this.#reload();
    return isFound ? true : undefined;
  }

  /** Folds the tail into the state, group by group. False when it does not follow from the state. */
  async #applyTail(before: Head<T>, tail: Tail): Promise<boolean> {
    const { records, head, versionstamp } = tail;
    const groups: { group: Group<T>; mark: GroupMark }[] = [];
    let { root } = before.view;
    // Others seal by other keys from there on, and so must this process
    if (records.some(({ key }) => key === SEALS_MARK)) await this.#o.reloadKeys?.();
    for (let at = 0; at < records.length;) {
      const { group: mark, time } = records[at];
      if (mark === undefined) return false;
      const changes: Change<T>[] = [];
      do {
        const change = await this.#changeOf(records[at], root);
        if (change === undefined) return false;
        changes.push(change);
        const { item, kind } = change;
        root = kind === PUT || kind === INTERNAL_PUT
          ? btree.set(root, item)
          : btree.remove(root, item.key);
        at++;
      } while (at < records.length && records[at].group === undefined);
      const events = [];
      for (const change of changes) {
        const event = eventOf(change);
        if (event !== undefined) events.push(event);
      }
      const last = changes[changes.length - 1].item.revision;
      const { revision: first } = changes[0].item;
      const group = { first, last, time, changes, events, root };
      groups.push({ group, mark });
    }
    if (groups.length === 0) {
      this.#committer.head = { ...before, versionstamp };
      return true;
    }
    const last = headOf(head.revision, root, versionstamp, head);
    for (const { group, mark } of groups) {
      this.#rivals?.seen(mark.writer);
      const view = new StateView(group.last, group.root);
      this.#publish(group, group.last === head.revision ? last : { ...last, view });
    }
    return true;
  }

  async #changeOf(record: LogRecord, root: Root<T>): Promise<Change<T> | undefined> {
    const previous = btree.get(root, record.key);
    if ((previous?.revision ?? 0) !== record.previous) return undefined;
    return await this.log.change(record, previous);
  }

  /** Compaction overtook this process: it begins again from the whole log, and so do its watchers. */
  async #reload(): Promise<void> {
    this.#compactor.forget();
    this.log.chunks.clear();
    await this.#o.reloadKeys?.();
    const loaded = await loadInto(this.log, this.#compactor);
    if (loaded === undefined) throw new DatabaseError("The log is gone from the database");
    const { head, root, versionstamp, oldest } = loaded;
    this.#committer.head = headOf(head.revision, root, versionstamp, head);
    this.#history = new History(head.revision, root, this.#o.historyBytesMax ?? HISTORY_BYTES_MAX);
    this.#hub.fail(
      new CompactedError(`The log was compacted to revision ${oldest} meanwhile`, oldest),
    );
    this.#tellReached();
  }

  /** Waits for the doorbell: the head key changes, or a losing writer rings. */
  #listen(): void {
    const { kv, space } = this.#o;
    const reader = kv.watch([headKey(space), wantKey(space)]).getReader();
    this.#doorbell = reader as ReadableStreamDefaultReader<unknown>;
    const read = async () => {
      for (;;) {
        const { done, value } = await reader.read();
        if (done) return;
        const [head, want] = value as unknown as Deno.KvEntryMaybe<unknown>[];
        if (typeof want.value === "string") this.#rivals?.seen(want.value);
        if (head.versionstamp === null) continue;
        if (decodeHead(head.value).revision > this.view().revision) this.#committer.ring();
      }
    };
    read().catch(() => {
      // A bell that broke is replaced by the tick.
    });
    const tick = () => {
      this.#tick = this.clock.timer("background", HEAD_TICK_MS, () => {
        this.fresh().catch(() => {
          // The database cannot be read now; the next tick tries again.
        });
        tick();
      });
    };
    tick();
  }
}

function headOf<T>(
  revision: number,
  root: Root<T>,
  versionstamp: string,
  record: { liveBytes: number; sum: number },
): Head<T> {
  const { liveBytes, sum } = record;
  return { view: new StateView(revision, root), versionstamp, liveBytes, sum };
}

/** Reads the log and tells the compactor what it holds. */
async function loadInto<T>(
  log: Log<T>,
  compactor: Compactor<T>,
): Promise<Loaded<T> | undefined> {
  const loaded = await log.load({
    superseded: ({ revision, at, size }) => compactor.superseded(revision, at, size),
    committed: (revision, time) => compactor.timeline.mark(revision, time),
  });
  if (loaded === undefined) return undefined;
  compactor.oldest = loaded.oldest;
  compactor.logBytes = loaded.logBytes;
  return loaded;
}

/** A state as the beginning of a store. */
export function groundOf<T>(revision: number, root: Root<T>): Omit<Ground<T>, "time"> {
  let liveBytes = 0;
  let sum = 0;
  for (const item of btree.scan(root, "", undefined)) {
    liveBytes += item.size;
    sum = (sum + item.revision) % 0x1_0000_0000;
  }
  return { revision, root, liveBytes, sum };
}

/** Begins a store on another one's state. */
async function beginOn<T>(
  { ground, kv, space, writer }: StoreOptions<T> & { ground: Ground<T> },
  compactor: Compactor<T>,
): Promise<Loaded<T>> {
  const { revision, root, liveBytes, sum } = ground;
  const head = { revision, keys: root.size, liveBytes, sum, writer, batch: 0 };
  const begun = await kv.atomic().check({ key: headKey(space), versionstamp: null })
    .set(oldestKey(space), revision).set(headKey(space), encodeHead(head)).commit();
  if (!begun.ok) throw new DatabaseError("Cannot begin in a database that is in use");
  if (ground.timeline === undefined) compactor.timeline.mark(revision, ground.time);
  compactor.oldest = revision;
  compactor.logBytes = liveBytes;
  return { head, versionstamp: begun.versionstamp, root, oldest: revision, logBytes: liveBytes };
}

/** Opens a store in a database that has been checked, and begins one where there is none. */
export async function openStore<T>(options: StoreOptions<T>): Promise<LogStore<T>> {
  const { kv, space, codec, clock, sealer, keepRevisions, keepMs } = options;
  const log = new Log<T>({
    kv,
    space,
    codec,
    sealer,
    reloadKeys: options.reloadKeys,
    ground: options.ground,
  });
  let store: LogStore<T> | undefined = undefined;
  const compactor: Compactor<T> = new Compactor<T>({
    log,
    clock,
    bytesMax: options.bytesMax ?? STORE_BYTES_MAX,
    keepRevisions,
    keepMs,
    rememberMs: options.rememberMs,
    owner: options.owner,
    timeline: options.ground?.timeline,
    host: {
      revision: () => store!.view().revision,
      preparedChunks: () => store!.preparedChunks(),
      trimmed: (oldest) => store!.trimmed(oldest),
      betweenGroups: () => store!.betweenGroups(),
    },
  });
  const { ground } = options;
  let loaded = ground
    ? await beginOn({ ...options, ground }, compactor)
    : await loadInto(log, compactor);
  if (loaded === undefined) {
    if (await log.hasRecords()) {
      throw new DatabaseError(
        "The database is torn: its log has no head (a restore that was cut short must be repeated)",
      );
    }
    const head = { revision: 0, keys: 0, liveBytes: 0, sum: 0, writer: options.writer, batch: 0 };
    // Two processes may begin the same database: one of them makes the head, both read it.
    await kv.atomic().check({ key: headKey(space), versionstamp: null })
      .set(headKey(space), encodeHead(head)).commit();
    loaded = await loadInto(log, compactor);
    if (loaded === undefined) throw new DatabaseError("The database does not keep what is written");
  }
  store = new LogStore<T>(options, log, compactor, loaded);
  compactor.start();
  return store;
}
