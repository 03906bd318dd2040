/**
 * Fairness on one processor: how much of a turn of the event loop one user may take. Seats alone do not help there: who
 * sends sixty requests at once has them all worked on before anybody else's is looked at, however few seats they take.
 *
 * In each turn a user's first request is begun at once, the next ones as long as they are few and the turn is young; the
 * others wait for the turns to come, users by turns. Long answers are sent a few at a time for each user. Who lets more
 * wait than can be remembered is refused.
 */
import type { Clock } from "../../kv/clock.ts";

/** Requests of one user that are begun in a turn. */
export const TURN_REQUESTS_MAX = 8;
/** After so long in a turn nobody's second request is begun, in ms. */
export const TURN_MS_MAX = 1.5;
/** Long answers of one user that are sent at once. */
export const LONG_ANSWERS_MAX = 2;
/** Requests of one user that wait for their turn. */
export const TURN_WAITING_MAX = 1_000;

interface Share {
  /** Begun in this turn. */
  begun: number;
  /** Long answers under way. */
  long: number;
  readonly waiting: { long: boolean; go: () => void }[];
}

/** See the module's text. */
export class Turns {
  readonly #clock: Pick<Clock, "turn" | "monotonic">;
  readonly #shares = new Map<string, Share>();
  #ticking = false;
  #since = 0;

  constructor(clock: Pick<Clock, "turn" | "monotonic">) {
    this.#clock = clock;
  }

  /** Begins a user's request at once (undefined), or in a later turn (a promise), or not at all (false). */
  enter(user: string, long: boolean): undefined | false | Promise<void> {
    let share = this.#shares.get(user);
    if (!share) this.#shares.set(user, share = { begun: 0, long: 0, waiting: [] });
    if (!this.#ticking) {
      this.#ticking = true;
      this.#since = this.#clock.monotonic();
      void this.#clock.turn().then(() => this.#tick());
    }
    if (share.waiting.length === 0 && this.#fits(share, long)) {
      this.#begin(share, long);
      return undefined;
    }
    if (share.waiting.length >= TURN_WAITING_MAX) return false;
    return new Promise((go) => share.waiting.push({ long, go }));
  }

  /** A long answer has been sent. */
  left(user: string): void {
    const share = this.#shares.get(user);
    if (!share) return;
    share.long--;
    if (!this.#ticking) this.#tick();
  }

  #begin(share: Share, long: boolean): void {
    share.begun++;
    if (long) share.long++;
  }

  #fits(share: Share, long: boolean): boolean {
    if (long && share.long >= LONG_ANSWERS_MAX) return false;
    if (share.begun === 0) return true;
    return share.begun < TURN_REQUESTS_MAX &&
      this.#clock.monotonic() - this.#since < TURN_MS_MAX;
  }

  /** A new turn: those who wait go on, one of each user at a time. */
  #tick(): void {
    this.#ticking = false;
    this.#since = this.#clock.monotonic();
    let busy = false;
    for (const [user, share] of this.#shares) {
      share.begun = 0;
      if (share.waiting.length === 0 && share.long === 0) this.#shares.delete(user);
    }
    for (let more = true; more;) {
      more = false;
      for (const share of this.#shares.values()) {
        const next = share.waiting[0];
        // What goes on is only noted here: its work comes after this loop, so that time says nothing yet
        if (!next || share.begun >= TURN_REQUESTS_MAX) continue;
        if (next.long && share.long >= LONG_ANSWERS_MAX) continue;
        share.waiting.shift();
        this.#begin(share, next.long);
        next.go();
        more = busy = true;
      }
    }
    if (!busy) return;
    this.#ticking = true;
    void this.#clock.turn().then(() => this.#tick());
  }
}
