/**
 * The OpenAPI 2 document in protobuf, as older kubectl and Helm ask for it: gnostic's `openapi.v2.Document`.
 *
 * Written backwards, so each function names its fields from the highest number down.
 */
import { atOnce, type OpenApi, type Steps } from "./openapi_schema.ts";
import { BackwardWriter } from "./protobuf_write.ts";
import type { Json } from "./types.ts";

type Write<T> = (out: BackwardWriter, value: T) => void;

/** Encodes a document that `openApiV2` made. */
export function openApiV2Protobuf(document: OpenApi): Uint8Array<ArrayBuffer> {
  return atOnce(openApiV2ProtobufSteps(document));
}

/** The same in steps: it is long. */
export function* openApiV2ProtobufSteps(document: OpenApi): Steps<Uint8Array<ArrayBuffer>> {
  const out = new BackwardWriter(1 << 20);
  const definitions = document.securityDefinitions as Record<string, OpenApi> | undefined;
  if (definitions) message(out, 13, definitions, writeSecurityDefinitions);
  each(out, 12, document.security as OpenApi[] | undefined, writeRequirement);
  yield* section(out, { number: 9, entry: 1 }, document.definitions as Entries, writeSchema);
  yield* section(out, { number: 8, entry: 2 }, document.paths as Entries, writePath);
  message(out, 2, document.info as OpenApi, writeInfo);
  text(out, 1, document.swagger);
  return out.finish();
}

function writeRequirement(out: BackwardWriter, requirement: OpenApi): void {
  named(out, 1, requirement as Record<string, string[]>, (o, scopes) => texts(o, 1, scopes));
}

type Entries = Record<string, OpenApi>;

/** A message of named entries, a step for each. */
function* section(
  out: BackwardWriter,
  { number, entry }: { number: number; entry: number },
  entries: Entries,
  write: Write<OpenApi>,
): Steps<void> {
  const end = out.length;
  for (const name of Object.keys(entries).reverse()) {
    named(out, entry, { [name]: entries[name] }, write);
    yield;
  }
  out.close(number, end);
}

function writeInfo(out: BackwardWriter, info: OpenApi): void {
  text(out, 2, info.version);
  text(out, 1, info.title);
}

function message<T>(out: BackwardWriter, number: number, value: T, write: Write<T>): void {
  const end = out.length;
  write(out, value);
  out.close(number, end);
}

function each<T>(
  out: BackwardWriter,
  number: number,
  values: readonly T[] | undefined,
  write: Write<T>,
): void {
  for (let i = (values?.length ?? 0) - 1; i >= 0; i--) message(out, number, values![i], write);
}

/** A map as repeated pairs of name (1) and value (2). */
function named<T>(
  out: BackwardWriter,
  number: number,
  values: Record<string, T>,
  write: Write<T>,
): void {
  each(out, number, Object.keys(values), (o, name) => {
    message(o, 2, values[name], write);
    o.textField(1, name);
  });
}

function text(out: BackwardWriter, number: number, value: Json | undefined): void {
  if (typeof value === "string" && value !== "") out.textField(number, value);
}

function texts(out: BackwardWriter, number: number, values: Json | undefined): void {
  const list = (values ?? []) as string[];
  for (let i = list.length - 1; i >= 0; i--) out.textField(number, list[i]);
}

function flag(out: BackwardWriter, number: number, value: Json | undefined): void {
  if (value === true) out.varintField(number, 1);
}

function integer(out: BackwardWriter, number: number, value: Json | undefined): void {
  if (typeof value === "number" && value !== 0) out.varintField(number, value);
}

function double(out: BackwardWriter, number: number, value: Json | undefined): void {
  if (typeof value !== "number" || value === 0) return;
  out.double(value);
  out.tag(number, 1);
}

/** gnostic's Any: the value as YAML; JSON is YAML. */
function any(out: BackwardWriter, value: Json): void {
  out.textField(2, `${JSON.stringify(value)}\n`);
}

function vendorExtensions(out: BackwardWriter, number: number, value: OpenApi): void {
  const found: Record<string, Json> = {};
  for (const key in value) if (key.startsWith("x-")) found[key] = value[key];
  named(out, number, found, any);
}

function writeSecurityDefinitions(out: BackwardWriter, value: Record<string, OpenApi>): void {
  named(out, 1, value, (o, item) => {
    message(o, 2, item, (w, key) => {
      text(w, 4, key.description);
      text(w, 3, key.in);
      text(w, 2, key.name);
      text(w, 1, key.type);
    });
  });
}

