/**
 * Carries one request to an endpoint and its answer back: HTTP/1.1 to most, HTTP/2 without TLS where the service's port
 * says `kubernetes.io/h2c` (gRPC, trailers included), and whatever comes after an upgrade (WebSocket).
 */
import { Agent, type IncomingMessage, request, type ServerResponse } from "node:http";
import { connect as connectHttp2 } from "node:http2";
import type { Buffer } from "node:buffer";
import type { Socket } from "node:net";
import { endLater } from "../../../../kv/http2_client.ts";
import type { HeaderChange } from "./routes.ts";

export type Headers = Record<string, string | string[] | undefined>;

/** What is sent to an endpoint. */
export interface Outgoing {
  method: string;
  url: string;
  headers: Headers;
  /** Changes of the answer's headers. */
  answer: readonly HeaderChange[];
}

/** What ends at each hop (RFC 9110, 7.6.1), and what a version of HTTP has for itself. */
const HOP = new Set([
  "connection",
  "keep-alive",
  "proxy-connection",
  "transfer-encoding",
  "te",
  "trailer",
  "upgrade",
  "http2-settings",
]);

/** Headers for the next hop. */
export function nextHop(headers: Headers): Headers {
  const named = String(headers.connection ?? "").toLowerCase().split(/,\s*/);
  return Object.fromEntries(
    Object.entries(headers).filter(([name]) =>
      !name.startsWith(":") && !HOP.has(name) && !named.includes(name)
    ),
  );
}

/** Changes headers: what is set replaces, what is added joins. */
export function changed(headers: Headers, changes: readonly HeaderChange[]): Headers {
  const result = { ...headers };
  for (const { set = [], add = [], remove = [] } of changes) {
    for (const { name, value } of set) result[name.toLowerCase()] = value;
    for (const { name, value } of add) {
      const key = name.toLowerCase();
      const old = result[key];
      result[key] = old === undefined ? value : [old, value].flat().join(", ");
    }
    for (const name of remove) delete result[name.toLowerCase()];
  }
  return result;
}

/** Over HTTP/1.1, on a connection that is open. Resolves when the answer is through; rejects before it began. */
export function exchange(
  req: IncomingMessage,
  res: ServerResponse,
  socket: Socket,
  { method, url, headers, answer }: Outgoing,
): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const agent = new Agent({ keepAlive: false });
  agent.createConnection = (() => socket) as unknown as Agent["createConnection"];
  const sent = request({
    method,
    path: url,
    headers: { ...headers, connection: "close" },
    agent,
    setHost: false,
  });
  sent.on("response", (reply: IncomingMessage) => {
    res.writeHead(
      reply.statusCode!,
      changed(nextHop(reply.headers), answer) as Record<string, string>,
    );
    reply.on("end", resolve);
    reply.on("error", () => res.destroy());
    reply.pipe(res);
  });
  sent.on("error", reject);
  res.on("close", () => {
    sent.destroy();
    socket.destroy();
    resolve();
  });
  req.pipe(sent);
  return promise;
}

/** Over HTTP/2 without TLS; trailers reach those who came over HTTP/2. */
export function exchangeHttp2(
  req: IncomingMessage,
  res: ServerResponse,
  socket: Socket,
  { method, url, headers, answer }: Outgoing,
): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const { host, ...rest } = headers;
  const session = endLater(connectHttp2(`http://${host}`, { createConnection: () => socket }));
  session.on("error", reject);
  const pseudo = { ":method": method, ":path": url, ":authority": String(host), ":scheme": "http" };
  const sent = session.request({ ...rest, ...pseudo, te: "trailers" });
  sent.on(
    "trailers",
    (found: Headers) => res.addTrailers(nextHop(found) as Record<string, string>),
  );
  sent.on("response", (reply: Headers) => {
    res.writeHead(
      Number(reply[":status"]),
      changed(nextHop(reply), answer) as Record<string, string>,
    );
    sent.pipe(res);
  });
  sent.on("error", reject);
  sent.on("end", resolve);
  res.on("close", () => {
    // Without a farewell: an endpoint on Deno 2.9 may end as a whole over a GOAWAY.
    socket.destroy();
    resolve();
  });
  req.pipe(sent as unknown as NodeJS.WritableStream);
  return promise;
}

/** Hands a connection over: the request goes out as it came, and then bytes go both ways. */
export function exchangeUpgrade(
  client: Socket,
  head: Buffer,
  socket: Socket,
  { method, url, headers }: Outgoing,
): void {
  const lines = [`${method} ${url} HTTP/1.1`];
  for (const [name, value] of Object.entries(headers)) {
    for (const one of [value ?? []].flat()) lines.push(`${name}: ${one}`);
  }
  socket.write(`${lines.join("\r\n")}\r\n\r\n`);
  if (head.length > 0) socket.write(head);
  socket.on("error", () => client.destroy());
  socket.on("close", () => client.destroy());
  client.on("error", () => socket.destroy());
  client.on("close", () => socket.destroy());
  socket.pipe(client);
  client.pipe(socket);
}
