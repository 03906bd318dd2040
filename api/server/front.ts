/**
 * The HTTP door to resources: from a call that has come through `passage.ts` to the one door (`core.ts`) and back.
 */
import type { Requested } from "../auth/impersonate.ts";
import type { Term } from "../../kv/contract.ts";
import { TERM_HEADER } from "../client/http.ts";
import { badRequest, noSuchResource, notFound } from "../machinery/errors.ts";
import { parseIncludeObject } from "../machinery/table.ts";
import { ApiError, type Kind } from "../machinery/types.ts";
import { LARGE_BYTES } from "./arrivals.ts";
import { readBody, readDeleteOptions, readPatch } from "./bodies.ts";
import { attributesOf, authorize, nameSelected } from "./authorize.ts";
import { isWrite, originOf } from "./causes.ts";
import { run } from "./core.ts";
import { formOf } from "./decoding.ts";
import type { AuditRecord } from "./audit.ts";
import { type Deps, enter, subjectOf } from "./deps.ts";
import { BODY_BYTES_MAX, type Call, Disconnected, isStream, type Reply } from "./http.ts";
import { contentTypeOf, negotiate, type Offer, type Representation } from "./negotiate.ts";
import { agentOf, failure, pass, type Passage, staged } from "./passage.ts";
import { replyOf, type ReplyOptions, statusBytes } from "./reply.ts";
import type { Answer, ApiRequest, DeleteOptions, RequestVerb } from "./request.ts";
import { paramsOf, type Route, routeOf, verbOf } from "./route.ts";
import { ASIDE, asideOf } from "./subresources.ts";
import { EventEncoder, watchPieces } from "./watch_reply.ts";

/** Longest text of one `Warning` header, where all of them together are too long. */
const WARNING_LENGTH_MAX = 256;
/** Longest text of all of a response's. */
const WARNINGS_LENGTH_MAX = 4 * 1024;
const APPLY_TYPE = "application/apply-patch+yaml";
const NO_BYTES = new Uint8Array();

/** User agents that people read answers with. */
const PEOPLE = new Set(["curl", "Wget", "Mozilla"]);

/** Subresources that are streams or proxies: answered by others, once they are authorized. */
const CONNECTED = new Set(["exec", "attach", "portforward", "proxy", "log"]);

/** Hands over what is no plain request; undefined: not for streams. */
export type Connector = (call: Call, request: ApiRequest) => Promise<Reply>;

/** Whether a request is for a stream or a proxy. */
export function isConnected({ subresource }: Pick<Route, "subresource">): boolean {
  return CONNECTED.has(subresource);
}

/** What a call asks for, resource or not. */
export function requestedOf(call: Call): Requested {
  const route = routeOf(call.path);
  if (!route) return requestedPath(call);
  const { method, query } = call;
  return requestedResource({ method, route, query: new URLSearchParams(query) });
}

/** What a call asks for that is no resource. */
export function requestedPath(call: Call): Requested {
  return {
    verb: call.method === "HEAD" ? "get" : call.method.toLowerCase(),
    resourceRequest: false,
    group: "",
    version: "",
    resource: "",
    subresource: "",
    namespace: "",
    name: "",
    path: call.path,
  };
}

/** Upstream's verbs of methods, where a route does not know better. */
const METHOD_VERBS: Readonly<Record<string, string>> = {
  POST: "create",
  GET: "get",
  HEAD: "get",
  PUT: "update",
  PATCH: "patch",
  DELETE: "delete",
};

/** What a call asks for of a resource. */
export function requestedResource({ method, route, query }: ResourceCall): Requested {
  // OPTIONS, which proxies pass on, has no verb of upstream's: only who may do anything may do that.
  const verb = method in METHOD_VERBS ? verbOf(method, route, query) ?? METHOD_VERBS[method] : "";
  const { group, version, resource, subresource, namespace, name } = route;
  const selecting = !name && !subresource && !route.watch;
  const fieldSelector = selecting ? query.get("fieldSelector") ?? undefined : undefined;
  return {
    verb,
    resourceRequest: true,
    group,
    version,
    resource,
    subresource,
    namespace: resource === "namespaces" && group === "" ? name : namespace,
    name: name || nameSelected(verb, fieldSelector),
    path: "",
    fieldSelector,
    labelSelector: selecting ? query.get("labelSelector") ?? undefined : undefined,
  };
}

/** A call for a resource, taken apart. */
export interface ResourceCall {
  method: string;
  route: Route;
  query: URLSearchParams;
}

