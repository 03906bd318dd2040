/**
 * Dials containers for probes and hooks: HTTP, TCP, gRPC health. Failures are told in Go's words, which
 * is what people know from Events.
 */
import http from "node:http";
import http2 from "node:http2";
import { endLater } from "../../../kv/http2_client.ts";
import https from "node:https";
import net from "node:net";
import { codeOf, RpcError } from "../../../api/client/grpc.ts";
import type { ProbeDialer } from "../ports.ts";

/** Of a body that is kept. */
const BODY_BYTES_MAX = 10 * 1024;

/** See the module's text. */
export const hostDialer: ProbeDialer = { http: get, tcp, grpc };

function inGo(error: NodeJS.ErrnoException, hostname: string, port: number): string {
  const at = `dial tcp ${hostname}:${port}`;
  switch (error.code) {
    case "ECONNREFUSED":
      return `${at}: connect: connection refused`;
    case "EHOSTUNREACH":
      return `${at}: connect: no route to host`;
    case "ENETUNREACH":
      return `${at}: connect: network is unreachable`;
    case "ECONNRESET":
      return `read tcp ${hostname}:${port}: read: connection reset by peer`;
    case "ENOTFOUND":
      return `dial tcp: lookup ${hostname}: no such host`;
  }
  return error.message === "socket hang up" ? "EOF" : error.message;
}

type HttpRequest = Parameters<ProbeDialer["http"]>[0];

/** How many times one GET is sent on (Go's bound). */
const REDIRECTS_MAX = 10;

/** A GET, sent on within its host; what leads elsewhere is told of. */
async function get(request: HttpRequest): ReturnType<ProbeDialer["http"]> {
  let url = request.url, port = request.port;
  for (let count = 0;; count++) {
    const { status, body, location } = await getOnce({ ...request, url, port });
    if (status < 300 || status > 399 || !location) return { status, body };
    const next = new URL(location, url);
    if (next.hostname !== new URL(url).hostname) return { status, body, location };
    if (count === REDIRECTS_MAX) {
      throw new Error(`Get "${next.href}": stopped after ${REDIRECTS_MAX} redirects`);
    }
    if (next.port !== new URL(url).port) {
      port = Number(next.port) || (next.protocol === "https:" ? 443 : 80);
    }
    url = next.href;
  }
}

function getOnce(request: HttpRequest): ReturnType<ProbeDialer["http"]> {
  const { url, hostname, port, headers, timeoutMs } = request;
  const target = new URL(url);
  return new Promise((resolve, reject) => {
    const fail = (why: string) => reject(new Error(`Get "${url}": ${why}`));
    const make = target.protocol === "https:" ? https.request : http.request;
    const own = Object.fromEntries(headers);
    const sent = make({
      hostname,
      port,
      path: target.pathname + target.search,
      headers: { host: target.host, connection: "close", ...own },
      agent: false,
      rejectUnauthorized: false,
    }, (response) => {
      let body = "";
      response.setEncoding("utf8");
      response.on("data", (chunk: string) => {
        if (body.length < BODY_BYTES_MAX) body += chunk;
      });
      response.on("end", () => {
        clearTimeout(timer);
        const { statusCode = 0, headers: { location } } = response;
        resolve({ status: statusCode, body: body.slice(0, BODY_BYTES_MAX), location });
      });
      response.on("error", (error) => fail(inGo(error, hostname, port)));
    });
    const timer = setTimeout(() => {
      fail("context deadline exceeded (Client.Timeout exceeded while awaiting headers)");
      sent.destroy();
    }, timeoutMs);
    sent.on("error", (error) => {
      clearTimeout(timer);
      fail(inGo(error, hostname, port));
    });
    sent.end();
  });
}

function tcp(hostname: string, port: number, timeoutMs: number): Promise<void> {
  return new Promise((resolve, reject) => {
    const socket = net.connect({ host: hostname, port });
    const timer = setTimeout(() => {
      socket.destroy();
      reject(new Error(`dial tcp ${hostname}:${port}: i/o timeout`));
    }, timeoutMs);
    socket.on("connect", () => {
      clearTimeout(timer);
      socket.destroy();
      resolve();
    });
    socket.on("error", (error) => {
      clearTimeout(timer);
      reject(new Error(inGo(error, hostname, port)));
    });
  });
}

