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

/** Texts of labels by two of their values, each written once: writing one costs more than counting by it. */
export class LabelTexts<A, B> {
  readonly #texts = new Map<A, Map<B, string>>();
  readonly #write: (a: A, b: B) => string;

  constructor(write: (a: A, b: B) => string) {
    this.#write = write;
  }

  of(a: A, b: B): string {
    let texts = this.#texts.get(a);
    if (!texts) {
      // Whoever comes and goes is not remembered for ever
      if (this.#texts.size >= SERIES_MAX) this.#texts.clear();
      this.#texts.set(a, texts = new Map());
    }
    let found = texts.get(b);
    if (found === undefined) texts.set(b, found = this.#write(a, b));
    return found;
  }
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

  /** Counts one, or so many. */
  add(labels: Labels, count = 1): void {
    const key = text(labels);
    if (this.takes(key)) this.values.set(key, (this.values.get(key) ?? 0) + count);
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

/** Counts by labels that come as their text: no user may choose more of it than names that were checked. */
export class Tally extends Series {
  constructor(name: string, help: string) {
    super(name, help, "counter");
  }

  add(labels: string): void {
    if (this.takes(labels)) this.values.set(labels, (this.values.get(labels) ?? 0) + 1);
  }
}

/** A histogram: of how many values each bound is the first that is not below. Noting one allocates nothing. */
export class Histogram {
  readonly #bounds: readonly number[];
  readonly #counts: number[];
  #sum = 0;

  constructor(bounds: readonly number[]) {
    this.#bounds = bounds;
    this.#counts = new Array(bounds.length + 1).fill(0);
  }

  /** Notes a value. */
  add(value: number): void {
    const bounds = this.#bounds;
    let at = 0;
    while (at < bounds.length && value > bounds[at]) at++;
    this.#counts[at]++;
    this.#sum += value;
  }

  /** Values noted. */
  get count(): number {
    let count = 0;
    for (const one of this.#counts) count += one;
    return count;
  }

  /** Its lines, without a head. */
  *lines(name: string, labels: string): Generator<string> {
    const before = `${name}_bucket{${labels}${labels && ","}le="`;
    let count = 0;
    for (const [i, bound] of this.#bounds.entries()) {
      count += this.#counts[i];
      yield `${before}${boundText(bound)}"} ${count}`;
    }
    count += this.#counts[this.#bounds.length];
    yield `${before}+Inf"} ${count}`;
    const braced = labels && `{${labels}}`;
    yield `${name}_sum${braced} ${this.#sum}`;
    yield `${name}_count${braced} ${count}`;
  }
}

/** Upper bounds of durations in seconds where upstream names none (client_golang's). */
export const DEFAULT_BOUNDS = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10];

/** `count` bounds, each `factor` times the one before. */
export function exponentialBounds(first: number, factor: number, count: number): number[] {
  return Array.from({ length: count }, (_, i) => Number((first * factor ** i).toPrecision(12)));
}

/** A metric of durations (in seconds) or of amounts: a histogram for each set of labels. */
export class Duration {
  readonly #name: string;
  readonly #help: string;
  readonly #bounds: readonly number[];
  readonly #series = new Map<string, Histogram>();

  constructor(name: string, help: string, bounds: readonly number[]) {
    this.#name = name;
    this.#help = help;
    this.#bounds = bounds;
  }

  /** Notes one duration. Labels that no user chooses may come as their text. */
  add(labels: Labels | string, ms: number): void {
    this.note(labels, ms / 1000);
  }

  /** Notes one amount. */
  note(labels: Labels | string, value: number): void {
    const key = typeof labels === "string" ? labels : text(labels);
    let one = this.#series.get(key);
    if (!one) {
      if (this.#series.size >= SERIES_MAX) return;
      this.#series.set(key, one = new Histogram(this.#bounds));
    }
    one.add(value);
  }

  /** Its lines; none before the first duration. */
  *lines(): Generator<string> {
    if (this.#series.size === 0) return;
    yield `# HELP ${this.#name} ${this.#help}`;
    yield `# TYPE ${this.#name} histogram`;
    for (const [labels, one] of this.#series) yield* one.lines(this.#name, labels);
  }
}

/** Everything that metrics say, as Prometheus reads it. */
export function textOf(metrics: readonly { lines(): Iterable<string> }[]): string {
  return metrics.flatMap((metric) => [...metric.lines()]).join("\n");
}

/** A bound as Go prints it: exponents have two digits. */
function boundText(bound: number): string {
  const written = bound >= 1e6 && bound < 1e21 ? bound.toExponential() : String(bound);
  return written.replace(/e([+-])(\d)$/, "e$10$2");
}
