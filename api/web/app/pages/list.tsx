/** Every object of a kind: the server's own table, live, with search, selectors, a choice of columns and namespaces. */
import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import { every, liked } from "../browser.ts";
import { type KindInfo, kindOf } from "../discovery.ts";
import { type Column, type LiveState, type Row, useLive } from "../live.ts";
import type { PageProps } from "../pages.ts";
import { Badge, Failure, Head, toneOf, Waiting } from "../parts/basics.tsx";
import { Filters, setting } from "../parts/filters.tsx";
import { Virtual } from "../parts/virtual.tsx";
import { at, groupOf, href, objectHref } from "../router.ts";
import { matching } from "../search.ts";
import { timeHere } from "../time_bar.tsx";
import { ago, t } from "../words.ts";
import { ALL_NAMESPACES, namespace, NamespaceChoice } from "../namespaces.tsx";

/** In pixels, as the style sheet has it. */
const ROW_HEIGHT = 36;
/** Rows that are looked at to find how wide a column is. */
const MEASURED_ROWS = 200;
const CHARACTERS_MAX = 44;

/** The page. */
export function ListPage({ rest, query }: PageProps) {
  const [segment = "", plural = ""] = rest;
  const kind = kindOf(groupOf(segment), plural);
  if (!kind) {
    return (
      <>
        <Head title={plural} />
        <Failure text={t("list.noKind")} />
      </>
    );
  }
  return <Listed key={`${segment}/${plural}`} kind={kind} query={query} />;
}

function Listed({ kind, query }: { kind: KindInfo; query: URLSearchParams }) {
  const where = kind.namespaced ? namespace.value : ALL_NAMESPACES;
  const labels = query.get("labels") ?? undefined;
  const fields = query.get("fields") ?? undefined;
  const search = query.get("search") ?? "";
  const state = useLive({
    resource: kind,
    namespace: where || undefined,
    labelSelector: labels,
    fieldSelector: fields,
  }, "table");
  return (
    <>
      <Head title={kind.kind} above={kind.group || "v1"}>
        {kind.namespaced && <NamespaceChoice />}
        {kind.verbs.includes("create") && at.value === undefined && (
          <a class="button" href={href(["deploy"])}>{t("create")}</a>
        )}
      </Head>
      <Filters label={t("search")} search={search}>
        <input
          aria-label={t("labelSelector")}
          placeholder={`${t("labelSelector")} (app=web)`}
          value={labels ?? ""}
          onChange={setting("labels")}
        />
        <input
          aria-label={t("fieldSelector")}
          placeholder={`${t("fieldSelector")} (metadata.name=web)`}
          value={fields ?? ""}
          onChange={setting("fields")}
        />
      </Filters>
      <KindTable kind={kind} state={state} search={search} />
    </>
  );
}

/** How rows are put in order. */
interface Order {
  column: number;
  down: boolean;
}

interface TableProps {
  kind: KindInfo;
  state: LiveState;
  search?: string;
  short?: boolean;
}

/** A live table of any rows of a kind, once there are any to show; also used where an object's page lists others. */
export function KindTable(props: TableProps) {
  const { failure, loaded, rows } = props.state;
  return (
    <>
      {failure && <Failure text={failure} />}
      {loaded || rows.size > 0 ? <Rows {...props} /> : !failure && <Waiting />}
    </>
  );
}

