/**
 * Asks other resolvers what the cluster's DNS does not know: in their order, over UDP, and over TCP where an answer was
 * cut. Answers are kept for a while, and equal questions that are under way are asked once.
 *
 * A resolver that leads back here would be asked for ever: our own address is left out, and a question that comes back
 * to us (`isOwn`) ends all forwarding with a word in the log.
 */
import { createSocket } from "node:dgram";
import { connect } from "node:net";
import { Buffer } from "node:buffer";
import packet from "dns-packet";
import type { Clock } from "../../../kv/clock.ts";

/** How long another resolver may take, in ms. */
export const FORWARD_MS_MAX = 2_000;
/** Questions on their way to other resolvers at once (CoreDNS's default). */
export const FORWARDS_MAX = 1_000;
/** Answers that are kept. */
export const CACHE_MAX = 10_000;
/** How long one is kept at most, in seconds (CoreDNS's, as kubeadm sets it up). */
export const CACHE_SECONDS_MAX = 30;

export interface DnsForwarderOptions {
  clock: Clock;
  /** Addresses of other resolvers, in order; those of ours are left out. */
  upstreams: () => readonly string[];
  /** The port at which they are asked (53). */
  port?: number;
  /** Called once, when a question came back. */
  looped?(): void;
}

interface Kept {
  reply: Buffer;
  /** When it was heard, and until when it counts, by the monotonic clock. */
  since: number;
  until: number;
}

/** See the module's text. */
export class DnsForwarder {
  readonly #options: DnsForwarderOptions;
  readonly #kept = new Map<string, Kept>();
  readonly #asking = new Map<string, Promise<Buffer | undefined>>();
  readonly #probe: string;
  #looped = false;

  constructor(options: DnsForwarderOptions) {
    this.#options = options;
    this.#probe = `${options.clock.uuid()}.loop.plesio.invalid`;
  }

