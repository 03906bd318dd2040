/** managedFields: who owns which field, noted at every write; and server-side apply, which goes by it. */
import {
  apply,
  type OtherVersion,
  resetFields,
  trackUpdate,
  type Writer,
} from "../machinery/apply/mod.ts";
import { without } from "../machinery/edit.ts";
import { badRequest } from "../machinery/errors.ts";
import type { DeepReadonly, Kind, KubeObject } from "../machinery/types.ts";
import { apiVersionOf, formsOf } from "./codec.ts";
import { decodeValue } from "./decoding.ts";
import { type Deps, timeText } from "./deps.ts";
import { hasSubresource } from "./prepare.ts";
import type { ApiRequest } from "./request.ts";

/** The field manager of a request. */
export function managerOf(request: ApiRequest): string {
  return request.params.fieldManager || request.agent;
}

/** What writes of the status leave as it is beside the spec (upstream: the strategies' GetResetFields). */
const STATUS_KEEPS: Readonly<Record<string, readonly (readonly string[])[]>> = {
  "deployments.apps": [["metadata", "labels"]],
  "pods.": [["metadata", "deletionTimestamp"], ["metadata", "ownerReferences"]],
};
const KEEP_METADATA = new Set([
  "validatingadmissionpolicies.admissionregistration.k8s.io",
  "flowschemas.flowcontrol.apiserver.k8s.io",
  "prioritylevelconfigurations.flowcontrol.apiserver.k8s.io",
  "servicecidrs.networking.k8s.io",
  "devicetaintrules.resource.k8s.io",
  "resourceclaims.resource.k8s.io",
  "volumeattachments.storage.k8s.io",
  "storageversionmigrations.storagemigration.k8s.io",
]);
const METADATA = [["metadata"]] as const;

/** Paths of an object that a write of its status does not change. */
export function statusKeeps(kind: Kind): readonly (readonly string[])[] | undefined {
  const name = `${kind.plural}.${kind.group}`;
  return kind.custom || KEEP_METADATA.has(name) ? METADATA : STATUS_KEEPS[name];
}

type Stored = DeepReadonly<KubeObject>;

/** The versions, other than the request's own, in which an object's fields have owners. */
function versionsOf(kind: Kind, old: Stored | undefined): string[] {
  const own = apiVersionOf(kind);
  const entries = (old?.metadata.managedFields ?? []) as readonly { apiVersion?: string }[];
  const others = entries.map(({ apiVersion }) => apiVersion).filter((one) => one && one !== own);
  return [...new Set(others)] as string[];
}

/** Whether there is any. */
function hasOtherVersions(kind: Kind, old: Stored | undefined): boolean {
  const own = apiVersionOf(kind);
  const entries = (old?.metadata.managedFields ?? []) as readonly { apiVersion?: string }[];
  return entries.some(({ apiVersion }) => apiVersion && apiVersion !== own);
}

/** The row of another version of a kind's objects, while it is served. */
function inVersion(deps: Deps, kind: Kind, apiVersion: string): Kind | undefined {
  const slash = apiVersion.indexOf("/");
  const [group, version] = [apiVersion.slice(0, Math.max(0, slash)), apiVersion.slice(slash + 1)];
  const other = deps.kinds.byKind(group, version, kind.kind);
  return other?.path === kind.path ? other : undefined;
}

/** Other versions as tracking asks for them: what a webhook converts must have been prepared. */
function otherVersion(deps: Deps, kind: Kind, apiVersion: string): OtherVersion | undefined {
  const other = inVersion(deps, kind, apiVersion);
  if (!other) return undefined;
  const convert = (object: Stored): KubeObject => {
    const known = formsOf(object).get(other);
    if (known) return known as KubeObject;
    const from = kind.storage;
    const stored = from ? from.toStorage(object as KubeObject) : object as KubeObject;
    return other.storage ? other.storage.fromStorage(stored) : stored;
  };
  return { schemas: other.schemas, schema: other.schema, convert };
}

/**
 * Converts, where a webhook does that, what tracking will compare in other versions. A conversion that fails leaves the
 * versions to be taken for alike, as upstream lets a write go on without it.
 */
export async function prepareTracking(
  deps: Deps,
  kind: Kind,
  old: Stored,
  object: Stored = old,
): Promise<void> {
  const convert = kind.storage?.convert;
  if (!convert) return;
  for (const apiVersion of versionsOf(kind, old)) {
    const other = inVersion(deps, kind, apiVersion);
    const todo = [old, object].filter((one) => other && !formsOf(one).has(other));
    if (!other || todo.length === 0) continue;
    const forms = await convert(todo, apiVersion).catch(() => undefined);
    forms?.forEach((form, i) => formsOf(todo[i]).set(other, form));
  }
}

function writerOf(deps: Deps, request: ApiRequest, old: Stored | undefined): Writer {
  const { kind, subresource } = request;
  const status = hasSubresource(kind, "status");
  const several = hasOtherVersions(kind, old);
  return {
    manager: managerOf(request),
    apiVersion: apiVersionOf(kind),
    time: timeText(deps.clock.now()),
    subresource: subresource || undefined,
    reset: resetFields(subresource, { status, withStatus: statusKeeps(kind) }),
    version: several ? (apiVersion) => otherVersion(deps, kind, apiVersion) : undefined,
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
  const entries = trackUpdate(schemas, schema, old, object, writerOf(deps, request, old));
  if (entries) object.metadata.managedFields = entries;
  else object.metadata = without(object.metadata, "managedFields");
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
    ...writerOf(deps, request, old),
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
