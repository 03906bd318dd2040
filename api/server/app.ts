/**
 * The Hono app: everything that is spoken over HTTP. Paths that name resources go to `front.ts`; the
 * few that do not (health, version, discovery, OpenAPI, metrics) are routes here. All of them come through
 * `passage.ts` first: the app behind it only looks up paths.
 */
import type { Buffer } from "node:buffer";
import { type Context, Hono } from "hono";
import type { Requested } from "../auth/impersonate.ts";
import { ANONYMOUS } from "../auth/names.ts";
import type { User } from "../client/contract.ts";
import { noSuchResource } from "../machinery/errors.ts";
import { joinedBytes } from "../machinery/joined_bytes.ts";
import type { Status } from "../machinery/types.ts";
import { answerRemote, passOn } from "./aggregation/proxy.ts";
import { authorize } from "./authorize.ts";
import type { Deps } from "./deps.ts";
import { Discovery } from "./discovery.ts";
import { answerResource, type Connector, requestedPath, wrongMethod } from "./front.ts";
import { flagzReply, statuszReply } from "./zpages.ts";
import { FLOW_DEBUG, flowTable } from "./flow_report.ts";
import { failure, pass, staged } from "./passage.ts";
import { podResourcesReply } from "./pod_resources.ts";
import { type Route, routeOf } from "./route.ts";
import { VERSION } from "./health.ts";
import {
  bodyTooLarge,
  type Call,
  isStream,
  jsonReply,
  type Reply,
  statusOf,
  textReply,
} from "./http.ts";
import type { Socket } from "./listen.ts";
import type { Metrics } from "./metrics.ts";
import type { OpenApi } from "./openapi.ts";

/** What the app needs beside the server's parts. */
export interface AppOptions {
  connect?: Connector;
  openapi: OpenApi;
  metrics: Metrics;
  /** Answers paths that Kubernetes has not; undefined: not its path. */
  beside?: (call: Call) => Beside | undefined;
}

/** What answers a path that Kubernetes has not. */
export interface Beside {
  /** Answers whoever may ask for the path. `authorize` throws 403 unless they may have what is `requested`. */
  answer(user: User, authorize: () => void | Promise<void>): Promise<Reply> | Reply;
  /** What the request asks for in truth: then its answerer authorizes it. Throws for what is no request. */
  requested?(): Requested;
  /** It takes as long as it likes: neither deadline nor seats, and nobody who stops the server waits for it. */
  readonly longRunning?: boolean;
  /** It is for everybody: whatever credentials come along are not looked at. */
  readonly open?: boolean;
  /** Another server that the call is for: it finds out itself who is asking. */
  inner?: Inner;
}

/** A server that lies under a path of this one, and a call as it comes to that. */
export interface Inner {
  readonly server: {
    answer(call: Call): Promise<Reply>;
    upgrade(call: Call, socket: Socket, head: Buffer): void;
  };
  readonly call: Call;
}

/** What a route knows of its request. */
export interface Env {
  Variables: { call: Call; user: User };
  Bindings: { call: Call; user: User };
}

/** The HTTP side of an API. */
export interface App {
  /** Answers any call; never throws. Hot paths of node's server come here without a Request. */
  answer(call: Call): Promise<Reply>;
  fetch(request: Request, call?: Call): Promise<Response>;
}

