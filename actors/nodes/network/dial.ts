/**
 * Dials containers for probes and hooks: HTTP, TCP, gRPC health. Failures are told in Go's words, which
 * is what people know from Events.
 */
import http from "node:http";
import http2 from "node:http2";
import { endLater } from "../../../kv/http2_client.ts";
import https from "node:https";
import net from "node:net";
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

const SERVING = ["UNKNOWN", "SERVING", "NOT_SERVING", "SERVICE_UNKNOWN"];

/** `grpc.health.v1.Health/Check`: one message each way, small enough to write by hand. */
function grpc(hostname: string, port: number, service: string, timeoutMs: number): Promise<string> {
  return new Promise((resolve, reject) => {
    const session = endLater(http2.connect(`http://${hostname}:${port}`));
    const end = (error?: string, status?: string) => {
      clearTimeout(timer);
      session.destroy();
      if (error) reject(new Error(error));
      else resolve(status!);
    };
    const timer = setTimeout(() => {
      end(
        `timeout: failed to connect service "${hostname}:${port}" within ${timeoutMs / 1000}s: ` +
          "context deadline exceeded",
      );
    }, timeoutMs);
    session.on("error", (error: NodeJS.ErrnoException) => {
      end(
        `error: failed to connect service at "${hostname}:${port}": ${inGo(error, hostname, port)}`,
      );
    });
    const stream = session.request({
      ":method": "POST",
      ":path": "/grpc.health.v1.Health/Check",
      "content-type": "application/grpc",
      te: "trailers",
      "user-agent": "kube-probe/1.36",
    });
    let answer = new Uint8Array();
    let code = "0";
    const note = (headers: Record<string, unknown>) => {
      if (headers["grpc-status"] !== undefined) code = String(headers["grpc-status"]);
    };
    stream.on("response", note);
    stream.on("trailers", note);
    stream.on("data", (chunk: Uint8Array) => {
      const all = new Uint8Array(answer.length + chunk.length);
      all.set(answer);
      all.set(chunk, answer.length);
      answer = all;
    });
    stream.on("error", (error: NodeJS.ErrnoException) => end(inGo(error, hostname, port)));
    stream.on("end", () => {
      if (code === "12") {
        end(
          "error: this server does not implement the grpc health protocol " +
            "(grpc.health.v1.Health): unknown service grpc.health.v1.Health",
        );
      } else if (code === "5") end(undefined, "SERVICE_UNKNOWN");
      else if (code !== "0") end(`error: health rpc failed: code ${code}`);
      // Five bytes of framing, then field 1 as a varint (absent when 0).
      else end(undefined, SERVING[answer[5] === 8 ? answer[6] : 0] ?? "UNKNOWN");
    });
    const name = new TextEncoder().encode(service);
    const message = name.length ? [10, name.length, ...name] : [];
    stream.end(Uint8Array.from([0, 0, 0, 0, message.length, ...message]));
  });
}
