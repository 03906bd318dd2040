/**
 * Bodies of requests: bytes and a content type to JSON values, patches and delete options. Whatever is wrong
 * with them is the client's to hear of, as a 4xx in upstream's words.
 */
import { schemas } from "../kinds/schemas.ts";
import type { Patch } from "../client/contract.ts";
import { badRequest, invalid, unsupportedMediaType } from "../machinery/errors.ts";
import { summarize } from "../machinery/json_summary.ts";
import { decodeWith, TYPE_META } from "../machinery/schema.ts";
import { ApiError, type Json, type Kind } from "../machinery/types.ts";
import { bodyMedia, JSON_TYPE, PROTOBUF_TYPE, YAML_TYPE } from "./negotiate.ts";
import {
  type Form,
  type Parsed,
  parseJson,
  parseProtobuf,
  parseRawJson,
  parseYaml,
} from "./parse.ts";
import { CUSTOM_PATCH_TYPES, PATCH_TYPES } from "./patching.ts";
import type { Body, DeleteOptions } from "./request.ts";

/** Reads a body that holds an object. */
export function readBody(
  kind: Form & { custom?: boolean },
  bytes: Uint8Array,
  contentType: string | undefined,
): Body {
  const media = bodyMedia(contentType);
  if (!media) throw unsupportedMediaType([JSON_TYPE, YAML_TYPE, PROTOBUF_TYPE]);
  if (media === "protobuf") {
    if (kind.custom) throw unsupportedMediaType([JSON_TYPE, YAML_TYPE]);
    return { value: parseProtobuf(kind, bytes), shared: false, duplicates: [] };
  }
  try {
    const { value, duplicates } = media === "yaml" ? parseYaml(bytes) : parseJson(bytes);
    if (kind.custom && (value === null || isMap(value)) && !value?.kind) {
      throw new Error(`Object 'Kind' is missing in '${new TextDecoder().decode(bytes)}'`);
    }
    return { value: value ?? {}, shared: false, duplicates };
  } catch (error) {
    throw badRequest(
      `the object provided is unrecognized (must be of type ${kind.kind}): ` +
        `${(error as Error).message} (${summarize(bytes)})`,
    );
  }
}

/** Reads a patch. `note` is told of keys that are there twice, before what comes of them is known. */
export function readPatch(
  kind: Kind,
  bytes: Uint8Array,
  contentType = "",
  note?: (duplicates: string[], apply: boolean) => void,
): Patch {
  const end = contentType.indexOf(";");
  const type = (end < 0 ? contentType : contentType.slice(0, end)).trim().toLowerCase();
  const accepted = kind.custom ? CUSTOM_PATCH_TYPES : PATCH_TYPES;
  if (!accepted.includes(type)) {
    throw kind.custom ? unsupportedMediaType(accepted) : UNSUPPORTED_BY_ROUTE;
  }
  if (type === "application/apply-patch+yaml") {
    const { value, duplicates } = parseYaml(bytes);
    if (duplicates.length) note?.(duplicates, true);
    const body = value ?? {};
    if (!isMap(body)) {
      throw badRequest(
        `error decoding YAML: error unmarshaling JSON: while decoding JSON: ${notA(body, GO_MAP)}`,
      );
    }
    return { type: "apply", body };
  }
  const prefix = type === "application/strategic-merge-patch+json" ? "" : "error decoding patch: ";
  const { value, duplicates } = parsePatch(bytes, prefix);
  if (duplicates.length) note?.(duplicates, false);
  if (type === "application/json-patch+json") {
    if (value === null) return { type: "json", body: [] };
    if (!Array.isArray(value)) throw badRequest(prefix + notA(value, "[]handlers.jsonPatchOp"));
    return { type: "json", body: value };
  }
  if (value !== null && !isMap(value)) throw badRequest(prefix + notA(value, GO_MAP));
  if (type === "application/strategic-merge-patch+json") {
    return { type: "strategic", body: value ?? {} };
  }
  if (value === null) throw badRequest("Invalid JSON Patch");
  return { type: "merge", body: value };
}

const GO_MAP = "map[string]interface {}";

/** What Go's JSON decoder says of a value of the wrong type. */
function notA(value: Json, wanted: string): string {
  const given = Array.isArray(value) ? "array" : typeof value;
  const name = given === "boolean" ? "bool" : given;
  return `json: cannot unmarshal ${name} into Go value of type ${wanted}`;
}

function parsePatch(bytes: Uint8Array, prefix: string): Parsed {
  try {
    return parseRawJson(bytes);
  } catch (error) {
    throw badRequest(prefix + (error as Error).message);
  }
}

