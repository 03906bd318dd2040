/**
 * Sockets: HTTP/2 and HTTP/1.1 over TLS with client certificates, or plain HTTP on the loopback. node's
 * requests become calls without a detour over fetch's objects.
 *
 * A client's certificate counts only when TLS says it was verified: node reports the subject of any.
 */
import type { Buffer } from "node:buffer";
import type { IncomingMessage, Server, ServerResponse } from "node:http";
import type { Http2SecureServer } from "node:http2";
import type { Socket } from "node:net";
import type { TLSSocket } from "node:tls";
import type { Credentials } from "../auth/contract.ts";
import { bodyTooLarge, type Call, isStream, type Reply } from "./http.ts";

export type { IncomingMessage, Socket };

/** Lets the event loop run what waits, at once. */
export function nextTurn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

/** Sends an HTTP request from this machine. */
export function hostFetch(request: Request): Promise<Response> {
  return fetch(request);
}

/** Opens a connection from this machine. */
export async function hostConnect(host: string, port: number): Promise<Socket> {
  const { connect } = await import("node:net");
  return await new Promise((resolve, reject) => {
    const socket = connect({ host, port });
    socket.once("error", reject);
    socket.once("connect", () => {
      socket.off("error", reject);
      socket.setNoDelay(true);
      resolve(socket);
    });
  });
}

/** Where this machine connects to. */
export interface HostPlace {
  host: string;
  port: number;
  /** Absent: no TLS. PEM throughout; `name` is what the certificate must carry. */
  tls?: { name: string; ca?: string; cert?: string; key?: string; insecure?: boolean };
}

/** One request of ours; aborting the signal ends it, and the answer's body. */
export interface HostMessage {
  method: string;
  path: string;
  headers: Record<string, string | string[]>;
  body?: Uint8Array;
  signal: AbortSignal;
}

/** Sends a request and hands over the answer once its head is there. Redirects are answers like others. */
export type HostRequest = (place: HostPlace, message: HostMessage) => Promise<{
  status: number;
  headers: Record<string, string | string[]>;
  body: AsyncIterable<Uint8Array>;
}>;

/** What node's TLS wants to know. A name that is an address is checked, but not sent. */
function trustOf(tls: NonNullable<HostPlace["tls"]>) {
  const { ca, cert, key, name, insecure } = tls;
  const servername = /^[0-9.]+$|:/.test(name) ? "" : name;
  return { ca, cert, key, servername, rejectUnauthorized: !insecure };
}

/** Sends an HTTP request from this machine, over a connection that is kept for the next one. */
export const hostRequest: HostRequest = async (place, message) => {
  const { request } = place.tls ? await import("node:https") : await import("node:http");
  let answer: IncomingMessage;
  try {
    answer = await requestOnce(request, place, message);
  } catch (error) {
    // The other side may close a kept connection in the moment that we use it
    const { reused, code } = error as { reused?: boolean; code?: string };
    if (!reused || code !== "ECONNRESET" || message.signal.aborted) throw error;
    answer = await requestOnce(request, place, message);
  }
  const found: Record<string, string | string[]> = {};
  for (const [name, value] of Object.entries(answer.headers)) if (value) found[name] = value;
  return { status: answer.statusCode ?? 0, headers: found, body: answer };
};

/** One attempt. Whoever aborts is answered at once, whatever becomes of the connection. */
function requestOnce(
  request: typeof import("node:http").request,
  { host, port, tls }: HostPlace,
  { method, path, headers, body, signal }: HostMessage,
): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    if (signal.aborted) return reject(signal.reason);
    const options = { host, port, method, path, headers, ...tls && trustOf(tls) };
    let begun: IncomingMessage | undefined;
    const outgoing = request(options, (answer: IncomingMessage) => {
      begun = answer;
      answer.on("close", () => signal.removeEventListener("abort", abort));
      resolve(answer);
    });
    const abort = () => {
      begun?.destroy(new Error("aborted"));
      outgoing.destroy();
      reject(signal.reason);
    };
    signal.addEventListener("abort", abort, { once: true });
    outgoing.on("error", (error: Error) => {
      signal.removeEventListener("abort", abort);
      reject(Object.assign(error, { reused: outgoing.reusedSocket }));
    });
    outgoing.end(body);
  });
}

/** Opens a connection from this machine, with TLS where the place has it. */
export async function hostDial({ host, port, tls }: HostPlace): Promise<Socket> {
  if (!tls) return await hostConnect(host, port);
  const { connect } = await import("node:tls");
  return await new Promise((resolve, reject) => {
    const socket = connect({ host, port, ...trustOf(tls) });
    socket.once("error", reject);
    socket.once("secureConnect", () => {
      socket.off("error", reject);
      socket.setNoDelay(true);
      resolve(socket);
    });
  });
}

