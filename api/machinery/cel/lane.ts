/**
 * How an evaluation gives way to other work in its middle, and goes on later; and how its real work is counted.
 *
 * Code is closures, which cannot stop halfway. An evaluation begins as if it were short. One that takes more than
 * `SHORT_TICKS` is dropped, and begins again in a lane where it notes what its steps come to: calls, comparisons, items
 * of loops. There it may be dropped between two steps as often as others wait for their turn. To go on, it is run from its
 * beginning: steps that are done are not done again, loops go on where they were, and cost and work are what they were
 * then, so that both lanes count the same and come to the same.
 *
 * One evaluation runs at a time (and those of a policy's variables within it), so that what is under way is kept here.
 */
import type { Pace } from "../pace.ts";

/** The evaluation's cost limit was reached. Nothing in the language absorbs it. */
export class CostError extends Error {
  override name = "CostError";
  constructor() {
    super("operation cancelled: actual cost limit exceeded");
  }
}

/** An evaluation has given way: it is to be gone on with later. Nothing in the language absorbs it either. */
export class Interrupted extends Error {}
const INTERRUPTED = new Interrupted("an evaluation gives way to others");

/**
 * Steps of real work (some ten nanoseconds each) that one evaluation may take in what costs do not count, or not by
 * what it takes here: comparing and copying deep or long values, parsing. A bound on time that upstream has in its
 * deadlines.
 */
export const WORK_MAX = 4_000_000;
/** What an evaluation may take before it is a long one: less than a millisecond. */
export const SHORT_TICKS = 5_000;
/** In the lane of long ones: between two looks at whether others wait. */
const LOOK_TICKS = 256;

let workLeft = WORK_MAX;
let ticksLeft = Infinity;
/** Evaluations that run: one, or a policy's variables within it. */
let evaluations = 0;
/** Whom an evaluation gives way to; none: it goes on to its end. */
let pace: Pace | undefined;
/** In the lane of long ones: whether others wait, and whether anything was done since it goes on. */
let noting = false;
let lookTicks = LOOK_TICKS;
let due = false;
let moved = false;
/** Whose step is being done. */
let stepping: Frame | undefined;

/** Counts steps of work; throws CostError when there were too many. */
export function work(steps: number): void {
  workLeft -= steps;
  if (workLeft < 0) throw new CostError();
  tick(steps);
}

/** Counts what takes time but is bounded by costs. */
export function tick(steps: number): void {
  ticksLeft -= steps;
  if (ticksLeft < 0) look();
}

function look(): void {
  if (!noting) throw INTERRUPTED;
  ticksLeft = lookTicks;
  due = pace!.due;
}

/** How something is run. */
export interface Lane {
  /** Whom it gives way to, by throwing Interrupted; none: it goes on to its end. */
  by?: Pace;
  /** In the lane of long evaluations. */
  long?: boolean;
  /** How often that looks whether others wait (default `LOOK_TICKS`). */
  lookTicks?: number;
}

/** Runs something that counts its work anew; what it evaluates on the way (a policy's variables) counts with it. */
export function counting<T>(run: () => T, lane: Lane = {}): T {
  if (evaluations === 0) {
    const { by, long = false } = lane;
    workLeft = WORK_MAX;
    pace = by;
    noting = long && by !== undefined;
    due = moved = false;
    lookTicks = lane.lookTicks ?? LOOK_TICKS;
    ticksLeft = by === undefined ? Infinity : long ? lookTicks : SHORT_TICKS;
  }
  evaluations++;
  try {
    return run();
  } finally {
    evaluations--;
  }
}

/** Whether what runs now is within a long evaluation. */
export function isLong(): boolean {
  return evaluations > 0 && noting;
}

/** What is known of a step that is done. */
interface Done {
  value: unknown;
  cost: number;
  work: number;
}

/** The steps of a long evaluation, or of one turn of a loop, in their order. */
export class Frame {
  readonly #done: Done[] = [];
  #at = 0;
  /** What the step under way needs to go on. */
  #open: unknown;

  /** Goes on from the beginning. */
  rewind(): void {
    this.#at = 0;
  }

  /** Forgets everything. */
  clear(): void {
    this.#done.length = this.#at = 0;
    this.#open = undefined;
  }

  /** Does a step once. Throws Interrupted before it where others wait. */
  step<T>(run: { cost: number }, make: () => T): T {
    const known = this.#done[this.#at];
    if (known) {
      this.#at++;
      run.cost = known.cost;
      workLeft = known.work;
      return known.value as T;
    }
    if (due && moved) throw INTERRUPTED;
    const before = stepping;
    stepping = this;
    let value: T;
    try {
      value = make();
    } finally {
      stepping = before;
    }
    this.#done.push({ value, cost: run.cost, work: workLeft });
    this.#at++;
    this.#open = undefined;
    moved = true;
    tick(1);
    return value;
  }

  /** What the step under way keeps until it is done. */
  open<T>(make: () => T): T {
    return (this.#open ??= make()) as T;
  }
}

/** A loop under way in the lane of long evaluations. */
export class LongLoop<S> {
  readonly state: S;
  readonly #items: readonly unknown[];
  readonly #inner = new Frame();
  #at = 0;
  #cost: number;
  #work = workLeft;

  constructor(state: S, items: readonly unknown[], cost: number) {
    this.state = state;
    this.#items = items;
    this.#cost = cost;
  }

  /** Visits the items that are left, each with a frame of its own. Throws Interrupted between two where others wait. */
  go(run: { cost: number; frame?: Frame }, visit: (item: unknown, index: number) => boolean): void {
    const { frame } = run;
    run.cost = this.#cost;
    workLeft = this.#work;
    run.frame = this.#inner;
    for (let more = true; more && this.#at < this.#items.length;) {
      if (due && moved) throw INTERRUPTED;
      this.#inner.rewind();
      more = visit(this.#items[this.#at], this.#at);
      if (!more) break;
      this.#inner.clear();
      this.#at++;
      this.#cost = run.cost;
      this.#work = workLeft;
      moved = true;
    }
    run.frame = frame;
  }
}

/** Work of one step that goes on by pieces; `advance` does one and says whether that was the last. */
export interface Piecemeal {
  advance(): boolean;
}

/** Does such work within a long evaluation: it is begun once, and given up between two pieces where others wait. */
export function piecemeal<T extends Piecemeal>(make: () => T): T {
  const found = stepping!.open(make);
  while (!found.advance()) {
    moved = true;
    look();
    if (due) throw INTERRUPTED;
  }
  return found;
}

/** Leaves the lane of short evaluations where there is another one. */
export function leaveShort(): void {
  if (evaluations > 0 && pace && !noting) throw INTERRUPTED;
}
