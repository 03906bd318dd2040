/**
 * The change log: what is written in the commit of a group, how it is read again, and how its fold is the
 * state.
 *
 * There is one record per change, at the key of its revision, with the object's bytes and the revision it
 * replaces. Revisions are dense: above the compacted revision a missing record means that the log is torn,
 * or that compaction overtook the reader. The head counts keys and bytes and sums revisions, so that a
 * fold that lost anything is found out at opening.
 *
 * There is no second record per object beside the log: the live records are the objects, and a "row" with
 * only the latest revision was written with every commit (15 to 25 % of its time) and never read.
 */

import * as btree from "./btree.ts";
import {
  type ChangeRecord,
  type Chunks,
  decodeHead,
  decodeRecord,
  DELETE,
  encodeRecord,
  fitsInline,
  type GroupMark,
  type HeadRecord,
  INTERNAL_PUT,
  joinChunks,
  PUT,
} from "./codec.ts";
import {
  type Changed,
  type Codec,
  CompactedError,
  DatabaseError,
  type Event,
  type Written,
} from "./contract.ts";
import { recordSize, StoredItem } from "./item.ts";
import {
  changeKey,
  changeRange,
  chunkKey,
  chunkPrefix,
  headKey,
  oldestKey,
  type Space,
  tailRange,
} from "./keys.ts";
import {
  CAUSE_BYTES_MAX,
  KV_GET_MANY_MAX,
  KV_LIST_BATCH_MAX,
  KV_VALUE_BYTES_MAX,
} from "./limits.ts";
import {
  FIRST_FORM,
  PLAIN,
  SEAL_BYTES,
  SEAL_BYTES_MAX,
  type Sealer,
  UnknownKeyError,
} from "./seal.ts";
import type { Change, Root } from "./state.ts";

/** A record as read, with its revision. */
export interface LogRecord extends ChangeRecord {
  readonly revision: number;
  /** Where it lies, and since which commit: for those who replace it. */
  readonly entry?: { readonly key: Deno.KvKey; readonly versionstamp: string };
}

/** The end of the log as of one moment. */
export interface Tail {
  readonly records: LogRecord[];
  readonly head: HeadRecord;
  readonly versionstamp: string;
}

/** A superseded record: compaction may delete it once everything up to `at` may be forgotten. */
export interface SupersededRecord {
  readonly revision: number;
  readonly at: number;
  readonly size: number;
}

/** Told of what the log holds while it is read at opening. */
export interface LoadObserver {
  superseded(record: SupersededRecord): void;
  /** A revision and when it was committed. */
  committed(revision: number, time: number): void;
}

/** The state that the log comes to. */
export interface Loaded<T> {
  readonly head: HeadRecord;
  readonly versionstamp: string;
  readonly root: Root<T>;
  readonly oldest: number;
  readonly logBytes: number;
}

/** The state that a log begins with and has no records of: another log has them. */
export interface LogGround<T> {
  readonly revision: number;
  readonly root: Root<T>;
}

/** What a log needs. */
export interface LogOptions<T> {
  kv: Deno.Kv;
  space: Space;
  codec: Codec<T>;
  /** Seals what is to be sealed (default: nothing is). */
  sealer?: Sealer;
  /** Reads the keys anew: another process may have made one. True when there are others now. */
  reloadKeys?: () => Promise<boolean>;
  /** Where it begins (default: with nothing). */
  ground?: LogGround<T>;
}

/** One store's log in the database. */
export class Log<T> {
  readonly kv: Deno.Kv;
  readonly space: Space;
  /** Where the chunks of records are that have any, by revision. */
  readonly chunks: Map<number, Chunks> = new Map();
  /** Whether there may be chunks in the database: a sweep that found none knows better, until one is written. */
  mayHaveChunks = true;
  readonly #codec: Codec<T>;
  readonly #sealer: Sealer | undefined;
  readonly #reloadKeys: () => Promise<boolean>;
  readonly #ground: LogGround<T> | undefined;