/** Answers a call to a path under `/api` or `/apis` that names a resource, which came at `began`. Never throws. */
export function answerResource(
  deps: Deps,
  call: Call,
  { route, began, connect }: { route: Route; began?: number; connect?: Connector },
): Promise<Reply> {
  const asked = { method: call.method, route, query: new URLSearchParams(call.query) };
  return pass(
    deps,
    call,
    { requested: requestedResource(asked), began },
    (passage) => answered(deps, call, { ...asked, passage, connect }),
  );
}

interface Answering extends ResourceCall {
  passage: Passage;
  connect?: Connector;
}

async function answered(deps: Deps, call: Call, asking: Answering): Promise<Reply> {
  const { route, passage, connect } = asking;
  let request: ApiRequest | undefined;
  let options: ReplyOptions | undefined;
  try {
    request = await requestFor(deps, call, asking);
    const { kind } = request;
    if (CONNECTED.has(route.subresource) && connect) {
      await authorize(deps, attributesOf(request), passage.audit);
      const asked = request;
      const reply = await staged(deps, { call, passage }, () => connect(call, asked));
      return withWarnings(reply, request.warnings);
    }
    if (kind.deprecationWarning) {
      request.warnings.push(kind.deprecationWarning);
      passage.audit?.annotate("k8s.io/deprecated", "true");
    }
    options = optionsOf(call, request, asideOf(deps, request) ? ASIDE : kind);
    await readInto(deps, call, request);
    enter(deps, request, "receive");
    const answer = await run(deps, request);
    const reply = withWarnings(write(deps, request, answer, options), request.warnings);
    if (passage.audit?.wantsResponse) await noteResponse(deps, passage.audit, answer, options);
    return reply;
  } catch (error) {
    if (error instanceof Disconnected) {
      const { answer } = error;
      if (!answer || !options) return { status: 500, headers: {}, broken: "unheard" };
      return { ...write(deps, request!, answer, options), broken: "midway" };
    }
    const reply = request?.verb === "watch" && options && watchFailure(error)
      ? endedWatch(deps, request.kind, options, error)
      : inMedia(failure(error, request?.kind), options);
    return request ? withWarnings(reply, request.warnings) : reply;
  }
}

/** A failure as the client reads everything else; before that is known it is JSON. */
function inMedia(reply: Reply, options: ReplyOptions | undefined): Reply {
  if (!options || options.representation.media === "json" || !reply.outcome) return reply;
  const representation: Representation = { media: options.representation.media, metaVersion: "v1" };
  reply.headers["content-type"] = contentTypeOf(representation);
  reply.body = statusBytes(representation, reply.outcome);
  return reply;
}

/** Tells the audit what is answered, as JSON whatever the client reads. */
async function noteResponse(
  deps: Deps,
  audit: AuditRecord,
  answer: Answer,
  { includeObject, representation: { as, metaVersion } }: ReplyOptions,
): Promise<void> {
  if (answer.watch) return;
  const representation: Representation = { media: "json", as, metaVersion };
  const { body } = replyOf(deps, answer, { includeObject, representation });
  const decoder = new TextDecoder();
  let text = "";
  if (isStream(body)) {
    for await (const piece of body) text += decoder.decode(piece, { stream: true });
  } else if (body) text = decoder.decode(body);
  audit.answered(JSON.parse(text));
}

/** What a call that has come through asks of which resource, for whom. */
export async function requestFor(
  deps: Deps,
  call: Call,
  { method, route, query, passage }: ResourceCall & { passage: Passage },
): Promise<ApiRequest> {
  if (deps.starting) await deps.starting;
  const verb = verbOf(method, route, query);
  const kind = deps.kinds.byResource(route.group, route.version, route.resource);
  const refusal = refusalOf(deps, kind, { route, verb });
  if (refusal) {
    // Who may not see a kind is told 403 and not whether it exists
    await authorize(deps, { ...passage.requested, user: passage.user }, passage.audit);
    throw refusal;
  }
  return requestOf(deps, call, { route, kind: kind!, verb: verb!, passage, query });
}

/** 405: the path is there, the method is not. */
export function wrongMethod(): ApiError {
  return new ApiError({
    code: 405,
    reason: "MethodNotAllowed",
    message: "the server does not allow this method on the requested resource",
    details: {},
  });
}

/** Verbs of paths that name an object; those of the others are a collection's. */
const NAMED: readonly string[] = ["get", "update", "patch", "delete"];

