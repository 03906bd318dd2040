/**
 * The open connections of a listener, and when they are ended that do nothing, or nothing good:
 *
 * - A client has so long for its handshake and the head of its first request, and so long for each further head.
 * - A connection without requests is closed after a while; one over HTTP/2 with streams is pinged, so that clients which
 *   vanished without a word are found. TCP looks after the others.
 * - Who resets streams as fast as it opens them, or sends heads without an end, is left waiting for a while before it is told
 *   so and hung up on: it would only come again at once, and a handshake costs more than what it is cut off for.
 * - What comes is let in a little at a time (`gate.ts`).
 *
 * When a busy time is over, somebody is told, who may give back what it took.
 *
 * A request costs three counters; everything else is seen to by a look at all connections every few seconds.
 */
import type { Clock, Timer } from "../../kv/clock.ts";
import { endLater } from "../../kv/http2_client.ts";
import { Gate, letHeadsIn, letStreamsIn, stopForReal } from "./gate.ts";
import type { Http2Session, IncomingMessage, Socket, TLSSocket } from "./listen.ts";

/** Connections at once; more are closed as they come. */
export const CONNECTIONS_MAX = 20_000;
/** Time for a handshake and the head of a request (upstream: 32 s). */
export const HEAD_MS_MAX = 32_000;
/** A connection without requests is kept so long (upstream: 90 s). */
export const IDLE_MS_MAX = 90_000;
/** TCP asks whether the other side is still there after so long without a word. */
export const TCP_KEEP_ALIVE_MS = 60_000;
/** How often clients with open streams are pinged, and how long they have to answer. */
export const PING_EVERY_MS = 30_000;
export const PING_MS_MAX = 20_000;
/** How often all connections are looked at. */
export const SWEEP_MS = 5_000;
/** Streams that a client may reset between two looks. */
export const RESETS_MAX = 300;
/** Requests of one connection that are worked on, reset ones included. */
export const RUNNING_MAX = 2_000;
/** How long a client that was cut off is left waiting. */
export const LEFT_MS = 30_000;

/** Requests between two looks that make a busy time, and a quiet one. */
export const BUSY_REQUESTS_MIN = 1_000;
export const QUIET_REQUESTS_MAX = 50;

/** HTTP/2's code for a client that asks too much. */
const ENHANCE_YOUR_CALM = 11;

interface Connection {
  socket: Socket;
  session?: Http2Session;
  /** Requests so far, and those that are worked on. */
  requests: number;
  running: number;
  resets: number;
  /** Notes that it resets a stream; false: it may not go on. */
  reset(): boolean;
  /** Since when it is left waiting; nothing that it sends is read any more. */
  leftSince?: number;
  /** It speaks another protocol now. */
  upgraded: boolean;
  /** What the last look saw: requests so far, bytes read, since when nothing was going on. */
  seenRequests: number;
  seenBytes: number;
  idleSince: number;
  /** Since when a head is coming. */
  headSince?: number;
  pingedAt: number;
  /** A ping that was not answered yet. */
  waitingSince?: number;
}

/** See the module's text. */
export class Connections {
  readonly #clock: Clock;
  readonly #gate: Gate;
  readonly #max: number;
  readonly #all = new Map<string, Connection>();
  readonly #of = new WeakMap<object, Connection>();
  #timer: Timer | undefined;
  readonly #rested: () => void;
  /** Requests of all since the last look, and whether a busy time is not over. */
  #requests = 0;
  #busy = false;
  /** Connections that were closed, by why. */
  readonly closed = { full: 0, head: 0, idle: 0, dead: 0, resets: 0 };

  constructor(
    clock: Clock,
    { max = CONNECTIONS_MAX, rested = () => {} }: { max?: number; rested?: () => void } = {},
  ) {
    this.#clock = clock;
    this.#rested = rested;
    this.#gate = new Gate(clock);
    this.#max = max;
  }

  get size(): number {
    return this.#all.size;
  }

