/**
 * Who leads what: terms of office, and the leases that say that a holder lives.
 *
 * A term is a key of the objects store (out of watchers' sight), so taking or changing one is a log record
 * under the head check, and a write that carries a term is refused in its very commit once the term has
 * passed. The fence grows with every change of holder.
 *
 * A process that shares its database renews one lease, a plain record outside the log, with a count. A
 * holder is dead when an observer saw its count unchanged for `LEASE_MS` by its own monotonic clock: wall
 * clocks of two machines are never compared. A process that owns its database needs no lease: whoever
 * else holds a term there is a former life.
 */

import * as btree from "./btree.ts";
import type { Clock, Timer } from "./clock.ts";
import { type Term, TermOverError, type Terms } from "./contract.ts";
import { leaseKey, termKey } from "./keys.ts";
import { LEASE_LOOK_EVERY_MS, LEASE_MS, LEASE_RENEW_EVERY_MS } from "./limits.ts";
import { patiently } from "./patience.ts";
import type { Root } from "./state.ts";
import type { LogStore } from "./store.ts";

/** What a term's record says. */
interface TermRecord {
  /** Empty when it was given up. */
  readonly holder: string;
  readonly fence: number;
}

/** Throws TermOverError unless the term is the one that the state names. */
export function checkTerm(term: Term, root: Root<unknown>): void {
  const current = termAt(root, term.name);
  if (current?.fence === term.fence && current.holder === term.holder) return;
  throw new TermOverError(
    `Term ${term.fence} of "${term.name}" has passed` +
      (current === undefined ? "" : `: the current one is ${current.fence}`),
  );
}

function termAt(root: Root<unknown>, name: string): TermRecord | undefined {
  const item = btree.get(root, termKey(name));
  if (item === undefined) return undefined;
  let record = records.get(item);
  if (!record) records.set(item, record = JSON.parse(decoder.decode(item.bytes)) as TermRecord);
  return record;
}

/** What was read of terms: every write that carries one looks it up. */
const records = new WeakMap<object, TermRecord>();

const decoder = new TextDecoder();
const encoder = new TextEncoder();

/** What terms need. */
export interface TermsOptions {
  // deno-lint-ignore no-explicit-any -- terms do not look at values
  store: LogStore<any>;
  kv: Deno.Kv;
  clock: Clock;
  holder: string;
  owner: boolean;
  /** Default `LEASE_MS`. */
  leaseMs?: number;
}

/** What was last seen of another holder's lease. */
interface Seen {
  count: number;
  /** When that was seen first. */
  at: number;
  /** When it was read. */
  lookedAt: number;
}

/** See the module's text. */
export class LeaseTerms implements Terms {
  readonly holder: string;
  readonly #o: TermsOptions;
  readonly #leaseMs: number;
  readonly #renewEveryMs: number;
  readonly #held: Map<string, { term: Term; end: () => void; over: Promise<void> }> = new Map();
  readonly #seen: Map<string, Seen> = new Map();
  #count = 0;
  #renewedAt = -Infinity;
  #timer: Timer | undefined;
  #closed = false;

