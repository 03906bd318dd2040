/** What passing a request on means for its headers and its connection, wherever it is passed to. */
import type { Buffer } from "node:buffer";
import { withoutTokenProtocol } from "../auth/authn.ts";
import type { OutboundHeaders } from "../client/outbound.ts";
import { confined, isBrowser } from "./browsers.ts";
import type { Call, Reply } from "./http.ts";
import type { Socket } from "./listen.ts";
import { offeredProtocols } from "./web_socket.ts";

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

/** Where a call for another protocol is passed on to, and what it says there. */
export interface Upgraded {
  host: string;
  path: string;
  withheld: (name: string) => boolean;
  /** Said beside what the client says. */
  more?: OutboundHeaders;
}

/**
 * The head of a call for another protocol as it is passed on: what is the connection's own stays, as it becomes that of
 * both sides.
 */
export function upgradeHead(call: Call, { host, path, withheld, more = {} }: Upgraded): string {
  const query = call.query && `?${call.query}`;
  const lines = [`${call.method} ${path}${query} HTTP/1.1`, `host: ${host}`];
  const add = (name: string, value: string | readonly string[]) => {
    for (const one of [value].flat()) lines.push(`${name}: ${one}`);
  };
  // A page that asks for a socket names its origin, which a ticket keeps to itself; newer browsers say that they ask
  const browser = isBrowser(call) || call.header("origin") !== undefined;
  for (const [name, value] of call.headers()) {
    if (browser && name === "cookie") continue;
    if (name === "host" || name.startsWith(":") || withheld(name)) continue;
    if (name === "sec-websocket-protocol") {
      // A token among the subprotocols was for this server
      const offered = withoutTokenProtocol(offeredProtocols(call.header(name)));
      if (offered.length > 0) add(name, offered.join(", "));
    } else add(name, value);
  }
  for (const [name, value] of Object.entries(more)) add(name, value);
  return `${lines.join("\r\n")}\r\n\r\n`;
}

/** Passes a call for another protocol on, and joins its connection with the one that it goes to; resolves when that is over. */
export function passUpgrade(
  call: Call,
  { socket, head }: { socket: Socket; head: Buffer },
  far: Socket,
  upgraded: Upgraded,
): Promise<void> {
  far.write(upgradeHead(call, upgraded), "latin1");
  if (head.length) far.write(head);
  return joinSockets(socket, far);
}

/** Lets two connections speak with each other; the end of one is the other's, and is told. */
function joinSockets(one: Socket, other: Socket): Promise<void> {
  one.pipe(other);
  other.pipe(one);
  return new Promise((resolve) => {
    const end = () => {
      one.destroy();
      other.destroy();
      resolve();
    };
    for (const socket of [one, other]) {
      socket.on("close", end);
      socket.on("error", end);
    }
  });
}
