/**
 * AdmissionReviews: what a webhook is asked, and what its answer must be (upstream: admission/plugin/webhook/request).
 * Both versions of the review are alike but for how strictly the answer is read.
 */
import type { DeepReadonly, Kind, KubeObject, Status } from "../machinery/types.ts";
import type { Admission } from "./contract.ts";
import { kindOf, placeOf } from "./request_matching.ts";

/** What a webhook is asked about, in the version that its rules name. */
export interface Asked {
  /** The kind whose resource matched. */
  kind: Kind;
  object?: DeepReadonly<KubeObject>;
  old?: DeepReadonly<KubeObject>;
}

/** What a webhook answered, checked. */
export interface Verdict {
  allowed: boolean;
  auditAnnotations: Readonly<Record<string, string>>;
  warnings: readonly string[];
  result?: Partial<Status>;
  /** The decoded text of the patch, if any. */
  patch?: string;
  patchType: string;
}

/** An answer that is none. */
export class ReviewError extends Error {}

const GROUP = "admission.k8s.io";

/** The first version of the review that a webhook takes and that we know. */
export function reviewVersion(accepted: readonly string[]): "v1" | "v1beta1" | undefined {
  return accepted.find((one) => one === "v1" || one === "v1beta1") as "v1" | "v1beta1" | undefined;
}

function resourceShown({ group, version, plural }: Kind) {
  return { group, version, resource: plural };
}

/** The review that a webhook is sent. */
export function reviewOf(
  a: Admission,
  asked: Asked,
  { uid, version }: { uid: string; version: string },
): Record<string, unknown> {
  const place = placeOf(a);
  const { namespace } = place;
  const name = a.collection ? "" : place.name;
  const { user } = a;
  return {
    kind: "AdmissionReview",
    apiVersion: `${GROUP}/${version}`,
    request: {
      uid,
      kind: kindOf(asked.kind, a.subresource),
      resource: resourceShown(asked.kind),
      ...(a.subresource && { subResource: a.subresource }),
      requestKind: kindOf(a.kind, a.subresource),
      requestResource: resourceShown(a.kind),
      ...(a.subresource && { requestSubResource: a.subresource }),
      ...(name && { name }),
      ...(namespace && { namespace }),
      operation: a.operation,
      userInfo: {
        ...(user.name && { username: user.name }),
        ...(user.uid && { uid: user.uid }),
        ...(user.groups.length && { groups: user.groups }),
        ...(user.extra && Object.keys(user.extra).length && { extra: user.extra }),
      },
      object: asked.object ?? null,
      oldObject: asked.old ?? null,
      dryRun: a.dryRun,
      options: Object.keys(a.options).length ? a.options : null,
    },
  };
}

/** Go's way to write a kind with its group and version. */
function gvkText(apiVersion: string, kind: string): string {
  return `${apiVersion.includes("/") ? apiVersion : `/${apiVersion}`}, Kind=${kind}`;
}

interface Response {
  uid?: unknown;
  allowed?: unknown;
  patch?: unknown;
  patchType?: unknown;
  status?: unknown;
  auditAnnotations?: unknown;
  warnings?: unknown;
}

/** Checks a webhook's answer. Throws ReviewError in upstream's words. */
export function verdictOf(
  answer: unknown,
  { uid, version, mutating }: { uid: string; version: string; mutating: boolean },
): Verdict {
  const review = (answer ?? {}) as { apiVersion?: string; kind?: string; response?: Response };
  const { response } = review;
  if (typeof response !== "object" || response === null) {
    throw new ReviewError("webhook response was absent");
  }
  if (version === "v1") {
    if (response.uid !== uid) {
      const given = JSON.stringify(typeof response.uid === "string" ? response.uid : "");
      throw new ReviewError(`expected response.uid=${JSON.stringify(uid)}, got ${given}`);
    }
    const { apiVersion = "", kind = "" } = review;
    if (apiVersion !== `${GROUP}/v1` || kind !== "AdmissionReview") {
      throw new ReviewError(
        `expected webhook response of ${gvkText(`${GROUP}/v1`, "AdmissionReview")}, ` +
          `got ${gvkText(apiVersion, kind)}`,
      );
    }
    checkPatchPair(response, mutating);
  }
  const patch = mutating && response.patch ? decoded(response.patch) : undefined;
  return {
    allowed: response.allowed === true,
    auditAnnotations: texts(response.auditAnnotations),
    warnings: Array.isArray(response.warnings) ? response.warnings.map(String) : [],
    result: response.status as Partial<Status> | undefined ?? undefined,
    patch,
    // The old version of the review did not look at the type: there is one that is known
    patchType: version === "v1" ? String(response.patchType ?? "") : "JSONPatch",
  };
}

function checkPatchPair({ patch, patchType }: Response, mutating: boolean): void {
  const has = typeof patch === "string" && patch.length > 0;
  const typed = patchType !== undefined && patchType !== null;
  if (!mutating) {
    if (has) throw new ReviewError("validating webhook may not return response.patch");
    if (typed) throw new ReviewError("validating webhook may not return response.patchType");
    return;
  }
  if (has && !typed) {
    throw new ReviewError("webhook returned response.patch but not response.patchType");
  }
  if (!has && typed) {
    throw new ReviewError("webhook returned response.patchType but not response.patch");
  }
  if (typed && patchType === "") {
    throw new ReviewError(`webhook returned invalid response.patchType of ""`);
  }
}

/** Base64 as text. */
function decoded(patch: unknown): string {
  try {
    const bytes = Uint8Array.from(atob(String(patch)), (c) => c.charCodeAt(0));
    return new TextDecoder().decode(bytes);
  } catch {
    throw new ReviewError("illegal base64 data in response.patch");
  }
}

function texts(value: unknown): Record<string, string> {
  if (typeof value !== "object" || value === null) return {};
  return Object.fromEntries(Object.entries(value).map(([key, one]) => [key, String(one)]));
}
