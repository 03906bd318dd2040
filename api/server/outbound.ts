/**
 * The way out (`api/client/outbound.ts`) over this machine's sockets: finds where an endpoint lies, bounds time and
 * bytes, puts what went wrong into Go's words.
 *
 * A Service is looked up in the head view: one of its ready endpoints, chosen at random, under the name
 * `<name>.<namespace>.svc`. ExternalName is refused, and so are this machine's own addresses: else whoever may write a
 * Service could make the server speak to what listens here for others.
 *
 * Where whole answers are wanted (`send`), what is known of a place counts (`outbound_places.ts`). What is passed on in
 * pieces (`open`) is tried each time.
 */
import type { Clock } from "../../kv/clock.ts";
import type { View } from "../../kv/contract.ts";
import {
  type Endpoint,
  type Outbound,
  type OutboundAnswer,
  OutboundError,
  type OutboundReply,
  type OutboundRequest,
} from "../client/outbound.ts";
import { joinedBytes } from "../machinery/joined_bytes.ts";
import type { KubeObject } from "../machinery/types.ts";
import type { HostMessage, HostPlace, HostRequest, Socket } from "./listen.ts";
import { Crowds, LATE, Unreached } from "./outbound_places.ts";
import { addressAllowed, endpointsOf } from "./proxy.ts";

/** Longest time without being told. */
const TIMEOUT_MS = 30_000;
/** Most bytes of a collected answer without being told. */
export const ANSWER_BYTES_MAX = 16 * 1024 * 1024;
/** Where a Service is spoken to without being told. */
const SERVICE_PORT = 443;

/** What the way out is made of. */
export interface OutboundOptions {
  /** The head of the store. */
  view: () => View<KubeObject>;
  clock: Clock;
  /** Sends one request from this machine. */
  request: HostRequest;
  /** Opens one connection from this machine. */
  dial: (place: HostPlace) => Promise<Socket>;
}

/** What is said to an endpoint, wherever it lies. */
interface Route {
  /** The Host header, and how errors name the place. */
  authority: string;
  scheme: string;
  path: string;
  query: string;
}

/** What is remembered between requests. */
interface Places {
  unreached: Unreached;
  crowds: Crowds;
}

/** The options, and that. */
interface Parts extends OutboundOptions {
  places: Places;
}

/** Makes the way out. */
export function createOutbound(given: OutboundOptions): Outbound {
  const { clock } = given;
  const places = { unreached: new Unreached(clock), crowds: new Crowds(clock) };
  const options: Parts = { ...given, places };
  return {
    open: (endpoint, request) => open(options, endpoint, request),
    send: (endpoint, request) => send(options, endpoint, request),
    async connect(endpoint) {
      const place = placeOf(options, endpoint);
      try {
        return await options.dial(place);
      } catch (error) {
        throw inWords(error, place);
      }
    },
  };
}

function unresolved(message: string): OutboundError {
  return new OutboundError(message, "unresolved");
}

/** A Service's place: one of its ready endpoints. */
function serviceAddress(
  { view, clock }: OutboundOptions,
  { namespace, name, port = SERVICE_PORT }: NonNullable<Endpoint["service"]>,
): { host: string; port: number } {
  const state = view();
  const service = state.get(`/registry/services/specs/${namespace}/${name}`)?.value;
  if (!service) throw unresolved(`service ${JSON.stringify(name)} not found`);
  if (service.spec?.type === "ExternalName") {
    throw unresolved(`unsupported service type ${JSON.stringify(service.spec.type)}`);
  }
  const ports = (service.spec?.ports ?? []) as { name?: string; port: number }[];
  const asked = ports.find((one) => one.port === port);
  if (!asked) throw unresolved(`no service port ${port} found for service ${JSON.stringify(name)}`);
  const places = endpointsOf(state, { namespace, name }, asked.name ?? "");
  if (places.length === 0) {
    throw unresolved(`no endpoints available for service ${JSON.stringify(name)}`);
  }
  const place = places[Math.floor(clock.random() * places.length)];
  if (!addressAllowed(state, place.host)) throw unresolved("address not allowed");
  return place;
}

function urlOf(text = ""): URL {
  const url = new URL(text);
  if (url.protocol === "https:" || url.protocol === "http:") return url;
  throw unresolved(`unsupported protocol scheme ${JSON.stringify(url.protocol.slice(0, -1))}`);
}

/** What is dialled to reach an endpoint. */
function placeOf(options: OutboundOptions, endpoint: Endpoint): HostPlace {
  const { caBundle: ca, certificate, insecureSkipTlsVerify } = endpoint;
  const trust = { ca, ...certificate, insecure: insecureSkipTlsVerify };
  if (endpoint.service) {
    const { namespace, name } = endpoint.service;
    const tls = { ...trust, name: endpoint.serverName ?? `${name}.${namespace}.svc` };
    return { ...serviceAddress(options, endpoint.service), tls };
  }
  const url = urlOf(endpoint.url);
  const host = url.hostname.replace(/^\[|\]$/g, "");
  if (url.protocol === "http:") return { host, port: Number(url.port) || 80 };
  const tls = { ...trust, name: endpoint.serverName ?? host };
  return { host, port: Number(url.port) || 443, tls };
}

