/**
 * Keys as bytes whose order is that of Deno KV, and back: what KV Connect sends and what an ordered store
 * of bytes can keep. Each part is a type byte, then:
 *
 * | type | part | bytes |
 * | --- | --- | --- |
 * | 01 | bytes | them, 00 written as 00 ff, then 00 |
 * | 02 | string | UTF-8, likewise |
 * | 0b–1d | bigint | 14 ± length, big-endian; negative ones as complement |
 * | 21 | number | the double's 8 bytes, mapped so that their order is that of the numbers |
 * | 26, 27 | false, true | |
 */

const BYTES = 0x01;
const STRING = 0x02;
const ZERO = 0x14;
const LONG_NEGATIVE = 0x0b;
const LONG_POSITIVE = 0x1d;
const DOUBLE = 0x21;
const FALSE = 0x26;
const TRUE = 0x27;
/** Digits of a bigint whose length stands in the type byte. */
const SHORT_BYTES_MAX = 8;

const encoder = new TextEncoder();
const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** A key as bytes. */
export function keyBytes(key: Deno.KvKey): Uint8Array<ArrayBuffer> {
  const out: number[] = [];
  for (const part of key) writePart(out, part);
  return new Uint8Array(out);
}

function writePart(out: number[], part: Deno.KvKeyPart): void {
  if (typeof part === "string") writeEscaped(out, STRING, encoder.encode(part));
  else if (typeof part === "number") writeNumber(out, part);
  else if (typeof part === "boolean") out.push(part ? TRUE : FALSE);
  else if (typeof part === "bigint") writeInteger(out, part);
  else if (part instanceof Uint8Array) writeEscaped(out, BYTES, part);
  else throw new TypeError(`Cannot use a value of type ${typeof part} in a key`);
}

function writeEscaped(out: number[], type: number, bytes: Uint8Array): void {
  out.push(type);
  for (const byte of bytes) {
    out.push(byte);
    if (byte === 0) out.push(0xff);
  }
  out.push(0);
}

const double = new DataView(new ArrayBuffer(8));

function writeNumber(out: number[], value: number): void {
  double.setFloat64(0, value);
  const isNegative = double.getUint8(0) >= 0x80;
  out.push(DOUBLE);
  for (let i = 0; i < 8; i++) {
    const flip = isNegative ? 0xff : i === 0 ? 0x80 : 0;
    out.push(double.getUint8(i) ^ flip);
  }
}

function writeInteger(out: number[], value: bigint): void {
  const digits: number[] = [];
  for (let rest = value < 0n ? -value : value; rest > 0n; rest >>= 8n) {
    digits.unshift(Number(rest & 0xffn));
  }
  const flip = value < 0n ? 0xff : 0;
  const { length } = digits;
  if (length > 0xff) throw new TypeError("Cannot use an integer of more than 255 bytes in a key");
  if (length <= SHORT_BYTES_MAX) out.push(value < 0n ? ZERO - length : ZERO + length);
  else out.push(value < 0n ? LONG_NEGATIVE : LONG_POSITIVE, length ^ flip);
  for (const digit of digits) out.push(digit ^ flip);
}

/** The key that bytes are; undefined when they are none. */
export function keyOf(bytes: Uint8Array): Deno.KvKey | undefined {
  const key: Deno.KvKeyPart[] = [];
  for (let at = 0; at < bytes.length;) {
    const found = readPart(bytes, at);
    if (found === undefined) return undefined;
    key.push(found.part);
    at = found.end;
  }
  return key;
}

interface Found {
  readonly part: Deno.KvKeyPart;
  readonly end: number;
}

function readPart(bytes: Uint8Array, at: number): Found | undefined {
  const type = bytes[at++];
  if (type === BYTES || type === STRING) {
    const found = readEscaped(bytes, at);
    if (found === undefined || type === BYTES) return found;
    try {
      return { part: decoder.decode(found.part), end: found.end };
    } catch {
      return undefined;
    }
  }
  if (type === FALSE || type === TRUE) return { part: type === TRUE, end: at };
  if (type === DOUBLE) return readNumber(bytes, at);
  if (type >= LONG_NEGATIVE && type <= LONG_POSITIVE) return readInteger(bytes, at, type);
  return undefined;
}

