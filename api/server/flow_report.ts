/** Flow control as others see it: metrics by upstream's names, and the three tables under /debug. */
import { formatDuration } from "../machinery/time.ts";
import type { Details, Flow } from "./flow.ts";
import type { FlowStats, Histogram, Level } from "./flow_levels.ts";
import type { Ticket } from "./flow_queues.ts";

/** Lines for `/metrics`. */
export function flowLines(flow: Flow): string {
  const lines: string[] = [];
  const family = (name: string, type: string, help: string) =>
    lines.push(`# HELP ${name} ${help}`, `# TYPE ${name} ${type}`);
  const inflight = "apiserver_current_inflight_requests";
  family(inflight, "gauge", "Requests being worked on");
  lines.push(`${inflight}{request_kind="readOnly"} ${flow.reads}`);
  lines.push(`${inflight}{request_kind="mutating"} ${flow.writes}`);
  const inqueue = "apiserver_current_inqueue_requests";
  family(inqueue, "gauge", "Requests that wait to be worked on");
  lines.push(`${inqueue}{request_kind="readOnly"} ${flow.waitingReads}`);
  lines.push(`${inqueue}{request_kind="mutating"} ${flow.waitingWrites}`);
  const dropped = "apiserver_dropped_requests_total";
  family(dropped, "counter", "Requests told to come again");
  lines.push(`${dropped}{request_kind="readOnly"} ${flow.refused.read}`);
  lines.push(`${dropped}{request_kind="mutating"} ${flow.refused.write}`);
  const { levels } = flow;
  if (levels) {
    levelLines([...levels.levels.values()], family, lines);
    statLines([...levels.stats.values()], family, lines);
  }
  return lines.join("\n");
}

type Family = (name: string, type: string, help: string) => void;

const PREFIX = "apiserver_flowcontrol_";

const GAUGES: readonly [string, string, (level: Level) => number][] = [
  ["nominal_limit_seats", "Seats by shares", (level) => level.nominal],
  ["lower_limit_seats", "Seats that are never lent", (level) => level.least],
  ["upper_limit_seats", "Seats with all that can be borrowed", (level) => level.most],
  ["current_limit_seats", "Seats now", (level) => level.current],
  ["request_concurrency_limit", "Seats by shares (the old name)", (level) => level.nominal],
  ["demand_seats_high_watermark", "Most seats wanted lately", (level) => level.seen.highest],
  ["demand_seats_average", "Seats wanted lately, mean", (level) => level.seen.mean],
  ["demand_seats_stdev", "Seats wanted lately, deviation", (level) => level.seen.deviation],
  ["demand_seats_smoothed", "Seats wanted, with a memory", (level) => level.smoothed],
  ["target_seats", "Seats aimed at", (level) => level.target],
  ["current_r", "Virtual time, in seat-seconds", (level) => level.set.r / 1000],
];

function levelLines(levels: readonly Level[], family: Family, lines: string[]): void {
  for (const [name, help, read] of GAUGES) {
    family(PREFIX + name, "gauge", help);
    for (const level of levels) {
      lines.push(`${PREFIX}${name}{priority_level="${level.name}"} ${read(level)}`);
    }
  }
  const now = new Map<
    string,
    { labels: string; waiting: number; serving: number; seats: number }
  >();
  for (const level of levels) {
    for (const { ticket, serving } of ticketsOf(level)) {
      const labels = `priority_level="${level.name}",flow_schema="${ticket.label.schema}"`;
      let counts = now.get(labels);
      if (!counts) now.set(labels, counts = { labels, waiting: 0, serving: 0, seats: 0 });
      if (serving) {
        counts.serving++;
        counts.seats += ticket.width;
      } else counts.waiting++;
    }
  }
  const current = [
    ["current_inqueue_requests", "Requests that wait", "waiting"],
    ["current_executing_requests", "Requests that are served", "serving"],
    ["current_executing_seats", "Seats of those that are served", "seats"],
  ] as const;
  for (const [name, help, field] of current) {
    family(PREFIX + name, "gauge", help);
    for (const counts of now.values()) {
      lines.push(`${PREFIX}${name}{${counts.labels}} ${counts[field]}`);
    }
  }
}

