/**
 * The client of a server elsewhere, over the way out: what an endpoint says of trust and credentials is asked anew for
 * each request, so that a renewed certificate counts at once.
 *
 * A request that is not answered in time ends with its connection, and `drop` ends all that are under way: whoever knows
 * that the network has changed need not wait until each of them notices.
 */
import type { Clock } from "../../kv/clock.ts";
import type { Client } from "./contract.ts";
import { httpClient } from "./http.ts";
import type { Endpoint, Outbound } from "./outbound.ts";

/** How long an answer's head may take. */
export const ANSWER_MS_MAX = 10_000;
/** How long the whole of an answer may take that is no watch. */
export const BODY_MS_MAX = 60_000;

/** A client whose requests can be given up. */
export interface DroppableClient {
  client: Client;
  /** Gives up all requests and watches that are under way. */
  drop(why: string): void;
}

/** See the module's text. `endpoint` is asked for each request. */
export function outboundClient(
  { outbound, endpoint, clock, agent }: {
    outbound: Outbound;
    endpoint: () => Endpoint;
    clock: Clock;
    agent?: string;
  },
): DroppableClient {
  const under = new Set<AbortController>();
  const transport = async (request: Request): Promise<Response> => {
    const { pathname, search } = new URL(request.url);
    const stop = new AbortController();
    under.add(stop);
    const abort = () => stop.abort();
    request.signal.addEventListener("abort", abort, { once: true });
    const watch = search.includes("watch=true");
    const timer = watch ? undefined : clock.timer("background", BODY_MS_MAX, abort);
    const over = () => {
      under.delete(stop);
      timer?.cancel();
      request.signal.removeEventListener("abort", abort);
    };
    try {
      const body = request.body ? new Uint8Array(await request.arrayBuffer()) : undefined;
      const reply = await outbound.open(endpoint(), {
        method: request.method,
        path: pathname,
        query: search.slice(1),
        headers: Object.fromEntries(request.headers),
        body,
        timeoutMs: ANSWER_MS_MAX,
        signal: stop.signal,
      });
      const headers = new Headers();
      for (const [name, value] of Object.entries(reply.headers)) headers.set(name, String(value));
      const empty = reply.status === 204 || reply.status === 304;
      const content = streamOf(reply.body, over);
      return new Response(empty ? null : content, { status: reply.status, headers });
    } catch (error) {
      over();
      throw error;
    }
  };
  return {
    client: httpClient({ server: "https://server", transport, agent }),
    drop(why) {
      for (const stop of [...under]) stop.abort(new Error(why));
    },
  };
}

function streamOf(
  body: AsyncIterable<Uint8Array>,
  over: () => void,
): ReadableStream<Uint8Array<ArrayBuffer>> {
  const pieces = body[Symbol.asyncIterator]();
  return new ReadableStream({
    async pull(controller) {
      try {
        const { done, value } = await pieces.next();
        if (!done) return controller.enqueue(value as Uint8Array<ArrayBuffer>);
        over();
        controller.close();
      } catch (error) {
        over();
        controller.error(error);
      }
    },
    async cancel() {
      over();
      await pieces.return?.();
    },
  }, { highWaterMark: 0 });
}