  constructor(options: TermsOptions) {
    this.#o = options;
    this.holder = options.holder;
    this.#leaseMs = options.leaseMs ?? LEASE_MS;
    this.#renewEveryMs = Math.min(LEASE_RENEW_EVERY_MS, this.#leaseMs / 3);
    options.store.onGroup((group) => {
      if (this.#held.size === 0) return;
      for (const { item } of group.changes) {
        if (item.key.charCodeAt(0) === 0x21) this.#check(group.root);
      }
    });
  }

  /** Keeps this process's lease alive from now on. False when it could not be written. */
  async live(): Promise<boolean> {
    return this.#o.owner || await this.#renew();
  }

  async acquire(name: string): Promise<Term | undefined> {
    const { store, owner } = this.#o;
    if (this.#closed) return undefined;
    if (!owner && !await this.#renew()) return undefined;
    const current = termAt(store.root(), name);
    const held = this.#held.get(name);
    if (held !== undefined && held.term.fence === current?.fence) return held.term;
    // One's own that is not held any more lapsed. It is taken anew, as from anybody: its number is in writes that
    // may still be under way, and its revision says nothing of what was written under it.
    const holder = current?.holder ?? "";
    if (holder !== "" && holder !== this.holder && !owner) {
      if (!await this.isDead(holder)) return undefined;
    }
    const taken = await store.writeInternal((draft) => {
      const found = termAt(draft.root, name);
      // Somebody was faster; whether they live is for the next attempt to see.
      if (found?.fence !== current?.fence) return found;
      const next = { holder: this.holder, fence: (current?.fence ?? 0) + 1 };
      draft.putInternal(termKey(name), encoder.encode(JSON.stringify(next)));
      return next;
    });
    return taken?.holder === this.holder ? this.#keep(name, taken) : undefined;
  }

  /** Whether all terms that there are are held here. */
  leadsAll(): boolean {
    const prefix = termKey("");
    for (const item of btree.scan(this.#o.store.root(), prefix, btree.prefixEnd(prefix))) {
      const name = item.key.slice(prefix.length);
      if (!this.#held.has(name)) return false;
    }
    return this.#held.size > 0;
  }

  async release(term: Term): Promise<void> {
    await this.#o.store.writeInternal((draft) => {
      const found = termAt(draft.root, term.name);
      if (found?.fence !== term.fence || found.holder !== term.holder) return;
      const next = { holder: "", fence: term.fence };
      draft.putInternal(termKey(term.name), encoder.encode(JSON.stringify(next)));
    });
    this.#end(term.name, term.fence);
  }

  lost(term: Term): Promise<void> {
    const held = this.#held.get(term.name);
    return held?.term.fence === term.fence ? held.over : Promise.resolve();
  }

  /** Ends all terms here and the lease with them: others may take the terms at once. */
  async close(): Promise<void> {
    this.#closed = true;
    this.#timer?.cancel();
    for (const [name, { term }] of [...this.#held]) this.#end(name, term.fence);
    if (!this.#o.owner) await this.#o.kv.delete(leaseKey(this.holder)).catch(() => {});
  }

  #keep(name: string, record: TermRecord): Term {
    const held = this.#held.get(name);
    if (held?.term.fence === record.fence) return held.term;
    const { revision } = btree.get(this.#o.store.root(), termKey(name)) ?? {};
    const term: Term = Object.freeze({ name, ...record, revision });
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#held.set(name, { term, end: resolve, over: promise });
    return term;
  }

  #end(name: string, fence: number): void {
    const held = this.#held.get(name);
    if (held?.term.fence !== fence) return;
    this.#held.delete(name);
    held.end();
  }

  /** Ends the terms that the state gives to others. */
  #check(root: Root<unknown>): void {
    for (const [name, { term }] of [...this.#held]) {
      const current = termAt(root, name);
      if (current?.fence !== term.fence || current.holder !== this.holder) {
        this.#end(name, term.fence);
      }
    }
  }

  /** Renews this process's lease if it is due, and keeps renewing it. */
  async #renew(): Promise<boolean> {
    const { kv, clock } = this.#o;
    const now = clock.monotonic();
    if (now - this.#renewedAt < this.#renewEveryMs) return true;
    try {
      this.#count++;
      await patiently(clock, () => kv.set(leaseKey(this.holder), this.#count));
      this.#renewedAt = now;
    } catch {
      if (clock.monotonic() - this.#renewedAt >= this.#leaseMs) this.#lapse();
      return false;
    } finally {
      this.#arm();
    }
    return true;
  }

  /** Others may have taken what this process holds: it must not act on it any longer. */
  #lapse(): void {
    for (const [name, { term }] of [...this.#held]) this.#end(name, term.fence);
  }

  #arm(): void {
    if (this.#closed || this.#timer !== undefined) return;
    this.#timer = this.#o.clock.timer("background", this.#renewEveryMs, () => {
      this.#timer = undefined;
      this.#renewedAt = Math.min(
        this.#renewedAt,
        this.#o.clock.monotonic() - this.#renewEveryMs,
      );
      void this.#renew();
    });
  }

  /** Whether a holder has left, or was seen without a renewal for the length of a lease. */
  async isDead(holder: string): Promise<boolean> {
    const known = this.#seen.get(holder);
    const before = this.#o.clock.monotonic();
    // Of all who ask about one holder one reads. That it lived a moment ago is no ground to call it dead.
    const lived = known && before - known.at < this.#leaseMs;
    if (lived && before - known.lookedAt < LEASE_LOOK_EVERY_MS) return false;
    const entry = await this.#o.kv.get<number>(leaseKey(holder));
    // Nobody takes a term before its lease is written: without one, the holder has left.
    if (entry.value === null) {
      this.#seen.delete(holder);
      return true;
    }
    const count = entry.value;
    const now = this.#o.clock.monotonic();
    const seen = this.#seen.get(holder);
    const at = seen?.count === count ? seen.at : now;
    this.#seen.set(holder, { count, at, lookedAt: now });
    return now - at >= this.#leaseMs;
  }
}
