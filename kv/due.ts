/**
 * When a cluster that sleeps has something to do, though nobody asks: a record for each process that was awake, outside
 * the log, which says when the next of its work is due, or that it is awake. Whoever looks now and then (cron) reads these
 * records and nothing else.
 *
 * - A process that was ended without a word leaves the record of one that is awake: who looks wakes the cluster.
 * - Who goes to sleep and has led alone removes what the others left that sleep already or are dead: it knows more. Who
 *   has not leaves their records, and says nothing of its own unless it has led something.
 */

import { DUE_PREFIX, dueKey } from "./keys.ts";

/** What one process says. */
export interface DueRecord {
  /** The process (`Terms.holder`) that says so. */
  readonly holder: string;
  /** Wall time; 0: it is awake, or died awake. */
  readonly at: number;
}

/** See the module's text. */
export class DueRecords {
  readonly #kv: Deno.Kv;
  readonly #instance: string;

  constructor(kv: Deno.Kv, instance: string) {
    this.#kv = kv;
    this.#instance = instance;
  }

  /** This process is awake. */
  async awake(holder: string): Promise<void> {
    await this.#kv.set(dueKey(this.#instance), { holder, at: 0 });
  }

  /**
   * This process goes to sleep until `at`; undefined: for good. `others`: which of the other processes live, where this
   * one has led alone.
   */
  async asleep(record: Partial<DueRecord>, others?: ReadonlySet<string>): Promise<void> {
    const op = this.#kv.atomic();
    const all = this.#kv.list<DueRecord>({ prefix: DUE_PREFIX });
    for await (const { key, value } of others ? all : []) {
      if (value.at > 0 || !others?.has(value.holder)) op.delete(key);
    }
    const own = dueKey(this.#instance);
    if (record.at === undefined) op.delete(own);
    else op.set(own, record);
    await op.commit();
  }

  /** The earliest of all, one read; undefined: nothing is due. */
  async earliest(): Promise<number | undefined> {
    let first: number | undefined;
    for await (const { value } of this.#kv.list<DueRecord>({ prefix: DUE_PREFIX })) {
      if (first === undefined || value.at < first) first = value.at;
    }
    return first;
  }
}
