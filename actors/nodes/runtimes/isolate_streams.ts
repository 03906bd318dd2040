/** Output that several may listen to, a process as whoever execs sees it, a connection as bytes both ways. */
import type { Duplex, RemoteProcess } from "../../../api/client/node_api.ts";
import type { IsolateProcess } from "./isolate_process.ts";
import type { Pty } from "./pty.ts";

/** Bytes that a listener may be behind before it is let go. */
const BEHIND_BYTES_MAX = 16 * 1024 * 1024;

/** Hands what is written to everyone who listens now. A listener that cannot keep up is let go. */
export class Tee {
  readonly #listeners = new Set<ReadableStreamDefaultController<Uint8Array>>();
  #closed = false;

  write(chunk: Uint8Array): void {
    for (const listener of this.#listeners) {
      if ((listener.desiredSize ?? 0) < 0) this.#drop(listener);
      else listener.enqueue(chunk);
    }
  }

  close(): void {
    this.#closed = true;
    for (const listener of this.#listeners) this.#drop(listener);
  }

  subscribe(): { stream: ReadableStream<Uint8Array>; cancel(): void } {
    let own: ReadableStreamDefaultController<Uint8Array>;
    const stream = new ReadableStream<Uint8Array>({
      start: (controller) => {
        own = controller;
        if (this.#closed) controller.close();
        else this.#listeners.add(controller);
      },
      cancel: () => void this.#listeners.delete(own),
    }, { highWaterMark: BEHIND_BYTES_MAX, size: (chunk) => chunk?.byteLength ?? 0 });
    return { stream, cancel: () => this.#drop(own) };
  }

  #drop(listener: ReadableStreamDefaultController<Uint8Array>): void {
    if (!this.#listeners.delete(listener)) return;
    try {
      listener.close();
    } catch {
      // Its reader has cancelled.
    }
  }
}

/** A process, on its own pipes or on a terminal, for the API. Closing kills it. */
export function remoteProcess(process: IsolateProcess, pty: Pty | undefined): RemoteProcess {
  const ended = process.ended.then(({ exitCode }) => {
    pty?.close();
    return { exitCode };
  });
  return {
    stdin: pty ? pty.writable : process.stdin,
    stdout: pty ? pty.readable : process.stdout,
    stderr: process.stderr,
    resize: (size) => pty?.resize(size),
    ended,
    close: () => process.signal("SIGKILL"),
  };
}

/** A connection as bytes both ways. Closing it ends what is being read: that is no failure. */
export function duplexOf(connection: Deno.Conn): Duplex {
  let closed = false;
  const close = () => {
    if (closed) return;
    closed = true;
    try {
      connection.close();
    } catch {
      // Both directions had ended.
    }
  };
  const buffer = new Uint8Array(64 * 1024);
  return {
    readable: new ReadableStream<Uint8Array>({
      async pull(controller) {
        try {
          const size = await connection.read(buffer);
          if (size === null) controller.close();
          else controller.enqueue(buffer.slice(0, size));
        } catch (error) {
          if (closed) controller.close();
          else controller.error(error);
        }
      },
      cancel: close,
    }, { highWaterMark: 0 }),
    writable: new WritableStream<Uint8Array>({
      async write(chunk) {
        for (let at = 0; at < chunk.length;) at += await connection.write(chunk.subarray(at));
      },
      // The other side may still have something to say.
      close: async () => {
        if (!closed) await connection.closeWrite().catch(() => {});
      },
      abort: close,
    }),
    close,
  };
}
