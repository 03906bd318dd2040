/**
 * What every request over HTTP goes through before anybody looks at what it asks for, in upstream's order: an Audit-ID,
 * a deadline, authentication, audit, impersonation, flow control. What it asks for is `then`'s to authorize and answer.
 * Failures become replies here; whatever happens, the audit hears how it ended and the seats are given back.
 */
import type { Requested } from "../auth/impersonate.ts";
import type { User } from "../client/contract.ts";
import { badRequest, internal } from "../machinery/errors.ts";
import { agentText, type AuditRecord, sourceIPsOf } from "./audit.ts";
import { requestTimedOut } from "./deadlines.ts";
import { asApiError, type CallStage, type Deps } from "./deps.ts";
import { Refused } from "./flow.ts";
import { compressed, takesGzip } from "./compress.ts";
import { browserHeaders, preflight } from "./cors.ts";
import { isForStranger } from "./browsers.ts";
import {
  brokenOff,
  type Call,
  Disconnected,
  inner,
  isStream,
  type Reply,
  statusReply,
} from "./http.ts";
import type { Kind } from "../machinery/types.ts";

/** A request on its way. */
export interface Passage {
  /** Its Audit-ID. */
  readonly id: string;
  readonly requested: Requested;
  /** Watches and streams: neither deadline nor seats for all their time. */
  readonly longRunning: boolean;
  /** When it must have been answered (monotonic, ms); absent: never. */
  readonly deadline?: number;
  user: User;
  /** What is told of it; absent: nothing. */
  audit?: AuditRecord;
  /** Gives its seats back; harmless when repeated. */
  leave(): void;
  /** What flow control says of it in the answer. */
  headers?: Readonly<Record<string, string>>;
}

/** Answers a call that comes to no stage of requests, by way of the stage of such calls where there is one. */
export async function staged(
  deps: Deps,
  { call, passage: { requested, user } }: { call: Call; passage: Passage },
  answer: Parameters<CallStage>[1],
): Promise<Reply> {
  if (!deps.callStage) return await answer(NOTHING);
  const { verb, group, resource, resourceRequest, subresource, namespace, name } = requested;
  const asked = {
    verb,
    ...(resourceRequest && { subject: { group, resource } }),
    subresource,
    namespace,
    name,
    path: call.path,
    user,
    agent: agentOf(call.header("user-agent")),
  };
  try {
    return await deps.callStage(asked, answer);
  } catch (error) {
    if (!(error instanceof Disconnected)) throw error;
    return { status: 500, headers: {}, broken: "unheard" };
  }
}

/** The field manager of a client that names none: its user agent up to the slash. */
export function agentOf(agent: string | undefined): string {
  if (!agent) return "unknown";
  const end = agent.indexOf("/");
  return (end < 0 ? agent : agent.slice(0, end)).slice(0, 128) || "unknown";
}

const LONG_VERBS = new Set(["watch", "proxy"]);
const LONG_SUBRESOURCES = new Set([
  "attach",
  "exec",
  "proxy",
  "log",
  "portforward",
  "relay",
  "tunnel",
]);

/** Whether a request may take as long as it likes. */
export function isLongRunning(requested: Requested): boolean {
  return LONG_VERBS.has(requested.verb) ||
    (requested.subresource !== "" && LONG_SUBRESOURCES.has(requested.subresource));
}

/** A failure's reply. */
export function failure(error: unknown, kind?: Kind): Reply {
  const known = asApiError(error, kind);
  return statusReply(known.status);
}

/** Takes a call through that came at `began` (monotonic, ms), and gives what `then` answers. Never throws. */
export async function pass(
  deps: Deps,
  call: Call,
  { requested, began = deps.clock.monotonic(), longRunning = isLongRunning(requested) }: {
    requested: Requested;
    began?: number;
    longRunning?: boolean;
  },
  then: (passage: Passage) => Promise<Reply>,
): Promise<Reply> {
  const { front, closing, clock } = deps;
  const extra = front.browsers && browserHeaders(call, front.browsers);
  const id = call.header("audit-id") || clock.uuid();
  let reply = closing.refusal(call) ?? (extra && preflight(call, extra));
  if (!reply) {
    // Whoever closes the server waits for those that are on their way
    if (!longRunning) closing.entered();
    try {
      reply = await timed({ deps, call, requested, id, longRunning, began }, then);
    } catch (error) {
      reply = failure(error);
    } finally {
      if (!longRunning) closing.left();
    }
  }
  if (!longRunning && reply.body && takesGzip(call)) reply = await compressed(reply);
  if (reply.broken === "midway") reply.body = brokenOff(reply.body);
  reply.headers["audit-id"] = id;
  reply.headers["cache-control"] ??= "no-cache, private";
  if (extra) Object.assign(reply.headers, extra);
  if (call.http2 && front.goawayChance && clock.random() < front.goawayChance) {
    reply.headers.connection = "close";
  }
  return reply;
}

