/**
 * Sockets: HTTP/2 and HTTP/1.1 over TLS with client certificates, or plain HTTP on the loopback. node's
 * requests become calls without a detour over fetch's objects.
 *
 * A client's certificate counts only when TLS says it was verified: node reports the subject of any.
 */
import { FLOODED, Inbox, type Socketed } from "../client/socketed.ts";
import type { Buffer } from "node:buffer";
import type { Agent, IncomingMessage, Server, ServerResponse } from "node:http";
import type { Http2SecureServer, Http2Session } from "node:http2";
import type { Socket } from "node:net";
import type { TLSSocket } from "node:tls";
import { type Clock, RealClock } from "../../kv/clock.ts";
import { Connections, IDLE_MS_MAX } from "./connections.ts";
import { Gate } from "./gate.ts";
import type { Call, Reply } from "./http.ts";
import { memoryGiver } from "./memory.ts";
import { callOf, serve } from "./serving.ts";

export type { Http2Session, IncomingMessage, ServerResponse, Socket, TLSSocket };

/** Opens a connection from this machine. */
async function hostConnect(host: string, port: number): Promise<Socket> {
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
  const key = place.tls?.ca ? JSON.stringify(place) : "";
  const once = () => requestOnce(place, message, pinned.get(key));
  let answer: IncomingMessage;
  try {
    answer = await once();
  } catch (error) {
    const { reused, code = "" } = error as { reused?: boolean; code?: string };
    if (message.signal.aborted) throw error;
    if (key && UNKNOWN_ISSUER.has(code) && !pinned.has(key)) await pin(key, place);
    // The other side may close a kept connection in the moment that we use it
    else if (!reused || code !== "ECONNRESET") throw error;
    answer = await once();
  }
  const found: Record<string, string | string[]> = {};
  for (const [name, value] of Object.entries(answer.headers)) if (value) found[name] = value;
  return { status: answer.statusCode ?? 0, headers: found, body: answer };
};

/**
 * One attempt. Whoever aborts is answered at once, whatever becomes of the connection. An agent, where there is one,
 * makes connections of its own.
 */
async function requestOnce(
  { host, port, tls }: HostPlace,
  { method, path, headers, body, signal }: HostMessage,
  agent?: Agent,
): Promise<IncomingMessage> {
  const { request } = tls && !agent ? await import("node:https") : await import("node:http");
  const trust = agent ? { agent } : tls && { agent: await secureAgent(), ...trustOf(tls) };
  return await new Promise((resolve, reject) => {
    if (signal.aborted) return reject(signal.reason);
    const options = { host, port, method, path, headers, ...trust };
    let begun: IncomingMessage | undefined;
    const outgoing = request(options, (answer: IncomingMessage) => {
      begun = answer;
      answer.on("close", () => signal.removeEventListener("abort", abort));
      resolve(answer);
    });
    const abort = () => {
      const unreached = !outgoing.reusedSocket && (outgoing.socket?.connecting ?? true);
      begun?.destroy(new Error("aborted"));
      outgoing.destroy();
      reject(Object.assign(new Error("aborted"), { unreached }));
    };
    signal.addEventListener("abort", abort, { once: true });
    outgoing.on("error", (error: Error) => {
      signal.removeEventListener("abort", abort);
      reject(Object.assign(error, { reused: outgoing.reusedSocket }));
    });
    outgoing.end(body);
  });
}

let secure: Agent | undefined;

/**
 * Keeps our connections over TLS as node's own agent would. When one is opened, node looks at the names in the other side's
 * certificate, and for that makes its authorities readable, too, which takes 15 ms where those are all that the machine
 * knows: here it is shown the certificate alone.
 */
async function secureAgent(): Promise<Agent> {
  if (secure) return secure;
  const { Agent } = await import("node:https");
  const agent = new Agent({ keepAlive: true, scheduling: "lifo", timeout: KEPT_MS_MAX });
  const { createConnection } = agent;
  agent.createConnection = (...made) => {
    const socket = createConnection.apply(agent, made) as TLSSocket;
    const { getPeerCertificate } = socket;
    socket.getPeerCertificate = () => getPeerCertificate.call(socket, false) as never;
    return socket;
  };
  return secure = agent;
}

/** A connection that nobody uses is kept so long. */
const KEPT_MS_MAX = 5_000;

/** What node says of a certificate whose authority it does not know. */
const UNKNOWN_ISSUER = new Set([
  "DEPTH_ZERO_SELF_SIGNED_CERT",
  "SELF_SIGNED_CERT_IN_CHAIN",
  "UNABLE_TO_VERIFY_LEAF_SIGNATURE",
  "UNABLE_TO_GET_ISSUER_CERT",
  "UNABLE_TO_GET_ISSUER_CERT_LOCALLY",
]);

/**
 * Places whose bundle holds the server's own certificate, not its authority's: Go trusts those, and envtest relies
 * on it; node does not. Their connections are checked here instead, before anything is sent.
 */