function Rows({ kind, state, search = "", short }: TableProps) {
  const [order, setOrder] = useState<Order>({ column: 0, down: false });
  const { chosen, toggle } = useColumns(kind, state.columns);
  const [, tick] = useState(0);
  useEffect(() => every(10_000, () => tick((n) => n + 1)), []);
  const former = useRef<readonly Row[]>([]);
  const rows = useMemo(() => {
    const found = asBefore(matching(state.rows.values(), search, textOf), former.current);
    return former.current = sorted(found, order, state.columns);
  }, [state.rows, search, order]);
  const namespaced = kind.namespaced && !short;
  const shown = state.columns.map((column, index) => ({ column, index }))
    .filter(({ column }) => chosen.has(column.name));
  const template = useMemo(() => widths(rows, shown, namespaced), [
    rows.length,
    chosen,
    namespaced,
  ]);
  const head = <TableHead {...{ shown, order, setOrder, namespaced, template }} />;
  return (
    <div class={short ? "kind-table short" : "kind-table"}>
      <p class="count">
        <span role="status">{t("list.count", { shown: rows.length, all: state.rows.size })}</span>
        <ColumnChoice columns={state.columns} {...{ chosen, toggle }} />
      </p>
      {rows.length === 0 && state.loaded && (
        <p class="quiet">{t(state.rows.size > 0 ? "list.notFound" : "list.empty")}</p>
      )}
      <Virtual
        count={rows.length}
        rowHeight={ROW_HEIGHT}
        label={kind.kind}
        columns={shown.length + (namespaced ? 1 : 0)}
        head={head}
        row={(i) => (
          <TableRow
            key={rows[i].key}
            {...{ kind, row: rows[i], index: i, shown, namespaced, template }}
          />
        )}
      />
    </div>
  );
}

interface Shown {
  column: Column;
  index: number;
}

function TableHead(
  { shown, order, setOrder, namespaced, template }: {
    shown: readonly Shown[];
    order: Order;
    setOrder: (order: Order) => void;
    namespaced: boolean;
    template: Widths;
  },
) {
  const sortBy = (column: number) =>
    setOrder({ column, down: order.column === column && !order.down });
  const cell = (name: string, index: number, description?: string) => (
    <div
      key={name}
      role="columnheader"
      title={description}
      aria-sort={order.column === index ? order.down ? "descending" : "ascending" : undefined}
    >
      <button type="button" class="plain" onClick={() => sortBy(index)}>
        {name}
        {order.column === index && <span aria-hidden="true">{order.down ? " ▾" : " ▴"}</span>}
      </button>
    </div>
  );
  const [first, ...others] = shown;
  return (
    <div class="table-head" role="rowgroup">
      <div class="table-row" role="row" aria-rowindex={1} style={template}>
        {first && cell(first.column.name, first.index, first.column.description)}
        {namespaced && cell(t("namespace"), NAMESPACE_COLUMN)}
        {others.map(({ column, index }) => cell(column.name, index, column.description))}
      </div>
    </div>
  );
}

/** Where a namespace stands among the server's columns: it is none of them. */
const NAMESPACE_COLUMN = -1;

function TableRow(
  { kind, row, index, shown, namespaced, template }: {
    kind: KindInfo;
    row: Row;
    index: number;
    shown: readonly Shown[];
    namespaced: boolean;
    template: Widths;
  },
) {
  const { metadata } = row.object;
  const [first, ...others] = shown;
  return (
    <div
      class="table-row"
      role="row"
      aria-rowindex={index + 2}
      style={template}
    >
      {first && (
        <div role="cell">
          <a href={objectHref(kind, metadata)}>{String(row.cells[first.index])}</a>
        </div>
      )}
      {namespaced && <div role="cell">{metadata.namespace}</div>}
      {others.map(({ column, index: at }) => (
        <div key={column.name} role="cell">{cellOf(row, column, at)}</div>
      ))}
    </div>
  );
}

/** Ages are told by a clock, so that they go on while nothing happens. */
function cellOf({ cells, object }: Row, { name }: Column, index: number) {
  const value = cells[index];
  if (name === "Age") {
    return ago(object.metadata.creationTimestamp, timeHere()) || String(value ?? "");
  }
  const text = value === null || value === undefined ? "" : String(value);
  return toneOf(text) ? <Badge word={text} /> : <span title={text}>{text}</span>;
}

function textOf({ key, cells }: Row): string {
  return `${key} ${cells.join(" ")}`;
}

