/**
 * What clients send is let in a little at a time. One read of a socket may bring a thousand requests over HTTP/2, or 64 KiB
 * of a head without an end, and the protocols' libraries work all of it off before anybody else's socket is looked at.
 *
 * So the frames of HTTP/2 are looked at before the library sees them, which takes a few nanoseconds each: those that open
 * streams take turns, all connections together, and who resets too many is told before they are worked on at all. Over
 * HTTP/1.1 a connection that goes on sending without a request to show for it is read once in a turn of its own.
 *
 * What is told to many is let out in the same way: an event goes to some of its watchers in a turn, then to others.
 */
import type { Clock } from "../../kv/clock.ts";
import type { TLSSocket } from "./listen.ts";

/** Streams that are opened in a turn of the event loop, by all connections. */
export const TURN_STREAMS_MAX = 8;
/** The same by one that has waited. */
export const TURN_STREAMS_EACH = 2;
/** What a connection may send of one request before it takes turns, in bytes. */
export const REQUEST_BYTES_FREE = 64 * 1024;
/** Bytes of streams that are written in a turn, to all connections; and what of a turn it takes to write at all. */
export const TURN_BYTES_MAX = 128 * 1024;
const PIECE_PART = TURN_STREAMS_MAX / 64;

/** What a client begins a connection over HTTP/2 with: its length. */
const PREFACE_BYTES = 24;
const FRAME_HEAD_BYTES = 9;
const HEADERS = 1;
const RST_STREAM = 3;

/** Whose turn it is. */
export class Gate {
  readonly #clock: Pick<Clock, "turn">;
  #left = TURN_STREAMS_MAX;
  #ticking = false;
  #waiting: (() => void)[] = [];

  constructor(clock: Pick<Clock, "turn">) {
    this.#clock = clock;
  }

  /** Connections that wait. */
  get waiting(): number {
    return this.#waiting.length;
  }

  /** Takes so much of this turn, if it is not over. */
  enter(streams = 1): boolean {
    if (!this.#ticking) this.#nextTurn();
    if (this.#left <= 0) return false;
    this.#left -= streams;
    return true;
  }

  /** Calls back in a turn to come. */
  wait(go: () => void): void {
    if (!this.#ticking) this.#nextTurn();
    this.#waiting.push(go);
  }

  /** Lets a piece of an answer out in this turn (undefined), or in one to come. */
  letOut({ length }: Uint8Array): Promise<void> | undefined {
    return this.turn(PIECE_PART + length / TURN_BYTES_MAX * TURN_STREAMS_MAX);
  }

  /** Takes so much of this turn (undefined), or of one to come. */
  turn(streams: number): Promise<void> | undefined {
    if (this.enter(streams)) return undefined;
    return new Promise((go) =>
      this.wait(() => {
        this.enter(streams);
        go();
      })
    );
  }

  #nextTurn(): void {
    this.#ticking = true;
    void this.#clock.turn(false).then(() => {
      if (this.#waiting.length === 0) this.#tick();
      // Between two turns all sockets are looked at
      else void this.#clock.turn(true).then(() => this.#tick());
    });
  }

  #tick(): void {
    this.#ticking = false;
    this.#left = TURN_STREAMS_MAX;
    for (let visits = this.#waiting.length; visits > 0 && this.#left > 0; visits--) {
      this.#waiting.shift()!();
    }
    if (this.#waiting.length > 0 && !this.#ticking) this.#nextTurn();
  }
}

/** Who sends: requests so far, and since when nothing is read of it any more. */
export interface Sender {
  readonly requests: number;
  readonly leftSince?: number;
}

/** Walks through the frames of a connection, however they are cut. */
export class Frames {
  /** Bytes of the preface, or of a frame's payload, that are still to come. */
  #skip = PREFACE_BYTES;
  readonly #head = new Uint8Array(FRAME_HEAD_BYTES);
  #have = 0;

