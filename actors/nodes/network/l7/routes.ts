/**
 * Which route a request takes, as Ingress and HTTPRoute say: by host, path, method, headers and query. Pure.
 *
 * Routes lie in one order, the closest first, and the first that matches is taken: hosts by name before wildcards,
 * longer ones first; exact paths before prefixes, longer ones first; then those that ask for more; then the older.
 */

/** What a host must be: a name, a name under a domain (of one label, or of any), or any at all. */
export type HostMatch =
  | { type: "Any" }
  | { type: "Exact"; name: string }
  | { type: "Under"; domain: string; labels: "one" | "many" };

/** What a path must be. A prefix ends where an element of the path does. */
export interface PathMatch {
  type: "Exact" | "Prefix" | "RegularExpression";
  value: string;
}

/** What a header or a parameter must be. */
export interface ValueMatch {
  name: string;
  type: "Exact" | "RegularExpression";
  value: string;
}

/** Changes of headers: set, then add, then remove. */
export interface HeaderChange {
  set?: readonly { name: string; value: string }[];
  add?: readonly { name: string; value: string }[];
  remove?: readonly string[];
}

export interface PathChange {
  type: "ReplaceFullPath" | "ReplacePrefixMatch";
  value: string;
}

export type Filter =
  | { type: "RequestHeaders" | "ResponseHeaders"; change: HeaderChange }
  | {
    type: "Redirect";
    scheme?: string;
    hostname?: string;
    port?: number;
    path?: PathChange;
    statusCode: number;
  }
  | { type: "Rewrite"; hostname?: string; path?: PathChange };

/** A port of a service, and how much of the traffic it gets. */
export interface Backend {
  /** `namespace/name`; undefined: what was named cannot be used. */
  service?: string;
  port: number | string;
  weight: number;
  filters?: readonly Filter[];
}

export interface Route {
  /** What it comes from, such as `Ingress default/web`. */
  source: string;
  host: HostMatch;
  path: PathMatch;
  method?: string;
  headers?: readonly ValueMatch[];
  query?: readonly ValueMatch[];
  filters?: readonly Filter[];
  backends: readonly Backend[];
  /** How long the answer may take to begin, in ms. */
  timeoutMs?: number;
  /** When its object was made. */
  created: string;
  /** Taken where no other one is. */
  last?: boolean;
}

/** A request, as far as routes look at it. Names of headers are in small letters. */
export interface RouteRequest {
  host: string;
  /** With its query. */
  url: string;
  method: string;
  headers: Record<string, string | string[] | undefined>;
}

/** A host of a rule: `a.example.com`, `*.example.com`, nothing. */
export function hostMatch(host: string | undefined, labels: "one" | "many"): HostMatch {
  if (!host || host === "*") return { type: "Any" };
  const name = host.toLowerCase();
  return name.startsWith("*.")
    ? { type: "Under", domain: name.slice(1), labels }
    : { type: "Exact", name };
}

export function hostMatches(match: HostMatch, host: string): boolean {
  if (match.type === "Any") return true;
  if (match.type === "Exact") return host === match.name;
  const rest = host.slice(0, -match.domain.length);
  if (!host.endsWith(match.domain) || rest === "") return false;
  return match.labels === "many" || !rest.includes(".");
}

/** Puts routes in their order; see the module's text. */
export function inOrder(routes: readonly Route[]): Route[] {
  return routes.map((route) => ({ route, rank: rankOf(route) })).sort((a, b) => {
    for (let i = 0; i < a.rank.length; i++) {
      if (a.rank[i] !== b.rank[i]) return a.rank[i] > b.rank[i] ? -1 : 1;
    }
    const [x, y] = [a, b].map(({ route }) => `${route.created} ${route.source}`);
    return x < y ? -1 : x > y ? 1 : 0;
  }).map(({ route }) => route);
}

function rankOf({ host, path, method, headers = [], query = [], last }: Route): number[] {
  const name = host.type === "Exact" ? host.name : host.type === "Under" ? host.domain : "";
  const named = host.type === "Exact" ? 2 : host.type === "Under" ? 1 : 0;
  const exact = path.type === "Exact" ? 2 : path.type === "Prefix" ? 1 : 0;
  const asked = [method ? 1 : 0, headers.length, query.length];
  return [last ? 0 : 1, named, name.length, exact, path.value.length, ...asked];
}

/** The first of ordered routes that a request may take. */
export function routeOf(routes: readonly Route[], request: RouteRequest): Route | undefined {
  const host = request.host.toLowerCase().replace(/:\d+$/, "");
  const at = request.url.indexOf("?");
  const path = at < 0 ? request.url : request.url.slice(0, at);
  const query = new URLSearchParams(at < 0 ? "" : request.url.slice(at));
  return routes.find((route) =>
    hostMatches(route.host, host) &&
    pathMatches(route.path, path) &&
    (!route.method || route.method === request.method) &&
    (route.headers ?? []).every((match) =>
      valueMatches(match, textOf(request.headers[match.name.toLowerCase()]))
    ) &&
    (route.query ?? []).every((match) => valueMatches(match, query.get(match.name) ?? undefined))
  );
}

function textOf(value: string | string[] | undefined): string | undefined {
  return Array.isArray(value) ? value.join(",") : value;
}

export function pathMatches({ type, value }: PathMatch, path: string): boolean {
  if (type === "Exact") return path === value;
  if (type === "RegularExpression") return regular(value)?.test(path) ?? false;
  const prefix = value.replace(/\/$/, "");
  return path === prefix || path.startsWith(`${prefix}/`);
}

function valueMatches({ type, value }: ValueMatch, found: string | undefined): boolean {
  if (found === undefined) return false;
  return type === "Exact" ? found === value : regular(value)?.test(found) ?? false;
}

/** The whole of a text; undefined: not an expression. */
function regular(value: string): RegExp | undefined {
  try {
    return new RegExp(`^(?:${value})$`);
  } catch {
    return undefined;
  }
}

/** A path that a filter changes; the query stays. */
export function changedUrl(url: string, change: PathChange | undefined, match: PathMatch): string {
  if (!change) return url;
  const at = url.indexOf("?");
  const [path, query] = at < 0 ? [url, ""] : [url.slice(0, at), url.slice(at)];
  if (change.type === "ReplaceFullPath") return `${change.value || "/"}${query}`;
  const prefix = match.type === "Prefix" ? match.value.replace(/\/$/, "") : path;
  const rest = path.slice(prefix.length).replace(/^\//, "");
  const base = change.value.replace(/\/$/, "");
  return `${rest ? `${base}/${rest}` : base || "/"}${query}`;
}

/** Where a redirect leads to. */
export function redirectTo(
  filter: Filter & { type: "Redirect" },
  request: { scheme: string; host: string; port: number; url: string },
  match: PathMatch,
): string {
  const scheme = filter.scheme ?? request.scheme;
  const host = filter.hostname ?? request.host.replace(/:\d+$/, "");
  const usual = scheme === "https" ? 443 : 80;
  const port = filter.port ?? (filter.scheme ? usual : request.port);
  const url = changedUrl(request.url, filter.path, match);
  return `${scheme}://${host}${port === usual ? "" : `:${port}`}${url}`;
}

/** One of the backends by their weights; `chance` is in [0, 1). */
export function backendOf(backends: readonly Backend[], chance: number): Backend | undefined {
  const total = backends.reduce((sum, { weight }) => sum + weight, 0);
  let left = chance * total;
  for (const backend of backends) {
    if (backend.weight > 0 && left < backend.weight) return backend;
    left -= backend.weight;
  }
  return undefined;
}
