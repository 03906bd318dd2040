/**
 * Fairness between processes that write to one database: each commit has one winner, and without manners
 * the one that won is ready first for the next. A winner that knows of others waits a random time, up to
 * twice their number times what its commit took. A process that keeps losing says so in a key, because
 * one that never wins is otherwise never seen.
 */

import type { Clock } from "./clock.ts";
import { type Space, wantKey } from "./keys.ts";
import { patiently } from "./patience.ts";
import { WRITER_SEEN_MS } from "./limits.ts";

/** The other writers of a store, as far as they were seen lately. */
export class Rivals {
  readonly #kv: Deno.Kv;
  readonly #space: Space;
  readonly #clock: Clock;
  readonly #writer: string;
  readonly #seen: Map<string, number> = new Map();

  constructor(kv: Deno.Kv, space: Space, clock: Clock, writer: string) {
    this.#kv = kv;
    this.#space = space;
    this.#clock = clock;
    this.#writer = writer;
  }

  /** A writer wrote, or wants to. */
  seen(writer: string): void {
    if (writer !== this.#writer) this.#seen.set(writer, this.#clock.monotonic());
  }

  /** How long to let others go first after a commit that took `commitMs`. */
  pauseMs(commitMs: number): number {
    if (this.#seen.size === 0) return 0;
    const since = this.#clock.monotonic() - WRITER_SEEN_MS;
    for (const [writer, at] of this.#seen) if (at < since) this.#seen.delete(writer);
    return this.#clock.random() * 2 * this.#seen.size * commitMs;
  }

  /** Says that this process wants its turn. */
  want(): void {
    const said = patiently(
      this.#clock,
      () => this.#kv.set(wantKey(this.#space), this.#writer),
    );
    said.catch(() => {
      // It is a wish; the next lost commit says it again.
    });
  }
}