  /**
   * How much of a piece may be passed on: up to a frame that opens a stream and may not `open()`, or that resets one and
   * is too many. The rest is to be shown again.
   */
  walk(piece: Uint8Array, open: () => boolean, reset: () => boolean): number {
    for (let at = 0; at < piece.length;) {
      if (this.#skip > 0) {
        const step = Math.min(this.#skip, piece.length - at);
        this.#skip -= step;
        at += step;
        continue;
      }
      if (this.#have > 0 || piece.length - at < FRAME_HEAD_BYTES) {
        at += this.#gather(piece, at);
        if (this.#have < FRAME_HEAD_BYTES) return at;
        this.#have = 0;
        this.#skip = lengthOf(this.#head, 0);
        const type = this.#head[3];
        // Half of it has been passed on: it counts, but is not held back
        if (type === HEADERS) open();
        if (type === RST_STREAM && !reset()) return at;
        continue;
      }
      const type = piece[at + 3];
      if (type === HEADERS && !open()) return at;
      if (type === RST_STREAM && !reset()) return at;
      this.#skip = lengthOf(piece, at);
      at += FRAME_HEAD_BYTES;
    }
    return piece.length;
  }

  /** Keeps what there is of a frame's head; how many bytes that is. */
  #gather(piece: Uint8Array, at: number): number {
    const step = Math.min(FRAME_HEAD_BYTES - this.#have, piece.length - at);
    this.#head.set(piece.subarray(at, at + step), this.#have);
    this.#have += step;
    return step;
  }
}

function lengthOf(bytes: Uint8Array, at: number): number {
  return bytes[at] << 16 | bytes[at + 1] << 8 | bytes[at + 2];
}

/** The parts of node's socket that decide whether its TCP is read. */
interface Handle {
  readStart(): number;
  readStop(): number;
  _nativeTcpHandle?: Pick<Handle, "readStart" | "readStop">;
}

/**
 * Has a TLS socket that is not read stop its client. Deno 2.9 goes on reading from TCP and keeps all of it: a client that
 * sent to a paused socket took a gigabyte of memory in two seconds.
 */
export function stopForReal(socket: TLSSocket): void {
  const { _handle: handle } = socket as unknown as { _handle?: Handle };
  const tcp = handle?._nativeTcpHandle;
  if (!handle || !tcp) return;
  const { readStart, readStop } = handle;
  handle.readStart = () => {
    tcp.readStart();
    return readStart.call(handle);
  };
  handle.readStop = () => {
    tcp.readStop();
    return readStop.call(handle);
  };
}

/** Stands between a connection over HTTP/2 and its library. `reset` hears of each one, and says whether it goes on. */
export function letStreamsIn(
  socket: TLSSocket,
  gate: Gate,
  sender: Sender & { reset(): boolean },
): void {
  const pass = socket.listeners("data").at(-1) as ((piece: Uint8Array) => void) | undefined;
  if (!pass) return;
  const frames = new Frames();
  const held: Uint8Array[] = [];
  const reset = () => sender.reset();
  /** Passes on what may be; what is left. */
  const some = (piece: Uint8Array, open: () => boolean) => {
    const end = frames.walk(piece, open, reset);
    if (end > 0) pass(end === piece.length ? piece : piece.subarray(0, end));
    return end === piece.length ? undefined : piece.subarray(end);
  };
  const over = () => {
    if (sender.leftSince === undefined && !socket.destroyed) return false;
    held.length = 0;
    return true;
  };
  const visit = () => {
    let streams = TURN_STREAMS_EACH;
    while (held.length > 0) {
      if (over()) return;
      const rest = some(held[0], () => streams-- > 0 && gate.enter());
      if (over()) return;
      if (rest) {
        held[0] = rest;
        return gate.wait(visit);
      }
      held.shift();
    }
    socket.resume();
  };
  const enter = () => gate.enter();
  socket.off("data", pass);
  socket.on("data", (piece: Uint8Array) => {
    if (over()) return;
    const rest = held.length > 0 ? piece : some(piece, enter);
    if (!rest || over() || held.push(rest) > 1) return;
    if (begun) socket.pause();
    gate.wait(visit);
  });
  // At first the library itself reads what a paused socket holds, past all listeners
  let begun = false;
  gate.wait(() => {
    begun = true;
    if (held.length > 0) socket.pause();
  });
}

/** Has a connection over HTTP/1.1 read in turns while there is no new request of it. */
export function letHeadsIn(socket: TLSSocket, gate: Gate, sender: Sender): void {
  let bytes = 0;
  let seen = 0;
  socket.prependListener("data", (piece: Uint8Array) => {
    bytes += piece.length;
    if (bytes <= REQUEST_BYTES_FREE) return;
    if (sender.requests !== seen) {
      seen = sender.requests;
      bytes = piece.length;
      return;
    }
    socket.pause();
    gate.wait(() => {
      gate.enter(TURN_STREAMS_MAX);
      // Whoever takes an answer slowly is not read, either
      const { _paused: slow } = socket as { _paused?: boolean };
      if (!slow && sender.leftSince === undefined) socket.resume();
    });
  });
}
