/**
 * Fairness on one processor: how much of a turn one user may take. Seats alone do not help there: who sends sixty
 * requests at once has them all worked on before anybody else's is looked at, however few seats they take.
 *
 * In each turn a user's first requests are begun at once, as long as they are few and the turn is young; the others wait
 * for the turns to come, users by turns. Long answers are sent a few at a time for each user. Who lets more wait than can
 * be remembered is refused.
 *
 * A turn is one of the event loop's while one user asks. That is no good as soon as there are several: a loop that always
 * finds work looks at the sockets only now and then (measured: every 61st time), and there the others' requests lie behind
 * the flood's. So while several ask, a turn is a millisecond of rest: the flood is drawn into its own queue, the sockets are
 * looked at, and who asks little is answered as if alone.
 */
import type { Clock } from "../../kv/clock.ts";

/** Requests of one user that are begun in a turn. */
export const TURN_REQUESTS_MAX = 8;
/** After so long in a turn nobody's second request is begun, in ms. */
export const TURN_MS_MAX = 1.5;
/** The same while several users ask. */
export const SHARED_TURN_REQUESTS_MAX = 2;
/** A turn while several users ask, in ms. */
export const SHARED_TURN_MS = 1;
/** How long several users count as asking after they took turns, in ms. */
export const SHARED_MS = 1_000;
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
  readonly #clock: Pick<Clock, "manual" | "turn" | "monotonic" | "timer">;
  readonly #shares = new Map<string, Share>();
  #ticking = false;
  #since = 0;
  /** Who asked last, and until when several count as asking. */
  #last = "";
  #sharedUntil = 0;

  constructor(clock: Pick<Clock, "manual" | "turn" | "monotonic" | "timer">) {
    this.#clock = clock;
  }

  /** Notes who asks, whether or not it is by turns. */
  heard(user: string): void {
    if (user === this.#last) return;
    const first = this.#last === "";
    this.#last = user;
    if (!first) this.#sharedUntil = this.#clock.monotonic() + SHARED_MS;
  }

  /** Begins a user's request at once (undefined), or in a later turn (a promise), or not at all (false). */
  enter(user: string, long: boolean): undefined | false | Promise<void> {
    this.heard(user);
    let share = this.#shares.get(user);
    if (!share) this.#shares.set(user, share = { begun: 0, long: 0, waiting: [] });
    if (!this.#ticking) {
      this.#since = this.#clock.monotonic();
      this.#nextTurn();
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
    if (this.#ticking) return;
    this.#since = this.#clock.monotonic();
    this.#nextTurn();
  }

  #begin(share: Share, long: boolean): void {
    share.begun++;
    if (long) share.long++;
  }

  #fits(share: Share, long: boolean): boolean {
    if (long && share.long >= LONG_ANSWERS_MAX) return false;
    if (share.begun === 0) return true;
    return share.begun < (this.#shared ? SHARED_TURN_REQUESTS_MAX : TURN_REQUESTS_MAX) &&
      this.#clock.monotonic() - this.#since < TURN_MS_MAX;
  }

  get #shared(): boolean {
    return !this.#clock.manual && this.#since < this.#sharedUntil;
  }

  #nextTurn(): void {
    this.#ticking = true;
    const tick = () => this.#tick();
    // A clock that stands still has no rest to give
    if (this.#shared) this.#clock.timer("work", SHARED_TURN_MS, tick);
    else void this.#clock.turn().then(tick);
  }

  /** A new turn: those who wait go on, one of each user at a time. */
  #tick(): void {
    this.#ticking = false;
    this.#since = this.#clock.monotonic();
    for (const [user, share] of this.#shares) {
      share.begun = 0;
      if (share.waiting.length === 0 && share.long === 0) this.#shares.delete(user);
    }
    let any = false;
    const most = this.#shared ? SHARED_TURN_REQUESTS_MAX : TURN_REQUESTS_MAX;
    for (let more = true; more;) {
      more = false;
      for (const share of this.#shares.values()) {
        const next = share.waiting[0];
        // What goes on is only noted here: its work comes after this loop, so that time says nothing yet
        if (!next || share.begun >= most) continue;
        if (next.long && share.long >= LONG_ANSWERS_MAX) continue;
        share.waiting.shift();
        this.#begin(share, next.long);
        next.go();
        more = any = true;
      }
    }
    // Nobody went on: all that wait have long answers to come, and the end of one is heard
    if (any) this.#nextTurn();
  }
}
