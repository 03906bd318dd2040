/**
 * WebSockets as the API uses them: a choice of subprotocol, then messages with back-pressure both ways. The
 * library that speaks the protocol is loaded at the first one.
 */
import type { Buffer } from "node:buffer";
import type { IncomingMessage, Socket } from "./listen.ts";
import type { WebSocket } from "ws";

/** Largest message that is taken. */
const MESSAGE_BYTES_MAX = 16 * 1024 * 1024;

/** An open WebSocket. */
export interface Socketed {
  readonly protocol: string;
  /** Resolves when it has been handed to the connection. */
  send(data: Uint8Array | string): Promise<void>;
  /** Hears of messages one at a time: the next waits until this one has been dealt with. */
  receive(handler: (data: Uint8Array) => Promise<void> | void): void;
  close(code?: number, reason?: string): void;
  /** Resolves when it is over. */
  readonly closed: Promise<void>;
}

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
  return wrap(accepted, protocol ?? "");
}

function wrap(ws: WebSocket, protocol: string): Socketed {
  const closed = new Promise<void>((resolve) => {
    ws.on("close", () => resolve());
    ws.on("error", () => {
      ws.terminate();
      resolve();
    });
  });
  // Messages wait here until somebody hears them
  const early: Uint8Array[] = [];
  let handler: ((data: Uint8Array) => Promise<void> | void) | undefined;
  let work: Promise<void> = Promise.resolve();
  let waiting = 0;
  const deal = (data: Uint8Array) => {
    if (++waiting === 1) ws.pause();
    work = work.then(() => handler!(data)).catch(() => ws.close(1011)).finally(() => {
      if (--waiting === 0) ws.resume();
    });
  };
  ws.on("message", (data: Buffer) => {
    const bytes = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
    if (handler) deal(bytes);
    else early.push(bytes);
  });
  return {
    protocol,
    closed,
    send: (data) =>
      new Promise((resolve) => {
        if (ws.readyState !== ws.OPEN) resolve();
        else ws.send(data, { binary: typeof data !== "string" }, () => resolve());
      }),
    receive(hear) {
      handler = hear;
      for (const data of early.splice(0)) deal(data);
    },
    close: (code = 1000, reason) => ws.close(code, reason),
  };
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