  constructor(options: LogOptions<T>) {
    this.kv = options.kv;
    this.space = options.space;
    this.#codec = options.codec;
    this.#sealer = options.sealer;
    this.#reloadKeys = options.reloadKeys ?? (() => Promise.resolve(false));
    this.#ground = options.ground;
  }

  /** Whether a value fits into its record. */
  fits(key: string, bytes: Uint8Array): boolean {
    return fitsInline(key, bytes.length);
  }

  /** A value as it is stored: sealed where the key asks for it. */
  stored(key: string, bytes: Uint8Array): Uint8Array {
    return this.#sealer?.store(key, bytes) ?? bytes;
  }

  /** How a key's values are sealed from now on. */
  formFor(key: string): number {
    return this.#sealer?.formFor(key) ?? PLAIN;
  }

  /** The record of a change. `group`: if it is its first. `chunks`: where bytes went that do not fit. */
  record(
    change: Change<T>,
    at: { time: number; group?: GroupMark; chunks?: Chunks },
  ): Uint8Array {
    const { time, group, chunks } = at;
    const { item, previous, kind, withBody } = change;
    const inline = withBody && chunks === undefined;
    // The chunks may have been written before other keys came into use.
    const form = chunks?.form ?? this.formFor(item.key);
    return encodeRecord({
      kind,
      form: withBody ? form : PLAIN,
      key: item.key,
      previous: previous === undefined ? 0 : previous.revision,
      time,
      group,
      chunks,
      cause: item.cause,
      body: inline ? this.stored(item.key, item.bytes) : undefined,
    });
  }

  /** Everything after `revision`, with the head as of the same moment. */
  async tail(revision: number): Promise<Tail> {
    const records: LogRecord[] = [];
    const entries = this.kv.list(tailRange(this.space, revision + 1), { batchSize: 500 });
    for await (const entry of entries) {
      if (entry.key[1] === "head") {
        return { records, head: decodeHead(entry.value), versionstamp: entry.versionstamp };
      }
      records.push(recordOf(entry));
    }
    throw new DatabaseError("The head of the log is gone from the database");
  }

  /** Every record there is now, in order; not those that come meanwhile, or there might be no end. */
  async *all(): AsyncGenerator<LogRecord> {
    const found = await this.head();
    if (found === undefined) return;
    const range = changeRange(this.space, 0, found.head.revision);
    for await (const entry of this.kv.list(range, { batchSize: 100 })) {
      const { key, versionstamp } = entry;
      yield { ...recordOf(entry), entry: { key, versionstamp } };
    }
  }

  /** The beginning of a value in chunks, as it is stored. */
  async firstBytes({ chunks }: LogRecord): Promise<Uint8Array | undefined> {
    const entry = await this.kv.get<Uint8Array>(chunkKey(this.space, chunks!.id, 0));
    return entry.value ?? undefined;
  }

  /** The head as it stands, or undefined in an empty database. */
  async head(): Promise<{ head: HeadRecord; versionstamp: string } | undefined> {
    const entry = await this.kv.get(headKey(this.space));
    if (entry.versionstamp === null) return undefined;
    return { head: decodeHead(entry.value), versionstamp: entry.versionstamp };
  }

  /** Whether there are records, with a head or without. */
  async hasRecords(): Promise<boolean> {
    const range = { start: changeKey(this.space, 0), end: headKey(this.space) };
    for await (const _ of this.kv.list(range, { limit: 1 })) return true;
    return false;
  }

  /** Deletes all records and chunks: those of a restore that was cut short. */
  async clear(): Promise<void> {
    const range = { start: chunkPrefix(this.space), end: headKey(this.space) };
    for await (const { key } of this.kv.list(range, { batchSize: 10 })) await this.kv.delete(key);
  }

  /** How far the log is compacted. */
  async oldest(): Promise<number> {
    const entry = await this.kv.get<number>(oldestKey(this.space));
    return entry.value ?? 0;
  }

