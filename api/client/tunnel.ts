/**
 * The tunnel: one connection that a node has opened to the API server, and in it as many calls from the server to the
 * node as are wanted. The node dials out, the server asks: so a machine behind NAT needs no open port, and the server
 * needs no address of it.
 *
 * Why frames of our own, over a WebSocket: HTTP/2 the other way round would bring its own flow control, but node's
 * server ends a session inside its own callbacks (see `server/connections.ts`) and cannot take over a socket that was
 * upgraded; SPDY has no flow control worth the name. What is needed is small, and fits into this file.
 *
 * A frame is a message of the carrier: one byte of kind, one of channel, four of call, then its content. A call begins
 * with OPEN and its answer (ACCEPT or REFUSE), carries bytes on up to 256 one-way channels and JSON by TELL, and is over
 * with CLOSE. Each channel has a window: a sender may have `WINDOW_BYTES` on the way that its reader has not taken, so
 * that a slow reader holds back one channel and neither memory nor other calls. Who breaks these rules is disconnected.
 *
 * Each side sends PING every `PING_MS`; a side that has heard nothing for `SILENCE_MS_MAX` takes the connection for dead.
 */
import type { Clock, Timer } from "../../kv/clock.ts";
import { internal, unavailable } from "../machinery/errors.ts";
import { ApiError, type Json } from "../machinery/types.ts";
import type { Socketed } from "./socketed.ts";

/** What a tunnel runs in: whole messages, in order. */
export type Carrier = Pick<Socketed, "receive" | "close" | "closed"> & {
  /** Resolves when it has been handed to the connection. */
  send(data: Uint8Array): Promise<void>;
};

/** Bytes of one channel that may be on the way. */
export const WINDOW_BYTES = 256 * 1024;
/** Largest piece of a channel's bytes in one frame. */
export const PIECE_BYTES_MAX = 32 * 1024;
/** Largest question, answer or word in one frame. */
export const WORDS_BYTES_MAX = 4 * 1024 * 1024;
/** Calls of one tunnel at once. */
export const CALLS_MAX = 1_000;
/** How often each side shows that it is there. */
export const PING_MS = 10_000;
/** After so long without a sign the other side is gone. */
export const SILENCE_MS_MAX = 30_000;

/** What a frame is. */
const OPEN = 1;
const ACCEPT = 2;
const REFUSE = 3;
const DATA = 4;
const END = 5;
const CREDIT = 6;
const TELL = 7;
const CLOSE = 8;
const PING = 9;
const PONG = 10;

const HEAD_BYTES = 6;
const NOTHING = new Uint8Array();
const encoder = new TextEncoder();
const decoder = new TextDecoder();

function frame(kind: number, call: number, channel = 0, content: Uint8Array = NOTHING): Uint8Array {
  const bytes = new Uint8Array(HEAD_BYTES + content.length);
  bytes[0] = kind;
  bytes[1] = channel;
  new DataView(bytes.buffer).setUint32(2, call);
  bytes.set(content, HEAD_BYTES);
  return bytes;
}

const words = (value: unknown) => encoder.encode(JSON.stringify(value ?? null));

/** An error as it travels. */
function statusOf(error: unknown): Json {
  const known = error instanceof ApiError
    ? error
    : internal(error instanceof Error ? error.message : String(error));
  return known.status as unknown as Json;
}

function errorOf(status: Json): ApiError {
  return new ApiError(status as unknown as ConstructorParameters<typeof ApiError>[0]);
}

/** The sending half of a channel. */
class Outlet {
  credit = WINDOW_BYTES;
  #wake: (() => void) | undefined;

  granted(bytes: number): void {
    this.credit += bytes;
    if (this.credit > WINDOW_BYTES) throw new RangeError("more was granted than was sent");
    this.wake();
  }

  wake(): void {
    this.#wake?.();
    this.#wake = undefined;
  }

