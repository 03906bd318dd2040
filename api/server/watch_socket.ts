/** A watch over WebSocket: one event a text message, as browsers and Java's clients want it. */
import { parseIncludeObject } from "../machinery/table.ts";
import { run } from "./core.ts";
import type { Deps } from "./deps.ts";
import type { Call } from "./http.ts";
import { negotiate } from "./negotiate.ts";
import type { ApiRequest } from "./request.ts";
import { EventEncoder } from "./watch_reply.ts";
import type { Socketed } from "./web_socket.ts";

/** Serves a watch until either side ends it. A watch that cannot begin is refused before the handshake. */
export async function serveWatchSocket(
  deps: Deps,
  call: Call,
  request: ApiRequest,
  { accept }: { accept: () => Promise<Socketed> },
): Promise<void> {
  const custom = request.kind.custom === true;
  const offer = { protobuf: false, table: !custom || true, partial: true, list: false };
  const representation = negotiate(call.header("accept"), offer);
  const includeObject = parseIncludeObject(request.params.raw?.get("includeObject"));
  const gone = new AbortController();
  const { watch } = await run(deps, { ...request, signal: gone.signal });
  const encoder = new EventEncoder(deps, request.kind, { representation, includeObject });
  let socket: Socketed;
  try {
    socket = await accept();
  } catch (error) {
    watch!.close();
    throw error;
  }
  void socket.closed.then(() => gone.abort());
  const decoder = new TextDecoder();
  const send = (bytes: Uint8Array) => socket.send(decoder.decode(bytes).trimEnd());
  try {
    for await (const frames of watch!) for (const frame of frames) await send(encoder.event(frame));
  } catch (error) {
    await send(encoder.error(error));
  } finally {
    watch!.close();
    socket.close(1000);
  }
}
