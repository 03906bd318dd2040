/**
 * A port of the L7 proxy: takes requests over HTTP/1.1 and HTTP/2, with TLS by the name a client asks for or without,
 * finds their route and carries them to an endpoint. Routes and certificates change while it runs; what is under way goes
 * on by the old ones.
 */
import { createServer as createHttp, type IncomingMessage, type ServerResponse } from "node:http";
import { createSecureServer, createServer as createHttp2, type Http2Session } from "node:http2";
import { createServer as createTcp, type Server, type Socket } from "node:net";
import type { Buffer } from "node:buffer";
import type { SecureContext } from "node:tls";
import type { Clock } from "../../../../kv/clock.ts";
import { endLater } from "../../../../kv/http2_client.ts";
import { dial } from "../forward.ts";
import {
  changed,
  exchange,
  exchangeHttp2,
  exchangeUpgrade,
  type Headers,
  nextHop,
  type Outgoing,
} from "./exchange.ts";
import {
  type Backend,
  backendOf,
  changedUrl,
  type Filter,
  type HeaderChange,
  redirectTo,
  type Route,
  routeOf,
  type RouteRequest,
} from "./routes.ts";

/** Connections one port holds at once. */
export const EDGE_CONNECTIONS_MAX = 4_096;
/** Endpoints that are tried for one request. */
export const EDGE_TRIES_MAX = 3;

/** Where a backend's endpoints answer. */
export interface Upstream {
  /** Those that may be dialled, the next one first. */
  places: readonly { hostname: string; port: number }[];
  /** Speaks HTTP/2 without TLS. */
  http2: boolean;
}

/** What a port does now. */
export interface EdgeSetup {
  /** In their order. */
  routes: readonly Route[];
  /** With TLS: the certificate for a name. */
  secure?(name: string): SecureContext | undefined;
}

export interface EdgeServerOptions {
  hostname: string;
  port: number;
  /** The port that clients know, where another one had to be taken. */
  known: number;
  tls: boolean;
  clock: Clock;
  upstream(backend: Backend): Upstream | undefined;
}

/** See the module's text. */
export class EdgeServer {
  readonly #options: EdgeServerOptions;
  readonly #open = new Set<Socket>();
  #server: Server | undefined;
  #setup: EdgeSetup = { routes: [] };

  constructor(options: EdgeServerOptions) {
    this.#options = options;
  }

  update(setup: EdgeSetup): void {
    this.#setup = setup;
  }

  /** Begins to listen; rejects with the system's error. */
  async listen(): Promise<void> {
    const { hostname, port, tls } = this.#options;
    const server = tls ? this.#secure() : this.#plain();
    server.on("connection", (socket: Socket) => {
      if (this.#open.size >= EDGE_CONNECTIONS_MAX) return socket.destroy();
      this.#open.add(socket);
      socket.on("close", () => this.#open.delete(socket));
      socket.on("error", () => socket.destroy());
    });
    await new Promise<void>((resolve, reject) => {
      server.once("error", reject);
      server.listen({ host: hostname, port, exclusive: true }, () => {
        server.off("error", reject);
        server.on("error", () => undefined);
        resolve();
      });
    });
    this.#server = server;
  }

  async close(): Promise<void> {
    const server = this.#server;
    if (!server) return;
    const closed = new Promise<void>((resolve) => server.close(() => resolve()));
    for (const socket of this.#open) socket.destroy();
    await closed;
  }

  #secure(): Server {
    const find = (name: string) => this.#setup.secure?.(name);
    const server = createSecureServer({
      allowHTTP1: true,
      SNICallback: (name, answer) => {
        const context = find(name);
        if (context) answer(null, context);
        else answer(new Error(`no certificate for "${name}"`));
      },
    });
    server.on("tlsClientError", (_: Error, socket: Socket) => socket?.destroy());
    return this.#serving(server as unknown as Server);
  }

  /** Who begins as HTTP/2 does is handed to a server of that, all others to one of HTTP/1.1. */
  #plain(): Server {
    const [one, two] = [createHttp(), createHttp2()];
    this.#serving(one as unknown as Server);
    this.#serving(two as unknown as Server);
    return createTcp({ pauseOnConnect: true, noDelay: true }, (socket) => {
      socket.once("readable", () => {
        const first: Buffer | null = socket.read();
        if (!first) return;
        socket.unshift(first);
        const preface = first.subarray(0, 4).toString("latin1") === "PRI ";
        (preface ? two : one).emit("connection", socket);
      });
    });
  }

  #serving(server: Server): Server {
    server.on("session", (session: Http2Session) => {
      endLater(session);
      session.on("error", () => undefined);
    });
    server.on("request", (req: IncomingMessage, res: ServerResponse) => {
      res.on("error", () => undefined);
      this.#handle(req, res).catch(() => fail(res, 502));
    });
    server.on("upgrade", (req: IncomingMessage, socket: Socket, head: Buffer) => {
      socket.on("error", () => socket.destroy());
      // An exception here would end the process.
      this.#upgrade(req, socket, head).catch(() => socket.destroy());
    });
    return server;
  }

