/**
 * What a request is to authorizers, and what becomes of their decision: nothing, 403 or 500, and two annotations of the
 * audit.
 */
import { refusedRequest } from "../auth/authorize.ts";
import type { Attributes, Decision } from "../auth/contract.ts";
import { isPathSegmentName } from "../machinery/names.ts";
import { parseFieldSelector, SelectorError } from "../machinery/selectors.ts";
import type { AuditRecord } from "./audit.ts";
import type { Deps } from "./deps.ts";
import type { ApiRequest } from "./request.ts";

/** Upstream's attributes of a request. */
export function attributesOf(request: ApiRequest): Attributes {
  const { kind, params } = request;
  return {
    user: request.user,
    verb: request.verb,
    resourceRequest: true,
    group: kind.group,
    version: kind.version,
    resource: kind.plural,
    subresource: request.subresource,
    // Upstream counts a Namespace as being in itself
    namespace: kind.plural === "namespaces" && kind.group === "" ? request.name : request.namespace,
    name: request.name || nameSelected(request.verb, params.fieldSelector),
    path: "",
    fieldSelector: params.fieldSelector,
    labelSelector: params.labelSelector,
  };
}

/** The one name that a list or watch asks for by its field selector: a right to that name is enough. */
export function nameSelected(verb: string, fieldSelector: string | undefined): string {
  if (!fieldSelector?.includes("metadata.name")) return "";
  if (verb !== "list" && verb !== "watch") return "";
  try {
    const name = parseFieldSelector(fieldSelector).exact("metadata.name") ?? "";
    return isPathSegmentName(name).length === 0 ? name : "";
  } catch (error) {
    if (error instanceof SelectorError) return "";
    throw error;
  }
}

/** Throws 403 unless the user may do this; a promise only where somebody outside is asked. */
export function authorize(
  deps: Deps,
  attributes: Attributes,
  audit?: AuditRecord,
): void | Promise<void> {
  const since = deps.clock.monotonic();
  const decision = deps.authorizer.authorize(attributes);
  if (decision instanceof Promise) {
    return decision.then((late) => {
      deps.identity?.decided(late, deps.clock.monotonic() - since);
      heed(attributes, late, audit);
    });
  }
  deps.identity?.decided(decision, deps.clock.monotonic() - since);
  heed(attributes, decision, audit);
}

function heed(attributes: Attributes, decision: Decision, audit: AuditRecord | undefined): void {
  if (audit) {
    const { allowed, error, reason = "" } = decision;
    if (allowed || !error) {
      audit.annotate("authorization.k8s.io/decision", allowed ? "allow" : "forbid");
      audit.annotate("authorization.k8s.io/reason", reason);
    } else audit.annotate("authorization.k8s.io/reason", "internal error");
  }
  if (!decision.allowed) throw refusedRequest(attributes, decision);
}
