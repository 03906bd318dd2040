/**
 * How long work of one request gives way to others: when a slice of it is over, and how it waits for the next one. One
 * object for each piece of work, because it knows since when its slice goes on. Under a clock that stands still no slice
 * ever ends.
 */

/** Where slices come from. */
export interface PaceSource {
  monotonic(): number;
  /** How long a slice may be now, in ms. */
  sliceMs(): number;
  /** Resolves when the next slice may begin. `workedMs`: how long the one before it went on. */
  turn(workedMs: number): Promise<void>;
}

/** Something takes long to find out: settle it, and ask again. */
export class Unsettled extends Error {
  readonly settle: (pace: Pace) => Promise<void>;
  constructor(settle: (pace: Pace) => Promise<void>) {
    super("something takes long to find out");
    this.settle = settle;
  }
}

/** See the module's text. */
export class Pace {
  readonly #source: PaceSource;
  #since: number;

  constructor(source: PaceSource) {
    this.#source = source;
    this.#since = source.monotonic();
  }

  /** Whether others are to have their turn. */
  get due(): boolean {
    return this.#source.monotonic() - this.#since > this.#source.sliceMs();
  }

  /** Lets others run; a new slice begins when it resolves. */
  async turn(): Promise<void> {
    await this.#source.turn(this.#source.monotonic() - this.#since);
    this.#since = this.#source.monotonic();
  }

  /** The same, where a slice is over. */
  async rest(): Promise<void> {
    if (this.due) await this.turn();
  }
}
