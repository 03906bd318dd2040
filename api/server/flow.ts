/**
 * Flow control: who is served now, who waits, who is told to come again.
 *
 * API Priority and Fairness (the default): a request's FlowSchema puts it at a priority level, where it takes seats at
 * once, waits in a queue for a quarter of its time, or is refused with 429. Without it two counters: so many reads and
 * so many writes at once. Streams take no seats; a watch takes some until what was there has been sent. What this
 * process asks of itself does not come through here.
 */
import type { Clock } from "../../kv/clock.ts";
import type { View } from "../../kv/contract.ts";
import type { Requested } from "../auth/impersonate.ts";
import type { Kind, KubeObject } from "../machinery/types.ts";
import { type Classified, Levels } from "./flow_levels.ts";
import { OWN_LEVELS } from "./flow_objects.ts";
import type { Refusal, Ticket, Work } from "./flow_queues.ts";
import { Slices, Turns } from "./flow_turns.ts";
import { WatchCounts, workOf } from "./flow_work.ts";
import { type Call, type Reply, textReply } from "./http.ts";
import type { Passage } from "./passage.ts";

/** Reads at once (upstream: --max-requests-inflight). */
export const READS_MAX = 400;
/** Writes at once (upstream: --max-mutating-requests-inflight). */
export const WRITES_MAX = 200;
/** Nobody waits longer than this, however much time they have. */
const WAIT_MS_MAX = 60_000;
/** Part of its time that a request may wait. */
const WAIT_PART = 1 / 4;
const RETRY_SECONDS = 1;

/** What a request is told that is not served: plain text, as upstream sends it. */
export class Refused extends Error {
  readonly seconds: number;
  readonly headers: Readonly<Record<string, string>>;

  constructor(seconds: number, headers: Readonly<Record<string, string>> = {}) {
    super("Too many requests, please try again later.");
    this.seconds = seconds;
    this.headers = headers;
  }

  reply(): Reply {
    const reply = textReply(429, `${this.message}\n`);
    Object.assign(reply.headers, this.headers);
    reply.headers["retry-after"] = String(this.seconds);
    return reply;
  }
}

/** Options of flow control. */
export interface FlowOptions {
  /** Default 400; 0: no bound, where there is no priority and fairness. */
  readsMax?: number;
  /** Default 200; 0: no bound, where there is no priority and fairness. */
  writesMax?: number;
  /** Default true. */
  fair?: boolean;
  /** How long who has no deadline may take, in ms: a quarter of it is waited (default 60,000). */
  timeoutMs?: number;
}

/** What flow control looks at. */
export interface FlowContext {
  clock: Clock;
  kind: (requested: Requested) => Kind | undefined;
  view: (kind: Kind) => View<KubeObject>;
}

/** A request that wants seats. */
interface Asking {
  classified: Classified;
  passage: Passage;
  call: Call;
  work: Work;
}

/** A ticket and what it was given for. */
export interface Details {
  passage: Passage;
  path: string;
}

/** See the module's text. */
export class Flow {
  readonly watches = new WatchCounts();
  /** Absent: counters alone. */
  readonly levels: Levels | undefined;
  readonly refused = { read: 0, write: 0 };
  reads = 0;
  writes = 0;
  waitingReads = 0;
  waitingWrites = 0;
  readonly #options: Required<FlowOptions>;
  readonly #context: FlowContext;
  readonly #turns: Turns;
  readonly #slices: Slices;

  constructor(context: FlowContext, options: FlowOptions = {}) {
    const { readsMax = READS_MAX, writesMax = WRITES_MAX, fair = true } = options;
    this.#options = { readsMax, writesMax, fair, timeoutMs: options.timeoutMs ?? 60_000 };
    this.#context = context;
    this.#turns = new Turns(context.clock);
    this.#slices = new Slices(context.clock);
    if (fair) this.levels = new Levels(context.clock, readsMax + writesMax);
  }

  /** Whether several users ask. */
  get sharing(): boolean {
    return this.#turns.sharing;
  }

  /** How long work may go on before it calls `slice()`, in ms. */
  get sliceMs(): number {
    return this.#turns.sliceMs;
  }

  /**
   * Lets other work run; resolves when long work may go on. A user's is rationed while others ask. `workedMs`: how long it
   * went on.
   */
  async slice(user?: string, workedMs = 0): Promise<void> {
    const waitMs = user ? this.#turns.worked(user, workedMs) : 0;
    if (waitMs > 0) await this.#context.clock.sleep(waitMs);
    await this.#slices.turn(user);
  }

  /** Lets a request in; what is returned gives its seats back. Throws or rejects with Refused. */
  enter(passage: Passage, call: Call): (() => void) | Promise<() => void> {
    const { requested, longRunning } = passage;
    if (longRunning && requested.verb !== "watch") return NOTHING;
    return this.levels ? this.#queue(this.levels, passage, call) : this.#count(passage);
  }

