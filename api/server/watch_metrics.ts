/** Events that watches sent, by resource: how many, and how large. A watch looks its series up once. */
import { exponentialBounds, Histogram } from "../machinery/metric_series.ts";
import type { Kind } from "../machinery/types.ts";

/** Upper bounds of an event's bytes (upstream's). */
const SIZES = exponentialBounds(1_024, 2, 8);
const TOTAL = "apiserver_watch_events_total";
const EVENT_SIZES = "apiserver_watch_events_sizes";

/** Counts what watches send. */
export class WatchEvents {
  readonly #sizes = new Map<string, Histogram>();

  /** Where the sizes of a kind's events go. */
  of({ group, version, plural }: Kind): Histogram {
    const labels = `group="${group}",resource="${plural}",version="${version}"`;
    let sizes = this.#sizes.get(labels);
    if (!sizes) this.#sizes.set(labels, sizes = new Histogram(SIZES));
    return sizes;
  }

  /** Lines for `/metrics`. */
  text(): string {
    if (this.#sizes.size === 0) return "";
    const lines = [`# HELP ${TOTAL} Events that were sent`, `# TYPE ${TOTAL} counter`];
    for (const [labels, sizes] of this.#sizes) lines.push(`${TOTAL}{${labels}} ${sizes.count}`);
    lines.push(`# HELP ${EVENT_SIZES} Their sizes, in bytes`, `# TYPE ${EVENT_SIZES} histogram`);
    for (const [labels, sizes] of this.#sizes) lines.push(...sizes.lines(EVENT_SIZES, labels));
    return lines.join("\n");
  }
}
