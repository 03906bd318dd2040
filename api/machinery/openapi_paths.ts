/**
 * The operations of kinds, as both OpenAPI dialects describe them: paths, parameters, bodies and answers,
 * with the names that client generators know them by.
 */
import type { Kind, Subresource } from "./types.ts";

/** A query or path parameter. */
export interface Parameter {
  name: string;
  in: "query" | "path";
  type: "string" | "boolean" | "integer";
  /** What it does, where the name does not say it. */
  description?: string;
}

/** What a body or an answer is. */
export type Content =
  | { is: "kind"; kind: Kind }
  | { is: "list"; kind: Kind }
  | { is: "definition"; name: string }
  | { is: "text" };

/** The group, version and kind an operation is about. */
export interface Gvk {
  group: string;
  kind: string;
  version: string;
}

/** One operation. */
export interface Operation {
  method: string;
  id: string;
  description: string;
  action?: string;
  gvk?: Gvk;
  parameters: Parameter[];
  body?: { content: Content; required: boolean; patch?: boolean };
  answer: Content;
  codes: number[];
  /** May be watched. */
  stream?: boolean;
  /** What is answered, where it is no object. */
  produces?: string[];
  /** The answer is plain text, or that in an envelope. */
  alsoText?: boolean;
}

/** One path. */
export interface PathEntry {
  path: string;
  /** The kind whose row brought it. */
  kind: Kind;
  operations: Operation[];
}

const query = (
  name: string,
  type: Parameter["type"] = "string",
  description?: string,
): Parameter => ({ name, in: "query", type, ...(description && { description }) });
const inPath = (name: string): Parameter => ({ name, in: "path", type: "string" });

const PRETTY = query("pretty");
const DRY_RUN = query("dryRun");
const FIELD_MANAGER = query("fieldManager");
const FIELD_VALIDATION = query("fieldValidation");
const WRITE = [DRY_RUN, FIELD_MANAGER, FIELD_VALIDATION];
const WATCH = "Watch for changes to the described resources, from the given resourceVersion on.";
const SELECT = [
  query("continue"),
  query("fieldSelector", "string", "Narrows the list of returned objects by their fields."),
  query("labelSelector", "string", "Narrows the list of returned objects by their labels."),
  query("limit", "integer"),
  query("resourceVersion"),
  query("resourceVersionMatch"),
  query("sendInitialEvents", "boolean"),
  query("timeoutSeconds", "integer"),
];
const LIST = [query("allowWatchBookmarks", "boolean"), ...SELECT, query("watch", "boolean", WATCH)];
const DELETE = [
  DRY_RUN,
  query("gracePeriodSeconds", "integer"),
  query("ignoreStoreReadErrorWithClusterBreakingPotential", "boolean"),
  query("orphanDependents", "boolean"),
  query("propagationPolicy"),
];

const META = "io.k8s.apimachinery.pkg.apis.meta.v1";
const STATUS: Content = { is: "definition", name: `${META}.Status` };
const DELETE_OPTIONS: Content = { is: "definition", name: `${META}.DeleteOptions` };
const PATCH: Content = { is: "definition", name: `${META}.Patch` };

/** `/api/v1`, `/apis/apps/v1`. */
export function basePath(group: string, version: string): string {
  return group ? `/apis/${group}/${version}` : `/api/${version}`;
}

function words(text: string): string[] {
  return text.split(/[.-]/).filter(Boolean);
}

const capital = (word: string) => word.charAt(0).toUpperCase() + word.slice(1);

function groupWords(group: string): string[] {
  return words(group.replace(/\.k8s\.io$/, "") || "core");
}

/** `CoreV1`, `RbacAuthorizationV1`: part of operations' ids. */
export function idPart(group: string, version: string): string {
  return groupWords(group).map(capital).join("") + capital(version);
}

/** `core_v1`, `rbacAuthorization_v1`. */
export function tagOf(group: string, version: string): string {
  const [first, ...rest] = groupWords(group);
  return `${first}${rest.map(capital).join("")}_${version}`;
}

