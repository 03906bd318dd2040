/** Actors in Prometheus' text format, by the names that controllers' queues have upstream (`workqueue_*`). */
import type { ActorReport } from "./contract.ts";

/** A name of upstream's, what it tells, and where a report has it. */
const ROWS: readonly [string, "counter" | "gauge", string, (report: ActorReport) => number][] = [
  [
    "workqueue_adds_total",
    "counter",
    "Keys that came",
    ({ handled, running, waiting }) => handled + running + waiting,
  ],
  ["workqueue_depth", "gauge", "Keys that wait", ({ waiting }) => waiting],
  ["workqueue_retries_total", "counter", "Keys that came back", ({ failed }) => failed],
  [
    "workqueue_queue_oldest_seconds",
    "gauge",
    "How long the oldest waiting key has waited",
    ({ lagMs }) => lagMs / 1000,
  ],
  [
    "workqueue_unfinished_work_seconds",
    "gauge",
    "How long keys that are worked on have been, together",
    ({ unfinished }) => unfinished.sumMs / 1000,
  ],
  [
    "workqueue_longest_running_processor_seconds",
    "gauge",
    "How long the key has been that is worked on longest",
    ({ unfinished }) => unfinished.longestMs / 1000,
  ],
];

/** Histograms: a name of upstream's, what it tells, and which of a report's. */
const TIMES = [
  ["workqueue_queue_duration_seconds", "How long keys wait, in seconds", "queued"],
  ["workqueue_work_duration_seconds", "How long keys are worked on, in seconds", "worked"],
] as const;

/** Lines for `/metrics`. A pod's own actor has none: pods come and go. */
export function workqueueLines(reports: readonly ActorReport[]): string {
  const shown = reports.filter(({ address }) => !address.startsWith("pod/"));
  if (shown.length === 0) return "";
  const lines: string[] = [];
  for (const [name, type, help, read] of ROWS) {
    lines.push(`# HELP ${name} ${help}`, `# TYPE ${name} ${type}`);
    for (const report of shown) {
      lines.push(`${name}{name=${JSON.stringify(nameOf(report.address))}} ${read(report)}`);
    }
  }
  for (const [name, help, field] of TIMES) {
    lines.push(`# HELP ${name} ${help}`, `# TYPE ${name} histogram`);
    for (const { address, times } of shown) {
      lines.push(...times[field].lines(name, `name=${JSON.stringify(nameOf(address))}`));
    }
  }
  return lines.join("\n");
}

const MANAGED = "running_managed_controllers";

/** Controllers that run in this process. */
export function controllerLines(reports: readonly ActorReport[]): string {
  const lines = [`# HELP ${MANAGED} Controllers that run`, `# TYPE ${MANAGED} gauge`];
  for (const { address, state } of reports) {
    const row = /^controller\/([^/]+)$/.exec(address)?.[1];
    if (row === undefined) continue;
    const running = state === "running" ? 1 : 0;
    lines.push(`${MANAGED}{manager="kube-controller-manager",name="${row}"} ${running}`);
  }
  return lines.length > 2 ? lines.join("\n") : "";
}

/** `controller/deployment` is `deployment`, as upstream's queue; others keep their address. */
function nameOf(address: string): string {
  return address.replace(/^controller\//, "");
}
