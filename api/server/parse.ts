/** The wire formats, as the rest of the server uses them: JSON, YAML and protobuf to values and back. */
import { schemas } from "../kinds/schemas.ts";
import { badRequest, notAcceptable } from "../machinery/errors.ts";
import { parseJson as readJson } from "../machinery/json.ts";
import {
  fromProtobuf,
  listEnvelope,
  ProtobufError,
  toEnvelope,
  toProtobuf,
  unwrapUnknown,
  watchFrame,
} from "../machinery/protobuf.ts";
import type { Json, Kind, KubeObject } from "../machinery/types.ts";
import { parseYaml as readYaml, toYaml } from "../machinery/yaml.ts";
import { apiVersionOf } from "./codec.ts";

const encoder = new TextEncoder();

/** A parsed body; paths of duplicate keys come beside the value. */
export interface Parsed {
  value: Json;
  duplicates: string[];
}

/** Parses JSON; throws an error with Go's text. */
export function parseRawJson(bytes: Uint8Array): Parsed {
  return readJson(bytes) as Parsed;
}

/** Parses JSON; throws 400 with Go's text. */
export function parseJson(bytes: Uint8Array): Parsed {
  try {
    return readJson(bytes) as Parsed;
  } catch (error) {
    throw badRequest(`couldn't get version/kind; json parse error: ${(error as Error).message}`);
  }
}

/** Parses one YAML document. JSON is YAML too, and read as such when it looks like it: that is faster. */
export function parseYaml(bytes: Uint8Array): Parsed {
  if (bytes[0] === 0x7b) {
    try {
      return readJson(bytes) as Parsed;
    } catch {
      // Not JSON after all: a flow mapping
    }
  }
  try {
    return readYaml(bytes) as Parsed;
  } catch (error) {
    throw badRequest(`error decoding YAML: ${(error as Error).message}`);
  }
}

/** Writes YAML. */
export function yamlBytes(value: unknown): Uint8Array {
  return encoder.encode(toYaml(value));
}

/** A type that protobuf can be read or written by. */
export type Form = Pick<Kind, "group" | "version" | "kind" | "schema" | "schemas">;

const META = "io.k8s.apimachinery.pkg.apis.meta.v1.";

/** A type of meta.k8s.io. */
function metaForm(kind: string): Form {
  return { group: "meta.k8s.io", version: "v1", kind, schema: META + kind, schemas };
}

/** What every answer may be that is not of the kind that was asked for. */
const META_FORMS: Readonly<Record<string, Form>> = {
  Status: metaForm("Status"),
  PartialObjectMetadata: metaForm("PartialObjectMetadata"),
  PartialObjectMetadataList: metaForm("PartialObjectMetadataList"),
};

/** Reads a protobuf body. A body of another kind is not read: its type is all that is returned. */
export function parseProtobuf(form: Form, bytes: Uint8Array): Json {
  try {
    const { apiVersion, kind, raw, contentType } = unwrapUnknown(bytes);
    if (contentType === "application/json") return parseJson(raw).value;
    if (kind !== "" && kind !== form.kind) return { apiVersion, kind };
    const value = fromProtobuf(form.schemas, form.schema, raw) as { [key: string]: Json };
    if (apiVersion) value.apiVersion = apiVersion;
    if (kind) value.kind = kind;
    return value;
  } catch (error) {
    if (error instanceof ProtobufError) throw badRequest(error.message);
    throw error;
  }
}

/** Writes an object as protobuf; `form` tells what it is, where its kind does not. */
export function protobufOf(form: Form | undefined, value: KubeObject): Uint8Array {
  const known = META_FORMS[value.kind] ?? form;
  if (!known) throw notAcceptable(["application/json", "application/yaml"]);
  return toEnvelope(known.schemas, known.schema, value);
}

/** One item of a list as protobuf, without an envelope. */
export function protobufItem(kind: Kind, object: object): Uint8Array {
  return toProtobuf(kind.schemas, kind.schema, object);
}

/** A list as protobuf, of items that are encoded already. */
export function protobufList(
  kind: Kind,
  listKind: string,
  meta: object,
  items: readonly Uint8Array[],
): Uint8Array {
  const metadata = toProtobuf(schemas, `${META}ListMeta`, meta);
  return listEnvelope(apiVersionOf(kind), listKind, metadata, items);
}

/** Writes a watch event as protobuf, with its length before it. */
export function protobufEvent(type: string, form: Form | undefined, object: unknown): Uint8Array {
  return watchFrame(type, protobufOf(form, object as KubeObject));
}