/** What came of a call by gRPC. */
interface Heard {
  /** As gRPC numbers it; undefined: nothing was answered. */
  code?: string;
  message: string;
  bytes: Uint8Array;
}

/** Hears an answer to its end. */
function heard(stream: http2.ClientHttp2Stream): Promise<Heard> {
  const answer: Heard = { message: "", bytes: new Uint8Array() };
  const note = (headers: http2.IncomingHttpHeaders) => {
    answer.code = String(headers["grpc-status"] ?? "0");
    answer.message = plain(String(headers["grpc-message"] ?? ""));
  };
  stream.on("response", note);
  stream.on("trailers", note);
  stream.on("data", (chunk: Uint8Array) => {
    const all = new Uint8Array(answer.bytes.length + chunk.length);
    all.set(answer.bytes);
    all.set(chunk, answer.bytes.length);
    answer.bytes = all;
  });
  return new Promise((resolve, reject) =>
    stream.on("end", () => resolve(answer)).on("error", reject)
  );
}

/** A message without its percent signs, as far as they mean something. */
function plain(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

const SERVING = ["UNKNOWN", "SERVING", "NOT_SERVING", "SERVICE_UNKNOWN"];

/** The status that a program told of itself; throws what a kubelet says where it told none. */
function servingOf({ code, message, bytes }: Heard): string {
  if (code === "12") {
    throw new Error(
      `error: this server does not implement the grpc health protocol (grpc.health.v1.Health): ${message}`,
    );
  }
  if (code !== "0") throw probeFailed(codeOf(Number(code)), message);
  // Five bytes of framing, then field 1 as a varint (absent when 0).
  return SERVING[bytes[5] === 8 ? bytes[6] : 0] ?? "UNKNOWN";
}

function probeFailed(code: string, details: string): Error {
  return new Error(`error: health rpc probe failed: ${new RpcError(code, details).message}`);
}

/** `grpc.health.v1.Health/Check`: one message each way, small enough to write by hand. */
async function grpc(
  hostname: string,
  port: number,
  service: string,
  timeoutMs: number,
): Promise<string> {
  const socket = net.connect({ host: hostname, port });
  const createConnection = () => socket;
  const session = endLater(http2.connect(`http://${hostname}:${port}`, { createConnection }));
  const broken = Promise.withResolvers<never>();
  const place = `${hostname}:${port}`;
  const timer = setTimeout(() => {
    const within = `within ${timeoutMs / 1000}s: context deadline exceeded`;
    broken.reject(new Error(`timeout: failed to connect service "${place}" ${within}`));
  }, timeoutMs);
  // In a later turn: what was answered before that counts
  const breakOff = (error: Error) => void setTimeout(() => broken.reject(error), 0);
  session.on("error", (error: NodeJS.ErrnoException) => {
    const why = inGo(error, hostname, port);
    breakOff(new Error(`error: failed to connect service at "${place}": ${why}`));
  });
  session.on("close", () => breakOff(probeFailed("Unavailable", "error reading from server: EOF")));
  const stream = session.request({
    ":method": "POST",
    ":path": "/grpc.health.v1.Health/Check",
    "content-type": "application/grpc",
    te: "trailers",
    "user-agent": "kube-probe/1.36",
  });
  const answer = heard(stream).catch((error: NodeJS.ErrnoException) => {
    // The session tells why it gave a stream up
    if (error.code === "ERR_HTTP2_STREAM_CANCEL") return broken.promise;
    throw new Error(inGo(error, hostname, port));
  });
  const name = new TextEncoder().encode(service);
  const message = name.length ? [10, name.length, ...name] : [];
  stream.end(Uint8Array.from([0, 0, 0, 0, message.length, ...message]));
  try {
    const found = await Promise.race([answer, broken.promise]);
    return servingOf(found.code === undefined ? await broken.promise : found);
  } finally {
    clearTimeout(timer);
    // Without a farewell: a program on Deno 2.9 may end as a whole over a GOAWAY.
    socket.destroy();
  }
}
