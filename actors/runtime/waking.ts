/**
 * Because of which revision a key is sent. Whoever tells a revision's event (the informers) or handles one (an actor)
 * says so for as long as it calls others; mailboxes look when a key arrives. All of that is synchronous, so that one
 * variable tells it exactly, and nobody in between has to hand it on.
 *
 * An actor is also woken by what it wrote itself. That is an echo: where anything else woke it too, that is the reason.
 */
import { OWN_REVISIONS_MAX } from "./limits.ts";

/** A revision that is a reason; below zero: its echo. 0: none, whoever sends does so of itself. */
export type Reason = number;

let reason: Reason = 0;

/** The reason that is being told now. */
export function told(): Reason {
  return reason;
}

/** Calls `tell` as what follows from a reason. */
export function telling(because: Reason, tell: () => void): void {
  const before = reason;
  reason = because;
  try {
    tell();
  } finally {
    reason = before;
  }
}

/** The better of two reasons: what others wrote before an echo, then the newer. */
export function better(one: Reason, other: Reason): Reason {
  if (one > 0 !== other > 0) return one > other ? one : other;
  return Math.abs(one) > Math.abs(other) ? one : other;
}

/** The newest revisions that an actor wrote. */
export class OwnRevisions {
  readonly #revisions = new Set<number>();
  /** The same in the order in which they came, round and round. */
  readonly #order: number[] = [];
  #next = 0;

  add(revision: number): void {
    this.#revisions.delete(this.#order[this.#next]);
    this.#revisions.add(revision);
    this.#order[this.#next] = revision;
    this.#next = (this.#next + 1) % OWN_REVISIONS_MAX;
  }

  /** A revision as the reason that it is for this actor. */
  reasonOf(revision: number): Reason {
    return this.#revisions.has(revision) ? -revision : revision;
  }
}
