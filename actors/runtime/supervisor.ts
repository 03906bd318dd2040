/**
 * A supervisor: a set of actors that one parent answers for. The system's root has one, and so has
 * every actor for its children. It starts them, restarts them with a growing pause when they fall,
 * tells the parent when one gives up, and stops them in the reverse order of their start.
 *
 * Guarantee (contract.ts): supervised.
 */
import type { Clock, Timer } from "../../kv/clock.ts";
import type { ActorReport } from "./contract.ts";
import { CHILD_RESTARTS_MAX, RESTART_MS_MAX, RESTART_MS_MIN } from "./limits.ts";

/** What a supervisor needs of an actor. */
export interface Supervised {
  readonly address: string;
  /** Begins a life. Whoever falls calls the supervisor's `fell`. */
  begin(): void;
  stop(): Promise<void>;
  report(): ActorReport;
  busy(): boolean;
}

/** The parent's word on a child that gave up: true when it takes the matter over (no more restarts). */
export type GaveUp = (child: Supervised, error: unknown) => boolean;

/** See the module's text. */
export class Supervisor {
  readonly #clock: Clock;
  readonly #gaveUp: GaveUp;
  readonly #children = new Map<string, { child: Supervised; falls: number; timer?: Timer }>();
  #stopping = false;

  constructor(clock: Clock, gaveUp: GaveUp = () => false) {
    this.#clock = clock;
    this.#gaveUp = gaveUp;
  }

  /** Takes a child in and starts it. Throws when its address is taken. */
  adopt(child: Supervised): void {
    if (this.#stopping) throw new Error(`cannot start actor "${child.address}": its parent stops`);
    if (this.#children.has(child.address)) {
      throw new Error(`cannot start actor "${child.address}": it runs already`);
    }
    this.#children.set(child.address, { child, falls: 0 });
    child.begin();
  }

  has(address: string): boolean {
    return this.#children.has(address);
  }

  /** A child is up: its pauses begin small again. */
  rose(child: Supervised): void {
    const entry = this.#children.get(child.address);
    if (entry) entry.falls = 0;
  }

  /** A child fell. Starts it again after a pause, unless its parent takes over. */
  fell(child: Supervised, error: unknown): void {
    const entry = this.#children.get(child.address);
    if (!entry || this.#stopping) return;
    entry.falls++;
    if (entry.falls >= CHILD_RESTARTS_MAX && this.#gaveUp(child, error)) {
      this.#children.delete(child.address);
      void child.stop();
      return;
    }
    const pauseMs = Math.min(RESTART_MS_MIN * 2 ** (entry.falls - 1), RESTART_MS_MAX);
    entry.timer = this.#clock.timer("work", pauseMs, () => {
      entry.timer = undefined;
      child.begin();
    });
  }

  /** Stops one child and forgets it. */
  async release(child: Supervised): Promise<void> {
    const entry = this.#children.get(child.address);
    entry?.timer?.cancel();
    await child.stop();
    if (entry && this.#children.get(child.address) === entry) this.#children.delete(child.address);
  }

  /** Stops all, the youngest first. No child can be taken in any more. */
  async stop(): Promise<void> {
    this.#stopping = true;
    for (const { child } of [...this.#children.values()].reverse()) await this.release(child);
  }

  *children(): Iterable<Supervised> {
    for (const { child } of this.#children.values()) yield child;
  }
}
