/**
 * Upstream's errors by name (apimachinery `pkg/api/errors`): same codes, reasons, details and wording,
 * because clients match on the text.
 */
import { ApiError, type Cause } from "./types.ts";

/** What an error is about. */
export interface Subject {
  group: string;
  /** Plural for most errors, the kind for Invalid. */
  resource: string;
}

/** `pods`, `deployments.apps`. */
export function qualified({ resource, group }: Subject): string {
  return group ? `${resource}.${group}` : resource;
}

function details(subject: Subject, name: string) {
  return {
    name: name || undefined,
    group: subject.group || undefined,
    kind: subject.resource || undefined,
  };
}

/** 404: the object does not exist. */
export function notFound(subject: Subject, name: string): ApiError {
  return new ApiError({
    code: 404,
    reason: "NotFound",
    message: `${qualified(subject)} "${name}" not found`,
    details: details(subject, name),
  });
}

/** 404: no such path or resource. */
export function noSuchResource(): ApiError {
  return new ApiError({
    code: 404,
    reason: "NotFound",
    message: "the server could not find the requested resource",
    details: {},
  });
}

/** 409: the name is taken. */
export function alreadyExists(subject: Subject, name: string): ApiError {
  return new ApiError({
    code: 409,
    reason: "AlreadyExists",
    message: `${qualified(subject)} "${name}" already exists`,
    details: details(subject, name),
  });
}

/** The text of every optimistic lock failure. */
export const OPTIMISTIC_LOCK_TEXT =
  "the object has been modified; please apply your changes to the latest version and try again";

/** 409: somebody else was there first. */
export function conflict(subject: Subject, name: string, why = OPTIMISTIC_LOCK_TEXT): ApiError {
  return new ApiError({
    code: 409,
    reason: "Conflict",
    message: `Operation cannot be fulfilled on ${qualified(subject)} "${name}": ${why}`,
    details: details(subject, name),
  });
}

/** 422: fields are wrong. `kind` is the kind's name (`Pod`), not its plural. */
export function invalid(
  group: string,
  kind: string,
  name: string,
  causes: readonly Cause[],
): ApiError {
  const qualifiedKind = qualified({ group, resource: kind });
  const texts = [...new Set(causes.map((c) => (c.field ? `${c.field}: ${c.message}` : c.message)))];
  const text = texts.length === 1 ? texts[0] : `[${texts.join(", ")}]`;
  return new ApiError({
    code: 422,
    reason: "Invalid",
    message: `${qualifiedKind} "${name}" is invalid${texts.length ? `: ${text}` : ""}`,
    details: {
      name: name || undefined,
      group: group || undefined,
      kind: kind || undefined,
      causes: causes.map((c) => ({ reason: c.reason, message: c.message, field: c.field })),
    },
  });
}

/** 400. */
export function badRequest(message: string): ApiError {
  return new ApiError({ code: 400, reason: "BadRequest", message });
}

/** 403 with upstream's prefix. */
export function forbidden(subject: Subject, name: string, why: string): ApiError {
  const what = name ? `${qualified(subject)} "${name}"` : qualified(subject);
  return new ApiError({
    code: 403,
    reason: "Forbidden",
    message: `${subject.resource ? `${what} is forbidden: ` : "forbidden: "}${why}`,
    details: details(subject, name),
  });
}

/** 401. */
export function unauthorized(message = "Unauthorized"): ApiError {
  return new ApiError({ code: 401, reason: "Unauthorized", message });
}

/** 405. */
export function methodNotAllowed(subject: Subject, action: string): ApiError {
  return new ApiError({
    code: 405,
    reason: "MethodNotAllowed",
    message: `${action} is not supported on resources of kind "${qualified(subject)}"`,
    details: { group: subject.group || undefined, kind: subject.resource },
  });
}

/** 406. */
export function notAcceptable(accepted: readonly string[]): ApiError {
  return new ApiError({
    code: 406,
    reason: "NotAcceptable",
    message: `only the following media types are accepted: ${accepted.join(", ")}`,
  });
}

/** 415. */
export function unsupportedMediaType(accepted: readonly string[]): ApiError {
  return new ApiError({
    code: 415,
    reason: "UnsupportedMediaType",
    message: `the body of the request was in an unknown format - accepted media types include: ${
      accepted.join(", ")
    }`,
  });
}

/** 410: history no longer reaches back that far. */
export function expired(message: string, continueToken?: string): ApiError {
  return new ApiError({
    code: 410,
    reason: "Expired",
    message,
    metadata: continueToken ? { continue: continueToken } : {},
  });
}

/** 413. */
export function tooLarge(message: string): ApiError {
  return new ApiError({ code: 413, reason: "RequestEntityTooLarge", message });
}

/** 429. Without seconds the client decides when to ask again. */
export function tooManyRequests(
  message: string,
  retryAfterSeconds: number,
  causes?: { reason?: string; message?: string; field?: string }[],
): ApiError {
  return new ApiError({
    code: 429,
    reason: "TooManyRequests",
    message,
    details: { ...(retryAfterSeconds > 0 && { retryAfterSeconds }), causes },
  });
}

/** 500. */
export function internal(message: string): ApiError {
  return new ApiError({
    code: 500,
    reason: "InternalError",
    message: `Internal error occurred: ${message}`,
    details: { causes: [{ message }] },
  });
}

/** 503. */
export function unavailable(message: string): ApiError {
  return new ApiError({ code: 503, reason: "ServiceUnavailable", message });
}

/** 504. */
export function timedOut(message: string, retryAfterSeconds = 0): ApiError {
  return new ApiError({
    code: 504,
    reason: "Timeout",
    message: `Timeout: ${message}`,
    details: retryAfterSeconds > 0 ? { retryAfterSeconds } : {},
  });
}

/** 507: the store is at its bound. */
export function storageFull(message: string): ApiError {
  return new ApiError({ code: 507, reason: "InsufficientStorage", message });
}
