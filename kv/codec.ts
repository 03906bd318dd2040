/**
 * Log records as bytes.
 *
 * | bytes | what |
 * | --- | --- |
 * | 1 | 0 plain, else how the value is sealed (`seal.ts`); its highest bit: a cause is given |
 * | 1 | kind (put, delete, internal put, internal delete) and flags |
 * | 2 | length of the key |
 * | 8 | previous revision of the same object, 0 for none |
 * | 8 | wall time of the commit |
 * | 16 | only in the first record of a group: writer, batch |
 * | 22 | only if chunked: id of the chunks, their number, length of the whole |
 * | 16, 8 | only with a cause: trace, the revision it reacted to |
 * | 1, …, 1, … | the same: who wrote it and what was asked for, each behind its length |
 * | … | the key |
 * | … | the value, unless chunked or (at most deletes) absent |
 *
 * Causes came with format 3. A program that knows only format 2 refuses such a database when it opens it; one that had
 * it open before takes the highest bit for a form of sealing that it does not know, and stops, instead of taking a
 * cause for a key.
 */

import { type Cause, DatabaseError } from "./contract.ts";
import {
  CAUSE_TEXT_BYTES_MAX,
  CHUNK_BYTES,
  KV_VALUE_BYTES_MAX,
  RECORD_OVERHEAD_BYTES,
} from "./limits.ts";

/** What a record does. */
export type Kind = 1 | 2 | 3 | 4;
/** An object is there. */
export const PUT: Kind = 1;
/** An object is gone; the value, if any, is its last state. */
export const DELETE: Kind = 2;
/** As PUT, of the store's own state (terms): no watcher sees it. */
export const INTERNAL_PUT: Kind = 3;
/** As DELETE, of the store's own state. */
export const INTERNAL_DELETE: Kind = 4;

const KIND_MASK = 0x07;
const FIRST_OF_GROUP = 0x10;
const CHUNKED = 0x20;
const WITH_BODY = 0x40;

/** In the first byte, beside the form of sealing. */
const WITH_CAUSE = 0x80;
/** The last form of sealing that there is. */
const SEAL_FORM_MAX = 5;

/** Bytes of a writer's and of a chunked object's id. */
export const WRITER_BYTES = 8;
/** See WRITER_BYTES. */
export const CHUNK_ID_BYTES = 16;
const HEADER_BYTES = 20;
const GROUP_BYTES = WRITER_BYTES + 8;
const CHUNKED_BYTES = CHUNK_ID_BYTES + 2 + 4;
const TRACE_BYTES = 16;
const CAUSE_HEAD_BYTES = TRACE_BYTES + 8;

/** Who committed a group, and its number among that writer's. */
export interface GroupMark {
  readonly writer: string;
  readonly batch: number;
}

/** Where an object's bytes are that did not fit. */
export interface Chunks {
  /** Hexadecimal. */
  readonly id: string;
  readonly count: number;
  readonly length: number;
  /** How they are sealed, where they were just written. */
  readonly form?: number;
}

/** A record, taken apart. `body` may be sealed. */
export interface ChangeRecord {
  readonly kind: Kind;
  /** How the value is sealed; 0: it is not. */
  readonly form: number;
  readonly key: string;
  readonly previous: number;
  /** When it was committed, by the writer's wall clock. */
  readonly time: number;
  readonly group?: GroupMark;
  readonly chunks?: Chunks;
  /** Absent in records of format 2, and of what the store does by itself. */
  readonly cause?: Cause;
  readonly body?: Uint8Array;
}

const encoder = new TextEncoder();
const decoder = new TextDecoder("utf-8", { fatal: true });

/** Whether a value of this many bytes, sealed if it is to be, fits into its record. */
export function fitsInline(key: string, bodyBytes: number): boolean {
  return bodyBytes + key.length * 3 + RECORD_OVERHEAD_BYTES <= KV_VALUE_BYTES_MAX;
}

/** Where the fixed part of a record, and a head, are put together: a view of each one's own would cost more than it. */
const scratch = new Uint8Array(HEADER_BYTES + GROUP_BYTES + CHUNKED_BYTES);
const scratchView = new DataView(scratch.buffer);