  /** Takes in a new connection, or closes it. */
  add(socket: Socket): void {
    socket.on("error", () => socket.destroy());
    if (this.#all.size >= this.#max) {
      this.closed.full++;
      socket.destroy();
      return;
    }
    socket.setNoDelay(true);
    socket.setKeepAlive(true, TCP_KEEP_ALIVE_MS);
    const now = this.#clock.monotonic();
    const key = keyOf(socket);
    const connection: Connection = {
      socket,
      requests: 0,
      running: 0,
      resets: 0,
      reset: () => this.#mayReset(connection),
      upgraded: false,
      seenRequests: 0,
      seenBytes: 0,
      idleSince: now,
      pingedAt: now,
    };
    this.#all.set(key, connection);
    this.#of.set(socket, connection);
    socket.on("close", () => {
      if (this.#all.get(key) === connection) this.#all.delete(key);
    });
    this.#timer ??= this.#clock.timer("background", SWEEP_MS, () => this.#sweep());
  }

  /** Notes that a connection speaks TLS, and from now on a version of HTTP. */
  secured(socket: TLSSocket): void {
    const connection = this.#all.get(keyOf(socket));
    if (!connection) return;
    this.#of.set(socket, connection);
    connection.socket = socket;
    stopForReal(socket);
    if (connection.session) {
      letStreamsIn(socket, this.#gate, connection);
    } else letHeadsIn(socket, this.#gate, connection);
  }

  /** Leaves a client waiting whose head is too long; it has been told. */
  refused(socket: Socket): void {
    const connection = this.#of.get(socket);
    if (!connection) return void socket.destroy();
    this.closed.head++;
    this.#leave(connection);
  }

  /** Notes that a connection speaks HTTP/2. */
  opened(session: Http2Session): void {
    endLater(session);
    session.on("error", () => session.destroy());
    const connection = this.#all.get(keyOf(session.socket));
    if (!connection) return;
    connection.session = session;
    this.#of.set(session, connection);
  }

  /** Notes that a request has come; call what is returned when nothing of it is left. */
  begin(req: IncomingMessage): () => void {
    const connection = this.#of.get(sessionOf(req) ?? req.socket);
    if (!connection) return NOTHING;
    connection.requests++;
    this.#requests++;
    if (++connection.running > RUNNING_MAX) this.#calm(connection);
    return () => connection.running--;
  }

  /** Notes that a connection speaks another protocol from now on. */
  upgraded(req: IncomingMessage): void {
    const connection = this.#of.get(req.socket);
    if (connection) connection.upgraded = true;
  }

  /** Closes those that have no requests, and asks the others to go when theirs are done. */
  drain(): void {
    for (const connection of this.#all.values()) {
      if (connection.session) connection.session.close();
      else if (connection.running === 0 && !connection.upgraded) connection.socket.destroy();
    }
  }

  /** Ends all. */
  close(): void {
    this.#timer?.cancel();
    for (const { socket } of this.#all.values()) socket.destroy();
  }

  /** Whether a client that resets a stream may go on. */
  #mayReset(connection: Connection): boolean {
    if (++connection.resets <= RESETS_MAX) return true;
    this.#calm(connection);
    return false;
  }

  #calm(connection: Connection): void {
    if (connection.leftSince !== undefined) return;
    this.closed.resets++;
    this.#leave(connection);
  }

  /** Reads nothing more of a client, and hangs up on it later. */
  #leave(connection: Connection): void {
    connection.leftSince = this.#clock.monotonic();
    connection.socket.pause();
  }

  #sweep(): void {
    const now = this.#clock.monotonic();
    for (const connection of this.#all.values()) this.#look(connection, now);
    const requests = this.#requests;
    this.#requests = 0;
    if (requests >= BUSY_REQUESTS_MIN) this.#busy = true;
    else if (this.#busy && requests <= QUIET_REQUESTS_MAX) {
      this.#busy = false;
      this.#rested();
    }
    this.#timer = this.#all.size > 0 || this.#busy
      ? this.#clock.timer("background", SWEEP_MS, () => this.#sweep())
      : undefined;
  }

  #look(connection: Connection, now: number): void {
    connection.resets = 0;
    if (connection.leftSince !== undefined) {
      if (now - connection.leftSince >= LEFT_MS) this.#hangUp(connection);
      return;
    }
    if (connection.upgraded || connection.socket.destroyed) return;
    if (connection.running > 0) {
      connection.headSince = undefined;
      if (connection.session) this.#ping(connection, connection.session, now);
      return;
    }
    const { bytesRead } = connection.socket;
    if (connection.requests !== connection.seenRequests) {
      connection.seenRequests = connection.requests;
      connection.seenBytes = bytesRead;
      connection.idleSince = now;
      connection.headSince = undefined;
      connection.waitingSince = undefined;
      return;
    }
    if (connection.requests === 0 && !connection.session) {
      if (now - connection.idleSince > HEAD_MS_MAX) this.#end(connection, "head");
      return;
    }
    if (!connection.session && bytesRead !== connection.seenBytes) {
      connection.headSince ??= now;
      if (now - connection.headSince > HEAD_MS_MAX) this.#end(connection, "head");
      return;
    }
    if (now - connection.idleSince > IDLE_MS_MAX) this.#end(connection, "idle");
  }

  #end(connection: Connection, why: "head" | "idle" | "dead"): void {
    this.closed[why]++;
    if (why === "idle" && connection.session) connection.session.close();
    else connection.socket.destroy();
  }

  #hangUp({ session, socket }: Connection): void {
    // Not before: once a session has said this, its library closes the connection
    if (session && !session.destroyed) {
      session.goaway(ENHANCE_YOUR_CALM);
      session.destroy();
    } else socket.destroy();
  }

  #ping(connection: Connection, session: Http2Session, now: number): void {
    if (connection.waitingSince !== undefined) {
      if (now - connection.waitingSince > PING_MS_MAX) this.#end(connection, "dead");
      return;
    }
    if (now - connection.pingedAt < PING_EVERY_MS || session.destroyed) return;
    connection.pingedAt = connection.waitingSince = now;
    session.ping(() => connection.waitingSince = undefined);
  }
}

const NOTHING = () => {};

function keyOf({ remoteAddress, remotePort }: { remoteAddress?: string; remotePort?: number }) {
  return `${remoteAddress} ${remotePort}`;
}

/** The HTTP/2 session of a request, if it came over one. */
export function sessionOf(req: IncomingMessage): Http2Session | undefined {
  const { stream } = req as { stream?: { session?: Http2Session } };
  return stream?.session;
}
