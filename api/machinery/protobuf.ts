/**
 * Kubernetes' protobuf: any object with a schema, both ways, and the two wrappings it travels in, the
 * envelope `k8s\0` + Unknown and the frames of a watch.
 */
import { protoPlanOf } from "./protobuf_plan.ts";
import { ProtobufError, Reader, readMessage } from "./protobuf_read.ts";
import { BackwardWriter, writeMessage } from "./protobuf_write.ts";
import type { SchemaSet } from "./types.ts";

export { ProtobufError } from "./protobuf_read.ts";

/** The media type. */
export const PROTOBUF_TYPE = "application/vnd.kubernetes.protobuf";

const MAGIC = [0x6b, 0x38, 0x73, 0x00];

type Values = Record<string, unknown>;

/** A message without envelope; apiVersion and kind are not in it. */
export function toProtobuf(
  schemas: SchemaSet,
  name: string,
  object: object,
): Uint8Array<ArrayBuffer> {
  const out = new BackwardWriter();
  writeMessage(out, protoPlanOf(schemas, name), object as Values);
  return out.finish();
}

/** An object of a message without envelope. Throws ProtobufError. */
export function fromProtobuf(schemas: SchemaSet, name: string, bytes: Uint8Array): Values {
  return readMessage(new Reader(bytes), protoPlanOf(schemas, name));
}

/** An object in its envelope, as it is sent. */
export function toEnvelope(
  schemas: SchemaSet,
  name: string,
  object: { apiVersion?: string; kind?: string },
): Uint8Array<ArrayBuffer> {
  const out = new BackwardWriter(4096);
  startEnvelope(out);
  const end = out.length;
  writeMessage(out, protoPlanOf(schemas, name), object as Values);
  endEnvelope(out, end, object.apiVersion ?? "", object.kind ?? "");
  return out.finish();
}

/** Wraps a message that is encoded already. */
export function wrapUnknown(
  apiVersion: string,
  kind: string,
  raw: Uint8Array,
): Uint8Array<ArrayBuffer> {
  const out = new BackwardWriter(raw.length + apiVersion.length + kind.length + 32);
  startEnvelope(out);
  const end = out.length;
  out.bytes(raw);
  endEnvelope(out, end, apiVersion, kind);
  return out.finish();
}

function startEnvelope(out: BackwardWriter): void {
  out.textField(4, "");
  out.textField(3, "");
}

function endEnvelope(out: BackwardWriter, end: number, apiVersion: string, kind: string): void {
  out.close(2, end);
  const typeEnd = out.length;
  out.textField(2, kind);
  out.textField(1, apiVersion);
  out.close(1, typeEnd);
  out.bytes(new Uint8Array(MAGIC));
}

/** What an envelope holds. */
export interface Unknown {
  apiVersion: string;
  kind: string;
  raw: Uint8Array;
  contentEncoding: string;
  /** Empty for protobuf; upstream's clients also send `application/json` here. */
  contentType: string;
}

/** Whether bytes begin as an envelope does. */
export function isEnvelope(bytes: Uint8Array): boolean {
  return bytes.length >= 4 && MAGIC.every((byte, i) => bytes[i] === byte);
}

/** Opens an envelope. Throws ProtobufError in upstream's words. */
export function unwrapUnknown(bytes: Uint8Array): Unknown {
  if (!isEnvelope(bytes)) {
    throw new ProtobufError(
      "provided data does not appear to be a protobuf message, expected prefix [107 56 115 0]",
    );
  }
  const out: Unknown = {
    apiVersion: "",
    kind: "",
    raw: new Uint8Array(),
    contentEncoding: "",
    contentType: "",
  };
  const reader = new Reader(bytes, MAGIC.length);
  while (!reader.done) {
    const tag = reader.varint();
    if ((tag & 7) !== 2) {
      reader.skip(tag & 7);
      continue;
    }
    switch (Math.floor(tag / 8)) {
      case 1:
        readTypeMeta(reader.inner(), out);
        break;
      case 2:
        out.raw = reader.inner().rest();
        break;
      case 3:
        out.contentEncoding = reader.text();
        break;
      case 4:
        out.contentType = reader.text();
        break;
      default:
        reader.skip(2);
    }
  }
  return out;
}

function readTypeMeta(reader: Reader, out: Unknown): void {
  while (!reader.done) {
    const tag = reader.varint();
    if (tag === 0x0a) out.apiVersion = reader.text();
    else if (tag === 0x12) out.kind = reader.text();
    else reader.skip(tag & 7);
  }
}

/**
 * One frame of a watch: its length in four bytes, then a WatchEvent without envelope whose object is
 * `envelope`, an object in its own.
 */
export function watchFrame(type: string, envelope: Uint8Array): Uint8Array<ArrayBuffer> {
  const out = new BackwardWriter(envelope.length + 48);
  const end = out.length;
  out.bytesField(1, envelope);
  out.close(2, end);
  out.textField(1, type);
  const length = out.length;
  out.bytes(new Uint8Array([length >>> 24, length >>> 16, length >>> 8, length]));
  return out.finish();
}

/**
 * A list in its envelope, from items that are encoded already (without envelopes): a list of thousands
 * need not be decoded and encoded again. `meta` is the encoded ListMeta.
 */
export function listEnvelope(
  apiVersion: string,
  listKind: string,
  meta: Uint8Array,
  items: readonly Uint8Array[],
): Uint8Array<ArrayBuffer> {
  let size = meta.length + 64;
  for (const item of items) size += item.length + 12;
  const out = new BackwardWriter(size);
  startEnvelope(out);
  const end = out.length;
  for (let i = items.length - 1; i >= 0; i--) out.bytesField(2, items[i]);
  out.bytesField(1, meta);
  endEnvelope(out, end, apiVersion, listKind);
  return out.finish();
}