/** Why nothing is served there, as upstream's router sees it: no such path, or not by this method. */
function refusalOf(
  deps: Deps,
  kind: Kind | undefined,
  { route, verb }: { route: Route; verb: RequestVerb | undefined },
): ApiError | undefined {
  if (!kind) return noSuchResource();
  const { name, namespace, subresource } = route;
  const named = name !== "";
  if (kind.namespaced !== (namespace !== "")) {
    // Of all namespaces: what is there, and no more
    if (!kind.namespaced || named || !kind.verbs.includes("list")) return noSuchResource();
    return verb === "list" || verb === "watch" ? undefined : wrongMethod();
  }
  let verbs: readonly string[] = kind.verbs;
  if (subresource) {
    const row = kind.subresources.find((one) => one.name === subresource);
    if (!row) {
      if (asideOf(deps, { kind, subresource })) return undefined;
      // Definitions' handlers know nothing below an object but what those declare
      return kind.custom ? notFound(subjectOf(kind), name) : noSuchResource();
    }
    verbs = row.verbs;
  } else if (!verbs.some((one) => NAMED.includes(one) === named)) return noSuchResource();
  return verb && verbs.includes(verb) ? undefined : wrongMethod();
}

function requestOf(
  deps: Deps,
  call: Call,
  { route, kind, verb, passage, query }: {
    route: Route;
    kind: Kind;
    verb: RequestVerb;
    passage: Passage;
    query: URLSearchParams;
  },
): ApiRequest {
  const apply = verb === "patch" && call.header("content-type")?.startsWith(APPLY_TYPE) === true;
  return {
    verb,
    kind,
    namespace: route.namespace,
    name: route.name,
    subresource: route.subresource,
    rest: route.rest,
    user: passage.user,
    agent: agentOf(call.header("user-agent")),
    params: route.subresource && CONNECTED.has(route.subresource)
      ? { raw: query }
      : paramsOf(verb, query, apply),
    term: termOf(call.header(TERM_HEADER)),
    origin: isWrite({ verb }) ? originOf(call) : undefined,
    cause: undefined,
    signal: verb === "watch" ? call.signal : undefined,
    deadline: passage.deadline,
    initialized: verb === "watch" ? passage.leave : undefined,
    audit: passage.audit,
    warnings: [],
    span: undefined,
    stages: deps.trace || deps.spans ? [] : undefined,
  };
}

/** The term a client's writes depend on. */
function termOf(text: string | undefined): Term | undefined {
  if (text === undefined) return undefined;
  try {
    const { name, holder, fence } = JSON.parse(text);
    if (typeof name === "string" && typeof holder === "string" && Number.isInteger(fence)) {
      return { name, holder, fence };
    }
  } catch {
    // Said below
  }
  throw badRequest(`the header ${TERM_HEADER} is no term`);
}

const OFFERS = new Map<number, Offer>();

function offerOf(kind: Kind, list: boolean, watch: boolean): Offer {
  const custom = kind.custom === true;
  // Reviews and the like have no rows to be shown in
  const review = kind.virtual === true && !kind.verbs.includes("list");
  const key = (custom ? 1 : 0) + (list ? 2 : 0) + (watch ? 4 : 0) + (review ? 8 : 0);
  let offer = OFFERS.get(key);
  if (!offer) {
    // A watch shows single objects, so that its metadata is PartialObjectMetadata
    offer = { protobuf: !custom, table: !review, partial: !review, list: list && !watch, watch };
    OFFERS.set(key, offer);
  }
  return offer;
}

function optionsOf(call: Call, request: ApiRequest, kind: Kind): ReplyOptions {
  const { verb, params } = request;
  const list = verb === "list" || verb === "deletecollection";
  const offer = offerOf(kind, list, verb === "watch");
  const representation = negotiate(call.header("accept"), offer);
  const table = representation.as === "Table";
  const includeObject = parseIncludeObject(table ? params.raw?.get("includeObject") : undefined);
  const pretty = params.raw?.get("pretty");
  // People get indented objects, as upstream does it; their lists stay compact, as those may be long
  const person = pretty === undefined || pretty === null
    ? PEOPLE.has(request.agent) && !list && verb !== "watch"
    : pretty === "true" || pretty === "1";
  const user = request.user.name;
  if (person) {
    return { representation: { ...representation, pretty: true }, includeObject, user };
  }
  return { representation, includeObject, user };
}

/** What a body is: of the kind, or of what the subresource speaks. */
function formOfBody({ kind, subresource }: ApiRequest) {
  const own = subresource ? kind.subresources.find((s) => s.name === subresource)?.kind : undefined;
  return own ? formOf(own.group, own.version, own.kind) : kind;
}

/** What Go's YAML decoder puts before its errors. */
const SEVERAL = "yaml: unmarshal errors:\n  ";