const pinned = new Map<string, Agent>();
/** Most such places that are remembered. */
const PINNED_MAX = 64;

/** From now on a place's connections are trusted by the certificates of its bundle themselves. */
async function pin(key: string, place: HostPlace): Promise<void> {
  // Throws what is wrong with it, and so is remembered only when it is good
  (await dialPinned(place)).destroy();
  const { Agent } = await import("node:http");
  const agent = new Agent({ keepAlive: true });
  const connect = (_options: unknown, opened: (error: Error | null, socket?: Socket) => void) => {
    dialPinned(place).then((socket) => opened(null, socket), opened);
  };
  agent.createConnection = connect as unknown as Agent["createConnection"];
  const [oldest] = pinned.keys();
  if (pinned.size >= PINNED_MAX) {
    pinned.get(oldest)!.destroy();
    pinned.delete(oldest);
  }
  pinned.set(key, agent);
}

async function dialPinned({ host, port, tls }: HostPlace): Promise<Socket> {
  const { connect } = await import("node:tls");
  const { X509Certificate } = await import("node:crypto");
  const { name, ca = "" } = tls!;
  const socket = await new Promise<TLSSocket>((resolve, reject) => {
    const opened = connect({ host, port, ...trustOf(tls!), rejectUnauthorized: false });
    opened.once("error", reject);
    opened.once("secureConnect", () => {
      opened.off("error", reject);
      resolve(opened);
    });
  });
  const problem = () => {
    const { raw } = socket.getPeerCertificate() ?? {};
    if (!raw) return { code: "UNABLE_TO_VERIFY_LEAF_SIGNATURE" };
    const presented = new X509Certificate(raw);
    const bundle = ca.match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g) ?? [];
    const known = bundle.some((pem) => new X509Certificate(pem).raw.equals(presented.raw));
    if (!known) return { code: "UNABLE_TO_VERIFY_LEAF_SIGNATURE" };
    const now = Date.now();
    if (now > Date.parse(presented.validTo) || now < Date.parse(presented.validFrom)) {
      return { code: "CERT_HAS_EXPIRED" };
    }
    const address = /^[0-9.]+$|:/.test(name);
    if (address ? presented.checkIP(name) : presented.checkHost(name)) return undefined;
    return { code: "ERR_TLS_CERT_ALTNAME_INVALID", altnames: presented.subjectAltName };
  };
  const found = problem();
  if (!found) return socket;
  socket.destroy();
  throw Object.assign(new Error(`altnames: ${found.altnames ?? ""}`), { code: found.code });
}

/** Opens a connection from this machine, with TLS where the place has it. */
export async function hostDial(place: HostPlace): Promise<Socket> {
  const { host, port, tls } = place;
  if (!tls) return await hostConnect(host, port);
  const { connect } = await import("node:tls");
  try {
    return await new Promise((resolve, reject) => {
      const socket = connect({ host, port, ...trustOf(tls) });
      socket.once("error", reject);
      socket.once("secureConnect", () => {
        socket.off("error", reject);
        socket.setNoDelay(true);
        resolve(socket);
      });
    });
  } catch (error) {
    if (!tls.ca || !UNKNOWN_ISSUER.has((error as { code?: string }).code ?? "")) throw error;
    return await dialPinned(place);
  }
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
  /** Streams of one HTTP/2 connection at once (default `HTTP2_STREAMS_MAX`). */
  streamsMax?: number;
  /** What timers run by (default: the host's). */
  clock?: Clock;
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
  readonly connections: Connections;
  /** Uses other certificates from now on; open connections stay. */
  reload(tls: TlsFiles): void;
  /** Takes no more connections, closes idle ones, and asks the others to go when their requests are done. */
  drain(): void;
  /** Closes, and ends what is open after `graceMs` (default 0). */
  close(options?: { graceMs?: number }): Promise<void>;
}

/** Streams of one HTTP/2 connection at once, as upstream. */
export const HTTP2_STREAMS_MAX = 100;
/** Longest head of a request, in bytes (upstream's); over HTTP/2 the protocol's library stops at 64 KiB. */
export const HEAD_BYTES_MAX = 1024 * 1024;