function statLines(
  all: readonly { level: string; schema: string; stats: FlowStats }[],
  family: Family,
  lines: string[],
): void {
  const labelsOf = (level: string, schema: string) =>
    `priority_level="${level}",flow_schema="${schema}"`;
  const dispatched = `${PREFIX}dispatched_requests_total`;
  family(dispatched, "counter", "Requests that were served");
  for (const { level, schema, stats } of all) {
    lines.push(`${dispatched}{${labelsOf(level, schema)}} ${stats.dispatched}`);
  }
  const rejected = `${PREFIX}rejected_requests_total`;
  family(rejected, "counter", "Requests that were refused, by reason");
  for (const { level, schema, stats } of all) {
    for (const [reason, count] of stats.rejected) {
      lines.push(`${rejected}{${labelsOf(level, schema)},reason="${reason}"} ${count}`);
    }
  }
  const waits = `${PREFIX}request_wait_duration_seconds`;
  family(waits, "histogram", "How long requests waited");
  for (const { level, schema, stats } of all) {
    histogram(lines, waits, `${labelsOf(level, schema)},execute="true"`, stats.waits);
  }
  const executions = `${PREFIX}request_execution_seconds`;
  family(executions, "histogram", "How long requests were served");
  for (const { level, schema, stats } of all) {
    histogram(lines, executions, `${labelsOf(level, schema)},type="regular"`, stats.executions);
  }
  const seats = `${PREFIX}work_estimated_seats`;
  family(seats, "histogram", "Seats that requests were estimated to take");
  for (const { level, schema, stats } of all) {
    histogram(lines, seats, labelsOf(level, schema), stats.seats);
  }
}

function histogram(lines: string[], name: string, labels: string, found: Histogram): void {
  if (found.count === 0) return;
  found.bounds.forEach((le, i) =>
    lines.push(`${name}_bucket{${labels},le="${le}"} ${found.buckets[i]}`)
  );
  lines.push(
    `${name}_bucket{${labels},le="+Inf"} ${found.count}`,
    `${name}_sum{${labels}} ${found.sum}`,
    `${name}_count{${labels}} ${found.count}`,
  );
}

interface Shown {
  ticket: Ticket;
  serving: boolean;
  /** -1: without one. */
  queue: number;
  /** Its place; -1: it is served. */
  place: number;
}

function* ticketsOf({ set }: Level): Generator<Shown> {
  for (const queue of set.queues) {
    for (const [place, ticket] of queue.waiting.entries()) {
      yield { ticket, serving: false, queue: queue.index, place };
    }
    for (const ticket of queue.serving) {
      yield { ticket, serving: true, queue: queue.index, place: -1 };
    }
  }
  for (const ticket of set.unqueued) yield { ticket, serving: true, queue: -1, place: -1 };
}

/** Where the tables lie. */
export const FLOW_DEBUG = "/debug/api_priority_and_fairness/";

/** One of the tables; undefined for any other name. `wall` turns a monotonic time into a time of day. */
export function flowTable(
  flow: Flow,
  name: string,
  { details, wall }: { details: boolean; wall: (monotonic: number) => number },
): string | undefined {
  if (!flow.levels) return undefined;
  const levels = [...flow.levels.levels.values()].sort((a, b) => a.name < b.name ? -1 : 1);
  switch (name) {
    case "dump_priority_levels":
      return aligned([LEVEL_COLUMNS, ...levels.map(levelRow)]);
    case "dump_queues":
      return aligned([QUEUE_COLUMNS, ...levels.flatMap(queueRows)]);
    case "dump_requests": {
      const time = (at: number) => new Date(wall(at)).toISOString();
      const columns = details ? [...REQUEST_COLUMNS, ...DETAIL_COLUMNS] : REQUEST_COLUMNS;
      return aligned([columns, ...levels.flatMap((level) => requestRows(level, details, time))]);
    }
    default:
      return undefined;
  }
}

