/** Logs of a pod, or of all pods of a workload: followed, searched, several containers at once. */
import { useEffect, useMemo, useState } from "preact/hooks";
import { save } from "../browser.ts";
import { type LogLine, type LogSource, readLogs } from "../log_stream.ts";
import type { PanelProps } from "../panels.ts";
import { Failure } from "../parts/basics.tsx";
import { Virtual } from "../parts/virtual.tsx";
import { usePods } from "../pods.ts";
import { matching } from "../search.ts";
import { t } from "../words.ts";

const TAIL_LINES = 1_000;
const LINE_HEIGHT = 20;
/** Containers that are followed at once; more would be more connections than eyes. */
const SOURCES_MAX = 20;

/** The panel. */
export function LogsPanel(props: PanelProps) {
  const pods = usePods(props);
  const sources = useMemo(() => sourcesOf(pods), [namesOf(pods)]);
  const [left, leave] = useState<ReadonlySet<string>>(new Set());
  const [follow, setFollow] = useState(true);
  const [previous, setPrevious] = useState(false);
  const [search, setSearch] = useState("");
  const wanted = sources.filter((one) => !left.has(keyOf(one))).slice(0, SOURCES_MAX);
  const { lines, failures } = useLogs(wanted, { follow, previous });
  const shown = useMemo(
    () => matching(lines, search, ({ source, text }) => `${source} ${text}`),
    [lines, search],
  );
  const toggle = (key: string) => {
    const next = new Set(left);
    if (!next.delete(key)) next.add(key);
    leave(next);
  };
  return (
    <div class="logs">
      <div class="actions">
        <input
          type="search"
          aria-label={t("search")}
          placeholder={t("search")}
          value={search}
          onInput={(event) => setSearch(event.currentTarget.value)}
        />
        <button type="button" aria-pressed={follow} onClick={() => setFollow(!follow)}>
          {t("logs.follow")}
        </button>
        <button type="button" aria-pressed={previous} onClick={() => setPrevious(!previous)}>
          {t("logs.previous")}
        </button>
        <button type="button" onClick={() => save("log.txt", "text/plain", textOf(shown))}>
          {t("download")}
        </button>
        <span class="quiet" role="status">
          {t("list.count", { shown: shown.length, all: lines.length })}
        </span>
      </div>
      {sources.length > 1 && (
        <fieldset class="choices">
          <legend>{t("logs.sources")}</legend>
          {sources.map((one) => (
            <label key={keyOf(one)}>
              <input
                type="checkbox"
                checked={!left.has(keyOf(one))}
                onChange={() => toggle(keyOf(one))}
              />
              {keyOf(one)}
            </label>
          ))}
        </fieldset>
      )}
      {failures.map((text) => <Failure key={text} text={text} />)}
      <Virtual
        class="log-lines"
        role="log"
        stick={follow}
        count={shown.length}
        rowHeight={LINE_HEIGHT}
        label={t("panel.logs")}
        row={(i) => <LogRow key={i} line={shown[i]} many={wanted.length > 1} />}
      />
    </div>
  );
}

function LogRow({ line, many }: { line: LogLine; many: boolean }) {
  return (
    <div class="log-line">
      <time dateTime={line.time}>{line.time.slice(11, 23)}</time>
      {many && <span class="source">{line.source}</span>}
      <span>{line.text}</span>
    </div>
  );
}

function useLogs(sources: readonly LogSource[], options: { follow: boolean; previous: boolean }) {
  const [lines, show] = useState<LogLine[]>([]);
  const [failures, fail] = useState<readonly string[]>([]);
  const key = JSON.stringify([sources, options]);
  useEffect(() => {
    const stop = new AbortController();
    show([]);
    fail([]);
    readLogs(sources, { ...options, tail: TAIL_LINES }, {
      signal: stop.signal,
      show,
      failed: (text) => fail((known) => [...known, text]),
    });
    return () => stop.abort();
  }, [key]);
  return { lines, failures };
}

function namesOf(pods: readonly any[]): string {
  return pods.map(({ metadata }) => metadata.name).join(" ");
}

function sourcesOf(pods: readonly any[]): LogSource[] {
  return pods.flatMap(({ metadata, spec }) =>
    [...spec.initContainers ?? [], ...spec.containers, ...spec.ephemeralContainers ?? []].map(
      ({ name }) => ({ namespace: metadata.namespace, pod: metadata.name, container: name }),
    )
  );
}

function keyOf({ pod, container }: LogSource): string {
  return `${pod}/${container}`;
}

function textOf(lines: readonly LogLine[]): string {
  return lines.map(({ time, source, text }) => `${time} ${source} ${text}\n`).join("");
}
