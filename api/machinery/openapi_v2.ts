/** OpenAPI 2: one document of everything, as `/openapi/v2` serves it to older clients. */
import {
  type Content,
  type Operation,
  type Parameter,
  pathsOf,
  shared,
  tagOf,
} from "./openapi_paths.ts";
import {
  atOnce,
  builtInDefinition,
  Definitions,
  type OpenApi,
  type Steps,
} from "./openapi_schema.ts";
import { resourcesPath, type RootPath, rootPaths } from "./openapi_roots.ts";
import type { Json, Kind, SchemaSet } from "./types.ts";

const TYPES = ["application/json", "application/yaml", "application/vnd.kubernetes.protobuf"];
const STREAMS = [
  "application/json;stream=watch",
  "application/vnd.kubernetes.protobuf;stream=watch",
];
const PATCH_TYPES = [
  "application/json-patch+json",
  "application/merge-patch+json",
  "application/strategic-merge-patch+json",
  "application/apply-patch+yaml",
];
const WATCH_EVENT = "io.k8s.apimachinery.pkg.apis.meta.v1.WatchEvent";
const REASONS: Record<number, string> = { 200: "OK", 201: "Created", 202: "Accepted" };

/** The document. `version` is the server's, such as `1.36`. */
export function openApiV2(kinds: readonly Kind[], version?: string): OpenApi {
  return atOnce(openApiV2Steps(kinds, version));
}

/** The same in steps: it is long. */
export function* openApiV2Steps(
  kinds: readonly Kind[],
  version = "unversioned",
): Steps<OpenApi> {
  const definitions = new Definitions("v2");
  const paths: Record<string, Json> = {};
  const watched = kinds.find((k) => k.verbs.includes("watch"));
  if (watched) definitions.ref(watched.schemas, WATCH_EVENT);
  const schemas = kinds.find((k) => !k.custom)?.schemas;
  const versions = new Map(
    kinds.filter((k) => !k.custom).map((k) => [`${k.group}/${k.version}`, k]),
  );
  if (schemas) {
    const roots = [...versions.values()].map((k) => resourcesPath(k.group, k.version));
    for (const root of [...rootPaths(kinds), ...roots]) {
      paths[root.path] = { get: rootV2(root, definitions, schemas) };
    }
  }
  for (const kind of kinds) {
    yield;
    if (kind.custom) definitions.kind(kind);
    for (const entry of pathsOf(kind, builtInDefinition)) {
      const { common, own } = shared(entry.operations);
      const item: OpenApi = {};
      for (const operation of entry.operations) {
        item[operation.method] = operationV2(operation, own(operation), kind, definitions);
      }
      if (common.length > 0) item.parameters = common.map(parameterV2);
      paths[entry.path] = item;
    }
  }
  return {
    swagger: "2.0",
    info: { title: "Kubernetes", version },
    paths: Object.fromEntries(Object.entries(paths).sort(([a], [b]) => a < b ? -1 : 1)),
    definitions: yield* definitions.finish(),
    securityDefinitions: {
      BearerToken: {
        description: "Bearer Token authentication",
        in: "header",
        name: "authorization",
        type: "apiKey",
      },
    },
    security: [{ BearerToken: [] }],
  };
}

function rootV2(root: RootPath, definitions: Definitions, schemas: SchemaSet): OpenApi {
  const { description, id, tag, answer, produces = TYPES, consumes = TYPES } = root;
  const schema = answer ? definitions.ref(schemas, answer) : { type: "string" };
  return {
    description,
    ...(consumes && { consumes }),
    operationId: id,
    produces,
    responses: { 200: { description: "OK", schema }, 401: { description: "Unauthorized" } },
    schemes: ["https"],
    tags: [tag],
  };
}

function parameterV2(parameter: Parameter): OpenApi {
  const out: OpenApi = {
    name: parameter.name,
    in: parameter.in,
    type: parameter.type,
    uniqueItems: true,
  };
  if (parameter.description) out.description = parameter.description;
  if (parameter.in === "path") out.required = true;
  return out;
}

function schemaOf(what: Content, kind: Kind, definitions: Definitions): OpenApi {
  switch (what.is) {
    case "kind":
      return definitions.kind(what.kind);
    case "list":
      return definitions.list(what.kind);
    case "definition":
      return definitions.ref(kind.schemas, what.name);
    case "text":
      return { type: "string" };
  }
}

function operationV2(
  operation: Operation,
  own: Parameter[],
  kind: Kind,
  definitions: Definitions,
): OpenApi {
  const { body } = operation;
  const parameters: OpenApi[] = own.map(parameterV2);
  if (body) {
    const parameter: OpenApi = {
      name: "body",
      in: "body",
      schema: schemaOf(body.content, kind, definitions),
    };
    if (body.required) parameter.required = true;
    parameters.unshift(parameter);
  }
  const built = kind.custom ? TYPES.slice(0, 2) : TYPES;
  const responses: OpenApi = {};
  for (const code of operation.codes) {
    responses[code] = {
      description: REASONS[code],
      schema: schemaOf(operation.answer, kind, definitions),
    };
  }
  responses[401] = { description: "Unauthorized" };
  const out: OpenApi = {
    consumes: body?.patch
      ? PATCH_TYPES.filter((t) => !(kind.custom && t.includes("strategic")))
      : kind.custom
      ? TYPES.slice(0, 2)
      : ["*/*"],
    description: operation.description,
    operationId: operation.id,
    produces: operation.produces ?? [
      ...operation.alsoText ? ["text/plain"] : [],
      ...built,
      ...operation.stream ? STREAMS : [],
    ],
    responses,
    schemes: ["https"],
    tags: [tagOf(kind.group, kind.version)],
  };
  if (parameters.length > 0) out.parameters = parameters;
  if (operation.action) out["x-kubernetes-action"] = operation.action;
  if (operation.gvk) out["x-kubernetes-group-version-kind"] = { ...operation.gvk };
  return out;
}
