/**
 * From a method, a path and a query to what is asked (upstream: endpoints/request/requestinfo.go). A path is
 * split once; nothing here looks at headers or bodies.
 */
import { validateFieldManager } from "../kinds/rules/meta.ts";
import { Path, Report } from "../kinds/rules/report.ts";
import { badRequest, invalid } from "../machinery/errors.ts";
import type { Cause } from "../machinery/types.ts";
import type { Params, RequestVerb } from "./request.ts";

/** A path under `/api` or `/apis`, taken apart. */
export interface Route {
  group: string;
  version: string;
  namespace: string;
  resource: string;
  name: string;
  subresource: string;
  /** What follows the subresource, with its leading slash; only proxies use it. */
  rest: string;
  /** The deprecated `/watch/` prefix was used. */
  watch: boolean;
}

/** Takes a path apart; undefined when it names no resource (discovery and everything else). */
export function routeOf(path: string): Route | undefined {
  const parts = path.split("/");
  let at: number;
  let group = "";
  if (parts[1] === "api") at = 2;
  else if (parts[1] === "apis") {
    group = parts[2] ?? "";
    at = 3;
  } else return undefined;
  const version = parts[at++] ?? "";
  if (!version || parts.length <= at || (parts.length === at + 1 && parts[at] === "")) {
    return undefined;
  }
  let watch = false;
  if (parts[at] === "watch" && parts.length > at + 1) {
    watch = true;
    at++;
  }
  const route: Route = {
    group,
    version,
    namespace: "",
    resource: "",
    name: "",
    subresource: "",
    rest: "",
    watch,
  };
  place(route, parts, at);
  return route;
}

/** Fills in what stands behind the version. */
function place(route: Route, parts: string[], start: number): void {
  let at = start;
  if (parts[at] === "namespaces" && parts.length > at + 2 && parts[at + 2] !== "") {
    const next = parts[at + 2];
    if (next !== "status" && next !== "finalize") {
      route.namespace = decoded(parts[at + 1]);
      at += 2;
    }
  }
  route.resource = decoded(parts[at]);
  route.name = decoded(parts[at + 1] ?? "");
  route.subresource = decoded(parts[at + 2] ?? "");
  if (parts.length > at + 3) route.rest = "/" + parts.slice(at + 3).join("/");
}

/** A part of a path as it was meant. Throws 400 for what cannot be. */
export function decoded(text: string): string {
  if (!text.includes("%")) return text;
  try {
    return decodeURIComponent(text);
  } catch {
    throw badRequest(`invalid URL escape ${JSON.stringify(text)}`);
  }
}

/** The verb of a request for a resource; undefined when the method has none. */
export function verbOf(
  method: string,
  route: Route,
  query: URLSearchParams,
): RequestVerb | undefined {
  switch (method) {
    case "GET":
    case "HEAD":
      if (route.watch || (!route.name && flag(query, "watch"))) return "watch";
      return route.name ? "get" : "list";
    case "POST":
      return route.name && !route.subresource ? undefined : "create";
    case "PUT":
      return route.name ? "update" : undefined;
    case "PATCH":
      return route.name ? "patch" : undefined;
    case "DELETE":
      return route.name ? "delete" : "deletecollection";
    default:
      // Proxies pass on whatever method there is; whether the user may was asked under no verb, as upstream.
      return method === "OPTIONS" && route.subresource === "proxy" ? "get" : undefined;
  }
}

/** A boolean as upstream reads it: anything but "false" and "0" is true. */
export function flag(query: URLSearchParams, name: string): boolean {
  return optionalFlag(query, name) ?? false;
}

function optionalFlag(query: URLSearchParams, name: string): boolean | undefined {
  const value = query.get(name);
  if (value === null) return undefined;
  return value !== "false" && value !== "0" && value !== "False" && value !== "FALSE";
}

function integer(query: URLSearchParams, name: string): number | undefined {
  const value = query.get(name);
  if (value === null) return undefined;
  const number = Number(value);
  if (!/^[+-]?[0-9]+$/.test(value)) {
    throw badRequest(`strconv.ParseInt: parsing ${JSON.stringify(value)}: invalid syntax`);
  }
  if (!Number.isSafeInteger(number)) {
    throw badRequest(`strconv.ParseInt: parsing ${JSON.stringify(value)}: value out of range`);
  }
  return number;
}

