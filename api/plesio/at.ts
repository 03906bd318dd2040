/**
 * `/plesio/v1/at/<revision or RFC 3339 time>/<path of Kubernetes' API>`: the cluster as it was, as a server of its own
 * under that path, so that `kubectl --server https://HOST/plesio/v1/at/1234 get pods` shows it. Discovery, OpenAPI, GET
 * and LIST, whatever the representation; writes and watches are 405, what history no longer holds is 410.
 *
 * A request has the rights, the place in the audit and the share of the server that it would have at Kubernetes' own
 * path now: nobody sees more of the past than they may see of the present.
 */
import type { Requested } from "../auth/impersonate.ts";
import { FutureRevisionError, type Store } from "../../kv/contract.ts";
import { ApiError, type KubeObject } from "../machinery/types.ts";
import { futureRevision } from "../server/deps.ts";
import { isConnected, requestedOf, withWarnings } from "../server/front.ts";
import { type Call, inner, type Reply } from "../server/http.ts";
import { decoded, flag, routeOf } from "../server/route.ts";
import { type Asked, notThere, split } from "./endpoint.ts";
import { keptSince, momentOf, timeNamed } from "./moment.ts";

/** What there is of the past beside resources. */
const KNOWN = /^\/(api|apis|openapi\/v[23]|version)(\/|$)/;

/** The moment that a path names, and the path under it. */
function placeOf(asked: string): { moment: string; path: string } {
  const { first, rest } = split(asked);
  return { moment: decoded(first), path: rest || "/" };
}

/** What a call asks for, as if it asked for it now. */
export function requestedAt(call: Call, rest: string): Requested {
  return requestedOf({ ...inner(call, ""), path: placeOf(rest).path });
}

/** Answers it. */
export async function at({ call, user, authorize, rest, ports }: Asked): Promise<Reply> {
  const { moment, path } = placeOf(rest);
  check(call, path);
  // The past's server does so too, but to make one is work, and tells which revisions there are
  await authorize();
  const under = call.path.slice(0, call.path.length - (path === "/" ? 0 : path.length));
  const { objects, events } = ports.database;
  try {
    const revision = await momentOf(objects, moment);
    const past = await ports.api().past.at(revision, timeNamed(moment));
    const asked = inner(call, under, user);
    const reply = await past.answer(path === "/" ? { ...asked, path } : asked);
    if (routeOf(path)?.resource !== "events") return reply;
    return withWarnings(reply, await missing(events, past.time));
  } catch (error) {
    if (!(error instanceof FutureRevisionError)) throw error;
    throw futureRevision(moment, error.current);
  }
}

/** What is to be said where Events of a time are not all kept any more. */
async function missing(events: Store<KubeObject>, time: number): Promise<string[]> {
  const since = await keptSince(events);
  if (since === undefined || since <= time) return [];
  const text = new Date(since).toISOString();
  return [`Events before ${text} are no longer kept: of those, what changed later is not shown`];
}

/** Throws 405 for what cannot be done to the past, and 404 for what it has not. */
function check(call: Call, path: string): void {
  const refused = (what: string) =>
    new ApiError({ code: 405, reason: "MethodNotAllowed", message: `the past ${what}` });
  if (call.method !== "GET" && call.method !== "HEAD") {
    throw refused("cannot be changed: only GET and LIST are served here");
  }
  const route = routeOf(path);
  if (!route) {
    if (path === "/" || KNOWN.test(path)) return;
    throw notThere(`the server has no past of ${path}`);
  }
  if (route.watch || flag(new URLSearchParams(call.query), "watch")) {
    throw refused("does not change, so that there is nothing to watch: get or list it");
  }
  if (isConnected(route)) {
    const hint = route.subresource === "log" ? "; /plesio/v1/logs has logs that were kept" : "";
    throw refused(`has no ${route.subresource}: that is between a client and a node${hint}`);
  }
}
