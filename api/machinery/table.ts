/**
 * What `kubectl get` prints: Table documents from a kind's columns, and PartialObjectMetadata. Columns
 * with a `cell` function are built-in kinds', columns with a `jsonPath` custom resources'.
 */
import { badRequest } from "./errors.ts";
import { compileJsonPath, type JsonPath, JsonPathError, jsonPathText } from "./jsonpath.ts";
import { humanDuration, parseTime } from "./time.ts";
import type { Column, DeepReadonly, Json, Kind, KubeObject, RowCondition } from "./types.ts";

/** What a row carries beside its cells. */
export type IncludeObject = "None" | "Metadata" | "Object";

/** The group that Table and PartialObjectMetadata belong to. */
export type MetaVersion = "meta.k8s.io/v1" | "meta.k8s.io/v1beta1";

/** A cell. */
export type Cell = string | number | boolean | null;

/** A header of a Table. */
export interface TableColumn {
  name: string;
  type: string;
  format: string;
  description: string;
  priority: number;
}

/** A row of a Table. */
export interface TableRow {
  cells: Cell[];
  conditions?: readonly RowCondition[];
  object: DeepReadonly<KubeObject> | PartialObjectMetadata | null;
}

/** metadata of a list. */
export interface ListMeta {
  resourceVersion?: string;
  continue?: string;
  remainingItemCount?: number;
}

/** A Table document. */
export interface Table {
  kind: "Table";
  apiVersion: MetaVersion;
  metadata: ListMeta;
  /** None at all, where the headers have been sent before. */
  columnDefinitions: TableColumn[] | null;
  rows: TableRow[];
}

/** An object without everything but its metadata. */
export interface PartialObjectMetadata {
  kind: "PartialObjectMetadata";
  apiVersion: MetaVersion;
  metadata: DeepReadonly<KubeObject["metadata"]>;
}

/** How a Table is to be made. */
export interface TableOptions {
  /** Wall time in ms, for ages. */
  now: number;
  /** Default Metadata. */
  includeObject?: IncludeObject;
  /** Default meta.k8s.io/v1. */
  version?: MetaVersion;
  /** Leave the headers out: all but the first Table of a watch. */
  noHeaders?: boolean;
}

type Printable = Pick<Kind, "columns" | "custom" | "rowConditions">;

const DEFAULT_COLUMNS: readonly Column[] = [
  {
    name: "Name",
    type: "string",
    format: "name",
    description: "The object's name.",
    cell: (object) => object.metadata.name,
  },
  {
    name: "Created At",
    type: "date",
    description: "When the object was created.",
    cell: (object) => object.metadata.creationTimestamp ?? null,
  },
];

const NAME: Column = DEFAULT_COLUMNS[0];

const columnsOf = new WeakMap<readonly Column[], readonly Column[]>();

/** The columns that are printed: a kind's own; custom resources' are preceded by the name. */
export function printedColumns(kind: Printable): readonly Column[] {
  if (kind.columns.length === 0) return DEFAULT_COLUMNS;
  if (!kind.columns.some((column) => column.jsonPath !== undefined)) return kind.columns;
  let columns = columnsOf.get(kind.columns);
  if (!columns) {
    columns = kind.columns[0].cell ? kind.columns : [NAME, ...kind.columns];
    columnsOf.set(kind.columns, columns);
  }
  return columns;
}

/** The headers of a kind's Table. */
export function tableColumns(kind: Printable): TableColumn[] {
  return printedColumns(kind).map((column, i) => ({
    name: column.name,
    type: column.type,
    format: column.format ?? (i === 0 && column.name === "Name" ? "name" : ""),
    description: column.description ??
      (column.jsonPath === undefined
        ? ""
        : `Custom resource definition column (in JSONPath format): ${column.jsonPath}`),
    priority: column.priority ?? 0,
  }));
}

