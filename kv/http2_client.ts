/**
 * Keeps HTTP/2 sessions of this process from taking it with them. One without streams is closed by node:http2
 * within the call that tells of the other side's GOAWAY; Deno 2.9 then frees what its HTTP/2 library still walks
 * through, which ends the whole process: a client, a storage driver, a container runtime or a database that stops
 * politely would end who speaks with it.
 * So every session ends in a later turn.
 */
import http2 from "node:http2";

let guarded = false;

/** Guards all clients that are made from now on, those of libraries too. */
export function guardHttp2Clients(): void {
  if (guarded) return;
  guarded = true;
  const { connect } = http2;
  http2.connect =
    ((...args: Parameters<typeof connect>) => endLater(connect(...args))) as typeof connect;
}

/** Lets a session end in a later turn. */
export function endLater<S extends http2.Http2Session>(session: S): S {
  const { close, destroy } = session;
  session.close = (...args) => void setImmediate(() => close.apply(session, args));
  session.destroy = (...args) => void setImmediate(() => destroy.apply(session, args));
  return session;
}
