/** What passing a request on means for its headers and its connection, wherever it is passed to. */
import type { OutboundHeaders } from "../client/outbound.ts";
import { confined, isBrowser } from "./browsers.ts";
import type { Call, Reply } from "./http.ts";
import type { Socket } from "./listen.ts";

/** Headers that belong to one connection. */
const OF_CONNECTION = new Set([
  "connection",
  "keep-alive",
  "proxy-authenticate",
  "proxy-authorization",
  "te",
  "trailer",
  "transfer-encoding",
  "upgrade",
  "host",
  "content-length",
]);

/**
 * A call's headers as they are passed on: nothing that is one connection's own, nor what is withheld, nor a browser's
 * cookies, which are of everything on this host.
 */
export function passedHeaders(
  call: Call,
  withheld: (name: string) => boolean,
): Record<string, string | string[]> {
  const headers: Record<string, string | string[]> = {};
  const browser = isBrowser(call);
  for (const [name, value] of call.headers()) {
    if (browser && name === "cookie") continue;
    if (name.startsWith(":") || OF_CONNECTION.has(name) || withheld(name)) continue;
    headers[name] = typeof value === "string" ? value : [...value];
  }
  return headers;
}

/** For whom a call is passed on, where its client's address is known. */
export function forwardedFor(call: Call): { "x-forwarded-for"?: string } {
  const { remote } = call;
  if (!remote) return {};
  const before = call.header("x-forwarded-for");
  return { "x-forwarded-for": before ? `${before}, ${remote}` : remote };
}

/** By which a page takes over a whole origin: this one is the API's and the dashboard's, not its. */
const TAKES_OVER = "service-worker-allowed";

/** An answer's headers as they are passed back. Its length stays: the body passes as it is. */
export function answeredHeaders(call: Call, answered: OutboundHeaders): Reply["headers"] {
  const headers: Reply["headers"] = {};
  for (const [name, value] of Object.entries(answered)) {
    if (OF_CONNECTION.has(name) && name !== "content-length") continue;
    if (name === TAKES_OVER) continue;
    headers[name] = typeof value === "string" ? value : [...value];
  }
  return isBrowser(call) ? confined(headers) : headers;
}

/** Lets two connections speak with each other; the end of one is the other's. */
export function joinSockets(one: Socket, other: Socket): void {
  one.pipe(other);
  other.pipe(one);
  const end = () => {
    one.destroy();
    other.destroy();
  };
  for (const socket of [one, other]) {
    socket.on("close", end);
    socket.on("error", end);
  }
}
