/** Containers' logs as they are written. */
import { linesOf } from "../../client/http.ts";
import { soon } from "./browser.ts";
import { ask, pathOf, reasonOf } from "./kube.ts";

/** One line. */
export interface LogLine {
  /** `pod/container`. */
  source: string;
  time: string;
  text: string;
}

/** Whose log. */
export interface LogSource {
  namespace: string;
  pod: string;
  container: string;
}

/** What of it. */
export interface LogOptions {
  follow: boolean;
  previous: boolean;
  /** Lines of the past, of each container. */
  tail: number;
}

/** Lines kept of all sources together; the oldest go first. */
const LOG_LINES_MAX = 20_000;

/** Reads all sources until the signal ends it; `show` is given all lines, in order of time, before the next picture. */
export function readLogs(
  sources: readonly LogSource[],
  options: LogOptions,
  { signal, show, failed }: {
    signal: AbortSignal;
    show: (lines: LogLine[]) => void;
    failed: (text: string) => void;
  },
): void {
  let lines: LogLine[] = [];
  let waiting: LogLine[] = [];
  const flush = () => {
    if (signal.aborted) return;
    lines = merged(lines, waiting);
    waiting = [];
    show(lines);
  };
  for (const source of sources) {
    const name = `${source.pod}/${source.container}`;
    const take = (texts: readonly string[]) => {
      if (waiting.length === 0) soon(flush);
      for (const text of texts) waiting.push(lineOf(name, text));
      // Nothing is drawn, and so nothing shown, while nobody looks at the page
      if (waiting.length > 2 * LOG_LINES_MAX) waiting = waiting.slice(-LOG_LINES_MAX);
    };
    readOne(source, options, { signal, take }).catch((error) => {
      if (!signal.aborted) failed(`${name}: ${reasonOf(error)}`);
    });
  }
}

/** Both together in order of time, no more than are kept. */
function merged(before: readonly LogLine[], after: readonly LogLine[]): LogLine[] {
  const all = [...before, ...after];
  const last = before.at(-1)?.time ?? "";
  const late = after.some(({ time }, i) => time < (i ? after[i - 1].time : last));
  if (late) all.sort((a, b) => a.time < b.time ? -1 : a.time > b.time ? 1 : 0);
  return all.length > LOG_LINES_MAX ? all.slice(-LOG_LINES_MAX) : all;
}

function lineOf(source: string, line: string): LogLine {
  const space = line.indexOf(" ");
  // deno-lint-ignore no-control-regex -- colours are for terminals
  const text = line.slice(space + 1).replace(/\x1b\[[0-9;?]*[A-Za-z]/g, "");
  return { source, time: line.slice(0, space), text };
}

async function readOne(
  { namespace, pod, container }: LogSource,
  { follow, previous, tail }: LogOptions,
  { signal, take }: { signal: AbortSignal; take: (lines: readonly string[]) => void },
): Promise<void> {
  const query = new URLSearchParams({ container, timestamps: "true", tailLines: String(tail) });
  if (previous) query.set("previous", "true");
  else if (follow) query.set("follow", "true");
  const resource = { group: "", version: "v1", plural: "pods" };
  const path = pathOf({ resource, namespace, name: pod, subresource: "log" });
  const answer = await ask(`${path}?${query}`, { signal });
  for await (const lines of linesOf(answer.body!, { last: true })) take(lines);
}