/** Every path of a kind. `definitionOf` names the schema of what a subresource speaks. */
export function pathsOf(
  kind: Kind,
  definitionOf: (group: string, version: string, kind: string) => string,
): PathEntry[] {
  const out: PathEntry[] = [];
  const base = basePath(kind.group, kind.version);
  const scope = kind.namespaced ? `${base}/namespaces/{namespace}` : base;
  const at = kind.namespaced ? [inPath("namespace")] : [];
  const add = (path: string, operations: Operation[]) => {
    if (operations.length > 0) out.push({ path, kind, operations });
  };
  add(`${scope}/${kind.plural}`, collection(kind, at));
  add(`${scope}/${kind.plural}/{name}`, single(kind, [inPath("name"), ...at]));
  for (const sub of kind.subresources) {
    const path = `${scope}/${kind.plural}/{name}/${sub.name}`;
    const parameters = [inPath("name"), ...at];
    add(path, subresource(kind, sub, parameters, definitionOf));
    if (sub.name === "proxy") {
      add(`${path}/{path}`, connect(kind, sub, [...parameters, inPath("path")]));
    }
  }
  if (kind.verbs.includes("watch") && !kind.custom) out.push(...watchPaths(kind, base));
  if (kind.namespaced && kind.verbs.includes("list")) {
    add(`${base}/${kind.plural}`, [{
      ...listing(kind, []),
      id: `list${idPart(kind.group, kind.version)}${kind.kind}ForAllNamespaces`,
    }]);
  }
  return out;
}

function gvk(kind: Kind): Gvk {
  return { group: kind.group, kind: kind.kind, version: kind.version };
}

function scoped(kind: Kind): string {
  return kind.namespaced ? `Namespaced${kind.kind}` : kind.kind;
}

function listing(kind: Kind, at: Parameter[]): Operation {
  return {
    method: "get",
    id: `list${idPart(kind.group, kind.version)}${scoped(kind)}`,
    description: `list or watch objects of kind ${kind.kind}`,
    action: "list",
    gvk: gvk(kind),
    parameters: [...at, PRETTY, ...LIST],
    answer: { is: "list", kind },
    codes: [200],
    // Upstream lists statuses of components by the way of all lists, which may be watched
    stream: !kind.custom && (kind.verbs.includes("watch") || kind.kind === "ComponentStatus"),
  };
}

/** The old way to watch, by a path: generated clients have names for it. */
function watchPaths(kind: Kind, base: string): PathEntry[] {
  const part = idPart(kind.group, kind.version);
  const namespace = kind.namespaced ? [inPath("namespace")] : [];
  const scope = `${base}/watch${kind.namespaced ? "/namespaces/{namespace}" : ""}`;
  const entry = (path: string, id: string, action: string, at: Parameter[]): PathEntry => ({
    path,
    kind,
    operations: [{
      method: "get",
      id: `watch${part}${id}`,
      description: action === "watch"
        ? `watch an object of kind ${kind.kind}; deprecated: list with the parameters watch and fieldSelector`
        : `watch objects of kind ${kind.kind}; deprecated: list with the parameter watch`,
      action,
      gvk: gvk(kind),
      parameters: [...at, PRETTY, ...LIST],
      answer: { is: "definition", name: `${META}.WatchEvent` },
      codes: [200],
      stream: true,
    }],
  });
  const out = [
    entry(`${scope}/${kind.plural}`, `${scoped(kind)}List`, "watchlist", namespace),
    entry(`${scope}/${kind.plural}/{name}`, scoped(kind), "watch", [inPath("name"), ...namespace]),
  ];
  if (kind.namespaced) {
    const id = `${kind.kind}ListForAllNamespaces`;
    out.push(entry(`${base}/watch/${kind.plural}`, id, "watchlist", []));
  }
  return out;
}