  async #handle(req: IncomingMessage, res: ServerResponse): Promise<void> {
    const asked = this.#asked(req);
    const route = routeOf(this.#setup.routes, asked);
    if (!route) return fail(res, 404);
    const { filters = [] } = route;
    const redirect = filters.find((filter) => filter.type === "Redirect");
    if (redirect) {
      const request = { ...asked, scheme: this.#scheme(), port: this.#options.known };
      const location = redirectTo(redirect, request, route.path);
      const headers = changed({ location }, changesOf(filters, "ResponseHeaders"));
      res.writeHead(redirect.statusCode, headers as Record<string, string>);
      res.end();
      return;
    }
    const backend = backendOf(route.backends, this.#options.clock.random());
    if (!backend?.service) return fail(res, 500);
    const upstream = this.#options.upstream(backend);
    if (!upstream) return fail(res, 500);
    const socket = await this.#dial(upstream);
    if (!socket) return fail(res, 503);
    const outgoing = this.#outgoing(req, asked, route, backend);
    const timer = route.timeoutMs &&
      this.#options.clock.timer("background", route.timeoutMs, () => {
        fail(res, 504);
        socket.destroy();
      });
    const carried = upstream.http2
      ? exchangeHttp2(req, res, socket, outgoing)
      : exchange(req, res, socket, outgoing);
    await carried.finally(() => timer && timer.cancel());
  }

  async #upgrade(req: IncomingMessage, client: Socket, head: Buffer): Promise<void> {
    const asked = this.#asked(req);
    const route = routeOf(this.#setup.routes, asked);
    const backend = route && backendOf(route.backends, this.#options.clock.random());
    const upstream = backend?.service ? this.#options.upstream(backend) : undefined;
    const socket = upstream && await this.#dial(upstream);
    if (!route || !backend || !socket) {
      const status = !route ? "404 Not Found" : "503 Service Unavailable";
      client.end(`HTTP/1.1 ${status}\r\nconnection: close\r\ncontent-length: 0\r\n\r\n`);
      return;
    }
    const outgoing = this.#outgoing(req, asked, route, backend);
    const { upgrade } = req.headers;
    const headers = { ...outgoing.headers, connection: "Upgrade", upgrade };
    exchangeUpgrade(client, head, socket, { ...outgoing, headers });
  }

  async #dial({ places }: Upstream): Promise<Socket | undefined> {
    for (const place of places.slice(0, EDGE_TRIES_MAX)) {
      const socket = await dial(place, this.#options.clock).catch(() => undefined);
      if (socket) return socket;
    }
  }

  #scheme(): string {
    return this.#options.tls ? "https" : "http";
  }

  #asked(req: IncomingMessage): RouteRequest {
    const headers = req.headers as Headers;
    const host = String(headers[":authority"] ?? headers.host ?? "");
    return { host, url: req.url ?? "/", method: req.method ?? "GET", headers };
  }

  #outgoing(
    req: IncomingMessage,
    asked: RouteRequest,
    route: Route,
    backend: Backend,
  ): Outgoing {
    const filters = [...route.filters ?? [], ...backend.filters ?? []];
    const rewrite = filters.find((filter) => filter.type === "Rewrite");
    const { stream } = req as { stream?: { session?: Http2Session } };
    const client = stream?.session?.socket ?? req.socket;
    const from = client?.remoteAddress?.replace(/^::ffff:/, "") ?? "";
    const before = asked.headers["x-forwarded-for"];
    const headers = changed({
      ...nextHop(asked.headers),
      host: rewrite?.hostname ?? asked.host,
      "x-forwarded-for": before ? `${before}, ${from}` : from,
      "x-forwarded-host": asked.host,
      "x-forwarded-port": String(this.#options.known),
      "x-forwarded-proto": this.#scheme(),
      "x-real-ip": from,
    }, changesOf(filters, "RequestHeaders"));
    return {
      method: asked.method,
      url: changedUrl(asked.url, rewrite?.path, route.path),
      headers,
      answer: changesOf(filters, "ResponseHeaders"),
    };
  }
}

function changesOf(
  filters: readonly Filter[],
  type: "RequestHeaders" | "ResponseHeaders",
): HeaderChange[] {
  return filters.flatMap((filter) => filter.type === type ? [filter.change] : []);
}

const TEXTS: Record<number, string> = {
  404: "404 page not found",
  500: "500 the route's backend cannot be used",
  502: "502 the endpoint gave no answer",
  503: "503 no endpoint is there",
  504: "504 the endpoint took too long",
};

/** Answers with an error, or ends what has begun. */
function fail(res: ServerResponse, status: number): void {
  if (res.headersSent) {
    res.destroy();
    return;
  }
  res.writeHead(status, { "content-type": "text/plain; charset=utf-8" });
  res.end(`${TEXTS[status]}\n`);
}
