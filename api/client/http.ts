/**
 * The client over HTTP: the same interface as in process, spoken as JSON through an injected transport. For
 * actors in another process and on another machine.
 */
import { deepFreeze } from "../machinery/edit.ts";
import { ApiError, type DeepReadonly, type KubeList, type KubeObject } from "../machinery/types.ts";
import type { Term } from "../../kv/contract.ts";
import type {
  Client,
  ClientWatch,
  DeleteQuery,
  ListQuery,
  Patch,
  Target,
  User,
  WatchEvent,
  WatchQuery,
  WriteQuery,
} from "./contract.ts";

/** How to reach a server. */
export interface HttpClientOptions {
  /** `https://127.0.0.1:6443`. */
  server: string;
  /** Sends a request: with a client certificate, through a tunnel, or plainly. */
  transport: (request: Request) => Promise<Response>;
  /** A bearer token, or where to get the newest one. */
  token?: string | (() => string | Promise<string>);
  /** Becomes the default field manager (default `plesio`). */
  agent?: string;
}

/** Carries a term of office, so that the server refuses writes once it is over. */
export const TERM_HEADER = "x-plesio-term";
/** Carries the revision that a request reacts to. */
export const BECAUSE_HEADER = "plesio-because";
/** Longest line that is waited for: an event's object is at most a few MiB. */
export const LINE_LENGTH_MAX = 16 * 1024 * 1024;

const PATCH_TYPES: Readonly<Record<Patch["type"], string>> = {
  json: "application/json-patch+json",
  merge: "application/merge-patch+json",
  strategic: "application/strategic-merge-patch+json",
  apply: "application/apply-patch+yaml",
};

interface Door extends HttpClientOptions {
  as?: User;
  term?: Term;
  because?: number;
}

/** Makes a client of a server elsewhere. */
export function httpClient(options: HttpClientOptions): Client {
  return clientOf({ ...options });
}

function clientOf(door: Door): Client {
  return {
    get: (target, query) => ask(door, "GET", target, { query }),
    list: (target, query) => ask(door, "GET", target, { query }),
    watch: (target, query, options) => watch(door, target, query, options?.signal),
    create: (target, body, query) => ask(door, "POST", target, { body, query: writeQuery(query) }),
    update: (target, body, query) => ask(door, "PUT", target, { body, query: writeQuery(query) }),
    patch: (target, patch, query) => {
      const params = writeQuery(query);
      if (patch.type === "apply") {
        if (patch.force) params.force = true;
        params.fieldManager ??= door.agent ?? "plesio";
      }
      const type = PATCH_TYPES[patch.type];
      return ask(door, "PATCH", target, { body: patch.body, type, query: params });
    },
    delete: (target, query) => ask(door, "DELETE", target, { body: deleteOptions(query) }),
    deleteCollection: async (target, query = {}) => {
      const { dryRun, gracePeriodSeconds, propagationPolicy, preconditions, ...list } = query;
      const body = deleteOptions({ dryRun, gracePeriodSeconds, propagationPolicy, preconditions });
      await ask(door, "DELETE", target, { body, query: list });
    },
    as: (user, agent) => clientOf({ ...door, as: user, agent: agent ?? door.agent }),
    under: (term) => clientOf({ ...door, term }),
    because: (because) => clientOf({ ...door, because }),
  };
}

type Query = Record<string, string | number | boolean | undefined>;

function writeQuery(query: WriteQuery = {}): Query {
  const { dryRun, fieldManager, fieldValidation } = query;
  return { dryRun: dryRun ? "All" : undefined, fieldManager, fieldValidation };
}

function deleteOptions(query: DeleteQuery = {}): Record<string, unknown> {
  const { dryRun, ...options } = query;
  return {
    apiVersion: "v1",
    kind: "DeleteOptions",
    ...options,
    ...(dryRun ? { dryRun: ["All"] } : {}),
  };
}

/** The path of a target. */
export function pathOf({ resource, namespace, name, subresource }: Target): string {
  const { group, version, plural } = resource;
  let path = group ? `/apis/${group}/${version}` : `/api/${version}`;
  if (namespace) path += `/namespaces/${encodeURIComponent(namespace)}`;
  path += `/${plural}`;
  if (name) path += `/${encodeURIComponent(name)}`;
  return subresource ? `${path}/${subresource}` : path;
}

interface Asked {
  query?: object;
  body?: unknown;
  type?: string;
  signal?: AbortSignal;
}

