/**
 * The in-process client: calls the pipeline with objects. Nothing is turned into JSON; what comes back is
 * the store's own frozen objects. Authorization, admission and validation run as for anybody. What another server serves
 * is asked of that one, by way of HTTP: whoever holds a client does not see the difference.
 */
import type { Term } from "../../kv/contract.ts";
import type {
  Client,
  ClientWatch,
  DeleteQuery,
  ListQuery,
  Patch,
  Target,
  User,
  WatchEvent,
  WatchQuery,
  WriteQuery,
} from "../client/contract.ts";
import { internal, noSuchResource } from "../machinery/errors.ts";
import type { DeepReadonly, Kind, KubeList, KubeObject } from "../machinery/types.ts";
import { apiVersionOf, atRevision, served } from "./codec.ts";
import { attributesOf } from "./authorize.ts";
import { listKindOf, run } from "./core.ts";
import { asApiError, type Deps } from "./deps.ts";
import { auditedOptions } from "./front.ts";
import { Disconnected } from "./http.ts";
import type {
  Answer,
  ApiRequest,
  Frame,
  FrameStream,
  Origin,
  Page,
  RequestVerb,
} from "./request.ts";

/** Where other servers are asked. */
export interface Elsewhere {
  /** Whether another server serves this. */
  serves(resource: Target["resource"]): boolean;
  /** A client over HTTP for a user. */
  http(user: User, agent: string): Client;
}

/** A client of this process's API for one user (`elsewhere`: no other server serves anything). */
export function localClient(
  deps: Deps,
  { user, agent = "plesio", elsewhere }: { user: User; agent?: string; elsewhere?: Elsewhere },
): Client {
  return clientOf({ deps, user, agent, elsewhere });
}

function clientOf(door: Door): Client {
  let remote: Client | undefined;
  const other = ({ resource }: Target): Client | undefined =>
    door.elsewhere?.serves(resource) ? remote ??= remoteOf(door) : undefined;
  return {
    get: (target, query) =>
      other(target)?.get(target, query) ?? object(door, () => request(door, "get", target, query)),
    list: (target, query) =>
      other(target)?.list(target, query) ?? list(door, () => request(door, "list", target, query)),
    watch: (target, query, options) =>
      other(target)?.watch(target, query, options) ?? watch(door, target, query, options?.signal),
    create: (target, body, query) =>
      other(target)?.create(target, body, query) ??
        object(door, () => write(door, "create", target, { body, query })),
    update: (target, body, query) =>
      other(target)?.update(target, body, query) ??
        object(door, () => write(door, "update", target, { body, query })),
    patch: (target, patch, query) =>
      other(target)?.patch(target, patch, query) ??
        object(door, () => write(door, "patch", target, { patch, query })),
    delete: (target, query) => other(target)?.delete(target, query) ?? remove(door, target, query),
    deleteCollection: (target, query) =>
      other(target)?.deleteCollection(target, query) ?? removeAll(door, target, query),
    as: (user, agent = door.agent) => clientOf({ ...door, user, agent }),
    under: (term) => clientOf({ ...door, term }),
    because: (because, more) => clientOf({ ...door, origin: { ...door.origin, ...more, because } }),
  };
}

interface Door {
  deps: Deps;
  user: User;
  agent: string;
  elsewhere: Elsewhere | undefined;
  term?: Term;
  origin?: Origin;
}

/** The same client of other servers. A term guards this server's own store: it has nothing to say there. */
function remoteOf({ elsewhere, user, agent, origin }: Door): Client {
  const client = elsewhere!.http(user, agent);
  return origin ? client.because(origin.because) : client;
}

function kindOf(deps: Deps, target: Target): Kind {
  const { group, version, plural } = target.resource;
  const kind = deps.kinds.byResource(group, version, plural);
  if (!kind) throw noSuchResource();
  return kind;
}