const NO_PARAMS: Params = {};
const EXPORT_GONE = "the export parameter, deprecated since v1.14, is no longer supported";

/** Reads the query's parameters; throws 400 or 422 for bad ones. */
export function paramsOf(verb: RequestVerb, query: URLSearchParams, apply: boolean): Params {
  if (query.size === 0) {
    if (apply) throw invalid("meta.k8s.io", "PatchOptions", "", [managerRequired()]);
    return { ...NO_PARAMS };
  }
  const params: Params = { raw: query };
  switch (verb) {
    case "get":
      if (query.has("export")) throw badRequest(EXPORT_GONE);
      params.resourceVersion = query.get("resourceVersion") ?? undefined;
      break;
    case "list":
    case "watch":
    case "deletecollection":
      listParams(params, query);
      break;
  }
  if (verb !== "get" && verb !== "list" && verb !== "watch") {
    writeParams(params, verb, query, apply);
  }
  return params;
}

function listParams(params: Params, query: URLSearchParams): void {
  params.labelSelector = query.get("labelSelector") || undefined;
  params.fieldSelector = query.get("fieldSelector") || undefined;
  params.resourceVersion = query.get("resourceVersion") ?? undefined;
  params.resourceVersionMatch = query.get("resourceVersionMatch") ?? undefined;
  params.limit = integer(query, "limit");
  if (params.limit !== undefined && params.limit < 0) params.limit = undefined;
  params.continue = query.get("continue") || undefined;
  params.allowWatchBookmarks = flag(query, "allowWatchBookmarks");
  params.sendInitialEvents = optionalFlag(query, "sendInitialEvents");
  params.timeoutSeconds = integer(query, "timeoutSeconds");
  if (params.timeoutSeconds !== undefined && params.timeoutSeconds <= 0) {
    params.timeoutSeconds = undefined;
  }
}

const OPTIONS_KINDS: Partial<Record<RequestVerb, string>> = {
  create: "CreateOptions",
  update: "UpdateOptions",
  patch: "PatchOptions",
  delete: "DeleteOptions",
  deletecollection: "DeleteOptions",
};

function managerRequired(): Cause {
  return {
    reason: "FieldValueRequired",
    message: "Required value: is required for apply patch",
    field: "fieldManager",
  };
}

function unsupported(field: string, value: string, supported: string[]): Cause {
  const list = supported.map((s) => JSON.stringify(s)).join(", ");
  return {
    reason: "FieldValueNotSupported",
    message: `Unsupported value: ${JSON.stringify(value)}: supported values: ${list}`,
    field,
  };
}

function writeParams(
  params: Params,
  verb: RequestVerb,
  query: URLSearchParams,
  apply: boolean,
): void {
  const causes: Cause[] = [];
  const dryRun = query.getAll("dryRun");
  params.dryRun = dryRun.includes("All") || undefined;
  const manager = query.get("fieldManager") ?? "";
  params.fieldManager = manager || undefined;
  if (apply && !manager) causes.push(managerRequired());
  else causes.push(...checkManager(manager));
  if (dryRun.some((value) => value !== "All")) {
    causes.push({
      reason: "FieldValueNotSupported",
      message: `Unsupported value: ${JSON.stringify(dryRun)}: supported values: "All"`,
      field: "dryRun",
    });
  }
  const validation = query.get("fieldValidation") ?? "";
  if (validation === "Ignore" || validation === "Warn" || validation === "Strict") {
    params.fieldValidation = validation;
  } else if (validation) {
    causes.push(unsupported("fieldValidation", validation, ["", "Ignore", "Strict", "Warn"]));
  }
  params.force = optionalFlag(query, "force");
  if (verb === "patch" && !apply && params.force !== undefined) {
    causes.push({
      reason: "FieldValueForbidden",
      message: "Forbidden: may not be specified for non-apply patch",
      field: "force",
    });
  }
  if (causes.length) throw invalid("meta.k8s.io", OPTIONS_KINDS[verb] ?? "Options", "", causes);
}

function checkManager(manager: string): Cause[] {
  const r = new Report();
  validateFieldManager(manager, new Path("fieldManager"), r);
  return r.causes;
}
