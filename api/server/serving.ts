/**
 * One request of node's, served: made a call, answered, its answer sent as fast as the client takes it. A client that
 * takes nothing for a while, or whose body was not read to its end, is hung up on.
 */
import type { Clock } from "../../kv/clock.ts";
import type { Credentials } from "../auth/contract.ts";
import { sessionOf } from "./connections.ts";
import type { Gate } from "./gate.ts";
import { badRequest } from "../machinery/errors.ts";
import { joinedBytes } from "../machinery/joined_bytes.ts";
import { BODY_BYTES_MAX, bodyTooLarge, type Call, isStream, type Reply, statusOf } from "./http.ts";
import type { IncomingMessage, ServerResponse, Socket, TLSSocket } from "./listen.ts";

/** A client may take nothing of an answer for so long. */
export const STALL_MS_MAX = 60_000;

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
      // Of several names the last counts, as in Go
      const commonName = Array.isArray(CN) ? CN.at(-1) : CN;
      found = { subject: { commonName, organizations }, raw: new Uint8Array(raw) };
    }
  }
  certificates.set(socket, found ?? null);
  return found;
}

/**
 * node's request as a call. A class, because there is one for each request: an object literal with getters takes ten
 * times the room.
 */
class NodeCall implements Call {
  readonly method: string;
  readonly path: string;
  readonly query: string;
  readonly raw: IncomingMessage;
  annotate: Call["annotate"];
  notes: Call["notes"];
  user: Call["user"];
  readonly #gone: Gone | undefined;
  #body: Promise<Uint8Array> | undefined;

  constructor(req: IncomingMessage, gone?: Gone) {
    const url = req.url ?? "/";
    const at = url.indexOf("?");
    this.method = req.method ?? "GET";
    this.path = at < 0 ? url : url.slice(0, at);
    this.query = at < 0 ? "" : url.slice(at + 1);
    this.raw = req;
    this.#gone = gone;
  }

  get http2(): boolean {
    return this.raw.httpVersionMajor === 2;
  }

  get remote(): string | undefined {
    return this.raw.socket.remoteAddress;
  }

  get host(): string | undefined {
    return this.header("host") ?? this.header(":authority");
  }

  get certificate(): Credentials["certificate"] {
    return certificateOf(this.raw.socket as TLSSocket);
  }

  get refusedCertificate(): boolean {
    const socket = this.raw.socket as TLSSocket;
    return socket.authorized === false && socket.getPeerCertificate?.()?.raw !== undefined;
  }

  get signal(): AbortSignal | undefined {
    return this.#gone?.signal;
  }

  header(name: string): string | undefined {
    const value = this.raw.headers[name];
    return Array.isArray(value) ? value.join(", ") : value;
  }

  *headers(): Iterable<readonly [string, string | readonly string[]]> {
    const { headers } = this.raw;
    for (const name in headers) {
      const value = headers[name];
      if (value === undefined) continue;
      yield [name, naming(name) ? valuesOf(this.raw, name) : value];
    }
  }

  hasHeaders(prefix: string): boolean {
    for (const name in this.raw.headers) if (name.startsWith(prefix)) return true;
    return false;
  }

  body(max: number): Promise<Uint8Array> {
    return this.#body ??= readBody(this.raw, max);
  }

  expected(): number {
    const { headers } = this.raw;
    const length = headers["content-length"];
    if (length !== undefined) return Number(length);
    // Over HTTP/2 nothing says that a body comes, but that the stream has not ended
    const coming = "transfer-encoding" in headers || (this.http2 && mayCarry(this.method));
    return coming ? BODY_BYTES_MAX : 0;
  }
}

/** A request that asks for another protocol, as a call. */
export function callOf(req: IncomingMessage): Call {
  return new NodeCall(req);
}

/** Methods whose requests have bodies. */
function mayCarry(method: string): boolean {
  return method !== "GET" && method !== "HEAD";
}

/** Headers that name somebody: a comma in one of their values is a part of it. */
function naming(name: string): boolean {
  return name.startsWith("impersonate-") || name.startsWith("x-remote-");
}

/** The values of a header as they were sent. */
function valuesOf({ rawHeaders }: IncomingMessage, name: string): string[] {
  const values: string[] = [];
  for (let i = 0; i < rawHeaders.length; i += 2) {
    if (rawHeaders[i].toLowerCase() === name) values.push(rawHeaders[i + 1]);
  }
  return values;
}

function readBody(req: IncomingMessage, max: number): Promise<Uint8Array> {
  const length = Number(req.headers["content-length"] ?? 0);
  if (length > max) return Promise.reject(bodyTooLarge(max));
  return new Promise((resolve, reject) => {
    const parts: Uint8Array[] = [];
    let bytes = 0;
    const gone = () => {
      leave();
      reject(badRequest("unexpected EOF"));
    };
    const listeners = {
      data(part: Uint8Array) {
        bytes += part.length;
        if (bytes > max) {
          leave();
          req.pause();
          reject(bodyTooLarge(max));
        } else parts.push(part);
      },
      end() {
        leave();
        resolve(joinedBytes(parts));
      },
      error: gone,
      aborted: gone,
      close: () => req.complete || gone(),
    };
    // A request that somebody still listens to does not die young (measured: the collector copies nearly all that was made
    // since, instead of nearly nothing, which takes half of the time)
    const leave = () => {
      for (const [name, listener] of Object.entries(listeners)) req.off(name, listener);
    };
    for (const [name, listener] of Object.entries(listeners)) req.on(name, listener);
    // Without anybody an error would end the process
    req.on("error", NOTHING);
    // Its client may have gone while it waited
    if (req.destroyed && !req.complete) gone();
  });
}