function request(
  door: Door,
  verb: RequestVerb,
  target: Target,
  query: ListQuery & WatchQuery = {},
): ApiRequest {
  const { deps, user, agent, term, origin } = door;
  const kind = kindOf(deps, target);
  return {
    verb,
    kind,
    namespace: kind.namespaced ? target.namespace ?? "" : "",
    name: target.name ?? "",
    subresource: target.subresource ?? "",
    user,
    agent,
    askedAt: deps.clock.monotonic(),
    term,
    origin,
    cause: undefined,
    params: { ...query },
    warnings: [],
    span: undefined,
    stages: deps.trace || deps.spans ? [] : undefined,
  };
}

function write(
  door: Door,
  verb: RequestVerb,
  target: Target,
  { body, patch, query }: { body?: object; patch?: Patch; query?: WriteQuery },
): ApiRequest {
  const made = request(door, verb, target);
  made.params.dryRun = query?.dryRun;
  made.params.fieldManager = query?.fieldManager;
  made.params.fieldValidation = query?.fieldValidation ?? "Strict";
  if (body) made.body = { value: body, shared: true, duplicates: [] };
  if (patch) {
    made.patch = patch;
    if (patch.type === "apply") made.params.force = patch.force;
    if (patch.type === "apply" && !made.params.fieldManager) made.params.fieldManager = door.agent;
  }
  return made;
}

function objectOf(answer: Answer): DeepReadonly<KubeObject> {
  if (answer.object) return answer.object;
  if (answer.item) return served(answer.kind, answer.item);
  return answer.status as unknown as DeepReadonly<KubeObject>;
}

/** Asks, once custom resources are served too. Bad targets reject like everything else. */
function ask(door: Door, make: () => ApiRequest): Promise<Answer> {
  const { deps } = door;
  if (deps.starting) return deps.starting.then(() => ask(door, make));
  return deps.audit ? audited(deps, make()) : run(deps, make());
}

/** Asks, and tells the audit, as whoever comes over HTTP is told of. */
async function audited(deps: Deps, request: ApiRequest): Promise<Answer> {
  const { user: _, ...asked } = attributesOf(request);
  const audit = deps.audit!.begin({
    id: deps.clock.uuid(),
    at: deps.clock.now(),
    uri: uriOf(request),
    userAgent: request.agent,
    sourceIPs: OWN_ADDRESS,
    asked: { ...asked, user: request.user },
  });
  if (!audit) return await run(deps, request);
  if (!await audit.received()) {
    audit.rejected();
    throw internal("failed to store audit event");
  }
  if (request.body) audit.sent(request.body.value);
  if (request.patch) audit.patched(request.patch.body);
  if (request.deleteOptions) audit.patched(auditedOptions(request.deleteOptions));
  try {
    const answer = await run(deps, { ...request, audit });
    const { watch } = answer;
    if (watch) {
      audit.started(200);
      return { ...answer, watch: toldAtEnd(watch, () => void audit.complete(200)) };
    }
    if (audit.wantsResponse) {
      audit.answered(answer.page ? listOf(answer.page) : objectOf(answer));
    }
    await audit.complete(answer.code, answer.status);
    return answer;
  } catch (error) {
    const { status } = asApiError(error, request.kind);
    audit.answered(status);
    await audit.complete(status.code, status);
    throw error;
  }
}

const OWN_ADDRESS = ["127.0.0.1"];

/** The URI that asks for the same over HTTP, without its query. */
function uriOf({ kind, namespace, name, subresource }: ApiRequest): string {
  const root = kind.group ? `/apis/${kind.group}` : "/api";
  const where = kind.namespaced && namespace ? `/namespaces/${namespace}` : "";
  const below = name ? `/${name}${subresource ? `/${subresource}` : ""}` : "";
  return `${root}/${kind.version}${where}/${kind.plural}${below}`;
}

function toldAtEnd(watch: FrameStream, ended: () => void): FrameStream {
  return {
    kind: watch.kind,
    close: () => {
      ended();
      watch.close();
    },
    async *[Symbol.asyncIterator]() {
      try {
        yield* watch;
      } finally {
        ended();
      }
    },
  };
}