/** The bytes of a record. */
export function encodeRecord(record: ChangeRecord): Uint8Array {
  const { group, chunks, body, key, cause } = record;
  const head = HEADER_BYTES + (group ? GROUP_BYTES : 0) + (chunks ? CHUNKED_BYTES : 0);
  const bodyLength = body === undefined ? 0 : body.length;
  const keyLength = utf8Length(key);
  const causeBytes = cause === undefined ? undefined : encodeCause(cause);
  const keyAt = head + (causeBytes === undefined ? 0 : causeBytes.length);
  const whole = new Uint8Array(keyAt + keyLength + bodyLength);
  const view = scratchView;
  if (causeBytes !== undefined) whole.set(causeBytes, head);
  if (keyLength > key.length) encoder.encodeInto(key, whole.subarray(keyAt));
  else for (let i = 0; i < keyLength; i++) whole[keyAt + i] = key.charCodeAt(i);
  scratch[0] = record.form | (cause === undefined ? 0 : WITH_CAUSE);
  scratch[1] = record.kind | (group ? FIRST_OF_GROUP : 0) | (chunks ? CHUNKED : 0) |
    (body ? WITH_BODY : 0);
  view.setUint16(2, keyLength);
  view.setFloat64(4, record.previous);
  view.setFloat64(12, record.time);
  let at = HEADER_BYTES;
  if (group) {
    writeHex(scratch, at, group.writer);
    view.setFloat64(at + WRITER_BYTES, group.batch);
    at += GROUP_BYTES;
  }
  if (chunks) {
    writeHex(scratch, at, chunks.id);
    view.setUint16(at + CHUNK_ID_BYTES, chunks.count);
    view.setUint32(at + CHUNK_ID_BYTES + 2, chunks.length);
  }
  for (let i = 0; i < head; i++) whole[i] = scratch[i];
  if (body !== undefined) whole.set(body, keyAt + keyLength);
  return whole;
}

/** Where a cause is put together. What it says is of few kinds, all of the same length as the text. */
const causeScratch = new Uint8Array(CAUSE_HEAD_BYTES + 2 * (1 + CAUSE_TEXT_BYTES_MAX));
const causeView = new DataView(causeScratch.buffer);

/** The bytes of a cause: good until the next one is asked for. Texts that are too long are cut. */
export function encodeCause({ trace, because, by, verb }: Cause): Uint8Array {
  writeHex(causeScratch, 0, trace);
  causeView.setFloat64(TRACE_BYTES, because);
  return causeScratch.subarray(0, writeText(writeText(CAUSE_HEAD_BYTES, by), verb));
}

/** Puts a text and its length into the scratch of causes; where it ends. */
function writeText(at: number, text: string): number {
  const length = text.length <= CAUSE_TEXT_BYTES_MAX ? utf8Length(text) : Infinity;
  if (length === text.length) {
    for (let i = 0; i < length; i++) causeScratch[at + 1 + i] = text.charCodeAt(i);
    causeScratch[at] = length;
    return at + 1 + length;
  }
  const room = causeScratch.subarray(at + 1, at + 1 + CAUSE_TEXT_BYTES_MAX);
  return at + 1 + (causeScratch[at] = encoder.encodeInto(text, room).written);
}

/** The cause that begins at `at`, and where it ends. */
export function decodeCause(whole: Uint8Array, at = 0): { cause: Cause; end: number } {
  const view = new DataView(whole.buffer, whole.byteOffset, whole.byteLength);
  const trace = readHex(whole, at, TRACE_BYTES);
  const because = view.getFloat64(at + TRACE_BYTES);
  const byAt = at + CAUSE_HEAD_BYTES + 1;
  const verbAt = byAt + whole[byAt - 1] + 1;
  const end = verbAt + whole[verbAt - 1];
  if (!(end <= whole.length)) throw new TypeError("cut short");
  const by = decoder.decode(whole.subarray(byAt, verbAt - 1));
  const verb = decoder.decode(whole.subarray(verbAt, end));
  return { cause: { trace, because, by, verb }, end };
}

/** How many bytes a text takes. */
function utf8Length(text: string): number {
  for (let i = 0; i < text.length; i++) {
    if (text.charCodeAt(i) > 0x7f) return encoder.encode(text).length;
  }
  return text.length;
}

/** Takes a record apart. Throws DatabaseError for bytes that are none. */
export function decodeRecord(whole: unknown, revision: number): ChangeRecord {
  try {
    return decodeChecked(whole as Uint8Array);
  } catch (error) {
    throw new DatabaseError(`Cannot read the log record of revision ${revision}: it is torn`, {
      cause: error,
    });
  }
}

