/** port-forward: connections to a pod's ports, as SPDY stream pairs or WebSocket channels. */
import type { Duplex, NodeApi, PodRef } from "../client/node_api.ts";
import type { SpdySession, SpdyStream } from "../client/spdy.ts";
import { utf8 } from "../client/spdy.ts";
import { Channels, type Socketed } from "./web_socket.ts";

/** SPDY tunnelled in WebSocket messages. */
export const TUNNEL_PROTOCOL = "SPDY/3.1+portforward.k8s.io";
/** SPDY alone. */
export const FORWARD_SPDY_PROTOCOL = "portforward.k8s.io";
/** Channels over WebSocket. */
export const FORWARD_PROTOCOLS = [TUNNEL_PROTOCOL, "v4.channel.k8s.io", "v4.base64.channel.k8s.io"];
/** Ports of one WebSocket. */
const PORTS_MAX = 100;

/** What forwards need. */
export interface Forwarding {
  node: NodeApi;
  pod: PodRef;
}

interface Pair {
  data?: SpdyStream;
  error?: SpdyStream;
}

/** Joins the data and error streams of a session by their request id and forwards each pair. */
export class Forwards {
  readonly #forwarding: Forwarding;
  readonly #pairs = new Map<string, Pair>();
  readonly #connections = new Set<Duplex>();

  constructor(forwarding: Forwarding) {
    this.#forwarding = forwarding;
  }

  add(stream: SpdyStream): void {
    const { headers } = stream;
    const type = headers.get("streamtype");
    const port = headers.get("port") ?? "";
    if (type !== "data" && type !== "error") return void stream.reset();
    // Clients before 1.4 send no request id: the error stream comes first, its data stream is two higher
    const id = headers.get("requestid") ?? String(type === "error" ? stream.id : stream.id - 2);
    const pair = this.#pairs.get(id) ?? {};
    if (pair[type]) return void stream.reset();
    pair[type] = stream;
    this.#pairs.set(id, pair);
    if (!pair.data || !pair.error) return;
    this.#pairs.delete(id);
    void this.#forward(pair.data, pair.error, Number(port));
  }

  /** Ends what is open: the client has gone. */
  close(): void {
    for (const connection of this.#connections) connection.close();
  }

  async #forward(data: SpdyStream, error: SpdyStream, port: number): Promise<void> {
    const { node, pod } = this.#forwarding;
    try {
      checkPort(port);
      const connection = await node.portForward(pod, port);
      this.#connections.add(connection);
      await Promise.all([
        pour(data.readable, connection),
        pull(connection, (bytes) => data.write(bytes)).then(() => data.end()),
      ]).finally(() => {
        this.#connections.delete(connection);
        connection.close();
      });
    } catch (cause) {
      await error.write(utf8(failureText(port, pod, cause)));
    }
    await error.end();
    await data.end();
  }
}

function checkPort(port: number): void {
  if (!Number.isInteger(port) || port < 1 || port > 65535) {
    throw new RangeError(`invalid port ${port}`);
  }
}

function failureText(port: number, pod: PodRef, cause: unknown): string {
  const why = cause instanceof Error ? cause.message : String(cause);
  return `error forwarding port ${port} to pod ${pod.uid}, uid : ${why}`;
}

async function pour(from: ReadableStream<Uint8Array>, to: Duplex): Promise<void> {
  const writer = to.writable.getWriter();
  try {
    for await (const bytes of from) await writer.write(bytes);
    await writer.close();
  } catch {
    await writer.abort().catch(() => {});
  }
}

async function pull(from: Duplex, write: (bytes: Uint8Array) => Promise<void>): Promise<void> {
  for await (const bytes of from.readable) await write(bytes);
}

/** Ties a WebSocket's messages to a session: each is a piece of one stream of bytes. */
export function tunnel(socket: Socketed, session: SpdySession): void {
  socket.receive((data) => session.receive(data));
  void socket.closed.then(() => session.close());
}

/** The ports of a query: `ports=80&ports=443`, or `ports=80,443`. */
export function portsOf(query: URLSearchParams): number[] {
  return query.getAll("ports").flatMap((text) => text.split(",")).filter(Boolean).map(Number)
    .slice(0, PORTS_MAX);
}

/**
 * Serves ports over a WebSocket: two channels each, data and errors, the port's number first. It is closed once every
 * port's connection has ended: clients of this protocol know no other sign of it.
 */
export async function serveChannels(
  socket: Socketed,
  ports: readonly number[],
  { node, pod }: Forwarding,
): Promise<void> {
  const channels = new Channels(socket, socket.protocol.includes("base64"));
  const connections = new Map<number, Promise<Duplex | undefined>>();
  const writers = new Map<number, WritableStreamDefaultWriter<Uint8Array>>();
  const open = async (i: number, port: number): Promise<Duplex | undefined> => {
    const number = new Uint8Array([port & 0xff, port >> 8]);
    await channels.send(2 * i, number);
    await channels.send(2 * i + 1, number);
    try {
      checkPort(port);
      const connection = await node.portForward(pod, port);
      writers.set(i, connection.writable.getWriter());
      const done = pull(connection, (bytes) => channels.send(2 * i, bytes)).catch(() => {});
      void done.then(ended);
      return connection;
    } catch (cause) {
      await channels.send(2 * i + 1, utf8(failureText(port, pod, cause)));
      ended();
      return undefined;
    }
  };
  let left = ports.length;
  const ended = () => {
    if (--left === 0) socket.close(1000);
  };
  ports.forEach((port, i) => connections.set(i, open(i, port)));
  channels.receive(async (channel, data) => {
    if (channel % 2 !== 0) return;
    await connections.get(channel / 2);
    await writers.get(channel / 2)?.write(data);
  });
  await socket.closed;
  for (const connection of connections.values()) (await connection)?.close();
}