interface Begun {
  deps: Deps;
  call: Call;
  requested: Requested;
  id: string;
  longRunning: boolean;
  /** When it came (monotonic, ms). */
  began: number;
  audit?: AuditRecord;
  passage?: Passage;
}

/** Answers within the time that the request has. */
function timed(
  begun: Begun,
  then: (passage: Passage) => Promise<Reply>,
): Promise<Reply> {
  const { deps: { deadlines }, call, began } = begun;
  if (begun.longRunning) return answered(begun, then);
  let limitMs: number;
  try {
    limitMs = deadlines.limitOf(call.query);
  } catch (error) {
    const reply = failure(error);
    const audit = auditOf(begun, undefined);
    if (audit) refused(audit, reply);
    return Promise.resolve(reply);
  }
  return deadlines.within({ began, limitMs }, answered(begun, then, began + limitMs), () => {
    const reply = failure(requestTimedOut());
    void begun.audit?.complete(reply.status, reply.outcome);
    // What goes on unheard must not keep others from being served
    begun.passage?.leave();
    return reply;
  });
}

async function answered(
  begun: Begun,
  then: (passage: Passage) => Promise<Reply>,
  deadline?: number,
): Promise<Reply> {
  const { deps, call, requested, longRunning } = begun;
  let user: User;
  try {
    if (deps.upToDate) await deps.upToDate();
    const found = authenticated(begun);
    user = found instanceof Promise ? await found : found;
  } catch (error) {
    return refusedIdentity(begun, error);
  }
  const audit = deps.audit && auditOf(begun, user);
  if (audit) {
    for (const [key, value] of call.notes ?? []) audit.annotate(key, value);
    const kept = audit.received();
    if (!(typeof kept === "boolean" ? kept : await kept)) {
      audit.rejected();
      return failure(internal("failed to store audit event"));
    }
  }
  const passage: Passage = begun.passage = {
    id: begun.id,
    requested,
    longRunning,
    deadline,
    user,
    audit,
    leave: NOTHING,
  };
  let reply: Reply;
  try {
    if (call.hasHeaders("impersonate-")) await impersonate(deps, call, passage);
    const arrival = arriving(deps, passage, call);
    if (arrival) await arrival;
    const seats = deps.flow.enter(passage, call);
    passage.leave = seats instanceof Promise ? await seats : seats;
    reply = requested.verb === "watch" ? await watched(deps, passage, then) : await then(passage);
  } catch (error) {
    reply = error instanceof Refused ? error.reply() : failure(error);
  }
  // A watch that streams keeps its seats until what was there has been sent, a list until it has been
  if (!isStream(reply.body)) passage.leave();
  else if (requested.verb !== "watch") reply.body = ending(reply.body, passage.leave);
  if (passage.headers) Object.assign(reply.headers, passage.headers);
  return audit ? await told(audit, reply, longRunning) : reply;
}

const NOTHING = () => {};

/** Waits for the body of a request for what is served here; what others serve they may want longer bodies for. */
function arriving(deps: Deps, passage: Passage, call: Call): Promise<void> | undefined {
  const { requested: { verb, group, version, resource, resourceRequest }, longRunning } = passage;
  if (verb === "get" || verb === "list" || longRunning || !resourceRequest) return undefined;
  if (!deps.kinds.byResource(group, version, resource)) return undefined;
  return deps.arrivals.wait(passage.user.name, call);
}