function readEscaped(
  bytes: Uint8Array,
  at: number,
): { part: Uint8Array<ArrayBuffer>; end: number } | undefined {
  const out: number[] = [];
  for (; at < bytes.length; at++) {
    if (bytes[at] !== 0) out.push(bytes[at]);
    else if (bytes[at + 1] !== 0xff) return { part: new Uint8Array(out), end: at + 1 };
    else {
      out.push(0);
      at++;
    }
  }
  return undefined;
}

function readNumber(bytes: Uint8Array, at: number): Found | undefined {
  const end = at + 8;
  if (end > bytes.length) return undefined;
  const isNegative = bytes[at] < 0x80;
  for (let i = 0; i < 8; i++) {
    double.setUint8(i, bytes[at + i] ^ (isNegative ? 0xff : i === 0 ? 0x80 : 0));
  }
  return { part: double.getFloat64(0), end };
}

function readInteger(bytes: Uint8Array, at: number, type: number): Found | undefined {
  const isNegative = type < ZERO;
  const flip = isNegative ? 0xff : 0;
  const isLong = type === LONG_NEGATIVE || type === LONG_POSITIVE;
  const length = isLong ? bytes[at++] ^ flip : Math.abs(type - ZERO);
  const end = at + length;
  if (end > bytes.length) return undefined;
  let value = 0n;
  for (; at < end; at++) value = value << 8n | BigInt(bytes[at] ^ flip);
  return { part: isNegative ? -value : value, end };
}

/** From where up to where (excluded) a selector reads. */
export interface ByteRange {
  readonly start: Uint8Array;
  readonly end: Uint8Array;
}

/** The range of a selector, as Deno KV reads it. */
export function rangeOf(selector: Deno.KvListSelector): ByteRange {
  const { prefix, start, end } = selector as {
    prefix?: Deno.KvKey;
    start?: Deno.KvKey;
    end?: Deno.KvKey;
  };
  const around = prefix && keyBytes(prefix);
  if (around === undefined && (start === undefined || end === undefined)) {
    throw new TypeError("Cannot list without a prefix, or a start and an end");
  }
  return {
    start: start ? keyBytes(start) : withByte(around!, 0),
    end: end ? keyBytes(end) : withByte(around!, 0xff),
  };
}

/** Bytes and one more. Of a key: with 0 just behind it, with 255 behind all that begin with it. */
export function withByte(bytes: Uint8Array, last: number): Uint8Array<ArrayBuffer> {
  const out = new Uint8Array(bytes.length + 1);
  out.set(bytes);
  out[bytes.length] = last;
  return out;
}

/** The selector that reads a range; undefined when there is none. */
export function selectorOf({ start, end }: ByteRange): Deno.KvListSelector | undefined {
  const from = boundOf(start);
  if (from === undefined) return undefined;
  const to = boundOf(end);
  if (to !== undefined) return { start: from, end: to };
  const prefix = end.at(-1) === 0xff ? keyOf(end.subarray(0, -1)) : undefined;
  if (prefix === undefined) return undefined;
  // What does not begin with the prefix cannot be said beside it.
  const around = end.subarray(0, -1);
  if (start.length === around.length) return undefined;
  for (let i = 0; i < around.length; i++) if (start[i] !== around[i]) return undefined;
  return { prefix, start: from };
}

/** A key that stands for a bound: what is just behind a key is that key with an empty part. */
function boundOf(bytes: Uint8Array): Deno.KvKey | undefined {
  const key = keyOf(bytes);
  if (key !== undefined) return key;
  if (bytes.at(-1) !== 0) return undefined;
  const before = keyOf(bytes.subarray(0, -1));
  return before && [...before, new Uint8Array()];
}
