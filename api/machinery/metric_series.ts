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

/** A metric of one number for each set of labels. */
class Series {
  readonly #name: string;
  readonly #help: string;
  readonly #type: "counter" | "gauge";
  /** By the labels' text. */
  protected readonly values = new Map<string, number>();

  constructor(name: string, help: string, type: "counter" | "gauge") {
    this.#name = name;
    this.#help = help;
    this.#type = type;
  }

  /** Whether a set of labels is kept apart, or there is room for it. */
  protected takes(labels: string): boolean {
    return this.values.has(labels) || this.values.size < SERIES_MAX;
  }

  /** Its lines; none while nothing is known. */
  *lines(): Generator<string> {
    if (this.values.size === 0) return;
    yield `# HELP ${this.#name} ${this.#help}`;
    yield `# TYPE ${this.#name} ${this.#type}`;
    for (const [labels, value] of this.values) {
      yield labels === "" ? `${this.#name} ${value}` : `${this.#name}{${labels}} ${value}`;
    }
  }
}

/** A metric that only grows. */
export class Counter extends Series {
  constructor(name: string, help: string) {
    super(name, help, "counter");
  }

  /** Counts one. */
  add(labels: Labels): void {
    const key = text(labels);
    if (this.takes(key)) this.values.set(key, (this.values.get(key) ?? 0) + 1);
  }
}

/** A metric that goes up and down. */
export class Gauge extends Series {
  constructor(name: string, help: string) {
    super(name, help, "gauge");
  }

  /** Says how it stands. */
  set(labels: Labels, value: number): void {
    const key = text(labels);
    if (this.takes(key)) this.values.set(key, value);
  }

  /** What the labels name is gone. */
  delete(labels: Labels): void {
    this.values.delete(text(labels));
  }
}

/** Counts by labels that are written once. Only for labels that no user chooses. */
export class Tally extends Series {
  constructor(name: string, help: string) {
    super(name, help, "counter");
  }

  add(labels: string): void {
    this.values.set(labels, (this.values.get(labels) ?? 0) + 1);
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
