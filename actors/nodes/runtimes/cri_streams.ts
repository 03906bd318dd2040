/**
 * Exec, attach and port-forward of a container runtime: it names a URL of its own streaming server, which
 * speaks SPDY as a kubelet once did. SPDY, not WebSocket: its `v4` channels cannot say that standard input
 * has ended, and `exec -i` needs that.
 */
import type { Duplex, ProcessEnd, RemoteProcess } from "../../../api/client/node_api.ts";
import { SpdySession, type SpdyStream, utf8 } from "../../../api/client/spdy.ts";
import { internal } from "../../../api/machinery/errors.ts";

const EXEC_PROTOCOL = "v4.channel.k8s.io";
const FORWARD_PROTOCOL = "portforward.k8s.io";
/** Of an answer's head; longer ones are no streaming server's. */
const HEAD_BYTES_MAX = 64 * 1024;

/** Which streams of a process are wanted. */
export interface WantedStreams {
  stdin: boolean;
  stdout: boolean;
  stderr: boolean;
  tty: boolean;
}

/** Opens a session at a streaming URL. Rejects with what the server said when it refuses. */
async function connect(url: string, protocol: string): Promise<SpdySession> {
  const { hostname, port, pathname, search, host } = new URL(url);
  const connection = await Deno.connect({ hostname, port: Number(port) });
  const lines = [
    `POST ${pathname}${search} HTTP/1.1`,
    `Host: ${host}`,
    "Connection: Upgrade",
    "Upgrade: SPDY/3.1",
    `X-Stream-Protocol-Version: ${protocol}`,
    "Content-Length: 0",
  ];
  const writer = connection.writable.getWriter();
  const reader = connection.readable.getReader();
  await writer.write(utf8(lines.join("\r\n") + "\r\n\r\n"));
  const { head, rest } = await readHead(reader);
  if (!/^HTTP\/1\.1 101 /.test(head)) {
    connection.close();
    throw internal(`unable to upgrade connection: ${head.split("\r\n")[0]} ${decoded(rest)}`);
  }
  const session = new SpdySession({
    send: async (bytes) => {
      // Whoever writes last may find the other side gone: its streams have ended, which says it.
      await writer.write(bytes).catch(() => session.close());
    },
    close: () => {
      try {
        connection.close();
      } catch {
        // The other side was first.
      }
    },
  });
  void pump(session, reader, rest);
  return session;
}

const decoded = (bytes: Uint8Array) => new TextDecoder().decode(bytes);

async function readHead(reader: ReadableStreamDefaultReader<Uint8Array>) {
  let bytes = new Uint8Array();
  for (;;) {
    const { done, value } = await reader.read();
    if (value) {
      const all = new Uint8Array(bytes.length + value.length);
      all.set(bytes);
      all.set(value, bytes.length);
      bytes = all;
    }
    const text = new TextDecoder("latin1").decode(bytes);
    const end = text.indexOf("\r\n\r\n");
    if (end >= 0) return { head: text.slice(0, end), rest: bytes.subarray(end + 4) };
    if (done || bytes.length > HEAD_BYTES_MAX) return { head: text, rest: new Uint8Array() };
  }
}

async function pump(
  session: SpdySession,
  reader: ReadableStreamDefaultReader<Uint8Array>,
  first: Uint8Array,
): Promise<void> {
  try {
    if (first.length) await session.receive(first);
    for (;;) {
      const { done, value } = await reader.read();
      if (done) break;
      await session.receive(value);
    }
  } catch {
    // The connection broke, or was closed from here: what was on the way is lost either way.
  }
  session.close();
}

/** The process behind an exec or attach URL. Closing it closes the connection. */
export async function processAt(url: string, wanted: WantedStreams): Promise<RemoteProcess> {
  const session = await connect(url, EXEC_PROTOCOL);
  const open = (streamType: string) => session.open({ streamType });
  const error = await open("error");
  const stdin = wanted.stdin ? await open("stdin") : undefined;
  const stdout = wanted.stdout ? await open("stdout") : undefined;
  const stderr = wanted.stderr && !wanted.tty ? await open("stderr") : undefined;
  const resize = wanted.tty ? await open("resize") : undefined;
  const ended = endOf(error).finally(() => session.close());
  return {
    stdin: stdin && writableOf(stdin),
    stdout: stdout?.readable,
    stderr: stderr?.readable,
    resize: ({ width, height }) => {
      void resize?.write(utf8(JSON.stringify({ Width: width, Height: height })));
    },
    ended,
    close: () => session.close(),
  };
}

function writableOf(stream: SpdyStream): WritableStream<Uint8Array> {
  return new WritableStream({
    write: (chunk) => stream.write(chunk),
    close: () => stream.end(),
    abort: () => stream.reset(),
  });
}

/** What the error stream says at the end: a Status, or nothing when the connection went first. */
async function endOf(stream: SpdyStream): Promise<ProcessEnd> {
  const text = await new Response(stream.readable as ReadableStream<Uint8Array<ArrayBuffer>>)
    .text().catch(() => "");
  if (!text) return { error: "the connection to the container runtime was lost" };
  try {
    const status = JSON.parse(text);
    if (status.status === "Success") return { exitCode: 0 };
    const causes: { reason?: string; message?: string }[] = status.details?.causes ?? [];
    const code = causes.find((cause) => cause.reason === "ExitCode")?.message;
    if (status.reason === "NonZeroExitCode" && code !== undefined) {
      return { exitCode: Number(code) };
    }
    return { error: status.message ?? text };
  } catch {
    return { error: text };
  }
}

/** A connection to a port of a pod, at a port-forward URL. */
export async function forwardAt(url: string, port: number): Promise<Duplex> {
  const session = await connect(url, FORWARD_PROTOCOL);
  const headers = { port: String(port), requestID: "0" };
  const error = await session.open({ streamType: "error", ...headers });
  await error.end();
  const data = await session.open({ streamType: "data", ...headers });
  const said = new Response(error.readable as ReadableStream<Uint8Array<ArrayBuffer>>).text()
    .catch(() => "");
  const source = data.readable.getReader();
  const readable = new ReadableStream<Uint8Array>({
    async pull(controller) {
      const { done, value } = await source.read();
      if (!done) return controller.enqueue(value);
      const why = await said;
      session.close();
      if (why) controller.error(new Error(why));
      else controller.close();
    },
    cancel: () => session.close(),
  }, { highWaterMark: 0 });
  return { readable, writable: writableOf(data), close: () => session.close() };
}