  async wait(): Promise<void> {
    await new Promise<void>((resolve) => this.#wake = resolve);
  }
}

/** The receiving half: what has come and was not taken yet, at most a window of it. */
class Inlet {
  held = 0;
  /** Taken, and not granted anew yet. */
  taken = 0;
  ended = false;
  error: unknown;
  readonly #pieces: Uint8Array[] = [];
  #wake: (() => void) | undefined;

  put(piece: Uint8Array): void {
    if (this.ended) throw new RangeError("bytes after the end of a channel");
    this.held += piece.length;
    if (this.held + this.taken > WINDOW_BYTES) throw new RangeError("more was sent than granted");
    this.#pieces.push(piece);
    this.wake();
  }

  wake(): void {
    this.#wake?.();
    this.#wake = undefined;
  }

  /** The next piece; undefined at the end. */
  async take(): Promise<Uint8Array | undefined> {
    for (;;) {
      const piece = this.#pieces.shift();
      if (piece) {
        this.held -= piece.length;
        this.taken += piece.length;
        return piece;
      }
      if (this.error !== undefined) throw this.error;
      if (this.ended) return undefined;
      await new Promise<void>((resolve) => this.#wake = resolve);
    }
  }
}

/** One call, on either side. */
export class Call {
  readonly id: number;
  readonly #tunnel: Tunnel;
  readonly #outlets = new Map<number, Outlet>();
  readonly #inlets = new Map<number, Inlet>();
  readonly #over = Promise.withResolvers<void>();
  readonly #told: Json[] = [];
  #hear: ((word: Json) => void) | undefined;
  #closed = false;
  #error: unknown;

  constructor(tunnel: Tunnel, id: number) {
    this.#tunnel = tunnel;
    this.id = id;
  }

  /** Resolves once the call is over, however it ended. */
  get over(): Promise<void> {
    return this.#over.promise;
  }

  /** What the other side sends on a channel. Cancelling it lets the rest of the channel pass by. */
  readable(channel: number): ReadableStream<Uint8Array> {
    const inlet = this.#inlet(channel);
    return new ReadableStream<Uint8Array>({
      pull: async (controller) => {
        const piece = await inlet.take();
        if (!piece) return controller.close();
        controller.enqueue(piece);
        this.#grant(channel, inlet);
      },
      cancel: () => void this.#passBy(channel, inlet),
    }, { highWaterMark: 0 });
  }

  /** What is sent on a channel. A write resolves once it is on its way. */
  writable(channel: number): WritableStream<Uint8Array> {
    const outlet = this.#outlet(channel);
    return new WritableStream<Uint8Array>({
      write: (data) => this.#write(channel, outlet, data),
      close: () => this.#closed ? undefined : this.#tunnel.put(frame(END, this.id, channel)),
      abort: (error) => this.close(error),
    });
  }

