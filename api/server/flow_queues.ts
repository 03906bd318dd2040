/**
 * The queues of one priority level: who waits, who is served next. Fair queuing by virtual time, as upstream has it:
 *
 * - A flow is dealt a hand of queues; a request joins the one with the least work waiting.
 * - R is how much work each busy queue would have been given so far if all were served evenly. A queue's next request
 *   begins, in these terms, when the one before it is done; the queue whose next request would be done first is served.
 * - A request takes seats while it is served, and for a while afterwards where its watchers have work with it. A wide
 *   one that does not fit yet holds up the others, so that it is not starved by narrow ones.
 * - One flow never has all seats of a level that has several: its requests may wait long for others themselves (for
 *   webhooks that lead back here), and nobody else would be served until then. Upstream has no such bound.
 *
 * Time is in ms, work in seat-ms.
 */
import type { Clock, Timer } from "../../kv/clock.ts";
import { Integrator } from "./flow_shares.ts";
import { type Place, Standing } from "./standing.ts";

/** What a request is thought to cost. */
export interface Work {
  /** Seats while it is served. */
  seats: number;
  /** Seats afterwards, for so long. */
  finalSeats: number;
  finalMs: number;
}

/** How a level queues. `queues`: 0 refuses what does not fit, -1 lets everything in. */
export interface Queuing {
  queues: number;
  hand: number;
  lengthMax: number;
}

/** Who asks: for the queues themselves only `hand` matters. */
export interface FlowLabel {
  schema: string;
  flow: string;
  /** The queues it may use. */
  hand: readonly number[];
}

/** How long serving a request is thought to take, before it is known (upstream's). */
const SERVICE_MS = 3;

/** One part in so many of a level's seats is left by each flow to others. */
const LEFT_PART = 8;

/** Why a request is not served. */
export type Refusal = "queue-full" | "concurrency-limit" | "time-out";

/** A request in a queue, or being served. */
export interface Ticket {
  readonly label: FlowLabel;
  readonly work: Work;
  readonly width: number;
  readonly arrivedAt: number;
  readonly arrivalR: number;
  startedAt: number;
  queue?: FlowQueue;
  /** Settles the wait; absent once it is settled. */
  decide?: (served: boolean) => void;
  timer?: Timer;
  /** Whose request it is, for those who look; nothing once it is over, as the collector may keep a dead ticket a while. */
  details: unknown;
  /** Where it stands among those that are served. */
  place?: Place<Ticket>;
}

/** A ticket that waits. */
export interface Waiting {
  ticket: Ticket;
  /** False: its time was over, or it was given up. */
  served: Promise<boolean>;
}

/** One queue. */
export interface FlowQueue {
  index: number;
  waiting: Ticket[];
  readonly serving: Standing<Ticket>;
  seatsInUse: number;
  seatsWaiting: number;
  workWaiting: number;
  nextR: number;
}

/** Counts that metrics and dumps show. */
export interface QueueCounts {
  dispatched: number;
  rejected: number;
  timedOut: number;
  cancelled: number;
}

/** See the module's text. */
export class QueueSet {
  /** Each from when somebody first wants it: most never are. */
  readonly #queues: (FlowQueue | undefined)[] = [];
  /** Those that are served without a queue. */
  readonly unqueued = new Standing<Ticket>();
  readonly counts: QueueCounts = { dispatched: 0, rejected: 0, timedOut: 0, cancelled: 0 };
  /** How many seats were wanted. */
  readonly demand: Integrator;
  seatsInUse = 0;
  seatsWaiting = 0;
  waiting = 0;
  serving = 0;
  r = 0;
  limit = 0;
  queuing: Queuing = { queues: 0, hand: 1, lengthMax: 0 };
  readonly #clock: Pick<Clock, "monotonic" | "timer">;
  /** Seats of each flow that has some. */
  readonly #seatsOf = new Map<string, number>();
  /** Queues that have somebody. */
  #active = 0;
  #lastAt: number;
  #dealt = 0;
  #robin = 0;
  readonly #stirred: () => void;

