/**
 * What mutating webhooks and policies may not have done to an object: system metadata is checked once more when they
 * have run, in the words in which upstream refuses it then.
 */
import { invalid } from "../machinery/errors.ts";
import { invalid as invalidField } from "../machinery/field_errors.ts";
import { sameJson } from "../machinery/json_value.ts";
import type { DeepReadonly, KubeObject, ManagedFieldsEntry } from "../machinery/types.ts";
import { checkNamespace, checkVersion } from "./prepare.ts";
import type { ApiRequest } from "./request.ts";

type Entries = ManagedFieldsEntry[] | undefined;

/** Throws when an object that was admitted is no longer the one that is updated. */
export function checkAdmitted(
  request: ApiRequest,
  object: KubeObject,
  old: DeepReadonly<KubeObject>,
): void {
  const { kind } = request;
  const meta = object.metadata;
  const before = old.metadata;
  // Without a name there is more to say: that is validation's
  if (!meta.name) return;
  checkNamespace(request, object);
  checkVersion(request, object, old);
  for (const field of ["uid", "deletionTimestamp"] as const) {
    const value = meta[field];
    if (!value || value === before[field]) continue;
    const cause = invalidField(`metadata.${field}`, value, "field is immutable");
    throw invalid(kind.group, kind.kind, request.name, [cause]);
  }
}

/** Keeps what webhooks made of managedFields if it can be read; else puts back what was there, with a warning. */
export function settleManaged(request: ApiRequest, object: KubeObject, before: Entries): void {
  const { managedFields: after } = object.metadata;
  if (after === before || sameJson(after, before)) return;
  const problem = problemOf(after ?? []);
  if (!problem) return;
  request.warnings.push(
    ".metadata.managedFields was in an invalid state after admission; this could be caused by an " +
      `outdated mutating admission controller; please fix your requests: ${problem}`,
  );
  if (before) object.metadata.managedFields = before;
  else delete object.metadata.managedFields;
}

function problemOf(entries: readonly ManagedFieldsEntry[]): string | undefined {
  for (const [i, { operation, apiVersion, fieldsType }] of entries.entries()) {
    if (operation !== "Apply" && operation !== "Update") {
      return "operation must be `Apply` or `Update`";
    }
    if (!apiVersion) return "apiVersion must not be empty";
    if (!fieldsType) return `missing fieldsType in managed fields entry ${i}`;
    if (fieldsType !== "FieldsV1") {
      return `invalid fieldsType ${JSON.stringify(fieldsType)} in managed fields entry ${i}`;
    }
  }
  return undefined;
}
