/** Metrics in Prometheus' text format, by upstream's names. */
import { exponentialBounds, Gauge, Histogram } from "../machinery/metric_series.ts";
import { type Deps, resourceName } from "./deps.ts";
import { isStream, type Reply } from "./http.ts";
import type { Route } from "./route.ts";

/** Upper bounds of latency, in seconds (upstream's). */
export const LATENCY_BUCKETS = [
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

/** Upper bounds of what is answered, in bytes (upstream's). */
const SIZES = exponentialBounds(1_000, 10, 7);

interface Series {
  labels: string;
  /** What was asked for; absent where series are put together. */
  route?: Route;
  times: Histogram;
  /** Of answers to reads; made at the first. */
  sizes?: Histogram;
  /** Answers by status code. */
  codes: Map<number, number>;
}

/** Sets of labels that are kept apart. */
export const SERIES_MAX = 2_000;
const OTHERS = `dry_run="",group="other",resource="other",scope="",subresource="",verb="other"` +
  `,version=""`;

/** What is known of a request when it has been answered. */
export interface Observed {
  method: string;
  /** Absent: a path that is no resource. */
  route?: Route;
  path: string;
  query: string;
  contentType?: string;
}

/** Paths that have series of their own; all others share one. */
const PATHS = new Set([
  "healthz",
  "livez",
  "readyz",
  "metrics",
  "version",
  "openapi",
  "api",
  "apis",
]);

/** Upstream's verb of a request. */
function verbOf({ method, route, query, contentType }: Observed): string {
  if (!route) return method;
  const { subresource, name } = route;
  if (subresource === "exec" || subresource === "attach" || subresource === "proxy") {
    return "CONNECT";
  }
  if (subresource === "portforward") return "CONNECT";
  switch (method) {
    case "GET":
    case "HEAD":
      if (route.watch || (!name && /(?:^|&)watch=(?!false|0)/.test(query))) return "WATCH";
      return name ? "GET" : "LIST";
    case "DELETE":
      return name ? "DELETE" : "DELETECOLLECTION";
    case "PATCH":
      return contentType?.startsWith("application/apply-patch") ? "APPLY" : "PATCH";
    default:
      return method;
  }
}

/** Counts requests; `add` adds lines of others. */
export class Metrics {
  /** By what is asked, before anything of it is looked at closely. */
  readonly #series = new Map<string, Series>();
  readonly #byLabels = new Map<string, Series>();
  readonly #extra: (() => string)[] = [];

  /** Adds a source of lines to what `/metrics` shows. */
  add(lines: () => string): void {
    this.#extra.push(lines);
  }

  /** Notes an answered request. What a stream sends is counted as it is sent. */
  observe(asked: Observed, reply: Reply, ms: number): void {
    const verb = verbOf(asked);
    const { route } = asked;
    const dryRun = asked.query.includes("dryRun=All") ? "All" : "";
    let key: string;
    if (route) {
      const { group, version, resource, subresource, name, namespace } = route;
      const scope = name ? "resource" : namespace ? "namespace" : "cluster";
      key = `${verb} ${scope} ${dryRun} ${group}/${version}/${resource}/${subresource}`;
    } else key = `${verb} ${asked.path.split("/", 2)[1]}`;
    let series = this.#series.get(key);
    if (!series) {
      series = this.#seriesOf(labelsOf(asked, verb, dryRun), route);
      // Who asks for what is not there must not fill the memory
      if (this.#series.size < SERIES_MAX) this.#series.set(key, series);
    }
    const { status, body } = reply;
    series.codes.set(status, (series.codes.get(status) ?? 0) + 1);
    series.times.add(ms / 1000);
    if (verb !== "GET" && verb !== "LIST") return;
    const sizes = series.sizes ??= new Histogram(SIZES);
    if (body && isStream(body)) reply.body = measured(body, sizes);
    else sizes.add(body ? body.length : 0);
  }

  #seriesOf(labels: string, route: Route | undefined): Series {
    const full = this.#byLabels.size >= SERIES_MAX;
    const shown = full ? OTHERS : labels;
    let series = this.#byLabels.get(shown);
    if (!series) {
      series = { labels: shown, times: new Histogram(LATENCY_BUCKETS), codes: new Map() };
      if (!full) series.route = route;
      this.#byLabels.set(shown, series);
    }
    return series;
  }

  /** Deprecated resources that were asked for; which those are is looked up at every scrape. */
  #deprecated(deps: Deps): Gauge {
    const name = "apiserver_requested_deprecated_apis";
    const gauge = new Gauge(name, "Deprecated resources that somebody asked for");
    for (const { route } of this.#byLabels.values()) {
      if (!route) continue;
      const { group, version, resource, subresource } = route;
      if (!deps.kinds.byResource(group, version, resource)?.deprecationWarning) continue;
      gauge.set({ group, removed_release: "", resource, subresource, version }, 1);
    }
    return gauge;
  }

  /** Everything, as text. */
  text(deps: Deps): string {
    const lines: string[] = [];
    head(lines, "apiserver_request_total", "counter", "Requests, by code");
    for (const { labels, codes } of this.#byLabels.values()) {
      for (const [code, count] of codes) {
        lines.push(`apiserver_request_total{code="${code}",${labels}} ${count}`);
      }
    }
    for (const name of DURATIONS) {
      head(lines, name, "histogram", "Time to answer, in seconds");
      for (const { labels, times } of this.#byLabels.values()) {
        lines.push(...times.lines(name, labels));
      }
    }
    head(lines, "apiserver_response_sizes", "histogram", "Sizes of answers to reads, in bytes");
    for (const { labels, sizes } of this.#byLabels.values()) {
      const shown = labels.replace('dry_run="",', "");
      if (sizes) lines.push(...sizes.lines("apiserver_response_sizes", shown));
    }
    lines.push(...this.#deprecated(deps).lines());
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

/** The same pieces; when they have been sent, `sizes` hears how many bytes they were. */
async function* measured(
  body: AsyncIterable<Uint8Array>,
  sizes: Histogram,
): AsyncGenerator<Uint8Array> {
  let bytes = 0;
  try {
    for await (const piece of body) {
      bytes += piece.length;
      yield piece;
    }
  } finally {
    sizes.add(bytes);
  }
}

/** The second leaves out what waits in queues and webhooks upstream; here both are the whole time. */
const DURATIONS = ["apiserver_request_duration_seconds", "apiserver_request_sli_duration_seconds"];

function labelsOf({ route, path }: Observed, verb: string, dryRun: string): string {
  const of = (component: string, parts: Partial<Route>, scope: string) =>
    `component="${component}",dry_run="${dryRun}",group="${label(parts.group ?? "")}",` +
    `resource="${label(parts.resource ?? "")}",scope="${scope}",` +
    `subresource="${parts.subresource ?? ""}",verb="${label(verb)}",` +
    `version="${label(parts.version ?? "")}"`;
  if (!route) {
    const root = path.split("/")[1];
    return of("", { subresource: PATHS.has(root) ? `/${root}` : "other" }, "");
  }
  const scope = route.name ? "resource" : route.namespace ? "namespace" : "cluster";
  return of("apiserver", { ...route, subresource: label(route.subresource) }, scope);
}

/** How many objects there are of each kind, and how many watches. */
export function objectLines(deps: Deps): string {
  const lines: string[] = [];
  for (const name of ["apiserver_storage_objects", "apiserver_resource_objects"]) {
    const old = name === "apiserver_storage_objects";
    head(lines, name, "gauge", "Objects, by resource");
    const seen = new Set<string>();
    for (const kind of deps.kinds.all()) {
      if (kind.virtual || seen.has(kind.path)) continue;
      seen.add(kind.path);
      const labels = old
        ? `resource="${resourceName(kind)}"`
        : `group="${kind.group}",resource="${kind.plural}"`;
      const store = kind.store === "events" ? deps.database.events : deps.database.objects;
      lines.push(`${name}{${labels}} ${store.view().count(`${kind.path}/`)}`);
    }
  }
  head(lines, "apiserver_longrunning_requests", "gauge", "Watches that are open");
  for (const [labels, count] of deps.flow.watches.open) {
    lines.push(`apiserver_longrunning_requests{component="apiserver",${labels}} ${count}`);
  }
  return lines.join("\n");
}

function label(text: string): string {
  // A route's parts come from whoever asks: only what could be a name is shown
  return /^[a-zA-Z0-9.-]{0,64}$/.test(text) ? text : "other";
}

function head(lines: string[], name: string, type: string, help: string): void {
  lines.push(`# HELP ${name} ${help}`, `# TYPE ${name} ${type}`);
}

/** How upstream calls the database where there is one. */
const STORAGE_ID = "etcd-0";

function storeLines(lines: string[], deps: Deps): void {
  const stores = { objects: deps.database.objects.stats(), events: deps.database.events.stats() };
  let bytes = 0;
  for (const { liveBytes, logBytes } of Object.values(stores)) bytes += liveBytes + logBytes;
  head(lines, "apiserver_storage_size_bytes", "gauge", "Bytes of everything that is stored");
  lines.push(`apiserver_storage_size_bytes{storage_cluster_id="${STORAGE_ID}"} ${bytes}`);
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