/** Of built-in kinds it is the router that refuses a patch's type. */
const UNSUPPORTED_BY_ROUTE = new ApiError({
  code: 415,
  reason: "UnsupportedMediaType",
  message: "415: Unsupported Media Type",
  details: {},
});

function isMap(value: unknown): value is { [key: string]: Json } {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

const DELETE_OPTIONS = "io.k8s.apimachinery.pkg.apis.meta.v1.DeleteOptions";

/** Reads DeleteOptions from a body, or from the query when there is none. */
export function readDeleteOptions(
  bytes: Uint8Array,
  contentType: string | undefined,
  query: URLSearchParams | undefined,
): DeleteOptions {
  const given = bytes.length > 0 ? optionsInBody(bytes, contentType) : optionsInQuery(query);
  const { gracePeriodSeconds, propagationPolicy, orphanDependents, dryRun } = given;
  checkOptions(given);
  return {
    gracePeriodSeconds,
    propagationPolicy: propagationPolicy || undefined,
    orphanDependents,
    preconditions: given.preconditions,
    dryRun: (dryRun?.length ?? 0) > 0,
  };
}

interface RawOptions {
  gracePeriodSeconds?: number;
  propagationPolicy?: "Orphan" | "Background" | "Foreground";
  orphanDependents?: boolean;
  preconditions?: { uid?: string; resourceVersion?: string };
  dryRun?: string[];
}

const FORM = {
  group: "",
  version: "v1",
  kind: "DeleteOptions",
  schema: DELETE_OPTIONS,
  schemas,
};

function optionsInBody(bytes: Uint8Array, contentType: string | undefined): RawOptions {
  const media = bodyMedia(contentType);
  if (!media) throw unsupportedMediaType([JSON_TYPE, YAML_TYPE, PROTOBUF_TYPE]);
  const value = media === "protobuf"
    ? parseProtobuf(FORM, bytes)
    : (media === "yaml" ? parseYaml(bytes) : parseJson(bytes)).value;
  if (value === null) return {};
  if (!isMap(value)) {
    throw badRequest(`couldn't get version/kind; json parse error: ${notA(value, TYPE_META)}`);
  }
  const { kind, apiVersion } = value;
  if (typeof kind === "string" && kind !== "" && kind !== "DeleteOptions") {
    throw badRequest(
      `no kind ${JSON.stringify(kind)} is registered for version ${
        JSON.stringify(apiVersion ?? "")
      } ` + `in scheme "pkg/runtime/scheme.go:111"`,
    );
  }
  try {
    return decodeWith<RawOptions>(schemas, DELETE_OPTIONS, value).object;
  } catch (error) {
    throw badRequest(error instanceof Error ? error.message : String(error));
  }
}

function optionsInQuery(query: URLSearchParams | undefined): RawOptions {
  if (!query) return {};
  const grace = query.get("gracePeriodSeconds");
  if (grace !== null && !/^-?[0-9]{1,15}$/.test(grace)) {
    throw badRequest(`strconv.ParseInt: parsing ${JSON.stringify(grace)}: invalid syntax`);
  }
  const policy = query.get("propagationPolicy");
  const orphan = query.get("orphanDependents");
  return {
    gracePeriodSeconds: grace === null ? undefined : Number(grace),
    propagationPolicy: (policy ?? undefined) as RawOptions["propagationPolicy"],
    orphanDependents: orphan === null ? undefined : orphan !== "false" && orphan !== "0",
    dryRun: query.getAll("dryRun"),
  };
}

function checkOptions(options: RawOptions): void {
  const refuse = (reason: string, message: string, field: string) => {
    throw invalid("meta.k8s.io", "DeleteOptions", "", [{ reason, message, field }]);
  };
  const { propagationPolicy: policy, orphanDependents, dryRun } = options;
  if (policy && orphanDependents !== undefined) {
    refuse(
      "FieldValueInvalid",
      `Invalid value: ${JSON.stringify(policy)}: ` +
        "orphanDependents and deletionPropagation cannot be both set",
      "propagationPolicy",
    );
  }
  if (
    policy !== undefined && policy !== "Orphan" && policy !== "Background" &&
    policy !== "Foreground"
  ) {
    refuse(
      "FieldValueNotSupported",
      `Unsupported value: ${JSON.stringify(policy)}: supported values: ` +
        `"Foreground", "Background", "Orphan", "nil"`,
      "propagationPolicy",
    );
  }
  if (dryRun?.some((value) => value !== "All")) {
    refuse(
      "FieldValueNotSupported",
      `Unsupported value: ${JSON.stringify(dryRun)}: supported values: "All"`,
      "dryRun",
    );
  }
}