  /** Asks a name that only we know of: if it comes in here, resolvers lead to us. */
  async probe(): Promise<void> {
    const questions = [{ type: "HINFO" as const, name: this.#probe }];
    const flags = packet.RECURSION_DESIRED;
    await this.ask(packet.encode({ type: "query", id: 0, flags, questions }));
  }

  /** Whether a question is our own. Then nothing is forwarded any more. */
  isOwn(name: string): boolean {
    if (name.toLowerCase() !== this.#probe) return false;
    if (!this.#looped) this.#options.looped?.();
    this.#looped = true;
    return true;
  }

  /** The answer to a query, with its id; undefined: nobody answered, or nobody may be asked. */
  async ask(query: Buffer): Promise<Buffer | undefined> {
    if (this.#looped) return undefined;
    const key = query.subarray(2).toString("latin1");
    const { clock } = this.#options;
    const kept = this.#kept.get(key);
    if (kept && clock.monotonic() < kept.until) {
      return aged(kept.reply, query, Math.floor((clock.monotonic() - kept.since) / 1000));
    }
    const asking = this.#asking.get(key) ?? this.#begin(key, query);
    const reply = await asking;
    return reply && aged(reply, query, 0);
  }

  #begin(key: string, query: Buffer): Promise<Buffer | undefined> | undefined {
    if (this.#asking.size >= FORWARDS_MAX) return undefined;
    const asking = this.#askAll(query).then((reply) => {
      if (reply) this.#keep(key, reply);
      return reply;
    }).finally(() => this.#asking.delete(key));
    this.#asking.set(key, asking);
    return asking;
  }

  async #askAll(query: Buffer): Promise<Buffer | undefined> {
    const { port = 53, clock } = this.#options;
    for (const upstream of this.#options.upstreams()) {
      const to = { upstream, port, clock };
      const reply = await overDatagrams(query, to)
        .then((short) =>
          short.readUInt16BE(2) & packet.TRUNCATED_RESPONSE ? overStream(query, to) : short
        )
        .catch(() => undefined);
      if (reply) return reply;
    }
  }

  #keep(key: string, reply: Buffer): void {
    const code = reply.readUInt16BE(2) & 15;
    if (code !== 0 && code !== 3) return;
    const ttls = ttlPlaces(reply).map((place) => reply.readUInt32BE(place));
    const seconds = Math.min(CACHE_SECONDS_MAX, ...ttls);
    if (seconds <= 0 || ttls.length === 0) return;
    const since = this.#options.clock.monotonic();
    this.#kept.delete(key);
    this.#kept.set(key, { reply, since, until: since + seconds * 1000 });
    if (this.#kept.size > CACHE_MAX) this.#kept.delete(this.#kept.keys().next().value!);
  }
}

/** A kept answer for another query: its id, and what is left of its records' time. */
function aged(reply: Buffer, query: Buffer, seconds: number): Buffer {
  const copy = Buffer.from(reply);
  query.copy(copy, 0, 0, 2);
  if (seconds === 0) return copy;
  for (const place of ttlPlaces(copy)) {
    copy.writeUInt32BE(Math.max(0, copy.readUInt32BE(place) - seconds), place);
  }
  return copy;
}

const OPT = 41;

/** Where the times to live of a message's records lie; none of what cannot be read. */
export function ttlPlaces(message: Buffer): number[] {
  const places: number[] = [];
  try {
    const [questions, ...counts] = [4, 6, 8, 10].map((at) => message.readUInt16BE(at));
    let at = 12;
    for (let i = 0; i < questions; i++) at = afterName(message, at) + 4;
    for (let i = counts.reduce((a, b) => a + b); i > 0; i--) {
      at = afterName(message, at);
      if (message.readUInt16BE(at) !== OPT) places.push(at + 4);
      at += 10 + message.readUInt16BE(at + 8);
    }
    return at <= message.length ? places : [];
  } catch {
    return []; // shorter than it says
  }
}

function afterName(message: Buffer, at: number): number {
  for (;;) {
    const length = message.readUInt8(at);
    if (length === 0) return at + 1;
    if (length >= 192) return at + 2;
    at += 1 + length;
  }
}

interface To {
  upstream: string;
  port: number;
  clock: Clock;
}

/** With an id of its own: who cannot see the question cannot answer in another's name. */
function overDatagrams(query: Buffer, { upstream, port, clock }: To): Promise<Buffer> {
  const { promise, resolve, reject } = Promise.withResolvers<Buffer>();
  const socket = createSocket(upstream.includes(":") ? "udp6" : "udp4");
  const sent = Buffer.from(query);
  sent.set(clock.bytes(2));
  const fail = () => reject(new Error(`${upstream} did not answer`));
  const timer = clock.timer("background", FORWARD_MS_MAX, fail);
  socket.on("message", (reply: Buffer) => {
    if (answers(reply, sent)) resolve(reply);
  });
  socket.on("error", reject);
  // Connected: nobody else's datagrams come in, and a closed port is heard of at once.
  socket.connect(port, upstream, () => socket.send(sent));
  return promise.finally(() => {
    timer.cancel();
    socket.close();
  });
}

/** Whether a message answers a query: its id and its question. */
function answers(reply: Buffer, query: Buffer): boolean {
  if (reply.length < 12 || reply.readUInt16BE(0) !== query.readUInt16BE(0)) return false;
  if (!(reply.readUInt16BE(2) & 0x8000)) return false;
  const end = afterName(query, 12) + 4;
  const same = (message: Buffer) => message.subarray(12, end).toString("latin1").toLowerCase();
  return same(reply) === same(query);
}

function overStream(query: Buffer, { upstream, port, clock }: To): Promise<Buffer> {
  const { promise, resolve, reject } = Promise.withResolvers<Buffer>();
  const socket = connect({ host: upstream, port });
  const fail = () => reject(new Error(`${upstream} did not answer`));
  const timer = clock.timer("background", FORWARD_MS_MAX, fail);
  let held: Buffer = Buffer.alloc(0);
  socket.on("data", (data: Buffer) => {
    held = Buffer.concat([held, data]);
    if (held.length < 2 || held.length < 2 + held.readUInt16BE(0)) return;
    const reply = held.subarray(2, 2 + held.readUInt16BE(0));
    if (answers(reply, query)) resolve(reply);
    else fail();
  });
  socket.on("error", reject);
  socket.on("close", fail);
  const length = Buffer.alloc(2);
  length.writeUInt16BE(query.length);
  socket.write(Buffer.concat([length, query]));
  return promise.finally(() => {
    timer.cancel();
    socket.destroy();
  });
}

/** The name servers of a resolv.conf. */
export function nameservers(text: string): string[] {
  return text.split("\n").flatMap((line) => /^\s*nameserver\s+(\S+)/.exec(line)?.[1] ?? []);
}
