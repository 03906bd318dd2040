/** A way out that leads nowhere: tests answer what is sent, and see it. */
import type { Clock } from "../../kv/clock.ts";
import {
  type Endpoint,
  type Outbound,
  type OutboundAnswer,
  OutboundError,
  type OutboundRequest,
} from "./outbound.ts";

/** One call that was made. */
export interface OutboundCall {
  endpoint: Endpoint;
  request: OutboundRequest;
  /** The body, parsed, where it is JSON. */
  // deno-lint-ignore no-explicit-any
  body: any;
}

/** What a test answers: a status (default 200) and a value to be sent as JSON, or text. */
export interface FakeAnswer {
  status?: number;
  headers?: Record<string, string>;
  json?: unknown;
  text?: string;
}

/** How the other side answers. One that never settles runs into the call's timeout, by the given clock. */
export type FakeServer = (call: OutboundCall) => FakeAnswer | Promise<FakeAnswer>;

/** A way out to `server`, and what went there. */
export function fakeOutbound(
  server: FakeServer,
  clock?: Clock,
): Outbound & { calls: OutboundCall[] } {
  const calls: OutboundCall[] = [];
  const send = async (endpoint: Endpoint, request: OutboundRequest): Promise<OutboundAnswer> => {
    const text = new TextDecoder().decode(request.body);
    const call = { endpoint, request, body: /^[{[]/.test(text) ? JSON.parse(text) : text };
    calls.push(call);
    const answer = await inTime(Promise.resolve(server(call)), request, clock);
    const body = answer.json === undefined ? answer.text ?? "" : JSON.stringify(answer.json);
    return {
      status: answer.status ?? 200,
      headers: answer.headers ?? {},
      body: new TextEncoder().encode(body),
    };
  };
  return {
    calls,
    send,
    async open(endpoint, request) {
      const { body, ...head } = await send(endpoint, request);
      return {
        ...head,
        body: (async function* () {
          yield body;
        })(),
      };
    },
    connect: () => Promise.reject(new OutboundError("nothing is there", "connection")),
  };
}

function inTime<T>(work: Promise<T>, request: OutboundRequest, clock?: Clock): Promise<T> {
  if (!clock || request.timeoutMs === undefined) return work;
  return new Promise((resolve, reject) => {
    const timer = clock.timer("work", request.timeoutMs!, () => {
      const verb = request.method[0] + request.method.slice(1).toLowerCase();
      reject(new OutboundError(`${verb} "fake": context deadline exceeded`, "timeout"));
    });
    work.then(resolve, reject).finally(() => timer.cancel());
  });
}
