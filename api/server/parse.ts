/** The wire formats, as the rest of the server uses them: JSON, YAML and protobuf to values and back. */
import { badRequest, notAcceptable } from "../machinery/errors.ts";
import { parseJson as readJson } from "../machinery/json.ts";
import type { Json, Kind, KubeObject } from "../machinery/types.ts";
import { parseYaml as readYaml, toYaml } from "../machinery/yaml.ts";

const encoder = new TextEncoder();

/** A parsed body; paths of duplicate keys come beside the value. */
export interface Parsed {
  value: Json;
  duplicates: string[];
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

/** Reads a protobuf body. */
export function parseProtobuf(
  _kind: Pick<Kind, "group" | "version" | "kind" | "schema" | "schemas">,
  _bytes: Uint8Array,
): Json {
  throw badRequest("protobuf is not ready");
}

/** Writes an object as protobuf. */
export function protobufOf(_form: Kind | undefined, _value: KubeObject): Uint8Array {
  throw notAcceptable(["application/json"]);
}

/** Writes a watch event as protobuf, with its length before it. */
export function protobufEvent(
  _type: string,
  _form: Kind | undefined,
  _object: unknown,
): Uint8Array {
  throw notAcceptable(["application/json"]);
}
