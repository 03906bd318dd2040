/**
 * What `/metrics` says, as OTLP's metrics: the very same numbers, read from the text that Prometheus would be given.
 * Counters are cumulative sums since the server started, histograms keep their buckets; summaries, whose quantiles no
 * collector can add up, are left out.
 */
import type { Pace } from "../machinery/pace.ts";

/** A metric's samples by the text of their labels, `le` aside. */
interface Family {
  readonly name: string;
  readonly help: string;
  readonly type: string;
  readonly points: Map<string, Point>;
}

interface Point {
  readonly attributes: readonly object[];
  value?: number;
  /** Of a histogram: how many were at most so much. */
  readonly buckets: [bound: number, count: number][];
  sum?: number;
  count?: number;
}

/** When counting began and when it was read (ms since 1970). */
export interface Period {
  readonly begin: number;
  readonly end: number;
}

/** OTLP: sums since the beginning. */
const CUMULATIVE = 2;
const SAMPLE = /^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (\S+)/;
const LABEL = /([a-zA-Z_]\w*)="((?:[^"\\]|\\.)*)"/g;

/** An ExportMetricsServiceRequest of Prometheus' text. `resource`: whose they are. There are thousands of lines: others run in between. */
export async function metricsMessage(
  text: string,
  period: Period,
  resource: object,
  pace: Pace,
): Promise<object> {
  const metrics: object[] = [];
  for (const family of await familiesOf(text, pace)) {
    if (pace.due) await pace.turn();
    const metric = encoded(family, period);
    if (metric) metrics.push(metric);
  }
  const scopeMetrics = [{ scope: { name: "apiserver" }, metrics }];
  return { resourceMetrics: [{ resource, scopeMetrics }] };
}

async function familiesOf(text: string, pace: Pace): Promise<Iterable<Family>> {
  const families = new Map<string, Family>();
  const helps = new Map<string, string>();
  for (const line of text.split("\n")) {
    if (pace.due) await pace.turn();
    if (line.startsWith("# HELP ")) {
      const [, , name, ...words] = line.split(" ");
      helps.set(name, words.join(" "));
    } else if (line.startsWith("# TYPE ")) {
      const [, , name, type] = line.split(" ");
      families.set(name, { name, help: helps.get(name) ?? "", type, points: new Map() });
    } else if (line !== "" && line[0] !== "#") addSample(families, line);
  }
  return families.values();
}

const PARTS = /_(bucket|sum|count)$/;

function addSample(families: Map<string, Family>, line: string): void {
  const found = SAMPLE.exec(line);
  if (!found) return;
  const [, name, labels = "", text] = found;
  const value = Number(text === "+Inf" ? Infinity : text);
  const part = PARTS.exec(name)?.[1];
  const whole = part && families.get(name.slice(0, -part.length - 1));
  const family = whole && whole.type === "histogram" ? whole : families.get(name);
  if (!family || Number.isNaN(value)) return;
  const attributes: object[] = [];
  let bound = NaN;
  let key = "";
  for (const [whole, name, quoted] of labels.matchAll(LABEL)) {
    if (family.type === "histogram" && name === "le") {
      bound = quoted === "+Inf" ? Infinity : Number(quoted);
      continue;
    }
    key += whole;
    const stringValue = quoted.replaceAll(/\\(.)/g, (_, c) => c === "n" ? "\n" : c);
    attributes.push({ key: name, value: { stringValue } });
  }
  let point = family.points.get(key);
  if (!point) family.points.set(key, point = { attributes, buckets: [] });
  if (family !== whole) point.value = value;
  else if (part === "bucket") point.buckets.push([bound, value]);
  else if (part === "sum") point.sum = value;
  else point.count = value;
}

function encoded({ name, help, type, points }: Family, period: Period): object | undefined {
  const times = {
    startTimeUnixNano: nanoseconds(period.begin),
    timeUnixNano: nanoseconds(period.end),
  };
  const all = [...points.values()];
  const about = { name, description: help };
  if (type === "histogram") {
    const dataPoints = all.filter(({ count }) => count !== undefined)
      .map((point) => ({ ...times, attributes: point.attributes, ...histogram(point) }));
    const is = { aggregationTemporality: CUMULATIVE, dataPoints };
    return dataPoints.length ? { ...about, histogram: is } : undefined;
  }
  const dataPoints = all.filter(({ value }) => Number.isFinite(value))
    .map(({ attributes, value }) => ({ ...times, attributes, asDouble: value }));
  if (dataPoints.length === 0 || type === "summary") return undefined;
  if (type !== "counter") return { ...about, gauge: { dataPoints } };
  const sum = { isMonotonic: true, aggregationTemporality: CUMULATIVE, dataPoints };
  return { ...about, sum };
}

/** Buckets that count each by itself, as OTLP has them. */
function histogram({ buckets, sum, count }: Point): object {
  const explicitBounds: number[] = [];
  const bucketCounts: string[] = [];
  let before = 0;
  for (const [bound, upTo] of buckets.toSorted(([a], [b]) => a - b)) {
    if (Number.isFinite(bound)) explicitBounds.push(bound);
    bucketCounts.push(String(upTo - before));
    before = upTo;
  }
  return { count: String(count), sum, bucketCounts, explicitBounds };
}

/** A time as OTLP's JSON has it: its numbers are too small for it. Microseconds are as exact as the clock. */
export function nanoseconds(ms: number): string {
  return `${Math.round(ms * 1_000)}000`;
}
