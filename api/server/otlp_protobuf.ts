/**
 * OTLP's messages in protobuf (opentelemetry.proto.collector.{trace,metrics}.v1): made of the very objects that are
 * OTLP's JSON, by a table of each field's number and form.
 */
import { BackwardWriter } from "../machinery/protobuf_write.ts";

/** How a field is written: a scalar, a list of scalars in one piece, or (a list of) another message. */
type Form =
  | "text"
  | "hex"
  | "bool"
  | "varint"
  | "fixed64"
  | "double"
  | "fixed64s"
  | "doubles"
  | Message;
type Message = Readonly<Record<string, readonly [number: number, form: Form]>>;
type Values = Readonly<Record<string, unknown>>;

const FIXED_64 = 1;

const ATTRIBUTE: Message = {
  key: [1, "text"],
  value: [2, { stringValue: [1, "text"], intValue: [3, "varint"] }],
};
const RESOURCE: Message = { attributes: [1, ATTRIBUTE] };
const SCOPE: Message = { name: [1, "text"] };

const SPAN: Message = {
  traceId: [1, "hex"],
  spanId: [2, "hex"],
  parentSpanId: [4, "hex"],
  name: [5, "text"],
  kind: [6, "varint"],
  startTimeUnixNano: [7, "fixed64"],
  endTimeUnixNano: [8, "fixed64"],
  attributes: [9, ATTRIBUTE],
  events: [11, { timeUnixNano: [1, "fixed64"], name: [2, "text"] }],
  status: [15, { message: [2, "text"], code: [3, "varint"] }],
};

const NUMBER: Message = {
  startTimeUnixNano: [2, "fixed64"],
  timeUnixNano: [3, "fixed64"],
  asDouble: [4, "double"],
  attributes: [7, ATTRIBUTE],
};

const HISTOGRAM: Message = {
  startTimeUnixNano: [2, "fixed64"],
  timeUnixNano: [3, "fixed64"],
  count: [4, "fixed64"],
  sum: [5, "double"],
  bucketCounts: [6, "fixed64s"],
  explicitBounds: [7, "doubles"],
  attributes: [9, ATTRIBUTE],
};

const METRIC: Message = {
  name: [1, "text"],
  description: [2, "text"],
  gauge: [5, { dataPoints: [1, NUMBER] }],
  sum: [7, {
    dataPoints: [1, NUMBER],
    aggregationTemporality: [2, "varint"],
    isMonotonic: [3, "bool"],
  }],
  histogram: [9, { dataPoints: [1, HISTOGRAM], aggregationTemporality: [2, "varint"] }],
};

/** An ExportTraceServiceRequest or an ExportMetricsServiceRequest: each has its own list, in its first field. */
const REQUEST: Message = {
  resourceSpans: [1, {
    resource: [1, RESOURCE],
    scopeSpans: [2, { scope: [1, SCOPE], spans: [2, SPAN] }],
  }],
  resourceMetrics: [1, {
    resource: [1, RESOURCE],
    scopeMetrics: [2, { scope: [1, SCOPE], metrics: [2, METRIC] }],
  }],
};

/** What OTLP's JSON says, in protobuf. */
export function otlpProtobuf(request: object): Uint8Array<ArrayBuffer> {
  const out = new BackwardWriter();
  writeFields(out, REQUEST, request as Values);
  return out.finish();
}

/** Backwards, so that lengths are known when they are written. */
function writeFields(out: BackwardWriter, message: Message, values: Values): void {
  for (const name of Object.keys(values).reverse()) {
    const value = values[name];
    const field = message[name];
    if (!field) throw new TypeError(`OTLP has no field "${name}" there`);
    const [number, form] = field;
    if (Array.isArray(value) && typeof form === "object") {
      for (const item of value.toReversed()) writeOne(out, number, form, item);
    } else if (value !== undefined) writeOne(out, number, form, value);
  }
}

function writeOne(out: BackwardWriter, number: number, form: Form, value: unknown): void {
  const end = out.length;
  switch (form) {
    case "text":
      return out.textField(number, value as string);
    case "hex":
      return out.bytesField(number, Uint8Array.fromHex(value as string));
    case "bool":
    case "varint":
      return out.varintField(number, Number(value));
    case "double":
      out.double(value as number);
      return out.tag(number, FIXED_64);
    case "fixed64":
      writeFixed64(out, value as string);
      return out.tag(number, FIXED_64);
    case "doubles":
      for (const one of (value as number[]).toReversed()) out.double(one);
      return out.close(number, end);
    case "fixed64s":
      for (const one of (value as string[]).toReversed()) writeFixed64(out, one);
      return out.close(number, end);
    default:
      writeFields(out, form, value as Values);
      return out.close(number, end);
  }
}

/** A whole number of 64 bits, given in digits. */
function writeFixed64(out: BackwardWriter, digits: string): void {
  const bytes = new Uint8Array(8);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(digits), true);
  out.bytes(bytes);
}
