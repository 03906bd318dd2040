/**
 * Requests and commits as spans (`machinery/spans.ts`). A request belongs to the trace of what it writes, or of what it
 * reacts to; its stages are events of its span. Nothing here is called where nobody records.
 */
import type { Store } from "../../kv/contract.ts";
import type { ApiError, KubeObject } from "../machinery/types.ts";
import { type Deps, resourceName } from "./deps.ts";
import type { ApiRequest } from "./request.ts";

const SCOPE = "apiserver";

/** What a write gives; each of its revisions becomes a span. */
export async function commitsRecorded<R>(
  { spans, database }: Deps,
  request: ApiRequest,
  { store, writing, made }: {
    store: Store<KubeObject>;
    writing: Promise<R>;
    made: { readonly first: number; readonly last: number };
  },
): Promise<R> {
  const begin = spans!.now();
  const result = await writing;
  const { cause, kind, namespace, name } = request;
  for (let revision = made.first; revision <= made.last; revision++) {
    spans!.add({
      trace: cause!.trace,
      // The other store counts by itself: nobody reacts to it
      id: store === database.objects ? spans!.ofRevision(revision) : spans!.next(),
      parent: request.span ??= spans!.next(),
      name: "commit",
      scope: "store",
      begin,
      end: spans!.now(),
      attributes: { "plesio.revision": revision, resource: kind.plural, namespace, name },
    });
  }
  return result;
}

/** A request came with a trace that somebody outside records, or does not. */
export function heard({ spans }: Deps, { origin }: ApiRequest): void {
  if (origin?.trace && origin.sampled !== undefined) spans!.decide(origin.trace, origin.sampled);
}

/** A request is over. */
export function ended(deps: Deps, request: ApiRequest, failure: ApiError | undefined): void {
  const { spans, traceIds } = deps;
  const { origin, cause, stages, kind, verb, subresource, namespace, name, user } = request;
  const because = cause?.because ?? origin?.because ?? 0;
  const trace = cause?.trace ?? origin?.trace ?? spans!.following(because)?.trace ??
    traceIds.next();
  if (!spans!.wants(trace)) return;
  const events = stages!.map(({ stage, at }) => ({ name: stage, at: spans!.at(at) }));
  const resource = resourceName(kind);
  spans!.add({
    trace,
    id: request.span ?? spans!.next(),
    parent: origin?.span ?? (because > 0 ? spans!.ofRevision(because) : undefined),
    name: `${verb} ${resource}${subresource && `/${subresource}`}`,
    scope: SCOPE,
    serves: true,
    begin: events[0].at,
    end: spans!.now(),
    attributes: {
      resource,
      namespace,
      name,
      "user.name": user.name,
      "user_agent.original": request.agent,
      "plesio.by": cause?.by,
      "plesio.because": because || undefined,
      "http.response.status_code": failure?.code,
    },
    events,
    error: failure?.message,
  });
}
