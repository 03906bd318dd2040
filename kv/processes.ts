/**
 * The processes that use one database: who they are, where they are reached, and what each keeps for all (the
 * connection of a node, say). See `Processes` in contract.ts.
 *
 * A record lives as long as its process's lease (`lease.ts`): who finds one whose lease has lapsed sweeps it, with the
 * places that it had. A place is no lock: the newest word counts, and a process that is asked for something that it has
 * no longer says so.
 */

import type { Clock } from "./clock.ts";
import type { Link, Processes, ProcessFacts, ProcessRecord } from "./contract.ts";
import {
  leaseKey,
  LINK_BELL_PREFIX,
  linkBellKey,
  linkPrefix,
  PLACE_PREFIX,
  placeKey,
  PROCESS_PREFIX,
  processKey,
} from "./keys.ts";
import type { LeaseTerms } from "./lease.ts";
import { type LinkHandler, Links } from "./links.ts";
import { KV_GET_MANY_MAX } from "./limits.ts";
import { patiently } from "./patience.ts";

/** What it is made of. */
export interface ProcessTableOptions {
  kv: Deno.Kv;
  clock: Clock;
  terms: LeaseTerms;
}

/** See the module's text. */
export class ProcessTable implements Processes {
  readonly #o: ProcessTableOptions;
  readonly #startedMs: number;
  readonly #places = new Set<string>();
  readonly #links: Links;
  #facts: ProcessFacts = {};

  constructor(options: ProcessTableOptions) {
    this.#o = options;
    this.#startedMs = options.clock.now();
    this.#links = new Links({ ...options, holder: options.terms.holder });
  }

  get self(): ProcessRecord {
    return { ...this.#facts, holder: this.#o.terms.holder, startedMs: this.#startedMs };
  }

  async announce(facts: ProcessFacts): Promise<void> {
    this.#facts = facts;
    await this.#o.terms.live();
    await this.#set(processKey(this.self.holder), this.self);
  }

  async live(): Promise<ProcessRecord[]> {
    const { kv, terms } = this.#o;
    const found: ProcessRecord[] = [];
    for await (const { value } of kv.list<ProcessRecord>({ prefix: PROCESS_PREFIX })) {
      if (value.holder === terms.holder) continue;
      if (await terms.isDead(value.holder)) await this.#sweep(value.holder);
      else found.push(value);
    }
    return [...found, this.self].sort((a, b) => a.startedMs - b.startedMs);
  }

  leads(): boolean {
    return this.#o.terms.leadsAll();
  }

  async take(place: string): Promise<void> {
    this.#places.add(place);
    await this.#o.terms.live();
    await this.#set(placeKey(place), this.self.holder);
  }

  async leave(place: string): Promise<void> {
    this.#places.delete(place);
    const { kv, clock } = this.#o;
    const entry = await kv.get(placeKey(place));
    if (entry.value !== this.self.holder) return;
    await patiently(clock, () => kv.atomic().check(entry).delete(entry.key).commit());
  }

  connect(holder: string, subject: string): Link {
    return this.#links.connect(holder, subject);
  }

  listen(handler: LinkHandler): void {
    this.#links.listen(handler);
  }

  async keeperOf(...places: readonly string[]): Promise<ProcessRecord | undefined> {
    const { kv, terms } = this.#o;
    const entries = await kv.getMany<string[]>(places.slice(0, KV_GET_MANY_MAX).map(placeKey));
    const holder = entries.find(({ value }) => value !== null)?.value;
    if (!holder) return undefined;
    if (holder === terms.holder) return this.self;
    if (await terms.isDead(holder)) {
      await this.#sweep(holder);
      return undefined;
    }
    const { value } = await kv.get<ProcessRecord>(processKey(holder));
    // One that has not said anything of itself yet lives all the same
    return value ?? { holder, startedMs: 0 };
  }

  /** Takes back everything that this process has said. */
  async close(): Promise<void> {
    this.#links.close();
    await Promise.all([...this.#places].map((place) => this.leave(place))).catch(() => {
      // Whoever finds them without a lease sweeps them
    });
    await this.#forget(this.self.holder).catch(() => {});
  }

  async #set(key: Deno.KvKey, value: unknown): Promise<void> {
    await patiently(this.#o.clock, () => this.#o.kv.set(key, value));
  }

  /** A process is dead, whatever its lease says: what it had is free. */
  async bury(holder: string): Promise<void> {
    if (holder !== this.#o.terms.holder) await this.#sweep(holder);
  }

  async #sweep(holder: string): Promise<void> {
    const { kv, terms } = this.#o;
    for await (const entry of kv.list<string>({ prefix: PLACE_PREFIX })) {
      if (entry.value === holder) await kv.atomic().check(entry).delete(entry.key).commit();
    }
    // Who was swept before may have been written to since
    const dead = new Set([holder]);
    for await (const { key } of kv.list({ prefix: LINK_BELL_PREFIX })) {
      const to = key[1] as string;
      if (to !== terms.holder && await terms.isDead(to)) dead.add(to);
    }
    // Its record goes last: while it is there, the next one who looks sweeps it
    await kv.delete(leaseKey(holder));
    for (const one of dead) await this.#forget(one);
  }

  /** Deletes what a process has said of itself, and what was said to it. */
  async #forget(holder: string): Promise<void> {
    const { kv } = this.#o;
    for await (const { key } of kv.list({ prefix: linkPrefix(holder) })) await kv.delete(key);
    await kv.atomic().delete(linkBellKey(holder)).delete(processKey(holder)).commit();
  }
}
