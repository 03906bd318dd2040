/**
 * Moves bytes between a listening address and the endpoints behind it: TCP connections and UDP flows.
 * Half-closes pass through; a connection that no endpoint takes is reset.
 */
import { createSocket, type RemoteInfo, type Socket as Datagrams } from "node:dgram";
import { createConnection, createServer, type Server, type Socket } from "node:net";
import type { Clock, Timer } from "../../../kv/clock.ts";
import type { Balancer } from "./balancer.ts";
import type { Endpoint } from "./endpoints.ts";

/** How long to wait for an endpoint to accept before the next is tried, in ms. */
export const CONNECT_MS_MAX = 2_000;
/** Connections and UDP flows one listener holds at once. */
export const CONNECTIONS_MAX = 4_096;
/** A UDP flow without traffic ends after this, in ms (conntrack's default for streams is 120 s). */
export const UDP_IDLE_MS = 60_000;

/** A listener; closing it ends its connections. */
export interface Forwarder {
  close(): Promise<void>;
}

export interface ForwardOptions {
  protocol: string;
  hostname: string;
  port: number;
  balancer: Balancer;
  clock: Clock;
  /** Where an endpoint answers on this machine; undefined: nowhere that may be dialled. */
  locate(endpoint: Endpoint): { hostname: string; port: number } | undefined;
}

/** Begins to listen; rejects with the system's error (`EACCES`, `EADDRINUSE`, …). */
export function forward(options: ForwardOptions): Promise<Forwarder> {
  return options.protocol === "UDP" ? forwardDatagrams(options) : forwardStreams(options);
}

function forwardStreams(options: ForwardOptions): Promise<Forwarder> {
  const open = new Set<Socket>();
  const server = createServer({ allowHalfOpen: true, pauseOnConnect: true }, (client) => {
    if (open.size >= CONNECTIONS_MAX) {
      client.destroy();
      return;
    }
    open.add(client);
    client.on("close", () => open.delete(client));
    client.on("error", () => client.destroy());
    connectFirst(client, options).catch(() => client.destroy());
  });
  return listening(server, options).then(() => ({
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        for (const client of open) client.destroy();
      }),
  }));
}

function listening(server: Server, { hostname, port }: ForwardOptions): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once("error", reject);
    server.listen({ host: hostname, port, exclusive: true }, () => {
      server.off("error", reject);
      server.on("error", () => undefined);
      resolve();
    });
  });
}

async function connectFirst(client: Socket, options: ForwardOptions): Promise<void> {
  const from = client.remoteAddress ?? "";
  for (const endpoint of options.balancer.choose(from, options.clock.now())) {
    const place = options.locate(endpoint);
    const target = place && await dial(place, options.clock).catch(() => undefined);
    if (!target) continue;
    options.balancer.connected(from, endpoint, options.clock.now());
    if (client.destroyed) target.destroy();
    else join(client, target);
    return;
  }
  client.resetAndDestroy();
}

/** Connects within `CONNECT_MS_MAX`. */
export function dial(to: { hostname: string; port: number }, clock: Clock): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = createConnection({
      host: to.hostname,
      port: to.port,
      allowHalfOpen: true,
      noDelay: true,
    });
    const timer = clock.timer("background", CONNECT_MS_MAX, () => {
      socket.destroy();
      reject(new Error(`no answer from ${to.hostname}:${to.port}`));
    });
    socket.once("connect", () => {
      timer.cancel();
      resolve(socket);
    });
    socket.once("error", (error) => {
      timer.cancel();
      reject(error);
    });
  });
}

function join(a: Socket, b: Socket): void {
  a.setNoDelay(true);
  a.pipe(b);
  b.pipe(a);
  a.on("close", () => b.destroy());
  b.on("close", () => a.destroy());
  b.on("error", () => a.destroy());
  a.resume();
}

interface Flow {
  socket: Datagrams;
  timer: Timer;
}

async function forwardDatagrams(options: ForwardOptions): Promise<Forwarder> {
  const { balancer, clock } = options;
  const kind = options.hostname.includes(":") ? "udp6" : "udp4";
  const server = createSocket(kind);
  const flows = new Map<string, Flow>();
  const end = (key: string) => {
    const flow = flows.get(key);
    if (!flow) return;
    flows.delete(key);
    flow.timer.cancel();
    flow.socket.close();
  };
  const begin = (key: string, from: RemoteInfo): Flow | undefined => {
    const endpoint = balancer.choose(from.address, clock.now())[0];
    const place = endpoint && options.locate(endpoint);
    if (!place || flows.size >= CONNECTIONS_MAX) return undefined;
    balancer.connected(from.address, endpoint, clock.now());
    const socket = createSocket(kind);
    socket.on("message", (data) => server.send(data, from.port, from.address));
    socket.on("error", () => end(key));
    socket.connect(place.port, place.hostname);
    const flow = { socket, timer: clock.timer("background", UDP_IDLE_MS, () => end(key)) };
    flows.set(key, flow);
    return flow;
  };
  server.on("message", (data, from) => {
    const key = `${from.address}:${from.port}`;
    const known = flows.get(key);
    if (known) {
      known.timer.cancel();
      known.timer = clock.timer("background", UDP_IDLE_MS, () => end(key));
      known.socket.send(data);
      return;
    }
    const flow = begin(key, from);
    flow?.socket.once("connect", () => flow.socket.send(data));
  });
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.bind({ address: options.hostname, port: options.port, exclusive: true }, () => {
      server.off("error", reject);
      server.on("error", () => undefined);
      resolve();
    });
  });
  return {
    close: () =>
      new Promise((resolve) => {
        for (const key of [...flows.keys()]) end(key);
        server.close(() => resolve());
      }),
  };
}
