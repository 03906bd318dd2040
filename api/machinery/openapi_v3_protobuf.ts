/**
 * OpenAPI 3 documents in protobuf, as client-go may ask for them: gnostic's `openapi.v3.Document`. The messages are a
 * table; of what documents can hold it lists what ours do (`openapi_v3.ts`).
 *
 * Written backwards, so each message lists its fields from the highest number down.
 */
import { atOnce, type OpenApi, type Steps } from "./openapi_schema.ts";
import { BackwardWriter } from "./protobuf_write.ts";
import type { Json } from "./types.ts";

/** How a field is written. */
type Write = (out: BackwardWriter, number: number, value: Json) => void;
/** A field's number, its name in JSON, and how it is written. */
type Field = readonly [number: number, name: string, write: Write];

/** Fields of a message; asked for late, as messages hold each other. */
type Fields = () => readonly Field[];

const text: Write = (out, number, value) => {
  if (value !== "") out.textField(number, value as string);
};
const flag: Write = (out, number, value) => {
  if (value === true) out.varintField(number, 1);
};
const integer: Write = (out, number, value) => {
  if (value !== 0) out.varintField(number, value as number);
};
const double: Write = (out, number, value) => {
  if (value !== 0) writeDouble(out, number, value as number);
};
const texts: Write = (out, number, value) => {
  for (const one of (value as string[]).toReversed()) out.textField(number, one);
};
/** gnostic's Any: the value as YAML; JSON is YAML. */
const any: Write = (out, number, value) =>
  enclosed(out, number, () => out.textField(2, `${JSON.stringify(value)}\n`));

function writeDouble(out: BackwardWriter, number: number, value: number): void {
  out.double(value);
  out.tag(number, 1);
}

function enclosed(out: BackwardWriter, number: number, write: () => void): void {
  const end = out.length;
  write();
  out.close(number, end);
}

/** A message of those fields; `extended`: where what begins with `x-` goes. */
function message(fields: Fields, extended?: number): Write {
  return (out, number, value) =>
    enclosed(out, number, () => {
      if (extended) extensions(out, extended, value as OpenApi);
      for (const [at, name, write] of fields()) {
        const field = (value as OpenApi)[name];
        if (field !== undefined) write(out, at, field);
      }
    });
}

function extensions(out: BackwardWriter, number: number, value: OpenApi): void {
  const found: OpenApi = {};
  for (const name in value) if (name.startsWith("x-")) found[name] = value[name];
  named(any)(out, number, found);
}

/** Of a list, each one. */
function each(write: Write): Write {
  return (out, number, value) => {
    for (const one of (value as Json[]).toReversed()) write(out, number, one);
  };
}

/** A map as repeated pairs of name (1) and value (2). */
function named(write: Write): Write {
  return (out, number, value) => {
    for (const name of Object.keys(value as OpenApi).reverse()) {
      enclosed(out, number, () => {
        write(out, 2, (value as OpenApi)[name]);
        out.textField(1, name);
      });
    }
  };
}

/** A message that holds nothing but something else, under a number. */
function within(at: number, write: Write): Write {
  return (out, number, value) => enclosed(out, number, () => write(out, at, value));
}

const reference = message(() => [[1, "$ref", text]]);

/** Something (1), or a reference to it (2). */
function orReference(write: Write): Write {
  return (out, number, value) =>
    enclosed(out, number, () => {
      if ((value as OpenApi).$ref === undefined) write(out, 1, value);
      else reference(out, 2, value);
    });
}

const plainSchema: Write = message(
  (): readonly Field[] => [
    [35, "format", text],
    [34, "description", text],
    [33, "default", fallback],
    [32, "additionalProperties", additional],
    [31, "properties", within(1, named(schema))],
    [30, "items", within(1, schema)],
    [29, "not", plainSchema],
    [28, "anyOf", each(schema)],
    [27, "oneOf", each(schema)],
    [26, "allOf", each(schema)],
    [25, "type", text],
    [24, "enum", each(any)],
    [23, "required", texts],
    [22, "minProperties", integer],
    [21, "maxProperties", integer],
    [20, "uniqueItems", flag],
    [19, "minItems", integer],
    [18, "maxItems", integer],
    [17, "pattern", text],
    [16, "minLength", integer],
    [15, "maxLength", integer],
    [14, "exclusiveMinimum", flag],
    [13, "minimum", double],
    [12, "exclusiveMaximum", flag],
    [11, "maximum", double],
    [10, "multipleOf", double],
    [9, "title", text],
    [7, "example", any],
    [1, "nullable", flag],
  ],
  36,
);
const schema: Write = orReference(plainSchema);

