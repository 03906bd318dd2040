/** OpenAPI 3: one document a group-version, as `/openapi/v3/apis/<group>/<version>` serves it. */
import {
  basePath,
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

/** The keys of the documents of group-versions: `api/v1`, `apis/apps/v1`, … in order. */
export function openApiV3Paths(kinds: readonly Kind[]): string[] {
  const paths = new Set(kinds.map((k) => basePath(k.group, k.version).slice(1)));
  return [...paths].sort();
}

/** The document of one group-version; `kinds` may hold others too, which are left out. */
export function openApiV3(
  groupVersion: { group: string; version: string },
  kinds: readonly Kind[],
  release?: string,
): OpenApi {
  return atOnce(openApiV3Steps(groupVersion, kinds, release));
}

/** The same in steps: it is long. */
export function* openApiV3Steps(
  groupVersion: { group: string; version: string },
  kinds: readonly Kind[],
  release = "unversioned",
): Steps<OpenApi> {
  const { group, version } = groupVersion;
  const own = kinds.filter((k) => k.group === group && k.version === version);
  const custom = own.length > 0 && own.every((kind) => kind.custom);
  const definitions = new Definitions("v3", { group, version, custom });
  const paths: Record<string, Json> = {};
  const schemas = own[0]?.schemas;
  // Documents of custom kinds tell of them alone, as upstream's
  if (schemas && !custom) {
    const resources = resourcesPath(group, version);
    paths[resources.path] = rootV3(resources, definitions, schemas);
    // No path refers to what a watch sends.
    if (own.some((k) => k.verbs.includes("watch"))) definitions.ref(schemas, `${META}.WatchEvent`);
  }
  for (const kind of own) {
    yield;
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
  return yield* whole(paths, definitions, custom ? undefined : release);
}

/** The operation of a path that is of no kind. */
function rootV3(root: RootPath, definitions: Definitions, schemas: SchemaSet): OpenApi {
  const { description, id, tag, answer, produces = TYPES } = root;
  const schema = answer ? definitions.ref(schemas, answer) : { type: "string" };
  return {
    get: {
      description,
      operationId: id,
      responses: {
        200: { description: "OK", content: content(produces, schema) },
        401: { description: "Unauthorized" },
      },
      tags: [tag],
    },
  };
}

/** The document of a path that is of no kind; undefined for another key. */
export function openApiV3Root(
  key: string,
  kinds: readonly Kind[],
  release = "unversioned",
): OpenApi | undefined {
  const root = rootPaths(kinds).find((one) => one.key === key);
  const schemas = kinds.find((k) => !k.custom)?.schemas;
  if (!root || !schemas) return undefined;
  const definitions = new Definitions("v3");
  const paths = { [root.path]: rootV3(root, definitions, schemas) };
  return atOnce(whole(paths, definitions, release));
}

const SECURITY = {
  BearerToken: {
    description: "Bearer Token authentication",
    in: "header",
    name: "authorization",
    type: "apiKey",
  },
};

/** What upstream says of documents of custom kinds. */
const CUSTOM_INFO = { title: "Kubernetes CRD Swagger", version: "v0.1.0" };

function* whole(
  paths: OpenApi,
  definitions: Definitions,
  release: string | undefined,
): Steps<OpenApi> {
  const info = release === undefined ? CUSTOM_INFO : { title: "Kubernetes", version: release };
  const schemas = yield* definitions.finish();
  return {
    openapi: "3.0.0",
    info,
    paths: Object.fromEntries(Object.entries(paths).sort(([a], [b]) => a < b ? -1 : 1)),
    components: {
      ...(Object.keys(schemas).length > 0 && { schemas }),
      ...(release !== undefined && { securitySchemes: SECURITY }),
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
      : kind.custom
      ? TYPES.filter((t) => !t.includes("protobuf"))
      : ["*/*"];
    const request: OpenApi = { content: content(types, schemaOf(body.content, kind, definitions)) };
    if (body.required) request.required = true;
    out.requestBody = request;
  }
  const answer = schemaOf(operation.answer, kind, definitions);
  const built = kind.custom ? TYPES.filter((t) => !t.includes("protobuf")) : TYPES;
  const types = operation.produces ?? [
    ...operation.alsoText ? ["text/plain"] : [],
    ...built,
    ...operation.stream ? STREAMS : [],
  ];
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
