/** The server's own figures over time: rates and latencies between two readings of `/metrics`. */
import { useRef, useState } from "preact/hooks";
import { now } from "./browser.ts";
import { askText, reasonOf } from "./kube.ts";
import { joined, type Point, usePolling } from "./metrics.ts";
import { quantileBetween, type Series, seriesOf, sumOf } from "./metrics_text.ts";

const REQUESTS = "apiserver_request_total";
const LATENCIES = "apiserver_request_duration_seconds_bucket";
const COMMITS = "plesio_store_commits_total";
const WATCHERS = "plesio_store_watchers";
const DEPTH = "workqueue_depth";
const MEMORY = "process_resident_memory_bytes";
const NAMES = new Set([REQUESTS, LATENCIES, COMMITS, WATCHERS, DEPTH, MEMORY]);

/** Watches last, and would be the slowest of all. */
const ANSWERED = /^(?!.*verb="(?:WATCH|CONNECT|WATCHLIST)")/;
const BAD = /code="5\d\d"/;

interface Reading {
  at: number;
  series: ReadonlyMap<string, Series>;
}

/** Per second, between two readings. */
const rate = (name: string, wanted?: RegExp) => (a: Reading, b: Reading) =>
  Math.max(0, sumOf(b.series.get(name), wanted) - sumOf(a.series.get(name), wanted)) /
  Math.max(0.001, (b.at - a.at) / 1000);
const level = (name: string) => (_: Reading, b: Reading) => sumOf(b.series.get(name));

/** What is drawn, and how it comes of two readings. */
const FIGURES = {
  requests: rate(REQUESTS),
  failures: rate(REQUESTS, BAD),
  commits: rate(COMMITS),
  latency: (a: Reading, b: Reading) =>
    quantileBetween(a.series.get(LATENCIES), b.series.get(LATENCIES), 0.99, ANSWERED) ?? 0,
  watchers: level(WATCHERS),
  depth: level(DEPTH),
  memory: level(MEMORY),
} as const;

/** A figure's name. */
export type Figure = keyof typeof FIGURES;

/** Figures over time, as long as a part of the page is there. */
export function useServerMetrics() {
  const last = useRef<Reading | undefined>(undefined);
  const [points, keep] = useState<Partial<Record<Figure, readonly Point[]>>>({});
  const [failure, fail] = useState<string>();
  usePolling("", () => {
    askText("/metrics").then((text) => {
      const reading = { at: now(), series: seriesOf(text, NAMES) };
      const before = last.current;
      last.current = reading;
      fail(undefined);
      if (!before) return;
      keep((old) => {
        const next = { ...old };
        for (const [name, of] of Object.entries(FIGURES) as [Figure, typeof FIGURES[Figure]][]) {
          next[name] = joined(old[name] ?? [], of(before, reading));
        }
        return next;
      });
    }, (error) => fail(reasonOf(error)));
  });
  return { points, failure };
}
