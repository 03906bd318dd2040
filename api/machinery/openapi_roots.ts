/**
 * What OpenAPI says of paths that are of no kind: versions, groups, the resources of a group-version, what tells of
 * tokens. Each path is a document of its own in the third version, and all are part of the second.
 */
import { basePath, idPart, tagOf } from "./openapi_paths.ts";
import type { Kind } from "./types.ts";

/** One such path, which answers GET. */
export interface RootPath {
  /** The document's key in the index: `apis/apps`. */
  key: string;
  path: string;
  id: string;
  description: string;
  tag: string;
  /** The definition of the answer; absent: text. */
  answer?: string;
  /** What is read and sent, where not what objects are. */
  consumes?: string[] | null;
  produces?: string[];
}

const META = "io.k8s.apimachinery.pkg.apis.meta.v1";
const JSON_TYPE = "application/json";

const FIXED: readonly RootPath[] = [
  {
    key: ".well-known/openid-configuration",
    path: "/.well-known/openid-configuration/",
    id: "getServiceAccountIssuerOpenIDConfiguration",
    description: "get what the issuer of ServiceAccount tokens says of itself (OIDC discovery)",
    tag: "WellKnown",
    consumes: null,
    produces: [JSON_TYPE],
  },
  {
    key: "openid/v1/jwks",
    path: "/openid/v1/jwks/",
    id: "getServiceAccountIssuerOpenIDKeyset",
    description: "get the public keys that verify ServiceAccount tokens (JSON Web Key Set)",
    tag: "openid",
    consumes: null,
    produces: ["application/jwk-set+json"],
  },
  {
    key: "api",
    path: "/api/",
    id: "getCoreAPIVersions",
    description: "get available API versions",
    tag: "core",
    answer: `${META}.APIVersions`,
  },
  {
    key: "apis",
    path: "/apis/",
    id: "getAPIVersions",
    description: "get available API versions",
    tag: "apis",
    answer: `${META}.APIGroupList`,
  },
  {
    key: "version",
    path: "/version/",
    id: "getCodeVersion",
    description: "get the version of this server",
    tag: "version",
    answer: "io.k8s.apimachinery.pkg.version.Info",
    consumes: [JSON_TYPE],
    produces: [JSON_TYPE],
  },
];

/** The paths beside those of kinds, without those of group-versions. */
export function rootPaths(kinds: readonly Kind[]): RootPath[] {
  const groups = new Set(kinds.filter((k) => k.group && !k.custom).map((k) => k.group));
  const ofGroups = [...groups].map((group): RootPath => ({
    key: `apis/${group}`,
    path: `/apis/${group}/`,
    id: `get${idPart(group, "")}APIGroup`,
    description: "get information of a group",
    tag: tagOf(group, "").replace(/_$/, ""),
    answer: `${META}.APIGroup`,
  }));
  return [...FIXED, ...ofGroups];
}

/** The path of a group-version's list of resources. */
export function resourcesPath(group: string, version: string): RootPath {
  return {
    key: basePath(group, version).slice(1),
    path: `${basePath(group, version)}/`,
    id: `get${idPart(group, version)}APIResources`,
    description: "get available resources",
    tag: tagOf(group, version),
    answer: `${META}.APIResourceList`,
  };
}