function routeOf(endpoint: Endpoint): Route {
  if (endpoint.service) {
    const { namespace, name, port = SERVICE_PORT, path = "" } = endpoint.service;
    const authority = `${name}.${namespace}.svc:${port}`;
    return { authority, scheme: "https", path: cleaned(path), query: "" };
  }
  const url = urlOf(endpoint.url);
  return {
    authority: url.host,
    scheme: url.protocol.slice(0, -1),
    path: cleaned(url.pathname === "/" ? "" : url.pathname),
    query: url.search.slice(1),
  };
}

/** An endpoint's path as Go's client sends it: envtest writes two slashes before it. */
function cleaned(path: string): string {
  return path.replace(/\/{2,}/g, "/");
}

/** The parts of a path, joined by one slash. */
function joined(one: string, two = ""): string {
  if (!two) return one || "/";
  return `${one.replace(/\/+$/, "")}/${two.replace(/^\/+/, "")}`;
}

/** A signal that aborts at a time or with another one; `done` lets go of both. */
function deadline(clock: Clock, timeoutMs: number, other?: AbortSignal) {
  const controller = new AbortController();
  const abort = () => controller.abort();
  const timer = clock.timer("work", timeoutMs, () => controller.abort(LATE));
  if (other?.aborted) abort();
  other?.addEventListener("abort", abort, { once: true });
  return {
    signal: controller.signal,
    done() {
      timer.cancel();
      other?.removeEventListener("abort", abort);
    },
  };
}

interface Open extends OutboundReply {
  place: HostPlace;
  /** `Post "https://…"`. */
  said: string;
  /** The answer has been read, or nobody reads it any more. */
  over: () => void;
}

/** `places`: what is known of them, where that counts. */
async function openUntil(
  options: OutboundOptions,
  endpoint: Endpoint,
  request: OutboundRequest,
  { signal, places }: { signal: AbortSignal; places?: Places },
): Promise<Open> {
  const { method } = request;
  const route = routeOf(endpoint);
  const query = [route.query, request.query].filter(Boolean).join("&");
  const path = joined(route.path, request.path) + (query ? `?${query}` : "");
  const verb = method[0] + method.slice(1).toLowerCase();
  const said = `${verb} "${route.scheme}://${route.authority}${path}"`;
  const headers: Record<string, string | string[]> = {
    ...request.headers,
    host: route.authority,
  };
  if (endpoint.bearerToken) headers.authorization = `Bearer ${endpoint.bearerToken}`;
  if (request.body) headers["content-length"] = String(request.body.length);
  let place: HostPlace;
  try {
    place = placeOf(options, endpoint);
  } catch (error) {
    if (error instanceof OutboundError) {
      throw new OutboundError(`${said}: ${error.message}`, error.failure);
    }
    throw error;
  }
  const message = { method, path, headers, body: request.body, signal };
  try {
    if (places) return { ...await asked(options, places, place, message), place, said };
    return { ...await options.request(place, message), place, said, over: NOTHING };
  } catch (error) {
    if (signal.aborted) throw late(said);
    throw wordsFor(error, place, said);
  }
}

/** Asks a place as far as what is known of it allows, and learns from it. */
async function asked(
  { clock, request }: OutboundOptions,
  { unreached, crowds }: Places,
  place: HostPlace,
  message: HostMessage,
): Promise<Awaited<ReturnType<HostRequest>> & Pick<Open, "over">> {
  const { signal } = message;
  const why = unreached.why(place);
  if (why) {
    if (why.heldMs >= 1) await clock.sleep(why.heldMs, { signal });
    // Many may fall due together
    await crowds.turn();
    throw why.error;
  }
  const over = await crowds.enter(place, signal);
  const began = clock.monotonic();
  try {
    signal.throwIfAborted();
    const reply = await request(place, message);
    unreached.reached(place);
    return { ...reply, over };
  } catch (error) {
    over();
    const { unreached: never, code } = error as { unreached?: boolean; code?: string };
    if (never || (!signal.aborted && code !== "ECONNRESET")) {
      unreached.failed(place, { error, tookMs: clock.monotonic() - began });
    }
    await crowds.turn();
    throw error;
  }
}

const NOTHING = () => {};

function wordsFor(error: unknown, place: HostPlace, said: string): OutboundError {
  return (error as { unreached?: boolean }).unreached ? late(said) : inWords(error, place, said);
}

function late(said: string): OutboundError {
  return new OutboundError(`${said}: context deadline exceeded`, "timeout");
}

