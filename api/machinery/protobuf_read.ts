/**
 * Protobuf to objects, in the form JSON decoding gives them: zero values that Go would leave out are left
 * out, what it always writes appears. Unknown fields are skipped. Errors are worded like upstream's.
 */
import {
  ANY,
  BOOLEAN,
  BYTES,
  DURATION,
  FIELDS_V1,
  fillOf,
  INT_OR_STRING,
  INTEGER,
  LIST,
  MAP,
  MICRO_TIME,
  NUMBER,
  type Plan,
  type PlanField,
  QUANTITY,
  RAW,
  SCHEMA_UNION,
  STRING,
  STRUCT,
  TIME,
  zeroOf,
} from "./plan.ts";
import { parseJson } from "./json.ts";
import { type ProtoPlan, protoPlan } from "./protobuf_plan.ts";
import { checkQuantity, ScalarProblem } from "./scalars.ts";
import { setOwn } from "./edit.ts";
import { DEPTH_MAX } from "./schema.ts";
import { formatDuration, formatTime } from "./time.ts";

type Values = Record<string, unknown>;

/** Bytes that are not the message they should be. */
export class ProtobufError extends Error {
  override name = "ProtobufError";
}

const DECODER = new TextDecoder("utf-8", { ignoreBOM: true });
const WIRE_VARINT = 0;
const WIRE_FIXED64 = 1;
const WIRE_BYTES = 2;
const WIRE_FIXED32 = 5;

/** A cursor over one message's bytes. */
export class Reader {
  readonly bytes: Uint8Array;
  at: number;
  readonly end: number;
  readonly depth: number;

  constructor(bytes: Uint8Array, at = 0, end = bytes.length, depth = 0) {
    if (depth > DEPTH_MAX) throw new ProtobufError("proto: exceeded max depth");
    this.bytes = bytes;
    this.at = at;
    this.end = end;
    this.depth = depth;
  }

  get done(): boolean {
    return this.at >= this.end;
  }

  /** An unsigned varint below 2^53, or the two's complement of a negative one as a negative number. */
  varint(): number {
    let low = 0;
    let shift = 1;
    for (let i = 0; i < 4; i++) {
      const byte = this.#byte();
      low += (byte & 127) * shift;
      if (byte < 128) return low;
      shift *= 128;
    }
    let high = 0;
    shift = 1;
    for (let i = 0; i < 6; i++) {
      const byte = this.#byte();
      high += (byte & 127) * shift;
      if (byte < 128) return combine(low, high);
      shift *= 128;
    }
    throw new ProtobufError("proto: integer overflow");
  }

  #byte(): number {
    if (this.at >= this.end) throw new ProtobufError("unexpected EOF");
    return this.bytes[this.at++];
  }

  /** The extent of a length-delimited field, as a reader of its own. */
  inner(): Reader {
    const length = this.varint();
    const start = this.at;
    if (length < 0 || start + length > this.end) {
      throw new ProtobufError(
        length < 0 ? "proto: negative length found during unmarshaling" : "unexpected EOF",
      );
    }
    this.at = start + length;
    return new Reader(this.bytes, start, this.at, this.depth + 1);
  }

  text(): string {
    const inner = this.inner();
    const { bytes, at, end } = inner;
    // Short and ASCII, as names are: the decoder's own cost is higher than this loop's.
    if (end - at < 24) {
      let text = "";
      let i = at;
      for (; i < end && bytes[i] < 128; i++) text += String.fromCharCode(bytes[i]);
      if (i === end) return text;
    }
    return DECODER.decode(bytes.subarray(at, end));
  }

  rest(): Uint8Array {
    return this.bytes.subarray(this.at, this.end);
  }

  double(): number {
    if (this.at + 8 > this.end) throw new ProtobufError("unexpected EOF");
    const view = new DataView(this.bytes.buffer, this.bytes.byteOffset + this.at, 8);
    this.at += 8;
    return view.getFloat64(0, true);
  }

  skip(wire: number): void {
    if (wire === WIRE_VARINT) this.varint();
    else if (wire === WIRE_BYTES) this.inner();
    else if (wire === WIRE_FIXED64) this.#jump(8);
    else if (wire === WIRE_FIXED32) this.#jump(4);
    else throw new ProtobufError(`proto: illegal wireType ${wire}`);
  }

  #jump(count: number): void {
    if (this.at + count > this.end) throw new ProtobufError("unexpected EOF");
    this.at += count;
  }
}