async function send(door: Door, method: string, target: Target, asked: Asked): Promise<Response> {
  const params = new URLSearchParams();
  for (const [name, value] of Object.entries(asked.query ?? {})) {
    if (value !== undefined && value !== "") params.set(name, String(value));
  }
  const query = params.size ? `?${params}` : "";
  const headers = new Headers({
    accept: "application/json",
    "user-agent": `${door.agent ?? "plesio"}/`,
  });
  if (asked.body !== undefined) headers.set("content-type", asked.type ?? "application/json");
  const token = typeof door.token === "function" ? await door.token() : door.token;
  if (token) headers.set("authorization", `Bearer ${token}`);
  if (door.term) headers.set(TERM_HEADER, JSON.stringify(door.term));
  if (door.because) headers.set(BECAUSE_HEADER, String(door.because));
  if (door.as) impersonate(headers, door.as);
  const response = await door.transport(
    new Request(`${door.server}${pathOf(target)}${query}`, {
      method,
      headers,
      body: asked.body === undefined ? undefined : JSON.stringify(asked.body),
      signal: asked.signal,
    }),
  );
  if (response.ok) return response;
  throw await failureOf(response);
}

function impersonate(headers: Headers, user: User): void {
  headers.set("impersonate-user", user.name);
  for (const group of user.groups) headers.append("impersonate-group", group);
  if (user.uid) headers.set("impersonate-uid", user.uid);
  for (const [key, values] of Object.entries(user.extra ?? {})) {
    for (const value of values) {
      headers.append(`impersonate-extra-${encodeURIComponent(key)}`, value);
    }
  }
}

/** What an answer that is no success says. */
export async function failureOf(response: Response): Promise<ApiError> {
  const text = await response.text().catch(() => "");
  try {
    const status = JSON.parse(text);
    if (status?.kind === "Status") {
      return new ApiError({ ...status, code: status.code ?? response.status });
    }
  } catch {
    // Not a Status: whoever answered is no API server, or did not get that far
  }
  const message = text.slice(0, 2048) || response.statusText;
  return new ApiError({ code: response.status, reason: "Unknown", message });
}

/** Asks for an object. What it is, is the caller's to know. */
async function ask(door: Door, method: string, target: Target, asked: Asked): Promise<any> {
  const response = await send(door, method, target, asked);
  const object = await response.json();
  restoreTypes(object);
  return deepFreeze(object);
}

/** Items of built-in kinds come without their type: it is the list's. */
function restoreTypes(object: KubeList | KubeObject): void {
  const { items, kind, apiVersion } = object as KubeList;
  if (!Array.isArray(items) || !kind?.endsWith("List")) return;
  const itemKind = kind.slice(0, -"List".length);
  for (const item of items) {
    item.apiVersion ??= apiVersion;
    item.kind ??= itemKind;
  }
}

async function watch<T>(
  door: Door,
  target: Target,
  query: WatchQuery & ListQuery = {},
  signal?: AbortSignal,
): Promise<ClientWatch<T>> {
  const stop = new AbortController();
  const close = () => stop.abort();
  if (signal?.aborted) close();
  signal?.addEventListener("abort", close, { once: true });
  const response = await send(door, "GET", target, {
    query: { ...query, watch: true },
    signal: stop.signal,
  });
  const events = eventsOf<T>(response, stop.signal);
  return {
    close,
    async *[Symbol.asyncIterator]() {
      try {
        yield* events;
      } finally {
        signal?.removeEventListener("abort", close);
        close();
      }
    },
  };
}

async function* eventsOf<T>(
  response: Response,
  signal: AbortSignal,
): AsyncGenerator<readonly WatchEvent<T>[]> {
  if (!response.body) return;
  try {
    for await (const lines of linesOf(response.body)) {
      yield lines.filter((line) => line !== "").map((line) => eventOf<T>(line));
    }
  } catch (error) {
    // An ended watch is no failure, however it was ended
    if (!signal.aborted) throw error;
  }
}

/** A body's lines, as many together as come together; with `last` also what has no line's end when the body ends. */
export async function* linesOf(
  body: ReadableStream<Uint8Array>,
  { last = false }: { last?: boolean } = {},
): AsyncGenerator<readonly string[]> {
  // Not every browser iterates over a stream
  const reader = body.getReader();
  const decoder = new TextDecoder();
  let rest = "";
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) break;
      rest += decoder.decode(value, { stream: true });
      const end = rest.lastIndexOf("\n");
      if (end < 0) {
        if (rest.length > LINE_LENGTH_MAX) throw new RangeError("a line is too long");
        continue;
      }
      const lines = rest.slice(0, end).split("\n");
      rest = rest.slice(end + 1);
      yield lines;
    }
    if (last && rest) yield [rest];
  } finally {
    await reader.cancel();
  }
}

function eventOf<T>(line: string): WatchEvent<T> {
  const { type, object } = JSON.parse(line);
  if (type === "ERROR") throw new ApiError({ ...object, code: object.code ?? 500 });
  return { type, object: deepFreeze(object) as DeepReadonly<T> };
}
