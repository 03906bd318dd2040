/**
 * `/plesio/v1/tickets`: what a pod or a Service answers, in a browser's tab of its own. A tab sends no token; so whoever
 * has one is given an address that works without, for a while:
 *
 * | request | answer |
 * | --- | --- |
 * | POST `/api/v1/namespaces/…/pods\|services/[scheme:]NAME[:PORT]/proxy` | `{ path, seconds }`: the address |
 * | any, `/TICKET/…` | what the proxy answers |
 *
 * - **It grants one proxy and nothing else**, and there no more than the bearer token that it was made with: each request
 *   is authenticated by that token, authorized and audited as one for the proxy's own path. It ends with the token, by
 *   a log-out too, and after an hour.
 * - **It is not logged**: audit, metrics and traces see the proxy's path. The place itself is told neither the address
 *   (no Referer) nor the token.
 * - **It needs no cookie**, for what comes from others has no origin in browsers (`server/browsers.ts`), and a page
 *   without one sends none. Its own requests are of another origin too, in a browser's eyes: here anybody may read the
 *   answer who knows the address.
 */
import { bearerToken } from "../auth/authn.ts";
import type { Requested } from "../auth/impersonate.ts";
import { TICKET_MS } from "../auth/logins.ts";
import { badRequest } from "../machinery/errors.ts";
import type { Inner } from "../server/app.ts";
import { requestedOf } from "../server/front.ts";
import { type Call, inner, jsonReply, type Reply } from "../server/http.ts";
import { allowMethods, type Asked, notThere, split } from "./endpoint.ts";
import type { PlesioPorts } from "./ports.ts";

const PATH = "/plesio/v1/tickets";
/** A place that tickets are for. */
const PLACE = /^\/api\/v1\/namespaces\/[^/]+\/(?:pods|services)\/[^/]+\/proxy(?=\/?$)/;
/** Headers that tell the place where it is seen, and by whom. */
const WITHHELD: ReadonlySet<string> = new Set(["authorization", "origin", "referer"]);
/** What pages without an origin may do here, as browsers are told. */
const FOR_ALL = {
  "access-control-allow-origin": "*",
  "access-control-expose-headers": "*",
  "referrer-policy": "no-referrer",
};

/** Whoever may GET a place through the proxy may have a ticket for it. */
export function ticketsFor(call: Call, rest: string): Requested {
  return requestedOf({ ...inner(call, ""), method: "GET", path: placeOf(rest) });
}

function placeOf(rest: string): string {
  const place = PLACE.exec(rest)?.[0];
  if (place) return place;
  throw notThere(`${PATH} is followed by the path of a pod's or a Service's proxy`);
}

/** Makes one. */
export async function tickets(asked: Asked): Promise<Reply> {
  allowMethods(asked, "POST");
  await asked.authorize();
  const { call, rest, ports } = asked;
  const token = bearerToken(call);
  if (!token) throw badRequest("a ticket stands for a bearer token, and there is none");
  if (call.hasHeaders("impersonate-")) throw badRequest("a ticket cannot impersonate anybody");
  const ticket = await ports.logins.ticket({ place: placeOf(rest), token });
  const path = `${call.under ?? ""}${PATH}/${ticket}/`;
  return jsonReply(201, { path, seconds: TICKET_MS / 1000 }, { "cache-control": "no-store" });
}

/** A request with a ticket, as one for its place; undefined: it is for one. Throws 404 for a ticket that is none. */
export function ticketed(
  call: Call,
  asked: string,
  { api, logins }: PlesioPorts,
): Inner | undefined {
  if (PLACE.test(asked) || !asked) return undefined;
  const { first, rest } = split(asked);
  const good = logins.ticketed(first);
  if (!good) {
    throw notThere("this address is no longer good: open the page from the dashboard again");
  }
  const server = api();
  return {
    call: placed(call, good, rest),
    server: {
      upgrade: (placed, socket, head) => server.upgrade(placed, socket, head),
      answer: async (placed) => preflight(call) ?? forAll(await server.answer(placed)),
    },
  };
}

/** The call that a ticket's stands for. */
function placed(
  call: Call,
  { place, token }: { place: string; token: string },
  rest: string,
): Call {
  const path = place + rest;
  const shownAt = `${call.under ?? ""}${call.path.slice(0, call.path.length - rest.length)}`;
  return {
    ...inner(call, ""),
    path,
    shownAt,
    certificate: undefined,
    header: (name) =>
      name === "authorization"
        ? `Bearer ${token}`
        : WITHHELD.has(name)
        ? undefined
        : call.header(name),
    *headers() {
      for (const header of call.headers()) if (!WITHHELD.has(header[0])) yield header;
    },
    hasHeaders: (prefix) => prefix !== "impersonate-" && call.hasHeaders(prefix),
  };
}

/** The answer to a browser that asks whether a page may ask. */
function preflight(call: Call): Reply | undefined {
  const method = call.header("access-control-request-method");
  if (call.method !== "OPTIONS" || !method) return undefined;
  const wanted = call.header("access-control-request-headers");
  return {
    status: 204,
    headers: {
      ...FOR_ALL,
      "access-control-allow-methods": method,
      ...(wanted && { "access-control-allow-headers": wanted }),
    },
  };
}

function forAll(reply: Reply): Reply {
  const headers = { ...reply.headers };
  for (const name in headers) if (name.startsWith("access-control-")) delete headers[name];
  return { ...reply, headers: { ...headers, ...FOR_ALL } };
}