/** Keys that are twice in a patch: refused under Strict, warned of under Warn. */
function noteDuplicates(request: ApiRequest, found: string[], apply: boolean): void {
  const { params, warnings } = request;
  // Other patches are judged by what they make of the object
  if (!apply) {
    request.patchDuplicates = found;
    return;
  }
  const mode = params.fieldValidation ?? "Warn";
  if (mode === "Ignore") return;
  const texts = found.map((path) => {
    if (path.startsWith(SEVERAL)) return path;
    // JSON is YAML too, on one line as clients send it
    const key = JSON.stringify(path.slice(path.lastIndexOf(".") + 1));
    return `${SEVERAL}line 1: key ${key} already set in map`;
  });
  if (mode === "Warn") warnings.push(...texts.map((text) => text.replace(SEVERAL, "")));
  else throw badRequest(`error strict decoding YAML: error converting YAML to JSON: ${texts[0]}`);
}

/** What is read of a body. One that is large has come, is read and is worked on in turns of their own. */
async function piecemeal<T>(deps: Deps, call: Call, read: (bytes: Uint8Array) => T): Promise<T> {
  const bytes = await call.body(BODY_BYTES_MAX);
  if (bytes.length < LARGE_BYTES) return read(bytes);
  await deps.turn();
  const value = read(bytes);
  await deps.turn();
  return value;
}

async function readInto(deps: Deps, call: Call, request: ApiRequest): Promise<void> {
  const { verb, kind, params } = request;
  switch (verb) {
    case "create":
    case "update":
      request.body = await piecemeal(
        deps,
        call,
        (bytes) => readBody(formOfBody(request), bytes, call.header("content-type")),
      );
      request.audit?.sent(request.body.value);
      return;
    case "patch":
      request.patch = await piecemeal(deps, call, (bytes) =>
        readPatch(
          kind,
          bytes,
          call.header("content-type"),
          (duplicates, apply) => noteDuplicates(request, duplicates, apply),
        ));
      if (request.patch.type === "apply") request.patch.force = params.force;
      request.audit?.patched(request.patch.body);
      return;
    case "delete":
    case "deletecollection": {
      const length = call.header("content-length");
      const empty = length === "0" || (length === undefined && !call.header("content-type"));
      const bytes = empty ? NO_BYTES : await call.body(BODY_BYTES_MAX);
      request.deleteOptions = readDeleteOptions(bytes, call.header("content-type"), params.raw);
      if (request.audit?.wantsRequest && bytes.length > 0) {
        request.audit.patched(auditedOptions(request.deleteOptions));
      }
    }
  }
}

/** Delete options as upstream audits them: in its internal version. */
export function auditedOptions({ dryRun, ...options }: DeleteOptions): object {
  const head = { kind: "DeleteOptions", apiVersion: "meta.k8s.io/__internal" };
  return { ...head, ...options, ...(dryRun && { dryRun: ["All"] }) };
}

function write(deps: Deps, request: ApiRequest, answer: Answer, options: ReplyOptions): Reply {
  if (!answer.watch) {
    const reply = replyOf(deps, answer, options);
    if (answer.status) reply.outcome = answer.status;
    return reply;
  }
  const encoder = new EventEncoder(deps, request.kind, options);
  return {
    status: 200,
    headers: { "content-type": contentTypeOf(options.representation, true) },
    body: watchPieces(answer.watch, encoder),
  };
}

/** Adds warnings to a reply, as RFC 2616 writes them: each once, all of them cut when they are long together. */
export function withWarnings(reply: Reply, warnings: readonly string[]): Reply {
  if (warnings.length === 0) return reply;
  const texts = [...new Set(warnings)].filter(Boolean);
  const total = texts.reduce((sum, text) => sum + text.length, 0);
  const cut = total > WARNINGS_LENGTH_MAX;
  const lines: string[] = [];
  let written = 0;
  for (const text of texts) {
    if (written >= WARNINGS_LENGTH_MAX) break;
    const shown = cut ? [...text].slice(0, WARNING_LENGTH_MAX).join("") : text;
    written += shown.length;
    lines.push(`299 - "${quoted(shown)}"`);
  }
  reply.headers.warning = lines;
  return reply;
}

function quoted(text: string): string {
  // deno-lint-ignore no-control-regex -- nothing but printable ASCII may stand in a header
  const plain = text.replace(/[\u0000-\u001f\u007f]+/g, " ").replace(/[^\x20-\x7e]/g, "?");
  return plain.replace(/[\\"]/g, (c) => `\\${c}`);
}

function endedWatch(deps: Deps, kind: Kind, options: ReplyOptions, error: ApiError): Reply {
  const body = new EventEncoder(deps, kind, options).error(error);
  const headers = { "content-type": contentTypeOf(options.representation, true) };
  return { status: 200, headers, body };
}

/** A watch that could not begin is a stream of one ERROR event when history is what it lacked. */
function watchFailure(error: unknown): error is ApiError {
  return error instanceof ApiError && error.code === 410;
}
