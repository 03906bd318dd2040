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
import type { Clock } from "../../../kv/clock.ts";
import { DnsForwarder } from "./dns_forward.ts";
import { PORT_SHIFT } from "./proxy.ts";
import {
  type Answer,
  authority,
  type Caches,
  type DnsRecord,
  indexed,
  resolve,
} from "./resolver.ts";

/** Longest answer over UDP, and to those who do not say how much they take; longer ones are cut, to be asked for over TCP. */
export const UDP_BYTES_MAX = 1232;
export const UDP_BYTES_MIN = 512;
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
  /** Other resolvers, in order; asked for again now and then. */
  upstreams: () => readonly string[];
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
      const forwarder = new DnsForwarder({
        clock: context.clock,
        upstreams: () => options.upstreams().filter((upstream) => upstream !== options.address),
        looped: () =>
          context.log("error", "the machine's resolvers lead back to the cluster's DNS"),
      });
      const { clock } = context;
      const server = { caches: cachesOf(context, options.zone), forwarder, clock, turn: 0 };
      const answer = (query: Buffer, stream: boolean) => answerQuery(query, stream, server);
      const port = await listenAnywhere(
        options.address,
        (at) => listen(options.address, at, answer),
      );
      options.ready?.({ hostname: options.address, port: port.port });
      void forwarder.probe();
      return port.state;
    },
    handle: () => undefined,
    stop: (state) => close(state),
  };
}

function cachesOf({ informers }: ActorContext, zone: string): Caches {
  const of = (group: string, plural: string) => informers.for({ group, version: "v1", plural });
  return indexed({
    services: of("", "services"),
    namespaces: of("", "namespaces"),
    slices: of("discovery.k8s.io", "endpointslices"),
    zone,
  });
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

type Answerer = (query: Buffer, stream: boolean) => Promise<Buffer | undefined>;

async function listen(address: string, port: number, answer: Answerer): Promise<State> {
  const datagrams = createSocket("udp4");
  const connections = new Set<Socket>();
  datagrams.on("message", (query, from) => {
    answer(query, false).then((reply) => {
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
      answer(query, true).then((reply) => {
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

/** What answers are made from. */
interface Answering {
  caches: Caches;
  forwarder: DnsForwarder;
  clock: Clock;
  /** Addresses of a name take turns at being the first. */
  turn: number;
}

async function answerQuery(
  query: Buffer,
  stream: boolean,
  server: Answering,
): Promise<Buffer | undefined> {
  let decoded: packet.DecodedPacket;
  try {
    decoded = packet.decode(query);
  } catch {
    return undefined; // not DNS: no answer, as other servers do
  }
  const question = decoded.questions?.[0];
  if (!question || decoded.type !== "query" || server.forwarder.isOwn(question.name)) {
    return undefined;
  }
  const limit = stream ? STREAM_BYTES_MAX : limitOf(decoded);
  const found = resolve(question, server.caches);
  if (found) {
    const whole = await follow(found, question, server);
    return encode(decoded, whole, limit, server);
  }
  const reply = await server.forwarder.ask(query);
  if (!reply) return refuse(decoded);
  return reply.length <= limit ? reply : cut(reply);
}

const STREAM_BYTES_MAX = 65_535;

/** How long an answer over UDP may be: what the client says it takes, within bounds. */
function limitOf({ additionals }: packet.DecodedPacket): number {
  const opt = additionals?.find((record: packet.Answer) => record.type === "OPT");
  return Math.max(UDP_BYTES_MIN, Math.min(UDP_BYTES_MAX, opt?.udpPayloadSize ?? 0));
}

/** The question alone, marked as cut. */
function cut(reply: Buffer): Buffer {
  const { id, questions, flags = 0 } = packet.decode(reply);
  return packet.encode({
    id,
    type: "response",
    questions,
    flags: flags | packet.TRUNCATED_RESPONSE,
  });
}

/** The name that another stands for is followed at once: in the cluster, or by other resolvers. */
async function follow(
  found: Answer,
  { type }: packet.Question,
  { caches, forwarder }: Answering,
): Promise<Answer> {
  const [first] = found.answers;
  if (first?.type !== "CNAME" || (type !== "A" && type !== "AAAA")) return found;
  const target = resolve({ name: first.data, type }, caches);
  if (target) return { ...found, answers: [first, ...target.answers] };
  const questions = [{ type: type as "A", name: first.data }];
  const flags = packet.RECURSION_DESIRED;
  const reply = await forwarder.ask(packet.encode({ type: "query", id: 0, flags, questions }));
  const answers = reply ? packet.decode(reply).answers ?? [] : [];
  return { ...found, answers: [first, ...answers as DnsRecord[]] };
}

function encode(query: packet.Packet, answer: Answer, limit: number, server: Answering): Buffer {
  const { caches, clock } = server;
  const serial = Math.floor(clock.now() / 1000);
  const opt = query.additionals?.some((record: packet.Answer) => record.type === "OPT")
    ? [OPT]
    : [];
  const flags = AUTHORITATIVE | (query.flags! & RECURSION) | packet.RECURSION_AVAILABLE |
    (answer.exists ? 0 : 3);
  const answers = turned(answer.answers, server.turn++);
  const message = (count: number) =>
    packet.encode({
      id: query.id,
      type: "response",
      questions: query.questions,
      flags: count < answers.length ? flags | packet.TRUNCATED_RESPONSE : flags,
      answers: answers.slice(0, count) as packet.Answer[],
      // Says for how long "no" may be believed.
      authorities: answers.length > 0 ? [] : [authority(caches.zone, serial) as packet.Answer],
      additionals: [
        ...(count < answers.length ? [] : answer.additionals),
        ...opt,
      ] as packet.Answer[],
    });
  let count = answers.length;
  for (;;) {
    const full = message(count);
    if (full.length <= limit || count === 0) return full;
    count = Math.min(count - 1, Math.floor(count * limit / full.length));
  }
}

const OPT = { type: "OPT", name: ".", udpPayloadSize: UDP_BYTES_MAX };

/** Addresses in another order each time; what else there is keeps its place. */
function turned(answers: readonly DnsRecord[], turn: number): DnsRecord[] {
  const at = answers.findIndex(({ type }) => type === "A" || type === "AAAA");
  if (at < 0) return [...answers];
  const addresses = answers.slice(at);
  const first = turn % addresses.length;
  return [...answers.slice(0, at), ...addresses.slice(first), ...addresses.slice(0, first)];
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
