/**
 * AdmissionReviews: what a webhook is asked, and what its answer must be (upstream: admission/plugin/webhook/request).
 * Both versions of the review are alike but for how strictly the answer is read.
 */
import { jsonTypeName } from "../machinery/json_value.ts";
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

/** An answer that is none. `undecodable`: it is not even a review. */
export class ReviewError extends Error {
  readonly undecodable: boolean;

  constructor(message: string, undecodable = false) {
    super(message);
    this.undecodable = undecodable;
  }
}

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
  const { namespace, name } = placeOf(a);
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

/** What Go's type of each field of a response is. */
const TYPES: Readonly<Record<string, string>> = {
  uid: "types.UID",
  allowed: "bool",
  status: "v1.Status",
  patch: "[]uint8",
  patchType: "v1.PatchType",
  auditAnnotations: "map[string]string",
  warnings: "[]string",
};

/** How a value of such a type is written in JSON. */
const WRITTEN: Readonly<Record<string, string>> = {
  "types.UID": "string",
  "v1.PatchType": "string",
  "[]uint8": "string",
  "bool": "bool",
  "v1.Status": "object",
  "map[string]string": "object",
  "[]string": "array",
  "string": "string",
  "v1.StatusReason": "string",
  "int32": "number",
  "v1.StatusDetails": "object",
  "v1.ListMeta": "object",
  "[]v1.StatusCause": "array",
};

/** And of each field of a refusal's Status. */
const STATUS_TYPES: Readonly<Record<string, string>> = {
  status: "string",
  message: "string",
  reason: "v1.StatusReason",
  code: "int32",
  details: "v1.StatusDetails",
  metadata: "v1.ListMeta",
};

const DETAILS_TYPES: Readonly<Record<string, string>> = {
  name: "string",
  group: "string",
  kind: "string",
  uid: "types.UID",
  causes: "[]v1.StatusCause",
  retryAfterSeconds: "int32",
};

function checkTypes(response: Response): void {
  checkFields(response as Values, TYPES, "response");
  const status = response.status as { details?: Values } & Values | undefined;
  if (!status) return;
  checkFields(status, STATUS_TYPES, "response.status");
  if (status.details) checkFields(status.details, DETAILS_TYPES, "response.status.details");
}

type Values = Readonly<Record<string, unknown>>;

function checkFields(values: Values, types: Readonly<Record<string, string>>, at: string): void {
  for (const [field, type] of Object.entries(types)) {
    const value = Object.hasOwn(values, field) ? values[field] : undefined;
    if (value === undefined || value === null) continue;
    const name = jsonTypeName(value);
    const small = type !== "int32" || value === (value as number | 0);
    if (name === WRITTEN[type] && small) continue;
    throw new ReviewError(
      `json: cannot unmarshal ${name}${small ? "" : ` ${value}`} into Go struct field ` +
        `AdmissionResponse.${at}.${field} of type ${type}`,
      true,
    );
  }
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
  checkTypes(response);
  const patch = response.patch ? decoded(response.patch) : undefined;
  if (version === "v1") {
    if (response.uid !== uid) {
      const given = JSON.stringify(response.uid ?? "");
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
  return {
    allowed: response.allowed === true,
    auditAnnotations: texts(response.auditAnnotations),
    warnings: (response.warnings as unknown[] | undefined ?? []).map(String),
    result: response.status as Partial<Status> | undefined ?? undefined,
    patch: mutating ? patch : undefined,
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
  const text = String(patch).replace(/[\r\n]/g, "");
  const good = /^[A-Za-z0-9+/]*/.exec(text)![0].length;
  const padding = text.slice(good);
  if (text.length % 4 !== 0 || !/^={0,2}$/.test(padding)) {
    const at = padding.startsWith("=") || padding === "" ? text.length : good;
    throw new ReviewError(`illegal base64 data at input byte ${at}`, true);
  }
  return new TextDecoder().decode(Uint8Array.from(atob(text), (c) => c.charCodeAt(0)));
}

function texts(value: unknown): Record<string, string> {
  if (typeof value !== "object" || value === null) return {};
  return Object.fromEntries(Object.entries(value).map(([key, one]) => [key, String(one)]));
}
