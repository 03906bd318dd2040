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

/** What an inbox tells its connection. */
interface InboxPorts {
  /** A message could not be dealt with. */
  failed(): void;
  /** More wait than may; what comes from now on is dropped. */
  flooded(): void;
  /** Some are being dealt with: for a connection that can be held back. */
  filled?(): void;
  /** None is any more. */
  emptied?(): void;
}

/** Why a connection is closed whose messages come faster than they are dealt with. */
export const FLOODED = "too many messages wait to be dealt with";
/** Bytes of messages that may wait: where nobody hears them yet, or the connection cannot be held back. */
export const INBOX_BYTES_MAX = 32 * 1024 * 1024;

/** Messages that have come: each waits until those before it have been dealt with, and until somebody hears them. */
export class Inbox {
  readonly #ports: InboxPorts;
  readonly #early: Uint8Array[] = [];
  #handler: ((data: Uint8Array) => Promise<void> | void) | undefined;
  #work: Promise<void> = Promise.resolve();
  #waiting = 0;
  #bytes = 0;
  #flooded = false;

  constructor(ports: InboxPorts) {
    this.#ports = ports;
  }

  /** Takes a message. */
  add(data: Uint8Array): void {
    if (this.#flooded) return;
    this.#bytes += data.length;
    if (this.#bytes > INBOX_BYTES_MAX) {
      this.#flooded = true;
      this.#early.length = 0;
      return this.#ports.flooded();
    }
    if (this.#handler) this.#deal(data);
    else this.#early.push(data);
  }

  receive(hear: (data: Uint8Array) => Promise<void> | void): void {
    this.#handler = hear;
    for (const data of this.#early.splice(0)) this.#deal(data);
  }

  #deal(data: Uint8Array): void {
    const { failed, filled, emptied } = this.#ports;
    if (++this.#waiting === 1) filled?.();
    this.#work = this.#work.then(() => this.#handler!(data)).catch(failed).finally(() => {
      this.#bytes -= data.length;
      if (--this.#waiting === 0) emptied?.();
    });
  }
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
  const inbox = new Inbox({
    failed: () => ws.close(1011),
    flooded: () => ws.close(1013, FLOODED),
    filled: () => ws.pause(),
    emptied: () => ws.resume(),
  });
  ws.on("message", (data: Buffer) => {
    inbox.add(new Uint8Array(data.buffer, data.byteOffset, data.byteLength));
  });
  return {
    protocol,
    closed,
    send: (data) =>
      new Promise((resolve) => {
        if (ws.readyState !== ws.OPEN) resolve();
        else ws.send(data, { binary: typeof data !== "string" }, () => resolve());
      }),
    receive: (hear) => inbox.receive(hear),
    close: (code = 1000, reason) => ws.close(code, reason),
  };
}
