/**
 * Protobuf's wire format, as far as databases are spoken to in it (KV Connect, etcd): varints, texts,
 * bytes and messages in messages. Fields go by their numbers, which are facts of the protocol.
 *
 * Of the default values (zero, false, empty) nothing is written, as proto3 has it; an item of a list always
 * is. Numbers are revisions, sizes, codes: not negative, and exact up to 2^53 − 1.
 */

/** What a field holds: a varint, bytes (or a message), a text; a list of bytes for a repeated field. */
export type FieldValue = number | boolean | string | Uint8Array | readonly Uint8Array[] | undefined;

const VARINT = 0;
const FIXED_64 = 1;
const BYTES = 2;
const FIXED_32 = 5;

const encoder = new TextEncoder();

/** A message that cannot be read. */
export class WireError extends Error {
  override name = "WireError";
}

/** Encodes a message; fields are written in the order of their numbers. */
export function message(fields: Readonly<Record<number, FieldValue>>): Uint8Array<ArrayBuffer> {
  const parts: (Uint8Array | number)[] = [];
  let length = 0;
  const bytes = (field: number, value: Uint8Array) => {
    parts.push(field * 8 + BYTES, value.length, value);
    length += varintLength(field * 8) + varintLength(value.length) + value.length;
  };
  for (const name in fields) {
    const field = Number(name);
    const value = fields[field];
    if (!value) continue;
    if (typeof value === "string") bytes(field, encoder.encode(value));
    else if (value instanceof Uint8Array) {
      if (value.length > 0) bytes(field, value);
    } else if (typeof value === "object") { for (const item of value) bytes(field, item); }
    else {
      parts.push(field * 8 + VARINT, Number(value));
      length += varintLength(field * 8) + varintLength(Number(value));
    }
  }
  const out = new Uint8Array(length);
  let at = 0;
  for (const part of parts) {
    if (typeof part === "number") at = writeVarint(out, at, part);
    else {
      out.set(part, at);
      at += part.length;
    }
  }
  return out;
}

function varintLength(value: number): number {
  let length = 1;
  for (; value >= 0x80; value = Math.floor(value / 0x80)) length++;
  return length;
}

function writeVarint(out: Uint8Array, at: number, value: number): number {
  for (; value >= 0x80; value = Math.floor(value / 0x80)) out[at++] = value % 0x80 | 0x80;
  out[at++] = value;
  return at;
}

/** A message that was read. Its bytes are views of the bytes it was read from. */
export class Message {
  readonly #fields = new Map<number, (number | Uint8Array)[]>();

  /** Reads a message. Throws WireError when it is none. */
  constructor(bytes: Uint8Array) {
    const reader = new Reader(bytes);
    while (reader.at < bytes.length) {
      const tag = reader.varint();
      const field = Math.floor(tag / 8);
      const value = reader.value(tag % 8);
      const values = this.#fields.get(field);
      if (values === undefined) this.#fields.set(field, [value]);
      else values.push(value);
    }
  }

  /** A varint; 0 when it was not sent. */
  number(field: number): number {
    const value = this.#last(field) ?? 0;
    if (typeof value !== "number") throw new WireError(`field ${field} is not a number`);
    return value;
  }

  /** Bytes; empty when they were not sent. */
  bytes(field: number): Uint8Array {
    return this.maybe(field) ?? EMPTY;
  }

  /** Bytes; undefined when they were not sent. */
  maybe(field: number): Uint8Array | undefined {
    const value = this.#last(field);
    if (typeof value === "number") throw new WireError(`field ${field} is not bytes`);
    return value;
  }

  /** The messages of a repeated field. */
  messages(field: number): Message[] {
    return this.all(field).map((bytes) => new Message(bytes));
  }

  /** The items of a repeated field. */
  all(field: number): Uint8Array[] {
    const values = this.#fields.get(field) ?? [];
    return values.map((value) => {
      if (typeof value === "number") throw new WireError(`field ${field} is not bytes`);
      return value;
    });
  }

  #last(field: number): number | Uint8Array | undefined {
    return this.#fields.get(field)?.at(-1);
  }
}

const EMPTY = new Uint8Array();

class Reader {
  at = 0;
  readonly #bytes: Uint8Array;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  value(type: number): number | Uint8Array {
    if (type === VARINT) return this.varint();
    if (type === BYTES) return this.#take(this.varint());
    if (type === FIXED_64) return this.#take(8);
    if (type === FIXED_32) return this.#take(4);
    throw new WireError(`there is no field of type ${type}`);
  }

  varint(): number {
    let value = 0;
    let scale = 1;
    for (let i = 0; i < 10; i++) {
      if (this.at >= this.#bytes.length) throw new WireError("the message is cut short");
      const byte = this.#bytes[this.at++];
      value += (byte & 0x7f) * scale;
      scale *= 0x80;
      if (byte < 0x80) return value;
    }
    throw new WireError("a number has more than 64 bits");
  }

  #take(length: number): Uint8Array {
    const end = this.at + length;
    if (end > this.#bytes.length) throw new WireError("the message is cut short");
    const taken = this.#bytes.subarray(this.at, end);
    this.at = end;
    return taken;
  }
}