async function object<T>(door: Door, make: () => ApiRequest): Promise<DeepReadonly<T>> {
  return objectOf(await ask(door, make)) as unknown as DeepReadonly<T>;
}

async function list<T>(door: Door, make: () => ApiRequest): Promise<DeepReadonly<KubeList<T>>> {
  const answer = await ask(door, make);
  if (!answer.page) return answer.object as unknown as DeepReadonly<KubeList<T>>;
  return listOf(answer.page) as unknown as DeepReadonly<KubeList<T>>;
}

/** A page as a list of shared objects. */
export function listOf(page: Page): KubeList<DeepReadonly<KubeObject>> {
  const { kind, items, revision } = page;
  const metadata: KubeList["metadata"] = { resourceVersion: String(revision) };
  if (page.continue) metadata.continue = page.continue;
  if (page.remaining) metadata.remainingItemCount = page.remaining;
  return {
    apiVersion: apiVersionOf(kind),
    kind: listKindOf(kind),
    metadata,
    items: items.map((item) => served(kind, item)),
  };
}

async function watch<T>(
  door: Door,
  target: Target,
  query?: WatchQuery,
  signal?: AbortSignal,
): Promise<ClientWatch<T>> {
  const answer = await ask(door, () => ({ ...request(door, "watch", target, query), signal }));
  return eventsOf<T>(answer.watch!);
}

/** Frames as the client's events. */
function eventsOf<T>(stream: FrameStream): ClientWatch<T> {
  return {
    close: () => stream.close(),
    [Symbol.asyncIterator]() {
      const frames = stream[Symbol.asyncIterator]();
      const shown = ({ done, value }: IteratorResult<readonly Frame[]>) => {
        if (done) return END;
        const events = value.map((frame) => eventOf(stream.kind, frame));
        return { done: false as const, value: events as unknown as readonly WatchEvent<T>[] };
      };
      const failed = (error: unknown): never => {
        stream.close();
        throw error instanceof Disconnected ? error : asApiError(error, stream.kind);
      };
      return {
        next: () => frames.next().then(shown).catch(failed),
        return: () => frames.return!().then(() => END),
      };
    },
  };
}

const END: IteratorReturnResult<undefined> = { done: true, value: undefined };

/** One frame as an event. */
export function eventOf(kind: Kind, frame: Frame): WatchEvent<KubeObject> {
  if (frame.item) {
    return { type: frame.type, object: atRevision(served(kind, frame.item), frame.revision) };
  }
  return { type: "BOOKMARK", object: bookmarkOf(kind, frame) };
}

/** The object of a bookmark. */
export function bookmarkOf(kind: Kind, frame: Frame): KubeObject {
  const metadata: Record<string, unknown> = { resourceVersion: String(frame.revision) };
  if (frame.initialEnd) metadata.annotations = { "k8s.io/initial-events-end": "true" };
  return {
    apiVersion: apiVersionOf(kind),
    kind: kind.kind,
    metadata: metadata as unknown as KubeObject["metadata"],
  };
}

async function remove(
  door: Door,
  target: Target & { name: string },
  query: DeleteQuery = {},
): Promise<DeepReadonly<KubeObject>> {
  const deleteOptions = { ...query };
  return objectOf(await ask(door, () => ({ ...request(door, "delete", target), deleteOptions })));
}

async function removeAll(
  door: Door,
  target: Target,
  query: ListQuery & DeleteQuery = {},
): Promise<void> {
  const { dryRun, gracePeriodSeconds, propagationPolicy, preconditions, ...listQuery } = query;
  const deleteOptions = { dryRun, gracePeriodSeconds, propagationPolicy, preconditions };
  await ask(door, () => ({
    ...request(door, "deletecollection", target, listQuery),
    deleteOptions,
  }));
}