  /** Says something beside the channels. */
  tell(word: Json): void {
    if (!this.#closed) void this.#tunnel.put(frame(TELL, this.id, 0, words(word)));
  }

  /** Hears what the other side says, from the first word on. */
  hear(listener: (word: Json) => void): void {
    this.#hear = listener;
    for (const word of this.#told.splice(0)) listener(word);
  }

  /** Ends the call; what the other side has sent before its own end may still be read. */
  close(error?: unknown): void {
    if (this.#closed) return;
    const content = error === undefined ? NOTHING : words(statusOf(error));
    void this.#tunnel.put(frame(CLOSE, this.id, 0, content));
    this.ended(error);
  }

  /** The call is over on this side. */
  ended(error?: unknown): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#error = error ?? new Error("the call is over");
    this.#tunnel.forget(this);
    for (const outlet of this.#outlets.values()) outlet.wake();
    for (const inlet of this.#inlets.values()) {
      if (!inlet.ended) inlet.error ??= this.#error;
      inlet.wake();
    }
    this.#over.resolve();
  }

  /** A frame for this call. Throws RangeError for what breaks the rules. */
  receive(kind: number, channel: number, content: Uint8Array): void {
    switch (kind) {
      case DATA:
        return this.#inlet(channel).put(content);
      case END: {
        const inlet = this.#inlet(channel);
        inlet.ended = true;
        return inlet.wake();
      }
      case CREDIT:
        return this.#outlet(channel).granted(uint32(content));
      case TELL:
        return this.#listen(json(content));
      case CLOSE:
        return this.ended(content.length ? errorOf(json(content)) : undefined);
      default:
        throw new RangeError(`no such frame: ${kind}`);
    }
  }

  #listen(word: Json): void {
    if (this.#hear) return this.#hear(word);
    if (this.#told.push(word) > WORDS_MAX) throw new RangeError("words that nobody hears");
  }

  async #write(channel: number, outlet: Outlet, data: Uint8Array): Promise<void> {
    for (let at = 0; at < data.length;) {
      if (this.#closed) throw this.#error;
      if (outlet.credit === 0) {
        await outlet.wait();
        continue;
      }
      const length = Math.min(data.length - at, PIECE_BYTES_MAX, outlet.credit);
      outlet.credit -= length;
      await this.#tunnel.put(frame(DATA, this.id, channel, data.subarray(at, at + length)));
      at += length;
    }
  }

  #grant(channel: number, inlet: Inlet): void {
    if (this.#closed || inlet.ended || inlet.taken < WINDOW_BYTES / 4) return;
    const content = new Uint8Array(4);
    new DataView(content.buffer).setUint32(0, inlet.taken);
    inlet.taken = 0;
    void this.#tunnel.put(frame(CREDIT, this.id, channel, content));
  }

  async #passBy(channel: number, inlet: Inlet): Promise<void> {
    try {
      while (await inlet.take()) this.#grant(channel, inlet);
    } catch {
      // The call is over, and nobody reads on
    }
  }

  #inlet(channel: number): Inlet {
    let inlet = this.#inlets.get(channel);
    if (!inlet) {
      this.#inlets.set(channel, inlet = new Inlet());
      if (this.#closed) inlet.error = this.#error;
    }
    return inlet;
  }

  #outlet(channel: number): Outlet {
    let outlet = this.#outlets.get(channel);
    if (!outlet) this.#outlets.set(channel, outlet = new Outlet());
    return outlet;
  }
}

/** Words of a call that wait for a listener. */
const WORDS_MAX = 100;

function uint32(content: Uint8Array): number {
  if (content.length !== 4) throw new RangeError("a grant is four bytes");
  return new DataView(content.buffer, content.byteOffset, 4).getUint32(0);
}

function json(content: Uint8Array): Json {
  if (content.length > WORDS_BYTES_MAX) throw new RangeError("too many words");
  try {
    return JSON.parse(decoder.decode(content));
  } catch {
    throw new RangeError("words that are no JSON");
  }
}

/** What a tunnel is made with. */
export interface TunnelOptions {
  clock: Clock;
  /** Answers a question of the other side; absent: nothing may be asked here. */
  answer?: (question: Json, call: Call) => Promise<Json>;
}

/** One side of a tunnel. */
export class Tunnel {
  readonly #carrier: Carrier;
  readonly #clock: Clock;
  readonly #answer: TunnelOptions["answer"];
  readonly #calls = new Map<number, Call>();
  readonly #asked = new Map<number, PromiseWithResolvers<Json>>();
  readonly #closed = Promise.withResolvers<string>();
  #next = 1;
  #heardAt: number;
  #timer: Timer | undefined;
  #over = false;

  constructor(carrier: Carrier, { clock, answer }: TunnelOptions) {
    this.#carrier = carrier;
    this.#clock = clock;
    this.#answer = answer;
    this.#heardAt = clock.monotonic();
    carrier.receive((data) => this.#receive(data));
    void carrier.closed.then(() => this.close("the connection has ended"));
    this.#beat();
  }

  /** Resolves with the reason once it is over. */
  get closed(): Promise<string> {
    return this.#closed.promise;
  }

  /** Calls that are under way. */
  get calls(): number {
    return this.#calls.size;
  }

  /**
   * Asks the other side; the call may be used at once. `answer` rejects with its refusal, or 503 when the tunnel ends
   * first. Throws where nothing can be asked.
   */
  ask(question: Json): { call: Call; answer: Promise<Json> } {
    if (this.#over) throw lost();
    if (Math.max(this.#calls.size, this.#asked.size) >= CALLS_MAX) {
      throw unavailable(`the node has ${CALLS_MAX} calls under way already`);
    }
    const content = words(question);
    if (content.length > WORDS_BYTES_MAX) throw internal("the question is too long for a tunnel");
    const call = new Call(this, this.#next++);
    const answered = Promise.withResolvers<Json>();
    this.#calls.set(call.id, call);
    this.#asked.set(call.id, answered);
    void this.put(frame(OPEN, call.id, 0, content));
    return { call, answer: answered.promise };
  }

  /** Sends a frame; nothing once the tunnel is over. */
  async put(bytes: Uint8Array): Promise<void> {
    if (!this.#over) await this.#carrier.send(bytes);
  }

  /** A call is over. Its answer may still come: a short one ends before it has been answered. */
  forget(call: Call): void {
    this.#calls.delete(call.id);
  }

  /** Ends it, and every call with it. */
  close(reason: string, code = 1000): void {
    if (this.#over) return;
    this.#over = true;
    this.#timer?.cancel();
    for (const call of [...this.#calls.values()]) call.ended(lost());
    for (const asked of this.#asked.values()) asked.reject(lost());
    this.#asked.clear();
    this.#carrier.close(code, reason);
    this.#closed.resolve(reason);
  }

  #beat(): void {
    this.#timer = this.#clock.timer("background", PING_MS, () => {
      if (this.#clock.monotonic() - this.#heardAt >= SILENCE_MS_MAX) {
        return this.close("the other side is silent", GONE);
      }
      void this.put(frame(PING, 0));
      this.#beat();
    });
  }

  #receive(data: Uint8Array): void {
    if (this.#over) return;
    this.#heardAt = this.#clock.monotonic();
    try {
      if (data.length < HEAD_BYTES) throw new RangeError("a frame without a head");
      const id = new DataView(data.buffer, data.byteOffset, HEAD_BYTES).getUint32(2);
      this.#take(data[0], id, data[1], data.subarray(HEAD_BYTES));
    } catch (error) {
      this.close(`broken rules: ${(error as Error).message}`, BROKEN_RULES);
    }
  }

  #take(kind: number, id: number, channel: number, content: Uint8Array): void {
    switch (kind) {
      case PING:
        return void this.put(frame(PONG, 0));
      case PONG:
        return;
      case OPEN:
        return this.#opened(id, json(content));
      case ACCEPT:
      case REFUSE: {
        const asked = this.#asked.get(id);
        this.#asked.delete(id);
        if (kind === ACCEPT) return asked?.resolve(json(content));
        asked?.reject(errorOf(json(content)));
        return this.#calls.get(id)?.ended();
      }
      default:
        // A call that is over on this side may still be spoken of by the other
        this.#calls.get(id)?.receive(kind, channel, content);
    }
  }

  #opened(id: number, question: Json): void {
    if (!this.#answer) throw new RangeError("a question to who only asks");
    if (this.#calls.has(id)) throw new RangeError("a call that is open already");
    if (this.#calls.size >= CALLS_MAX) throw new RangeError("too many calls");
    const call = new Call(this, id);
    this.#calls.set(id, call);
    this.#answer(question, call).then(words).then(
      (content) => {
        if (content.length > WORDS_BYTES_MAX) throw internal("the answer is too long for a tunnel");
        void this.put(frame(ACCEPT, id, 0, content));
      },
    ).catch(
      (error) => {
        void this.put(frame(REFUSE, id, 0, words(statusOf(error))));
        call.ended();
      },
    );
  }
}

/** Codes of a WebSocket's end. */
const BROKEN_RULES = 1002;
const GONE = 1001;

function lost(): ApiError {
  return unavailable("the connection to the node was lost");
}