const LEVEL_COLUMNS = [
  "PriorityLevelName",
  "ActiveQueues",
  "IsIdle",
  "IsQuiescing",
  "WaitingRequests",
  "ExecutingRequests",
  "DispatchedRequests",
  "RejectedRequests",
  "TimedoutRequests",
  "CancelledRequests",
];

function levelRow({ name, set, quiescing }: Level): string[] {
  const { counts } = set;
  const active = set.queues.filter((queue) => queue.waiting.length > 0).length;
  const numbers = [
    set.waiting,
    set.serving,
    counts.dispatched,
    counts.rejected,
    counts.timedOut,
    counts.cancelled,
  ];
  return [name, String(active), String(set.idle), String(quiescing), ...numbers.map(String)];
}

const QUEUE_COLUMNS = [
  "PriorityLevelName",
  "Index",
  "PendingRequests",
  "ExecutingRequests",
  "SeatsInUse",
  "NextDispatchR",
  "InitialSeatsSum",
  "MaxSeatsSum",
  "TotalWorkSum",
];

/** Work in seat-seconds, as upstream prints it. */
function seatSeconds(ms: number): string {
  return `${(ms / 1000).toFixed(8)}ss`;
}

function queueRows({ name, set }: Level): string[][] {
  return set.queues.map((queue) => [
    name,
    String(queue.index),
    String(queue.waiting.length),
    String(queue.serving.size),
    String(queue.seatsInUse),
    seatSeconds(queue.nextR),
    String(queue.waiting.reduce((sum, { work }) => sum + work.seats, 0)),
    String(queue.seatsWaiting),
    seatSeconds(queue.workWaiting),
  ]);
}

const REQUEST_COLUMNS = [
  "PriorityLevelName",
  "FlowSchemaName",
  "QueueIndex",
  "RequestIndexInQueue",
  "FlowDistingsher",
  "ArriveTime",
  "InitialSeats",
  "FinalSeats",
  "AdditionalLatency",
  "StartTime",
];
const DETAIL_COLUMNS = [
  "UserName",
  "Verb",
  "APIPath",
  "Namespace",
  "Name",
  "APIVersion",
  "Resource",
  "SubResource",
];

function requestRows(level: Level, details: boolean, time: (at: number) => string): string[][] {
  return [...ticketsOf(level)].map(({ ticket, serving, queue, place }) => {
    const { label, work, arrivedAt, startedAt } = ticket;
    const row = [
      level.name,
      label.schema,
      String(queue),
      String(place),
      label.flow,
      time(arrivedAt),
      String(work.seats),
      String(work.finalSeats),
      formatDuration(work.finalMs),
      serving ? time(startedAt) : "0001-01-01T00:00:00Z",
    ];
    if (!details) return row;
    const { passage, path } = ticket.details as Details;
    const { verb, namespace, name, group, version, resource, subresource } = passage.requested;
    const apiVersion = group ? `${group}/${version}` : version;
    return [
      ...row,
      passage.user.name,
      verb,
      path,
      namespace,
      name,
      apiVersion,
      resource,
      subresource,
    ];
  });
}

/** Rows whose columns begin one below the other. */
function aligned(rows: readonly (readonly string[])[]): string {
  const widths: number[] = [];
  for (const row of rows) {
    row.forEach((cell, i) => {
      if (i < row.length - 1) widths[i] = Math.max(widths[i] ?? 8, cell.length + 2);
    });
  }
  const lines = rows.map((row) =>
    row.map((cell, i) => i < row.length - 1 ? `${cell},`.padEnd(widths[i]) : cell).join("")
  );
  return lines.join("\n") + "\n";
}
