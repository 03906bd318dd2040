/**
 * `/dashboard/…`: the dashboard's files, for everybody, and the exchange of a log-in link's code for a token. The code
 * is a fragment of the link's address, which browsers keep to themselves, and comes in a body: no log sees it.
 */
import { Buffer } from "node:buffer";
import { createHash } from "node:crypto";
import { gzipSync } from "node:zlib";
import { bearerToken } from "../auth/authn.ts";
import type { Logins } from "../auth/logins.ts";
import { badRequest, unauthorized } from "../machinery/errors.ts";
import { takesGzip } from "../server/compress.ts";
import { type Call, jsonReply, type Reply, textReply } from "../server/http.ts";
import { allowMethods, type Asked } from "./endpoint.ts";

/** Where the dashboard lies. */
export const DASHBOARD_PATH = "/dashboard/";
/** Longest body that asks for a token. */
const LOGIN_BYTES_MAX = 1_024;

/** Files as they are sent, once somebody has asked for them. */
const READY = new Map<string, Ready>();

/** Answers `/dashboard` and what lies below. */
export function dashboard(asked: Asked): Promise<Reply> | Reply {
  const { call, rest, ports } = asked;
  if (rest === "/login") {
    allowMethods(asked, "POST", "DELETE");
    return login(call, ports.logins);
  }
  allowMethods(asked, "GET", "HEAD");
  if (!rest) return { status: 308, headers: { location: DASHBOARD_PATH } };
  return file(call, rest.slice(1));
}

/** The address of a log-in link. */
export function loginLink(server: string, code: string): string {
  return `${server}${DASHBOARD_PATH}#login=${code}`;
}

/** POST gives a token for a code, DELETE ends the token that comes along. */
async function login(call: Call, logins: Logins): Promise<Reply> {
  if (call.method === "DELETE") {
    await logins.end(bearerToken(call) ?? "");
    return { status: 204, headers: {} };
  }
  const { code } = parsed(await call.body(LOGIN_BYTES_MAX));
  const given = await logins.exchange(code);
  if (!given) throw unauthorized();
  return jsonReply(201, given, { "cache-control": "no-store" });
}

/** Reads it without repeating any of it: a refusal's text may be logged, a code may not. */
function parsed(body: Uint8Array): { code: string } {
  let value: { code?: unknown } | undefined;
  try {
    value = JSON.parse(new TextDecoder().decode(body));
  } catch {
    // Said below
  }
  if (typeof value?.code !== "string") throw badRequest('the body must be JSON with a "code"');
  return { code: value.code };
}

/** A file as it is sent. */
interface Ready {
  headers: Record<string, string>;
  plain: Uint8Array;
  zipped: Uint8Array;
}

async function file(call: Call, name: string): Promise<Reply> {
  let found = READY.get(name);
  if (!found) {
    const made = await madeReady(name);
    if (!made) return textReply(404, "404 page not found\n");
    READY.set(name, found = made);
  }
  const headers = { ...found.headers };
  if (call.header("if-none-match") === headers.etag) return { status: 304, headers };
  if (!takesGzip(call)) return { status: 200, headers, body: found.plain };
  return { status: 200, headers: { ...headers, "content-encoding": "gzip" }, body: found.zipped };
}

/** Loaded when somebody first asks: a cluster that nobody looks at does without. */
async function madeReady(name: string): Promise<Ready | undefined> {
  const { DASHBOARD_HEADERS, dashboardFile } = await import("../web/mod.ts");
  const found = dashboardFile(name);
  if (!found) return undefined;
  const plain = new Uint8Array(Buffer.from(found.text));
  const etag = `"${createHash("sha256").update(plain).digest("base64url").slice(0, 22)}"`;
  const headers = {
    ...DASHBOARD_HEADERS,
    "content-type": found.type,
    vary: "Accept-Encoding",
    etag,
  };
  return { headers, plain, zipped: new Uint8Array(gzipSync(plain, { level: 9 })) };
}
