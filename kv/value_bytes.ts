/**
 * Values as bytes and back: bytes as they are, 64-bit counters little-endian, everything else as V8
 * serializes it. So KV Connect sends them, and so a store of bytes keeps them.
 */

import { Deserializer, Serializer } from "node:v8";

/** How a value's bytes are to be read: KV Connect's numbers. */
export const V8_ENCODING = 1;
/** See V8_ENCODING. */
export const COUNTER_ENCODING = 2;
/** See V8_ENCODING. */
export const BYTES_ENCODING = 3;

/** A value as bytes. */
export interface EncodedValue {
  readonly data: Uint8Array;
  readonly encoding: number;
}

/** Encodes a value. */
export function encodeValue(value: unknown): EncodedValue {
  if (value instanceof Uint8Array) return { data: value, encoding: BYTES_ENCODING };
  if (value instanceof Deno.KvU64) {
    const data = new Uint8Array(8);
    new DataView(data.buffer).setBigUint64(0, value.value, true);
    return { data, encoding: COUNTER_ENCODING };
  }
  // Not `serialize`: it writes bytes in a way that only Node knows.
  const serializer = new Serializer();
  serializer.writeHeader();
  serializer.writeValue(value);
  return { data: serializer.releaseBuffer(), encoding: V8_ENCODING };
}

/** The value that bytes are. Throws TypeError when they are none. */
export function decodeValue({ data, encoding }: EncodedValue): unknown {
  // The bytes may be a part of a whole answer, which must not live on with them. (`slice` of a Buffer is no copy.)
  if (encoding === BYTES_ENCODING) return new Uint8Array(data);
  if (encoding === COUNTER_ENCODING && data.length === 8) {
    const view = new DataView(data.buffer, data.byteOffset, 8);
    return new Deno.KvU64(view.getBigUint64(0, true));
  }
  if (encoding !== V8_ENCODING) throw new TypeError(`Cannot read a value of encoding ${encoding}`);
  try {
    const deserializer = new Deserializer(new Uint8Array(data));
    deserializer.readHeader();
    return deserializer.readValue();
  } catch (error) {
    throw new TypeError("Cannot read a value that V8 did not serialize", { cause: error });
  }
}