  /** `stirred` is called when seats are wanted for the first time since the demand was asked for. */
  constructor(clock: Pick<Clock, "monotonic" | "timer">, stirred: () => void = () => {}) {
    this.#clock = clock;
    this.#stirred = stirred;
    this.#lastAt = clock.monotonic();
    this.demand = new Integrator(this.#lastAt);
  }

  /** All of them, for those who look. */
  get queues(): readonly FlowQueue[] {
    return Array.from(this.#queues, (_, index) => this.#queue(index));
  }

  get idle(): boolean {
    return this.waiting === 0 && this.serving === 0;
  }

  /** Changes how it queues; more queues are made, fewer are left as they empty. */
  configure(queuing: Queuing, limit: number): void {
    this.#advance();
    this.queuing = queuing.queues > 0 ? queuing : { ...this.queuing, queues: queuing.queues };
    this.limit = limit;
    if (queuing.queues > this.#queues.length) this.#queues.length = queuing.queues;
    this.#dispatch();
  }

  #queue(index: number): FlowQueue {
    return this.#queues[index] ??= {
      index,
      waiting: [],
      serving: new Standing(),
      seatsInUse: 0,
      seatsWaiting: 0,
      workWaiting: 0,
      nextR: 0,
    };
  }

  /** A ticket that is served at once, one that waits, at most for `waitMs(now)`, or why it is refused. */
  enter(
    label: FlowLabel,
    work: Work,
    { waitMs, details }: { waitMs: (now: number) => number; details: unknown },
  ): Ticket | Waiting | Refusal {
    const now = this.#advance();
    const ticket: Ticket = {
      label,
      work,
      width: Math.max(work.seats, work.finalSeats),
      arrivedAt: now,
      arrivalR: this.r,
      startedAt: now,
      details,
    };
    if (this.queuing.queues < 1) {
      if (!this.#fits(ticket.width)) {
        this.counts.rejected++;
        return "concurrency-limit";
      }
      this.#serve(ticket, now);
      return ticket;
    }
    const queue = this.#chosen(label.hand);
    const full = queue.waiting.length >= this.queuing.lengthMax;
    if (full && this.seatsInUse >= this.limit) {
      this.counts.rejected++;
      return "queue-full";
    }
    return this.#wait(ticket, queue, waitMs);
  }

  /**
   * Gives a ticket's seats back: at once, or when its watchers are thought to be done. Returns how long it was served.
   */
  leave(ticket: Ticket): number {
    const now = this.#advance();
    this.serving--;
    const { queue, work } = ticket;
    ticket.details = undefined;
    (queue?.serving ?? this.unqueued).remove(ticket.place!);
    if (queue) {
      // It was charged for a guess; now it is known
      queue.nextR -= work.seats * (SERVICE_MS - (now - ticket.startedAt));
      this.#bound(queue);
    }
    if (work.finalMs > 0) {
      this.#clock.timer("background", work.finalMs, () => {
        this.#advance();
        this.#release(ticket);
        this.#dispatch();
      });
    } else this.#release(ticket);
    this.#dispatch();
    return now - ticket.startedAt;
  }

  #release(ticket: Ticket): void {
    this.seatsInUse -= ticket.width;
    this.#noteDemand();
    const { queue } = ticket;
    if (!queue) return;
    this.#take(ticket, -ticket.width);
    queue.seatsInUse -= ticket.width;
    if (queue.serving.size === 0 && queue.waiting.length === 0 && queue.seatsInUse === 0) {
      this.#active--;
      this.#dropEmpty();
    }
  }

  /** Queues beyond those that are wanted go when nobody is in them. */
  #dropEmpty(): void {
    for (;;) {
      if (this.#queues.length <= Math.max(this.queuing.queues, 0)) return;
      const last = this.#queues.at(-1);
      if (last && (last.waiting.length || last.serving.size || last.seatsInUse)) return;
      this.#queues.pop();
    }
  }

  /** Moves virtual time on. */
  #advance(): number {
    const now = this.#clock.monotonic();
    const ms = now - this.#lastAt;
    if (ms > 0) {
      this.#lastAt = now;
      if (this.#active > 0) {
        const seats = Math.min(this.seatsInUse + this.seatsWaiting, this.limit);
        this.r += ms * seats / this.#active;
      }
    }
    return now;
  }

  #chosen(hand: readonly number[]): FlowQueue {
    const offset = this.#dealt++ % hand.length;
    let best: FlowQueue | undefined;
    for (let i = 0; i < hand.length; i++) {
      const queue = this.#queue(hand[(offset + i) % hand.length]);
      if (!best || queue.workWaiting < best.workWaiting) best = queue;
      if (best.workWaiting === 0) break;
    }
    return best!;
  }

  #wait(
    ticket: Ticket,
    queue: FlowQueue,
    waitMs: (now: number) => number,
  ): Ticket | Waiting {
    if (queue.waiting.length === 0 && queue.serving.size === 0) {
      queue.nextR = this.r;
      if (queue.seatsInUse === 0) this.#active++;
    }
    ticket.queue = queue;
    // Nobody waits: it would leave its queue as soon as it is in
    const free = this.waiting === 0 && this.seatsInUse < this.limit;
    if (free && this.#fits(ticket.width) && this.#mayTake(ticket)) {
      if (queue.nextR < ticket.arrivalR) queue.nextR = ticket.arrivalR;
      this.#robin = queue.index;
      this.#serve(ticket, ticket.arrivedAt);
      queue.nextR += workOf(ticket);
      return ticket;
    }
    queue.waiting.push(ticket);
    queue.seatsWaiting += ticket.width;
    queue.workWaiting += workOf(ticket);
    this.waiting++;
    this.seatsWaiting += ticket.width;
    this.#noteDemand();
    this.#bound(queue);
    let served = false;
    ticket.decide = () => served = true;
    this.#dispatch(queue);
    if (served) return ticket;
    const { promise, resolve } = Promise.withResolvers<boolean>();
    ticket.decide = resolve;
    ticket.timer = this.#clock.timer(
      "background",
      waitMs(ticket.arrivedAt),
      () => this.giveUp(ticket, "timedOut"),
    );
    return { ticket, served: promise };
  }

  /** Takes a ticket out of its queue: its time is over, or its client has gone. */
  giveUp(ticket: Ticket, why: "timedOut" | "cancelled"): void {
    const { queue, decide } = ticket;
    if (!queue || !decide) return;
    this.#advance();
    this.#unqueue(ticket, queue);
    ticket.details = undefined;
    if (queue.waiting.length === 0 && queue.serving.size === 0 && queue.seatsInUse === 0) {
      this.#active--;
    }
    this.#bound(queue);
    this.counts[why]++;
    this.counts.rejected++;
    this.#noteDemand();
    decide(false);
    this.#dispatch();
  }

  #unqueue(ticket: Ticket, queue: FlowQueue): void {
    const at = queue.waiting.indexOf(ticket);
    queue.waiting.splice(at, 1);
    queue.seatsWaiting -= ticket.width;
    queue.workWaiting -= workOf(ticket);
    if (queue.waiting.length === 0) queue.workWaiting = 0;
    this.waiting--;
    this.seatsWaiting -= ticket.width;
    ticket.decide = undefined;
    ticket.timer?.cancel();
  }

  /** Serves as many as there are seats for; `joined` is the queue that somebody has just joined. */
  #dispatch(joined?: FlowQueue): void {
    while (this.waiting > 0 && this.seatsInUse < this.limit) {
      // Nearly always nobody else waits
      const queue = joined && joined.waiting.length === this.waiting ? joined : this.#next();
      const ticket = queue?.waiting[0];
      if (!queue || !ticket || !this.#fits(ticket.width) || !this.#mayTake(ticket)) return;
      this.#robin = queue.index;
      const { decide } = ticket;
      this.#unqueue(ticket, queue);
      this.#serve(ticket, this.#lastAt);
      queue.nextR += workOf(ticket);
      this.#bound(queue);
      decide!(true);
    }
  }

  #serve(ticket: Ticket, now: number): void {
    ticket.startedAt = now;
    this.serving++;
    this.seatsInUse += ticket.width;
    this.counts.dispatched++;
    const { queue } = ticket;
    ticket.place = (queue?.serving ?? this.unqueued).add(ticket);
    if (queue) {
      queue.seatsInUse += ticket.width;
      this.#take(ticket, ticket.width);
    }
    this.#noteDemand();
  }

  /** Notes that a flow has more seats, or fewer. Without a name it is several users'. */
  #take({ label: { flow } }: Ticket, seats: number): void {
    if (flow === "") return;
    const all = (this.#seatsOf.get(flow) ?? 0) + seats;
    if (all > 0) this.#seatsOf.set(flow, all);
    else this.#seatsOf.delete(flow);
  }

  /** Whether a flow leaves others enough, if it takes these seats too. */
  #mayTake({ label: { flow }, width }: Ticket): boolean {
    const has = this.#seatsOf.get(flow);
    return !has || has + width <= this.limit - Math.floor(this.limit / LEFT_PART);
  }

  /** The queue whose next request would be done first. */
  #next(): FlowQueue | undefined {
    let best: FlowQueue | undefined;
    let finish = Infinity;
    const count = this.#queues.length;
    for (let i = 1; i <= count; i++) {
      const queue = this.#queues[(this.#robin + i) % count];
      if (!queue || queue.waiting.length === 0 || !this.#mayTake(queue.waiting[0])) continue;
      const would = queue.nextR + workOf(queue.waiting[0]);
      if (would < finish) {
        finish = would;
        best = queue;
      }
      // Nobody else waits: no need to look further
      if (queue.waiting.length === this.waiting) break;
    }
    return best;
  }

  /** Whether so many seats can be taken; one who wants more than all gets them when nobody is served. */
  #fits(seats: number): boolean {
    if (this.queuing.queues < 0) return true;
    if (seats > this.limit) return this.serving === 0;
    return this.seatsInUse + seats <= this.limit;
  }

  /** A queue does not save up for the time when nobody was in it. */
  #bound(queue: FlowQueue): void {
    const first = queue.waiting[0];
    if (first && queue.nextR < first.arrivalR) queue.nextR = first.arrivalR;
  }

  #noteDemand(): void {
    const wanted = this.seatsInUse + this.seatsWaiting;
    if (wanted > 0 && this.demand.still) this.#stirred();
    this.demand.set(wanted, this.#lastAt);
  }
}

/** The work that a request is charged with when it begins. */
function workOf({ work }: Ticket): number {
  return work.seats * SERVICE_MS + work.finalSeats * work.finalMs;
}