function collection(kind: Kind, at: Parameter[]): Operation[] {
  const part = idPart(kind.group, kind.version);
  const out: Operation[] = [];
  if (kind.verbs.includes("list")) out.push(listing(kind, at));
  if (kind.verbs.includes("create")) {
    out.push({
      method: "post",
      id: `create${part}${scoped(kind)}`,
      description: `create a ${kind.kind}`,
      action: "post",
      gvk: gvk(kind),
      parameters: [...at, PRETTY, ...WRITE],
      body: { content: { is: "kind", kind }, required: true },
      answer: { is: "kind", kind },
      codes: [200, 201, 202],
    });
  }
  if (kind.verbs.includes("deletecollection")) {
    out.push({
      method: "delete",
      id: `delete${part}Collection${scoped(kind)}`,
      description: `delete collection of ${kind.kind}`,
      action: "deletecollection",
      gvk: gvk(kind),
      // Upstream describes the collection of a custom kind by what lists take
      ...(kind.custom ? { parameters: [...at, PRETTY, ...LIST] } : {
        parameters: [...at, PRETTY, ...DELETE, ...SELECT],
        body: { content: DELETE_OPTIONS, required: false },
      }),
      answer: STATUS,
      codes: [200],
    });
  }
  return out;
}

/** Kinds whose delete answers with the object even when it is gone at once. */
const ANSWERS_OBJECT = new Set([
  "Pod",
  "PersistentVolume",
  "PersistentVolumeClaim",
  "PodTemplate",
  "ResourceQuota",
  "Service",
  "ServiceAccount",
]);

function single(kind: Kind, at: Parameter[]): Operation[] {
  const out = readWrite(kind, "", { is: "kind", kind }, gvk(kind), at, kind.verbs);
  if (kind.verbs.includes("delete")) {
    const object = kind.group === "" && ANSWERS_OBJECT.has(kind.kind) ||
      kind.group === "storage.k8s.io" && kind.kind !== "CSIStorageCapacity" ||
      kind.group === "resource.k8s.io";
    out.push({
      method: "delete",
      id: `delete${idPart(kind.group, kind.version)}${scoped(kind)}`,
      description: `delete a ${kind.kind}`,
      action: "delete",
      gvk: gvk(kind),
      parameters: [...at, PRETTY, ...DELETE],
      body: { content: DELETE_OPTIONS, required: false },
      answer: object ? { is: "kind", kind } : STATUS,
      codes: [200, 202],
    });
  }
  return out;
}

function readWrite(
  kind: Kind,
  sub: string,
  content: Content,
  about: Gvk,
  at: Parameter[],
  verbs: readonly string[],
): Operation[] {
  const part = idPart(kind.group, kind.version);
  const suffix = `${scoped(kind)}${capital(sub)}`;
  const what = sub ? `${sub} of the specified ${kind.kind}` : `the specified ${kind.kind}`;
  const base = { gvk: about, answer: content };
  const out: Operation[] = [];
  if (verbs.includes("get")) {
    out.push({
      ...base,
      method: "get",
      id: `read${part}${suffix}`,
      description: `read ${what}`,
      action: "get",
      parameters: [...at, PRETTY, ...kind.custom ? [query("resourceVersion")] : []],
      codes: [200],
    });
  }
  if (verbs.includes("update")) {
    out.push({
      ...base,
      method: "put",
      id: `replace${part}${suffix}`,
      description: `replace ${what}`,
      action: "put",
      parameters: [...at, PRETTY, ...WRITE],
      body: { content, required: true },
      codes: [200, 201],
    });
  }
  if (verbs.includes("patch")) {
    out.push({
      ...base,
      method: "patch",
      id: `patch${part}${suffix}`,
      description: `partially update ${what}`,
      action: "patch",
      parameters: [...at, PRETTY, ...WRITE, query("force", "boolean")],
      body: { content: PATCH, required: true, patch: true },
      codes: kind.custom ? [200] : [200, 201],
    });
  }
  return out;
}

