/**
 * An open WebSocket of the library `ws` as both its ends use it: whole messages with back-pressure both ways. The server
 * accepts them (`server/web_socket.ts`), a node of another machine dials them.
 */
import type { Buffer } from "node:buffer";
import type { WebSocket } from "ws";

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

/** Wraps one that is open, or is about to be. */
export function socketed(ws: WebSocket, protocol: string): Socketed {
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