  /** A record's value in the clear; undefined for a delete without one. */
  async body(record: LogRecord): Promise<Uint8Array | undefined> {
    let body = record.body;
    if (record.chunks !== undefined) {
      const parts: Uint8Array[] = [];
      const prefix = chunkPrefix(this.space, record.chunks.id);
      for await (const entry of this.kv.list<Uint8Array>({ prefix }, { batchSize: 10 })) {
        parts.push(entry.value);
      }
      body = joinChunks(parts, record.chunks);
    }
    if (body === undefined || record.form === PLAIN) return body;
    try {
      return this.#open(record, body);
    } catch (error) {
      if (!(error instanceof UnknownKeyError) || !await this.#reloadKeys()) throw error;
      return this.#open(record, body);
    }
  }

  #open({ key, form }: LogRecord, body: Uint8Array): Uint8Array {
    if (this.#sealer === undefined) {
      throw new DatabaseError(`Cannot open the sealed value of "${key}": no key is given`);
    }
    return form === FIRST_FORM ? this.#sealer.openFirst(key, body) : this.#sealer.open(key, body);
  }

  #itemOf(record: LogRecord, bytes: Uint8Array): StoredItem<T> {
    const item = new StoredItem(record.key, record.revision, bytes, this.#codec);
    item.cause = record.cause;
    return item;
  }

  /** What the log says of a revision; undefined when it is not there, or of the store's own state. */
  async written(revision: number): Promise<Written | undefined> {
    const entry = await this.kv.get(changeKey(this.space, revision));
    return entry.versionstamp === null ? undefined : writtenOf(recordOf(entry));
  }

  /** The item that a put's record holds. */
  async item(record: LogRecord): Promise<StoredItem<T>> {
    const bytes = await this.body(record);
    if (bytes === undefined) throw torn(`the record of revision ${record.revision} has no value`);
    return this.#itemOf(record, bytes);
  }

  /** What a record changed, given the object before. */
  async change(record: LogRecord, previous: StoredItem<T> | undefined): Promise<Change<T>> {
    if (record.chunks !== undefined) this.chunks.set(record.revision, record.chunks);
    const { kind } = record;
    if (kind === PUT || kind === INTERNAL_PUT) {
      return { kind, item: await this.item(record), previous, withBody: true };
    }
    const bytes = await this.body(record);
    if (bytes !== undefined) {
      return { kind, item: this.#itemOf(record, bytes), previous, withBody: true };
    }
    if (previous === undefined) {
      throw torn(`revision ${record.revision} deletes "${record.key}", which is not there`);
    }
    const item = previous.at(record.revision);
    item.cause = record.cause;
    return { kind, item, previous, withBody: false };
  }

  /** Reads the whole log and folds it. Undefined in an empty database. */
  async load(observer: LoadObserver): Promise<Loaded<T> | undefined> {
    const found = await this.head();
    if (found === undefined) return undefined;
    const fold = new Fold(observer);
    // Two readings at once: one is taken apart here while the database reads for the other.
    const middle = Math.floor(found.head.revision / 2);
    const ending = this.tail(middle);
    ending.catch(() => {
      // Awaited below, unless the beginning fails first.
    });
    const beginning = { start: changeKey(this.space, 0), end: changeKey(this.space, middle + 1) };
    for await (const entry of this.kv.list(beginning, { batchSize: 500 })) {
      fold.add(recordOf(entry));
    }
    const { records, head, versionstamp } = await ending;
    for (const record of records) fold.add(record);
    const oldest = await this.oldest();
    const root = await this.#build(fold);
    fold.check(head, root, oldest);
    return { head, versionstamp, root, oldest, logBytes: fold.logBytes };
  }

  async #build(fold: Fold): Promise<Root<T>> {
    const records = [...fold.live.values()];
    records.sort((a, b) => a.key < b.key ? -1 : 1);
    const items: StoredItem<T>[] = [];
    for (const record of records) {
      if (record.chunks === undefined && record.form === PLAIN && record.body !== undefined) {
        items.push(this.#itemOf(record, record.body));
      } else items.push(await this.item(record));
    }
    for (const [revision, chunks] of fold.chunks) this.chunks.set(revision, chunks);
    return btree.fromSorted(items);
  }

  /**
   * What happened after `after`, at most to `until` and `limit` revisions of it, to the end of a group. Throws
   * CompactedError when compaction has been there.
   */
  async changes(after: number, until: number, limit: number): Promise<Changed<T>[]> {
    const records = await this.#range(after, Math.min(until, after + limit));
    if (after + records.length < until) cutToGroup(records);
    const before = await this.#items(records.map(({ key, previous }) => [key, previous]));
    const changes: Changed<T>[] = [];
    for (const record of records) {
      const { revision, time, cause } = record;
      const previous = before.get(record.previous);
      if (record.previous !== 0 && previous === undefined) throw await this.#overtaken(after);
      const event = eventOf(await this.change(record, previous));
      changes.push({ revision, time, event, cause });
    }
    return changes;
  }

  /** The last revision after `after`, up to `until`, that was committed by `time`; `after` if none was. */
  async lastBy(time: number, after: number, until: number): Promise<number> {
    let last = after;
    for await (const entry of this.kv.list(changeRange(this.space, after + 1, until))) {
      const record = recordOf(entry);
      if (record.time > time) break;
      last = record.revision;
    }
    return last;
  }

  /** When a revision was committed; undefined when its record is gone. */
  async timeOf(revision: number): Promise<number | undefined> {
    const entry = await this.kv.get(changeKey(this.space, revision));
    return entry.versionstamp === null ? undefined : recordOf(entry).time;
  }

  /** The state at `revision`, undone from a later root. */
  async undo(root: Root<T>, from: number, revision: number): Promise<Root<T>> {
    const before = new Map<string, number>();
    for (let after = revision; after < from; after += KV_LIST_BATCH_MAX) {
      const records = await this.#range(after, Math.min(from, after + KV_LIST_BATCH_MAX));
      for (const { key, previous } of records) if (!before.has(key)) before.set(key, previous);
    }
    const items = await this.#items([...before]);
    let state = root;
    for (const [key, previous] of before) {
      const item = items.get(previous);
      if (previous !== 0 && item === undefined) throw await this.#overtaken(revision);
      state = item === undefined ? btree.remove(state, key) : btree.set(state, item);
    }
    return state;
  }

  /** The records after `after` up to `last`, all of them. */
  async #range(after: number, last: number): Promise<LogRecord[]> {
    const records: LogRecord[] = [];
    const range = changeRange(this.space, after + 1, last);
    for await (const entry of this.kv.list(range, { batchSize: 500 })) {
      records.push(recordOf(entry));
      if (records[records.length - 1].revision !== after + records.length) break;
    }
    if (records.length !== last - after) throw await this.#overtaken(after);
    return records;
  }