  #count({ user, requested: { verb }, longRunning }: Passage): () => void {
    if (longRunning) return NOTHING;
    const reading = isReading(verb);
    const { readsMax, writesMax } = this.#options;
    const full = reading
      ? readsMax > 0 && this.reads >= readsMax
      : writesMax > 0 && this.writes >= writesMax;
    if (full && !user.groups.includes("system:masters")) {
      this.refused[reading ? "read" : "write"]++;
      throw new Refused(RETRY_SECONDS);
    }
    return this.#execute(reading);
  }

  /** Counts a request that is served; what is returned ends that, once. */
  #execute(reading: boolean): () => void {
    if (reading) this.reads++;
    else this.writes++;
    let over = false;
    return () => {
      if (over) return;
      over = true;
      if (reading) this.reads--;
      else this.writes--;
    };
  }

  #queue(levels: Levels, passage: Passage, call: Call): (() => void) | Promise<() => void> {
    const { requested, user } = passage;
    const classified = levels.classify(user, requested);
    passage.headers = classified.headers;
    const { level } = classified;
    const { kind, view } = this.#context;
    const work = workOf(requested, call.query, {
      watches: this.watches,
      seatsMax: level.seatsMax,
      kind,
      view,
    });
    classified.stats.seats.add(Math.max(work.seats, work.finalSeats));
    const asking: Asking = { classified, passage, call, work };
    // Who is exempt is never refused, but takes turns: floods by administrators would hold up everybody
    const exempt = level.spec.type === "Exempt";
    const long = work.seats > 1 && !exempt;
    const standing = exempt ? "exempt" : OWN_LEVELS.has(level.name) ? "own" : "user";
    const turn = this.#turns.enter(user.name, long, standing);
    if (turn === false) this.#refuse(classified, requested.verb, "queue-full");
    if (turn) return this.#later(asking, turn, long);
    return long ? this.#shortened(asking, () => this.#seat(asking)) : this.#seat(asking);
  }

  async #later(asking: Asking, turn: Promise<void>, long: boolean): Promise<() => void> {
    await turn;
    return await (long ? this.#shortened(asking, () => this.#seat(asking)) : this.#seat(asking));
  }

  /** What gives the seats back tells the turns as well, that a long answer has been sent. */
  async #shortened(
    { passage: { user } }: Asking,
    seat: () => (() => void) | Promise<() => void>,
  ): Promise<() => void> {
    let over = false;
    const end = () => {
      if (!over) this.#turns.left(user.name);
      over = true;
    };
    try {
      const leave = await seat();
      return () => {
        end();
        leave();
      };
    } catch (error) {
      end();
      throw error;
    }
  }

  #seat({ classified, passage, call, work }: Asking): (() => void) | Promise<() => void> {
    const { requested } = passage;
    const { level, label } = classified;
    const details: Details = { passage, path: call.path };
    const waitMs = (now: number) => {
      const { deadline = now + this.#options.timeoutMs } = passage;
      return Math.min(Math.max(deadline - now, 0) * WAIT_PART, WAIT_MS_MAX);
    };
    const entered = level.set.enter(label, work, { waitMs, details });
    if (typeof entered === "string") this.#refuse(classified, requested.verb, entered);
    if (!("served" in entered)) return this.#serve(classified, entered, requested.verb);
    return this.#await(classified, call, { ...entered, verb: requested.verb });
  }

  async #await(
    classified: Classified,
    call: Call,
    { ticket, served, verb }: { ticket: Ticket; served: Promise<boolean>; verb: string },
  ): Promise<() => void> {
    const { set } = classified.level;
    const gone = () => set.giveUp(ticket, "cancelled");
    const { signal } = call;
    signal?.addEventListener("abort", gone, { once: true });
    if (signal?.aborted) gone();
    const reading = isReading(verb);
    if (reading) this.waitingReads++;
    else this.waitingWrites++;
    const yes = await served;
    if (reading) this.waitingReads--;
    else this.waitingWrites--;
    signal?.removeEventListener("abort", gone);
    if (!yes) this.#refuse(classified, verb, "time-out");
    return this.#serve(classified, ticket, verb);
  }

  #serve({ level, stats }: Classified, ticket: Ticket, verb: string): () => void {
    stats.dispatched++;
    if (level.spec.type !== "Exempt") {
      stats.waits.add((ticket.startedAt - ticket.arrivedAt) / 1000);
    }
    const end = this.#execute(isReading(verb));
    let over = false;
    return () => {
      if (over) return;
      over = true;
      end();
      stats.executions.add(level.set.leave(ticket) / 1000);
      if (level.quiescing) this.levels!.reap(level);
    };
  }

  #refuse({ level, stats, headers }: Classified, verb: string, why: Refusal): never {
    stats.rejected.set(why, (stats.rejected.get(why) ?? 0) + 1);
    this.refused[isReading(verb) ? "read" : "write"]++;
    level.retry.refused(this.#context.clock.now() / 1000);
    throw new Refused(level.retry.seconds, headers);
  }
}

const NOTHING = () => {};

function isReading(verb: string): boolean {
  return verb === "get" || verb === "list" || verb === "watch";
}