/** Certificates in PEM. */
export interface TlsFiles {
  cert: string;
  key: string;
  /** Whose client certificates are good. */
  ca: string;
}

/** How to listen. */
export interface ListenOptions {
  /** Default 127.0.0.1. */
  host?: string;
  /** 0: any free one. */
  port: number;
  /** Absent: plain HTTP. */
  tls?: TlsFiles;
}

/** What a listener serves. */
export interface Served {
  answer(call: Call): Promise<Reply>;
  /** Takes over a socket that asks for another protocol. */
  upgrade(call: Call, socket: Socket, head: Buffer): void;
}

/** An open listener. */
export interface Listener {
  readonly host: string;
  readonly port: number;
  /** Uses other certificates from now on; open connections stay. */
  reload(tls: TlsFiles): void;
  /** Closes, and ends what is open after `graceMs` (default 0). */
  close(options?: { graceMs?: number }): Promise<void>;
}

/** Connections that stay open after an error in a client's TLS handshake are none of ours. */
const HTTP2_STREAMS_MAX = 1_000;

/** Listens. Rejects with the system's error (EADDRINUSE, EACCES). */
export async function listen(served: Served, options: ListenOptions): Promise<Listener> {
  const { host = "127.0.0.1", port, tls } = options;
  const sockets = new Set<Socket>();
  const server = tls ? await secureServer(tls) : await plainServer();
  server.on("connection", (socket: Socket) => {
    sockets.add(socket);
    socket.setNoDelay(true);
    socket.on("close", () => sockets.delete(socket));
    socket.on("error", () => socket.destroy());
  });
  server.on("request", (req: IncomingMessage, res: ServerResponse) => {
    serve(served, req, res).catch(() => res.destroy());
  });
  server.on("upgrade", (req: IncomingMessage, socket: Socket, head: Buffer) => {
    // An exception here would end the process
    try {
      socket.on("error", () => socket.destroy());
      served.upgrade(callOf(req), socket, head);
    } catch {
      socket.destroy();
    }
  });
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(port, host, () => {
      server.off("error", reject);
      resolve();
    });
  });
  const address = server.address() as { address: string; port: number };
  return {
    host: address.address,
    port: address.port,
    reload(files) {
      (server as Http2SecureServer).setSecureContext?.(files);
    },
    async close({ graceMs = 0 } = {}) {
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      if (graceMs > 0) await Promise.race([closed, new Promise((r) => setTimeout(r, graceMs))]);
      for (const socket of sockets) socket.destroy();
      await closed;
    },
  };
}

async function secureServer(tls: TlsFiles): Promise<Http2SecureServer> {
  const { createSecureServer } = await import("node:http2");
  return createSecureServer({
    ...tls,
    allowHTTP1: true,
    requestCert: true,
    rejectUnauthorized: false,
    settings: { maxConcurrentStreams: HTTP2_STREAMS_MAX },
  });
}

async function plainServer(): Promise<Server> {
  const { createServer } = await import("node:http");
  return createServer();
}

const certificates = new WeakMap<object, Credentials["certificate"] | null>();

/** The verified certificate of a connection's client. */
function certificateOf(socket: TLSSocket | undefined): Credentials["certificate"] {
  if (!socket || typeof socket.getPeerCertificate !== "function") return undefined;
  const known = certificates.get(socket);
  if (known !== undefined) return known ?? undefined;
  let found: Credentials["certificate"];
  if (socket.authorized) {
    const { subject, raw } = socket.getPeerCertificate() ?? {};
    if (raw && subject) {
      const { CN, O } = subject as { CN?: string | string[]; O?: string | string[] };
      const organizations = O === undefined ? [] : Array.isArray(O) ? O : [O];
      const commonName = Array.isArray(CN) ? CN[0] : CN;
      found = { subject: { commonName, organizations }, raw: new Uint8Array(raw) };
    }
  }
  certificates.set(socket, found ?? null);
  return found;
}

/** node's request as a call. */
function callOf(req: IncomingMessage): Call {
  const url = req.url ?? "/";
  const at = url.indexOf("?");
  const headers = req.headers;
  const socket = req.socket as TLSSocket;
  return {
    method: req.method ?? "GET",
    path: at < 0 ? url : url.slice(0, at),
    query: at < 0 ? "" : url.slice(at + 1),
    header(name) {
      const value = headers[name];
      return Array.isArray(value) ? value.join(", ") : value;
    },
    *headers() {
      for (const name in headers) {
        const value = headers[name];
        if (value !== undefined) yield [name, value];
      }
    },
    hasHeaders(prefix) {
      for (const name in headers) if (name.startsWith(prefix)) return true;
      return false;
    },
    body: (max) => readBody(req, max),
    remote: socket.remoteAddress,
    raw: req,
    get certificate() {
      return certificateOf(socket);
    },
  };
}