  /** The items of these keys at these revisions (0: none), as far as they still exist. */
  async #items(
    revisions: readonly (readonly [key: string, revision: number])[],
  ): Promise<Map<number, StoredItem<T>>> {
    const items = new Map<number, StoredItem<T>>();
    const wanted: number[] = [];
    const ground = this.#ground;
    for (const [key, revision] of revisions) {
      if (revision > (ground?.revision ?? 0)) wanted.push(revision);
      else if (revision !== 0) items.set(revision, btree.get(ground!.root, key)!);
    }
    const reads: Promise<Deno.KvEntryMaybe<unknown>[]>[] = [];
    for (let at = 0; at < wanted.length; at += KV_GET_MANY_MAX) {
      const keys = wanted.slice(at, at + KV_GET_MANY_MAX).map((r) => changeKey(this.space, r));
      reads.push(this.kv.getMany(keys));
    }
    for (const entry of (await Promise.all(reads)).flat()) {
      if (entry.versionstamp === null) continue;
      const record = recordOf(entry);
      items.set(record.revision, await this.item(record));
    }
    return items;
  }

  async #overtaken(after: number): Promise<Error> {
    const oldest = await this.oldest();
    if (after < oldest) {
      return new CompactedError(
        `Revision ${after} is no longer in the log: it begins at ${oldest}`,
        oldest,
      );
    }
    return torn(`records after revision ${after} are missing`);
  }
}

/** Leaves out the last group, of which there may be more, unless it is the only one. */
function cutToGroup(records: LogRecord[]): void {
  for (let at = records.length - 1; at > 0; at--) {
    if (records[at].group === undefined) continue;
    records.length = at;
    return;
  }
}

