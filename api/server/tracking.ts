/** managedFields: who owns which field, noted at every write; and server-side apply, which goes by it. */
import { badRequest } from "../machinery/errors.ts";
import type { DeepReadonly, KubeObject } from "../machinery/types.ts";
import type { Deps } from "./deps.ts";
import type { ApiRequest } from "./request.ts";

/** The field manager of a request. */
export function managerOf(request: ApiRequest): string {
  return request.params.fieldManager || request.agent;
}

/** Notes in `object` what this write set. */
export function tracked(
  _deps: Deps,
  _request: ApiRequest,
  _old: DeepReadonly<KubeObject> | undefined,
  _object: KubeObject,
): void {
}

/** Applies a request's configuration to an object, or to nothing. */
export function applied(
  _deps: Deps,
  _request: ApiRequest,
  _old: DeepReadonly<KubeObject> | undefined,
): { object: KubeObject; applied: boolean } {
  throw badRequest("server-side apply is not ready");
}
