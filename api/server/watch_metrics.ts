/**
 * Events that watches sent, by resource: how many, and how large; how long those that begin with a list took for it. A
 * watch looks its series up once.
 */
import { Duration, exponentialBounds, Histogram } from "../machinery/metric_series.ts";
import type { Kind } from "../machinery/types.ts";
import type { ApiRequest } from "./request.ts";

/** Upper bounds of an event's bytes (upstream's). */
const SIZES = exponentialBounds(1_024, 2, 8);
const TOTAL = "apiserver_watch_events_total";
/** Upper bounds of how long a list takes as a watch's beginning, in seconds (upstream's). */
const LISTS = [0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1, 2, 4, 6, 8, 10, 15, 20, 30, 45, 60];
const EVENT_SIZES = "apiserver_watch_events_sizes";

/** Counts what watches send. */
export class WatchEvents {
  readonly #sizes = new Map<string, Histogram>();
  readonly #lists = new Duration(
    "apiserver_watch_list_duration_seconds",
    "How long watches took to send what was there, in seconds",
    LISTS,
  );

  /** Where the sizes of a kind's events go. */
  of({ group, version, plural }: Kind): Histogram {
    const labels = `group="${group}",resource="${plural}",version="${version}"`;
    let sizes = this.#sizes.get(labels);
    if (!sizes) this.#sizes.set(labels, sizes = new Histogram(SIZES));
    return sizes;
  }

  /** A watch has sent what was there. */
  listed({ kind, namespace, name }: ApiRequest, ms: number): void {
    const { group, version, plural } = kind;
    const scope = name ? "resource" : namespace ? "namespace" : "cluster";
    this.#lists.add(
      `group="${group}",version="${version}",resource="${plural}",scope="${scope}"`,
      ms,
    );
  }

  /** Lines for `/metrics`. */
  text(): string {
    const lists = [...this.#lists.lines()];
    if (this.#sizes.size === 0) return lists.join("\n");
    const lines = [`# HELP ${TOTAL} Events that were sent`, `# TYPE ${TOTAL} counter`];
    for (const [labels, sizes] of this.#sizes) lines.push(`${TOTAL}{${labels}} ${sizes.count}`);
    lines.push(`# HELP ${EVENT_SIZES} Their sizes, in bytes`, `# TYPE ${EVENT_SIZES} histogram`);
    for (const [labels, sizes] of this.#sizes) lines.push(...sizes.lines(EVENT_SIZES, labels));
    return [...lines, ...lists].join("\n");
  }
}
