/**
 * SPDY/3.1, as much as kubectl and container runtimes speak of it: streams with headers over one connection,
 * opened by the client (`open`) and heard of by the server. There is no flow control (others do none either):
 * a writer waits for its connection instead.
 *
 * What comes in is inflated with the preset dictionary, one zlib stream a session. What goes out is zlib too,
 * but stored, not compressed: headers here are a few bytes.
 */
import { createInflate, type Inflate } from "node:zlib";
import { joinedBytes } from "../machinery/joined_bytes.ts";
import { spdyDictionary } from "./spdy_dictionary.ts";

const SYN_STREAM = 1;
const SYN_REPLY = 2;
const RST_STREAM = 3;
const PING = 6;
const GOAWAY = 7;
const HEADERS = 8;
const FLAG_FIN = 1;
/** Largest frame that is accepted; kubectl's are far below. */
const FRAME_BYTES_MAX = 16 * 1024 * 1024 - 1;
/** Streams open at once in a session. */
const STREAMS_MAX = 1_000;
/** Bytes of headers of one stream. */
const HEADER_BYTES_MAX = 64 * 1024;
/** Bytes of data in one frame sent. */
const DATA_BYTES = 32 * 1024;
/** Bytes that a stream holds for a slow reader before the connection waits. */
const BUFFER_BYTES_MAX = 1024 * 1024;

const encoder = new TextEncoder();
const decoder = new TextDecoder();

/** One stream of a session. */
export class SpdyStream {
  readonly id: number;
  readonly headers: ReadonlyMap<string, string>;
  /** What the client sends; ends at its FIN, errors when it resets. */
  readonly readable: ReadableStream<Uint8Array>;
  readonly #session: SpdySession;
  #controller!: ReadableStreamDefaultController<Uint8Array>;
  #wake: (() => void) | undefined;
  #finished = false;
  #ended = false;

  constructor(session: SpdySession, id: number, headers: ReadonlyMap<string, string>) {
    this.#session = session;
    this.id = id;
    this.headers = headers;
    this.readable = new ReadableStream<Uint8Array>({
      start: (controller) => {
        this.#controller = controller;
      },
      pull: () => this.#wake?.(),
      cancel: () => {
        this.#ended = true;
        this.#wake?.();
      },
    }, new ByteLengthQueuingStrategy({ highWaterMark: BUFFER_BYTES_MAX }));
  }