const TWO_28 = 2 ** 28;
const TWO_35 = 2 ** 35;

/** Of a varint's lowest 28 and the other bits. Ten bytes hold 64 bits and more: the rest is cut off. */
function combine(low: number, high: number): number {
  const bits = high % 2 ** 36;
  // Above 2^63 it is negative.
  return bits >= TWO_35 ? (bits - 2 * TWO_35) * TWO_28 + low : bits * TWO_28 + low;
}

/** Reads a message into an object as JSON decoding would have made it. */
export function readMessage(reader: Reader, message: ProtoPlan): Values {
  const out: Values = {};
  readInto(reader, message, out);
  for (const fill of message.plan.fills) {
    if (out[fill.name] === undefined) out[fill.name] = fillOf(fill);
  }
  return out;
}

function readInto(reader: Reader, message: ProtoPlan, out: Values): void {
  while (!reader.done) {
    const tag = reader.varint();
    const number = Math.floor(tag / 8);
    const wire = tag & 7;
    if (number <= 0) throw new ProtobufError(`proto: illegal tag ${number} (wire type ${wire})`);
    const entry = number < message.byNumber.length ? message.byNumber[number] : undefined;
    if (entry === undefined) reader.skip(wire);
    else if (entry.inline) {
      expect(wire, WIRE_BYTES, "inlined message");
      readInto(reader.inner(), entry.inline, out);
    } else readField(reader, wire, entry.field!, out);
  }
}

function expect(wire: number, wanted: number, name: string): void {
  if (wire !== wanted) throw new ProtobufError(`proto: wrong wireType = ${wire} for field ${name}`);
}

function readField(reader: Reader, wire: number, field: PlanField, out: Values): void {
  const plan = field.plan;
  const name = field.name;
  if (field.op === LIST && !plan.wrapped) {
    const list = (out[name] ??= []) as unknown[];
    if (wire === WIRE_BYTES && plan.items!.op === INTEGER) {
      for (const packed = reader.inner(); !packed.done;) list.push(packed.varint());
    } else list.push(readValue(reader, wire, plan.items!, name));
    return;
  }
  if (field.op === MAP) {
    expect(wire, WIRE_BYTES, name);
    readEntry(reader.inner(), plan.items!, name, (out[name] ??= {}) as Values);
    return;
  }
  const value = readValue(reader, wire, plan, name);
  if (value === undefined || (isZero(field.op, value) && field.omitEmpty && !field.pointer)) {
    // The last one counts, as in Go.
    if (out[name] !== undefined) delete out[name];
    return;
  }
  out[name] = value;
}

function isZero(op: number, value: unknown): boolean {
  return op <= BYTES && (value === "" || value === 0 || value === false);
}

function readEntry(reader: Reader, items: Plan, name: string, into: Values): void {
  let key = "";
  let value: unknown;
  while (!reader.done) {
    const tag = reader.varint();
    if (tag >> 3 === 1) {
      expect(tag & 7, WIRE_BYTES, name);
      key = reader.text();
    } else if (tag >> 3 === 2) value = readValue(reader, tag & 7, items, name);
    else reader.skip(tag & 7);
  }
  setOwn(into, key, value ?? zeroOf(items));
}

function readValue(reader: Reader, wire: number, plan: Plan, name: string): unknown {
  switch (plan.op) {
    case BOOLEAN:
      expect(wire, WIRE_VARINT, name);
      return reader.varint() !== 0;
    case INTEGER: {
      expect(wire, WIRE_VARINT, name);
      const value = reader.varint();
      return plan.format === "int32" ? value | 0 : value;
    }
    case NUMBER:
      expect(wire, WIRE_FIXED64, name);
      return reader.double();
  }
  expect(wire, WIRE_BYTES, name);
  if (plan.op === STRING) return reader.text();
  const inner = reader.inner();
  switch (plan.op) {
    case BYTES:
      return toBase64(inner.rest());
    case STRUCT:
      return readMessage(inner, protoPlan(plan));
    case FIELDS_V1:
    case RAW:
    case ANY:
      return readRaw(inner);
    case LIST:
      return readWrapped(inner, plan, name);
    case SCHEMA_UNION:
      return readUnion(inner, plan, name);
    default:
      return readSpecial(inner, plan.op);
  }
}

