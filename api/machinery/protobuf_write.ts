/**
 * Objects to protobuf, byte for byte as upstream's generated code writes them: fields by ascending number,
 * map keys sorted, scalars that are no pointers written even when zero. Written from the end backwards, so
 * that a message's length is known when its head is written.
 */
import {
  ANY,
  BOOLEAN,
  BYTES,
  DURATION,
  FIELDS_V1,
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
} from "./plan.ts";
import { type ProtoPlan, protoPlan } from "./protobuf_plan.ts";
import { parseDuration, parseTime } from "./time.ts";

type Values = Record<string, unknown>;

const ENCODER = new TextEncoder();
const VARINT = 0;
const FIXED64 = 1;
const BYTES_TYPE = 2;

/** A buffer kept for the next writer: most messages fit, and making one costs more than filling it. */
let spare: Uint8Array | undefined;
const SPARE_BYTES = 65536;

/** A buffer that fills from its end. */
export class BackwardWriter {
  #bytes: Uint8Array;
  #at: number;

  constructor(size = SPARE_BYTES) {
    this.#bytes = size <= SPARE_BYTES && spare || new Uint8Array(Math.max(size, SPARE_BYTES));
    spare = undefined;
    this.#at = this.#bytes.length;
  }

  /** How much has been written. */
  get length(): number {
    return this.#bytes.length - this.#at;
  }

