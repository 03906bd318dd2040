/** OpenAPI 3: one document a group-version, as `/openapi/v3/apis/<group>/<version>` serves it. */
import {
  basePath,
  type Content,
  idPart,
  type Operation,
  type Parameter,
  pathsOf,
  shared,
  tagOf,
} from "./openapi_paths.ts";
import { builtInDefinition, Definitions, type OpenApi } from "./openapi_schema.ts";
import type { Json, Kind, SchemaSet } from "./types.ts";

const TYPES = ["application/json", "application/vnd.kubernetes.protobuf", "application/yaml"];
const STREAMS = [
  "application/json;stream=watch",
  "application/vnd.kubernetes.protobuf;stream=watch",
];
const PATCH_TYPES = [
  "application/apply-patch+yaml",
  "application/json-patch+json",
  "application/merge-patch+json",
  "application/strategic-merge-patch+json",
];
const META = "io.k8s.apimachinery.pkg.apis.meta.v1";
const REASONS: Record<number, string> = { 200: "OK", 201: "Created", 202: "Accepted" };

/** The keys of the index: `api/v1`, `apis/apps/v1`, … in order. */
export function openApiV3Paths(kinds: readonly Kind[]): string[] {
  const paths = new Set(kinds.map((k) => basePath(k.group, k.version).slice(1)));
  return [...paths].sort();
}

/** The document of one group-version; `kinds` may hold others too, which are left out. */
export function openApiV3(
  groupVersion: { group: string; version: string },
  kinds: readonly Kind[],
): OpenApi {
  const { group, version } = groupVersion;
  const own = kinds.filter((k) => k.group === group && k.version === version);
  const definitions = new Definitions("v3");
  const paths: Record<string, Json> = {};
  const schemas = own[0]?.schemas;
  if (schemas) {
    paths[`${basePath(group, version)}/`] = resourcesPath(group, version, definitions, schemas);
    // No path refers to what a watch sends.
    if (own.some((k) => k.verbs.includes("watch"))) definitions.ref(schemas, `${META}.WatchEvent`);
  }
  for (const kind of own) {
    if (kind.custom) definitions.kind(kind);
    for (const entry of pathsOf(kind, builtInDefinition)) {
      const { common, own: rest } = shared(entry.operations);
      const item: OpenApi = {};
      for (const operation of entry.operations) {
        item[operation.method] = operationV3(operation, rest(operation), kind, definitions);
      }
      if (common.length > 0) item.parameters = common.map(parameterV3);
      paths[entry.path] = item;
    }
  }
  return {
    openapi: "3.0.0",
    info: { title: "Kubernetes", version: "unversioned" },
    paths: Object.fromEntries(Object.entries(paths).sort(([a], [b]) => a < b ? -1 : 1)),
    components: {
      schemas: definitions.finish(),
      securitySchemes: {
        BearerToken: {
          description: "Bearer Token authentication",
          in: "header",
          name: "authorization",
          type: "apiKey",
        },
      },
    },
  };
}

function resourcesPath(
  group: string,
  version: string,
  definitions: Definitions,
  schemas: SchemaSet,
): OpenApi {
  const schema = definitions.ref(schemas, `${META}.APIResourceList`);
  return {
    get: {
      description: "get available resources",
      operationId: `get${idPart(group, version)}APIResources`,
      responses: {
        200: { description: "OK", content: content(TYPES, schema) },
        401: { description: "Unauthorized" },
      },
      tags: [tagOf(group, version)],
    },
  };
}

function content(types: readonly string[], schema: OpenApi): OpenApi {
  return Object.fromEntries(types.map((type) => [type, { schema }]));
}

function parameterV3(parameter: Parameter): OpenApi {
  const out: OpenApi = {
    name: parameter.name,
    in: parameter.in,
    schema: { type: parameter.type, uniqueItems: true },
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

function operationV3(
  operation: Operation,
  parameters: Parameter[],
  kind: Kind,
  definitions: Definitions,
): OpenApi {
  const out: OpenApi = { description: operation.description, operationId: operation.id };
  if (parameters.length > 0) out.parameters = parameters.map(parameterV3);
  const { body } = operation;
  if (body) {
    const types = body.patch
      ? PATCH_TYPES.filter((t) => !(kind.custom && t.includes("strategic")))
      : ["*/*"];
    const request: OpenApi = { content: content(types, schemaOf(body.content, kind, definitions)) };
    if (body.required) request.required = true;
    out.requestBody = request;
  }
  const answer = schemaOf(operation.answer, kind, definitions);
  const built = kind.custom ? TYPES.filter((t) => !t.includes("protobuf")) : TYPES;
  const types = operation.produces ?? (operation.stream ? [...built, ...STREAMS] : built);
  const responses: OpenApi = {};
  for (const code of operation.codes) {
    responses[code] = { description: REASONS[code], content: content(types, answer) };
  }
  responses[401] = { description: "Unauthorized" };
  out.responses = responses;
  out.tags = [tagOf(kind.group, kind.version)];
  if (operation.action) out["x-kubernetes-action"] = operation.action;
  if (operation.gvk) out["x-kubernetes-group-version-kind"] = { ...operation.gvk };
  return out;
}
