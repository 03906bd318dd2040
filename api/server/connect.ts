/**
 * Admission of connections: exec, attach, port-forward and proxies are not writes, but webhooks may have a say in who is
 * connected to what. They are shown the options of the connection (upstream: endpoints/handlers/rest.go, ConnectResource).
 */
import type { Kind, KubeObject } from "../machinery/types.ts";
import { admissionOf, mutate, review } from "./admit.ts";
import { formOf } from "./decoding.ts";
import type { Deps } from "./deps.ts";
import type { ApiRequest } from "./request.ts";

/** The connection's options as an object of the kind that the subresource names. */
function optionsOf(form: Kind, request: ApiRequest): KubeObject {
  const object = { apiVersion: form.version, kind: form.kind } as KubeObject;
  const query = request.params.raw ?? new URLSearchParams();
  for (const [name, field] of Object.entries(form.schemas[form.schema].properties ?? {})) {
    const given = query.getAll(name);
    if (name === "apiVersion" || name === "kind") continue;
    if (name === "path") {
      if (request.rest) object.path = request.rest;
    } else if (given.length === 0) continue;
    else if (field.type === "array") {
      object[name] = field.items?.type === "integer" ? given.map(Number) : given;
    } else if (field.type === "boolean") {
      if (given[0] !== "false" && given[0] !== "0") object[name] = true;
    } else object[name] = given[0];
  }
  return object;
}

/** Asks admission about a connection; throws what it refuses with. */
export async function admitConnection(deps: Deps, request: ApiRequest): Promise<void> {
  const row = request.kind.subresources.find((one) => one.name === request.subresource);
  if (!row?.kind) return;
  const form = formOf(row.kind.group, row.kind.version, row.kind.kind);
  const object = optionsOf(form, request);
  const admission = admissionOf(deps, request, { operation: "CONNECT", object, form });
  await mutate(deps, admission);
  await review(deps, admission);
}
