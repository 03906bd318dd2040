/**
 * The cluster's DNS server: an actor that answers on the DNS service's address over UDP and TCP.
 * Questions about the cluster are answered by `resolver.ts`; all others go to the machine's own resolvers.
 * Where port 53 is closed to us it listens `PORT_SHIFT` higher, and pods are told (`DnsPlace`).
 */
import { createSocket, type Socket as Datagrams } from "node:dgram";
import { createServer, type Server, type Socket } from "node:net";
import { Buffer } from "node:buffer";
import packet from "dns-packet";
import type { ActorContext, Behaviour } from "../../runtime/contract.ts";
import { BY_SERVICE, serviceOf } from "./endpoints.ts";
import { PORT_SHIFT } from "./proxy.ts";
import { type Answer, type Caches, resolve } from "./resolver.ts";

/** Longest answer over UDP without the client's leave; longer ones are cut and asked again over TCP. */
export const UDP_BYTES_MAX = 1232;
/** How long another resolver may take, in ms. */
export const FORWARD_MS_MAX = 2_000;
/** Questions on their way to other resolvers at once. */
export const FORWARDS_MAX = 256;
/** TCP connections held at once. */
export const DNS_CONNECTIONS_MAX = 256;

const AUTHORITATIVE = packet.AUTHORITATIVE_ANSWER;
const RECURSION = packet.RECURSION_DESIRED | packet.RECURSION_AVAILABLE;

/** Where the cluster's DNS answers. */
export interface DnsPlace {
  hostname: string;
  port: number;
}

export interface DnsOptions {
  address: string;
  /** `cluster.local`. */
  zone: string;
  /** Other resolvers, in order. */
  upstreams: readonly string[];
  /** Called when it listens. */
  ready?(place: DnsPlace): void;
}

interface State {
  datagrams: Datagrams;
  server: Server;
  connections: Set<Socket>;
}

/** The DNS server as an actor: `dns/<machine>`. */
export function dns(options: DnsOptions): Behaviour<State> {
  return {
    async start(context) {
      const caches = cachesOf(context, options.zone);
      const asking = { count: 0 };
      const answer = (query: Buffer, limit: number) =>
        answerQuery(query, limit, caches, options, asking, context);
      const port = await listenAnywhere(
        options.address,
        (at) => listen(options.address, at, answer),
      );
      options.ready?.({ hostname: options.address, port: port.port });
      return port.state;
    },
    handle: () => undefined,
    stop: (state) => close(state),
  };
}

function cachesOf({ informers }: ActorContext, zone: string): Caches {
  const slices = informers.for({
    group: "discovery.k8s.io",
    version: "v1",
    plural: "endpointslices",
  });
  slices.index(BY_SERVICE, serviceOf);
  return {
    services: informers.for({ group: "", version: "v1", plural: "services" }),
    namespaces: informers.for({ group: "", version: "v1", plural: "namespaces" }),
    slices,
    zone,
  };
}

async function listenAnywhere<R>(
  address: string,
  start: (port: number) => Promise<R>,
): Promise<{ port: number; state: R }> {
  try {
    return { port: 53, state: await start(53) };
  } catch (error) {
    const { code } = error as { code?: string };
    if (code !== "EACCES" && code !== "EPERM" && code !== "EADDRINUSE") {
      throw new Error(`Cannot answer DNS on ${address}:53: ${error}`, { cause: error });
    }
    return { port: 53 + PORT_SHIFT, state: await start(53 + PORT_SHIFT) };
  }
}

type Answerer = (query: Buffer, limit: number) => Promise<Buffer | undefined>;

async function listen(address: string, port: number, answer: Answerer): Promise<State> {
  const datagrams = createSocket("udp4");
  const connections = new Set<Socket>();
  datagrams.on("message", (query, from) => {
    answer(query, UDP_BYTES_MAX).then((reply) => {
      if (reply) datagrams.send(reply, from.port, from.address);
    });
  });
  const server = createServer((socket) => {
    if (connections.size >= DNS_CONNECTIONS_MAX) socket.destroy();
    else serveStream(socket, connections, answer);
  });
  try {
    await bound(datagrams, (done) => datagrams.bind({ address, port, exclusive: true }, done));
    await bound(server, (done) => server.listen({ host: address, port, exclusive: true }, done));
  } catch (error) {
    await close({ datagrams, server, connections });
    throw error;
  }
  return { datagrams, server, connections };
}

