/**
 * What goes over the wire: a proxy on the loopback that speaks plain HTTP to a client, TLS with the administrator's
 * certificate to the server, and keeps a line of every request and its answer. WebSocket and SPDY pass through.
 */
import { Buffer } from "node:buffer";
import {
  createServer,
  type IncomingMessage,
  type Server as HttpServer,
  type ServerResponse,
} from "node:http";
import { createServer as createTlsServer, request } from "node:https";
import type { Socket } from "node:net";
import { connect } from "node:tls";
import type { Access } from "../e2e/raw_http.ts";

/** Of a body and of a stream this much is kept, in bytes. */
const KEPT_MAX = 256 * 1024;

/** One request, and how it was answered. Bodies and streams are kept a byte a character. */
export interface Exchange {
  method: string;
  /** Path and query, decoded. */
  path: string;
  /** As they were sent. */
  target: string;
  headers: IncomingMessage["headers"];
  rawHeaders: string[];
  /** Of an upgraded connection: what the client said on it. */
  body: string;
  /** Of an upgraded connection: what the server said on it. */
  answer: string;
  /** How long the answer was, and how many requests had begun, each time that more of it came. */
  marks: [length: number, begun: number][];
  status: number;
  /** Of the answer. */
  type: string;
  answered: IncomingMessage["headers"];
}

/** A certificate and its key, in PEM. */
export interface Certified {
  cert: string;
  key: string;
}

function more(text: string, part: Uint8Array): string {
  if (text.length >= KEPT_MAX) return text;
  return text + Buffer.from(part).toString("latin1");
}

/** A running proxy; `await using` closes it. */
export class Wire {
  readonly exchanges: Exchange[] = [];
  /** Requests (`GET /path`) that are answered by this proxy: as if the server had no such path, or no WebSockets. */
  hidden: RegExp | undefined;
  readonly #access: Access;
  readonly #server: HttpServer;
  readonly #scheme: "http" | "https";
  readonly #sockets = new Set<Socket>();

  private constructor(access: Access, tls: Certified | undefined) {
    this.#access = access;
    this.#scheme = tls ? "https" : "http";
    const pass = (req: IncomingMessage, res: ServerResponse) => this.#pass(req, res);
    this.#server = tls ? createTlsServer(tls, pass) : createServer(pass);
    this.#server.on("upgrade", (req: IncomingMessage, socket: Socket) => this.#tunnel(req, socket));
    this.#server.on("connection", (socket: Socket) => {
      this.#sockets.add(socket);
      socket.on("close", () => this.#sockets.delete(socket));
    });
  }

  /** With a certificate it speaks TLS to its client: some take plain HTTP for an occasion to ask for HTTP/2. */
  static async open(access: Access, tls?: Certified): Promise<Wire> {
    const wire = new Wire(access, tls);
    await new Promise<void>((resolve) => wire.#server.listen(0, "127.0.0.1", () => resolve()));
    return wire;
  }

  get url(): string {
    return `${this.#scheme}://127.0.0.1:${(this.#server.address() as { port: number }).port}`;
  }

  /** A kubeconfig that leads through this proxy. */
  get kubeconfig(): string {
    return JSON.stringify({
      apiVersion: "v1",
      kind: "Config",
      clusters: [{ name: "wire", cluster: { server: this.url, ...this.#trust } }],
      contexts: [{ name: "wire", context: { cluster: "wire", user: "wire" } }],
      users: [{ name: "wire", user: {} }],
      "current-context": "wire",
    });
  }

  get #trust() {
    return this.#scheme === "https" && { "insecure-skip-tls-verify": true };
  }

  get #tls() {
    const { hostname, port, caPem, certificatePem, keyPem } = this.#access;
    return { host: hostname, port, ca: caPem, cert: certificatePem, key: keyPem };
  }

  #keep(req: IncomingMessage): Exchange {
    const exchange: Exchange = {
      method: req.method ?? "",
      path: decodeURIComponent((req.url ?? "").replaceAll("+", " ")),
      target: req.url ?? "",
      headers: req.headers,
      rawHeaders: req.rawHeaders,
      body: "",
      answer: "",
      marks: [],
      status: 0,
      type: "",
      answered: {},
    };
    this.exchanges.push(exchange);
    return exchange;
  }

  #heard(exchange: Exchange, part: Uint8Array): void {
    exchange.answer = more(exchange.answer, part);
    exchange.marks.push([exchange.answer.length, this.exchanges.length]);
  }

  #pass(req: IncomingMessage, res: ServerResponse): void {
    const exchange = this.#keep(req);
    const { method, url: path, headers } = req;
    if (this.hidden?.test(`${method} ${path}`)) {
      exchange.status = 404;
      req.resume();
      res.writeHead(404, { "content-type": "text/plain" });
      res.end("404 page not found\n");
      return;
    }
    const out = request({ ...this.#tls, method, path, headers }, (answer) => {
      exchange.status = answer.statusCode ?? 0;
      exchange.type = answer.headers["content-type"] ?? "";
      exchange.answered = answer.headers;
      res.writeHead(exchange.status, answer.headers);
      res.flushHeaders();
      answer.on("data", (part: Uint8Array) => this.#heard(exchange, part));
      answer.pipe(res);
    });
    out.on("error", () => res.destroy());
    res.on("close", () => out.destroy());
    req.on("data", (part: Uint8Array) => exchange.body = more(exchange.body, part));
    req.pipe(out);
  }

  #tunnel(req: IncomingMessage, socket: Socket): void {
    const exchange = this.#keep(req);
    if (this.hidden?.test(`${req.method} ${req.url}`)) {
      exchange.status = 403;
      socket.end("HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
      return;
    }
    const server = connect(this.#tls, () => {
      const lines = [`${req.method} ${req.url} HTTP/1.1`];
      for (let i = 0; i < req.rawHeaders.length; i += 2) {
        lines.push(`${req.rawHeaders[i]}: ${req.rawHeaders[i + 1]}`);
      }
      server.write(lines.join("\r\n") + "\r\n\r\n");
      server.once("data", (head: Uint8Array) => {
        const text = Buffer.from(head).toString("latin1");
        exchange.status = Number(text.split(" ")[1]);
        exchange.type = /sec-websocket-protocol: (.*)\r/i.exec(text)?.[1] ??
          /x-stream-protocol-version: (.*)\r/i.exec(text)?.[1] ?? "";
        const said = text.indexOf("\r\n\r\n") + 4;
        this.#heard(exchange, head.subarray(said));
        socket.write(head);
        server.on("data", (part: Uint8Array) => this.#heard(exchange, part));
        server.pipe(socket);
      });
      socket.on("data", (part: Uint8Array) => exchange.body = more(exchange.body, part));
      socket.pipe(server);
    });
    server.on("error", () => socket.destroy());
    socket.on("error", () => server.destroy());
    socket.on("close", () => server.destroy());
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()));
    for (const socket of this.#sockets) socket.destroy();
    await closed;
  }
}
