/**
 * From an object and a patch to the new object. JSON patch, merge patch and strategic merge patch work on
 * the object as the request's version shows it; apply merges by who owns which field.
 */
import { badRequest, unsupportedMediaType } from "../machinery/errors.ts";
import { jsonPatch, mergePatch } from "../machinery/patch.ts";
import { strategicPatch } from "../machinery/strategic.ts";
import { ApiError, type DeepReadonly, type Kind, type KubeObject } from "../machinery/types.ts";
import { decodeStatus, decodeValue } from "./decoding.ts";
import type { Deps } from "./deps.ts";
import { patchError } from "./patch_errors.ts";
import type { ApiRequest } from "./request.ts";
import { applied } from "./tracking.ts";

/** What patches may be sent as, for 415. */
export const PATCH_TYPES = [
  "application/json-patch+json",
  "application/merge-patch+json",
  "application/strategic-merge-patch+json",
  "application/apply-patch+yaml",
];
/** Custom resources know no strategic merge patch. */
export const CUSTOM_PATCH_TYPES = PATCH_TYPES.filter((type) => !type.includes("strategic"));

/** The object after a request's patch: private, decoded and defaulted. */
export function patched(
  deps: Deps,
  request: ApiRequest,
  old: DeepReadonly<KubeObject> | undefined,
): { object: KubeObject; applied?: boolean } {
  if (request.patch!.type === "apply") return applied(deps, request, old);
  return { object: patchPlain(request, request.kind, old!) };
}

/** Applies a patch other than apply to an object of `kind`. */
export function patchPlain(
  request: ApiRequest,
  kind: Kind,
  old: DeepReadonly<KubeObject>,
): KubeObject {
  const patch = request.patch!;
  const value = patchedValue(patch, kind, old);
  try {
    if (request.subresource !== "status") {
      return decodeValue(request, kind, value, request.patchDuplicates);
    }
    return decodeStatus(request, kind, value, old, request.patchDuplicates);
  } catch (error) {
    throw patchError(error, patch.type, patch.body, value);
  }
}

/** A client is told that its patch does not apply, not why. */
function withoutReason<T>(apply: () => T): T {
  try {
    return apply();
  } catch (error) {
    if (!(error instanceof ApiError) || error.code !== 422) throw error;
    const { code, reason, message } = error;
    throw new ApiError({ code, reason, message, details: {} });
  }
}

/** The object with the patch in it, whatever that made of it. */
function patchedValue(
  patch: NonNullable<ApiRequest["patch"]>,
  kind: Kind,
  old: DeepReadonly<KubeObject>,
): unknown {
  switch (patch.type) {
    case "json":
      return withoutReason(() => jsonPatch(old, patch.body));
    case "merge":
      return mergePatch(old, patch.body);
    case "strategic":
      if (kind.custom) throw unsupportedMediaType(CUSTOM_PATCH_TYPES);
      return strategicPatch(kind.schemas, kind.schema, old, patch.body);
    case "apply":
      // Apply needs the fields' owners, which only stored objects have
      throw badRequest("apply is not supported here; use a merge patch");
  }
}
