/**
 * Fairness on one processor: how much of a turn one user may take. Seats alone do not help there: who sends sixty
 * requests at once has them all worked on before anybody else's is looked at, however few seats they take.
 *
 * In each turn a user's first requests are begun at once, as long as they are few and the turn is young; the others wait
 * for the turns to come, users by turns. Long answers are sent a few at a time for each user, a slice of one of them in a
 * turn. Who lets more wait than can be remembered is refused; who is exempt of limits waits for turns, too, but is not.
 *
 * A turn is one of the event loop's while one user asks. That is no good as soon as there are several: a loop that always
 * finds work looks at the sockets only now and then (measured: every 61st time), and there the others' requests lie behind
 * the flood's. So while several ask, few requests are begun in a turn, and between two turns the sockets are looked at:
 * the flood is drawn into its own queue, and who asks little is answered nearly as if alone. The look must begin when the
 * turn's work is done; if it is over before, nothing has been looked at.
 *
 * Still the processor would never be free, and whoever comes would find it at work at each of its steps, and the garbage
 * collector more often. So while calm users ask often, what others do is rationed: much at once, then a part of the time.
 * Calm is who works for a small part of the time itself. The rest of the time is nobody's then, so it lasts no longer than calm
 * users ask, and a look now and then is not worth it; those who all do much share all of it. The cluster's own parts are
 * neither rationed nor reason for it: everybody waits for what they do. Nor are administrators rationed: upstream exempts
 * them of all limits.
 */
import type { Clock } from "../../kv/clock.ts";

/** Requests of one user that are begun in a turn as they come. */
export const TURN_REQUESTS_MAX = 32;
/** After so long in a turn nobody's second request is begun, in ms. */
export const TURN_MS_MAX = 1.5;
/** Requests that have waited and go on in a turn. */
export const TURN_WAITERS_MAX = 8;
/** Both, while several users ask: of somebody who is rationed, and of the others. */
export const RATIONED_TURN_REQUESTS_MAX = 1;
export const SHARED_TURN_REQUESTS_MAX = 2;
/** How long several users count as asking after they took turns, in ms. */
export const SHARED_MS = 1_000;
/** How long what users do is rationed after another, a calm one, asked, in ms. */
export const RATIONED_MS = 100;
/** Long answers of one user that are sent at once, and while several ask. */
export const LONG_ANSWERS_MAX = 2;
export const SHARED_LONG_ANSWERS_MAX = 1;
/** Requests of one user that wait for their turn. */
export const TURN_WAITING_MAX = 1_000;
/** Long work gives way after so long, in ms. */
export const SLICE_MS = 2;
/** The same while several users ask. */
export const SHARED_SLICE_MS = 0.1;
/** What a slice says of itself beyond this, it has waited; the same of a turn, in ms. */
export const SLICE_CHARGE_MS_MAX = 1;
export const TURN_CHARGE_MS_MAX = 2;
/** What of a request is done in other turns than that in which it is begun: it is read, and its answer sent, in ms. */
export const REQUEST_CHARGE_MS = 0.1;
/** Work that a user has done before it is rationed while calm ones ask, in ms. */
export const RATION_MS_MAX = 50;
/** Work beyond its ration that a user has to rest for, in ms: it was free to do more while nobody calm asked. */
export const RATION_DEBT_MS_MAX = TURN_CHARGE_MS_MAX;
/** The part of the time that its work has from then on. */
export const RATION_PART = 1 / 8;
/** Who works for a smaller part of the time is calm. */
export const CALM_PART = 1 / 4;
/** Users that are remembered whether or not they ask. */
const SHARES_KEPT = 1_024;

/** Who asks: a user, one who is exempt of limits, or a part of the cluster. */
export type Standing = "user" | "exempt" | "own";