/** One row. */
export function tableRow(
  kind: Printable,
  object: DeepReadonly<KubeObject>,
  options: TableOptions,
): TableRow {
  const columns = printedColumns(kind);
  const cells = new Array<Cell>(columns.length);
  for (let i = 0; i < columns.length; i++) {
    const column = columns[i];
    cells[i] = column.cell ? column.cell(object, options.now) : cellAt(column, object, options.now);
  }
  const conditions = kind.rowConditions?.(object);
  const shown = included(object, options);
  return conditions ? { cells, conditions, object: shown } : { cells, object: shown };
}

function included(object: DeepReadonly<KubeObject>, options: TableOptions): TableRow["object"] {
  switch (options.includeObject ?? "Metadata") {
    case "None":
      return null;
    case "Object":
      return object;
    default:
      return partialMetadata(object, options.version);
  }
}

/** A Table of objects; `metadata` is the list's (or, of a single object, its resourceVersion). */
export function tableOf(
  kind: Printable,
  objects: Iterable<DeepReadonly<KubeObject>>,
  metadata: ListMeta,
  options: TableOptions,
): Table {
  const rows: TableRow[] = [];
  for (const object of objects) rows.push(tableRow(kind, object, options));
  return {
    kind: "Table",
    apiVersion: options.version ?? "meta.k8s.io/v1",
    metadata,
    columnDefinitions: options.noHeaders ? null : tableColumns(kind),
    rows,
  };
}

/** Reads the `includeObject` parameter. Throws a bad request. */
export function parseIncludeObject(value: string | null | undefined): IncludeObject {
  switch (value ?? "") {
    case "":
    case "Metadata":
      return "Metadata";
    case "None":
    case "Object":
      return value as IncludeObject;
  }
  throw badRequest(
    `Unable to convert to Table as requested: includeObject: Invalid value: ${
      JSON.stringify(value)
    }: must be 'Metadata', 'Object', 'None', or empty`,
  );
}

/** An object's metadata as a document of its own. */
export function partialMetadata(
  object: DeepReadonly<KubeObject>,
  version: MetaVersion = "meta.k8s.io/v1",
): PartialObjectMetadata {
  return { kind: "PartialObjectMetadata", apiVersion: version, metadata: object.metadata };
}

/** A list of metadata. */
export function partialMetadataList(
  objects: Iterable<DeepReadonly<KubeObject>>,
  metadata: ListMeta,
  version: MetaVersion = "meta.k8s.io/v1",
): { kind: string; apiVersion: MetaVersion; metadata: ListMeta; items: PartialObjectMetadata[] } {
  const items: PartialObjectMetadata[] = [];
  for (const object of objects) items.push(partialMetadata(object, version));
  return { kind: "PartialObjectMetadataList", apiVersion: version, metadata, items };
}

// --- custom columns -----------------------------------------------------------------------------------

const paths = new Map<string, JsonPath | undefined>();
const PATHS_MAX = 4096;

function pathOf(text: string): JsonPath | undefined {
  if (paths.has(text)) return paths.get(text);
  let path: JsonPath | undefined;
  try {
    path = compileJsonPath(text);
  } catch (error) {
    // CRD validation refuses such columns; one that slipped through prints nothing.
    if (!(error instanceof JsonPathError)) throw error;
  }
  if (paths.size >= PATHS_MAX) paths.clear();
  paths.set(text, path);
  return path;
}

function cellAt(column: Column, object: DeepReadonly<KubeObject>, now: number): Cell {
  const found = pathOf(column.jsonPath ?? "")?.find(object);
  if (!found?.length) return null;
  const value: Json = found[0];
  if (value === null) return column.type === "string" ? "<nil>" : null;
  switch (column.type) {
    case "string":
      return jsonPathText(value);
    case "integer":
      return typeof value === "number" ? Math.trunc(value) : null;
    case "number":
      return typeof value === "number" ? value : null;
    case "boolean":
      return typeof value === "boolean" ? value : null;
    case "date": {
      if (typeof value !== "string") return null;
      if (value === "" || value === "null") return "<unknown>";
      const then = parseTime(value);
      return then === undefined ? "<invalid>" : humanDuration(now - then);
    }
  }
}