/** Listens. Rejects with the system's error (EADDRINUSE, EACCES). */
export async function listen(served: Served, options: ListenOptions): Promise<Listener> {
  const { host = "127.0.0.1", port, tls, clock = new RealClock() } = options;
  const connections = new Connections(clock, { rested: giveBackMemory });
  const out = new Gate(clock);
  const server = tls
    ? await secureServer(tls, options.streamsMax || HTTP2_STREAMS_MAX)
    : await plainServer();
  server.on("connection", (socket: Socket) => connections.add(socket));
  server.on("secureConnection", (socket: TLSSocket) => connections.secured(socket));
  server.on("session", (session: Http2Session) => connections.opened(session));
  // A handshake that failed, or took too long
  server.on("tlsClientError", (_: Error, socket: Socket) => socket?.destroy());
  // What is no HTTP, or a head that is too long
  server.on("clientError", (error: Error, socket: Socket) => {
    const { _httpMessage: answer } = socket as { _httpMessage?: { headersSent: boolean } };
    if (!socket.writable || answer?.headersSent) return void socket.destroy();
    const { code } = error as { code?: string };
    if (code !== "HPE_HEADER_OVERFLOW") return void socket.end(refusal("400 Bad Request"));
    socket.write(refusal("431 Request Header Fields Too Large"));
    connections.refused(socket);
  });
  server.on("request", (req: IncomingMessage, res: ServerResponse) => {
    const ended = connections.begin(req);
    serve(served, req, res, { clock, ended, out }).catch(() => res.destroy());
  });
  server.on("upgrade", (req: IncomingMessage, socket: Socket, head: Buffer) => {
    // An exception here would end the process
    try {
      connections.upgraded(req);
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
  let closed: Promise<void> | undefined;
  const stopListening = () =>
    closed ??= new Promise<void>((resolve) => server.close(() => resolve()));
  return {
    host: address.address,
    port: address.port,
    connections,
    reload(files) {
      (server as Http2SecureServer).setSecureContext?.(files);
    },
    drain() {
      void stopListening();
      connections.drain();
    },
    async close({ graceMs = 0 } = {}) {
      const done = stopListening();
      if (graceMs > 0) await Promise.race([done, clock.sleep(graceMs)]);
      connections.close();
      await done;
    },
  };
}

function refusal(status: string): string {
  return `HTTP/1.1 ${status}\r\nConnection: close\r\n\r\n`;
}

const { gc } = globalThis as { gc?: (options: { type: string; flavor: string }) => void };
const giveBackMemory = memoryGiver({
  heapBytes: () => Deno.memoryUsage().heapTotal,
  collect: gc && (() => gc({ type: "major", flavor: "last-resort" })),
});

async function secureServer(tls: TlsFiles, streamsMax: number): Promise<Http2SecureServer> {
  const { createSecureServer } = await import("node:http2");
  const server = createSecureServer({
    ...tls,
    allowHTTP1: true,
    requestCert: true,
    rejectUnauthorized: false,
    settings: { maxConcurrentStreams: streamsMax },
    // Options of the HTTP/1.1 side: the types do not know them
    ...{ http1Options: HTTP1_OPTIONS },
  });
  // The types know no HTTP/1.1 side; without this, node ends connections after five idle seconds
  Object.assign(server, HTTP1_OPTIONS);
  return server;
}

const HTTP1_OPTIONS = { maxHeaderSize: HEAD_BYTES_MAX, keepAliveTimeout: IDLE_MS_MAX };

async function plainServer(): Promise<Server> {
  const { createServer } = await import("node:http");
  return createServer(HTTP1_OPTIONS);
}

/** A WebSocket of the platform's own, for a request whose socket is not ours to take over. */
export function platformSocket(
  request: Request,
  protocol: string | undefined,
): { response: Response; socketed: Promise<Socketed> } {
  // Silence is no reason to end it: streams may be silent for hours
  const { socket, response } = Deno.upgradeWebSocket(request, { protocol, idleTimeout: 0 });
  socket.binaryType = "arraybuffer";
  const open = Promise.withResolvers<Socketed>();
  const closed = new Promise<void>((resolve) => {
    socket.addEventListener("close", () => resolve());
    socket.addEventListener("error", () => resolve());
  });
  const inbox = new Inbox({
    failed: () => socket.close(1011),
    flooded: () => socket.close(1013, FLOODED),
  });
  socket.addEventListener("message", ({ data }) => {
    inbox.add(typeof data === "string" ? new TextEncoder().encode(data) : new Uint8Array(data));
  });
  const socketed: Socketed = {
    protocol: protocol ?? "",
    closed,
    async send(data) {
      // What the connection has not taken yet waits here, not in its memory
      while (socket.bufferedAmount > SOCKET_BYTES_WAITING && socket.readyState === WebSocket.OPEN) {
        await new Promise((resolve) => setTimeout(resolve, SOCKET_LOOK_MS));
      }
      if (socket.readyState === WebSocket.OPEN) socket.send(data as Uint8Array<ArrayBuffer>);
    },
    receive: (hear) => inbox.receive(hear),
    close(code = 1000, reason) {
      if (socket.readyState === WebSocket.OPEN) socket.close(code === 1001 ? 1000 : code, reason);
    },
  };
  socket.addEventListener("open", () => open.resolve(socketed), { once: true });
  void closed.then(() => open.reject(new Error("the client has gone")));
  open.promise.catch(() => {
    // Whoever waits for it hears of it
  });
  return { response, socketed: open.promise };
}

/** Bytes that may wait in a platform's WebSocket before more are handed to it. */
const SOCKET_BYTES_WAITING = 1024 * 1024;
const SOCKET_LOOK_MS = 5;
