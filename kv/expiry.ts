/**
 * Events live for an hour by age: a sweep deletes them through ordinary writes, so that watchers see them
 * go. Under pressure of the store's bound the oldest go early: an event is never worth a refused write.
 *
 * Sweeps are so many seconds apart; those that would find nothing are left out, and a store without events has no timer.
 */

import type { Clock, Timer } from "./clock.ts";
import { EVENTS_SWEEP_DELETES, EVENTS_SWEEP_EVERY_MS, PRESSURE_TARGET_SHARE } from "./limits.ts";
import type { LogStore } from "./store.ts";

/** The sweep of the events store. */
export class EventsExpiry<T> {
  readonly #store: LogStore<T>;
  readonly #clock: Clock;
  readonly #ttlMs: number;
  #timer: Timer | undefined;
  /** When the timer goes off (monotonic). */
  #armedFor = Infinity;
  #isSweeping = false;
  readonly #startedAt: number;
  #sweeping: Promise<unknown> = Promise.resolve();
  #closed = false;
  /** Nothing is left whose last write is at or before this. */
  #sweptTo = 0;

  constructor(store: LogStore<T>, clock: Clock, ttlMs: number) {
    this.#store = store;
    this.#clock = clock;
    this.#ttlMs = ttlMs;
    this.#startedAt = clock.monotonic();
    store.onGroup(() => this.#arm());
    this.#arm();
  }

  /** Deletes what has expired; returns how many. */
  async sweep(): Promise<number> {
    const { expired, isPressed } = this.#due();
    let deleted = await this.#deleteUpTo(expired);
    if (isPressed) deleted += await this.#deleteOldest();
    return deleted;
  }

  /** Up to which revision all has expired, and whether room is wanted beside. */
  #due(): { expired: number; isPressed: boolean; isNone: boolean } {
    const expired = this.#store.revisionAt(this.#clock.now() - this.#ttlMs);
    const isPressed = this.#isPressed();
    return { expired, isPressed, isNone: expired <= this.#sweptTo && !isPressed };
  }

  #isPressed(): boolean {
    const { liveBytes, bytesMax } = this.#store.fill();
    return liveBytes > bytesMax * PRESSURE_TARGET_SHARE;
  }

  /** Stops; resolves when no sweep is under way. */
  async close(): Promise<void> {
    this.#closed = true;
    this.#timer?.cancel();
    await this.#sweeping;
  }

  /** Sets the timer for the first sweep that finds something. */
  #arm(): void {
    if (this.#closed || this.#isSweeping) return;
    const wait = this.#waitMs();
    if (wait === undefined) return;
    const now = this.#clock.monotonic();
    const since = now - this.#startedAt;
    const sweeps = Math.max(
      Math.ceil((since + wait) / EVENTS_SWEEP_EVERY_MS),
      Math.floor(since / EVENTS_SWEEP_EVERY_MS) + 1,
    );
    const at = this.#startedAt + sweeps * EVENTS_SWEEP_EVERY_MS;
    if (at >= this.#armedFor) return;
    this.#timer?.cancel();
    this.#armedFor = at;
    this.#timer = this.#clock.timer("background", at - now, () => this.#tick());
  }

  #tick(): void {
    this.#armedFor = Infinity;
    if (this.#due().isNone) return this.#arm();
    this.#isSweeping = true;
    this.#sweeping = this.sweep().catch(() => {
      // What could not be deleted now is found again by the next sweep.
    }).then(() => {
      this.#isSweeping = false;
      this.#arm();
    });
  }

  /** How long until something expires; 0 when room is wanted, undefined when there is nothing. */
  #waitMs(): number | undefined {
    if (this.#isPressed()) return 0;
    // What comes later expires later.
    if (this.#armedFor < Infinity) return undefined;
    const after = this.#store.timeAfter(this.#sweptTo);
    return after === undefined ? undefined : after + this.#ttlMs - this.#clock.now();
  }

  /** Deletes objects whose last write is at or before `revision`. */
  async #deleteUpTo(revision: number): Promise<number> {
    if (revision <= this.#sweptTo) return 0;
    const old: { key: string; revision: number }[] = [];
    for (const item of this.#store.view().scan("/")) {
      if (item.revision <= revision) old.push({ key: item.key, revision: item.revision });
    }
    for (let at = 0; at < old.length && !this.#closed; at += EVENTS_SWEEP_DELETES) {
      const some = old.slice(at, at + EVENTS_SWEEP_DELETES);
      await this.#store.write((draft) => {
        for (const { key, revision } of some) {
          // One that was counted up meanwhile lives on.
          if (draft.get(key)?.revision === revision) draft.delete(key);
        }
      });
    }
    if (!this.#closed) this.#sweptTo = revision;
    return old.length;
  }

  /** Deletes the oldest tenth. */
  async #deleteOldest(): Promise<number> {
    const revisions: number[] = [];
    for (const { revision } of this.#store.view().scan("/")) revisions.push(revision);
    if (revisions.length === 0) return 0;
    revisions.sort((a, b) => a - b);
    return await this.#deleteUpTo(revisions[Math.floor(revisions.length / 10)]);
  }
}