/** The fields of a small message of numbers and texts, by number. */
function smallFields(reader: Reader): (number | string)[] {
  const out: (number | string)[] = [];
  while (!reader.done) {
    const tag = reader.varint();
    const wire = tag & 7;
    if (wire === WIRE_VARINT) out[tag >> 3] = reader.varint();
    else if (wire === WIRE_BYTES) out[tag >> 3] = reader.text();
    else reader.skip(wire);
  }
  return out;
}

function readSpecial(reader: Reader, op: number): unknown {
  const empty = reader.done;
  const fields = smallFields(reader);
  switch (op) {
    case QUANTITY: {
      const value = checkQuantity(fields[1] ?? "0");
      if (value instanceof ScalarProblem) throw new ProtobufError(value.text);
      return value;
    }
    case INT_OR_STRING:
      return fields[1] === 1 ? String(fields[3] ?? "") : Number(fields[2] ?? 0) | 0;
    case TIME:
      return empty ? undefined : timeText(Number(fields[1] ?? 0));
    case MICRO_TIME: {
      if (empty) return undefined;
      const micros = Math.floor(Number(fields[2] ?? 0) / 1000);
      return `${timeText(Number(fields[1] ?? 0)).slice(0, 19)}.${String(micros).padStart(6, "0")}Z`;
    }
    case DURATION:
      return formatDuration(Number(fields[1] ?? 0) / 1e6);
    default:
      throw new ProtobufError("proto: unknown type");
  }
}

const SECONDS_MAX = 253402300799; // the end of year 9999

function timeText(seconds: number): string {
  if (!(seconds >= -62135596800 && seconds <= SECONDS_MAX)) {
    throw new ProtobufError("proto: time out of range");
  }
  return formatTime(seconds * 1000);
}

function readRaw(reader: Reader): unknown {
  while (!reader.done) {
    const tag = reader.varint();
    if (tag >> 3 !== 1 || (tag & 7) !== WIRE_BYTES) {
      reader.skip(tag & 7);
      continue;
    }
    const bytes = reader.inner().rest();
    if (bytes.length === 0) return undefined;
    try {
      return parseJson(bytes).value ?? undefined;
    } catch (error) {
      throw new ProtobufError(`proto: embedded object is not JSON: ${(error as Error).message}`);
    }
  }
  return undefined;
}

function readWrapped(reader: Reader, plan: Plan, name: string): unknown[] {
  const out: unknown[] = [];
  while (!reader.done) {
    const tag = reader.varint();
    if (tag >> 3 === 1) out.push(readValue(reader, tag & 7, plan.items!, name));
    else reader.skip(tag & 7);
  }
  return out;
}

function readUnion(reader: Reader, plan: Plan, name: string): unknown {
  let allows = false;
  let schema: unknown;
  const list: unknown[] = [];
  while (!reader.done) {
    const tag = reader.varint();
    const number = tag >> 3;
    const wire = tag & 7;
    if (plan.format === "schemaOrBool" && number === 1) {
      expect(wire, WIRE_VARINT, name);
      allows = reader.varint() !== 0;
    } else if (number === (plan.format === "schemaOrBool" ? 2 : 1)) {
      schema = readValue(reader, wire, plan.items!, name);
    } else if (number === 2) {
      if (plan.format === "schemaOrArray") list.push(readValue(reader, wire, plan.items!, name));
      else {
        expect(wire, WIRE_BYTES, name);
        list.push(reader.text());
      }
    } else reader.skip(wire);
  }
  if (plan.format === "schemaOrBool") return schema ?? allows;
  return list.length > 0 ? list : schema;
}

/** Bytes to base64. */
export function toBase64(bytes: Uint8Array): string {
  return bytes.toBase64();
}
