/**
 * The newest part of the log in memory: committed groups with the state after each. Watches that resume
 * and exact reads are served from here; what is older is read from the log. Bounded by bytes: what the
 * groups alone keep alive is the superseded items and a few nodes of the map per change.
 */

import * as btree from "./btree.ts";
import type { Event } from "./contract.ts";
import { HISTORY_BYTES_MAX } from "./limits.ts";
import type { Change, Root } from "./state.ts";
import { DELETE, INTERNAL_DELETE } from "./codec.ts";

/** What one commit changed. */
export interface Group<T> {
  /** The revisions of its first and last change. */
  readonly first: number;
  readonly last: number;
  /** When it was committed, by its writer's wall clock. */
  readonly time: number;
  readonly changes: readonly Change<T>[];
  readonly events: readonly Event<T>[];
  /** The state after it. */
  readonly root: Root<T>;
}

/** Bytes that a change keeps alive besides the object it replaced. */
const CHANGE_BYTES = 1_500;

/** See the module's text. */
export class History<T> {
  #groups: Group<T>[] = [];
  /** What each group weighs: what it holds has long left the processor's caches when it is dropped. */
  #weights: number[] = [];
  #start = 0;
  #bytes = 0;
  #baseRevision: number;
  #baseRoot: Root<T>;
  readonly #bytesMax: number;

  /** Begins with the state at `revision`. `bytesMax` (default `HISTORY_BYTES_MAX`) bounds what it keeps. */
  constructor(revision: number, root: Root<T>, bytesMax: number = HISTORY_BYTES_MAX) {
    this.#baseRevision = revision;
    this.#baseRoot = root;
    this.#bytesMax = bytesMax;
  }

  /** What follows this revision is in memory. */
  get base(): { readonly revision: number; readonly root: Root<T> } {
    return { revision: this.#baseRevision, root: this.#baseRoot };
  }

  /** Adds the next group and drops the oldest ones that no longer have room. */
  push(group: Group<T>): void {
    const weight = weightOf(group);
    this.#groups.push(group);
    this.#weights.push(weight);
    this.#bytes += weight;
    while (this.#bytes > this.#bytesMax && this.#groups.length - this.#start > 1) this.#drop();
  }

  /** Forgets groups that end at or before `revision`. */
  trim(revision: number): void {
    while (this.#start < this.#groups.length && this.#groups[this.#start].last <= revision) {
      this.#drop();
    }
  }

  /** The groups with changes after `revision`, which must not be less than the base. */
  *after(revision: number): Generator<Group<T>> {
    for (let at = this.#indexAfter(revision); at < this.#groups.length; at++) {
      yield this.#groups[at];
    }
  }

  /** The change that made a revision; undefined when it is not in memory. */
  change(revision: number): { change: Change<T>; group: Group<T> } | undefined {
    const group = this.#groups[this.#indexAfter(revision - 1)];
    const change = group?.changes[revision - group.first];
    return change?.item.revision === revision ? { change, group } : undefined;
  }

  /** The state at a revision from the base to the newest. */
  rootAt(revision: number): Root<T> {
    const at = this.#indexAfter(revision);
    let root = at > this.#start ? this.#groups[at - 1].root : this.#baseRoot;
    if (at === this.#groups.length) return root;
    for (const { item, kind } of this.#groups[at].changes) {
      if (item.revision > revision) break;
      const isGone = kind === DELETE || kind === INTERNAL_DELETE;
      root = isGone ? btree.remove(root, item.key) : btree.set(root, item);
    }
    return root;
  }

  /** When a revision after the base was committed. */
  timeOf(revision: number): number | undefined {
    return this.#groups[this.#indexAfter(revision - 1)]?.time;
  }

  #indexAfter(revision: number): number {
    let low = this.#start;
    let high = this.#groups.length;
    while (low < high) {
      const middle = low + high >>> 1;
      if (this.#groups[middle].last <= revision) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  #drop(): void {
    const group = this.#groups[this.#start];
    this.#bytes -= this.#weights[this.#start];
    this.#groups[this.#start++] = undefined as never;
    this.#baseRevision = group.last;
    this.#baseRoot = group.root;
    if (this.#start > 256 && this.#start * 2 > this.#groups.length) {
      this.#groups = this.#groups.slice(this.#start);
      this.#weights = this.#weights.slice(this.#start);
      this.#start = 0;
    }
  }
}

function weightOf(group: Group<unknown>): number {
  let bytes = 0;
  for (const { previous } of group.changes) {
    bytes += CHANGE_BYTES + (previous === undefined ? 0 : previous.bytes.length * 3);
  }
  return bytes;
}
