/**
 * WebSockets as the API uses them: a choice of subprotocol, then messages with back-pressure both ways. The
 * library that speaks the protocol is loaded at the first one.
 */
import type { Buffer } from "node:buffer";
import type { IncomingMessage, Socket } from "./listen.ts";
import type { WebSocket } from "ws";
import { type Socketed, socketed } from "../client/socketed.ts";

export type { Socketed };

/** Largest message that is taken. */
const MESSAGE_BYTES_MAX = 16 * 1024 * 1024;

/** The subprotocols a client offers, in its order. */
export function offeredProtocols(header: string | undefined): string[] {
  return (header ?? "").split(",").map((s) => s.trim()).filter(Boolean);
}

/** Completes a handshake with the given subprotocol (or none). Rejects when the client's request is no good. */
export async function acceptWebSocket(
  request: IncomingMessage,
  socket: Socket,
  head: Buffer,
  protocol: string | undefined,
): Promise<Socketed> {
  const { WebSocketServer } = await import("ws");
  const server = new WebSocketServer({
    noServer: true,
    clientTracking: false,
    perMessageDeflate: false,
    maxPayload: MESSAGE_BYTES_MAX,
  });
  // The tunnel's name (`SPDY/3.1+portforward.k8s.io`) is no token of RFC 6455, and `ws` would refuse it: the
  // subprotocol has been chosen before, and is answered by hand
  delete request.headers["sec-websocket-protocol"];
  server.on("headers", (lines) => {
    if (protocol) lines.push(`Sec-WebSocket-Protocol: ${protocol}`);
  });
  const accepted = await new Promise<WebSocket>((resolve, reject) => {
    socket.once("close", () => reject(new Error("the client has gone")));
    server.once("wsClientError", reject);
    server.handleUpgrade(request, socket, head, resolve);
  });
  return socketed(accepted, protocol ?? "");
}

/** Messages whose first byte (or digit) is a channel's number. */
export class Channels {
  readonly socket: Socketed;
  readonly #base64: boolean;

  constructor(socket: Socketed, base64: boolean) {
    this.socket = socket;
    this.#base64 = base64;
  }

  async send(channel: number, data: Uint8Array): Promise<void> {
    if (this.#base64) {
      let text = "";
      for (const byte of data) text += String.fromCharCode(byte);
      return await this.socket.send(String(channel) + btoa(text));
    }
    const message = new Uint8Array(data.length + 1);
    message[0] = channel;
    message.set(data, 1);
    await this.socket.send(message);
  }

  receive(handler: (channel: number, data: Uint8Array) => Promise<void> | void): void {
    this.socket.receive((message) => {
      if (message.length === 0) return;
      if (!this.#base64) return handler(message[0], message.subarray(1));
      const text = new TextDecoder().decode(message.subarray(1));
      const data = Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
      return handler(message[0] - 0x30, data);
    });
  }
}
