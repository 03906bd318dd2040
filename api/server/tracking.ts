/** managedFields: who owns which field, noted at every write; and server-side apply, which goes by it. */
import { apply, resetFields, trackUpdate, type Writer } from "../machinery/apply/mod.ts";
import { badRequest } from "../machinery/errors.ts";
import type { DeepReadonly, KubeObject } from "../machinery/types.ts";
import { apiVersionOf } from "./codec.ts";
import { decodeValue } from "./decoding.ts";
import { type Deps, timeText } from "./deps.ts";
import { hasSubresource } from "./prepare.ts";
import type { ApiRequest } from "./request.ts";

/** The field manager of a request. */
export function managerOf(request: ApiRequest): string {
  return request.params.fieldManager || request.agent;
}

function writerOf(deps: Deps, request: ApiRequest): Writer {
  const { kind, subresource } = request;
  const status = hasSubresource(kind, "status");
  return {
    manager: managerOf(request),
    apiVersion: apiVersionOf(kind),
    time: timeText(deps.clock.now()),
    subresource: subresource || undefined,
    reset: resetFields(subresource, { status }),
  };
}

/** Notes in `object` what this write set. */
export function tracked(
  deps: Deps,
  request: ApiRequest,
  old: DeepReadonly<KubeObject> | undefined,
  object: KubeObject,
): void {
  const { schemas, schema } = request.kind;
  const entries = trackUpdate(schemas, schema, old, object, writerOf(deps, request));
  if (entries) object.metadata.managedFields = entries;
  else delete object.metadata.managedFields;
}

/** Applies a request's configuration to an object, or to nothing: private, decoded and defaulted. */
export function applied(
  deps: Deps,
  request: ApiRequest,
  old: DeepReadonly<KubeObject> | undefined,
): { object: KubeObject; applied: boolean } {
  const { kind, patch } = request;
  if (patch?.type !== "apply") throw badRequest("the patch is not an apply configuration");
  const configuration = named(request, patch.body);
  const { object } = apply(kind.schemas, kind.schema, old, configuration, {
    ...writerOf(deps, request),
    kind: kind.kind,
    force: patch.force,
  });
  const managedFields = object.metadata.managedFields;
  const quiet = { ...request, warnings: [] };
  const made = decodeValue(quiet, kind, object);
  if (managedFields) made.metadata.managedFields = managedFields;
  return { object: made, applied: true };
}

/** An applied object is named by the path; a name in the configuration must be the same. */
function named(request: ApiRequest, body: Record<string, unknown>): Record<string, unknown> {
  const metadata = body.metadata as { name?: unknown } | null | undefined;
  const name = metadata?.name;
  if (name === request.name) return body;
  if (name === undefined || name === null) {
    if (metadata !== undefined && (typeof metadata !== "object" || Array.isArray(metadata))) {
      return body;
    }
    return { ...body, metadata: { ...metadata, name: request.name } };
  }
  throw badRequest(
    `the name of the object (${name}) does not match the name on the URL (${request.name})`,
  );
}