const METHODS: readonly [number, string][] = [
  [8, "patch"],
  [7, "head"],
  [6, "options"],
  [5, "delete"],
  [4, "post"],
  [3, "put"],
  [2, "get"],
];

function writePath(out: BackwardWriter, path: OpenApi): void {
  each(out, 9, path.parameters as OpenApi[] | undefined, writeParameter);
  for (const [number, method] of METHODS) {
    const operation = path[method] as OpenApi | undefined;
    if (operation) message(out, number, operation, writeOperation);
  }
}

function writeOperation(out: BackwardWriter, operation: OpenApi): void {
  vendorExtensions(out, 13, operation);
  texts(out, 10, operation.schemes);
  message(out, 9, operation.responses as Record<string, OpenApi>, (o, responses) => {
    named(o, 1, responses, (w, response) => message(w, 1, response, writeResponse));
  });
  each(out, 8, operation.parameters as OpenApi[] | undefined, writeParameter);
  texts(out, 7, operation.consumes);
  texts(out, 6, operation.produces);
  text(out, 5, operation.operationId);
  text(out, 3, operation.description);
  texts(out, 1, operation.tags);
}

function writeResponse(out: BackwardWriter, response: OpenApi): void {
  const schema = response.schema as OpenApi | undefined;
  if (schema) message(out, 2, schema, (o, s) => message(o, 1, s, writeSchema));
  text(out, 1, response.description);
}

/** A ParametersItem: a parameter, which is a body or something else, which is in the query or the path. */
function writeParameter(out: BackwardWriter, parameter: OpenApi): void {
  message(out, 1, parameter, (o, p) => {
    if (p.in === "body") return message(o, 1, p, writeBody);
    const inQuery = p.in === "query";
    message(o, 2, p, (w, q) => message(w, inQuery ? 3 : 4, q, inQuery ? writeQuery : writeInPath));
  });
}

function writeBody(out: BackwardWriter, body: OpenApi): void {
  message(out, 5, body.schema as OpenApi, writeSchema);
  flag(out, 4, body.required);
  text(out, 3, body.in);
  text(out, 2, body.name);
  text(out, 1, body.description);
}

function writeQuery(out: BackwardWriter, query: OpenApi): void {
  flag(out, 20, query.uniqueItems);
  text(out, 6, query.type);
  writeHead(out, query);
}

function writeInPath(out: BackwardWriter, parameter: OpenApi): void {
  flag(out, 19, parameter.uniqueItems);
  text(out, 5, parameter.type);
  writeHead(out, parameter);
}

function writeHead(out: BackwardWriter, parameter: OpenApi): void {
  text(out, 4, parameter.name);
  text(out, 3, parameter.description);
  text(out, 2, parameter.in);
  flag(out, 1, parameter.required);
}

function writeSchema(out: BackwardWriter, schema: OpenApi): void {
  vendorExtensions(out, 31, schema);
  const properties = schema.properties as Record<string, OpenApi> | undefined;
  if (properties) message(out, 25, properties, (o, p) => named(o, 1, p, writeSchema));
  each(out, 24, schema.allOf as OpenApi[] | undefined, writeSchema);
  const items = schema.items as OpenApi | undefined;
  if (items) message(out, 23, items, (o, i) => message(o, 1, i, writeSchema));
  if (schema.type !== undefined) {
    message(out, 22, schema.type, (o, t) => texts(o, 1, Array.isArray(t) ? t : [t]));
  }
  const additional = schema.additionalProperties as OpenApi | boolean | undefined;
  if (additional !== undefined) {
    message(out, 21, additional, (o, a) => {
      if (typeof a === "boolean") o.varintField(2, a ? 1 : 0);
      else message(o, 1, a, writeSchema);
    });
  }
  each(out, 20, schema.enum as Json[] | undefined, any);
  texts(out, 19, schema.required);
  integer(out, 18, schema.minProperties);
  integer(out, 17, schema.maxProperties);
  flag(out, 16, schema.uniqueItems);
  integer(out, 15, schema.minItems);
  integer(out, 14, schema.maxItems);
  text(out, 13, schema.pattern);
  integer(out, 12, schema.minLength);
  integer(out, 11, schema.maxLength);
  flag(out, 10, schema.exclusiveMinimum);
  double(out, 9, schema.minimum);
  flag(out, 8, schema.exclusiveMaximum);
  double(out, 7, schema.maximum);
  double(out, 6, schema.multipleOf);
  text(out, 4, schema.description);
  text(out, 3, schema.title);
  text(out, 2, schema.format);
  text(out, 1, schema.$ref);
}
