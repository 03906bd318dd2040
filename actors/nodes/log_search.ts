/**
 * `/plesio/logs` of a node: lines of the logs of its pods, of those that are there and of those that are gone. Every
 * parameter narrows: `namespace`, `pod`, `container`, `since` and `until` (RFC 3339), `grep` (a text that a line
 * holds), and `limit`, the newest so many.
 */
import {
  isOwner,
  type KeptLogs,
  linesIn,
  type LogLine,
  type LogSearch,
  readEnd,
} from "./kept_logs.ts";
import type { PodWorker } from "./pod_worker.ts";

/** Where it is. */
export const LOGS_PATH = "/plesio/logs";
/** Lines of an answer unless it is asked for fewer, and at most. */
const FOUND_LINES_MAX = 10_000;
/** Lines that are looked through of each container that runs: its newest. */
const LIVE_LINES_MAX = 20_000;

/** Finds them, oldest first. */
export async function searchLogs(
  node: { workers(): Iterable<PodWorker>; keptLogs?: Pick<KeptLogs, "find"> },
  parameters: URLSearchParams,
): Promise<LogLine[]> {
  const search = searchOf(parameters);
  const limit = Math.min(Number(parameters.get("limit")) || FOUND_LINES_MAX, FOUND_LINES_MAX);
  let lines: LogLine[] = [];
  const take = (more: readonly LogLine[]) => {
    lines = lines.concat(more);
    // What is older than as many as are wanted is not held on to
    if (lines.length > 2 * FOUND_LINES_MAX) lines = newest(lines, limit);
  };
  for await (const more of node.keptLogs?.find(search) ?? []) take(more);
  for (const worker of node.workers()) {
    for await (const more of liveLines(worker, search)) take(more);
  }
  return newest(lines, limit);
}

/** So many of them, in the order of their times. */
function newest(lines: LogLine[], limit: number): LogLine[] {
  lines.sort((a, b) => a.time < b.time ? -1 : a.time > b.time ? 1 : 0);
  return lines.slice(-limit);
}

function searchOf(parameters: URLSearchParams): LogSearch {
  const text = (name: string) => parameters.get(name) || undefined;
  const time = (name: string) => {
    const at = Date.parse(parameters.get(name) ?? "");
    return Number.isNaN(at) ? undefined : at;
  };
  return {
    namespace: text("namespace"),
    pod: text("pod"),
    container: text("container"),
    grep: text("grep"),
    sinceMs: time("since"),
    untilMs: time("until"),
  };
}

async function* liveLines(
  { pod, records }: PodWorker,
  search: LogSearch,
): AsyncIterable<LogLine[]> {
  const { namespace = "", name, uid } = pod.metadata;
  const { sinceMs } = search;
  for (const record of records) {
    const owner = { namespace, pod: name, uid, container: record.name, gone: false };
    if (!isOwner(owner, search)) continue;
    const { restarts: attempt } = record;
    const bytes = await readEnd({ pod, record, attempt, lines: LIVE_LINES_MAX, sinceMs });
    yield linesIn(bytes, owner, search);
  }
}
