/** What browsers are told: which other origins may use the API (CORS), and that it is only to be reached by TLS (HSTS). */
import type { Call, Reply } from "./http.ts";

const METHODS = "POST, GET, OPTIONS, PUT, DELETE, PATCH";
const HEADERS = "Content-Type, Content-Length, Accept-Encoding, X-CSRF-Token, Authorization, " +
  "X-Requested-With, If-Modified-Since";

/** Options for browsers. */
export interface BrowserOptions {
  /** Regular expressions of origins that may use the API; default: none. */
  corsOrigins?: readonly RegExp[];
  /** Directives of Strict-Transport-Security; default: none is sent. */
  hsts?: readonly string[];
}

/** The headers that a call's answer gets; undefined: none. */
export function browserHeaders(
  call: Call,
  { corsOrigins = [], hsts = [] }: BrowserOptions,
): Record<string, string> | undefined {
  const headers: Record<string, string> = {};
  if (hsts.length > 0) headers["strict-transport-security"] = hsts.join("; ");
  const origin = corsOrigins.length > 0 ? call.header("origin") : undefined;
  if (origin && corsOrigins.some((pattern) => pattern.test(origin))) {
    headers["access-control-allow-origin"] = origin;
    headers["access-control-allow-methods"] = METHODS;
    headers["access-control-allow-headers"] = HEADERS;
    headers["access-control-expose-headers"] = "Date";
    headers["access-control-allow-credentials"] = "true";
  }
  return headers;
}

/** The answer to a browser that asks beforehand; undefined: it is no such question. */
export function preflight(call: Call, headers: Record<string, string>): Reply | undefined {
  if (call.method !== "OPTIONS" || !headers["access-control-allow-origin"]) return undefined;
  return { status: 204, headers: {} };
}