  /** Sends data. */
  async write(data: Uint8Array): Promise<void> {
    for (let at = 0; at < data.length; at += DATA_BYTES) {
      if (this.#finished) return;
      await this.#session.sendData(this.id, 0, data.subarray(at, at + DATA_BYTES));
    }
  }

  /** Ends this direction. */
  async end(): Promise<void> {
    if (this.#finished) return;
    this.#finished = true;
    await this.#session.sendData(this.id, FLAG_FIN, new Uint8Array());
    this.#settle();
  }

  /** Ends both directions at once. */
  async reset(): Promise<void> {
    this.#finished = true;
    this.closed();
    await this.#session.sendReset(this.id);
    this.#settle();
  }

  /** Takes data from the client; waits while the reader is behind. */
  async take(data: Uint8Array, fin: boolean): Promise<void> {
    if (!this.#ended && data.length) {
      this.#controller.enqueue(data);
      while (!this.#ended && (this.#controller.desiredSize ?? 0) < 0) {
        await new Promise<void>((resolve) => this.#wake = resolve);
      }
    }
    if (fin) this.closed();
  }

  /** The client sends no more. */
  closed(): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#controller.close();
    this.#wake?.();
    this.#settle();
  }

  #settle(): void {
    if (this.#ended && this.#finished) this.#session.forget(this.id);
  }
}

/** How a session reaches its connection. */
export interface SpdyTransport {
  /** Resolves when more may be sent. */
  send(bytes: Uint8Array): Promise<void>;
  close(): void;
}

/** A session, as the server of it or as the client. */
export class SpdySession {
  readonly #transport: SpdyTransport;
  readonly #onStream: (stream: SpdyStream) => void;
  readonly #streams = new Map<number, SpdyStream>();
  #inflate: Inflate | undefined;
  #deflateBegun = false;
  #pending: Uint8Array = new Uint8Array();
  #work: Promise<void> = Promise.resolve();
  #closed = false;
  /** Of the next stream that is opened from here; a client's are odd. */
  #nextId = 1;
  readonly #whenClosed = Promise.withResolvers<void>();

  constructor(transport: SpdyTransport, onStream: (stream: SpdyStream) => void = () => {}) {
    this.#transport = transport;
    this.#onStream = onStream;
  }

  /** Resolves when the session is over. */
  get closed(): Promise<void> {
    return this.#whenClosed.promise;
  }

  /** Opens a stream, as the client. */
  async open(headers: Readonly<Record<string, string>>): Promise<SpdyStream> {
    const id = this.#nextId;
    this.#nextId += 2;
    const stream = new SpdyStream(this, id, new Map(Object.entries(headers)));
    this.#streams.set(id, stream);
    const block = this.#deflated(headerBlock(headers));
    const body = new Uint8Array(10 + block.length);
    new DataView(body.buffer).setUint32(0, id);
    body.set(block, 10);
    await this.#control(SYN_STREAM, body);
    return stream;
  }

  /** Bytes from the other side, in order. Resolves when they have been taken. */
  receive(bytes: Uint8Array): Promise<void> {
    this.#work = this.#work.then(() => this.#take(bytes)).catch(() => this.close());
    return this.#work;
  }

  /** Ends every stream and the connection. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    for (const stream of this.#streams.values()) stream.closed();
    this.#streams.clear();
    this.#inflate?.close();
    this.#transport.close();
    this.#whenClosed.resolve();
  }

  forget(id: number): void {
    this.#streams.delete(id);
  }

  async sendData(id: number, flags: number, data: Uint8Array): Promise<void> {
    if (this.#closed) return;
    const frame = new Uint8Array(8 + data.length);
    const view = new DataView(frame.buffer);
    view.setUint32(0, id);
    view.setUint32(4, flags * 0x1000000 + data.length);
    frame.set(data, 8);
    await this.#transport.send(frame);
  }

  async sendReset(id: number): Promise<void> {
    const body = new Uint8Array(8);
    const view = new DataView(body.buffer);
    view.setUint32(0, id);
    view.setUint32(4, 5); // CANCEL
    await this.#control(RST_STREAM, body);
  }

  async #control(type: number, body: Uint8Array): Promise<void> {
    if (this.#closed) return;
    const frame = new Uint8Array(8 + body.length);
    const view = new DataView(frame.buffer);
    view.setUint16(0, 0x8003);
    view.setUint16(2, type);
    view.setUint32(4, body.length);
    frame.set(body, 8);
    await this.#transport.send(frame);
  }

  async #take(bytes: Uint8Array): Promise<void> {
    let rest = bytes;
    if (this.#pending.length) {
      rest = new Uint8Array(this.#pending.length + bytes.length);
      rest.set(this.#pending);
      rest.set(bytes, this.#pending.length);
    }
    while (rest.length >= 8 && !this.#closed) {
      const view = new DataView(rest.buffer, rest.byteOffset, rest.byteLength);
      const length = view.getUint32(4) & 0xffffff;
      if (length > FRAME_BYTES_MAX) throw new Error("a SPDY frame is too large");
      if (rest.length < 8 + length) break;
      const body = rest.subarray(8, 8 + length);
      const flags = rest[4];
      if (rest[0] & 0x80) await this.#frame(view.getUint16(2), flags, body);
      else await this.#streams.get(view.getUint32(0))?.take(body.slice(), (flags & FLAG_FIN) !== 0);
      rest = rest.subarray(8 + length);
    }
    this.#pending = rest.slice();
  }

  async #frame(type: number, flags: number, body: Uint8Array): Promise<void> {
    const view = new DataView(body.buffer, body.byteOffset, body.byteLength);
    switch (type) {
      case SYN_STREAM:
        return await this.#open(view.getUint32(0) & 0x7fffffff, flags, body.subarray(10));
      case SYN_REPLY:
      case HEADERS:
        // Nothing is done with them, but the zlib stream must go on
        await this.#headers(body.subarray(4));
        return;
      case RST_STREAM: {
        const id = view.getUint32(0) & 0x7fffffff;
        this.#streams.get(id)?.closed();
        this.#streams.delete(id);
        return;
      }
      case PING:
        return await this.#control(PING, body.slice());
      case GOAWAY:
        return;
    }
  }

  async #open(id: number, flags: number, block: Uint8Array): Promise<void> {
    const headers = await this.#headers(block);
    if (this.#streams.size >= STREAMS_MAX || this.#streams.has(id)) return await this.sendReset(id);
    const stream = new SpdyStream(this, id, headers);
    this.#streams.set(id, stream);
    const empty = this.#deflated(new Uint8Array(4));
    const reply = new Uint8Array(4 + empty.length);
    new DataView(reply.buffer).setUint32(0, id);
    reply.set(empty, 4);
    await this.#control(SYN_REPLY, reply);
    this.#onStream(stream);
    if (flags & FLAG_FIN) stream.closed();
  }

  /** A header block as a stored block of the session's zlib stream. */
  #deflated(data: Uint8Array): Uint8Array {
    const head = this.#deflateBegun ? [] : [0x78, 0x01];
    this.#deflateBegun = true;
    const size = data.length;
    const length = [0x00, size & 0xff, size >> 8, ~size & 0xff, (~size >> 8) & 0xff];
    // An empty block makes Go's reader hand over what it has, instead of asking for more
    const flush = [0x00, 0x00, 0x00, 0xff, 0xff];
    return new Uint8Array([...head, ...length, ...data, ...flush]);
  }

  async #headers(block: Uint8Array): Promise<Map<string, string>> {
    const bytes = await this.#inflated(block);
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    const headers = new Map<string, string>();
    let at = 4;
    const text = () => {
      const length = view.getUint32(at);
      const value = decoder.decode(bytes.subarray(at + 4, at + 4 + length));
      at += 4 + length;
      return value;
    };
    for (let count = view.getUint32(0); count > 0; count--) {
      const name = text().toLowerCase();
      headers.set(name, text());
    }
    return headers;
  }