async function open(
  options: OutboundOptions,
  endpoint: Endpoint,
  request: OutboundRequest,
): Promise<OutboundReply> {
  // The bound on time is on the head alone: a watch's body goes on for as long as its asker stays
  const whole = new AbortController();
  const stop = () => whole.abort();
  request.signal?.addEventListener("abort", stop, { once: true });
  if (request.signal?.aborted) stop();
  const timer = options.clock.timer("work", request.timeoutMs ?? TIMEOUT_MS, stop);
  try {
    const reply = await openUntil(options, endpoint, request, whole);
    const { status, headers, said } = reply;
    const body = bounded(reply.body, request.bytesMax ?? Infinity, said);
    return { status, headers, body };
  } finally {
    timer.cancel();
  }
}

async function* bounded(
  body: AsyncIterable<Uint8Array>,
  max: number,
  said: string,
): AsyncGenerator<Uint8Array> {
  let bytes = 0;
  for await (const piece of body) {
    bytes += piece.length;
    if (bytes > max) {
      throw new OutboundError(`${said}: the answer is larger than ${max} bytes`, "tooLarge");
    }
    yield piece;
  }
}

async function send(
  options: Parts,
  endpoint: Endpoint,
  request: OutboundRequest,
): Promise<OutboundAnswer> {
  const until = deadline(options.clock, request.timeoutMs ?? TIMEOUT_MS, request.signal);
  try {
    const { places } = options;
    const reply = await openUntil(options, endpoint, request, { signal: until.signal, places });
    try {
      const pieces: Uint8Array[] = [];
      const max = request.bytesMax ?? ANSWER_BYTES_MAX;
      for await (const piece of bounded(reply.body, max, reply.said)) pieces.push(piece);
      return { status: reply.status, headers: reply.headers, body: joinedBytes(pieces) };
    } catch (error) {
      if (until.signal.aborted) throw late(reply.said);
      throw inWords(error, reply.place, reply.said);
    } finally {
      reply.over();
    }
  } finally {
    until.done();
  }
}

const UNKNOWN_AUTHORITY = "x509: certificate signed by unknown authority";
/** What node says of a certificate, and what Go does. */
const CERTIFICATE_TEXTS: Readonly<Record<string, string>> = {
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: UNKNOWN_AUTHORITY,
  UNABLE_TO_GET_ISSUER_CERT: UNKNOWN_AUTHORITY,
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: UNKNOWN_AUTHORITY,
  SELF_SIGNED_CERT_IN_CHAIN: UNKNOWN_AUTHORITY,
  DEPTH_ZERO_SELF_SIGNED_CERT: UNKNOWN_AUTHORITY,
  CERT_HAS_EXPIRED: "x509: certificate has expired or is not yet valid",
  CERT_NOT_YET_VALID: "x509: certificate has expired or is not yet valid",
};

/** An error of this machine's network in Go's words. */
function inWords(error: unknown, { host, port, tls }: HostPlace, said = ""): OutboundError {
  if (error instanceof OutboundError) return error;
  const { code = "", message } = error as { code?: string; message?: string };
  const before = said ? `${said}: ` : "";
  const at = `${host.includes(":") ? `[${host}]` : host}:${port}`;
  const bad = (why: string) =>
    new OutboundError(`${before}tls: failed to verify certificate: ${why}`, "certificate");
  if (CERTIFICATE_TEXTS[code]) return bad(CERTIFICATE_TEXTS[code]);
  if (code === "ERR_TLS_CERT_ALTNAME_INVALID") {
    const names = /altnames?: (DNS:.*)$|not in the cert's list: (.*)$/.exec(message ?? "");
    const valid = (names?.[1] ?? names?.[2] ?? "").replaceAll(/DNS:|IP Address:/g, "");
    const list = /cert's list: (.*)$/.exec(message ?? "");
    if (list?.[1] === "") {
      return bad(
        `x509: cannot validate certificate for ${tls?.name} because it doesn't contain any IP SANs`,
      );
    }
    return bad(
      valid
        ? `x509: certificate is valid for ${valid}, not ${tls?.name}`
        : `x509: certificate is not valid for any names, but wanted to match ${tls?.name}`,
    );
  }
  const why = code === "ECONNREFUSED"
    ? `dial tcp ${at}: connect: connection refused`
    : code === "ENOTFOUND" || code === "EAI_AGAIN"
    ? `dial tcp: lookup ${host}: no such host`
    : code === "EHOSTUNREACH"
    ? `dial tcp ${at}: connect: no route to host`
    : code === "ENETUNREACH"
    ? `dial tcp ${at}: connect: network is unreachable`
    : code === "ECONNRESET"
    ? `read tcp ${at}: read: connection reset by peer`
    : message ?? String(error);
  return new OutboundError(before + why, "connection");
}
