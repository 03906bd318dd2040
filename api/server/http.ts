/**
 * HTTP as this server sees it: a call in, a reply out. `app.ts` makes calls of fetch requests, `listen.ts`
 * of node's; neither the pipeline nor the representations know which one it was.
 */
import type { Credentials } from "../auth/contract.ts";
import type { User } from "../client/contract.ts";
import { tooLarge } from "../machinery/errors.ts";
import type { Status } from "../machinery/types.ts";
import { jsonBytes } from "./codec.ts";
import type { Answer } from "./request.ts";

/** Largest body of a request (upstream's default). */
export const BODY_BYTES_MAX = 3 * 1024 * 1024;

/** One HTTP request; also the credentials that came with it. */
export interface Call extends Credentials {
  method: string;
  /** Without the query. */
  path: string;
  /** Without the question mark. */
  query: string;
  /** A header by its lower-case name. */
  header(name: string): string | undefined;
  /** All headers, lower-case names. */
  headers(): Iterable<readonly [string, string | readonly string[]]>;
  /** Whether there is a header whose name begins so. */
  hasHeaders(prefix: string): boolean;
  /** The whole body; rejects with 413 when it is longer than `max`. Asked again, it is the same. */
  body(max: number): Promise<Uint8Array>;
  /** Bytes of a body that is still to come, as far as can be known; 0: none. Absent: it is there. */
  expected?(): number;
  /** It came over HTTP/2. */
  http2?: boolean;
  /** The address it came from. */
  remote?: string;
  /** Whose call this is, where whoever hands it over knows: no credentials are looked at. */
  user?: User;
  /** What was found out about its credentials, for the audit. */
  notes?: [key: string, value: string][];
  /** The path under which the server lies that it is for (default: none, it is the one that was called). */
  under?: string;
  /** Where whoever asked sees what is proxied, where that is not this path. */
  shownAt?: string;
  /** node's own request, for libraries that want one. */
  raw?: unknown;
  /** Aborted when the client has gone. */
  signal?: AbortSignal;
}

/**
 * A call to a server that lies under a path of the one it came to. `user`: whose it is known to be; that one's
 * credentials, and whom they act as, are not looked at again.
 */
export function inner(call: Call, under: string, user?: User): Call {
  return {
    method: call.method,
    path: call.path.slice(under.length) || "/",
    query: call.query,
    header: (name) => call.header(name),
    headers: () => call.headers(),
    hasHeaders: (prefix) => !(user && prefix === "impersonate-") && call.hasHeaders(prefix),
    body: (max) => call.body(max),
    expected: () => call.expected?.() ?? 0,
    http2: call.http2,
    remote: call.remote,
    get certificate() {
      return call.certificate;
    },
    get refusedCertificate() {
      return call.refusedCertificate;
    },
    get signal() {
      return call.signal;
    },
    get host() {
      return call.host;
    },
    user: user ?? call.user,
    under: (call.under ?? "") + under,
    raw: call.raw,
  };
}

/** What a body may be: at once, or in pieces. */
export type ReplyBody = Uint8Array | AsyncIterable<Uint8Array> | undefined;

/** One HTTP response. */
export interface Reply {
  status: number;
  headers: Record<string, string | string[]>;
  body?: ReplyBody;
  /** The Status that the body is, where it is one: the audit tells of it. */
  outcome?: Status;
  /** The connection is closed in its place, or after half of it. */
  broken?: "unheard" | "midway";
}

/** A connection that was closed before a request was answered, or, with the answer, in the middle of it. */
export class Disconnected extends Error {
  override name = "Disconnected";
  readonly answer?: Answer;

  constructor(answer?: Answer) {
    super("the connection was closed before the request was answered");
    this.answer = answer;
  }
}

/** The first half of a body, and then a connection that is closed. */
export async function* brokenOff(body: ReplyBody): AsyncGenerator<Uint8Array> {
  if (body && !isStream(body)) yield body.subarray(0, body.length >> 1);
  else if (body) {
    for await (const piece of body) {
      yield piece.subarray(0, piece.length >> 1);
      break;
    }
  }
  throw new Disconnected();
}

/** Whether a body comes in pieces. */
export function isStream(body: ReplyBody): body is AsyncIterable<Uint8Array> {
  return body !== undefined && !(body instanceof Uint8Array);
}

/** A stream as pieces. Leaving early cancels it at once, even while a piece is awaited. */
export function piecesOf(stream: ReadableStream<Uint8Array>): AsyncIterable<Uint8Array> {
  return {
    [Symbol.asyncIterator]() {
      const reader = stream.getReader();
      return {
        async next() {
          const { done, value } = await reader.read();
          return done ? { done, value: undefined } : { done, value };
        },
        async return() {
          await reader.cancel().catch(() => {});
          return { done: true, value: undefined };
        },
      };
    },
  };
}

/** 413, as upstream words it. */
export function bodyTooLarge(max: number) {
  return tooLarge(`Request entity too large: limit is ${max}`);
}

/** A JSON reply. */
export function jsonReply(
  status: number,
  value: unknown,
  headers: Record<string, string | string[]> = {},
): Reply {
  return {
    status,
    headers: { "content-type": "application/json", ...headers },
    body: jsonBytes(value),
  };
}

/** A plain text reply. */
export function textReply(status: number, text: string): Reply {
  return {
    status,
    headers: {
      "content-type": "text/plain; charset=utf-8",
      "x-content-type-options": "nosniff",
    },
    body: new TextEncoder().encode(text),
  };
}

/** A failure as its Status. */
export function statusReply(status: Status): Reply {
  // In upstream's order of fields
  const { kind, apiVersion, metadata, status: word, message, reason, details, code } = status;
  const reply = jsonReply(code, {
    kind,
    apiVersion,
    metadata,
    status: word,
    message,
    reason,
    details,
    code,
  });
  reply.outcome = status;
  const seconds = status.details?.retryAfterSeconds;
  if (seconds) reply.headers["retry-after"] = String(seconds);
  if (status.code === 401) reply.headers["www-authenticate"] = `Bearer realm="kubernetes"`;
  return reply;
}

/** The highest status that HTTP knows. */
const STATUS_MAX = 599;

/** The status to send: a webhook may refuse with any code, and what HTTP has none for is a failure of ours. */
export function statusOf({ status }: Pick<Reply, "status">): number {
  return status > STATUS_MAX ? 500 : status;
}
