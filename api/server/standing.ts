/**
 * Those who are under way, in the order in which they came: added and removed at once, and not held on to afterwards.
 *
 * A Set would do, but for the collector: as a Set is filled and emptied, V8 replaces its table, and each dead table keeps
 * what it held until a full collection. With one Set of requests every young object of theirs lived through its first
 * collections: a third of the CPU of a GET.
 */

/** Where one stands; given back to leave. */
export interface Place<T> {
  value: T | undefined;
  before: Place<T> | undefined;
  after: Place<T> | undefined;
}

/** See the module's text. */
export class Standing<T> implements Iterable<T> {
  size = 0;
  readonly #ends: Place<T>;

  constructor() {
    const ends = { value: undefined } as Place<T>;
    ends.before = ends.after = ends;
    this.#ends = ends;
  }

  /** Puts one at the end. */
  add(value: T): Place<T> {
    const before = this.#ends.before!;
    const place: Place<T> = { value, before, after: this.#ends };
    before.after = this.#ends.before = place;
    this.size++;
    return place;
  }

  /** Takes one out; harmless when repeated. */
  remove(place: Place<T>): void {
    const { before, after } = place;
    if (!before || !after) return;
    before.after = after;
    after.before = before;
    // What is dead must not keep alive
    place.value = place.before = place.after = undefined;
    this.size--;
  }

  /** From the first to the last; one may be removed while it is looked at. */
  *[Symbol.iterator](): Iterator<T> {
    for (let at = this.#ends.after!; at !== this.#ends;) {
      const next = at.after!;
      yield at.value!;
      at = next;
    }
  }
}
