/**
 * The one door: every request for a resource, whoever makes it, comes through `run`. HTTP decodes a
 * request into an `ApiRequest` and writes the `Answer`; the in-process client makes the request itself and
 * takes the answer's shared objects as they are.
 *
 * Stages, in order, as a trace names them: receive (at the HTTP door: authentication, impersonation and the
 * body lie before it), authorize, then those of the verb: decode, mutate, prepare, validate, admit, commit;
 * answer.
 */
import { methodNotAllowed, noSuchResource } from "../machinery/errors.ts";
import type { ApiError, Kind, Verb } from "../machinery/types.ts";
import { attributesOf, authorize } from "./authorize.ts";
import { isWrite, noteCause } from "./causes.ts";
import { deleteCollection, deleteObject } from "./deletes.ts";
import { prepareServed } from "./conversions.ts";
import { asApiError, type Deps, enter, subjectOf } from "./deps.ts";
import { getObject, listPage } from "./list.ts";
import { ended, heard } from "./request_spans.ts";
import type { Answer, ApiRequest, RequestVerb } from "./request.ts";
import { answerSubresource, answerVirtual, asideOf } from "./subresources.ts";
import { beginWatch } from "./watch.ts";
import { createObject, patchObject, updateObject } from "./writes.ts";

/** Answers a request, or throws ApiError. */
export function run(deps: Deps, request: ApiRequest): Promise<Answer> {
  return deps.stage ? deps.stage(deps, request, answered) : answered(deps, request);
}

async function answered(deps: Deps, request: ApiRequest): Promise<Answer> {
  let failure: ApiError | undefined;
  let code = 200;
  try {
    if (deps.spans) heard(deps, request);
    enter(deps, request, "authorize");
    const asked = authorize(deps, attributesOf(request), request.audit);
    if (asked) await asked;
    checkServed(deps, request);
    if (request.kind.hooks.load) await request.kind.hooks.load();
    if (isWrite(request)) {
      const noted = noteCause(deps, request);
      if (noted) await noted;
    }
    enter(deps, request, request.verb);
    const answer = await dispatch(deps, request);
    code = answer.code;
    if (answer.kind.storage?.convert) {
      await prepareServed(answer.kind, answer.page?.items ?? [answer.item]);
    }
    enter(deps, request, "answer");
    return answer;
  } catch (error) {
    const known = asApiError(error, request.kind, request.name);
    if (known !== error && known.code === 500) {
      request.audit?.panicked(error);
      deps.onError?.(error, request);
    }
    failure = known;
    throw known;
  } finally {
    if (request.stages) deps.trace?.(request);
    if (deps.spans) ended(deps, request, failure);
    const { askedAt, verb } = request;
    if (askedAt !== undefined) {
      deps.inner.answered(verb, failure?.code ?? code, deps.clock.monotonic() - askedAt);
    }
  }
}

const WORDS: Partial<Record<RequestVerb, string>> = { deletecollection: "delete" };

function checkServed(deps: Deps, request: ApiRequest): void {
  const { kind, verb, subresource } = request;
  if (subresource) {
    if (kind.subresources.some((s) => s.name === subresource) || asideOf(deps, request)) return;
    throw noSuchResource();
  }
  if (!kind.verbs.includes(verb as Verb)) {
    throw methodNotAllowed(subjectOf(kind), WORDS[verb] ?? verb);
  }
}

function dispatch(deps: Deps, request: ApiRequest): Promise<Answer> {
  if (request.subresource) return answerSubresource(deps, request);
  if (request.kind.virtual) return answerVirtual(deps, request);
  switch (request.verb) {
    case "get":
      return getObject(deps, request);
    case "list":
      return listPage(deps, request).then((page) => ({ code: 200, kind: request.kind, page }));
    case "watch":
      return beginWatch(deps, request).then((watch) => ({ code: 200, kind: request.kind, watch }));
    case "create":
      return createObject(deps, request);
    case "update":
      return updateObject(deps, request);
    case "patch":
      return patchObject(deps, request);
    case "delete":
      return deleteObject(deps, request);
    case "deletecollection":
      return deleteCollection(deps, request);
    default:
      throw noSuchResource();
  }
}

/** What a kind's list is called when it is written. */
export function listKindOf(kind: Kind): string {
  return kind.listKind || `${kind.kind}List`;
}