/** Makes the app. */
export function createApp(deps: Deps, options: AppOptions): App {
  // Made when somebody asks for what is no resource: clients within the process never do.
  let made: Hono<Env> | undefined;
  const hono = () => made ??= routesOf(deps, options);
  const routed = async (call: Call, user: User) =>
    replyOfResponse(await hono().fetch(requestOfCall(call), { call, user }));
  const resource = async (call: Call): Promise<Reply | undefined> => {
    let route;
    try {
      route = routeOf(call.path);
    } catch (error) {
      return failure(error);
    }
    if (!route) return undefined;
    const began = deps.clock.monotonic();
    if (deps.starting) await deps.starting;
    const remote = deps.aggregation?.find(route.group, route.version);
    const reply = remote
      ? await answerRemote(deps, call, route, remote)
      : await answerResource(deps, call, { route, began, connect: options.connect });
    observe(call, route, reply, began);
    return reply;
  };
  const observe = (call: Call, route: Route | undefined, reply: Reply, began: number) => {
    const { method, path, query } = call;
    const contentType = method === "PATCH" ? call.header("content-type") : undefined;
    options.metrics.observe(
      { method, route, path, query, contentType },
      reply,
      deps.clock.monotonic() - began,
    );
  };
  const app: App = {
    async answer(call) {
      const first = call.path.charCodeAt(1) === 0x61 ? await resource(call) : undefined;
      if (first) return first;
      const began = deps.clock.monotonic();
      let beside: Beside | undefined;
      let requested = requestedPath(call);
      try {
        beside = options.beside?.(call);
        const inner = beside?.inner;
        if (inner) return await inner.server.answer(inner.call);
        requested = beside?.requested?.() ?? requested;
        if (beside?.open) call.user = ANONYMOUS;
      } catch (error) {
        return failure(error);
      }
      const answered = await pass(
        deps,
        call,
        { requested, began, longRunning: beside?.longRunning },
        async (passage) => {
          const { user, audit } = passage;
          const may = () => authorize(deps, { ...requested, user }, audit);
          if (!beside?.requested && !beside?.open) await may();
          const reply = await beside?.answer(user, may) ??
            await staged(deps, { call, passage }, () => routed(call, user));
          if (audit && reply.status >= 400) reply.outcome = statusIn(reply);
          return reply;
        },
      );
      observe(call, undefined, answered, began);
      return answered;
    },
    fetch: async (request, call = callOfRequest(request)) =>
      responseOf(await app.answer(call), request.method),
  };
  return app;
}

/** The Status that a failure's body is. */
function statusIn({ body }: Reply): Status | undefined {
  try {
    const value = JSON.parse(new TextDecoder().decode(body as Uint8Array));
    return value?.kind === "Status" ? value : undefined;
  } catch {
    // Plain text, as health checks answer
    return undefined;
  }
}

function routesOf(deps: Deps, options: AppOptions): Hono<Env> {
  const { openapi, metrics } = options;
  const hono = new Hono<Env>();
  const discovery = new Discovery(deps.kinds, deps.aggregation);
  hono.onError((error) => responseOf(failure(error)));
  hono.notFound((c) => responseOf(notFoundReply(c.req.path)));
  hono.use("*", async (c, next) => {
    c.set("call", c.env.call);
    c.set("user", c.env.user);
    await next();
  });
  // Python's client asks with a slash
  for (const path of ["/version", "/version/"]) {
    hono.get(path, () => responseOf(jsonReply(200, VERSION)));
  }
  hono.get("/", () => responseOf(jsonReply(200, { paths: rootPaths(deps) })));
  for (const root of ["healthz", "livez", "readyz"]) {
    const health = async (c: Context<Env>) => {
      const { path, query } = c.get("call");
      const reply = await deps.health.reply(deps, path, new URLSearchParams(query));
      return responseOf(reply ?? notFoundReply(path));
    };
    hono.get(`/${root}`, health);
    hono.get(`/${root}/*`, health);
  }
  for (const path of ["/version", "/api", "/api/*", "/apis", "/apis/*"]) {
    hono.on(
      ["POST", "PUT", "PATCH", "DELETE", "OPTIONS"],
      path,
      () => responseOf(failure(wrongMethod())),
    );
  }
  const discover = async (c: Context<Env>) => {
    const call = c.get("call");
    const [, , group = "", version = ""] = call.path.split("/");
    if (deps.starting) await deps.starting;
    const remote = deps.aggregation?.find(group, version);
    if (!remote) return responseOf(discoveryReply(discovery, call));
    return responseOf(await passOn(call, remote, c.get("user"), { deps, discovery: true }));
  };
  for (const path of ["/api", "/api/*", "/apis", "/apis/*"]) hono.get(path, discover);
  hono.get("/openapi/v3", (c) => responseOf(openapi.index(c.get("call"))));
  hono.get("/openapi/v3/*", async (c) => {
    const call = c.get("call");
    const remote = openapi.servedElsewhere(call.path);
    if (remote) return responseOf(await passOn(call, remote, c.get("user"), { deps }));
    return responseOf(await openapi.v3(call));
  });
  hono.get("/openapi/v2", async (c) => responseOf(await openapi.v2(c.get("call"))));
  const facts = () => ({
    startedAt: deps.startedAt,
    now: deps.clock.now(),
    flags: deps.front.flags ?? {},
  });
  hono.get("/statusz", (c) => responseOf(statuszReply(c.get("call"), facts())));
  hono.get("/flagz", (c) => responseOf(flagzReply(c.get("call"), facts())));
  hono.get("/metrics/slis", () => responseOf(textReply(200, deps.health.lines())));
  hono.get("/metrics", () => responseOf(metrics.reply(deps)));
  hono.get("/metrics/resources", () => responseOf(podResourcesReply(deps)));
  hono.get(`${FLOW_DEBUG}:table`, (c) => {
    const table = flowTable(deps.flow, c.req.param("table"), {
      details: !!c.req.query("includeRequestDetails"),
      wall: (monotonic) => deps.clock.now() - (deps.clock.monotonic() - monotonic),
    });
    return responseOf(table === undefined ? notFoundReply(c.req.path) : textReply(200, table));
  });
  if (deps.tokens) addTokenRoutes(hono, deps.tokens);
  return hono;
}