function bound(emitter: Datagrams | Server, start: (done: () => void) => void): Promise<void> {
  return new Promise((resolve, reject) => {
    emitter.once("error", reject);
    start(() => {
      emitter.off("error", reject);
      emitter.on("error", () => undefined);
      resolve();
    });
  });
}

/** DNS over TCP: each message is preceded by its length in two bytes. */
function serveStream(socket: Socket, connections: Set<Socket>, answer: Answerer): void {
  connections.add(socket);
  let held: Buffer = Buffer.alloc(0);
  socket.on("data", (data: Buffer) => {
    held = Buffer.concat([held, data]);
    while (held.length >= 2 && held.length >= 2 + held.readUInt16BE(0)) {
      const length = held.readUInt16BE(0);
      const query = held.subarray(2, 2 + length);
      held = held.subarray(2 + length);
      answer(query, 65_535).then((reply) => {
        if (reply && !socket.destroyed) socket.write(framed(reply));
      });
    }
  });
  socket.on("close", () => connections.delete(socket));
  socket.on("error", () => socket.destroy());
}

function framed(message: Buffer): Buffer {
  const length = Buffer.alloc(2);
  length.writeUInt16BE(message.length);
  return Buffer.concat([length, message]);
}

async function answerQuery(
  query: Buffer,
  limit: number,
  caches: Caches,
  options: DnsOptions,
  asking: { count: number },
  context: ActorContext,
): Promise<Buffer | undefined> {
  let decoded: ReturnType<typeof packet.decode>;
  try {
    decoded = packet.decode(query);
  } catch {
    return undefined; // not DNS: no answer, as other servers do
  }
  const question = decoded.questions?.[0];
  if (!question || decoded.type !== "query") return undefined;
  const found = resolve(question, caches);
  if (found) return encode(decoded, follow(found, caches), limit);
  if (options.upstreams.length === 0 || asking.count >= FORWARDS_MAX) return refuse(decoded);
  asking.count++;
  try {
    for (const upstream of options.upstreams) {
      const reply = await ask(upstream, query, context).catch(() => undefined);
      if (reply) {
        return reply.length > limit
          ? encode(decoded, { exists: true, answers: [], additionals: [] }, 0)
          : reply;
      }
    }
  } finally {
    asking.count--;
  }
  return refuse(decoded);
}

/** A CNAME to a name of ours is followed at once. */
function follow(found: Answer, caches: Caches): Answer {
  const [first] = found.answers;
  if (first?.type !== "CNAME") return found;
  const target = resolve({ name: first.data, type: "A" }, caches);
  return target ? { ...found, answers: [first, ...target.answers] } : found;
}

function encode(query: packet.Packet, answer: Answer, limit: number): Buffer {
  const base = {
    id: query.id,
    type: "response" as const,
    questions: query.questions,
    flags: AUTHORITATIVE | (query.flags! & RECURSION) | packet.RECURSION_AVAILABLE |
      (answer.exists ? 0 : 3),
  };
  const full = packet.encode({
    ...base,
    answers: answer.answers as packet.Answer[],
    additionals: answer.additionals as packet.Answer[],
  });
  if (full.length <= limit) return full;
  return packet.encode({ ...base, flags: base.flags | packet.TRUNCATED_RESPONSE, answers: [] });
}

/** SERVFAIL: nobody we may ask knows. */
function refuse(query: packet.Packet): Buffer {
  return packet.encode({
    id: query.id,
    type: "response",
    questions: query.questions,
    flags: packet.RECURSION_AVAILABLE | 2,
  });
}

function ask(upstream: string, query: Buffer, context: ActorContext): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const socket = createSocket(upstream.includes(":") ? "udp6" : "udp4");
    const end = (error?: Error, reply?: Buffer) => {
      timer.cancel();
      socket.close();
      if (reply) resolve(reply);
      else reject(error);
    };
    const timer = context.clock.timer(
      "background",
      FORWARD_MS_MAX,
      () => end(new Error(`${upstream} did not answer`)),
    );
    socket.once("message", (reply: Buffer) => end(undefined, reply));
    socket.once("error", (error) => end(error));
    socket.send(query, 53, upstream);
  });
}

async function close({ datagrams, server, connections }: State): Promise<void> {
  for (const socket of connections) socket.destroy();
  await new Promise<void>((resolve) => {
    try {
      datagrams.close(() => resolve());
    } catch {
      resolve(); // it never came to listen
    }
  });
  await new Promise<void>((resolve) => server.close(() => resolve()));
}
