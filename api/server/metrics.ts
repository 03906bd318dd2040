/** Metrics in Prometheus' text format, by upstream's names. */
import type { Deps } from "./deps.ts";
import type { Reply } from "./http.ts";
import type { Route } from "./route.ts";

/** Upper bounds of latency, in seconds (upstream's). */
const BUCKETS = [
  0.005,
  0.025,
  0.05,
  0.1,
  0.2,
  0.4,
  0.6,
  0.8,
  1,
  1.25,
  1.5,
  2,
  3,
  4,
  5,
  6,
  8,
  10,
  15,
  20,
  30,
  45,
  60,
];

interface Series {
  labels: string;
  count: number;
  sum: number;
  buckets: Uint32Array;
}

/** Counts requests; `extra` adds lines of others. */
export class Metrics {
  readonly #requests = new Map<string, number>();
  readonly #durations = new Map<string, Series>();
  readonly #extra: (() => string)[] = [];

  /** Adds a source of lines to what `/metrics` shows. */
  add(lines: () => string): void {
    this.#extra.push(lines);
  }

  /** Notes an answered request. */
  observe(method: string, route: Route, status: number, ms: number): void {
    const scope = route.name ? "resource" : route.namespace ? "namespace" : "cluster";
    const labels =
      `group="${label(route.group)}",resource="${label(route.resource)}",scope="${scope}",` +
      `subresource="${label(route.subresource)}",verb="${method}",version="${
        label(route.version)
      }"`;
    const counted = `code="${status}",${labels}`;
    this.#requests.set(counted, (this.#requests.get(counted) ?? 0) + 1);
    let series = this.#durations.get(labels);
    if (!series) {
      series = { labels, count: 0, sum: 0, buckets: new Uint32Array(BUCKETS.length) };
      this.#durations.set(labels, series);
    }
    const seconds = ms / 1000;
    series.count++;
    series.sum += seconds;
    for (let i = BUCKETS.length - 1; i >= 0 && seconds <= BUCKETS[i]; i--) series.buckets[i]++;
  }

  /** Everything, as text. */
  text(deps: Deps): string {
    const lines: string[] = [];
    head(lines, "apiserver_request_total", "counter", "Requests, by code");
    for (const [labels, count] of this.#requests) {
      lines.push(`apiserver_request_total{${labels}} ${count}`);
    }
    const name = "apiserver_request_duration_seconds";
    head(lines, name, "histogram", "Time to answer, in seconds");
    for (const { labels, count, sum, buckets } of this.#durations.values()) {
      BUCKETS.forEach((le, i) => lines.push(`${name}_bucket{${labels},le="${le}"} ${buckets[i]}`));
      lines.push(`${name}_bucket{${labels},le="+Inf"} ${count}`);
      lines.push(`${name}_sum{${labels}} ${sum}`, `${name}_count{${labels}} ${count}`);
    }
    storeLines(lines, deps);
    for (const source of this.#extra) lines.push(source().trimEnd());
    return lines.join("\n") + "\n";
  }

  /** The reply to a scrape. */
  reply(deps: Deps): Reply {
    return {
      status: 200,
      headers: { "content-type": "text/plain; version=0.0.4; charset=utf-8" },
      body: new TextEncoder().encode(this.text(deps)),
    };
  }
}

function label(text: string): string {
  // A route's parts come from whoever asks: only what could be a name is shown
  return /^[a-zA-Z0-9.-]{0,64}$/.test(text) ? text : "other";
}

function head(lines: string[], name: string, type: string, help: string): void {
  lines.push(`# HELP ${name} ${help}`, `# TYPE ${name} ${type}`);
}

function storeLines(lines: string[], deps: Deps): void {
  const stores = { objects: deps.database.objects.stats(), events: deps.database.events.stats() };
  const gauge = (name: string, help: string, read: (s: typeof stores.objects) => number) => {
    head(lines, name, "gauge", help);
    for (const [store, stats] of Object.entries(stores)) {
      lines.push(`${name}{store="${store}"} ${read(stats)}`);
    }
  };
  gauge("plesio_store_revision", "Newest revision", (s) => s.revision);
  gauge("plesio_store_oldest_revision", "Oldest revision that can be read", (s) => s.oldest);
  gauge("plesio_store_keys", "Objects", (s) => s.keys);
  gauge("plesio_store_live_bytes", "Bytes of all live values", (s) => s.liveBytes);
  gauge("plesio_store_log_bytes", "Bytes of the log", (s) => s.logBytes);
  gauge("plesio_store_bytes_max", "Bound of live values and log", (s) => s.bytesMax);
  gauge("plesio_store_commits_total", "Groups committed", (s) => s.commits);
  gauge("plesio_store_commit_seconds", "Duration of the last commit", (s) => s.commitMsLast / 1000);
  gauge("plesio_store_watchers", "Open watches", (s) => s.watchers);
  gauge("plesio_store_pending_writes", "Writes that wait for a commit", (s) => s.pendingWrites);
}
