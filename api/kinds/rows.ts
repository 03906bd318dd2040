/**
 * How a row of the table of kinds is written: one line says what upstream's discovery says of a resource,
 * and `kindsOf` makes the `Kind` of it with its schema, hooks and columns.
 */
import { columnDescription } from "./rules/column_descriptions.ts";
import type { Column, Kind, KindHooks, Subresource, Verb } from "../machinery/types.ts";
import { schemas } from "./schemas.ts";

/** Every verb of an ordinary stored resource. */
export const ALL_VERBS: readonly Verb[] = [
  "create",
  "delete",
  "deletecollection",
  "get",
  "list",
  "patch",
  "update",
  "watch",
];

/** One resource of a group-version. */
export interface Row {
  kind: string;
  plural: string;
  short?: string[];
  categories?: string[];
  /** Cluster-scoped. */
  cluster?: boolean;
  /** Default: every verb. */
  verbs?: readonly Verb[];
  /** Names of `SUBRESOURCES`, separated by spaces. */
  sub?: string;
  /** Where upstream keeps them below `/registry/`, if not under the plural. */
  path?: string;
  /** Has metadata.generation. */
  generation?: boolean;
  /** What upstream says of it after `is deprecated in `: `v1.33+; use discovery.k8s.io/v1 EndpointSlice`. */
  deprecated?: string;
  virtual?: boolean;
  store?: "events";
  storage?: Kind["storage"];
  /** The name of the kind's rules, if not its own. */
  rules?: string;
}

/** A group-version and its rows. */
export interface Group {
  group: string;
  version: string;
  /** The prefix of its definition names: `io.k8s.api.apps.v1`. */
  prefix: string;
  level?: "beta";
  /** Of all its rows that say nothing themselves. */
  deprecated?: string;
  rules: Rules;
  rows: Row[];
}

/** What the group's file under `rules/` exports. */
export interface Rules {
  hooks: Record<string, KindHooks>;
  columns: Record<string, Column[]>;
  fields: Record<string, Kind["fields"]>;
  rowConditions?: Record<string, Kind["rowConditions"]>;
}

const READ_WRITE: Subresource["verbs"] = ["get", "patch", "update"];
const PROXY: Subresource["verbs"] = ["create", "delete", "get", "patch", "update"];

function core(kind: string) {
  return { group: "", version: "v1", kind };
}

const SCALE = { group: "autoscaling", version: "v1", kind: "Scale" };
const EVICTION = { group: "policy", version: "v1", kind: "Eviction" };
const TOKEN_REQUEST = { group: "authentication.k8s.io", version: "v1", kind: "TokenRequest" };

/** Every subresource of a built-in kind. `node/proxy` is `proxy` of a Node. */
export const SUBRESOURCES: Readonly<Record<string, Subresource>> = {
  approval: { name: "approval", verbs: READ_WRITE },
  attach: { name: "attach", verbs: ["create", "get"], kind: core("PodAttachOptions") },
  binding: { name: "binding", verbs: ["create"], kind: core("Binding") },
  ephemeralcontainers: { name: "ephemeralcontainers", verbs: READ_WRITE },
  eviction: { name: "eviction", verbs: ["create"], kind: EVICTION },
  exec: { name: "exec", verbs: ["create", "get"], kind: core("PodExecOptions") },
  finalize: { name: "finalize", verbs: ["update"] },
  log: { name: "log", verbs: ["get"] },
  portforward: {
    name: "portforward",
    verbs: ["create", "get"],
    kind: core("PodPortForwardOptions"),
  },
  "node/proxy": { name: "proxy", verbs: PROXY, kind: core("NodeProxyOptions") },
  "pod/proxy": { name: "proxy", verbs: PROXY, kind: core("PodProxyOptions") },
  "service/proxy": { name: "proxy", verbs: PROXY, kind: core("ServiceProxyOptions") },
  resize: { name: "resize", verbs: READ_WRITE },
  scale: { name: "scale", verbs: READ_WRITE, kind: SCALE },
  status: { name: "status", verbs: READ_WRITE },
  token: { name: "token", verbs: ["create"], kind: TOKEN_REQUEST },
};

/** What is printed of a kind that has no columns of its own. */
const PLAIN_COLUMNS: readonly Column[] = [
  {
    name: "Name",
    type: "string",
    format: "name",
    description: "The object's name, unique within its namespace.",
    cell: (object) => object.metadata.name ?? "",
  },
  {
    name: "Created At",
    type: "date",
    description: "When the server created the object.",
    cell: (object) => object.metadata.creationTimestamp ?? null,
  },
];

function described(kind: string, columns: readonly Column[]): readonly Column[] {
  return columns.map((column) =>
    column.description ? column : { ...column, description: columnDescription(kind, column.name) }
  );
}

/** The kinds of a group-version. */
export function kindsOf(group: Group): Kind[] {
  return group.rows.map((row) => {
    const name = row.rules ?? row.kind;
    const kind: Kind = {
      group: group.group,
      version: group.version,
      kind: row.kind,
      listKind: `${row.kind}List`,
      plural: row.plural,
      singular: row.kind.toLowerCase(),
      namespaced: row.cluster !== true,
      verbs: row.verbs ?? ALL_VERBS,
      schema: `${group.prefix}.${row.kind}`,
      schemas,
      path: `/registry/${row.path ?? row.plural}`,
      subresources: (row.sub ?? "").split(" ").filter(Boolean).map((s) => SUBRESOURCES[s]),
      columns: described(row.kind, group.rules.columns[name] ?? PLAIN_COLUMNS),
      hooks: group.rules.hooks[name] ?? {},
    };
    const rowConditions = group.rules.rowConditions?.[name];
    if (rowConditions) kind.rowConditions = rowConditions;
    if (row.short) kind.shortNames = row.short;
    if (row.categories) kind.categories = row.categories;
    if (row.store) kind.store = row.store;
    if (row.storage) kind.storage = row.storage;
    if (row.generation) kind.generation = true;
    if (row.virtual) kind.virtual = true;
    if (group.level) kind.level = group.level;
    const deprecated = row.deprecated ?? group.deprecated;
    if (deprecated) {
      const apiVersion = group.group ? `${group.group}/${group.version}` : group.version;
      kind.deprecationWarning = `${apiVersion} ${row.kind} is deprecated in ${deprecated}`;
    }
    const fields = group.rules.fields[name];
    if (fields) kind.fields = fields;
    return kind;
  });
}
