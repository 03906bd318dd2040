/** Counters, gauges and durations by labels, in Prometheus' text format. Labels may come from users: their sets are bounded. */

/** Sets of labels that one metric keeps apart; what comes after them is not counted. */
export const SERIES_MAX = 1_000;

/** The labels of one series. */
export type Labels = Readonly<Record<string, string | number | boolean>>;

function text(labels: Labels): string {
  return Object.entries(labels).map(([name, value]) =>
    `${name}="${String(value).replace(/[\\"\n]/g, (c) => c === "\n" ? "\\n" : `\\${c}`)}"`
  ).join(",");
}

/** A metric that only grows. */
export class Counter {
  readonly #name: string;
  readonly #help: string;
  readonly #series = new Map<string, number>();

  constructor(name: string, help: string) {
    this.#name = name;
    this.#help = help;
  }

  /** Counts one. */
  add(labels: Labels): void {
    const key = text(labels);
    const known = this.#series.get(key);
    if (known === undefined && this.#series.size >= SERIES_MAX) return;
    this.#series.set(key, (known ?? 0) + 1);
  }

  /** Its lines; none before the first count. */
  *lines(): Generator<string> {
    if (this.#series.size === 0) return;
    yield `# HELP ${this.#name} ${this.#help}`;
    yield `# TYPE ${this.#name} counter`;
    for (const [labels, count] of this.#series) {
      yield labels === "" ? `${this.#name} ${count}` : `${this.#name}{${labels}} ${count}`;
    }
  }
}

/** A metric that goes up and down. */
export class Gauge {
  readonly #name: string;
  readonly #help: string;
  readonly #series = new Map<string, number>();

  constructor(name: string, help: string) {
    this.#name = name;
    this.#help = help;
  }

  /** Says how it stands. */
  set(labels: Labels, value: number): void {
    const key = text(labels);
    if (!this.#series.has(key) && this.#series.size >= SERIES_MAX) return;
    this.#series.set(key, value);
  }

  /** What the labels name is gone. */
  delete(labels: Labels): void {
    this.#series.delete(text(labels));
  }

  /** Its lines; none while nothing is known. */
  *lines(): Generator<string> {
    if (this.#series.size === 0) return;
    yield `# HELP ${this.#name} ${this.#help}`;
    yield `# TYPE ${this.#name} gauge`;
    for (const [labels, value] of this.#series) {
      yield labels === "" ? `${this.#name} ${value}` : `${this.#name}{${labels}} ${value}`;
    }
  }
}

/** Counts by labels that are written once. Only for labels that no user chooses. */
export class Tally {
  readonly #name: string;
  readonly #help: string;
  readonly #counts = new Map<string, number>();

  constructor(name: string, help: string) {
    this.#name = name;
    this.#help = help;
  }

  add(labels: string): void {
    this.#counts.set(labels, (this.#counts.get(labels) ?? 0) + 1);
  }

  *lines(): Generator<string> {
    if (this.#counts.size === 0) return;
    yield `# HELP ${this.#name} ${this.#help}`;
    yield `# TYPE ${this.#name} counter`;
    for (const [labels, count] of this.#counts) yield `${this.#name}{${labels}} ${count}`;
  }
}

interface Measured {
  count: number;
  sum: number;
  buckets: number[];
}

/** A metric of durations: a histogram in seconds. */
export class Duration {
  readonly #name: string;
  readonly #help: string;
  /** Upper bounds, in seconds. */
  readonly #bounds: readonly number[];
  readonly #series = new Map<string, Measured>();

  constructor(name: string, help: string, bounds: readonly number[]) {
    this.#name = name;
    this.#help = help;
    this.#bounds = bounds;
  }

  /** Notes one duration. */
  add(labels: Labels, ms: number): void {
    const key = text(labels);
    let one = this.#series.get(key);
    if (!one) {
      if (this.#series.size >= SERIES_MAX) return;
      this.#series.set(key, one = { count: 0, sum: 0, buckets: this.#bounds.map(() => 0) });
    }
    const seconds = ms / 1000;
    one.count++;
    one.sum += seconds;
    for (const [i, bound] of this.#bounds.entries()) if (seconds <= bound) one.buckets[i]++;
  }

  /** Its lines; none before the first duration. */
  *lines(): Generator<string> {
    if (this.#series.size === 0) return;
    const name = this.#name;
    yield `# HELP ${name} ${this.#help}`;
    yield `# TYPE ${name} histogram`;
    for (const [labels, { count, sum, buckets }] of this.#series) {
      for (const [i, bound] of this.#bounds.entries()) {
        yield `${name}_bucket{${labels}${labels && ","}le="${boundText(bound)}"} ${buckets[i]}`;
      }
      yield `${name}_bucket{${labels}${labels && ","}le="+Inf"} ${count}`;
      const braced = labels && `{${labels}}`;
      yield `${name}_sum${braced} ${sum}`;
      yield `${name}_count${braced} ${count}`;
    }
  }
}

/** A bound as Go prints it: exponents have two digits. */
function boundText(bound: number): string {
  return String(bound).replace(/e([+-])(\d)$/, "e$10$2");
}