  /** What has been written. Ends the writer. */
  finish(): Uint8Array<ArrayBuffer> {
    const made = this.#bytes.slice(this.#at) as Uint8Array<ArrayBuffer>;
    if (this.#bytes.length === SPARE_BYTES) spare = this.#bytes;
    this.#bytes = made;
    this.#at = 0;
    return made;
  }

  #room(count: number): void {
    if (this.#at >= count) return;
    const used = this.length;
    const bytes = new Uint8Array(Math.max(this.#bytes.length * 2, used + count));
    bytes.set(this.#bytes.subarray(this.#at), bytes.length - used);
    this.#at = bytes.length - used;
    this.#bytes = bytes;
  }

  bytes(value: Uint8Array): void {
    this.#room(value.length);
    this.#at -= value.length;
    this.#bytes.set(value, this.#at);
  }

  /** UTF-8 without a length. */
  text(value: string): void {
    const length = value.length;
    this.#room(length);
    const bytes = this.#bytes;
    let at = this.#at;
    for (let i = length - 1; i >= 0; i--) {
      const code = value.charCodeAt(i);
      if (code > 127) {
        this.bytes(ENCODER.encode(value));
        return;
      }
      bytes[--at] = code;
    }
    this.#at = at;
  }

  varint(value: number): void {
    if (value >= 0 && value < 128) {
      if (this.#at === 0) this.#room(1);
      this.#bytes[--this.#at] = value;
      return;
    }
    if (value < 0) return this.#negative(value);
    let length = 1;
    for (let rest = value; rest > 127; rest = Math.floor(rest / 128)) length++;
    this.#room(length);
    let at = this.#at -= length;
    let rest = value;
    while (rest > 0x7fffffff) {
      this.#bytes[at++] = (rest % 128) | 128;
      rest = Math.floor(rest / 128);
    }
    while (rest > 127) {
      this.#bytes[at++] = (rest & 127) | 128;
      rest >>>= 7;
    }
    this.#bytes[at] = rest;
  }

  #negative(value: number): void {
    this.#room(10);
    this.#at -= 10;
    let rest = BigInt.asUintN(64, BigInt(value));
    for (let i = 0; i < 10; i++) {
      this.#bytes[this.#at + i] = Number(rest & 127n) | (i < 9 ? 128 : 0);
      rest >>= 7n;
    }
  }

  double(value: number): void {
    this.#room(8);
    this.#at -= 8;
    new DataView(this.#bytes.buffer).setFloat64(this.#at, value, true);
  }

  tag(number: number, wire: number): void {
    if (number < 16 && this.#at > 0) this.#bytes[--this.#at] = (number << 3) | wire;
    else this.varint(number * 8 + wire);
  }

  /** Ends what was written since `end` (a former `length`) as a length-delimited field. */
  close(number: number, end: number): void {
    this.varint(this.length - end);
    this.tag(number, BYTES_TYPE);
  }

  textField(number: number, value: string): void {
    const end = this.length;
    this.text(value);
    this.close(number, end);
  }

  bytesField(number: number, value: Uint8Array): void {
    const end = this.length;
    this.bytes(value);
    this.close(number, end);
  }

  varintField(number: number, value: number): void {
    this.varint(value);
    this.tag(number, VARINT);
  }
}

/** Writes a message's fields. */
export function writeMessage(out: BackwardWriter, message: ProtoPlan, object: Values): void {
  const entries = message.entries;
  for (let i = entries.length - 1; i >= 0; i--) {
    const entry = entries[i];
    if (entry.inline) {
      const end = out.length;
      writeMessage(out, entry.inline, object);
      out.close(entry.number, end);
    } else writeField(out, entry.number, entry.field!, object[entry.field!.name]);
  }
}

/** Whether Go's zero value of a field that is no pointer is written. */
function hasZero(op: number): boolean {
  return op <= STRUCT && op !== BYTES || op === RAW;
}

function writeField(out: BackwardWriter, number: number, field: PlanField, value: unknown): void {
  if (value === undefined || value === null) {
    if (field.pointer || !hasZero(field.op)) return;
    writeValue(out, number, field.plan, zeroFor(field.op));
    return;
  }
  const plan = field.plan;
  if (field.op === LIST && !plan.wrapped) {
    const items = value as unknown[];
    for (let i = items.length - 1; i >= 0; i--) writeValue(out, number, plan.items!, items[i]);
  } else if (field.op === MAP) writeMap(out, number, plan.items!, value as Values);
  else writeValue(out, number, plan, value);
}

const EMPTY = Object.freeze({});

function zeroFor(op: number): unknown {
  switch (op) {
    case STRING:
      return "";
    case BOOLEAN:
      return false;
    case STRUCT:
      return EMPTY;
    case QUANTITY:
      return "0";
    case TIME:
    case MICRO_TIME:
    case RAW:
      return null;
    case DURATION:
      return "0s";
    default:
      return 0;
  }
}

function writeMap(out: BackwardWriter, number: number, items: Plan, value: Values): void {
  const keys = Object.keys(value);
  if (keys.length > 1) keys.sort();
  for (let i = keys.length - 1; i >= 0; i--) {
    const end = out.length;
    writeValue(out, 2, items, value[keys[i]]);
    out.textField(1, keys[i]);
    out.close(number, end);
  }
}

/** Writes one value with its tag. */
function writeValue(out: BackwardWriter, number: number, plan: Plan, value: unknown): void {
  switch (plan.op) {
    case STRING:
      return out.textField(number, value as string);
    case BOOLEAN:
      return out.varintField(number, value ? 1 : 0);
    case INTEGER:
      return out.varintField(number, value as number);
    case NUMBER:
      out.double(value as number);
      return out.tag(number, FIXED64);
    case BYTES:
      return out.bytesField(number, fromBase64(value as string));
  }
  const end = out.length;
  writeContent(out, plan, value);
  out.close(number, end);
}

/** The content of what is a message in protobuf. */
function writeContent(out: BackwardWriter, plan: Plan, value: unknown): void {
  switch (plan.op) {
    case STRUCT:
      return writeMessage(out, protoPlan(plan), value as Values);
    case QUANTITY:
      return out.textField(1, String(value));
    case INT_OR_STRING:
      out.textField(3, typeof value === "string" ? value : "");
      out.varintField(2, typeof value === "string" ? 0 : value as number);
      return out.varintField(1, typeof value === "string" ? 1 : 0);
    case TIME:
    case MICRO_TIME:
      return writeTime(out, value as string | null);
    case DURATION:
      return out.varintField(1, Math.round(parseDuration(value as string) * 1e6));
    case FIELDS_V1:
    case RAW:
    case ANY:
      if (value !== null) out.textField(1, JSON.stringify(value));
      return;
    case LIST: {
      const items = value as unknown[];
      for (let i = items.length - 1; i >= 0; i--) writeValue(out, 1, plan.items!, items[i]);
      return;
    }
    case SCHEMA_UNION:
      return writeUnion(out, plan, value);
    default:
      throw new Error(`protobuf has no ${plan.goType}`);
  }
}

function writeTime(out: BackwardWriter, value: string | null): void {
  if (value === null) return;
  if (value.length === 20 && value.endsWith("Z")) {
    // The canonical form, which the engine reads faster.
    const seconds = Date.parse(value) / 1000;
    if (!Number.isNaN(seconds)) {
      out.varintField(2, 0);
      return out.varintField(1, seconds);
    }
  }
  const ms = parseTime(value);
  if (ms === undefined) throw new Error(`not a time: ${value}`);
  const seconds = Math.floor(ms / 1000);
  const digits = /\.(\d{1,9})/.exec(value)?.[1] ?? "";
  out.varintField(2, Number(digits.padEnd(9, "0")));
  out.varintField(1, seconds);
}

function writeUnion(out: BackwardWriter, plan: Plan, value: unknown): void {
  const schema = plan.items!;
  if (plan.format === "schemaOrBool") {
    if (typeof value === "object") writeValue(out, 2, schema, value);
    return out.varintField(1, value ? 1 : 0);
  }
  if (!Array.isArray(value)) return writeValue(out, 1, schema, value);
  for (let i = value.length - 1; i >= 0; i--) {
    if (plan.format === "schemaOrArray") writeValue(out, 2, schema, value[i]);
    else out.textField(2, value[i]);
  }
}

/** Base64 to bytes. */
export function fromBase64(text: string): Uint8Array {
  return Uint8Array.fromBase64(text);
}
