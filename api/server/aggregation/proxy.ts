/**
 * Requests for what another server serves: authenticated and authorized here like all others, then passed on with
 * the user's identity in headers that the other server believes because of our certificate. Bodies of answers are
 * streams: a watch goes through as it comes. Upgraded connections are joined byte by byte.
 */
import type { Buffer } from "node:buffer";
import type { User } from "../../client/contract.ts";
import { OutboundError } from "../../client/outbound.ts";
import { unavailable } from "../../machinery/errors.ts";
import { authorize } from "../authorize.ts";
import type { Deps } from "../deps.ts";
import { answeredHeaders, forwardedFor, passedHeaders, passUpgrade } from "../forwarding.ts";
import { type Call, type Reply, textReply } from "../http.ts";
import type { Socket } from "../listen.ts";
import { pass, staged } from "../passage.ts";
import type { Route } from "../route.ts";
import { requestedResource } from "../front.ts";
import { DISCOVERY_TIMEOUT_MS } from "./availability.ts";
import { type Remote, remoteHeaders, saysWho } from "./remote.ts";

/** Largest body that is passed on. */
export const REMOTE_BODY_BYTES_MAX = 64 * 1024 * 1024;
/** Longest wait for an answer to begin, in ms: upstream's bound on requests. */
export const REMOTE_TIMEOUT_MS = 60_000;

/** Answers a request for one of a remote's resources. Never throws. */
export function answerRemote(
  deps: Deps,
  call: Call,
  route: Route,
  remote: Remote,
): Promise<Reply> {
  const query = new URLSearchParams(call.query);
  const requested = requestedResource({ method: call.method, route, query });
  return pass(deps, call, { requested }, async (passage) => {
    const { user, audit, id } = passage;
    await authorize(deps, { ...requested, user }, audit);
    return await staged(deps, { call, passage }, () => passOn(call, remote, user, { deps, id }));
  });
}

/** How a request is passed on. */
export interface PassingOn {
  deps: Deps;
  /** It is to be quick. */
  discovery?: boolean;
  /** Its Audit-ID, where it is known: both servers' audits name it so. */
  id?: string;
}

/** Passes a request on, whoever has authorized it. */
export async function passOn(
  call: Call,
  remote: Remote,
  user: User,
  { deps, discovery = false, id }: PassingOn,
): Promise<Reply> {
  if (!remote.available) return plain(503, "service unavailable");
  const body = call.method === "GET" || call.method === "HEAD"
    ? undefined
    : await call.body(REMOTE_BODY_BYTES_MAX);
  const leaving = new AbortController();
  call.signal?.addEventListener("abort", () => leaving.abort(), { once: true });
  try {
    const { status, headers, body: pieces } = await deps.outbound.open(await remote.endpoint(), {
      method: call.method,
      path: call.path,
      query: call.query,
      headers: headersFor(call, user, id),
      ...(body?.length && { body }),
      timeoutMs: discovery ? DISCOVERY_TIMEOUT_MS : REMOTE_TIMEOUT_MS,
      signal: leaving.signal,
    });
    if (status >= 300 && status <= 399 && headers.location) {
      leaving.abort();
      return plain(
        502,
        "the backend attempted to redirect this request, which is not permitted",
      );
    }
    const answered = answeredHeaders(call, headers);
    return { status, headers: answered, body: leavable(pieces, () => leaving.abort()) };
  } catch (error) {
    return notReached(error);
  }
}

/** Pieces that can be left while one is awaited: a watch may be silent for long. */
function leavable(pieces: AsyncIterable<Uint8Array>, leave: () => void): AsyncIterable<Uint8Array> {
  return {
    [Symbol.asyncIterator]() {
      const iterator = pieces[Symbol.asyncIterator]();
      return {
        next: () => iterator.next(),
        return() {
          leave();
          iterator.return?.().catch(() => {});
          return Promise.resolve({ done: true, value: undefined });
        },
      };
    },
  };
}

function notReached(error: unknown): Reply {
  if (!(error instanceof OutboundError)) throw error;
  return plain(503, error.failure === "unresolved" ? "service unavailable" : error.message);
}

/** Upstream's proxy speaks plain text. */
function plain(status: number, text: string): Reply {
  return textReply(status, `${text}\n`);
}

function headersFor(
  call: Call,
  user: User,
  id: string | undefined,
): Record<string, string | string[]> {
  return {
    ...passedHeaders(call, saysWho),
    ...forwardedFor(call),
    ...(id && { "audit-id": id }),
    ...remoteHeaders(user),
  };
}

/** Whose connection asks for another protocol. */
interface Upgrading {
  remote: Remote;
  user: User;
  door: { socket: Socket; head: Buffer; switchTo(): void };
}

/** Joins a client's connection, which asks for another protocol, with one to the remote, until they end; it has been authorized. */
export async function upgradeRemote(
  deps: Deps,
  call: Call,
  { remote, user, door }: Upgrading,
): Promise<void> {
  if (!remote.available) throw unavailable("service unavailable");
  let far: Socket;
  try {
    far = await deps.outbound.connect(await remote.endpoint());
  } catch (error) {
    throw unavailable(`error dialing backend: ${(error as Error).message}`);
  }
  door.switchTo();
  const { namespace, name } = remote.service;
  const upgraded = {
    host: `${name}.${namespace}.svc`,
    path: call.path,
    withheld: saysWho,
    more: remoteHeaders(user),
  };
  await passUpgrade(call, door, far, upgraded);
}