const NOTHING = () => {};

/** Whether a client has gone; a signal of it is made only for those who ask. */
class Gone {
  yes = false;
  #controller: AbortController | undefined;

  constructor(res: ServerResponse, ended: () => void) {
    res.on("close", () => {
      ended();
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

/** What answers calls. */
export interface Answerer {
  answer(call: Call): Promise<Reply>;
}

/**
 * Serves one request. Resolves when its answer has been handed over, or its client is gone; `ended` hears when nothing
 * of it is left.
 */
export async function serve(
  served: Answerer,
  req: IncomingMessage,
  res: ServerResponse,
  { clock, ended, out }: { clock: Clock; ended: () => void; out: Gate },
): Promise<void> {
  const gone = new Gone(res, ended);
  const reply = await served.answer(new NodeCall(req, gone));
  const { body } = reply;
  const status = statusOf(reply);
  if (reply.broken === "unheard") return void res.destroy();
  if (gone.yes) {
    if (isStream(body)) await body[Symbol.asyncIterator]().return?.();
    return;
  }
  const headers = headersFor(req, reply);
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
    if (body && body.length > LONG_BYTES) await taken(res, clock);
    if (!req.complete) hangUp(req, res);
    return;
  }
  res.writeHead(status, headers);
  res.flushHeaders?.();
  await pump(res, body, { signal: gone.signal, clock, out });
}

/** Answers of more bytes than a connection's buffers hold are watched until they are taken. */
const LONG_BYTES = 256 * 1024;

/** Headers as the request's version of HTTP takes them. */
function headersFor(req: IncomingMessage, { headers }: Reply): Reply["headers"] {
  const session = sessionOf(req);
  if (!session) {
    // What is left of the body would be taken for the next request
    if (!req.complete) headers.connection = "close";
    return headers;
  }
  if (headers.connection === "close") session.close();
  delete headers.connection;
  return headers;
}

/** Ends a request whose body nobody reads any more, once its answer is out. */
function hangUp(req: IncomingMessage, res: ServerResponse): void {
  const session = sessionOf(req);
  const end = () => session ? res.destroy() : req.socket.destroySoon();
  if (res.writableFinished) end();
  else res.on("finish", end);
}

/** Resolves when an answer has been taken; a client that takes nothing of it is hung up on. */
async function taken(res: ServerResponse, clock: Clock): Promise<void> {
  if (res.writableFinished || res.destroyed) return;
  await new Promise<void>((resolve) => {
    const timer = clock.timer("background", STALL_MS_MAX, () => {
      res.destroy();
      resolve();
    });
    const done = () => {
      timer.cancel();
      resolve();
    };
    res.on("finish", done);
    res.on("close", done);
  });
}

/** Sends pieces as fast as they are taken. Ends early when the client goes. */
async function pump(
  res: ServerResponse,
  body: AsyncIterable<Uint8Array>,
  { signal, clock, out }: { signal: AbortSignal; clock: Clock; out: Gate },
): Promise<void> {
  const pieces = body[Symbol.asyncIterator]();
  const stop = () => void pieces.return?.()?.then(undefined, () => {});
  signal.addEventListener("abort", stop, { once: true });
  // Past node's own framing a piece is one write, and its frame is shared by all who are sent it.
  const socket = res.chunkedEncoding ? res.socket : null;
  const to = socket ?? res;
  let whole = false;
  try {
    for (;;) {
      const { done, value } = await pieces.next();
      if (done || signal.aborted) break;
      // A chunk of no length would end the answer.
      if (value.length === 0) continue;
      const turn = out.letOut(value);
      if (turn) await turn;
      if (signal.aborted) break;
      if (!(socket ? writeChunk(socket, value) : res.write(value))) {
        await drained(to, signal, clock);
      }
    }
    whole = true;
  } finally {
    signal.removeEventListener("abort", stop);
    if (signal.aborted) stop();
    // One that broke off must not look like one that ended: whoever called this hangs up
    else if (whole) res.end();
  }
}

/** Pieces of more bytes are not copied into a frame: the garbage of long lists would be twice as much. */
const FRAMED_BYTES_MAX = 16 * 1024;
const LINE_END = new Uint8Array([13, 10]);

/** Writes a piece as a chunk of HTTP/1.1; whether more can be sent. */
function writeChunk(socket: Socket, piece: Uint8Array): boolean {
  if (piece.length <= FRAMED_BYTES_MAX) return socket.write(chunkOf(piece));
  socket.cork();
  socket.write(encoder.encode(`${piece.length.toString(16)}\r\n`));
  socket.write(piece);
  const more = socket.write(LINE_END);
  socket.uncork();
  return more;
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

/** Resolves when more can be sent; a client that takes nothing is hung up on. */
function drained(
  res: ServerResponse | Socket,
  signal: AbortSignal,
  clock: Clock,
): Promise<void> {
  return new Promise((resolve) => {
    const timer = clock.timer("background", STALL_MS_MAX, () => res.destroy());
    const done = () => {
      timer.cancel();
      res.off("drain", done);
      signal.removeEventListener("abort", done);
      resolve();
    };
    res.on("drain", done);
    signal.addEventListener("abort", done);
  });
}