/** Where others learn how to check tokens. */
function addTokenRoutes(hono: Hono<Env>, tokens: NonNullable<Deps["tokens"]>): void {
  hono.get(
    "/.well-known/openid-configuration",
    async () => responseOf(jsonReply(200, await tokens.discovery(), { ...PUBLIC })),
  );
  hono.get("/openid/v1/jwks", async () => {
    const headers = { ...PUBLIC, "content-type": "application/jwk-set+json" };
    return responseOf(jsonReply(200, await tokens.jwks(), headers));
  });
}

function discoveryReply(discovery: Discovery, call: Call): Reply {
  const path = call.path.replace(/\/+$/, "");
  const document = discovery.document(path, call.header("accept"), hostOf(call));
  if (!document) {
    const [, , group = ""] = path.split("/");
    const served = group && discovery.document(`/apis/${group}`, undefined, undefined);
    return served ? jsonReply(404, noSuchResource().status) : notFoundReply(path);
  }
  const { bytes, contentType, etag } = document;
  if (!etag) return { status: 200, headers: { "content-type": contentType }, body: bytes };
  const headers = { "content-type": contentType, etag, vary: "Accept", "cache-control": "public" };
  if (call.header("if-none-match") === etag) return { status: 304, headers };
  return { status: 200, headers, body: bytes };
}

/** Where a client has found this server, as it says itself: that is what works for it. */
function hostOf(call: Call): string | undefined {
  // HTTP/2 says it in a field of its own, which no fetch request has
  const host = call.header("host") ?? (call.raw ? call.header(":authority") : undefined);
  return host && /^[A-Za-z0-9.:[\]-]{1,255}$/.test(host) ? host : undefined;
}

/** What anybody may keep for an hour. */
const PUBLIC = { "cache-control": "public, max-age=3600" };

/** What upstream's muxes say of paths that nobody serves. */
const NO_PATH = "404 page not found\n";

/** A 404; one that helps where old texts write `/api/GROUP`. */
function notFoundReply(path: string): Reply {
  const group = /^\/api\/([a-z0-9.-]+)(\/.*)?$/.exec(path);
  if (!group) return textReply(404, NO_PATH);
  const { status } = noSuchResource();
  if (group[1] !== "v1") {
    status.message =
      `the server could not find the requested resource: only the core group lies under ` +
      `/api; did you mean /apis/${group[1]}${group[2] ?? ""}?`;
  }
  return jsonReply(404, status);
}