function decodeChecked(whole: Uint8Array): ChangeRecord {
  if (!(whole instanceof Uint8Array) || whole.length < HEADER_BYTES) {
    throw new TypeError("not a record");
  }
  const view = new DataView(whole.buffer, whole.byteOffset, whole.byteLength);
  const flags = whole[1];
  const kind = (flags & KIND_MASK) as Kind;
  const form = whole[0] & ~WITH_CAUSE;
  if (form > SEAL_FORM_MAX || kind < PUT || kind > INTERNAL_DELETE) {
    throw new TypeError("unknown kind");
  }
  let at = HEADER_BYTES;
  let group: GroupMark | undefined;
  if (flags & FIRST_OF_GROUP) {
    group = {
      writer: readHex(whole, at, WRITER_BYTES),
      batch: view.getFloat64(at + WRITER_BYTES),
    };
    at += GROUP_BYTES;
  }
  let chunks: Chunks | undefined;
  if (flags & CHUNKED) {
    chunks = {
      id: readHex(whole, at, CHUNK_ID_BYTES),
      count: view.getUint16(at + CHUNK_ID_BYTES),
      length: view.getUint32(at + CHUNK_ID_BYTES + 2),
    };
    at += CHUNKED_BYTES;
  }
  let cause: Cause | undefined;
  if (whole[0] & WITH_CAUSE) ({ cause, end: at } = decodeCause(whole, at));
  const bodyAt = at + view.getUint16(2);
  if (bodyAt > whole.length) throw new TypeError("cut short");
  return {
    kind,
    form,
    key: decoder.decode(whole.subarray(at, bodyAt)),
    previous: view.getFloat64(4),
    time: view.getFloat64(12),
    group,
    chunks,
    cause,
    body: flags & WITH_BODY ? whole.subarray(bodyAt) : undefined,
  };
}

/** The head: where the log ends, who put it there, and what the fold of the log must come to. */
export interface HeadRecord {
  readonly revision: number;
  readonly keys: number;
  readonly liveBytes: number;
  /** Sum of the revisions of all live objects, modulo 2^32: tells a lost record. */
  readonly sum: number;
  readonly writer: string;
  readonly batch: number;
}

const HEAD_BYTES = 1 + 5 * 8 + WRITER_BYTES;

/** The bytes of a head. */
export function encodeHead(head: HeadRecord): Uint8Array {
  const view = scratchView;
  scratch[0] = 0;
  view.setFloat64(1, head.revision);
  view.setFloat64(9, head.keys);
  view.setFloat64(17, head.liveBytes);
  view.setFloat64(25, head.sum);
  view.setFloat64(33, head.batch);
  writeHex(scratch, 41, head.writer);
  const whole = new Uint8Array(HEAD_BYTES);
  for (let i = 0; i < HEAD_BYTES; i++) whole[i] = scratch[i];
  return whole;
}

/** Takes a head apart. Throws DatabaseError for bytes that are none. */
export function decodeHead(whole: unknown): HeadRecord {
  if (!(whole instanceof Uint8Array) || whole.length !== HEAD_BYTES || whole[0] !== 0) {
    throw new DatabaseError("Cannot read the head of the log: it is torn");
  }
  const view = new DataView(whole.buffer, whole.byteOffset, whole.byteLength);
  return {
    revision: view.getFloat64(1),
    keys: view.getFloat64(9),
    liveBytes: view.getFloat64(17),
    sum: view.getFloat64(25),
    batch: view.getFloat64(33),
    writer: readHex(whole, 41, WRITER_BYTES),
  };
}

/** `body` cut into chunks. */
export function cutChunks(body: Uint8Array): Uint8Array[] {
  const chunks: Uint8Array[] = [];
  for (let at = 0; at < body.length; at += CHUNK_BYTES) {
    chunks.push(body.subarray(at, at + CHUNK_BYTES));
  }
  return chunks;
}

/** The chunks put together again. Throws DatabaseError when some are missing. */
export function joinChunks(parts: readonly Uint8Array[], chunks: Chunks): Uint8Array {
  const whole = new Uint8Array(chunks.length);
  let at = 0;
  for (const part of parts) {
    if (at + part.length > whole.length) break;
    whole.set(part, at);
    at += part.length;
  }
  if (parts.length !== chunks.count || at !== chunks.length) {
    throw new DatabaseError(
      `Cannot read an object of ${chunks.length} bytes: chunks are missing from the database`,
    );
  }
  return whole;
}

/** Bytes as hexadecimal digits. */
export function hexOf(bytes: Uint8Array): string {
  return readHex(bytes, 0, bytes.length);
}

function readHex(bytes: Uint8Array, at: number, length: number): string {
  let text = "";
  for (let i = at; i < at + length; i++) {
    if (i >= bytes.length) throw new TypeError("cut short");
    text += HEX[bytes[i]];
  }
  return text;
}

function writeHex(bytes: Uint8Array, at: number, text: string): void {
  for (let i = 0; i < text.length; i += 2) {
    bytes[at + (i >> 1)] = digit(text.charCodeAt(i)) << 4 | digit(text.charCodeAt(i + 1));
  }
}

/** The value of a hexadecimal digit. */
function digit(code: number): number {
  return code <= 0x39 ? code - 0x30 : (code | 0x20) - 0x57;
}

const HEX: string[] = [];
for (let i = 0; i < 256; i++) HEX.push(i.toString(16).padStart(2, "0"));