/** A DefaultType: gnostic has none but scalar ones, and leaves others empty. */
function fallback(out: BackwardWriter, number: number, value: Json): void {
  enclosed(out, number, () => {
    if (typeof value === "string") out.textField(3, value);
    else if (typeof value === "boolean") out.varintField(2, value ? 1 : 0);
    else if (typeof value === "number") writeDouble(out, 1, value);
  });
}

function additional(out: BackwardWriter, number: number, value: Json): void {
  enclosed(out, number, () => {
    if (typeof value === "boolean") out.varintField(2, value ? 1 : 0);
    else schema(out, 1, value);
  });
}

const content = within(1, named(message(() => [[1, "schema", schema]])));

const parameter = orReference(message(
  () => [
    [10, "schema", schema],
    [4, "required", flag],
    [3, "description", text],
    [2, "in", text],
    [1, "name", text],
  ],
  14,
));

const response = orReference(message(() => [[3, "content", content], [1, "description", text]], 5));

const body = orReference(message(
  () => [[3, "required", flag], [2, "content", content], [1, "description", text]],
  4,
));

const operation = message(
  () => [
    [10, "deprecated", flag],
    [8, "responses", (out, number, value) => enclosed(out, number, () => responses(out, value))],
    [7, "requestBody", body],
    [6, "parameters", each(parameter)],
    [5, "operationId", text],
    [3, "description", text],
    [2, "summary", text],
    [1, "tags", texts],
  ],
  13,
);

function responses(out: BackwardWriter, value: Json): void {
  const { default: other, ...byCode } = value as OpenApi;
  named(response)(out, 2, byCode);
  if (other !== undefined) response(out, 1, other);
}

const path = message(
  () => [
    [13, "parameters", each(parameter)],
    [10, "patch", operation],
    [9, "head", operation],
    [8, "options", operation],
    [7, "delete", operation],
    [6, "post", operation],
    [5, "put", operation],
    [4, "get", operation],
    [3, "description", text],
  ],
  15,
);

const securityScheme = orReference(message(
  () => [[4, "in", text], [3, "name", text], [2, "description", text], [1, "type", text]],
  9,
));

const requirement = named((out, number, value) =>
  enclosed(out, number, () => texts(out, 1, value))
);

const info = message(() => [[6, "version", text], [2, "description", text], [1, "title", text]], 7);

/** Encodes a document that `openApiV3` made. */
export function openApiV3Protobuf(document: OpenApi): Uint8Array<ArrayBuffer> {
  return atOnce(openApiV3ProtobufSteps(document));
}

/** The same in steps: it is long. */
export function* openApiV3ProtobufSteps(document: OpenApi): Steps<Uint8Array<ArrayBuffer>> {
  const out = new BackwardWriter(1 << 18);
  const { openapi, info: about, paths = {}, components, security } = document;
  if (security) each(within(1, requirement))(out, 6, security);
  if (components) {
    const end = out.length;
    const { schemas = {}, securitySchemes } = components as Record<string, OpenApi>;
    if (securitySchemes) within(1, named(securityScheme))(out, 7, securitySchemes);
    yield* entries(out, { number: 1, entry: 1 }, schemas, schema);
    out.close(5, end);
  }
  yield* entries(out, { number: 4, entry: 1 }, paths as OpenApi, path);
  info(out, 2, about);
  text(out, 1, openapi);
  return out.finish();
}

/** A message of named entries, a step for each. */
function* entries(
  out: BackwardWriter,
  { number, entry }: { number: number; entry: number },
  found: OpenApi,
  write: Write,
): Steps<void> {
  const end = out.length;
  for (const name of Object.keys(found).reverse()) {
    named(write)(out, entry, { [name]: found[name] });
    yield;
  }
  out.close(number, end);
}
