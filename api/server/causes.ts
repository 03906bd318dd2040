/**
 * Why a request writes: what each revision keeps, so that the story of an object can be told (`api/plesio/story.ts`).
 *
 * - Plesio's own actors say which revision woke them: `plesio-because`, or `client.because` in this process.
 * - Whoever else changes what it has read (an update, patch or delete with a resourceVersion) is linked to that revision.
 * - What reacts to a revision belongs to its trace. Else a trace begins with the request, or goes on that began outside
 *   (`traceparent`, https://www.w3.org/TR/trace-context/). All that one request writes is of one cause.
 */
import { BECAUSE_HEADER } from "../client/http.ts";
import { badRequest } from "../machinery/errors.ts";
import { hex32, scattered } from "../machinery/spans.ts";
import { type Deps, storeOf } from "./deps.ts";
import type { Call } from "./http.ts";
import type { ApiRequest, Origin, RequestVerb } from "./request.ts";

const WRITES: ReadonlySet<RequestVerb> = new Set([
  "create",
  "update",
  "patch",
  "delete",
  "deletecollection",
]);

/** Whether a request may write. */
export function isWrite({ verb }: { verb: RequestVerb }): boolean {
  return WRITES.has(verb);
}

/** Makes ids of traces: unlike those of other processes, and spread evenly, as samplers want them. */
export class TraceIds {
  readonly #prefix: string;
  readonly #seeds: readonly [number, number];
  #count = 0;

  /** `seed`: 16 random bytes. */
  constructor(seed: Uint8Array) {
    const view = new DataView(seed.buffer, seed.byteOffset, seed.byteLength);
    this.#prefix = hex32(view.getUint32(0)) + hex32(view.getUint32(4));
    this.#seeds = [view.getUint32(8) ^ view.getUint32(12), 0];
  }

  /** The next one: 32 hexadecimal digits. */
  next(): string {
    return this.#prefix + scattered(++this.#count, this.#seeds);
  }
}

/** What a call says of why it was sent. */
export function originOf(call: Call): Origin | undefined {
  const because = call.header(BECAUSE_HEADER);
  const parent = call.header("traceparent");
  if (because === undefined && parent === undefined) return undefined;
  if (because !== undefined && !/^[0-9]{1,15}$/.test(because)) {
    throw badRequest(`the header ${BECAUSE_HEADER} is no resourceVersion`);
  }
  return { because: Number(because ?? 0), ...parent !== undefined && traceOf(parent) };
}

const TRACEPARENT = /^([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?$/;

/** Trace and span of a `traceparent`; nothing where it is none, which then counts as not sent. */
export function traceOf(text: string): Pick<Origin, "trace" | "span" | "sampled"> {
  const found = TRACEPARENT.exec(text.trim());
  if (!found) return {};
  const [, version, trace, span, flags, more] = found;
  if (version === "ff" || (version === "00" && more) || /^0+$/.test(trace) || /^0+$/.test(span)) {
    return {};
  }
  return { trace, span, sampled: (parseInt(flags, 16) & 1) === 1 };
}

/** Finds out why a request writes. Waits only for what is no longer in memory. */
export function noteCause(deps: Deps, request: ApiRequest): void | Promise<void> {
  const { origin } = request;
  const because = origin?.because || readRevision(deps, request);
  if (origin?.trace || because === 0) return begin(deps, request, because, origin?.trace);
  const found = deps.database.objects.written(because);
  if (found instanceof Promise) {
    return found.then((one) => begin(deps, request, because, one?.cause?.trace));
  }
  begin(deps, request, because, found?.cause?.trace);
}

function begin(deps: Deps, request: ApiRequest, because: number, trace: string | undefined): void {
  const { origin, user, agent, verb, subresource, patch } = request;
  const what = patch?.type === "apply" ? "apply" : verb;
  request.cause = {
    trace: trace ?? deps.traceIds.next(),
    because,
    by: origin?.by ?? writerOf(user.name, agent),
    verb: subresource ? `${what}/${subresource}` : what,
  };
}

/** Users, and programs of each, whose texts are kept. */
const WRITERS_MAX = 64;
const writers = new Map<string, Map<string, string>>();

/** A user and its program as one text; the same string for all their writes, since each lives as long as its revision. */
function writerOf(user: string, agent: string): string {
  let programs = writers.get(user);
  if (!programs || programs.size > WRITERS_MAX) {
    if (writers.size > WRITERS_MAX) writers.clear();
    writers.set(user, programs = new Map());
  }
  let text = programs.get(agent);
  if (text === undefined) programs.set(agent, text = `${user} ${agent}`);
  return text;
}

/** The revision that a request says it has read of what it changes; 0: it says none. */
function readRevision(deps: Deps, request: ApiRequest): number {
  const { verb, kind, body, patch, deleteOptions } = request;
  // Other stores count by themselves
  if (verb === "create" || storeOf(deps, kind) !== deps.database.objects) return 0;
  const read = verb === "update"
    ? versionIn(body?.value)
    : verb === "patch"
    ? versionIn(patch?.body)
    : deleteOptions?.preconditions?.resourceVersion;
  return typeof read === "string" && /^[0-9]{1,15}$/.test(read) ? Number(read) : 0;
}

function versionIn(value: unknown): unknown {
  return (value as { metadata?: { resourceVersion?: unknown } } | undefined)?.metadata
    ?.resourceVersion;
}