interface Share {
  readonly user: string;
  /** Begun in the turn of this number. */
  turn: number;
  begun: number;
  /** Long answers under way. */
  long: number;
  standing: Standing;
  /** It has done much: until when nothing more of it is begun while others ask. */
  restsUntil: number;
  readonly waiting: { long: boolean; go: () => void }[];
}

/** Whether somebody asked after another, and not long ago. */
class Several {
  readonly #clock: Pick<Clock, "monotonic">;
  #last = "";
  /** Until when several count as asking. */
  until = 0;

  constructor(clock: Pick<Clock, "monotonic">) {
    this.#clock = clock;
  }

  heard(user: string): void {
    if (user === this.#last) return;
    if (this.#last !== "") this.until = this.#clock.monotonic() + SHARED_MS;
    this.#last = user;
  }

  get now(): boolean {
    return this.#clock.monotonic() < this.until;
  }
}

/** Who of those that do little asked last. */
class Calm {
  readonly #clock: Pick<Clock, "monotonic">;
  #last = { user: "", at: -Infinity };
  /** The last one but that. */
  #other = this.#last;

  constructor(clock: Pick<Clock, "monotonic">) {
    this.#clock = clock;
  }

  heard(user: string): void {
    if (user !== this.#last.user) this.#other = this.#last;
    this.#last = { user, at: this.#clock.monotonic() };
  }

  /** Until when another than this user counts as asking. */
  until(user: string): number {
    return (this.#last.user === user ? this.#other : this.#last).at + RATIONED_MS;
  }
}

/** See the module's text. */
export class Turns {
  readonly #clock: Pick<Clock, "manual" | "turn" | "monotonic" | "sleep">;
  readonly #asking: Several;
  /** The cluster's own parts aside. */
  readonly #calm: Calm;
  readonly #rations: Rations;
  readonly #shares = new Map<string, Share>();
  /** Those who let requests wait, the next one first. */
  readonly #queue: Share[] = [];
  #sharesMax = SHARES_KEPT;
  #turn = 0;
  #ticking = false;
  #since = 0;
  /** Whose requests were begun in this turn, one for each. */
  #began: Share[] = [];
  /** Somebody rests, and is looked at again when that is over. */
  #resting = false;

  constructor(clock: Pick<Clock, "manual" | "turn" | "monotonic" | "sleep">) {
    this.#clock = clock;
    this.#asking = new Several(clock);
    this.#calm = new Calm(clock);
    this.#rations = new Rations(clock);
  }

  /** Begins a user's request at once (undefined), or in a later turn (a promise), or not at all (false). */
  enter(
    user: string,
    long: boolean,
    standing: Standing = "user",
  ): undefined | false | Promise<void> {
    this.#asking.heard(user);
    if (standing !== "own" && this.#rations.isCalm(user)) this.#calm.heard(user);
    const share = this.#shareOf(user);
    share.standing = standing;
    if (!this.#ticking) {
      this.#since = this.#clock.monotonic();
      this.#nextTurn();
    }
    if (share.waiting.length === 0 && this.#fits(share, long)) {
      this.#begin(share, long);
      return undefined;
    }
    if (standing !== "exempt" && share.waiting.length >= TURN_WAITING_MAX) return false;
    if (share.waiting.length === 0) this.#queue.push(share);
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

  #shareOf(user: string): Share {
    let share = this.#shares.get(user);
    if (!share) {
      const turn = this.#turn;
      share = { user, turn, begun: 0, long: 0, standing: "user", restsUntil: 0, waiting: [] };
      this.#shares.set(user, share);
    } else if (share.turn !== this.#turn) {
      share.turn = this.#turn;
      share.begun = 0;
    }
    return share;
  }

  #begin(share: Share, long: boolean): void {
    share.begun++;
    if (long) share.long++;
    this.#began.push(share);
  }

  /** Notes who did this turn's work. */
  #charge(): void {
    const began = this.#began;
    this.#began = [];
    if (!this.#shared) return;
    const now = this.#clock.monotonic();
    const turnMs = Math.min(now - this.#since, TURN_CHARGE_MS_MAX);
    const workedMs = turnMs / began.length + REQUEST_CHARGE_MS;
    for (const share of began) {
      if (share.standing === "own") continue;
      const restMs = this.#rations.spend(share.user, workedMs);
      if (share.standing === "user") share.restsUntil = now + restMs;
    }
  }

  #fits(share: Share, long: boolean): boolean {
    if (this.#stuck(share, long)) return false;
    if (share.begun === 0) return true;
    return share.begun < this.#mostOf(share, TURN_REQUESTS_MAX) &&
      this.#clock.monotonic() - this.#since < TURN_MS_MAX;
  }

  /** How many of somebody's requests are a whole turn's. */
  #mostOf({ standing }: Share, alone: number): number {
    if (!this.#shared) return alone;
    return standing === "user" ? RATIONED_TURN_REQUESTS_MAX : SHARED_TURN_REQUESTS_MAX;
  }

  /** Whether nothing of a user's may be begun, whoever else waits. */
  #stuck(share: Share, long: boolean): boolean {
    const most = this.#shared ? SHARED_LONG_ANSWERS_MAX : LONG_ANSWERS_MAX;
    return (long && share.long >= most) ||
      (share.restsUntil > this.#since && this.#since < this.#calm.until(share.user));
  }

  /** How long a slice of long work may be now, in ms. */
  get sliceMs(): number {
    return this.sharing ? SHARED_SLICE_MS : SLICE_MS;
  }

  /** A slice of a user's long work has taken so long; how long the next one waits, in ms: only while calm ones ask. */
  worked(user: string, workedMs: number): number {
    const { standing } = this.#shares.get(user) ?? { standing: "user" };
    // Who works long asks all the time, though nothing new of it comes in
    this.#asking.heard(user);
    if (standing === "own" || !this.#asking.now) return 0;
    const restMs = this.#rations.spend(user, Math.min(workedMs, SLICE_CHARGE_MS_MAX));
    return standing === "user" && this.#clock.monotonic() < this.#calm.until(user) ? restMs : 0;
  }

  /** Whether several users ask. */
  get sharing(): boolean {
    return this.#asking.now;
  }

  get #shared(): boolean {
    return !this.#clock.manual && this.#since < this.#asking.until;
  }

  #nextTurn(): void {
    this.#ticking = true;
    void this.#clock.turn(false).then(() => {
      this.#charge();
      if (this.#queue.length === 0) this.#tick();
      else void this.#clock.turn(this.#shared || undefined).then(() => this.#tick());
    });
  }

  /** A new turn: those who wait go on, one of each user at a time. */
  #tick(): void {
    this.#ticking = false;
    this.#since = this.#clock.monotonic();
    this.#turn++;
    const queue = this.#queue;
    /** Of the turn. */
    let left = 1;
    let stuck = 0;
    while (left > 0 && stuck < queue.length) {
      const share = queue.shift()!;
      const next = share.waiting[0];
      if (this.#stuck(share, next.long)) {
        queue.push(share);
        stuck++;
        continue;
      }
      stuck = 0;
      left -= 1 / this.#mostOf(share, TURN_WAITERS_MAX);
      share.waiting.shift();
      // What goes on is only noted here: its work comes after this loop, so that time says nothing yet
      this.#begin(this.#shareOf(share.user), next.long);
      if (share.waiting.length > 0) queue.push(share);
      next.go();
    }
    // Where all that wait rest, or have long answers to come, the end of that is heard
    if (stuck < queue.length) this.#nextTurn();
    else if (queue.length > 0) this.#rest();
    if (this.#shares.size > this.#sharesMax) this.#forget();
  }

  /** Looks again at those who wait when the first of them has rested. */
  #rest(): void {
    const resting = this.#queue.map(({ restsUntil }) => restsUntil)
      .filter((until) => until > this.#since);
    if (this.#resting || resting.length === 0) return;
    this.#resting = true;
    void this.#clock.sleep(Math.min(...resting) - this.#since).then(() => {
      this.#resting = false;
      if (this.#ticking) return;
      this.#since = this.#clock.monotonic();
      this.#nextTurn();
    });
  }

  /** Forgets those who have nothing under way. */
  #forget(): void {
    for (const [user, { waiting, long }] of this.#shares) {
      if (waiting.length === 0 && long === 0) this.#shares.delete(user);
    }
    this.#sharesMax = Math.max(SHARES_KEPT, 2 * this.#shares.size);
  }
}

/**
 * What users may still do while others ask: some at once, more as time goes by. A slice of work is short, but where one
 * follows the other the processor is never free, and whoever comes waits for a slice at each of its steps.
 */
export class Rations {
  readonly #clock: Pick<Clock, "monotonic">;
  /** What each has left, in ms, before it rests and before it is no longer calm, and when that was said. Who is not in it has all. */
  readonly #left = new Map<string, { restMs: number; calmMs: number; at: number }>();

  constructor(clock: Pick<Clock, "monotonic">) {
    this.#clock = clock;
  }

  /** Whether a user works for a small part of the time. */
  isCalm(user: string): boolean {
    const left = this.#left.get(user);
    return !left || left.calmMs + (this.#clock.monotonic() - left.at) * CALM_PART > 0;
  }

  /** Notes that a user has worked so long; how long it must wait before it goes on, in ms. */
  spend(user: string, workedMs: number): number {
    const now = this.#clock.monotonic();
    let left = this.#left.get(user);
    if (!left) {
      left = { restMs: RATION_MS_MAX, calmMs: RATION_MS_MAX, at: now };
      this.#left.set(user, left);
      if (this.#left.size > SHARES_KEPT) this.#left.delete(this.#left.keys().next().value!);
    }
    const passedMs = now - left.at;
    left.restMs = spent(left.restMs, passedMs * RATION_PART, workedMs);
    left.calmMs = spent(left.calmMs, passedMs * CALM_PART, workedMs);
    left.at = now;
    return Math.max(0, -left.restMs / RATION_PART);
  }
}

/** What is left of a ration that has grown and was worked on; a debt is a turn's at most. */
function spent(leftMs: number, grownMs: number, workedMs: number): number {
  return Math.max(-RATION_DEBT_MS_MAX, Math.min(RATION_MS_MAX, leftMs + grownMs) - workedMs);
}

/**
 * Long work, a slice at a time, of one user after the other: between two slices the sockets are looked at, however many
 * wait.
 */
export class Slices {
  readonly #clock: Pick<Clock, "turn">;
  /** Who waits, the next one first, and what each waits with. */
  readonly #waiting = new Map<string, (() => void)[]>();
  #ticking = false;

  constructor(clock: Pick<Clock, "turn">) {
    this.#clock = clock;
  }

  /** Resolves when the next slice may begin. */
  turn(user = ""): Promise<void> {
    if (!this.#ticking) this.#next();
    return new Promise((go) => {
      const own = this.#waiting.get(user);
      if (own) own.push(go);
      else this.#waiting.set(user, [go]);
    });
  }

  #next(): void {
    this.#ticking = true;
    void this.#clock.turn(true).then(() => {
      this.#ticking = false;
      this.#go();
      if (this.#waiting.size === 0) return;
      // The look of those who wait begins when this slice is done
      this.#ticking = true;
      void this.#clock.turn(false).then(() => this.#next());
    });
  }

  #go(): void {
    for (const [user, own] of this.#waiting) {
      const go = own.shift()!;
      // Whoever has more behind it waits behind the others
      this.#waiting.delete(user);
      if (own.length > 0) this.#waiting.set(user, own);
      return go();
    }
  }
}