/** The event that watchers see of a change; none of the store's own state. */
export function eventOf<T>(change: Change<T>): Event<T> | undefined {
  const { kind, item, previous } = change;
  if (kind !== PUT && kind !== DELETE) return undefined;
  return {
    type: kind === PUT ? "put" : "delete",
    key: item.key,
    revision: item.revision,
    item,
    previous,
  };
}

/** What is told of a revision; nothing of the store's own state. */
export function writtenOf(record: Omit<LogRecord, "form">): Written | undefined {
  const { revision, key, kind, previous, time, cause } = record;
  if (kind !== PUT && kind !== DELETE) return undefined;
  return { revision, key, type: kind === PUT ? "put" : "delete", previous, time, cause };
}

function recordOf(entry: Deno.KvEntryMaybe<unknown>): LogRecord {
  const revision = entry.key[2] as number;
  return { revision, ...decodeRecord(entry.value, revision) };
}

function torn(detail: string): DatabaseError {
  return new DatabaseError(`The database is torn: ${detail}`);
}

/** What a record counts against the store's bound. */
export function sizeOfRecord(record: ChangeRecord): number {
  const stored = record.chunks?.length ?? record.body?.length ?? 0;
  return recordSize(record.key, stored > 0 ? stored - SEAL_BYTES[record.form] : stored);
}

/** Reads records in order and keeps what is live. */
class Fold {
  readonly live: Map<string, LogRecord> = new Map();
  readonly chunks: Map<number, Chunks> = new Map();
  logBytes = 0;
  #liveBytes = 0;
  #sum = 0;
  #last = 0;
  /** The last revision before which one was missing. */
  #gapBefore = 0;
  readonly #observer: LoadObserver;

  constructor(observer: LoadObserver) {
    this.#observer = observer;
  }

  add(record: LogRecord): void {
    const { revision, key, kind } = record;
    if (revision !== this.#last + 1) this.#gapBefore = revision;
    this.#last = revision;
    const size = sizeOfRecord(record);
    this.logBytes += size;
    this.#observer.committed(revision, record.time);
    if (record.chunks) this.chunks.set(revision, record.chunks);
    const before = this.live.get(key);
    if (before !== undefined) {
      const beforeSize = sizeOfRecord(before);
      this.#liveBytes -= beforeSize;
      this.#sum -= before.revision;
      this.#observer.superseded({ revision: before.revision, at: revision, size: beforeSize });
    }
    if (kind === PUT || kind === INTERNAL_PUT) {
      this.#liveBytes += size;
      this.#sum += revision;
      // What is kept must not hold a larger buffer than it needs; KV hands out one per value.
      this.live.set(key, record);
    } else {
      this.live.delete(key);
      this.#observer.superseded({ revision, at: revision, size });
    }
  }

  check(head: HeadRecord, root: Root<unknown>, oldest: number): void {
    if (this.#gapBefore > oldest + 1) {
      throw torn(`the record of revision ${this.#gapBefore - 1} is missing`);
    }
    if (this.#last > head.revision || this.#last < head.revision && head.revision > oldest) {
      throw torn(`the log ends at revision ${this.#last}, its head says ${head.revision}`);
    }
    const sum = (this.#sum % 0x1_0000_0000 + 0x1_0000_0000) % 0x1_0000_0000;
    if (root.size !== head.keys || this.#liveBytes !== head.liveBytes || sum !== head.sum) {
      throw torn(
        `the log comes to ${root.size} keys and ${this.#liveBytes} bytes, its head says ` +
          `${head.keys} and ${head.liveBytes}`,
      );
    }
  }
}

/** Bytes of a record's KV value, at most: for the limits of a commit. */
export function storedBytesMax(change: Change<unknown>, chunked: boolean): number {
  const body = change.withBody && !chunked ? change.item.bytes.length + SEAL_BYTES_MAX : 0;
  const { key, cause } = change.item;
  const causeBytes = cause === undefined ? 0 : CAUSE_BYTES_MAX;
  return Math.min(KV_VALUE_BYTES_MAX, 100 + causeBytes + key.length * 3 + body);
}
