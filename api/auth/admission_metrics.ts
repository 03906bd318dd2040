/** Metrics of what admission asks outside, by upstream's names. Labels of webhooks come from who configures them: bounded. */

/** Upper bounds of latency, in seconds (upstream's). */
const BUCKETS = [0.005, 0.025, 0.1, 0.5, 1, 2.5, 10, 25];
/** Sets of labels that one metric keeps apart. */
export const SERIES_MAX = 1_000;
/** Codes above are shown as this one. */
const CODE_MAX = 600;

type Labels = Readonly<Record<string, string | number | boolean>>;

interface Duration {
  count: number;
  sum: number;
  buckets: number[];
}

const COUNTERS: Readonly<Record<string, string>> = {
  webhook_rejection_count: "Requests that webhooks refused, by why",
  webhook_fail_open_count: "Failures to ask a webhook that were ignored",
  webhook_request_total: "Requests that webhooks were asked about, by code",
  match_condition_evaluation_errors_total: "Match conditions that could not be evaluated",
  match_condition_exclusions_total: "Requests that match conditions kept from a webhook",
};
const DURATION = "apiserver_admission_webhook_admission_duration_seconds";

/** How a webhook is called in metrics. */
export type StepType = "admit" | "validating";

/** Counts what webhooks are asked and how it ends. */
export class AdmissionMetrics {
  readonly #counters = new Map<string, Map<string, number>>();
  readonly #durations = new Map<string, Duration>();

  /** One call that was made, refused or not. */
  called(
    { name, type, operation }: { name: string; type: StepType; operation: string },
    { ms, code, rejected }: { ms: number; code: number; rejected: boolean },
  ): void {
    this.#count("webhook_request_total", {
      name,
      type,
      operation,
      code: Math.min(code, CODE_MAX),
      rejected,
    });
    const key = text({ name, type, operation, rejected });
    let duration = this.#durations.get(key);
    if (!duration) {
      if (this.#durations.size >= SERIES_MAX) return;
      duration = { count: 0, sum: 0, buckets: BUCKETS.map(() => 0) };
      this.#durations.set(key, duration);
    }
    duration.count++;
    duration.sum += ms / 1000;
    BUCKETS.forEach((le, i) => {
      if (ms / 1000 <= le) duration.buckets[i]++;
    });
  }

  /** A request was refused by a webhook, or because it could not be asked. */
  rejected(
    { name, type, operation }: { name: string; type: StepType; operation: string },
    why: "no_error" | "calling_webhook_error" | "apiserver_internal_error",
    code: number,
  ): void {
    const labels = { name, type, operation, error_type: why };
    this.#count("webhook_rejection_count", { ...labels, rejection_code: Math.min(code, CODE_MAX) });
  }

  /** A webhook could not be asked, and that was ignored. */
  failedOpen(name: string, type: StepType): void {
    this.#count("webhook_fail_open_count", { name, type });
  }

  /** Match conditions kept a request from a webhook, or could not tell. */
  condition(what: "errors" | "exclusions", labels: Labels): void {
    this.#count(
      what === "errors"
        ? "match_condition_evaluation_errors_total"
        : "match_condition_exclusions_total",
      labels,
    );
  }

  #count(metric: string, labels: Labels): void {
    let series = this.#counters.get(metric);
    if (!series) this.#counters.set(metric, series = new Map());
    const key = text(labels);
    if (!series.has(key) && series.size >= SERIES_MAX) return;
    series.set(key, (series.get(key) ?? 0) + 1);
  }

  /** Everything as Prometheus reads it. */
  text(): string {
    const lines: string[] = [];
    for (const [metric, series] of this.#counters) {
      const name = `apiserver_admission_${metric}`;
      lines.push(`# HELP ${name} ${COUNTERS[metric]}`, `# TYPE ${name} counter`);
      for (const [labels, count] of series) lines.push(`${name}{${labels}} ${count}`);
    }
    if (this.#durations.size) {
      lines.push(`# HELP ${DURATION} Time that webhooks take, in seconds`);
      lines.push(`# TYPE ${DURATION} histogram`);
    }
    for (const [labels, { count, sum, buckets }] of this.#durations) {
      BUCKETS.forEach((le, i) => {
        lines.push(`${DURATION}_bucket{${labels},le="${le}"} ${buckets[i]}`);
      });
      lines.push(`${DURATION}_bucket{${labels},le="+Inf"} ${count}`);
      lines.push(`${DURATION}_sum{${labels}} ${sum}`, `${DURATION}_count{${labels}} ${count}`);
    }
    return lines.join("\n");
  }
}

function text(labels: Labels): string {
  return Object.entries(labels).map(([name, value]) =>
    `${name}="${String(value).replace(/[\\"\n]/g, (c) => c === "\n" ? "\\n" : `\\${c}`)}"`
  ).join(",");
}