/** Rows in the order that they had: little is out of order then, and ten thousand are sorted in a moment. */
function asBefore(rows: readonly Row[], former: readonly Row[]): Row[] {
  const left = new Map(rows.map((row) => [row.key, row]));
  const found: Row[] = [];
  for (const { key } of former) {
    const row = left.get(key);
    if (row) found.push(row);
    left.delete(key);
  }
  return [...found, ...left.values()];
}

function sorted(
  rows: readonly Row[],
  { column, down }: Order,
  columns: readonly Column[],
): Row[] {
  const age = columns[column]?.name === "Age";
  const value = (row: Row) =>
    column === NAMESPACE_COLUMN
      ? row.object.metadata.namespace ?? ""
      : age
      ? -Date.parse(row.object.metadata.creationTimestamp)
      : row.cells[column] ?? "";
  const keyed = rows.map((row) => ({ row, value: value(row) }));
  const sign = down ? -1 : 1;
  keyed.sort((a, b) => sign * compare(a.value, b.value) || compare(a.row.key, b.row.key));
  return keyed.map(({ row }) => row);
}

const COLLATOR = new Intl.Collator("en", { numeric: true });

function compare(a: unknown, b: unknown): number {
  if (typeof a === "number" && typeof b === "number") return a - b;
  return COLLATOR.compare(String(a), String(b));
}

/** How wide columns are: the same for the head and every row, each of which is a grid of its own. */
type Widths = Record<"gridTemplateColumns" | "minWidth", string>;

/** Characters beyond Latin are about twice as wide. */
function widthOf(text: string): number {
  return text.length + (text.match(/[\u1100-\uffdc]/g)?.length ?? 0);
}

function widths(rows: readonly Row[], shown: readonly Shown[], namespaced: boolean): Widths {
  const longest = (name: string, of: (row: Row) => unknown) => {
    let length = widthOf(name) + 4;
    for (const row of rows.slice(0, MEASURED_ROWS)) {
      length = Math.max(length, widthOf(String(of(row) ?? "")) + 2);
    }
    return Math.min(length, CHARACTERS_MAX);
  };
  const lengths = shown.map(({ column, index }) => longest(column.name, (row) => row.cells[index]));
  if (namespaced) {
    lengths.splice(1, 0, longest(t("namespace"), (row) => row.object.metadata.namespace));
  }
  return {
    gridTemplateColumns: lengths.map((length) => `minmax(${length}ch, ${length}fr)`).join(" "),
    minWidth: `calc(${lengths.reduce((a, b) => a + b, 0)}ch + 12px)`,
  };
}

/** Names of the columns that somebody wants of a kind; by default those that kubectl shows too. */
function useColumns({ group, plural }: KindInfo, columns: readonly Column[]) {
  const key = `columns ${group}/${plural}`;
  const [version, renew] = useState(0);
  const chosen = useMemo((): ReadonlySet<string> => {
    const kept = liked.getItem(key);
    if (kept) return new Set(JSON.parse(kept));
    return new Set(columns.filter(({ priority }) => priority === 0).map(({ name }) => name));
  }, [key, columns, version]);
  const toggle = (name: string) => {
    const next = new Set(chosen);
    if (!next.delete(name)) next.add(name);
    liked.setItem(key, JSON.stringify([...next]));
    renew(version + 1);
  };
  return { chosen, toggle };
}

function ColumnChoice(
  { columns, chosen, toggle }: {
    columns: readonly Column[];
    chosen: ReadonlySet<string>;
    toggle: (name: string) => void;
  },
) {
  return (
    <details class="column-choice">
      <summary>{t("columns")}</summary>
      <fieldset>
        <legend>{t("columns")}</legend>
        {columns.map(({ name }, i) => (
          <label key={name}>
            <input
              type="checkbox"
              checked={chosen.has(name)}
              disabled={i === 0}
              onChange={() => toggle(name)}
            />
            {name}
          </label>
        ))}
      </fieldset>
    </details>
  );
}