  #inflated(block: Uint8Array): Promise<Uint8Array> {
    const inflate = this.#inflate ??= createInflate({ dictionary: spdyDictionary() });
    return new Promise((resolve, reject) => {
      const parts: Uint8Array[] = [];
      let bytes = 0;
      const onData = (part: Uint8Array) => {
        parts.push(part);
        bytes += part.length;
        if (bytes > HEADER_BYTES_MAX) reject(new Error("SPDY headers are too large"));
      };
      const onError = (error: Error) => reject(error);
      inflate.on("data", onData);
      inflate.once("error", onError);
      inflate.write(block, () => {
        inflate.off("data", onData);
        inflate.off("error", onError);
        resolve(joinedBytes(parts));
      });
    });
  }
}

/** Names (which must be in lower case) and values with their lengths before them. */
function headerBlock(headers: Readonly<Record<string, string>>): Uint8Array {
  const texts = Object.entries(headers).flatMap(([name, value]) => [name.toLowerCase(), value])
    .map((text) => encoder.encode(text));
  const bytes = new Uint8Array(texts.reduce((sum, text) => sum + 4 + text.length, 4));
  const view = new DataView(bytes.buffer);
  view.setUint32(0, texts.length / 2);
  let at = 4;
  for (const text of texts) {
    view.setUint32(at, text.length);
    bytes.set(text, at + 4);
    at += 4 + text.length;
  }
  return bytes;
}

/** Text as bytes. */
export function utf8(text: string): Uint8Array {
  return encoder.encode(text);
}