function rootPaths(deps: Deps): string[] {
  const paths = new Set(["/api", "/api/v1", "/apis", "/healthz", "/livez", "/readyz", "/version"]);
  for (const path of ["/metrics", "/openapi/v2", "/openapi/v3", "/openid/v1/jwks"]) paths.add(path);
  for (const path of ["/flagz", "/metrics/resources", "/metrics/slis", "/statusz"]) paths.add(path);
  for (const path of deps.health.paths()) paths.add(path);
  paths.add("/.well-known/openid-configuration");
  for (const { group, version } of deps.kinds.all()) {
    if (!group) continue;
    paths.add(`/apis/${group}`);
    paths.add(`/apis/${group}/${version}`);
  }
  return [...paths].sort();
}

/** A fetch request as a call. */
export function callOfRequest(request: Request): Call {
  const url = request.url;
  const start = url.indexOf("/", url.indexOf("://") + 3);
  const end = url.indexOf("?", start);
  const hash = url.indexOf("#", start);
  const stop = hash < 0 ? url.length : hash;
  return {
    method: request.method,
    path: start < 0 ? "/" : url.slice(start, end < 0 ? stop : end),
    query: end < 0 ? "" : url.slice(end + 1, stop),
    host: url.slice(url.indexOf("://") + 3, start < 0 ? url.length : start),
    header: (name) => request.headers.get(name) ?? undefined,
    headers: () => request.headers,
    hasHeaders: (prefix) => {
      for (const name of request.headers.keys()) if (name.startsWith(prefix)) return true;
      return false;
    },
    body: (max) => readAll(request, max),
    signal: request.signal,
  };
}

async function readAll(request: Request, max: number): Promise<Uint8Array> {
  const length = request.headers.get("content-length");
  if (length !== null && Number(length) > max) throw bodyTooLarge(max);
  if (!request.body) return new Uint8Array();
  const parts: Uint8Array[] = [];
  let bytes = 0;
  for await (const part of request.body) {
    bytes += part.length;
    if (bytes > max) throw bodyTooLarge(max);
    parts.push(part);
  }
  return joinedBytes(parts);
}

function requestOfCall(call: Call): Request {
  const url = `https://kubernetes${call.path}${call.query ? `?${call.query}` : ""}`;
  const method = call.method === "TRACE" || call.method === "CONNECT" ? "OPTIONS" : call.method;
  return new Request(url, { method });
}

/** A reply as a Response. */
export function responseOf(reply: Reply, method = "GET"): Response {
  if (reply.broken === "unheard") throw new TypeError("the connection was closed");
  const headers = new Headers();
  for (const name in reply.headers) {
    const value = reply.headers[name];
    if (typeof value === "string") headers.set(name, value);
    else for (const one of value) headers.append(name, one);
  }
  const empty = method === "HEAD" || reply.status === 304 || reply.status === 204;
  const body = empty ? null : bodyInit(reply.body);
  return new Response(body, { status: statusOf(reply), headers });
}

function bodyInit(body: Reply["body"]): BodyInit | null {
  if (!isStream(body)) return (body as Uint8Array<ArrayBuffer> | undefined) ?? null;
  const pieces = body[Symbol.asyncIterator]();
  return new ReadableStream<Uint8Array>({
    async pull(controller) {
      const { done, value } = await pieces.next();
      if (done) controller.close();
      else controller.enqueue(value);
    },
    async cancel() {
      await pieces.return?.();
    },
  }, { highWaterMark: 1 });
}

async function replyOfResponse(response: Response): Promise<Reply> {
  const headers: Record<string, string | string[]> = {};
  for (const [name, value] of response.headers) headers[name] = value;
  const body = response.body ? new Uint8Array(await response.arrayBuffer()) : undefined;
  return { status: response.status, headers, body };
}