function readBody(req: IncomingMessage, max: number): Promise<Uint8Array> {
  const length = Number(req.headers["content-length"] ?? 0);
  if (length > max) return Promise.reject(bodyTooLarge(max));
  return new Promise((resolve, reject) => {
    const parts: Uint8Array[] = [];
    let bytes = 0;
    req.on("data", (part: Uint8Array) => {
      bytes += part.length;
      if (bytes > max) {
        req.pause();
        reject(bodyTooLarge(max));
      } else parts.push(part);
    });
    req.on("end", () => resolve(parts.length === 1 ? parts[0] : joined(parts, bytes)));
    req.on("error", reject);
    req.on("aborted", () => reject(new Error("the client has gone")));
  });
}

function joined(parts: readonly Uint8Array[], bytes: number): Uint8Array {
  const out = new Uint8Array(bytes);
  let at = 0;
  for (const part of parts) {
    out.set(part, at);
    at += part.length;
  }
  return out;
}

/** Whether a client has gone; a signal of it is made only for those who ask. */
class Gone {
  yes = false;
  #controller: AbortController | undefined;

  constructor(res: ServerResponse) {
    res.on("close", () => {
      this.yes = true;
      this.#controller?.abort();
    });
  }

  get signal(): AbortSignal {
    this.#controller ??= new AbortController();
    if (this.yes) this.#controller.abort();
    return this.#controller.signal;
  }
}

async function serve(served: Served, req: IncomingMessage, res: ServerResponse): Promise<void> {
  const gone = new Gone(res);
  const call = Object.defineProperty(callOf(req), "signal", { get: () => gone.signal });
  const reply = await served.answer(call);
  if (gone.yes) {
    if (isStream(reply.body)) await reply.body[Symbol.asyncIterator]().return?.();
    return;
  }
  const { status, headers, body } = reply;
  if (req.method === "HEAD") {
    if (isStream(body)) await body[Symbol.asyncIterator]().return?.();
    res.writeHead(status, headers);
    res.end();
    return;
  }
  if (!isStream(body)) {
    if (body) headers["content-length"] = String(body.length);
    res.writeHead(status, headers);
    res.end(body);
    return;
  }
  res.writeHead(status, headers);
  res.flushHeaders?.();
  await pump(res, body, gone.signal);
}

/** Sends pieces as fast as they are taken. Ends early when the client goes. */
async function pump(
  res: ServerResponse,
  body: AsyncIterable<Uint8Array>,
  signal: AbortSignal,
): Promise<void> {
  const pieces = body[Symbol.asyncIterator]();
  const stop = () => void pieces.return?.()?.then(undefined, () => {});
  signal.addEventListener("abort", stop, { once: true });
  // Past node's own framing a piece is one write, and its frame is shared by all who are sent it.
  const socket = res.chunkedEncoding ? res.socket : null;
  const to = socket ?? res;
  try {
    for (;;) {
      const { done, value } = await pieces.next();
      if (done || signal.aborted) break;
      // A chunk of no length would end the answer.
      if (value.length === 0) continue;
      if (!to.write(socket ? chunkOf(value) : value)) await drained(to, signal);
    }
  } finally {
    signal.removeEventListener("abort", stop);
    if (signal.aborted) stop();
    else res.end();
  }
}

const chunks = new WeakMap<Uint8Array, Uint8Array>();
const encoder = new TextEncoder();

/** A piece as a chunk of HTTP/1.1: its length in hexadecimal, itself, each with a line's end. */
function chunkOf(piece: Uint8Array): Uint8Array {
  const known = chunks.get(piece);
  if (known) return known;
  const head = encoder.encode(`${piece.length.toString(16)}\r\n`);
  const chunk = new Uint8Array(head.length + piece.length + 2);
  chunk.set(head);
  chunk.set(piece, head.length);
  chunk[chunk.length - 2] = 13;
  chunk[chunk.length - 1] = 10;
  chunks.set(piece, chunk);
  return chunk;
}

function drained(res: ServerResponse | Socket, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      res.off("drain", done);
      signal.removeEventListener("abort", done);
      resolve();
    };
    res.on("drain", done);
    signal.addEventListener("abort", done);
  });
}