const LOG_PARAMETERS: Parameter[] = [
  query("container"),
  query("follow", "boolean"),
  query("insecureSkipTLSVerifyBackend", "boolean"),
  query("limitBytes", "integer"),
  PRETTY,
  query("previous", "boolean"),
  query("sinceSeconds", "integer"),
  query("stream"),
  query("tailLines", "integer"),
  query("timestamps", "boolean"),
];
const STDIO = ["stderr", "stdin", "stdout", "tty"].map((n) => query(n, "boolean"));
const CONNECT_PARAMETERS: Record<string, Parameter[]> = {
  attach: [query("container"), ...STDIO],
  exec: [query("command"), query("container"), ...STDIO],
  portforward: [query("ports", "integer")],
  proxy: [query("path")],
};

function connect(kind: Kind, sub: Subresource, at: Parameter[]): Operation[] {
  const methods = sub.name === "proxy"
    ? ["delete", "get", "head", "options", "patch", "post", "put"]
    : ["get", "post"];
  const withPath = at.some((p) => p.name === "path");
  return methods.map((method) => ({
    method,
    id: `connect${idPart(kind.group, kind.version)}${capital(method)}${scoped(kind)}` +
      `${capital(sub.name)}${withPath ? "WithPath" : ""}`,
    description: `connect ${method.toUpperCase()} requests to ${sub.name} of ${kind.kind}`,
    action: "connect",
    gvk: {
      group: sub.kind!.group,
      kind: sub.kind!.kind,
      version: sub.kind!.version,
    },
    parameters: [...at, ...CONNECT_PARAMETERS[sub.name]],
    answer: { is: "text" } as Content,
    codes: [200],
    produces: ["*/*"],
  }));
}

function subresource(
  kind: Kind,
  sub: Subresource,
  at: Parameter[],
  definitionOf: (group: string, version: string, kind: string) => string,
): Operation[] {
  if (CONNECT_PARAMETERS[sub.name] && sub.kind) return connect(kind, sub, at);
  if (sub.name === "log") {
    return [{
      method: "get",
      id: `read${idPart(kind.group, kind.version)}${scoped(kind)}Log`,
      description: `read log of the specified ${kind.kind}`,
      action: "get",
      gvk: gvk(kind),
      parameters: [...at, ...LOG_PARAMETERS],
      answer: { is: "text" },
      codes: [200],
      alsoText: true,
    }];
  }
  const about: Gvk = sub.kind && !kind.custom
    ? { group: sub.kind.group, kind: sub.kind.kind, version: sub.kind.version }
    : gvk(kind);
  const content: Content = sub.kind
    ? { is: "definition", name: definitionOf(sub.kind.group, sub.kind.version, sub.kind.kind) }
    : { is: "kind", kind };
  const out = readWrite(kind, sub.name, content, about, at, sub.verbs);
  if (sub.verbs.includes("create")) {
    out.push({
      method: "post",
      id: `create${idPart(kind.group, kind.version)}${scoped(kind)}${capital(sub.name)}`,
      description: `create ${sub.name} of a ${kind.kind}`,
      action: "post",
      gvk: about,
      parameters: [...at, PRETTY, ...WRITE],
      body: { content, required: true },
      answer: content,
      codes: [200, 201, 202],
    });
  }
  return out;
}

/** Takes out what all operations of a path share: it is said once, at the path. */
export function shared(operations: readonly Operation[]): {
  common: Parameter[];
  own: (operation: Operation) => Parameter[];
} {
  const key = (p: Parameter) => `${p.in} ${p.name}`;
  const [first, ...rest] = operations;
  const common = first.parameters.filter((p) =>
    rest.every((o) => o.parameters.some((q) => key(q) === key(p)))
  );
  const keys = new Set(common.map(key));
  const byName = (a: Parameter, b: Parameter) => a.name < b.name ? -1 : a.name > b.name ? 1 : 0;
  return {
    common: common.toSorted(byName),
    own: (o) => o.parameters.filter((p) => !keys.has(key(p))).toSorted(byName),
  };
}