/** Counts a watch as long as it lasts: who writes what it watches is charged for it. */
async function watched(
  deps: Deps,
  passage: Passage,
  then: (passage: Passage) => Promise<Reply>,
): Promise<Reply> {
  const end = deps.flow.watches.begin(passage.requested);
  let streaming = false;
  try {
    const reply = await then(passage);
    if (!isStream(reply.body)) return reply;
    streaming = true;
    const over = () => {
      end();
      passage.leave();
      forget();
    };
    const body = ending(reply.body, over);
    const pieces = body[Symbol.asyncIterator]();
    const forget = deps.closing.streaming(() => void pieces.return?.());
    return { ...reply, body: { [Symbol.asyncIterator]: () => pieces } };
  } finally {
    if (!streaming) end();
  }
}

/** Whose request this is, by its credentials. Throws or rejects with 401. */
function authenticated(begun: Begun): User | Promise<User> {
  const { deps, call } = begun;
  if (call.user) {
    deps.identity?.attempted("success", 0, call.user.name);
    return call.user;
  }
  // The record begins once it is known whose request it is
  if (deps.audit) call.annotate = noted;
  return deps.authenticate(isForStranger(call) ? withoutCertificate(begun) : call);
}

/** A call as if nobody had shown a certificate, unless its page may use the API as its user. */
function withoutCertificate({ deps: { front }, call }: Begun): Call {
  const allowed = front.browsers && browserHeaders(call, front.browsers);
  if (allowed?.["access-control-allow-origin"]) return call;
  const annotate = call.annotate && ((key: string, value: string) => noted.call(call, key, value));
  return { ...inner(call, ""), certificate: undefined, annotate };
}

/** One for all calls: a closure over a request kept all of it from the collector, twice the garbage of a GET. */
function noted(this: Call, key: string, value: string): void {
  (this.notes ??= []).push([key, value]);
}

async function impersonate(deps: Deps, call: Call, passage: Passage): Promise<void> {
  if (!deps.impersonate) throw badRequest("impersonation is not available");
  const { audit, requested } = passage;
  const user = await deps.impersonate(passage.user, call.headers(), requested, (constraint) => {
    if (audit) audit.impersonationConstraint = constraint;
  });
  if (user === passage.user) return;
  passage.user = user;
  if (audit) audit.impersonated = user;
}

/** Begins the record of a request, if the policy wants one. */
function auditOf(begun: Begun, user: User | undefined): AuditRecord | undefined {
  const { deps, call, requested, id } = begun;
  return begun.audit = deps.audit?.begin({
    id,
    at: deps.clock.now(),
    uri: `${call.under ?? ""}${call.path}${call.query && `?${call.query}`}`,
    userAgent: agentText(call.header("user-agent")),
    sourceIPs: sourceIPsOf(call),
    asked: { ...requested, user },
  });
}

/** A request whose credentials are no good: the audit hears of it, and of no more. */
function refusedIdentity(begun: Begun, error: unknown): Reply {
  const reply = failure(error);
  const audit = auditOf(begun, undefined);
  if (audit) refused(audit, reply);
  return reply;
}

/** Tells the audit of a request that was refused before anybody knew whose it is. */
function refused(audit: AuditRecord, { status, outcome }: Reply): void {
  if (outcome) audit.answered(outcome);
  audit.started(status, outcome);
  audit.end();
}

/** Tells the audit how it ended: now, or when the answer's last piece has been taken. */
async function told(audit: AuditRecord, reply: Reply, longRunning: boolean): Promise<Reply> {
  if (audit.wantsResponse && reply.outcome && !audit.responseObject) audit.answered(reply.outcome);
  if (longRunning) audit.started(reply.status, reply.outcome);
  if (isStream(reply.body)) {
    const complete = () => void audit.complete(reply.status, reply.outcome);
    reply.body = ending(reply.body, complete);
    return reply;
  }
  const kept = audit.complete(reply.status, reply.outcome);
  if (kept) await kept;
  return reply;
}

/** The same pieces; `ended` hears once that there are no more, or that nobody wants them. */
function ending(
  body: AsyncIterable<Uint8Array>,
  ended: () => void,
): AsyncIterable<Uint8Array> {
  return {
    [Symbol.asyncIterator]() {
      const pieces = body[Symbol.asyncIterator]();
      return {
        async next() {
          try {
            const piece = await pieces.next();
            if (piece.done) ended();
            return piece;
          } catch (error) {
            ended();
            throw error;
          }
        },
        async return(value) {
          ended();
          return await pieces.return?.(value) ?? { done: true, value };
        },
      };
    },
  };
}
