/**
 * Trims history. Superseded records, and only those, are deleted in small commits between the groups of
 * the committer; the compacted revision is raised first, by check-and-set, so that a reader can tell
 * "compacted" from "torn". They are deleted in the order in which they were superseded, and none is left
 * out: a tombstone must outlive every older record of its key. Where several processes share a database,
 * one that has deleted everything up to a revision says so, and the others need not.
 *
 * Five minutes and the newest thousand revisions are kept as a wish. The size is a bound: when the log
 * comes near it, history shortens, down to nothing.
 */

import type { Clock, Timer } from "./clock.ts";
import type { Log, SupersededRecord } from "./log.ts";
import { changeKey, chunkKey, chunkPrefix, oldestKey, sweptKey } from "./keys.ts";
import {
  CHUNK_SWEEP_MS,
  COMPACT_DELETES_PER_COMMIT,
  COMPACT_EVERY_MS,
  KEEP_MS,
  KEEP_REVISIONS,
  PRESSURE_SHARE,
  PRESSURE_TARGET_SHARE,
} from "./limits.ts";
import { patiently } from "./patience.ts";

/** Records that may be deleted, in the order in which they were superseded. Three numbers each. */
class Superseded {
  #numbers: number[] = [];
  #start = 0;

  get length(): number {
    return (this.#numbers.length - this.#start) / 3;
  }

  /** Since when one of them is superseded; undefined: there are not as many. */
  since(index: number): number | undefined {
    return this.#numbers[this.#start + index * 3 + 1];
  }

  push(revision: number, at: number, size: number): void {
    this.#numbers.push(revision, at, size);
  }

  peek(index: number): SupersededRecord | undefined {
    const i = this.#start + index * 3;
    if (i >= this.#numbers.length) return undefined;
    const numbers = this.#numbers;
    return { revision: numbers[i], at: numbers[i + 1], size: numbers[i + 2] };
  }

  drop(count: number): void {
    this.#start += count * 3;
    if (this.#start > 3_000 && this.#start * 2 > this.#numbers.length) {
      this.#numbers = this.#numbers.slice(this.#start);
      this.#start = 0;
    }
  }

  /** Up to which revision to compact so that at least `bytes` are freed. */
  revisionFreeing(bytes: number): number | undefined {
    const numbers = this.#numbers;
    let freed = 0;
    let at: number | undefined;
    for (let i = this.#start; i < numbers.length && freed < bytes; i += 3) {
      freed += numbers[i + 2];
      at = numbers[i + 1];
    }
    return at;
  }
}

/** More than is kept is let lie until it is so much of that: the fewer commits for a store that is written to now and then. */
const BATCH_SHARE = 1 / 20;

/** How exactly it is known when a revision was committed. */
const MARK_EVERY_MS = 1_000;

/** When revisions were committed, to the second. */
export class Timeline {
  #revisions: number[] = [];
  #times: number[] = [];
  /** Whether another timeline reads the same arrays: they are copied before they change. */
  #isShared = false;

  /** `revision` was committed at `time` (wall). Called in order of revisions. */
  mark(revision: number, time: number): void {
    const last = this.#times.length - 1;
    if (last >= 0 && time - this.#times[last] < MARK_EVERY_MS) return;
    if (this.#isShared) this.#keep(0, last + 1);
    this.#revisions.push(revision);
    this.#times.push(time);
  }

  /** A revision such that everything up to it was committed at or before `time`; 0 if there is none. */
  revisionAt(time: number, head: number): number {
    const times = this.#times;
    const count = countUpTo(times, time);
    if (count === 0) return 0;
    // What has no mark of its own was committed within a second of the mark before.
    if (times[count - 1] + MARK_EVERY_MS > time) return this.#revisions[count - 1];
    return count === times.length ? head : this.#revisions[count] - 1;
  }

  /** The first time for which `revisionAt` says more than `revision`; undefined while there is nothing after it. */
  timeAfter(revision: number, head: number): number | undefined {
    if (head <= revision) return undefined;
    const revisions = this.#revisions;
    const count = countUpTo(revisions, revision);
    // What lies between two marks was committed within a second of the first.
    const last = count === revisions.length ? head : revisions[count] - 1;
    if (count > 0 && last > revision) return this.#times[count - 1] + MARK_EVERY_MS;
    return this.#times[count];
  }

  /** Forgets what is older than `time`. */
  trim(time: number): void {
    let count = 0;
    while (count + 1 < this.#times.length && this.#times[count + 1] <= time) count++;
    if (count >= 64) this.#keep(count, this.#times.length);
  }

  /** The same up to a revision, to go on by itself. */
  forked(revision: number): Timeline {
    const fork = new Timeline();
    fork.#revisions = this.#revisions;
    fork.#times = this.#times;
    fork.#isShared = this.#isShared = true;
    const count = countUpTo(this.#revisions, revision);
    if (count < this.#revisions.length) fork.#keep(0, count);
    return fork;
  }

  /** When a revision was committed, to the second; undefined when that is forgotten. */
  timeOf(revision: number): number | undefined {
    const count = countUpTo(this.#revisions, revision);
    // Before the first there was nothing
    return this.#times[Math.max(0, count - 1)];
  }

  #keep(start: number, end: number): void {
    this.#revisions = this.#revisions.slice(start, end);
    this.#times = this.#times.slice(start, end);
    this.#isShared = false;
  }
}

/** How many of these numbers, which grow, are at most `max`. */
function countUpTo(numbers: readonly number[], max: number): number {
  let low = 0;
  let high = numbers.length;
  while (low < high) {
    const middle = low + high >>> 1;
    if (numbers[middle] <= max) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** What the compactor asks of its store. */
export interface CompactorHost {
  /** The head's revision. */
  revision(): number;
  /** Ids of chunks that are written and not committed yet. */
  preparedChunks(): Iterable<string>;
  /** The compacted revision was raised. */
  trimmed(oldest: number): void;
  /** Resolves when no group is being committed, or after the one that is. */
  betweenGroups(): Promise<void>;
}

/** What a compactor needs. */
export interface CompactorOptions<T> {
  log: Log<T>;
  clock: Clock;
  host: CompactorHost;
  bytesMax: number;
  keepRevisions?: number;
  keepMs?: number;
  /** For how long it is known when a revision was committed (default `keepMs`). */
  rememberMs?: number;
  /** No other process writes to the database: what is not here is not there. */
  owner?: boolean;
  /** When what there is was committed (default: nothing is known of it). */
  timeline?: Timeline;
}

/** Compaction of one store. */
export class Compactor<T> {
  readonly timeline: Timeline;
  /** The compacted revision: nothing before it can be read. */
  oldest = 0;
  /** Bytes of all records in the log. */
  logBytes = 0;
  /** How often the bound made history shorter. */
  shortened = 0;
  readonly bytesMax: number;
  readonly #log: Log<T>;
  readonly #clock: Clock;
  readonly #host: CompactorHost;
  readonly #isOwner: boolean;
  readonly #keepRevisions: number;
  readonly #keepMs: number;
  readonly #rememberMs: number;
  /** So many records are worth looking for. */
  readonly #batch: number;
  readonly #superseded = new Superseded();
  readonly #unnamedSince: Map<string, number> = new Map();
  #running: Promise<void> = Promise.resolve();
  #isRelieving = false;
  #timer: Timer | undefined;
  #sweepTimer: Timer | undefined;
  #started = false;
  #closed = false;

  constructor(options: CompactorOptions<T>) {
    this.#log = options.log;
    this.#clock = options.clock;
    this.#host = options.host;
    this.bytesMax = options.bytesMax;
    this.timeline = options.timeline ?? new Timeline();
    this.#isOwner = options.owner ?? false;
    this.#keepRevisions = options.keepRevisions ?? KEEP_REVISIONS;
    this.#keepMs = options.keepMs ?? KEEP_MS;
    this.#rememberMs = Math.max(this.#keepMs, options.rememberMs ?? 0);
    const some = Math.ceil(this.#keepRevisions * BATCH_SHARE);
    this.#batch = Math.min(Math.max(some, 1), COMPACT_DELETES_PER_COMMIT);
  }

  /** Forgets what the log holds: it is about to be read again. */
  forget(): void {
    this.#superseded.drop(this.#superseded.length);
    this.logBytes = 0;
  }

  /** Begins to look for work: now and then while there are more revisions than wished, and for forgotten chunks. */
  start(): void {
    this.#started = true;
    this.#arm();
    this.#armSweep(CHUNK_SWEEP_MS);
  }

  /** Stops; resolves when nothing is under way. */
  async close(): Promise<void> {
    this.#closed = true;
    this.#timer?.cancel();
    this.#sweepTimer?.cancel();
    await this.#running.catch(() => {});
  }

  /** A record is superseded since revision `at`. */
  superseded(revision: number, at: number, size: number): void {
    this.#superseded.push(revision, at, size);
    if (this.#timer === undefined) this.#arm();
  }

  /** Bytes that compaction could free. */
  freeable(): number {
    let bytes = 0;
    for (let i = 0, one; (one = this.#superseded.peek(i)) !== undefined; i++) bytes += one.size;
    return bytes;
  }

  /** The revision up to which the wish allows to forget. */
  wished(options: { keepRevisions?: number; keepMs?: number } = {}): number {
    const { keepRevisions = this.#keepRevisions, keepMs = this.#keepMs } = options;
    const head = this.#host.revision();
    const byAge = keepMs <= 0 ? head : this.timeline.revisionAt(this.#clock.now() - keepMs, head);
    return Math.max(this.oldest, Math.min(head - keepRevisions, byAge));
  }

  /** Forgets everything before `target`. One at a time. */
  compactTo(target: number): Promise<void> {
    const run = this.#running.catch(() => {}).then(() => this.#compactTo(target));
    this.#running = run;
    return run;
  }

  /** Called after a commit: shortens history when the bound is near. Does not wait for it. */
  relieve(): void {
    if (this.#isRelieving || this.#closed || this.logBytes < this.bytesMax * PRESSURE_SHARE) return;
    this.#isRelieving = true;
    this.makeRoom(0).catch(() => {
      // What could not be deleted now is tried again after the next commit.
    }).finally(() => this.#isRelieving = false);
  }

  /** Shortens history until `bytes` more fit, as far as there is any. */
  async makeRoom(bytes: number): Promise<void> {
    const wanted = Math.min(this.bytesMax * PRESSURE_TARGET_SHARE, this.bytesMax - bytes);
    const target = this.#superseded.revisionFreeing(this.logBytes - wanted);
    if (target === undefined) return;
    this.shortened++;
    await this.compactTo(target);
  }

  /** An idle store needs no ticks: what is not too old by revisions now can only become so by a write. */
  #arm(): void {
    if (this.#closed || !this.#started) return;
    const next = this.#superseded.since(this.#batch - 1);
    if (next === undefined || next > this.#host.revision() - this.#keepRevisions) return;
    this.#timer = this.#clock.timer("background", COMPACT_EVERY_MS, () => {
      this.#tick().catch(() => {
        // The database said no; what is due stays due until the next tick.
      }).finally(() => {
        this.#timer = undefined;
        this.#arm();
      });
    });
  }

  async #tick(): Promise<void> {
    this.timeline.trim(this.#clock.now() - this.#rememberMs);
    const target = this.wished();
    const next = this.#superseded.since(0);
    if (next !== undefined && next <= target) await this.compactTo(target);
  }

  #armSweep(afterMs: number): void {
    if (this.#closed) return;
    this.#sweepTimer = this.#clock.timer("background", afterMs, () => {
      this.timeline.trim(this.#clock.now() - this.#rememberMs);
      this.sweepChunks().catch(() => {
        // The database said no: the next sweep finds them again.
      }).finally(() => this.#armSweep(CHUNK_SWEEP_MS / 4));
    });
  }

  async #compactTo(wanted: number): Promise<void> {
    const { kv, space } = this.#log;
    const [entry, swept] = await kv.getMany<[number, number]>([oldestKey(space), sweptKey(space)]);
    // As far as this process has read: the rest is for when it has caught up.
    const theirs = Math.min(entry.value ?? 0, this.#host.revision());
    if (theirs > this.oldest) this.#raise(theirs);
    this.#forgetUpTo(Math.min(swept.value ?? 0, this.oldest));
    const target = Math.max(Math.min(wanted, this.#host.revision()), this.oldest);
    if (target > (entry.value ?? 0)) {
      const op = kv.atomic().check(entry).set(oldestKey(space), target);
      const raised = await patiently(this.#clock, () => op.commit());
      if (!raised.ok) return;
      this.#raise(target);
    }
    for (;;) {
      const next = this.#superseded.peek(0);
      if (next === undefined || next.at > target || this.#closed) return;
      await this.#host.betweenGroups();
      await this.#deleteSome(target);
    }
  }

  #raise(oldest: number): void {
    this.oldest = oldest;
    this.#host.trimmed(oldest);
  }

  /**
   * Another process has deleted everything superseded up to `swept`. That it only meant to is not enough:
   * were it gone half way, an older state of an object would outlive the record of its deletion.
   */
  #forgetUpTo(swept: number): void {
    for (let next; (next = this.#superseded.peek(0)) !== undefined && next.at <= swept;) {
      this.#log.chunks.delete(next.revision);
      this.logBytes -= next.size;
      this.#superseded.drop(1);
    }
  }

  async #deleteSome(target: number): Promise<void> {
    const { kv, space, chunks } = this.#log;
    const op = kv.atomic();
    let records = 0;
    let deletes = 0;
    let bytes = 0;
    while (deletes < COMPACT_DELETES_PER_COMMIT) {
      const record = this.#superseded.peek(records);
      if (record === undefined || record.at > target) break;
      op.delete(changeKey(space, record.revision));
      const parts = chunks.get(record.revision);
      for (let i = 0; parts !== undefined && i < parts.count; i++) {
        op.delete(chunkKey(space, parts.id, i));
      }
      deletes += 1 + (parts?.count ?? 0);
      bytes += record.size;
      records++;
    }
    const next = this.#superseded.peek(records);
    if (next === undefined || next.at > target) op.set(sweptKey(space), target);
    await patiently(this.#clock, () => op.commit());
    for (let i = 0; i < records; i++) chunks.delete(this.#superseded.peek(i)!.revision);
    this.#superseded.drop(records);
    this.logBytes -= bytes;
  }

  /** Deletes chunks that no record has named for a while: their writer did not live to commit. */
  async sweepChunks(): Promise<number> {
    const { kv, space } = this.#log;
    const named = new Set<string>(this.#host.preparedChunks());
    for (const { id } of this.#log.chunks.values()) named.add(id);
    const log = this.#log;
    if (!log.mayHaveChunks && named.size === 0) return 0;
    // Whoever writes one from now on says so; where others write, nobody knows.
    log.mayHaveChunks = !this.#isOwner;
    const now = this.#clock.monotonic();
    let swept = 0;
    let from: Deno.KvKey = chunkPrefix(space);
    const end: Deno.KvKey = [space, "change"];
    for (;;) {
      const page = kv.list<Uint8Array>({ start: from, end }, { limit: 1 });
      const { value: entry } = await page.next();
      if (entry === undefined) return swept;
      log.mayHaveChunks = true;
      const id = entry.key[2] as string;
      // Strings sort before numbers, so this is behind all chunks of the id only with a large number.
      from = [space, "blob", id, Number.MAX_SAFE_INTEGER];
      if (named.has(id)) {
        this.#unnamedSince.delete(id);
        continue;
      }
      const since = this.#unnamedSince.get(id) ?? now;
      this.#unnamedSince.set(id, since);
      if (now - since < CHUNK_SWEEP_MS) continue;
      await deleteChunks(kv, space, id);
      this.#unnamedSince.delete(id);
      swept++;
    }
  }
}

/** Deletes all chunks of an id. */
export async function deleteChunks(kv: Deno.Kv, space: "o" | "e", id: string): Promise<void> {
  for await (const { key } of kv.list({ prefix: chunkPrefix(space, id) }, { batchSize: 10 })) {
    await kv.delete(key);
  }
}
